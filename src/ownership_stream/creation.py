"""When a record is made in a system that has none of its rows, as the matrix says: *Creation* of ``docs/rules.md``.

Until then nothing is sent to that system, and what is current is held in the state. Then one send makes the row, with
all that is expected of the system, and its landing is told by the record's id in the row's link column. A system
that has ever shown a row of the record is never made one: what was deleted there does not come back by this.
"""

from typing import Final

from ownership_stream.draft import LANDING_TIME, NOTHING, Draft
from ownership_stream.effects import SNAPSHOT_GRANT
from ownership_stream.model import SystemState
from ownership_stream.slots import has_own

NOWHERE: Final = SystemState()


def create(draft: Draft) -> None:
    """Make the record in each system where it is due and has never been."""
    for key, stages in draft.matrix.creates.items():
        system = draft.systems.get(key, NOWHERE)
        if system.present or system.rows or system.outstanding or draft.stage_now() not in stages:
            continue
        # A snapshot only finds what is there: nobody did anything for which the record should now be made.
        if draft.current(draft.matrix.stages.field).grant != SNAPSHOT_GRANT and _may(draft, key, system):
            _seed(draft, key, again=False)


def is_under_way(system: SystemState | None) -> bool:
    """Whether the record was sent to be made in a system, and its row has not come back."""
    return system is not None and not system.present and bool(system.outstanding)


def overdue(draft: Draft, key: str) -> None:
    """A row that does not come back is sent once more, with what is expected by then; after that it is a case."""
    system = draft.systems[key]
    newest = max((sent[-1] for sent in system.outstanding.values()), key=lambda sent: (sent.at, sent.again))
    if newest.at + LANDING_TIME > draft.now or not _may(draft, key, system):
        return
    if newest.again:
        draft.system(key).outstanding = {}
        owner = draft.matrix.fields[draft.matrix.stages.field].escalation
        draft.open_own("uncreated", owner, about=key, system=key)
    else:
        _seed(draft, key, again=True)


def _may(draft: Draft, key: str, system: SystemState) -> bool:
    """Whether a row may be made now: nothing is held back, and no case asks who or where this record is."""
    return not (system.paused or draft.paused or key in draft.withheld or has_own(draft.cases))


def _seed(draft: Draft, key: str, *, again: bool) -> None:
    """Send all that is expected of the system, but what stands in tables that are only read."""
    draft.created += (key,)
    waiting = draft.system(key).outstanding
    for name, field in draft.matrix.fields.items():
        value = draft.expected(key, name, field)
        if key in field.read_only or value is NOTHING:
            continue
        if value is not None or name in waiting:
            draft.send(key, name, value, restore=False, again=again)
