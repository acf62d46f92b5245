"""The corpus of `matrix/scenarios` through `decide`, and what the corpus must hold.

`play` drives the same generator (`tell`) that the embedded stack and a real broker drive; only who answers differs.
"""

import re
from pathlib import Path

import pytest

from matrices import ROOT, patient
from ownership_stream.cli import run
from ownership_stream.errors import ExitCode
from ownership_stream.matrix.document import parse
from ownership_stream.outcomes import OUTCOMES
from ownership_stream.scenarios.compare import compare
from ownership_stream.scenarios.corpus import files_of, load_corpus
from ownership_stream.scenarios.parse import parse_scenarios
from ownership_stream.scenarios.play import Told, play
from ownership_stream.scenarios.story import Scenario

MATRIX = patient()
CORPUS = load_corpus(files_of([ROOT / "matrix" / "scenarios"]), MATRIX)
SEVEN_ROWS = (
    "legal_name",
    "date_of_birth",
    "lead_source",
    "care_stage",
    "medication_plan",
    "follow_up_completion",
    "contact_preference",
)
NOT_YET = {("failed", ""), ("echo", "late"), ("queued", "duplicate"), ("queued", "speaker")}
"""Ends that no scenario can tell: an internal error, a crashed sink, a probable match, and several rows of a record."""
CASES_ONLY = {("queued", "handover"), ("queued", "diverged")}
"""Reasons of cases that no write opens."""
NO_RULE = {("queued", "no_rule"), ("queued", "group")}
"""Ends that the shipped matrix cannot lead to: each of its rules answers, and no grouped field is ever queued."""
PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")


def ends(told: Told) -> set[tuple[str, str, str]]:
    """Every (field, outcome, reason) of a story."""
    decisions = [moment.decision for moment in (*told.given, *told.moments)]
    return {(one.field, one.outcome, one.reason) for decision in decisions for one in decision.outcomes}


@pytest.mark.parametrize("scenario", CORPUS, ids=lambda scenario: scenario.name)
def test_the_story_ends_as_it_expects(scenario: Scenario) -> None:
    """Outcomes, sends, cases and current values are those of the file."""
    assert () == compare(MATRIX, scenario, play(MATRIX, scenario))


@pytest.mark.parametrize("scenario", CORPUS, ids=lambda scenario: scenario.name)
def test_every_carried_field_of_the_story_ends_once(scenario: Scenario) -> None:
    """Closed accounting: outcomes and noops of a row event add up to the fields it carries."""
    told = play(MATRIX, scenario)
    for moment in (*told.given, *told.moments):
        change, decision = moment.change, moment.decision
        carried = len(change.fields) + len(change.compared) + len(change.requests)
        assert carried == len(decision.outcomes) + decision.noops


@pytest.mark.parametrize("scenario", CORPUS, ids=lambda scenario: scenario.name)
def test_the_story_expects_something(scenario: Scenario) -> None:
    """No scenario passes because it says nothing."""
    expectations = [scenario.expected, *(step.expected for step in scenario.steps)]
    assert any(expected.outcomes or expected.sends or expected.queue or expected.answer for expected in expectations)


@pytest.mark.parametrize("field", SEVEN_ROWS)
def test_each_of_the_seven_rows_is_told_in_its_yes_and_its_no(field: str) -> None:
    """Somebody may write it, and somebody may not."""
    found = {outcome for scenario in CORPUS for name, outcome, _ in ends(play(MATRIX, scenario)) if name == field}
    assert {"applied", "rejected"} <= found


def test_the_corpus_reaches_every_outcome_that_the_shipped_matrix_has() -> None:
    """Every row of the table of outcomes has a story that ends in it."""
    found = {(outcome, reason) for scenario in CORPUS for _, outcome, reason in ends(play(MATRIX, scenario))}
    assert OUTCOMES.keys() - NOT_YET - CASES_ONLY - NO_RULE == found | {("noop", "")}


def test_the_corpus_notices_another_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the date of birth is critical no longer, an automation may clear it, and five stories say so."""
    text = (ROOT / "matrix" / "patient.yaml").read_text(encoding="utf-8")
    row = re.search(r"  date_of_birth:\n(?:    .*\n)+", text)
    assert row is not None
    changed = tmp_path / "matrix.yaml"
    changed.write_text(text.replace(row[0], row[0].replace("    critical: true\n", "")), encoding="utf-8")

    code = run(["simulate", str(ROOT / "matrix" / "scenarios"), "--matrix", str(changed)])
    printed = capsys.readouterr().out

    assert ExitCode.FAILED == code
    assert "✗ An automation that clears the date of birth waits for Clinical Ops" in printed
    assert f"{len(CORPUS)} scenarios, {len(CORPUS) - 5} as expected" in printed


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_an_example_of_the_documentation_works(block: str) -> None:
    """What docs/scenarios.md shows can be copied and runs as it says."""
    for scenario in parse_scenarios(parse(block.encode(), "docs/scenarios.md"), MATRIX):
        assert () == compare(MATRIX, scenario, play(MATRIX, scenario))


def test_the_documentation_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's first story, expecting what it should not, prints what the page says."""
    blocks = re.findall(r"```(?:yaml|text)\n(.*?)```", PAGE, re.DOTALL)
    story, shown = blocks[0], blocks[-1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("story.yaml").write_text(story.replace("rejected owner_policy", "applied"), encoding="utf-8")

    code = run(["simulate", "story.yaml", "--matrix", str(ROOT / "matrix" / "patient.yaml")])
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    assert ExitCode.FAILED == code
    assert shown.splitlines() == printed
