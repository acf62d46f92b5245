"""Whose a row is: native keys linked to records, records merged, and what is in doubt (docs/adr/0009).

Every native key has a *home*: the record that its rows belong to while no link names another. The home alone says
whose the key is. A row that names a record which does not know its key yet goes to the key's home first and comes
back with its word, so that the record takes no row that another has. A record that was linked or merged leaves a
*forwarding mark*, and its history goes to the other one through the log, written in the same transaction as the mark.

Pure: a state and a change in; a decision, and changes for other records, out. What becomes of values is ``merge.py``'s
and ``decide``'s.

- ``flow.py`` a change at work, homes, doubts; ``rows.py`` row events; ``words.py`` what people and records say.
"""

from collections.abc import Mapping

from ownership_stream.decide import decide
from ownership_stream.links.flow import DOUBTS, MAX_HOPS, Flow, Home, Homes, Settled
from ownership_stream.links.words import KINDS, send_back
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, LinkedState, RecordState, SystemState, identity_of
from ownership_stream.silent import silent_name

__all__ = ["DOUBTS", "Home", "Homes", "Settled", "seat_of", "settle"]


def settle(
    matrix: Matrix, homes: Homes, state: RecordState | None, change: Change, withheld: frozenset[str]
) -> Settled:
    """Decide a change, or what it says of whose record it is; arguments as of ``decide``."""
    if change.kind == "row" and not change.hops and not isinstance(state, LinkedState):
        seat = None if state is None else state.systems.get(change.system)
        # Almost every change: of a row that the record knows already.
        if (seat is not None and seat.key == change.key) or homes.of(change.system, change.key) is None:
            return Settled(decide(matrix, state, change, withheld))
    flow = Flow(matrix, homes, state, change, withheld)
    step = KINDS.get(change.kind)
    if change.named in flow.identity.left and change.hops <= MAX_HOPS:
        # It followed a mark to here that is no more.
        step = send_back
    return Settled(flow.decide() if step is None else step(flow), tuple(flow.out), tuple(flow.links), tuple(flow.told))


def seat_of(
    homes: Homes, states: Mapping[str, RecordState], system: str, key: str, record: str
) -> tuple[str, SystemState] | None:
    """Which record has the row of a native key, and what is known of it there.

    It is its home's, or where the marks lead from there; ``record``, as intake addressed it, where it has no home.
    """
    record = homes.of(system, key) or record
    while moved := identity_of(states.get(record)).moved:
        record = moved
    state = states.get(record)
    if state is None:
        return None
    silent = identity_of(state).silent.get(silent_name(system, key))
    seat = state.systems.get(system) if silent is None else silent.seat
    return None if seat is None or seat.key != key else (record, seat)
