"""Whatever bytes arrive, the decoder of every database and of both forms answers with changes, a reason, or its error.

The kinds of input are those of `test_decoders`: any bytes, any JSON, and real records damaged, cut and flipped.
"""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from debezium_kit import DATABASES, FIXTURES, FLATTENED, MAPPINGS, fixture
from fuzzing import JSON, damaged
from ownership_stream import sources, wire
from ownership_stream.identity import MAX_ID
from source_kit import MATRIX, packed

FLAT = "flattened_"
SOURCES: dict[str, sources.Mapping] = {
    **MAPPINGS,
    **{f"{FLAT}{name}": mapping for name, mapping in FLATTENED.items() if name != "mariadb"},
    f"{FLAT}postgresql by time": msgspec.structs.replace(FLATTENED["postgresql"], by_timestamp=True),
}


def records(name: str) -> list[dict[str, Any]]:
    """Every fixture of a database that is a row of the form."""
    database, flat = name.removeprefix(FLAT).split(" ", maxsplit=1)[0], name.startswith(FLAT)
    names = [path.stem for path in sorted((FIXTURES / database).glob("*.json"))]
    found = [fixture(database, name) for name in names if name.startswith(FLAT) == flat]
    topics = MAPPINGS[database].topics
    return [record for record in found if record["topic"] in topics and record["value"] is not None]


DECODERS = {name: sources.decoder(mapping, MATRIX) for name, mapping in SOURCES.items()}
RECORDS = {name: records(name) for name in SOURCES}
NAMES = st.sampled_from(sorted(SOURCES))
TOPICS = st.sampled_from(sorted({topic for mapping in SOURCES.values() for topic in mapping.topics} | {"x", ""}))
HEADERS = st.lists(
    st.tuples(st.sampled_from(["__debezium.newkey", "__debezium.oldkey", "traceparent", "x"]), st.none() | st.binary())
)


def decode(
    name: str, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> sources.Decoded | sources.Undecodable:
    """What a source's decoder makes of a record; any other exception than the declared one goes through."""
    try:
        return DECODERS[name].decode(topic, key, value, 5, headers)
    except sources.Undecodable as error:
        return error


def answered(
    name: str,
    topic: str,
    value: bytes | None,
    key: bytes | None = b"{}",
    headers: list[tuple[str, bytes | None]] | None = None,
) -> None:
    """A right answer: a known reason without data, or changes that can go on and are the same after the wire."""
    decoded = decode(name, topic, value, key, headers or [])
    if isinstance(decoded, sources.Undecodable):
        assert decoded.reason in sources.REASONS
        assert decoded.message.isprintable()
        assert len(decoded.message) < 400
        return
    assert (decoded.ignored in sources.IGNORED) != bool(decoded.changes)
    for change in decoded.changes:
        message = wire.change_message(change)
        assert message.value is not None
        assert change == wire.JSON.read_change(message.value)
        assert 0 < len(change.record) <= MAX_ID
        assert change.position is not None
        assert all(0 <= number < 2**63 for number in change.position)
        assert len(change.position) <= 8


def test_every_database_has_records_of_both_forms() -> None:
    """So that what follows fuzzes something."""
    assert all(RECORDS.values())
    assert {*DATABASES} <= {*RECORDS}


@given(NAMES, TOPICS, st.none() | st.binary(max_size=64), st.none() | st.binary(max_size=8), HEADERS)
def test_any_bytes_are_answered(
    name: str, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    """On any topic, with any key and any headers."""
    answered(name, topic, value, key, headers)


@given(NAMES, TOPICS, JSON)
def test_any_json_is_answered(name: str, topic: str, value: Any) -> None:
    """Of any shape, half surrogates and numbers without bound included."""
    answered(name, topic, json.dumps(value).encode())


@st.composite
def damaged_of_any(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A source, one of its topics, and a damaged record of it."""
    name = draw(NAMES)
    value = draw(damaged([record["value"] for record in RECORDS[name]]))
    return name, draw(st.sampled_from([*SOURCES[name].topics, "x"])), value


@given(damaged_of_any(), HEADERS)
def test_a_damaged_record_is_answered(case: tuple[str, str, bytes], headers: list[tuple[str, bytes | None]]) -> None:
    """Wherever the damage is, and whether it claims to be half of a changed key or not."""
    answered(*case, headers=headers)


@given(NAMES, st.data())
def test_a_cut_or_flipped_record_is_answered(name: str, data: st.DataObject) -> None:
    """Bytes that were truncated or changed on the way."""
    record = data.draw(st.sampled_from(RECORDS[name]))
    value = bytearray(packed(record["value"]))
    place = data.draw(st.integers(0, len(value) - 1))
    if data.draw(st.booleans()):
        answered(name, record["topic"], bytes(value[:place]))
    value[place] = data.draw(st.integers(0, 255))
    answered(name, record["topic"], bytes(value))


OF_POSTGRESQL = ["sequence", "lsn"]
OF_OTHERS = [
    "file",
    "pos",
    "row",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "scn",
    "commit_scn",
    "txSeq",
    "server_id",
]
WORDS = st.sampled_from([*OF_POSTGRESQL, *OF_OTHERS])
NUMBERS = (
    st.none()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.from_regex(r"[0-9]{1,25}", fullmatch=True)
    | st.from_regex(r"[0-9a-fA-F]{8}:[0-9a-f]{8}:[0-9a-f]{4}", fullmatch=True)
    | st.from_regex(r"[a-z.]{0,5}\.[0-9]{1,12}", fullmatch=True)
    | st.just('["9999999999999999999","1"]')
    | st.lists(st.integers(), max_size=2)
)


@given(st.sampled_from(DATABASES), st.dictionaries(WORDS, NUMBERS))
def test_no_position_is_out_of_bounds(name: str, said: dict[str, Any]) -> None:
    """Whatever numbers and texts the source block holds, the position is one that every reader can hold."""
    record = fixture(name, "update")
    record["value"]["source"] |= said
    answered(name, record["topic"], json.dumps(record["value"]).encode())
