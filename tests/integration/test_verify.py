"""`verify` on a real Kafka and Redis: silent beside workers under load, and it finds each thing that is broken."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
import redis
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
from pydantic import SecretStr

from chaos.clinic import clinic, contact
from chaos.installation import HASH_KEY, Installation
from integration import topic_kit
from integration.commands import command, feed, put, settled, shown, working
from matrices import PATIENT
from ownership_stream.errors import ExitCode
from ownership_stream.identity import partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.store import POSITION_FIELD, STATES_KEY, key_prefix
from ownership_stream.telemetry import hash_id, hash_key

pytestmark = pytest.mark.real_broker
PARTITIONS = 2
PATIENT_ID = contact(13)
"""One whose birth date nobody edits, so that it never is in doubt who it is."""
LANE = partition_of(PATIENT_ID, PARTITIONS)


@pytest.fixture(scope="module")
def site(servers: tuple[str, str]) -> Installation:
    """A clinic's afternoon, settled; the worker has gone home."""
    site = Installation(*servers, partitions=PARTITIONS, source_partitions=2)
    with working(site, batch_max_records=40):
        feed(site, islice(clinic(3, patients=20), 800))
        settled(site)
    return site


class Cache:
    """What Redis holds of the lane that has the patient: one hash, records by name."""

    def __init__(self, site: Installation) -> None:
        broker = Broker(LaneConfig(app=site.name, client={"bootstrap.servers": site.bootstrap, "log_level": 0}))
        self.key = key_prefix(site.name, broker.topic_id(site.settings.topic_state), LANE) + STATES_KEY
        broker.close()
        self.redis = redis.Redis.from_url(site.redis_url)

    def get(self, name: str) -> bytes:
        """What stands under a name."""
        found: Any = self.redis.hget(self.key, name)
        return bytes(found or b"")

    def put(self, name: str, value: bytes) -> None:
        """Writes past every lane."""
        self.redis.hset(self.key, name, value)

    def delete(self, name: str) -> None:
        """Likewise."""
        self.redis.hdel(self.key, name)


@pytest.fixture
def cache(site: Installation) -> Iterator[Cache]:
    """What is broken in the lane's states is mended afterwards."""
    cache = Cache(site)
    kept = {name: cache.get(name) for name in (PATIENT_ID, POSITION_FIELD)}
    yield cache
    for name, value in kept.items():
        cache.put(name, value)
    cache.delete("stray")
    cache.redis.close()


def first(site: Installation, *arguments: str, **said: Any) -> dict[str, Any]:
    """The first difference, which must be the only one; no name and no value of a patient in what is printed."""
    code, out, err = command(site, "--output", "json", "verify", *arguments, **said)
    assert not [word for word in (PATIENT_ID, "Doe", "Roe", "x.org") if word in out + err]
    page = json.loads(out)
    assert (ExitCode.PROBLEMS, 1) == (code, page["differences"]), page
    found: dict[str, Any] = page["first"]
    return found


def hashed() -> str:
    """The patient as it is named."""
    return f"#{hash_id(hash_key(SecretStr(HASH_KEY)), PATIENT_ID)[:8]}"


def test_a_settled_installation_stands_as_it_follows_from_its_log(site: Installation) -> None:
    """Every change is decided again, every state is equal in both places, and every output is there."""
    code, page = shown(site, "verify", "--outputs")
    assert (ExitCode.OK, 0, 0) == (code, page["differences"], page["unverified"]), page
    lanes = [lane for lane in page["lanes"] if lane["stage"] == "decide"]
    records = site.records(site.settings.topic_changes)
    assert len(records) == sum(lane["changes"] for lane in lanes)
    # Twenty contacts, and the homes of their patients.
    assert [40, 40] == [sum(lane[name] for lane in lanes) for name in ("records", "in_redis")]
    topics = (*map(site.settings.topic_apply, ("ehr", "crm")), site.settings.topic_conflicts, site.settings.topic_links)
    outputs = sum(len(site.records(topic)) for topic in (*topics, site.settings.topic_resolutions))
    assert outputs == sum(lane["outputs"] for lane in lanes) > 500
    assert {"decide", "match"} == {lane["stage"] for lane in page["lanes"]}


