"""A simulated EHR and CRM around the decision, which apply what they are sent and tell what they hold.

They hold rows, are written to by people, automations and our sinks, and emit CDC events; between them and ``decide``
lies a network that repeats, delays, reorders across rows, collapses, cuts off and loses. One seed decides every chance,
so that a run is repeated exactly. What the simulation keeps true, because every connector does: the events of one row
arrive in its order, and each change of a row is told at least once, if only as part of a later one.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import hypothesis.strategies as st
import msgspec

from oracle_record import canonical
from ownership_stream.decide import decide
from ownership_stream.matrix.compiled import Summary
from ownership_stream.model import Ask, Change, Decision, Evidence, RecordState, SystemState, Value
from ownership_stream.resolve import edition, offers
from ownership_stream.slots import has_own
from small_matrix import CRM, EHR, MATRIX
from source_rows import ACTORS, DOMAIN, SOURCES, START, SUMMARIES, Actor, Column, Source, coerced, line

SYNC = Actor("sync", None, "automation")
BOT = Actor("bot", None, "automation")
QUARTER = 900_000


@dataclass(frozen=True)
class Weather:
    """How careless network and systems are; each figure is a chance in a hundred."""

    duplicate: int = 0
    delay: int = 0
    collapse: int = 0
    lose: int = 0
    coerce: frozenset[str] = frozenset()
    """Systems that cut off and capitalise what our sink writes."""
    marker: frozenset[str] = frozenset()
    """Systems that keep our change id in a marker column."""
    breaker: int = 0
    crash: int = 0
    """Our sinks write some of what they wrote again; systems with a marker take it away when somebody else saves."""


@dataclass(frozen=True)
class Edit:
    """Somebody writes one cell of a row by hand, or a feed does."""

    system: str
    field: str
    value: int
    """Which of the field's small domain; 0 is null."""
    actor: int
    reason: bool = False
    evidence: Literal["none", "now", "earlier"] = "none"
    seen: bool = False
    by_request: bool = False
    """In the column that asks, where there is one beside the one that shows."""
    turns: int = 0
    """How much goes on elsewhere until the next edit."""


@dataclass(frozen=True)
class Habit:
    """An automation that answers every write of ours to a cell with a value of its own."""

    system: str
    field: str
    value: int


@dataclass(frozen=True)
class Life:
    """All that will happen to one record."""

    weather: Weather
    habits: tuple[Habit, ...]
    edits: tuple[Edit, ...]
    seed: int


@dataclass
class SimulatedRow:
    """A row of a source system and what its connector still has to tell."""

    source: Source
    cells: dict[Column, Value] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    changed: bool = False
    position: int = 0
    at: int = 0
    waiting: deque[Change] = field(default_factory=deque)
    told: list[Change] = field(default_factory=list)
    hands: set[str | None] = field(default_factory=set)
    """Who has written it since its connector read it last."""


@dataclass
class Order:
    """What our sink has been told to write."""

    system: str
    change_id: str
    values: dict[str, Value]


