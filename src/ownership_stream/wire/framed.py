"""Source records in Avro: by the schema they were written with, as the JSON that the source's decoder reads.

A decoder knows one language, JSON as Kafka Connect's converter writes it. In Avro the same record comes with its
schema's number; here it becomes that JSON, value and key, and records that are not framed go through as they are: a
topic may hold both. Debezium's envelopes are taken without that detour where their schema allows it
(``sources/typed.py``). What a schema says of a column is compared with the mapping once, when it is first seen: a
mapping that reads microseconds where the schema says milliseconds would give every row a wrong time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from ownership_stream.sources.debezium import DebeziumDecoder
from ownership_stream.sources.encodings import DECIMAL
from ownership_stream.sources.mapping import Mapping, Table
from ownership_stream.sources.result import Decoded, Undecodable
from ownership_stream.sources.typed import EnvelopeTypes, TypedEvents
from ownership_stream.wire.avro import BadSchemaError, NotAvroError, WriterSchema, as_text, types_of
from ownership_stream.wire.framing import FramingError, framed
from ownership_stream.wire.registry import Registry, UnknownSchemaError

Headers = Sequence[tuple[str, bytes | None]]

TYPES: Final[dict[str, str]] = {
    "io.debezium.time.Date": "epoch days",
    "org.apache.kafka.connect.data.Date": "epoch days",
    "date": "epoch days",
    "io.debezium.time.Timestamp": "epoch ms",
    "org.apache.kafka.connect.data.Timestamp": "epoch ms",
    "timestamp-millis": "epoch ms",
    "io.debezium.time.MicroTimestamp": "epoch us",
    "timestamp-micros": "epoch us",
    "io.debezium.time.NanoTimestamp": "epoch ns",
    "timestamp-nanos": "epoch ns",
    "io.debezium.time.ZonedTimestamp": "iso",
    "io.debezium.time.IsoDate": "iso",
    "io.debezium.time.IsoTimestamp": "iso",
    "org.apache.kafka.connect.data.Decimal": DECIMAL,
    "decimal": DECIMAL,
    "io.debezium.data.VariableScaleDecimal": DECIMAL,
}
"""What a column of a schema is, by Connect's name or else by Avro's logical type -> the encoding that reads it."""
_SUFFIXES: Final = ("Envelope", "Value", "Key")


class SourceDecoder(Protocol):
    """What is asked of a source's decoder: see ``sources.Decoder``."""

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """The changes of one record; raises ``Undecodable``."""
        ...


class _Known(NamedTuple):
    """A schema that was seen: what the mapping says against it, and how its events are read without their text."""

    schema: WriterSchema
    problem: str
    typed: TypedEvents | None


