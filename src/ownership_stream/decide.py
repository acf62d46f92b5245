"""The decision: (matrix, state, change) -> outcomes, sends, cases and the next state.

Pure and deterministic: no clock (time is the change's own and the broker's), no I/O, no Kafka, no randomness. The
order is that of ``docs/rules.md``, section 2, and the step numbers here are its step numbers. ``delta.py`` finds
the writes (steps 1 to 5), this module ends each of them (6 to 15), ``effects.py`` writes the ends down,
``close.py`` settles what then differs (16); ``rules.py`` holds the conflict rules and ``draft.py`` the state while
it changes.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ownership_stream.close import MAX_RESTORES, close, next_due, tick
from ownership_stream.creation import create, is_under_way
from ownership_stream.delta import find_writes, fresh_attributes, is_replay, row_state
from ownership_stream.draft import NOTHING, Draft, Write, grant_kind, view_of
from ownership_stream.effects import apply, hand_over, seed_from_owners, take_effect
from ownership_stream.matrix.compiled import Grant, Matrix, Phase, Summary
from ownership_stream.model import (
    Case,
    Change,
    Decision,
    FieldState,
    Outcome,
    RecordState,
    RowState,
    Send,
    SystemState,
    Value,
)
from ownership_stream.record_cases import came, match, reread, was_read_again, went
from ownership_stream.resolve import answer
from ownership_stream.rules import BY_EVIDENCE, RULES, by_owner
from ownership_stream.speaking import forget, hear

MAX_ANSWERS: Final = 10
EMPTY_STATE: Final = RecordState()
EMPTY_SYSTEM: Final = SystemState()
RANK: Final = {"rejected": 2, "queued": 1, "applied": 0}
"""Verdicts of a lock-step group, the worst one highest (step 15)."""


def decide(
    matrix: Matrix, state: RecordState | None, change: Change, withheld: frozenset[str] = frozenset()
) -> Decision:
    """Decide one change of one record.

    ``state`` is the record's state before it (``None``: never seen) and is not touched. ``withheld`` names systems
    that get no sends now (observe mode, a tripped breaker); outcomes do not depend on it. ``change.received`` must
    be set.
    """
    state = EMPTY_STATE if state is None else state
    if change.among:
        return _decide_one_of_several(matrix, state, change, withheld)
    draft = Draft(matrix, state, change, withheld)
    KINDS[change.kind](draft)
    return decision_of(draft)


def _decide_one_of_several(matrix: Matrix, state: RecordState, change: Change, withheld: frozenset[str]) -> Decision:
    """An event of a row that is one of several: what they say by it as one row is decided, if they say anything."""
    heard = hear(matrix, state, change)
    draft = Draft(matrix, heard.state, change if heard.said is None else heard.said, withheld)
    if heard.said is not None:
        _row(draft)
    decision = decision_of(draft)
    return replace(
        decision,
        outcomes=heard.outcomes + decision.outcomes,
        noops=heard.noops + decision.noops,
        cases=heard.cases + decision.cases,
        said=heard.said,
    )


def decision_of(draft: Draft) -> Decision:
    """All that has come together in a draft."""
    return Decision(
        draft.to_state(),
        draft.outcomes,
        draft.noops,
        tuple([_send(draft, key, values) for key, values in draft.sends.items()]),
        draft.case_events,
        draft.ended_overrides,
        draft.restored,
        draft.redecided,
        next_due(draft),
        merged=draft.merged,
        answer=draft.answer,
    )


def _send(draft: Draft, key: str, values: dict[str, Value]) -> Send:
    restore = bool(draft.restored) and all((key, name) in draft.restored for name in values)
    writers = {(draft.fields[name].actor, draft.fields[name].role) for name in values}
    actor, role = writers.pop() if len(writers) == 1 else (None, None)
    return Send(
        key,
        draft.systems[key].key,
        values,
        "create" if key in draft.created else "restore" if restore else "change",
        draft.version,
        draft.base.version,
        actor,
        role,
        None if restore or key in draft.created else draft.reason,
    )


def _row(draft: Draft) -> None:
    """A row event: steps 1 to 16."""
    change = draft.change
    known = draft.systems.get(change.system, EMPTY_SYSTEM).rows.get(change.row)
    if known is not None and is_replay(known, change):
        for names, request in ((change.fields, False), (change.compared, False), (change.requests, True)):
            draft.outcomes += tuple(Outcome(name, "replay", request=request) for name in names)
        return
    system = draft.system(change.system)
    fresh = fresh_attributes(known, change)
    draft.reason = fresh.reason
    system.rows = system.rows.copy()
    system.rows[change.row] = row_state(known, change)
    # Until its primary row is seen, the record's key there is that of the first of its other rows.
    system.key = system.key or change.key
    if draft.cases:
        was_read_again(draft)
    if change.op == "d":
        draft.noops = len(change.fields) + len(change.compared) + len(change.requests)
        _delete(draft, system)
        return
    appeared = change.primary and not system.present
    if change.primary:
        system.present, system.key = True, change.key
    _decide_writes(draft, find_writes(draft, system, fresh))
    if appeared:
        _appear(draft, system)
    close(draft)
    create(draft)


def _decide_writes(draft: Draft, writes: list[Write]) -> None:
    """Steps 6 to 15 for each write, the stage field's first with its effects."""
    stage_field = draft.matrix.stages.field
    rest = []
    for write in writes:
        if write.field.name == stage_field:
            _verdict(draft, write)
            take_effect(draft, write)
            draft.outcomes += (write.as_outcome(),)
        else:
            rest.append(write)
    for write in rest:
        _verdict(draft, write)
    if len(rest) > 1:
        _share_worst(rest)
    for write in rest:
        take_effect(draft, write)
        draft.outcomes += (write.as_outcome(),)
    follow_the_stage(draft)


