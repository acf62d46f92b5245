"""Regimes: under which matrix revision, mode and release a lane decided, and since which change.

Who decides a log again must know by which documents each part of it was decided, and most decisions leave no record
that says so. The decide step therefore keeps its lane's regimes as a state of its own, written in the same transaction
as the first decision under each. Pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

MOST: Final = 500
"""Regimes that are remembered; the oldest are forgotten first."""


class Regime(msgspec.Struct, frozen=True, array_like=True):
    """What decisions hang on beside the change and the state, from the change at offset ``since`` on."""

    since: int
    revision: str
    mode: str
    release: str


Regimes = tuple[Regime, ...]
"""Oldest first."""


def continued(regimes: Regimes, now: Regime) -> Regimes:
    """The regimes after a change that was decided under ``now``; the same object where nothing is new."""
    if regimes and regimes[-1] == msgspec.structs.replace(now, since=regimes[-1].since):
        return regimes
    return (*regimes, now)[-MOST:]


def spans(regimes: Sequence[Regime], begin: int, end: int) -> list[tuple[int, int, Regime | None]]:
    """The offsets from ``begin`` to ``end``, cut where another regime began; ``None``: nobody knows under which."""
    found: list[tuple[int, int, Regime | None]] = []
    at, under = begin, None
    for regime in regimes:
        if regime.since > at:
            found.append((at, min(regime.since, end), under))
        at, under = max(at, regime.since), regime
    found.append((at, end, under))
    return [(first, last, regime) for first, last, regime in found if first < last]
