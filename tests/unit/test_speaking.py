"""Of several rows of one table one speaks for the record: the latest that stands; in doubt a person is asked."""

from typing import Any

import pytest
from msgspec.structs import replace

from deciding import MINUTE, START, Record, both
from ownership_stream import speaking
from ownership_stream.model import Decision, Evidence, Value
from ownership_stream.steps import packed, unpack
from ownership_stream.store import DUE_BYTES
from ownership_stream.wire import pack_state, unpack_state
from source_kit import MATRIX

AMONG = "ehr/public.medication"
METFORMIN: dict[str, Any] = {"drug": "metformin", "dose": "500 mg", "schedule": "daily", "status": "active"}
INSULIN: dict[str, Any] = {"drug": "insulin", "dose": "10 u", "schedule": "daily", "status": "active"}
STATIN: dict[str, Any] = {"drug": "statin", "dose": "20 mg", "schedule": "daily", "status": "active"}


def medication(
    record: Record, row: int, rank: int | None, plan: Value = None, *, by: str | None = "provider", **said: Any
) -> Decision:
    """An event of one of the patient's medications; without a rank it does not stand."""
    fields = {} if said.get("op") == "d" else {"medication_plan": plan}
    found = None if rank is None else (rank,)
    return record.row(
        "ehr", fields, by=by, row=f"{AMONG}/{row}", primary=False, among=AMONG, rank=found, **said
    )  # fmt: skip


def ended(decision: Decision) -> list[str]:
    """How each field ended that did not stay as it was."""
    return [f"{one.outcome} {one.reason}".strip() for one in decision.outcomes]


@pytest.fixture
def patient() -> Record:
    """A patient in both systems, with one medication since day 1."""
    record = both(MATRIX, care_stage="in_care")
    assert ["applied"] == ended(medication(record, 1, 10, METFORMIN))
    return record


def test_the_latest_row_speaks_and_a_change_of_it_is_a_change_of_the_field(patient: Record) -> None:
    """Another row speaks from the moment it is later; what an older row says is nobody's matter."""
    assert ["applied"] == ended(medication(patient, 2, 20, INSULIN))
    assert INSULIN == patient.current("medication_plan")
    silent = medication(patient, 3, 15, STATIN)
    assert ([], 1, ()) == (ended(silent), silent.noops, silent.sends)
    assert ["applied"] == ended(medication(patient, 2, 20, INSULIN | {"dose": "12 u"}))
    assert ["applied"] == ended(medication(patient, 3, 30, STATIN)), "a row that becomes the latest speaks"
    assert STATIN == patient.current("medication_plan")


@pytest.mark.parametrize("how", ["filtered out", "deleted", "moved down"])
def test_when_the_speaking_row_goes_the_next_one_speaks(patient: Record, how: str) -> None:
    """With the values that it had shown before, in the name of whoever took the other one away."""
    medication(patient, 2, 20, INSULIN)
    if how == "deleted":
        decision = medication(patient, 2, None, op="d", by=None)
    else:
        rank = None if how == "filtered out" else 5
        decision = medication(patient, 2, rank, INSULIN | {"status": "stopped"})
    shown = patient.system("ehr").shown["medication_plan"]

    assert METFORMIN == shown
    if how == "deleted":
        # Nobody says who deleted a row, and only a provider may change the plan: a person looks.
        assert ["rejected owner_policy"] == ended(decision)
        assert {"medication_plan": "unattested"} == patient.cases()
        assert INSULIN == patient.current("medication_plan")
    else:
        assert ["applied"] == ended(decision)
        assert METFORMIN == patient.current("medication_plan")
        assert [{"drug": "metformin", "status": "active"}] == [
            {part: value for part, value in send.values["medication_plan"].items() if value}  # type: ignore[union-attr]
            for send in decision.sends
        ]


def test_when_no_row_stands_the_field_is_cleared_as_by_any_write(patient: Record) -> None:
    """A provider who ends the last medication clears the plan; a delete by nobody known does not."""
    deleted = both(MATRIX, care_stage="in_care")
    medication(deleted, 1, 10, METFORMIN)

    assert ["applied"] == ended(medication(patient, 1, None, METFORMIN | {"status": "stopped"}))
    assert patient.current("medication_plan") is None
    assert ["rejected owner_policy"] == ended(medication(deleted, 1, None, op="d", by=None))
    assert METFORMIN == deleted.current("medication_plan")
    again = medication(patient, 1, None, METFORMIN | {"status": "stopped", "dose": "1 g"})
    assert ([], 1) == (ended(again), again.noops), "and nothing is said twice"


