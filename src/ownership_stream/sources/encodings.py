"""How a column writes its values, both ways: what JSON may stand there, how it is read, how a value is written back.

The canonical forms, and the reading of dates and instants, are ``matrix/normalise.py``'s. What is here is only what
that module has no use for: the type that JSON must have, decimals as Kafka Connect writes them, and the way back for
apply records.
"""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from ownership_stream.matrix.compiled import Field
from ownership_stream.matrix.normalise import ENCODINGS, NotCanonical, normalise, part, scalar, scalar_of
from ownership_stream.matrix.normalise import Encoding as TimeEncoding
from ownership_stream.model import Scalar

DECIMAL: Final = "decimal"
NESTED: Final = "nested"
INTEGER: Final = "integer"
SALESFORCE_ID: Final = "salesforce id"

VALUE_ENCODINGS: Final[dict[str, str]] = {
    "iso": "text in ISO 8601: `2026-01-31`, `2026-01-31T10:00:00.123Z`",
    "epoch days": "days since 1970-01-01",
    "epoch s": "seconds since 1970-01-01, UTC",
    "epoch ms": "milliseconds since then",
    "epoch us": "microseconds since then",
    "epoch ns": "nanoseconds since then",
    DECIMAL: "as Kafka Connect writes decimals: base64, its scale as in `decimal 2`; or `{scale, value}`",
    NESTED: "an array or a map within the row; the value is its JSON text",
}
"""The encodings of a column that holds a value. Without one: text, a number or a boolean as JSON has them."""

KEY_ENCODINGS: Final[dict[str, str]] = {
    INTEGER: "a whole number",
    DECIMAL: "a whole number as Kafka Connect writes decimals: base64, or `{scale, value}`",
    SALESFORCE_ID: "a Salesforce id, which screens show with 15 characters and events with 18",
}
"""The encodings of a column that holds a key or an id. Without one: text."""

TIMED: Final = frozenset({"date", "instant"})
"""Types whose columns declare an encoding: a bare number says nothing of its unit."""

_TIME_ENCODINGS: Final[dict[str, TimeEncoding]] = {word: word for word in ENCODINGS}
_EPOCH: Final = date(1970, 1, 1)
_PER_SECOND: Final = {"epoch s": 1, "epoch ms": 1_000, "epoch us": 1_000_000, "epoch ns": 1_000_000_000}
_MAX_DECIMAL_BYTES: Final = 32
_MIN_SCALE: Final = -32
_ZEROS: Final = frozenset({0, "1970-01-01", "1970-01-01Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00"})
_EARLIEST: Final = -2_208_988_800_000  # 1900-01-01
_LATEST: Final = 4_133_980_800_000  # 2101-01-01


class VariableScaleDecimal(msgspec.Struct, frozen=True):
    """``io.debezium.data.VariableScaleDecimal``: a NUMERIC whose column declares no scale."""

    scale: int
    value: str


class Encoding(msgspec.Struct, frozen=True):
    """One column's encoding: a word of ``VALUE_ENCODINGS`` or ``KEY_ENCODINGS`` (``""``: as JSON has it)."""

    word: str = ""
    scale: int | None = None
    """Of ``decimal 2``; ``None``: the value brings its own."""
    zero: bool = False
    """Whether the epoch itself stands for null: what Debezium makes of MySQL's `0000-00-00` in a `not null` column."""

    def __str__(self) -> str:
        """As a mapping writes it."""
        return f"{self.word}{'' if self.scale is None else f' {self.scale}'}{ZERO_AS_NULL if self.zero else ''}"


ZERO_AS_NULL: Final = " with zero as null"
"""What a mapping writes after the encoding of such a column."""


PLAIN: Final = Encoding()


def json_type(encoding: Encoding, type_: str) -> Any:
    """The JSON that may stand in a column of this encoding and field type, as a type for msgspec, without null."""
    if encoding.word == DECIMAL:
        return VariableScaleDecimal if encoding.scale is None else str
    if encoding.word == NESTED:
        return Any
    if encoding.word == INTEGER or encoding.word.startswith("epoch"):
        return int
    if type_ == "number":
        return int | float | str
    if type_ == "boolean":
        return bool | int | str
    return str


def allowed(type_: str) -> tuple[str, ...]:
    """The encodings that a column of this field type can have, without the plain one."""
    if type_ == "date":
        return ENCODINGS
    if type_ == "instant":
        return tuple(encoding for encoding in ENCODINGS if encoding != "epoch days")
    return {"number": (DECIMAL,), "text": (NESTED,)}.get(type_, ())


