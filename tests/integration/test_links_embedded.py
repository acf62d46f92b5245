"""Identity through both stages on the embedded stack: a late link, a doubt, and what people say by command."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from integration.running import Running, running
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.wire import JSON
from source_kit import PATIENT_ROW, crm_event, ehr_event, packed

ANN, BEA = "0032X0000AQU10JQAT", "0032X0000BQU10JQAT"
DAY = 4017
"""1980-12-31 in days since 1970."""
START = 1_767_261_600_000


class Clinic:
    """Both source systems; each event is decided, with all that follows, before the next."""

    def __init__(self, stream: Running) -> None:
        self.stream = stream
        self.moment = 0

    def contact(self, contact: str, **columns: Any) -> None:
        """A contact is created."""
        self.moment += 1
        header = {
            "recordIds": [contact], "changeType": "CREATE", "changedFields": [], "commitNumber": 1_000 + self.moment,
            "commitTimestamp": START + self.moment * 1_000, "commitUser": "005GROW0000AJGNCQA5",
        }  # fmt: skip
        self.stream.feed("crm", None, packed(crm_event(header, **columns) | {"Id": contact}))
        self.stream.at_rest()

    def patient(self, key: int, contact: str | None, op: str = "u", **columns: Any) -> None:
        """A patient's whole row."""
        self.moment += 1
        at = START + self.moment * 1_000
        row = dict.fromkeys(PATIENT_ROW) | {"patient_id": key, "crm_id": contact, "updated_by": "nurse/7"}
        source = {"lsn": 1_000 + self.moment, "sequence": None, "ts_ms": at, "ts_us": at * 1_000, "ts_ns": at * 10**6}
        event = ehr_event(op, source=source, **row | columns | {"updated_at": at * 1_000})
        self.stream.feed("ehr", packed({"patient_id": key}), packed(event))
        self.stream.at_rest()


@pytest.fixture(scope="module")
def stream(embedded: Embedded) -> Iterator[Running]:
    """A worker; a patient linked late, and one whose link is doubted."""
    with running(embedded) as worker:
        clinic = Clinic(worker)
        clinic.patient(7, None, "c", birth_date=DAY, sex="female")
        clinic.contact(ANN, LastName="Doe", FirstName="Ann", Care_Stage__c="New_Lead")
        clinic.patient(7, ANN, birth_date=DAY, sex="female")
        clinic.contact(BEA, LastName="Roe", FirstName="Bea", Care_Stage__c="New_Lead", Birthdate="1991-01-01")
        clinic.patient(8, BEA, "c", birth_date=DAY)
        yield worker


def sent(stream: Running, system: str) -> dict[str, dict[str, Any]]:
    """Record -> the columns that a system was sent."""
    found: dict[str, dict[str, Any]] = {}
    for message in stream.records(stream.settings.topic_apply(system)):
        one = JSON.read_apply(message.value() or b"")
        found.setdefault(one.sync.record_id, {}).update({name: one.after[name] for name in one.sync.changed_fields})
    return found


def test_a_patient_linked_late_brings_its_history_to_the_contact(stream: Running) -> None:
    """And the CRM is sent what the EHR had known before."""
    assert {"Birthdate": "1980-12-31", "Sex__c": "female"} == sent(stream, "crm")[ANN]
    page = stream.shown("records", "show", "ehr:7")
    assert (ANN, {}) == (page["moved"], page["doubts"])
    assert ({"crm": ANN, "ehr": "7"}, ["ehr:7"]) == tuple(
        stream.shown("records", "show", ANN)[name] for name in ("keys", "merged")
    )


def test_a_doubt_stands_until_a_person_has_spoken(stream: Running) -> None:
    """Nothing of the patient reaches the contact before; both records say why. Then the birth date goes there."""
    assert BEA not in sent(stream, "crm")
    assert {"ehr:8": "birth date"} == stream.shown("records", "show", BEA)["doubts"]
    code, out, _ = stream.command("records", "show", "ehr:8")
    assert (ExitCode.OK, True) == (code, "the birth dates differ" in out)
    stream.shown("records", "confirm", "ehr:8", BEA, "--actor", "dana", "--reason", "asked her")
    stream.at_rest()
    assert "1980-12-31" == sent(stream, "crm")[BEA]["Birthdate"]
    assert (BEA, {}) == tuple(stream.shown("records", "show", "ehr:8")[name] for name in ("moved", "doubts"))
    resolutions = [
        JSON.read_resolution(message.value() or b"") for message in stream.records(stream.settings.topic_resolutions)
    ]
    assert ("dana", "asked her") in {(one.actor, one.reason) for one in resolutions if one.outcome == "confirmed"}


def test_everything_is_verified(stream: Running) -> None:
    """`verify` decides identity again like any other change."""
    found = stream.shown("verify", "--outputs")
    assert (0, 0) == (found["differences"], found["unverified"]), found


def test_links_are_on_a_topic_of_their_own(stream: Running) -> None:
    """The newest of each key says whose it is."""
    found = [msgspec.json.decode(message.value() or b"") for message in stream.records(stream.settings.topic_links)]
    newest = {one["key"]: one["record"] for one in found}
    assert (ANN, BEA) == (newest["ehr:7"], newest["ehr:8"])
    assert {b"ehr:7", b"ehr:8"} == {message.key() for message in stream.records(stream.settings.topic_links)}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (("link", ANN, ANN, "--reason", "x"), "are one record already"),
        (("link", "__lane", ANN, "--reason", "x"), "a record id cannot be `__lane`"),
        (("unlink", ANN, "--reason", " "), "`--reason` is blank"),
        (("show", "nobody"), "no record `nobody`"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_line(stream: Running, said: tuple[str, ...], words: str) -> None:
    """With what to do instead."""
    code, _, err = stream.command("records", *said)
    assert (ExitCode.USAGE, True, 1) == (code, words in err, len(err.splitlines()))
