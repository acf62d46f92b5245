"""What the API reads and answers: the types that bodies are read by, and that ``openapi.py`` describes."""

from typing import Any, Final, Literal

import msgspec

from ownership_stream.explain import Standing
from ownership_stream.matrix.show import Page
from ownership_stream.model import Origin
from ownership_stream.queue import View
from ownership_stream.trial import Tried


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class Cases(msgspec.Struct, frozen=True):
    """A page of the queue."""

    cases: list[View]
    next: str | None
    """``after`` of the next page."""


class AskBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a case."""

    case: str
    action: Literal["accept", "keep", "set", "dismiss", "assign", "comment"]
    edition: str = ""
    """The case's, as it was read; all that resolves it needs one."""
    system: str = ""
    """Of ``accept``."""
    value: Any = None
    """Of ``set``; null clears, and parts that are not named stay."""
    to: str = ""
    """Of ``assign``; empty: nobody."""
    reason: str = ""
    """Why; of ``comment`` the text."""
    dry_run: bool = False
    """Say what would come of it, and do nothing."""


class AnswerBody(msgspec.Struct, frozen=True):
    """How it was answered."""

    case: str
    outcome: str
    reason: str
    sentence: str
    sends: dict[str, str] | None = None
    """Of a dry run: system -> ``change``, ``restore`` or ``create``."""


class Settled(msgspec.Struct, frozen=True):
    """How something ended: what a person asked and how it was answered, or what the matrix settled by itself."""

    at: int
    record: str
    field: str
    label: str
    actor: str
    role: str
    action: str
    outcome: str
    answer: str
    case: str
    why: str
    source: str
    to: str
    version: int
    took: int | None
    """Milliseconds from the case's opening to its end."""


class SettledList(msgspec.Struct, frozen=True):
    """The newest first."""

    resolutions: list[Settled]


class RecordBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which record."""

    record: str
    reveal: bool = False
    """Show values; that they were shown is written down."""


class RecordAnswer(msgspec.Struct, frozen=True):
    """A record as it stands."""

    record: str
    version: int
    stage: str
    fields: list[Standing]
    cases: list[View]


class TrialBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A write that might be made. ``current``, ``stage`` and ``seen`` are of an invented record: without ``record``."""

    field: str
    system: str
    value: Any = None
    role: str = ""
    origin: Origin = "person"
    reason: str | None = None
    attested: bool = False
    record: str = ""
    current: Any = None
    stage: str = ""
    seen: bool = True


TYPES: Final = (
    Problem, Cases, View, AskBody, AnswerBody, SettledList, RecordBody, RecordAnswer, Page, TrialBody, Tried
)  # fmt: skip
"""All of them."""
