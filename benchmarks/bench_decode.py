"""Decode and map a 30-column row by each format beside the bare library's decode of the same bytes, in one run.

JSON stands beside `orjson.loads`, Avro beside fastavro's schemaless decode. The row is Debezium's: with the row before
(as full replica identity has it) and without, in JSON with its schema too (`schemas.enable=true`).

Each form is read twice: one patient's row over and over, where every column's value has been met before, and the rows
of many patients in turn, whose names, addresses, phone numbers and ids are mostly their own: more than the decoder
remembers. Real streams lie between. Every event has a position and a time of its own.

Times are of this thread's processor. Ours and the bare decode take turns, so that a busy machine slows both alike;
each repeat gives one ratio, and what counts is their median. Exits with 1 when one is above its target.

With `--profile`: which functions bare JSON spends its time in (cProfile, which slows small ones most), and before it
the least that there is: the same bytes through msgspec's decoders alone, which check types and names and map nothing.
"""

import cProfile
import gc
import json
import pstats
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from statistics import median
from time import thread_time, thread_time_ns
from typing import Any, Final, NamedTuple

import fastavro
import msgspec
import orjson
from bench_decide import KEY, MAPPING, NOW, ROOT, ROW, TOPIC, Envelope, event_bytes, with_schema
from rich.console import Console
from rich.table import Table

from ownership_stream import sources
from ownership_stream.matrix.compile import load
from ownership_stream.sources.rows import RowPlan
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.framing import prefix
from ownership_stream.wire.registry import Registry

TARGETS: Final = {"json": 2.0, "avro": 1.3}
PATIENTS: Final = 3_000
EVENTS: Final = 3_000
REPEATS: Final = 9
FUNCTIONS: Final = 20
"""Of a profile, those that are shown."""
NUMBER: Final = 7
"""The schema's, in the registry."""
FAMILY: Final = ("Smith", "Johnson", "Featherstone", "Alvarez", "Okonkwo", "Nguyen", "O'Brien", "Müller", "Kowalski")
GIVEN: Final = ("Annabel", "Bea", "Chidi", "Dolores", "Edward", "Fatima", "George", "Hana", "Iñigo", "Joan")
STREETS: Final = ("South Congress Avenue", "Barton Springs Road", "Main Street", "Guadalupe Street", "East 6th Street")
CITIES: Final = ("Austin", "Houston", "Dallas", "El Paso", "San Antonio", "Fort Worth")


class Form(NamedTuple):
    """One way in which rows come, and who reads it."""

    name: str
    target: float
    events: Sequence[bytes]
    ours: Callable[[bytes], object]
    bare: Callable[[bytes], object]


def patient(number: int) -> dict[str, Any]:
    """A row of a patient's own."""
    dice = random.Random(number)  # noqa: S311  # the dice of a benchmark
    family, given = dice.choice(FAMILY), dice.choice(GIVEN)
    return ROW | {
        "patient_id": 10_000 + number,
        "crm_id": f"0035g0000{number:06d}AAB",
        "family_name": f"{family}-{number}",
        "given_name": given,
        "birth_date": dice.randrange(-14_000, 20_000),
        "email": f"{given}.{number}@example.org".lower(),
        "street": f"{dice.randrange(1, 9_999)} {dice.choice(STREETS)}, Apt {dice.randrange(1, 99)}",
        "city": dice.choice(CITIES),
        "postal_code": f"{dice.randrange(10_000, 99_999)}",
        "member_id": f"XEA{dice.randrange(10**10):010}",
        "follow_up_completed_at": 1_771_000_000_000_000 + 60_000_000 * dice.randrange(10**6),
        "updated_by": f"nurse/{dice.randrange(200)}",
    }


def events(rows: Sequence[Mapping[str, Any]], *, before: bool) -> list[bytes]:
    """Updates of these rows in turn, in JSON."""
    found = []
    for number in range(EVENTS):
        row = rows[number % len(rows)]
        after = {**row, "medication_dose": f"{number % 4}.5 mg", "updated_at": (NOW + number) * 1_000}
        found.append(event_bytes(row if before else None, after, number).replace(b'"op":"r"', b'"op":"u"'))
    return found


