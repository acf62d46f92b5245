"""The whole way of a change on the embedded stack: connectors' bytes in; records, metrics, pages and commands out."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from integration.running import Running, headers_of, running
from ownership_stream.embedded import Embedded
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import JSON, Apply, Conflict, Resolution
from source_kit import PATIENT_ROW, crm_event, ehr_event, packed
from step_kit import error_headers

ANN, BEA = "0032X0000AQU10JQAT", "0032X0000BQU10JQAT"
DAY = 4017
"""1980-12-31 in days since 1970, as Debezium writes a date."""
GARBAGE = b"\xff\xfe Zebedee"
TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
START = 1_767_261_600_000
SECRETS = ("Zebedee", "zebedee", "1980-12-31", "1991-01-01")


class Clinic:
    """Both source systems of the story, each event after the one before."""

    def __init__(self, stream: Running) -> None:
        self.stream = stream
        self.moment = 0
        self.decided = 0

    def crm(self, kind: str, contact: str, user: str = "005GROW0000AJGNCQA5", **columns: Any) -> None:
        """An event of Salesforce's change data capture."""
        self.moment += 1
        header = {
            "recordIds": [contact],
            "changeType": kind,
            "changedFields": [] if kind == "CREATE" else [*columns],
            "commitNumber": 1_000 + self.moment,
            "commitTimestamp": START + self.moment * 1_000,
            "commitUser": user,
        }
        event = crm_event(header, **columns) | {"Id": contact}
        self.stream.feed("crm", None, packed(event), [TRACE])
        self._decided()

    def ehr(self, op: str, contact: str, by: str, **columns: Any) -> None:
        """An event of Debezium: the whole row, empty but for these columns."""
        self.moment += 1
        at = START + self.moment * 1_000
        row = dict.fromkeys(PATIENT_ROW) | {"patient_id": 123, "crm_id": contact, "updated_by": by}
        source = {
            "lsn": 1_000 + self.moment,
            "sequence": None,
            "ts_ms": at,
            "ts_us": at * 1_000,
            "ts_ns": at * 1_000_000,
        }
        event = ehr_event(op, source=source, **row | columns | {"updated_at": at * 1_000})
        self.stream.feed("ehr", b'{"patient_id":123}', packed(event))
        self._decided()

    def _decided(self) -> None:
        """The two topics are in no order between them: each event is decided before the next."""
        self.decided += 1
        self.stream.settled(self.decided)


def tell(stream: Running) -> None:
    """A lead becomes a patient; the CRM gets her birthday wrong, the EHR loses it; a second lead is the same woman."""
    clinic = Clinic(stream)
    lead: dict[str, Any] = {"LastName": "Zebedee", "FirstName": "Ann", "Email": "Ann@Zebedee.org"}
    clinic.crm("CREATE", ANN, Care_Stage__c="New_Lead", LeadSource="google_ads", **lead)
    clinic.ehr("c", ANN, "nurse/7", birth_date=DAY)
    clinic.crm("UPDATE", ANN, "005INTG0000000001", Birthdate="1980-12-31")
    clinic.crm("UPDATE", ANN, Birthdate="1991-01-01")
    clinic.crm("UPDATE", ANN, "005INTG0000000001", Birthdate="1980-12-31")
    clinic.ehr("u", ANN, "interface/1")
    clinic.ehr("u", ANN, "nurse/8", birth_date=DAY)
    stream.feed("ehr", b"not a key \xff", GARBAGE, [TRACE, ("x", b"\xff")])
    stream.feed("ehr", b'{"patient_id":123}', None)
    clinic.decided += 2  # the matches that follow
    clinic.crm("CREATE", BEA, Care_Stage__c="New_Lead", **lead)


@pytest.fixture(scope="module")
def stream(embedded: Embedded) -> Iterator[Running]:
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
    assert ["crm", "ehr", "crm", "crm", "crm", "ehr", "ehr"] == [change.system for change in ann]
    assert 1 == len({message.partition() for message in found if message.key() == ANN.encode()})
    assert [("row", "crm"), *[("match", "crm")] * 2] == [(one.kind, one.system) for one in changes if one.record == BEA]
    assert {ANN.encode(), BEA.encode()} == {message.key() for message in found}


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
    rows = [change for change in changes if change.kind == "row"]
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
    assert "waits for Support Lead" in stream.shown("explain", BEA)["case"]


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
