"""A worker's process as a whole: what came to an end takes no memory."""

import ctypes
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from ownership_stream.process import few_arenas, give_back


class Ended:
    """What refers to itself, as a lane's runner and its task do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nobody_looks() -> Iterator[None]:
    """Cycles are looked for as rarely as in a worker: not within a test."""
    thresholds = gc.get_threshold()
    gc.set_threshold(10_000_000)
    yield
    gc.set_threshold(*thresholds)


def test_the_cycles_of_what_ended_are_gone_at_once() -> None:
    """Also those that a former look found in use, and would look at again only after a long time."""
    one = Ended()
    gc.collect()
    left = weakref.ref(one)
    del one
    assert left() is not None
    give_back()
    assert left() is None


def test_glibc_gives_free_pages_back_and_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`malloc_trim` is called where there is one."""
    asked: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(malloc_trim=asked.append))
    give_back()
    assert [0] == asked
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    give_back()
    few_arenas()
    assert [0] == asked
