"""A lane decided again from its log, in memory: the same pure step on the same records, without transaction or store.

What each part of the log was decided under is read from the lane's own regimes; which steps there are, the caller says.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from ownership_stream.lane import Output, Record, Step
from ownership_stream.regimes import Regime, Regimes, spans
from ownership_stream.steps import REGIMES, DecideBatch
from ownership_stream.verify.changelog import DIGEST_BYTES, digest_of

StepFor = Callable[[Regime | None], Step | None]
"""The step that decided under a regime (``None``: nobody wrote down which); ``None`` where it cannot be had."""


class UndecidableError(Exception):
    """From this offset on nobody can say what was to be decided; the message says why, in words."""

    def __init__(self, offset: int, regime: Regime | None) -> None:
        super().__init__(offset, regime)
        self.offset = offset
        self.regime = regime


class Again:
    """The states and outputs that must follow from a lane's records.

    ``buried`` are the offsets that the lane itself put into the dead letters: no step has settled them. ``watched`` are
    the topics whose outputs are kept, as digests, in their order; of those that are ``compacted`` also which output is
    the last of its key.
    """

    def __init__(self, step_for: StepFor, *, watched: Iterable[str] = (), compacted: Iterable[str] = ()) -> None:
        self.states: dict[str, bytes] = {}
        self.last: Final[dict[str, dict[bytes | None, int]]] = {topic: {} for topic in compacted}
        self.outputs: Final[dict[str, bytearray]] = {topic: bytearray() for topic in (*watched, *self.last)}
        self.changes = 0
        self._step_for = step_for

    def settle(self, records: Sequence[Record], regimes: Regimes, buried: frozenset[int]) -> list[Output]:
        """One batch of the log, cut where a regime ends; what it puts out. Raises ``UndecidableError``."""
        outputs: list[Output] = []
        if records:
            for first, last, regime in spans(regimes, records[0].offset, records[-1].offset + 1):
                part = [one for one in records if first <= one.offset < last and one.offset not in buried]
                if part:
                    outputs += self._run(part, regime)
        self.changes += len(records)
        for output in outputs:
            if output.topic in self.last:
                self.last[output.topic][output.key] = len(self.outputs[output.topic]) // DIGEST_BYTES
            if output.topic in self.outputs:
                self.outputs[output.topic] += output_digest(output.key, output.value, output.headers)
        return outputs

    def _run(self, records: Sequence[Record], regime: Regime | None) -> list[Output]:
        step = self._step_for(regime)
        if step is None:
            raise UndecidableError(records[0].offset, regime)
        decoded: Any = step.decode(records)
        if regime is None and isinstance(decoded, DecideBatch) and decoded.changes:
            raise UndecidableError(decoded.changes[0][1].offset, None)
        result = step.run(decoded, {name: self.states.get(name) for name in decoded.record_ids})
        # What was decided under what is read from the changelog; made again it would say how it is decided now.
        result.states.pop(REGIMES, None)
        self.states |= result.states
        return result.outputs


class Traced:
    """What became of some records and some outputs, change by change: found out by deciding one change at a time."""

    def __init__(self, again: Again, names: frozenset[str], outputs: dict[str, int]) -> None:
        """``outputs``: topic -> the number of the output that is looked for."""
        self.states: dict[str, list[tuple[int, bytes]]] = {name: [] for name in names}
        """Record -> (offset of the change, digest of the state after it), in order."""
        self.made: dict[str, tuple[int, Output]] = {}
        """Topic -> the offset of the change that makes the output, and the output."""
        self._again = again
        self._wanted = dict(outputs)
        self._before = dict(again.states)

    def settle(self, records: Sequence[Record], regimes: Regimes, buried: frozenset[int]) -> None:
        """The next records of the log."""
        for record in records:
            outputs = self._again.settle([record], regimes, buried)
            for name, states in self.states.items():
                now = self._again.states.get(name)
                if now is not self._before.get(name) and now is not None:
                    states.append((record.offset, digest_of(now)))
                    self._before[name] = now
            for output in outputs:
                self._count(output, record.offset)

    def _count(self, output: Output, offset: int) -> None:
        left = self._wanted.get(output.topic)
        if left == 0:
            self.made[output.topic] = offset, output
        if left is not None:
            self._wanted[output.topic] = left - 1


def output_digest(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """What stands for an output: its key, its bytes and its headers."""
    return digest_of(msgspec.msgpack.encode((key, value, headers)))


def digests(found: bytearray, number: int) -> bytes:
    """The digest of an output by its number."""
    return bytes(found[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES])


def number_of(found: bytearray, digest: bytes, begin: int = 0) -> int:
    """The number of the first output at or after ``begin`` with this digest; -1 where there is none."""
    at = found.find(digest, begin * DIGEST_BYTES)
    while at >= 0 and at % DIGEST_BYTES:
        at = found.find(digest, at + 1)
    return at // DIGEST_BYTES if at >= 0 else -1
