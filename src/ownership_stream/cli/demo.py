"""`ownership-stream demo`: watch a simulated clinic being decided live."""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import ExitCode

if TYPE_CHECKING:
    from ownership_stream.settings import Loaded, Settings

PACKAGED: Final = "documents"
"""Where an installed package keeps its own copy of `matrix/`, inside `ownership_stream`."""


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(0), default=0, envvar="DEMO_SECONDS", help="End by itself after so many seconds."
)
@click.option(
    "--rate", type=click.FloatRange(1, 200), default=60, show_default=True, help="Edits in the clinic, a second."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed is another clinic.")
@click.option("--fake-redis", is_flag=True, help="Use fakeredis even where there is a redis-server.")
@setting_flags("matrix_path", "sources_path", "http_port", "log_level")
@pass_session
def command(session: Session, *, seconds: float, rate: float, seed: int, fake_redis: bool) -> int:
    """Watch EHR and CRM changes of a simulated clinic being decided by the matrix, field by field.

    Everything runs in this one process: an embedded broker and Redis, a worker, and made-up patients and staff. Ctrl-C
    ends it with a summary whose counts are checked; the exit code is 1 if they do not add up.
    """
    # Said before the rest is imported: whoever starts a demo wants to see at once that something happens.
    click.echo("starting an embedded broker and Redis, a worker, and a simulated clinic", err=session.json)

    from rich.console import Console

    from ownership_stream.demo.run import Options, run
    from ownership_stream.demo.summary import data

    session.flags.setdefault("http_port", "0")
    console = Console(file=sys.stderr if session.json else sys.stdout)
    tally = run(_with_documents(session.loaded), Options(seconds, seed, rate, fake_redis), console, _program())
    told = data(tally)
    if session.json:
        session.emit(told, str)
    return ExitCode.FAILED if told["mismatches"] else ExitCode.OK


def _with_documents(loaded: "Loaded") -> "Settings":
    """The settings; matrix and sources are the program's own where the folder has none and none was asked for."""
    settings, own = loaded.settings, Path(str(files("ownership_stream").joinpath(PACKAGED)))
    paths = {"matrix_path": own / "patient.yaml", "sources_path": own / "sources"}
    asked = any(name in loaded.origins for name in paths)
    return settings if asked or settings.matrix_path.exists() else settings.model_copy(update=paths)


def _program() -> str:
    """How the user called us, for the lines that say what else can be asked."""
    called = Path(sys.argv[0])
    return "python -m ownership_stream" if called.name == "__main__.py" else str(called)
