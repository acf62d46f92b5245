"""A sample of a source's real records beside its mapping: what each column would mean, and what would go wrong.

Every record is decoded as the stream would decode it, and opened once more without the mapping (``opened.py``), so that
what the decoder refuses can be seen too; what it refuses for a column that nobody has mapped yet is decoded as if that
column were ignored, so that positions and writers show. What is reported holds no value: columns are told by type and
shape (``shapes.py``), actors and positions by their number. What follows from it is ``advice.py``'s. Pure: who reads
the sample is elsewhere.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, Protocol

import msgspec
from msgspec.structs import replace

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change
from ownership_stream.sources.encodings import Encoding
from ownership_stream.sources.guard import Headers, named
from ownership_stream.sources.mapping import Mapping as SourceMapping
from ownership_stream.sources.mapping import Table
from ownership_stream.sources.opened import NO_ROW, Form, Opened, SampleRecord, opened
from ownership_stream.sources.result import Decoded, Undecodable
from ownership_stream.sources.shapes import Seen

Use = Literal["mapped", "compared", "requested", "about", "ignored", "unknown"]
USES: Final[dict[Use, str]] = {
    "mapped": "holds a field",
    "compared": "shows a field, and is only compared",
    "requested": "asks to change a field",
    "about": "says something about the row",
    "ignored": "means nothing, as the mapping says",
    "unknown": "neither read nor ignored: its rows are dead letters",
}
_USE_OF: Final[dict[str, Use]] = {"input": "mapped", "compared": "compared", "request": "requested"}


class Decoder(Protocol):
    """What is asked of a decoder: see ``sources.Decoder``."""

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """The changes of one record; raises ``Undecodable`` and nothing else."""
        ...


Make = Callable[[SourceMapping], Decoder]
"""How a mapping gets its decoder."""
AsJson = Callable[[SampleRecord], bytes | None]
"""The JSON that a record's value stands for, where a registry says so; else the value as it is."""


class Refusal(msgspec.Struct, frozen=True):
    """Records that would be dead letters, all with one message."""

    reason: str
    message: str
    records: int


class Column(msgspec.Struct, frozen=True):
    """One column: what the mapping says of it, and what it looked like."""

    name: str
    use: Use
    means: str
    """As the mapping writes it: ``legal_name.family``, ``date_of_birth as epoch days``, ``actor``."""
    type: str
    shape: str
    carried: int
    nulls: int
    unavailable: int
    """How often it held the placeholder of an unchanged TOAST column."""


class Positions(msgspec.Struct, frozen=True):
    """Where the changes stand in the source's order."""

    changes: int
    positioned: int
    distinct: int
    rows: int
    backwards: int
    """Changes, but for snapshot reads, that stand before an earlier one of their row."""
    tied: int
    """Changes that stand where another change of their row stands."""


class Actors(msgspec.Struct, frozen=True):
    """Who wrote, by number."""

    distinct: int
    known: int
    """Of these, those that the mapping knows as a person or by a role."""
    missing: int
    """Changes that name no writer."""


class TableSample(msgspec.Struct, frozen=True):
    """One table's records in the sample."""

    name: str
    mapped: bool
    records: int
    ops: dict[str, int]
    snapshots: dict[str, int]
    columns: tuple[Column, ...]
    positions: Positions
    actors: Actors


class Sample(msgspec.Struct, frozen=True):
    """All that a sample showed."""

    source: str
    connector: str
    records: int
    forms: dict[Form, int]
    with_schema: int
    changes: int
    ignored: dict[str, int]
    refused: tuple[Refusal, ...]
    tables: tuple[TableSample, ...]


