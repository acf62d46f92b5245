"""Reads PromQL just far enough to say which series an expression names, by which labels and values.

No parser: promtool judges the grammar.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")')
SERIES = re.compile(r"([A-Za-z_:][\w:]*)\s*(\(|\{[^}]*\})?")


@dataclass(frozen=True)
class Selector:
    """One series as it is asked for; ``values`` are those of `=` and the alternatives of `=~`."""

    name: str
    values: tuple[tuple[str, str], ...]


def grouping_labels(expr: str) -> set[str]:
    """The labels of `by (…)`, `on (…)` and the like."""
    return {label.strip() for found in GROUPING.findall(expr) for label in found.split(",") if label.strip()}


def selectors(expr: str) -> Iterator[Selector]:
    """Every series that the expression names."""
    # Strings that are no values of labels are no series either.
    expr = re.sub(r'([=~]?)"(?:[^"\\]|\\.)*"', lambda found: found[0] if found[1] else "", expr)
    bare = re.sub(r"\[[^\]]*\]", "", GROUPING.sub(" ", expr))
    bare = re.sub(r"\boffset\s+\w+", "", re.sub(r"\b\d[\w.]*", "", bare))
    for name, rest in SERIES.findall(bare):
        if rest != "(" and name not in WORDS:
            yield Selector(name, tuple(_values(rest)))


def _values(matchers: str) -> Iterator[tuple[str, str]]:
    for label, operator, text in MATCHER.findall(matchers):
        yield from ((label, value) for value in (text[1:-1].split("|") if "~" in operator else [text[1:-1]]))
