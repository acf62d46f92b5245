"""Rows that the transform ``ExtractNewRecordState`` has flattened, as changes.

Such a record is the row itself, and beside its columns what ``add.fields`` copied out of the envelope: ``__op``,
``__source_lsn`` and so on, ``__deleted`` where deletes are rewritten. What was not copied is not known: without the
operation a snapshot cannot be told from a write, and without a position a repeat not from a change. Both are refused
with the setting to change, unless the mapping orders rows by the records' time. Format: Debezium's documentation, "New
Record State Extraction"; docs/sources/debezium.md.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Op
from ownership_stream.sources.databases import Database, Source
from ownership_stream.sources.debezium import row_text
from ownership_stream.sources.events import NO_ROW, OPS, Events, add_fields, kind_of, row_topics
from ownership_stream.sources.guard import Headers, decoded, named, refuse_duplicates, traced
from ownership_stream.sources.mapping import Mapping
from ownership_stream.sources.result import IGNORE, Decoded, Undecodable
from ownership_stream.sources.rows import RowPlan, Values, plan_of

DELETED: Final = "__deleted"
"""The one name that no prefix changes."""
_OF_ENVELOPE: Final = ("op", "ts_ms", "ts_us", "ts_ns")
_OF_TRANSACTION: Final = ("id", "total_order", "data_collection_order")
_TRUE: Final = frozenset({"true", True})
_ENVELOPE: Final = frozenset({"before", "after", "source", "op"})


class _Added(dict[str, tuple[str, ...]]):
    """What was copied out of the envelope -> the names it can have in a flattened row."""

    def __init__(self, prefix: str, database: Database) -> None:
        source = {"ts_ms", "snapshot", *(name.removeprefix("source.") for name in database.added), *database.others}
        if database.writer:
            source.add(database.writer)
        found: dict[str, tuple[str, ...]] = {}
        for name in sorted(source):
            # A name without its struct is the envelope's own where that has one.
            plain = () if name in _OF_ENVELOPE else (f"{prefix}{name}",)
            found[name] = (f"{prefix}source_{name}", *plain)
        super().__init__(found)
        self.op = f"{prefix}op"
        self.deleted = dict.fromkeys((DELETED, f"{prefix}deleted"))
        transaction = [f"{prefix}{struct}{name}" for struct in ("", "transaction_") for name in _OF_TRANSACTION]
        others = [f"{prefix}{name}" for name in _OF_ENVELOPE]
        copied = [name for names in self.values() for name in names]
        self.names = tuple(dict.fromkeys((*self.deleted, *others, *transaction, *copied)))


class _Plan:
    """How one table's flattened rows are read."""

    def __init__(self, rows: RowPlan, added: _Added) -> None:
        self.rows = rows
        index = rows.added
        self._source = tuple((key, index[name]) for key, names in added.items() for name in names if name in index)
        self._op = index.get(added.op)
        self._deleted = tuple(index[name] for name in added.deleted if name in index)

    def source(self, values: Values) -> Source:
        """The source block, as far as the row carries it."""
        found: Source = {}
        for key, index in self._source:
            if values[index] is not UNSET and key not in found:
                found[key] = values[index]
        return found

    def op(self, values: Values) -> Any:
        """The operation; ``None`` where it was not copied. A rewritten delete says by itself what it is."""
        if any(values[index] in _TRUE for index in self._deleted):
            return "d"
        found = None if self._op is None else values[self._op]
        return None if found is UNSET else found


