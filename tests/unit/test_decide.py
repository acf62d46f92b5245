"""The decision step by step: each end of a write, and each rule of the order that leads to it.

The numbers of steps are those of docs/rules.md, section 2.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deciding import MINUTE, START, Record, backed, both, ends, having, sent, set_by_owner
from matrices import patient
from ownership_stream.decide import decide
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, Decision, RecordState, Scalar
from ownership_stream.outcomes import CASE_REASONS, OUTCOMES

Parts = dict[str, Scalar]
MATRIX = patient()
NAME: Parts = {"family": "Doe", "given": "Ann"}
OTHER: Parts = {"family": "Roe", "given": "Ann"}
DONE: Parts = {"completed_at": "2026-03-01T10:00:00.000Z", "outcome": "done"}
NO_SHOW: Parts = {"completed_at": "2026-03-01T10:00:00.000Z", "outcome": "no_show"}
AUSTIN: Parts = {"street": None, "city": "Austin", "region": "TX", "postal_code": None, "country": "us"}
PLAN: Parts = {"drug": "metformin", "dose": "500 mg", "schedule": None, "status": "active"}
DOB, NEW_DOB = "1980-01-02", "1981-01-02"
End = Callable[[], Decision]
CRITICAL_PAYER = having(MATRIX, "insurance_payer", critical=True)
NO_RULE: Matrix = having(MATRIX, "email", rule="a rule of another day")


def completed(by: str = "dr", at: int = START - 1000) -> Record:
    """A record with a validated completion."""
    record = both(MATRIX)
    set_by_owner(record, "follow_up_completion", DONE, evidence=backed("follow_up_completion", by, at))
    return record


def confirmed(at: int = START - 1000) -> Record:
    """A record with a confirmed preference."""
    record = both(MATRIX)
    set_by_owner(record, "contact_preference", "email", evidence=backed("contact_preference", "patient", at))
    return record


def overridden() -> Record:
    """A record whose legal name a provider has overridden before care start."""
    record = both(MATRIX, care_stage="qualified", legal_name=NAME)
    record.row("ehr", {"legal_name": OTHER}, by="provider", reason="said so")
    return record


def paused() -> Record:
    """A record whose EHR is paused."""
    record = both(MATRIX, email="a@x.org")
    record.control("pause", "ehr")
    return record


def sending() -> Record:
    """A record of which an e-mail address is under way to the EHR."""
    record = both(MATRIX, email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person")
    return record


ENDS: dict[tuple[str, str], tuple[str, End]] = {
    ("noop", ""): ("email", lambda: sending().row("ehr", {"email": "b@x.org"}, by="nurse")),
    ("replay", ""): ("email", lambda: both(MATRIX, email="a@x.org").row("crm", {"email": "b@x.org"}, position=(0,))),
    ("echo", ""): ("email", lambda: sending().row("ehr", {"email": "b@x.org"})),
    ("echo", "coerced"): ("email", lambda: marked(sending(), "b@x")),
    ("echo", "late"): ("email", lambda: both(MATRIX, email="a@x.org").row("ehr", {"email": "b@x.org"}, marker="old")),
    ("baseline", ""): ("email", lambda: both(MATRIX, email="a@x.org").row("ehr", {"email": "b@x.org"}, op="r")),
    ("applied", ""): ("email", lambda: both(MATRIX).row("crm", {"email": "a@x.org"})),
    ("applied", "evidence"): (
        "contact_preference",
        lambda: confirmed().row(
            "ehr", {"contact_preference": "email"}, evidence=backed("contact_preference", "patient", START)
        ),
    ),
    ("applied", "unprotected"): (
        "assigned_coach",
        lambda: both(MATRIX, assigned_coach="Sam").row("ehr", {"assigned_coach": "Kim"}, by="nurse"),
    ),
    ("rejected", "owner_policy"): (
        "date_of_birth",
        lambda: both(MATRIX, date_of_birth=DOB).row("crm", {"date_of_birth": NEW_DOB}, by="intake_ops", reason="x"),
    ),
    ("rejected", "reason_required"): (
        "legal_name",
        lambda: both(MATRIX, care_stage="in_care", legal_name=NAME).row("crm", {"legal_name": OTHER}, by="intake_ops"),
    ),
    ("rejected", "override_active"): (
        "legal_name",
        lambda: overridden().row("crm", {"legal_name": NAME | {"given": "A"}}),
    ),
    ("rejected", "stale"): (
        "email",
        lambda: both(MATRIX, email="a@x.org").row("ehr", {"email": "b@x.org"}, by="nurse", base=0),
    ),
    ("rejected", "transition"): (
        "care_stage",
        lambda: both(MATRIX, care_stage="qualified").row("ehr", requests={"care_stage": "paused"}, by="clinical_ops"),
    ),
    ("rejected", "not_validated"): (
        "follow_up_completion",
        lambda: both(MATRIX).row("ehr", {"follow_up_completion": DONE}),
    ),
    ("rejected", "not_confirmed"): (
        "contact_preference",
        lambda: confirmed().row("crm", {"contact_preference": "sms"}),
    ),
    ("rejected", "group"): (
        "address",
        lambda: both(MATRIX, address=AUSTIN, time_zone="America/Chicago").row(
            "ehr", {"address": {"city": "Boston"}, "time_zone": "America/New_York"}, by="nurse", base=1
        ),
    ),
    ("queued", "stage"): ("legal_name", lambda: both(MATRIX).row("crm", {"legal_name": NAME}, by="growth_ops")),
    ("queued", "stage_unknown"): ("care_stage", lambda: both(MATRIX).row("crm", {"care_stage": "nurture"})),
    ("queued", "clear"): ("date_of_birth", lambda: both(MATRIX, date_of_birth=DOB).row("ehr", {"date_of_birth": None})),
    ("queued", "clock"): (
        "contact_preference",
        lambda: confirmed().row(
            "crm", {"contact_preference": "sms"}, evidence=backed("contact_preference", "patient", START + 10**9)
        ),
    ),
    ("queued", "tie"): (
        "follow_up_completion",
        lambda: completed().row(
            "ehr", {"follow_up_completion": NO_SHOW}, evidence=backed("follow_up_completion", "dr", START - 1000)
        ),
    ),
    ("queued", "transition"): (
        "care_stage",
        lambda: both(MATRIX, care_stage="qualified").row("crm", {"care_stage": "paused"}),
    ),
    ("queued", "oscillation"): (
        "weight",
        lambda: oscillating().row("crm", {"weight": 99}, by="integration"),
    ),
    ("queued", "no_rule"): ("email", lambda: both(NO_RULE).row("crm", {"email": "a@x.org"})),
    ("queued", "group"): (
        "insurance_member_id",
        lambda: both(CRITICAL_PAYER, insurance_payer="Acme", insurance_member_id="A1").row(
            "ehr", {"insurance_payer": None, "insurance_member_id": "B2"}
        ),
    ),
    ("queued", "paused"): ("email", lambda: paused().row("ehr", {"email": "b@x.org"}, by="nurse")),
}
"""(outcome, reason) -> the field that ends so, and the event it happens in."""


def marked(record: Record, value: str) -> Decision:
    """What was sent last lands in another form, with our mark."""
    waiting = record.system("ehr").outstanding["email"][-1]
    return record.row("ehr", {"email": value}, marker=waiting.change_id)


def oscillating() -> Record:
    """A record of which two automations have answered each other ten times."""
    record = both(MATRIX, weight=80)
    for number in range(5):
        for system, other, value in (("crm", "ehr", 90 + number), ("ehr", "crm", 70 + number)):
            decision = record.row(system, {"weight": value}, by="integration")
            assert [("weight", "applied", "")] == ends(decision)
            record.row(other, {"weight": value})
    return record


@pytest.mark.parametrize("end", ENDS, ids=lambda end: " ".join(end).strip())
def test_each_end_is_reached(end: tuple[str, str]) -> None:
    """Every (outcome, reason) that `decide` can produce, by the shortest way to it."""
    field, happen = ENDS[end]
    assert (field, *end) in ends(happen())


def test_every_end_of_the_table_is_reached_or_belongs_to_somebody_else() -> None:
    """An internal error, identities and several rows are not the decision's; two reasons are only those of cases."""
    others = {("failed", ""), ("queued", "link"), ("queued", "duplicate")}
    others |= {("queued", "speaker")}  # of rows before they are one: test_speaking
    cases = {("queued", "handover"), ("queued", "diverged")}
    assert OUTCOMES.keys() == ENDS.keys() | others | cases
    assert {reason for _, reason in cases} <= CASE_REASONS.keys()


