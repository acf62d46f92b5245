"""Apply records with Kafka Connect's schema: what a JDBC sink reads out of them is what was to be written."""

import base64
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrices import ROOT
from ownership_stream import sources, wire
from ownership_stream.matrix.document import parse
from ownership_stream.model import Send
from ownership_stream.sources import Mapping, Writer
from ownership_stream.sources.encodings import DECIMAL, INTEGER, SALESFORCE_ID, Encoding
from ownership_stream.sources.mapping import APPLY_FORMS
from ownership_stream.wire import connect
from source_kit import CONTACT, CRM, EHR, EHR_FILE, MATRIX, ehr_event, from_ehr, one

GOLDEN = Path(__file__).parent / "golden_apply_with_schema.json"
CHANGE = one(from_ehr(ehr_event()))
EHR_WITH = msgspec.structs.replace(EHR, apply_form="json with schema")
CRM_WITH = msgspec.structs.replace(CRM, apply_form="json with schema")
VALUES: dict[str, Any] = {
    "date_of_birth": "1980-12-31",
    "next_appointment": "2026-01-01T10:00:00.123Z",
    "legal_name": {"family": "Doe", "given": None},
    "weight": 81.5,
}


def applied(mapping: Mapping, system: str = "ehr", **values: Any) -> wire.Message:
    """The apply record of a system."""
    send = Send(system, "123" if system == "ehr" else CONTACT, values, "change", 42, 41, "provider/7", "provider")
    return wire.apply_record(Writer(mapping, MATRIX), send, CHANGE, rules=["owner wins"], revision="r", at=7)


TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int32": (int,),
    "int64": (int,),
    "double": (int, float),
    "boolean": (bool,),
    "bytes": (str,),
}


def read(schema: dict[str, Any], value: Any) -> Any:
    """What ``JsonConverter`` makes of a value by its schema: it reads the fields of the schema, and no others."""
    if value is None:
        assert schema["optional"], "null in a field that is not optional"
        return None
    if schema["type"] == "struct":
        return {field["field"]: read(field, value.get(field["field"])) for field in schema["fields"]}
    if schema["type"] == "array":
        return [read(schema["items"], item) for item in value]
    assert isinstance(value, TYPES[schema["type"]])
    assert schema["type"] == "boolean" or not isinstance(value, bool)
    return base64.b64decode(value, validate=True) if schema["type"] == "bytes" else value


def opened(value: bytes | None) -> tuple[dict[str, Any], Any]:
    """Schema and payload; the converter refuses any other shape."""
    found = json.loads(value or b"")
    assert ["schema", "payload"] == list(found)
    return found["schema"], found["payload"]


def test_the_record_that_the_debezium_sink_was_shown_is_still_written() -> None:
    """Key and value whole, so that no change of them goes unseen."""
    message = applied(EHR_WITH, **VALUES)

    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == {
        "key": json.loads(message.key or b""),
        "value": json.loads(message.value or b""),
    }


def test_the_payload_is_the_plain_record_byte_for_byte() -> None:
    """The form is a frame: nothing that is decided or written depends on it; headers neither."""
    plain, framed = applied(EHR, **VALUES), applied(EHR_WITH, **VALUES)

    assert plain.value is not None
    assert plain.key is not None
    assert (framed.value or b"").endswith(b',"payload":' + plain.value + b"}")
    assert (framed.key or b"").endswith(b',"payload":' + plain.key + b"}")
    assert plain.headers == framed.headers


def test_the_schema_has_the_key_the_changed_columns_and_the_marker_only() -> None:
    """A sink writes every column of the schema: any more would be written as null."""
    schema, payload = opened(applied(EHR_WITH, email="a@x.org").value)
    fields = {field["field"]: field for field in schema["fields"]}

    assert ["patient_id", "email", "sync_change_id"] == [field["field"] for field in fields["after"]["fields"]]
    assert {"patient_id", "email", "sync_change_id"} == payload["after"].keys()
    assert fields["before"]["fields"] == fields["after"]["fields"]


def test_a_sink_knows_the_envelope_by_its_name_and_the_key_by_its_schema() -> None:
    """Debezium's sink looks for `Envelope` at the end of the name; a key without schema it refuses."""
    message = applied(CRM_WITH, "crm", email="a@x.org")

    assert "ownership.crm.Contact.Envelope" == opened(message.value)[0]["name"]
    schema, payload = opened(message.key)
    assert {"Id": CONTACT} == read(schema, payload)
    assert [False] == [field["optional"] for field in schema["fields"]]


@pytest.mark.parametrize("mapping", [EHR_WITH, CRM_WITH], ids=["ehr", "crm"])
def test_what_a_sink_reads_is_what_was_to_be_written(mapping: Mapping) -> None:
    """Every field of the matrix that the system has, with a value and cleared: each value fits its schema."""
    writer = Writer(mapping, MATRIX)
    values: dict[str, Any] = {name: value for name, value in CHANGE.fields.items() if name in writer.fields}
    for sent in (values, dict.fromkeys(values)):
        schema, payload = opened(applied(mapping, mapping.system, **sent).value)
        seen = read(schema, payload)
        assert {name for field in sent for name in writer.columns(field, None)} <= seen["after"].keys()
        assert payload["after"] == seen["after"]
        assert payload["sync"] == seen["sync"]
        assert payload["source"] == seen["source"]


