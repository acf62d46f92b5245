"""Every metric there is: its name, unit, labels, meaning, and the question it answers (docs/metrics.md).

A label takes its values from a *domain*, a closed set known at start (the fields of the matrix, the
outcomes …), so that every series is there at zero before the first event: one first seen at 1 shows no
increase. Domains whose values come with the assignment of lanes are *open*: their series come and go with
the lane.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, product
from typing import Any, Final

from ownership_stream.accounting import DISAGREEMENTS

PREFIX: Final = "ownership_"

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "fields": ("field",),
    "systems": ("system",),
    "outcomes": ("outcome", "reason"),
    "attempts": ("outcome", "reason"),
    "conflicts": ("outcome",),
    "grants": ("field", "grant"),
    "origins": ("origin",),
    "owners": ("owner",),
    "case_reasons": ("reason",),
    "answers": ("answer", "reason"),
    "closings": ("closing",),
    "ages": ("age",),
    "disagreements": ("reason",),
    "send_kinds": ("kind",),
    "dead_letter_reasons": ("reason",),
    "ignored_reasons": ("reason",),
    "stages": ("stage",),
    "lane_states": ("state",),
    "needs": ("need",),
    "lanes": ("stage", "topic", "partition"),
    "metrics": ("metric",),
    "build": ("version", "revision", "mode"),
}
"""The label names that each domain gives values to."""

OPEN: Final = frozenset({"lanes", "build"})
ATTEMPTS: Final = ("applied", "rejected", "queued")
BURIALS: Final[Mapping[str, str]] = {"decode": "internal", "step": "internal", "size": "size", "produce": "produce"}
"""Where a record broke its lane's batch -> the reason of its dead letter."""
FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATE: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
LONG: Final = (60.0, 900.0, 3600.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0, 345_600.0, 604_800.0, 2_592_000.0)
"""What people take: a minute to thirty days."""


class Kind(StrEnum):
    """Prometheus' kinds of metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; `name` is without prefix and without `_total`, as the counts of a step give it."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    question: str
    domains: tuple[str, ...] = ()
    by_mode: bool = False
    """Whether it carries the label `mode`, so that observe mode stays out of every figure."""
    buckets: tuple[float, ...] = FAST
    """Of a histogram: the upper bounds, in seconds."""
    since: bool = False
    """Of a histogram: counts give moments (milliseconds since 1970), and it holds the time from those until now."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the label values that a count gives, in order."""
        return tuple(chain.from_iterable(DOMAINS[domain] for domain in self.domains))

    @property
    def full_name(self) -> str:
        """The name as Prometheus shows it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The closed sets that label values come from.

    `outcomes` and `answers` are (outcome, reason) pairs, `grants` (field, grant id) pairs of the secondary and override
    grants and of resolutions, `owners` the keys of the matrix's escalation owners.
    """

    fields: Sequence[str]
    systems: Sequence[str]
    outcomes: Sequence[tuple[str, str]]
    grants: Sequence[tuple[str, str]] = ()
    owners: Sequence[str] = ()
    case_reasons: Sequence[str] = ()
    answers: Sequence[tuple[str, str]] = ()
    dead_letter_reasons: Sequence[str] = ()
    ignored_reasons: Sequence[str] = ()
    stages: Sequence[str] = ("intake", "decide", "match")
    origins: Sequence[str] = ("person", "automation")
    closings: Sequence[str] = ("converged", "superseded", "resolved")
    ages: Sequence[str] = (*(f"{seconds:.0f}" for seconds in LONG), "+Inf")
    disagreements: Sequence[str] = DISAGREEMENTS
    send_kinds: Sequence[str] = ("change", "restore", "create")
    lane_states: Sequence[str] = ("starting", "working", "waiting")
    needs: Sequence[str] = ("kafka", "redis", "registry", "other")
    conflicts: Sequence[str] = ATTEMPTS
    metrics: Sequence[str] = field(default_factory=lambda: [metric.name for metric in CATALOGUE])

    @property
    def attempts(self) -> list[tuple[str, str]]:
        """The outcomes that make a write an attempt: docs/rules.md, section 1."""
        return [pair for pair in self.outcomes if pair[0] in ATTEMPTS]

    def combinations(self, metric: Metric) -> Iterator[tuple[str, ...]]:
        """Every tuple of label values that the metric can have; none for a metric with an open domain."""
        if OPEN.isdisjoint(metric.domains):
            for parts in product(*(getattr(self, domain) for domain in metric.domains)):
                yield tuple(chain.from_iterable([part] if isinstance(part, str) else part for part in parts))


def _counter(name: str, unit: str, domains: str, meaning: str, question: str, *, by_mode: bool = False) -> Metric:
    return Metric(
        name=name,
        kind=Kind.COUNTER,
        unit=unit,
        domains=tuple(domains.split()),
        meaning=meaning,
        question=question,
        by_mode=by_mode,
    )


def _decided(name: str, unit: str, domains: str, meaning: str, question: str) -> Metric:
    return _counter(name, unit, domains, meaning, question, by_mode=True)


