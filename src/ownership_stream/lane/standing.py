"""The start of a lane: how it comes to stand where it may work from, and when it must not.

In this order only (docs/adr/0002): `init_transactions` fences the former holder and ends its open transaction → the
store's position is taken with a new incarnation → the committed offset and the control record are read → both are
checked against the topics → the store catches up with the changelog. This module decides nothing about batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Final
from uuid import uuid4

from confluent_kafka import KafkaException, Message, Producer

from ownership_stream.lane.broker import (
    WAIVE_STATE_START,
    Broker,
    BrokerAwayError,
    Extent,
    error_of,
    reason_of,
)
from ownership_stream.lane.catchup import CatchUp
from ownership_stream.lane.contract import (
    Control,
    LaneBrokenError,
    LaneConfig,
    LaneId,
    LaneRefusedError,
    Observer,
    Step,
    control_key,
)
from ownership_stream.lane.failpoint import failpoint
from ownership_stream.store import DisplacedError, Position, StateStore, key_prefix

# How far back from the end the control record is looked for first; each further look goes this many times further.
LOOK_BACK: Final = 64
LOOK_FURTHER: Final = 16


@dataclass(slots=True)
class Standing:
    """Where a lane stands, as long as nobody displaces it."""

    producer: Producer
    next: int
    input_id: str
    partitions: int
    position: Position | None
    prefix: str
    mark: str
    """The transaction that the lane committed last, whoever held it; empty before the first."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the topics are like, read before anything is touched."""

    input_id: str
    partitions: int
    state_id: str


