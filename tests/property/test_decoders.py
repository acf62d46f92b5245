"""Whatever bytes arrive, a decoder answers with changes, an ignored reason or its one declared error.

Three kinds of input: any bytes at all; JSON of any shape; and real records damaged in one place, which get deepest.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzzing import JSON, damaged
from ownership_stream import sources, wire
from ownership_stream.identity import MAX_ID
from ownership_stream.model import Change
from source_kit import (
    CRM,
    CRM_TOPIC,
    EHR,
    EHR_TOPIC,
    MATRIX,
    PATIENT_ROW,
    changed,
    crm_event,
    ehr_event,
    packed,
)

ROW_EVENT = {"table": "Contact", "op": "u", "at": 5, "version": [1, 2], "row": {"Id": "c-7", "LastName": "Doe"}}
DECODERS: dict[str, sources.Decoder] = {
    EHR_TOPIC: sources.decoder(EHR, MATRIX),
    CRM_TOPIC: sources.decoder(CRM, MATRIX),
    "canonical": sources.decoder(msgspec.structs.replace(CRM, connector="canonical"), MATRIX),
}
REAL: dict[str, list[Any]] = {
    EHR_TOPIC: [ehr_event(), ehr_event("d"), ehr_event("r"), {"schema": {}, "payload": ehr_event("c")}],
    CRM_TOPIC: [
        changed(LastName="Doe", Birthdate="1980-12-31", Next_Appointment__c=5),
        crm_event({"changeType": "CREATE"}),
        crm_event({"changeType": "GAP_UPDATE"}),
        {"schema": {}, "payload": changed(Follow_Up_Completed_At__c=5)},
    ],
    "canonical": [ROW_EVENT, ROW_EVENT | {"evidence": {"contact_preference": {"by": "p", "at": 1}}}],
}

TOPICS = st.sampled_from(sorted(DECODERS))


def decode(topic: str, value: bytes | None, key: bytes | None = b"{}") -> sources.Decoded | sources.Undecodable:
    """What the decoder of a topic makes of a record; any other exception than the declared one goes through."""
    try:
        return DECODERS[topic].decode(topic, key, value, 5, [("traceparent", b"x"), ("a", b"\xff")])
    except sources.Undecodable as error:
        return error


def answered(topic: str, value: bytes | None, key: bytes | None = b"{}") -> tuple[Change, ...]:
    """The changes, of a right answer: the only exception is the declared one, and what is decoded can go on."""
    decoded = decode(topic, value, key)
    if isinstance(decoded, sources.Undecodable):
        assert decoded.reason in sources.REASONS
        assert decoded.message.isprintable()
        assert len(decoded.message) < 400
        return ()
    assert (decoded.ignored in sources.IGNORED) != bool(decoded.changes)
    for change in decoded.changes:
        message = wire.change_message(change)
        assert message.value is not None
        assert change == wire.JSON.read_change(message.value)
        assert 0 < len(change.record) <= MAX_ID
        assert change.fields.keys() | change.compared.keys() | change.requests.keys() <= MATRIX.fields.keys()
    return decoded.changes


@given(TOPICS, st.none() | st.binary(max_size=64), st.none() | st.binary(max_size=8))
def test_any_bytes_are_answered(topic: str, value: bytes | None, key: bytes | None) -> None:
    """Also no bytes, and with any key."""
    answered(topic, value, key)


@given(TOPICS, JSON)
def test_any_json_is_answered(topic: str, value: Any) -> None:
    """Of any shape, half surrogates and numbers without bound included."""
    answered(topic, json.dumps(value).encode())


@st.composite
def damaged_of_any(draw: st.DrawFn) -> tuple[str, bytes]:
    """A topic, and a damaged record of it."""
    topic = draw(TOPICS)
    return topic, draw(damaged(REAL[topic]))


@given(damaged_of_any())
def test_a_damaged_record_is_answered(case: tuple[str, bytes]) -> None:
    """Wherever the damage is."""
    answered(*case)


@given(TOPICS, st.data())
def test_a_cut_or_flipped_record_is_answered(topic: str, data: st.DataObject) -> None:
    """Bytes that were truncated or changed on the way."""
    value = bytearray(packed(data.draw(st.sampled_from(REAL[topic]))))
    place = data.draw(st.integers(0, len(value) - 1))
    if data.draw(st.booleans()):
        answered(topic, bytes(value[:place]))
    value[place] = data.draw(st.integers(0, 255))
    answered(topic, bytes(value))


SECRETS = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=12, max_size=12)


@given(
    st.sampled_from(sorted(PATIENT_ROW.keys() - {"patient_id"})),
    SECRETS,
    st.sampled_from(["", "\ud800", "x" * 5000, "\0"]),
)
def test_no_error_shows_a_value_of_the_row(column: str, secret: str, ending: str) -> None:
    """Whatever is wrong with a value: the message names its column and not it."""
    broken: list[Any] = [secret + ending, {secret: 1}, [secret]]
    for wrong in broken:
        value = json.dumps(ehr_event(**{column: wrong})).encode()
        assert secret not in getattr(decode(EHR_TOPIC, value), "message", "")


KEYS = st.sampled_from(["email", "city", "family_name", "created_at", "lsn", "op", "after", "source", "ts_ms"])
BEFORE = st.sampled_from([b'"%s":', b'"%s" :', b'"%s"\t:\n', b'"%s":"a\\":b","%s":'])
VALUES = st.text(st.characters(codec="utf-8")) | st.just('":') | st.just(' : "') | st.just("a:b")


@given(KEYS, BEFORE, VALUES, VALUES, st.booleans())
@example("email", b'"%s" :', '":', "", True)
def test_no_key_that_stands_twice_gets_through(key: str, begin: bytes, first: str, other: str, spaced: bool) -> None:
    """However the text is spaced, and whatever the values hold; nothing within an ignored column matters."""
    text = json.dumps(
        ehr_event(city=first, diagnoses=other), separators=(", ", ": ") if spaced else (",", ":")
    ).encode()
    twice = begin.replace(b"%s", key.encode()) + json.dumps(other).encode() + b","
    place = text.index(f'"{key}":'.encode())
    value = text[:place] + twice + text[place:]

    with pytest.raises(KeyError):
        json.loads(value, object_pairs_hook=pairs)
    assert () == answered(EHR_TOPIC, value)


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, or `KeyError` if a key stands in it twice."""
    if len(dict(found)) != len(found):
        raise KeyError
    return dict(found)


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_read_as_its_canonical_form(city: str, street: str) -> None:
    """And what is written back is read as the same: the mapping and its reverse agree."""
    (first,) = answered(EHR_TOPIC, packed(ehr_event(city=city, street=street))) or (None,)
    if first is None:
        assert "\0" in city + street
        return
    columns = sources.Writer(EHR, MATRIX).columns("address", first.fields["address"])
    (again,) = answered(EHR_TOPIC, packed(ehr_event(**columns)))

    assert first.fields["address"] == again.fields["address"]
