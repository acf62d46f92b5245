"""The steps: what becomes of a batch of intake, decide and match, without lanes, brokers or stores."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from avro_kit import EhrTopic
from ownership_stream import breaker, sources, steps
from ownership_stream.identity import partition_of
from ownership_stream.lane.contract import LaneRefusedError, Output, Record, StepResult
from ownership_stream.links import Homes, Settled, settle
from ownership_stream.matches import match_keys
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import LINKED_FORMAT, STATE_FORMAT, Ask, Change, Evidence, RecordState
from ownership_stream.steps import BREAKER, REGIMES, DecideStep, IntakeStep, MatchStep, unpack
from ownership_stream.store import DUE_BYTES, due_of
from ownership_stream.wire import JSON
from source_kit import CONTACT, CRM, CRM_TOPIC, EHR, EHR_TOPIC, MATRIX, changed, ehr_event, packed
from step_kit import (
    CHANGES,
    MINUTE,
    START,
    TOPICS,
    DecideLane,
    applies_in,
    changes_in,
    conflicts_in,
    decide_step,
    error_headers,
    log_record,
    on,
    others_of,
    own_headers,
    resolutions_in,
    row,
)

HEARTBEATS, TRANSACTIONS = "__debezium-heartbeat.ehr", "ehr.transaction"
SECRET = "Zebedee"
KEY = b'{"patient_id":123}'
HEADERS = [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("x", b"\xff\x00")]
SALT = b"a secret of the installation"
NAMES: dict[str, Any] = {"legal_name": {"family": "Doe", "given": "Ann"}, "date_of_birth": "1980-01-02"}
DONE: dict[str, Any] = {"follow_up_completion": {"outcome": "done", "completed_at": "2026-03-02T12:00:00.000Z"}}
LEAD: dict[str, Any] = {"care_stage": "new_lead", "legal_name": NAMES["legal_name"]}


AVRO = EhrTopic()
"""The EHR's topic as it is read where there is a registry: JSON, and Avro beside it."""


def intake() -> IntakeStep:
    """Intake of both sources by the shipped mappings."""
    ehr = AVRO.decoder
    topics = {EHR_TOPIC: ehr, HEARTBEATS: ehr, TRANSACTIONS: ehr, CRM_TOPIC: sources.decoder(CRM, MATRIX)}
    return IntakeStep(topics, TOPICS)


def taken(*values: tuple[str, bytes | None, Any], headers: Any = ()) -> StepResult:
    """What intake makes of source records: (topic, key, event or bytes)."""
    step = intake()
    records = [
        Record(topic, 0, offset, START, key, event if isinstance(event, bytes | None) else packed(event), headers)
        for offset, (topic, key, event) in enumerate(values)
    ]
    return step.run(step.decode(records), {})


def both(record: str, **fields: Any) -> list[Change]:
    """A record that both systems have, its fields written by the CRM."""
    return [row(record, 0, "crm", fields, "person", op="c"), row(record, 0, "ehr", {}, op="c")]


def ends(result: StepResult) -> Counter[str]:
    """How many changed fields ended in each outcome."""
    found: Counter[str] = Counter()
    for key, number in result.counts.items():
        if key[0] == "outcomes":
            found[f"{key[1]}: {key[2]}" if key[2] else key[1]] += number
    return found


