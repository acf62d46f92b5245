"""What raw values look like, in words that hold none of them: for people who check a mapping against real rows.

A column's values are counted by JSON type and by shape, never shown. Magnitudes tell the unit of a time, patterns tell
a date in text; both only suggest, so whoever asks says "looks like".
"""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from ownership_stream.sources.mapping import UNAVAILABLE

MAX_DISTINCT: Final = 500
"""Values of a column that are told apart while one that stands for nothing is looked for."""

SEMANTIC: Final = {
    "io.debezium.time.Date": "epoch days",
    "io.debezium.time.Timestamp": "epoch ms",
    "io.debezium.time.MicroTimestamp": "epoch us",
    "io.debezium.time.NanoTimestamp": "epoch ns",
    "io.debezium.time.ZonedTimestamp": "iso",
    "io.debezium.data.VariableScaleDecimal": "decimal",
    "org.apache.kafka.connect.data.Date": "epoch days",
    "org.apache.kafka.connect.data.Timestamp": "epoch ms",
    "org.apache.kafka.connect.data.Decimal": "decimal",
}
"""Name of a Connect schema -> the encoding of a mapping that reads it (a decimal's scale is among its parameters)."""

_KINDS: Final = {
    bool: "boolean", int: "whole number", float: "number", str: "text", list: "list", dict: "object",
}  # fmt: skip
_UNITS: Final = (
    ("epoch days", 1_000, 75_000),
    ("epoch s", 10**8, 5 * 10**9),
    ("epoch ms", 10**11, 5 * 10**12),
    ("epoch us", 10**14, 5 * 10**15),
    ("epoch ns", 10**17, 5 * 10**18),
)
_TEXTS: Final = (
    ("empty", re.compile(r"\s*")),
    ("date", re.compile(r"\d{4}-\d{2}-\d{2}")),
    ("instant", re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?")),
    ("number in text", re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")),
    ("e-mail address", re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
)
_PLACEHOLDER: Final = re.compile(
    r"[_<\[({*-]+\w*(unavailable|unchanged|not.?available|toast)\w*[_>\])}*-]*|\w*_(unavailable|unchanged|toast)_\w*",
    re.IGNORECASE,
)
_NOTHING: Final = frozenset({"", "0", "n/a", "na", "none", "null", "unknown", "-", "false", "0.0", "1970-01-01"})


class Seen:
    """What was seen of one column, counted."""

    def __init__(self, placeholder: str) -> None:
        self._variants = frozenset(_variants(placeholder))
        self._default = frozenset(_variants(UNAVAILABLE))
        self.carried = self.nulls = self.unavailable = self.undeclared = self.defaults = 0
        self.kinds, self.shapes, self.units = Counter[str](), Counter[str](), Counter[str]()
        self.lengths: set[int] = set()
        self.schema: Mapping[str, Any] = {}
        self._values = Counter[Any]()

    def add(self, value: Any, schema: Mapping[str, Any] | None = None) -> None:
        """Count one value that a row carried."""
        self.carried += 1
        self.schema = schema or self.schema
        if value is None:
            self.nulls += 1
        elif self._is(value, self._variants):
            self.unavailable += 1
        elif self._is(value, self._default) or (isinstance(value, str) and _PLACEHOLDER.fullmatch(value)):
            self.undeclared += 1
        else:
            self._told(value)

    def _told(self, value: Any) -> None:
        self.kinds[_KINDS.get(type(value), "value")] += 1
        if isinstance(value, str):
            self.lengths.add(len(value))
            self.shapes[shape(value)] += 1
        elif type(value) is int:
            unit = unit_of(value)
            if unit:
                self.units[unit] += 1
        default = self.schema.get("default")
        self.defaults += default is not None and default == value
        if not isinstance(value, list | dict) and len(self._values) < MAX_DISTINCT:
            self._values[value] += 1

    @staticmethod
    def _is(value: Any, variants: frozenset[str]) -> bool:
        return any(one in variants for one in _leaves(value))

    @property
    def present(self) -> int:
        """Values that are there: carried, not null, and no placeholder."""
        return sum(self.kinds.values())

    def nothings(self, choices: Collection[str] = ()) -> int:
        """How often the most frequent value stands here, if it is one that stands for nothing (`""`, 0, `unknown`).

        ``choices`` are values that the field has on purpose.
        """
        [(value, times)] = self._values.most_common(1) or [("x", 0)]
        return times if value not in choices and str(value).strip().lower() in _NOTHING else 0

    def all_decimals(self) -> bool:
        """Whether every value is base64 as Kafka Connect writes decimals, and some can be nothing else."""
        texts = [value for value in self._values if isinstance(value, str)]
        certain = any(set(text) & set("=+/") for text in texts)
        return certain and len(texts) == len(self._values) and all(map(_is_base64, texts))

    def type(self) -> str:
        """The JSON types, the most frequent first: `whole number, text`."""
        return ", ".join(kind for kind, _ in self.kinds.most_common()) or "—"

    def shape(self) -> str:
        """What its values look like: `date`, `like epoch us`, `1 to 12 characters`."""
        words = [name for name, _ in self.shapes.most_common() if name]
        words += [f"like {unit}" for unit, _ in self.units.most_common()]
        if self.lengths and set(self.shapes) == {""}:
            least, most = min(self.lengths), max(self.lengths)
            words.append(f"{least} characters" if least == most else f"{least} to {most} characters")
        return ", ".join(words)

    def unit(self) -> str:
        """The unit of time that nearly all of its whole numbers look like; `""` if none does."""
        [(unit, times)] = self.units.most_common(1) or [("", 0)]
        return unit if times * 10 >= self.kinds["whole number"] * 8 else ""

    def moments(self) -> str:
        """`date` or `instant` if nearly all of its texts are one; else `""`."""
        found = {name: self.shapes[name] for name in ("date", "instant")}
        name = max(found, key=lambda one: found[one])
        return name if found[name] and found[name] * 10 >= self.kinds["text"] * 8 else ""


def unit_of(number: int) -> str:
    """The unit since 1970 that a number's magnitude looks like, for moments some years from 1970; else `""`."""
    return next((unit for unit, least, most in _UNITS if least <= abs(number) < most), "")


def shape(text: str) -> str:
    """The pattern of a text; `""` for any other text."""
    return next((name for name, pattern in _TEXTS if pattern.fullmatch(text)), "")


def _variants(placeholder: str) -> Iterator[str]:
    """A placeholder as it stands in text, in bytes (base64, or hexadecimal), and in hstore as JSON."""
    octets = placeholder.encode()
    yield from (placeholder, base64.b64encode(octets).decode(), base64.urlsafe_b64encode(octets).decode())
    yield from (octets.hex(), f'{{"{placeholder}":"{placeholder}"}}')


def _leaves(value: Any) -> Iterable[str]:
    """A text, those in a list of texts, or those in an object: a placeholder has the shape of its column."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        if value and all(type(one) is int and -128 <= one < 256 for one in value):  # noqa: PLR2004 (bytes, Java's too)
            return (bytes(one & 255 for one in value).decode("utf-8", "replace"),)
        return [one for one in value if isinstance(one, str)]
    return [one for one in value.values() if isinstance(one, str)] if isinstance(value, dict) else ()


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
