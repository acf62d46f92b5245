"""Apply records with Kafka Connect's schema in each, as ``JsonConverter`` reads them with ``schemas.enable=true``.

The value's schema is Debezium's envelope (its name ends in ``.Envelope``) and has the columns of this record only: what
a sink does not find in it, it leaves alone, so a sparse ``after`` is a true patch. A column's type follows from its
encoding in the source mapping, by the semantic types of Debezium and Kafka Connect. Schemas are made once for each set
of columns and put before the record's own JSON, which is not touched.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from ownership_stream.sources.encodings import DECIMAL, INTEGER, Encoding
from ownership_stream.sources.mapping import Writer
from ownership_stream.wire.records import Source, Sync

Schema = dict[str, Any]

NAME: Final = "ownership"
"""First part of the schemas' names, like the topic prefix of a Debezium connector."""
MAX_SETS: Final = 4096
"""Sets of columns whose schemas are kept for a system; then they are made anew."""

_DAYS: Final = "io.debezium.time.Date"
_ZONED: Final = "io.debezium.time.ZonedTimestamp"
_INSTANTS: Final = {
    "epoch ms": "io.debezium.time.Timestamp",
    "epoch us": "io.debezium.time.MicroTimestamp",
    "epoch ns": "io.debezium.time.NanoTimestamp",
}
_BY_TYPE: Final = {"number": "double", "boolean": "boolean"}
_SCALARS: Final[dict[Any, str]] = {int: "int64"}
"""Types of our own fields; any other is a text, or one of some words."""

WRAPPED: Final = (b'{"schema":', b',"payload":', b"}")


def with_schema(
    writer: Writer, key: bytes, value: bytes, columns: tuple[str, ...], *, keys: tuple[str, ...]
) -> tuple[bytes, bytes]:
    """An apply record's key and value, each with its schema, for the ``columns`` of its ``after`` and its ``keys``.

    The key is the system's own, or the link column of a row that is to be made.
    """
    schemas = _schemas(writer)
    return _framed(schemas.key(keys), key), _framed(schemas.value(columns), value)


def _framed(schema: bytes, payload: bytes) -> bytes:
    before, between, after = WRAPPED
    return b"".join((before, schema, between, payload, after))


def column_schema(encoding: Encoding, type_: str) -> Schema:
    """The schema of a column's value as the mapping's encoding writes it, without name of the field."""
    word = encoding.word
    if word == DECIMAL:
        return _decimal(encoding.scale)
    if word == INTEGER:
        return {"type": "int64"}
    if word == "epoch days":
        return {"type": "int32", "name": _DAYS, "version": 1}
    if word.startswith("epoch"):
        semantic = _INSTANTS.get(word)
        return {"type": "int64"} if semantic is None else {"type": "int64", "name": semantic, "version": 1}
    if word == "iso" and type_ == "instant":
        return {"type": "string", "name": _ZONED, "version": 1}
    return {"type": _BY_TYPE.get(type_, "string")}


def _decimal(scale: int | None) -> Schema:
    if scale is not None:
        name = "org.apache.kafka.connect.data.Decimal"
        return {"type": "bytes", "name": name, "version": 1, "parameters": {"scale": str(scale)}}
    parts = [_field("scale", {"type": "int32"}), _field("value", {"type": "bytes"})]
    return {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "version": 1, "fields": parts}


class Schemas:
    """The schemas of one system's apply records."""

    def __init__(self, writer: Writer) -> None:
        self._name = f"{NAME}.{writer.schema or writer.system}.{writer.table}"
        shapes = writer.shapes()
        self._columns = {shape.name: column_schema(shape.encoding, shape.type) for shape in shapes}
        self._keys = tuple(shape.name for shape in shapes if shape.key)
        if writer.link is not None:
            self._columns.setdefault(writer.link.name, column_schema(writer.link.encoding, "text"))
        self._encode = msgspec.json.encode
        self._kept: dict[tuple[str, ...], bytes] = {}
        self._kept_keys: dict[tuple[str, ...], bytes] = {}

    def key(self, columns: tuple[str, ...]) -> bytes:
        """The schema of a key of these columns, as JSON: there are two at most."""
        found = self._kept_keys.get(columns)
        if found is None:
            found = self._kept_keys[columns] = self._encode(self._struct(columns, f"{self._name}.Key", columns))
        return found

    def value(self, columns: tuple[str, ...]) -> bytes:
        """The schema of an envelope whose ``after`` has these columns, as JSON."""
        found = self._kept.get(columns)
        if found is None:
            if len(self._kept) >= MAX_SETS:
                self._kept.clear()
            found = self._kept[columns] = self._encode(self._envelope(columns))
        return found

    def _envelope(self, columns: tuple[str, ...]) -> Schema:
        row = self._struct(columns, f"{self._name}.Value", self._keys)
        return {
            "type": "struct",
            "optional": False,
            "name": f"{self._name}.Envelope",
            "version": 1,
            "fields": [
                _field("before", row, optional=True),
                _field("after", row, optional=True),
                _field("source", _struct_of(Source, f"{NAME}.Source")),
                _field("op", {"type": "string"}),
                _field("ts_ms", {"type": "int64"}, optional=True),
                _field("sync", _struct_of(Sync, f"{NAME}.Sync")),
            ],
        }

    def _struct(self, columns: tuple[str, ...], name: str, keys: tuple[str, ...]) -> Schema:
        fields = [_field(column, self._columns[column], optional=column not in keys) for column in columns]
        return {"type": "struct", "optional": False, "name": name, "fields": fields}


@lru_cache(maxsize=64)
def _schemas(writer: Writer) -> Schemas:
    """Kept for each writer: there is one for each system."""
    return Schemas(writer)


def _field(name: str, schema: Mapping[str, Any], *, optional: bool = False) -> Schema:
    return {"field": name, **schema, "optional": optional}


def _struct_of(struct: type[msgspec.Struct], name: str) -> Schema:
    """The schema of one of our own records, from its own declaration: it cannot forget a field."""
    fields = [_declared(field.name, field.type) for field in msgspec.structs.fields(struct)]
    return {"type": "struct", "name": name, "fields": fields}


def _declared(name: str, type_: Any) -> Schema:
    kinds = get_args(type_) if get_origin(type_) in {Union, UnionType} else (type_,)
    kind = next(kind for kind in kinds if kind is not NoneType)
    optional = NoneType in kinds
    if get_origin(kind) is tuple:
        return _field(name, {"type": "array", "items": {"type": "string", "optional": False}}, optional=optional)
    return _field(name, {"type": _SCALARS.get(kind, "string")}, optional=optional)
