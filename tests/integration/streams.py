"""A stream of its own for each test: topics, group and keys under a name nobody else has."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from counting import CountingStep
from integration import topic_kit
from integration.brokers import TestBroker
from lane_kit import Notes
from ownership_stream.embedded import PARTITIONS
from ownership_stream.lane import Batch, Broker, Lane, LaneConfig, Record
from ownership_stream.store import RedisStore

TESTS = Path(__file__).parent.parent
DEADLINE = 60.0


@dataclass
class Stream:
    """Topics `<name>.changes`, `.state`, `.out`, `.dead`, `.lanes`, and what tests do with them."""

    broker: TestBroker
    redis_url: str
    name: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}")
    partitions: int = PARTITIONS

    def __post_init__(self) -> None:
        self.changes, self.state = f"{self.name}.changes", f"{self.name}.state"
        self.out, self.dead, self.lanes = f"{self.name}.out", f"{self.name}.dead", f"{self.name}.lanes"
        self.admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        # Idempotent: without, a retry on a topic that was just made can change the order of the input.
        self.producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True, "log_level": 0, "linger.ms": 1}
        )
        self.create()

    def create(self) -> None:
        """Makes the topics; the mock broker makes its own."""
        if not self.broker.real:
            return
        compact = {"cleanup.policy": "compact"}
        wanted = [
            NewTopic(self.changes, self.partitions, 1),
            NewTopic(self.state, self.partitions, 1, config=compact),
            NewTopic(self.out, 1, 1),
            NewTopic(self.dead, 1, 1),
            NewTopic(self.lanes, 1, 1, config=compact),
        ]
        topic_kit.make(self.admin, *wanted)

    def step(self, **changes: Any) -> CountingStep:
        """The counting step on this stream's topics."""
        return CountingStep(**{"state_topic": self.state, "output_topic": self.out, "dead_topic": self.dead} | changes)

    def config(self, **changes: Any) -> LaneConfig:
        """A lane's configuration on this stream."""
        client = {"bootstrap.servers": self.broker.bootstrap, "log_level": 3}
        base = {"app": self.name, "client": client, "control_topic": self.lanes, "waived": self.broker.waived}
        return LaneConfig(**base | changes)

    def store(self) -> RedisStore:
        """The store of this stream's states."""
        return RedisStore.from_url(self.redis_url)

    def lane(self, notes: Notes | None = None, partition: int = 0, **changes: Any) -> Lane:
        """A lane on one partition."""
        config = self.config(**changes)
        return Lane(config, Broker(config), self.store(), self.step(), (self.changes, partition), notes or Notes())

    def feed(self, values: Iterable[bytes], *, keys: int = 5, partition: int | None = None) -> None:
        """Writes changes: value n under key n modulo `keys`, in the key's partition or all in one."""
        for number, value in enumerate(values):
            key = number % keys
            where = key % self.partitions if partition is None else partition
            self.producer.produce(self.changes, value, b"r%d" % key, where)
        assert 0 == self.producer.flush(30)

    def batch(self, begin: int, partition: int = 0, limit: int = 1_000) -> Batch:
        """What is committed on the input from an offset, as the transport would hand it over."""
        messages, end = self.read(self.changes, partition, begin)
        records = [Record(self.changes, partition, _offset(m), 0, m.key(), m.value(), ()) for m in messages[:limit]]
        return Batch(
            self.changes, partition, begin, records[-1].offset + 1 if limit < len(messages) else end, records, 1
        )

    def work_off(self, lane: Lane) -> None:
        """Settles what is on the lane's input now."""
        if not lane.standing:
            lane.start()
        lane.process(self.batch(lane.next, lane.id.partition))

    def read(self, topic: str, partition: int = 0, begin: int = 0) -> tuple[list[Message], int]:
        """The committed records of a partition from an offset, and the offset after the last, markers included."""
        reader = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": f"{self.name}-reader",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        reader.assign([TopicPartition(topic, partition, begin)])
        messages: list[Message] = []
        deadline = monotonic() + DEADLINE
        try:
            while monotonic() < deadline:
                for message in reader.consume(1_000, 0.05):
                    error = message.error()
                    if error is None:
                        messages.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return messages, _offset(message)
                    elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise AssertionError(error.str())
        finally:
            reader.close()
        raise AssertionError(f"no end of {topic} [{partition}] within {DEADLINE} s")

    def outputs(self) -> dict[bytes, list[bytes]]:
        """The outputs by key, in their order."""
        found: dict[bytes, list[bytes]] = defaultdict(list)
        for message in self.read(self.out)[0]:
            found[message.key() or b""].append(message.value() or b"")
        return dict(found)

    def await_outputs(self, count: int) -> dict[bytes, list[bytes]]:
        """The outputs once there are as many; fails if they do not come.

        A commit returns before its markers are everywhere, so even what is committed comes a moment later.
        """
        deadline = monotonic() + DEADLINE
        while True:
            found = self.outputs()
            total = sum(len(values) for values in found.values())
            if total >= count:
                return found
            assert monotonic() < deadline, f"{total} of {count} outputs after {DEADLINE} s"
            sleep(0.1)

    def process(self, script: str, *, failpoint: str = "", **words: Any) -> "Script":
        """One of the scripts beside this file in a process of its own, with this stream in its environment."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("OWNERSHIP_")}
        environ["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
        environ["STREAM"] = json.dumps(
            {
                "bootstrap": self.broker.bootstrap,
                "real": self.broker.real,
                "redis_url": self.redis_url,
                "name": self.name,
                **words,
            }
        )
        if failpoint:
            environ["OWNERSHIP_TEST_FAILPOINT"] = failpoint
        return Script(Path(__file__).parent / script, environ)


class Script:
    """A script at work. What it says on stderr goes to a file, since a full pipe would stop it."""

    def __init__(self, path: Path, environ: dict[str, str]) -> None:
        self._said = TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, str(path)], env=environ, stdout=subprocess.PIPE, stderr=self._said, text=True
        )

    def line(self) -> str:
        """Its next line on stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ended(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended by itself."""
        out, _ = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, self.said()

    def said(self) -> str:
        """All that it said on stderr so far."""
        # The process shares the file's position: reading by `seek` would have it write over its own lines.
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), size, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Ends it if it is still there."""
        self.process.kill()
        self.process.communicate()
        self._said.close()


def stream_of_environment() -> tuple[Stream, dict[str, Any]]:
    """The stream a script was started for, and the further words given to it."""
    words = json.loads(os.environ["STREAM"])
    broker = TestBroker(words.pop("bootstrap"), "given", words.pop("real"))
    existing = type("Existing", (Stream,), {"create": lambda _: None})
    return existing(broker, words.pop("redis_url"), words.pop("name")), words


def exactly_once(values: Iterable[bytes], keys: int = 5) -> dict[bytes, list[bytes]]:
    """What `feed` of these values must have put out: per key, counts from 1 without gap or repeat, in order."""
    expected: dict[bytes, list[bytes]] = defaultdict(list)
    for number, value in enumerate(values):
        counts = expected[b"r%d" % (number % keys)]
        counts.append(b"%d %b" % (len(counts) + 1, value))
    return dict(expected)


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset
