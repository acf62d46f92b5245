"""A Kafka cluster of a run's own, of one node or three, whose nodes can be killed, stopped, paused and starved of disk.

Each node is a `kafka.Kafka` process, broker and controller in one, with its own data, log and ports. With three nodes
Kafka's own topics are replicated three times and ask for two in-sync replicas; topics that tests make say so
themselves.
"""

import shutil
import tempfile
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from integration.brokers import await_answer
from integration.kafka_process import KafkaNode, java_is_there, kept_port

HEAP: Final = "384m"
# Two log directories per node: one disk can fail by itself.
DISKS: Final = 2
DEADLINE: Final = 90.0
GROUPS: Final = "__consumer_offsets"
TRANSACTIONS: Final = "__transaction_state"


class Cluster:
    """Nodes for the length of a `with`. `settings` are added to each node's property file, in Kafka's own names."""

    def __init__(self, nodes: int = 3, **settings: str) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="chaos-kafka-"))
        voters = {number: kept_port() for number in range(1, nodes + 1)}
        # A dead broker is found out sooner than by default, after 9 s. So is a replica that fell behind: by default the
        # leader holds back what nobody can read yet, for 30 s, if one disk of a broker fails that is alive otherwise.
        quick = {
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            "replica.lag.time.max.ms": "5000",
        }
        self.nodes = [
            KafkaNode(folder / str(number), number, voters=voters, settings=quick | settings, heap=HEAP, disks=DISKS)
            for number in voters
        ]
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self.await_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all nodes, and removes what they wrote."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def replication(self) -> int:
        """How often a topic of the cluster is replicated."""
        return len(self.nodes)

    def await_ready(self) -> None:
        """Returns when all nodes answer, and every replica of every topic is in sync again."""
        await_answer(self.bootstrap, lambda: all(node.running for node in self.nodes), len(self.nodes))
        deadline, behind = monotonic() + DEADLINE, ["unknown"]
        while behind:
            assert monotonic() < deadline, f"not in sync: {', '.join(sorted(behind)[:10])}"
            try:
                behind = self._behind()
            except KafkaException:
                assert monotonic() < deadline, "the cluster does not answer"
            if behind:
                sleep(0.1)

    def _behind(self) -> list[str]:
        """Partitions without a leader or with a replica out of sync."""
        topics = self.admin.list_topics(timeout=10).topics
        return [
            f"{name}[{number}]"
            for name, topic in topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader < 0 or len(partition.isrs) < len(partition.replicas)
        ]

    def leader(self, topic: str, partition: int) -> KafkaNode:
        """The node that leads a partition; raises `AssertionError` if none comes to."""
        deadline = monotonic() + DEADLINE
        while True:
            try:
                found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
            except (KafkaException, KeyError):
                found = -1
            if found >= 0:
                return self.nodes[found - 1]
            assert monotonic() < deadline, f"`{topic}` [{partition}] has no leader"
            sleep(0.1)

    def coordinator_of(self, name: str, topic: str = GROUPS) -> KafkaNode:
        """The node that coordinates a group, or with `TRANSACTIONS` a transactional id.

        It is by definition the leader of the partition of Kafka's own topic that the name's hash falls on, which serves
        for transactional ids as well: no client of ours can ask for theirs.
        """
        partitions = len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)
        return self.leader(topic, java_hash(name) % partitions)


def java_hash(text: str) -> int:
    """`Utils.abs(String.hashCode())` of Kafka's own Java."""
    found = 0
    for character in text:
        found = (31 * found + ord(character)) & 0xFFFF_FFFF
    signed = found - 0x1_0000_0000 if found & 0x8000_0000 else found
    return 0 if signed == -0x8000_0000 else abs(signed)


def needs_java() -> None:
    """Skips the test by name where no cluster can be started."""
    if not java_is_there():
        pytest.skip("needs Java and Maven for brokers that can be killed")
