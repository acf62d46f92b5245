"""What is read and asked, for pages and API alike, apart from how it is shown. Blocks: to be called in threads.

Values of patients leave it only by ``reveal`` and ``reveal_record``, which first write down who sees them.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from time import time
from typing import Any, Final, NamedTuple

from ownership_stream.desk import Desk, Office, Person
from ownership_stream.explain import Standing, stand
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Ask, RecordState
from ownership_stream.queue import Open, Place, View, Wanted, answer_in_words, hashed_edition, part, wants
from ownership_stream.reports import MASK
from ownership_stream.telemetry import HashedId
from ownership_stream.trial import Trial, Tried, try_it
from ownership_stream.web.actors import Actor
from ownership_stream.web.bodies import Settled
from ownership_stream.wire import Resolution

PAGE: Final = 25
RECENT: Final = 500
"""Records of a partition of ``ownership.resolutions`` that are read for what ended lately."""
LOOKS: Final = 2_000
"""Cases that are looked at for one page of a filter: then it is said where to go on."""
KNOWN: Final = 100_000
"""Cases of which it is remembered whose record they are."""
DONE: Final = frozenset({"accepted", "kept", "set", "dismissed", "assigned", "commented", "revealed"})
WRITTEN: Final = "written"
"""It stands in the log, and no worker has answered it yet."""


class Listed(NamedTuple):
    """A page of the queue; ``after``: where the next begins, empty where there is none."""

    views: list[View]
    after: str


class Answered(NamedTuple):
    """How an ask ended: ``outcome`` and ``reason`` are a row of ``outcomes.ANSWERS``, or ``WRITTEN``."""

    outcome: str
    reason: str
    sentence: str
    resolution: Resolution | None = None

    @property
    def done(self) -> bool:
        """Whether it was done as asked."""
        return self.outcome in DONE

    @property
    def changed(self) -> bool:
        """Whether the case was not as it had been read."""
        return self.outcome == "changed meanwhile"


class Shown(NamedTuple):
    """A record as it stands."""

    name: str
    version: int
    stage: str
    fields: list[Standing]
    cases: list[View]
    values: bool


class Work:
    """Everything that can be seen and asked. ``told``: the log of who saw what (event, record, allowed words)."""

    def __init__(
        self, office: Office, told: Callable[[str, HashedId, dict[str, Any]], None], *, wait_seconds: float = 10.0
    ) -> None:
        self.office, self._told, self._wait = office, told, wait_seconds
        self._records: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    @property
    def matrix(self) -> Matrix:
        """The matrix that cases are shown and trials decided by."""
        return self.office.matrix

    # ------------------------------------------------------------------------------------------------ seen

    def listed(self, wanted: Wanted, after: Place | None, size: int = PAGE) -> Listed:
        """A page of the queue, values masked."""
        desk = self._desk(None)
        cases = self.office.in_order(0 if after is None else after.since)
        found = part(cases, lambda one: wants(self.matrix, wanted, one), size, LOOKS, after)
        for one in found.cases:
            self._remember(one)
        views = [desk.view(one, show_values=False, choices=False) for one in found.cases]
        return Listed(views, "" if found.after is None else str(found.after))

    def chosen(self, wanted: Wanted, actor: Actor, most: int) -> tuple[list[Open], bool]:
        """The first cases that are wanted and that this person decides, and whether there may be more of them."""
        cases = self.office.in_order()
        found = part(cases, lambda one: wants(self.matrix, wanted, one) and actor.decides(self.matrix, one.case),
                     most, LOOKS)  # fmt: skip
        for one in found.cases:
            self._remember(one)
        return found.cases, found.after is not None

    def name(self, record: str) -> str:
        """A record as it is shown."""
        return self._desk(None).name(record)

    def find(self, case: str) -> Open | None:
        """An open case by its id; ``None`` where there is none of that id."""
        return self.find_all([case])[0]

    def find_all(self, cases: Sequence[str]) -> list[Open | None]:
        """The open cases of these ids, in their order; ``None`` where there is none of that id.

        Where the record of some was not seen here before, the queue is read until they are found, once.
        """
        with self._lock:
            unseen = {case for case in cases if case not in self._records}
        if unseen:
            for one in self.office.in_order():
                self._remember(one)
                unseen.discard(one.case.id)
                if not unseen:
                    break
        return [self._open(case) for case in cases]

    def _open(self, case: str) -> Open | None:
        """A case of a record that was seen here."""
        with self._lock:
            record = self._records.get(case)
        state = None if record is None else self.office.looker.state(record)
        if record is None or state is None:
            return None
        return next((Open(record, state, one) for one in state.cases.values() if one.id == case), None)

    def view(self, one: Open, *, show_values: bool = False) -> View:
        """A case with what can be done about it."""
        return self._desk(None).view(one, show_values=show_values, choices=True)

    def edition(self, one: Open) -> str:
        """What the case looks like, as a keyed hash."""
        return hashed_edition(one, self.office.key)

    def record(self, record: str) -> RecordState | None:
        """A record's state, by its id."""
        return self.office.looker.state(record)

    def shown(self, record: str, state: RecordState, *, values: bool = False) -> Shown:
        """A record with the provenance of each of its fields."""
        desk = self._desk(None)
        fields = list(stand(self.matrix, state, show_values=values, withheld=desk.withheld))
        cases = [
            desk.view(Open(record, state, case), show_values=values, choices=False)
            for case in sorted(state.cases.values(), key=lambda case: (case.due, case.id))
        ]
        for case in state.cases.values():
            self._remember(Open(record, state, case))
        stage = state.stages[-1][1] if state.stages else ""
        told = stage if values or not stage else MASK
        return Shown(desk.name(record), state.version, told, fields, cases, values)

    def settled(self, size: int, *, people: bool) -> list[Settled]:
        """How conflicts ended lately, the newest first and without values; ``people``: only what people asked."""
        desk = self._desk(None)
        found = (one for one in self.office.looker.resolutions(RECENT) if one.action or not people)
        return [_settled(one, desk.name(one.record)) for one in islice(found, size)]

    def withheld(self) -> frozenset[str]:
        """Systems that are sent nothing now."""
        return self.office.withheld()

    def tried(self, trial: Trial, state: RecordState | None = None) -> Tried:
        """What would come of a write; on a record's state as it is, with what is withheld, or on an invented one's."""
        withheld = frozenset[str]() if state is None else self.withheld()
        return try_it(self.matrix, trial, _now(), state, withheld)

    # ------------------------------------------------------------------------------------------------ asked

    def reveal(self, one: Open, actor: Actor) -> View:
        """A case with its values; that they were shown to this person is in the log of changes first, and in ours."""
        self._desk(actor, one).tell([(one, Ask(case="", action="reveal"))], None)
        self._tell("values_revealed", one.record, actor, [one.case.field or "record"])
        return self.view(one, show_values=True)

    def reveal_record(self, record: str, state: RecordState, actor: Actor) -> Shown:
        """A record with its values, likewise: each of its open cases has an event of it, our log all the fields."""
        opened = [Open(record, state, case) for case in state.cases.values()]
        if opened:
            self._desk(actor, opened[0]).tell([(one, Ask(case="", action="reveal")) for one in opened], None)
        found = self.shown(record, state, values=True)
        self._tell("values_revealed", record, actor, [one.field for one in found.fields])
        return found

    def ask(self, one: Open, actor: Actor, ask: Ask, reason: str | None, edition: str) -> Answered:
        """Ask something of a case as it was read, and wait a while for the answer.

        Where the case is not of that edition any more, nothing is asked. What needs no edition gives none.
        """
        if edition and edition != self.edition(one):
            return self._answer(one, "changed meanwhile", "")
        [found] = self._desk(actor, one).ask([(one, ask)], reason, self._wait)
        return self._answered(one, found)

    def ask_all(self, asks: Sequence[tuple[Open, Ask, str]], actor: Actor, reason: str | None) -> list[Answered]:
        """Ask each case as it was read (its edition), all before any answer is waited for; in their order."""
        answers: dict[str, Answered] = {}
        by_role: dict[str, list[tuple[Open, Ask]]] = {}
        for one, ask, edition in asks:
            if edition == self.edition(one):
                by_role.setdefault(actor.role_for(self.matrix, one.case), []).append((one, ask))
            else:
                answers[one.case.id] = self._answer(one, "changed meanwhile", "")
        for some in by_role.values():
            found = self._desk(actor, some[0][0]).ask(some, reason, self._wait)
            answers |= {one.case.id: self._answered(one, said) for (one, _), said in zip(some, found, strict=True)}
        return [answers[one.case.id] for one, _, _ in asks]

    def planned_all(
        self, asks: Sequence[tuple[Open, Ask]], actor: Actor, reason: str | None
    ) -> list[tuple[Answered, dict[str, str]]]:
        """What each would come to now, as ``planned``."""
        return [self.planned(one, actor, ask, reason) for one, ask in asks]

    def planned(self, one: Open, actor: Actor, ask: Ask, reason: str | None) -> tuple[Answered, dict[str, str]]:
        """What an ask would come to now, and which systems would be sent the field, as what."""
        decision = self._desk(actor, one).preview(one, ask, reason)
        sends: dict[str, str] = {send.system: send.kind for send in decision.sends if one.case.field in send.values}
        answer = decision.answer
        if answer is None:
            return self._answer(one, "failed", ""), sends
        return self._answer(one, answer.outcome, answer.reason), sends

    def _answered(self, one: Open, found: Resolution | None) -> Answered:
        """What was answered; nothing yet where no worker was there in time."""
        if found is None:
            return Answered(WRITTEN, "", "it is in the log, and decided as soon as a worker gets there")
        return self._answer(one, found.outcome, found.answer, found)

    def _answer(self, one: Open, outcome: str, reason: str, found: Resolution | None = None) -> Answered:
        return Answered(outcome, reason, answer_in_words(self.matrix, one, outcome, reason), found)

    # ------------------------------------------------------------------------------------------------ within

    def _desk(self, actor: Actor | None, one: Open | None = None) -> Desk:
        """A desk for somebody, in the role in which the case is theirs; ``None``: for who only looks."""
        if actor is None or one is None:
            return Desk(self.office, Person("", ""))
        return Desk(self.office, Person(actor.name, actor.role_for(self.matrix, one.case)))

    def _remember(self, one: Open) -> None:
        with self._lock:
            self._records[one.case.id] = one.record
            self._records.move_to_end(one.case.id)
            while len(self._records) > KNOWN:
                self._records.popitem(last=False)

    def _tell(self, event: str, record: str, actor: Actor, fields: Sequence[str]) -> None:
        for name in fields:
            self._told(event, self.office.hashed(record), {"actor": actor.name, "field": name})


def _now() -> int:
    return int(time() * 1000)


def _settled(one: Resolution, record: str) -> Settled:
    return Settled(
        at=one.at, record=record, field=one.field, label=one.label, actor=one.actor, role=one.role or "",
        action=one.action, outcome=one.outcome, answer=one.answer, case=one.case_id or "", why=one.why or "",
        source=one.source, to=one.to, version=one.version, took=one.took,
    )  # fmt: skip
