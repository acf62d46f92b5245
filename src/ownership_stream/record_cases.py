"""What opens a case of the record itself and decides no field: it may be another one's repeat, or must be read again.

Pure. A record has at most one such case, under the name ``""``; whoever comes later joins it.
"""

from typing import Final

from msgspec.structs import replace

from ownership_stream.delta import is_replay
from ownership_stream.draft import Draft
from ownership_stream.model import Proposal, RowState

PROBABLE: Final = frozenset({"duplicate", "link_candidate"})
"""Reasons of a record's case that more matches join."""


def match(draft: Draft) -> None:
    """The record probably exists already: a person looks; what is written to it goes its way meanwhile.

    What waits in the case is the other record's id, each once.
    """
    change, case = draft.change, draft.cases.get("")
    field = draft.matrix.fields.get(change.about)
    known = case is not None and (
        case.reason not in PROBABLE or change.other in [waiting.value for waiting in case.proposals]
    )
    if field is not None and not known:
        waits = Proposal(change.system, change.other, change.id, change.at)
        draft.open_case("", "duplicate" if change.kind == "match" else "link_candidate", field.escalation, waits)


def reread(draft: Draft) -> None:
    """The row changed, and nobody said what: somebody has it read again (section 2, *Read again*)."""
    change = draft.change
    system = draft.system(change.system)
    known = system.rows.get(change.row, RowState())
    if is_replay(known, change):
        return
    system.rows = {**system.rows, change.row: replace(known, position=change.position, change_id=change.id)}
    fields = draft.matrix.fields.values()
    owned = next((field for field in fields if draft.owner(field) == change.system), next(iter(fields)))
    proposal = Proposal(change.system, None, change.id, change.at, change.row, change.position, change.actor)
    draft.open_case("", "reread", owned.escalation, proposal)


def is_read_again(draft: Draft) -> bool:
    """Whether this event shows the whole of a row that was to be read again."""
    case, change = draft.cases.get(""), draft.change
    waits = case is not None and case.reason == "reread" and case.proposals[-1].row == change.row
    return waits and change.op in ("c", "r", "d")
