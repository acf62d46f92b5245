"""What teams complain of in every home-made integration, each as a test: records as connectors write them, decided.

Every record goes the whole way that it goes in the stream: decoded and mapped by intake, written as a change, read by
the decide step, decided on the record's state, and what is to be sent written for its sink.
"""

import base64
import json
from collections import Counter
from typing import Any

import pytest

from sample_kit import ROWS, found, position, rows
from source_kit import AT, changed, crm_event, ehr_event, packed
from step_kit import MINUTE
from way_kit import KEY, Way

PLACEHOLDER = "__debezium_unavailable_value"
NONE: Counter[str] = Counter()


def ehr_at(number: int, op: str = "u", **columns: Any) -> dict[str, Any]:
    """The EHR's row as it is after so many transactions, each a minute after the one before."""
    at = AT + number * MINUTE
    source = position(1000 + number) | {"ts_ms": at}
    held = {"allergies": "penicillin", "updated_at": at * 1000}
    return ehr_event(op, source=source, **held | columns)


def crm_at(number: int, kind: str = "UPDATE", *names: str, **columns: Any) -> dict[str, Any]:
    """An event of the CRM's contact, likewise."""
    header = {"changeType": kind, "commitNumber": 5000 + number, "commitTimestamp": AT + number * MINUTE}
    if kind == "UPDATE":
        return changed(*names, header=header, **columns)
    return crm_event(header | {"changedFields": []}, **columns)


@pytest.fixture
def way() -> Way:
    """One patient in both systems, as the EHR and the CRM show it."""
    both = Way()
    both.crm(crm_at(0, "CREATE", LastName="Doe", FirstName="Ann", Email="ann@example.org", Care_Stage__c="in_care"))
    both.ehr(ehr_at(1, "c"))
    assert ("penicillin", "ann@example.org") == (both.current("allergies"), both.current("email"))
    assert [] == both.letters
    return both


# ------------------------------------------------------------------------------- TOAST placeholder written as data

