"""Salesforce change events: only what an event is about counts, and what it cannot say is not guessed."""

from typing import Any

import pytest

from ownership_stream.model import Evidence
from ownership_stream.sources import NeedsReread
from source_kit import CONTACT, changed, crm_event, from_crm, one, packed, refused

OTHER = "0032X00002QU10KQAT"
SECRET = "Zebedee"


def test_an_update_carries_only_the_fields_it_names() -> None:
    """Every other null in it means "not changed", not "cleared"."""
    change = one(from_crm(changed(LastName="Doe", Care_Stage__c="In_Care")))

    assert {"legal_name": {"family": "Doe"}, "care_stage": "in_care"} == change.fields
    assert (CONTACT, CONTACT, f"crm/Contact/{CONTACT}", "u") == (change.record, change.key, change.row, change.op)
    assert 1_596_116_025_000 == change.at
    assert change.stage_row, "the contact's row carries the stage as an ordinary column"


def test_a_nulled_field_is_null_and_an_unnamed_null_is_nothing() -> None:
    """`nulledFields` clears."""
    change = one(from_crm(changed(header={"nulledFields": ["Phone"], "changedFields": ["LastModifiedDate"]})))

    assert {"phone": None} == change.fields


def test_a_changed_field_that_is_null_in_the_body_is_null() -> None:
    """Some connectors name a cleared field among the changed ones."""
    assert {"email": None} == one(from_crm(changed("Email"))).fields


@pytest.mark.parametrize("kind", ["CREATE", "UNDELETE", "SNAPSHOT"])
def test_a_create_carries_everything(kind: str) -> None:
    """Nulls included; what nobody mapped may be null there."""
    event = crm_event({"changeType": kind, "changedFields": []}, LastName="Doe", Birthdate="1980-12-31", Fax=None)
    change = one(from_crm(event))

    assert {
        "legal_name": {"family": "Doe", "given": None},
        "date_of_birth": "1980-12-31",
        "email": None,
    } == change.fields
    assert {"CREATE": "c", "UNDELETE": "c", "SNAPSHOT": "r"}[kind] == change.op


def test_a_delete_carries_nothing() -> None:
    """But its record and position."""
    change = one(from_crm(crm_event({"changeType": "DELETE", "changedFields": None})))

    assert ("d", CONTACT, {}, (0, 10_832_042_834_831, 1)) == (change.op, change.record, change.fields, change.position)
    assert change.actor is None


def test_one_event_of_many_records_is_a_change_for_each() -> None:
    """Merged events fan out; an id that stands twice is one record, the short form is the long one's."""
    decoded = from_crm(changed(header={"recordIds": [CONTACT, OTHER, CONTACT[:15]]}, LastName="Doe"))

    assert [CONTACT, OTHER] == [change.record for change in decoded.changes]
    assert 2 == len({change.id for change in decoded.changes})
    assert {(0, 10_832_042_834_831, 1)} == {change.position for change in decoded.changes}


def test_the_writer_is_the_header_s_and_came_with_the_event() -> None:
    """`commitUser`, its role by the beginning of its id; so it is always fresh."""
    change = one(from_crm(changed(LastName="Doe")))

    assert ("005GROW0000AJGNCQA5", "growth_ops", "person") == (change.actor, change.role, change.origin)
    assert ("actor",) == change.event


def test_what_our_own_writer_wrote_is_no_person_s_word() -> None:
    """Whatever account it uses: its client id is in `changeOrigin`."""
    origin = "com/salesforce/api/rest/59.0;client=ownership-stream"
    change = one(from_crm(changed(header={"changeOrigin": origin}, LastName="Doe")))

    assert ("client:ownership-stream", None, "automation") == (change.actor, change.role, change.origin)


def test_attributes_that_an_event_carries_came_with_it() -> None:
    """Reason, base version and marker count once, in the event that carries them."""
    columns: dict[str, Any] = {
        "Override_Reason__c": "patient asked",
        "Base_Version__c": 41.0,
        "Sync_Change_Id__c": "c-1",
    }
    change = one(from_crm(changed(LastName="Doe", **columns)))

    assert ("patient asked", 41, "c-1") == (change.reason, change.base, change.marker)
    assert ("actor", "reason", "base") == change.event


