"""What a lane's partition of its state topic holds: states as of the lane's newest control record, and what follows.

A transaction writes its states and then the control record that says ``next``. The states up to a control record are
therefore exactly those that follow from the input before its ``next``: a consistent point, however busy the lane is.
States are kept as digests, so that a partition of any size fits into memory.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from ownership_stream.lane import Broker, Control
from ownership_stream.lane.broker import offset_of
from ownership_stream.lane.contract import CONTROL_KEY

DIGEST_BYTES: Final = 16


class Kept(NamedTuple):
    """A state on the changelog."""

    offset: int
    digest: bytes


def digest_of(state: bytes | None) -> bytes:
    """What stands for a state; nothing stands for none."""
    return b"" if state is None else blake2b(state, digest_size=DIGEST_BYTES).digest()


class Changelog:
    """One partition of a state topic, read from its start and then followed.

    ``next`` is the input offset up to which ``settled`` is complete, ``None`` while no lane has settled anything.
    ``later`` holds the states after that point that are committed already, oldest first.
    """

    def __init__(self, broker: Broker, topic: str, partition: int) -> None:
        self.topic: Final = topic
        self.partition: Final = partition
        self.settled: dict[str, Kept] = {}
        self.later: dict[str, list[Kept]] = {}
        self.next: int | None = None
        self.end = 0
        self._broker = broker

    def follow(self, watch: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Reads what is committed by now; ``watch`` is told how far of how much.

        Raises what ``Broker.read`` raises, and ``LaneRefusedError`` for a control record of another release.
        """
        extent = self._broker.extent(self.topic, self.partition)
        for messages in self._broker.read(self.topic, self.partition, max(self.end, extent.start), extent.end):
            for message in messages:
                key, value = message.key() or b"", message.value()
                if key == CONTROL_KEY.encode():
                    self._settle(Control.unpack(value or b""))
                else:
                    kept = Kept(offset_of(message), digest_of(value))
                    self.later.setdefault(key.decode("utf-8", "replace"), []).append(kept)
            if messages:  # what was fetched may all be beyond the end
                watch(offset_of(messages[-1]) + 1, extent.end)
        self.end = extent.end

    def strays(self) -> list[tuple[str, Kept]]:
        """Committed states that no control record follows: no lane wrote them.

        A transaction is committed as a whole, so what the last but one ``follow`` has read is followed by its control
        record by now.
        """
        before = self.end
        self.follow()
        return [(name, kept) for name, states in self.later.items() for kept in states if kept.offset < before]

    def _settle(self, control: Control) -> None:
        self.settled.update((name, states[-1]) for name, states in self.later.items())
        self.later.clear()
        self.next = control.next

    def states_of(self, name: str) -> list[Kept]:
        """The record's states that count, oldest first: the settled one, and those after it."""
        settled = self.settled.get(name)
        return ([settled] if settled else []) + self.later.get(name, [])

    def bytes_at(self, offset: int) -> bytes | None:
        """The state at an offset, as it stands; ``None`` where compaction has taken it meanwhile."""
        for messages in self._broker.read(self.topic, self.partition, offset, offset + 1):
            for message in messages:
                if offset_of(message) == offset:
                    return message.value()
        return None

    def history(self, names: frozenset[str]) -> dict[str, list[bytes]]:
        """The digests of every settled state of these records that the topic still has, oldest first.

        Reads the partition once more.
        """
        found: dict[str, list[bytes]] = {name: [] for name in names}
        extent = self._broker.extent(self.topic, self.partition)
        for messages in self._broker.read(self.topic, self.partition, extent.start, min(self.end, extent.end)):
            for message in messages:
                name = (message.key() or b"").decode("utf-8", "replace")
                if name in self.settled and name in found and offset_of(message) <= self.settled[name].offset:
                    found[name].append(digest_of(message.value()))
        return found
