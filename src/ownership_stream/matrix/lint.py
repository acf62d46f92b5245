"""What only shows in the whole document: checks after a clean load, each a function in a table.

An error is a matrix that would not do what its author means; a warning is a reminder. The source mappings come as plain
columns, so that this module knows no connector.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

import msgspec

from ownership_stream.matrix.compile import MatrixDocument, Review
from ownership_stream.matrix.compiled import Field, Matrix, Phase, StageMap, Summary
from ownership_stream.matrix.document import Place
from ownership_stream.matrix.reading import brief, listed, nearest

How = Literal["input", "compared", "request"]


class Column(msgspec.Struct, frozen=True):
    """One column of a source mapping: the field it feeds, and how, and where that is written."""

    system: str
    field: str
    how: How
    """``input``: a write of the field; ``compared``: only compared with what is expected; ``request``: only asks."""
    file: str
    place: Place


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that lint found."""

    file: str
    place: Place
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        """As ``file:line:col: message``, a warning with its name before the message."""
        mark = "warning: " if self.severity == "warning" else ""
        return f"{self.file}:{self.place.line}:{self.place.column}: {mark}{self.message}"


Said = tuple[tuple[str, ...], str]
"""The path of keys in the document that a finding is about, and what is wrong."""


def lint(
    document: MatrixDocument, today: date, columns: Mapping[str, Iterable[Column]] | None = None
) -> tuple[Finding, ...]:
    """Everything to say about a matrix that loads, in the order of the document.

    ``columns`` are the mapped columns by source; without them nothing is said about sources.
    """
    found = [
        Finding(document.document.file, document.document.place(*path), severity, message)
        for check, severity in CHECKS
        for path, message in check(document.matrix)
    ]
    found += [
        Finding(document.document.file, document.document.place(*path), "warning", message)
        for path, message in _review(document, today)
    ]
    if columns is not None:
        found += _columns(document, [column for source in columns.values() for column in source])
    return tuple(sorted(found))


