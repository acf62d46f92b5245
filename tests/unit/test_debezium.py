"""Debezium's PostgreSQL envelope: what becomes a change, what is ignored, what is refused."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from ownership_stream import sources
from ownership_stream.model import Evidence
from ownership_stream.sources import columns as memos
from source_kit import (
    AT,
    CONTACT,
    EHR,
    EHR_TOPIC,
    MATRIX,
    PATIENT_ROW,
    SOURCE,
    ehr_event,
    from_ehr,
    one,
    packed,
    refused,
)

UNAVAILABLE = "__debezium_unavailable_value"


def test_a_whole_row_becomes_one_change_with_every_field_canonical() -> None:
    """Types by the mapping's encodings, parts as one value, e-mail and phone normalised."""
    change = one(from_ehr(ehr_event()))

    assert CONTACT == change.record
    assert ("ehr", "ehr/public.patient/123", "u", "123") == (change.system, change.row, change.op, change.key)
    assert {"family": "Doe", "given": "Ann"} == change.fields["legal_name"]
    assert "1980-12-31" == change.fields["date_of_birth"]
    assert "ann@example.org" == change.fields["email"]
    assert "+12125550100" == change.fields["phone"]
    assert "2026-01-01T10:00:00.123Z" == change.fields["next_appointment"]
    assert 81.5 == change.fields["weight"]
    assert "1 Main St" == change.fields["address"]["street"]  # type: ignore[index]  # an address has parts
    assert AT == change.at


def test_all_parts_null_is_null_and_one_part_null_is_not() -> None:
    """A field of parts is cleared only as a whole."""
    cleared = one(from_ehr(ehr_event(family_name=None, given_name=None)))
    half = one(from_ehr(ehr_event(given_name=None)))

    assert cleared.fields["legal_name"] is None
    assert {"family": "Doe", "given": None} == half.fields["legal_name"]


def test_the_writer_is_known_by_the_beginning_of_its_id() -> None:
    """Role and origin come from the mapping; whoever is not in it is an automation without role."""
    provider = one(from_ehr(ehr_event()))
    clerk = one(from_ehr(ehr_event(updated_by="clerk/3")))
    stranger = one(from_ehr(ehr_event(updated_by="batch-9")))

    assert ("provider/7", "provider", "person") == (provider.actor, provider.role, provider.origin)
    assert (None, "person") == (clerk.role, clerk.origin)
    assert ("batch-9", None, "automation") == (stranger.actor, stranger.role, stranger.origin)
    assert () == provider.event, "the actor is a column of the row: it did not come with the event"


def test_attributes_are_read_from_their_columns() -> None:
    """Updated at, reason, base version, marker and evidence."""
    change = one(
        from_ehr(
            ehr_event(
                override_reason=" patient asked ",
                sync_change_id="c-1",
                preference_confirmed_by="patient",
                preference_confirmed_at=1_767_000_000_000_000,
            )
        )
    )

    assert (AT, "patient asked", 41, "c-1") == (change.updated_at, change.reason, change.base, change.marker)
    assert {"contact_preference": Evidence("patient", 1_767_000_000_000)} == change.evidence


def test_a_blank_reason_is_none() -> None:
    """White space is no reason."""
    assert one(from_ehr(ehr_event(override_reason="  "))).reason is None


def test_a_column_of_evidence_can_be_part_of_the_field_too() -> None:
    """The time of a follow-up is both a part of the value and its evidence."""
    change = one(
        from_ehr(ehr_event(follow_up_completed_at=1_767_000_000_000_000, follow_up_validated_by="coordinator/1"))
    )

    assert {"completed_at": "2025-12-29T09:20:00.000Z", "outcome": None} == change.fields["follow_up_completion"]
    assert Evidence("coordinator/1", 1_767_000_000_000) == change.evidence["follow_up_completion"]


def test_compared_and_request_columns_are_no_inputs() -> None:
    """The care stage's summary is only compared, and the request column only asks."""
    change = one(from_ehr(ehr_event(care_stage_request="Paused")))

    assert "care_stage" not in change.fields
    assert {"care_stage": "active"} == change.compared
    assert {"care_stage": "paused"} == change.requests
    assert not change.stage_row, "the stage's own row is where the stage is an ordinary column"


