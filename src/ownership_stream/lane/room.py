"""Room for what lanes have at work: how many bytes of records all of a process may hold at once.

A batch at work takes many times its bytes: decoded, with its states, encoded again, and once more in the clients of
Kafka and Redis. Each lane bounds its own; this bounds all of them together. Knows neither lanes nor Kafka.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple

# What holds the room may be stuck with a broker that does not answer, and others must not wait for that.
PATIENCE_SECONDS: Final = 5.0


class _Waiting(NamedTuple):
    size: int
    admitted: "asyncio.Future[None]"


class Room:
    """So many bytes, given out in the order in which they were asked for. For one event loop."""

    def __init__(self, size: int, *, patience: float = PATIENCE_SECONDS) -> None:
        self._size = size
        self._patience = patience
        self._used = 0
        self._queue: deque[_Waiting] = deque()

    @property
    def used(self) -> int:
        """The bytes at work."""
        return self._used

    async def take(self, size: int) -> None:
        """Returns when there is room; what is larger than all of it goes alone.

        Whoever waited for as long as `patience` (seconds) goes on without: memory is bounded, and nobody stands still.
        Each `take` that returns needs its `give`.
        """
        if not self._queue and self._fits(size):
            self._used += size
            return
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            async with asyncio.timeout(self._patience):
                await waiting.admitted
        except TimeoutError:
            self._leave(waiting)
            self._used += size
            self._admit()
        except asyncio.CancelledError:
            self._leave(waiting)
            self._admit()
            raise

    def give(self, size: int) -> None:
        """What was taken is free again."""
        self._used -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._size

    def _admit(self) -> None:
        while self._queue and self._fits(self._queue[0].size):
            waiting = self._queue.popleft()
            if not waiting.admitted.done():
                self._used += waiting.size
                waiting.admitted.set_result(None)

    def _leave(self, waiting: _Waiting) -> None:
        """Gives up waiting; what was admitted in the same moment is given back."""
        if waiting in self._queue:
            self._queue.remove(waiting)
        elif waiting.admitted.done() and not waiting.admitted.cancelled():
            self._used -= waiting.size
