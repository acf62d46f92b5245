"""What a person asks of an open case: done once, answered once, and never over what they have not seen."""

import pytest
from msgspec.structs import replace

from deciding import MINUTE, Record, backed, both, ends, sent
from matrices import patient
from ownership_stream.close import LANDING_TIME
from ownership_stream.model import Ask, Change, Decision, Value, identity_of
from ownership_stream.outcomes import ANSWERS
from ownership_stream.resolve import ACTIONS, KIND_OF, chain, edition, offers
from small_matrix import MATRIX as SMALL

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
PLAN: Value = {"drug": "metformin", "dose": "500 mg", "schedule": None, "status": "active"}
MORE: Value = {"drug": "metformin", "dose": "850 mg", "schedule": None, "status": "active"}
HOUR = 60 * MINUTE


def answered(decision: Decision) -> tuple[str, str]:
    """The answer in two words; no write was decided by it."""
    assert decision.answer is not None
    assert (decision.answer.outcome, decision.answer.reason) in ANSWERS
    assert ((), 0) == (decision.outcomes, decision.noops)
    return decision.answer.outcome, decision.answer.reason


def nurse() -> Record:
    """A nurse changed the dose in the EHR, which nobody rightful has attested."""
    record = both(MATRIX, care_stage="in_care", medication_plan=PLAN)
    record.row("ehr", {"medication_plan": MORE}, by="nurse")
    assert {"medication_plan": "unattested"} == record.cases()
    return record


def clear() -> Record:
    """An automation cleared the date of birth."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None}, by="integration")
    assert {"date_of_birth": "clear"} == record.cases()
    return record


def duplicate() -> Record:
    """The record probably exists already."""
    record = both(MATRIX)
    record.decide(Change(id="m1", record="r1", kind="match", system="crm", about="email", other="r2"))
    assert {":duplicate": "duplicate"} == record.cases()
    return record


# ------------------------------------------------------------------------------------------------ what it does


def test_an_accepted_value_is_the_current_one_and_both_systems_follow() -> None:
    """It stands under the name of the person who accepted it, with the reason, and where it came from."""
    record = nurse()
    version = record.state.version if record.state else 0
    decision = record.ask("medication_plan", "accept", by="medical_lead", system="ehr", reason="called Dr. Roe")
    assert ("accepted", "") == answered(decision)
    assert (MORE, {}) == (record.current("medication_plan"), record.cases())
    now = decision.state.fields["medication_plan"]
    assert ("medical_lead person", "medical_lead", "person") == (now.actor, now.role, now.origin)
    assert ("resolution: medical_lead", "ehr", version + 1) == (now.grant, now.system, now.version)
    assert {} == sent(decision), "the CRM shows no dose, and the EHR shows the value already"


def test_a_kept_value_is_sent_to_the_owners_system_too() -> None:
    """A person has judged what the owner's system shows: this is the one way in which it is written over."""
    record = nurse()
    version = record.state.version if record.state else 0
    decision = record.ask("medication_plan", "keep", by="medical_lead", reason="the nurse mistyped")
    assert ("kept", "") == answered(decision)
    assert {"ehr": ("change", {"medication_plan": PLAN})} == sent(decision)
    assert "the nurse mistyped" == decision.sends[0].reason
    assert (version, {}) == (decision.state.version, record.cases())
    record.row("ehr", {"medication_plan": PLAN}, marker=f"c{record.count}")
    assert {} == record.cases()


def test_a_value_of_their_own_is_sent_to_both() -> None:
    """And raises the record's version by one."""
    record = clear()
    version = record.state.version if record.state else 0
    decision = record.ask("date_of_birth", "set", value=NEW_DOB)
    assert ("set", "") == answered(decision)
    assert {"ehr": ("change", {"date_of_birth": NEW_DOB}), "crm": ("change", {"date_of_birth": NEW_DOB})} == sent(
        decision
    )
    assert (version + 1, NEW_DOB) == (decision.state.version, record.current("date_of_birth"))


def test_parts_that_are_not_named_stay_as_they_are() -> None:
    """Another dose is another dose, not another drug."""
    record = nurse()
    record.ask("medication_plan", "set", by="medical_lead", value={"dose": "750 mg"})
    assert {**PLAN, "dose": "750 mg"} == record.current("medication_plan")  # type: ignore[dict-item]


