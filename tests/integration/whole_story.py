"""A story told to a worker at work: a lead becomes a patient, the systems quarrel, a second lead is the same woman."""

from typing import Any

from integration.running import Running
from source_kit import PATIENT_ROW, crm_event, ehr_event, packed

ANN, BEA = "0032X0000AQU10JQAT", "0032X0000BQU10JQAT"
DAY = 4017
"""1980-12-31 in days since 1970, as Debezium writes a date."""
GARBAGE = b"\xff\xfe Zebedee"
TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
START = 1_767_261_600_000
SECRETS = ("Zebedee", "zebedee", "1980-12-31", "1991-01-01")


class Clinic:
    """Both source systems of the story, each event after the one before."""

    def __init__(self, stream: Running) -> None:
        self.stream = stream
        self.moment = 0
        self.decided = 0

    def crm(self, kind: str, contact: str, user: str = "005GROW0000AJGNCQA5", **columns: Any) -> None:
        """An event of Salesforce's change data capture."""
        self.moment += 1
        header = {
            "recordIds": [contact],
            "changeType": kind,
            "changedFields": [] if kind == "CREATE" else [*columns],
            "commitNumber": 1_000 + self.moment,
            "commitTimestamp": START + self.moment * 1_000,
            "commitUser": user,
        }
        event = crm_event(header, **columns) | {"Id": contact}
        self.stream.feed("crm", None, packed(event), [TRACE])
        self._decided()

    def ehr(self, op: str, contact: str, by: str, **columns: Any) -> None:
        """An event of Debezium: the whole row, empty but for these columns."""
        self.moment += 1
        at = START + self.moment * 1_000
        row = dict.fromkeys(PATIENT_ROW) | {"patient_id": 123, "crm_id": contact, "updated_by": by}
        source = {
            "lsn": 1_000 + self.moment,
            "sequence": None,
            "ts_ms": at,
            "ts_us": at * 1_000,
            "ts_ns": at * 1_000_000,
        }
        event = ehr_event(op, source=source, **row | columns | {"updated_at": at * 1_000})
        self.stream.feed("ehr", b'{"patient_id":123}', packed(event))
        self._decided()

    def _decided(self) -> None:
        """The two topics are in no order between them: each event is decided before the next."""
        self.decided += 1
        self.stream.settled(self.decided)


def tell(stream: Running) -> None:
    """A lead becomes a patient; the CRM gets her birthday wrong, the EHR loses it; a second lead is the same woman."""
    clinic = Clinic(stream)
    lead: dict[str, Any] = {"LastName": "Zebedee", "FirstName": "Ann", "Email": "Ann@Zebedee.org"}
    clinic.crm("CREATE", ANN, Care_Stage__c="New_Lead", LeadSource="google_ads", **lead)
    clinic.decided += 2  # by way of its key's home
    clinic.ehr("c", ANN, "nurse/7", birth_date=DAY)
    clinic.crm("UPDATE", ANN, "005INTG0000000001", Birthdate="1980-12-31")
    clinic.crm("UPDATE", ANN, Birthdate="1991-01-01")
    clinic.crm("UPDATE", ANN, "005INTG0000000001", Birthdate="1980-12-31")
    clinic.ehr("u", ANN, "interface/1")
    clinic.ehr("u", ANN, "nurse/8", birth_date=DAY)
    stream.feed("ehr", b"not a key \xff", GARBAGE, [TRACE, ("x", b"\xff")])
    stream.feed("ehr", b'{"patient_id":123}', None)
    clinic.decided += 2  # the matches that follow
    clinic.crm("CREATE", BEA, Care_Stage__c="New_Lead", **lead)
