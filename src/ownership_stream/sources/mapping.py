"""A source mapping, compiled: one connector's tables and columns to fields, and the way back for apply records.

Shapes and the questions they answer; how a document becomes this is ``compile.py``, what is wrong with it beside a
matrix is ``check.py``, how rows are read by it is ``rows.py``. Everything here is immutable.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from ownership_stream.identity import key_parts
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Origin, Scalar, Value
from ownership_stream.sources.encodings import PLAIN, Encoding, written

Connector = Literal[
    "debezium postgresql",
    "debezium mysql",
    "debezium mariadb",
    "debezium sqlserver",
    "debezium oracle",
    "salesforce",
    "canonical",
]
Use = Literal["input", "compared", "request"]
Form = Literal["envelope", "flattened"]
ApplyForm = Literal["", "json", "json with schema", "avro", "avro with changed columns"]

CONNECTORS: Final[dict[Connector, str]] = {
    "debezium postgresql": "Debezium's PostgreSQL connector, JSON, the envelope or flattened, with or without schemas",
    "debezium mysql": "Debezium's MySQL connector, JSON likewise; a table is named with its database",
    "debezium mariadb": "Debezium's MariaDB connector, JSON likewise; a table is named with its database",
    "debezium sqlserver": "Debezium's SQL Server connector, JSON likewise; a table is named with its schema",
    "debezium oracle": "Debezium's Oracle connector, JSON likewise; a table is named with its schema",
    "salesforce": "Salesforce Change Data Capture through a Kafka Connect source, JSON",
    "canonical": "our own JSON for row events, for whatever has no connector (docs/sources.md)",
}
DEBEZIUM: Final[dict[Connector, str]] = {
    "debezium postgresql": "schema",
    "debezium mysql": "database",
    "debezium mariadb": "database",
    "debezium sqlserver": "schema",
    "debezium oracle": "schema",
}
"""Debezium's connectors, each with what stands before a table's name; every event of theirs carries the whole row."""
FORMS: Final[dict[Form, str]] = {
    "envelope": "as the connector writes it",
    "flattened": "through the transform `ExtractNewRecordState`",
}
APPLY_FORMS: Final[dict[ApplyForm, str]] = {
    "json": "plain JSON: for a writer that knows the columns' types",
    "json with schema": "JSON with Kafka Connect's schema in each record: for the Debezium and Confluent JDBC sinks",
    "avro": "Avro, every column that may be written: for a writer that patches what `sync.changed_fields` names",
    "avro with changed columns": "Avro, a schema for each set of changed columns: for the Debezium JDBC sink",
}
"""How the apply records of a system are written; without a word, in JSON or Avro as the setting `wire` says."""
SPARSE_AVRO: Final[ApplyForm] = "avro with changed columns"

SPARSE: Final[frozenset[Connector]] = frozenset({"salesforce", "canonical"})
"""Connectors whose events carry only what changed; with the others every event carries the whole row."""

UNAVAILABLE: Final = "__debezium_unavailable_value"
"""What Debezium writes for an unchanged TOAST column unless ``unavailable.value.placeholder`` says otherwise."""
ADDED_PREFIX: Final = "__"
"""What ``ExtractNewRecordState`` puts before the names of the fields it adds."""


class Column(msgspec.Struct, frozen=True):
    """A column that holds a field, or one part of it."""

    name: str
    field: str
    part: str = ""
    encoding: Encoding = PLAIN
    use: Use = "input"

    @property
    def target(self) -> str:
        """As the document writes it: ``field`` or ``field.part``."""
        return f"{self.field}.{self.part}" if self.part else self.field


class Cell(msgspec.Struct, frozen=True):
    """A column that holds something about the row and no field: a key, an actor, a time."""

    name: str
    encoding: Encoding = PLAIN


class RecordRule(msgspec.Struct, frozen=True):
    """How a row says whose record it is: by the shared id in ``link``, else by ``before + key + after``."""

    link: Cell | None = None
    has_default: bool = True
    """Whether a row without a link belongs to a record of its own."""
    before: str = ""
    after: str = ""


class EvidenceRule(msgspec.Struct, frozen=True):
    """Where a field's evidence comes from. Who vouches: a column, always one word, or the actor with a role."""

    field: str
    at: Cell
    by: Cell | None = None
    word: str = ""
    roles: frozenset[str] = frozenset()