def test_a_flipped_bit_in_redis_is_found_with_the_name_of_what_it_changed(site: Installation, cache: Cache) -> None:
    """The record by its hash; no offset, since the record never was in that state."""
    state = bytearray(cache.get(PATIENT_ID))
    state[state.index(b"metformin")] ^= 1
    cache.put(PATIENT_ID, bytes(state))
    found = first(site)
    assert ("redis", "differs", "decide", LANE, hashed(), None) == tuple(
        found[name] for name in ("what", "how", "stage", "partition", "record", "since")
    )
    assert [] != found["fields"] == [name for name in found["fields"] if "medication_plan" in name]


def test_a_state_that_redis_lost_or_has_too_many_is_found(site: Installation, cache: Cache) -> None:
    """A missing key; a key that no changelog knows."""
    cache.delete(PATIENT_ID)
    assert ("redis", "missing", hashed()) == tuple(first(site)[name] for name in ("what", "how", "record"))
    cache.put(PATIENT_ID, site_state(site))
    cache.put("stray", site_state(site))
    assert ("redis", "unexpected") == tuple(first(site)[name] for name in ("what", "how"))


def test_a_state_that_redis_stopped_following_is_told_since_when(site: Installation, cache: Cache) -> None:
    """A save that was lost: Redis has a state from before the last change that made it another one."""
    states = [message for message in site.records(site.settings.topic_state) if message.key() == PATIENT_ID.encode()]
    assert len(states) > 2
    # A repeated event in a batch of its own commits the same state once more: that one would be no difference.
    unlike = [message.value() or b"" for message in states if message.value() != states[-1].value()]
    cache.put(PATIENT_ID, unlike[-1])
    found = first(site)
    offsets = [m.offset() for m in site.records(site.settings.topic_changes) if m.key() == PATIENT_ID.encode()]
    assert found["since"] in offsets
    assert offsets[-1] == found["until"]


def test_a_redis_without_position_or_beyond_the_end_is_not_believed(site: Installation, cache: Cache) -> None:
    """Without one nothing it holds counts, and that is no difference; beyond the end it is of another log."""
    cache.delete(POSITION_FIELD)
    code, page = shown(site, "verify", "--partition", str(LANE))
    assert (ExitCode.INCOMPLETE, 0, 1) == (code, page["differences"], page["unverified"])
    assert "the lane's next start fills it" in page["lanes"][0]["unverified"][0]
    cache.put(POSITION_FIELD, b"somebody:999999")
    assert ("position", 999_999) == tuple(first(site)[name] for name in ("what", "offset"))


@pytest.mark.parametrize(("left_out", "how"), [(1, "missing"), (0, "unexpected"), (-1, "twice")])
def test_a_lost_a_strange_and_a_repeated_output_are_found(site: Installation, left_out: int, how: str) -> None:
    """The conflicts as they are but for one record: on a copy of the topic, since nothing can be taken from a log."""
    settings = site.settings
    copy = f"{settings.topic_conflicts}-{how}"
    topic_kit.make(site.admin, NewTopic(copy, PARTITIONS, 1))
    messages = [message for message in site.records(settings.topic_conflicts) if message.partition() == LANE]
    broken: Any = [(message.key(), message.value(), message.headers()) for message in messages]
    lost = messages[7]
    broken[7:8] = {1: [], 0: [broken[7], (b"r", b"{}", [])], -1: [broken[7], broken[7]]}[left_out]
    put(site, copy, LANE, *broken)
    found = first(site, "--outputs", "--partition", str(LANE), topic_conflicts=copy)
    assert ("output", how, copy) == tuple(found[name] for name in ("what", "how", "topic"))
    if how == "missing":
        subject = dict(lost.headers() or [])["ce_subject"]
        assert f"#{hash_id(hash_key(SecretStr(HASH_KEY)), bytes(subject).decode())[:8]}" == found["record"]
        change = bytes(dict(lost.headers() or [])["ce_id"]).partition(b":")[0]
        [at] = [m.offset() for m in site.records(settings.topic_changes) if change in (m.value() or b"")]
        assert (at, at) == (found["since"], found["until"])


