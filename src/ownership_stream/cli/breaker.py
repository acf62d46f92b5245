"""`ownership-stream breaker`: where sends are withheld because too much had to be restored, and how they go on."""

from time import time

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.asking import as_person, reads
from ownership_stream.commands import ChangeWriter, new_id
from ownership_stream.desk import Person
from ownership_stream.errors import ExitCode
from ownership_stream.looking import look
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change


@click.group("breaker")
def command() -> None:
    """Show or reset the breakers of the lanes."""


@command.command("show")
@setting_flags("brokers", "app_id", "partitions")
@pass_session
def show(session: Session) -> int:
    """List the systems that some lane sends nothing to. Exit code 3 if there are any."""
    with look(session.settings) as looker:
        withheld = sorted(looker.withheld())
    session.emit({"withheld": withheld}, lambda: "\n".join(withheld) or "no breaker has tripped")
    return ExitCode.PROBLEMS if withheld else ExitCode.OK


@command.command("reset")
@click.option("--system", default="", help="Only this system's; otherwise every system's.")
@click.option("--reason", default=None, help="Why.")
@as_person(role=False)
@setting_flags("brokers", "app_id", "partitions", "matrix_path")
@pass_session
def reset(session: Session, *, system: str, reason: str | None, person: Person) -> None:
    """Let every lane send again. What was withheld is sent by a sweep: `ownership-stream sweep`."""
    settings = session.settings
    reads(system, load(settings.matrix_path).systems, "system")
    at = int(time() * 1000)
    written = ChangeWriter.of(settings).put(
        (
            Change(id=new_id(), record="", kind="reset_breaker", system=system, at=at, actor=person.actor,
                   origin="person", reason=reason),
            partition,
        )
        for partition in range(settings.partitions)
    )  # fmt: skip
    session.emit(
        {"lanes": written}, lambda: f"{written} lanes will send again; run `ownership-stream sweep` for what is missing"
    )
