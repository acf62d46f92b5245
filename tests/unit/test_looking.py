"""Looking at what the lanes have left: states out of Redis, changes out of the log, nothing disturbed."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from avro_kit import Shelf, avro_wire, serving
from kept_kit import Kept
from ownership_stream import looking
from ownership_stream.embedded import Embedded, free_port
from ownership_stream.errors import BadInputError, UnavailableError
from ownership_stream.identity import partition_of
from ownership_stream.lane.contract import LaneRefusedError, Record
from ownership_stream.looking import Looker, look
from ownership_stream.settings import WireFormat
from ownership_stream.steps import BREAKER
from ownership_stream.store import POSITION_FIELD
from step_kit import MINUTE, START, DecideLane, log_record, others_of, row

ONE = "r"
NEAR, FAR = others_of(ONE, same=True), others_of(ONE, same=False)


@pytest.fixture
def kept(servers: Embedded) -> Kept:
    """Three records of two lanes, decided."""
    kept = Kept(servers)
    kept.decided(
        row(ONE, 0, "crm", {"email": "a@x.org"}, "person", op="c"),
        row(NEAR, 0, "crm", {"email": "b@x.org"}, "person", op="c"),
        row(FAR, 0, "crm", {"email": "c@x.org"}, "person", op="c"),
        row(ONE, 1, "crm", {"email": "d@x.org"}, "person"),
    )
    return kept


@pytest.fixture
def looker(kept: Kept) -> Iterator[Looker]:
    """Somebody who looks."""
    with look(kept.settings) as looking:
        yield looking


def hashed(record: str) -> str:
    """A hash as pages show it."""
    return {ONE: "ab12", NEAR: "ab99", FAR: "cd00"}.get(record, "ffff")


def test_a_record_s_state_is_what_its_lane_left(looker: Looker) -> None:
    """Found in its partition."""
    for record, email in ((ONE, "d@x.org"), (NEAR, "b@x.org"), (FAR, "c@x.org")):
        state = looker.state(record)
        assert state is not None
        assert email == state.fields["email"].value


@pytest.mark.parametrize("record", ["nobody", BREAKER, POSITION_FIELD, "__other"])
def test_what_is_no_record_has_no_state(looker: Looker, record: str) -> None:
    """Never seen; and what lanes keep for themselves is nobody's record."""
    assert looker.state(record) is None


def test_every_record_is_seen_and_nothing_else(looker: Looker) -> None:
    """Of all lanes; without what lanes keep for themselves."""
    assert {ONE, NEAR, FAR} == {record for record, _ in looker.states()}
    assert 3 == len(list(looker.states()))


def test_another_application_s_records_are_not_seen(servers: Embedded, looker: Looker) -> None:
    """Even on the same Redis."""
    other = Kept(servers)
    other.decided(row("stranger", 0, "crm", {}, op="c"))
    assert "stranger" not in {record for record, _ in looker.states()}


@pytest.mark.parametrize(("said", "found"), [(ONE, ONE), ("#ab12", ONE), ("#ab9", NEAR), ("#c", FAR), ("#CD", FAR)])
def test_a_record_is_found_by_its_id_or_the_beginning_of_its_hash(looker: Looker, said: str, found: str) -> None:
    """As logs and pages name it."""
    assert found == looker.find(said, hashed)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("nobody", "no record `nobody`: give its record id, or its hash as `#3f2a`"),
        (BREAKER, f"no record `{BREAKER}`: give its record id, or its hash as `#3f2a`"),
        ("#ee", "no record has a hash that begins with `#ee`: give more of it, or the record id"),
        ("#ab", "2 records have a hash that begins with `#ab`: give more of it, or the record id"),
    ],
)
def test_what_names_no_one_record_is_refused(looker: Looker, said: str, line: str) -> None:
    """In one line that says what to give instead."""
    with pytest.raises(BadInputError) as caught:
        looker.find(said, hashed)
    assert [line] == list(caught.value.problems)


