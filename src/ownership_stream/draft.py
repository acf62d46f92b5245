"""The next state of a record while one change is being decided, and a write on its way to its outcome.

``decide`` must not touch the state it is given: a draft copies what it changes on the first write and shares the
rest. It knows how a state is read (what is expected of whom, who owns what now) and written, but no order of steps
and no rule.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from msgspec.structs import replace

from ownership_stream.matrix.compiled import Field, Grant, Matrix, Phase, Summary, View
from ownership_stream.model import (
    LINKED_FORMAT,
    STATE_FORMAT,
    UNLINKED,
    Answer,
    Case,
    CaseEvent,
    CaseWord,
    Change,
    Evidence,
    FieldState,
    LinkedState,
    Origin,
    Outcome,
    Proposal,
    RecordState,
    Refused,
    Sent,
    SystemState,
    Value,
    identity_of,
)
from ownership_stream.slots import slot, slot_of


class Nothing(Enum):
    """The type of ``NOTHING``."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING
"""Nothing is expected of a system, which is not the same as expecting null."""

LANDING_TIME: Final = 15 * 60 * 1000
"""Milliseconds a sent value may take to come back before it is sent once more, and again before it is a case."""
NO_CURRENT: Final = FieldState()
STAGES_KEPT: Final = 16
PROPOSALS_KEPT: Final = 8
JUDGED: Final = "resolved"
"""Why a value is refused that a person has decided against; whatever it was refused for before."""

V = TypeVar("V")


class Fresh:
    """The attributes that count for this event (section 2, step 3); what is not fresh is absent here."""

    actor: str | None = None
    role: str | None = None
    origin: Origin = "automation"
    reason: str | None = None
    base: int | None = None
    marker: str | None = None
    evidence: Mapping[str, Evidence] = MappingProxyType({})


class Write:
    """One field's write on its way to one outcome. ``outcome`` is empty until a step answers."""

    request = False
    needs_grant = False
    """An unchanged, refused value: a write only if a rightful actor attests it."""
    only_evidence = False
    """Equal to current: only its evidence is new."""
    evidence: Evidence | None = None
    grant: Grant | None = None
    phase: Phase = "before"
    stage: str | None = None
    outcome = ""
    reason = ""
    unseen = False
    joined = False

    def __init__(
        self, field: Field, value: Value, fresh: Fresh, source: Change | Proposal, *, at: int, seen: bool
    ) -> None:
        self.field = field
        self.value = value
        self.fresh = fresh
        self.source = source
        """Whence: its system, row and position."""
        self.person = fresh.origin == "person"
        """Whether a person wrote it; an unknown actor is an automation."""
        self.at = at
        self.seen = seen

    @classmethod
    def again(cls, field: Field, proposal: Proposal) -> "Write":
        """The write that waits in a case, to be decided once more."""
        fresh = Fresh()
        fresh.actor, fresh.role, fresh.origin = proposal.actor, proposal.role, proposal.origin
        fresh.reason, fresh.base = proposal.reason, proposal.base
        write = cls(field, proposal.value, fresh, proposal, at=proposal.at, seen=proposal.seen)
        write.evidence, write.request = proposal.evidence, proposal.request
        return write

    def end(self, outcome: str, reason: str = "") -> None:
        """Answer it."""
        self.outcome = outcome
        self.reason = reason

    def as_outcome(self) -> Outcome:
        """Its outcome, once a step has answered."""
        grant = self.grant.id if self.grant is not None else ""
        fresh = self.fresh
        return Outcome(
            self.field.name, self.outcome, self.reason, self.field.rule, grant, self.stage, self.unseen, self.joined,
            self.request, fresh.actor, fresh.role, fresh.origin,
        )  # fmt: skip

    def as_proposal(self) -> Proposal:
        """What a case keeps of it."""
        fresh, source = self.fresh, self.source
        change_id = source.id if isinstance(source, Change) else source.change_id
        return Proposal(
            source.system, self.value, change_id, self.at, source.row, source.position, fresh.actor, fresh.role,
            fresh.origin, fresh.reason, fresh.base, self.evidence, self.seen, self.request, source.stage_row,
        )  # fmt: skip


