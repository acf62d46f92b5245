"""What stands on our topics: shapes, headers, and that the same words give the same bytes."""

import json
from typing import Any

import msgspec
import pytest

from ownership_stream import wire
from ownership_stream.model import (
    LINKED_FORMAT,
    STATE_FORMAT,
    Case,
    CaseEvent,
    Change,
    Evidence,
    FieldState,
    Outcome,
    Proposal,
    RecordState,
    RowState,
    Send,
    Sent,
    Speaking,
    SystemState,
)
from ownership_stream.sources import Writer
from source_kit import CONTACT, CRM, EHR, MATRIX, ehr_event, from_ehr, one

CHANGE = msgspec.structs.replace(
    one(from_ehr(ehr_event())), received=1_767_261_601_000, trace={"tracestate": "b=2", "traceparent": "00-a-b-01"}
)
CONTEXT = wire.Context(CHANGE, "enforce", "2026-11-23+1f0c9a2b", ("ehr", "crm"))
CASE = Case(
    id="k-1",
    field="legal_name",
    reason="clear",
    opened=5,
    owner="clinical_ops",
    due=9,
    proposals=(Proposal("crm", None, "c-0", 4), Proposal("ehr", {"family": "Doe", "given": None}, "c-1", 5)),
)


def texts(message: wire.Message) -> dict[str, str]:
    """The headers of a record as text."""
    return {name: value.decode() for name, value in message.headers}


def sent(system: str = "crm", **values: Any) -> Send:
    """What a system is sent."""
    return Send(system, CONTACT if system == "crm" else "123", values, "change", 42, 41, "provider/7", "provider")


def applied(send: Send) -> Any:
    """The value of an apply record, as a stranger reads it."""
    writer = Writer(CRM if send.system == "crm" else EHR, MATRIX)
    message = wire.apply_record(writer, send, CHANGE, rules=["owner wins", "owner wins"], revision="r", at=7)
    assert message.value is not None
    return json.loads(message.value)


# ---------------------------------------------------------------------------------------------------- changes


def test_a_change_comes_back_as_it_was() -> None:
    """Keyed by its record."""
    message = wire.change_message(CHANGE)

    assert message.value is not None
    assert CHANGE == wire.JSON.read_change(message.value)
    assert CHANGE.record.encode() == message.key


def test_the_headers_are_cloudevents_and_the_trace() -> None:
    """All text, and each name once: some sinks fail on duplicates."""
    message = wire.change_message(CHANGE)

    assert {
        "ce_specversion": "1.0",
        "ce_id": CHANGE.id,
        "ce_type": "ownership.change.v1",
        "ce_source": "/ownership-stream/ehr",
        "ce_subject": CONTACT,
        "ce_time": "2026-01-01T10:00:00.123Z",
        "content-type": "application/json",
        "traceparent": "00-a-b-01",
        "tracestate": "b=2",
    } == texts(message)
    assert len(message.headers) == len(texts(message))


def test_what_stands_at_its_default_is_not_written() -> None:
    """A tick is small, and a new default-bearing field changes no old bytes."""
    tick = Change(id="t", record="r", kind="tick")

    assert wire.change_message(tick).value == b'{"id":"t","record":"r","kind":"tick"}'
    assert "/ownership-stream/tick" == texts(wire.change_message(tick))["ce_source"]


def test_equal_words_give_equal_bytes() -> None:
    """In whatever order a dictionary was filled."""
    turned = msgspec.structs.replace(CHANGE, fields=dict(reversed(CHANGE.fields.items())))

    assert wire.change_message(CHANGE) == wire.change_message(turned)


@pytest.mark.parametrize(
    "bad", [b"", b"{}", b"[]", b'{"id":1,"record":"r"}', b"\xff", b"[" * 100_000, b'{"id":"a","record":"r","new":1}']
)
def test_bytes_that_are_no_change_are_refused(bad: bytes) -> None:
    """One error, which shows nothing of them."""
    with pytest.raises(wire.WireError, match="these bytes are not a change of this release"):
        wire.JSON.read_change(bad)


# ---------------------------------------------------------------------------------------------------- states


def state() -> RecordState:
    """A state with something of everything."""
    return RecordState(
        version=3,
        systems={
            "ehr": SystemState(
                key="123",
                present=True,
                shown={"weight": 81.5, "legal_name": {"family": "Doe", "given": None}, "email": None},
                outstanding={"email": (Sent("a@b.example", "c-1", 5),)},
                rows={"ehr/public.patient/123": RowState(position=(0, 1, 2), evidence={"x": Evidence("p", 1)})},
            )
        },
        fields={"weight": FieldState(value=81.5, version=3, position=(0, 1, 2), evidence=Evidence("p", 1))},
        stages=((0, "qualified"), (5, "in_care")),
        care_started=5,
        cases={"legal_name": CASE},
    )


