"""What is the matter with records while they are linked, merged and split; and rows whose primary row nobody saw."""

from typing import Any

from msgspec.structs import replace

from links_kit import NAME, Lanes, contact, patient, says
from ownership_stream.model import Change
from step_kit import MINUTE, START, conflicts_in

# ------------------------------------------------------------------------------------------ cases of a record itself


def gap(key: str, number: int, record: str = "") -> Change:
    """A contact's row changed, and nobody says what it shows now."""
    return Change(
        id=f"gap-{key}-{number}", record=record or key, kind="reread", system="crm", key=key, row=f"crm/patient/{key}",
        position=(number,), at=START + number * MINUTE,
    )  # fmt: skip


def two_contacts(*changes: Change) -> Lanes:
    """Two contacts of one person, the first of whom a patient names."""
    lanes = Lanes().tell(contact("003A", 1, op="c", care_stage="new_lead", legal_name=NAME))
    lanes.tell(contact("003B", 2, op="c", care_stage="new_lead"), patient("7", 3, "003A", op="c"))
    return lanes.tell(*changes)


def own(lanes: Lanes, record: str) -> set[str]:
    """The cases that a record itself has."""
    return {name for name in lanes.cases(record) if name.startswith(":")}


def test_a_doubt_takes_no_other_case_of_the_record_with_it() -> None:
    """What was the matter before is so while the record stands still, and after."""
    lanes = two_contacts(gap("003A", 5), patient("7", 6, "003B"))
    assert {":reread:crm/patient/003A", ":link"} == own(lanes, "003A")
    lanes.tell(says("confirm", "ehr:7", "003A"))
    assert {":reread:crm/patient/003A"} == own(lanes, "003A")


def test_the_cases_of_both_records_stand_side_by_side_after_a_merge_and_each_ends_by_itself() -> None:
    """Each with its id and its deadline; they go back with the rows they are about."""
    lanes = two_contacts(gap("003A", 5), gap("003B", 6))
    before = {**lanes.known("003A").cases, **lanes.known("003B").cases}
    lanes.tell(says("link", "003B", "003A"))
    assert before == {name: lanes.known("003A").cases[name] for name in own(lanes, "003A")}
    split = two_contacts(gap("003A", 5), gap("003B", 6), says("link", "003B", "003A"))
    split.tell(says("unlink", "003B"))
    assert ({":reread:crm/patient/003A"}, {":reread:crm/patient/003B"}) == (own(split, "003A"), own(split, "003B"))
    lanes.tell(contact("003A", 10, op="r"))
    assert {":reread:crm/patient/003B"} == own(lanes, "003A")


def test_a_row_that_speaks_for_nobody_is_read_again_as_any() -> None:
    """It may be said by the row's home or where the home's mark leads; a repeat of it opens nothing."""
    lanes = two_contacts(says("link", "003B", "003A"), gap("003B", 10))
    assert {":reread:crm/patient/003B"} == own(lanes, "003A")
    assert "crm/patient/003B" not in lanes.known("003A").systems["crm"].rows
    lanes.tell(contact("003B", 11, op="r"))
    assert set() == own(lanes, "003A")
    lanes.tell(gap("003B", 10))
    assert set() == own(lanes, "003A")


def test_who_was_deleted_in_one_system_is_there_again_by_a_merge() -> None:
    """The case ends if the other record has it there, and only that one."""
    lanes = two_contacts(contact("003A", 5, op="d"), patient("7", 6, op="d"))
    assert {":absent:crm"} < own(lanes, "003A") | {":absent:ehr"}
    lanes.tell(says("link", "003B", "003A"))
    assert ":absent:crm" not in own(lanes, "003A")
    assert lanes.known("003A").systems["crm"].present


def test_what_is_absent_goes_with_the_system_that_lost_it() -> None:
    """A split gives it back."""
    lanes = Lanes().tell(contact("003A", 1, op="c", care_stage="new_lead", legal_name=NAME), patient("7", 2, op="c"))
    lanes.tell(patient("7", 3, sex="female"), patient("7", 4, op="d"))
    case = lanes.known("ehr:7").cases[":absent:ehr"]
    lanes.tell(says("link", "ehr:7", "003A"))
    assert case == lanes.known("003A").cases[":absent:ehr"]
    lanes.tell(says("unlink", "ehr:7"))
    assert (set(), case) == (own(lanes, "003A"), lanes.known("ehr:7").cases[":absent:ehr"])
    told = [one for one in conflicts_in(lanes.outputs) if one.case_id == case.id]
    assert ["ehr:7", "003A", "ehr:7"] == [one.record for one in told]


