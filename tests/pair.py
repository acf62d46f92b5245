"""The implementation and the oracle side by side on one record: same changes in, the same consequences out.

After every change both are laid out as plain data and compared; the accounting must be closed and the state that went
in must be untouched. Change ids of sends are the implementation's own business (docs/rules.md does not name them), so
the oracle adopts them after it has agreed on what was sent.
"""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from oracle import Oracle
from oracle_record import Expected, canonical
from ownership_stream.decide import decide
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, Decision, Evidence, RecordState, SystemState, Value
from ownership_stream.resolve import edition
from source_rows import Clinic, Step, line

NOBODY: frozenset[str] = frozenset()
pack = msgspec.msgpack.encode


@dataclass
class Pair:
    """One record in both."""

    matrix: Matrix
    state: RecordState | None = None
    told: list[str] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    changes: list[tuple[Change, frozenset[str]]] = field(default_factory=list)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    made: set[str] = field(default_factory=set)
    """The systems in which the record was made."""

    def __post_init__(self) -> None:
        self.oracle = Oracle(self.matrix)

    def feed(self, change: Change, withheld: frozenset[str] = NOBODY) -> Decision:
        """Decide one change in both; raise ``AssertionError`` with the history so far where they differ."""
        self.changes.append((change, withheld))
        self.told.append(line(change) + (f" withheld {sorted(withheld)}" if withheld else ""))
        before = pack(self.state)
        decision = decide(self.matrix, self.state, change, withheld)
        assert before == pack(self.state), f"the state that went in was changed{self.history()}"
        expected = self.oracle.feed(change, withheld)
        actual = laid_out(self.matrix, decision, decision.said or change)
        differences = [
            f"  {one.name}:\n    rules: {want}\n    code:  {have}"
            for one in fields(Expected)
            if (want := getattr(expected, one.name)) != (have := getattr(actual, one.name))
        ]
        assert not differences, "\n" + "\n".join(differences) + self.history()
        said = decision.said or change
        carried = len(said.fields) + len(said.compared) + len(said.requests)
        assert carried == len(decision.outcomes) + decision.noops, f"the accounting is not closed{self.history()}"
        self.adopt_change_ids(decision.state)
        if decision.answer is not None:
            self.ends[decision.answer.outcome, decision.answer.reason] += 1
        self.ends.update((one.outcome, one.reason) for one in (*decision.outcomes, *decision.redecided))
        self.made.update(one.system for one in decision.sends if one.kind == "create")
        self.state = decision.state
        self.read_cases()
        self.packed.append(pack(decision))
        return decision

    def adopt_change_ids(self, state: RecordState) -> None:
        """Take over the ids under which values were sent, for the echoes to come."""
        for system, seat in state.systems.items():
            for name, sent in seat.outstanding.items():
                for mine, theirs in zip(self.oracle.seats[system].out.get(name, []), sent, strict=True):
                    mine.change_id = theirs.change_id

    def history(self) -> str:
        """The changes so far, a line each."""
        return "\nafter\n  " + "\n  ".join(self.told)

    def read_cases(self) -> dict[str, tuple[str, str]]:
        """Somebody reads every open case: its name -> its id and its edition; the oracle keeps what it saw of them."""
        if self.state is None:
            return {}
        found = {name: (case.id, edition(self.state, case)) for name, case in self.state.cases.items()}
        for name, reading in found.items():
            self.oracle.read(oracle_name(name), *reading)
        return found

    # ------------------------------------------------------------------------ what a clinic resolves steps against

    def version_of(self, name: str) -> int:
        """The version that set the current value; 0 where there is none."""
        return self.oracle.current[name].version if name in self.oracle.current else 0

    def value_of(self, name: str) -> Value:
        """The current value."""
        return self.oracle.current[name].value if name in self.oracle.current else None

    def shown_in(self, system: str, name: str) -> Value:
        """What a system shows."""
        return self.oracle.seats[system].shown.get(name)

    def evidence_of(self, name: str) -> Evidence | None:
        """The current value's evidence."""
        return self.oracle.current[name].evidence if name in self.oracle.current else None

    def sent_to(self, system: str) -> dict[str, list[Any]]:
        """What is outstanding in a system."""
        return {name: list(sent) for name, sent in self.oracle.seats[system].out.items() if sent}


def play(matrix: Matrix, history: tuple[Step, ...]) -> Pair:
    """Run a history through both."""
    pair, clinic = Pair(matrix), Clinic()
    for step in history:
        change = clinic.change(step, pair)
        if change is not None:
            pair.feed(change, step.withheld)
    return pair


def oracle_name(name: str) -> str:
    """A case's name as the oracle has it: ``":absent:ehr"`` is ``"*absent ehr"``."""
    return f"*{name[1:].replace(':', ' ', 1)}" if name.startswith(":") else name


def laid_out(matrix: Matrix, decision: Decision, change: Change) -> Expected:
    """A decision and the state after it, in the oracle's plain form; every carried column has an outcome."""
    state = decision.state
    systems = {system: state.systems.get(system, SystemState()) for system in matrix.systems}
    outcomes: dict[tuple[str, bool], tuple[str, str]] = {(name, False): ("noop", "") for name in change.fields}
    outcomes |= {(name, False): ("noop", "") for name in change.compared}
    outcomes |= {(name, True): ("noop", "") for name in change.requests}
    named = [(one.field, one.request) for one in decision.outcomes]
    assert len(named) == len(set(named)), f"two outcomes for one column: {named}"
    outcomes |= {(one.field, one.request): (one.outcome, one.reason) for one in decision.outcomes}
    sends = {one.system: {name: canonical(value) for name, value in one.values.items()} for one in decision.sends}
    assert len(sends) == len(decision.sends), "more than one send for a system"
    return Expected(
        outcomes=outcomes,
        redecided={one.field: (one.outcome, one.reason) for one in decision.redecided},
        sends=sends,
        kinds={one.system: one.kind for one in decision.sends},
        restored=set(decision.restored),
        events=sorted((one.event, one.case.field, one.case.reason) for one in decision.cases),
        cases={oracle_name(name): case.reason for name, case in state.cases.items()},
        current={name: (canonical(one.value), one.version) for name, one in state.fields.items() if one.version},
        shown={
            system: {name: canonical(value) for name, value in seat.shown.items() if canonical(value) is not None}
            for system, seat in systems.items()
        },
        outstanding={
            system: {name: [canonical(one.value) for one in sent] for name, sent in seat.outstanding.items() if sent}
            for system, seat in systems.items()
        },
        present={system: seat.present for system, seat in systems.items()},
        keys={system: seat.key for system, seat in systems.items()},
        guards={
            name: (one.restores, one.answers, sorted(one.told))
            for name, one in state.fields.items()
            if one.restores or one.answers or one.told
        },
        version=state.version,
        stage=state.stages[-1][1] if state.stages else None,
        care_started=state.care_started,
        ended_overrides=set(decision.ended_overrides),
        unseen={(one.field, one.request) for one in (*decision.outcomes, *decision.redecided) if one.unseen},
        answer=None if decision.answer is None else (decision.answer.outcome, decision.answer.reason),
    )
