"""The commit order of a batch: what is settled, what is run again, and what becomes a dead letter."""

import signal
import threading
from collections.abc import Iterable
from itertools import count

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from counting import POISON_DECODE, POISON_SIZE, POISON_STEP, CountingStep
from lane_kit import (
    DEAD,
    INPUT,
    LANES,
    OUTPUT,
    STATE,
    MemoryKafka,
    Notes,
    failure,
    feed,
    new_lane,
    settle,
    work_off,
)
from ownership_stream.errors import UnavailableError
from ownership_stream.lane import Batch, Control, LaneBrokenError, LaneRefusedError, Record, commit
from ownership_stream.lane import failpoint as failpoints
from ownership_stream.store import MemoryStore, Position, StoreAwayError, key_prefix

PREFIX = key_prefix("test", f"id-of-{STATE}", 0)


def changes(kafka: MemoryKafka, values: Iterable[bytes | None], key: bytes | None = b"p") -> None:
    """Writes changes of one record to the input."""
    for value in values:
        kafka.append((INPUT, 0), key, value)


def test_each_record_is_settled_once_in_its_order() -> None:
    """Outputs carry the count of their record so far, over several batches, by a lane that never starts anew."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", b"b", b"c"])
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes), kafka, size=2)

    assert [b"1 a", b"2 b", b"3 c"] == kafka.values(OUTPUT)
    assert 3 == kafka.offsets[INPUT, 0]
    assert {("changes",): 3} == dict(notes.counts)
    assert 1 == len(notes.named("started"))


def test_states_go_to_the_changelog_and_the_store_with_the_control_record_last() -> None:
    """The store's position is the offset after the control record, where the next catch-up begins."""
    kafka, store = MemoryKafka(), MemoryStore()
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, store, CountingStep(), Notes())
    work_off(lane, kafka)

    keys = [line.key for line in kafka.logs[STATE, 0]]
    assert [b"p", b"__lane"] == keys
    assert (f"id-of-{INPUT}", 2, 4) == Control.unpack(kafka.logs[STATE, 0][-1].value or b"")[:3]
    assert [b"2"] == store.peek(PREFIX, ["p"])
    assert 2 == store.take(PREFIX, "later")


def test_a_stage_without_states_keeps_its_control_record_in_the_shared_topic() -> None:
    """Intake needs no store, and its key names the lane, since lanes share the topic."""
    kafka = MemoryKafka()
    changes(kafka, [b"a"])
    work_off(new_lane(kafka, None, CountingStep("intake", None), Notes()), kafka)

    assert [b"__lane:intake:ownership.changes:0"] == [line.key for line in kafka.logs[LANES, 0]]
    assert [b"1 a"] == kafka.values(OUTPUT)


def test_what_was_committed_counts_where_the_lane_was_closed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that stops waits for a batch only so long; what Kafka has of it happened all the same."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    lane.start()
    monkeypatch.setattr(commit, "failpoint", lambda _, point: lane.close() if point == "6-commit" else None)
    with pytest.raises(LaneBrokenError, match="no standing"):
        lane.process(feed(kafka, 0, 1))
    assert {("changes",): 1} == dict(notes.counts)


def test_what_is_already_settled_is_cut_off() -> None:
    """A batch handed over twice changes nothing the second time."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    settle(lane, feed(kafka, 0, 1))
    settle(lane, feed(kafka, 0, 2))
    settle(lane, feed(kafka, 0, 2))

    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)
    assert 2 == notes.records


def test_a_batch_of_markers_only_moves_the_lane_on() -> None:
    """Offsets without records need no transaction."""
    kafka, notes = MemoryKafka(), Notes()
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    settle(lane, Batch(INPUT, 0, 0, 7, (), 1))

    assert 7 == lane.next
    assert [] == notes.named("committed")


def test_a_gap_before_the_batch_ends_the_process() -> None:
    """Records lost within the process are not skipped over."""
    kafka = MemoryKafka()
    lane = new_lane(kafka, MemoryStore(), CountingStep(), Notes())
    with pytest.raises(LaneRefusedError, match=r"stands at 0 but the next batch begins at 5"):
        settle(lane, Batch(INPUT, 0, 5, 7, (), 1))


def test_an_undecodable_record_is_a_dead_letter_of_the_step() -> None:
    """The rest of its batch is settled beside it, in the same transaction."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", POISON_DECODE, b"b"])
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes), kafka)

    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)
    assert [POISON_DECODE] == kafka.values(DEAD)
    assert [(3, 3)] == notes.named("committed")


