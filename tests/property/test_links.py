"""Whatever is linked, merged and split, in whatever order lanes come to it: nothing is lost, mixed, taken in doubt."""

from collections import defaultdict
from random import Random
from typing import Any

import hypothesis.strategies as st
from hypothesis import event, given
from msgspec.structs import replace

from histories import histories
from links_kit import BORN, HOMES, Lanes, contact, patient, says
from oracle_links import Side, merged, parted, plain
from ownership_stream.draft import Draft
from ownership_stream.merge import TOGETHER, came_from, merge, split
from ownership_stream.model import Change, RecordState, identity_of
from small_matrix import MATRIX
from source_rows import Step
from step_kit import TOPICS, on, told_out

CONTACTS, PATIENTS = ("003A", "003B"), ("7", "8")
RECORDS = (*CONTACTS, *(f"ehr:{key}" for key in PATIENTS))
BIRTHS = st.sampled_from([BORN, BORN, BORN, "1991-05-06"])

contacts = st.tuples(
    st.just("contact"),
    st.sampled_from(CONTACTS),
    st.sampled_from(["c", "u", "u", "u", "d", "r"]),
    st.fixed_dictionaries(
        {},
        optional={
            "email": st.sampled_from(["a@example.org", "b@example.org"]),
            "care_stage": st.sampled_from(["new_lead", "qualified"]),
            "date_of_birth": BIRTHS,
        },
    ),
)
patients = st.tuples(
    st.just("patient"),
    st.sampled_from(PATIENTS),
    st.sampled_from(["c", "u", "u", "u", "u", "d", "r"]),
    st.fixed_dictionaries(
        {"link": st.sampled_from([None, "003A", "003A", "003B"])},
        optional={"sex": st.sampled_from(["female", "male"]), "date_of_birth": BIRTHS},
    ),
)
words = st.tuples(
    st.just("says"),
    st.sampled_from(RECORDS),
    st.sampled_from(["link", "confirm", "unlink", "link"]),
    st.fixed_dictionaries({"other": st.sampled_from(RECORDS)}),
)
Event = tuple[str, str, str, dict[str, Any]]
events = st.lists(st.one_of(contacts, patients, patients, words), min_size=2, max_size=14)


def changes_of(said: list[Event]) -> list[Change]:
    """The events as they stand on the log; a row begins once, unless it was deleted in between."""
    there: set[str] = set()
    found = []
    for number, (sort, name, how, more) in enumerate(said, 1):
        if sort == "says":
            found.append(says(how, name, "" if how == "unlink" else more["other"], number))
            continue
        op = "u" if how == "c" and name in there else how
        there = there - {name} if op == "d" else there | {name}
        values = {key: value for key, value in more.items() if key != "link"} or {"language": "en"}
        if sort == "contact":
            found.append(contact(name, number, op=op, **values))
        else:
            found.append(patient(name, number, more["link"], op=op, **values))
    return found


def play(said: list[Event], seed: int, batches: int) -> Lanes:
    """The history on lanes that come to it in an order of their own, a few events at a time."""
    random = Random(seed)  # noqa: S311  # an order to be repeated, and no secret
    lanes = Lanes(lambda waiting: random.choice(list(waiting)))
    changes = changes_of(said)
    for first in range(0, len(changes), batches):
        lanes.give(*changes[first : first + batches])
        for _ in range(random.randrange(4)):
            lanes.work()
    return lanes.tell()


@given(said=events, seed=st.integers(0, 5), batches=st.integers(1, 14))
def test_every_field_of_every_row_ends_once_wherever_it_was_sent(said: list[Event], seed: int, batches: int) -> None:
    """Closed accounting over forwards, and no decision that failed."""
    lanes = play(said, seed, batches)
    carried = sum(len(change.fields) for change in changes_of(said) if change.kind == "row")
    assert carried == sum(number for key, number in lanes.counts.items() if key[0] == "outcomes")
    assert [] == on(lanes.outputs, TOPICS.dead_letters)
    for key in sorted({change.kind for change in lanes.decided}):
        event(key)


def holders(lanes: Lanes) -> dict[tuple[str, str], list[str]]:
    """(system, native key) -> the records that hold its rows."""
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in lanes.stored.keys() & set(RECORDS):
        silent = [(one.system, one.seat) for one in lanes.identity(name).silent.values()]
        for system, seat in (*lanes.known(name).systems.items(), *silent):
            if seat.present:
                held[system, seat.key].append(name)
    return held


