"""What a person asks of an open case: who may, whether the case is still as it was read, and what it does.

``docs/rules.md``, section 2, *Resolution*. An ask is no write and no attempt: it ends in exactly one answer of
``outcomes.ANSWERS``, and a refused one changes nothing. What a resolution sends is *close*'s matter; it marks the
field for it. Pure, and no part of the steps that decide a write.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from ownership_stream.draft import Draft, complete, without
from ownership_stream.matrix.compiled import Field, Matrix, Summary
from ownership_stream.model import Action, Answer, Ask, Case, Evidence, FieldState, Proposal, RecordState, Value
from ownership_stream.record_cases import keep_apart, others_in
from ownership_stream.rules import BY_EVIDENCE
from ownership_stream.slots import slot_of

Ending = tuple[str, str]
"""(outcome, reason), a row of ``outcomes.ANSWERS``."""

GRANT: Final = "resolution: "
"""What the grant of a value begins with that a person accepted or set; the escalation owner follows."""
DISMISSABLE: Final = frozenset({"duplicate", "link_candidate", "absent", "failed"})
"""Reasons of a record's own case that a person may say is none."""
RESOLVES: Final = frozenset({"accept", "keep", "set", "dismiss", "link"})
OPEN_TO_ALL: Final = frozenset({"comment", "reveal"})
"""What every person may do, whoever owns the case."""
EDITION_BYTES: Final = 8
UNKNOWN: Final = (False, None, None)
"""A system that has not the record, and shows and requests nothing: as good as none."""

_CONTENT: Final = msgspec.msgpack.Encoder(order="deterministic")


class Offer(NamedTuple):
    """A value of a system that a person can accept; ``proposal`` where it waits in the case."""

    system: str
    value: Value
    proposal: Proposal | None


def edition(state: RecordState, case: Case) -> str:
    """What the case looks like to who reads it: another one as soon as they would see something else.

    It goes by the case's reason, what was proposed in it last, the current value's version, what each system shows and
    requests, and whether care has started; not by who owns the case, nor by repeats. A hash of values without a key:
    for the log of changes, where those values stand too, and for nobody's eyes.
    """
    name = case.field
    current = state.fields.get(name)
    seen = (
        (key, system.present, system.shown.get(name), system.requested.get(name))
        for key, system in sorted(state.systems.items())
    )
    shown = [one for one in seen if one[1:] != UNKNOWN]
    version = 0 if current is None else current.version
    latest = [(one.system, one.value, one.request) for one in case.proposals[-1:]]
    content = (case.id, case.reason, latest, version, state.care_started is not None, shown)
    return blake2b(_CONTENT.encode(content), digest_size=EDITION_BYTES).hexdigest()


def offers(matrix: Matrix, state: RecordState, case: Case) -> tuple[Offer, ...]:
    """What can be accepted, at most one value of each system, in the matrix's order of systems.

    The latest proposal that still stands there, else what the system shows, where it shows whole values, something at
    all and something else than the current value.
    """
    field = matrix.fields.get(case.field)
    if field is None:
        return ()
    found = (_offer(matrix, state, case, field, key) for key in matrix.systems)
    return tuple(offer for offer in found if offer is not None)


def _offer(matrix: Matrix, state: RecordState, case: Case, field: Field, key: str) -> Offer | None:
    name = field.name
    system, current = state.systems.get(key), state.fields.get(name, FieldState())
    if system is None or not system.present:
        return None
    for proposal in reversed(case.proposals):
        holds = system.requested if proposal.request else system.shown
        whole = proposal.request or not isinstance(field.views[key], Summary)
        if proposal.system == key and whole and holds.get(name) == proposal.value:
            return Offer(key, proposal.value, proposal) if fits(matrix, field, proposal.value) else None
    shown = system.shown.get(name)
    if isinstance(field.views[key], Summary) or shown is None or shown == current.value:
        return None
    return Offer(key, shown, None) if fits(matrix, field, shown) else None


def chain(matrix: Matrix, case: Case) -> tuple[str, ...]:
    """Who may resolve the case: its escalation owner, then those above, in order."""
    found: list[str] = []
    owner: str | None = case.owner
    while owner is not None and owner not in found:
        found.append(owner)
        known = matrix.escalations.get(owner)
        owner = None if known is None else known.then
    return tuple(found)