class FramedDecoder:
    """A source's decoder for records in Avro too; may be shared by threads."""

    def __init__(self, inner: SourceDecoder, mapping: Mapping, registry: Registry) -> None:
        self._inner, self._mapping, self._registry = inner, mapping, registry
        self._what = f"source `{mapping.source}`"
        self._known: dict[int | UUID, _Known] = {}

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``, or ``UnavailableError`` while the registry is away."""
        if value is None:
            return self._inner.decode(topic, key, value, timestamp_ms, headers)
        try:
            found = framed(value, headers)
            if found is None:
                return self._inner.decode(topic, key, value, timestamp_ms, headers)
            known = self._known.get(found.schema) or self._met(found.schema)
            if known.problem:
                raise Undecodable("wrong_type", f"{self._what}: {known.problem}")
            event = known.schema.finite(value, found.begin)
            if known.typed is not None:
                decoded = known.typed.decode(topic, key, event, timestamp_ms, headers)
                if decoded is not None:
                    return decoded
            text = as_text(event)
        except _UNREADABLE as error:
            raise self._unreadable(error) from None
        return self._inner.decode(topic, self._key(key, headers), text, timestamp_ms, headers)

    def _met(self, name: int | UUID) -> _Known:
        """A schema that is met for the first time, compared with the mapping."""
        schema = self._registry.schema(name)
        problem = next(_contradictions(schema.raw, self._mapping), "")
        typed, types = None, envelope_types(schema.raw)
        if types is not None and isinstance(self._inner, DebeziumDecoder):
            typed = self._inner.typed(types)
        known = self._known[name] = _Known(schema, problem, typed)
        return known

    def _unreadable(self, error: Exception) -> Undecodable:
        reason = error.reason if isinstance(error, FramingError) else _UNREADABLE_BY[type(error)]
        return Undecodable(reason, f"{self._what}: {error}")

    def _key(self, key: bytes | None, headers: Headers) -> bytes | None:
        """The key as JSON where it is framed; one that only looks so (a number of 8 bytes) goes through as it is.

        The row carries the key's columns too, so a key that cannot be read takes nothing away.
        """
        if key is None:
            return None
        try:
            found = framed(key, headers, "key")
            return key if found is None else self._registry.schema(found.schema).text(key, found.begin)
        except _UNREADABLE:
            return key


_UNREADABLE_BY: Final[dict[type[Exception], str]] = {
    UnknownSchemaError: "unknown_schema",
    BadSchemaError: "unsupported",
    NotAvroError: "not_avro",
}
_UNREADABLE: Final = (FramingError, UnknownSchemaError, BadSchemaError, NotAvroError)


def envelope_types(schema: Any) -> EnvelopeTypes | None:
    """What a schema says of Debezium's envelope; ``None`` where it is none, or its two rows are not of one record."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return None
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    source, row = _record(fields.get("source")), _record(fields.get("before"))
    if source is None or row is None:
        return None
    names = {row["name"], f"{row.get('namespace', schema.get('namespace', ''))}.{row['name']}", "null"}
    after = fields.get("after")
    if not isinstance(after, list) or not all(isinstance(branch, str) and branch in names for branch in after):
        return None
    return EnvelopeTypes({name: types_of(type_) for name, type_ in fields.items()}, _types(source), _types(row))


def _record(type_: Any) -> dict[str, Any] | None:
    """The one record of a type, beside which only null may stand."""
    branches = [branch for branch in (type_ if isinstance(type_, list) else [type_]) if branch != "null"]
    one = branches[0] if len(branches) == 1 else None
    return one if isinstance(one, dict) and one.get("type") == "record" else None


def _types(record: dict[str, Any]) -> dict[str, frozenset[type]]:
    return {field["name"]: types_of(field["type"]) for field in record["fields"]}


def _contradictions(schema: Any, mapping: Mapping) -> Iterator[str]:
    """Columns whose type in the schema is another than the mapping reads."""
    table = _table(schema, mapping)
    if table is None:
        return
    declared = {column.name: column.encoding for column in table.columns}
    declared |= {cell.name: cell.encoding for cell in table.cells() if cell.name not in declared}
    for field in _row(schema):
        encoding = declared.get(field["name"])
        due = _encoding(field["type"])
        if encoding is None or due is None:
            continue
        if str(encoding) != due:
            said = f"`{encoding}`" if encoding.word else "no encoding"
            yield f"table `{table.name}`, column `{field['name']}`: the schema says `{due}`, the mapping {said}"


def _table(schema: Any, mapping: Mapping) -> Table | None:
    """The table of ``<prefix>.<schema>.<table>.Envelope``, as Debezium names its records."""
    if not isinstance(schema, dict):
        return None
    full = schema.get("connect.name") or f"{schema.get('namespace', '')}.{schema.get('name', '')}"
    path = [part for part in str(full).split(".") if part]
    if path and path[-1] in _SUFFIXES:
        path = path[:-1]
    return mapping.tables.get(".".join(path[-2:]))


def _row(schema: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The columns: of the envelope's row, or of the record itself where it is flattened."""
    fields = schema.get("fields") or ()
    for field in fields:
        if field.get("name") in ("before", "after"):
            for branch in field["type"] if isinstance(field["type"], list) else [field["type"]]:
                if isinstance(branch, dict) and branch.get("type") == "record":
                    return branch.get("fields") or ()
    return fields


def _encoding(type_: Any) -> str | None:
    """The encoding that reads a column of this type, as a mapping writes it; ``None``: the type says nothing."""
    if isinstance(type_, list):
        return next((found for found in map(_encoding, type_) if found is not None), None)
    if not isinstance(type_, dict):
        return None
    word = TYPES.get(str(type_.get("connect.name"))) or TYPES.get(str(type_.get("logicalType")))
    if word == DECIMAL and type_.get("type") == "bytes":
        return f"{DECIMAL} {type_.get('scale', 0)}"
    return word
