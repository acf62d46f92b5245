"""Whether a closed loop did what it is for, judged from what outsiders can see when it is at rest. Pure.

Each check yields what is wrong, a line each; nothing is asserted here, so that all of it is told at once.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import msgspec

from closed_loop.replay import Replay, said
from closed_loop.seen import Seen, wired
from closed_loop.site import SIDES
from ownership_stream.disagreements import disagreements
from ownership_stream.draft import view_of
from ownership_stream.links import seat_of
from ownership_stream.sources.mapping import UNAVAILABLE

DEFAULTS: Final = ("by-default", "by@default.invalid", date(1901, 1, 1), datetime(1901, 1, 1), 0.125)  # noqa: DTZ001
"""What the columns' defaults are, in both systems; nobody ever writes one."""
EXPLAINED: Final = frozenset({"case", "baseline", "left", "pending", "missing at the owner"})
"""Reasons for which systems may differ when everything is at rest; any other is a change that got lost."""
HARMLESS: Final = frozenset({"echo", "noop", "replay"})


@dataclass
class Judge:
    """All checks on one loop, and what they counted: a loop in which nothing happened proves nothing."""

    seen: Seen
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.replay = Replay(self.seen)
        self.listed = {
            (record, one.system, one.field): one.why
            for record, state in self.replay.states.items()
            for one in disagreements(self.seen.matrix, state, frozenset())
        }

    def findings(self) -> list[str]:
        """What is wrong, nothing if all is well; counts anew."""
        self.counts.clear()
        checks = (
            self.everything_was_read,
            self.states_follow_from_the_log,
            self.what_records_tell_each_other_is_heard,
            self.tables_show_what_the_states_say,
            self.differences_are_explained,
            self.own_writes_are_echoes,
            self.refused_writes_have_an_end,
            self.nothing_leaked,
        )
        return [finding for check in checks for finding in check()]

    def everything_was_read(self) -> Iterator[str]:
        """Each transaction on a table came out of its connector, and every record could be read."""
        if self.seen.letters:
            yield f"{self.seen.letters} records could not be read"
        for system, events in self.seen.events.items():
            told = {event["source"].get("txId") for event in events}
            written = self.seen.accounts[system].keys() - self.seen.before[system]
            if lost := written - told:
                yield f"{len(lost)} of {len(written)} transactions of the {system} were never told"
            self.counts["transactions"] += len(written)
            self.counts["repeated events"] += len(events) - len(
                {msgspec.json.encode(_place(event)) for event in events}
            )
            self.counts["rows read again"] += sum(event["source"]["snapshot"] == "incremental" for event in events)

    def states_follow_from_the_log(self) -> Iterator[str]:
        """What the lanes hold is what the pure core makes of the log; as many sends stand on the topics."""
        held = self.seen.states
        for record in held.keys() | self.replay.states.keys():
            if held.get(record) != self.replay.states.get(record):
                yield f"{record}: the lane's state is another than the one that follows from the log"
        sends = sum(len(one.decision.sends) for one in self.replay.decided)
        stand = sum(map(len, self.seen.applies.values()))
        if sends != stand:
            yield f"{sends} writes follow from the log, and {stand} stand on the apply topics"
        self.counts["records"], self.counts["sends"] = len(held), sends

    def what_records_tell_each_other_is_heard(self) -> Iterator[str]:
        """Each change that one record sent to another stands on the log, once; no other does."""
        heard = Counter(said(change) for change in self.seen.changes if change.hops)
        for (_, record, kind, hops), number in sorted((self.replay.said - heard).items()):
            yield f"{record}: a `{kind}` that another record sent there was lost ({number}, hop {hops})"
        for (_, record, kind, hops), number in sorted((heard - self.replay.said).items()):
            yield f"{record}: a `{kind}` that no record sent there is on the log ({number}, hop {hops})"
        self.counts["changes between records"] = heard.total()

    def tables_show_what_the_states_say(self) -> Iterator[str]:
        """Read anew, column by column: so what the states say of agreement is true of the tables."""
        for system in SIDES:
            for row, fields in self.seen.shown(system):
                found = seat_of(self.seen.homes, self.replay.states, system, row.key, row.record)
                if found is None:
                    yield f"{row.record}: no record has the {system}'s row"
                    continue
                record, seat = found
                for name, value in fields.items():
                    self.counts["fields compared"] += 1
                    if seat.shown.get(name) != value:
                        yield f"{record}: the {system}'s `{name}` is not what the stream believes it to show"

    def differences_are_explained(self) -> Iterator[str]:
        """Both systems show what the matrix says, or somebody is told why not."""
        for (record, system, name), why in sorted(self.listed.items()):
            self.counts[f"listed: {why}"] += 1
            if why not in EXPLAINED:
                yield f"{record}: the {system} shows another `{name}` than it should: {why}"

    def own_writes_are_echoes(self) -> Iterator[str]:
        """What our own sinks wrote is no attempt of anybody: not refused, not queued, not applied.

        What a stock sink that was killed writes again is counted apart: it is told by its change id, which stood in
        the row before (docs/sinks.md, section 2).
        """
        by_us, landed = set[str](), set[tuple[str, str]]()
        for one in self.replay.by_sinks():
            where = one.change.row, one.change.marker or ""
            sinks = "sinks, written again" if where in landed and where[1] else "sinks"
            landed.add(where)
            by_us.add(one.change.id)
            for outcome in one.decision.outcomes:
                self.counts[f"{sinks}: {outcome.outcome} {outcome.reason}".rstrip()] += 1
                if outcome.outcome not in HARMLESS:
                    ended = f"{outcome.outcome}: {outcome.reason}".rstrip(": ")
                    yield f"{one.change.record}: our own write of `{outcome.field}` there ended {ended}"
        for conflict in self.seen.conflicts:
            self.counts["conflict records"] += 1
            if conflict.event == "decided" and conflict.change_id in by_us:
                yield f"{conflict.record}: our own write of `{conflict.field}` is counted as a conflict"

    def refused_writes_have_an_end(self) -> Iterator[str]:
        """Each refused write was written over again, or was followed by one that was taken, or somebody has it."""
        open_: Counter[tuple[str, str, str]] = Counter()
        for one in self.replay.decided:
            record, system = one.change.record, one.change.system
            for outcome in one.decision.outcomes:
                where = record, system, outcome.field
                if outcome.outcome in ("rejected", "queued") and not outcome.request:
                    self.counts[f"refused: {outcome.outcome}"] += 1
                    open_[where] += 1
                elif outcome.outcome == "applied":
                    self.counts["applied"] += 1
                    self.counts["refused, then another taken"] += open_.pop(where, 0)
            for send in one.decision.sends:
                for name in send.values:
                    self.counts["restored"] += open_.pop((record, send.system, name), 0)
        for (record, system, name), number in open_.items():
            state = self.replay.states[record]
            if (record, system, name) in self.listed or name in state.cases:
                self.counts["refused, waiting or listed"] += number
            elif state.systems[system].shown.get(name) == self._expected(record, system, name):
                self.counts["refused, taken back"] += number
            else:
                yield f"{record}: a refused write of `{name}` in the {system} has no end"

    def _expected(self, record: str, system: str, name: str) -> Any:
        state, views = self.replay.states[record], self.seen.matrix.fields[name].views
        return view_of(state.systems[system], name, views[system], state.fields.get(name))

    def nothing_leaked(self) -> Iterator[str]:
        """No placeholder of an unavailable value, and no column's default, in a table or on its way to one."""
        for system, side in SIDES.items():
            for key, row in self.seen.rows[system].items():
                for column, value in row.items():
                    if _leaked(value):
                        yield f"{side.table} {key}: `{column}` holds {value!r}"
            for apply in self.seen.applies[system]:
                for column, value in apply.after.items():
                    self.counts["nulls sent"] += value is None
                    if _leaked(value) or value in {wired(one) for one in DEFAULTS}:
                        yield f"the {system} was sent {value!r} for `{column}`"
            self.counts["placeholders read"] += sum(
                UNAVAILABLE in (event["after"] or {}).values() for event in self.seen.events[system]
            )


def _leaked(value: Any) -> bool:
    return value in DEFAULTS or (isinstance(value, str) and UNAVAILABLE in value)


def _place(event: dict[str, Any]) -> list[Any]:
    source = event["source"]
    return [source["sequence"], source["snapshot"], source["ts_ms"], event["after"], event["op"]]