# ------------------------------------------------------------------------------------------------ the function itself


def test_the_state_that_is_given_is_not_touched() -> None:
    """Nothing that a decision does shows in the state before it, whatever the event."""
    encode = msgspec.msgpack.encode
    for end in ENDS.values():
        record = Recorder(MATRIX)
        with_before = record.watch(end[1])
        assert with_before
        assert all(before == encode(state) for state, before in with_before)


class Recorder:
    """Watches every decision of a story."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def watch(self, story: End) -> list[tuple[RecordState, bytes]]:
        """Each state of the story with its bytes from before it was decided upon."""
        seen: list[tuple[RecordState, bytes]] = []
        original = Record.decide

        def watching(record: Record, change: Change) -> Decision:
            if record.state is not None:
                seen.append((record.state, msgspec.msgpack.encode(record.state)))
            return original(record, change)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Record, "decide", watching)
            story()
        return seen


@pytest.mark.parametrize("end", ENDS, ids=lambda end: " ".join(end).strip())
def test_the_same_story_gives_the_same_bytes(end: tuple[str, str]) -> None:
    """No clock, no randomness: the whole decision is equal, byte for byte."""
    first, second = (msgspec.msgpack.encode(ENDS[end][1]()) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("end", ENDS, ids=lambda end: " ".join(end).strip())
def test_outcomes_do_not_depend_on_what_is_withheld(end: tuple[str, str]) -> None:
    """Observe mode and a tripped breaker withhold sends and change nothing that is decided."""

    def watching(record: Record, change: Change) -> Decision:
        withheld = decide(record.matrix, record.state, change, frozenset({"ehr", "crm"}))
        decision = original(record, change)
        assert decision.outcomes == withheld.outcomes
        assert decision.noops == withheld.noops
        assert () == withheld.sends
        return decision

    original = Record.decide
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "decide", watching)
        ENDS[end][1]()


# ------------------------------------------------------------------------------------------------ steps 1 to 3


@pytest.mark.parametrize(
    ("said", "replayed"),
    [
        pytest.param({"position": (4,)}, True, id="older than the row's last"),
        pytest.param({"position": (5,), "id": "c5"}, True, id="the same again"),
        pytest.param({"position": (5,), "id": "other"}, False, id="another at the same position"),
        pytest.param({"position": (5,), "id": "c5", "op": "r"}, False, id="a snapshot reads the row where it stands"),
        pytest.param({"position": (6,)}, False, id="newer"),
        pytest.param({"position": (1, 0)}, True, id="shorter is older only by its numbers"),
        pytest.param({"position": None, "id": "c5"}, True, id="no position, the last id again"),
        pytest.param({"position": None, "id": "c9"}, False, id="no position, a new id"),
        pytest.param({"position": (4,), "row": "crm/other/1"}, False, id="another row of the system"),
    ],
)
def test_a_row_orders_its_own_events(said: dict[str, Any], replayed: bool) -> None:
    """Step 1: a replay ends all its fields, of whatever kind of column, and changes nothing."""
    record = Record(MATRIX)
    record.count = 4
    record.row("crm", {"email": "a@x.org"}, op="c")
    before = record.state

    decision = record.row("crm", {"email": "b@x.org"}, requests={"care_stage": "x"}, compared={"weight": 1}, **said)

    assert replayed == (["replay"] * 3 == [one.outcome for one in decision.outcomes])
    assert replayed == (before == decision.state)


def test_a_row_without_positions_knows_its_last_sixteen_ids() -> None:
    """Step 1: an id that is further back is no replay any more."""
    record = Record(MATRIX)
    for number in range(17):
        record.row("crm", {"email": f"{number}@x.org"}, position=None, id=f"e{number}")

    assert [("email", "replay", "")] == ends(record.row("crm", {"email": "x"}, position=None, id="e1"))
    assert [("email", "applied", "")] == ends(record.row("crm", {"email": "x"}, position=None, id="e0"))


def test_a_row_event_is_the_rows_last_even_when_nothing_else_follows() -> None:
    """Step 1: an event of unchanged columns moves the position."""
    record = both(MATRIX, email="a@x.org")
    record.row("crm", {"email": "a@x.org"}, position=(90,))
    assert [("email", "replay", "")] == ends(record.row("crm", {"email": "b@x.org"}, position=(89,)))


def test_columns_that_show_what_they_showed_are_counted_and_no_more() -> None:
    """Step 2: unchanged columns, and null where nothing was ever shown, are noops without an outcome."""
    record = both(MATRIX, email="a@x.org", weight=80)
    decision = record.row("ehr", {"email": "a@x.org", "weight": 80, "sex": None}, compared={"care_stage": None})
    assert [] == ends(decision)
    assert 4 == decision.noops


def test_columns_of_fields_that_the_matrix_has_not_are_counted_and_no_more() -> None:
    """A source mapping of another revision may carry them; whatever the kind of column."""
    said: dict[str, Any] = {"compared": {"height": 1}, "requests": {"width": 2}}
    decision = both(MATRIX).row("ehr", {"depth": 3}, evidence=backed("depth", "x", 1), reason="x", **said)
    assert [] == ends(decision)
    assert 3 == decision.noops


def test_parts_that_are_not_carried_come_from_what_was_shown() -> None:
    """Section 1, *parts*: one value; cleared when all its parts are null."""
    record = both(MATRIX, care_stage="in_care", legal_name=NAME)
    record.row("ehr", {"legal_name": {"family": "Roe"}}, by="nurse")
    assert {"family": "Roe", "given": "Ann"} == record.current("legal_name")
    assert [] == ends(record.row("ehr", {"legal_name": {"given": "Ann"}}, by="nurse"))

    record.row("ehr", {"legal_name": {"family": None, "given": None}}, by="nurse")
    assert record.current("legal_name") is None


FRESHNESS = [
    pytest.param({"reason": "r1"}, {"reason": "r1"}, "reason_required", id="a reason that stays in its column"),
    pytest.param({"reason": "r1"}, {"reason": "r2"}, "", id="a reason whose column moved"),
    pytest.param({"reason": "r1"}, {"reason": "r1", "event": ("reason",)}, "", id="a reason that came with the event"),
    pytest.param({"reason": None}, {"reason": " "}, "reason_required", id="a blank reason"),
    pytest.param({"actor": "x"}, {"actor": "x", "reason": "r"}, "owner_policy", id="an actor who stays in the column"),
    pytest.param({"actor": "x"}, {"actor": "y", "reason": "r"}, "", id="an actor whose column moved"),
    pytest.param(
        {"actor": "x", "updated_at": 1},
        {"actor": "x", "updated_at": 2, "reason": "r"},
        "",
        id="an actor who saved again",
    ),
    pytest.param({"base": 9}, {"base": 9, "reason": "r"}, "", id="a base version that stays counts as absent"),
    pytest.param({"base": 9}, {"base": 0, "reason": "r"}, "stale", id="a base version whose column moved"),
    pytest.param(
        {"base": 0}, {"base": 0, "reason": "r", "event": ("base",)}, "stale", id="a base version of the event"
    ),
]


@pytest.mark.parametrize(("first", "second", "reason"), FRESHNESS)
def test_only_what_is_fresh_counts(first: dict[str, Any], second: dict[str, Any], reason: str) -> None:
    """Step 3: attributes are columns too, and count where they came with the event or moved."""
    record = both(MATRIX, care_stage="in_care", legal_name=NAME)
    actor = {"origin": "person", "role": "intake_ops", "event": ()}
    record.row("crm", {"weight": 80}, **{**actor, "actor": "a1", **first})

    second = {**actor, "actor": first.get("actor", "a2"), **second}
    decision = record.row("crm", {"legal_name": OTHER}, **second)

    assert [("legal_name", "rejected" if reason else "applied", reason)] == ends(decision)


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        pytest.param({}, [], id="the evidence column stays"),
        pytest.param({"at": START}, [("contact_preference", "applied", "evidence")], id="it moved"),
        pytest.param(
            {"event": ("evidence",)}, [("contact_preference", "noop", "")], id="it came with the event, not new"
        ),
        pytest.param({"by": None, "at": None}, [], id="it was emptied"),
    ],
)
def test_evidence_counts_where_it_moved(again: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    """Step 3, and step 2: fresh evidence makes an unchanged value a write."""
    record = both(MATRIX)
    said = {"by": "patient", "at": START - 1000}
    name = "contact_preference"
    record.row("crm", {name: "sms"}, event=(), evidence=backed(name, str(said["by"]), int(str(said["at"]))))

    event = again.pop("event", ())
    renewed = {**said, **again}
    decision = record.row("crm", {name: "sms"}, event=event, evidence=backed(name, renewed["by"], renewed["at"]))

    assert expected == ends(decision)


def test_an_event_without_evidence_leaves_the_rows() -> None:
    """Step 3: evidence that is not carried has not moved."""
    record = both(MATRIX)
    evidence = backed("contact_preference", "patient", START - 1000)
    record.row("crm", {"contact_preference": "sms"}, evidence=evidence, event=())
    record.row("crm", {"email": "a@x.org"}, evidence=backed("marketing_consent", "patient", START))
    assert [] == ends(record.row("crm", {"contact_preference": "sms"}, evidence=evidence, event=()))


# ------------------------------------------------------------------------------------------------ attestation


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"by": "provider"}, "applied", id="by a fresh actor with a grant"),
        pytest.param({"by": "nurse"}, "noop", id="by a fresh actor without one"),
        pytest.param({"by": "nurse", "reason": "x"}, "rejected", id="by a fresh reason, without a grant"),
        pytest.param({}, None, id="by nobody"),
        pytest.param({"by": "provider", "op": "r"}, None, id="by a snapshot"),
    ],
)
def test_a_refused_value_is_attested(said: dict[str, Any], expected: str | None) -> None:
    """Step 2: an unchanged value that was refused is a write again, if something fresh attests it."""
    record = both(MATRIX, medication_plan=PLAN)
    assert [("medication_plan", "rejected", "owner_policy")] == ends(
        record.row("ehr", {"medication_plan": {"dose": "850 mg"}}, by="nurse")
    )

    decision = record.row("ehr", {"medication_plan": {"dose": "850 mg"}, "weight": None}, **said)

    assert ([] if expected is None else [expected]) == [outcome for _, outcome, _ in ends(decision)]
    assert 2 == decision.noops + len(decision.outcomes)


def test_a_value_that_was_not_refused_needs_no_attestation() -> None:
    """Step 2: a rightful actor beside an unchanged value changes nothing."""
    record = both(MATRIX, medication_plan=PLAN)
    assert [] == ends(record.row("ehr", {"medication_plan": PLAN}, by="provider", reason="x"))


# ------------------------------------------------------------------------------------------------ step 4


@pytest.mark.parametrize(
    ("value", "said", "expected", "left"),
    [
        pytest.param("two", {}, "echo ", 0, id="the newest value retires the older one too"),
        pytest.param("one", {}, "echo ", 1, id="the older value retires itself"),
        pytest.param("one", {"marker": "sent two"}, "echo coerced", 0, id="the newest one's marker with another value"),
        pytest.param("x", {"marker": "sent one"}, "echo coerced", 1, id="the older one's marker with another value"),
        pytest.param("one", {"marker": "sent one", "by": "nurse"}, "echo ", 1, id="a marker, by whomever it was saved"),
        pytest.param("x", {"marker": "sent two", "by": "nurse"}, "applied ", 2, id="a person's write over ours"),
        pytest.param("one", {"by": "nurse"}, "applied ", 2, id="a person writes what is under way, without a marker"),
        pytest.param(
            "x", {"marker": "unknown"}, "echo late", 2, id="a mark by which nothing is under way, another value"
        ),
        pytest.param("two", {"marker": "unknown"}, "echo ", 0, id="somebody else's marker, our value"),
        pytest.param("x", {}, "rejected stale", 2, id="another value by an automation"),
    ],
)
def test_our_own_writes_come_back(value: str, said: dict[str, Any], expected: str, left: int) -> None:
    """Step 4: by the marker, else by the value; a person's edit is one all the same."""
    record = both(MATRIX, assigned_provider="zero", care_stage="qualified")
    ids = {}
    for name in ("one", "two"):
        record.row("crm", {"assigned_provider": name}, by="person")
        ids[f"sent {name}"] = f"c{record.count}"
    if "marker" in said:
        said = {**said, "marker": ids.get(said["marker"], "unknown")}
    if said.get("by"):
        said = {**said, "by": "clinical_ops", "base": 99}

    decision = record.row("ehr", {"assigned_provider": value}, **said)

    outcome, _, reason = expected.partition(" ")
    found = [(one.outcome, one.reason) for one in decision.outcomes]
    assert [(outcome, reason)] == ([("rejected", "stale")] if found == [("rejected", "owner_policy")] else found)
    assert left == len(record.system("ehr").outstanding.get("assigned_provider", ()))


