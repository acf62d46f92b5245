"""The judge's work done side by side: processes of their own, which read for themselves and share nothing.

They are started anew and not forked: this one has Kafka clients, whose threads would be missing in a copy.
"""

import gc
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from time import monotonic
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from chaos.witness import Account
from ownership_stream import assembly
from ownership_stream.settings import Settings
from ownership_stream.worker_config import Stage

BYTES_OF_RUSAGE: Final = 1024


class Cost(NamedTuple):
    """What a judgement took: seconds, and the most that each process ever had resident, in MB; this one's first."""

    seconds: float
    megabytes: list[float]

    def __str__(self) -> str:
        own, *others = (f"{one:,.0f}" for one in self.megabytes)
        return f"judged in {self.seconds:.0f} s; resident at most {own} MB here, {' and '.join(others)} MB beside"


class _Told(NamedTuple):
    account: Account
    stages: Sequence[Stage]


_told: Final[list[_Told]] = []


class SideBySide:
    """So many processes for a `with`, as the `Hands` of a judge.

    They make the stages themselves, from the settings that the workers had.
    """

    def __init__(self, number: int, account: Account, settings: Settings) -> None:
        self._account = account
        # What was fed is compared here, and is much.
        self._start = number, _start, (replace(account, fed=None), settings)
        self._exits = ExitStack()
        self._began = monotonic()
        self._most: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._pool = self._exits.enter_context(get_context("spawn").Pool(*self._start))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        self.cost = Cost(monotonic() - self._began, [_most(), *self._most.values()])

    def __call__(
        self, account: Account, _: Sequence[Stage], task: Callable[..., Any], some: Sequence[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """`task(account, stages, *arguments)` for each of them, answered in their order."""
        assert account is self._account, "these processes know another account"
        for answer, process, most in self._pool.imap(_do, [(task, one) for one in some]):
            self._most[process] = most
            yield answer


def _start(account: Account, settings: Settings) -> None:
    _told.append(_Told(account, assembly.stages(settings, *assembly.documents(settings))))
    gc.freeze()


def _do(work: tuple[Callable[..., Any], tuple[Any, ...]]) -> tuple[Any, int, float]:
    task, arguments = work
    return task(*_told[0], *arguments), os.getpid(), _most()


def _most() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_RUSAGE / 1_000_000
