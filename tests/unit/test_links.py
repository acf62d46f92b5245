"""Whose a row is: late links, merges, doubts, splits, each through the decide lanes of several records."""

from typing import Final

import pytest
from msgspec.structs import replace

from links_kit import BORN, NAME, Lanes, contact, patient, says
from ownership_stream.model import Action, Ask, Change, Value
from ownership_stream.resolve import KIND_OF, edition
from step_kit import MINUTE, START, TOPICS, conflicts_in, on, resolutions_in

OTHER_DAY: Final = "1991-05-06"


def linked() -> Lanes:
    """A contact in care and its patient, linked from the beginning."""
    lanes = Lanes().tell(contact("003A", 0, op="c", care_stage="intake_done", legal_name=NAME))
    return lanes.tell(contact("003A", 1, care_stage="in_care"), patient("7", 2, "003A", op="c"))


def told(lanes: Lanes) -> list[str]:
    """How everything about identity ended, in its order."""
    return [one.outcome for one in resolutions_in(lanes.outputs) if one.field == ""]


def ends(lanes: Lanes, record: str) -> set[tuple[str, str, str]]:
    """(field, outcome, reason) of a record's conflicts."""
    return {(one.field, one.outcome, one.reason) for one in conflicts_in(lanes.outputs) if one.record == record}


# ------------------------------------------------------------------------------------------------------------- linking


def test_a_row_linked_from_its_beginning_is_the_contacts_at_once() -> None:
    """And its key's home keeps the mark."""
    lanes = Lanes().tell(contact("003A", 1, op="c"), patient("7", 2, "003A", op="c"))
    assert (BORN, "003A") == (lanes.current("003A", "date_of_birth"), lanes.identity("ehr:7").moved)
    assert {"ehr:7": "003A"} == lanes.links()
    assert ["003A", "003A", "ehr:7", "003A"] == [change.record for change in lanes.decided]
    assert {"row"} == {change.kind for change in lanes.decided}


def test_a_link_that_comes_late_takes_the_whole_history_along() -> None:
    """Before the row that brings it: that row is then compared with what it showed before."""
    born: dict[str, Value] = {"legal_name": NAME, "date_of_birth": BORN}
    lanes = Lanes().tell(contact("003A", 1, op="c"), patient("7", 2, op="c", sex="female", **born))
    assert "female" == lanes.current("ehr:7", "sex")
    lanes.tell(patient("7", 3, "003A", sex="female", **born))
    assert ("female", BORN) == (lanes.current("003A", "sex"), lanes.current("003A", "date_of_birth"))
    assert {} == lanes.cases("003A")
    assert "7" == lanes.known("003A").systems["ehr"].key
    assert ("003A", {}) == (lanes.identity("ehr:7").moved, lanes.known("ehr:7").fields)
    assert ["linked", "merged"] == told(lanes)
    assert [("003A", ("Birthdate", "Sex__c"))] == lanes.sent("crm")
    lanes.tell(patient("7", 4, "003A", sex="male"))
    assert "male" == lanes.current("003A", "sex")


def test_rows_that_come_while_the_home_is_asked_keep_their_order() -> None:
    """Each goes the long way until the one before it is back, so that none overtakes another."""
    lanes = Lanes().tell(contact("003A", 1, op="c"), patient("7", 2, op="c", sex="female"))
    values = ["male", "female", "intersex", "male"]
    lanes.tell(*(patient("7", 3 + number, "003A", sex=value) for number, value in enumerate(values)))
    applied = [one for one in lanes.counts.elements() if one[:3] == ("write_attempts", "sex", "applied")]
    assert 1 + len(values) == len(applied)
    assert ("male", {}) == (lanes.current("003A", "sex"), lanes.identity("003A").asked)
    assert not [one for one in lanes.counts if one[:2] == ("outcomes", "replay")]


def test_a_row_that_names_a_contact_that_was_merged_into_another_follows_it() -> None:
    """Through both marks."""
    lanes = linked().tell(contact("0039", 10, op="c"), says("link", "003A", "0039"))
    lanes.tell(patient("7", 20, "003A", sex="female"), patient("8", 21, "003A", legal_name=NAME, sex="male"))
    assert "female" == lanes.current("0039", "sex")
    assert "0039" == lanes.identity("003A").moved
    assert lanes.identity("0039").doubts.keys() == {"ehr:8"}


# ------------------------------------------------------------------------------------------------------------- doubts