def break_on(monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    """The decision of these changes breaks, quoting a patient."""

    def breaking(matrix: Matrix, homes: Homes, state: RecordState | None, *said: Any) -> Settled:
        if said[0].id in ids:
            raise ZeroDivisionError(SECRET)
        return settle(matrix, homes, state, *said)

    monkeypatch.setattr(steps, "settle", breaking)


# ---------------------------------------------------------------------------------------------------- intake


def test_intake_writes_changes_keyed_and_partitioned_by_record() -> None:
    """A row of the EHR and an event of the CRM about one person meet under one key in one partition."""
    result = taken((EHR_TOPIC, KEY, ehr_event()), (CRM_TOPIC, None, changed(LastName="Doe")))
    where = partition_of(CONTACT, TOPICS.partitions)
    assert [(CHANGES, CONTACT.encode(), where)] * 2 == [(out.topic, out.key, out.partition) for out in result.outputs]
    assert ["ehr", "crm"] == [change.system for change in changes_in(result.outputs)]
    assert {("changes", "ehr"): 1, ("changes", "crm"): 1} == result.counts
    assert {} == result.states


def test_an_event_of_many_records_becomes_a_change_in_each_one_s_partition() -> None:
    """Salesforce merges equal edits of many contacts into one event."""
    ids = [f"0032X0000{letter}QU10J{letter}AT" for letter in "ABcdXYz1"]
    result = taken((CRM_TOPIC, None, changed(header={"recordIds": ids}, LastName="Doe")))
    assert ids == [change.record for change in changes_in(result.outputs)]
    assert [partition_of(record, TOPICS.partitions) for record in ids] == [out.partition for out in result.outputs]
    assert len({out.partition for out in result.outputs}) > 1
    assert {("changes", "crm"): 8} == result.counts


def test_intake_passes_the_trace_on_and_no_other_header() -> None:
    """W3C trace context goes with the change; what else a connector adds stays behind."""
    [out] = taken((EHR_TOPIC, KEY, ehr_event()), headers=HEADERS).outputs
    assert HEADERS[0] in out.headers
    assert "x" not in dict(out.headers)


BAD: dict[str, tuple[str, bytes | None, Any]] = {
    "not_json": (EHR_TOPIC, KEY, b"\xff\xfe" + SECRET.encode()),
    "not_an_envelope": (CRM_TOPIC, None, {"LastName": SECRET}),
    "unsupported": (EHR_TOPIC, KEY, {"patient_id": 1, "family_name": SECRET, "__op": "u", "__deleted": "false"}),
    "not_avro": (EHR_TOPIC, KEY, AVRO.event(ehr_event(city=SECRET))[:-3]),
    "unknown_schema": (EHR_TOPIC, KEY, b"\x00\x00\x00\x00\x63" + SECRET.encode()),
    "duplicate_key": (EHR_TOPIC, KEY, packed(ehr_event(city=SECRET)).replace(b'"email":', b'"email":"a","email":', 1)),
    "too_deep": (EHR_TOPIC, KEY, b'{"op":"u","' + SECRET.encode() + b'":' + b"[" * 100_000),
    "unknown_table": (EHR_TOPIC, KEY, ehr_event(source={"table": "visit"}, city=SECRET)),
    "unknown_column": (EHR_TOPIC, KEY, ehr_event(shoe_size=SECRET)),
    "wrong_type": (EHR_TOPIC, KEY, ehr_event(birth_date=SECRET)),
    "not_canonical": (EHR_TOPIC, KEY, ehr_event(sex=SECRET)),
    "missing_key": (EHR_TOPIC, None, ehr_event(city=SECRET)),
    "bad_key": (EHR_TOPIC, KEY, ehr_event(crm_id="__" + SECRET)),
    "no_record": (EHR_TOPIC, KEY, ehr_event(crm_id=EHR.unavailable, city=SECRET)),
    "no_position": (EHR_TOPIC, KEY, ehr_event(source={"lsn": None, "sequence": None}, city=SECRET)),
    "needs_reread": (CRM_TOPIC, None, changed(header={"changeType": "GAP_OVERFLOW"}, LastName=SECRET)),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_read_is_a_dead_letter_with_everything_it_had(reason: str) -> None:
    """Its own bytes, key and headers; what is added says where and why, and quotes nothing of the patient."""
    topic, key, event = BAD[reason]
    result = taken((topic, key, event), headers=HEADERS)
    [out] = result.outputs
    told = error_headers(out.headers)
    value = event if isinstance(event, bytes) else packed(event)
    assert (TOPICS.dead_letters, key, value) == (out.topic, out.key, out.value)
    assert HEADERS == own_headers(out.headers)
    assert (topic, "0", "0", "intake: decode", reason) == tuple(
        told[name] for name in ("topic", "partition", "offset", "stage", "reason")
    )
    assert told["exception.message"]
    assert SECRET.encode() not in b"\n".join(text for _, text in out.headers)
    assert {("dead_letters", "intake", reason): 1} == result.counts


def test_the_bad_inputs_have_every_reason_there_is() -> None:
    """A reason without an example here would be a promise without a proof."""
    assert sources.REASONS.keys() == BAD.keys()


def test_a_dead_letter_s_key_may_be_anything() -> None:
    """What is no UTF-8 has a partition too, and the same one each time."""
    outs = [taken((EHR_TOPIC, b"\xff\xfe\x00", b"?")).outputs[0] for _ in range(2)]
    assert b"\xff\xfe\x00" == outs[0].key
    assert outs[0] == outs[1]
    assert 0 <= outs[0].partition < TOPICS.partitions


def test_a_letter_that_is_buried_again_says_only_where_it_broke_last() -> None:
    """Dead letters may be put back on their topic; error headers do not pile up."""
    [first] = taken((EHR_TOPIC, KEY, b"?"), headers=HEADERS).outputs
    [second] = taken((EHR_TOPIC, KEY, b"?"), headers=first.headers).outputs
    assert first.headers == second.headers


@pytest.mark.parametrize(
    ("reason", "topic", "event"),
    [
        ("tombstone", EHR_TOPIC, None),
        ("heartbeat", HEARTBEATS, {"ts_ms": START}),
        ("transaction", TRANSACTIONS, {"status": "BEGIN", "id": "5", "event_count": None, "data_collections": None}),
        ("truncate", EHR_TOPIC, ehr_event("t") | {"after": None}),
        ("message", EHR_TOPIC, ehr_event("m") | {"after": None}),
    ],
)
def test_what_rightly_leads_to_no_change_is_counted(reason: str, topic: str, event: Any) -> None:
    """Nothing is written for it, and it is not silent."""
    result = taken((topic, KEY, event))
    assert ([], {("records_ignored", reason): 1}) == (result.outputs, result.counts)


def test_a_bad_record_costs_its_neighbours_nothing() -> None:
    """The outputs keep the order of the input."""
    result = taken((EHR_TOPIC, KEY, ehr_event()), (EHR_TOPIC, KEY, b"?"), (CRM_TOPIC, None, changed(LastName="Doe")))
    assert [CHANGES, TOPICS.dead_letters, CHANGES] == [out.topic for out in result.outputs]


@pytest.mark.parametrize(
    ("stage", "reason"), [("decode", "internal"), ("step", "internal"), ("size", "size"), ("produce", "produce")]
)
@pytest.mark.parametrize(
    "step", [intake(), decide_step(), MatchStep(TOPICS, state_topic="m")], ids=lambda step: step.name
)
def test_a_record_that_breaks_its_batch_is_buried_by_the_lane(step: Any, stage: str, reason: str) -> None:
    """Each step makes the letter in the same way, under a reason of the closed list."""
    record = Record("t", 3, 7, START, b"k", b"v", HEADERS)
    out = step.dead_letter(record, stage, "a record of 9 bytes is too large for `t`")
    told = error_headers(out.headers)
    assert (TOPICS.dead_letters, b"k", b"v", HEADERS) == (out.topic, out.key, out.value, own_headers(out.headers))
    assert ("t", "3", "7", f"{step.name}: {stage}", reason, "a record of 9 bytes is too large for `t`") == tuple(
        told[name] for name in ("topic", "partition", "offset", "stage", "reason", "exception.message")
    )


# ---------------------------------------------------------------------------------------------------- decide


def test_changes_of_a_record_are_decided_one_on_the_other() -> None:
    """Within one batch each stands on the state that the one before it left."""
    lane = DecideLane()
    result = lane.decide(
        *both("r", email="a@example.org"),
        row("r", 1, "crm", {"email": "b@example.org"}, "person"),
        row("r", 2, "crm", {"email": "c@example.org"}, "person"),
    )
    assert ("c@example.org", 3) == (lane.state("r").fields["email"].value, lane.state("r").version)
    assert [{"email": f"{letter}@example.org"} for letter in "abc"] == [
        {"email": apply.after["email"]} for apply in applies_in(result.outputs, "ehr")
    ]
    assert [(1, 1), (2, 1), (3, 2)] == [
        (apply.sync.version, apply.sync.expected_version) for apply in applies_in(result.outputs, "ehr")
    ]


def test_records_of_one_batch_do_not_meet() -> None:
    """Each has its own state, however they are mixed."""
    one = "r"
    two = others_of(one, same=True)
    lane, apart = DecideLane(), DecideLane()
    histories = [[*both(name, email=f"{name}@example.org")] for name in (one, two)]
    lane.decide(*(change for pair in zip(*histories, strict=True) for change in pair))
    for history in histories:
        apart.decide(*history)
    for name in (one, two):
        assert f"{name}@example.org" == lane.state(name).fields["email"].value
        assert {one, two, BREAKER, REGIMES} == lane.stored.keys() == apart.stored.keys()


def test_a_change_of_another_lane_s_record_goes_on_to_it_as_it_is() -> None:
    """Same bytes, key and headers, the right partition; nothing is decided and no state is asked for or kept."""
    change = row("r", 0, "crm", {"email": "a@example.org"}, "person", op="c", trace={"tracestate": "a=b"})
    home = partition_of("r", TOPICS.partitions)
    record = log_record(change, 0, partition=(home + 1) % TOPICS.partitions)
    lane = DecideLane()
    assert [BREAKER, REGIMES] == lane.step.decode([record]).record_ids
    result = lane.batch([record])
    assert [Output(CHANGES, record.key, record.value, list(record.headers), home)] == result.outputs
    assert ({}, {}) == (result.states, result.counts)


@pytest.mark.parametrize("value", [None, b"", b"?", b"{}", b'{"id":"a","record":"r","shoe":1}', b"[" * 5_000])
def test_bytes_that_are_no_change_are_dead_letters(value: bytes | None) -> None:
    """Whoever else writes to the log does not stop it."""
    record = Record(CHANGES, 0, 5, START, b"k", value, HEADERS)
    result = DecideLane().batch([record])
    [out] = result.outputs
    assert (TOPICS.dead_letters, b"k", value, HEADERS) == (out.topic, out.key, out.value, own_headers(out.headers))
    assert ("decide: decode", "foreign") == (error_headers(out.headers)["stage"], error_headers(out.headers)["reason"])
    assert {("dead_letters", "decide", "foreign"): 1} == result.counts


def test_the_broker_s_time_is_when_a_change_was_received() -> None:
    """Whatever a producer claims; it is the time of applies, conflicts and cases."""
    lane = DecideLane()
    lane.decide(*both("r", **LEAD))
    claimed = row("r", 9, "crm", {"legal_name": None}, "integration", received=1, at=START + 5)
    result = lane.batch([log_record(claimed, 50, timestamp=START + 77)])
    [conflict] = conflicts_in(result.outputs)
    assert (START + 77, START + 77, "clear") == (conflict.received, conflict.opened, conflict.reason)

    written = row("r", 10, "crm", {"email": "a@example.org"}, "person", received=1)
    result = lane.batch([log_record(written, 51, timestamp=START + 78)])
    assert [START + 78] == [apply.ts_ms for apply in applies_in(result.outputs, "ehr")]


def test_a_source_time_in_the_future_is_the_broker_s_time() -> None:
    """docs/rules.md, section 2, step 13: no clock ahead of ours wins by it."""
    lane = DecideLane()
    lane.batch(
        [log_record(row("r", 0, "crm", {"email": "a@x.org"}, "person", op="c", at=START * 2), 0, timestamp=START)]
    )
    assert START == lane.state("r").fields["email"].at


def test_a_stored_state_begins_with_when_it_is_due() -> None:
    """Big-endian milliseconds; 0 where the record waits for nothing."""
    lane = DecideLane()
    lane.decide(*both("r"))
    assert (bytes(DUE_BYTES), 0) == (lane.stored["r"][:DUE_BYTES], lane.due("r"))

    lane.decide(row("r", 1, "crm", {"email": "a@example.org"}, "person"))
    sent = START + (lane.offset - 1) * MINUTE
    assert (sent + 15 * MINUTE).to_bytes(8, "big") == lane.stored["r"][:DUE_BYTES]
    assert sent + 15 * MINUTE == lane.due("r")


def test_a_tick_is_decided_like_any_change() -> None:
    """What did not come back within its time is sent once more."""
    lane = DecideLane()
    lane.decide(*both("r"), row("r", 1, "crm", {"email": "a@example.org"}, "person"))
    tick = Change(id="t", record="r", kind="tick", at=lane.due("r"))
    result = lane.batch([log_record(tick, 99, timestamp=lane.due("r"))])
    assert ["a@example.org"] == [apply.after["email"] for apply in applies_in(result.outputs, "ehr")]


def test_a_state_of_another_release_ends_the_lane() -> None:
    """It is not overwritten, and the line says what to do."""
    lane = DecideLane()
    lane.stored["r"] = bytes(DUE_BYTES) + msgspec.msgpack.encode([LINKED_FORMAT + 1, 7])
    known = f"this release reads {STATE_FORMAT} and {LINKED_FORMAT}"
    with pytest.raises(LaneRefusedError, match=f"has format {LINKED_FORMAT + 1}, and {known}"):
        lane.decide(row("r", 0, "crm", {}))


def test_a_damaged_state_ends_the_lane() -> None:
    """A state that opens only in part was written by nobody: nothing is decided on the rest of it."""
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"email": "a@example.org"}, "person"))
    before = msgspec.msgpack.decode(lane.stored["r"][DUE_BYTES:])
    fields = next(part for part in before if isinstance(part, dict) and "email" in part)
    fields["email"] = "no state of a field"
    lane.stored["r"] = lane.stored["r"][:DUE_BYTES] + msgspec.msgpack.encode(before)
    with pytest.raises(
        LaneRefusedError, match=r"the state of its record is damaged: find it with `ownership-stream verify`"
    ):
        lane.decide(row("r", 1, "crm", {"email": "b@example.org"}, "person"))


