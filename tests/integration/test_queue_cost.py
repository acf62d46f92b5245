"""What a page of the queue costs where twenty thousand cases are open: counted in what a real Redis is asked for."""

import shutil
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
import redis

from chaos.redis_server import RedisServer
from ownership_stream.steps import packed, unpack
from ownership_stream.store import RedisStore
from step_kit import DecideLane, row
from web_kit import RITA, Visitors, office_on, served

pytestmark = [pytest.mark.real_redis]
FEW, MANY = 10, 20_000
COUNTERS = ("total_commands_processed", "total_net_output_bytes")
PATHS = ["/?owner=", "/?owner=&late=yes", "/v1/conflicts", "/cases/case7", "/cases/case7/record"]


class Cost(NamedTuple):
    """What Redis did for some pages."""

    commands: int
    sent: int
    """Bytes."""


def open_cases(number: int) -> DecideLane:
    """One record with a case each, every one with a deadline of its own."""
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"care_stage": "nurture"}, "growth_ops", op="c"))
    state, due = lane.state("r"), lane.due("r")
    [(name, case)] = state.cases.items()
    lane.stored.clear()
    for one in range(number):
        own = msgspec.structs.replace(case, id=f"case{one}", due=due + one)
        stored = packed(msgspec.structs.replace(state, cases={name: own}), due + one)
        lane.stored[f"r{one}"] = stored
    assert unpack(lane.stored["r0"]) is not None
    return lane


@pytest.fixture(scope="module")
def asked() -> Iterator[dict[int, tuple[Visitors, "redis.Redis"]]]:
    """The pages over a short queue and over a long one, each with a Redis of its own."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs a redis-server on the PATH")
    with RedisServer() as short, RedisServer() as long:
        offices = {
            number: office_on(open_cases(number), RedisStore.from_url(server.url))
            for number, server in ((FEW, short), (MANY, long))
        }
        with served(offices[FEW]) as few, served(offices[MANY]) as many:
            yield {
                FEW: (few, redis.Redis.from_url(short.url)),
                MANY: (many, redis.Redis.from_url(long.url)),
            }


def cost(visit: Visitors, server: "redis.Redis", path: str) -> Cost:
    """Of one page, by Redis' own counters; asking for these costs the same both times."""
    assert 200 == visit(RITA).get("/?owner=").status
    before = server.info("stats")
    assert 200 == visit(RITA).get(path).status
    after = server.info("stats")
    return Cost(
        *(int(after[name]) - int(before[name]) for name in ("total_commands_processed", "total_net_output_bytes"))
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_twenty_thousand_cases_costs_at_most_three_times_one_of_ten(
    asked: dict[int, tuple[Visitors, "redis.Redis"]], path: str
) -> None:
    """In commands and in bytes that Redis sends: states that are read are states that are decoded and shown."""
    few, many = (cost(*asked[number], path) for number in (FEW, MANY))
    assert few.commands > 1, "nothing was counted"
    assert many.commands <= 3 * few.commands
    assert many.sent <= 3 * few.sent