@pytest.mark.parametrize(("poison", "stage"), [(POISON_STEP, "step"), (POISON_SIZE, "size")])
def test_a_record_that_breaks_its_batch_is_found_by_parting(poison: bytes, stage: str) -> None:
    """Only the culprit becomes a dead letter, with its original bytes; the others keep their order and counts."""
    kafka, notes = MemoryKafka(), Notes()
    values = [b"%d" % i for i in range(9)]
    changes(kafka, [*values[:4], poison, *values[4:]])
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes), kafka)

    assert [b"%d %d" % (i + 1, i) for i in range(9)] == kafka.values(OUTPUT)
    assert [poison] == kafka.values(DEAD)
    assert [(4, stage)] == [told[:2] for told in notes.named("buried")]
    assert 10 == kafka.offsets[INPUT, 0]


@pytest.mark.parametrize("part", ["decode", "run"])
def test_a_step_that_has_to_wait_costs_no_record_and_is_run_again_as_a_whole(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema registry that is away is no fault of the data: nothing is buried, halved or committed meanwhile."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", b"b", b"c"])
    step = CountingStep()
    lane = new_lane(kafka, MemoryStore(), step, notes)
    settle(lane, feed(kafka, 0, 1))
    with monkeypatch.context() as away:

        def waits(*_: object) -> None:
            raise UnavailableError("schema registry: does not answer")

        away.setattr(step, part, waits)
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"schema registry"):
                lane.process(feed(kafka, 1, 3))
    assert lane.standing
    assert [b"1 a"] == kafka.values(OUTPUT)

    settle(lane, feed(kafka, 1, 3))
    assert [b"1 a", b"2 b", b"3 c"] == kafka.values(OUTPUT)
    assert [] == kafka.values(DEAD)
    assert 1 == len(notes.named("started"))
    assert 2 == len(notes.named("committed"))


def test_a_buried_records_error_quotes_no_values() -> None:
    """The text of an exception may hold a patient's value; its type may not."""
    kafka = MemoryKafka()
    changes(kafka, [POISON_STEP])
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), Notes()), kafka)

    [dead] = kafka.logs[DEAD, 0]
    assert b"internal error: ValueError" == dict(dead.headers)["error"]


@pytest.mark.parametrize("limit", ["client_limit", "broker_limit"])
def test_a_record_that_kafka_refuses_is_found_by_parting(limit: str) -> None:
    """The client refuses at once, the broker with the delivery; the aborted transaction leaves nothing."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", b"x" * 100, b"b"])
    setattr(kafka, limit, 101)  # the control record and the dead letter fit, the output with its count does not
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes), kafka)

    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)
    assert [b"x" * 100] == kafka.values(DEAD)
    assert "produce" == notes.named("buried")[0][1]


def test_a_record_that_cannot_even_be_a_dead_letter_ends_the_process() -> None:
    """Nothing of it is committed, and the line says which limit to raise."""
    kafka = MemoryKafka()
    changes(kafka, [b"x" * 2_000])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), Notes(), record_limit=1_000)
    with pytest.raises(LaneRefusedError, match="make the limit of the dead-letter topic"):
        settle(lane, feed(kafka, 0))
    assert (INPUT, 0) not in kafka.offsets


def test_a_state_under_the_control_records_name_is_refused() -> None:
    """A record id may not displace the control record."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a"], key=b"__lane")
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes), kafka)
    assert [b"a"] == kafka.values(DEAD)