def test_rows_that_stand_equal_and_differ_are_a_person_s_matter(patient: Record) -> None:
    """No guess: what was current stays, nobody is sent anything, and the case ends when it is clear again."""
    medication(patient, 2, 20, INSULIN)
    tied = medication(patient, 3, 20, STATIN)

    assert (["queued speaker"], ()) == (ended(tied), tied.sends)
    assert ({"medication_plan": "speaker"}, INSULIN) == (patient.cases(), patient.current("medication_plan"))
    assert INSULIN == patient.system("ehr").shown["medication_plan"]
    repeat = medication(patient, 3, 20, STATIN | {"dose": "40 mg"})
    assert [True] == [one.joined for one in repeat.outcomes]
    assert [] == ended(medication(patient, 4, 15, METFORMIN)), "a row below them changes nothing of it"
    patient.tick(60 * 24 * 30)
    assert "speaker" == patient.cases()["medication_plan"], "agreement of the systems does not settle it"
    resolved = medication(patient, 3, 25, STATIN)
    assert ["applied"] == ended(resolved)
    assert ["converged"] == [one.event for one in resolved.cases]
    assert {} == patient.cases()


def test_a_tie_that_ends_with_the_same_speaker_changes_nothing(patient: Record) -> None:
    """The one that spoke speaks on."""
    medication(patient, 2, 10, INSULIN)
    assert {"medication_plan": "speaker"} == patient.cases()
    ending = medication(patient, 2, None, op="d", by=None)

    assert ([], ()) == (ended(ending), ending.sends)
    assert ({}, METFORMIN) == (patient.cases(), patient.current("medication_plan"))


def test_what_the_speaker_said_during_a_tie_counts_when_it_ends(patient: Record) -> None:
    """It was held, not lost."""
    medication(patient, 2, 10, INSULIN)
    held = medication(patient, 1, 10, METFORMIN | {"dose": "1 g"})
    assert (["queued speaker"], METFORMIN) == (ended(held), patient.current("medication_plan"))
    medication(patient, 2, None, INSULIN)

    assert METFORMIN | {"dose": "1 g"} == patient.current("medication_plan")


def test_rows_that_stand_equal_and_say_the_same_are_no_tie(patient: Record) -> None:
    """Two rows of one prescription."""
    twin = medication(patient, 2, 10, METFORMIN)

    assert ([], {}) == (ended(twin), patient.cases())


def test_a_tie_that_a_removed_row_leaves_behind_is_asked_about(patient: Record) -> None:
    """The row that spoke goes, and two others are left that stand equal."""
    medication(patient, 2, 5, INSULIN)
    medication(patient, 3, 5, STATIN)
    gone = medication(patient, 1, None, METFORMIN | {"status": "stopped"})

    assert ([], 1) == (ended(gone), gone.noops)
    assert {"medication_plan": "speaker"} == patient.cases()


def test_a_repeat_is_a_replay_whether_the_row_speaks_or_not(patient: Record) -> None:
    """Each row has its own order; a repeated event of a row that was filtered out meanwhile does not revive it."""
    medication(patient, 2, 20, INSULIN, position=(200,))
    medication(patient, 2, None, INSULIN, position=(201,))
    before = patient.state

    assert ["replay"] == ended(medication(patient, 2, 20, INSULIN, position=(200,)))
    assert before == patient.state
    assert METFORMIN == patient.current("medication_plan")


def test_parts_that_an_event_does_not_carry_are_the_row_s_own(patient: Record) -> None:
    """Never those of the row that spoke before."""
    medication(patient, 2, 5, INSULIN)
    medication(patient, 2, 20, {"dose": "12 u"})

    assert INSULIN | {"dose": "12 u"} == patient.current("medication_plan")


def test_a_field_that_the_new_speaker_never_carried_stays() -> None:
    """Not carried is not changed, for several rows too."""
    record = both(MATRIX, care_stage="in_care")
    first: dict[str, Value] = {"risk_flag": "low", "lab_status": "none"}
    for row, rank, fields in ((1, 1, first), (2, 2, {"risk_flag": "high"})):
        said: dict[str, Any] = {"row": f"{AMONG}/{row}", "primary": False, "among": AMONG, "rank": (rank,)}
        record.row("ehr", fields, by="provider", reason=f"seen {rank}", **said)

    assert ("high", "none") == (record.current("risk_flag"), record.current("lab_status"))


def test_the_evidence_of_a_completion_is_its_own_row_s() -> None:
    """The latest validated completion wins; taking it away brings an older one, which is stale: a person looks."""
    record = both(MATRIX, care_stage="in_care")

    def visit(row: int, at: int, *, op: str = "u", by: str | None = "nurse") -> Decision:
        backed = {"follow_up_completion": Evidence("dr", START - (100 - at) * MINUTE)}
        evidence = {} if op == "d" else backed
        value: dict[str, Value] = {"follow_up_completion": {"outcome": f"visit {row}", "completed_at": None}}
        return record.row(
            "ehr", {} if op == "d" else value, by=by, op=op, row=f"ehr/public.visit/{row}", primary=False,  # type: ignore[arg-type]
            among="ehr/public.visit", rank=None if op == "d" else (at,), evidence=evidence, event=(),
        )  # fmt: skip

    assert ["applied"] == ended(visit(1, 10))
    assert ["applied"] == ended(visit(2, 20))
    assert [] == ended(visit(3, 15)), "an older completion that arrives late is below"
    assert ["rejected stale"] == ended(visit(2, 20, op="d", by=None))
    assert {"follow_up_completion": "unattested"} == record.cases()


