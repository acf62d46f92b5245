"""Brokers killed, stopped, unreachable, out of disk: nothing lost, twice or out of order, and work resumes by itself.

One installation on three nodes meets one fault after the other and is judged at the end; another, on a single node, has
all of Kafka go away. Every test injects for real: processes are signalled, files of a node may not grow, topics refuse.
"""

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from signal import SIGTERM
from time import monotonic

import pytest
from confluent_kafka import Message, Producer

from chaos import faults_broker
from chaos.cluster import Cluster, needs_java
from chaos.fault import REGISTRY
from chaos.faults_broker import ended, new_rows, open_transactions, progress, takes_at_most, wide_rows
from chaos.installation import Installation, WorkerProcess
from chaos.judge import judge
from chaos.marks import FAULTS
from chaos.run import Run
from chaos.witness import await_settled, observe
from integration.brokers import TestBroker
from ownership_stream.embedded import Embedded
from ownership_stream.topics import record_limit
from ownership_stream.wire.messages import ERRORS

pytestmark = FAULTS
SEED = 11
# What a machine may take on top of what the settings bound, still far from the client's default of a minute.
MARGIN_SECONDS = 30.0
# Room for every state that the load makes, and for some of them together; none for that of a row of 30 KB.
STATE_BYTES = 24_000
# The most that a worker may be resident with under any load, at the defaults of all settings.
WORKER_BYTES = 300 * 1024 * 1024


@pytest.fixture(scope="module")
def run_on_three() -> Iterator[Run]:
    """Two workers under load on three nodes.

    Eight partitions of two sources, and eight of each topic of ours: a transaction costs three nodes the most.
    """
    needs_java()
    with Cluster(3) as cluster, Run(cluster, SEED, source_partitions=4, replication=3, rate=60.0) as run:
        for worker in run.workers:
            run.await_ready(worker)
        yield run


@pytest.fixture
def three(run_on_three: Run) -> Iterator[Run]:
    """The same for one test: whatever it left behind is undone before the next one."""
    yield run_on_three
    run_on_three.lift()


@pytest.fixture(scope="module")
def minute(run_on_three: Run) -> Iterator["Future[None]"]:
    """A broker of the three is unreachable for a minute, which begins where a test first asks for this."""
    inject = REGISTRY["broker-unreachable"].inject
    with ThreadPoolExecutor(1, thread_name_prefix="minute") as pool:
        yield pool.submit(inject, run_on_three, random.Random(SEED))  # noqa: S311  # the dice of a test


@pytest.mark.parametrize(
    "name",
    [
        "broker-killed",
        "transaction-coordinator-moved",
        "group-coordinator-moved",
        "disk-full",
        "disks-full",
        "batches-too-large",
        "transaction-timed-out",
    ],
)
def test_work_goes_on_beside_a_fault_of_one_node_of_three(three: Run, name: str) -> None:
    """While it lasts more is decided, and afterwards every worker is ready by itself."""
    REGISTRY[name].inject(three, random.Random(SEED))  # noqa: S311  # the dice of a test


@pytest.mark.usefixtures("minute")
def test_all_of_kafka_away_is_waited_for() -> None:
    """On one node: not ready and why, alive, and back at work by itself; killed, and with one of its disks full.

    It stands on its own, and uses up the minute of the next test.
    """
    needs_java()
    with Cluster(1) as cluster, Run(cluster, SEED, first=1, partitions=4, rate=60.0) as run:
        for worker in run.workers:
            run.await_ready(worker)
        for name in ("broker-killed", "disk-full"):
            REGISTRY[name].inject(run, random.Random(SEED))  # noqa: S311  # as above
        verdict = run.finish()
    assert verdict.ok, str(verdict)


def test_work_goes_on_beside_a_broker_that_is_unreachable_for_a_minute(minute: "Future[None]") -> None:
    """Its connections stay open and silent for 60 s; then it comes back with what it believed before."""
    assert 60.0 == faults_broker.UNREACHABLE_SECONDS
    minute.result()


def test_a_worker_dead_within_a_transaction_blocks_no_reader_beyond_the_time_outs(three: Run) -> None:
    """Readers wait for the transaction or for the next holder, who ends it: for the sum of both time-outs at most."""
    settings = three.site.settings
    dead = three.start_worker(failpoint="decide:6-offsets:3")
    three.until(lambda: not dead.running, "killed within a transaction")
    died = monotonic()
    held = open_transactions(three)
    assert held
    bound = settings.session_timeout_seconds + settings.transaction_timeout_seconds + MARGIN_SECONDS
    three.until(lambda: ended(three, held), "readers can go on", bound - (monotonic() - died))
    progress(three)


def test_a_record_too_large_for_the_broker_is_a_dead_letter_by_itself(three: Run) -> None:
    """In the middle of good ones: the broker takes less than the settings say, and only the culprits are buried."""
    settings = three.site.settings
    three.on_lift(lambda: takes_at_most(three, settings.topic_state, record_limit(settings)))
    takes_at_most(three, settings.topic_state, STATE_BYTES)
    dice = random.Random(SEED)  # noqa: S311  # the dice of a test
    culprits = list(wide_rows(dice, 3))
    good = list(new_rows(dice, 20))
    for row in [*good[:10], *culprits, *good[10:]]:
        three.load.send(*row)
    three.until(lambda: len(buried_by_the_broker(three)) >= len(culprits), "the culprits are dead letters")
    takes_at_most(three, settings.topic_state, record_limit(settings))
    progress(three)
    dead = buried_by_the_broker(three)
    assert len(culprits) == len(dead)
    assert all(STATE_BYTES < len(record.value() or b"") for record in dead)


def buried_by_the_broker(run: Run) -> list[Message]:
    """The dead letters that say that the broker refused what was to be written."""
    records = run.site.records(run.site.settings.topic_dead_letters)
    return [record for record in records if dict(record.headers() or [])[f"{ERRORS}stage"] == b"decide: produce"]


def test_after_all_of_it_every_input_is_decided_once(three: Run) -> None:
    """The judge reads the topics, Redis and the offsets that the faults above have left."""
    verdict = three.finish()
    assert verdict.ok, str(verdict)
    assert 500 < verdict.counts["decided once"]


def test_rows_of_30_kb_by_the_thousand_are_decided_within_bounded_memory(
    broker: TestBroker, embedded: Embedded
) -> None:
    """A backlog of 45 MB is not taken in at once: what a worker holds is bounded by `work_max_bytes`, not by it."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server")
    site = Installation(broker.bootstrap, embedded.redis_url, source_partitions=2)
    fed = list(wide_rows(random.Random(SEED), 1_500))  # noqa: S311  # the dice of a test
    producer = Producer({"bootstrap.servers": site.bootstrap, "enable.idempotence": True, "log_level": 0})
    for source, key, value in fed:
        producer.produce(site.sources[source], value, key)
    assert 0 == producer.flush(60)
    worker = site.worker()
    try:
        await_settled(site, seconds=240)
        peak = peak_bytes(worker)
        worker.signal(SIGTERM)
        assert 0 == worker.wait(), worker.said()[-3_000:]
    finally:
        worker.close()
    verdict = judge(observe(site), site.stages)
    assert {"decided once": len(fed)} == verdict.counts, str(verdict)
    assert verdict.ok, str(verdict)
    assert peak < WORKER_BYTES


def peak_bytes(worker: WorkerProcess) -> int:
    """The most memory that was ever resident."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
