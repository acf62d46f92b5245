"""What a lane stands on is taken away: the shipped worker ends with one clear line, and decides nothing past it.

Whole workers, by the command that people use; how a lane comes to each refusal is told by its own tests
(`integration/test_stream_lane.py`, `unit/test_lane_standing.py`).
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from time import monotonic, sleep
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from chaos.clinic import clinic
from chaos.cluster import Cluster, needs_java
from chaos.installation import DEADLINE, Installation, WorkerProcess
from chaos.judge import Verdict, judge
from chaos.redis_server import RedisServer
from chaos.witness import await_settled, observe
from integration import topic_kit
from integration.brokers import TestBroker
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.lane.failpoint import EXIT_CODE

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis, pytest.mark.slow]
EVENTS = list(islice(clinic(seed=9), 600))
FIRST = 200


def installation(bootstrap: str, redis_url: str, **said: Any) -> Installation:
    """One lane per topic: what befalls it befalls all."""
    said = {"session_timeout_seconds": 3.0, "transaction_timeout_seconds": 5.0, "message_timeout_seconds": 5.0} | said
    return Installation(bootstrap, redis_url, partitions=1, source_partitions=1, said=said)


@pytest.fixture
def site(broker: TestBroker, embedded: Embedded) -> Installation:
    """An installation of the test's own; skipped by name where there is no real broker or Redis."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server")
    return installation(broker.bootstrap, embedded.redis_url)


def feed(site: Installation, begin: int, end: int) -> None:
    """These of the events, on the source topics, some twenty to a batch."""
    producer = Producer({"bootstrap.servers": site.bootstrap, "enable.idempotence": True, "log_level": 0})
    for number, (source, key, value) in enumerate(EVENTS[begin:end]):
        producer.produce(site.sources[source], value, key)
        if number % 20 == 19:
            assert 0 == producer.flush(30)
    assert 0 == producer.flush(30)


def until(true: Any, *workers: WorkerProcess) -> None:
    """Returns when it holds; fails with what the workers logged."""
    deadline = monotonic() + DEADLINE
    while not true():
        assert monotonic() < deadline, [(one.get("/readyz"), one.said()[-3_000:]) for one in workers]
        sleep(0.05)


@contextmanager
def working(site: Installation, **said: Any) -> Iterator[WorkerProcess]:
    """A worker, gone at the end."""
    worker = site.worker(**said)
    try:
        yield worker
    finally:
        worker.close()


def work_off(site: Installation) -> None:
    """A worker settles what is there, and ends well."""
    with working(site) as worker:
        await_settled(site)
        worker.signal(SIGTERM)
        assert ExitCode.OK == worker.wait(), worker.said()[-3_000:]


def refusal(worker: WorkerProcess) -> str:
    """The line with which a worker ends that must not work on."""
    until(lambda: not worker.running, worker)
    assert ExitCode.FAILED == worker.wait()
    said = worker.said()
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("error: "), last
    return last.removeprefix("error: ")


def refused(site: Installation, topic: str) -> str:
    """The line of a worker that is started and refuses; this topic's lane did nothing by then."""
    before = committed(site, topic)
    with working(site) as worker:
        line = refusal(worker)
    assert before == committed(site, topic)
    return line


def verdict_of(site: Installation) -> Verdict:
    """What the judge says of it."""
    return judge(observe(site), site.stages)


def delete_before(site: Installation, topic: str, offset: int) -> None:
    """Deletes a topic's records below an offset, as retention does."""
    answers = site.admin.delete_records([TopicPartition(topic, 0, offset)])
    next(iter(answers.values())).result(30)


def offsets(site: Installation, topic: str) -> Sequence[int]:
    """The offsets of a topic's committed records."""
    return [message.offset() or 0 for message in site.records(topic)]


def end_of(site: Installation, topic: str) -> int:
    """The offset after the last record or marker of a topic."""
    return _asked(site, lambda asked: asked.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])


def committed(site: Installation, topic: str) -> int:
    """The group's committed offset of a topic; negative where it has none."""
    return _asked(site, lambda asked: asked.committed([TopicPartition(topic, 0)], timeout=30)[0].offset)


def once_all_left(ask: Callable[[], object]) -> None:
    """Does what Kafka refuses while the group has a member: one whose farewell was lost is one up to its time-out."""
    deadline = monotonic() + DEADLINE
    while True:
        try:
            ask()
        except KafkaException:
            if monotonic() > deadline:
                raise
            sleep(0.1)
        else:
            return


def _asked(site: Installation, ask: Callable[[Consumer], int]) -> int:
    consumer = Consumer({"bootstrap.servers": site.bootstrap, "group.id": site.name, "log_level": 0})
    try:
        return ask(consumer)
    finally:
        consumer.close()


# ---------------------------------------------------------------------------------------------------- retention


def test_retention_that_overtook_a_stopped_worker_is_told_and_can_be_accepted(site: Installation) -> None:
    """Which offsets were lost, and what to do; after that is done, the rest is decided."""
    topic = site.sources["ehr"]
    feed(site, 0, FIRST)
    work_off(site)
    position = end_of(site, topic)
    feed(site, FIRST, len(EVENTS))
    first = position + 20
    delete_before(site, topic, first)

    line = refused(site, topic)
    assert line.startswith(f"intake {topic}[0]: offsets {position} to {first - 1} were deleted before they were read")
    assert f"accept the loss by committing {first} for the group" in line
    accept = ConsumerGroupTopicPartitions(site.name, [TopicPartition(topic, 0, first)])
    once_all_left(lambda: site.admin.alter_consumer_group_offsets([accept])[site.name].result(30))
    work_off(site)
    assert end_of(site, topic) == committed(site, topic)