def test_a_record_never_seen_has_no_state() -> None:
    """None is not an empty state's bytes."""
    assert unpack(None) is None


def test_a_decision_ends_on_the_topics_it_belongs_to() -> None:
    """Approved to the apply topics, refused to the conflicts, how a conflict ended to the resolutions, by record."""
    lane = DecideLane()
    lane.decide(*both("r", email="a@example.org", care_stage="new_lead"))
    lane.decide(
        row("r", 1, "ehr", {"lead_source": "paid"}, "nurse"),
        row("r", 1, "ehr", {"email": "b@example.org"}, "nurse", position=(2,), base=9, event=("actor", "base")),
    )
    where = partition_of("r", TOPICS.partitions)
    assert {"apply.ehr", "apply.crm", "ownership.conflicts"} == {out.topic for out in lane.outputs}
    assert {where} == {out.partition for out in lane.outputs}
    assert [("lead_source", "rejected", "owner_policy")] == [
        (one.field, one.outcome, one.reason) for one in conflicts_in(lane.outputs)
    ]

    for number, stage in enumerate(("nurture", "qualified"), 3):
        lane.decide(row("r", number, "crm", {"care_stage": stage}, "growth_ops"))
    assert [("superseded", "stage_unknown")] == [(one.outcome, one.reason) for one in resolutions_in(lane.outputs)]


