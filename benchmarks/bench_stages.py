"""What each part of the stages costs per record, in this process and beside the JSON decode of the same rows.

A small clinic makes the load: every record is known to both systems and settled, then people edit, writers land what
was sent, batch jobs touch rows without changing anything governed, and some write what is not theirs. The rows are in
the connectors' own words (Debezium's envelope of a 30-column row with the row before, Salesforce change events); they
go through intake, and what intake writes goes through decide with the packed states that such records have. Every
record comes once in a batch, as where there are many more records than a batch holds: each change pays for its state
both ways. No broker and no Redis: what those cost is the affair of the benchmarks on a real one.

Times are of this thread's processor. Works take turns, so that a busy machine slows all alike; the ratios to
`msgspec.json.decode` of the source rows are what may be compared between machines.
"""

import gc
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any, Final, cast

import msgspec
import orjson
from bench_decide import KEY, MAPPING, NOW, ROW, event_bytes
from rich.console import Console
from rich.table import Table

from ownership_stream import sources
from ownership_stream.decide import decide
from ownership_stream.lane.contract import Output, Record
from ownership_stream.matrix.compile import load
from ownership_stream.sources import Writer
from ownership_stream.steps import DecideStep, IntakeStep, Topics, packed, unpack
from ownership_stream.wire import JSON

ROOT: Final = Path(__file__).resolve().parents[1]
RECORDS: Final = 2_000
EVENTS: Final = 8_000
REPEATS: Final = 9
EHR_TOPIC: Final = "ehr.public.patient"
CRM_TOPIC: Final = "crm.contact"
TOPICS: Final = Topics(
    changes="ownership.changes",
    conflicts="ownership.conflicts",
    resolutions="ownership.resolutions",
    dead_letters="ownership.dead-letters",
    matches="ownership.matches",
    links="ownership.links",
    apply={"ehr": "apply.ehr", "crm": "apply.crm"},
    partitions=1,
)

EHR_EDITS: Final[tuple[dict[str, Any], ...]] = (
    {"medication_dose": "0.5 mg", "updated_by": "provider/m.lee"},
    {"medication_dose": "1.0 mg", "updated_by": "provider/m.lee"},
    {"payer": "Aetna", "updated_by": "nurse/j.alvarez"},
    {"payer": "Cigna", "updated_by": "nurse/k.brown"},
)
CRM_FOREIGN: Final[tuple[dict[str, Any], ...]] = ({"Birthdate": "1983-02-03"}, {"Birthdate": "1984-05-06"})
CRM_EDITS: Final[tuple[dict[str, Any], ...]] = (
    {"Email": "a.featherstone@example.org"},
    {"Email": "annabel@example.com"},
    {"MailingStreet": "22 Barton Springs Road"},
    {"MailingStreet": "1401 Congress Avenue"},
)
KINDS: Final = {"edit ehr": 30, "edit crm": 30, "quiet": 30, "foreign": 10}
"""How often each of what people and jobs do, out of a hundred; echoes come on top, one for each apply record."""

Event = tuple[str, str, bytes, bytes]
"""(kind, topic, key, value) of a source record."""


