"""The ticker: a tick on the log for each record that is due, and for no other."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from avro_kit import Shelf, avro_wire
from kept_kit import Kept
from ownership_stream import ticker
from ownership_stream.embedded import PARTITIONS, Embedded, free_port
from ownership_stream.errors import UnavailableError
from ownership_stream.identity import partition_of
from ownership_stream.lane import LaneConfig, Record
from ownership_stream.lane.broker import WAIVE_TOPIC_IDS
from ownership_stream.steps import DecideStep
from ownership_stream.store import DUE_BYTES, RedisStore
from ownership_stream.ticker import LONGEST_REST, Rests, Ticker, TickWriter
from ownership_stream.wire import JSON
from step_kit import MINUTE, START, DecideLane, applies_in, row

EVERY = range(PARTITIONS)


@pytest.fixture
def kept(servers: Embedded) -> Kept:
    """An application without records."""
    return Kept(servers)


def ticker_of(kept: Kept, store: RedisStore | None = None) -> Ticker:
    """Its ticker."""
    client: dict[str, str | int] = {"bootstrap.servers": kept.settings.brokers, "log_level": 0}
    config = LaneConfig(app=kept.name, client=client, waived=frozenset({WAIVE_TOPIC_IDS}))
    settings = kept.settings
    return Ticker(config, store or kept.store, changes=settings.topic_changes, states=settings.topic_state, seconds=1.0)


def test_a_tick_is_written_by_the_wire_of_the_topic() -> None:
    """A reader of Avro finds no JSON there; the producer is one that only keeps what it is given."""
    wire = avro_wire(Shelf())
    kept: list[Any] = []
    writer = TickWriter(LaneConfig(app="a", client={}), "ownership.changes", wire)
    given = SimpleNamespace(produce=lambda *said, **_: kept.append(said), flush=lambda _: 0)
    writer.__dict__["_producer"] = given

    assert 1 == writer.write([("r", 3)], START)
    [(_, value, key, partition)] = kept
    assert ("tick", "r", b"r", 3) == (wire.read_change(value).kind, wire.read_change(value).record, key, partition)


def due(at: int) -> bytes:
    """A state that is due then."""
    return at.to_bytes(DUE_BYTES, "big") + b"state"


def test_a_tick_is_written_for_each_record_that_is_due(kept: Kept) -> None:
    """In the record's own partition, under its key, at the time of the round."""
    records = [f"r{number}" for number in range(20)]
    kept.keep({record: due(START + number) for number, record in enumerate(records)})
    assert 10 == ticker_of(kept).tick(EVERY, START + 9)
    messages = kept.read(kept.settings.topic_changes, 10)
    ticks = [JSON.read_change(message.value() or b"") for message in messages]
    assert sorted(records[:10]) == sorted(tick.record for tick in ticks)
    assert {("tick", START + 9, "")} == {(tick.kind, tick.at, tick.system) for tick in ticks}
    assert 10 == len({tick.id for tick in ticks})
    for message, tick in zip(messages, ticks, strict=True):
        assert tick.record.encode() == message.key()
        assert partition_of(tick.record, PARTITIONS) == message.partition()
        assert ("ce_type", b"ownership.change.v1") in (message.headers() or [])


def test_only_the_partitions_that_are_ours_are_looked_at(kept: Kept) -> None:
    """Another worker writes the ticks of the others."""
    records = [f"r{number}" for number in range(40)]
    kept.keep(dict.fromkeys(records, due(START)))
    ours = [1, 3]
    expected = sum(partition_of(record, PARTITIONS) in ours for record in records)
    assert 0 < expected < len(records)
    assert expected == ticker_of(kept).tick(ours, START)
    assert set(ours) == {message.partition() for message in kept.read(kept.settings.topic_changes, expected)}
    assert 0 == ticker_of(kept).tick([], START)


def test_what_waits_for_nothing_gets_no_tick(kept: Kept) -> None:
    """Not due yet, or never."""
    kept.keep({"later": due(START + 1), "never": due(0), "done": due(START)})
    kept.keep({"done": due(0)})
    assert 0 == ticker_of(kept).tick(EVERY, START)


def test_without_a_tick_to_write_nobody_is_written_to(kept: Kept) -> None:
    """No producer is made before it is needed."""
    idle = ticker_of(kept)
    assert 0 == idle.tick(EVERY, START)
    assert "_producer" not in vars(idle)