# ------------------------------------------------------------------------------------------------ decide: the breaker


def warring(number: int, value: str) -> Change:
    """An automation's forbidden write to one of many records."""
    return row(f"w{number}", 5, "crm", {"date_of_birth": value}, "integration")


def born(*numbers: int) -> list[Change]:
    """Records in both systems with a date of birth, known to the CRM."""
    changes = []
    for number in numbers:
        changes += both(f"w{number}")
        changes.append(row(f"w{number}", 1, "ehr", {"date_of_birth": "1980-01-02"}, "nurse"))
        changes.append(row(f"w{number}", 1, "crm", {"date_of_birth": "1980-01-02"}, "integration"))
    return changes


def restored_to(result: StepResult) -> list[str]:
    """The records that the CRM was sent."""
    return [apply.sync.record_id for apply in applies_in(result.outputs, "crm")]


def test_too_many_restores_withhold_what_a_system_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes go on as before; the system is sent nothing more, the other one is."""
    monkeypatch.setattr(breaker, "LIMIT", 2)
    lane = DecideLane()
    lane.decide(*born(0, 1, 2, 3, 4))
    result = lane.decide(*(warring(number, "1981-01-02") for number in range(5)))
    assert ["w0", "w1", "w2"] == restored_to(result)
    assert {"rejected: owner_policy": 5} == ends(result)
    assert [lane.offset - 3] == [(at - START) // MINUTE for at in breaker_of(lane).tripped.values()]

    result = lane.decide(
        row("w4", 7, "ehr", {"email": "a@x.org"}, "person"), row("w4", 8, "crm", {"email": "b@x.org"}, "person")
    )
    assert [] == restored_to(result)
    assert ["b@x.org"] == [apply.after["email"] for apply in applies_in(result.outputs, "ehr")]


def test_a_tripped_breaker_is_remembered_between_batches_until_a_person_resets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a state of the lane's own; after the reset what is missing is sent."""
    monkeypatch.setattr(breaker, "LIMIT", 0)
    lane = DecideLane()
    lane.decide(*born(0, 1))
    assert ["w0"] == restored_to(lane.decide(warring(0, "1981-01-02")))
    assert [] == restored_to(lane.decide(warring(1, "1981-01-02")))
    assert {"crm"} == breaker_of(lane).withheld

    anywhere = Change(id="b", record="", kind="reset_breaker", system="crm")
    other = (partition_of("", TOPICS.partitions) + 1) % TOPICS.partitions
    assert [] == lane.batch([log_record(anywhere, 90, partition=other)]).outputs
    assert frozenset() == breaker_of(lane).withheld
    assert {"w0", "w1", BREAKER, REGIMES} == lane.stored.keys()
    assert ["w1"] == restored_to(lane.decide(Change(id="t", record="w1", kind="tick")))


