"""Tables beside the primary one, of one row or of several for each record: what becomes of them, and mistakes."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from mapping_kit import TEXTS, edited, mapped, mistakes
from ownership_stream import sources
from ownership_stream.model import Change
from ownership_stream.sources.schema import schema
from source_kit import MATRIX, one, packed

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