def test_evidence_is_known_by_its_time() -> None:
    """A preference's time is set by the patient alone; a follow-up counts if its writer may validate."""
    at = 1_596_000_000_000
    portal = one(from_crm(changed(Contact_Preference__c="SMS", Preference_Confirmed_At__c=at)))
    follow_up: dict[str, Any] = {"Follow_Up_Completed_At__c": at, "Follow_Up_Outcome__c": "done"}
    coordinator = one(from_crm(changed(header={"commitUser": "005COOR01"}, **follow_up)))
    growth = one(from_crm(changed(**follow_up)))

    assert ({"contact_preference": "sms"}, {"contact_preference": Evidence("patient", at)}) == (
        portal.fields,
        portal.evidence,
    )
    assert {"follow_up_completion": Evidence("005COOR01", at)} == coordinator.evidence
    assert {"follow_up_completion": Evidence(None, at)} == growth.evidence
    assert "evidence" in portal.event


def test_a_follow_up_s_parts_are_one_value() -> None:
    """The time as epoch milliseconds, the outcome as a code."""
    change = one(from_crm(changed(Follow_Up_Completed_At__c=1_596_000_000_000, Follow_Up_Outcome__c="Done")))

    assert {"completed_at": "2020-07-29T05:20:00.000Z", "outcome": "done"} == change.fields["follow_up_completion"]


def test_ids_and_positions_are_of_the_commit() -> None:
    """A repeat has the same id whatever the replay id says; the next in a commit has the next position."""
    first = one(from_crm(changed(LastName="Doe"), epoch=2))
    again = one(from_crm(changed(LastName="Doe") | {"ReplayId": "9"}, epoch=2))
    later = one(from_crm(changed(header={"sequenceNumber": 2}, LastName="Doe"), epoch=2))

    assert first == again
    assert first.id != later.id
    assert (2, 10_832_042_834_831, 1) == first.position
    assert "2:10832042834831:1" == first.source_version


def test_the_schema_wrapper_changes_nothing() -> None:
    """With `schemas.enable=true` the same change comes out."""
    event = changed(LastName="Doe")

    assert from_crm(event) == from_crm({"schema": {"type": "struct", "fields": []}, "payload": event})


@pytest.mark.parametrize("value", [None, b"null", b"", b'{"schema":null,"payload":null}'])
def test_tombstones_are_ignored(value: bytes | None) -> None:
    """They are markers for compaction, not edits."""
    assert ((), "tombstone") == (from_crm(value).changes, from_crm(value).ignored)


def test_a_compound_column_stands_for_all_of_its_own() -> None:
    """`Name` is ignored with all that is within it; the mapping maps the flat columns."""
    event = changed("Name", LastName="Doe") | {"Name": {"FirstName": "Ann", "LastName": "Doe"}}

    assert {"legal_name": {"family": "Doe"}} == one(from_crm(event)).fields


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("kind", ["GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW"])
def test_a_gap_needs_a_new_read(kind: str) -> None:
    """It says that something changed, not what; an overflow does not even say where."""
    ids = [] if kind == "GAP_OVERFLOW" else [CONTACT]
    error = refused(from_crm, crm_event({"changeType": kind, "recordIds": ids}))

    assert isinstance(error, NeedsReread)
    assert ("needs_reread", "Contact", tuple(ids)) == (error.reason, error.table, error.keys)


def test_a_wildcard_and_a_difference_need_a_new_read() -> None:
    """Neither says what the new value of which record is."""
    wildcard = refused(from_crm, changed(header={"recordIds": ["003*"]}, LastName="Doe"))
    difference = refused(from_crm, changed(header={"diffFields": ["Referral_Detail__c"]}, Referral_Detail__c="--- a"))

    assert ["needs_reread", "needs_reread"] == [wildcard.reason, difference.reason]
    assert isinstance(difference, NeedsReread)
    assert (CONTACT,) == difference.keys


