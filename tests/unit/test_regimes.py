"""Regimes: what a lane's log was decided under, and since when."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from ownership_stream import __version__
from ownership_stream.regimes import MOST, Regime, continued, spans
from ownership_stream.steps import REGIMES, unpack_regimes
from source_kit import MATRIX
from step_kit import DecideLane, decide_step, row

OLD, NEW = Regime(3, "old", "enforce", "1"), Regime(10, "new", "enforce", "1")


def test_a_regime_is_noted_only_where_something_is_new() -> None:
    """Another matrix, mode or release; not another offset. What does not change is the very same object."""
    regimes = continued((), OLD)
    assert (OLD,) == regimes
    assert regimes is continued(regimes, replace(OLD, since=7))
    for said in ({"revision": "new"}, {"mode": "observe"}, {"release": "2"}):
        assert (OLD, replace(OLD, since=9, **said)) == continued(regimes, replace(OLD, since=9, **said))


def test_the_oldest_regimes_are_forgotten_first() -> None:
    """So that the state stays small however often a matrix goes back and forth."""
    regimes: tuple[Regime, ...] = ()
    for offset in range(MOST + 5):
        regimes = continued(regimes, Regime(offset, str(offset % 2), "enforce", "1"))
    assert (MOST, 5) == (len(regimes), regimes[0].since)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 20, [(0, 3, None), (3, 10, OLD), (10, 20, NEW)]),
        (3, 10, [(3, 10, OLD)]),
        (5, 11, [(5, 10, OLD), (10, 11, NEW)]),
        (12, 20, [(12, 20, NEW)]),
        (0, 2, [(0, 2, None)]),
        (4, 4, []),
    ],
)
def test_a_stretch_of_the_log_is_cut_where_a_regime_begins(
    begin: int, end: int, expected: list[tuple[int, int, Regime | None]]
) -> None:
    """Nothing is left out and nothing is in two parts; what is before the first regime has none."""
    found = spans((OLD, NEW), begin, end)
    assert expected == found
    assert all(one[1] == other[0] for one, other in pairwise(found))


def test_the_decide_step_keeps_its_regimes_as_a_state() -> None:
    """With the first change under each; a batch under the same one writes nothing of it."""
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"email": "a@example.org"}, "person", op="c"))
    assert REGIMES not in lane.decide(row("r", 1, "crm", {"email": "b@example.org"}, "person")).states
    lane.step = decide_step(observe=True)
    lane.decide(row("r", 2, "crm", {"email": "c@example.org"}, "person"))
    expected = [(0, MATRIX.revision, "enforce", __version__), (2, MATRIX.revision, "observe", __version__)]
    found = unpack_regimes(lane.stored[REGIMES])
    assert expected == [(one.since, one.revision, one.mode, one.release) for one in found]
