"""The whole way of a change on the embedded stack: connectors' bytes in; records, metrics, pages and commands out."""

import io
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

import logging_kit
from integration.running import Running, headers_of, running
from integration.whole_story import ANN, BEA, GARBAGE, SECRETS, TRACE, tell
from ownership_stream.embedded import Embedded
from ownership_stream.review import Week
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import JSON, Apply, Conflict, Resolution
from step_kit import error_headers


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """All that the worker logs, down to `debug`; logging is put back afterwards."""
    with logging_kit.logged("debug", strict=False) as lines:
        yield lines


@pytest.fixture(scope="module")
def stream(embedded: Embedded, log: io.StringIO) -> Iterator[Running]:
    """The story, told to a worker that is still at work."""
    with running(embedded, hash_key=SecretStr("a key of the tests")) as worker:
        tell(worker)
        yield worker


def applied(stream: Running, system: str) -> list[Apply]:
    """What a system was sent, in its order."""
    return [JSON.read_apply(message.value() or b"") for message in stream.records(stream.settings.topic_apply(system))]


def conflicts(stream: Running) -> list[Conflict]:
    """What people were told."""
    return [JSON.read_conflict(message.value() or b"") for message in stream.records(stream.settings.topic_conflicts)]


def resolutions(stream: Running) -> list[Resolution]:
    """How it ended."""
    found = stream.records(stream.settings.topic_resolutions)
    return [JSON.read_resolution(message.value() or b"") for message in found]


def test_both_systems_rows_become_changes_of_one_record(stream: Running) -> None:
    """Keyed by the record, in one partition, in the order in which they were decided."""
    found = stream.records(stream.settings.topic_changes)
    changes = [JSON.read_change(message.value() or b"") for message in found]
    ann = [change for change in changes if change.record == ANN]
    # The chart's first row asked its key's home whose it is, and came back.
    assert ["crm", "ehr", "ehr", "crm", "crm", "crm", "ehr", "ehr"] == [change.system for change in ann]
    assert [0, 0, 2, 0, 0, 0, 0, 0] == [change.hops for change in ann]
    assert 1 == len({message.partition() for message in found if message.key() == ANN.encode()})
    assert [("row", "crm"), *[("match", "crm")] * 2] == [(one.kind, one.system) for one in changes if one.record == BEA]
    assert {ANN.encode(), BEA.encode(), b"ehr:123"} == {message.key() for message in found}


def test_what_is_approved_reaches_the_other_system_in_its_own_columns(stream: Running) -> None:
    """The EHR gets the lead when it has the patient, summaries where it may read no more; the CRM gets the birthday."""
    [to_ehr] = applied(stream, "ehr")
    assert {
        "patient_id": 123,
        "family_name": "Zebedee",
        "given_name": "Ann",
        "email": "ann@zebedee.org",
        "lead_source_group": "paid",
        "care_status": "prospect",
        "sync_change_id": to_ehr.sync.change_id,
    } == to_ehr.after
    assert ("change", ANN, "ehr") == (to_ehr.sync.kind, to_ehr.sync.record_id, to_ehr.source.db)
    birthday, restore = applied(stream, "crm")
    assert [("change", "1980-12-31"), ("restore", "1980-12-31")] == [
        (one.sync.kind, one.after["Birthdate"]) for one in (birthday, restore)
    ]
    assert {"Id", "Birthdate", "Sync_Change_Id__c"} == restore.after.keys()


def test_what_is_not_approved_is_told_to_people(stream: Running) -> None:
    """Each write once with its sentence; a case with its owner; the probable duplicate."""
    told = conflicts(stream)
    assert {
        ANN: [
            ("decided", "date_of_birth", "rejected", "owner_policy"),
            ("decided", "date_of_birth", "queued", "clear"),
            ("converged", "date_of_birth", "queued", "clear"),
        ],
        BEA: [("opened", "", "queued", "duplicate")],
    } == {
        record: [(one.event, one.field, one.outcome, one.reason) for one in told if one.record == record]
        for record in (ANN, BEA)
    }
    rejected = next(one for one in told if one.outcome == "rejected")
    assert "the EHR owns `Date of birth`, and this writer has no grant for it here" == rejected.sentence
    assert ("1991-01-01", "1980-12-31", "growth_ops") == (rejected.proposed, rejected.current, rejected.role)
    assert {"clinical_ops", "support_lead"} >= {one.owner for one in told if one.owner}


