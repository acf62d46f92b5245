"""What differs, and since when: pure comparisons of states, of their histories, and of outputs. No value is told."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ownership_stream.identity import RESERVED
from ownership_stream.lane import LaneRefusedError
from ownership_stream.steps import unpack
from ownership_stream.store import due_of
from ownership_stream.verify.again import digests, number_of
from ownership_stream.verify.changelog import DIGEST_BYTES, Kept

DEEP: Final = 4
"""How far into a state differences are named: ``systems.ehr.shown.email``."""
NOT_NAMED: Final = frozenset({"rows", "value"})
"""What is not looked into by name: rows are named by keys of their sources, values are the patient's."""

What = Literal["state", "redis", "position", "output"]
How = Literal["differs", "missing", "unexpected", "twice", "beyond the end"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference: where it was found, in which record, and since which of the lane's changes.

    ``since`` and ``until``: it came about with one of the record's changes at these offsets of ``changes`` or between
    them; ``None`` where that cannot be told. ``offset`` is where the differing record stands on ``topic``, if it does.
    """

    what: What
    how: How
    stage: str
    topic: str
    partition: int
    record: str
    changes: str
    since: int | None = None
    until: int | None = None
    offset: int | None = None
    fields: tuple[str, ...] = ()


def precedence(one: Finding) -> tuple[bool, bool, int]:
    """Sorts findings: the oldest first, and a patient's record before the lane's own, such as the breaker.

    The lane's own states follow from what was decided for all of its records, and are known only batch by batch: such a
    state may seem to differ since an older change than the record whose state it was that led there.
    """
    return one.record.startswith(RESERVED), one.since is None, one.since or 0


class Unverified(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be verified in one partition, and why, in words."""

    stage: str
    partition: int
    why: str


def differing_fields(expected: bytes | None, found: bytes | None) -> tuple[str, ...]:
    """The names of what differs between two packed states of a record."""
    if expected is None or found is None:
        return ()
    try:
        one, other = unpack(expected), unpack(found)
    except LaneRefusedError:
        return ("bytes that are no state",)
    names = tuple(sorted(_differing(one, other, "", DEEP)))
    due = ("due",) if due_of(expected) != due_of(found) else ()
    return (*names, *due) or ("encoding",)


def _differing(one: Any, other: Any, path: str, deep: int) -> Iterator[str]:
    if one == other:
        return
    if deep and isinstance(one, msgspec.Struct) and type(one) is type(other):
        pairs = {name: (getattr(one, name), getattr(other, name)) for name in one.__struct_fields__}
    elif deep and isinstance(one, dict) and isinstance(other, dict):
        # Bytes that were damaged can hold anything as a name: only names that must be there are told.
        pairs = {name: (one.get(name), other.get(name)) for name in one}
        if not other.keys() <= one.keys():
            yield f"{path}.*"
    else:
        yield path
        return
    for name, (mine, theirs) in pairs.items():
        yield from _differing(mine, theirs, f"{path}.{name}".lstrip("."), 0 if name in NOT_NAMED else deep - 1)


def since_when(made: Sequence[tuple[int, bytes]], kept: Sequence[bytes]) -> tuple[int | None, int | None]:
    """Between which changes a record went another way.

    ``made``: (offset, digest) after each of its changes, as it must be. ``kept``: the digests of its states that are
    there, oldest first: a part of those, since batches and compaction leave some out, up to where it went wrong.
    """
    matched = -1
    broken = False
    for digest in kept:
        at = next((n for n in range(matched + 1, len(made)) if made[n][1] == digest), None)
        broken = at is None
        if at is None:
            break
        matched = at
    if not made or (not broken and matched == len(made) - 1):
        return None, None
    return made[min(matched + 1, len(made) - 1)][0], made[-1][0]


def left_behind(made: Sequence[tuple[int, bytes]], digest: bytes) -> tuple[int | None, int | None]:
    """Between which changes the store stopped following a record, where it holds one of its former states."""
    at = next((n for n in range(len(made) - 2, -1, -1) if made[n][1] == digest), None)
    return (None, None) if at is None else (made[at + 1][0], made[-1][0])


def may_hold(states: Sequence[Kept], position: int) -> set[bytes] | None:
    """The digests that the store may hold of a record while it stands at ``position``; ``None``: anything older.

    A save moves the position last, so what was committed from the position on may be there already or not.
    """
    before = [state for state in states if state.offset < position]
    after = {state.digest for state in states if state.offset >= position}
    if before:
        return {before[-1].digest} | after
    return None if after else {b""}


class Aligned:
    """Outputs as they stand compared with those that must be there, one after the other.

    ``begun`` is the number of the first output that is still there; those before it were deleted by retention.
    """

    def __init__(self, expected: bytearray, *, whole: bool) -> None:
        """``whole``: the topic still has its first record."""
        self.expected: Final = expected
        self.number: int | None = 0 if whole else None
        self.compared = 0
        self.wrong: How | None = None

    @property
    def total(self) -> int:
        """How many outputs there must be."""
        return len(self.expected) // DIGEST_BYTES

    def next(self, digest: bytes, key: bytes | None) -> bool:  # noqa: ARG002  # it counts where topics are compacted
        """Takes the next record that stands there; false once nothing more is to be compared."""
        if self.number is None:
            found = number_of(self.expected, digest)
            if found < 0:
                return True
            self.number = found
        if self.number >= self.total:
            return False
        if digests(self.expected, self.number) == digest:
            self.number += 1
            self.compared += 1
            return True
        if number_of(self.expected, digest, self.number) >= 0:
            self.wrong = "missing"
        else:
            self.wrong = "twice" if number_of(self.expected, digest) >= 0 else "unexpected"
        return False

    def end(self) -> None:
        """Nothing more stands there."""
        if self.wrong is None and self.number is not None and self.number < self.total:
            self.wrong = "missing"


class Compacted(Aligned):
    """Likewise on a compacted topic: the last of each key must stand, unless a later one does; others may be gone."""

    def __init__(self, expected: bytearray, last: Mapping[bytes | None, int]) -> None:
        """``last``: key -> the number of its last output."""
        super().__init__(expected, whole=True)
        self._due = dict(last)
        self._later = False

    def next(self, digest: bytes, key: bytes | None) -> bool:
        """As of any topic; what is not expected is later's, unless something expected follows it."""
        found = number_of(self.expected, digest, self.number or 0)
        if found >= 0 and not self._later:
            self.number = found + 1
            self.compared += 1
            if self._due.get(key) == found:
                del self._due[key]
            return True
        if number_of(self.expected, digest) >= 0:
            self.wrong = "unexpected" if found >= 0 else "twice"
            return False
        self._later = True
        self._due.pop(key, None)
        return True

    def end(self) -> None:
        """Nothing more stands there."""
        if self._due:
            self.wrong, self.number = "missing", min(self._due.values())
