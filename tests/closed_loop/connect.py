"""Kafka Connect as a process of its own (standalone), with Debezium's connectors; it can be killed and comes back.

Knows nothing of what its connectors move. Their configurations are kept in files, as operators keep them, so that a
Connect that comes back goes on with them and with the offsets that it had noted.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, Final

from closed_loop.forms import JSON_CONVERTER
from integration.brokers import broker_in_java
from integration.java import archived, command
from integration.kafka_process import cached_jars, kept_port

POM: Final = Path(__file__).parent.parent / "pom-connect.xml"
FLAW: Final = "DebeziumOpenLineageEmitter not initialized"
"""What a restarted task of the JDBC sink says and ends, if the task before it took long to end."""
MOST_MENDED: Final = 20
START_SECONDS: Final = 300.0
END_SECONDS: Final = 60.0


def archive_classes() -> Path:
    """Keeps the classes of a Connect, as far as it needs no connector for them; returns the folder of its jars."""

    def run(options: Sequence[str]) -> None:
        with TemporaryDirectory(prefix="connect-") as folder, broker_in_java() as bootstrap:
            connect = Connect(Path(folder), bootstrap, {}, options=options)
            try:
                connect.start()
                connect.await_answer()
                connect.stop()
            finally:
                connect.kill()

    return archived(cached_jars(POM), run)


@dataclass
class Connect:
    """One Connect with its `connectors` (name -> configuration)."""

    folder: Path
    bootstrap: str
    connectors: Mapping[str, Mapping[str, str]]
    port: int = field(default_factory=kept_port)
    heap: str = "256m"
    process: "subprocess.Popen[bytes] | None" = None
    options: Sequence[str] = ()
    mended: int = 0

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts it with all its connectors, on the offsets that it left behind; returns before they run."""
        assert not self.running, "connect runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        worker = self._file("worker", self._worker())
        files = [self._file(name, {"name": name, **config}) for name, config in self.connectors.items()]
        java = [*command(cached_jars(POM), self.heap, *self.options), "-Duser.timezone=UTC"]
        java += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{cached_jars(POM)}/*"]
        java += ["org.apache.kafka.connect.cli.ConnectStandalone", worker, *files]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(java, stdout=log, stderr=log)

    def kill(self) -> None:
        """`kill -9`: what it had not noted is read, or written, again. Does nothing to one that is gone."""
        self._end(SIGKILL)

    def kill_when_noted(self) -> None:
        """`kill -9` at a moment at which its file says where each source is.

        Without that Debezium begins with a snapshot, as at first, and what was changed since the last offset is told by
        rows as they then are, not one by one. A Connect at work empties its file for the moment of each write.
        """
        assert self.process is not None
        deadline = monotonic() + START_SECONDS
        while True:
            self.process.send_signal(SIGSTOP)
            _, status = os.waitpid(self.process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), f"connect ended: {self.log()[-2000:]}"
            if self._noted():
                return self.kill()
            self.process.send_signal(SIGCONT)
            assert monotonic() < deadline, "connect notes no offsets"
            sleep(0.1)

    def stop(self) -> None:
        """In order: offsets are noted first."""
        self._end(SIGTERM)

    def restart(self, connector: str) -> None:
        """One connector with its task, as an operator does it."""
        self._ask("POST", f"/connectors/{connector}/restart?includeTasks=true")

    def await_running(self) -> None:
        """Until every connector and its task run; raises `AssertionError` with what a task that failed said."""
        deadline = monotonic() + START_SECONDS
        while True:
            states = {name: self.state(name) for name in self.connectors}
            self.mend(states)
            if all(state == "RUNNING" for state in states.values()):
                return
            failed = [
                f"{name}: {state}" for name, state in states.items() if state.startswith("FAILED") and FLAW not in state
            ]
            assert not failed, "\n".join(failed)
            assert self.running, f"connect ended: {self.log()[-2000:]}"
            assert monotonic() < deadline, f"connectors do not run: {states}: {self.log()[-2000:]}"
            sleep(0.1)

    def await_answer(self) -> None:
        """Until it can be asked for its connectors."""
        deadline = monotonic() + START_SECONDS
        while True:
            try:
                self._ask("GET", "/connectors")
            except OSError:
                assert self.running, f"connect ended: {self.log()[-2000:]}"
                assert monotonic() < deadline, f"connect does not answer: {self.log()[-2000:]}"
                sleep(0.1)
            else:
                return

    def mend(self, states: Mapping[str, str]) -> None:
        """Restarts once more, as an operator does, what failed by a flaw of Debezium 3.3.1: see `FLAW`."""
        for name, state in states.items():
            if state.startswith("FAILED") and FLAW in state:
                self.mended += 1
                assert self.mended < MOST_MENDED, state
                self.restart(name)

    def state(self, connector: str) -> str:
        """`RUNNING`, or `FAILED` and why, or what it is about."""
        try:
            status = self._ask("GET", f"/connectors/{connector}/status")
        except OSError as error:
            return f"unknown: {error}"
        parts = [status["connector"], *status["tasks"]]
        failed = [part for part in parts if part["state"] == "FAILED"]
        if failed:
            return f"FAILED: {failed[0].get('trace', '')[:3000]}"
        if not status["tasks"]:
            return "without a task"
        return next((part["state"] for part in parts if part["state"] != "RUNNING"), "RUNNING")

    def log(self) -> str:
        """All that it said, over all its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _worker(self) -> dict[str, str]:
        return {
            "bootstrap.servers": self.bootstrap,
            "listeners": f"http://127.0.0.1:{self.port}",
            "plugin.discovery": "service_load",
            "key.converter": JSON_CONVERTER,
            "value.converter": JSON_CONVERTER,
            "offset.storage.file.filename": str(self.folder / "offsets"),
            "offset.flush.interval.ms": "500",
            "connector.client.config.override.policy": "All",
        }

    def _noted(self) -> bool:
        """Whether the offsets of all sources stand in its file, whose keys begin with the connectors' names."""
        path = self.folder / "offsets"
        found = path.read_bytes() if path.exists() else b""
        sources = [
            name
            for name, config in self.connectors.items()
            if "debezium.connector.postgresql" in config["connector.class"]
        ]
        return all(f'"{name}"'.encode() in found for name in sources)

    def _file(self, name: str, settings: Mapping[str, str]) -> str:
        path = self.folder / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return str(path)

    def _end(self, number: int) -> None:
        if self.process is not None:
            if self.running:
                self.process.send_signal(number)
            self.process.wait(END_SECONDS)

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own
            return json.loads(answer.read() or b"null")