def test_a_marker_that_stays_in_its_column_marks_nothing() -> None:
    """Step 4: the marker column must have moved, or each later edit would be an echo."""
    record = both(MATRIX, email="a@x.org")
    record.row("crm", {"email": "b@x.org"}, by="person")
    mark = f"c{record.count}"
    record.row("ehr", {"email": "b@x.org"}, marker=mark)
    record.row("crm", {"email": "c@x.org"}, by="person")
    decision = record.row("ehr", {"email": "d@x.org"}, marker=mark, by="nurse", base=99)
    assert [("email", "applied", "")] == ends(decision)


def test_a_coerced_landing_is_what_is_expected_there_until_the_value_changes() -> None:
    """Step 4: nothing is sent for the landed form, and the next value goes out as ever."""
    record = sending()
    assert [("email", "echo", "coerced")] == ends(marked(record, "b@x"))
    assert () == record.tick(60).sends
    decision = record.row("crm", {"email": "c@x.org"}, by="person")
    assert {"ehr": ("change", {"email": "c@x.org"})} == sent(decision)


def test_a_restore_that_lands_ends_the_refusal() -> None:
    """Step 4: what is shown then is refused no longer, so a reason beside it is no attestation."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("crm", {"date_of_birth": NEW_DOB}, by="growth_ops")
    record.row("crm", {"date_of_birth": DOB})
    assert {} == record.system("crm").refused
    assert [] == ends(record.row("crm", {"date_of_birth": DOB}, by="growth_ops", reason="x"))


# ------------------------------------------------------------------------------------------------ step 5


def test_a_compared_column_is_shown_and_never_an_input() -> None:
    """Step 5: an edit there is a noop, and put right."""
    record = both(MATRIX, care_stage="in_care")
    decision = record.row("ehr", compared={"care_stage": "closed"}, by="clinical_ops")
    assert ([], 1) == (ends(decision), decision.noops)
    assert {"ehr": ("restore", {"care_stage": "active"})} == sent(decision)


def test_a_request_column_has_a_last_value_of_its_own() -> None:
    """Section 1: it is input but not shown; null asks for nothing; a snapshot only sets it."""
    record = both(MATRIX, care_stage="in_care")
    ask: dict[str, Any] = {"requests": {"care_stage": "paused"}}
    assert [("care_stage", "baseline", "")] == ends(record.row("ehr", op="r", **ask))
    assert [] == ends(record.row("ehr", by="clinical_ops", **ask))
    assert [] == ends(record.row("ehr", by="clinical_ops", requests={"care_stage": None}))
    assert [("care_stage", "applied", "")] == ends(record.row("ehr", by="clinical_ops", **ask))
    assert "active" == record.system("ehr").shown["care_stage"]


SNAPSHOTS = [
    pytest.param("crm", "email", "b@x.org", {}, True, id="a newer one of the row that set it"),
    pytest.param("crm", "email", "b@x.org", {"row": "crm/other/1"}, False, id="another row of the owner"),
    pytest.param("crm", "email", "b@x.org", {"position": None}, False, id="one without a position"),
    pytest.param("ehr", "email", "b@x.org", {}, False, id="another system"),
    pytest.param("ehr", "sex", "female", {}, True, id="the owner's first"),
    pytest.param("crm", "sex", "female", {}, False, id="another system's first"),
    pytest.param("crm", "care_stage", "nurture", {}, False, id="a stage outside the map"),
    pytest.param("crm", "care_stage", "qualified", {}, True, id="a stage of the map"),
]


@pytest.mark.parametrize(("system", "field", "value", "said", "trusted"), SNAPSHOTS)
def test_a_snapshot_of_the_present_owner_is_trusted(
    system: str, field: str, value: str, said: dict[str, Any], trusted: bool
) -> None:
    """Step 5: it seeds, or renews what the same row set; any other difference is the baseline's, nobody's case."""
    record = both(MATRIX, email="a@x.org")
    version = record.state.version if record.state else 0

    decision = record.row(system, {field: value}, op="r", **said)

    assert [(field, "baseline", "")] == ends(decision)
    assert trusted == (value == record.current(field))
    assert version + trusted == decision.state.version
    assert (field in record.system(system).baseline) != trusted
    assert {} == record.cases()


def test_a_first_snapshot_overwrites_nobody() -> None:
    """Step 5: where it sets the first value, what the others show differently is their baseline difference."""
    record = Record(MATRIX)
    record.row("ehr", {"email": "b@x.org"}, op="r")
    decision = record.row("crm", {"email": "a@x.org"}, op="r")
    assert () == decision.sends
    assert ("email",) == record.system("ehr").baseline
    assert () == record.tick(60).sends


def test_a_snapshot_that_shows_what_is_expected_is_no_difference() -> None:
    """Step 5: it is a baseline all the same."""
    record = Record(MATRIX)
    record.row("crm", {"email": "a@x.org"}, op="r")
    record.row("ehr", {"email": "a@x.org"}, op="r")
    assert () == record.system("ehr").baseline


def test_a_snapshot_of_a_stage_from_care_start_on_sets_the_latch() -> None:
    """Section 1, *care started*: also when it was seeded; what waited for the stage is decided again."""
    record = Record(MATRIX)
    record.row("ehr", {"legal_name": NAME}, op="c", by="nurse")
    assert {"legal_name": "stage"} == record.cases()
    decision = record.row("crm", {"care_stage": "paused"}, op="r")
    assert decision.state.care_started is not None
    assert [("legal_name", "applied")] == [(one.field, one.outcome) for one in decision.redecided]


# ------------------------------------------------------------------------------------------------ steps 6 to 8


def test_equal_to_current_is_no_change() -> None:
    """Step 6: whoever writes what everybody should show anyway."""
    record = sending()
    decision = record.row("ehr", {"email": "b@x.org"}, by="nurse")
    assert ([("email", "noop", "")], ()) == (ends(decision), decision.sends)


def test_equal_to_the_summary_is_no_change() -> None:
    """Step 6: for a summary target the summary counts."""
    record = both(MATRIX, lead_source="google_ads")
    record.row("crm", {"lead_source": "referral"}, by="person")
    assert [("lead_source", "noop", "")] == ends(record.row("ehr", {"lead_source": "referral"}, by="nurse"))


def test_older_evidence_for_the_same_value_is_no_change() -> None:
    """Step 6: the rule decides again, and where it does not hold nothing has happened."""
    record = confirmed(START - 1000)
    older = backed("contact_preference", "patient", START - 2000)
    assert [("contact_preference", "noop", "")] == ends(
        record.row("ehr", {"contact_preference": "email"}, evidence=older)
    )


def test_evidence_counts_only_from_somebody_who_may_write() -> None:
    """Step 6: without a grant it is a noop."""
    record = completed(at=START - 1000)
    newer = backed("follow_up_completion", "rep", START)
    decision = record.row("crm", {"follow_up_completion": DONE}, by="growth_ops", evidence=newer)
    assert [("follow_up_completion", "noop", "")] == ends(decision)


@pytest.mark.parametrize(("record_wide", "resumed"), [(False, "ehr"), (True, "")])
def test_a_pause_queues_and_a_resume_decides_again(record_wide: bool, resumed: str) -> None:
    """Step 6 and *Pause*: for a system, or for the record."""
    record = both(MATRIX, email="a@x.org")
    record.control("pause", resumed)
    assert [("email", "queued", "paused")] == ends(record.row("ehr", {"email": "b@x.org"}, by="nurse"))
    crm = record.row("crm", {"weight": 80}, by="care_coordinator")
    assert [("weight", "queued" if record_wide else "applied", "paused" if record_wide else "")] == ends(crm)

    decision = record.control("resume", resumed)

    assert ("email", "applied") in [(one.field, one.outcome) for one in decision.redecided]
    assert {} == record.cases()
    assert "b@x.org" == record.current("email")


def test_one_resume_does_not_lift_the_other_pause() -> None:
    """A re-decision waits while the record, or the proposal's system, is still paused."""
    record = paused()
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.control("pause")
    assert () == record.control("resume", "ehr").redecided
    record.control("pause", "ehr")
    assert () == record.control("resume").redecided
    assert 1 == len(record.control("resume", "ehr").redecided)


