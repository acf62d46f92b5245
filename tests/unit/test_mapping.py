"""Source mappings: the shipped ones are right, and every mistake is said with its place."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from matrices import PATIENT, ROOT
from ownership_stream import sources
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import load_document as load_matrix
from ownership_stream.matrix.document import MatrixError, parse
from ownership_stream.matrix.lint import lint
from ownership_stream.model import Change
from ownership_stream.sources.encodings import DECIMAL, Encoding, canonical, written
from ownership_stream.sources.mapping import Actors
from ownership_stream.sources.schema import render, schema
from source_kit import CRM, CRM_FILE, EHR, EHR_FILE, MATRIX, changed, one, packed

TEXTS = {"ehr": EHR_FILE.read_text(encoding="utf-8"), "crm": CRM_FILE.read_text(encoding="utf-8")}


def edited(name: str, *changes: tuple[str, str]) -> str:
    """A shipped mapping with each first occurrence replaced; what does not occur is a mistake of the test."""
    text = TEXTS[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def mapped(text: str) -> sources.Mapping:
    """A mapping's text, compiled beside the shipped matrix."""
    return sources.load_document(parse(text.encode(), "m.yaml"), MATRIX).mapping


def mistakes(text: str) -> list[str]:
    """Every mistake of a mapping, without the file's name."""
    with pytest.raises(MatrixError) as caught:
        mapped(text)
    return [problem.removeprefix("m.yaml:") for problem in caught.value.problems]


def places(text: str, word: str) -> list[str]:
    """`line:col` wherever a word stands; a word with a line's end after it, only where it ends one."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split(" #")[0].rstrip() + "\n"
        if word in code:
            found.append(f"{number}:{code.index(word) + 1}")
    return found


# ---------------------------------------------------------------------------------------------------- the shipped ones


def test_every_mapped_column_has_a_row_and_every_row_its_columns() -> None:
    """The matrix's lint finds nothing to say of the shipped mappings."""
    documents = sources.load_all(ROOT / "matrix" / "sources", MATRIX)
    columns = {document.mapping.source: document.columns() for document in documents}
    found = lint(load_matrix(PATIENT), date(2026, 11, 23), columns)

    assert [] == [str(finding) for finding in found]
    assert {"crm", "ehr"} == columns.keys()


def test_all_thirty_fields_are_mapped_where_the_matrix_shows_them() -> None:
    """The CRM holds all of them; the EHR all but the detail it is never told."""
    assert CRM.fields() == MATRIX.fields.keys()
    assert EHR.fields() == MATRIX.fields.keys() - {"referral_source_detail"}
    assert sources.Writer(EHR, MATRIX).fields == EHR.fields()
    assert sources.Writer(CRM, MATRIX).fields == CRM.fields()


def test_the_crm_has_no_column_for_what_it_is_never_shown() -> None:
    """Of medication drug and status, of conditions the program."""
    held = {column.target for _, column in CRM.columns() if column.part}

    assert {"medication_plan.drug", "medication_plan.status", "conditions.program"} == {
        target for target in held if target.startswith(("medication_plan", "conditions"))
    }


def test_lint_knows_where_a_column_is_written() -> None:
    """Each column's place in its file."""
    document = sources.load_document(parse(TEXTS["ehr"].encode(), "m.yaml"), MATRIX)
    requested = next(column for column in document.columns() if column.how == "request")

    assert [f"{requested.place.line}:{requested.place.column}"] == places(TEXTS["ehr"], "care_stage_request:")


def test_the_shipped_mappings_satisfy_the_shipped_schema() -> None:
    """What an editor says of them: nothing."""
    checker = Draft202012Validator(schema())
    for text in TEXTS.values():
        assert [] == list(checker.iter_errors(json.loads(json.dumps(YAML(typ="safe", pure=True).load(text)))))


def test_the_shipped_schema_is_what_the_vocabulary_says() -> None:
    """It is generated, and kept for editors."""
    Draft202012Validator.check_schema(schema())
    assert render() == (ROOT / "matrix" / "schema" / "source.json").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------- mistakes


