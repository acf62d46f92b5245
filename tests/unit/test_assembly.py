"""A worker put together from its settings: all that is wrong with documents is said before Kafka is spoken to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from avro_kit import EhrTopic, serving
from matrices import PATIENT
from ownership_stream.assembly import Assembly, assemble, documents, topics_of
from ownership_stream.errors import BadInputError
from ownership_stream.settings import Mode, Settings
from ownership_stream.sources import REASONS
from ownership_stream.steps import DEAD_LETTER_REASONS, DecideStep, IntakeStep, MatchStep
from ownership_stream.store import WAIVE_EVICTION
from ownership_stream.telemetry import CATALOGUE
from source_kit import EHR_TOPIC, ehr_event, packed
from step_kit import START, DecideLane, applies_in, changes_in, log_record, on, row

SOURCES = PATIENT.parent / "sources"


def settings(**said: Any) -> Settings:
    """Settings with the shipped documents."""
    return Settings(**{"matrix_path": PATIENT, "sources_path": SOURCES} | said)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the shipped documents, to be spoilt."""
    shutil.copytree(PATIENT.parent, tmp_path / "matrix")
    return tmp_path / "matrix"


def spoil(path: Path, *changes: tuple[str, str]) -> None:
    """Replace each first occurrence; what does not occur is a mistake of the test."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


def refused(place: Path, **said: Any) -> list[str]:
    """Every line with which the worker is refused, without the folder."""
    with pytest.raises(BadInputError) as caught:
        assemble(settings(matrix_path=place / "patient.yaml", sources_path=place / "sources", **said))
    return [problem.replace(f"{place}/", "") for problem in caught.value.problems]


def test_records_to_be_made_are_not_written_in_avro(place: Path) -> None:
    """One schema of keys for a topic has no place for a row that has no key yet."""
    spoil(place / "patient.yaml", ("{name: EHR, create: never}", "{name: EHR, create: at in_care}"))
    said = {"wire": "avro", "registry_url": "http://registry:8081"}
    advice = "set `apply as: json with schema` in the mapping of source `ehr`"
    refusal = f"system `ehr`: the matrix has records made there, which Avro cannot address: {advice}"
    assert [refusal] == refused(place, **said)
    spoil(place / "sources" / "ehr.yaml", ("system: ehr\n", "system: ehr\napply as: json with schema\n"))
    assemble(settings(matrix_path=place / "patient.yaml", sources_path=place / "sources", **said))


# ---------------------------------------------------------------------------------------------- what is put together


def test_with_a_registry_sources_are_read_in_avro_and_with_the_setting_everything_is_written_so() -> None:
    """The registry of the test is a server of this process; the worker is put together without asking it anything."""
    topic = EhrTopic()
    with serving(topic.shelf) as url:
        asked = list(topic.shelf.asked)
        intake, decide, _ = (stage.step for stage in assemble(settings(registry_url=url, wire="avro")).stages)
        assert asked == topic.shelf.asked
        read = log_record(row("r", 0, "ehr", {}), 0)._replace(
            topic=EHR_TOPIC, value=topic.event(ehr_event()), headers=[]
        )
        [written] = intake.decode([read]).outputs
        assert b"\x00" == (written.value or b"")[:1]
        record = read._replace(partition=written.partition, value=written.value)
        assert ["ehr"] == [change.system for change, _ in decide.decode([record]).changes]
    in_json = assemble(settings()).stages[0].step
    [same] = in_json.decode([read._replace(value=packed(ehr_event()))]).outputs
    assert b"{" == (same.value or b"")[:1]


def test_the_shipped_documents_make_a_worker() -> None:
    """Intake reads the sources' topics, decide the changes, match the sightings."""
    parts = assemble(settings())
    assert [
        (IntakeStep, ("crm.contact", "ehr.public.patient")),
        (DecideStep, ("ownership.changes",)),
        (MatchStep, ("ownership.matches",)),
    ] == [(type(stage.step), tuple(sorted(stage.topics))) for stage in parts.stages]
    assert {"ehr", "crm"} == {mapping.system for mapping in parts.mappings}
    assert ["ownership.state", "ownership.match-state"] == [stage.step.state_topic for stage in parts.stages[1:]]
    assert ("ownership.changes", 30.0) == (parts.ticks.topic, parts.ticks.seconds)


