"""The Avro schemas of what stands on topics of ours, made from the words themselves (``avro/*.avsc`` are their copies).

Names are settled: ``ownership.Change``, ``ownership.Conflict``, ``ownership.Resolution``, ``ownership.Sighting``,
``ownership.Event`` (canonical row events), and ``ownership.apply.<system>.Key``, ``.Value``, ``.Envelope``. What may be
missing is ``["null", T]`` with the default null, and a field that has another default keeps it; words of a closed list
are strings, since an Avro enum cannot grow for readers of before. So a new field is compatible with every schema that
ever was (FULL_TRANSITIVE), both ways; ``avro/baseline`` holds those that were.

An apply record in Avro carries every column that we may write in its system, or, where its mapping says so, has a
schema for its set of changed columns: all of them versions of one subject.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as words

from ownership_stream.errors import BadInputError
from ownership_stream.sources.encodings import DECIMAL, INTEGER, NESTED
from ownership_stream.sources.mapping import Shape, Writer
from ownership_stream.wire.records import Source, Sync

Schema = dict[str, Any]

NAMESPACE: Final = "ownership"
DECIMAL_NAME: Final = "org.apache.kafka.connect.data.Decimal"
VARIABLE_NAME: Final = "io.debezium.data.VariableScaleDecimal"
_PRECISION: Final = 64
_EPOCHS: Final = {
    "epoch days": ("int", "io.debezium.time.Date"),
    "epoch ms": ("long", "io.debezium.time.Timestamp"),
    "epoch us": ("long", "io.debezium.time.MicroTimestamp"),
    "epoch ns": ("long", "io.debezium.time.NanoTimestamp"),
}
"""Encoding of a column -> its Avro type, and the name by which Debezium's sink knows what it is."""

_PLAIN: Final[dict[type, str]] = {
    words.NoneType: "null",
    words.BoolType: "boolean",
    words.IntType: "long",
    words.FloatType: "double",
    words.StrType: "string",
    words.LiteralType: "string",
}
_ORDER: Final = ("null", "boolean", "long", "double", "string")


def record_schema(struct: type[msgspec.Struct], name: str = "") -> Schema:
    """The schema of a struct: its fields in their order, and a description from its docstring."""
    return _struct(struct, NAMESPACE, name or struct.__name__)


def key_schema(writer: Writer) -> Schema:
    """The key of a system's apply records: its own key's columns."""
    fields = [{"name": _name(shape), "type": _column(shape)} for shape in writer.shapes() if shape.key]
    return _named(f"{NAMESPACE}.apply.{writer.system}", "Key", f"The key of a row of `{writer.table}`.", fields)


def apply_schema(writer: Writer, of: AbstractSet[str] | None = None) -> Schema:
    """A system's apply records: Debezium's envelope with a ``sync`` block; with ``of``, those that hold these columns.

    A column that is not there and one that is null are the same to who reads by another of these schemas: all of them
    are compatible with each other. Raises ``BadInputError``.
    """
    space = f"{NAMESPACE}.apply.{writer.system}"
    columns = [
        {"name": _name(shape), "type": _column(shape)} if shape.key else _nullable(_name(shape), _column(shape))
        for shape in writer.shapes()
        if of is None or shape.name in of
    ]
    what = "every column that may be written" if of is None else "the key, and what is written"
    row = _named(space, "Value", f"A row of `{writer.table}`: {what}.", columns)
    numbers = [{"name": name, "type": "long"} for name in ("total_order", "data_collection_order")]
    block = _named(
        space, "Block", "Debezium's transaction block: never filled.", [{"name": "id", "type": "string"}, *numbers]
    )
    fields = [
        _nullable("before", row),
        _nullable("after", f"{space}.Value"),
        {"name": "source", "type": _struct(Source, space)},
        _nullable("transaction", block),
        {"name": "op", "type": "string"},
        _nullable("ts_ms", "long"),
        {"name": "sync", "type": _struct(Sync, space)},
    ]
    return _named(space, "Envelope", "What a system is to write.", fields) | {"connect.name": f"{space}.Envelope"}


