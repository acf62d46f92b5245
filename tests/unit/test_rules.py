"""The conflict rules, each as a table of (current value, write) and the verdict."""

from typing import Any

import pytest

from matrices import patient
from ownership_stream.draft import Write
from ownership_stream.matrix.compiled import Grant
from ownership_stream.model import Evidence, FieldState, Proposal, Value
from ownership_stream.rules import RULES

MATRIX = patient()
NOW = 1_772_452_800_000
OWNER = Grant("owner: ehr", "owner", "ehr")
SECONDARY = Grant("secondary: anyone in crm", "secondary", "crm")
APPLIED, STALE, TIE, CLOCK = ("applied", ""), ("rejected", "stale"), ("queued", "tie"), ("queued", "clock")


def verdict(
    name: str,
    value: Value,
    current: FieldState,
    *,
    grant: Grant | None = OWNER,
    seen: bool = True,
    evidence: Evidence | None = None,
    reason: str | None = None,
    base: int | None = None,
) -> tuple[str, str]:
    """What the field's rule says of a write that has come this far."""
    field = MATRIX.fields[name]
    proposal = Proposal("ehr", value, "c1", NOW, reason=reason, base=base, evidence=evidence, seen=seen)
    write = Write.again(field, proposal)
    write.grant = grant
    return RULES[field.rule](MATRIX, current, write, NOW)


@pytest.mark.parametrize(
    ("seen", "grant", "expected"),
    [
        pytest.param(True, OWNER, APPLIED, id="the owner who has seen it"),
        pytest.param(False, OWNER, APPLIED, id="the owner who has not"),
        pytest.param(True, SECONDARY, APPLIED, id="a secondary writer who has seen it"),
        pytest.param(False, SECONDARY, STALE, id="a secondary writer who has not"),
        pytest.param(True, None, APPLIED, id="anyone who has seen an unprotected value"),
        pytest.param(False, None, STALE, id="anyone who has not"),
    ],
)
@pytest.mark.parametrize("field", ["date_of_birth", "legal_name"])
def test_under_owner_wins_only_the_owner_may_not_have_seen_it(
    field: str, seen: bool, grant: Grant | None, expected: tuple[str, str]
) -> None:
    """`owner wins` and `stage owner wins` are one rule; the grant says who owns it now."""
    assert expected == verdict(field, "new", FieldState("old", 3), grant=grant, seen=seen)


@pytest.mark.parametrize(
    ("current", "new", "grant", "seen", "expected"),
    [
        pytest.param("qualified", "consult_booked", OWNER, True, APPLIED, id="a step of the map"),
        pytest.param("qualified", "consult_booked", SECONDARY, False, STALE, id="a step that had not seen the stage"),
        pytest.param("qualified", "in_care", OWNER, True, ("queued", "transition"), id="an owner's impossible step"),
        pytest.param(
            "qualified", "in_care", SECONDARY, True, ("rejected", "transition"), id="another's impossible step"
        ),
        pytest.param(None, "discharged", SECONDARY, True, APPLIED, id="any stage where there is none"),
        pytest.param("archived", "in_care", OWNER, True, ("queued", "transition"), id="a step from a stage long gone"),
    ],
)
def test_the_stage_map_allows_its_steps_only(
    current: Value, new: str, grant: Grant, seen: bool, expected: tuple[str, str]
) -> None:
    """An impossible step of the owner waits, anyone else's is rejected."""
    assert expected == verdict("care_stage", new, FieldState(current, 1), grant=grant, seen=seen)


def done(at: int | None, by: str | None = "dr") -> Evidence:
    """Evidence of a completion."""
    return Evidence(by, at)


DONE = FieldState({"outcome": "done"}, 4, evidence=Evidence("dr", NOW - 1000))
UNBACKED = FieldState({"outcome": "done"}, 4)


