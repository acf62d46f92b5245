"""Whole workers, in processes of their own, on a real Kafka and a real Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest
from confluent_kafka import TopicPartition

from integration.streams import Script, Stream, exactly_once
from integration.watched import Watched

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis]
VALUES = [b"%d" % number for number in range(2_000)]


class WorkerProcess(Watched):
    """A worker and its HTTP port."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.process = script.process
        self.port = int(script.line() or 0)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def said(self) -> str:
        """What it said on stderr so far."""
        return self._script.said()

    def end(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what it said."""
        self.process.send_signal(SIGTERM)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """The exit code and what it said, once it has ended by itself."""
        code, _, err = self._script.ended()
        return code, err


@contextmanager
def worker(stream: Stream) -> Iterator[WorkerProcess]:
    """A worker on the stream, gone at the end."""
    script = stream.process("worker_process.py")
    try:
        yield WorkerProcess(script)
    finally:
        script.close()


def test_a_worker_says_when_it_is_ready_and_ends_in_good_order(stream: Stream) -> None:
    """SIGTERM settles what is at work, and the exit code is 0."""
    stream.feed(VALUES)
    with worker(stream) as one:
        one.await_ready()
        assert (200, "alive\n") == one.get("/healthz")
        assert 200 == one.get("/metrics")[0]
        assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))
        code, err = one.end()
    assert 0 == code, err


def test_a_worker_killed_under_load_loses_and_repeats_nothing(stream: Stream) -> None:
    """`kill -9` in the middle; another takes over its lanes when the session is over."""
    with worker(stream) as first:
        first.await_ready()
        stream.feed(VALUES)
        stream.await_outputs(200)
        first.process.send_signal(SIGKILL)
        first.process.wait()
        with worker(stream):
            assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_lanes_that_move_under_load_lose_and_repeat_nothing(stream: Stream) -> None:
    """A second worker joins, then leaves; both moves rebalance every lane."""
    with worker(stream) as first:
        first.await_ready()
        stream.feed(VALUES[:1_000])
        with worker(stream) as second:
            second.await_ready()
            stream.feed(VALUES[1_000:])
            code, err = second.end()
            assert 0 == code, err
        assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_a_worker_paused_beyond_its_session_is_fenced(stream: Stream) -> None:
    """It wakes up as a zombie, with batches in its hands that another has settled."""
    with worker(stream) as first:
        first.await_ready()
        stream.feed(VALUES[:1_000])
        stream.await_outputs(100)
        first.process.send_signal(SIGSTOP)
        with worker(stream) as second:
            second.await_ready()
            stream.feed(VALUES[1_000:])
            stream.await_outputs(1_200)
            first.process.send_signal(SIGCONT)
            assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))
            assert second.process.poll() is None


def test_a_worker_whose_input_was_deleted_unread_ends_with_one_line(stream: Stream) -> None:
    """Exit code 1, and the line says what was lost and what to do."""
    stream.feed(VALUES[:100])
    with worker(stream) as first:
        first.await_ready()
        stream.await_outputs(100)
        first.end()
    stream.feed(VALUES[100:200])
    _, end = stream.read(stream.changes)
    deleted = stream.admin.delete_records([TopicPartition(stream.changes, 0, end)])
    next(iter(deleted.values())).result(10)
    with worker(stream) as second:
        code, err = second.ended()
    assert 1 == code, err
    [line] = [line for line in err.splitlines() if line.startswith("ended: ")]
    assert "were deleted before they were read (retention too short?)" in line


def test_redis_flushed_under_load_loses_and_repeats_nothing(stream: Stream) -> None:
    """Each lane finds out at its next batch and catches up from the changelog."""
    with worker(stream) as one:
        one.await_ready()
        stream.feed(VALUES[:1_000])
        stream.await_outputs(300)
        with stream.store()._client as client:
            client.flushall()
        stream.feed(VALUES[1_000:])
        assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))
