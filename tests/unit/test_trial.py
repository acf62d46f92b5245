"""What would happen if: an invented write ends as a real one would, by the matrix alone."""

from typing import Any

import pytest

from ownership_stream.decide import decide
from ownership_stream.model import Change
from ownership_stream.outcomes import OUTCOMES
from ownership_stream.trial import Trial, Tried, invented, try_it
from source_kit import MATRIX

NOW = 1_772_452_800_000
NAME = {"family": "Roe", "given": "Ann"}
DONE = {"completed_at": "2026-01-02T10:00:00.000Z", "outcome": "reached"}


def tried(field: str, system: str, **said: Any) -> Tried:
    """What comes of it."""
    return try_it(MATRIX, Trial(field=field, system=system, **said), NOW)


# field, system, what else is said, how it ends
ENDS: dict[str, tuple[str, str, dict[str, Any], tuple[str, str]]] = {
    "owner": ("legal_name", "crm", {"stage": "qualified", "value": NAME}, ("applied", "")),
    "after care start": (
        "legal_name", "crm", {"stage": "in_care", "value": NAME, "current": {**NAME, "given": "A"}},
        ("rejected", "owner_policy"),
    ),
    "its owner then": ("legal_name", "ehr", {"stage": "in_care", "value": NAME}, ("applied", "")),
    "a secondary without a reason": (
        "legal_name", "crm", {"stage": "in_care", "value": NAME, "role": "intake_ops"}, ("rejected", "reason_required"),
    ),
    "a secondary with one": (
        "legal_name", "crm", {"stage": "in_care", "value": NAME, "role": "intake_ops", "reason": "r"}, ("applied", ""),
    ),
    "stage not known": ("legal_name", "crm", {"value": NAME}, ("queued", "stage")),
    "an automation clears": (
        "date_of_birth", "ehr", {"origin": "automation", "current": "1980-01-02"}, ("queued", "clear"),
    ),
    "no such step": (
        "care_stage", "crm", {"stage": "new_lead", "current": "new_lead", "value": "discharged"},
        ("queued", "transition"),
    ),
    "a request in the other system": (
        "care_stage", "ehr", {"stage": "in_care", "current": "in_care", "value": "paused", "role": "clinical_ops"},
        ("applied", ""),
    ),
    "a summary's column": (
        "lead_source", "ehr", {"current": "referral", "value": "other"}, ("rejected", "owner_policy"),
    ),
    "not validated": ("follow_up_completion", "ehr", {"value": DONE}, ("rejected", "not_validated")),
    "validated": ("follow_up_completion", "ehr", {"value": DONE, "attested": True}, ("applied", "")),
    "unseen": ("email", "ehr", {"current": "a@x.org", "value": "b@x.org", "seen": False}, ("rejected", "stale")),
    "seen": ("email", "ehr", {"current": "a@x.org", "value": "b@x.org"}, ("applied", "")),
    "the same": ("email", "crm", {"current": "a@x.org", "value": "a@x.org"}, ("noop", "")),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_a_write_ends_as_the_matrix_says(name: str) -> None:
    """With its sentence, and what to do instead."""
    field, system, said, expected = ENDS[name]
    found = tried(field, system, **said)
    assert expected == (found.outcome, found.reason)
    assert found.sentence
    assert "{" not in found.sentence + found.advice


def test_an_invented_record_agrees_with_itself() -> None:
    """A tick on it sends nothing and opens nothing: what comes of a trial comes of its write."""
    for name, field in MATRIX.fields.items():
        value = {"parts": NAME, "stage": "in_care"}.get(field.type, field.choices[0] if field.choices else "1980-01-02")
        for stage in ("", "qualified", "in_care"):
            current = stage or None if name == MATRIX.stages.field else value
            state = invented(MATRIX, Trial(field=name, system="ehr", current=current, stage=stage), NOW)
            decision = decide(MATRIX, state, _tick())
            assert ((), {}) == (decision.sends, decision.state.cases), name


def test_a_trial_on_a_record_leaves_it_as_it_is() -> None:
    """And sees what the record has."""
    state = invented(MATRIX, Trial(field="email", system="crm", current="a@x.org"), NOW)
    before = state.systems["crm"].shown.copy()
    found = try_it(MATRIX, Trial(field="email", system="crm", value="b@x.org"), NOW, state)
    assert ("applied", {"ehr": "b@x.org"}) == (found.outcome, found.sends)
    assert before == state.systems["crm"].shown
    held = try_it(MATRIX, Trial(field="email", system="crm", value="b@x.org"), NOW, state, frozenset({"ehr"}))
    assert {} == held.sends


def test_a_queued_write_says_who_would_have_it_and_for_how_long() -> None:
    """The escalation owner's own time."""
    found = tried("date_of_birth", "ehr", origin="automation", current="1980-01-02")
    assert ("clinical_ops", MATRIX.escalations["clinical_ops"].sla) == (found.owner, found.due_in)


def test_every_field_can_be_tried_by_everybody_everywhere() -> None:
    """Each ends in a row of the table of outcomes."""
    for name in MATRIX.fields:
        for system in MATRIX.systems:
            for role in ("", *MATRIX.roles):
                for stage in ("", "new_lead", "in_care"):
                    found = tried(name, system, role=role, stage=stage)
                    assert (found.outcome, found.reason) in OUTCOMES


def _tick() -> Change:
    return Change(id="t", record="trial", kind="tick", received=NOW, at=NOW)
