"""A YAML document with the line and column of every key and value.

What the words mean is the business of whoever reads the tree (``reading.py``): here is only YAML, its mistakes, and
where things stand. The reader is ruamel.yaml's composer, which resolves anchors and aliases and constructs nothing.
"""

from pathlib import Path
from typing import Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from ownership_stream.errors import BadInputError

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 32
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE: Final = "tag:yaml.org,2002:merge"
_STANDARD_TAGS: Final = "tag:yaml.org,2002:"


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a word stands; both count from 1, columns in characters."""

    line: int
    column: int


class Leaf(msgspec.Struct, frozen=True):
    """A scalar as it is written: ``text`` is ``None`` for nothing at all; ``plain`` says it stands without quotes."""

    text: str | None
    place: Place
    plain: bool = True


class Items(msgspec.Struct, frozen=True):
    """A list."""

    items: tuple["Node", ...]
    place: Place


class Entry(msgspec.Struct, frozen=True):
    """One key of a mapping with its value; ``place`` is the key's."""

    key: str
    place: Place
    node: "Node"


class Table(msgspec.Struct, frozen=True):
    """A mapping, in the document's order."""

    entries: dict[str, Entry]
    place: Place


Node = Leaf | Items | Table


class Mistake(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong in a file, and where."""

    place: Place
    message: str


class MatrixError(BadInputError):
    """A document that cannot be used: ``problems`` are all its mistakes as ``file:line:col: message``."""

    def __init__(self, file: str, mistakes: tuple[Mistake, ...]) -> None:
        self.file = file
        self.mistakes = tuple(sorted(mistakes))
        super().__init__(*(f"{file}:{m.place.line}:{m.place.column}: {m.message}" for m in self.mistakes))


def locate(node: Node, word: str) -> Place | None:
    """Where a word stands in a node, as a key or as a value; the first place of several."""
    if isinstance(node, Leaf):
        return node.place if node.text == word else None
    if isinstance(node, Items):
        return next((place for item in node.items if (place := locate(item, word))), None)
    if word in node.entries:
        return node.entries[word].place
    return next((place for entry in node.entries.values() if (place := locate(entry.node, word))), None)


class Document(msgspec.Struct, frozen=True):
    """A parsed file. ``mistakes`` are those of YAML that do not stop the reading of the rest (duplicate keys)."""

    file: str
    root: Node
    mistakes: tuple[Mistake, ...] = ()

    def place(self, *path: str) -> Place:
        """Where the key at the end of this path of keys stands, or else the deepest one of them that is there."""
        node, place = self.root, self.root.place
        for key in path:
            entry = node.entries.get(key) if isinstance(node, Table) else None
            if entry is None:
                break
            node, place = entry.node, entry.place
        return place


def read(path: Path) -> Document:
    """Read and parse a YAML file; raises ``MatrixError``, also for a file that cannot be read at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BadInputError(f"{path}: cannot be read: {reason}") from error
    return parse(data, str(path))


def parse(data: bytes, file: str) -> Document:
    """Parse YAML bytes (UTF-8); raises ``MatrixError`` where YAML itself ends."""
    text = _decode(data, file)
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise MatrixError(file, (_syntax(error),)) from error
    except ReaderError as error:
        place = _place_of(text, error.position)
        message = f"character U+{ord(text[error.position]):04X} may not stand in YAML"
        raise MatrixError(file, (Mistake(place, message),)) from error
    except (YAMLError, ValueError) as error:
        raise MatrixError(file, (Mistake(Place(1, 1), "not YAML"),)) from error
    except RecursionError as error:
        raise MatrixError(file, (Mistake(Place(1, 1), "nested too deeply"),)) from error
    if root is None:
        raise MatrixError(file, (Mistake(Place(1, 1), "the file is empty"),))
    builder = _Builder(file)
    return Document(file, builder.build(root, ()), tuple(builder.mistakes))


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise MatrixError(file, (Mistake(Place(1, 1), f"longer than {MAX_BYTES:,} bytes"),))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        message = f"byte 0x{data[error.start]:02X} is not UTF-8: save the file as UTF-8"
        raise MatrixError(file, (Mistake(_place_of(before, len(before)), message),)) from error


def _place_of(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _syntax(error: MarkedYAMLError) -> Mistake:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    problem = " ".join(str(error.problem or error.context).split()).replace("'", "`")
    if "`\\t`" in problem:
        return Mistake(place, "a tab cannot indent: use spaces")
    if error.context and "single document" in str(error.context):
        return Mistake(place, "a second document begins here: one file holds one document")
    return Mistake(place, f"not YAML: {problem[:1].lower()}{problem[1:]}")


class _Builder:
    """Composer nodes to ``Node``; an aliased node is built once, so that a file cannot grow by its aliases."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []
        self.built: dict[int, Node] = {}

    def build(self, node: YamlNode, above: tuple[int, ...]) -> Node:
        place = _start(node)
        if id(node) in above:
            self._stop(place, "an alias inside its own anchor")
        if len(above) > MAX_DEPTH:
            self._stop(place, "nested too deeply")
        if id(node) not in self.built:
            if node.tag is not None and not str(node.tag).startswith(_STANDARD_TAGS):
                self.mistakes.append(Mistake(place, f"a tag such as `{node.tag}` has no meaning here"))
            self.built[id(node)] = self._build(node, place, (*above, id(node)))
        return self.built[id(node)]

    def _build(self, node: YamlNode, place: Place, above: tuple[int, ...]) -> Node:
        if isinstance(node, MappingNode):
            return Table(self._entries(node, above), place)
        if isinstance(node, SequenceNode):
            return Items(tuple(self.build(item, above) for item in node.value), place)
        if not isinstance(node, ScalarNode):
            raise TypeError(f"the YAML reader composed a `{type(node).__name__}`")
        plain = not node.style
        return Leaf(None if plain and node.value in _NULLS else node.value, place, plain)

    def _entries(self, node: MappingNode, above: tuple[int, ...]) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            place = _start(key)
            if not isinstance(key, ScalarNode):
                self.mistakes.append(Mistake(place, "a key must be a word"))
            elif key.tag == _MERGE:
                merged = self._merge(self.build(value, above), place) | merged
            elif key.value in entries:
                first = entries[key.value].place.line
                self.mistakes.append(Mistake(place, f"duplicate key `{key.value}`: first in line {first}"))
            elif _is_nothing(value):  # the composer places it where the next word stands
                entries[key.value] = Entry(key.value, place, Leaf(None, place))
            else:
                entries[key.value] = Entry(key.value, place, self.build(value, above))
        return entries | {key: entry for key, entry in merged.items() if key not in entries}

    def _merge(self, node: Node, place: Place) -> dict[str, Entry]:
        merged: dict[str, Entry] = {}
        for table in node.items if isinstance(node, Items) else (node,):
            if isinstance(table, Table):
                merged = table.entries | merged
            else:
                self.mistakes.append(Mistake(place, "`<<` takes an alias of a mapping"))
        return merged

    def _stop(self, place: Place, message: str) -> None:
        raise MatrixError(self.file, (*self.mistakes, Mistake(place, message)))


def _is_nothing(node: YamlNode) -> bool:
    return isinstance(node, ScalarNode) and not node.style and node.value == ""


def _start(node: YamlNode) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