def test_a_summary_need_not_be_a_choice_of_the_full_value() -> None:
    """What the EHR shows of the lead source is a word of the summary's map."""
    assert "paid" == one(from_ehr(ehr_event(lead_source_group="PAID".lower()))).fields["lead_source"]


def test_an_unavailable_toast_column_was_not_carried() -> None:
    """Debezium's placeholder is never a value: alone the field is absent, among parts the part is."""
    change = one(from_ehr(ehr_event(allergies=UNAVAILABLE, diagnoses=UNAVAILABLE, override_reason=UNAVAILABLE)))

    assert "allergies" not in change.fields
    assert {"program": "metabolic"} == change.fields["conditions"]
    assert change.reason is None


def test_a_column_that_is_not_in_the_row_was_not_carried() -> None:
    """An older row, from before the column was added, says nothing of it."""
    event = ehr_event()
    del event["after"]["weight_kg"]

    assert "weight" not in one(from_ehr(event)).fields


def test_a_row_without_link_is_a_record_of_its_own() -> None:
    """Null or blank: `ehr:<key>`; and a short Salesforce id is the same record as the long one."""
    assert "ehr:123" == one(from_ehr(ehr_event(crm_id=None))).record
    assert "ehr:123" == one(from_ehr(ehr_event(crm_id="  "))).record
    assert CONTACT == one(from_ehr(ehr_event(crm_id=CONTACT[:15]))).record


# ---------------------------------------------------------------------------------------------------- position


@pytest.mark.parametrize(
    ("sequence", "lsn", "position"),
    [
        ('["10","12"]', 12, (10, 12)),
        ('[null,"12"]', 12, (12, 12)),
        ('["10",null]', 12, (10, 12)),
        ('["10",null]', None, (10, 10)),
        (None, 12, (12, 12)),
        ("[null,null]", 12, (12, 12)),
        ('[ "10", "12" ]', None, (10, 12)),
    ],
)
def test_the_position_is_the_sequence_and_else_the_lsn(
    sequence: str | None, lsn: int | None, position: tuple[int, int]
) -> None:
    """Commit LSN and LSN; where there is no commit LSN the LSN stands for both."""
    change = one(from_ehr(ehr_event(source={"sequence": sequence, "lsn": lsn}), epoch=3))

    assert (3, *position) == change.position
    assert ":".join(map(str, (3, *position))) == change.source_version


def test_positions_grow_with_commits_and_an_epoch_outranks_them() -> None:
    """After a restore LSNs go back, and the operator's epoch makes up for it."""
    seen = [("10", "12", 0), ("10", "14", 0), ("20", "13", 0), ("1", "2", 1)]
    positions = [
        one(from_ehr(ehr_event(source={"sequence": f'["{commit}","{lsn}"]'}), epoch=epoch)).position
        for commit, lsn, epoch in seen
    ]

    assert all(earlier < later for earlier, later in pairwise(positions))  # type: ignore[operator]  # all have one


def test_a_duplicate_has_the_same_id_and_nothing_else_has() -> None:
    """The id is made of the row and its position, never of a Kafka offset or the connector's own time."""
    first = one(from_ehr(ehr_event()))
    again = one(from_ehr(ehr_event() | {"ts_ms": 5, "ts_us": 5, "ts_ns": 5}))
    others = [
        one(from_ehr(ehr_event(patient_id=124))),
        one(from_ehr(ehr_event(source={"sequence": '["24023119","24023129"]'}))),
        one(from_ehr(ehr_event("d"))),
        one(from_ehr(ehr_event(), epoch=1)),
    ]

    assert first == again
    assert 5 == len({first.id, *(other.id for other in others)})
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first.id)


def test_no_position_at_all_is_refused() -> None:
    """Such an event could not be told from a repeat."""
    assert "no_position" == refused(from_ehr, ehr_event(source={"sequence": None, "lsn": None})).reason
    assert "no_position" == refused(from_ehr, ehr_event(source={"sequence": "[]", "lsn": "x"})).reason


# ---------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    "flag", [True, "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"]
)
def test_every_form_of_the_snapshot_flag_makes_a_read(flag: str | bool) -> None:
    """Also where an older connector calls a snapshot row a create."""
    assert "r" == one(from_ehr(ehr_event("r", source={"snapshot": flag}))).op
    assert "r" == one(from_ehr(ehr_event("c", source={"snapshot": flag}))).op


