"""What a row event brings: its position, what is fresh in it, and which of its columns are writes.

Steps 1 to 5 of ``docs/rules.md``, section 2, with its step numbers. Every carried column that is no write has its
outcome here; the writes go on to ``decide.py``. One comparison for each carried column, and everything else for
changed ones only.
"""

from itertools import compress
from operator import ne
from typing import Final

from ownership_stream.draft import NOTHING, Draft, Fresh, Write, complete, view_of, without
from ownership_stream.effects import SNAPSHOT_GRANT, set_current, set_stage
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import Change, Evidence, Outcome, RowState, SystemState, Value
from ownership_stream.rules import BY_EVIDENCE

RECENT_IDS: Final = 16
NO_ROW: Final = RowState()


def is_replay(row: RowState, change: Change) -> bool:
    """Step 1: whether the row has shown this event, or a later one, before."""
    if change.position is None or row.position is None:
        return change.id == row.change_id or change.id in row.recent
    if change.position < row.position:
        return True
    return change.position == row.position and change.id == row.change_id and change.op != "r"


def recent_ids(row: RowState | None, change: Change) -> tuple[str, ...]:
    """The last change ids of a row, this one included; none of a source with a true position."""
    if change.position is not None:
        return ()
    return (*(row.recent if row is not None else ()), change.id)[-RECENT_IDS:]


def row_state(row: RowState | None, change: Change) -> RowState:
    """What the row now last showed beside its fields; an event that carries no evidence leaves the row's.

    A deleted row shows nothing: should it come back, all of it is fresh.
    """
    recent = recent_ids(row, change)
    if change.op == "d":
        return RowState(change.position, change.id, recent=recent)
    evidence = change.evidence
    if row is not None and row.evidence:
        evidence = {**row.evidence, **evidence} if evidence else row.evidence
    return RowState(
        change.position,
        change.id,
        change.actor,
        change.updated_at,
        change.reason,
        change.base,
        change.marker,
        evidence,
        recent,
    )


def fresh_attributes(row: RowState | None, change: Change) -> Fresh:
    """Step 3: what came with the event itself, or whose own column moved in it."""
    fresh = Fresh()
    last = NO_ROW if row is None else row
    event = change.event
    if "actor" in event or change.actor != last.actor or change.updated_at != last.updated_at:
        fresh.actor, fresh.role, fresh.origin = change.actor, change.role, change.origin
    if change.reason and change.reason.strip() and ("reason" in event or change.reason != last.reason):
        fresh.reason = change.reason
    if change.base is not None and ("base" in event or change.base != last.base):
        fresh.base = change.base
    if change.marker is not None and change.marker != last.marker:
        fresh.marker = change.marker
    if change.evidence:
        known: dict[str, Evidence] = {} if "evidence" in event else last.evidence
        fresh.evidence = {
            name: evidence
            for name, evidence in change.evidence.items()
            if (evidence.by is not None or evidence.at is not None) and known.get(name) != evidence
        }
    return fresh


def find_writes(draft: Draft, system: SystemState, fresh: Fresh) -> list[Write]:
    """Steps 2, 4 and 5: the writes of the event; every carried column that is none has its outcome here."""
    change = draft.change
    moved = _moved(draft, system)
    if fresh.marker is not None:
        draft.repeated = _is_repeated(draft, system, fresh)
    writes = _attested(draft, system, fresh, moved) if system.refused or fresh.evidence else []
    draft.noops += len(change.fields) + len(change.compared) - len(moved) - len(writes)
    if moved:
        for name in _stage_first(draft.matrix, moved):
            write = _shown_anew(draft, system, fresh, name, moved[name])
            if write is not None:
                writes.append(write)
    if change.requests:
        writes.extend(_requested(draft, system, fresh))
    return writes


