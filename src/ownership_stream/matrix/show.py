"""The matrix in people's words: the six columns of the document, and behind them who may write what.

A page is the same content for every format; the formats only set it. The words of a cell are made from the compiled
row, not from the document's text, so that the table says what will be done.
"""

import csv
import html
import io
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.compiled import Field, Grant, Matrix, RuleName
from ownership_stream.matrix.reading import brief, nearest

COLUMNS: Final = (
    "Field",
    "Owner system",
    "Allowed secondary writer",
    "Sync direction",
    "Conflict rule",
    "Escalation",
)
_SHARED_DIRECTIONS: Final = {
    "both ways by stage": "bidirectional by stage",
    "both ways with version check": "bidirectional with version check",
    "both ways": "bidirectional",
    "none": "none",
}
_RULES: Final[dict[RuleName, str]] = {
    "owner wins": "{owner} value is authoritative",
    "stage owner wins": "stage owner wins",
    "stage map": "{owner} stage map controls pipeline",
    "latest validated": "most recent validated completion event",
    "latest patient-confirmed": "most recent patient-confirmed value",
}
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms"))


class Section(msgspec.Struct, frozen=True):
    """A table with its heading."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Page(msgspec.Struct, frozen=True):
    """What is said about a matrix; the first section is the six-column table."""

    title: str
    lines: tuple[str, ...]
    sections: tuple[Section, ...]


def page(document: MatrixDocument, stage: str | None = None) -> Page:
    """The whole page; with a stage, each row names its owner then. Raises ``BadInputError`` for an unknown stage."""
    matrix, review = document.matrix, document.review
    if stage is not None and stage not in matrix.stages.map:
        raise BadInputError(f"unknown stage {brief(stage)}{nearest(stage, matrix.stages.map)}")
    every = f"{review.count} {review.unit}s" if review.count > 1 else review.unit
    lines = (
        f"Revision {matrix.revision}. Owner: {matrix.owner}, {document.contact}.",
        f"Reviewed every {every}, last on {review.last}.",
        *([f"At stage {stage}."] if stage else []),
    )
    sections = (
        Section("Fields", COLUMNS, six_columns(matrix, stage)),
        Section("Who may write", ("Field", "May write", "And"), _writers(matrix)),
        Section("Systems", ("System", "A record it does not have is made there"), _systems(matrix)),
        Section("Stages", ("Stage", "May become", "Side of care start"), _stages(matrix)),
        Section("Escalation", ("Who", "Has", "Then"), _escalation(matrix)),
    )
    return Page(f"The ownership matrix: {matrix.name}", lines, sections)


def six_columns(matrix: Matrix, stage: str | None = None) -> tuple[tuple[str, ...], ...]:
    """The table: one row of six cells for each field."""
    return tuple(
        (
            field.label,
            _owner(matrix, field, stage),
            _secondary(matrix, field),
            _direction(matrix, field),
            _rule(matrix, field, stage),
            matrix.escalations[field.escalation].name,
        )
        for field in matrix.fields.values()
    )


# ------------------------------------------------------------------------------------------------ cells


def _owner(matrix: Matrix, field: Field, stage: str | None = None) -> str:
    before, after = matrix.systems[field.owner["before"]], matrix.systems[field.owner["after"]]
    if stage is not None:
        return after if stage in matrix.stages.after else before
    return f"{before} before care start, {after} after" if field.by_stage else before


def _roles(matrix: Matrix, grants: Iterable[Grant]) -> list[str]:
    return list(dict.fromkeys(matrix.role_names[grant.role] for grant in grants if grant.role is not None))


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _only(matrix: Matrix, field: Field) -> list[str]:
    return _roles(matrix, (grant for grant in field.grants if grant.kind == "owner"))


def _secondary(matrix: Matrix, field: Field) -> str:
    secondary = [grant for grant in field.grants if grant.kind == "secondary"]
    specific = "states" if field.type == "stage" else "values"
    only, free = _only(matrix, field), _roles(matrix, (grant for grant in secondary if grant.targets is None))
    said = [
        *([f"{_either(only)} only"] if only else []),
        *([", ".join(free)] if free else []),
        *(f"{name}, for specific {specific}" for name in _roles(matrix, (g for g in secondary if g.targets))),
    ]
    return "; ".join(said) or "none"


def _direction(matrix: Matrix, field: Field) -> str:
    if field.direction in _SHARED_DIRECTIONS:
        return _SHARED_DIRECTIONS[field.direction]
    source = field.owner["before"]
    target = next(system for system, view in field.views.items() if system != source and view != "none")
    here, there = matrix.systems[source], matrix.systems[target]
    if field.views[target] != "full":
        return f"{here} to {there}, summary only"
    written_there = any(grant.system == target for grant in field.grants)
    return f"{here} to {there}" if written_there else f"{there} reads from {here}"


def _rule(matrix: Matrix, field: Field, stage: str | None) -> str:
    only = _only(matrix, field)
    rule = _RULES[field.rule].format(owner=_either(only) if only else _owner(matrix, field, stage))
    overrides = _roles(matrix, (grant for grant in field.grants if grant.kind == "override"))
    return f"{rule}; {_either(overrides)} update overrides" if overrides else rule


# ------------------------------------------------------------------------------------------------ sections


def _writers(matrix: Matrix) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (field.label, "; ".join(_grants(matrix, field)), "; ".join(_conditions(field)))
        for field in matrix.fields.values()
    )


def _grants(matrix: Matrix, field: Field) -> Iterable[str]:
    """One phrase for each writer, the systems of one writer together."""
    systems: dict[Grant, list[str]] = {}
    for grant in field.grants:
        anywhere = msgspec.structs.replace(grant, id="", system="")
        systems.setdefault(anywhere, []).append(matrix.systems[grant.system])
    for grant, names in systems.items():
        who = matrix.role_names[grant.role] if grant.role else "anyone"
        when = "" if grant.phase == "any" else f" {grant.phase} care start"
        yield f"{who} in the {' or '.join(names)}{when}{_limits(matrix, field, grant)}"


def _limits(matrix: Matrix, field: Field, grant: Grant) -> str:
    limits = []
    if grant.targets is not None:
        limits.append(f"into {_either([value for value in _values(matrix, field) if value in grant.targets])}")
    if grant.kind == "override":
        limits.append("overriding")
    if grant.persons:
        limits.append("persons only, with a reason")
    return "".join(f", {limit}" for limit in limits)


def _values(matrix: Matrix, field: Field) -> tuple[str, ...]:
    return field.choices or tuple(matrix.stages.map)


def _conditions(field: Field) -> Iterable[str]:
    if field.critical:
        yield "critical"
    if field.reason_always:
        yield "a reason for every manual edit"
    if not field.protected:
        yield "others are accepted and reported"
    if not field.restore:
        yield "a rejected value is left where it is"
    if field.group is not None:
        yield f"one with its group, {field.group}"
    if field.evidence:
        yield f"evidence: {', '.join(field.evidence)}"


def _systems(matrix: Matrix) -> tuple[tuple[str, ...], ...]:
    return tuple((name, _made(matrix, key)) for key, name in matrix.systems.items())


def _made(matrix: Matrix, key: str) -> str:
    stages = matrix.creates.get(key)
    if stages is None:
        return "by its own people, never by us"
    listed = _either([stage for stage in matrix.stages.map if stage in stages])
    return f"by us, {matrix.create_words[key]}: once the stage is {listed}"


def _stages(matrix: Matrix) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (stage, ", ".join(following) or "nothing: an end", _side(matrix, stage))
        for stage, following in matrix.stages.map.items()
    )


def _side(matrix: Matrix, stage: str) -> str:
    if stage == matrix.stages.care_start:
        return "care start"
    return "after" if stage in matrix.stages.after else "before"


def _escalation(matrix: Matrix) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (owner.name, duration(owner.sla), matrix.escalations[owner.then].name if owner.then else "nobody")
        for owner in matrix.escalations.values()
    )


def duration(milliseconds: int) -> str:
    """A length of time in its largest whole unit: ``4h``."""
    return next(f"{milliseconds // size}{unit}" for size, unit in _UNITS if milliseconds % size == 0)


# ------------------------------------------------------------------------------------------------ formats


def as_csv(page: Page) -> str:
    """The six-column table after RFC 4180: CRLF, quotes where needed, a header."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(page.sections[0].columns)
    writer.writerows(page.sections[0].rows)
    return out.getvalue()


