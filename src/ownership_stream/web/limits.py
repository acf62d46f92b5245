"""How often somebody may fail: so many times in a while, then they wait. Knows no HTTP and reads no clock."""

from collections import OrderedDict, deque
from typing import Final

FAILURES: Final = 20
SECONDS: Final = 60.0
REMEMBERED: Final = 10_000
"""Peers; the one that failed longest ago is forgotten first."""


class Failures:
    """Failures by whom, of the last while. Times are seconds of any clock that only goes on."""

    def __init__(self, most: int = FAILURES, seconds: float = SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._known: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, who: str, now: float) -> None:
        """Somebody failed."""
        times = self._known.pop(who, None) or deque[float](maxlen=self._most)
        times.append(now)
        self._known[who] = times
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def wait(self, who: str, now: float) -> float:
        """How long they have to wait before they may try again; 0: they may."""
        times = self._known.get(who)
        if times is None or len(times) < self._most:
            return 0.0
        return max(0.0, times[0] + self._seconds - now)