@dataclass
class Clinic:
    """Both systems' rows, and the stream between them in memory; `events` is every source record so far."""

    intake: IntakeStep
    step: DecideStep
    stored: dict[str, bytes | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    met: list[tuple[Record, dict[str, bytes | None]]] = field(default_factory=list)
    """Every record of decide's input so far, with the packed states it met."""
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    first: int = 0
    """The number of the first patient; the others follow it."""

    def open(self, records: int) -> None:
        """Every patient in both systems, and everything sent has landed."""
        for number in range(records):
            contact = f"0035g0000{number:06d}AAB"
            self.numbers[contact] = number
            self.rows[number] = {**ROW, "patient_id": number, "crm_id": contact, "lead_source_group": "paid"}
            same = {"LastName": "Featherstone", "FirstName": "Annabel", "Care_Stage__c": "in_care"}
            self.settle([self.crm(number, "new", same | {"LeadSource": "google_ads", "Email": ROW["email"]}, "CREATE")])
            self.settle([self.ehr(number, "new", {}, "c")])

    def happens(self, dice: random.Random) -> None:
        """One thing that a person or a job does, and all that follows from it."""
        number = self.first + dice.randrange(len(self.rows))
        [kind] = dice.choices(list(KINDS), list(KINDS.values()))
        when = {"updated_at": (NOW + len(self.events)) * 1000}
        if kind == "quiet":
            event = self.ehr(number, kind, when | {"updated_by": "batch/nightly"})
        elif kind == "edit ehr":
            event = self.ehr(number, kind, when | dice.choice(EHR_EDITS))
        else:
            event = self.crm(number, kind, dice.choice(CRM_EDITS if kind == "edit crm" else CRM_FOREIGN), "UPDATE")
        self.settle([event])

    def settle(self, events: list[Event]) -> None:
        """The events, and the echoes of what is sent because of them, until nothing more follows."""
        while events:
            self.events += events
            taken = self.intake.run(self.intake.decode([_source(event) for event in events]), {})
            decided = [output for change in taken.outputs for output in self.decide(change)]
            events = [self.echo(output) for output in decided if output.topic in TOPICS.apply.values()]

    def decide(self, output: Output) -> list[Output]:
        """What the decide step makes of what intake wrote, which is kept as its input."""
        offset = len(self.met)
        record = Record(output.topic, output.partition, offset, NOW + offset, output.key, output.value, output.headers)
        decoded = self.step.decode([record])
        states = {name: self.stored.get(name) for name in decoded.record_ids}
        self.met.append((record, states))
        result = self.step.run(decoded, states)
        self.stored |= result.states
        self.outcomes += Counter(
            {" ".join(key[1:3]).strip(): n for key, n in result.counts.items() if key[0] == "outcomes"}
        )
        return result.outputs

    def echo(self, output: Output) -> Event:
        """The system writes what it was sent, and its connector tells of it."""
        after = JSON.read_apply(output.value or b"").after
        if output.topic == TOPICS.apply["ehr"]:
            return self.ehr(after["patient_id"], "echo", after | {"updated_by": "sync"})
        written = {name: value for name, value in after.items() if name != "Id"}
        return self.crm(self.numbers[after["Id"]], "echo", written, "UPDATE", "client=ownership-stream")

    def ehr(self, number: int, kind: str, moved: Mapping[str, Any], op: str = "u") -> Event:
        """Debezium's record of an update."""
        before = self.rows[number]
        after = self.rows[number] = {**before, **moved}
        event = orjson.loads(event_bytes(before if op == "u" else None, after, len(self.events)))
        event |= {"op": op, "source": event["source"] | {"snapshot": "false"}}
        return kind, EHR_TOPIC, KEY.replace(b"48213", b"%d" % number), orjson.dumps(event)

    def crm(self, number: int, kind: str, fields: Mapping[str, Any], how: str, origin: str = "ui/lightning") -> Event:
        """Salesforce's record of a change."""
        contact = self.rows[number]["crm_id"]
        header = {
            "entityName": "Contact",
            "recordIds": [contact],
            "changeType": how,
            "changedFields": list(fields),
            "changeOrigin": f"com/salesforce/api/rest/60.0;{origin}",
            "transactionKey": f"0000{len(self.events)}-t",
            "sequenceNumber": 1,
            "commitTimestamp": NOW + len(self.events),
            "commitUser": "005GROW1",
            "commitNumber": 1_000 + len(self.events),
        }
        value = {"Id": contact, "ReplayId": str(len(self.events)), "ChangeEventHeader": header, **fields}
        return kind, CRM_TOPIC, contact.encode(), orjson.dumps(value)


def _source(event: Event) -> Record:
    _, topic, key, value = event
    return Record(topic, 0, 0, NOW, key, value, ())


def clinic() -> Clinic:
    """The stages on the shipped matrix."""
    matrix = load(ROOT / "matrix" / "patient.yaml")
    ehr, crm = sources.load(MAPPING, matrix), sources.load(ROOT / "matrix" / "sources" / "crm.yaml", matrix)
    decoders = {EHR_TOPIC: sources.decoder(ehr, matrix), CRM_TOPIC: sources.decoder(crm, matrix)}
    writers = {"ehr": Writer(ehr, matrix), "crm": Writer(crm, matrix)}
    step = DecideStep(matrix, writers, TOPICS, state_topic="ownership.state")
    return Clinic(IntakeStep(decoders, TOPICS), step)


@dataclass(frozen=True)
class Load:
    """What the parts are given: source records, and one change of each record with the state it met."""

    events: list[Event]
    sources: list[Record]
    changes: list[Record]
    states: dict[str, bytes | None]


def load_of(found: Clinic) -> Load:
    """The work of a clinic after all its patients are settled."""
    dice = random.Random(1)  # noqa: S311 (the dice of a benchmark)
    found.open(RECORDS)
    began, decided = len(found.events), len(found.met)
    found.outcomes.clear()
    while len(found.events) - began < EVENTS:
        found.happens(dice)
    events, met = found.events[began:], found.met[decided:]
    dice.shuffle(met)
    once = {record.key: (record, states) for record, states in met}
    states = {name: state for _, known in once.values() for name, state in known.items()}
    sample = dice.sample(events, len(once))
    return Load(sample, [_source(event) for event in sample], [record for record, _ in once.values()], states)


def parts(found: Clinic, load: Load) -> dict[str, Callable[[], object]]:
    """The works to be timed, each over the whole batch."""
    step, intake, store = found.step, found.intake, load.states
    matrix = step._matrix  # noqa: SLF001 (the benchmark's own step)
    decoders = intake._decoders  # noqa: SLF001 (as above)
    changes = [change for change, _ in step.decode(load.changes).changes]
    befores = [unpack(store[change.record]) for change in changes]
    afters = [decide(matrix, before, change).state for before, change in zip(befores, changes, strict=True)]

    def decide_all() -> None:
        for state, change in zip(befores, changes, strict=True):
            decide(matrix, state, change)

    def intake_all() -> None:
        for record in load.sources:
            decoders[record.topic].decode(record.topic, record.key, record.value, record.timestamp, record.headers)

    def read_all() -> None:
        for record in load.changes:
            JSON.read_change(cast("bytes", record.value))

    return {
        "msgspec.json.decode of the rows": lambda: [
            msgspec.json.decode(cast("bytes", one.value)) for one in load.sources
        ],
        "intake: decode and map": intake_all,
        "intake: whole": lambda: intake.run(intake.decode(load.sources), {}),
        "decide: read the change": read_all,
        "decide: decode": lambda: step.decode(load.changes),
        "decide: load": lambda: {change.record: store.get(change.record) for change in changes},
        "decide: unpack the state": lambda: [unpack(store[change.record]) for change in changes],
        "decide: decide": decide_all,
        "decide: pack the state": lambda: [packed(state, 0) for state in afters],
        "decide: decode and run": lambda: step.run(step.decode(load.changes), store),
    }


def timed(work: Callable[[], object]) -> float:
    """Microseconds of the work on the processor."""
    start = thread_time_ns()
    work()
    return (thread_time_ns() - start) / 1000


def main() -> int:
    """Measure and print."""
    console = Console(highlight=False)
    found = clinic()
    load = load_of(found)
    works = parts(found, load)
    times: dict[str, list[float]] = {name: [] for name in works}
    gc.collect()
    gc.freeze()
    for repeat in range(REPEATS + 1):
        for name, work in works.items():
            took = timed(work)
            if repeat:
                times[name].append(took / len(load.changes))
    _describe(console, found, load)
    table = Table("part", "µs per record", "beside the rows' decode", box=None, pad_edge=False)
    base = next(iter(times.values()))
    for name, values in times.items():
        ratio = median(a / b for a, b in zip(values, base, strict=True))
        table.add_row(name, f"{median(values):.2f}", f"{ratio:.2f} ×")
    console.print(table)
    return 0


def _describe(console: Console, found: Clinic, load: Load) -> None:
    """What was measured: without it the figures say nothing."""
    kinds = Counter(event[0] for event in load.events)
    sizes = {
        "rows": [len(one.value or b"") for one in load.sources],
        "changes": [len(one.value or b"") for one in load.changes],
        "states": [len(load.states[one.key.decode()] or b"") for one in load.changes if one.key],
    }
    console.print(f"{len(load.changes)} records; " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    console.print("bytes: " + ", ".join(f"{what} {median(found):.0f}" for what, found in sizes.items()))
    console.print("outcomes: " + ", ".join(f"{n} {kind}" for kind, n in found.outcomes.most_common()), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
