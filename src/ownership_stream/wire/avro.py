"""Avro bodies read by the schema they were written with, and written by one of ours.

A body is decoded by its writer's schema alone: no second schema is resolved against it, which costs as much again.
What comes out is what JSON would have said: logical types stay as they are stored (days, microseconds, a decimal's
bytes), so that a source mapping reads a column in Avro by the same encoding as in JSON (docs/sources.md). Bytes become
base64.

Pure: where schemas come from is ``registry.py``'s.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from math import isfinite
from typing import Any, Final

import fastavro
import msgspec
from fastavro.types import Schema as Parsed

from ownership_stream.wire.written_out import reader

_TEXT: Final = msgspec.json.Encoder().encode
_FLOATS: Final = frozenset({"float", "double"})
_WORDS: Final = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")


class NotAvroError(Exception):
    """These bytes are no Avro of their schema; the text is one line and holds nothing of them."""


class BadSchemaError(Exception):
    """What should be a schema cannot be read by; the text is one line."""


class WriterSchema:
    """A schema that records were written with, parsed once. ``raw`` is what it said; may be shared by threads."""

    def __init__(self, schema: str, references: Mapping[str, str] | None = None) -> None:
        """``references``: the schemas it names and does not hold, each after those that it names itself.

        Raises ``BadSchemaError``.
        """
        try:
            self.raw: Any = json.loads(schema)
            named: dict[str, Any] = {}
            for reference in (references or {}).values():
                fastavro.parse_schema(_plain(json.loads(reference)), named)
            self._parsed: Parsed = fastavro.parse_schema(_plain(self.raw), named)
            self._probe = _floats(self._parsed, named, {})
            self._read = reader(self._parsed, named)
        except RecursionError:
            raise BadSchemaError("the schema is nested too deeply") from None
        except Exception as error:  # whatever a parser stumbles over, nothing can be read by this schema
            raise BadSchemaError(f"the schema is none of Avro: {type(error).__name__}") from error

    def read(self, data: bytes, begin: int = 0) -> Any:
        """The value of the body that begins there; raises ``NotAvroError`` for anything else, or for more than it."""
        try:
            value, end = self._general(data, begin) if self._read is None else self._read(data, begin)
        except Exception as error:  # noqa: BLE001  # there is no error of its own: whatever is raised, it is no Avro
            raise NotAvroError(f"the bytes are no Avro of their schema: {type(error).__name__}") from None
        if end != len(data):
            raise NotAvroError("the bytes end elsewhere than their schema says")
        return value

    def _general(self, data: bytes, begin: int) -> tuple[Any, int]:
        body = BytesIO(data)
        body.seek(begin)
        return fastavro.schemaless_reader(body, self._parsed, None), body.tell()

    def text(self, data: bytes, begin: int = 0) -> bytes:
        """The body as JSON; raises ``NotAvroError``."""
        return as_text(self.finite(data, begin))

    def finite(self, data: bytes, begin: int = 0) -> Any:
        """The value, if JSON can say its numbers; raises ``NotAvroError``."""
        value = self.read(data, begin)
        if self._probe is not None and not _all_finite(value, self._probe):
            # JSON has no such numbers, and a null in their place would be a value that somebody cleared.
            raise NotAvroError("a number that is infinite or none at all")
        return value


def as_text(value: Any) -> bytes:
    """A value that was read, as JSON; raises ``NotAvroError``."""
    try:
        return _TEXT(value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise NotAvroError(f"a value that JSON cannot say: {type(error).__name__}") from None


_PYTHON: Final[dict[str, type]] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "enum": str,
    "bytes": bytes,
    "fixed": bytes,
}


def types_of(type_: Any) -> frozenset[type]:
    """What values of a type are once they are read; nothing for what is no scalar, or is named elsewhere."""
    if isinstance(type_, list):
        found = [types_of(branch) for branch in type_]
        return frozenset().union(*found) if all(found) else frozenset()
    word = type_.get("type") if isinstance(type_, dict) else type_
    if isinstance(word, dict | list):
        return types_of(word)
    known = _PYTHON.get(word) if isinstance(word, str) else None
    return frozenset() if known is None else frozenset({known})


def written(schema: Parsed, record: Any, *, strict: bool = False) -> bytes:
    """The body of a record by a schema of ours; raises ``ValueError`` or ``TypeError`` where it does not fit.

    ``strict``: no field may be left out, even if it has a default.
    """
    body = BytesIO()
    fastavro.schemaless_writer(
        body, schema, record, strict=strict, strict_allow_default=not strict, disable_tuple_notation=True
    )
    return body.getvalue()


def parsed(schema: dict[str, Any]) -> Parsed:
    """A schema of ours, ready to write by."""
    return fastavro.parse_schema(schema, {})


def _plain(schema: Any) -> Any:
    """The schema without logical types, its plain types as words alone: these are read faster."""
    if isinstance(schema, dict) and "name" not in schema and schema.get("type") in _WORDS:  # a field has a name
        return schema["type"]
    if isinstance(schema, dict):
        kept = {name: part for name, part in schema.items() if name not in ("logicalType", "default")}
        return {
            name: _plain(part) if name in ("type", "items", "values", "fields") else part for name, part in kept.items()
        }
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema


# Where floats are: True (here), what holds them by field name, or one probe for each of a list's or a map's values.
Probe = bool | dict[str, Any] | list[Any] | None


def _floats(schema: Any, named: Mapping[str, Any], known: dict[str, Probe]) -> Probe:
    """Where in a value of this schema a float can stand; ``None``: nowhere. ``known``: what is found of records."""
    if isinstance(schema, str):
        return True if schema in _FLOATS else _floats(named[schema], named, known) if schema in named else None
    if isinstance(schema, list):
        return _merged([_floats(branch, named, known) for branch in schema])
    kind = schema["type"]
    if kind == "record":
        name = schema["name"]
        if name not in known:
            known[name] = True  # a record within itself: all of what is below is looked at
            fields = {field["name"]: _floats(field["type"], named, known) for field in schema["fields"]}
            known[name] = {inner: probe for inner, probe in fields.items() if probe is not None} or None
        return known[name]
    if kind in ("array", "map"):
        probe = _floats(schema["items" if kind == "array" else "values"], named, known)
        return None if probe is None else [probe]
    return True if kind in _FLOATS else None


def _merged(branches: list[Probe]) -> Probe:
    """What stands for a union: one branch with floats, or all that is there."""
    found = [probe for probe in branches if probe is not None]
    return None if not found else found[0] if len(found) == 1 else True


def _all_finite(value: Any, probe: Probe) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        if isinstance(probe, dict):
            return all(_all_finite(value.get(name), inner) for name, inner in probe.items())
        inner = probe[0] if isinstance(probe, list) else True
        return all(_all_finite(one, inner) for one in value.values())
    if isinstance(value, list):
        inner = probe[0] if isinstance(probe, list) else True
        return all(_all_finite(one, inner) for one in value)
    return True


def rendered(schema: dict[str, Any]) -> str:
    """A schema as a registry is sent it: without white space, its keys in their order."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