def strangers() -> Lanes:
    """A contact and a patient born on different days, linked late."""
    lanes = Lanes().tell(contact("003A", 1, op="c", care_stage="in_care", legal_name=NAME, date_of_birth=OTHER_DAY))
    return lanes.tell(patient("7", 2, op="c"), patient("7", 3, "003A"))


def test_a_link_between_different_birth_dates_stops_both_records() -> None:
    """Nothing of one reaches the other, nothing is sent, and what is written waits."""
    lanes = strangers()
    assert ({"ehr:7": "birth date"}, {"003A": "birth date"}) == (
        lanes.identity("003A").doubts,
        lanes.identity("ehr:7").doubts,
    )
    assert ({":link": "link"}, "link") == (lanes.cases("003A"), lanes.cases("ehr:7")[":link"])
    lanes.tell(contact("003A", 4, email="a@example.org"), patient("7", 5, "003A", sex="female"))
    assert [] == lanes.sent("crm") + lanes.sent("ehr")
    assert ("email", "queued", "link") in ends(lanes, "003A")
    assert ("sex", "queued", "link") in ends(lanes, "ehr:7")
    assert None is lanes.current("003A", "date_of_birth")
    assert "ehr" not in lanes.known("003A").systems
    assert {"ehr:7": "ehr:7"} == lanes.links()


def test_a_person_confirms_and_both_go_on_as_one() -> None:
    """What waited is decided, and the EHR's birth date goes to the CRM."""
    lanes = strangers().tell(contact("003A", 4, email="a@example.org"), patient("7", 5, "003A", sex="female"))
    lanes.tell(says("confirm", "ehr:7", "003A"))
    assert (BORN, "female", "a@example.org") == tuple(
        lanes.current("003A", name) for name in ("date_of_birth", "sex", "email")
    )
    assert ({}, {}) == (lanes.cases("003A"), lanes.identity("003A").doubts)
    assert "003A" == lanes.identity("ehr:7").moved
    assert "confirmed" in told(lanes)
    assert {"dana"} == {one.actor for one in resolutions_in(lanes.outputs) if one.outcome in ("confirmed", "resolved")}


def test_a_person_unlinks_and_each_goes_on_by_itself() -> None:
    """Though the row still names the contact: it was asked about once, and not again."""
    lanes = strangers().tell(contact("003A", 4, email="a@example.org"))
    lanes.tell(
        says("unlink", "ehr:7"), patient("7", 6, "003A", sex="female"), contact("003A", 7, email="b@example.org")
    )
    assert ("female", "b@example.org") == (lanes.current("ehr:7", "sex"), lanes.current("003A", "email"))
    assert ({}, {}) == (lanes.identity("003A").doubts, lanes.identity("ehr:7").doubts)
    assert ":link" not in {**lanes.cases("003A"), **lanes.cases("ehr:7")}
    assert [] == lanes.sent("crm")


def test_a_contact_that_shows_another_birth_date_than_its_patient_stops_too() -> None:
    """Whichever of the two comes first."""
    lanes = Lanes().tell(patient("7", 1, "003A", op="c"))
    lanes.tell(contact("003A", 2, op="c", date_of_birth=OTHER_DAY, legal_name=NAME))
    assert {"ehr:7": "birth date"} == lanes.identity("003A").doubts
    assert ("date_of_birth", "queued", "link") in ends(lanes, "003A")
    lanes.tell(says("confirm", "ehr:7", "003A"))
    assert {} == lanes.identity("003A").doubts
    assert [("003A", ("Birthdate",))] == lanes.sent("crm")


def test_a_row_born_on_another_day_than_the_contact_is_not_taken_though_it_begins_linked() -> None:
    """It stays a record of its own."""
    lanes = Lanes().tell(contact("003A", 1, op="c", date_of_birth=OTHER_DAY))
    lanes.tell(patient("7", 2, "003A", op="c"))
    assert ("ehr" in lanes.known("003A").systems, "7") == (False, lanes.known("ehr:7").systems["ehr"].key)
    assert {"ehr:7": "birth date"} == lanes.identity("003A").doubts


