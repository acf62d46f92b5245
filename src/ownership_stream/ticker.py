"""Ticks: what makes time pass for records that wait for something.

``decide`` has no clock. A state says when its record wants to be looked at again; the ticker asks the store which
records are due and writes a tick for each to ``ownership.changes``, where it takes its place in the record's one
order. A tick too many changes nothing, so nothing here needs to be exact: neither the clock nor the delivery.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

from ownership_stream.commands import ChangeWriter
from ownership_stream.identity import change_id
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.model import Change
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.wire import JSON, Wire

MOST: Final = 1_000
"""Ticks for one partition in one round; the next round brings the rest."""
LONGEST_REST: Final = 24 * 3600 * 1000
"""Milliseconds: the longest that a record which stays due after its ticks waits for the next."""


class TickWriter(ChangeWriter):
    """Writes ticks to the topic of changes; it speaks to nobody before its first one."""

    def write(self, records: Iterable[tuple[str, int]], now: int) -> int:
        """Write a tick for each (record, partition) at ``now`` (milliseconds), due or not; how many.

        Raises ``UnavailableError`` when Kafka does not take them all, or the schema registry is away; writing them
        again does no harm.
        """
        return self.put(
            (Change(id=change_id(f"tick/{record}/{now}"), record=record, kind="tick", at=now), partition)
            for record, partition in records
        )


class Rests(dict[str, tuple[int, int]]):
    """Records of one partition that had a tick: when that was, and how long they rest (milliseconds).

    A tick brings its record's due time into the future. One that is still due then has failed (each time a dead
    letter), or waits behind a lag; either way the next comes after twice the time, so that ticks do not pile up. A
    record that is due no more is forgotten.
    """

    def choose(self, due: Sequence[str], now: int, first_rest: int) -> list[str]:
        """Those of the due records that get a tick at `now`; at most `MOST`."""
        for gone in self.keys() - set(due):
            del self[gone]
        chosen = [record for record in due if record not in self or now >= sum(self[record])][:MOST]
        for record in chosen:
            rest = min(2 * self[record][1], LONGEST_REST) if record in self else first_rest
            self[record] = now, rest
        return chosen


class Ticker:
    """Writes ticks for what is due in the partitions that are ours.

    ``topic`` is where ticks go, ``seconds`` how long to wait between two rounds.
    """

    def __init__(
        self,
        config: LaneConfig,
        store: StateStore,
        *,
        changes: str,
        states: str,
        seconds: float,
        wire: Wire = JSON,
    ) -> None:
        self.topic: Final = changes
        self.seconds: Final = seconds
        self._config = config
        self._store = store
        self._states = states
        self._writer = TickWriter(config, changes, wire)
        self._rests: dict[int, Rests] = {}

    def tick(self, partitions: Iterable[int], now: int) -> int:
        """Write the ticks that are due at ``now`` (milliseconds); how many.

        Raises ``UnavailableError`` when Kafka, the store or the schema registry is away: a later round makes up for it.
        """
        return self._writer.write(self._due(partitions, now), now)

    def _due(self, partitions: Iterable[int], now: int) -> Iterator[tuple[str, int]]:
        first_rest = int(2 * self.seconds * 1000)
        for partition in partitions:
            rests = self._rests.setdefault(partition, Rests())
            # Those at rest are the longest overdue, and must not take the places of the others.
            limit = MOST + len(rests)
            due = self._store.due(key_prefix(self._config.app, self._topic_id, partition), now, limit)
            for record in rests.choose(due, now, first_rest):
                yield record, partition

    @cached_property
    def _topic_id(self) -> str:
        broker = Broker(self._config)
        try:
            return broker.topic_id(self._states)
        finally:
            broker.close()
