"""Gap events of Salesforce, the whole way: each record that must be read again is somebody's, until it was."""

from typing import Any

import pytest

from source_kit import AT, CONTACT, changed, crm_event, ehr_event
from step_kit import MINUTE
from way_kit import Way


def event(number: int, kind: str, **columns: Any) -> dict[str, Any]:
    """An event of the contact; `number` is its commit's."""
    header = {"changeType": kind, "commitNumber": 5000 + number, "commitTimestamp": AT + number * MINUTE}
    if kind == "UPDATE":
        return changed(header=header, **columns)
    return crm_event(header | {"changedFields": []}, **columns)


@pytest.fixture
def way() -> Way:
    """One patient in both systems."""
    both = Way()
    both.crm(event(0, "CREATE", LastName="Doe", Email="a@example.org", Care_Stage__c="in_care"))
    both.ehr(ehr_event("c"))
    assert {} == both.state.cases
    return both


def waits(way: Way) -> tuple[str, str] | None:
    """Why a person waits for the record, and who."""
    found = [(case.reason, case.owner) for case in way.state.cases.values() if not case.field]
    assert len(found) < 2
    return found[0] if found else None


def test_a_gap_is_a_case_with_an_owner_and_a_deadline(way: Way) -> None:
    """The escalation owner of the first field that the system owns; nothing of the record is changed by it."""
    before = way.state
    way.crm(event(1, "GAP_UPDATE"))
    case = way.state.cases[f":reread:crm/Contact/{CONTACT}"]

    assert ("reread", "support_lead") == waits(way)
    assert case.due > case.opened
    assert (before.fields, before.systems["crm"].shown) == (way.state.fields, way.state.systems["crm"].shown)
    assert [] == way.letters


@pytest.mark.parametrize("kind", ["SNAPSHOT", "UNDELETE", "CREATE"])
def test_it_ends_when_the_record_was_read_again(way: Way, kind: str) -> None:
    """By an event that carries all of it; an update carries only what it is about."""
    way.crm(event(1, "GAP_UPDATE"))
    way.crm(event(2, "UPDATE", LastName="Grow"))
    assert ("reread", "support_lead") == waits(way)
    way.crm(event(3, kind, LastName="Grow", Email="b@example.org", Care_Stage__c="in_care"))

    assert waits(way) is None


def test_a_deleted_record_need_not_be_read(way: Way) -> None:
    """What then waits is that it is gone."""
    way.crm(event(1, "GAP_UPDATE"))
    way.crm(event(2, "GAP_DELETE"))

    assert [":absent:crm"] == list(way.state.cases)
    assert not way.state.systems["crm"].present


def test_a_repeated_gap_opens_nothing_anew(way: Way) -> None:
    """A connector writes it again after a crash, when the record was read long since."""
    way.crm(event(1, "GAP_UPDATE"))
    way.crm(event(1, "GAP_UPDATE"))
    assert [0] == [case.joined for case in way.state.cases.values()]
    way.crm(event(2, "SNAPSHOT", LastName="Doe", Email="a@example.org", Care_Stage__c="in_care"))
    way.crm(event(1, "GAP_UPDATE"))

    assert waits(way) is None


def test_another_gap_joins_the_case(way: Way) -> None:
    """One read brings both."""
    way.crm(event(1, "GAP_UPDATE"))
    way.crm(event(2, "GAP_UPDATE"))

    assert [1] == [case.joined for case in way.state.cases.values()]


def test_an_event_of_the_other_system_reads_nothing_again(way: Way) -> None:
    """It is the row of the gap that must be read."""
    way.crm(event(1, "GAP_UPDATE"))
    way.ehr(ehr_event("r", source={"sequence": '["24023200","24023200"]'}))

    assert ("reread", "support_lead") == waits(way)


def test_a_gap_of_a_record_that_nobody_knows_waits_too() -> None:
    """It was made while nobody listened."""
    way = Way()
    way.crm(event(1, "GAP_CREATE"))

    assert ("reread", "clinical_ops") == waits(way)
    assert not way.state.systems["crm"].present
    way.crm(event(2, "SNAPSHOT", LastName="Doe"))
    assert waits(way) is None
    assert way.state.systems["crm"].key == CONTACT


def test_what_happened_to_the_case_is_told() -> None:
    """On the conflicts topic, in words."""
    way = Way()
    way.crm(event(1, "GAP_CREATE"))
    way.crm(event(2, "SNAPSHOT", LastName="Doe"))
    told = [(one.event, one.reason, one.owner) for one in way.conflicts()]

    assert [("opened", "reread", "clinical_ops"), ("converged", "reread", "clinical_ops")] == told
    assert all("does not say what" in one.sentence for one in way.conflicts())
