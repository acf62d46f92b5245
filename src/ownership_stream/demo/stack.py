"""Everything the demo runs on, in one process: broker, Redis, topics, and the real worker in a thread of its own.

The worker is the one of `ownership-stream worker`, put together by `assembly.py`; only the checks that an embedded
broker cannot answer are left out, each by its name. Its log goes to a file, since the screen is the view's.
"""

import asyncio
import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import SecretStr

from ownership_stream import sources
from ownership_stream.app import Worker, serve
from ownership_stream.assembly import Assembly, assemble, stages
from ownership_stream.demo.threads import LoopThread
from ownership_stream.embedded import Embedded
from ownership_stream.lane import Broker
from ownership_stream.looking import Looker
from ownership_stream.matrix import compile as matrices
from ownership_stream.settings import Settings, librdkafka_config
from ownership_stream.telemetry import configure_logging
from ownership_stream.topics import owned_topics

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 60.0
LOG_LINES: Final = 20
PARTITIONS: Final = 2
"""Enough to show that records keep their order side by side; each costs lanes and their transactions."""
ONE_BROKER: Final = {"replication_factor": 1, "min_insync_replicas": 1}


class Stack:
    """Servers, topics and the worker's parts, for the length of a `with`. ``given``: the user's settings."""

    def __init__(self, given: Settings, *, fake_redis: bool = False) -> None:
        self._given = given.model_copy(update={"partitions": PARTITIONS, **ONE_BROKER})
        self._embedded = Embedded(_topics(self._given), fake_redis=fake_redis)
        self._exits = ExitStack()
        self.folder = Path()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="own-")))
            exits.enter_context(self._embedded)
            self.settings = self._settings()
            self.log = self.folder / "worker.log"
            stream = exits.enter_context(self.log.open("w", encoding="utf-8"))
            configure_logging(self._given.log_level.value, stream=stream)
            self.assembly: Assembly = assemble(self.settings, waived=self._embedded.waived)
            exits.callback(self.assembly.store.close)
            self.broker = Broker(self.assembly.config.lane)
            exits.callback(self.broker.close)
            self.looker = Looker(self.settings, self.broker, self.assembly.store)
            self._write_settings()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    @property
    def waived(self) -> dict[str, str]:
        """The checks left out for the embedded broker and Redis, each with its reason."""
        return self._embedded.waived

    @property
    def client(self) -> dict[str, Any]:
        """The Kafka settings of the clinic and of those who watch."""
        return {**librdkafka_config(self.settings), "log_level": 0}

    @property
    def environment(self) -> str:
        """What another terminal needs so that `ownership-stream` looks at this demo, as a word of a shell."""
        return f"OWNERSHIP_SETTINGS={shlex.quote(str(self._settings_file))}"

    def log_tail(self) -> list[str]:
        """The last lines of the worker's log."""
        return self.log.read_text(encoding="utf-8").splitlines()[-LOG_LINES:]

    @property
    def _settings_file(self) -> Path:
        return self.folder / "demo.toml"

    def _settings(self) -> Settings:
        """The user's settings, on the embedded servers; ids are hashed by a key that the other terminal has too."""
        own = {
            "brokers": self._embedded.bootstrap,
            "redis_url": SecretStr(self._embedded.redis_url),
            "hash_key": SecretStr(self.folder.name),
        }
        return Settings.model_validate({**self._given.model_dump(), **own})

    def _write_settings(self) -> None:
        settings = self.settings
        hash_key = settings.hash_key.get_secret_value() if settings.hash_key else ""
        own: dict[str, str | int] = {
            "brokers": settings.brokers,
            "redis_url": settings.redis_url.get_secret_value(),
            "hash_key": hash_key,
            "partitions": settings.partitions,
            "app_id": settings.app_id,
            "matrix_path": str(settings.matrix_path.absolute()),
            "sources_path": str(settings.sources_path.absolute()),
            **ONE_BROKER,
        }
        lines = [f"{name} = {value if isinstance(value, int) else _quoted(value)}\n" for name, value in own.items()]
        self._settings_file.write_text("".join(lines), encoding="utf-8")


def _topics(settings: Settings) -> dict[str, int]:
    """Every topic that the worker reads or writes, with its partitions."""
    matrix = matrices.load(settings.matrix_path)
    mappings = tuple(document.mapping for document in sources.load_all(settings.sources_path, matrix))
    read = [topic for stage in stages(settings, matrix, mappings) for topic in stage.topics]
    return dict.fromkeys(read, settings.partitions) | {
        topic.name: topic.partitions for topic in owned_topics(settings, tuple(matrix.systems))
    }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class WorkerThread(LoopThread):
    """The worker on an event loop of its own, so that neither the view nor the clinic holds it up."""

    def __init__(self, assembly: Assembly) -> None:
        super().__init__("worker", start_seconds=START_SECONDS, stop_seconds=STOP_SECONDS)
        self._assembly = assembly
        self.worker: Worker | None = None

    @property
    def waiting_for(self) -> str:
        """Why the worker is not ready, in words; empty if it is."""
        return "not started" if self.worker is None else self.worker.lanes.readiness()

    async def _serve(self, stop: asyncio.Event) -> None:
        parts = self._assembly
        await serve(
            parts.config,
            parts.stages,
            store=parts.store,
            observer=parts.observer,
            metrics=parts.telemetry,
            rounds=(parts.ticks, parts.census),
            stop=stop,
            started=self._tell,
        )

    def _tell(self, worker: Worker) -> None:
        self.worker = worker
        self._started.set()
