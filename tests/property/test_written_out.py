"""The reader that is written out for a schema reads what fastavro reads, and refuses what it refuses."""

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avro_kit import body, envelope_schema
from ownership_stream.wire.written_out import reader
from source_kit import ehr_event

SCALARS = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")
NAMES = st.sampled_from(["a", "b_2", "class", "values", "data", "at", "size", "end", "branch"])
SCALAR = st.sampled_from(SCALARS)
LEAF = SCALAR | st.lists(SCALAR, min_size=1, max_size=4, unique=True)


@st.composite
def records(draw: st.DrawFn, depth: int = 2, name: str = "n.R") -> dict[str, Any]:
    """A record of plain fields, some of them records, some of them named a second time."""
    fields: list[dict[str, Any]] = []
    for own in draw(st.lists(NAMES, max_size=4, unique=True)):
        inner = draw(LEAF) if depth == 0 or draw(st.booleans()) else draw(records(depth - 1, f"{name}_{own}"))
        fields.append({"name": own, "type": inner})
        if isinstance(inner, dict) and draw(st.booleans()):
            fields.append({"name": f"{own}_again", "type": ["null", inner["name"]]})
    return {"type": "record", "name": name, "fields": fields}


def value_of(draw: st.DrawFn, type_: Any, known: dict[str, Any]) -> Any:
    """A value of a type."""
    if isinstance(type_, list):
        return value_of(draw, draw(st.sampled_from(type_)), known)
    if isinstance(type_, str) and type_ in known:
        type_ = known[type_]
    if isinstance(type_, dict):
        known[type_["name"]] = type_
        return {field["name"]: value_of(draw, field["type"], known) for field in type_["fields"]}
    return draw(
        {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-(2**63), 2**63 - 1),
            "float": st.floats(width=32, allow_nan=False),
            "double": st.floats(allow_nan=False),
            "string": st.text(st.characters(codec="utf-8"), max_size=80),
            "bytes": st.binary(max_size=200),
        }[type_]
    )


def both(schema: dict[str, Any], data: bytes) -> tuple[Any, Any]:
    """(value, where it ends) by the reader that is written out, and by fastavro; ``None`` where it is refused."""
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(schema, named)
    own = reader(parsed, named)
    assert own is not None
    found: list[Any] = []
    stream = BytesIO(data)
    for read in (lambda: own(data, 0), lambda: (fastavro.schemaless_reader(stream, parsed, None), stream.tell())):
        try:
            value, end = read()
        except Exception:  # noqa: BLE001  # whatever is raised, it is refused
            found.append(None)
        else:
            # A text that ends behind the bytes is cut short, and refused for where it ends.
            found.append(None if end != len(data) else (repr(value), end))
    return found[0], found[1]


@given(records(), st.data())
def test_what_was_written_is_read(schema: dict[str, Any], data: st.DataObject) -> None:
    """Value by value, whatever the fields are called."""

    @st.composite
    def values(draw: st.DrawFn) -> Any:
        return value_of(draw, schema, {})

    value = data.draw(values())
    try:
        written = body(schema, value)
    except ValueError:
        return  # a union in which fastavro finds no branch for a float that is whole
    own, theirs = both(schema, written)
    assert own is not None
    assert theirs == own


REAL = body(envelope_schema(), ehr_event())


@given(st.data())
def test_what_was_damaged_is_refused_or_read_alike(data: st.DataObject) -> None:
    """Cut, changed in one byte, or with more behind it."""
    place = data.draw(st.integers(0, len(REAL) - 1))
    other = bytearray(REAL)
    other[place] = data.draw(st.integers(0, 255))
    damaged = bytes(other)[: data.draw(st.sampled_from([len(REAL), place]))] + data.draw(st.binary(max_size=2))
    own, theirs = both(envelope_schema(), damaged)
    if own is not None:
        assert theirs == own


@pytest.mark.parametrize(
    "type_",
    [
        {"type": "array", "items": "long"},
        {"type": "map", "values": "long"},
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "fixed", "name": "F", "size": 3},
        ["null", "R"],
    ],
)
def test_any_other_schema_is_left_to_the_library(type_: Any) -> None:
    """Lists, maps, enums, fixed ones, and records within themselves."""
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "x", "type": type_}]}, named)

    assert reader(parsed, named) is None
    assert reader(fastavro.parse_schema("long", {}), {}) is None


@pytest.mark.parametrize("data", [b"\x80" * 11, b"\xff" * 9 + b"\x02", b"\x01x", b"\x03" + b"x" * 9])
def test_a_length_that_is_none_is_refused(data: bytes) -> None:
    """Too long a number, and a negative one, which would go back in the bytes."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "string"}]}

    assert both(schema, data)[0] is None
