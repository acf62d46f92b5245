"""A source mapping's YAML document to a ``Mapping``, or every mistake in it at once with its place.

The document's head and tables are here; the small language of columns (``field.part as encoding``) is
``grammar.py``'s, and what a table as a whole gets wrong is ``check.py``'s. A mapping is always read beside the matrix
it feeds, which knows the fields, their types and the roles.
"""

import re
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, get_args

import msgspec

from ownership_stream.errors import BadInputError
from ownership_stream.matrix import lint
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.document import Document, Entry, Items, Leaf, Node, Place, read
from ownership_stream.matrix.reading import Reader, brief
from ownership_stream.model import Origin
from ownership_stream.sources import words
from ownership_stream.sources.check import check_mapping, check_table
from ownership_stream.sources.events import cautions
from ownership_stream.sources.grammar import Grammar
from ownership_stream.sources.mapping import (
    ADDED_PREFIX,
    APPLY_FORMS,
    DEBEZIUM,
    FORMS,
    UNAVAILABLE,
    Actors,
    ApplyForm,
    Column,
    Connector,
    Form,
    Mapping,
    RecordRule,
    Table,
    Use,
)
from ownership_stream.sources.unavailable import HEX

_OCTETS: Final = re.compile(r"hex:([0-9A-Fa-f]{2})+", re.ASCII)
_SERVER: Final = re.compile(r"[1-9]\d{0,9}", re.ASCII)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SETTINGS: Final[dict[str, tuple[str, AbstractSet[Connector]]]] = {
    "own client": ("salesforce", {"salesforce"}),
    "servers": ("debezium mysql", {"debezium mysql", "debezium mariadb"}),
    **dict.fromkeys(("unavailable value", "form", "added prefix", "without position"), ("debezium", DEBEZIUM.keys())),
}
"""Keys that mean something for some connectors only: what those are called, and which they are."""

Known = dict[str, tuple[str | None, Origin]]


class MappingDocument(msgspec.Struct, frozen=True):
    """A mapping with the document it comes from."""

    mapping: Mapping
    document: Document

    def columns(self) -> tuple[lint.Column, ...]:
        """The mapped columns as the matrix's lint asks for them: every one has a row, and the reverse."""
        sections = {use: section for section, use in words.USES.items()}
        return tuple(
            lint.Column(
                system=self.mapping.system,
                field=column.field,
                how=column.use,
                file=self.document.file,
                place=self.document.place("tables", table, sections[column.use], column.name),
            )
            for table, column in self.mapping.columns()
        )

    def findings(self) -> tuple[lint.Finding, ...]:
        """What to say of a mapping that is right and yet gives less than it could."""
        place = self.document.place("without position")
        return tuple(lint.Finding(self.document.file, place, "warning", line) for line in cautions(self.mapping))


def load(path: Path, matrix: Matrix) -> Mapping:
    """The mapping in a file; raises ``MatrixError`` with all its mistakes."""
    return load_document(read(path), matrix).mapping


def load_all(folder: Path, matrix: Matrix) -> tuple[MappingDocument, ...]:
    """Every mapping of a folder (``*.yaml``), in the order of their names; raises ``BadInputError``: all mistakes."""
    found, problems = list[MappingDocument](), list[str]()
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        problems.append(f"{folder}: no source mapping (`*.yaml`) is there")
    for path in paths:
        try:
            found.append(load_document(read(path), matrix))
        except BadInputError as error:
            problems += error.problems
    problems += _shared(found)
    if problems:
        raise BadInputError(*problems)
    return tuple(found)


def load_document(document: Document, matrix: Matrix) -> MappingDocument:
    """Compile a parsed document; raises ``MatrixError`` with all its mistakes."""
    reader = Reader(document)
    mapping = _Loader(reader, matrix).mapping(document.root)
    reader.finish()
    return MappingDocument(mapping, document)


def _shared(documents: list[MappingDocument]) -> list[str]:
    """Sources and topics that two mappings claim."""
    problems, seen = list[str](), dict[tuple[str, str], str]()
    for found in documents:
        names = [("source", found.mapping.source), *(("topics", topic) for topic in found.mapping.topics)]
        for kind, name in names:
            first = seen.setdefault((kind, name), found.document.file)
            if first != found.document.file:
                place = found.document.place(kind)
                problems.append(
                    f"{found.document.file}:{place.line}:{place.column}: {brief(name)} is `{first}`'s already"
                )
    return problems


