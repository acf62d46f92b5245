"""What waits for a lane: batches, put together to one when the lane comes for them.

Each transaction has a price, whatever is in it; a lane that paid it for every small batch would fall behind a feed that
it could keep up with. Knows neither the lane nor who feeds it.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import chain

from ownership_stream.lane.contract import Batch


class Inbox:
    """Batches in their order; so many records, or so many bytes of them, are one batch and fill it."""

    def __init__(self, records: int, size: int) -> None:
        self._most_records = records
        self._most_bytes = size
        self._waiting: deque[Batch] = deque()
        self._came = asyncio.Event()
        self._records = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether enough waits for a batch as large as they may be."""
        return self._records >= self._most_records or self._bytes >= self._most_bytes

    def put(self, batch: Batch) -> None:
        """One more, however full it is: it was on its way already."""
        self._waiting.append(batch)
        self._count(batch, 1)
        self._came.set()

    async def take(self) -> Batch:
        """The first that wait and follow each other without a gap, as one batch; waits until there is one."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        parts = [self._waiting.popleft()]
        records, size = len(parts[0].records), parts[0].size
        while self._waiting and _follows(self._waiting[0], parts[-1]):
            records += len(self._waiting[0].records)
            size += self._waiting[0].size
            if records > self._most_records or size > self._most_bytes:
                break
            parts.append(self._waiting.popleft())
        whole = parts[0] if len(parts) == 1 else _joined(parts)
        self._count(whole, -1)
        return whole

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self._records = self._bytes = 0

    def _count(self, batch: Batch, times: int) -> None:
        self._records += times * len(batch.records)
        self._bytes += times * batch.size


def _follows(batch: Batch, before: Batch) -> bool:
    """Whether two of one flow may be one: a fault is nobody's part, and a gap must be seen by the lane."""
    same = batch.flow == before.flow and batch.begin == before.end
    return same and batch.fault is None and before.fault is None


def _joined(parts: Sequence[Batch]) -> Batch:
    records = list(chain.from_iterable(part.records for part in parts))
    return parts[0]._replace(end=parts[-1].end, records=records, size=sum(part.size for part in parts))
