"""All that outsiders can see of a closed loop at rest, as plain data, so that its judge can be judged too."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import msgspec

from closed_loop.site import EPOCH, SIDES, ClosedLoop
from ownership_stream.assembly import documents, homes_of
from ownership_stream.links import Homes
from ownership_stream.looking import look
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, RecordState
from ownership_stream.sources import Decoder, decoder
from ownership_stream.sources import Mapping as SourceMapping
from ownership_stream.wire import Apply, Conflict

Row = Mapping[str, Any]
MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One loop; all but the log and what follows from it is by system.

    `changes` are the log, in the order of each record. `states` are what the lanes hold. `events` are what connectors
    told, `rows` the tables by key, `accounts` who wrote in which transaction; of those in `before` no connector told.
    """

    matrix: Matrix
    mappings: Mapping[str, SourceMapping]
    changes: Sequence[Change]
    states: Mapping[str, RecordState]
    applies: Mapping[str, Sequence[Apply]]
    conflicts: Sequence[Conflict]
    letters: int
    events: Mapping[str, Sequence[dict[str, Any]]]
    rows: Mapping[str, Mapping[Any, Row]]
    accounts: Mapping[str, Mapping[int, str]]
    before: Mapping[str, AbstractSet[int]]

    @cached_property
    def decoders(self) -> dict[str, Decoder]:
        """As the intake lanes read."""
        return {system: decoder(mapping, self.matrix) for system, mapping in self.mappings.items()}

    @cached_property
    def writers(self) -> dict[tuple[str, str], str]:
        """The account behind each place in a system's log: the connector says the transaction, the database whose."""
        found: dict[tuple[str, str], str] = {}
        for system, events in self.events.items():
            for event in events:
                source = event["source"]
                first, second = msgspec.json.decode(source["sequence"])
                if event["op"] != "r":
                    found[system, f"0:{first or second}:{second}"] = self.accounts[system][source["txId"]]
        return found

    @cached_property
    def homes(self) -> Homes:
        """The homes of both systems' native keys."""
        return homes_of(self.mappings.values())

    def shown(self, system: str) -> Iterator[tuple[Change, dict[str, Any]]]:
        """What the tables themselves show, in canonical values: each row as a change, and field -> value."""
        side = SIDES[system]
        topic = f"{system}.{side.table}"
        for key, row in self.rows[system].items():
            event = msgspec.json.encode(envelope(side.table, row))
            [change] = self.decoders[system].decode(topic, msgspec.json.encode({side.key: key}), event, 0).changes
            yield change, {**change.fields, **change.compared}


def see(loop: ClosedLoop) -> Seen:
    """A loop as it stands; to be called when nothing moves."""
    site, wire = loop.site, loop.form.wire
    matrix, mappings = documents(site.settings)
    changes = []
    for message in site.records(site.settings.topic_changes):
        changes.append(wire.read_change(message.value() or b""))
        msgspec.structs.force_setattr(changes[-1], "received", message.timestamp()[1])
    with look(site.settings) as looker:
        states = {one.record: one.state for one in looker.states()}
    return Seen(
        matrix=matrix,
        mappings={mapping.system: mapping for mapping in mappings},
        changes=changes,
        states=states,
        applies={name: [loop.form.apply(one.value() or b"") for one in loop.sends(name)] for name in SIDES},
        conflicts=[wire.read_conflict(one.value() or b"") for one in site.records(site.settings.topic_conflicts)],
        letters=len(site.records(site.settings.topic_dead_letters)),
        events={system: list(loop.events(system)) for system in SIDES},
        rows={system: loop.rows(system) for system in SIDES},
        accounts={system: loop.accounts(system) for system in SIDES},
        before=loop.before,
    )


def envelope(table: str, row: Row) -> dict[str, Any]:
    """A row of a table as a snapshot would tell it."""
    schema, _, name = table.partition(".")
    source = {"connector": "postgresql", "schema": schema, "table": name, "snapshot": "true", "ts_ms": 0}
    columns = {column: wired(value) for column, value in row.items()}
    return {"op": "r", "before": None, "after": columns, "source": {**source, "lsn": 1, "sequence": None}}


def wired(value: Any) -> Any:
    """A column's value as Debezium writes it, with `time.precision.mode` left alone."""
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    if isinstance(value, date):
        return (value - EPOCH.date()).days
    return value
