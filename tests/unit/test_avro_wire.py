"""Our own records in Avro: they come back as they were, and JSON of before is read beside them."""

import json
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from avro_kit import Shelf, avro_wire, framed, incompatible, registry
from ownership_stream import sources
from ownership_stream.errors import BadInputError, UnavailableError
from ownership_stream.identity import partition_of
from ownership_stream.matches import Sighting
from ownership_stream.model import Ask, Change, Evidence, RecordState, Send, Sent, SystemState
from ownership_stream.settings import Settings
from ownership_stream.sources.encodings import Encoding
from ownership_stream.sources.mapping import ApplyForm, Writer
from ownership_stream.steps import IntakeStep, MatchStep
from ownership_stream.wire import JSON, Apply, Conflict, Resolution, WireError, apply_record, change_message, held_by
from ownership_stream.wire.avro_wire import ApplyTopic, AvroWire, apply_wires, wire_of
from ownership_stream.wire.framing import framed as framing
from ownership_stream.wire.registry import AWAY_SECONDS, Registry
from ownership_stream.wire.schemas import apply_schema, record_schema
from source_kit import EHR, EHR_TOPIC, MATRIX, ehr_event, from_ehr, one, packed
from step_kit import TOPICS, WRITERS, DecideLane, decide_step, log_record, on, row

CHANGE = Change(
    id="c-1",
    record="0032X00002QU10JQAT",
    system="ehr",
    row="ehr/public.patient/123",
    key="123",
    position=(0, 24023119, 24023128),
    at=1,
    fields={"z": None, "a": True, "b": 2**53 - 1, "c": 81.5, "d": "é", "e": {"q": None, "p": 1, "o": "x"}},
    compared={"care_stage": "active"},
    requests={"care_stage": "paused"},
    actor="provider/7",
    evidence={"b": Evidence("patient", 5), "a": Evidence(None, None)},
    event=("actor",),
    trace={"traceparent": "00-1-2-01"},
)
SIGHTING = Sighting("k", "email", "ehr", "r", 5, "c-1")
CONFLICT = Conflict(
    event="decided",
    record="r",
    field="email",
    label="E-mail",
    outcome="queued",
    reason="stage",
    sentence="s",
    at=1,
    received=2,
    system="crm",
    systems=("ehr", "crm"),
    proposed={"p": 1},
    current=81.5,
    change_id="c-1",
    mode="enforce",
    revision="r",
)
RESOLUTION = Resolution(
    record="r",
    field="email",
    label="E-mail",
    actor="matrix",
    outcome="applied",
    after={"p": None},
    version=3,
    change_id="c-1",
    at=2,
    mode="enforce",
    revision="r",
)
SEND = Send("ehr", "123", {"date_of_birth": "1980-12-31", "weight": None}, "change", 4, 3)
HELD = {"email": "a@b.example", "legal_name": {"family": "Doe", "given": None}, "weight": 80}


def applied(wire: Any, writer: Writer = WRITERS["ehr"], send: Send = SEND, held: Any = HELD) -> Any:
    """An apply record for the EHR."""
    return apply_record(writer, send, CHANGE, rules=["owner wins"], revision="r", at=7, wire=wire, held=held)


def test_every_kind_of_record_comes_back_as_it_was() -> None:
    """With every kind of value, and what was left out as it is by default."""
    wire = avro_wire(Shelf())
    tick = Change(id="t", record="r", kind="tick")
    asks = [
        Change(id="a", record="r", kind="resolve", ask=Ask(case="c:email", action="set", edition="9f", value=value))
        for value in ({"p": None, "q": 1}, "x", None, 81.5)
    ]
    changes = [CHANGE, tick, *asks]

    assert changes == [wire.read_change(wire.encode(one)) for one in changes]
    assert SIGHTING == wire.read_sighting(wire.encode(SIGHTING))
    assert CONFLICT == wire.read_conflict(wire.encode(CONFLICT))
    assert RESOLUTION == wire.read_resolution(wire.encode(RESOLUTION))


