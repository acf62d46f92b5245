"""What follows from the ends of an event's fields: the new current value, cases, sends, and time passing.

Part of the oracle (``oracle.py``): written from docs/rules.md and not from the code.
"""

import copy

from oracle_record import Case, Current, Expected, Key, Out, Record, Seat, Write, field_of, own
from oracle_rules import Verdict
from ownership_stream.matrix.compiled import Grant
from ownership_stream.model import Change, Value

QUARTER = 900_000
"""Milliseconds in the fifteen minutes of *Time*."""


class Consequences(Record):
    """One change at work on the record, after its fields have been decided."""

    def begin(self, change: Change, withheld: frozenset[str]) -> None:
        """Nothing has followed yet."""
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
        self.insisted: set[str] = set()
        self.written_again: set[tuple[str, str]] = set()
        self.answer: tuple[str, str] | None = None
        self.unseen: set[Key] = set()
        self.care_start_applied = self.stage_became_known = self.sweep = self.appeared = self.quiet = False
        for case in self.cases.values():
            case.new = False

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
                    s: {f: [one.value for one in sent] for f, sent in seat.out.items() if sent}
                    for s, seat in self.seats.items()
                },
                present={s: seat.present for s, seat in self.seats.items()},
                keys={s: seat.key for s, seat in self.seats.items()},
                guards={
                    name: (one.restores, one.answers, sorted(one.told))
                    for name, one in self.guards.items()
                    if one.restores or one.answers or one.told
                },
                version=self.version,
                stage=self.stages[-1][1] if self.stages else None,
                care_started=self.care_started,
                ended_overrides=self.ended,
                unseen=self.unseen,
                answer=self.answer,
            )
        )

    def sendable(self, system: str) -> bool:
        """“Present, not paused, not withheld”."""
        seat = self.seats[system]
        return seat.present and not seat.paused and not self.paused and system not in self.withheld

    def apply(self, write: Write, verdict: Verdict) -> None:
        """“Applied → record version + 1”, the open case is superseded, an override may end, the stage may move."""
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
        self.stage_found &= name != self.matrix.stages.field
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
        """“A later applied write of the field closes it ``superseded``”."""
        if name in self.cases:
            self.end_case(name, "superseded")

    def queue(self, write: Write, reason: str) -> None:
        """“A repeat joins the open case of that field”."""
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
        self.events.append(("opened", field_of(name), reason))

    def end_case(self, name: str, how: str) -> None:
        """Close a case."""
        self.events.append((how, field_of(name), self.cases.pop(name).reason))

    def refuse(self, write: Write, reason: str) -> None:
        """Remember that what the system shows was not taken, and which current value its writer had seen."""
        now = self.current.get(write.field)
        version = now.version if now is not None else 0
        self.seats[write.system].refused[write.field] = (reason, version if write.seen else -1)

    def step_16_close(self) -> None:
        """“For every field that it touched, and for all fields where it sweeps”."""
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
            for name in self.matrix.fields:
                if self.agrees(system, name):
                    seat.refused.pop(name, None)
                    seat.baseline.discard(name)

    def touched(self, name: str) -> bool:
        """“Its shown, requested or current value changed, it has an outcome other than ``noop`` and ``replay``”."""
        ended = {outcome for (one, _), (outcome, _) in self.outcomes.items() if one == name}
        before = self.before.get(self.change.system, Seat())
        if before.present and not self.seats[self.change.system].present:
            return True
        moved = any(
            seat.shown.get(name) != self.before[system].shown.get(name)
            or seat.requested.get(name) != self.before[system].requested.get(name)
            for system, seat in self.seats.items()
        )
        return (
            moved or name in self.changed | self.insisted or name in self.redecided or bool(ended - {"noop", "replay"})
        )

    def baseline_differences(self) -> None:
        """“Where it sets the first, what the others show differently…”; so when a snapshot makes a system present."""
        for system, seat in self.seats.items():
            by_snapshot = self.appeared and not self.sweep and system == self.change.system
            for name in self.matrix.fields:
                asked = by_snapshot or (name in self.first_seeds and seat.present)
                if asked and self.expects(system, name) and not self.agrees(system, name):
                    seat.baseline.add(name)

    def handover(self, name: str) -> None:
        """“Shows nothing → … refused no longer; it shows another value and nothing is outstanding there → a case”."""
        system = self.owner(name)
        self.seats[system].baseline.discard(name)
        if name in self.current and self.seats[system].present and self.seats[system].shown.get(name) is None:
            self.seats[system].refused.pop(name, None)
        if name not in self.current or self.seats[system].out.get(name):
            return
        if self.seats[system].shown.get(name) is not None and not self.agrees(system, name):
            self.open_case(name, "handover")

    def converge(self, name: str) -> None:
        """“Agreement of all present systems, reached by a later event, closes it ``converged``”."""
        case = self.cases.get(name)
        if case is None or case.new or case.reason == "speaker":
            return
        present = [system for system, seat in self.seats.items() if seat.present]
        asked = [system for system in present if self.expects(system, name) or name not in self.current]
        if case.reason == "unattested":
            asked = present = [system for system in asked if system == self.owner(name)]
        if (
            present
            and all(self.agrees(system, name) for system in asked)
            and not any(self.asks(one) for one in case.writes)
        ):
            self.end_case(name, "converged")

    def asks(self, write: Write) -> bool:
        """“A request that still stands is not agreement”, nor a proposal of a system of which nothing is expected."""
        now = self.current.get(write.field)
        blind = write.request or self.matrix.fields[write.field].views[write.system] == "none"
        return blind and self.stands(write) and (now is None or now.value != write.value)

    def settle(self, system: str, name: str, *, handed: bool) -> None:
        """“A system with shown ≠ expected, nothing outstanding and no open case is sent expected, or gets a case”."""
        seat, spec = self.seats[system], self.matrix.fields[name]
        if not self.expects(system, name) or self.agrees(system, name):
            return
        moved = self.expected(system, name) != self.expected_before[system, name]
        flying = seat.out.get(name, [])[-1:]
        given = handed and system == self.owner(name) and seat.shown.get(name) is None
        asked = (name in self.changed and moved) or (name in self.insisted and seat.present)
        if given or (asked and name not in seat.baseline):
            if not flying or flying[0].value != self.expected(system, name):
                self.send(system, name, "change")
            return
        if seat.out.get(name) or name in self.cases or name in seat.baseline or not seat.present:
            return
        refused = seat.refused.get(name, ("", 0))[0]
        if refused and refused != "resolved" and system == self.owner(name):
            if refused != "not_validated" and spec.restore:
                self.open_case(name, "unattested")
        elif (handed and system == self.owner(name)) or name in self.changed or (self.sweep and not refused):
            self.send(system, name, "change")
        elif (spec.restore or refused == "resolved" or (system, name) in self.written_again) and self.sendable(system):
            if self.guards[name].restores >= 3:
                self.open_case(name, "oscillation")
            else:
                self.guards[name].restores += 1
                self.send(system, name, "restore")

    def send(self, system: str, name: str, kind: str, *, again: bool = False) -> None:
        """“One event makes at most one send for each system, with all its fields”."""
        if not self.sendable(system):
            return
        value = self.expected(system, name)
        self.sends.setdefault(system, {})[name] = value
        self.kinds[system] = "change" if "change" in {kind, self.kinds.get(system)} else "restore"
        if kind == "restore":
            self.restored.add((system, name))
        self.guards[name].told.add(system)
        self.seats[system].out.setdefault(name, []).append(Out(value, f"?{self.change.id}", self.now, again))

    def tick(self) -> None:
        """“What is outstanding and already shown is retired; what is outstanding for 15 minutes is sent once more…”."""
        self.sweep = True
        for system, seat in self.seats.items():
            if not seat.present and any(seat.out.values()):
                self.make_again(system, seat)
                continue
            for name, sent in seat.out.items():
                if sent and sent[-1].value == seat.shown.get(name):
                    sent.clear()
                if not sent or self.now - sent[-1].at < QUARTER or not self.sendable(system):
                    continue
                if self.agrees(system, name):
                    sent.clear()
                elif sent[-1].again:
                    sent.clear()
                    self.open_case(name, "diverged")
                else:
                    self.send(system, name, "restore" if name in seat.refused else "change", again=True)
        for name, case in self.cases.items():
            if case.due <= self.now:
                case.owner = self.matrix.escalations[case.owner].then or case.owner
                case.due = self.now + self.matrix.escalations[case.owner].sla
                self.events.append(("escalated", field_of(name), case.reason))

    def make_records(self) -> None:
        """*Creation*: “a record is made in a system, by one send, as soon as …”."""
        if self.quiet or self.change.kind == "pause" or not self.stages or self.stage_found:
            return
        for system, due in self.matrix.creates.items():
            seat = self.seats[system]
            if self.stages[-1][1] in due and not seat.present and not seat.rows and not any(seat.out.values()):
                self.make(system, again=False)

    def make(self, system: str, *, again: bool) -> None:
        """“… with all that is expected there”, unless sends wait there or the record itself is somebody's case."""
        seat = self.seats[system]
        if seat.paused or self.paused or system in self.withheld or self.somebody_s():
            return
        values = {name: self.expected(system, name) for name in self.matrix.fields if self.expects(system, name)}
        values = {name: value for name, value in values.items() if value is not None or seat.out.get(name)}
        for name, value in values.items():
            self.guards[name].told.add(system)
            seat.out.setdefault(name, []).append(Out(value, f"?{self.change.id}", self.now, again))
        self.sends[system], self.kinds[system] = values, "create"

    def somebody_s(self) -> bool:
        """“The record itself is somebody's case”: any of them."""
        return any(not field_of(name) for name in self.cases)

    def make_again(self, system: str, seat: Seat) -> None:
        """“Once more after 15 minutes, and 15 minutes later it is a case ``uncreated`` of the record”."""
        last = max((sent[-1] for sent in seat.out.values() if sent), key=lambda one: (one.at, one.again))
        if self.now - last.at < QUARTER:
            return
        if not last.again:
            self.make(system, again=True)
        elif not (seat.paused or self.paused or system in self.withheld or self.somebody_s()):
            seat.out.clear()
            escalation = self.matrix.fields[self.matrix.stages.field].escalation
            self.open_case(own("uncreated", system), "uncreated", escalation)

    def pause(self) -> None:
        """“Pause and resume, per system or record, are people's control events”."""
        if self.change.system:
            self.seats[self.change.system].paused = True
        else:
            self.paused = True
