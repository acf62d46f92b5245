"""A sample of real records beside its mapping: each known trouble is found, by the setting that causes it."""

import base64
from typing import Any

import msgspec
import pytest

from ownership_stream import sources
from ownership_stream.sources import advice
from ownership_stream.sources.advice import Finding, findings
from ownership_stream.sources.encodings import Encoding
from ownership_stream.sources.events import add_fields
from ownership_stream.sources.opened import FORMS, opened
from ownership_stream.sources.sample import Column, examine
from ownership_stream.sources.shapes import Seen, shape, unit_of
from sample_kit import ROWS, examined, found, position, record, rows, salesforce, schema, whole, wrapped
from source_kit import AT, CRM, EHR, MATRIX, PATIENT_ROW, changed, crm_event, ehr_event, packed

PLACEHOLDER = "__debezium_unavailable_value"


def said(finding: Finding) -> tuple[str, str, str]:
    """Severity, column and setting."""
    return finding.severity, finding.column, finding.setting


def only(records: Any, mapping: Any = EHR) -> Finding:
    """The one thing there is to say."""
    (finding,) = found(records, mapping)
    return finding


def columns(records: Any, mapping: Any = EHR) -> dict[str, Column]:
    """The columns of the mapping's primary table."""
    table = next(one for one in examined(records, mapping).report().tables if one.name == mapping.primary.name)
    return {column.name: column for column in table.columns}


# ---------------------------------------------------------------------------------------------------- what is seen


def test_a_sample_as_it_should_be_has_nothing_to_complain_about() -> None:
    """Live changes with their row before, in order, by known writers."""
    sample = examined(rows())

    assert () == findings(sample)
    report = sample.report()
    assert (ROWS, ROWS, {"envelope": ROWS}, ()) == (report.records, report.changes, report.forms, report.refused)


def test_each_column_is_told_by_what_it_means_and_looks_like() -> None:
    """Its use in the mapping, the JSON type and the shape; how often it was null or not there."""
    seen = columns(rows(phone=lambda i: None if i % 3 else "1", diagnoses=PLACEHOLDER))

    told = {name: (one.use, one.means, one.type, one.shape) for name, one in seen.items()}
    assert ("mapped", "date_of_birth as epoch days", "whole number", "like epoch days") == told["birth_date"]
    assert ("mapped", "legal_name.family", "text", "3 characters") == told["family_name"]
    assert ("compared", "care_stage") == told["care_status"][:2]
    assert ("requested", "care_stage") == told["care_stage_request"][:2]
    assert ("about", "key as integer") == told["patient_id"][:2]
    assert ("about", "updated at as epoch us") == told["updated_at"][:2]
    assert ("about", "marker") == told["sync_change_id"][:2]
    assert "ignored" == told["created_at"][0]
    assert (ROWS, 20) == (seen["phone"].carried, seen["phone"].nulls)
    assert (ROWS, "—") == (seen["diagnoses"].unavailable, seen["diagnoses"].type)


def test_a_column_that_is_a_value_and_evidence_is_told_by_both() -> None:
    """Follow-up completion is its own evidence's time."""
    means = columns(rows())["follow_up_completed_at"].means

    assert "follow_up_completion.completed_at as epoch us, evidence of follow_up_completion as epoch us" == means


def test_operations_snapshots_positions_and_writers_are_counted() -> None:
    """How many are apart, and whether they are in order."""
    sample = [*rows("r", 3), *rows("u", 4), record(None), record(b"null"), *rows("d", 2)]
    sample[0] = record(whole("r", 0, {}) | {"source": ehr_event()["source"] | {"snapshot": "first"}}, 0)
    (table,) = examined(sample).report().tables

    assert {"r": 3, "u": 4, "d": 2} == table.ops
    assert {"first": 1, "false": 8} == table.snapshots
    assert (9, 9) == (table.positions.changes, table.positions.positioned)
    assert (1, 1, 0) == (table.actors.distinct, table.actors.known, table.actors.missing)


def test_no_value_is_in_the_report() -> None:
    """Not even where a value stands for a name."""
    texts = {name: "Zebedee" for name, value in PATIENT_ROW.items() if isinstance(value, str) and name != "crm_id"}
    odd = packed(ehr_event()).replace(b'"email":', b'"Zebedee of Main St":', 1)
    table = packed(ehr_event(source={"schema": "public", "table": "Zebedee of Main St"}))
    sample = examined([*rows(**texts), record(odd), record(table), record(b'"Zebedee of Main St"')])

    written = msgspec.json.encode((sample.report(), findings(sample)))
    assert b"Zebedee" not in written


