"""What lanes ask of Kafka beside their own transactions: offsets, topic facts, and reading a partition again.

One `Broker` serves all lanes of a process. Its consumer never subscribes: it lends its group's metadata to
`send_offsets_to_transaction` (generation -1, which the coordinator accepts beside an active group; the transactional
id is what fences) and reads committed offsets. This module knows nothing of steps or stores.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar, cast

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not by the letter of PEP 484
    AdminClient,
    OffsetSpec,
)

from ownership_stream.errors import UnavailableError
from ownership_stream.lane.contract import NO_TOPIC_ID, LaneBrokenError, LaneConfig

# The checks that librdkafka's mock broker cannot answer; embedded mode waives them by these names.
WAIVE_TOPIC_IDS: Final = "topic ids"
WAIVE_STATE_START: Final = "start of the state topic"
WAIVE_CHECKSUMS: Final = "checksums"
WAIVE_TOPICS: Final = "topic settings"
READ_AT_ONCE: Final = 2_000
# A partition's last records are fewer than that: then so long is waited for nothing.
READ_SECONDS: Final = 0.02
BATCH_BYTES: Final = 1_000_000
PING_SECONDS: Final = 3.0

_ENDS: Final[tuple[OffsetSpec, OffsetSpec]] = (
    OffsetSpec.earliest(),  # type: ignore[no-untyped-call]  # the client leaves it without annotation
    OffsetSpec.latest(),  # type: ignore[no-untyped-call]  # as above
)

_T = TypeVar("_T")
_log = logging.getLogger("ownership_stream.kafka")


class BrokerAwayError(UnavailableError):
    """Kafka does not answer, or not in time."""


class Extent(NamedTuple):
    """The offsets of a partition: the first that is there, and the next to be written."""

    start: int
    end: int


class Broker:
    """Kafka as lanes see it.

    Thread-safe. Every method raises `BrokerAwayError` if Kafka does not answer, `LaneBrokenError` if a topic is
    missing.
    """

    def __init__(self, config: LaneConfig) -> None:
        self._config = config
        self._seconds = config.request_seconds
        base: dict[str, Any] = {**config.client, "logger": _log}
        self._admin = AdminClient({**base, "allow.auto.create.topics": WAIVE_TOPICS in config.waived})
        self._consumer = Consumer(
            {
                **base,
                "group.id": config.consumer_group,
                "enable.auto.commit": False,
                # With read_committed, a fetch of committed offsets waits for those of open transactions.
                "isolation.level": "read_committed",
            }
        )
        self.group_metadata: Final = self._consumer.consumer_group_metadata()

    def producer(self, transactional_id: str) -> Producer:
        """A producer for one lane, not yet initialised.

        The transaction's time-out bounds how long a dead worker blocks readers; a record must not live longer
        than its transaction.
        """
        config = self._config
        return Producer(
            {
                **config.client,
                "logger": _log,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(config.transaction_seconds * 1000),
                "message.timeout.ms": int(min(config.message_seconds, config.transaction_seconds) * 1000),
                "message.max.bytes": config.largest_record,
                # The broker holds a batch of records to the limit of one.
                "batch.size": min(BATCH_BYTES, config.smallest_record),
                "compression.type": config.compression,
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 20,
            }
        )

    def committed(self, topic: str, partition: int) -> int | None:
        """The group's committed offset, or None if there is none (-1001 is not 0)."""
        with _answers("committed offset", topic):
            [answer] = self._consumer.committed([TopicPartition(topic, partition)], timeout=self._seconds)
            if answer.error is not None:
                raise KafkaException(answer.error)
        return None if answer.offset == OFFSET_INVALID else int(answer.offset)

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic."""
        with _answers("partitions", topic):
            found = self._admin.list_topics(topic, timeout=self._seconds).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
        return len(found.partitions)

    def ping(self) -> None:
        """Returns if Kafka answers, within a few seconds."""
        try:
            self._admin.list_topics(self._config.control_topic, timeout=PING_SECONDS)
        except KafkaException as error:
            raise BrokerAwayError(f"kafka: does not answer: {reason_of(error)}") from error

    def topic_id(self, topic: str) -> str:
        """The id that Kafka gave the topic when it was created; a topic made again has another."""
        if WAIVE_TOPIC_IDS in self._config.waived:
            return f"{NO_TOPIC_ID}-{topic}"  # two state topics must not share keys in the store
        with _answers("id", topic):
            answers = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=self._seconds, include_authorized_operations=False
            )
            described = self._result(answers[topic])
        return str(described.topic_id)

    def extent(self, topic: str, partition: int) -> Extent:
        """First and next offset of a partition, open transactions included."""
        where = TopicPartition(topic, partition)
        with _answers("offsets", topic):
            asked = [
                self._admin.list_offsets(
                    {where: spec},
                    isolation_level=IsolationLevel.READ_UNCOMMITTED,
                    request_timeout=self._seconds,
                )[where]
                for spec in _ENDS
            ]
            start, end = (int(self._result(future).offset) for future in asked)
        if start < 0 or end < 0:  # no error, and no answer either: so a partition says whose disk has just failed
            raise BrokerAwayError(f"kafka: cannot get the offsets of `{topic}` [{partition}]: unknown at the moment")
        return Extent(start, end)

    def read(self, topic: str, partition: int, begin: int, end: int) -> Iterator[list[Message]]:
        """The committed records from `begin` up to `end`, in lists; by position, since markers take offsets too.

        A transaction still open before `end` holds the reading up until it ends.
        """
        if begin >= end:
            return
        where = TopicPartition(topic, partition, begin)
        reader = Consumer(
            {
                **self._config.client,
                "logger": _log,
                "group.id": self._config.consumer_group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": WAIVE_CHECKSUMS not in self._config.waived,
                # The end of the partition is told by an empty fetch: it need not wait for what may never come.
                "fetch.wait.max.ms": 10,
                "queued.max.messages.kbytes": 16_384,
                # A full queue otherwise halts fetching for a second, some 20 times longer than it takes to empty it.
                "fetch.queue.backoff.ms": 10,
            }
        )
        try:
            with _answers("records", topic):
                reader.assign([where])
                yield from self._until(reader, where, end)
        finally:
            reader.close()

    def serve(self) -> None:
        """Lets the clients hand over their log lines; to be called now and then."""
        self._admin.poll(0)

    def close(self) -> None:
        """Lets go of connections."""
        self._consumer.close()

    def _until(self, reader: Consumer, where: TopicPartition, end: int) -> Iterator[list[Message]]:
        patience = self._seconds + self._config.transaction_seconds
        position, deadline = where.offset, monotonic() + patience
        while position < end:
            messages: list[Message] = []
            reached = position
            for message in reader.consume(READ_AT_ONCE, timeout=READ_SECONDS):
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka names its own errors so
                    raise KafkaException(error)
                # The end-of-partition event carries the offset after markers, which no record shows.
                reached = offset_of(message) + (error is None)
            if reached > position:
                position, deadline = reached, monotonic() + patience
            elif monotonic() > deadline:
                raise BrokerAwayError(
                    f"kafka: no record of `{where.topic}` [{where.partition}] for {patience:.0f} s at {position}"
                )
            if messages:
                yield [message for message in messages if offset_of(message) < end]

    def _result(self, future: "Future[_T]") -> _T:
        return future.result(timeout=self._seconds + 1)


@contextmanager
def _answers(what: str, topic: str) -> Iterator[None]:
    """An error of Kafka outside a transaction means: it is away, wait and ask again.

    A topic that does not exist is no outage. A broker that just came up may not know it yet, so it is asked for a few
    times before the process ends.
    """
    try:
        yield
    except KafkaException as error:
        if error_of(error).code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise LaneBrokenError(f"topic `{topic}` does not exist: run `ownership-stream topics create`") from error
        raise BrokerAwayError(f"kafka: cannot get the {what} of `{topic}`: {reason_of(error)}") from error
    except TimeoutError as error:
        raise BrokerAwayError(f"kafka: cannot get the {what} of `{topic}`: timed out") from error


def offset_of(message: Message) -> int:
    """The offset of a message that has one, as all that were consumed or delivered do."""
    return cast("int", message.offset())


def error_of(exception: KafkaException) -> KafkaError:
    """The `KafkaError` within an exception of the client."""
    return cast("KafkaError", exception.args[0])


def reason_of(exception: KafkaException) -> str:
    """What went wrong, in Kafka's own words."""
    error: Any = exception.args[0]
    return str(error.str()) if isinstance(error, KafkaError) else str(error)