def test_what_is_still_not_decided_waits_on_under_its_new_reason() -> None:
    """A re-decision is no new attempt, and may end in the queue again."""
    record = both(MATRIX, date_of_birth=DOB)
    record.control("pause", "ehr")
    record.row("ehr", {"date_of_birth": None})
    decision = record.control("resume", "ehr")
    assert [("queued", "clear", True)] == [(one.outcome, one.reason, one.joined) for one in decision.redecided]
    assert {"date_of_birth": "clear"} == record.cases()


def test_a_proposal_that_its_system_shows_no_longer_is_not_decided() -> None:
    """The latest proposal that stands counts; where none is left the case has converged."""
    record = paused()
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.row("crm", {"weight": 80}, by="care_coordinator")
    record.row("ehr", {"email": "c@x.org"}, by="nurse")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    record.row("ehr", {"email": "x@x.org"}, op="r")
    decision = record.control("resume", "ehr")
    assert () == decision.redecided
    assert {} == record.cases()


def test_a_person_lets_automations_begin_anew() -> None:
    """Step 7: a write by a person sets the guard's counts to nought, whatever its end."""
    record = oscillating()
    assert [("weight", "rejected", "owner_policy")] == ends(record.row("crm", {"weight": 1}, by="growth_ops"))
    assert [("weight", "applied", "")] == ends(record.row("ehr", {"weight": 2}, by="integration"))