def test_changes_deleted_before_they_were_decided_are_told(site: Installation) -> None:
    """The same for our own topic, whose lane was killed before it came to them."""
    changes = site.settings.topic_changes
    feed(site, 0, FIRST)
    work_off(site)
    position = committed(site, changes)
    feed(site, FIRST, len(EVENTS))
    with working(site, failpoint="decide:2-decode:1") as killed:
        until(lambda: not killed.running, killed)
        assert EXIT_CODE == killed.wait()
    last = offsets(site, changes)[-1]
    delete_before(site, changes, last)

    line = refused(site, changes)
    assert line.startswith(f"decide {changes}[0]: offsets {position} to {last - 1} were deleted before they were read")


def test_retention_that_overtakes_a_waiting_worker_ends_it(broker: TestBroker, site: Installation) -> None:
    """Its decide lane waits for Redis meanwhile; what it had fetched is decided, and nothing beyond what is gone."""
    with RedisServer() as redis:
        site = installation(broker.bootstrap, redis.url, batch_max_bytes=8_192, redis_timeout_seconds=1.0)
        changes = site.settings.topic_changes
        feed(site, 0, FIRST)
        with working(site) as worker:
            await_settled(site)
            redis.kill()
            feed(site, FIRST, len(EVENTS))
            until(lambda: all(end_of(site, topic) == committed(site, topic) for topic in site.sources.values()), worker)
            until(lambda: "redis: " in worker.get("/readyz")[1], worker)
            assert (200, "alive\n") == worker.get("/healthz")
            delete_before(site, changes, last := offsets(site, changes)[-1])
            redis.start()
            line = refusal(worker)
        assert f"decide {changes}[0]: offsets " in line
        assert f" to {last - 1} were deleted before they were read" in line
        assert last > committed(site, changes)


# ---------------------------------------------------------------------------------------------------- topics


def test_a_source_topic_created_again_under_a_working_worker_is_told(site: Installation) -> None:
    """Another topic under the same name, with more records than the old one had: none of them is taken for the old."""
    topic = site.sources["ehr"]
    feed(site, 0, FIRST)
    with working(site) as worker:
        await_settled(site)
        topic_kit.make_again(site.admin, NewTopic(topic, 1, 1))
        feed(site, 0, len(EVENTS))
        line = refusal(worker)
    assert line.startswith(f"intake {topic}[0]: `{topic}` was created again since this lane worked")


def test_deleted_states_are_told(site: Installation) -> None:
    """Without them decisions would be made anew."""
    state = site.settings.topic_state
    feed(site, 0, FIRST)
    work_off(site)
    # A compacted topic refuses to delete: this takes an operator who has changed its policy.
    topic_kit.configure(site.admin, state, "cleanup.policy", "compact,delete")
    delete_before(site, state, 5)
    feed(site, FIRST, len(EVENTS))
    line = refused(site, site.settings.topic_changes)
    assert f"`{state}` begins at 5, so record states were deleted" in line


def test_partitions_added_to_a_source_topic_are_told(site: Installation) -> None:
    """Its rows would change lanes; the line says that growth is a migration."""
    topic = site.sources["crm"]
    feed(site, 0, FIRST)
    work_off(site)
    topic_kit.grow(site.admin, topic, 2)
    feed(site, FIRST, len(EVENTS))
    line = refused(site, topic)
    assert f"`{topic}` has 2 partitions, and this lane worked with 1" in line
    assert line.endswith("growth is a migration by replay")


def test_a_log_that_lost_its_end_is_told() -> None:
    """A broker comes back with less than it had acknowledged, as after an unclean election: its file is cut short."""
    needs_java()
    with Cluster(1) as cluster, RedisServer() as redis:
        site = installation(cluster.bootstrap, redis.url)
        topic = site.sources["ehr"]
        feed(site, 0, FIRST)
        work_off(site)
        position = committed(site, topic)
        [node] = cluster.nodes
        node.kill()
        [segment] = [file for disk in node.data for file in disk.glob(f"{topic}-0/*.log")]
        cut_short(segment)
        node.start()
        cluster.await_ready()
        end = end_of(site, topic)
        assert 0 < end < position
        line = refused(site, topic)
    assert f"intake {topic}[0]: the lane stands at {position} but the topic ends at {end}: the broker lost" in line


def cut_short(segment: Path) -> None:
    """Leaves half of a segment; a last batch that is torn goes with the broker's own recovery."""
    with segment.open("r+b") as log:
        log.truncate(segment.stat().st_size // 2)


# ---------------------------------------------------------------------------------------------------- the group


def test_a_group_whose_offsets_are_gone_goes_on_where_it_stood(site: Installation) -> None:
    """The control records stand in for them: every input is decided once."""
    feed(site, 0, FIRST)
    work_off(site)
    once_all_left(lambda: site.admin.delete_consumer_groups([site.name])[site.name].result(30))
    assert all(committed(site, topic) < 0 for topic in site.sources.values())
    feed(site, FIRST, len(EVENTS))
    work_off(site)
    verdict = verdict_of(site)
    assert verdict.ok, str(verdict)
    assert {"decided once": len(EVENTS)} == verdict.counts
