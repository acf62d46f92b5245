"""What an outcome does to the state: steps between a verdict and *close* (``docs/rules.md``, section 2).

It takes verdicts as they are and judges nothing; it sends nothing either, but marks the fields that *close* has to
look at.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from ownership_stream.draft import Draft, Write, grant_kind
from ownership_stream.model import FieldState

SNAPSHOT_GRANT: Final = "owner: snapshot"


def take_effect(draft: Draft, write: Write) -> None:
    """What an outcome does to the state; sends follow in *close*."""
    name = write.field.name
    if write.outcome != "noop":
        draft.touch(name)
    EFFECTS[write.outcome](draft, write)


def _no_effect(_draft: Draft, _write: Write) -> None:
    """Nothing: the value stands already."""


def apply(draft: Draft, write: Write) -> None:
    """The write is the current value, or its evidence is current's; an open case of the field ends with it."""
    name = write.field.name
    current = draft.current(name)
    grant = write.grant.id if write.grant is not None else ""
    if current.grant.startswith("override:") and grant_kind(grant) != "override" and not write.only_evidence:
        draft.ended_overrides += (name,)
    if draft.cases:
        draft.close_case(name, "superseded")
    if write.only_evidence:
        draft.put(name, replace(current, at=write.at, evidence=write.evidence, **_provenance(draft, write, grant)))
        return
    set_current(draft, write, grant)
    draft.forgive(write.source.system, name)
    if name == draft.matrix.stages.field and set_stage(draft, write):
        draft.care_starts = True


def _provenance(draft: Draft, write: Write, grant: str) -> dict[str, object]:
    fresh, source = write.fresh, write.source
    return {
        "system": source.system, "row": source.row, "position": source.position, "actor": fresh.actor,
        "role": fresh.role, "origin": fresh.origin, "grant": grant, "rule": write.field.rule,
        "revision": draft.matrix.revision,
    }  # fmt: skip


def set_current(draft: Draft, write: Write, grant: str) -> None:
    """Make the write the current value, in the record's next version."""
    name = write.field.name
    current = draft.current(name)
    fresh, source = write.fresh, write.source
    answered = grant is not SNAPSHOT_GRANT and not write.person and source.system in current.told
    draft.version = draft.base.version + 1
    draft.set_current(
        name,
        FieldState(
            write.value, draft.version, write.at, source.system, source.row, source.position, fresh.actor, fresh.role,
            fresh.origin, grant, write.field.rule, draft.matrix.revision, write.evidence,
            current.restores, current.answers + answered, current.told,
        ),
    )  # fmt: skip


def set_stage(draft: Draft, write: Write) -> bool:
    """Record the stage; whether care has started by it just now."""
    draft.stage_learned = draft.stage_learned or not draft.stages
    return draft.set_stage(str(write.value), write.at)


def seed_from_owners(draft: Draft) -> None:
    """The stage is known at last: fields it decides the owner of begin with what a snapshot had shown at that owner."""
    for name in draft.matrix.by_stage:
        key = draft.owner(draft.matrix.fields[name])
        system = draft.systems.get(key)
        if draft.current(name).version or system is None or not system.present or name not in system.baseline:
            continue
        if system.shown.get(name) is not None:
            draft.version = draft.base.version + 1
            seeded = FieldState(system.shown[name], draft.version, draft.now, key, grant=SNAPSHOT_GRANT)
            seeded.rule, seeded.revision = draft.matrix.fields[name].rule, draft.matrix.revision
            draft.set_current(name, seeded)
            draft.asked = tuple(asked for asked in draft.asked if asked != name)
            draft.excuse_others(key, name)


def hand_over(draft: Draft) -> None:
    """Care start passes fields to another owner: current goes with them, unless the new owner shows another value."""
    for name in draft.matrix.by_stage:
        field = draft.matrix.fields[name]
        heir = field.owner["after"]
        system = draft.systems.get(heir)
        if not draft.current(name).version or system is None or not system.present:
            continue
        draft.touch(name)
        shown = system.shown.get(name)
        if shown is None:
            draft.handed += ((heir, name),)
            draft.forgive(heir, name)
        elif shown != draft.expected(heir, name, field) and name not in system.outstanding and name not in draft.cases:
            draft.open_case(name, "handover", field.escalation)


def _rejected(draft: Draft, write: Write) -> None:
    draft.refuse(write)


def _queued(draft: Draft, write: Write) -> None:
    draft.refuse(write)
    write.joined = draft.open_case(write.field.name, write.reason, write.field.escalation, write.as_proposal())


EFFECTS: Final[dict[str, Callable[[Draft, Write], None]]] = {
    "noop": _no_effect,
    "applied": apply,
    "rejected": _rejected,
    "queued": _queued,
}
