"""What a decision counts as: the figures behind the weekly review (``docs/rules.md``, section 5).

Pure: counts are keys of the metric catalogue with their label values in order (of a histogram the observed value after
them), added up for a batch and counted only once that batch is committed. It decides nothing and knows no metrics
library.
"""

from collections import Counter
from typing import Final

from ownership_stream.creation import is_under_way
from ownership_stream.draft import grant_kind
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Answer, CaseEvent, Change, Decision, Outcome, RecordState
from ownership_stream.outcomes import ATTEMPTS

Counts = Counter[tuple[str, ...]]

CLOSINGS: Final = frozenset({"converged", "superseded", "resolved"})
DISAGREEMENTS: Final = ("diverged", "oscillation", "unattested", "unwritable", "uncreated")
"""Reasons of cases that are about one system, which does not show what it should."""
MOMENT: Final = 100
"""Milliseconds: moments of sources are told in steps of this, so that those of a batch are few."""
RESOLUTION: Final = "resolution"
"""The grant that a resolution against the owner's value counts under as a manual override."""


def account(counts: Counts, matrix: Matrix, before: RecordState | None, change: Change, decision: Decision) -> None:
    """Add what one decided change counts as."""
    system = change.system
    if decision.noops:
        counts["outcomes", "noop", "", system] += decision.noops
    for outcome in decision.outcomes:
        counts["outcomes", outcome.outcome, outcome.reason, system] += 1
        if outcome.outcome in ATTEMPTS:
            _attempt(counts, matrix, system, outcome)
    for send in decision.sends:
        counts["sends", send.system, send.kind] += 1
        if change.kind == "row" and change.at and change.op != "r":
            counts["apply_latency_seconds", send.system, str(change.at // MOMENT * MOMENT)] += 1
    for target, field in decision.restored:
        counts["restores", field, target] += 1
    for event in decision.cases:
        _case(counts, event, change.received, event.system or system)
    if decision.answer is not None:
        _answer(counts, matrix, decision.answer)
    if is_created(before, change, decision) and not is_ours(before, change):
        counts["records_created", system] += 1


def _attempt(counts: Counts, matrix: Matrix, system: str, outcome: Outcome) -> None:
    name = outcome.field
    counts["write_attempts", name, outcome.outcome, outcome.reason, system, outcome.origin] += 1
    if outcome.joined:
        counts["conflict_repeats", name] += 1
    elif (outcome.outcome != "applied" or outcome.unseen) and outcome.reason != "not_validated":
        counts["conflicts", name, outcome.outcome] += 1
    applied_by_person = outcome.outcome == "applied" and outcome.origin == "person"
    if applied_by_person and matrix.fields[name].protected and grant_kind(outcome.grant) in ("secondary", "override"):
        counts["overrides", name, outcome.grant] += 1


def _answer(counts: Counts, matrix: Matrix, answer: Answer) -> None:
    """No attempt: what people asked of cases is counted by itself, and where it went against the owner's value."""
    counts["resolutions", answer.outcome, answer.reason] += 1
    field = matrix.fields.get(answer.field)
    if answer.against_owner and field is not None and field.protected:
        counts["overrides", field.name, RESOLUTION] += 1
    case = answer.case
    if answer.outcome == "dismissed" and case is not None and case.reason == "duplicate" and case.proposals:
        counts["probable_duplicates_dismissed", case.proposals[0].system] += 1


def _case(counts: Counts, event: CaseEvent, now: int, system: str) -> None:
    case = event.case
    if event.event == "opened":
        counts["queue_opened", case.owner, case.reason] += 1
        if case.reason == "duplicate":
            counts["probable_duplicates", system] += 1
        if case.reason in DISAGREEMENTS:
            counts["disagreements_opened", system, case.reason] += 1
    elif event.event == "escalated":
        counts["queue_escalated", case.owner] += 1
    elif event.event in CLOSINGS:
        counts["queue_closed", case.owner, event.event] += 1
        # The broker's time goes back where another node leads the partition whose clock is behind.
        seconds = max(0, now - case.opened) // 1000
        counts["queue_closed_seconds", case.owner, event.event] += seconds
        if event.event == "resolved":
            counts["resolution_seconds", case.owner, str(seconds)] += 1


def is_ours(before: RecordState | None, change: Change) -> bool:
    """Whether the created row is one that we had made there."""
    return before is not None and is_under_way(before.systems.get(change.system))


def is_created(before: RecordState | None, change: Change, decision: Decision) -> bool:
    """Whether the record was created in a system with this change.

    No snapshot is, no repeated event, and no row beside the primary one.
    """
    if change.kind != "row" or change.op != "c" or not change.primary:
        return False
    was = before.systems.get(change.system) if before is not None else None
    now = decision.state.systems.get(change.system)
    return (was is None or not was.present) and now is not None and now.present
