"""A careful writer: puts the approved changes of one system, from its apply topic, into that system's table.

It imports nothing of ownership-stream: copy it and change it. What makes it careful:

- *No change twice.* The ids of written changes are kept in the same database and in the same transaction as the write,
  so that what Kafka delivers again after a crash is seen to be done (``change_id``).
- *Nothing old over new.* A change that was decided before something that is already written here is not written
  (``expected_version`` below the version written last). So offsets can be reset without bringing back old values.
- *Only what changed.* It sets ``changed_fields`` and the marker column, and leaves every other column alone.
- *The database first.* Kafka's offsets are committed after the database's transaction. A crash between the two means a
  repeat, and repeats are seen.
- *It updates, and never inserts*, unless the record says that the row is to be created (``op`` is ``c``): a row that
  its own system deleted does not come back. Such a record is keyed by the column that links a row to its record, which
  must be unique in the table; where somebody was faster the row is left as they made it. Rows are deleted only for
  ``op`` ``d`` and only with ``--delete``.
- *What it cannot read or write stops it* with one line that holds no value of a patient. Nothing is skipped in silence.

For the system's mapping choose ``apply as: json with schema``: then each record says which columns are dates, instants
and decimals, and they are written as such. Plain JSON is read too, and its values are written as they stand.

Bookkeeping: ``ownership_written`` (change ids) and ``ownership_row`` (the version written last, by row and record).
Rows of the first may be deleted when they are older than the topic keeps records. Empty the second if ownership-stream
was ever set back to an earlier state: its versions then count from there again.

Usage: reference_writer.py --brokers kafka:9092 --topic apply.ehr --database postgresql://writer@db/ehr \
                           --table public.patient --marker sync_change_id
"""

import argparse
import base64
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

