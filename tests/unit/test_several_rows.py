"""Medications and follow-ups in tables of their own, the whole way: the mapping says which row is the record's."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from debezium_kit import EXAMPLES
from ownership_stream import sources
from sample_kit import examined, found, record
from source_kit import AT, CONTACT, MATRIX, changed, crm_event, ehr_event
from source_kit import EHR as SHIPPED
from step_kit import MINUTE
from way_kit import Way

OWN = frozenset({"medication_plan", "follow_up_completion"})


def _with_tables_of_their_own() -> sources.Mapping:
    """The shipped mapping, and in place of its columns of medications and follow-ups the example's tables."""
    example = sources.load(EXAMPLES / "ehr-several-rows.yaml", MATRIX)
    patient = SHIPPED.primary
    moved = {column.name for column in patient.columns if column.field in OWN} | {"follow_up_validated_by"}
    patient = replace(
        patient,
        columns=tuple(column for column in patient.columns if column.field not in OWN),
        evidence=tuple(rule for rule in patient.evidence if rule.field not in OWN),
        ignored=patient.ignored | moved,
    )
    return replace(SHIPPED, tables=example.tables | {patient.name: patient})


EHR = _with_tables_of_their_own()
DAY = 86_400_000_000
CAME = {"patient_id": 123, "crm_id": CONTACT}
APPLIED = Counter({"applied": 1})
NOTHING: Counter[str] = Counter()


def event(table: str, row: dict[str, Any], number: int, op: str = "u", before: Any = None) -> dict[str, Any]:
    """A row event of one of the EHR's tables; `number` is its place in the log."""
    source = {"connector": "postgresql", "schema": "public", "table": table, "ts_ms": AT + number * MINUTE}
    row = row | {"updated_at": (AT + number * MINUTE) * 1000}
    source |= {"snapshot": "false", "sequence": f'["{1000 + number}","{1000 + number}"]', "lsn": 1000 + number}
    return {"op": op, "before": row if op == "d" else before, "after": None if op == "d" else row, "source": source}


def medication(key: int, **columns: Any) -> dict[str, Any]:
    """A row of the table."""
    row = {"drug": "metformin", "dose": "500 mg", "schedule": "daily", "status": "active", "started_on": 20_000 + key}
    return CAME | {"medication_id": key, "entered_in_error": False, "prescribed_by": "provider/7"} | row | columns


def visit(key: int, at: int | None, **columns: Any) -> dict[str, Any]:
    """A row of the table, completed so many days after some day."""
    done = None if at is None else 1_766_000_000_000_000 + at * DAY
    row = {"visit_id": key, "kind": "follow_up", "completed_at": done, "outcome": "done", "seen_by": "nurse/1"}
    return CAME | row | {"validated_by": "dr" if at is not None else None} | columns


@pytest.fixture
def way() -> Way:
    """One patient in both systems."""
    both = Way(EHR)
    both.crm(crm_event({"changeType": "CREATE", "changedFields": []}, LastName="Doe", Care_Stage__c="in_care"))
    both.ehr(ehr_event("c"))
    assert APPLIED == both.ehr(event("medication", medication(1), 1, "c"))
    assert [] == both.letters
    return both


def test_the_medication_that_was_begun_last_is_the_record_s(way: Way) -> None:
    """A later prescription takes over, and what an ended one says is of no matter; the CRM is sent drug and status."""
    assert APPLIED == way.ehr(event("medication", medication(2, drug="insulin", dose="10 u"), 2, "c"))
    assert NOTHING == way.ehr(event("medication", medication(1, dose="1 g"), 3))
    assert APPLIED == way.ehr(event("medication", medication(2, drug="insulin", dose="10 u", status="stopped"), 4))

    assert {"drug": "metformin", "dose": "1 g", "schedule": "daily", "status": "active"} == way.current(
        "medication_plan"
    )
    drugs = [sent.after["Medication__c"] for sent in way.sent("crm") if "Medication__c" in sent.after]
    assert ["metformin", "insulin", "metformin"] == drugs
    assert "1 g" not in way.written("crm"), "never the dose"


def test_a_row_that_was_entered_in_error_does_not_speak(way: Way) -> None:
    """`where` asks several columns, all of them."""
    assert NOTHING == way.ehr(event("medication", medication(2, drug="insulin", entered_in_error=True), 2, "c"))
    assert "metformin" == way.current("medication_plan")["drug"]  # type: ignore[index,call-overload]  # it has parts


