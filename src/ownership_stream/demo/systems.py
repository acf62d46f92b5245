"""The simulated EHR and CRM: rows of patients, and each row event in the wire shape of the system's connector.

A system is made from its source mapping: which columns a field has and how they are written is read there, so that the
demo speaks whatever the mapping says. It knows rows and bytes; who edits what, and when, is ``plan.py``'s.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ownership_stream.demo.actions import Confirmed
from ownership_stream.demo.people import Ago, Given, Role, Written
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Op, Scalar
from ownership_stream.sources import Mapping as SourceMapping
from ownership_stream.sources.encodings import Encoding, written
from ownership_stream.sources.mapping import Cell, Column, Use


class Event(NamedTuple):
    """One record of a source topic, as the connector would write it."""

    topic: str
    key: bytes | None
    value: bytes | None


class Row:
    """A patient's row in one system: its columns as the source has them, and what its people have seen."""

    __slots__ = ("columns", "version")

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns
        self.version: int | None = None
        """The record version of the last change that was applied here: what a careful writer gives as its base."""


class System(ABC):
    """One system's rows, by the system's own key. Times are milliseconds."""

    def __init__(self, mapping: SourceMapping, matrix: Matrix) -> None:
        self.name = mapping.system
        self.mapping = mapping
        self.table = mapping.primary
        self.topic = mapping.topics[0]
        self.rows: dict[str, Row] = {}
        self._matrix = matrix
        self._applied: set[str] = set()
        self._columns: dict[tuple[str, Use], list[Column]] = {}
        for column in self.table.columns:
            self._columns.setdefault((column.field, column.use), []).append(column)
        self._moves = 0

    # ------------------------------------------------------------------------------------------- what people do

    def create(self, key: str, given: Given, writer: Role, at: int, *, link: str = "", op: Op = "c") -> Event:
        """A new row; ``op="r"`` for one that a snapshot reads."""
        columns: dict[str, Any] = dict.fromkeys(sorted(self.table.known()))
        columns |= self._key_columns(key)
        rule = self.table.record
        if rule.link is not None and link:
            columns[rule.link.name] = link
        self.rows[key] = Row(columns)
        changed = self._write(given, "input", at) | self._write(given, "compared", at)
        changed |= self._written_by(writer, at)
        columns |= changed
        return self._event(key, op, changed, writer, at)

    def edit(
        self,
        key: str,
        given: Given,
        writer: Role,
        at: int,
        *,
        reason: str | None = None,
        base: int | None = None,
        confirmed: Mapping[str, Confirmed] | None = None,
        use: Use = "input",
    ) -> Event:
        """A save of the row by a writer, with the fields that it changes (none: saved as it was)."""
        columns = self.rows[key].columns
        changed = self._write(given, use, at)
        changed |= self._beside(reason, base, confirmed or {}, at) | self._written_by(writer, at)
        changed = {name: value for name, value in changed.items() if value != columns.get(name)}
        columns |= changed
        return self._event(key, "u", changed, writer, at)

    def snapshot(self, key: str, at: int) -> Event:
        """The row as a new snapshot of the connector reads it."""
        return self._event(key, "r", self.rows[key].columns, NO_WRITER, at)

    def delete(self, key: str, writer: Role, at: int) -> list[Event]:
        """The end of the row, with the tombstone where the connector writes one."""
        event = self._event(key, "d", {}, writer, at)
        del self.rows[key]
        return [event, *self._tombstone(key)]

    # ------------------------------------------------------------------------------------------- what our writer does

    def apply(self, key: str, after: Mapping[str, Any], change_id: str, version: int, at: int) -> Event | None:
        """An approved change lands, as through a stock sink: every column of ``after``, and nothing is checked.

        ``None`` where it has landed before (by its change id) or the row is gone: an erased patient stays erased.
        """
        row = self.rows.get(key)
        if row is None or change_id in self._applied:
            return None
        self._applied.add(change_id)
        keys = {cell.name for cell in self.table.key}
        changed = {name: value for name, value in after.items() if name not in keys}
        if self.table.marker is not None:
            changed[self.table.marker.name] = change_id
        row.columns |= changed
        row.version = version
        return self._event(key, "u", changed, OUR_WRITER, at)

    # ------------------------------------------------------------------------------------------- columns

    def key_of(self, columns: Mapping[str, Any]) -> str:
        """The system's own key in the key columns of an apply record."""
        return ",".join(str(columns[cell.name]) for cell in self.table.key)

    def _key_columns(self, key: str) -> dict[str, Any]:
        return {cell.name: written(cell.encoding, "text", key) for cell in self.table.key}

    def _write(self, given: Given, use: Use, at: int) -> dict[str, Any]:
        """Columns of the fields; of a field of parts those parts that are given, all of them where it is cleared."""
        changed: dict[str, Any] = {}
        for name, value in given.items():
            for column in self._columns.get((name, use), []):
                if isinstance(value, Mapping) and column.part not in value:
                    continue
                type_ = self._matrix.fields[name].parts.get(column.part) or self._matrix.fields[name].type
                changed[column.name] = written(column.encoding, type_, _plain(value, column.part, at))
        return changed

    def _beside(
        self, reason: str | None, base: int | None, confirmed: Mapping[str, Confirmed], at: int
    ) -> dict[str, Any]:
        """What comes with an edit and is no field."""
        table = self.table
        changed: dict[str, Any] = {}
        if table.reason is not None:
            changed[table.reason.name] = reason
        if table.base is not None:
            changed[table.base.name] = base
        for rule in table.evidence:
            vouched = confirmed.get(rule.field)
            if vouched is not None:
                changed[rule.at.name] = _moment(rule.at, at - 1000 * vouched.ago)
                if rule.by is not None:
                    changed[rule.by.name] = vouched.by
        return changed

    def _written_by(self, writer: Role, at: int) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if self.table.actor is not None:
            changed[self.table.actor.name] = self.actor(writer)
        if self.table.updated_at is not None:
            changed[self.table.updated_at.name] = _moment(self.table.updated_at, at)
        return changed

    def actor(self, writer: Role) -> str:
        """Somebody of that role, by the ids that the mapping gives it; an id that the mapping lacks for the rest."""
        who = (writer.role, writer.origin)
        known = {**self.mapping.actors.beginnings, **self.mapping.actors.ids}
        beginning = next((beginning for beginning, found in known.items() if found == who), None)
        return (
            "unlisted/1"
            if beginning is None
            else f"{beginning}01"
            if beginning not in self.mapping.actors.ids
            else beginning
        )

    # ------------------------------------------------------------------------------------------- the wire

    @abstractmethod
    def _event(self, key: str, op: Op, changed: Mapping[str, Any], writer: Role, at: int) -> Event:
        """The row event."""

    def _tombstone(self, key: str) -> Iterable[Event]:
        del key
        return ()

    def _position(self) -> int:
        """The next position in the system's log."""
        self._moves += 1
        return self._moves


