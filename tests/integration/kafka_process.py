"""One `kafka.Kafka` of the tests as a process: its jars, its property file, its java command, and what can befall it.

Knows nothing of clusters or of what is tested. Several nodes make a cluster by naming each other as voters.
"""

import hashlib
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from integration.java import command

POM = Path(__file__).parent.parent / "pom.xml"
CLUSTER_ID = "ownershipTestCluster00"
END_SECONDS = 60.0
# Below the range from which the system takes the local ports of connections: a client that reconnects to a node that is
# gone must neither take the node's port nor, on that very port, connect to itself.
PORTS = range(20_000, 32_000)
# Tests that run beside each other, in processes of pytest-xdist, have ports of their own.
SHARE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_given: set[int] = set()
# The files of an empty log directory, as Kafka's own tool made them for the first node of this process.
_formed: dict[str, bytes] = {}


def kept_port() -> int:
    """A free TCP port that is given once, and that no outgoing connection takes while its server is away."""
    for port in random.sample(PORTS[SHARE::4], 100):
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError(f"no free port of a hundred tried between {PORTS.start} and {PORTS.stop}")


def cached_jars(pom: Path = POM) -> Path:
    """The folder with the jars of a pom, the broker's or another; another pom is another folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ownership-stream" / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if not (folder / ".complete").exists():
        copy = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(pom),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={folder}",
        ]
        subprocess.run(copy, check=True, stdout=sys.stderr)
        (folder / ".complete").touch()
    return folder


def java_is_there() -> bool:
    """Whether this machine can run a node: Java, and Maven for its jars."""
    return bool(shutil.which("java") and shutil.which("mvn"))


def node_settings(number: int, port: int, voters: Mapping[int, int], *data: Path) -> dict[str, str]:
    """The property file of one node: broker and controller in one process, with one or several log directories.

    `voters` are all nodes' controller ports by node number. Topics of Kafka's own are replicated as many times as
    there are nodes, at most three, and ask for all but one of them.
    """
    replicas = min(3, len(voters))
    enough = max(1, replicas - 1)
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{one}@127.0.0.1:{where}" for one, where in voters.items()),
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{voters[number]}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": ",".join(map(str, data)),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": str(replicas),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": str(enough),
        "transaction.state.log.num.partitions": "4",
        "min.insync.replicas": str(enough),
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.retention.check.interval.ms": "500",
        # By default a transaction beyond its time is looked for every 10 s.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    }


@dataclass
class KafkaNode:
    """One node: `start` it, `kill` it, `stop` it, `pause` it, limit its files. It keeps its folder and its ports.

    `voters` (node number -> controller port) is this node alone unless given. `settings` are added to its property
    file, in Kafka's own names. `disks` are its log directories; the first holds the cluster's metadata as well.
    `options` are the JVM's.
    """

    folder: Path
    number: int = 1
    port: int = field(default_factory=kept_port)
    voters: Mapping[int, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    heap: str = "512m"
    disks: int = 1
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.voters = self.voters or {self.number: kept_port()}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of its listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> list[Path]:
        """Its log directories."""
        return [self.folder / f"data-{disk}" for disk in range(self.disks)]

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts it, on the data that it left behind if it was there before; returns before it answers."""
        assert not self.running, f"node {self.number} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        settings = node_settings(self.number, self.port, self.voters, *self.data) | dict(self.settings)
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        if not (self.data[0] / "meta.properties").exists():
            self._format(config)
        with (self.folder / "log").open("ab") as log:
            kafka = [*self._java(*self.options), "kafka.Kafka", str(config)]
            self.process = subprocess.Popen(kafka, stdout=log, stderr=log)

    def kill(self) -> None:
        """`kill -9`; returns when it is gone. Does nothing to one that is gone."""
        self._signal(SIGKILL)
        self._wait()

    def stop(self) -> None:
        """SIGTERM: it hands its partitions over first; returns when it is gone."""
        self._signal(SIGTERM)
        self._wait()

    def pause(self) -> None:
        """SIGSTOP: to all others it is unreachable, its connections stay open and silent."""
        self._signal(SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on with what it believed before."""
        self._signal(SIGCONT)

    def limit_files(self, size: int | None) -> None:
        """No file of it may grow beyond so many bytes: writing fails as on a full disk. None lifts the limit.

        The error is `File too large` and not `No space left on device`; Kafka takes either for a failed disk. It needs
        no rights: only the soft limit is lowered.
        """
        assert self.process is not None
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    def log(self) -> str:
        """All that it said, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    def _format(self, config: Path) -> None:
        """Makes its empty log directories: Kafka's tool for it, a JVM of its own, is run for the first node."""
        if not _formed:
            form = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config)]
            subprocess.run([*self._java(), *form], check=True, capture_output=True)
            for file in self.data[0].iterdir():
                _formed[file.name] = file.read_bytes()
            return
        for disk in self.data:
            disk.mkdir()
            for name, content in _formed.items():
                (disk / name).write_bytes(content)
            # 16 bytes in base64, none of the first few that Kafka keeps for itself.
            own = {"version": "1", "cluster.id": CLUSTER_ID, "node.id": self.number}
            own["directory.id"] = f"T{token_urlsafe(16)[1:]}"
            (disk / "meta.properties").write_text("".join(f"{name}={value}\n" for name, value in own.items()))

    def _java(self, *options: str) -> list[str]:
        java = command(cached_jars(), self.heap, *options)
        return [*java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{cached_jars()}/*"]

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _wait(self) -> None:
        if self.process is not None:
            self.process.wait(END_SECONDS)
