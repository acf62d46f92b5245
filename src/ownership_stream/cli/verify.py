"""`ownership-stream verify`: decide every log again, and compare with everything that came of it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import ExitCode
from ownership_stream.identity import RESERVED
from ownership_stream.looking import reach
from ownership_stream.store import RedisStore
from ownership_stream.telemetry import configure_logging, get_logger, hash_id, hash_key
from ownership_stream.verify import Finding, LaneReport, Place, Verifier

LOG_SECONDS = 5.0
NAMED = 8
"""Names of differing fields that a sentence has room for; programs get all."""


def _partitions(context: click.Context, parameter: click.Parameter, said: Sequence[str]) -> list[int]:
    words = [word.strip() for one in said for word in one.split(",")]
    wrong = [word for word in words if not word.isdigit()]
    if wrong:
        raise click.BadParameter(f"`{wrong[0]}` is no partition: give numbers, as `0,3`", context, parameter)
    return [int(word) for word in words]


@click.command("verify")
@click.option(
    "--partition", "partitions", multiple=True, metavar="N[,N…]", callback=_partitions,
    help="Verify only these partitions of each stage; all otherwise.",
)  # fmt: skip
@click.option(
    "--outputs", is_flag=True, help="Compare apply, conflict, resolution and link records too, as far as kept."
)
@click.option(
    "--former-matrix", "former", multiple=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="A matrix document that was in force before, with the `sources` folder beside it; may be repeated.",
)  # fmt: skip
@click.option("--ids", is_flag=True, help="Show record ids instead of hashes.")
@setting_flags("brokers", "app_id", "matrix_path", "sources_path")
@pass_session
def command(session: Session, *, partitions: list[int], outputs: bool, former: Sequence[Path], ids: bool) -> int:
    """Decide the whole log again, and compare what follows with `ownership.state` and Redis.

    Reads beside the workers, as of each lane's newest transaction, and writes nothing. Tells the first difference:
    which record, since which change, which fields; never a value. Exit code 3 if anything differs, 5 if nothing does
    but something could not be verified: a log whose beginning retention has deleted, or that was decided by a matrix
    revision which is not here.
    """
    settings = session.settings
    key = hash_key(settings.hash_key)
    store = RedisStore.from_url(settings.redis_url.get_secret_value(), timeout=settings.redis_timeout_seconds)
    try:
        with reach(settings) as broker, progress(settings.log_level.value) as watch:
            verifier = Verifier(settings, broker, store, former=former, outputs=outputs, watch=watch)
            reports = [verifier.verify(place) for place in list(verifier.places(partitions))]
    finally:
        store.close()
    page = _page(reports, lambda record: record if ids else f"#{hash_id(key, record)[:8]}")
    session.emit(msgspec.to_builtins(page), lambda: "\n".join(_lines(page)))
    return ExitCode.PROBLEMS if page.differences else ExitCode.INCOMPLETE if page.unverified else ExitCode.OK


class Difference(msgspec.Struct, frozen=True):
    """A finding as it is shown: the record by its hash, and one sentence that says it all."""

    what: str
    how: str
    stage: str
    topic: str
    partition: int
    offset: int | None
    record: str
    since: int | None
    until: int | None
    fields: tuple[str, ...]
    sentence: str


class Lane(msgspec.Struct, frozen=True):
    """What was verified of one lane: its changes before ``next`` and what was found equal."""

    stage: str
    topic: str
    partition: int
    next: int
    changes: int
    records: int
    in_redis: int
    behind: int
    outputs: int
    differences: int
    unverified: tuple[str, ...]


class Page(msgspec.Struct, frozen=True):
    """What is said of an installation."""

    differences: int
    first: Difference | None
    unverified: int
    lanes: tuple[Lane, ...]


def _page(reports: Sequence[LaneReport], named: Callable[[str], str]) -> Page:
    findings = [finding for report in reports for finding in report.findings]
    lanes = tuple(
        Lane(
            report.place.stage, report.place.changes, report.place.partition, report.next, report.changes,
            report.records, report.stored, report.behind, report.outputs, len(report.findings),
            tuple(one.why for one in report.unverified),
        )
        for report in reports
    )  # fmt: skip
    first = _difference(findings[0], named) if findings else None
    return Page(len(findings), first, sum(len(lane.unverified) for lane in lanes), lanes)


def _difference(one: Finding, named: Callable[[str], str]) -> Difference:
    record = one.record if one.record.startswith(RESERVED) or not one.record else named(one.record)
    return Difference(
        one.what, one.how, one.stage, one.topic, one.partition, one.offset, record, one.since, one.until, one.fields,
        _sentence(one, record),
    )  # fmt: skip


def _sentence(one: Finding, record: str) -> str:
    """``record #3f2a91bc: its state in redis differs …``."""
    stands = f"`{one.topic}` [{one.partition}]"
    where = {
        "state": f"its state on {stands}",
        "redis": f"its state in redis (lane {one.stage} [{one.partition}])",
        "position": f"the position of lane {one.stage} [{one.partition}] in redis",
        "output": f"a record on {stands}",
    }[one.what]
    how = {
        "differs": "is not what it must be",
        "missing": "is missing",
        "unexpected": "follows from none of its changes",
        "twice": "is there a second time",
        "beyond the end": f"is {one.offset}, beyond the end of {stands}",
    }[one.how]
    if one.what == "redis" and one.how == "unexpected":
        how = "is on no changelog"
    at = f" at offset {one.offset}" if one.offset is not None and one.what in ("state", "output") else ""
    about = f"record {record}: " if record else ""
    more = f" and {len(one.fields) - NAMED} more" if len(one.fields) > NAMED else ""
    fields = f": {', '.join(one.fields[:NAMED])}{more}" if one.fields else ""
    return f"{about}{where}{at} {how}{_since(one)}{fields}"