def test_a_snapshot_of_several_rows_seeds_from_the_one_that_speaks_and_sends_nothing() -> None:
    """Whatever the order in which they are read: those below are nobody's first word."""
    record = both(MATRIX, care_stage="in_care")
    record.row("crm", {"medication_plan": {"drug": "statin", "status": "active"}}, op="r")
    sends = [medication(record, row, rank, plan, op="r", position=(500,)).sends
             for row, rank, plan in ((1, 10, METFORMIN), (2, 30, STATIN), (3, 20, INSULIN))]  # fmt: skip

    assert [(), (), ()] == sends
    assert STATIN == record.current("medication_plan")
    assert {} == record.cases()


def test_when_the_record_is_deleted_its_rows_stand_no_more(patient: Record) -> None:
    """The rows' own deletes, which may come after it, bring no other row forward."""
    medication(patient, 2, 20, INSULIN)
    patient.row("ehr", op="d")
    gone = medication(patient, 2, None, op="d", by=None)

    assert ([], ()) == (ended(gone), gone.sends)
    assert INSULIN == patient.current("medication_plan")
    assert {":absent:ehr": "absent"} == patient.cases()
    patient.row("ehr", op="c")
    assert ["applied"] == ended(medication(patient, 3, 5, STATIN)), "and begin anew with the record"


def test_rows_of_the_other_system_stand_on(patient: Record) -> None:
    """Of a record that one system deletes, the other's tables know nothing."""
    said: dict[str, Any] = {"row": "crm/Task/1", "primary": False, "among": "crm/Task", "rank": (1,)}
    patient.row("crm", {"email": "a@x.org"}, by="support", **said)
    patient.row("ehr", op="d")
    speaking_rows = patient.state.speaking  # type: ignore[union-attr]  # it has a state

    assert ["crm/Task/1"] == [name for name, row in speaking_rows["crm/Task"].rows.items() if row.rank is not None]
    assert [] == [name for name, row in speaking_rows[AMONG].rows.items() if row.rank is not None]


def test_a_field_that_the_matrix_no_longer_has_is_nobody_s_matter(patient: Record) -> None:
    """Rows remember it, and no case is opened for it."""
    medication(patient, 2, 5, INSULIN)
    medication(patient, 3, 5, STATIN)
    patient.matrix = replace(
        MATRIX, fields={name: field for name, field in MATRIX.fields.items() if name != "medication_plan"}
    )
    gone = medication(patient, 1, None, METFORMIN)

    assert ([], {}) == (ended(gone), patient.cases())


def test_of_too_many_rows_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a forgotten one may be the latest, nobody guesses."""
    monkeypatch.setattr(speaking, "MAX_STANDING", 2)
    record = both(MATRIX, care_stage="in_care")
    for row in range(1, 5):
        medication(record, row, row, METFORMIN | {"dose": f"{row} mg"})
    kept = record.state.speaking[AMONG].rows  # type: ignore[union-attr]  # it has a state
    assert [f"{AMONG}/3", f"{AMONG}/4"] == sorted(kept)

    assert ["applied"] == ended(medication(record, 4, None, METFORMIN))
    unknown = medication(record, 3, None, METFORMIN)
    assert {"medication_plan": "speaker"} == record.cases()
    assert ([], {"dose": "3 mg"}.items() <= record.current("medication_plan").items()) == (ended(unknown), True)  # type: ignore[union-attr]
    below = medication(record, 5, 1, STATIN)
    assert ["queued speaker"] == ended(below), "row 2 was above it, and where it is now nobody knows"
    assert ["applied"] == ended(medication(record, 6, 9, INSULIN))
    assert {} == record.cases()


def test_of_rows_that_do_not_stand_the_last_changed_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """By position alone, so that their repeats are known."""
    monkeypatch.setattr(speaking, "MAX_KNOWN", 3)
    record = both(MATRIX, care_stage="in_care")
    for row in range(9):
        medication(record, row, None, METFORMIN)

    assert {f"{AMONG}/{row}" for row in (6, 7, 8)} == record.state.speaking[AMONG].rows.keys()  # type: ignore[union-attr]


def test_a_state_with_several_rows_is_stored_and_read_whole(patient: Record) -> None:
    """And one without takes no byte more than before there were any."""
    assert patient.state is not None
    stored = packed(patient.state, 0)
    assert patient.state == unpack(stored) == unpack_state(stored[DUE_BYTES:])
    without = both(MATRIX, care_stage="in_care").state
    assert without is not None
    assert without == unpack_state(pack_state(without))
    assert 8 == pack_state(without)[0] & 15
    assert 9 == pack_state(patient.state)[0] & 15