NO_WRITER: Final = Role(None, "automation", "a snapshot")
OUR_WRITER: Final = Role(None, "automation", "ownership-stream")
PLACEHOLDER_EVERY: Final = 4


class Ehr(System):
    """PostgreSQL behind Debezium: whole rows in the envelope, `replica identity full`, tombstones after deletes."""

    FIRST_LSN: Final = 24_023_128

    def __init__(self, mapping: SourceMapping, matrix: Matrix) -> None:
        super().__init__(mapping, matrix)
        self._schema, _, self._table = self.table.name.rpartition(".")

    def _event(self, key: str, op: Op, changed: Mapping[str, Any], writer: Role, at: int) -> Event:
        del writer
        columns = self.rows[key].columns
        moves = self._position()
        row = self._toasted(columns, changed, moves) if op == "u" else columns
        value = {
            "before": columns if op == "d" else None,
            "after": None if op == "d" else row,
            "source": self._source(op, moves, at),
            "transaction": None,
            "op": op,
            "ts_ms": at + 40,
            "ts_us": (at + 40) * 1000,
            "ts_ns": (at + 40) * 1_000_000,
        }
        return Event(self.topic, _json(self._key_columns(key)), _json(value))

    def _source(self, op: Op, moves: int, at: int) -> dict[str, Any]:
        lsn = self.FIRST_LSN + 56 * moves
        return {
            "version": "3.3.1.Final",
            "connector": "postgresql",
            "name": self.topic.partition(".")[0],
            "ts_ms": at,
            "snapshot": "true" if op == "r" else "false",
            "db": self.name,
            "sequence": json.dumps([str(lsn - 8), str(lsn)]),
            "ts_us": at * 1000,
            "ts_ns": at * 1_000_000,
            "schema": self._schema,
            "table": self._table,
            "txId": 500 + moves,
            "lsn": lsn,
            "xmin": None,
            "origin": None,
            "origin_lsn": None,
        }

    def _toasted(self, columns: Mapping[str, Any], changed: Mapping[str, Any], moves: int) -> Mapping[str, Any]:
        """Now and then a long column that did not change is not in the log: Debezium writes a placeholder for it."""
        if moves % PLACEHOLDER_EVERY:
            return columns
        long = [column.name for column in self._columns.get(("conditions", "input"), []) if column.part == "diagnoses"]
        return {**columns, **{name: self.mapping.unavailable for name in long if name not in changed}}

    def _tombstone(self, key: str) -> Iterable[Event]:
        return (Event(self.topic, _json(self._key_columns(key)), None),)


