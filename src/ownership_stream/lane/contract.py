"""The words between a lane and its surroundings: what goes in, what a pure step answers, who is told.

A step knows what the bytes mean; a lane knows how to settle them exactly once. Neither must know the other's
half, so everything that crosses between them is defined here, and nothing here does anything.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, Self

from ownership_stream.errors import OwnershipError

CONTROL_KEY: Final = "__lane"
CONTROL_FORMAT: Final = 1
# Where lanes without states keep their control records (docs/adr/0002).
NO_TOPIC_ID: Final = "no-id"
# What a record costs on the wire beside its key, value and headers: the batch's header (61 bytes) and the
# record's own varints (at most 21), rounded up; Kafka protocol guide, "record batch", format 2.
RECORD_OVERHEAD: Final = 96
HEADER_OVERHEAD: Final = 10


class Record(NamedTuple):
    """One consumed Kafka record; `timestamp` is the broker's, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Output(NamedTuple):
    """One record to produce inside the transaction; the partition is always explicit."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int


@dataclass(slots=True)
class StepResult:
    """What a pure step answers for a batch.

    `states` holds record id -> packed new state, only the changed ones. `counts` are happenings to count once the
    batch is committed; they are opaque to the lane.
    """

    outputs: list[Output] = field(default_factory=list)
    states: dict[str, bytes] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)


class Decoded(Protocol):
    """A decoded batch: opaque to the lane but for the records whose states it asks for."""

    @property
    def record_ids(self) -> Sequence[str]:
        """The records whose states `run` wants to see, each once."""
        ...


class Step(Protocol):
    """The pure half of a stage: no clock, no I/O; the same input gives the same answer.

    One thing may be asked for while it works: the schema of a number, which never changes and is asked for once. Where
    nobody answers, `decode` and `run` raise `UnavailableError`: the lane waits and runs the same batch again.
    """

    @property
    def name(self) -> str:
        """The stage: `intake` or `decide`."""
        ...

    @property
    def state_topic(self) -> str | None:
        """The compacted topic of this stage's record states, or None if it keeps none."""
        ...

    def decode(self, records: Sequence[Record]) -> Any:  # a `Decoded` of the step's own, opaque to the lane
        """The batch in the step's own words; never raises for a bad record: that becomes a dead letter."""
        ...

    def run(self, decoded: Any, states: Mapping[str, bytes | None]) -> StepResult:
        """What follows from the batch, given the packed states (None: never seen) of its `record_ids`."""
        ...

    def dead_letter(self, record: Record, stage: str, error: str) -> Output:
        """The record as a dead letter: its original bytes, and headers that say where and why."""
        ...


class LaneId(NamedTuple):
    """One partition of one stage."""

    stage: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.stage} {self.topic}[{self.partition}]"


class Batch(NamedTuple):
    """What one fetch brought for one partition.

    `begin` is the end of the previous batch handed over (or where the flow started), `end` the offset after this
    one, markers included: a record that got lost on the way shows as a gap between the two. `flow` tells the
    batches after one seek from those after another. `fault` stands in for records when the fetch failed. `size` is what
    keys and values weigh, in bytes.
    """

    topic: str
    partition: int
    begin: int
    end: int
    records: Sequence[Any]  # anything with the attributes of `Record`: made into one in the lane's thread
    flow: int
    fault: str | None = None
    size: int = 0


class Timings(NamedTuple):
    """Seconds that the parts of one batch took."""

    decode: float
    load: float
    step: float
    commit: float
    save: float

    @property
    def total(self) -> float:
        """Seconds for the whole batch."""
        return sum(self)


