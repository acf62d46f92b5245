"""The start of a lane: where it may work from, and what it refuses."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from counting import CountingStep
from lane_kit import INPUT, LANES, STATE, MemoryKafka, Notes, failure, new_lane, settle, work_off
from ownership_stream.errors import UnavailableError
from ownership_stream.lane import Control, LaneBrokenError, LaneConfig, LaneId, LaneRefusedError
from ownership_stream.store import MemoryStore, Position, key_prefix

PREFIX = key_prefix("test", f"id-of-{STATE}", 0)


def worked(count: int = 3) -> tuple[MemoryKafka, MemoryStore]:
    """A Kafka and a store on which a lane settled `count` records, one at a time."""
    kafka, store = MemoryKafka(), MemoryStore()
    for number in range(count):
        kafka.append((INPUT, 0), b"r%d" % number, b"v")
    work_off(new_lane(kafka, store, CountingStep(), Notes()), kafka, size=1)
    return kafka, store


def refusal(kafka: MemoryKafka, store: MemoryStore | None = None, **changes: Any) -> str:
    """The line with which the lane refuses to start."""
    lane = new_lane(kafka, store or MemoryStore(), CountingStep(), Notes(), **changes)
    with pytest.raises(LaneRefusedError) as caught:
        lane.start()
    [line] = caught.value.problems
    assert "\n" not in line
    return line


def test_a_first_start_begins_at_the_start_of_the_log() -> None:
    """Neither a committed offset nor a control record: nothing was ever settled here."""
    kafka = MemoryKafka()
    kafka.starts[INPUT, 0] = kafka.ends[INPUT, 0] = 40
    assert 40 == new_lane(kafka, MemoryStore(), CountingStep(), Notes()).start()


def test_a_later_start_goes_on_where_the_last_one_ended() -> None:
    """Both records of it agree, and nobody is told anything odd."""
    kafka, store = worked()
    notes = Notes()
    assert 3 == new_lane(kafka, store, CountingStep(), notes).start()
    assert [] == notes.named("noticed")
    assert [(3,)] == notes.named("started")


def test_an_expired_committed_offset_is_made_up_for_by_the_control_record() -> None:
    """-1001 is not 0: the group's offsets expire after a quiet week, the control record does not."""
    kafka, store = worked()
    kafka.offsets.clear()
    assert 3 == new_lane(kafka, store, CountingStep(), Notes()).start()


@pytest.mark.parametrize(("committed", "begin"), [(1, 3), (2, 3)])
def test_a_committed_offset_set_back_does_not_set_the_lane_back(committed: int, begin: int) -> None:
    """The lane's own holds, and it is said."""
    kafka, store = worked()
    kafka.offsets[INPUT, 0] = committed
    notes = Notes()
    assert begin == new_lane(kafka, store, CountingStep(), notes).start()
    [[text]] = notes.named("noticed")
    assert f"committed offset {committed} is behind the lane's own 3" in text


def test_a_committed_offset_ahead_of_the_lane_means_that_states_were_lost() -> None:
    """While the records between are still there: deciding on from there would be deciding on old states."""
    kafka, store = worked()
    kafka.ends[INPUT, 0] = 10
    kafka.offsets[INPUT, 0] = 5
    assert "lost its newest records; restore them, or set the group back to 3 to decide again" in refusal(kafka, store)
    kafka.offsets[INPUT, 0] = 3
    assert 3 == new_lane(kafka, store, CountingStep(), Notes()).start()


def test_a_committed_offset_set_forward_accepts_the_loss() -> None:
    """That is how an operator goes on after records were deleted unread."""
    kafka, store = worked()
    kafka.starts[INPUT, 0] = kafka.ends[INPUT, 0] = 10
    assert "offsets 3 to 9 were deleted before they were read" in refusal(kafka, store)
    kafka.offsets[INPUT, 0] = 10
    assert 10 == new_lane(kafka, store, CountingStep(), Notes()).start()


def test_a_committed_offset_without_control_record_is_refused() -> None:
    """The same transaction wrote both, so the states are gone with the control record."""
    kafka, store = worked()
    kafka.logs[STATE, 0].clear()
    assert "offset 3 is committed but `ownership.state` holds no control record" in refusal(kafka, store)


def test_an_input_topic_created_again_is_refused() -> None:
    """Its offsets begin anew and mean other records."""
    kafka, store = worked()
    kafka.topic_ids[INPUT] = "another"
    assert "was created again since this lane worked (topic id another, was id-of-" in refusal(kafka, store)


def test_another_number_of_partitions_is_refused() -> None:
    """Records would change lanes with their states left behind."""
    kafka, store = worked()
    kafka.partitions_of[INPUT] = kafka.partitions_of[STATE] = 8
    assert "has 8 partitions, and this lane worked with 4" in refusal(kafka, store)


