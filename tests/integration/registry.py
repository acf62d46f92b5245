"""A real schema registry for tests: Apicurio, in memory, as a process of its own, from Maven Central.

It speaks Confluent's protocol at `/apis/ccompat/v7`. The archive is fetched once and cached beside the broker's jars.
Knows nothing of what is tested.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from signal import SIGKILL
from time import monotonic, sleep
from urllib.request import urlopen

from integration.kafka_process import kept_port

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
START_SECONDS = 60.0
END_SECONDS = 30.0


def cached_registry() -> Path:
    """The folder with the registry's program and libraries."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ownership-stream" / f"apicurio-{VERSION}"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetch = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        subprocess.run(fetch, check=True, stdout=sys.stderr)
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()
        (folder / ".complete").touch()
    return folder


@dataclass
class ApicurioNode:
    """One registry: `start` it, `kill` it. It keeps its port and, as it works in memory, forgets its schemas.

    The numbers that it gives begin anew with each start, so a test that kills it registers its schemas again in the
    same order, or means to show what becomes of numbers that nobody knows.
    """

    folder: Path
    port: int = field(default_factory=kept_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """What the setting `registry_url` is to be."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts it; returns when it answers."""
        [runner] = cached_registry().rglob("apicurio-registry-app-*-runner.jar")
        java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java += [f"-Dquarkus.http.port={self.port}", "-Dquarkus.http.host=127.0.0.1"]
        java += ["-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-jar", str(runner)]
        ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*ward, *java]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "registry.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_answer()

    def kill(self) -> None:
        """`kill -9`; returns when it is gone. Does nothing to one that is gone."""
        if self.process is not None and self.running:
            self.process.send_signal(SIGKILL)
            self.process.wait(END_SECONDS)

    def _await_answer(self) -> None:
        deadline = monotonic() + START_SECONDS
        while True:
            try:
                with urlopen(f"{self.url}/subjects", timeout=2):  # noqa: S310  # a registry of our own
                    return
            except (OSError, HTTPException):
                if monotonic() > deadline or not self.running:
                    raise
            sleep(0.1)


@contextmanager
def registry_in_java(folder: Path) -> Iterator[ApicurioNode]:
    """A registry that answers, for as long as it is needed; its log is in the folder."""
    node = ApicurioNode(folder)
    try:
        node.start()
        yield node
    finally:
        node.kill()
