"""Two histories of one person become one, and one becomes two again (``docs/rules.md``, section 2, *Merge*).

Pure, like ``decide``: states and a change in, a decision out. Which records are merged, and in which direction, is
``links``'s; here nothing is known of topics and marks. What a merge finds on both sides is compared by tables that
treat both sides alike, so that it does not matter which of the two is called the other. In doubt a field is queued:
nothing here takes one of two critical values.
"""

from collections.abc import Callable, Collection
from typing import Any, Final, Literal

from msgspec.structs import replace

from ownership_stream.decide import decision_of, go_on
from ownership_stream.draft import PROPOSALS_KEPT, Draft, grant_kind, without
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import (
    Case,
    CaseEvent,
    Change,
    Decision,
    FieldState,
    Identity,
    Outcome,
    Proposal,
    RecordState,
    Refused,
    RowState,
    Silent,
    Speaking,
    SystemState,
    Value,
    identity_of,
)
from ownership_stream.record_cases import ENDED_BY_ITS_ROW, others_in
from ownership_stream.rules import BY_EVIDENCE
from ownership_stream.silent import silent_name
from ownership_stream.slots import about, slot

BIRTH_DATE: Final = "date_of_birth"
"""The field that tells two people apart: where it differs a person confirms first. A matrix may do without it."""

Side = Literal["same", "mine", "theirs", "queue"]
"""Whose value stands after a merge; ``queue``: a person decides, and mine stays until then."""

OUTCOME: Final[dict[Side, tuple[str, str]]] = {
    "same": ("noop", ""),
    "mine": ("rejected", "stale"),
    "theirs": ("applied", ""),
    "queue": ("queued", "merged"),
}


def born(matrix: Matrix, state: RecordState | None) -> Value:
    """The birth date of a record as far as it is known: the current one, or else what a system shows."""
    if state is None or BIRTH_DATE not in matrix.fields:
        return None
    current = state.fields.get(BIRTH_DATE, FieldState())
    if current.value is not None:
        return current.value
    shown = (state.systems[key].shown.get(BIRTH_DATE) for key in sorted(state.systems) if state.systems[key].present)
    return next((value for value in shown if value is not None), None)


def differ(one: Value, other: Value) -> bool:
    """Whether two birth dates are both known and not the same."""
    return one is not None and other is not None and one != other


# ------------------------------------------------------------------------------------------------------------ merging


def merge(
    matrix: Matrix, mine: RecordState | None, theirs: RecordState, change: Change, withheld: frozenset[str]
) -> Decision:
    """Take the whole history ``theirs`` of ``change.other`` into a record whose state is ``mine``."""
    base = RecordState() if mine is None else mine
    # Above both, so that nobody who has seen a version of either has seen this one.
    draft = Draft(matrix, replace(base, version=max(base.version, theirs.version)), change, withheld)
    _take_identity(draft, theirs)
    for key in sorted(theirs.systems):
        _take_seat(draft, key, theirs.systems[key], theirs.speaking)
    draft.paused = draft.paused or theirs.paused
    draft.fields = _told_apart(draft, change.record, base)
    _take_fields(draft, theirs, _told_apart(draft, change.other, theirs))
    _take_cases(draft, theirs)
    close_link_case(draft)
    go_on(draft)
    return decision_of(draft)


def _take_identity(draft: Draft, theirs: RecordState) -> None:
    mine, other, name = draft.identity, identity_of(theirs), draft.change.other
    ours = {draft.change.record, name}
    doubts = {record: why for record, why in (mine.doubts | other.doubts).items() if record not in ours}
    draft.identity = replace(
        mine,
        doubts=doubts,
        denied=_united(mine.denied, other.denied, ours),
        merged={one: by or name for one, by in other.merged.items()} | mine.merged | {name: draft.change.named},
        left=_united(mine.left, other.left, ours),
        silent={**other.silent, **mine.silent},
        apart=_united(mine.apart, other.apart, ours),
    )


def _united(one: tuple[str, ...], other: tuple[str, ...], less: set[str]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other} - less))


