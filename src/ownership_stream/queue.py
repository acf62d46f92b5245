"""The queue: open cases in the order of what is due, and what a person is shown of each.

Pure: records with their states in, cases out, and what a choice would send by deciding it (``decide``). Values of
patients appear only where the caller asks for them; who may see them is the caller's matter.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

import msgspec

from ownership_stream.decide import decide
from ownership_stream.draft import NO_CURRENT, NOTHING, view_of
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import Ask, Case, Change, Decision, Proposal, RecordState, Value
from ownership_stream.outcomes import ANSWERS, CASE_REASONS, Meaning, in_words
from ownership_stream.record_cases import others_in
from ownership_stream.reports import masked
from ownership_stream.resolve import DISMISSABLE, KIND_OF, edition, needs_reason, offers
from ownership_stream.slots import about, slot_of

EDITION_DIGITS: Final = 16


class Open(NamedTuple):
    """An open case, and the record it is of."""

    record: str
    state: RecordState
    case: Case


class Wanted(NamedTuple):
    """Which cases: those that are all that is said. ``due``: by then, milliseconds."""

    owner: str = ""
    field: str | None = None
    system: str = ""
    reason: str = ""
    assigned: str | None = None
    due: int = 0
    late: int = 0
    """Those that were past due by then, milliseconds, or were passed on since nobody decided them in time."""


class Side(msgspec.Struct, frozen=True):
    """One system's part in a case."""

    system: str
    name: str
    present: bool
    shows: Value
    expected: Value
    agrees: bool
    """It shows what it should, or nothing is expected of it."""
    waiting: bool
    """A value is under way there."""


class Waiting(msgspec.Struct, frozen=True):
    """One proposal of a case."""

    system: str
    value: Value
    actor: str | None
    role: str | None
    origin: str
    why: str | None
    at: int
    stands: bool
    """The system still shows it, or still requests it."""


class Choice(msgspec.Struct, frozen=True):
    """Something that can be done, and which systems it would send the field to now."""

    action: str
    system: str
    value: Value
    sends: tuple[str, ...]


class View(msgspec.Struct, frozen=True):
    """What a person is shown of a case. Times are milliseconds since 1970; values are masked unless asked for."""

    case: str
    edition: str
    """What the case looks like, as a keyed hash; empty where there is no key."""
    record: str
    field: str
    label: str
    """The field's; of a case of the record itself the system that it is about, if it is about one."""
    reason: str
    sentence: str
    advice: str
    owner: str
    assigned: str
    opened: int
    due: int
    escalated: int
    joined: int
    critical: bool
    asks_reason: bool
    """To resolve it a reason has to be given."""
    masked: bool
    current: Value
    version: int
    systems: tuple[Side, ...]
    proposals: tuple[Waiting, ...]
    choices: tuple[Choice, ...]


class InOrder(Iterator[Open]):
    """The open cases of records, what is due first, first; those of one time by their ids.

    ``found`` are (when the record wants to be looked at, its state, its id), by that time: no case of a record is due
    earlier. Read only as far as cases are asked for.
    """

    def __init__(self, found: Iterable[tuple[int, RecordState, str]]) -> None:
        self._found = iter(found)
        self._ahead = next(self._found, None)
        self._heap: list[tuple[int, str, str, str, int, Open]] = []

    def __next__(self) -> Open:
        while self._ahead is not None and (not self._heap or self._heap[0][0] >= self._ahead[0]):
            at, state, record = self._ahead
            for name, case in state.cases.items():
                heappush(self._heap, (case.due, case.id, record, name, at, Open(record, state, case)))
            self._ahead = next(self._found, None)
        if not self._heap:
            raise StopIteration
        return heappop(self._heap)[-1]

    @property
    def rest(self) -> int | None:
        """From which time on records are to be read again for what was not given yet; ``None``: nothing is left."""
        left = [entry[-2] for entry in self._heap]
        if self._ahead is not None:
            left.append(self._ahead[0])
        return min(left, default=None)


def in_order(found: Iterable[tuple[int, RecordState, str]]) -> InOrder:
    """The open cases of records, what is due first, first."""
    return InOrder(found)


