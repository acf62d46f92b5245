"""A second opinion: docs/rules.md written down once more, slowly and obviously, from its sentences and not from the code.

The oracle keeps one record in plain dicts and lists, knows only the types of ``model`` and ``matrix.compiled``, and walks
the numbered steps of section 2 one function each, with the sentence it stands for beside it. It shares no line with the
implementation on purpose: where both agree, two readings of the rules agree. What a change led to is an ``Expected``.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from ownership_stream.matrix.compiled import Field, Grant, Matrix, Summary
from ownership_stream.model import Change, Evidence, Value

import oracle_rules
from oracle_rules import Verdict

import os
QUIRKS = set(os.environ.get("QUIRKS", "").split(","))
QUARTER = 900_000
"""Milliseconds in the fifteen minutes of *Time*."""

_NOTHING = object()

Key = tuple[str, bool]
"""A column of a change: (field, whether it is a request column)."""


@dataclass
class Out:
    """A value that was sent and has not been seen back."""

    value: Value
    change_id: str
    at: int
    again: bool = False


@dataclass
class Row:
    """What one source row last showed beside its fields."""

    position: tuple[int, ...] | None = None
    ids: list[str] = field(default_factory=list)
    known: bool = False
    attributes: dict[str, object] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)


@dataclass
class Seat:
    """One system, as the record has seen it."""

    key: str = ""
    present: bool = False
    paused: bool = False
    shown: dict[str, Value] = field(default_factory=dict)
    requested: dict[str, Value] = field(default_factory=dict)
    out: dict[str, list[Out]] = field(default_factory=dict)
    accepted: dict[str, Value] = field(default_factory=dict)
    refused: dict[str, tuple[str, int]] = field(default_factory=dict)
    baseline: set[str] = field(default_factory=set)
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass
class Current:
    """The authoritative value of a field."""

    value: Value
    version: int
    at: int
    system: str
    row: str
    position: tuple[int, ...] | None
    grant: Grant | None
    evidence: Evidence | None


@dataclass
class Guard:
    """The loop guard's counts since the last write by a person."""

    restores: int = 0
    answers: int = 0
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Write:
    """One field that a row now shows differently, or attests afresh."""

    field: str
    request: bool
    system: str
    row: str
    value: Value
    at: int
    now: int
    position: tuple[int, ...] | None
    role: str | None
    person: bool
    reason: str | None
    base: int | None
    evidence: Evidence | None
    seen: bool
    stage_row: bool
    phase: str = "before"


@dataclass
class Case:
    """An open case."""

    reason: str
    owner: str
    due: int
    writes: list[Write] = field(default_factory=list)
    new: bool = True


@dataclass
class Expected:
    """What follows from one change, in plain data."""

    outcomes: dict[Key, tuple[str, str]]
    redecided: dict[str, tuple[str, str]]
    sends: dict[str, dict[str, Value]]
    kinds: dict[str, str]
    restored: set[tuple[str, str]]
    events: list[tuple[str, str, str]]
    cases: dict[str, str]
    current: dict[str, tuple[Value, int]]
    shown: dict[str, dict[str, Value]]
    outstanding: dict[str, dict[str, list[Value]]]
    present: dict[str, bool]
    version: int
    stage: str | None
    care_started: int | None
    ended_overrides: set[str]
    unseen: set[Key]


def canonical(value: Value) -> Value:
    """A value of parts without its null parts; "the field is cleared when all parts are null"."""
    if not isinstance(value, dict):
        return value
    return {part: piece for part, piece in sorted(value.items()) if piece is not None} or None


