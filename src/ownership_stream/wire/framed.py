"""Source records in Avro: by the schema they were written with, as the JSON that the source's decoder reads.

A decoder knows one language, JSON as Kafka Connect's converter writes it. In Avro the same record comes with its
schema's number; here it becomes that JSON, value and key, and records that are not framed go through as they are: a
topic may hold both. What a schema says of a column is compared with the mapping once, when it is first seen: a mapping
that reads microseconds where the schema says milliseconds would give every row a wrong time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from ownership_stream.sources.encodings import DECIMAL
from ownership_stream.sources.mapping import Mapping, Table
from ownership_stream.sources.result import Decoded, Undecodable
from ownership_stream.wire.avro import BadSchemaError, NotAvroError, WriterSchema
from ownership_stream.wire.framing import FramingError, Part, framed
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


class FramedDecoder:
    """A source's decoder for records in Avro too; may be shared by threads."""

    def __init__(self, inner: SourceDecoder, mapping: Mapping, registry: Registry) -> None:
        self._inner, self._mapping, self._registry = inner, mapping, registry
        self._what = f"source `{mapping.source}`"
        self._compared: dict[int | UUID, str] = {}

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``, or ``UnavailableError`` while the registry is away."""
        if value is None:
            return self._inner.decode(topic, key, value, timestamp_ms, headers)
        text = self._text(value, headers, "value")
        if text is None:
            return self._inner.decode(topic, key, value, timestamp_ms, headers)
        return self._inner.decode(topic, self._key(key, headers), text, timestamp_ms, headers)

    def _text(self, data: bytes, headers: Headers, part: Part) -> bytes | None:
        """The JSON of framed bytes, ``None`` for others."""
        try:
            found = framed(data, headers, part)
            if found is None:
                return None
            schema = self._registry.schema(found.schema)
            if part == "value":
                self._compare(found.schema, schema)
            return schema.text(data, found.begin)
        except UnknownSchemaError as error:
            raise Undecodable("unknown_schema", f"{self._what}: {error}") from None
        except FramingError as error:
            raise Undecodable(error.reason, f"{self._what}: {error}") from None
        except BadSchemaError as error:
            raise Undecodable("unsupported", f"{self._what}: {error}") from None
        except NotAvroError as error:
            raise Undecodable("not_avro", f"{self._what}: {error}") from None

    def _key(self, key: bytes | None, headers: Headers) -> bytes | None:
        """The key as JSON where it is framed; one that only looks so (a number of 8 bytes) goes through as it is.

        The row carries the key's columns too, so a key that cannot be read takes nothing away.
        """
        if key is None:
            return None
        try:
            text = self._text(key, headers, "key")
        except Undecodable:
            return key
        return key if text is None else text

    def _compare(self, name: int | UUID, schema: WriterSchema) -> None:
        """Raise ``Undecodable`` where the schema says of a column what the mapping does not; looked at once."""
        problem = self._compared.get(name)
        if problem is None:
            problem = self._compared[name] = next(_contradictions(schema.raw, self._mapping), "")
        if problem:
            raise Undecodable("wrong_type", f"{self._what}: {problem}")


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
