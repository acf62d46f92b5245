"""One decision in one sentence: who changed what of whom where, what became of it, and what followed.

For the live view: short, without values of patients, records named by the beginning of a keyed hash. What a decision
means at length is `outcomes.py`'s; these are the same meanings in a few words.
"""

from typing import Final, NamedTuple

from ownership_stream.demo.people import STAFF
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.model import Origin

BRIEFLY: Final[dict[str, str]] = {
    "reason_required": "it is critical, and no reason was given",
    "override_active": "a {override} has overridden it",
    "stale": "the writer had not seen the newest value",
    "transition": "the stage map has no such step",
    "not_validated": "nobody has validated it yet",
    "not_confirmed": "the patient has confirmed another value",
    "group": "it moves together with a field that did not pass",
    "stage": "the care stage is not known",
    "stage_unknown": "the stage map has no such stage",
    "clear": "an automation may not clear it",
    "clock": "its evidence lies in the future",
    "tie": "two values have the same evidence time",
    "speaker": "several rows stand equal and differ",
    "handover": "care has started, and the new owner shows another value",
    "oscillation": "two automations keep answering each other",
    "no_rule": "no rule answers",
    "diverged": "the system does not take what it is sent",
    "paused": "writes are paused",
    "link": "it is not certain that both rows are one person",
    "duplicate": "the record may exist already",
}
"""Reason -> why, in a few words; ``owner_policy`` depends on the row."""

DISTINCT: Final = 4
"""Hex digits of a hash that are shown: enough for the clinic's patients."""


class Told(NamedTuple):
    """What a sentence is made of. ``outcome`` is ``applied``, ``rejected``, ``queued`` or ``failed``."""

    change_id: str
    record: str
    """The keyed hash."""
    system: str
    field: str
    outcome: str
    reason: str = ""
    role: str | None = None
    origin: Origin = "automation"
    stage: str | None = None
    cleared: bool = False
    request: bool = False


def sentence(matrix: Matrix, told: Told, sent: dict[str, str], owner: str | None) -> str:
    """The sentence. ``sent``: system -> kind of what followed from the change; ``owner``: whose case it became."""
    field = matrix.fields[told.field]
    did = "asked to change" if told.request else "cleared" if told.cleared else "changed"
    label = field.label[:1].lower() + field.label[1:]
    where = f"in the {matrix.systems[told.system]}"
    when = _when(matrix, field, told.stage)
    head = f"{who(told.role, told.origin)} {did} the {label} of #{told.record[:DISTINCT]} {where}{when}"
    if told.outcome == "applied":
        targets = " and ".join(matrix.systems[system] for system in sent)
        return f"{head}: applied, sent to the {targets}" if targets else f"{head}: applied"
    tail = "; restore sent" if sent.get(told.system) == "restore" else ""
    if owner is not None:
        tail += f"; {matrix.escalations[owner].name} decides"
    return f"{head}: {told.outcome}, {_why(matrix, field, told)}{tail}"


def who(role: str | None, origin: Origin) -> str:
    """A writer, in words."""
    found = next((staff.words for staff in STAFF.values() if staff.role == role and staff.origin == origin), None)
    return found or f"{role or 'someone'} ({origin})"


def _when(matrix: Matrix, field: Field, stage: str | None) -> str:
    """On which side of care start, where that decides whose field it is."""
    if not field.by_stage or stage is None:
        return ""
    return " after care start" if stage in matrix.stages.after else " before care start"


def _why(matrix: Matrix, field: Field, told: Told) -> str:
    if told.reason == "owner_policy":
        owner = field.owner["after" if told.stage in matrix.stages.after else "before"]
        if owner != told.system:
            return f"the {matrix.systems[owner]} owns it"
        roles = [grant.role for grant in field.grants if grant.kind == "owner" and grant.role is not None]
        return f"only {' or '.join(who(role, 'person') for role in dict.fromkeys(roles))} may"
    overriding = next((grant.role for grant in field.grants if grant.kind == "override"), None)
    return BRIEFLY.get(told.reason, told.reason or "an internal error").format(override=overriding)
