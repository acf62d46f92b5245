"""What people say of whose a record is, and what records say to each other by it."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from ownership_stream.decide import decision_of, go_on
from ownership_stream.draft import without
from ownership_stream.links.flow import (
    APART,
    BIRTH,
    CHANGED,
    CONFIRMED,
    CYCLE,
    MAX_HOPS,
    PART,
    REFUSED,
    SECOND,
    Flow,
    know,
    link_changed,
    packed,
    united,
    unpacked,
)
from ownership_stream.links.rows import row
from ownership_stream.merge import born, close_link_case, differ, merge, settle_doubt, split
from ownership_stream.model import CaseEvent, Decision, RecordState, identity_of
from ownership_stream.record_cases import keep_apart, others_in
from ownership_stream.resolve import linked_to
from ownership_stream.silent import silent_name, silent_reread

# -------------------------------------------------------------------------------------------------- what people say


def _link(flow: Flow) -> Decision:
    """This record and the other are the same person: by a person's word, or as a row begins with it."""
    change, identity, other = flow.change, flow.identity, flow.change.other
    if other in (flow.record, identity.moved):
        return flow.same()
    if identity.moved:
        known = not change.actor and other in (*identity.denied, *identity.doubts)
        return flow.same() if known else link_changed(flow, other)
    if not flow.smaller(other):
        flow.out.append(replace(change, record=other, other=flow.record, hops=change.hops + 1, received=0))
        return flow.same()
    if other in identity.denied and not change.actor:
        flow.say("doubt", other, about=CHANGED)
        return flow.raise_doubt(other, CHANGED)
    return flow.move(other, keep=bool(change.actor))


def _confirm(flow: Flow) -> Decision:
    """A person says that this record's rows are the other's, whatever speaks against it."""
    change, identity, other = flow.change, flow.identity, flow.change.other
    doubts = identity.doubts
    if other == flow.record:
        return flow.same()
    if identity.moved == other:
        for party in (other, *(one for one in doubts if one not in (other, flow.record))):
            flow.say("settle", party)
        flow.told.append(("confirmed", other))
        return flow.with_identity(replace(identity, doubts={}, denied=united(identity.denied, *doubts)))
    if identity.moved:
        return _call_back(flow, other)
    if not flow.smaller(other):
        flow.out.append(replace(change, record=other, other=flow.record, hops=change.hops + 1, received=0))
        return flow.same()
    flow.told.append(("confirmed", other))
    know(flow, replace(identity, denied=united(identity.denied, *(one for one in doubts if one != other))))
    return flow.move(other, CONFIRMED)


def _unlink(flow: Flow) -> Decision:
    """A person says that this record's rows are nobody else's."""
    identity = flow.identity
    flow.told.append(("unlinked", identity.moved))
    if identity.moved:
        return _call_back(flow, flow.record)
    for party in identity.doubts:
        flow.say("settle", party)
    draft = flow.draft()
    draft.identity = replace(identity, doubts={}, denied=united(identity.denied, *identity.doubts))
    close_link_case(draft)
    go_on(draft)
    return decision_of(draft)


def _call_back(flow: Flow, to: str) -> Decision:
    """The history is asked back from where it went; until it is here, changes still follow it there."""
    identity = flow.identity
    for party in identity.doubts:
        if party not in (to, flow.record):
            flow.say("settle", party)
    flow.say("split", identity.moved)
    denied = tuple(one for one in united(identity.denied, identity.moved, *identity.doubts) if one != to)
    return flow.with_identity(replace(identity, following=to, doubts={}, denied=denied))


def _ask(flow: Flow) -> Decision:
    """What a person asks of a case; where two records are linked or kept apart by it, the other one is told."""
    if flow.identity.moved:
        return _pass_on(flow)
    decision, ask = flow.decide(), flow.change.ask
    answer = decision.answer
    if ask is not None and answer is not None and answer.case is not None:
        if answer.outcome == "linked":
            flow.say("link", linked_to(ask, answer.case))
        elif answer.outcome == "dismissed":
            for other in others_in(answer.case):
                flow.say("settle", other, about=APART)
    return decision


# --------------------------------------------------------------------------------------- what records say to each other


def _merge(flow: Flow) -> Decision:
    """Another record's history: all of it is taken, or both stand still; or this record's own comes back."""
    change, identity, other = flow.change, flow.identity, flow.change.other
    theirs = unpacked(change.history)
    if change.about == PART and identity.moved == other:
        return _come_back(flow, theirs)
    if identity.moved:
        return _pass_on(flow)
    overtaken = not change.history and change.about != CONFIRMED and identity.doubts.get(other) in REFUSED
    if other in identity.merged or overtaken:
        return flow.same()
    why = "" if change.about == CONFIRMED else _against(flow, theirs)
    if why:
        flow.say("doubt", other, about=why, history=change.history)
        return flow.raise_doubt(other, why)
    flow.told.append(("merged", other))
    return merge(flow.matrix, flow.state, theirs, change, flow.withheld)


