"""Where a row stands among those of its record, of which one speaks: whether it does at all, and its rank.

What follows from it is ``speaking.py``'s of the core, which knows what the other rows are. Ranks are compared and never
shown, so a time keeps the precision that its column has.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Final

from msgspec import UNSET

from ownership_stream.matrix.normalise import NotCanonical
from ownership_stream.sources.encodings import INTEGER, Encoding, milliseconds
from ownership_stream.sources.mapping import Condition, Speaks
from ownership_stream.sources.result import Undecodable
from ownership_stream.sources.words import EMPTY, FILLED

LOWEST: Final = -(2**63)
"""The rank of null: any value stands before it."""
HIGHEST: Final = 2**63 - 1


class Standing:
    """How one table's rows stand; made once, shared by threads."""

    def __init__(self, speaks: Speaks, index: Mapping[str, int], what: str, seed: Mapping[Hashable, Any]) -> None:
        """``index`` is column -> its place in a row, ``seed`` holds what is no value: null, and placeholders."""
        self._what, self._seed = what, seed
        self._where = tuple((condition, index[condition.name]) for condition in speaks.where)
        self._latest = tuple((cell.name, cell.encoding, index[cell.name]) for cell in speaks.latest)

    def rank(self, values: tuple[Any, ...]) -> tuple[int, ...] | None:
        """The row's rank, ``None`` if it does not stand. Raises ``Undecodable`` where the event does not say it."""
        stands = [_holds(condition, self._said(condition.name, values[place])) for condition, place in self._where]
        rank = tuple([self._number(name, encoding, values[place]) for name, encoding, place in self._latest])
        return rank if all(stands) else None

    def _said(self, name: str, raw: Any) -> Any:
        """The raw value; raises ``Undecodable`` where it was not carried, or is not available."""
        if self._seed.get(raw, raw) is UNSET:
            message = f"{self._what}: the event does not carry `{name}`, by which the row that speaks is told"
            raise Undecodable("needs_reread", message)
        return raw

    def _number(self, name: str, encoding: Encoding, raw: Any) -> int:
        found = self._said(name, raw)
        if isinstance(found, str):
            try:
                found = milliseconds(Encoding("iso"), _with_time(found))
            except NotCanonical as error:
                raise Undecodable("not_canonical", f"{self._what}, column `{name}`: {error.reason}") from None
        if found is None or (encoding.zero and found == 0):
            return LOWEST
        if type(found) is not int or not LOWEST < found <= HIGHEST:
            message = f"{self._what}, column `{name}`: a number that no {_called(encoding)} can be"
            raise Undecodable("not_canonical", message)
        return found


def _holds(condition: Condition, raw: Any) -> bool:
    """Whether a column holds one of the words; a boolean is `true` or `false`, and texts are compared without case."""
    text = "" if raw is None else str(raw).strip().casefold()
    return text in condition.words or (FILLED if text else EMPTY) in condition.words


def _with_time(text: str) -> str:
    """A date as the moment that it begins, UTC."""
    dated = len(text.strip()) == len("2026-01-31")
    return f"{text.strip()}T00:00:00Z" if dated else text


def _called(encoding: Encoding) -> str:
    return "whole number" if encoding.word == INTEGER else "time"