def _take_seat(draft: Draft, key: str, theirs: SystemState, speaking: dict[str, Speaking]) -> None:
    """A system that only one side has goes on as it is; where both have it, one row speaks and the other is silent."""
    mine = draft.systems.get(key)
    if mine is None or not mine.key or (theirs.present and not mine.present):
        mine = SystemState() if mine is None else mine
        old = {} if _keep_silent(draft, key, mine, theirs) else mine.rows
        draft.speaking = _united_speaking(draft.speaking, speaking, key)
        # What was sent to be made there may still land.
        draft.systems[key] = replace(
            theirs,
            rows=_rows(old, theirs.rows),
            paused=theirs.paused or mine.paused,
            outstanding=mine.outstanding | theirs.outstanding,
        )
        return
    seat = draft.system(key)
    seat.paused = mine.paused or theirs.paused
    if not _keep_silent(draft, key, theirs, mine):
        seat.rows = _rows(theirs.rows, mine.rows)


def _keep_silent(draft: Draft, system: str, seat: SystemState, speaks: SystemState) -> bool:
    """A native key that does not speak is kept with its rows, deleted or not: a split finds by them what they set."""
    if seat.key in ("", speaks.key):
        return False
    # Which of several rows spoke is not kept of a silent one, nor what they said together.
    rows = {name: row for name, row in seat.rows.items() if not name.endswith(TOGETHER)}
    silent = {**draft.identity.silent, silent_name(system, seat.key): Silent(system, replace(seat, rows=rows))}
    draft.identity = replace(draft.identity, silent=silent)
    return True


TOGETHER: Final = "/*"
"""How the one row is named that several rows of a table are to the decision (``speaking.py``)."""


def _united_speaking(mine: dict[str, Speaking], theirs: dict[str, Speaking], system: str) -> dict[str, Speaking]:
    """What is known of several rows of one table, with a system's own from the other side."""
    rest = {among: one for among, one in mine.items() if one.system != system}
    return rest | {among: one for among, one in theirs.items() if one.system == system}


def _rows(some: dict[str, RowState], more: dict[str, RowState]) -> dict[str, RowState]:
    """The rows of both; of one that both have seen, where it stands last."""
    rows = {name: row for name, row in some.items() if not name.endswith(TOGETHER)} | more
    for name in some.keys() & more.keys():
        if name.endswith(TOGETHER):
            continue
        rows[name] = max(some[name], more[name], key=lambda row: (row.position or (), row.change_id))
    return rows


def _told_apart(draft: Draft, record: str, side: RecordState) -> dict[str, FieldState]:
    """What several rows said as one, under a key that does not speak any more, is of their record: a split knows it."""
    keys = {key: seat.key for key, seat in side.systems.items()}
    lost = {key for key, seat in draft.systems.items() if keys.get(key, seat.key) != seat.key}
    return {
        name: replace(one, row=came_from(record)) if one.system in lost and one.row.endswith(TOGETHER) else one
        for name, one in side.fields.items()
    }


def _take_fields(draft: Draft, theirs: RecordState, fields: dict[str, FieldState]) -> None:
    stage, matrix = draft.matrix.stages.field, draft.matrix
    found = {name: one for name, one in fields.items() if one.version}
    names = [name for name in matrix.fields if name in found]
    names += sorted(found.keys() - matrix.fields.keys())
    sides = {name: _side(draft, name, found[name]) for name in names}
    _in_lock_step(draft, sides)
    began = [at for at in (draft.care_started, theirs.care_started) if at is not None]
    if sides.get(stage) == "theirs" or not draft.stages:
        draft.stage_learned = bool(theirs.stages)
        draft.stages = theirs.stages
    draft.care_starts = draft.care_started is None and bool(began)
    draft.care_started = min(began, default=None)
    if draft.base.version:
        draft.version = draft.base.version + 1
    for name in names:
        _settle_field(draft, name, found[name], sides[name])
    if theirs.version:
        # Base versions of the other record mean other values: what is kept must not seem seen by them.
        for name in draft.fields.keys() - found.keys():
            if draft.current(name).version:
                draft.put(name, replace(draft.current(name), version=draft.version))