def test_a_state_comes_back_as_it_was() -> None:
    """And packs to the same bytes again."""
    packed = wire.pack_state(state())

    assert state() == wire.unpack_state(packed)
    assert packed == wire.pack_state(wire.unpack_state(packed))


def test_who_a_case_was_assigned_to_is_in_the_state_only_where_there_is_somebody() -> None:
    """A state without is the bytes that it was before people could assign."""
    nobody = state()
    somebody = msgspec.structs.replace(nobody, assigned={"email": "Ida"})

    speaking = msgspec.structs.replace(somebody, speaking={"ehr/medication": Speaking("ehr")})

    for kept in (somebody, speaking):
        assert kept == wire.unpack_state(wire.pack_state(kept))
    assert len(msgspec.msgpack.decode(wire.pack_state(nobody))) == 8
    assert wire.pack_state(nobody) == wire.pack_state(msgspec.structs.replace(somebody, assigned={}))


def test_a_record_never_seen_has_a_new_state() -> None:
    """The store knows nothing of it."""
    assert RecordState() == wire.unpack_state(None)


def test_a_state_of_another_format_is_refused_by_its_number() -> None:
    """Also one whose shape this release could not read."""
    newer = msgspec.msgpack.encode(RecordState(format=LINKED_FORMAT + 1))
    stranger = msgspec.msgpack.encode([LINKED_FORMAT + 1, "words", "of", "another", "release"])

    for packed in (newer, stranger):
        with pytest.raises(
            wire.WireError,
            match=f"has format {LINKED_FORMAT + 1}, and this release reads {STATE_FORMAT} and {LINKED_FORMAT}",
        ):
            wire.unpack_state(packed)


@pytest.mark.parametrize(
    "bad", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode([STATE_FORMAT, "three"]), b"\x91" * 100_000]
)
def test_bytes_that_are_no_state_are_refused(bad: bytes) -> None:
    """A store that holds something else must not be written over in silence."""
    with pytest.raises(wire.WireError, match="these bytes are not of our store or changelog"):
        wire.unpack_state(bad)


# ---------------------------------------------------------------------------------------------------- apply records


def test_an_apply_record_is_debezium_s_envelope_with_a_sync_block() -> None:
    """A stock sink writes `after`; a careful writer reads `sync`."""
    record = applied(sent(legal_name={"family": "Doe", "given": "Ann"}, date_of_birth="1980-12-31"))

    assert {
        "before": None,
        "after": {
            "Id": CONTACT,
            "LastName": "Doe",
            "FirstName": "Ann",
            "Birthdate": "1980-12-31",
            "Sync_Change_Id__c": CHANGE.id,
        },
        "source": {
            "name": "ownership",
            "ts_ms": CHANGE.at,
            "db": "crm",
            "schema": "crm",
            "table": "Contact",
            "version": "1",
            "connector": "ownership-stream",
            "snapshot": "false",
            "sequence": None,
        },
        "transaction": None,
        "op": "u",
        "ts_ms": 7,
        "sync": {
            "change_id": CHANGE.id,
            "record_id": CONTACT,
            "version": 42,
            "expected_version": 41,
            "source_system": "ehr",
            "source_version": "0:24023119:24023128",
            "changed_fields": ["Birthdate", "LastName", "FirstName"],
            "actor": "provider/7",
            "role": "provider",
            "reason": None,
            "rule": "owner wins",
            "matrix_revision": "r",
            "kind": "change",
        },
    } == record


def test_a_value_is_written_as_its_source_writes_it() -> None:
    """Days, microseconds, a whole number for a key: what is sent can come back unchanged."""
    at = "2026-01-01T10:00:00.123Z"
    after = applied(sent("ehr", date_of_birth="1980-12-31", next_appointment=at, care_stage="active"))["after"]

    assert {
        "patient_id": 123,
        "birth_date": 4017,
        "next_appointment_at": 1_767_261_600_123_000,
        "care_status": "active",
        "sync_change_id": CHANGE.id,
    } == after


def test_a_cleared_field_of_parts_clears_every_column_of_it() -> None:
    """And only those that the system shows."""
    after = applied(sent("crm", medication_plan=None))["after"]

    assert {"Id": CONTACT, "Medication__c": None, "Medication_Status__c": None, "Sync_Change_Id__c": CHANGE.id} == after


def test_what_is_sent_is_what_comes_back() -> None:
    """The writer is the reverse of the mapping: an apply record, read as a row, holds the values that were sent."""
    values: dict[str, Any] = {
        name: value for name, value in CHANGE.fields.items() if name in Writer(EHR, MATRIX).fields and value is not None
    }
    after = applied(sent("ehr", **values))["after"]
    back = one(from_ehr(ehr_event(**after)))

    assert {name: back.fields[name] for name in values} == values


