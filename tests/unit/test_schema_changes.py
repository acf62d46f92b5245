"""A table that is altered while its connector runs: what the records after it become, in JSON and in Avro.

Records of before and after stand on one topic; those of before are read as ever.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from avro_kit import Shelf, connect, envelope_schema, framed, registry
from ownership_stream import sources
from ownership_stream.model import Change
from ownership_stream.wire.framed import FramedDecoder
from source_kit import AT, EHR, EHR_TOPIC, MATRIX, PATIENT_ROW, ehr_event, one, packed

FORMS: Final = ("JSON", "JSON with its schema", "Avro")
KEY: Final = b'{"patient_id":123}'
BEFORE: Final = dict(PATIENT_ROW)


class Topic:
    """The EHR's topic in one form; a table that was altered has a schema of its own."""

    def __init__(self, form: str) -> None:
        self.form, self.shelf = form, Shelf()
        self.decoder = FramedDecoder(sources.decoder(EHR, MATRIX), EHR, registry(self.shelf))

    def read(self, row: Mapping[str, Any], **types: Any) -> Change:
        """The change that a row's update becomes; `types` are columns of another type or new ones, `key` the key's."""
        event = ehr_event() | {"after": dict(row)}
        schema = envelope_schema(**{name: type_ for name, type_ in types.items() if name != "key"})
        columns = schema["fields"][0]["type"][1]
        kept = [column for column in columns["fields"] if column["name"] in row]
        columns["fields"] = [
            {**column, "type": types.get("key", column["type"])} if column["name"] == "patient_id" else column
            for column in kept
        ]
        if self.form == "Avro":
            value = framed(self.shelf.put(schema, f"{EHR_TOPIC}-value"), schema, event)
        else:
            value = packed({"schema": {"type": "struct"}, "payload": event} if "schema" in self.form else event)
        return one(self.decoder.decode(EHR_TOPIC, KEY, value, 0))

    def refused(self, row: Mapping[str, Any], **types: Any) -> tuple[str, str]:
        """Why a row is a dead letter: the reason, and the words behind the table's name."""
        with pytest.raises(sources.Undecodable) as caught:
            self.read(row, **types)
        return caught.value.reason, caught.value.message.partition("table `public.patient`")[2].lstrip(":, ")


@pytest.fixture(params=FORMS)
def topic(request: pytest.FixtureRequest) -> Topic:
    """With a record of the table as it was on it, which is read."""
    topic = Topic(request.param)
    assert "penicillin" == topic.read(BEFORE | {"allergies": "penicillin"}).fields["allergies"]
    return topic


def without(*names: str) -> dict[str, Any]:
    """The row without some columns."""
    return {name: value for name, value in PATIENT_ROW.items() if name not in names}


def test_a_column_that_was_added_is_a_dead_letter_until_somebody_says_what_it_is(topic: Topic) -> None:
    """It could be the new home of a field: to read on without it would end the field's ownership in silence."""
    assert ("unknown_column", "unknown column `nickname`") == topic.refused(
        PATIENT_ROW | {"nickname": "x"}, nickname="string"
    )
    assert "none known" == topic.read(BEFORE).fields["allergies"], "what was written before is read on"


def test_a_column_that_was_dropped_did_not_change_and_is_not_null(topic: Topic) -> None:
    """Nobody cleared a field by it; of a field of parts the other parts are carried."""
    expected = dict(topic.read(BEFORE).fields)
    del expected["allergies"]
    address = expected["address"]
    assert isinstance(address, dict)
    expected["address"] = {part: value for part, value in address.items() if part != "city"}
    assert expected == topic.read(without("allergies", "city")).fields


def test_without_the_column_that_says_whose_row_it_is_nobody_is_guessed(topic: Topic) -> None:
    """The row does not become a record of its own."""
    reason, said = topic.refused(without("crm_id"))
    assert ("no_record", True) == (reason, said.startswith("the event does not carry `crm_id`"))


def test_a_column_that_was_renamed_is_a_dead_letter_and_ends_nothing_in_silence(topic: Topic) -> None:
    """By its new name, which nobody has mapped yet."""
    renamed = {"allergy_list" if name == "allergies" else name: value for name, value in PATIENT_ROW.items()}
    assert ("unknown_column", "unknown column `allergy_list`") == topic.refused(renamed, allergy_list="string")


def test_a_type_that_was_widened_is_read_on(topic: Topic) -> None:
    """`integer` to `bigint`, `real` to `double precision`, a longer `varchar`: the values are what they were."""
    wide = BEFORE | {"base_version": 2**40, "weight_kg": 81.25, "allergies": "latex, " * 100}
    change = topic.read(wide, base_version="long", weight_kg="double", key="long")
    assert (2**40, 81.25) == (change.base, change.fields["weight"])
    assert len(str(change.fields["allergies"])) > 600
    narrow = topic.read(BEFORE | {"weight_kg": 81}, weight_kg="int", base_version="int")
    assert (41, 81) == (narrow.base, narrow.fields["weight"])


@pytest.mark.parametrize("form", FORMS)
def test_a_time_of_more_digits_is_never_a_time_of_another_year(form: str) -> None:
    """`timestamp(3)` to `timestamp(6)` changes the unit that Debezium counts in: a dead letter until it is mapped."""
    topic = Topic(form)
    rows = {"next_appointment_at": AT * 1_000_000}
    reason, said = topic.refused(BEFORE | rows, next_appointment_at=connect("long", "io.debezium.time.NanoTimestamp"))
    why = "the schema says `epoch ns`, the mapping `epoch us`" if form == "Avro" else "a date outside the years"
    assert ("wrong_type" if form == "Avro" else "not_canonical", True) == (reason, why in said)


def test_a_number_that_became_a_text_is_refused(topic: Topic) -> None:
    """`integer` to `text` where a key or a version is due."""
    reason, said = topic.refused(BEFORE | {"patient_id": "123"}, key="string")
    assert ("wrong_type", "column `patient_id`: expected `int | null`, got `str`") == (reason, said)
