"""Bad input on the embedded stack: every kind between good records, in one run; nothing is lost, nothing stops."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Message

from integration.running import Running, headers_of, running
from ownership_stream.embedded import Embedded
from ownership_stream.sources import REASONS
from ownership_stream.wire import JSON
from source_kit import EHR, PATIENT_ROW, SOURCE, changed, crm_event, ehr_event, from_crm, from_ehr, packed
from step_kit import error_headers, own_headers

MARK = "Zebedee"
"""Stands for every value of a patient: it may be nowhere but in the letter's own bytes and key."""
START = 1_767_261_600_000
KEY = b'{"patient_id":%d}'
HEADERS: list[tuple[str, bytes]] = [
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("connector.version", b"\x03\x06"),
    ("connector.version", b"twice"),
]
MEGABYTE = 1_000_000


class Bad(NamedTuple):
    """A record that cannot be used, and the reason that its dead letter gives."""

    source: str
    reason: str
    value: bytes
    key: bytes | None = KEY % 9
    message: str = ""


def ehr(**columns: Any) -> bytes:
    """A row of the EHR that would be in order but for these columns."""
    return packed(row_event(9, given_name=MARK, **columns))


def row_event(number: int, op: str = "u", source: dict[str, Any] | None = None, **columns: Any) -> dict[str, Any]:
    """An event of a patient's row, empty but for these columns."""
    row = dict.fromkeys(PATIENT_ROW) | {"patient_id": number, "updated_by": "nurse/7"}
    position = {"lsn": 1_000 + number, "sequence": None} | (source or {})
    return ehr_event(op, source=position, **row | columns)


GOOD_BYTES = ehr()