def test_evidence_is_the_only_struct_that_is_a_list_to_msgspec() -> None:
    """The wire turns it into a record and back; another one would have to be turned as well."""

    def lists(type_: Any) -> set[type]:
        inner = [getattr(type_, name, None) for name in ("type", "item_type", "key_type", "value_type")]
        inner += [*getattr(type_, "types", ()), *(field.type for field in getattr(type_, "fields", ()))]
        own = {type_.cls} if isinstance(type_, inspect.StructType) and type_.array_like else set()
        return own.union(*(lists(one) for one in inner if one is not None))

    kinds = (Change, Sighting, Conflict, Resolution, Apply)
    assert {Evidence} == set().union(*(lists(inspect.type_info(kind)) for kind in kinds))


def test_the_same_words_give_the_same_bytes() -> None:
    """Whatever the order of a dictionary; verify compares bytes."""
    wire = avro_wire(Shelf())
    turned = msgspec.structs.replace(
        CHANGE,
        fields=dict(reversed([*CHANGE.fields.items()])),
        evidence=dict(reversed([*CHANGE.evidence.items()])),
    )

    assert wire.encode(CHANGE) == wire.encode(turned)


def test_json_of_before_is_read_beside_avro() -> None:
    """A topic keeps what was written under the setting of before."""
    wire = avro_wire(Shelf())

    assert CHANGE == wire.read_change(JSON.encode(CHANGE))
    assert SIGHTING == wire.read_sighting(JSON.encode(SIGHTING))
    assert CONFLICT == wire.read_conflict(JSON.encode(CONFLICT))
    assert RESOLUTION == wire.read_resolution(JSON.encode(RESOLUTION))
    record = applied(JSON).value
    assert JSON.read_apply(record) == wire.read_apply(record)


def test_subjects_are_named_by_their_topics() -> None:
    """TopicNameStrategy; keys are text, but for those of apply records."""
    shelf = Shelf()
    wire = avro_wire(shelf)
    for record in (CHANGE, SIGHTING, CONFLICT, RESOLUTION):
        wire.encode(record)
    applied(wire)

    assert {
        "ownership.changes-value",
        "ownership.matches-value",
        "ownership.conflicts-value",
        "ownership.resolutions-value",
        "apply.ehr-key",
        "apply.ehr-value",
    } == shelf.subjects.keys()
    message = change_message(CHANGE, wire)
    assert (CHANGE.record.encode(), b"application/avro") == (message.key, dict(message.headers)["content-type"])


def test_an_apply_record_holds_every_column_that_may_be_written() -> None:
    """A sink writes all columns of a schema, so what did not change stands there as the system holds it."""
    wire = avro_wire(Shelf())
    record = wire.read_apply(applied(wire).value)
    sparse = JSON.read_apply(applied(JSON).value)

    assert set(record.after) == {shape.name for shape in WRITERS["ehr"].shapes()}
    assert sparse.after == {name: record.after[name] for name in sparse.after}
    assert ("a@b.example", "Doe", None) == tuple(record.after[name] for name in ("email", "family_name", "given_name"))
    assert (sparse.sync, sparse.source, sparse.op) == (record.sync, record.source, record.op)
    assert ("birth_date", "weight_kg") == record.sync.changed_fields


SPARSE = msgspec.structs.replace(EHR, apply_form="avro with changed columns")


def sparse_wire(shelf: Shelf, mapping: sources.Mapping = SPARSE) -> tuple[AvroWire, Writer]:
    """The wire of a system that asks for a schema for each set of changed columns."""
    writer = Writer(mapping, MATRIX)
    return AvroWire(registry(shelf), {}, {"ehr": ApplyTopic("apply.ehr", writer)}), writer


def test_a_record_with_changed_columns_holds_nothing_else_and_neither_does_its_schema() -> None:
    """What a sink does not find in the schema it leaves alone: a true patch, as JSON with its schema is one."""
    shelf = Shelf()
    wire, writer = sparse_wire(shelf)
    message = applied(wire, writer)
    found = framing(message.value, ())
    assert found is not None
    assert isinstance(found.schema, int)
    schema = json.loads(shelf.schemas[found.schema - 1]["schema"])
    row = schema["fields"][0]["type"][1]

    assert JSON.read_apply(applied(JSON, writer).value) == wire.read_apply(message.value)
    assert wire.read_apply(message.value).after.keys() == {field["name"] for field in row["fields"]}
    assert {"patient_id", "birth_date", "weight_kg", "sync_change_id"} == {field["name"] for field in row["fields"]}


