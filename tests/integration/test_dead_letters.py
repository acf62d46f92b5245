"""`dead-letters` on a real Kafka: a replay goes the normal way, once, and nothing of it can be half done."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from chaos.clinic import clinic, contact, crm_event
from chaos.installation import Installation
from integration import topic_kit
from integration.brokers import await_answer
from integration.commands import SRC, command, feed, put, settled, shown, until, working
from integration.kafka_process import KafkaNode, java_is_there
from matrices import PATIENT
from ownership_stream.dead_letters import DeadLetters, Done, ReplayError, Wanted, place_of
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.wire import JSON, dead_letter

pytestmark = pytest.mark.real_broker
NAMED_LATER = {"Shoe_Size__c": "Zebedee"}
NOW = 1_767_261_600_000


@pytest.fixture(scope="module")
def site(servers: tuple[str, str]) -> Installation:
    """A clinic with three patients, whose CRM has a column that nobody has mapped yet: three letters about it."""
    site = Installation(*servers, partitions=2, source_partitions=1)
    with working(site):
        feed(site, islice(clinic(5, patients=3), 6))
        feed(site, [crm_event(100 + n, n, {"LastName": "Zebedee"} | NAMED_LATER, "UPDATE") for n in range(3)])
        settled(site)
    return site


@pytest.fixture
def looking(site: Installation) -> Iterator[DeadLetters]:
    """Somebody who reads and replays letters."""
    broker = broker_of(site)
    yield DeadLetters(site.settings, broker)
    broker.close()


def broker_of(site: Installation) -> Broker:
    """Kafka as an operator sees it."""
    return Broker(LaneConfig(app=site.name, client={"bootstrap.servers": site.bootstrap, "log_level": 0}))


def opened(site: Installation) -> list[dict[str, Any]]:
    """The letters that were not replayed, in the order of their offsets in the source."""
    rows: list[dict[str, Any]] = shown(site, "dead-letters", "list", "--open")[1]["dead_letters"]
    return sorted(rows, key=lambda row: int(row["offset"]))


def mended(folder: Path) -> dict[str, str]:
    """The documents with the column mended: the CRM's mapping leaves it out by name."""
    shutil.copytree(PATIENT.parent, folder)
    mapping = folder / "sources" / "crm.yaml"
    text = mapping.read_text(encoding="utf-8")
    assert "ignored: [Name," in text
    mapping.write_text(text.replace("ignored: [Name,", "ignored: [Shoe_Size__c, Name,"), encoding="utf-8")
    return {"matrix_path": str(folder / "patient.yaml"), "sources_path": str(folder / "sources")}


def names(site: Installation) -> Counter[str]:
    """The records whose change to the new name is on the log, each as often as it is."""
    changes = [JSON.read_change(message.value() or b"") for message in site.records(site.settings.topic_changes)]
    return Counter(c.record for c in changes if "Zebedee" in str(c.fields.get("legal_name")))


def test_a_letter_goes_back_to_where_it_came_from_once_and_is_decided_once(site: Installation, tmp_path: Path) -> None:
    """With its own bytes, key and headers; asked again it stays; forced again it is a `replay`: nothing changes."""
    letters = opened(site)
    assert ["unknown_column"] * 3 == [row["reason"] for row in letters]
    place = letters[0]["place"]
    source = site.sources["crm"]
    original = site.records(source)[letters[0]["offset"]]
    code, done = shown(site, "dead-letters", "replay", place)
    assert (ExitCode.OK, [False]) == (code, [one["before"] for one in done["replayed"]])
    back = site.records(source)[-1]
    mark = done["replayed"][0]["replayed"]
    assert (source, 0, back.offset()) == (mark["topic"], mark["partition"], mark["offset"])
    assert (original.key(), original.value()) == (back.key(), back.value())
    assert {"__ownership.replay.of": place, "__ownership.replay.first": place, "__ownership.replay.attempt": "1"} == {
        name: bytes(value).decode() for name, value in back.headers() or []
    }
    code, out, _ = command(site, "dead-letters", "replay", place)
    assert (ExitCode.OK, True) == (code, out.startswith(f"{place} was replayed before, at 20"))
    assert back.offset() == site.records(source)[-1].offset()

    documents = mended(tmp_path / "mended")
    with working(site, **documents):
        settled(site)
        assert {contact(0): 1} == names(site)
        states = states_of(site)
        assert ExitCode.OK == command(site, "dead-letters", "replay", place, "--again")[0]
        until(lambda: {contact(0): 2} == names(site), "the change once more")
        settled(site)
    # The lane's own states count it; the record's is the same, but for nothing.
    assert states[contact(0)] == states_of(site)[contact(0)]
    code, page = shown(site, "verify", "--outputs", **documents)
    assert (ExitCode.OK, 0) == (code, page["differences"]), page