CASES: list[dict[str, str]] = YAML(typ="safe", pure=True).load(Path(__file__).parent / "invalid_mappings.yaml")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_mistake_is_said_with_its_place_and_the_nearest_right_word(case: dict[str, str]) -> None:
    """Each wrong word in a shipped mapping, once."""
    text = edited(case["mapping"], (case["old"], case["new"]))
    found = [problem for problem in mistakes(text) if case["says"] in problem]

    assert 1 == len(found), mistakes(text)
    if "word" in case:
        assert any(found[0].startswith(f"{at}: ") for at in places(text, case["word"])), places(text, case["word"])


@pytest.mark.parametrize("form", ["json with schema", "avro", "avro with changed columns"])
def test_a_nested_column_cannot_be_written_with_a_schema(form: str) -> None:
    """What is within an array is not known, so its schema cannot be said; in plain JSON its text is enough."""
    nested = ("allergies:               allergies", "allergies: allergies as nested")
    text = edited("ehr", nested, ("system: ehr", f"system: ehr\napply as: {form}"))
    [found] = mistakes(text)

    assert "column `allergies` is nested, and its schema cannot be known: take `apply as: json`" in found
    assert any(found.startswith(f"{at}: ") for at in places(text, "allergies: allergies as nested"))
    assert "" == mapped(edited("ehr", nested)).apply_form


def test_all_mistakes_are_said_at_once() -> None:
    """In the order of the document."""
    found = mistakes(
        edited("ehr", ("system: ehr", "system: her"), ("legal_name.given", "x"), ("[created_at]", "[email]"))
    )

    assert len(found) >= 3
    assert found == sorted(found, key=lambda problem: [int(part) for part in problem.split(":")[:2]])


VISIT = """
  public.visit:
    primary: false
    key: [visit_id as integer, site]
    of: patient_id as integer
    record: {column: crm_id, else: "ehr:<key>"}
    columns: {weight_kg: weight as decimal 2}
    actor: nurse
    role: nurse_role
"""


def test_a_source_has_one_primary_table_and_a_field_one_row() -> None:
    """Two rows of presence, or of one field's shown value, would contradict each other."""
    found = mistakes(edited("ehr", ("tables:\n", "tables:" + VISIT.replace("primary: false", "primary: true"))))

    assert any("`public.visit` and `public.patient` are it here" in problem for problem in found)
    assert any("`weight` is shown by both `public.visit` and `public.patient`" in problem for problem in found)


def test_a_second_table_finds_the_record_by_its_own_columns() -> None:
    """Its row is not the record's presence, and its key is its own."""
    text = edited(
        "ehr",
        ("tables:\n", "tables:" + VISIT),
        ("      weight_kg:               weight\n", ""),
        ("actors:  ", "roles: {persons: {RN: nurse}, automations: {BOT: none}}\nactors:  "),
        ("[created_at]", "[created_at, weight_kg]"),
    )
    mapping = mapped(text)

    def visit(**columns: Any) -> Change:
        row = {"visit_id": 9, "site": "a,b", "patient_id": 123, "crm_id": None, "weight_kg": "H8k=", "nurse": "x/1"}
        event = {
            "op": "u",
            "after": row | columns,
            "source": {"connector": "postgresql", "schema": "public", "table": "visit", "lsn": 5, "ts_ms": 6},
        }
        return one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0))

    change = visit(nurse_role="RN")
    assert ("ehr:123", "123", "ehr/public.visit/9,a%2Cb") == (change.record, change.key, change.row)
    assert not change.primary
    assert {"weight": 81.37} == change.fields
    assert ("nurse", "person") == (change.role, change.origin)
    assert (None, "automation") == (visit(nurse_role="BOT").role, visit(nurse_role="BOT").origin)


