"""Debezium on each database: whose row it is, where it stands in the source's order, who wrote it, what it holds."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from debezium_kit import DATABASES, EXAMPLES, FLATTENED, MAPPINGS, change, decoded, edited, fixture, read
from deciding import Record
from matrices import ROOT
from ownership_stream import sources
from ownership_stream.accounting import is_created
from ownership_stream.matrix.document import parse
from ownership_stream.matrix.normalise import scalar
from ownership_stream.model import Change
from ownership_stream.sources.encodings import PLAIN, json_type
from ownership_stream.sources.events import add_fields
from ownership_stream.sources.schema import schema
from source_kit import AT, CONTACT, MATRIX, one, refused

HELD = {
    "legal_name": {"family": "Grow", "given": "Ann"},
    "date_of_birth": "1980-12-31",
    "email": "ann@example.org",
    "weight": 81.5,
}


# ---------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("database", DATABASES)
def test_the_same_row_is_the_same_change_whatever_the_database(database: str) -> None:
    """Each writes dates, decimals, instants and keys in its own way, as its mapping says."""
    found = change(database, "update")

    assert HELD == {name: value for name, value in found.fields.items() if name in HELD}
    assert "2026-01-01T10:00:00.123Z" == found.fields["next_appointment"]
    assert (CONTACT, "ehr", "123", "u") == (found.record, found.system, found.key, found.op)


@pytest.mark.parametrize(
    ("database", "row"),
    [
        ("postgresql", "ehr/public.patient/123"),
        ("mysql", "ehr/clinic.patient/123"),
        ("mariadb", "ehr/clinic.patient/123"),
        ("sqlserver", "ehr/dbo.patient/123"),
        ("oracle", "ehr/CLINIC.PATIENT/123"),
    ],
)
def test_a_table_is_named_with_its_schema_or_its_database(database: str, row: str) -> None:
    """MySQL has no schemas: a table is named with its database."""
    assert row == change(database, "update").row


@pytest.mark.parametrize("database", DATABASES)
def test_a_snapshot_is_a_read(database: str) -> None:
    """Whatever word the connector flags it with, and also where it is called a create."""
    assert "r" == change(database, "snapshot").op
    record = fixture(database, "snapshot")
    for flag in (True, "first_in_data_collection", "last", "incremental"):
        record["value"] |= {"op": "c", "source": record["value"]["source"] | {"snapshot": flag}}
        assert "r" == one(read(record, MAPPINGS[database])).op


@pytest.mark.parametrize("database", DATABASES)
def test_a_delete_carries_no_fields(database: str) -> None:
    """The record is known by the row as it was before."""
    found = change(database, "delete")

    assert ("d", CONTACT, {}, None) == (found.op, found.record, found.fields, found.actor)


@pytest.mark.parametrize("database", DATABASES)
def test_an_event_of_another_connector_is_refused(database: str) -> None:
    """Its position would mean something else."""
    other = "mysql" if database != "mysql" else "mariadb"
    error = refused(read, edited(database, "update", source={"connector": other}), mapping=MAPPINGS[database])

    assert ("unsupported", True) == (error.reason, f"`{database}` connector" in error.message)


def test_the_schema_wrapper_changes_nothing() -> None:
    """With `schemas.enable=true` the same change comes out."""
    assert change("mysql", "update") == change("mysql", "update_with_schema")


@pytest.mark.parametrize(
    ("database", "name", "ignored"),
    [
        ("mysql", "tombstone", "tombstone"),
        ("mysql", "truncate", "truncate"),
        ("mysql", "heartbeat", "heartbeat"),
        ("mysql", "transaction", "transaction"),
        ("postgresql", "truncate", "truncate"),
        ("postgresql", "message", "message"),
    ],
)
def test_what_is_no_row_is_ignored_by_name(database: str, name: str, ignored: str) -> None:
    """As the connectors really write them."""
    assert ((), ignored) == (decoded(database, name).changes, decoded(database, name).ignored)


# ---------------------------------------------------------------------------------------------------- positions


@pytest.mark.parametrize(
    ("database", "position", "version"),
    [
        ("postgresql", (3, 24023119, 24023128), "3:24023119:24023128"),
        ("mysql", (3, 3, 484), "3:3:484"),
        ("mariadb", (3, 12, 1042), "3:12:1042"),
        ("sqlserver", (3, 0x27, 0xAC0, 7), "3:39:2752:7"),
        ("oracle", (3, 2122189, 2122184, 1), "3:2122189:2122184:1"),
    ],
)
def test_a_position_is_made_of_what_the_database_counts(database: str, position: tuple[int, ...], version: str) -> None:
    """The source epoch first."""
    found = change(database, "update", epoch=3)

    assert (position, version) == (found.position, found.source_version)


@pytest.mark.parametrize("database", ["mysql", "sqlserver", "oracle"])
def test_what_happens_to_a_row_has_growing_positions(database: str) -> None:
    """Snapshot, create, update, delete."""
    found = [change(database, name).position for name in ("snapshot", "create", "update", "delete")]

    assert all(earlier < later for earlier, later in pairwise(found))  # type: ignore[operator]  # all have one


LATER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mysql", {"file": "mysql-bin.000009", "pos": 9000}, {"file": "mysql-bin.000010", "pos": 4}),
    ("mysql", {"file": "mysql-bin.999999", "pos": 9000}, {"file": "mysql-bin.1000000", "pos": 4}),
    ("mysql", {"file": "a.b-bin.000003", "pos": 99}, {"file": "a.b-bin.000003", "pos": 100}),
    ("sqlserver", {"commit_lsn": "00000027:0000ffff:0002"}, {"commit_lsn": "00000028:00000001:0001"}),
    ("sqlserver", {"commit_lsn": "000000FF:00000001:0001"}, {"commit_lsn": "00000100:00000001:0001"}),
    ("sqlserver", {"commit_lsn": "00000027:00000ac0:0009"}, {"commit_lsn": "00000027:00000AC0:000A"}),
    ("oracle", {"commit_scn": "999"}, {"commit_scn": "1000"}),
    ("oracle", {"commit_scn": 999}, {"commit_scn": 1000}),
    ("oracle", {"scn": "2122184", "txSeq": 9}, {"scn": "2122184", "txSeq": 10}),
    ("oracle", {"scn": "2122184", "txSeq": 9}, {"scn": "2122185", "txSeq": 10}),
]


@pytest.mark.parametrize(("database", "earlier", "later"), LATER)
def test_a_later_change_has_a_greater_position(database: str, earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """By number, never by text."""
    first, second = (
        one(read(edited(database, "update", source=said), MAPPINGS[database])).position for said in (earlier, later)
    )

    assert first < second  # type: ignore[operator]  # both have one


def test_an_epoch_outranks_a_binlog_that_began_anew() -> None:
    """After `RESET BINARY LOGS`, a restore, or the promotion of a replica the numbers begin at 1 again."""
    reset = edited("mysql", "update", source={"file": "mysql-bin.000001", "pos": 4})

    before, after = change("mysql", "update").position, one(read(reset, MAPPINGS["mysql"], epoch=1)).position
    assert before < after  # type: ignore[operator]  # both have one


def test_a_server_that_the_mapping_does_not_name_is_refused() -> None:
    """After a failover its binlog counts anew: rather dead letters than repeats that nobody sees."""
    mapping = MAPPINGS["mysql"]
    promoted = edited("mysql", "update", source={"server_id": 223345})
    row = edited("mysql", "flattened_update")
    flattened = msgspec.structs.replace(mapping, form="flattened")
    garbled = edited("mysql", "update", source={"server_id": [223344]})
    error, unsaid = refused(read, promoted, mapping=mapping), refused(read, row, mapping=flattened)

    assert frozenset({223344}) == mapping.servers
    assert 0 == fixture("mysql", "snapshot")["value"]["source"]["server_id"]
    assert "r" == one(read(fixture("mysql", "snapshot"), mapping)).op
    assert "no_position" == refused(read, garbled, mapping=mapping).reason
    assert ("no_position", True) == (error.reason, "raise `source_epoch`, and name it in the mapping" in error.message)
    assert ("no_position", True) == (unsaid.reason, "source.pos,source.server_id`" in unsaid.message)
    named = edited("mysql", "flattened_update", value={"__source_server_id": 223344})
    assert change("mysql", "flattened_update") == one(read(named, flattened))


UNPLACED: list[tuple[str, dict[str, Any], str]] = [
    ("postgresql", {"sequence": None, "lsn": None}, "neither `source.sequence` nor `source.lsn` gives a position"),
    ("mysql", {"file": None}, "`source.file` and `source.pos` give no position"),
    ("mysql", {"file": ""}, "`source.file` and `source.pos` give no position"),
    ("mysql", {"file": "mysql-bin"}, "`source.file` and `source.pos` give no position"),
    ("mysql", {"pos": -1}, "`source.file` and `source.pos` give no position"),
    ("mysql", {"pos": "4"}, "`source.file` and `source.pos` give no position"),
    ("mariadb", {"pos": ...}, "`source.file` and `source.pos` give no position"),
    ("sqlserver", {"commit_lsn": None}, "`source.commit_lsn` gives no position"),
    ("sqlserver", {"commit_lsn": "27:ac0:2"}, "`source.commit_lsn` gives no position"),
    ("oracle", {"commit_scn": None}, "`source.commit_scn` and `source.scn` give no position"),
    ("oracle", {"commit_scn": "1:1:a,2:2:b"}, "`source.commit_scn` and `source.scn` give no position"),
    ("oracle", {"commit_scn": "9" * 19}, "`source.commit_scn` and `source.scn` give no position"),
]


@pytest.mark.parametrize(("database", "said", "message"), UNPLACED)
def test_an_event_without_a_position_is_refused(database: str, said: dict[str, Any], message: str) -> None:
    """It could not be told from a repeat; the message names what is missing."""
    error = refused(read, edited(database, "update", source=said), mapping=MAPPINGS[database])

    assert ("no_position", True) == (error.reason, message in error.message)


def in_one_transaction(database: str, **said: Any) -> list[Change]:
    """Two changes of one row at one place: in a compressed binlog, or where nothing numbers a transaction's changes."""
    columns = {"oracle": "FAMILY_NAME"}.get(database, "family_name")
    values = ("Once", "Twice")
    return [
        one(read(edited(database, "update", source=said, after={columns: value}), MAPPINGS[database]))
        for value in values
    ]


