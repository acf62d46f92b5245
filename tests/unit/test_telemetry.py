"""Metrics and log lines: what is counted, what is there at zero, and that neither can carry a patient's values."""

import ast
import io
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from rich.console import Console

import logging_kit
from ownership_stream.matrix.compile import load_document
from ownership_stream.outcomes import OUTCOMES
from ownership_stream.telemetry import (
    BURIALS,
    CATALOGUE,
    Bounds,
    HashedId,
    LaneTelemetry,
    Telemetry,
    Terminal,
    bounds_of,
    configure_logging,
    get_logger,
    hash_id,
    hash_key,
    only_log_lines,
)
from ownership_stream.telemetry.catalogue import DOMAINS, OPEN, Kind
from ownership_stream.telemetry.log import FIELDS, UnsafeLogError

ROOT = Path(__file__).resolve().parents[2]
BOUNDS = Bounds(
    fields=("legal_name", "email"),
    systems=("ehr", "crm"),
    outcomes=(("noop", ""), ("applied", ""), ("rejected", "stale"), ("rejected", "owner_policy"), ("queued", "tie")),
    grants=(("legal_name", "secondary: intake_ops in ehr"),),
    owners=("clinical_ops",),
    case_reasons=("tie", "diverged"),
    dead_letter_reasons=("json", *BURIALS.values()),
)


class Lane(NamedTuple):
    """A lane as the observer sees it."""

    stage: str
    topic: str
    partition: int


class Timings(NamedTuple):
    """Binary fractions, so that sums are exact."""

    decode: float = 0.25
    load: float = 0.5
    step: float = 0.25
    commit: float = 1.0
    save: float = 0.5

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


