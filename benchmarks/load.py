"""The load: what a small clinic's connectors write, and the changes that intake makes of it.

The clinic is the one of `bench_stages.py`: people edit, writers land what was sent, batch jobs touch rows without
changing anything governed, and some write what is not theirs. Here it grows to as many records as wanted, and keeps
only what is to be written to topics. The same seed gives the same events.
"""

import random
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import bench_stages as stages
from bench_decide import NOW, ROW

from ownership_stream import sources
from ownership_stream.assembly import homes_of
from ownership_stream.identity import partition_of
from ownership_stream.lane.contract import Output, Record
from ownership_stream.matrix.compile import load as load_matrix
from ownership_stream.sources import Writer
from ownership_stream.steps import REGIMES, DecideStep, IntakeStep

ROOT: Final = Path(__file__).resolve().parents[1]
MAPPINGS: Final = ROOT / "matrix" / "sources"
SEED: Final = 1
SOURCES: Final = {"ehr": stages.EHR_TOPIC, "crm": stages.CRM_TOPIC}
FIRST: Final = 1_000_000
"""The number of the first patient: all have as many digits, so that a state can be made from another's."""


REST: Final[dict[str, Any]] = {
    "preferred_name": None,
    "sex": "female",
    "gender_identity": "woman",
    "phone": "+1 212 555 0100",
    "language": "en",
    "marketing_consent": None,
    "assigned_coach": "coach/17",
    "assigned_provider": "provider/m.lee",
    "treatment_consent": "given",
    "eligibility": "eligible",
    "billing_status": "current",
    "allergies": "none known",
    "care_program": "metabolic",
    "diagnoses": "E66.9",
    "weight_kg": 81.5,
    "lab_status": "none",
    "risk_flag": None,
    "next_appointment_at": 1_772_500_000_000_000,
    "care_stage_request": None,
    "base_version": None,
    "marketing_confirmed_by": None,
    "marketing_confirmed_at": None,
    "created_at": 1_700_000_000_000_000,
}
"""The columns of the shipped mapping that the row of `bench_decide.py` has not."""


class Row(NamedTuple):
    """A record to write: `topic` is a source's or a stage's word for it, `change` the id of the change it carries."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    change: str


@dataclass
class Clinic(stages.Clinic):
    """The clinic with its records written down as they would stand on topics of `partitions` partitions."""

    partitions: int = 4
    cdc: list[Row] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)

    def admit(self, number: int) -> None:
        """One more patient in both systems, and everything sent has landed."""
        self.numbers[contact(number)] = number
        self.rows[number] = row(number)
        same = {"LastName": "Featherstone", "FirstName": "Annabel", "Care_Stage__c": "in_care"}
        self.settle([self.crm(number, "new", same | {"LeadSource": "google_ads", "Email": ROW["email"]}, "CREATE")])
        self.settle([self.ehr(number, "new", {}, "c")])

    def settle(self, events: list[stages.Event]) -> None:
        """The events, and the echoes of what is sent because of them, until nothing more follows."""
        while events:
            self.events += events
            sent = []
            for event in events:
                _, topic, key, value = event
                taken = self.intake.decode([Record(topic, 0, 0, NOW, key, value, ())]).outputs
                change = dict(taken[0].headers)["ce_id"].decode()
                self.cdc.append(Row(topic, crc32(key) % self.partitions, key, value, [], change))
                sent += [output for one in taken for output in self.decide(one)]
            events = [self.echo(output) for output in sent if output.topic in stages.TOPICS.apply.values()]

    def decide(self, output: Output) -> list[Output]:
        """What is sent because of a change and of all that it says to other records; each change is written down."""
        todo, sent = deque([output]), list[Output]()
        while todo:
            for one in self._decided(todo.popleft()):
                (todo if one.topic == stages.TOPICS.changes else sent).append(one)
        return sent

    def _decided(self, output: Output) -> list[Output]:
        name, offset = (output.key or b"").decode(), len(self.changes)
        where = partition_of(name, self.partitions)
        change = dict(output.headers)["ce_id"].decode()
        self.changes.append(Row(output.topic, where, output.key or b"", output.value or b"", output.headers, change))
        record = Record(output.topic, 0, offset, NOW + offset, output.key, output.value, output.headers)
        result = self.step.run(
            self.step.decode([record]), {name: self.stored.get(name), REGIMES: self.stored.get(REGIMES)}
        )
        self.stored |= result.states
        self.outcomes += Counter(
            {" ".join(key[1:3]).strip(): n for key, n in result.counts.items() if key[0] == "outcomes"}
        )
        return result.outputs


class _Rows(dict[int, dict[str, Any]]):
    """The rows of so many patients, each made when it is asked for."""

    def __init__(self, records: int) -> None:
        super().__init__()
        self._records = records

    def __len__(self) -> int:
        return self._records

    def __missing__(self, number: int) -> dict[str, Any]:
        return self.setdefault(number, row(number))


class _Numbers(dict[str, int]):
    """The number of each patient, by contact."""

    def __missing__(self, name: str) -> int:
        return number_of(name)


class _States(dict[str, bytes | None]):
    """The states of patients: those that changed, and for all others the one they had when they were settled."""

    def __init__(self, settled: "Settled") -> None:
        super().__init__()
        self._settled = settled

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name) or (default if name.startswith("__") else self._settled.state(number_of(name)))


class Settled:
    """The packed state of any patient known to both systems: one patient's real one, under another number."""

    def __init__(self, partitions: int) -> None:
        found = clinic(partitions)
        found.admit(FIRST)
        self._state = found.stored[contact(FIRST)] or b""
        self.events = found.events

    def state(self, number: int) -> bytes:
        """The state of the patient with this number."""
        return self._state.replace(str(FIRST).encode(), str(number).encode())


