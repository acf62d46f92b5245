"""What must stand, by the pure steps: each lane's input decided again, record by record.

A batch decides like its records one by one, so each output and each state has the one input record that it is of.
No client, no clock.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chaos.witness import Partition, Witness
from ownership_stream.app import Stage
from ownership_stream.lane.contract import (
    HEADER_OVERHEAD,
    RECORD_OVERHEAD,
    Control,
    LaneId,
    LaneRefusedError,
    Output,
    Record,
    Step,
    StepResult,
    control_key,
)
from ownership_stream.telemetry.catalogue import BURIALS
from ownership_stream.wire.messages import ERRORS

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

BURIED_BY_LANES: Final = ("size", "produce")
"""Where only a lane can find a record out: the steps do not know how large a topic's records may be."""


class Body(NamedTuple):
    """A record without its offset: two of the same body cannot be told apart."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Wanted(NamedTuple):
    """An output that must stand exactly once. `order` is its place among all of its lane's outputs."""

    lane: LaneId
    order: tuple[int, int, int, int]
    source: Place
    body: Body


class Stood(NamedTuple):
    """A control record: where it stands, and what it says; None for bytes that no lane writes."""

    offset: int
    control: Control | None


@dataclass
class Lane:
    """One lane decided again, up to `settled`, the input offset that it says it has reached.

    `changed` are the states after each input that changed any, `final` the last ones, and `writer` the input offset
    that made each of these. `pending` are the inputs beyond.
    """

    id: LaneId
    step: Step
    inputs: list[Record]
    controls: list[Stood]
    committed: int | None
    wanted: list[Wanted] = field(default_factory=list)
    changed: list[tuple[int, Mapping[str, bytes]]] = field(default_factory=list)
    final: dict[str, bytes] = field(default_factory=dict)
    writer: dict[str, int] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    @property
    def next(self) -> int | None:
        """What the last control record says."""
        said = [stood.control.next for stood in self.controls if stood.control is not None]
        return said[-1] if said else None

    @property
    def settled(self) -> int:
        """The greater of both, as a lane's start takes it."""
        return max(self.next or 0, self.committed or 0)

    @property
    def where(self) -> Partition:
        """The partition of its input."""
        return self.id.topic, self.id.partition

    def place(self, offset: int) -> Place:
        """A record of its input."""
        return (*self.where, offset)

    @property
    def pending(self) -> list[Place]:
        """The inputs that it has not reached."""
        return [self.place(record.offset) for record in self.inputs if record.offset >= self.settled]


def lanes(witness: Witness, stages: Sequence[Stage], by_partition: Mapping[Partition, list[Record]]) -> list[Lane]:
    """Every lane, decided again; `by_partition` are all records of the witness."""
    graves = _graves(witness, stages)
    found = []
    for stage in stages:
        for where in sorted(where for where in witness.ends if where[0] in stage.topics):
            lane_id = LaneId(stage.step.name, *where)
            controls = _controls(witness, stage.step, lane_id, by_partition)
            lane = Lane(lane_id, stage.step, by_partition.get(where, []), controls, witness.committed.get(where))
            _decide_again(lane, graves, witness.record_limit)
            found.append(lane)
    return found


def split(records: Iterable[Record]) -> dict[Partition, list[Record]]:
    """The records of each partition, in their order."""
    found: dict[Partition, list[Record]] = defaultdict(list)
    for record in records:
        found[record.topic, record.partition].append(record)
    for some in found.values():
        some.sort(key=lambda record: record.offset)
    return found


def body_of(record: Record | Output) -> Body:
    """A record that stands, or one to be written, without its place."""
    return Body(record.topic, record.partition, record.key, record.value, tuple(record.headers))


def buried_at(record: Record) -> tuple[Place | None, str]:
    """Of a dead letter: which record it was, and `<stage>: <where>`."""
    said = {name: value for name, value in record.headers if name.startswith(ERRORS)}
    try:
        topic, partition, offset = (said[f"{ERRORS}{word}"].decode() for word in ("topic", "partition", "offset"))
        return (topic, int(partition), int(offset)), said[f"{ERRORS}stage"].decode()
    except (KeyError, ValueError):
        return None, ""


def is_control(key: bytes | None) -> bool:
    """Whether a record of a state topic or of the lanes' topic is a control record."""
    return key is not None and (key == b"__lane" or key.startswith(b"__lane:"))


def _controls(
    witness: Witness, step: Step, lane: LaneId, by_partition: Mapping[Partition, Sequence[Record]]
) -> list[Stood]:
    where = (witness.control_topic, 0) if step.state_topic is None else (step.state_topic, lane.partition)
    own = control_key(lane, step.state_topic)
    return [Stood(one.offset, _said(one.value)) for one in by_partition.get(where, ()) if one.key == own]


def _said(value: bytes | None) -> Control | None:
    """What a control record says, if it says it in a lane's own bytes."""
    try:
        control = Control.unpack(value or b"")
    except LaneRefusedError:
        return None
    return control if control.pack() == value else None


def _graves(witness: Witness, stages: Sequence[Stage]) -> dict[Place, tuple[str, str]]:
    """The records that lanes say they could not write anything for: place -> (where, error)."""
    stage_names = {stage.step.name for stage in stages}
    found = {}
    for record in (record for records in witness.records.values() for record in records):
        if not any(name.startswith(ERRORS) for name, _ in record.headers):
            continue
        place, said = buried_at(record)
        stage, _, where = said.partition(": ")
        if place is not None and stage in stage_names and where in BURIED_BY_LANES:
            found[place] = where, dict(record.headers)[f"{ERRORS}exception.message"].decode()
    return found


def _decide_again(lane: Lane, graves: Mapping[Place, tuple[str, str]], limit: int) -> None:
    boundaries = [stood.control.next for stood in lane.controls if stood.control is not None]
    for record in lane.inputs:
        if record.offset >= lane.settled:
            break
        result, early = _answer(lane.step, record, lane.final, graves.get(lane.place(record.offset)), limit)
        # Within a transaction, what decoding gives stands before what the step gives.
        batch = bisect_right(boundaries, record.offset)
        for number, output in enumerate(result.outputs):
            order = (batch, 0 if number < early else 1, record.offset, number)
            lane.wanted.append(Wanted(lane.id, order, lane.place(record.offset), body_of(output)))
        if result.states:
            lane.changed.append((record.offset, result.states))
            lane.final.update(result.states)
            lane.writer.update(dict.fromkeys(result.states, record.offset))
        lane.counts.update(result.counts)
    lane.wanted.sort(key=lambda wanted: wanted.order)


def _answer(
    step: Step, record: Record, states: Mapping[str, bytes], grave: tuple[str, str] | None, limit: int
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
    if grave is not None and (grave[0] != "size" or _too_large(step, result, limit)):
        return _buried(step, record, *grave), 0
    return result, early


def _buried(step: Step, record: Record, stage: str, error: str) -> StepResult:
    counts = Counter([("dead_letters", step.name, BURIALS[stage])])
    return StepResult([step.dead_letter(record, stage, error)], {}, counts)


def _too_large(step: Step, result: StepResult, limit: int) -> bool:
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