class Place(NamedTuple):
    """Where a page of the queue ends: its last case, and from which time on records are read for what follows."""

    due: int
    case: str
    since: int

    def __str__(self) -> str:
        return f"{self.due}-{self.since}-{self.case}"

    @classmethod
    def read(cls, said: str) -> "Place":
        """From its text; raises ``ValueError``."""
        due, since, case = said.split("-", 2)
        return cls(int(due), case, int(since))


class Part(NamedTuple):
    """A page of the queue. ``after``: where the next begins; ``None``: there is none."""

    cases: list[Open]
    after: Place | None


def part(cases: InOrder, chosen: Callable[[Open], bool], size: int, looks: int, after: Place | None = None) -> Part:
    """The next ``size`` chosen cases behind a place; looked for among so many, so that it always ends soon."""
    found: list[Open] = []
    looked = 0
    for one in cases:
        here = one.case.due, one.case.id
        if after is not None and here <= after[:2]:
            continue
        looked += 1
        if chosen(one):
            found.append(one)
        if len(found) == size or looked == looks:
            since = cases.rest
            return Part(found, None if since is None else Place(*here, since))
    return Part(found, None)


def wants(matrix: Matrix, wanted: Wanted, one: Open) -> bool:
    """Whether a case is one of those; a system has a part in it that proposed something, or shows another value."""
    case = one.case
    return (
        wanted.owner in ("", case.owner)
        and wanted.field in (None, case.field)
        and wanted.reason in ("", case.reason)
        and wanted.assigned in (None, one.state.assigned.get(slot_of(one.state.cases, case), ""))
        and (not wanted.due or case.due <= wanted.due)
        and (not wanted.late or case.due <= wanted.late or case.escalated > 0)
        and (not wanted.system or wanted.system in _parties(matrix, one))
    )


def _parties(matrix: Matrix, one: Open) -> set[str]:
    sides = _sides(matrix, one.state, one.case.field, show=False)
    return {proposal.system for proposal in one.case.proposals} | {side.system for side in sides if not side.agrees}


def hashed_edition(one: Open, key: bytes | None) -> str:
    """The edition as people and programs get it; empty without a key."""
    if key is None:
        return ""
    return hmac.digest(key, edition(one.state, one.case).encode(), "sha256").hex()[:EDITION_DIGITS]


def ask_for(one: Open, ask: Ask, *, change_id: str, actor: str, role: str, reason: str | None, at: int) -> Change:
    """The control event by which a person asks something of a case as it was read here."""
    filled = msgspec.structs.replace(ask, case=one.case.id, edition=edition(one.state, one.case))
    return Change(
        id=change_id, record=one.record, kind=KIND_OF[ask.action], at=at, actor=actor, role=role, origin="person",
        reason=reason, ask=filled,
    )  # fmt: skip


def preview(matrix: Matrix, one: Open, change: Change, withheld: frozenset[str] = frozenset()) -> Decision:
    """What would follow if it were decided now, on the state that was read; ``withheld`` as in ``decide``."""
    return decide(matrix, one.state, msgspec.structs.replace(change, received=change.at), withheld)


def view(
    matrix: Matrix,
    one: Open,
    *,
    record: str,
    key: bytes | None,
    show_values: bool = False,
    withheld: frozenset[str] = frozenset(),
    choices: bool = False,
) -> View:
    """What a person is shown of a case; ``record`` as the record is to be named. ``choices`` says what each sends."""
    state, case = one.state, one.case
    name = slot_of(state.cases, case)
    field = matrix.fields.get(case.field)
    current = state.fields.get(case.field, NO_CURRENT)
    sentence, advice = words(
        matrix, one, CASE_REASONS[case.reason], case.proposals[-1].system if case.proposals else ""
    )
    return View(
        case=case.id,
        edition=hashed_edition(one, key),
        record=record,
        field=case.field,
        label=field.label if field is not None else case.field or matrix.systems.get(about(name), ""),
        reason=case.reason,
        sentence=sentence,
        advice=advice,
        owner=case.owner,
        assigned=state.assigned.get(name, ""),
        opened=case.opened,
        due=case.due,
        escalated=case.escalated,
        joined=case.joined,
        critical=field is not None and field.critical,
        asks_reason=needs_reason(matrix, case.field),
        masked=not show_values,
        current=_told(current.value, show=show_values),
        version=current.version,
        systems=tuple(_sides(matrix, state, case.field, show=show_values)),
        proposals=tuple(_waiting(state, case.field, proposal, show=show_values) for proposal in case.proposals),
        choices=tuple(_choices(matrix, one, field, withheld, show=show_values)) if choices else (),
    )