BAD: dict[str, Bad] = {
    "bytes that are no UTF-8": Bad("ehr", "not_json", b"\xff\xfe\x00 " + MARK.encode()),
    "half a record": Bad("ehr", "not_json", GOOD_BYTES[: len(GOOD_BYTES) // 2]),
    "a registry's frame": Bad(
        "ehr", "not_json", b"\x00\x00\x00\x00\x07" + MARK.encode(), message="set the connector's"
    ),
    "another shape": Bad("crm", "not_an_envelope", packed({"LastName": MARK})),
    "a list": Bad("ehr", "not_an_envelope", packed([MARK])),
    "a text where a number is due": Bad("ehr", "wrong_type", ehr(birth_date=MARK), message="`birth_date`"),
    "a number where a text is due": Bad("ehr", "wrong_type", ehr(family_name=7), message="`family_name`"),
    "an object where a text is due": Bad("ehr", "wrong_type", ehr(family_name={MARK: MARK}), message="`family_name`"),
    "a fraction where a whole number is due": Bad(
        "ehr", "not_canonical", ehr(base_version=1.5), message="`base_version`"
    ),
    "no choice of its field": Bad("ehr", "not_canonical", ehr(sex=MARK), message="`sex`"),
    "the CRM's own wrong type": Bad("crm", "wrong_type", packed(changed(LastName=[MARK])), message="`LastName`"),
    "an unknown table": Bad("ehr", "unknown_table", packed(row_event(9, source={"table": "visit"}, city=MARK))),
    "an unknown entity": Bad("crm", "unknown_table", packed(changed(header={"entityName": "Lead"}, LastName=MARK))),
    "an unknown column": Bad("ehr", "unknown_column", ehr(shoe_size=MARK), message="`shoe_size`"),
    "a column named by a patient": Bad("ehr", "unknown_column", ehr(**{f"{MARK} was born": 1})),
    "the CRM's unknown column": Bad(
        "crm", "unknown_column", packed(changed(Shoe_Size__c=MARK)), message="`Shoe_Size__c`"
    ),
    "no key at all": Bad("ehr", "missing_key", ehr(), key=None, message="message.key.columns"),
    "a null in the key column": Bad("ehr", "missing_key", ehr(patient_id=None), message="`patient_id`"),
    "a record id that cannot be one": Bad("ehr", "bad_key", ehr(crm_id=f"{MARK}\u0000")),
    "a record id that is reserved": Bad("ehr", "bad_key", ehr(crm_id=f"__{MARK}")),
    "a link that was left out": Bad("ehr", "no_record", ehr(crm_id=EHR.unavailable)),
    "a date in the year 9999": Bad("ehr", "not_canonical", ehr(birth_date=2_932_532), message="years 1900 to 2100"),
    "a date in the year 0": Bad("ehr", "not_canonical", ehr(birth_date=-719_528), message="years 1900 to 2100"),
    "the CRM's year 9999": Bad("crm", "not_canonical", packed(changed(Birthdate="9999-12-31", LastName=MARK))),
    "the CRM's year 0": Bad("crm", "not_canonical", packed(changed(Birthdate="0000-01-01", LastName=MARK))),
    "a moment beyond all clocks": Bad("ehr", "not_canonical", ehr(next_appointment_at=2**63 - 1)),
    "a value of a megabyte": Bad("ehr", "not_canonical", ehr(diagnoses=MARK * (MEGABYTE // len(MARK))), message="4096"),
    "a number too long to be exact": Bad("ehr", "not_canonical", ehr(weight_kg=10**30)),
    "deep nesting of lists": Bad("ehr", "too_deep", b'{"op":"u","' + MARK.encode() + b'":' + b"[" * 100_000),
    "deep nesting of objects": Bad("crm", "too_deep", b'{"' + MARK.encode() + b'":' + b'{"a":' * 5_000),
    "half a surrogate pair, escaped": Bad("ehr", "not_json", GOOD_BYTES.replace(b'"city":null', b'"city":"\\ud800"')),
    "half a surrogate pair, in bytes": Bad(
        "ehr", "not_json", GOOD_BYTES.replace(b'"city":null', b'"city":"\xed\xa0\x80"')
    ),
    "a column twice": Bad("ehr", "duplicate_key", GOOD_BYTES.replace(b'"city":', b'"city":"a","city":', 1)),
    "an operation twice": Bad("ehr", "duplicate_key", GOOD_BYTES.replace(b'"op":', b'"op":"d","op":', 1)),
    "the CRM's field twice": Bad(
        "crm", "duplicate_key", packed(changed(LastName=MARK)).replace(b'"Id":', b'"Email":"a","Id":', 1)
    ),
    "an event without position": Bad("ehr", "no_position", packed(row_event(9, source={"lsn": None}, city=MARK))),
    "another connector's event": Bad(
        "ehr", "unsupported", packed(row_event(9, source={"connector": "mysql"}, city=MARK))
    ),
    "an event that says too little": Bad(
        "crm", "needs_reread", packed(changed(header={"changeType": "GAP_OVERFLOW"}, LastName=MARK))
    ),
}
EMAIL = "good%d@example.org"


@pytest.fixture(scope="module")
def stream(embedded: Embedded) -> Iterator[Running]:
    """Before, between and after all that is bad: a good record of each source."""
    with running(embedded) as worker:
        for number, bad in enumerate(BAD.values()):
            feed_good(worker, number)
            worker.feed(bad.source, bad.key, bad.value, HEADERS, partition=number % 2)
        feed_good(worker, len(BAD))
        worker.settled(2 * (len(BAD) + 1))
        yield worker


def feed_good(worker: Running, number: int) -> None:
    """A patient whom the EHR has, and one whom the CRM has; in the same partitions as what is bad."""
    patient = row_event(1_000 + number, "c", email=EMAIL % number, birth_date=4017)
    worker.feed("ehr", KEY % (1_000 + number), packed(patient), partition=number % 2)
    contact = f"0032X00{number:05d}QU10J"[:15] + "QAT"
    header = {"recordIds": [contact], "changeType": "CREATE", "changedFields": [], "commitNumber": number + 1}
    worker.feed("crm", None, packed(crm_event(header, Email=EMAIL % number) | {"Id": contact}), partition=number % 2)


@pytest.fixture(scope="module")
def letters(stream: Running) -> dict[tuple[bytes | None, bytes | None], Message]:
    """The dead letters by their own key and bytes."""
    found = stream.records(stream.settings.topic_dead_letters)
    by_bytes = {(letter.key(), letter.value()): letter for letter in found}
    assert len(found) == len(by_bytes), "one of them was buried twice"
    return by_bytes


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_kept_whole_and_its_reason_holds_nothing_of_it(
    letters: dict[tuple[bytes | None, bytes | None], Message], name: str
) -> None:
    """Original bytes, key and headers; a reason of the closed list, where it stood, and no value of the patient."""
    bad = BAD[name]
    assert (bad.key, bad.value) in letters
    headers = headers_of(letters[bad.key, bad.value])
    told = error_headers(headers)
    assert HEADERS == own_headers(headers)
    assert (bad.reason, "intake: decode", "True") == (told["reason"], told["stage"], str(told["offset"].isdigit()))
    assert told["topic"].endswith({"ehr": "ehr.public.patient", "crm": "crm.contact"}[bad.source])
    assert bad.message in told["exception.message"]
    assert MARK.encode() not in b"\n".join(value for _, value in headers)
    assert max(len(value) for _, value in headers) <= 500


def test_nothing_else_is_a_dead_letter(
    stream: Running, letters: dict[tuple[bytes | None, bytes | None], Message]
) -> None:
    """As many as were fed; the count says so by reason, and every reason that decoding can give has been seen."""
    assert len(BAD) == len(letters)
    reasons = [bad.reason for bad in BAD.values()]
    assert {reason: reasons.count(reason) for reason in reasons} == stream.metric("dead_letters", "reason")
    # Those of Avro need a schema registry, and are proved on a step: tests/unit/test_steps.py.
    assert REASONS.keys() - {"not_avro", "unknown_schema"} == set(reasons)


def test_the_stream_goes_on(stream: Running) -> None:
    """Every good record is decided, those after the worst one too: its address is current, and no lane is waiting."""
    found = stream.records(stream.settings.topic_changes)
    changes = [JSON.read_change(message.value() or b"") for message in found]
    expected = {EMAIL % number for number in range(len(BAD) + 1)}
    for system in ("ehr", "crm"):
        assert expected == {change.fields["email"] for change in changes if change.system == system}
    outcomes = stream.metric("outcomes", "outcome", "system")
    assert len(expected) == outcomes["applied", "crm"]
    assert (200, "ready\n") == stream.get("/readyz")
    assert {} == stream.metric("lanes_recreated", "stage")


def test_no_page_and_no_output_holds_what_was_refused(stream: Running) -> None:
    """Metrics, conflicts, applies, resolutions."""
    settings = stream.settings
    topics = [settings.topic_conflicts, settings.topic_resolutions, *map(settings.topic_apply, ("ehr", "crm"))]
    said = b"".join((message.value() or b"") for topic in topics for message in stream.records(topic))
    assert MARK.encode() not in said
    assert MARK not in stream.get("/metrics")[1]


def test_the_marked_records_are_bad_for_one_reason_only() -> None:
    """The row that they are made of is in order by itself, so that each proves what it says."""
    assert 1 == len(from_ehr(GOOD_BYTES).changes)
    assert 1 == len(from_crm(changed(LastName=MARK)).changes)
    assert SOURCE["table"] == "patient"
