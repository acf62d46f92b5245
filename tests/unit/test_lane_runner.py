"""The life of a lane in an event loop: fed, held, waiting, started anew, stopped."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lane_kit import Notes
from ownership_stream.errors import UnavailableError
from ownership_stream.lane import Batch, LaneBrokenError, LaneId, LaneRefusedError, LaneRunner
from ownership_stream.lane import runner as runner_module
from ownership_stream.lane.inbox import Inbox
from ownership_stream.lane.room import Room
from ownership_stream.lane.runner import blame

TP = ("ownership.changes", 0)


class FakeLane:
    """A lane whose calls raise what is ordered, and that writes down what it settled."""

    id = LaneId("decide", *TP)

    def __init__(self) -> None:
        self.standing = False
        self.next = 0
        self.settled: list[int] = []
        self.faults: list[Exception | None] = []
        self.start_faults: list[Exception] = []
        self.starts = 0
        self.served = 0
        self.serve_faults: list[Exception] = []
        self.left = False
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def start(self) -> int:
        """Starts, or raises what is ordered."""
        self.starts += 1
        if self.start_faults:
            raise self.start_faults.pop(0)
        self.standing = True
        return self.next

    def process(self, batch: Batch) -> None:
        """Settles when the gate is open, or raises what is ordered."""
        self.inside.set()
        assert self.gate.wait(10)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            self.standing = not isinstance(fault, LaneBrokenError)
            raise fault
        self.settled.extend(range(batch.begin, batch.end))
        self.next = batch.end

    def leave(self) -> None:
        """Written down."""
        self.left = True

    def serve(self) -> None:
        """Counts, or raises what is ordered."""
        if self.serve_faults:
            self.standing = False
            raise self.serve_faults.pop(0)
        self.served += 1

    def close(self) -> None:
        """Gives the standing up."""
        self.standing = False


class FakeFeed:
    """A feed that numbers its flows and writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.flow = 0
        self.began = asyncio.Event()

    async def begin(self, topic: str, partition: int, offset: int) -> int:
        """Numbers the flow."""
        assert TP == (topic, partition)
        self.flow += 1
        self.asked.append(("begin", offset))
        self.began.set()
        return self.flow

    def hold(self, *_: object) -> None:
        """Written down."""
        self.asked.append("hold")

    def release(self, *_: object) -> None:
        """Written down."""
        self.asked.append("release")

    def end(self, *_: object) -> None:
        """Written down."""
        self.asked.append("end")


