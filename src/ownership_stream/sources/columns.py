"""Columns of a row as values: from what JSON held to what is canonical, fast.

Each column has a memo from raw to canonical values: whole-row events repeat a row with every edit, and most columns
have few values, so that one look-up usually answers. Memos are bounded and hold nothing that the state of the records
does not hold too. A column that was not carried is ``UNSET``, and so is a value that the connector says it does not
have.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import UNSET

from ownership_stream.model import Value

MEMO_SIZE: Final = 2048
"""Values that a memo keeps; then it begins anew."""


class Memo(dict[Hashable, Any]):
    """What ``compute`` makes of a raw value, filled as values come; bounded."""

    def __init__(self, compute: Callable[[Any], Any], seed: dict[Hashable, Any]) -> None:
        super().__init__(seed)
        self._compute, self._seed = compute, seed

    def __missing__(self, raw: Any) -> Any:
        if raw in self._seed:  # another thread is just beginning anew
            return self._seed[raw]
        found = self._compute(raw)
        if len(self) >= MEMO_SIZE:
            self.clear()
            self.update(self._seed)
        self[raw] = found
        return found


class Unkept:
    """A ``Memo`` for raw values that no dictionary can hold (lists, maps): each is computed anew."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute

    def __getitem__(self, raw: Any) -> Any:
        return raw if raw is None or raw is UNSET else self._compute(raw)


class Attribute(NamedTuple):
    """One column that says something about the row: an actor, a reason, a time."""

    place: int
    memo: Memo


class Group:
    """A field of parts: a run of columns that makes one value."""

    def __init__(self, field: str, parts: Sequence[str], memos: Sequence[Memo | Unkept], start: int) -> None:
        self.field, self.run = field, slice(start, start + len(parts))
        self._parts, self._memos = parts, memos
        unkept = any(isinstance(memo, Unkept) for memo in memos)
        self.memo = Unkept(self._whole) if unkept else Memo(self._whole, {})

    def _whole(self, raws: tuple[Any, ...]) -> Value | msgspec.UnsetType:
        found = {
            part: value
            for part, memo, raw in zip(self._parts, self._memos, raws, strict=True)
            if (value := memo[raw]) is not UNSET
        }
        if not found:
            return UNSET
        # The system has no other part of it: with all of these null the whole is null.
        cleared = len(found) == len(raws) and all(value is None for value in found.values())
        return None if cleared else found


class Section:
    """Columns of one use, in the row from ``start`` on: single ones (field, memo), then the runs of fields of parts."""

    def __init__(self, start: int, single: Sequence[tuple[str, Memo | Unkept]], grouped: Sequence[Group]) -> None:
        alone = [(name, memo, str(start + i)) for i, (name, memo) in enumerate(single)]
        runs = [(group.field, group.memo, f"{group.run.start}:{group.run.stop}") for group in grouped]
        self.columns: Final[Sequence[tuple[str, Memo | Unkept, str]]] = (*alone, *runs)
        """Field, its memo, and where the row has its raw value, as Python writes it: an index or a slice."""


Read = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def reader(sections: Sequence[Section], attributes: Sequence[Attribute | None]) -> Read:
    """A function of a row's raw values: for each section field -> canonical value, then each attribute or ``None``.

    Straight-line code, written out once for a table: to walk its columns in a loop costs as much again as to look
    their values up. Nothing of a row or of a mapping's words is in it but places, and fields in quotes. The function
    raises ``Undecodable``.
    """
    given: dict[str, Any] = {"UNSET": UNSET}
    lines = ["def read(values):"]
    for number, section in enumerate(sections):
        lines.append(f" section{number} = {{}}")
        for field, memo, where in section.columns:
            name = f"memo{len(given)}"
            given[name] = memo
            lines += [
                f" found = {name}[values[{where}]]",
                f" if found is not UNSET: section{number}[{field!r}] = found",
            ]
    results = [f"section{number}" for number in range(len(sections))]
    for attribute in attributes:
        name = f"memo{len(given)}"
        if attribute is not None:
            given[name] = attribute.memo
        results.append("None" if attribute is None else f"{name}[values[{attribute.place}]]")
    lines.append(f" return ({', '.join(results)},)")
    exec("\n".join(lines), given)  # noqa: S102  # our own text, made of places and quoted names only
    return cast("Read", given["read"])
