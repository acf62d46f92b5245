"""Why a record is as it is, in words: its fields with where they came from, and its decisions told once more."""

from typing import Any

import pytest
from hypothesis import given, settings

from deciding import MINUTE, START, Record
from histories import Step, histories
from matrices import patient
from ownership_stream.decide import decide
from ownership_stream.disagreements import WHYS
from ownership_stream.explain import MASK, Standing, Told, case_in_words, moment, stand, tell, writer
from ownership_stream.model import Change, Evidence, RecordState, Value
from ownership_stream.outcomes import CASE_REASONS, OUTCOMES
from small_matrix import MATRIX as SMALL
from step_kit import told_out

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
NAME: Value = {"family": "Zebedee", "given": "Ann"}


class Logged(Record):
    """A record whose changes are kept, as the log keeps them."""

    def __init__(self) -> None:
        super().__init__(MATRIX)
        self.log: list[Change] = []

    def decide(self, change: Change) -> Any:
        """Decide, and keep the change."""
        self.log.append(change)
        return super().decide(change)

    def told(self, field: str | None = None, **said: Any) -> list[Told]:
        """Every decision once more."""
        return list(tell(MATRIX, self.log, field=field, **said))

    def standing(self, **said: Any) -> dict[str, Standing]:
        """Its fields."""
        assert self.state is not None
        return {one.field: one for one in stand(MATRIX, self.state, **said)}


@pytest.fixture
def record() -> Logged:
    """A lead in both systems, with a name, an e-mail address and a date of birth."""
    logged = Logged()
    logged.row("crm", {"care_stage": "new_lead", "legal_name": NAME, "email": "zebedee@x.org"}, by="growth_ops", op="c")
    logged.row("ehr", op="c")
    logged.row("ehr", {"date_of_birth": DOB}, by="nurse")
    return logged


# ------------------------------------------------------------------------------------------------ decisions


def test_a_decision_is_told_with_everything_that_led_to_it(record: Logged) -> None:
    """Who, when, where, under which rule and grant, at which stage, and who was sent it."""
    now = record.now
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")
    told = record.told()[-1]
    assert ("email", "applied", "", "crm", f"c{record.count}") == (
        told.field, told.outcome, told.reason, told.system, told.change,
    )  # fmt: skip
    assert ("growth_ops (growth_ops, person)", "new_lead", "owner wins", "owner: crm") == (
        told.writer, told.stage, told.rule, told.grant,
    )  # fmt: skip
    assert (moment(now), 3, ("ehr",)) == (told.time, told.version, told.sent_to)
    assert "`E-mail` was changed by a rightful writer" == told.sentence


def test_a_refusal_says_what_to_do_instead(record: Logged) -> None:
    """Sentence and advice in one line; whoever is restored stands there too."""
    record.row("crm", {"date_of_birth": DOB})
    record.row("crm", {"date_of_birth": NEW_DOB}, by="growth_ops")
    told = record.told("date_of_birth")[-1]
    assert ("rejected", "owner_policy", ("crm",)) == (told.outcome, told.reason, told.sent_to)
    assert told.sentence == (
        "the EHR owns `Date of birth`, and this writer has no grant for it here; it may be changed by anyone in the EHR"
    )


def test_decisions_are_told_in_the_order_in_which_they_were_made(record: Logged) -> None:
    """Oldest first, and only on the field that was asked for."""
    for letter in "bcd":
        record.row("crm", {"email": f"{letter}@x.org", "phone": f"+1212555010{letter < 'c'}"}, by="growth_ops")
    told = record.told("email")
    assert ["email"] * 4 == [one.field for one in told]
    assert sorted(one.version for one in told) == [one.version for one in told]
    assert len(record.told()) > len(told)


def test_the_owner_is_named_as_of_the_stage(record: Logged) -> None:
    """Before care start the CRM owns the name; the sentence follows the record, not the clock."""
    record.row("ehr", {"legal_name": {"family": "Roe"}}, by="nurse")
    assert "the CRM owns `Patient legal name`" in record.told("legal_name")[-1].sentence


