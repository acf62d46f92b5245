"""A scenario as a sequence of changes, told one by one to whoever decides them.

``tell`` is a generator: it yields a change and is answered with the decision, so that the same story runs through
``decide`` (``play``), or through a stack that somebody else drives. What is given comes about by honest changes: the
owner writes it, the others' copies land, and a snapshot finds what is said to differ. So no story begins in a state
that the matrix could not reach, and one that would is refused with its place.
"""

from collections.abc import Generator
from typing import Final, Literal, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec.structs import replace

from ownership_stream.decide import decide
from ownership_stream.links import Home, Homes, settle
from ownership_stream.links.flow import CONFIRMED, packed
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.document import MatrixError, Mistake
from ownership_stream.model import Ask, Change, Decision, RecordState, Send, identity_of
from ownership_stream.resolve import KIND_OF, edition
from ownership_stream.scenarios.parse import is_compared
from ownership_stream.scenarios.story import (
    Act,
    Event,
    Given,
    Landing,
    Link,
    Resolve,
    Scenario,
    Step,
    Verdict,
    Wait,
    Who,
)
from ownership_stream.scenarios.words import AUTOMATED_ROLES
from ownership_stream.slots import meant

MINUTE: Final = 60_000
DAY: Final = 86_400_000
STRIDE: Final = 10
"""Distance of two positions of a row, so that a late event has room between."""
TABLE: Final = "patient"
GIVEN_REASON: Final = "as given"
FIRST_LABEL: Final = 1
"""What is given without a version is this one."""
NAMESPACE: Final = uuid5(NAMESPACE_URL, "ownership-stream/scenarios")

BETWEEN_RECORDS: Final = frozenset({"merge", "split", "settle"})
PERSON: Final = "person"
"""Who links and unlinks."""

Answers = Generator[Change, Decision, "Told"]
T = TypeVar("T")


class Moment(msgspec.Struct, frozen=True):
    """One change with its decision; ``step`` is ``None`` for what brings about the given state."""

    step: Step | None
    change: Change
    decision: Decision


class Labels(msgspec.Struct, frozen=True):
    """Versions as the author counts them, and the record versions they stand for.

    The given state takes as many versions as it needs; what the author calls version 7 is the last of those. Order is
    kept, and after the given state both count alike.
    """

    known: tuple[tuple[int, int], ...] = ()
    """(label, record version), ascending."""

    def version(self, label: int) -> int:
        """The record version that a label stands for."""
        top_label, top = self.known[-1] if self.known else (0, 0)
        if label > top_label:
            return top + label - top_label
        return max((version for known, version in self.known if known <= label), default=0)

    def label(self, version: int) -> int:
        """The label of a record version; 0 stays 0, which is never set."""
        if not version:
            return 0
        top_label, top = self.known[-1] if self.known else (0, 0)
        if version > top:
            return top_label + version - top
        return min((label for label, known in self.known if known >= version), default=version)


class Told(msgspec.Struct, frozen=True):
    """A story from beginning to end."""

    given: tuple[Moment, ...]
    moments: tuple[Moment, ...]
    labels: Labels
    stranded: tuple[Step, ...] = ()
    """Landings of which nothing was under way."""


def play(matrix: Matrix, scenario: Scenario) -> Told:
    """Run a scenario through ``decide``; raises ``MatrixError`` where its given state cannot be."""
    return _decided(matrix, tell(matrix, scenario))[0]


def _decided(matrix: Matrix, story: Generator[Change, Decision, T]) -> tuple[T, RecordState]:
    """A story with each of its changes decided, and the state in which it ends."""
    state: RecordState | None = None
    try:
        change = next(story)
        while True:
            decision = decide_one(matrix, state, change)
            state = decision.state
            change = story.send(decision)
    except StopIteration as end:
        found: T = end.value
        return found, state or RecordState()


def decide_one(matrix: Matrix, state: RecordState | None, change: Change) -> Decision:
    """One change of a story; what one record says to another is heard, and what is said back has nobody to hear it.

    A linked record is the home of all its rows; the story's own record has no home to ask.
    """
    if change.kind not in BETWEEN_RECORDS:
        return decide(matrix, state, change)
    homes = Homes(dict.fromkeys(matrix.systems, Home()))
    return settle(matrix, homes, state, change, frozenset()).decision


