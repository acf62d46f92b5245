"""The canonical form of every type: what is equal, what is not, and what has no form at all."""

import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from matrices import field, patient
from ownership_stream.matrix.normalise import (
    MAX_TEXT,
    MAX_WHOLE,
    Encoding,
    NotCanonical,
    normalise,
    part,
    scalar,
    whole,
)
from ownership_stream.matrix.words import FIELD_TYPES

TEXT_TYPES = ("text", "name", "code", "stage", "email", "phone")
FINE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31, 23), timezones=st.just(UTC))  # noqa: DTZ001 (bounds are naive by Hypothesis' rule)
SPACES = st.lists(st.sampled_from([" ", "\t", "\n", "\u00a0", "\u2003"]), min_size=1, max_size=3).map("".join)


def reason(type_: str, raw: object, encoding: Encoding | None = None) -> str:
    """Why a raw value has no canonical form; it never holds the value."""
    with pytest.raises(NotCanonical) as caught:
        scalar(type_, raw, encoding, "US")
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


# ------------------------------------------------------------------------------------------------ texts


@given(st.sampled_from(TEXT_TYPES), FINE_TEXT)
@example("code", "\u0345\u03b1")
@example("email", "İ@X.ORG")
@example("code", "ΑΣ ẞ")
@example("text", "e\u0301 \u2000 x")
@example("phone", "+44 (0) 20 7946 0018")
@example("phone", "1-800-FLOWERS")
def test_a_canonical_text_is_its_own_form(type_: str, raw: str) -> None:
    """To normalise twice changes nothing."""
    once = scalar(type_, raw, None, "US")

    assert once == scalar(type_, once, None, "US")


@given(st.lists(FINE_TEXT.map(lambda word: "".join(word.split())).filter(bool), min_size=1, max_size=4), st.data())
def test_white_space_and_composition_make_no_difference(words: list[str], data: st.DataObject) -> None:
    """However words are set apart, and however their letters are composed, they are the same text."""
    spaced = "".join(data.draw(SPACES) + unicodedata.normalize("NFD", word) for word in words) + data.draw(SPACES)

    for type_ in ("text", "code", "email"):
        assert scalar(type_, " ".join(words)) == scalar(type_, spaced)


@given(FINE_TEXT)
def test_case_makes_no_difference_to_a_code(text: str) -> None:
    """Nor does folding it beforehand."""
    assert scalar("code", text) == scalar("code", unicodedata.normalize("NFD", text).casefold())
    if text.isascii():
        assert scalar("code", text) == scalar("code", text.upper()) == scalar("stage", text.lower())


@pytest.mark.parametrize(
    ("type_", "raw", "expected"),
    [
        ("text", "  a\t\nb  ", "a b"),
        ("text", "cafe\u0301", "café"),
        ("text", "", None),
        ("text", " \u2003 ", None),
        ("text", None, None),
        ("name", " O'Brien  Smith ", "O'Brien Smith"),
        ("name", "DOE", "DOE"),
        ("code", "In_Care", "in_care"),
        ("code", "STRASSE", "strasse"),
        ("code", "straße", "strasse"),
        ("code", "É", "é"),
        ("email", " Ann.Doe@Example.ORG ", "ann.doe@example.org"),
        ("email", "  ", None),
    ],
)
def test_a_text_has_one_form(type_: str, raw: object, expected: object) -> None:
    """NFC, trimmed, folded; blank is no value."""
    assert expected == scalar(type_, raw)


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("(202) 555-0123", "US", "+12025550123"),
        ("202.555.0123", "US", "+12025550123"),
        ("+1 202 555 0123", "GB", "+12025550123"),
        ("+1 202 555 0123", "", "+12025550123"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("+44 (0)20 7946 0018", "US", "+442079460018"),
        ("(202) 555-0123 x 12", "US", "+12025550123;ext=12"),
        ("+12025550123;ext=12", "", "+12025550123;ext=12"),
        ("call  the front desk", "US", "call the front desk"),
        ("12", "US", "12"),
        ("202 555 0123", "", "202 555 0123"),
        (" ", "US", None),
        (None, "US", None),
    ],
)
def test_a_phone_number_is_international_and_what_is_none_is_text(raw: object, region: str, expected: object) -> None:
    """A remark in the phone column is compared as text: nothing is lost, and nothing is guessed."""
    assert expected == scalar("phone", raw, None, region)


