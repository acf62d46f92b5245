"""One `decide` of a single-field change beside the JSON decode of its row, in one run.

The row is a Debezium event of 30 columns, with the row before and after, in which one governed field changed. Each
of the seven rows of docs/rules.md, section 4, has an event of its own; the figures are the mean over the seven.
Repeats are interleaved, so that a busy machine slows both alike; each gives one ratio; what counts is their median.

Two forms of the event are decoded: as Kafka Connect writes it by default, with its schema in every record
(`schemas.enable=true`), and bare. The verdict is on the default form, decoded by `orjson.loads`. For the bare form the
ratio is above the target, and is printed beside it all the same: that event is little more than the row, and fast
decoders are written in C and Rust.

Beyond the delta's one comparison for each carried column a decision must not grow with the number of fields: shown with
30 and with 120 fields in the matrix, the record and the row.

Exits with 1 when a median is above its target.
"""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from time import thread_time_ns
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from ownership_stream import sources
from ownership_stream.decide import decide
from ownership_stream.matrix.compile import load
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, RecordState
from ownership_stream.sources.rows import RowPlan

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = 2.0
"""At most so many decodes for one decision."""
GROWTH_TARGET: Final = 1.25
"""At most so many times the cost beyond the delta with four times the fields; 1 but for noise and larger dicts."""
REPEATS: Final = 41
LOOPS: Final = 300
TOPIC: Final = "ehr.public.patient"
KEY: Final = b'{"patient_id":48213}'
NOW: Final = 1_772_452_800_000

MAPPING: Final = Path(__file__).parent / "ehr_30_columns.yaml"
ROW: Final[dict[str, Any]] = {
    "patient_id": 48213,
    "crm_id": "0035g00000XyZ12AAB",
    "family_name": "Featherstone",
    "given_name": "Annabel",
    "birth_date": 4384,
    "email": "annabel.featherstone@example.org",
    "street": "1400 South Congress Avenue, Apt 12",
    "city": "Austin",
    "region": "TX",
    "postal_code": "78704",
    "country": "us",
    "time_zone": "America/Chicago",
    "contact_preference": "sms",
    "lead_source_group": "paid",
    "payer": "Blue Cross Blue Shield of Texas",
    "member_id": "XEA9024417731",
    "medication_drug": "semaglutide",
    "medication_dose": "0.25 mg",
    "medication_schedule": "weekly",
    "medication_status": "active",
    "follow_up_completed_at": 1_771_000_000_000_000,
    "follow_up_outcome": "reached",
    "care_status": "active",
    "updated_by": "provider/m.lee",
    "updated_at": 1_772_400_000_123_456,
    "override_reason": None,
    "sync_change_id": None,
    "follow_up_validated_by": "provider/m.lee",
    "preference_confirmed_by": "patient",
    "preference_confirmed_at": 1_770_000_000_000_000,
}