@pytest.mark.parametrize(
    ("database", "said"),
    [("mysql", {}), ("mariadb", {}), ("sqlserver", {}), ("oracle", {"rs_id": None, "ssn": 0, "txSeq": None})],
)
def test_two_changes_at_one_position_are_two_changes(database: str, said: dict[str, Any]) -> None:
    """Equal positions with unequal ids pass in the order of arrival; a repeat of one of them has its id."""
    first, second = in_one_transaction(database, **said)

    assert first.position == second.position
    assert first.id != second.id
    assert in_one_transaction(database, **said) == [first, second]


def test_the_rows_of_one_binlog_event_are_no_order() -> None:
    """In a compressed transaction a later event begins its rows at 0 again: `row` is not part of the position."""
    earlier = one(read(edited("mysql", "update", source={"row": 1}), MAPPINGS["mysql"]))
    later = one(read(edited("mysql", "update", source={"row": 0}), MAPPINGS["mysql"]))

    assert earlier.position == later.position
    assert "ehr:124" == change("mysql", "update_second_row").record


def test_the_changes_of_one_sql_server_transaction_are_in_the_order_of_arrival() -> None:
    """`change_lsn` can go back within it: the database says itself that it orders nothing."""
    changes = [
        one(
            read(
                edited("sqlserver", "update", source={"change_lsn": f"00000027:00000ac0:{slot}"}), MAPPINGS["sqlserver"]
            )
        )
        for slot in ("0009", "0002")
    ]

    assert changes[0].position == changes[1].position


