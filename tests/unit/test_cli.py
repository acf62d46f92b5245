"""The command line's root: lazy commands, output, and how each kind of trouble ends."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from ownership_stream import __version__
from ownership_stream import cli as program
from ownership_stream.cli import COMMANDS, Session, pass_session, run, setting_flags
from ownership_stream.errors import (
    EXIT_CODES,
    BadInputError,
    CheckFailedError,
    ExitCode,
    OwnershipError,
    UnavailableError,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches these tests."""
    for name in ("OWNERSHIP_SETTINGS", "OWNERSHIP_SECRETS_DIR", "OWNERSHIP_OUTPUT", "OWNERSHIP_BROKERS"):
        monkeypatch.delenv(name, raising=False)


def output(*arguments: str) -> str:
    """What Python prints when it is started with these arguments and our package."""
    environ = os.environ | {"PYTHONPATH": str(Path(program.__file__).parents[2])}
    done = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Put a command `try` before the root, that does what the test gives."""

    def install(body: Callable[..., object]) -> None:
        made = body if isinstance(body, click.Command) else click.command("try")(body)
        monkeypatch.setattr(program.cli, "get_command", lambda _context, name: made if name == "try" else None)

    return install


def test_the_version_is_said() -> None:
    """`--version` works without reading anything."""
    assert f"ownership-stream, version {__version__}\n" == output("-m", "ownership_stream", "--version")


def test_the_start_loads_neither_kafka_nor_faust_nor_settings() -> None:
    """Commands are imported when they are asked for, so `--version` is fast."""
    heavy = "{'faust', 'pydantic', 'confluent_kafka', 'aiokafka'}"

    assert "set()\n" == output("-c", f"import sys, ownership_stream.cli; print({heavy} & sys.modules.keys())")


def test_every_command_of_the_table_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` names each, and each has help of its own."""
    assert ExitCode.OK == run(["--help"])
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        assert ExitCode.OK == run([name, "--help"])
        assert f"Usage: ownership-stream {name}" in capsys.readouterr().out


def test_settings_are_shown_with_their_origins(capsys: pytest.CaptureFixture[str]) -> None:
    """`settings` prints the effective value and where it came from, also as JSON."""
    assert ExitCode.OK == run(["--set", "brokers=a:1", "settings"])
    assert ["brokers", "a:1", "flag"] in [line.split() for line in capsys.readouterr().out.splitlines()]

    assert ExitCode.OK == run(["--set", "brokers=a:1", "--output", "json", "settings"])
    shown = json.loads(capsys.readouterr().out)
    assert {"value": "a:1", "origin": "flag"} == shown["brokers"]
    assert {"value": "enforce", "origin": "default"} == shown["mode"]
    assert {"value": 6066, "origin": "default"} == shown["http_port"]
    assert {"value": "redis://localhost:6379/0", "origin": "default"} == shown["redis_url"]
    assert {"value": None, "origin": "default"} == shown["hash_key"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nope"], "no such command `nope`; `ownership-stream --help` says what is possible"),
        (["settings", "--nope"], "no such option: --nope; `ownership-stream settings --help` says what is possible"),
        (
            ["--set", "x", "settings"],
            "invalid value for `--set`: `x` is not NAME=VALUE; `ownership-stream --help` says what is possible",
        ),
        (["--set", "modee=observe", "settings"], "unknown setting `modee` in the flags: did you mean `mode`?"),
    ],
)
def test_wrong_usage_is_one_line_on_stderr(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was wrong, in the user's words, and where to look; exit code 2."""
    assert ExitCode.USAGE == run(arguments)
    assert ("", f"error: {line}\n") == capsys.readouterr()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OwnershipError("one"), ExitCode.FAILED),
        (BadInputError("one", "two"), ExitCode.USAGE),
        (CheckFailedError("one", "two"), ExitCode.PROBLEMS),
        (UnavailableError("one"), ExitCode.UNAVAILABLE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_each_kind_of_trouble_has_its_exit_code(
    error: BaseException,
    code: ExitCode,
    command: Callable[[Callable[..., object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scripts depend on the codes; people read one line for each mistake."""

    def fail() -> None:
        raise error

    command(fail)
    assert code == run(["try"])
    problems = error.problems if isinstance(error, OwnershipError) else ["interrupted"]
    assert [f"error: {problem}" for problem in problems] == capsys.readouterr().err.split("\n")[-1 - len(problems) : -1]


def test_an_internal_error_is_told_by_class_and_place(
    command: Callable[[Callable[..., object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its message may quote a patient's value, so it is shown only to those who ask for the traceback."""

    def fail() -> None:
        int("Ann Doe")

    command(fail)
    assert ExitCode.FAILED == run(["try"])
    quiet = capsys.readouterr().err
    assert quiet.startswith("error: internal error: ValueError at test_cli.py:")
    assert "Ann Doe" not in quiet
    assert ExitCode.FAILED == run(["--traceback", "try"])
    assert "Ann Doe" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(
    command: Callable[[Callable[..., object]], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`ownership-stream settings | head -1` ends quietly, and nothing is flushed into the closed pipe."""

    def write() -> None:
        raise BrokenPipeError

    command(write)
    with (tmp_path / "out").open("w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert ExitCode.OK == run(["try"])
        gone.write("late")

    assert "" == (tmp_path / "out").read_text()


def test_a_command_takes_settings_as_flags_of_its_own(
    command: Callable[[Callable[..., object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag is named like its setting, described like it, and wins over `--set`."""

    @click.command("try")
    @setting_flags("http_port", "brokers")
    @pass_session
    def body(session: Session) -> None:
        session.emit({"port": session.settings.http_port}, lambda: f"port {session.settings.http_port}")

    command(body)
    assert ExitCode.OK == run(["--set", "http_port=1", "try", "--http-port", "2"])
    assert "port 2\n" == capsys.readouterr().out
    assert ExitCode.OK == run(["-o", "json", "try", "--http-port", "3"])
    assert {"port": 3} == json.loads(capsys.readouterr().out)
    assert ExitCode.OK == run(["try", "--help"])
    assert "Kafka bootstrap servers" in capsys.readouterr().out


def test_a_command_may_return_its_exit_code(command: Callable[[Callable[..., object]], None]) -> None:
    """A number that a command returns is the exit code."""
    command(lambda: 3)

    assert ExitCode.PROBLEMS == run(["try"])


def test_every_exit_code_is_documented() -> None:
    """The table that the documentation shows has every code."""
    assert set(ExitCode) == EXIT_CODES.keys()