def _side(draft: Draft, name: str, theirs: FieldState) -> Side:
    """Whose value stands, by the field's row; the same whichever side asks."""
    mine, field = draft.current(name), draft.matrix.fields.get(name)
    if not mine.version:
        return "theirs"
    if mine.value == theirs.value:
        return "same"
    if field is None:
        return "mine"
    overridden = any(grant_kind(one.grant) == "override" for one in (mine, theirs))
    if field.critical or overridden or name == draft.matrix.stages.field:
        return "queue"
    order = _evidence_order(mine, theirs) if field.rule in BY_EVIDENCE else None
    return _by_time(mine.at, theirs.at, draft.matrix.skew) if order is None else order


def _evidence_order(mine: FieldState, theirs: FieldState) -> Side | None:
    """The later evidence; ``None`` where neither has any."""
    one, other = _when(mine), _when(theirs)
    if one is None and other is None:
        return None
    return _by_time(-1 if one is None else one, -1 if other is None else other, 0)


def _when(state: FieldState) -> int | None:
    return state.evidence.at if state.evidence is not None and state.evidence.by is not None else None


def _by_time(mine: int, theirs: int, skew: int) -> Side:
    if abs(mine - theirs) <= skew:
        return "queue"
    return "mine" if mine > theirs else "theirs"


def _in_lock_step(draft: Draft, sides: dict[str, Side]) -> None:
    """Fields of a group are of one side, or all of them wait."""
    groups: dict[str, list[str]] = {}
    for name, field in draft.matrix.fields.items():
        if field.group is not None and (name in sides or draft.current(name).version):
            groups.setdefault(field.group, []).append(name)
    for names in groups.values():
        # A field that only this side has a value of is this side's.
        found = {sides.get(name, "mine") for name in names} - {"same"}
        if len(found) > 1:
            sides |= {name: "queue" for name in names if name in sides and sides[name] != "same"}


def _settle_field(draft: Draft, name: str, theirs: FieldState, side: Side) -> None:
    mine, field = draft.current(name), draft.matrix.fields.get(name)
    outcome, reason = OUTCOME[side]
    draft.merged += (
        Outcome(name, outcome, reason, theirs.rule, theirs.grant, actor=theirs.actor, role=theirs.role,
                origin=theirs.origin),
    )  # fmt: skip
    taken = side == "theirs" or (side == "same" and (_when(mine) or 0) < (_when(theirs) or 0))
    # What a person set is of no row: by where it came from a split finds it.
    whence = replace(theirs, row=theirs.row or came_from(draft.change.other))
    draft.put(name, replace(whence if taken else mine, version=draft.version))
    draft.touch(name)
    for key in draft.systems:
        # What was accepted or excused in a system was so for the value that its own record had.
        if side != "same" and (key in draft.base.systems) is taken:
            seat = draft.system(key)
            seat.accepted = without(seat.accepted, name)
            seat.baseline = tuple(one for one in seat.baseline if one != name)
    if side == "queue" and field is not None:
        draft.open_case(name, "merged", field.escalation, _proposal(draft.change, theirs))


def came_from(record: str) -> str:
    """What stands for the row of a value that had none, and that a merge brought from another record."""
    return f"record/{record}"


def _proposal(change: Change, theirs: FieldState) -> Proposal:
    return Proposal(
        theirs.system, theirs.value, change.id, theirs.at, theirs.row, theirs.position, theirs.actor, theirs.role,
        theirs.origin, evidence=theirs.evidence,
    )  # fmt: skip


def _take_cases(draft: Draft, theirs: RecordState) -> None:
    """Open cases come along; of two for one field or one cause the older stays, with what waits in both."""
    for name, own in sorted(draft.cases.items()):
        left = _unanswered(draft, own)
        if _is_back(draft, name, own):
            draft.close_case(name, "converged")
        elif others_in(own) and left is None:
            draft.close_case(name, "resolved")
        elif left is not None and left != own:
            draft.put_case("changed", name, left)
    for name in sorted(theirs.cases):
        case, rest = theirs.cases[name], _unanswered(draft, theirs.cases[name])
        if rest is None:
            draft.case_events += (CaseEvent("resolved", case),)
            continue
        case = rest
        mine, current = draft.cases.get(name), draft.current(name)
        agreed = current.version and case.proposals and all(one.value == current.value for one in case.proposals)
        if agreed or _is_back(draft, name, case):
            draft.case_events += (CaseEvent("converged", case),)
        elif mine is None:
            draft.assigned = draft.assigned | _of(name, theirs.assigned)
            draft.put_case("changed", name, case)
        else:
            older, younger = sorted((mine, case), key=lambda one: (one.opened, one.id))
            first, second = (draft.assigned, theirs.assigned)[:: 1 if older is mine else -1]
            draft.assigned = draft.assigned | _of(name, second) | _of(name, first)
            draft.case_events += (CaseEvent("superseded", younger),)
            draft.put_case("changed", name, _joined(older, younger))


