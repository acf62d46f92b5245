"""The arithmetic of a soak: fault windows, percentiles, takeovers, growth, and what was asked for. Pure.

Times are seconds of one wall clock, memory is in MB.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Final, NamedTuple

TIMES_BASELINE: Final = 3.0
TAKEOVER_BEYOND_SESSION: Final = 5.0
MOST_GROWTH: Final = 0.05
MOST_MEMORY: Final = 300.0
# Minute 2 of 10: from here on memory must be flat.
WARM_SHARE: Final = 0.2
# A garbage collection moves a single sample; the middle of this share of a run does not.
SMOOTH_SHARE: Final = 0.05
# A transaction whose end the broker has already been told of is still committed after its worker was killed.
IN_FLIGHT_SECONDS: Final = 1.0

Place = tuple[str, int]
"""Topic and partition."""


class Window(NamedTuple):
    """A fault, from its beginning to its end."""

    begin: float
    end: float


class Journey(NamedTuple):
    """One output: when its source record was created, and when an outsider could read it as committed."""

    created: float
    seen: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.seen - self.created


class Offsets(NamedTuple):
    """What a look at the group found: committed offsets, and how far each input goes."""

    at: float
    committed: Mapping[Place, int]
    ends: Mapping[Place, int]


class Memory(NamedTuple):
    """What one worker was resident with."""

    at: float
    megabytes: float


class Figure(NamedTuple):
    """One line of the table. `most` is what was asked for; `found` is None where nothing could be measured."""

    name: str
    unit: str
    found: float | None
    most: float

    @property
    def met(self) -> bool:
        """Whether it is; what was not measured is not."""
        return self.found is not None and self.found <= self.most


def percentile(values: Iterable[float], share: float) -> float:
    """The least value that at least `share` of all do not exceed (nearest rank); raises `ValueError` without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("a percentile of nothing")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def outside(journeys: Iterable[Journey], windows: Sequence[Window]) -> list[Journey]:
    """Those that were at no moment within a window: neither created nor waiting nor seen in it."""
    return [one for one in journeys if not any(one.created <= w.end and one.seen >= w.begin for w in windows)]


def between(journeys: Iterable[Journey], begin: float, end: float) -> Iterator[Journey]:
    """Those created within a time."""
    return (one for one in journeys if begin <= one.created < end)


def takeover(looks: Sequence[Offsets], killed: float, places: Iterable[Place]) -> float | None:
    """Seconds from a kill until every one of these partitions has committed again; None: not as long as was looked.

    One that commits nothing counts as taken over at the first look that finds it with nothing before it, for which its
    input must have stood still.
    """
    later = [look for look in looks if look.at >= killed + IN_FLIGHT_SECONDS]
    if not later:
        return None
    stood, left = later[0], set(places)
    for look in later[1:]:
        left -= {one for one in left if _goes_on(one, stood, look)}
        if not left:
            return look.at - killed
    return None


def _goes_on(place: Place, stood: Offsets, look: Offsets) -> bool:
    committed = look.committed.get(place, 0)
    return committed > stood.committed.get(place, 0) or committed >= look.ends.get(place, 0)


def growth(samples: Sequence[Memory], begin: float, end: float) -> float | None:
    """By which part of itself memory grew from a fifth of the time (minute 2 of 10) to its end; None: not measured.

    Each is the median of the samples around that moment, at the end of those before it.
    """
    length = end - begin
    early, smooth = begin + WARM_SHARE * length, SMOOTH_SHARE * length
    first = [one.megabytes for one in samples if abs(one.at - early) <= smooth / 2]
    last = [one.megabytes for one in samples if end - smooth <= one.at <= end]
    return median(last) / median(first) - 1 if first and last else None


def figures(
    *,
    baseline_p99: float,
    journeys: Sequence[Journey],
    windows: Sequence[Window],
    takeovers: Sequence[float | None],
    session: float,
    grown: float | None,
    peak: float,
    bad: int,
) -> list[Figure]:
    """What was asked for, beside what was found. `bad` counts inputs not decided once, and other findings.

    A takeover that was not seen makes the figure one that was not measured, which is not met.
    """
    quiet = outside(journeys, windows)
    slowest = None if not takeovers or None in takeovers else max(one for one in takeovers if one is not None)
    times = percentile([one.seconds for one in quiet], 0.99) / baseline_p99 if quiet else None
    return [
        Figure("inputs lost, duplicated, out of order or in a wrong state, and other findings", "", bad, 0),
        Figure("p99 end to end outside the fault windows", "times the baseline's", times, TIMES_BASELINE),
        Figure("takeover after a kill, the slowest", "s", slowest, session + TAKEOVER_BEYOND_SESSION),
        Figure("memory of the worker that is never killed: growth from minute 2 to 10", "%",
               None if grown is None else 100 * grown, 100 * MOST_GROWTH),
        Figure("resident memory of any worker, the most", "MB", peak, MOST_MEMORY),
    ]  # fmt: skip


def table(rows: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = ["| figure | found | at most | |", "|---|---|---|---|"]
    for row in rows:
        found = "not measured" if row.found is None else f"{round(row.found, 2):,} {row.unit}".strip()
        lines.append(f"| {row.name} | {found} | {f'{row.most:g} {row.unit}'.strip()} | {_word(row)} |")
    return "\n".join(lines)


def _word(row: Figure) -> str:
    return "met" if row.met else "missed"