def test_the_longest_overdue_come_first_and_the_rest_in_the_next_round(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round of one partition is bounded, so that a long outage is worked off in pieces."""
    monkeypatch.setattr(ticker, "MOST", 2)
    names = [name for name in (f"r{number}" for number in range(100)) if partition_of(name, PARTITIONS) == 0][:3]
    kept.keep({name: due(START - number) for number, name in enumerate(names)})
    assert 2 == ticker_of(kept).tick([0], START)
    ticked = [JSON.read_change(message.value() or b"").record for message in kept.read(kept.settings.topic_changes, 2)]
    assert [names[2], names[1]] == ticked


def test_a_record_that_stays_due_is_ticked_at_growing_distances(kept: Kept) -> None:
    """Its ticks fail, each into a dead letter, or wait behind a lag: neither is helped by one in each round."""
    kept.keep({"failing": due(START)})
    one = ticker_of(kept)
    seconds = [second for second in range(100) if one.tick(EVERY, START + second * 1000)]
    assert [0, 2, 6, 14, 30, 62] == seconds


def test_the_distance_has_an_end() -> None:
    """A record that was mended by a new release gets its tick within a day."""
    rests = Rests()
    now = distance = 0
    for _ in range(40):
        assert ["r"] == rests.choose(["r"], now, 1000)
        distance = rests["r"][1]
        now += distance
        assert [] == rests.choose(["r"], now - 1, 1000)
    assert LONGEST_REST == distance


def test_a_record_whose_tick_worked_is_forgotten() -> None:
    """Its next due time is a new matter, and nothing is kept of records that wait for nothing."""
    rests = Rests()
    assert ["r"] == rests.choose(["r"], 0, 1000)
    assert [] == rests.choose(["r"], 500, 1000)
    assert [] == rests.choose([], 600, 1000)
    assert {} == rests
    assert ["r"] == rests.choose(["r"], 700, 1000)


def test_records_at_rest_do_not_take_the_places_of_others(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the longest overdue, and would be all that a bounded round sees."""
    monkeypatch.setattr(ticker, "MOST", 2)
    names = [name for name in (f"r{number}" for number in range(100)) if partition_of(name, PARTITIONS) == 0][:3]
    kept.keep({name: due(START - 100 + number) for number, name in enumerate(names)})
    one = ticker_of(kept)
    assert (2, 1) == (one.tick([0], START), one.tick([0], START + 1000))


def test_a_tick_of_the_same_round_written_twice_is_the_same_tick(kept: Kept) -> None:
    """A tick too many changes nothing; its id says that it is one."""
    kept.keep({"r": due(START)})
    for _ in range(2):
        ticker_of(kept).tick(EVERY, START)
    first, second = (JSON.read_change(message.value() or b"") for message in kept.read(kept.settings.topic_changes, 2))
    assert first == second


def test_a_tick_brings_on_what_the_record_waited_for(kept: Kept) -> None:
    """All the way: a value sent and not seen back, the record due, the tick decided, the value sent once more."""
    lane = kept.decided(
        row("r", 0, "crm", {}, "person", op="c"),
        row("r", 0, "ehr", {}, op="c"),
        row("r", 1, "crm", {"email": "a@x.org"}, "person"),
    )
    sent = START + 2 * MINUTE
    assert 0 == ticker_of(kept).tick(EVERY, sent + 15 * MINUTE - 1)
    assert 1 == ticker_of(kept).tick(EVERY, sent + 15 * MINUTE)
    [message] = [one for one in kept.read(kept.settings.topic_changes, 4) if b'"tick"' in (one.value() or b"")]
    decided_again(lane, message.value(), sent + 15 * MINUTE)
    assert ["a@x.org"] * 2 == [apply.after["email"] for apply in applies_in(lane.outputs, "ehr")]
    kept.keep(lane.stored)
    assert 0 == ticker_of(kept).tick(EVERY, sent + 15 * MINUTE)


def decided_again(lane: DecideLane, value: bytes | None, at: int) -> None:
    """The tick reaches its lane."""
    assert isinstance(lane.step, DecideStep)
    lane.batch([Record("ownership.changes", partition_of("r", 4), 9, at, b"r", value, ())])


def test_a_store_that_is_away_is_told(kept: Kept) -> None:
    """The next round makes up for it."""
    store = RedisStore.from_url(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(UnavailableError, match=r"^redis: "):
        ticker_of(kept, store).tick(EVERY, START)


def test_the_ticker_speaks_to_nobody_before_its_first_round(kept: Kept) -> None:
    """Making one costs nothing, wherever the servers are."""
    away = kept.settings.model_copy(
        update={"brokers": f"127.0.0.1:{free_port()}", "redis_url": SecretStr("redis://127.0.0.1:1/0")}
    )
    kept.settings = away
    idle = ticker_of(kept)
    assert (away.topic_changes, 1.0) == (idle.topic, idle.seconds)