def test_a_record_s_changes_come_in_the_order_of_the_log(looker: Looker) -> None:
    """Its own only, received at the broker's time."""
    changes = list(looker.changes(ONE))
    assert [(f"{ONE}-crm-0", START), (f"{ONE}-crm-1", START + 3 * MINUTE)] == [
        (change.id, change.received) for change in changes
    ]
    assert [f"{NEAR}-crm-0"] == [change.id for change in looker.changes(NEAR)]
    assert [] == list(looker.changes("nobody"))


def test_what_is_no_change_is_no_part_of_a_record_s_story(kept: Kept, looker: Looker) -> None:
    """It stands on the log under the record's key, and became a dead letter."""
    where = partition_of(ONE, kept.settings.partitions)
    for value in (b"?", None, b"{}"):
        kept.log([Record("", where, 0, START, ONE.encode(), value, ())])
    kept.log([log_record(row(ONE, 2, "crm", {}), 7)])
    assert [f"{ONE}-crm-{number}" for number in range(3)] == [change.id for change in looker.changes(ONE)]


def test_a_change_in_avro_is_part_of_a_record_s_story(kept: Kept) -> None:
    """By the wire of the settings; the registry is a server of this process."""
    shelf = Shelf()
    change = row(ONE, 9, "crm", {})
    with serving(shelf) as url:
        settings = kept.settings.model_copy(update={"wire": WireFormat.AVRO, "registry_url": url})
        kept.log([log_record(change, 8)._replace(value=avro_wire(shelf).encode(change))])
        with look(settings) as looker:
            assert change.id in [one.id for one in looker.changes(ONE)]


def test_a_state_of_another_release_is_refused(kept: Kept, looker: Looker) -> None:
    """Rather than shown wrong."""
    kept.keep({ONE: bytes(8) + b"\x91\x63"})
    with pytest.raises(LaneRefusedError, match="has format 99"):
        looker.state(ONE)


def test_looking_leaves_nothing_behind(kept: Kept) -> None:
    """No group, no topic, no key."""
    admin = AdminClient({"bootstrap.servers": kept.settings.brokers, "log_level": 0})
    keys = sorted(kept.store._client.keys("*"))
    topics = admin.list_topics(timeout=10).topics.keys()
    with look(kept.settings) as looker:
        list(looker.states())
        list(looker.changes(ONE))
    assert keys == sorted(kept.store._client.keys("*"))
    assert topics == admin.list_topics(timeout=10).topics.keys()
    assert [] == [
        group.group_id for group in admin.list_consumer_groups().result().valid if group.group_id == kept.name
    ]


@pytest.mark.parametrize("what", ["brokers", "redis_url"])
def test_servers_that_are_away_are_named(kept: Kept, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the exit code for what does not answer."""
    monkeypatch.setattr(looking, "METADATA_SECONDS", 0.3)
    port = free_port()
    away = {"brokers": f"127.0.0.1:{port}", "redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")}
    settings = kept.settings.model_copy(update={what: away[what]})
    with (
        pytest.raises(UnavailableError, match="^redis: " if what == "redis_url" else "^kafka: "),
        look(settings) as looker,
    ):
        looker.state(ONE)


def test_records_that_wait_are_read_in_pieces_and_each_once(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of what is due, also where many are due at one time; from a time on."""
    monkeypatch.setattr(looking, "FIRST", 2)
    monkeypatch.setattr(looking, "AT_ONCE", 3)
    dues = {f"w{number}": 1 + number // 7 for number in range(40)}
    lane = DecideLane()
    for record in dues:
        lane.decide(row(record, 0, "crm", {"email": "a@x.org"}, "person", op="c"))
    kept.keep({record: due.to_bytes(8, "big") + lane.stored[record][8:] for record, due in dues.items()})
    with look(kept.settings) as looker:
        found = [(at, one.record) for at, one in looker.waiting()]
        assert sorted(at for at, _ in found) == [at for at, _ in found]
        assert sorted((due, record) for record, due in dues.items()) == sorted(found)
        assert {record for record, due in dues.items() if due >= 4} == {one.record for _, one in looker.waiting(4)}