class FlattenedDecoder:
    """Decodes the topics of one source whose rows are flattened; may be shared by threads."""

    def __init__(self, mapping: Mapping, matrix: Matrix, epoch: int) -> None:
        self._mapping, self._row_topics, self._prefix = mapping, row_topics(mapping), mapping.added_prefix
        self._events = Events(mapping, epoch)
        self._added = _Added(self._prefix, self._events.database)
        self._plans = {
            name: _Plan(RowPlan(table, mapping, matrix, self._added.names), self._added)
            for name, table in mapping.tables.items()
        }
        self._by_topic = {topic: name for topic in mapping.topics if (name := self._table_of(topic))}
        self._what = f"source `{mapping.source}`"

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``."""
        text = row_text(topic, value, self._mapping, self._row_topics, self._what)
        if isinstance(text, Decoded):
            return text
        name = self._by_topic.get(topic) or self._named(text)
        plan = plan_of(self._plans, name, self._mapping, self._what)
        if plan is None:
            return IGNORE["table"]
        values = self._values(text, plan.rows)
        return self._row(plan, values, key, timestamp_ms, headers)

    def _row(self, plan: _Plan, values: Values, key: bytes | None, timestamp_ms: int, headers: Headers) -> Decoded:
        rows = plan.rows
        said = plan.op(values)
        if said in NO_ROW:
            return NO_ROW[said]
        source = plan.source(values)
        self._check(source, rows)
        kind = self._op(said, rows)
        if key is None:
            advice = "give the table a primary key, or set `message.key.columns`"
            raise Undecodable("missing_key", f"{rows.what}: the record has no key: {advice}")
        op = kind_of(kind, headers, rows, values)
        if op is None:
            return IGNORE["moved"]
        if op == "r":
            source.setdefault("snapshot", True)
        held = values[: rows.first_ignored]
        envelope = self._events.envelope(op, source, rows, timestamp_ms, traced(headers), held)
        return Decoded((rows.change(values, envelope, moved=op != kind),))

    def _values(self, text: bytes, rows: RowPlan) -> Values:
        """The columns of the row, then what was added to it; raises ``Undecodable``."""
        try:
            values = astuple(decoded(rows.decode, text, rows.what))
        except Undecodable as error:
            if error.reason in {"unknown_column", "wrong_type"}:
                raise self._no_row(text) or error from None
            raise
        ignored = [raw for raw in values[rows.first_ignored : rows.first_added] if raw is not UNSET]
        refuse_duplicates(text, len(values) - values.count(UNSET), rows.what, b"".join(ignored))
        return values

    def _no_row(self, text: bytes) -> Undecodable | None:
        """That the row is not flattened at all, if so."""
        anything = decoded(msgspec.json.decode, text, self._what)
        if not isinstance(anything, dict):
            return Undecodable("not_an_envelope", f"{self._what}: no flattened row, and no object at all")
        if not anything.keys() >= _ENVELOPE:
            return None
        return Undecodable("unsupported", f"{self._what}: an envelope: take `form: flattened` out of the mapping")

    def _op(self, said: Any, rows: RowPlan) -> Op:
        if said is None:
            needs = f"set `add.fields` to `{add_fields(self._mapping)}`"
            message = f"{rows.what}: without `{self._added.op}` a snapshot cannot be told from a write: {needs}"
            raise Undecodable("unsupported", message)
        if not isinstance(said, str) or said not in OPS:
            raise Undecodable("not_an_envelope", f"{rows.what}: `{self._added.op}` is none of Debezium's operations")
        return OPS[said]

    def _check(self, source: Source, rows: RowPlan) -> None:
        """Raise ``Undecodable`` if what the row says of its connector or its table is not what the mapping says."""
        database = self._events.database
        if source.get("connector") not in {None, database.word}:
            said = f"a row that is not of Debezium's `{database.word}` connector"
            raise Undecodable("unsupported", f"{self._what}: {said}")
        outer, _, own = rows.table.name.partition(".")
        if source.get("table") not in {None, own} or source.get(database.outer) not in {None, outer}:
            found = f"{source.get(database.outer) or outer}.{source.get('table') or own}"
            raise Undecodable("unknown_table", f"{self._what}: a row of another table than its topic's: {named(found)}")

    # ------------------------------------------------------------------------------------------------ whose rows

    def _table_of(self, topic: str) -> str:
        """The table whose rows a topic holds, if its name says so: Debezium ends it with the table's."""
        names = [*self._mapping.tables, *self._mapping.ignored_tables]
        found = [name for name in names if topic == name or topic.endswith(f".{name}")]
        if not found and len(self._mapping.tables) == 1 and not self._mapping.ignored_tables:
            return next(iter(self._mapping.tables))
        return max(found, key=len, default="")

    def _named(self, text: bytes) -> str:
        """The table as the row itself names it, where its topic's name does not; raises ``Undecodable``."""
        anything = decoded(msgspec.json.decode, text, self._what)
        row = anything if isinstance(anything, dict) else {}
        said = {}
        for key in ("table", self._events.database.outer):
            names = self._added[key]
            said[key] = next((row[name] for name in names if isinstance(row.get(name), str)), "")
        outer = said[self._events.database.outer]
        known = [*self._plans, *self._mapping.ignored_tables]
        if outer and said["table"]:
            return f"{outer}.{said['table']}"
        fitting = [name for name in known if said["table"] and name.partition(".")[2] == said["table"]]
        if len(fitting) == 1:
            return fitting[0]
        advice = f"add `source.{self._events.database.outer}` and `table` to `add.fields`"
        raise Undecodable("unknown_table", f"{self._what}: neither topic nor row says whose row it is: {advice}")
