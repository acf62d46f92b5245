"""The conflict rules: a table from the matrix's words to a verdict (``docs/rules.md``, section 3).

A rule sees one write that already has authority, reason and (where it counts) freshness, and the current value. It
knows no order of steps, no state beyond the field's, no clock and no I/O.
"""

from collections.abc import Callable
from typing import Final

from ownership_stream.draft import Write
from ownership_stream.matrix.compiled import Matrix, RuleName
from ownership_stream.model import Evidence, FieldState

Verdict = tuple[str, str]
"""(outcome, reason), a row of ``outcomes.OUTCOMES``."""

Rule = Callable[[Matrix, FieldState, Write, int], Verdict]
"""(matrix, current, write, the broker's time) -> verdict."""

APPLIED: Final[Verdict] = ("applied", "")
STALE: Final[Verdict] = ("rejected", "stale")
TIE: Final[Verdict] = ("queued", "tie")
CLOCK: Final[Verdict] = ("queued", "clock")


def by_owner(write: Write) -> bool:
    """Whether the write holds an owner grant."""
    return write.grant is not None and write.grant.kind == "owner"


def owner_wins(_matrix: Matrix, _current: FieldState, write: Write, _now: int) -> Verdict:
    """Who has seen the current value may replace it; who has not, only as the owner."""
    return APPLIED if write.seen or by_owner(write) else STALE


def stage_map(matrix: Matrix, current: FieldState, write: Write, now: int) -> Verdict:
    """As *owner wins*, and the step must be in the stage map."""
    verdict = owner_wins(matrix, current, write, now)
    if verdict is STALE or current.value is None:
        return verdict
    if write.value in matrix.stages.map.get(str(current.value), ()):
        return verdict
    return ("queued" if by_owner(write) else "rejected", "transition")


def latest_validated(matrix: Matrix, current: FieldState, write: Write, now: int) -> Verdict:
    """The latest validated completion wins, whatever arrived first."""
    if write.value is None:
        return _completion_taken_back(current, write)
    evidence = _complete(write.evidence)
    if evidence is None:
        return ("rejected", "not_validated")
    return _by_evidence(matrix, current, write, evidence, now)


def _completion_taken_back(current: FieldState, write: Write) -> Verdict:
    """Taking a completion back gives a reason and names the completion: by its time, or by the version that set it."""
    if not write.fresh.reason:
        return ("rejected", "reason_required")
    named = write.evidence.at if write.evidence is not None else None
    by_time = named is not None and current.evidence is not None and named == current.evidence.at
    return APPLIED if by_time or write.fresh.base == current.version else STALE


def latest_confirmed(matrix: Matrix, current: FieldState, write: Write, now: int) -> Verdict:
    """The patient's latest word wins; among unconfirmed writes, who has seen the current value."""
    evidence = _complete(write.evidence)
    if evidence is not None:
        return _by_evidence(matrix, current, write, evidence, now)
    if _complete(current.evidence) is not None:
        return ("rejected", "not_confirmed")
    return APPLIED if write.seen else STALE


def _complete(evidence: Evidence | None) -> tuple[str, int] | None:
    """Evidence that says both who and when; anything less proves nothing."""
    if evidence is None or evidence.by is None or evidence.at is None:
        return None
    return (evidence.by, evidence.at)


def _by_evidence(matrix: Matrix, current: FieldState, write: Write, evidence: tuple[str, int], now: int) -> Verdict:
    if evidence[1] > now + matrix.skew:
        return CLOCK
    standing = _complete(current.evidence)
    if standing is None or evidence[1] > standing[1]:
        return APPLIED
    if evidence[1] < standing[1]:
        return STALE
    return APPLIED if write.value == current.value else TIE


RULES: Final[dict[RuleName, Rule]] = {
    "owner wins": owner_wins,
    "stage owner wins": owner_wins,
    "stage map": stage_map,
    "latest validated": latest_validated,
    "latest patient-confirmed": latest_confirmed,
}

BY_EVIDENCE: Final = frozenset[RuleName]({"latest validated", "latest patient-confirmed"})
"""Rules that go by evidence time, and so skip the staleness step."""
