"""What to do about a sample: settings of the connector that are missing or harmful, and columns that are ambiguous.

Each finding names its setting, or the word of the mapping that would be right. An ``error`` means that records would be
dead letters or wrong values would be decided on; a ``warning``, that it looks so; a ``note`` costs nothing.
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Final, Literal

import msgspec

from ownership_stream.matrix.normalise import ENCODINGS
from ownership_stream.matrix.reading import listed
from ownership_stream.sources.databases import DATABASES
from ownership_stream.sources.encodings import DECIMAL, NESTED, Encoding
from ownership_stream.sources.events import add_fields
from ownership_stream.sources.guard import named
from ownership_stream.sources.mapping import Table
from ownership_stream.sources.sample import Examination, Watched, about, plain
from ownership_stream.sources.shapes import SEMANTIC, Seen

Severity = Literal["error", "warning", "note"]

ENOUGH: Final = 20
"""Rows from which on a share of them says something."""
OFTEN: Final = 0.3
"""The share of one value that stands for nothing, from which on a null is suspected behind it."""
CLOSE: Final = 0.5
"""How alike two names are that may be one column, renamed."""
_WHOLE_ROWS: Final = {
    "postgresql": "ALTER TABLE … REPLICA IDENTITY FULL",
    "mysql": "binlog_row_image=FULL",
    "mariadb": "binlog_row_image=FULL",
    "oracle": "supplemental logging of all columns",
}
"""By database: what makes it log rows whole."""
_GAPS: Final = "GAP_"
_TIMES: Final = frozenset(ENCODINGS)
_NULLS: Final = "replace.null.with.default=false in a JSON converter, ignore.default.for.nullables=true in an Avro one"


class Finding(msgspec.Struct, frozen=True):
    """One thing to look at."""

    severity: Severity
    table: str
    """``""``: of the source as a whole."""
    column: str
    setting: str
    """What to set, in the connector, the database or the mapping; ``""`` where the message says it all."""
    message: str


def findings(sample: Examination) -> tuple[Finding, ...]:
    """All findings, errors first."""
    found = [finding for look in _LOOKS for finding in look(sample)]
    for watched in sample.tables.values():
        for column in _COLUMN_LOOKS:
            found += column(sample, watched)
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(map(_printable, found), key=lambda finding: order[finding.severity]))


def _printable(finding: Finding) -> Finding:
    """Without names out of the data that are no names."""
    table, column = (plain(name) if name else "" for name in (finding.table, finding.column))
    return msgspec.structs.replace(finding, table=table, column=column)


# ---------------------------------------------------------------------------------------------------- the connector


def _flattened(sample: Examination) -> Iterator[Finding]:
    for watched in sample.tables.values():
        records = [one for one in watched.records if one.form == "flattened"]
        if not records:
            continue
        added = {name.removeprefix("source_") for one in records for name in one.about}
        database = DATABASES.get(sample.mapping.connector)
        places = {name.removeprefix("source.") for name in database.added} if database else set()
        if places and not added & places and not sample.mapping.by_timestamp:
            message = "the flattened rows carry no position, so that a late row could win over a newer one"
            advice = f"transforms.….add.fields={add_fields(sample.mapping)}"
            yield Finding("error", watched.name, "", advice, message)
        if not added & {"op", "deleted"}:
            message = "the flattened rows do not say whether a row was made, changed or deleted"
            advice = "transforms.….delete.tombstone.handling.mode=rewrite, and `op` in add.fields"
            yield Finding("error", watched.name, "", advice, message)


def _connector(sample: Examination) -> Iterator[Finding]:
    family, _, database = sample.mapping.connector.partition(" ")
    if family != "debezium":
        return
    found = {str(one.about.get("connector")) for watched in sample.tables.values() for one in watched.records
             if one.form == "envelope"}  # fmt: skip
    others = sorted(plain(name) for name in found - {database.replace(" ", "")})
    if others:
        message = f"the events say they come from {listed(others, 'and')}"
        yield Finding("error", "", "", "`connector` in the mapping", message)


def _keys(sample: Examination) -> Iterator[Finding]:
    for watched in sample.tables.values():
        if watched.keyless and sample.mapping.connector.startswith("debezium"):
            message = f"{watched.keyless} of {len(watched.records)} records have no key: rows would be in no order"
            yield Finding("error", watched.name, "", "a primary key, or message.key.columns", message)


def _replica_identity(sample: Examination) -> Iterator[Finding]:
    for watched in sample.tables.values():
        setting = _WHOLE_ROWS.get(sample.mapping.connector.partition(" ")[2], "")
        if watched.bare_deletes:
            linked = watched.table is not None and watched.table.record.link is not None
            severity: Severity = "error" if linked else "warning"
            message = f"{watched.bare_deletes} of {watched.ops['d']} deletes show the key only, not whose record it was"
            yield Finding(severity, watched.name, "", setting, message)
        elif watched.bare_updates and watched.bare_updates == watched.ops["u"]:
            message = "no update shows the row before, so a delete will not say whose it was"
            if watched.table is not None and any(column.encoding.word == NESTED for column in watched.table.columns):
                message += ", and an array that is long and did not change may come as null"
            yield Finding("warning", watched.name, "", setting, message)


def _salesforce(sample: Examination) -> Iterator[Finding]:
    for watched in sample.tables.values():
        records = [one for one in watched.records if one.form == "salesforce"]
        gaps = sum(one.op.startswith(_GAPS) for one in records)
        if gaps:
            message = f"{gaps} gap events say that something changed, not what: their records must be read again"
            yield Finding("warning", watched.name, "", "", message)
        bitmaps = sum("0x" in str(one.about.get("changedFields")) for one in records)
        if bitmaps:
            message = f"{bitmaps} events name the changed fields by bitmaps of the Pub/Sub API, which are not read"
            yield Finding("error", watched.name, "", "a connector that expands changedFields", message)
        silent = sum(one.op == "UPDATE" and not one.about.get("changedFields") and not one.about.get("nulledFields")
                     for one in records)  # fmt: skip
        if silent:
            message = f"{silent} updates name no changed field, so that nothing of them can be taken"
            yield Finding("warning", watched.name, "", "changedFields in the connector's schema", message)


def _several(sample: Examination) -> Iterator[Finding]:
    for watched in sample.tables.values():
        if watched.table is None or watched.table.primary or watched.table.speaks is not None:
            continue
        found = sample.crowded(watched.name)
        if found:
            message = f"{found} records have several rows, and each of them would be the record's"
            yield Finding("error", watched.name, "", "`speaks` in the mapping", message)


def _order(sample: Examination) -> Iterator[Finding]:
    for table in sample.report().tables:
        where = table.positions
        if where.changes > where.positioned:
            message = f"{where.changes - where.positioned} of {where.changes} changes have no position in the source"
            yield Finding("warning", table.name, "", "", message)
        if where.backwards:
            message = f"{where.backwards} changes stand before an earlier one of their row: late, or repeated"
            yield Finding("note", table.name, "", "`source_epoch`, if the database was restored", message)
        if where.tied:
            message = f"{where.tied} changes share a position with another change of their row: neither is first"
            yield Finding("warning", table.name, "", "", message)
        actors = table.actors
        if actors.distinct > actors.known:
            message = f"{actors.distinct - actors.known} of {actors.distinct} writers are automations without a role"
            yield Finding("note", table.name, "", "`actors` in the mapping", message)
        if where.changes and actors.missing == where.changes:
            message = "no change names its writer: no person's right can be granted"
            yield Finding("warning", table.name, "", "`actor` in the mapping", message)


def _coverage(sample: Examination) -> Iterator[Finding]:
    """What the sample cannot show."""
    for watched in sample.tables.values():
        if watched.table is None and watched.name not in sample.mapping.ignored_tables:
            message = "not mapped: its records are dead letters"
            yield Finding("error", watched.name, "", "`tables` or `ignored tables` in the mapping", message)
        elif watched.table is not None and not watched.records:
            yield Finding("note", watched.name, "", "", "no record of it is in the sample")
        elif watched.records and not any(watched.ops[op] for op in ("u", "UPDATE")):
            yield Finding("note", watched.name, "", "", "no update is in the sample: ask again when rows have changed")


_LOOKS: Final[tuple[Callable[[Examination], Iterator[Finding]], ...]] = (
    _connector, _flattened, _keys, _replica_identity, _salesforce, _several, _order, _coverage,
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the columns


def _unknown(sample: Examination, watched: Watched) -> Iterator[Finding]:
    """Columns that are neither read nor ignored, and mapped ones that never came: often one is the other, renamed."""
    if watched.table is None or not watched.records:
        return
    unknown = watched.unknown()
    for name in unknown:
        message = "neither read nor ignored: every row with it is a dead letter"
        yield Finding("error", watched.name, name, "`columns` or `ignored` in the mapping", message)
    if sample.mapping.sparse:
        return
    absent = sorted(watched.read() - watched.columns.keys())
    if not absent:
        return
    near = ((name, get_close_matches(name, unknown, n=1, cutoff=CLOSE)) for name in absent)
    renamed = [f"was {named(name)} renamed to {named(close[0])}?" for name, close in near if close]
    which = listed(absent, "and") if len(absent) > 1 else "it"
    message = f"{which} {'are' if len(absent) > 1 else 'is'} mapped, and in no row of the sample"
    column = absent[0] if len(absent) == 1 else ""
    yield Finding("warning", watched.name, column, "", ": ".join((message, " ".join(renamed))) if renamed else message)


def _placeholders(_: Examination, watched: Watched) -> Iterator[Finding]:
    for name, seen in watched.columns.items():
        if seen.undeclared and name in watched.read():
            message = f"{seen.undeclared} values look like a placeholder for an unchanged TOAST value"
            setting = "`unavailable value` in the mapping, as the connector's unavailable.value.placeholder"
            yield Finding("error", watched.name, name, setting, message)


def _defaults(sample: Examination, watched: Watched) -> Iterator[Finding]:
    """Never null and often the default: an explicit null may have been replaced by it on the way."""
    if sample.mapping.sparse or watched.table is None:
        return
    for column in watched.table.columns:
        seen = watched.columns.get(column.name)
        if seen is None or seen.nulls or seen.present < ENOUGH or len(watched.rows) < ENOUGH:
            continue
        declared = seen.schema.get("optional", True) and seen.defaults >= OFTEN * seen.present
        nothings = seen.nothings(sample.matrix.fields[column.field].choices)
        guessed = not seen.schema and nothings >= OFTEN * seen.present
        if declared or guessed:
            times = seen.defaults if declared else nothings
            what = "its default" if declared else "one value that stands for nothing"
            message = f"never null, and {times} of {seen.present} times {what}: a cleared field may arrive as it"
            yield Finding("warning", watched.name, column.name, _NULLS, message)


def _encodings(sample: Examination, watched: Watched) -> Iterator[Finding]:
    """What a column looks like, beside what the mapping takes it for."""
    if watched.table is None:
        return
    for name, encoding, type_ in _declared(sample, watched.table):
        seen = watched.columns.get(name)
        if seen is None or not seen.present:
            continue
        yield from _by_schema(watched, name, encoding, seen)
        if not seen.schema.get("name"):
            yield from _by_looks(watched, name, encoding, type_, seen)


def _declared(sample: Examination, table: Table) -> Iterator[tuple[str, Encoding, str]]:
    """(column, encoding, type) of all that hold a field, or a moment about the row."""
    held = set()
    for column in table.columns:
        field = sample.matrix.fields[column.field]
        held.add(column.name)
        yield column.name, column.encoding, field.parts[column.part] if column.part else field.type
    moments = [table.updated_at, *(rule.at for rule in table.evidence)]
    yield from ((cell.name, cell.encoding, "instant") for cell in moments if cell and cell.name not in held)


def _by_schema(watched: Watched, name: str, encoding: Encoding, seen: Seen) -> Iterator[Finding]:
    """The connector's own schema says for sure how the column is written."""
    due = SEMANTIC.get(str(seen.schema.get("name")), "")
    parameters = seen.schema.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, dict) else None
    said = f"{due} {scale}" if due == DECIMAL and scale is not None else due
    mapped = encoding.word if encoding.scale is None else f"{encoding.word} {encoding.scale}"
    if said and said != mapped:
        message = f"the connector's schema says `{said}`, and the mapping {_as(encoding)}"
        yield Finding("error", watched.name, name, f"`… as {said}` in the mapping", message)


def _by_looks(watched: Watched, name: str, encoding: Encoding, type_: str, seen: Seen) -> Iterator[Finding]:
    """Magnitudes and patterns only suggest."""
    looks = seen.unit() or ("iso" if seen.moments() else "")
    if encoding.word in _TIMES and looks and looks != encoding.word:
        message = f"mapped {_as(encoding)}, and its values look like `{looks}`"
        yield Finding("error", watched.name, name, f"`… as {looks}`, or time.precision.mode", message)
    elif encoding.word.startswith("epoch") and not looks and seen.present >= ENOUGH:
        message = f"mapped {_as(encoding)}, and the magnitude of its numbers does not tell the unit"
        yield Finding("warning", watched.name, name, "", message)
    if type_ == "number" and not encoding.word and seen.all_decimals():
        message = "mapped as a number, and its texts look like Kafka Connect's decimals"
        yield Finding("error", watched.name, name, "`… as decimal N`, or decimal.handling.mode=double", message)
    if type_ in {"text", "name", "code"} and seen.moments():
        message = f"mapped as text, and it looks like a {seen.moments()}"
        yield Finding("warning", watched.name, name, "the field's type in the matrix", message)


def _as(encoding: Encoding) -> str:
    return f"as `{encoding}`" if str(encoding) else "without an encoding"


def _cells(sample: Examination, watched: Watched) -> Iterator[Finding]:
    """Columns about the row that were never filled."""
    if watched.table is None or sample.mapping.sparse or len(watched.records) < ENOUGH:
        return
    for name, what in about(watched.table):
        seen = watched.columns.get(name)
        if what.partition(" as ")[0] in {"actor", "updated at"} and seen is not None and seen.nulls == seen.carried:
            yield Finding("warning", watched.name, name, "", f"mapped as `{what}`, and always null")


_COLUMN_LOOKS: Final[tuple[Callable[[Examination, Watched], Iterator[Finding]], ...]] = (
    _unknown, _placeholders, _defaults, _encodings, _cells,
)  # fmt: skip
