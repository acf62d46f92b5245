"""Kafka itself goes away and comes back: a broker of the test's own, since it is killed."""

import shutil
from pathlib import Path

import pytest

from integration.brokers import TestBroker, broker_in_java
from integration.kafka_process import kept_port
from integration.streams import Stream, exactly_once
from integration.test_stream_worker import worker
from ownership_stream.embedded import Embedded

VALUES = [b"%d" % number for number in range(1_000)]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, int]:
    """Where the broker keeps its logs, and its port, so that it can come back."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        pytest.skip("needs Java and Maven for a broker that can be killed")
    return tmp_path, kept_port()


@pytest.mark.slow
@pytest.mark.real_broker
@pytest.mark.real_redis
def test_kafka_away_loses_and_repeats_nothing(place: tuple[Path, int], embedded: Embedded) -> None:
    """The worker is not ready and says why; when Kafka is back it goes on where it stood."""
    with broker_in_java(*place) as bootstrap:
        stream = Stream(TestBroker(bootstrap, "java", real=True), embedded.redis_url)
        running = worker(stream)
        one = running.__enter__()
        one.await_ready()
        stream.feed(VALUES[:500])
        stream.await_outputs(100)
    try:
        one.until(lambda: one.waits_for("kafka"), "/readyz says that Kafka is away")
        with broker_in_java(*place):
            stream.feed(VALUES[500:])
            assert exactly_once(VALUES) == stream.await_outputs(len(VALUES))
            one.await_ready()
    finally:
        running.__exit__(None, None, None)
