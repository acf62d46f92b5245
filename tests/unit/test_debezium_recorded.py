"""Records of real connectors, as they wrote them: what each file holds, `tests/fixtures/debezium/README.md` says."""

from typing import Any

import msgspec
import pytest

from debezium_kit import FLATTENED, MAPPINGS, read, recorded
from ownership_stream import sources
from ownership_stream.sources.mapping import UNAVAILABLE
from ownership_stream.sources.unavailable import Unavailable

ENVELOPES = msgspec.structs.replace(MAPPINGS["mariadb"], servers=frozenset({184054}))
ASIDE = {"heartbeat", "transaction", "tombstone"}
DONE = [
    *("heartbeat", "transaction", "r 1", "r 2", "u 1", "u 1", "u 2", "c 3", "u 2", "u 2", "moved", "tombstone", "u 9"),
    *("d 3", "tombstone", "r 2", "r 9", "unknown_column", "unknown_column", "u 2", "c 20"),
]
"""A word for what is no change, and else the kind and the row's key."""


@pytest.mark.parametrize(
    ("name", "mapping", "done"),
    [
        ("mariadb", ENVELOPES, DONE),
        ("mariadb_flattened", FLATTENED["mariadb"], [one for one in DONE if one not in ASIDE]),
    ],
)
def test_what_a_real_mariadb_s_connector_wrote_is_what_was_done_to_its_table(
    name: str, mapping: sources.Mapping, done: list[str]
) -> None:
    """From the first record to the last, and each record's positions grow."""
    found: list[Any] = []
    for record in recorded(name):
        try:
            taken = read(record, mapping)
        except sources.Undecodable as error:
            found.append(error.reason)
        else:
            found += [taken.ignored] if taken.ignored else taken.changes
    assert done == [one if isinstance(one, str) else f"{one.op} {one.key}" for one in found]
    changes = [one for one in found if not isinstance(one, str)]
    for row in {one.record for one in changes}:
        places = [one.position for one in changes if one.record == row]
        assert sorted(set(places)) == places
    first, second, cleared, *_, altered, last = changes
    assert ("1980-12-31", 81.5, "2026-01-01T10:00:00.123Z") == tuple(
        first.fields[name] for name in ("date_of_birth", "weight", "next_appointment")
    )
    assert second.fields["date_of_birth"] is None, "0000-00-00"
    assert ({"family": None, "given": "Ann"}, None) == (cleared.fields["legal_name"], cleared.fields["email"])
    assert (100.25, False) == (altered.fields["weight"], "allergies" in altered.fields)
    assert altered.position[1] == first.position[1] + 1, "a new binlog file"
    assert ("C-20", {"family": "by-default", "given": None}) == (last.record, last.fields["legal_name"])


LOST = {
    "bytes": {"da", "n"},
    "base64": {"b", "da", "n"},
    "hex": {"da"},
    "safe": {"b", "da", "dd", "n"},
    "flat": {"da", "n"},
}
"""Topic -> the columns for which the connector has no placeholder: arrays of doubles, binary as base64, numeric."""


def test_what_postgresql_did_not_log_is_known_in_every_shape_that_its_connector_gives_it() -> None:
    """But for types that have no placeholder: there it writes null, which docs/sources/debezium.md warns of."""
    placeholder = Unavailable(UNAVAILABLE)
    for record in recorded("postgresql_toast"):
        value = record["value"]
        row = value.get("after", value)
        wide = {name: row[name] for name in ("t", "b", "ta", "ia", "la", "da", "j", "h", "ua", "n", "xm", "dd")}
        lost = {name for name, raw in wide.items() if raw is None}
        assert LOST[record["topic"].partition(".")[0]] == lost
        for name in wide.keys() - lost:
            raw = wide[name]
            assert raw in placeholder.texts if isinstance(raw, str) else placeholder.is_nested(raw), name