def _is_back(draft: Draft, name: str, case: Case) -> bool:
    """Whether a case says that a system has not the record, and now it has; where it says none, each one."""
    if case.reason not in ENDED_BY_ITS_ROW:
        return False
    seat = draft.systems.get(about(name))
    return all(one.present for one in draft.systems.values()) if seat is None else seat.present


def _unanswered(draft: Draft, case: Case) -> Case | None:
    """What is left of a case once both records are one: a doubt is answered, and so is that they are probably one."""
    others = others_in(case)
    if case.field or not (others or case.reason == "link"):
        return case
    one = (draft.change.record, *draft.identity.merged)
    rest = tuple(waits for waits, other in zip(case.proposals, others, strict=False) if other not in one)
    return replace(case, proposals=rest) if rest else None


def _of(name: str, assigned: dict[str, str]) -> dict[str, str]:
    """Who is assigned to the case of that name, if anyone."""
    return {name: assigned[name]} if name in assigned else {}


def _joined(older: Case, younger: Case) -> Case:
    proposals = sorted((*older.proposals, *younger.proposals), key=lambda one: (one.at, one.change_id))
    if others_in(older):
        # Of a probable match: each record once.
        proposals = list({str(one.value): one for one in proposals}.values())
    return replace(older, proposals=tuple(proposals[-PROPOSALS_KEPT:]), joined=older.joined + younger.joined + 1)


# ------------------------------------------------------------------------------------------------------------- doubts


def doubt(draft: Draft, other: str, why: str) -> None:
    """From here on the record's flow stands still, until a person says whether ``other`` is the same one."""
    # The first reason stays: where a row was refused, it is with its home until a person has said something.
    draft.identity = replace(draft.identity, doubts={other: why, **draft.identity.doubts})
    if slot("link") not in draft.cases:
        draft.open_own("link", escalation(draft.matrix))


def settle_doubt(draft: Draft, other: str) -> None:
    """A person has said it; once nothing is in doubt any more the flow goes on."""
    if other in draft.identity.doubts:
        draft.identity = replace(draft.identity, doubts=without(draft.identity.doubts, other))
        close_link_case(draft)
        go_on(draft)


def close_link_case(draft: Draft) -> None:
    """The record's case of a doubt ends with the last doubt."""
    if not draft.doubted:
        draft.close_case(slot("link"), "resolved")


def escalation(matrix: Matrix) -> str:
    """Who owns a doubt: the owner of the birth date's row, or of the stage's."""
    return matrix.fields[BIRTH_DATE if BIRTH_DATE in matrix.fields else matrix.stages.field].escalation


# ---------------------------------------------------------------------------------------------------------- splitting


def split(draft: Draft, other: str, records: Collection[str], seats: Collection[str]) -> RecordState:
    """Take ``other`` out of a record, and the ``records`` that came with it; returns what is taken out.

    ``seats`` are theirs: systems, and silent rows by their names. Each side keeps what its own rows showed, and the
    current values that these set, with their provenance. A current value that another row set does not go along: the
    side that loses it goes by what its owner shows, or has none. Where it is critical and still shown, a person looks:
    it may be another's.
    """
    identity = draft.identity
    speaking = {name: Silent(name, seat) for name, seat in draft.systems.items()}
    leaving = {name: one for name, one in sorted((speaking | identity.silent).items()) if name in seats}
    part = Draft(draft.matrix, RecordState(version=draft.version), draft.change, frozenset())
    part.paused = draft.paused
    part.identity = _seat_all(part, leaving, {one: by for one, by in identity.merged.items() if one in records})
    part.identity = replace(
        part.identity,
        merged={one: "" if by == other else by for one, by in part.identity.merged.items() if one != other},
    )
    draft.systems = {name: seat for name, seat in draft.systems.items() if name not in leaving}
    staying = {name: one for name, one in sorted(identity.silent.items()) if name not in leaving}
    kept = {one: by for one, by in identity.merged.items() if one not in records}
    draft.identity = replace(
        identity, **_said(_seat_all(draft, staying, kept)), left=_united(identity.left, tuple(records), set())
    )
    part.speaking = {among: one for among, one in draft.speaking.items() if one.system in leaving}
    draft.speaking = {among: one for among, one in draft.speaking.items() if one.system not in leaving}
    rows = {row for one in leaving.values() for row in one.seat.rows} | {came_from(record) for record in records}
    _part_values(draft, part, lambda row, system: row in rows if row else system in leaving)
    return part.to_state()


