"""One change at work on one record: its homes, what goes from it to others, and what both sides say of a doubt."""

import base64
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from ownership_stream.decide import decide, decision_of
from ownership_stream.draft import Draft
from ownership_stream.identity import change_id
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.merge import doubt
from ownership_stream.model import Change, Decision, Identity, LinkedState, RecordState, identity_of
from ownership_stream.wire import Link, pack_state, unpack_state

MAX_HOPS: Final = 8
"""Marks lead to ever smaller records, so no change goes in circles; one that seems to is queued."""

CONFIRMED: Final = "confirmed"
PART: Final = "part"
"""What a ``merge`` is about beside a plain one: one that a person has confirmed, and a history that comes back."""
APART: Final = "no duplicate"
"""What a ``settle`` is about where no doubt is answered, but a probable match."""
BIRTH: Final = "birth date"
SECOND: Final = "second row"
REFUSED: Final = frozenset({BIRTH, SECOND})
"""Doubts in which a row was not taken, and stays with its home."""
CHANGED: Final = "changed link"
CYCLE: Final = "cycle"
DOUBTS: Final = {
    BIRTH: "the birth dates differ",
    SECOND: "another row of the same system is linked to the record",
    CHANGED: "the row was linked to another record",
    CYCLE: "its links seem to lead in a circle",
}
"""Why it may be in doubt whether two records are the same person, in words."""


Word = Literal["link", "confirm", "merge", "split", "doubt", "settle"]
"""What one record says to another."""


class Home(NamedTuple):
    """How a system's native key makes its home's id."""

    before: str = ""
    after: str = ""
    linked: bool = False
    """Whether a column of the row may name another record."""


class Homes:
    """The homes of all systems' native keys."""

    def __init__(self, homes: Mapping[str, Home] | None = None) -> None:
        """``homes`` by system; a system without one takes part in no links."""
        self._homes = dict(homes or {})

    def of(self, system: str, key: str) -> str | None:
        """The home of a native key."""
        home = self._homes.get(system)
        return None if home is None or not key else f"{home.before}{key}{home.after}"

    def linked(self, system: str) -> bool:
        """Whether rows of the system may name another record than their home."""
        home = self._homes.get(system)
        return home is not None and home.linked

    def order(self, record: str) -> tuple[bool, str]:
        """The one total order in which merges go, towards the smaller: shared ids first, then by text."""
        names = [home for home in self._homes.values() if home.linked and home.before + home.after]
        return any(record.startswith(home.before) and record.endswith(home.after) for home in names), record


class Settled(NamedTuple):
    """What follows from one change."""

    decision: Decision
    changes: tuple[Change, ...] = ()
    """For other records, in this order."""
    links: tuple[Link, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    """(what was done, the other record), for the resolutions."""


class Flow:
    """One change at work on one record."""

    def __init__(
        self, matrix: Matrix, homes: Homes, state: RecordState | None, change: Change, withheld: frozenset[str]
    ) -> None:
        self.matrix, self.homes, self.change, self.withheld = matrix, homes, change, withheld
        self.state = RecordState() if state is None else state
        self.record = change.record
        self.identity = identity_of(state)
        self.out: list[Change] = []
        self.links: list[Link] = []
        self.told: list[tuple[str, str]] = []

    # ------------------------------------------------------------------------------------------------------ tools

    def decide(self) -> Decision:
        """The change decided on the record as it is."""
        return decide(self.matrix, self.state, self.change, self.withheld)

    def draft(self) -> Draft:
        """The record's next state, to be written."""
        return Draft(self.matrix, self.state, self.change, self.withheld)

    def with_identity(self, identity: Identity) -> Decision:
        """Nothing else is to be said than what the record now knows of its identity."""
        draft = self.draft()
        draft.identity = identity
        return decision_of(draft)

    def forward(self, record: str, *, named: str = "", home: str = "") -> None:
        """Send the change itself on to another record."""
        self.out.append(
            replace(self.change, record=record, named=named, home=home, hops=self.change.hops + 1, received=0)
        )

    def say(self, kind: Word, record: str, *, about: str = "", history: str = "") -> None:
        """Tell another record something of this one, on behalf of the person who set it going, if it was one."""
        change = self.change
        told = Change(
            id=change_id(f"{kind}/{change.id}/{self.record}/{record}"), record=record, kind=kind, at=change.at,
            other=self.record, about=about, history=history, hops=change.hops + 1, trace=change.trace,
        )  # fmt: skip
        if change.kind != "row":
            by = change.actor, change.role, change.origin, change.reason
            told = replace(told, actor=by[0], role=by[1], origin=by[2], reason=by[3])
        self.out.append(told)

    def same(self) -> Decision:
        """Nothing changes here."""
        return decision_of(self.draft())

    def link(self, record: str) -> None:
        """The record's rows belong to another record from here on, or to itself."""
        change = self.change
        by = change.actor if change.kind != "row" else None
        why = change.reason if change.kind != "row" else None
        self.links.append(
            Link(key=self.record, record=record, at=change.received, change_id=change.id, actor=by, reason=why)
        )

    def smaller(self, other: str) -> bool:
        """Whether the other record is the smaller of the two."""
        return self.homes.order(other) < self.homes.order(self.record)

    def move(self, to: str, about: str = "", *, keep: bool = True) -> Decision:
        """The record's whole history goes to another one, and the mark stays."""
        for party in sorted(self.identity.doubts):
            if party not in (to, self.record):
                self.say("settle", party)
        known = replace(self.identity, doubts={}, moved="", following="", asked={})
        whole = self.draft()
        whole.identity = known
        state = whole.to_state()
        if keep or state != RecordState():
            self.say("merge", to, about=about, history=packed(state))
            self.told.append(("linked", to))
        self.link(to)
        denied = tuple(one for one in self.identity.denied if one != to)
        return Decision(LinkedState(identity=Identity(moved=to, denied=denied)))

    def raise_doubt(self, other: str, why: str) -> Decision:
        """Both records stand still until a person has looked."""
        draft = self.draft()
        doubt(draft, other, why)
        self.told.append((f"in doubt: {why}", other))
        return decision_of(draft)

    def held(self, other: str, why: str) -> Decision:
        """The change decided after a doubt that it brings itself: everything in it is queued."""
        first = self.raise_doubt(other, why)
        decision = decide(self.matrix, first.state, self.change, self.withheld)
        return replace(decision, cases=first.cases + decision.cases)


def know(flow: Flow, identity: Identity) -> None:
    """From here on the record knows this of its identity."""
    draft = flow.draft()
    draft.identity = flow.identity = identity
    flow.state = draft.to_state()


def link_changed(flow: Flow, claim: str) -> Decision:
    """A row that belongs to one record names another: neither goes on until a person has said whose it is."""
    flow.say("doubt", flow.identity.moved, about=CHANGED)
    if claim != flow.record:
        flow.say("doubt", claim, about=CHANGED)
    flow.told.append((f"in doubt: {CHANGED}", claim))
    return flow.with_identity(replace(flow.identity, doubts={**flow.identity.doubts, claim: CHANGED}))


def united(some: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Records in one order, each once."""
    return tuple(sorted({*some, *more} - {""}))


def packed(state: RecordState) -> str:
    """A history as a change carries it."""
    return base64.b64encode(pack_state(state)).decode()


def unpacked(history: str) -> RecordState:
    """A history back; raises ``WireError`` for one of another release."""
    return unpack_state(base64.b64decode(history)) if history else RecordState()