@dataclass(slots=True)
class Entrance:
    """Brings a lane to its standing; `enter` may be called again whenever the lane lost it.

    `store` is None for a stage that keeps no state. Once `leaving` is set a catch-up under way ends.
    """

    config: LaneConfig
    broker: Broker
    store: StateStore | None
    step: Step
    lane: LaneId
    observer: Observer
    leaving: Event = field(default_factory=Event)

    def enter(self) -> Standing:
        """The order of a lane's start.

        Raises `LaneRefusedError` when a check fails, `UnavailableError` when Kafka or the store is away, and
        `LaneBrokenError` when a rival fenced us while we started.
        """
        facts = self._facts()
        producer = self.broker.producer(self.config.transactional_id(self.lane))
        failpoint(self.lane.stage, "before-init")
        self._initialise(producer)
        failpoint(self.lane.stage, "after-init")
        prefix, incarnation = (
            key_prefix(self.config.app, facts.state_id, self.lane.partition),
            uuid4().hex[:12],
        )
        taken = self.store.take(prefix, incarnation) if self.store else None
        failpoint(self.lane.stage, "after-take")
        begin, mark = self._next(facts)
        failpoint(self.lane.stage, "after-checks")
        try:
            position = self._catch_up(prefix, incarnation, taken)
        except DisplacedError as error:
            raise LaneBrokenError(f"{self.lane}: displaced while catching up: {error}") from error
        failpoint(self.lane.stage, "after-catch-up")
        self.observer.started(self.lane, begin)
        return Standing(producer, begin, facts.input_id, facts.partitions, position, prefix, mark)

    def _facts(self) -> _Facts:
        """The topics' ids and partitions; a state topic must be cut like its input."""
        if self.store is not None:
            self.store.check()
        partitions = self.broker.partitions(self.lane.topic)
        state_topic, state_id = self.step.state_topic, ""
        if state_topic is not None:
            state_id = self.broker.topic_id(state_topic)
            cut = self.broker.partitions(state_topic)
            if cut != partitions:
                raise LaneRefusedError(
                    f"`{state_topic}` has {cut} partitions and `{self.lane.topic}` has {partitions}: "
                    "they must be equal; growth is a migration by replay"
                )
        else:
            self.broker.partitions(self.config.control_topic)
        return _Facts(self.broker.topic_id(self.lane.topic), partitions, state_id)

    def _initialise(self, producer: Producer) -> None:
        try:
            producer.init_transactions(self.config.request_seconds)
        except KafkaException as exception:
            if error_of(exception).fatal():
                raise LaneBrokenError(f"{self.lane}: fenced at its start: {reason_of(exception)}") from exception
            raise BrokerAwayError(f"kafka: cannot start transactions: {reason_of(exception)}") from exception

    def _next(self, facts: _Facts) -> tuple[int, str]:
        """The input offset to work from, and the mark of the lane's last transaction.

        The offset is the lane's own, or a greater committed one where what lies between is gone.
        """
        topic, partition = self.lane.topic, self.lane.partition
        committed = self.broker.committed(topic, partition)
        control = self._control()
        there = self.broker.extent(topic, partition)
        if control is None:
            if committed is not None:
                raise LaneRefusedError(
                    f"{self.lane}: offset {committed} is committed but `{self._control_topic}` holds no control "
                    "record of this lane, so its states are lost: restore that topic, or reset the group and replay"
                )
            return there.start, ""
        self._check(facts, control)
        if committed is not None and committed < control.next:
            self.observer.noticed(
                self.lane,
                f"committed offset {committed} is behind the lane's own {control.next}: the lane's own holds",
            )
        if committed is not None and committed > control.next >= there.start:
            # One transaction writes both, so only a lost end of the control topic sets them apart.
            raise LaneRefusedError(
                f"{self.lane}: offset {committed} is committed but `{self._control_topic}` stops at {control.next}: it "
                f"lost its newest records; restore them, or set the group back to {control.next} to decide again"
            )
        begin = max(control.next, committed if committed is not None else control.next)
        self._check_reach(begin, there)
        return begin, control.mark

    def _check(self, facts: _Facts, control: Control) -> None:
        topic = self.lane.topic
        if control.input_id != facts.input_id:
            raise LaneRefusedError(
                f"{self.lane}: `{topic}` was created again since this lane worked (topic id {facts.input_id}, "
                f"was {control.input_id}): what the old one held after {control.next} is lost; "
                "start under another app id to begin anew"
            )
        if control.partitions != facts.partitions:
            raise LaneRefusedError(
                f"{self.lane}: `{topic}` has {facts.partitions} partitions, and this lane worked with "
                f"{control.partitions}: records would change lanes; growth is a migration by replay"
            )

    def _check_reach(self, begin: int, there: Extent) -> None:
        if begin < there.start:
            raise LaneRefusedError(
                f"{self.lane}: offsets {begin} to {there.start - 1} were deleted before they were read "
                f"(retention too short?): restore them, or accept the loss by committing {there.start} for the group"
            )
        if begin > there.end:
            raise LaneRefusedError(
                f"{self.lane}: the lane stands at {begin} but the topic ends at {there.end}: the broker lost "
                f"records it had acknowledged (unclean election?); restore them before going on"
            )

    @property
    def _control_topic(self) -> str:
        return self.step.state_topic or self.config.control_topic

    def _control(self) -> Control | None:
        """The lane's newest control record, looked for from the end."""
        topic, partition = self._control_topic, self.control_partition
        key = control_key(self.lane, self.step.state_topic)
        extent = self.broker.extent(topic, partition)
        back = LOOK_BACK
        while True:
            begin = max(extent.start, extent.end - back)
            newest = _newest(self.broker.read(topic, partition, begin, extent.end), key)
            if newest is not None:
                return Control.unpack(newest)
            if begin == extent.start:
                return None
            back *= LOOK_FURTHER

    @property
    def control_partition(self) -> int:
        """A lane with states is alone in its partition of the state topic; the others share partition 0."""
        return self.lane.partition if self.step.state_topic is not None else 0

    def _catch_up(self, prefix: str, incarnation: str, taken: int | None) -> Position | None:
        """Brings the store's states to the end of the changelog, from the position it proves to have."""
        if self.store is None or self.step.state_topic is None:
            return None
        topic, partition = self.step.state_topic, self.lane.partition
        extent = self.broker.extent(topic, partition)
        if extent.start > 0 and WAIVE_STATE_START not in self.config.waived:
            raise LaneRefusedError(
                f"{self.lane}: `{topic}` begins at {extent.start}, so record states were deleted: restore it, and "
                "set its `cleanup.policy` to `compact` alone"
            )
        if taken is not None and taken > extent.end:
            # States of a changelog end that no longer exists: none of them can be told from the good ones.
            self.store.purge(prefix)
            taken = self.store.take(prefix, incarnation)
        own = control_key(self.lane, topic)
        catch_up = CatchUp(self.lane, self.broker, self.store, self.observer, topic, own, self.leaving)
        held = Position(incarnation, taken or 0)
        return catch_up.run(prefix, held, max(held.offset, extent.start), extent.end)


def _newest(messages: Iterator[list[Message]], key: bytes) -> bytes | None:
    newest: bytes | None = None
    for some in messages:
        for message in some:
            value = message.value()
            if message.key() == key and isinstance(value, bytes):
                newest = value
    return newest