@pytest.mark.parametrize("flag", [False, "false", None])
def test_every_form_of_no_snapshot_is_a_change(flag: str | bool | None) -> None:
    """And an event without the flag is one too."""
    event = ehr_event("c", source={"snapshot": flag})
    assert "c" == one(from_ehr(event)).op
    del event["source"]["snapshot"]
    assert "c" == one(from_ehr(event)).op


def test_two_reads_of_one_position_are_two_changes() -> None:
    """A second snapshot may see the row changed while the log position it reports stays."""
    first = one(from_ehr(ehr_event("r")))
    second = one(from_ehr(ehr_event("r", source={"ts_ms": AT + 1})))

    assert first.id != second.id
    assert first.position == second.position


def test_an_incremental_snapshot_without_lsn_has_its_sequence() -> None:
    """It omits `lsn` and `txId`."""
    event = ehr_event("r", source={"snapshot": "incremental"})
    del event["source"]["lsn"], event["source"]["txId"]

    assert (0, 24023119, 24023128) == one(from_ehr(event)).position


def test_a_delete_carries_no_fields_and_no_writer() -> None:
    """The row's last values are no news, and its last writer did not delete it."""
    change = one(from_ehr(ehr_event("d")))

    assert ("d", CONTACT, "123") == (change.op, change.record, change.key)
    assert ({}, {}, {}, None) == (change.fields, change.compared, change.requests, change.actor)


@pytest.mark.parametrize(
    "before",
    [{"patient_id": 123}, dict.fromkeys(PATIENT_ROW) | {"patient_id": 123, "family_name": "", "weight_kg": 0}],
)
def test_a_delete_that_does_not_say_whose_it_is_is_refused(before: dict[str, Any]) -> None:
    """With the default replica identity only the key is known: to take it for an unlinked row would be a guess."""
    error = refused(from_ehr, ehr_event("d") | {"before": before})

    assert "no_record" == error.reason
    assert "replica identity full" in error.message


def test_a_delete_of_an_unlinked_row_is_known_by_its_other_columns() -> None:
    """With full replica identity a null link is a null link."""
    assert "ehr:123" == one(from_ehr(ehr_event("d", crm_id=None))).record


@pytest.mark.parametrize("value", [None, b"null", b" null\n", b"", b'{"schema":null,"payload":null}'])
def test_tombstones_are_ignored(value: bytes | None) -> None:
    """True ones, those that a producer wrote as text, and those that the converter wrapped."""
    assert ((), "tombstone") == (from_ehr(value).changes, from_ehr(value).ignored)


def test_what_is_no_row_is_ignored_by_name() -> None:
    """Truncates, messages, heartbeats and transaction ends are counted, not buried."""
    truncate = {"op": "t", "source": SOURCE, "ts_ms": AT, "before": None, "after": None, "transaction": None}
    message = {"op": "m", "source": SOURCE, "ts_ms": AT, "before": None, "after": None, "transaction": None}

    assert "truncate" == from_ehr(truncate, key=None).ignored
    assert "message" == from_ehr(message).ignored
    assert "heartbeat" == from_ehr({"ts_ms": 1}, topic="__debezium-heartbeat.ehr").ignored
    assert "transaction" == from_ehr({"status": "END"}, topic="ehr.transaction").ignored


def test_the_schema_wrapper_changes_nothing() -> None:
    """With `schemas.enable=true` the same change comes out, however the JSON is spaced."""
    schema = {"type": "struct", "name": "ehr.public.patient.Envelope", "fields": [{"field": "payload", "type": "x"}]}
    wrapped = {"schema": schema, "payload": ehr_event()}

    assert from_ehr(ehr_event()) == from_ehr(wrapped)
    assert from_ehr(ehr_event()) == from_ehr(json.dumps(wrapped, indent=1).encode())
    assert from_ehr(ehr_event()) == from_ehr(json.dumps(ehr_event(), indent=1).encode())


def test_before_is_optional() -> None:
    """Absent, null, or the whole row: a change is known by our own state."""
    event = ehr_event()
    without = {key: value for key, value in event.items() if key != "before"}

    assert from_ehr(event) == from_ehr(without) == from_ehr(event | {"before": PATIENT_ROW})


