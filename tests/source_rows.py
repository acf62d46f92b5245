"""The source rows of one record, and the clinic that turns each abstract step of a history into a change of them.

``Clinic`` keeps what the rows hold, their positions and the time, and resolves a step against what has really happened
so far: an echo lands what was really sent, a base version lies near the current one, a duplicate repeats a delivery.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from ownership_stream.matrix.compiled import Summary
from ownership_stream.model import Action, Ask, Change, Evidence, Origin, Scalar, Value
from ownership_stream.resolve import KIND_OF
from small_matrix import CRM, EHR, MATRIX

START = 1_000_000_000_000
MINUTE = 60_000

Column = tuple[Literal["field", "compared", "request"], str]


@dataclass(frozen=True)
class Source:
    """A source row and the columns it has."""

    name: str
    system: str
    columns: tuple[Column, ...]
    primary: bool = True
    stage_row: bool = False
    positioned: bool = True
    actor_in_event: bool = False
    number: int = 1
    """Which of its system's keys of the record the row has."""
    among: str = ""
    """The table, of whose rows one speaks."""


def plain(*names: str) -> tuple[Column, ...]:
    """Ordinary columns."""
    return tuple(("field", name) for name in names)


SHARED = ("legal_name", "date_of_birth", "lead_source", "medication_plan", "contact_preference")
LOCAL = ("street", "city", "nickname", "risk_note", "weight")
CONTACT = Source("crm/Contact/1", CRM, plain("care_stage", *SHARED, *LOCAL), stage_row=True, actor_in_event=True)
TASK = Source("crm/Task/9", CRM, plain("follow_up"), primary=False, positioned=False)
PATIENT = Source("ehr/patient/7", EHR, (("compared", "care_stage"), ("request", "care_stage"), *plain(*SHARED, *LOCAL)))
FOLLOWUP = Source("ehr/followup/3", EHR, plain("follow_up"), primary=False)
SOURCES = (CONTACT, PATIENT, FOLLOWUP, TASK)
MOVED = Source("ehr/patient/8", EHR, PATIENT.columns, number=2)
"""The patient's row after its key has changed, which some connectors make a delete and a create, in either order."""
VISITS = tuple(
    Source(f"ehr/visit/{number}", EHR, plain("follow_up"), primary=False, among="ehr/visit") for number in (1, 2, 3)
)
"""Rows of one table, of which one speaks."""
WITH_MOVED = (*SOURCES, MOVED, *VISITS)
PRIMARY = {CRM: CONTACT, EHR: PATIENT}

NAMES: list[Value] = [{"family": "Doe", "given": "Ann"}, {"family": "Doe", "given": "Anna"}, {"family": "Do"}]
PLANS: list[Value] = [
    {"drug": "A", "dose": "1", "status": "on"},
    {"drug": "A", "dose": "2", "status": "on"},
    {"drug": "B", "status": "off"},
]
DOMAIN: dict[str, list[Value]] = {
    "legal_name": NAMES,
    "date_of_birth": ["1980-01-01", "1981-01-01"],
    "lead_source": ["google_ads", "meta_ads", "referral", "paid"],
    "care_stage": ["new_lead", "intake_done", "in_care", "paused", "discharged", "nonsense"],
    "medication_plan": PLANS,
    "follow_up": ["reached", "no answer"],
    "contact_preference": ["email", "sms"],
    "street": ["Elm 1", "Oak 2"],
    "city": ["Ulm", "Bonn"],
    "nickname": ["Annie", "Nan"],
    "risk_note": ["low", "high"],
    "weight": [70, 71],
}
SUMMARIES: list[Value] = ["prospect", "active", "closed"]


@dataclass(frozen=True)
class Actor:
    """Somebody or something that writes."""

    name: str | None
    role: str | None
    origin: Origin


ACTORS = (
    Actor("pat", "provider", "person"),
    Actor("nia", "nurse", "person"),
    Actor("cal", "clinical_ops", "person"),
    Actor("ida", "intake_ops", "person"),
    Actor("cora", "care_coordinator", "person"),
    Actor("rep", None, "person"),
    Actor("bot", None, "automation"),
    Actor("portal", "patient_portal", "automation"),
    Actor("robot", "care_coordinator", "automation"),
    Actor(None, None, "automation"),
)

