"""How well match keys find people who are registered twice: precision and recall on a labelled set (``people.py``)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ownership_stream.matches import KEYS, MOST, person_of
from ownership_stream.model import Value
from people import KINDS, OTHERS, Registration

Keys = Callable[[Mapping[str, Value]], Iterator[tuple[str, str]]]
"""(name of the key, what it says) of a record's values."""


def keys_of(values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """The keys as they are, before they are hashed."""
    person = person_of(values)
    for name, (_, say) in KEYS.items():
        said = say(person)
        if said is not None and all(said):
            yield name, repr((name, said))


def first_keys_of(values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """The keys that were there first, to compare with: whole fields, alike but for capitals."""
    for names in (("legal_name", "date_of_birth"), ("email",), ("phone",)):
        found = [values.get(name) for name in names]
        if all(value is not None for value in found):
            yield ", ".join(names), msgspec.json.encode([names, found], order="deterministic").lower().decode()


@dataclass
class Found:
    """What was told of, and what was right of it."""

    told: Counter[str] = field(default_factory=Counter)
    """Records told of, by the name of a key and in all (``""``)."""
    right: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    """Records that should be found, by kind and in all (``""``); of the kinds of others those that should not."""
    found: Counter[str] = field(default_factory=Counter)

    def precision(self, key: str = "") -> float:
        """Of the records told of by a key, the share that are the person they are said to be."""
        return self.right[key] / self.told[key] if self.told[key] else 1.0

    def recall(self, kind: str = "") -> float:
        """Of the records of a kind that are somebody's second, the share that is told of."""
        return self.found[kind] / self.there[kind] if self.there[kind] else 1.0


def judged(registrations: Sequence[Registration], keys: Keys = keys_of) -> Found:
    """Register one after the other, tell of each at most one record by each key, and judge by who they are."""
    result, shelf = Found(), defaultdict[str, list[int]](list)
    before: set[int] = set()
    kinds: dict[int, str] = {}
    for one in registrations:
        told: set[bool] = set()
        for name, key in keys(one.values):
            there = shelf[key]
            if len(there) >= MOST:
                continue
            if there:
                is_right = one.person == there[0]
                told.add(is_right)
                result.told[name] += 1
                result.right[name] += is_right
            there.append(one.person)
        if told:
            result.told[""] += 1
            result.right[""] += True in told
        again = one.person in before
        # Whichever of the two was registered last is the one to be told of.
        kind = one.kind or kinds.get(one.person, "")
        for label in ("", kind) if again else ():
            result.there[label] += 1
            result.found[label] += True in told
        if not again and one.kind in OTHERS:
            result.there[one.kind] += 1
            result.found[one.kind] += bool(told)
        before.add(one.person)
        kinds[one.person] = one.kind
    assert result.there[""] == sum(result.there[kind] for kind in KINDS)
    return result
