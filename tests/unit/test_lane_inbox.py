"""What waits for a lane comes to it as one batch, as large as one may be, and never over a gap."""

import asyncio

from ownership_stream.lane import Batch
from ownership_stream.lane.inbox import Inbox


def batch(begin: int, end: int, *, flow: int = 1, size: int = 1, fault: str | None = None) -> Batch:
    """A batch with a record at each offset, of `size` bytes altogether."""
    return Batch("ownership.changes", 0, begin, end, list(range(begin, end)), flow, fault, size)


def taken(inbox: Inbox, number: int) -> list[Batch]:
    """So many, taken from it."""

    async def take() -> list[Batch]:
        async with asyncio.timeout(10):
            return [await inbox.take() for _ in range(number)]

    return asyncio.run(take())


def filled(*batches: Batch, records: int = 100, size: int = 100) -> Inbox:
    """An inbox with these."""
    inbox = Inbox(records, size)
    for one in batches:
        inbox.put(one)
    return inbox


def test_what_waits_is_one_batch() -> None:
    """From the first one's begin to the last one's end, with the records and the bytes of all."""
    inbox = filled(batch(3, 5), batch(5, 6), batch(6, 9))
    assert [batch(3, 9, size=3)] == taken(inbox, 1)


def test_a_gap_a_fault_and_another_flow_are_never_joined() -> None:
    """A lane must see each of them: it compares where a batch begins with where it stands."""
    apart = [batch(0, 2), batch(3, 4), batch(4, 4, fault="kafka: away"), batch(4, 5), batch(5, 6, flow=2)]
    assert apart == taken(filled(*apart), 5)


def test_a_batch_is_as_large_as_one_may_be_and_no_larger() -> None:
    """In records and in bytes; what is larger by itself comes by itself."""
    many = filled(batch(0, 2), batch(2, 4), batch(4, 6), records=5)
    assert [batch(0, 4, size=2), batch(4, 6)] == taken(many, 2)
    heavy = filled(batch(0, 1, size=60), batch(1, 2, size=60), batch(2, 3, size=300), size=100)
    assert [batch(0, 1, size=60), batch(1, 2, size=60), batch(2, 3, size=300)] == taken(heavy, 3)


def test_an_inbox_is_full_when_a_whole_batch_waits() -> None:
    """By records or by bytes, and no longer when it was taken or thrown away."""
    inbox = filled(batch(0, 4), records=5)
    assert not inbox.full
    inbox.put(batch(4, 5))
    assert inbox.full
    taken(inbox, 1)
    assert not inbox.full
    inbox.put(batch(5, 6, size=100))
    assert inbox.full
    inbox.clear()
    assert not inbox.full


def test_a_lane_waits_until_something_comes() -> None:
    """Also after it had taken something, and after all was thrown away."""

    async def story() -> None:
        inbox = filled(batch(0, 1))
        assert batch(0, 1) == await inbox.take()
        inbox.put(batch(1, 2))
        inbox.clear()
        waiting = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        inbox.put(batch(1, 2))
        assert batch(1, 2) == await waiting

    asyncio.run(story())
