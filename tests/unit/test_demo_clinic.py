"""The simulated clinic: the same plan for the same seed, and rows that speak as their connectors do."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from ownership_stream import sources
from ownership_stream.demo.actions import Action, Confirmed, Edit, Noise, Reread, Resend
from ownership_stream.demo.desk import Desk
from ownership_stream.demo.people import STAFF
from ownership_stream.demo.plan import CRM, EHR, SEVEN, Plan
from ownership_stream.demo.systems import Event, System, simulated
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change
from ownership_stream.sources.mapping import NOBODY

ROOT = Path(__file__).resolve().parents[2]
MATRIX = load(ROOT / "matrix" / "patient.yaml")
MAPPINGS = tuple(found.mapping for found in sources.load_all(ROOT / "matrix" / "sources", MATRIX))
DECODERS = {mapping.topics[0]: sources.decoder(mapping, MATRIX) for mapping in MAPPINGS}
AT = 1_767_261_600_123
CONTACT = "0032X00002QU001EAE"
NAMED = {"legal_name": {"family": "Vega", "given": "Ada"}}


@pytest.fixture
def systems() -> dict[str, System]:
    """Both systems with one patient, whose row came by a snapshot."""
    made = simulated(MAPPINGS, MATRIX)
    made[EHR].create("1", {**NAMED, "conditions": {"program": "sleep", "diagnoses": "insomnia"}}, STAFF["provider"], AT)
    made[EHR].rows["1"].columns["crm_id"] = CONTACT
    made[CRM].create(CONTACT, NAMED, STAFF["growth"], AT)
    return made


def change_of(event: Event) -> Change:
    """The one change that the real decoder makes of the event."""
    [change] = DECODERS[event.topic].decode(event.topic, event.key, event.value, AT).changes
    return change


def actions(plan: Plan, number: int) -> list[Action]:
    """The plan's beginning."""
    mix = [planned for group in islice(plan.mix(), number) for planned in group]
    return [planned.action for planned in (*plan.start(), *plan.opening(), *mix)]


def test_the_same_seed_is_the_same_plan() -> None:
    """Who does what to whom, with the same values, in the same order; another seed is another clinic."""

    def planned(seed: int) -> list[Action]:
        plan = Plan(seed)
        started = [planned.action for planned in (*plan.start(), *plan.opening())]
        return started + [planned.action for group in islice(plan.mix(), 500) for planned in group]

    assert planned(3) == planned(3)
    assert planned(3) != planned(4)


def test_every_writer_of_the_plan_is_known_to_the_source_mapping() -> None:
    """A role that the mapping does not know would make each edit of theirs an unknown automation's."""
    made = simulated(MAPPINGS, MATRIX)
    plan = Plan(1)
    opening = [planned.action for planned in (*plan.start(), *plan.opening())]
    mixed = [planned.action for group in islice(plan.mix(), 2_000) for planned in group]
    writers = {(action.system, action.writer) for action in (*opening, *mixed) if isinstance(action, Edit)}
    for system, writer in writers:
        mapping, role = made[system].mapping, STAFF[writer]
        expected = NOBODY if writer == "automation" else (role.role, role.origin)
        assert expected == mapping.actors.of(made[system].actor(role)), (system, writer)


def test_the_opening_writes_each_of_the_seven_rows() -> None:
    """Whoever looks on for ten seconds has seen every row of the document's table."""
    plan = Plan(1)
    plan.start()
    edits = [planned.action for planned in plan.opening() if isinstance(planned.action, Edit)]
    assert set(SEVEN) <= {name for edit in edits for name in edit.given}


def test_an_edit_in_the_ehr_is_a_whole_row_in_debeziums_envelope(systems: dict[str, System]) -> None:
    """Every column is carried, with the writer, and the position rises."""
    first = systems[EHR].edit("1", {}, STAFF["nurse"], AT)
    second = systems[EHR].edit("1", {"weight": 81.5}, STAFF["nurse"], AT, reason="weighed", base=7)
    before, after = change_of(first), change_of(second)

    assert len(before.fields) + len(before.compared) + len(before.requests) >= 30
    assert (CONTACT, "1", 81.5) == (after.record, after.key, after.fields["weight"])
    assert ("nurse", "person", "weighed", 7) == (after.role, after.origin, after.reason, after.base)
    assert before.position is not None
    assert after.position is not None
    assert before.position < after.position