def fits(matrix: Matrix, field: Field, value: Value) -> bool:
    """Whether a canonical value may be this field's: a stage of the map, one of the choices, parts that it has."""
    if field.name == matrix.stages.field:
        return value in matrix.stages.map
    if value is None:
        return True
    if isinstance(value, dict) or field.parts:
        return isinstance(value, dict) and value.keys() <= field.parts.keys()
    return not field.choices or value in field.choices


def needs_reason(matrix: Matrix, name: str) -> bool:
    """Whether a resolution of this field's case is asked for a reason: of critical ones, and of the record itself."""
    field = matrix.fields.get(name)
    return field is None or field.critical


def answer(draft: Draft) -> bool:
    """Do what is asked, or refuse it; ``draft.answer`` says which. Whether a case was resolved by it."""
    ask = draft.change.ask
    case = None if ask is None else next((one for one in draft.cases.values() if one.id == ask.case), None)
    ending: Ending | None = ("refused", "not_possible")
    if ask is not None and KIND_OF[ask.action] == draft.change.kind:
        ending = _refusal(draft, ask, case)
        if ending is None and case is not None:
            ending = ACTIONS[ask.action](draft, ask, case)
    outcome, reason = ending or ("refused", "not_possible")
    name = "" if case is None else case.field
    against = outcome in RESOLVED and _against_owner(draft, name)
    draft.answer = Answer(outcome, reason, name, case, against)
    return outcome in RESOLVED or outcome == "dismissed"


def _refusal(draft: Draft, ask: Ask, case: Case | None) -> Ending | None:
    """Why it is not done, before anything is looked at that hangs on the action itself; the first answer wins."""
    change = draft.change
    if change.origin != "person" or not (change.actor or "").strip():
        return ("refused", "not_a_person")
    if case is None:
        return ("changed meanwhile", "closed")
    if ask.action not in OPEN_TO_ALL and change.role not in chain(draft.matrix, case):
        return ("refused", "not_the_owner")
    if ask.action in RESOLVES and ask.edition != edition(draft.base, case):
        return ("changed meanwhile", "")
    asked = ask.action == "comment" or (ask.action in RESOLVES and needs_reason(draft.matrix, case.field))
    if asked and not (change.reason or "").strip():
        return ("refused", "reason_required")
    return None


def _accept(draft: Draft, ask: Ask, case: Case) -> Ending:
    """What a system proposes or shows becomes the current value, with its provenance under this person's name."""
    offer = next((one for one in offers(draft.matrix, draft.base, case) if one.system == ask.system), None)
    if offer is None:
        return ("refused", "not_offered")
    _end(draft, case)
    proposal = offer.proposal
    row, position = ("", None) if proposal is None else (proposal.row, proposal.position)
    backed = _attested(draft, case.field, None if proposal is None else proposal.evidence)
    _stands(
        draft, case.field, offer.value, FieldState(system=offer.system, row=row, position=position, evidence=backed)
    )
    return ("accepted", "")


def _set(draft: Draft, ask: Ask, case: Case) -> Ending:
    """A value of the person's own becomes the current one; parts that they do not name stay as they are."""
    field = draft.matrix.fields.get(case.field)
    if field is None:
        return ("refused", "not_possible")
    if not fits(draft.matrix, field, ask.value):
        return ("refused", "value")
    value = complete(field, "full", draft.current(field.name).value, ask.value)
    _end(draft, case)
    _stands(draft, field.name, value, FieldState(evidence=_attested(draft, field.name, None)))
    return ("set", "")


def _keep(draft: Draft, _ask: Ask, case: Case) -> Ending:
    """The current value stays, and every system is sent it that shows another: the owner's too."""
    current = draft.current(case.field)
    if case.field not in draft.matrix.fields:
        return ("refused", "not_possible")
    if not current.version:
        return ("refused", "no_current_value")
    _end(draft, case)
    draft.insist(case.field, replace(current, restores=0, answers=0, told=()))
    return ("kept", "")


