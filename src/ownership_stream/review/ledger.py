"""The ledger: what happened week by week, as a lane's log decided again tells it.

Pure. It takes what a step counted (``accounting``: the same counts as on /metrics) and the conflict records that it put
out, in the log's order, lane by lane. A happening belongs to the week of its change by the broker's time. Which cases
were open when a week ended follows from the conflict records: each case's opening, passing on and end is one. What was
only observed is in no figure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ownership_stream.accounting import CLOSINGS, Counts
from ownership_stream.review.week import Week
from ownership_stream.wire import Conflict

ENFORCED: Final = "enforce"
CONFLICTS: Final = frozenset({"rejected", "queued"})


class Writer(NamedTuple):
    """Whose write it was; an ``actor`` may be a patient (a portal), so it is shown as a hash only."""

    system: str
    role: str
    origin: str
    actor: str


class Standing(NamedTuple):
    """A case that is open; times are milliseconds since 1970."""

    owner: str
    field: str
    opened: int
    due: int
    escalated: bool

    def is_beyond(self, now: int) -> bool:
        """Whether its first deadline has passed, as in ``census``."""
        return self.escalated or self.due <= now


class Example(NamedTuple):
    """One conflict of a row, without any value: when, of which record, by whom, and what was said to it."""

    at: int
    record: str
    writer: Writer
    outcome: str
    sentence: str
    advice: str


@dataclass(slots=True)
class Tally:
    """What happened in one week."""

    counts: Counts = field(default_factory=Counter)
    distinct: set[tuple[str, str, Writer]] = field(default_factory=set)
    """(record, field, writer) of what owner policy rejected."""
    writers: dict[Writer, Counter[str]] = field(default_factory=dict)
    """Writer -> field -> writes that owner policy rejected."""
    cases: Counter[str] = field(default_factory=Counter)
    """Field -> cases opened."""
    waited: Counter[str] = field(default_factory=Counter)
    """Field -> milliseconds that the cases closed in the week had been open."""
    examples: dict[str, Example] = field(default_factory=dict)
    """Field -> its latest conflict."""
    open: list[Standing] = field(default_factory=list)
    """The cases that were open at ``as_of``."""
    as_of: int = 0


class Ledger:
    """The weeks that are asked for, oldest first; ``now`` is where the last one ends if it is not over.

    For each lane: ``begin``, then ``settle`` in the log's order, then ``end``.
    """

    def __init__(self, weeks: Sequence[Week], now: int) -> None:
        self.weeks: Final = tuple(sorted(weeks))
        self.tallies: Final = {week: Tally(as_of=min(week.ends, now)) for week in self.weeks}
        self.used: Final[dict[str, int]] = {}
        """Field -> when a write of it was last attempted, in any week."""
        self.first: int | None = None
        """The oldest change."""
        self._open: dict[str, Standing] = {}
        self._to_end: list[Week] = []

    def begin(self) -> None:
        """A lane begins."""
        self._open = {}
        self._to_end = list(self.weeks)

    def settle(self, at: int, counts: Counts, conflicts: Iterable[tuple[Conflict, bool]], mode: str) -> None:
        """What followed from changes of one week, the last of them ``at`` (milliseconds), decided in one ``mode``.

        ``conflicts`` come with whether the write had waited in a case and was decided once more.
        """
        self._pass(at)
        self.first = at if self.first is None else min(at, self.first)
        tally = self.tallies.get(Week.of(at))
        enforced = tally if mode == ENFORCED else None
        if enforced is not None:
            enforced.counts.update(counts)
        for name, *labels in counts:
            if name == "write_attempts":
                self.used[labels[0]] = max(at, self.used.get(labels[0], 0))
        for conflict, again in conflicts:
            if enforced is not None:
                _note(enforced, conflict, self._open, again=again)
            self._follow(conflict)

    def end(self) -> None:
        """The lane's log is at its end: nothing more happened in what is left of the weeks."""
        self._pass(None)

    def _pass(self, at: int | None) -> None:
        """Weeks that are over by then, or all: what is open now was open when they ended."""
        while self._to_end and (at is None or self._to_end[0].ends <= at):
            self.tallies[self._to_end.pop(0)].open.extend(self._open.values())

    def _follow(self, conflict: Conflict) -> None:
        case = conflict.case_id
        if case is None:
            return
        if conflict.event in CLOSINGS:
            self._open.pop(case, None)
            return
        before = self._open.get(case)
        escalated = conflict.event == "escalated" or (before is not None and before.escalated)
        opened, due = conflict.opened or 0, conflict.due or 0
        self._open[case] = Standing(conflict.owner or "", conflict.field, opened, due, escalated)


def _note(tally: Tally, conflict: Conflict, known: dict[str, Standing], *, again: bool) -> None:
    """What a conflict record says beyond the counts."""
    name = conflict.field
    if conflict.event in CLOSINGS and conflict.opened is not None:
        tally.waited[name] += max(0, conflict.received - conflict.opened)
    elif conflict.case_id is not None and conflict.case_id not in known and conflict.event in ("decided", "opened"):
        tally.cases[name] += 1
    if conflict.event != "decided" or conflict.outcome not in CONFLICTS or again:
        return
    writer = Writer(conflict.system, conflict.role or "", conflict.origin, conflict.actor or "")
    tally.examples[name] = Example(
        conflict.received, conflict.record, writer, conflict.outcome, conflict.sentence, conflict.advice
    )
    if (conflict.outcome, conflict.reason) == ("rejected", "owner_policy"):
        tally.distinct.add((conflict.record, name, writer))
        tally.writers.setdefault(writer, Counter())[name] += 1
