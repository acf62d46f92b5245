"""Close: what follows from a disagreement, and what time alone brings (docs/rules.md, *Restore*, *Sends*, *Time*)."""

from typing import Any

import pytest
from msgspec.structs import replace

from deciding import MINUTE, Record, both, ends, having, sent
from matrices import patient
from ownership_stream.model import Decision

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
PLAN = {"drug": "metformin", "dose": "500 mg", "schedule": None, "status": "active"}


def refused(record: Record, times: int = 1) -> Decision:
    """An automation of the CRM writes a date of birth so often, each restore landing but the last."""
    for _ in range(times - 1):
        record.row("crm", {"date_of_birth": NEW_DOB}, by="integration")
        record.row("crm", {"date_of_birth": DOB})
    return record.row("crm", {"date_of_birth": NEW_DOB}, by="integration")


def events(decision: Decision) -> list[tuple[str, str, str]]:
    """What happened to cases: (event, field, reason)."""
    return [(one.event, one.case.field, one.case.reason) for one in decision.cases]


# ------------------------------------------------------------------------------------------------ restores


@pytest.mark.parametrize(
    ("system", "said", "restored"),
    [
        pytest.param("crm", {"fields": {"date_of_birth": NEW_DOB}}, {"date_of_birth": DOB}, id="the value"),
        pytest.param("ehr", {"fields": {"lead_source": "referral"}}, {"lead_source": "paid"}, id="a summary by a map"),
        pytest.param(
            "crm",
            {"fields": {"medication_plan": {"drug": "x"}}},
            {"medication_plan": {"drug": "metformin", "status": "active"}},
            id="a summary of parts",
        ),
        pytest.param("ehr", {"compared": {"care_stage": "closed"}}, {"care_stage": "active"}, id="a compared column"),
        pytest.param("crm", {"fields": {"billing_status": "x"}}, None, id="nothing where rejected values are left"),
        pytest.param("ehr", {"fields": {"referral_source_detail": "x"}}, None, id="nothing where nothing is expected"),
    ],
)
def test_a_refused_value_is_restored_along_the_direction(
    system: str, said: dict[str, Any], restored: dict[str, Any] | None
) -> None:
    """What the system should show is sent back, as a restore."""
    given = {"date_of_birth": DOB, "lead_source": "google_ads", "medication_plan": PLAN, "billing_status": "current"}
    record = both(MATRIX, care_stage="in_care", referral_source_detail="her sister", **given)
    decision = record.row(system, by="person", **said)
    assert ({} if restored is None else {system: ("restore", restored)}) == sent(decision)
    assert [(system, name) for name in restored or {}] == list(decision.restored)
    assert {} == record.cases()


def test_without_a_current_value_nothing_is_sent() -> None:
    """What only a system that does not own it shows is missing at the owner, and quiet."""
    record = both(MATRIX)
    decision = record.row("crm", {"date_of_birth": NEW_DOB}, by="person")
    assert ({}, {}) == (sent(decision), record.cases())


@pytest.mark.parametrize(
    ("field", "value", "said", "reason"),
    [
        pytest.param("medication_plan", {"dose": "1 g"}, {"by": "nurse"}, "unattested", id="a writer without a grant"),
        pytest.param("risk_flag", "high", {"by": "nurse"}, "unattested", id="a rightful one without a reason"),
        pytest.param("date_of_birth", None, {}, "clear", id="a queued write keeps its own case"),
        pytest.param(
            "follow_up_completion", {"outcome": "done"}, {"by": "nurse"}, None, id="a pending completion is quiet"
        ),
    ],
)
def test_the_owner_is_asked_and_not_overwritten(
    field: str, value: Any, said: dict[str, Any], reason: str | None
) -> None:
    """Into the owner's system nothing is restored over a value that was refused there."""
    matrix = having(MATRIX, "follow_up_completion", rule="owner wins", evidence=())
    record = both(
        matrix, medication_plan=PLAN, risk_flag="low", date_of_birth=DOB, follow_up_completion={"outcome": "no"}
    )
    record.matrix = MATRIX
    decision = record.row("ehr", {field: value}, **said)
    assert {} == sent(decision)
    assert ({} if reason is None else {field: reason}) == record.cases()


def test_the_owner_is_sent_what_was_not_refused_there() -> None:
    """What a secondary wrote elsewhere goes to the owner too."""
    record = both(MATRIX, weight=80)
    decision = record.row("crm", {"weight": 81}, by="care_coordinator")
    assert {"ehr": ("change", {"weight": 81})} == sent(decision)


def test_a_case_of_the_owner_closes_when_the_owner_agrees() -> None:
    """*Queued*: an `unattested` case needs no more than that; the other system may still be behind."""
    record = both(MATRIX, medication_plan=PLAN, weight=80)
    record.row("ehr", {"medication_plan": {"dose": "1 g"}}, by="nurse")
    record.row("crm", {"medication_plan": {"drug": "x"}}, by="person")
    decision = record.row("ehr", {"medication_plan": {"dose": "500 mg"}}, by="nurse")
    assert [("converged", "medication_plan", "unattested")] == events(decision)


