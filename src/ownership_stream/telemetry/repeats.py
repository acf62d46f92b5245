"""Log lines that say the same again and again: the first is written at once, the others are counted and summed up.

Two lines say the same if they differ only in what they are about: numbers, names in backticks, clients and threads in
brackets, addresses, the line's own stage and topic. Kafka's clients write some forty lines a second while a broker is
away, and each lane says for itself what it waits for; a person needs each of them once, and how often since.
"""

import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

WINDOW_SECONDS: Final = 60.0
LONGEST: Final = 250
"""Characters of a repeated line's detail that its summary quotes."""
_ABOUT: Final = re.compile(r"`[^`]*`|\[[^\]]*\]|\([^)]*\)|\S*:\d+\S*|\S*Coordinator\S*:|\d+")
_SAME: Final = ("component", "event", "level", "detail", "reason", "error", "where")


@dataclass(slots=True)
class _Window:
    line: Mapping[str, Any]
    began: float
    repeated: int = 0


def _in_a_thread(seconds: float, function: Callable[[], None]) -> None:
    if sys.is_finalizing() or not threading.main_thread().is_alive():
        # Lines are logged while the interpreter ends; a thread started then never runs, and whoever starts it waits.
        return
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


class Repeats:
    """Admits lines, and writes a summary for each that was repeated, once a window for as long as it goes on.

    `write` puts a line on the log. `clock` gives seconds that only grow; `later` calls a function after some of them.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, Any]], None],
        *,
        clock: Callable[[], float] = monotonic,
        later: Callable[[float, Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        self._write = write
        self._clock = clock
        self._later = later
        self._windows: dict[tuple[str, ...], _Window] = {}
        self._sweeping = False
        self._lock = threading.Lock()

    def admit(self, line: Mapping[str, Any]) -> bool:
        """Whether the line is to be written; if not, it is counted."""
        key = _key(line)
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                self._windows[key] = _Window(dict(line), self._clock())
                self._sweep_later()
                return True
            window.repeated += 1
            return False

    def sweep(self, *, all_windows: bool = False) -> None:
        """Sums up the windows that are over, or all of them; one without a repeat is forgotten."""
        summaries = []
        with self._lock:
            self._sweeping = False
            now = self._clock()
            for key, window in list(self._windows.items()):
                if not all_windows and now - window.began < WINDOW_SECONDS:
                    continue
                if window.repeated:
                    summaries.append(_summary(window, now - window.began))
                    window.began, window.repeated = now, 0
                else:
                    del self._windows[key]
            self._sweep_later()
        for line in summaries:
            self._write(line)

    def _sweep_later(self) -> None:
        """With the lock held."""
        if self._windows and not self._sweeping:
            self._sweeping = True
            first = min(window.began for window in self._windows.values())
            self._later(max(0.0, first + WINDOW_SECONDS - self._clock()), self.sweep)


def _key(line: Mapping[str, Any]) -> tuple[str, ...]:
    own = [str(line[name]) for name in ("stage", "topic") if line.get(name)]
    words = []
    for name in _SAME:
        text = str(line.get(name, ""))
        for part in own:
            text = text.replace(part, "")
        words.append(" ".join(_ABOUT.sub(" ", text).split()))
    return tuple(words)


def _summary(window: _Window, seconds: float) -> Mapping[str, Any]:
    said = f"{window.line.get('detail', '')}"[:LONGEST]
    times = f"repeated {window.repeated} time{'s' * (window.repeated != 1)} in {seconds:.0f} s"
    return {**window.line, "detail": f"{said} … {times}".strip()}
