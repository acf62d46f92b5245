"""Salesforce change events: only what an event is about counts, and what it cannot say is not guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from ownership_stream.model import Evidence
from ownership_stream.sources import NeedsReread
from ownership_stream.sources.compound import Compounds, nested_name
from source_kit import CONTACT, changed, crm_event, from_crm, one, packed, refused

OTHER = "0032X00002QU10KQAT"
SECRET = "Zebedee"
FOLDER = Path(__file__).parents[1] / "fixtures" / "salesforce"


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
    """The mapping maps the object's columns, and the event nests them."""
    event = changed("Name", LastName="Doe") | {"Name": {"FirstName": "Ann", "LastName": "Doe"}}

    assert {"legal_name": {"family": "Doe", "given": "Ann"}} == one(from_crm(event)).fields


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("kind", ["GAP_CREATE", "GAP_UPDATE", "GAP_UNDELETE"])
def test_a_gap_needs_a_new_read(kind: str) -> None:
    """It says that something changed, not what: a change for each record, by which somebody has it read again."""
    decoded = from_crm(crm_event({"changeType": kind, "recordIds": [CONTACT, OTHER]}))

    assert [("reread", CONTACT, f"crm/Contact/{CONTACT}"), ("reread", OTHER, f"crm/Contact/{OTHER}")] == [
        (change.kind, change.record, change.row) for change in decoded.changes
    ]
    assert all(change.fields == {} and change.position is not None for change in decoded.changes)
    assert 2 == len({change.id for change in decoded.changes})


def test_a_gap_of_a_delete_is_a_delete() -> None:
    """A record that is gone has nothing to be read."""
    change = one(from_crm(crm_event({"changeType": "GAP_DELETE"})))

    assert ("row", "d", CONTACT) == (change.kind, change.op, change.record)


@pytest.mark.parametrize("header", [{"changeType": "GAP_OVERFLOW"}, {"recordIds": ["003*"]},
                                    {"changeType": "GAP_UPDATE", "recordIds": [CONTACT, "003*"]}])  # fmt: skip
def test_what_does_not_say_which_records_is_a_dead_letter(header: dict[str, Any]) -> None:
    """An overflow, or a wildcard among the ids: the whole entity must be read again."""
    error = refused(from_crm, changed(header=header, LastName="Doe"))

    assert isinstance(error, NeedsReread)
    assert ("needs_reread", "Contact", ()) == (error.reason, error.table, error.keys)


def test_a_difference_needs_a_new_read() -> None:
    """It is of a value that is not known here; of a column that is ignored it is of no matter."""
    difference = one(from_crm(changed(header={"diffFields": ["Referral_Detail__c"]}, Referral_Detail__c="--- a")))
    ignored = one(from_crm(changed(header={"diffFields": ["OwnerId"]}, LastName="Doe")))

    assert ("reread", CONTACT) == (difference.kind, difference.record)
    assert {"legal_name": {"family": "Doe"}} == ignored.fields


# ---------------------------------------------------------------------------------------------------- compound fields


def nested(*names: str, nulled: tuple[str, ...] = (), **compounds: Any) -> dict[str, Any]:
    """An update as Salesforce itself writes it: components by `Compound.Component`, nested."""
    event = changed(*names, header={"changedFields": [*names, "LastModifiedDate"], "nulledFields": list(nulled)})
    del event["FirstName"]
    return event | compounds


ADDRESS = {"Street": "1 Main St", "City": None, "State": None, "PostalCode": None, "Country": None, "Latitude": None}


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (nested("Name.LastName", Name={"FirstName": None, "LastName": "Doe"}), {"legal_name": {"family": "Doe"}}),
        (nested("Name.FirstName", Name={"FirstName": None, "LastName": None}), {"legal_name": {"given": None}}),
        (nested("MailingAddress.Street", MailingAddress=ADDRESS), {"address": {"street": "1 Main St"}}),
        (
            nested("MailingAddress.Street", "MailingAddress.City", MailingAddress=ADDRESS),
            {"address": {"street": "1 Main St", "city": None}},
        ),
        (nested("MailingAddress.City", MailingAddress=None), {"address": {"city": None}}),
        (nested(nulled=("Name.FirstName",), Name={"FirstName": None}), {"legal_name": {"given": None}}),
        (nested("Name", Name={"FirstName": "Ann", "LastName": "Doe", "Salutation": None}),
         {"legal_name": {"family": "Doe", "given": "Ann"}}),
        (nested("Name", nulled=("Name.FirstName",), Name={"FirstName": None, "LastName": "Doe"}),
         {"legal_name": {"family": "Doe", "given": None}}),
        (nested("Name", Name={"LastName": "Doe"}), {"legal_name": {"family": "Doe"}}),
        (nested("MailingAddress", MailingAddress=None), {"address": None}),
        (nested(nulled=("MailingAddress",), MailingAddress=None), {"address": None}),
        (nested("Name.LastName", LastName="Doe"), {"legal_name": {"family": "Doe"}}),
        (nested("LastName", Name={"LastName": "Doe"}), {"legal_name": {"family": "Doe"}}),
        (changed("Name", LastName="Doe") | {"Name": "Ann Doe"}, {"legal_name": {"family": "Doe"}}),
        (changed("Name", LastName="Doe") | {"Name": None}, {"legal_name": {"family": "Doe"}}),
        (nested("MailingAddress.Latitude", "Name.Salutation", MailingAddress=ADDRESS, Name={"Salutation": "Dr"}), {}),
    ],
)  # fmt: skip
def test_a_component_is_the_column_of_its_object(event: dict[str, Any], fields: dict[str, Any]) -> None:
    """`MailingAddress.Street` is `MailingStreet`: only the components that are named count, whatever is null beside."""
    assert fields == one(from_crm(event)).fields