def canonical(field: Field, name: str, encoding: Encoding, raw: object) -> Scalar:
    """The canonical value of a raw one for a field, or for its part ``name``; raises ``NotCanonical``."""
    if encoding.word == DECIMAL and raw is not None:
        raw = _decimal(raw, encoding.scale)
    elif encoding.word == NESTED and raw is not None:
        raw = _nested(raw)
    elif encoding.zero and raw in _ZEROS:
        return None
    timed = _TIME_ENCODINGS.get(encoding.word)
    if name:
        return part(field, name, raw, timed)
    value = normalise(field, raw, timed)
    if isinstance(value, dict):
        raise NotCanonical("parts where one value is due")
    return value


def reader(field: Field, name: str, encoding: Encoding) -> Callable[[Any], Scalar]:
    """``canonical`` for one column, made once; never called with ``None``. The values of most rows are their own."""
    whole_field = not name
    special = encoding.word in {DECIMAL, NESTED} or encoding.zero
    if special or (whole_field and (field.choices or field.type == "parts")):
        return partial(canonical, field, name, encoding)
    type_ = field.type if whole_field else field.parts[name]
    return scalar_of(type_, _TIME_ENCODINGS.get(encoding.word), field.phone_region)


def milliseconds(encoding: Encoding, raw: object) -> int | None:
    """A moment as milliseconds since 1970; raises ``NotCanonical``."""
    if encoding.zero and raw in _ZEROS:
        return None
    per_second = _PER_SECOND.get(encoding.word)
    if per_second is not None and type(raw) is int:
        found = raw * 1000 // per_second
        if not _EARLIEST <= found < _LATEST:
            raise NotCanonical("a moment outside the years 1900 to 2100")
        return found
    text = scalar("instant", raw, "iso")
    return None if text is None else _millis(str(text))


def whole_number(raw: object) -> int | None:
    """A whole number that may be written as text or as a float without fraction; raises ``NotCanonical``."""
    number = scalar("number", raw)
    if number is None or type(number) is int:
        return number
    raise NotCanonical("a fraction where a whole number is due")


def written(encoding: Encoding, type_: str, value: Scalar) -> Any:
    """The JSON that a column of this encoding takes for a canonical value: the reverse of reading it."""
    if value is None:
        return 0 if encoding.zero and encoding.word in _PER_UNIT else None
    if encoding.word in _PER_UNIT:
        return _counted(encoding.word, type_, str(value))
    write = _WRITTEN.get(encoding.word)
    return value if write is None else write(encoding, value)


def _counted(word: str, type_: str, value: str) -> int:
    """A date or an instant as a number of days or of parts of a second."""
    if type_ == "date":
        days = (date.fromisoformat(value) - _EPOCH).days
        return days if word == "epoch days" else days * 86_400 * _PER_SECOND[word]
    return _millis(value) * _PER_SECOND[word] // 1000


def decimal_id(encoding: Encoding, raw: object) -> str:
    """A key or an id that is written as a decimal, as text; raises ``NotCanonical``."""
    number = _decimal(raw, encoding.scale)
    if number != number.to_integral_value():
        raise NotCanonical("a fraction where a whole number is due")
    return str(int(number))


def _nested(raw: object) -> str:
    """An array or a map as JSON in one form: compact, keys in order."""
    if not isinstance(raw, list | dict):
        raise NotCanonical("neither an array nor a map where one is due")
    return msgspec.json.encode(raw, order="deterministic").decode()


def _millis(instant: str) -> int:
    moment = datetime.fromisoformat(instant)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _decimal(raw: object, scale: int | None) -> Decimal:
    """Kafka Connect's Decimal: the unscaled number as big-endian two's complement, in base64."""
    found = raw
    if isinstance(raw, VariableScaleDecimal):
        found, scale = raw.value, raw.scale
    if not isinstance(found, str) or scale is None or not _MIN_SCALE <= scale <= _MAX_DECIMAL_BYTES:
        raise NotCanonical("no decimal of Kafka Connect where one is due")
    try:
        unscaled = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotCanonical("no base64 where a decimal is due") from error
    if not 0 < len(unscaled) <= _MAX_DECIMAL_BYTES:
        raise NotCanonical("a decimal of more digits than any measure has")
    return Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-scale)


def _connect_decimal(value: Decimal, scale: int | None) -> Any:
    own = max(0, -int(value.normalize().as_tuple().exponent))
    unscaled = int(value.scaleb(own if scale is None else scale).to_integral_value())
    length = (unscaled.bit_length() + 8) // 8
    encoded = base64.b64encode(unscaled.to_bytes(length, "big", signed=True)).decode()
    return {"scale": own, "value": encoded} if scale is None else encoded


_PER_UNIT: Final = frozenset({"epoch days", *_PER_SECOND})
_WRITTEN: Final[dict[str, Callable[[Encoding, Scalar], Any]]] = {
    DECIMAL: lambda encoding, value: _connect_decimal(Decimal(str(value)), encoding.scale),
    INTEGER: lambda _, value: int(str(value)),
    NESTED: lambda _, value: msgspec.json.decode(str(value)),
}
"""Encodings that write a value otherwise than it is, beside those that count."""