def due(review: Review) -> date:
    """The day by which the next review is due; a month ends where the calendar's does."""
    if review.unit in {"day", "week"}:
        return review.last + timedelta(days=review.count * (7 if review.unit == "week" else 1))
    months = review.last.month - 1 + review.count * (12 if review.unit == "year" else 1)
    first = date(review.last.year + months // 12, months % 12 + 1, 1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return min(first + timedelta(days=review.last.day - 1), after - timedelta(days=1))


def end_of(day: date) -> float:
    """The moment at which a day is over in UTC, in seconds since 1970."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC).timestamp()


def reachable(stages: StageMap, start: str) -> frozenset[str]:
    """Every stage that steps of the map lead to from ``start``, itself included."""
    seen, ahead = set[str](), [start]
    while ahead:
        stage = ahead.pop()
        if stage not in seen:
            seen.add(stage)
            ahead += stages.map[stage]
    return frozenset(seen)


# ------------------------------------------------------------------------------------------------ the matrix


def _one_owner(matrix: Matrix) -> Iterator[Said]:
    sides: tuple[Phase, Phase] = ("before", "after")
    for field in matrix.fields.values():
        for side in sides:
            stages = [stage for stage in matrix.stages.map if (stage in matrix.stages.after) == (side == "after")]
            owners = {grant.system for grant in field.grants if grant.kind == "owner" and grant.phase in {"any", side}}
            if stages and len(owners) != 1:
                path = ("fields", field.name, "owner")
                what = f"more than one owner: {listed(sorted(owners), 'and')}" if owners else _nobody(field, side)
                yield path, f"at stage {listed(stages, 'and')} `{field.name}` has {what}"


def _nobody(field: Field, side: Phase) -> str:
    system = field.owner["after" if side == "after" else "before"]
    return f"no effective owner: nobody whom `only` names may write in `{system}`"


def _stages_reached(matrix: Matrix) -> Iterator[Said]:
    first = next(iter(matrix.stages.map))
    for stage in matrix.stages.map.keys() - reachable(matrix.stages, first):
        yield ("stages", "map", stage), f"stage `{stage}` is never reached: no step leads to it from `{first}`"


def _dead_ends(matrix: Matrix) -> Iterator[Said]:
    stages = matrix.stages
    ends = {stage for stage, following in stages.map.items() if not following} | {stages.care_start}
    for stage in stages.map:
        if stage not in stages.after and not reachable(stages, stage) & ends:
            yield (
                ("stages", "map", stage),
                f"from stage `{stage}` neither care start, `{stages.care_start}`, nor an end can be reached",
            )


def _roles_used(matrix: Matrix) -> Iterator[Said]:
    used = {grant.role for field in matrix.fields.values() for grant in field.grants}
    for role in matrix.roles:
        if role not in used:
            yield ("roles", role), f"role `{role}` has no effect: no row names it"


def _escalation_ends(matrix: Matrix) -> Iterator[Said]:
    for start in matrix.escalations:
        chain, key = [start], matrix.escalations[start].then
        while key is not None and key not in chain:
            chain.append(key)
            key = matrix.escalations[key].then
        if key == start:
            way = " → ".join(f"`{step}`" for step in (*chain, key))
            yield ("escalation", start, "then"), f"the escalation never ends: {way}"


def _escalation_used(matrix: Matrix) -> Iterator[Said]:
    used = {field.escalation for field in matrix.fields.values()} | {
        owner.then for owner in matrix.escalations.values()
    }
    for key in matrix.escalations:
        if key not in used:
            yield ("escalation", key), f"escalation owner `{key}` has no effect: no row and no chain leads to it"


def _escalation_owned(matrix: Matrix) -> Iterator[Said]:
    for field in matrix.fields.values():
        owner = matrix.escalations.get(field.escalation)
        if owner is None or owner.sla <= 0:
            yield ("fields", field.name, "escalation"), f"`{field.name}` has no escalation owner with an SLA"


def _groups(matrix: Matrix) -> Iterator[Said]:
    for group, names in matrix.groups.items():
        first, *rest = (matrix.fields[name] for name in names)
        if not rest:
            yield ("fields", first.name, "group"), f"group `{group}` has one field: a group needs at least two"
        for field in rest:
            for what in ("owner", "direction"):
                if getattr(field, what) != getattr(first, what):
                    path = ("fields", field.name, what)
                    yield path, f"`{field.name}` and `{first.name}` are one group, `{group}`, with different `{what}`"


Check = Callable[[Matrix], Iterator[Said]]
CHECKS: Final[tuple[tuple[Check, Literal["error", "warning"]], ...]] = (
    (_one_owner, "error"),
    (_stages_reached, "error"),
    (_dead_ends, "warning"),
    (_roles_used, "warning"),
    (_escalation_ends, "error"),
    (_escalation_used, "warning"),
    (_escalation_owned, "error"),
    (_groups, "error"),
)


def _review(document: MatrixDocument, today: date) -> Iterator[Said]:
    by = due(document.review)
    if document.review.last > today:
        yield ("review", "last"), f"the last review, {document.review.last}, lies in the future"
    elif by < today:
        who = f"{document.matrix.owner}, {document.contact}"
        yield ("review", "last"), f"the review is overdue since {by}: ask {who}"


# ------------------------------------------------------------------------------------------------ the sources


def _columns(document: MatrixDocument, columns: list[Column]) -> Iterator[Finding]:
    matrix = document.matrix
    for column in columns:
        for message in _column(matrix, column):
            yield Finding(column.file, column.place, "error", message)
    mapped = {system: {c.field for c in columns if c.system == system} for system in matrix.systems}
    for system, fields in mapped.items():
        if not fields:
            place = document.document.place("systems", system)
            yield Finding(document.document.file, place, "error", f"no source maps a column of system `{system}`")
    asked = {(column.system, column.field) for column in columns if column.how == "request"}
    for field in matrix.fields.values():
        place = document.document.place("fields", field.name)
        for system in filter(mapped.get, matrix.systems):
            for message in _row_in(field, system, mapped[system], asked):
                yield Finding(document.document.file, place, "error", message)


def _column(matrix: Matrix, column: Column) -> Iterator[str]:
    field = matrix.fields.get(column.field)
    if field is None:
        yield f"no row of the matrix is named {brief(column.field)}{nearest(column.field, matrix.fields)}"
        return
    view = field.views.get(column.system)
    if view == "none":
        yield f"direction `{field.direction}` keeps `{field.name}` from `{column.system}`: no column there may carry it"
    if isinstance(view, Summary) and column.how == "input" and _writes_in(field, column.system):
        yield (
            f"`{field.name}` shows its summary in `{column.system}`, so this column is only compared: "
            "who may write there asks through a request column"
        )


def _row_in(field: Field, system: str, mapped: set[str], asked: set[tuple[str, str]]) -> Iterator[str]:
    if field.views[system] != "none" and field.name not in mapped:
        yield f"no column of `{system}` is mapped to `{field.name}`: it can be neither read nor sent there"
        return
    writers = _writes_in(field, system)
    if isinstance(field.views[system], Summary) and writers and (system, field.name) not in asked:
        may = f"where {listed(writers, 'and')} may write"
        yield f"`{field.name}` shows its summary in `{system}`, {may}: map a request column for it"


def _writes_in(field: Field, system: str) -> list[str]:
    return [grant.role or "anyone" for grant in field.grants if grant.system == system]