@given(said=events, seed=st.integers(0, 5), batches=st.integers(1, 14))
def test_no_two_records_that_flow_have_the_same_row_and_marks_lead_to_smaller_ones(
    said: list[Event], seed: int, batches: int
) -> None:
    """Two patients are never mixed, nor one patient kept twice, and no forward goes in a circle."""
    lanes = play(said, seed, batches)
    for name in RECORDS:
        moved = lanes.identity(name).moved
        assert not moved or HOMES.order(moved) < HOMES.order(name)
    flowing = {
        key: [name for name in names if not lanes.identity(name).doubts] for key, names in holders(lanes).items()
    }
    assert {} == {key: names for key, names in flowing.items() if len(names) > 1}


@given(said=st.lists(st.one_of(contacts, patients, patients), min_size=2, max_size=14), seed=st.integers(0, 5))
def test_without_people_no_two_records_have_the_same_row_at_all(said: list[Event], seed: int) -> None:
    """Whatever rows say, and in whatever order lanes come to them."""
    lanes = play(said, seed, len(said))
    assert {} == {key: names for key, names in holders(lanes).items() if len(names) > 1}


@given(said=events, seed=st.integers(0, 5), batches=st.integers(1, 14))
def test_nothing_is_sent_for_a_record_in_doubt(said: list[Event], seed: int, batches: int) -> None:
    """Nor does a current value of it change by what a row says."""
    random = Random(seed)  # noqa: S311  # an order to be repeated, and no secret
    lanes = Lanes(lambda waiting: random.choice(list(waiting)))
    lanes.give(*changes_of(said))
    before: dict[str, RecordState] = {}
    sent = 0
    while lanes.work():
        change = lanes.decided[-1]
        name = change.record
        state, was = lanes.known(name), before.get(name, RecordState())
        applies = sum(output.topic in TOPICS.apply.values() for output in lanes.outputs)
        if identity_of(state).doubts:
            assert sent == applies
            event("in doubt")
        if identity_of(was).doubts and change.kind == "row" and change.op != "r":
            assert values(was) == values(state)
        before[name], sent = state, applies


@given(said=events, seed=st.integers(0, 5), batches=st.integers(1, 14))
def test_a_person_can_end_every_doubt(said: list[Event], seed: int, batches: int) -> None:
    """Whatever came together: once every record in doubt is unlinked, all flows go on."""
    lanes = play(said, seed, batches)
    doubtful = [name for name in RECORDS if lanes.identity(name).doubts]
    for number, name in enumerate(
        [*doubtful, *(one for other in doubtful for one in lanes.identity(other).doubts)], 800
    ):
        lanes.tell(says("unlink", name, number=number))
    assert {} == {name: lanes.identity(name).doubts for name in RECORDS if lanes.identity(name).doubts}
    assert [] == [name for name in RECORDS if ":link" in lanes.cases(name)]


# ----------------------------------------------------------------------------------------------------- the merge alone


def last_state(history: tuple[Step, ...]) -> RecordState:
    """What a generated history leaves."""
    states = [decision.state for _, _, decision in told_out(MATRIX, history)]
    return states[-1] if states else RecordState()


def renamed(state: RecordState) -> RecordState:
    """The same history under other keys and rows, as another record's."""
    systems = {}
    for key, seat in state.systems.items():
        rows = {other_row(name): row for name, row in seat.rows.items()}
        systems[key] = replace(seat, key=f"{seat.key or key}-other", rows=rows)
    fields = {name: replace(one, row=one.row and other_row(one.row)) for name, one in state.fields.items()}
    return replace(state, systems=systems, fields=fields)


def other_row(name: str) -> str:
    """Another one; what several rows of a table are together has the same name in every record."""
    return name if name.endswith(TOGETHER) else f"{name}-other"


def merging(other: str = "b") -> Change:
    """The change that brings the other history."""
    return Change(id=f"merge-{other}", record="a", kind="merge", other=other, at=10**13, received=10**13)


@given(mine=histories(most=3), theirs=histories(most=3))
def test_a_merge_is_what_the_rules_say(mine: tuple[Step, ...], theirs: tuple[Step, ...]) -> None:
    """Each field that the other history has ends once, as the second reading of the rules ends it."""
    one, other = last_state(mine), renamed(last_state(theirs))
    decision = merge(MATRIX, one, other, merging(), frozenset())
    expected = merged(MATRIX, plain(one), plain(other))
    actual = {outcome.field: outcome.outcome for outcome in decision.merged}
    assert expected == actual
    assert len(decision.merged) == len(actual)
    for outcome in decision.merged:
        event(f"{outcome.field}: {outcome.outcome}")


