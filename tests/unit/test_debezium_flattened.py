"""Rows that `ExtractNewRecordState` has flattened: the same changes, or a clear word on what the transform must add."""

from typing import Any

import msgspec
import pytest

from debezium_kit import FLATTENED, MAPPINGS, change, decoded, edited, fixture, read
from ownership_stream import sources
from ownership_stream.model import Change
from source_kit import AT, CONTACT, MATRIX, one, packed, refused

MAPPING = FLATTENED["postgresql"]
BY_TIME = msgspec.structs.replace(MAPPING, by_timestamp=True)


def flat(name: str = "flattened_update", **changes: Any) -> dict[str, Any]:
    """A flattened row of PostgreSQL with some of its keys replaced; ``...`` takes one out."""
    return edited("postgresql", name, value=changes)


def without_print(found: Change) -> Change:
    """A change but for what only tells equal positions apart."""
    return msgspec.structs.replace(found, id="")


# ---------------------------------------------------------------------------------------------------- the same change


@pytest.mark.parametrize("database", ["postgresql", "mysql", "sqlserver", "oracle"])
def test_a_flattened_row_is_the_same_change_as_its_envelope(database: str) -> None:
    """Its position, time, writer and values, by what `add.fields` copied."""
    assert without_print(change(database, "update")) == without_print(change(database, "flattened_update"))


def test_it_even_has_the_same_id_where_positions_are_never_shared() -> None:
    """So that a connector may be changed to the other form in mid-stream."""
    assert change("postgresql", "update") == change("postgresql", "flattened_update")


def test_the_schema_wrapper_changes_nothing() -> None:
    """With `schemas.enable=true` the same change comes out."""
    assert change("postgresql", "flattened_update") == change("postgresql", "flattened_with_schema")


def test_a_snapshot_is_a_read() -> None:
    """By its operation, or by the flag of an older connector."""
    assert "r" == change("postgresql", "flattened_snapshot").op
    assert "r" == one(read(flat("flattened_snapshot", __op="c"), MAPPING)).op


def test_a_read_is_a_snapshots_also_where_its_flag_was_not_copied() -> None:
    """Oracle's has no SCN of a commit: its place is where it was read."""
    said = {"__op": "r", "__source_commit_scn": None, "__source_snapshot": ...}

    assert "r" == one(read(edited("oracle", "flattened_update", value=said), FLATTENED["oracle"])).op


@pytest.mark.parametrize("deleted", ["true", True])
def test_a_rewritten_delete_is_a_delete(deleted: str | bool) -> None:
    """`__deleted` says it, also where the operation was not copied, or a cast made it a boolean."""
    found = one(read(flat("flattened_delete", __op=..., __deleted=deleted), MAPPING))

    assert ("d", CONTACT, {}) == (found.op, found.record, found.fields)
    assert found == change("postgresql", "flattened_delete")


@pytest.mark.parametrize("value", [None, {"schema": None, "payload": None}])
def test_a_tombstone_is_none_the_less_no_delete(value: Any) -> None:
    """Deletes have to be rewritten: a null value says neither where it stands nor whose record it was."""
    assert "tombstone" == read(fixture("postgresql", "flattened_update") | {"value": value}, MAPPING).ignored


def test_truncates_are_ignored_here_too() -> None:
    """Where the transform lets them through."""
    assert "truncate" == read(flat(__op="t"), MAPPING).ignored


@pytest.mark.parametrize("prefix", ["meta_", "_", "dbz."])
def test_the_prefix_of_added_fields_can_be_another(prefix: str) -> None:
    """`add.fields.prefix`; only `__deleted` keeps its name."""
    record = fixture("postgresql", "flattened_update")
    record["value"] = {
        name.replace("__", prefix, 1) if name.startswith("__") and name != "__deleted" else name: value
        for name, value in record["value"].items()
    }

    assert change("postgresql", "flattened_update") == one(
        read(record, msgspec.structs.replace(MAPPING, added_prefix=prefix))
    )


def test_added_fields_may_come_without_their_struct() -> None:
    """`add.fields=op,table,lsn,sequence` names the source's fields as `__lsn` and `__sequence`."""
    plain = flat(
        __source_sequence=...,
        __source_lsn=...,
        __source_snapshot=...,
        __sequence='["24023119","24023128"]',
        __lsn=24023128,
        __snapshot="false",
    )

    assert change("postgresql", "flattened_update") == one(read(plain, MAPPING))


