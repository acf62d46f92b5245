"""What `pause` and `resume` share: the same control event for one record, for some, or for all."""

from collections.abc import Callable, Iterable, Sequence
from time import time
from typing import Any, Literal

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.asking import as_person, reads
from ownership_stream.commands import ChangeWriter, new_id
from ownership_stream.desk import Person
from ownership_stream.errors import BadInputError
from ownership_stream.identity import partition_of
from ownership_stream.looking import look
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change
from ownership_stream.telemetry import hash_id, hash_key


def of_records(system: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The arguments of `switch`, as options of a command; ``system`` is what `--system` says of itself."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            pass_session,
            setting_flags("brokers", "app_id", "partitions", "matrix_path"),
            as_person(role=False),
            click.option("--reason", default=None, help="Why."),
            click.option("--every-record", is_flag=True, help="Every record there is now, instead of RECORDS."),
            click.option("--system", default="", help=system),
            click.argument("records", nargs=-1),
        ):
            command = option(command)
        return command

    return decorate


def switch(
    session: Session, kind: Literal["pause", "resume"], *, records: Sequence[str], system: str, every_record: bool,
    person: Person, reason: str | None,
) -> None:  # fmt: skip
    """Write the control event for each of these records and say how many; it takes effect when its lane gets there."""
    settings = session.settings
    if bool(records) == every_record:
        raise BadInputError("give either RECORDS or `--every-record`")
    reads(system, load(settings.matrix_path).systems, "system")
    key, at = hash_key(settings.hash_key), int(time() * 1000)
    writer = ChangeWriter.of(settings)
    with look(settings) as looker:
        chosen: Iterable[str] = (
            (one.record for one in looker.states())
            if every_record
            else dict.fromkeys(looker.find(one, lambda record: hash_id(key, record)) for one in records)
        )
        written = writer.put(
            (
                Change(id=new_id(), record=record, kind=kind, system=system, at=at, actor=person.actor,
                       origin="person", reason=reason),
                partition_of(record, settings.partitions),
            )
            for record in chosen
        )  # fmt: skip
    session.emit({kind: written}, lambda: f"{written} records will {kind}")