def test_what_settled_itself_is_a_resolution_of_the_matrix(stream: Running) -> None:
    """The nurse set the birthday again: the case closed by agreement."""
    assert [(ANN, "date_of_birth", "converged", "clear", "matrix")] == [
        (one.record, one.field, one.outcome, one.reason, one.actor) for one in resolutions(stream)
    ]


def test_what_cannot_be_read_is_kept_whole(stream: Running) -> None:
    """Its bytes, key and headers; ours say where and why, and nothing of its content."""
    [letter] = stream.records(stream.settings.topic_dead_letters)
    headers = headers_of(letter)
    assert (b"not a key \xff", GARBAGE) == (letter.key(), letter.value())
    assert [TRACE, ("x", b"\xff")] == headers[:2]
    told = error_headers(headers)
    [topic] = stream.settings.source_topics["ehr"]
    assert (topic, "intake: decode", "not_json") == (told["topic"], told["stage"], told["reason"])
    assert b"Zebedee" not in b"".join(value for _, value in headers)


def test_the_trace_goes_all_the_way(stream: Running) -> None:
    """W3C trace context of the source record stands on what follows from it."""
    for topic in (stream.settings.topic_apply("crm"), stream.settings.topic_conflicts):
        assert any(TRACE in headers_of(message) for message in stream.records(topic))


def test_every_record_of_ours_has_the_headers_of_cloudevents(stream: Running) -> None:
    """On every topic of ours but those of states; each name once, and an id that no other record of the topic has."""
    settings = stream.settings
    topics = (settings.topic_changes, settings.topic_conflicts, settings.topic_resolutions, settings.topic_matches)
    due = {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "content-type"}
    for topic in (*topics, *(settings.topic_apply(system) for system in ("crm", "ehr"))):
        headers = [headers_of(message) for message in stream.records(topic)]
        assert headers
        for one in headers:
            names = [name for name, _ in one]
            assert due <= set(names), topic
            assert len(names) == len(set(names))
        assert len(headers) == len({dict(one)["ce_id"] for one in headers})


def test_the_metrics_are_the_records(stream: Running) -> None:
    """Every count equals what stands on the topics, and all changed fields ended somewhere."""
    settings, told = stream.settings, conflicts(stream)
    changes = [JSON.read_change(message.value() or b"") for message in stream.records(settings.topic_changes)]
    rows = [change for change in changes if change.kind == "row" and not change.hops]
    assert Counter(change.system for change in rows) == stream.metric("changes", "system")
    assert {system: len(applied(stream, system)) for system in ("ehr", "crm")} == stream.metric("sends", "system")
    carried = sum(len(change.fields) + len(change.compared) + len(change.requests) for change in rows)
    assert carried == sum(stream.metric("outcomes").values())
    decided = Counter((one.outcome, one.reason) for one in told if one.event == "decided")
    attempts = stream.metric("write_attempts", "outcome", "reason")
    assert decided == {key: number for key, number in attempts.items() if key[0] != "applied"}
    opened = Counter(
        (one.owner, one.reason) for one in told if one.outcome == "queued" and one.event in ("opened", "decided")
    )
    assert opened == stream.metric("queue_opened", "owner", "reason")
    closed = Counter((one.outcome) for one in resolutions(stream) if one.outcome in ("converged", "superseded"))
    assert closed == stream.metric("queue_closed", "closing")
    letters = Counter(
        error_headers(headers_of(message))["reason"] for message in stream.records(settings.topic_dead_letters)
    )
    assert letters == stream.metric("dead_letters", "reason")
    assert {"tombstone": 1} == stream.metric("records_ignored", "reason")
    assert {"crm": 2, "ehr": 1} == stream.metric("records_created", "system")
    assert {"crm": 1} == stream.metric("probable_duplicates", "system")
    assert {} == stream.metric("unknown_labels", "metric")


def test_the_pages_say_that_it_is_well(stream: Running) -> None:
    """Alive, ready, and the metrics in Prometheus' text format."""
    assert (200, "alive\n") == stream.get("/healthz")
    assert (200, "ready\n") == stream.get("/readyz")
    assert "ownership_ready" in stream.get("/metrics")[1]


def test_no_patient_s_value_is_in_a_metric(stream: Running) -> None:
    """Nor a record's id."""
    page = stream.get("/metrics")[1]
    assert not [word for word in (*SECRETS, ANN, BEA) if word in page]


