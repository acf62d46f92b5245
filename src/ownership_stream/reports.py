"""What people are told of a decision: the records of ``ownership.conflicts`` and ``ownership.resolutions``.

The words come from ``outcomes.py``. It decides nothing and knows no topics; values of patients appear in these
records, which are for those who may see them, and nowhere else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Answer, Case, CaseEvent, Change, Decision, FieldState, Outcome, RecordState, Value
from ownership_stream.outcomes import CASE_REASONS, OUTCOMES, Meaning, in_words
from ownership_stream.slots import slot_of
from ownership_stream.wire import (
    JSON,
    Context,
    Message,
    Resolution,
    Wire,
    case_record,
    conflict_record,
    resolution_record,
)

CONFLICTS = frozenset({"rejected", "queued", "failed"})
BY_MATRIX = "matrix"
MASK = "•••"
"""What stands for a critical field's value on ``ownership.resolutions``, which is kept for long and read by many."""
ENDED = frozenset({"converged", "superseded"})
TOLD = ENDED | {"escalated"}
"""What happened to a case that is a resolution by itself; a person's own stands in their answer."""
TAKEN = frozenset({"accepted", "set"})
"""Answers by which a person's value became the current one."""


class Reports:
    """Writes the records for one matrix and mode."""

    def __init__(self, matrix: Matrix, *, mode: str, wire: Wire = JSON) -> None:
        self._matrix = matrix
        self._mode = mode
        self._wire = wire
        self._systems = tuple(matrix.systems)

    def tells(self, decision: Decision) -> bool:
        """Whether there is anything to tell: most decisions apply something, or change nothing."""
        if decision.cases or decision.redecided or decision.ended_overrides:
            return True
        if decision.merged or decision.answer is not None:
            return True
        for outcome in decision.outcomes:  # noqa: SIM110  # one outcome is the rule, and `any` costs more than a loop
            if outcome.unseen or outcome.outcome in CONFLICTS:
                return True
        return False

    def conflicts(self, before: RecordState | None, change: Change, decision: Decision) -> Iterator[Message]:
        """Every write that was rejected, queued or failed, and every case that no write opened or joined."""
        told: set[str] = set()
        ends = [(outcome, False) for outcome in decision.outcomes]
        ends += [(outcome, True) for outcome in decision.redecided]
        for outcome, again in ends:
            if outcome.outcome in CONFLICTS:
                case = decision.state.cases.get(outcome.field) if outcome.outcome == "queued" else None
                if case is not None:
                    told.add(case.id)
                write = waited(change, decision, outcome) if again else change
                yield self._write(before, _by_its_writer(write, outcome), decision, outcome, case, again=again)
        for number, event in _numbered(decision.cases):
            if event.event in ("opened", "joined") and event.case.id in told:
                continue
            yield self._case(change, decision, event, number)

    def resolutions(self, before: RecordState | None, change: Change, decision: Decision) -> Iterator[Message]:
        """How a person's ask was answered; and what the matrix settled by itself.

        That is unseen values replaced, overrides ended, cases closed or passed on.
        """
        if decision.answer is not None:
            yield self._answer(before, change, decision, decision.answer)
        for outcome in (*decision.outcomes, *decision.redecided):
            if outcome.outcome == "applied" and (outcome.unseen or outcome.field in decision.ended_overrides):
                how = "override ended" if outcome.field in decision.ended_overrides else "applied"
                yield self._told(change, self._record(before, change, decision, outcome.field, how, outcome))
        for number, event in _numbered(decision.cases):
            if event.event in TOLD or (event.event == "resolved" and decision.answer is None):
                record = self._record(before, change, decision, event.case.field, event.event, case=event.case)
                yield self._told(change, record, number)
        for outcome in decision.merged:
            if outcome.outcome != "noop":
                how = f"merged: {outcome.outcome}"
                yield self._told(change, self._record(before, change, decision, outcome.field, how, outcome))

    def identity(self, change: Change, decision: Decision, told: Iterable[tuple[str, str]]) -> Iterator[Message]:
        """What was done about whose record this is, with the other record as the value after it."""
        person = _person(change)
        for how, other in told:
            record = Resolution(
                record=change.record,
                field="",
                label="",
                actor=person or BY_MATRIX,
                role=change.role if person else None,
                outcome=how,
                reason=(person and change.reason) or "",
                after=other,
                version=decision.state.version,
                change_id=change.id,
                at=change.received,
                mode=self._mode,
                revision=self._matrix.revision,
            )
            yield self._told(change, record)

    def _write(
        self,
        before: RecordState | None,
        change: Change,
        decision: Decision,
        outcome: Outcome,
        case: Case | None,
        *,
        again: bool,
    ) -> Message:
        meaning = OUTCOMES[outcome.outcome, outcome.reason]
        sentence, advice = self._words(outcome.field, meaning, change.system, decision)
        current = _current(before, outcome.field)
        return conflict_record(
            self._context(change),
            outcome,
            label=self._label(outcome.field),
            sentence=sentence,
            advice=advice,
            proposed=_proposed(change, outcome),
            current=current.value,
            current_version=current.version,
            case=case,
            again=again,
            wire=self._wire,
        )

    def _case(self, change: Change, decision: Decision, event: CaseEvent, number: int) -> Message:
        name = event.case.field
        sentence, advice = self._words(name, CASE_REASONS[event.case.reason], change.system, decision)
        current = _current(decision.state, name)
        return case_record(
            self._context(change),
            event,
            label=self._label(name),
            sentence=sentence,
            advice=advice,
            current=current.value,
            current_version=current.version,
            assigned=decision.state.assigned.get(slot_of(decision.state.cases, event.case)),
            number=number,
            wire=self._wire,
        )

    def _answer(self, before: RecordState | None, change: Change, decision: Decision, answer: Answer) -> Message:
        """A person's own resolution, or what else they asked of a case."""
        name, ask, case = answer.field, change.ask, answer.case
        ended = case is not None and all(one.id != case.id for one in decision.state.cases.values())
        record = msgspec.structs.replace(
            self._record(before, change, decision, name, answer.outcome, case=case),
            actor=change.actor or "",
            role=change.role,
            grant=_current(decision.state, name).grant if answer.outcome in TAKEN else "",
            stage=decision.state.stages[-1][1] if decision.state.stages else None,
            case_id=None if ask is None else ask.case,
            action="" if ask is None else ask.action,
            why=change.reason,
            answer=answer.reason,
            source="" if ask is None else ask.system,
            to="" if ask is None else ask.to,
            took=max(0, change.received - case.opened) if case is not None and ended else None,
        )
        return self._told(change, record)

    def _told(self, change: Change, record: Resolution, number: int = 0) -> Message:
        return resolution_record(self._context(change), record, self._wire, number=number)

    def _record(
        self,
        before: RecordState | None,
        change: Change,
        decision: Decision,
        name: str,
        how: str,
        outcome: Outcome | None = None,
        case: Case | None = None,
    ) -> Resolution:
        """What every resolution says, under the matrix's own name."""
        field = self._matrix.fields.get(name)
        masks = field is not None and field.critical
        was, now = _current(before, name).value, _current(decision.state, name).value
        took = case is not None and how in ENDED
        return Resolution(
            record=change.record,
            field=name,
            label=self._label(name),
            actor=(_person(change) if how == "resolved" else None) or BY_MATRIX,
            outcome=how,
            reason=case.reason if case is not None else "",
            rule=field.rule if field is not None else "",
            grant=outcome.grant if outcome is not None else "",
            stage=outcome.stage if outcome is not None else None,
            before=masked(was) if masks else was,
            after=masked(now) if masks else now,
            version=decision.state.version,
            change_id=change.id,
            case_id=case.id if case is not None else None,
            opened=case.opened if case is not None else None,
            at=change.received,
            mode=self._mode,
            revision=self._matrix.revision,
            took=max(0, change.received - case.opened) if case is not None and took else None,
            masked=masks,
        )

    def _context(self, change: Change) -> Context:
        return Context(change, self._mode, self._matrix.revision, self._systems)

    def _label(self, name: str) -> str:
        field = self._matrix.fields.get(name)
        return name if field is None else field.label

    def _words(self, name: str, meaning: Meaning, system: str, decision: Decision) -> tuple[str, str]:
        """Sentence and advice; of the record itself there is nothing to name."""
        field = self._matrix.fields.get(name)
        if field is None:
            return meaning.sentence, meaning.advice
        return in_words(self._matrix, field, meaning, system, care_started=decision.state.care_started is not None)