def site_state(site: Installation) -> bytes:
    """The patient's newest state on the changelog."""
    found = [message for message in site.records(site.settings.topic_state) if message.key() == PATIENT_ID.encode()]
    return found[-1].value() or b""


def test_a_wrong_state_on_the_changelog_is_found_at_once_and_after_the_lane_went_on(servers: tuple[str, str]) -> None:
    """Somebody wrote an older state of the record; the lane then builds on it, and what it says is wrong for good."""
    site = Installation(*servers, partitions=1, source_partitions=1)
    events = clinic(5, patients=3)
    with working(site, batch_max_records=10):
        feed(site, islice(events, 60))
        settled(site)
    topic, name = site.settings.topic_state, contact(1).encode()
    states = [message for message in site.records(topic) if message.key() == name]
    put(site, topic, 0, (name, states[0].value(), []))
    code, page = shown(site, "verify")
    assert (ExitCode.PROBLEMS, "state", "unexpected") == (code, page["first"]["what"], page["first"]["how"])
    assert page["first"]["offset"] == [m for m in site.records(topic) if m.key() == name][-1].offset()

    with working(site):
        feed(site, islice(events, 30))
        settled(site)
    code, page = shown(site, "verify", "--ids")
    found = page["first"]
    assert (ExitCode.PROBLEMS, "state", "differs", contact(1)) == (code, found["what"], found["how"], found["record"])
    assert [] != found["fields"]
    after = [m.offset() for m in site.records(site.settings.topic_changes) if m.key() == name]
    assert found["since"] in after


def test_beside_workers_under_load_there_is_no_false_alarm(servers: tuple[str, str]) -> None:
    """Two workers, one of them killed, events without pause: each look is at a consistent point, and all is well."""
    soon = {"session_timeout_seconds": 3.0, "transaction_timeout_seconds": 4.0, "message_timeout_seconds": 4.0}
    site = Installation(*servers, partitions=PARTITIONS, source_partitions=2, said=soon)
    events, enough = clinic(11, patients=30), threading.Event()

    def load() -> None:
        while not enough.wait(0.2):  # each look decides all of it again: more would only take longer
            feed(site, islice(events, 40))

    feeding = threading.Thread(target=load)
    changes = []
    with working(site), site_worker(site) as other:
        feeding.start()
        try:
            for look in range(4):
                code, page = shown(site, "verify", "--outputs")
                assert (ExitCode.OK, 0, 0) == (code, page["differences"], page["unverified"]), page
                changes.append(sum(lane["changes"] for lane in page["lanes"]))
                if look == 1:
                    other.process.kill()
        finally:
            enough.set()
            feeding.join()
        settled(site)
        assert ExitCode.OK == shown(site, "verify", "--outputs")[0]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


def site_worker(site: Installation) -> Any:
    """Another worker, which may be killed."""
    return closing(site.worker())