Kind = Literal[
    "write", "echo", "snapshot", "delete", "duplicate", "old", "tick", "pause", "resume", "ask", "gap", "match",
    "candidate", "rewrite",
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One abstract step; which of its choices count depends on its kind."""

    kind: Kind
    source: int = 0
    cells: tuple[tuple[int, int], ...] = ()
    """(column, value) choices; see ``Clinic.value``."""
    actor: int = 6
    whole: bool = True
    base: Literal["none", "current", "behind", "zero", "same"] = "none"
    reason: Literal["none", "given", "other", "blank", "same"] = "none"
    evidence: Literal["none", "now", "earlier", "same", "unsigned", "future", "empty", "untimed"] = "none"
    lag: int = 0
    """Source time before the broker's, milliseconds; negative: in the future."""
    pick: int = 0
    mode: Literal["plain", "marker", "coerced", "marker coerced", "person", "marker person coerced"] = "plain"
    after: int = 1_000
    withheld: frozenset[str] = frozenset()
    target: str = ""
    action: Action = "keep"
    reading: Literal["now", "now too", "before"] = "now"
    """What an ask goes by: the case as it is, or as it was when somebody read it last."""
    rank: int = 0
    """Where a row stands among others of its table; 0: it does not stand."""


class Sent(Protocol):
    """What an echo needs to know of something sent."""

    value: Value
    change_id: str


class View(Protocol):
    """What steps are resolved against: the state of affairs as somebody keeps it."""

    def version_of(self, name: str) -> int:
        """The version that set the current value; 0 where there is none."""

    def value_of(self, name: str) -> Value:
        """The current value."""

    def shown_in(self, system: str, name: str) -> Value:
        """What a system shows."""

    def evidence_of(self, name: str) -> Evidence | None:
        """The current value's evidence."""

    def sent_to(self, system: str) -> Mapping[str, list[Any]]:
        """What is outstanding in a system, by field."""

    def read_cases(self) -> Mapping[str, tuple[str, str]]:
        """The id and the edition of every open case, by field."""


@dataclass
class RowContent:
    """What a source row holds now."""

    cells: dict[Column, Value] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    position: int = 0
    exists: bool = False


class Clinic:
    """The source rows of one record."""

    def __init__(self) -> None:
        self.rows = {source.name: RowContent() for source in WITH_MOVED}
        self.delivered: list[Change] = []
        self.now = START
        self.number = 0
        self.landed: dict[str, list[tuple[str, Mapping[str, Value]]]] = {CRM: [], EHR: []}
        """What our sinks have written, by change id: one that crashed writes some of it again."""
        self.read: dict[str, tuple[str, str]] = {}
        """Every case that somebody has read, as it was when they last did."""

    def change(self, step: Step, view: View) -> Change | None:
        """The change that a step comes to, or nothing where there is nothing to echo, delete or repeat."""
        self.now += step.after
        self.number += 1
        does: dict[str, Callable[[], Change | None]] = {
            **dict.fromkeys(("tick", "pause", "resume"), lambda: self.control(step)),
            **dict.fromkeys(("duplicate", "old"), lambda: self.again(step)),
            **dict.fromkeys(("match", "candidate"), lambda: self.likened(step)),
            "echo": lambda: self.echo(step, view),
            "ask": lambda: self.ask(step, view),
            "delete": lambda: self.delete(WITH_MOVED[step.source]),
            "rewrite": lambda: self.rewrite(step),
            "gap": lambda: self.gap(WITH_MOVED[step.source]),
        }
        found = does.get(step.kind, lambda: self.written(step, view))()
        if found is None:
            return None
        found = msgspec.structs.replace(found, received=self.now)
        if found.kind in ("row", "reread"):
            self.delivered.append(found)
        return found

    def control(self, step: Step) -> Change:
        """A tick, or a person's pause or resume."""
        said = {"kind": step.kind, "system": step.target, "at": self.now, "origin": "person"}
        return msgspec.convert({"id": f"c{self.number}", "record": "r"} | said, Change)

    def likened(self, step: Step) -> Change:
        """Another record is probably the same, or the same person."""
        about = ("nickname", "date_of_birth", "shoe_size")[step.actor % 3]
        said = {"kind": step.kind, "system": (CRM, EHR)[step.source % 2], "at": self.now, "other": f"r{step.pick}"}
        return msgspec.convert({"id": f"c{self.number}", "record": "r", "about": about} | said, Change)

    def again(self, step: Step) -> Change | None:
        """A connector's duplicate, or an event at an older position under an id of its own."""
        if not self.delivered:
            return None
        one = self.delivered[-1 - step.pick % len(self.delivered)]
        return one if step.kind == "duplicate" else msgspec.structs.replace(one, id=f"c{self.number}")

    def ask(self, step: Step, view: View) -> Change | None:
        """A person asks something of a case that is open, or that was when they read it."""
        before, now = dict(self.read), dict(view.read_cases())
        self.read |= now
        known = before if step.reading == "before" else now
        if not known:
            return None
        name = sorted(known)[step.pick % len(known)]
        case, edition = known[name]
        who = ACTORS[step.actor]
        column: Column = ("field", name)
        choice = step.cells[0][1] if step.cells else 1
        ask = Ask(
            case=case,
            action=step.action,
            edition=edition,
            system=(CRM, EHR)[step.source % 2],
            value=self.chosen(CONTACT, column, choice, view) if name in DOMAIN else "x",
            to="Ida" if step.whole else "",
        )
        reason = {"none": None, "blank": " "}.get(step.reason, "asked")
        roles = ("clinical_ops", "medical_lead", "growth_ops", "support_lead")
        return Change(
            id=f"c{self.number}",
            record="r",
            kind=KIND_OF[step.action],
            actor=who.name,
            role=step.target or roles[step.actor % len(roles)],
            origin=who.origin,
            reason=reason,
            at=self.now,
            ask=ask,
        )

    def gap(self, source: Source) -> Change:
        """The row changed, and its connector does not say what it now shows."""
        row = self.rows[source.name]
        row.position += 1
        return Change(
            id=f"c{self.number}", record="r", kind="reread", system=source.system, row=source.name, at=self.now,
            position=(1, row.position) if source.positioned else None,
        )  # fmt: skip

    def delete(self, source: Source) -> Change | None:
        """The row is deleted; what it held is gone."""
        row = self.rows[source.name]
        if not row.exists:
            return None
        row.cells, row.attributes, row.evidence, row.exists = {}, {}, {}, False
        return self.event(source, op="d", at=self.now)

    def written(self, step: Step, view: View) -> Change:
        """Somebody writes some cells of a row, or a snapshot reads it."""
        source = WITH_MOVED[step.source]
        row = self.rows[source.name]
        changed: dict[Column, Value] = {}
        for column, choice in step.cells:
            one = source.columns[column % len(source.columns)]
            changed[one] = self.value(source, one, choice, view)
        row.cells.update(changed)
        who = ACTORS[step.actor]
        old = row.attributes
        row.attributes = {
            "actor": who.name,
            "role": who.role,
            "origin": who.origin,
            "reason": {"none": None, "given": "asked", "other": "begged", "blank": "  ", "same": old.get("reason")}[
                step.reason
            ],
            "base": self.base(step, changed, view, old),
            "updated_at": old.get("updated_at") if step.actor == 9 else self.number,
        }
        fresh: dict[str, Evidence] = {}
        for _, name in changed:
            evidence = self.evidence(step, name, view)
            if evidence is not None:
                fresh[name] = evidence
        row.evidence.update(fresh)
        carried = {one: row.cells.get(one) for one in source.columns} if step.whole or not row.exists else changed
        op: Literal["c", "u", "r"] = "r" if step.kind == "snapshot" else "u" if row.exists else "c"
        row.exists = True
        return self.event(
            source,
            op=op,
            at=self.now - step.lag,
            cells=carried,
            evidence=row.evidence if step.whole else fresh,
            same=step.pick == 1,
            rank=(step.rank,) if source.among and step.rank else None,
        )

    def event(
        self,
        source: Source,
        *,
        op: Literal["c", "u", "d", "r"],
        at: int,
        cells: Mapping[Column, Value] | None = None,
        evidence: Mapping[str, Evidence] | None = None,
        marker: str | None = None,
        same: bool = False,
        rank: tuple[int, ...] | None = None,
    ) -> Change:
        """The row event; a snapshot may read the row at the position it already had."""
        row = self.rows[source.name]
        row.position += 0 if same and op == "r" and row.position else 1
        parts: dict[str, dict[str, Value]] = {"field": {}, "compared": {}, "request": {}}
        for (sort, name), value in (cells or {}).items():
            parts[sort][name] = value
        attributes = {name: value for name, value in row.attributes.items() if op != "d" or name == "updated_at"}
        return Change(
            id=f"c{self.number}",
            record="r",
            system=source.system,
            row=source.name,
            op=op,
            key=f"{source.system}-{source.number}",
            primary=source.primary,
            stage_row=source.stage_row,
            position=(1, row.position) if source.positioned else None,
            at=at,
            fields=parts["field"],
            compared=parts["compared"],
            requests=parts["request"],
            evidence={name: one for name, one in (evidence or {}).items() if name in parts["field"]},
            marker=marker or row.attributes.get("marker"),
            event=("actor",) if source.actor_in_event else (),
            among=source.among,
            rank=rank,
            **{name: value for name, value in attributes.items() if name != "marker"},
        )

    def value(self, source: Source, column: Column, choice: int, view: View) -> Value:
        """A value of the column's small domain; a system that is shown some parts has no other columns."""
        found, view_of = self.chosen(source, column, choice, view), MATRIX.fields[column[1]].views[source.system]
        return view_of.of(found) if isinstance(view_of, Summary) and view_of.keep else found

    def chosen(self, source: Source, column: Column, choice: int, view: View) -> Value:
        """0 is null, 9 the current value, 8 what the other system shows, others are of the domain."""
        sort, name = column
        if choice == 0:
            return None
        if sort == "compared":
            return SUMMARIES[choice % len(SUMMARIES)]
        if choice == 9:
            return view.value_of(name)
        if choice == 8 and sort == "field":
            return view.shown_in(CRM if source.system == EHR else EHR, name)
        return DOMAIN[name][choice % len(DOMAIN[name])]

    def base(self, step: Step, changed: Mapping[Column, Value], view: View, old: Mapping[str, Any]) -> int | None:
        """A base version near the current one of the first field written."""
        version = max((view.version_of(name) for _, name in changed), default=0)
        chosen: dict[str, int | None] = {
            "none": None,
            "current": version,
            "behind": max(0, version - 1),
            "zero": 0,
            "same": old.get("base"),
        }
        return chosen[step.base]

    def evidence(self, step: Step, name: str, view: View) -> Evidence | None:
        """Evidence near the current one, for the fields that go by it."""
        if not MATRIX.fields[name].evidence or step.evidence == "none":
            return None
        last = view.evidence_of(name)
        last_at = last.at if last is not None and last.at is not None else self.now - 10 * MINUTE
        return {
            "now": Evidence("dr", self.now - 2_000),
            "earlier": Evidence("dr", last_at - MINUTE),
            "same": Evidence("dr" if self.number % 2 else "np", last_at),
            "unsigned": Evidence(None, self.now - 2_000),
            "future": Evidence("dr", self.now + 10 * MINUTE),
            "untimed": Evidence("dr", None),
            "empty": Evidence(None, None),
        }[step.evidence]

    def echo(self, step: Step, view: View) -> Change | None:
        """What we sent comes back: as sent, coerced, collapsed with a person's write, with or without the marker."""
        system = (CRM, EHR)[step.source % 2]
        ids = sorted({one.change_id for sent in view.sent_to(system).values() for one in sent})
        if not ids:
            return None
        chosen = ids[step.pick % len(ids)]
        landing: dict[str, Value] = {
            name: one.value for name, sent in view.sent_to(system).items() for one in sent if one.change_id == chosen
        }
        if "marker" in step.mode:
            self.landed[system].append((chosen, landing))
        sources = [one for one in SOURCES if one.system == system and any(name in landing for _, name in one.columns)]
        source = sources[step.pick % len(sources)]
        row = self.rows[source.name]
        cells: dict[Column, Value] = {}
        for sort, name in source.columns:
            if name in landing and sort != "request":
                cells[sort, name] = coerced(landing[name]) if "coerced" in step.mode else landing[name]
        row.cells.update(cells)
        who = ACTORS[step.actor] if "person" in step.mode else ACTORS[9 if step.pick % 2 else 6]
        marker = chosen if "marker" in step.mode else row.attributes.get("marker")
        row.attributes |= {"actor": who.name, "role": who.role, "origin": who.origin, "marker": marker}
        row.attributes |= {"updated_at": self.number, "reason": None, "base": None}
        op: Literal["c", "u"] = "u" if row.exists else "c"
        row.exists = True
        carried = {one: row.cells.get(one) for one in source.columns} if step.whole else cells
        return self.event(source, op=op, at=self.now - step.lag, cells=carried, evidence=row.evidence, marker=marker)

    def rewrite(self, step: Step) -> Change | None:
        """A sink that crashed writes once more what it had written, and its mark; it touches nothing else."""
        system = (CRM, EHR)[step.source % 2]
        row = self.rows[PRIMARY[system].name]
        if not self.landed[system] or not row.exists:
            return None
        chosen, landing = self.landed[system][-1 - step.pick % len(self.landed[system])]
        for sort, name in PRIMARY[system].columns:
            if name in landing and sort != "request":
                row.cells[sort, name] = landing[name]
        row.attributes["marker"] = chosen
        carried = {one: row.cells.get(one) for one in PRIMARY[system].columns}
        return self.event(PRIMARY[system], op="u", at=self.now, cells=carried, evidence=row.evidence)


def coerced(value: Value) -> Value:
    """What a careless system makes of a value: cut off or in capitals."""
    if isinstance(value, dict):
        return {part: coerced_text(piece) for part, piece in value.items()}
    return coerced_text(value)


def coerced_text(value: Scalar) -> Scalar:
    """Text in capitals and cut off."""
    return value.upper()[:4] if isinstance(value, str) else value


def line(change: Change) -> str:
    """A change on one line."""
    if change.ask is not None:
        ask = change.ask
        words = f"{ask.action} {ask.case} {ask.edition[:4]} {ask.system} {short(ask.value)}"
        return f"{change.id} {change.received - START:>9} {words} by {change.role}, reason={change.reason!r}"
    if change.kind != "row":
        about = change.row or change.system or "record"
        return f"{change.id} {change.received - START:>9} {change.kind} {about} {change.other} {change.about}".strip()
    words = [
        f"{change.id} {change.received - START:>9} {change.op} {change.row}@{change.position and change.position[-1]}"
    ]
    if change.at != change.received:
        words.append(f"at{change.at - change.received:+}")
    words += [f"{name}={short(value)}" for name, value in change.fields.items() if value is not None]
    nulls = [name for name, value in change.fields.items() if value is None]
    words += [f"nulls={','.join(nulls)}"] if nulls else []
    words += [f"~{name}={short(value)}" for name, value in change.compared.items()]
    words += [f"?{name}={short(value)}" for name, value in change.requests.items()]
    words.append(f"by {change.actor}/{change.role}/{change.origin[0]}")
    for name in ("reason", "base", "marker", "updated_at"):
        value = getattr(change, name)
        words += [f"{name}={value!r}"] if value is not None else []
    words += [f"ev[{name}]={one.by}@{one.at and one.at - START}" for name, one in change.evidence.items()]
    return " ".join(words)


def short(value: Value) -> str:
    """A value in few letters."""
    return "/".join(str(piece) for piece in value.values()) if isinstance(value, dict) else str(value)