def test_a_case_closes_when_all_present_systems_agree() -> None:
    """*Queued*: by a later event, and not while a request still stands."""
    record = both(MATRIX, care_stage="qualified")
    record.row("ehr", requests={"care_stage": "in_care"}, by="clinical_ops")
    record.row("crm", {"care_stage": "nurture"}, by="growth_ops")
    assert {"care_stage": "stage_unknown"} == record.cases()
    decision = record.row("crm", {"care_stage": "qualified"}, by="growth_ops")
    assert [("converged", "care_stage", "stage_unknown")] == events(decision)


def test_a_request_that_stands_is_no_agreement() -> None:
    """*Queued*: the case of a request waits although every system shows what it should."""
    record = both(MATRIX, care_stage="in_care")
    record.control("pause", "ehr")
    record.row("ehr", requests={"care_stage": "paused"}, by="clinical_ops")
    record.row("ehr", compared={"care_stage": "closed"})
    record.row("ehr", compared={"care_stage": "active"})
    assert {"care_stage": "paused"} == record.cases()

    record.row("ehr", requests={"care_stage": None}, compared={"care_stage": "closed"})
    record.row("ehr", compared={"care_stage": "active"})
    assert {} == record.cases()


def test_the_fourth_restore_is_a_case() -> None:
    """Loop guard: the automation's next write after three restores is stopped."""
    record = both(MATRIX, date_of_birth=DOB)
    decision = refused(record, times=3)
    assert {"crm": ("restore", {"date_of_birth": DOB})} == sent(decision)
    record.row("crm", {"date_of_birth": DOB})
    decision = refused(record)
    assert [("date_of_birth", "queued", "oscillation")] == ends(decision)
    assert {} == sent(decision)


def test_a_compared_column_is_restored_three_times_and_then_asked_about() -> None:
    """Loop guard: what is no input has no write that could be stopped."""
    record = both(MATRIX, care_stage="in_care")
    for _ in range(3):
        assert {"ehr"} == sent(record.row("ehr", compared={"care_stage": "closed"})).keys()
        record.row("ehr", compared={"care_stage": "active"})
    decision = record.row("ehr", compared={"care_stage": "closed"})
    assert ({}, [("opened", "care_stage", "oscillation")]) == (sent(decision), events(decision))


def test_one_event_makes_at_most_one_send_for_each_system() -> None:
    """A send of restores and changes together is a change."""
    record = both(MATRIX, email="a@x.org", lead_source="google_ads")
    decision = record.row("ehr", {"email": "b@x.org", "lead_source": "x"}, by="nurse")
    assert {"crm": ("change", {"email": "b@x.org"}), "ehr": ("restore", {"lead_source": "paid"})} == sent(decision)
    assert [(decision.state.version, decision.state.version - 1)] * 2 == [
        (send.version, send.expected_version) for send in decision.sends
    ]


# ------------------------------------------------------------------------------------------------ what holds a send


def test_a_withheld_system_is_sent_nothing_until_it_is_swept() -> None:
    """*Sends*: the breaker, or observe mode; a tick sends what is then missing, as a change."""
    record = both(MATRIX, email="a@x.org")
    record.withheld = frozenset({"ehr"})
    assert {} == sent(record.row("crm", {"email": "b@x.org"}, by="person"))
    assert {} == sent(record.tick(1))
    record.withheld = frozenset()
    assert {"ehr": ("change", {"email": "b@x.org"})} == sent(record.tick(1))


def test_a_sweep_of_a_refused_value_is_a_restore() -> None:
    """*Sends*: and counts as one."""
    record = both(MATRIX, date_of_birth=DOB)
    record.withheld = frozenset({"crm"})
    assert {} == sent(refused(record))
    record.withheld = frozenset()
    decision = record.tick(1)
    assert {"crm": ("restore", {"date_of_birth": DOB})} == sent(decision)
    assert 1 == decision.state.fields["date_of_birth"].restores


@pytest.mark.parametrize("paused", ["", "ehr"])
def test_a_resume_sends_what_is_missing(paused: str) -> None:
    """*Sends*: held while the system or the record was paused."""
    record = both(MATRIX, email="a@x.org")
    record.withheld = frozenset({"ehr"})
    record.row("crm", {"email": "b@x.org"}, by="person")
    record.withheld = frozenset()
    record.control("pause", paused)
    assert {} == sent(record.tick(1))
    assert {"ehr": ("change", {"email": "b@x.org"})} == sent(record.control("resume", paused))


