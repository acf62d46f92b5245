"""Rows that speak for nobody: a second native key of a system, which a record came to by a merge.

Pure. Such a row is remembered, for a split; what it shows is compared with current, and is never taken.
"""

from msgspec.structs import replace

from ownership_stream.delta import is_replay, row_state
from ownership_stream.draft import Draft, complete, without
from ownership_stream.matrix.compiled import Field
from ownership_stream.model import Outcome, Proposal, Silent, SystemState, Value
from ownership_stream.record_cases import noted, was_read_again


def silent_name(system: str, key: str) -> str:
    """How a record calls a silent row."""
    return f"{system}/{key}"


def wake(draft: Draft, name: str) -> None:
    """A deleted silent row comes back where no other row of its system is there: it is the one that speaks."""
    one, identity = draft.identity.silent[name], draft.identity
    silent = without(identity.silent, name)
    gone = draft.systems.get(one.system, SystemState())
    if gone.key:
        silent = {**silent, silent_name(one.system, gone.key): Silent(one.system, gone)}
    draft.systems[one.system] = replace(one.seat, paused=gone.paused)
    draft.identity = replace(identity, silent=silent)


def silent_row(draft: Draft, name: str) -> None:
    """An event of a row whose system speaks here by another one: equal to current is nothing, the rest is queued."""
    change, matrix = draft.change, draft.matrix
    seat = replace(draft.identity.silent[name].seat)
    known = seat.rows.get(change.row)
    columns: list[tuple[dict[str, Value], bool]] = [
        (change.fields, False), (change.compared, False), (change.requests, True),
    ]  # fmt: skip
    if known is not None and is_replay(known, change):
        draft.outcomes = tuple(Outcome(one, "replay", request=ask) for names, ask in columns for one in names)
        return
    was_read_again(draft)
    seat.rows = {**seat.rows, change.row: row_state(known, change)}
    if change.primary:
        seat.present = change.op != "d"
    if change.op == "d":
        draft.noops = sum(len(names) for names, _ in columns)
        seat.shown = {} if change.primary else seat.shown
    else:
        for names, request in columns:
            for one, value in names.items():
                _silent_field(draft, seat, matrix.fields.get(one), (one, value, request))
    silent = {**draft.identity.silent, name: Silent(change.system, seat)}
    draft.identity = replace(draft.identity, silent=silent)


def silent_reread(draft: Draft, name: str) -> None:
    """Such a row changed, and nobody said what."""
    one = draft.identity.silent[name]
    seat = replace(one.seat, rows=noted(draft, one.seat.rows))
    draft.identity = replace(draft.identity, silent={**draft.identity.silent, name: Silent(one.system, seat)})


def _silent_field(draft: Draft, seat: SystemState, field: Field | None, said: tuple[str, Value, bool]) -> None:
    name, value, request = said
    if field is None:
        draft.noops += 1
        return
    view = "full" if request else field.views[draft.change.system]
    before = (seat.requested if request else seat.shown).get(name)
    whole = complete(field, view, before, value)
    column = {**(seat.requested if request else seat.shown), name: whole}
    seat.requested, seat.shown = (column, seat.shown) if request else (seat.requested, column)
    if whole == before or draft.change.op == "r" or name in draft.change.compared or _is_current(draft, field, whole):
        draft.noops += 1
        return
    change = draft.change
    proposal = Proposal(
        change.system, whole, change.id, change.at, change.row, change.position, change.actor, change.role,
        change.origin, change.reason, change.base, change.evidence.get(name), request=request,
    )  # fmt: skip
    joined = draft.open_case(name, "merged", field.escalation, proposal)
    draft.outcomes += (
        Outcome(name, "queued", "link", field.rule, joined=joined, request=request, actor=change.actor,
                role=change.role, origin=change.origin),
    )  # fmt: skip


def _is_current(draft: Draft, field: Field, value: Value) -> bool:
    """Whether it is what the record has, whole or as the system is to show it; a null says nothing."""
    name = field.name
    return value is None or value in (draft.current(name).value, draft.expected(draft.change.system, name, field))
