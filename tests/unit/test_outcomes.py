"""The table of outcomes: complete for what the code says, and in the house's words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrices import ROOT, patient
from ownership_stream.outcomes import ATTEMPTS, CASE_REASONS, OUTCOMES, OWN_REASONS, explain, owner_name, who_may

MATRIX = patient()
CORE = [ROOT / "src" / "ownership_stream" / f"{name}.py" for name in ("decide", "delta", "effects", "close", "rules")]
WORDS = {outcome for outcome, _ in OUTCOMES}


def constants(call: ast.Call | ast.Tuple) -> list[str]:
    """The texts among the elements of a tuple or the arguments of a call."""
    parts = call.elts if isinstance(call, ast.Tuple) else call.args
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def said_ends(path: Path) -> Iterator[tuple[str, str]]:
    """Every (outcome, reason) that stands in the source: as a pair, or as what a write's `end` is given."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        pair = isinstance(node, ast.Tuple) and len(node.elts) == 2
        end = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "end"
        if isinstance(node, ast.Call | ast.Tuple) and (pair or end):
            texts = constants(node)
            if texts and texts[0] in WORDS and (end or len(texts) == 2):
                yield texts[0], "".join(texts[1:])


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_every_end_that_the_core_names_is_in_the_table(path: Path) -> None:
    """No outcome is decided that nobody can explain."""
    assert set() == set(said_ends(path)) - OUTCOMES.keys()


def test_the_core_names_ends_at_all() -> None:
    """The search above finds what it looks for."""
    found = {end for path in CORE for end in said_ends(path)}
    assert {("rejected", "stale"), ("queued", "paused"), ("queued", "tie"), ("rejected", "owner_policy")} <= found


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_every_case_that_the_core_opens_has_a_reason_in_the_table(path: Path) -> None:
    """Cases that no write opened are explained too."""
    opened = re.findall(r"open_case\([^,]+, \"(\w+)\"", path.read_text(encoding="utf-8"))
    assert set() == set(opened) - CASE_REASONS.keys()


def test_the_record_s_own_cases_have_reasons_of_their_own() -> None:
    """Whatever opens one; a case of a field may have the same only where a write opens it."""
    core = (ROOT / "src" / "ownership_stream").glob("*.py")
    opened = {one for path in core for one in re.findall(r"open_own\(\"(\w+)\"", path.read_text(encoding="utf-8"))}
    assert {"reread", "absent", "uncreated", "failed", "link"} == opened
    assert opened | {"duplicate", "link_candidate"} == OWN_REASONS <= CASE_REASONS.keys()


@pytest.mark.parametrize("end", OUTCOMES, ids=lambda end: " ".join(end).strip())
def test_every_outcome_is_explained_for_every_field(end: tuple[str, str]) -> None:
    """One line that names the field, and neither a place-holder nor a line break."""
    for field in MATRIX.fields.values():
        for care_started in (False, True):
            line = explain(MATRIX, field, OUTCOMES[end], "crm", care_started=care_started)
            assert line
            assert not re.search(r"[{}\n]", line)


@pytest.mark.parametrize("reason", CASE_REASONS)
def test_every_case_is_explained(reason: str) -> None:
    """Also where the system is one that the matrix no longer has."""
    line = explain(MATRIX, MATRIX.fields["legal_name"], CASE_REASONS[reason], "gone", care_started=True)
    assert not re.search(r"[{}\n]", line)


@pytest.mark.parametrize(
    "meaning", [*OUTCOMES.values(), *CASE_REASONS.values()], ids=lambda meaning: meaning.sentence[:40]
)
def test_a_meaning_reads_as_the_house_writes(meaning: tuple[str, str]) -> None:
    """Lower case, no final stop."""
    for sentence in filter(None, meaning):
        assert sentence[0] == "{" or sentence[0] == sentence[0].lower()
        assert not sentence.endswith(".")


@pytest.mark.parametrize("outcome", sorted(ATTEMPTS - {"applied"}))
def test_whoever_is_turned_away_is_told_what_to_do(outcome: str) -> None:
    """A rejection or a case carries advice; only those dragged along in a group follow the other's."""
    silent = [end for end, meaning in OUTCOMES.items() if end[0] == outcome and not meaning.advice]
    assert set(silent) <= {("queued", "group")}


def test_every_reason_to_wait_is_a_reason_of_a_case() -> None:
    """Whatever is queued opens a case of that reason."""
    assert {reason for outcome, reason in OUTCOMES if outcome == "queued"} <= CASE_REASONS.keys()


def test_the_owner_is_named_as_people_say_it() -> None:
    """On either side of care start."""
    legal_name = MATRIX.fields["legal_name"]
    assert ("CRM", "EHR") == tuple(owner_name(MATRIX, legal_name, care_started=started) for started in (False, True))


def test_an_explanation_names_whose_it_is_and_what_to_do_instead() -> None:
    """The sentence, then the advice."""
    line = explain(
        MATRIX, MATRIX.fields["date_of_birth"], OUTCOMES["rejected", "owner_policy"], "crm", care_started=False
    )
    assert (
        "the EHR owns `Date of birth`, and this writer has no grant for it here; it may be changed by anyone in the EHR"
    ) == line


def test_who_may_is_said_by_role_and_system() -> None:
    """The grants of this side of care start, each role once."""
    said = {name: who_may(MATRIX, MATRIX.fields[name], care_started=True) for name in ("medication_plan", "legal_name")}
    assert {
        "medication_plan": "provider in the EHR",
        "legal_name": "anyone in the EHR, or Intake Ops in the CRM",
    } == said
