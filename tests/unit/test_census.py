"""The census: what stands now, counted in the states as they are stored."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ownership_stream.breaker import Breaker
from ownership_stream.census import EVERY, FIRST, Census
from ownership_stream.identity import partition_of
from ownership_stream.lane import LaneConfig
from ownership_stream.model import Case
from ownership_stream.steps import BREAKER, packed
from ownership_stream.store import DUE_BYTES, MemoryStore, Position, StoreAwayError, key_prefix
from source_kit import MATRIX
from step_kit import CHANGES, MINUTE, START, STATES, TOPICS, DecideLane, decide_step, row

EVERY_PARTITION = range(TOPICS.partitions)
HOUR = 60 * MINUTE


class Gauges:
    """What was set, by name and labels."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, ...], float] = {}

    def set(self, name: str, *labels: str, value: float) -> None:
        """Remembers the newest."""
        self.said[name, *labels] = value

    def above_zero(self, name: str) -> dict[tuple[str, ...], float]:
        """One gauge's series that are not zero, by their labels."""
        return {key[1:]: value for key, value in self.said.items() if key[0] == name and value}


class Counted:
    """A store with what lanes left, and a census over it."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        self.store = MemoryStore()
        self.gauges = Gauges()
        for partition in EVERY_PARTITION:
            prefix = key_prefix("a", "id", partition)
            own = {name: state for name, state in stored.items() if partition_of(name, TOPICS.partitions) == partition}
            self.store.take(prefix, "lane")
            self.store.save(prefix, Position("lane", 0), Position("lane", 1), own)
        self.census = self.new(self.gauges)

    def new(self, gauges: Gauges, store: Any = None) -> Census:
        """Another worker's census of the same store."""
        config = LaneConfig(app="a", client={})
        made = Census(config, store or self.store, MATRIX, gauges, changes=CHANGES, states=STATES)
        made.__dict__["_topic_id"] = "id"
        return made


def queued(record: str) -> list[Any]:
    """A record with an open case: an automation cleared its date of birth."""
    return [
        row(record, 0, "ehr", {"date_of_birth": "1980-01-02"}, "nurse", op="c"),
        row(record, 1, "ehr", {"date_of_birth": None}, "integration"),
    ]


def waiting(*records: str) -> DecideLane:
    """Records with an open case each, one after the other."""
    lane = DecideLane()
    for record in records:
        lane.decide(*queued(record))
    return lane


def test_open_cases_are_counted_by_owner_and_age() -> None:
    """Opened a minute and three minutes after the beginning, and looked at an hour and a half later."""
    counted = Counted(waiting("r", "s").stored)

    assert 2 == counted.census.tick(EVERY_PARTITION, START + 90 * MINUTE)
    assert {("clinical_ops",): 2.0} == counted.gauges.above_zero("queue_open")
    assert {("clinical_ops",): 89 * 60.0} == counted.gauges.above_zero("queue_open_oldest_seconds")
    assert {} == counted.gauges.above_zero("queue_open_beyond_sla")
    by_age = counted.gauges.above_zero("queue_open_by_age")
    assert ("clinical_ops", "3600") not in by_age
    assert (2.0, 2.0) == (by_age["clinical_ops", "14400"], by_age["clinical_ops", "+Inf"])


def test_what_has_passed_its_first_deadline_is_beyond_its_sla_whoever_has_it() -> None:
    """Clinical Ops had four hours; a tick brings the case to the next owner with a deadline of its own."""
    lane = waiting("r")
    late = Counted(lane.stored)
    late.census.tick(EVERY_PARTITION, START + 5 * HOUR)
    assert {("clinical_ops",): 1.0} == late.gauges.above_zero("queue_open_beyond_sla")

    lane.offset = 5 * 60
    lane.decide(row("r", 9, "", {}, kind="tick"))
    passed_on = Counted(lane.stored)
    passed_on.census.tick(EVERY_PARTITION, START + 5 * HOUR + MINUTE)
    assert {("medical_lead",): 1.0} == passed_on.gauges.above_zero("queue_open")
    assert {("medical_lead",): 1.0} == passed_on.gauges.above_zero("queue_open_beyond_sla")


def test_a_worker_that_starts_knows_what_stands_at_its_first_round() -> None:
    """Nothing is kept in memory: another worker over the same store says the same."""
    counted = Counted(waiting("r", "s").stored)
    counted.census.tick(EVERY_PARTITION, START + HOUR)
    other = Gauges()
    counted.new(other).tick(EVERY_PARTITION, START + HOUR)

    assert counted.gauges.said == other.said


