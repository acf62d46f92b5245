"""The programs and schemas that deploy/ is checked with."""

import pytest

from deploy_kit import Tools, tools_or_skip


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Helm, hadolint, docker-compose and schemas; skipped by name where they cannot be had."""
    return tools_or_skip()
