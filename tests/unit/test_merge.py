"""Two histories become one, and one becomes two: what is kept of each, on small states."""

import pytest
from msgspec.structs import replace

from ownership_stream.draft import Draft
from ownership_stream.merge import merge, split
from ownership_stream.model import (
    Change,
    Evidence,
    FieldState,
    LinkedState,
    RecordState,
    RowState,
    Speaking,
    SystemState,
    identity_of,
)
from small_matrix import MATRIX

NOW = 1_800_000_000_000
MERGE = Change(id="m", record="a", kind="merge", other="b", at=NOW, received=NOW)
NONE: frozenset[str] = frozenset()


def held(
    system: str, key: str, *, present: bool = True, rows: tuple[str, ...] = (), **fields: FieldState
) -> RecordState:
    """A record that one system has."""
    found = {row: RowState((1,), f"{row}-1") for row in rows}
    return RecordState(version=3, systems={system: SystemState(key, present, rows=found)}, fields=dict(fields))


def value(said: str, at: int, **more: object) -> FieldState:
    """A current value of the CRM's."""
    return replace(FieldState(said, 3, at, "crm", "crm/contact/1", grant="owner: anyone in crm"), **more)


def test_several_rows_of_a_table_come_along_with_their_system() -> None:
    """Their turn goes on where it stood, so that nothing they say later seems told before."""
    theirs = replace(held("ehr", "7", rows=("ehr/visit/*",)), speaking={"ehr/visit": Speaking("ehr", turn=9)})
    gone = held("ehr", "5", present=False, rows=("ehr/visit/*", "ehr/patient/5"))
    state = merge(MATRIX, gone, theirs, MERGE, NONE).state
    assert {"ehr/visit": 9} == {name: one.turn for name, one in state.speaking.items()}
    assert ("7", {"ehr/visit/*"}) == (state.systems["ehr"].key, state.systems["ehr"].rows.keys())
    assert {"ehr/patient/5"} == identity_of(state).silent["ehr/5"].seat.rows.keys()


def test_of_a_silent_row_nothing_is_kept_that_several_rows_said_together() -> None:
    """Who spoke begins anew, should it ever be split off."""
    theirs = replace(held("ehr", "7", rows=("ehr/visit/*", "ehr/patient/7")), speaking={"ehr/visit": Speaking("ehr")})
    state = merge(MATRIX, held("ehr", "5"), theirs, MERGE, NONE).state
    assert isinstance(state, LinkedState)
    assert {"ehr/patient/7"} == state.identity.silent["ehr/7"].seat.rows.keys()
    assert ({}, "5") == (state.speaking, state.systems["ehr"].key)


def test_where_the_speaking_key_leaves_a_silent_one_takes_its_place() -> None:
    """The system still has the record, by the other row."""
    state = merge(MATRIX, held("crm", "1"), held("crm", "2"), MERGE, NONE).state
    draft = Draft(MATRIX, state, replace(MERGE, kind="split", id="s"), NONE)
    part = split(draft, "x", {"x"}, {"crm"})
    assert ("1", "2") == (part.systems["crm"].key, draft.systems["crm"].key)
    assert {} == draft.identity.silent


@pytest.mark.parametrize("gone", ["mine", "theirs"])
def test_what_a_deleted_row_had_set_stays_with_its_own_side_when_both_are_split(gone: str) -> None:
    """The usual merge in a CRM deletes one of the two; nothing of it may end in the other person's record."""
    mine = held("crm", "1", present=gone != "mine", rows=("crm/contact/1",), nickname=value("Al", 5))
    email = replace(value("b@x.org", 5), row="crm/contact/2")
    theirs = held("crm", "2", present=gone != "theirs", rows=("crm/contact/2",), email=email)
    state = merge(MATRIX, mine, theirs, MERGE, NONE).state
    seats = {"crm" if gone == "mine" else "crm/2"}
    draft = Draft(MATRIX, state, replace(MERGE, kind="split", id="s"), NONE)
    part = split(draft, "b", {"b"}, seats)
    assert ({"email"}, {"nickname"}) == (
        {name for name, one in part.fields.items() if one.version},
        {name for name, one in draft.fields.items() if one.version},
    )
    assert ("1", "2") == (draft.systems["crm"].key, part.systems["crm"].key)
    assert (gone != "mine", gone != "theirs") == (draft.systems["crm"].present, part.systems["crm"].present)


def showing(state: RecordState, said: str) -> RecordState:
    """A record whose nickname the CRM shows so."""
    return replace(state, systems={"crm": replace(state.systems["crm"], shown={"nickname": said})})


def test_who_keeps_a_value_by_a_split_does_not_take_what_its_owner_shows() -> None:
    """Only the other side, which loses it, does."""
    mine = showing(held("crm", "1", rows=("crm/contact/1",), nickname=value("Al", 5)), "Al")
    later = replace(value("Bo", NOW), row="crm/contact/2")
    theirs = showing(held("crm", "2", rows=("crm/contact/2",), nickname=later), "Bob")
    state = merge(MATRIX, mine, theirs, MERGE, NONE).state
    draft = Draft(MATRIX, state, replace(MERGE, kind="split", id="s"), NONE)
    part = split(draft, "b", {"b"}, {"crm/2"})
    assert ("Al", "Bo") == (draft.fields["nickname"].value, part.fields["nickname"].value)


def test_the_later_evidence_of_an_equal_value_stands() -> None:
    """And the value keeps who vouched for it last."""
    mine = held("crm", "1", contact_preference=value("sms", 5, evidence=Evidence("patient", 100)))
    theirs = held("crm", "2", contact_preference=value("sms", 4, evidence=Evidence("patient", 200)))
    decision = merge(MATRIX, mine, theirs, MERGE, NONE)
    assert Evidence("patient", 200) == decision.state.fields["contact_preference"].evidence
    assert ["noop"] == [one.outcome for one in decision.merged]


def test_no_base_version_of_before_has_seen_a_value_after_the_merge() -> None:
    """Of either record: the same number meant something else in each."""
    mine = replace(held("crm", "1", nickname=value("Al", 5)), version=3)
    theirs = replace(held("crm", "2", contact_preference=value("sms", 5)), version=7)
    state = merge(MATRIX, mine, theirs, MERGE, NONE).state
    assert (8, {8}) == (state.version, {one.version for one in state.fields.values()})
