"""Match keys: what two records of one person have in common, as keyed hashes that say nothing to anybody else.

A record that a system creates is *sighted* under each of its match keys; two sightings of one system under the same
key are probably the same person twice (``docs/rules.md``, section 5, figure 1). Sightings stand on a topic of their
own, partitioned by key, so that two creates at once meet in one place. Pure: the secret is given, and nothing is
looked up.
"""

import hmac
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ownership_stream.model import Value

MATCH_ON: Final = (("legal_name", "date_of_birth"), ("email",), ("phone",))
"""Fields that together point to one person; a key needs all of its fields."""

MOST: Final = 16
"""Records remembered under one key: a number that so many share (a clinic's own) points to nobody."""


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


def match_keys(values: Mapping[str, Value], secret: bytes) -> Iterator[tuple[str, str]]:
    """(first field, key) for each match key whose fields are all there."""
    for names in MATCH_ON:
        found = [values.get(name) for name in names]
        if all(value is not None for value in found):
            said = msgspec.json.encode([names, found], order="deterministic").lower()
            yield names[0], hmac.digest(secret, said, "sha256")[:16].hex()


def sight(seen: Seen, sighting: Sighting) -> tuple[Seen, str | None]:
    """What is known under the key after one more sighting, and the record of its system that it probably repeats."""
    mine = (sighting.system, sighting.record)
    if mine in seen or len(seen) >= MOST:
        return seen, None
    other = next((record for system, record in seen if system == sighting.system), None)
    return (*seen, mine), other
