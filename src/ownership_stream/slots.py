"""Under which name each open case of a record stands: a field's under the field's, one of the record itself by cause.

Each cause has a slot of its own, so that no two share a case and each ends by itself: probable repeats, every row that
must be read again, every system in which the record is gone or was not made, a failed decision. Pure.

The first states had one slot, ``""``, for whatever was the matter with a record as a whole. A record with one such case
is still written so wherever the state says what the case is about, and every reader makes its slot of it again.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from ownership_stream.model import Case, RecordState

FORMER: Final = ""
MARK: Final = ":"
"""What the slot of a case of the record itself begins with, and no field's name."""

V = TypeVar("V")


def slot(reason: str, about: str = "") -> str:
    """The slot of a cause: ``":duplicate"``, ``":absent:crm"``, ``":reread:crm/contact/7"``."""
    return f"{MARK}{reason}{MARK}{about}" if about else f"{MARK}{reason}"


def is_own(name: str) -> bool:
    """Whether it is the slot of a case of the record itself."""
    return name.startswith(MARK)


def about(name: str) -> str:
    """The system or the row that a slot says; empty where its cause has but one, and for a field's name."""
    return name.split(MARK, 2)[2] if name.count(MARK) > 1 else ""


def has_own(cases: Mapping[str, Case]) -> bool:
    """Whether a case of the record itself is open."""
    return any(name.startswith(MARK) for name in cases)


def slot_of(cases: Mapping[str, Case], case: Case) -> str:
    """Where an open case stands; of the record's own cases that are not open any more, nowhere: ``""``."""
    return case.field or next((name for name, one in cases.items() if one.id == case.id), "")


def meant(cases: Mapping[str, Case], name: str) -> str | None:
    """The slot of the case that a person means by a field's name, by a cause alone, or by ``""``: any of the record."""
    if name in cases:
        return name
    begins = f"{name}{MARK}" if name else MARK
    return next((one for one in sorted(cases) if is_own(one) and one.startswith(begins)), None)


def as_written(state: RecordState) -> RecordState:
    """The state as it is packed: the only case of the record itself where the first states had it."""
    own = [name for name in state.cases if is_own(name)]
    if len(own) != 1 or own[0] != _slot(state, state.cases[own[0]]):
        return state
    cases, assigned = _renamed(state.cases, own[0], FORMER), _renamed(state.assigned, own[0], FORMER)
    return replace(state, cases=cases, assigned=assigned)


def as_read(state: RecordState) -> RecordState:
    """The state as it is worked with; ``state`` is one that was just unpacked."""
    case = state.cases.get(FORMER)
    if case is not None:
        name = _slot(state, case)
        state.cases = _renamed(state.cases, FORMER, name)
        state.assigned = _renamed(state.assigned, FORMER, name)
    return state


def _renamed(known: dict[str, V], before: str, now: str) -> dict[str, V]:
    return {now if name == before else name: one for name, one in known.items()}


def _slot(state: RecordState, case: Case) -> str:
    """The slot of a case by the rest of its state: what it is about is the row that waits in it, or the one system."""
    about: list[str] = []
    if case.reason == "reread":
        about = [one.row for one in case.proposals[-1:]]
    elif case.reason in ("absent", "uncreated"):
        seen = case.reason == "absent"
        about = [key for key, one in state.systems.items() if not one.present and bool(one.rows) is seen]
    return slot(case.reason, about[0] if len(about) == 1 else "")