def test_two_extensions_are_two_numbers() -> None:
    """E.164 alone would take them for one."""
    assert scalar("phone", "202-555-0123 x1", None, "US") != scalar("phone", "202-555-0123 x2", None, "US")


@pytest.mark.parametrize("type_", TEXT_TYPES)
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\0b", "a text with a NUL character"),
        ("a\ud800b", "a text with half a surrogate pair"),
        ("é\udfffb", "a text with half a surrogate pair"),
        ("x" * (MAX_TEXT + 1), f"a text longer than {MAX_TEXT} characters"),
        ("x" * 1_000_000, f"a text longer than {MAX_TEXT} characters"),
        (7, "a number where a text is due"),
        (True, "a boolean where a text is due"),
        (["a"], "a list or an object where a text is due"),
        ({"a": {"b": {}}}, "a mapping where a text is due"),
        (b"a", "a list or an object where a text is due"),
    ],
)
def test_what_is_no_text_says_why(type_: str, raw: object, expected: str) -> None:
    """In words that hold nothing of the value."""
    assert expected == reason(type_, raw)


def test_the_longest_text_is_still_one() -> None:
    """The limit itself is allowed."""
    assert "x" * MAX_TEXT == scalar("text", "x" * MAX_TEXT)


# ------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (72, 72),
        (72.0, 72),
        (72.5, 72.5),
        ("72.50", 72.5),
        (" +072 ", 72),
        ("-0", 0),
        (-0.0, 0),
        (Decimal("72.50"), 72.5),
        ("", None),
        (None, None),
    ],
)
def test_a_number_is_equal_by_value(raw: object, expected: object) -> None:
    """And a whole one is an `int`, so that its bytes are the same too."""
    assert expected == scalar("number", raw)
    assert type(expected) is type(scalar("number", raw))


@given(st.integers(-(10**15) + 1, 10**15 - 1) | st.floats(-1e9, 1e9))
def test_a_canonical_number_is_its_own_form(raw: float) -> None:
    """To normalise twice changes nothing; neither the value nor its type."""
    once = scalar("number", raw)
    twice = scalar("number", once)

    assert (once, type(once)) == (twice, type(twice))
    assert raw == once
    if isinstance(raw, int):
        assert once == scalar("number", str(raw)) == scalar("number", float(raw))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (float("nan"), "a number that is not finite"),
        (float("inf"), "a number that is not finite"),
        (Decimal("sNaN"), "a number that is not finite"),
        (Decimal("-Infinity"), "a number that is not finite"),
        (MAX_WHOLE, "a number too large to be exact"),
        (-MAX_WHOLE - 1, "a number too large to be exact"),
        (10**400, "a number too large to be exact"),
        (1e300, "a number too large to be exact"),
        ("1e3", "a text where a number is due"),
        ("seventy", "a text where a number is due"),
        ("٣", "a text where a number is due"),
        (True, "a boolean where a number is due"),
        ([], "a list or an object where a number is due"),
    ],
)
def test_what_is_no_number_says_why(raw: object, expected: str) -> None:
    """Not finite, not exact, or not a number."""
    assert expected == reason("number", raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(True, True), (False, False), (1, True), (0, False), (" Yes", True), ("f", False), ("", None), (None, None)],
)
def test_a_boolean_is_what_databases_write_for_one(raw: object, expected: object) -> None:
    """True, 1, t, yes; false, 0, f, no."""
    assert expected is scalar("boolean", raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (2, "a number where true or false is due"),
        (1.0, "a number where true or false is due"),
        ("maybe", "a text where true or false is due"),
        ({}, "a mapping where true or false is due"),
    ],
)
def test_what_is_neither_true_nor_false_says_why(raw: object, expected: str) -> None:
    """Two is not true."""
    assert expected == reason("boolean", raw)


# ------------------------------------------------------------------------------------------------ times