def test_a_state_topic_cut_otherwise_than_its_input_is_refused() -> None:
    """A lane's states are in the partition of the lane's number."""
    kafka = MemoryKafka()
    kafka.partitions_of[STATE] = 3
    assert "`ownership.state` has 3 partitions and `ownership.changes` has 4" in refusal(kafka)


def test_a_log_shorter_than_what_was_settled_is_refused() -> None:
    """The broker lost what it had acknowledged."""
    kafka, store = worked()
    kafka.ends[INPUT, 0] = 2
    assert "the lane stands at 3 but the topic ends at 2" in refusal(kafka, store)


def test_a_state_topic_that_lost_its_beginning_is_refused() -> None:
    """Compaction alone never moves a log's start; deletion of states does."""
    kafka, store = worked()
    kafka.starts[STATE, 0] = 1
    assert "`ownership.state` begins at 1, so record states were deleted" in refusal(kafka, store)
    assert 3 == new_lane(kafka, store, CountingStep(), Notes(), waived=frozenset({"start of the state topic"})).start()


def test_a_control_record_of_another_format_is_refused() -> None:
    """A newer release wrote it, and may have meant something else."""
    kafka, store = worked()
    for value in [b'{"format":2}', b"garbage", b'{"format":1,"odd":1}', b"[]"]:
        kafka.append((STATE, 0), b"__lane", value)
        assert "of another format" in refusal(kafka, store)


def test_the_newest_control_record_is_found_far_from_the_end() -> None:
    """A quiet lane's record lies before many others in the shared topic."""
    kafka = MemoryKafka()
    lane = new_lane(kafka, None, CountingStep("intake", None), Notes())
    kafka.append((INPUT, 0), b"p", b"v")
    work_off(lane, kafka)
    for number in range(3_000):
        kafka.append((LANES, 0), b"__lane:intake:other:0", Control("x", number, 1).pack())
    kafka.offsets.clear()
    assert 1 == new_lane(kafka, None, CountingStep("intake", None), Notes()).start()


def test_catching_up_reads_from_the_position_only() -> None:
    """The store proves how far it is; with nothing missing nothing is read."""
    kafka, store = worked()
    notes = Notes()
    new_lane(kafka, store, CountingStep(), notes).start()
    assert 0 == notes.named("caught_up")[0][0]


def test_a_flushed_store_is_caught_up_from_the_start() -> None:
    """States are read again; control records and markers are no states."""
    kafka, _ = worked()
    store, notes = MemoryStore(), Notes()
    new_lane(kafka, store, CountingStep(), notes).start()
    assert 6 == notes.named("caught_up")[0][0]
    assert {"r0": b"1", "r1": b"1", "r2": b"1"} == dict(store.scan(PREFIX))
    assert kafka.ends[STATE, 0] == store.take(PREFIX, "x")


def test_a_catch_up_says_how_far_it_is() -> None:
    """At its beginning, and after each part with the offsets that are left, markers included."""
    kafka, _ = worked(4)
    notes = Notes()
    new_lane(kafka, MemoryStore(), CountingStep(), notes).start()
    end = kafka.ends[STATE, 0]
    told = [(done, left) for done, left, _ in notes.named("catching_up")]
    assert [(0, end), (3, end - 4), (6, end - 8), (8, end - 11)] == told
    assert 8 == notes.named("caught_up")[0][0]


def test_a_lane_that_lacks_nothing_has_one_marker_to_pass() -> None:
    """Most starts are of that kind; after it nothing is left."""
    kafka, store = worked()
    first, second = Notes(), Notes()
    new_lane(kafka, store, CountingStep(), first).start()
    new_lane(kafka, store, CountingStep(), second).start()
    assert [(0, 1, 0.0)] == first.named("catching_up")
    assert [] == second.named("catching_up")


def test_the_newest_state_of_a_record_is_the_one_that_stays() -> None:
    """Before compaction a changelog holds a record many times, within a part and over several."""
    kafka = MemoryKafka()
    for _ in range(7):
        kafka.append((INPUT, 0), b"p", b"v")
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), Notes()), kafka, size=1)
    store = MemoryStore()
    new_lane(kafka, store, CountingStep(), Notes()).start()
    assert {"p": b"7"} == dict(store.scan(PREFIX))


def test_a_catch_up_that_dies_half_way_is_gone_on_with() -> None:
    """The position moves with each part, after its states, so what is missing is known and read."""
    kafka, _ = worked(6)

    class Dying(MemoryStore):
        saves = 0

        def save(self, prefix: str, *arguments: object) -> None:
            self.saves += 1
            if self.saves == 3:
                raise UnavailableError("redis: away")
            super().save(prefix, *arguments)  # type: ignore[arg-type]  # passed through

    store, first, second = Dying(), Notes(), Notes()
    with pytest.raises(UnavailableError):
        new_lane(kafka, store, CountingStep(), first).start()
    assert 3 == len(store._lanes[PREFIX])
    new_lane(kafka, store, CountingStep(), second).start()
    assert (6, 6) == (first.named("catching_up")[-1][0], second.named("caught_up")[0][0])
    assert 6 == len(dict(store.scan(PREFIX)))