SHAPES = {
    "text": PLACEHOLDER,
    "base64 of bytea and numeric": base64.b64encode(PLACEHOLDER.encode()).decode(),
    "hexadecimal": PLACEHOLDER.encode().hex(),
    "hstore": f'{{"{PLACEHOLDER}":"{PLACEHOLDER}"}}',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_toast_placeholder_written_as_data(way: Way, shape: str) -> None:
    """An unchanged large column is not carried: it is neither shown, nor decided on, nor ever sent to anyone."""
    columns = dict.fromkeys(("allergies", "diagnoses", "street", "care_status", "override_reason"), SHAPES[shape])
    before = way.state.systems["ehr"].shown

    assert Counter({"applied": 1}) == way.ehr(ehr_at(2, weight_kg=82.5, **columns))
    assert "penicillin" == way.current("allergies")
    assert before | {"weight": 82.5} == way.state.systems["ehr"].shown
    assert Counter({"applied": 1}) == way.ehr(ehr_at(3, weight_kg=82.5, allergies="latex")), "and then it changes"
    assert SHAPES[shape] not in way.written("crm") + way.written("ehr")
    assert PLACEHOLDER not in str(way.state)


# ------------------------------------------------------------------- explicit NULL arriving as the column default


def test_an_explicit_null_is_a_null(way: Way) -> None:
    """Where the connector is set right, a cleared column clears its field, whatever default its schema declares."""
    event = ehr_at(2, weight_kg=None)
    schema = {"type": "struct", "fields": [{"field": "after", "fields": [{"field": "weight_kg", "default": 70.0}]}]}

    assert Counter({"applied": 1}) == way.ehr({"schema": schema, "payload": event})
    assert way.current("weight") is None


@pytest.mark.parametrize("default", ["", "unknown", "none known"])
def test_explicit_null_arriving_as_the_column_default(default: str) -> None:
    """Nothing in one event shows it, so the check of a sample suspects it, and names both converters' settings."""
    default_of_the_column = {"field": "payer", "default": default, "optional": True}
    schema = {"type": "struct", "fields": [{"field": "after", "fields": [default_of_the_column]}]}
    sample = [
        one._replace(value=packed({"schema": schema, "payload": json.loads(one.value or b"")}))
        for one in rows(payer=lambda i: default if i % 2 else f"Acme {i}")
    ]
    [finding] = [one for one in found(sample) if one.column == "payer"]

    assert f"never null, and {ROWS // 2} of {ROWS} times its default" in finding.message
    assert "replace.null.with.default=false" in finding.setting
    assert "ignore.default.for.nullables=true" in finding.setting


# ------------------------------------------------------------------------------- tombstone with and without schema


@pytest.mark.parametrize("value", [None, b"", b"null", b'{"schema":null,"payload":null}'])
def test_tombstone_with_and_without_schema(way: Way, value: bytes | None) -> None:
    """A marker for Kafka's compaction is no edit: nothing is cleared, nobody is absent, and it is counted."""
    before = way.state

    assert NONE == way.ehr(value) == way.crm(value)
    assert {"tombstone": 2} == way.ignored
    assert ([], before) == (way.letters, way.state)


# ------------------------------------------------------------------------------------------------------ null `before`


def test_null_before(way: Way) -> None:
    """With the default replica identity no update shows the row before: what changed is known by what it showed."""
    event = ehr_at(2, allergies="latex")
    assert event["before"] is None

    assert Counter({"applied": 1}) == way.ehr(event)
    assert Counter({"applied": 1}) == way.ehr(ehr_at(3, allergies="none known") | {"before": event["after"]})


def test_a_before_of_the_key_alone_deletes_nobody_s_record(way: Way) -> None:
    """It does not say whose row it was: a dead letter, not a record named after a key."""
    bare = dict.fromkeys(ehr_event()["after"]) | {"patient_id": 123}

    assert NONE == way.ehr(ehr_at(2, "d") | {"before": bare})
    assert ["no_record"] == way.letters
    assert way.state.systems["ehr"].present


# ----------------------------------------------------------------------------------------- re-snapshot in mid-stream


@pytest.mark.parametrize("flag", ["true", "last", "incremental", True])
def test_re_snapshot_in_mid_stream(way: Way, flag: str | bool) -> None:
    """Every row is read once more: what was decided stands, nothing is sent, differences are listed."""
    way.ehr(ehr_at(2, allergies="latex"))
    before, sent = way.state, len(way.sent("crm"))
    read = ehr_at(2, "r", allergies="latex")
    stale = ehr_at(1, "r")
    for event in (read, stale):
        event["source"]["snapshot"] = flag

    assert NONE == way.ehr(read)
    assert {"replay"} == way.ehr(stale).keys(), "a chunk read before the change, and written after it"
    assert before.fields == way.state.fields
    assert Counter({"baseline": 1}) == way.ehr(ehr_at(3, "r", allergies="latex", email="other@example.org"))
    assert "ann@example.org" == way.current("email"), "the CRM's word, whatever a snapshot of the EHR shows"
    assert ("email",) == way.state.systems["ehr"].baseline
    assert sent == len(way.sent("crm"))


# ----------------------------------------------------------------------------- unchanged Salesforce fields read as null


def test_unchanged_salesforce_fields_read_as_null(way: Way) -> None:
    """An update names what it is about; every other null in it says nothing."""
    event = crm_at(2, LastName="Grow")
    event |= {"Email": None, "FirstName": None, "Birthdate": None, "Care_Stage__c": None, "MailingCity": None}
    way.crm(event)

    assert {"family": "Grow", "given": "Ann"} == way.state.systems["crm"].shown["legal_name"]
    assert ("ann@example.org", "in_care") == (way.current("email"), way.current("care_stage"))
    assert Counter({"applied": 1}) == way.crm(crm_at(3, "UPDATE", "Email")), "named, a null is one"
    assert way.current("email") is None


# ------------------------------------------------------------------------------------------- lost tombstone after `d`


@pytest.mark.parametrize("tombstone", [True, False])
def test_lost_tombstone_after_d(way: Way, tombstone: bool) -> None:
    """The delete itself is what counts: whether its tombstone comes, was compacted away or was switched off."""
    way.ehr(ehr_at(2, "d"))
    if tombstone:
        way.ehr(None)

    assert not way.state.systems["ehr"].present
    assert "penicillin" == way.current("allergies"), "a delete clears nothing elsewhere"
    sent = len(way.sent("ehr"))
    way.crm(crm_at(3, Email="new@example.org"))
    assert sent == len(way.sent("ehr")), "no sink may recreate an erased row"


# --------------------------------------------------------------------------------- duplicates after a connector crash


def test_duplicates_after_a_connector_crash(way: Way) -> None:
    """A connector goes on from its last flushed offset: what it had written comes again, at other Kafka offsets."""
    ehr = [ehr_at(2, allergies="latex"), ehr_at(3, allergies="none known"), ehr_at(4, weight_kg=80)]
    crm = [crm_at(2, Email="b@example.org"), crm_at(3, Email="c@example.org")]
    for event in ehr:
        way.ehr(event)
    for event in crm:
        way.crm(event)
    before, sent = way.state, (len(way.sent("ehr")), len(way.sent("crm")))

    again = [way.ehr(event | {"ts_ms": 5}) for event in ehr] + [way.crm(event) for event in crm]

    assert {"replay"} == set().union(*again)
    assert before == way.state
    assert sent == (len(way.sent("ehr")), len(way.sent("crm")))


# ------------------------------------------------------------------------------ primary-key change as delete + create


@pytest.mark.parametrize("order", ["delete first", "create first"])
def test_primary_key_change_as_delete_and_create(way: Way, order: str) -> None:
    """Delete, tombstone and create are one move, in whatever order two partitions give them."""
    gone = (ehr_at(2, "d"), KEY, [("__debezium.newkey", b'{"patient_id":999}')])
    new_key = b'{"patient_id":999}'
    come = (ehr_at(2, "c", patient_id=999), new_key, [("__debezium.oldkey", KEY)])
    before = way.state
    for event, key, headers in (gone, come) if order == "delete first" else (come, gone):
        way.ehr(event, key=key, headers=headers)
        way.ehr(None, key=KEY)

    ehr = way.state.systems["ehr"]
    assert (True, "999") == (ehr.present, ehr.key)
    assert before.fields == way.state.fields, "nothing is cleared and nothing is written"
    assert {} == way.state.cases
    assert 1 == way.ignored["moved"]
    way.crm(crm_at(3, Email="new@example.org"))
    assert 999 == way.sent("ehr")[-1].after["patient_id"]
