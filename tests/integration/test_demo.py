"""`ownership-stream demo`, as a user runs it: everything embedded, a fixed seed, a few seconds."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from ownership_stream.demo.plan import SEVEN

SECONDS = 12
LONGEST = 150
QUIET_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("OWNERSHIP_", "DEMO_"))}


def demo(*options: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "ownership_stream", *options]


def ended(*options: str) -> tuple[int, str]:
    """Exit code and stdout of a demo that ends by itself."""
    environment = {**QUIET_ENVIRONMENT, "DEMO_SECONDS": str(SECONDS), "NO_COLOR": "1"}
    done = subprocess.run(demo(*options), capture_output=True, text=True, timeout=LONGEST, env=environment, check=False)
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")


@pytest.fixture(scope="module")
def demos() -> Iterator[dict[str, "Future[tuple[int, str]]"]]:
    """What became of two demos that are shown at the same time, since each mostly waits."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            "json": pool.submit(ended, "--output", "json", "demo", "--seed", "7"),
            "plain": pool.submit(ended, "demo", "--seed", "7", "--fake-redis"),
        }


@pytest.fixture(scope="module")
def counted(demos: dict[str, "Future[tuple[int, str]]"]) -> dict[str, Any]:
    """The summary of one demo, as data."""
    code, told = demos["json"].result()
    assert 0 == code, told
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.mark.slow
def test_the_counts_of_a_demo_add_up(counted: dict[str, Any]) -> None:
    """Nothing sent is lost, nothing is decided twice, and no disagreement is silent."""
    assert [] == counted["mismatches"]
    assert counted["sent"] > 200
    assert counted["approved"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("field", SEVEN)
def test_each_of_the_seven_rows_shows_its_yes_and_its_no(counted: dict[str, Any], field: str) -> None:
    """Within the opening a person has seen an applied write and a refused one of every row."""
    attempts = counted["attempts"][field]
    assert attempts.get("applied", 0) >= 1
    assert attempts.get("rejected", 0) + attempts.get("queued", 0) >= 1


@pytest.mark.slow
def test_what_cannot_be_read_is_buried_and_the_stream_goes_on(counted: dict[str, Any]) -> None:
    """The opening sends bytes that are no record; what follows them is decided."""
    assert counted["unreadable"] >= 1
    assert 0 == counted["undecidable"]


@pytest.mark.slow
def test_a_demo_without_a_terminal_and_without_redis_prints_plain_lines(
    demos: dict[str, "Future[tuple[int, str]]"],
) -> None:
    """What is not checked here is named, the hints are exact, and the summary ends it; fakeredis does as well."""
    code, told = demos["plain"].result()
    assert 0 == code, told
    for part in (
        "not checked here: topic ids",
        "not checked here: eviction policy",
        "metrics: http://127.0.0.1:",
        "OWNERSHIP_SETTINGS=",
        "python -m ownership_stream explain '#",
        "write attempts:",
        "Patient legal name:",
        "the counts add up",
    ):
        assert part in told, part
    assert "\x1b[" not in told


@pytest.mark.slow
def test_ctrl_c_ends_a_demo_with_its_summary() -> None:
    """A demo without an end is ended by its user, in order and with exit code 0; meanwhile `explain` answers."""
    with subprocess.Popen(
        demo("demo", "--seed", "7"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUIET_ENVIRONMENT
    ) as running:
        assert running.stdout is not None
        environment, record = "", ""
        for line in running.stdout:
            if "OWNERSHIP_SETTINGS=" in line:
                environment = line.partition("OWNERSHIP_SETTINGS=")[2].split()[0]
            if " of #" in line and ": applied" in line:
                record = "#" + line.partition(" of #")[2].split()[0]
                break
        asked = subprocess.run(
            demo("explain", record),
            capture_output=True, text=True, timeout=60, check=False,
            env={**QUIET_ENVIRONMENT, "OWNERSHIP_SETTINGS": environment},
        )  # fmt: skip
        running.send_signal(signal.SIGINT)
        told, complaints = running.communicate(timeout=LONGEST)

    assert 0 == running.returncode, told + complaints
    assert "the counts add up" in told
    assert 0 == asked.returncode, asked.stderr
    assert "last decisions" in asked.stdout
