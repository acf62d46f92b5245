"""`ownership-stream settings`: the effective settings, secrets hidden, each with where it came from."""

import click
from rich.console import Console
from rich.table import Table

from ownership_stream.cli import Session, pass_session


@click.command("settings")
@pass_session
def command(session: Session) -> None:
    """Show the effective settings and where each value comes from.

    Later sources win: defaults, the file of --settings (TOML), the directory of --secrets-dir, the
    environment (OWNERSHIP_ and the name in capitals), flags. Secrets are never printed.
    """
    loaded = session.loaded
    if session.json:
        session.emit(loaded.data(), str)
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for name, value, origin in loaded.rows():
        table.add_row(name, value, origin, style=None if origin == "default" else "bold")
    Console().print(table)