class Draft:
    """The state under decision.

    Every dict it hands out is shared: replace, never mutate, except through these methods.
    """

    noops = 0
    outcomes: tuple[Outcome, ...] = ()
    redecided: tuple[Outcome, ...] = ()
    merged: tuple[Outcome, ...] = ()
    case_events: tuple[CaseEvent, ...] = ()
    ended_overrides: tuple[str, ...] = ()
    restored: tuple[tuple[str, str], ...] = ()
    created: tuple[str, ...] = ()
    """Systems in which this event makes the record."""
    touched: tuple[str, ...] = ()
    """Fields for which *close* has to look, in order."""
    asked: tuple[str, ...] = ()
    """Fields to be sent because this event changed their current value."""
    handed: tuple[tuple[str, str], ...] = ()
    """(system, field) to be sent because this event handed the field over to that system."""
    sweeps = False
    """*Close* looks at every field, and systems are sent whatever they miss."""
    reason: str | None = None
    """The fresh reason of this event."""
    care_starts = False
    """An applied write of this event starts care."""
    repeated = False
    """The event is a write of ours that its writer has made once more."""
    late: tuple[str, ...] = ()
    """Fields that show something else by it: nobody's edit."""
    stage_learned = False
    """The stage became known for the first time: what waited for it is decided again."""
    answer: Answer | None = None
    """How what a person asked of a case ended."""

    def __init__(self, matrix: Matrix, state: RecordState, change: Change, withheld: frozenset[str]) -> None:
        self.matrix = matrix
        self.base = state
        self.change = change
        self.withheld = withheld
        self.now = change.received
        self.version = state.version
        self.stages = state.stages
        self.care_started = state.care_started
        self.paused = state.paused
        self.identity = identity_of(state)
        self.assigned = state.assigned
        self.systems = state.systems.copy()
        self.fields = state.fields
        self.cases = state.cases
        self.speaking = state.speaking
        self.sends: dict[str, dict[str, Value]] = {}

    def touch(self, name: str) -> None:
        """Have *close* look at a field."""
        if name not in self.touched:
            self.touched += (name,)

    def system(self, name: str) -> SystemState:
        """The system's state, this draft's own copy from the first call on."""
        mine, old = self.systems.get(name), self.base.systems.get(name)
        if mine is None or mine is old:
            mine = self.systems[name] = SystemState() if old is None else replace(old)
        return mine

    def put(self, name: str, new: FieldState) -> None:
        """Write a field's state down; the dict of states is this draft's own from the first time on."""
        if self.fields is self.base.fields:
            self.fields = self.fields.copy()
        self.fields[name] = new

    def current(self, name: str) -> FieldState:
        """The field's current value; one of version 0 where there is none."""
        return self.fields.get(name, NO_CURRENT)

    def expected(self, key: str, name: str, field: Field) -> Value | Nothing:
        """What the system should show; see ``view_of``."""
        return view_of(self.systems.get(key), name, field.views[key], self.fields.get(name))

    def owner(self, field: Field) -> str:
        """The system that owns the field now."""
        return field.owner["before" if self.care_started is None else "after"]

    def stage_now(self) -> str | None:
        """The last known stage."""
        return self.stages[-1][1] if self.stages else None

    def stage_at(self, at: int) -> str | None:
        """The stage in force at a source time, out of the short history."""
        found = self.stages[0][1] if self.stages else None
        for began, stage in self.stages:
            if began > at:
                break
            found = stage
        return found

    def set_stage(self, stage: str, at: int) -> bool:
        """Record a stage; whether care has started by it just now."""
        began = max(at, self.stages[-1][0]) if self.stages else 0
        self.stages = (*self.stages, (began, stage))[-STAGES_KEPT:]
        if self.care_started is not None or stage not in self.matrix.stages.after:
            return False
        self.care_started = began
        return True

    def set_current(self, name: str, new: FieldState) -> None:
        """A field's new current value: landings accepted and differences excused for the old one end here."""
        self.insist(name, new)
        for key, system in self.systems.items():
            if name in system.accepted:
                mine = self.system(key)
                mine.accepted = without(mine.accepted, name)

    def insist(self, name: str, current: FieldState) -> None:
        """Have every system sent the current value that shows another: differences excused so far end here."""
        self.put(name, current)
        self.asked += (name,)
        self.touch(name)
        for key, system in self.systems.items():
            if name in system.baseline:
                mine = self.system(key)
                mine.baseline = tuple(field for field in mine.baseline if field != name)

    def refuse(self, write: Write) -> None:
        """Remember that what the system shows was not taken; a request column shows nothing."""
        if not write.request:
            name = write.field.name
            system = self.system(write.source.system)
            seen = self.current(name).version if write.seen else -1
            system.refused = {**system.refused, name: Refused(write.reason, seen)}

    def judge(self, key: str, name: str) -> None:
        """A person has judged the system's refused value: it is written over, in the owner's system too."""
        refused = self.systems[key].refused.get(name)
        if refused is not None:
            mine = self.system(key)
            mine.refused = {**mine.refused, name: Refused(JUDGED, refused.seen)}

    def forgive(self, key: str, name: str) -> None:
        """The system's shown value of the field is refused no longer, and no baseline difference."""
        system = self.systems[key]
        if name in system.refused or name in system.baseline:
            mine = self.system(key)
            mine.refused = without(mine.refused, name)
            mine.baseline = tuple(field for field in mine.baseline if field != name)

    def excuse(self, key: str, name: str) -> None:
        """List a difference as a baseline's."""
        system = self.system(key)
        if name not in system.baseline:
            system.baseline = (*system.baseline, name)

    def excuse_others(self, key: str, name: str) -> None:
        """A snapshot set the first current value: what other present systems show differently is listed."""
        field = self.matrix.fields[name]
        for other, system in self.systems.items():
            if other != key and system.present and system.shown.get(name) != self.expected(other, name, field):
                self.excuse(other, name)

    def open_case(
        self, name: str, reason: str, owner: str, proposal: Proposal | None = None, *, system: str = ""
    ) -> bool:
        """Open a case for the field, or join the one that is open; whether it joined.

        ``system``: of one that no write opens, the system that does not show what it should.
        """
        case = Case(f"{self.change.id}:{name}", name, reason, self.now, owner, self.now)
        return self._open(name, case, proposal, system)

    def open_own(
        self, reason: str, owner: str, proposal: Proposal | None = None, about: str = "", *, system: str = ""
    ) -> bool:
        """Open a case of the record itself, or join the one of the same cause; whether it joined.

        ``about``: the system or the row of which it is, where each has one of its own. ``system``: see ``open_case``.
        """
        name, known = slot(reason, about), {case.id for case in self.cases.values()}
        case_id = f"{self.change.id}:"
        unique = f"{self.change.id}{name}" if case_id in known else case_id
        return self._open(name, Case(unique, "", reason, self.now, owner, self.now), proposal, system)

    def _open(self, name: str, new: Case, proposal: Proposal | None, system: str) -> bool:
        case = self.cases.get(name)
        waits = () if proposal is None else (proposal,)
        if case is not None:
            proposals = (*case.proposals, *waits)[-PROPOSALS_KEPT:]
            self.put_case("joined", name, replace(case, proposals=proposals, joined=case.joined + 1))
            return True
        sla = self.matrix.escalations[new.owner].sla
        self.put_case("opened", name, replace(new, due=self.now + sla, proposals=waits), system)
        return False

    def alter_case(self, how: Literal["changed", "escalated", "assigned"], case: Case) -> None:
        """An open case in a new form: escalated, or with the other reason that a re-decision gave it; or assigned."""
        self.put_case(how, slot_of(self.cases, case), case)

    def close_case(self, name: str, how: Literal["converged", "superseded", "resolved"]) -> None:
        """Close the case of a field, or the record's own in that slot, where one is open."""
        case = self.cases.get(name)
        if case is not None:
            self.cases = without(self.cases, name)
            self.assigned = without(self.assigned, name)
            self.case_events += (CaseEvent(how, case),)

    def put_case(self, how: CaseWord, name: str, case: Case, system: str = "") -> None:
        """From here on the case stands under that name, in the place of the one that stood there."""
        self.cases = {**self.cases, name: case}
        self.case_events += (CaseEvent(how, case, system),)

    def stands(self, name: str, proposal: Proposal) -> bool:
        """Whether the system still shows (or still requests) what it proposed."""
        system = self.systems[proposal.system]
        return (system.requested if proposal.request else system.shown).get(name) == proposal.value

    def send(self, key: str, name: str, value: Value, *, restore: bool, again: bool = False) -> None:
        """Send a field's expected value to a system: it is outstanding before it can come back."""
        self.sends.setdefault(key, {})[name] = value
        system = self.system(key)
        waiting = (*system.outstanding.get(name, ()), Sent(value, self.change.id, self.now, again))
        system.outstanding = {**system.outstanding, name: waiting}
        current = self.fields[name]
        if restore:
            self.restored += ((key, name),)
        if restore or key not in current.told:
            told = current.told if key in current.told else tuple(sorted((*current.told, key)))
            self.put(name, replace(current, restores=current.restores + (restore and not again), told=told))

    @property
    def doubted(self) -> bool:
        """Whether the record's flow stands still, since it is not certain whose it is."""
        return bool(self.identity.doubts)

    def to_state(self) -> RecordState:
        """The next state: of the plain form unless there is more to say of the record's identity."""
        said = (
            self.version,
            self.systems,
            self.fields,
            self.stages,
            self.care_started,
            self.cases,
            self.paused,
            self.speaking,
            self.assigned,
        )
        if self.identity == UNLINKED:
            return RecordState(STATE_FORMAT, *said)
        return LinkedState(LINKED_FORMAT, *said, self.identity)


def without(mapping: dict[str, V], name: str) -> dict[str, V]:
    """The mapping less one key; the same object where the key is not in it."""
    if name not in mapping:
        return mapping
    return {key: value for key, value in mapping.items() if key != name}


def view_of(system: SystemState | None, name: str, view: View, current: FieldState | None) -> Value | Nothing:
    """What a system should show: the landing accepted there, current or its summary; ``NOTHING`` by direction."""
    if view == "none":
        return NOTHING
    if system is not None and name in system.accepted:
        return system.accepted[name]
    if current is None or not current.version:
        return None
    return current.value if view == "full" else view.of(current.value)


def complete(field: Field, view: View, shown: Value, value: Value) -> Value:
    """A value of parts with the parts that were not carried taken from shown; ``None`` when all parts are null."""
    if not isinstance(value, dict):
        return value
    parts = view.keep if isinstance(view, Summary) else field.parts
    before = shown if isinstance(shown, dict) else {}
    whole = {part: value[part] if part in value else before.get(part) for part in parts}
    return whole if any(part is not None for part in whole.values()) else None


def grant_kind(grant: str) -> str:
    """``owner``, ``secondary``, ``override`` or empty, from a grant's id, which outlives its matrix revision."""
    return grant.partition(":")[0]
