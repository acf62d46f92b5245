"""The words: what a change, a record's state and a decision are.

Everything above speaks in these types. This module knows no matrix, no rule, no clock, no Kafka and no Redis: it only
holds shapes. Section numbers refer to ``docs/rules.md``.

Units and forms used everywhere:

- times are integers, milliseconds since the Unix epoch, UTC;
- a *value* is canonical (normalised by intake): ``None`` (cleared or never set), text, number, boolean, or a dict of
  parts, so that ``==`` is the equality of section 1;
- a *row* is ``"<source>/<table>/<row key>"``, the only unit a connector orders (section 2, step 1);
- a *system* is a key of the matrix's ``systems`` (``"ehr"``, ``"crm"``).

Values and structs are shared between states, never mutated in place: whoever changes one copies it first.
"""

from typing import Final, Literal

import msgspec

Scalar = str | int | float | bool | None
Value = Scalar | dict[str, Scalar]

Origin = Literal["person", "automation"]
Op = Literal["c", "u", "d", "r"]
Kind = Literal[
    "row", "tick", "pause", "resume", "reset_breaker", "match", "candidate", "reread", "resolve", "assign", "comment",
    "link", "confirm", "unlink", "merge", "split", "doubt", "settle",
]  # fmt: skip
"""The second line is identity (``links``): the first three are people's words, the others go between records."""
Action = Literal["accept", "keep", "set", "dismiss", "link", "assign", "comment", "reveal"]
"""What a person can do about a case: the first five decide it."""

STATE_FORMAT: Final = 1
"""Format version of a packed ``RecordState``; a reader refuses any that it does not know."""
LINKED_FORMAT: Final = 2
"""That of a packed ``LinkedState``: a release from before links must not read it as if nothing were said there."""


class Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What backs a value: who validated or confirmed it, and when the thing itself happened.

    ``by`` is ``None`` when nobody has (a completion without ``validated_by``, a preference the patient did not
    confirm); ``at`` is the completion's or the confirmation's own time, ``None`` when the source gives none.
    """

    by: str | None = None
    at: int | None = None


class Ask(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What a person asks of an open case (section 2, *Resolution*); who asks and why stands with the change.

    ``value`` counts for ``set`` (canonical, ``None`` clears), ``system`` for ``accept``, ``to`` for ``assign`` and
    ``link``.
    """

    case: str
    """The case's id."""
    action: Action
    edition: str = ""
    """``resolve.edition`` of the case as it was read."""
    system: str = ""
    """The system whose value is accepted."""
    value: Value = None
    to: str = ""
    """Who is to look after the case; empty: nobody.

    Or the record that is the same person; empty: the only one that waits in the case.
    """


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One record of ``ownership.changes``: a row event, a tick, or a person's control event.

    ``fields`` holds what the row carries as input: field -> canonical value, ``None`` = null. A field that is not
    in it was not carried, or was unavailable (an unchanged TOAST column). ``compared`` holds columns that are only
    compared with what is expected (an EHR's summary of the care stage) and ``requests`` those that only ask (a
    column of its own for Clinical Ops): see section 4. ``event`` names the attributes that came with the event
    itself and not as a column of the row (``actor``, ``reason``, ``base``, ``evidence``): these are always fresh
    (section 2, step 3).
    """

    id: str
    """UUIDv5 over the source's own coordinates; the same for a connector's duplicate."""
    record: str
    kind: Kind = "row"
    system: str = ""
    row: str = ""
    op: Op = "u"
    key: str = ""
    """The system's own key of the record, as text; what an apply record is addressed with."""
    primary: bool = True
    """The row whose existence is the record's presence in the system (the patient row, not a follow-up row)."""
    stage_row: bool = False
    """The row that carries the stage field as an input: the stage's own row (section 2, step 8)."""
    position: tuple[int, ...] | None = None
    """Monotonic within the row, source epoch first; ``None``: the source has no true position, dedupe by ``id``."""
    at: int = 0
    """Source time, milliseconds."""
    fields: dict[str, Value] = {}
    compared: dict[str, Value] = {}
    requests: dict[str, Value] = {}
    actor: str | None = None
    role: str | None = None
    origin: Origin = "automation"
    updated_at: int | None = None
    """The row's own ``updated_at`` column where it has one: a moved one makes the actor fresh."""
    reason: str | None = None
    base: int | None = None
    """The record version the writer had seen."""
    evidence: dict[str, Evidence] = {}
    marker: str | None = None
    """Our change id as carried in the row's marker column, where the system has one."""
    event: tuple[str, ...] = ()
    """Beside the attributes above: ``key`` where the row goes on under a changed key."""
    other: str = ""
    """Of a ``match``: the record of the same system that this one probably repeats; of a ``candidate``: the record of
    another system that is probably the same person. ``about``: the field they share.
    Of identity's kinds: the other record; ``about``: why the two are in doubt, or what kind of merge it is.
    """
    about: str = ""
    among: str = ""
    """Of a row that is one of several of its record: the table (``<source>/<table>``), of which one row speaks."""
    rank: tuple[int, ...] | None = None
    """Beside ``among``: where the row stands among them, the greatest speaks; ``None``: it does not stand at all."""
    history: str = ""
    """Of a ``merge`` or ``doubt``: the other record's packed state in base64; empty: it had none."""
    named: str = ""
    """The record that the row itself names, once the change is on its way to another."""
    home: str = ""
    """The home of the row's native key, once it has said that the key is this record's."""
    hops: int = 0
    """How often the change was forwarded from one record to another."""
    ask: Ask | None = None
    """Of ``resolve``, ``assign`` and ``comment``: what a person asks of a case."""
    source_version: str = ""
    """The source's version in its own words (``"0:24023119:24023128"``), for the apply record and for people."""
    trace: dict[str, str] = {}
    """``traceparent`` and ``tracestate``, passed through."""
    received: int = 0
    """The broker's time of this record on ``ownership.changes``, set by the decide step, never by a producer."""


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value sent to a system and not seen back yet (an *outstanding* one)."""

    value: Value
    change_id: str
    at: int
    again: bool = False
    """It was sent once more after the time-out."""


class Refused(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why the value a system shows was not taken."""

    reason: str
    seen: int
    """The version of the current value that its writer had seen; -1: they had not seen it."""


class RowState(msgspec.Struct, array_like=True, gc=False):
    """What one source row last showed beside its fields: for positions (step 1) and freshness (step 3)."""

    position: tuple[int, ...] | None = None
    change_id: str = ""
    actor: str | None = None
    updated_at: int | None = None
    reason: str | None = None
    base: int | None = None
    marker: str | None = None
    evidence: dict[str, Evidence] = {}
    recent: tuple[str, ...] = ()
    """The last change ids, only for sources without a true position."""


class SystemState(msgspec.Struct, array_like=True, gc=False):
    """One system as this record has seen it. A field that is absent from ``shown`` shows ``None``."""

    key: str = ""
    present: bool = False
    shown: dict[str, Value] = {}
    requested: dict[str, Value] = {}
    """What request columns last held."""
    outstanding: dict[str, tuple[Sent, ...]] = {}
    """Oldest first."""
    accepted: dict[str, Value] = {}
    """Coerced landings: what is expected of this system instead, until the current value changes (step 4)."""
    refused: dict[str, Refused] = {}
    """Fields whose shown value was rejected or queued; ended by agreement, by an applied write, by
    our landing.
    """
    baseline: tuple[str, ...] = ()
    """Fields that differ since a snapshot: listed, never queued (step 5)."""
    rows: dict[str, RowState] = {}
    paused: bool = False