def _verdict(draft: Draft, write: Write) -> None:
    """Steps 6 to 14: the first answer wins."""
    _set_phase(draft, write)
    current = draft.current(write.field.name)
    if write.needs_grant and _grant_for(write) is None:
        write.end("noop")
        return
    if not (_equal(draft, current, write) or _held_back(draft, current, write) or _stage(draft, write)):
        _judge(draft, current, write)
    if write.only_evidence:
        write.end(*(("applied", "evidence") if write.outcome == "applied" else ("noop", "")))
    elif write.outcome == "applied":
        _mark_applied(current, write)
    elif write.needs_grant:
        write.end("noop")


def _mark_applied(current: FieldState, write: Write) -> None:
    """What is said of an applied write beside that: over an unseen value, without a grant."""
    write.unseen = not write.seen and bool(current.version) and current.value != write.value
    if write.grant is None:
        write.reason = "unprotected"


def _set_phase(draft: Draft, write: Write) -> None:
    """Step 8: which side of care start the write stands on: the stage's own row now, any other at its source time."""
    started = draft.care_started
    if write.source.stage_row:
        write.stage = draft.stage_now()
        write.phase = "before" if started is None else "after"
    else:
        write.stage = draft.stage_at(write.at)
        write.phase = "before" if started is None or write.at < started else "after"


def _equal(draft: Draft, current: FieldState, write: Write) -> bool:
    """Step 6: equal to current is no change, unless it carries newer evidence."""
    key, name = write.source.system, write.field.name
    view = "full" if write.request else write.field.views[key]
    plain = current.value if view == "none" else view_of(None, name, view, current)
    if write.value != plain and (write.request or write.value != draft.expected(key, name, write.field)):
        return False
    news = write.evidence is not None and write.evidence != current.evidence
    whole = not isinstance(view, Summary)
    if current.version and news and whole and write.field.rule in BY_EVIDENCE:
        write.only_evidence = True
        return False
    write.end("noop")
    return True


def _held_back(draft: Draft, current: FieldState, write: Write) -> bool:
    """A doubt, a pause, and step 7: two automations may answer each other only so often between persons' writes."""
    paused = draft.paused or draft.systems[write.source.system].paused
    if draft.doubted:
        write.end("queued", "link")
    elif paused and not write.only_evidence:
        write.end("queued", "paused")
    if write.outcome or write.only_evidence or not current.told:
        return bool(write.outcome)
    if write.person:
        draft.put(write.field.name, replace(current, restores=0, answers=0, told=()))
        return False
    if write.source.system in current.told and (current.restores >= MAX_RESTORES or current.answers >= MAX_ANSWERS):
        write.end("queued", "oscillation")
        return True
    return False


