"""The way of a change, stage by stage: what arrives, what becomes of it, and where everything goes.

*Intake* turns the rows of source topics into changes on ``ownership.changes``, keyed by record. *Decide* takes each
change in its record's one order, decides it by the matrix and sends what follows: approved values to the apply
topics, rejected and queued writes to the conflicts, how conflicts ended to the resolutions. What cannot be read is
a dead letter with its own bytes. Every record ends in one of these, and no log line is an outcome.

*Match* stands beside them: it sees created records under their match keys and tells the lane of a record that it
probably exists already. All steps are pure: a batch and its states in, outputs and new states out. Transactions,
offsets and the store are the lane's; the policy is ``decide``'s.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from ownership_stream import __version__
from ownership_stream.accounting import Counts, account, is_created
from ownership_stream.breaker import Breaker, after, reset
from ownership_stream.close import next_due
from ownership_stream.draft import Draft
from ownership_stream.identity import change_id, partition_of
from ownership_stream.lane.contract import LaneRefusedError, Output, Record, StepResult
from ownership_stream.links import Homes, Settled, settle
from ownership_stream.matches import Match, Seen, Sighting, match_keys, sight
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Answer, Change, Decision, Outcome, RecordState
from ownership_stream.regimes import Regime, Regimes, continued
from ownership_stream.reports import Reports
from ownership_stream.slots import slot
from ownership_stream.sources.guard import traced
from ownership_stream.sources.mapping import Writer
from ownership_stream.sources.result import Decoded, Undecodable
from ownership_stream.store import DUE_BYTES
from ownership_stream.wire import (
    JSON,
    Message,
    Wire,
    WireError,
    apply_record,
    change_message,
    dead_letter,
    held_by,
    link_message,
    open_state,
    pack_state,
    sighting_message,
    unpack_state,
)

BREAKER: Final = "__breaker"
"""The state that is no record's: the lane's breaker."""

REGIMES: Final = "__regimes"
"""Another one: by which matrix the lane's changes were decided, and since when."""

DEAD_LETTER_REASONS: Final = ("internal", "foreign")
"""Reasons of dead letters that decoding does not give: a decision that failed, and bytes that are none of ours."""


class Topics(NamedTuple):
    """The names of our topics, and how many partitions those have that are keyed by record."""

    changes: str
    conflicts: str
    resolutions: str
    dead_letters: str
    matches: str
    links: str
    apply: Mapping[str, str]
    """System -> its apply topic."""
    partitions: int