def test_a_change_made_before_a_snapshot_and_committed_after_it_is_later() -> None:
    """Oracle: by the SCN of its commit; that of the change alone would make it older than what the snapshot read."""
    late = one(read(edited("oracle", "update", source={"scn": "2121999", "commit_scn": "2122001"}), MAPPINGS["oracle"]))

    assert change("oracle", "snapshot").position < late.position  # type: ignore[operator]  # both have one


# ---------------------------------------------------------------------------------------------------- writers


def test_oracles_user_is_the_writer_and_always_fresh() -> None:
    """The event itself names them, not a column that the row keeps."""
    found = change("oracle", "update")

    assert ("DR_GROW", "provider", "person", ("actor",)) == (found.actor, found.role, found.origin, found.event)


@pytest.mark.parametrize("user", [None, "UNKNOWN", "", 7, ...])
def test_a_user_that_logminer_cannot_name_is_nobody(user: Any) -> None:
    """An automation without a role."""
    found = one(read(edited("oracle", "update", source={"user_name": user}), MAPPINGS["oracle"]))

    assert (None, None, "automation", ()) == (found.actor, found.role, found.origin, found.event)


def test_an_oracle_table_may_name_its_writer_in_a_column_too() -> None:
    """Then `user_name` means nothing."""
    (table,) = MAPPINGS["oracle"].tables.values()
    plain = msgspec.structs.replace(table, event_actor=False)
    mapping = msgspec.structs.replace(MAPPINGS["oracle"], tables={table.name: plain})

    assert None is one(read(fixture("oracle", "update"), mapping)).actor


