"""The command line: one thin module per command over the module that does the work.

Each command stands in `COMMANDS` and is imported only when asked for, so that the program starts fast. Data
go to stdout, messages and logs to stderr. A module of a command offers it as `command`; it takes what the
root options say with `pass_session`, and ends in trouble by raising an `OwnershipError`.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import msgspec

from ownership_stream import __version__
from ownership_stream.errors import ExitCode, OwnershipError

if TYPE_CHECKING:
    from ownership_stream.settings import Loaded, Settings

COMMANDS: Final[Mapping[str, str]] = {
    "breaker": "ownership_stream.cli.breaker",
    "conflicts": "ownership_stream.cli.conflicts",
    "dead-letters": "ownership_stream.cli.dead_letters",
    "demo": "ownership_stream.cli.demo",
    "disagreements": "ownership_stream.cli.disagreements",
    "explain": "ownership_stream.cli.explain",
    "matrix": "ownership_stream.cli.matrix",
    "pages": "ownership_stream.cli.pages",
    "pause": "ownership_stream.cli.pause",
    "records": "ownership_stream.cli.records",
    "report": "ownership_stream.cli.report",
    "resume": "ownership_stream.cli.resume",
    "settings": "ownership_stream.cli.settings",
    "simulate": "ownership_stream.cli.simulate",
    "sources": "ownership_stream.cli.sources",
    "sweep": "ownership_stream.cli.sweep",
    "topics": "ownership_stream.cli.topics",
    "verify": "ownership_stream.cli.verify",
    "worker": "ownership_stream.cli.worker",
}


@dataclass
class Session:
    """What the root options say: commands take it with `pass_session`."""

    settings_file: Path | None = None
    secrets_dir: Path | None = None
    output: str = "text"
    flags: dict[str, str] = field(default_factory=dict)

    @cached_property
    def loaded(self) -> "Loaded":
        """The effective settings with their origins, read on first use; raises BadInputError."""
        from ownership_stream.settings import load

        return load(file=self.settings_file, secrets_dir=self.secrets_dir, flags=self.flags)

    @property
    def settings(self) -> "Settings":
        """The effective settings, read on first use; raises BadInputError."""
        return self.loaded.settings

    @property
    def json(self) -> bool:
        """Whether the data on stdout are to be JSON."""
        return self.output == "json"

    def emit(self, data: object, text: Callable[[], str]) -> None:
        """Print `data` as one line of JSON, or what `text()` makes for a person, as `--output` asks."""
        click.echo(msgspec.json.encode(data).decode() if self.json else text())


pass_session = click.make_pass_decorator(Session, ensure=True)


def setting_flags(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command a flag for each of these settings: `http_port` becomes `--http-port`, described alike.

    The values go to the session's flags; the command's function does not get them.
    """
    from ownership_stream.settings import Settings

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            description = Settings.model_fields[name].description
            command = click.option(
                f"--{name.replace('_', '-')}",
                metavar="VALUE",
                expose_value=False,
                is_eager=True,
                callback=_keep_flag,
                help=description,
            )(command)
        return command

    return decorate


def _keep_flag(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name is not None:
        context.ensure_object(Session).flags[parameter.name] = value


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """The commands' names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (as above)
        """Import the command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"`{COMMANDS[cmd_name]}.command` is no command")
        return command


def _set_pairs(context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> tuple[str, ...]:
    flags = context.ensure_object(Session).flags
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"`{pair}` is not NAME=VALUE", context, parameter)
        flags[name.strip().replace("-", "_")] = value
    return pairs


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ownership-stream")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    envvar="OWNERSHIP_SETTINGS",
    metavar="FILE",
    help="Read settings from this TOML file.",
)
@click.option(
    "--secrets-dir",
    type=click.Path(path_type=Path),
    envvar="OWNERSHIP_SECRETS_DIR",
    metavar="DIR",
    help="Read settings from the files in this directory, one setting each.",
)
@click.option(
    "--set",
    multiple=True,
    metavar="NAME=VALUE",
    expose_value=False,
    callback=_set_pairs,
    help="Give one setting; may be repeated.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="OWNERSHIP_OUTPUT",
    show_default=True,
    help="What stdout is for: a person or a program.",
)
@click.option("--traceback", is_flag=True, expose_value=False, help="Show where an internal error came from.")
@click.pass_context
def cli(context: click.Context, settings_file: Path | None, secrets_dir: Path | None, output: str) -> None:
    """Enforce the ownership matrix between an EHR and a CRM on their change streams."""
    session = context.ensure_object(Session)
    session.settings_file, session.secrets_dir, session.output = settings_file, secrets_dir, output


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit with its code; every failure is said in lines on stderr (docs/cli.md)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors become lines on stderr."""
    try:
        result = cli.main(arguments, prog_name="ownership-stream", standalone_mode=False)
    except click.ClickException as error:
        return _complain(ExitCode.USAGE, _usage_line(error))
    except OwnershipError as error:
        return _complain(error.exit_code, *error.problems)
    except (KeyboardInterrupt, click.Abort):
        return _complain(ExitCode.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # The reader of our stdout has gone (`| head`): nothing more to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 (last resort)
        # Its message could carry patient values, so only its class and place are said.
        if "--traceback" in arguments:
            traceback.print_exc()
        return _complain(ExitCode.FAILED, _internal_line(error))
    return result if isinstance(result, int) else ExitCode.OK


def _complain(code: ExitCode, *lines: str) -> int:
    for line in lines:
        click.echo(f"{click.style('error', fg='red') if _colour() else 'error'}: {line}", err=True)
    return code


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _usage_line(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".").replace("'", "`")
    text = text[:1].lower() + " ".join(text[1:].split())
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "ownership-stream"
    return f"{text}; `{path} --help` says what is possible"


def _internal_line(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"internal error: {type(error).__name__} at {where}; `ownership-stream --traceback …` shows more"
