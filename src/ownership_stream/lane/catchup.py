"""Catch-up: a lane's states in the store are brought up to its changelog, from the position they prove to have.

Reading and writing overlap: while one list of records is saved, the next is read in a thread. The position moves with
each save, after its states, so a catch-up that dies half-way is gone on with from there; and each save is conditional
on it, so one that was displaced meanwhile can write nothing any more. This module decides neither where a catch-up
begins nor whether a lane may work.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from typing import NamedTuple, TypeVar

from confluent_kafka import Message

from ownership_stream.lane.broker import Broker, offset_of
from ownership_stream.lane.contract import LaneBrokenError, LaneId, LaneRefusedError, Observer
from ownership_stream.store import Position, StateStore

_T = TypeVar("_T")


class _Part(NamedTuple):
    """What one read brought: the newest state of each record, how many records were read, the offset after them."""

    states: dict[str, bytes]
    records: int
    end: int


@dataclass(slots=True)
class CatchUp:
    """Catches up with one partition of `topic`, the lane's changelog; `own_key` is that of its control records.

    Once `leaving` is set no save is begun any more: a worker that is told to stop does not go on for minutes.
    """

    lane: LaneId
    broker: Broker
    store: StateStore
    observer: Observer
    topic: str
    own_key: bytes
    leaving: Event = field(default_factory=Event)

    def run(self, prefix: str, held: Position, begin: int, end: int) -> Position:
        """Saves what the changelog holds from `begin` to `end`, and returns the position at `end`.

        Raises `DisplacedError` if `held` is no longer the store's position, `LaneBrokenError` when leaving,
        `LaneRefusedError` for what no lane writes, and `UnavailableError` when Kafka or the store is away.
        """
        began, read = monotonic(), 0
        if begin < end:
            self.observer.catching_up(self.lane, 0, end - begin, 0.0)
        with closing(_ahead(self._parts(begin, end))) as parts:
            for part in parts:
                if self.leaving.is_set():
                    raise LaneBrokenError(f"{self.lane}: stopped while catching up")
                new = Position(held.incarnation, part.end)
                self.store.save(prefix, held, new, part.states)
                held, read = new, read + part.records
                self.observer.catching_up(self.lane, read, max(0, end - part.end), monotonic() - began)
        if held.offset < end:
            new = Position(held.incarnation, end)
            self.store.save(prefix, held, new, {})
            held = new
        self.observer.caught_up(self.lane, read, monotonic() - began)
        return held

    def _parts(self, begin: int, end: int) -> Generator[_Part, None, None]:
        for messages in self.broker.read(self.topic, self.lane.partition, begin, end):
            if messages:
                yield _Part(self._states(messages), len(messages), offset_of(messages[-1]) + 1)

    def _states(self, messages: Sequence[Message]) -> dict[str, bytes]:
        """The newest state per record; no tombstones: deleted and merged are states."""
        states: dict[str, bytes] = {}
        own = self.own_key
        for message in messages:
            key, value = message.key(), message.value()
            if key == own:
                continue
            if not isinstance(key, bytes) or not isinstance(value, bytes):
                raise LaneRefusedError(
                    f"{self.lane}: `{self.topic}` offset {message.offset()} has no key or no value, which no lane "
                    "writes: find out who did, and restore the record's state"
                )
            states[key.decode()] = value
        return states


def _ahead(items: Generator[_T, None, None]) -> Generator[_T, None, None]:
    """The same items; each is fetched, in a thread, while the one before is worked on."""
    with closing(items), ThreadPoolExecutor(1, "catch-up") as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item