def test_a_stage_that_is_set_brings_what_a_stage_brings() -> None:
    """Care starts by it, and fields change hands."""
    record = both(SMALL, care_stage="intake_done", legal_name={"family": "Doe", "given": "Ann"})
    record.row("ehr", {"legal_name": {"family": "Roe", "given": "Ann"}}, by="nurse", reason="r")
    record.row("crm", {"care_stage": "nonsense"})
    assert "care_stage" in record.cases()
    decision = record.ask("care_stage", "set", by="growth_ops", value="in_care")
    assert "in_care" == record.current("care_stage")
    assert decision.state.care_started is not None
    assert "in_care" == decision.state.stages[-1][1]


def test_what_waited_for_a_stage_is_decided_when_a_person_sets_it() -> None:
    """The stage is known then, however it became known."""
    record = both(SMALL)
    record.row("ehr", {"legal_name": {"family": "Roe", "given": "Ann"}}, by="nurse")
    record.row("crm", {"care_stage": "nonsense"})
    assert {"legal_name": "stage", "care_stage": "stage_unknown"} == record.cases()
    decision = record.ask("care_stage", "set", by="growth_ops", value="new_lead")
    assert [("legal_name", "rejected", "owner_policy")] == [(o.field, o.outcome, o.reason) for o in decision.redecided]


def test_a_resolution_ends_a_quarrel_of_automations() -> None:
    """The loop guard begins anew, as after every write by a person."""
    record = both(MATRIX, email="a@x.org")
    for turn in range(30):
        system, answer = ("ehr", "b@x.org") if turn % 2 else ("crm", "c@x.org")
        version = record.state.version if record.state else 0
        decision = record.row(system, {"email": answer}, by="integration", base=version)
        for send in decision.sends:
            record.row(
                send.system, send.values, marker=decision.state.systems[send.system].outstanding["email"][-1].change_id
            )
        if record.cases():
            break
    assert {"email": "oscillation"} == record.cases()
    decision = record.ask("email", "keep", by="support_lead")
    now = decision.state.fields["email"]
    assert (0, 0) == (now.restores, now.answers)
    assert set(now.told) == set(sent(decision))


def test_who_takes_the_latest_evidence_takes_a_later_one_still() -> None:
    """An accepted value keeps its own evidence; what a person sets is attested by them, now."""
    record = both(SMALL)
    at = record.now - HOUR
    record.row("ehr", {"follow_up": "reached"}, by="care_coordinator", evidence=backed("follow_up", "dr", at))
    record.row("crm", {"follow_up": "no answer"}, by="care_coordinator", evidence=backed("follow_up", "np", at))
    assert {"follow_up": "tie"} == record.cases()
    other = replace(record.state) if record.state else None
    record.ask("follow_up", "accept", system="crm")
    evidence = record.state.fields["follow_up"].evidence if record.state else None
    assert ("np", at) == (evidence and evidence.by, evidence and evidence.at)
    record.state = other
    now = record.now
    record.ask("follow_up", "set", value="left a message")
    evidence = record.state.fields["follow_up"].evidence if record.state else None
    assert ("clinical_ops person", now) == (evidence and evidence.by, evidence and evidence.at)


def test_evidence_from_the_future_is_not_kept() -> None:
    """It would outrank every true one until then."""
    record = both(SMALL)
    later = record.now + 24 * HOUR
    record.row("ehr", {"follow_up": "reached"}, by="care_coordinator", evidence=backed("follow_up", "dr", later))
    assert {"follow_up": "clock"} == record.cases()
    now = record.now
    record.ask("follow_up", "accept", system="ehr")
    evidence = record.state.fields["follow_up"].evidence if record.state else None
    assert ("clinical_ops person", now) == (evidence and evidence.by, evidence and evidence.at)


