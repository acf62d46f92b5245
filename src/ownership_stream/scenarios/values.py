"""Values, times and writers as a scenario writes them, each checked where it stands.

A ``Scene`` reads with the matrix at hand: it knows the type of every field, and from when relative times count.
Whatever is wrong is noted with its place, and reading goes on.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from ownership_stream.matrix import words as matrix_words
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.document import Entry, Items, Leaf, Node, Table
from ownership_stream.matrix.normalise import NotCanonical, normalise
from ownership_stream.matrix.reading import Reader, brief, nearest
from ownership_stream.matrix.words import Key
from ownership_stream.model import Evidence, Origin, Value
from ownership_stream.scenarios import words
from ownership_stream.scenarios.story import Who

_OFFSET: Final = re.compile(r"([+-])(\d{1,9})(ms|s|m|h|d|w)")
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")
_NUMBER: Final = re.compile(r"\d{1,9}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR: Final = 3_600_000


class Scene:
    """One scenario while it is read."""

    def __init__(self, reader: Reader, matrix: Matrix, starts: int) -> None:
        self.reader = reader
        self.matrix = matrix
        self.starts = starts

    def field(self, name: str) -> Field:
        """The matrix's field of that name, which is known by now."""
        return self.matrix.fields[name]

    def table(self, node: Node | None, what: str, *vocabularies: Mapping[str, Key]) -> dict[str, Node]:
        """A mapping whose keys are words of these vocabularies."""
        known: dict[str, Key] = {}
        for vocabulary in vocabularies:
            known.update(vocabulary)
        return {key: entry.node for key, entry in self.reader.table(node, what, known).items()}

    def by_field(self, node: Node | None, what: str) -> dict[str, Entry]:
        """A mapping whose keys are fields of the matrix."""
        return self.reader.table(node, what, words.named(self.matrix.fields, "a field"))

    def values(self, node: Node | None, what: str) -> dict[str, Value]:
        """Fields with their values."""
        return {name: self.value(self.field(name), entry.node) for name, entry in self.by_field(node, what).items()}

    def value(self, field: Field, node: Node, shown_by: str = "") -> Value:
        """A canonical value; ``shown_by`` names a system where it may be that system's summary."""
        summary = bool(shown_by) and field.views.get(shown_by) not in ("full", "none")
        if isinstance(node, Items):
            self.reader.wrong(node.place, f"`{field.name}` has one value, not a list")
            return None
        if isinstance(node, Table) and field.type == "parts":
            for part, entry in node.entries.items():
                if part not in field.parts:
                    self.reader.wrong(
                        entry.place, f"`{field.name}` has no part {brief(part)}{nearest(part, field.parts)}"
                    )
            raw: object = {
                part: self._raw(entry.node, field.parts[part])
                for part, entry in node.entries.items()
                if part in field.parts
            }
        elif isinstance(node, Table):
            self.reader.wrong(node.place, f"`{field.name}` has no parts: write one value")
            return None
        else:
            raw = self._raw(node, field.type)
            if summary and isinstance(raw, str):
                return raw.strip() or None
        try:
            return normalise(field, raw)
        except NotCanonical as error:
            hint = nearest(str(raw), field.choices) if field.choices else ""
            self.reader.wrong(node.place, f"`{field.name}` cannot be this: {error.reason}{hint}")
            return None

    def _raw(self, node: Node, kind: str) -> str | None:
        if not isinstance(node, Leaf):
            self.reader.wrong(node.place, "one value is due here")
            return None
        if node.text is not None and kind == "instant" and _OFFSET.fullmatch(node.text):
            return f"{datetime.fromtimestamp(self.time(node, 'the time') / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
        return node.text

    def optional_time(self, node: Node | None, what: str) -> int | None:
        """A time, or ``None`` where there is none."""
        return None if node is None else self.time(node, what)

    def time(self, node: Node, what: str) -> int:
        """A time in milliseconds: from the beginning of the story, or absolute."""
        text = self.reader.text(node, what)
        offset = _OFFSET.fullmatch(text)
        if offset:
            return self.starts + int(offset[1] + offset[2]) * _UNITS[offset[3]]
        moment = instant(text)
        if moment is None and text:
            self.reader.wrong(node.place, f"{what} {brief(text)} is no time: write `+5m`, `-2h` or `2026-03-02T09:00Z`")
        return moment or 0

    def count(self, node: Node | None, what: str) -> int | None:
        """A whole number, or ``None`` where there is none."""
        text = self.reader.text(node, what)
        if node is None or not text:
            return None
        if not _NUMBER.fullmatch(text):
            self.reader.wrong(node.place, f"{what} {brief(text)} is no whole number")
            return None
        return int(text)

    def optional_flag(self, node: Node | None, what: str) -> bool | None:
        """True or false, or ``None`` where nothing is said."""
        return None if node is None else self.reader.flag(node, what, default=False)

    def optional_word(self, node: Node | None, kind: str, known: Iterable[str]) -> str | None:
        """A known word, or ``None`` where nothing is said."""
        return None if node is None else self.reader.word(node, kind, known) or None

    def who(self, nodes: Mapping[str, Node]) -> Who | None:
        """The writer of an event or of a given value; ``None`` where nothing is said."""
        if not nodes.keys() & {"by", "actor", "origin"}:
            return None
        by = self.optional_word(nodes.get("by"), "by", (*self.matrix.roles, words.PERSON, words.AUTOMATION))
        role = None if by in (None, words.PERSON, words.AUTOMATION) else by
        origin: Origin = "automation"
        if by == words.PERSON or (role is not None and role not in words.AUTOMATED_ROLES):
            origin = "person"
        said = self.optional_word(nodes.get("origin"), "origin", (words.PERSON, words.AUTOMATION))
        if said is not None:
            origin = "person" if said == words.PERSON else "automation"
        return Who(role, self.reader.text(nodes.get("actor"), "`actor`") or by, origin)

    def evidence(self, field: Field, value: Value, nodes: Mapping[str, Node]) -> Evidence | None:
        """What backs a field's value, out of the words that the field's rule has for it; ``None`` where nothing does.

        A completion's time is a part of it. A confirmation that gives only its time is the patient's.
        """
        names = matrix_words.EVIDENCE.get(field.rule)
        if names is None:
            return None
        backer, moment = names
        by = self._backer(nodes[backer]) if backer in nodes else None
        at = self.optional_time(nodes.get(moment), f"`{moment}`")
        if at is None and isinstance(value, dict) and isinstance(value.get(moment), str):
            at = instant(str(value[moment]))
        if backer not in nodes and at is not None and field.rule == "latest patient-confirmed":
            by = words.PATIENT_SAYS
        return None if by is None and at is None else Evidence(by, at)

    def _backer(self, node: Node) -> str | None:
        text = self.reader.text(node, "whoever vouches for it")
        return {"true": words.PATIENT_SAYS, "false": None}.get(text, text or None)


def evidence_words(matrix: Matrix) -> dict[str, Key]:
    """The words that back a value, of every rule that a field of the matrix has."""
    rules = {field.rule for field in matrix.fields.values()}
    names = {word for rule in rules for word in matrix_words.EVIDENCE.get(rule, ())}
    return words.named(sorted(names), "what backs the value")


def instant(text: str) -> int | None:
    """An absolute time in milliseconds; a time without an offset is UTC, and a date is its beginning."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    span = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1000 + span.microseconds // 1000


def latest_instant(node: Node | None) -> int:
    """The latest absolute time anywhere in a part of the document; 0 where there is none."""
    if isinstance(node, Leaf):
        return (instant(node.text) or 0) if node.text and _INSTANT.fullmatch(node.text) else 0
    if isinstance(node, Items):
        return max((latest_instant(item) for item in node.items), default=0)
    if isinstance(node, Table):
        return max((latest_instant(entry.node) for entry in node.entries.values()), default=0)
    return 0
