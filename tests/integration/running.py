"""The whole product at work on the embedded stack, in this process: source bytes in, all that it writes out."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from matrices import PATIENT
from ownership_stream.app import Worker, serve
from ownership_stream.assembly import Assembly, assemble
from ownership_stream.embedded import PARTITIONS, Embedded
from ownership_stream.lane import Broker
from ownership_stream.settings import Settings
from ownership_stream.topics import owned_topics

DEADLINE = 60.0
LARGEST = 4_000_000
SRC = Path(__file__).parents[2] / "src"
_numbers = count()


def settings_on(embedded: Embedded, **said: Any) -> Settings:
    """Settings under a name nobody else has: every topic of ours and of the sources begins with it."""
    name = f"whole{next(_numbers)}"
    topics = ("changes", "state", "conflicts", "resolutions", "matches", "match_state", "links", "dead_letters")
    base: dict[str, Any] = {
        "brokers": embedded.bootstrap,
        "redis_url": SecretStr(embedded.redis_url),
        "app_id": name,
        "partitions": PARTITIONS,
        "replication_factor": 1,
        "min_insync_replicas": 1,
        "matrix_path": PATIENT,
        "sources_path": PATIENT.parent / "sources",
        "source_topics": {"ehr": [f"{name}.ehr.public.patient"], "crm": [f"{name}.crm.contact"]},
        "topic_apply_prefix": f"{name}.apply.",
        "http_port": 0,
        **{f"topic_{topic}": f"{name}.{topic}" for topic in topics},
    }
    return Settings.model_validate(base | said)


class Running:
    """A worker at work. `feed` and wait; then read what it wrote, ask it over HTTP, or run commands beside it."""

    def __init__(self, settings: Settings, assembly: Assembly) -> None:
        self.settings = settings
        self.assembly = assembly
        self.fed = 0
        self.error: BaseException | None = None
        self._broker = Broker(assembly.config.lane)
        self._producer = Producer(
            {"bootstrap.servers": settings.brokers, "log_level": 0, "linger.ms": 0, "message.max.bytes": LARGEST}
        )
        self._thread = threading.Thread(target=self._run, name="whole worker")
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._worker: Worker | None = None

    # ------------------------------------------------------------------------------------------------ its life

    def start(self) -> None:
        """Starts it, and returns when it is ready."""
        admin = AdminClient({"bootstrap.servers": self.settings.brokers, "log_level": 0})
        names = [topic.name for topic in owned_topics(self.settings)]
        for name in [*names, *(topic for stage in self.assembly.stages for topic in stage.topics)]:
            admin.list_topics(name, timeout=10)  # the mock broker makes a topic at its first mention
        self._thread.start()
        assert self._started.wait(DEADLINE)
        self.until(lambda: self.get("/readyz")[0] == 200)

    def stop(self) -> None:
        """Ends it; raises the error that ended it before."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        self._broker.close()
        self.assembly.store.close()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # raised again by `stop`, in the test's own thread
            self.error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        parts = self.assembly
        await serve(
            parts.config,
            parts.stages,
            store=parts.store,
            observer=parts.observer,
            metrics=parts.telemetry,
            rounds=(parts.ticks, parts.census),
            stop=self._stop,
            started=self._tell,
        )

    def _tell(self, worker: Worker) -> None:
        self._worker = worker
        self._started.set()

    def until(self, true: Callable[[], bool]) -> None:
        """Returns when it holds; fails with what the worker says if it does not come to hold."""
        deadline = monotonic() + DEADLINE
        while not true():
            if self.error is not None:
                raise self.error
            assert monotonic() < deadline, f"{self.get('/readyz')}, {self.processed()}"
            sleep(0.02)

    # ------------------------------------------------------------------------------------------------ what goes in

    def feed(
        self,
        source: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int = 0,
    ) -> None:
        """One record on the source's topic."""
        [topic] = self.settings.source_topics[source]
        self._producer.produce(topic, value, key, partition, headers=list(headers))
        assert 0 == self._producer.flush(30)
        self.fed += 1

    def settled(self, changes: int) -> None:
        """Returns when all that was fed is taken in and so many changes in all are decided."""
        self.until(lambda: self.processed()["intake"] == self.fed and self.processed()["decide"] >= changes)
        assert changes == self.processed()["decide"]

    def at_rest(self) -> None:
        """Returns when all that was fed is taken in, and all that follows from it is decided."""
        self.until(lambda: self.processed()["intake"] == self.fed)
        self.until(lambda: self.processed()["decide"] >= len(self.records(self.settings.topic_changes)))

    # ------------------------------------------------------------------------------------------------ what comes out

    def records(self, topic: str) -> list[Message]:
        """What stands on a topic of ours, partition by partition."""
        found: list[Message] = []
        for partition in range(PARTITIONS):
            extent = self._broker.extent(topic, partition)
            for messages in self._broker.read(topic, partition, extent.start, extent.end):
                found += messages
        return found

    @property
    def port(self) -> int | None:
        """Where its pages are."""
        return self._worker.http_port if self._worker is not None else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:  # ours
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, *by: str) -> dict[Any, int]:
        """A counter where it is not zero: by the values of these labels (of one: the value itself), or all under ()."""
        found: Counter[Any] = Counter()
        page = self.get("/metrics")[1].splitlines(keepends=True)
        lines = [line for line in page if f"ownership_{name}_total" in line]
        assert lines
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                if sample.value:
                    labels = tuple(sample.labels[label] for label in by)
                    found[labels[0] if len(labels) == 1 else labels] += int(sample.value)
        return dict(found)

    def processed(self) -> Counter[str]:
        """Input records settled, by stage: read beside HTTP, since the page has thousands of series."""
        found: Counter[str] = Counter()
        registry = self.assembly.telemetry.registry
        for family in registry.restricted_registry(["ownership_records_processed_total"]).collect():
            for sample in family.samples:
                found[sample.labels["stage"]] += int(sample.value)
        return found

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """A command of ours in a process of its own, by the same settings: exit code, stdout, stderr."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OWNERSHIP_")}
        environ |= self.environment() | {"PYTHONPATH": str(SRC), "COLUMNS": "80", "NO_COLOR": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "ownership_stream", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def shown(self, *arguments: str) -> Any:
        """What a command prints for programs; it must end well and in silence."""
        code, out, err = self.command("--output", "json", *arguments)
        assert (0, "") == (code, err), err
        return json.loads(out)

    def environment(self) -> dict[str, str]:
        """The settings that differ from the defaults, as the environment has them."""
        found = {}
        for name, value in self.settings.model_dump().items():
            if value != getattr(Settings(), name):
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                found[f"OWNERSHIP_{name.upper()}"] = json.dumps(plain) if isinstance(plain, dict) else str(plain)
        return found


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """A record's headers, as they were given."""
    given: Any = message.headers()
    return [(name, value or b"") for name, value in given or []]


@contextmanager
def running(embedded: Embedded, **said: Any) -> Iterator[Running]:
    """A worker for the length of a `with`; whatever ends it ends the test."""
    settings = settings_on(embedded, **said)
    worker = Running(settings, assemble(settings, waived=embedded.waived))
    try:
        worker.start()
        yield worker
    finally:
        worker.stop()
