"""Where systems show something else than they should, and why that stands: no disagreement is silent.

Pure: a matrix and a record's state in, a list out. *Close* (``close.py``) settles what can be settled; this names
what is left, for people (``docs/rules.md``, section 2, step 16, and *Restore*).
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from ownership_stream.draft import NOTHING, view_of
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import FieldState, RecordState, SystemState, identity_of

Why = Literal["under way", "case", "missing at the owner", "pending", "baseline", "held", "left", "unsettled"]

WHYS: Final[dict[Why, str]] = {
    "under way": "the right value was sent and has not come back yet",
    "case": "a case is open: a person decides it",
    "missing at the owner": "the owner has shown no value yet, so there is none to send",
    "pending": "the owner shows a completion that is not validated yet",
    "baseline": "they differed already when a snapshot was taken",
    "held": "sends are paused, withheld or in doubt; a sweep sends what is missing",
    "left": "the matrix says to leave a rejected value where it stands",
    "unsettled": "nothing explains it: report this",
}
"""Every reason why a disagreement stands, in words; ``unsettled`` must never be seen in enforce mode."""


class Disagreement(NamedTuple):
    """One field in one present system."""

    system: str
    field: str
    why: Why


def disagreements(matrix: Matrix, state: RecordState, withheld: frozenset[str] = frozenset()) -> Iterator[Disagreement]:
    """What each present system shows that it should not, in the order of the matrix; ``withheld`` as in ``decide``."""
    for name, field in matrix.fields.items():
        for key in matrix.systems:
            system = state.systems.get(key)
            if system is not None and system.present:
                why = _why(state, key, system, field, withheld=key in withheld)
                if why is not None:
                    yield Disagreement(key, name, why)


def _why(state: RecordState, key: str, system: SystemState, field: Field, *, withheld: bool) -> Why | None:
    name = field.name
    shown = system.shown.get(name)
    current = state.fields.get(name)
    expected = view_of(system, name, field.views[key], current)
    if expected is NOTHING or shown == expected:
        return None
    return next(why for why, stands in _reasons(state, key, system, field, current, withheld=withheld) if stands)


def _reasons(
    state: RecordState, key: str, system: SystemState, field: Field, current: FieldState | None, *, withheld: bool
) -> Iterator[tuple[Why, bool]]:
    """Each reason and whether it holds, the most telling first."""
    name = field.name
    refused = system.refused.get(name)
    owner = field.owner["before" if state.care_started is None else "after"]
    yield "case", name in state.cases
    yield "under way", bool(system.outstanding.get(name))
    yield "pending", key == owner and refused is not None and refused.reason == "not_validated"
    yield "missing at the owner", current is None or not current.version
    yield "baseline", name in system.baseline
    yield "held", withheld or state.paused or system.paused or bool(identity_of(state).doubts)
    yield "left", not field.restore
    yield "unsettled", True