# ---------------------------------------------------------------------------------------------------- values


def test_a_mysql_zero_date_is_null_where_the_mapping_says_so() -> None:
    """Debezium makes the epoch of `0000-00-00` in a column that takes no null; without the words it is a birthday."""
    assert None is change("mysql", "zero_date").fields["date_of_birth"]
    example = MAPPINGS["mysql"]
    (table,) = example.tables.values()
    columns = tuple(
        msgspec.structs.replace(column, encoding=msgspec.structs.replace(column.encoding, zero=False))
        for column in table.columns
    )
    plain = msgspec.structs.replace(example, tables={table.name: msgspec.structs.replace(table, columns=columns)})

    assert "1970-01-01" == one(read(fixture("mysql", "zero_date"), plain)).fields["date_of_birth"]
    assert {"birth_date": 0} == sources.Writer(example, MATRIX).columns("date_of_birth", None)
    assert {"birth_date": None} == sources.Writer(plain, MATRIX).columns("date_of_birth", None)


def test_an_oracle_number_without_precision_is_a_key() -> None:
    """`{scale, value}`, read and written back; one with a fraction is no key."""
    writer = sources.Writer(MAPPINGS["oracle"], MATRIX)
    broken = edited("oracle", "update", after={"PATIENT_ID": {"scale": 1, "value": "ew=="}})
    garbled = edited("oracle", "update", after={"PATIENT_ID": {"scale": 0, "value": "?"}})

    assert {"PATIENT_ID": {"scale": 0, "value": "ew=="}} == writer.key("123")
    assert "bad_key" == refused(read, broken, mapping=MAPPINGS["oracle"]).reason
    assert "bad_key" == refused(read, garbled, mapping=MAPPINGS["oracle"]).reason
    hundred = edited("oracle", "update", after={"PATIENT_ID": {"scale": -2, "value": "AQ=="}})
    assert "100" == one(read(hundred, MAPPINGS["oracle"])).key


def as_mapped(column: str, encoding: str) -> sources.Mapping:
    """The example of PostgreSQL with one column written in another way."""
    text = f"""
source: ehr
system: ehr
connector: debezium postgresql
topics: [ehr.public.patient]
tables:
  public.patient:
    key: patient_id as integer
    record: key
    columns: {{{column}: {encoding}}}
"""
    return sources.load_document(parse(text.encode(), "m.yaml"), MATRIX).mapping