class World:
    """One record in two systems, the network and the decision."""

    def __init__(self, weather: Weather, habits: tuple[Habit, ...], seed: int) -> None:
        self.weather, self.habits = weather, habits
        self.random = random.Random(seed)  # noqa: S311 - a repeatable schedule, nothing secret
        self.rows = [SimulatedRow(source) for source in SOURCES]
        self.orders: dict[str, deque[Order]] = {EHR: deque(), CRM: deque()}
        self.done: dict[str, list[Order]] = {EHR: [], CRM: []}
        """What our sinks wrote since they crashed last."""
        self.ours: set[str] = set()
        """Events that tell of nothing but our sinks' writes."""
        self.taken: list[str] = []
        """What of them ended as somebody's attempt."""
        self.state: RecordState | None = None
        self.now, self.number = START, 0
        self.sent: dict[tuple[str, str], int] = {}
        """(system, field) -> sends since the last event of a person was decided."""
        self.events = 0
        """Events decided since then."""
        self.story: list[str] = []

    # ------------------------------------------------------------------------------------------ what people do

    def edit(self, edit: Edit) -> None:
        """Somebody writes a cell."""
        row, column = self.cell(edit.system, edit.field, by_request=edit.by_request)
        evidence = {"now": Evidence("dr", self.now), "earlier": Evidence("dr", self.now - QUARTER)}.get(edit.evidence)
        if evidence is not None and MATRIX.fields[edit.field].evidence:
            row.evidence[edit.field] = evidence
        known = self.state.fields.get(edit.field) if self.state else None
        self.write(row, {column: a_value(edit.system, column, edit.value)}, ACTORS[edit.actor])
        row.attributes["reason"] = f"asked {self.number}" if edit.reason else None
        row.attributes["base"] = known.version if edit.seen and known is not None else None

    def cell(self, system: str, name: str, *, by_request: bool = False) -> tuple[SimulatedRow, Column]:
        """The row and the column of a field in a system."""
        found = [
            (row, one)
            for row in self.rows
            if row.source.system == system
            for one in row.source.columns
            if one[1] == name
        ]
        return found[-1] if by_request else found[0]

    def write(self, row: SimulatedRow, cells: dict[Column, Value], who: Actor, marker: str | None = None) -> None:
        """Cells of a row are written; its connector will notice."""
        self.number += 1
        for column, value in cells.items():
            row.cells[column] = all_parts(column[1], row.cells.get(column), value)
        row.attributes |= {"actor": who.name, "role": who.role, "origin": who.origin, "updated_at": self.number}
        row.attributes |= {"reason": None, "base": None}
        if self.weather.crash and row.attributes.get("marker") == marker:
            row.attributes["marker"] = None
        elif marker is not None or self.weather.crash:
            row.attributes["marker"] = marker
        row.hands.add(who.name)
        row.changed, row.at = True, self.now

    def resolve(self, name: str, action: Literal["accept", "keep", "set"]) -> Decision | None:
        """The escalation owner decides the field's case, if there is one, as it is now; any offer, or any value."""
        case = self.state.cases.get(name) if self.state is not None else None
        if self.state is None or case is None:
            return None
        found = offers(MATRIX, self.state, case)
        system = self.random.choice(found).system if found else EHR
        value = self.random.choice(DOMAIN[name])
        self.number += 1
        ask = Ask(case=case.id, action=action, edition=edition(self.state, case), system=system, value=value)
        change = Change(
            id=f"p{self.number}", record="r", kind="resolve", at=self.now, actor="ola", role=case.owner,
            origin="person", reason="asked", ask=ask,
        )  # fmt: skip
        decision = self.decide(change)
        self.sent, self.events = {}, 0
        return decision

    # ------------------------------------------------------------------------------------------ connectors and network

    def capture(self, row: SimulatedRow) -> None:
        """The connector reads what the row holds now, however many writes that were, and queues one event."""
        if not row.changed:
            return
        row.changed = False
        row.position += 1
        self.number += 1
        if row.hands == {SYNC.name}:
            self.ours.add(f"e{self.number}")
        row.hands.clear()
        shelves: dict[str, dict[str, Value]] = {"field": {}, "compared": {}, "request": {}}
        for sort, name in row.source.columns:
            shelves[sort][name] = row.cells.get((sort, name))
        row.waiting.append(
            Change(
                id=f"e{self.number}",
                record="r",
                system=row.source.system,
                row=row.source.name,
                op="c" if row.position == 1 else "u",
                key=f"{row.source.system}-1",
                primary=row.source.primary,
                stage_row=row.source.stage_row,
                position=(1, row.position),
                at=row.at,
                fields=shelves["field"],
                compared=shelves["compared"],
                requests=shelves["request"],
                evidence=dict(row.evidence),
                **row.attributes,
            )
        )

    def deliver(self, row: SimulatedRow) -> None:
        """The oldest waiting event of a row arrives; a restarted connector may tell its tail again first."""
        if row.told and self.chance(self.weather.duplicate):
            for again in row.told[-self.random.randint(1, 3) :]:
                self.decide(again)
        if row.waiting:
            row.told.append(row.waiting.popleft())
            self.decide(row.told[-1])

    def decide(self, change: Change) -> Decision:
        """One change is decided, and what is to be sent goes to the sinks."""
        self.now += self.random.choice([1, 200, 3_000])
        received = msgspec.structs.replace(change, received=self.now)
        withheld = frozenset({EHR, CRM} if self.chance(self.weather.breaker) else ())
        decision = decide(MATRIX, self.state, received, withheld)
        self.story.append(line(received))
        self.state = decision.state
        self.events += 1
        if change.id in self.ours:
            attempts = [one for one in decision.outcomes if one.outcome in ("applied", "rejected", "queued")]
            self.taken += [f"{change.id}: {one.field} {one.outcome} {one.reason}" for one in attempts]
        if change.origin == "person" and change.kind == "row":
            self.sent, self.events = {}, 0
        for send in decision.sends:
            names = next(iter(send.values))
            change_id = decision.state.systems[send.system].outstanding[names][-1].change_id
            self.orders[send.system].append(Order(send.system, change_id, dict(send.values)))
            self.story.append(f"    -> {send.system} {send.kind} {send.values}")
            for name in send.values:
                self.sent[send.system, name] = self.sent.get((send.system, name), 0) + 1
        return decision

    # ------------------------------------------------------------------------------------------ our sinks

    def land(self, system: str) -> None:
        """Our sink writes the oldest order, or loses it; what it writes may be cut off, and automations may answer."""
        if not self.orders[system]:
            return
        if self.weather.crash and self.done[system] and self.chance(self.weather.crash):
            again = self.done[system][-self.random.randint(1, 3) :]
            self.orders[system].extendleft(reversed(again))
            self.done[system].clear()
        order = self.orders[system].popleft()
        if self.chance(self.weather.lose):
            self.story.append(f"    lost {order.values} on the way to {system}")
            return
        self.done[system].append(order)
        marker = order.change_id if system in self.weather.marker else None
        for row in self.rows:
            cells: dict[Column, Value] = {}
            for column in row.source.columns:
                sort, name = column
                if row.source.system == system and sort != "request" and name in order.values:
                    value = order.values[name]
                    cells[column] = coerced(value) if system in self.weather.coerce else value
            if cells:
                self.write(row, cells, SYNC, marker)
                self.answer(row, cells)

    def answer(self, row: SimulatedRow, cells: dict[Column, Value]) -> None:
        """Automations of the system put their own value back."""
        for habit in self.habits:
            where, column = self.cell(habit.system, habit.field)
            value = a_value(habit.system, column, habit.value)
            if where is row and column in cells and row.cells[column] != value:
                if not self.chance(self.weather.collapse):
                    self.capture(row)
                self.write(row, {column: value}, BOT)

    # ------------------------------------------------------------------------------------------ the course of things

    def chance(self, in_a_hundred: int) -> bool:
        """Whether this time it happens."""
        return self.random.randrange(100) < in_a_hundred

    def busy(self) -> bool:
        """Whether anything is under way."""
        return any(self.orders.values()) or any(row.changed or row.waiting for row in self.rows)

    def turn(self) -> None:
        """Something under way goes on, now or later."""
        self.now += self.random.choice([10, 500, 20_000])
        moves: list[Callable[[], None]] = [
            partial(self.land, system) for system, orders in self.orders.items() if orders
        ]
        for row in self.rows:
            if row.changed and not self.chance(self.weather.collapse):
                moves.append(partial(self.capture, row))
            if row.waiting and not self.chance(self.weather.delay):
                moves.append(partial(self.deliver, row))
        if moves:
            self.random.choice(moves)()

    def live(self, edits: tuple[Edit, ...]) -> None:
        """Everybody makes their edits, each some turns after the one before; then what is under way ends."""
        for edit in edits:
            self.edit(edit)
            for _ in range(edit.turns):
                self.turn()
        self.settle()

    def settle(self, limit: int = 20_000) -> None:
        """Until nothing is under way any more; raises ``AssertionError`` if that does not end."""
        for _ in range(limit):
            if not self.busy():
                return
            self.turn()
        raise AssertionError("it does not come to rest")

    def tick(self) -> None:
        """A quarter of an hour later the lane's timer asks."""
        self.now += QUARTER
        self.number += 1
        self.decide(Change(id=f"t{self.number}", record="r", kind="tick", at=self.now))

    def outstanding(self) -> bool:
        """Whether anything we sent has not been seen back."""
        return self.state is not None and any(any(seat.outstanding.values()) for seat in self.state.systems.values())

    def wait(self, quarters: int = 12) -> None:
        """Nothing is withheld any more; tick until nothing is outstanding, at least once: that sweeps."""
        self.weather = replace(self.weather, breaker=0)
        self.tick()
        self.settle()
        for _ in range(quarters):
            if not self.outstanding():
                break
            self.tick()
            self.settle()

    # ------------------------------------------------------------------------------------------ the judge

    def silent_disagreements(self) -> Iterator[str]:
        """Fields that a system shows other than expected, without a case or a listed exception that says why."""
        assert self.state is not None
        owner = "before" if self.state.care_started is None else "after"
        for system in MATRIX.systems:
            seat = self.state.systems.get(system, SystemState())
            for name, spec in MATRIX.fields.items():
                shown, now = seat.shown.get(name), self.state.fields.get(name)
                view = spec.views[system]
                if (
                    now is None
                    or not now.version
                    or view == "none"
                    or not seat.present
                    or seat.paused
                    or self.state.paused
                ):
                    continue
                expected = seat.accepted.get(name, view.of(now.value) if isinstance(view, Summary) else now.value)
                refused = seat.refused[name].reason if name in seat.refused else ""
                pending = refused == "not_validated" and spec.owner[owner] == system  # type: ignore[index]
                left = refused and not spec.restore
                asked = name in self.state.cases or has_own(self.state.cases)
                excused = pending or left or name in seat.baseline or asked
                if canonical(shown) != canonical(expected) and not excused:
                    yield f"{system} shows {name}={shown!r}, expected {expected!r} (refused: {refused or 'no'})"

    def misremembered(self) -> Iterator[str]:
        """Columns whose row holds something else than the state says is shown."""
        assert self.state is not None
        for row in self.rows:
            for sort, name in row.source.columns:
                shown = self.state.systems.get(row.source.system, SystemState()).shown.get(name)
                if sort != "request" and row.position and canonical(row.cells.get((sort, name))) != canonical(shown):
                    yield f"{row.source.name} holds {name}={row.cells.get((sort, name))!r}, remembered {shown!r}"

    def told_so_far(self) -> str:
        """The whole story, a line each."""
        return "\nafter\n  " + "\n  ".join(self.story)