class Crm(System):
    """Salesforce Change Data Capture: only what changed, named in the header, and who committed it."""

    FIRST_COMMIT: Final = 10_832_042_834_831
    KINDS: Final[Mapping[Op, str]] = {"c": "CREATE", "u": "UPDATE", "d": "DELETE", "r": "SNAPSHOT"}

    def _event(self, key: str, op: Op, changed: Mapping[str, Any], writer: Role, at: int) -> Event:
        moves = self._position()
        entity = self.table.name
        origin = "com/salesforce/api/rest/64.0"
        client = f";client={self.mapping.own_client}" if writer is OUR_WRITER else ""
        key_names = {cell.name for cell in self.table.key}
        body = {name: value for name, value in changed.items() if name not in key_names}
        header = {
            "entityName": entity,
            "recordIds": [key],
            "changeType": self.KINDS[op],
            "changedFields": sorted(body) if op == "u" else [],
            "nulledFields": [],
            "diffFields": [],
            "changeOrigin": origin + client,
            "transactionKey": f"000162ba-13b5-6862-79f9-{moves:012x}",
            "sequenceNumber": 1,
            "commitTimestamp": at,
            "commitUser": self.actor(writer),
            "commitNumber": self.FIRST_COMMIT + moves,
        }
        # A connector adds the columns of the entity that did not change, as null.
        rest = dict.fromkeys((column.name for column in self.table.columns), None) if op == "u" else {}
        value = {"Id": key, "ReplayId": str(1_305_000 + moves), "ChangeEventHeader": header, **rest, **body}
        value |= {"LastModifiedDate": at, "_ObjectType": f"{entity}ChangeEvent", "_EventType": "R1-FSrKj5SMSfaXy7QNdEw"}
        return Event(self.topic, key.encode(), _json(value))


KINDS: Final[Mapping[str, type[System]]] = {"debezium postgresql": Ehr, "salesforce": Crm}


def simulated(mappings: Iterable[SourceMapping], matrix: Matrix) -> dict[str, System]:
    """A system behind each source mapping, by its name in the matrix."""
    return {mapping.system: KINDS[mapping.connector](mapping, matrix) for mapping in mappings}


def _plain(value: Written, part: str, at: int) -> Scalar:
    found = value.get(part) if isinstance(value, Mapping) else value
    return _iso(at - 1000 * found.seconds) if isinstance(found, Ago) else found


def _moment(cell: Cell, at: int) -> Any:
    encoding = cell.encoding if cell.encoding.word else Encoding("iso")
    return written(encoding, "instant", _iso(at))


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
