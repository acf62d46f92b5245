"""Every format in every framing: whatever arrives, the answer is changes, an ignored reason or the one declared error.

Formats: the envelopes and flattened rows of each database, tables of several rows, Salesforce with nested and with flat
columns, the canonical form. Framings: JSON, JSON with its schema, Avro by a number before the body, Avro by a GUID in a
header. Records are whole or damaged in one place; in Avro a damaged record has the schema that it then has.
"""

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given, reject
from hypothesis import strategies as st
from msgspec.structs import replace

from avro_kit import Shelf, body, registry
from debezium_kit import EXAMPLES, FIXTURES, FLATTENED, MAPPINGS, fixture
from fuzzing import JSON as ANY
from fuzzing import damaged
from ownership_stream import sources
from ownership_stream.wire import JSON
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.framing import HEADERS, prefix
from source_kit import CONTACT, CRM, MATRIX, SOURCE, packed

SALESFORCE = Path(__file__).parents[1] / "fixtures" / "salesforce"
SHELF = Shelf()
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY = packed({"patient_id": 123})


def of_debezium(database: str, *, flat: bool) -> list[Any]:
    """The row events among a database's fixtures."""
    names = [path.stem for path in sorted((FIXTURES / database).glob("*.json"))]
    found = [fixture(database, name) for name in names if name.startswith("flattened") == flat]
    rows = [one["value"] for one in found if one["topic"] in MAPPINGS[database].topics and one["value"] is not None]
    return [value.get("payload", value) for value in rows]


MEDICATION = {
    "medication_id": 7, "patient_id": 123, "crm_id": CONTACT, "drug": "metformin", "dose": "1", "schedule": "daily",
    "status": "active", "prescribed_by": "provider/7", "updated_at": 5, "started_on": 20_000, "entered_in_error": False,
}  # fmt: skip
SEVERAL = [
    {"op": op, "before": before, "after": after, "source": SOURCE | {"table": "medication"}}
    for op, before, after in (
        ("u", MEDICATION | {"patient_id": 9, "crm_id": None}, MEDICATION),
        ("c", None, MEDICATION),
        ("d", MEDICATION, None),
    )
]
ROW_EVENT = {"table": "Contact", "op": "u", "at": 5, "version": [1, 2], "row": {"Id": "c-7", "LastName": "Doe"}}
FORMATS: dict[str, tuple[sources.Mapping, list[Any]]] = {
    **{name: (mapping, of_debezium(name, flat=False)) for name, mapping in MAPPINGS.items()},
    **{
        f"{name} flattened": (mapping, of_debezium(name, flat=True))
        for name, mapping in FLATTENED.items()
        if of_debezium(name, flat=True)
    },
    "several rows": (sources.load(EXAMPLES / "ehr-several-rows.yaml", MATRIX), SEVERAL),
    "salesforce": (CRM, [json.loads(path.read_text())["value"] for path in sorted(SALESFORCE.glob("*.json"))]),
    "canonical": (
        replace(CRM, connector="canonical"),
        [ROW_EVENT, ROW_EVENT | {"evidence": {"contact_preference": {"by": "p", "at": 1}}, "origin": "person"}],
    ),
}
DECODERS = {
    name: FramedDecoder(sources.decoder(mapping, MATRIX), mapping, registry(SHELF))
    for name, (mapping, _) in FORMATS.items()
}
FRAMINGS = ("json", "json with schema", "avro by number", "avro by guid")


class NoAvroError(Exception):
    """A value that Avro has no form for: a key that is no name, a number that is too large."""


def need(possible: bool) -> None:
    """Raise where it is not."""
    if not possible:
        raise NoAvroError


class SchemaOf:
    """The Avro schema that a decoded JSON value has; its records are named as they come."""

    def __init__(self) -> None:
        self._records = 0

    def of(self, value: Any) -> Any:
        """Of one value; raises ``NoAvroError``."""
        if value is None or isinstance(value, bool):
            return "null" if value is None else "boolean"
        if isinstance(value, int):
            need(-(2**63) <= value < 2**63)
            return "long"
        if isinstance(value, float):
            return "double"
        if isinstance(value, str):
            need(value.encode("utf-8", "replace").decode() == value)
            return "string"
        if isinstance(value, list):
            found = {json.dumps(one, sort_keys=True): one for one in map(self.of, value)}
            need(len(found) <= 1)
            return {"type": "array", "items": next(iter(found.values()), "string")}
        self._records += 1
        name = f"R{self._records}"
        need(all(NAME.fullmatch(key) for key in value))
        fields = [{"name": key, "type": ["null", type_] if (type_ := self.of(one)) != "null" else ["null", "string"]}
                  for key, one in value.items()]  # fmt: skip
        return {"type": "record", "name": name, "fields": fields}


