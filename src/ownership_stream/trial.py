"""What would happen if: one write that nobody has made, decided by the matrix as a real one would be.

Pure: the write in, its outcome in words out; nothing is written and nothing is remembered. Without a record it is tried
on an invented one that both systems have and that agrees with itself.
"""

from typing import Final

import msgspec

from ownership_stream.decide import decide
from ownership_stream.matrix.compiled import Field, Matrix, Summary
from ownership_stream.model import (
    Change,
    Decision,
    Evidence,
    FieldState,
    Origin,
    Outcome,
    RecordState,
    Sent,
    SystemState,
    Value,
)
from ownership_stream.outcomes import OUTCOMES, in_words
from ownership_stream.rules import BY_EVIDENCE

HOUR: Final = 3_600_000
ROW: Final = "trial/trial/1"
"""A row that no source has, so that no real one is older or newer."""
BEFORE: Final = "someone before"


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The write: a value of a field in a system, and what is known of who makes it and of the record."""

    field: str
    system: str
    value: Value = None
    """Canonical; ``None`` clears."""
    role: str = ""
    origin: Origin = "person"
    reason: str | None = None
    attested: bool = False
    """It comes with evidence, as the row's rule asks for it: validated, or confirmed by the patient, just now."""
    seen: bool = True
    """Of an invented record: the writer had seen the current value."""
    current: Value = None
    """Of an invented record: the field's value before it; ``None``: it never had one."""
    stage: str = ""
    """Of an invented record: its care stage; empty: not known."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What would come of it."""

    outcome: str
    reason: str
    sentence: str
    advice: str
    rule: str
    grant: str
    stage: str
    sends: dict[str, Value]
    """System -> the value that it would be sent."""
    owner: str = ""
    """Who would have the case that it opens or joins."""
    due_in: int = 0
    """How long they would have, milliseconds."""


def try_it(
    matrix: Matrix, trial: Trial, now: int, state: RecordState | None = None, withheld: frozenset[str] = frozenset()
) -> Tried:
    """What would come of it at that time, on a record's state or on an invented record's.

    The words of ``trial`` are the matrix's (field, system, role, stage). ``withheld`` as in ``decide``.
    """
    field = matrix.fields[trial.field]
    before = invented(matrix, trial, now) if state is None else state
    decision = decide(matrix, before, _change(matrix, field, trial, now), withheld)
    outcome = next((one for one in decision.outcomes if one.field == field.name), Outcome(field.name, "noop"))
    started = before.care_started is not None
    sentence, advice = in_words(
        matrix, field, OUTCOMES[outcome.outcome, outcome.reason], trial.system, care_started=started
    )
    case = decision.state.cases.get(field.name) if outcome.outcome == "queued" else None
    return Tried(
        outcome=outcome.outcome,
        reason=outcome.reason,
        sentence=sentence,
        advice=advice,
        rule=outcome.rule or field.rule,
        grant=outcome.grant,
        stage=outcome.stage or "",
        sends=_sends(decision, field),
        owner=case.owner if case is not None else "",
        due_in=max(0, case.due - now) if case is not None else 0,
    )


def invented(matrix: Matrix, trial: Trial, now: int) -> RecordState:
    """A record of both systems at the trial's stage, whose field has the trial's value and has it everywhere."""
    field = matrix.fields[trial.field]
    started = trial.stage in matrix.stages.after
    current = None if trial.current is None else _current(field, trial, now, started=started)
    fields = {} if current is None else {field.name: current}
    stage_field = matrix.stages.field
    if trial.stage and stage_field not in fields:
        owner = matrix.fields[stage_field].owner["before"]
        fields[stage_field] = FieldState(trial.stage, 1, now - 2 * HOUR, owner)
    seats = {key: _seat(matrix, key, fields) for key in matrix.systems}
    if not trial.seen and current is not None:
        seat = seats[trial.system]
        held = seat.shown.pop(field.name, None)
        seat.outstanding[field.name] = (Sent(held, "sent before", now - HOUR),)
    return RecordState(
        version=1,
        systems=seats,
        fields=fields,
        stages=((0, trial.stage),) if trial.stage else (),
        care_started=0 if started else None,
    )


def _current(field: Field, trial: Trial, now: int, *, started: bool) -> FieldState:
    """The value before, as its owner set it an hour ago."""
    phase = "after" if started else "before"
    owner = field.owner["after" if started else "before"]
    owned = [grant for grant in field.grants if grant.kind == "owner" and grant.phase in ("any", phase)]
    grant = next((grant for grant in owned if grant.system == owner), None)
    at = now - HOUR
    return FieldState(
        value=trial.current, version=1, at=at, system=owner, row=f"{owner}/trial/0", actor=BEFORE, origin="person",
        role=None if grant is None else grant.role, grant="" if grant is None else grant.id, rule=field.rule,
        evidence=Evidence(BEFORE, at) if field.rule in BY_EVIDENCE else None,
    )  # fmt: skip


def _seat(matrix: Matrix, key: str, fields: dict[str, FieldState]) -> SystemState:
    """A system that shows of each value what it should."""
    shown: dict[str, Value] = {}
    for name, current in fields.items():
        view = matrix.fields[name].views[key]
        if view != "none":
            shown[name] = view.of(current.value) if isinstance(view, Summary) else current.value
    return SystemState(key=f"{key}-trial", present=True, shown=shown)


def _change(matrix: Matrix, field: Field, trial: Trial, now: int) -> Change:
    """The write as its row event: in a column that only asks, where the system shows a summary and may write."""
    asks = isinstance(field.views[trial.system], Summary) and any(one.system == trial.system for one in field.grants)
    said = {field.name: trial.value}
    came = {"actor": True, "reason": bool(trial.reason), "evidence": trial.attested}
    return Change(
        id="trial",
        record="trial",
        system=trial.system,
        row=ROW,
        primary=False,
        stage_row=matrix.fields[matrix.stages.field].owner["before"] == trial.system,
        position=(1,),
        at=now,
        received=now,
        fields={} if asks else said,
        requests=said if asks else {},
        actor=f"{trial.role or trial.origin} who tries",
        role=trial.role or None,
        origin=trial.origin,
        reason=trial.reason,
        evidence={field.name: Evidence("who tries", now)} if trial.attested else {},
        event=tuple(name for name, there in came.items() if there),
    )


def _sends(decision: Decision, field: Field) -> dict[str, Value]:
    return {send.system: send.values[field.name] for send in decision.sends if field.name in send.values}