def _moved(draft: Draft, system: SystemState) -> dict[str, Value]:
    """The shown columns that now hold something else, with whole values; one comparison for each carried column."""
    # All of it is looked at: a dictionary of our own, whatever the state holds it as.
    change, before = draft.change, system.shown.copy()
    moved: dict[str, Value] = {}
    for columns in (change.fields, change.compared) if change.compared else (change.fields,):
        differs = map(ne, columns.values(), map(before.get, columns))
        for name in compress(columns, differs):
            field, value = draft.matrix.fields.get(name), columns[name]
            if field is None:
                continue
            if isinstance(value, dict):
                value = complete(field, field.views[change.system], before.get(name), value)
                if value == before.get(name):
                    continue
            moved[name] = value
    return moved


def _stage_first(matrix: Matrix, names: dict[str, Value]) -> list[str]:
    """The stage decides how the others are decided, so it comes first (step 8)."""
    if len(names) == 1:
        return list(names)
    return sorted(names, key=lambda name: name != matrix.stages.field)


def _attested(draft: Draft, system: SystemState, fresh: Fresh, moved: dict[str, Value]) -> list[Write]:
    """Step 2: unchanged values that are writes all the same, because something fresh attests them."""
    fields = draft.change.fields
    matrix = draft.matrix
    backed = [name for name in fresh.evidence if name in fields and name in matrix.fields]
    names = {name: False for name in backed if _by_evidence(matrix, name)}
    if fresh.reason is not None or fresh.actor is not None:
        for name in sorted(system.refused):  # in one order, however the state was kept meanwhile
            by_actor = fresh.reason is None
            if name in fields and name not in names and not (by_actor and _by_evidence(matrix, name)):
                names[name] = by_actor
    if draft.change.op == "r":
        return []
    writes = []
    for name, needs_grant in names.items():
        if name not in moved and name in system.shown and name in matrix.fields:
            write = _write(draft, system, fresh, matrix.fields[name], system.shown.get(name))
            write.needs_grant = needs_grant
            writes.append(write)
    return writes


def _by_evidence(matrix: Matrix, name: str) -> bool:
    """Whether only evidence attests the field: a save beside it does not."""
    return name in matrix.fields and matrix.fields[name].rule in BY_EVIDENCE


def _write(draft: Draft, system: SystemState, fresh: Fresh, field: Field, value: Value) -> Write:
    change = draft.change
    at = min(change.at, draft.now)
    write = Write(field, value, fresh, change, at=at, seen=_has_seen(draft, system, fresh, field))
    if fresh.evidence:
        write.evidence = fresh.evidence.get(field.name)
    return write


def _has_seen(draft: Draft, system: SystemState, fresh: Fresh, field: Field) -> bool:
    """Whether the writer had the current value before their eyes (section 1, *seen*); shown is still the one before."""
    current = draft.fields.get(field.name)
    if current is None or not current.version:
        return True
    if fresh.base is not None:
        return fresh.base >= current.version
    if current.row == draft.change.row:
        return True
    refused = system.refused.get(field.name)
    if refused is not None and refused.seen == current.version:
        return True
    expected = draft.expected(draft.change.system, field.name, field)
    return system.shown.get(field.name) == (current.value if expected is NOTHING else expected)


def _shown_anew(draft: Draft, system: SystemState, fresh: Fresh, name: str, value: Value) -> Write | None:
    """One moved column: update shown, then echo (step 4), compared or snapshot (step 5), or a write."""
    field = draft.matrix.fields[name]
    write = _write(draft, system, fresh, field, value)
    system.shown = system.shown.copy()
    system.shown[name] = value
    draft.touch(name)
    if name in system.outstanding and (reason := _echo(draft, system, fresh, name, value)) is not None:
        draft.outcomes += (Outcome(name, "echo", reason, field.rule),)
        return None
    if draft.change.op != "r" and name in system.baseline:
        system.baseline = tuple(listed for listed in system.baseline if listed != name)
    if name in system.accepted and value == view_of(None, name, field.views[draft.change.system], draft.current(name)):
        system.accepted = without(system.accepted, name)
    if draft.repeated:
        draft.forgive(draft.change.system, name)
        draft.late += (name,)
        draft.outcomes += (Outcome(name, "echo", "late", field.rule),)
        return None
    if name not in draft.change.fields:
        draft.noops += 1
        if draft.change.op == "r" and value != draft.expected(draft.change.system, name, field):
            draft.excuse(draft.change.system, name)
        return None
    if draft.change.op == "r":
        _baseline(draft, write)
        draft.outcomes += (Outcome(name, "baseline", "", field.rule),)
        return None
    return write


