"""What the three Grafana dashboards show; run as a program it writes them beside itself: `make docs`.

A panel answers one question and says which; panels are read from left to right, a dashboard from the top down. Queries
name only metrics of the catalogue (docs/metrics.md) and series recorded by `deploy/prometheus`. Weekly figures are as
of the end of the time range that is looked at.
"""

import json
from pathlib import Path
from typing import Final

from building import (
    JOB,
    WORKERS,
    Dashboard,
    Query,
    Row,
    bars,
    counted,
    lines,
    over,
    quantiles,
    rated,
    recorded,
    rendered,
    selected,
    share,
    stat,
    table,
    this_week_and_last,
    top,
)

ATTEMPTS: Final = 'outcome=~"applied|rejected|queued"'
BY_OWNER_POLICY: Final = 'outcome="rejected",reason="owner_policy"'

CONFLICTS: Final = Dashboard(
    "ownership-conflicts",
    "Ownership: conflicts and rejections",
    "Where do the systems fight, and whom does the matrix stop?",
    "now-24h",
    (
        Row(
            "In the time that is shown",
            (
                stat(
                    "Rejected by owner policy",
                    "Which share of all write attempts does owner policy reject?",
                    share(counted("outcomes", where=BY_OWNER_POLICY), counted("outcomes", where=ATTEMPTS)),
                    unit="percentunit",
                    width=6,
                ),
                stat(
                    "Write attempts",
                    "How many writes were applied, rejected or queued?",
                    counted("outcomes", "outcome", where=ATTEMPTS),
                    width=6,
                ),
                stat(
                    "Conflicts",
                    "How many writes were rejected, queued, or replaced a value that their writer had not seen?",
                    counted("conflicts", legend="conflicts"),
                    width=6,
                ),
                stat(
                    "Cases",
                    "Does the queue grow?",
                    counted("queue_opened", legend="opened"),
                    counted("queue_closed", legend="closed"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Fields and writers",
            (
                bars(
                    "Conflicts by field",
                    "On which fields do the systems fight?",
                    top(counted("conflicts", "field"), 10),
                ),
                table(
                    "Rejected by owner policy",
                    "Which writers of which system try to change what they do not own?",
                    top(counted("write_attempts", "field", "system", "origin", where=BY_OWNER_POLICY)),
                ),
                table(
                    "Overrides",
                    "Which protected fields are overridden, under which grant?",
                    top(counted("overrides", "field", "grant")),
                ),
                lines(
                    "Rejections by reason",
                    "Why are writes rejected?",
                    rated("outcomes", "reason", where='outcome="rejected"'),
                ),
                lines(
                    "Queued by reason",
                    "What can the matrix alone not decide?",
                    rated("outcomes", "reason", where='outcome="queued"'),
                ),
                bars(
                    "Repeats of open cases",
                    "Which conflicts are repeated while they wait?",
                    top(counted("conflict_repeats", "field"), 10),
                ),
            ),
        ),
        Row(
            "The queue",
            (
                table(
                    "Cases opened", "Whose queue grows, and what with?", top(counted("queue_opened", "owner", "reason"))
                ),
                bars(
                    "Cases closed",
                    "Do people close cases, or do they settle by themselves?",
                    counted("queue_closed", "closing"),
                ),
                bars(
                    "Cases beyond their deadline",
                    "Who has to take over what was not decided in time?",
                    counted("queue_escalated", "owner"),
                ),
                table("Open cases", "Who has how many now?", Query(over(selected("queue_open"), ("owner",)))),
                table(
                    "Age of open cases, 95th percentile",
                    "Whose cases wait longest?",
                    recorded("job_owner:ownership_queue_open_age_seconds:p95"),
                    unit="s",
                ),
                table(
                    "Open cases beyond their SLA",
                    "Which share of whose cases is too late?",
                    recorded("job_owner:ownership_queue_open_beyond_sla_per_open:ratio"),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Systems that do not follow",
            (
                lines("Restores", "Which system keeps writing what it may not?", rated("restores", "system")),
                table(
                    "Loops, values that do not land, values nobody attested",
                    "Which system shows other values than it should, and why?",
                    top(counted("disagreements_opened", "system", "reason")),
                ),
                stat(
                    "Breaker",
                    "From how many lanes is a system withheld now, because too much was sent back into it?",
                    Query(over(selected("breaker_lanes_tripped"), ("system",)), "{{system}} now"),
                    counted("breaker_trips", "system", legend="{{system}}: trips"),
                    alarm=1,
                ),
            ),
        ),
    ),
)

WEEKLY: Final = Dashboard(
    "ownership-weekly",
    "Ownership: weekly review",
    "Did the week go better than the one before, and what should change in the matrix?",
    "now-14d",
    (
        Row(
            "The seven days before the end of the time range, and the seven before those",
            (
                stat(
                    "1 Duplicates",
                    "Which share of newly created records was probably there already?",
                    *this_week_and_last("job:ownership_probable_duplicates_per_records_created:ratio1w"),
                    unit="percentunit",
                ),
                stat(
                    "2 Conflicts",
                    "How often did the systems disagree?",
                    *this_week_and_last("job:ownership_conflicts:increase1w", whole=True),
                ),
                stat(
                    "3 Overrides",
                    "How often did persons who do not own a protected field change it?",
                    *this_week_and_last("job:ownership_overrides:increase1w", whole=True),
                ),
                stat(
                    "4 Queue: age of open cases",
                    "How old is what nobody has decided: at the median, at the 95th percentile, at most?",
                    recorded("job:ownership_queue_open_age_seconds:p50", legend="median"),
                    recorded("job:ownership_queue_open_age_seconds:p50", ago="1w", legend="median, the week before"),
                    recorded("job:ownership_queue_open_age_seconds:p95", legend="p95"),
                    recorded("job:ownership_queue_open_oldest_seconds:max", legend="oldest"),
                    unit="s",
                ),
                stat(
                    "4 Queue: beyond their SLA",
                    "Which share of the open cases has passed its first deadline?",
                    *this_week_and_last("job:ownership_queue_open_beyond_sla_per_open:ratio"),
                    unit="percentunit",
                ),
                stat(
                    "5 Mean time to close a case",
                    "How long did a case take, by how it ended?",
                    recorded("job_closing:ownership_queue_closed_seconds_per_case:ratio1w", ("closing",)),
                    recorded(
                        "job_closing:ownership_queue_closed_seconds_per_case:ratio1w",
                        ago="1w",
                        legend="{{closing}}, the week before",
                    ),
                    unit="s",
                ),
                stat(
                    "6 Rejected by owner policy",
                    "Which share of write attempts did owner policy reject?",
                    *this_week_and_last("job:ownership_write_attempts_rejected_by_owner_per_attempt:ratio1w"),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "What is behind them",
            (
                bars(
                    "Conflicts by field",
                    "Which rows of the matrix cost most?",
                    top(recorded("job_field:ownership_conflicts:increase1w", ("field",), whole=True), 10),
                ),
                table(
                    "Conflicts by field against the week before",
                    "Which fields became better or worse?",
                    recorded("job_field:ownership_conflicts:increase1w_change1w"),
                    unit="percentunit",
                ),
                table(
                    "Rejected by owner policy",
                    "Which row is misunderstood or wrong, and by whom?",
                    top(
                        recorded(
                            "job_field_system_origin:ownership_write_attempts_rejected_by_owner:increase1w", whole=True
                        )
                    ),
                ),
                table(
                    "Overrides",
                    "Which owner rule does not fit the work?",
                    top(recorded("job_field_grant:ownership_overrides:increase1w", whole=True)),
                ),
                table(
                    "Cases opened",
                    "Whose queue was filled, and what with?",
                    top(recorded("job_owner_reason:ownership_queue_opened:increase1w", whole=True)),
                ),
                stat(
                    "Records created",
                    "What are duplicates a share of?",
                    recorded(
                        "job_system:ownership_records_created:increase1w", whole=True, legend="{{system}}: created"
                    ),
                    recorded(
                        "job_system:ownership_probable_duplicates:increase1w",
                        whole=True,
                        legend="{{system}}: probably there already",
                    ),
                ),
            ),
        ),
        Row(
            "Duplicates falling while the queue rises: the policy is right, the capacity to resolve is not",
            (
                lines(
                    "Duplicates",
                    "Does the matrix keep duplicates from being made?",
                    recorded("job:ownership_probable_duplicates_per_records_created:ratio1w", legend="duplicates"),
                    unit="percentunit",
                ),
                lines(
                    "Median age of open cases",
                    "Is there capacity for what is opened?",
                    recorded("job:ownership_queue_open_age_seconds:p50", legend="median"),
                    recorded("job:ownership_queue_open_age_seconds:p95", legend="p95"),
                    unit="s",
                ),
                table(
                    "Diagnoses",
                    "Which diagnoses of the rules hold?",
                    Query(
                        "count by (alertname, field) "
                        f'(ALERTS{{{JOB},alertname=~"Ownership(RemediationTooSmall|FieldDominatesRejections|OverridesRise)"}})'
                    ),
                ),
            ),
        ),
    ),
)

PIPELINE: Final = Dashboard(
    "ownership-pipeline",
    "Ownership: pipeline",
    "Is every change settled in time, and if not, what is slow or away?",
    "now-6h",
    (
        Row(
            "Now",
            (
                stat(
                    "Workers ready",
                    "Can the workers be counted on?",
                    Query(f"sum({selected('ready', of=WORKERS)})", "ready"),
                    Query(f"count({selected('ready', of=WORKERS)})", "of"),
                    width=5,
                ),
                stat(
                    "Lanes",
                    "Is everything at work, or what is it waiting for?",
                    Query(over(selected("lanes", of=WORKERS), ("state",)), "{{state}}"),
                    Query(f"{over(selected('lanes_waiting', of=WORKERS), ('need',))} > 0", "for {{need}}"),
                    width=7,
                ),
                stat(
                    "Longest without a commit",
                    "Is a lane stuck?",
                    Query(f"max({selected('lane_seconds_since_commit', of=WORKERS)})", "longest"),
                    unit="s",
                    width=4,
                    alarm=60,
                ),
                stat(
                    "Dead letters",
                    "Was anything put aside in the time that is shown?",
                    counted("dead_letters", of=WORKERS, legend="records"),
                    width=4,
                    alarm=1,
                ),
                stat(
                    "Version and matrix",
                    "What runs?",
                    Query(
                        f"count by (version, revision, mode) ({selected('build_info', of=WORKERS)})",
                        "{{version}} {{revision}} {{mode}}",
                    ),
                    width=4,
                ),
            ),
        ),
        Row(
            "In time?",
            (
                lines(
                    "Lateness",
                    "Which share of the lanes' time was late in the last hour? 0.5 % in 30 days is allowed.",
                    recorded("job_stage:ownership_lanes_late_per_lanes:ratio1h", ("stage",)),
                    unit="percentunit",
                    alarm=0.072,
                ),
                lines(
                    "From the source to the apply topic",
                    "How long does the other system not know?",
                    *quantiles("apply_latency_seconds", "system"),
                    unit="s",
                    alarm=60,
                ),
                lines(
                    "Lag",
                    "Are we behind?",
                    Query(over(selected("lag_records", of=WORKERS), ("stage", "topic")), "{{stage}} {{topic}}"),
                    unit="short",
                ),
                lines(
                    "Time without a commit",
                    "Which lanes do not get on with their work?",
                    Query(
                        f"topk(10, max by (stage, topic, partition) "
                        f"({selected('lane_seconds_since_commit', of=WORKERS)}) > 0)",
                        "{{stage}} {{topic}}[{{partition}}]",
                    ),
                    unit="s",
                    alarm=60,
                ),
            ),
        ),
        Row(
            "Throughput",
            (
                lines("Records processed", "How much passes through?", rated("records_processed", "stage", of=WORKERS)),
                lines(
                    "Changes by source",
                    "How much does each system bring, and has one fallen silent?",
                    rated("changes", "system", of=WORKERS),
                ),
                lines(
                    "Records sent",
                    "How much does each system have to apply?",
                    rated("sends", "system", "kind", of=WORKERS),
                ),
                lines(
                    "Echoes",
                    "Does what is sent come back, so does it land?",
                    rated("outcomes", "system", "reason", where='outcome="echo"', of=WORKERS),
                ),
                lines(
                    "Outcomes",
                    "How much of the traffic is echo, replay or nothing new?",
                    rated("outcomes", "outcome", of=WORKERS),
                ),
                lines(
                    "Records in a batch",
                    "Do lanes work in batches, or record by record?",
                    share(
                        rated("records_processed", "stage", of=WORKERS), rated("batches_committed", "stage", of=WORKERS)
                    ),
                    unit="short",
                ),
            ),
        ),
        Row(
            "What is slow?",
            (
                lines("A batch", "How long does a batch take?", *quantiles("batch_seconds"), unit="s"),
                lines("Kafka", "Is the broker slow to commit?", *quantiles("transaction_seconds"), unit="s"),
                lines("Redis, reading", "Is Redis slow to read?", *quantiles("state_load_seconds"), unit="s"),
                lines("Redis, writing", "Is Redis slow to write?", *quantiles("state_save_seconds"), unit="s"),
                lines("Deciding", "Is the decision itself slow?", *quantiles("step_seconds"), unit="s"),
                lines(
                    "Catch-up",
                    "How long until lanes that read states from Kafka are at work?",
                    Query(f"max by (stage) ({selected('catch_up_left_seconds', of=WORKERS)})", "{{stage}}"),
                    unit="s",
                ),
            ),
        ),
        Row(
            "What goes wrong?",
            (
                bars(
                    "Dead letters by reason",
                    "Which input cannot be read, and why?",
                    top(counted("dead_letters", "stage", "reason", of=WORKERS)),
                ),
                bars(
                    "Records ignored",
                    "Is something left out that should not be?",
                    counted("records_ignored", "reason", of=WORKERS),
                ),
                bars(
                    "Lanes recreated",
                    "Is something fighting with the workers?",
                    counted("lanes_recreated", "stage", of=WORKERS),
                ),
            ),
        ),
    ),
)

DASHBOARDS: Final = {f"{dashboard.uid}.json": dashboard for dashboard in (CONFLICTS, WEEKLY, PIPELINE)}
"""File -> what it shows."""


def text(name: str) -> str:
    """One file's content."""
    return json.dumps(rendered(DASHBOARDS[name]), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard that differs."""
    here = Path(__file__).resolve().parent
    for name in DASHBOARDS:
        path = here / name
        if not path.exists() or path.read_text(encoding="utf-8") != text(name):
            path.write_text(text(name), encoding="utf-8")
            print(f"wrote deploy/grafana/{name}")


if __name__ == "__main__":
    main()
