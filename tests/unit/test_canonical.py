"""Our own JSON for row events: for a source without connector."""

from typing import Any

import msgspec
import pytest

from ownership_stream import sources
from ownership_stream.model import Change, Evidence
from source_kit import CRM, MATRIX, one, packed, refused

MAPPING = msgspec.structs.replace(CRM, connector="canonical", own_client="")
EVENT: dict[str, Any] = {"table": "Contact", "op": "u", "at": 1_767_261_600_123, "version": [12, 3]}
SECRET = "Zebedee"


def decode(event: Any) -> sources.Decoded:
    """What the decoder makes of an event, or of bytes as they are."""
    value = event if isinstance(event, bytes | None) else packed(event)
    return sources.decoder(MAPPING, MATRIX, epoch=1).decode("any", None, value, 0)


def event(row: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    """A row event."""
    return EVENT | {"row": {"Id": "c-7", **(row or {})}} | said


def changed(**said: Any) -> Change:
    """The change of an event of the last name."""
    return one(decode(event({"LastName": "Doe"}, **said)))


def test_a_row_event_becomes_a_change_of_what_it_carries() -> None:
    """The columns in `row` were carried, and no others."""
    change = changed()

    assert ({"legal_name": {"family": "Doe"}}, (1, 12, 3), "1:12:3") == (
        change.fields,
        change.position,
        change.source_version,
    )
    assert ("c-7", "crm/Contact/c-7", "u", 1_767_261_600_123) == (change.record, change.row, change.op, change.at)


def test_what_stands_beside_the_row_came_with_the_event() -> None:
    """Actor, role, origin, reason, base version, marker and evidence."""
    evidence = {"contact_preference": {"by": "patient", "at": 5}}
    said = {"actor": "u/1", "role": "support", "origin": "person", "reason": "asked", "base_version": 4, "marker": "m"}
    change = changed(evidence=evidence, **said)

    assert ("u/1", "support", "person", "asked", 4, "m") == (
        change.actor,
        change.role,
        change.origin,
        change.reason,
        change.base,
        change.marker,
    )
    assert {"contact_preference": Evidence("patient", 5)} == change.evidence
    assert ("actor", "reason", "base", "evidence") == change.event


def test_an_actor_without_role_is_looked_up() -> None:
    """The mapping knows who it is; a role without origin is an automation's."""
    assert ("growth_ops", "person") == (changed(actor="005GROW1").role, changed(actor="005GROW1").origin)
    assert "automation" == changed(actor="x", role="support").origin


def test_a_version_may_be_one_number_and_an_id_may_stand_for_it() -> None:
    """Without a version there is no position, and repeats are known by the event's own id."""
    del_version = {key: value for key, value in event({"LastName": "Doe"}).items() if key != "version"}
    first, second = (one(decode(del_version | {"id": identity})) for identity in ("a", "b"))

    assert (1, 7) == changed(version=7).position
    assert (None, "") == (first.position, first.source_version)
    assert first.id != second.id


def test_a_tombstone_is_ignored() -> None:
    """As everywhere."""
    assert "tombstone" == decode(None).ignored


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        (event(table="Visit"), "unknown_table", "unknown table `Visit`"),
        (event({"Nick__c": SECRET}), "unknown_column", "unknown column `Nick__c`"),
        (event({"LastName": 7}), "wrong_type", "column `LastName`"),
        (event({"LastName": {"a": 1}}), "not_an_envelope", "expected"),
        (event({"Birthdate": "9999-01-01"}), "not_canonical", "column `Birthdate`"),
        (event({"Id": None}), "missing_key", "key column `Id`"),
        (event(version=-1), "no_position", "`version` is no list"),
        (event(version=list(range(9))), "no_position", "`version` is no list"),
        (event(version=[]), "no_position", "neither `version` nor `id`"),
        (event(version=None, id="x" * 300), "bad_key", "`id` is an id longer"),
        (event(at=-1), "wrong_type", "a time or a base version"),
        (event(at="now"), "not_an_envelope", "key `at`"),
        (event(op="x"), "not_an_envelope", "source `crm`"),
        (event(colour=SECRET), "not_an_envelope", "unknown key `colour`"),
        (event(role="king"), "not_an_envelope", "unknown role `king`"),
        (event(evidence={"shoe_size": {}}), "unknown_column", "unknown field `shoe_size`"),
        (event(actor=SECRET * 1000), "not_canonical", "a text longer than"),
        ([], "not_an_envelope", "expected `object`"),
        (b'{"table":"Contact","table":"Contact"}', "duplicate_key", "`table` stands twice"),
        (b"\xff", "not_json", "no JSON"),
        (b"[" * 100_000, "too_deep", "nested too deeply"),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(bad: Any, reason: str, said: str) -> None:
    """Names and kinds only, never a value."""
    error = refused(decode, bad)

    assert reason == error.reason
    assert said in error.message
    assert SECRET not in error.message
