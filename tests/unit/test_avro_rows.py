"""Source records in Avro: the same changes as in JSON, whatever is wrong with them said in the same words."""

import base64
import json
from typing import Any

import msgspec
import pytest

from avro_kit import EhrTopic, Shelf, body, connect, envelope_schema, framed, key_schema, registry, row_schema
from ownership_stream import sources
from ownership_stream.errors import UnavailableError
from ownership_stream.sources.canonical import Event
from ownership_stream.sources.encodings import Encoding
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.schemas import record_schema
from source_kit import CRM, EHR, EHR_TOPIC, MATRIX, changed, ehr_event, from_crm, from_ehr, one, packed

DECIMAL = {"type": "bytes", "scale": 1, "precision": 5, "connect.version": 1, "logicalType": "decimal"}
DECIMAL |= {"connect.parameters": {"scale": "1"}, "connect.name": "org.apache.kafka.connect.data.Decimal"}
VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.name": "io.debezium.data.VariableScaleDecimal",
}


def weighed(encoding: str) -> sources.Mapping:
    """The EHR's mapping with its weight in another encoding."""
    table = EHR.tables["public.patient"]
    word, _, scale = encoding.partition(" ")
    how = Encoding(word, int(scale) if scale else None)
    columns = [msgspec.structs.replace(c, encoding=how) if c.field == "weight" else c for c in table.columns]
    tables = {"public.patient": msgspec.structs.replace(table, columns=tuple(columns))}
    return msgspec.structs.replace(EHR, tables=tables)


def refused(topic: EhrTopic, value: bytes, **said: Any) -> sources.Undecodable:
    """The error with which a record is refused."""
    with pytest.raises(sources.Undecodable) as caught:
        topic.decode(value, **said)
    assert caught.value.reason in sources.REASONS
    return caught.value


@pytest.mark.parametrize("op", ["c", "u", "d", "r"])
def test_an_event_in_avro_is_the_change_that_it_is_in_json(op: str) -> None:
    """By the same mapping: dates are days and times microseconds in either."""
    event = ehr_event(op, follow_up_completed_at=1_767_000_000_000_000)

    assert from_ehr(event) == EhrTopic().decode(EhrTopic().event(event))


def test_a_topic_may_hold_json_and_avro() -> None:
    """While a connector's converter is changed, records of both kinds stand side by side."""
    topic = EhrTopic()

    assert topic.decode(topic.event(ehr_event())) == topic.decode(packed(ehr_event()))
    assert "tombstone" == topic.decode(None).ignored == topic.decode(b"null").ignored


def test_a_schema_that_a_header_names_by_guid_is_read() -> None:
    """The newer framing of Confluent's serializers: nothing stands before the body."""
    topic = EhrTopic()
    said = body(topic.schema, ehr_event())
    headers = [
        ("__key_schema_id", b"\x01" + topic.shelf.guid(topic.key_number).bytes),
        ("__value_schema_id", b"\x01" + topic.shelf.guid(topic.number).bytes),
    ]

    assert from_ehr(ehr_event()) == topic.decode(said, key=body(key_schema(), {"patient_id": 123}), headers=headers)


def test_the_key_comes_as_json_to_the_decoder_and_one_that_is_not_framed_as_it_is() -> None:
    """A number of eight bytes only looks framed: it begins with zeros."""
    seen: list[bytes | None] = []

    class Seeing:
        def decode(self, _topic: str, key: bytes | None, *_: Any) -> sources.Decoded:
            seen.append(key)
            return sources.Decoded()

    topic = EhrTopic()
    decoder = FramedDecoder(Seeing(), EHR, registry(topic.shelf))
    number = (123).to_bytes(8, "big")
    unknown = framed(99, key_schema(), {"patient_id": 1})
    for key in (topic.key, b'{"patient_id":123}', None, number, unknown):
        decoder.decode(EHR_TOPIC, key, topic.event(ehr_event()), 0)

    assert [b'{"patient_id":123}', b'{"patient_id":123}', None, number, unknown] == seen


