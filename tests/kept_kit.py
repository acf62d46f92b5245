"""A log and states as a worker leaves them, on the embedded broker and fakeredis, for those who look later."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from pydantic import SecretStr

from matrices import PATIENT
from ownership_stream.embedded import PARTITIONS, Embedded
from ownership_stream.identity import partition_of
from ownership_stream.lane.contract import NO_TOPIC_ID, Record
from ownership_stream.model import Change
from ownership_stream.settings import Settings
from ownership_stream.steps import BREAKER
from ownership_stream.store import Position, RedisStore, key_prefix
from step_kit import DecideLane, log_record

_numbers = count()


class Kept:
    """One application's log and states, under a name nobody else has."""

    def __init__(self, embedded: Embedded) -> None:
        self.name = f"kept{next(_numbers)}"
        self.settings = Settings(
            brokers=embedded.bootstrap,
            redis_url=SecretStr(embedded.redis_url),
            app_id=self.name,
            partitions=PARTITIONS,
            topic_changes=f"{self.name}.changes",
            topic_state=f"{self.name}.state",
            hash_key=SecretStr("a key of the tests"),
            matrix_path=PATIENT,
            sources_path=PATIENT.parent / "sources",
        )
        self.store = RedisStore.from_url(embedded.redis_url)
        self._producer = Producer({"bootstrap.servers": embedded.bootstrap, "log_level": 0, "linger.ms": 0})

    def environment(self) -> dict[str, str]:
        """The settings as a command finds them."""
        settings = self.settings
        return {
            "OWNERSHIP_BROKERS": settings.brokers,
            "OWNERSHIP_REDIS_URL": settings.redis_url.get_secret_value(),
            "OWNERSHIP_APP_ID": settings.app_id,
            "OWNERSHIP_PARTITIONS": str(settings.partitions),
            "OWNERSHIP_TOPIC_CHANGES": settings.topic_changes,
            "OWNERSHIP_TOPIC_STATE": settings.topic_state,
            "OWNERSHIP_HASH_KEY": settings.hash_key.get_secret_value() if settings.hash_key else "",
            "OWNERSHIP_MATRIX_PATH": str(settings.matrix_path),
            "OWNERSHIP_SOURCES_PATH": str(settings.sources_path),
        }

    def settle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts its settings into the environment, until the test ends."""
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def decided(self, *changes: Change) -> DecideLane:
        """Changes on the log, and the states that they leave."""
        lane = DecideLane()
        self.log(log_record(change, offset) for offset, change in enumerate(changes))
        lane.decide(*changes)
        self.keep(lane.stored)
        return lane

    def log(self, records: Iterable[Record]) -> None:
        """Put records on the log of changes, with their broker's time."""
        for record in records:
            self._producer.produce(
                self.settings.topic_changes,
                record.value,
                record.key,
                record.partition,
                timestamp=record.timestamp,
                headers=list(record.headers),
            )
        assert 0 == self._producer.flush(30)

    def keep(self, states: Mapping[str, bytes]) -> None:
        """Save states as the lanes of their partitions do; a breaker is every lane's own."""
        by_lane: dict[int, dict[str, bytes]] = defaultdict(dict)
        for record, state in states.items():
            lanes = range(PARTITIONS) if record == BREAKER else [partition_of(record, PARTITIONS)]
            for lane in lanes:
                by_lane[lane][record] = state
        for lane, found in by_lane.items():
            prefix = self.prefix(lane)
            offset = self.store.take(prefix, "lane") or 0
            self.store.save(prefix, Position("lane", offset), Position("lane", offset + 1), found)

    def prefix(self, partition: int) -> str:
        """What a lane's keys begin with."""
        return key_prefix(self.name, f"{NO_TOPIC_ID}-{self.settings.topic_state}", partition)

    def read(self, topic: str, number: int) -> list[Message]:
        """The first records of a topic, all partitions together; fails if they do not come."""
        reader = Consumer(
            {
                "bootstrap.servers": self.settings.brokers,
                "group.id": f"{self.name}-reader",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        found: list[Message] = []
        try:
            reader.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
            for _ in range(100):
                found += [message for message in reader.consume(number, 0.2) if message.error() is None]
                if len(found) >= number:
                    return found
        finally:
            reader.close()
        raise AssertionError(f"{len(found)} of {number} records of {topic}")


@contextmanager
def kept_servers() -> Iterator[Embedded]:
    """The embedded broker with fakeredis."""
    with Embedded(fake_redis=True) as embedded:
        yield embedded
