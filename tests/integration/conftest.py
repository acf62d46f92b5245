"""The servers and the stream of the integration tests."""

import shutil

import pytest

from integration.brokers import TestBroker
from integration.streams import Stream
from ownership_stream.embedded import Embedded


@pytest.fixture
def stream(request: pytest.FixtureRequest, broker: TestBroker, embedded: Embedded) -> Stream:
    """A stream of the test's own. Marked `real_broker` or `real_redis`, the test is skipped by name without one."""
    if request.node.get_closest_marker("real_broker") and not broker.real:
        pytest.skip(f"needs a real Kafka, this one is {broker.kind}: Docker, or Java and Maven, would bring one")
    if request.node.get_closest_marker("real_redis") and shutil.which("redis-server") is None:
        pytest.skip("needs a redis-server on the PATH")
    return Stream(broker, embedded.redis_url)


@pytest.fixture(scope="module")
def servers(broker: TestBroker, embedded: Embedded) -> tuple[str, str]:
    """A real Kafka and a real Redis."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server: the mock broker isolates no transactions")
    return broker.bootstrap, embedded.redis_url
