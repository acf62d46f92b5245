"""A labelled set of generated people: who is who is known, so that what is found can be judged.

Each person is registered once. Some are registered once more, with one kind of mistake (``KINDS``); and beside some
stands another person who looks alike: a twin, somebody of the same household, a namesake. Seeded, invented, no data.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ownership_stream.model import Value

_FAMILIES: Final = """
Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson Anderson
Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young
Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter
Roberts O'Brien Núñez Müller Schröder Kowalski Ivanov Haddad Okafor Yamamoto Larsen Dubois Rossi Silva Petrov
Fitzgerald McCarthy Vandenberg Castellanos Abernathy Blackwood Christensen Donovan Eriksson Featherstone
"""
FAMILIES: Final = tuple(_FAMILIES.split())
_GIVEN: Final = """
James Mary Michael Patricia Robert Jennifer John Linda David Elizabeth William Barbara Richard Susan Joseph Jessica
Thomas Karen Christopher Sarah Charles Lisa Daniel Nancy Matthew Sandra Anthony Betty Mark Ashley Donald Emily Steven
Kimberly Andrew Margaret Paul Donna Joshua Michelle Kenneth Carol Kevin Amanda Brian Melissa Timothy Deborah Ronald
Stephanie George Rebecca Jason Sharon Edward Laura Jeffrey Cynthia Ryan Dorothy Jacob Amy Nicholas Kathleen Gary
Angela Eric Shirley José Zoë Anna Hanna Mia Lea Noah Liam Olivia Ava Ethan Lucas Sofia Ana María Björn
"""
GIVEN: Final = tuple(_GIVEN.split())
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
MISSING: Final = {"date_of_birth": 0.12, "email": 0.15, "phone": 0.2}
"""How often a registration lacks a field."""


class Registration(NamedTuple):
    """One record as a system created it."""

    person: int
    kind: str
    """What is different about it: of ``KINDS`` the same person once more, of ``OTHERS`` another who looks alike."""
    values: dict[str, Value]


Values = dict[str, str]


def typo(text: str, chance: random.Random) -> str:
    """One letter left out, doubled, replaced, or two of them swapped; the first one as often as any."""
    at = chance.randrange(len(text) - 1)
    how = chance.randrange(4)
    if how == 0:
        return text[:at] + text[at + 1 :]
    if how == 1:
        return text[:at] + text[at] + text[at:]
    if how == 2:
        return text[:at] + chance.choice(LETTERS) + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def born(chance: random.Random) -> str:
    """A birth date."""
    return f"{chance.randint(1940, 2006)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def phone(chance: random.Random) -> str:
    """A phone number."""
    return f"+1{chance.randint(2_000_000_000, 9_899_999_999)}"


def mail(one: Values, chance: random.Random) -> str:
    """An address made of the name, as most are."""
    return f"{one['given']}.{one['family']}{chance.randint(1, 9999)}@example.org".lower()


def invented(chance: random.Random) -> Values:
    """Somebody."""
    # Few names are frequent and most are rare.
    one = {"family": FAMILIES[int(len(FAMILIES) * chance.random() ** 1.6)]}
    one |= {"given": GIVEN[int(len(GIVEN) * chance.random() ** 1.4)], "date_of_birth": born(chance)}
    return one | {"phone": phone(chance), "email": mail(one, chance)}


def _mistyped(one: Values, chance: random.Random) -> Values:
    part = chance.choice(("family", "given"))
    return one | {part: typo(one[part], chance)}


def _swapped(one: Values, _: random.Random) -> Values:
    return one | {"family": one["given"], "given": one["family"]}


def _reached_anew(one: Values, chance: random.Random) -> Values:
    return one | {"phone": phone(chance), "email": mail(one | {"family": "x"}, chance)}


def _married(one: Values, chance: random.Random) -> Values:
    return one | {"family": chance.choice(FAMILIES), "phone": phone(chance)}


def _day_and_month(one: Values, _: random.Random) -> Values:
    year, month, day = one["date_of_birth"].split("-")
    return _respelled(
        one | {"date_of_birth": f"{year}-{day}-{month}" if int(day) <= 12 else f"{year}-{month}-{day[::-1]}"}
    )


def _respelled(one: Values) -> Values:
    """In capitals, without accents and apostrophes, with a tag in the address."""
    plain = str.maketrans("úñüöïëéíö'", "unuoieeio ")
    local, _, domain = one["email"].partition("@")
    names = {part: one[part].translate(plain).replace(" ", "").upper() for part in ("family", "given")}
    return one | names | {"email": f"{local}+care@{domain}"}


KINDS: Final[dict[str, Callable[[Values, random.Random], Values]]] = {
    "the same again": lambda one, _: dict(one),
    "written otherwise": lambda one, _: _respelled(one),
    "typo in a name": _mistyped,
    "typo, other contacts": lambda one, chance: _reached_anew(_mistyped(one, chance), chance),
    "names swapped": _swapped,
    "swapped, other contacts": lambda one, chance: _reached_anew(_swapped(one, chance), chance),
    "other contacts": _reached_anew,
    "birth date mistyped": _day_and_month,
    "married, other phone": _married,
}


def _other_given(one: Values, chance: random.Random) -> str:
    return chance.choice([name for name in GIVEN if name != one["given"]])


OTHERS: Final[dict[str, Callable[[Values, random.Random], Values]]] = {
    "twin": lambda one, chance: one | {"given": _other_given(one, chance)},
    "same household": lambda one, chance: one | {"given": _other_given(one, chance), "date_of_birth": born(chance)},
    "namesake": lambda one, chance: invented(chance) | {"family": one["family"], "given": one["given"]},
}


def registrations(people: int, seed: int) -> list[Registration]:
    """That many people, each registered once; a third once more, and a third with somebody alike beside them."""
    chance = random.Random(seed)  # noqa: S311 (a repeatable set, nothing secret)
    found = list(_registered(people, chance))
    chance.shuffle(found)
    return found


def _registered(people: int, chance: random.Random) -> Iterator[Registration]:
    kinds, others = list(KINDS), list(OTHERS)
    for number in range(people):
        one = invented(chance)
        yield Registration(number, "", _kept(one, chance))
        if number % 3 == 0:
            kind = kinds[number // 3 % len(kinds)]
            yield Registration(number, kind, _kept(KINDS[kind](one, chance), chance))
        elif number % 3 == 1:
            kind = others[number // 3 % len(others)]
            yield Registration(people + number, kind, _kept(OTHERS[kind](one, chance), chance))


def _kept(one: Values, chance: random.Random) -> dict[str, Value]:
    """As it is registered: some do not say all."""
    values: dict[str, Value] = {"legal_name": {"family": one["family"], "given": one["given"]}}
    for name, share in MISSING.items():
        if chance.random() >= share:
            values[name] = one[name]
    return values
