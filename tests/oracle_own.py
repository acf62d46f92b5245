"""What is the matter with a record as a whole, as docs/rules.md says it; part of the oracle (``oracle.py``).

Each cause has a case of its own: probable repeats, rows to be read again, systems that lost the record or never got it.
"""

from oracle_follow import Consequences
from oracle_record import Row, Seat, own
from ownership_stream.model import Change, Evidence


class Own(Consequences):
    """The record, and the cases that are of no field."""

    def step_1_position(self, row: Row) -> bool:
        """“Older than the row's last → replay; equal → replay only with an equal change id (snapshot reads pass)”."""
        change = self.change
        if change.position is None:
            replay = change.id in row.ids[-16:]
        elif row.position is None:
            replay = False
        else:
            same = change.position == row.position and change.id == row.ids[-1] and change.op != "r"
            replay = change.position < row.position or same
        if not replay:
            row.position = change.position
            row.ids.append(change.id)
        return replay

    def step_3_fresh(self, row: Row) -> Change:
        """“Count only if they came with the event itself or their own column moved in it… fresh in all at first”."""
        change, old = self.change, row.attributes

        def moved(name: str) -> bool:
            return not row.known or name in change.event or getattr(change, name) != old.get(name)

        acted = moved("actor") or moved("updated_at")
        evidence = {
            name: one
            for name, one in change.evidence.items()
            if one != Evidence() and (not row.known or "evidence" in change.event or row.evidence.get(name) != one)
        }
        fresh = Change(
            id=change.id,
            record=change.record,
            actor=change.actor if acted else None,
            role=change.role if acted else None,
            origin=change.origin if acted else "automation",
            reason=change.reason if moved("reason") and (change.reason or "").strip() else None,
            base=change.base if moved("base") else None,
            marker=change.marker if moved("marker") else None,
            evidence=evidence,
        )
        row.known = True
        row.attributes = {name: getattr(change, name) for name in ("actor", "updated_at", "reason", "base", "marker")}
        row.evidence = {**row.evidence, **change.evidence}
        return fresh

    def match(self) -> None:
        """“A repeat joins” the case of its own cause: each record that this one may be, once."""
        self.quiet = True
        change, reason = self.change, {"match": "duplicate", "candidate": "link_candidate"}[self.change.kind]
        case = self.cases.get(own(reason))
        if change.about not in self.matrix.fields or (case is not None and change.other in case.others):
            return
        if change.other in {change.record, *self.apart}:  # “Dismissed, they are not matched again”
            return
        if case is not None:
            self.events.append(("joined", "", reason))
        self.open_case(own(reason), reason, self.matrix.fields[change.about].escalation)
        self.cases[own(reason)].others = [*self.cases[own(reason)].others, change.other][-8:]

    def reread(self) -> None:
        """“An event that says that a row changed, and not what it now shows, changes nothing and opens a case”."""
        self.quiet = True
        change = self.change
        seat = self.seats[change.system]
        seat.key = seat.key or change.key
        if self.step_1_position(seat.rows.setdefault(change.row, Row())):
            return
        owned = [name for name in self.matrix.fields if self.owner(name) == change.system]
        name = [*owned, *self.matrix.fields][0]
        if own("reread", change.row) in self.cases:
            self.events.append(("joined", "", "reread"))
        self.open_case(own("reread", change.row), "reread", self.matrix.fields[name].escalation)

    def read_again(self) -> None:
        """“The row's next event that carries all of it (a create, a snapshot) or ends it (a delete)”."""
        if self.change.op in {"c", "r", "d"}:
            self.end_own("reread", self.change.row)

    def seen_in(self, seat: Seat) -> None:
        """“A primary row of it was seen”, under the key that the system has it by from then on."""
        seat.key = self.change.key
        if not seat.present:
            ours = any(self.before[self.change.system].out.values())
            seat.present, self.appeared, self.sweep = True, True, ours or self.change.op != "r"
            self.end_own("absent", self.change.system)
            self.end_own("uncreated", self.change.system)

    def end_own(self, reason: str, about: str) -> None:
        """The cause is gone."""
        if own(reason, about) in self.cases:
            self.end_case(own(reason, about), "converged")
