"""`ownership-stream sweep`: have every record looked at, so that whatever a system misses is sent."""

from time import time

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.identity import partition_of
from ownership_stream.looking import look
from ownership_stream.ticker import TickWriter


@click.command("sweep")
@setting_flags("brokers", "app_id", "partitions")
@pass_session
def command(session: Session) -> None:
    """Write a tick for every record: its lane then sends what systems miss, and opens cases for what it may not send.

    For the moment after a change that no event of a record brings: from `observe` to `enforce`, a new revision of the
    matrix, a breaker that was reset. Nothing else needs it, and it does no harm twice.
    """
    settings = session.settings
    ticks = TickWriter.of(settings)
    with look(settings) as looker:
        records = ((one.record, partition_of(one.record, settings.partitions)) for one in looker.states())
        written = ticks.write(records, int(time() * 1000))
    session.emit({"ticks": written}, lambda: f"{written} records will be looked at")
