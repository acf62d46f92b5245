"""The canonical form of a value, by the type of its field: two values are equal exactly when their forms are.

The equality of docs/rules.md, section 1. Source mappings and scenarios bring every raw value through here before
anything is decided, so that ``==`` is enough afterwards. Pure; a failure says what is wrong and never the value itself.

Canonical forms: text is NFC, trimmed, inner white space folded to one space; codes and stages are case-folded text;
e-mail is lower-case text; a phone number is E.164 (``+12025550100``, with ``;ext=12`` where it has an extension), and
text where it cannot be read as a number; a date is ``YYYY-MM-DD``; an instant is ``YYYY-MM-DDThh:mm:ss.mmmZ``; a whole
number is an ``int``. A blank text is ``None``: white space is no value, and to write it is to clear the field.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import phonenumbers

from ownership_stream.matrix.compiled import Field
from ownership_stream.model import Scalar, Value

MAX_TEXT: Final = 4096
"""Characters of a raw text; a field of the matrix is a line or a paragraph, never a document."""
YEARS: Final = range(1900, 2101)
"""Years a date may lie in: 9999 and 0 are place-holders of some systems, not dates."""
MAX_WHOLE: Final = 2**53
"""Below this every reader of JSON agrees on a whole number."""

Encoding = Literal["iso", "epoch days", "epoch s", "epoch ms", "epoch us", "epoch ns"]
"""How a source writes a date or an instant. Undeclared is ``iso``: a bare number says nothing of its unit."""
ENCODINGS: Final[tuple[Encoding, ...]] = get_args(Encoding)
Encodings = Encoding | Mapping[str, Encoding] | None
"""One encoding, or one for each part."""

PHONE_REGIONS: Final = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""Countries (ISO 3166, two capitals) whose numbers can be read without a country prefix."""

_PER_SECOND: Final = {"epoch s": 1, "epoch ms": 1_000, "epoch us": 1_000_000, "epoch ns": 1_000_000_000}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_DAYS: Final = range(date(YEARS.start, 1, 1).toordinal() - _FIRST_DAY, date(YEARS.stop, 1, 1).toordinal() - _FIRST_DAY)
"""Days since 1970 that lie in these years."""
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MIDNIGHT: Final = re.compile(r"(\d{4}-\d{2}-\d{2})([T ]00:00(:00(\.0{1,9})?)?)?(Z|[+-]00(:?00)?)?", re.ASCII)
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}(:?\d{2})?)?", re.ASCII
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?", re.ASCII)
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})


