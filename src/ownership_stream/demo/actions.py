"""What can happen in the clinic: the words between the plan and those who carry it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ownership_stream.demo.people import Given
from ownership_stream.sources.mapping import Use


class Confirmed(NamedTuple):
    """Evidence that comes with a field: who vouches (``None``: nobody), and how many seconds ago the thing was."""

    by: str | None
    ago: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A save of a patient's row in one system. ``base``: the version that the writer says to have seen."""

    patient: int
    system: str
    writer: str
    given: Given = field(default_factory=dict)
    use: Use = "input"
    reason: str | None = None
    base: Literal["", "seen", "old"] = ""
    confirmed: Mapping[str, Confirmed] = field(default_factory=dict)
    late: int = 0
    """Seconds that the event is late by."""
    answers: bool = False
    """An automation that writes the same again when it is put right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new row of a patient. ``snapshot``: the row was there before, and a snapshot reads it."""

    patient: int
    system: str
    writer: str
    given: Given
    snapshot: bool = False
    linked: bool = True


@dataclass(frozen=True, slots=True)
class Delete:
    """A row is deleted."""

    patient: int
    system: str
    writer: str


@dataclass(frozen=True, slots=True)
class Reread:
    """A new snapshot reads a row that is there."""

    patient: int
    system: str


@dataclass(frozen=True, slots=True)
class Resend:
    """The connector comes back from a crash and writes its last records again."""

    system: str
    records: int


@dataclass(frozen=True, slots=True)
class Noise:
    """A record that is no row event: ``GARBAGE`` holds its bytes, ``None`` is a tombstone."""

    system: str
    value: bytes | None


Action = Edit | Create | Delete | Reread | Resend | Noise


class Planned(NamedTuple):
    """An action, so many seconds after the moment it is planned for."""

    after: float
    action: Action