def tell(matrix: Matrix, scenario: Scenario) -> Answers:
    """Yield each change of the story, take its decision, return the whole; raises ``MatrixError`` as ``play`` does."""
    teller = _Teller(matrix, scenario)
    yield from teller.give()
    for step in scenario.steps:
        yield from teller.act(step)
    return Told(tuple(teller.given), tuple(teller.moments), teller.labels, tuple(teller.stranded))


class _Row(msgspec.Struct):
    """What a row last sent."""

    position: int = 0
    last: Change | None = None


class _Teller:
    """One story while it is told: the broker's clock, the rows' positions, and what is under way."""

    def __init__(self, matrix: Matrix, scenario: Scenario, key: str = "") -> None:
        """``key``: the record's own in every system; empty: each system's first."""
        self.matrix = matrix
        self.scenario = scenario
        self.key = key
        self.linked: list[tuple[str, str]] = []
        """The records that a person has linked, each with its history."""
        self.clock = scenario.starts - DAY
        self.step: Step | None = None
        self.begun = False
        self.given: list[Moment] = []
        self.moments: list[Moment] = []
        self.stranded: list[Step] = []
        self.labels = Labels()
        self.rows: dict[tuple[str, str, str], _Row] = {}
        self.under_way: dict[str, list[tuple[str, Send]]] = {system: [] for system in matrix.systems}

    # -------------------------------------------------------------------------------------------- given

    def give(self) -> Generator[Change, Decision, None]:
        """Bring about the given state."""
        for system in self.scenario.present:
            yield from self._row_event(Event(system=system, op="c"))
        label = FIRST_LABEL
        for given in given_order(self.matrix, self.scenario.given):
            if given.version is not None and given.version < label:
                self._refuse(given, f"its version {given.version} would come after version {label}, given before it")
            label = max(label, given.version or 0)
            yield from self._given_value(given)
            self._label(label)
        for given in self.scenario.given:
            yield from self._given_difference(given)
        self.clock = max(self.clock, self.scenario.starts)

    def _label(self, label: int) -> None:
        version = self.given[-1].decision.state.version
        known = [(known, at) for known, at in self.labels.known if known != label]
        self.labels = Labels((*known, (label, version)))

    def _given_value(self, given: Given) -> Generator[Change, Decision, None]:
        field = self.matrix.fields[given.field]
        started = bool(self.given) and self.given[-1].decision.state.care_started is not None
        system = given.system or field.owner["after" if started else "before"]
        event = Event(
            system=system,
            fields={given.field: given.value},
            who=given.who or _rightful(field, system, started=started),
            reason=GIVEN_REASON,
            evidence={} if given.evidence is None else {given.field: given.evidence},
            at=given.at,
        )
        yield from self._row_event(event)
        decision = self.given[-1].decision
        outcome = next((outcome for outcome in decision.outcomes if outcome.field == given.field), None)
        if given.value is not None and (outcome is None or outcome.outcome != "applied"):
            end = "no change" if outcome is None else f"{outcome.outcome} {outcome.reason}".strip()
            self._refuse(
                given, f"written in `{system}` it would be `{end}`: say who it is `from` and `by`, or tell it in `when`"
            )
        for key in self.matrix.systems:
            while self.under_way[key]:
                yield from self._land(Landing(system=key))

    def _given_difference(self, given: Given) -> Generator[Change, Decision, None]:
        for system, value in given.shown.items():
            before = self.given[-1].decision.state.fields.get(given.field) if self.given else None
            yield from self._row_event(Event(system=system, op="r", fields={given.field: value}))
            after = self.given[-1].decision.state.fields.get(given.field)
            if given.known and before is not None and after is not None and before.version != after.version:
                self._refuse(given, f"what a snapshot of `{system}` shows becomes current: tell it in `when`")

    def _refuse(self, given: Given, why: str) -> None:
        message = f"`{given.field}` cannot be given like this: {why}"
        raise MatrixError(self.scenario.file, (Mistake(given.place, message),))

    # -------------------------------------------------------------------------------------------- when

    def act(self, step: Step) -> Generator[Change, Decision, None]:
        """One act of the story."""
        self.step = step
        act: Act = step.act
        if isinstance(act, Event):
            yield from self._row_event(act)
        elif isinstance(act, Landing):
            if self.under_way[act.system]:
                yield from self._land(act)
            else:
                self.stranded.append(step)
        elif isinstance(act, Wait):
            self.clock += act.ms
            yield from self._tell(self._control("tick", ""))
        elif isinstance(act, Resolve):
            self.clock += MINUTE
            yield from self._tell(self._ask(act))
        elif isinstance(act, Link):
            self.clock += MINUTE
            yield from self._tell(self._link(act))
        elif isinstance(act, Verdict):
            self.clock += MINUTE
            if self.linked:
                yield from self._tell(self._verdict(act))
            else:
                self.stranded.append(step)
        else:
            self.clock += MINUTE
            yield from self._tell(self._control(act.kind, act.system))

    def _control(self, kind: str, system: str) -> Change:
        return msgspec.convert(
            {
                "id": self._id(),
                "record": self._record(),
                "kind": kind,
                "system": system,
                "at": self.clock,
                "received": self.clock,
            },
            Change,
        )

    def _link(self, link: Link) -> Change:
        """Another record's history, as it comes here when a person has linked it; it came about by honest changes."""
        name = f"{self._record()}-{len(self.linked) + 1}"
        scenario = replace(
            self.scenario, name=f"{self.scenario.name}: {name}", present=link.present, given=link.given, steps=()
        )
        _, state = _decided(self.matrix, _Teller(self.matrix, scenario, name).give())
        self.linked.append((name, packed(state)))
        return self._by_a_person("merge", history=self.linked[-1][1])

    def _verdict(self, act: Verdict) -> Change:
        """What comes here of a person's word on the linked record, which that record's own lane hears first."""
        if act.kind == "confirm":
            return self._by_a_person("merge", about=CONFIRMED, history=self.linked[-1][1])
        told = self.moments or self.given
        identity = identity_of(told[-1].decision.state if told else None)
        return self._by_a_person("split" if self.linked[-1][0] in identity.merged else "settle")

    def _by_a_person(self, kind: Literal["merge", "split", "settle"], *, about: str = "", history: str = "") -> Change:
        return Change(
            id=self._id(), record=self._record(), kind=kind, at=self.clock, received=self.clock, actor=PERSON,
            origin="person", reason="as told", other=self.linked[-1][0], about=about, history=history,
        )  # fmt: skip

    def _ask(self, act: Resolve) -> Change:
        """A person's ask of the case as it is; where none is open it is of none."""
        told = self.moments or self.given
        state = told[-1].decision.state if told else RecordState()
        name = meant(state.cases, act.field)
        case = None if name is None else state.cases[name]
        read = edition(state, case) if case is not None and act.seen else ""
        ask = Ask(
            case="" if case is None else case.id, action=act.action, edition=read, system=act.system, value=act.value
        )
        return Change(
            id=self._id(), record=self._record(), kind=KIND_OF[act.action], at=self.clock, received=self.clock,
            actor=act.role or "person", role=act.role, origin="person", reason=act.reason, ask=ask,
        )  # fmt: skip

    def _land(self, landing: Landing) -> Generator[Change, Decision, None]:
        """What was sent first comes back as an event of the system it was sent to."""
        change_id, send = self.under_way[landing.system].pop(0)
        values = {**send.values, **landing.values}
        compared = {name: value for name, value in values.items() if is_compared(self.matrix, landing.system, name)}
        event = Event(
            system=landing.system,
            row=landing.row,
            key=send.key if send.key in dict(self.linked) else "",
            fields={name: value for name, value in values.items() if name not in compared},
            compared=compared,
            who=landing.who,
            at=landing.at,
            arrives=landing.arrives,
        )
        yield from self._row_event(event, marker=change_id if landing.marked else None)

    def _row_event(self, event: Event, marker: str | None = None) -> Generator[Change, Decision, None]:
        at, received = self._times(event)
        row = self.rows.setdefault((event.system, event.row, event.key), _Row())
        position, change_id = self._position(row, event)
        primary = not event.row
        change = Change(
            id=change_id,
            record=self._record(),
            system=event.system,
            row=f"{event.system}/{event.row or TABLE}/{event.key or self.key or 1}",
            op=event.op,
            key=event.key or self.key or f"{event.system}-1",
            primary=primary,
            stage_row=primary and event.system == self.matrix.fields[self.matrix.stages.field].owner["before"],
            position=position,
            at=at,
            fields=event.fields,
            compared=event.compared,
            requests=event.requests,
            actor=event.who.actor,
            role=event.who.role,
            origin=event.who.origin,
            reason=event.reason,
            base=None if event.base is None else self.labels.version(event.base),
            evidence=event.evidence,
            marker=marker,
            event=_came_with_it(event),
            received=received,
        )
        row.last = change
        yield from self._tell(change)

    def _times(self, event: Event) -> tuple[int, int]:
        """The source's time and the broker's, which never goes back."""
        following = self.clock + MINUTE if self.begun or self.step is None else self.clock
        self.begun = self.step is not None
        at = following if event.at is None else event.at
        self.clock = max(self.clock, at if event.arrives is None else event.arrives)
        return at, self.clock

    def _position(self, row: _Row, event: Event) -> tuple[tuple[int, ...] | None, str]:
        """An event's position and id."""
        if event.position == "duplicate" and row.last is not None:
            return row.last.position, row.last.id
        if event.position == "none":
            return None, self._id()
        if event.position == "late":
            return (row.position - STRIDE // 2,), self._id()
        row.position += STRIDE
        return (row.position,), self._id()

    def _tell(self, change: Change) -> Generator[Change, Decision, None]:
        decision = yield change
        (self.given if self.step is None else self.moments).append(Moment(self.step, change, decision))
        for send in decision.sends:
            self.under_way[send.system].append((change.id, send))

    def _id(self) -> str:
        return str(uuid5(self._namespace(), str(len(self.given) + len(self.moments))))

    def _record(self) -> str:
        return str(self._namespace())

    def _namespace(self) -> UUID:
        return uuid5(NAMESPACE, self.scenario.name)


def _came_with_it(event: Event) -> tuple[str, ...]:
    """The attributes that came with the event itself: all that it has, but those that are columns."""
    has = {
        "actor": event.who.actor is not None,
        "reason": event.reason is not None,
        "base": event.base is not None,
        "evidence": bool(event.evidence),
    }
    return tuple(name for name, there in has.items() if there and name not in event.sticky)


def given_order(matrix: Matrix, given: tuple[Given, ...]) -> list[Given]:
    """The given values in the order in which they can have come about: by their versions.

    A stage that names no version comes first. But where care has started, and a value came from somebody who might
    write it only before that, the record went through the stages that lead there, and the value comes first.
    """
    stage = next((one for one in given if one.field == matrix.stages.field and one.known), None)
    rest = sorted((one for one in given if one.known and one is not stage), key=lambda one: one.version or 0)
    if stage is None:
        return rest
    if stage.version is not None:
        return sorted([stage, *rest], key=lambda one: one.version or 0)
    before = [place for place, one in enumerate(rest) if _only_before(matrix, one)]
    if stage.value not in matrix.stages.after or not before:
        return [stage, *rest]
    first, *steps = [replace(stage, value=name) for name in stage_path(matrix, str(stage.value))]
    return [first, *rest[: before[-1] + 1], *steps, *rest[before[-1] + 1 :]]


def stage_path(matrix: Matrix, target: str) -> list[str]:
    """The shortest way through the stage map from a stage before care start to one that is not."""
    ways = [[name] for name in matrix.stages.map if name not in matrix.stages.after]
    for way in ways:
        if way[-1] == target:
            return way
        after = [name for name in matrix.stages.map.get(way[-1], ()) if name in matrix.stages.after and name not in way]
        ways += [[*way, name] for name in after]
    return [target]


def _only_before(matrix: Matrix, given: Given) -> bool:
    """Whether whoever wrote the value might do so before care start, and not after it."""
    field = matrix.fields[given.field]
    system = given.system or field.owner["after"]
    role = None if given.who is None else given.who.role
    phases = {grant.phase for grant in field.grants if grant.system == system and grant.role in (None, role)}
    return phases == {"before"}


def _rightful(field: Field, system: str, *, started: bool) -> Who:
    """Somebody who may write the field in that system."""
    phase = "after" if started else "before"
    grants = [grant for grant in field.grants if grant.system == system and grant.phase in ("any", phase)]
    role = grants[0].role if grants else None
    return Who(role, role or "person", "automation" if role in AUTOMATED_ROLES else "person")
