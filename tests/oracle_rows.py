"""Several rows of one record, of which one speaks, as docs/rules.md, section 1, says it; part of the oracle.

“To everything below all rows of the table are one row”: an event of one of them comes here first, and goes on as what
they say by it as one, or as nothing. The bound on rows that are remembered is out of its histories' reach.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from oracle_own import Own
from oracle_record import Row, Write, canonical
from ownership_stream.model import Change, Value


@dataclass
class Told:
    """One of the rows, as it last was."""

    last: Row = field(default_factory=Row)
    rank: tuple[int, ...] | None = None
    fields: dict[str, Value] = field(default_factory=dict)


@dataclass
class Table:
    """The rows of one table."""

    system: str
    rows: dict[str, Told] = field(default_factory=dict)
    speaker: str = ""
    spoke_of: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    turn: int = 0


class Several(Own):
    """The record, and its tables of several rows."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.tables: dict[str, Table] = {}

    def heard(self) -> bool:
        """Whether the event of one of several rows says anything; from then on it is what they say as one."""
        said = self.hear()
        if said is None:
            self.outcomes = {(name, False): ("noop", "") for name in self.change.fields} | self.outcomes
            return False
        self.change = said
        return True

    def hear(self) -> Change | None:
        """What the rows say by this event as one row; ``None``: nothing that is new, or that can be told."""
        change = self.change
        table = self.tables.setdefault(change.among, Table(change.system))
        told = table.rows.setdefault(change.row, Told())
        if self.step_1_position(told.last):
            self.outcomes = {(name, False): ("replay", "") for name in change.fields}
            return None
        before = replace(told, fields=dict(told.fields))
        fresh = self.step_3_fresh(told.last)
        self.stand_up(told)
        first = self.first(table)
        speaker = table.speaker if table.speaker in first else min(first, default="")
        known, table.unclear = table.unclear, self.disputed(table, first)
        self.ask_about(table, known, before, speaker)
        if table.unclear:
            return None
        newly, was, table.speaker = speaker != table.speaker or bool(known), table.spoke_of, speaker
        if speaker and (newly or speaker == change.row):
            row = table.rows[speaker]
            names = list(row.fields) if newly else [name for name in change.fields if name in row.fields]
            table.spoke_of = was | set(row.fields)
            said: dict[str, Value] = {name: row.fields[name] for name in names}
            return self.as_one(table, said, row.last.evidence if newly else fresh.evidence, fresh)
        if not speaker and was:
            table.spoke_of = set()
            return self.as_one(table, dict.fromkeys(was), {}, fresh)
        return None

    def stand_up(self, told: Told) -> None:
        """The row as it now is: of one that does not stand nothing is remembered but its position."""
        change = self.change
        if change.op == "d":
            told.last.known, told.last.attributes, told.last.evidence = False, {}, {}
        told.rank = None if change.op == "d" else change.rank
        before = told.fields if told.rank is not None else {}
        told.fields = dict(before)
        if told.rank is not None:
            for name, value in change.fields.items():
                old = before.get(name)
                both = isinstance(value, dict) and isinstance(old, dict)
                told.fields[name] = canonical({**old, **value} if both else value)  # type: ignore[dict-item]  # both are

    def first(self, table: Table) -> list[str]:
        """“The standing row of the greatest rank *speaks*”: all that have it."""
        ranks = [one.rank for one in table.rows.values() if one.rank is not None]
        return [name for name, one in table.rows.items() if ranks and one.rank == max(ranks)]

    def disputed(self, table: Table, first: list[str]) -> set[str]:
        """“Where … rows of the greatest rank say different things”; what one says and another never did differs too."""
        said = [table.rows[name].fields for name in first]
        names = {name for one in said for name in one}
        return {name for name in names if any(one.get(name, self) != said[0].get(name, self) for one in said)}

    def ask_about(self, table: Table, known: set[str], before: Told, speaker: str) -> None:
        """“The field is ``queued: speaker``, current and shown stay, and the case ends when it can be told again”."""
        change, told = self.change, table.rows[self.change.row]
        for name in known - table.unclear:
            if name in self.cases and self.cases[name].reason == "speaker":
                self.end_case(name, "converged")
        contends = change.row in self.first(table)
        for name in sorted(table.unclear):
            moved = contends and (before.rank != told.rank or before.fields.get(name) != told.fields.get(name))
            if name in known and not moved:
                continue
            row = change.row if contends else speaker
            self.queue(self.as_proposal(name, row, table.rows[row].fields.get(name)), "speaker")
            if contends and name in change.fields:
                self.outcomes[name, False] = ("queued", "speaker")

    def as_proposal(self, name: str, row: str, value: Value) -> Write:
        """What waits in such a case."""
        change = self.change
        return Write(
            field=name, request=False, system=change.system, row=row, value=value, at=change.at, now=self.now,
            position=None, role=None, person=False, reason=None, base=None, evidence=None, seen=False, stage_row=False,
        )  # fmt: skip

    def as_one(self, table: Table, said: dict[str, Value], evidence: object, fresh: Change) -> Change:
        """“What came fresh with the event counts, whichever row it was of”."""
        table.turn += 1
        backed = {name: one for name, one in dict(evidence).items() if name in said}  # type: ignore[call-overload]  # it is one
        return msgspec.structs.replace(
            self.change, row=f"{self.change.among}/*", op="r" if self.change.op == "r" else "u", fields=said,
            actor=fresh.actor, role=fresh.role, origin=fresh.origin, updated_at=None, reason=fresh.reason,
            base=fresh.base, evidence=backed, marker=None, event=("actor", "reason", "base", "evidence"), rank=None,
            position=(table.turn,),
        )  # fmt: skip

    def forget_rows(self, system: str) -> None:
        """“When the system no longer has the record, no row stands”."""
        for table in self.tables.values():
            if table.system == system:
                table.speaker, table.spoke_of = "", set()
                for told in table.rows.values():
                    told.rank, told.fields = None, {}
                    told.last.known, told.last.attributes, told.last.evidence = False, {}, {}