@pytest.mark.parametrize("unscaled", [815, -815, 0])
def test_a_decimal_is_read_as_from_json(unscaled: int) -> None:
    """Its bytes are what JSON writes in base64, with the scale of the column or with its own."""
    stored = unscaled.to_bytes(2, "big", signed=True)
    by_column = EhrTopic(mapping=weighed("decimal 1"), weight_kg=DECIMAL)
    by_value = EhrTopic(mapping=weighed("decimal"), weight_kg=VARIABLE)
    told = [
        one(by_column.decode(by_column.event(ehr_event(weight_kg=stored)))),
        one(by_value.decode(by_value.event(ehr_event(weight_kg={"scale": 1, "value": stored})))),
    ]

    assert [unscaled / 10] * 2 == [change.fields["weight"] for change in told]


def test_an_unavailable_value_is_not_carried_in_any_type() -> None:
    """Debezium's placeholder as text, and as the bytes of a decimal."""
    placeholder = "__debezium_unavailable_value"
    topic = EhrTopic(mapping=weighed("decimal 1"), weight_kg=DECIMAL)
    event = ehr_event(allergies=placeholder, weight_kg=placeholder.encode())

    assert {"allergies", "weight"}.isdisjoint(one(topic.decode(topic.event(event))).fields)


def test_a_tables_column_that_was_added_in_mid_stream_is_an_unknown_one() -> None:
    """The new schema has a number of its own; a record by the old one is read as before."""
    shelf = Shelf()
    before, after = EhrTopic(shelf), EhrTopic(shelf, nickname="string")

    assert 1 == len(after.decode(before.event(ehr_event())).changes)
    error = refused(after, after.event(ehr_event(nickname="x")))
    assert ("unknown_column", "table `public.patient`: unknown column `nickname`") == (error.reason, error.message)


@pytest.mark.parametrize(
    ("column", "type_", "says"),
    [
        ("next_appointment_at", connect("long", "io.debezium.time.Timestamp"), "`epoch ms`, the mapping `epoch us`"),
        ("updated_at", {"type": "long", "logicalType": "timestamp-millis"}, "`epoch ms`, the mapping `epoch us`"),
        ("birth_date", connect("string", "io.debezium.time.IsoDate"), "`iso`, the mapping `epoch days`"),
        ("weight_kg", DECIMAL, "`decimal 1`, the mapping no encoding"),
        ("weight_kg", VARIABLE, "`decimal`, the mapping no encoding"),
    ],
)
def test_a_column_of_another_type_than_the_mapping_reads_is_refused(column: str, type_: Any, says: str) -> None:
    """In JSON such a value is only a number; the schema says what it counts, and milliseconds are not microseconds."""
    topic = EhrTopic(**{column: type_})
    error = refused(topic, topic.event(ehr_event(**{column: None})))

    assert "wrong_type" == error.reason
    assert error.message.endswith(f"table `public.patient`, column `{column}`: the schema says {says}")


def test_a_flattened_row_is_compared_with_the_mapping_too() -> None:
    """`ExtractNewRecordState` leaves the record `Value`, with fields of its own beside the columns."""
    schema = row_schema(updated_at=connect("long", "io.debezium.time.Timestamp"))
    topic = EhrTopic()
    number = topic.shelf.put(schema)

    assert "wrong_type" == refused(topic, framed(number, schema, {"patient_id": 1})).reason


def test_a_schema_that_the_registry_does_not_have_makes_a_dead_letter() -> None:
    """It can be replayed when the registry has it."""
    topic = EhrTopic()
    error = refused(topic, b"\x00\x00\x00\x00\x63" + bytes(9))

    assert ("unknown_schema", "source `ehr`: the schema registry has no `schemas/ids/99`") == (
        error.reason,
        error.message,
    )


def test_a_registry_that_is_away_is_no_fault_of_the_record() -> None:
    """The lane waits; with the schema known nobody is asked."""
    topic = EhrTopic()
    topic.shelf.away = True
    with pytest.raises(UnavailableError, match=r"schema registry: does not answer"):
        topic.decode(topic.event(ehr_event()))

    known = EhrTopic()
    known.decode(known.event(ehr_event()))
    known.shelf.away = True
    assert 1 == len(known.decode(known.event(ehr_event())).changes)