def test_the_connectors_own_time_is_not_the_sources() -> None:
    """`__ts_ms` is the envelope's: where the source's was not copied, the record's time stands for it."""
    found = one(read(flat(__source_ts_ms=..., __ts_ms=5), MAPPING, at=AT + 9))

    assert AT + 9 == found.at


def test_what_else_was_added_means_nothing() -> None:
    """Whatever of the source block or of the transaction."""
    others = {"__name": "ehr", "__db": "ehr", "__source_txId": 556, "__id": "556:1", "__transaction_total_order": 1}

    assert change("postgresql", "flattened_update") == one(read(flat(**others), MAPPING))


def test_a_changed_key_moves_a_flattened_row_too() -> None:
    """The headers stay with the record."""
    gone = flat("flattened_delete") | {"headers": [["__debezium.newkey", "{}"]]}
    come = flat(__op="c", patient_id=999) | {"headers": [["__debezium.oldkey", "{}"]]}
    found = one(read(come, MAPPING))

    assert "moved" == read(gone, MAPPING).ignored
    assert (CONTACT, "999", "u") == (found.record, found.key, found.op)


# ---------------------------------------------------------------------------------------------------- what is missing

ADD_FIELDS = "op,table,source.ts_ms,source.snapshot,source.sequence,source.lsn"


def test_a_row_without_its_operation_is_refused_with_the_setting() -> None:
    """A snapshot could not be told from a write."""
    error = refused(read, fixture("postgresql", "flattened_bare"), mapping=MAPPING)

    assert "unsupported" == error.reason
    assert error.message.endswith(
        f"without `__op` a snapshot cannot be told from a write: set `add.fields` to `{ADD_FIELDS}`"
    )


@pytest.mark.parametrize(
    ("database", "needed", "taken"),
    [
        ("postgresql", ADD_FIELDS, ["__source_sequence", "__source_lsn"]),
        ("mysql", "op,table,source.ts_ms,source.snapshot,source.file,source.pos", ["__source_pos"]),
        (
            "sqlserver",
            "op,table,source.ts_ms,source.snapshot,source.commit_lsn",
            ["__source_commit_lsn"],
        ),
        (
            "oracle",
            "op,table,source.ts_ms,source.snapshot,source.commit_scn,source.scn,source.txSeq,source.user_name",
            ["__source_commit_scn"],
        ),
    ],
)
def test_a_row_without_a_position_is_refused_with_the_setting(database: str, needed: str, taken: list[str]) -> None:
    """The whole of `add.fields`, to be copied."""
    record = edited(database, "flattened_update", value=dict.fromkeys(taken, ...))
    error = refused(read, record, mapping=FLATTENED[database])

    assert ("no_position", True) == (error.reason, error.message.endswith(f"set `add.fields` to `{needed}`"))


def test_rows_may_be_ordered_by_their_records_time() -> None:
    """Only if the mapping says so, and then all of them: a time and a position have no common order."""
    bare = fixture("postgresql", "flattened_no_position")
    found = one(read(bare, BY_TIME, epoch=2, at=AT + 9))

    assert ((2, AT + 9), f"2:@{AT + 9}") == (found.position, found.source_version)
    assert (0, AT + 9) == one(read(flat(), BY_TIME, at=AT + 9)).position
    assert "no_position" == refused(read, flat(), mapping=BY_TIME, at=-1).reason


def test_two_rows_of_one_millisecond_are_two_changes() -> None:
    """Told apart by their content, so that neither is lost as a repeat of the other."""
    first, again, other = (
        one(read(edited("postgresql", "flattened_no_position", value={"family_name": name}), BY_TIME))
        for name in ("Grow", "Grow", "Growe")
    )

    assert first == again
    assert first.position == other.position
    assert first.id != other.id


def test_a_mapping_that_orders_by_time_is_told_what_it_gives_up() -> None:
    """One line for the start, with the setting; any other mapping is told nothing."""
    (line,) = sources.cautions(BY_TIME)

    assert "a connector's repeat counts as a new change" in line
    assert f"set `add.fields` to `{ADD_FIELDS}`" in line
    assert () == sources.cautions(MAPPING) == sources.cautions(MAPPINGS["mysql"])


# ---------------------------------------------------------------------------------------------------- whose row


def two_tables(*topics: str) -> sources.Mapping:
    """The mapping with a second table that means nothing, on these topics."""
    return msgspec.structs.replace(MAPPING, ignored_tables=frozenset({"public.visit"}), topics=topics)


