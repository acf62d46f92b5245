"""A lane: one partition of one stage, the unit of order, of exactly-once and of scale.

Per batch, in this order:

1. **join**: the batch must start where the lane stands; what it has already settled is cut off, a gap ends the process
2. **decode**: bytes become the step's words; undecodable records are dead letters from here on
3. **load**: the states and the lane's own position, in one packed read that proves the store
4. **step**: the pure decision
5. **sizes**: every record to write is small enough for its topic
6. **one Kafka transaction**: outputs, changed states, the control record, the input offset
7. **save**: the states to the store, on condition that it still stands where we left it
8. **count**: only now have things happened

The transaction begins after the step and never waits for the store. Nothing before 6 leaves a trace, and everything
after it can be made up for from Kafka, so a batch ends or is run again: after a fatal or unknown outcome the lane takes
its standing anew and runs *the same batch*; `join` cuts off what turns out to be committed. Dropping the batch instead
loses it.

A lane is driven by one thread at a time and knows neither Faust nor asyncio.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Thread
from time import monotonic
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from ownership_stream.errors import UnavailableError
from ownership_stream.lane.broker import Broker, error_of, offset_of, reason_of
from ownership_stream.lane.contract import (
    CONTROL_KEY,
    HEADER_OVERHEAD,
    RECORD_OVERHEAD,
    Batch,
    BatchRejectedError,
    Control,
    LaneBrokenError,
    LaneConfig,
    LaneId,
    LaneRefusedError,
    Observer,
    Output,
    Record,
    Step,
    StepResult,
    Timings,
    control_key,
)
from ownership_stream.lane.failpoint import failpoint
from ownership_stream.lane.standing import Entrance, Standing
from ownership_stream.store import DisplacedError, Position, StateStore

# A batch aborts on its data when the broker refuses one of its records for what it is.
DATA_ERRORS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.RECORD_LIST_TOO_LARGE,
    }
)
# Into how many parts a refused batch is cut: each costs a transaction, but each level a start of the lane, far more.
PARTS: Final = 8
# How often a producer whose queue is full is served before the broker counts as away, and for how long each time.
QUEUE_FULL_SERVES: Final = 100
QUEUE_FULL_SECONDS: Final = 0.1
# How many times its own time-out a call of the client may take.
PATIENCE: Final = 1.5


class _Answer(NamedTuple):
    """What the step made of some records, ready to be committed."""

    result: StepResult
    decode: float
    load: float
    step: float


class _Uncertain(NamedTuple):
    """A transaction whose outcome is not known yet, by the mark in its control record, and what to count for it."""

    mark: str
    answer: _Answer
    records: int
    told: Callable[[], None] | None


class Lane:
    """One partition of one stage. `store` may be None only for a step without a state topic."""

    def __init__(
        self,
        config: LaneConfig,
        broker: Broker,
        store: StateStore | None,
        step: Step,
        source: tuple[str, int],
        observer: Observer,
    ) -> None:
        self.id: Final = LaneId(step.name, *source)
        self._config = config
        self._broker = broker
        self._step = step
        self._observer = observer
        self._store = store if step.state_topic is not None else None
        self._entrance = Entrance(config, broker, self._store, step, self.id, observer)
        self._control_topic = step.state_topic or config.control_topic
        self._control_key = control_key(self.id, step.state_topic)
        self._standing: Standing | None = None
        self._failures: list[KafkaError] = []
        self._control_offset = 0
        self._uncertain: _Uncertain | None = None

    @property
    def standing(self) -> bool:
        """Whether the lane may work; if not, `start` it."""
        return self._standing is not None

    @property
    def next(self) -> int:
        """The input offset that the lane settles next."""
        return self._stand.next

    def start(self) -> int:
        """Takes the lane's standing and returns the input offset to feed it from.

        Raises `LaneRefusedError`, `LaneBrokenError` or `UnavailableError`; only the last two may be tried again.
        """
        self._standing = None
        self._standing = self._entrance.enter()
        self._count_late(self._standing.mark)
        return self._standing.next

    def process(self, batch: Batch) -> None:
        """Settles a batch, or raises with nothing of it lost.

        `UnavailableError`: wait, and call again with the same batch. `LaneBrokenError`: start anew, then call again
        with the same batch. `LaneRefusedError`: the process must end. Where `standing` is False afterwards the lane
        must be started before the next call.
        """
        records = self._join(batch)
        if records:
            self._settle(records, batch.end)
        else:
            self._stand.next = max(self._stand.next, batch.end)
        self._failures.clear()

    def serve(self) -> None:
        """For an idle lane, now and then: its client hands over log lines, and its store is proven.

        Without batches nothing else would notice a store that was emptied, and what is due is asked of it. Raises
        `LaneBrokenError` where the lane must start anew, `UnavailableError` where the store is away.
        """
        stand = self._standing
        if stand is None:
            return
        stand.producer.poll(0)
        if self._store is None or stand.position is None:
            return
        try:
            # To save nothing proves what no read looks at as well: the index of what is due.
            self._store.save(stand.prefix, stand.position, stand.position, {})
        except DisplacedError as error:
            raise self._broken(str(error)) from error

    def close(self) -> None:
        """Gives the standing up. Nothing is open: every transaction ended within `process`."""
        self._standing = None

    def leave(self) -> None:
        """The lane is to stop: a catch-up under way ends with `LaneBrokenError`. May be called from another thread."""
        self._entrance.leaving.set()

    @property
    def _stand(self) -> Standing:
        if self._standing is None:
            raise LaneBrokenError(f"{self.id}: the lane has no standing")
        return self._standing

    def _join(self, batch: Batch) -> Sequence[Record]:
        """1. The batch's records from where the lane stands."""
        begin = self._stand.next
        if batch.begin > begin:
            raise LaneRefusedError(
                f"{self.id}: the lane stands at {begin} but the next batch begins at {batch.begin}: records between "
                "were lost on their way within this process; start it again, nothing is committed beyond"
            )
        topic, partition = self.id.topic, self.id.partition
        records = [
            Record(topic, partition, one.offset, one.timestamp, one.key, one.value, one.headers)
            for one in batch.records
            if one.offset >= begin
        ]
        failpoint(self.id.stage, "1-join")
        return records

    def _settle(self, records: Sequence[Record], end: int) -> None:
        """2 to 8; a batch that cannot be committed because of its data is cut into parts, down to the culprit."""
        try:
            answer = self._answer(records)
            self._check_sizes(answer.result)
            self._commit(answer, len(records), end)
        except BatchRejectedError as rejected:
            self._stand_again(records[0].offset)
            if len(records) == 1:
                self._bury(records[0], rejected, end)
                return
            size = -(-len(records) // PARTS)
            for first in range(0, len(records), size):
                part = records[first : first + size]
                self._settle(part, records[first + size].offset if first + size < len(records) else end)

    def _stand_again(self, offset: int) -> None:
        """After an abort the lane needs another producer: librdkafka stumbles over the sequence numbers it skipped."""
        if self._standing is None and self.start() > offset:
            raise self._broken("another holder settled part of the batch")

    def _answer(self, records: Sequence[Record]) -> _Answer:
        """2 to 4: what the step makes of the records."""
        began = monotonic()
        decoded = self._pure("decode", self._step.decode, records)
        failpoint(self.id.stage, "2-decode")
        was_decoded = monotonic()
        states = self._load(decoded.record_ids)
        failpoint(self.id.stage, "3-load")
        was_loaded = monotonic()
        result = self._pure("step", self._step.run, decoded, states)
        failpoint(self.id.stage, "4-step")
        return _Answer(result, was_decoded - began, was_loaded - was_decoded, monotonic() - was_loaded)

    def _pure(self, stage: str, function: Any, *arguments: Any) -> Any:
        """An exception of the step is about the data: the record that causes it becomes a dead letter.

        Its text may quote patient values, so only its type is kept. Not about the data: what must end the process, and
        what the step has to wait for (a schema that it has not seen yet, from a registry that is away). Nothing of the
        batch was written by then, and it is run again as a whole.
        """
        try:
            return function(*arguments)
        except (LaneRefusedError, UnavailableError):
            raise
        except Exception as error:  # whatever a step raises, the record must end as a dead letter
            raise BatchRejectedError(stage, f"internal error: {type(error).__name__}") from error

    def _load(self, record_ids: Sequence[str]) -> dict[str, bytes | None]:
        stand = self._stand
        if self._store is None or stand.position is None:
            return {}
        try:
            return dict(zip(record_ids, self._store.load(stand.prefix, stand.position, record_ids), strict=True))
        except DisplacedError as error:
            raise self._broken(str(error)) from error

    def _check_sizes(self, result: StepResult) -> None:
        """5. Whatever is too large for its topic is found before anything is produced."""
        limits, default = self._config.record_limits, self._config.record_limit
        for topic, key, value, headers, _ in result.outputs:
            size = RECORD_OVERHEAD + (len(key) if key else 0) + (len(value) if value else 0)
            if headers:
                size += sum(len(name) + len(text or b"") + HEADER_OVERHEAD for name, text in headers)
            if size > limits.get(topic, default):
                raise BatchRejectedError("size", f"a record of {size} bytes is too large for `{topic}`")
        if self._step.state_topic is not None:
            limit = limits.get(self._step.state_topic, default) - RECORD_OVERHEAD
            for record_id, state in result.states.items():
                if len(record_id) + len(state) > limit:
                    raise BatchRejectedError("size", f"a state of {len(state)} bytes is too large")
        if CONTROL_KEY in result.states or (result.states and self._store is None):
            raise BatchRejectedError("step", "a state under a name that is not the step's to use")
        failpoint(self.id.stage, "5-sizes")

    def _commit(self, answer: _Answer, records: int, end: int, told: Callable[[], None] | None = None) -> None:
        """6 to 8; `told` is called once it is committed, whatever becomes of the store."""
        uncertain = self._uncertain = _Uncertain(uuid4().hex[:12], answer, records, told)
        began = monotonic()
        self._transact(answer.result, end)
        failpoint(self.id.stage, "6-commit")
        committed = monotonic()
        try:
            self._stand.next = end
            self._save(answer.result)
            failpoint(self.id.stage, "7-save")
        finally:
            # Committed is committed: what happened counts even if the store has to be caught up later.
            self._count(uncertain, committed - began, monotonic() - committed)
            self._uncertain = None
            failpoint(self.id.stage, "8-count")

    def _count(self, done: _Uncertain, commit: float = 0.0, save: float = 0.0) -> None:
        """8. What became certain has happened, and is told once."""
        answer = done.answer
        self._observer.committed(
            self.id,
            records=done.records,
            outputs=len(answer.result.outputs),
            counts=answer.result.counts,
            timings=Timings(answer.decode, answer.load, answer.step, commit, save),
        )
        if done.told is not None:
            done.told()

    def _count_late(self, last: str) -> None:
        """8 for a transaction that was committed though its outcome was lost on the way: it is the lane's last one."""
        uncertain, self._uncertain = self._uncertain, None
        if uncertain is not None and uncertain.mark == last:
            self._count(uncertain)

    def _transact(self, result: StepResult, end: int) -> None:
        """6. One transaction; it is committed when this returns."""
        stand = self._stand
        producer = stand.producer
        self._failures.clear()
        try:
            producer.begin_transaction()
            self._produce(producer, result, Control(stand.input_id, end, stand.partitions))
            failpoint(self.id.stage, "6-produce")
            self._send_offset(producer, end)
            failpoint(self.id.stage, "6-offsets")
            self._end(producer)
        except KafkaException as exception:
            raise self._outcome(producer, exception) from exception

    def _produce(self, producer: Producer, result: StepResult, control: Control) -> None:
        """Outputs, then states, the control record last: its offset is the lane's new position."""
        told = self._told
        for topic, key, value, headers, partition in result.outputs:
            self._put(producer, Output(topic, key, value, headers, partition), told)
        partition = self._entrance.control_partition
        for record_id, state in result.states.items():
            self._put(producer, Output(self._control_topic, record_id.encode(), state, [], partition), told)
        marked = control._replace(mark=self._uncertain.mark if self._uncertain else "")
        last = Output(self._control_topic, self._control_key, marked.pack(), [], partition)
        self._put(producer, last, self._told_control)

    def _put(self, producer: Producer, output: Output, told: Any) -> None:
        topic, key, value, headers, partition = output
        for _ in range(QUEUE_FULL_SERVES):
            try:
                if headers:
                    producer.produce(topic, value, key, partition, told, headers=cast("Any", headers))
                else:
                    producer.produce(topic, value, key, partition, told)
            except BufferError:
                producer.poll(QUEUE_FULL_SECONDS)
            else:
                return
        raise self._broken("the producer's queue stays full")

    def _send_offset(self, producer: Producer, end: int) -> None:
        """The input offset joins the transaction.

        librdkafka's call may forget its time-out when the group's coordinator goes away, and then blocks for ever
        (confluentinc/librdkafka issue 5456): so it is given a thread that may be left behind. The lane's next producer
        fences the one in there.
        """
        seconds = self._config.transaction_seconds
        offsets = [TopicPartition(self.id.topic, self.id.partition, end)]
        answered: Future[None] = Future()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, self._broker.group_metadata, seconds)
            except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                answered.set_exception(error)
            else:
                answered.set_result(None)

        Thread(target=send, name=f"offset of {self.id}", daemon=True).start()
        try:
            answered.result(PATIENCE * seconds)
        except TimeoutError as error:
            raise self._broken("the client did not come back from adding the offset to the transaction") from error

    def _end(self, producer: Producer) -> None:
        """Commits; a time-out leaves the outcome open, and asking again settles it."""
        deadline = monotonic() + self._config.transaction_seconds
        while True:
            try:
                producer.commit_transaction(self._config.transaction_seconds)
            except KafkaException as exception:
                if not error_of(exception).retriable() or monotonic() > deadline:
                    raise
            else:
                return

    def _told(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(error)

    def _told_control(self, error: KafkaError | None, message: Message) -> None:
        self._told(error, message)
        if error is None:
            self._control_offset = offset_of(message)

    def _outcome(self, producer: Producer, exception: KafkaException) -> Exception:
        """What a failed transaction means: its data was refused, and nothing is left of it; or the lane is broken.

        The failure itself may only say that the state is erroneous; what the broker refused is told with the
        deliveries, which the abort waits for.
        """
        error = error_of(exception)
        if error.fatal() or error.retriable():
            return self._broken(reason_of(exception))
        try:
            producer.abort_transaction(self._config.transaction_seconds)
        except KafkaException as failed:
            return self._broken(f"{reason_of(exception)}, and cannot abort: {reason_of(failed)}")
        broken = self._broken(reason_of(exception))
        refused = next((one for one in [error, *self._failures] if one.code() in DATA_ERRORS), None)
        return broken if refused is None else BatchRejectedError("produce", str(refused.str()))

    def _save(self, result: StepResult) -> None:
        """7. On a mismatch the lane is displaced; without an answer the position is unknown: both start anew."""
        stand = self._stand
        if self._store is None or stand.position is None:
            return
        new = Position(stand.position.incarnation, self._control_offset + 1)
        try:
            self._store.save(stand.prefix, stand.position, new, result.states)
        except DisplacedError as error:
            raise self._broken(str(error)) from error
        except UnavailableError:
            self._standing = None
            raise
        stand.position = new

    def _bury(self, record: Record, rejected: BatchRejectedError, end: int) -> None:
        """The culprit goes to the dead letters by itself, with its original bytes."""
        dead = StepResult([self._step.dead_letter(record, rejected.stage, rejected.error)])
        try:
            self._check_sizes(dead)
            told = partial(self._observer.buried, self.id, record.offset, rejected.stage, rejected.error)
            self._commit(_Answer(dead, 0.0, 0.0, 0.0), 1, end, told)
        except BatchRejectedError as again:
            raise LaneRefusedError(
                f"{self.id}: offset {record.offset} can neither be settled ({rejected}) nor be a dead letter "
                f"({again}): make the limit of the dead-letter topic the largest source's plus 64 KiB"
            ) from again

    def _broken(self, reason: str) -> LaneBrokenError:
        self._standing = None
        return LaneBrokenError(f"{self.id}: {reason}")
