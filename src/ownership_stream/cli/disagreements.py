"""`ownership-stream disagreements`: where systems show something else than they should, and why that stands."""

from collections import Counter
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from ownership_stream.assembly import documents
from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.disagreements import WHYS, Why, disagreements
from ownership_stream.errors import ExitCode
from ownership_stream.looking import look
from ownership_stream.settings import Mode
from ownership_stream.telemetry import hash_id, hash_key


class Line(NamedTuple):
    """One disagreement of one record, named by its keyed hash."""

    record: str
    system: str
    field: str
    why: Why


@click.command("disagreements")
@click.option("--records", is_flag=True, help="List every record (by its hash) instead of counting them.")
@click.option("--ids", is_flag=True, help="Show record ids instead of hashes.")
@setting_flags("brokers", "app_id", "partitions", "matrix_path", "sources_path")
@pass_session
def command(session: Session, *, records: bool, ids: bool) -> int:
    """List where the EHR or the CRM shows something else than is expected of it, and what explains it.

    Exit code 3 if something is there that nothing explains.
    """
    settings = session.settings
    matrix, _ = documents(settings)
    key = hash_key(settings.hash_key)
    with look(settings) as looker:
        withheld = frozenset(matrix.systems) if settings.mode is Mode.OBSERVE else looker.withheld()
        lines = [
            Line(one.record if ids else f"#{hash_id(key, one.record)[:8]}", *found)
            for one in looker.states()
            for found in disagreements(matrix, one.state, withheld)
        ]
    lines.sort()
    counted = Counter((line.system, line.field, line.why) for line in lines)
    rows = [line._asdict() for line in lines] if records or ids else [
        {"system": system, "field": field, "why": why, "records": number}
        for (system, field, why), number in sorted(counted.items())
    ]  # fmt: skip
    session.emit({"disagreements": rows}, lambda: _page(rows))
    return ExitCode.PROBLEMS if any(line.why == "unsettled" for line in lines) else ExitCode.OK


def _page(rows: list[dict[str, object]]) -> str:
    if not rows:
        return "every system shows what it should"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if name == "records" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_word(name, value) for name, value in row.items()))
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _word(name: str, value: object) -> str:
    why = next((why for why in WHYS if name == "why" and why == value), None)
    return str(value) if why is None else WHYS[why]
