"""The report of a week: its figures beside those of the week before, and what they say (docs/rules.md, section 5).

Pure: ledgers in, a report out. Counts are those of ``accounting``, so that the report and /metrics cannot disagree on
what a conflict is; the conditions of the diagnoses are those of the alerts in `deploy/prometheus/weekly.rules.yaml`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from ownership_stream.accounting import CLOSINGS
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.review.ledger import Example, Ledger, Standing, Tally, Writer

FALL: Final = 0.1
"""Duplicates fall: by more than this share of last week's rate."""
OLDER: Final = 1.1
"""The queue grows old: its median age is more than so many times that of a week ago."""
DOMINATES: Final = 0.5
"""A row dominates: it has more than this share of what owner policy rejects,"""
DOMINATES_LEAST: Final = 50
"""of at least so many writes."""
RISE: Final = 1.25
"""Overrides rise: to more than so many times those of the week before,"""
RISE_LEAST: Final = 10
"""and to at least so many."""
COSTLIEST: Final = 10
"""Rows and writers that are listed."""

Unit = Literal["share", "count", "seconds"]


class Figure(msgspec.Struct, frozen=True):
    """One figure; ``None``: there is nothing to divide by. ``trend``: of these weeks, this one last."""

    number: int
    key: str
    name: str
    unit: Unit
    value: float | None
    before: float | None
    detail: str
    trend: tuple[float | None, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """What a row of the matrix cost."""

    field: str
    label: str
    conflicts: int
    before: int
    rejected: int
    queued: int
    unseen: int
    """Applied over a value that the writer had not seen."""
    repeats: int
    cases: int
    hours: float
    """That the cases closed in the week had been open."""
    example: str
    """One of them in words, without any value."""


class Override(msgspec.Struct, frozen=True):
    """Manual overrides of one row under one grant."""

    field: str
    label: str
    grant: str
    number: int
    before: int


class Queue(msgspec.Struct, frozen=True):
    """One owner's open cases when the week ended, and those closed by people in it; ages in seconds."""

    owner: str
    name: str
    open: int
    oldest: float | None
    p50: float | None
    p95: float | None
    beyond: int
    resolved: int
    mean: float | None
    """Seconds from opening to resolution by a person."""
    settled: int
    """Closed without a person: the systems agree, or a later write was applied."""


class Rejected(msgspec.Struct, frozen=True):
    """A writer that owner policy rejected."""

    writer: str
    """A keyed hash of the actor; empty: nobody is known."""
    system: str
    role: str
    origin: str
    writes: int
    distinct: int
    """Different fields of different records."""
    fields: tuple[str, ...]
    """The labels, most rejected first."""


class Unused(msgspec.Struct, frozen=True):
    """A row that nobody wrote in the week; ``last``: the moment of its last attempt, ``None``: never."""

    field: str
    label: str
    last: int | None


class Diagnosis(msgspec.Struct, frozen=True):
    """What the figures say together; ``alert`` is the rule that says the same."""

    alert: str
    text: str


class Report(msgspec.Struct, frozen=True):
    """A week. Times are milliseconds since 1970."""

    week: str
    begins: str
    ends: str
    as_of: int
    over: bool
    """Whether the week is over; if not, the figures are of what there is of it."""
    compared: bool
    """Whether the log reaches back into the week before."""
    matrix: str
    revision: str
    owner: str
    weeks: tuple[str, ...]
    """The weeks of the trends, oldest first."""
    figures: tuple[Figure, ...]
    diagnoses: tuple[Diagnosis, ...]
    rows: tuple[Row, ...]
    overrides: tuple[Override, ...]
    queues: tuple[Queue, ...]
    rejected: tuple[Rejected, ...]
    unused: tuple[Unused, ...]
    missing: tuple[str, ...] = ()
    """What could not be read, in words: the figures lack it."""


def report(
    matrix: Matrix, ledger: Ledger, now: int, *, named: Callable[[str], str], missing: Sequence[str] = ()
) -> Report:
    """The report of the ledger's last week; ``named`` gives the keyed hash of a record or an actor."""
    week = ledger.weeks[-1]
    tallies = [ledger.tallies[one] for one in ledger.weeks]
    this = tallies[-1]
    compared = ledger.first is not None and ledger.first < week.begins and len(tallies) > 1
    last = tallies[-2] if compared else None
    return Report(
        week=str(week),
        begins=week.monday.isoformat(),
        ends=week.sunday.isoformat(),
        as_of=this.as_of,
        over=week.ends <= now,
        compared=compared,
        matrix=matrix.name,
        revision=matrix.revision,
        owner=matrix.owner,
        weeks=tuple(map(str, ledger.weeks)),
        figures=tuple(_figures(tallies, last, _reaches(ledger))),
        diagnoses=tuple(_diagnoses(matrix, this, last)),
        rows=tuple(_rows(matrix, this, last, named)),
        overrides=tuple(_overrides(matrix, this, last)),
        queues=tuple(_queues(matrix, this)),
        rejected=tuple(_rejected(matrix, this, named)),
        unused=tuple(_unused(matrix, this, ledger)),
        missing=tuple(missing),
    )


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed; ``None`` where there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = max(1, -(-len(ordered) * round(share * 100) // 100))
    return ordered[rank - 1]


# ------------------------------------------------------------------------------------------------ the figures


def total(tally: Tally, name: str, *labels: str | None) -> int:
    """All that a metric counted, by its first labels where they are said (``None``: any)."""
    return sum(
        number
        for key, number in tally.counts.items()
        if key[0] == name and all(want in (None, has) for want, has in zip(labels, key[1:], strict=False))
    )


def _per(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _duplicates(tally: Tally) -> float | None:
    found = total(tally, "probable_duplicates") - total(tally, "probable_duplicates_dismissed")
    return _per(max(0, found), total(tally, "records_created"))


def _conflicts(tally: Tally) -> float:
    return total(tally, "conflicts")


def _overridden(tally: Tally) -> float:
    return total(tally, "overrides")


def ages(cases: Iterable[Standing], now: int) -> list[float]:
    """How long cases have been open, in seconds."""
    return [max(0, now - case.opened) / 1000 for case in cases]


def _oldest(tally: Tally) -> float | None:
    return max(ages(tally.open, tally.as_of), default=None)


def _p50(tally: Tally) -> float | None:
    return percentile(ages(tally.open, tally.as_of), 0.5)


def _p95(tally: Tally) -> float | None:
    return percentile(ages(tally.open, tally.as_of), 0.95)


def _beyond(tally: Tally) -> float | None:
    return _per(sum(case.is_beyond(tally.as_of) for case in tally.open), len(tally.open))


def _mean(tally: Tally, owner: str | None = None) -> float | None:
    seconds = total(tally, "queue_closed_seconds", owner, "resolved")
    return _per(seconds, total(tally, "queue_closed", owner, "resolved"))


def _by_policy(tally: Tally, field: str | None = None) -> int:
    return total(tally, "write_attempts", field, "rejected", "owner_policy")


def _refused(tally: Tally) -> float | None:
    return _per(_by_policy(tally), total(tally, "write_attempts"))


def _told_duplicates(tally: Tally) -> str:
    dismissed = total(tally, "probable_duplicates_dismissed")
    said = f"{total(tally, 'probable_duplicates')} of {total(tally, 'records_created')} created records"
    return f"{said}, less {dismissed} that a person dismissed" if dismissed else said


def _told_conflicts(tally: Tally) -> str:
    repeats = total(tally, "conflict_repeats")
    return f"{repeats} repeats of open cases beside them" if repeats else ""


def _told_overrides(tally: Tally) -> str:
    return f"{total(tally, 'overrides', None, 'resolution')} of them resolutions against the owner's value"


def _told_open(tally: Tally) -> str:
    return f"of {len(tally.open)} open cases"


def _told_mean(tally: Tally) -> str:
    people = total(tally, "queue_closed", None, "resolved")
    return f"{people} cases closed by people, {total(tally, 'queue_closed') - people} settled by themselves"


def _told_refused(tally: Tally) -> str:
    said = f"{_by_policy(tally)} of {total(tally, 'write_attempts')} write attempts"
    return f"{said}; {len(tally.distinct)} different ones (record, field, writer)"


FIGURES: Final[tuple[tuple[int, str, str, Unit, Callable[[Tally], float | None], Callable[[Tally], str]], ...]] = (
    (1, "duplicates", "Duplicate record creation rate", "share", _duplicates, _told_duplicates),
    (2, "conflicts", "Conflict events", "count", _conflicts, _told_conflicts),
    (3, "overrides", "Manual overrides on protected fields", "count", _overridden, _told_overrides),
    (4, "queue_oldest", "Unresolved queue age, oldest", "seconds", _oldest, _told_open),
    (4, "queue_p50", "Unresolved queue age, median", "seconds", _p50, _told_open),
    (4, "queue_p95", "Unresolved queue age, 95th percentile", "seconds", _p95, _told_open),
    (4, "queue_beyond", "Unresolved cases beyond their SLA", "share", _beyond, _told_open),
    (5, "resolution", "Mean time to resolution", "seconds", _mean, _told_mean),
    (6, "rejected", "Write attempts rejected by owner policy", "share", _refused, _told_refused),
)


def _reaches(ledger: Ledger) -> list[bool]:
    """Which of the weeks the log reaches into."""
    return [ledger.first is not None and ledger.first < week.ends for week in ledger.weeks]


def _figures(tallies: Sequence[Tally], last: Tally | None, there: Sequence[bool]) -> Iterator[Figure]:
    for number, key, name, unit, figure, detail in FIGURES:
        trend = tuple(figure(tally) if known else None for tally, known in zip(tallies, there, strict=True))
        before = None if last is None else figure(last)
        yield Figure(number, key, name, unit, figure(tallies[-1]), before, detail(tallies[-1]), trend)


# ------------------------------------------------------------------------------------------------ the diagnoses


def _diagnoses(matrix: Matrix, this: Tally, last: Tally | None) -> Iterator[Diagnosis]:
    if last is not None and _is_too_small(this, last):
        yield Diagnosis(
            "OwnershipRemediationTooSmall",
            "Fewer duplicates are made than the week before, while what is unresolved grows older: the policy is "
            "right, the capacity to resolve is not.",
        )
    rejected = _by_policy(this)
    for name, field in matrix.fields.items():
        of_field = _by_policy(this, name)
        if rejected >= DOMINATES_LEAST and of_field > DOMINATES * rejected:
            yield Diagnosis(
                "OwnershipFieldDominatesRejections",
                f"{field.label} has {of_field} of the {rejected} writes that owner policy rejected: its row is "
                "misunderstood or wrong.",
            )
    for name, field in matrix.fields.items():
        now = total(this, "overrides", name)
        before = None if last is None else total(last, "overrides", name)
        if before is not None and now >= RISE_LEAST and now > RISE * before:
            yield Diagnosis(
                "OwnershipOverridesRise",
                f"{field.label} was overridden {now} times, {before} the week before: its owner rule does not fit "
                "the work.",
            )


def _is_too_small(this: Tally, last: Tally) -> bool:
    rate, before = _duplicates(this), _duplicates(last)
    age, younger = _p50(this), _p50(last)
    falls = rate is not None and before is not None and before > 0 and rate / before - 1 < -FALL
    return falls and age is not None and younger is not None and age > OLDER * younger


# ------------------------------------------------------------------------------------------------ the tables


def _label(matrix: Matrix, name: str) -> str:
    return matrix.fields[name].label if name in matrix.fields else name or "the record itself"


def _rows(matrix: Matrix, this: Tally, last: Tally | None, named: Callable[[str], str]) -> Iterator[Row]:
    """What cost most: conflicts, their repeats, and cases that somebody had to look at."""
    names = {key[1] for key in this.counts if key[0] in ("conflicts", "conflict_repeats")} | this.cases.keys()
    found = [_row(matrix, name, this, last, named) for name in names]
    found.sort(key=lambda row: (-(row.conflicts + row.repeats + row.cases), row.label))
    yield from found[:COSTLIEST]


def _row(matrix: Matrix, name: str, this: Tally, last: Tally | None, named: Callable[[str], str]) -> Row:
    rejected, queued, unseen = (total(this, "conflicts", name, how) for how in ("rejected", "queued", "applied"))
    return Row(
        field=name,
        label=_label(matrix, name),
        conflicts=rejected + queued + unseen,
        before=0 if last is None else total(last, "conflicts", name),
        rejected=rejected,
        queued=queued,
        unseen=unseen,
        repeats=total(this, "conflict_repeats", name),
        cases=this.cases[name],
        hours=round(this.waited[name] / 3_600_000, 1),
        example=_example(matrix, this.examples.get(name), named),
    )


def _example(matrix: Matrix, example: Example | None, named: Callable[[str], str]) -> str:
    """``record #3f2a9c10, by an automation in the CRM: the EHR owns …; it may be changed by …``."""
    if example is None:
        return ""
    said = f"{example.sentence}; {example.advice}" if example.advice else example.sentence
    return f"record #{named(example.record)}, by {_who(matrix, example.writer)}: {example.outcome}, {said}"


def _who(matrix: Matrix, writer: Writer) -> str:
    nameless = "a person" if writer.origin == "person" else "an automation"
    kind = matrix.role_names.get(writer.role, writer.role) or nameless
    return f"{kind} in the {matrix.systems.get(writer.system, writer.system)}"


def _overrides(matrix: Matrix, this: Tally, last: Tally | None) -> Iterator[Override]:
    found = Counter({key[1:3]: number for key, number in this.counts.items() if key[0] == "overrides"})
    for (name, grant), number in sorted(found.items(), key=lambda one: (-one[1], one[0])):
        before = 0 if last is None else total(last, "overrides", name, grant)
        yield Override(name, _label(matrix, name), grant, number, before)


def _queues(matrix: Matrix, this: Tally) -> Iterator[Queue]:
    closed = {key[1] for key in this.counts if key[0] == "queue_closed"}
    others = sorted((closed | {case.owner for case in this.open}) - matrix.escalations.keys())
    for owner in (*matrix.escalations, *others):
        cases = [case for case in this.open if case.owner == owner]
        old = ages(cases, this.as_of)
        yield Queue(
            owner=owner,
            name=matrix.escalations[owner].name if owner in matrix.escalations else owner,
            open=len(cases),
            oldest=max(old, default=None),
            p50=percentile(old, 0.5),
            p95=percentile(old, 0.95),
            beyond=sum(case.is_beyond(this.as_of) for case in cases),
            resolved=total(this, "queue_closed", owner, "resolved"),
            mean=_mean(this, owner),
            settled=sum(total(this, "queue_closed", owner, how) for how in CLOSINGS - {"resolved"}),
        )


def _rejected(matrix: Matrix, this: Tally, named: Callable[[str], str]) -> Iterator[Rejected]:
    ranked = sorted(this.writers.items(), key=lambda one: (-one[1].total(), one[0]))
    for writer, fields in ranked[:COSTLIEST]:
        yield Rejected(
            writer=f"#{named(writer.actor)}" if writer.actor else "",
            system=matrix.systems.get(writer.system, writer.system),
            role=matrix.role_names.get(writer.role, writer.role),
            origin=writer.origin,
            writes=fields.total(),
            distinct=sum(one[2] == writer for one in this.distinct),
            fields=tuple(_label(matrix, name) for name, _ in fields.most_common()),
        )


def _unused(matrix: Matrix, this: Tally, ledger: Ledger) -> Iterator[Unused]:
    written = {key[1] for key in this.counts if key[0] == "write_attempts"}
    for name, field in matrix.fields.items():
        if name not in written:
            yield Unused(name, field.label, ledger.used.get(name))