MEDICATION = """
  public.medication:
    primary: false
    key: medication_id as integer
    of: patient_id as integer
    record: {column: crm_id as salesforce id, else: "ehr:<key>"}
    speaks:
      where: {state: [active, On Hold], ended_on: empty, is_real: "true"}
      latest by: [started_on as epoch days, medication_id as integer]
    columns:
      drug: medication_plan.drug
      dose: medication_plan.dose
      schedule: medication_plan.schedule
      state: medication_plan.status
    actor: prescribed_by
"""
OF_PATIENT = "".join(line + "\n" for line in TEXTS["ehr"].splitlines() if line.strip().startswith("medication_"))


def many(*changes: tuple[str, str]) -> str:
    """The shipped mapping with the medications in a table of their own."""
    table = MEDICATION
    for old, new in changes:
        assert old in table
        table = table.replace(old, new, 1)
    ignored = ("[created_at]", "[created_at, medication_drug, medication_dose, medication_schedule, medication_status]")
    return edited("ehr", ("tables:\n", "tables:" + table), (OF_PATIENT, ""), ignored)


ROW: dict[str, Any] = {
    "medication_id": 7, "patient_id": 123, "crm_id": None, "drug": "metformin", "dose": "500 mg", "schedule": "daily",
    "state": "active", "prescribed_by": "provider/7", "started_on": 20_000, "ended_on": None, "is_real": True,
}  # fmt: skip


def medication(mapping: sources.Mapping, op: str = "u", **columns: Any) -> Change:
    """The change that an event of a medication's row becomes; a column that is ``...`` is not carried."""
    row = {name: value for name, value in (ROW | columns).items() if value is not ...}
    source = {"connector": "postgresql", "schema": "public", "table": "medication", "lsn": 5, "ts_ms": 6}
    event = {"op": op, "before" if op == "d" else "after": row, "source": source}
    return one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0))


@pytest.mark.parametrize(
    ("columns", "rank"),
    [
        ({}, (20_000, 7)),
        ({"state": " ON HOLD "}, (20_000, 7)),
        ({"started_on": None}, (-(2**63), 7)),
        ({"started_on": -5}, (-5, 7)),
        ({"state": "stopped"}, None),
        ({"state": None}, None),
        ({"ended_on": "2026-01-01"}, None),
        ({"ended_on": "  "}, (20_000, 7)),
        ({"is_real": False}, None),
        ({"is_real": None}, None),
        ({"op": "d"}, None),
    ],
)
def test_a_row_of_several_says_whether_it_stands_and_where(
    columns: dict[str, Any], rank: tuple[int, ...] | None
) -> None:
    """By the words of `where`, without case, and the columns of `latest by`; a deleted one stands no more."""
    change = medication(mapped(many()), **columns)

    assert ("ehr/public.medication", rank) == (change.among, rank and change.rank)
    assert rank == change.rank
    assert ("ehr:123", "123", "ehr/public.medication/7", False) == (
        change.record, change.key, change.row, change.primary
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "raw", "rank"),
    [
        ("started_on as iso", "2026-01-31", 1_769_817_600_000),
        ("started_on as iso", "2026-01-31T10:00:00.123Z", 1_769_853_600_123),
        ("started_on as epoch us", 1_769_853_600_123_456, 1_769_853_600_123_456),
        ("started_on as integer", 12, 12),
    ],
)
def test_a_rank_keeps_the_precision_of_its_column(written: str, raw: Any, rank: int) -> None:
    """Two rows of one millisecond are not equal where the column tells them apart."""
    mapping = mapped(many(("[started_on as epoch days, medication_id as integer]", written)))

    assert (rank,) == medication(mapping, started_on=raw).rank


@pytest.mark.parametrize(
    ("columns", "reason", "said"),
    [
        ({"started_on": ...}, "needs_reread", "the event does not carry `started_on`, by which the row that speaks"),
        ({"state": "__debezium_unavailable_value"}, "needs_reread", "the event does not carry `state`"),
        ({"started_on": 2**63}, "not_canonical", "column `started_on`: a number that no time can be"),
        ({"started_on": -(2**63)}, "not_canonical", "column `started_on`: a number that no time can be"),
        ({"started_on": "Zebedee"}, "wrong_type", "column `started_on`: expected `int | null`, got `str`"),
        ({"ended_on": ["Zebedee"]}, "wrong_type", "column `ended_on`"),
    ],
)
def test_a_row_that_does_not_say_where_it_stands_is_a_dead_letter(
    columns: dict[str, Any], reason: str, said: str
) -> None:
    """Which row speaks is never guessed."""
    with pytest.raises(sources.Undecodable) as caught:
        medication(mapped(many()), **columns)

    assert reason == caught.value.reason
    assert said in caught.value.message
    assert "Zebedee" not in caught.value.message


