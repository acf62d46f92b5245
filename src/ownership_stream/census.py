"""The census: which cases are open now, how old they are, and which breakers have tripped, counted in the store.

Counters say what happened; what stands now is in the states, and is counted there, round by round. So it is right after
a restart and after a lane has moved, as a tally kept in memory would be only once every state was read. Each worker
counts the lanes that it has at work: the sum over the workers is the installation's. Only what waits for something is
read, by the store's index of due records; in observe mode nothing is due, and no case is in a figure.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from time import monotonic
from typing import Final, Protocol

import msgspec

from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Case
from ownership_stream.steps import BREAKER, unpack, unpack_breaker
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.telemetry.catalogue import LONG
from ownership_stream.wire import open_state

FIRST: Final = 5.0
"""Seconds until the first round."""
EVERY: Final = 30.0
"""Seconds between two rounds."""
SHARE: Final = 20.0
"""A round that took long is followed by a rest of so many times its length: it may cost 5 % of a core."""
AT_ONCE: Final = 500
"""States that are read at once."""
NEVER: Final = 2**53


class Gauges(Protocol):
    """Where the figures go: see ``telemetry``."""

    def set(self, name: str, *labels: str, value: float) -> None:
        """Sets a gauge."""
        ...


class Ages:
    """The open cases of one owner: how many, how old (seconds), and how many beyond their first deadline."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.beyond = 0

    def add(self, case: Case, now: int) -> None:
        """One more, at ``now`` (milliseconds)."""
        self.seconds.append(max(0, now - case.opened) / 1000)
        self.beyond += is_beyond(case, now)


def is_beyond(case: Case, now: int) -> bool:
    """Whether the case's first deadline has passed: it has gone on to the next owner, or is about to."""
    return case.escalated > 0 or case.due <= now


def owner_of(matrix: Matrix, case: Case) -> str:
    """Who has the case, in the words of this matrix: an owner it no longer knows is its stage field's."""
    return case.owner if case.owner in matrix.escalations else matrix.fields[matrix.stages.field].escalation


class Census:
    """Counts what stands in the partitions that are ours, and sets the gauges.

    ``topic`` is the input of the lanes it counts, ``seconds`` how long to wait until the next round.
    """

    def __init__(
        self,
        config: LaneConfig,
        store: StateStore,
        matrix: Matrix,
        gauges: Gauges,
        *,
        changes: str,
        states: str,
    ) -> None:
        self.topic: Final = changes
        self.seconds = FIRST
        self._config = config
        self._store = store
        self._matrix = matrix
        self._gauges = gauges
        self._states = states

    def tick(self, partitions: Iterable[int], now: int) -> int:
        """One round over these partitions at ``now`` (milliseconds); how many cases are open there.

        Raises ``UnavailableError`` when Kafka or the store is away: the figures stay as they were.
        """
        began = monotonic()
        owners = {owner: Ages() for owner in self._matrix.escalations}
        tripped = dict.fromkeys(self._matrix.systems, 0)
        for prefix in [self._prefix(partition) for partition in partitions]:
            for case in self._cases(prefix):
                owners[owner_of(self._matrix, case)].add(case, now)
            for system in tripped.keys() & unpack_breaker(self._store.peek(prefix, [BREAKER])[0]).withheld:
                tripped[system] += 1
        self._tell(owners, tripped)
        self.seconds = max(EVERY, SHARE * (monotonic() - began))
        return sum(len(ages.seconds) for ages in owners.values())

    def _cases(self, prefix: str) -> Iterator[Case]:
        records = self._store.due(prefix, NEVER, NEVER)
        for first in range(0, len(records), AT_ONCE):
            for stored in self._store.peek(prefix, records[first : first + AT_ONCE]):
                # A state that cannot be read stops its lane, which says so; a figure is not the place for it.
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    state = unpack(stored, open_state)
                    yield from () if state is None else tuple(state.cases.values())

    def _tell(self, owners: dict[str, Ages], tripped: dict[str, int]) -> None:
        tell = self._gauges.set
        for owner, ages in owners.items():
            tell("queue_open", owner, value=len(ages.seconds))
            tell("queue_open_oldest_seconds", owner, value=max(ages.seconds, default=0.0))
            tell("queue_open_beyond_sla", owner, value=ages.beyond)
            for age in LONG:
                tell("queue_open_by_age", owner, f"{age:.0f}", value=sum(one <= age for one in ages.seconds))
            tell("queue_open_by_age", owner, "+Inf", value=len(ages.seconds))
        for system, lanes in tripped.items():
            tell("breaker_lanes_tripped", system, value=lanes)

    def _prefix(self, partition: int) -> str:
        return key_prefix(self._config.app, self._topic_id, partition)

    @cached_property
    def _topic_id(self) -> str:
        broker = Broker(self._config)
        try:
            return broker.topic_id(self._states)
        finally:
            broker.close()