def test_what_does_not_land_is_a_case_again() -> None:
    """A resolution is sent like everything else: twice, then it has diverged."""
    record = clear()
    record.ask("date_of_birth", "keep")
    record.tick(LANDING_TIME // MINUTE)
    record.tick(LANDING_TIME // MINUTE)
    assert {"date_of_birth": "diverged"} == record.cases()


def test_a_resolution_while_sends_are_withheld_is_sent_when_they_are_not() -> None:
    """The sweep finds what is missing."""
    record = clear()
    record.withheld = frozenset({"crm", "ehr"})
    assert {} == sent(record.ask("date_of_birth", "set", value=NEW_DOB))
    record.withheld = frozenset()
    decision = record.control("tick")
    assert {"crm", "ehr"} == set(sent(decision)), (
        "the owner's system shows what was refused there, and a person judged it"
    )
    assert {} == record.cases()


def test_a_difference_that_a_snapshot_had_shown_is_no_excuse_any_longer() -> None:
    """A person has decided the field: every system is sent what is current."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("crm", {"date_of_birth": NEW_DOB}, op="r")
    record.row("ehr", {"date_of_birth": None}, by="integration")
    decision = record.ask("date_of_birth", "keep")
    assert {"ehr", "crm"} == set(sent(decision))


def test_no_duplicate_is_said_once() -> None:
    """The record's own case ends; nothing is sent."""
    record = duplicate()
    decision = record.ask(":duplicate", "dismiss")
    assert ("dismissed", "duplicate") == answered(decision)
    assert ({}, {}) == (record.cases(), sent(decision))
    assert ("r2",) == identity_of(record.state).apart


def test_a_probable_duplicate_that_is_linked_keeps_its_case_until_both_are_one() -> None:
    """So that the record is made nowhere meanwhile; which of several is meant has to be said."""
    record = duplicate()
    before = record.state
    assert ("linked", "duplicate") == answered(record.ask(":duplicate", "link"))
    assert ("linked", "duplicate") == answered(record.ask(":duplicate", "link", to="r2"))
    assert before == record.state
    record.decide(Change(id="m2", record="r1", kind="match", system="crm", about="email", other="r3"))
    assert ("refused", "not_named") == answered(record.ask(":duplicate", "link"))
    assert ("refused", "not_named") == answered(record.ask(":duplicate", "link", to="r4"))
    assert ("linked", "duplicate") == answered(record.ask(":duplicate", "link", to="r3"))


def test_a_case_is_assigned_and_stays_its_owners() -> None:
    """Nothing of it moves but the name; with no name nobody has it; with the case it ends."""
    record = clear()
    before = record.state.cases["date_of_birth"] if record.state else None
    assert ("assigned", "") == answered(record.ask("date_of_birth", "assign", to="Ida"))
    assert ({"date_of_birth": "Ida"}, before) == (record.state.assigned, record.state.cases["date_of_birth"])
    record.ask("date_of_birth", "assign")
    assert {} == record.state.assigned
    record.ask("date_of_birth", "assign", to="Ida")
    record.row("ehr", {"date_of_birth": DOB})
    assert ({}, {}) == (record.cases(), record.state.assigned)


def test_a_comment_and_a_look_change_nothing() -> None:
    """Whoever says or does it."""
    for action in ("comment", "reveal"):
        record = clear()
        before = record.state
        answered(record.ask("date_of_birth", action, by="growth_ops"))
        assert before == record.state


# ------------------------------------------------------------------------------------------------ who may, and when


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("clinical_ops", ("kept", "")),
        ("medical_lead", ("kept", "")),
        ("growth_ops", ("refused", "not_the_owner")),
        ("support_lead", ("refused", "not_the_owner")),
        ("nobody", ("refused", "not_the_owner")),
    ],
)
def test_the_escalation_owner_decides_or_one_above(by: str, expected: tuple[str, str]) -> None:
    """By the chain of the matrix."""
    assert expected == answered(clear().ask("date_of_birth", "keep", by=by))


def test_who_had_a_case_before_it_was_escalated_asks_the_next() -> None:
    """It is theirs no longer."""
    record = clear()
    record.tick(5 * 60)
    assert ("medical_lead",) == chain(MATRIX, record.state.cases["date_of_birth"])
    assert ("refused", "not_the_owner") == answered(record.ask("date_of_birth", "keep", by="clinical_ops"))