def test_a_second_patient_that_names_the_same_contact_is_not_mixed_with_the_first() -> None:
    """Both stand still; unlinked, both go on."""
    lanes = linked().tell(patient("8", 10, "003A", op="c", date_of_birth=BORN, sex="male"))
    assert {"ehr:8": "second row"} == lanes.identity("003A").doubts
    assert (None, "7") == (lanes.current("003A", "sex"), lanes.known("003A").systems["ehr"].key)
    lanes.tell(patient("7", 11, "003A", sex="female"))
    assert ("sex", "queued", "link") in ends(lanes, "003A")
    lanes.tell(says("unlink", "ehr:8"))
    assert ("female", "male") == (lanes.current("003A", "sex"), lanes.current("ehr:8", "sex") or "male")
    assert {} == lanes.identity("003A").doubts


def test_a_changed_key_is_no_second_patient() -> None:
    """The connector says that the row goes on under another key."""
    lanes = linked()
    moved = patient("9", 10, "003A", sex="female")
    lanes.tell(Change(**{name: getattr(moved, name) for name in moved.__struct_fields__} | {"event": ("key",)}))
    assert ({}, "9", "003A") == (
        lanes.identity("003A").doubts,
        lanes.known("003A").systems["ehr"].key,
        lanes.identity("ehr:9").moved,
    )


# ------------------------------------------------------------------------------------------------------- changed links


def relinked() -> Lanes:
    """A patient of one contact whose row now names another."""
    lanes = linked().tell(contact("003B", 5, op="c", care_stage="new_lead", legal_name=NAME))
    return lanes.tell(patient("7", 10, "003B", sex="female", legal_name=NAME, date_of_birth=BORN))


def test_a_changed_link_stops_the_record_it_leaves_and_the_one_it_names() -> None:
    """The row stays where it was, and what it says waits there."""
    lanes = relinked()
    assert ({"ehr:7": "changed link"}, {"ehr:7": "changed link"}) == (
        lanes.identity("003A").doubts,
        lanes.identity("003B").doubts,
    )
    assert {"sex": "link", ":link": "link"} == lanes.cases("003A")
    assert ("ehr" in lanes.known("003B").systems, "003A") == (False, lanes.identity("ehr:7").moved)
    before = len(lanes.outputs)
    lanes.tell(patient("7", 11, "003B", sex="male"))
    assert {"003A"} == {one.record for one in conflicts_in(lanes.outputs[before:])}


def test_a_cleared_link_stops_the_record_it_leaves() -> None:
    """The row then names nobody."""
    lanes = linked().tell(patient("7", 10, sex="female"))
    assert {"ehr:7": "changed link"} == lanes.identity("003A").doubts
    assert None is lanes.current("003A", "sex")


def test_a_person_keeps_the_old_link_and_the_row_goes_on_there() -> None:
    """Also while it still names the other contact."""
    lanes = relinked().tell(says("confirm", "ehr:7", "003A"), patient("7", 12, "003B", sex="male"))
    assert ("male", {}, {}) == (
        lanes.current("003A", "sex"),
        lanes.identity("003A").doubts,
        lanes.identity("003B").doubts,
    )
    assert {} == lanes.cases("003A") | lanes.cases("003B")


def test_a_person_confirms_the_new_link_and_the_row_moves_with_what_came_from_it() -> None:
    """The contact it leaves loses what the row set, and keeps its own."""
    lanes = relinked().tell(says("confirm", "ehr:7", "003B"), patient("7", 12, "003B", sex="male"))
    assert ("male", BORN) == (lanes.current("003B", "sex"), lanes.current("003B", "date_of_birth"))
    assert (None, NAME) == (lanes.current("003A", "sex"), lanes.current("003A", "legal_name"))
    assert ("003B", {}, {}) == (
        lanes.identity("ehr:7").moved,
        lanes.identity("003A").doubts,
        lanes.identity("003B").doubts,
    )
    assert "ehr" not in lanes.known("003A").systems
    assert {"ehr:7": "003B"} == lanes.links()


# ------------------------------------------------------------------------------------------------- merges by a person


def two_contacts(*changes: Change) -> Lanes:
    """Two contacts of one person, of which each knows something."""
    lanes = Lanes().tell(
        contact("003A", 1, op="c", care_stage="new_lead", legal_name=NAME, email="a@example.org"),
        contact("003B", 2, op="c", care_stage="new_lead", legal_name=NAME, phone="+12025550100"),
    )
    return lanes.tell(*changes)


