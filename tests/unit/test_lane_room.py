"""Room for what lanes have at work: bounded, in order, and nobody stands still."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ownership_stream.lane.room import Room

FOR_EVER = 3_600.0


def run(case: Coroutine[Any, Any, None]) -> None:
    """Runs one case; nothing in it may take long."""

    async def soon() -> None:
        async with asyncio.timeout(10):
            await case

    asyncio.run(soon())


async def settled() -> None:
    """Everybody had their turn."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_is_at_work_than_there_is_room_for() -> None:
    """The third waits until there is room, and comes before the smaller fourth."""

    async def case() -> None:
        room, order = Room(10, patience=FOR_EVER), list[str]()

        async def work(name: str, size: int) -> None:
            await room.take(size)
            order.append(name)

        workers = [asyncio.create_task(work(*one)) for one in (("a", 4), ("b", 4), ("c", 4), ("d", 1))]
        await settled()
        assert (["a", "b"], 8) == (order, room.used)
        room.give(4)
        await settled()
        assert (["a", "b", "c", "d"], 9) == (order, room.used)
        await asyncio.gather(*workers)

    run(case())


def test_what_is_larger_than_all_of_it_goes_alone() -> None:
    """It waits for all others, the next waits for it, and nobody for ever."""

    async def case() -> None:
        room = Room(10, patience=FOR_EVER)
        await room.take(1)
        large = asyncio.create_task(room.take(50))
        small = asyncio.create_task(room.take(1))
        await settled()
        assert not large.done()
        room.give(1)
        await settled()
        assert large.done()
        assert not small.done()
        room.give(50)
        await small
        assert 1 == room.used

    run(case())


def test_who_waits_too_long_goes_on_without_room() -> None:
    """What holds the room may be stuck with a broker that is away; what waited behind the late one comes too."""

    async def case() -> None:
        room = Room(10, patience=0.01)
        await room.take(10)
        await asyncio.gather(room.take(10), room.take(10))
        assert 30 == room.used
        for _ in range(3):
            room.give(10)
        assert 0 == room.used

    run(case())


@pytest.mark.parametrize("admitted", [False, True], ids=["while it waits", "as it is admitted"])
def test_who_is_cancelled_takes_no_room(admitted: bool) -> None:
    """Whoever waited behind it has the room then."""

    async def case() -> None:
        room = Room(10, patience=FOR_EVER)
        await room.take(10)
        leaving = asyncio.create_task(room.take(10))
        behind = asyncio.create_task(room.take(2))
        await settled()
        if admitted:
            room.give(10)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert leaving.cancelled()
        if not admitted:
            room.give(10)
        await behind
        assert 2 == room.used

    run(case())