@pytest.mark.parametrize("said", [{"origin": "automation"}, {"actor": None}, {"actor": " "}])
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_only_a_person_with_a_name_is_heard(action: str, said: dict[str, object]) -> None:
    """An automation does not decide what a person is there for."""
    record = clear()
    before = record.state
    assert ("refused", "not_a_person") == answered(record.ask("date_of_birth", action, **said))
    assert before == record.state


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_critical_field_needs_a_reason(reason: str | None) -> None:
    """Others do not, and the record itself does."""
    assert ("refused", "reason_required") == answered(clear().ask("date_of_birth", "keep", reason=reason))
    assert ("refused", "reason_required") == answered(duplicate().ask(":duplicate", "dismiss", reason=reason))
    assert ("refused", "reason_required") == answered(duplicate().ask(":duplicate", "link", reason=reason))
    assert ("refused", "reason_required") == answered(clear().ask("date_of_birth", "comment", reason=reason))
    record = both(MATRIX, care_stage="qualified")
    record.row("crm", {"care_stage": "nurture"})
    assert ("kept", "") == answered(record.ask("care_stage", "keep", by="growth_ops", reason=reason))


@pytest.mark.parametrize("action", ["accept", "keep", "set", "dismiss", "link"])
def test_a_case_that_changed_since_it_was_read_is_not_decided(action: str) -> None:
    """The nurse saved yet another dose: whoever read the former has not seen it."""
    record = nurse()
    seen = edition(record.state, record.state.cases["medication_plan"])
    record.row("ehr", {"medication_plan": {**MORE, "dose": "900 mg"}}, by="nurse")  # type: ignore[dict-item]
    before = record.state
    decision = record.ask("medication_plan", action, by="medical_lead", system="ehr", value=PLAN, edition=seen)
    assert ("changed meanwhile", "") == answered(decision)
    assert (before, ()) == (record.state, decision.sends)


def test_a_case_that_closed_meanwhile_is_not_decided() -> None:
    """The same ask twice is answered twice, and done once."""
    record = clear()
    case = record.state.cases["date_of_birth"]
    said = {"case": case.id, "edition": edition(record.state, case)}
    assert ("kept", "") == answered(record.ask("date_of_birth", "keep", **said))
    before = record.state
    decision = record.ask("date_of_birth", "keep", **said)
    assert ("changed meanwhile", "closed") == answered(decision)
    assert (before, ()) == (record.state, decision.sends)


def test_repeats_and_escalation_leave_a_case_as_it_was_read() -> None:
    """So that a feed that says the same each minute keeps nobody from deciding."""
    record = clear()
    seen = edition(record.state, record.state.cases["date_of_birth"])
    record.row("ehr", {"date_of_birth": None}, by="integration", row="ehr/b/1", primary=False, reason="gone")
    record.tick(5 * 60)
    assert 1 == record.state.cases["date_of_birth"].escalated
    assert ("kept", "") == answered(record.ask("date_of_birth", "keep", by="medical_lead", edition=seen))


@pytest.mark.parametrize(
    ("field", "action", "said", "reason"),
    [
        pytest.param("medication_plan", "accept", {"system": "crm"}, "not_offered", id="a summary is no value"),
        pytest.param("medication_plan", "accept", {"system": "lab"}, "not_offered", id="no such system"),
        pytest.param("medication_plan", "set", {"value": "metformin"}, "value", id="no parts"),
        pytest.param("medication_plan", "set", {"value": {"colour": "red"}}, "value", id="no such part"),
        pytest.param("medication_plan", "dismiss", {}, "not_possible", id="a field's case is no duplicate"),
        pytest.param("medication_plan", "link", {"to": "r2"}, "not_possible", id="a field's case names no record"),
    ],
)
def test_what_cannot_be_is_refused(field: str, action: str, said: dict[str, object], reason: str) -> None:
    """With nothing changed."""
    record = nurse()
    before = record.state
    assert ("refused", reason) == answered(record.ask(field, action, by="medical_lead", **said))
    assert before == record.state


def test_a_value_outside_the_choices_or_the_map_is_refused() -> None:
    """A stage that nobody knows is not made known by accepting it, and a stage is never cleared."""
    record = both(MATRIX, care_stage="qualified")
    record.row("crm", {"care_stage": "nurture"})
    for said in ({"action": "accept", "system": "crm"}, {"action": "set", "value": None}):
        action = said.pop("action")
        assert "refused" == answered(record.ask("care_stage", str(action), by="growth_ops", **said))[0]
    record = both(MATRIX, sex="female")
    record.row("ehr", {"sex": None}, by="integration")
    assert ("refused", "value") == answered(record.ask("sex", "set", value="blue"))
    assert ("set", "") == answered(record.ask("sex", "set", value=None))


