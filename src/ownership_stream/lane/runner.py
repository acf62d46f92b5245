"""The life of one lane in an event loop: it is started, fed batch by batch, waits, starts anew, and stops.

The lane's own work runs in a thread; here is only what happens between its calls. A runner knows neither Faust nor
Kafka: the transport hands batches in by `deliver` and is asked for them through `Feed`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from ownership_stream.errors import OwnershipError, UnavailableError
from ownership_stream.lane.commit import Lane
from ownership_stream.lane.contract import Batch, LaneBrokenError, LaneId, LaneRefusedError, Observer
from ownership_stream.lane.inbox import Inbox
from ownership_stream.lane.room import Room

_T = TypeVar("_T")

FATAL_IN_A_ROW: Final = 5
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
IDLE_SECONDS: Final = 5.0


class Feed(Protocol):
    """Where a lane's batches come from."""

    async def begin(self, topic: str, partition: int, offset: int) -> int:
        """Lets the batches flow from `offset`; returns the flow's number, which each of them carries."""
        ...

    def hold(self, topic: str, partition: int) -> None:
        """Stops handing over for now."""
        ...

    def release(self, topic: str, partition: int) -> None:
        """Goes on handing over."""
        ...

    def end(self, topic: str, partition: int) -> None:
        """Hands nothing more over."""
        ...


class LaneRunner:
    """Keeps one lane at work while its partition is ours.

    `room` is what all lanes of the process share for what they have at work, `inbox` where batches wait. `sleep` waits
    that many seconds. `run` ends only by `stop`, or with the error that must end the process.
    """

    def __init__(
        self,
        lane: Lane,
        feed: Feed,
        observer: Observer,
        *,
        room: Room,
        inbox: Inbox,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id: Final[LaneId] = lane.id
        self.reason = "starting"
        self._lane = lane
        self._feed = feed
        self._observer = observer
        self._sleep = sleep
        self._room = room
        self._inbox = inbox
        self._queued = 0
        self._held = False
        self._flow: int | None = None
        self._waits = False
        self._broken_in_a_row = 0
        self._busy: asyncio.Future[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the lane is caught up and lacks nothing; if not, `reason` says why, in words."""
        return not self.reason

    @property
    def queued(self) -> int:
        """Records handed over and not yet settled, the batch at work included: one that hangs is lag too."""
        return self._queued

    def start(self) -> "asyncio.Task[None]":
        """Begins the lane's life; the task ends by `stop`, or with the error that must end the process."""
        self._task = asyncio.create_task(self.run(), name=str(self.id))
        return self._task

    def deliver(self, batch: Batch) -> None:
        """Takes a batch from the transport; one of a former flow is dropped, since the flow of now brings it again."""
        if batch.flow != self._flow:
            return
        self._inbox.put(batch)
        self._queued += len(batch.records)
        if self._inbox.full and not self._held:
            self._held = True
            self._feed.hold(self.id.topic, self.id.partition)

    async def run(self) -> None:
        """Starts the lane, opens the flow, settles batch after batch."""
        await self._until_done(None)
        await self._open()
        while True:
            batch = await self._take()
            if batch is None:
                await self._until_done(self._lane.serve)
            elif batch.fault is not None:
                await self._reopen(batch.fault)
            elif batch.flow == self._flow:
                await self._until_done(partial(self._lane.process, batch), batch.size)
                self._queued -= len(batch.records)
            del batch  # while the lane waits for the next one, this one must not take memory

    async def stop(self, grace: float) -> None:
        """Ends the lane's life.

        A batch at work is settled if it can be within `grace` seconds; what waits is dropped, uncommitted, for the
        next holder.
        """
        self._flow = None
        self._lane.leave()
        self._feed.end(self.id.topic, self.id.partition)
        self._inbox.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._busy is not None and not self._busy.done():
            # Whatever becomes of it: an unsettled batch is the next holder's.
            self._busy.add_done_callback(_forget)
            await asyncio.wait({self._busy}, timeout=grace)
        self._lane.close()
        self._observer.stopped(self.id)

    async def _until_done(self, work: Callable[[], None] | None, size: int = 0) -> None:
        """Does it with a lane that has its standing (None: only starts the lane), however often it takes.

        `size` are the bytes that it has at work; while the lane waits for what is away they count for nothing.
        """
        pause = FIRST_WAIT
        while True:
            try:
                if not self._lane.standing:
                    await self._in_thread(self._lane.start)
                if work is not None:
                    await self._room.take(size)
                    await self._in_thread(work, size=size)
            except UnavailableError as error:
                self._wait_for(str(error))
            except LaneBrokenError as error:
                self._broken_in_a_row += 1
                if self._broken_in_a_row >= FATAL_IN_A_ROW:
                    raise LaneRefusedError(f"{error} ({FATAL_IN_A_ROW} times in a row)") from error
                # Whatever was waited for before, starting anew begins with a short pause.
                pause = FIRST_WAIT * 2 ** (self._broken_in_a_row - 1)
                self.reason = f"starting anew: {error}"
                self._observer.recreated(self.id, str(error))
            else:
                if self._waits:
                    self._waits = False
                    self._observer.recovered(self.id)
                self.reason = ""
                if work is not None:
                    self._broken_in_a_row = 0
                return
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_WAIT)

    async def _reopen(self, fault: str) -> None:
        """A fetch failed: the lane's own start checks say what it means, then the flow begins where it stands."""
        self._wait_for(fault)
        self._flow = None
        self._feed.end(self.id.topic, self.id.partition)
        self._inbox.clear()
        self._queued = 0
        self._lane.close()
        await self._sleep(FIRST_WAIT)
        await self._until_done(None)
        await self._open()

    async def _open(self) -> None:
        self._held = False
        self._flow = await self._feed.begin(self.id.topic, self.id.partition, self._lane.next)

    async def _take(self) -> Batch | None:
        """The next batch, or None after a while of idleness."""
        try:
            # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes together with the batch.
            async with asyncio.timeout(IDLE_SECONDS):
                batch = await self._inbox.take()
        except TimeoutError:
            return None
        if self._held and not self._inbox.full:
            self._held = False
            self._feed.release(self.id.topic, self.id.partition)
        return batch

    def _wait_for(self, reason: str) -> None:
        self._waits = True
        if reason != self.reason:
            self._observer.waiting(self.id, reason)
        self.reason = reason

    async def _in_thread(self, function: Callable[[], _T], *, size: int | None = None) -> _T:
        """The call's result; when it ended the room of `size` is given back.

        Cancelling leaves the thread at work: `stop` waits for it.
        """
        busy = self._busy = asyncio.ensure_future(asyncio.to_thread(function))
        if size is not None:
            busy.add_done_callback(lambda _: self._room.give(size))
        return await asyncio.shield(busy)


def _forget(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()


def blame(error: BaseException) -> str:
    """One line for an error that ends the process."""
    return str(error) if isinstance(error, OwnershipError) else f"internal error: {type(error).__name__}: {error}"
