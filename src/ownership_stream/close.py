"""Close: after every event no disagreement stays silent (``docs/rules.md``, section 2, step 16, *Restore* and *Time*).

Each system that shows something else than it should, with nothing under way and no open case, is sent what it
should show or becomes somebody's case. It decides no write: by the time it runs every changed field has its
outcome.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from ownership_stream.creation import is_under_way, overdue
from ownership_stream.draft import JUDGED, LANDING_TIME, NOTHING, Draft, Nothing, view_of, without
from ownership_stream.matrix.compiled import Field
from ownership_stream.model import Case, Sent, SystemState, Value

MAX_RESTORES: Final = 3


def close(draft: Draft) -> None:
    """Look at every field this event touched; at all of them where it sweeps."""
    fields = draft.matrix.fields
    names: Iterable[str] = fields if draft.sweeps else draft.touched
    for name in names:
        field = fields.get(name)
        if field is None:
            continue
        if name in draft.cases and name in draft.base.cases and _agreed(draft, draft.cases[name], field):
            draft.close_case(name, "converged")
        for key, view in field.views.items():
            system = draft.systems.get(key)
            if system is None or view == "none":
                continue
            expected = view_of(system, name, view, draft.fields.get(name))
            if system.shown.get(name) != expected:
                if system.present:
                    _settle(draft, key, system, field, expected)
            elif system.refused or system.baseline:
                draft.forgive(key, name)


def _agreed(draft: Draft, case: Case, field: Field) -> bool:
    """Whether every present system shows what it should, and nothing that shows nowhere else still stands in the case.

    What nobody has attested at the owner is settled as soon as the owner shows the current value again. Which of
    several rows speaks is no matter of what is shown.
    """
    name = case.field
    if case.reason == "speaker":
        return False
    judged = [draft.owner(field)] if case.reason == "unattested" else list(draft.systems)
    present = [key for key in judged if key in draft.systems and draft.systems[key].present]
    for key in present:
        expected = draft.expected(key, name, field)
        if expected is not NOTHING and draft.systems[key].shown.get(name) != expected:
            return False
    apart = (one for one in case.proposals if one.request or field.views[one.system] == "none")
    return bool(present) and not any(draft.stands(name, one) for one in apart)


def _settle(draft: Draft, key: str, system: SystemState, field: Field, expected: Value | Nothing) -> None:
    """A disagreement of one system: under way, excused, sent, or a case."""
    name = field.name
    current = draft.current(name)
    asked = name in draft.asked or (key, name) in draft.handed
    waiting = system.outstanding.get(name, ())
    under_way = bool(waiting) and (not asked or waiting[-1].value == expected)
    if (
        not current.version
        or expected is NOTHING
        or under_way
        or name in system.baseline
        or (name in draft.cases and not asked)
    ):
        return
    restore = not asked and (name in system.refused or not draft.sweeps)
    late = key == draft.change.system and name in draft.late
    if restore and not late and _is_kept(draft, key, system, field):
        return
    if key in field.read_only:
        if name not in draft.cases:
            draft.open_case(name, "unwritable", field.escalation, system=key)
        return
    if not can_send(draft, key, system):
        return
    if restore and current.restores >= MAX_RESTORES:
        draft.open_case(name, "oscillation", field.escalation, system=key)
        return
    draft.send(key, name, expected, restore=restore)


def _is_kept(draft: Draft, key: str, system: SystemState, field: Field) -> bool:
    """Whether a disagreement is not restored: left by the matrix, pending, or a case as the owner itself shows it."""
    refused = system.refused.get(field.name)
    if refused is not None and refused.reason == JUDGED:
        return False
    if not field.restore:
        return True
    if key != draft.owner(field) or refused is None:
        return False
    if refused.reason != "not_validated":
        draft.open_case(field.name, "unattested", field.escalation, system=key)
    return True


def can_send(draft: Draft, key: str, system: SystemState) -> bool:
    """Whether anything may be sent to the system now; what may not is held until a sweep."""
    held = system.paused or draft.paused or draft.doubted
    return system.present and not held and key not in draft.withheld


def tick(draft: Draft) -> None:
    """What time alone brings: landings that are overdue, cases that escalate; then every field is looked at."""
    # Sorted: what is done must not hang on how the state was kept since it was last packed.
    for key in sorted(draft.systems):
        if is_under_way(draft.systems[key]):
            overdue(draft, key)
            continue
        for name in sorted(draft.systems[key].outstanding):
            _overdue(draft, key, name)
    for _, case in sorted(draft.cases.items()):
        if case.due <= draft.now:
            _escalate(draft, case)
    draft.sweeps = True


def _overdue(draft: Draft, key: str, name: str) -> None:
    """Retire what is shown already; send once more what did not land; then it has diverged."""
    system = draft.system(key)
    newest: Sent = system.outstanding[name][-1]
    field = draft.matrix.fields.get(name)
    shown = system.shown.get(name)
    due = newest.at + LANDING_TIME <= draft.now and can_send(draft, key, system)
    expected = NOTHING if field is None else draft.expected(key, name, field)
    if field is None or expected is NOTHING or shown == newest.value or (due and shown == expected):
        system.outstanding = without(system.outstanding, name)
    elif not due:
        return
    elif newest.again:
        system.outstanding = without(system.outstanding, name)
        if name not in draft.cases:
            draft.open_case(name, "diverged", field.escalation, system=key)
    else:
        draft.send(key, name, expected, restore=name in system.refused, again=True)


def _escalate(draft: Draft, case: Case) -> None:
    """Pass a due case to the next owner of the chain, with that owner's time; the end of the chain keeps it."""
    owner = draft.matrix.escalations.get(case.owner)
    following = (owner.then if owner is not None else None) or case.owner
    sla = draft.matrix.escalations[following].sla if following in draft.matrix.escalations else LANDING_TIME
    draft.alter_case("escalated", replace(case, owner=following, due=draft.now + sla, escalated=case.escalated + 1))


def next_due(draft: Draft) -> int:
    """When the record wants its next tick, milliseconds; 0: never."""
    dues = [case.due for case in draft.cases.values()] if draft.cases else []
    for system in draft.systems.values():
        if system.outstanding:
            dues += [waiting[-1].at + LANDING_TIME for waiting in system.outstanding.values()]
    return min(dues) if dues else 0