def series(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """(sample name, label values in the order of their names) -> value, of everything that a scrape would see."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
    }


def above_zero(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """The series that have counted something."""
    return {key: value for key, value in series(telemetry).items() if value}


@pytest.fixture
def telemetry() -> Telemetry:
    """Counts with small bounds."""
    return Telemetry(BOUNDS)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as text; logging is put back afterwards."""
    with logging_kit.logged("debug", strict=False) as stream:
        yield stream


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines so far, without their times."""
    return [{k: v for k, v in json.loads(line).items() if k != "timestamp"} for line in stream.getvalue().splitlines()]


def test_every_closed_series_is_there_at_zero_before_the_first_event(telemetry: Telemetry) -> None:
    """A series first seen at 1 shows no increase, so each combination of known labels exists from the start."""
    rows = series(telemetry)

    assert 0.0 == rows["ownership_write_attempts_total", "legal_name", "enforce", "person", "rejected", "stale", "crm"]
    attempts = [key for key in rows if key[0] == "ownership_write_attempts_total"]
    assert len(attempts) == 2 * 4 * 2 * 2
    assert {} == above_zero(telemetry)


def test_the_labels_are_bounded_by_the_matrix_and_the_tables() -> None:
    """The default matrix bounds every label: its fields, systems, escalation owners and grants, each outcome once."""
    matrix = load_document(ROOT / "matrix" / "patient.yaml").matrix
    bounds = bounds_of(matrix, dead_letter_reasons=("not_json", "foreign"), ignored_reasons=("tombstone",))

    assert (tuple(matrix.fields), ("ehr", "crm")) == (bounds.fields, bounds.systems)
    assert set(OUTCOMES) == set(bounds.outcomes)
    assert ("legal_name", "override: provider in ehr") in bounds.grants
    assert [] == [grant for _, grant in bounds.grants if grant.startswith("owner")]
    assert ("not_json", "foreign", "internal", "size", "produce") == bounds.dead_letter_reasons
    assert {} == above_zero(Telemetry(bounds))


def test_a_noop_is_no_write_attempt(telemetry: Telemetry) -> None:
    """Attempts are the applied, rejected and queued writes; noops stand in the outcomes only."""
    names = {key[0] for key in series(telemetry) if "noop" in key}

    assert {"ownership_outcomes_total"} == names


def test_counts_are_added_by_name_and_label_values(telemetry: Telemetry) -> None:
    """The first word of a count names the metric, the others are its labels in the catalogue's order."""
    counts = Counter(
        {
            ("write_attempts", "email", "rejected", "stale", "crm", "person"): 2,
            ("overrides", "legal_name", "secondary: intake_ops in ehr"): 1,
        }
    )

    telemetry.count(counts)
    telemetry.count(counts)

    assert {
        ("ownership_write_attempts_total", "email", "enforce", "person", "rejected", "stale", "crm"): 4.0,
        ("ownership_overrides_total", "legal_name", "secondary: intake_ops in ehr", "enforce"): 2.0,
    } == above_zero(telemetry)


def test_observe_mode_is_a_label_of_its_own() -> None:
    """What was only observed is in no series that a figure asks for."""
    telemetry = Telemetry(BOUNDS, mode="observe")

    telemetry.count({("sends", "ehr", "change"): 1})

    assert {("ownership_sends_total", "change", "observe", "ehr"): 1.0} == above_zero(telemetry)
    assert [] == [key for key in series(telemetry) if "enforce" in key]


def test_labels_outside_their_closed_set_make_no_new_series(telemetry: Telemetry) -> None:
    """A value that slipped into a label is not shown; that it happened is."""
    telemetry.count({("sends", "Ann Doe", "change"): 3})

    assert {("ownership_unknown_labels_total", "sends"): 3.0} == above_zero(telemetry)
    assert b"Ann Doe" not in telemetry.render()


def test_a_count_that_the_catalogue_does_not_know_is_a_mistake_of_the_program(telemetry: Telemetry) -> None:
    """An unknown name and a wrong number of labels are raised, not swallowed."""
    with pytest.raises(KeyError, match="no_such_metric"):
        telemetry.count({("no_such_metric",): 1})
    with pytest.raises(ValueError, match=r"`sends` has the labels .*, 1 values were given"):
        telemetry.count({("sends", "ehr"): 1})


def test_a_count_of_a_histogram_ends_with_the_value_that_was_observed(telemetry: Telemetry) -> None:
    """As often as it is counted, in the buckets that fit people's time."""
    telemetry.count({("resolution_seconds", "clinical_ops", "600"): 2})

    rows = series(telemetry)
    assert 2.0 == rows["ownership_resolution_seconds_count", "enforce", "clinical_ops"]
    assert 1_200.0 == rows["ownership_resolution_seconds_sum", "enforce", "clinical_ops"]
    assert (0.0, 2.0) == tuple(
        rows["ownership_resolution_seconds_bucket", le, "enforce", "clinical_ops"] for le in ("60.0", "900.0")
    )


def test_a_moment_is_observed_as_the_time_since() -> None:
    """The source's clock may be ahead of ours: then it took no time."""
    telemetry = Telemetry(BOUNDS, clock=lambda: 1_000.0)

    telemetry.count({("apply_latency_seconds", "crm", "998500"): 1, ("apply_latency_seconds", "crm", "1002000"): 1})
    rows = series(telemetry)
    assert (2.0, 1.5) == tuple(
        rows[f"ownership_apply_latency_seconds_{part}", "enforce", "crm"] for part in ("count", "sum")
    )


def test_an_observed_value_under_an_unknown_label_makes_no_series(telemetry: Telemetry) -> None:
    """As with counters; and a histogram without its value is a mistake of the program."""
    telemetry.count({("resolution_seconds", "Ann Doe", "600"): 1})

    assert {("ownership_unknown_labels_total", "resolution_seconds"): 1.0} == above_zero(telemetry)
    with pytest.raises(ValueError, match=r"`resolution_seconds` has the labels .*, 0 values were given"):
        telemetry.count({("resolution_seconds", "600"): 1})


def test_lanes_that_wait_are_counted_by_what_they_wait_for(telemetry: Telemetry) -> None:
    """Each by the beginning of its reason; what changes its mind or goes on waits for the former no more."""
    observer = LaneTelemetry(telemetry)
    first, second = Lane("decide", "t", 0), Lane("decide", "t", 1)

    def waits() -> dict[str, float]:
        return {key[1]: value for key, value in above_zero(telemetry).items() if key[0] == "ownership_lanes_waiting"}

    observer.waiting(first, "redis: ConnectionError: refused")
    observer.waiting(second, "kafka: cannot start transactions")
    assert {"redis": 1.0, "kafka": 1.0} == waits()
    observer.waiting(second, "schema registry: does not answer")
    observer.waiting(first, "the moon is full")
    assert {"registry": 1.0, "other": 1.0} == waits()
    observer.recovered(second)
    observer.stopped(first)
    assert {} == waits()
    assert 1.0 == above_zero(telemetry)["ownership_lanes", "decide", "working"]


def test_the_build_says_one_version_at_a_time(telemetry: Telemetry) -> None:
    """A new matrix revision takes the place of the old one."""
    telemetry.describe(version="1", revision="a")
    telemetry.describe(version="1", revision="b")

    assert {("ownership_build_info", "enforce", "b", "1"): 1.0} == above_zero(telemetry)


def test_the_catalogue_keeps_its_own_conventions() -> None:
    """Names are unique, units are said, domains are known, seconds are called seconds, no `_total` is written."""
    names = [metric.name for metric in CATALOGUE]

    assert len(names) == len(set(names))
    for metric in CATALOGUE:
        assert metric.meaning
        assert metric.question
        assert set(metric.domains) <= DOMAINS.keys()
        assert not metric.name.endswith("_total")
        assert ("seconds" in metric.name) == (metric.unit == "seconds")
        assert metric.kind is not Kind.HISTOGRAM or metric.unit == "seconds"
        assert len(metric.labels) == len(set(metric.labels))
        assert "record" not in metric.labels


def counted() -> Iterator[tuple[str, int]]:
    """(metric, number of labels) of every `counts[…]` in the program, and of the reasons given as constants."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] == "counts":
                words = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
                if words and isinstance(words[0], ast.Constant):
                    yield str(words[0].value), len(words) - 1


def test_whatever_the_program_counts_is_in_the_catalogue_with_as_many_labels() -> None:
    """A count that the catalogue does not know would only be found out at run time, after a commit.

    Of a histogram the observed value stands after the labels.
    """
    known = {metric.name: len(metric.labels) + (metric.kind is Kind.HISTOGRAM) for metric in CATALOGUE}

    assert [] == [(name, labels) for name, labels in counted() if known.get(name) != labels]
    assert 10 < len(list(counted()))


def test_no_created_series_are_exported(telemetry: Telemetry) -> None:
    """They double the size of a scrape, and nobody asks when a counter began."""
    assert [] == [key[0] for key in series(telemetry) if key[0].endswith("_created")]


def test_a_committed_batch_is_counted_and_timed(telemetry: Telemetry) -> None:
    """Its happenings, records and parts' times are counted once it is committed."""
    lane = Lane("decide", "ownership.changes", 3)
    observer = LaneTelemetry(telemetry)
    observer.started(lane, 0)
    observer.committed(lane, records=5, outputs=2, counts=Counter({("sends", "crm", "change"): 2}), timings=Timings())

    rows = {key: value for key, value in above_zero(telemetry).items() if "_bucket" not in key[0]}
    assert {
        ("ownership_sends_total", "change", "enforce", "crm"): 2.0,
        ("ownership_records_processed_total", "3", "decide", "ownership.changes"): 5.0,
        ("ownership_batches_committed_total", "3", "decide", "ownership.changes"): 1.0,
        ("ownership_lanes", "decide", "working"): 1.0,
        ("ownership_batch_seconds_count", "decide"): 1.0,
        ("ownership_batch_seconds_sum", "decide"): 2.5,
        ("ownership_transaction_seconds_count", "decide"): 1.0,
        ("ownership_transaction_seconds_sum", "decide"): 1.0,
        ("ownership_state_load_seconds_count", "decide"): 1.0,
        ("ownership_state_load_seconds_sum", "decide"): 0.5,
        ("ownership_state_save_seconds_count", "decide"): 1.0,
        ("ownership_state_save_seconds_sum", "decide"): 0.5,
        ("ownership_step_seconds_count", "decide"): 1.0,
        ("ownership_step_seconds_sum", "decide"): 0.5,
    } == rows


def test_the_series_of_a_lane_come_at_zero_and_go_with_it(telemetry: Telemetry) -> None:
    """A lane that moved to another worker must not stand here with its last lag for ever."""
    lane = Lane("intake", "ehr.patient", 0)
    observer = LaneTelemetry(telemetry)
    of_lane = {
        ("ownership_lag_records", "0", "intake", "ehr.patient"),
        ("ownership_records_processed_total", "0", "intake", "ehr.patient"),
    }

    observer.started(lane, 7)
    assert [0.0, 0.0] == [series(telemetry)[key] for key in sorted(of_lane)]
    observer.lagging(lane, 9)
    assert 9.0 == series(telemetry)["ownership_lag_records", "0", "intake", "ehr.patient"]
    observer.stopped(lane)
    assert set() == of_lane & series(telemetry).keys()
    assert {} == above_zero(telemetry)


def test_lanes_are_counted_by_what_they_do(telemetry: Telemetry) -> None:
    """The gauge follows each lane from state to state, and a lane waits aloud only once."""
    observer = LaneTelemetry(telemetry)
    first, second = Lane("decide", "t", 0), Lane("decide", "t", 1)

    def lanes() -> dict[str, float]:
        return {
            key[2]: value
            for key, value in series(telemetry).items()
            if key[0] == "ownership_lanes" and key[1] == "decide"
        }

    observer.started(first, 0)
    observer.started(second, 0)
    assert {"starting": 0.0, "working": 2.0, "waiting": 0.0} == lanes()
    observer.waiting(second, "redis does not answer")
    observer.waiting(second, "redis does not answer")
    assert {"starting": 0.0, "working": 1.0, "waiting": 1.0} == lanes()
    observer.recreated(second, "fenced")
    assert {"starting": 1.0, "working": 1.0, "waiting": 0.0} == lanes()
    assert 1.0 == series(telemetry)["ownership_lanes_recreated_total", "decide"]


def test_what_happens_to_lanes_is_logged_without_what_records_hold(lines: io.StringIO, telemetry: Telemetry) -> None:
    """A buried record is named by place; its error may carry a value, and stays out."""
    lane = Lane("decide", "t", 0)
    observer = LaneTelemetry(telemetry)

    observer.caught_up(lane, 10, 0.25)
    observer.waiting(lane, "redis does not answer")
    observer.waiting(lane, "redis does not answer")
    observer.buried(lane, 42, "step", "ValueError: Ann Doe")
    observer.noticed(lane, "offset 3 was skipped")

    place = {"component": "lane", "stage": "decide", "topic": "t", "partition": 0}
    assert [
        {**place, "event": "lane_caught_up", "level": "info", "records": 10, "seconds": 0.25},
        {**place, "event": "lane_waiting", "level": "warning", "detail": "redis does not answer"},
        {**place, "event": "record_buried", "level": "warning", "offset": 42, "reason": "step"},
        {**place, "event": "lane_noticed", "level": "warning", "detail": "offset 3 was skipped"},
    ] == logged(lines)
    assert {("ownership_dead_letters_total", "internal", "decide"): 1.0}.items() <= above_zero(telemetry).items()


def test_a_refused_resolution_is_logged(lines: io.StringIO, telemetry: Telemetry) -> None:
    """By lane and reason; who asked stands on the topic of resolutions. What was done is no line."""
    lane = Lane("decide", "t", 0)
    counts = Counter({("resolutions", "refused", "not_the_owner"): 2, ("resolutions", "kept", ""): 1})

    LaneTelemetry(telemetry).committed(lane, records=3, outputs=3, counts=counts, timings=Timings())

    said = [line for line in logged(lines) if line["level"] == "warning"]
    place = {"component": "lane", "stage": "decide", "topic": "t", "partition": 0}
    event = {"event": "resolution_refused", "level": "warning", "reason": "not_the_owner", "records": 2}
    assert [place | event] == said


class Clock:
    """Seconds of the test's own."""

    now = 50.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def test_a_lane_that_has_lag_and_does_not_commit_is_seen_to_be_stuck(telemetry: Telemetry) -> None:
    """The time counts from the last commit, or from where the lag began; without lag nothing is stuck."""
    lane, clock = Lane("decide", "t", 0), Clock()
    observer = LaneTelemetry(telemetry, clock=clock)

    def stuck() -> float:
        return series(telemetry)["ownership_lane_seconds_since_commit", "0", "decide", "t"]

    observer.started(lane, 0)
    observer.lagging(lane, 0)
    clock.now += 100
    observer.lagging(lane, 3)
    assert 0.0 == stuck()
    clock.now += 30
    observer.lagging(lane, 3)
    assert 30.0 == stuck()
    observer.committed(lane, records=1, outputs=0, counts=Counter(), timings=Timings())
    assert 0.0 == stuck()
    clock.now += 7
    observer.lagging(lane, 2)
    assert 7.0 == stuck()
    observer.lagging(lane, 0)
    assert 0.0 == stuck()
    observer.stopped(lane)
    assert [] == [key for key in series(telemetry) if key[0] == "ownership_lane_seconds_since_commit"]


def test_a_catch_up_is_told_at_its_beginning_now_and_then_and_at_its_end(
    lines: io.StringIO, telemetry: Telemetry
) -> None:
    """Records, rate and time left; what is left is reckoned by what the offsets passed held."""
    lane, clock = Lane("decide", "t", 0), Clock()
    observer = LaneTelemetry(telemetry, clock=clock)

    observer.catching_up(lane, 0, 20_000, 0.0)
    for second in range(1, 8):
        clock.now += 1
        observer.catching_up(lane, 1_000 * second, 20_000 - 2_000 * second, float(second))
    assert {
        ("ownership_catch_up_records_total", "decide"): 7_000.0,
        ("ownership_catch_up_left_records", "decide"): 3_000.0,
        ("ownership_catch_up_left_seconds", "decide"): 3.0,
        ("ownership_lanes", "decide", "starting"): 1.0,
    } == above_zero(telemetry)
    observer.caught_up(lane, 10_000, 10.0)
    assert 10_000.0 == above_zero(telemetry)["ownership_catch_up_records_total", "decide"]
    assert 10.0 == above_zero(telemetry)["ownership_catch_up_seconds_total", "decide"]
    assert 0.0 == series(telemetry)["ownership_catch_up_left_records", "decide"]

    place = {"component": "lane", "stage": "decide", "topic": "t", "partition": 0, "level": "info"}
    assert [
        {**place, "event": "lane_catching_up", "records": 0, "left": 20_000},
        {**place, "event": "lane_catching_up", "records": 5_000, "left": 5_000, "rate": 1_000, "seconds_left": 5.0},
        {**place, "event": "lane_caught_up", "records": 10_000, "seconds": 10.0},
    ] == logged(lines)


def test_a_catch_up_of_a_marker_is_told_at_its_end_only(lines: io.StringIO, telemetry: Telemetry) -> None:
    """That is what most starts are."""
    observer = LaneTelemetry(telemetry)
    observer.catching_up(Lane("decide", "t", 0), 0, 1, 0.0)
    observer.caught_up(Lane("decide", "t", 0), 0, 0.01)
    assert ["lane_caught_up"] == [line["event"] for line in logged(lines)]


@pytest.mark.parametrize("ending", ["recreated", "waiting", "stopped"])
def test_a_catch_up_that_ends_early_leaves_nothing_behind(telemetry: Telemetry, ending: str) -> None:
    """Begun again, it counts anew what it reads."""
    lane = Lane("decide", "t", 0)
    observer = LaneTelemetry(telemetry)
    observer.catching_up(lane, 0, 100, 0.0)
    observer.catching_up(lane, 10, 80, 1.0)
    getattr(observer, ending)(lane, *["away"] * (ending != "stopped"))
    assert 0.0 == series(telemetry)["ownership_catch_up_left_records", "decide"]
    observer.catching_up(lane, 0, 80, 0.0)
    observer.catching_up(lane, 10, 60, 1.0)
    assert 20.0 == above_zero(telemetry)["ownership_catch_up_records_total", "decide"]
    assert 30.0 == above_zero(telemetry)["ownership_catch_up_left_records", "decide"]


def test_a_terminal_shows_each_lane_that_catches_up_below_the_log(telemetry: Telemetry) -> None:
    """One line per lane, gone with its end; elsewhere the log says the same."""
    shown = io.StringIO()
    terminal = Terminal(Console(file=shown, force_terminal=True, width=120, _environ={}))
    observer = LaneTelemetry(telemetry)
    observer.show_on(terminal)
    lane = Lane("decide", "ownership.changes", 3)
    observer.catching_up(lane, 0, 1_000_000, 0.0)
    observer.catching_up(lane, 412_000, 588_000, 4.9)
    terminal.stream.write("a line of the log\n")
    terminal._live.refresh()
    observer.caught_up(lane, 1_000_000, 11.0)
    line = "catching up decide ownership.changes[3]  412,000 / 1,000,000 records  84,082/s  7 s left"
    assert line in shown.getvalue()
    assert "a line of the log" in shown.getvalue()
    assert not terminal._live.is_started


def test_a_field_that_is_not_allowed_is_left_out_and_named(lines: io.StringIO) -> None:
    """An unknown field never reaches the log, and that it was left out is seen."""
    get_logger("x").info("change_decided", topic="t", patient="Ann Doe", email="ann@example.org")

    assert [
        {"component": "x", "event": "change_decided", "level": "info", "topic": "t", "left_out": ["email", "patient"]}
    ] == logged(lines)


@pytest.mark.parametrize(
    "fields",
    [{"record": "P-1"}, {"detail": ["Ann"]}, {"detail": "x" * 301}, {"counts": {"a": "Ann"}}, {"field": b"Ann"}],
)
def test_an_allowed_field_may_hold_only_what_is_meant(lines: io.StringIO, fields: dict[str, Any]) -> None:
    """A record is a hash, texts are short, and structures are counts."""
    get_logger("x").info("change_decided", **fields)

    assert [{"component": "x", "event": "change_decided", "level": "info", "left_out": list(fields)}] == logged(lines)


def test_the_event_is_a_name_and_not_a_sentence(lines: io.StringIO) -> None:
    """A sentence could hold a value; a name cannot."""
    get_logger("x").info("Ann Doe was changed")

    assert [{"component": "x", "event": "line_refused", "level": "info", "left_out": ["event"]}] == logged(lines)


def test_strict_logging_raises_instead_of_leaving_out() -> None:
    """In tests a line that would lose a part is a failure."""
    configure_logging(stream=io.StringIO(), strict=True)
    try:
        with pytest.raises(UnsafeLogError, match="may not have `patient`"):
            get_logger("x").info("change_decided", patient="Ann Doe")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()


def test_an_exception_is_told_by_class_and_place_only(lines: io.StringIO) -> None:
    """Its message often quotes the value that it could not bear."""
    try:
        int("Ann Doe")
    except ValueError:
        get_logger("x").exception("batch_failed")
        logging.getLogger("aiokafka").exception("no such number")

    first, second = logged(lines)
    assert (first["error"], second["error"]) == ("ValueError", "ValueError")
    assert first["where"].startswith("test_telemetry.py:")
    assert "Ann Doe" not in lines.getvalue()


def test_a_library_keeps_its_wording_and_loses_the_texts_put_into_it(lines: io.StringIO) -> None:
    """What a library quotes may be a record; numbers and the sentence are enough to find the place."""
    log = logging.getLogger("aiokafka.consumer")
    log.warning("cannot decode %r at offset %d of %s", b"Ann", 7, "Ann Doe")
    log.warning("%(name)s", {"name": "Ann Doe"})
    log.warning("%d", Decimal(3))
    log.warning({"name": "Ann Doe"})
    log.info("not said")

    details = [line["detail"] for line in logged(lines)]
    assert ["cannot decode '<bytes>' at offset 7 of <str>", "<str>", "%d", "<dict>"] == details
    assert {"library_line"} == {line["event"] for line in logged(lines)}


def test_our_own_modules_may_name_topics_through_the_standard_logger(lines: io.StringIO) -> None:
    """Their texts stay and their `info` is heard; exceptions are still told by class."""
    logging.getLogger("ownership_stream.app").info("lane of %s ended: %s", "apply.ehr", ValueError("Ann Doe"))

    assert ["lane of apply.ehr ended: <ValueError>"] == [line["detail"] for line in logged(lines)]


def test_only_log_lines_reach_stderr(lines: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback that a library prints, or that ends a thread, carries messages; the log line does not."""

    def fail() -> None:
        int("Ann Doe")

    with only_log_lines():
        print("Ann Doe", file=sys.stderr)  # noqa: T201 (what a library does)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        get_logger("x").info("still_heard")
    print("after", file=sys.stderr)  # noqa: T201 (as above)

    assert "after\n" == capsys.readouterr().err
    failed, heard = logged(lines)
    assert ("thread_failed", "ValueError") == (failed["event"], failed["error"])
    assert "still_heard" == heard["event"]
    assert "Ann Doe" not in lines.getvalue()


def test_a_record_is_named_by_a_keyed_hash() -> None:
    """The same id and key give the same name; another key another one; and the id cannot be read from it."""
    ours = hash_id(hash_key(SecretStr("a")), "P-123")

    assert ours == hash_id(hash_key(SecretStr("a")), "P-123")
    assert ours != hash_id(hash_key(SecretStr("b")), "P-123")
    assert isinstance(ours, HashedId)
    assert 16 == len(ours)
    assert "123" not in ours


def test_without_a_hash_key_the_hashes_of_a_process_match_only_each_other() -> None:
    """The random key is made once for the process."""
    assert hash_id(hash_key(None), "P-1") == hash_id(hash_key(None), "P-1")
    assert hash_id(hash_key(None), "P-1") != hash_id(hash_key(SecretStr("")), "P-1")


def test_an_id_with_a_lone_surrogate_can_be_hashed() -> None:
    """Broken text in an id must not break the line that tells of it."""
    assert 16 == len(hash_id(b"k", "\ud800"))


def test_no_allowed_field_is_named_like_patient_data() -> None:
    """The list of allowed fields speaks of streams, not of people."""
    assert set() == FIELDS & {"value", "name", "email", "phone", "birth", "patient", "key", "payload", "message"}


def test_open_domains_are_only_those_that_come_with_lanes_and_the_build() -> None:
    """Every other label is bounded from the start."""
    assert {"lanes", "build"} == OPEN
