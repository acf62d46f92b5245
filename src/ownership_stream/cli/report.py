"""`ownership-stream report`: the weekly review's page, from the topics alone."""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.verify import progress
from ownership_stream.errors import ExitCode

TREND_WEEKS = 8
"""Weeks that the small charts show, the one that is asked for included."""


@click.command("report")
@click.option("--week", "name", metavar="WEEK", help="An ISO week, as 2026-W47. [default: the last that is over]")
@click.option(
    "--format", "format_", type=click.Choice(["markdown", "html"]), default="markdown", show_default=True,
    help="How to set it; HTML has small charts, and prints well.",
)  # fmt: skip
@click.option(
    "--former-matrix", "former", multiple=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="A matrix document that was in force before, with the `sources` folder beside it; may be repeated.",
)  # fmt: skip
@setting_flags("brokers", "app_id", "matrix_path", "sources_path")
@pass_session
def command(session: Session, *, name: str | None, format_: str, former: Sequence[Path]) -> int:
    """Tell a week: the six figures beside those of the week before, and what they say.

    Decides every log again, beside the workers, and counts what followed: so it is exact whatever crashed in the week,
    and needs neither Prometheus nor Redis. Weeks are ISO weeks in UTC. No patient's value is in it; records and writers
    are named by keyed hashes (the setting hash_key). Exit code 5 if a part of the log could not be decided again; the
    page says which.
    """
    from time import time

    from ownership_stream.looking import reach
    from ownership_stream.review import Ledger, Logs, Week, report
    from ownership_stream.review.page import RENDERED
    from ownership_stream.telemetry import hash_id, hash_key
    from ownership_stream.verify import Place

    settings = session.settings
    now = int(time() * 1000)
    week = Week.of(now).before() if name is None else Week.parse(name)
    ledger = Ledger([week.before(back) for back in range(TREND_WEEKS)], now)
    with reach(settings) as broker, progress(settings.log_level.value) as watch:
        logs = Logs(
            settings, broker, former=former,
            watch=lambda partition, *said: watch(Place("report", "", "", partition, ""), *said),
        )  # fmt: skip
        missing = logs.tell(ledger)
    key = hash_key(settings.hash_key)
    made = report(logs.matrix, ledger, now, named=lambda known: hash_id(key, known)[:8], missing=missing)
    if session.json:
        session.emit(msgspec.to_builtins(made), str)
    else:
        click.echo(RENDERED[format_](made), nl=False)
    return ExitCode.INCOMPLETE if missing else ExitCode.OK
