"""The topics we own, made and checked on a real Kafka."""

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from integration.brokers import TestBroker
from integration.streams import Stream
from ownership_stream.settings import Settings
from ownership_stream.topics import check, create, owned_topics

pytestmark = pytest.mark.real_broker


def test_created_topics_pass_their_check(stream: Stream, broker: TestBroker) -> None:
    """What a real broker says of them is what was asked for; other settings show every difference."""
    names: dict[str, Any] = {
        f"topic_{word}": f"{stream.name}.x.{word}"
        for word in ("changes", "state", "conflicts", "resolutions", "matches", "match_state", "links")
    }
    names |= {"topic_dead_letters": f"{stream.name}.x.dead", "topic_apply_prefix": f"{stream.name}.apply."}
    settings = Settings(**names, replication_factor=1, min_insync_replicas=1, partitions=2)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    create(admin, settings)
    assert [] == check(admin, settings)
    assert [] == create(admin, settings)
    stricter = Settings(**names, replication_factor=2, min_insync_replicas=2, partitions=3)
    lines = "\n".join(str(problem) for problem in check(admin, stricter))
    for topic in owned_topics(stricter):
        assert f"topic `{topic.name}`: has 1 replicas instead of 2" in lines
        assert f"topic `{topic.name}`: has `min.insync.replicas=1` instead of `2`" in lines
    assert f"topic `{stream.name}.x.state`: has 2 partitions instead of 3" in lines
