"""Launches: the list of what is settled before something new writes fields of the matrix, and what is still open.

A list is Markdown with boxes that people tick. What writes lists and what reads them stand here together, so that
neither forgets a point of the other's.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.document import Place
from ownership_stream.matrix.lint import Finding
from ownership_stream.matrix.reading import brief, nearest
from ownership_stream.matrix.show import page

HEADING: Final = "## Launch: "
FIELDS: Final = "Fields: "
_POINT: Final = re.compile(r"\s*[-*] \[(.)\]\s*(.*)")
_FIELD: Final = re.compile(r"`([^`]*)`")
SHOWN: Final = 90
"""Characters of an open point that are quoted."""


def checklist(document: MatrixDocument, name: str, fields: Sequence[str], day: date) -> str:
    """The list of a launch that concerns these fields, none of them settled. Raises ``BadInputError``."""
    matrix = document.matrix
    title = " ".join(name.split())
    if not title:
        raise BadInputError('a launch has a name, as in `matrix checklist "new intake form"`')
    unknown = [field for field in fields if field not in matrix.fields]
    if unknown:
        raise BadInputError(*(_unknown(matrix, field) for field in unknown))
    named = ", ".join(f"`{field}`" for field in fields)
    begun = f"Begun {day} under revision {matrix.revision}."
    said = f"{FIELDS}{named}." if fields else f"{FIELDS}none named yet: name each that it writes."
    points = "\n".join(f"- [ ] {point}" for point in _points(document, fields))
    return f"{HEADING}{title}\n\n{begun} {said}\n\n{points}\n"


def _points(document: MatrixDocument, fields: Sequence[str]) -> Iterator[str]:
    matrix = document.matrix
    yield "Every field that it writes is named above and has a row; what it only shows, it reads from the owner."
    writers = {row[0]: row[1] for row in page(document).sections[1].rows}
    for name in fields:
        field = matrix.fields[name]
        critical = " Critical: a person who is not the owner gives a reason." if field.critical else ""
        yield f"`{name}` ({field.label}): {writers[field.label]}. It writes as one of these, or does not.{critical}"
    yield "Its events say who wrote, in which role; an automation has a name of its own."
    yield "A person whose write is rejected is told so, in words, where they made it."
    owners = dict.fromkeys(matrix.escalations[matrix.fields[name].escalation].name for name in fields)
    yield f"Who decides what stays open knows that it comes: {', '.join(owners) or 'the escalation owners'}."
    yield "A scenario plays what it writes, and `ownership-stream simulate` agrees with it."
    yield "It was tried in `observe` mode or on test data, and nothing was rejected that should not be."
    yield f"{matrix.owner} agrees: name and day."


def _unknown(matrix: Matrix, field: str) -> str:
    return f"no row of the matrix is named {brief(field)}{nearest(field, matrix.fields)}"


def launch_findings(matrix: Matrix, path: Path) -> tuple[Finding, ...]:
    """What is open or wrong in a file of lists, each with its place; raises ``BadInputError`` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BadInputError(f"{path}: cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: is not UTF-8: save the file as UTF-8") from error
    return tuple(
        Finding(str(path), Place(line, column), "error", message)
        for line, column, message in _open(matrix, text.splitlines())
    )


def _open(matrix: Matrix, lines: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    launch, begun, points = "", 0, 0
    for number, line in enumerate(lines, 1):
        found = _POINT.fullmatch(line)
        if line.startswith("## "):
            yield from _without_points(launch, begun, points)
            launch, begun, points = "", number, 0
            if line.startswith(HEADING):
                launch = line.removeprefix(HEADING).strip()
        elif launch and found is not None:
            points += 1
            if found[1] not in "xX":
                said = found[2] if len(found[2]) <= SHOWN else found[2][:SHOWN] + "…"
                yield number, found.start(1) + 1, f"launch {brief(launch)} is open: {said}"
        elif launch and FIELDS in line:
            for word in _FIELD.finditer(line, line.index(FIELDS)):
                if word[1] not in matrix.fields:
                    yield number, word.start(1) + 1, f"launch {brief(launch)}: {_unknown(matrix, word[1])}"
    yield from _without_points(launch, begun, points)


def _without_points(launch: str, begun: int, points: int) -> Iterator[tuple[int, int, str]]:
    if launch and not points:
        yield begun, 1, f"launch {brief(launch)} has no points: print them with `ownership-stream matrix checklist`"