def all_parts(name: str, old: Value, new: Value) -> Value:
    """What columns of parts hold after some of them were written; a row has them all."""
    if not isinstance(new, dict):
        return new
    both = {**old, **new} if isinstance(old, dict) else new
    return {part: both.get(part) for part in MATRIX.fields[name].parts}


def a_value(system: str, column: Column, choice: int) -> Value:
    """A value of the column's small domain, without the parts that the system has no columns for; 0 is null."""
    sort, name = column
    if choice == 0:
        return None
    domain = SUMMARIES if sort == "compared" else DOMAIN[name]
    view, value = MATRIX.fields[name].views[system], domain[choice % len(domain)]
    return view.of(value) if isinstance(view, Summary) and view.keep else value


BEFORE_CARE = (
    *(
        Edit(CRM, name, 1, 6)
        for name in ("legal_name", "lead_source", "contact_preference", "street", "city", "nickname")
    ),
    Edit(CRM, "care_stage", 6, 6),
    *(Edit(EHR, name, 1, 0, reason=True) for name in ("date_of_birth", "medication_plan", "risk_note", "weight")),
    Edit(EHR, "follow_up", 1, 1, evidence="now", turns=20),
)
"""A lead with a chart: every field has a value."""
IN_CARE = (*BEFORE_CARE, Edit(CRM, "care_stage", 1, 6, turns=20), Edit(CRM, "care_stage", 2, 6, turns=20))
"""The same, in care."""

