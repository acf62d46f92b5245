"""Of several rows of one table, the one that speaks for the record (``docs/rules.md``, section 1, *Speaking row*).

To the decision all rows of such a table are one row, whose values are those of the row that speaks. This module keeps
what each of them last showed, says after each event which one speaks, and what has changed by it as the event of that
one row. Where it cannot be told, nothing is decided and a person is asked. Pure, and before step 1; it judges no write.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from ownership_stream.delta import fresh_attributes, is_replay, row_state
from ownership_stream.draft import Draft, Fresh, complete
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import (
    Candidate,
    CaseEvent,
    Change,
    Evidence,
    Outcome,
    Proposal,
    RecordState,
    RowState,
    Speaking,
    Value,
)

MAX_STANDING: Final = 16
"""Rows of a table that are remembered with their values, those of the greatest rank."""
MAX_KNOWN: Final = 32
"""Other rows of it that are remembered by their position, those that changed last."""
REASON: Final = "speaker"
"""Why a case waits for which it cannot be told who speaks."""

Rank = tuple[int, ...]


class Heard(NamedTuple):
    """What an event of one of several rows comes to."""

    state: RecordState
    said: Change | None
    """What all of them now say as one row; ``None``: the same as before, or nothing that can be told."""
    outcomes: tuple[Outcome, ...] = ()
    noops: int = 0
    cases: tuple[CaseEvent, ...] = ()


class Elected(NamedTuple):
    """The row that speaks (``""``: none), and the fields for which that cannot be told."""

    row: str
    first: tuple[str, ...] = ()
    """All rows of the greatest rank."""
    unclear: tuple[str, ...] = ()


UNKNOWN: Final = Candidate(RowState())


def hear(matrix: Matrix, state: RecordState, change: Change) -> Heard:
    """Take in an event of a row that is one of several; ``state`` is not touched."""
    before = state.speaking.get(change.among) or Speaking(change.system)
    known = before.rows.get(change.row)
    if known is not None and is_replay(known.last, change):
        return Heard(state, None, tuple([Outcome(name, "replay") for name in change.fields]))
    fresh = fresh_attributes(None if known is None else known.last, change)
    rows, floor = _bounded({**before.rows, change.row: _candidate(matrix, known, change)}, before.floor)
    elected = _elect(before, rows, floor)
    draft = Draft(matrix, state, change, frozenset())
    said = None if elected.unclear else _said(before, rows, elected.row, change, fresh)
    after = replace(before, rows=rows, floor=floor, unclear=elected.unclear)
    if said is not None:
        names = sorted({*before.names, *rows[elected.row].fields}) if elected.row else ()
        after = replace(after, speaker=elected.row, names=tuple(names), turn=before.turn + 1)
        said = replace(said, position=(after.turn,))
    elif not elected.unclear:
        after = replace(after, speaker=elected.row)
    draft.speaking = {**state.speaking, change.among: after}
    outcomes = _asked(draft, before, after, elected, fresh)
    noops = 0 if said is not None else len(change.fields) - len(outcomes)
    return Heard(draft.to_state(), said, outcomes, noops, draft.case_events)


def forget(speaking: dict[str, Speaking], system: str) -> dict[str, Speaking]:
    """The system no longer has the record: none of its rows stands, and their positions alone are kept."""
    return {
        among: replace(
            one,
            rows={name: Candidate(_bare(row.last)) for name, row in one.rows.items()},
            speaker="",
            names=(),
            floor=None,
        )
        if one.system == system
        else one
        for among, one in speaking.items()
    }


def _bare(last: RowState) -> RowState:
    return RowState(last.position, last.change_id, recent=last.recent)


def _candidate(matrix: Matrix, known: Candidate | None, change: Change) -> Candidate:
    """The row as it now is; a part or a field that this event does not carry is as it was."""
    last = row_state(None if known is None else known.last, change)
    if change.op == "d":
        return Candidate(_bare(last))
    if change.rank is None:
        return Candidate(last)
    fields = {} if known is None else known.fields.copy()
    for name, value in change.fields.items():
        field = matrix.fields.get(name)
        if field is not None:
            fields[name] = complete(field, field.views[change.system], fields.get(name), value)
    # In one order, however the row was kept meanwhile.
    return Candidate(last, change.rank, dict(sorted(fields.items())))


def _bounded(rows: dict[str, Candidate], floor: Rank | None) -> tuple[dict[str, Candidate], Rank | None]:
    """The rows that are remembered, and the greatest rank of one that stood and is not."""
    ranked = sorted((row.rank, name) for name, row in rows.items() if row.rank is not None)
    standing = {name for _, name in ranked}
    gone = [name for _, name in ranked[:-MAX_STANDING]]
    for rank, _ in ranked[:-MAX_STANDING]:
        floor = rank if floor is None else max(floor, rank)
    others = sorted((rows[name].last.position or (), name) for name in rows if name not in standing)
    gone += [name for _, name in others[:-MAX_KNOWN]]
    return ({name: row for name, row in rows.items() if name not in gone} if gone else rows), floor


def _elect(before: Speaking, rows: Mapping[str, Candidate], floor: Rank | None) -> Elected:
    """The standing row of the greatest rank; of several the one that spoke, if all of them say the same."""
    best = max((row.rank for row in rows.values() if row.rank is not None), default=None)
    first = tuple(sorted(name for name, row in rows.items() if best is not None and row.rank == best))
    speaker = before.speaker if before.speaker in first else next(iter(first), "")
    names = sorted({name for row in first for name in rows[row].fields})
    if floor is not None and (best is None or best <= floor):
        # One that was forgotten may stand above them.
        return Elected(speaker, first, tuple(sorted({*before.names, *names})))
    # What one of them never carried, and another did, differs too.
    said = {name: [rows[row].fields.get(name, UNKNOWN) for row in first] for name in names}
    return Elected(speaker, first, tuple([name for name in names if said[name] != said[name][:1] * len(first)]))


def _of(row: Candidate, name: str) -> Value:
    return row.fields.get(name)


def _said(before: Speaking, rows: Mapping[str, Candidate], speaker: str, change: Change, fresh: Fresh) -> Change | None:
    """What is new by this event: a change of the row that speaks, or all that another one says, or that none does."""
    newly = speaker != before.speaker or bool(before.unclear)
    if speaker and (newly or speaker == change.row):
        row = rows[speaker]
        carried = row.fields if newly else {name: row.fields[name] for name in change.fields if name in row.fields}
        return _as_one_row(change, carried, row.last.evidence if newly else fresh.evidence, fresh)
    if not speaker and before.names:
        return _as_one_row(change, dict.fromkeys(before.names), {}, fresh)
    return None


def _as_one_row(change: Change, fields: dict[str, Value], evidence: Mapping[str, Evidence], fresh: Fresh) -> Change:
    """The event as one of the one row that they are: what is fresh in it came with it, and nothing else counts."""
    return replace(
        change,
        row=f"{change.among}/*",
        op="r" if change.op == "r" else "u",
        fields=fields,
        actor=fresh.actor,
        role=fresh.role,
        origin=fresh.origin,
        updated_at=None,
        reason=fresh.reason,
        base=fresh.base,
        evidence={name: evidence[name] for name in sorted(evidence) if name in fields},
        marker=None,
        event=("actor", "reason", "base", "evidence"),
        rank=None,
    )


def _asked(draft: Draft, before: Speaking, after: Speaking, elected: Elected, fresh: Fresh) -> tuple[Outcome, ...]:
    """A case for each field for which it is not clear any more who speaks; it ends when that is."""
    change = draft.change
    for name in before.unclear:
        case = draft.cases.get(name)
        if name not in after.unclear and case is not None and case.reason == REASON:
            draft.close_case(name, "converged")
    known, mine = before.rows.get(change.row, UNKNOWN), after.rows.get(change.row, UNKNOWN)
    contends = change.row in elected.first
    outcomes = []
    for name in after.unclear:
        field = draft.matrix.fields.get(name)
        moved = contends and (known.rank != mine.rank or _of(known, name) != _of(mine, name))
        if field is None or (name in before.unclear and not moved):
            continue
        row = change.row if contends else elected.row
        value = _of(after.rows.get(row, UNKNOWN), name)
        proposal = Proposal(
            change.system, value, change.id, change.at, row, None, fresh.actor, fresh.role, fresh.origin,
            fresh.reason, fresh.base,
        )  # fmt: skip
        joined = draft.open_case(name, REASON, field.escalation, proposal)
        if contends and name in change.fields:
            ended = Outcome(name, "queued", REASON, field.rule, joined=joined)
            outcomes.append(replace(ended, actor=fresh.actor, role=fresh.role, origin=fresh.origin))
    return tuple(outcomes)
