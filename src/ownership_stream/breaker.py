"""The breaker: too many restores into one system in one lane withhold further sends there until a person resets it.

One bad writer must not make us write a whole system over (``docs/rules.md``, section 2, *Breaker*). Pure: a lane's
breaker is a small value that the decide step keeps as a state of its own, beside its records.
"""

from typing import Final

import msgspec

WINDOW: Final = 1_000
"""Changes of the lane that are looked back on."""
LIMIT: Final = 100
"""Restores into one system within the window that are still borne."""


class Breaker(msgspec.Struct, array_like=True):
    """How many changes the lane has decided, where its latest restores went, and which systems are withheld."""

    changes: int = 0
    restores: dict[str, tuple[int, ...]] = {}
    """System -> the numbers of the changes that restored there, within the window."""
    tripped: dict[str, int] = {}
    """System -> the broker's time at which it tripped."""

    @property
    def withheld(self) -> frozenset[str]:
        """Systems that are sent nothing now."""
        return frozenset(self.tripped)


def after(breaker: Breaker, restored: tuple[tuple[str, str], ...], now: int) -> Breaker:
    """The breaker after one more change, whose restores are given as (system, field)."""
    number = breaker.changes + 1
    if not restored:
        return Breaker(number, breaker.restores, breaker.tripped)
    restores, tripped = dict(breaker.restores), breaker.tripped
    for system, _field in restored:
        recent = (*(n for n in restores.get(system, ()) if n > number - WINDOW), number)
        restores[system] = recent
        if len(recent) > LIMIT and system not in tripped:
            tripped = {**tripped, system: now}
    return Breaker(number, restores, tripped)


def reset(breaker: Breaker, system: str) -> Breaker:
    """The breaker after a person reset it for a system (empty: for all)."""
    if not system:
        return Breaker(breaker.changes)
    return Breaker(
        breaker.changes,
        {key: numbers for key, numbers in breaker.restores.items() if key != system},
        {key: at for key, at in breaker.tripped.items() if key != system},
    )
