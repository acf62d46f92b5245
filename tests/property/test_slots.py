"""Whatever is the matter with a record as a whole: no two causes share a case, each ends by itself, counts add up."""

from collections import Counter

import hypothesis.strategies as st
import msgspec
from hypothesis import given

from deciding import Record
from matrices import patient
from ownership_stream.model import Change, Decision
from ownership_stream.slots import is_own, slot
from ownership_stream.steps import failed
from ownership_stream.wire import pack_state, unpack_state

MATRIX = patient()
ROWS = {"ehr/patient/1": "ehr", "crm/patient/1": "crm", "crm/patient/2": "crm"}
SHOWN = {"ehr": ("date_of_birth", "1980-01-02"), "crm": ("lead_source", "referral")}
"""What each system owns and shows of the record."""
ENDED = frozenset({"converged", "superseded", "resolved"})
DISMISSED = ("duplicate", "link_candidate", "absent", "failed")
KINDS = ("create", "snapshot", "update", "delete", "gap", "match", "candidate", "fail", "dismiss", "tick")

Event = tuple[str, str, int]
"""What happens, in which row, and a choice."""

events = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(ROWS)), st.integers(0, 3)), min_size=1, max_size=25
)


class Story:
    """A record, and beside it a list of what is the matter with it, kept by hand."""

    def __init__(self) -> None:
        self.record = Record(MATRIX)
        self.matter: set[str] = set()
        self.at: dict[str, str] = {}
        """System -> the row by which it has the record now."""
        self.owned: set[str] = set()
        """Systems of whose own values one is current."""
        self.told: Counter[str] = Counter()
        self.probable: dict[str, set[int]] = {}
        """Case of a probable match -> who waits in it."""
        self.apart: set[int] = set()
        """Of whom a person said that they are others."""

    def happens(self, kind: str, row: str, choice: int) -> Decision | None:
        """One event in both; ``None`` where there is nothing to dismiss."""
        if kind in ("create", "snapshot", "update"):
            return self.shows(kind, row)
        if kind == "delete":
            return self.goes(row)
        if kind == "gap":
            self.matter.add(slot("reread", row))
            return self.control("reread", system=ROWS[row], row=row, position=(self.record.count + 1,))
        if kind in ("match", "candidate"):
            if choice not in self.apart:
                name = slot("duplicate" if kind == "match" else "link_candidate")
                self.matter.add(name)
                self.probable.setdefault(name, set()).add(choice)
            return self.control(kind, about="email", other=f"r{choice + 2}", system="crm")
        if kind == "fail":
            return self.fails()
        return self.control("tick") if kind == "tick" else self.dismisses(choice)

    def shows(self, kind: str, row: str) -> Decision:
        """A row of the record is there."""
        system = ROWS[row]
        if kind != "update":
            self.matter.discard(slot("reread", row))
        if system not in self.at:
            self.matter.discard(slot("absent", system))
        self.at[system] = row
        self.owned.add(system)
        op = {"create": "c", "snapshot": "r", "update": "u"}[kind]
        name, value = SHOWN[system]
        return self.record.row(system, {name: value}, op=op, by="provider", row=row, key=row)  # type: ignore[arg-type]

    def goes(self, row: str) -> Decision:
        """A row is deleted; with it the record there, if the system has it by that row."""
        system = ROWS[row]
        self.matter.discard(slot("reread", row))
        if self.at.get(system) == row:
            del self.at[system]
            self.matter |= {slot("absent", system)} if system in self.owned else set()
        return self.record.row(system, op="d", row=row, key=row)

    def fails(self) -> Decision:
        """A decision breaks."""
        self.record.count += 1
        self.matter.add(slot("failed"))
        change = Change(id=f"c{self.record.count}", record="r1", received=self.record.now)
        decision = failed(MATRIX, self.record.state, change)
        self.record.state = decision.state
        return decision

    def dismisses(self, choice: int) -> Decision | None:
        """Somebody says that one of them is none."""
        some = sorted(name for name in self.matter if name.split(":")[1] in DISMISSED)
        if not some:
            return None
        name = some[choice % len(some)]
        self.matter.discard(name)
        self.apart |= self.probable.pop(name, set())
        assert self.record.state is not None
        return self.record.ask(name, "dismiss", by=self.record.state.cases[name].owner)

    def control(self, kind: str, **said: object) -> Decision:
        """An event that is no row's."""
        self.record.count += 1
        now = self.record.now
        common = {"id": f"c{self.record.count}", "record": "r1", "kind": kind, "received": now, "at": now}
        return self.record.decide(msgspec.convert(common | said, Change))


@given(events=events)
def test_each_cause_is_a_case_of_its_own_and_ends_by_itself(events: list[Event]) -> None:
    """After every event the record's own cases are what is the matter with it, however the state was stored."""
    story = Story()
    for kind, row, choice in events:
        decision = story.happens(kind, row, choice)
        if decision is None:
            continue
        state = story.record.state = unpack_state(pack_state(decision.state))
        own = {name: case for name, case in state.cases.items() if is_own(name)}
        assert story.matter == own.keys()
        assert all(name.split(":")[1] == case.reason for name, case in own.items())
        assert len(own) == len({case.id for case in own.values()})
        said = [one for one in decision.cases if not one.case.field]
        assert len({one.case.id for one in said}) == len({(one.case.reason, one.case.id) for one in said})
        story.told.update("ended" if one.event in ENDED else one.event for one in said)
        assert story.told["opened"] - story.told["ended"] == len(own)
