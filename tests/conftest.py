"""What all tests share: Hypothesis profiles, one broker and one Redis per session, no skips where `CI=true`."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from integration.brokers import TestBroker, chosen_broker
from integration.kafka_process import java_is_there
from integration.registry import ApicurioNode
from ownership_stream.embedded import Embedded

# `ci` gives the same examples in every run, so that a red run is red again; `deep` looks for new ones
# (`make deep`).
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("OWNERSHIP_TEST_PROFILE", "ci"))

IN_CI = os.environ.get("CI") == "true"
# Of two processes one begins with the longest file of faults, the other with what mostly waits: they share two cores.
ORDER = ("test_broker_faults.py", "integration", "chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which they are handed out; within a file nothing changes."""

    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(ORDER) if name in (item.path.name, item.path.parent.name)), len(ORDER))

    items.sort(key=place)


@pytest.fixture(scope="session")
def broker() -> Iterator[TestBroker]:
    """The first broker of the order in `integration.brokers`."""
    with chosen_broker() as chosen:
        yield chosen


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """The embedded stack, whose Redis serves all tests."""
    with Embedded() as stack:
        yield stack


@pytest.fixture(scope="session")
def registry_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApicurioNode]:
    """A schema registry that nobody has started yet."""
    if not java_is_there():
        pytest.skip("needs Java and Maven for a schema registry")
    node = ApicurioNode(tmp_path_factory.mktemp("registry"))
    yield node
    node.kill()


@pytest.fixture
def registry(registry_node: ApicurioNode) -> Iterator[ApicurioNode]:
    """The session's schema registry, which answers: the first test that asks for it starts it."""
    registry_node.start()
    yield registry_node
    registry_node.resume()


def skipped_reports(terminal: pytest.TerminalReporter) -> list[pytest.TestReport]:
    """The tests that were skipped in this run."""
    return [report for report in terminal.stats.get("skipped", []) if isinstance(report, pytest.TestReport)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With `CI=true` a skipped test is a failed run: what was not proved must not pass for proved."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and isinstance(terminal, pytest.TerminalReporter) and skipped_reports(terminal):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a run without failures is red."""
    if IN_CI and (skipped := skipped_reports(terminalreporter)):
        terminalreporter.section("skipped, which CI=true forbids", red=True)
        for report in skipped:
            terminalreporter.line(report.nodeid)
