"""The closed loop: two databases, Debezium on each, the shipped worker, and sinks back into both.

All of it real. People edit the tables by SQL and nothing else; what is seen of the loop is what outsiders can see: the
tables, the topics, the states. `rest` is when nothing moves any more, told by fences and offsets and not by time.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from signal import SIGTERM
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Consumer, Message, TopicPartition
from psycopg import sql

from chaos.installation import Installation, WorkerProcess
from chaos.witness import await_settled
from closed_loop.connect import FLAW, Connect
from closed_loop.connectors import SIGNALS, SINK, SOURCE, documented_sink
from closed_loop.forms import JSON_WITH_SCHEMA, Form
from closed_loop.postgresql import Connection, PostgreSQL
from closed_loop.writer import CarefulWriter
from matrices import PATIENT, ROOT

HERE: Final = Path(__file__).parent
WAIT_SECONDS: Final = 300.0
SINK_USER: Final = "ownership_writer"
EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # as a TIMESTAMP has it
MARKER: Final = "sync_change_id"


class Side(NamedTuple):
    """One system: its table, the table's key, and the mapping it begins with."""

    name: str
    table: str
    key: str
    mapping: Path


SIDES: Final = {
    "ehr": Side("ehr", "public.patient", "patient_id", ROOT / "matrix" / "sources" / "ehr.yaml"),
    "crm": Side(
        "crm", "public.contact", "contact_id", ROOT / "matrix" / "sources" / "examples" / "crm-postgresql.yaml"
    ),
}


class Edit(NamedTuple):
    """One person or programme writes some columns of one row; `key` is the row's own."""

    system: str
    key: Any
    actor: str
    columns: Mapping[str, Any]
    reason: str | None = None