def test_a_date_that_is_none_is_refused_by_its_column() -> None:
    """As anywhere."""
    mapping = mapped(many(("[started_on as epoch days, medication_id as integer]", "started_on as iso")))
    with pytest.raises(sources.Undecodable, match="column `started_on`") as caught:
        medication(mapping, started_on="2026-13-99")
    assert "not_canonical" == caught.value.reason


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("primary: false", "primary: true", "the primary table has one row for each record"),
        ("latest by:", "latest:", "unknown key `latest` in `speaks`: did you mean `latest by`?"),
        ("      latest by: [started_on as epoch days, medication_id as integer]\n", "", "`speaks` lacks `latest by`"),
        ("started_on as epoch days", "started_on", "say how the source writes what is latest, as in `started_on as"),
        ("started_on as epoch days", "started_on as epoch dys", "unknown encoding `epoch dys`"),
        ("[started_on as epoch days, medication_id as integer]", "drug", "column `drug` holds neither a time nor"),
        ("ended_on: empty", "ended on: empty", "`ended on` can be no column"),
        ("[active, On Hold]", "[]", "column `state` must be a list of words"),
        ("    actor:", "    marker: sync_id\n    actor:", "`marker` has no effect: a row of several is read and never"),
        (
            "    columns:",
            "    requests: {wish: weight}\n    columns:",
            "`requests` has no meaning where one of several",
        ),
    ],
)
def test_a_mistake_about_several_rows_is_said(old: str, new: str, says: str) -> None:
    """Each with what would be right."""
    found = mistakes(many((old, new)))

    assert any(says in problem for problem in found), found


def test_a_sparse_connector_cannot_say_which_row_speaks() -> None:
    """Salesforce sends what changed; the canonical form may carry all that is asked for."""
    task = "  Task:\n    primary: false\n    key: Id\n    of: WhoId\n    record: key\n"
    task += "    speaks: {latest by: Started__c as epoch ms}\n    columns: {W: weight}\n"
    found = mistakes(edited("crm", ("tables:\n", "tables:\n" + task)))

    assert any("an event carries only what changed, so which row speaks cannot be told" in one for one in found)


def test_a_mapping_of_several_rows_satisfies_the_shipped_schema() -> None:
    """What an editor says of it: nothing."""
    checker = Draft202012Validator(schema())

    assert [] == list(checker.iter_errors(json.loads(json.dumps(YAML(typ="safe", pure=True).load(many())))))


def test_a_folder_of_mappings_says_all_mistakes_of_all_files(tmp_path: Path) -> None:
    """Also two that claim the same source or topic, and a folder without any."""
    with pytest.raises(BadInputError, match="no source mapping"):
        sources.load_all(tmp_path, MATRIX)
    (tmp_path / "a.yaml").write_text(TEXTS["ehr"])
    (tmp_path / "b.yaml").write_text(TEXTS["ehr"])
    (tmp_path / "c.yaml").write_text("source: [")
    with pytest.raises(BadInputError) as caught:
        sources.load_all(tmp_path, MATRIX)

    assert 3 == len(caught.value.problems)
    assert any("c.yaml:1:" in problem for problem in caught.value.problems)
    assert any("b.yaml:" in problem and "is `" in problem for problem in caught.value.problems)


def test_a_document_of_another_shape_is_refused_and_not_a_crash() -> None:
    """Every section as a list, a word, nothing."""
    for section in ("topics", "tables", "actors"):
        for wrong in ("[]", "word", "", "{a: }", "[[]]"):
            text = "\n".join(line for line in TEXTS["ehr"].split("\n") if not line.startswith(section))
            head = text[: text.index("\n  public")] if section == "tables" else text
            assert mistakes(f"{head}\n{section}: {wrong}\n") or wrong == "word"