def test_each_set_of_columns_is_one_version_and_all_of_them_read_each_other() -> None:
    """Whatever the order in which fields were sent; FULL_TRANSITIVE, with the whole row's schema too."""
    shelf = Shelf()
    wire, writer = sparse_wire(shelf)
    for values in ({"weight": 81.5}, {"weight": None}, {"email": "a", "weight": 1}, {"weight": 2, "email": "b"}):
        applied(wire, writer, msgspec.structs.replace(SEND, values=values))
    schemas = [json.loads(shelf.schemas[number - 1]["schema"]) for number in shelf.subjects["apply.ehr-value"]]

    assert 2 == len(schemas)
    every = [*schemas, apply_schema(writer)]
    assert [[]] * 9 == [incompatible(one, other) for one in every for other in every]


def test_a_decimal_that_did_not_change_is_in_no_record_with_changed_columns() -> None:
    """And one that did is bytes."""
    table = SPARSE.tables["public.patient"]
    how = Encoding("decimal", 1)
    columns = [msgspec.structs.replace(c, encoding=how) if c.field == "weight" else c for c in table.columns]
    tables = {"public.patient": msgspec.structs.replace(table, columns=tuple(columns))}
    wire, writer = sparse_wire(Shelf(), msgspec.structs.replace(SPARSE, tables=tables))
    sends = [msgspec.structs.replace(SEND, values=values) for values in ({"weight": 81.5}, {"email": "a"})]
    read = [wire.read_apply(applied(wire, writer, send).value).after for send in sends]

    assert ["Ay8=", "none"] == [after.get("weight_kg", "none") for after in read]


@pytest.mark.parametrize("wire_word", ["json", "avro"])
def test_each_systems_form_is_its_mappings_and_else_the_settings(wire_word: str) -> None:
    """One system's records in Avro and another's in JSON, whatever our own topics are in."""
    settings = Settings.model_validate({"wire": wire_word, "registry_url": "http://127.0.0.1:9"})
    known = registry(Shelf())
    writers = {
        form or "none": Writer(msgspec.structs.replace(EHR, system="ehr", apply_form=form), MATRIX)
        for form in get_args(ApplyForm)
    }
    wire = wire_of(settings, {"ehr": writers["none"]}, known)
    found = apply_wires(settings, writers, wire, known)

    assert {
        "none": wire_word,
        "json": "json",
        "json with schema": "json",
        "avro": "avro",
        "avro with changed columns": "avro",
    } == {form: "json" if one is JSON else "avro" for form, one in found.items()}


def test_a_form_in_avro_without_a_registry_is_refused_at_start() -> None:
    """Before anything is written."""
    writer = Writer(SPARSE, MATRIX)
    with pytest.raises(
        BadInputError, match="`apply as: avro with changed columns` of system `ehr` needs `registry_url`"
    ):
        apply_wires(Settings(), {"ehr": writer}, JSON, None)


def test_a_column_that_the_system_is_never_sent_is_in_no_apply_record() -> None:
    """What another owner keeps to itself is written to no row, and has no place in the schema."""
    email = MATRIX.fields["email"]
    kept = msgspec.structs.replace(email, views=email.views | {"ehr": "none"})
    writer = Writer(EHR, msgspec.structs.replace(MATRIX, fields=MATRIX.fields | {"email": kept}))
    wire = AvroWire(avro_wire(Shelf())._registry, {}, {"ehr": ApplyTopic("apply.ehr", writer)})

    assert {"email"} == WRITERS["ehr"].shared - writer.shared
    assert "email" not in wire.read_apply(applied(wire, writer).value).after


def test_the_key_of_an_apply_record_is_avro_too() -> None:
    """In the types of the system's own key, as a sink with `primary.key.mode=record_key` wants it."""
    shelf = Shelf()
    found = framing(applied(avro_wire(shelf)).key, ())
    assert found is not None
    assert isinstance(found.schema, int)
    assert b"\xf6\x01" == applied(avro_wire(shelf)).key[found.begin :], "123 as a long"
    assert shelf.schemas[found.schema - 1]["schema"].startswith('{"type":"record","name":"Key","namespace":"ownership')


