"""Whole fetched batches through Faust: a small subclass of its aiokafka driver.

Faust's path costs about 250 µs per event, so one message here carries what one fetch brought for one partition. The
driver keeps membership and assignment; where reading starts, when it pauses and what is committed belongs to lanes,
so `_commit` says yes, `_add_gap` and `perform_seek` do nothing, and acknowledgements keep no books.

Between `begin` and `end` of a partition its batches are *one flow*: each begins where the one before ended, so that
the lane sees a gap if anything gets lost between here and there. This module knows nothing of lanes or steps.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, MutableSet, Sequence
from itertools import count
from time import time
from typing import Any, Final, cast

import aiokafka  # type: ignore[import-untyped]  # it has no stubs
from aiokafka.errors import (  # type: ignore[import-untyped]  # as above
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]  # as above
from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT

from ownership_stream.lane.contract import Batch

# A partition that does not exist keeps the set of open partitions from being empty, which aiokafka takes for "all".
_NO_PARTITION: Final = TP("", -1)
# How long a broker keeps a fetch open for more data. While it is open nothing else is asked of that broker, so this
# is what a partition waits that becomes open again beside idle ones.
FETCH_WAIT_MILLISECONDS: Final = 100
# How many times what is fetched from one partition a broker may answer with.
FETCH_PARTITIONS: Final = 8
# What a row is taken to weigh before the first was seen, in bytes.
FIRST_ROW_BYTES: Final = 8_000
# How many rows at most where the setting is absent.
FIRST_ROWS: Final = 10_000
_log = logging.getLogger("ownership_stream.transport")


class _Flow:
    """The batches of one partition since the last seek: which they are, where they end, how many records they had."""

    __slots__ = ("begin", "end", "number", "records")

    def __init__(self, number: int, begin: int) -> None:
        self.number = number
        self.begin = self.end = begin
        self.records = 0

    def records_in(self, offsets: int) -> int:
        """About so many records lie in so many offsets to come, if markers are among them as often as before."""
        if not self.records or not offsets:
            return offsets
        return max(1, round(offsets * self.records / (self.end - self.begin)))


class Limits:
    """How much one fetch hands over: at most so many rows, and about so many bytes.

    A fetch size bounds compressed bytes only, so the rows are counted by what they were found to weigh: the estimate
    rises at once and falls slowly.
    """

    def __init__(self, rows: int, size: int) -> None:
        self._rows = rows
        self._size = size
        self._row_bytes = float(FIRST_ROW_BYTES)

    @property
    def rows(self) -> int:
        """How many rows to ask for next."""
        return max(1, min(self._rows, int(self._size / self._row_bytes)))

    def cut(self, records: Sequence[Any]) -> Iterator[tuple[Sequence[Any], int]]:
        """The records in pieces of at most the size (a larger single record is a piece by itself), and their bytes."""
        first = total = weighed = 0
        for index, record in enumerate(records):
            weight = len(record.value or b"") + len(record.key or b"")
            weighed += weight
            if total + weight > self._size and index > first:
                yield records[first:index], total
                first, total = index, 0
            total += weight
        yield records[first:], total
        self._weighed(weighed / len(records))

    def _weighed(self, row_bytes: float) -> None:
        slow = 0.8 * self._row_bytes + 0.2 * row_bytes
        self._row_bytes = max(1.0, row_bytes, slow)


class BatchSchema(Schema[Any, Any]):
    """Hands a message's key and value on as they are: what the bytes mean is the lane's matter."""

    def loads_key(self, app: Any, message: Message, **_: Any) -> Any:
        """The key, untouched."""
        del app
        return message.key

    def loads_value(self, app: Any, message: Message, **_: Any) -> Any:
        """The batch, untouched."""
        del app
        return message.value


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's consumer, in its own thread, fetching from the partitions whose flow is open."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limits = Limits(self.app.conf.broker_max_poll_records or FIRST_ROWS, self.app.conf.consumer_max_fetch_size)
        self._flows: MutableMapping[TP, _Flow] = {}
        self._open: MutableSet[TP] = {_NO_PARTITION}
        self._numbers = count(1)

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        """The driver's own consumer, reading committed records only: Faust ties that to its own transactions."""
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001  # the driver takes no such setting
        consumer._fetch_max_wait_ms = FETCH_WAIT_MILLISECONDS  # noqa: SLF001  # nor such
        consumer._fetch_max_bytes = FETCH_PARTITIONS * self.app.conf.consumer_max_fetch_size  # noqa: SLF001  # nor such
        return consumer

    async def begin(self, tp: TP, offset: int) -> int:
        """Seeks, and lets batches flow from there; returns the flow's number. Raises `KeyError` if not ours."""
        return cast("int", await self.call_thread(self._begin, tp, offset))

    async def _begin(self, tp: TP, offset: int) -> int:
        try:
            self._ensure_consumer().seek(TopicPartition(*tp), offset)
        except IllegalStateError as error:
            raise KeyError(tp) from error
        flow = self._flows[tp] = _Flow(next(self._numbers), offset)
        self._open.add(tp)
        self._wake()
        return flow.number

    def hold(self, tp: TP) -> None:
        """Stops the partition's batches for now; one on its way still comes."""
        self.thread_loop.call_soon_threadsafe(self._open.discard, tp)

    def release(self, tp: TP) -> None:
        """Lets the partition's batches come again, if its flow was not ended."""
        self.thread_loop.call_soon_threadsafe(self._release, tp)

    def _release(self, tp: TP) -> None:
        if tp in self._flows:
            self._open.add(tp)
            self._wake()

    def end(self, tp: TP) -> None:
        """Ends the partition's flow."""
        self.thread_loop.call_soon_threadsafe(self._end, tp)

    def _end(self, tp: TP) -> None:
        self._flows.pop(tp, None)
        self._open.discard(tp)

    def _wake(self) -> None:
        """Makes a fetch that waits look again at what is open."""
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001  # aiokafka offers no other way
        if fetcher is not None:
            for waiter in list(fetcher._fetch_waiters):  # noqa: SLF001  # as above
                fetcher._notify(waiter)  # noqa: SLF001  # as above

    def remaining(self, tp: TP) -> int | None:
        """About so many records from the flow's end to the last stable offset; None if not known yet.

        0 where only markers remain: the position moves over them as soon as they are fetched.
        """
        flow = self._flows.get(tp)
        consumer = self._consumer
        if flow is None or consumer is None:
            return None
        state = self._state(consumer, tp)
        if state is None or state.lso is None or not state.has_valid_position:
            return None
        return flow.records_in(max(0, int(state.lso) - int(state.position)))

    def _state(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> Any:
        subscription = consumer._subscription.subscription  # noqa: SLF001  # the position without markers has no API
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or TopicPartition(*tp) not in assignment.tps:
            return None
        return assignment.state_value(TopicPartition(*tp))

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109  # the driver's signature
        max_records: int | None = None,
    ) -> Any:
        """What is there for the open partitions, as batches; a failed fetch is a batch with a fault."""
        del active_partitions, max_records
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher  # noqa: SLF001  # as the driver does
        if consumer._closed or fetcher is None or fetcher._closed:  # noqa: SLF001  # as the driver does
            raise ConsumerStoppedError
        if fetcher._fetch_task.done():  # noqa: SLF001  # aiokafka itself never looks
            # It asserts that a partition fails once at a time, and ends where one fails at two brokers: nothing more
            # would be fetched, with no lag and no error. What was fetched and not handed over is fetched again.
            _log.warning("the client's fetching had ended, and begins anew")
            fetcher._fetch_task = asyncio.create_task(fetcher._fetch_requests_routine())  # noqa: SLF001  # as above
        with fetcher._subscriptions.fetch_context():  # noqa: SLF001  # as the driver does
            try:
                fetched = await fetcher.fetched_records(self._open, timeout=timeout, max_records=self.limits.rows)
            except ConsumerStoppedError:
                raise
            except KafkaError as error:
                return self._faults(error)
        return {
            tp: batches
            for found, records in fetched.items()
            if (batches := self._batches(consumer, found, records))
            for tp in [TP(*found)]
        }

    def _batches(
        self, consumer: aiokafka.AIOKafkaConsumer, found: TopicPartition, records: Sequence[Any]
    ) -> list[Batch]:
        tp = TP(*found)
        flow, state = self._flows.get(tp), self._state(consumer, tp)
        if flow is None or state is None:
            return []  # no longer ours; whoever begins a flow seeks first
        batches = []
        pieces = list(self.limits.cut(records))
        for (piece, size), after in zip(pieces, [*pieces[1:], None], strict=True):
            end = after[0][0].offset if after else max(state.position, piece[-1].offset + 1)
            batches.append(Batch(tp.topic, tp.partition, flow.end, end, piece, flow.number, size=size))
            flow.end = end
            flow.records += len(piece)
        return batches

    def _faults(self, error: KafkaError) -> Mapping[TP, list[Batch]]:
        """The failure, told to the partitions it is about; to all open ones if it does not say."""
        if isinstance(error, OffsetOutOfRangeError):
            about = [TP(*tp) for tp in error.args[0]]
        elif isinstance(error, NoOffsetForPartitionError):
            about = [TP(*error.args[0])]
        else:
            about = list(self._flows)
        faults = {}
        for tp in about:
            flow = self._flows.get(tp)
            if flow is not None:
                self._end(tp)
                fault = f"kafka: fetch failed: {type(error).__name__}"
                faults[tp] = [Batch(tp.topic, tp.partition, flow.end, flow.end, (), flow.number, fault)]
        return faults


