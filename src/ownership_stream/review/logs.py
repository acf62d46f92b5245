"""The decide lanes' logs read and decided again, so that a ledger can be kept of what followed.

As `verify` does, by the same steps under the same regimes: what nobody can decide any more is said and left out. Only
what the lanes have settled is read, so what a report counts is what was committed, whatever crashed since.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ownership_stream.lane import Broker, Record, Step
from ownership_stream.regimes import Regime, Regimes, spans
from ownership_stream.review.ledger import Ledger
from ownership_stream.review.week import Week
from ownership_stream.settings import Settings
from ownership_stream.steps import REGIMES, DecideBatch, unpack_regimes
from ownership_stream.verify.again import UndecidableError
from ownership_stream.verify.changelog import Changelog
from ownership_stream.verify.deciders import Burials, Deciders
from ownership_stream.verify.lane import record_of
from ownership_stream.wire import Conflict, Wire
from ownership_stream.wire.avro_wire import wire_of
from ownership_stream.wire.messages import TYPES

STAGE: Final = "decide"
AGAIN: Final = b":again"
"""What the id of a conflict record ends with where the write had waited in a case."""
TYPE: Final = TYPES["conflict"].encode()

Watch = Callable[[int, str, int, int], None]
"""Told which partition is read, what is done with it, how far, and of how much."""


class Logs:
    """The logs of one application. Raises ``UnavailableError`` when Kafka is away."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        former: Sequence[Path] = (),
        watch: Watch = lambda _partition, _what, _done, _all: None,
    ) -> None:
        """``former`` are matrix documents that were in force before; raises ``BadInputError`` as `verify` does."""
        self._settings = settings
        self._broker = broker
        self._watch = watch
        self._deciders = Deciders(settings, former)
        self._buried = Burials(broker, settings)
        self._wire = wire_of(settings)
        self.matrix: Final = self._deciders.matrix

    def tell(self, ledger: Ledger) -> list[str]:
        """Keeps the ledger of every lane; what could not be told, in words."""
        missing: list[str] = []
        for partition in range(self._broker.partitions(self._settings.topic_changes)):
            ledger.begin()
            missing += self._lane(ledger, partition)
            ledger.end()
        return missing

    def _lane(self, ledger: Ledger, partition: int) -> Iterator[str]:
        """One lane into the ledger; yields what of it could not be told."""
        topic = self._settings.topic_changes
        states = Changelog(self._broker, self._settings.topic_state, partition)
        states.follow(lambda done, end: self._watch(partition, "reading states", done, end))
        extent = self._broker.extent(topic, partition)
        if states.next is None:
            if extent.end > extent.start:
                yield f"`{topic}` [{partition}]: no lane has settled a batch of it yet"
            return
        if extent.start > 0:
            yield f"`{topic}` [{partition}]: the changes before offset {extent.start} are gone (retention)"
            return
        regimes, buried = _regimes(states), self._buried.of(topic, partition)
        retold = Retold(lambda regime: self._deciders.step_for(STAGE, regime), self._wire, ledger)
        try:
            for messages in self._broker.read(topic, partition, extent.start, min(states.next, extent.end)):
                if messages:
                    records = [record_of(message) for message in messages]
                    retold.settle(records, regimes, buried)
                    self._watch(partition, "deciding again", records[-1].offset + 1, states.next)
        except UndecidableError as error:
            yield f"`{topic}` [{partition}] from offset {error.offset} on: {self._deciders.why(error.regime)}"


class Retold:
    """A lane decided again for a ledger."""

    def __init__(self, step_for: Callable[[Regime | None], Step | None], wire: Wire, ledger: Ledger) -> None:
        self._step_for = step_for
        self._wire = wire
        self._ledger = ledger
        self._states: dict[str, bytes] = {}

    def settle(self, records: Sequence[Record], regimes: Regimes, buried: frozenset[int]) -> None:
        """The next records of the log; raises ``UndecidableError``."""
        for first, last, regime in spans(regimes, records[0].offset, records[-1].offset + 1):
            part = [one for one in records if first <= one.offset < last and one.offset not in buried]
            for _, of_week in groupby(part, lambda one: Week.of(one.timestamp)):
                self._settle(list(of_week), regime)

    def _settle(self, records: list[Record], regime: Regime | None) -> None:
        step = self._step_for(regime)
        if step is None:
            raise UndecidableError(records[0].offset, regime)
        decoded: Any = step.decode(records)
        if regime is None and isinstance(decoded, DecideBatch) and decoded.changes:
            raise UndecidableError(decoded.changes[0][1].offset, None)
        result = step.run(decoded, {name: self._states.get(name) for name in decoded.record_ids})
        self._states |= {name: state for name, state in result.states.items() if name != REGIMES}
        conflicts = self._conflicts(output for output in result.outputs if _type(output.headers) == TYPE)
        self._ledger.settle(records[-1].timestamp, result.counts, conflicts, "" if regime is None else regime.mode)

    def _conflicts(self, outputs: Iterable[Any]) -> Iterator[tuple[Conflict, bool]]:
        for output in outputs:
            identity = dict(output.headers).get("ce_id") or b""
            yield self._wire.read_conflict(output.value or b""), identity.endswith(AGAIN)


def _type(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    return next((value for name, value in headers if name == "ce_type"), None)


def _regimes(states: Changelog) -> Regimes:
    """The newest, which hold the former ones too."""
    while kept := states.states_of(REGIMES):
        stored = states.bytes_at(kept[-1].offset)
        if stored is not None:
            return unpack_regimes(stored)
        states.follow()  # compaction took them, since newer ones are there
    return ()
