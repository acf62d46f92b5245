"""The sheet of a review: who answers for the matrix, what has changed since it was last signed, and what to ask.

Pure: it compares what two documents say to people (``show``), cell by cell, so that a change of wording alone is none
and every change of meaning is one.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.lint import due
from ownership_stream.matrix.show import Page, Section, page

QUESTIONS: Final = (
    "Does each row that costs most have the right owner, and do its writers know it?",
    "Is each row that nobody writes still needed, and is it mapped?",
    "Do the overrides say that an owner rule does not fit the work?",
    "Can each escalation owner keep their SLA?",
    "Which launches since the last review wrote new fields, and is each list of theirs settled?",
    "Does the document still name the right owner and contact?",
)


def sheet(
    document: MatrixDocument, today: date, former: MatrixDocument | None = None, week: Sequence[Section] = ()
) -> Page:
    """The sheet as of ``today``; ``former`` is the document as it was last signed, ``week`` what a report says."""
    matrix, review = document.matrix, document.review
    by = due(review)
    signed = document.signatures[-1] if document.signatures else None
    last = f"Last reviewed on {review.last}" + (f" by {signed.by}." if signed and signed.on == review.last else ".")
    when = f"Overdue since {by}." if by < today else f"Due by {by}."
    return Page(
        f"Review of the ownership matrix: {matrix.name}",
        (
            f"Revision {matrix.revision}. Document owner: {matrix.owner}, {document.contact}.",
            f"{last} {when}",
            *([f"Noted then: {signed.note}"] if signed and signed.note else []),
        ),
        (
            _changed(document, former),
            *week,
            Section("Questions", ("Question", "Answer"), tuple((question, "") for question in QUESTIONS)),
            Section("Signed", ("By", "On", "Revision"), (("", "", matrix.revision),)),
        ),
    )


def _changed(document: MatrixDocument, former: MatrixDocument | None) -> Section:
    heading, columns = "What changed since", ("Where", "What", "Was", "Is")
    now = document.matrix.revision
    before = document.signatures[-1].revision if document.signatures else ""
    if former is not None:
        found = tuple(differences(page(former), page(document)))
        return Section(heading, columns, found or (("", f"nothing since revision {former.matrix.revision}", "", ""),))
    if before == now:
        return Section(heading, columns, (("", "nothing: this revision is the one that was signed", "", ""),))
    said = f"revision {before} was signed" if before else "nobody has signed yet"
    return Section(heading, columns, (("", f"{said}: give the document of then with --since", before, now),))


def differences(before: Page, after: Page) -> Iterator[tuple[str, str, str, str]]:
    """What two documents say differently: (where, which cell, what it was, what it is)."""
    old = {section.heading: section for section in before.sections}
    for section in after.sections:
        was = _by_name(old.get(section.heading))
        now = _by_name(section)
        for name in [*now, *(name for name in was if name not in now)]:
            yield from _row(section, name, was.get(name), now.get(name))


def _by_name(section: Section | None) -> dict[str, tuple[str, ...]]:
    return {} if section is None else {row[0]: row for row in section.rows}


def _row(
    section: Section, name: str, was: tuple[str, ...] | None, now: tuple[str, ...] | None
) -> Iterator[tuple[str, str, str, str]]:
    where = f"{section.heading}: {name}"
    if was is None or now is None:
        gone, come = "; ".join((was or ())[1:]), "; ".join((now or ())[1:])
        yield where, "removed" if now is None else "new", gone, come
        return
    for column, before, after in zip(section.columns, was, now, strict=True):
        if before != after:
            yield where, column, before, after
