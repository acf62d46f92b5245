"""`ownership-stream sources`: look at real source records beside the mapping that is to read them."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import click
import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ownership_stream import sources
from ownership_stream.assembly import source_decoder, topics_read
from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import BadInputError, ExitCode
from ownership_stream.looking import reach
from ownership_stream.matrix.compile import load
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.reading import listed, nearest
from ownership_stream.sampling import from_file, from_topic
from ownership_stream.settings import Settings
from ownership_stream.sources import Mapping
from ownership_stream.sources.advice import Finding, findings
from ownership_stream.sources.opened import FORMS
from ownership_stream.sources.result import IGNORED, REASONS
from ownership_stream.sources.sample import Column, Sample, TableSample, examine
from ownership_stream.wire.registry import registry_of
from ownership_stream.wire.sampled import Sampled

RECORDS = 1000
STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


@click.group("sources")
def command() -> None:
    """Check source mappings on real records."""


@command.command("check")
@click.option("--source", metavar="NAME", help="The source, if its topic or the file does not say which it is.")
@click.option("--topic", metavar="TOPIC", help="Read this topic. [default: all topics of the source]")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read this file instead of Kafka: one record in each line, as an object with key, value and headers, as "
    "`kcat -J` prints it, or the value alone.",
)
@click.option(
    "--records", default=RECORDS, show_default=True, type=click.IntRange(1), help="How many records of a topic or file."
)
@click.option("--oldest", is_flag=True, help="The first records on the topic, instead of the newest.")
@setting_flags("brokers", "matrix_path", "sources_path")
@pass_session
def check(
    session: Session, *, source: str | None, topic: str | None, file: Path | None, records: int, oldest: bool
) -> int:
    """Show what a sample of real records means by its source mapping, column by column, and what is wrong.

    Columns that are mapped, ignored or unknown, and what their values look like (never a value); operations, snapshot
    flags, positions, writers; connector settings that are missing or harmful. Nothing is written.

    Exit code 3 if there is an error or a warning, 5 if the sample holds no row.
    """
    settings = session.settings
    matrix = load(settings.matrix_path)
    mapping = _mapping(settings, matrix, source, topic)

    registry = registry_of(settings)
    as_json = None if registry is None else Sampled(registry)

    def make(one: Mapping) -> sources.Decoder:
        return source_decoder(settings, matrix, one, registry)

    topics = [topic] if topic else topics_read(settings, mapping)
    if file is not None:
        examined = examine(from_file(file, records, topics[0]), mapping, matrix, make, as_json)
    else:
        with reach(settings) as broker:
            read = chain.from_iterable(from_topic(broker, one, records, oldest=oldest) for one in topics)
            examined = examine(read, mapping, matrix, make, as_json)
    sample, found = examined.report(), findings(examined)
    data = msgspec.to_builtins(sample) | {"findings": msgspec.to_builtins(found)}
    session.emit(data, lambda: _page(sample, found))
    if sample.refused or any(finding.severity != "note" for finding in found):
        return ExitCode.PROBLEMS
    return ExitCode.OK if any(table.records for table in sample.tables) else ExitCode.INCOMPLETE


def _mapping(settings: Settings, matrix: Matrix, source: str | None, topic: str | None) -> Mapping:
    """The mapping that is meant: by name, by its topic, or the only one."""
    mappings = {one.mapping.source: one.mapping for one in sources.load_all(settings.sources_path, matrix)}
    if source is not None:
        if source not in mappings:
            raise BadInputError(
                f"no mapping in {settings.sources_path} is of source `{source}`{nearest(source, mappings)}"
            )
        return mappings[source]
    reading = [one for one in mappings.values() if topic is None or topic in topics_read(settings, one)]
    if len(reading) != 1:
        which = listed(mappings, "or")
        raise BadInputError(f"say which source is meant: `--source` {which}, or one of their topics as `--topic`")
    return reading[0]


# ---------------------------------------------------------------------------------------------------- for people


def _page(sample: Sample, found: Sequence[Finding]) -> str:
    console = Console(highlight=False, markup=False)
    with console.capture() as capture:
        for part in chain(_head(sample), *(_table(table) for table in sample.tables), _refused(sample), _told(found)):
            console.print(part)
    return capture.get().rstrip()


def _head(sample: Sample) -> Iterator[RenderableType]:
    yield Text(f"source {sample.source} ({sample.connector}): {sample.records} records", style="bold")
    forms = [f"{number} {FORMS[form]}" for form, number in sample.forms.items()]
    if forms:
        with_schema = f"; {sample.with_schema} with a schema" if sample.with_schema else ""
        yield f"  {', '.join(forms)}{with_schema}"
    ignored = [f"{number} {reason} ({IGNORED[reason]})" for reason, number in sample.ignored.items()]
    if ignored:
        yield f"  ignored by design: {', '.join(ignored)}"
    refused = sum(refusal.records for refusal in sample.refused)
    yield f"  {sample.changes} changes, {refused} records would be dead letters"


def _table(table: TableSample) -> Iterator[RenderableType]:
    yield ""
    name = f"{table.name}: {table.records} records"
    yield Text(name if table.mapped else f"{name}, not in the mapping", style="bold")
    if not table.records:
        return
    where, actors = table.positions, table.actors
    yield f"  operations {_counted(table.ops)}; snapshot {_counted(table.snapshots)}"
    order = "in order" if not (where.backwards or where.tied) else f"{where.backwards} late, {where.tied} not apart"
    yield f"  positions: {where.distinct} of {where.changes} changes in {where.rows} rows, {order}"
    yield f"  writers: {actors.distinct}, known {actors.known}; {actors.missing} changes name none"
    grid = Table(box=None, padding=(0, 2, 0, 2), header_style="bold")
    for head in ("column", "means", "type", "looks like", "null", "carried"):
        grid.add_column(head, justify="right" if head in {"null", "carried"} else "left", overflow="fold")
    for column in table.columns:
        grid.add_row(*map(str, _row(column)))
    yield grid


def _row(column: Column) -> tuple[object, ...]:
    named = f"{column.use}: {column.means}" if column.use in {"compared", "requested"} else column.means
    looks = column.shape
    if column.unavailable:
        looks = f"{looks}{', ' if looks else ''}{column.unavailable} times unavailable"
    return column.name, named or column.use, column.type, looks, column.nulls, column.carried


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {number}" for word, number in counts.items()) or "none"


def _refused(sample: Sample) -> Iterator[RenderableType]:
    if sample.refused:
        yield ""
        yield Text("would be dead letters", style="bold")
    for refusal in sample.refused:
        yield f"  {refusal.records} × {refusal.reason}: {refusal.message} ({REASONS[refusal.reason]})"


def _told(found: Sequence[Finding]) -> Iterator[RenderableType]:
    yield ""
    if not found:
        yield "nothing to complain about"
        return
    yield Text("findings", style="bold")
    for finding in found:
        where = ".".join(part for part in (finding.table, finding.column) if part)
        line = Text(f"  {finding.severity}: ", style=STYLES[finding.severity])
        said = f"{where}: {finding.message}" if where else finding.message
        yield line + Text(f"{said}; set {finding.setting}" if finding.setting else said, style="default")