def _echo(draft: Draft, system: SystemState, fresh: Fresh, name: str, value: Value) -> str | None:
    """Step 4: the echo's reason (empty or ``coerced``) where this is our write landing, else ``None``."""
    waiting = system.outstanding[name]
    person = fresh.origin == "person"
    place = None
    if fresh.marker is not None:
        place = next((i for i, sent in enumerate(waiting) if sent.change_id == fresh.marker), None)
        if place is not None and person and waiting[place].value != value:
            return None
    if place is None and not person:
        place = next((i for i, sent in enumerate(waiting) if sent.value == value), None)
    if place is None:
        return None
    rest = waiting[place + 1 :]
    coerced = waiting[place].value != value
    system.outstanding = {**system.outstanding, name: rest} if rest else without(system.outstanding, name)
    if coerced and not rest:
        system.accepted = {**system.accepted, name: value}
    draft.forgive(draft.change.system, name)
    return "coerced" if coerced else ""


def _is_repeated(draft: Draft, system: SystemState, fresh: Fresh) -> bool:
    """Step 4: whether a row that was there before bears a mark of ours by which nothing is under way.

    A writer that had crashed writes again what it had not noted as written: nobody means it.
    """
    change, before = draft.change, draft.base.systems.get(draft.change.system)
    if change.op != "u" or fresh.origin == "person" or before is None:
        return False
    under_way = {sent.change_id for waiting in system.outstanding.values() for sent in waiting}
    return before.present and change.row in before.rows and fresh.marker not in under_way


def _baseline(draft: Draft, write: Write) -> None:
    """Step 5: a snapshot seeds from the present owner, and lists every other difference."""
    field, key = write.field, write.source.system
    name = field.name
    current = draft.current(name)
    stage = name == draft.matrix.stages.field
    row, position = write.source.row, write.source.position
    differs = write.value != current.value
    newer = differs and current.row == row and position is not None and (current.position or ()) < position
    unset = not current.version
    # The rows of which one speaks come one by one: only the last of them says what the first value is.
    first = unset or (bool(draft.change.among) and newer and current.grant == SNAPSHOT_GRANT)
    trusted = key == draft.owner(field) and (newer if not unset else write.value is not None)
    if not trusted or (stage and write.value not in draft.matrix.stages.map):
        draft.forgive(key, name)
        if write.value != draft.expected(key, name, field):
            draft.excuse(key, name)
        return
    set_current(draft, write, SNAPSHOT_GRANT)
    if stage:
        set_stage(draft, write)
    draft.forgive(key, name)
    if first:
        draft.asked = tuple(asked for asked in draft.asked if asked != name)
        draft.excuse_others(key, name)


def _requested(draft: Draft, system: SystemState, fresh: Fresh) -> list[Write]:
    """Request columns have a last value of their own for the delta, and are never shown."""
    writes = []
    for name, value in draft.change.requests.items():
        field = draft.matrix.fields.get(name)
        before = system.requested.get(name)
        whole = value if field is None else complete(field, "full", before, value)
        if whole == before:
            draft.noops += 1
            continue
        system.requested = {**system.requested, name: whole}
        draft.touch(name)
        if field is None or whole is None:
            draft.noops += 1
            continue
        if draft.change.op == "r":
            draft.outcomes += (Outcome(name, "baseline", "", field.rule, request=True),)
            continue
        write = _write(draft, system, fresh, field, whole)
        write.request = True
        writes.append(write)
    return writes
