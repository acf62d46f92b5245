"""Which Kafka the integration tests run on.

In this order: `OWNERSHIP_TEST_BROKER`; a Docker daemon that answers; Java and Maven, with the jars cached outside the
tree; else the embedded mock broker, which proves less.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from integration.java import archived
from integration.kafka_process import KafkaNode, cached_jars, java_is_there, kept_port, node_settings
from ownership_stream.embedded import Embedded, free_port

START_SECONDS = 120.0
DOCKER_IMAGE = "apache/kafka:4.1.0"


@dataclass(frozen=True)
class TestBroker:
    """A broker to test on. `real`: it isolates transactions and gives topics ids; `waived`: checks it cannot answer."""

    __test__ = False

    bootstrap: str
    kind: str
    real: bool
    waived: frozenset[str] = frozenset()


@contextmanager
def chosen_broker() -> Iterator[TestBroker]:
    """The first broker of the order that is there; with `CI=true` it must be a real one."""
    given = os.environ.get("OWNERSHIP_TEST_BROKER")
    if given:
        yield TestBroker(given, "given", real=True)
    elif docker_answers():
        with broker_in_docker() as bootstrap:
            yield TestBroker(bootstrap, "docker", real=True)
    elif java_is_there():
        with broker_in_java() as bootstrap:
            yield TestBroker(bootstrap, "java", real=True)
    elif os.environ.get("CI") == "true":
        raise RuntimeError("CI=true needs a real broker: OWNERSHIP_TEST_BROKER, Docker, or Java with Maven")
    else:
        with Embedded() as embedded:
            yield TestBroker(embedded.bootstrap, "embedded", real=False, waived=frozenset(embedded.waived))


def docker_answers() -> bool:
    """Whether a Docker daemon answers a ping; without one even testcontainers' constructors raise."""
    if shutil.which("docker") is None:
        return False
    import docker  # type: ignore[import-untyped]  # noqa: PLC0415  # testcontainers' own: slow to import, without stubs

    with suppress(Exception):  # whatever the client raises, no daemon answers
        client = docker.from_env(timeout=3)
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False


@contextmanager
def broker_in_docker() -> Iterator[str]:
    """`apache/kafka` in KRaft mode; its KafkaContainer in testcontainers is for another image."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415  # as above

    port = free_port()
    container = DockerContainer(DOCKER_IMAGE).with_bind_ports(port, port)
    inside = Path("/tmp/kafka-data")  # noqa: S108  # in the container
    for name, value in node_settings(1, port, {1: free_port()}, inside).items():
        container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        bootstrap = f"127.0.0.1:{port}"
        await_answer(bootstrap)
        yield bootstrap


@contextmanager
def broker_in_java(data: Path | None = None, port: int | None = None) -> Iterator[str]:
    """`kafka.Kafka` in KRaft mode on free ports; with a folder of its own, unless it comes back to one."""
    folder = data or Path(tempfile.mkdtemp(prefix="kafka-"))
    node = KafkaNode(folder, port=port or kept_port())
    try:
        node.start()
        await_answer(node.bootstrap, lambda: node.running)
        yield node.bootstrap
    finally:
        node.kill()
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


def await_answer(bootstrap: str, alive: Callable[[], bool] = lambda: True, brokers: int = 1) -> None:
    """Returns when so many brokers are known to one that answers; raises what the client says if they do not come."""
    # One that has just begun is found at once, not when the client tries again after up to ten seconds.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            known = len(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            if monotonic() > deadline or not alive():
                raise
        else:
            if known >= brokers:
                return
            assert monotonic() < deadline, f"{known} of {brokers} brokers after {START_SECONDS} s"
        sleep(0.1)


def archive_classes() -> Path:
    """Keeps a node's classes, those too that a transaction and a group need; returns the folder of its jars."""

    def run(options: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
            node = KafkaNode(Path(folder), options=options)
            try:
                node.start()
                await_answer(node.bootstrap, lambda: node.running)
                _work(node.bootstrap)
                node.stop()
            finally:
                node.kill()

    return archived(cached_jars(), run)


def _work(bootstrap: str) -> None:
    """A record goes through a transaction that takes its group's offset with it."""
    at = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(at)
    admin.create_topics([NewTopic("work", 1, 1)])["work"].result(START_SECONDS)
    consumer = Consumer(at | {"group.id": "work", "auto.offset.reset": "earliest"})
    consumer.subscribe(["work"])
    producer = Producer(at | {"transactional.id": "work"})
    producer.init_transactions()
    for _ in range(2):
        producer.begin_transaction()
        producer.produce("work", b"work")
        offsets = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        assert consumer.consume(1, START_SECONDS)
    consumer.close()
