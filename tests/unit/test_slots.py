"""Cases of the record itself: each cause has its own, and states with the one slot of before are read and written."""

import msgspec
import pytest
from msgspec.structs import replace

from deciding import MINUTE, Record, both
from matrices import patient
from ownership_stream.draft import Draft
from ownership_stream.model import Answer, Case, Change, Decision, Proposal, RecordState, RowState, SystemState
from ownership_stream.queue import Wanted, in_order, view, wants
from ownership_stream.slots import about, meant, slot, slot_of
from ownership_stream.steps import failed
from ownership_stream.wire import open_state, pack_state, unpack_state
from step_kit import DecideLane, conflicts_in, own_headers, row

MATRIX = patient()
DOB = "1980-01-02"
ROW = "ehr/patient/1"


def known() -> Record:
    """A record with a date of birth, which the EHR owns, and an e-mail address, which the CRM does."""
    return both(MATRIX, date_of_birth=DOB, email="a@x.org")


def told(record: Record, kind: str, **said: object) -> Decision:
    """A control event: a match, a candidate for a link, a gap."""
    record.count += 1
    common = {"id": f"c{record.count}", "record": "r1", "kind": kind, "received": record.now, "at": record.now}
    about = {"about": "email", "system": "crm"} if kind != "reread" else {"position": (record.count,)}
    return record.decide(msgspec.convert(common | about | said, Change))


def gap(record: Record, system: str = "ehr", row: str = ROW) -> Decision:
    """The row changed, and nobody says what."""
    return told(record, "reread", system=system, row=row)


def words(decision: Decision) -> list[tuple[str, str]]:
    """What happened to cases."""
    return [(one.event, one.case.reason) for one in decision.cases]


# ------------------------------------------------------------------------------------------------ each by itself


def test_a_gap_is_somebody_s_whatever_else_is_the_matter_with_the_record() -> None:
    """It was lost when it joined another cause's case, and then nobody had the record read again."""
    record = known()
    told(record, "match", other="r2")
    assert [("opened", "reread")] == words(gap(record))
    assert {":duplicate": "duplicate", f":reread:{ROW}": "reread"} == record.cases()
    assert [("converged", "reread")] == words(record.row("ehr", {"date_of_birth": DOB}, op="r"))
    assert {":duplicate": "duplicate"} == record.cases()


def test_each_row_that_must_be_read_again_is_a_case() -> None:
    """One that was read ends its own."""
    record = known()
    gap(record)
    assert [("opened", "reread")] == words(gap(record, "crm", "crm/patient/1"))
    assert [("converged", "reread")] == words(record.row("crm", {"email": "a@x.org"}, op="r"))
    assert {f":reread:{ROW}": "reread"} == record.cases()


def test_a_duplicate_and_a_candidate_for_a_link_are_two_questions() -> None:
    """One may be dismissed and the other not."""
    record = known()
    told(record, "match", other="r2")
    told(record, "candidate", other="r3")
    assert {":duplicate": "duplicate", ":link_candidate": "link_candidate"} == record.cases()
    decision = record.ask(":link_candidate", "dismiss", by="support_lead")
    assert Answer("dismissed", "link_candidate", "", decision.answer and decision.answer.case) == decision.answer
    assert {":duplicate": "duplicate"} == record.cases()


def test_the_record_gone_in_two_systems_is_two_cases_and_each_ends_with_its_own_system() -> None:
    """The CRM's return says nothing of the EHR."""
    record = known()
    record.row("ehr", op="d")
    record.row("crm", op="d")
    assert {":absent:ehr": "absent", ":absent:crm": "absent"} == record.cases()
    assert [("converged", "absent")] == words(record.row("crm", {"email": "a@x.org"}, op="c"))
    assert {":absent:ehr": "absent"} == record.cases()


def test_a_failed_decision_is_a_case_beside_others() -> None:
    """A second one is not: the dead letters hold each."""
    record = known()
    told(record, "match", other="r2")
    change = Change(id="f1", record="r1", received=record.now)
    once = failed(MATRIX, record.state, change)
    assert [("opened", "failed")] == words(once)
    assert [] == words(failed(MATRIX, once.state, replace(change, id="f2")))


def test_assigning_one_of_two_leaves_the_other_unassigned() -> None:
    """And its end ends only its own assignment."""
    record = known()
    told(record, "match", other="r2")
    gap(record)
    record.ask(":duplicate", "assign", to="Ida", by="support_lead")
    assert record.state is not None
    assert {":duplicate": "Ida"} == record.state.assigned
    record.row("ehr", {"date_of_birth": DOB}, op="r")
    assert {":duplicate": "Ida"} == record.state.assigned
    mine = [one for one in in_order([(0, record.state, "r1")]) if wants(MATRIX, Wanted(assigned="Ida"), one)]
    assert ["duplicate"] == [one.case.reason for one in mine]
    record.ask(":duplicate", "dismiss", by="support_lead")
    assert {} == record.state.assigned


def test_cases_of_one_record_that_are_due_together_stand_in_one_order() -> None:
    """The queue does not compare states."""
    record = known()
    record.now += MINUTE
    now = record.now
    for kind, other in (("match", "r2"), ("candidate", "r3")):
        record.now = now
        told(record, kind, other=other)
    assert record.state is not None
    assert ["duplicate", "link_candidate"] == [one.case.reason for one in in_order([(0, record.state, "r1")])]


