"""Match keys: what two records of one person share, and nothing that anybody else could read."""

import re
from typing import Any

import pytest

from ownership_stream.matches import MATCH_ON, MOST, Seen, Sighting, match_keys, sight

SECRET = b"a secret of the installation"
ANN: dict[str, Any] = {
    "legal_name": {"family": "Doe", "given": "Ann"},
    "date_of_birth": "1980-01-02",
    "email": "ann@example.org",
    "phone": "+12125550100",
}


def keys(**values: Any) -> dict[str, str]:
    """The match keys of these values by the first field of each."""
    return dict(match_keys(values, SECRET))


def seen(*names: tuple[str, str]) -> tuple[Seen, list[str | None]]:
    """What is known after these sightings of (system, record), and what each was told."""
    known: Seen = ()
    told = []
    for number, (system, record) in enumerate(names):
        known, other = sight(known, Sighting("k", "email", system, record, number, f"c{number}"))
        told.append(other)
    return known, told


def test_each_group_of_fields_gives_a_key_of_its_own() -> None:
    """A name with a date of birth, an e-mail address, a phone number."""
    assert [names[0] for names in MATCH_ON] == list(keys(**ANN))
    assert 3 == len(set(keys(**ANN).values()))


@pytest.mark.parametrize("value", [None, "absent"])
def test_a_key_needs_all_of_its_fields(value: Any) -> None:
    """A name alone is no person."""
    known = ANN | {"date_of_birth": None}
    if value == "absent":
        del known["date_of_birth"]
    assert {"email", "phone"} == keys(**known).keys()


def test_a_key_is_a_hash_that_says_nothing() -> None:
    """32 hex digits, and others under another secret."""
    for key in keys(**ANN).values():
        assert re.fullmatch("[0-9a-f]{32}", key)
    assert set(keys(**ANN).values()).isdisjoint(key for _, key in match_keys(ANN, b"another"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(
            {"legal_name": {"family": "DOE", "given": "ann"}, "date_of_birth": "1980-01-02"}, id="in capitals"
        ),
        pytest.param(
            {"legal_name": {"given": "Ann", "family": "Doe"}, "date_of_birth": "1980-01-02"}, id="other order"
        ),
    ],
)
def test_how_a_name_is_written_makes_no_other_person(other: dict[str, Any]) -> None:
    """Capitals, and the order in which a source names the parts."""
    assert keys(**ANN)["legal_name"] == keys(**other)["legal_name"]


def test_another_person_has_another_key() -> None:
    """The same name on another day, and the reverse."""
    twin = ANN | {"legal_name": {"family": "Doe", "given": "Bea"}}
    assert 3 == len({keys(**one)["legal_name"] for one in (ANN, ANN | {"date_of_birth": "1980-01-03"}, twin)})


def test_the_same_text_in_another_field_is_another_key() -> None:
    """A phone number typed as an e-mail address matches no phone number."""
    assert keys(email="x")["email"] != keys(phone="x")["phone"]


@pytest.mark.parametrize(
    ("sightings", "told"),
    [
        pytest.param([("crm", "a")], [None], id="the first"),
        pytest.param([("crm", "a"), ("crm", "b")], [None, "a"], id="another record of the same system"),
        pytest.param([("crm", "a"), ("crm", "a")], [None, None], id="the same record twice"),
        pytest.param([("crm", "a"), ("ehr", "a")], [None, None], id="the same record in the other system"),
        pytest.param([("crm", "a"), ("ehr", "b")], [None, None], id="another record in the other system"),
        pytest.param([("crm", "a"), ("crm", "b"), ("crm", "c")], [None, "a", "a"], id="a third names the first"),
        pytest.param([("crm", "a"), ("crm", "b"), ("crm", "b")], [None, "a", None], id="a duplicate is told once"),
        pytest.param([("ehr", "x"), ("crm", "a"), ("crm", "b")], [None, None, "a"], id="only the own system is named"),
    ],
)
def test_who_is_told_of_whom(sightings: list[tuple[str, str]], told: list[str | None]) -> None:
    """Only two records of one system are probably one person twice."""
    assert told == seen(*sightings)[1]


def test_a_key_that_too_many_share_points_to_nobody() -> None:
    """A clinic's own phone number: no more records are remembered, and nobody is told."""
    names = [("crm", f"r{number}") for number in range(MOST + 3)]
    known, told = seen(*names)
    assert tuple(names[:MOST]) == known
    assert [None] * 3 == told[MOST:]
