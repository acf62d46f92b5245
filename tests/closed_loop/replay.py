"""What was decided in a loop, decided once more by the pure core from its log, and who had written each row."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from closed_loop.seen import Seen
from closed_loop.site import SINK_USER
from ownership_stream.decide import decide
from ownership_stream.model import Change, Decision, RecordState

SNAPSHOT: Final = "snapshot"
"""The writer of a row that was read and not written."""


class Decided(NamedTuple):
    """A change with its end, and the account of the database that had written the row; `""` where no row was."""

    change: Change
    decision: Decision
    who: str


@dataclass
class Replay:
    """A loop's history, recomputed: `states` is what each record must have come to."""

    seen: Seen
    states: dict[str, RecordState] = field(init=False, default_factory=dict)
    decided: list[Decided] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        for change in self.seen.changes:
            decision = decide(self.seen.matrix, self.states.get(change.record), change)
            self.states[change.record] = decision.state
            self.decided.append(Decided(change, decision, self._writer_of(change)))

    def of(self, record: str) -> list[Decided]:
        """What was decided about a record."""
        return [one for one in self.decided if one.change.record == record]

    def by_sinks(self) -> list[Decided]:
        """What followed from the sinks' own writes."""
        return [one for one in self.decided if one.who == SINK_USER]

    def _writer_of(self, change: Change) -> str:
        if change.kind != "row":
            return ""
        if change.op == "r":
            return SNAPSHOT
        return self.seen.writers[change.system, change.source_version]
