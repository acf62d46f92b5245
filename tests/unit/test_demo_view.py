"""The view: one decision in a sentence, due times in words, and a screen that fits its terminal."""

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ownership_stream.demo.sentences import Told, sentence
from ownership_stream.demo.view import Frame, View, in_words
from ownership_stream.demo.watch import Picture, Waiting
from ownership_stream.matrix.compile import load
from ownership_stream.model import Case
from ownership_stream.outcomes import OUTCOMES

MATRIX = load(Path(__file__).resolve().parents[2] / "matrix" / "patient.yaml")
RECORD = "3f2a77aa00112233"
RENAMED = Told("c1", RECORD, "crm", "legal_name", "rejected", "owner_policy", "growth_ops", "person", "in_care")
MINUTE = 60_000


def test_a_rejected_rename_reads_as_a_sentence() -> None:
    """Who, what, whose, where, when, what became of it, and what followed."""
    expected = (
        "a growth rep changed the patient legal name of #3f2a in the CRM after care start: rejected, the EHR owns it; "
        "restore sent"
    )
    assert expected == sentence(MATRIX, RENAMED, {"crm": "restore"}, None)


def test_a_writer_in_the_owner_system_is_told_who_may() -> None:
    """That the EHR owns the field helps nobody who wrote it in the EHR."""
    told = Told("c1", RECORD, "ehr", "medication_plan", "rejected", "owner_policy", "nurse", "person", "in_care")
    expected = (
        "a nurse changed the medication plan of #3f2a in the EHR: rejected, only a provider may; Medical Lead decides"
    )
    assert expected == sentence(MATRIX, told, {}, "medical_lead")


def test_an_applied_change_says_where_it_was_sent() -> None:
    """To every system that is told."""
    told = Told("c1", RECORD, "crm", "email", "applied", "", "support", "person")
    expected = "a support agent changed the e-mail of #3f2a in the CRM: applied, sent to the EHR"
    assert expected == sentence(MATRIX, told, {"ehr": "change"}, None)


def test_a_clear_and_a_request_are_called_so() -> None:
    """To ask for a stage in a column of its own is not to change it."""
    cleared = Told("c1", RECORD, "ehr", "sex", "queued", "clear", "integration", "automation", cleared=True)
    asked = Told("c1", RECORD, "ehr", "care_stage", "applied", "", "clinical_ops", "person", request=True)
    assert sentence(MATRIX, cleared, {}, None).startswith("an integration cleared the sex of #3f2a in the EHR: queued")
    assert sentence(MATRIX, asked, {}, None).startswith("Clinical Ops asked to change the care stage/status")


@pytest.mark.parametrize("pair", [pair for pair in OUTCOMES if pair[0] in ("rejected", "queued")])
def test_every_refusal_has_a_few_words(pair: tuple[str, str]) -> None:
    """No reason of the closed list is shown as a bare code."""
    told = RENAMED._replace(outcome=pair[0], reason=pair[1])
    why = sentence(MATRIX, told, {}, None).partition(f": {pair[0]}, ")[2]
    assert " " in why
    assert "_" not in why


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (30_000, "now"),
        (4 * MINUTE, "in 4 min"),
        (238 * MINUTE, "in 3 h 58 min"),
        (25 * 60 * MINUTE, "in 1 d 1 h"),
        (-4 * MINUTE, "4 min ago"),
    ],
)
def test_due_times_are_told_in_words(left: int, words: str) -> None:
    """A due time is read at a glance, also when it has passed."""
    assert words == in_words(left)


def frame() -> Frame:
    """A busy moment."""
    samples = {
        "outcomes": {
            ("applied", "", "crm"): 1_203.0,
            ("rejected", "owner_policy", "crm"): 40.0,
            ("echo", "", "ehr"): 9.0,
        },
        "records_processed": {("decide", "ownership.changes", "0"): 2_000.0},
        "lag_records": {("decide", "ownership.changes", "0"): 3.0},
    }
    owners = list(MATRIX.escalations)
    cases = tuple(
        Waiting(RECORD, Case(f"c{n}", "email", "unattested", 0, owners[n % len(owners)], n * 50 * MINUTE))
        for n in range(40)
    )
    fields = list(MATRIX.fields)
    disagreeing = Counter(
        {("crm", name, "case"): 3 for name in fields} | {("ehr", name, "under way"): 2 for name in fields}
    )
    hints = (
        "metrics: http://127.0.0.1:1/metrics",
        "why? in another terminal: X=1 \\",
        "  ownership-stream explain '#3f2a'",
    )
    return Frame(Picture(samples, cases, disagreeing, 35.0), 23.0, 142.0, 58, "at work", hints, 0)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_screen_fits_its_terminal(width: int, height: int) -> None:
    """Everything is there in brief at 80 by 24: no line wraps out of it and no part is missing."""
    view = View(MATRIX)
    for _ in range(30):
        view.tell(sentence(MATRIX, RENAMED, {"crm": "restore"}, None))
    view.show(frame())
    console = Console(file=StringIO(), width=width, height=height, color_system=None)
    console.print(view, end="")
    drawn = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO given above

    assert len(drawn) <= height
    assert max(map(len, drawn)) <= width
    whole = "\n".join(drawn)
    for part in (
        "142 changes/s",
        "1,203",
        "disagree",
        "latest decisions",
        "#3f2a",
        "40 cases",
        "Medical Lead",
        "explain",
    ):
        assert part in whole, part


def test_without_a_terminal_the_frame_is_plain_lines() -> None:
    """One line of counts, and each sentence once."""
    view = View(MATRIX)
    view.tell("first")
    view.tell("second")
    told = list(view.plain(frame()))
    assert "142 changes/s, 2,000 decided, 3 waiting; 1,203 applied, 40 rejected, 0 queued; 40 cases" in told[0]
    assert ["first", "second"] == [line.strip() for line in told[1:]]
    assert 1 == len(list(view.plain(frame())))
