"""Records of a sample in Avro, as the JSON with a schema that Kafka Connect would have written.

The check of a sample opens JSON and knows Kafka Connect's schemas; what an Avro schema says of a column (its Connect
name, its scale, its default) is told in those words. Only for people who look: the stream reads by ``framed.py``.
"""

from typing import Any, Final

import msgspec

from ownership_stream.sources.opened import SampleRecord
from ownership_stream.wire.avro import BadSchemaError, NotAvroError, WriterSchema
from ownership_stream.wire.framing import FramingError, framed
from ownership_stream.wire.registry import Registry, UnknownSchemaError

_LOGICAL: Final = {
    "date": "org.apache.kafka.connect.data.Date",
    "timestamp-millis": "org.apache.kafka.connect.data.Timestamp",
    "timestamp-micros": "io.debezium.time.MicroTimestamp",
    "timestamp-nanos": "io.debezium.time.NanoTimestamp",
    "decimal": "org.apache.kafka.connect.data.Decimal",
}
"""Avro's logical types by the names of Kafka Connect's that count the same."""
MAX_DEPTH: Final = 8


class Sampled:
    """Called with a record, gives the JSON that its value stands for, or the value as it is.

    A record that cannot be read stays as it is: why, the decoder says. Raises ``UnavailableError`` while the registry
    is away.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._schemas: dict[Any, bytes] = {}

    def __call__(self, record: SampleRecord) -> bytes | None:
        """The value's JSON with its schema."""
        value = record.value
        if value is None:
            return None
        try:
            found = framed(value, record.headers)
            if found is None:
                return value
            schema = self._registry.schema(found.schema)
            if found.schema not in self._schemas:
                self._schemas[found.schema] = msgspec.json.encode(connect_schema(schema))
            text = schema.text(value, found.begin)
        except (FramingError, UnknownSchemaError, BadSchemaError, NotAvroError):
            return value
        return b"".join((b'{"schema":', self._schemas[found.schema], b',"payload":', text, b"}"))


def connect_schema(schema: WriterSchema) -> dict[str, Any]:
    """The schema in Kafka Connect's words, as far as a check looks at it: columns, their names, scales and defaults."""
    named: dict[str, Any] = {}
    return _struct(schema.raw, named, MAX_DEPTH)


def _struct(type_: Any, named: dict[str, Any], left: int) -> dict[str, Any]:
    """One type; of a union the branch that is not null."""
    branches = type_ if isinstance(type_, list) else [type_]
    optional = "null" in branches
    one = next((branch for branch in branches if branch != "null"), "null")
    if isinstance(one, str):
        one = named.get(one.rpartition(".")[2], {"type": one})
    if not isinstance(one, dict) or left == 0:
        return {"type": "bytes", "optional": optional}
    if isinstance(one.get("name"), str):
        named[one["name"].rpartition(".")[2]] = one
    found: dict[str, Any] = {"type": str(one.get("type")), "optional": optional}
    name = one.get("connect.name") or _LOGICAL.get(str(one.get("logicalType")))
    if name:
        found["name"] = name
    if "scale" in one:
        found["parameters"] = {"scale": str(one["scale"])}
    if "connect.default" in one:
        found["default"] = one["connect.default"]
    if one.get("type") == "record":
        found |= {"type": "struct", "fields": [_field(field, named, left - 1) for field in one.get("fields") or ()]}
    return found


def _field(field: dict[str, Any], named: dict[str, Any], left: int) -> dict[str, Any]:
    found = {"field": field.get("name"), **_struct(field.get("type"), named, left)}
    default = field.get("default")
    return found if default is None else {**found, "default": default}
