"""The arithmetic of a soak, on invented samples; and that the page on reliability knows every fault there is."""

from typing import Any

import pytest

from chaos import reliability
from chaos.fault import REGISTRY
from chaos.soaking import Journey, Memory, Offsets, Window, figures, growth, outside, percentile, table, takeover

DECIDE, INTAKE = ("changes", 0), ("cdc", 1)
NOTHING_WRONG: dict[str, Any] = {
    "baseline_p99": 0.1,
    "journeys": [Journey(0.0, 0.2)],
    "windows": [],
    "takeovers": [9.0],
    "session": 10.0,
    "grown": 0.01,
    "peak": 120.0,
    "bad": 0,
}


def look(at: float, decide: int, intake: int, end: int = 1_000) -> Offsets:
    """Both partitions' committed offsets at a moment."""
    return Offsets(at, {DECIDE: decide, INTAKE: intake}, {DECIDE: end, INTAKE: end})


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.75, 3.0), (0.99, 4.0), (0.0, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """By nearest rank, whatever order the values come in."""
    assert expected == percentile([4.0, 1.0, 3.0, 2.0], share)


def test_there_is_no_percentile_of_nothing() -> None:
    """It is refused and not zero."""
    with pytest.raises(ValueError, match="a percentile of nothing"):
        percentile([], 0.99)


def test_outside_the_windows_is_what_was_at_no_moment_within_one() -> None:
    """Created before and seen in it, created in it, and over the whole of it: all are the fault's."""
    before, into, within, over, after = (
        Journey(1, 2), Journey(8, 11), Journey(12, 13), Journey(9, 21), Journey(20.5, 22),
    )  # fmt: skip
    assert [before, after] == outside([before, into, within, over, after], [Window(10, 20)])


def test_a_takeover_is_over_when_the_last_of_the_partitions_commits_again() -> None:
    """One is not enough."""
    looks = [look(9, 5, 5), look(11, 5, 5), look(14, 6, 5), look(17, 7, 6)]
    assert 7 == takeover(looks, 10, [DECIDE, INTAKE])


def test_a_commit_that_was_under_way_is_no_takeover() -> None:
    """The broker ends a transaction that it was told to commit, although the worker is dead by then."""
    looks = [look(10.2, 5, 5), look(10.4, 8, 5), look(11.2, 8, 5), look(16, 8, 9), look(18, 9, 9)]
    assert 8 == takeover(looks, 10, [DECIDE, INTAKE])


def test_a_partition_without_input_needs_no_commit() -> None:
    """Nothing waits before it."""
    looks = [look(11, 1_000, 5), look(15, 1_000, 6)]
    assert 5 == takeover(looks, 10, [DECIDE, INTAKE])


def test_a_takeover_that_nobody_saw_is_none() -> None:
    """It is neither quick nor slow."""
    assert takeover([look(11, 5, 5), look(40, 5, 6)], 10, [DECIDE, INTAKE]) is None


def test_growth_is_measured_from_a_fifth_of_the_time_to_its_end() -> None:
    """What a worker needs to warm up is none, and one sample out of line is none either."""
    samples = [Memory(second, 50.0 if second < 100 else 100.0) for second in range(590)]
    samples[120] = Memory(120, 900.0)
    samples += [Memory(second, 104.0) for second in range(570, 601)]
    found = growth([one for one in samples if one.megabytes != 100.0 or one.at < 570], 0, 600)
    assert pytest.approx(0.04) == found


def test_growth_of_a_worker_that_was_not_there_is_not_measured() -> None:
    """It is none and not zero."""
    assert growth([Memory(500, 100.0)], 0, 600) is None


def test_a_soak_as_it_must_be_meets_every_figure() -> None:
    """So that the tests below fail for their own reason."""
    assert all(one.met for one in figures(**NOTHING_WRONG))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"bad": 1}, "inputs lost"),
        ({"journeys": [Journey(0.0, 0.31)]}, "p99"),
        ({"journeys": []}, "p99"),
        ({"journeys": [Journey(5.0, 5.1)], "windows": [Window(4, 9)]}, "p99"),
        ({"takeovers": [9.0, 15.1]}, "takeover"),
        ({"takeovers": [9.0, None]}, "takeover"),
        ({"takeovers": []}, "takeover"),
        ({"grown": 0.051}, "memory of the worker"),
        ({"grown": None}, "memory of the worker"),
        ({"peak": 301.0}, "resident memory"),
    ],
)
def test_one_figure_out_of_bounds_or_not_measured_is_missed_alone(wrong: dict[str, Any], name: str) -> None:
    """And the table says so."""
    found = figures(**{**NOTHING_WRONG, **wrong})
    missed = [one for one in found if not one.met]
    assert [True] == [one.name.startswith(name) for one in missed]
    assert 1 == table(found).count("missed")


def test_every_fault_is_in_the_table_of_the_page() -> None:
    """By its name and in its own words; `python -m chaos.reliability` writes the tables anew."""
    page = reliability.PAGE.read_text(encoding="utf-8")
    assert [] == [one.name for one in REGISTRY.values() if f"| `{one.name}` | {one.what}" not in page]


def test_every_mutation_is_in_the_table_of_the_page() -> None:
    """As they are listed where they are played from."""
    assert reliability.mutations() in reliability.PAGE.read_text(encoding="utf-8")


def test_the_page_keeps_what_stands_around_a_table() -> None:
    """Between the marks and nowhere else."""
    page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n"
    assert "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n" == reliability.between_marks(page, "x", "new\n")


def test_a_page_without_its_marks_is_refused() -> None:
    """And not written at its end or from its beginning."""
    with pytest.raises(ValueError, match="x: begin"):
        reliability.between_marks("a", "x", "new")