def test_what_retention_took_is_not_verified_and_said_and_the_rest_is(servers: tuple[str, str]) -> None:
    """First of the conflicts, then all of them, then the first changes: then states are compared with Redis only."""
    site = Installation(*servers, partitions=1, source_partitions=1)
    with working(site):
        feed(site, islice(clinic(5, patients=3), 200))
        settled(site)
    topic, changes = site.settings.topic_conflicts, site.settings.topic_changes
    conflicts = site.records(topic)
    number = len(conflicts)
    whole = shown(site, "verify", "--outputs")[1]["lanes"][0]["outputs"]
    delete_before(site, topic, conflicts[number // 2].offset() or 0)
    code, page = shown(site, "verify", "--outputs")
    assert (ExitCode.OK, whole - number // 2) == (code, page["lanes"][0]["outputs"])
    delete_before(site, topic, OFFSET_END)
    code, page = shown(site, "verify", "--outputs")
    assert (ExitCode.INCOMPLETE, whole - number) == (code, page["lanes"][0]["outputs"])
    assert page["lanes"][0]["unverified"] == [f"`{topic}` holds none of its {number} outputs any more"]

    delete_before(site, changes, 5)
    code, page = shown(site, "verify", "--outputs")
    assert (ExitCode.INCOMPLETE, 0, 1) == (code, page["differences"], page["unverified"])
    lane = page["lanes"][0]
    # Three contacts, and the homes of their patients.
    assert (6, 6, 0) == (lane["records"], lane["in_redis"], lane["changes"])
    why = f"the changes before offset 5 of `{changes}` are gone (retention)"
    assert [f"{why}: its states are compared with the store only"] == lane["unverified"]
    code, out, _ = command(site, "verify")
    assert (ExitCode.INCOMPLETE, "no difference in what could be verified") == (code, out.splitlines()[-1])


def delete_before(site: Installation, topic: str, offset: int) -> None:
    """Takes the first records of partition 0, as retention does."""
    for answer in site.admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        answer.result(30)


def test_each_part_of_the_log_is_decided_by_the_matrix_and_mode_of_its_time(
    servers: tuple[str, str], tmp_path: Any
) -> None:
    """A new revision and a time of observing: verified with the former document, and refused by name without it."""
    site = Installation(*servers, partitions=1, source_partitions=1)
    new = tmp_path / "new" / "patient.yaml"
    shutil.copytree(PATIENT.parent, new.parent)
    text = PATIENT.read_text(encoding="utf-8").replace("revision: 2026-11-23", "revision: 2027-01-01")
    new.write_text(text.replace("label: Lead source\n", "label: Source of the lead\n"), encoding="utf-8")
    documents = {"matrix_path": str(new), "sources_path": str(new.parent / "sources")}
    events = clinic(5, patients=3)
    for said in ({"mode": "observe"}, {}, documents):
        with working(site, **said):
            feed(site, islice(events, 60))
            settled(site)
    code, page = shown(site, "verify", "--outputs", "--former-matrix", str(PATIENT), **documents)
    assert (ExitCode.OK, 0, 0) == (code, page["differences"], page["unverified"]), page
    assert page["lanes"][0]["changes"] > 150

    code, page = shown(site, "verify", "--outputs", **documents)
    assert (ExitCode.INCOMPLETE, 0, 1) == (code, page["differences"], page["unverified"])
    [why] = page["lanes"][0]["unverified"]
    assert why.startswith("from offset 0 on, it was decided by matrix revision `2026-11-23+")
    assert "give that document with `--former-matrix`" in why
    assert (6, 6) == tuple(page["lanes"][0][name] for name in ("records", "in_redis"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--partition", "7"], "has no partition 7: it has 2, from 0 on"),
        (["--partition", "a"], "`a` is no partition: give numbers, as `0,3`"),
        (["--former-matrix", "nowhere.yaml"], "nowhere.yaml: cannot be read: no such file or directory"),
    ],
)
def test_what_cannot_be_verified_as_asked_is_one_line(site: Installation, arguments: list[str], line: str) -> None:
    """Exit code 2."""
    code, out, err = command(site, "verify", *arguments)
    assert (ExitCode.USAGE, "", 1) == (code, out, len(err.splitlines()))
    assert line in err


def test_a_number_of_partitions_that_is_not_the_topics_is_told(site: Installation) -> None:
    """The setting and the topics must say the same."""
    code, _, err = command(site, "verify", partitions="3")
    assert ExitCode.USAGE == code
    assert "has 2 partitions and the setting `partitions` says 3" in err