@dataclass(frozen=True)
class Load:
    """A load: `warm` changes that bring every record into being, then those that are measured.

    Of the CDC records `warm_cdc` are those that bring records into being. `mix` says in per cent what the measured
    changes were, `outcomes` what became of the fields in them.
    """

    cdc: list[Row]
    changes: list[Row]
    warm_cdc: int
    warm: int
    records: int
    mix: dict[str, float]
    outcomes: dict[str, int]

    @property
    def measured(self) -> int:
        """How many changes are measured."""
        return len(self.changes) - self.warm


def made(records: int, changes: int, partitions: int) -> Load:
    """A load of `records` patients in both systems, and `changes` changes of theirs."""
    found = clinic(partitions)
    for number in range(FIRST, FIRST + records):
        found.admit(number)
    return _worked(found, changes, records)


def made_settled(records: int, changes: int, partitions: int) -> Load:
    """A load without its beginning: `changes` changes of `records` patients whose states are there already."""
    found = clinic(partitions)
    settled = Settled(partitions)
    found.rows, found.numbers, found.stored = _Rows(records), _Numbers(), _States(settled)
    found.events = list(settled.events)  # events are numbered by how many there were
    return _worked(found, changes, records)


def _worked(found: Clinic, changes: int, records: int) -> Load:
    dice = random.Random(SEED)  # noqa: S311 (the dice of a benchmark)
    warm_cdc, warm, began = len(found.cdc), len(found.changes), len(found.events)
    found.outcomes.clear()
    while len(found.changes) - warm < changes:
        found.happens(dice)
    kinds = Counter(event[0] for event in found.events[began:])
    mix = {kind: 100 * count / kinds.total() for kind, count in kinds.most_common()}
    return Load(found.cdc, found.changes, warm_cdc, warm, records, mix, dict(found.outcomes.most_common()))


def clinic(partitions: int) -> Clinic:
    """A clinic with nobody in it."""
    matrix = load_matrix(ROOT / "matrix" / "patient.yaml")
    mappings = {name: sources.load(MAPPINGS / f"{name}.yaml", matrix) for name in SOURCES}
    decoders = {topic: sources.decoder(mappings[name], matrix) for name, topic in SOURCES.items()}
    writers = {name: Writer(mapping, matrix) for name, mapping in mappings.items()}
    homes = homes_of(mappings.values())
    step = DecideStep(matrix, writers, stages.TOPICS, state_topic="ownership.state", homes=homes)
    return Clinic(IntakeStep(decoders, stages.TOPICS), step, first=FIRST, partitions=partitions)


def contact(number: int) -> str:
    """The CRM's id of a patient."""
    return f"0035g0000{number}AAB"


def number_of(name: str) -> int:
    """The number of the patient with this CRM id."""
    return int(name[9:16])


def row(number: int) -> dict[str, Any]:
    """The EHR's row of a patient, once settled."""
    return {**ROW, **REST, "patient_id": number, "crm_id": contact(number), "lead_source_group": "paid"}


def of_intake(changes: Iterable[str]) -> Counter[str]:
    """The ids of changes that intake made, each as often as it is there.

    How often records say something to each other, which has an id with a colon, depends on what comes first.
    """
    return Counter(change for change in changes if ":" not in change)


def bytes_of(rows: Iterable[Row]) -> float:
    """The mean size of the values."""
    sizes = [len(row.value) for row in rows]
    return sum(sizes) / max(1, len(sizes))
