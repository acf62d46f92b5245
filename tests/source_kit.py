"""Records of both sources as their connectors write them, and the shipped mappings to read them with."""

import json
from typing import Any, Final

import pytest

from matrices import PATIENT, ROOT
from ownership_stream import sources
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change

MATRIX: Final = load(PATIENT)
EHR_FILE: Final = ROOT / "matrix" / "sources" / "ehr.yaml"
CRM_FILE: Final = ROOT / "matrix" / "sources" / "crm.yaml"
EHR: Final = sources.load(EHR_FILE, MATRIX)
CRM: Final = sources.load(CRM_FILE, MATRIX)
EHR_TOPIC: Final = "ehr.public.patient"
CRM_TOPIC: Final = "crm.contact"
CONTACT: Final = "0032X00002QU10JQAT"
AT: Final = 1_767_261_600_123

PATIENT_ROW: Final[dict[str, Any]] = {
    "patient_id": 123,
    "crm_id": CONTACT,
    "family_name": "Doe",
    "given_name": "Ann",
    "preferred_name": None,
    "birth_date": 4017,
    "sex": "female",
    "gender_identity": "woman",
    "email": "Ann@Example.org",
    "phone": "(212) 555-0100",
    "street": "1  Main St",
    "city": "Springfield",
    "region": "IL",
    "postal_code": "62701",
    "country": "US",
    "time_zone": "America/Chicago",
    "language": "en",
    "contact_preference": "email",
    "marketing_consent": None,
    "lead_source_group": "paid",
    "assigned_coach": "c-1",
    "assigned_provider": "p-1",
    "treatment_consent": "given",
    "payer": "Acme",
    "member_id": "M1",
    "eligibility": "eligible",
    "billing_status": "current",
    "allergies": "none known",
    "care_program": "metabolic",
    "diagnoses": "E66.9",
    "medication_drug": "metformin",
    "medication_dose": "500 mg",
    "medication_schedule": "daily",
    "medication_status": "active",
    "weight_kg": 81.5,
    "lab_status": "none",
    "risk_flag": "low",
    "next_appointment_at": 1_767_261_600_123_456,
    "follow_up_completed_at": None,
    "follow_up_outcome": None,
    "care_status": "active",
    "care_stage_request": None,
    "updated_by": "provider/7",
    "updated_at": 1_767_261_600_123_456,
    "override_reason": None,
    "base_version": 41,
    "sync_change_id": None,
    "follow_up_validated_by": None,
    "preference_confirmed_by": None,
    "preference_confirmed_at": None,
    "marketing_confirmed_by": None,
    "marketing_confirmed_at": None,
    "created_at": 1_700_000_000_000_000,
}
SOURCE: Final[dict[str, Any]] = {
    "version": "3.6.0.Final",
    "connector": "postgresql",
    "name": "ehr",
    "ts_ms": AT,
    "snapshot": "false",
    "db": "ehr",
    "sequence": '["24023119","24023128"]',
    "ts_us": AT * 1000,
    "ts_ns": AT * 1_000_000,
    "schema": "public",
    "table": "patient",
    "txId": 556,
    "lsn": 24_023_128,
    "xmin": None,
    "origin": None,
    "origin_lsn": None,
}
HEADER: Final[dict[str, Any]] = {
    "entityName": "Contact",
    "recordIds": [CONTACT],
    "changeType": "UPDATE",
    "changedFields": ["LastName", "LastModifiedDate"],
    "changeOrigin": "com/salesforce/api/rest/49.0;client=web",
    "transactionKey": "000162ba-13b5-6862-79f9-0805a616799d",
    "sequenceNumber": 1,
    "commitTimestamp": 1_596_116_025_000,
    "commitUser": "005GROW0000AJGNCQA5",
    "commitNumber": 10_832_042_834_831,
}


def packed(value: Any) -> bytes:
    """JSON as Kafka Connect's converter writes it: compact."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def ehr_event(op: str = "u", *, source: dict[str, Any] | None = None, **columns: Any) -> dict[str, Any]:
    """A change of the patient row: whole, as Debezium sends it with full replica identity."""
    row = PATIENT_ROW | columns
    return {
        "before": row if op == "d" else None,
        "after": None if op == "d" else row,
        "source": SOURCE | (source or {}),
        "transaction": None,
        "op": op,
        "ts_ms": AT + 287,
        "ts_us": (AT + 287) * 1000,
        "ts_ns": (AT + 287) * 1_000_000,
    }


def crm_event(header: dict[str, Any] | None = None, **columns: Any) -> dict[str, Any]:
    """A change of the contact: of all columns that a connector adds as null, only two stand here."""
    return {
        "Id": CONTACT,
        "ReplayId": "1305887",
        "ChangeEventHeader": HEADER | (header or {}),
        "FirstName": None,
        "Email": None,
        "LastModifiedDate": 1_596_116_025_000,
        "_ObjectType": "ContactChangeEvent",
        "_EventType": "R1-FSrKj5SMSfaXy7QNdEw",
        **columns,
    }


def changed(*names: str, header: dict[str, Any] | None = None, **columns: Any) -> dict[str, Any]:
    """An update of the contact that says these columns have changed, and all that are given with a value."""
    fields = [*names, *columns, "LastModifiedDate"]
    return crm_event({"changedFields": fields} | (header or {}), **columns)


def from_ehr(event: Any, *, epoch: int = 0, key: bytes | None = b'{"patient_id":123}', **said: Any) -> sources.Decoded:
    """What the EHR's decoder makes of an event (or of bytes as they are)."""
    value = event if isinstance(event, bytes | None) else packed(event)
    return sources.decoder(EHR, MATRIX, epoch=epoch).decode(said.pop("topic", EHR_TOPIC), key, value, 0, **said)


def from_crm(event: Any, *, epoch: int = 0, **said: Any) -> sources.Decoded:
    """What the CRM's decoder makes of an event (or of bytes as they are)."""
    value = event if isinstance(event, bytes | None) else packed(event)
    return sources.decoder(CRM, MATRIX, epoch=epoch).decode(CRM_TOPIC, None, value, 0, **said)


def one(decoded: sources.Decoded) -> Change:
    """The only change."""
    (change,) = decoded.changes
    return change


def refused(decode: Any, event: Any, **said: Any) -> sources.Undecodable:
    """The error with which a record is refused; its reason is one of the closed list."""
    with pytest.raises(sources.Undecodable) as caught:
        decode(event, **said)
    assert caught.value.reason in sources.REASONS
    return caught.value