def test_an_unchanged_long_column_is_now_and_then_unavailable(systems: dict[str, System]) -> None:
    """As PostgreSQL leaves a TOASTed column out of its log: not carried, which is not null."""
    carried = [change_of(systems[EHR].edit("1", {}, STAFF["nurse"], AT)).fields.get("conditions") for _ in range(4)]
    assert {"program": "sleep"} in carried
    assert {"program": "sleep", "diagnoses": "insomnia"} in carried


def test_an_edit_in_the_crm_carries_what_changed_and_nothing_else(systems: dict[str, System]) -> None:
    """An unchanged null is not a change, and a value saved as it was is none either."""
    event = systems[CRM].edit(CONTACT, {**NAMED, "email": "ada@example.org"}, STAFF["support"], AT)
    change = change_of(event)
    assert {"email": "ada@example.org"} == change.fields
    assert ("support", "person") == (change.role, change.origin)


def test_evidence_comes_with_its_time(systems: dict[str, System]) -> None:
    """Seconds before the edit, by whom the system's own columns say."""
    confirmed = {"contact_preference": Confirmed("patient", 60)}
    event = systems[EHR].edit("1", {"contact_preference": "sms"}, STAFF["nurse"], AT, confirmed=confirmed)
    found = change_of(event).evidence["contact_preference"]
    assert ("patient", AT - 60_000) == (found.by, found.at)


def test_an_approved_change_lands_once_and_comes_back_with_its_marker(systems: dict[str, System]) -> None:
    """A sink sees the same record again after a crash; its echo is known by our change id."""
    after = {"patient_id": 1, "phone": "+16175550100"}
    echo = systems[EHR].apply("1", after, "change-1", 4, AT)
    again = systems[EHR].apply("1", after, "change-1", 4, AT)

    assert echo is not None
    assert ("change-1", "+16175550100") == (change_of(echo).marker, change_of(echo).fields["phone"])
    assert 4 == systems[EHR].rows["1"].version
    assert again is None


def test_our_own_writer_is_no_person(systems: dict[str, System]) -> None:
    """The CRM's echo names our client, whatever account it uses."""
    echo = systems[CRM].apply(CONTACT, {"Id": CONTACT, "Email": "b@example.org"}, "change-1", 2, AT)
    assert echo is not None
    assert "automation" == change_of(echo).origin
    assert "client:ownership-stream" == change_of(echo).actor


def test_a_deleted_row_leaves_a_tombstone_and_is_not_made_again(systems: dict[str, System]) -> None:
    """No sink may bring an erased patient back."""
    deleted, tombstone = systems[EHR].delete("1", STAFF["someone"], AT)
    assert "d" == change_of(deleted).op
    assert tombstone.value is None
    assert systems[EHR].apply("1", {"patient_id": 1, "phone": "x"}, "change-2", 5, AT) is None


def test_everything_the_plan_makes_can_be_read_but_the_noise() -> None:
    """The opening and a long mix through the real decoders: each event is one change, and only noise is refused."""
    plan = Plan(5)
    desk = Desk(MATRIX, simulated(MAPPINGS, MATRIX), AT)
    ends: Counter[str] = Counter()
    for action in actions(plan, 3_000):
        for event in desk.carry_out(action, AT):
            try:
                decoded = DECODERS[event.topic].decode(event.topic, event.key, event.value, AT)
            except sources.Undecodable:
                assert isinstance(action, Noise)
                ends["refused"] += 1
            else:
                assert len(decoded.changes) == (event.value is not None)
                ends[decoded.ignored or decoded.changes[0].op] += 1
    assert {"c", "u", "r", "d", "tombstone", "refused"} == set(ends)


def test_a_connector_that_comes_back_sends_its_last_records_again() -> None:
    """The very same bytes, so that they are known as repeats."""
    desk = Desk(MATRIX, simulated(MAPPINGS, MATRIX), AT)
    for planned in Plan(1).start():
        desk.carry_out(planned.action, AT)
    sent = [event for _ in range(3) for event in desk.carry_out(Reread(4, CRM), AT)]
    assert sent == desk.carry_out(Resend(CRM, 3), AT)


def test_an_edit_of_somebody_who_is_not_there_is_no_event() -> None:
    """Between a lead's arrival and the front desk's entry the EHR has no row of theirs."""
    desk = Desk(MATRIX, simulated(MAPPINGS, MATRIX), AT)
    assert [] == desk.carry_out(Edit(patient=3, system=EHR, writer="nurse"), AT)