class Condition(msgspec.Struct, frozen=True):
    """A column, and the words of which it must hold one; ``empty`` and ``filled`` stand for null and for anything."""

    name: str
    words: frozenset[str]


class Speaks(msgspec.Struct, frozen=True):
    """Which of several rows of one record speaks for it: of those that fulfil ``where``, the latest."""

    latest: tuple[Cell, ...]
    """The greatest of the first column; where that is equal, of the next."""
    where: tuple[Condition, ...] = ()


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table (Debezium: ``schema.table``; Salesforce: the entity)."""

    name: str
    primary: bool
    key: tuple[Cell, ...]
    of: tuple[Cell, ...]
    """The columns that hold the system's own key of the record; those of the key where the row is the primary one."""
    record: RecordRule
    columns: tuple[Column, ...]
    actor: Cell | None = None
    role: Cell | None = None
    updated_at: Cell | None = None
    reason: Cell | None = None
    base: Cell | None = None
    marker: Cell | None = None
    event_actor: bool = False
    """Whether the event itself names the writer, beside the row (Oracle's ``source.user_name``)."""
    evidence: tuple[EvidenceRule, ...] = ()
    speaks: Speaks | None = None
    ignored: frozenset[str] = frozenset()
    ignored_beginnings: tuple[str, ...] = ()

    def ignores(self, column: str) -> bool:
        """Whether the mapping says that this column means nothing."""
        return column in self.ignored or column.startswith(self.ignored_beginnings or ("\0",))

    def cells(self) -> Iterator[Cell]:
        """Every column that is read for something beside a field."""
        yield from (*self.key, *self.of)
        single = (
            self.record.link,
            self.actor,
            self.role,
            self.updated_at,
            self.reason,
            self.base,
            self.marker,
        )
        yield from (cell for cell in single if cell is not None)
        for rule in self.evidence:
            yield from (cell for cell in (rule.by, rule.at) if cell is not None)
        if self.speaks is not None:
            yield from self.speaks.latest
            yield from (Cell(condition.name) for condition in self.speaks.where)

    def known(self) -> frozenset[str]:
        """Every column that the mapping reads."""
        return frozenset({column.name for column in self.columns} | {cell.name for cell in self.cells()})

    def shown(self) -> tuple[Column, ...]:
        """The columns that show fields: those that an apply record may write."""
        return tuple(column for column in self.columns if column.use != "request")


class Actors(msgspec.Struct, frozen=True):
    """Who a writer is: by id (whole, else by its longest known beginning) or by the source's own word for a role."""

    ids: dict[str, tuple[str | None, Origin]] = {}
    beginnings: dict[str, tuple[str | None, Origin]] = {}
    words: dict[str, tuple[str | None, Origin]] = {}

    def of(self, actor: str | None, word: str | None = None) -> tuple[str | None, Origin]:
        """Role and origin; whoever is not known is an automation without role (docs/rules.md, section 1, "Grant")."""
        if word is not None and word in self.words:
            return self.words[word]
        if actor is None:
            return NOBODY
        if actor in self.ids:
            return self.ids[actor]
        known = [beginning for beginning in self.beginnings if actor.startswith(beginning)]
        return self.beginnings[max(known, key=len)] if known else NOBODY


NOBODY: Final[tuple[str | None, Origin]] = (None, "automation")


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """One source."""

    source: str
    system: str
    connector: Connector
    topics: tuple[str, ...]
    tables: dict[str, Table]
    actors: Actors = Actors()
    own_client: str = ""
    """What our own writer calls itself to Salesforce (``Sforce-Call-Options: client=``)."""
    unavailable: str = UNAVAILABLE
    form: Form = "envelope"
    added_prefix: str = ADDED_PREFIX
    """What the names of added fields begin with in a flattened row (``add.fields.prefix``)."""
    servers: frozenset[int] = frozenset()
    """The servers whose binlogs positions may be of (MySQL, MariaDB); none: any."""
    by_timestamp: bool = False
    """Whether a flattened row without position is ordered by its record's time."""
    ignored_tables: frozenset[str] = frozenset()
    apply_form: ApplyForm = ""

    @property
    def sparse(self) -> bool:
        """Whether an event carries only what changed."""
        return self.connector in SPARSE

    @property
    def primary(self) -> Table:
        """The table whose row is the record's presence in the system."""
        return next(table for table in self.tables.values() if table.primary)

    def columns(self) -> tuple[tuple[str, Column], ...]:
        """Every (table, column) that holds a field: each has a row in the matrix."""
        return tuple((table.name, column) for table in self.tables.values() for column in table.columns)

    def fields(self) -> frozenset[str]:
        """Every field that the source holds in any column."""
        return frozenset(column.field for _, column in self.columns())