# ---------------------------------------------------------------------------------------------------- columns


def test_an_unknown_column_is_found_and_the_mapped_one_it_may_have_been() -> None:
    """Renamed: one is in no row, the other is not mapped; positions and writers show all the same."""
    sample = rows(email_address="a@x.org")
    for i, one in enumerate(sample):
        event = msgspec.json.decode(one.value or b"")
        for row in (event["after"], event["before"]):
            del row["email"]
        sample[i] = one._replace(value=packed(event))
    unknown, absent = found(sample)

    assert ("error", "email_address", "`columns` or `ignored` in the mapping") == said(unknown)
    assert ("warning", "email") == said(absent)[:2]
    assert "was `email` renamed to `email_address`?" in absent.message
    (table,) = examined(sample).report().tables
    assert (ROWS, 0, 1) == (table.positions.distinct, table.positions.backwards, table.actors.known)
    assert [("unknown_column", ROWS)] == [(one.reason, one.records) for one in examined(sample).report().refused]


def test_columns_that_never_came_are_one_line_for_their_table() -> None:
    """However many; each that may have been renamed is asked about."""
    sample = []
    for one in rows(email_address="a@x.org"):
        event = msgspec.json.decode(one.value or b"")
        for name in ("email", "weight_kg", "risk_flag"):
            del event["after"][name], event["before"][name]
        sample.append(one._replace(value=packed(event)))
    absent = [one for one in found(sample) if one.severity == "warning"]

    assert [("warning", "", "")] == [said(one) for one in absent]
    assert (
        "`email`, `risk_flag` and `weight_kg` are mapped, and in no row of the sample: "
        "was `email` renamed to `email_address`?"
    ) == absent[0].message


