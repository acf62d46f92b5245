"""What people tell the lanes, and what the lanes answer: control events written to the log, answers read back.

A control event takes its place in its record's one order like everything else. It is written by an idempotent producer,
so that what is repeated on the way stands once; its answer is a record on ``ownership.resolutions`` that names it.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property
from time import monotonic
from typing import Final, Self
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from ownership_stream.errors import UnavailableError
from ownership_stream.identity import change_id, partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.lane.broker import BrokerAwayError, reason_of
from ownership_stream.model import Change
from ownership_stream.settings import Settings, librdkafka_config
from ownership_stream.wire import JSON, Resolution, Wire, WireError, change_message
from ownership_stream.wire.avro_wire import wire_of

_log = logging.getLogger("ownership_stream.kafka")

AT_ONCE: Final = 1_000
"""Changes that are written before it is made sure that Kafka has them."""
POLL_SECONDS: Final = 0.2


def new_id() -> str:
    """The id of a control event: nobody's coordinates, and never the same twice."""
    return change_id(f"person/{uuid4()}")


class ChangeWriter:
    """Writes changes to their topic; it speaks to nobody before its first one."""

    def __init__(self, config: LaneConfig, topic: str, wire: Wire = JSON) -> None:
        self.topic: Final = topic
        self._config, self._wire = config, wire

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one of the installation that the settings name; raises ``BadInputError``."""
        config = LaneConfig(app=settings.app_id, client=librdkafka_config(settings))
        return cls(config, settings.topic_changes, wire_of(settings))

    def put(self, changes: Iterable[tuple[Change, int]]) -> int:
        """Write each (change, partition); how many.

        Raises ``UnavailableError`` when Kafka does not take them all, or the schema registry is away.
        """
        written = 0
        for change, partition in changes:
            key, value, headers = change_message(change, self._wire)
            self._producer.produce(self.topic, value, key, partition, headers=list(headers))
            written += 1
            if not written % AT_ONCE:
                self._flush()
        if written % AT_ONCE:
            self._flush()
        return written

    @cached_property
    def _producer(self) -> Producer:
        return Producer({
            **self._config.client,
            "logger": _log,
            "enable.idempotence": True,
            "message.timeout.ms": int(self._config.message_seconds * 1000),
        })  # fmt: skip

    def _flush(self) -> None:
        left = self._producer.flush(self._config.message_seconds)
        if left:
            raise UnavailableError(f"kafka: {left} changes for `{self.topic}` were not taken in time")


class Answers:
    """The answers to what is asked from now on about some records; a context manager.

    Where nobody decides (no worker runs, or it is far behind) none come.
    """

    def __init__(
        self, config: LaneConfig, broker: Broker, topic: str, records: Iterable[str], partitions: int, wire: Wire = JSON
    ) -> None:
        """Raises ``BrokerAwayError``, and ``LaneBrokenError`` where the topic is missing."""
        self._wire = wire
        where = sorted({partition_of(record, partitions) for record in records})
        begin = [TopicPartition(topic, partition, broker.extent(topic, partition).end) for partition in where]
        self._consumer = Consumer({
            **config.client,
            "logger": _log,
            "group.id": config.consumer_group,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
        })  # fmt: skip
        self._consumer.assign(begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def wait(self, ids: Sequence[str], seconds: float) -> dict[str, Resolution]:
        """The answers to the control events of these ids, as far as they come within so many seconds."""
        found: dict[str, Resolution] = {}
        wanted, until = set(ids), monotonic() + seconds
        while wanted - found.keys() and (left := until - monotonic()) > 0:
            try:
                message = self._consumer.poll(min(left, POLL_SECONDS))
            except KafkaException as error:
                raise BrokerAwayError(f"kafka: cannot read the answers: {reason_of(error)}") from error
            answer = self._read(message)
            if answer is not None and answer.action and answer.change_id in wanted:
                found.setdefault(answer.change_id, answer)
        return found

    def _read(self, message: Message | None) -> Resolution | None:
        if message is None or message.error() is not None:
            return None
        try:
            return self._wire.read_resolution(message.value() or b"")
        except WireError:
            return None