# ---------------------------------------------------------------------------------------------------- encodings, actors


@pytest.mark.parametrize(
    ("name", "part", "encoding", "raw", "value"),
    [
        ("date_of_birth", "", Encoding("epoch days"), 4017, "1980-12-31"),
        ("date_of_birth", "", Encoding("epoch days"), -25_567, "1900-01-01"),
        ("date_of_birth", "", Encoding("epoch ms"), 4017 * 86_400_000, "1980-12-31"),
        ("date_of_birth", "", Encoding("iso"), "1980-12-31", "1980-12-31"),
        ("next_appointment", "", Encoding("epoch us"), 1_767_261_600_123_000, "2026-01-01T10:00:00.123Z"),
        ("next_appointment", "", Encoding("epoch ns"), 1_767_261_600_123_000_000, "2026-01-01T10:00:00.123Z"),
        ("next_appointment", "", Encoding("epoch s"), 1_767_261_600, "2026-01-01T10:00:00.000Z"),
        ("next_appointment", "", Encoding("epoch ms"), -1, "1969-12-31T23:59:59.999Z"),
        ("next_appointment", "", Encoding("iso"), "2026-01-01T10:00:00.123Z", "2026-01-01T10:00:00.123Z"),
        ("weight", "", Encoding(DECIMAL, 2), "H8k=", 81.37),
        ("weight", "", Encoding(DECIMAL, 2), "/w==", -0.01),
        ("weight", "", Encoding(DECIMAL, 0), "AIA=", 128),
        ("weight", "", Encoding(), 81.5, 81.5),
        ("medication_plan", "drug", Encoding(), "metformin", "metformin"),
    ],
)
def test_an_encoding_reads_and_writes_the_same(name: str, part: str, encoding: Encoding, raw: Any, value: Any) -> None:
    """What is written back is what the source would have written."""
    field = MATRIX.fields[name]

    assert value == canonical(field, part, encoding, raw)
    assert raw == written(encoding, field.parts.get(part, field.type), value)


def test_a_decimal_may_bring_its_own_scale() -> None:
    """Debezium's `VariableScaleDecimal`."""
    text = edited("ehr", ("weight_kg:               weight\n", "weight_kg:               weight as decimal\n"))
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None, "weight_kg": {"scale": 2, "value": "H8k="}},
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }
    change = one(sources.decoder(mapped(text), MATRIX).decode("t", b"{}", packed(event), 0))

    assert {"weight": 81.37} == change.fields
    assert {"scale": 2, "value": "H8k="} == written(Encoding(DECIMAL), "number", 81.37)


def test_a_placeholder_of_one_s_own_is_known() -> None:
    """Debezium's `unavailable.value.placeholder` can be set, and so can ours."""
    mapping = mapped(edited("ehr", ("system: ehr", "system: ehr\nunavailable value: <gone>")))
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None, "email": "<gone>", "phone": None},
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }

    assert {"phone": None} == one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0)).fields


def test_the_longest_known_beginning_says_who_a_writer_is() -> None:
    """A whole id before any beginning, and the source's own word for the role before both."""
    actors = Actors(
        ids={"p/1": (None, "person")},
        beginnings={"p/": ("provider", "person"), "p/bot-": ("integration", "automation")},
        words={"RN": ("nurse", "person")},
    )

    assert (None, "person") == actors.of("p/1")
    assert ("provider", "person") == actors.of("p/2")
    assert ("integration", "automation") == actors.of("p/bot-7")
    assert ("nurse", "person") == actors.of("p/2", "RN")
    assert ("provider", "person") == actors.of("p/2", "MD")
    assert (None, "automation") == actors.of("q") == actors.of(None)


def test_a_mapping_is_immutable() -> None:
    """One serves all lanes and threads."""
    with pytest.raises(AttributeError):
        EHR.source = "x"  # type: ignore[misc]  # that is what is tested
    assert msgspec.structs.replace(EHR, source="x").source == "x"