def test_the_topics_name_says_whose_row_it_is() -> None:
    """Debezium ends it with the table's."""
    record = flat(__table=...)

    assert "ehr/public.patient/123" == one(read(record, two_tables("ehr.public.patient"))).row
    assert "table" == read(record | {"topic": "x.public.visit"}, two_tables("x.public.visit")).ignored


def test_on_a_routed_topic_the_row_says_it_itself() -> None:
    """`table`, and the schema where two tables have one name; else the message says what to add."""
    mapping, routed = two_tables("all"), {"topic": "all"}

    assert "ehr/public.patient/123" == one(read(flat() | routed, mapping)).row
    assert "ehr/public.patient/123" == one(read(flat(__source_schema="public") | routed, mapping)).row
    assert "table" == read(flat(__table="visit") | routed, mapping).ignored
    error = refused(read, flat(__table=...) | routed, mapping=mapping)
    assert ("unknown_table", True) == (error.reason, "add `source.schema` and `table` to `add.fields`" in error.message)
    assert "unknown_table" == refused(read, flat(__table="other") | routed, mapping=mapping).reason
    assert "unknown_table" == refused(read, flat(__source_schema="x") | routed, mapping=mapping).reason


def test_a_source_of_one_table_may_route_it_anywhere() -> None:
    """There is no other whose row it could be."""
    mapping = msgspec.structs.replace(MAPPING, topics=("patients",))

    assert "ehr/public.patient/123" == one(read(flat() | {"topic": "patients"}, mapping)).row


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"__table": "visit"}, "unknown_table"),
        ({"__source_schema": "private"}, "unknown_table"),
        ({"__connector": "mysql"}, "unsupported"),
        ({"__op": "x"}, "not_an_envelope"),
        ({"__op": 7}, "not_an_envelope"),
        ({"__source_snapshot": "maybe"}, "not_an_envelope"),
        ({"__source_ts_ms": "now"}, "wrong_type"),
        ({"__source_lsn": [1]}, "wrong_type"),
        ({"__unheard_of": 1}, "unknown_column"),
        ({"shoe_size": 1}, "unknown_column"),
        ({"patient_id": None}, "missing_key"),
        ({"birth_date": "soon"}, "wrong_type"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(said: dict[str, Any], reason: str) -> None:
    """Nothing is guessed."""
    assert reason == refused(read, flat(**said), mapping=MAPPING).reason


def test_the_other_form_is_recognised_both_ways() -> None:
    """The message says which key of the mapping to change."""
    envelope = refused(read, fixture("postgresql", "update"), mapping=MAPPING)
    row = refused(read, fixture("postgresql", "flattened_update"), mapping=MAPPINGS["postgresql"])

    assert ("unsupported", True) == (envelope.reason, "take `form: flattened` out of the mapping" in envelope.message)
    assert ("unsupported", True) == (row.reason, "say `form: flattened` in the mapping" in row.message)
    assert "not_an_envelope" == refused(read, fixture("postgresql", "update") | {"value": [1]}, mapping=MAPPING).reason


def test_a_row_without_a_key_is_refused() -> None:
    """As in an envelope."""
    assert "missing_key" == refused(read, flat() | {"key": None}, mapping=MAPPING).reason


def test_a_key_that_stands_twice_is_refused() -> None:
    """In the row and among what was added; an ignored column may hold anything."""
    text = packed(flat(created_at={"a": {"b": "x:y"}})["value"])
    decode = sources.decoder(MAPPING, MATRIX).decode

    assert change("postgresql", "flattened_update") == one(decode("ehr.public.patient", b"{}", text, 5))
    for name in (b'"email":', b'"__op":', b'"__source_lsn":'):
        with pytest.raises(sources.Undecodable, match="stands twice"):
            decode("ehr.public.patient", b"{}", text.replace(name, name + b"null," + name, 1), 5)


def test_an_added_field_that_the_mapping_ignores_is_not_read() -> None:
    """Whoever ignores the operation has none."""
    (table,) = MAPPING.tables.values()
    blind = msgspec.structs.replace(table, ignored=table.ignored | {"__op", "__deleted"})
    mapping = msgspec.structs.replace(MAPPING, tables={table.name: blind})

    assert "unsupported" == refused(read, flat(), mapping=mapping).reason


def test_heartbeats_and_transactions_are_ignored() -> None:
    """By the names of their topics."""
    assert "heartbeat" == read(fixture("mysql", "heartbeat"), FLATTENED["mysql"]).ignored
    assert "transaction" == read(fixture("mysql", "transaction"), FLATTENED["mysql"]).ignored
    assert decoded("mysql", "flattened_update").changes