def test_a_worker_that_stops_does_not_finish_a_long_catch_up() -> None:
    """It ends with what is saved so far, which the next holder goes on from."""
    kafka, _ = worked(6)
    store = MemoryStore()
    lane = new_lane(kafka, store, CountingStep(), Notes())
    lane.leave()
    with pytest.raises(LaneBrokenError, match="stopped while catching up"):
        lane.start()
    assert [] == list(store.scan(PREFIX))


def test_a_store_ahead_of_the_changelog_is_emptied_and_caught_up() -> None:
    """Its extra states come from a log end that no longer exists."""
    kafka, store = worked()
    held = store._positions[PREFIX]
    store.save(PREFIX, held, Position(held.incarnation, 999), {"r9": b"7"})
    new_lane(kafka, store, CountingStep(), Notes()).start()
    assert {"r0": b"1", "r1": b"1", "r2": b"1"} == dict(store.scan(PREFIX))


def test_a_state_topic_created_again_has_other_keys() -> None:
    """The old states stay where they are, and are not believed."""
    kafka, store = MemoryKafka(), MemoryStore()
    store.take(PREFIX, "old")
    kafka.topic_ids[STATE] = "new"
    lane = new_lane(kafka, store, CountingStep(), Notes())
    kafka.append((INPUT, 0), b"p", b"v")
    work_off(lane, kafka)
    assert [b"1"] == store.peek(key_prefix("test", "new", 0), ["p"])
    assert [] == list(store.scan(PREFIX))


@pytest.mark.parametrize(("key", "value"), [(b"p", None), (None, b"v")])
def test_a_tombstone_in_the_state_topic_is_refused(key: bytes | None, value: bytes | None) -> None:
    """Deleted and merged are states, so no lane writes one."""
    kafka, _ = worked()
    kafka.append((STATE, 0), key, value)
    assert "has no key or no value, which no lane writes" in refusal(kafka, MemoryStore())


def test_a_rival_that_displaces_us_while_catching_up_costs_the_standing() -> None:
    """Then the lane starts again, and fences the rival."""
    kafka, _ = worked()

    class Stolen(MemoryStore):
        def save(self, prefix: str, *arguments: object) -> None:
            self.take(prefix, "rival")
            super().save(prefix, *arguments)  # type: ignore[arg-type]  # passed through

    with pytest.raises(LaneBrokenError, match="displaced while catching up"):
        new_lane(kafka, Stolen(), CountingStep(), Notes()).start()


def test_kafka_away_at_the_start_means_waiting() -> None:
    """Nothing was touched; the same call is tried again."""
    kafka = MemoryKafka(away=True)
    lane = new_lane(kafka, MemoryStore(), CountingStep(), Notes())
    with pytest.raises(UnavailableError, match="kafka: away"):
        lane.start()
    kafka.away = False
    kafka.faults["init"] = [failure(KafkaError._TIMED_OUT, retriable=True)]
    with pytest.raises(UnavailableError, match="cannot start transactions"):
        lane.start()
    assert 0 == lane.start()


def test_a_rival_that_fences_us_at_the_start_is_said() -> None:
    """A fatal answer to `init_transactions` is no outage."""
    kafka = MemoryKafka()
    kafka.faults["init"] = [failure(KafkaError._FENCED, fatal=True)]
    with pytest.raises(LaneBrokenError, match="fenced at its start"):
        new_lane(kafka, MemoryStore(), CountingStep(), Notes()).start()


def test_a_shared_topic_that_is_missing_is_noticed_at_the_start() -> None:
    """An intake lane asks for its control topic before it works."""
    asked = []

    class Topics(dict[str, int]):
        def __missing__(self, topic: str) -> int:
            asked.append(topic)
            return 4

    settle(new_lane(MemoryKafka(partitions_of=Topics()), None, CountingStep("intake", None), Notes()), None)
    assert {INPUT, LANES} == set(asked)


def test_transactional_ids_name_stage_topic_and_partition() -> None:
    """Intake reads several topics: a name they shared would make workers fence each other for ever."""
    config = LaneConfig(app="app", client={})
    assert "app-intake-ehr.patient-3" == config.transactional_id(LaneId("intake", "ehr.patient", 3))
    assert "app" == config.consumer_group
    assert "own" == LaneConfig(app="app", group="own", client={}).consumer_group
