"""`ownership-stream resume`: decide what waited while records were paused, and send what is missing."""

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.asking import Person, as_person
from ownership_stream.cli.switching import switch


@click.command("resume")
@click.argument("records", nargs=-1)
@click.option("--system", default="", help="What was paused in this system; otherwise the record as a whole.")
@click.option("--every-record", is_flag=True, help="Every record there is now, instead of RECORDS.")
@click.option("--reason", default=None, help="Why.")
@as_person(role=False)
@setting_flags("brokers", "app_id", "partitions", "matrix_path")
@pass_session
def command(
    session: Session, *, records: tuple[str, ...], system: str, every_record: bool, reason: str | None, person: Person
) -> None:
    """Resume RECORDS (ids, or `#` and the beginning of a hash): the other half of `pause`."""
    switch(session, "resume", records, system=system, everything=every_record, person=person, reason=reason)