class _Loader:
    def __init__(self, reader: Reader, matrix: Matrix) -> None:
        self.reader, self.matrix = reader, matrix

    def mapping(self, root: Node) -> Mapping:
        reader = self.reader
        top = {key: entry.node for key, entry in reader.table(root, "the mapping", words.TOP).items()}
        source = reader.text(top.get("source"), "`source`")
        if source:
            reader.identifier(source, top["source"].place, "source")
        system = reader.word(top.get("system"), "system", self.matrix.systems)
        connector = self._connector(top.get("connector"))
        grammar = Grammar(reader, self.matrix, system, connector)
        tables = {
            name: self._table(name, entry, grammar)
            for name, entry in reader.table(top.get("tables"), "`tables`").items()
        }
        ids, beginnings = self._known(top.get("actors"), "actors")
        labels, _ = self._known(top.get("roles"), "roles")
        self._own_setting(top, connector)
        form = self._form(top)
        mapping = Mapping(
            source=source,
            system=system,
            connector=connector or "canonical",
            topics=self._topics(top.get("topics")),
            tables=tables,
            actors=Actors(ids, beginnings, labels),
            own_client=reader.text(top.get("own client"), "`own client`"),
            unavailable=self._unavailable(top.get("unavailable value")),
            servers=self._servers(top.get("servers")),
            form=form,
            added_prefix=reader.text(top.get("added prefix"), "`added prefix`") or ADDED_PREFIX,
            by_timestamp="without position" in top,
            apply_form=self._apply_form(top.get("apply as")),
            ignored_tables=frozenset(reader.words(top.get("ignored tables"), "`ignored tables`", "table", None)),
        )
        check_mapping(reader, self.matrix, mapping, root)
        return mapping

    def _connector(self, node: Node | None) -> Connector | None:
        word = self.reader.word(node, "connector", get_args(Connector))
        return next((connector for connector in get_args(Connector) if connector == word), None)

    def _apply_form(self, node: Node | None) -> ApplyForm:
        word = self.reader.word(node, "apply as", tuple(APPLY_FORMS))
        return next((form for form in APPLY_FORMS if form == word), "")

    def _own_setting(self, top: dict[str, Node], connector: Connector | None) -> None:
        for key, (of, connectors) in _SETTINGS.items():
            if key in top and connector is not None and connector not in connectors:
                self.reader.wrong(top[key].place, f"`{key}` means something for `{of}` only")

    def _form(self, top: dict[str, Node]) -> Form:
        """How rows come; notes what has no effect on a form."""
        reader = self.reader
        word = reader.word(top["form"], "form", tuple(FORMS)) if "form" in top else "envelope"
        if "without position" in top:
            reader.word(top["without position"], "order", (words.RECORD_TIMESTAMP,))
        for key in ("added prefix", "without position"):
            if key in top and word == "envelope":
                reader.wrong(top[key].place, f"`{key}` has no effect: it is about rows of the form `flattened`")
        return "flattened" if word == "flattened" else "envelope"

    def _unavailable(self, node: Node | None) -> str:
        found = self.reader.text(node, "`unavailable value`")
        if node is not None and found.startswith(HEX) and not _OCTETS.fullmatch(found):
            self.reader.wrong(node.place, f"{brief(found)} must be `{HEX}` and two hexadecimal digits for each octet")
        return found or UNAVAILABLE

    def _servers(self, node: Node | None) -> frozenset[int]:
        found = self.reader.words(node, "`servers`", "number", None)
        for word in found:
            if node is not None and not _SERVER.fullmatch(word):
                self.reader.wrong(node.place, f"{brief(word)} can be no `server_id`: write whole numbers from 1 on")
        return frozenset(int(word) for word in found if _SERVER.fullmatch(word))

    def _topics(self, node: Node | None) -> tuple[str, ...]:
        topics = self.reader.words(node, "`topics`", "topic", None)
        places = [item.place for item in node.items] if isinstance(node, Items) else []
        for topic, place in zip(topics, places, strict=False):
            if not _TOPIC.fullmatch(topic):
                self.reader.wrong(place, f"{brief(topic)} can be no topic: letters, digits, `.`, `_` and `-`")
        return topics

    def _known(self, node: Node | None, section: str) -> tuple[Known, Known]:
        """Whole ids, and beginnings, with role and origin."""
        whole, beginnings = Known(), Known()
        origins: tuple[tuple[str, Origin], ...] = (("persons", "person"), ("automations", "automation"))
        entries = self.reader.table(node, f"`{section}`", words.ACTORS) if node else {}
        for key, origin in origins:
            for actor, entry in self.reader.table(_node(entries, key), f"`{key}`").items():
                role = self.reader.word(entry.node, "role", (*self.matrix.roles, words.NO_ROLE))
                known = (None if role in {"", words.NO_ROLE} else role, origin)
                beginning = actor.removesuffix(words.ANY_END)
                if actor in whole or beginning in beginnings:
                    self.reader.wrong(entry.place, f"{brief(actor)} is both a person and an automation")
                elif not beginning or words.ANY_END in beginning:
                    self.reader.wrong(
                        entry.place, f"{brief(actor)} must be an id, or its beginning with one `*` after it"
                    )
                elif beginning != actor:
                    beginnings[beginning] = known
                else:
                    whole[actor] = known
        return whole, beginnings

    # ------------------------------------------------------------------------------------------------ a table

    def _table(self, name: str, entry: Entry, grammar: Grammar) -> Table:
        reader = self.reader
        entries = reader.table(entry.node, f"table `{name}`", words.TABLE)
        grammar.begin()
        columns = self._columns(entries, grammar)
        key = grammar.key(_node(entries, "key"), "key")
        ignored, beginnings = self._ignored(_node(entries, "ignored"), grammar)
        primary = reader.flag(_node(entries, "primary"), "`primary`", default=True)
        event_actor = grammar.event_actor(_node(entries, "actor"))
        table = Table(
            name=name,
            primary=primary,
            key=key,
            of=key if primary else grammar.key(_node(entries, "of"), "of"),
            record=self._record(_node(entries, "record"), grammar, primary=primary),
            columns=columns,
            actor=None if event_actor else grammar.actor(_node(entries, "actor")),
            event_actor=event_actor,
            role=grammar.cell(_node(entries, "role"), "role"),
            updated_at=grammar.moment(_node(entries, "updated at"), "updated at"),
            reason=grammar.cell(_node(entries, "reason"), "reason"),
            base=grammar.cell(_node(entries, "base version"), "base version", integer=True),
            marker=grammar.cell(_node(entries, "marker"), "marker"),
            evidence=grammar.evidence(_node(entries, "evidence")),
            speaks=grammar.speaks(_node(entries, "speaks")),
            ignored=ignored,
            ignored_beginnings=beginnings,
        )
        check_table(
            reader,
            self.matrix,
            table,
            grammar,
            {key: found.node for key, found in entries.items()},
            entry.place,
        )
        return table

    def _columns(self, entries: dict[str, Entry], grammar: Grammar) -> tuple[Column, ...]:
        uses: dict[str, Use] = {"columns": "input", "compared": "compared", "requests": "request"}
        found = []
        for section, use in uses.items():
            for entry in self.reader.table(_node(entries, section), f"`{section}`").values():
                column = grammar.column(entry, use)
                if column is not None:
                    found.append(column)
        return tuple(found)

    def _record(self, node: Node | None, grammar: Grammar, *, primary: bool) -> RecordRule:
        reader = self.reader
        if isinstance(node, Leaf):
            reader.word(node, "record", (words.KEY_ITSELF,))
            created = self.matrix.create_words.get(grammar.system)
            if primary and created is not None:
                made = f"the matrix has records made here, `create: {created}`"
                reader.wrong(
                    node.place, f"{made}: a row that comes back names its record by a link `column`, not by its key"
                )
            return RecordRule()
        entries = reader.table(node, "`record`", words.RECORD)
        link = grammar.key_cell(_node(entries, "column"), "column")
        template = reader.text(_node(entries, "else"), "`else`")
        before, found, after = template.partition(words.PLACE_OF_KEY)
        if template and not (found and before):
            reader.wrong(
                entries["else"].node.place,
                f"`else` must name the system before the key, as in `ehr:{words.PLACE_OF_KEY}`, not {brief(template)}",
            )
        return RecordRule(link, bool(template), before, after)

    def _ignored(self, node: Node | None, grammar: Grammar) -> tuple[frozenset[str], tuple[str, ...]]:
        names = self.reader.words(node, "`ignored`", "column", None)
        place = node.place if node else Place(1, 1)
        beginnings = tuple(name.removesuffix(words.ANY_END) for name in names if name.endswith(words.ANY_END))
        if "" in beginnings:
            self.reader.wrong(place, "`*` would ignore a column that was renamed too: write the beginnings of names")
        if beginnings and grammar.connector in DEBEZIUM:
            self.reader.wrong(place, "a whole row is ignored column by column: write the names out, without `*`")
        return frozenset(name for name in names if not name.endswith(words.ANY_END)), beginnings


def _node(entries: dict[str, Entry], key: str) -> Node | None:
    return entries[key].node if key in entries else None