def test_an_apply_record_is_keyed_by_the_system_s_own_key() -> None:
    """As the source writes it."""
    message = wire.apply_record(Writer(EHR, MATRIX), sent("ehr", email=None), CHANGE, rules=[], revision="r", at=7)

    assert b'{"patient_id":123}' == message.key
    assert f"{CHANGE.id}:ehr" == texts(message)["ce_id"]


def test_a_field_without_column_cannot_be_sent() -> None:
    """The matrix's lint says so before; to send half a value would be worse."""
    with pytest.raises(KeyError):
        applied(sent("ehr", referral_source_detail="x"))


# ---------------------------------------------------------------------------------------------------- conflicts


def test_a_conflict_record_says_all_that_a_person_needs() -> None:
    """Record, field, outcome, sentence, values, writer, case and deadline."""
    outcome = Outcome("legal_name", "queued", "clear", "stage owner wins", "owner: ehr", "in_care")
    message = wire.conflict_record(
        CONTEXT,
        outcome,
        label="Patient legal name",
        sentence="an automation tried to clear it",
        proposed=None,
        current={"family": "Doe", "given": "Ann"},
        current_version=7,
        case=CASE,
    )
    assert message.value is not None
    record = wire.JSON.read_conflict(message.value)

    assert ("decided", "queued", "clear", "legal_name") == (record.event, record.outcome, record.reason, record.field)
    assert ("k-1", "clinical_ops", 5, 9) == (record.case_id, record.owner, record.opened, record.due)
    assert ("provider/7", "provider", CHANGE.id) == (record.actor, record.role, record.change_id)
    assert ({"family": "Doe", "given": "Ann"}, 7) == (record.current, record.current_version)
    assert (CONTACT.encode(), f"{CHANGE.id}:legal_name") == (message.key, texts(message)["ce_id"])


def test_a_case_record_shows_what_waits_last() -> None:
    """Its id differs from that of the write itself."""
    message = wire.case_record(CONTEXT, CaseEvent("opened", CASE), label="Patient legal name", sentence="s")
    assert message.value is not None
    record = wire.JSON.read_conflict(message.value)

    assert ("opened", {"family": "Doe", "given": None}) == (record.event, record.proposed)
    assert f"{CHANGE.id}:legal_name:opened" == texts(message)["ce_id"]


def test_a_resolution_record_comes_back_as_it_was() -> None:
    """Logged with actor and outcome."""
    record = wire.Resolution(
        record=CONTACT,
        field="email",
        label="E-mail",
        actor="matrix",
        outcome="applied",
        before="a@b.example",
        after="c@d.example",
        version=8,
        change_id=CHANGE.id,
        at=5,
        mode="enforce",
        revision="r",
    )
    message = wire.resolution_record(CONTEXT, record)

    assert message.value is not None
    assert record == wire.JSON.read_resolution(message.value)


# ---------------------------------------------------------------------------------------------------- dead letters


def buried(**said: Any) -> wire.Message:
    """A dead letter."""
    known: dict[str, Any] = {
        "key": b"\x01",
        "value": b"\xff\x00",
        "headers": [("a", b"1"), ("a", b"2")],
        "topic": "ehr.public.patient",
        "partition": 3,
        "offset": 17,
        "stage": "decode",
        "reason": "not_json",
        "error": "Undecodable",
        "message": "source `ehr`: no JSON",
    }
    return wire.dead_letter(**known | said)


def test_a_dead_letter_keeps_bytes_key_and_headers() -> None:
    """And says where it came from and why, in headers of its own."""
    message = buried()

    assert (b"\x01", b"\xff\x00") == (message.key, message.value)
    assert [("a", b"1"), ("a", b"2")] == message.headers[:2]
    assert {
        "__ownership.errors.topic": "ehr.public.patient",
        "__ownership.errors.partition": "3",
        "__ownership.errors.offset": "17",
        "__ownership.errors.stage": "decode",
        "__ownership.errors.reason": "not_json",
        "__ownership.errors.exception.class.name": "Undecodable",
        "__ownership.errors.exception.message": "source `ehr`: no JSON",
    } == {name: value for name, value in texts(message).items() if name.startswith(wire.ERRORS)}


def test_a_dead_letter_that_is_buried_again_tells_the_last_burial() -> None:
    """Each header once, and a message of bounded length."""
    first = buried()
    again = buried(headers=first.headers, stage="step", message="x" * 10_000)

    assert len(first.headers) == len(again.headers)
    assert "step" == texts(again)["__ownership.errors.stage"]
    assert 500 == len(texts(again)["__ownership.errors.exception.message"])


def test_a_null_value_stays_null() -> None:
    """A tombstone among the dead letters is a true null, not the text."""
    assert buried(value=None, key=None)[:2] == (None, None)


def test_times_are_written_as_rfc_3339() -> None:
    """With milliseconds, in UTC."""
    assert ("1970-01-01T00:00:00.000Z", "2026-01-01T10:00:00.123Z") == (
        wire.rfc3339(0),
        wire.rfc3339(1_767_261_600_123),
    )
