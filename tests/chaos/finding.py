"""Findings, and whose they are: what a change led to is charged to the input that the change came from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from chaos.expected import Place


class Finding(NamedTuple):
    """One word, where, and what is so: never a patient's value."""

    word: str
    place: Place | None
    text: str = ""

    def __str__(self) -> str:
        where = f" {place_text(self.place)}" if self.place else ""
        return f"{self.word}{where}: {self.text}" if self.text else f"{self.word}{where}"


@dataclass
class Blame:
    """Collects what is wrong. `sources` says which input record a record on a topic of ours came from."""

    sources: dict[Place, Place] = field(default_factory=dict)
    charges: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def charge(self, place: Place, word: str, text: str) -> None:
        """Something is wrong with what followed from this record."""
        self.charges.append(Finding(word, place, text))

    def find(self, word: str, place: Place | None, text: str) -> None:
        """Something is wrong that no input stands for."""
        self.findings.append(Finding(word, place, text))

    def settle(self, inputs: Iterable[Place], words: Sequence[str]) -> tuple[dict[Place, Finding], list[Finding]]:
        """One finding for each input, the worst by the order of `words`; and all that is about none of them."""
        charged: dict[Place, list[Finding]] = defaultdict(list)
        for charge in self.charges:
            assert charge.place is not None
            charged[self._root(charge.place)].append(charge)
        verdicts = {}
        for place in dict.fromkeys(inputs):
            found = charged.pop(place, None)
            verdicts[place] = Finding("decided once", place) if found is None else _worst(place, found, words)
        return verdicts, [*self.findings, *(charge for found in charged.values() for charge in found)]

    def _root(self, place: Place) -> Place:
        seen = {place}
        while (source := self.sources.get(place)) is not None and source not in seen:
            seen.add(source)
            place = source
        return place


def _worst(place: Place, found: Sequence[Finding], words: Sequence[str]) -> Finding:
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
