"""Whatever bytes and headers arrive in Avro, the answer is changes, an ignored reason or the one declared error.

Beside any bytes at all: bodies of a known schema damaged in one place, which get deepest; and schemas of any shape.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from avro_kit import EhrTopic, Shelf, avro_wire, body, registry
from ownership_stream import sources
from ownership_stream.matrix.normalise import MAX_WHOLE
from ownership_stream.model import Change, Evidence
from ownership_stream.wire import JSON, WireError
from ownership_stream.wire.avro import BadSchemaError, NotAvroError, WriterSchema
from ownership_stream.wire.framing import APICURIO, BY_GUID, HEADERS, Framed, FramingError, framed, prefix
from source_kit import PATIENT_ROW, ehr_event

TOPIC = EhrTopic()
ANOTHER = TOPIC.shelf.put({"type": "map", "values": ["null", "double", {"type": "array", "items": "string"}]})
KNOWN = st.sampled_from([TOPIC.number, TOPIC.key_number, ANOTHER])
REAL = [TOPIC.event(ehr_event(op)) for op in ("c", "u", "d", "r")]
HEADER = st.tuples(
    st.sampled_from([*HEADERS.values(), *APICURIO["value"], "traceparent"]),
    st.none()
    | st.binary(max_size=20)
    | st.just(b"\x01" + TOPIC.shelf.guid(TOPIC.number).bytes)
    | st.integers(0, 9).map(prefix),
)


def tried(declared: type[Exception], call: Callable[..., Any], *said: Any, **named: Any) -> Any:
    """What the call gives, or the declared error that it raises; any other goes through."""
    try:
        return call(*said, **named)
    except declared as error:
        return error


def answered(value: bytes | None, key: bytes | None = None, headers: Any = ()) -> tuple[Change, ...]:
    """The changes, of a right answer."""
    decoded = tried(sources.Undecodable, TOPIC.decode, value, key=key, headers=headers)
    if isinstance(decoded, sources.Undecodable):
        assert decoded.reason in sources.REASONS
        assert decoded.message.isprintable()
        assert len(decoded.message) < 400
        return ()
    assert (decoded.ignored in sources.IGNORED) != bool(decoded.changes)
    for change in decoded.changes:
        assert change == JSON.read_change(JSON.encode(change))
    return decoded.changes


@given(st.none() | st.binary(max_size=64), st.binary(max_size=24), st.lists(HEADER, max_size=2))
def test_any_bytes_and_headers_are_answered(value: bytes | None, key: bytes, headers: Any) -> None:
    """Framed or not, by any schema or none."""
    answered(value, key, headers)


@given(KNOWN, st.binary(max_size=200))
def test_any_body_of_a_known_schema_is_answered(number: int, said: bytes) -> None:
    """The prefix is right, and what follows is anything."""
    answered(prefix(number) + said)


@given(st.sampled_from(REAL), st.data())
def test_a_damaged_record_is_answered(value: bytes, data: st.DataObject) -> None:
    """Cut, changed in one byte, or with more behind it."""
    place = data.draw(st.integers(5, len(value) - 1))
    if data.draw(st.booleans()):
        answered(value[:place])
    other = bytearray(value)
    other[place] = data.draw(st.integers(0, 255))
    answered(bytes(other) + data.draw(st.binary(max_size=3)))


SECRETS = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=12, max_size=12)


@given(st.sampled_from([name for name, found in PATIENT_ROW.items() if isinstance(found, str)]), SECRETS, st.booleans())
def test_no_error_shows_a_value_of_the_row(column: str, secret: str, cut: bool) -> None:
    """Neither what a decoder stumbles over nor what is not canonical."""
    value = TOPIC.event(ehr_event(**{column: secret + "\0"}))
    answer = tried(sources.Undecodable, TOPIC.decode, value[:-3] if cut else value)

    assert secret not in getattr(answer, "message", "")


@given(st.binary(max_size=40), st.lists(HEADER, max_size=3), st.sampled_from(["key", "value"]))
def test_any_framing_is_answered(data: bytes, headers: Any, part: Any) -> None:
    """A schema and where the body begins, nothing, or the declared error."""
    found = tried(FramingError, framed, data, headers, part)
    if isinstance(found, FramingError):
        assert found.reason in sources.REASONS
    elif found is None:
        assert data[:1] not in (b"\0", bytes([BY_GUID]))
    else:
        assert found.begin in (0, 5, 17)


@given(st.integers(1, 2**32 - 1), st.binary(max_size=8))
def test_a_number_that_is_written_is_read(number: int, said: bytes) -> None:
    """Any of them."""
    assert Framed(number, 5) == framed(prefix(number) + said, ())


WORDS = st.sampled_from(
    ["record", "array", "map", "union", "enum", "fixed", "null", "int", "double", "string", "bytes", "R", "n.R", ""]
)
SCHEMAS = st.recursive(
    WORDS | st.none() | st.integers(-3, 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "default"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=14,
)


@given(SCHEMAS, st.binary(max_size=12))
def test_any_schema_is_answered(schema: Any, said: bytes) -> None:
    """It reads, or is none; what it reads is JSON, or is no Avro."""
    known = tried(BadSchemaError, WriterSchema, json.dumps(schema))
    if isinstance(known, BadSchemaError):
        assert str(known).isprintable()
        return
    text = tried(NotAvroError, known.text, said)
    if not isinstance(text, NotAvroError):
        msgspec.json.decode(text)


@given(st.floats(), st.floats(), st.integers(-5, 5))
def test_floats_are_found_wherever_a_schema_puts_them(first: float, second: float, whole: int) -> None:
    """In records, lists, maps and unions; a number that JSON cannot say is never a null."""
    inner = {"type": "record", "name": "In", "fields": [{"name": "f", "type": ["null", "double", "string"]}]}
    schema = {
        "type": "record",
        "name": "Out",
        "fields": [
            {"name": "n", "type": "long"},
            {"name": "in", "type": ["null", inner]},
            {"name": "list", "type": {"type": "array", "items": "In"}},
            {"name": "map", "type": {"type": "map", "values": ["In", "long"]}},
        ],
    }
    value = {"n": whole, "in": {"f": "x"}, "list": [{"f": None}, {"f": first}], "map": {"a": {"f": second}, "b": 1}}
    said = body(schema, value)
    known = WriterSchema(json.dumps(schema))
    text = tried(NotAvroError, known.text, said)
    if all(abs(number) < float("inf") for number in (first, second)):
        assert value == json.loads(text)
    else:
        assert isinstance(text, NotAvroError)


# ---------------------------------------------------------------------------------------------------- our own wire

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_WHOLE, MAX_WHOLE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.dictionaries(TEXT, SCALARS | st.dictionaries(TEXT, SCALARS, max_size=3), max_size=4)
CHANGES = st.builds(
    Change,
    id=TEXT,
    record=TEXT,
    op=st.sampled_from(["c", "u", "d", "r"]),
    position=st.none() | st.lists(st.integers(0, 2**63 - 1), max_size=3).map(tuple),
    fields=VALUES,
    compared=VALUES,
    actor=st.none() | TEXT,
    evidence=st.dictionaries(TEXT, st.builds(Evidence, st.none() | TEXT, st.none() | st.integers(0, 9)), max_size=2),
    event=st.lists(TEXT, max_size=2).map(tuple),
)
SHELF = Shelf()
WIRE = avro_wire(SHELF, registry(SHELF))


@given(CHANGES)
def test_a_change_is_the_same_by_either_wire(change: Change) -> None:
    """Value by value and kind by kind: a whole number stays one, a boolean is no number."""
    again = WIRE.read_change(WIRE.encode(change))

    assert JSON.encode(change) == JSON.encode(again)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_on_a_topic_of_ours_are_answered(said: bytes, is_framed: bool) -> None:
    """Read as each kind of record there is."""
    WIRE.encode(Change(id="c", record="r"))
    for read in (WIRE.read_change, WIRE.read_sighting, WIRE.read_conflict, WIRE.read_resolution, WIRE.read_apply):
        found = tried(WireError, read, prefix(1) + said if is_framed else said)
        assert not isinstance(found, WireError) or str(found).isprintable()