def test_every_topic_has_the_name_that_the_settings_give_it() -> None:
    """And a source's topics may be others than its mapping says."""
    given = settings(
        topic_changes="a", topic_conflicts="b", topic_resolutions="c", topic_dead_letters="d", topic_matches="e",
        topic_links="h", topic_apply_prefix="to-", topic_state="f", topic_match_state="g", partitions=3,
        source_topics={"ehr": ["one", "two"]},
    )  # fmt: skip
    parts = assemble(given)
    topics = topics_of(given, parts.matrix)
    assert ("a", "b", "c", "d", "e", "h", {"ehr": "to-ehr", "crm": "to-crm"}, 3) == topics
    assert ["crm.contact", "one", "two"] == sorted(parts.stages[0].topics)
    assert [(("a",), "f"), (("e",), "g")] == [(stage.topics, stage.step.state_topic) for stage in parts.stages[1:]]


def test_every_reason_of_a_dead_letter_has_its_series_from_the_start() -> None:
    """A series that is first seen at 1 shows no increase."""
    shown = assemble(settings()).telemetry.render().decode()
    for reason in (*REASONS, *DEAD_LETTER_REASONS, "size", "produce"):
        assert f'ownership_dead_letters_total{{reason="{reason}",stage="intake"}} 0.0' in shown
    assert all(f"# TYPE {metric.full_name.removesuffix('_total')}" in shown for metric in CATALOGUE)


@pytest.mark.parametrize(("mode", "sends"), [(Mode.ENFORCE, 1), (Mode.OBSERVE, 0)])
def test_the_mode_reaches_the_decisions_and_the_figures(mode: Mode, sends: int) -> None:
    """In observe mode nothing is sent, and each figure says which mode it is of."""
    parts = assemble(settings(mode=mode, partitions=4))
    lane = DecideLane(decide_of(parts))
    # The chart's row as its key's home sends it back.
    chart = row("r", 0, "ehr", {}, op="c", home="ehr:123", hops=2)
    lane.decide(chart, row("r", 0, "crm", {"email": "a@x.org"}, "person", op="c"))
    assert sends == len(applies_in(lane.outputs, "ehr"))
    parts.telemetry.count(lane.counts)
    line = f'ownership_records_created_total{{mode="{mode.value}",system="ehr"}} 1.0'
    assert line in parts.telemetry.render().decode()


def decide_of(parts: Assembly) -> DecideStep:
    """The decide step."""
    step = parts.stages[1].step
    assert isinstance(step, DecideStep)
    return step


@pytest.mark.parametrize(("key", "sightings"), [(SecretStr("s"), 2), (None, 0)])
def test_only_a_given_hash_key_looks_for_duplicates(key: SecretStr | None, sightings: int) -> None:
    """A random key of the process would match nothing after a restart."""
    lane = DecideLane(decide_of(assemble(settings(hash_key=key, partitions=4))))
    fields = {"legal_name": {"family": "Doe", "given": "Ann"}, "email": "a@x.org"}
    lane.batch([log_record(row("r", 0, "crm", fields, "person", op="c"), 0, timestamp=START)])
    assert sightings == len(on(lane.outputs, "ownership.matches"))


def test_what_the_embedded_stack_cannot_answer_is_waived_everywhere() -> None:
    """By name, in the lanes and in the store."""
    parts = assemble(settings(), waived=["topic ids", WAIVE_EVICTION])
    assert {"topic ids", WAIVE_EVICTION} == parts.config.lane.waived
    assert parts.store._waive_eviction_check
    assert not assemble(settings()).store._waive_eviction_check


def test_an_operator_s_source_epoch_comes_first_in_every_position() -> None:
    """After a source was rebuilt its positions begin anew."""
    step = assemble(settings(source_epoch={"ehr": 3}, partitions=4)).stages[0].step
    record = log_record(row("r", 0, "ehr", {}), 0)._replace(topic=EHR_TOPIC, value=packed(ehr_event()))
    [change] = changes_in(step.run(step.decode([record]), {}).outputs)
    assert change.position is not None
    assert 3 == change.position[0]


# ---------------------------------------------------------------------------------------------- what is refused


def unknown_words(place: Path) -> list[str]:
    """Three mistakes in the matrix."""
    spoil(
        place / "patient.yaml",
        ("    owner: ehr\n", "    owner: her\n"),
        ("rule: latest validated", "rule: latest validate"),
        ("escalation: growth_ops", "escalation: grwth_ops"),
    )
    return ["her", "latest validate", "grwth_ops"]


def spoilt_mappings(place: Path) -> list[str]:
    """A mistake in each mapping."""
    spoil(place / "sources" / "ehr.yaml", ("sex:                     sex", "sex:                     sexx"))
    spoil(place / "sources" / "crm.yaml", ("connector: salesforce", "connector: salesfarce"))
    return ["salesfarce", "sexx"]


