"""The queue as people see it, after its view in Redis was dropped in the middle of the load: what the states say."""

import threading
from itertools import islice

import pytest
import redis

from chaos.clinic import clinic
from chaos.installation import Installation
from integration.brokers import TestBroker
from integration.commands import feed, settled, until, working
from ownership_stream.desk import Office
from ownership_stream.embedded import Embedded
from ownership_stream.looking import look_by
from ownership_stream.queue import Open
from ownership_stream.steps import unpack
from ownership_stream.store import DUE_KEY, STATES_KEY
from source_kit import MATRIX

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis, pytest.mark.slow]
EVENTS, PIECES = 600, 6


@pytest.fixture
def site(stream: object, broker: TestBroker, embedded: Embedded) -> Installation:
    """An installation of the test's own; skipped by name where `stream` is."""
    return Installation(broker.bootstrap, embedded.redis_url, partitions=4, source_partitions=2)


def queue(site: Installation) -> list[tuple[int, str, str, str]]:
    """The open cases in the order of the view: due, id, record, owner."""
    with look_by(site.settings) as (looker, broker):
        return [told(one) for one in Office(site.settings, MATRIX, looker, broker).in_order()]


def told(one: Open) -> tuple[int, str, str, str]:
    """What is compared of a case."""
    return one.case.due, one.case.id, one.record, one.case.owner


def kept(site: Installation) -> list[tuple[int, str, str, str]]:
    """The open cases of the last state of each record on the changelog: the truth, read without Redis."""
    last: dict[str, bytes] = {}
    for message in site.records(site.settings.topic_state):
        record = (message.key() or b"").decode()
        if not record.startswith("__"):
            last[record] = message.value() or b""
    states = {record: unpack(stored) for record, stored in last.items() if stored}
    return sorted(
        told(Open(record, state, case)) for record, state in states.items() if state for case in state.cases.values()
    )


def dropped(site: Installation, client: "redis.Redis", word: str) -> int:
    """Drops what Redis holds of this installation under keys of that name; how many keys."""
    return sum(client.delete(key) for key in client.keys(f"{site.name}:*{word}"))


@pytest.mark.parametrize("words", [[STATES_KEY, DUE_KEY], [DUE_KEY]], ids=["all", "the order alone"])
def test_a_queue_that_is_dropped_under_load_is_again_what_the_states_say(site: Installation, words: list[str]) -> None:
    """Dropped twice while a worker decides, and while somebody goes on looking, who sees no error."""
    seen, ended = list[int](), threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(len(queue(site)))

    looking = threading.Thread(target=look)
    events = clinic(seed=11)
    with working(site), redis.Redis.from_url(site.redis_url) as client:
        feed(site, islice(events, EVENTS // PIECES))
        until(lambda: queue(site), "an open case")
        looking.start()
        try:
            for piece in range(1, PIECES):
                feed(site, islice(events, EVENTS // PIECES))
                if piece in (1, 3):
                    until(lambda: all(dropped(site, client, word) for word in words), "something to drop")
            settled(site)
        finally:
            ended.set()
            looking.join()
        truth = kept(site)
        assert len(truth) > 5
        # A lane saves in Redis what it has committed already.
        until(lambda: truth == queue(site), "the queue that the states say")
        assert len(seen) > 1


def test_a_case_that_the_view_lost_would_be_seen(site: Installation) -> None:
    """The comparison itself: one record less in the order is a difference."""
    with working(site), redis.Redis.from_url(site.redis_url) as client:
        feed(site, islice(clinic(seed=11), EVENTS // PIECES))
        settled(site)
        [first, *_] = kept(site)
        for key in client.keys(f"{site.name}:*{DUE_KEY}"):
            client.zrem(key, first[2])
        assert kept(site) != queue(site)
