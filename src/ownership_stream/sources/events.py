"""What an event of Debezium says beside its row: its kind, time and place, whether it is a snapshot's, who wrote it.

The same for an envelope and for a flattened row: both bring the source block as a dictionary. Which records are no row
events at all is here too. Knows no JSON.
"""

from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Raw

from ownership_stream.model import Op
from ownership_stream.sources.databases import DATABASES, LIVE, SNAPSHOT, Placed, Source
from ownership_stream.sources.guard import Headers
from ownership_stream.sources.mapping import Mapping
from ownership_stream.sources.result import IGNORE, Decoded, Undecodable
from ownership_stream.sources.rows import Envelope, RowPlan, Values

Row = dict[str, Any]
"""A row that came decoded: column -> value."""

OPS: Final[dict[str, Op]] = {"c": "c", "u": "u", "d": "d", "r": "r"}
NO_ROW: Final = {"t": IGNORE["truncate"], "m": IGNORE["message"]}
HEARTBEAT: Final = "__debezium-heartbeat."
TRANSACTION: Final = ".transaction"
MOVED: Final[dict[str, str]] = {"d": "__debezium.newkey", "c": "__debezium.oldkey"}
"""The headers by which the two halves of a changed primary key are known."""
MAX_TIME: Final = 4_133_980_800_000
NOBODY: Final = "UNKNOWN"
"""What Oracle's LogMiner calls a user that it cannot name."""
_TEXT: Final = msgspec.json.Encoder().encode
_FLAGS: Final = SNAPSHOT | LIVE
_FLAG_TYPES: Final = frozenset({str, bool, type(None)})


def aside(topic: str, mapping: Mapping) -> Decoded | None:
    """Why the records of a topic are no row events, as far as its name says so."""
    if topic.startswith(HEARTBEAT):
        return IGNORE["heartbeat"]
    if topic.endswith(TRANSACTION) and topic not in mapping.topics:
        return IGNORE["transaction"]
    return None


def row_topics(mapping: Mapping) -> frozenset[str]:
    """The topics of which ``aside`` need not be asked."""
    return frozenset(topic for topic in mapping.topics if aside(topic, mapping) is None)


def kind_of(op: Op, headers: Headers, plan: RowPlan, values: Values) -> Op | None:
    """The kind of an event, which may be half of a changed primary key: the delete of the old, the create of the new.

    The new one is an update of the record that the row is linked to, so there the old one's end is no event: ``None``.
    """
    mark = MOVED.get(op) if headers else None
    if mark is None or all(name != mark for name, _ in headers):
        return op
    if op == "d":
        return None if plan.is_linked(values) else op
    return "u"


class Events:
    """Reads what one source's events say beside their rows; may be shared by threads."""

    def __init__(self, mapping: Mapping, epoch: int) -> None:
        self._mapping, self._epoch = mapping, epoch
        self.database = DATABASES[mapping.connector]
        self._place = _nowhere if mapping.by_timestamp else self.database.place
        self._tied, self._writer = self.database.tied, self.database.writer
        # A snapshot is of no server's binlog.
        self._servers = mapping.servers | {0} if mapping.servers else None

    def envelope(
        self,
        op: Op,
        source: Source,
        plan: RowPlan,
        timestamp_ms: int,
        trace: dict[str, str],
        row: Raw | Values | Row,
    ) -> Envelope:
        """What the event says; raises ``Undecodable``. ``row`` is the row's own text, or what it holds."""
        at = source.get("ts_ms") or timestamp_ms
        if type(at) is not int or not 0 <= at < MAX_TIME:
            raise Undecodable("wrong_type", f"{plan.what}: `source.ts_ms` is no time in milliseconds")
        flag = source.get("snapshot")
        if flag != "false" and self._is_snapshot(flag, plan) and op == "c":
            op = "r"
        if self._servers is not None:
            self._check_server(source.get("server_id"), plan, self._servers)
        placed = self._place(source, self._epoch)
        tied = self._tied
        if placed is None:
            placed, tied = self._by_time(timestamp_ms, plan), True
        position, version = placed
        occurrence = _print(row) if tied and op != "r" else ""
        if op == "r":
            # Two reads of a snapshot can share a position and yet differ: their time tells them apart.
            occurrence = str(at)
        actor = self._actor(source) if plan.table.event_actor else None
        return Envelope(op, position, at, version, occurrence, actor, trace=trace)

    def _check_server(self, server: object, plan: RowPlan, known: frozenset[int]) -> None:
        if type(server) is int and server in known:
            return
        said = "an event of a server that `servers` does not name, so its binlog counts anew: raise `source_epoch`"
        advice = f"{said}, and name it in the mapping"
        if server is None:
            advice = f"the event does not name its server: set `add.fields` to `{add_fields(self._mapping)}`"
        raise Undecodable("no_position", f"{plan.what}: {advice}")

    def _is_snapshot(self, flag: object, plan: RowPlan) -> bool:
        if type(flag) not in _FLAG_TYPES or flag not in _FLAGS:
            raise Undecodable("not_an_envelope", f"{plan.what}: `source.snapshot` is none of Debezium's words")
        return flag in SNAPSHOT

    def _by_time(self, timestamp_ms: int, plan: RowPlan) -> Placed:
        """The record's own time, if the mapping says that this will do; raises ``Undecodable``."""
        mapping = self._mapping
        if mapping.by_timestamp and 0 <= timestamp_ms < MAX_TIME:
            return (self._epoch, timestamp_ms), f"{self._epoch}:@{timestamp_ms}"
        advice = f": set `add.fields` to `{add_fields(mapping)}`" if mapping.form == "flattened" else ""
        raise Undecodable("no_position", f"{plan.what}: {self.database.unplaced}{advice}")

    def _actor(self, source: Source) -> str | None:
        found = source.get(self._writer)
        return found if isinstance(found, str) and found and found != NOBODY else None


def add_fields(mapping: Mapping) -> str:
    """What a flattened row has to carry, as the setting ``add.fields`` takes it."""
    database = DATABASES[mapping.connector]
    writer = (f"source.{database.writer}",) if any(table.event_actor for table in mapping.tables.values()) else ()
    server = ("source.server_id",) if mapping.servers else ()
    return ",".join(("op", "table", "source.ts_ms", "source.snapshot", *database.added, *server, *writer))


def cautions(mapping: Mapping) -> tuple[str, ...]:
    """What to say at the start of a mapping that is right and yet gives less than it could."""
    if mapping.connector not in DATABASES or not mapping.by_timestamp:
        return ()
    setting = f"set `add.fields` to `{add_fields(mapping)}`"
    advice = f"{setting}, take `without position` out of the mapping, and raise `source_epoch`"
    order = "rows are ordered by their records' times"
    return (f"source `{mapping.source}`: {order}, so a connector's repeat counts as a new change: {advice}",)


def _nowhere(_source: Source, _epoch: int) -> None:
    """No place: where rows are ordered by time, all of them are, since times and positions have no common order."""


def _print(row: Raw | Values | Row) -> str:
    """What tells two changes of one row and one position apart: their content, by its text where that can be."""
    if isinstance(row, dict):
        return f"#{crc32(_TEXT(row)):08x}"
    return f"#{crc32(repr(row).encode() if isinstance(row, tuple) else row):08x}"
