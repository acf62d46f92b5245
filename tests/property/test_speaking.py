"""Of several rows one speaks: a few lines that say which, written from the rules, beside what the state shows.

The rows of two patients' tables are written, filtered out, moved, deleted and repeated in any order. Whatever happens,
the system is held to show what the one standing row of the greatest rank says; where there is no such one, a person is
asked and nothing moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from deciding import MINUTE, START
from ownership_stream.decide import decide
from ownership_stream.model import Change, RecordState, Value
from ownership_stream.wire import pack_state, unpack_state
from small_matrix import MATRIX

AMONG = "ehr/visit"
NAMES = ("weight", "nickname")


@dataclass(frozen=True)
class Act:
    """What happens to one row; `whole`: the event carries both of its columns."""

    kind: Literal["write", "read", "hide", "delete", "repeat"]
    row: int
    rank: tuple[int, ...] = (0,)
    values: tuple[int | None, int | None] = (None, None)
    whole: bool = True


ACTS = st.builds(
    Act,
    kind=st.sampled_from(["write", "write", "write", "read", "hide", "delete", "repeat"]),
    row=st.integers(0, 4),
    rank=st.tuples(st.integers(0, 3)) | st.tuples(st.integers(0, 3), st.integers(0, 1)),
    values=st.tuples(st.none() | st.integers(70, 72), st.none() | st.integers(0, 2)),
    whole=st.sampled_from([True, True, True, False]),
)


@dataclass
class Naive:
    """Every row as it last was, and what they say as one."""

    rows: dict[int, tuple[tuple[int, ...], dict[str, Value]]] = field(default_factory=dict)
    shown: dict[str, Value] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)

    def feed(self, act: Act, carried: dict[str, Value]) -> None:
        """Of the rows that stand the one of the greatest rank speaks; of several, if all of them say the same."""
        if act.kind in {"hide", "delete"}:
            self.rows.pop(act.row, None)
        else:
            before = self.rows.get(act.row, ((), {}))[1]
            self.rows[act.row] = (act.rank, {**before, **carried})
        best = max((rank for rank, _ in self.rows.values()), default=None)
        first = [said for rank, said in self.rows.values() if rank == best]
        names = {name for said in first for name in said}
        self.unclear = {name for name in names if any(said.get(name, ...) != first[0].get(name, ...) for said in first)}
        if not self.unclear:
            said = first[0] if first else dict.fromkeys(self.shown)
            self.shown |= said


def played(acts: Sequence[Act]) -> None:
    """Play the acts in both, and compare after each."""
    state: RecordState | None = None
    naive, told = Naive(), dict[int, list[Change]]()
    for number, act in enumerate(acts, 1):
        values: dict[str, Value] = dict(zip(NAMES, (act.values[0], act.values[1] and f"n{act.values[1]}"), strict=True))
        carried = {} if act.kind == "delete" else values if act.whole else {NAMES[0]: values[NAMES[0]]}
        change = Change(
            id=f"c{number}", record="r", system="ehr", row=f"{AMONG}/{act.row}", primary=False, among=AMONG,
            op="d" if act.kind == "delete" else "r" if act.kind == "read" else "u", position=(1, number),
            rank=None if act.kind in {"hide", "delete"} else act.rank, fields=carried, at=START + number * MINUTE,
            actor="pat", role="provider", origin="person", event=("actor",), received=START + number * MINUTE,
        )  # fmt: skip
        if act.kind == "repeat":
            if act.row not in told:
                continue
            again = replace(told[act.row][number % len(told[act.row])], received=change.received)
            decision = decide(MATRIX, state, again)
            if again is not told[act.row][-1] or again.op != "r":
                assert {"replay"} >= {one.outcome for one in decision.outcomes}
                assert decision.noops == 0
            state = decision.state
        else:
            told.setdefault(act.row, []).append(change)
            before = state
            decision = decide(MATRIX, state, change)
            naive.feed(act, carried)
            spoken = change.fields if decision.said is None else decision.said.fields
            assert len(spoken) == len(decision.outcomes) + decision.noops
            state = unpack_state(pack_state(decision.state))
            assert sorted_alike(decide(MATRIX, before, change), decision)
        compare(state, naive)
    event("a tie" if naive.unclear else "clear")


def sorted_alike(one: Any, other: Any) -> bool:
    """The same, to the byte."""
    return pack_state(one.state) == pack_state(other.state) and repr(one.outcomes) == repr(other.outcomes)


def compare(state: RecordState | None, naive: Naive) -> None:
    """What the system shows, and for what somebody is asked."""
    if state is None:
        return
    system = state.systems.get("ehr")
    shown = {} if system is None else system.shown
    assert {name: value for name, value in naive.shown.items() if value is not None} == {
        name: value for name, value in shown.items() if value is not None
    }
    assert naive.unclear == {name for name, case in state.cases.items() if case.reason == "speaker"}


@given(st.lists(ACTS, max_size=25))
def test_what_is_shown_is_what_the_one_row_says(acts: list[Act]) -> None:
    """After any history of any rows."""
    played(acts)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=10, unique_by=lambda one: one[0]))
def test_the_order_in_which_rows_are_read_does_not_matter(rows: list[tuple[int, int]]) -> None:
    """A snapshot reads them in any order; in the end the same one speaks, and nobody was sent anything."""
    ends = []
    for order in (rows, rows[::-1], sorted(rows)):
        state: RecordState | None = decide(
            MATRIX, None, Change(id="p", record="r", system="crm", row="crm/c/1", op="c", key="1", position=(1,))
        ).state
        for number, (row, weight) in enumerate(order, 1):
            decision = decide(
                MATRIX, state,
                Change(
                    id=f"s{number}", record="r", system="ehr", row=f"{AMONG}/{row}", primary=False, among=AMONG, op="r",
                    position=(1, 5), rank=(row,), fields={"weight": weight}, at=START, received=START,
                ),
            )  # fmt: skip
            assert () == decision.sends
            state = decision.state
        assert state is not None
        ends.append((state.systems["ehr"].shown, state.fields["weight"].value, state.cases))
    assert ends[0] == ends[1] == ends[2]
    assert max(rows)[1] == ends[0][1]