def test_an_owner_whom_nobody_answers_is_no_loop() -> None:
    """Step 7: a nightly feed writes as often as it likes."""
    record = both(MATRIX, eligibility="eligible")
    for night in range(30):
        value = ("pending", "eligible")[night % 2]
        assert [("eligibility", "applied", "")] == ends(record.row("ehr", {"eligibility": value}, by="integration"))
        record.row("crm", {"eligibility": value})


STAGES = [
    pytest.param("crm", {}, "after", id="the stage's own row, now"),
    pytest.param("ehr", {"at": START + 100 * MINUTE}, "after", id="another row, after care start"),
    pytest.param("ehr", {"at": START - 1}, "before", id="another row, before it"),
]


@pytest.mark.parametrize(("system", "said", "phase"), STAGES)
def test_a_write_is_decided_on_its_side_of_care_start(system: str, said: dict[str, Any], phase: str) -> None:
    """Step 8: now for the stage's own row, at its source time for any other."""
    record = both(MATRIX, care_stage="intake_done", legal_name=NAME)
    set_by_owner(record, "care_stage", "in_care")
    decision = record.row(system, {"legal_name": OTHER}, by="person", **said)
    allowed = {("crm", "before"), ("ehr", "after")}
    expected = ("applied", "") if (system, phase) in allowed else ("rejected", "owner_policy")
    assert [expected] == [(one.outcome, one.reason) for one in decision.outcomes]


