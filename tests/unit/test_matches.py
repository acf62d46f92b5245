"""Match keys: what two records of one person share, and nothing that anybody else could read."""

import re
from typing import Any

import pytest

from found import first_keys_of, judged
from ownership_stream.matches import KEYS, MOST, Seen, Sighting, match_keys, sight
from people import KINDS, OTHERS, registrations

SECRET = b"a secret of the installation"
ANN: dict[str, Any] = {
    "legal_name": {"family": "Doe", "given": "Ann"},
    "date_of_birth": "1980-01-02",
    "email": "ann@example.org",
    "phone": "+12125550100",
}


def keys(**values: Any) -> dict[str, set[str]]:
    """The match keys of these values by the first field of each."""
    found: dict[str, set[str]] = {}
    for about, key in match_keys(values, SECRET):
        found.setdefault(about, set()).add(key)
    return found


def shared(**other: Any) -> set[str]:
    """The fields by which Ann and somebody else, who differs from her in this, would meet."""
    mine, theirs = keys(**ANN), keys(**(ANN | other))
    return {about for about in mine if mine[about] & theirs.get(about, set())}


def seen(*names: tuple[str, str]) -> tuple[Seen, list[tuple[str, str] | None]]:
    """What is known after these sightings of (system, record), and what each was told."""
    known: Seen = ()
    told = []
    for number, (system, record) in enumerate(names):
        known, match = sight(known, Sighting("k", "email", system, record, number, f"c{number}"))
        told.append(match)
    return known, list(told)


def test_every_key_is_made_of_what_is_there() -> None:
    """By the field whose escalation owner has the case."""
    assert {"legal_name": 3, "email": 2, "phone": 2} == {about: len(found) for about, found in keys(**ANN).items()}
    assert len(KEYS) == sum(map(len, keys(**ANN).values()))


@pytest.mark.parametrize("value", [None, "absent"])
def test_a_key_needs_all_of_its_fields(value: Any) -> None:
    """A name alone is no person, and neither is an address that may be a household's."""
    known = ANN | {"date_of_birth": None}
    if value == "absent":
        del known["date_of_birth"]
    assert {"email", "phone"} == keys(**known).keys()
    assert {} == keys(email="ann@example.org", phone="+12125550100", legal_name=None)
    assert {} == keys(**(ANN | {"legal_name": {"family": "Doe", "given": None}, "email": "x"}))


def test_a_key_is_a_hash_that_says_nothing() -> None:
    """32 hex digits, and others under another secret."""
    mine = set().union(*keys(**ANN).values())
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in mine)
    assert mine.isdisjoint(key for _, key in match_keys(ANN, b"another"))


def name(family: str, given: str) -> dict[str, Any]:
    """Another legal name."""
    return {"legal_name": {"family": family, "given": given}}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(name("DOE", "ann"), id="in capitals"),
        pytest.param(name("Döe", "Ánn"), id="with accents"),
        pytest.param(name("D'oe", " Ann  Marie "), id="with an apostrophe and a second given name"),
        pytest.param(name("Ann", "Doe"), id="swapped"),
        pytest.param(name("Dow", "Ann"), id="a typo in the family name"),
        pytest.param(name("Doe", "Amn"), id="a typo in the given name"),
        pytest.param({"date_of_birth": "1980-02-01"}, id="day and month of birth swapped"),
    ],
)
def test_one_mistake_makes_no_other_person(other: dict[str, Any]) -> None:
    """Name and birth date still meet, without help of an address."""
    assert "legal_name" in shared(**other)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"email": "ann+care@example.org"}, id="a tag"),
        pytest.param(name("Roe", "Ann"), id="another family name: married"),
    ],
)
def test_an_address_is_one_person_s_with_the_given_name(other: dict[str, Any]) -> None:
    """However it is written, and whatever became of the family name."""
    assert "email" in shared(**other)