@pytest.mark.parametrize(
    ("value", "unit"), [(AT, "epoch ms"), (AT // 1000, "epoch s"), (AT * 1_000_000, "epoch ns"), (20_454, "epoch days")]
)
def test_a_time_of_another_unit_is_told_by_its_magnitude(value: int, unit: str) -> None:
    """Milliseconds read as microseconds would be some day in 1970, without any error."""
    (finding,) = found(rows(next_appointment_at=value))

    assert ("error", "next_appointment_at", f"`… as {unit}`, or time.precision.mode") == said(finding)


def test_a_time_in_text_where_a_number_is_mapped_is_told_and_the_reverse() -> None:
    """TIMESTAMPTZ is text; so are dates of `isostring`."""
    (finding,) = found(rows(next_appointment_at="2026-01-01T10:00:00Z"))
    assert ("error", "next_appointment_at", "`… as iso`, or time.precision.mode") == said(finding)
    (finding,) = found(salesforce(Birthdate=347_068_800_000), CRM)
    assert ("error", "Birthdate", "`… as epoch ms`, or time.precision.mode") == said(finding)


def test_a_unit_that_no_magnitude_tells_is_said_to_be_ambiguous() -> None:
    """Some milliseconds after 1970 are also many seconds."""
    assert ("warning", "next_appointment_at", "") == said(only(rows(next_appointment_at=7_000_000_000 + AT // 1000)))


def test_the_schema_says_for_sure_how_a_column_is_written() -> None:
    """Where the records bring it."""
    of = schema(birth_date={"type": "int32", "name": "io.debezium.time.Date"},
                next_appointment_at={"type": "int64", "name": "io.debezium.time.Timestamp"},
                weight_kg={"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                           "parameters": {"scale": "2"}})  # fmt: skip
    sample = [wrapped(one, of) for one in rows(next_appointment_at=AT, weight_kg=81.5)]

    assert [
        ("error", "weight_kg", "`… as decimal 2` in the mapping"),
        ("error", "next_appointment_at", "`… as epoch ms` in the mapping"),
    ] == [said(finding) for finding in found(sample)]
    assert ROWS == examined(sample).report().with_schema


def test_decimals_in_a_column_of_numbers_are_known() -> None:
    """Base64, which a number never is."""
    (finding,) = found(rows(weight_kg="H8k="))

    assert ("error", "weight_kg", "`… as decimal N`, or decimal.handling.mode=double") == said(finding)


def test_text_that_looks_like_a_date_is_ambiguous() -> None:
    """A payer is no day."""
    assert ("warning", "payer", "the field's type in the matrix") == said(only(rows(payer="2026-01-01")))


# ---------------------------------------------------------------------------------------------------- settings


def test_a_default_in_place_of_null_is_suspected() -> None:
    """Never null, and often the one value that stands for nothing; but for a sample of one row, or few."""
    finding = only(rows(payer=lambda i: "" if i % 2 else f"payer {i}"))

    assert ("warning", "payer", advice._NULLS) == said(finding)
    assert [] == found(rows(payer=lambda i: None if i == 7 else "" if i % 2 else f"payer {i}"))
    assert [] == found(rows(number=10, payer=""))
    assert [] == found([rows(number=1, payer="")[0]] * 2)


def test_a_default_that_the_schema_declares_is_known_for_what_it_is() -> None:
    """Even one that looks like a value."""
    of = schema(payer={"type": "string", "default": "Acme"})

    assert ("warning", "payer", advice._NULLS) == said(only(wrapped(one, of) for one in rows()))


def test_a_choice_of_the_field_is_no_default_in_disguise() -> None:
    """`none` is a lab status."""
    assert "none" in MATRIX.fields["lab_status"].choices
    assert [] == found(rows(lab_status="none"))


@pytest.mark.parametrize("value", [PLACEHOLDER, "<unavailable>", base64.b64encode(PLACEHOLDER.encode()).decode()])
def test_a_placeholder_that_the_mapping_does_not_declare_is_found(value: Any) -> None:
    """It would be written into the other system as a value."""
    mapping = msgspec.structs.replace(EHR, unavailable="__gone")
    finding = only(rows(diagnoses=value), mapping)

    assert ("error", "diagnoses") == said(finding)[:2]
    assert "unavailable.value.placeholder" in finding.setting


@pytest.mark.parametrize("value", [PLACEHOLDER, [PLACEHOLDER], list(PLACEHOLDER.encode()), {PLACEHOLDER: PLACEHOLDER}])
def test_a_placeholder_is_known_in_the_shape_of_its_column(value: Any) -> None:
    """Text, an array, bytes as numbers, hstore."""
    seen = Seen(PLACEHOLDER)
    seen.add(value)

    assert (1, 0, 0) == (seen.unavailable, seen.undeclared, seen.present)


def test_an_ordinary_word_is_no_placeholder() -> None:
    """A patient may be unavailable."""
    seen = Seen(PLACEHOLDER)
    for value in ("unavailable", "patient unavailable", "unchanged", "toast", "__", ""):
        seen.add(value)

    assert (0, 0, 6) == (seen.unavailable, seen.undeclared, seen.present)


def test_updates_without_the_row_before_are_the_default_replica_identity() -> None:
    """A warning, until a delete shows that it matters."""
    sample = [record(ehr_event(source=position(i), patient_id=i), i) for i in range(ROWS)]

    assert ("warning", "", "ALTER TABLE … REPLICA IDENTITY FULL") == said(only(sample))


def test_without_the_row_before_a_long_array_may_come_as_null() -> None:
    """Debezium has no placeholder for some of them; a table without arrays is not warned of it."""
    bare = [record(ehr_event(source=position(i), patient_id=i), i) for i in range(ROWS)]
    arrays = [record(ehr_event(source=position(i), patient_id=i, allergies=["latex"]), i) for i in range(ROWS)]
    table = EHR.tables["public.patient"]
    nested = [
        msgspec.structs.replace(one, encoding=Encoding("nested")) if one.name == "allergies" else one
        for one in table.columns
    ]
    tables = {"public.patient": msgspec.structs.replace(table, columns=tuple(nested))}

    warned = "an array that is long and did not change may come as null"
    assert warned in only(arrays, msgspec.structs.replace(EHR, tables=tables)).message
    assert warned not in only(bare).message


def test_a_delete_that_shows_only_its_key_is_an_error_where_a_column_links_the_record() -> None:
    """Whose record it was cannot be known."""
    bare = ehr_event("d", source=position(2000))
    bare["before"] = dict.fromkeys(PATIENT_ROW) | {"patient_id": 1}
    sample = [*rows(), record(bare, 1)]

    assert ("error", "", "ALTER TABLE … REPLICA IDENTITY FULL") == said(only(sample))
    assert ["no_record"] == [one.reason for one in examined(sample).report().refused]


def test_records_without_key_are_found() -> None:
    """Unless it is not known whether they had one."""
    sample = [one._replace(key=None) for one in rows()]

    assert ("error", "", "a primary key, or message.key.columns") == said(only(sample))
    assert [] == found(one._replace(keyed=False) for one in sample)


def test_a_truncate_and_a_message_are_no_rows() -> None:
    """They have no key, and a message has no table."""
    truncate = ehr_event("t", source=position(2000)) | {"after": None}
    message = ehr_event("m", source={"schema": "", "table": ""}) | {"after": None}
    sample = examined([*rows(), record(truncate, key=None), record(message, key=None)])

    assert () == findings(sample)
    assert {"u": ROWS, "t": 1} == sample.tables["public.patient"].ops
    assert {"truncate": 1, "message": 1} == sample.report().ignored


def flattened(number: int, **added: Any) -> Any:
    """A row that `ExtractNewRecordState` has taken out of its envelope."""
    return record(PATIENT_ROW | {"patient_id": number} | added, number)


def test_flattened_rows_without_a_version_are_found() -> None:
    """And those that do not say what happened; whether the stream reads them is its decoder's word."""
    settings = [one.setting for one in found(flattened(i) for i in range(5)) if one.setting]
    assert any(f"add.fields={add_fields(EHR)}" in setting for setting in settings)
    assert any("delete.tombstone.handling.mode=rewrite" in setting for setting in settings)
    assert {"unsaid": 5} == examined(flattened(i) for i in range(5)).report().tables[0].ops

    added = {"__op": "u", "__table": "patient", "__source_sequence": '["1","2"]', "__deleted": "false"}
    sample = examined(flattened(i, **added) for i in range(5))
    assert [] == [one for one in findings(sample) if "transforms" in one.setting]
    assert {"flattened": 5} == sample.report().forms
    assert {"u": 5} == sample.tables["public.patient"].ops


def test_a_flattened_source_may_order_its_rows_by_time() -> None:
    """Then a row without a position is no mistake; the mapping has said so."""
    by_time = msgspec.structs.replace(EHR, form="flattened", by_timestamp=True)
    sample = [flattened(i, __op="u", __source_ts_ms=AT + i)._replace(timestamp=AT + i) for i in range(5)]

    assert [] == found(sample, by_time)
    assert [True] == ["add.fields" in one.setting for one in found(sample) if "position" in one.message][:1]


def test_what_was_added_is_known_by_the_prefix_of_the_mapping() -> None:
    """`add.fields.prefix`; the mark of a rewritten delete has none."""
    mapping = msgspec.structs.replace(EHR, form="flattened", added_prefix="meta_")
    added = {"meta_op": "u", "meta_source_sequence": '["1","2"]', "meta_source_ts_ms": AT, "__deleted": "false"}
    sample = examined([flattened(i, **added) for i in range(5)], mapping)
    (table,) = sample.report().tables

    assert ({"u": 5}, 5) == (table.ops, sample.report().changes)
    assert "unknown" not in {column.use for column in table.columns}
    assert [] == [one for one in findings(sample) if one.severity == "error"]


def test_events_of_another_connector_or_table_are_found() -> None:
    """By name."""
    other = ehr_event(source={"connector": "mysql"})
    strange = ehr_event(source={"table": "visit"})
    messages = [one.message for one in found([*rows(), record(other), record(strange)])]

    assert any("the events say they come from `mysql`" in message for message in messages)
    assert any("not mapped: its records are dead letters" in message for message in messages)


def test_positions_that_do_not_order_are_found() -> None:
    """Two different changes of a row at one place; one that stands before an earlier one is only noted."""
    tied = [record(whole("u", 1, {"email": f"{i}@x.org"}), 1) for i in range(2)]
    assert [] == found(tied)  # the same change, delivered twice, is one
    other = record(whole("c", 1, {}), 1)
    assert "share a position" in only([*tied, other]).message
    late = [*rows(), record(ehr_event(source=position(1), patient_id=5) | {"before": PATIENT_ROW}, 5)]
    assert ["note"] == [one.severity for one in findings(examined(late))]


def test_writers_that_nobody_knows_are_noted_and_none_at_all_is_a_warning() -> None:
    """An automation without role holds no right but the owner's."""
    unknown = findings(examined(rows(updated_by="stranger")))
    assert [("note", "`actors` in the mapping")] == [(one.severity, one.setting) for one in unknown]
    messages = [one.message for one in found(rows(updated_by=None))]
    assert [
        "no change names its writer: no person's right can be granted",
        "mapped as `actor`, and always null",
    ] == messages


def test_a_sample_of_a_snapshot_alone_says_what_it_cannot_show() -> None:
    """A note, not a fault."""
    assert ["no update is in the sample: ask again when rows have changed"] == [
        one.message for one in findings(examined(rows("r")))
    ]
    assert ["no record of it is in the sample"] == [one.message for one in findings(examined([]))]


# ---------------------------------------------------------------------------------------------------- Salesforce


def test_salesforce_events_show_the_columns_they_are_about() -> None:
    """Other nulls in an update say nothing."""
    sample = salesforce(LastName="Doe", Birthdate="1980-12-31")
    seen = columns(sample, CRM)

    assert () == findings(examined(sample, CRM))
    assert ("date", 5) == (seen["Birthdate"].shape, seen["Birthdate"].carried)
    assert 0 == seen["Email"].carried
    assert "ignored" == seen["LastModifiedDate"].use


def test_gaps_bitmaps_and_silent_updates_of_salesforce_are_found() -> None:
    """With what to do."""
    gap = record(crm_event({"changeType": "GAP_UPDATE"}), topic="crm.contact")
    overflow = record(crm_event({"changeType": "GAP_OVERFLOW"}), topic="crm.contact")
    assert ["needs_reread"] == [one.reason for one in examined([gap, overflow], CRM).report().refused]
    assert "must be read again" in only([gap], CRM).message
    bitmap = only(salesforce({"changedFields": ["0x400002", "4-0x01"]}), CRM)
    assert ("error", "", "a connector that expands changedFields") == said(bitmap)
    assert "name no changed field" in only(salesforce({"changedFields": []}), CRM).message


# ---------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, "tombstone"),
        (b"null", "tombstone"),
        (b'{"schema":null,"payload":null}', "tombstone"),
        (b"\x00\x00\x00\x00\x07abc", "registry"),
        (b"\xff", "not json"),
        (b"[" * 100_000, "not json"),
        (b"7", "other"),
        (b"{}", "other"),
        (b'{"ts_ms":5}', "transaction"),
        (b'{"status":"BEGIN","id":"1"}', "transaction"),
        (packed(ehr_event()), "envelope"),
        (packed(changed(LastName="x")), "salesforce"),
        (packed({"ChangeEventHeader": 5}), "salesforce"),
        (packed({"table": "t", "row": {}}), "canonical"),
        (packed({"patient_id": 1, "email": "x"}), "flattened"),
        (packed({"__op": "u"}), "flattened"),
    ],
)
def test_a_record_is_known_by_its_form(value: bytes | None, form: str) -> None:
    """Whatever the decoder says of it."""
    assert form in FORMS
    assert form == opened(record(value), EHR).form


def test_records_that_a_registry_explains_are_opened_as_the_json_they_stand_for() -> None:
    """Whoever knows the registry says what a framed value is; the decoder gets it as it stands."""
    framed = [one._replace(value=b"\0" + (one.value or b"")) for one in rows()]
    sample = examine(framed, EHR, MATRIX, lambda one: sources.decoder(one, MATRIX), lambda one: (one.value or b"")[1:])

    assert {"envelope": ROWS} == sample.report().forms
    assert "like epoch days" == next(one for one in sample.report().tables[0].columns if one.name == "birth_date").shape
    assert [("not_json", ROWS)] == [(one.reason, one.records) for one in sample.report().refused]


def test_shapes_and_units_hold_no_value() -> None:
    """Words of a closed list."""
    texts = ["2026-01-01", "2026-01-01T10:00:00Z", "2026-01-01 10:00:00.1+02", "a@x.org", "-1.5", " ", "Ann"]

    assert ["date", "instant", "instant", "e-mail address", "number in text", "empty", ""] == list(map(shape, texts))
    assert ["epoch ms", "epoch days", "", ""] == [unit_of(number) for number in (-AT, 4017, 5, 10**10 * 5)]