def _stage(draft: Draft, write: Write) -> bool:
    """Step 8: an unknown stage value, a late write over the present owner's, and a stage that nobody knows yet."""
    field, matrix = write.field, draft.matrix
    if field.name == matrix.stages.field:
        if write.value not in matrix.stages.map:
            write.end("queued", "stage_unknown")
        return bool(write.outcome)
    if field.name not in matrix.by_stage:
        return False
    current = draft.current(field.name)
    if draft.stages:
        late = not write.source.stage_row and write.phase == "before" and draft.care_started is not None
        if (
            late
            and current.system == field.owner["after"]
            and grant_kind(current.grant) == "owner"
            and current.at > write.at
        ):
            write.end("rejected", "stale")
    elif field.critical and _differs_by_stage(draft, current, write):
        write.end("queued", "stage")
    return bool(write.outcome)


def _differs_by_stage(draft: Draft, current: FieldState, write: Write) -> bool:
    """Whether the write would end differently before and after care start; leaves the write as it was."""
    ends = set()
    for phase in PHASES:
        write.phase = phase
        _judge(draft, current, write)
        ends.add((write.outcome, write.reason))
        write.end("")
    write.phase, write.grant = "before", None
    return len(ends) > 1


WAITING: Final = frozenset({"paused", "link", "stage"})
"""Reasons of cases whose proposals are decided again."""
PHASES: Final[tuple[Phase, ...]] = ("before", "after")


def _judge(draft: Draft, current: FieldState, write: Write) -> None:
    """Steps 9 to 14, which depend on the side of care start alone."""
    write.grant = _grant_for(write)
    if write.grant is None and write.field.protected:
        write.end("rejected", "owner_policy")
        return
    for step in JUDGEMENT:
        verdict = step(draft, current, write)
        if verdict is not None:
            write.end(*verdict)
            return
    rule = RULES.get(write.field.rule)
    write.end(*(("queued", "no_rule") if rule is None else rule(draft.matrix, current, write, draft.now)))


def _grant_for(write: Write) -> Grant | None:
    """Step 9: the first grant that covers the write."""
    system = write.source.system
    for grant in write.field.grants:
        if grant.system == system and _allows(grant, write):
            return grant
    return None


def _allows(grant: Grant, write: Write) -> bool:
    """Whether the grant covers this writer, here, on this side of care start and for this value."""
    return (
        grant.system == write.source.system
        and (grant.role is None or grant.role == write.fresh.role)
        and grant.phase in ("any", write.phase)
        and (write.person or not grant.persons)
        and (grant.targets is None or write.value in grant.targets)
    )


def _reason(_draft: Draft, _current: FieldState, write: Write) -> tuple[str, str] | None:
    """Step 10: a person who is not the owner gives a reason for a critical field."""
    if not write.person or write.fresh.reason:
        return None
    delegated = write.grant is not None and write.grant.kind != "owner"
    asked = write.field.reason_always or (write.field.critical and delegated)
    return ("rejected", "reason_required") if asked else None


def _clear(_draft: Draft, _current: FieldState, write: Write) -> tuple[str, str] | None:
    """Step 11: no automation clears a critical field."""
    return ("queued", "clear") if write.value is None and write.field.critical and not write.person else None


def _override(_draft: Draft, current: FieldState, write: Write) -> tuple[str, str] | None:
    """Step 12: an override yields to its own grant, or to the owner's person who has seen it."""
    if not current.grant.startswith("override:"):
        return None
    if any(grant.id == current.grant and _allows(grant, write) for grant in write.field.grants):
        return None
    if by_owner(write) and write.person and write.seen:
        return None
    return ("rejected", "override_active")


def _staleness(draft: Draft, current: FieldState, write: Write) -> tuple[str, str] | None:
    """Step 13: a write that has not seen the current value must not be the older one."""
    if write.seen or write.field.rule in BY_EVIDENCE:
        return None
    if write.fresh.base is not None or write.at < current.at - draft.matrix.skew:
        return ("rejected", "stale")
    return None


JUDGEMENT: Final = (_reason, _clear, _override, _staleness)


def _share_worst(writes: list[Write]) -> None:
    """Step 15: the fields of a lock-step group win or lose together."""
    worst: dict[str, str] = {}
    for write in writes:
        group = write.field.group
        if group is not None and write.outcome in RANK and not write.only_evidence:
            worst[group] = max(worst.get(group, "applied"), write.outcome, key=RANK.__getitem__)
    for write in writes:
        end = worst.get(write.field.group or "", write.outcome)
        if write.outcome in RANK and not write.only_evidence and RANK[end] > RANK[write.outcome]:
            write.end(*(("noop", "") if write.needs_grant else (end, "group")))
            write.unseen = False