def no_mapping(place: Path) -> list[str]:
    """Nobody says how the CRM's rows are read."""
    (place / "sources" / "crm.yaml").unlink()
    return ["no source maps a column of system `crm`"]


def no_folder(place: Path) -> list[str]:
    """Nor anybody's."""
    shutil.rmtree(place / "sources")
    return ["sources: no source mapping (`*.yaml`) is there"]


def columns_missing(place: Path) -> list[str]:
    """Fields that would be sent to a system that has no column for them: each apply record of theirs would break."""
    spoil(place / "sources" / "crm.yaml", ("      Email:                       email\n", ""))
    spoil(place / "sources" / "ehr.yaml", ("      weight_kg:               weight\n", ""))
    return ["no column of `crm` is mapped to `email`", "no column of `ehr` is mapped to `weight`"]


def unreachable(place: Path) -> list[str]:
    """What lint refuses: a stage that nobody comes to."""
    spoil(
        place / "patient.yaml",
        ("    disqualified:   [new_lead]\n", "    disqualified:   [new_lead]\n    lost:  [new_lead]\n"),
    )
    return ["stage `lost` is never reached"]


def shared_topic(place: Path) -> list[str]:
    """Two sources that read one topic."""
    spoil(place / "sources" / "crm.yaml", ("topics: [crm.contact]", "topics: [ehr.public.patient]"))
    return ["`ehr.public.patient` is `"]


@pytest.mark.parametrize(
    "spoilt", [unknown_words, spoilt_mappings, no_mapping, no_folder, columns_missing, unreachable, shared_topic]
)
def test_all_mistakes_are_said_at_once(place: Path, spoilt: Callable[[Path], list[str]]) -> None:
    """One line each, and none besides."""
    expected = spoilt(place)
    problems = refused(place)
    assert len(expected) == len(problems), problems
    assert [] == [words for words in expected if not any(words in problem for problem in problems)]


def test_a_mistake_in_a_document_is_said_at_its_place(place: Path) -> None:
    """As editors read it."""
    spoil(place / "patient.yaml", ("escalation: growth_ops", "escalation: grwth_ops"))
    [problem] = refused(place)
    file, line, column, _ = problem.split(":", 3)
    assert "patient.yaml" == file
    text = (place / "patient.yaml").read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert text[int(column) - 1 :].startswith("grwth_ops")


def test_settings_that_name_no_source_of_the_mappings_are_refused(place: Path) -> None:
    """A source that is misspelt would be read from the wrong topics, or with positions of the wrong epoch."""
    assert [
        "setting `source_topics`: no mapping in sources is of source `her`",
        "setting `source_epoch`: no mapping in sources is of source `eh`",
        "setting `source_topics`: topic `x` is read by `crm` and by `ehr`",
    ] == refused(place, source_topics={"her": ["a"], "crm": ["x"], "ehr": ["x"]}, source_epoch={"eh": 1})


def test_a_document_that_is_not_there_is_named(place: Path) -> None:
    """In one line."""
    (place / "patient.yaml").unlink()
    assert ["patient.yaml: cannot be read: no such file or directory"] == refused(place)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("last: 2026-11-23", "last: 1926-11-23", id="an overdue review"),
        pytest.param("\nescalation:", "  cook: {name: Cook, in: [ehr]}\n\nescalation:", id="a role that nobody uses"),
    ],
)
def test_a_warning_stops_no_worker(place: Path, old: str, new: str) -> None:
    """`matrix check` says it: patients do not wait for a meeting."""
    spoil(place / "patient.yaml", (old, new))
    matrix, mappings = documents(settings(matrix_path=place / "patient.yaml", sources_path=place / "sources"))
    assert (30, 2) == (len(matrix.fields), len(mappings))


def test_the_day_of_the_next_review_is_a_metric(place: Path) -> None:
    """The end of that day, by the document or by a later signature beside it."""

    def due() -> float:
        telemetry = assemble(settings(matrix_path=place / "patient.yaml", sources_path=place / "sources")).telemetry
        value = telemetry.registry.get_sample_value("ownership_matrix_review_due_timestamp_seconds")
        assert value is not None
        return value

    assert 1_798_070_400 == due()
    signed = "reviews:\n  - {on: 2026-12-23, by: Dana Reyes, revision: r}\n"
    (place / "patient.reviews.yaml").write_text(signed, encoding="utf-8")
    assert 31 * 86_400 == due() - 1_798_070_400