@dataclass
class ClosedLoop:
    """One loop for the length of a `with`, under a name nobody else has. `marker`: whether the tables have that column.

    Debezium's JDBC sink writes each system but those that `careful` names: there `examples/reference_writer.py` does.
    `before` are the transactions that no connector is told, because they were made before there was one.
    """

    bootstrap: str
    redis_url: str
    server: PostgreSQL
    folder: Path
    begin: Mapping[str, list[dict[str, Any]]]
    marker: bool = True
    careful: frozenset[str] = frozenset()
    form: Form = JSON_WITH_SCHEMA
    fences: int = 0
    rounds: int = field(default=0, init=False)
    """How often the whole loop was gone round while it came to rest."""

    def __enter__(self) -> Self:
        sources = self._mappings()
        topics = {side.name: f"{side.name}.{side.table}" for side in SIDES.values()}
        self.site = Installation(
            self.bootstrap, self.redis_url, partitions=4, source_partitions=1, source_topics=topics,
            said={"sources_path": sources, "matrix_path": PATIENT, **self.form.said},
        )  # fmt: skip
        self.sessions = {name: self._database(side) for name, side in SIDES.items()}
        self.before = {name: frozenset(self.accounts(name)) for name in SIDES}
        self.connect = Connect(self.folder / "connect", self.bootstrap, dict(self._connectors()))
        with ExitStack() as opened:
            for session in self.sessions.values():
                opened.callback(session.close)
            self.writers = {system: self._writer_of(SIDES[system]) for system in self.careful}
            for writer in self.writers.values():
                writer.start()
                opened.callback(writer.kill)
            self.connect.start()
            opened.callback(self.connect.kill)
            self.worker: WorkerProcess = self.site.worker()
            opened.callback(self.worker.close)
            self._until(lambda: self.worker.get("/readyz")[0] == 200, "a ready worker")
            self.connect.await_running()
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    # ------------------------------------------------------------------------------------------------ what people do

    def edit(self, edit: Edit, session: Connection | None = None) -> None:
        """Writes some columns, and who wrote them when, as the systems' own screens do; in one transaction."""
        side = SIDES[edit.system]
        columns = {**edit.columns, "updated_by": edit.actor, "override_reason": edit.reason}
        settings: list[sql.Composable] = [sql.SQL("updated_at = clock_timestamp() AT TIME ZONE 'utc'")]
        settings += [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns]
        statement = sql.SQL("UPDATE {} SET {} WHERE {} = {}").format(
            sql.Identifier(*side.table.split(".")), sql.SQL(", ").join(settings), sql.Identifier(side.key),
            sql.Placeholder(),
        )  # fmt: skip
        done = (session or self.sessions[edit.system]).execute(statement, [*columns.values(), edit.key])
        assert 1 == done.rowcount, f"no row {edit.key} in {side.table}"

    def insert(self, system: str, row: Mapping[str, Any]) -> None:
        """Makes a row: each of its columns is named, so that no default comes in."""
        _insert(self.sessions[system], SIDES[system], row)

    def snapshot(self, system: str) -> None:
        """Asks the connector to read the whole table again, while everything goes on."""
        data = json.dumps({"data-collections": [SIDES[system].table], "type": "incremental"})
        self.sessions[system].execute(
            "INSERT INTO public.debezium_signal VALUES (gen_random_uuid()::text, 'execute-snapshot', %s)", [data]
        )

    # ------------------------------------------------------------------------------------------------ what is seen

    def row(self, system: str, key: Any) -> dict[str, Any]:
        """A row as its system shows it."""
        return self.rows(system)[key]

    def rows(self, system: str) -> dict[Any, dict[str, Any]]:
        """All rows of a system, by key."""
        side = SIDES[system]
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(*side.table.split(".")))
        return {row[side.key]: row for row in self.sessions[system].execute(query)}

    def accounts(self, system: str) -> dict[int, str]:
        """Who wrote in which transaction, as the database itself noted it."""
        return {row["txid"]: row["who"] for row in self.sessions[system].execute("SELECT txid, who FROM public.audit")}

    def events(self, system: str) -> Iterator[dict[str, Any]]:
        """The connector's row events, in their order."""
        for message in self.site.records(self.site.sources[system]):
            if message.value() is not None:
                yield self.form.event(message.value() or b"")

    def sends(self, system: str) -> list[Message]:
        """What the system was sent, in the order of partitions and offsets."""
        return self.site.records(self.site.settings.topic_apply(system))

    def sent(self) -> int:
        """How many writes the loop has sent to both systems by now."""
        return sum(len(self.sends(system)) for system in SIDES)

    # ------------------------------------------------------------------------------------------------ its rest

    def rest(self) -> None:
        """Returns when nothing moves any more: the whole loop was gone round, and nothing was sent meanwhile.

        One round: what the sinks were sent stands in the tables, what stands in the tables was read by the connectors,
        and what they wrote was decided.
        """
        while True:
            before = self.sent()
            self.round()
            if self.sent() == before:
                return

    def round(self) -> None:
        """Goes round the loop once, behind everything that is under way."""
        self.rounds += 1
        for system in SIDES:
            self._until(lambda system=system: self._written(system), f"the sink of the {system}")
        self._fence()
        await_settled(self.site, seconds=WAIT_SECONDS)

    def _written(self, system: str) -> bool:
        """Whether the sink has noted everything on its topic as written."""
        ends: dict[int, int] = {}
        for message in self.sends(system):
            ends[message.partition() or 0] = (message.offset() or 0) + 1
        if not ends:
            return True
        topic = self.site.settings.topic_apply(system)
        name = f"{self.site.name}-writer" if system in self.careful else f"connect-{self._sink(system)}"
        group = {"bootstrap.servers": self.bootstrap, "group.id": name, "log_level": 0}
        reader = Consumer(group | {"enable.auto.commit": False})
        try:
            noted = reader.committed([TopicPartition(topic, partition) for partition in ends], timeout=30)
        finally:
            reader.close()
        return all(one.offset >= ends[one.partition] for one in noted)

    def _fence(self) -> None:
        """Returns when everything that stands in the tables now has come out of the connectors, which keep order."""
        self.fences += 1
        at = EPOCH + timedelta(microseconds=self.fences)
        for system, side in SIDES.items():
            statement = sql.SQL("UPDATE {0} SET created_at = %s WHERE {1} = (SELECT min({1}) FROM {0})").format(
                sql.Identifier(*side.table.split(".")), sql.Identifier(side.key)
            )
            self.sessions[system].execute(statement, [at])
        for system in SIDES:
            self._until(lambda system=system: self._fenced(system), f"the connector of the {system}")

    def _fenced(self, system: str) -> bool:
        return any((event["after"] or {}).get("created_at") == self.fences for event in self.events(system))

    def _until(self, true: Any, what: str) -> None:
        deadline = monotonic() + WAIT_SECONDS
        while not true():
            if self.connect.running:
                states = {name: self.connect.state(name) for name in self.connect.connectors}
                self.connect.mend(states)
                failed = [state for state in states.values() if state.startswith("FAILED") and FLAW not in state]
                assert not failed, "\n".join(failed)
            assert self.worker.running, self.worker.said()[-2000:]
            for writer in self.writers.values():
                assert writer.running, writer.log()[-2000:]
            assert monotonic() < deadline, (
                f"{what} did not come within {WAIT_SECONDS:.0f} s: {self.connect.log()[-2000:]}"
            )
            sleep(0.05)

    def stop_worker(self) -> None:
        """Ends the worker in order."""
        self.worker.signal(SIGTERM)
        assert 0 == self.worker.wait(), self.worker.said()[-2000:]

    # ------------------------------------------------------------------------------------------------ its making

    @cached_property
    def databases(self) -> dict[str, str]:
        """The name of each system's database."""
        return {name: f"{name}_{self.site.name}" for name in SIDES}

    def _mappings(self) -> Path:
        """The mappings, as they are shipped but for what this loop is about."""
        folder = self.folder / "sources"
        folder.mkdir(parents=True)
        for side in SIDES.values():
            text = mapping_of(side, self.form.apply_as, marker=self.marker)
            (folder / f"{side.name}.yaml").write_text(text, encoding="utf-8")
        return folder

    def tables(self, side: Side) -> str:
        """What makes the system's tables."""
        both = (HERE / "both.sql").read_text().replace("{table}", side.table)
        lines = ((HERE / f"{side.name}.sql").read_text() + both).splitlines(keepends=True)
        return self.form.tables("".join(line for line in lines if self.marker or MARKER not in line))

    def _database(self, side: Side) -> Connection:
        """The system's database with the rows that it begins with."""
        self.server.create(self.databases[side.name], self.tables(side))
        session = self.server.connect(self.databases[side.name])
        for row in self.begin[side.name]:
            _insert(session, side, row)
        return session

    def _connectors(self) -> Iterator[tuple[str, dict[str, str]]]:
        for side in SIDES.values():
            yield f"{self.site.name}-{side.name}-source", self._source_of(side)
            if side.name not in self.careful:
                yield self._sink(side.name), self.sink_of(side)

    def _sink(self, system: str) -> str:
        return f"{self.site.name}-{system}-sink"

    def _writer_of(self, side: Side) -> CarefulWriter:
        said = {
            "--brokers": self.bootstrap,
            "--topic": self.site.settings.topic_apply(side.name),
            "--group": f"{self.site.name}-writer",
            "--database": f"postgresql://{SINK_USER}@127.0.0.1:{self.server.port}/{self.databases[side.name]}",
            "--table": side.table,
            **({"--marker": MARKER} if self.marker else {}),
        }
        return CarefulWriter(self.folder, [word for pair in said.items() for word in pair])

    def _source_of(self, side: Side) -> dict[str, str]:
        name = f"{self.site.name}_{side.name}"
        reached = {"database.port": str(self.server.port), "database.dbname": self.databases[side.name]}
        named = {"topic.prefix": f"{self.site.name}.{side.name}", "slot.name": name, "publication.name": name}
        tables = {"table.include.list": f"{side.table},{SIGNALS}", "signal.data.collection": SIGNALS}
        return {**SOURCE, **self.form.source, **reached, **named, **tables}

    def sink_of(self, side: Side) -> dict[str, str]:
        """As docs/sinks.md has it, for a table with NOT NULL columns that the stream does not write."""
        address = f"{self.server.address(self.databases[side.name])}?logServerErrorDetail=false"
        reached = {"connection.url": address, "connection.username": SINK_USER}
        topic = self.site.settings.topic_apply(side.name)
        own = {"topics": topic, "collection.name.format": side.table, "insert.mode": "update"}
        return {**documented_sink(), **SINK, **self.form.sink, **reached, **own}


def mapping_of(side: Side, apply_as: str, *, marker: bool) -> str:
    """The shipped mapping of a system, but for the form of its apply records, its link and its marker."""
    text = side.mapping.read_text(encoding="utf-8").replace("crm_id as salesforce id", "crm_id")
    lines = [line for line in text.splitlines() if not line.startswith("apply as:")]
    lines = [line for line in lines if marker or not line.strip().startswith("marker:")]
    tables = lines.index("tables:")
    return "\n".join([*lines[:tables], f"apply as: {apply_as}", "", *lines[tables:], ""])


def _insert(session: Connection, side: Side, row: Mapping[str, Any]) -> None:
    table = sql.Identifier(*side.table.split("."))
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    marks = sql.SQL(", ").join(sql.Placeholder() * len(row))
    session.execute(sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table, names, marks), list(row.values()))


def now() -> datetime:
    """This moment as a TIMESTAMP has it."""
    return datetime.now(UTC).replace(tzinfo=None)
