"""Step 4: a writer of ours that crashed writes again what it had not noted, over what somebody typed since."""

import pytest

from deciding import Record, both, ends, having, sent, set_by_owner
from matrices import patient
from ownership_stream.model import Decision, Value

MATRIX = patient()
LATE = [("email", "echo", "late")]


def mark(record: Record, system: str = "ehr") -> str:
    """The mark that the system's row bears now."""
    found = record.system(system).rows[f"{system}/patient/1"].marker
    assert found is not None
    return found


def written_over() -> tuple[Record, str]:
    """The CRM's address has landed in the EHR, where a nurse writes another one since; and the mark of that landing.

    Saving the row takes the mark away.
    """
    record = both(MATRIX, email="crm@x.org")
    landed = mark(record)
    decision = record.row("ehr", {"email": "nurse@x.org"}, by="nurse")
    assert [("email", "applied", "")] == ends(decision)
    record.lands(decision, "crm")
    return record, landed


def repeated(record: Record, marker: str, value: Value = "crm@x.org", **said: object) -> Decision:
    """The sink writes it again: the column and the mark, and nothing else of the row."""
    return record.row("ehr", {"email": value}, marker=marker, **said)  # type: ignore[arg-type]


def test_what_somebody_typed_since_is_current_and_is_written_once_more() -> None:
    """It was taken for the edit of an automation, and both systems then showed the older value."""
    record, landed = written_over()
    decision = repeated(record, landed)
    assert LATE == ends(decision)
    assert "nurse@x.org" == record.current("email")
    assert {"ehr": ("restore", {"email": "nurse@x.org"})} == sent(decision)
    assert [("email", "echo", "")] == ends(record.lands(decision, "ehr"))
    assert {} == record.cases()


def test_so_it_is_in_the_owner_s_own_system() -> None:
    """What we had restored there, and its owner has corrected since."""
    record = both(MATRIX, date_of_birth="1980-01-02")
    set_by_owner(record, "date_of_birth", "1980-01-03")
    decision = record.row("ehr", {"date_of_birth": "1980-01-02"}, marker="a mark of before")
    assert [("date_of_birth", "echo", "late")] == ends(decision)
    assert ("restore", {"date_of_birth": "1980-01-03"}) == sent(decision)["ehr"]
    assert "1980-01-03" == record.current("date_of_birth")


def test_each_of_several_repeats_is_one() -> None:
    """The marks move back, and then forward again."""
    record = both(MATRIX, email="one@x.org")
    marks = [mark(record)]
    set_by_owner(record, "email", "two@x.org")
    marks.append(mark(record))
    decision = record.row("ehr", {"email": "nurse@x.org"}, by="nurse", marker=marks[1])
    record.lands(decision, "crm")
    for marker, value in zip(marks, ("one@x.org", "two@x.org"), strict=True):
        assert LATE == ends(repeated(record, marker, value))
    assert "nurse@x.org" == record.current("email")


def test_a_person_s_save_beside_the_mark_is_theirs() -> None:
    """A connector told both as one change."""
    record, landed = written_over()
    assert [("email", "applied", "")] == ends(repeated(record, landed, "other@x.org", by="nurse"))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"op": "r"}, id="a snapshot says what is there"),
        pytest.param({"row": "ehr/patient/2"}, id="a row that nobody has seen before"),
        pytest.param({"op": "c"}, id="a row that is made"),
    ],
)
def test_a_mark_says_nothing_where_the_row_was_not_seen_to_change(said: dict[str, object]) -> None:
    """A mark can come with a copy of a row."""
    record, landed = written_over()
    assert LATE != ends(repeated(record, landed, **said))


def test_a_mark_that_has_not_moved_says_nothing() -> None:
    """An automation's edit leaves the mark where it is: without a trigger a repeat of the last write looks the same."""
    record = both(MATRIX, email="crm@x.org")
    landed = mark(record)
    record.row("ehr", {"email": "nurse@x.org"}, by="nurse", marker=landed)
    assert [("email", "applied", "")] == ends(repeated(record, landed))


def test_beside_our_landing_another_column_is_somebody_s_edit() -> None:
    """The mark is under way, if by another field."""
    record = both(MATRIX, email="a@x.org", preferred_name="Ann")
    record.row("crm", {"email": "b@x.org"}, by="person")
    waiting = record.system("ehr").outstanding["email"][-1].change_id
    decision = record.row("ehr", {"email": "b@x.org", "preferred_name": "Nan"}, marker=waiting)
    assert {("email", "echo", ""), ("preferred_name", "applied", "")} == set(ends(decision))


def test_what_is_left_where_it_is_refused_is_put_right_all_the_same() -> None:
    """Nobody wrote it."""
    record = both(having(MATRIX, "email", restore=False), email="crm@x.org")
    landed = mark(record)
    record.row("ehr", {"email": "nurse@x.org"}, by="nurse")
    assert {"ehr": ("restore", {"email": "nurse@x.org"})} == sent(repeated(record, landed))


def test_while_the_system_is_paused_it_waits_for_the_resume() -> None:
    """Nothing is queued by it."""
    record, landed = written_over()
    record.control("pause", "ehr")
    decision = repeated(record, landed)
    assert (LATE, {}) == (ends(decision), sent(decision))
    assert {"ehr": ("change", {"email": "nurse@x.org"})} == sent(record.control("resume", "ehr"))


def test_a_sink_that_never_stops_becomes_a_case() -> None:
    """Each time it is put right counts for the loop guard."""
    record, landed = written_over()
    for number in range(4):
        decision = repeated(record, landed if number % 2 else "another mark of before")
        if number < 3:
            record.lands(decision, "ehr")
    assert {"email": "oscillation"} == record.cases()
