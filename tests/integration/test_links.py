"""Identity on a real Kafka and Redis: histories merge and split under load, a worker is killed, all is verified."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from signal import SIGKILL

import pytest
from confluent_kafka import Message

from chaos.clinic import Event, contact, crm_event, ehr_event
from chaos.installation import Installation
from integration.commands import feed, put, settled, shown, working
from ownership_stream.errors import ExitCode
from ownership_stream.identity import partition_of
from ownership_stream.model import Change
from ownership_stream.wire import JSON, change_message
from source_kit import PATIENT_ROW

pytestmark = pytest.mark.real_broker
PARTITIONS = 4
PATIENTS = 24
LATE = range(16)
"""Patients that are linked late, each to the contact of its number."""
MERGED = [(contact(number), contact(number + 1)) for number in range(0, 8, 2)]
"""Contacts that a person says are the same."""
AT = 1_767_261_600_000


def load(seed: int, edits: int) -> Iterator[Event]:
    """Patients without a link and contacts; then edits of both, in the middle of which links appear and one changes."""
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    rows = {number: {**PATIENT_ROW, "patient_id": number, "crm_id": None} for number in range(PATIENTS)}
    for number in range(PATIENTS):
        yield ehr_event(number, rows[number], "c", number)
        yield crm_event(number, number, {"LastName": "Doe", "FirstName": "Ann", "Care_Stage__c": "new_lead"}, "CREATE")
    for edit in range(100, 100 + edits):
        number = dice.randrange(PATIENTS)
        if dice.random() < 0.4:
            yield crm_event(edit, number, {"Email": dice.choice(["a@x.org", "b@x.org"])}, "UPDATE")
            continue
        linked = contact(number) if number in LATE and dice.random() < 0.8 else rows[number]["crm_id"]
        changed = {"medication_dose": f"{edit} mg", "updated_by": "provider/1", "updated_at": (AT + edit) * 1_000}
        rows[number] = {**rows[number], **changed, "crm_id": linked}
        yield ehr_event(number, rows[number], "u", edit)
    last = max(LATE)
    yield ehr_event(last, {**rows[last], "crm_id": contact(last + 1)}, "u", 100 + edits)


def say(site: Installation, *changes: Change) -> None:
    """What a person says, as the command writes it."""
    for change in changes:
        key, value, headers = change_message(change)
        where = partition_of(change.record, PARTITIONS)
        put(site, site.settings.topic_changes, where, (key, value, headers))


def word(kind: str, record: str, other: str = "") -> Change:
    """A person's word."""
    said = json.dumps({
        "id": f"{kind}-{record}", "record": record, "kind": kind, "other": other, "at": AT, "actor": "dana",
        "origin": "person", "reason": "looked at both",
    })  # fmt: skip
    return JSON.read_change(said.encode())


@pytest.fixture(scope="module")
def site(servers: tuple[str, str]) -> Installation:
    """An afternoon with merges in the middle of the load, and a worker killed in the middle of the merges."""
    site = Installation(*servers, partitions=PARTITIONS, source_partitions=2, said={"batch_max_records": 20})
    events = list(load(7, 500))
    first = site.worker()
    try:
        feed(site, events[:200])
        say(site, *(word("link", *pair) for pair in MERGED[:2]))
        feed(site, events[200:400])
        first.signal(SIGKILL)
        first.wait()
    finally:
        first.close()
    with working(site):
        say(site, *(word("link", *pair) for pair in MERGED[2:]))
        feed(site, events[400:])
        settled(site)
        say(site, word("unlink", MERGED[0][1]))
        settled(site)
    return site


def identity(site: Installation, record: str) -> dict[str, object]:
    """What is known of whose it is."""
    code, page = shown(site, "records", "show", record)
    assert ExitCode.OK == code
    found: dict[str, object] = page
    return found


def changes(messages: list[Message]) -> list[Change]:
    """What stands on the log."""
    return [JSON.read_change(message.value() or b"") for message in messages]


def test_every_history_is_in_one_record_and_all_is_verified(site: Installation) -> None:
    """Decided again, compared with states, Redis and outputs; nothing differs."""
    code, page = shown(site, "verify", "--outputs")
    assert (ExitCode.OK, 0, 0) == (code, page["differences"], page["unverified"]), page


def test_each_history_was_moved_once_by_its_mark(site: Installation) -> None:
    """However often the worker began anew: one merge for each record that left a mark."""
    merges = Counter(
        (one.other, one.record) for one in changes(site.records(site.settings.topic_changes)) if one.kind == "merge"
    )
    assert merges
    assert {1} == set(merges.values())
    for number in LATE[8:-1]:
        assert contact(number) == identity(site, f"ehr:{number}")["moved"]
        assert {"crm": contact(number), "ehr": str(number)} == identity(site, contact(number))["keys"]
    for kept, gone in MERGED[2:]:
        assert kept == identity(site, gone)["moved"]


def test_what_a_person_unlinked_is_a_record_of_its_own(site: Installation) -> None:
    """With its own row."""
    kept, gone = MERGED[0]
    found = identity(site, gone)
    assert ("", [kept]) == (found["moved"], found["denied"])
    assert gone == found["keys"]["crm"]  # type: ignore[index]  # a page of JSON


def test_a_changed_link_stands_still(site: Installation) -> None:
    """In both contacts, until somebody has said whose the patient is."""
    last = max(LATE)
    assert {f"ehr:{last}": "changed link"} == identity(site, contact(last))["doubts"]
    assert {f"ehr:{last}": "changed link"} == identity(site, contact(last + 1))["doubts"]
