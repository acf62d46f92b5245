"""Lines that repeat themselves: the first at once, then a summary, and nothing else swallowed."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import logging_kit
from ownership_stream.telemetry import get_logger
from ownership_stream.telemetry.repeats import WINDOW_SECONDS, Repeats


class Log:
    """Repeats on a clock of the test's own; `lines` is what was written."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[Mapping[str, Any]] = []
        self.called: list[tuple[float, Callable[[], None]]] = []
        self._repeats = Repeats(self.lines.append, clock=lambda: self.now, later=self._later)

    def say(self, detail: str, **fields: Any) -> None:
        """One line."""
        line = {"component": "aiokafka", "event": "library_line", "level": "error", "detail": detail, **fields}
        if self._repeats.admit(line):
            self.lines.append(line)

    def wait(self, seconds: float) -> None:
        """Lets time pass, and what was to be called then be called."""
        end = self.now + seconds
        while self.called and self.called[0][0] <= end:
            at, function = self.called.pop(0)
            self.now = max(self.now, at)
            function()
        self.now = end

    def details(self) -> list[str]:
        """What was said."""
        return [str(line["detail"]) for line in self.lines]

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self.called.append((self.now + seconds, function))


@pytest.fixture
def log() -> Log:
    """Nothing said yet."""
    return Log()


def test_the_first_line_is_written_at_once_and_its_repeats_are_summed_up(log: Log) -> None:
    """Lines that differ in numbers only say the same."""
    for number in range(38):
        log.say(f"cannot connect to node {number}")
    assert ["cannot connect to node 0"] == log.details()
    log.wait(WINDOW_SECONDS)
    assert ["cannot connect to node 0", "cannot connect to node 0 … repeated 37 times in 60 s"] == log.details()
    assert {"aiokafka", "library_line", "error"} <= set(log.lines[1].values())


def test_as_long_as_it_goes_on_there_is_one_summary_in_a_window(log: Log) -> None:
    """And once it has stopped for a window, the next is news again."""
    for _ in range(3):
        log.say("away")
        log.say("away")
        log.wait(WINDOW_SECONDS)
    assert ["away", "away … repeated 1 time in 60 s", *["away … repeated 2 times in 60 s"] * 2] == log.details()
    log.wait(WINDOW_SECONDS)
    assert [] == log.called
    log.say("away")
    assert "away" == log.details()[-1]


def test_lines_that_say_something_else_are_written(log: Log) -> None:
    """Another text, another level, another reason, another component."""
    log.say("away")
    log.say("refused")
    log.say("away", level="warning")
    log.say("away", reason="step")
    log.say("away", component="faust")
    assert 5 == len(log.lines)


def test_a_line_that_was_not_repeated_leaves_nothing_behind(log: Log) -> None:
    """No summary of nothing, no memory that grows."""
    log.say("away")
    log.wait(WINDOW_SECONDS)
    assert ["away"] == log.details()
    assert {} == log._repeats._windows


def test_a_long_line_is_quoted_in_part(log: Log) -> None:
    """A summary stays within the length of a line."""
    log.say("x" * 300)
    log.say("x" * 300)
    log.wait(WINDOW_SECONDS)
    assert len(log.details()[1]) < 300


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as text; logging is put back afterwards."""
    with logging_kit.logged("info", strict=False) as stream:
        yield stream


def said(stream: io.StringIO) -> list[tuple[str, str]]:
    """(event, detail) of the lines so far."""
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [(line["event"], line.get("detail", "")) for line in found]


def test_clients_are_summed_up_at_the_end_of_the_program_too(lines: io.StringIO) -> None:
    """Aiokafka's and librdkafka's lines, each by its own wording; what was counted is not lost."""
    kafka = logging.getLogger("ownership_stream.kafka")
    for number in range(5):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", number, "[Errno 111]")
        kafka.error("%s [%s] %s", "FAIL", f"rdkafka#producer-{number}", f"Connection refused (after {number} ms)")
        kafka.error("%s [%s] %s", "ERROR", f"rdkafka#producer-{number}", "1/1 brokers are down")
    assert 3 == len(said(lines))
    logging.getLogger().handlers[0].close()
    assert [
        ("library_line", "Unable connect to node with id 0: <str>"),
        ("note", "FAIL [rdkafka#producer-0] Connection refused (after 0 ms)"),
        ("note", "ERROR [rdkafka#producer-0] 1/1 brokers are down"),
    ] == said(lines)[:3]
    assert 3 == len([detail for _, detail in said(lines)[3:] if detail.endswith("… repeated 4 times in 0 s")])


def test_lanes_that_wait_for_the_same_say_it_once(lines: io.StringIO) -> None:
    """Which of them wait is what /readyz and the metrics say; what happens once is never dropped."""
    log = get_logger("lane")
    for partition in range(8):
        log.warning("lane_waiting", topic="t", partition=partition, detail="kafka: does not answer")
        log.info("lane_started", topic="t", partition=partition)
    events = [event for event, _ in said(lines)]
    assert (1, 8) == (events.count("lane_waiting"), events.count("lane_started"))


def test_a_line_logged_while_the_interpreter_ends_does_not_hold_it_up() -> None:
    """The event loop tells of a future nobody asked when it is collected, at the very end: no thread can start then."""
    script = """
import logging
from ownership_stream.telemetry import configure_logging
configure_logging()
class Late:
    def __del__(self, say=logging.getLogger("aiokafka").error):
        say("too late")
late = Late()
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True, check=False)
    assert (0, 1) == (done.returncode, done.stderr.count("too late")), done.stderr
