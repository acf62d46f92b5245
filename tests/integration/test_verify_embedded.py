"""`verify` and `dead-letters` on the embedded stack, beside a worker at work."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import redis

from chaos.clinic import clinic
from integration.running import Running, running
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.identity import RESERVED
from ownership_stream.store import STATES_KEY


@pytest.fixture(scope="module")
def worker(embedded: Embedded) -> Iterator[Running]:
    """A worker that has settled a few edits, and one record that is none."""
    with running(embedded) as worker:
        for source, key, value in islice(clinic(5, patients=3), 40):
            worker.feed(source, key, value)
        worker.feed("ehr", b"k", b"\xff Zebedee")
        worker.until(lambda: worker.processed()["intake"] == worker.fed)
        worker.until(lambda: len(worker.records(worker.settings.topic_dead_letters)) > 0)
        changes = len(worker.records(worker.settings.topic_changes))
        worker.until(lambda: worker.processed()["decide"] >= changes)
        yield worker


def test_everything_stands_and_a_broken_state_in_redis_is_found(worker: Running, embedded: Embedded) -> None:
    """The mock broker isolates no transactions, so only a worker at rest can be verified on it."""
    found = worker.shown("verify", "--outputs")
    assert (0, 0) == (found["differences"], found["unverified"]), found
    assert sum(lane["changes"] for lane in found["lanes"] if lane["stage"] == "decide") >= 40
    client = redis.Redis.from_url(embedded.redis_url)
    key, record, kept = next(states(client, worker))
    client.hset(key, record, kept[:-1] + bytes([kept[-1] ^ 1]))
    code, out, _ = worker.command("verify")
    client.hset(key, record, kept)
    client.close()
    assert ExitCode.PROBLEMS == code
    assert "1 difference, first:" in out


def states(client: Any, worker: Running) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The records that Redis holds of the worker's lanes: key of the lane, name, state."""
    for key in client.scan_iter(f"{worker.settings.app_id}:*:{STATES_KEY}"):
        for name, state in client.hgetall(key).items():
            if not name.startswith(RESERVED.encode()):
                yield key, name, state


def test_a_dead_letter_goes_back_and_becomes_another(worker: Running) -> None:
    """By the worker at work; what was replayed is not replayed again."""
    [letter] = worker.shown("dead-letters", "list", "--open")["dead_letters"]
    fed = worker.processed()["intake"]
    [done] = worker.shown("dead-letters", "replay", letter["place"])["replayed"]
    assert not done["before"]
    worker.until(lambda: worker.processed()["intake"] == fed + 1)
    worker.until(lambda: [] != worker.shown("dead-letters", "list", "--open")["dead_letters"])
    [again] = worker.shown("dead-letters", "list", "--open")["dead_letters"]
    assert (letter["place"], "not_json") == (again["replay_of"], again["reason"])
    [done] = worker.shown("dead-letters", "replay", letter["place"])["replayed"]
    assert done["before"]