def test_an_apply_record_that_leaves_a_column_out_is_not_written() -> None:
    """It would be null, and a sink would clear the column."""
    wire = avro_wire(Shelf())
    sparse = JSON.read_apply(applied(JSON).value)
    with pytest.raises(ValueError, match=r"missing|specified"):
        wire.encode(sparse)


@pytest.mark.parametrize(("encoding", "read"), [(Encoding("decimal", 1), "Ay8="), (Encoding("decimal"), None)])
def test_a_decimal_column_is_written_as_bytes(encoding: Encoding, read: str | None) -> None:
    """And comes back as JSON writes it."""
    table = EHR.tables["public.patient"]
    columns = [msgspec.structs.replace(c, encoding=encoding) if c.field == "weight" else c for c in table.columns]
    mapping = msgspec.structs.replace(
        EHR, tables={"public.patient": msgspec.structs.replace(table, columns=tuple(columns))}
    )
    writer = Writer(mapping, MATRIX)
    wire = AvroWire(avro_wire(Shelf())._registry, {}, {"ehr": ApplyTopic("apply.ehr", writer)})
    send = msgspec.structs.replace(SEND, values={"weight": 81.5})
    after = wire.read_apply(applied(wire, writer, send).value).after

    assert (read or {"scale": 1, "value": "Ay8="}) == after["weight_kg"]
    assert wire.read_apply(applied(wire, writer).value).after["weight_kg"] is None


def test_a_column_whose_name_avro_does_not_allow_is_refused_before_anything_is_written() -> None:
    """A name of our own making would be written to no column."""
    table = EHR.tables["public.patient"]
    columns = [msgspec.structs.replace(c, name="Address.City") if c.name == "city" else c for c in table.columns]
    mapping = msgspec.structs.replace(
        EHR, tables={"public.patient": msgspec.structs.replace(table, columns=tuple(columns))}
    )
    with pytest.raises(BadInputError, match=r"column `Address.City` has a name that Avro does not allow"):
        apply_schema(Writer(mapping, MATRIX))


def test_what_a_system_holds_is_what_was_sent_last_else_what_it_shows() -> None:
    """An answer that is under way counts; a system that was never seen holds nothing known."""
    sent = (Sent("old", "c", 1), Sent("new", "d", 2))
    state = RecordState(systems={"ehr": SystemState(shown={"a": 1, "b": 2}, outstanding={"b": sent, "c": ()})})

    assert {"a": 1, "b": "new"} == held_by(state, "ehr")
    assert {} == held_by(state, "crm")


def test_a_newer_releases_field_is_passed_over_while_it_is_null_and_never_guessed() -> None:
    """Null says what this release says of it: nothing."""
    shelf = Shelf()
    wire = avro_wire(shelf)
    schema = record_schema(Change)
    schema["fields"].append({"name": "later", "type": ["null", "string"], "default": None})
    number = shelf.put(schema, "ownership.changes-value")

    assert Change(id="c", record="r") == wire.read_change(framed(number, schema, {"id": "c", "record": "r"}))
    with pytest.raises(WireError, match=r"not a change of this release"):
        wire.read_change(framed(number, schema, {"id": "c", "record": "r", "later": "x"}))


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x00\x02\x06abc", b"{}", b"no"])
def test_bytes_that_are_no_change_are_refused(value: bytes) -> None:
    """Cut, of another schema, or neither Avro nor JSON."""
    shelf = Shelf()
    wire = avro_wire(shelf)
    wire.encode(CHANGE)
    shelf.put('"string"')
    for read in (wire.read_change, wire.read_conflict, wire.read_resolution, wire.read_sighting, wire.read_apply):
        with pytest.raises(WireError):
            read(value)


def test_the_settings_name_the_wire() -> None:
    """JSON unless they say Avro; nobody is spoken to."""
    avro = {"wire": "avro", "registry_url": "http://127.0.0.1:9"}

    assert JSON is wire_of(Settings())
    assert JSON is wire_of(Settings(**avro | {"wire": "json"}))
    assert isinstance(wire_of(Settings(**avro), WRITERS), AvroWire)


# ---------------------------------------------------------------------------------------------------- in the stages


NAME = {"legal_name": {"family": "Doe", "given": "Ann"}}


