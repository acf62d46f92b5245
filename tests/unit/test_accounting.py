"""What a decision counts as: the figures of docs/rules.md, section 5, on small decisions."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings

from deciding import MINUTE, Record, both, ends
from histories import Step, histories
from matrices import patient
from ownership_stream.accounting import account
from ownership_stream.model import Change, Decision, Evidence, Value
from ownership_stream.outcomes import ATTEMPTS
from ownership_stream.telemetry import Telemetry, bounds_of
from small_matrix import MATRIX as SMALL
from step_kit import told_out

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
NAME: Value = {"family": "Doe", "given": "Ann"}
ROE: Value = {"family": "Roe", "given": "Ann"}
DONE: Value = {"completed_at": "2026-03-02T12:00:00.000Z", "outcome": "done"}
Counts = Counter[tuple[str, ...]]


class Counted(Record):
    """A record whose every change is counted."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.matrix)
        self.state, self.now, self.count = record.state, record.now, record.count
        self.counts: Counts = Counter()

    def decide(self, change: Change) -> Decision:
        """Decide and count."""
        before = self.state
        decision = super().decide(change)
        self.counts = Counter()
        account(self.counts, self.matrix, before, change, decision)
        return decision

    def last(self, name: str) -> dict[tuple[str, ...], int]:
        """What one metric gained by the last change."""
        return {key[1:]: number for key, number in self.counts.items() if key[0] == name}


def counted(**said: Any) -> Counted:
    """A record that both systems have, with these values."""
    return Counted(both(MATRIX, **said))


def total(counts: Counts, name: str) -> int:
    """All that one metric gained."""
    return sum(number for key, number in counts.items() if key[0] == name)


# ------------------------------------------------------------------------------------------------ closed accounting


@given(history=histories())
@settings(max_examples=25)
def test_every_carried_field_is_counted_in_exactly_one_outcome(history: tuple[Step, ...]) -> None:
    """Whatever happens, outcomes add up to what was carried; and every count has labels announced at the start."""
    telemetry = Telemetry(bounds_of(SMALL, dead_letter_reasons=(), ignored_reasons=()))
    for state, change, decision in told_out(SMALL, history):
        counts: Counts = Counter()
        account(counts, SMALL, state, change, decision)
        assert len(change.fields) + len(change.compared) + len(change.requests) == total(counts, "outcomes")
        attempts = sum(number for key, number in counts.items() if key[0] == "outcomes" and key[1] in ATTEMPTS)
        assert attempts == total(counts, "write_attempts")
        assert attempts >= total(counts, "conflicts") + total(counts, "conflict_repeats")
        assert (len(decision.sends), len(decision.restored)) == (total(counts, "sends"), total(counts, "restores"))
        telemetry.count(counts)
    shown = telemetry.render().decode()
    assert [] == [line for line in shown.splitlines() if "unknown_labels_total{" in line and not line.endswith(" 0.0")]


# ------------------------------------------------------------------------------------------ attempts and conflicts


def stale(record: Counted) -> None:
    """The CRM writes over an address it has not seen; nobody had."""
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.row("crm", {"email": "c@x.org"}, by="person", base=1)


def unseen(record: Counted) -> None:
    """The owner writes what another has written meanwhile, and has not seen it."""
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.row("crm", {"email": "c@x.org"}, by="growth_ops", at=record.now)


def owner_policy(record: Counted) -> None:
    """A write without grant."""
    record.row("crm", {"date_of_birth": NEW_DOB}, by="integration")


def queued(record: Counted) -> None:
    """An automation clears what is critical."""
    record.row("ehr", {"date_of_birth": None}, by="integration")


def repeated(record: Counted) -> None:
    """Once more while the case is open: another unrightful clear in a row of its own."""
    queued(record)
    record.row("ehr", {"date_of_birth": None}, by="integration", row="ehr/other/1", primary=False, reason="fresh")


def seen(record: Counted) -> None:
    """A write like any other."""
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")


def not_validated(record: Counted) -> None:
    """A completion that nobody vouches for is no conflict."""
    record.row("ehr", {"follow_up_completion": DONE}, by="nurse")


def unchanged(record: Counted) -> None:
    """The row is sent whole with nothing new in it."""
    record.row("ehr", {"date_of_birth": DOB, "email": "a@x.org"}, by="nurse")