@pytest.mark.parametrize("damage", [lambda value: value[:-3], lambda value: value + b"\0", lambda value: value[:5]])
def test_bytes_that_are_no_avro_of_their_schema_are_a_dead_letter(damage: Any) -> None:
    """Too few and too many: a record that was cut is never half a change."""
    topic = EhrTopic()

    assert "not_avro" == refused(topic, damage(topic.event(ehr_event()))).reason


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_never_taken_for_null(number: float) -> None:
    """A null would clear the field."""
    topic = EhrTopic()

    assert "not_avro" == refused(topic, topic.event(ehr_event(weight_kg=number))).reason


def test_apicurios_own_framing_is_refused_with_the_setting_to_change() -> None:
    """Its header, and no prefix."""
    topic = EhrTopic()
    error = refused(topic, body(topic.schema, ehr_event()), headers=[("apicurio.value.globalId", bytes(8))])

    assert "unsupported" == error.reason
    assert "set `apicurio.registry.headers.enabled=false`" in error.message


def test_without_a_registry_framed_bytes_are_refused_with_the_setting_to_make() -> None:
    """A worker that reads JSON says what it lacks."""
    with pytest.raises(sources.Undecodable, match=r"framed by a schema registry: .*, or set `registry_url`"):
        from_ehr(EhrTopic().event(ehr_event()))


def test_salesforces_events_in_avro_are_the_changes_that_they_are_in_json() -> None:
    """Any source's decoder reads through the registry: here with a schema inferred as Connect writes it."""
    event = changed(LastName="Doe", Birthdate="1980-12-31")
    header = event["ChangeEventHeader"]
    names = {str: "string", int: "long"}
    inner = [
        {"name": name, "type": {"type": "array", "items": "string"} if isinstance(found, list) else names[type(found)]}
        for name, found in header.items()
    ]
    fields = [
        {"name": name, "type": ["null", names.get(type(found), "string")]}
        for name, found in event.items()
        if name != "ChangeEventHeader"
    ]
    about = {"type": "record", "name": "Header", "fields": inner}
    schema = {
        "type": "record",
        "name": "Contact",
        "fields": [*fields, {"name": "ChangeEventHeader", "type": about}],
    }
    shelf = Shelf()
    decoder = FramedDecoder(sources.decoder(CRM, MATRIX), CRM, registry(shelf))

    assert from_crm(event) == decoder.decode("crm.contact", None, framed(shelf.put(schema), schema, event), 0)


def test_canonical_events_in_avro_are_the_changes_that_they_are_in_json() -> None:
    """By the schema `ownership.Event` that is in the tree."""
    mapping = msgspec.structs.replace(CRM, connector="canonical")
    event = {"table": "Contact", "at": 5, "version": [1, 2], "row": {"Id": "c-7", "Weight_Kg__c": 81.5, "Email": None}}
    event |= {"evidence": {"contact_preference": {"by": "patient", "at": 1}}, "origin": "person"}
    schema, shelf = record_schema(Event), Shelf()
    plain = sources.decoder(mapping, MATRIX)
    decoder = FramedDecoder(plain, mapping, registry(shelf))

    in_json = plain.decode("t", None, packed(event), 0)
    assert in_json == decoder.decode("t", None, framed(shelf.put(schema), schema, event), 0)
    assert {"email": None, "weight": 81.5} == one(in_json).fields


def test_what_is_read_by_an_envelopes_schema_is_what_json_would_say() -> None:
    """No value of a logical type comes out as anything but what was stored."""
    shelf = Shelf()
    schema = envelope_schema(weight_kg=DECIMAL)
    read = registry(shelf).schema(shelf.put(schema))
    text = json.loads(read.text(body(schema, ehr_event(weight_kg=b"\x03\x2f"))))

    assert [4017, base64.b64encode(b"\x03\x2f").decode()] == [text["after"]["birth_date"], text["after"]["weight_kg"]]
    assert ehr_event(weight_kg="Ay8=") == text