def test_a_deleted_medication_is_a_person_s_matter(way: Way) -> None:
    """Who deleted it nobody says, and only a provider may change the plan."""
    way.ehr(event("medication", medication(2, drug="insulin"), 2, "c"))

    assert Counter({"rejected: owner_policy": 1}) == way.ehr(event("medication", medication(2, drug="insulin"), 3, "d"))
    assert {"medication_plan": "unattested"} == {name: case.reason for name, case in way.state.cases.items()}


def test_the_latest_completed_follow_up_counts_whatever_arrives_last(way: Way) -> None:
    """A visit of another kind and one that is not completed do not stand."""
    assert APPLIED == way.ehr(event("visit", visit(1, 10), 2, "c"))
    assert APPLIED == way.ehr(event("visit", visit(2, 30, outcome="no_show"), 3, "c"))
    for number, row in ((4, visit(3, 20)), (5, visit(4, 40, kind="lab")), (6, visit(5, None))):
        assert NOTHING == way.ehr(event("visit", row, number, "c"))

    assert "no_show" == way.current("follow_up_completion")["outcome"]  # type: ignore[index,call-overload]  # it has parts
    assert NOTHING == Counter(name for name in way.state.cases)


def test_two_follow_ups_of_one_moment_are_a_person_s_matter(way: Way) -> None:
    """Which of them speaks cannot be told."""
    way.ehr(event("visit", visit(1, 10), 2, "c"))

    assert Counter({"queued: speaker": 1}) == way.ehr(event("visit", visit(2, 10, outcome="no_show"), 3, "c"))
    [case] = way.state.cases.values()
    assert ("speaker", "clinical_ops") == (case.reason, case.owner)
    assert "done" == way.current("follow_up_completion")["outcome"]  # type: ignore[index,call-overload]  # it has parts


def test_what_nobody_can_write_in_a_table_that_is_only_read_is_a_person_s_matter(way: Way) -> None:
    """A completion in the CRM is taken, and the EHR's visits are set by hand; no send is lost on its way."""
    way.ehr(event("visit", visit(1, 10), 2, "c"))
    at = 1_766_000_000_000 + 50 * DAY // 1000
    header = {"commitUser": "005COOR01", "commitNumber": 10_832_042_834_900}
    done: dict[str, Any] = {"Follow_Up_Completed_At__c": at, "Follow_Up_Outcome__c": "reached"}
    sent = len(way.sent("ehr"))

    assert APPLIED == way.crm(changed(header=header, **done))
    assert {"follow_up_completion": "unwritable"} == {name: case.reason for name, case in way.state.cases.items()}
    assert sent == len(way.sent("ehr"))
    by_hand = visit(2, 50, outcome="reached", validated_by="dr")
    way.ehr(event("visit", by_hand, 3, "c"))
    assert {} == way.state.cases


def test_a_row_that_moves_to_another_patient_stands_there_and_no_more_here(way: Way) -> None:
    """With the row before, both records are told."""
    way.ehr(event("medication", medication(2, drug="insulin"), 2, "c"))
    moved = medication(2, drug="insulin", patient_id=999, crm_id=None)
    way.ehr(event("medication", moved, 3, before=medication(2, drug="insulin")))

    assert "metformin" == way.state.systems["ehr"].shown["medication_plan"]["drug"]  # type: ignore[index,call-overload]  # it has parts
    assert [] == way.letters


def test_a_table_of_several_rows_without_the_word_is_found_in_a_sample() -> None:
    """Two rows of one record in a table where each of them would be the record's."""
    unread = frozenset({"started_on", "entered_in_error"})
    tables = {name: replace(table, speaks=None, ignored=table.ignored | unread) for name, table in EHR.tables.items()}
    rows = [record(event("medication", medication(key), key), topic="ehr.public.medication") for key in (1, 2)]
    said = [one for one in found(rows, replace(EHR, tables=tables)) if "several rows" in one.message]

    assert [("error", "public.medication", "`speaks` in the mapping")] == [
        (one.severity, one.table, one.setting) for one in said
    ]
    assert [] == [one for one in found(rows, EHR) if "several rows" in one.message]
    means = {column.name: column.means for column in examined(rows, EHR).report().tables[0].columns}
    assert ("medication_plan.status, where", "latest by as epoch days") == (means["status"], means["started_on"])