@pytest.mark.parametrize(
    ("story", "attempts", "conflicts", "repeats"),
    [
        pytest.param(seen, {("email", "applied", "", "crm", "person"): 1}, {}, {}, id="applied"),
        pytest.param(
            unseen, {("email", "applied", "", "crm", "person"): 1}, {("email", "applied"): 1}, {}, id="applied unseen"
        ),
        pytest.param(
            stale, {("email", "rejected", "stale", "crm", "person"): 1}, {("email", "rejected"): 1}, {}, id="stale"
        ),
        pytest.param(
            owner_policy,
            {("date_of_birth", "rejected", "owner_policy", "crm", "automation"): 1},
            {("date_of_birth", "rejected"): 1},
            {},
            id="rejected by owner policy",
        ),
        pytest.param(
            queued,
            {("date_of_birth", "queued", "clear", "ehr", "automation"): 1},
            {("date_of_birth", "queued"): 1},
            {},
            id="queued",
        ),
        pytest.param(
            repeated,
            {("date_of_birth", "queued", "clear", "ehr", "automation"): 1},
            {},
            {("date_of_birth",): 1},
            id="a repeat is counted beside",
        ),
        pytest.param(
            not_validated,
            {("follow_up_completion", "rejected", "not_validated", "ehr", "person"): 1},
            {},
            {},
            id="a completion that is pending is no conflict",
        ),
        pytest.param(unchanged, {}, {}, {}, id="no change is no attempt"),
    ],
)
def test_what_is_an_attempt_and_what_a_conflict(
    story: Any, attempts: dict[Any, int], conflicts: dict[Any, int], repeats: dict[Any, int]
) -> None:
    """Figures 2 and 6: the last event of each story."""
    record = counted(email="a@x.org", date_of_birth=DOB)
    story(record)
    assert (attempts, conflicts, repeats) == tuple(
        record.last(name) for name in ("write_attempts", "conflicts", "conflict_repeats")
    )


def test_what_is_no_attempt_is_an_outcome_all_the_same() -> None:
    """No change, a replay, an echo and a baseline are in no figure, and each is counted."""
    record = counted(email="a@x.org")
    decision = record.row("crm", {"email": "b@x.org", "phone": None}, by="growth_ops")
    assert {("applied", "", "crm"): 1, ("noop", "", "crm"): 1} == record.last("outcomes")
    record.lands(decision, "ehr")
    assert {("echo", "", "ehr"): 1} == record.last("outcomes")
    record.row("ehr", {"email": "x@x.org", "phone": None}, position=(1,))
    assert {("replay", "", "ehr"): 2} == record.last("outcomes")
    record.row("ehr", {"email": "y@x.org"}, op="r")
    assert {("baseline", "", "ehr"): 1} == record.last("outcomes")
    assert {} == record.last("write_attempts")


def test_what_is_decided_once_more_is_no_new_attempt() -> None:
    """A resume decides what waited; its attempt was counted when it was made."""
    record = counted(email="a@x.org")
    record.control("pause", "crm")
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")
    assert {("email", "queued", "paused", "crm", "person"): 1} == record.last("write_attempts")
    decision = record.control("resume", "crm")
    assert [("email", "applied")] == [(one.field, one.outcome) for one in decision.redecided]
    assert ({}, {}) == (record.last("write_attempts"), record.last("outcomes"))
    assert {("support_lead", "superseded"): 1} == record.last("queue_closed")


# ------------------------------------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("system", "field", "value", "said", "counts"),
    [
        pytest.param(
            "ehr", "legal_name", ROE, {"by": "provider", "reason": "passport"},
            {("legal_name", "override: provider in ehr"): 1}, id="an override",
        ),
        pytest.param(
            "ehr", "legal_name", ROE, {"by": "intake_ops", "reason": "passport"},
            {("legal_name", "secondary: intake_ops in ehr"): 1}, id="a secondary writer by hand",
        ),
        pytest.param("crm", "legal_name", ROE, {"by": "growth_ops"}, {}, id="the owner's own people"),
        pytest.param("ehr", "weight", 81, {"by": "integration"}, {}, id="an automation overrides nothing by hand"),
        pytest.param("ehr", "assigned_coach", "c-2", {"by": "care_coordinator"}, {}, id="what is not protected"),
        pytest.param("ehr", "legal_name", ROE, {"by": "provider"}, {}, id="what was rejected"),
    ],
)  # fmt: skip
def test_manual_overrides_are_counted_by_grant(
    system: str, field: str, value: Value, said: dict[str, Any], counts: dict[Any, int]
) -> None:
    """Figure 3: applied writes by persons under a secondary or override grant, on protected fields."""
    record = counted(care_stage="new_lead", legal_name=NAME, weight=80, assigned_coach="c-1")
    record.row(system, {field: value}, **said)
    assert counts == record.last("overrides")


