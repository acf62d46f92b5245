"""What must stand, by the pure steps: each lane's input decided again, record by record.

A batch decides like its records one by one, so each output and each state has the one input record that it is of. Of
what must stand only digests are kept, of the states the last ones. No client, no clock.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chaos.columns import (
    Partition,
    Place,
    Standing,
    Wanted,
    body_digest,
    buried_at,
    given_digest,
    name_digest,
    state_digest,
)
from chaos.counted import Tally
from chaos.witness import Account
from ownership_stream.lane.contract import (
    HEADER_OVERHEAD,
    RECORD_OVERHEAD,
    Control,
    LaneId,
    LaneRefusedError,
    Record,
    Step,
    StepResult,
)
from ownership_stream.telemetry.catalogue import BURIALS
from ownership_stream.wire.messages import ERRORS

BURIED_BY_LANES: Final = ("size", "produce")
"""Where only a lane can find a record out: the steps do not know how large a topic's records may be."""

MESSAGE: Final = f"{ERRORS}exception.message"

Grave = tuple[str, str]
"""Where a lane found that nothing can be written for a record, and the error that it gives."""


class Stood(NamedTuple):
    """A control record: where it stands, and what it says; None for bytes that no lane writes."""

    offset: int
    control: Control | None


Changed = dict[str, tuple[bytes, int]]
"""Record id -> the digest of its state after some inputs, and the offset of the one that made it."""