@given(mine=histories(most=3), theirs=histories(most=3))
def test_both_directions_of_a_merge_take_the_same_values(mine: tuple[Step, ...], theirs: tuple[Step, ...]) -> None:
    """But for what a person is asked about, where each direction keeps its own."""
    one, other = last_state(mine), renamed(last_state(theirs))
    there = {o.field: o.outcome for o in merge(MATRIX, one, other, merging(), frozenset()).merged}
    back = {o.field: o.outcome for o in merge(MATRIX, other, one, merging(), frozenset()).merged}
    turned = {"noop": "noop", "queued": "queued", "applied": "rejected", "rejected": "applied"}
    for name in there.keys() & back.keys():
        assert turned[there[name]] == back[name]


@given(mine=histories(most=2), theirs=histories(most=2), third=histories(most=2))
def test_one_sided_values_are_taken_in_whatever_order_three_records_are_merged(
    mine: tuple[Step, ...], theirs: tuple[Step, ...], third: tuple[Step, ...]
) -> None:
    """A value that only one of them has is the merged record's, by either way."""
    names = sorted(MATRIX.fields.keys() - {MATRIX.stages.field})
    groups = {name: MATRIX.fields[name].group or name for name in names}
    order = {group: number % 3 for number, group in enumerate(sorted(set(groups.values())))}
    parts = [
        only(state, {name for name in names if order[groups[name]] == number})
        for number, state in enumerate((last_state(mine), last_state(theirs), last_state(third)))
    ]
    first = merge(MATRIX, parts[0], parts[1], merging("b"), frozenset()).state
    left = merge(MATRIX, first, parts[2], merging("c"), frozenset()).state
    second = merge(MATRIX, parts[1], parts[2], merging("c"), frozenset()).state
    right = merge(MATRIX, parts[0], second, merging("b"), frozenset()).state
    assert values(left) == values(right)
    assert values(left) == {**values(parts[0]), **values(parts[1]), **values(parts[2])}


@given(mine=histories(most=3), theirs=histories(most=3))
def test_a_split_is_what_the_rules_say(mine: tuple[Step, ...], theirs: tuple[Step, ...]) -> None:
    """Each side has what its own rows set, deleted ones too; what it lost it takes from its owner or from nobody."""
    one, other = last_state(mine), renamed(last_state(theirs))
    state = merge(MATRIX, one, other, merging(), frozenset()).state
    seats = [(name, seat.key) for name, seat in state.systems.items()]
    seats += [(name, silent.seat.key) for name, silent in identity_of(state).silent.items()]
    draft = Draft(MATRIX, state, replace(merging(), id="split", kind="split"), frozenset())
    part = split(draft, "b", {"b"}, [name for name, key in seats if key.endswith("-other")])
    goes = stage_goes(state, other)
    own = {name for name, seat in state.systems.items() if not seat.key.endswith("-other")}
    sides = [
        Side(
            {came_from(name), *rows_of(before, speaks)},
            speaks,
            {key: seat.shown for key, seat in after.items() if seat.present},
            state.care_started is not None and has_it,
        )
        for name, before, speaks, after, has_it in (
            ("a", one, own, draft.systems, not goes), ("b", other, state.systems.keys() - own, part.systems, goes),
        )
    ]  # fmt: skip
    assert parted(MATRIX, state, *sides) == (values(draft.to_state()), values(part))


def rows_of(state: RecordState, speaks: set[str]) -> set[str]:
    """The rows of a record; what several are together only where a key of it speaks."""
    rows = {(key, name) for key, seat in state.systems.items() for name in seat.rows}
    return {name for key, name in rows if key in speaks or not name.endswith(TOGETHER)}


def stage_goes(state: RecordState, other: RecordState) -> bool:
    """Whether the current stage was set by a row of the other record."""
    stage = state.fields.get(MATRIX.stages.field)
    rows = {came_from("b"), *(name for seat in other.systems.values() for name in seat.rows)}
    return stage is not None and stage.row in rows


def only(state: RecordState, names: set[str]) -> RecordState:
    """The current values of some fields, and nothing else."""
    fields = {name: one for name, one in state.fields.items() if name in names and one.version}
    return RecordState(version=state.version, fields=fields)


def values(state: RecordState) -> dict[str, Any]:
    """Current values."""
    return {name: one.value for name, one in state.fields.items() if one.version}


@given(history=histories(most=3))
def test_a_history_merged_into_nothing_goes_on_as_it_was(history: tuple[Step, ...]) -> None:
    """Its values and what its systems show; only versions are raised above those that anybody has seen."""
    before = last_state(history)
    after = merge(MATRIX, None, before, merging(), frozenset()).state
    assert values(before) == values(after)
    assert {key: seat.shown for key, seat in before.systems.items()} == {
        key: seat.shown for key, seat in after.systems.items()
    }
    assert before.stages == after.stages
