"""Records that are linked, merged and split: all decide lanes as one log, on which what lanes write comes back.

Each partition keeps its order; which partition is worked on next is drawn, or simply the first that has something.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ownership_stream.identity import partition_of
from ownership_stream.links import Home, Homes
from ownership_stream.model import Change, Identity, RecordState, Value, identity_of
from ownership_stream.wire import Link
from step_kit import MINUTE, START, TOPICS, DecideLane, applies_in, changes_in, decide_step, on, row

HOMES: Final = Homes({"ehr": Home("ehr:", "", linked=True), "crm": Home()})
"""As the shipped mappings make them."""
BORN: Final = "1980-01-02"
NAME: Final[dict[str, Value]] = {"family": "Doe", "given": "Ann"}
MOST: Final = 500
"""Changes that may follow from a history before it counts as one without an end."""


class Lanes(DecideLane):
    """Lanes that read what they write."""

    def __init__(self, choose: Callable[[Sequence[int]], int] = min, **said: Any) -> None:
        super().__init__(decide_step(homes=HOMES, **said))
        self._choose = choose
        self._log: dict[int, deque[Change]] = defaultdict(deque)
        self.decided: list[Change] = []

    def give(self, *changes: Change) -> "Lanes":
        """Put changes on the log; nothing is decided yet."""
        for change in changes:
            self._log[partition_of(change.record, TOPICS.partitions)].append(change)
        return self

    def work(self) -> bool:
        """Decide one change; whether there was one."""
        waiting = sorted(partition for partition, changes in self._log.items() if changes)
        if not waiting:
            return False
        change = self._log[self._choose(waiting)].popleft()
        self.decided.append(change)
        assert len(self.decided) < MOST
        self.give(*changes_in(self.decide(change).outputs))
        return True

    def tell(self, *changes: Change) -> "Lanes":
        """Put changes on the log, and decide until nothing is left."""
        self.give(*changes)
        while self.work():
            pass
        return self

    def identity(self, record: str) -> Identity:
        """What a record knows of its identity."""
        return identity_of(self.known(record))

    def known(self, record: str) -> RecordState:
        """A record's state; a new one where it has none."""
        return self.state(record) if record in self.stored else RecordState()

    def current(self, record: str, name: str) -> Value:
        """A record's current value."""
        found = self.known(record).fields.get(name)
        return None if found is None or not found.version else found.value

    def cases(self, record: str) -> dict[str, str]:
        """A record's open cases: field -> reason."""
        return {name: case.reason for name, case in self.known(record).cases.items()}

    def sent(self, system: str) -> list[tuple[str, tuple[str, ...]]]:
        """(record, columns) of what a system was sent."""
        return [(one.sync.record_id, one.sync.changed_fields) for one in applies_in(self.outputs, system)]

    def links(self) -> dict[str, str]:
        """The newest links."""
        found = [msgspec.json.decode(output.value or b"", type=Link) for output in on(self.outputs, TOPICS.links)]
        return {link.key: link.record for link in found}


def patient(key: str, number: int, link: str | None = None, *, op: str = "u", **fields: Any) -> Change:
    """A row of the EHR under a native key, which names a contact or none."""
    said = fields or {"legal_name": NAME, "date_of_birth": BORN}
    record = link or f"ehr:{key}"
    change = row(record, number, "ehr", said, op=op, key=key, row=f"ehr/patient/{key}")
    return replace(change, id=f"ehr-{key}-{number}")


def contact(key: str, number: int, *, op: str = "u", **fields: Any) -> Change:
    """A row of the CRM."""
    change = row(key, number, "crm", fields or {"care_stage": "new_lead", "legal_name": NAME}, op=op)
    return replace(change, id=f"crm-{key}-{number}")


def says(kind: Any, record: str, other: str = "", number: int = 900, by: str = "dana") -> Change:
    """What a person says about whose a record is."""
    return Change(
        id=f"{kind}-{record}-{other}-{number}", record=record, kind=kind, other=other, at=START + number * MINUTE,
        actor=by, role="clinical_ops", origin="person", reason="looked at both charts",
    )  # fmt: skip