def test_nothing_is_kept_where_there_is_nothing() -> None:
    """Then a value is accepted, or set."""
    record = both(SMALL)
    record.row("ehr", {"legal_name": {"family": "Roe", "given": "Ann"}}, by="nurse")
    assert {"legal_name": "stage"} == record.cases()
    assert ("refused", "no_current_value") == answered(record.ask("legal_name", "keep"))
    assert ("accepted", "") == answered(record.ask("legal_name", "accept", system="ehr"))


@pytest.mark.parametrize("action", ["accept", "keep", "set"])
def test_the_record_itself_has_no_value(action: str) -> None:
    """Its case is dismissed, or settled by a link."""
    assert "refused" == answered(duplicate().ask(":duplicate", action))[0]


def test_an_ask_that_says_nothing_or_something_else_is_refused() -> None:
    """Bytes that a foreign program wrote: a kind without its ask, a kind with another's."""
    record = clear()
    case = record.state.cases["date_of_birth"]
    change = Change(id="x", record="r1", kind="resolve", actor="a", role="clinical_ops", origin="person", reason="r")
    assert ("refused", "not_possible") == answered(record.decide(change))
    ask = Ask(case=case.id, action="keep", edition=edition(record.state, case))
    assert ("refused", "not_possible") == answered(record.decide(replace(change, kind="comment", ask=ask)))


def test_a_record_that_nobody_knows_has_no_case() -> None:
    """And gets none by the question."""
    assert ("changed meanwhile", "closed") == answered(Record(MATRIX).ask("email", "keep"))


# ------------------------------------------------------------------------------------------------ what is offered


def test_what_systems_propose_is_offered() -> None:
    """What waits in the case, and else what a system shows differently; nothing of a system that shows summaries."""
    record = nurse()
    [offer] = offers(MATRIX, record.state, record.state.cases["medication_plan"])
    assert ("ehr", MORE, None) == offer
    record = clear()
    [offer] = offers(MATRIX, record.state, record.state.cases["date_of_birth"])
    assert ("ehr", None) == (offer.system, offer.value)
    assert offer.proposal is not None
    assert () == offers(MATRIX, duplicate().state, duplicate().state.cases[":duplicate"])


def test_a_request_is_offered_for_what_it_asks() -> None:
    """Though the system shows a summary only."""
    record = both(SMALL, care_stage="in_care")
    record.control("pause", "ehr")
    record.row("ehr", requests={"care_stage": "paused"}, by="clinical_ops")
    [offer] = offers(SMALL, record.state, record.state.cases["care_stage"])
    assert ("ehr", "paused") == (offer.system, offer.value)
    assert ("accepted", "") == answered(record.ask("care_stage", "accept", by="growth_ops", system="ehr"))
    assert "paused" == record.current("care_stage")


def test_a_system_that_is_gone_offers_nothing() -> None:
    """What it showed is forgotten."""
    record = nurse()
    record.row("ehr", op="d")
    assert () == offers(MATRIX, record.state, record.state.cases["medication_plan"])


def test_a_chain_that_turns_round_ends() -> None:
    """The matrix's lint knows, the core does not ask."""
    record = clear()
    case = record.state.cases["date_of_birth"]
    ring = replace(MATRIX.escalations["medical_lead"], then="clinical_ops")
    matrix = replace(MATRIX, escalations={**MATRIX.escalations, "medical_lead": ring})
    assert ("clinical_ops", "medical_lead") == chain(matrix, case)
    assert ("gone",) == chain(matrix, replace(case, owner="gone"))


def test_every_action_has_its_kind() -> None:
    """Nothing can be asked that is not done."""
    assert set(ACTIONS) == set(KIND_OF)


def test_a_rightful_write_after_a_resolution_goes_its_own_way() -> None:
    """A resolution is no override that others must yield to."""
    record = clear()
    record.ask("date_of_birth", "set", value=NEW_DOB)
    decision = record.row("ehr", {"date_of_birth": DOB}, by="provider")
    assert [("date_of_birth", "applied", "")] == ends(decision)