WEATHERS = st.builds(
    Weather,
    duplicate=st.sampled_from([0, 30]),
    delay=st.sampled_from([0, 50]),
    collapse=st.sampled_from([0, 60]),
    lose=st.sampled_from([0, 0, 20, 100]),
    coerce=st.sampled_from([frozenset(), frozenset(), frozenset({EHR}), frozenset({CRM}), frozenset({EHR, CRM})]),
    marker=st.sampled_from([frozenset(), frozenset({EHR}), frozenset({EHR, CRM})]),
    breaker=st.sampled_from([0, 0, 20]),
)

HOT = st.lists(st.sampled_from(list(MATRIX.fields)), min_size=1, max_size=3, unique=True)
"""The few fields that a life is about."""


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A life: perhaps a lead or a patient first, then quarrels about a few fields, in some weather."""
    hot = st.sampled_from(draw(HOT))
    edits = st.builds(
        Edit,
        system=st.sampled_from([EHR, CRM]),
        field=hot,
        value=st.sampled_from([0, 1, 1, 2, 2, 3, 4]),
        actor=st.integers(0, len(ACTORS) - 1),
        reason=st.booleans(),
        evidence=st.sampled_from(["none", "now", "now", "earlier"]),
        seen=st.booleans(),
        by_request=st.booleans(),
        turns=st.integers(0, 8),
    )
    bursts = draw(st.lists(st.lists(edits, min_size=1, max_size=6), min_size=1, max_size=8))
    prologue = draw(st.sampled_from([(), BEFORE_CARE, IN_CARE]))
    habit = st.builds(Habit, system=st.sampled_from([EHR, CRM]), field=hot, value=st.integers(1, 3))
    habits = tuple(draw(st.lists(habit, max_size=4)))
    return Life(
        draw(WEATHERS), habits, (*prologue, *(one for burst in bursts for one in burst)), draw(st.integers(0, 2**16))
    )


@st.composite
def crashed_lives(draw: st.DrawFn) -> Life:
    """Only people edit, a few fields of a patient, and sinks that crash again and again feed both systems."""
    hot = st.sampled_from(draw(HOT))
    edits = st.builds(
        Edit,
        system=st.sampled_from([EHR, CRM]),
        field=hot,
        value=st.sampled_from([1, 2, 3]),
        actor=st.integers(0, 5),
        reason=st.booleans(),
        evidence=st.sampled_from(["none", "now"]),
        seen=st.booleans(),
        turns=st.integers(0, 8),
    )
    weather = Weather(
        duplicate=draw(st.sampled_from([0, 30])), delay=draw(st.sampled_from([0, 50])), marker=frozenset({EHR, CRM}),
        crash=draw(st.sampled_from([10, 30])),
    )  # fmt: skip
    prologue = draw(st.sampled_from([BEFORE_CARE, IN_CARE]))
    return Life(weather, (), (*prologue, *draw(st.lists(edits, min_size=1, max_size=20))), draw(st.integers(0, 2**16)))
