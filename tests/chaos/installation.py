"""An installation of its own for one run: topics under a name nobody else has, and the shipped worker as processes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
from pydantic import SecretStr

from integration import topic_kit
from integration.kafka_process import kept_port
from integration.watched import Watched
from matrices import PATIENT
from ownership_stream import assembly, topics
from ownership_stream.settings import Settings
from ownership_stream.worker_config import Stage
from source_kit import CRM_TOPIC, EHR_TOPIC

DEADLINE = 90.0
# A topic's last records are fewer than are asked for: then so long is waited for nothing.
READ_SECONDS = 0.02
HASH_KEY = "a key of the tests"
SRC = Path(__file__).parents[2] / "src"


@dataclass
class Installation:
    """Topics, settings and processes of one installation under a name nobody else has.

    `said` overrides settings. `source_topics` are the sources' topics, without the name; `source_partitions` are those
    of each; `replication` is asked of all topics.
    `src` is the folder that workers take their code from.
    """

    bootstrap: str
    redis_url: str
    partitions: int = 8
    source_partitions: int = 4
    replication: int = 1
    source_topics: Mapping[str, str] = field(default_factory=lambda: {"ehr": EHR_TOPIC, "crm": CRM_TOPIC})
    said: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"w{uuid4().hex[:8]}")
    src: Path = SRC

    def __post_init__(self) -> None:
        words = ("changes", "state", "conflicts", "resolutions", "lanes", "links", "matches", "match_state")
        self.sources = {source: f"{self.name}.{topic}" for source, topic in self.source_topics.items()}
        self.settings = Settings.model_validate(
            {
                "brokers": self.bootstrap,
                "redis_url": SecretStr(self.redis_url),
                "hash_key": SecretStr(HASH_KEY),
                "app_id": self.name,
                "partitions": self.partitions,
                "replication_factor": self.replication,
                "min_insync_replicas": max(1, self.replication - 1),
                "matrix_path": PATIENT,
                "sources_path": PATIENT.parent / "sources",
                "source_topics": {source: [name] for source, name in self.sources.items()},
                "topic_apply_prefix": f"{self.name}.apply.",
                "tick_interval_seconds": 3600.0,
                "http_port": 0,
                **{f"topic_{word}": f"{self.name}.{word}" for word in (*words, "dead_letters")},
                **self.said,
            }
        )
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        topic_kit.make(
            self.admin, *(NewTopic(name, self.source_partitions, self.replication) for name in self.sources.values())
        )
        topics.create(self.admin, self.settings)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The pure steps of its workers, and the topics that these read."""
        return assembly.stages(self.settings, *assembly.documents(self.settings))

    def worker(self, *, failpoint: str = "", **said: Any) -> "WorkerProcess":
        """A worker in a process of its own, by the command that people use; `said` overrides settings for it alone."""
        port = kept_port()
        environment = self._environment(http_port=port, **said)
        if failpoint:
            environment["OWNERSHIP_TEST_FAILPOINT"] = failpoint
        return WorkerProcess(environment, port)

    def pages(self, **said: Any) -> "WorkerProcess":
        """The pages likewise, at an address of this machine."""
        port = kept_port()
        url = f"http://127.0.0.1:{port}"
        return WorkerProcess(self._environment(pages_port=port, pages_url=url, **said), port, "pages")

    def _environment(self, **said: Any) -> dict[str, str]:
        settings = {f"OWNERSHIP_{name.upper()}": str(value) for name, value in {**self._plain(), **said}.items()}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.src), **settings}

    def _plain(self) -> dict[str, Any]:
        """The settings as environment variables hold them: only those that differ from the defaults."""
        defaults = Settings()
        differing = {
            name: value
            for name in Settings.model_fields
            if (value := getattr(self.settings, name)) != getattr(defaults, name)
        }
        return {
            name: value.get_secret_value()
            if isinstance(value, SecretStr)
            else json.dumps(value)
            if isinstance(value, dict)
            else value
            for name, value in differing.items()
        }

    def records(self, topic: str) -> list[Message]:
        """Every committed record of a topic, in the order of its partitions and offsets.

        What is in a transaction is waited for: a commit returns before its markers are everywhere.
        """
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"{self.name}-judge",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        places = [TopicPartition(topic, partition, 0) for partition in range(topic_kit.partitions(self.admin, topic))]
        assert places, f"`{topic}` does not exist"
        asked = self.admin.list_offsets({place: OffsetSpec.latest() for place in places})
        left = {place.partition: answer.result(30).offset for place, answer in asked.items()}
        reader.assign(places)
        found, deadline = list[Message](), monotonic() + DEADLINE
        while left:
            assert monotonic() < deadline, f"`{topic}` cannot be read to its end"
            for message in reader.consume(5_000, timeout=READ_SECONDS):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    partition, offset = message.partition(), message.offset()
                    if offset >= left.get(partition, offset + 1):
                        del left[partition]
        reader.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))


class WorkerProcess(Watched):
    """One worker at work, or another command that serves. What it logs goes to a file: a full pipe would stop it."""

    def __init__(self, environment: Mapping[str, str], port: int, serving: str = "worker") -> None:
        self.port = port
        self._said: IO[str] = TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        command = [sys.executable, "-m", "ownership_stream", serving]
        self.process = subprocess.Popen(command, env=dict(environment), stdout=self._said, stderr=self._said)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = DEADLINE) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def said(self) -> str:
        """All that it logged so far."""
        # The process shares the file's position: reading by `seek` would have it write over its own lines.
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), size, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Ends it if it is still there."""
        self.process.kill()
        self.process.wait()
        self._said.close()