def test_what_is_under_way_is_not_sent_again() -> None:
    """*Close*: an event of the same field changes nothing while the value may still land."""
    record = both(MATRIX, date_of_birth=DOB)
    refused(record)
    assert {} == sent(record.row("crm", {"date_of_birth": "1982-01-02"}, by="person"))


# ------------------------------------------------------------------------------------------------ time


def sending() -> Record:
    """A record of which an e-mail address is under way to the EHR."""
    record = both(MATRIX, email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person")
    return record


def test_what_does_not_land_is_sent_once_more_and_then_a_case() -> None:
    """*Time*: after 15 minutes each; the value is then no longer under way."""
    record = sending()
    assert {} == sent(record.tick(14))
    assert {"ehr": ("change", {"email": "b@x.org"})} == sent(record.tick(1))
    assert {} == sent(record.tick(14))
    decision = record.tick(1)
    assert ({}, [("opened", "email", "diverged")]) == (sent(decision), events(decision))
    assert {} == record.system("ehr").outstanding


def test_a_restore_that_is_sent_once_more_stays_one_restore() -> None:
    """*Time*: its kind is the same, and it counts once."""
    record = both(MATRIX, date_of_birth=DOB)
    refused(record)
    decision = record.tick(15)
    assert {"crm": ("restore", {"date_of_birth": DOB})} == sent(decision)
    assert 1 == decision.state.fields["date_of_birth"].restores


def test_what_is_shown_already_is_under_way_no_longer() -> None:
    """*Time*: a person saved the same value; no echo came."""
    record = sending()
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    assert {"email"} == record.system("ehr").outstanding.keys()
    record.tick(1)
    assert {} == record.system("ehr").outstanding


def test_what_is_no_longer_expected_is_not_sent_once_more() -> None:
    """*Time*: a collapsed write by a person made the shown value the current one."""
    record = sending()
    record.row("ehr", {"email": "c@x.org"}, by="nurse", base=99)
    assert "c@x.org" == record.current("email")
    assert {"crm"} == sent(record.tick(20)).keys()
    assert {} == record.system("ehr").outstanding


def test_a_paused_system_is_waited_for() -> None:
    """*Time*: nothing is sent once more and nothing diverges while it cannot be sent to."""
    record = sending()
    record.control("pause", "ehr")
    for _ in range(3):
        assert ({}, []) == (sent(decision := record.tick(60)), events(decision))
    record.control("resume", "ehr")
    assert {"ehr": ("change", {"email": "b@x.org"})} == sent(record.tick(1))


def test_what_diverged_joins_no_case_of_its_field() -> None:
    """*Time*: where a case is open already, the value is only under way no longer."""
    record = both(MATRIX, date_of_birth=DOB)
    refused(record)
    record.row("ehr", {"date_of_birth": None})
    record.tick(15)
    decision = record.tick(15)
    assert [] == events(decision)
    assert {"date_of_birth": "clear"} == record.cases()


def test_a_case_that_is_due_goes_up_the_chain() -> None:
    """*Time*: each time by the next owner's SLA; the end of the chain repeats."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None})
    seen = []
    for _ in range(3):
        case = record.state.cases["date_of_birth"] if record.state else None
        assert case is not None
        record.now = case.due
        decision = record.control("tick")
        seen += [(one.event, one.case.owner, one.case.due - case.due) for one in decision.cases]
    assert [("escalated", "medical_lead", 60 * MINUTE)] * 3 == seen


def test_a_case_whose_owner_the_matrix_lost_stays_with_it() -> None:
    """A later revision may drop an escalation owner; the case is asked for again soon."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None})
    record.matrix = replace(MATRIX, escalations={"medical_lead": MATRIX.escalations["medical_lead"]})
    record.now += 5 * 60 * MINUTE
    now = record.now
    decision = record.control("tick")
    assert [("clinical_ops", now + 15 * MINUTE)] == [(one.case.owner, one.case.due) for one in decision.cases]


def test_a_field_that_the_matrix_lost_is_under_way_no_longer() -> None:
    """A later revision may drop a field, or the direction it was sent along."""
    for matrix in (
        replace(MATRIX, fields={name: field for name, field in MATRIX.fields.items() if name != "email"}),
        having(MATRIX, "email", views={"crm": "full", "ehr": "none"}),
    ):
        record = sending()
        record.matrix = matrix
        assert {} == sent(record.tick(1))
        assert {} == record.system("ehr").outstanding


def test_a_decision_says_when_the_record_wants_its_tick() -> None:
    """The earliest of what is due, a landing or a case; nothing under way and no case: never."""
    record = both(MATRIX, email="a@x.org", date_of_birth=DOB)
    assert 0 == record.row("crm", {"weight": None}).due

    asked = record.now
    assert asked + 4 * 60 * MINUTE == record.row("ehr", {"date_of_birth": None}).due

    written = record.now
    assert written + 15 * MINUTE == record.row("crm", {"email": "b@x.org"}, by="person").due
