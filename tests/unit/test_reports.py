"""What people are told of a decision: the records of the conflicts and of the resolutions."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from deciding import MINUTE, Record, both
from histories import Step, histories
from matrices import patient
from ownership_stream.model import Change, Decision, Value
from ownership_stream.reports import Reports
from ownership_stream.wire import JSON, Conflict, Message, Resolution
from small_matrix import MATRIX as SMALL
from step_kit import told_out

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
NAME: Value = {"family": "Doe", "given": "Ann"}
ROE: Value = {"family": "Roe", "given": "Ann"}


class Reported(Record):
    """A record whose every change is reported; the messages are those of the last change."""

    def __init__(self, record: Record, mode: str = "enforce") -> None:
        super().__init__(record.matrix)
        self.state, self.now, self.count = record.state, record.now, record.count
        self.reports = Reports(record.matrix, mode=mode)
        self.messages: list[Message] = []
        self.conflicts: list[Conflict] = []
        self.resolutions: list[Resolution] = []

    def decide(self, change: Change) -> Decision:
        """Decide and report."""
        before = self.state
        decision = super().decide(change)
        conflicts = list(self.reports.conflicts(before, change, decision))
        resolutions = list(self.reports.resolutions(before, change, decision))
        self.messages = conflicts + resolutions
        self.conflicts = [JSON.read_conflict(message.value or b"") for message in conflicts]
        self.resolutions = [JSON.read_resolution(message.value or b"") for message in resolutions]
        return decision


def reported(mode: str = "enforce", **said: Any) -> Reported:
    """A record that both systems have, with these values."""
    return Reported(both(MATRIX, **said), mode)


def told(conflicts: list[Conflict]) -> list[tuple[str, str, str, str]]:
    """In few words."""
    return [(one.event, one.field, one.outcome, one.reason) for one in conflicts]


# ------------------------------------------------------------------------------------------------ conflicts


def test_a_rejected_write_is_told_with_why_and_what_to_do() -> None:
    """Whose field it is and what the writer does instead; what was proposed beside what stands."""
    record = reported(date_of_birth=DOB)
    version = record.state.version if record.state else 0
    record.row("crm", {"date_of_birth": NEW_DOB}, by="growth_ops", base=version)
    [conflict] = record.conflicts
    assert ("decided", "date_of_birth", "rejected", "owner_policy") == told([conflict])[0]
    assert "the EHR owns `Date of birth`, and this writer has no grant for it here" == conflict.sentence
    assert "it may be changed by anyone in the EHR" == conflict.advice
    assert (NEW_DOB, DOB, version) == (conflict.proposed, conflict.current, conflict.current_version)
    assert ("growth_ops", "growth_ops", "person") == (conflict.actor, conflict.role, conflict.origin)
    assert (None, None, None) == (conflict.case_id, conflict.owner, conflict.due)
    assert ("enforce", MATRIX.revision, ("ehr", "crm")) == (conflict.mode, conflict.revision, conflict.systems)


def test_a_queued_write_is_told_once_with_its_case() -> None:
    """Whose queue, since when and until when; the case's opening is not told a second time."""
    record = reported(date_of_birth=DOB)
    now = record.now
    record.row("ehr", {"date_of_birth": None}, by="integration")
    [conflict] = record.conflicts
    assert ("decided", "date_of_birth", "queued", "clear") == told([conflict])[0]
    assert ("clinical_ops", now, now + 4 * 60 * MINUTE) == (conflict.owner, conflict.opened, conflict.due)
    assert (record.state.cases["date_of_birth"].id if record.state else "") == conflict.case_id


def test_a_write_that_joins_a_case_is_told_once_too() -> None:
    """The case and its opening are those of the first."""
    record = reported(date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None}, by="integration")
    [first] = record.conflicts
    record.row("ehr", {"date_of_birth": None}, by="integration", row="ehr/b/1", primary=False, reason="gone")
    [second] = record.conflicts
    assert ("decided", "queued", first.case_id, first.opened) == (
        second.event, second.outcome, second.case_id, second.opened,
    )  # fmt: skip


