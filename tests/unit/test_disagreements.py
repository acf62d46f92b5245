"""Where systems show something else than they should, and why it stands: docs/rules.md, section 2, *Restore*."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from deciding import Record, both
from histories import Step, histories
from matrices import patient
from ownership_stream.disagreements import WHYS, disagreements
from ownership_stream.draft import NOTHING, view_of
from ownership_stream.model import RecordState, Value
from small_matrix import MATRIX as SMALL
from step_kit import told_out

MATRIX = patient()
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
DONE: Value = {"completed_at": "2026-03-02T12:00:00.000Z", "outcome": "done"}


def listed(record: Record) -> list[tuple[str, str, str]]:
    """Every disagreement of the record: (system, field, why)."""
    assert record.state is not None
    return [(one.system, one.field, one.why) for one in disagreements(record.matrix, record.state, record.withheld)]


def known() -> Record:
    """A record that both systems have, with a date of birth, an address and a word of the billing."""
    return both(MATRIX, date_of_birth=DOB, email="a@x.org", billing_status="current")


def under_way(record: Record) -> None:
    """Sent, and not come back."""
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")


def case(record: Record) -> None:
    """A clear that a person must decide."""
    record.row("ehr", {"date_of_birth": None}, by="integration")


def missing_at_the_owner(record: Record) -> None:
    """Only a system that does not own it knows it."""
    record.row("crm", {"weight": 80}, by="growth_ops")


def pending(record: Record) -> None:
    """A completion that nobody has validated."""
    record.row("ehr", {"follow_up_completion": DONE}, by="nurse")


def baseline(record: Record) -> None:
    """Seen by a snapshot."""
    record.row("crm", {"date_of_birth": NEW_DOB}, op="r")


def held(record: Record) -> None:
    """Changed while the other system is paused."""
    record.control("pause", "ehr")
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")


def held_record(record: Record) -> None:
    """The record is paused when a system that missed a send should be swept."""
    record.withheld = frozenset({"ehr"})
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")
    record.withheld = frozenset()
    record.control("pause")


def withheld(record: Record) -> None:
    """The breaker tripped, or observe mode."""
    record.withheld = frozenset({"ehr"})
    record.row("crm", {"email": "b@x.org"}, by="growth_ops")


def left(record: Record) -> None:
    """`on reject: leave`."""
    record.row("crm", {"billing_status": "on_hold"}, by="growth_ops")


@pytest.mark.parametrize(
    ("story", "system", "field", "why"),
    [
        (under_way, "ehr", "email", "under way"),
        (case, "ehr", "date_of_birth", "case"),
        (missing_at_the_owner, "crm", "weight", "missing at the owner"),
        (pending, "ehr", "follow_up_completion", "pending"),
        (baseline, "crm", "date_of_birth", "baseline"),
        (held, "ehr", "email", "held"),
        (held_record, "ehr", "email", "held"),
        (withheld, "ehr", "email", "held"),
        (left, "crm", "billing_status", "left"),
    ],
    ids=lambda word: getattr(word, "__name__", None),
)
def test_each_disagreement_has_the_reason_why_it_stands(
    story: Callable[[Record], None], system: str, field: str, why: str
) -> None:
    """Every reason of the table but the last is reached by a story that people would tell."""
    record = known()
    assert [] == listed(record)
    story(record)
    assert [(system, field, why)] == listed(record)


def test_what_nothing_explains_is_unsettled() -> None:
    """A state that no decision leaves behind: shown by hand, and nobody told."""
    record = known()
    assert record.state is not None
    system = replace(record.system("crm"), shown={**record.system("crm").shown, "email": "z@x.org"})
    record.state = replace(record.state, systems={**record.state.systems, "crm": system})
    assert [("crm", "email", "unsettled")] == listed(record)


def test_the_most_telling_reason_is_given() -> None:
    """A value under way while a case is open is a case; a paused baseline difference is a baseline."""
    record = known()
    under_way(record)
    record.row("ehr", {"email": None}, by="integration")
    record.control("pause", "ehr")
    assert ["under way"] == [why for _, field, why in listed(record) if field == "email"]

    record = known()
    baseline(record)
    record.control("pause")
    assert [("crm", "date_of_birth", "baseline")] == listed(record)


def test_a_summary_is_compared_with_a_summary() -> None:
    """The EHR shows `paid` for an advertisement: it agrees."""
    record = both(MATRIX, lead_source="google_ads")
    assert [] == listed(record)
    record.row("ehr", {"lead_source": "referral"}, by="nurse")
    assert [("ehr", "lead_source", "under way")] == listed(record)


def test_a_landing_that_was_accepted_is_no_disagreement() -> None:
    """The column is too short for the value: what landed is expected there until the value changes."""
    record = both(MATRIX)
    record.row("crm", {"referral_source_detail": None, "email": "a.very.long.address@example.org"}, by="growth_ops")
    record.row("ehr", {"email": "a.very.long.addr"}, marker=f"c{record.count}")
    assert [] == listed(record)


@pytest.mark.parametrize("gone", ["absent", "never seen"])
def test_a_system_that_has_not_got_the_record_disagrees_with_nothing(gone: str) -> None:
    """Deleted there, or not created yet."""
    record = known() if gone == "absent" else Record(MATRIX)
    if gone == "absent":
        record.row("crm", op="d")
    record.row("ehr", {"date_of_birth": NEW_DOB}, by="nurse", op="u")
    assert [] == listed(record)


def test_a_field_that_a_system_is_not_shown_is_nobody_s_disagreement() -> None:
    """`direction: none`."""
    record = both(MATRIX, referral_source_detail="her sister")
    assert [] == listed(record)


def test_disagreements_come_in_the_order_of_the_matrix() -> None:
    """The same state gives the same list."""
    record = known()
    for story in (left, under_way, missing_at_the_owner, case):
        story(record)
    fields = [field for _, field, _ in listed(record)]
    assert sorted(fields, key=list(MATRIX.fields).index) == fields
    assert {"email", "date_of_birth", "weight", "billing_status"} == set(fields)
    assert listed(record) == listed(record)


def test_every_reason_is_explained_in_words() -> None:
    """For people: a sentence each, no two alike."""
    assert len(WHYS) == len(set(WHYS.values()))
    assert all(len(sentence.split()) > 3 for sentence in WHYS.values())


@given(history=histories())
@settings(max_examples=25)
def test_no_disagreement_is_silent_and_none_is_invented(history: tuple[Step, ...]) -> None:
    """Whatever happens: what is listed is what is shown and not expected, and never unsettled where sends may go."""
    for _, _, decision in told_out(SMALL, history):
        found = list(disagreements(SMALL, decision.state))
        assert len(found) == len({(one.system, one.field) for one in found})
        assert differing(decision.state) == {(one.system, one.field) for one in found}
        assert all(one.why in WHYS for one in found)


def differing(state: RecordState) -> set[tuple[str, str]]:
    """Every (system, field) of a present system whose shown value is not the expected one."""
    found = set()
    for key, system in state.systems.items():
        for name, field in SMALL.fields.items():
            expected = view_of(system, name, field.views[key], state.fields.get(name))
            if system.present and expected is not NOTHING and system.shown.get(name) != expected:
                found.add((key, name))
    return found
