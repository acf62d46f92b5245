"""A real schema registry for tests: Apicurio, as a process of its own, from Maven Central.

It speaks Confluent's protocol at `/apis/ccompat/v7`. The archive is fetched once and cached beside the broker's jars.
Knows nothing of what is tested.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from urllib.request import Request, urlopen

from integration.java import archived, command
from integration.kafka_process import kept_port

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
START_SECONDS = 180.0
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


def archive_classes() -> Path:
    """Keeps a registry's classes; returns the folder of the program."""

    def run(options: Sequence[str]) -> None:
        with TemporaryDirectory(prefix="registry-") as folder:
            node = ApicurioNode(Path(folder), options=options)
            try:
                node.start()
                node.register("work")
                node.stop()
            finally:
                node.kill()

    return archived(cached_registry(), run)


@dataclass
class ApicurioNode:
    """One registry: `start` it, `kill` it, `pause` it. It keeps its port, and its schemas with their numbers.

    By itself this build of Apicurio keeps all in memory; here its database is a file, as what a registry holds must
    outlive it. `options` are the JVM's.
    """

    folder: Path
    port: int = field(default_factory=kept_port)
    process: "subprocess.Popen[bytes] | None" = None
    options: Sequence[str] = ()

    @property
    def url(self) -> str:
        """What the setting `registry_url` is to be."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    @property
    def own_url(self) -> str:
        """Where Apicurio's own protocol is spoken, as its converters do."""
        return f"http://127.0.0.1:{self.port}/apis/registry/v2"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts it on what it held before, unless it is there; returns when it answers."""
        if self.running:
            return
        [runner] = cached_registry().rglob("apicurio-registry-app-*-runner.jar")
        java = command(cached_registry(), "512m", *self.options)
        java += [f"-Dquarkus.http.port={self.port}", "-Dquarkus.http.host=127.0.0.1"]
        database = f"jdbc:h2:file:{self.folder / 'schemas'};WRITE_DELAY=0;FILE_LOCK=NO"
        # On a busy machine its first connection takes longer than the five seconds that it would wait.
        java += [f"-Dquarkus.datasource.jdbc.url={database}", "-Dquarkus.datasource.jdbc.acquisition-timeout=120"]
        java += ["-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-jar", str(runner)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "registry.log").open("ab") as log:
            self.process = subprocess.Popen(java, stdout=log, stderr=log)
        self._await_answer()

    def register(self, subject: str) -> None:
        """Gives it some schema: the first one takes it longest."""
        body = json.dumps({"schema": json.dumps({"type": "record", "name": "Work", "fields": []})}).encode()
        kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        asked = Request(f"{self.url}/subjects/{subject}/versions", body, kind)  # noqa: S310  # as below
        with urlopen(asked, timeout=END_SECONDS):  # noqa: S310  # as below
            return

    def kill(self) -> None:
        """`kill -9`; returns when it is gone. Does nothing to one that is gone."""
        self._end(SIGKILL)

    def stop(self) -> None:
        """SIGTERM; returns when it is gone."""
        self._end(SIGTERM)

    def _end(self, number: int) -> None:
        self._signal(number)
        if self.process is not None:
            self.process.wait(END_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nobody."""
        self._signal(SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it answers again."""
        self._signal(SIGCONT)

    def _signal(self, number: int) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(number)

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