@pytest.mark.parametrize(
    ("current", "outcome", "evidence", "expected"),
    [
        pytest.param(DONE, "x", done(NOW), APPLIED, id="a later completion"),
        pytest.param(DONE, "x", done(NOW - 2000), STALE, id="an older completion"),
        pytest.param(DONE, "x", done(NOW - 1000), TIE, id="the same time, another result"),
        pytest.param(DONE, "done", done(NOW - 1000), APPLIED, id="the same time, the same result"),
        pytest.param(DONE, "x", done(NOW, None), ("rejected", "not_validated"), id="nobody has validated it"),
        pytest.param(DONE, "x", done(None), ("rejected", "not_validated"), id="it has no time"),
        pytest.param(DONE, "x", None, ("rejected", "not_validated"), id="it has no evidence at all"),
        pytest.param(UNBACKED, "x", done(NOW - 9000), APPLIED, id="over a value without evidence"),
        pytest.param(FieldState(), "x", done(NOW), APPLIED, id="the first completion"),
        pytest.param(FieldState(), "x", done(NOW + 5000), APPLIED, id="as far ahead as the skew"),
        pytest.param(FieldState(), "x", done(NOW + 5001), CLOCK, id="further ahead than the skew"),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_the_latest_validated_completion_stands(
    current: FieldState, outcome: str, evidence: Evidence | None, expected: tuple[str, str], seen: bool
) -> None:
    """Whatever arrived first, and whatever its writer had seen."""
    assert expected == verdict("follow_up_completion", {"outcome": outcome}, current, seen=seen, evidence=evidence)


@pytest.mark.parametrize(
    ("fresh", "expected"),
    [
        pytest.param({}, ("rejected", "reason_required"), id="without a reason"),
        pytest.param({"base": 4}, ("rejected", "reason_required"), id="named, without a reason"),
        pytest.param({"reason": "wrong patient"}, STALE, id="not named"),
        pytest.param({"reason": "wrong patient", "base": 4}, APPLIED, id="named by the version that set it"),
        pytest.param({"reason": "wrong patient", "base": 5}, STALE, id="named by another version"),
        pytest.param({"reason": "wrong patient", "evidence": done(NOW - 1000)}, APPLIED, id="named by its time"),
        pytest.param({"reason": "wrong patient", "evidence": done(NOW)}, STALE, id="named by another time"),
        pytest.param({"reason": "wrong patient", "evidence": done(None)}, STALE, id="named by no time"),
    ],
)
def test_a_completion_is_taken_back_by_name_and_with_a_reason(fresh: dict[str, Any], expected: tuple[str, str]) -> None:
    """By its evidence time, or by the base version that set it."""
    assert expected == verdict("follow_up_completion", None, DONE, **fresh)


def test_a_completion_without_evidence_is_not_named_by_a_time() -> None:
    """Where current has no evidence there is no time to name."""
    assert STALE == verdict("follow_up_completion", None, UNBACKED, reason="wrong patient", evidence=done(NOW))


CONFIRMED = FieldState("email", 4, evidence=Evidence("patient", NOW - 1000))
UNCONFIRMED = FieldState("email", 4)
HALF = FieldState("email", 4, evidence=Evidence("patient", None))


def said(at: int | None, by: str | None = "patient") -> Evidence:
    """Evidence of a preference."""
    return Evidence(by, at)


@pytest.mark.parametrize(
    ("current", "value", "evidence", "seen", "expected"),
    [
        pytest.param(CONFIRMED, "sms", said(NOW), False, APPLIED, id="a later confirmation"),
        pytest.param(CONFIRMED, "sms", said(NOW - 2000), True, STALE, id="an older confirmation"),
        pytest.param(CONFIRMED, "sms", said(NOW - 1000), True, TIE, id="the same moment, another word"),
        pytest.param(CONFIRMED, "email", said(NOW - 1000), True, APPLIED, id="the same moment, the same word"),
        pytest.param(CONFIRMED, "sms", None, True, ("rejected", "not_confirmed"), id="unconfirmed over confirmed"),
        pytest.param(CONFIRMED, "sms", said(NOW, None), True, ("rejected", "not_confirmed"), id="confirmed by nobody"),
        pytest.param(CONFIRMED, None, None, True, ("rejected", "not_confirmed"), id="cleared, unconfirmed"),
        pytest.param(CONFIRMED, "sms", said(NOW + 60_000), True, CLOCK, id="confirmed in the future"),
        pytest.param(UNCONFIRMED, "sms", said(NOW - 9000), False, APPLIED, id="confirmed over unconfirmed"),
        pytest.param(HALF, "sms", None, True, APPLIED, id="a confirmation without a time confirms nothing"),
        pytest.param(UNCONFIRMED, "sms", None, True, APPLIED, id="both unconfirmed, seen"),
        pytest.param(UNCONFIRMED, "sms", None, False, STALE, id="both unconfirmed, unseen"),
    ],
)
def test_the_patients_latest_word_stands(
    current: FieldState, value: Value, evidence: Evidence | None, seen: bool, expected: tuple[str, str]
) -> None:
    """The version check rules among unconfirmed writes, the patient's word among confirmed ones."""
    assert expected == verdict("contact_preference", value, current, seen=seen, evidence=evidence)