def breaker_of(lane: DecideLane) -> breaker.Breaker:
    """The lane's breaker."""
    return msgspec.msgpack.decode(lane.stored[BREAKER][DUE_BYTES:], type=breaker.Breaker)


def test_a_trip_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again for each restore that follows."""
    monkeypatch.setattr(breaker, "LIMIT", 0)
    lane = DecideLane()
    lane.decide(*born(0, 1))
    lane.decide(warring(0, "1981-01-02"), warring(1, "1981-01-02"))
    assert 1 == lane.counts["breaker_trips", "crm"]


# ------------------------------------------------------------------------------------------------ decide: observe mode


def test_observe_mode_decides_and_sends_nothing() -> None:
    """The same outcomes and conflicts; no apply record, and no tick is wanted."""
    changes = [
        *both("r", email="a@example.org", **LEAD),
        row("r", 1, "ehr", {"date_of_birth": "1980-01-02"}, "nurse"),
        row("r", 2, "crm", {"date_of_birth": "1990-01-02"}, "integration"),
        row("r", 3, "crm", {"legal_name": None}, "integration"),
    ]
    enforced, observed = DecideLane(), DecideLane(decide_step(observe=True))
    said, seen = enforced.decide(*changes), observed.decide(*changes)
    assert ends(said) == ends(seen)
    assert TOPICS.conflicts in {out.topic for out in seen.outputs} <= {TOPICS.conflicts, TOPICS.resolutions}
    assert {"observe"} == {conflict.mode for conflict in conflicts_in(seen.outputs)}
    assert {"enforce"} == {conflict.mode for conflict in conflicts_in(said.outputs)}
    assert {"r": 0} == {name: due_of(state) for name, state in observed.stored.items() if not name.startswith("__")}
    assert enforced.due("r") > 0
    assert {} == {key: number for key, number in seen.counts.items() if key[0] in ("sends", "restores")}


# ------------------------------------------------------------------------------------------ decide: internal errors


def broken(fields: dict[str, Any], **said: Any) -> tuple[DecideLane, RecordState, StepResult]:
    """A lane, a record's state, and what followed when the decision of its next change broke."""
    lane = DecideLane()
    lane.decide(*both("r", email="a@example.org"))
    before = lane.state("r")
    return lane, before, lane.decide(row("r", 3, "ehr", fields, "nurse", id="breaks", **said))


def test_where_the_decision_breaks_the_incoming_values_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each carried field has failed, the state stands but for a case, and the stream goes on."""
    break_on(monkeypatch, "breaks")
    columns: dict[str, Any] = {"compared": {"care_stage": "active"}, "requests": {"care_stage": "paused"}}
    lane, before, result = broken({"email": "b@example.org", "phone": SECRET}, **columns)
    after = lane.state("r")
    assert {("outcomes", "failed", "", "ehr"): 4, ("dead_letters", "decide", "internal"): 1} == {
        key: number for key, number in result.counts.items() if key[0] in ("outcomes", "dead_letters")
    }
    [case] = after.cases.values()
    assert ("", "failed", "growth_ops") == (case.field, case.reason, case.owner)
    assert before == msgspec.structs.replace(after, cases={})
    assert [] == on(result.outputs, "apply.crm")
    assert {"applied": 1} == ends(lane.decide(row("r", 4, "crm", {"email": "c@example.org"}, "person")))


def test_what_broke_is_a_dead_letter_that_names_only_the_error_s_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message could quote the patient; the change is there whole, to be replayed."""
    break_on(monkeypatch, "breaks")
    _, _, result = broken({"email": "b@example.org"})
    [letter] = on(result.outputs, TOPICS.dead_letters)
    told = error_headers(letter.headers)
    assert "breaks" == JSON.read_change(letter.value or b"").id
    assert ("decide: step", "internal", "ZeroDivisionError", "internal error: ZeroDivisionError") == tuple(
        told[name] for name in ("stage", "reason", "exception.class.name", "exception.message")
    )
    assert SECRET.encode() not in b"\n".join(text for _, text in letter.headers)