ENCODED: list[tuple[str, Any, Any]] = [
    # time.precision.mode: adaptive, adaptive_time_microseconds
    ("date_of_birth as epoch days", 4017, "1980-12-31"),
    ("next_appointment as epoch ms", 1_767_261_600_123, "2026-01-01T10:00:00.123Z"),
    ("next_appointment as epoch us", 1_767_261_600_123_456, "2026-01-01T10:00:00.123Z"),
    ("next_appointment as epoch ns", 1_767_261_600_123_456_700, "2026-01-01T10:00:00.123Z"),
    # connect: every timestamp in milliseconds
    ("date_of_birth as epoch ms", 4017 * 86_400_000, "1980-12-31"),
    # isostring, and zoned timestamps in any mode
    ("date_of_birth as iso", "1980-12-31Z", "1980-12-31"),
    ("date_of_birth as iso", "1980-12-31T00:00:00Z", "1980-12-31"),
    ("next_appointment as iso", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000Z"),
    ("next_appointment as iso", "2026-01-01T11:00:00.1234567+01:00", "2026-01-01T10:00:00.123Z"),
    ("next_appointment as epoch ms with zero as null", 0, None),
    ("next_appointment as iso with zero as null", "1970-01-01T00:00:00Z", None),
    ("next_appointment as iso with zero as null", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000Z"),
    ("next_appointment as epoch ms", 0, "1970-01-01T00:00:00.000Z"),
    # decimal.handling.mode: precise, double, string
    ("weight as decimal 2", "H9Y=", 81.5),
    ("weight as decimal", {"scale": 1, "value": "Ay8="}, 81.5),
    ("weight as decimal", {"scale": -1, "value": "CA=="}, 80),
    ("weight", 81.5, 81.5),
    ("weight", "81.50", 81.5),
    ("allergies as nested", ["nuts", "pollen"], '["nuts","pollen"]'),
    ("allergies as nested", {"pollen": "yes", "nuts": None}, '{"nuts":null,"pollen":"yes"}'),
    ("allergies as nested", [], "[]"),
    ("allergies as nested", None, None),
]


@pytest.mark.parametrize(("encoding", "raw", "value"), ENCODED)
def test_each_setting_of_a_connector_has_its_encoding(encoding: str, raw: Any, value: Any) -> None:
    """And what is read is written back as the same."""
    mapping = as_mapped("x", encoding)
    event = edited("postgresql", "update")
    event["value"]["after"] = {"patient_id": 123, "x": raw}
    found = one(read(event, mapping))
    (field,) = found.fields

    assert value == found.fields[field]
    back = sources.Writer(mapping, MATRIX).columns(field, found.fields[field])
    event["value"]["after"] |= back
    assert found.fields == one(read(event, mapping)).fields


@pytest.mark.parametrize(("raw", "value"), [(1, True), (0, False), (True, True), ("false", False), (None, None)])
def test_a_mysql_tinyint_is_a_boolean(raw: Any, value: bool | None) -> None:
    """`tinyint(1)` arrives as a number, or as a boolean by Debezium's converter, or as text."""
    assert msgspec.convert(raw, json_type(PLAIN, "boolean") | None) == raw
    assert value is scalar("boolean", raw)


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("allergies as nested", "nuts"),
        ("allergies as nested", 7),
        ("allergies as nested", ["x" * 5000]),
        ("weight as decimal", {"scale": 99, "value": "Ay8="}),
        ("next_appointment as iso", "0000-00-00"),
        ("date_of_birth as epoch days", 2**31 - 1),
    ],
)
def test_a_value_of_no_canonical_form_is_refused(encoding: str, raw: Any) -> None:
    """Infinity and beyond, no array, no ISO text."""
    event = edited("postgresql", "update")
    event["value"]["after"] = {"patient_id": 123, "x": raw}

    assert "not_canonical" == refused(read, event, mapping=as_mapped("x", encoding)).reason