@pytest.mark.parametrize(
    ("encoding", "type_", "schema"),
    [
        (Encoding(), "text", {"type": "string"}),
        (Encoding(), "phone", {"type": "string"}),
        (Encoding(), "number", {"type": "double"}),
        (Encoding(), "boolean", {"type": "boolean"}),
        (Encoding("iso"), "date", {"type": "string"}),
        (Encoding("iso"), "instant", {"type": "string", "name": "io.debezium.time.ZonedTimestamp", "version": 1}),
        (Encoding("epoch days"), "date", {"type": "int32", "name": "io.debezium.time.Date", "version": 1}),
        (Encoding("epoch s"), "instant", {"type": "int64"}),
        (Encoding("epoch ms"), "date", {"type": "int64", "name": "io.debezium.time.Timestamp", "version": 1}),
        (Encoding("epoch us"), "instant", {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "version": 1}),
        (Encoding("epoch ns"), "instant", {"type": "int64", "name": "io.debezium.time.NanoTimestamp", "version": 1}),
        (Encoding(INTEGER), "text", {"type": "int64"}),
        (Encoding(SALESFORCE_ID), "text", {"type": "string"}),
    ],
)
def test_a_column_s_type_follows_from_its_encoding(encoding: Encoding, type_: str, schema: dict[str, Any]) -> None:
    """By the semantic types that Debezium itself writes for such a column; docs/sinks.md lists them."""
    assert schema == connect.column_schema(encoding, type_)


def with_weight(word: str) -> Mapping:
    """The EHR's mapping with the weight as a decimal."""
    text = EHR_FILE.read_text(encoding="utf-8")
    old = "weight_kg:               weight\n"
    assert old in text
    text = text.replace(old, f"weight_kg: weight as {word}\n").replace(
        "system: ehr", "system: ehr\napply as: json with schema"
    )
    return sources.load_document(parse(text.encode(), "m.yaml"), MATRIX).mapping


def test_a_decimal_is_kafka_connect_s_own() -> None:
    """With the scale that the mapping declares; or with its own, as Debezium writes it."""
    assert "json with schema" == with_weight("decimal 2").apply_form
    seen = read(*opened(applied(with_weight("decimal 2"), weight=81.37).value))
    assert 8137 == int.from_bytes(seen["after"]["weight_kg"], "big")
    assert "2" == connect.column_schema(Encoding(DECIMAL, 2), "number")["parameters"]["scale"]
    seen = read(*opened(applied(with_weight("decimal"), weight=81.37).value))["after"]["weight_kg"]
    assert Decimal("81.37") == Decimal(int.from_bytes(seen["value"], "big")).scaleb(-seen["scale"])


FIELDS = sorted(name for name in Writer(EHR, MATRIX).fields if not MATRIX.fields[name].parts)


@given(st.lists(st.sets(st.sampled_from(FIELDS), min_size=1), min_size=1, max_size=8))
def test_a_schema_is_made_once_for_each_set_of_columns(sets: list[set[str]]) -> None:
    """And whatever came before, a record has the schema of its own columns."""
    schemas = connect.Schemas(Writer(EHR, MATRIX))
    for names in sets:
        columns = (
            "patient_id",
            *(column for name in sorted(names) for column in Writer(EHR, MATRIX).columns(name, None)),
        )
        found = schemas.value(columns)
        after = next(field for field in json.loads(found)["fields"] if field["field"] == "after")
        assert columns == tuple(field["field"] for field in after["fields"])
        assert found is schemas.value(columns)


def test_schemas_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they are made anew."""
    monkeypatch.setattr(connect, "MAX_SETS", 2)
    schemas = connect.Schemas(Writer(EHR, MATRIX))
    kept = [schemas.value(("patient_id", name)) for name in ("email", "phone", "sex")]

    assert 1 == len(schemas._kept)
    assert kept[0] == schemas.value(("patient_id", "email"))


# ---------------------------------------------------------------------------------------------------- the page

PAGE = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
CONFIGS = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_the_page_s_configurations_are_json_and_read_what_is_written() -> None:
    """Converters with schemas, committed records only, keys from the record, and nothing skipped."""
    assert ["ehr-sink", "crm-sink"] == [found["name"] for found in CONFIGS]
    for config in (found["config"] for found in CONFIGS):
        assert {"true"} == {config[f"{part}.converter.schemas.enable"] for part in ("key", "value")}
        assert "read_committed" == config["consumer.override.isolation.level"]
        assert "record_key" == (config.get("primary.key.mode") or config.get("pk.mode"))
        assert "none" == config["errors.tolerance"]


def test_the_page_lists_the_forms_as_the_program_knows_them() -> None:
    """With the same meaning."""
    for form, meaning in APPLY_FORMS.items():
        assert re.search(rf"\| `{form}`[^|]*\| {re.escape(meaning)} \|", PAGE)
