"""A second opinion: docs/rules.md written down once more, slowly, from its sentences and not from the code.

The oracle keeps one record in plain dicts and lists (``oracle_record.py``), knows only the types of ``model`` and
``matrix.compiled``, and walks the numbered steps of section 2 one function each, with the sentence it stands for beside
it. Steps 10 to 14 and section 3 are in ``oracle_rules.py``, what follows from a decision in ``oracle_follow.py``, what
people ask of cases in ``oracle_ask.py``, what is the matter with the record itself in ``oracle_own.py``, several rows
of one table in ``oracle_rows.py``. It shares no line with the implementation on purpose: where both agree, two readings
of the rules agree.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import oracle_rules
from oracle_ask import Asks
from oracle_record import Case, Current, Expected, Guard, Row, Seat, Write, canonical, own
from oracle_rows import Several
from oracle_rules import Verdict
from ownership_stream.matrix.compiled import Field, Grant
from ownership_stream.model import Change, Value


class Oracle(Asks, Several):
    """The record's history so far, fed one change at a time."""

    def feed(self, change: Change, withheld: frozenset[str] = frozenset()) -> Expected:
        """Decide one change and say what must follow from it."""
        self.begin(change, withheld)
        kinds = {"row": self.row_event, "tick": self.tick, "pause": self.pause, "resume": self.resume}
        kinds |= dict.fromkeys(("resolve", "assign", "comment"), self.ask)
        kinds |= {"match": self.match, "candidate": self.match, "reread": self.reread}
        kinds[change.kind]()
        self.step_16_close()
        self.make_records()
        return self.report()

    def saw(self, name: str, *, system: str, row: str, base: int | None) -> bool:
        """“A write has seen the current value if its base version says so, or, without one, if…”."""
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
        """The carried columns, the stage's first, compared ones before requests (a landing before our next send)."""
        stage = self.matrix.stages.field
        for name in sorted(self.matrix.fields, key=lambda one: one != stage):
            if name in self.change.compared:
                yield name, "compared", self.change.compared[name]
            if name in self.change.fields:
                yield name, "field", self.change.fields[name]
            if name in self.change.requests:
                yield name, "request", self.change.requests[name]

    def row_event(self) -> None:
        """Section 2, for each row event and then each field."""
        if self.change.among and not self.heard():
            self.quiet = True
            return
        change, seat = self.change, self.seats[self.change.system]
        row = seat.rows.setdefault(change.row, Row())
        if self.step_1_position(row):
            self.outcomes = {(name, column == "request"): ("replay", "") for name, column, _ in self.columns()}
            self.quiet = True
            return
        seat.key = seat.key or change.key  # “Until then that of the first of its other rows”
        self.read_again()
        if change.op == "d":
            self.delete(seat, row)
            self.quiet = True
            return
        if change.primary:
            self.seen_in(seat)
        fresh = self.step_3_fresh(row)
        self.repeats = self.is_repeat(row, fresh)
        waiting: dict[str, tuple[Write, Verdict]] = {}
        for name, column, value in self.columns():
            write = self.steps_2_to_6(name, column, value, fresh)
            if write is None:
                continue
            verdict = self.steps_7_to_14(write)
            if name == self.matrix.stages.field or (write.actor_only and verdict.outcome != "applied"):
                self.conclude(write, verdict)
            else:
                waiting[name] = (write, verdict)
        for write, verdict in self.step_15_groups(waiting):
            self.conclude(write, verdict)
        if self.stage_became_known:
            self.seed_late()
            self.redecide()

    def delete(self, seat: Seat, deleted: Row) -> None:
        """“The system is absent, what it showed and what was outstanding there is forgotten”; others nothing.

        “A delete of any other row”, be it the record's former one in that system, “forgets only what that row showed
        beside its fields”.
        """
        deleted.known, deleted.attributes, deleted.evidence = False, {}, {}
        if self.change.primary and not seat.present:
            seat.out.clear()
        if not self.change.primary or not seat.present or self.change.key != seat.key:
            return
        seat.present = False
        for forgotten in (seat.shown, seat.requested, seat.out, seat.accepted, seat.refused, seat.baseline):
            forgotten.clear()
        for row in seat.rows.values():
            row.known, row.attributes, row.evidence = False, {}, {}
        self.forget_rows(self.change.system)
        owned = [f for f in self.matrix.fields if self.owner(f) == self.change.system and f in self.current]
        if owned:
            self.open_case(own("absent", self.change.system), "absent", self.matrix.fields[owned[0]].escalation)

    def steps_2_to_6(self, name: str, column: str, value: Value, fresh: Change) -> Write | None:
        """The write that goes on, or ``None`` and the outcome that ended it before."""
        request = column == "request"
        shelf = self.seats[self.change.system].requested if request else self.seats[self.change.system].shown
        value = self.whole(value, shelf.get(name))
        write = self.as_write(name, request, value, fresh)
        differs = shelf.get(name) != value
        if request and value is None:
            shelf.pop(name, None)
            self.end(write, "noop")
        elif not self.step_2_delta(write, fresh, shelf):
            self.end(write, "noop")
        elif request or not differs:
            shelf[name] = value
            only = not differs and write.reason is None and write.evidence is None
            return self.steps_5_and_6(replace(write, actor_only=only), column)
        else:
            shelf[name] = value
            return self.steps_4_to_6(write, column, fresh)
        return None

    def steps_4_to_6(self, write: Write, column: str, fresh: Change) -> Write | None:
        """A value that moved in a shown column: our landing, or what was remembered of the old value ends."""
        name, seat = write.field, self.seats[write.system]
        if name in self.current and write.value == self.summary(write.system, name, self.current[name].value):
            seat.accepted.pop(name, None)
        landed = self.step_4_echo(write, fresh)
        if landed is not None:
            self.end(write, "echo", landed)
            return None
        seat.refused.pop(name, None)
        if self.change.op != "r":
            seat.baseline.discard(name)
        if self.repeats:
            self.written_again.add((write.system, name))
            self.end(write, "echo", "late")
            return None
        return self.steps_5_and_6(write, column)

    def steps_5_and_6(self, write: Write, column: str) -> Write | None:
        """Compared columns and snapshots end here, and what equals current."""
        if column == "compared":
            if self.change.op == "r":
                self.seats[write.system].baseline.add(write.field)
            self.end(write, "noop")
        elif self.change.op == "r":
            self.step_5_snapshot(write)
            self.end(write, "baseline")
        elif not self.step_6_equal(write):
            return write
        return None

    def steps_7_to_14(self, write: Write) -> Verdict:
        """“Then, if the system or the record is paused → ``queued: paused``”; the loop guard; the decision itself."""
        if self.seats[write.system].paused or self.paused:
            return Verdict("queued", "paused")
        if self.step_7_loop(write):
            return Verdict("queued", "oscillation")
        return self.step_8_stage(write)

    def whole(self, value: Value, shown: Value) -> Value:
        """“Parts not carried come from shown; the field is cleared when all parts are null”."""
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
            seen=self.saw(name, system=change.system, row=change.row, base=fresh.base),
            stage_row=change.stage_row,
        )

    def end(self, write: Write, outcome: str, reason: str = "") -> None:
        """One named outcome for one column; a queued write goes to its case."""
        assert (write.field, write.request) not in self.outcomes
        if write.actor_only and outcome in {"rejected", "queued"}:
            outcome, reason = "noop", ""
        self.outcomes[write.field, write.request] = (outcome, reason)
        if outcome in {"rejected", "queued"} and not write.request:
            self.refuse(write, reason)
        if outcome == "queued":
            self.queue(write, reason)

    def step_2_delta(self, write: Write, fresh: Change, shelf: dict[str, Value]) -> bool:
        """“Equal to shown → noop, unless a fresh attestation came with it; then it is a write”."""
        if shelf.get(write.field) != write.value:
            return True
        if self.change.op == "r" or write.field not in shelf:
            return False
        if write.evidence is not None and self.matrix.fields[write.field].rule.startswith("latest"):
            return True
        refused = write.field in self.seats[write.system].refused and not write.request
        if not refused or self.agrees(write.system, write.field):
            return False
        known = replace(write, phase=self.phase(write))
        if self.matrix.fields[write.field].rule.startswith("latest"):
            return write.reason is not None
        granted = (
            fresh.actor is not None and oracle_rules.step_9_grant(self.matrix.fields[write.field], known) is not None
        )
        return write.reason is not None or granted

    def step_4_echo(self, write: Write, fresh: Change) -> str | None:
        """“Our write landing”, by its marker or by its value: plain or coerced; ``None`` if it is no echo."""
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

    def is_repeat(self, row: Row, fresh: Change) -> bool:
        """“A row that was there before and whose mark moves to one of ours by which nothing is under way…”."""
        seat = self.before[self.change.system]
        under_way = {one.change_id for sent in seat.out.values() for one in sent}
        there = seat.present and len(row.ids) > 1 and self.change.op == "u"
        return there and fresh.marker is not None and fresh.marker not in under_way and fresh.origin != "person"

    def step_5_snapshot(self, write: Write) -> None:
        """“The present owner's snapshot is trusted: it sets current if there is none, or if it differs and…”."""
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
            self.stage_found |= name == stages.field
            owners = [
                one for one in self.matrix.fields[name].grants if one.kind == "owner" and one.system == write.system
            ]
            self.set_current(write, owners[0])
            self.current[name].found = True
            if now is None or (self.change.among and now.found):
                self.first_seeds.add(name)
        if name not in self.current or not self.agrees(write.system, name):
            self.seats[write.system].baseline.add(name)

    def seed_late(self) -> None:
        """“When the stage becomes known for the first time, a field whose owner it decides … is seeded likewise”."""
        for name in self.matrix.by_stage:
            system = self.owner(name)
            seat = self.seats[system]
            shown = seat.shown.get(name)
            if name not in self.current and seat.present and name in seat.baseline and shown is not None:
                owners = [
                    one for one in self.matrix.fields[name].grants if one.kind == "owner" and one.system == system
                ]
                self.version = self.version_before + 1
                at = min(self.change.at, self.now)
                self.current[name] = Current(shown, self.version, at, system, "", None, owners[0], None)
                self.first_seeds.add(name)
                self.changed.add(name)

    def step_6_equal(self, write: Write) -> bool:
        """“Equal to current (or to its summary) → noop, unless it carries fresh evidence that differs”."""
        now = self.current.get(write.field)
        if now is None:
            if write.value is None:
                self.end(write, "noop")
            return write.value is None
        if not write.request and self.seats[write.system].accepted.get(write.field, self) == write.value:
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
        """“Between two writes by persons, at most 3 restores and 10 applied answers per record and field”."""
        if write.person:
            self.guards[write.field] = Guard()
        guard = self.guards[write.field]
        answer = not write.person and write.system in guard.told
        return answer and (guard.restores >= 3 or guard.answers >= 10)

    def phase(self, write: Write) -> str:
        """“Whether care had started is asked of the latch at the same point or time”."""
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
        """“A late write never replaces a value the present owner has written since”."""
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
        """“Groups share their worst verdict among the writes of one event: rejected, then queued, then applied”."""
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

    def conclude(self, write: Write, verdict: Verdict) -> None:
        """Give the write its end and do what follows from it."""
        if verdict.outcome != "applied":
            self.end(write, verdict.outcome, verdict.reason)
            return
        self.apply(write, verdict)
        self.end(write, "applied", "" if verdict.grant else "unprotected")

    def resume(self) -> None:
        """“On resume… the latest waiting proposal of each ``paused`` or ``stage`` case is decided again”."""
        if self.change.system:
            self.seats[self.change.system].paused = False
        else:
            self.paused = False
        self.sweep = True
        self.redecide()

    def ask(self) -> None:
        """“A person asks something of an open case”; a stage by it “brings what a stage brings”."""
        self.answer = self.answer_ask()
        self.quiet = self.answer[0] not in {"accepted", "kept", "set", "dismissed"}
        if self.stage_became_known:
            self.seed_late()
            self.redecide()

    def redecide(self) -> None:
        """“… decided again by steps 8 to 14; what is not applied by it stays queued under its new reason or…”."""
        stage = self.matrix.stages.field
        for name in sorted(self.matrix.fields, key=lambda one: one != stage):
            case = self.cases.get(name)
            if self.paused or case is None or case.reason not in {"paused", "stage"}:
                continue
            if case.reason == "stage" and not self.stages:
                continue
            standing = [write for write in case.writes if self.stands(write)]
            waiting = [write for write in standing[-1:] or case.writes if self.seats[write.system].paused]
            if not standing and (case.reason == "stage" or not waiting):
                self.end_case(name, "converged")
            elif standing and not waiting:
                self.decide_again(name, case, standing[-1])
            if name == stage and self.stage_became_known:
                self.seed_late()

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
            self.events.append(("changed", name, verdict.reason))
        else:
            self.end_case(name, "superseded")


def replace_current(now: Current, write: Write, grant: Grant | None) -> Current:
    """“Current's evidence, time and provenance are the new ones, the version stays”."""
    return Current(now.value, now.version, write.at, write.system, write.row, write.position, grant, write.evidence)
