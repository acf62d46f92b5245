"""Samples of source records: the newest on a topic, or those in a file, in the order in which they stand.

Nothing is written, no offset is committed, no group is joined. A file has one record in each line: an object with
``key``, ``value`` and ``headers``, what ``kcat -J`` prints, what ``kcat`` prints with a tab between key and value, or a
value alone (then it is not known whether the record had a key).
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from ownership_stream.errors import BadInputError
from ownership_stream.lane import Broker
from ownership_stream.sources.opened import SampleRecord

_OURS: Final = frozenset({"key", "value", "headers", "topic", "partition", "offset", "timestamp"})
_KCAT: Final = frozenset({"topic", "partition", "offset"})
MAX_LINE: Final = 16 * 1024 * 1024
"""Characters of one line of a file: no broker takes a record of that size."""


def from_topic(broker: Broker, topic: str, number: int, *, oldest: bool = False) -> Iterator[SampleRecord]:
    """The newest records of a topic (``oldest``: the first), about as many from each partition.

    Raises ``UnavailableError`` when Kafka is away, ``LaneBrokenError`` where there is no such topic.
    """
    partitions = broker.partitions(topic)
    share = -(-number // partitions)
    for partition in range(partitions):
        extent = broker.extent(topic, partition)
        begin = extent.start if oldest else max(extent.start, extent.end - share)
        end = min(extent.end, begin + share) if oldest else extent.end
        for messages in broker.read(topic, partition, begin, end):
            yield from map(_consumed, messages)


def _consumed(message: Message) -> SampleRecord:
    headers: Any = message.headers() or []
    key, value = message.key(), message.value()
    return SampleRecord(str(message.topic()), key, value, tuple(headers), message.timestamp()[1])


def from_file(path: Path, number: int, topic: str) -> Iterator[SampleRecord]:
    """The first records in a file; ``topic`` is where those stood that do not say it. Raises ``BadInputError``."""
    try:
        with path.open(encoding="utf-8", errors="strict") as lines:
            found = (line for line in _numbered(lines) if line[1].strip())
            for at, line in islice(found, number):
                yield _parsed(line.rstrip("\r\n"), topic, f"{path}:{at}")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"`{path}` cannot be read: {_why(error)}") from None


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return enumerate(lines, 1)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or type(error).__name__).lower() if isinstance(error, OSError) else "it is no UTF-8"


def _parsed(line: str, topic: str, where: str) -> SampleRecord:
    if len(line) > MAX_LINE:
        raise BadInputError(f"{where}: a line longer than any record")
    key, tab, value = line.partition("\t")
    if tab:
        return SampleRecord(topic, _bytes(key) or None, _bytes(value))
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        raise BadInputError(
            f'{where}: no JSON: write one record in each line, as `{{"key": …, "value": …, "headers": …}}`'
        ) from None
    if isinstance(found, dict) and "value" in found and found.keys() <= _OURS:
        return _record(found, found["value"], topic, where)
    if isinstance(found, dict) and "payload" in found and found.keys() >= _KCAT:
        return _record(found, found["payload"], topic, where)
    return SampleRecord(topic, None, line.encode(), keyed=False)


def _record(found: dict[str, Any], value: Any, topic: str, where: str) -> SampleRecord:
    at = found.get("timestamp", found.get("ts", 0))
    return SampleRecord(
        str(found.get("topic", topic)),
        _bytes(found.get("key")),
        _bytes(value),
        tuple(_headers(found.get("headers"), where)),
        at if type(at) is int else 0,
        keyed="key" in found,
    )


def _bytes(found: Any) -> bytes | None:
    """A text as the bytes it stands for; anything else as the compact JSON that a connector would have written."""
    if found is None or isinstance(found, str):
        return None if found is None else found.encode()
    return msgspec.json.encode(found)


def _headers(found: Any, where: str) -> Iterator[tuple[str, bytes | None]]:
    """An object, a list of pairs, or names and values in turn as kcat has them."""
    if found is None:
        return
    pairs: Iterable[Any] = ()
    if isinstance(found, dict):
        pairs = found.items()
    elif isinstance(found, list) and all(isinstance(one, list) and len(one) == 2 for one in found):  # noqa: PLR2004 (pairs)
        pairs = found
    elif isinstance(found, list) and len(found) % 2 == 0:
        pairs = zip(found[::2], found[1::2], strict=True)
    else:
        raise BadInputError(f"{where}: `headers` must be an object, or a list of names and values")
    for name, value in pairs:
        yield str(name), _bytes(value)