def test_a_state_too_large_for_its_topic_buries_its_record() -> None:
    """States are checked like outputs, before anything is produced."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a"])
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), notes, record_limits={STATE: 97}), kafka)
    assert [b"a"] == kafka.values(DEAD)


@pytest.mark.parametrize("point", ["begin", "produce", "offsets", "commit", "committed"])
def test_after_a_fatal_outcome_the_same_batch_is_run_again(point: str) -> None:
    """Whether the transaction was committed or not, each record is settled once, and counted once."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    settle(lane, None)
    kafka.faults[point] = [failure(KafkaError._FENCED, fatal=True)]
    with pytest.raises(LaneBrokenError):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input
    assert not lane.standing
    work_off(lane, kafka)

    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)
    assert [(2, 2)] == notes.named("committed")


def test_what_another_holder_committed_is_his_to_count() -> None:
    """The lane's last transaction is not the one whose outcome was lost."""
    kafka, notes, others = MemoryKafka(), Notes(), Notes()
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    settle(lane, None)
    kafka.faults["commit"] = [failure(KafkaError._FENCED, fatal=True)]
    with pytest.raises(LaneBrokenError):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), others), kafka)
    work_off(lane, kafka)

    assert ([], [(2, 2)]) == (notes.named("committed"), others.named("committed"))


def test_a_commit_that_timed_out_is_asked_for_again() -> None:
    """A retriable outcome is open: the same commit is called until it says."""
    kafka, notes = MemoryKafka(), Notes()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), notes)
    settle(lane, None)
    kafka.faults["commit"] = [failure(KafkaError._TIMED_OUT, retriable=True)] * 3
    lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input
    assert [b"1 a"] == kafka.values(OUTPUT)


def test_an_abort_that_fails_costs_the_standing() -> None:
    """What cannot be aborted is ended by the next start."""
    kafka = MemoryKafka(client_limit=80)
    changes(kafka, [b"x" * 79])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), Notes())
    settle(lane, None)
    kafka.faults["abort"] = [failure(KafkaError._FENCED, fatal=True)]
    with pytest.raises(LaneBrokenError, match="cannot abort"):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input


def test_a_full_queue_is_served_and_then_used() -> None:
    """The client's queue is finite; a full one is no error."""
    kafka = MemoryKafka()
    changes(kafka, [b"a"])
    kafka.faults["produce"] = [BufferError(), BufferError()]
    work_off(new_lane(kafka, MemoryStore(), CountingStep(), Notes()), kafka)
    assert [b"1 a"] == kafka.values(OUTPUT)


def test_a_queue_that_stays_full_costs_the_standing() -> None:
    """Then Kafka takes nothing, and the lane starts anew."""
    kafka = MemoryKafka()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, MemoryStore(), CountingStep(), Notes())
    settle(lane, None)
    kafka.faults["produce"] = [BufferError()] * 100
    with pytest.raises(LaneBrokenError, match="queue stays full"):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input


def test_a_zombie_commits_nothing_and_writes_nothing() -> None:
    """The new holder fences it in Kafka and displaces it in the store."""
    kafka, store = MemoryKafka(), MemoryStore()
    changes(kafka, [b"a", b"b"])
    zombie = new_lane(kafka, store, CountingStep(), Notes())
    settle(zombie, feed(kafka, 0, 1))
    holder = new_lane(kafka, store, CountingStep(), Notes())
    settle(holder, None)

    with pytest.raises(LaneBrokenError):
        zombie.process(feed(kafka, 1))  # type: ignore[arg-type]  # there is input
    work_off(holder, kafka)
    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)


