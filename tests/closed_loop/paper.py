"""The loop on paper: two tables, their connectors, the decision and both sinks in memory, one event after the other.

Rows go through the real mappings both ways, as Debezium's JSON; nothing is late, repeated or lost. So it shows what the
matrix makes of scenes and storms, and gives the judge loops in which a test can break something.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec

from closed_loop.people import LONG, begin
from closed_loop.seen import MICROSECOND, Seen, envelope
from closed_loop.site import EPOCH, MARKER, SIDES, SINK_USER, Edit
from ownership_stream.assembly import homes_of
from ownership_stream.links import settle
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, RecordState, Send
from ownership_stream.sources import Decoder, Writer, decoder
from ownership_stream.sources import Mapping as SourceMapping
from ownership_stream.sources.mapping import UNAVAILABLE
from ownership_stream.wire import Apply, Source, Sync

START: Final = 1_800_000_000_000
PEOPLE: Final = "postgres"
MOST: Final = 50
"""Writes of the sinks after one edit, beyond which it is no answer any more but a loop."""


class Order(NamedTuple):
    """What a sink wrote into a row."""

    system: str
    key: Any
    columns: Mapping[str, Any]


@dataclass
class PaperLoop:
    """One loop. `edit`, then look at `rows`, or at everything by `seen`."""

    matrix: Matrix
    mappings: Mapping[str, SourceMapping]
    rows: dict[str, dict[Any, dict[str, Any]]] = field(init=False)
    number: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.decoders: dict[str, Decoder] = {name: decoder(one, self.matrix) for name, one in self.mappings.items()}
        self.sinks = {name: Writer(one, self.matrix) for name, one in self.mappings.items()}
        self.homes = homes_of(self.mappings.values())
        self.states: dict[str, RecordState] = {}
        self.changes: list[Change] = []
        self.applies: dict[str, list[Apply]] = {name: [] for name in SIDES}
        self.events: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
        self.accounts: dict[str, dict[int, str]] = {name: {} for name in SIDES}
        self.written: dict[str, list[Order]] = {name: [] for name in SIDES}
        self.rows = {name: {} for name in SIDES}
        for system, rows in begin().items():
            for row in rows:
                key = row[SIDES[system].key]
                self.rows[system][key] = {**row, MARKER: None}
                assert not self._told(system, key, "r", row)

    def edit(self, edit: Edit) -> None:
        """Somebody writes, and the loop runs until it is at rest."""
        moment = EPOCH + timedelta(milliseconds=START + self.number * 1_000)
        columns = {**edit.columns, "updated_by": edit.actor, "override_reason": edit.reason, "updated_at": moment}
        self._settle(self._write(edit.system, edit.key, columns, PEOPLE))

    def insert(self, system: str, row: Mapping[str, Any]) -> None:
        """A row is made."""
        key = row[SIDES[system].key]
        self.rows[system][key] = {**row, MARKER: None}
        self._note(system, PEOPLE)
        self._settle(self._told(system, key, "c", row))

    def write_again(self, order: Order) -> None:
        """A sink that crashed writes again what it had not noted as written."""
        self._settle(self._write(*order, SINK_USER))

    def seen(self) -> Seen:
        """As an outsider sees it."""
        return Seen(
            matrix=self.matrix, mappings=self.mappings, changes=self.changes, states=dict(self.states),
            applies=self.applies, conflicts=[], letters=0, events=self.events, rows=self.rows, accounts=self.accounts,
            before=dict.fromkeys(SIDES, frozenset()),
        )  # fmt: skip

    def _settle(self, sends: list[tuple[Send, str]]) -> None:
        waiting = deque(sends)
        for _ in range(MOST):
            if not waiting:
                return
            waiting.extend(self._land(*waiting.popleft()))
        raise AssertionError(f"the loop does not come to rest: {waiting}")

    def _land(self, send: Send, change_id: str) -> list[tuple[Send, str]]:
        """A sink writes what it was sent, and nothing else."""
        side, sink = SIDES[send.system], self.sinks[send.system]
        columns = {name: value for one in send.values.items() for name, value in sink.columns(*one).items()}
        self.applies[send.system].append(_apply(send, change_id, {**sink.key(send.key), **columns, MARKER: change_id}))
        columns = {name: unwired(name, value) for name, value in columns.items()}
        order = Order(send.system, sink.key(send.key)[side.key], {**columns, MARKER: change_id})
        self.written[send.system].append(order)
        return self._write(*order, SINK_USER)

    def _write(self, system: str, key: Any, columns: Mapping[str, Any], who: str) -> list[tuple[Send, str]]:
        row = self.rows[system][key]
        if columns.get(MARKER, row[MARKER]) == row[MARKER]:
            columns = {**columns, MARKER: None}  # as the tables' own trigger does
        moved = {name: value for name, value in columns.items() if row[name] != value}
        row.update(columns)
        self._note(system, who)
        return self._told(system, key, "u", {name: _logged(value, name in moved) for name, value in row.items()})

    def _note(self, system: str, who: str) -> None:
        self.accounts[system][self.number + 1] = who

    def _told(self, system: str, key: Any, op: str, row: Mapping[str, Any]) -> list[tuple[Send, str]]:
        """A connector tells a row, and it is decided: what is to be sent, each with its change id."""
        self.number += 1
        side, at = SIDES[system], START + self.number * 1_000
        event = envelope(side.table, row)
        place = f'["{self.number}","{self.number}"]'
        live = {"snapshot": "true" if op == "r" else "false", "txId": self.number, "sequence": place, "ts_ms": at}
        event |= {"op": op, "source": {**event["source"], **live}}
        self.events[system].append(event)
        value = msgspec.json.encode(event)
        [change] = self.decoders[system].decode("", msgspec.json.encode({side.key: key}), value, 0).changes
        return list(self._decided(change, at))

    def _decided(self, change: Change, at: int) -> Iterator[tuple[Send, str]]:
        """A change is decided, and then what records tell each other because of it."""
        waiting = deque([change])
        while waiting:
            change = waiting.popleft()
            msgspec.structs.force_setattr(change, "received", at)
            self.changes.append(change)
            settled = settle(self.matrix, self.homes, self.states.get(change.record), change, frozenset())
            state = self.states[change.record] = settled.decision.state
            waiting.extend(settled.changes)
            yield from ((send, self._id(state, send)) for send in settled.decision.sends)

    def _id(self, state: RecordState, send: Send) -> str:
        return next(state.systems[send.system].outstanding[name][-1].change_id for name in send.values)


def unwired(column: str, value: Any) -> Any:
    """The reverse of `wired`, by the columns of both tables."""
    if value is None or not isinstance(value, int):
        return value
    return EPOCH.date() + timedelta(days=value) if column == "birth_date" else EPOCH + value * MICROSECOND


def _logged(value: Any, moved: bool) -> Any:  # one word of two
    """A long text that did not change is not logged."""
    return UNAVAILABLE if not moved and isinstance(value, str) and len(value) >= LONG else value


def _apply(send: Send, change_id: str, after: dict[str, Any]) -> Apply:
    sync = Sync(
        change_id=change_id, record_id="", version=send.version, expected_version=send.expected_version,
        source_system="", source_version="", changed_fields=(), actor=send.actor, role=send.role, reason=send.reason,
        rule="", matrix_revision="", kind=send.kind,
    )  # fmt: skip
    source = Source(name="ownership", ts_ms=0, db=send.system, schema="", table="")
    return Apply(after=after, source=source, ts_ms=0, sync=sync)