LATER: Final = {"updated_by": "nurse/j.alvarez", "updated_at": 1_772_452_700_654_321}
EVENTS: Final[dict[str, dict[str, Any]]] = {
    "Patient legal name": {"family_name": "Featherstone-Hale"},
    "Date of birth": {"birth_date": 4385},
    "Lead source": {"lead_source_group": "referral"},
    "Care stage/status": {"care_status": "closed"},
    "Medication plan": {"medication_dose": "0.5 mg", "updated_by": "provider/m.lee"},
    "Follow-up completion": {"follow_up_completed_at": 1_772_450_000_000_000, "follow_up_outcome": "done"},
    "Contact preference": {"contact_preference": "phone", "preference_confirmed_at": 1_772_451_000_000_000},
}
"""Row of the matrix -> the columns that moved; the actor's and the time's beside them."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """The envelope as intake reads it: the rows stay raw until their table is known."""

    op: str
    source: dict[str, Any]
    before: Raw
    after: Raw
    ts_ms: int
    transaction: Raw | None = None


def event_bytes(before: Mapping[str, Any] | None, after: Mapping[str, Any], number: int) -> bytes:
    """A Debezium event, in JSON without its schema."""
    lsn = 24_023_119_000 + 8 * number
    source = {
        "version": "3.3.1.Final",
        "connector": "postgresql",
        "name": "ehr",
        "ts_ms": NOW + number,
        "snapshot": "false" if before else "true",
        "db": "ehr",
        "sequence": f'["{lsn}","{lsn + 8}"]',
        "ts_us": (NOW + number) * 1000,
        "ts_ns": (NOW + number) * 1_000_000,
        "schema": "public",
        "table": "patient",
        "txId": 771 + number,
        "lsn": lsn + 8,
        "xmin": None,
    }
    op = "u" if before else "r"
    return orjson.dumps(
        {"before": before, "after": after, "source": source, "transaction": None, "op": op, "ts_ms": NOW + number}
    )


INTEGERS: Final = {"birth_date": "int32"}
NAMED: Final = {"birth_date": "io.debezium.time.Date"}


def with_schema(data: bytes) -> bytes:
    """The same event as Kafka Connect's JSON converter writes it by default: schema and payload."""
    payload = orjson.loads(data)
    rows = [_struct("ehr.public.patient.Value", ROW, name) for name in ("before", "after")]
    source = _struct("io.debezium.connector.postgresql.Source", payload["source"], "source")
    rest = [_column(name, payload[name]) for name in ("transaction", "op", "ts_ms")]
    schema = {"type": "struct", "fields": [*rows, source, *rest], "optional": False}
    return orjson.dumps({"schema": schema | {"name": "ehr.public.patient.Envelope", "version": 2}, "payload": payload})


def _struct(name: str, row: Mapping[str, Any], field: str) -> dict[str, Any]:
    fields = [_column(column, value) for column, value in row.items()]
    return {"type": "struct", "fields": fields, "optional": True, "name": name, "field": field}


def _column(name: str, value: object) -> dict[str, Any]:
    kind = INTEGERS.get(name, "int64") if isinstance(value, int) else "string"
    named = {"name": NAMED[name], "version": 1} if name in NAMED else {}
    return {"type": kind, "optional": True, **named, "field": name}


class Case:
    """One event of the seven: its bytes in both forms, its change, and the state it meets."""

    def __init__(self, name: str, data: bytes, change: Change, state: RecordState) -> None:
        self.name, self.data, self.change, self.state = name, data, change, state
        self.default = with_schema(data)


def cases(matrix: Matrix) -> tuple[list[Case], RowPlan, sources.Decoder]:
    """The seven events, how their row is decoded, and how intake makes changes of it."""
    mapping = sources.load(MAPPING, matrix)
    decoder = sources.decoder(mapping, matrix)
    plan = RowPlan(mapping.tables["public.patient"], mapping, matrix)
    seed = decoder.decode(TOPIC, KEY, event_bytes(None, ROW, 0), NOW).changes[0]
    state = settled(matrix, replace(seed, received=NOW))
    found = []
    for name, moved in EVENTS.items():
        data = event_bytes(ROW, {**ROW, **LATER, **moved}, 1)
        change = replace(decoder.decode(TOPIC, KEY, data, NOW).changes[0], received=NOW + 60_000)
        found.append(Case(name, data, change, state))
    return found, plan, decoder


OWNED_BY_CRM: Final = ("email", "address", "time_zone", "contact_preference")


def settled(matrix: Matrix, ehr: Change) -> RecordState:
    """The record of a patient in care whom both systems know, with nothing under way and no case."""
    crm = Change(
        id="crm-1",
        record=ehr.record,
        system="crm",
        row="crm/Contact/1",
        op="c",
        key="1",
        stage_row=True,
        position=(1,),
        at=NOW,
        received=NOW,
        origin="person",
        actor="005GROW1",
        role="growth_ops",
        fields={"care_stage": "in_care", "lead_source": "google_ads", **{n: ehr.fields[n] for n in OWNED_BY_CRM}},
    )
    state = landed(matrix, None, crm)
    state = landed(matrix, state, replace(ehr, op="c"))
    if state.cases or any(system.outstanding or system.refused for system in state.systems.values()):
        raise ValueError("the record of the benchmark is not settled")
    return state