def test_all_of_them_escalate_each_told_under_an_identity_of_its_own() -> None:
    """A consumer that knows records by their CloudEvents id drops none of them."""
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"email": "a@x.org", "care_stage": "new_lead"}, "person", op="c"))
    for kind, other in (("match", "s"), ("candidate", "t")):
        said = {"id": kind, "record": "r", "kind": kind, "about": "email", "other": other, "system": "crm"}
        lane.decide(msgspec.convert(said, Change))
    lane.offset += 10_000
    result = lane.decide(Change(id="tick", record="r", kind="tick"))
    assert ["duplicate", "link_candidate"] == [one.reason for one in conflicts_in(result.outputs)]
    ids = [dict(own_headers(one.headers))["ce_id"] for one in result.outputs if one.topic != "apply.crm"]
    assert [b"tick::escalated", b"tick::escalated:1"] == ids[:2]
    assert len(ids) == len(set(ids)) == 4, "two resolutions too"


def test_two_cases_that_one_change_opens_have_two_ids() -> None:
    """The first one's is what it always was."""
    draft = Draft(MATRIX, RecordState(), Change(id="c", record="r"), frozenset())
    for system in ("ehr", "crm"):
        draft.open_own("uncreated", "clinical_ops", about=system)
    assert ["c:", "c:uncreated:crm"] == [case.id for case in draft.cases.values()]


def test_a_person_means_a_case_by_its_cause() -> None:
    """By a field, by a cause with or without what it is about, or any of the record; a field's name is no cause."""
    cases = {name: Case(name, "", "", 0, "", 0) for name in (":absent:crm", ":absent:ehr", ":duplicate", "email")}
    assert ":absent:ehr" == meant(cases, ":absent:ehr")
    assert ":absent:crm" == meant(cases, ":absent") == meant(cases, "")
    assert ("email", None, None) == (meant(cases, "email"), meant(cases, "phone"), meant(cases, ":dup"))
    assert "" == slot_of(cases, Case("gone", "", "", 0, "", 0))


# ------------------------------------------------------------------------------------------------ states of before

SEATS = {"crm": SystemState("crm-1", present=True, rows={"crm/patient/1": RowState((1,), "a")}), "ehr": SystemState()}
GONE = SystemState("ehr-1", rows={ROW: RowState((2,), "b")})
WAITS = (Proposal("ehr", None, "c", 1, ROW),)


def with_one(reason: str, proposals: tuple[Proposal, ...] = (), **systems: SystemState) -> RecordState:
    """A state as the first release kept it: one slot for whatever is the matter, and who looks after it."""
    case = Case("c:", "", reason, 1, "clinical_ops", 2, proposals)
    return RecordState(version=3, systems=SEATS | systems, cases={"": case}, assigned={"": "Ida"})


@pytest.mark.parametrize(
    ("former", "name"),
    [
        pytest.param(with_one("duplicate"), ":duplicate", id="a duplicate"),
        pytest.param(with_one("failed"), ":failed", id="a failed decision"),
        pytest.param(with_one("reread", WAITS), f":reread:{ROW}", id="a row to be read, which waits in the case"),
        pytest.param(with_one("absent", ehr=GONE), ":absent:ehr", id="gone in the one system that had it"),
        pytest.param(with_one("uncreated"), ":uncreated:ehr", id="not made in the one that never had it"),
        pytest.param(with_one("absent", ehr=GONE, crm=GONE), ":absent", id="gone in both: it cannot say in which"),
        pytest.param(with_one("reread"), ":reread", id="a row that nothing names"),
    ],
)
def test_a_state_of_before_is_read_and_packed_to_the_same_bytes(former: RecordState, name: str) -> None:
    """So `verify` finds nothing in what was decided before; whoever reads it finds the slot."""
    stored = msgspec.msgpack.Encoder(order="deterministic").encode(former)
    for state in (unpack_state(stored), open_state(stored)):
        assert [name] == list(state.cases)
        assert {name: "Ida"} == state.assigned
        assert stored == pack_state(state)


def test_a_record_with_several_cases_of_its_own_is_stored_with_all_of_them() -> None:
    """And comes back as it was; a field's case beside a single one is no second one."""
    state = unpack_state(msgspec.msgpack.encode(with_one("duplicate")))
    field = Case("d:email", "email", "clear", 1, "support_lead", 2)
    beside = replace(state, cases={**state.cases, "email": field})
    assert {"", "email"} == msgspec.msgpack.decode(pack_state(beside))[6].keys()
    assert beside == unpack_state(pack_state(beside))
    several = replace(state, cases={**beside.cases, slot("failed"): replace(field, field="", reason="failed")})
    assert {":duplicate", ":failed", "email"} == msgspec.msgpack.decode(pack_state(several))[6].keys()
    assert several == unpack_state(pack_state(several))
    assert several.cases == open_state(pack_state(several)).cases


def test_a_case_whose_system_a_state_of_before_does_not_say_ends_with_the_first_that_comes() -> None:
    """As it did then."""
    record = known()
    record.row("ehr", op="d")
    assert record.state is not None
    [case] = record.state.cases.values()
    record.state = replace(record.state, cases={slot("absent"): case})
    assert [("converged", "absent")] == words(record.row("ehr", {"date_of_birth": DOB}, op="c"))


def test_people_are_told_in_which_system_the_record_is_gone() -> None:
    """Two such cases are told apart by it; a row's key is not said: it may be a patient's id."""
    record = known()
    record.row("ehr", op="d")
    gap(record, "crm", "crm/patient/1")
    assert record.state is not None
    views = [view(MATRIX, one, record="r1", key=None) for one in in_order([(0, record.state, "r1")])]
    assert {("absent", "EHR"), ("reread", "")} == {(one.reason, one.label) for one in views}
    assert ["", "ehr", ROW] == [about(name) for name in ("email", ":absent:ehr", f":reread:{ROW}")]
