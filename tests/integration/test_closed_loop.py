"""Two PostgreSQL databases, Debezium on each, the shipped worker, JDBC sinks back into both: it converges and stops.

Everything is real. People edit both databases by SQL at the same time; meanwhile the connectors are restarted, killed,
and told to read everything again. With the marker column and without it, in JSON and all in Avro.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from closed_loop.forms import JSON_WITH_SCHEMA, avro
from closed_loop.judge import Judge
from closed_loop.people import LONG, NEWCOMER, begin, contact
from closed_loop.postgresql import PostgreSQL, programs
from closed_loop.seen import see
from closed_loop.site import SIDES, ClosedLoop
from closed_loop.story import Story
from integration.brokers import TestBroker
from integration.commands import shown
from integration.registry import ApicurioNode
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode

pytestmark = [pytest.mark.real_broker, pytest.mark.slow, pytest.mark.timeout(600)]
SEED = 11


@pytest.fixture(scope="module")
def server(broker: TestBroker) -> Iterator[PostgreSQL]:
    """PostgreSQL, and everything else that the loop needs of this machine."""
    if not broker.real:
        pytest.skip(f"needs a real Kafka, this one is {broker.kind}: Docker, or Java and Maven, would bring one")
    for tool in ("java", "mvn", "redis-server"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs `{tool}` on the PATH")
    if programs() is None:
        pytest.skip("needs a PostgreSQL server of this machine's own (Debian: apt-get install postgresql)")
    with PostgreSQL() as server:
        yield server


class Way(NamedTuple):
    """One way to set up the loop; Connect is killed with -9 where there is a marker (docs/sinks.md)."""

    marker: bool
    careful: frozenset[str] = frozenset()
    avro: bool = False


WAYS: Final = {
    "marker and JDBC sinks": Way(marker=True),
    "no marker and a careful writer": Way(marker=False, careful=frozenset({"crm"})),
    "marker and JDBC sinks, all in Avro": Way(marker=True, avro=True),
}


@pytest.fixture(scope="module", params=list(WAYS.values()), ids=list(WAYS))
def story(
    request: pytest.FixtureRequest,
    server: PostgreSQL,
    broker: TestBroker,
    embedded: Embedded,
    registry_node: ApicurioNode,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """The whole story, lived through and at rest."""
    folder: Path = tmp_path_factory.mktemp("loop")
    way: Way = request.param
    form = JSON_WITH_SCHEMA
    if way.avro:
        registry_node.start()
        form = avro(registry_node)
    with ClosedLoop(
        broker.bootstrap, embedded.redis_url, server, folder, begin(), way.marker, way.careful, form
    ) as loop:
        told = Story(loop, SEED, crash=way.marker)
        told.live()
        yield told


@pytest.fixture(scope="module")
def judge(story: Story) -> Judge:
    """What followed from the story, recomputed once."""
    return Judge(see(story.loop))


def test_systems_that_agree_are_sent_nothing(story: Story) -> None:
    """The first snapshots of both tables begin the records; where values differ nobody is overwritten."""
    assert 0 == story.first


def test_each_scene_ends_as_the_matrix_says(story: Story) -> None:
    """Literally, column by column in both tables, whoever was first."""
    assert [] == [wrong for scene in story.scenes for wrong in story.ends(scene)]


def test_a_row_that_appears_later_is_given_what_its_system_may_know(story: Story) -> None:
    """The name and the stage's summary come from the CRM, but never the source of the lead itself."""
    row = story.newcomer()
    assert (f"Doe {NEWCOMER}", "Ann", "paid", "prospect") == tuple(
        row[column] for column in ("family_name", "given_name", "lead_source_group", "care_status")
    )
    assert LONG == len(row["street"])
    assert row["street"] == story.loop.row("crm", contact(NEWCOMER))["street"]


def test_both_databases_converge_and_nothing_leaks(judge: Judge) -> None:
    """Every check of the judge: reading, states, tables, differences, echoes, refused writes, leaks."""
    assert [] == judge.findings()


def test_what_waits_for_people_is_what_the_scenes_say(story: Story, judge: Judge) -> None:
    """Of the scenes' patients nothing else differs, and nothing else waits."""
    judge.findings()
    for scene in story.scenes:
        record = contact(scene.number)
        assert sorted(scene.cases) == sorted(judge.replay.states[record].cases), scene.title
        differing = {field for (about, _, field), why in judge.listed.items() if about == record and why != "case"}
        assert set(scene.left) == differing, scene.title


def test_the_story_was_worth_telling(judge: Judge) -> None:
    """Each thing that must not go wrong did happen: otherwise nothing is proved."""
    judge.findings()
    for what in (
        "placeholders read", "nulls sent", "rows read again", "sinks: echo", "restored", "applied", "refused: rejected",
        "refused: queued", "transactions",
    ):  # fmt: skip
        assert judge.counts[what] > 0, (what, judge.counts)


def test_the_writes_stop(story: Story) -> None:
    """After the last edit the apply topics fall silent: two more rounds of the loop bring nothing."""
    before = story.loop.sent()
    story.loop.round()
    story.loop.round()
    assert before == story.after_storm == story.loop.sent()


def test_the_commands_say_the_same(story: Story) -> None:
    """`verify` decides every log again, `disagreements` finds nothing that is not explained."""
    code, page = shown(story.loop.site, "verify", "--outputs")
    assert (ExitCode.OK, 0, 0) == (code, page["differences"], page["unverified"]), page
    code, page = shown(story.loop.site, "disagreements", "--records", "--ids")
    assert ExitCode.OK == code, page


def test_all_of_it_stood_on_the_topics_in_the_form_that_was_asked_for(
    story: Story, request: pytest.FixtureRequest
) -> None:
    """Whoever reads Avro reads JSON too, so a loop in JSON would pass for one in Avro."""
    site = story.loop.site
    topics = [site.settings.topic_changes, site.settings.topic_conflicts, *site.sources.values()]
    topics += [site.settings.topic_apply(system) for system in SIDES]
    way: Way = request.node.callspec.params["story"]
    for topic in topics:
        values = [message.value() for message in site.records(topic)]
        framed = {value[:1] == b"\0" for value in values if value is not None}
        assert {way.avro} == framed, topic