class Oracle:
    """The record's history so far, fed one change at a time."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.seats = {system: Seat() for system in matrix.systems}
        self.current: dict[str, Current] = {}
        self.guards = {name: Guard() for name in matrix.fields}
        self.cases: dict[str, Case] = {}
        self.stages: list[tuple[int, str]] = []
        self.care_started: int | None = None
        self.version = 0
        self.paused = False

    # ------------------------------------------------------------------------------------------ one change

    def feed(self, change: Change, withheld: frozenset[str] = frozenset()) -> Expected:
        """Decide one change and say what must follow from it."""
        self.now, self.change, self.withheld = change.received, change, withheld
        self.before = copy.deepcopy(self.seats)
        self.expected_before = {(s, f): self.expected(s, f) for s in self.seats for f in self.matrix.fields}
        self.version_before = self.version
        self.outcomes: dict[Key, tuple[str, str]] = {}
        self.redecided: dict[str, tuple[str, str]] = {}
        self.sends: dict[str, dict[str, Value]] = {}
        self.kinds: dict[str, str] = {}
        self.restored: set[tuple[str, str]] = set()
        self.events: list[tuple[str, str, str]] = []
        self.changed: set[str] = set()
        self.first_seeds: set[str] = set()
        self.ended: set[str] = set()
        self.unseen: set[Key] = set()
        self.care_start_applied = self.stage_became_known = self.sweep = self.appeared = False
        for case in self.cases.values():
            case.new = False
        {"row": self.row_event, "tick": self.tick, "pause": self.pause, "resume": self.resume}.get(change.kind, lambda: None)()
        self.step_16_close()
        return self.report()

    def report(self) -> Expected:
        """The present state of everything, copied."""
        return copy.deepcopy(
            Expected(
                outcomes=self.outcomes,
                redecided=self.redecided,
                sends=self.sends,
                kinds=self.kinds,
                restored=self.restored,
                events=sorted(self.events),
                cases={name: case.reason for name, case in self.cases.items()},
                current={name: (now.value, now.version) for name, now in self.current.items()},
                shown={s: {f: v for f, v in seat.shown.items() if v is not None} for s, seat in self.seats.items()},
                outstanding={
                    s: {f: [one.value for one in sent] for f, sent in seat.out.items() if sent} for s, seat in self.seats.items()
                },
                present={s: seat.present for s, seat in self.seats.items()},
                version=self.version,
                stage=self.stages[-1][1] if self.stages else None,
                care_started=self.care_started,
                ended_overrides=self.ended,
                unseen=self.unseen,
            )
        )

    # ------------------------------------------------------------------------------------------ the words of section 1

    def owner(self, name: str) -> str:
        """The present owner's system."""
        return self.matrix.fields[name].owner["before" if self.care_started is None else "after"]

    def summary(self, system: str, name: str, value: Value) -> Value:
        """What a system is shown of a full value."""
        view = self.matrix.fields[name].views[system]
        return canonical(view.of(value)) if isinstance(view, Summary) else value

    def expects(self, system: str, name: str) -> bool:
        """ "Nothing is expected of anyone while there is no current." """
        return name in self.current and self.matrix.fields[name].views[system] != "none"

    def expected(self, system: str, name: str) -> Value:
        """ "Current, or its summary, or nothing, by the row's direction"; a coerced landing instead (step 4)."""
        if not self.expects(system, name):
            return None
        if name in self.seats[system].accepted:
            return self.seats[system].accepted[name]
        return self.summary(system, name, self.current[name].value)

    def agrees(self, system: str, name: str) -> bool:
        """It shows what is expected; "while there is no current, agreement means that every system shows null"."""
        if name in self.current and not self.expects(system, name):
            return False
        return self.seats[system].shown.get(name) == self.expected(system, name)

    def sendable(self, system: str) -> bool:
        """ "Present, not paused, not withheld." """
        seat = self.seats[system]
        return seat.present and not seat.paused and not self.paused and system not in self.withheld

    def saw(self, name: str, *, system: str, row: str, base: int | None, request: bool) -> bool:
        """ "A write has seen the current value if its base version says so, or, without one, if …" """
        if name not in self.current:
            return True
        if base is not None:
            return base >= self.current[name].version
        if self.current[name].row == row:
            return True
        if self.before[system].refused.get(name, ("", -1))[1] == self.current[name].version:
            return True
        shown = self.before[system].shown.get(name)
        if self.matrix.fields[name].views[system] == "none":
            return shown == self.current[name].value
        return shown == self.expected(system, name)

    def columns(self) -> Iterator[tuple[str, Literal["compared", "field", "request"], Value]]:
        """The carried columns, the stage's first, compared ones before requests (their landing comes before our next send)."""
        stage = self.matrix.stages.field
        for name in sorted(self.matrix.fields, key=lambda one: one != stage):
            if name in self.change.compared:
                yield name, "compared", self.change.compared[name]
            if name in self.change.fields:
                yield name, "field", self.change.fields[name]
            if name in self.change.requests:
                yield name, "request", self.change.requests[name]

    # ------------------------------------------------------------------------------------------ row events

    def row_event(self) -> None:
        """Section 2, for each row event and then each field."""
        change, seat = self.change, self.seats[self.change.system]
        row = seat.rows.setdefault(change.row, Row())
        if self.step_1_position(row):
            self.outcomes = {(name, column == "request"): ("replay", "") for name, column, _ in self.columns()}
            return
        seat.key = change.key or seat.key
        if change.op == "d":
            self.delete(seat)
            return
        if change.primary and not seat.present:
            seat.present, self.appeared, self.sweep = True, True, change.op != "r"
            if "" in self.cases:
                self.end_case("", "converged")
        fresh = self.step_3_fresh(row)
        waiting: dict[str, tuple[Write, Verdict]] = {}
        for name, column, value in self.columns():
            write = self.steps_2_to_7(name, column, value, fresh)
            if write is None:
                continue
            verdict = self.step_8_stage(write)
            if name == self.matrix.stages.field:
                self.conclude(write, verdict)
            else:
                waiting[name] = (write, verdict)
        for write, verdict in self.step_15_groups(waiting):
            self.conclude(write, verdict)
        if self.stage_became_known:
            self.redecide()

    def step_1_position(self, row: Row) -> bool:
        """ "Older than the row's last → replay; equal → replay only with an equal change id (snapshot reads pass)." """
        change = self.change
        if change.position is None:
            replay = change.id in row.ids[-16:]
        elif row.position is None:
            replay = False
        else:
            same = change.position == row.position and change.id == row.ids[-1] and change.op != "r"
            replay = change.position < row.position or same
        if not replay:
            row.position = change.position
            row.ids.append(change.id)
        return replay

    def delete(self, seat: Seat) -> None:
        """ "The system is absent, what it showed and what was outstanding there is forgotten"; other rows forget nothing."""
        if not self.change.primary or not seat.present:
            return
        seat.present = False
        for forgotten in (seat.shown, seat.requested, seat.out, seat.accepted, seat.refused, seat.baseline):
            forgotten.clear()
        for row in seat.rows.values():
            row.known, row.attributes, row.evidence = False, {}, {}
        owned = [f for f in self.matrix.fields if self.owner(f) == self.change.system and f in self.current]
        if owned and "" not in self.cases:
            self.open_case("", "absent", self.matrix.fields[owned[0]].escalation)

    def step_3_fresh(self, row: Row) -> Change:
        """ "Count only if they came with the event itself or their own column moved in it … fresh in all at first." """
        change, old = self.change, row.attributes

        def moved(name: str) -> bool:
            return not row.known or name in change.event or getattr(change, name) != old.get(name)

        acted = moved("actor") or moved("updated_at")
        evidence = {
            name: one
            for name, one in change.evidence.items()
            if one != Evidence() and (not row.known or "evidence" in change.event or row.evidence.get(name) != one)
        }
        fresh = Change(
            id=change.id,
            record=change.record,
            actor=change.actor if acted else None,
            role=change.role if acted else None,
            origin=change.origin if acted else "automation",
            reason=change.reason if moved("reason") and (change.reason or "").strip() else None,
            base=change.base if moved("base") else None,
            marker=change.marker if moved("marker") else None,
            evidence=evidence,
        )
        row.known = True
        row.attributes = {name: getattr(change, name) for name in ("actor", "updated_at", "reason", "base", "marker")}
        row.evidence = {**row.evidence, **change.evidence}
        return fresh

    def steps_2_to_7(self, name: str, column: str, value: Value, fresh: Change) -> Write | None:
        """The write that goes on to step 8, or nothing and the outcome that ended it before."""
        seat, request = self.seats[self.change.system], column == "request"
        shelf = seat.requested if request else seat.shown
        value = self.whole(value, shelf.get(name))
        write = self.as_write(name, request, value, fresh)
        if request and value is None:
            shelf.pop(name, None)
            return self.end(write, "noop")
        if not self.step_2_delta(write, fresh, shelf):
            return self.end(write, "noop")
        differs = shelf.get(name) != value
        shelf[name] = value
        if not request and name in self.current and value == self.summary(write.system, name, self.current[name].value):
            seat.accepted.pop(name, None)
        if not request and (landed := self.step_4_echo(write, fresh)) is not None:
            return self.end(write, "echo", landed)
        if not request and differs:
            seat.refused.pop(name, None)
        if not request and self.change.op != "r":
            seat.baseline.discard(name)
        if column == "compared":
            return self.end(write, "noop")
        if self.change.op == "r":
            self.step_5_snapshot(write)
            return self.end(write, "baseline")
        if write.person:
            self.guards[name] = Guard()
        if self.step_6_equal(write):
            return None
        if seat.paused or self.paused:
            return self.end(write, "queued", "paused")
        if self.step_7_loop(write):
            return self.end(write, "queued", "oscillation")
        return write

    def whole(self, value: Value, shown: Value) -> Value:
        """ "Parts not carried come from shown; the field is cleared when all parts are null." """
        if isinstance(value, dict) and isinstance(shown, dict):
            return canonical({**shown, **value})
        return canonical(value)

    def as_write(self, name: str, request: bool, value: Value, fresh: Change) -> Write:
        """The column with its fresh attributes."""
        change = self.change
        return Write(
            field=name,
            request=request,
            system=change.system,
            row=change.row,
            value=value,
            at=min(change.at, change.received),
            now=change.received,
            position=change.position,
            role=fresh.role,
            person=fresh.origin == "person",
            reason=fresh.reason,
            base=fresh.base,
            evidence=fresh.evidence.get(name),
            seen=self.saw(name, system=change.system, row=change.row, base=fresh.base, request=request),
            stage_row=change.stage_row,
        )

    def end(self, write: Write, outcome: str, reason: str = "") -> None:
        """One named outcome for one column; a queued write goes to its case."""
        assert (write.field, write.request) not in self.outcomes
        self.outcomes[write.field, write.request] = (outcome, reason)
        if outcome in {"rejected", "queued"} and not write.request:
            self.refuse(write, reason)
        if outcome == "queued":
            self.queue(write, reason)

    def step_2_delta(self, write: Write, fresh: Change, shelf: dict[str, Value]) -> bool:
        """ "Equal to shown → noop, unless a fresh attestation came with it; then it is a write." """
        if shelf.get(write.field) != write.value:
            return True
        if self.change.op == "r":
            return False
        if write.evidence is not None and self.matrix.fields[write.field].rule.startswith("latest"):
            return True
        refused = write.field in self.seats[write.system].refused and not write.request
        if not refused or self.agrees(write.system, write.field):
            return False
        known = replace(write, phase=self.phase(write))
        granted = fresh.actor is not None and oracle_rules.step_9_grant(self.matrix.fields[write.field], known) is not None
        return write.reason is not None or granted

    def step_4_echo(self, write: Write, fresh: Change) -> str | None:
        """ "Our write landing" by its marker or by its value: ``""`` or ``"coerced"``; nothing if it is no echo."""
        seat = self.seats[write.system]
        sent = seat.out.get(write.field, [])
        marked = [i for i, one in enumerate(sent) if fresh.marker is not None and one.change_id == fresh.marker]
        if marked:
            found = marked[0]
            if write.person and sent[found].value != write.value:
                return None
        else:
            equal = [i for i, one in enumerate(sent) if one.value == write.value]
            if not equal or write.person:
                return None
            found = equal[0]
        coerced, newest = sent[found].value != write.value, found == len(sent) - 1
        seat.out[write.field] = sent[found + 1 :]
        seat.refused.pop(write.field, None)
        seat.baseline.discard(write.field)
        if coerced and newest:
            seat.accepted[write.field] = write.value
        return "coerced" if coerced else ""

    def step_5_snapshot(self, write: Write) -> None:
        """ "The present owner's snapshot is trusted: it sets current if there is none, or if it differs and …" """
        if write.request:
            return
        name, now, stages = write.field, self.current.get(write.field), self.matrix.stages
        unknown_stage = name == stages.field and write.value not in stages.map
        older = (
            now is not None
            and now.row == write.row
            and now.position is not None
            and write.position is not None
            and now.position < write.position
        )
        differs = write.value != (None if now is None else now.value)
        if self.owner(name) == write.system and not unknown_stage and differs and (now is None or older):
            owners = [one for one in self.matrix.fields[name].grants if one.kind == "owner" and one.system == write.system]
            self.set_current(write, owners[0])
            if now is None:
                self.first_seeds.add(name)
        if name not in self.current or not self.agrees(write.system, name):
            self.seats[write.system].baseline.add(name)

    def step_6_equal(self, write: Write) -> bool:
        """ "Equal to current (for a summary target: to its summary) → noop, unless it carries fresh evidence that differs." """
        now = self.current.get(write.field)
        if now is None:
            if write.value is None:
                self.end(write, "noop")
            return write.value is None
        if not write.request and self.seats[write.system].accepted.get(write.field, _NOTHING) == write.value:
            self.end(write, "noop")
            return True
        if write.value != (now.value if write.request else self.summary(write.system, write.field, now.value)):
            return False
        if write.evidence is not None and write.evidence != now.evidence and now.value == write.value:
            verdict = self.step_8_stage(write)
            if verdict.outcome == "applied":
                self.current[write.field] = replace_current(now, write, verdict.grant)
                self.supersede(write.field)
                self.end(write, "applied", "evidence")
                return True
        self.end(write, "noop")
        return True

    def step_7_loop(self, write: Write) -> bool:
        """ "Between two writes by persons, at most 3 restores and 10 applied answers per record and field." """
        guard = self.guards[write.field]
        answer = not write.person and write.system in guard.told
        return answer and (guard.restores >= 3 or guard.answers >= 10)

    # ------------------------------------------------------------------------------------------ steps 8 to 14

    def phase(self, write: Write) -> str:
        """ "Whether care had started is asked of the latch at the same point or time." """
        if self.care_started is None:
            return "before"
        return "after" if write.stage_row or write.at >= self.care_started else "before"

    def step_8_stage(self, write: Write) -> Verdict:
        """The stage it is decided under, then steps 9 to 14."""
        spec, stages = self.matrix.fields[write.field], self.matrix.stages
        if write.field == stages.field and write.value not in stages.map:
            return Verdict("queued", "stage_unknown")
        if self.late(write, spec):
            return Verdict("rejected", "stale")
        if not self.stages and spec.critical and spec.by_stage:
            before, after = (self.steps_9_to_14(write, phase) for phase in ("before", "after"))
            if (before.outcome, before.reason) != (after.outcome, after.reason):
                return Verdict("queued", "stage")
        return self.steps_9_to_14(write, self.phase(write))

    def late(self, write: Write, spec: Field) -> bool:
        """ "A late write never replaces a value the present owner has written since." """
        now = self.current.get(write.field)
        if write.stage_row or not spec.by_stage or self.care_started is None or now is None:
            return False
        owners = now.system == self.owner(write.field) and now.grant is not None and now.grant.kind == "owner"
        return write.at < self.care_started and owners and now.at > write.at

    def steps_9_to_14(self, write: Write, phase: str) -> Verdict:
        """The first step with an answer gives it; the row's rule is the last."""
        write, spec, now = replace(write, phase=phase), self.matrix.fields[write.field], self.current.get(write.field)
        grant = oracle_rules.step_9_grant(spec, write)
        if grant is None and spec.protected:
            return Verdict("rejected", "owner_policy")
        steps = (oracle_rules.step_10_reason, oracle_rules.step_11_clear, oracle_rules.step_12_override)
        for step in (*steps, oracle_rules.step_13_staleness, oracle_rules.step_14_rule):
            verdict = step(self.matrix, spec, write, grant, now)
            if verdict is not None:
                return replace(verdict, grant=grant)
        return Verdict("queued", "no_rule")

    def step_15_groups(self, waiting: dict[str, tuple[Write, Verdict]]) -> list[tuple[Write, Verdict]]:
        """ "Groups share their worst verdict among the writes of one event: rejected, then queued, then applied." """
        result = dict(waiting)
        for names in self.matrix.groups.values():
            members = [name for name in names if name in waiting]
            for worst in ("rejected", "queued"):
                if any(waiting[name][1].outcome == worst for name in members):
                    for name in members:
                        if waiting[name][1].outcome != worst:
                            result[name] = (waiting[name][0], Verdict(worst, "group"))
                    break
        return list(result.values())

    # ------------------------------------------------------------------------------------------ what follows

    def conclude(self, write: Write, verdict: Verdict) -> None:
        """Give the write its end and do what follows from it."""
        if verdict.outcome != "applied":
            self.end(write, verdict.outcome, verdict.reason)
            return
        self.apply(write, verdict)
        self.end(write, "applied", "" if verdict.grant else "unprotected")

    def apply(self, write: Write, verdict: Verdict) -> None:
        """ "Applied → record version + 1", the open case is superseded, an override may end, the stage may move."""
        name, now, guard = write.field, self.current.get(write.field), self.guards[write.field]
        if not write.person and write.system in guard.told:
            guard.answers += 1
        if now is not None and not write.seen and now.value != write.value:
            self.unseen.add((name, write.request))
        owner = verdict.grant is not None and verdict.grant.kind == "owner"
        if now is not None and now.grant is not None and now.grant.kind == "override" and owner:
            self.ended.add(name)
        started = self.care_started is not None
        self.set_current(write, verdict.grant)
        self.care_start_applied |= not started and self.care_started is not None
        self.seats[write.system].refused.pop(name, None)
        self.supersede(name)

    def set_current(self, write: Write, grant: Grant | None) -> None:
        """A new current value, whoever set it; one version per event."""
        self.version = self.version_before + 1
        self.current[write.field] = Current(
            write.value, self.version, write.at, write.system, write.row, write.position, grant, write.evidence
        )
        for seat in self.seats.values():
            seat.accepted.pop(write.field, None)
            seat.baseline.discard(write.field)
        self.changed.add(write.field)
        if write.field == self.matrix.stages.field:
            began = max(write.at, self.stages[-1][0]) if self.stages else 0
            self.stage_became_known |= not self.stages
            self.stages.append((began, str(write.value)))
            if self.care_started is None and write.value in self.matrix.stages.after:
                self.care_started = began

    def supersede(self, name: str) -> None:
        """ "A later applied write of the field closes it ``superseded``." """
        if name in self.cases:
            self.end_case(name, "superseded")

    def queue(self, write: Write, reason: str) -> None:
        """ "A repeat joins the open case of that field." """
        if write.field in self.cases:
            self.events.append(("joined", write.field, self.cases[write.field].reason))
        else:
            self.open_case(write.field, reason)
        self.cases[write.field].writes.append(write)

    def open_case(self, name: str, reason: str, escalation: str | None = None) -> None:
        """Open a case with the field's escalation owner, unless one is open."""
        if name in self.cases:
            return
        owner = escalation or self.matrix.fields[name].escalation
        self.cases[name] = Case(reason, owner, self.now + self.matrix.escalations[owner].sla)
        self.events.append(("opened", name, reason))

    def end_case(self, name: str, how: str) -> None:
        """Close a case."""
        self.events.append((how, name, self.cases.pop(name).reason))

    # ------------------------------------------------------------------------------------------ step 16

    def refuse(self, write: Write, reason: str) -> None:
        """Remember that what the system shows was not taken, and which current value its writer had seen."""
        now = self.current.get(write.field)
        version = now.version if now is not None else 0
        self.seats[write.system].refused[write.field] = (reason, version if write.seen else -1)

    def step_16_close(self) -> None:
        """ "For every field that it touched, and for all fields where it sweeps." """
        self.baseline_differences()
        handed = set(self.matrix.by_stage) if self.care_start_applied else set()
        touched = {name for name in self.matrix.fields if self.touched(name)} | handed
        for name in self.matrix.fields:
            if name in handed:
                self.handover(name)
            if self.sweep or name in touched:
                self.converge(name)
                for system in self.seats:
                    self.settle(system, name, handed=name in handed)
        for system, seat in self.seats.items():
            for name in list(seat.refused):
                if self.agrees(system, name):
                    del seat.refused[name]

    def touched(self, name: str) -> bool:
        """ "Its shown, requested or current value changed, it has an outcome other than ``noop`` and ``replay``." """
        ended = {outcome for (one, _), (outcome, _) in self.outcomes.items() if one == name}
        before = self.before.get(self.change.system, Seat())
        if before.present and not self.seats[self.change.system].present:
            return True
        moved = any(
            seat.shown.get(name) != self.before[system].shown.get(name)
            or seat.requested.get(name) != self.before[system].requested.get(name)
            for system, seat in self.seats.items()
        )
        return moved or name in self.changed or name in self.redecided or bool(ended - {"noop", "replay"})

    def baseline_differences(self) -> None:
        """ "Where it sets the first, what the others show differently …; a system that becomes present by a snapshot …" """
        for system, seat in self.seats.items():
            by_snapshot = self.appeared and not self.sweep and system == self.change.system
            for name in self.matrix.fields:
                if (by_snapshot or (name in self.first_seeds and seat.present)) and name in self.current:
                    if self.expects(system, name) and not self.agrees(system, name):
                        seat.baseline.add(name)

    def handover(self, name: str) -> None:
        """ "The owner-to-be shows another value and nothing is outstanding there → a case ``handover``, current stays." """
        system = self.owner(name)
        self.seats[system].baseline.discard(name)
        if name not in self.current or self.seats[system].out.get(name):
            return
        if self.seats[system].shown.get(name) is not None and not self.agrees(system, name):
            self.open_case(name, "handover")

    def converge(self, name: str) -> None:
        """ "Agreement of all present systems, reached by a later event, closes it ``converged``." """
        case = self.cases.get(name)
        if case is None or case.new:
            return
        present = [system for system, seat in self.seats.items() if seat.present]
        asked = [system for system in present if self.expects(system, name) or name not in self.current]
        if case.reason == "unattested":
            asked = present = [system for system in asked if system == self.owner(name)]
        if present and all(self.agrees(system, name) for system in asked) and not any(self.asks(one) for one in case.writes):
            self.end_case(name, "converged")

    def asks(self, write: Write) -> bool:
        """ "A request that still stands is not agreement", nor a proposal of a system of which nothing is expected."""
        now = self.current.get(write.field)
        blind = write.request or self.matrix.fields[write.field].views[write.system] == "none"
        return blind and self.stands(write) and (now is None or now.value != write.value)

    def settle(self, system: str, name: str, *, handed: bool) -> None:
        """ "Each system with shown ≠ expected, nothing outstanding and no open case is sent expected, or gets a case." """
        seat, spec = self.seats[system], self.matrix.fields[name]
        if not self.expects(system, name) or self.agrees(system, name):
            return
        moved = self.expected(system, name) != self.expected_before[system, name]
        if name in self.changed and moved and name not in seat.baseline:
            self.send(system, name, "change")
            return
        if seat.out.get(name) or name in self.cases or name in seat.baseline or not seat.present:
            return
        refused = seat.refused.get(name, ("", 0))[0]
        if refused and system == self.owner(name):
            if refused != "not_validated" and spec.restore:
                self.open_case(name, "unattested")
        elif (handed and system == self.owner(name)) or name in self.changed or (self.sweep and not refused):
            self.send(system, name, "change")
        elif spec.restore and self.sendable(system):
            if self.guards[name].restores >= 3:
                self.open_case(name, "oscillation")
            else:
                self.guards[name].restores += 1
                self.send(system, name, "restore")

    def send(self, system: str, name: str, kind: str, *, again: bool = False) -> None:
        """ "One event makes at most one send for each system, with all its fields." """
        if not self.sendable(system):
            return
        value = self.expected(system, name)
        self.sends.setdefault(system, {})[name] = value
        self.kinds[system] = "change" if "change" in {kind, self.kinds.get(system)} else "restore"
        if kind == "restore":
            self.restored.add((system, name))
        self.guards[name].told.add(system)
        self.seats[system].out.setdefault(name, []).append(Out(value, f"?{self.change.id}", self.now, again))

    # ------------------------------------------------------------------------------------------ time, pause, resume

    def tick(self) -> None:
        """ "What is outstanding and already shown is retired; what is outstanding for 15 minutes is sent once more …" """
        self.sweep = True
        for system, seat in self.seats.items():
            for name, sent in seat.out.items():
                if sent and sent[-1].value == seat.shown.get(name):
                    sent.clear()
                if not sent or self.now - sent[-1].at < QUARTER or not self.sendable(system):
                    continue
                again = sent[-1].again
                if again or self.agrees(system, name):
                    sent.clear()
                if again:
                    self.open_case(name, "diverged")
                elif sent:
                    kind = "restore" if name in seat.refused else "change"
                    self.send(system, name, kind, again=True)
        for name, case in self.cases.items():
            if case.due <= self.now:
                case.owner = self.matrix.escalations[case.owner].then or case.owner
                case.due = self.now + self.matrix.escalations[case.owner].sla
                self.events.append(("escalated", name, case.reason))

    def pause(self) -> None:
        """ "Pause and resume, per system or record, are people's control events." """
        if self.change.system:
            self.seats[self.change.system].paused = True
        else:
            self.paused = True

    def resume(self) -> None:
        """ "On resume … the latest waiting proposal of each ``paused`` or ``stage`` case is decided again." """
        if self.change.system:
            self.seats[self.change.system].paused = False
        else:
            self.paused = False
        self.sweep = True
        self.redecide()

    def redecide(self) -> None:
        """ "… decided again by steps 8 to 14; what is not applied by it stays queued under its new reason or …" """
        stage = self.matrix.stages.field
        for name in sorted(self.matrix.fields, key=lambda one: one != stage):
            case = self.cases.get(name)
            if case is None or case.reason not in {"paused", "stage"}:
                continue
            standing = [write for write in case.writes if self.stands(write)]
            if not standing:
                self.end_case(name, "converged")
            elif not self.paused and not self.seats[standing[-1].system].paused:
                self.decide_again(name, case, standing[-1])

    def stands(self, write: Write) -> bool:
        """ "Its system still shows it (or still requests it)." """
        seat = self.seats[write.system]
        return (seat.requested if write.request else seat.shown).get(write.field) == write.value

    def decide_again(self, name: str, case: Case, write: Write) -> None:
        """The new end of one waiting write."""
        verdict = self.step_8_stage(write)
        if (verdict.outcome, verdict.reason) == ("queued", case.reason):
            return
        self.redecided[name] = (verdict.outcome, verdict.reason)
        if verdict.outcome == "applied":
            self.apply(write, verdict)
            self.redecided[name] = ("applied", "" if verdict.grant else "unprotected")
            return
        if not write.request:
            self.refuse(write, verdict.reason)
        if verdict.outcome == "queued":
            case.reason = verdict.reason
        else:
            self.end_case(name, "superseded")


def replace_current(now: Current, write: Write, grant: Grant | None) -> Current:
    """ "Current's evidence, time and provenance are the new ones, the version stays." """
    return Current(now.value, now.version, write.at, write.system, write.row, write.position, grant, write.evidence)