def test_people_are_told_of_each_failed_field_and_of_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, under an identity of its own, with what was proposed and by whom."""
    break_on(monkeypatch, "breaks")
    columns: dict[str, Any] = {"compared": {"care_stage": "active"}, "requests": {"care_stage": "paused"}}
    _, _, result = broken({"email": "b@example.org"}, **columns)
    told = conflicts_in(result.outputs)
    assert [
        ("decided", "email", "failed", "b@example.org", "nurse"),
        ("decided", "care_stage", "failed", "active", "nurse"),
        ("decided", "care_stage", "failed", "paused", "nurse"),
        ("opened", "", "queued", None, "nurse"),
    ] == [(one.event, one.field, one.outcome, one.proposed, one.role) for one in told]
    ids = [dict(out.headers)["ce_id"] for out in on(result.outputs, TOPICS.conflicts)]
    assert len(ids) == len(set(ids))
    assert all(one.sentence and one.advice for one in told)


def test_a_resolution_that_broke_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was done, and who waits for the answer is told so."""
    break_on(monkeypatch, "breaks")
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"care_stage": "nurture"}, op="c"))
    before = lane.state("r").cases["care_stage"]
    ask = Ask(case=before.id, action="keep")
    result = lane.decide(
        Change(id="breaks", record="r", kind="resolve", actor="g", role="growth_ops", origin="person", ask=ask)
    )
    [answer] = resolutions_in(result.outputs)
    assert ("failed", "g", before.id) == (answer.outcome, answer.actor, answer.case_id)
    assert before == lane.state("r").cases["care_stage"]


def test_a_second_failure_joins_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """One case for the record, and the record still wants its tick for that case's deadline."""
    break_on(monkeypatch, "breaks", "again")
    lane, _, _ = broken({"email": "b@example.org"})
    due = lane.due("r")
    before = lane.stored["r"]
    result = lane.decide(row("r", 4, "ehr", {"email": "c@example.org"}, "nurse", id="again"))
    assert ["decided"] == [one.event for one in conflicts_in(result.outputs)]
    assert (due, before) == (lane.due("r"), lane.stored["r"])


def test_a_record_with_a_failure_wants_a_tick_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the case goes up the chain."""
    break_on(monkeypatch, "breaks")
    lane = DecideLane()
    lane.decide(*both("r"), row("r", 1, "ehr", {"phone": "2125550100"}, "nurse", id="breaks"))
    assert lane.state("r").cases[":failed"].due == lane.due("r") > 0


def test_a_failure_does_not_put_off_what_the_record_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is under way: its tick is wanted sooner than the new case's deadline."""
    break_on(monkeypatch, "breaks")
    lane = DecideLane()
    lane.decide(*both("r"), row("r", 1, "crm", {"email": "a@example.org"}, "person"))
    due = lane.due("r")
    lane.decide(row("r", 2, "ehr", {"phone": "2125550100"}, "nurse", id="breaks"))
    assert due == lane.due("r")


def test_a_first_event_that_breaks_leaves_a_record_with_nothing_but_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """There was no state before."""
    break_on(monkeypatch, "breaks")
    lane = DecideLane()
    lane.decide(row("r", 0, "crm", {"email": "a@example.org"}, "person", op="c", id="breaks"))
    assert RecordState() == msgspec.structs.replace(lane.state("r"), cases={})


# ------------------------------------------------------------------------------------------------ decide: determinism


def story() -> list[Change]:
    """Two records of one lane: applies, rejections, queues, echoes, restores, a request, a pause, a delete."""
    two = others_of("r", same=True)
    stages = [
        row("r", number, "crm", {"care_stage": stage}, "growth_ops")
        for number, stage in enumerate(("new_lead", "qualified", "consult_booked", "intake_done", "in_care"), 10)
    ]
    return [
        *both("r", email="a@example.org", **NAMES),
        *both(two, email="z@example.org"),
        row("r", 3, "ehr", {"date_of_birth": "1980-01-02", "legal_name": NAMES["legal_name"]}, "nurse"),
        row("r", 4, "ehr", {"date_of_birth": "1980-01-02", "legal_name": NAMES["legal_name"]}, "nurse"),
        *stages,
        row(two, 3, "ehr", {"email": "z@example.org"}, marker=f"{two}-crm-0"),
        row("r", 20, "crm", {"legal_name": {"family": "Roe"}}, "growth_ops"),
        row("r", 21, "ehr", DONE, "nurse", evidence={"follow_up_completion": Evidence("provider/7", START)}),
        row("r", 22, "ehr", {"date_of_birth": None}, "integration"),
        Change(id="p", record=two, kind="pause", system="crm"),
        row(two, 23, "crm", {"email": "y@example.org", "phone": "2125550100"}, "person"),
        Change(id="q", record=two, kind="resume", system="crm"),
        row("r", 24, "ehr", {}, "clinical_ops", requests={"care_stage": "paused"}),
        row("r", 25, "ehr", {}, op="d"),
        Change(id="t", record="r", kind="tick"),
    ]  # fmt: skip


