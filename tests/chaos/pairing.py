"""Outputs that must stand, paired with those that do: each once, in its partition, in its lane's order.

Several lanes write to one partition; the order that is promised is that of each lane, and so of each record. Control
records and states are not paired here (`standing`). One partition is paired at a time; only what has no pair is kept.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from chaos.columns import DIGEST, NAME, Column, Partition, Place, Standing, Wanted, integers
from chaos.finding import Blame, Sources, place_text


class Missing(NamedTuple):
    """An output that does not stand: of which record, where it should, and by what it can be known."""

    source: Place
    where: Partition
    name: bytes


class Left(NamedTuple):
    """A record that is no lane's output in this partition and these bytes, and by what it can be known."""

    place: Place
    name: bytes


class Written:
    """What all lanes write to one partition, lane after lane; `lanes` are their inputs."""

    def __init__(self, wanted: Sequence[Wanted | None], lanes: Sequence[Partition]) -> None:
        self.lanes = lanes
        self.numbers = array("i")
        self.sources = integers()
        self.digests, self.names = Column(DIGEST), Column(NAME)
        for number, one in enumerate(wanted):
            if one is not None:
                self.numbers.extend(array("i", [number]) * len(one.sources))
                self.sources.extend(one.sources)
                self.digests.extend(one.digests)
                self.names.extend(one.names)

    def source(self, index: int) -> Place:
        """The record that one of them is of."""
        return (*self.lanes[self.numbers[index]], self.sources[index])


def pair(
    where: Partition, written: Written, standing: Standing, sources: Sources, blame: Blame
) -> tuple[list[Missing], list[Left]]:
    """Charges what is duplicated or out of order in a partition; returns what is missing, and what is left.

    Tells `sources` from which record each one came. Of the same bytes, the first wanted is the first that stands.
    """
    there: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(standing.digests):
        there[digest].append(index)
    wanted: dict[bytes, list[int]] = defaultdict(list)
    for one, digest in enumerate(written.digests):
        wanted[digest].append(one)
    paired, of = array("q", [-1]) * len(written.sources), array("q", [-1]) * len(standing.offsets)
    missing: list[Missing] = []
    for digest, ones in wanted.items():
        found = there.pop(digest, [])
        for one, index in zip(ones, found, strict=False):
            paired[one], of[index] = index, one
        missing += [Missing(written.source(one), where, written.names[one]) for one in ones[len(found) :]]
        for index in found[len(ones) :]:
            of[index] = ones[-1]
            text = (
                f"`{where[0]}` has its output twice: {place_text((*where, standing.offsets[found[0]]))}, "
                f"{place_text((*where, standing.offsets[index]))}"
            )
            blame.charge(written.source(ones[-1]), "duplicated", text)
    _check_order(where, written, wanted.values(), paired, standing, blame)
    numbers = array("i", (-1 if one < 0 else written.numbers[one] for one in of))
    sources.put(
        where, standing.offsets, written.lanes, numbers,
        array("q", (-1 if one < 0 else written.sources[one] for one in of)),
    )  # fmt: skip
    left = sorted(index for some in there.values() for index in some)
    return missing, [Left((*where, standing.offsets[index]), standing.names[index]) for index in left]


def explain(missing: Sequence[Missing], left: Sequence[Left], sources: Sources, blame: Blame) -> list[Place]:
    """Charges what is missing, saying where it stands in another shape; returns what is left then."""
    alike: dict[tuple[str, bytes], list[Place]] = defaultdict(list)
    for one in left if missing else ():
        alike[one.place[0], one.name].append(one.place)
    taken = set()
    for source, (topic, partition), name in missing:
        others = alike[topic, name]
        text = f"its output in `{topic}`[{partition}] does not stand"
        if others:
            other = others.pop()
            taken.add(other)
            how = "in another partition" if other[1] != partition else "with other bytes"
            text = f"{text}: {how} at {place_text(other)}"
            sources.add(other, source)
        blame.charge(source, "lost", text)
    return [one.place for one in left if one.place not in taken]


def _check_order(
    where: Partition,
    written: Written,
    twins: Iterable[Sequence[int]],
    paired: "array[int]",
    standing: Standing,
    blame: Blame,
) -> None:
    """Charges outputs that stand before one that their lane wrote earlier.

    The same bytes from several lanes say nothing: nobody knows whose are whose.
    """
    nobodys = {
        one for ones in twins if len(ones) > 1 and len({written.numbers[one] for one in ones}) > 1 for one in ones
    }  # fmt: skip
    of_lanes: dict[int, list[int]] = defaultdict(list)
    for one, index in enumerate(paired):
        if index >= 0 and one not in nobodys:
            of_lanes[written.numbers[one]].append(one)
    for ones in of_lanes.values():
        for stray in _strays([paired[one] for one in ones]):
            text = f"its output stands at {place_text((*where, standing.offsets[paired[ones[stray]]]))}"
            blame.charge(written.source(ones[stray]), "out of order", text)


def _strays(places: Sequence[int]) -> list[int]:
    """The fewest whose removal leaves ascending places: all but a longest ascending run."""
    if all(before < after for before, after in pairwise(places)):
        return []
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, place in enumerate(places):
        length = bisect_left(tails, place)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [index]
    kept, index = set(), ends[-1]
    while index >= 0:
        kept.add(index)
        index = before[index]
    return [index for index in range(len(places)) if index not in kept]