def test_the_workers_of_an_installation_add_up() -> None:
    """Each counts its own partitions only."""
    counted = Counted(waiting("r", "s", "t", "u").stored)
    one, two = Gauges(), Gauges()
    cases = counted.new(one).tick([0, 1], START + HOUR), counted.new(two).tick([2, 3], START + HOUR)

    assert 4 == sum(cases)
    found = (gauges.said["queue_open", "clinical_ops"] for gauges in (one, two))
    assert cases == tuple(found)


def test_a_lane_that_is_gone_is_not_counted_any_more() -> None:
    """Its new holder counts it."""
    counted = Counted(waiting("r").stored)
    counted.census.tick(EVERY_PARTITION, START + HOUR)
    assert 0 == counted.census.tick([], START + HOUR)
    assert {} == counted.gauges.above_zero("queue_open")


def test_a_tripped_breaker_shows_until_it_is_reset() -> None:
    """By system, as lanes; one for a system that the matrix does not have makes no series."""
    tripped = Breaker(tripped={"crm": START, "paper": START})
    counted = Counted({})
    prefix = key_prefix("a", "id", 2)
    state = bytes(DUE_BYTES) + msgspec.msgpack.encode(tripped)
    counted.store.save(prefix, Position("lane", 1), Position("lane", 2), {BREAKER: state})

    counted.census.tick(EVERY_PARTITION, START)
    assert {("crm",): 1.0} == counted.gauges.above_zero("breaker_lanes_tripped")
    reset = bytes(DUE_BYTES) + msgspec.msgpack.encode(Breaker())
    counted.store.save(prefix, Position("lane", 2), Position("lane", 3), {BREAKER: reset})
    counted.census.tick(EVERY_PARTITION, START)
    assert {} == counted.gauges.above_zero("breaker_lanes_tripped")


def test_what_is_only_observed_is_in_no_figure() -> None:
    """Nothing is due in observe mode, so the index has none of it."""
    lane = DecideLane(decide_step(observe=True))
    lane.decide(*queued("r"))
    counted = Counted(lane.stored)

    assert 0 == counted.census.tick(EVERY_PARTITION, START + HOUR)


def test_an_owner_that_the_matrix_no_longer_has_makes_no_series() -> None:
    """Its cases are counted with the stage field's owner."""
    lane = waiting("r")
    state = lane.state("r")
    [case] = state.cases.values()
    gone = msgspec.structs.replace(case, owner="Ann Doe")
    counted = Counted({"r": packed(msgspec.structs.replace(state, cases={case.field: gone}), START)})

    assert isinstance(gone, Case)
    assert 1 == counted.census.tick(EVERY_PARTITION, START + HOUR)
    assert {("growth_ops",): 1.0} == counted.gauges.above_zero("queue_open")
    assert [] == [key for key in counted.gauges.said if "Ann Doe" in key]


def test_a_damaged_state_stops_no_census() -> None:
    """Its lane says so; the others are counted."""
    lane = waiting("r", "s")
    damaged = lane.stored["s"][: DUE_BYTES + 6]
    counted = Counted(lane.stored | {"s": damaged})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ownership_stream.census.unpack", lambda stored, _: _opened(lane, stored, damaged))
        assert 1 == counted.census.tick(EVERY_PARTITION, START + HOUR)


def _opened(lane: DecideLane, stored: bytes, damaged: bytes) -> Any:
    """As a sealed state that turns out to be broken when somebody looks into it."""
    if stored == damaged:
        raise msgspec.DecodeError("broken")
    return lane.state("r")


def test_an_outage_is_told_and_the_figures_stay() -> None:
    """The next round makes up for it."""
    counted = Counted(waiting("r").stored)
    counted.census.tick(EVERY_PARTITION, START + HOUR)
    before = dict(counted.gauges.said)

    class Away(MemoryStore):
        """A store that does not answer."""

        def due(self, prefix: str, now: int, limit: int) -> list[str]:  # noqa: ARG002  # the contract's
            """Not now."""
            raise StoreAwayError("redis: away")

    with pytest.raises(StoreAwayError):
        counted.new(counted.gauges, Away()).tick(EVERY_PARTITION, START + 2 * HOUR)
    assert before == counted.gauges.said


def test_the_first_round_comes_soon_and_a_long_one_is_followed_by_a_long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it costs a twentieth of a core at most."""
    counted = Counted(waiting("r").stored)
    assert FIRST == counted.census.seconds
    counted.census.tick(EVERY_PARTITION, START)
    assert EVERY == counted.census.seconds
    times = iter([0.0, 10.0])
    monkeypatch.setattr("ownership_stream.census.monotonic", lambda: next(times))
    counted.census.tick(EVERY_PARTITION, START)
    assert 200.0 == counted.census.seconds