def story() -> list[Change]:
    """A record that both systems create, then a write that is approved and one that is not."""
    return [
        row("r", 0, "crm", {**NAME, "email": "a@b.example", "care_stage": "new_lead"}, "person", op="c"),
        row("r", 0, "ehr", {}, op="c"),
        row("r", 1, "ehr", {"date_of_birth": "1980-12-31", "lead_source": "paid"}, "nurse"),
    ]


def test_the_stages_decide_in_avro_as_they_do_in_json() -> None:
    """The same changes to the same ends; only the bytes differ."""
    wire = avro_wire(Shelf())
    changes = story()
    avro = DecideLane(decide_step(wire=wire, secret=b"s"))
    avro.batch([log_record(one, n)._replace(value=wire.encode(one)) for n, one in enumerate(changes)])
    json = DecideLane(decide_step(secret=b"s"))
    json.decide(*changes)

    assert json.stored == avro.stored
    assert json.counts == avro.counts
    assert len(json.outputs) == len(avro.outputs)
    assert [o[0] for o in json.outputs] == [o[0] for o in avro.outputs]
    told = [wire.read_conflict(output.value or b"") for output in on(avro.outputs, TOPICS.conflicts)]
    assert [JSON.read_conflict(output.value or b"") for output in on(json.outputs, TOPICS.conflicts)] == told
    seen = [wire.read_sighting(output.value or b"") for output in on(avro.outputs, TOPICS.matches)]
    assert seen
    assert [JSON.read_sighting(output.value or b"") for output in on(json.outputs, TOPICS.matches)] == seen
    sent = [wire.read_apply(output.value or b"") for output in on(avro.outputs, TOPICS.apply["crm"])]
    due = [JSON.read_apply(output.value or b"") for output in on(json.outputs, TOPICS.apply["crm"])]
    assert due
    assert [one.sync for one in due] == [one.sync for one in sent]


def test_intake_and_match_write_changes_in_avro() -> None:
    """What a source row becomes, and what two sightings become."""
    wire = avro_wire(Shelf())
    match = MatchStep(TOPICS, state_topic="m", wire=wire)
    where = partition_of("k", TOPICS.partitions)
    twice = [msgspec.structs.replace(SIGHTING, record=record) for record in ("r", "s")]
    records = [
        log_record(CHANGE, n)._replace(topic=TOPICS.matches, partition=where, value=wire.encode(one))
        for n, one in enumerate(twice)
    ]
    [found] = match.run(match.decode(records), {}).outputs
    change = wire.read_change(found.value or b"")
    assert ("match", "s", "r") == (change.kind, change.record, change.other)

    intake = IntakeStep({EHR_TOPIC: sources.decoder(EHR, MATRIX)}, TOPICS, wire=wire)
    read = log_record(CHANGE, 0)._replace(topic=EHR_TOPIC, value=packed(ehr_event()), headers=[])
    [written] = intake.decode([read]).outputs
    assert one(from_ehr(ehr_event())) == wire.read_change(written.value or b"")


def test_a_change_by_an_unknown_schema_is_a_dead_letter_of_its_own_reason() -> None:
    """Not of `foreign`: the bytes may well be ours."""
    record = log_record(CHANGE, 0)._replace(value=b"\x00\x00\x00\x00\x63abc")
    decoded = decide_step(wire=avro_wire(Shelf())).decode([record])

    [letter] = decoded.outputs
    assert b"unknown_schema" == dict(letter.headers)["__ownership.errors.reason"]
    assert {("dead_letters", "decide", "unknown_schema"): 1} == dict(decoded.counts)


def test_a_registry_that_is_away_lets_a_stage_wait_with_nothing_lost() -> None:
    """The same batch, run again when it answers, ends as if it had answered at once."""
    shelf, now = Shelf(), [0.0]
    wire = avro_wire(shelf, Registry(shelf.ask, clock=lambda: now[0]))
    waited, at_once = DecideLane(decide_step(wire=wire)), DecideLane(decide_step())
    records = [log_record(change, offset) for offset, change in enumerate(story())]
    shelf.away = True
    with pytest.raises(UnavailableError):
        waited.batch(records)
    assert {} == waited.stored

    shelf.away, now[0] = False, AWAY_SECONDS
    waited.batch(records)
    at_once.batch(records)
    assert at_once.stored == waited.stored
    assert at_once.counts == waited.counts