class Watched:
    """One table while its records come; ``advice.py`` reads what was counted."""

    def __init__(self, name: str, table: Table | None, placeholder: str) -> None:
        self.name, self.table = name, table
        self.forms, self.ops, self.snapshots = Counter[Form](), Counter[str](), Counter[str]()
        self.columns: dict[str, Seen] = defaultdict(lambda: Seen(placeholder))
        self.rows = set[bytes | int]()
        """The keys of its records; where a record has none, it counts as a row of its own."""
        self.records: list[Opened] = []
        """Without their rows: what the records say beside them."""
        self.keyless = 0
        self.bare_deletes = 0
        """Deletes whose row before shows no more than its key."""
        self.bare_updates = 0
        """Updates without the row before."""

    def add(self, record: SampleRecord, found: Opened) -> None:
        """Count one record."""
        self.forms[found.form] += 1
        self.ops[found.op] += 1
        if found.snapshot:
            self.snapshots[found.snapshot] += 1
        self.rows.add(len(self.records) if record.key is None else record.key)
        self.keyless += record.keyed and record.key is None and found.op not in NO_ROW
        if found.form == "envelope":
            self._before(found)
        if not (found.op == "d" and self._is_bare(found.row)):
            for name, value in found.row.items():
                self.columns[name].add(value, found.types.get(name))
        self.records.append(found._replace(row={}, before=None, types={}))

    def _before(self, found: Opened) -> None:
        self.bare_updates += found.op == "u" and found.before is None
        self.bare_deletes += found.op == "d" and self._is_bare(found.row)

    def _is_bare(self, row: Mapping[str, object]) -> bool:
        keys = {cell.name for cell in (*self.table.key, *self.table.of)} if self.table else set()
        return not any(value for name, value in row.items() if name not in keys)

    def unknown(self) -> list[str]:
        """The columns that the mapping neither reads nor ignores."""
        table = self.table
        if table is None:
            return []
        return [name for name in self.columns if name not in table.known() and not table.ignores(name)]

    def read(self) -> frozenset[str]:
        """The columns that the mapping reads."""
        return self.table.known() if self.table else frozenset()


