"""What a scenario is, once read: a state to begin with, the acts that follow, and what is expected of them.

Shapes only. Values are canonical (``matrix.normalise``), times are milliseconds since the epoch, and a *version* is a
label as the author wrote it: ``play.Labels`` says which record version it stands for.
"""

from typing import Literal

import msgspec

from ownership_stream.matrix.document import Place
from ownership_stream.model import Action, Evidence, Op, Origin, Value

Position = Literal["next", "late", "duplicate", "none"]
"""Where an event stands among those of its row."""


class Who(msgspec.Struct, frozen=True):
    """A writer; without a name and a role it is an automation that nobody knows."""

    role: str | None = None
    actor: str | None = None
    origin: Origin = "automation"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A field as it stands when the story begins."""

    field: str
    place: Place
    known: bool
    """Whether there is a current value; otherwise only what systems show is given."""
    value: Value = None
    version: int | None = None
    system: str = ""
    """Where the value came from; empty: the owner at that point."""
    who: Who | None = None
    at: int | None = None
    evidence: Evidence | None = None
    shown: dict[str, Value] = {}
    """Systems that show something else than they should, as a snapshot found it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One row event of a system."""

    system: str
    op: Op = "u"
    row: str = ""
    """The table of the row; empty: the patient's own row."""
    key: str = ""
    """The system's own key of the record; empty: the one that it always had."""
    fields: dict[str, Value] = {}
    compared: dict[str, Value] = {}
    requests: dict[str, Value] = {}
    who: Who = Who()
    reason: str | None = None
    base: int | None = None
    """A version as the author wrote it."""
    evidence: dict[str, Evidence] = {}
    at: int | None = None
    arrives: int | None = None
    position: Position = "next"
    sticky: tuple[str, ...] = ()
    """Attributes that are columns of the row: fresh only where they moved."""


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """The oldest thing that a system was sent, and that has not come back, is written there and comes back."""

    system: str
    row: str = ""
    values: dict[str, Value] = {}
    """What lands differently."""
    who: Who = Who()
    marked: bool = True
    """Whether the system has a marker column, which then carries our change id."""
    at: int | None = None
    arrives: int | None = None


class Wait(msgspec.Struct, frozen=True):
    """Time passes, and the record's tick comes."""

    ms: int


class Switch(msgspec.Struct, frozen=True):
    """A person pauses or resumes a system, or the record (``system`` is empty)."""

    kind: Literal["pause", "resume"]
    system: str


class Resolve(msgspec.Struct, frozen=True, kw_only=True):
    """A person decides the open case of a field; ``field`` is a slot for the record's own, or how it begins."""

    field: str
    action: Action
    system: str = ""
    value: Value = None
    role: str | None = None
    """The escalation owner as whom they decide."""
    reason: str | None = None
    seen: bool = True
    """Whether they have seen the case as it is."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A person says that another record is the same person, which these systems have with these fields."""

    present: tuple[str, ...]
    given: tuple[Given, ...]


class Verdict(msgspec.Struct, frozen=True):
    """A person's word on the record that was linked last."""

    kind: Literal["confirm", "unlink"]


Act = Event | Landing | Wait | Switch | Resolve | Link | Verdict


class ExpectedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome of one field; ``None`` is not looked at."""

    field: str
    place: Place
    outcome: str
    reason: str
    rule: str | None = None
    grant: str | None = None
    """A grant's id, or a kind of grant, or ``none``."""
    stage: str | None = None
    unseen: bool | None = None
    joined: bool | None = None
    request: bool | None = None
    ends_override: bool | None = None


class ExpectedSend(msgspec.Struct, frozen=True, kw_only=True):
    """One send to one system, with all its fields."""

    system: str
    place: Place
    values: dict[str, Value]
    kind: str | None = None
    key: str | None = None


class ExpectedCase(msgspec.Struct, frozen=True, kw_only=True):
    """One open case; ``field`` is a slot for the record's own, or how it begins."""

    field: str
    place: Place
    owner: str | None = None
    reason: str | None = None
    joined: int | None = None
    escalated: int | None = None


class ExpectedCurrent(msgspec.Struct, frozen=True, kw_only=True):
    """A field's current value, or parts of its provenance."""

    field: str
    place: Place
    known: bool
    """Whether the value is looked at."""
    value: Value = None
    version: int | None = None
    system: str | None = None
    role: str | None = None
    grant: str | None = None
    evidence: Evidence | None = None


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What should follow from one step, or from the whole story; ``None`` is not looked at, empty means nothing."""

    outcomes: tuple[ExpectedOutcome, ...] | None = None
    again: tuple[ExpectedOutcome, ...] | None = None
    """What writes came to that had waited in the queue."""
    merged: tuple[ExpectedOutcome, ...] | None = None
    """What current values of a linked record came to."""
    sends: tuple[ExpectedSend, ...] | None = None
    sends_at: Place = Place(1, 1)
    queue: tuple[ExpectedCase, ...] | None = None
    queue_at: Place = Place(1, 1)
    answer: tuple[str, str] | None = None
    """(outcome, reason) of what a person asked of a case."""
    current: tuple[ExpectedCurrent, ...] = ()
    shown: tuple[tuple[str, str, Value, Place], ...] = ()
    """(system, field, value, place)."""


class Step(msgspec.Struct, frozen=True):
    """One act with what is expected right after it."""

    act: Act
    expected: Expected
    place: Place


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One story."""

    name: str
    file: str
    place: Place
    starts: int
    """The broker's time of the first act, and what times such as ``+5m`` count from."""
    present: tuple[str, ...]
    """Systems that have the record when the story begins."""
    given: tuple[Given, ...]
    steps: tuple[Step, ...]
    expected: Expected