Outcome = Literal[
    "written", "created", "deleted", "exists", "duplicate", "stale", "missing", "tombstone", "delete not allowed"
]
"""What became of one record. ``missing``: there is no such row, ``exists``: there is one already that was to be made;
nothing was written.
"""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS ownership_written
       (change_id VARCHAR(64) PRIMARY KEY, row_key VARCHAR(1024) NOT NULL, written_at BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS ownership_row
       (row_key VARCHAR(1024), record_id VARCHAR(256), version BIGINT NOT NULL, PRIMARY KEY (row_key, record_id))""",
)
_VERSION: Final = "SELECT version FROM ownership_row WHERE row_key = {} AND record_id = {}"
_RAISE: Final = "UPDATE ownership_row SET version = {} WHERE row_key = {} AND record_id = {}"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnusableError(Exception):
    """A record that is no apply record, or does not fit the table: somebody has to look. Says no value."""


class Cursor(Protocol):
    """What is used of a DB-API 2.0 cursor."""

    rowcount: int

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...


class Connection(Protocol):
    """What is used of a DB-API 2.0 connection; ``commit`` ends the transaction that any statement begins."""

    def cursor(self) -> Any:
        """A new cursor."""
        ...

    def commit(self) -> None:
        """Keep what was done."""
        ...

    def rollback(self) -> None:
        """Undo what was done."""
        ...


@dataclass(frozen=True)
class Target:
    """The table that is written, and how its database is spoken to."""

    table: str
    """As in SQL, with its schema: ``public.patient``."""
    marker: str = ""
    """The mapping's marker column; empty: it has none."""
    delete: bool = False
    """Whether records with ``op`` ``d`` delete rows."""
    place: str = "%s"
    """The driver's parameter mark (DB-API ``paramstyle``): ``%s`` for psycopg, ``?`` for sqlite3."""
    adapt: Callable[[Any], Any] = field(default=lambda value: value)
    """What the driver takes for a date, a datetime or a Decimal, if not the object itself."""


@dataclass(frozen=True)
class Apply:
    """An apply record, read: column -> value."""

    op: str
    key: dict[str, Any]
    changed: dict[str, Any]
    """The columns to set, the marker's among them."""
    change_id: str
    record_id: str
    """Whose versions these are: a row that is linked to another record goes on with that one's."""
    version: int
    expected_version: int
    at: int
    """Milliseconds since 1970, UTC."""


# ---------------------------------------------------------------------------------------------------- reading a record


def read(key: bytes | None, value: bytes, marker: str = "") -> Apply:
    """An apply record from its bytes, with or without schemas; raises ``UnusableError``."""
    try:
        row_key, key_types = opened(json.loads(key or b"null"), "")
        envelope, types = opened(json.loads(value), "after")
        sync = envelope["sync"]
        after = envelope["after"] or {}
        names = [*sync["changed_fields"], *([marker] if marker and marker in after else [])]
        return Apply(
            op=str(envelope["op"]),
            key={name: converted(found, key_types.get(name)) for name, found in row_key.items()},
            changed={name: converted(after[name], types.get(name)) for name in names if name not in row_key},
            change_id=str(sync["change_id"]),
            record_id=str(sync["record_id"]),
            version=int(sync["version"]),
            expected_version=int(sync["expected_version"]),
            at=int(envelope["ts_ms"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise UnusableError(f"no apply record: {type(error).__name__}") from None


def opened(found: Any, part: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The payload, and column -> schema of its ``part`` (``""``: of itself); no schemas where there are none."""
    if not (isinstance(found, dict) and found.keys() == {"schema", "payload"}):
        return found, {}
    schema = found["schema"]
    if part:
        schema = next(one for one in schema["fields"] if one["field"] == part)
    return found["payload"], {one["field"]: one for one in schema["fields"]}


def converted(found: Any, schema: dict[str, Any] | None) -> Any:
    """A value as its database type, by the semantic types of Debezium and Kafka Connect."""
    convert = CONVERTERS.get((schema or {}).get("name", ""))
    return found if found is None or convert is None else convert(found, schema or {})


def _since(found: Any, **unit: int) -> datetime:
    """A TIMESTAMP has no zone: it is taken for UTC, as Debezium does."""
    (name, count) = next(iter(unit.items()))
    return (EPOCH + timedelta(**{name: int(found) // count})).replace(tzinfo=None)


def _decimal(text: str, scale: int) -> Decimal:
    unscaled = int.from_bytes(base64.b64decode(text, validate=True), "big", signed=True)
    return Decimal(unscaled).scaleb(-scale)


CONVERTERS: Final[dict[str, Callable[[Any, dict[str, Any]], Any]]] = {
    "io.debezium.time.Date": lambda found, _: date(1970, 1, 1) + timedelta(days=int(found)),
    "io.debezium.time.Timestamp": lambda found, _: _since(found, milliseconds=1),
    "io.debezium.time.MicroTimestamp": lambda found, _: _since(found, microseconds=1),
    "io.debezium.time.NanoTimestamp": lambda found, _: _since(found, microseconds=1000),
    "io.debezium.time.ZonedTimestamp": lambda found, _: datetime.fromisoformat(found),
    "io.debezium.data.VariableScaleDecimal": lambda found, _: _decimal(found["value"], found["scale"]),
    "org.apache.kafka.connect.data.Decimal": lambda found, schema: _decimal(found, int(schema["parameters"]["scale"])),
}


# ---------------------------------------------------------------------------------------------------- writing a record


def prepare(connection: Connection) -> None:
    """Make the tables of the bookkeeping where they are missing."""
    cursor = connection.cursor()
    for statement in TABLES:
        cursor.execute(statement)
    connection.commit()


def write(connection: Connection, target: Target, key: bytes | None, value: bytes | None) -> Outcome:
    """Write one record within the connection's open transaction; the caller commits.

    Raises ``UnusableError``, and whatever the driver raises: then roll back, and commit no offset.
    """
    if value is None or value.strip() in {b"", b"null"}:
        return "tombstone"  # a marker for compaction, not an edit: a delete says so by its `op`
    apply = read(key, value, target.marker)
    if not apply.key:
        raise UnusableError("no apply record: its key names no column")
    return _Row(connection.cursor(), target, apply).write()


class _Row:
    """One record on its way into its row."""

    def __init__(self, cursor: Cursor, target: Target, apply: Apply) -> None:
        self.cursor, self.target, self.apply = cursor, target, apply
        self.name = json.dumps(list(apply.key.values()), separators=(",", ":"), default=str)

    def write(self) -> Outcome:
        """What became of it."""
        apply = self.apply
        if self._one("SELECT 1 FROM ownership_written WHERE change_id = {}", apply.change_id) is not None:
            return "duplicate"
        last = self._one(_VERSION, self.name, apply.record_id)
        if last is not None and apply.expected_version < last[0]:
            return "stale"
        outcome = {"d": self._delete, "c": self._make}.get(apply.op, self._patch)()
        if outcome not in {"missing", "exists", "delete not allowed"}:
            self._note(known=last is not None)
        return outcome

    def _patch(self) -> Outcome:
        names, where = list(self.apply.changed), list(self.apply.key)
        if names:
            settings = ", ".join(f"{quoted(name)} = {{}}" for name in names)
            found = self._run(
                f"UPDATE {self._table()} SET {settings} WHERE {_all(where)}",  # noqa: S608 (names are quoted)
                *self.apply.changed.values(),
                *self.apply.key.values(),
            )
        else:
            found = 1 if self._is_there() else 0
        if found > 1:
            raise UnusableError("the key columns do not name one row of the table")
        return "written" if found else "missing"

    def _is_there(self) -> bool:
        self._run(f"SELECT 1 FROM {self._table()} WHERE {_all(list(self.apply.key))}", *self.apply.key.values())  # noqa: S608 (as above)
        return self.cursor.fetchone() is not None

    def _make(self) -> Outcome:
        """Whoever made the row meanwhile is heard by the stream, which then sends what is missing there."""
        if self._is_there():
            return "exists"
        row = self.apply.key | self.apply.changed
        columns, places = ", ".join(map(quoted, row)), ", ".join("{}" for _ in row)
        self._run(f"INSERT INTO {self._table()} ({columns}) VALUES ({places})", *row.values())  # noqa: S608 (as above)
        return "created"

    def _delete(self) -> Outcome:
        if not self.target.delete:
            return "delete not allowed"
        where = _all(list(self.apply.key))
        found = self._run(f"DELETE FROM {self._table()} WHERE {where}", *self.apply.key.values())  # noqa: S608 (as above)
        return "deleted" if found else "missing"

    def _note(self, *, known: bool) -> None:
        """Remember the change and the row's version, in the same transaction as the write."""
        apply = self.apply
        self._run("INSERT INTO ownership_written VALUES ({}, {}, {})", apply.change_id, self.name, apply.at)
        if known:
            self._run(_RAISE, apply.version, self.name, apply.record_id)
        else:
            self._run("INSERT INTO ownership_row VALUES ({}, {}, {})", self.name, apply.record_id, apply.version)

    def _one(self, statement: str, *values: Any) -> Any:
        self._run(statement, *values)
        return self.cursor.fetchone()

    def _run(self, statement: str, *values: Any) -> int:
        marks = [self.target.place] * len(values)
        self.cursor.execute(statement.format(*marks), [self.target.adapt(value) for value in values])
        return self.cursor.rowcount

    def _table(self) -> str:
        return ".".join(map(quoted, self.target.table.split(".")))


def quoted(name: str) -> str:
    """A name out of a record as an identifier, and nothing but that; braces and percent signs are in no column's."""
    if not name or not name.replace("_", "").replace("$", "").isalnum():
        raise UnusableError("a column or table whose name is no plain word")
    return f'"{name}"'


def _all(names: list[str]) -> str:
    return " AND ".join(f"{quoted(name)} = {{}}" for name in names)


# ---------------------------------------------------------------------------------------------------- the loop


def run(consumer: Any, connection: Connection, target: Target, *, batch: int = 500) -> Iterator[dict[str, int]]:
    """Write batches for ever, each in one transaction; yields how often each outcome came up.

    ``consumer`` is a ``confluent_kafka.Consumer`` that does not commit by itself.
    """
    prepare(connection)
    while True:
        messages = consumer.consume(batch, timeout=1.0)
        counts: dict[str, int] = {}
        try:
            for message in messages:
                outcome = _written(connection, target, message)
                counts[outcome] = counts.get(outcome, 0) + 1
        except BaseException:
            connection.rollback()
            raise
        if messages:
            connection.commit()  # first: a crash before the next line only means that these come again
            consumer.commit(asynchronous=False)
        yield counts


def _written(connection: Connection, target: Target, message: Any) -> Outcome:
    if message.error() is not None:
        raise UnusableError(f"kafka: {message.error().str()}")
    try:
        return write(connection, target, message.key(), message.value())
    except Exception as error:  # noqa: BLE001 (whatever it is, nothing of this batch is written)
        # A driver's own message can hold the value it did not take, so only its class and code are said.
        said = error if isinstance(error, UnusableError) else f"{type(error).__name__} {getattr(error, 'sqlstate', '')}"
        where = f"{message.topic()} [{message.partition()}] at offset {message.offset()}"
        raise UnusableError(f"{where}: {said}".rstrip()) from None


def connected(address: str, options: argparse.Namespace) -> tuple[Connection, Target]:
    """A connection to the database at an address, and the table in it."""
    if address.startswith("sqlite:"):
        text = {date: str, datetime: str, Decimal: str}
        target = Target(
            options.table,
            options.marker,
            options.delete,
            place="?",
            adapt=lambda value: text.get(type(value), lambda same: same)(value),
        )
        return sqlite3.connect(address.removeprefix("sqlite:")), target
    import psycopg  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415 (only where it is needed: `pip install psycopg[binary]`)

    return psycopg.connect(address), Target(options.table, options.marker, options.delete)


def main(arguments: Sequence[str] | None = None) -> int:
    """Consume the apply topic until interrupted."""
    parser = argparse.ArgumentParser(description="Write approved changes from an apply topic into a table.")
    parser.add_argument("--brokers", default="localhost:9092", help="Kafka bootstrap servers")
    parser.add_argument("--topic", required=True, help="the system's apply topic, as in apply.ehr")
    parser.add_argument("--group", default="reference-writer", help="consumer group")
    parser.add_argument("--database", required=True, help="postgresql://… (psycopg), or sqlite:FILE")
    parser.add_argument("--table", required=True, help="the table to write, with its schema")
    parser.add_argument("--marker", default="", help="the mapping's marker column")
    parser.add_argument("--delete", action="store_true", help="delete rows where a record says so")
    options = parser.parse_args(arguments)

    from confluent_kafka import Consumer  # noqa: PLC0415 (the functions above need no Kafka)

    connection, target = connected(options.database, options)
    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6_000,  # so long after a crash nobody writes
            "isolation.level": "read_committed",  # apply records are written in transactions: no aborted ones
        }
    )
    consumer.subscribe([options.topic])
    try:
        for counts in run(consumer, connection, target):
            if counts:
                print(json.dumps(counts), flush=True)
    except UnusableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