@given(DAYS)
def test_a_date_is_equal_by_value_whatever_the_encoding(day: date) -> None:
    """Days, seconds, milliseconds, microseconds and nanoseconds since 1970, and ISO text, are one date."""
    days = (day - date(1970, 1, 1)).days
    seconds = days * 86_400
    forms = [
        scalar("date", day.isoformat()),
        scalar("date", day),
        scalar("date", datetime(day.year, day.month, day.day, tzinfo=UTC)),
        scalar("date", f"{day}T00:00:00.000Z"),
        scalar("date", f"{day} 00:00:00+00"),
        scalar("date", days, "epoch days"),
        scalar("date", seconds, "epoch s"),
        scalar("date", seconds * 1_000, "epoch ms"),
        scalar("date", seconds * 1_000_000, "epoch us"),
        scalar("date", seconds * 1_000_000_000, "epoch ns"),
    ]

    assert {day.isoformat()} == set(forms)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_equal_by_value_whatever_the_encoding(moment: datetime, offset: int) -> None:
    """To the millisecond: what is finer is cut off in every encoding alike, also before 1970."""
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    zone = timezone(timedelta(minutes=offset))
    expected = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    forms = [
        scalar("instant", moment),
        scalar("instant", moment.isoformat()),
        scalar("instant", moment.isoformat(sep=" ").replace("+00:00", "Z")),
        scalar("instant", moment.replace(tzinfo=None).isoformat()),
        scalar("instant", micros, "epoch us"),
        scalar("instant", micros // 1_000, "epoch ms"),
        scalar("instant", micros * 1_000, "epoch ns"),
        scalar("instant", expected),
    ]
    if date(1901, 1, 1) < moment.date() < date(2100, 1, 1):
        forms.append(scalar("instant", moment.astimezone(zone).isoformat()))

    assert {expected} == set(forms)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2026-01-01T10:00Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01t10:00:00.1239z", "2026-01-01T10:00:00.123Z"),
        ("2026-01-01 10:00:00.123456789+02", "2026-01-01T08:00:00.123Z"),
        ("2026-01-01T00:30:00+0100", "2025-12-31T23:30:00.000Z"),
        ("", None),
        (None, None),
    ],
)
def test_an_iso_instant_is_told_in_utc(raw: object, expected: object) -> None:
    """As PostgreSQL, Debezium and Salesforce write it; without an offset it is taken as UTC."""
    assert expected == scalar("instant", raw)


def test_seconds_are_an_encoding_too() -> None:
    """As Avro and some APIs write them."""
    assert "2026-01-01T00:00:00.000Z" == scalar("instant", 1_767_225_600, "epoch s")


OUTSIDE = "a date outside the years 1900 to 2100"


@pytest.mark.parametrize(
    ("type_", "raw", "encoding", "expected"),
    [
        ("date", "9999-12-31", None, OUTSIDE),
        ("date", "1899-12-31", None, OUTSIDE),
        ("date", "0000-01-01", None, "a date that is not in the calendar"),
        ("date", "0001-01-01", None, OUTSIDE),
        ("date", date(9999, 12, 31), None, OUTSIDE),
        ("date", 2_932_896, "epoch days", OUTSIDE),
        ("date", 10**18, "epoch days", OUTSIDE),
        ("date", -(10**40), "epoch us", OUTSIDE),
        ("date", -25_568, "epoch days", OUTSIDE),
        ("date", 60_000, "epoch days", OUTSIDE),
        ("date", "2026-02-30", None, "a date that is not in the calendar"),
        ("date", "02/03/2026", None, "a text that is no ISO date"),
        ("date", "20260203", None, "a text that is no ISO date"),
        ("date", "2026-W01-1", None, "a text that is no ISO date"),
        ("date", "2026-02-03T04:05:06Z", None, "a time of day in a date"),
        ("date", datetime(2026, 2, 3, 4, tzinfo=UTC), None, "a time of day in a date"),
        ("date", 1_000, "epoch ms", "a time of day in a date"),
        ("date", 20_000, None, "a number where a date is due; a number needs the column's encoding"),
        ("date", "20000", "epoch days", "a text where a date as a number is due"),
        ("date", True, "epoch days", "a boolean where a date as a number is due"),
        ("date", 1.5, "epoch ms", "a number where a date as a number is due"),
        ("date", {"y": 2026}, None, "a mapping where a date is due; a number needs the column's encoding"),
        ("instant", "9999-12-31T23:59:59Z", None, OUTSIDE),
        ("instant", "0001-01-01T00:00:00+10:00", None, OUTSIDE),
        ("instant", "0000-01-01T00:00:00Z", None, "a date that is not in the calendar"),
        ("instant", "1900-01-01T00:00:00+10:00", None, OUTSIDE),
        ("instant", "2026-01-01T25:00:00Z", None, "a date that is not in the calendar"),
        ("instant", "2026-01-01", None, "a text that is no ISO instant"),
        ("instant", "yesterday", None, "a text that is no ISO instant"),
        ("instant", 20_000, "epoch days", "a day where an instant is due"),
        ("instant", 10**30, "epoch ns", OUTSIDE),
        ("instant", [], None, "a list or an object where an instant is due; a number needs the column's encoding"),
    ],
)
def test_what_is_no_time_says_why(type_: str, raw: object, encoding: Encoding | None, expected: str) -> None:
    """Place-holders such as 9999 and 0, numbers of an unknown unit, and days that never were."""
    assert expected == reason(type_, raw, encoding)