class Observer(Protocol):
    """Who is told what lanes do. Called from lane threads: must be quick and thread-safe, and never raise."""

    def started(self, lane: LaneId, position: int) -> None:
        """The lane is caught up and works from this input offset."""

    def catching_up(self, lane: LaneId, done: int, left: int, seconds: float) -> None:
        """The states of Redis are being brought up to the changelog.

        `done` records are read so far, in `seconds`; `left` are the offsets up to its end, markers and what compaction
        removed included. Told at the beginning (0 done) and after each part.
        """

    def caught_up(self, lane: LaneId, records: int, seconds: float) -> None:
        """The states of Redis were brought up to the changelog; `records` were read for it."""

    def committed(
        self, lane: LaneId, *, records: int, outputs: int, counts: Counter[tuple[str, ...]], timings: Timings
    ) -> None:
        """A batch is committed. Only now its happenings count, and each once."""

    def lagging(self, lane: LaneId, records: int) -> None:
        """About so many committed records wait to be settled; 0 where only transaction markers follow."""

    def waiting(self, lane: LaneId, reason: str) -> None:
        """Something the lane needs is away; it waits and tries again."""

    def recovered(self, lane: LaneId) -> None:
        """What the lane waited for answers again."""

    def recreated(self, lane: LaneId, reason: str) -> None:
        """The lane lost its standing and starts again with the same batch."""

    def buried(self, lane: LaneId, offset: int, stage: str, error: str) -> None:
        """One record broke its batch by itself and went to the dead letters."""

    def noticed(self, lane: LaneId, text: str) -> None:
        """Something worth a log line that stops nothing."""

    def stopped(self, lane: LaneId) -> None:
        """The lane is no longer ours."""


class Control(NamedTuple):
    """The control record that each transaction writes: where the lane stood, and on what input.

    `mark` tells the transaction from all others, so that who lost its outcome finds out.
    """

    input_id: str
    next: int
    partitions: int
    mark: str = ""

    def pack(self) -> bytes:
        """The bytes of the record's value."""
        return json.dumps({"format": CONTROL_FORMAT, **self._asdict()}, separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """The control record back from its bytes.

        Raises `LaneRefusedError` for bytes of another format: a newer release wrote them.
        """
        try:
            words = json.loads(value)
            known = words.pop("format") == CONTROL_FORMAT
            control = cls(**words)
        except (ValueError, TypeError, KeyError, AttributeError):
            known, control = False, None
        if not known or control is None:
            raise LaneRefusedError(
                "a control record is of another format: run the release that wrote it, or a newer one"
            )
        return control


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneConfig:
    """What lanes need to know of the world.

    `client` are librdkafka settings for reaching the brokers (bootstrap servers, security), shared by all clients.
    `record_limits` are the largest records that the topics we write accept, in bytes, by topic; `record_limit`
    stands for the rest. `waived` names the checks that the embedded stack cannot answer.
    """

    app: str
    client: Mapping[str, str | int | float | bool]
    group: str = ""
    control_topic: str = "ownership.lanes"
    record_limit: int = 1_000_000
    record_limits: Mapping[str, int] = field(default_factory=dict)
    compression: str = "lz4"
    transaction_seconds: float = 10.0
    message_seconds: float = 10.0
    request_seconds: float = 10.0
    waived: frozenset[str] = frozenset()

    @property
    def consumer_group(self) -> str:
        """The group whose offsets the transactions commit; the app's name unless given."""
        return self.group or self.app

    @property
    def largest_record(self) -> int:
        """The largest record that any topic we write accepts, in bytes."""
        return max([self.record_limit, *self.record_limits.values()])

    @property
    def smallest_record(self) -> int:
        """The smallest of the topics' limits, in bytes."""
        return min([self.record_limit, *self.record_limits.values()])

    def transactional_id(self, lane: LaneId) -> str:
        """`<app>-<stage>-<topic>-<partition>`.

        Intake reads several topics, and a name they shared would make workers fence each other for ever.
        """
        return f"{self.app}-{lane.stage}-{lane.topic}-{lane.partition}"


class LaneRefusedError(OwnershipError):
    """The lane must not work on: something was lost or changed that only a person can settle. Ends the process."""


class LaneBrokenError(OwnershipError):
    """The lane lost its standing (fenced, unknown outcome, displaced): start it again, with the same batch."""


class BatchRejectedError(Exception):
    """The batch cannot be committed because of its data. `stage` says where: decode, step, size or produce."""

    def __init__(self, stage: str, error: str) -> None:
        super().__init__(f"{stage}: {error}")
        self.stage = stage
        self.error = error


def control_key(lane: LaneId, state_topic: str | None) -> bytes:
    """The key of a lane's control record.

    A lane with states is alone in its partition of the state topic; lanes without share one topic
    (docs/adr/0002), so their key names the lane.
    """
    if state_topic is not None:
        return CONTROL_KEY.encode()
    return f"{CONTROL_KEY}:{lane.stage}:{lane.topic}:{lane.partition}".encode()
