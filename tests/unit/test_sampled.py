"""A sample in Avro: what its schemas say of a column is told as Kafka Connect says it in JSON."""

import json
from typing import Any

import pytest

from avro_kit import EhrTopic, Shelf, connect, registry, row_schema
from ownership_stream import sources
from ownership_stream.errors import UnavailableError
from ownership_stream.sources.advice import findings
from ownership_stream.sources.opened import SampleRecord
from ownership_stream.sources.sample import Examination, examine
from ownership_stream.wire.avro import WriterSchema
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.sampled import Sampled, connect_schema
from sample_kit import record, rows, whole
from source_kit import EHR, MATRIX, ehr_event

DECIMAL = {"type": "bytes", "scale": 1, "precision": 5, "connect.version": 1, "logicalType": "decimal"}
DECIMAL |= {"connect.parameters": {"scale": "1"}, "connect.name": "org.apache.kafka.connect.data.Decimal"}


def examined(topic: EhrTopic, records: list[SampleRecord]) -> Examination:
    """A sample of a topic in Avro, as the command examines it."""
    known = registry(topic.shelf)
    return examine(
        records, EHR, MATRIX, lambda one: FramedDecoder(sources.decoder(one, MATRIX), one, known), Sampled(known)
    )


def plain(mapping: sources.Mapping) -> sources.Decoder:
    """A decoder of JSON."""
    return sources.decoder(mapping, MATRIX)


def in_avro(topic: EhrTopic, number: int = 30, **columns: Any) -> list[SampleRecord]:
    """Updates of so many patients."""
    return [record(topic.event(whole("u", i, columns)), i) for i in range(number)]


def test_a_sample_in_avro_shows_what_it_shows_in_json_and_what_its_schema_says() -> None:
    """Column by column the same; every record has its schema."""
    topic = EhrTopic()
    found, same = examined(topic, in_avro(topic)).report(), examine(rows(), EHR, MATRIX, plain).report()

    assert (30, 30, 30) == (found.changes, found.with_schema, found.forms["envelope"])
    assert same.tables == found.tables


def test_a_column_of_another_encoding_is_found_by_its_schema() -> None:
    """All its records are dead letters, and the finding says which setting would read them."""
    topic = EhrTopic(next_appointment_at=connect("long", "io.debezium.time.Timestamp"), weight_kg=DECIMAL)
    sample = examined(topic, in_avro(topic, next_appointment_at=1_767_261_600_123, weight_kg=b"\x03\x2f"))
    said = {(one.column, one.message) for one in findings(sample) if one.severity == "error"}

    assert ("next_appointment_at", "the connector's schema says `epoch ms`, and the mapping as `epoch us`") in said
    assert {"wrong_type"} == {reason for reason, _ in sample.refused}
    assert {"weight_kg", "next_appointment_at"} <= {column for column, _ in said}


def test_a_column_that_is_often_its_default_is_found_in_avro_too() -> None:
    """`ignore.default.for.nullables` is what it is about."""
    text = {"type": "string", "connect.default": "unknown"}
    topic = EhrTopic(allergies=text)
    [found] = [
        one for one in findings(examined(topic, in_avro(topic, allergies="unknown"))) if one.column == "allergies"
    ]

    assert "ignore.default.for.nullables=true in an Avro one" in found.setting


def test_a_schema_is_told_with_its_names_and_scales_where_it_repeats_itself_too() -> None:
    """`after` is the record that `before` describes; a record within itself ends somewhere."""
    within = {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"], "default": None}]}
    assert "struct" == connect_schema(WriterSchema(json.dumps(within)))["type"]
    schema = connect_schema(WriterSchema(json.dumps(EhrTopic(weight_kg=DECIMAL).schema)))
    before, after = (next(one for one in schema["fields"] if one["field"] == name) for name in ("before", "after"))
    assert before["fields"] == after["fields"]
    columns = {one["field"]: one for one in after["fields"]}
    assert "io.debezium.time.Date" == columns["birth_date"]["name"]
    assert {"scale": "1"} == columns["weight_kg"]["parameters"]
    assert (False, True) == (columns["patient_id"]["optional"], columns["email"]["optional"])


@pytest.mark.parametrize(
    "value", [None, b"{}", b"\xff", b"\x00\x00", b"\x00\x00\x00\x00\x63x", b"\x00\x00\x00\x00\x01x"]
)
def test_what_cannot_be_read_stays_as_it_is(value: bytes | None) -> None:
    """Why, the decoder says."""
    topic = EhrTopic()

    assert value == Sampled(registry(topic.shelf))(SampleRecord("t", None, value))


def test_a_registry_that_is_away_is_said() -> None:
    """Nothing was looked at then."""
    shelf = Shelf()
    topic = EhrTopic(shelf)
    shelf.away = True
    with pytest.raises(UnavailableError):
        examined(topic, in_avro(topic, 1))


def test_a_flattened_row_has_its_columns_at_the_top() -> None:
    """As its schema does."""
    schema = connect_schema(WriterSchema(json.dumps(row_schema())))

    assert {"patient_id", "email"} <= {one["field"] for one in schema["fields"]}
    assert ehr_event()["after"].keys() == {one["field"] for one in schema["fields"]}
