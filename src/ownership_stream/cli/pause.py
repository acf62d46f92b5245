"""`ownership-stream pause`: hold back what a record's systems write, and what is sent to them."""

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.asking import Person, as_person
from ownership_stream.cli.switching import switch


@click.command("pause")
@click.argument("records", nargs=-1)
@click.option("--system", default="", help="Only what concerns this system; otherwise the record as a whole.")
@click.option("--every-record", is_flag=True, help="Every record there is now, instead of RECORDS.")
@click.option("--reason", default=None, help="Why.")
@as_person(role=False)
@setting_flags("brokers", "app_id", "partitions", "matrix_path")
@pass_session
def command(
    session: Session, *, records: tuple[str, ...], system: str, every_record: bool, reason: str | None, person: Person
) -> None:
    """Pause RECORDS (ids, or `#` and the beginning of a hash), as a whole or in one system.

    What is written there meanwhile waits in cases (`paused`), and nothing is sent; `resume` decides and sends it. A
    record that comes into being later is not paused.
    """
    switch(session, "pause", records, system=system, everything=every_record, person=person, reason=reason)
