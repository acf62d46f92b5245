"""The order of the queue, and its pages: every case once, whatever records wait for beside their cases."""

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ownership_stream.model import Case, RecordState
from ownership_stream.queue import InOrder, Open, Place, in_order, part


def record_of(number: int, dues: Sequence[int], landing: int) -> tuple[int, RecordState, str]:
    """A record with a case for each deadline, which wants to be looked at for a landing as well."""
    cases = {f"f{at}": Case(f"c{number}-x:f{at}", f"f{at}", "tie", 0, "ops", due) for at, due in enumerate(dues)}
    return min([*dues, landing]), RecordState(cases=cases), f"r{number}"


RECORDS = st.lists(st.tuples(st.lists(st.integers(1, 40), max_size=3), st.integers(1, 40)), max_size=30)


def found(records: Sequence[tuple[list[int], int]], since: int = 0) -> Iterator[tuple[int, RecordState, str]]:
    """As a store gives them from a time on."""
    waiting = [record_of(number, dues, landing) for number, (dues, landing) in enumerate(records)]
    return iter(sorted((one for one in waiting if one[0] >= since), key=lambda one: (one[0], one[2])))


def key(one: Open) -> tuple[int, str]:
    """What a case is ordered by."""
    return one.case.due, one.case.id


@given(RECORDS)
def test_cases_come_by_deadline_and_id(records: list[tuple[list[int], int]]) -> None:
    """All of them, each once."""
    keys = [key(one) for one in in_order(found(records))]
    assert sorted(keys) == keys
    assert sum(len(dues) for dues, _ in records) == len(set(keys)) == len(keys)


@given(RECORDS, st.integers(1, 7), st.integers(1, 9), st.integers(1, 3))
def test_pages_leave_nothing_out_and_show_nothing_twice(
    records: list[tuple[list[int], int]], size: int, looks: int, every: int
) -> None:
    """Each begins where the one before ended, by its text alone; a filter may give short pages, and ends."""
    seen: list[Open] = []
    after: Place | None = None
    for _ in range(1000):
        cases = InOrder(found(records, 0 if after is None else after.since))
        page = part(cases, lambda one: one.case.due % every == 0, size, looks, after)
        assert len(page.cases) <= size
        seen += page.cases
        if page.after is None:
            break
        after = Place.read(str(page.after))
    else:
        raise AssertionError("pages without end")
    expected = [key(one) for one in in_order(found(records)) if one.case.due % every == 0]
    assert expected == [key(one) for one in seen]


def test_only_what_is_asked_for_is_read() -> None:
    """One record further than the case that is given, since it may be due at the same time."""
    read: list[int] = []

    def records() -> Iterator[tuple[int, RecordState, str]]:
        for number in range(1000):
            read.append(number)
            yield record_of(number, [number + 1], number + 1)

    page = part(in_order(records()), lambda _: True, 10, 100)
    assert 10 == len(page.cases)
    assert 11 == len(read)
    assert Place(10, "c9-x:f0", 11) == page.after