def test_a_flushed_store_is_noticed_before_it_is_believed() -> None:
    """The count goes on from the changelog's, not from nothing."""
    kafka, store = MemoryKafka(), MemoryStore()
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, store, CountingStep(), Notes())
    settle(lane, feed(kafka, 0, 1))
    store.purge(PREFIX)
    with pytest.raises(LaneBrokenError, match="not the one this lane left"):
        lane.process(feed(kafka, 1))  # type: ignore[arg-type]  # there is input
    work_off(lane, kafka)
    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)


def test_an_idle_lane_notices_a_flushed_store() -> None:
    """Its next batch may come tomorrow, and what is due until then is asked of the store."""
    kafka, store = MemoryKafka(), MemoryStore()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, store, CountingStep(), Notes())
    work_off(lane, kafka)
    lane.serve()
    store.purge(PREFIX)
    with pytest.raises(LaneBrokenError):
        lane.serve()
    settle(lane, None)
    assert [b"1"] == store.peek(PREFIX, ["p"])


def test_a_store_flushed_between_load_and_save_is_noticed_too() -> None:
    """The save is conditional; the batch is committed and counted, and the store caught up."""
    kafka, store, notes = MemoryKafka(), MemoryStore(), Notes()
    changes(kafka, [b"a", b"b"])
    step = CountingStep()
    lane = new_lane(kafka, store, step, notes)
    settle(lane, None)
    run = step.run

    def flush_then_run(*arguments: object) -> object:
        store.purge(PREFIX)
        return run(*arguments)  # type: ignore[arg-type]  # passed through

    step.run = flush_then_run  # type: ignore[assignment,method-assign]  # the moment between load and save
    with pytest.raises(LaneBrokenError):
        lane.process(feed(kafka, 0, 1))  # type: ignore[arg-type]  # there is input
    step.run = run  # type: ignore[method-assign]  # as before
    assert 1 == notes.records
    work_off(lane, kafka)
    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)