def test_the_report_of_the_week_counts_what_the_metrics_count(stream: Running) -> None:
    """In a process of its own, from the topics alone: the six figures, to the unit."""
    [first, *_] = stream.records(stream.settings.topic_changes)
    week = str(Week.of(first.timestamp()[1]))
    page = stream.shown("report", "--week", week)
    found = {one["key"]: one["value"] for one in page["figures"]}

    attempts = stream.metric("write_attempts", "outcome", "reason")
    assert sum(stream.metric("conflicts", "field").values()) == found["conflicts"] > 0
    assert sum(stream.metric("overrides", "grant").values()) == found["overrides"]
    assert attempts["rejected", "owner_policy"] / sum(attempts.values()) == found["rejected"]
    created, twice = (sum(stream.metric(name).values()) for name in ("records_created", "probable_duplicates"))
    assert twice / created == found["duplicates"] > 0
    assert None is found["resolution"]
    opened, closed = (stream.metric(name, "owner") for name in ("queue_opened", "queue_closed"))
    still = {owner: number - closed.get(owner, 0) for owner, number in opened.items()}
    assert {owner: number for owner, number in still.items() if number} == {
        one["owner"]: one["open"] for one in page["queues"] if one["open"]
    }
    assert [] == page["missing"]


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_the_report_holds_no_patient_s_value(stream: Running, form: str) -> None:
    """Nor a record's id; it says what the matrix said."""
    [first, *_] = stream.records(stream.settings.topic_changes)
    code, out, err = stream.command("report", "--week", str(Week.of(first.timestamp()[1])), "--format", form)

    assert (0, "") == (code, err)
    assert not [word for word in (*SECRETS, ANN, BEA) if word in out]
    assert "Date of birth" in out


def test_a_week_without_changes_has_no_figures(stream: Running) -> None:
    """And a week that is none is said in one line."""
    assert {None, 0} == {one["value"] for one in stream.shown("report", "--week", "2020-W01")["figures"]}
    said = "error: `soon` is no week: write year and ISO week, as in `2026-W47`\n"
    assert (2, "", said) == stream.command("report", "--week", "soon")


def test_no_log_line_holds_a_patient_s_value(stream: Running, log: io.StringIO) -> None:
    """Not at `debug` either, nor a record's id; and there are lines that could."""
    events = {json.loads(line)["event"] for line in log.getvalue().splitlines()}
    assert {"lane_started", "batch_committed"} <= events
    assert not [word for word in (*SECRETS, ANN, BEA) if word in log.getvalue()]


def test_explain_says_why(stream: Running) -> None:
    """In a process of its own, by the same settings: every decision again, the same as those that were made."""
    page = stream.shown("explain", ANN, "date_of_birth")
    assert ["applied", "rejected: owner_policy", "queued: clear"] == [
        ": ".join(filter(None, (one["outcome"], one["reason"]))) for one in page["decisions"]
    ]
    [field] = page["fields"]
    assert ("EHR", "•••", [], "") == tuple(field[name] for name in ("owner", "value", "disagreeing", "case"))
    begin = hash_id(hash_key(SecretStr("a key of the tests")), ANN)[:8]
    code, out, _ = stream.command("explain", f"#{begin}")
    assert 0 == code
    assert max(map(len, out.splitlines())) <= 80
    assert not [word for word in SECRETS if word in out]
    assert "Zebedee" in stream.command("explain", ANN, "--values")[1]
    assert "waits for Support Lead" in stream.shown("explain", BEA)["cases"][0]


def test_disagreements_say_what_is_open(stream: Running) -> None:
    """What was sent has not come back, for nobody writes back here; nothing is unexplained."""
    found = stream.shown("disagreements")["disagreements"]
    assert [("ehr", field, "under way", 1) for field in ("care_stage", "email", "lead_source", "legal_name")] == [
        (one["system"], one["field"], one["why"], one["records"]) for one in found
    ]
    code, out, err = stream.command("disagreements", "--records")
    assert (0, "") == (code, err)
    assert not [word for word in (*SECRETS, ANN, BEA) if word in out]


def test_a_record_that_nobody_knows_is_one_line(stream: Running) -> None:
    """Exit code 2, on stderr."""
    assert (2, "", "error: no record `nobody`: give its record id, or its hash as `#3f2a`\n") == stream.command(
        "explain", "nobody"
    )