@pytest.mark.parametrize("bitmap", ["0x1A0F", "4-0x03"])
def test_the_bitmaps_of_the_pub_sub_api_are_refused_with_advice(bitmap: str) -> None:
    """What they name is known only with the schema."""
    error = refused(from_crm, crm_event({"changedFields": [bitmap]}))

    assert "unsupported" == error.reason
    assert "use a connector that writes names" in error.message


@pytest.mark.parametrize(
    ("event", "reason", "said"),
    [
        (changed(header={"entityName": "Account"}), "unknown_table", "unknown table `Account`"),
        (changed(Nick__c=SECRET), "unknown_column", "table `Contact`: unknown column `Nick__c`"),
        (crm_event({"changeType": "CREATE"}, Nick__c=SECRET), "unknown_column", "unknown column `Nick__c`"),
        (changed(header={"nulledFields": ["Nick__c"]}), "unknown_column", "unknown column `Nick__c`"),
        (changed("Title__c"), "unknown_column", "unknown column `Title__c`"),
        (changed("Phone"), "not_an_envelope", "`Phone` is said to be changed and is not in the event"),
        (changed(LastName=7), "wrong_type", "column `LastName`: expected `str | null`, got `int`"),
        (changed(LastName=[SECRET]), "wrong_type", "column `LastName`"),
        (changed(Birthdate="9999-12-31"), "not_canonical", "column `Birthdate`: a date outside the years"),
        (changed(Birthdate="0000-01-01"), "not_canonical", "column `Birthdate`"),
        (changed(Birthdate=SECRET), "not_canonical", "column `Birthdate`: a text that is no ISO date"),
        (changed(Next_Appointment__c="2026-01-01"), "wrong_type", "column `Next_Appointment__c`"),
        (changed(LastName=SECRET * 200_000), "not_canonical", "column `LastName`: a text longer than"),
        (changed(header={"recordIds": []}), "missing_key", "`recordIds` is empty"),
        (changed(header={"recordIds": [""]}), "bad_key", "`recordIds` holds an empty id"),
        (changed(header={"recordIds": ["x" * 300]}), "bad_key", "`recordIds` holds an id longer than"),
        (changed(header={"recordIds": [f"003{i}" for i in range(1001)]}), "bad_key", "more than 1000"),
        (changed(header={"recordIds": [7]}), "not_an_envelope", "expected `str`, got `int`"),
        (changed(header={"changeType": SECRET}), "not_an_envelope", "`changeType` is none of Salesforce's words"),
        (changed(header={"commitNumber": -1}), "no_position", "give no position"),
        (changed(header={"commitNumber": 2**63}), "no_position", "give no position"),
        (changed(header={"commitNumber": None}), "not_an_envelope", "column `commitNumber`"),
        (changed(header={"commitTimestamp": 10**15}), "wrong_type", "`commitTimestamp` is no time"),
        ({"Id": CONTACT}, "not_an_envelope", "not a change event of Salesforce"),
        ([], "not_an_envelope", "not a change event of Salesforce"),
        ({"ChangeEventHeader": []}, "not_an_envelope", "not a change event of Salesforce"),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(event: Any, reason: str, said: str) -> None:
    """The reason names table, column and kind of mistake, and never the value."""
    error = refused(from_crm, event)

    assert reason == error.reason
    assert said in error.message
    assert SECRET not in error.message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x00\x00\x00\x00\x07", "not_json"),
        (b"\xff", "not_json"),
        (packed(changed(LastName="HALF")).replace(b"HALF", b"\\ud800"), "not_json"),
        (packed(changed(LastName="HALF")).replace(b"HALF", b"\xed\xa0\x80"), "not_json"),
        (b"[" * 100_000, "too_deep"),
        (b"[" * 200 + b"]" * 200, "too_deep"),
        (packed(changed(LastName="Doe")).replace(b'"LastName":', b'"LastName":"Do","LastName":'), "duplicate_key"),
        (
            packed(changed(LastName="Doe")).replace(b'"commitNumber":', b'"commitNumber":1,"commitNumber" : '),
            "duplicate_key",
        ),
    ],
)
def test_what_is_no_honest_json_is_refused(value: bytes, reason: str) -> None:
    """Bytes, half surrogates, deep nesting, keys that stand twice."""
    assert reason == refused(from_crm, value).reason