def test_a_merge_goes_to_the_smaller_record_whichever_is_named_first() -> None:
    """One total order, so that two people who merge the same two at once do the same."""
    one, other = two_contacts(says("link", "003B", "003A")), two_contacts(says("link", "003A", "003B"))
    for lanes in (one, other):
        assert ("003A", "+12025550100") == (lanes.identity("003B").moved, lanes.current("003A", "phone"))
        assert {"003B": "003A"} == lanes.links()
    both = two_contacts(says("link", "003A", "003B"), says("link", "003B", "003A", 901))
    assert ("003A", "") == (both.identity("003B").moved, both.identity("003A").moved)


def test_the_merged_contacts_own_row_speaks_for_nobody() -> None:
    """What it shows else than current waits for a person; current stays, and its deletion ends it."""
    lanes = two_contacts(says("link", "003B", "003A"), contact("003B", 5, phone="+12025550100", email="b@example.org"))
    assert ("a@example.org", "003A") == (lanes.current("003A", "email"), lanes.known("003A").systems["crm"].key)
    assert ("email", "queued", "link") in ends(lanes, "003A")
    lanes.tell(contact("003B", 6, op="d"))
    assert (True, False) == (
        lanes.known("003A").systems["crm"].present,
        lanes.identity("003A").silent["crm/003B"].seat.present,
    )


def test_a_merged_contact_that_was_deleted_and_comes_back_speaks_for_nobody_while_the_other_does() -> None:
    """And for the record once no other is left."""
    lanes = Lanes().tell(contact("003A", 1, op="c"), contact("003B", 2, op="c"), contact("003B", 3, op="d"))
    lanes.tell(says("link", "003B", "003A"), contact("003B", 10, op="c", email="b@example.org"))
    assert (None, "003A") == (lanes.current("003A", "email"), lanes.known("003A").systems["crm"].key)
    assert {"email": "merged"} == lanes.cases("003A")
    lanes.tell(contact("003B", 11, op="d"), contact("003A", 12, op="d"))
    lanes.tell(contact("003B", 13, op="c", email="c@example.org"))
    assert ("c@example.org", "003B") == (lanes.current("003A", "email"), lanes.known("003A").systems["crm"].key)
    lanes.tell(contact("003A", 14, op="c", email="a@example.org"))
    assert ("c@example.org", "003B") == (lanes.current("003A", "email"), lanes.known("003A").systems["crm"].key)


def test_critical_values_that_differ_are_queued_and_none_is_taken() -> None:
    """A person sets the right one, and the case ends."""
    roe: Value = {"family": "Roe", "given": "Ann"}
    lanes = two_contacts(contact("003B", 3, legal_name=roe), says("link", "003B", "003A"))
    assert (NAME, "merged") == (lanes.current("003A", "legal_name"), lanes.cases("003A")["legal_name"])
    assert "merged: queued" in [one.outcome for one in resolutions_in(lanes.outputs)]
    lanes.tell(contact("003A", 9, legal_name=roe))
    assert (roe, {}) == (lanes.current("003A", "legal_name"), lanes.cases("003A"))


def test_unlinking_a_merged_contact_gives_each_what_its_row_showed() -> None:
    """Both rows speak for themselves again."""
    lanes = two_contacts(says("link", "003B", "003A"), contact("003B", 5, nickname="x", phone="+12025550101"))
    lanes.tell(
        says("unlink", "003B"), contact("003B", 6, phone="+12025550102"), contact("003A", 7, email="c@example.org")
    )
    assert ("+12025550102", "c@example.org") == (lanes.current("003B", "phone"), lanes.current("003A", "email"))
    assert ("", {}) == (lanes.identity("003B").moved, lanes.identity("003A").silent)


def test_unlinking_a_patient_leaves_nothing_of_it_current_and_has_what_was_sent_checked() -> None:
    """The CRM still shows the birth date that came from the other chart: a person looks at it."""
    lanes = linked().tell(contact("003A", 5, date_of_birth=BORN))
    lanes.tell(says("unlink", "ehr:7"))
    assert (None, "split") == (lanes.current("003A", "date_of_birth"), lanes.cases("003A")["date_of_birth"])
    assert (BORN, NAME) == (lanes.current("ehr:7", "date_of_birth"), lanes.current("003A", "legal_name"))
    assert "" == lanes.identity("ehr:7").moved


# -------------------------------------------------------------------------------------------------- what follows a mark


