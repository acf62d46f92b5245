"""Stages without lanes: steps on topics of four partitions, a decide lane that is nothing but its log and states."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from deciding import PERSONS
from histories import Step
from ownership_stream.decide import decide
from ownership_stream.identity import partition_of
from ownership_stream.lane.contract import Output, Record, StepResult
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, Decision, Evidence, FieldState, RecordState, SystemState, Value
from ownership_stream.resolve import edition
from ownership_stream.sources import Writer
from ownership_stream.steps import DecideStep, Topics, unpack
from ownership_stream.store import due_of
from ownership_stream.wire import JSON, change_message
from ownership_stream.wire.records import Apply, Conflict, Resolution
from source_kit import CRM, EHR, MATRIX
from source_rows import Clinic

START: Final = 1_772_452_800_000
MINUTE: Final = 60_000
CHANGES: Final = "ownership.changes"
STATES: Final = "ownership.state"
TOPICS: Final = Topics(
    changes=CHANGES,
    conflicts="ownership.conflicts",
    resolutions="ownership.resolutions",
    dead_letters="ownership.dead-letters",
    matches="ownership.matches",
    links="ownership.links",
    apply={"ehr": "apply.ehr", "crm": "apply.crm"},
    partitions=4,
)
WRITERS: Final = {"ehr": Writer(EHR, MATRIX), "crm": Writer(CRM, MATRIX)}
ERRORS: Final = "__ownership.errors."


def decide_step(**said: Any) -> DecideStep:
    """The decide step on the shipped matrix and mappings."""
    return DecideStep(MATRIX, WRITERS, TOPICS, state_topic=STATES, **said)


def row(record: str, number: int, system: str, fields: dict[str, Value], by: str | None = None, **said: Any) -> Change:
    """A row event of a system's own row of a record; `number` is its place in that row's order and in time."""
    change = Change(
        id=f"{record}-{system}-{number}",
        record=record,
        system=system,
        row=f"{system}/patient/{record}",
        key="123" if system == "ehr" else record,
        stage_row=system == "crm",
        position=(number,),
        at=START + number * MINUTE,
        fields=fields,
        actor=by,
        role=by if by in MATRIX.roles else None,
        origin="person" if by == "person" or by in PERSONS else "automation",
        event=("actor",) if by else (),
    )
    return msgspec.structs.replace(change, **said)


def log_record(change: Change, offset: int, *, partition: int | None = None, timestamp: int | None = None) -> Record:
    """The change as it stands on the log, by default in its own partition; its offset is the broker's minute."""
    key, value, headers = change_message(change)
    where = partition_of(change.record, TOPICS.partitions) if partition is None else partition
    received = START + offset * MINUTE if timestamp is None else timestamp
    return Record(CHANGES, where, offset, received, key, value, headers)


class DecideLane:
    """All partitions' decide lanes at once: what was put out, and the states as they are stored."""

    def __init__(self, step: DecideStep | None = None) -> None:
        self.step = step or decide_step()
        self.stored: dict[str, bytes] = {}
        self.outputs: list[Output] = []
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.offset = 0

    def decide(self, *changes: Change) -> StepResult:
        """One batch of changes, in their order."""
        first, self.offset = self.offset, self.offset + len(changes)
        return self.batch([log_record(change, offset) for offset, change in enumerate(changes, first)])

    def batch(self, records: Sequence[Record]) -> StepResult:
        """One batch as it stands on the log."""
        decoded = self.step.decode(records)
        result = self.step.run(decoded, {name: self.stored.get(name) for name in decoded.record_ids})
        self.stored |= result.states
        self.outputs += result.outputs
        self.counts += result.counts
        return result

    def state(self, record: str) -> RecordState:
        """A record's state."""
        state = unpack(self.stored[record])
        assert state is not None
        return state

    def due(self, record: str) -> int:
        """When a record wants its next tick."""
        return due_of(self.stored[record])


def on(outputs: Iterable[Output], topic: str) -> list[Output]:
    """What was written to one topic."""
    return [output for output in outputs if output.topic == topic]


def changes_in(outputs: Iterable[Output]) -> list[Change]:
    """The changes that were written."""
    return [JSON.read_change(output.value or b"") for output in on(outputs, TOPICS.changes)]


def conflicts_in(outputs: Iterable[Output]) -> list[Conflict]:
    """The conflict records that were written."""
    return [JSON.read_conflict(output.value or b"") for output in on(outputs, TOPICS.conflicts)]


def resolutions_in(outputs: Iterable[Output]) -> list[Resolution]:
    """The resolution records that were written."""
    return [JSON.read_resolution(output.value or b"") for output in on(outputs, TOPICS.resolutions)]


def applies_in(outputs: Iterable[Output], system: str) -> list[Apply]:
    """What a system was sent."""
    return [JSON.read_apply(output.value or b"") for output in on(outputs, TOPICS.apply[system])]


def error_headers(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """What a dead letter says of its error."""
    return {name.removeprefix(ERRORS): value.decode() for name, value in headers if name.startswith(ERRORS)}


def own_headers(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers that a dead letter's record had itself."""
    return [(name, value) for name, value in headers if not name.startswith(ERRORS)]


def others_of(record: str, *, same: bool) -> str:
    """Another record's id, in the same partition or in another."""
    where = partition_of(record, TOPICS.partitions)
    return next(
        name
        for number in range(100)
        if (partition_of(name := f"r{number}", TOPICS.partitions) == where) is same and name != record
    )


class _Seen:
    """What the next step of a history is resolved against, read from a state."""

    def __init__(self, state: RecordState) -> None:
        self._state = state

    def version_of(self, name: str) -> int:
        """The version that set the current value."""
        return self._field(name).version

    def value_of(self, name: str) -> Value:
        """The current value."""
        return self._field(name).value

    def shown_in(self, system: str, name: str) -> Value:
        """What a system shows."""
        return self._system(system).shown.get(name)

    def evidence_of(self, name: str) -> Evidence | None:
        """The current value's evidence."""
        return self._field(name).evidence

    def sent_to(self, system: str) -> Mapping[str, list[Any]]:
        """What is outstanding in a system."""
        return {name: list(sent) for name, sent in self._system(system).outstanding.items()}

    def read_cases(self) -> Mapping[str, tuple[str, str]]:
        """The id and the edition of every open case."""
        return {name: (case.id, edition(self._state, case)) for name, case in self._state.cases.items()}

    def _field(self, name: str) -> FieldState:
        return self._state.fields.get(name, FieldState())

    def _system(self, name: str) -> SystemState:
        return self._state.systems.get(name, SystemState())


def told_out(matrix: Matrix, history: Iterable[Step]) -> Iterator[tuple[RecordState | None, Change, Decision]]:
    """A generated history decided: each change with the state before it and its decision."""
    state, clinic = None, Clinic()
    for step in history:
        change = clinic.change(step, _Seen(state or RecordState()))
        if change is not None:
            decision = decide(matrix, state, change, step.withheld)
            yield state, change, decision
            state = decision.state