def states_of(site: Installation) -> dict[str, bytes]:
    """The newest state of each record."""
    return {(m.key() or b"").decode(): m.value() or b"" for m in site.records(site.settings.topic_state)}


def test_a_record_that_fails_again_is_a_new_letter_that_says_which_it_was(site: Installation) -> None:
    """Down the whole chain: each repeats the one before it, and all name the first."""
    place = next(row["place"] for row in opened(site))
    known = {row["place"] for row in opened(site)}
    first = place
    with working(site):
        for attempt in (1, 2):
            assert ExitCode.OK == command(site, "dead-letters", "replay", place)[0]
            until(lambda: {row["place"] for row in opened(site)} - known != set(), "a new letter")
            [again] = [row for row in opened(site) if row["place"] not in known]
            assert (place, first, attempt) == (again["replay_of"], again["first"], again["attempt"])
            known.add(again["place"])
            place = again["place"]
    out = command(site, "dead-letters", "show", place)[1]
    assert f"replay 2 of {first}" in out


def test_a_replay_that_is_killed_before_its_commit_has_done_nothing(site: Installation, looking: DeadLetters) -> None:
    """Neither record nor mark; the next one ends its open transaction, and does both."""
    place = opened(site)[0]["place"]
    source = site.sources["crm"]
    before = len(site.records(source))
    script = (
        "import os\n"
        "from ownership_stream import dead_letters\n"
        "dead_letters._commit = lambda producer: (producer.flush(10), os._exit(137))\n"
        f"from ownership_stream.cli import main\nmain(['dead-letters', 'replay', '{place}'])\n"
    )
    environ = {f"OWNERSHIP_{name.upper()}": str(value) for name, value in site._plain().items()}
    environ |= {"PYTHONPATH": str(SRC), "PATH": os.environ["PATH"]}
    assert 137 == subprocess.run([sys.executable, "-c", script], env=environ, check=False, timeout=120).returncode
    [done] = list(looking.replay([looking.find(place_of(place))], by="me", now=NOW))
    assert (False, "me") == (done.before, done.mark.by)
    assert before + 1 == len(site.records(source))
    assert place not in {row["place"] for row in opened(site)}


def test_of_two_replays_at_once_one_is_fenced_and_each_letter_goes_back_once(site: Installation) -> None:
    """The second takes over while the first is between its reading and its writing."""
    broker, other = broker_of(site), broker_of(site)
    source = site.sources["crm"]
    before = len(site.records(source))

    class Overtaken(DeadLetters):
        """Is overtaken at the last moment."""

        def _transact(self, *arguments: Any) -> list[Done]:
            second = DeadLetters(site.settings, other)
            assert [False] == [done.before for done in second.replay([letter], by="second", now=NOW)]
            return super()._transact(*arguments)

    first = Overtaken(site.settings, broker)
    letter = next(one for one in list(first.letters(Wanted())) if one.place not in first.marks)
    with pytest.raises(ReplayError, match="another replay took over"):
        list(first.replay([letter], by="first", now=NOW))
    assert before + 1 == len(site.records(source))
    [done] = list(DeadLetters(site.settings, broker).replay([letter], by="first", now=NOW))
    assert (True, "second") == (done.before, done.mark.by)
    broker.close()
    other.close()


def test_letters_chosen_by_filters_are_confirmed_and_those_replayed_before_stay(site: Installation) -> None:
    """Without a terminal `--yes` is asked for; a dry run tells and does nothing."""
    source = site.sources["crm"]
    place = put_letter(site, source, 0)
    before = len(site.records(source))
    arguments = ("dead-letters", "replay", "--reason", "internal")
    code, _, err = command(site, *arguments)
    assert (
        ExitCode.USAGE,
        "error: 1 dead letters would be replayed: confirm with `--yes`, or look with `--dry-run`\n",
    ) == (
        code,
        err,
    )
    code, out, _ = command(site, *arguments, "--dry-run")
    assert (ExitCode.OK, f"{place} would go back to {source} [0]\n") == (code, out)
    assert before == len(site.records(source))
    assert f"{place} is back as {source}[0]@" in command(site, *arguments, "--yes")[1]
    assert "nothing to replay\n" == command(site, *arguments, "--yes")[1]
    assert before + 1 == len(site.records(source))


def put_letter(site: Installation, topic: str, partition: int, value: bytes = b"\xff no JSON") -> str:
    """A dead letter about a record of that topic; its place."""
    told = {"stage": "decide: step", "reason": "internal", "error": "KeyError", "message": "internal error: KeyError"}
    letter = dead_letter(key=b"k", value=value, headers=[], topic=topic, partition=partition, offset=7, **told)
    put(site, site.settings.topic_dead_letters, 1, letter)
    last: Message = [m for m in site.records(site.settings.topic_dead_letters) if m.partition() == 1][-1]
    return f"1:{last.offset()}"