def test_a_case_that_no_write_opened_is_told_by_itself() -> None:
    """A nurse's edit is rejected, and what her system shows is somebody's case."""
    record = reported(care_stage="in_care", medication_plan={"drug": "metformin"})
    record.row("ehr", {"medication_plan": {"drug": "insulin"}}, by="nurse")
    assert [
        ("decided", "medication_plan", "rejected", "owner_policy"),
        ("opened", "medication_plan", "queued", "unattested"),
    ] == told(record.conflicts)
    write, case = record.conflicts
    assert (None, "medical_lead") == (write.owner, case.owner)
    assert all(one.sentence and one.advice for one in record.conflicts)


@pytest.mark.parametrize(
    ("minutes", "event", "reason"),
    [pytest.param(15, "opened", "diverged", id="diverged"), pytest.param(5 * 60, "escalated", "clear", id="escalated")],
)
def test_what_time_alone_brings_is_told(minutes: int, event: str, reason: str) -> None:
    """Cases of a tick: nobody wrote, and the sentence leaves nothing out that only a writer would have."""
    record = reported(date_of_birth=DOB, email="a@x.org")
    if reason == "clear":
        record.row("ehr", {"date_of_birth": None}, by="integration")
    else:
        record.row("crm", {"email": "b@x.org"}, by="growth_ops")
        record.tick(15)
    record.tick(minutes)
    [conflict] = [one for one in record.conflicts if one.event == event]
    assert (reason, "queued") == (conflict.reason, conflict.outcome)
    assert "the  " not in conflict.sentence + conflict.advice
    assert "  " not in conflict.sentence
    assert conflict.advice


def test_a_case_of_the_record_itself_is_told_without_a_field() -> None:
    """A record deleted in a system that owned fields of it."""
    record = reported(date_of_birth=DOB)
    record.row("ehr", op="d")
    [conflict] = record.conflicts
    assert ("opened", "", "queued", "absent") == told([conflict])[0]
    assert ("", None, 0) == (conflict.label, conflict.current, conflict.current_version)
    assert "the record was deleted in a system that owns fields of it" == conflict.sentence


def test_what_was_asked_for_in_a_request_column_is_told_as_that() -> None:
    """Two columns of one row may concern one field: each has an identity of its own."""
    record = reported(care_stage="in_care")
    record.row("ehr", requests={"care_stage": "qualified"}, by="nurse")
    [conflict] = record.conflicts
    assert (True, "qualified", "in_care") == (conflict.request, conflict.proposed, conflict.current)
    assert dict(record.messages[0].headers)["ce_id"].endswith(b":care_stage:request")


def test_the_writer_is_who_wrote_and_not_who_wrote_last_time() -> None:
    """An actor column that did not move names nobody: the write is an unknown automation's."""
    record = reported(date_of_birth=DOB)
    record.row("crm", {"weight": None}, actor="005GROW1", role="growth_ops", origin="person", updated_at=5)
    record.row("crm", {"date_of_birth": NEW_DOB}, actor="005GROW1", role="growth_ops", origin="person", updated_at=5)
    [conflict] = record.conflicts
    assert (None, None, "automation") == (conflict.actor, conflict.role, conflict.origin)


def paused_then(do: Callable[[Reported], None]) -> Reported:
    """A support person's write waits in the CRM's pause; something happens; the CRM is resumed."""
    record = reported(date_of_birth=DOB, email="a@x.org")
    record.control("pause", "crm")
    record.row("crm", {"date_of_birth": NEW_DOB}, by="support")
    do(record)
    record.control("resume", "crm")
    return record


def test_what_waited_is_told_in_its_writer_s_name() -> None:
    """Not in the name of whoever resumed: system, value and writer are those of the write."""
    record = paused_then(lambda _: None)
    [conflict] = [one for one in record.conflicts if one.event == "decided"]
    assert ("date_of_birth", "rejected", "owner_policy") == (conflict.field, conflict.outcome, conflict.reason)
    assert ("crm", NEW_DOB, "support", "person") == (
        conflict.system, conflict.proposed, conflict.role, conflict.origin,
    )  # fmt: skip
    assert f"c{record.count}" == conflict.change_id
    assert b":date_of_birth:again" in dict(record.messages[0].headers)["ce_id"]


def test_what_still_waits_after_it_was_decided_again_keeps_its_case() -> None:
    """Under its new reason; the case is not told a second time."""
    record = reported()
    record.row("crm", {"legal_name": NAME}, by="growth_ops")
    record.row("ehr", {"legal_name": None}, by="integration")
    record.row("crm", {"legal_name": None}, by="integration")
    record.row("crm", {"care_stage": "new_lead"}, by="growth_ops")
    events = Counter(one.case_id for one in record.conflicts if one.outcome == "queued" and one.case_id)
    assert {1} >= set(events.values())