def landed(matrix: Matrix, state: RecordState | None, change: Change) -> RecordState:
    """The state after a change whose sends have come back."""
    decision = decide(matrix, state, change)
    state = decision.state
    for send in decision.sends:
        summaries = {name: value for name, value in send.values.items() if name == matrix.stages.field}
        echo = Change(
            id=f"{change.id}/{send.system}",
            record=change.record,
            system=send.system,
            row=f"{send.system}/writer/1",
            primary=False,
            position=(1,),
            at=NOW,
            received=NOW,
            marker=change.id,
            fields={name: value for name, value in send.values.items() if name not in summaries},
            compared=summaries if send.system == "ehr" else {},
        )
        state = decide(matrix, state, echo).state
    return state


# ------------------------------------------------------------------------------------------------ fields


def widened(matrix: Matrix, count: int) -> tuple[Matrix, RecordState, Change]:
    """A matrix, a record and a row of `count` fields, of which the event changes the legal name."""
    kinds = [field for field in matrix.fields.values() if field.name != matrix.stages.field and field.type != "parts"]
    rest = islice(cycle(kinds), count - 1)
    fields = {"legal_name": matrix.fields["legal_name"]}
    for number, field in enumerate(rest):
        name = f"{field.name}_{number}"
        fields[name] = replace(field, name=name, group=None)
    stage = matrix.fields[matrix.stages.field]
    wide = replace(matrix, fields={**fields, stage.name: stage}, groups={}, by_stage=("legal_name",))
    row = {name: {"family": "Doe", "given": "Ann"} if name == "legal_name" else name for name in fields}
    state: RecordState | None = None
    for system, owned in (("crm", {"care_stage": "in_care", **row}), ("ehr", row), ("crm", row)):
        state = decide(wide, state, _wide_change(system, owned)).state
    if state is None:
        raise ValueError("no state")
    edit = _wide_change("ehr", {**row, "legal_name": {"family": "Roe", "given": "Ann"}})
    return wide, state, replace(edit, id="edit", op="u", position=(2,))


def _wide_change(system: str, fields: dict[str, Any]) -> Change:
    return Change(
        id=system,
        record="r",
        system=system,
        row=f"{system}/row/1",
        op="r",
        key="1",
        position=(1,),
        at=NOW,
        received=NOW,
        fields=fields,
        actor="p",
        role="provider",
        origin="person",
        reason="x",
    )


