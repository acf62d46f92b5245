"""Ids are frozen: the same coordinates give the same id in every release."""

from collections import Counter
from uuid import uuid5

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ownership_stream.identity import (
    MAX_ID,
    NAMESPACE,
    BadId,
    change_id,
    key_parts,
    partition_of,
    record_id,
    row_key,
    row_name,
    salesforce_id,
)


@pytest.mark.parametrize(
    ("record", "of_8", "of_12"),
    [
        ("0032X00002QU10JQAT", 2, 2),
        ("ehr:123", 1, 5),
        ("ehr:7", 4, 0),
        ("a", 3, 3),
        ("P-123", 5, 1),
        ("Jürgen", 1, 1),
        ("123456789", 6, 2),
    ],
)
def test_partitions_are_frozen(record: str, of_8: int, of_12: int) -> None:
    """Another answer would split a record between two lanes: growth is a migration."""
    assert (of_8, of_12) == (partition_of(record, 8), partition_of(record, 12))


def test_a_records_partition_is_its_crc_32() -> None:
    """The check value of CRC-32 (IEEE), so that any writer in any language can follow."""
    assert 0xCBF43926 % 7 == partition_of("123456789", 7)


def test_partitions_are_used_evenly() -> None:
    """Keys that count up, as databases give them, spread over all partitions."""
    counts = Counter(partition_of(f"ehr:{number}", 8) for number in range(8000))

    assert 8 == len(counts)
    assert max(counts.values()) < 1.2 * min(counts.values())


@given(st.text(st.characters(codec="utf-8")))
def test_a_change_id_is_a_uuid_of_version_5(coordinates: str) -> None:
    """As the standard library makes them, only faster."""
    assert str(uuid5(NAMESPACE, coordinates)) == change_id(coordinates)


def test_a_change_id_is_frozen() -> None:
    """A duplicate that arrives after an update of ours is still one."""
    assert "e515f5bf-4f30-55f2-9256-ca946a065d93" == change_id("ehr/public.patient/123/0:24023119:24023128/u")


@given(
    st.lists(
        st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=20),
        min_size=2,
        max_size=4,
    )
)
def test_keys_of_several_columns_come_back(parts: list[str]) -> None:
    """Whatever stands in them, and no two keys are alike."""
    assume(not parts[0].startswith("__"))

    assert parts == key_parts(row_key(parts), len(parts))


def test_a_key_of_other_columns_is_refused() -> None:
    """Three values are no key of two columns."""
    with pytest.raises(BadId, match="3 columns where 2 are due"):
        key_parts("a,b,c", 2)


@pytest.mark.parametrize(
    ("shared", "otherwise", "record"),
    [("003A", "ehr:1", "003A"), (" 003A ", "ehr:1", "003A"), (None, "ehr:1", "ehr:1"), ("  ", "ehr:1", "ehr:1")],
)
def test_a_record_is_named_by_its_link_or_by_its_own_key(shared: str | None, otherwise: str, record: str) -> None:
    """A blank link is none."""
    assert record == record_id(shared, otherwise)


def test_where_neither_is_known_there_is_no_record() -> None:
    """The caller says why."""
    assert record_id(None, None) is None


@pytest.mark.parametrize("bad", ["", "x" * (MAX_ID + 1), "a\nb", "a\0b", "\u2028", "__lane", "\ud800"])
def test_what_cannot_be_an_id_is_refused_without_showing_it(bad: str) -> None:
    """Ids are Kafka keys, Redis keys and header values."""
    with pytest.raises(BadId) as caught:
        row_key([bad])
    assert bad not in str(caught.value) or bad == ""


def test_rows_are_named_by_source_table_and_key() -> None:
    """The only unit a connector orders."""
    assert "ehr/public.patient/123" == row_name("ehr", "public.patient", "123")


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("0032X00002QU10J", "0032X00002QU10JQAT"),
        ("001A0000006Vm9r", "001A0000006Vm9rIAC"),
        (" 0032X00002QU10J ", "0032X00002QU10JQAT"),
        ("0032X00002QU10JQAT", "0032X00002QU10JQAT"),
        ("P-123", "P-123"),
        ("a" * 15, "a" * 15 + "AAA"),
    ],
)
def test_a_short_salesforce_id_is_the_long_one(short: str, long: str) -> None:
    """The three last characters say which of the others are capitals."""
    assert long == salesforce_id(short)