def test_time_does_nothing_to_a_record_that_moved_and_a_pause_follows_it() -> None:
    """A tick written before the merge may come after it."""
    lanes = two_contacts(says("link", "003B", "003A"))
    before = lanes.stored["003B"]
    lanes.tell(Change(id="t", record="003B", kind="tick", at=START), Change(id="p", record="003B", kind="pause"))
    assert (before, True) == (lanes.stored["003B"], lanes.known("003A").paused)


def test_a_change_that_goes_in_circles_is_queued() -> None:
    """Marks cannot lead in a circle; should they ever, nothing is taken and a person is told."""
    lost = patient("7", 5, "003A", sex="female")
    values = {name: getattr(lost, name) for name in lost.__struct_fields__} | {"hops": 9}
    lanes = Lanes().tell(contact("003A", 1, op="c"), Change(**values))
    assert ("sex", "queued", "link") in ends(lanes, "003A")
    assert {"ehr:7": "cycle"} == lanes.identity("003A").doubts
    assert None is lanes.current("003A", "sex")


def test_a_link_carries_the_headers_and_the_trace_of_the_row_that_brought_it() -> None:
    """As everything does that follows from an event."""
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    row = replace(patient("7", 2, "003A", op="c"), trace=trace)
    lanes = Lanes().tell(contact("003A", 1, op="c"), row)
    [link] = on(lanes.outputs, TOPICS.links)
    headers = dict(link.headers)
    assert (b"ownership.link.v1", b"1.0", b"ehr:7") == (
        headers["ce_type"], headers["ce_specversion"], headers["ce_subject"],
    )  # fmt: skip
    assert f"{row.id}:ehr:7:linked".encode() == headers["ce_id"]
    assert trace["traceparent"].encode() == headers["traceparent"]
    assert b"ehr:7" == link.key


def test_a_merge_that_is_delivered_twice_is_taken_once() -> None:
    """The second finds the first."""
    lanes = two_contacts(says("link", "003B", "003A"))
    merge = next(change for change in lanes.decided if change.kind == "merge")
    before = lanes.stored["003A"]
    lanes.tell(merge)
    assert before == lanes.stored["003A"]


# ----------------------------------------------------------------------------------------- what people say in the queue


def alike(*others: str) -> Lanes:
    """A contact that is probably one of these, which came before it, and has said so in a case of its own."""
    lanes = Lanes().tell(*(contact(other, number, op="c") for number, other in enumerate(others, 1)))
    lanes.tell(contact("003X", 50, op="c", email="x@example.org"))
    lanes.tell(*(matching("003X", other, 51 + number) for number, other in enumerate(others)))
    assert {":duplicate": "duplicate"} == lanes.cases("003X")
    return lanes


def matching(record: str, other: str, number: int) -> Change:
    """What the match lane tells a record."""
    at = START + number * MINUTE
    return Change(id=f"m{number}", record=record, kind="match", system="crm", about="email", other=other, at=at)


def asks(lanes: Lanes, record: str, action: Action, to: str = "", *, role: str = "", number: int = 700) -> Change:
    """A person's ask of a probable match, as it stands; by the case's owner unless another role is named."""
    state = lanes.known(record)
    case = state.cases[":duplicate"]
    ask = Ask(case=case.id, action=action, edition=edition(state, case), to=to)
    return Change(
        id=f"ask-{number}", record=record, kind=KIND_OF[action], at=START + number * MINUTE, actor="dana",
        role=role or case.owner, origin="person", reason="looked at both", ask=ask,
    )  # fmt: skip


def answers(lanes: Lanes) -> list[tuple[str, str]]:
    """How what people asked was answered."""
    return [(one.outcome, one.answer) for one in resolutions_in(lanes.outputs) if one.action]


@pytest.mark.parametrize("other", ["0039", "003Z"], ids=["before it", "after it"])
def test_a_person_links_a_probable_duplicate_from_its_case(other: str) -> None:
    """The same word as `records link`, said to the other record; the merge ends the case, on whichever side it is."""
    lanes = alike(other)
    lanes.tell(asks(lanes, "003X", "link"))
    small, great = sorted((other, "003X"))
    assert (small, "x@example.org") == (lanes.identity(great).moved, lanes.current(small, "email"))
    assert [("linked", "duplicate")] == answers(lanes)
    assert {} == lanes.cases(small)
    [link] = [change for change in lanes.decided if change.kind == "link" and change.record == other]
    assert ("003X", "dana", "person", "looked at both") == (link.other, link.actor, link.origin, link.reason)
    ended = [one for one in resolutions_in(lanes.outputs) if one.outcome == "resolved"]
    assert [("duplicate", "dana")] == [(one.reason, one.actor) for one in ended]