def decide_again(draft: Draft) -> None:
    """Decide what waited for a resume, for a doubt to end or for the stage to become known, by steps 8 to 14.

    No new attempts.
    """
    if draft.paused or draft.doubted:
        return
    stage_field = draft.matrix.stages.field
    for case in sorted(draft.cases.values(), key=lambda case: (case.field != stage_field, case.field)):
        field = draft.matrix.fields.get(case.field)
        if field is None or case.reason not in WAITING or (case.reason == "stage" and not draft.stages):
            continue
        standing = [proposal for proposal in case.proposals if draft.stands(case.field, proposal)]
        if not standing:
            if case.reason == "stage" or not any(draft.systems[one.system].paused for one in case.proposals):
                draft.close_case(case.field, "converged")
        elif not draft.systems[standing[-1].system].paused:
            _redecide(draft, case, Write.again(field, standing[-1]))


def _redecide(draft: Draft, case: Case, write: Write) -> None:
    _set_phase(draft, write)
    current = draft.current(case.field)
    if not _stage(draft, write):
        _judge(draft, current, write)
    draft.touch(case.field)
    if write.outcome == "queued":
        draft.alter_case("changed", replace(case, reason=write.reason))
        write.joined = True
    elif write.outcome == "rejected":
        draft.close_case(case.field, "superseded")
        draft.refuse(write)
    else:
        _mark_applied(current, write)
        apply(draft, write)
    draft.redecided += (write.as_outcome(),)


def follow_the_stage(draft: Draft) -> None:
    """What a stage brings beyond its own field: waiting writes are decided, and fields change hands."""
    if draft.stage_learned:
        seed_from_owners(draft)
        decide_again(draft)
    if draft.care_starts:
        hand_over(draft)


def _delete(draft: Draft, system: SystemState) -> None:
    """The deleted row under which a system has the record: the system is absent, and nothing is cleared elsewhere."""
    if draft.change.primary and not system.present:
        system.outstanding = {}  # a row was being made there: whatever came of it, it is gone
    if not draft.change.primary or not system.present or draft.change.key != system.key:
        return
    key = draft.change.system
    draft.touched = tuple(draft.matrix.fields)
    system.present = False
    system.shown, system.requested, system.outstanding = {}, {}, {}
    system.accepted, system.refused, system.baseline = {}, {}, ()
    system.rows = {name: RowState(row.position, row.change_id, recent=row.recent) for name, row in system.rows.items()}
    draft.speaking = forget(draft.speaking, key)
    owned = [
        name for name, field in draft.matrix.fields.items() if draft.owner(field) == key and draft.current(name).version
    ]
    if owned:
        went(draft, key, draft.matrix.fields[owned[0]].escalation)
    close(draft)


def _appear(draft: Draft, system: SystemState) -> None:
    """A system has the record (again): it is sent what it misses, except that a snapshot only lists it.

    Not so where we had the row made: a snapshot then finds what is ours.
    """
    key = draft.change.system
    came(draft, key)
    if draft.change.op != "r" or is_under_way(draft.base.systems.get(key)):
        draft.sweeps = True
        return
    for name, field in draft.matrix.fields.items():
        expected = draft.expected(key, name, field)
        if draft.current(name).version and expected is not NOTHING and system.shown.get(name) != expected:
            draft.excuse(key, name)


def _tick(draft: Draft) -> None:
    tick(draft)
    close(draft)
    create(draft)


def _pause(draft: Draft) -> None:
    _set_paused(draft, value=True)


def _resume(draft: Draft) -> None:
    _set_paused(draft, value=False)
    go_on(draft)


def go_on(draft: Draft) -> None:
    """What waited is decided again, and what is missing is sent."""
    decide_again(draft)
    follow_the_stage(draft)
    draft.sweeps = True
    close(draft)
    create(draft)


def _ask(draft: Draft) -> None:
    """A person asks something of a case; what they resolve takes effect as a write does."""
    if answer(draft):
        follow_the_stage(draft)
        close(draft)
        create(draft)


def _set_paused(draft: Draft, *, value: bool) -> None:
    if draft.change.system:
        draft.system(draft.change.system).paused = value
    else:
        draft.paused = value


KINDS: Final[dict[str, Callable[[Draft], None]]] = {
    "row": _row,
    "tick": _tick,
    "pause": _pause,
    "resume": _resume,
    "match": match,
    "candidate": match,
    "reread": reread,
    "resolve": _ask,
    "assign": _ask,
    "comment": _ask,
}
