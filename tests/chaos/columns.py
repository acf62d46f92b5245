"""Millions of records in columns: where each stands and what it is, by digests of its bytes and not by the bytes.

A digest is BLAKE2b of 16 bytes: two records with the same one are the same, as far as anybody will ever see.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from ownership_stream.wire.messages import ERRORS

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""
Partition = tuple[str, int]
Headers = Sequence[tuple[str, bytes | None]]

DIGEST: Final = 16
NAME: Final = 8
_pack: Final = msgspec.msgpack.Encoder().encode


def integers() -> "array[int]":
    """An empty column of 64-bit integers."""
    return array("q")


@dataclass(slots=True)
class Column:
    """Bytes of one size, end to end."""

    size: int
    data: bytearray = field(default_factory=bytearray)

    def append(self, one: bytes) -> None:
        """One more."""
        self.data += one

    def extend(self, other: "Column") -> None:
        """All of another."""
        self.data += other.data

    def __len__(self) -> int:
        return len(self.data) // self.size

    def __getitem__(self, index: int) -> bytes:
        return bytes(self.data[index * self.size : (index + 1) * self.size])

    def __iter__(self) -> Iterator[bytes]:
        whole = bytes(self.data)
        return (whole[at : at + self.size] for at in range(0, len(whole), self.size))


@dataclass(slots=True)
class Standing:
    """The records of one partition, in the order of their offsets; `times` are theirs, in milliseconds."""

    offsets: "array[int]" = field(default_factory=integers)
    times: "array[int]" = field(default_factory=integers)
    digests: Column = field(default_factory=lambda: Column(DIGEST))
    names: Column = field(default_factory=lambda: Column(NAME))

    def index(self, offset: int) -> int | None:
        """Which of them stands there."""
        return index_of(self.offsets, offset)


@dataclass(slots=True)
class Wanted:
    """The outputs of one lane to one partition, in the lane's order; `sources` are the offsets of their inputs."""

    sources: "array[int]" = field(default_factory=integers)
    digests: Column = field(default_factory=lambda: Column(DIGEST))
    names: Column = field(default_factory=lambda: Column(NAME))


class Receipt(NamedTuple):
    """What became of something that was given to a topic; None and None where nobody knows."""

    topic: str
    partition: int | None
    offset: int | None
    digest: bytes


class Receipts:
    """What was given to some topics, in its order, and what became of each."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._numbers = array("b")
        self._partitions = array("i")
        self._offsets = integers()
        self._digests = Column(DIGEST)

    def give(self, topic: str, key: bytes | None, value: bytes | None) -> int:
        """Something is given; returns its number."""
        self._numbers.append(self._topics.index(topic))
        self._partitions.append(-1)
        self._offsets.append(-1)
        self._digests.append(given_digest(key, value))
        return len(self._offsets) - 1

    def stands(self, number: int, partition: int, offset: int) -> None:
        """It was acknowledged."""
        self._partitions[number] = partition
        self._offsets[number] = offset

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Receipt]:
        for number, partition, offset, digest in zip(
            self._numbers, self._partitions, self._offsets, self._digests, strict=True
        ):
            known = offset >= 0
            yield Receipt(self._topics[number], partition if known else None, offset if known else None, digest)


def index_of(ascending: "array[int]", offset: int) -> int | None:
    """Where a number is in a column of ascending ones."""
    index = bisect_left(ascending, offset)
    return index if index < len(ascending) and ascending[index] == offset else None


def state_digest(state: bytes) -> bytes:
    """Of the bytes of a state."""
    return blake2b(state, digest_size=DIGEST).digest()


def given_digest(key: bytes | None, value: bytes | None) -> bytes:
    """Of what somebody gave to a topic: what the broker or a client puts into headers is not theirs."""
    return blake2b(_pack((key, value)), digest_size=DIGEST).digest()


def body_digest(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Of a record without its place: two of the same in one partition cannot be told apart."""
    return blake2b(_pack((key, value, headers)), digest_size=DIGEST).digest()


def name_digest(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """What a record can be known by though its bytes or its partition are not the right ones."""
    told = dict(headers)
    found: object = told.get("ce_id") or (key, value)
    if f"{ERRORS}topic" in told:
        found = buried_at(headers)[0] or found
    return blake2b(found if isinstance(found, bytes) else _pack(found), digest_size=NAME).digest()


def buried_at(headers: Headers) -> tuple[Place | None, str]:
    """Of a dead letter: which record it was, and `<stage>: <where>`."""
    said = {name: value or b"" for name, value in headers if name.startswith(ERRORS)}
    try:
        topic, partition, offset = (said[f"{ERRORS}{word}"].decode() for word in ("topic", "partition", "offset"))
        return (topic, int(partition), int(offset)), said[f"{ERRORS}stage"].decode()
    except (KeyError, ValueError):
        return None, ""
