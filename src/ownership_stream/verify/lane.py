"""One lane verified: its log decided again, and compared with its changelog, with the store, and with its outputs.

Reads beside the lane at work, holds nothing of it and writes nothing. Where something differs it looks again at a later
point before it says so, since compaction can take away what is being compared.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import Message

from ownership_stream.identity import RESERVED
from ownership_stream.lane import Broker, Record
from ownership_stream.lane.broker import Extent, offset_of
from ownership_stream.regimes import Regime, Regimes
from ownership_stream.steps import REGIMES, unpack_regimes
from ownership_stream.store import LOAD_CHUNK, POSITION_FIELD, StateStore
from ownership_stream.verify.again import Again, StepFor, Traced, UndecidableError, output_digest
from ownership_stream.verify.changelog import Changelog, digest_of
from ownership_stream.verify.compare import (
    Aligned,
    Compacted,
    Finding,
    Unverified,
    differing_fields,
    left_behind,
    may_hold,
    precedence,
    since_when,
)

LOOKS: Final = 4
"""How often what differs is looked at before it is believed."""
TRACED: Final = 100
"""Records of one lane of which it is found out since when they differ; the rest are counted."""

Watch = Callable[[str, int, int], None]
"""Told what is being done with this lane, how far, and of how much."""
Buried = Callable[[str, int], frozenset[int]]
"""The offsets of a partition that its lane has put into the dead letters by now."""


class Place(NamedTuple):
    """A lane with states as an outsider finds it: its stage, its input, its state topic, the store's keys."""

    stage: str
    changes: str
    states: str
    partition: int
    prefix: str


class LaneReport(NamedTuple):
    """What was verified of one lane: how many changes before ``next``, record states, states in the store, outputs.

    ``behind`` are states in the store that the lane has yet to bring up, as it does after each transaction.
    """

    place: Place
    next: int
    changes: int
    records: int
    stored: int
    behind: int
    outputs: int
    findings: list[Finding]
    unverified: list[Unverified]


