"""A lane on a real Kafka and a real Redis: killed, fenced, flushed, and refused where something was lost."""

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from integration import topic_kit
from integration.streams import Stream, exactly_once
from lane_kit import Notes, settle
from ownership_stream.lane import Broker, LaneBrokenError, LaneRefusedError
from ownership_stream.lane import failpoint as failpoints
from ownership_stream.store import key_prefix

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis]
VALUES = [b"%d" % number for number in range(40)]


@pytest.mark.parametrize("point", failpoints.POINTS)
def test_a_lane_killed_at_any_point_settles_everything_once(stream: Stream, point: str) -> None:
    """Killed there the first time it comes by, and started again: nothing lost, nothing twice, no state off."""
    stream.feed(VALUES, partition=0)
    killed = stream.process("lane_process.py", failpoint=f"decide:{point}:1", size=15)
    code, out, err = killed.ended()
    killed.close()
    assert failpoints.EXIT_CODE == code, err
    assert "done" not in out

    lane = stream.lane()
    stream.work_off(lane)
    assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))
    states = stream.store().peek(prefix(stream), [f"r{number}" for number in range(5)])
    assert [b"8"] * 5 == states


def test_a_fenced_zombie_commits_nothing(stream: Stream) -> None:
    """The former holder's transaction fails for good; only the new holder's outputs stand."""
    stream.feed(VALUES, partition=0)
    zombie = stream.lane()
    zombie.start()
    zombie.process(stream.batch(0, limit=20))
    holder = stream.lane()
    holder.start()
    with pytest.raises(LaneBrokenError):
        zombie.process(stream.batch(20))
    assert not zombie.standing
    stream.work_off(holder)
    assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_a_zombie_that_starts_anew_takes_the_lane_back(stream: Stream) -> None:
    """Whoever starts last holds the lane: settled is settled, by either."""
    stream.feed(VALUES, partition=0)
    first, second = stream.lane(), stream.lane()
    first.start()
    second.start()
    second.process(stream.batch(0, limit=20))
    with pytest.raises(LaneBrokenError):
        first.process(stream.batch(0))
    first.start()
    first.process(stream.batch(0))
    assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_redis_flushed_during_tenure_is_found_out_and_caught_up(stream: Stream) -> None:
    """The lane starts anew from the changelog; counts go on."""
    stream.feed(VALUES[:20], partition=0)
    lane = stream.lane()
    stream.work_off(lane)
    stream.store().purge(prefix(stream))
    stream.feed(VALUES[20:], partition=0)
    batch = stream.batch(lane.next)
    with pytest.raises(LaneBrokenError):
        lane.process(batch)
    lane.start()
    lane.process(batch)
    assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_a_restarted_lane_catches_up_only_what_is_missing(stream: Stream) -> None:
    """With its position proved nothing is read; after a flush the changelog is, past its markers."""
    stream.feed(VALUES, partition=0)
    stream.work_off(stream.lane())
    again, flushed = Notes(), Notes()
    stream.lane(again).start()
    stream.store().purge(prefix(stream))
    stream.lane(flushed).start()

    assert 0 == again.named("caught_up")[0][0]
    assert 6 == flushed.named("caught_up")[0][0]  # five states and the control record
    assert [b"8"] == stream.store().peek(prefix(stream), ["r4"])


def test_a_dead_workers_open_transaction_is_ended_by_the_next_holder(stream: Stream) -> None:
    """Its records never become visible, and readers do not wait for its time-out."""
    stream.feed(VALUES, partition=0)
    dead = Producer(
        {
            "bootstrap.servers": stream.broker.bootstrap,
            "transactional.id": stream.config().transactional_id(stream.lane().id),
            "transaction.timeout.ms": 60_000,
            "log_level": 0,
        }
    )
    dead.init_transactions(10)
    dead.begin_transaction()
    dead.produce(stream.out, b"never committed", b"r0", 0)
    dead.flush(10)
    stream.work_off(stream.lane())
    assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))


