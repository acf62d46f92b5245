"""Findings, and whose they are: what a change led to is charged to the input that the change came from."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from chaos.columns import Partition, Place, index_of


class Finding(NamedTuple):
    """One word, where, and what is so: never a patient's value."""

    word: str
    place: Place | None
    text: str = ""

    def __str__(self) -> str:
        where = f" {place_text(self.place)}" if self.place else ""
        return f"{self.word}{where}: {self.text}" if self.text else f"{self.word}{where}"


class Inputs(Mapping[Place, Finding]):
    """What is said of each input: `decided once` of those at `stood` of which nothing else is `found`."""

    def __init__(self, stood: Mapping[Partition, "array[int]"], found: Mapping[Place, Finding]) -> None:
        self.found = found
        self._stood = stood

    def __getitem__(self, place: Place) -> Finding:
        if place in self.found:
            return self.found[place]
        if self._stands(place):
            return Finding("decided once", place)
        raise KeyError(place)

    def __iter__(self) -> Iterator[Place]:
        for where, some in self._stood.items():
            yield from ((*where, offset) for offset in some)
        yield from (place for place in self.found if not self._stands(place))

    def __len__(self) -> int:
        return sum(map(len, self._stood.values())) + sum(not self._stands(place) for place in self.found)

    def _stands(self, place: Place) -> bool:
        topic, partition, offset = place
        some = self._stood.get((topic, partition))
        return some is not None and index_of(some, offset) is not None


class Sources:
    """Of each record on a topic of ours, the record that it came from; in columns, as there are millions."""

    def __init__(self) -> None:
        self._columns: dict[Partition, tuple[array[int], Sequence[Partition], array[int], array[int]]] = {}
        self._more: dict[Place, Place] = {}

    def put(
        self,
        where: Partition,
        offsets: "array[int]",
        lanes: Sequence[Partition],
        numbers: "array[int]",
        sources: "array[int]",
    ) -> None:
        """Of the records of a partition: the index in `lanes` of each one's input partition (-1: none), its offset."""
        self._columns[where] = offsets, lanes, numbers, sources

    def add(self, place: Place, source: Place) -> None:
        """Of one record."""
        self._more[place] = source

    def get(self, place: Place) -> Place | None:
        """Where it came from; None for what came from nowhere."""
        topic, partition, offset = place
        found = self._columns.get((topic, partition))
        if found is not None:
            offsets, lanes, numbers, sources = found
            index = index_of(offsets, offset)
            if index is not None and numbers[index] >= 0:
                return (*lanes[numbers[index]], sources[index])
        return self._more.get(place)


@dataclass
class Blame:
    """Collects what is wrong: with what followed from a record (`charges`), and whatever no input stands for."""

    charges: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def charge(self, place: Place, word: str, text: str) -> None:
        """Something is wrong with what followed from this record."""
        self.charges.append(Finding(word, place, text))

    def find(self, word: str, place: Place | None, text: str) -> None:
        """Something is wrong that no input stands for."""
        self.findings.append(Finding(word, place, text))

    def add(self, other: "Blame") -> None:
        """All that another one collected."""
        self.charges += other.charges
        self.findings += other.findings

    def settle(
        self, stood: Mapping[Partition, "array[int]"], more: Sequence[Place], sources: Sources, words: Sequence[str]
    ) -> tuple[Inputs, list[Finding]]:
        """One finding for each input, the worst by the order of `words`; and all that is about none of them.

        Inputs are the records that `stood`, and `more`.
        """
        charged: dict[Place, list[Finding]] = defaultdict(list)
        for charge in self.charges:
            assert charge.place is not None
            charged[_root(sources, charge.place)].append(charge)
        inputs = Inputs(stood, {place: Finding("decided once", place) for place in more})
        found, others = {}, list(self.findings)
        for place in sorted({*charged, *more}):
            charges = charged.get(place, [])
            if place not in inputs:
                others += charges
            else:
                found[place] = _worst(place, charges, words)
        return Inputs(stood, found), others


def _root(sources: Sources, place: Place) -> Place:
    seen = {place}
    while (source := sources.get(place)) is not None and source not in seen:
        seen.add(source)
        place = source
    return place


def _worst(place: Place, found: Sequence[Finding], words: Sequence[str]) -> Finding:
    if not found:
        return Finding("decided once", place)
    worst = min(found, key=lambda one: words.index(one.word))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(worst.word, place, f"{worst.text}{more}")


def place_text(place: Place) -> str:
    """`topic[partition]@offset`."""
    topic, partition, offset = place
    return f"{topic}[{partition}]@{offset}"


def named(record: str) -> str:
    """A record without its id; names of our own (`__breaker`) as they are."""
    return f"`{record}`" if record.startswith("__") else f"#{sha256(record.encode()).hexdigest()[:8]}"
