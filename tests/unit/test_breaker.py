"""The breaker: too many restores into one system, and nothing more is sent there (docs/rules.md, *Breaker*)."""

from functools import reduce

import msgspec
import pytest

from ownership_stream.breaker import LIMIT, WINDOW, Breaker, after, reset

NONE: tuple[tuple[str, str], ...] = ()
ONE = (("crm", "date_of_birth"),)


def passed(breaker: Breaker, *restored: tuple[tuple[str, str], ...]) -> Breaker:
    """The breaker after these changes; the broker's time is the number of the change."""
    return reduce(lambda one, restores: after(one, restores, one.changes + 1), restored, breaker)


def test_the_restores_that_are_borne_trip_nothing() -> None:
    """The limit itself is still in order."""
    assert frozenset() == passed(Breaker(), *[ONE] * LIMIT).withheld


def test_one_more_within_the_window_trips_it() -> None:
    """At the broker's time of that change."""
    assert {"crm": LIMIT + 1} == passed(Breaker(), *[ONE] * (LIMIT + 1)).tripped


def test_systems_are_judged_apart() -> None:
    """A hundred here and a hundred there are no hundred and one."""
    mixed = passed(Breaker(), *[(*ONE, ("ehr", "email"))] * LIMIT)
    assert frozenset() == mixed.withheld
    assert {"ehr"} == passed(mixed, (("ehr", "phone"),)).withheld


def test_every_field_of_one_change_is_a_restore() -> None:
    """One event may have many fields put right."""
    assert {"crm"} == passed(Breaker(), tuple(("crm", f"field {number}") for number in range(LIMIT + 1))).withheld


@pytest.mark.parametrize(("quiet", "trips"), [(WINDOW - LIMIT - 1, True), (WINDOW - LIMIT, False)])
def test_what_lies_beyond_the_window_is_forgotten(quiet: int, trips: bool) -> None:
    """The window is counted in changes of the lane, those without restores too."""
    breaker = passed(Breaker(), *[ONE] * LIMIT, *[NONE] * quiet)
    assert trips is bool(passed(breaker, ONE).withheld)


def test_what_is_kept_does_not_grow_with_the_lane() -> None:
    """A restore now and then for ever leaves no more numbers than the window has room for."""
    breaker = passed(Breaker(), *[ONE, *[NONE] * 19] * 500)
    assert WINDOW // 20 == len(breaker.restores["crm"])
    assert frozenset() == breaker.withheld


def test_a_tripped_breaker_does_not_close_by_itself() -> None:
    """However long nothing happens; the time is that of the first trip."""
    tripped = passed(Breaker(), *[ONE] * (LIMIT + 1))
    assert tripped.tripped == passed(tripped, *[NONE] * WINDOW * 2, *[ONE] * (LIMIT + 5)).tripped


@pytest.mark.parametrize(("system", "left"), [("crm", {"ehr"}), ("ehr", {"crm"}), ("", set())])
def test_a_person_resets_one_system_or_all(system: str, left: set[str]) -> None:
    """What led to it is forgotten with it: one more restore trips nothing."""
    tripped = passed(Breaker(), *[(*ONE, ("ehr", "email"))] * (LIMIT + 1))
    again = reset(tripped, system)
    assert left == again.withheld
    assert tripped.changes == again.changes
    assert left == passed(again, (*ONE, ("ehr", "email"))).withheld


def test_a_breaker_is_changed_by_nobody_who_has_it() -> None:
    """A batch that is run again starts from the same one."""
    breaker = passed(Breaker(), *[ONE] * LIMIT)
    kept = msgspec.msgpack.encode(breaker)
    after(breaker, ONE, 1)
    reset(breaker, "crm")
    assert kept == msgspec.msgpack.encode(breaker)


def test_a_stored_breaker_comes_back_as_it_was() -> None:
    """It is a state of the lane's own."""
    breaker = passed(Breaker(), *[ONE] * (LIMIT + 1))
    assert breaker == msgspec.msgpack.decode(msgspec.msgpack.encode(breaker), type=Breaker)