def test_in_observe_mode_every_record_says_so() -> None:
    """So that none is mistaken for what was done."""
    record = reported("observe", date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None}, by="integration")
    record.row("ehr", {"date_of_birth": DOB}, by="nurse")
    assert ["observe"] == [one.mode for one in record.resolutions]


def test_what_is_no_conflict_is_not_told() -> None:
    """Applied, echoed, replayed, unchanged, baseline."""
    record = reported(email="a@x.org")
    events: list[tuple[str, dict[str, Value], dict[str, Any]]] = [
        ("crm", {"email": "b@x.org"}, {"by": "growth_ops"}),
        ("ehr", {"email": "b@x.org"}, {}),
        ("ehr", {"email": "b@x.org", "phone": None}, {"by": "nurse"}),
        ("ehr", {"email": "c@x.org"}, {"position": (1,)}),
        ("ehr", {"email": "c@x.org"}, {"op": "r"}),
    ]
    for system, fields, said in events:
        record.row(system, fields, **said)
        assert [] == record.messages


# ------------------------------------------------------------------------------------------------ resolutions


def test_an_unseen_value_that_was_replaced_is_a_resolution_by_the_matrix() -> None:
    """Logged with both values: an applied write was a conflict that the row's rule settled."""
    record = reported(email="a@x.org")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    now = record.now
    decision = record.row("crm", {"email": "c@x.org"}, by="growth_ops", at=now)
    [resolution] = record.resolutions
    assert ("matrix", "applied", "email", "E-mail") == (
        resolution.actor, resolution.outcome, resolution.field, resolution.label,
    )  # fmt: skip
    assert ("b@x.org", "c@x.org", decision.state.version) == (resolution.before, resolution.after, resolution.version)
    assert ("owner wins", "owner: crm", now) == (resolution.rule, resolution.grant, resolution.at)
    assert [] == record.conflicts


def test_an_override_that_the_owner_ended_is_a_resolution() -> None:
    """Also where the owner had seen it."""
    record = reported(care_stage="new_lead", legal_name=NAME)
    decision = record.row("ehr", {"legal_name": ROE}, by="provider", reason="passport")
    record.lands(decision, "crm")
    record.row("crm", {"legal_name": NAME}, by="growth_ops")
    assert [("override ended", "legal_name", "matrix")] == [
        (one.outcome, one.field, one.actor) for one in record.resolutions
    ]


@pytest.mark.parametrize(("value", "how"), [(DOB, "converged"), (NEW_DOB, "superseded")])
def test_a_case_that_ended_by_itself_is_a_resolution(value: str, how: str) -> None:
    """Agreement, or a later write that was applied; it says since when the case was open."""
    record = reported(date_of_birth=DOB)
    opened = record.now
    record.row("ehr", {"date_of_birth": None}, by="integration")
    record.row("ehr", {"date_of_birth": value}, by="nurse")
    [resolution] = record.resolutions
    assert (how, "clear", "matrix", opened) == (
        resolution.outcome, resolution.reason, resolution.actor, resolution.opened,
    )  # fmt: skip
    assert f"c{record.count - 1}:date_of_birth" == resolution.case_id


def test_one_change_may_resolve_a_field_twice() -> None:
    """It replaced a value that its writer had not seen, and ended a case: two records."""
    record = reported(email="a@x.org")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.control("pause", "ehr")
    record.row("ehr", {"email": "c@x.org"}, by="nurse")
    record.row("crm", {"email": "d@x.org"}, by="growth_ops")
    assert ["applied", "superseded"] == [one.outcome for one in record.resolutions]
    ids = [dict(message.headers)["ce_id"] for message in record.messages]
    assert len(ids) == len(set(ids))


# ------------------------------------------------------------------------------------------------ people