@dataclass
class Scanned:
    """The records of one partition, read once; `graves` are those it says are buried: `<stage>: <where>`, and why."""

    where: Partition
    standing: Standing = field(default_factory=Standing)
    tally: Tally = field(default_factory=Tally)
    graves: dict[Place, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Lane:
    """One lane decided again, up to `settled`, the input offset that it says it has reached.

    `wanted` are its outputs by where they go. `changed` are the states that the inputs between two of its `bounds` (the
    offsets that its control records name) leave, `final` the last ones, and `writer` the input offset that made each of
    these. `pending` are the inputs beyond, `scanned` all of its input.
    """

    id: LaneId
    step: Step
    controls: Sequence[Stood]
    committed: int | None
    scanned: Scanned
    wanted: dict[Partition, Wanted] = field(default_factory=lambda: defaultdict(Wanted))
    changed: dict[int, Changed] = field(default_factory=dict)
    final: dict[str, bytes] = field(default_factory=dict)
    writer: dict[str, int] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    pending: list[Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        said = [stood.control.next for stood in self.controls if stood.control is not None]
        self.bounds = sorted(set(said))
        self.next = said[-1] if said else None
        # The greater of both, as a lane's start takes it.
        self.settled = max(self.next or 0, self.committed or 0)

    @property
    def where(self) -> Partition:
        """The partition of its input."""
        return self.id.topic, self.id.partition

    def place(self, offset: int) -> Place:
        """A record of its input."""
        return (*self.where, offset)

    def left(self, begin: int, end: int) -> Changed:
        """The states that the inputs between two bounds leave."""
        found: Changed = {}
        for part in range(bisect_right(self.bounds, begin), bisect_left(self.bounds, end) + 1):
            found.update(self.changed.get(part, {}))
        return found


class Part:
    """The inputs of a lane between two bounds: what they give goes to the lane once all are decided.

    Within a transaction, what decoding gives stands before what the step gives.
    """

    def __init__(self, lane: Lane, number: int) -> None:
        self._lane = lane
        self.number = number
        self._late: list[tuple[Partition, bytes, bytes, int]] = []
        self._states: dict[str, tuple[bytes, int]] = {}

    def add(self, offset: int, result: StepResult, early: int) -> None:
        """What follows from the next of them; so many of the outputs are decoding's."""
        for number, output in enumerate(result.outputs):
            body = output.key, output.value, output.headers
            one = (output.topic, output.partition), body_digest(*body), name_digest(*body), offset
            if number < early:
                self._put(*one)
            else:
                self._late.append(one)
        self._states.update({name: (state, offset) for name, state in result.states.items()})

    def close(self) -> None:
        """Hands over."""
        for one in self._late:
            self._put(*one)
        if self._states:
            states = self._states.items()
            self._lane.changed[self.number] = {name: (state_digest(state), at) for name, (state, at) in states}

    def _put(self, where: Partition, digest: bytes, name: bytes, offset: int) -> None:
        wanted = self._lane.wanted[where]
        wanted.sources.append(offset)
        wanted.digests.append(digest)
        wanted.names.append(name)


def scan(account: Account, where: Partition) -> Scanned:
    """The records of a partition that no lane reads."""
    scanned = Scanned(where)
    for _ in scanning(account, scanned):
        pass
    return scanned


def scanning(account: Account, scanned: Scanned) -> Iterator[Record]:
    """The records of a partition, noted while they go by. Of those of a source the headers are nobody's."""
    where, standing = scanned.where, scanned.standing
    ours = where[0] in account.owned
    committed = account.committed.get(where, 0)
    for record in account.read(where):
        standing.offsets.append(record.offset)
        standing.times.append(record.timestamp)
        if ours:
            standing.digests.append(body_digest(record.key, record.value, record.headers))
            standing.names.append(name_digest(record.key, record.value, record.headers))
            place, said = buried_at(record.headers) if scanned.tally.note(record) else (None, "")
            if place is not None:
                scanned.graves[place] = said, dict(record.headers).get(MESSAGE, b"").decode()
        else:
            standing.digests.append(given_digest(record.key, record.value))
        if record.offset < committed:
            scanned.tally.settled[where] += 1
        yield record


def controls_of(records: Iterable[tuple[int, bytes | None]]) -> list[Stood]:
    """Control records of one lane, given by their offsets and values."""
    return [Stood(offset, _said(value)) for offset, value in records]


def _said(value: bytes | None) -> Control | None:
    """What a control record says, if it says it in a lane's own bytes."""
    try:
        control = Control.unpack(value or b"")
    except LaneRefusedError:
        return None
    return control if control.pack() == value else None


def decide_again(account: Account, lane: Lane, graves: Mapping[int, Grave]) -> None:
    """Fills in what follows from the lane's input; `graves` by its offsets."""
    part = Part(lane, 0)
    for record in scanning(account, lane.scanned):
        offset = record.offset
        if offset >= lane.settled:
            lane.pending.append(lane.place(offset))
            continue
        number = bisect_right(lane.bounds, offset)
        if number != part.number:
            part.close()
            part = Part(lane, number)
        result, early = _answer(lane.step, record, lane.final, graves.get(offset), account.record_limit)
        part.add(offset, result, early)
        if result.states:
            lane.final.update(result.states)
            lane.writer.update(dict.fromkeys(result.states, offset))
        lane.counts.update(result.counts)
    part.close()


def _answer(
    step: Step, record: Record, states: Mapping[str, bytes], grave: Grave | None, limit: int
) -> tuple[StepResult, int]:
    """What must follow from one record, and how many of the outputs are decoding's."""
    stage = "decode"
    try:
        decoded = step.decode([record])
        early = len(decoded.outputs)
        stage = "step"
        result = step.run(decoded, {name: states.get(name) for name in decoded.record_ids})
    except Exception as error:  # noqa: BLE001  # as the lane does: whatever a step raises is about the data
        return _buried(step, record, stage, f"internal error: {type(error).__name__}"), 0
    if grave is not None and (grave[0] != "size" or _too_large(result, limit)):
        return _buried(step, record, *grave), 0
    return result, early


def _buried(step: Step, record: Record, stage: str, error: str) -> StepResult:
    counts = Counter([("dead_letters", step.name, BURIALS[stage])])
    return StepResult([step.dead_letter(record, stage, error)], {}, counts)


def _too_large(result: StepResult, limit: int) -> bool:
    """Whether anything of it is beyond the limit, counted as lanes count."""
    sizes: Iterator[int] = (
        RECORD_OVERHEAD
        + len(output.key or b"")
        + len(output.value or b"")
        + sum(len(name) + len(text or b"") + HEADER_OVERHEAD for name, text in output.headers)
        for output in result.outputs
    )
    states = (RECORD_OVERHEAD + len(name) + len(state) for name, state in result.states.items())
    return any(size > limit for found in (sizes, states) for size in found)
