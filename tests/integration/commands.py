"""An installation of the shipped worker on the real broker, and commands of ours run against it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from time import monotonic, sleep
from typing import Any

from confluent_kafka import Producer

from chaos.installation import Installation, WorkerProcess
from chaos.witness import await_settled

DEADLINE = 120.0
SRC = Path(__file__).parents[2] / "src"


def until(true: Callable[[], bool], what: str) -> None:
    """Returns when it holds."""
    deadline = monotonic() + DEADLINE
    while not true():
        assert monotonic() < deadline, f"{what} did not come within {DEADLINE:.0f} s"
        sleep(0.05)


def feed(site: Installation, events: Iterable[tuple[str, bytes, bytes]]) -> int:
    """Puts events on their source topics; how many."""
    producer = Producer({"bootstrap.servers": site.bootstrap, "enable.idempotence": True, "log_level": 0})
    number = 0
    for source, key, value in events:
        producer.produce(site.sources[source], value, key)
        number += 1
    assert 0 == producer.flush(60)
    return number


def put(site: Installation, topic: str, partition: int, *records: tuple[Any, Any, Sequence[tuple[str, bytes]]]) -> None:
    """Puts (key, value, headers) on a partition as anybody could."""
    producer = Producer({"bootstrap.servers": site.bootstrap, "log_level": 0})
    for key, value, headers in records:
        producer.produce(topic, value, key, partition, headers=list(headers))
    assert 0 == producer.flush(60)


@contextmanager
def working(site: Installation, **said: Any) -> Iterator[WorkerProcess]:
    """A worker that is ready, and ends well."""
    worker = site.worker(**said)
    try:
        worker.await_ready()
        yield worker
        worker.signal(SIGTERM)
        assert 0 == worker.wait(), worker.said()[-2000:]
    finally:
        worker.close()


def settled(site: Installation) -> None:
    """Returns when the workers have settled everything that is on their topics."""
    await_settled(site, seconds=DEADLINE)


def command(site: Installation, *arguments: str, **said: Any) -> tuple[int, str, str]:
    """A command of ours in a process of its own: exit code, stdout, stderr; `said` overrides settings."""
    words = {**site._plain(), **said}
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), "NO_COLOR": "1", "COLUMNS": "200"}
    environ |= {f"OWNERSHIP_{name.upper()}": str(value) for name, value in words.items()}
    done = subprocess.run(
        [sys.executable, "-m", "ownership_stream", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def shown(site: Installation, *arguments: str, **said: Any) -> tuple[int, Any]:
    """The same for programs: exit code, and what is printed as JSON."""
    code, out, err = command(site, "--output", "json", *arguments, **said)
    assert out, err
    return code, json.loads(out)