def played(cuts: tuple[int, ...], step: DecideStep | None = None) -> DecideLane:
    """The story in batches that end at these places."""
    lane, changes = DecideLane(step or decide_step(secret=SALT)), story()
    for begin, end in zip((0, *cuts), (*cuts, len(changes)), strict=True):
        lane.decide(*changes[begin:end])
    return lane


def everything(lane: DecideLane) -> tuple[list[Output], dict[str, bytes], Counter[tuple[str, ...]]]:
    """All that a lane leaves behind."""
    return lane.outputs, lane.stored, lane.counts


def test_the_story_has_something_of_everything() -> None:
    """Otherwise the tests below would prove little."""
    lane = played(())
    ended = {key[1] for key in lane.counts if key[0] == "outcomes"}
    assert {"applied", "rejected", "queued", "echo", "noop"} <= ended
    assert {*TOPICS.apply.values(), TOPICS.conflicts, TOPICS.resolutions, TOPICS.matches} == {
        out.topic for out in lane.outputs
    }


@pytest.mark.parametrize("cut", range(1, len(story())))
def test_a_batch_in_two_gives_the_same_bytes_as_one(cut: int) -> None:
    """Wherever it is cut: outputs, states and counts."""
    assert everything(played(())) == everything(played((cut,)))


def test_changes_one_by_one_give_the_same_bytes_as_one_batch() -> None:
    """The smallest batches there are."""
    assert everything(played(())) == everything(played(tuple(range(1, len(story())))))


def test_the_same_input_gives_the_same_bytes() -> None:
    """By another step with the same matrix, as after a restart on another worker."""
    assert everything(played((3, 9))) == everything(played((3, 9)))


def test_a_step_changes_nothing_it_is_given() -> None:
    """A batch that must be run again stands on the same states."""
    lane = played(())
    decoded = lane.step.decode([log_record(row("r", 30, "crm", {"email": "x@x.org"}, "person"), 99)])
    states = {name: lane.stored.get(name) for name in decoded.record_ids}
    kept = dict(states)
    lane.step.run(decoded, states)
    assert kept == states


# ---------------------------------------------------------------------------------------------------- match


def sighted(*changes: Change, secret: bytes | None = SALT) -> list[Output]:
    """What is written to the matches for these changes."""
    return on(DecideLane(decide_step(secret=secret)).decide(*changes).outputs, TOPICS.matches)


class MatchLane:
    """The match lanes: what is known under each key."""

    def __init__(self) -> None:
        self.step = MatchStep(TOPICS, state_topic="ownership.match-state")
        self.stored: dict[str, bytes] = {}

    def see(self, outputs: list[Output]) -> StepResult:
        """One batch of sightings."""
        records = [
            Record(TOPICS.matches, out.partition, offset, START, out.key, out.value, out.headers)
            for offset, out in enumerate(outputs)
        ]
        decoded = self.step.decode(records)
        result = self.step.run(decoded, {key: self.stored.get(key) for key in decoded.record_ids})
        self.stored |= result.states
        return result


def test_a_created_record_is_seen_under_each_of_its_match_keys() -> None:
    """Keyed and partitioned by the key; nothing of the patient is in it."""
    fields = {**NAMES, "email": "ann@example.org"}
    outs = sighted(row("r", 0, "crm", fields, "person", op="c"))
    keys = [key for _, key in match_keys(fields, SALT)]
    assert 5 == len(set(keys))
    assert [(key.encode(), partition_of(key, TOPICS.partitions)) for key in keys] == [
        (out.key, out.partition) for out in outs
    ]
    said = b"".join(out.value or b"" for out in outs)
    assert not [word for word in (b"Doe", b"Ann", b"1980", b"ann@") if word.lower() in said.lower()]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(row("r", 0, "crm", NAMES, "person", op="r"), id="a snapshot"),
        pytest.param(row("r", 0, "crm", NAMES, "person", op="u"), id="an update"),
        pytest.param(row("r", 0, "crm", NAMES, "person", op="c", primary=False), id="a row beside the primary one"),
        pytest.param(row("r", 0, "crm", {"legal_name": None, "date_of_birth": None}, op="c"), id="nothing to match"),
    ],
)
def test_what_creates_no_record_is_not_looked_for(change: Change) -> None:
    """Duplicates are a share of native creates."""
    assert [] == sighted(change)


def test_without_a_secret_no_duplicates_are_looked_for() -> None:
    """A key that anybody could compute would tell who is a patient."""
    assert [] == sighted(row("r", 0, "crm", NAMES, "person", op="c"), secret=None)