def words(matrix: Matrix, one: Open, meaning: Meaning, system: str) -> tuple[str, str]:
    """Sentence and advice of a meaning for this case; of the record itself there is nothing to name."""
    field = matrix.fields.get(one.case.field)
    if field is None:
        return meaning.sentence, meaning.advice
    return in_words(matrix, field, meaning, system, care_started=one.state.care_started is not None)


def answer_in_words(matrix: Matrix, one: Open, outcome: str, reason: str) -> str:
    """An answer in one line: what came of it and, after a semicolon, what to do."""
    found = ANSWERS.get((outcome, reason))
    if found is None:
        return outcome
    escalation = matrix.escalations.get(one.case.owner)
    name = escalation.name if escalation else one.case.owner
    field = matrix.fields.get(one.case.field)
    label = f"`{field.label}`" if field is not None else "value"
    said = [text.format(label=label, escalation=name) for text in found if text]
    return "; ".join(said)


def _choices(
    matrix: Matrix, one: Open, field: Field | None, withheld: frozenset[str], *, show: bool
) -> Iterator[Choice]:
    """What can be done about the case without a value of one's own."""
    if field is None:
        if others_in(one.case):
            yield Choice("link", "", None, ())
        if one.case.reason in DISMISSABLE:
            yield Choice("dismiss", "", None, ())
        return
    for offer in offers(matrix, one.state, one.case):
        ask = Ask(case="", action="accept", system=offer.system)
        yield Choice("accept", offer.system, _told(offer.value, show=show), _sends(matrix, one, ask, withheld))
    if one.state.fields.get(field.name, NO_CURRENT).version:
        yield Choice("keep", "", None, _sends(matrix, one, Ask(case="", action="keep"), withheld))


def _sends(matrix: Matrix, one: Open, ask: Ask, withheld: frozenset[str]) -> tuple[str, ...]:
    change = ask_for(one, ask, change_id="preview", actor="-", role=one.case.owner, reason="-", at=one.case.opened)
    return tuple(send.system for send in preview(matrix, one, change, withheld).sends if one.case.field in send.values)


def _sides(matrix: Matrix, state: RecordState, name: str, *, show: bool) -> Iterator[Side]:
    field = matrix.fields.get(name)
    for key, system in matrix.systems.items():
        seat = state.systems.get(key)
        if seat is None or field is None:
            yield Side(key, system, seat is not None and seat.present, None, None, agrees=True, waiting=False)
            continue
        shown = seat.shown.get(name)
        expected = view_of(seat, name, field.views[key], state.fields.get(name))
        agrees = expected is NOTHING or shown == expected or not seat.present
        due = None if expected is NOTHING else expected
        yield Side(
            key, system, seat.present, _told(shown, show=show), _told(due, show=show), agrees, name in seat.outstanding
        )


def _waiting(state: RecordState, name: str, proposal: Proposal, *, show: bool) -> Waiting:
    seat = state.systems.get(proposal.system)
    holds = {} if seat is None else seat.requested if proposal.request else seat.shown
    return Waiting(
        proposal.system, _told(proposal.value, show=show), proposal.actor, proposal.role, proposal.origin,
        proposal.reason, proposal.at, holds.get(name) == proposal.value,
    )  # fmt: skip


def _told(value: Value, *, show: bool) -> Value:
    return value if show else masked(value)


def until(milliseconds: int) -> str:
    """How long something may wait still, or is late, in one unit."""
    minutes = abs(milliseconds) // 60_000
    some = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"  # noqa: PLR2004 (two of the next unit)
    return f"{some} late" if milliseconds <= 0 else f"in {some}"
