"""`ownership-stream matrix review` and `matrix checklist`: the document's review, and the launch of something new."""

from datetime import date, datetime
from pathlib import Path

import click
import msgspec

from ownership_stream.cli import Session, pass_session
from ownership_stream.cli.matrix_file import matrix_file
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import load_document
from ownership_stream.matrix.launches import checklist
from ownership_stream.matrix.reviews import Signature, sign
from ownership_stream.matrix.sheet import sheet
from ownership_stream.matrix.show import FORMATS, Section

DOCUMENT = click.option(
    "--matrix", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The document. [default: matrix/patient.yaml, or else the one that came with the program]",
)  # fmt: skip
DAY = click.DateTime(["%Y-%m-%d"])


def _day(said: datetime | None) -> date:
    # The one reading of the clock: the day on which a person asks.
    return said.date() if said else date.today()  # noqa: DTZ011 (the person's own calendar day)


@click.group("review", invoke_without_command=True)
@DOCUMENT
@click.option(
    "--since", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The document as it was last signed: what changed since is listed.",
)  # fmt: skip
@click.option(
    "--report", "week", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="What `report` wrote with --output json: its figures and the rows never used are listed.",
)  # fmt: skip
@click.option("--today", type=DAY, metavar="DATE", help="Judge the review date as of this day.")
@click.option("--format", "format_", type=click.Choice(["markdown", "html"]), default="markdown", show_default=True)
@click.pass_context
def review(
    context: click.Context,
    file: Path | None,
    since: Path | None,
    week: Path | None,
    today: datetime | None,
    format_: str,
) -> None:
    """Print the sheet of the document's review.

    Who answers for it, when it is due, what changed since it was last signed, what the week says, what to ask.
    """
    if context.invoked_subcommand is not None:
        return
    document = load_document(matrix_file(file))
    former = None if since is None else load_document(since)
    made = sheet(document, _day(today), former, () if week is None else _week(week))
    session = context.ensure_object(Session)
    if session.json:
        session.emit(msgspec.to_builtins(made), str)
    else:
        click.echo(FORMATS[format_](made), nl=False)


def _week(path: Path) -> tuple[Section, ...]:
    """A report's figures and unused rows as they stand in the sheet."""
    from ownership_stream.review.page import blocks
    from ownership_stream.review.weekly import Report

    try:
        found = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {(error.strerror or type(error).__name__).lower()}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: is no report: write it with `ownership-stream report`, --output json") from error
    name = f"Week {found.week}"
    said = Section(name, ("What it says",), tuple((line,) for block in list(blocks(found))[:1] for line in block.lines))
    return said, *(Section(f"{name}: {one.heading}", one.columns, one.rows) for one in blocks(found) if one.rows)


@review.command("sign")
@DOCUMENT
@click.option("--by", required=True, metavar="NAME", help="Who signs: a person.")
@click.option("--note", default="", metavar="TEXT", help="What was noted; no patient's value.")
@click.option("--on", "day", type=DAY, metavar="DATE", help="The day of the review. [default: the current date]")
@pass_session
def sign_(session: Session, file: Path | None, by: str, note: str, day: datetime | None) -> None:
    """Record that a person has reviewed the document as it is now.

    A line is added to the file of reviews beside it (`patient.reviews.yaml`); the document and its revision stay as
    they are. The next review is due an interval after that day.
    """
    path = matrix_file(file)
    document = load_document(path)
    signature = Signature(_day(day), by, document.matrix.revision, note)
    written = sign(path, signature)
    data = {"file": str(written), **msgspec.to_builtins(signature)}
    session.emit(data, lambda: f"{written}: reviewed on {signature.on} by {by}, revision {signature.revision}")


@click.command("checklist")
@click.argument("name")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="A field that it writes; may be repeated.")
@DOCUMENT
@click.option("--today", type=DAY, metavar="DATE", help="The day on which it begins. [default: the current date]")
def launch(name: str, fields: tuple[str, ...], file: Path | None, today: datetime | None) -> None:
    """Print the list of what is settled before NAME is launched, as in `"new intake form"`.

    Add it to a file of launches, and tick each point as it is settled: `matrix check --launches FILE` fails for as long
    as one is open.
    """
    click.echo(checklist(load_document(matrix_file(file)), name, fields, _day(today)), nl=False)