def test_trace_headers_are_passed_through() -> None:
    """W3C trace context, and nothing else of the headers."""
    headers = [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("other", b"x")]
    change = one(from_ehr(ehr_event(), headers=headers))

    assert {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} == change.trace


# ---------------------------------------------------------------------------------------------------- bad input


SECRET = "Zebedee"


@pytest.mark.parametrize(
    ("columns", "reason", "said"),
    [
        ({"birth_date": 2_932_532}, "not_canonical", "column `birth_date`: a date outside the years 1900 to 2100"),
        ({"birth_date": -719_528}, "not_canonical", "column `birth_date`: a date outside the years 1900 to 2100"),
        ({"birth_date": 2**31 - 1}, "not_canonical", "column `birth_date`"),
        ({"birth_date": "1980-12-31"}, "wrong_type", "column `birth_date`: expected `int | null`, got `str`"),
        ({"family_name": 7}, "wrong_type", "column `family_name`: expected `str | null`, got `int`"),
        ({"family_name": {"a": SECRET}}, "wrong_type", "column `family_name`: expected `str | null`, got `object`"),
        ({"sex": SECRET}, "not_canonical", "column `sex`: a value that is not one of the field's choices"),
        ({"weight_kg": SECRET}, "not_canonical", "column `weight_kg`"),
        ({"weight_kg": 10**30}, "not_canonical", "column `weight_kg`: a number too large to be exact"),
        ({"email": SECRET * 200_000}, "not_canonical", "column `email`: a text longer than 4096 characters"),
        ({"next_appointment_at": 10**18}, "not_canonical", "column `next_appointment_at`"),
        ({"updated_at": 2**63 - 1}, "not_canonical", "column `updated_at`: a moment outside the years 1900 to 2100"),
        ({"base_version": 1.5}, "not_canonical", "column `base_version`: a fraction where a whole number is due"),
        ({"patient_id": None}, "missing_key", "the key column `patient_id` is not there, or null"),
        ({"crm_id": "x" * 300}, "bad_key", "the record id is an id longer than 256 characters"),
        ({"crm_id": "a\u0000b"}, "bad_key", "the record id is an id with characters that cannot be printed"),
        ({"crm_id": "__lane"}, "bad_key", "the record id is an id that begins with `__`, which is reserved"),
        ({"crm_id": UNAVAILABLE}, "no_record", "the event does not carry `crm_id`"),
        ({"shoe_size": SECRET}, "unknown_column", "unknown column `shoe_size`"),
        ({f"{SECRET} was born": 1}, "unknown_column", "unknown column whose name is no plain word"),
    ],
)
def test_a_bad_column_makes_the_event_undecodable(columns: dict[str, Any], reason: str, said: str) -> None:
    """The reason names table, column and kind of mistake, and never the value."""
    error = refused(from_ehr, ehr_event(**columns))

    assert reason == error.reason
    assert said in error.message
    assert error.message.startswith("table `public.patient`")
    assert SECRET not in error.message


def test_half_a_surrogate_pair_is_refused() -> None:
    """Neither as an escape nor as bytes can it be text."""
    escaped = packed(ehr_event(family_name="HALF")).replace(b"HALF", b"\\ud800")
    raw = packed(ehr_event(family_name="HALF")).replace(b"HALF", b"\xed\xa0\x80")

    assert "not_json" == refused(from_ehr, escaped).reason
    assert "not_json" == refused(from_ehr, raw).reason


def test_a_key_that_stands_twice_is_refused_wherever_it_stands() -> None:
    """Which of the two values was meant cannot be known: in the row, the source block and the envelope."""
    text = packed(ehr_event(city="Colon: town"))
    twice = [
        text.replace(b'"email":', b'"email":"other@example.org","email":', 1),
        text.replace(b'"email":', b'"email" :"other@example.org","email":', 1),
        text.replace(b'"email":', b'"email"\n:"a\\":b","email":', 1),
        text.replace(b'"lsn":', b'"lsn":1,"lsn":', 1),
        text.replace(b'"op":', b'"op":"d","op":', 1),
        text.replace(b'"before":null,', b"", 1).replace(b'"email":', b'"email":null,"email":', 1),
        packed({"schema": None}).replace(b"}", b',"payload":null,"payload":' + text + b"}"),
        packed({"schema": {"payload": 1}})[:-1] + b',"payload" :null,"payload" :' + text + b"}",
    ]

    assert ["duplicate_key"] * len(twice) == [refused(from_ehr, value).reason for value in twice]