def test_an_expired_committed_offset_is_made_up_for(stream: Stream) -> None:
    """The control record stands in for it."""
    stream.feed(VALUES, partition=0)
    lane = stream.lane()
    stream.work_off(lane)
    stream.admin.delete_consumer_groups([stream.name])[stream.name].result(10)
    broker = Broker(stream.config())
    assert broker.committed(stream.changes, 0) is None
    assert lane.next == stream.lane().start()
    broker.close()


def test_records_deleted_before_they_were_read_are_refused(stream: Stream) -> None:
    """The line says which, and how to go on; committing beyond them goes on."""
    stream.feed(VALUES[:20], partition=0)
    stream.work_off(stream.lane())
    stream.feed(VALUES[20:], partition=0)
    delete = stream.admin.delete_records([TopicPartition(stream.changes, 0, 30)])
    next(iter(delete.values())).result(10)
    with pytest.raises(LaneRefusedError, match="offsets 20 to 29 were deleted before they were read"):
        stream.lane().start()
    accept = ConsumerGroupTopicPartitions(stream.name, [TopicPartition(stream.changes, 0, 30)])
    stream.admin.alter_consumer_group_offsets([accept])[stream.name].result(10)
    assert 30 == stream.lane().start()


def test_an_input_topic_created_again_is_refused(stream: Stream) -> None:
    """Another topic id: its offsets mean other records."""
    stream.feed(VALUES, partition=0)
    stream.work_off(stream.lane())
    topic_kit.make_again(stream.admin, NewTopic(stream.changes, stream.partitions, 1))
    with pytest.raises(LaneRefusedError, match="was created again since this lane worked"):
        settle(stream.lane(), None)


def test_partitions_added_in_place_are_refused(stream: Stream) -> None:
    """Records would change lanes without their states."""
    stream.feed(VALUES, partition=0)
    stream.work_off(stream.lane())
    for topic in (stream.changes, stream.state):
        topic_kit.grow(stream.admin, topic, stream.partitions + 1)
    with pytest.raises(LaneRefusedError, match="has 5 partitions, and this lane worked with 4"):
        settle(stream.lane(), None)


def test_a_state_topic_emptied_beside_committed_offsets_is_refused(stream: Stream) -> None:
    """The states are gone, and deciding without them would be deciding anew."""
    stream.feed(VALUES, partition=0)
    stream.work_off(stream.lane())
    compacted = NewTopic(stream.state, stream.partitions, 1, config={"cleanup.policy": "compact"})
    topic_kit.make_again(stream.admin, compacted)
    with pytest.raises(LaneRefusedError, match="holds no control record"):
        settle(stream.lane(), None)


def test_a_missing_topic_is_refused_with_what_to_do(stream: Stream) -> None:
    """Tried a few times, since a broker that just came up may not know it yet; not for ever."""
    topic_kit.remove(stream.admin, stream.state)
    with pytest.raises(LaneBrokenError, match=r"does not exist: run `ownership-stream topics create`"):
        stream.lane().start()


def test_a_record_too_large_for_the_broker_becomes_a_dead_letter(stream: Stream) -> None:
    """The topic takes less than we were told: the culprit is found part by part, the rest is settled."""
    topic_kit.configure(stream.admin, stream.out, "max.message.bytes", "1000")
    values = [b"a", b"b", b"x" * 2_000, b"c"]
    stream.feed(values, keys=1, partition=0)
    notes = Notes()
    stream.work_off(stream.lane(notes, compression="none"))

    assert {b"r0": [b"1 a", b"2 b", b"3 c"]} == stream.await_outputs(3)
    assert [b"x" * 2_000] == [message.value() for message in stream.read(stream.dead)[0]]
    assert (2, "produce") == notes.named("buried")[0][:2]


def prefix(stream: Stream) -> str:
    """The prefix of partition 0's keys."""
    broker = Broker(stream.config())
    try:
        return key_prefix(stream.name, broker.topic_id(stream.state), 0)
    finally:
        broker.close()