# ---------------------------------------------------------------------------------------------------- unavailable

PLACEHOLDER = "__debezium_unavailable_value"


def java_named_uuid(octets: bytes) -> str:
    """`java.util.UUID.nameUUIDFromBytes`, spelled out: MD5 with the version's and the variant's bits set."""
    digest = bytearray(hashlib.md5(octets, usedforsecurity=False).digest())
    digest[6] = digest[6] & 0x0F | 0x30
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


SHAPES: list[tuple[str, Any]] = [
    ("email", PLACEHOLDER),
    ("email", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
    ("email", PLACEHOLDER.encode().hex()),
    ("allergies", f'{{"{PLACEHOLDER}":"{PLACEHOLDER}"}}'),
    ("weight as decimal 2", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
    ("weight as decimal", {"scale": 0, "value": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="}),
    ("allergies as nested", [PLACEHOLDER]),
    ("allergies as nested", list(PLACEHOLDER.encode())),
    ("allergies as nested", [float(octet) for octet in PLACEHOLDER.encode()]),
    ("allergies as nested", {PLACEHOLDER: PLACEHOLDER}),
    ("allergies as nested", [java_named_uuid(PLACEHOLDER.encode())]),
    ("conditions.diagnoses as nested", [PLACEHOLDER]),
]


@pytest.mark.parametrize(("encoding", "raw"), SHAPES)
def test_an_unavailable_value_is_not_carried_in_whatever_shape(encoding: str, raw: Any) -> None:
    """Text, binary as base64 and hex, decimal, arrays of texts, numbers and UUIDs, hstore as text and as a map."""
    mapping = as_mapped("y: conditions.program, x" if "conditions" in encoding else "x", encoding)
    event = edited("postgresql", "update")
    event["value"]["after"] = {"patient_id": 123, "x": raw}

    assert {} == one(read(event, mapping)).fields


@pytest.mark.parametrize("placeholder", ["n/a", "hex:6e2f61", "hex:fffe"])
def test_another_placeholder_has_the_same_shapes(placeholder: str) -> None:
    """`unavailable.value.placeholder` takes a text, or octets in hexadecimal; Java's octets are signed."""
    mapping = msgspec.structs.replace(as_mapped("x", "allergies as nested"), unavailable=placeholder)
    octets = [-1, -2] if placeholder == "hex:fffe" else [0x6E, 0x2F, 0x61]
    for raw, carried in ((octets, False), ([PLACEHOLDER], True)):
        event = edited("postgresql", "update")
        event["value"]["after"] = {"patient_id": 123, "x": raw}
        assert carried == ("allergies" in one(read(event, mapping)).fields)


def test_a_placeholder_in_a_fixture_never_becomes_a_value() -> None:
    """PostgreSQL's TOAST and Oracle's large objects."""
    assert {"allergies", "email", "weight"}.isdisjoint(change("postgresql", "update_toast").fields)
    assert "allergies" in change("postgresql", "update").fields
    assert "allergies" not in change("oracle", "update").fields


# ---------------------------------------------------------------------------------------------------- replica identity


def test_before_is_not_needed() -> None:
    """With the default replica identity an update has none; changes are known by our own state."""
    assert change("postgresql", "update") == change("postgresql", "update_default_identity")


def test_a_delete_of_the_default_identity_says_whose_it_was_only_by_its_key() -> None:
    """Where the key is the record, that is enough; where a link column names it, the event is no one's."""
    linked = refused(read, fixture("postgresql", "delete_default_identity"), mapping=MAPPINGS["postgresql"])
    (table,) = MAPPINGS["postgresql"].tables.values()
    ignored = table.ignored | {"crm_id"}
    own = msgspec.structs.replace(table, record=type(table.record)(), ignored=ignored)
    mapping = msgspec.structs.replace(MAPPINGS["postgresql"], tables={table.name: own})

    assert ("no_record", True) == (linked.reason, "replica identity full" in linked.message)
    assert "123" == one(read(fixture("postgresql", "delete_default_identity"), mapping)).record


# ---------------------------------------------------------------------------------------------------- changed keys


@pytest.mark.parametrize("database", ["postgresql", "mysql", "oracle"])
def test_a_changed_primary_key_moves_a_linked_row(database: str) -> None:
    """The delete of the old key is no delete, and the create of the new one no create: one update under a new key."""
    gone, come = decoded(database, "key_change_delete"), change(database, "key_change_create")

    assert ((), "moved") == (gone.changes, gone.ignored)
    assert (CONTACT, "999", "u") == (come.record, come.key, come.op)


def test_sql_server_logs_a_changed_key_as_delete_and_create() -> None:
    """Debezium passes both on without headers: nothing says that they are one."""
    assert ["d", "c"] == [change("sqlserver", f"key_change_{half}").op for half in ("delete", "create")]


def test_a_moved_row_is_no_new_one_to_the_record() -> None:
    """The system stays present under its new key; nothing is decided anew, sent, opened or counted as created."""
    record = Record(MATRIX)
    first = one(read(edited("mysql", "create", after={"allergies": None}), MAPPINGS["mysql"]))
    record.decide(msgspec.structs.replace(first, received=record.now))
    before = record.state
    moved = msgspec.structs.replace(change("mysql", "key_change_create"), received=record.now)
    decision = record.decide(moved)

    assert ("999", True) == (record.system("ehr").key, record.system("ehr").present)
    assert [] == [outcome for outcome in decision.outcomes if outcome.outcome != "noop"]
    assert ((), ()) == (decision.sends, decision.cases)
    assert not is_created(before, moved, decision)


def test_a_changed_primary_key_of_an_unlinked_row_ends_its_record() -> None:
    """Named by its key it is another record afterwards: the old one is absent, the new one is no native create."""
    unlinked = {"crm_id": None}
    gone = one(read(edited("mysql", "key_change_delete", before=unlinked), MAPPINGS["mysql"]))
    come = one(read(edited("mysql", "key_change_create", after=unlinked), MAPPINGS["mysql"]))

    assert [("ehr:123", "d"), ("ehr:999", "u")] == [(gone.record, gone.op), (come.record, come.op)]


def test_a_changed_key_with_the_default_identity_cannot_be_followed() -> None:
    """Whether the row was linked is not said: a guess would leave a record present that is not."""
    record = fixture("postgresql", "delete_default_identity") | {"headers": [["__debezium.newkey", "{}"]]}

    assert "no_record" == refused(read, record, mapping=MAPPINGS["postgresql"]).reason


def test_the_header_alone_moves_nothing_else() -> None:
    """An update with such a header, or a delete without it, is what it says."""
    update = fixture("mysql", "update") | {"headers": [["__debezium.newkey", "{}"], ["__debezium.oldkey", "{}"]]}
    delete = fixture("mysql", "key_change_delete") | {"headers": [["__debezium.oldkey", "{}"]]}

    assert "u" == one(read(update, MAPPINGS["mysql"])).op
    assert "d" == one(read(delete, MAPPINGS["mysql"])).op


# ---------------------------------------------------------------------------------------------------- times


def test_times_come_from_the_database() -> None:
    """`source.ts_ms`, not the connector's own."""
    assert AT == change("sqlserver", "update").at
    assert 1_767_261_600_000 == change("mysql", "update").at


# ---------------------------------------------------------------------------------------------------- the examples


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_an_example_satisfies_the_shipped_schema(path: Path) -> None:
    """What an editor says of it: nothing. That each loads is what every test above needs."""
    document = json.loads(json.dumps(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))))

    assert [] == list(Draft202012Validator(schema()).iter_errors(document))


def test_the_page_names_the_settings_that_give_a_position() -> None:
    """For each database the whole of `add.fields`, as the errors say it."""
    page = (ROOT / "docs" / "sources" / "debezium.md").read_text(encoding="utf-8")

    for mapping in FLATTENED.values():
        assert f"`{add_fields(mapping)}`" in page
