"""What people are told of a decision: the records of ``ownership.conflicts`` and ``ownership.resolutions``.

The words come from ``outcomes.py``. It decides nothing and knows no topics; values of patients appear in these
records, which are for those who may see them, and nowhere else.
"""

from collections.abc import Iterator

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Case, CaseEvent, Change, Decision, FieldState, Outcome, RecordState, Value
from ownership_stream.outcomes import CASE_REASONS, OUTCOMES, Meaning, in_words
from ownership_stream.wire import Context, Message, Resolution, case_record, conflict_record, resolution_record

CONFLICTS = frozenset({"rejected", "queued", "failed"})
BY_MATRIX = "matrix"


class Reports:
    """Writes the records for one matrix and mode."""

    def __init__(self, matrix: Matrix, *, mode: str) -> None:
        self._matrix = matrix
        self._mode = mode
        self._systems = tuple(matrix.systems)

    def conflicts(self, before: RecordState | None, change: Change, decision: Decision) -> Iterator[Message]:
        """Every write that was rejected, queued or failed, and every case that no write opened or joined."""
        told: set[str] = set()
        for outcome in (*decision.outcomes, *decision.redecided):
            if outcome.outcome in CONFLICTS:
                case = decision.state.cases.get(outcome.field) if outcome.outcome == "queued" else None
                if case is not None:
                    told.add(case.id)
                yield self._write(before, change, decision, outcome, case)
        for event in decision.cases:
            if event.event in ("opened", "joined") and event.case.id in told:
                continue
            yield self._case(change, decision, event)

    def resolutions(self, before: RecordState | None, change: Change, decision: Decision) -> Iterator[Message]:
        """What the matrix settled by itself: unseen values replaced, overrides ended, cases closed."""
        for outcome in (*decision.outcomes, *decision.redecided):
            if outcome.outcome == "applied" and (outcome.unseen or outcome.field in decision.ended_overrides):
                how = "override ended" if outcome.field in decision.ended_overrides else "applied"
                yield self._resolution(before, change, decision, outcome.field, how, outcome)
        for event in decision.cases:
            if event.event in ("converged", "superseded", "escalated"):
                yield self._resolution(before, change, decision, event.case.field, event.event, case=event.case)

    def _write(
        self, before: RecordState | None, change: Change, decision: Decision, outcome: Outcome, case: Case | None
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
            proposed=_proposed(change, outcome, case),
            current=current.value,
            current_version=current.version,
            case=case,
        )

    def _case(self, change: Change, decision: Decision, event: CaseEvent) -> Message:
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
        )

    def _resolution(
        self,
        before: RecordState | None,
        change: Change,
        decision: Decision,
        name: str,
        how: str,
        outcome: Outcome | None = None,
        case: Case | None = None,
    ) -> Message:
        context = self._context(change)
        field = self._matrix.fields.get(name)
        record = Resolution(
            record=change.record,
            field=name,
            label=self._label(name),
            actor=BY_MATRIX,
            outcome=how,
            reason=case.reason if case is not None else "",
            rule=field.rule if field is not None else "",
            grant=outcome.grant if outcome is not None else "",
            stage=outcome.stage if outcome is not None else None,
            before=_current(before, name).value,
            after=_current(decision.state, name).value,
            version=decision.state.version,
            change_id=change.id,
            case_id=case.id if case is not None else None,
            opened=case.opened if case is not None else None,
            at=change.received,
            mode=self._mode,
            revision=self._matrix.revision,
        )
        return resolution_record(context, record)

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


def _current(state: RecordState | None, name: str) -> FieldState:
    return FieldState() if state is None else state.fields.get(name, FieldState())


def _proposed(change: Change, outcome: Outcome, case: Case | None) -> Value:
    """What the write wanted; a re-decided write's value stands in its case."""
    columns = change.requests if outcome.request else change.fields
    if outcome.field in columns:
        return columns[outcome.field]
    return case.proposals[-1].value if case is not None and case.proposals else None