class SourceDecoder(Protocol):
    """What intake asks of a source: see ``sources.Decoder``."""

    def decode(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Decoded:
        """The changes of one source record; raises ``Undecodable`` and nothing else."""
        ...


class _Bury:
    """Dead letters, the same from both stages."""

    name: str

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def dead_letter(self, record: Record, stage: str, error: str) -> Output:
        """A record that broke its batch by itself, found out by the lane."""
        return self._bury(record, stage, "internal" if stage in ("decode", "step") else stage, error, error)

    def _bury(self, record: Record, stage: str, reason: str, error: str, message: str) -> Output:
        letter = dead_letter(
            key=record.key,
            value=record.value,
            headers=record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage=f"{self.name}: {stage}",
            reason=reason,
            error=error,
            message=message,
        )
        where = partition_of((record.key or b"").decode("utf-8", "replace"), self._topics.partitions)
        return Output(self._topics.dead_letters, *letter, where)


class IntakeBatch(NamedTuple):
    """A decoded batch of intake: all there is to write. Intake keeps no states."""

    outputs: list[Output]
    counts: Counts
    record_ids: tuple[str, ...] = ()


class IntakeStep(_Bury):
    """Rows of source topics become changes, keyed by record."""

    name = "intake"
    state_topic = None

    def __init__(self, decoders: Mapping[str, SourceDecoder], topics: Topics, *, wire: Wire = JSON) -> None:
        """``decoders`` by source topic."""
        super().__init__(topics)
        self._decoders, self._wire = decoders, wire

    def decode(self, records: Sequence[Record]) -> IntakeBatch:
        """Each record as its changes, as ignored by design (counted), or as a dead letter."""
        batch = IntakeBatch([], Counter())
        for record in records:
            try:
                decoded = self._decoders[record.topic].decode(
                    record.topic, record.key, record.value, record.timestamp, record.headers
                )
            except Undecodable as error:
                letter = self._bury(record, "decode", error.reason, type(error).__name__, error.message)
                batch.outputs.append(letter)
                batch.counts["dead_letters", self.name, error.reason] += 1
                continue
            if decoded.ignored:
                batch.counts["records_ignored", decoded.ignored] += 1
            for change in decoded.changes:
                batch.counts["changes", change.system] += 1
                batch.outputs.append(self._change(change))
        return batch

    def run(self, decoded: IntakeBatch, _states: Mapping[str, bytes | None]) -> StepResult:
        """Nothing is decided here."""
        return StepResult(decoded.outputs, {}, decoded.counts)

    def _change(self, change: Change) -> Output:
        where = partition_of(change.record, self._topics.partitions)
        return Output(self._topics.changes, *change_message(change, self._wire), where)


class DecideBatch(NamedTuple):
    """A decoded batch of decide: the lane's own changes in order, and what needs no decision."""

    changes: list[tuple[Change, Record]]
    outputs: list[Output]
    counts: Counts
    record_ids: list[str]


class DecideStep(_Bury):
    """Changes become decisions: the only writer of its partition's record states."""

    name = "decide"

    def __init__(
        self,
        matrix: Matrix,
        writers: Mapping[str, Writer],
        topics: Topics,
        *,
        state_topic: str,
        observe: bool = False,
        secret: bytes | None = None,
        wire: Wire = JSON,
        apply: Mapping[str, Wire] | None = None,
        homes: Homes | None = None,
    ) -> None:
        """``writers`` by system, and by ``apply`` the wires of their records where they are not the others' wire.

        ``observe``: decide and report, and send nothing to any system.

        ``secret`` makes the match keys of created records; without one no duplicates are looked for. ``homes`` are the
        records that native keys belong to by default; without them rows are taken as intake addresses them.
        """
        super().__init__(topics)
        self.state_topic = state_topic
        self._matrix = matrix
        self._writers = writers
        self._observed = frozenset(matrix.systems) if observe else frozenset[str]()
        self._secret, self._wire, self._homes = secret, wire, homes or Homes()
        self._wires = dict.fromkeys(writers, wire) | dict(apply or {})
        self._mode = "observe" if observe else "enforce"
        self._reports = Reports(matrix, mode=self._mode, wire=wire)

    def decode(self, records: Sequence[Record]) -> DecideBatch:
        """The lane's changes; another lane's go on to it, and bytes that are no change are dead letters."""
        batch = DecideBatch([], [], Counter(), [])
        for record in records:
            try:
                change = self._wire.read_change(record.value or b"")
            except WireError as error:
                batch.outputs.append(self._bury(record, "decode", error.reason, type(error).__name__, str(error)))
                batch.counts["dead_letters", self.name, error.reason] += 1
                continue
            where = partition_of(change.record, self._topics.partitions)
            if where != record.partition and change.kind != "reset_breaker":
                forwarded = Message(record.key, record.value, list(record.headers))
                batch.outputs.append(Output(self._topics.changes, *forwarded, where))
                continue
            # Freshly decoded and nobody else's yet: the one moment in which the broker's time can be put in.
            msgspec.structs.force_setattr(change, "received", record.timestamp)
            batch.changes.append((change, record))
        batch.record_ids.extend(dict.fromkeys([BREAKER, REGIMES, *(change.record for change, _ in batch.changes)]))
        return batch

    def run(self, decoded: DecideBatch, states: Mapping[str, bytes | None]) -> StepResult:
        """Every change in its order, each on the state that the one before it left."""
        last = {one.record: i for i, (one, _) in enumerate(decoded.changes) if one.kind != "reset_breaker"}
        result = StepResult(decoded.outputs, dict.fromkeys(last, b""), decoded.counts)
        breaker = unpack_breaker(states.get(BREAKER))
        known: dict[str, RecordState] = {}
        for number, (change, record) in enumerate(decoded.changes):
            if change.kind == "reset_breaker":
                breaker = reset(breaker, change.system)
                continue
            name = change.record
            before = known.pop(name) if name in known else unpack(states.get(name), open_state)
            withheld = breaker.withheld
            settled = self._decide(before, change, record, withheld | self._observed, result)
            decision = settled.decision
            breaker = after(breaker, decision.restored, change.received)
            if breaker.tripped and breaker.withheld != withheld:
                result.counts.update(("breaker_trips", system) for system in breaker.withheld - withheld)
            self._put_out(result.outputs, before, decision.said or change, decision)
            if settled.changes or settled.links or settled.told:
                result.outputs.extend(self._between(change, settled))
            account(result.counts, self._matrix, before, change, decision)
            if last[name] != number:
                known[name] = decision.state
            else:
                # Packed at once, while the processor still has it at hand, and then let go.
                result.states[name] = packed(decision.state, 0 if self._observed else decision.due)
        if decoded.changes:
            result.states[BREAKER] = bytes(DUE_BYTES) + msgspec.msgpack.encode(breaker)
            result.states |= self._regimes(decoded.changes[0][1], states)
        return result

    def _regimes(self, first: Record, states: Mapping[str, bytes | None]) -> dict[str, bytes]:
        """The lane's regimes where this batch, which begins with ``first``, is decided under a new one."""
        before = unpack_regimes(states.get(REGIMES))
        after = continued(before, Regime(first.offset, self._matrix.revision, self._mode, __version__))
        return {} if after is before else {REGIMES: bytes(DUE_BYTES) + msgspec.msgpack.encode(after)}

    def _sightings(self, change: Change, secret: bytes) -> Iterator[Output]:
        """A created record under each of its match keys."""
        for about, key in match_keys(change.fields, secret):
            sighting = Sighting(key, about, change.system, change.record, change.at, change.id)
            where = partition_of(key, self._topics.partitions)
            yield Output(self._topics.matches, *sighting_message(sighting, change, self._wire), where)

    def _decide(
        self,
        before: RecordState | None,
        change: Change,
        record: Record,
        withheld: frozenset[str],
        result: StepResult,
    ) -> Settled:
        """The decision; where it fails by an error of ours the incoming values lose, and a person is told."""
        try:
            return settle(self._matrix, self._homes, before, change, withheld)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LaneRefusedError(
                f"`{record.topic}` [{record.partition}] offset {record.offset}: the state of its record is damaged: "
                "find it with `ownership-stream verify`, and restore it"
            ) from error
        except Exception as error:  # noqa: BLE001 (whatever fails in a decision must not let the incoming value win)
            kind = type(error).__name__
            result.outputs.append(self._bury(record, "step", "internal", kind, f"internal error: {kind}"))
            result.counts["dead_letters", self.name, "internal"] += 1
            return Settled(failed(self._matrix, before, change))

    def _between(self, change: Change, settled: Settled) -> Iterator[Output]:
        """What goes from this record to others, and what people are told of it."""
        topics, wire = self._topics, self._wire
        for one in settled.changes:
            yield Output(topics.changes, *change_message(one, wire), partition_of(one.record, topics.partitions))
        where = partition_of(change.record, topics.partitions)
        for link in settled.links:
            yield Output(topics.links, *link_message(link, change, wire), where)
        for message in self._reports.identity(change, settled.decision, settled.told):
            yield Output(topics.resolutions, *message, where)

    def _put_out(self, outputs: list[Output], before: RecordState | None, change: Change, decision: Decision) -> None:
        """What goes out because of a decision: first to the systems, then to people, then to the match lanes."""
        topics, reports = self._topics, self._reports
        where = partition_of(change.record, topics.partitions)
        for send in decision.sends:
            wire = self._wires[send.system]
            message = apply_record(
                self._writers[send.system],
                send,
                change,
                rules=[self._matrix.fields[name].rule for name in sorted(send.values)],
                revision=self._matrix.revision,
                at=change.received,
                wire=wire,
                held=held_by(decision.state, send.system) if wire.whole_rows(send.system) else None,
            )
            outputs.append(Output(topics.apply[send.system], *message, where))
        if reports.tells(decision):
            told = reports.conflicts(before, change, decision)
            outputs.extend(Output(topics.conflicts, *message, where) for message in told)
            told = reports.resolutions(before, change, decision)
            outputs.extend(Output(topics.resolutions, *message, where) for message in told)
        if self._secret is not None and is_created(before, change, decision):
            outputs.extend(self._sightings(change, self._secret))


class MatchBatch(NamedTuple):
    """A decoded batch of match: the sightings in order, each with its record's trace headers, and what is none."""

    sightings: list[tuple[Sighting, dict[str, str]]]
    outputs: list[Output]
    counts: Counts
    record_ids: list[str]


class MatchStep(_Bury):
    """Sightings of one match key meet: a record that is probably there already is told to its own lane."""

    name = "match"

    def __init__(self, topics: Topics, *, state_topic: str, wire: Wire = JSON) -> None:
        super().__init__(topics)
        self.state_topic, self._wire = state_topic, wire

    def decode(self, records: Sequence[Record]) -> MatchBatch:
        """The sightings; bytes that are none are dead letters."""
        batch = MatchBatch([], [], Counter(), [])
        for record in records:
            try:
                sighting = self._wire.read_sighting(record.value or b"")
            except WireError as error:
                batch.outputs.append(self._bury(record, "decode", error.reason, type(error).__name__, str(error)))
                batch.counts["dead_letters", self.name, error.reason] += 1
                continue
            batch.sightings.append((sighting, traced(record.headers)))
        batch.record_ids.extend(dict.fromkeys(sighting.key for sighting, _ in batch.sightings))
        return batch

    def run(self, decoded: MatchBatch, states: Mapping[str, bytes | None]) -> StepResult:
        """Each sighting on what is known under its key."""
        result = StepResult(decoded.outputs, {}, decoded.counts)
        known: dict[str, Seen] = {}
        for sighting, trace in decoded.sightings:
            key = sighting.key
            seen, match = sight(known[key] if key in known else _unpack_seen(states.get(key)), sighting)
            known[key] = seen
            if match is not None:
                result.outputs.append(self._match(sighting, match, trace))
        for key, seen in known.items():
            result.states[key] = bytes(DUE_BYTES) + msgspec.msgpack.encode(seen)
        return result

    def _match(self, sighting: Sighting, match: Match, trace: dict[str, str]) -> Output:
        change = Change(
            id=change_id(f"match/{sighting.change_id}/{sighting.key}"),
            record=sighting.record,
            kind=match.kind,
            system=sighting.system,
            at=sighting.at,
            other=match.record,
            about=sighting.about,
            trace=trace,
        )
        where = partition_of(change.record, self._topics.partitions)
        return Output(self._topics.changes, *change_message(change, self._wire), where)


def failed(matrix: Matrix, before: RecordState | None, change: Change) -> Decision:
    """The end of a change whose decision broke: each field ``failed``, the state as it was, a case for the record."""
    columns = ((change.fields, False), (change.compared, False), (change.requests, True))
    outcomes = tuple(
        Outcome(name, "failed", request=request, actor=change.actor, role=change.role, origin=change.origin)
        for names, request in columns
        for name in names
    )
    draft = Draft(matrix, RecordState() if before is None else before, change, frozenset())
    if slot("failed") not in draft.cases:
        draft.open_own("failed", matrix.fields[matrix.stages.field].escalation)
    answer = None if change.ask is None else Answer("failed")
    return Decision(draft.to_state(), outcomes, cases=draft.case_events, due=next_due(draft), answer=answer)


def packed(state: RecordState, due: int) -> bytes:
    """A state as the lane stores it: the time of its next tick, then the state."""
    return due.to_bytes(DUE_BYTES, "big") + pack_state(state)


def unpack(stored: bytes | None, read: Callable[[bytes], RecordState] = unpack_state) -> RecordState | None:
    """A stored state back; raises ``LaneRefusedError`` where another release wrote it.

    ``open_state`` reads it only as far as somebody looks.
    """
    if stored is None:
        return None
    try:
        return read(stored[DUE_BYTES:])
    except WireError as error:
        raise LaneRefusedError(str(error)) from error


def unpack_breaker(stored: bytes | None) -> Breaker:
    """A lane's stored breaker back; an untouched one where there is none yet."""
    return Breaker() if stored is None else _BREAKER.decode(stored[DUE_BYTES:])


def unpack_regimes(stored: bytes | None) -> Regimes:
    """A lane's stored regimes back; none where there are none yet."""
    return () if stored is None else _REGIMES.decode(stored[DUE_BYTES:])


def _unpack_seen(stored: bytes | None) -> Seen:
    return () if stored is None else _SEEN.decode(stored[DUE_BYTES:])


_BREAKER: Final = msgspec.msgpack.Decoder(Breaker)
_REGIMES: Final[msgspec.msgpack.Decoder[Regimes]] = msgspec.msgpack.Decoder(tuple[Regime, ...])
_SEEN: Final[msgspec.msgpack.Decoder[Seen]] = msgspec.msgpack.Decoder(tuple[tuple[str, str], ...])