def _seat_all(side: Draft, seats: dict[str, Silent], merged: dict[str, str]) -> Identity:
    """Seats in a record that speaks in a system by one of them only; what its identity says of the rest."""
    silent = {}
    for one in sorted(seats.values(), key=lambda one: not one.seat.present):
        if one.system in side.systems:
            silent[silent_name(one.system, one.seat.key)] = one
        else:
            side.systems[one.system] = replace(one.seat)
    return Identity(merged=merged, silent=silent)


def _said(identity: Identity) -> dict[str, Any]:
    return {"merged": identity.merged, "silent": identity.silent}


Goes = Callable[[str, str], bool]
"""Whether what a row, or else a system, has set goes to the other side."""


def _part_values(draft: Draft, part: Draft, goes: Goes) -> None:
    stage = draft.current(draft.matrix.stages.field)
    if goes(stage.row, stage.system):
        # The stage goes with the value that says it, and so does the latch.
        part.stages, part.care_started = draft.stages, draft.care_started
        draft.stages, draft.care_started = (), None
    _part_cases(draft, part, goes)
    fields = draft.fields
    part.fields = {name: one for name, one in fields.items() if goes(one.row, one.system)}
    draft.fields = {name: one for name, one in fields.items() if not goes(one.row, one.system)}
    went = frozenset(part.fields)
    for name, field in draft.matrix.fields.items():
        if name in fields:
            _without_current(draft if name in went else part, fields[name], name, field)
    draft.version = part.version = draft.base.version + 1


def _part_cases(draft: Draft, part: Draft, goes: Goes) -> None:
    """A case goes where all its proposals are of, or the system it is about; else it stays, without those that went."""
    for name in sorted(draft.cases):
        case = draft.cases[name]
        staying = tuple(one for one in case.proposals if not goes(one.row, one.system))
        if goes("", about(name)) if case.reason in ENDED_BY_ITS_ROW else case.proposals and not staying:
            draft.cases = without(draft.cases, name)
            part.cases = {**part.cases, name: case}
            part.assigned = part.assigned | _of(name, draft.assigned)
            draft.assigned = without(draft.assigned, name)
        elif len(staying) < len(case.proposals):
            draft.cases = {**draft.cases, name: replace(case, proposals=staying)}


def _without_current(side: Draft, lost: FieldState, name: str, field: Field) -> None:
    """A field whose current value went to the other side: what the owner shows is current, unless it is critical."""
    if not lost.version:
        return
    shown = {key: seat.shown.get(name) for key, seat in side.systems.items() if seat.present}
    owner = side.owner(field)
    for key in side.systems:
        seat = side.system(key)
        seat.outstanding, seat.accepted = without(seat.outstanding, name), without(seat.accepted, name)
        if field.critical and shown.get(key) is not None:
            # So that whoever may write the field can attest what is shown by saving it again.
            seat.refused = {**seat.refused, name: Refused("split", -1)}
    if field.critical and any(value is not None for value in shown.values()):
        side.touch(name)
        side.open_case(name, "split", field.escalation)
    elif shown.get(owner) is not None and name != side.matrix.stages.field:
        found = FieldState(shown[owner], side.base.version + 1, lost.at, owner, grant="owner: split")
        found.rule, found.revision = field.rule, side.matrix.revision
        side.fields = {**side.fields, name: found}
