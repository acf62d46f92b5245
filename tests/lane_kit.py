"""A Kafka in memory for tests of lanes: transactions, fencing, markers that take offsets, and faults on order.

It keeps to what was seen on a real broker (tests/integration checks the same behaviour there): a commit appends the
records and one marker to each partition it touched; a newer `init_transactions` fences the older producer; an aborted
transaction leaves nothing that a reader of committed records sees, but takes offsets.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from ownership_stream.errors import UnavailableError
from ownership_stream.lane import (
    Batch,
    Lane,
    LaneBrokenError,
    LaneConfig,
    LaneId,
    LaneRefusedError,
    Record,
    Timings,
)
from ownership_stream.lane.broker import Extent
from ownership_stream.store import MemoryStore

INPUT = "ownership.changes"
STATE = "ownership.state"
OUTPUT = "apply.crm"
DEAD = "ownership.dead-letters"
LANES = "ownership.lanes"


def failure(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaException:
    """An exception as the client raises it."""
    return KafkaException(KafkaError(code, fatal=fatal, retriable=retriable, txn_requires_abort=abort))


class Line(NamedTuple):
    """One record of a log; a marker or an aborted record has no place in it but takes an offset."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class FakeMessage:
    """What a consumer or a delivery report hands over."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def error(self) -> None:
        """No error."""

    def offset(self) -> int:
        """The record's offset."""
        return self._line.offset

    def key(self) -> bytes | None:
        """The record's key."""
        return self._line.key

    def value(self) -> bytes | None:
        """The record's value."""
        return self._line.value


