"""Row events: whose record a row is, as its key's home says; and what is done where that is in doubt."""

from msgspec.structs import replace

from ownership_stream.decide import decision_of
from ownership_stream.draft import without
from ownership_stream.links.flow import BIRTH, CYCLE, MAX_HOPS, REFUSED, SECOND, Flow, know, link_changed
from ownership_stream.merge import BIRTH_DATE, born, differ
from ownership_stream.model import Decision, Silent, SystemState
from ownership_stream.silent import silent_name, silent_row, wake


def row(flow: Flow) -> Decision:
    """A row event, decided here or sent on."""
    change, identity = flow.change, flow.identity
    home = flow.homes.of(change.system, change.key)
    if home is None and not identity.moved:
        return flow.decide()
    if change.hops > MAX_HOPS:
        return flow.held(change.named or home or flow.record, CYCLE)
    if identity.moved:
        return _at_moved(flow, home)
    if home is None or home == flow.record:
        return _at_home(flow)
    return _at_record(flow, home)


def _at_home(flow: Flow) -> Decision:
    """A row whose record is its own key's home: it is decided here, or it names another record."""
    change, identity = flow.change, flow.identity
    claim = change.named
    if _is_silent(flow):
        return _silent(flow)
    if not claim or claim == flow.record or claim in identity.denied or identity.doubts:
        if _brings_another_birth_date(flow):
            return flow.held(_other_home(flow), BIRTH)
        return flow.decide()
    if not flow.smaller(claim):
        return flow.held(claim, CYCLE)
    decision = flow.move(claim, keep=False)
    flow.forward(claim, home=flow.record)
    return decision


def _at_moved(flow: Flow, home: str | None) -> Decision:
    """The row's record was linked or merged: on to that one, unless the row says that its link has changed."""
    change, identity = flow.change, flow.identity
    if home != flow.record:
        flow.forward(identity.moved, named=change.named or flow.record, home=change.home)
        return flow.same()
    cleared = not change.named and change.primary and change.op != "d" and flow.homes.linked(change.system)
    claim = change.named or (flow.record if cleared else identity.moved)
    known = {identity.moved, identity.following, *identity.denied, *identity.doubts}
    decision = flow.same() if claim in known else link_changed(flow, claim)
    flow.forward(identity.moved, home=flow.record)
    return decision


def _at_record(flow: Flow, home: str) -> Decision:
    """A row that names this record, under a native key whose home is another."""
    change, identity = flow.change, flow.identity
    seat = flow.state.systems.get(change.system)
    speaks = seat is not None and seat.key == change.key
    asking = home in identity.asked
    if home in identity.left or (change.home != home and asking):
        return _ask(flow, home)
    if change.home == home:
        return _confirmed(flow, home, speaks=speaks)
    if _is_silent(flow):
        return _silent(flow)
    if speaks:
        return flow.decide()
    if "key" in change.event and seat is not None and seat.present:
        # The connector says that a row of this record goes on under another key: that key's home is told.
        flow.say("link", home)
        return flow.decide()
    return _ask(flow, home)


def _ask(flow: Flow, home: str) -> Decision:
    """The key's home knows whose it is: the row goes there, and all that follow it until the last has come back."""
    flow.forward(home, named=flow.change.named or flow.record)
    asked = {**flow.identity.asked, home: flow.change.id}
    return flow.with_identity(replace(flow.identity, asked=asked))


def _confirmed(flow: Flow, home: str, *, speaks: bool) -> Decision:
    """The home has said that the key is this record's."""
    change, identity = flow.change, flow.identity
    if identity.asked.get(home) == change.id:
        know(flow, replace(identity, asked=without(identity.asked, home)))
    if change.named and home not in flow.identity.merged:
        # It came by the mark of a record that was merged here, and would leave with that one.
        know(flow, replace(flow.identity, merged={**flow.identity.merged, home: change.named}))
    if not speaks and identity.doubts.get(home) in REFUSED:
        flow.forward(home, named=change.named or flow.record)
        return flow.same()
    if _is_silent(flow):
        return _silent(flow)
    seat = flow.state.systems.get(change.system)
    if seat is not None and seat.key and not speaks and "key" not in change.event:
        if home in identity.merged and (seat.present or not change.primary):
            return _silent(flow)
        if seat.present:
            return _refuse(flow, home, SECOND)
    if not speaks and _brings_another_birth_date(flow):
        return _refuse(flow, home, BIRTH)
    return flow.decide()


def _refuse(flow: Flow, home: str, why: str) -> Decision:
    """The row stays with its home, where it waits; nothing of it is taken here."""
    flow.say("doubt", home, about=why)
    flow.forward(home, named=flow.change.named or flow.record)
    know(flow, replace(flow.identity, merged=without(flow.identity.merged, home)))
    return flow.raise_doubt(home, why)


def _is_silent(flow: Flow) -> bool:
    """Whether another key of its system speaks for the record; a primary row that comes speaks where none is there."""
    known = flow.identity.silent.get(_name(flow))
    if known is None:
        return False
    seat = flow.state.systems.get(flow.change.system)
    there = known.seat.present or (seat is not None and seat.present)
    if there or not flow.change.primary or flow.change.op == "d":
        return True
    draft = flow.draft()
    wake(draft, _name(flow))
    flow.identity, flow.state = draft.identity, draft.to_state()
    return False


def _name(flow: Flow) -> str:
    return silent_name(flow.change.system, flow.change.key)


def _silent(flow: Flow) -> Decision:
    """A row of a system that speaks here by another one."""
    draft, name = flow.draft(), _name(flow)
    change, identity = flow.change, flow.identity
    if name not in identity.silent:
        found = Silent(change.system, SystemState(key=change.key))
        draft.identity = replace(identity, silent={**identity.silent, name: found})
    silent_row(draft, name)
    return decision_of(draft)


def _brings_another_birth_date(flow: Flow) -> bool:
    """Whether the row is the first of its system here, and of somebody who was born on another day."""
    change = flow.change
    seat = flow.state.systems.get(change.system)
    first = change.primary and change.op != "d" and (seat is None or not seat.present)
    return first and differ(change.fields.get(BIRTH_DATE), born(flow.matrix, flow.state))


def _other_home(flow: Flow) -> str:
    """The home of another system's row in this record; the record itself where there is none."""
    for key in sorted(flow.state.systems):
        home = flow.homes.of(key, flow.state.systems[key].key)
        if home is not None and home != flow.record:
            return home
    return flow.record
