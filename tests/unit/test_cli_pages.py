"""`ownership-stream pages`: closed by default, served until it is told to stop."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kept_kit import Kept
from logging_kit import logging_kept
from ownership_stream.cli import run
from ownership_stream.embedded import Embedded, free_port
from ownership_stream.errors import ExitCode
from web_kit import IDA, SECRET, URL, proxied


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The command configures logging, and these tests put it back."""
    with logging_kept():
        yield


@pytest.fixture
def kept(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An application with its settings in the environment."""
    kept = Kept(servers)
    kept.settle(monkeypatch)
    monkeypatch.setenv("OWNERSHIP_SOURCES_PATH", str(kept.settings.sources_path))
    monkeypatch.setenv("OWNERSHIP_TOPIC_RESOLUTIONS", f"{kept.name}.resolutions")
    return kept


def test_without_a_way_in_nothing_is_served(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line, whatever else is set."""
    assert kept
    assert ExitCode.USAGE == run(["pages", "--pages-host", "0.0.0.0"])  # noqa: S104  # what is refused here
    assert "error: pages are served to nobody who was not let in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("OWNERSHIP_PAGES_PROXY_SECRET", "short", "`pages_proxy_secret` must have 32 characters or more"),
        ("OWNERSHIP_PAGES_PROXY_SECRET", SECRET, "`pages_proxy_secret` needs `pages_url`"),
        ("OWNERSHIP_PAGES_URL", "ownership.example.org", "setting `pages_url`"),
        ("OWNERSHIP_PAGES_ACTOR_HEADER", "X Name", "setting `pages_actor_header`"),
    ],
)
def test_settings_that_would_leave_a_door_open_are_refused(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    """And the secret is not said."""
    assert kept
    monkeypatch.setenv(name, value)
    assert ExitCode.USAGE == run(["pages"])
    err = capsys.readouterr().err
    assert line in err
    assert value not in err or "SECRET" not in name


def test_the_command_serves_until_it_is_told_to_stop(kept: Kept) -> None:
    """A process of its own: its address in a log line, exit code 0 by SIGTERM."""
    kept.decided()
    said = {
        "OWNERSHIP_PAGES_PROXY_SECRET": SECRET,
        "OWNERSHIP_PAGES_URL": URL,
        "OWNERSHIP_PAGES_PORT": str(free_port()),
    }
    source = Path(__file__).resolve().parents[2] / "src"
    process = subprocess.Popen(
        [sys.executable, "-m", "ownership_stream", "pages"],
        env=os.environ | said | {"PYTHONPATH": str(source)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "pages_started" in line)
        assert f"http://127.0.0.1:{said['OWNERSHIP_PAGES_PORT']}" in line
        assert [401, 200] == [_status(int(said["OWNERSHIP_PAGES_PORT"]), headers) for headers in ({}, proxied(*IDA))]
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _status(port: int, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