def schema_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that Debezium's connector would have registered."""
    space = "ehr.public.patient"
    row = _record("Value", space, ROW) | {"connect.name": f"{space}.Value"}
    source = _record("Source", "io.debezium.connector.postgresql", event["source"])
    fields = [
        {"name": "before", "type": ["null", row], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": source},
        {"name": "transaction", "type": ["null", "string"], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ]
    return {"type": "record", "name": "Envelope", "namespace": space, "fields": fields}


def _record(name: str, space: str, row: Mapping[str, Any]) -> dict[str, Any]:
    fields = [
        {"name": column, "type": ["null", _type(column, value)], "default": None} for column, value in row.items()
    ]
    return {"type": "record", "name": name, "namespace": space, "fields": fields}


def _type(column: str, value: object) -> Any:
    if column == "birth_date":
        return {"type": "int", "connect.version": 1, "connect.name": "io.debezium.time.Date"}
    if column.endswith("_at"):
        return {"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}
    return "long" if isinstance(value, int) else "string"


def forms(rows: Sequence[Mapping[str, Any]]) -> list[Form]:
    """Every form of these rows."""
    matrix = load(ROOT / "matrix" / "patient.yaml")
    mapping = sources.load(MAPPING, matrix)
    plain = sources.decoder(mapping, matrix)
    after, both = (events(rows, before=before) for before in (False, True))
    schema = schema_of(json.loads(after[0]))
    answer = {"schema": json.dumps(schema)}
    framed = FramedDecoder(sources.decoder(mapping, matrix), mapping, Registry(lambda _path, _body: (200, answer)))
    parsed = fastavro.parse_schema(schema, {})

    def avro(event: bytes) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed, json.loads(event))
        return prefix(NUMBER) + out.getvalue()

    def by_json(event: bytes) -> object:
        return plain.decode(TOPIC, KEY, event, NOW)

    def by_avro(event: bytes) -> object:
        return framed.decode(TOPIC, KEY, event, NOW)

    def bare(event: bytes) -> object:
        return fastavro.schemaless_reader(BytesIO(event[len(prefix(NUMBER)) :]), parsed, None)

    json_, avro_ = TARGETS["json"], TARGETS["avro"]
    return [
        Form("JSON", json_, after, by_json, orjson.loads),
        Form("JSON, with the row before", json_, both, by_json, orjson.loads),
        Form("JSON, with the row before and its schema", json_, list(map(with_schema, both)), by_json, orjson.loads),
        Form("Avro", avro_, list(map(avro, after)), by_avro, bare),
        Form("Avro, with the row before", avro_, list(map(avro, both)), by_avro, bare),
    ]


def timed(read: Callable[[bytes], object], some: Sequence[bytes]) -> float:
    """Microseconds of one record."""
    start = thread_time_ns()
    for event in some:
        read(event)
    return (thread_time_ns() - start) / len(some) / 1_000


def measured(form: Form) -> tuple[float, float, float]:
    """Microseconds of ours and of the bare decode, and the ratio: medians over the repeats."""
    timed(form.ours, form.events)
    timed(form.bare, form.events)
    gc.collect()
    gc.freeze()
    pairs = [(timed(form.ours, form.events), timed(form.bare, form.events)) for _ in range(REPEATS)]
    ours, bare = zip(*pairs, strict=True)
    return median(ours), median(bare), median(one / other for one, other in pairs)


def profile(console: Console) -> None:
    """Print the least that one patient's row costs in bare JSON, and where the rest of its time goes."""
    matrix = load(ROOT / "matrix" / "patient.yaml")
    mapping = sources.load(MAPPING, matrix)
    [table] = mapping.tables.values()
    row, envelope = RowPlan(table, mapping, matrix).decode, msgspec.json.Decoder(Envelope).decode
    form = forms([ROW])[0]
    measured(form)
    for name, read in (
        ("orjson.loads", form.bare), ("msgspec alone", lambda text: row(envelope(text).after)), ("ours", form.ours)
    ):  # fmt: skip
        console.print(f"{name:<14} {min(timed(read, form.events) for _ in range(REPEATS)):6.2f} µs")
    profiler = cProfile.Profile(thread_time)
    profiler.enable()
    for event in form.events:
        form.ours(event)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(FUNCTIONS)


def main() -> int:
    """Print each form's cost, its bare decode, and how many times that it is."""
    console, missed = Console(highlight=False, width=120), 0
    if sys.argv[1:] == ["--profile"]:
        profile(console)
        return 0
    table = Table("form", "rows", "bytes", "decode and map, µs", "bare decode, µs", "ratio", "target", box=None)
    for name, rows in (("one patient's", [ROW]), (f"{PATIENTS:,} patients'", [patient(n) for n in range(PATIENTS)])):
        for form in forms(rows):
            ours, bare, ratio = measured(form)
            missed += ratio > form.target
            size = median(map(len, form.events))
            verdict = f"{form.target:.1f}{'' if ratio <= form.target else ', missed'}"
            table.add_row(form.name, name, f"{size:,.0f}", f"{ours:.1f}", f"{bare:.1f}", f"{ratio:.2f}", verdict)
    console.print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
