"""What the runs of the harness need: a real Kafka and a redis-server, else they are skipped by name."""

import shutil

import pytest

from integration.brokers import TestBroker


@pytest.fixture
def kafka(broker: TestBroker) -> TestBroker:
    """The session's broker, if it is real."""
    if not broker.real:
        pytest.skip(f"needs a real Kafka, this one is {broker.kind}: Docker, or Java and Maven, would bring one")
    if shutil.which("redis-server") is None:
        pytest.skip("needs a redis-server on the PATH")
    return broker