def test_a_probable_duplicate_born_on_another_day_is_linked_only_once_it_is_confirmed() -> None:
    """The person's word meets what speaks against it: both stand still, as after `records link`."""
    lanes = Lanes().tell(contact("0039", 1, op="c"), patient("7", 2, "0039", op="c"))
    lanes.tell(contact("003X", 50, op="c", date_of_birth=OTHER_DAY, legal_name=NAME), matching("003X", "0039", 51))
    lanes.tell(asks(lanes, "003X", "link"))
    assert {"003X": "birth date"} == lanes.identity("0039").doubts
    assert ("link", "link") == (lanes.cases("003X")[":link"], lanes.cases("0039")[":link"])
    lanes.tell(says("confirm", "003X", "0039"))
    assert ("0039", {}) == (lanes.identity("003X").moved, lanes.identity("0039").doubts)


def test_of_several_that_wait_in_a_case_the_person_names_one_and_the_others_wait_on() -> None:
    """And nobody is linked to who does not wait there."""
    lanes = alike("0038", "0039")
    lanes.tell(asks(lanes, "003X", "link"), asks(lanes, "003X", "link", "003Q", number=701))
    assert [("refused", "not_named")] * 2 == answers(lanes)
    assert "" == lanes.identity("003X").moved
    lanes.tell(asks(lanes, "003X", "link", "0039", number=702))
    assert ("linked", "duplicate") == answers(lanes)[-1]
    assert "0039" == lanes.identity("003X").moved
    [waiting] = lanes.known("0039").cases[":duplicate"].proposals
    assert ({":duplicate": "duplicate"}, "0038") == (lanes.cases("0039"), waiting.value)


def test_a_link_from_a_case_is_its_owners_to_say() -> None:
    """As every resolution."""
    lanes = alike("0039")
    lanes.tell(asks(lanes, "003X", "link", role="nurse"))
    assert [("refused", "not_the_owner")] == answers(lanes)
    assert not [change for change in lanes.decided if change.kind == "link"]


def test_who_was_said_to_be_no_duplicate_is_not_asked_of_again() -> None:
    """Not from the other side either; of a third record it is."""
    lanes = alike("0039")
    lanes.tell(asks(lanes, "003X", "dismiss"))
    assert [("dismissed", "duplicate")] == answers(lanes)
    lanes.tell(matching("003X", "0039", 800), matching("0039", "003X", 801))
    assert ({}, {}) == (lanes.cases("003X"), lanes.cases("0039"))
    lanes.tell(matching("003X", "0038", 802))
    assert {":duplicate": "duplicate"} == lanes.cases("003X")


def test_who_was_said_to_be_another_stays_so_through_a_merge_and_may_be_linked_by_a_row() -> None:
    """What was said of a match says nothing about a link that somebody makes in a system."""
    lanes = Lanes().tell(contact("003A", 1, op="c"), patient("7", 2, op="c"), matching("ehr:7", "003A", 3))
    lanes.tell(asks(lanes, "ehr:7", "dismiss"))
    lanes.tell(says("link", "003A", "0031"))
    lanes.tell(matching("0031", "ehr:7", 10))
    assert {} == lanes.cases("0031")
    lanes.tell(patient("7", 11, "003A"))
    assert "003A" == lanes.identity("ehr:7").moved


def test_a_match_with_what_is_the_same_record_by_now_is_nothing() -> None:
    """The match lane knows of no links."""
    lanes = linked().tell(contact("003B", 10, op="c"), says("link", "003B", "003A"))
    lanes.tell(matching("003B", "003A", 20), matching("003A", "003B", 21))
    assert ":duplicate" not in lanes.cases("003A") | lanes.cases("003B")


def test_what_is_asked_of_a_case_follows_the_record_that_moved() -> None:
    """Its cases went with it: there it is answered, as it stands there."""
    lanes = linked().tell(contact("003B", 10, op="c"), matching("003B", "003C", 11))
    ask = asks(lanes, "003B", "dismiss")
    lanes.tell(says("link", "003B", "003A"), ask)
    assert ":duplicate" in lanes.cases("003A")
    assert ["003B", "003A"] == [change.record for change in lanes.decided if change.kind == "resolve"]
    assert 1 == len(answers(lanes))
