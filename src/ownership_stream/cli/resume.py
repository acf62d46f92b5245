"""`ownership-stream resume`: decide what waited while records were paused, and send what is missing."""

from typing import Any

import click

from ownership_stream.cli import Session
from ownership_stream.cli.switching import of_records, switch


@click.command("resume")
@of_records("What was paused in this system; otherwise the record as a whole.")
def command(session: Session, **said: Any) -> None:
    """Resume RECORDS (ids, or `#` and the beginning of a hash): the other half of `pause`."""
    switch(session, "resume", **said)
