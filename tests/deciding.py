"""One record under decision, for tests: its state, the broker's clock, and events in few words."""

from typing import Any

import msgspec
from msgspec.structs import replace

from ownership_stream.decide import decide
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import Change, Decision, Evidence, Op, RecordState, SystemState, Value
from ownership_stream.resolve import KIND_OF, edition

START = 1_772_452_800_000
MINUTE = 60_000
PERSONS = (
    "provider",
    "nurse",
    "care_coordinator",
    "clinical_ops",
    "intake_ops",
    "growth_ops",
    "support",
    "patient_portal",
)


class Record:
    """A record whose changes are decided one after the other; each event is a minute after the one before."""

    def __init__(self, matrix: Matrix, withheld: frozenset[str] = frozenset()) -> None:
        self.matrix = matrix
        self.withheld = withheld
        self.state: RecordState | None = None
        self.now = START
        self.count = 0

    def row(
        self, system: str, fields: dict[str, Value] | None = None, *, by: str | None = None, op: Op = "u", **said: Any
    ) -> Decision:
        """A row event of a system's own row; `by` is a role, `person`, or nobody. What is said overrides the change."""
        self.count += 1
        said.setdefault("at", self.now)
        came = {"actor": by, **{name: said.get(name) for name in ("reason", "base", "evidence")}}
        event = tuple(name for name, there in came.items() if there is not None)
        change = Change(
            id=f"c{self.count}",
            record="r1",
            system=system,
            row=f"{system}/patient/1",
            op=op,
            key=f"{system}-1",
            stage_row=system == "crm",
            position=(self.count,),
            fields=fields or {},
            actor=by,
            role=by if by in self.matrix.roles else None,
            origin="person" if by == "person" or by in PERSONS else "automation",
            event=event,
            received=self.now,
        )
        return self.decide(replace(change, **said))

    def lands(self, decision: Decision, system: str, **said: Any) -> Decision:
        """What a decision sent to a system comes back marked, in the system's own row."""
        send = next(send for send in decision.sends if send.system == system)
        return self.row(system, send.values, marker=f"c{self.count}", **said)

    def tick(self, minutes: int) -> Decision:
        """Time passes, and the tick comes."""
        self.now += minutes * MINUTE - MINUTE
        return self.control("tick")

    def control(self, kind: str, system: str = "") -> Decision:
        """A tick, or a person's pause or resume."""
        self.count += 1
        said = {"id": f"c{self.count}", "record": "r1", "kind": kind, "system": system, "received": self.now}
        return self.decide(msgspec.convert(said, Change))

    def ask(self, field: str, action: str, *, by: str = "clinical_ops", **said: Any) -> Decision:
        """A person in an escalation owner's role asks something of a field's case, as it stands now.

        What is said overrides: `case`, `edition`, `system`, `value`, `to` of the ask, anything else of the change.
        """
        self.count += 1
        state = self.state or RecordState()
        case = state.cases.get(field)
        known = {} if case is None else {"case": case.id, "edition": edition(state, case)}
        about = {name: said.pop(name) for name in ("case", "edition", "system", "value", "to") if name in said}
        change = {
            "id": f"c{self.count}", "record": "r1", "kind": KIND_OF[action], "received": self.now, "at": self.now,
            "actor": f"{by} person", "role": by, "origin": "person", "reason": "looked at it",
            "ask": {"case": "none", "action": action} | known | about,
        }  # fmt: skip
        return self.decide(msgspec.convert(change | said, Change))

    def decide(self, change: Change) -> Decision:
        """Decide a change as it stands."""
        decision = decide(self.matrix, self.state, change, self.withheld)
        self.state = decision.state
        self.now += MINUTE
        return decision

    def system(self, name: str) -> SystemState:
        """What the record knows of a system."""
        assert self.state is not None
        return self.state.systems[name]

    def current(self, field: str) -> Value:
        """A field's current value."""
        assert self.state is not None
        return self.state.fields[field].value if field in self.state.fields else None

    def cases(self) -> dict[str, str]:
        """The open cases: field -> reason."""
        assert self.state is not None
        return {field: case.reason for field, case in self.state.cases.items()}


def both(matrix: Matrix, **said: Any) -> Record:
    """A record that both systems have, with these values, each by its owner before care start and landed."""
    record = Record(matrix)
    record.row("crm", op="c")
    record.row("ehr", op="c")
    stage = said.pop(matrix.stages.field, None)
    if stage is not None:
        set_by_owner(record, matrix.stages.field, stage)
    for field, value in said.items():
        set_by_owner(record, field, value)
    return record


def set_by_owner(record: Record, name: str, value: Value, **said: Any) -> None:
    """The present owner writes a field, and what is sent for it lands."""
    field = record.matrix.fields[name]
    started = record.state is not None and record.state.care_started is not None
    system = field.owner["after" if started else "before"]
    role = next((grant.role for grant in field.grants if grant.system == system and grant.kind == "owner"), None)
    said = {"reason": "as given", **said}
    decision = record.row(system, {name: value}, by=role or "person", **said)
    assert [("applied", "")] == [(one.outcome, one.reason) for one in decision.outcomes], decision.outcomes
    for send in decision.sends:
        compared = {name: value for name, value in send.values.items() if send.system == "ehr" and name == "care_stage"}
        fields = {name: value for name, value in send.values.items() if name not in compared}
        record.row(
            send.system,
            fields,
            compared=compared,
            marker=decision.state.systems[send.system].outstanding[name][-1].change_id,
        )


def ends(decision: Decision) -> list[tuple[str, str, str]]:
    """Every outcome: (field, outcome, reason)."""
    return [(one.field, one.outcome, one.reason) for one in decision.outcomes]


def sent(decision: Decision) -> dict[str, tuple[str, dict[str, Value]]]:
    """Every send: system -> (kind, values)."""
    return {send.system: (send.kind, send.values) for send in decision.sends}


def having(matrix: Matrix, name: str, **changes: Any) -> Matrix:
    """The matrix with one field changed."""
    return replace(matrix, fields={**matrix.fields, name: replace(matrix.fields[name], **changes)})


def field_of(matrix: Matrix, name: str) -> Field:
    """A field of the matrix."""
    return matrix.fields[name]


def backed(name: str, by: str | None, at: int | None) -> dict[str, Evidence]:
    """Evidence of one field."""
    return {name: Evidence(by, at)}
