"""What an operator sees of the shipped worker, as a process on a real Kafka and a real Redis."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from signal import SIGTERM
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from chaos.clinic import Event, clinic
from chaos.installation import DEADLINE, Installation, WorkerProcess
from chaos.witness import await_settled
from integration.brokers import TestBroker
from integration.commands import feed
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis, pytest.mark.slow]


@pytest.fixture
def site(stream: object, broker: TestBroker, embedded: Embedded) -> Installation:
    """An installation of the test's own; skipped by name where `stream` is."""
    return Installation(broker.bootstrap, embedded.redis_url, partitions=4, source_partitions=2)


@contextmanager
def working(site: Installation, **said: Any) -> Iterator[WorkerProcess]:
    """A worker that is ready, gone at the end."""
    one = site.worker(**said)
    try:
        one.await_ready()
        yield one
    finally:
        one.close()


def events(count: int) -> Iterator[Event]:
    """The first of a clinic's day."""
    return islice(clinic(seed=5), count)


def metric(one: WorkerProcess, name: str) -> dict[tuple[str, ...], float]:
    """A metric's values, by the values of its labels in the order of their names."""
    # The page has thousands of series, and most of the time goes into reading it.
    page = [line for line in one.get("/metrics")[1].splitlines(keepends=True) if f"ownership_{name}" in line]
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families("".join(page))
        for sample in family.samples
        if sample.name == f"ownership_{name}"
    }


def settled(one: WorkerProcess, events: int) -> bool:
    """Whether intake has settled so many events, and no lane has lag."""
    processed = metric(one, "records_processed_total")
    lag = metric(one, "lag_records")
    return events == sum(value for (_, stage, _), value in processed.items() if stage == "intake") and not any(
        lag.values()
    )


def test_an_idle_worker_has_no_lag_whatever_markers_follow(site: Installation) -> None:
    """Markers take offsets: those of committed transactions, and an aborted one with its records. None is lag."""
    changes = site.settings.topic_changes
    with working(site) as one:
        feed(site, events(300))
        one.until(lambda: settled(one, 300), "settled")
        last = [message.offset() or 0 for message in site.records(changes) if message.partition() == 0][-1]
        assert last + 1 < end_of(site, changes)  # a marker is the end

        aborted = Producer({"bootstrap.servers": site.bootstrap, "transactional.id": f"{site.name}-x", "log_level": 0})
        aborted.init_transactions(30)
        aborted.begin_transaction()
        aborted.produce(changes, b"never", b"r", 0)
        assert 0 == aborted.flush(30)
        aborted.abort_transaction(30)
        await_settled(site)  # what intake has settled, decide need not have begun
        one.until(lambda: settled(one, 300), "settled")
        for _ in range(10):  # longer than a round of the worker's measuring
            assert {0.0} == set(metric(one, "lag_records").values())
            assert {0.0} == set(metric(one, "lane_seconds_since_commit").values())
            sleep(0.1)
        assert {(): 1.0} == metric(one, "ready")


def test_a_lane_that_a_rival_fences_again_and_again_ends_the_worker(site: Installation) -> None:
    """Five fatal errors in a row: exit code 1, and stderr ends with one line that says which lane and why."""
    rival = Rival(site, f"{site.name}-intake-{site.sources['crm']}-0")
    with working(site) as one, rival:
        deadline = monotonic() + DEADLINE
        while one.running:
            assert monotonic() < deadline, one.said()[-3_000:]
            feed(site, events(500))
        assert ExitCode.FAILED == one.wait()
        said = one.said()
    *_, last = said.splitlines()
    assert last.startswith(f"error: intake {site.sources['crm']}[0]: ")
    assert last.endswith("(5 times in a row)")
    assert "Traceback" not in said


class Rival:
    """Takes a lane's transactional id over, again and again, as a worker of the same app on another cluster might.

    Several at a time: a batch that gets through between two of them would begin the count anew.
    """

    def __init__(self, site: Installation, name: str) -> None:
        self._client = {"bootstrap.servers": site.bootstrap, "transactional.id": name, "log_level": 0}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            with suppress(KafkaException):  # the worker took it back just then
                Producer(self._client).init_transactions(10)


def test_a_second_signal_ends_a_worker_that_is_stopping_at_once(site: Installation) -> None:
    """The first lets it settle what is at work, which Redis holds up here; /readyz says so meanwhile."""
    with Embedded() as own:
        said = {"redis_url": own.redis_url, "redis_timeout_seconds": 60}
        with working(site, **said) as one, redis.Redis.from_url(own.redis_url) as client:
            client.client_pause(60_000)
            feed(site, events(300))
            one.until(lambda: any(metric(one, "lag_records").values()), "lag")
            one.signal(SIGTERM)
            one.until(lambda: (503, "stopping\n") == one.get("/readyz"), "stopping")
            assert one.running
            one.signal(SIGTERM)
            assert ExitCode.INTERRUPTED == one.wait(10)


def end_of(site: Installation, topic: str) -> int:
    """The offset after the last of partition 0, markers included."""
    reader = Consumer({"bootstrap.servers": site.bootstrap, "group.id": f"{site.name}-end", "log_level": 0})
    try:
        return int(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])
    finally:
        reader.close()