def as_markdown(page: Page) -> str:
    """The page as Markdown."""
    blocks = [f"# {page.title}", *page.lines]
    for section in page.sections:
        table = [section.columns, ("---",) * len(section.columns), *section.rows]
        blocks.append(f"## {section.heading}")
        blocks.append("\n".join(f"| {' | '.join(map(_markdown_cell, row))} |" for row in table))
    return "\n\n".join(blocks) + "\n"


def _markdown_cell(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\|*_`<>[]" else c for c in text)


def as_html(page: Page) -> str:
    """The page as one HTML file that needs nothing else."""
    parts = [f"<h1>{html.escape(page.title)}</h1>", *(f"<p>{html.escape(line)}</p>" for line in page.lines)]
    for section in page.sections:
        head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in section.columns)
        rows = "\n".join(f"<tr>{_html_cells(row)}</tr>" for row in section.rows)
        parts.append(
            f"<h2>{html.escape(section.heading)}</h2>\n<div class=table><table>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{rows}\n</tbody>\n</table></div>"
        )
    return _HTML.replace("{title}", html.escape(page.title)).replace("{body}", "\n".join(parts))


def _html_cells(row: tuple[str, ...]) -> str:
    first, *rest = map(html.escape, row)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)


_HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --head: #8881; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid var(--line); }
thead th { background: var(--head); position: sticky; top: 0; }
tbody th { font-weight: 600; }
@media print { body { margin: 0; max-width: none; font-size: 10px; } tr { break-inside: avoid; } }
</style>
</head>
<body>
{body}
</body>
</html>
"""

FORMATS: Final[dict[str, Callable[[Page], str]]] = {"markdown": as_markdown, "html": as_html, "csv": as_csv}
"""The formats that are text; the terminal's is made by the command."""
