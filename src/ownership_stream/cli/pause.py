"""`ownership-stream pause`: hold back what a record's systems write, and what is sent to them."""

from typing import Any

import click

from ownership_stream.cli import Session
from ownership_stream.cli.switching import of_records, switch


@click.command("pause")
@of_records("Only what concerns this system; otherwise the record as a whole.")
def command(session: Session, **said: Any) -> None:
    """Pause RECORDS (ids, or `#` and the beginning of a hash), as a whole or in one system.

    What is written there meanwhile waits in cases (`paused`), and nothing is sent; `resume` decides and sends it. A
    record that comes into being later is not paused.
    """
    switch(session, "pause", **said)