def _gauge(name: str, unit: str, domains: str, meaning: str, question: str, *, by_mode: bool = False) -> Metric:
    return Metric(
        name=name,
        kind=Kind.GAUGE,
        unit=unit,
        domains=tuple(domains.split()),
        meaning=meaning,
        question=question,
        by_mode=by_mode,
    )


def _histogram(name: str, domains: str, meaning: str, question: str, **said: Any) -> Metric:
    return Metric(
        name=name,
        kind=Kind.HISTOGRAM,
        unit="seconds",
        domains=tuple(domains.split()),
        meaning=meaning,
        question=question,
        **said,
    )


CATALOGUE: Final[tuple[Metric, ...]] = (
    # What was decided: counted once the batch is committed, and each happening once
    _decided(
        "outcomes",
        "fields",
        "outcomes systems",
        "changed fields by the one outcome that each ended in, by the system that wrote",
        "does every changed field end somewhere, and how much of the traffic is echo, replay or nothing new?",
    ),
    _decided(
        "write_attempts",
        "writes",
        "fields attempts systems origins",
        "writes that ended applied, rejected or queued, by field, reason, system and kind of writer",
        "which share of write attempts does owner policy reject, on which fields, by whom? (weekly figure 6)",
    ),
    _decided(
        "conflicts",
        "writes",
        "fields conflicts",
        "rejected and queued writes, and applied ones over a different value that their writer had not seen; "
        "not completions that are not validated yet, nor repeats of an open case",
        "on which fields do the systems fight? (weekly figure 2)",
    ),
    _decided(
        "conflict_repeats",
        "writes",
        "fields",
        "queued writes that joined a case already open",
        "is a conflict that waits being repeated?",
    ),
    _decided(
        "overrides",
        "writes",
        "grants",
        "writes by persons on protected fields, applied under a secondary or an override grant; and resolutions of "
        "cases to another value than the owner's (grant `resolution`)",
        "who uses which override, and is it becoming the rule? (weekly figure 3)",
    ),
    _decided(
        "records_created",
        "records",
        "systems",
        "records that a system created by itself: no snapshots, none that we created there",
        "what are duplicates a share of? (weekly figure 1, below the line)",
    ),
    _decided(
        "probable_duplicates",
        "records",
        "systems",
        "created records that probably match another record of the same system",
        "how many duplicates are being made? (weekly figure 1, above the line)",
    ),
    _decided(
        "probable_duplicates_dismissed",
        "records",
        "systems",
        "cases `duplicate` that a person dismissed: the record was none",
        "how many of them were none? (weekly figure 1, taken off above the line)",
    ),
    _decided(
        "restores",
        "fields",
        "fields systems",
        "fields sent back to a system that showed something else than is expected of it",
        "which system keeps writing what it may not, and is a loop going on?",
    ),
    _decided(
        "sends",
        "records",
        "systems send_kinds",
        "records sent to a system's apply topic",
        "how much does each system have to apply?",
    ),
    _histogram(
        "apply_latency_seconds",
        "systems",
        "time from the source's commit of a change, by its own clock, until what follows from it is committed on the "
        "apply topic of a system, in steps of a tenth of a second; no snapshots, no ticks",
        "how long does the other system not know?",
        by_mode=True,
        buckets=LATE,
        since=True,
    ),
    _decided(
        "breaker_trips",
        "trips",
        "systems",
        "times that too many restores into a system made a lane withhold what it sends there",
        "is one writer at war with the matrix?",
    ),
    _decided(
        "queue_opened",
        "cases",
        "owners case_reasons",
        "cases opened, by the escalation owner and the reason",
        "whose queue grows, and what with?",
    ),
    _decided(
        "disagreements_opened",
        "cases",
        "systems disagreements",
        "cases about one system that does not show what it should, by that system: what was sent twice is not shown, "
        "automations change it back, nobody attested the owner's value, it cannot be written or made there",
        "which system does not follow, and how?",
    ),
    _decided(
        "queue_closed",
        "cases",
        "owners closings",
        "cases closed: by agreement of the systems, by a later applied write, by a person",
        "is the queue being worked on? (weekly figure 5)",
    ),
    _decided(
        "queue_closed_seconds",
        "seconds",
        "owners closings",
        "time from first opening to closing, summed over the cases closed",
        "how long does a resolution take on average? (weekly figure 5)",
    ),
    _histogram(
        "resolution_seconds",
        "owners",
        "time from a case's first opening to its resolution by a person, by the owner who had it then",
        "how long do people take, and are a few cases the mean? (weekly figure 5)",
        by_mode=True,
        buckets=LONG,
    ),
    _decided(
        "queue_escalated",
        "cases",
        "owners",
        "cases that passed their deadline and went on, by the owner who has them now",
        "who does not keep the SLA?",
    ),
    _decided(
        "resolutions",
        "asks",
        "answers",
        "what people asked of open cases, by how it was answered; no write attempts",
        "is the queue decided by people, and who is refused or overtaken?",
    ),
    # What stands now: counted in the states themselves, which survive everything (census.py)
    _gauge(
        "queue_open",
        "cases",
        "owners",
        "cases that are open now, by the owner who has them",
        "whose queue is how long? (weekly figure 4)",
        by_mode=True,
    ),
    _gauge(
        "queue_open_by_age",
        "cases",
        "owners ages",
        "open cases that were first opened at most so many seconds ago: each age holds those of the smaller ones too, "
        "as the buckets of a histogram do",
        "how old is the queue, at its median and at its 95th percentile? (weekly figure 4)",
        by_mode=True,
    ),
    _gauge(
        "queue_open_oldest_seconds",
        "seconds",
        "owners",
        "age of the owner's oldest open case, since its first opening; 0 where none is open",
        "who has waited longest? (weekly figure 4)",
        by_mode=True,
    ),
    _gauge(
        "queue_open_beyond_sla",
        "cases",
        "owners",
        "open cases whose first deadline has passed, by the owner who has them now",
        "which share of the queue is too late, and with whom? (weekly figure 4)",
        by_mode=True,
    ),
    _gauge(
        "breaker_lanes_tripped",
        "lanes",
        "systems",
        "lanes whose breaker withholds what is sent to the system, now",
        "is a system being kept from its changes at this moment?",
        by_mode=True,
    ),
    # What could not be read
    _counter(
        "dead_letters",
        "records",
        "stages dead_letter_reasons",
        "records put on the dead-letter topic with their original bytes",
        "which input cannot be read, and why?",
    ),
    _counter(
        "records_ignored",
        "records",
        "ignored_reasons",
        "source records that rightly lead to no change: tombstones, heartbeats, tables that are not mapped",
        "is something left out that should not be?",
    ),
    _counter(
        "changes",
        "changes",
        "systems",
        "changes that intake put on `ownership.changes`",
        "how much does each source bring?",
    ),
    # How the lanes do
    _counter(
        "records_processed",
        "records",
        "lanes",
        "input records of committed batches",
        "how much passes through, and does a lane stand still while it has lag?",
    ),
    _counter(
        "batches_committed",
        "batches",
        "lanes",
        "transactions committed",
        "do commits advance?",
    ),
    _gauge(
        "lag_records",
        "records",
        "lanes",
        "records that wait before the lane (records, not offsets: markers are not counted)",
        "are we behind?",
    ),
    _gauge(
        "lane_seconds_since_commit",
        "seconds",
        "lanes",
        "how long the lane has had lag without committing any of it; 0 while it has none",
        "is a lane stuck? (alert well above the transaction's time-out; it grows while Kafka or Redis is away, too)",
    ),
    _gauge(
        "lanes",
        "lanes",
        "stages lane_states",
        "lanes of this worker by what they are doing",
        "is everything assigned at work, or what is it waiting for?",
    ),
    _gauge(
        "lanes_waiting",
        "lanes",
        "stages needs",
        "lanes of this worker that wait for something that does not answer, by what it is",
        "what is away?",
    ),
    _counter(
        "lanes_recreated",
        "lanes",
        "stages",
        "lanes started again after they lost their standing (fenced, unknown outcome, displaced in Redis)",
        "is something fighting with this worker?",
    ),
    _counter(
        "catch_up_records",
        "records",
        "stages",
        "records of the changelog read to bring Redis up to it, counted as they are read",
        "how far behind was the cache?",
    ),
    _counter(
        "catch_up_seconds",
        "seconds",
        "stages",
        "time spent on that",
        "how long does a lane take to start?",
    ),
    _gauge(
        "catch_up_left_records",
        "records",
        "stages",
        "about so many records of the changelogs are still to be read by lanes that are catching up",
        "how far is a rebuild of Redis?",
    ),
    _gauge(
        "catch_up_left_seconds",
        "seconds",
        "stages",
        "about so long until the last of those lanes is caught up, at its rate so far",
        "when will the worker be ready?",
    ),
    _histogram("batch_seconds", "stages", "time for one batch, all its steps", "how fast is a batch?"),
    _histogram("transaction_seconds", "stages", "time for the Kafka transaction of one batch", "is the broker slow?"),
    _histogram("state_load_seconds", "stages", "time to load the states of one batch", "is Redis slow to read?"),
    _histogram("state_save_seconds", "stages", "time to save the states of one batch", "is Redis slow to write?"),
    _histogram("step_seconds", "stages", "time to decode and decide one batch", "is the decision itself slow?"),
    # The process
    _gauge("ready", "1", "", "1 when /readyz says so: assigned, caught up, Redis there", "may it be counted on?"),
    _gauge(
        "build_info",
        "1",
        "build",
        "always 1; the labels say what runs",
        "which version and matrix, since when?",
    ),
    _gauge(
        "matrix_review_due_timestamp_seconds",
        "seconds",
        "",
        "the end of the day (UTC) by which the matrix is to be reviewed again, in seconds since 1970",
        "does somebody still look after the document?",
    ),
    _counter(
        "unknown_labels",
        "counts",
        "metrics",
        "counts whose labels were outside their closed set, so counted here only",
        "is the program counting something that it did not announce? (should be 0)",
    ),
)