class TiredStore(MemoryStore):
    """A store that does not answer some of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[str] = set()

    def load(self, *arguments: object) -> list[bytes | None]:
        """Loads, or does not answer."""
        if "load" in self.away:
            raise StoreAwayError("redis: away")
        return super().load(*arguments)  # type: ignore[arg-type]  # passed through

    def save(self, *arguments: object) -> None:
        """Saves, or does not answer."""
        if "save" in self.away:
            raise StoreAwayError("redis: away")
        super().save(*arguments)  # type: ignore[arg-type]  # passed through


def test_a_store_away_before_the_transaction_leaves_the_lane_standing() -> None:
    """Nothing was decided: the same batch is simply tried again."""
    kafka, store = MemoryKafka(), TiredStore()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, store, CountingStep(), Notes())
    settle(lane, None)
    store.away = {"load"}
    with pytest.raises(StoreAwayError):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input
    assert lane.standing
    assert [] == kafka.values(OUTPUT)


def test_a_store_away_after_the_transaction_costs_the_standing() -> None:
    """What the store has then is unknown, so it is caught up; what was committed is counted, once."""
    kafka, store, notes = MemoryKafka(), TiredStore(), Notes()
    changes(kafka, [b"a"])
    lane = new_lane(kafka, store, CountingStep(), notes)
    settle(lane, None)
    store.away = {"save"}
    with pytest.raises(StoreAwayError):
        lane.process(feed(kafka, 0))  # type: ignore[arg-type]  # there is input
    assert not lane.standing
    store.away = set()
    settle(lane, feed(kafka, 0))
    assert [b"1"] == store.peek(PREFIX, ["p"])
    assert {("changes",): 1} == dict(notes.counts)


def test_a_buried_record_is_told_even_if_the_store_is_away_then() -> None:
    """Its dead letter is committed, and the same batch run again would find it settled."""
    kafka, store, notes = MemoryKafka(), TiredStore(), Notes()
    changes(kafka, [POISON_STEP])
    lane = new_lane(kafka, store, CountingStep(), notes)
    lane.start()
    batch = feed(kafka, 0)
    assert batch is not None
    store.away = {"save"}
    with pytest.raises(StoreAwayError):
        lane.process(batch)
    store.away = set()
    settle(lane, batch)
    assert [(0, "step")] == [told[:2] for told in notes.named("buried")]
    assert 1 == len(kafka.values(DEAD))


def test_a_client_that_never_comes_back_costs_the_standing() -> None:
    """Librdkafka's issue 5456: adding offsets may forget its time-out when the group's coordinator goes away.

    The lane starts anew and runs the same batch; the call that hung finds itself fenced when it goes on.
    """
    kafka, store, released = MemoryKafka(), MemoryStore(), threading.Event()
    kafka.hanging.append(released)
    changes(kafka, [b"a", b"b"])
    lane = new_lane(kafka, store, CountingStep(), Notes(), transaction_seconds=0.02)
    lane.start()
    batch = feed(kafka, 0)
    assert batch is not None
    with pytest.raises(LaneBrokenError, match="did not come back from adding the offset"):
        lane.process(batch)
    settle(lane, batch)
    released.set()
    for thread in threading.enumerate():
        if thread.name == f"offset of {lane.id}":
            thread.join(10)
    assert [b"1 a", b"2 b"] == kafka.values(OUTPUT)


def test_a_lane_without_standing_does_not_work() -> None:
    """A closed lane must be started first."""
    lane = new_lane(MemoryKafka(), MemoryStore(), CountingStep(), Notes())
    lane.serve()
    with pytest.raises(LaneBrokenError, match="no standing"):
        lane.process(Batch(INPUT, 0, 0, 0, (), 1))
    settle(lane, None)
    lane.serve()
    lane.close()
    assert not lane.standing


FAULTS = st.sampled_from(
    [
        ("init", failure(KafkaError._TIMED_OUT, retriable=True)),
        ("init", failure(KafkaError._FENCED, fatal=True)),
        ("begin", failure(KafkaError._STATE)),
        ("produce", failure(KafkaError._QUEUE_FULL)),
        ("offsets", failure(KafkaError._TIMED_OUT, retriable=True)),
        ("commit", failure(KafkaError._MSG_TIMED_OUT, abort=True)),
        ("commit", failure(KafkaError._FENCED, fatal=True)),
        ("committed", failure(KafkaError._FENCED, fatal=True)),
        ("committed", failure(KafkaError.REQUEST_TIMED_OUT)),
    ]
)
DISASTERS = st.sampled_from(["flush", "restore", "zombie", "restart", "none"])


Snapshot = tuple[dict[str, bytes], Position]


def snapshot_of(store: MemoryStore) -> Snapshot:
    """What a backup of the store would hold."""
    return dict(store._lanes.get(PREFIX, {})), store._positions[PREFIX]


def strike(disaster: str, kafka: MemoryKafka, store: MemoryStore, backup: Snapshot, batch: Batch, notes: Notes) -> None:
    """What happens around a lane between two batches."""
    if disaster == "flush":
        store.purge(PREFIX)
    elif disaster == "restore":
        store._lanes[PREFIX], store._positions[PREFIX] = dict(backup[0]), backup[1]
    elif disaster == "zombie":
        settle(new_lane(kafka, store, CountingStep(), notes), batch)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([b"p", b"q", b"r"]), min_size=1, max_size=12),
    st.lists(st.tuples(FAULTS, st.integers(0, 3)), max_size=8),
    st.lists(DISASTERS, max_size=6),
    st.integers(1, 5),
)
def test_whatever_fails_wherever_each_record_is_settled_exactly_once(
    keys: list[bytes], faults: list[tuple[tuple[str, Exception], int]], disasters: list[str], size: int
) -> None:
    """Counts per record run 1, 2, 3 without gap or repeat, through faults, flushes, restores, zombies and restarts.

    And what all holders together count as committed is each record once.
    """
    kafka, store, notes = MemoryKafka(), MemoryStore(), Notes()
    for number, key in enumerate(keys):
        kafka.append((INPUT, 0), key, b"%d" % number)
        kafka.ends[INPUT, 0] += number % 3 == 2  # a marker
    for (point, fault), after in faults:
        kafka.faults[point] += [*[None] * after, fault]
    lane = new_lane(kafka, store, CountingStep(), notes)
    settle(lane, None)
    backup = snapshot_of(store)
    while (batch := feed(kafka, lane.next, size)) is not None:
        disaster = disasters.pop() if disasters else "none"
        strike(disaster, kafka, store, backup, batch, notes)
        if disaster == "restart":
            lane = new_lane(kafka, store, CountingStep(), notes)
        settle(lane, batch)
        if not lane.standing:
            settle(lane, None)
        backup = snapshot_of(store)

    for key in set(keys):
        expected = [b"%d" % number for number, one in enumerate(keys) if one == key]
        found = [line.value for line in kafka.logs[OUTPUT, 0] if line.key == key]
        assert [b"%d %b" % (count, value) for count, value in enumerate(expected, 1)] == found
        assert [b"%d" % len(expected)] == store.peek(PREFIX, [key.decode()])
    assert len(keys) == notes.records


def test_a_failpoint_is_known_by_its_name() -> None:
    """A typo in a chaos test must not pass as a quiet run."""
    assert ("decide:6-commit", 3, "kill") == failpoints.parse("decide:6-commit:3")
    assert ("match:before-init", 1, "stop") == failpoints.parse("match:before-init:1:stop")
    with pytest.raises(ValueError, match="is no failpoint"):
        failpoints.parse("decide:6-comit:3")
    with pytest.raises(ValueError, match="is no action"):
        failpoints.parse("decide:6-commit:3:stopp")


def test_a_failpoint_ends_the_process_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third passing kills; other points and stages pass."""
    died: list[int] = []
    monkeypatch.setattr(failpoints, "_WHERE", "decide:6-commit")
    monkeypatch.setattr(failpoints, "_TIMES", 2)
    monkeypatch.setattr(failpoints, "_passed", count(1))
    monkeypatch.setattr("os._exit", died.append)
    for stage, point in [("decide", "6-commit"), ("intake", "6-commit"), ("decide", "7-save"), ("decide", "6-commit")]:
        failpoints.failpoint(stage, point)
    assert [137] == died


