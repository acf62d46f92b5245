"""Which Kafka the integration tests run on.

In this order: `OWNERSHIP_TEST_BROKER`; a Docker daemon that answers; Java and Maven, with the jars cached outside the
tree; else the embedded mock broker, which proves less.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ownership_stream.embedded import Embedded, free_port

POM = Path(__file__).parent.parent / "pom.xml"
START_SECONDS = 60.0
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
    elif shutil.which("java") and shutil.which("mvn"):
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
    for name, value in _settings(port, free_port(), Path("/tmp/kafka-data")).items():  # noqa: S108  # in the container
        container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        bootstrap = f"127.0.0.1:{port}"
        _await(bootstrap)
        yield bootstrap


@contextmanager
def broker_in_java(data: Path | None = None, port: int | None = None) -> Iterator[str]:
    """`kafka.Kafka` in KRaft mode on free ports, with a data folder of its own."""
    jars = cached_jars()
    folder = data or Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    port = port or free_port()
    config = folder / "server.properties"
    settings = _settings(port, free_port(), folder / "data")
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    java += ["-cp", f"{jars}/*"]
    if not (folder / "data" / "meta.properties").exists():
        format_storage = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "ownershipTestCluster00",
            "-c",
            str(config),
        ]
        subprocess.run([*java, *format_storage], check=True, capture_output=True)
    with (folder / "log").open("w") as log:
        # Where the system can tell it to, it ends with this process even if that is killed.
        ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        broker = subprocess.Popen([*ward, *java, "kafka.Kafka", str(config)], stdout=log, stderr=log)
        try:
            bootstrap = f"127.0.0.1:{port}"
            _await(bootstrap, broker)
            yield bootstrap
        finally:
            broker.kill()
            broker.wait()
            if data is None:
                shutil.rmtree(folder, ignore_errors=True)


def cached_jars() -> Path:
    """The folder with the jars of `tests/pom.xml`; another pom is another folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ownership-stream" / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not (folder / ".complete").exists():
        copy = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={folder}",
        ]
        subprocess.run(copy, check=True, stdout=sys.stderr)
        (folder / ".complete").touch()
    return folder


def _settings(port: int, controller: int, data: Path) -> dict[str, str]:
    listeners = f"PLAINTEXT://:{port},CONTROLLER://:{controller}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.retention.check.interval.ms": "500",
    }


def _await(bootstrap: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            admin.list_topics(timeout=2)
        except KafkaException:
            if monotonic() > deadline or (process is not None and process.poll() is not None):
                raise
            sleep(0.1)
        else:
            return
