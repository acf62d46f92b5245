"""The desk where actions are carried out: an action and the rows in, the connector's events out.

It knows patients' keys in both systems and what a connector sent last. When things happen is ``clinic.py``'s; it has no
clock and no Kafka.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from ownership_stream.demo.actions import Action, Create, Delete, Edit, Noise, Reread, Resend
from ownership_stream.demo.people import STAFF, Written
from ownership_stream.demo.systems import Event, System
from ownership_stream.identity import salesforce_id
from ownership_stream.matrix.compiled import Matrix, Summary
from ownership_stream.model import Op

NOISE_KEY: Final = b'{"noise":1}'
TAIL: Final = 20
"""Last records that a connector may send again."""
FIRST_NUMBER: Final = 1_000


class Desk:
    """Both systems' rows. ``began``: the moment that the times of existing rows are told from, milliseconds."""

    def __init__(self, matrix: Matrix, systems: Mapping[str, System], began: int) -> None:
        self.patients = 0
        self._matrix, self._systems, self._began = matrix, systems, began
        self._tails: dict[str, deque[Event]] = {name: deque(maxlen=TAIL) for name in systems}

    def carry_out(self, action: Action, now: int) -> list[Event]:
        """What the connector writes of it, in order; nothing where the patient's row is not there."""
        system = self._systems[action.system]
        if isinstance(action, Noise):
            return [Event(system.topic, NOISE_KEY, action.value)]
        if isinstance(action, Resend):
            return list(self._tails[action.system])[-action.records :]
        events = self._written(system, action, now)
        self._tails[action.system].extend(event for event in events if event.value is not None)
        return events

    def _written(self, system: System, action: Create | Edit | Reread | Delete, now: int) -> list[Event]:
        key = key_of(action.system, action.patient)
        if isinstance(action, Create):
            return [self._create(system, key, action, now)]
        if key not in system.rows:
            return []
        match action:
            case Edit():
                return [self._edit(system, key, action, now)]
            case Reread():
                return [system.snapshot(key, now)]
            case Delete():
                return system.delete(key, STAFF[action.writer], now)

    def _create(self, system: System, key: str, create: Create, now: int) -> Event:
        given = {name: self._view(create.system, name, value) for name, value in create.given.items()}
        # Whoever is in the CRM has been counted there.
        self.patients += create.system == "crm" or not create.linked
        link = key_of("crm", create.patient) if create.linked else ""
        # What both systems have from the start has the same times in both.
        at = self._began if create.snapshot else now
        op: Op = "r" if create.snapshot else "c"
        return system.create(key, given, STAFF[create.writer], at, link=link, op=op)

    def _edit(self, system: System, key: str, edit: Edit, now: int) -> Event:
        return system.edit(
            key,
            edit.given,
            STAFF[edit.writer],
            now - 1000 * edit.late,
            reason=edit.reason,
            base={"": None, "seen": system.rows[key].version, "old": 0}[edit.base],
            confirmed=edit.confirmed,
            use=edit.use,
        )

    def _view(self, system: str, name: str, value: Written) -> Written:
        """What a system shows of a value: some read the summary only."""
        view = self._matrix.fields[name].views[system]
        if isinstance(view, Summary) and not isinstance(value, Mapping) and value is not None:
            return view.of(str(value))
        return value


def key_of(system: str, patient: int) -> str:
    """A system's own key of a patient; the CRM's is the record id."""
    return salesforce_id(f"0032X00002QU{patient:03d}") if system == "crm" else str(FIRST_NUMBER + patient)