def test_google_s_addresses_have_no_dots() -> None:
    """They reach the same person with and without."""
    one, other = keys(**(ANN | {"email": "a.nn@gmail.com"})), keys(**(ANN | {"email": "ann@googlemail.com"}))
    assert one["email"] == other["email"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(name("Doe", "Bea"), id="a twin"),
        pytest.param(name("Doe", "Bea") | {"date_of_birth": "2004-05-06"}, id="a child of the household"),
        pytest.param({"date_of_birth": "1980-01-03", "email": None, "phone": None}, id="a namesake"),
    ],
)
def test_who_only_looks_alike_is_another_person(other: dict[str, Any]) -> None:
    """The same address and number, the same family, even the same day of birth: another given name."""
    assert set() == shared(**other)


def test_the_same_text_in_another_field_is_another_key() -> None:
    """A phone number typed as an e-mail address matches no phone number."""
    one = {"legal_name": ANN["legal_name"], "email": "x@y", "phone": "x@y"}
    assert not keys(**one)["email"] & keys(**one)["phone"]


def test_a_name_in_one_piece_and_letters_of_other_alphabets_are_read() -> None:
    """A name of one piece is no key for a person; other scripts are themselves."""
    assert {} == keys(legal_name="Ann Doe", date_of_birth="1980-01-02")
    assert 3 == len(keys(**name("山本", "花子"), date_of_birth="1980-01-02")["legal_name"])


A, LINK = ("match", "a"), ("candidate", "a")


@pytest.mark.parametrize(
    ("sightings", "told"),
    [
        pytest.param([("crm", "a")], [None], id="the first"),
        pytest.param([("crm", "a"), ("crm", "b")], [None, A], id="another record of the same system"),
        pytest.param([("crm", "a"), ("crm", "a")], [None, None], id="the same record twice"),
        pytest.param([("crm", "a"), ("ehr", "a")], [None, None], id="the same record in the other system"),
        pytest.param([("crm", "a"), ("ehr", "b")], [None, LINK], id="another record in the other system"),
        pytest.param([("crm", "a"), ("crm", "b"), ("crm", "c")], [None, A, A], id="a third names the first"),
        pytest.param([("crm", "a"), ("crm", "b"), ("crm", "b")], [None, A, None], id="a duplicate is told once"),
        pytest.param(
            [("ehr", "x"), ("crm", "a"), ("crm", "b")], [None, ("candidate", "x"), A], id="its own system first"
        ),
    ],
)
def test_who_is_told_of_whom(sightings: list[tuple[str, str]], told: list[tuple[str, str] | None]) -> None:
    """Two records of one system are probably one person twice; two of different systems one who is not linked."""
    assert told == seen(*sightings)[1]


def test_a_key_that_too_many_share_points_to_nobody() -> None:
    """A clinic's own phone number: no more records are remembered, and nobody is told."""
    names = [("crm", f"r{number}") for number in range(MOST + 3)]
    known, told = seen(*names)
    assert tuple(names[:MOST]) == known
    assert [None] * 3 == told[MOST:]


# ------------------------------------------------------------------------------------------------ how well it finds


def test_on_a_labelled_set_few_are_missed_and_few_are_others() -> None:
    """The floors of docs/identity.md, on a small set: some registrations lack a birth date, an address, a number."""
    people = registrations(4_000, seed=7)
    plain, found = judged(people, first_keys_of), judged(people)
    assert found.precision() > 0.92
    assert found.recall() > 0.85
    assert plain.precision() < 0.6, "the set is no harder than plain keys can do"
    assert plain.recall() < 0.7
    least = dict.fromkeys(KINDS, 0.74) | {"the same again": 0.95, "names swapped": 0.93, "birth date mistyped": 0.93}
    least |= {"typo, other contacts": 0.6}
    assert [] == [kind for kind in KINDS if found.recall(kind) < least[kind]]
    assert [] == [kind for kind in OTHERS if found.recall(kind) > 0.06]
    assert [] == [key for key in KEYS if found.precision(key) < 0.9]
