"""A reader of Avro bodies, written out as code for one schema: what a general reader asks of each value is asked once.

For records of plain fields, unions of them, and records within, which is what rows are; any other schema has none, and
is read by fastavro. The same values come out, and what is no Avro of the schema is refused by either. Pure.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, cast

Read = Callable[[bytes, int], tuple[Any, int]]
"""(bytes, where the body begins) -> (its value, where it ends); raises whatever the bytes lead to."""

MAX_VARINT: Final = 10
_BITS: Final = 2**64 - 1
_FLOAT, _DOUBLE = Struct("<f").unpack_from, Struct("<d").unpack_from


class _NotPlainError(Exception):
    """A schema for which no code is written."""


def reader(schema: Any, named: Mapping[str, Any]) -> Read | None:
    """The reader of a parsed schema (names resolved to full ones, as fastavro has them), or ``None``."""
    code = _Code(named)
    try:
        name = code.record(schema)
    except _NotPlainError:
        return None
    exec("\n".join(code.lines), code.given)  # noqa: S102  # our own text, and of the schema's names in quotes only
    return cast("Read", code.given[name])


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned number of any length, and where it ends."""
    number = shift = 0
    for at in range(place, place + MAX_VARINT):
        byte = data[at]
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 (the highest bit says that the number goes on)
            return number & _BITS, at + 1
        shift += 7
    raise ValueError("a number of more bytes than any has")


class _Code:
    """The lines for one schema: a function for each of its records."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.lines: list[str] = []
        self.given: dict[str, Any] = {"varint": _varint, "get_float": _FLOAT, "get_double": _DOUBLE}
        self._named = named
        self._functions: dict[str, str] = {}
        self._within: set[str] = set()

    def record(self, schema: Any) -> str:
        """The name of a record's function; raises ``_NotPlainError``."""
        schema = self._named.get(schema) if isinstance(schema, str) else schema
        if not isinstance(schema, dict) or schema.get("type") != "record" or schema["name"] in self._within:
            raise _NotPlainError
        full = schema["name"]
        if full in self._functions:
            return self._functions[full]
        self._within.add(full)
        body, values = list[str](), list[str]()
        for number, field in enumerate(schema["fields"]):
            body += self._value(field["type"], f"v{number}", 1)
            values.append(f"{field['name']!r}: v{number}")
        self._within.remove(full)
        name = self._functions[full] = f"record{len(self._functions)}"
        self.lines += [f"def {name}(data, at):", *body, f" return {{{', '.join(values)}}}, at"]
        return name

    def _value(self, type_: Any, to: str, depth: int) -> list[str]:
        """Lines that put the value at ``at`` into ``to``, and ``at`` behind it."""
        indent = " " * depth
        if isinstance(type_, list):
            return self._union(type_, to, depth)
        word = type_.get("type") if isinstance(type_, dict) else type_
        lines = _PLAIN.get(word) if isinstance(word, str) else None
        if lines is not None:
            return [f"{indent}{line.replace('TO', to)}" for line in lines]
        return [f"{indent}{to}, at = {self.record(type_)}(data, at)"]

    def _union(self, branches: list[Any], to: str, depth: int) -> list[str]:
        indent = " " * depth
        lines = [f"{indent}branch = data[at]", f"{indent}at += 1"]
        for number, branch in enumerate(branches):
            how = "elif" if number else "if"
            lines += [f"{indent}{how} branch == {2 * number}:", *self._value(branch, to, depth + 1)]
        return [*lines, f"{indent}else:", f"{indent} raise ValueError('no branch of a union')"]


_LENGTH: Final = (
    "size = data[at]",
    # One byte says it where neither the highest bit (it goes on) nor the lowest (it is negative) is set.
    "if size & 129:",
    " size, at = varint(data, at)",
    " if size & 1: raise ValueError('a negative length')",
    "else:",
    " at += 1",
    "end = at + (size >> 1)",
)
_NUMBER: Final = (
    "TO = data[at]",
    "if TO > 127:",
    " TO, at = varint(data, at)",
    "else:",
    " at += 1",
    "TO = (TO >> 1) ^ -(TO & 1)",
)
_PLAIN: Final[dict[str, tuple[str, ...]]] = {
    "null": ("TO = None",),
    "boolean": ("TO = data[at] != 0", "at += 1"),
    "int": _NUMBER,
    "long": _NUMBER,
    "float": ("[TO] = get_float(data, at)", "at += 4"),
    "double": ("[TO] = get_double(data, at)", "at += 8"),
    # A text that ends behind the bytes is cut short here, and found out by where it is said to end.
    "string": (*_LENGTH, "TO = data[at:end].decode()", "at = end"),
    "bytes": (*_LENGTH, "TO = data[at:end]", "at = end"),
}
