"""The small language of columns in a source mapping: ``field.part as encoding`` and ``column as encoding``.

A column that holds a field declares its encoding once, there; wherever it is named again for something else (a time of
evidence) it keeps it. Every wrong word is noted with its place and the nearest right one.
"""

import re
from typing import Final

import msgspec

from ownership_stream.matrix.compiled import Field, Matrix, Summary
from ownership_stream.matrix.document import Entry, Items, Leaf, Node, Place
from ownership_stream.matrix.normalise import ENCODINGS
from ownership_stream.matrix.reading import Reader, brief, listed, nearest
from ownership_stream.sources import words
from ownership_stream.sources.encodings import (
    DECIMAL,
    INTEGER,
    KEY_ENCODINGS,
    NESTED,
    PLAIN,
    TIMED,
    VALUE_ENCODINGS,
    ZERO_AS_NULL,
    Encoding,
    allowed,
)
from ownership_stream.sources.mapping import (
    DEBEZIUM,
    Cell,
    Column,
    Condition,
    Connector,
    EvidenceRule,
    Speaks,
    Use,
)

_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
_DECIMAL: Final = re.compile(r"decimal(?: (?P<scale>\d{1,2}))?")
_MAX_SCALE: Final = 30


class Grammar:
    """Reads the columns of one mapping's tables; ``begin`` starts a table."""

    def __init__(self, reader: Reader, matrix: Matrix, system: str, connector: Connector | None) -> None:
        self.reader, self.matrix, self.system, self.connector = reader, matrix, system, connector
        self.places: dict[str, Place] = {}
        """Where each column that holds a field is declared."""
        self._encodings: dict[str, Encoding] = {}

    def begin(self) -> None:
        """Forget the columns of the table before."""
        self.places, self._encodings = {}, {}

    # ------------------------------------------------------------------------------------------------ fields

    def column(self, entry: Entry, use: Use) -> Column | None:
        """``column: field.part as encoding``; ``None`` if it cannot be understood."""
        name, place = entry.key, entry.node.place
        self._named(name, entry.place)
        if name in self.places:
            self.reader.wrong(entry.place, f"column {brief(name)} stands in line {self.places[name].line} already")
        self.places.setdefault(name, entry.place)
        text = self.reader.text(entry.node, f"column `{name}`")
        target, _, encoding = text.partition(words.AS)
        field_name, _, part = target.strip().partition(".")
        field = self.matrix.fields.get(field_name)
        if field is None:
            if text:
                known = nearest(field_name, self.matrix.fields)
                self.reader.wrong(place, f"no row of the matrix is named {brief(field_name)}{known}")
            return None
        type_ = self._type(field, part, place)
        if not type_:
            return None
        found = Column(name, field_name, part, self._value_encoding(encoding.strip(), type_, place), use)
        self._encodings[name] = found.encoding
        return found

    def _type(self, field: Field, part: str, place: Place) -> str:
        """The type of what the column holds; ``""`` after a mistake."""
        if bool(field.parts) != bool(part):
            parts = listed((f"{field.name}.{name}" for name in field.parts), "or") if field.parts else f"`{field.name}`"
            self.reader.wrong(place, f"a column holds one value: write {parts}")
            return ""
        if part and part not in field.parts:
            self.reader.wrong(place, f"`{field.name}` has no part {brief(part)}{nearest(part, field.parts)}")
            return ""
        view = field.views.get(self.system)
        if part and isinstance(view, Summary) and view.keep and part not in view.keep:
            kept = listed(view.keep, "and")
            self.reader.wrong(place, f"`{self.system}` is shown {kept} of `{field.name}`, never `{part}`")
            return ""
        return field.parts[part] if part else field.type

    def _value_encoding(self, word: str, type_: str, place: Place) -> Encoding:
        choices = tuple(choice for choice in allowed(type_) if choice != NESTED or self.connector in DEBEZIUM)
        if type_ in TIMED and word.endswith(ZERO_AS_NULL):
            return msgspec.structs.replace(
                self._value_encoding(word.removesuffix(ZERO_AS_NULL), type_, place), zero=True
            )
        if not word:
            if type_ in TIMED:
                use = listed(choices, "or")
                self.reader.wrong(place, f"say how the source writes {_a(type_)}, as in `… as {choices[1]}`: {use}")
            return PLAIN
        decimal = _DECIMAL.fullmatch(word)
        if decimal and DECIMAL in choices and int(decimal["scale"] or 0) <= _MAX_SCALE:
            return Encoding(DECIMAL, None if decimal["scale"] is None else int(decimal["scale"]))
        if word in choices:
            return Encoding(word)
        if word in VALUE_ENCODINGS or decimal:
            takes = f": use {listed(choices, 'or')}" if choices else ": write none"
            self.reader.wrong(place, f"{_a(type_)} cannot be encoded as {brief(word)}{takes}")
        else:
            self.reader.wrong(place, f"unknown encoding {brief(word)}{nearest(word, choices)}")
        return PLAIN

    # ------------------------------------------------------------------------------------------------ cells

    def cell(self, node: Node | None, key: str, *, integer: bool = False) -> Cell | None:
        """``column``, holding text (or a whole number)."""
        name, word, place = self._cell(node, key)
        if not name:
            return None
        if word and not (integer and word == INTEGER):
            self.reader.wrong(place, f"`{key}` takes a column alone, not {brief(word)}")
        return Cell(name, self._encodings.get(name, Encoding(word) if word else PLAIN))

    def moment(self, node: Node | None, key: str) -> Cell | None:
        """``column as encoding``, holding a moment."""
        name, word, place = self._cell(node, key)
        if not name:
            return None
        choices = allowed("instant")
        own = self._encodings.get(name)
        if own is not None:
            if word and Encoding(word) != own:
                self.reader.wrong(place, f"column `{name}` is written as `{own}` above")
            return Cell(name, own)
        if word not in choices:
            told = f"unknown encoding {brief(word)}" if word else "say how the source writes a moment"
            self.reader.wrong(place, f"{told}, as in `{name} as epoch us`: {listed(choices, 'or')}")
        return Cell(name, Encoding(word))

    def key(self, node: Node | None, key: str) -> tuple[Cell, ...]:
        """One key column, or a list of them."""
        nodes = node.items if isinstance(node, Items) else () if node is None else (node,)
        found = [self.key_cell(item, key) for item in nodes]
        return tuple(cell for cell in found if cell is not None)

    def key_cell(self, node: Node | None, key: str) -> Cell | None:
        """``column as integer``, ``as decimal 0`` or ``as salesforce id``, or a column of text."""
        name, word, place = self._cell(node, key)
        if not name:
            return None
        decimal = _DECIMAL.fullmatch(word)
        if decimal and int(decimal["scale"] or 0) == 0:
            return Cell(name, Encoding(DECIMAL, None if decimal["scale"] is None else 0))
        if word and word not in KEY_ENCODINGS:
            self.reader.wrong(place, f"unknown encoding {brief(word)} of a key{nearest(word, KEY_ENCODINGS)}")
        return Cell(name, Encoding(word) if word else PLAIN)

    def speaks(self, node: Node | None) -> Speaks | None:
        """``{where: {column: [words]}, latest by: column as encoding}``; ``None`` where each row stands for itself."""
        if node is None:
            return None
        entries = {key: found.node for key, found in self.reader.table(node, "`speaks`", words.SPEAKS).items()}
        last = entries.get("latest by")
        nodes = last.items if isinstance(last, Items) else () if last is None else (last,)
        latest = [self._ordered(item) for item in nodes]
        where = []
        for entry in self.reader.table(entries.get("where"), "`where`").values():
            self._named(entry.key, entry.place)
            items = entry.node
            said = [self.reader.text(items, "a word")] if isinstance(items, Leaf) else []
            said = said or [*self.reader.words(items, f"column `{entry.key}`", "word", None)]
            where.append(Condition(entry.key, frozenset(word.casefold() for word in said)))
        return Speaks(tuple(cell for cell in latest if cell is not None), tuple(where))

    def _ordered(self, node: Node) -> Cell | None:
        """``column as encoding``, holding what later rows have more of: a moment, a date, or a whole number."""
        name, word, place = self._cell(node, "latest by")
        if not name:
            return None
        own = self._encodings.get(name)
        choices = (*ENCODINGS, INTEGER)
        if own is not None and not word and own.word in choices:
            return Cell(name, own)
        if own is not None:
            told = f"is written as `{own}` above" if str(own) else "holds neither a time nor a date above"
            self.reader.wrong(place, f"column `{name}` {told}")
        elif word not in choices:
            told = f"unknown encoding {brief(word)}" if word else "say how the source writes what is latest"
            self.reader.wrong(place, f"{told}, as in `{name} as epoch us`: {listed(choices, 'or')}")
        return Cell(name, Encoding(word))

    def actor(self, node: Node | None) -> Cell | None:
        """The column of the writer; an event of Salesforce names it by itself."""
        if self.connector == "salesforce":
            self.reader.word(node, "actor", (words.COMMIT_USER,))
            return None
        return self.cell(node, "actor")

    def event_actor(self, node: Node | None) -> bool:
        """Whether the writer is the user of the database that the event itself names."""
        if not isinstance(node, Leaf) or self.reader.text(node, "`actor`") != words.USER_NAME:
            return False
        if self.connector != "debezium oracle":
            self.reader.wrong(node.place, "only `debezium oracle` says who wrote beside the row: name a column")
        return True

    def _cell(self, node: Node | None, key: str) -> tuple[str, str, Place]:
        text = self.reader.text(node, f"`{key}`")
        name, _, word = text.partition(words.AS)
        place = node.place if node else Place(1, 1)
        if text:
            self._named(name.strip(), place)
        return name.strip(), word.strip(), place

    def _named(self, name: str, place: Place) -> None:
        if not _COLUMN.fullmatch(name):
            self.reader.wrong(place, f"{brief(name)} can be no column: letters, digits and `_`, with one `.` within")

    # ------------------------------------------------------------------------------------------------ evidence

    def evidence(self, node: Node | None) -> tuple[EvidenceRule, ...]:
        """``field: {who: …, when: …}``, by the names that the matrix gives its evidence."""
        found = []
        for entry in self.reader.table(node, "`evidence`").values():
            field = self.matrix.fields.get(entry.key)
            if field is None:
                known = (name for name, row in self.matrix.fields.items() if row.evidence)
                message = f"no row of the matrix is named {brief(entry.key)}{nearest(entry.key, known)}"
                self.reader.wrong(entry.place, message)
            elif not field.evidence:
                self.reader.wrong(entry.place, f"the rule of `{field.name}`, `{field.rule}`, goes by no evidence")
            else:
                found += self._rule(field, entry)
        return tuple(found)

    def _rule(self, field: Field, entry: Entry) -> list[EvidenceRule]:
        who, when = field.evidence
        entries = {
            key: found.node for key, found in self.reader.table(entry.node, f"evidence for `{field.name}`").items()
        }
        for key, given in entries.items():
            if key not in field.evidence:
                self.reader.wrong(given.place, f"unknown evidence {brief(key)}{nearest(key, field.evidence)}")
        missing = [name for name in (who, when) if name not in entries]
        if missing:
            self.reader.wrong(entry.node.place, f"evidence for `{field.name}` lacks {listed(missing, 'and')}")
        at = self.moment(entries.get(when), when)
        node = entries.get(who)
        by, word, roles = self._who(node, who)
        return [] if at is None or node is None else [EvidenceRule(field.name, at, by, word, roles)]

    def _who(self, node: Node | None, key: str) -> tuple[Cell | None, str, frozenset[str]]:
        """Who vouches: a column, always the same word, or the actor with one of some roles."""
        if node is None:
            return None, "", frozenset()
        if isinstance(node, Leaf):
            if self.connector == "salesforce":
                advice = "write `{always: a word}` or `{actor: [roles]}`"
                message = f"an event carries only what changed, and `{key}` may stay while the time moves: {advice}"
                self.reader.wrong(node.place, message)
            return self.cell(node, key), "", frozenset()
        entries = {name: found.node for name, found in self.reader.table(node, f"`{key}`", words.WHO).items()}
        if len(entries) != 1:
            self.reader.wrong(node.place, f"`{key}` takes a column, `always` or `actor`, one of them")
        if "actor" in entries and self.connector in DEBEZIUM:
            message = "a row keeps its evidence while others write it: name the column that says who vouched"
            self.reader.wrong(entries["actor"].place, message)
        roles = self.reader.words(entries.get("actor"), "`actor`", "role", self.matrix.roles)
        return None, self.reader.text(entries.get("always"), "`always`"), frozenset(roles)


def _a(type_: str) -> str:
    return f"{'an' if type_[0] in 'aeiou' else 'a'} {type_}"