def test_a_failpoint_may_stop_its_thread_until_it_is_let_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal goes to the very thread, so that not one line more of it runs."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(failpoints, "_WHERE", "decide:7-save")
    monkeypatch.setattr(failpoints, "_TIMES", 1)
    monkeypatch.setattr(failpoints, "_passed", count(1))
    monkeypatch.setattr(failpoints, "_ACTION", "stop")
    monkeypatch.setattr("signal.pthread_kill", lambda thread, number: told.append((thread, number)))
    failpoints.failpoint("decide", "7-save")
    assert [(threading.get_ident(), signal.SIGSTOP)] == told


def test_a_record_is_what_a_consumer_brought() -> None:
    """The transport's rows are made into records in the lane, key, value and headers untouched."""
    kafka, seen = MemoryKafka(), []
    step = CountingStep()
    decode = step.decode

    def spy(records: list[Record]) -> object:
        seen.extend(records)
        return decode(records)

    step.decode = spy  # type: ignore[assignment,method-assign]  # to look at what comes in
    kafka.append((INPUT, 0), b"p", b"a", [("h", b"1")])
    work_off(new_lane(kafka, MemoryStore(), step, Notes()), kafka)
    assert [Record(INPUT, 0, 0, 0, b"p", b"a", [("h", b"1")])] == seen


def test_a_position_reads_as_it_is_written() -> None:
    """`<incarnation>:<state offset>`."""
    assert b"abc:12" == Position("abc", 12).pack()