def created(record: str, system: str = "crm") -> list[Output]:
    """The sightings of a record that a system created."""
    return sighted(row(record, 0, system, NAMES, "person", op="c"))


def test_a_probable_duplicate_is_told_to_its_own_lane_once() -> None:
    """The later record's lane, by a change that names the earlier one; not again when the batch comes again."""
    lane = MatchLane()
    assert [] == lane.see(created("first")).outputs
    result = lane.see(created("second"))
    changes = changes_in(result.outputs)
    change = changes[0]
    assert len(changes) == len({one.id for one in changes}) == len(created("second"))
    assert ("match", "second", "first", "legal_name", "crm") == (
        change.kind, change.record, change.other, change.about, change.system,
    )  # fmt: skip
    assert partition_of("second", TOPICS.partitions) == result.outputs[0].partition
    assert b"second" == result.outputs[0].key
    assert [] == lane.see(created("second")).outputs
    assert all(bytes(DUE_BYTES) == state[:DUE_BYTES] for state in lane.stored.values())


def test_two_creates_in_one_batch_meet() -> None:
    """Whichever the log has first is the earlier one."""
    changes = changes_in(MatchLane().see([*created("first"), *created("second")]).outputs)
    assert {("second", "first")} == {(change.record, change.other) for change in changes}


@pytest.mark.parametrize("system", ["crm", "ehr"])
def test_a_record_is_not_its_own_duplicate(system: str) -> None:
    """Under the same id it is the same record, in whichever system."""
    lane = MatchLane()
    lane.see(created("first"))
    assert [] == lane.see(created("first", system)).outputs


def test_a_record_of_another_system_is_a_candidate_for_a_link() -> None:
    """All the way to one case of the later record, in which the other one's id waits; counted as no duplicate."""
    lane, matches = DecideLane(decide_step(secret=SALT)), MatchLane()
    for name, system in (("first", "crm"), ("second", "ehr")):
        lane.decide(row(name, 0, system, {**NAMES, "email": "ann@example.org"}, "person", op="c"))
    told = changes_in(matches.see(on(lane.outputs, TOPICS.matches)).outputs)
    assert {("candidate", "second", "first", "ehr")} == {(one.kind, one.record, one.other, one.system) for one in told}
    results = [lane.decide(one) for one in told]
    case = lane.state("second").cases[":link_candidate"]
    assert ("link_candidate", ["first"], 0) == (case.reason, [one.value for one in case.proposals], case.joined)
    assert 0 == sum(result.counts["probable_duplicates", "ehr"] for result in results)


def test_a_match_becomes_a_case_of_the_record() -> None:
    """All the way: created twice, told, queued with the escalation owner of the field they share, counted."""
    lane = DecideLane(decide_step(secret=SALT))
    known = {**NAMES, "care_stage": "new_lead"}
    lane.decide(*(row(name, 0, "crm", known, "person", op="c") for name in ("first", "second")))
    told, *_ = changes_in(MatchLane().see(on(lane.outputs, TOPICS.matches)).outputs)
    result = lane.decide(told)
    assert {":duplicate": ("duplicate", "clinical_ops")} == {
        name: (case.reason, case.owner) for name, case in lane.state("second").cases.items()
    }
    assert 1 == result.counts["probable_duplicates", "crm"]
    assert [("opened", "duplicate", "first")] == [
        (one.event, one.reason, one.proposed) for one in conflicts_in(result.outputs)
    ]


def test_the_trace_of_a_create_goes_through_its_sightings_to_the_match() -> None:
    """CloudEvents headers and W3C trace context stand on every record that follows from an event."""
    trace = {"traceparent": "00-a-b-01", "tracestate": "b=2"}
    first, second = (row(name, 0, "crm", NAMES, "person", op="c", trace=trace) for name in ("first", "second"))
    outs = sighted(first, second)
    for out in outs:
        headers = dict(out.headers)
        assert trace == {name: headers[name].decode() for name in trace}
        assert (b"ownership.sighting.v1", b"1.0") == (headers["ce_type"], headers["ce_specversion"])
    assert len(outs) == len({dict(out.headers)["ce_id"] for out in outs})
    matches = MatchLane().see(outs).outputs
    assert len(outs) // 2 == len(matches)
    for match in matches:
        assert trace == changes_in([match])[0].trace
        assert trace == {name: value.decode() for name, value in match.headers if name in trace}


@pytest.mark.parametrize("value", [None, b"?", b'{"key":1}', b'{"key":"a","shoe":1}'])
def test_bytes_that_are_no_sighting_are_dead_letters(value: bytes | None) -> None:
    """As everywhere."""
    result = MatchLane().see([Output(TOPICS.matches, b"k", value, HEADERS, 0)])
    [out] = result.outputs
    assert (TOPICS.dead_letters, b"k", value, HEADERS) == (out.topic, out.key, out.value, own_headers(out.headers))
    assert ("match: decode", "foreign") == (error_headers(out.headers)["stage"], error_headers(out.headers)["reason"])
    assert {("dead_letters", "match", "foreign"): 1} == result.counts