def framed(value: Any, framing: str) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """A record's value as a connector with these converters writes it, and its headers."""
    if framing.startswith("json"):
        text = value if framing == "json" else {"schema": {"type": "struct", "fields": []}, "payload": value}
        return json.dumps(text).encode(), []
    schema = SchemaOf().of(value)
    need(isinstance(schema, dict) and schema["type"] == "record")
    number, said = SHELF.put(schema), body(schema, value)
    if framing == "avro by number":
        return prefix(number) + said, []
    return said, [(HEADERS["value"], b"\x01" + SHELF.guid(number).bytes)]


def decode(name: str, value: bytes, headers: list[tuple[str, bytes | None]]) -> sources.Decoded | sources.Undecodable:
    """What a source's decoder makes of a record; any other exception than the declared one goes through."""
    try:
        return DECODERS[name].decode(FORMATS[name][0].topics[0], KEY, value, 5, headers)
    except sources.Undecodable as error:
        return error


def answered(name: str, value: bytes, headers: list[tuple[str, bytes | None]]) -> Any:
    """A right answer: the changes but for their ids, or why there are none."""
    decoded = decode(name, value, headers)
    if isinstance(decoded, sources.Undecodable):
        assert decoded.reason in sources.REASONS
        assert decoded.message.isprintable()
        assert len(decoded.message) < 400
        return decoded.reason
    assert (decoded.ignored in sources.IGNORED) != bool(decoded.changes)
    for change in decoded.changes:
        assert change == JSON.read_change(JSON.encode(change))
        assert change.kind == "row" or not change.fields
        assert change.rank is None or change.among
    # Where positions are shared, an id is made of the row's text too.
    return decoded.ignored or [replace(change, id="") for change in decoded.changes]


def test_a_record_is_the_same_in_every_framing() -> None:
    """What a connector's converter is set to changes nothing of what its records mean."""
    for name, (_, records) in FORMATS.items():
        for record in records:
            # Our own form is no converter's, and so is never wrapped.
            framings = [framing for framing in FRAMINGS if name != "canonical" or framing != "json with schema"]
            found = [answered(name, *framed(record, framing)) for framing in framings]
            assert found[:1] * len(found) == found, name


def as_framed(value: Any, framing: str) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """The same of any value; another is drawn where it has no form."""
    try:
        return framed(value, framing)
    except NoAvroError:
        reject()


NAMES, HOW = st.sampled_from(sorted(FORMATS)), st.sampled_from(FRAMINGS)
HEADER = st.tuples(st.sampled_from([*HEADERS.values(), "__debezium.newkey", "x"]), st.none() | st.binary(max_size=20))


@given(NAMES, HOW, st.data())
def test_a_damaged_record_is_answered_in_every_framing(name: str, framing: str, data: st.DataObject) -> None:
    """One value is another, or one key is gone, new or twice."""
    text = data.draw(damaged(FORMATS[name][1]))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        answered(name, text, [])
        return
    answered(name, *as_framed(value, framing))


@given(NAMES, HOW, st.data())
def test_a_cut_or_flipped_record_is_answered_in_every_framing(name: str, framing: str, data: st.DataObject) -> None:
    """Bytes that were truncated, changed or added on the way, and headers that nobody expects."""
    said, headers = framed(data.draw(st.sampled_from(FORMATS[name][1])), framing)
    place = data.draw(st.integers(0, len(said) - 1))
    more = data.draw(st.lists(HEADER, max_size=2))
    answered(name, said[:place], headers + more)
    other = bytearray(said)
    other[place] = data.draw(st.integers(0, 255))
    answered(name, bytes(other) + data.draw(st.binary(max_size=3)), headers + more)


@given(NAMES, HOW, ANY)
def test_any_value_is_answered_in_every_framing(name: str, framing: str, value: Any) -> None:
    """Of any shape."""
    answered(name, *as_framed(value, framing))