def test_the_stage_at_a_time_comes_out_of_a_short_history() -> None:
    """Step 8: the first known stage counts since ever, and an outcome says which stage it was decided under."""
    record = Record(MATRIX)
    record.now = START + 100 * MINUTE
    for number, stage in enumerate(("qualified", "consult_booked", "intake_done")):
        record.row("crm", {"care_stage": stage}, at=START + number * 10 * MINUTE)
    times = {START - MINUTE: "qualified", START + 15 * MINUTE: "consult_booked", START + 60 * MINUTE: "intake_done"}
    for at, stage in times.items():
        decision = record.row("ehr", {"email": f"{at}@x.org"}, by="nurse", at=at)
        assert [stage] == [one.stage for one in decision.outcomes]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({}, "stale", id="older than what the present owner wrote since"),
        pytest.param({"at": START + 10**7}, "", id="after care start"),
        pytest.param({"stage_row": True}, "", id="the stage's own row"),
    ],
)
def test_a_late_write_never_replaces_what_the_present_owner_has_written_since(
    said: dict[str, Any], expected: str
) -> None:
    """Step 8: under whatever grant, the write of a time before care start comes too late."""
    record = both(MATRIX, care_stage="intake_done", legal_name=NAME)
    set_by_owner(record, "care_stage", "in_care")
    set_by_owner(record, "legal_name", OTHER)
    late = {"at": START, "row": "crm/form/1", "stage_row": False, **said}
    decision = record.row("crm", {"legal_name": NAME}, by="intake_ops", reason="form", **late)
    assert [expected] == [one.reason for one in decision.outcomes]


@pytest.mark.parametrize(
    ("field", "value", "by", "expected"),
    [
        pytest.param("legal_name", NAME, "growth_ops", ("queued", "stage"), id="one owner before, another after"),
        pytest.param("legal_name", NAME, "intake_ops", ("applied", ""), id="the same either way"),
        pytest.param(
            "assigned_provider", "Dr Lee", "growth_ops", ("applied", ""), id="not critical: as before care start"
        ),
        pytest.param("email", "a@x.org", "growth_ops", ("applied", ""), id="not by stage at all"),
    ],
)
def test_while_the_stage_is_unknown_only_what_depends_on_it_waits(
    field: str, value: Any, by: str, expected: tuple[str, str]
) -> None:
    """Step 8: critical by-stage fields, and only where the write would end differently."""
    decision = both(MATRIX).row("crm", {field: value}, by=by, reason="form")
    assert [expected] == [(one.outcome, one.reason) for one in decision.outcomes]


# ------------------------------------------------------------------------------------------------ steps 9 to 15


def test_the_first_grant_that_fits_counts() -> None:
    """Section 1: of owner, secondary and override."""
    decision = both(MATRIX, care_stage="in_care").row("ehr", {"legal_name": NAME}, by="provider")
    assert ["owner: ehr after care start"] == [one.grant for one in decision.outcomes]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("paused", ("applied", "")),
        ("new_lead", ("rejected", "owner_policy")),
        ("intake_done", ("rejected", "owner_policy")),
    ],
)
def test_a_grant_with_target_values_allows_those_only(stage: str, expected: tuple[str, str]) -> None:
    """Step 9: Clinical Ops moves a patient into some stages."""
    decision = both(MATRIX, care_stage="in_care").row("ehr", requests={"care_stage": stage}, by="clinical_ops")
    assert [expected] == [(one.outcome, one.reason) for one in decision.outcomes]


@pytest.mark.parametrize(
    ("by", "reason", "expected"),
    [
        pytest.param("intake_ops", None, "reason_required", id="a person with a secondary grant"),
        pytest.param("intake_ops", "form", "", id="with a reason"),
        pytest.param("integration", "form", "owner_policy", id="an automation holds no such grant, reason or not"),
    ],
)
def test_a_critical_field_asks_others_than_its_owner_for_a_reason(by: str, reason: str | None, expected: str) -> None:
    """Step 10."""
    decision = both(MATRIX, care_stage="in_care", legal_name=NAME).row(
        "crm", {"legal_name": OTHER}, by=by, reason=reason
    )
    assert [expected] == [one.reason for one in decision.outcomes]


@pytest.mark.parametrize(
    ("by", "expected"), [("provider", ("rejected", "reason_required")), ("nurse", ("rejected", "reason_required"))]
)
def test_a_field_may_ask_its_owner_for_a_reason_too(by: str, expected: tuple[str, str]) -> None:
    """Step 10: `reason: every manual edit`."""
    decision = both(MATRIX, risk_flag="low").row("ehr", {"risk_flag": "high"}, by=by)
    assert [expected] == [(one.outcome, one.reason) for one in decision.outcomes]


@pytest.mark.parametrize(
    ("by", "field", "expected"),
    [
        pytest.param(None, "date_of_birth", ("queued", "clear"), id="an automation, critical"),
        pytest.param("nurse", "date_of_birth", ("applied", ""), id="a person, critical"),
        pytest.param(None, "billing_status", ("applied", ""), id="an automation, not critical"),
    ],
)
def test_only_a_person_clears_a_critical_field(by: str | None, field: str, expected: tuple[str, str]) -> None:
    """Step 11."""
    decision = both(MATRIX, **{field: DOB}).row("ehr", {field: None}, by=by)
    assert [expected] == [(one.outcome, one.reason) for one in decision.outcomes]


