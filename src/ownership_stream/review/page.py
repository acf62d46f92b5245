"""The report as people read it: Markdown for a message or a repository, HTML for the screen and for paper.

One content for both: headings, sentences and tables of words; the HTML has charts beside. Pure.
"""

import html
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ownership_stream.review import charts
from ownership_stream.review.weekly import Figure, Report, Unit

NO_DATA: Final = "no data"
_LENGTHS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
SECOND_PLACE: Final = 10
"""From so many units on a length is told without decimals."""


class Block(NamedTuple):
    """A part of the page; ``chart`` is only for HTML."""

    heading: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    chart: str = ""


def shown(value: float | None, unit: Unit) -> str:
    """A figure as people say it: `12.5 %`, `17`, `3.5 h`, or that there are no data."""
    if value is None:
        return NO_DATA
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "count":
        return f"{value:g}"
    return _length(value)


def _length(seconds: float) -> str:
    for size, word in _LENGTHS:
        if seconds >= size:
            number = seconds / size
            return f"{number:.0f} {word}" if number >= SECOND_PLACE else f"{number:.1f} {word}"
    return f"{seconds:.0f} s"


def change(figure: Figure) -> str:
    """How a figure stands against the week before."""
    if figure.value is None or not figure.before:
        return ""
    return f"{100 * (figure.value / figure.before - 1):+.0f} %"


def blocks(report: Report) -> Iterator[Block]:
    """The page, part by part."""
    said = tuple(one.text for one in report.diagnoses)
    yield Block("What it says", said or ("None of the diagnoses holds.",))
    yield Block(
        "The six figures",
        columns=("", "Figure", "This week", "The week before", "Change", ""),
        rows=tuple(
            (
                str(one.number), one.name, shown(one.value, one.unit),
                shown(one.before, one.unit) if report.compared else NO_DATA, change(one), one.detail,
            )
            for one in report.figures
        ),
    )  # fmt: skip
    yield _costs(report)
    if report.overrides:
        yield Block(
            "Manual overrides",
            columns=("Row", "Grant", "This week", "The week before"),
            rows=tuple((one.label, one.grant, str(one.number), str(one.before)) for one in report.overrides),
        )
    yield _queues(report)
    if report.rejected:
        yield _rejected(report)
    yield _unused(report)


def _costs(report: Report) -> Block:
    pairs = [(row.label, float(row.conflicts), float(row.before)) for row in report.rows]
    return Block(
        "The rows that cost most",
        tuple(f"{row.label}: {row.example}." for row in report.rows if row.example) or ("There was no conflict.",),
        ("Row", "Conflicts", "The week before", "Rejected", "Queued", "Over unseen", "Repeats", "Cases", "Case hours"),
        tuple(
            (
                row.label, str(row.conflicts), str(row.before), str(row.rejected), str(row.queued), str(row.unseen),
                str(row.repeats), str(row.cases), f"{row.hours:g}",
            )
            for row in report.rows
        ),
        charts.bars(pairs, "Conflicts by row; in outline and in brackets the week before"),
    )  # fmt: skip


def _queues(report: Report) -> Block:
    return Block(
        "The queue, by owner",
        ("Ages count from a case's first opening, as of the end of the week.",),
        ("Owner", "Open", "Oldest", "Median", "95th percentile", "Beyond SLA", "Closed by people", "Mean", "Settled"),
        tuple(
            (
                one.name, str(one.open), shown(one.oldest, "seconds"), shown(one.p50, "seconds"),
                shown(one.p95, "seconds"), str(one.beyond), str(one.resolved), shown(one.mean, "seconds"),
                str(one.settled),
            )
            for one in report.queues
        ),
    )  # fmt: skip


def _rejected(report: Report) -> Block:
    return Block(
        "The writers that owner policy rejected most",
        ("Writers are named by a keyed hash: who holds the key finds them on `ownership.conflicts`.",),
        ("Writer", "System", "Role", "Kind", "Writes", "Different ones", "Rows"),
        tuple(
            (
                one.writer or "not known", one.system, one.role or "none", one.origin, str(one.writes),
                str(one.distinct), ", ".join(one.fields),
            )
            for one in report.rejected
        ),
    )  # fmt: skip


