"""How much one fetch hands over, and that nothing is decoded on the way."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ownership_stream.transport import FIRST_ROW_BYTES, BatchSchema, Limits, _Flow


class Row(NamedTuple):
    """As much of a record as weighs."""

    key: bytes | None
    value: bytes | None


def rows(*weights: int) -> list[Row]:
    """Rows of these weights in bytes."""
    return [Row(None, b"x" * weight) for weight in weights]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 100))
def test_pieces_hold_every_record_in_order_and_stay_within_the_size(weights: list[int], size: int) -> None:
    """Only a single record may be larger than a piece."""
    records = rows(*weights)
    cut = list(Limits(10, size).cut(records))
    pieces = [piece for piece, _ in cut]
    assert [sum(len(row.value or b"") for row in piece) for piece in pieces] == [weight for _, weight in cut]
    assert records == [record for piece in pieces for record in piece]
    assert all(piece for piece in pieces)
    assert all(len(piece) == 1 or sum(len(row.value or b"") for row in piece) <= size for piece in pieces)


def test_the_poll_count_follows_the_weight_of_rows() -> None:
    """It falls at once when rows grow, and rises slowly when they shrink; never below one, never above the setting."""
    limits = Limits(10_000, 100 * FIRST_ROW_BYTES)
    assert 100 == limits.rows
    list(limits.cut(rows(*[10 * FIRST_ROW_BYTES] * 5)))
    assert 10 == limits.rows
    list(limits.cut(rows(*[10] * 5)))
    assert 12 == limits.rows
    list(limits.cut(rows(1_000 * FIRST_ROW_BYTES)))
    assert 1 == limits.rows
    for _ in range(200):
        list(limits.cut(rows(1)))
    assert 10_000 == limits.rows


def test_keys_weigh_too() -> None:
    """A record without a value is not without weight."""
    assert 2 == len(list(Limits(10, 10).cut([Row(b"x" * 8, None), Row(b"x" * 8, None)])))


def test_the_schema_decodes_nothing() -> None:
    """A batch passes through Faust as it was fetched."""

    class Passed:
        key, value = "key", ["batch"]

    schema = BatchSchema()
    message = Passed()
    assert "key" == schema.loads_key(None, message)  # type: ignore[arg-type]  # as much of a message as is read
    assert message.value is schema.loads_value(None, message)  # type: ignore[arg-type]  # as above


def test_what_remains_is_reckoned_in_records() -> None:
    """With a marker after each record half of the offsets hold none; but where anything may be left, it is not 0."""
    flow = _Flow(1, 100)
    assert (0, 7) == (flow.records_in(0), flow.records_in(7))
    flow.end, flow.records = 120, 10
    assert (0, 1, 20) == (flow.records_in(0), flow.records_in(1), flow.records_in(40))
