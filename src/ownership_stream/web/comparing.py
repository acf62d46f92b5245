"""A case's values side by side: what is current, what each system shows, and which parts differ.

That two values differ is told whether or not the values are: who decides may see first where to look.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ownership_stream.draft import NOTHING, view_of
from ownership_stream.matrix.compiled import Field, Matrix, Summary
from ownership_stream.model import FieldState, Scalar, Value
from ownership_stream.queue import Open
from ownership_stream.reports import masked
from ownership_stream.web.words import text_of


class Cell(NamedTuple):
    """One value, or one part of it."""

    text: str
    empty: bool
    differs: bool


class Column(NamedTuple):
    """What one of those involved has."""

    title: str
    note: str
    cells: tuple[Cell, ...]
    differs: bool


class Comparison(NamedTuple):
    """``parts`` are the names of the lines; one without a name where the field has no parts."""

    parts: tuple[str, ...]
    columns: tuple[Column, ...]


def compare(matrix: Matrix, one: Open, *, show: bool) -> Comparison:
    """The values of a case's field; of a record's own case there are none. Masked unless ``show``."""
    field = matrix.fields.get(one.case.field)
    if field is None:
        return Comparison((), ())
    parts = tuple(field.parts) or ("",)
    current = one.state.fields.get(field.name, FieldState())
    first = _column("Current value", _set_by(matrix, current), field, current.value, current.value, show=show)
    return Comparison(parts, (first, *_systems(matrix, one, field, current, show=show)))


def _systems(matrix: Matrix, one: Open, field: Field, current: FieldState, *, show: bool) -> Iterator[Column]:
    """What each system shows, beside what it should, and what it asks for."""
    owner = field.owner["before" if one.state.care_started is None else "after"]
    for key, name in matrix.systems.items():
        seat = one.state.systems.get(key)
        owns = "owns it" if key == owner else ""
        if seat is None or not seat.present:
            yield Column(f"{name} shows", _said(owns, "does not have the record"), (), differs=False)
            continue
        shown = seat.shown.get(field.name)
        expected = view_of(seat, field.name, field.views[key], one.state.fields.get(field.name))
        due = shown if expected is NOTHING or not current.version else expected
        waits = "a value is under way" if field.name in seat.outstanding else ""
        brief = "shows a summary" if isinstance(field.views[key], Summary) else ""
        yield _column(f"{name} shows", _said(owns, brief, waits), field, shown, due, show=show)
        if any(proposal.system == key and proposal.request for proposal in one.case.proposals):
            asked = seat.requested.get(field.name)
            yield _column(f"{name} asks for", "", field, asked, current.value, show=show)


def _column(title: str, note: str, field: Field, value: Value, against: Value, *, show: bool) -> Column:
    names = tuple(field.parts) or ("",)
    told = value if show else masked(value)
    cells = tuple(
        Cell(text_of(_part(told, name)), _part(value, name) is None, _part(value, name) != _part(against, name))
        for name in names
    )
    return Column(title, note, cells, any(cell.differs for cell in cells))


def _part(value: Value, name: str) -> Value | Scalar:
    if not name:
        return value
    return value.get(name) if isinstance(value, dict) else None


def _set_by(matrix: Matrix, current: FieldState) -> str:
    if not current.version:
        return "never set"
    return f"from the {matrix.systems[current.system]}" if current.system in matrix.systems else "set by a person here"


def _said(*words: str) -> str:
    return ", ".join(word for word in words if word)