class Life:
    """A runner with its fakes."""

    def __init__(self) -> None:
        self.lane, self.feed, self.notes = FakeLane(), FakeFeed(), Notes()
        self.slept: list[float] = []
        lane: Any = self.lane
        self.room = Room(100, patience=3_600)
        self.runner = LaneRunner(lane, self.feed, self.notes, room=self.room, inbox=Inbox(2, 1_000), sleep=self.sleep)
        self.task: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Writes the pause down, and waits for nothing."""
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def begin(self) -> None:
        """Returns when the lane is started and the flow is open."""
        self.task = self.runner.start()
        await self.feed.began.wait()
        await self.until(lambda: self.runner._flow is not None)

    def deliver(self, begin: int, flow: int | None = None, fault: str | None = None, size: int = 0) -> None:
        """Hands over a batch of one record, of so many bytes."""
        number = self.feed.flow if flow is None else flow
        self.runner.deliver(Batch(*TP, begin, begin + 1, ["record"], number, fault, size))

    async def until(self, true: Callable[[], bool]) -> None:
        """Returns when it holds."""
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110  # as a thread of the lane makes it true
                await asyncio.sleep(0.001)


def live(story: Callable[[Life], Coroutine[Any, Any, None]]) -> Life:
    """Tells one story of a runner, and stops it in the end."""

    async def tell() -> Life:
        life = Life()
        try:
            await story(life)
        finally:
            life.lane.gate.set()
            await life.runner.stop(1.0)
        return life

    return asyncio.run(tell())


def test_a_lane_is_started_then_fed_from_where_it_stands() -> None:
    """The flow begins only when the lane is caught up."""

    async def story(life: Life) -> None:
        life.lane.next = 7
        assert "starting" == life.runner.reason
        await life.begin()
        assert life.runner.ready
        life.deliver(7)
        life.deliver(8)
        await life.until(lambda: [7, 8] == life.lane.settled)

    assert ("begin", 7) == live(story).feed.asked[0]


def test_batches_of_a_former_flow_are_dropped() -> None:
    """The flow of now brings their records again, from where the lane stands."""

    async def story(life: Life) -> None:
        await life.begin()
        life.deliver(0, flow=0)
        life.deliver(0)
        await life.until(lambda: [0] == life.lane.settled)

    live(story)


def test_a_full_inbox_holds_the_feed_and_an_empty_one_releases_it() -> None:
    """The queue of a slow lane is bounded; other lanes are not asked."""

    async def story(life: Life) -> None:
        life.lane.gate.clear()
        await life.begin()
        life.deliver(0)
        await life.until(life.lane.inside.is_set)
        for begin in (1, 2, 3):
            life.deliver(begin)
        assert 4 == life.runner.queued  # the one at work too: if it hangs, that is lag
        assert 1 == life.feed.asked.count("hold")
        life.lane.gate.set()
        await life.until(lambda: [0, 1, 2, 3] == life.lane.settled and 0 == life.runner.queued)

    assert 1 == live(story).feed.asked.count("release")


def test_one_heavy_batch_fills_an_inbox_too() -> None:
    """It is bounded in bytes as well, and released when the heavy one is taken out."""

    async def story(life: Life) -> None:
        life.lane.gate.clear()
        await life.begin()
        life.deliver(0)
        await life.until(life.lane.inside.is_set)
        life.deliver(1, size=1_000)
        assert 1 == life.feed.asked.count("hold")
        life.lane.gate.set()
        await life.until(lambda: [0, 1] == life.lane.settled)

    assert 1 == live(story).feed.asked.count("release")


def test_a_batch_waits_for_room_and_gives_it_back() -> None:
    """Others have all of it first; a batch that has to be run again holds none while it waits."""

    async def story(life: Life) -> None:
        await life.room.take(100)
        await life.begin()
        life.lane.faults.append(UnavailableError("redis: away"))
        life.deliver(0, size=60)
        await life.until(lambda: life.room.used == 100 and not life.runner._inbox.full and life.runner.queued == 1)
        assert not life.lane.inside.is_set()
        life.room.give(100)
        await life.until(lambda: [0] == life.lane.settled and 0 == life.room.used)

    live(story)


def test_a_stopped_lane_gives_its_room_back_when_its_thread_ends() -> None:
    """Until then what it has at work takes memory."""

    async def story(life: Life) -> None:
        life.lane.gate.clear()
        await life.begin()
        life.deliver(0, size=60)
        await life.until(life.lane.inside.is_set)
        await life.runner.stop(0.0)
        assert 60 == life.room.used
        life.lane.gate.set()
        await life.until(lambda: 0 == life.room.used)

    live(story)


def test_a_lane_waits_while_something_is_away_and_says_so() -> None:
    """The pauses grow; the same batch is settled in the end; the reason is told once."""

    async def story(life: Life) -> None:
        away = UnavailableError("redis: away")
        await life.begin()
        life.lane.faults = [away] * 3
        life.lane.gate.clear()
        life.deliver(0)
        life.lane.gate.set()
        await life.until(lambda: [0] == life.lane.settled)

    life = live(story)
    assert [0.1, 0.2, 0.4] == life.slept
    assert [("redis: away",)] == life.notes.named("waiting")
    assert 1 == life.lane.starts


def test_a_lane_without_work_is_no_longer_waiting_once_what_was_away_is_back() -> None:
    """It has no batch to commit, so it says so itself; a lane that never waited says nothing."""

    async def story(life: Life) -> None:
        life.lane.start_faults = [UnavailableError("kafka: away")] * 2
        await life.begin()
        life.deliver(0)
        await life.until(lambda: [0] == life.lane.settled)

    life = live(story)
    assert [("kafka: away",)] == life.notes.named("waiting")
    assert [()] == life.notes.named("recovered")


def test_the_pauses_of_a_waiting_lane_are_bounded() -> None:
    """However long Kafka is away, its return is noticed within seconds."""

    async def story(life: Life) -> None:
        life.lane.start_faults = [UnavailableError("kafka: away")] * 9
        await life.begin()

    assert runner_module.LONGEST_WAIT == max(live(story).slept)


def test_a_broken_lane_is_started_anew_and_runs_the_same_batch() -> None:
    """Dropping the batch and going on would lose it."""

    async def story(life: Life) -> None:
        await life.begin()
        life.lane.faults = [LaneBrokenError("fenced")]
        life.deliver(0)
        life.deliver(1)
        await life.until(lambda: [0, 1] == life.lane.settled)

    life = live(story)
    assert 2 == life.lane.starts
    assert [("fenced",)] == life.notes.named("recreated")


def test_five_fatal_errors_in_a_row_end_the_process() -> None:
    """What does not heal by starting anew is a person's to look at."""

    async def story(life: Life) -> None:
        await life.begin()
        life.lane.faults = [LaneBrokenError("fenced")] * 5
        life.deliver(0)
        assert life.task is not None
        with pytest.raises(LaneRefusedError, match=r"fenced \(5 times in a row\)"):
            await life.task

    live(story)


