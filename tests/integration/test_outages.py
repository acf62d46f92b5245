"""What an operator sees of the shipped worker while Kafka or Redis is away, and of a stop during a catch-up."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from signal import SIGTERM
from time import sleep

import pytest
import redis
from confluent_kafka import Producer

from chaos.clinic import clinic
from chaos.cluster import Cluster, needs_java
from chaos.installation import Installation, WorkerProcess
from chaos.redis_server import RedisServer
from chaos.witness import await_settled, observe
from integration.commands import feed, until, working
from ownership_stream.errors import ExitCode
from ownership_stream.lane.contract import CONTROL_KEY
from ownership_stream.store import STATES_KEY

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis, pytest.mark.slow]
OUTAGE_SECONDS = 10.0
LINES = 30
"""What a worker with 28 lanes may write in an outage of that length; its clients alone say some 40 a second."""
STATES = 200_000
GRACE_SECONDS = 60


class Outage:
    """A worker that is ready and has worked, and what it says from then on."""

    def __init__(self, site: Installation, exits: ExitStack) -> None:
        self.site = site
        self.worker = exits.enter_context(working(site))
        self.events = clinic(seed=4)
        feed(site, islice(self.events, 100))
        await_settled(site)
        self._before = 0

    def lines(self) -> list[str]:
        """What it said since this was asked last."""
        said = self.worker.said().splitlines()
        new, self._before = said[self._before :], len(said)
        return new

    def seen(self, service: str) -> None:
        """It says what it waits for, and is alive all the same."""
        self.worker.until(lambda: self.worker.waits_for(service), f"/readyz says that {service} is away")
        assert (200, "alive\n") == self.worker.get("/healthz")

    def over(self) -> None:
        """It is ready by itself, and works."""
        self.worker.await_ready()
        feed(self.site, islice(self.events, 100))
        await_settled(self.site)


def test_an_outage_of_kafka_or_redis_makes_a_bounded_number_of_log_lines(servers: tuple[str, str]) -> None:
    """Each away for as long as an operator needs to look, under load where that can be; the rest is summed up later."""
    needs_java()
    bootstrap, redis_url = servers
    with ExitStack() as exits:
        cluster, server = exits.enter_context(Cluster(1)), exits.enter_context(RedisServer())
        without_kafka = Outage(Installation(cluster.bootstrap, redis_url), exits)
        without_redis = Outage(Installation(bootstrap, server.url), exits)
        for one in (without_kafka, without_redis):
            one.lines()
        [node] = cluster.nodes
        node.kill()
        server.kill()
        feed(without_redis.site, islice(without_redis.events, 300))
        without_kafka.seen("kafka")
        without_redis.seen("redis")
        sleep(OUTAGE_SECONDS)  # the length of the outage is what is tested here; nothing is waited for
        during = {"kafka": without_kafka.lines(), "redis": without_redis.lines()}
        without_kafka.seen("kafka")
        without_redis.seen("redis")
        node.start()
        server.start()
        without_redis.over()
        without_kafka.over()
    assert {"kafka": True, "redis": True} == {name: 1 <= len(lines) <= LINES for name, lines in during.items()}, during


@pytest.fixture
def flooded(servers: tuple[str, str]) -> Iterator[tuple[Installation, "redis.Redis"]]:
    """One lane of each stage, whose changelog holds more states than are caught up with at once; and its Redis."""
    site = Installation(*servers, partitions=1, source_partitions=1, said={"shutdown_grace_seconds": GRACE_SECONDS})
    client = {"bootstrap.servers": site.bootstrap, "enable.idempotence": True, "log_level": 0}
    producer = Producer({**client, "queue.buffering.max.messages": STATES})
    state = bytes(100)  # never due
    for number in range(STATES):
        producer.produce(site.settings.topic_state, state, b"n%06d" % number, 0)
    assert 0 == producer.flush(60)
    with redis.Redis.from_url(site.redis_url) as cache:
        yield site, cache


def test_a_worker_told_to_stop_while_it_catches_up_ends_well_and_the_next_one_goes_on(
    flooded: tuple[Installation, "redis.Redis"],
) -> None:
    """It does not finish the catch-up first; what it saved stands, and the next one begins where it ended."""
    site, client = flooded
    first = site.worker()
    try:
        until(lambda: saved(site, client) > 0 or not first.running, "a state that was caught up")
        first.signal(SIGTERM)
        assert ExitCode.OK == first.wait(GRACE_SECONDS / 2), first.said()[-3_000:]
        assert [] == caught_up(site, first)
        assert "Traceback" not in first.said()
    finally:
        first.close()
    before = saved(site, client)
    assert 0 < before < STATES

    with working(site) as second:
        feed(site, islice(clinic(seed=4), 100))
        await_settled(site)
        assert [STATES - before] == caught_up(site, second)
    witness, topic = observe(site), site.settings.topic_state
    newest = {(0, (record.key or b"").decode()): record.value for record in witness.records[topic]}
    del newest[0, CONTROL_KEY]
    assert newest == witness.cache[topic].states


def saved(site: Installation, client: "redis.Redis") -> int:
    """How many states Redis holds of the site, beside the lanes' positions."""
    keys = client.keys(f"{site.name}:*{STATES_KEY}")
    return sum(client.hlen(key) - 1 for key in keys)


def caught_up(site: Installation, worker: WorkerProcess) -> list[int]:
    """How many records the decide lane's catch-up read, once it was at its end."""
    lines = [json.loads(line) for line in worker.said().splitlines() if line.startswith("{")]
    topic = site.settings.topic_changes
    return [line["records"] for line in lines if line["event"] == "lane_caught_up" and line["topic"] == topic]
