"""Ticks: what makes time pass for records that wait for something.

``decide`` has no clock. A state says when its record wants to be looked at again; the ticker asks the store which
records are due and writes a tick for each to ``ownership.changes``, where it takes its place in the record's one
order. A tick too many changes nothing, so nothing here needs to be exact: neither the clock nor the delivery.
"""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import Producer

from ownership_stream.identity import change_id
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.model import Change
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.wire import change_message

MOST: Final = 1_000
"""Ticks for one partition in one round; the next round brings the rest."""


class Ticker:
    """Writes ticks for the partitions that are ours. Raises ``UnavailableError`` when Kafka or the store is away."""

    def __init__(self, config: LaneConfig, broker: Broker, store: StateStore, *, changes: str, states: str) -> None:
        self._app = config.app
        self._broker = broker
        self._store = store
        self._changes = changes
        self._states = states
        self._producer = Producer({
            **config.client,
            "enable.idempotence": True,
            "message.timeout.ms": int(config.message_seconds * 1000),
        })  # fmt: skip

    def tick(self, partitions: Iterable[int], now: int) -> int:
        """Write the ticks that are due at ``now`` (milliseconds); how many."""
        topic_id = self._broker.topic_id(self._states)
        written = 0
        for partition in partitions:
            for record in self._store.due(key_prefix(self._app, topic_id, partition), now, MOST):
                tick = Change(id=change_id(f"tick/{record}/{now}"), record=record, kind="tick", at=now)
                key, value, headers = change_message(tick)
                self._producer.produce(self._changes, value, key, partition, headers=list(headers))
                written += 1
        self._producer.poll(0)
        return written

    def close(self) -> None:
        """Let what is written arrive."""
        self._producer.flush(1)