class FieldState(msgspec.Struct, array_like=True, gc=False):
    """The current value of a field and its provenance."""

    value: Value = None
    version: int = 0
    """The record version that set it; 0: no current value was ever set."""
    at: int = 0
    system: str = ""
    row: str = ""
    position: tuple[int, ...] | None = None
    actor: str | None = None
    role: str | None = None
    origin: Origin = "automation"
    grant: str = ""
    rule: str = ""
    revision: str = ""
    evidence: Evidence | None = None
    restores: int = 0
    """Restores since the last write by a person (loop guard, step 7)."""
    answers: int = 0
    """Applied automation writes since then from a system we had sent the field to."""
    told: tuple[str, ...] = ()
    """Systems the field was sent to since then."""


class Proposal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write that waits in a case, with all that a later decision of it needs."""

    system: str
    value: Value
    change_id: str
    at: int
    row: str = ""
    position: tuple[int, ...] | None = None
    actor: str | None = None
    role: str | None = None
    origin: Origin = "automation"
    reason: str | None = None
    base: int | None = None
    evidence: Evidence | None = None
    seen: bool = False
    request: bool = False
    stage_row: bool = False


class Case(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An open case: something a person with a deadline owns.

    One per record and field, and one per cause of the record itself, where ``field`` is ``""`` (``slots.py``).
    """

    id: str
    field: str
    reason: str
    opened: int
    owner: str
    """Key of the matrix's ``escalation``."""
    due: int
    proposals: tuple[Proposal, ...] = ()
    joined: int = 0
    """Repeats that joined after the first."""
    escalated: int = 0


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One of several rows, of which one speaks: what it last showed beside its fields, its rank, and its fields."""

    last: RowState
    rank: tuple[int, ...] | None = None
    """``None``: it does not stand (deleted, or filtered out), and ``fields`` is empty."""
    fields: dict[str, Value] = {}
    """Whole values, of every field that it has carried since it stands."""


class Speaking(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The rows of one table of which one speaks for the record (section 1, *Speaking row*)."""

    system: str
    rows: dict[str, Candidate] = {}
    """By row; bounded."""
    speaker: str = ""
    """The row that spoke last."""
    names: tuple[str, ...] = ()
    """The fields that it spoke of."""
    turn: int = 0
    """How often one of them has spoken: the position of the one row that they are to the decision."""
    unclear: tuple[str, ...] = ()
    """Fields for which it cannot be told now who speaks."""
    floor: tuple[int, ...] | None = None
    """The greatest rank of a row that was forgotten, since there were too many."""


