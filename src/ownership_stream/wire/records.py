"""What stands on topics of ours beside changes and states: the shapes of apply, conflict, resolution and link records.

Times are milliseconds since the Unix epoch, UTC; values are canonical. Knows no encoding.
"""

from typing import Any, Final, Literal

import msgspec

from ownership_stream.model import Origin, Value

CONNECTOR: Final = "ownership-stream"


class Source(msgspec.Struct, frozen=True):
    """Where an apply record comes from, in the shape of Debezium's ``source`` block."""

    name: str
    ts_ms: int
    db: str
    schema: str
    table: str
    version: str = "1"
    connector: str = CONNECTOR
    snapshot: str = "false"
    sequence: str | None = None


class Sync(msgspec.Struct, frozen=True):
    """For a careful writer: dedupe on ``change_id``, check ``expected_version``, patch ``changed_fields`` only."""

    change_id: str
    record_id: str
    version: int
    expected_version: int
    source_system: str
    source_version: str
    changed_fields: tuple[str, ...]
    """Columns of ``after`` beside the key and the marker."""
    actor: str | None
    role: str | None
    reason: str | None
    rule: str
    """The rules that approved it, with commas between where its fields have several."""
    matrix_revision: str
    kind: Literal["change", "restore", "create"]


class Apply(msgspec.Struct, frozen=True, kw_only=True):
    """An apply record: Debezium's envelope with a ``sync`` block. ``after`` is sparse: key, changed columns, marker.

    ``op`` is ``c`` where the row is to be made; its key is then its link to the record, for it has no other yet.
    """

    before: None = None
    after: dict[str, Any]
    source: Source
    transaction: None = None
    op: Literal["u", "c"] = "u"
    ts_ms: int
    sync: Sync


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """One record of ``ownership.conflicts``: a write that was rejected or queued, or what happened to a case.

    ``event`` is ``decided`` for a write, else the case event. ``sentence`` and ``advice`` are for the writer and for
    whoever finds it in a queue. Times are milliseconds since 1970.
    """

    event: Literal[
        "decided", "opened", "joined", "changed", "escalated", "assigned", "converged", "superseded", "resolved"
    ]
    record: str
    field: str
    """``""``: the record as a whole."""
    label: str
    outcome: str
    reason: str
    sentence: str
    advice: str = ""
    at: int
    received: int
    rule: str = ""
    grant: str = ""
    stage: str | None = None
    unseen: bool = False
    """An applied write replaced a value its writer had not seen: a conflict the matrix resolved."""
    request: bool = False
    system: str
    systems: tuple[str, ...]
    """Every system that shares the field."""
    proposed: Value = None
    current: Value = None
    current_version: int = 0
    actor: str | None = None
    role: str | None = None
    origin: Origin = "automation"
    change_id: str
    case_id: str | None = None
    owner: str | None = None
    """Key of the escalation owner who has the case."""
    opened: int | None = None
    due: int | None = None
    mode: str
    revision: str
    assigned: str | None = None
    """Who was asked to look after the case."""


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """One record of ``ownership.resolutions``: how a conflict ended and by whom, or how a person's ask was answered.

    ``before`` and ``after`` are masked where the field is critical: null stays null, everything else is ``•••``. What
    those values were says the log of changes, to those who may read it, for as long as it is kept.
    """

    record: str
    field: str
    label: str
    actor: str
    """A person, or ``matrix`` where a rule settled it."""
    role: str | None = None
    outcome: str
    """How it ended: ``applied``, ``override ended``, a case event, or an outcome of ``outcomes.ANSWERS``."""
    reason: str = ""
    """The case's."""
    rule: str = ""
    grant: str = ""
    stage: str | None = None
    before: Value = None
    after: Value = None
    version: int
    change_id: str
    case_id: str | None = None
    opened: int | None = None
    at: int
    mode: str
    revision: str
    action: str = ""
    """What the person asked: a word of ``model.Action``."""
    why: str | None = None
    """The reason, or the comment, in the person's own words."""
    answer: str = ""
    """The reason of the answer: why it was refused, or what was dismissed."""
    source: str = ""
    """The system whose value was accepted."""
    to: str = ""
    """Who the case was assigned to."""
    took: int | None = None
    """Milliseconds from the case's opening to its end; ``None`` where this did not end it."""
    masked: bool = False
    """Whether ``before`` and ``after`` are."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One record of ``ownership.links``, keyed by ``key``: the newest says whose that record's rows are."""

    key: str
    """The default id of a native key, or a record that was merged."""
    record: str
    """The record they belong to; ``key`` itself where they belong to nobody else."""
    at: int
    """The broker's time of the change that says so."""
    change_id: str
    actor: str | None = None
    """The person; ``None``: a row says so by itself."""
    reason: str | None = None