def test_values_are_in_no_sentence(record: Logged) -> None:
    """Decisions are told without any value of the patient."""
    record.row("crm", {"legal_name": None, "email": "zebedee2@x.org"}, by="integration")
    record.row("ehr", {"email": "zebedee3@x.org", "date_of_birth": None}, by="integration")
    said = repr(record.told())
    assert not [word for word in ("Zebedee", "zebedee", DOB) if word in said]


def test_what_is_decided_again_makes_the_same_decisions(record: Logged) -> None:
    """The telling is the deciding: same outcomes, same order."""
    made = []
    state: RecordState | None = None
    record.row("ehr", {"email": "b@x.org", "date_of_birth": None}, by="integration")
    for change in record.log:
        decision = decide(MATRIX, state, change)
        state = decision.state
        made += [(one.field, one.outcome, one.reason) for one in decision.outcomes]
    assert made == [(one.field, one.outcome, one.reason) for one in record.told()]


def test_the_telling_may_begin_in_the_middle(record: Logged) -> None:
    """Where a state from before the first change is at hand."""
    before, begin = record.state, len(record.log)
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")
    assert record.told()[-1:] == list(tell(MATRIX, record.log[begin:], before))


def test_in_observe_mode_nobody_is_said_to_have_been_sent_anything(record: Logged) -> None:
    """What was withheld then is withheld in the telling; no echo is waited for either."""
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")
    record.row("ehr", {"email": "b@x.org"}, by="integration")
    observed = record.told("email", withheld=frozenset({"ehr", "crm"}))
    assert {()} == {one.sent_to for one in observed}
    assert "echo" not in {one.outcome for one in observed}
    assert "echo" in {one.outcome for one in record.told("email")}


def test_what_waited_is_told_in_its_own_system_s_name(record: Logged) -> None:
    """A resume is nobody's write."""
    record.control("pause", "crm")
    record.row("crm", {"email": "b@x.org"}, by="support")
    record.control("resume", "crm")
    waited, ended = record.told("email")[-2:]
    assert [("queued", "paused"), ("applied", "")] == [(one.outcome, one.reason) for one in (waited, ended)]
    assert ("crm", "support (support, person)") == (ended.system, ended.writer)
    assert ("ehr",) == ended.sent_to


@given(history=histories())
@settings(max_examples=15)
def test_every_outcome_can_be_told(history: tuple[Step, ...]) -> None:
    """Whatever happens: one line for each, no gap in its words."""
    changes, outcomes = [], 0
    for _, change, decision in told_out(SMALL, [step for step in history if not step.withheld]):
        changes.append(change)
        outcomes += len(decision.outcomes) + len(decision.redecided)
        assert all(one.label and one.owner for one in stand(SMALL, decision.state))
    told = list(tell(SMALL, changes))
    assert outcomes == len(told)
    assert all(one.system in SMALL.systems and (one.outcome, one.reason) in OUTCOMES for one in told)
    assert not [one.sentence for one in told if "{" in one.sentence or "  " in one.sentence or "\n" in one.sentence]


# ------------------------------------------------------------------------------------------------ fields


def test_a_field_stands_with_where_its_value_came_from(record: Logged) -> None:
    """Version, time, writer, rule, grant, and the matrix revision that it was decided under."""
    standing = record.standing()["date_of_birth"]
    assert ("Date of birth", "EHR", 2, moment(START + 2 * MINUTE)) == (
        standing.label, standing.owner, standing.version, standing.time,
    )  # fmt: skip
    assert ("nurse (nurse, person)", "owner wins", "owner: ehr", MATRIX.revision) == (
        standing.writer, standing.rule, standing.grant, standing.revision,
    )  # fmt: skip


def test_values_are_masked_unless_asked_for(record: Logged) -> None:
    """A value of parts too; a cleared one is shown as none, for there is nothing to hide."""
    record.row("crm", {"email": None}, by="growth_ops")
    masked = {name: one.value for name, one in record.standing().items()}
    assert {"legal_name": MASK, "date_of_birth": MASK, "care_stage": MASK, "email": None} == masked
    shown = {name: one.value for name, one in record.standing(show_values=True).items()}
    assert {"legal_name": NAME, "date_of_birth": DOB, "care_stage": "new_lead", "email": None} == shown