@dataclass
class MemoryKafka:
    """The logs, the committed offsets, the holders of transactional ids, and the faults to come.

    `faults[point]` are raised one after the other when a call comes by; None lets one call pass:
    init, begin, produce, offsets, commit (nothing committed), committed (it is, but the answer is the fault), abort.
    Each of `hanging` keeps one call that adds offsets from coming back until it is set.
    """

    partitions_of: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 4))
    topic_ids: dict[str, str] = field(default_factory=dict)
    logs: dict[tuple[str, int], list[Line]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    starts: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    faults: dict[str, list[Exception | None]] = field(default_factory=lambda: defaultdict(list))
    client_limit: int = 2_000_000
    broker_limit: int = 2_000_000
    away: bool = False
    hanging: list[threading.Event] = field(default_factory=list)

    def strike(self, point: str) -> None:
        """Raises the next fault of this point, if there is one."""
        if self.faults[point]:
            fault = self.faults[point].pop(0)
            if fault is not None:
                raise fault

    def append(
        self,
        where: tuple[str, int],
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Line:
        """Adds one committed record."""
        line = Line(self.ends[where], key, value, headers)
        self.logs[where].append(line)
        self.ends[where] += 1
        return line

    def values(self, topic: str) -> list[bytes | None]:
        """The values of all partitions of a topic, partition by partition."""
        return [line.value for where in sorted(self.logs) if where[0] == topic for line in self.logs[where]]


class FakeProducer:
    """A transactional producer on a `MemoryKafka`."""

    def __init__(self, kafka: MemoryKafka, name: str) -> None:
        self._kafka = kafka
        self._name = name
        self._epoch = -1
        self._records: list[tuple[Any, ...]] = []
        self._offsets: list[TopicPartition] = []
        self._refused: list[Callable[..., None]] = []

    def init_transactions(self, _: float) -> None:
        """Fences whoever held the name."""
        self._kafka.strike("init")
        self._kafka.epochs[self._name] += 1
        self._epoch = self._kafka.epochs[self._name]

    def begin_transaction(self) -> None:
        """Begins."""
        self._prove("begin")
        self._records, self._offsets, self._refused = [], [], []

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        partition: int,
        on_delivery: Callable[..., None],
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Takes a record; the client itself refuses one beyond its limit."""
        self._kafka.strike("produce")
        if len(value) > self._kafka.client_limit:
            raise failure(KafkaError.MSG_SIZE_TOO_LARGE)
        self._records.append((topic, value, key, partition, on_delivery, headers))

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, _: float) -> None:
        """Takes offsets."""
        assert metadata == "metadata of the group"
        self._prove("offsets")
        if self._kafka.hanging:
            self._kafka.hanging.pop().wait(60)
            self._prove("offsets")
        self._offsets += offsets

    def commit_transaction(self, _: float) -> None:
        """Commits all or nothing."""
        self._prove("commit")
        self._refused = [told for _, value, _, _, told, _ in self._records if len(value) > self._kafka.broker_limit]
        if self._refused:
            raise failure(KafkaError._STATE)  # what was refused is told with the abort only
        touched = set()
        for topic, value, key, partition, on_delivery, headers in self._records:
            touched.add((topic, partition))
            on_delivery(None, FakeMessage(self._kafka.append((topic, partition), key, value, headers)))
        for where in touched:
            self._kafka.ends[where] += 1
        for offset in self._offsets:
            self._kafka.offsets[offset.topic, offset.partition] = offset.offset
        self._records, self._offsets = [], []
        self._kafka.strike("committed")

    def abort_transaction(self, _: float) -> None:
        """Leaves nothing but offsets."""
        self._prove("abort")
        for told in self._refused:
            told(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
        for topic, _value, _key, partition, _told, _headers in self._records:
            self._kafka.ends[topic, partition] += 1
        self._records, self._offsets = [], []

    def poll(self, _: float) -> int:
        """Nothing to hand over."""
        return 0

    def _prove(self, point: str) -> None:
        if self._kafka.epochs[self._name] != self._epoch:
            raise failure(KafkaError._FENCED, fatal=True)
        self._kafka.strike(point)


class FakeBroker:
    """`Broker`, on a `MemoryKafka`."""

    group_metadata = "metadata of the group"

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    def producer(self, name: str) -> FakeProducer:
        """See `Broker`."""
        return FakeProducer(self._kafka, name)

    def committed(self, topic: str, partition: int) -> int | None:
        """See `Broker`."""
        self._answer()
        return self._kafka.offsets.get((topic, partition))

    def partitions(self, topic: str) -> int:
        """See `Broker`."""
        self._answer()
        return self._kafka.partitions_of[topic]

    def topic_id(self, topic: str) -> str:
        """See `Broker`."""
        return self._kafka.topic_ids.get(topic, f"id-of-{topic}")

    def extent(self, topic: str, partition: int) -> Extent:
        """See `Broker`."""
        where = (topic, partition)
        return Extent(self._kafka.starts[where], self._kafka.ends[where])

    def read(self, topic: str, partition: int, begin: int, end: int) -> Iterator[list[FakeMessage]]:
        """See `Broker`; three records at a time."""
        lines = [line for line in self._kafka.logs[topic, partition] if begin <= line.offset < end]
        for first in range(0, len(lines), 3):
            yield [FakeMessage(line) for line in lines[first : first + 3]]

    def _answer(self) -> None:
        if self._kafka.away:
            raise UnavailableError("kafka: away")


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.records = 0

    def committed(
        self, lane: LaneId, *, records: int, outputs: int, counts: Counter[tuple[str, ...]], timings: Timings
    ) -> None:
        """Adds up."""
        assert isinstance(lane, LaneId)
        assert timings.total >= 0
        self.told.append(("committed", records, outputs))
        self.records += records
        self.counts += counts

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda _lane, *arguments: self.told.append((name, *arguments))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """What was told under one name."""
        return [told[1:] for told in self.told if told[0] == name]


def lane_config(**changes: Any) -> LaneConfig:
    """A lane's configuration on no real broker."""
    return LaneConfig(app="test", client={}, **changes)


def new_lane(
    kafka: MemoryKafka, store: MemoryStore | None, step: Any, notes: Notes, partition: int = 0, **changes: Any
) -> Lane:
    """A lane on one partition of the input."""
    broker: Any = FakeBroker(kafka)
    return Lane(lane_config(**changes), broker, store, step, (INPUT, partition), notes)


def feed(kafka: MemoryKafka, begin: int, size: int = 1_000, partition: int = 0) -> Batch | None:
    """The next batch of the input from an offset, as a transport would hand it over; None at the end."""
    where = (INPUT, partition)
    lines = [line for line in kafka.logs[where] if line.offset >= begin][:size]
    if not lines:
        return None
    records = [Record(INPUT, partition, line.offset, 0, line.key, line.value, line.headers) for line in lines]
    return Batch(INPUT, partition, begin, lines[-1].offset + 1, records, 1)


def settle(lane: Lane, batch: Batch | None, tries: int = 50) -> None:
    """Drives a lane as its runner does, without waiting; None only starts it."""
    for _ in range(tries):
        try:
            if not lane.standing:
                lane.start()
            if batch is not None:
                lane.process(batch)
                assert lane.next >= batch.end
        except LaneRefusedError:
            raise
        except (UnavailableError, LaneBrokenError):
            continue
        return
    raise AssertionError(f"not settled in {tries} tries")


def work_off(lane: Lane, kafka: MemoryKafka, size: int = 1_000, partition: int = 0) -> None:
    """Settles the whole input."""
    settle(lane, None)
    while True:
        batch = feed(kafka, lane.next, size, partition)
        if batch is None:
            return
        settle(lane, batch)
        if not lane.standing:
            settle(lane, None)
