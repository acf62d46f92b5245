"""`ownership-stream simulate`: run scenarios through the decision, and show expected beside actual."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ownership_stream.cli import Session, pass_session
from ownership_stream.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from ownership_stream.scenarios.corpus import Result

DEFAULT_FOLDER: Final = Path("matrix/scenarios")


@click.command("simulate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--matrix",
    "matrix_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Decide by this matrix; default: the setting `matrix_path`.",
)
@pass_session
def command(session: Session, files: tuple[Path, ...], matrix_path: Path | None) -> int:
    """Run scenarios through the decision and compare what comes out with what they expect.

    FILE is a scenario file or a folder of them; default: matrix/scenarios. Nothing is read from or
    written to Kafka. Exits with 1 when a scenario ends otherwise than expected, and with 2 when a
    file cannot be used. docs/scenarios.md says how to write one.
    """
    from ownership_stream.matrix.compile import load
    from ownership_stream.scenarios.corpus import files_of, load_corpus, run_corpus

    matrix = load(matrix_path or session.settings.matrix_path)
    scenarios = load_corpus(files_of(files or (DEFAULT_FOLDER,)), matrix)
    results = run_corpus(scenarios, matrix)
    if session.json:
        session.emit(_data(results), str)
    else:
        _show(results)
    return ExitCode.FAILED if any(result.differences for result in results) else ExitCode.OK


def _data(results: Sequence["Result"]) -> dict[str, Any]:
    return {
        "scenarios": [
            {
                "name": result.scenario.name,
                "file": result.scenario.file,
                "line": result.scenario.place.line,
                "as_expected": not result.differences,
                "differences": [
                    {
                        "line": difference.place.line,
                        "column": difference.place.column,
                        "what": difference.what,
                        "expected": difference.expected,
                        "actual": difference.actual,
                    }
                    for difference in result.differences
                ],
            }
            for result in results
        ],
        "count": len(results),
        "as_expected": sum(not result.differences for result in results),
    }


def _show(results: Sequence["Result"]) -> None:
    """One line for each scenario, by file; expected beside actual where they differ; the sum."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for file, group in groupby(results, key=lambda result: result.scenario.file):
        console.print(Text(file, style="bold"))
        for result in group:
            mark = Text("  ✗ ", style="bold red") if result.differences else Text("  ✓ ", style="green")
            console.print(mark + Text(result.scenario.name, style="bold" if result.differences else ""))
            if result.differences:
                _show_differences(console, result)
    good = sum(not result.differences for result in results)
    plural = "scenario" if len(results) == 1 else "scenarios"
    console.print(
        Text(f"{len(results)} {plural}, {good} as expected", style="green" if good == len(results) else "bold red")
    )


def _show_differences(console: "Console", result: "Result") -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table("line", "what", "expected", "actual", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for difference in result.differences:
        table.add_row(
            str(difference.place.line),
            difference.what,
            Text(difference.expected, style="green"),
            Text(difference.actual, style="red"),
        )
    console.print(Padding(table, (0, 0, 0, 4)))