def test_fatal_errors_that_heal_in_between_do_not_add_up() -> None:
    """Each settled batch begins the row again."""

    async def story(life: Life) -> None:
        await life.begin()
        life.lane.faults = [*[LaneBrokenError("fenced")] * 4, None, *[LaneBrokenError("fenced")] * 4]
        life.deliver(0)
        life.deliver(1)
        await life.until(lambda: [0, 1] == life.lane.settled)

    live(story)


def test_a_refusal_ends_the_runner_at_once() -> None:
    """Only a person can settle it, so it is not tried again."""

    async def story(life: Life) -> None:
        life.lane.start_faults = [LaneRefusedError("records are lost")]
        with pytest.raises(LaneRefusedError, match="records are lost"):
            await life.runner.start()

    assert 1 == live(story).lane.starts


def test_a_failed_fetch_makes_the_lane_start_anew_and_reopens_the_flow() -> None:
    """The start checks say what an offset out of range means; if nothing, the flow begins where the lane stands."""

    async def story(life: Life) -> None:
        await life.begin()
        life.deliver(0)
        await life.until(lambda: [0] == life.lane.settled)
        life.deliver(1, fault="kafka: fetch failed: OffsetOutOfRangeError")
        life.deliver(1)
        await life.until(lambda: ("begin", 1) in life.feed.asked)
        await life.until(lambda: life.runner._flow == life.feed.flow)
        life.deliver(1)
        await life.until(lambda: [0, 1] == life.lane.settled)

    life = live(story)
    assert [("kafka: fetch failed: OffsetOutOfRangeError",)] == life.notes.named("waiting")
    assert 2 == life.lane.starts


def test_an_idle_lane_is_served() -> None:
    """Its client's log lines are handed over even when nothing comes."""

    async def story(life: Life) -> None:
        await life.begin()
        await life.until(lambda: life.lane.served > 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_module, "IDLE_SECONDS", 0.001)
        live(story)


def test_an_idle_lane_whose_store_was_emptied_starts_anew() -> None:
    """Not only with its next batch, which may come in the morning: what is due at night is asked of the store."""

    async def story(life: Life) -> None:
        await life.begin()
        life.lane.serve_faults.append(LaneBrokenError("displaced"))
        await life.until(lambda: life.lane.served > 0 and 2 == life.lane.starts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner_module, "IDLE_SECONDS", 0.001)
        life = live(story)
    assert [("displaced",)] == life.notes.named("recreated")


def test_stopping_settles_what_is_at_work_and_drops_what_waits() -> None:
    """The next holder reads the rest again; nothing of it is committed."""

    async def story(life: Life) -> None:
        life.lane.gate.clear()
        await life.begin()
        life.deliver(0)
        await life.until(life.lane.inside.is_set)
        life.deliver(1)
        stopping = asyncio.create_task(life.runner.stop(5.0))
        await asyncio.sleep(0)
        life.lane.gate.set()
        await stopping

    life = live(story)
    assert [0] == life.lane.settled
    assert not life.lane.standing
    assert "end" in life.feed.asked


def test_stopping_ends_a_catch_up() -> None:
    """The lane is told before it is waited for."""

    async def story(life: Life) -> None:
        await life.begin()
        assert not life.lane.left
        await life.runner.stop(1.0)
        assert life.lane.left

    live(story)


def test_starting_anew_after_a_long_wait_begins_with_a_short_pause() -> None:
    """What was waited for is there again, and the lane is needed."""

    async def story(life: Life) -> None:
        await life.begin()
        life.lane.faults = [*[UnavailableError("redis: away")] * 9, *[LaneBrokenError("displaced")] * 2]
        life.deliver(0)
        await life.until(lambda: [0] == life.lane.settled)

    life = live(story)
    assert [runner_module.FIRST_WAIT, 2 * runner_module.FIRST_WAIT] == life.slept[-2:]
    assert runner_module.LONGEST_WAIT == life.slept[-3]


def test_stopping_does_not_wait_beyond_its_grace() -> None:
    """The session's time is limited, and the next holder fences what is still at work."""

    async def story(life: Life) -> None:
        life.lane.gate.clear()
        await life.begin()
        life.deliver(0)
        await life.until(life.lane.inside.is_set)
        await life.runner.stop(0.01)
        assert [] == life.lane.settled

    live(story)


def test_the_line_for_an_error_says_whose_fault_it_is() -> None:
    """An error of ours is its line; any other is internal, with its type."""
    assert "records are lost" == blame(LaneRefusedError("records are lost"))
    assert "internal error: KeyError: 'x'" == blame(KeyError("x"))


@pytest.mark.parametrize("ticks", range(4))
def test_stopping_at_the_moment_a_batch_arrives_still_stops(ticks: int) -> None:
    """A cancellation that meets a batch must not be forgotten, or the worker hangs at its end."""

    async def story(life: Life) -> None:
        await life.begin()
        for _ in range(10):
            await asyncio.sleep(0)
        life.deliver(0)
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(2):
            await life.runner.stop(1.0)

    live(story)
