"""What a row grants and what each system is shown of it: owner, secondary, ``only``, overrides and direction, compiled.

docs/rules.md, sections 1 and 4. The order of a row's grants is their precedence: owner, secondary, override, and within
secondary the named roles before anyone.
"""

from collections.abc import Iterator
from typing import Final, Literal

from ownership_stream.matrix.compiled import Grant, GrantKind, Phase, View
from ownership_stream.matrix.rows import Head, Row, Targets

_PHASE_WORDS: Final[dict[Phase, str]] = {"any": "", "before": " before care start", "after": " after care start"}
_SIDES: Final[tuple[Literal["before", "after"], ...]] = ("before", "after")


def grants_of(row: Row, head: Head) -> tuple[Grant, ...]:
    """Every right to write this field; nothing else gives authority."""
    return (*_owner(row, head), *_secondary(row, head), *_anyone_elsewhere(row, head), *_overrides(row, head))


def views_of(row: Row, head: Head) -> dict[str, View]:
    """What each system shows of the field; an owner always shows all of it."""
    views: dict[str, View] = dict.fromkeys(head.systems, "full" if row.route is None else "none")
    if row.direction == "none":
        views = dict.fromkeys(head.systems, "none")
    if row.route is not None:
        views[row.route[1]] = row.summary if row.summary is not None else "full"
    return views | dict.fromkeys(row.owners, "full")


def _owner(row: Row, head: Head) -> Iterator[Grant]:
    for system, phase in _owner_phases(row):
        if not row.only:
            yield _grant("owner", system, None, phase)
        for role in row.only:
            if system in head.roles[role].systems:
                yield _grant("owner", system, role, phase)


def _owner_phases(row: Row) -> Iterator[tuple[str, Phase]]:
    if not row.by_stage:
        yield row.owners[0], "any"
        return
    for side in _SIDES:
        yield row.owner[side], side


def _secondary(row: Row, head: Head) -> Iterator[Grant]:
    for role, targets in row.secondary.items():
        for system in head.roles[role].systems:
            if row.direction != "none" or system in row.owners:
                yield _grant("secondary", system, role, "any", targets=targets, persons=row.critical)


def _anyone_elsewhere(row: Row, head: Head) -> Iterator[Grant]:
    if row.direction == "both ways with version check":
        for system in head.systems:
            if system not in row.owners:
                yield _grant("secondary", system, None, "any", persons=row.critical)


def _overrides(row: Row, head: Head) -> Iterator[Grant]:
    for role in row.overrides:
        for system in head.roles[role].systems:
            yield _grant("override", system, role, "any", persons=row.critical)


def _grant(
    kind: GrantKind,
    system: str,
    role: str | None,
    phase: Phase,
    *,
    targets: Targets = None,
    persons: bool = False,
) -> Grant:
    who = system if kind == "owner" and role is None else f"{role or 'anyone'} in {system}"
    return Grant(
        id=f"{kind}: {who}{_PHASE_WORDS[phase]}",
        kind=kind,
        system=system,
        role=role,
        phase=phase,
        targets=targets,
        persons=persons,
    )