# ------------------------------------------------------------------------------------------------ fields


def test_a_field_of_choices_takes_no_other_value() -> None:
    """In any case; the message does not hold the value."""
    preference = field("contact_preference")

    assert "sms" == normalise(preference, " SMS ")
    assert normalise(preference, None) is None
    with pytest.raises(NotCanonical) as caught:
        normalise(preference, "pigeon")
    assert "a value that is not one of the field's choices" == caught.value.reason


def test_a_field_of_parts_is_normalised_part_by_part() -> None:
    """Each by its own type; parts that are not carried stay away."""
    row = field("follow_up_completion")

    assert {"completed_at": "2026-03-01T09:00:00.000Z", "outcome": "done"} == normalise(
        row, {"completed_at": "2026-03-01T09:00Z", "outcome": "Done"}
    )
    assert {"outcome": None} == normalise(row, {"outcome": " "})
    assert {"completed_at": "1970-01-01T00:00:01.000Z"} == normalise(
        row, {"completed_at": 1}, {"completed_at": "epoch s"}
    )
    assert {"completed_at": "1970-01-01T00:00:01.000Z"} == normalise(row, {"completed_at": 1_000}, "epoch ms")
    assert "done" == part(row, "outcome", "DONE")


def test_a_field_of_parts_is_cleared_when_all_its_parts_are_null() -> None:
    """One part that is not carried may still hold something."""
    row = field("legal_name")

    assert normalise(row, None) is None
    assert normalise(row, {"family": "", "given": None}) is None
    assert {"family": None} == normalise(row, {"family": None})
    assert whole(row, {"family": None, "given": None}) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Ann Doe", "a text where parts are due"),
        (["Ann"], "a list or an object where parts are due"),
        ({"family": {"x": {"y": 1}}}, "a mapping where a text is due"),
        ({"middle": "X"}, "a part that the field does not have"),
    ],
)
def test_what_is_no_field_of_parts_says_why(raw: object, expected: str) -> None:
    """However deep it is nested, it is not descended into."""
    with pytest.raises(NotCanonical) as caught:
        normalise(field("legal_name"), raw)
    assert expected == caught.value.reason


def test_an_encoding_by_part_needs_parts() -> None:
    """That is the program's mistake, not the data's."""
    with pytest.raises(TypeError, match="one encoding"):
        normalise(field("date_of_birth"), 1, {"x": "epoch days"})


def test_phone_numbers_of_a_field_are_read_in_the_matrixs_region() -> None:
    """As `phone region` in the document's defaults says."""
    assert "+12025550123" == normalise(field("phone"), "202 555 0123")


RAW: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(FIELD_TYPES)), RAW, st.sampled_from([None, "iso", "epoch days", "epoch ms", "epoch ns"]))
def test_anything_at_all_has_a_form_or_a_reason(type_: str, raw: object, encoding: Encoding | None) -> None:
    """No raw value ends in another error, and every form that is reached is its own."""
    try:
        form = scalar(type_, raw, encoding, "US")
    except NotCanonical:
        return

    assert isinstance(form, str | int | float | bool | None)
    assert form == scalar(type_, form, None, "US")


@given(st.sampled_from(sorted(patient().fields)), RAW)
def test_any_field_takes_or_refuses_anything(name: str, raw: object) -> None:
    """For every row of the shipped matrix."""
    row = field_of[name]
    try:
        form = normalise(row, raw)
    except NotCanonical:
        return

    assert form == normalise(row, form)


field_of = patient().fields
