"""JSON from outside: decoded, or refused with a reason that holds nothing of what it said.

The decoder takes the last of two equal keys in silence. To look for such keys in every record would cost more than
decoding it, so the suspicion is cheap and the proof is rare. In JSON every key brings one colon; so a text with as many
colons as distinct keys were decoded holds no key twice. Values hold colons too (times), so the next count is of ``":``,
which in compact JSON ends every key and which values hardly hold; where a colon follows white space that count proves
nothing. Only when it also differs is the text decoded once more, slowly, by a decoder that sees every pair.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from ownership_stream.sources.result import Undecodable

MAX_DEPTH: Final = 64
_TOMBSTONES: Final = frozenset({b"null", b""})
_LONGEST_TOMBSTONE: Final = 8
_AVRO: Final = (b"\x00", b"\x01")
_CONTAINERS: Final = frozenset({dict, list})
_SPACES: Final = (b" :", b"\t:", b"\n:", b"\r:")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<name>.*)`", re.DOTALL)
_AT: Final = re.compile(r"`\$\.(?P<path>[^`\[]*)")
_EXPECTED: Final = re.compile(r"Expected `(?P<due>[^`]*)`, got `(?P<found>[^`]*)`")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,62}")

T = TypeVar("T")
Headers = Sequence[tuple[str, bytes | None]]

TRACE: Final = frozenset({"traceparent", "tracestate"})
"""Headers of W3C Trace Context, which are passed through."""
MAX_TRACE: Final = 512


def is_tombstone(value: bytes | None) -> bool:
    """Whether this is no value at all: null, nothing, or the text ``null`` that some producers send instead."""
    return value is None or (len(value) < _LONGEST_TOMBSTONE and value.strip() in _TOMBSTONES)


def decoded(decode: Callable[[Any], T], value: bytes | msgspec.Raw, what: str) -> T:
    """What ``decode`` (msgspec) makes of the bytes; raises ``Undecodable`` and nothing else.

    ``what`` begins the message, and names the table or the kind of event.
    """
    try:
        return decode(value)
    except msgspec.ValidationError as error:
        raise mistyped(error, what) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Undecodable("not_json", f"{what}: {_no_json(value)}") from None
    except RecursionError:
        raise Undecodable("too_deep", f"{what}: nested too deeply") from None


def mistyped(error: msgspec.ValidationError, what: str) -> Undecodable:
    """A validation error of msgspec in our words: names and types only.

    Its messages hold types, names of fields and paths, and of the data itself unknown field names alone.
    """
    text = str(error)
    unknown = _UNKNOWN.search(text)
    if unknown:
        return Undecodable("unknown_column", f"{what}: unknown column {named(unknown['name'])}")
    at, expected = _AT.search(text), _EXPECTED.search(text)
    where = f", column {named(at['path'])}" if at else ""
    kind = f"expected `{expected['due']}`, got `{expected['found']}`" if expected else "a value that cannot stand there"
    return Undecodable("wrong_type", f"{what}{where}: {kind}")


def named(name: str) -> str:
    """A name out of the data as a message may show it: whatever is no plain name could be anything."""
    return f"`{name}`" if _NAME.fullmatch(name) else "whose name is no plain word"


def traced(headers: Headers) -> dict[str, str]:
    """The trace headers of a record; what is no trace header's text is left out."""
    found = {}
    for name, value in headers:
        if name in TRACE and value and len(value) <= MAX_TRACE and value.isascii():
            found[name] = value.decode("ascii")
    return found


def refuse_duplicates(text: bytes, keys: int, what: str, unread: bytes = b"") -> None:
    """Raise ``Undecodable`` if an object in this JSON holds a key twice; ``keys`` distinct ones were decoded.

    ``unread`` are the parts of the text that were not decoded: their keys are not among ``keys``.
    """
    if text.count(b":") - unread.count(b":") == keys:
        return
    if text.count(b'":') - unread.count(b'":') == keys and not any(space in text for space in _SPACES):
        return
    try:
        json.loads(text, object_pairs_hook=_distinct)
    except _TwiceError as twice:
        raise Undecodable("duplicate_key", f"{what}: the key {named(str(twice))} stands twice in one object") from None
    except RecursionError:
        raise Undecodable("too_deep", f"{what}: nested too deeply") from None
    except ValueError:
        raise Undecodable("not_json", f"{what}: no JSON") from None


def keys_in(value: Any) -> int:
    """How many keys all objects in a decoded value hold together; raises ``Undecodable`` for one nested too deeply."""
    total, level = 0, [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                total += len(node)
                below += [child for child in node.values() if type(child) in _CONTAINERS]
            elif type(node) is list:
                below += [child for child in node if type(child) in _CONTAINERS]
        level = below
        if not level:
            return total
    raise Undecodable("too_deep", f"nested more than {MAX_DEPTH} levels deep")


class _TwiceError(Exception):
    """A key that stands twice in one object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _no_json(value: bytes | msgspec.Raw) -> str:
    if bytes(value)[:1] in _AVRO:
        return "not JSON but framed by a schema registry: set the connector's converter to JSON, or set `registry_url`"
    return "no JSON in UTF-8"