def test_fields_stand_in_the_order_of_the_matrix_and_empty_ones_do_not(record: Logged) -> None:
    """Thirty rows of nothing would hide the four that are there."""
    names = list(record.standing())
    assert [name for name in MATRIX.fields if name in names] == names
    assert "weight" not in names


def test_the_owner_changes_with_care_start(record: Logged) -> None:
    """The legal name passes to the EHR."""
    assert "CRM" == record.standing()["legal_name"].owner
    for stage in ("qualified", "consult_booked", "intake_done", "in_care"):
        record.row("crm", {"care_stage": stage}, by="growth_ops")
    assert "EHR" == record.standing()["legal_name"].owner


def test_a_disagreement_is_named_with_its_reason(record: Logged) -> None:
    """By the system's name, in words; also where no value is current at all."""
    record.row("crm", {"date_of_birth": NEW_DOB, "weight": 80}, by="growth_ops")
    standing = record.standing()
    assert (f"CRM: {WHYS['under way']}",) == standing["date_of_birth"].disagreeing
    weight = standing["weight"]
    assert (f"CRM: {WHYS['missing at the owner']}",) == weight.disagreeing
    assert (None, 0, "", "") == (weight.value, weight.version, weight.time, weight.writer)


def test_what_is_withheld_is_held(record: Logged) -> None:
    """In observe mode nothing is sent, and that is the reason."""
    withheld = frozenset({"ehr", "crm"})
    record.row("ehr", {"email": "zebedee@x.org"})
    record.withheld = withheld
    record.row("crm", {"email": "c@x.org"}, by="growth_ops")
    assert (f"EHR: {WHYS['held']}",) == record.standing(withheld=withheld)["email"].disagreeing


def test_an_open_case_says_whom_it_waits_for_and_until_when(record: Logged) -> None:
    """The reason in the words of the queue."""
    now = record.now
    record.row("ehr", {"date_of_birth": None}, by="integration")
    assert (
        "an automation tried to clear `Date of birth`, which is critical; decide whether the value is really gone "
        f"(waits for Clinical Ops until {moment(now + 240 * MINUTE)})"
    ) == record.standing()["date_of_birth"].case
    assert "" == record.standing()["email"].case


def test_a_case_of_the_record_itself_has_words_too(record: Logged) -> None:
    """It names no field; and an owner whom the matrix lost is named as the case does."""
    record.row("ehr", op="d")
    assert record.state is not None
    case = record.state.cases[":absent:ehr"]
    said = case_in_words(MATRIX, case, care_started=False)
    assert said.startswith(CASE_REASONS["absent"].sentence)
    assert "waits for Clinical Ops until" in said


def test_evidence_says_who_and_when(record: Logged) -> None:
    """A validated completion, and a confirmation."""
    at = START + MINUTE
    done: Value = {"completed_at": "2026-03-02T12:01:00.000Z", "outcome": "done"}
    evidence = {"follow_up_completion": Evidence("provider/7", at)}
    record.row("ehr", {"follow_up_completion": done}, by="nurse", evidence=evidence)
    assert "by provider/7 at 2026-03-02T12:01:00.000Z" == record.standing()["follow_up_completion"].evidence
    assert "" == record.standing()["email"].evidence


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("005GROW1", "growth_ops", "person"), "005GROW1 (growth_ops, person)"),
        (("005USER1", None, "person"), "005USER1 (person)"),
        ((None, None, "automation"), "unknown (automation)"),
    ],
)
def test_a_writer_in_words(said: tuple[str | None, str | None, str], expected: str) -> None:
    """As far as the event said who it was."""
    assert expected == writer(*said)


@pytest.mark.parametrize(
    ("at", "expected"),
    [(0, "1970-01-01T00:00:00.000Z"), (START + 7, "2026-03-02T12:00:00.007Z"), (-1, "1969-12-31T23:59:59.999Z")],
)
def test_a_moment_in_words(at: int, expected: str) -> None:
    """ISO 8601 with milliseconds, UTC."""
    assert expected == moment(at)
