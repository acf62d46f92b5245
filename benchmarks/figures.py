"""The arithmetic and the words of a benchmark: percentiles, rates, medians with spread, targets, tables. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Final, NamedTuple

STEADY: Final = 0.9
"""Up to which part of what is measured a run counts as steady."""
BEGIN: Final = "<!-- bench: begin -->"
END: Final = "<!-- bench: end -->"


class Sample(NamedTuple):
    """What was seen of a run at one moment.

    `at` in seconds; `committed` changes; the processor seconds so far of the peer, of Redis and of the broker.
    """

    at: float
    committed: int
    peer: float
    redis: float
    broker: float


class Pace(NamedTuple):
    """What a run came to: changes a second, and processor microseconds a change of the peer, Redis and the broker."""

    rate: float
    peer: float
    redis: float
    broker: float


class Latency(NamedTuple):
    """Milliseconds, and out of how many outputs. `late`: milliseconds by which the sender was behind at most."""

    rate: float
    p50: float
    p99: float
    outputs: int
    late: float


class Target(NamedTuple):
    """What is asked for: `found` at least (or at most) `wanted`."""

    name: str
    found: float
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        return f"{self.name}: {number(self.found)}, {bound} {number(self.wanted)} asked for: {self.verdict}"

    @property
    def verdict(self) -> str:
        """In one word."""
        return "met" if self.met else "missed"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of all do not exceed (nearest rank); raises `ValueError` without values."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def pace(samples: Sequence[Sample], warm: int) -> Pace:
    """The steady state of a run: from the first commit with `warm` changes to the last before nine tenths of the rest.

    Commits come in steps, so a rate counts what was committed between two of them and not what was due. The end is left
    out: the last commit may wait for a timer, lanes run dry one by one, and work that was begun before the window and
    committed within it must be made up for by work begun within it and committed later. Raises `ValueError` where
    nothing was committed in between: the run was too short.
    """
    last = max(sample.committed for sample in samples)
    most = warm + STEADY * (last - warm)
    steps = [new for old, new in pairwise(samples) if new.committed > old.committed and new.committed >= warm]
    first, end = steps[0], max((step for step in steps if step.committed <= most), default=steps[0], key=_committed)
    done, seconds = end.committed - first.committed, end.at - first.at
    if done <= 0 or seconds <= 0:
        raise ValueError(f"nothing was committed steadily after the first {warm} changes: make the load larger")
    each = [(getattr(end, name) - getattr(first, name)) / done * 1e6 for name in ("peer", "redis", "broker")]
    return Pace(done / seconds, *each)


def _committed(sample: Sample) -> int:
    return sample.committed


def number(value: float) -> str:
    """A figure with three digits that count, and commas."""
    if value >= 100:  # noqa: PLR2004 (where the decimals end)
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 (as above)


def spread(values: Sequence[float]) -> str:
    """The median, with the least and the greatest where there are several."""
    if not values:
        return "–"
    middle = number(median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}–{number(max(values))})"


def ratio(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Repeat by repeat: what was measured side by side is compared."""
    return [a / b for a, b in zip(values, others, strict=True)]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns as wide as their widest cell."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    cells = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def between_marks(page: str, text: str) -> str:
    """The page with the text between its two marks; raises `ValueError` where it has not exactly one of each."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs `{BEGIN}` and then `{END}`, each once")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


Outputs = Mapping[tuple[str, bytes], Sequence[bytes]]
"""Topic's word and key -> the records under it, in their order."""


def differences(wanted: Outputs, found: Outputs) -> list[str]:
    """Where two sets of outputs differ, a line for each key; empty: they are equal, record by record."""
    lines = []
    for where in sorted({*wanted, *found}):
        ours, theirs = wanted.get(where, ()), found.get(where, ())
        if list(ours) == list(theirs):
            continue
        same = next(
            (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        lines.append(
            f"`{where[0]}` {where[1]!r}: {len(theirs)} records instead of {len(ours)}, the first other is {same}"
        )
    return lines


def self_and_below(folded: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Samples per function of a folded profile (`outer;inner count`): in itself, and with what it called."""
    own: dict[str, int] = {}
    below: dict[str, int] = {}
    for line in folded:
        stack, _, count = line.strip().rpartition(" ")
        frames = stack.split(";")
        if not stack or not count.isdigit():
            continue
        own[frames[-1]] = own.get(frames[-1], 0) + int(count)
        for frame in set(frames):
            below[frame] = below.get(frame, 0) + int(count)
    return own, below
