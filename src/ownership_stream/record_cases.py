"""What opens a case of the record itself and decides no field: it may be another one's repeat, or must be read again.

Pure. Each cause has a slot of its own (``slots.py``), and whoever comes later with the same one joins it.
"""

from typing import Final

from msgspec.structs import replace

from ownership_stream.delta import is_replay, recent_ids
from ownership_stream.draft import Draft
from ownership_stream.model import Case, Proposal, RowState
from ownership_stream.slots import slot

PROBABLE: Final = frozenset({"duplicate", "link_candidate"})
"""Reasons of cases that more matches join."""
ENDED_BY_ITS_ROW: Final = ("absent", "uncreated")
"""Reasons of cases that end as soon as the system has the record."""


def match(draft: Draft) -> None:
    """The record probably exists already: a person looks; what is written to it goes its way meanwhile.

    What waits in the case is the other record's id, each once.
    """
    change, identity = draft.change, draft.identity
    reason = "duplicate" if change.kind == "match" else "link_candidate"
    field, case = draft.matrix.fields.get(change.about), draft.cases.get(slot(reason))
    # The match lane knows of no links, nor of what people have said.
    known = change.other in (change.record, *identity.merged, *identity.denied, *identity.apart)
    known = known or (case is not None and change.other in others_in(case))
    if field is not None and not known:
        draft.open_own(reason, field.escalation, Proposal(change.system, change.other, change.id, change.at))


def keep_apart(draft: Draft, *others: str) -> None:
    """A person has said that these are other people: no match with them opens a case again."""
    draft.identity = replace(draft.identity, apart=tuple(sorted({*draft.identity.apart, *others})))


def others_in(case: Case) -> tuple[str, ...]:
    """The records that wait in a case of a probable match."""
    return tuple(str(one.value) for one in case.proposals) if case.reason in PROBABLE else ()


def reread(draft: Draft) -> None:
    """The row changed, and nobody said what: somebody has it read again (section 2, *Read again*)."""
    system = draft.system(draft.change.system)
    system.key = system.key or draft.change.key
    system.rows = noted(draft, system.rows)


def noted(draft: Draft, rows: dict[str, RowState]) -> dict[str, RowState]:
    """The rows of a native key once that stands among them; its case is open."""
    change = draft.change
    known = rows.get(change.row, RowState())
    if is_replay(known, change):
        return rows
    fields = draft.matrix.fields.values()
    owned = next((field for field in fields if draft.owner(field) == change.system), next(iter(fields)))
    proposal = Proposal(change.system, None, change.id, change.at, change.row, change.position, change.actor)
    draft.open_own("reread", owned.escalation, proposal, about=change.row)
    seen = replace(known, position=change.position, change_id=change.id, recent=recent_ids(known, change))
    return {**rows, change.row: seen}


def was_read_again(draft: Draft) -> None:
    """An event that shows the whole of its row, or its end, closes the case of that row."""
    if draft.change.op in ("c", "r", "d"):
        draft.close_case(slot("reread", draft.change.row), "converged")


def went(draft: Draft, key: str, escalation: str) -> None:
    """A system that owns values of the record has lost it: somebody looks whether that was meant."""
    if slot("absent", key) not in draft.cases:
        draft.open_own("absent", escalation, about=key)


def came(draft: Draft, key: str) -> None:
    """The system has the record: what waited for that ends, and what waits in a state that cannot say which it is."""
    for reason in ENDED_BY_ITS_ROW:
        draft.close_case(slot(reason, key), "converged")
        draft.close_case(slot(reason), "converged")