class BatchConsumer(driver.Consumer):
    """The driver's consumer, with lanes in charge of offsets."""

    _thread: BatchConsumerThread

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def begin(self, topic: str, partition: int, offset: int) -> int:
        """See `lane.runner.Feed`."""
        tp = TP(topic, partition)
        number = await self._thread.begin(tp, offset)
        # The driver drops messages below what it has handed over before; a new flow may begin lower.
        self._read_offset[tp] = None
        return number

    def hold(self, topic: str, partition: int) -> None:
        """See `lane.runner.Feed`."""
        self._thread.hold(TP(topic, partition))

    def release(self, topic: str, partition: int) -> None:
        """See `lane.runner.Feed`."""
        self._thread.release(TP(topic, partition))

    def end(self, topic: str, partition: int) -> None:
        """See `lane.runner.Feed`."""
        self._thread.end(TP(topic, partition))

    def remaining(self, topic: str, partition: int) -> int | None:
        """Records not yet handed over, about; see `BatchConsumerThread.remaining`."""
        return self._thread.remaining(TP(topic, partition))

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109  # as above
        """One message per fetched partition batch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode's own annotation forgets asyncio's event
        fetched = await self._getmany(active_partitions=None, timeout=timeout)
        for tp, batches in fetched.items():
            for batch in batches:
                if self.should_stop or not self.flow_active:
                    return
                yield tp, self._to_message(tp, batch)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.begin,
            time(),
            0,
            None,
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Message) -> bool:
        """The lane has the batch: nothing to keep books of."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def perform_seek(self) -> None:
        """Lanes seek, each when it is caught up."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Lanes commit, within their transactions."""
        del offsets
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between batches are markers; lanes check what matters."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own watch looks for acknowledged offsets, which are not kept here; lanes are watched instead."""


class BatchTransport(driver.Transport):
    """Faust's Kafka transport, at batch level."""

    Consumer = cast("type[ConsumerT]", BatchConsumer)
