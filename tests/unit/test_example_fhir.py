"""The worked example of the canonical format: a FHIR Patient becomes a change, through the bridge and its mapping."""

import importlib.util
import json
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from avro_kit import Shelf, framed, registry
from matrices import ROOT
from ownership_stream import sources
from ownership_stream.sources.canonical import Event, event_schema
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.schemas import record_schema
from source_kit import CONTACT, MATRIX, one, packed

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p-7",
    "meta": {"versionId": "W3", "lastUpdated": "2026-01-01T10:00:00.123Z"},
    "identifier": [{"system": "urn:mrn", "value": "42"}, {"system": "urn:example:crm", "value": CONTACT}],
    "name": [{"use": "nickname", "given": ["Annie"]}, {"use": "official", "family": "Doe", "given": ["Ann", "B"]}],
    "gender": "female",
    "birthDate": "1980-12-31",
    "telecom": [
        {"system": "phone", "use": "mobile", "value": "(212) 555-0199", "period": {"end": "2020-01-01"}},
        {"system": "phone", "use": "work", "value": "(212) 555-0111"},
        {"system": "phone", "use": "mobile", "value": "(212) 555-0100"},
        {"system": "email", "value": "Ann@Example.org"},
    ],
    "address": [{"use": "home", "line": ["1 Main St", "2F"], "city": "Springfield", "state": "IL", "country": "US"}],
    "language": "en",
}
MAPPING = sources.load(ROOT / "examples" / "fhir.yaml", MATRIX)


def bridge() -> ModuleType:
    """The example, which is no package."""
    spec = importlib.util.spec_from_file_location("fhir_bridge", ROOT / "examples" / "fhir_bridge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_fhir_patient_becomes_a_change_of_the_record_that_the_crm_knows() -> None:
    """Items are chosen by use and system, and what is over does not count."""
    event = bridge().row_event(PATIENT)
    change = one(sources.decoder(MAPPING, MATRIX).decode("fhir.patient", b"p-7", packed(event), 0))

    assert (CONTACT, "ehr", "fhir/Patient/p-7", "p-7") == (change.record, change.system, change.row, change.key)
    assert ((0, 1_767_261_600_123), 1_767_261_600_123) == (change.position, change.at)
    assert {
        "legal_name": {"family": "Doe", "given": "Ann B"},
        "date_of_birth": "1980-12-31",
        "email": "ann@example.org",
        "phone": "+12125550100",
        "address": {
            "street": "1 Main St, 2F",
            "city": "Springfield",
            "region": "IL",
            "postal_code": None,
            "country": "us",
        },
        "language": "en",
    } == change.fields


def test_a_patient_with_nothing_but_an_id_clears_what_was_there() -> None:
    """A resource is whole: what is not in it is gone."""
    bare = {name: PATIENT[name] for name in ("id", "meta")}
    change = one(sources.decoder(MAPPING, MATRIX).decode("fhir.patient", None, packed(bridge().row_event(bare)), 0))

    assert "ehr:p-7" == change.record
    assert {None} == set(change.fields.values())


def test_the_bridges_events_are_valid_by_the_json_schema_and_by_the_avro_schema() -> None:
    """Both are in the tree, for bridges in other languages; the example of the documentation is valid too."""
    event = bridge().row_event(PATIENT)
    schema, shelf = record_schema(Event), Shelf()
    validator = Draft202012Validator(event_schema())
    validator.validate(event)
    decoder = FramedDecoder(sources.decoder(MAPPING, MATRIX), MAPPING, registry(shelf))
    plain = sources.decoder(MAPPING, MATRIX).decode("t", None, packed(event), 0)
    assert plain == decoder.decode("t", None, framed(shelf.put(schema), schema, event), 0)

    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8").split("## 4. Canonical")[1]
    validator.validate(json.loads(page.split("```json")[1].split("```")[0]))


@pytest.mark.parametrize(
    "wrong",
    [{"row": {}}, {"op": "x"}, {"row": {"id": []}}, {"version": "1"}, {"evidence": {"f": {"who": "x"}}}, {"more": 1}],
)
def test_the_json_schema_refuses_what_the_decoder_refuses(wrong: dict[str, Any]) -> None:
    """A bridge that is wrong learns it before its events are dead letters; an empty row only the mapping refuses."""
    event = bridge().row_event(PATIENT) | wrong
    with pytest.raises(sources.Undecodable):
        sources.decoder(MAPPING, MATRIX).decode("fhir.patient", None, packed(event), 0)
    assert (wrong == {"row": {}}) == Draft202012Validator(event_schema()).is_valid(event)