# ---------------------------------------------------------------------------------------------------- the page


def test_the_page_lists_every_reason_of_a_dead_letter() -> None:
    """With the same meaning as the code."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")

    for reason, meaning in sources.REASONS.items():
        assert f"| `{reason}` | {meaning} |" in page


def test_the_page_s_example_is_a_mapping() -> None:
    """As far as it goes: the rest of the patient's parts would be missing."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]

    assert ["no column holds `legal_name.given`"] == [problem.split(": ", 1)[1] for problem in mistakes(example)]


# ---------------------------------------------------------------------------------------------------- rarer mappings


def visited(mapping: sources.Mapping, **columns: Any) -> Change:
    """An update of a patient row that carries only these columns beside its ids."""
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None} | columns,
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }
    return one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0))


def test_a_time_with_a_zone_is_a_time_of_the_row() -> None:
    """TIMESTAMPTZ arrives as ISO text, as the row's time, in evidence and as a value."""
    text = edited(
        "ehr",
        ("updated_at as epoch us", "updated_at as iso"),
        ("completed_at as epoch us", "completed_at as iso"),
        ("next_appointment as epoch us", "next_appointment as iso"),
    )
    at = "2026-01-01T12:00:00.123456+02:00"
    change = visited(mapped(text), updated_at=at, follow_up_completed_at=at, next_appointment_at=at)

    assert 1_767_261_600_123 == change.updated_at == change.evidence["follow_up_completion"].at
    assert "2026-01-01T10:00:00.123Z" == change.fields["next_appointment"]


@pytest.mark.parametrize("raw", ["no base64!", "", "QUJD" * 30, 7.5, True])
def test_what_is_no_decimal_is_refused(raw: Any) -> None:
    """By its table and column."""
    column = "weight_kg:               weight"
    mapping = mapped(edited("ehr", (f"{column}\n", f"{column} as decimal 2\n")))

    with pytest.raises(sources.Undecodable) as caught:
        visited(mapping, weight_kg=raw)
    assert caught.value.message.startswith("table `public.patient`, column `weight_kg`: ")


def test_a_row_whose_link_must_be_there_is_no_record_without_it() -> None:
    """Without `else` a row nobody has linked yet is a dead letter, and comes back when it is."""
    mapping = mapped(edited("ehr", (', else: "ehr:<key>"', "")))

    with pytest.raises(sources.Undecodable, match=r"the link column is null, and the mapping has no `else`"):
        visited(mapping, email=None)
    assert "c-1" == visited(mapping, crm_id="c-1").record


def test_an_ignored_table_is_ignored_by_name() -> None:
    """Its events are counted, and no dead letters."""
    mapping = mapped(edited("ehr", ("system: ehr", "system: ehr\nignored tables: [public.audit]")))
    event = {"op": "u", "after": {}, "source": {"connector": "postgresql", "schema": "public", "table": "audit"}}

    assert "table" == sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0).ignored


COMPOUND = tuple(
    (f"      Mailing{name}:", f"      MailingAddress.{name}:")
    for name in ("Street", "City", "State", "PostalCode", "Country")
)


@pytest.mark.parametrize(
    ("event", "address"),
    [
        (changed("MailingAddress", MailingAddress={"City": "Springfield"}), {"city": "Springfield"}),
        (changed(**{"MailingAddress.City": "Springfield"}), {"city": "Springfield"}),
        (changed("MailingAddress", MailingAddress=None), None),
        (changed(header={"nulledFields": ["MailingAddress"]}), None),
        (changed(header={"nulledFields": ["MailingAddress.City"]}), {"city": None}),
    ],
)
def test_a_compound_column_of_salesforce_is_mapped_by_its_parts(event: dict[str, Any], address: Any) -> None:
    """Where the connector nests them; a compound that is null clears all of its parts."""
    ignored = ('MailingAddress, "MailingAddress.*", ', "")
    decoder = sources.decoder(mapped(edited("crm", *COMPOUND, ignored)), MATRIX)

    assert {"address": address} == one(decoder.decode("t", None, packed(event), 0)).fields
