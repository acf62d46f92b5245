"""Source records taken apart without a plan, whatever their form: for the check of a sample, not for the stream.

The decoders refuse what they do not expect; whoever asks why wants to see it all the same. Here a record is opened as
far as it goes, and nothing of it is judged.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ownership_stream.sources.compound import Compounds
from ownership_stream.sources.guard import is_tombstone
from ownership_stream.sources.mapping import Mapping as SourceMapping

Form = Literal[
    "tombstone", "not json", "registry", "envelope", "flattened", "salesforce", "canonical", "transaction", "other"
]
FORMS: Final[dict[Form, str]] = {
    "tombstone": "tombstones",
    "not json": "bytes that are no JSON",
    "registry": "framed as by a schema registry (not JSON)",
    "envelope": "Debezium envelopes",
    "flattened": "rows flattened by `ExtractNewRecordState`",
    "salesforce": "Salesforce change events",
    "canonical": "row events of the canonical form",
    "transaction": "heartbeats, or ends of transactions",
    "other": "JSON of another shape",
}

DELETED: Final = "__deleted"
"""The one column that ``ExtractNewRecordState`` adds under the same name whatever its prefix."""
NO_ROW: Final = frozenset({"t", "m"})
"""Debezium's operations that are about no row, and so have no key: truncate, and logical decoding message."""
UNSAID: Final = "unsaid"
"""The operation of a flattened row that does not say it."""
HEADER: Final = "ChangeEventHeader"
_ABOUT: Final = frozenset({HEADER, "Id", "ReplayId", "_ObjectType", "_EventType"})
_ENVELOPE: Final = frozenset({"op", "source"})
_TRANSACTION: Final = ({"status", "id"}, {"ts_ms"})


class SampleRecord(NamedTuple):
    """A source record as it was read. ``keyed``: whether the key is known (a file may have values only)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 0
    keyed: bool = True


class Opened(NamedTuple):
    """A record, opened: its form, and what it says of a row as far as it says it."""

    form: Form
    schema: bool = False
    """Whether it brings its schema."""
    table: str = ""
    op: str = ""
    row: Mapping[str, Any] = {}
    """Column -> value, of what the record is about; on a delete, of the row before."""
    before: Mapping[str, Any] | None = None
    snapshot: str = ""
    types: Mapping[str, Mapping[str, Any]] = {}
    """Column -> its Connect schema, where the record brings it."""
    about: Mapping[str, Any] = {}
    """The source block, the header, or the added columns."""


def opened(record: SampleRecord, mapping: SourceMapping) -> Opened:
    """One record, opened; never raises."""
    if record.value is None or is_tombstone(record.value):
        return Opened("tombstone")
    try:
        found = msgspec.json.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Opened("registry" if record.value[:1] in {b"\0", b"\1"} else "not json")
    schema: Mapping[str, Any] = {}
    wrapped = isinstance(found, dict) and found.keys() == {"schema", "payload"}
    if wrapped:
        schema, found = _dict(found["schema"]), found["payload"]
    if not isinstance(found, dict):
        return Opened("tombstone" if found is None else "other", wrapped)
    return _form(found, schema, mapping)._replace(schema=wrapped)


def _form(found: dict[str, Any], schema: Mapping[str, Any], mapping: SourceMapping) -> Opened:
    if HEADER in found:
        return _salesforce(found, mapping)
    if found.keys() >= _ENVELOPE and isinstance(found["source"], dict):
        return _envelope(found, schema, mapping)
    if found.keys() >= {"table", "row"} and isinstance(found["row"], dict):
        op, table = str(found.get("op", "u")), str(found["table"])
        return Opened("canonical", table=table, op=op, row=found["row"])
    if any(found.keys() >= keys for keys in _TRANSACTION) and not found.keys() & set(_columns(mapping)):
        return Opened("transaction")
    if mapping.connector.startswith("debezium") and (
        any(_is_added(name, mapping) for name in found) or found.keys() & set(_columns(mapping))
    ):
        return _flattened(found, schema, mapping)
    return Opened("other")


def _envelope(found: dict[str, Any], schema: Mapping[str, Any], mapping: SourceMapping) -> Opened:
    source, op = found["source"], str(found["op"])
    if op == "m":
        return Opened("envelope", op=op, about=source)
    after, before = found.get("after"), found.get("before")
    names = [f"{source.get(part)}.{source.get('table')}" for part in ("schema", "db") if source.get(part)]
    flag = source.get("snapshot")
    return Opened(
        "envelope",
        table=_table([*names, str(source.get("table", ""))], mapping),
        op=op,
        row=_dict(before if op == "d" else after),
        before=before if isinstance(before, dict) else None,
        snapshot="false" if flag is None else str(flag).lower(),
        types=_fields(_fields(schema).get("after", {})),
        about=source,
    )


def _flattened(found: dict[str, Any], schema: Mapping[str, Any], mapping: SourceMapping) -> Opened:
    about = {_bare(name, mapping): value for name, value in found.items() if _is_added(name, mapping)}
    deleted = str(about.get("deleted")).lower() == "true"
    table, within = about.get("table", about.get("source_table")), about.get("schema", about.get("source_schema"))
    names = [f"{within}.{table}", str(table)] if table else list(mapping.tables)[:1]
    return Opened(
        "flattened",
        table=_table(names, mapping),
        op=str(about.get("op") or ("d" if deleted else UNSAID)),
        row={name: value for name, value in found.items() if not _is_added(name, mapping)},
        snapshot=str(about.get("source_snapshot", about.get("snapshot", ""))).lower(),
        types=_fields(schema),
        about=about,
    )


def _is_added(name: str, mapping: SourceMapping) -> bool:
    return name == DELETED or name.startswith(mapping.added_prefix)


def _bare(name: str, mapping: SourceMapping) -> str:
    return "deleted" if name == DELETED else name.removeprefix(mapping.added_prefix)


def _salesforce(found: dict[str, Any], mapping: SourceMapping) -> Opened:
    header = _dict(found[HEADER])
    table = mapping.tables.get(str(header.get("entityName", "")))
    compounds = Compounds(() if table is None else table.known())
    body = compounds.flat({name: value for name, value in found.items() if name not in _ABOUT})
    op = str(header.get("changeType", ""))
    named = [str(name) for part in ("changedFields", "nulledFields") for name in _list(header.get(part))]
    if op == "UPDATE":
        said = {compounds.column(name) for name in named} | {part for name in named for part in compounds.parts(name)}
        body = {name: value for name, value in body.items() if name in said or name.partition(".")[0] in named}
    else:
        body = {name: value for name, value in body.items() if value is not None}
    return Opened("salesforce", table=str(header.get("entityName", "")), op=op, row=body, about=header)


def _table(names: list[str], mapping: SourceMapping) -> str:
    """The first of the names that the mapping has, by itself or as the end of one of its tables."""
    known = next((name for name in names if name in mapping.tables), "")
    last = [table for table in mapping.tables for name in names if table.endswith(f".{name}")]
    return known or (last[0] if last else names[0] if names else "")


def _columns(mapping: SourceMapping) -> list[str]:
    return [column for table in mapping.tables.values() for column in table.known()]


def _fields(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name -> schema of a struct's fields."""
    return {str(one.get("field")): one for one in _list(schema.get("fields")) if isinstance(one, dict)}


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []
