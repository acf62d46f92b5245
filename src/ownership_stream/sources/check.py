"""What a source mapping gets wrong as a whole, where each of its words is right by itself.

Whether every row of the matrix has a column, and every column may be there at all, is the matrix's own lint.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ownership_stream.matrix.compiled import Matrix, Summary
from ownership_stream.matrix.document import Document, Node, Place
from ownership_stream.matrix.reading import Reader, brief, listed
from ownership_stream.sources.encodings import NESTED
from ownership_stream.sources.mapping import DEBEZIUM, Column, Mapping, Table

if TYPE_CHECKING:
    from ownership_stream.sources.grammar import Grammar

Said = tuple[Place, str]
_UNNAMEABLE = frozenset('"\\')
"""Characters that stand escaped in JSON, so that a name that holds one is not found as it is written."""


def check_table(
    reader: Reader, matrix: Matrix, table: Table, grammar: "Grammar", nodes: dict[str, Node], place: Place
) -> None:
    """Note every mistake of one table; ``place`` is its name's, ``nodes`` hold its keys."""
    said = (
        *_shown_twice(table, grammar.places),
        *_parts(matrix, table, grammar),
        *_evidence(matrix, table, grammar),
        *_ids(table, grammar, nodes, place),
        *_speaks(table, grammar, nodes),
        *_ignored(table, nodes),
    )
    for where, message in said:
        reader.wrong(where, message)


def check_mapping(reader: Reader, matrix: Matrix, mapping: Mapping, root: Node) -> None:
    """Note every mistake of a mapping as a whole."""
    for where, message in _unwritable(matrix, mapping, Document(reader.file, root)):
        reader.wrong(where, message)
    primary = [table.name for table in mapping.tables.values() if table.primary]
    if mapping.tables and len(primary) != 1:
        which = f"{listed(primary, 'and')} are" if primary else "none is"
        reader.wrong(root.place, f"one table is the primary one, whose row is the record's presence: {which} it here")
    shown: dict[str, str] = {}
    for table in mapping.tables.values():
        for field in {column.field for column in table.shown()}:
            first = shown.setdefault(field, table.name)
            if first != table.name:
                reader.wrong(
                    root.place,
                    f"`{field}` is shown by both `{first}` and `{table.name}`: one row shows a field",
                )
    if mapping.actors.words and not any(table.role for table in mapping.tables.values()):
        reader.wrong(root.place, "`roles` has no effect: no table names a `role` column")


def _unwritable(matrix: Matrix, mapping: Mapping, document: Document) -> Iterator[Said]:
    """Columns that an apply record may hold, and whose type its schema cannot say: an array's or a map's parts."""
    if mapping.apply_form in {"", "json"}:
        return
    for table in (table for table in mapping.tables.values() if table.primary):
        for column in table.shown():
            sent = matrix.fields[column.field].views.get(mapping.system) != "none"
            if sent and column.encoding.word == NESTED:
                section = "compared" if column.use == "compared" else "columns"
                yield (
                    document.place("tables", table.name, section, column.name),
                    f"column `{column.name}` is nested, and its schema cannot be known: take `apply as: json`",
                )


def _shown_twice(table: Table, places: dict[str, Place]) -> Iterator[Said]:
    for kinds in (("input", "compared"), ("request",)):
        first: dict[str, Column] = {}
        for column in table.columns:
            if column.use in kinds:
                other = first.setdefault(column.target, column)
                if other is not column:
                    yield places[column.name], f"`{column.target}` is in column `{other.name}` already"


def _parts(matrix: Matrix, table: Table, grammar: "Grammar") -> Iterator[Said]:
    """A system that shows a field shows all of it: what has no column there would be cleared by the next write."""
    for use in ("input", "compared", "request"):
        columns = [column for column in table.columns if column.use == use and column.part]
        for name in dict.fromkeys(column.field for column in columns):
            field = matrix.fields[name]
            view = field.views.get(grammar.system)
            due = view.keep if isinstance(view, Summary) and use != "request" else tuple(field.parts)
            there = {column.part for column in columns if column.field == name}
            missing = [f"{name}.{part}" for part in due if part not in there]
            if missing:
                first = next(column.name for column in columns if column.field == name)
                yield grammar.places[first], f"no column holds {listed(missing, 'and')}"


def _evidence(matrix: Matrix, table: Table, grammar: "Grammar") -> Iterator[Said]:
    backed = {rule.field for rule in table.evidence}
    held = {column.field for column in table.columns}
    written = {column.field: column for column in reversed(table.columns) if column.use != "compared"}
    for name, first in reversed(written.items()):
        field = matrix.fields[name]
        granted = any(grant.system == grammar.system for grant in field.grants)
        if field.rule == "latest validated" and granted and name not in backed:
            yield grammar.places[first.name], f"nothing written to `{name}` here would count: map its `evidence`"
    for rule in table.evidence:
        if rule.field not in held:
            where = grammar.places.get(rule.at.name) or next(iter(grammar.places.values()), Place(1, 1))
            yield where, f"there is evidence for `{rule.field}`, and no column that holds it"


def _ids(table: Table, grammar: "Grammar", nodes: dict[str, Node], place: Place) -> Iterator[Said]:
    if not table.primary and not table.of:
        yield (
            place,
            f"table {brief(table.name)} is not primary: name in `of` the columns with the primary row's key",
        )
    if table.primary and "of" in nodes:
        yield nodes["of"].place, "`of` has no effect in the primary table: its own key is the record's"
    if grammar.connector in DEBEZIUM and "." not in table.name:
        outer = DEBEZIUM[grammar.connector]
        example = "public" if grammar.connector == "debezium postgresql" else f"the_{outer}"
        yield place, f"write the table with its {outer}, as in `{example}.{table.name}`"
    if grammar.connector == "salesforce":
        if table.record.link is not None:
            yield (
                nodes["record"].place,
                "an event carries only what changed, so a column cannot say whose it is: write `key`",
            )
        if len(table.key) > 1:
            yield nodes["key"].place, "a Salesforce record has one key, its id"


def _speaks(table: Table, grammar: "Grammar", nodes: dict[str, Node]) -> Iterator[Said]:
    if table.speaks is None:
        return
    place = nodes["speaks"].place
    if table.primary:
        yield place, "the primary table has one row for each record: `speaks` is for a table with `primary: false`"
    if grammar.connector == "salesforce":
        yield place, "an event carries only what changed, so which row speaks cannot be told from it"
    for use, section in (("compared", "compared"), ("request", "requests")):
        if any(column.use == use for column in table.columns):
            yield nodes[section].place, f"`{section}` has no meaning where one of several rows speaks"
    if table.marker is not None:
        yield nodes["marker"].place, "`marker` has no effect: a row of several is read and never written"


def _ignored(table: Table, nodes: dict[str, Node]) -> Iterator[Said]:
    for name in sorted(table.ignored):
        if not _UNNAMEABLE.isdisjoint(name):
            advice = "leave it out at the connector (`column.exclude.list`)"
            yield nodes["ignored"].place, f"column {brief(name)} has a character that cannot be read in JSON: {advice}"
    for name in sorted(table.known()):
        if table.ignores(name):
            yield nodes["ignored"].place, f"column {brief(name)} is both read and ignored"
