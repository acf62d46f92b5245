"""The load of a run: what people in both systems save, in the connectors' own words; some twice, some garbage."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

from source_kit import CONTACT, PATIENT_ROW

PATIENTS = 40
AT = 1_767_261_600_000
DELETED: Final = 0.01
"""The share of saves that delete the row; the next one brings it back."""
CREATED: Final = {"LastName": "Doe", "FirstName": "Ann", "Care_Stage__c": "in_care"}
ONCE: Final = {"override_reason": None, "care_stage_request": None, "base_version": None}
"""Columns that a save gives anew or leaves empty."""
Event = tuple[str, bytes, bytes]

CRM_EDITS: Final[Sequence[tuple[Mapping[str, Sequence[Any]], str]]] = (
    ({"LastName": ("Doe", "Roe")}, "005GROW1"),
    ({"Email": ("a@x.org", "b@x.org")}, "005GROW1"),
    ({"LeadSource": ("referral", "google_ads")}, "005GROW1"),
    ({"Contact_Preference__c": ("sms", "phone")}, "005GROW1"),
    # a patient's own word on the portal, with its time
    ({"Contact_Preference__c": ("sms", "email"), "Preference_Confirmed_At__c": (AT, AT + 60_000)}, "005PORT1"),
    # rejected: not theirs to write
    ({"Birthdate": ("1980-12-31", "1991-01-01")}, "005GROW1"),
    ({"LastName": ("Poe",), "FirstName": ("Ann", "Bea")}, "005GROW1"),
    # by those who may where they give a reason
    ({"LastName": ("Poe", "Doe"), "Override_Reason__c": ("marriage certificate seen", None)}, "005CLIN1"),
    ({"Care_Stage__c": ("in_care", "paused")}, "005CLIN1"),
    # a completion, validated by who records it
    ({"Follow_Up_Completed_At__c": (AT, AT + 86_400_000), "Follow_Up_Outcome__c": ("reached",)}, "005COOR1"),
    ({"Follow_Up_Completed_At__c": (AT + 3_600_000,), "Follow_Up_Outcome__c": ("no_answer",)}, "005GROW1"),
    # an interface that clears what it does not know
    ({"Email": (None,), "Phone": (None, "+12125550100")}, "005INTG1"),
)
"""Columns with the values they may get, and who saves them in the CRM."""

EHR_EDITS: Final[Sequence[Mapping[str, Sequence[Any]]]] = (
    {"medication_dose": ("1 mg", "2 mg", "3 mg"), "updated_by": ("provider/1", "nurse/2")},
    {"family_name": ("Doe", "Moe"), "updated_by": ("provider/1", "intake/3", "clerk/4")},
    # cleared by an interface: queued
    {"birth_date": (4017, 4018, None), "updated_by": ("nurse/2", "interface/1")},
    {"family_name": ("Doe", "Loe"), "override_reason": ("passport seen", None), "updated_by": ("clinical-ops/5",)},
    {
        "follow_up_completed_at": (AT * 1_000, (AT + 86_400_000) * 1_000),
        "follow_up_outcome": ("reached", "no_answer"),
        "follow_up_validated_by": ("coordinator/6", None),
        "updated_by": ("coordinator/6",),
    },
    {
        "contact_preference": ("sms", "email"),
        "preference_confirmed_by": ("patient", None),
        "preference_confirmed_at": (AT * 1_000, (AT + 60_000) * 1_000),
        "updated_by": ("portal/7", "nurse/2"),
    },
    {"care_stage_request": ("paused", "discharged", None), "updated_by": ("clinical-ops/5",)},
    {"lead_source_group": ("paid", "other"), "care_status": ("active", "prospect"), "updated_by": ("clerk/4",)},
    {"phone": ("+12125550100", None), "base_version": (1, 41), "updated_by": ("nurse/2",)},
)
"""Columns with the values they may get in one save of the EHR."""


def clinic(seed: int, patients: int = PATIENTS) -> Iterator[Event]:
    """(source, key, value) of edits in both systems without end; some twice, some garbage, some rows gone for a while.

    The same seed gives the same events. First every patient is created in both systems.
    """
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    rows = {number: {**PATIENT_ROW, "patient_id": number, "crm_id": contact(number)} for number in range(patients)}
    gone: set[tuple[str, int]] = set()
    for number in range(patients):
        yield crm_event(number, number, CREATED, "CREATE")
        yield ehr_event(number, rows[number], "c", number)
    for edit in count(patients):
        number = dice.randrange(patients)
        event = (_in_crm if dice.random() < 0.5 else _in_ehr)(dice, edit, number, rows, gone)
        yield event
        if dice.random() < 0.05:
            yield event
        if dice.random() < 0.01:
            yield ("ehr", b"garbage", b"\xff\x00 no JSON")


def _in_crm(
    dice: random.Random, edit: int, number: int, _rows: Mapping[int, dict[str, Any]], gone: set[tuple[str, int]]
) -> Event:
    """One save in the CRM."""
    if ("crm", number) in gone:
        gone.remove(("crm", number))
        return crm_event(edit, number, CREATED, "UNDELETE")
    if dice.random() < DELETED:
        gone.add(("crm", number))
        return crm_event(edit, number, {}, "DELETE")
    columns, user = dice.choice(CRM_EDITS)
    return crm_event(edit, number, _drawn(dice, columns), "UPDATE", user)


def _in_ehr(
    dice: random.Random, edit: int, number: int, rows: dict[int, dict[str, Any]], gone: set[tuple[str, int]]
) -> Event:
    """One save in the EHR, which keeps the row whole."""
    if dice.random() < DELETED and ("ehr", number) not in gone:
        gone.add(("ehr", number))
        return ehr_event(number, rows[number], "d", edit)
    op = "c" if ("ehr", number) in gone else "u"
    gone.discard(("ehr", number))
    rows[number] = {**rows[number], **ONCE, **_drawn(dice, dice.choice(EHR_EDITS)), "updated_at": (AT + edit) * 1_000}
    return ehr_event(number, rows[number], op, edit)


def _drawn(dice: random.Random, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {column: dice.choice(values) for column, values in columns.items()}


def contact(number: int) -> str:
    """A Salesforce id of 18 characters."""
    return f"{CONTACT[:9]}{number:06d}{CONTACT[15:]}"


def crm_event(edit: int, number: int, fields: Mapping[str, Any], kind: str, user: str = "005GROW1") -> Event:
    """A Salesforce change event."""
    header = {
        "entityName": "Contact",
        "recordIds": [contact(number)],
        "changeType": kind,
        "changedFields": list(fields),
        "changeOrigin": "com/salesforce/api/rest/60.0",
        "transactionKey": f"t{edit}",
        "sequenceNumber": 1,
        "commitTimestamp": AT + edit,
        "commitUser": user,
        "commitNumber": 1_000 + edit,
    }
    value = {"Id": contact(number), "ReplayId": str(edit), "ChangeEventHeader": header, **fields}
    return "crm", contact(number).encode(), json.dumps(value).encode()


def ehr_event(number: int, row: Mapping[str, Any], op: str, edit: int) -> Event:
    """A Debezium envelope."""
    source = {
        "version": "3.3.1.Final", "connector": "postgresql", "name": "ehr", "ts_ms": AT + edit, "db": "ehr",
        "snapshot": "false", "sequence": json.dumps([str(edit), str(edit)]), "schema": "public", "table": "patient",
        "lsn": edit,
    }  # fmt: skip
    before, after = (row, None) if op == "d" else (None, row)
    value = {"before": before, "after": after, "source": source, "transaction": None, "op": op, "ts_ms": AT + edit}
    return "ehr", json.dumps({"patient_id": number}).encode(), json.dumps(value).encode()