def test_colons_in_values_are_no_suspicion_for_long() -> None:
    """Times, and JSON within a text, hold what looks like the end of a key."""
    change = one(from_ehr(ehr_event(diagnoses='{"code":"E66.9","note":"a : b"}')))

    assert {"program": "metabolic", "diagnoses": '{"code":"E66.9","note":"a : b"}'} == change.fields["conditions"]


@pytest.mark.parametrize(
    "old", [{}, {"city": "Colon: town"}, {"diagnoses": '{"code":"E66.9"}'}, {"created_at": {"a": [1]}}]
)
def test_what_the_row_before_holds_hides_no_key_that_stands_twice(old: dict[str, Any]) -> None:
    """It is never looked at: its keys and its colons make up for none of the row's, and are no suspicion either."""
    text = packed(ehr_event() | {"before": PATIENT_ROW | old})
    row_at = text.index(b'"after":')
    twice = text[:row_at] + text[row_at:].replace(b'"email":', b'"email":null,"email":', 1)

    assert one(from_ehr(ehr_event())) == one(from_ehr(text))
    assert "duplicate_key" == refused(from_ehr, twice).reason


def test_an_ignored_column_may_hold_anything() -> None:
    """Even an object with colons and keys of its own."""
    assert one(from_ehr(ehr_event())) == one(from_ehr(ehr_event(created_at={"a": [1, {"b": "x:y"}], "c": '":'})))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x00\x00\x00\x00\x07garbage", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"{", "not_json"),
        (b"[]", "not_an_envelope"),
        (b"7", "not_an_envelope"),
        (b"{}", "not_an_envelope"),
        (b'{"op":"u"}', "not_an_envelope"),
        (b'{"op":"x","source":{}}', "not_an_envelope"),
        (b"[" * 100_000, "too_deep"),
        (b'{"op":"u","source":' + b'{"a":' * 5_000, "too_deep"),
        (packed({"patient_id": 1, "__op": "u", "__deleted": "false"}), "unsupported"),
        (packed(ehr_event(source={"connector": "mysql"})), "unsupported"),
        (packed(ehr_event(source={"table": "visit"})), "unknown_table"),
        (packed(ehr_event() | {"after": None}), "not_an_envelope"),
        (packed(ehr_event("d") | {"before": None}), "not_an_envelope"),
        (packed(ehr_event(source={"snapshot": "maybe"})), "not_an_envelope"),
        (packed(ehr_event(source={"snapshot": []})), "not_an_envelope"),
        (packed(ehr_event(source={"ts_ms": "now"})), "wrong_type"),
        (packed(ehr_event(source={"ts_ms": 10**17})), "wrong_type"),
        (packed(ehr_event() | {"after": []}), "wrong_type"),
    ],
)
def test_what_is_no_envelope_is_refused_with_its_reason(value: bytes, reason: str) -> None:
    """Undecodable bytes, other shapes, other connectors, unknown tables."""
    assert reason == refused(from_ehr, value).reason


def test_a_registry_frame_is_recognised() -> None:
    """The message says which setting to change."""
    error = refused(from_ehr, b"\x00\x00\x00\x00\x07garbage")

    assert "set the connector's converter to JSON" in error.message


def test_a_record_without_key_is_refused() -> None:
    """Without a key a table's rows are in no order; the message says what to do."""
    error = refused(from_ehr, ehr_event(), key=None)

    assert ("missing_key", True) == (error.reason, "message.key.columns" in error.message)


def test_a_memo_that_is_full_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values come, each is read right and memory stays bounded."""
    monkeypatch.setattr(memos, "MEMO_SIZE", 8)
    decoder = sources.decoder(EHR, MATRIX)
    for number in range(100):
        event = ehr_event(city=f"Town {number}", preferred_name=UNAVAILABLE if number % 2 else None)
        change = one(decoder.decode(EHR_TOPIC, b"{}", packed(event), 0))
        assert f"Town {number}" == change.fields["address"]["city"]  # type: ignore[index]  # an address has parts
        assert (number % 2 == 0) == ("preferred_name" in change.fields)