class Examination:
    """A sample while it is examined: ``add`` each record, then ``report``."""

    def __init__(self, mapping: SourceMapping, matrix: Matrix, make: Make, as_json: AsJson | None = None) -> None:
        self._as_json = as_json
        self.mapping, self.matrix = mapping, matrix
        self.tables: dict[str, Watched] = {}
        self.forms = Counter[Form]()
        self.with_schema = self.records = self.changes = 0
        self._make, self._decoder = make, make(mapping)
        self._lenient: tuple[frozenset[tuple[str, str]], Decoder] = (frozenset(), self._decoder)
        self._ignored, self.refused = Counter[str](), Counter[tuple[str, str]]()
        self._changes: dict[str, list[Change]] = defaultdict(list)

    def add(self, record: SampleRecord) -> None:
        """Look at one record, in the order in which they stand on the topic."""
        found = opened(record if self._as_json is None else record._replace(value=self._as_json(record)), self.mapping)
        self.records += 1
        self.forms[found.form] += 1
        self.with_schema += found.schema
        if found.table:
            self._watched(found.table).add(record, found)
        try:
            decoded = _decoded(self._decoder, record)
        except Undecodable as error:
            self.refused[error.reason, error.message] += 1
            self._seen(self._leniently(record).changes if error.reason == "unknown_column" else ())
            return
        if decoded.ignored:
            self._ignored[decoded.ignored] += 1
        self.changes += len(decoded.changes)
        self._seen(decoded.changes)

    def crowded(self, table: str) -> int:
        """Of how many records the table has several rows."""
        rows: dict[str, set[str]] = defaultdict(set)
        for change in self._changes[table]:
            rows[change.record].add(change.row)
        return sum(len(found) > 1 for found in rows.values())

    def _seen(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._changes[change.row.split("/")[1]].append(change)

    def _leniently(self, record: SampleRecord) -> Decoded:
        """A record as if the columns that nobody has mapped yet were ignored; no changes if it is refused even so."""
        seen = ((name, column) for name, one in self.tables.items() for column in one.unknown())
        # Only what a mapping could name: anything else stays refused.
        unknown = frozenset((name, column) for name, column in seen if plain(column) == column)
        if unknown != self._lenient[0]:
            more = {name: frozenset(column for of, column in unknown if of == name) for name in self.mapping.tables}
            tables = {
                name: replace(table, ignored=table.ignored | more[name]) for name, table in self.mapping.tables.items()
            }
            self._lenient = unknown, self._make(replace(self.mapping, tables=tables))
        try:
            return _decoded(self._lenient[1], record)
        except Undecodable:
            return Decoded()

    def _watched(self, name: str) -> Watched:
        if name not in self.tables:
            self.tables[name] = Watched(name, self.mapping.tables.get(name), self.mapping.unavailable)
        return self.tables[name]

    def report(self) -> Sample:
        """What the records showed."""
        for name in self.mapping.tables:
            self._watched(name)
        return Sample(
            source=self.mapping.source,
            connector=self.mapping.connector,
            records=self.records,
            forms=dict(self.forms.most_common()),
            with_schema=self.with_schema,
            changes=self.changes,
            ignored=dict(self._ignored.most_common()),
            refused=tuple(Refusal(*what, times) for what, times in self.refused.most_common()),
            tables=tuple(self._table(watched) for watched in self.tables.values()),
        )

    def _table(self, watched: Watched) -> TableSample:
        changes = self._changes[watched.name]
        return TableSample(
            name=plain(watched.name),
            mapped=watched.table is not None,
            records=len(watched.records),
            ops={plain(op): number for op, number in watched.ops.most_common()},
            snapshots={plain(flag): number for flag, number in watched.snapshots.most_common()},
            columns=tuple(_columns(watched)),
            positions=_positions(changes),
            actors=_actors(changes),
        )


def examine(
    records: Iterable[SampleRecord], mapping: SourceMapping, matrix: Matrix, make: Make, as_json: AsJson | None = None
) -> Examination:
    """All records of a sample, examined."""
    found = Examination(mapping, matrix, make, as_json)
    for record in records:
        found.add(record)
    return found


def plain(name: str) -> str:
    """A name out of the data as it may be shown: what is no plain word could be anything."""
    return named(name).strip("`")


def _decoded(decoder: Decoder, record: SampleRecord) -> Decoded:
    key = record.key if record.keyed else b"{}"
    return decoder.decode(record.topic, key, record.value, record.timestamp, record.headers)


def _columns(watched: Watched) -> Iterable[Column]:
    """The mapped ones in the mapping's order, then those about the row, the ignored and the unknown ones."""
    table = watched.table
    said: dict[str, tuple[Use, list[str]]] = {}
    if table is not None:
        for column in table.columns:
            said[column.name] = _USE_OF[column.use], [_written(column.target, column.encoding)]
        for name, what in about(table):
            said.setdefault(name, ("about", []))[1].append(what)
    rest = sorted(set(watched.columns) - said.keys())
    ignored = [name for name in rest if table is not None and table.ignores(name)]
    said |= {name: ("ignored", []) for name in ignored}
    said |= {name: ("unknown", []) for name in rest if name not in ignored}
    for name, (use, means) in said.items():
        seen = watched.columns.get(name) or Seen("")
        yield Column(
            plain(name), use, ", ".join(means), seen.type(), seen.shape(), seen.carried, seen.nulls, seen.unavailable
        )


def about(table: Table) -> Iterable[tuple[str, str]]:
    """(column, what it is read for), for all that are read for something beside a field."""
    for cell in table.key:
        yield cell.name, _written("key", cell.encoding)
    for cell in table.of if not table.primary else ():
        yield cell.name, _written("primary row's key", cell.encoding)
    single = {
        "record": table.record.link, "actor": table.actor, "role": table.role, "updated at": table.updated_at,
        "reason": table.reason, "base version": table.base, "marker": table.marker,
    }  # fmt: skip
    yield from ((cell.name, _written(what, cell.encoding)) for what, cell in single.items() if cell is not None)
    if table.speaks is not None:
        yield from ((cell.name, _written("latest by", cell.encoding)) for cell in table.speaks.latest)
        yield from ((condition.name, "where") for condition in table.speaks.where)
    for rule in table.evidence:
        for found in (rule.by, rule.at):
            if found is not None:
                yield found.name, _written(f"evidence of {rule.field}", found.encoding)


def _written(what: str, encoding: Encoding) -> str:
    return f"{what} as {encoding}" if str(encoding) else what


def _positions(changes: Iterable[Change]) -> Positions:
    number = positioned = backwards = tied = 0
    rows: dict[str, tuple[int, ...]] = {}
    taken = dict[tuple[str, tuple[int, ...]], str]()
    distinct, names = set[tuple[int, ...]](), set[str]()
    for change in changes:
        number += 1
        names.add(change.row)
        where = change.position
        if where is None:
            continue
        positioned += 1
        distinct.add(where)
        backwards += change.op != "r" and where < rows.get(change.row, where)
        tied += change.op != "r" and taken.setdefault((change.row, where), change.id) != change.id
        rows[change.row] = max(where, rows.get(change.row, where))
    return Positions(number, positioned, len(distinct), len(names), backwards, tied)


def _actors(changes: Iterable[Change]) -> Actors:
    found = {change.actor: change for change in changes if change.actor is not None}
    known = [change for change in found.values() if change.origin == "person" or change.role is not None]
    missing = sum(change.actor is None and change.op != "d" for change in changes)
    return Actors(len(found), len(known), missing)