def _named(space: str, name: str, doc: str, fields: list[Schema]) -> Schema:
    return {"type": "record", "name": name, "namespace": space, "doc": doc, "fields": fields}


def _nullable(name: str, type_: Any) -> Schema:
    return {"name": name, "type": ["null", type_], "default": None}


def _struct(struct: type[msgspec.Struct], space: str, name: str = "") -> Schema:
    return _record(cast("words.StructType", words.type_info(struct)), space, name or struct.__name__)


def _record(info: words.StructType, space: str, name: str) -> Schema:
    doc = (info.cls.__doc__ or "").strip().partition("\n")[0].replace("``", "`")
    return _named(space, name, doc, [_field(field, space) for field in info.fields])


def _field(field: words.Field, space: str) -> Schema:
    type_ = _type(field.type, space)
    found: Schema = {"name": field.name, "type": type_}
    if isinstance(field.type, words.Metadata):
        found["doc"] = (field.type.extra_json_schema or {}).get("description", "")
    if isinstance(type_, list) and type_[0] == "null":
        return found | {"default": None}
    default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    if default is NODEFAULT:
        return found
    return found | {"default": list(default) if isinstance(default, tuple) else default}


def _type(type_: words.Type, space: str) -> Any:
    plain = _PLAIN.get(type(type_))
    if plain is not None:
        return plain
    if isinstance(type_, words.Metadata):
        return _type(type_.type, space)
    if isinstance(type_, words.StructType):
        return _record(type_, space, type_.cls.__name__)
    if isinstance(type_, words.ListType | words.VarTupleType):
        return {"type": "array", "items": _type(type_.item_type, space)}
    if isinstance(type_, words.DictType):
        return {"type": "map", "values": _type(type_.value_type, space)}
    if isinstance(type_, words.UnionType):
        return sorted(_branches(type_, space), key=lambda branch: _ORDER.index(branch) if branch in _ORDER else 9)
    raise TypeError(f"no Avro type for {type_}")


def _branches(union: words.UnionType, space: str) -> Iterator[Any]:
    for branch in union.types:
        yield _type(branch, space)


def _name(shape: Shape) -> str:
    """The column's name; Avro has no dots in names, and a name of our own making would be written to no column."""
    if not shape.name.replace("_", "a").isalnum() or not shape.name.isascii() or shape.name[0].isdigit():
        raise BadInputError(f"column `{shape.name}` has a name that Avro does not allow: keep `wire` at `json`")
    return shape.name


def _column(shape: Shape) -> Any:
    """The type of a column, by the name that Debezium's own connectors give it."""
    word = shape.encoding.word
    if word == NESTED:
        said = "is nested, and its schema cannot be known: take `apply as: json` for its system"
        raise BadInputError(f"column `{shape.name}` {said}")
    if word in _EPOCHS:
        type_, name = _EPOCHS[word]
        return {"type": type_, "connect.version": 1, "connect.name": name}
    if word == DECIMAL:
        return _variable() if shape.encoding.scale is None else _decimal(shape.encoding.scale)
    if word in (INTEGER, "epoch s"):
        return "long"
    if shape.type == "instant":
        return {"type": "string", "connect.version": 1, "connect.name": "io.debezium.time.ZonedTimestamp"}
    return {"number": "double", "boolean": "boolean"}.get(shape.type, "string")


def _decimal(scale: int) -> Schema:
    return {
        "type": "bytes",
        "scale": scale,
        "precision": _PRECISION,
        "connect.version": 1,
        "connect.parameters": {"scale": str(scale)},
        "connect.name": DECIMAL_NAME,
        "logicalType": "decimal",
    }


def _variable() -> Schema:
    fields = [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]
    space, _, name = VARIABLE_NAME.rpartition(".")
    return _named(space, name, "A decimal whose column declares no scale.", fields) | {
        "connect.version": 1,
        "connect.name": VARIABLE_NAME,
    }