def _person(change: Change) -> str | None:
    """Whose word a change is, where it is a person's: a row's writer has said nothing about whose row it is."""
    return None if change.kind == "row" else change.actor


def _numbered(events: Iterable[CaseEvent]) -> Iterator[tuple[int, CaseEvent]]:
    """Each event, and how many there were before of its word and field."""
    told: Counter[tuple[str, str]] = Counter()
    for event in events:
        yield told[event.event, event.case.field], event
        told[event.event, event.case.field] += 1


def masked(value: Value) -> Value:
    """What may be told of a value to those who may not see it: whether there is one, and of which parts."""
    if isinstance(value, dict):
        return {part: None if piece is None else MASK for part, piece in value.items()}
    return None if value is None else MASK


def _current(state: RecordState | None, name: str) -> FieldState:
    return FieldState() if state is None else state.fields.get(name, FieldState())


def _by_its_writer(change: Change, outcome: Outcome) -> Change:
    """The change under the name of the write's own writer: an actor that was not fresh is not the one to ask."""
    return msgspec.structs.replace(change, actor=outcome.actor, role=outcome.role, origin=outcome.origin)


def waited(change: Change, decision: Decision, outcome: Outcome) -> Change:
    """A write that waited in a case as it was made, in its own system and at its own time, under this change's id.

    ``outcome`` is one of ``decision.redecided``.
    """
    cases = (*decision.state.cases.values(), *(event.case for event in decision.cases))
    proposal = next(
        proposal
        for case in cases
        if case.field == outcome.field
        for proposal in reversed(case.proposals)
        if (proposal.actor, proposal.role, proposal.request) == (outcome.actor, outcome.role, outcome.request)
    )
    said = {outcome.field: proposal.value}
    return msgspec.structs.replace(
        change,
        system=proposal.system,
        row=proposal.row,
        at=proposal.at,
        fields={} if outcome.request else said,
        compared={},
        requests=said if outcome.request else {},
    )


def _proposed(change: Change, outcome: Outcome) -> Value:
    """What the write wanted."""
    columns = (change.requests,) if outcome.request else (change.fields, change.compared)
    return next((said[outcome.field] for said in columns if outcome.field in said), None)
