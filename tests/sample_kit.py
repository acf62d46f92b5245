"""Samples of source records for the tests of `sources check`: many rows, broken in the one way that is asked for."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ownership_stream import sources
from ownership_stream.sources.advice import Finding, findings
from ownership_stream.sources.opened import SampleRecord
from ownership_stream.sources.sample import Examination, examine
from source_kit import CRM, CRM_TOPIC, EHR, EHR_TOPIC, MATRIX, crm_event, ehr_event, packed

ROWS: Final = 30


def record(event: Any, number: int = 123, *, key: bytes | None = b"", **said: Any) -> SampleRecord:
    """An event as it stands on its topic; by default its key is the patient's of this number."""
    value = event if isinstance(event, bytes | None) else packed(event)
    return SampleRecord(
        said.pop("topic", EHR_TOPIC), packed({"patient_id": number}) if key == b"" else key, value, **said
    )


def position(at: int) -> dict[str, Any]:
    """A source block's part that says where the event stands."""
    return {"sequence": f'["{at}","{at}"]', "lsn": at}


def rows(op: str = "u", number: int = ROWS, **columns: Any) -> list[SampleRecord]:
    """Events of so many patients, in order; a column's value may be made of the number of its row."""
    return [
        record(whole(op, i, {name: value(i) if callable(value) else value for name, value in columns.items()}), i)
        for i in range(number)
    ]


def whole(op: str, number: int, columns: dict[str, Any]) -> dict[str, Any]:
    """An event with its row before, as full replica identity has it."""
    event = ehr_event(op, source=position(1000 + number), patient_id=number, crm_id=None, **columns)
    return event | {"before": event["after"] or event["before"]}


def schema(**columns: dict[str, Any]) -> dict[str, Any]:
    """The schema of an envelope with these columns' own."""
    fields = [{"field": name, "optional": True, **one} for name, one in columns.items()]
    return {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": fields}]}


def wrapped(event: SampleRecord, of: dict[str, Any]) -> SampleRecord:
    """A record with its schema."""
    return event._replace(value=packed({"schema": of, "payload": msgspec.json.decode(event.value or b"")}))


def salesforce(header: dict[str, Any] | None = None, number: int = 5, **columns: Any) -> list[SampleRecord]:
    """Updates of the contact."""
    said = {"changedFields": [*columns, "LastModifiedDate"]} | (header or {})
    return [
        record(crm_event(said | {"commitNumber": 100 + i}, **columns), key=None, topic=CRM_TOPIC) for i in range(number)
    ]


def examined(records: Iterable[SampleRecord], mapping: sources.Mapping = EHR) -> Examination:
    """The sample, examined."""
    return examine(records, mapping, MATRIX, lambda one: sources.decoder(one, MATRIX))


def found(records: Iterable[SampleRecord], mapping: sources.Mapping = EHR) -> list[Finding]:
    """What there is to say of it, but for notes."""
    return [one for one in findings(examined(records, mapping)) if one.severity != "note"]


__all__ = ["CRM", "EHR", "ROWS", "examined", "found", "position", "record", "rows", "salesforce", "schema", "whole"]
