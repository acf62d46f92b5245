"""The end of a demo: what was counted, and whether it adds up.

Two books are compared that were kept apart: what the clinic sent and took, and what the stream's metrics and topics
say. A difference is a fault of the stream (or of the demo), and is told by name. Pure: counts in, lines out.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ownership_stream.disagreements import WHYS

ATTEMPTS: Final = ("applied", "rejected", "queued")
UNEXPLAINED: Final = "unsettled"


class Tally(NamedTuple):
    """Everything that is counted at the end. Records unless it says otherwise."""

    seconds: float
    """From the start until the clinic stopped editing."""

    sent: int
    """Written to the source topics by the clinic, echoes and duplicates included."""
    read: int
    """Settled by the intake lanes."""
    changes: int
    """Row events that intake made of them."""
    ignored: int
    unreadable: int
    """Dead letters of intake."""
    on_changes: int
    """On the changes topic, other changes included."""
    forwarded: int
    """Row events that one record sent on to another, to ask whose they are or because they are that one's.

    Each stands on the changes topic once more for it.
    """
    others: int
    """Changes that are no row events: ticks, probable duplicates, what records say to each other of their links."""
    decided: int
    """Settled by the decide lanes."""
    undecidable: int
    """Dead letters of decide."""
    carried: int
    """Fields that the row events carried, however often they were sent on."""
    outcomes: Mapping[str, int]
    """Outcome -> fields that ended so."""
    attempts: Mapping[str, Mapping[str, int]]
    """Field -> outcome -> write attempts, by their own metric."""
    sends: int
    approved: int
    """On the apply topics."""
    taken: int
    """Apply records that the clinic's writers read."""
    cases: int
    """Open cases."""
    disagreeing: Mapping[str, int]
    """Why -> fields where a system shows something else than it should."""
    astray: int
    """Fields whose row shows something else than the stream believes."""


class Check(NamedTuple):
    """Two counts that must be equal."""

    said: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        """Whether they are."""
        return self.left == self.right

    def __str__(self) -> str:
        return f"{self.said}: {self.left:,} {'=' if self.holds else '≠'} {self.right:,}"


def checks(tally: Tally) -> tuple[Check, ...]:
    """Every equation that must hold once the stream has drained."""
    ended = sum(tally.outcomes.values())
    attempted = sum(tally.outcomes.get(outcome, 0) for outcome in ATTEMPTS)
    intake = tally.changes + tally.ignored + tally.unreadable
    written = tally.changes + tally.forwarded + tally.others
    return (
        Check("records sent by the clinic = read by intake", tally.sent, tally.read),
        Check("records read = changes + ignored by design + dead letters", tally.read, intake),
        Check("changes + those sent on + ticks, matches and links = on the changes topic", written, tally.on_changes),
        Check("records on the changes topic = decided", tally.on_changes, tally.decided),
        Check("changes that could not be decided", tally.undecidable, 0),
        Check("fields carried = outcomes", tally.carried, ended),
        Check("write attempts = applied + rejected + queued", _attempts(tally), attempted),
        Check("sends = apply records", tally.sends, tally.approved),
        Check("apply records = taken by the writers", tally.approved, tally.taken),
        Check("rows that show something else than the stream believes", tally.astray, 0),
        Check("disagreements that nothing explains", tally.disagreeing.get(UNEXPLAINED, 0), 0),
    )


def lines(tally: Tally, labels: Mapping[str, str]) -> Iterator[str]:
    """The summary, without the checks. ``labels``: the fields that are told one by one, as people call them."""
    rate = tally.on_changes / tally.seconds if tally.seconds else 0.0
    ignored = f"{tally.ignored:,} ignored by design, {tally.unreadable:,} unreadable (dead letters)"
    yield f"{tally.seconds:.0f} s, {tally.sent:,} records from the two systems: {tally.changes:,} changes, {ignored}"
    yield f"{tally.on_changes:,} changes decided, {rate:,.0f} a second: {tally.carried:,} fields looked at"
    yield f"{tally.forwarded:,} of them asked first whose row it is, or went on to the record that it belongs to"
    yield f"{_attempts(tally):,} write attempts: {_listed({name: tally.outcomes.get(name, 0) for name in ATTEMPTS})}"
    for field, label in labels.items():
        yield f"  {label + ':':<24}{_listed({name: tally.attempts.get(field, {}).get(name, 0) for name in ATTEMPTS})}"
    rest = {name: number for name, number in sorted(tally.outcomes.items()) if name not in ATTEMPTS and number}
    yield f"no attempts: {_listed(rest)}"
    yield f"{tally.approved:,} approved changes and restores written back, {tally.cases:,} cases wait for a person"
    total = sum(tally.disagreeing.values())
    yield f"{total:,} fields where a system shows something else than it should{':' if total else ''}"
    for why, meaning in WHYS.items():
        if tally.disagreeing.get(why):
            yield f"  {tally.disagreeing[why]:,} {why}: {meaning}"


def data(tally: Tally) -> dict[str, object]:
    """The summary for programs: every count, and the checks that do not hold."""
    wrong = [str(check) for check in checks(tally) if not check.holds]
    return {**tally._asdict(), "mismatches": wrong}


def _attempts(tally: Tally) -> int:
    return sum(number for by_outcome in tally.attempts.values() for number in by_outcome.values())


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())