def test_a_letter_whose_topic_or_partition_is_gone_cannot_go_back(site: Installation) -> None:
    """One line each, exit code 2, and nothing is made by mentioning it."""
    gone = put_letter(site, f"{site.name}.gone", 0)
    cut = put_letter(site, site.sources["crm"], 9)
    put(site, site.settings.topic_dead_letters, 1, (b"k", b"v", []))
    lists = "`ownership-stream dead-letters list`"
    strange = f"1:{int(cut.partition(':')[2]) + 1}"
    for place, line in (
        (gone, f"dead letter `{gone}` came from `{site.name}.gone`, which does not exist any more"),
        (cut, f"dead letter `{cut}` came from `{site.sources['crm']}` [9], and that topic has only 1 partitions now"),
        (strange, f"dead letter `{strange}` does not say where it came from: we did not write it"),
        ("7:1", f"`{site.settings.topic_dead_letters}` has no partition 7: it has 2, from 0 on"),
        ("1:999", f"no dead letter at `1:999`: {lists} shows what is there (after retention a letter is gone)"),
        ("one", "`one` is no place of a dead letter: give partition and offset, as `3:1042`"),
    ):  # fmt: skip
        code, out, err = command(site, "dead-letters", "replay", place)
        assert (ExitCode.USAGE, "", f"error: {line}\n") == (code, out, err)
    assert f"{site.name}.gone" not in site.admin.list_topics(timeout=10).topics


def test_a_record_that_its_topic_takes_no_more_is_told_and_nothing_is_half_done(site: Installation) -> None:
    """The topic's limit was lowered meanwhile: no record, no mark."""
    small = f"{site.name}.small"
    topic_kit.make(site.admin, NewTopic(small, 1, 1, config={"max.message.bytes": "300"}))
    place = put_letter(site, small, 0, value=os.urandom(5_000))
    code, _, err = command(site, "dead-letters", "replay", place)
    line = f"error: `{small}` takes no record so large: nothing was written; raise its `max.message.bytes`\n"
    assert (ExitCode.FAILED, line) == (code, err)
    assert [] == site.records(small)
    assert place in {row["place"] for row in opened(site)}


def test_a_broker_that_refuses_says_which_right_is_missing(embedded: Embedded, tmp_path: Path) -> None:
    """Kafka's own authorizer denies writing to the source; nothing is half done."""
    if not java_is_there():
        pytest.skip("needs Java and Maven: a broker with an authorizer of its own")
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    node = KafkaNode(tmp_path / "node", settings=authorizer)
    node.start()
    try:
        await_answer(node.bootstrap)
        site = Installation(node.bootstrap, embedded.redis_url, partitions=2, source_partitions=1)
        source = site.sources["crm"]
        place = put_letter(site, source, 0)
        for permitted in ([], [AclOperation.DESCRIBE, AclOperation.READ]):
            acl(site.admin, ResourceType.TOPIC, source, AclPermissionType.DENY, [AclOperation.WRITE])
            acl(site.admin, ResourceType.TOPIC, source, AclPermissionType.ALLOW, permitted)
            code, _, err = command(site, "dead-letters", "replay", place)
            line = f"error: kafka refuses to let this user write to `{source}`: allow it `Describe` and `Write` there\n"
            assert (ExitCode.UNAVAILABLE, line) == (code, err)
        assert [] == site.records(source)
        assert [place] == [row["place"] for row in opened(site)]
        name = f"{site.name}-dead-letters"
        acl(site.admin, ResourceType.TRANSACTIONAL_ID, name, AclPermissionType.DENY, [AclOperation.WRITE])
        code, _, err = command(site, "dead-letters", "replay", place)
        line = f"error: kafka refuses the transactional id `{name}`: allow this user `Write` on it\n"
        assert (ExitCode.UNAVAILABLE, line) == (code, err)
    finally:
        node.kill()


def acl(
    admin: AdminClient, kind: ResourceType, name: str, permission: AclPermissionType, operations: list[AclOperation]
) -> None:
    """What everybody may or may not do there."""
    anyone = (kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")
    for operation in operations:
        [answer] = admin.create_acls([AclBinding(*anyone, operation, permission)]).values()
        answer.result(30)
        # The broker refuses by what it has heard of from its controller, a moment later.
        asked = AclBindingFilter(*anyone, operation, permission)
        until(lambda asked=asked: admin.describe_acls(asked).result(30), "the rule is in force")