# ------------------------------------------------------------------------------------------------ the queue


def test_a_case_is_counted_when_it_opens_and_when_it_ends() -> None:
    """Figures 4 and 5: by its owner; the seconds are those since its first opening."""
    record = counted(date_of_birth=DOB)
    queued(record)
    assert {("clinical_ops", "clear"): 1} == record.last("queue_opened")
    record.now += 10 * MINUTE
    record.row("ehr", {"date_of_birth": NEW_DOB}, by="nurse")
    assert {("clinical_ops", "superseded"): 1} == record.last("queue_closed")
    assert {("clinical_ops", "superseded"): 11 * 60} == record.last("queue_closed_seconds")


def test_a_case_that_closes_before_it_opened_took_no_time() -> None:
    """The clock of the broker that leads now may be behind that of the one before; no counter goes back."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.now -= 10 * MINUTE
    record.row("ehr", {"date_of_birth": NEW_DOB}, by="nurse")
    assert {("clinical_ops", "superseded"): 0} == record.last("queue_closed_seconds")
    assert {} == record.last("queue_opened")


def test_agreement_closes_a_case_by_itself() -> None:
    """Beside the cases that people close."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.row("ehr", {"date_of_birth": DOB}, by="nurse")
    assert {("clinical_ops", "converged"): 1} == record.last("queue_closed")


def test_an_escalation_is_counted_for_who_has_it_now() -> None:
    """A case that passed its deadline."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.tick(5 * 60)
    assert {("medical_lead",): 1} == record.last("queue_escalated")


def test_restores_and_sends_are_counted_by_whom_they_go_to() -> None:
    """A send with all its fields is one record; each restored field counts."""
    record = counted(date_of_birth=DOB, sex="female")
    record.row("crm", {"date_of_birth": NEW_DOB, "sex": "male"}, by="integration")
    assert {("crm", "restore"): 1} == record.last("sends")
    assert {("date_of_birth", "crm"): 1, ("sex", "crm"): 1} == record.last("restores")


# ------------------------------------------------------------------------------------------------ records created


@pytest.mark.parametrize(
    ("op", "said", "created"),
    [
        pytest.param("c", {}, {("crm",): 1}, id="a create"),
        pytest.param("r", {}, {}, id="a snapshot"),
        pytest.param("u", {}, {}, id="an update of a row that was not seen before"),
        pytest.param("c", {"primary": False}, {}, id="a row beside the primary one"),
    ],
)
def test_a_record_created_is_a_system_s_own_new_primary_row(
    op: Any, said: dict[str, Any], created: dict[Any, int]
) -> None:
    """Figure 1, below the line."""
    record = Counted(Record(MATRIX))
    record.row("crm", {"email": "a@x.org"}, by="growth_ops", op=op, **said)
    assert created == record.last("records_created")


def test_a_record_that_is_there_is_not_created_again() -> None:
    """The event came twice, or the connector says create for what it said before; after a delete it is a new one."""
    record = counted()
    record.row("crm", op="c")
    assert {} == record.last("records_created")
    record.row("crm", op="d")
    record.row("crm", op="c")
    assert {("crm",): 1} == record.last("records_created")


def test_each_system_s_own_creation_counts() -> None:
    """The duplicates of one system are a share of its own creates."""
    record = Counted(Record(MATRIX))
    for system in ("crm", "ehr"):
        record.row(system, op="c")
        assert {(system,): 1} == record.last("records_created")


def test_a_probable_duplicate_is_counted_with_its_case() -> None:
    """Figure 1, above the line: for the system that made it, once while its case is open."""
    record = counted()
    match = Change(id="m1", record="r1", kind="match", system="crm", other="r0", about="email", received=record.now)
    record.decide(match)
    assert {("crm",): 1} == record.last("probable_duplicates")
    assert {("support_lead", "duplicate"): 1} == record.last("queue_opened")
    record.decide(match)
    assert {} == record.last("probable_duplicates")


def test_evidence_alone_is_an_attempt_and_no_conflict() -> None:
    """`applied: evidence` replaces no value."""
    record = counted()
    record.row("crm", {"contact_preference": "sms"}, by="growth_ops")
    evidence = {"contact_preference": Evidence("patient", record.now)}
    decision = record.row("crm", {"contact_preference": "sms"}, by="growth_ops", evidence=evidence)
    assert [("contact_preference", "applied", "evidence")] == ends(decision)
    assert {("contact_preference", "applied", "evidence", "crm", "person"): 1} == record.last("write_attempts")
    assert {} == record.last("conflicts")


def test_what_people_resolve_is_counted_by_its_answer_and_is_no_attempt() -> None:
    """Figure 5; against what the owner's system shows it is a manual override as well (figure 3)."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.now += 9 * MINUTE
    record.ask("date_of_birth", "keep")
    assert {("kept", ""): 1} == record.last("resolutions")
    assert {("clinical_ops", "resolved"): 1} == record.last("queue_closed")
    assert {("clinical_ops", "resolved"): 10 * 60} == record.last("queue_closed_seconds")
    assert {("date_of_birth", "resolution"): 1} == record.last("overrides")
    assert ({}, {}, {}) == (record.last("write_attempts"), record.last("conflicts"), record.last("outcomes"))


