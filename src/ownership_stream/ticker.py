"""Ticks: what makes time pass for records that wait for something.

``decide`` has no clock. A state says when its record wants to be looked at again; the ticker asks the store which
records are due and writes a tick for each to ``ownership.changes``, where it takes its place in the record's one
order. A tick too many changes nothing, so nothing here needs to be exact: neither the clock nor the delivery.
"""

import logging
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from confluent_kafka import Producer

from ownership_stream.identity import change_id
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.model import Change
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.wire import change_message

_log = logging.getLogger("ownership_stream.kafka")

MOST: Final = 1_000
"""Ticks for one partition in one round; the next round brings the rest."""


class Ticker:
    """Writes ticks for the partitions that are ours; it speaks to nobody before its first round.

    ``topic`` is where ticks go, ``seconds`` how long to wait between two rounds.
    """

    def __init__(self, config: LaneConfig, store: StateStore, *, changes: str, states: str, seconds: float) -> None:
        self.topic: Final = changes
        self.seconds: Final = seconds
        self._config = config
        self._store = store
        self._states = states

    def tick(self, partitions: Iterable[int], now: int) -> int:
        """Write the ticks that are due at ``now`` (milliseconds); how many.

        Raises ``UnavailableError`` when Kafka or the store is away: the next round makes up for it.
        """
        written = 0
        for partition in partitions:
            for record in self._store.due(key_prefix(self._config.app, self._topic_id, partition), now, MOST):
                tick = Change(id=change_id(f"tick/{record}/{now}"), record=record, kind="tick", at=now)
                key, value, headers = change_message(tick)
                self._producer.produce(self.topic, value, key, partition, headers=list(headers))
                written += 1
        if written:
            self._producer.flush(self._config.message_seconds)
        return written

    @cached_property
    def _producer(self) -> Producer:
        return Producer({
            **self._config.client,
            "logger": _log,
            "enable.idempotence": True,
            "message.timeout.ms": int(self._config.message_seconds * 1000),
        })  # fmt: skip

    @cached_property
    def _topic_id(self) -> str:
        broker = Broker(self._config)
        try:
            return broker.topic_id(self._states)
        finally:
            broker.close()
