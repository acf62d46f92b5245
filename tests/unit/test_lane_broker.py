"""What lanes ask of Kafka, where only an odd answer makes the difference; the rest is asked of a real broker."""

from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from ownership_stream.lane import Broker, BrokerAwayError, LaneConfig


class Answer(NamedTuple):
    """What Kafka says of one offset."""

    offset: int


class Admin:
    """Answers with these offsets, the first one asked for being the earliest."""

    def __init__(self, *offsets: int) -> None:
        self._offsets = list(offsets)

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, "Future[Answer]"]:
        """One answer per call."""
        [where] = asked
        told: Future[Answer] = Future()
        told.set_result(Answer(self._offsets.pop(0)))
        return {where: told}


@pytest.mark.parametrize("offsets", [(OFFSET_INVALID, 5), (0, OFFSET_INVALID)])
def test_offsets_that_are_unknown_are_no_offsets(offsets: tuple[int, int]) -> None:
    """A partition whose disk has just failed answers without error and without offset: that is an outage, no end."""
    broker = Broker(LaneConfig(app="test", client={"bootstrap.servers": "127.0.0.1:9", "log_level": 0}))
    replaced: Any = Admin(*offsets)
    broker._admin = replaced
    with pytest.raises(BrokerAwayError, match=r"cannot get the offsets of `changes` \[3\]"):
        broker.extent("changes", 3)
    broker.close()
