"""The image's worker on a real Kafka and Redis: its files, user and rights (image_kit), its command as process 1."""

import os
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryFile
from typing import Any

import pytest

from chaos.clinic import clinic
from chaos.installation import Installation, WorkerProcess
from chaos.witness import await_settled
from image_kit import Room, image, room_is_possible
from integration.brokers import TestBroker
from integration.commands import feed
from integration.kafka_process import kept_port
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis]

IN_THE_IMAGE = {"matrix_path", "sources_path"}
"""Settings that the image's own files answer for."""


class ImageWorker(WorkerProcess):
    """What a container of the image runs by itself: the Dockerfile's command, in a room of its own."""

    def __init__(self, room: Room, settings: dict[str, Any]) -> None:
        self.port = kept_port()
        said = settings | {"http_host": "127.0.0.1", "http_port": self.port}
        variables = {f"OWNERSHIP_{name.upper()}": str(value) for name, value in said.items()}
        command = room.command(*image().command, variables=variables)
        self._said = TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        self.process = subprocess.Popen(command, stdout=self._said, stderr=self._said)

    def signal(self, number: int) -> None:
        """To the worker itself, as a container engine does: the process started here only waits for it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)


@pytest.fixture
def site(stream: object, broker: TestBroker, embedded: Embedded) -> Installation:
    """An installation of the test's own; skipped by name where `stream` is."""
    return Installation(broker.bootstrap, embedded.redis_url, partitions=2, source_partitions=1)


@pytest.fixture
def worker(site: Installation, tmp_path: Path) -> Iterator[ImageWorker]:
    """The image's worker for this installation, by its variables alone."""
    if reason := room_is_possible():
        pytest.skip(f"needs a room of its own: {reason}")
    one = ImageWorker(
        Room(tmp_path), {name: value for name, value in site._plain().items() if name not in IN_THE_IMAGE}
    )
    yield one
    one.close()


def test_the_image_works_as_nobody_on_a_read_only_root_and_stops_when_told(
    site: Installation, worker: ImageWorker
) -> None:
    """Changes of both systems are decided and settled by the image's matrix; SIGTERM to process 1 ends it with 0."""
    feed(site, islice(clinic(seed=5), 60))
    worker.await_ready()
    await_settled(site)

    states = site.records(site.settings.topic_state)
    worker.signal(SIGTERM)

    assert states
    assert ExitCode.OK == worker.wait(), worker.said()[-2000:]
    assert "worker_stopped" in worker.said()
