"""Columns of a row as values: from what JSON held to what is canonical, fast.

Each column has a memo from raw to canonical values: whole-row events repeat a row with every edit, and most columns
have few values, so that one look-up usually answers. Memos are bounded and hold nothing that the state of the records
does not hold too. A column that was not carried is ``UNSET``, and so is a value that the connector says it does not
have.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

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


class Attribute:
    """One column that says something about the row: an actor, a reason, a time."""

    __slots__ = ("index", "memo")

    def __init__(self, index: int, memo: Memo) -> None:
        self.index, self.memo = index, memo

    def read(self, values: tuple[Any, ...]) -> Any:
        """What the row says; ``None`` if it says nothing. Raises ``Undecodable``."""
        return self.memo[values[self.index]]


class Unmapped(Attribute):
    """Where the mapping names no column: no row says anything."""

    def __init__(self) -> None:
        super().__init__(0, Memo(lambda _: None, {}))

    def read(self, values: tuple[Any, ...]) -> None:  # noqa: ARG002 (it looks at nothing)
        """Nothing."""
        return


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
        self._single = tuple((name, memo, start + i) for i, (name, memo) in enumerate(single))
        self._groups = tuple((group.field, group.memo, group.run) for group in grouped)

    def read(self, values: tuple[Any, ...]) -> dict[str, Value]:
        """Field -> canonical value of what the row carries in this section; raises ``Undecodable``."""
        found: dict[str, Value] = {}
        for name, memo, index in self._single:
            raw = values[index]
            if raw is not UNSET and (value := memo[raw]) is not UNSET:
                found[name] = value
        for name, memo, run in self._groups:
            value = memo[values[run]]
            if value is not UNSET:
                found[name] = value
        return found
