"""Checked reading of a document: a look at a node gives what was asked for, or notes a mistake with its place.

A reading that fails gives an empty value (``""``, ``()``, ``{}``, 0), never an exception, so that one pass finds all
mistakes; whoever builds on the values first asks whether there were any. Knows no meaning of any word.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Final

from ownership_stream.matrix.document import Document, Entry, Items, Leaf, MatrixError, Mistake, Node, Place, Table
from ownership_stream.matrix.words import RESERVED, Key

SHOWN_CHOICES: Final = 10
MAX_WORD: Final = 60
_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*")
_DURATION: Final = re.compile(r"(\d{1,9})\s*(ms|s|m|h|d|w)")
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_INTERVAL: Final = re.compile(r"(\d{1,4})\s*(day|week|month|year)s?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_BOOLEANS: Final = {"true": True, "false": False}


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error about a wrong word: ``": did you mean `x`?"``, or what is known, or nothing."""
    choices = list(known)
    close = get_close_matches(word, choices, n=1) or get_close_matches(word.lower(), choices, n=1)
    if close:
        return f": did you mean `{close[0]}`?"
    if 0 < len(choices) <= SHOWN_CHOICES:
        return f": use {listed(choices, 'or')}"
    return ""


def listed(words: Iterable[str], last: str) -> str:
    """Words in backticks as a sentence lists them: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def brief(text: str) -> str:
    """The user's word as a message shows it: on one line, printable, and no longer than a line can bear."""
    word = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))
    return f"`{word if len(word) <= MAX_WORD else word[:MAX_WORD] + '…'}`"


class Reader:
    """Reads one document and keeps its mistakes."""

    def __init__(self, document: Document) -> None:
        self.file = document.file
        self.mistakes: list[Mistake] = list(document.mistakes)

    def wrong(self, place: Place, message: str) -> None:
        """Note a mistake."""
        self.mistakes.append(Mistake(place, message))

    def finish(self) -> None:
        """Raise ``MatrixError`` with every mistake noted, if there is one."""
        if self.mistakes:
            raise MatrixError(self.file, tuple(self.mistakes))

    def table(
        self, node: Node | None, what: str, keys: Mapping[str, Key] | None = None, place: Place | None = None
    ) -> dict[str, Entry]:
        """The entries of a mapping; with ``keys``, others than those and missing required ones are mistakes.

        A missing key is reported at ``place``, or else where the mapping begins.
        """
        if node is None:
            return {}
        if not isinstance(node, Table):
            self._expected(node, what, "a mapping")
            return {}
        if keys is None:
            if not node.entries:
                self.wrong(node.place, f"{what} is empty")
            return node.entries
        for key, entry in node.entries.items():
            if key not in keys:
                self.wrong(entry.place, f"unknown key {brief(key)} in {what}{nearest(key, keys)}")
        for key, word in keys.items():
            if word.required and key not in node.entries:
                self.wrong(place or node.place, f"{what} lacks `{key}`: {word.meaning}")
        return {key: entry for key, entry in node.entries.items() if key in keys}

    def named(self, node: Node | None, what: str, kind: str) -> dict[str, Entry]:
        """The entries of a mapping whose keys are names that the author chooses: a ``kind`` each."""
        entries = self.table(node, what)
        for name, entry in entries.items():
            self.identifier(name, entry.place, kind)
        return entries

    def identifier(self, name: str, place: Place, kind: str) -> None:
        """Note a mistake if a chosen name is no plain lower-case word, or one that means something already."""
        if not _IDENTIFIER.fullmatch(name):
            self.wrong(place, f"{kind} {brief(name)} must be lower-case letters, digits and `_`, as in `lead_source`")
        elif name in RESERVED:
            self.wrong(place, f"`{name}` means something already: choose another name for the {kind}")

    def text(self, node: Node | None, what: str) -> str:
        """A text as it is written, on one line; ``""`` if there is none."""
        if node is None:
            return ""
        if not isinstance(node, Leaf) or node.text is None or not node.text.strip():
            self._expected(node, what, "a text")
            return ""
        text = " ".join(node.text.split())
        if not text.isprintable():
            self.wrong(node.place, f"{what} {brief(text)} holds a character that cannot be printed")
            return ""
        return text

    def flag(self, node: Node | None, what: str, *, default: bool) -> bool:
        """True or false."""
        if node is None:
            return default
        if isinstance(node, Leaf) and node.text in _BOOLEANS:
            return _BOOLEANS[node.text]
        self._expected(node, what, "`true` or `false`")
        return default

    def word(self, node: Node | None, kind: str, known: Iterable[str]) -> str:
        """A word out of those that are known; ``""`` if it is another. ``kind`` names it: ``rule``.

        Where nothing is known, because the section that would say so is wrong itself, no word is complained of.
        """
        choices = tuple(known)
        word = self.text(node, f"`{kind}`")
        if word in choices:
            return word
        if word and choices and node is not None:
            self.wrong(node.place, f"unknown {kind} {brief(word)}{nearest(word, choices)}")
        return ""

    def words(self, node: Node | None, what: str, kind: str, known: Iterable[str] | None) -> tuple[str, ...]:
        """A list of words out of those that are known (``None``: any), without the wrong ones; no word twice."""
        if node is None:
            return ()
        if not isinstance(node, Items) or not node.items:
            self._expected(node, what, f"a list of {kind}s, as in `[a, b]`")
            return ()
        choices, words = None if known is None else tuple(known), []
        for item in node.items:
            word = self.text(item, f"a {kind}") if choices is None else self.word(item, kind, choices)
            if word in words:
                self.wrong(item.place, f"{brief(word)} is in the list already")
            elif word:
                words.append(word)
        return tuple(words)

    def duration(self, node: Node | None, what: str, *, zero: bool = False) -> int:
        """A length of time in milliseconds: a number and a unit."""
        text = self.text(node, what)
        match = _DURATION.fullmatch(text)
        if match and (zero or int(match[1])):
            return int(match[1]) * _UNITS[match[2]]
        if text and node is not None:
            self.wrong(
                node.place,
                f"{what} {brief(text)} is no duration: write a number and a unit (s, m, h, d, w), as in `4h`",
            )
        return 0

    def interval(self, node: Node | None, what: str) -> tuple[int, str]:
        """A calendar interval: how many, and of what (``day``, ``week``, ``month``, ``year``); ``(0, "")`` if wrong."""
        text = self.text(node, what)
        match = _INTERVAL.fullmatch(text)
        if match and int(match[1]):
            return int(match[1]), match[2]
        if text and node is not None:
            self.wrong(
                node.place, f"{what} {brief(text)} is no interval: write days, weeks, months or years, as in `1 month`"
            )
        return 0, ""

    def date(self, node: Node | None, what: str) -> date:
        """A calendar date; ``date.min`` if it is none."""
        text = self.text(node, what)
        try:
            if _DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        if text and node is not None:
            self.wrong(node.place, f"{what} {brief(text)} is no date: write it as in `2026-11-23`")
        return date.min

    def _expected(self, node: Node, what: str, wanted: str) -> None:
        self.wrong(node.place, f"{what} must be {wanted}, not {_described(node)}")


def _described(node: Node) -> str:
    if isinstance(node, Leaf):
        return "nothing" if node.text is None else brief(node.text) if node.text.strip() else "an empty text"
    if isinstance(node, Items):
        return "a list" if node.items else "an empty list"
    return "a mapping"
