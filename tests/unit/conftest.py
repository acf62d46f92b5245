"""What unit tests share that speak to an embedded broker."""

from collections.abc import Iterator

import pytest

from kept_kit import kept_servers
from ownership_stream.embedded import Embedded


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """One broker and one Redis for all tests of a module."""
    with kept_servers() as embedded:
        yield embedded