def _against(flow: Flow, theirs: RecordState) -> str:
    """What speaks against a merge that nobody has confirmed."""
    if differ(born(flow.matrix, flow.state), born(flow.matrix, theirs)):
        return BIRTH
    mine = flow.state.systems
    twice = any(
        seat.present and key in mine and mine[key].present and mine[key].key != seat.key
        for key, seat in theirs.systems.items()
    )
    return SECOND if twice and not flow.change.actor else ""


def _come_back(flow: Flow, theirs: RecordState) -> Decision:
    identity = flow.identity
    to, gone = identity.following, identity.moved
    denied = tuple(one for one in united(identity.denied, gone) if one != to)
    flow.state, flow.identity = theirs, identity_of(theirs)
    know(flow, replace(flow.identity, denied=denied, doubts=identity.doubts))
    if to not in ("", flow.record):
        if flow.smaller(to):
            return flow.move(to, CONFIRMED)
        flow.say("confirm", to)
    flow.link(flow.record)
    draft = flow.draft()
    draft.case_events = tuple(CaseEvent("changed", case) for _, case in sorted(theirs.cases.items()))
    go_on(draft)
    return decision_of(draft)


def _split(flow: Flow) -> Decision:
    """The other record's rows leave this one, with what came from them."""
    if flow.identity.moved:
        return _pass_on(flow)
    other, draft = flow.change.other, flow.draft()
    records = _with_those_it_brought(flow.identity.merged, other)
    seats = [(key, key, seat.key) for key, seat in flow.state.systems.items()]
    seats += [(name, one.system, one.seat.key) for name, one in flow.identity.silent.items()]
    theirs = [name for name, system, key in seats if flow.homes.of(system, key) in records]
    part = split(draft, other, records, theirs)
    draft.identity = replace(draft.identity, doubts=without(draft.identity.doubts, other))
    close_link_case(draft)
    go_on(draft)
    flow.say("merge", other, about=PART, history=packed(part))
    flow.told.append(("split", other))
    return decision_of(draft)


def _with_those_it_brought(merged: Mapping[str, str], record: str) -> set[str]:
    """A merged record, and all that came by its mark."""
    found, before = {record}, 0
    while len(found) > before:
        before = len(found)
        found |= {one for one, by in merged.items() if by in found}
    return found


def _doubt(flow: Flow) -> Decision:
    """Another record doubts that both are one; a history that was not taken comes back with it."""
    change, identity, other = flow.change, flow.identity, flow.change.other
    if identity.moved and change.about != CHANGED:
        flow.state = unpacked(change.history)
        flow.identity = identity_of(flow.state)
        denied = united(flow.identity.denied, *identity.denied)
        know(flow, replace(flow.identity, denied=denied, doubts=identity.doubts))
        flow.link(flow.record)
    elif identity.moved:
        return _pass_on(flow)
    return flow.raise_doubt(other, change.about)


def _settle(flow: Flow) -> Decision:
    """A person has answered a doubt, or a probable match."""
    if flow.identity.moved:
        return _pass_on(flow)
    draft = flow.draft()
    if flow.change.about == APART:
        keep_apart(draft, flow.change.other)
    else:
        settle_doubt(draft, flow.change.other)
    return decision_of(draft)


def _pass_on(flow: Flow) -> Decision:
    """What is said to a record that was linked or merged is said to that one."""
    if flow.change.hops > MAX_HOPS:
        return flow.raise_doubt(flow.change.other or flow.identity.moved, CYCLE)
    flow.forward(flow.identity.moved, named=flow.record)
    return flow.same()


def _reread(flow: Flow) -> Decision:
    """A row changed, and nobody said what; it may be one that speaks for nobody."""
    draft, name = flow.draft(), silent_name(flow.change.system, flow.change.key)
    if flow.identity.moved or name not in flow.identity.silent:
        return _still(flow)
    silent_reread(draft, name)
    return decision_of(draft)


def send_back(flow: Flow) -> Decision:
    """A change for a record that has left this one again."""
    flow.forward(flow.change.named, home=flow.change.home)
    return flow.same()


def _still(flow: Flow) -> Decision:
    """Time, pauses and matches are nothing to a record that was linked or merged: they go where it went."""
    if not flow.identity.moved:
        return flow.decide()
    return flow.same() if flow.change.kind == "tick" else _pass_on(flow)


KINDS: Final[Mapping[str, Callable[[Flow], Decision]]] = {
    "row": row,
    "link": _link,
    "confirm": _confirm,
    "unlink": _unlink,
    "merge": _merge,
    "split": _split,
    "doubt": _doubt,
    "settle": _settle,
    "tick": _still,
    "pause": _still,
    "resume": _still,
    "match": _still,
    "candidate": _still,
    "reread": _reread,
    "resolve": _ask,
    "assign": _ask,
    "comment": _ask,
}