class NotCanonical(ValueError):  # noqa: N818 (it names the state of the value; nothing of ours has failed)
    """A raw value that has no canonical form; ``reason`` says why, without the value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def normalise(field: Field, raw: object, encoding: Encodings = None) -> Value:
    """The canonical value of a whole field; raises ``NotCanonical``.

    A field of parts takes a mapping of those parts that the source carries; it is ``None`` when all the field's parts
    are there and null. Dates and instants are read as ``encoding`` says.
    """
    if field.type != "parts":
        if isinstance(encoding, Mapping):
            raise TypeError("a field without parts has one encoding")
        return _chosen(field, scalar(field.type, raw, encoding, field.phone_region))
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise NotCanonical(f"{_kind(raw)} where parts are due")
    return whole(field, {name: part(field, name, value, _of(encoding, name)) for name, value in raw.items()})


def part(field: Field, name: str, raw: object, encoding: Encoding | None = None) -> Scalar:
    """The canonical value of one part of a field of parts; raises ``NotCanonical``."""
    if name not in field.parts:
        raise NotCanonical("a part that the field does not have")
    return scalar(field.parts[name], raw, encoding, field.phone_region)


def whole(field: Field, parts: dict[str, Scalar]) -> Value:
    """Canonical parts as one value: ``None`` when every part of the field is there and null."""
    cleared = len(parts) == len(field.parts) and all(value is None for value in parts.values())
    return None if cleared else parts


def scalar(type_: str, raw: object, encoding: Encoding | None = None, region: str = "") -> Scalar:
    """The canonical form of a raw scalar of a type of ``words.FIELD_TYPES``; raises ``NotCanonical``.

    ``region`` is for phone numbers without a country.
    """
    if raw is None:
        return None
    if type_ == "phone":
        return _phone(_text(raw), region)
    if type_ in _BY_TIME:
        return _BY_TIME[type_](raw, encoding or "iso")
    return _BY_TYPE[type_](raw)


def scalar_of(type_: str, encoding: Encoding | None = None, region: str = "") -> Callable[[Any], Scalar]:
    """``scalar`` of one type with all that the value does not decide looked up once; never called with ``None``."""
    if type_ == "phone":
        return lambda raw: _phone(_text(raw), region)
    if type_ in _BY_TIME:
        read, how = _BY_TIME[type_], encoding or "iso"
        return lambda raw: read(raw, how)
    return _BY_TYPE[type_]


def _chosen(field: Field, value: Scalar) -> Scalar:
    if value is not None and field.choices and value not in field.choices:
        raise NotCanonical("a value that is not one of the field's choices")
    return value


def _of(encoding: Encodings, name: str) -> Encoding | None:
    return encoding.get(name) if isinstance(encoding, Mapping) else encoding


def _kind(raw: object) -> str:
    kinds = ((bool, "a boolean"), (int | float | Decimal, "a number"), (str, "a text"), (Mapping, "a mapping"))
    return next((kind for types, kind in kinds if isinstance(raw, types)), "a list or an object")


# ------------------------------------------------------------------------------------------------ texts


def _text(raw: object) -> str | None:
    if not isinstance(raw, str):
        raise NotCanonical(f"{_kind(raw)} where a text is due")
    if len(raw) > MAX_TEXT:
        raise NotCanonical(f"a text longer than {MAX_TEXT} characters")
    if "\0" in raw:
        raise NotCanonical("a text with a NUL character")
    if raw.isascii():
        return " ".join(raw.split()) or None
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("a text with half a surrogate pair") from error
    return " ".join(unicodedata.normalize("NFC", raw).split()) or None


def _code(raw: object) -> str | None:
    text = _text(raw)
    if text is None or text.isascii():
        return text.lower() if text else None
    # Unicode 15, section 3.13, definition 145: canonical caseless matching folds the decomposed form.
    folded = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded).casefold()).split())


def _email(raw: object) -> str | None:
    text = _text(raw)
    return unicodedata.normalize("NFC", text.lower()) if text else None


def _phone(text: str | None, region: str) -> str | None:
    return _number_of(text, region) or text if text else None


@lru_cache(maxsize=8192)  # a whole row repeats its number in every event, and to parse one costs 50 µs
def _number_of(text: str, region: str) -> str | None:
    """E.164 of what can be read as a number and reads back as the same; else ``None``."""
    number = _parsed(text, region)
    if number is None:
        return None
    form = _e164(number)
    again = _parsed(form, region)
    return form if again is not None and _e164(again) == form else None


def _parsed(text: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def _e164(number: phonenumbers.PhoneNumber) -> str:
    form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{form};ext={number.extension}" if number.extension else form


# ------------------------------------------------------------------------------------------------ numbers


_NOT_FINITE: Final = "a number that is not finite"
_TOO_LARGE: Final = "a number too large to be exact"


def _number(raw: object) -> int | float | None:
    if isinstance(raw, str):
        text = _text(raw)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise NotCanonical("a text where a number is due")
        raw = Decimal(text)
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        raise NotCanonical(f"{_kind(raw)} where a number is due")
    try:
        number = float(raw)
    except OverflowError as error:
        raise NotCanonical(_TOO_LARGE) from error
    except ValueError as error:  # a signalling NaN
        raise NotCanonical(_NOT_FINITE) from error
    if not math.isfinite(number):
        raise NotCanonical(_NOT_FINITE)
    if abs(number) >= MAX_WHOLE:
        raise NotCanonical(_TOO_LARGE)
    return int(number) if number.is_integer() else number


def _boolean(raw: object) -> bool | None:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int) and raw in {0, 1}:
        return raw == 1
    if isinstance(raw, str):
        word = _code(raw)
        if word is None:
            return None
        if word in _TRUE | _FALSE:
            return word in _TRUE
    raise NotCanonical(f"{_kind(raw)} where true or false is due")


# ------------------------------------------------------------------------------------------------ times


def _date(raw: object, encoding: Encoding) -> str | None:
    if isinstance(raw, datetime):
        return _midnight(_utc(raw))
    if isinstance(raw, date):
        return _in_years(raw).isoformat()
    if encoding == "epoch days":
        days = _whole(raw, "a date")
        if days not in _DAYS:
            raise NotCanonical(_OUTSIDE)
        return date.fromordinal(_FIRST_DAY + days).isoformat()
    if encoding != "iso":
        return _midnight(_moment(raw, encoding, "a date"))
    text = _time_text(raw, "a date")
    if text is None:
        return None
    at_midnight = _MIDNIGHT.fullmatch(text)
    text = at_midnight[1] if at_midnight else text
    if _INSTANT.fullmatch(text):
        raise NotCanonical("a time of day in a date")
    if not _DATE.fullmatch(text):
        raise NotCanonical("a text that is no ISO date")
    try:
        return _in_years(date.fromisoformat(text)).isoformat()
    except ValueError as error:
        raise _no_day(error) from error


def _instant(raw: object, encoding: Encoding) -> str | None:
    if isinstance(raw, datetime):
        return _iso(_utc(raw))
    if encoding != "iso":
        if encoding == "epoch days":
            raise NotCanonical("a day where an instant is due")
        return _counted(_whole(raw, "an instant"), _PER_SECOND[encoding])
    text = _time_text(raw, "an instant")
    if text is None:
        return None
    if not _INSTANT.fullmatch(text):
        raise NotCanonical("a text that is no ISO instant")
    try:
        return _iso(_utc(datetime.fromisoformat(text.upper())))
    except (ValueError, OverflowError) as error:
        raise _no_day(error) from error


def _time_text(raw: object, what: str) -> str | None:
    if not isinstance(raw, str):
        raise NotCanonical(f"{_kind(raw)} where {what} is due; a number needs the column's encoding")
    return _text(raw)


def _whole(raw: object, what: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise NotCanonical(f"{_kind(raw)} where {what} as a number is due")
    return raw


def _counted(count: int, per_second: int) -> str:
    """The instant of so many parts of a second since 1970; finer than milliseconds is cut off."""
    seconds, rest = divmod(count, per_second)
    days, second = divmod(seconds, 86_400)
    if days not in _DAYS:
        raise NotCanonical(_OUTSIDE)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{rest * 1000 // per_second:03}"
    return f"{_day(days)}T{clock}Z"


@lru_cache(maxsize=1024)  # the times of a batch are of few days
def _day(days: int) -> str:
    return date.fromordinal(_FIRST_DAY + days).isoformat()


def _moment(raw: object, encoding: Encoding, what: str) -> datetime:
    return _EPOCH + _span(_whole(raw, what), _PER_SECOND[encoding])


def _span(count: int, per_unit: int) -> timedelta:
    """``count`` units as a span, checked before it could overflow; finer than microseconds is cut off."""
    if not -100 * 366 * 86_400 < count // per_unit < 200 * 366 * 86_400:
        raise NotCanonical(_OUTSIDE)
    return timedelta(seconds=count // per_unit, microseconds=count % per_unit * 1_000_000 // per_unit)


def _utc(moment: datetime) -> datetime:
    """In UTC; a moment without offset is taken as UTC, as databases and connectors write it."""
    _in_years(moment)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(moment: datetime) -> str:
    _in_years(moment)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _midnight(moment: datetime) -> str:
    if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
        raise NotCanonical("a time of day in a date")
    return _in_years(moment.date()).isoformat()


_OUTSIDE: Final = f"a date outside the years {YEARS.start} to {YEARS.stop - 1}"


def _in_years(day: date) -> date:
    if day.year not in YEARS:
        raise NotCanonical(_OUTSIDE)
    return day


def _no_day(error: Exception) -> NotCanonical:
    return error if isinstance(error, NotCanonical) else NotCanonical("a date that is not in the calendar")


_BY_TYPE: Final[dict[str, Callable[[Any], Scalar]]] = {
    "text": _text,
    "name": _text,
    "code": _code,
    "stage": _code,
    "email": _email,
    "number": _number,
    "boolean": _boolean,
}
_BY_TIME: Final[dict[str, Callable[[Any, Encoding], Scalar]]] = {"date": _date, "instant": _instant}
