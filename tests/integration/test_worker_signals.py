"""The shipped worker, told to stop before it has begun."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from socket import create_server, socket

import pytest

from matrices import PATIENT
from ownership_stream.errors import ExitCode

SRC = Path(__file__).parents[2] / "src"
DEADLINE = 60.0


@pytest.fixture
def silent() -> Iterator[socket]:
    """Takes connections, and says nothing: whoever checks its topics there waits."""
    with create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        yield server


@pytest.fixture
def starting(silent: socket) -> Iterator["subprocess.Popen[str]"]:
    """A worker that asks this broker."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SRC),
        "OWNERSHIP_BROKERS": "{}:{}".format(*silent.getsockname()),
        "OWNERSHIP_MATRIX_PATH": str(PATIENT),
        "OWNERSHIP_SOURCES_PATH": str(PATIENT.parent / "sources"),
    }
    command = [sys.executable, "-m", "ownership_stream", "worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        yield worker
        worker.kill()


def test_a_worker_told_to_stop_before_it_began_ends_at_once_and_well(
    silent: socket, starting: "subprocess.Popen[str]"
) -> None:
    """It waits in a call of the Kafka client then, which no handler of Python's interrupts: exit code 0, one line."""
    connection, _ = silent.accept()
    with connection:
        starting.send_signal(SIGTERM)
        _, said = starting.communicate(timeout=DEADLINE)
    assert ExitCode.OK == starting.returncode, said
    [line] = map(json.loads, said.splitlines())
    assert ("worker_stopped", "told to stop before it began") == (line["event"], line["detail"])