def _dismiss(draft: Draft, _ask: Ask, case: Case) -> Ending:
    """The record's own case is none: a deletion that was meant, no duplicate, which is then not asked again."""
    if case.field or case.reason not in DISMISSABLE:
        return ("refused", "not_possible")
    if others := others_in(case):
        keep_apart(draft, *others)
    draft.close_case(slot_of(draft.cases, case), "resolved")
    return ("dismissed", case.reason)


def _link(_draft: Draft, ask: Ask, case: Case) -> Ending:
    """The record is the same person as one that waits in its case: who decides (``links``) tells that one.

    The case stays open until the two are one, so that nothing is made for the record meanwhile.
    """
    if not others_in(case):
        return ("refused", "not_possible")
    return ("linked", case.reason) if linked_to(ask, case) else ("refused", "not_named")


def linked_to(ask: Ask, case: Case) -> str:
    """Which of the records that wait in a case is meant; empty where it cannot be told."""
    others = others_in(case)
    said = ask.to or (others[0] if len(others) == 1 else "")
    return said if said in others else ""


def _assign(draft: Draft, ask: Ask, case: Case) -> Ending:
    """Somebody looks after the case; it stays its owner's, and its deadline stays."""
    name = slot_of(draft.cases, case)
    draft.assigned = {**draft.assigned, name: ask.to} if ask.to else without(draft.assigned, name)
    draft.alter_case("assigned", case)
    return ("assigned", "")


def _comment(_draft: Draft, _ask: Ask, _case: Case) -> Ending:
    """Said, and written down with the resolutions; nothing else."""
    return ("commented", "")


def _reveal(_draft: Draft, _ask: Ask, _case: Case) -> Ending:
    """The values of the case were shown to this person."""
    return ("revealed", "")


def _end(draft: Draft, case: Case) -> None:
    """The case is resolved: what was refused is judged, and what is sent for it carries this person's reason."""
    draft.reason = draft.change.reason
    draft.close_case(case.field, "resolved")
    for key in sorted(draft.systems):
        draft.judge(key, case.field)


def _stands(draft: Draft, name: str, value: Value, source: FieldState) -> None:
    """The value is the current one, in the record's next version; the loop guard begins anew, as after any person."""
    change, field = draft.change, draft.matrix.fields[name]
    draft.version = draft.base.version + 1
    new = replace(
        source, value=value, version=draft.version, at=draft.now, actor=change.actor, role=change.role,
        origin=change.origin, grant=f"{GRANT}{change.role}", rule=field.rule, revision=draft.matrix.revision,
    )  # fmt: skip
    draft.set_current(name, new)
    if name == draft.matrix.stages.field:
        draft.stage_learned = not draft.stages
        draft.care_starts = draft.set_stage(str(value), draft.now)


def _attested(draft: Draft, name: str, evidence: Evidence | None) -> Evidence | None:
    """The evidence of an accepted value; where there is none that can be, or for a value of their own, the person's."""
    if draft.matrix.fields[name].rule not in BY_EVIDENCE:
        return None
    if evidence is not None and evidence.by is not None and evidence.at is not None and evidence.at <= draft.now:
        return evidence
    return Evidence(draft.change.actor, draft.now)


def _against_owner(draft: Draft, name: str) -> bool:
    """Whether the owner's system showed another value than the one resolved on."""
    field = draft.matrix.fields.get(name)
    if field is None:
        return False
    owner = draft.base.systems.get(draft.owner(field))
    return owner is not None and owner.present and owner.shown.get(name) != draft.current(name).value


ACTIONS: Final[dict[str, Callable[[Draft, Ask, Case], Ending]]] = {
    "accept": _accept,
    "keep": _keep,
    "set": _set,
    "dismiss": _dismiss,
    "link": _link,
    "assign": _assign,
    "comment": _comment,
    "reveal": _reveal,
}
KIND_OF: Final[dict[Action, Literal["resolve", "assign", "comment"]]] = {
    "accept": "resolve", "keep": "resolve", "set": "resolve", "dismiss": "resolve", "link": "resolve",
    "assign": "assign", "comment": "comment", "reveal": "comment",
}  # fmt: skip
"""Action -> the kind of change that asks for it."""
RESOLVED: Final = frozenset({"accepted", "kept", "set"})
"""Outcomes by which a field's value is what a person said."""
