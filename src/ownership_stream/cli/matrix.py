"""`ownership-stream matrix`: check a matrix document, and show it as people read it; its review is `matrix_review`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ownership_stream.cli import Session, pass_session
from ownership_stream.cli.matrix_file import matrix_file
from ownership_stream.cli.matrix_review import launch, review
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument, load_document
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.document import MatrixError
from ownership_stream.matrix.launches import launch_findings
from ownership_stream.matrix.lint import Column, lint
from ownership_stream.matrix.schema import render
from ownership_stream.matrix.show import FORMATS, Page, page
from ownership_stream.sources import MappingDocument, load_all

SOURCES: Final = "sources"
"""The folder of source mappings beside a matrix document."""
WIDE: Final = 100
"""Columns of a terminal from which on most rows need no second line, and so no blank line between rows."""
GAP: Final = 2
"""Blanks between two columns of a table."""

FILE: Final = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@click.group("matrix")
def command() -> None:
    """Check, show and review the ownership matrix.

    FILE is matrix/patient.yaml in the working directory, or else the one that came with the program.
    """


command.add_command(review)
command.add_command(launch)


@command.command("check")
@FILE
@click.option(
    "--sources",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Check it with the source mappings in this folder. [default: sources/ beside FILE, if it is there]",
)
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Judge the review date as of this day. [default: the current date]",
)
@click.option(
    "--launches",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Check the lists of launches in this file too: one left open is a mistake.",
)
@pass_session
def check(
    session: Session, file: Path | None, folder: Path | None, today: datetime | None, launches: Path | None
) -> None:
    """Find every mistake in FILE, each with its place.

    A mistake is said as file:line:col: message. First what makes the matrix unusable, all at once; then, in a
    document that loads, what it would not do as meant, and what its source mappings get wrong. Warnings leave the
    exit code 0, mistakes make it 2.
    """
    path = matrix_file(file)
    try:
        document = load_document(path)
    except MatrixError as error:
        raise _refused(path, error.problems) from error
    mappings, problems = _mappings(folder or path.parent / SOURCES, document.matrix, required=folder is not None)
    columns = {mapping.mapping.source: mapping.columns() for mapping in mappings}
    # The one reading of the clock: the day on which a person asks.
    day = today.date() if today else date.today()  # noqa: DTZ011 (the person's own calendar day)
    findings = [*lint(document, day, columns or None), *(said for mapping in mappings for said in mapping.findings())]
    findings += [] if launches is None else launch_findings(document.matrix, launches)
    if problems or any(finding.severity == "error" for finding in findings):
        raise _refused(path, [*map(str, findings), *problems])
    for finding in findings:
        click.echo(str(finding), err=True)
    counts, revision = _counts(document, columns), document.matrix.revision
    data = {"file": str(path), "revision": revision, **counts, "warnings": [str(finding) for finding in findings]}
    session.emit(data, lambda: f"{path}: {_said(counts)}, revision {revision}: {_verdict(len(findings))}")


def _mappings(folder: Path, matrix: Matrix, *, required: bool) -> tuple[Sequence[MappingDocument], Sequence[str]]:
    """The source mappings of a folder, or what is wrong with them; a folder that is not required may be missing."""
    if not required and not folder.is_dir():
        return (), ()
    try:
        return load_all(folder, matrix), ()
    except BadInputError as error:
        return (), error.problems


def _refused(path: Path, problems: Sequence[str]) -> BadInputError:
    """Say every problem on a line of its own that begins with its place, as editors and CI read them."""
    for problem in problems:
        click.echo(problem, err=True)
    count = len(problems)
    return BadInputError(f"`{path}` cannot be used: {count} problem{'s' if count > 1 else ''} as above")


def _counts(document: MatrixDocument, columns: Mapping[str, Collection[Column]]) -> dict[str, int]:
    matrix = document.matrix
    return {
        "fields": len(matrix.fields),
        "stages": len(matrix.stages.map),
        "grants": sum(len(field.grants) for field in matrix.fields.values()),
        "roles": len(matrix.roles),
        "escalation owners": len(matrix.escalations),
        "sources": len(columns),
        "mapped columns": sum(map(len, columns.values())),
    }


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what if count != 1 else what.removesuffix('s')}" for what, count in counts.items())


def _verdict(warnings: int) -> str:
    return f"no mistakes, {warnings} warning{'s' if warnings > 1 else ''}" if warnings else "clean"


@command.command("show")
@FILE
@click.option(
    "--format",
    "format_",
    type=click.Choice(["terminal", *FORMATS]),
    default="terminal",
    show_default=True,
    help="How to set it; the terminal and CSV have the six columns, Markdown and HTML who may write as well.",
)
@click.option("--stage", metavar="STAGE", help="Name the owner of each field at this stage.")
@pass_session
def show(session: Session, file: Path | None, format_: str, stage: str | None) -> None:
    """Print the matrix as a table of six columns.

    Who owns each field, who else may write it, where it flows, and what happens when values disagree.
    """
    content = page(load_document(matrix_file(file)), stage)
    if session.json:
        first = content.sections[0]
        session.emit([dict(zip(first.columns, row, strict=True)) for row in first.rows], str)
    elif format_ == "terminal":
        _terminal(content)
    else:
        click.echo(FORMATS[format_](content).encode(), nl=False)


def _terminal(content: Page) -> None:
    fields, console = content.sections[0], Console()
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), leading=int(console.width < WIDE))
    columns = list(zip(fields.columns, *fields.rows, strict=True))
    for cells, width in zip(columns, _widths(columns, console.width), strict=True):
        table.add_column(cells[0], overflow="fold", width=width)
    for first, *rest in fields.rows:
        table.add_row(Text(first, style="bold"), *map(Text, rest))
    console.print(Text(content.title, style="bold"), *map(Text, content.lines), "", table, sep="\n")


def _widths(columns: list[tuple[str, ...]], available: int) -> list[int]:
    """Widths that break no word where the terminal allows it, the rest going where the most cells still wrap."""
    widths = [max(len(word) for cell in cells for word in cell.split()) for cells in columns]
    for _ in range(available - sum(widths) - GAP * (len(columns) - 1)):
        further = [_wraps(cells, width) for cells, width in zip(columns, widths, strict=True)]
        widths[further.index(max(further))] += max(further) > 0
    return widths


def _wraps(cells: tuple[str, ...], width: int) -> int:
    """How much is gained by widening: cubed, since one tall cell makes its whole row tall."""
    return sum(((len(cell) - 1) // width) ** 3 for cell in cells)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a document, for editors."""
    click.echo(render(), nl=False)