@pytest.mark.parametrize(
    ("system", "by", "said", "expected", "ended"),
    [
        pytest.param("ehr", "provider", {"reason": "x"}, "", False, id="its own role"),
        pytest.param("crm", "person", {"base": 99}, "", True, id="the owner's person who has seen it"),
        pytest.param("crm", "person", {"base": 0}, "override_active", False, id="the owner's person who has not"),
        pytest.param("crm", None, {"base": 99}, "override_active", False, id="the owner's automation"),
        pytest.param(
            "crm", "intake_ops", {"base": 99, "reason": "x"}, "", True, id="Intake Ops, as anyone in the owner"
        ),
        pytest.param("ehr", "intake_ops", {"reason": "x"}, "override_active", False, id="a secondary writer"),
    ],
)
def test_an_override_yields_to_its_role_and_to_the_owners_person(
    system: str, by: str | None, said: dict[str, Any], expected: str, ended: bool
) -> None:
    """Step 12."""
    decision = overridden().row(system, {"legal_name": {"family": "Poe", "given": "Ann"}}, by=by, **said)
    assert [expected] == [one.reason for one in decision.outcomes]
    assert (("legal_name",) if ended else ()) == decision.ended_overrides


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"base": 99}, ("applied", ""), id="a base version says so"),
        pytest.param({"base": 1}, ("rejected", "stale"), id="a base version says otherwise"),
        pytest.param({}, ("rejected", "stale"), id="no base version, and the system showed another value"),
        pytest.param({"row": "crm/patient/1"}, ("applied", ""), id="the same row set the current value"),
    ],
)
def test_a_write_has_seen_the_current_value_or_not(said: dict[str, Any], expected: tuple[str, str]) -> None:
    """Section 1, *seen*: the EHR still shows the value of before."""
    decision = sending().row("ehr", {"email": "c@x.org"}, by="nurse", at=START, **said)
    assert [("email", *expected)] == ends(decision)


def test_a_write_has_seen_what_its_system_showed() -> None:
    """Section 1, *seen*: without a base version, by what was shown just before."""
    decision = both(MATRIX, email="a@x.org").row("ehr", {"email": "c@x.org"}, by="nurse", at=START)
    assert [("email", "applied", "")] == ends(decision)


def test_where_nothing_is_current_everything_has_seen_it() -> None:
    """Section 1, *seen*: also with a base version of nought."""
    assert [("email", "applied", "")] == ends(both(MATRIX).row("ehr", {"email": "c@x.org"}, by="nurse", base=0))


def test_a_system_of_which_nothing_is_expected_has_seen_what_it_showed_itself() -> None:
    """Section 1, *seen*: there the full value counts."""
    matrix = having(MATRIX, "email", views={"ehr": "none", "crm": "full"})
    record = both(matrix, email="a@x.org")
    assert [("email", "rejected", "stale")] == ends(record.row("ehr", {"email": "b@x.org"}, by="nurse", at=START))
    record.row("crm", {"email": "b@x.org"}, by="person")
    assert [("email", "applied", "")] == ends(record.row("ehr", {"email": "c@x.org"}, by="nurse", at=START))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param(-6000, "stale", id="older beyond the skew"),
        pytest.param(-5000, "", id="as old as the skew allows"),
        pytest.param(10**9, "", id="in the future, which is the broker's now"),
    ],
)
def test_an_unseen_write_of_the_owner_must_not_be_older(at: int, expected: str) -> None:
    """Step 13: by source time, beyond the matrix's skew."""
    record = both(MATRIX, email="a@x.org")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    assert record.state is not None
    written = record.state.fields["email"].at
    decision = record.row("crm", {"email": "c@x.org"}, by="person", at=written + at)
    assert [expected] == [one.reason for one in decision.outcomes]
    assert record.state.fields["email"].at <= record.now


def test_an_applied_write_over_an_unseen_value_is_a_conflict_that_the_matrix_resolved() -> None:
    """*Applied*: logged as a resolution, and only then."""
    record = both(MATRIX, email="a@x.org")
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    unseen = record.row("crm", {"email": "c@x.org"}, by="person")
    seen = record.row("crm", {"email": "d@x.org"}, by="person")
    assert [[True], [False]] == [[one.unseen for one in decision.outcomes] for decision in (unseen, seen)]


def test_a_group_shares_its_worst_verdict() -> None:
    """Step 15: rejected before queued before applied; other fields of the event are not drawn in."""
    record = both(CRITICAL_PAYER, insurance_payer="Acme", insurance_member_id="A1", weight=80)
    decision = record.row("ehr", {"insurance_payer": None, "insurance_member_id": "B2", "weight": 81})
    assert {
        ("insurance_payer", "queued", "clear"),
        ("insurance_member_id", "queued", "group"),
        ("weight", "applied", ""),
    } == set(ends(decision))


def test_a_group_is_not_drawn_down_by_a_field_that_does_not_change() -> None:
    """Step 15: only the writes of the event count, and a noop is none."""
    record = both(MATRIX, insurance_payer="Acme", insurance_member_id="A1")
    record.row("ehr", {"insurance_payer": "Beta"}, by="nurse")
    decision = record.row("crm", {"insurance_payer": "Beta", "insurance_member_id": "B2"}, by="intake_ops")
    assert {("insurance_payer", "noop", ""), ("insurance_member_id", "applied", "")} == set(ends(decision))


# ------------------------------------------------------------------------------------------------ deletes, handover


def test_a_deleted_patient_is_forgotten_there_and_cleared_nowhere() -> None:
    """*Delete*: one case for the record, which closes when the key reappears; positions stay."""
    record = both(MATRIX, date_of_birth=DOB, email="a@x.org")
    decision = record.row("ehr", {"email": "a@x.org"}, op="d")
    assert {":absent:ehr": "absent"} == record.cases()
    assert ([], 1) == (ends(decision), decision.noops)
    assert not record.system("ehr").present
    assert {} == record.system("ehr").shown
    assert DOB == record.current("date_of_birth")
    assert [("email", "replay", "")] == ends(record.row("ehr", {"email": "x"}, position=(1,)))

    decision = record.row("ehr", {"date_of_birth": DOB}, op="c")
    assert {} == record.cases()
    assert {"ehr": ("change", {"email": "a@x.org"})} == sent(decision)


OTHER_ROWS = [{"primary": False, "row": "ehr/vitals/1"}, {"op": "d"}, {"key": "ehr-0", "row": "ehr/patient/0"}]