class Shape(msgspec.Struct, frozen=True):
    """A column that an apply record may hold: its encoding, and the type of what stands there in the matrix's words."""

    name: str
    encoding: Encoding
    type: str
    key: bool = False


class Writer:
    """The reverse of a mapping: what an apply record for its system writes where."""

    def __init__(self, mapping: Mapping, matrix: Matrix) -> None:
        table = mapping.primary
        self.system, self.form = mapping.system, mapping.apply_form
        self.schema, _, self.table = table.name.rpartition(".")
        self.marker = table.marker.name if table.marker else ""
        self._key = tuple((cell.name, cell.encoding) for cell in table.key)
        self.link = table.record.link
        """The column that names a row's record; ``None``: no row can be made for a record here."""
        self._columns: dict[str, list[tuple[Column, str]]] = {}
        for column in table.shown():
            field = matrix.fields[column.field]
            type_ = field.parts[column.part] if column.part else field.type
            self._columns.setdefault(column.field, []).append((column, type_))
        views = {name: matrix.fields[name].views.get(self.system) for name in self._columns}
        self.shared = frozenset(name for name, view in views.items() if view != "none")
        """The fields that the system is ever sent: not those that another owner keeps to itself."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields that have a column to be written to."""
        return frozenset(self._columns)

    def shapes(self) -> tuple[Shape, ...]:
        """Every column that an apply record may hold: the key's, those of fields, the marker; each once."""
        found = {name: Shape(name, encoding, "text", key=True) for name, encoding in self._key}
        for field, columns in self._columns.items():
            for column, type_ in columns if field in self.shared else ():
                found.setdefault(column.name, Shape(column.name, column.encoding, type_))
        if self.marker:
            found.setdefault(self.marker, Shape(self.marker, PLAIN, "text"))
        return tuple(found.values())

    def key(self, key: str) -> dict[str, Any]:
        """The key columns of the system's own key, as the source writes them; raises ``BadId``."""
        parts = key_parts(key, len(self._key))
        return {name: written(encoding, "text", part) for (name, encoding), part in zip(self._key, parts, strict=True)}

    def link_to(self, record: str) -> dict[str, Any]:
        """What addresses a row that is still to be made: its link column, with the record's id.

        Raises ``KeyError`` where rows of this system carry no link.
        """
        if self.link is None:
            raise KeyError(f"no row of `{self.system}` carries a link")
        return {self.link.name: written(self.link.encoding, "text", record)}

    def columns(self, field: str, value: Value) -> dict[str, Any]:
        """Column -> what to write there for a field's value; raises ``KeyError`` for a field without column."""
        return {
            column.name: written(column.encoding, type_, _of(value, column.part))
            for column, type_ in self._columns[field]
        }


def bound(matrix: Matrix, mappings: Iterable[Mapping]) -> Matrix:
    """The matrix whose fields know where nothing can write them: in a table that is not primary, which is only read."""
    writers = {mapping.system: (Writer(mapping, matrix), mapping.fields()) for mapping in mappings}
    fields = {}
    for name, field in matrix.fields.items():
        unwritten = (key for key, (writer, mapped) in writers.items() if name in mapped and name not in writer.fields)
        read_only = frozenset(key for key in unwritten if field.views.get(key) != "none")
        fields[name] = msgspec.structs.replace(field, read_only=read_only) if read_only else field
    return msgspec.structs.replace(matrix, fields=fields)


def _of(value: Value, part: str) -> Scalar:
    if isinstance(value, dict):
        return value.get(part)
    return value