def matching(record: str, other: str, number: int) -> Change:
    """What the match lane tells a record."""
    at = START + number * MINUTE
    return Change(id=f"m{number}", record=record, kind="match", system="crm", about="email", other=other, at=at)


def waiting(lanes: Lanes, record: str) -> list[object]:
    """Who waits in the case of a probable repeat."""
    return [one.value for one in lanes.known(record).cases[":duplicate"].proposals]


def test_probable_repeats_of_both_records_wait_in_one_case_each_once() -> None:
    """Without those who are the record itself by now."""
    lanes = two_contacts(matching("003A", "003B", 5), matching("003A", "003C", 6), matching("003B", "003C", 7))
    lanes.tell(matching("003B", "003D", 8))
    lanes.tell(says("link", "003B", "003A"))
    assert ["003C", "003D"] == waiting(lanes, "003A")
    alone = two_contacts(matching("003A", "003B", 5), matching("003A", "003C", 6), says("link", "003B", "003A"))
    assert ["003C"] == waiting(alone, "003A")


def test_a_system_that_is_paused_stays_so_when_another_row_speaks_there() -> None:
    """The pause is the record's."""
    lanes = two_contacts(says("link", "003B", "003A"), contact("003B", 5, op="d"), contact("003A", 6, op="d"))
    lanes.tell(Change(id="p", record="003A", kind="pause", system="crm", at=START + 7 * MINUTE, actor="dana"))
    lanes.tell(contact("003B", 8, op="c", email="b@example.org"))
    assert ("003B", True) == (lanes.known("003A").systems["crm"].key, lanes.known("003A").systems["crm"].paused)


# ------------------------------------------------------------------------------------- rows without their primary row


def visit(key: str, number: int, record: str = "", **fields: Any) -> Change:
    """A row of another table of the EHR, which says by whose key it is."""
    change = patient(key, number, record or None, **fields)
    return replace(change, id=f"visit-{key}-{number}", row=f"ehr/visit/{key}", primary=False)


def charts(*changes: Change) -> Lanes:
    """Two charts of which only a visit each was seen, and a contact."""
    lanes = Lanes().tell(contact("003A", 1, op="c", care_stage="new_lead", legal_name=NAME))
    return lanes.tell(visit("7", 2, sex="female"), visit("8", 3, weight=70.5), *changes)


def test_rows_whose_primary_row_nobody_saw_go_back_by_a_split() -> None:
    """They are told apart by the key that they say, as all rows are."""
    lanes = charts(says("link", "ehr:7", "003A"))
    assert ("female", "7") == (lanes.current("003A", "sex"), lanes.known("003A").systems["ehr"].key)
    assert not lanes.known("003A").systems["ehr"].present
    lanes.tell(says("unlink", "ehr:7"))
    assert (None, "female") == (lanes.current("003A", "sex"), lanes.current("ehr:7", "sex"))
    assert ("7", False) == (lanes.known("ehr:7").systems["ehr"].key, "ehr" in lanes.known("003A").systems)


def test_of_two_such_charts_one_speaks_and_both_go_back() -> None:
    """What the other one says waits for a person, and never is taken for the first one's."""
    lanes = charts(says("link", "ehr:7", "003A"), says("link", "ehr:8", "003A"))
    lanes.tell(visit("8", 10, weight=71.5, sex="male"), visit("7", 11, sex="other"))
    assert ("other", 70.5) == (lanes.current("003A", "sex"), lanes.current("003A", "weight"))
    assert "ehr/visit/8" not in lanes.known("003A").systems["ehr"].rows
    lanes.tell(says("unlink", "ehr:8"), says("unlink", "ehr:7"))
    assert (("other", None), (None, 70.5)) == (
        (lanes.current("ehr:7", "sex"), lanes.current("ehr:7", "weight")),
        (lanes.current("ehr:8", "sex"), lanes.current("ehr:8", "weight")),
    )
    assert {} == lanes.identity("003A").silent


def test_a_primary_row_speaks_where_only_other_rows_were_seen() -> None:
    """Also where those of another chart came first."""
    lanes = charts(says("link", "ehr:7", "003A"), says("link", "ehr:8", "003A"), patient("8", 10, sex="male"))
    assert ("8", True) == (lanes.known("003A").systems["ehr"].key, lanes.known("003A").systems["ehr"].present)
    assert {"ehr/7"} == lanes.identity("003A").silent.keys()
