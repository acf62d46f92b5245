"""The words of docs/rules.md, section 1, as the oracle keeps them: plain data, and what can be asked of it.

Part of the oracle (``oracle.py``): written from the rules and not from the code.
"""

from dataclasses import dataclass, field

from ownership_stream.matrix.compiled import Grant, Matrix, Summary
from ownership_stream.model import Evidence, Value

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
    found: bool = False
    """A snapshot found it."""


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
    actor_only: bool = False
    """Nothing but a fresh actor attests it."""


@dataclass
class Case:
    """An open case."""

    reason: str
    owner: str
    due: int
    writes: list[Write] = field(default_factory=list)
    new: bool = True
    others: list[str] = field(default_factory=list)
    """Of a probable repeat: the records that it may repeat."""


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
    keys: dict[str, str]
    guards: dict[str, tuple[int, int, list[str]]]
    version: int
    stage: str | None
    care_started: int | None
    ended_overrides: set[str]
    unseen: set[Key]
    answer: tuple[str, str] | None = None


def own(reason: str, about: str = "") -> str:
    """The name of a case of the record itself: “each cause has a case of its own”."""
    return f"*{reason} {about}".strip()


def field_of(name: str) -> str:
    """The field that a case is of; of the record itself none."""
    return "" if name.startswith("*") else name


def canonical(value: Value) -> Value:
    """A value of parts without its null parts; "the field is cleared when all parts are null"."""
    if not isinstance(value, dict):
        return value
    return {part: piece for part, piece in sorted(value.items()) if piece is not None} or None


class Record:
    """One record, between two changes."""

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
        self.apart: set[str] = set()
        """Records of which a person said that they are others, when they probably matched."""
        self.stage_found = False
        """The stage in force is one that a snapshot found."""

    def owner(self, name: str) -> str:
        """The present owner's system."""
        return self.matrix.fields[name].owner["before" if self.care_started is None else "after"]

    def summary(self, system: str, name: str, value: Value) -> Value:
        """What a system is shown of a full value."""
        view = self.matrix.fields[name].views[system]
        return canonical(view.of(value)) if isinstance(view, Summary) else value

    def expects(self, system: str, name: str) -> bool:
        """“Nothing is expected of anyone while there is no current”."""
        return name in self.current and self.matrix.fields[name].views[system] != "none"

    def expected(self, system: str, name: str) -> Value:
        """“Current, or its summary, or nothing, by the row's direction”; a coerced landing instead (step 4)."""
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

    def stands(self, write: Write) -> bool:
        """“Its system still shows it (or still requests it)”."""
        seat = self.seats[write.system]
        return (seat.requested if write.request else seat.shown).get(write.field) == write.value