def test_a_null_within_a_compound_that_is_named_as_a_whole_is_not_guessed() -> None:
    """Cleared or not changed: the record is read again."""
    change = one(from_crm(nested("Name", Name={"FirstName": None, "LastName": "Doe"})))

    assert ("reread", {}) == (change.kind, change.fields)


@pytest.mark.parametrize("kind", ["CREATE", "UNDELETE", "SNAPSHOT"])
def test_a_created_record_nests_its_compounds(kind: str) -> None:
    """All components, and a compound that is null is null in all of them."""
    event = crm_event({"changeType": kind, "changedFields": []}, Name={"FirstName": "Ann", "LastName": "Doe"})
    street = one(from_crm(event | {"MailingAddress": ADDRESS})).fields
    nothing = one(from_crm(event | {"MailingAddress": None})).fields

    assert {"family": "Doe", "given": "Ann"} == street["legal_name"]
    others = dict.fromkeys(("city", "region", "postal_code", "country"))
    assert {"street": "1 Main St", **others} == street["address"]
    assert nothing["address"] is None


def test_a_component_that_is_said_to_be_changed_and_is_not_there_is_refused() -> None:
    """As any column."""
    error = refused(from_crm, nested("MailingAddress.City", MailingAddress={"Street": "1 Main St"}))

    assert ("not_an_envelope", True) == (error.reason, "`MailingAddress.City` is said to be changed" in error.message)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("LastName", "Name.LastName"),
        ("MailingStateCode", "MailingAddress.StateCode"),
        ("State", "Address.State"),
        ("Home__Latitude__s", "Home__c.Latitude"),
        ("Capital_City__c", "Capital_City__c"),
        ("Name.LastName", "Name.LastName"),
    ],
)
def test_each_kind_of_compound_is_known(column: str, name: str) -> None:
    """Names, addresses and places."""
    assert name == nested_name(column)
    assert column == Compounds([column]).column(name)


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


# ---------------------------------------------------------------------------------------------------- the fixtures

WHOLE_NAME = {"family": "Doe", "given": "Ann"}
WHERE = {"street": "1 Main St", "city": "Springfield", "region": "IL", "postal_code": "62701", "country": "us"}
MET = {"legal_name": WHOLE_NAME, "email": "ann@example.org", "phone": None, "care_stage": "new_lead"}
FIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("c", MET | {"address": WHERE}),
    "update_flat": ("u", {"legal_name": {"family": "Grow"}}),
    "update_component": ("u", {"legal_name": {"family": "Grow"}}),
    "update_address": ("u", {"address": {"street": "2 Oak St"}}),
    "update_nulled": ("u", {"phone": None, "address": {"city": None}}),
    "update_own": ("u", {"email": "ann@example.org"}),
    "update_many": ("u", {"assigned_coach": "c-2"}),
    "update_pub_sub": ("unsupported", {}),
    "update_difference": ("reread", {}),
    "delete": ("d", {}),
    "undelete": ("c", MET | {"address": None}),
    "gap_update": ("reread", {}),
    "gap_delete": ("d", {}),
    "gap_overflow": ("needs_reread", {}),
}
"""Fixture -> the kind of its change or the reason of its dead letter, and the fields it carries."""


def test_every_fixture_is_read() -> None:
    """None is there for nothing."""
    assert FIXTURES.keys() == {path.stem for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_becomes_what_it_says(name: str) -> None:
    """By the shipped mapping."""
    due, fields = FIXTURES[name]
    value = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["value"]
    if len(due) > 1 and due != "reread":
        assert due == refused(from_crm, value).reason
        return
    changes = from_crm(value).changes

    assert {due} == {change.op if change.kind == "row" else change.kind for change in changes}
    assert [fields] * len(changes) == [change.fields for change in changes]
    assert value["ChangeEventHeader"]["recordIds"] == [change.record for change in changes]