def test_to_accept_what_the_owner_shows_is_no_override() -> None:
    """Nor is what was refused."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.ask("date_of_birth", "accept", by="growth_ops", system="ehr")
    assert {("refused", "not_the_owner"): 1} == record.last("resolutions")
    record.ask("date_of_birth", "accept", system="ehr")
    assert ({("accepted", ""): 1}, {}) == (record.last("resolutions"), record.last("overrides"))


# ------------------------------------------------------------------------------- what resolutions and sends take


def test_the_time_a_person_took_is_observed_beside_its_sum() -> None:
    """Figure 5, as a histogram: what settles by itself is in none."""
    record = counted(date_of_birth=DOB)
    queued(record)
    record.now += 9 * MINUTE
    record.ask("date_of_birth", "keep")
    assert {("clinical_ops", "600"): 1} == record.last("resolution_seconds")

    record = counted(date_of_birth=DOB)
    queued(record)
    record.row("ehr", {"date_of_birth": NEW_DOB}, by="nurse")
    assert {("clinical_ops", "superseded"): 1} == record.last("queue_closed")
    assert {} == record.last("resolution_seconds")


def test_a_case_about_one_system_is_counted_by_it() -> None:
    """Here a value that the EHR did not take: the tick that finds it out has no system of its own."""
    record = counted(email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person")
    record.tick(15)
    record.tick(15)
    assert {("support_lead", "diverged"): 1} == record.last("queue_opened")
    assert {("ehr", "diverged"): 1} == record.last("disagreements_opened")


def test_a_case_of_a_write_is_no_disagreement_of_a_system() -> None:
    """It is about what somebody wrote."""
    record = counted(date_of_birth=DOB)
    queued(record)
    assert {("clinical_ops", "clear"): 1} == record.last("queue_opened")
    assert {} == record.last("disagreements_opened")


def test_a_send_is_counted_with_the_moment_of_its_source() -> None:
    """In tenths of a second, by the system that learns of it; only whoever commits knows how long ago that was."""
    record = counted(email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person", at=1_772_452_800_987)
    assert {("ehr", "1772452800900"): 1} == record.last("apply_latency_seconds")


def test_what_no_source_committed_has_no_latency() -> None:
    """A tick sends once more what did not land: that is the clock's doing."""
    record = counted(email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person")
    record.tick(15)
    assert {("ehr", "change"): 1} == record.last("sends")
    assert {} == record.last("apply_latency_seconds")


def test_a_dismissed_duplicate_is_counted_for_the_system_that_made_it() -> None:
    """Figure 1, taken off above the line; what else is dismissed is not."""
    record = counted()
    record.decide(
        Change(id="m1", record="r1", kind="match", system="crm", other="r0", about="email", received=record.now)
    )
    record.ask(":duplicate", "dismiss", by="support_lead")
    assert {("dismissed", "duplicate"): 1} == record.last("resolutions")
    assert {("crm",): 1} == record.last("probable_duplicates_dismissed")
