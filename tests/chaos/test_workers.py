"""The shipped worker, as a process, on the real broker and Redis: killed at work, and nothing lost, twice or wrong."""

import shutil
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from time import monotonic, sleep

import pytest
from confluent_kafka import Message, Producer

from chaos.afar import from_afar
from chaos.apart import SideBySide
from chaos.clinic import clinic
from chaos.installation import DEADLINE, Installation, WorkerProcess
from chaos.judge import compare_metrics, judge
from chaos.witness import Fed, await_settled, observe
from integration.brokers import TestBroker
from ownership_stream.embedded import Embedded

EVENTS = 1_500
Event = tuple[str, bytes, bytes]


@pytest.fixture
def site(broker: TestBroker, embedded: Embedded) -> Installation:
    """An installation of the test's own."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server: the mock broker isolates no transactions")
    said = {"session_timeout_seconds": 4.0}
    return Installation(broker.bootstrap, embedded.redis_url, partitions=4, source_partitions=2, said=said)


def feed(site: Installation, events: Sequence[Event]) -> list[Fed]:
    """Puts events on the source topics; what the broker acknowledged."""
    fed: list[Fed] = []

    def told(error: object, message: Message) -> None:
        assert error is None
        where = (message.topic() or "", message.partition(), message.offset())
        fed.append(Fed(*where, _bytes(message.key()), _bytes(message.value())))

    producer = Producer({"bootstrap.servers": site.bootstrap, "enable.idempotence": True, "log_level": 0})
    for source, key, value in events:
        producer.produce(site.sources[source], value, key, on_delivery=told)
    assert 0 == producer.flush(30)
    return fed


def _bytes(said: str | bytes | None) -> bytes | None:
    return said.encode() if isinstance(said, str) else said


def processed(worker: WorkerProcess) -> int:
    """The input records that a worker counts, of all stages."""
    page = worker.get("/metrics")[1].splitlines()
    return sum(int(float(line.split()[-1])) for line in page if line.startswith("ownership_records_processed_total{"))


def await_changes(site: Installation, number: int) -> None:
    """Until so many changes are committed."""
    deadline = monotonic() + DEADLINE
    while (there := len(site.records(site.settings.topic_changes))) < number:
        assert monotonic() < deadline, f"{there} of {number} changes"
        sleep(0.1)


@pytest.mark.real_broker
@pytest.mark.real_redis
def test_killed_workers_leave_nothing_lost_twice_or_wrong(site: Installation) -> None:
    """Two workers under load, one killed with -9 and replaced: every input is decided once."""
    events = list(islice(clinic(7), EVENTS))
    fed = feed(site, events[: EVENTS // 3])
    with ExitStack() as exits:
        workers = [site.worker(), site.worker()]
        for worker in workers:
            exits.callback(worker.close)
        # Both have lanes, so that the death of one leaves work to take over.
        for worker in workers:
            worker.await_ready()
        await_changes(site, 200)
        workers[0].signal(signal.SIGKILL)
        fed += feed(site, events[EVENTS // 3 :])
        workers.append(site.worker())
        exits.callback(workers[-1].close)
        await_settled(site)
        # All may be decided before the new worker has as much as begun.
        for worker in workers[1:]:
            worker.await_ready()
        scrapes = [worker.get("/metrics")[1] for worker in workers[1:]]
        for worker in workers[1:]:
            worker.signal(signal.SIGTERM)
        assert [0, 0] == [worker.wait() for worker in workers[1:]]
    witness = observe(site, fed)
    verdict = judge(witness, site.stages)
    assert verdict.ok, str(verdict)
    assert {"decided once": len(events)} == verdict.counts
    assert [] == compare_metrics(scrapes, witness, killed=True, counted=verdict.counted)
    assert 100 < len(witness.records[site.settings.topic_conflicts])


@pytest.mark.real_broker
@pytest.mark.real_redis
def test_undisturbed_the_metrics_are_the_records(site: Installation) -> None:
    """One worker, nobody kills it: each counter says what stands on the topics, and no more and no less."""
    fed = feed(site, list(islice(clinic(8), EVENTS // 3)))
    worker = site.worker()
    try:
        await_settled(site)
        inputs = (*site.sources.values(), site.settings.topic_changes, site.settings.topic_matches)
        expected = sum(len(site.records(topic)) for topic in inputs)
        # A batch is counted after it is committed and its states are saved.
        worker.until(lambda: processed(worker) >= expected, f"{expected} records are counted")
        scrapes = [worker.get("/metrics")[1]]
    finally:
        worker.close()
    witness = observe(site, fed)
    verdict = judge(witness, site.stages)
    assert verdict.ok, str(verdict)
    assert [] == compare_metrics(scrapes, witness, killed=False, counted=verdict.counted)
    account = from_afar(site, fed)
    with SideBySide(2, account, site.settings) as hands:
        apart = judge(account, site.stages, hands)
    assert str(verdict) == str(apart)
    assert [] == compare_metrics(scrapes, account, killed=False, counted=apart.counted, told=apart.tally)
