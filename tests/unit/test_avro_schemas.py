"""The Avro schemas of our topics: what the program writes by, and compatible with all that ever were."""

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from avro_kit import incompatible
from matrices import ROOT
from ownership_stream.matches import Sighting
from ownership_stream.model import Change
from ownership_stream.sources.canonical import Event
from ownership_stream.wire import Conflict, Link, Resolution
from ownership_stream.wire.schemas import apply_schema, key_schema, record_schema
from step_kit import WRITERS

AVRO = ROOT / "avro"
BASELINE = AVRO / "baseline"
MADE = {
    "changes": record_schema(Change),
    "conflicts": record_schema(Conflict),
    "resolutions": record_schema(Resolution),
    "matches": record_schema(Sighting),
    "links": record_schema(Link),
    "event": record_schema(Event),
    **{f"apply.{system}": apply_schema(writer) for system, writer in WRITERS.items()},
    **{f"apply.{system}-key": key_schema(writer) for system, writer in WRITERS.items()},
}


def fields(schema: dict[str, Any], *path: str) -> list[dict[str, Any]]:
    """The fields of a record within a record."""
    for name in path:
        [field] = [field for field in schema["fields"] if field["name"] == name]
        [schema] = [branch for branch in field["type"] if isinstance(branch, dict)]
    found: list[dict[str, Any]] = schema["fields"]
    return found


@pytest.mark.parametrize("name", MADE)
def test_the_files_are_the_schemas_that_the_program_writes_by(name: str) -> None:
    """A struct that gained a field has a schema that lacks none."""
    assert MADE[name] == json.loads((AVRO / f"{name}.avsc").read_text("utf-8")), "run `make docs`"


def test_every_schema_has_a_file_and_a_baseline_and_no_file_is_left_over() -> None:
    """`avro/baseline` holds one file for each version that a release wrote by: `<schema>.<number>.avsc`."""
    assert MADE.keys() == {path.stem for path in AVRO.glob("*.avsc")}
    assert MADE.keys() == {path.stem.rpartition(".")[0] for path in BASELINE.iterdir()}


@pytest.mark.parametrize("old", sorted(BASELINE.iterdir()), ids=lambda path: path.stem)
def test_a_schema_reads_and_is_read_by_every_one_that_ever_was(old: Path) -> None:
    """FULL_TRANSITIVE, as a registry is to be told: a release may be taken back, and readers may be older."""
    assert [] == incompatible(MADE[old.stem.rpartition(".")[0]], json.loads(old.read_text("utf-8")))


def test_a_new_field_that_may_be_null_is_compatible() -> None:
    """What every change of a schema looks like."""
    new = copy.deepcopy(MADE["changes"])
    new["fields"].append({"name": "later", "type": ["null", "string"], "default": None})

    assert [] == incompatible(new, MADE["changes"])


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda found: found.append({"name": "later", "type": "string"}), "later"),
        (lambda found: found.remove(next(field for field in found if field["name"] == "id")), "id"),
        (lambda found: found[0].update(name="ident"), "id"),
        (lambda found: found[0].update(type="long"), "reader type"),
        (lambda found: found[0].update(type=["null", "string"]), "reader type"),
        (lambda found: found[9].update(type=["null", "string"]), "union"),
    ],
)
def test_the_check_sees_what_breaks_a_reader(break_it: Any, why: str) -> None:
    """Or it would prove nothing."""
    new = copy.deepcopy(MADE["changes"])
    break_it(new["fields"])

    assert any(why in line for line in incompatible(new, MADE["changes"]))


def test_the_check_sees_a_column_that_changes_its_meaning() -> None:
    """Microseconds as milliseconds are compatible to Avro, and 1970 to whoever reads them."""
    new = copy.deepcopy(MADE["apply.ehr"])
    [column] = [field for field in fields(new, "before") if field["name"] == "next_appointment_at"]
    column["type"][1]["connect.name"] = "io.debezium.time.Timestamp"

    [line] = incompatible(new, MADE["apply.ehr"])
    assert line.startswith(".before.next_appointment_at: ")


@pytest.mark.parametrize("name", MADE)
def test_whatever_may_be_missing_is_null_by_default_or_has_a_default(name: str) -> None:
    """And no schema has an enum, which could not grow; a key's columns alone are never missing."""
    text = json.dumps(MADE[name])
    for field in [*fields(MADE[name]), *(fields(MADE[name], "before") if name in ("apply.ehr", "apply.crm") else [])]:
        if isinstance(field["type"], list):
            assert ("null", None) == (field["type"][0], field.get("default", "none"))

    assert '"enum"' not in text


def test_an_apply_record_is_an_envelope_to_debeziums_sink() -> None:
    """By its name, which ends in `.Envelope`; and its times have the names by which the sink knows them."""
    schema = MADE["apply.ehr"]
    types = {field["name"]: field["type"] for field in fields(schema, "before")}

    assert "ownership.apply.ehr.Envelope" == schema["connect.name"] == f"{schema['namespace']}.{schema['name']}"
    assert ["before", "after", "source", "transaction", "op", "ts_ms", "sync"] == [f["name"] for f in schema["fields"]]
    assert "long" == types["patient_id"]
    assert ["io.debezium.time.Date", "io.debezium.time.MicroTimestamp"] == [
        types[name][1]["connect.name"] for name in ("birth_date", "next_appointment_at")
    ]
    assert "sync_change_id" in types, "the marker column"
    assert "updated_by" not in types, "what says something about a row is read and never written"


def test_the_files_are_those_that_make_docs_writes() -> None:
    """One list of schemas, in two places that cannot differ."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert MADE == {name: schema() for name, schema in module.SCHEMAS.items()}
