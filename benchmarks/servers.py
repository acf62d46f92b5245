"""What a benchmark runs on: a real Kafka, a real Redis, topics, and the processor time and memory of processes.

Knows nothing of what is measured.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

import redis
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
from load import Row

from ownership_stream.embedded import free_port
from ownership_stream.errors import UnavailableError

ROOT: Final = Path(__file__).resolve().parents[1]
TICKS: Final = os.sysconf("SC_CLK_TCK")
MEGABYTE: Final = 1024 * 1024
START_SECONDS: Final = 30.0
READ_SECONDS: Final = 120.0


class Use(NamedTuple):
    """What a process has used: processor seconds so far, and the most megabytes it was resident with."""

    seconds: float
    peak: float


@dataclass(frozen=True)
class Site:
    """The servers of a benchmark and their processes; `broker` is 0 where its process is not ours to see."""

    bootstrap: str
    redis_url: str
    broker: int
    redis: int
    admin: AdminClient

    def create(self, names: Collection[str], partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Makes topics."""
        wanted = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
        for answer in self.admin.create_topics(wanted).values():
            answer.result(30)
        self.await_topics(names)

    def await_topics(self, names: Iterable[str]) -> None:
        """Returns when all of them have leaders: a broker says that a topic is made before it knows it."""
        missing, deadline = set(names), monotonic() + START_SECONDS
        while missing:
            known = self.admin.list_topics(timeout=30).topics
            missing -= {
                name for name in missing & known.keys() if all(p.leader >= 0 for p in known[name].partitions.values())
            }
            if missing and monotonic() > deadline:
                raise UnavailableError(f"kafka: topics have no leaders: {', '.join(sorted(missing))}")
            sleep(0.02)

    def delete(self, prefix: str) -> None:
        """Deletes every topic whose name begins so, or that a peer made for such a group."""
        names = [name for name in self.admin.list_topics(timeout=30).topics if prefix in name]
        if names:
            for answer in self.admin.delete_topics(names).values():
                answer.result(30)

    def write(self, rows: Iterable[Row], topics: Mapping[str, str]) -> None:
        """Writes a load; `topics` are the names of the topics that its rows speak of."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        for row in rows:
            while True:
                try:
                    producer.produce(topics[row.topic], row.value, row.key, row.partition, headers=row.headers)
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        if producer.flush(60):
            raise UnavailableError("kafka: the load cannot be written")

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """The next offset of each partition, markers included."""
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench"})
        try:
            return {
                (topic, partition): reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
                for topic in topics
                for partition in reader.list_topics(topic, timeout=30).topics[topic].partitions
            }
        finally:
            reader.close()

    def records(self, topic: str) -> Iterator[Message]:
        """Every committed record of a topic, each partition's in its order."""
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "bench",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
            }
        )
        partitions = list(reader.list_topics(topic, timeout=30).topics[topic].partitions)
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        ended, deadline = set[int | None](), monotonic() + READ_SECONDS
        try:
            while len(ended) < len(partitions):
                if monotonic() > deadline:
                    raise UnavailableError(f"kafka: `{topic}` cannot be read to its end")
                for message in reader.consume(10_000, timeout=0.2):
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka names its own errors so
                        ended.add(message.partition())
                    else:
                        raise UnavailableError(f"kafka: `{topic}`: {error.str()}")
        finally:
            reader.close()


@contextmanager
def servers() -> Iterator[Site]:
    """A real broker and a redis-server of our own."""
    if shutil.which("redis-server") is None:
        raise UnavailableError("no `redis-server` on the PATH: install it")
    with _broker() as bootstrap, redis_server() as (redis_url, process):
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        yield Site(bootstrap, redis_url, child("java"), process, admin)


@contextmanager
def _broker() -> Iterator[str]:
    """The broker that the environment names, as for the tests, or one of our own in Java."""
    given = os.environ.get("OWNERSHIP_TEST_BROKER")
    if given:
        yield given
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from integration.brokers import broker_in_java  # noqa: PLC0415  # the tests' folder has to be on the path first

    if not (shutil.which("java") and shutil.which("mvn")):
        raise UnavailableError("no real Kafka: install Java and Maven, or name one by `OWNERSHIP_TEST_BROKER`")
    with broker_in_java() as bootstrap:
        yield bootstrap


@contextmanager
def redis_server() -> Iterator[tuple[str, int]]:
    """A redis-server that keeps everything in memory; its address and its process."""
    with tempfile.TemporaryDirectory(prefix="ownership-redis-") as folder:
        port = free_port()
        ward = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        command = [*ward, "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command, from the PATH
        try:
            url = f"redis://127.0.0.1:{port}/0"
            with redis.Redis.from_url(url) as client:
                _await_redis(client)
            yield url, server.pid
        finally:
            server.kill()
            server.wait()


def _await_redis(client: "redis.Redis") -> None:
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            client.ping()
        except redis.RedisError:
            if monotonic() > deadline:
                raise
            sleep(0.02)
        else:
            return


def child(command: str) -> int:
    """The process of that command which we started; 0 if there is none."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == command and int(rest.split()[1]) == os.getpid():
            return int(status.parent.name)
    return 0


def used(pid: int) -> Use:
    """What the process has used so far: `utime` and `stime` of proc(5), and `VmHWM`, which one that ended has not."""
    if not pid:
        return Use(0.0, 0.0)
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    status = (folder / "status").read_text()
    peak = int((status.partition("VmHWM:")[2].split() or ["0"])[0]) * 1024 / MEGABYTE
    return Use((int(fields[11]) + int(fields[12])) / TICKS, peak)


def available() -> float:
    """Megabytes of memory that can be had without swapping."""
    return int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024 / MEGABYTE
