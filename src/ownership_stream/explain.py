"""Why: a record's current values with their provenance, and its decisions told one by one.

Decisions are not stored; they follow from the log and the matrix, so they are made again from the record's changes
(``decide`` is deterministic) and told in the words of ``outcomes.py``. Pure: whoever asks brings the changes and
the state. Values of patients appear only where the caller asks for them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from ownership_stream.disagreements import WHYS, disagreements
from ownership_stream.links import Homes, settle
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Case, Change, FieldState, Outcome, RecordState, Value
from ownership_stream.outcomes import CASE_REASONS, OUTCOMES, Meaning, explain
from ownership_stream.reports import waited

MASK: Final = "•••"


class Told(msgspec.Struct, frozen=True):
    """One decided field of one change, in words."""

    time: str
    """Source time, ISO 8601, UTC."""
    change: str
    system: str
    field: str
    outcome: str
    reason: str
    sentence: str
    writer: str
    stage: str
    rule: str
    grant: str
    version: int
    """The record's version after the change."""
    sent_to: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True):
    """One field as it stands: its current value and where that came from, and who disagrees."""

    field: str
    label: str
    owner: str
    value: Value
    version: int
    time: str
    writer: str
    rule: str
    grant: str
    revision: str
    evidence: str
    disagreeing: tuple[str, ...]
    """``"<system>: <why>"`` for each system that shows something else."""
    case: str


def tell(
    matrix: Matrix,
    changes: Iterable[Change],
    state: RecordState | None = None,
    field: str | None = None,
    withheld: frozenset[str] = frozenset(),
    homes: Homes | None = None,
) -> Iterator[Told]:
    """Each decision on the record that changed, asked or refused something, oldest first; on one field if given.

    ``state`` is the record's state before the first of the changes, ``withheld`` the systems that were sent nothing
    (observe mode), ``homes`` the native keys' by the mappings in force. Unchanged fields are left out.
    """
    homes = homes or Homes()
    for change in changes:
        decision = settle(matrix, homes, state, change, withheld).decision
        state = decision.state
        ends = [(outcome, change.system) for outcome in decision.outcomes]
        ends += [(outcome, waited(change, decision, outcome).system) for outcome in decision.redecided]
        for outcome, system in ends:
            if field is None or outcome.field == field:
                sent = tuple(send.system for send in decision.sends if outcome.field in send.values)
                yield _told(matrix, change, system, outcome, state, sent)


def _told(
    matrix: Matrix, change: Change, system: str, outcome: Outcome, state: RecordState, sent: tuple[str, ...]
) -> Told:
    meaning = OUTCOMES[outcome.outcome, outcome.reason]
    return Told(
        time=moment(change.at),
        change=change.id,
        system=system,
        field=outcome.field,
        outcome=outcome.outcome,
        reason=outcome.reason,
        sentence=say(matrix, outcome.field, meaning, system, care_started=state.care_started is not None),
        writer=writer(outcome.actor, outcome.role, outcome.origin),
        stage=outcome.stage or "",
        rule=outcome.rule,
        grant=outcome.grant,
        version=state.version,
        sent_to=sent,
    )


def stand(
    matrix: Matrix, state: RecordState, *, show_values: bool = False, withheld: frozenset[str] = frozenset()
) -> Iterator[Standing]:
    """Every field of the record that has a value, a case or a disagreement, in the order of the matrix."""
    care_started = state.care_started is not None
    differing: dict[str, list[str]] = {}
    for system, name, why in disagreements(matrix, state, withheld):
        differing.setdefault(name, []).append(f"{matrix.systems[system]}: {WHYS[why]}")
    for name, field in matrix.fields.items():
        current = state.fields.get(name, FieldState())
        case = state.cases.get(name)
        if not current.version and case is None and name not in differing:
            continue
        yield Standing(
            field=name,
            label=field.label,
            owner=matrix.systems[field.owner["after" if care_started else "before"]],
            value=current.value if show_values or current.value is None else MASK,
            version=current.version,
            time=moment(current.at) if current.version else "",
            writer=writer(current.actor, current.role, current.origin) if current.version else "",
            rule=field.rule,
            grant=current.grant,
            revision=current.revision,
            evidence=_evidence(current),
            disagreeing=tuple(differing.get(name, ())),
            case="" if case is None else case_in_words(matrix, case, care_started=care_started),
        )


def case_in_words(matrix: Matrix, case: Case, *, care_started: bool) -> str:
    """Why a case waits, and for whom until when."""
    system = case.proposals[-1].system if case.proposals else ""
    reason = say(matrix, case.field, CASE_REASONS[case.reason], system, care_started=care_started)
    owner = matrix.escalations.get(case.owner)
    return f"{reason} (waits for {owner.name if owner else case.owner} until {moment(case.due)})"


def say(matrix: Matrix, name: str, meaning: Meaning, system: str, *, care_started: bool) -> str:
    """A meaning in words; for the record itself, or for a field that the matrix no longer has, as it stands."""
    field = matrix.fields.get(name)
    return meaning.sentence if field is None else explain(matrix, field, meaning, system, care_started=care_started)


def writer(actor: str | None, role: str | None, origin: str) -> str:
    """Who wrote, as far as the event said: ``"crm:user/12 (growth_ops, person)"``."""
    words = ", ".join(word for word in (role, origin) if word)
    return f"{actor or 'unknown'} ({words})"


def moment(at: int) -> str:
    """A time in milliseconds as ISO 8601 text, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _evidence(current: FieldState) -> str:
    evidence = current.evidence
    if evidence is None or (evidence.by is None and evidence.at is None):
        return ""
    return f"by {evidence.by or 'nobody'}" + (f" at {moment(evidence.at)}" if evidence.at is not None else "")