def moved(fields: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """The delta's one comparison for each carried column, and nothing else."""
    return [name for name, value in fields.items() if shown.get(name) != value]


# ------------------------------------------------------------------------------------------------ measuring


def timed(work: Callable[[], object]) -> float:
    """Microseconds of one call on the processor, the mean over many; what others do to the machine does not count."""
    start = thread_time_ns()
    for _ in range(LOOPS):
        work()
    return (thread_time_ns() - start) / LOOPS / 1000


def interleaved(works: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Microseconds of each work in each repeat; the works take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        timed(work)
    gc.collect()
    gc.freeze()
    for _ in range(REPEATS):
        for name, work in works.items():
            found[name].append(timed(work))
    return found


def spread(values: Sequence[float]) -> str:
    """The median and the middle half, as text."""
    low, _, high = quantiles(values, n=4)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """One ratio for each repeat."""
    return [a / b for a, b in zip(above, below, strict=True)]


def means(found: Mapping[str, Sequence[float]], kind: str) -> list[float]:
    """For each repeat the mean over the seven rows."""
    rows = [values for name, values in found.items() if name.startswith(f"{kind}: ")]
    return [sum(repeat) / len(rows) for repeat in zip(*rows, strict=True)]


def typed_decode(envelope: Callable[[bytes], Envelope], plan: RowPlan, data: bytes) -> object:
    """The JSON decode of a bare row as intake does it: typed, and without the row before."""
    return plan.decode(envelope(data).after)


def decision_beside_decode(console: Console, matrix: Matrix) -> float:
    """Measure and print; the median ratio to the decode of the default form."""
    found, plan, decoder = cases(matrix)
    envelope = msgspec.json.Decoder(Envelope).decode
    works: dict[str, Callable[[], object]] = {}
    for case in found:
        works |= {
            f"decide: {case.name}": partial(decide, matrix, case.state, case.change),
            f"default: {case.name}": partial(orjson.loads, case.default),
            f"default msgspec: {case.name}": partial(msgspec.json.decode, case.default),
            f"bare: {case.name}": partial(orjson.loads, case.data),
            f"bare msgspec: {case.name}": partial(msgspec.json.decode, case.data),
            f"typed: {case.name}": partial(typed_decode, envelope, plan, case.data),
            f"intake: {case.name}": partial(decoder.decode, TOPIC, KEY, case.data, NOW),
        }
    times = interleaved(works)
    _by_row(console, matrix, found, times)
    decided = means(times, "decide")
    console.print(f"  decide{'':44} {spread(decided)} µs")
    kinds = {
        "default": f"orjson.loads, default form ({len(found[0].default):,} bytes)",
        "default msgspec": "msgspec, default form",
        "bare": f"orjson.loads, bare form ({len(found[0].data):,} bytes)",
        "bare msgspec": "msgspec, bare form",
        "typed": "msgspec, bare form, typed, without `before`",
        "intake": "the whole intake of the bare row",
    }
    for kind, words in kinds.items():
        other = means(times, kind)
        console.print(f"  {words:50} {spread(other)} µs; decide is {spread(ratios(decided, other))} times that")
    return median(ratios(decided, means(times, "default")))


def _by_row(console: Console, matrix: Matrix, found: Sequence[Case], times: Mapping[str, Sequence[float]]) -> None:
    table = Table("row", "outcome", "decide µs", "default form", "bare form", box=None, pad_edge=False)
    for case in found:
        decided = times[f"decide: {case.name}"]
        outcomes = decide(matrix, case.state, case.change).outcomes
        said = ", ".join(f"{one.outcome} {one.reason}".strip() for one in outcomes) or "noop, restored"
        shares = [f"{median(ratios(decided, times[f'{form}: {case.name}'])):.2f} ×" for form in ("default", "bare")]
        table.add_row(case.name, said, f"{median(decided):.1f}", *shares)
    console.print(f"one decide beside `orjson.loads` of its event, {len(ROW)} columns")
    console.print(table)


def growth_with_fields(console: Console, matrix: Matrix) -> float:
    """Measure and print the cost beyond the delta with 30 and with 120 fields; the median ratio."""
    works: dict[str, Callable[[], object]] = {}
    for count in (30, 120):
        wide, state, change = widened(matrix, count)
        shown = state.systems["ehr"].shown
        outcomes = decide(wide, state, change).outcomes
        if moved(change.fields, shown) != ["legal_name"] or [one.outcome for one in outcomes] != ["applied"]:
            raise ValueError("the wide record's event is no single-field change")
        works[f"decide {count}"] = partial(decide, wide, state, change)
        works[f"delta {count}"] = partial(moved, change.fields, shown)
    times = interleaved(works)
    beyond = {
        count: [a - b for a, b in zip(times[f"decide {count}"], times[f"delta {count}"], strict=True)]
        for count in (30, 120)
    }
    console.print("with the number of fields, beyond the delta's one comparison for each carried column")
    for count, values in beyond.items():
        delta, whole = median(times[f"delta {count}"]), median(times[f"decide {count}"])
        console.print(f"  {count:3} fields: decide {whole:.1f} µs, of it delta {delta:.1f}, beyond {spread(values)} µs")
    growth = ratios(beyond[120], beyond[30])
    console.print(f"  four times the fields: {spread(growth)} times the cost")
    return median(growth)


def main() -> int:
    """Run both and judge."""
    console = Console(highlight=False)
    matrix = load(ROOT / "matrix" / "patient.yaml")
    verdicts = (
        ("decide beside the decode of the default form", decision_beside_decode(console, matrix), TARGET),
        ("growth with fields", growth_with_fields(console, matrix), GROWTH_TARGET),
    )
    for name, found, target in verdicts:
        verdict = "met" if found <= target else "missed"
        console.print(f"{name}: {found:.2f}, at most {target:.2f} asked for: {verdict}")
    return int(any(found > target for _, found, target in verdicts))


if __name__ == "__main__":
    sys.exit(main())