def test_a_resolution_says_who_what_when_why_and_how_long_it_took() -> None:
    """Of a critical field it says that there was a value and that there is one; which, the log of changes knows."""
    record = reported(date_of_birth=DOB)
    opened = record.now
    record.row("ehr", {"date_of_birth": None}, by="integration")
    now = record.now
    record.ask("date_of_birth", "set", value=NEW_DOB, reason="birth certificate")
    [told] = record.resolutions
    assert ("clinical_ops person", "clinical_ops", "set", "set", "birth certificate") == (
        told.actor, told.role, told.action, told.outcome, told.why,
    )  # fmt: skip
    assert (opened, now, now - opened, "clear") == (told.opened, told.at, told.took, told.reason)
    assert ("•••", "•••", True, "resolution: clinical_ops") == (told.before, told.after, told.masked, told.grant)
    [case] = record.conflicts
    assert ("resolved", "date_of_birth", told.case_id) == (case.event, case.field, case.case_id)
    assert NEW_DOB.encode() not in b"".join(message.value or b"" for message in record.messages[1:])


def test_values_that_are_not_critical_stand_in_a_resolution() -> None:
    """And where a value came from that was accepted."""
    record = reported(email="a@x.org")
    record.control("pause", "ehr")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.ask("email", "accept", by="support_lead", system="ehr")
    [told] = record.resolutions
    assert ("accepted", "a@x.org", "b@x.org", "ehr", False) == (
        told.outcome, told.before, told.after, told.source, told.masked,
    )  # fmt: skip


def test_the_matrix_own_resolutions_are_masked_alike() -> None:
    """Part by part, so that it can be told what is there."""
    record = reported(care_stage="new_lead", legal_name=NAME)
    decision = record.row("ehr", {"legal_name": ROE}, by="provider", reason="passport")
    record.lands(decision, "crm")
    record.row("crm", {"legal_name": {"family": None, "given": "Ann"}}, by="growth_ops")
    [told] = record.resolutions
    assert ({"family": "•••", "given": "•••"}, {"family": None, "given": "•••"}, True) == (
        told.before, told.after, told.masked,
    )  # fmt: skip


def test_a_refused_resolution_is_answered_too() -> None:
    """Nothing else is told: the case is as it was."""
    record = reported(date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None}, by="integration")
    record.ask("date_of_birth", "keep", by="growth_ops")
    [told] = record.resolutions
    assert ("refused", "not_the_owner", "growth_ops", None) == (told.outcome, told.answer, told.role, told.took)
    assert [] == record.conflicts
    record.ask("date_of_birth", "keep", case="another", edition="")
    [told] = record.resolutions
    assert ("changed meanwhile", "closed", "another", "") == (told.outcome, told.answer, told.case_id, told.field)


def test_who_a_case_is_assigned_to_is_told() -> None:
    """On both topics, so that a queue made of them knows."""
    record = reported(date_of_birth=DOB)
    record.row("ehr", {"date_of_birth": None}, by="integration")
    record.ask("date_of_birth", "assign", to="Ida")
    [told], [case] = record.resolutions, record.conflicts
    assert ("assigned", "Ida", None) == (told.outcome, told.to, told.took)
    assert ("assigned", "Ida") == (case.event, case.assigned)


# ------------------------------------------------------------------------------------------------ whatever happens


@given(history=histories())
@settings(max_examples=25)
def test_each_refused_write_has_one_conflict_record_and_each_case_event_is_told(history: tuple[Step, ...]) -> None:
    """Whatever happens: none is left out or told twice, each says why, each record has an identity of its own."""
    reports = Reports(SMALL, mode="enforce")
    for state, change, decision in told_out(SMALL, history):
        messages = list(reports.conflicts(state, change, decision))
        conflicts = [JSON.read_conflict(message.value or b"") for message in messages]
        resolutions = list(reports.resolutions(state, change, decision))
        refused = Counter(
            (one.field, one.outcome, one.reason, one.request)
            for one in (*decision.outcomes, *decision.redecided)
            if one.outcome in ("rejected", "queued", "failed")
        )
        decided = [one for one in conflicts if one.event == "decided"]
        assert refused == Counter((one.field, one.outcome, one.reason, one.request) for one in decided)
        named = {one.case_id for one in decided}
        assert all(event.case.id in named | {one.case_id for one in conflicts} for event in decision.cases)
        assert all(one.sentence and "{" not in one.sentence + one.advice for one in conflicts)
        assert {change.record.encode()} >= {message.key for message in (*messages, *resolutions)}
        ids = [dict(message.headers)["ce_id"] for message in (*messages, *resolutions)]
        assert len(ids) == len(set(ids))