def _unused(report: Report) -> Block:
    if not report.unused:
        return Block("Rows that nobody wrote", ("Every row of the matrix was written in this week.",))
    return Block(
        "Rows that nobody wrote",
        ("A row that is never used is wrong, not mapped, or not needed.",),
        ("Row", "Last attempt"),
        tuple((one.label, "never" if one.last is None else _moment(one.last)[:10]) for one in report.unused),
    )


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _head(report: Report) -> tuple[str, ...]:
    scope = "" if report.over else f" The week is not over: as of {_moment(report.as_of)}."
    compared = "" if report.compared else " The log does not reach back into the week before."
    return (
        f"Week {report.week}, {report.begins} to {report.ends} (UTC).{scope}{compared}",
        f"Matrix {report.matrix}, revision {report.revision}. Document owner: {report.owner}.",
        *(f"Not read, and so in no figure: {one}." for one in report.missing),
    )


# ------------------------------------------------------------------------------------------------ formats


def as_markdown(report: Report) -> str:
    """The page as Markdown."""
    parts = [f"# Ownership: week {report.week}", *map(_escaped, _head(report))]
    for block in blocks(report):
        parts.append(f"## {block.heading}")
        parts.append("\n".join(f"- {_escaped(line)}" for line in block.lines))
        if block.rows:
            table = [block.columns, ("---",) * len(block.columns), *(tuple(map(_escaped, row)) for row in block.rows)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in table))
    return "\n\n".join(part for part in parts if part) + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\|*_<>[]" else c for c in text)


def as_html(report: Report) -> str:
    """The page as one HTML file that needs nothing else."""
    title = f"Ownership: week {report.week}"
    parts = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in _head(report))]
    parts += [_figure(report, one) for one in _charted(report)]
    for block in blocks(report):
        parts.append(f"<section><h2>{html.escape(block.heading)}</h2>")
        parts.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in block.lines) + "</ul>")
        parts += [block.chart, _table(block) if block.rows else "", "</section>"]
    body = "\n".join(part for part in parts if part and part != "<ul></ul>")
    return _HTML.replace("{title}", html.escape(title)).replace("{body}", body)


def _charted(report: Report) -> list[Figure]:
    """One of each number: the queue by its median."""
    return [one for one in report.figures if one.key not in ("queue_oldest", "queue_p95", "queue_beyond")]


def _figure(report: Report, figure: Figure) -> str:
    said = f"{figure.name}, {report.weeks[0]} to {report.weeks[-1]}"
    chart = charts.line(figure.trend, said)
    name, value = html.escape(figure.name), html.escape(shown(figure.value, figure.unit))
    return f'<div class="figure"><b>{value}</b> <small>{change(figure)}</small><br>{name}<br>{chart}</div>'


def _table(block: Block) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in block.columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in block.rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


RENDERED: Final[dict[str, Callable[[Report], str]]] = {"markdown": as_markdown, "html": as_html}
"""The formats that are text."""

_HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --head: #8881; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.figure { display: inline-block; vertical-align: top; width: 14rem; margin: .5rem 1rem .5rem 0; }
.figure b { font-size: 1.5rem; }
svg { fill: currentColor; stroke: none; font: 12px system-ui, sans-serif; max-width: 100%; height: auto; }
svg polyline { fill: none; stroke: currentColor; stroke-width: 1.5; }
svg .now { fill: currentColor; opacity: .45; } svg .before { fill: none; stroke: currentColor; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
thead th { background: var(--head); }
@media print {
  :root { color-scheme: light; }
  body { margin: 0; max-width: none; font-size: 10px; color: #000; background: #fff; }
  section, tr, .figure { break-inside: avoid; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
{body}
</body>
</html>
"""