class RecordState(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one record; packed with msgpack, the same bytes in Redis and on ``ownership.state``."""

    format: int = STATE_FORMAT
    version: int = 0
    systems: dict[str, SystemState] = {}
    fields: dict[str, FieldState] = {}
    stages: tuple[tuple[int, str], ...] = ()
    """Short history of the stage, oldest first: (source time it began, stage); the first known one began at 0."""
    care_started: int | None = None
    """The latch: source time at which a stage from care start on was first in force."""
    cases: dict[str, Case] = {}
    """By field; of the record itself by its slot (``slots.py``)."""
    paused: bool = False
    speaking: dict[str, Speaking] = {}
    """By table (``Change.among``). This and what follows is not written where it is empty (``wire.pack_state``)."""
    assigned: dict[str, str] = {}
    """As ``cases``: who was asked to look after it."""


class Silent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A second native key of a system that the record came to by a merge.

    Its rows speak for nobody, and are kept for a split.
    """

    system: str
    seat: SystemState


class Identity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a record knows about being one with others (docs/adr/0009)."""

    moved: str = ""
    """The forwarding mark: everything of this record goes there."""
    following: str = ""
    """Where a history goes once it has come back from ``moved``; this record's own id: nowhere."""
    doubts: dict[str, str] = {}
    """Record -> why it is in doubt whether that one and this one are the same person: the flow stands still."""
    denied: tuple[str, ...] = ()
    """Records of which a person said that this one is not theirs."""
    merged: dict[str, str] = {}
    """Records whose histories are in this one -> the one by whose mark they came here; empty: by their own."""
    left: tuple[str, ...] = ()
    """Records that were split off: what is still under way to here goes back to them."""
    asked: dict[str, str] = {}
    """Home -> the last change that was sent there to ask whose its key is, and has not come back."""
    silent: dict[str, Silent] = {}
    """``<system>/<key>`` -> a row of a system that speaks here by another one."""
    apart: tuple[str, ...] = ()
    """Records of which a person said, as they looked at a probable match, that they are somebody else's."""


UNLINKED: Final = Identity()


class LinkedState(RecordState, array_like=True, gc=False):
    """The state of a record that has more to say of its identity than most."""

    format: int = LINKED_FORMAT
    identity: Identity = UNLINKED


def identity_of(state: "RecordState | None") -> Identity:
    """What a state says of the record's identity."""
    return state.identity if isinstance(state, LinkedState) else UNLINKED


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The one end of one changed field; ``(outcome, reason)`` is a row of ``outcomes.OUTCOMES``."""

    field: str
    outcome: str
    reason: str = ""
    rule: str = ""
    grant: str = ""
    stage: str | None = None
    """The stage it was decided under."""
    unseen: bool = False
    """An applied write replaced a different current value its writer had not seen: a conflict the matrix resolved."""
    joined: bool = False
    """A queued write that joined an open case."""
    request: bool = False
    """The write came in a request column."""
    actor: str | None = None
    """The writer, where the event says who it was; ``None``: an unknown automation."""
    role: str | None = None
    origin: Origin = "automation"


class Send(msgspec.Struct, frozen=True, gc=False):
    """What one system is to be sent because of one change: at most one for each system."""

    system: str
    key: str
    values: dict[str, Value]
    """Field -> what is expected of the system: the value or its summary."""
    kind: Literal["change", "restore", "create"]
    """``create``: the system has no row of the record yet, and ``key`` is empty."""
    version: int
    expected_version: int
    actor: str | None = None
    """Who wrote what is sent, in which role; ``None`` where the fields have several writers or nobody is known."""
    role: str | None = None
    reason: str | None = None
    """The reason that came with the write, where this event applied it."""


CaseWord = Literal["opened", "joined", "changed", "escalated", "assigned", "converged", "superseded", "resolved"]


class CaseEvent(msgspec.Struct, frozen=True, gc=False):
    """What happened to a case: the last three of the words end it."""

    event: CaseWord
    case: Case
    system: str = ""
    """Of an opened one that no write opened: the system that does not show what it should."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The one end of what a person asked of a case; ``(outcome, reason)`` is a row of ``outcomes.ANSWERS``."""

    outcome: str
    reason: str = ""
    field: str = ""
    case: Case | None = None
    """The case as it was before; ``None``: there was none of that id any more."""
    against_owner: bool = False
    """The resolved value is another than the one that the owner's system shows."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Everything that follows from one change. ``noops`` counts carried fields that were not changed.

    Closed accounting: ``len(outcomes) + noops`` equals the number of carried fields (``fields``, ``compared`` and
    ``requests`` together), and no field is in ``outcomes`` twice for the same column.
    """

    state: RecordState
    outcomes: tuple[Outcome, ...] = ()
    noops: int = 0
    sends: tuple[Send, ...] = ()
    cases: tuple[CaseEvent, ...] = ()
    ended_overrides: tuple[str, ...] = ()
    """Fields whose active override the owner ended with this change."""
    restored: tuple[tuple[str, str], ...] = ()
    """(system, field) sent in order to restore, not because the value changed."""
    redecided: tuple[Outcome, ...] = ()
    """New ends of writes that had waited in a ``paused`` or ``stage`` case: no new attempts, and not of this
    change's fields.
    """
    due: int = 0
    """When the record wants its next tick; 0: never."""
    said: Change | None = None
    """Of a row that is one of several: what was decided, which is what they say by this change as one row."""
    merged: tuple[Outcome, ...] = ()
    """What became of each field that a merged history had a current value of: no attempts, and not of this change's
    fields.
    """
    answer: Answer | None = None
    """How what a person asked of a case ended; ``None``: nobody asked anything."""