@pytest.mark.parametrize("said", OTHER_ROWS)
def test_a_delete_that_is_no_patients_opens_nothing(said: dict[str, Any]) -> None:
    """A row of another table, the row that the patient had before, or a patient who is absent already."""
    record = both(MATRIX, date_of_birth=DOB)
    if "primary" not in said:
        record.row("ehr", op="d")
        record.row("ehr", {"date_of_birth": DOB}, op="c")
        record.row("ehr", op="d")
    before = record.cases()
    record.row("ehr", **{"op": "d", **said})
    assert before == record.cases()


def test_a_row_that_comes_back_is_fresh_in_all() -> None:
    """*Delete*: what a deleted row showed beside its fields is forgotten, whether or not it was the patient's own."""
    record = both(MATRIX)
    vitals = {"primary": False, "row": "ehr/vitals/1", "evidence": backed("follow_up_completion", "dr", START - 1000)}
    record.row("ehr", **{**vitals, "reason": "seen"})
    record.row("ehr", op="d", primary=False, row="ehr/vitals/1")
    row = record.system("ehr").rows["ehr/vitals/1"]
    assert (None, {}, (4,)) == (row.reason, row.evidence, row.position)


def test_agreement_ends_a_refusal_in_a_system_that_is_not_present_yet() -> None:
    """Section 1, *refused*: “and still not what is expected”; a row beside the primary one may arrive first."""
    record = Record(MATRIX)
    task = {"primary": False, "row": "crm/Task/1", "key": "crm-1"}
    record.row("crm", {"date_of_birth": DOB}, by="person", **task)
    assert {"date_of_birth"} == set(record.system("crm").refused)
    record.row("ehr", {"date_of_birth": DOB}, op="c")
    assert {} == record.system("crm").refused


def test_a_delete_in_a_system_that_owns_nothing_is_nobodys_case() -> None:
    """*Delete*: only where it owned fields that have a current value."""
    record = both(MATRIX, date_of_birth=DOB)
    record.row("crm", op="d")
    assert {} == record.cases()


def test_a_patient_who_reappears_by_a_snapshot_is_listed_and_not_overwritten() -> None:
    """Step 5: no sweep; what it misses is a baseline difference."""
    record = both(MATRIX, date_of_birth=DOB, email="a@x.org", referral_source_detail="x")
    record.row("ehr", op="d")
    decision = record.row("ehr", {"date_of_birth": DOB}, op="r")
    assert () == decision.sends
    assert {"email"} == set(record.system("ehr").baseline)
    assert {} == record.cases()


HANDOVERS = [
    pytest.param(None, {}, {"legal_name": NAME}, id="it shows nothing"),
    pytest.param(OTHER, {"legal_name": "handover"}, {}, id="it shows another value"),
    pytest.param(NAME, {}, {}, id="it shows the same"),
]


@pytest.mark.parametrize(("shown", "cases", "sends"), HANDOVERS)
def test_care_start_hands_fields_over(shown: Any, cases: dict[str, str], sends: dict[str, Any]) -> None:
    """*Handover*: to an owner who shows nothing current is sent; one who shows another value is asked about."""
    record = Record(MATRIX)
    record.row("crm", {"care_stage": "intake_done", "legal_name": NAME}, op="c", by="growth_ops")
    record.row("ehr", {"legal_name": shown}, op="r")
    decision = record.row("crm", {"care_stage": "in_care"}, by="growth_ops")
    assert cases == record.cases()
    assert {**sends, "care_stage": "active"} == decision.sends[0].values
    assert NAME == record.current("legal_name")


def test_nothing_is_handed_over_where_nothing_is_or_where_nobody_is() -> None:
    """*Handover*: no current value, or an owner-to-be who is absent."""
    record = Record(MATRIX)
    record.row("crm", {"care_stage": "intake_done", "legal_name": NAME}, op="c", by="growth_ops")
    assert () == record.row("crm", {"care_stage": "in_care"}, by="growth_ops").sends
    assert {} == record.cases()


def test_a_revision_that_drops_a_field_leaves_its_case_alone() -> None:
    """What waits for a field that the matrix no longer has is decided by nobody, and breaks nothing."""
    record = paused()
    record.row("ehr", {"email": "b@x.org"}, by="nurse")
    fields = {name: field for name, field in MATRIX.fields.items() if name != "email"}
    record.matrix = replace(MATRIX, fields=fields)
    decision = record.control("resume", "ehr")
    assert () == decision.redecided
    assert {"email": "paused"} == record.cases()


def test_a_probable_duplicate_is_one_case_of_the_record() -> None:
    """What is written to the record goes its way meanwhile; a field that the matrix has not names nobody."""
    record = both(MATRIX, email="a@x.org")
    match = Change(id="m1", record="r1", kind="match", about="date_of_birth", other="r2", received=record.now)
    assert () == record.decide(replace(match, about="shoe_size")).cases
    assert [("opened", "duplicate")] == [(one.event, one.case.reason) for one in record.decide(match).cases]
    assert () == record.decide(replace(match, id="m2")).cases
    assert ["joined"] == [one.event for one in record.decide(replace(match, id="m3", other="r3")).cases]
    assert record.state is not None
    assert ["r2", "r3"] == [one.value for one in record.state.cases[":duplicate"].proposals]
    assert [("email", "applied", "")] == ends(record.row("crm", {"email": "b@x.org"}, by="person"))
    assert {":duplicate": "duplicate"} == record.cases()


def test_a_send_names_who_wrote_what_is_sent() -> None:
    """A change its writer with the fresh reason; a restore the writer of the current value, and no reason."""
    record = both(MATRIX, date_of_birth="1980-01-02")
    change = record.row("ehr", {"date_of_birth": "1980-01-03"}, by="nurse", reason="typed wrongly")
    record.lands(change, "crm")
    restore = record.row("crm", {"date_of_birth": "1999-09-09"}, by="growth_ops", reason="a reason of no weight")
    assert [("change", "nurse", "typed wrongly"), ("restore", "nurse", None)] == [
        (send.kind, send.role, send.reason) for send in (*change.sends, *restore.sends)
    ]


def test_what_waits_for_a_paused_system_waits_on_though_it_stands_no_longer() -> None:
    """Another resume than that system's does not settle it."""
    record = Record(MATRIX)
    record.control("pause", "ehr")
    record.row("ehr", {"email": "b@x.org"}, by="nurse", op="c")
    record.row("ehr", op="d")
    record.control("resume")
    assert {"email": "paused"} == record.cases()
    record.control("resume", "ehr")
    assert {} == record.cases()