class LaneVerifier:
    """Verifies one lane. Raises ``UnavailableError`` when Kafka or the store is away."""

    def __init__(
        self,
        broker: Broker,
        store: StateStore,
        place: Place,
        step_for: StepFor,
        buried: Buried,
        *,
        watched: Iterable[str] = (),
        compacted: Iterable[str] = (),
        why: Callable[[Regime | None], str],
        watch: Watch,
    ) -> None:
        """``watched`` are the topics whose outputs are compared, ``compacted`` those of them that keep a key's last.

        ``why`` says why nobody can decide under a regime.
        """
        self._broker = broker
        self._store = store
        self._place = place
        self._step_for = step_for
        self._buried = buried
        self._why = why
        self._watch = watch
        self._log = Changelog(broker, place.states, place.partition)
        self._again = Again(step_for, watched=watched, compacted=compacted)
        self._begin = 0
        self._settled = 0
        self._decided = False
        self._findings: list[Finding] = []
        self._unverified: list[Unverified] = []

    def verify(self) -> LaneReport:
        """All of it."""
        self._log.follow(lambda done, end: self._watch("reading states", done, end))
        outputs = 0
        try:
            if self._decide():
                self._verify_states()
                outputs = self._verify_outputs()
        except UndecidableError as error:
            self._decided = False
            self._leave(f"from offset {error.offset} on, {self._why(error.regime)}")
        end, records = self._settled, sum(not name.startswith(RESERVED) for name in self._log.settled)
        store = self._verify_store()
        findings = sorted(self._findings, key=precedence)
        return LaneReport(self._place, end, self._again.changes, records, *store, outputs, findings, self._unverified)

    # ------------------------------------------------------------------------------------------------ deciding again

    def _decide(self) -> bool:
        """Decides the log again up to where the changelog stands; whether that could be done."""
        extent = self._broker.extent(self._place.changes, self._place.partition)
        self._begin = self._settled = extent.start
        end = self._log.next
        if end is None:
            return not self._log.later or self._leave("no lane has settled a batch of it yet")
        if end > extent.end:
            return self._leave(
                f"its lane stands at {end}, and `{self._place.changes}` ends at {extent.end}: records are lost"
            )
        if extent.start > 0:
            return self._leave(f"{_gone(self._place, extent)}: its states are compared with the store only")
        self._settle_to(end)
        self._decided = True
        return True

    def _settle_to(self, end: int) -> None:
        regimes, buried = self._regimes(), self._buried(self._place.changes, self._place.partition)
        for records in self._records(self._settled, end):
            self._again.settle(records, regimes, buried)
            self._watch("deciding again", records[-1].offset + 1, end)
        self._settled = end

    def _records(self, begin: int, end: int) -> Iterator[list[Record]]:
        topic, partition = self._place.changes, self._place.partition
        for messages in self._broker.read(topic, partition, begin, end):
            if messages:
                yield [record_of(message) for message in messages]

    def _regimes(self) -> Regimes:
        """The newest, which hold the former ones too."""
        while kept := self._log.states_of(REGIMES):
            stored = self._log.bytes_at(kept[-1].offset)
            if stored is not None:
                return unpack_regimes(stored)
            self._log.follow()  # compaction took them, since newer ones are there
        return ()

    def _leave(self, why: str) -> bool:
        self._unverified.append(Unverified(stage=self._place.stage, partition=self._place.partition, why=why))
        return False

    # ---------------------------------------------------------------------------------------------------- the states

    def _verify_states(self) -> None:
        wrong = self._differing()
        some = frozenset(wrong[:TRACED])
        traced = self._trace(some, {}).states if some else {}
        history = self._log.history(some) if some else {}
        for name in wrong:
            when = since_when(traced[name], history[name]) if name in some else (None, None)
            self._findings.append(self._state_finding(name, *when))
        for name, kept in self._log.strays():
            self._findings.append(self._finding("state", "unexpected", self._place.states, name, offset=kept.offset))

    def _differing(self) -> list[str]:
        """The records whose state on the changelog is not what their changes lead to, looked at more than once."""
        suspects = self._suspects(self._again.states.keys() | self._log.settled.keys())
        for _ in range(LOOKS - 1):
            if not suspects:
                break
            self._log.follow()
            self._settle_to(self._log.next or 0)
            suspects = self._suspects(suspects)
        return sorted(suspects)

    def _suspects(self, names: Iterable[str]) -> list[str]:
        states, settled = self._again.states, self._log.settled
        return [
            name
            for name in names
            if name != REGIMES and digest_of(states.get(name)) != (settled[name].digest if name in settled else b"")
        ]

    def _state_finding(self, name: str, since: int | None = None, until: int | None = None) -> Finding:
        expected, kept = self._again.states.get(name), self._log.settled.get(name)
        found = self._log.bytes_at(kept.offset) if kept else None
        return self._finding(
            "state",
            "missing" if kept is None else "unexpected" if expected is None else "differs",
            self._place.states,
            name,
            since=since,
            until=until,
            offset=kept.offset if kept else None,
            fields=differing_fields(expected, found),
        )

    def _trace(self, names: frozenset[str], outputs: dict[str, int]) -> Traced:
        """The log decided once more, one change at a time."""
        traced = Traced(Again(self._step_for), names, outputs)
        regimes, buried = self._regimes(), self._buried(self._place.changes, self._place.partition)
        for records in self._records(self._begin, self._settled):
            traced.settle(records, regimes, buried)
            self._watch("finding out since when", records[-1].offset + 1, self._settled)
        return traced

    # ----------------------------------------------------------------------------------------------------- the store

    def _verify_store(self) -> tuple[int, int]:
        """Compares the store with the changelog as of the store's position: states that are equal, and yet to come."""
        seen = self._look(self._names())
        strays = {name for name, _ in self._store.scan(self._place.prefix)}
        self._log.follow()
        suspects = self._unlike(seen)
        for _ in range(LOOKS - 1):
            if not suspects:
                break
            seen |= self._look(suspects)
            self._log.follow()
            suspects = self._unlike({name: seen[name] for name in suspects})
        if any(seen[name][0] is None for name in suspects):
            self._leave(
                "redis has no position of this lane, so nothing it holds counts: the lane's next start fills it"
            )
            return 0, 0
        self._tell_store({name: seen[name] for name in suspects})
        self._findings += [
            self._finding("redis", "unexpected", "", name) for name in sorted(strays - set(self._names()))
        ]
        records = [name for name in seen.keys() - set(suspects) if not name.startswith(RESERVED)]
        behind = sum(seen[name][1] not in {one.digest for one in self._log.states_of(name)} for name in records)
        return len(records) - behind, behind

    def _names(self) -> list[str]:
        return [*self._log.settled, *(name for name in self._log.later if name not in self._log.settled)]

    def _look(self, names: Sequence[str]) -> dict[str, tuple[int | None, bytes]]:
        """Each record's digest in the store, and the position at the moment it was read: both are one answer."""
        seen: dict[str, tuple[int | None, bytes]] = {}
        for first in range(0, len(names), LOAD_CHUNK):
            chunk = names[first : first + LOAD_CHUNK]
            position, *states = self._store.peek(self._place.prefix, [POSITION_FIELD, *chunk])
            at = None if position is None else int(position.rpartition(b":")[2])
            seen |= {name: (at, digest_of(state)) for name, state in zip(chunk, states, strict=True)}
            self._watch("reading redis", first + len(chunk), len(names))
        return seen

    def _unlike(self, seen: dict[str, tuple[int | None, bytes]]) -> list[str]:
        return [name for name, (position, digest) in seen.items() if not self._fits(name, position, digest)]

    def _fits(self, name: str, position: int | None, digest: bytes) -> bool:
        if position is None or position > self._log.end:
            return False
        allowed = may_hold(self._log.states_of(name), position)
        return allowed is None or digest in allowed

    def _tell_store(self, seen: dict[str, tuple[int | None, bytes]]) -> None:
        ahead = next((at for at, _ in seen.values() if at is not None and at > self._log.end), None)
        if ahead is not None:
            self._findings.append(self._finding("position", "beyond the end", self._place.states, "", offset=ahead))
            return
        some = frozenset(sorted(seen)[:TRACED]) if self._decided else frozenset[str]()
        traced = self._trace(some, {}).states if some else {}
        for name, (_, digest) in sorted(seen.items()):
            since, until = left_behind(traced.get(name, ()), digest)
            kept = self._log.states_of(name)
            expected = self._log.bytes_at(kept[-1].offset) if kept else None
            [found] = self._store.peek(self._place.prefix, [name])
            how, fields = "differs" if digest else "missing", differing_fields(expected, found)
            self._findings.append(self._finding("redis", how, "", name, since=since, until=until, fields=fields))

    # --------------------------------------------------------------------------------------------------- the outputs

    def _verify_outputs(self) -> int:
        """Compares the outputs that stand with those that must be there; how many were equal."""
        found = {topic: self._align(topic, expected) for topic, expected in self._again.outputs.items()}
        wrong = {topic: one.number or 0 for topic, (one, _) in found.items() if one.wrong == "missing"}
        made = self._trace(frozenset(), wrong).made if wrong else {}
        for topic, (one, message) in found.items():
            if one.wrong is not None:
                self._tell_output(topic, one, message, made)
        return sum(one.compared for one, _ in found.values())

    def _align(self, topic: str, expected: bytearray) -> tuple[Aligned, Message | None]:
        """The comparison, and the record it ended at."""
        extent = self._broker.extent(topic, self._place.partition)
        last = self._again.last.get(topic)
        aligned = Aligned(expected, whole=extent.start == 0) if last is None else Compacted(expected, last)
        for messages in self._broker.read(topic, self._place.partition, extent.start, extent.end):
            for message in messages:
                headers: Any = message.headers() or []
                if not aligned.next(output_digest(message.key(), message.value(), headers), message.key()):
                    return aligned, message
            self._watch(f"reading {topic}", offset_of(messages[-1]) + 1 if messages else 0, extent.end)
        aligned.end()
        if aligned.number is None and aligned.total:
            self._leave(f"`{topic}` holds none of its {aligned.total} outputs any more")
        return aligned, None

    def _tell_output(self, topic: str, one: Aligned, message: Message | None, made: dict[str, tuple[int, Any]]) -> None:
        how, since, record, offset = one.wrong or "differs", None, "", None
        if topic in made:
            since, output = made[topic]
            record = _subject(output.headers)
        elif message is not None:
            headers: Any = message.headers() or []
            record, offset = _subject(headers), offset_of(message)
        self._findings.append(self._finding("output", how, topic, record, since=since, until=since, offset=offset))

    def _finding(self, what: Any, how: Any, topic: str, record: str, **said: Any) -> Finding:
        place = self._place
        return Finding(
            what=what, how=how, stage=place.stage, topic=topic, partition=place.partition, record=record,
            changes=place.changes, **said,
        )  # fmt: skip


def record_of(message: Message) -> Record:
    """A message as lanes read it."""
    headers: Any = message.headers() or ()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        offset_of(message),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers,
    )


def _subject(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """The record that an output is about."""
    return next(((value or b"").decode("utf-8", "replace") for name, value in headers if name == "ce_subject"), "")


def _gone(place: Place, extent: Extent) -> str:
    return f"the changes before offset {extent.start} of `{place.changes}` are gone (retention)"