def _since(one: Finding) -> str:
    if one.since is None:
        return ""
    changes = f"`{one.changes}` [{one.partition}]"
    if one.since == one.until:
        return f" since the change at offset {one.since} of {changes}"
    return f" since a change between offsets {one.since} and {one.until} of {changes}"


def _lines(page: Page) -> Iterator[str]:
    for lane in page.lanes:
        numbers = [
            f"{lane.changes} records decided again",
            f"{lane.records} states",
            f"{lane.in_redis} equal in redis",
            f"{lane.behind} there on their way" if lane.behind else "",
            f"{lane.outputs} outputs" if lane.outputs else "",
            f"{lane.differences} differ" if lane.differences else "",
        ]
        yield f"{lane.stage} {lane.topic} [{lane.partition}] up to {lane.next}: {', '.join(filter(None, numbers))}"
        yield from (f"  not verified: {why}" for why in lane.unverified)
    if page.first is not None:
        yield f"{page.differences} {'difference' if page.differences == 1 else 'differences'}, first:"
        yield f"  {page.first.sentence}"
    elif page.unverified:
        yield "no difference in what could be verified"
    else:
        yield "everything stands as it follows from the log"


@contextmanager
def progress(level: str) -> Iterator[Callable[[Place, str, int, int], None]]:
    """Progress on a terminal, and a log line every few seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _Logged(level)
        return
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def watch(place: Place, what: str, done: int, end: int) -> None:
            said = f"{place.stage} [{place.partition}] {what}"
            if bar.tasks[0].description != said:
                bar.reset(task)
            bar.update(task, description=said, completed=done, total=end)

        yield watch


class _Logged:
    """One line at most every few seconds."""

    def __init__(self, level: str) -> None:
        configure_logging(level)
        self._log = get_logger("verify")
        self._said = monotonic()

    def __call__(self, place: Place, what: str, done: int, end: int) -> None:
        if monotonic() - self._said >= LOG_SECONDS:
            self._said = monotonic()
            self._log.info(
                "verify_progress", stage=place.stage, partition=place.partition, detail=what, position=done, end=end
            )
