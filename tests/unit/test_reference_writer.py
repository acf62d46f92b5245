"""`examples/reference_writer.py`, the careful writer: each change once, nothing old over new, only what changed."""

import importlib.util
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace as replaced
from decimal import Decimal
from types import ModuleType
from typing import Any

import msgspec
import pytest

from matrices import ROOT
from ownership_stream import wire
from ownership_stream.model import Send
from ownership_stream.sources import Mapping, Writer
from source_kit import EHR, MATRIX, ehr_event, from_ehr, one

PATH = ROOT / "examples" / "reference_writer.py"
CHANGE = one(from_ehr(ehr_event()))
WITH_SCHEMA = msgspec.structs.replace(EHR, apply_form="json with schema")
TABLE = (
    "CREATE TABLE patient (patient_id INTEGER PRIMARY KEY, crm_id TEXT UNIQUE, family_name TEXT, given_name TEXT,"
    " birth_date TEXT, email TEXT, phone TEXT, weight_kg REAL, next_appointment_at TEXT, sync_change_id TEXT)"
)


def loaded() -> ModuleType:
    """The example, which is no package."""
    spec = importlib.util.spec_from_file_location("reference_writer", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_writer"] = module
    spec.loader.exec_module(module)
    return module


example = loaded()


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """A system's database with one patient in it."""
    connection = sqlite3.connect(":memory:")
    connection.execute(TABLE)
    connection.execute(
        "INSERT INTO patient (patient_id, family_name, email, phone) VALUES (123, 'Roe', 'r@x.org', '1')"
    )
    example.prepare(connection)
    yield connection
    connection.close()


def target(**options: Any) -> Any:
    """The table of these tests."""
    text = {Decimal: str}
    adapt = {"place": "?", "adapt": lambda value: text.get(type(value), lambda v: v)(value)}
    return example.Target("patient", "sync_change_id", **(adapt | options))


def record(
    *, change: str = "c-1", version: int = 2, expected: int = 1, mapping: Mapping = EHR, op: str = "u", **values: Any
) -> wire.Message:
    """An apply record as the stream writes it."""
    send = Send("ehr", "123", values, "change", version, expected)
    changed = msgspec.structs.replace(CHANGE, id=change)
    message = wire.apply_record(Writer(mapping, MATRIX), send, changed, rules=[], revision="r", at=7)
    assert message.value is not None
    return message._replace(value=message.value.replace(b'"op":"u"', f'"op":"{op}"'.encode()))


def written(database: sqlite3.Connection, message: wire.Message, **options: Any) -> str:
    """What becomes of a record."""
    outcome: str = example.write(database, target(**options), message.key, message.value)
    return outcome


def row(database: sqlite3.Connection, *columns: str) -> Any:
    """What the patient's columns hold."""
    return database.execute(f"SELECT {', '.join(columns)} FROM patient WHERE patient_id = 123").fetchone()  # noqa: S608 (the test's own words)


def test_only_the_changed_columns_and_the_marker_are_written(database: sqlite3.Connection) -> None:
    """A patch: what the record does not name keeps its value."""
    assert "written" == written(database, record(email="a@x.org"))
    assert ("a@x.org", "c-1", "Roe", "1") == row(database, "email", "sync_change_id", "family_name", "phone")


def test_a_cleared_field_becomes_null(database: sqlite3.Connection) -> None:
    """Null is a value here: it stands in the changed columns."""
    assert "written" == written(database, record(email=None))
    assert (None,) == row(database, "email")


def test_a_change_is_written_once(database: sqlite3.Connection) -> None:
    """Kafka delivers again what was not committed; what people wrote meanwhile stays."""
    first = record(email="a@x.org")
    assert "written" == written(database, first)
    database.execute("UPDATE patient SET email = 'person@x.org'")

    assert "duplicate" == written(database, first)
    assert ("person@x.org",) == row(database, "email")


def test_what_was_decided_before_something_written_is_not_written(database: sqlite3.Connection) -> None:
    """Also when the change itself is no longer remembered."""
    old, new = record(email="old@x.org"), record(change="c-2", version=5, expected=4, email="new@x.org")
    assert ["written", "written"] == [written(database, one) for one in (old, new)]
    database.execute("DELETE FROM ownership_written")

    assert "stale" == written(database, old)
    assert ("new@x.org",) == row(database, "email")


def test_versions_that_did_not_concern_this_system_are_no_gap(database: sqlite3.Connection) -> None:
    """The version is the record's: others may have raised it; a restore does not raise it at all."""
    messages = [
        record(email="a@x.org"),
        record(change="c-2", version=9, expected=8, email="b@x.org"),
        record(change="c-3", version=9, expected=9, email="c@x.org"),
    ]

    assert ["written"] * 3 == [written(database, message) for message in messages]
    assert ("c@x.org",) == row(database, "email")


def test_a_row_that_is_linked_to_another_record_goes_on_with_that_one_s_versions(database: sqlite3.Connection) -> None:
    """A version is a record's: the other's may be lower, and nothing of it is stale."""
    late = record(change="c-2", version=3, expected=2, email="b@x.org")
    assert late.value is not None
    linked = late._replace(value=late.value.replace(b'"record_id":"', b'"record_id":"other-'))

    assert "written" == written(database, record(version=9, expected=8, email="a@x.org"))
    assert "stale" == written(database, late)
    assert "written" == written(database, linked)
    assert ("b@x.org",) == row(database, "email")


def test_a_row_that_is_not_there_is_not_made_by_an_update(database: sqlite3.Connection) -> None:
    """What its own system deleted does not come back; and it is not remembered as written."""
    database.execute("DELETE FROM patient")
    assert "missing" == written(database, record(email="a@x.org"))
    assert row(database, "email") is None
    assert "created" == written(database, record(op="c", email="a@x.org"))
    assert ("a@x.org", "c-1") == row(database, "email", "sync_change_id")


def test_a_row_is_made_once_by_its_link_and_keeps_what_people_made_of_it(database: sqlite3.Connection) -> None:
    """The database gives it its key; whoever was faster is left alone, and nothing is remembered as written."""
    send = Send("ehr", "", {"email": "a@x.org"}, "create", 2, 2)
    messages = [
        wire.apply_record(
            Writer(EHR, MATRIX),
            send,
            msgspec.structs.replace(CHANGE, id=id_, record="R1"),
            rules=[],
            revision="r",
            at=7,
        )
        for id_ in ("c-1", "c-2")
    ]
    outcomes = [written(database, message) for message in (messages[0], messages[0], messages[1])]
    assert ["created", "duplicate", "exists"] == outcomes
    made = database.execute("SELECT patient_id, email, sync_change_id FROM patient WHERE crm_id = 'R1'").fetchall()
    assert [(124, "a@x.org", "c-1")] == made


def test_a_record_that_changes_nothing_writes_nothing(database: sqlite3.Connection) -> None:
    """Whether its row is there is looked up all the same."""
    message = record(email="a@x.org")
    assert message.value is not None
    empty = message._replace(value=message.value.replace(b'"changed_fields":["email"]', b'"changed_fields":[]'))
    options = {"marker": ""}

    assert "written" == example.write(database, replaced(target(), **options), empty.key, empty.value)
    assert ("r@x.org", None) == row(database, "email", "sync_change_id")
    database.execute("DELETE FROM patient")
    for table in ("ownership_written", "ownership_row"):
        database.execute(f"DELETE FROM {table}")  # noqa: S608 (the test's own words)
    assert "missing" == example.write(database, replaced(target(), **options), empty.key, empty.value)


def test_what_was_written_comes_back_as_what_was_sent(database: sqlite3.Connection) -> None:
    """Decided, written, captured and decoded again: the same values, with the marker that makes it an echo."""
    values: dict[str, Any] = {"email": "a@x.org", "weight": 80.25, "legal_name": {"family": "Doe", "given": "Ann"}}
    assert "written" == written(database, record(**values))
    names = ("email", "weight_kg", "family_name", "given_name", "sync_change_id")
    back = one(from_ehr(ehr_event(**dict(zip(names, row(database, *names), strict=True)))))

    assert values == {name: back.fields[name] for name in values}
    assert "c-1" == back.marker


def test_a_row_is_deleted_only_where_that_is_allowed(database: sqlite3.Connection) -> None:
    """By `op`; a tombstone is a marker for compaction and deletes nothing."""
    message = record(op="d", email="a@x.org")
    for value in (None, b"null"):
        assert "tombstone" == example.write(database, target(), message.key, value)
    assert "delete not allowed" == written(database, message)
    assert row(database, "email") == ("r@x.org",)
    assert "deleted" == written(database, message, delete=True)
    assert row(database, "email") is None
    assert "duplicate" == written(database, message, delete=True)


def test_with_schemas_dates_instants_and_decimals_are_written_as_such(database: sqlite3.Connection) -> None:
    """Days and microseconds are how the source writes them; a database takes a date and a timestamp."""
    values = {"date_of_birth": "1980-12-31", "next_appointment": "2026-01-01T10:00:00.123Z", "weight": 81.5}
    options = example.connected("sqlite::memory:", example.argparse.Namespace(table="patient", marker="", delete=False))
    message = record(mapping=WITH_SCHEMA, **values)

    assert "written" == example.write(database, options[1], message.key, message.value)
    assert ("1980-12-31", "2026-01-01 10:00:00.123000", 81.5) == row(
        database, "birth_date", "next_appointment_at", "weight_kg"
    )
    assert "written" == written(database, record(change="c-2", expected=2, **values))
    assert ("4017",) == row(database, "birth_date")


@pytest.mark.parametrize(
    ("schema", "raw", "value"),
    [
        ({"name": "io.debezium.time.Timestamp"}, 1_767_261_600_123, "2026-01-01 10:00:00.123000"),
        ({"name": "io.debezium.time.NanoTimestamp"}, 1_767_261_600_123_456_789, "2026-01-01 10:00:00.123456"),
        ({"name": "io.debezium.time.ZonedTimestamp"}, "2026-01-01T10:00:00.123Z", "2026-01-01 10:00:00.123000+00:00"),
        ({"name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}, "H8k=", "81.37"),
        ({"name": "io.debezium.data.VariableScaleDecimal"}, {"scale": 2, "value": "/w=="}, "-0.01"),
        ({"type": "string"}, "a", "a"),
        ({"name": "io.debezium.time.Date"}, None, "None"),
    ],
)
def test_a_value_is_converted_by_its_semantic_type(schema: dict[str, Any], raw: Any, value: str) -> None:
    """Those of Debezium and of Kafka Connect."""
    assert value == str(example.converted(raw, schema))


@pytest.mark.parametrize("value", [b"{", b"[]", b"7", b"{}", b'{"op":"u","sync":{}}', b'{"schema":{},"payload":{}}'])
def test_what_is_no_apply_record_stops_the_writer(database: sqlite3.Connection, value: bytes) -> None:
    """Nothing is skipped in silence, and the error says no value."""
    with pytest.raises(example.UnusableError, match="no apply record"):
        example.write(database, target(), b'{"patient_id":123}', value)


def test_a_record_without_key_or_with_a_name_that_is_no_word_is_refused(database: sqlite3.Connection) -> None:
    """Names come from outside, and stand in SQL."""
    message = record(email="a@x.org")
    with pytest.raises(example.UnusableError, match="no apply record"):
        example.write(database, target(), None, message.value)
    bad = message._replace(value=(message.value or b"").replace(b'"email"', b'"email = 1 --"'))
    with pytest.raises(example.UnusableError, match="whose name is no plain word"):
        example.write(database, target(), bad.key, bad.value)


def test_a_key_of_several_rows_is_refused(database: sqlite3.Connection) -> None:
    """One record is one row."""
    database.execute("CREATE TABLE many (patient_id INTEGER, email TEXT, sync_change_id TEXT)")
    database.executemany("INSERT INTO many (patient_id) VALUES (?)", [(123,), (123,)])

    with pytest.raises(example.UnusableError, match="do not name one row"):
        example.write(database, example.Target("many", place="?"), *record(email="a@x.org")[:2])


# ---------------------------------------------------------------------------------------------------- the loop


class FakeMessage:
    """A consumed record."""

    def __init__(self, message: wire.Message) -> None:
        self.message = message

    def error(self) -> None:
        """None: it came well."""

    def key(self) -> bytes | None:
        """Its key."""
        return self.message.key

    def value(self) -> bytes | None:
        """Its value."""
        return self.message.value

    def topic(self) -> str:
        """Where it stands."""
        return "apply.ehr"

    def partition(self) -> int:
        """Where it stands."""
        return 3

    def offset(self) -> int:
        """Where it stands."""
        return 42


class FakeConsumer:
    """Gives its batches one after the other, and notes what the database held when it was told to commit."""

    def __init__(self, database: sqlite3.Connection, *batches: Sequence[wire.Message]) -> None:
        self.database, self.batches = database, list(batches)
        self.committed: list[tuple[bool, Any]] = []

    def consume(self, number: int, timeout: float) -> list[FakeMessage]:
        """The next batch."""
        del number, timeout
        return [FakeMessage(message) for message in self.batches.pop(0)]

    def commit(self, *, asynchronous: bool) -> None:
        """Note whether a transaction was still open, and the e-mail."""
        assert not asynchronous
        self.committed.append((self.database.in_transaction, row(self.database, "email")))


def test_offsets_are_committed_after_the_database_s_transaction(database: sqlite3.Connection) -> None:
    """A batch is one transaction; an empty one commits nothing."""
    batch = [record(email="a@x.org"), record(change="c-2", version=3, expected=2, email="b@x.org")]
    consumer = FakeConsumer(database, batch, [], batch)
    loop = example.run(consumer, database, target())

    assert [{"written": 2}, {}, {"duplicate": 2}] == [next(loop) for _ in range(3)]
    assert [(False, ("b@x.org",))] * 2 == consumer.committed


def test_a_batch_that_fails_leaves_nothing_and_commits_no_offset(database: sqlite3.Connection) -> None:
    """It is said where, and no value: it will come again."""
    database.execute("CREATE TRIGGER t BEFORE UPDATE OF phone ON patient BEGIN SELECT RAISE(ABORT, 'Zebedee'); END")
    database.commit()
    consumer = FakeConsumer(database, [record(email="a@x.org"), record(change="c-2", phone="+12025550100", expected=2)])

    with pytest.raises(example.UnusableError) as caught:
        next(example.run(consumer, database, target()))
    assert "apply.ehr [3] at offset 42: IntegrityError" == str(caught.value).split(" SQL")[0]
    assert ("r@x.org",) == row(database, "email")
    assert [] == consumer.committed


def test_the_example_stands_alone_and_says_how_it_is_used() -> None:
    """Nothing of ours is imported, so it can be copied; its help names every option of the page."""
    assert "ownership_stream" not in PATH.read_text(encoding="utf-8")
    shown = subprocess.run([sys.executable, str(PATH), "--help"], capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    command = page.split("reference_writer.py ")[1].split("```")[0]

    options = [word for word in command.split() if word.startswith("--")]
    assert options
    assert [] == [option for option in options if option not in shown]
