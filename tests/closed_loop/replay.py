"""What was decided in a loop, decided once more by the pure core from its log, and who had written each row."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from closed_loop.seen import Seen
from closed_loop.site import SINK_USER
from ownership_stream.links import settle
from ownership_stream.model import Change, Decision, RecordState

SNAPSHOT: Final = "snapshot"
"""The writer of a row that was read and not written."""


Said = tuple[str, str, str, int]
"""A change between two records: its id, the record it is for, its kind and its hops."""


class Decided(NamedTuple):
    """A change with its end, and the account of the database that had written the row; `""` where no row was.

    ``sent_on``: it has no end here, but where it went.
    """

    change: Change
    decision: Decision
    who: str
    sent_on: bool


@dataclass
class Replay:
    """A loop's history, recomputed: `states` is what each record must have come to, `said` what one told another."""

    seen: Seen
    states: dict[str, RecordState] = field(init=False, default_factory=dict)
    decided: list[Decided] = field(init=False, default_factory=list)
    said: Counter[Said] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        for change in self.seen.changes:
            state = self.states.get(change.record)
            settled = settle(self.seen.matrix, self.seen.homes, state, change, frozenset())
            self.states[change.record] = settled.decision.state
            self.said.update(map(said, settled.changes))
            sent_on = change.id in {one.id for one in settled.changes}
            self.decided.append(Decided(change, settled.decision, self._writer_of(change), sent_on))

    def of(self, record: str) -> list[Decided]:
        """What was decided about a record."""
        return [one for one in self.decided if one.change.record == record]

    def by_sinks(self) -> list[Decided]:
        """What followed from the sinks' own writes."""
        return [one for one in self.decided if one.who == SINK_USER and not one.sent_on]

    def _writer_of(self, change: Change) -> str:
        if change.kind != "row":
            return ""
        if change.op == "r":
            return SNAPSHOT
        return self.seen.writers[change.system, change.source_version]


def said(change: Change) -> Said:
    """A change that one record has sent to another, as both of them know it."""
    return change.id, change.record, change.kind, change.hops
