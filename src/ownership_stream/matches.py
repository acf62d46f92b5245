"""Match keys: what two records of one person have in common, as keyed hashes that say nothing to anybody else.

A record that a system creates is *sighted* under each of its match keys. Two sightings of one system under the same key
are probably the same person twice (``docs/rules.md``, section 5, figure 1); two of different systems, under different
record ids, are probably one person who is not linked yet. Either is told to a person, who decides. Sightings stand on a
topic of their own, partitioned by key, so that two creates at once meet in one place. Pure: the secret is given, and
nothing is looked up.

A key forgives one kind of mistake and asks for the rest: how well each does is measured (``docs/identity.md``).
"""

import hmac
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from ownership_stream.model import Value

MOST: Final = 16
"""Records remembered under one key: a number that so many share (a clinic's own) points to nobody."""

Said = tuple[str, ...] | None
"""What a key says before it is hashed; ``None``: the values do not have all of it."""


class Sighting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record of ``ownership.matches``, keyed by the match key."""

    key: str
    """32 hex digits: HMAC-SHA-256 of the normalised values under the installation's secret."""
    about: str
    """The first field of the key; its escalation owner has the case."""
    system: str
    record: str
    at: int
    change_id: str


Seen = tuple[tuple[str, str], ...]
"""(system, record) of every sighting under a key, oldest first."""


class Match(NamedTuple):
    """Whom a sighted record probably is: one of its own system (``match``), or of another one (``candidate``)."""

    kind: Literal["match", "candidate"]
    record: str


class Person(NamedTuple):
    """What the keys read of a record, normalised; empty where it has none."""

    family: str
    given: str
    """The first of the given names."""
    names: tuple[str, ...]
    """Every name, in one order whichever field it stood in; empty where one of the two is missing."""
    born: str
    email: str
    phone: str


def match_keys(values: Mapping[str, Value], secret: bytes) -> Iterator[tuple[str, str]]:
    """(first field, key) for each match key of which all is there."""
    person = person_of(values)
    for name, (about, say) in KEYS.items():
        said = say(person)
        if said is not None and all(said):
            yield about, hmac.digest(secret, msgspec.json.encode([name, *said]), "sha256")[:16].hex()


def sight(seen: Seen, sighting: Sighting) -> tuple[Seen, Match | None]:
    """What is known under the key after one more sighting, and whom the sighted record probably is."""
    mine = (sighting.system, sighting.record)
    if mine in seen or len(seen) >= MOST:
        return seen, None
    others = [(system, record) for system, record in seen if record != sighting.record]
    same = next((record for system, record in others if system == sighting.system), None)
    if same is not None:
        return (*seen, mine), Match("match", same)
    return (*seen, mine), Match("candidate", others[0][1]) if others else None


def person_of(values: Mapping[str, Value]) -> Person:
    """What the keys read of a record's values."""
    name = values.get("legal_name")
    parts = name if isinstance(name, dict) else {"family": name}
    family, given = words_of(parts.get("family")), words_of(parts.get("given"))
    return Person(
        "".join(family),
        "".join(given[:1]),
        tuple(sorted((*family, *given))) if family and given else (),
        str(values.get("date_of_birth") or ""),
        mailbox(str(values.get("email") or "")),
        str(values.get("phone") or ""),
    )


def words_of(name: Value) -> list[str]:
    """The words of a name, without case, accents and apostrophes: ``O'Brien-Núñez`` is ``obrien`` and ``nunez``."""
    folded = unicodedata.normalize("NFKD", str(name or "").casefold())
    kept = (letter for letter in folded if not unicodedata.combining(letter) and letter not in "'’")
    return "".join(letter if letter.isalnum() else " " for letter in kept).split()


def mailbox(email: str) -> str:
    """An address without what its owner may add: a tag, and at Google dots."""
    local, _, domain = email.lower().partition("@")
    local = local.partition("+")[0]
    if domain in {"gmail.com", "googlemail.com"}:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}" if local and domain else ""


def _initials(person: Person) -> str:
    """In one order: given and family name are often swapped."""
    return "".join(sorted(person.family[:1] + person.given[:1])) if person.family and person.given else ""


KEYS: Final[dict[str, tuple[str, Callable[[Person], Said]]]] = {
    "names, digits of birth date": ("legal_name", lambda one: (" ".join(one.names), "".join(sorted(one.born)))),
    "family, given initial, birth date": ("legal_name", lambda one: (one.family, one.given[:1], one.born)),
    "given, family initial, birth date": ("legal_name", lambda one: (one.given, one.family[:1], one.born)),
    "e-mail, initials": ("email", lambda one: (one.email, _initials(one))),
    "e-mail, given name": ("email", lambda one: (one.email, one.given)),
    "phone, initials": ("phone", lambda one: (one.phone, _initials(one))),
    "phone, given name": ("phone", lambda one: (one.phone, one.given)),
}
"""Each key by its name: the first field it is about, and what it says of a person."""
