"""The judge, on invented histories: it passes a right one, and names each fault on the input that it befell."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avro_kit import Shelf, registry
from chaos.apart import SideBySide
from chaos.clinic import ehr_event
from chaos.columns import Partition, Place, Receipts
from chaos.counted import is_control
from chaos.invented import (
    CHANGES,
    DOCUMENTS,
    SETTINGS,
    STAGES,
    STATES,
    World,
    beside,
    instead,
    story,
    swapped,
    without,
)
from chaos.judge import Verdict, compare_metrics, judge
from chaos.witness import Cache, Fed, Witness
from ownership_stream import assembly
from ownership_stream.lane.contract import Record, StepResult
from ownership_stream.settings import WireFormat
from ownership_stream.store import due_of
from ownership_stream.wire.avro_wire import wire_of
from source_kit import PATIENT_ROW

LETTERS = SETTINGS.topic_dead_letters
OUTPUTS = (SETTINGS.topic_apply("crm"), SETTINGS.topic_conflicts, SETTINGS.topic_resolutions, SETTINGS.topic_matches)
SEEDS = range(4)


@cache
def world(seed: int = 0) -> World:
    """An invented history that is right."""
    return story(seed)


@cache
def right(seed: int = 0) -> Witness:
    """What it left."""
    return world(seed).witness()


def faults(verdict: Verdict) -> dict[Place, str]:
    """What was said of inputs that were not decided once."""
    return {place: one.word for place, one in verdict.inputs.items() if one.word != "decided once"}


def place(record: Record) -> Place:
    """Where a record stands."""
    return record.topic, record.partition, record.offset


def ce_id(record: Record) -> str:
    """A record's own id, which begins with that of its change."""
    return dict(record.headers).get("ce_id", b"").decode()


@cache
def parents() -> dict[str, list[Place]]:
    """Change id -> the source records that give it, read by intake from each alone."""
    intake = STAGES[0].step
    found: dict[str, list[Place]] = {}
    for record in right().inputs:
        for output in intake.decode([record]).outputs:
            name = dict(output.headers).get("ce_id", b"").decode()
            found.setdefault(name, []).append(place(record))
    return found


def origin(record: Record) -> Place | None:
    """The one source record that an output came from; none where two gave the same change, or a tick did."""
    change = ce_id(record).partition(":")[0]
    if record.topic == SETTINGS.topic_matches:
        change = json.loads(record.value or b"")["change_id"]
    places = parents().get(change, [])
    return places[0] if len(places) == 1 else None


def an_output(topic: str) -> Record:
    """One of a topic's records in the middle of things whose origin is known."""
    known = [record for record in right().records[topic] if origin(record) is not None]
    return known[len(known) // 2]


def last_state() -> tuple[Record, Place]:
    """The last state of some record on the changelog, and the source record that it is of."""
    changes = {record.key: record for record in right().records[CHANGES]}
    for record in reversed(right().records[STATES]):
        change = changes.get(record.key)
        if change is not None and change.partition == record.partition and (source := origin(change)) is not None:
            return record, source
    raise AssertionError("no such state")


# ---------------------------------------------------------------------------------------------- a right one


@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_history_is_decided_once(seed: int) -> None:
    """Every input, ticks and what was fed to the changes included; and something of everything is in it."""
    witness = right(seed)
    verdict = judge(witness, STAGES)
    assert verdict.ok, str(verdict)
    ticks_and_garbage = 3
    assert {"decided once": len(witness.inputs) + ticks_and_garbage} == verdict.counts
    assert all(witness.records.values())
    assert "decided once" in str(verdict)


def test_batches_decide_like_their_records_one_by_one() -> None:
    """What the judge rests on: lanes cut in other places leave other transactions, and none is found fault with."""
    for seed in range(10, 13):
        verdict = judge(story(seed, events=400).witness(), STAGES)
        assert verdict.ok, str(verdict)


def test_a_history_in_avro_is_read_as_the_setting_says() -> None:
    """A tick in Avro is an input of its own to who reads Avro, and nobody's record to who reads JSON."""
    settings = SETTINGS.model_copy(update={"wire": WireFormat.AVRO})
    known = registry(Shelf())
    stages, wire = assembly.stages(settings, *DOCUMENTS, known), wire_of(settings, registry=known)
    witness = story(5, stages=stages, wire=wire).witness()
    verdict = judge(witness, stages, wire=wire)
    assert verdict.ok, str(verdict)
    assert {b"\0"} == {(record.value or b"")[:1] for record in witness.records[SETTINGS.topic_apply("crm")]}
    assert ["surplus"] == words(judge(witness, stages))


def test_each_partition_is_read_by_itself_and_once() -> None:
    """What stands there is never in memory as a whole; only where changes came from nobody, they are read again."""
    reads: Counter[Partition] = Counter()

    class Counting(Witness):
        def read(self, where: Partition) -> Iterable[Record]:
            reads[where] += 1
            return iter(super().read(where))

    assert judge(Counting(**vars(story(3).witness())), STAGES).ok
    assert reads.keys() == right(3).ends.keys()
    assert {1, 2} == set(reads.values())
    assert {CHANGES} == {topic for (topic, _), number in reads.items() if number > 1}


def test_side_by_side_the_verdict_is_the_same() -> None:
    """By processes that share nothing with this one, of a history that lacks an output and has another state."""
    state = right().records[STATES][0]
    witness = instead(without(right(), an_output(OUTPUTS[1])), state, state._replace(value=b"other"))
    with SideBySide(2, witness, SETTINGS) as hands:
        apart = judge(witness, STAGES, hands)
    verdict = judge(witness, STAGES)
    assert (faults(verdict), verdict.findings) == (faults(apart), apart.findings)
    assert {"lost", "wrong state"} == set(faults(apart).values())
    assert (verdict.counted, verdict.tally, str(verdict)) == (apart.counted, apart.tally, str(apart))
    assert len(hands.cost.megabytes) in (2, 3)


def test_receipts_say_what_was_given_and_where_it_stands() -> None:
    """As the load's own records would, without their bytes."""
    receipts = Receipts(["a", "b"])
    first, second = receipts.give("b", b"k", b"v"), receipts.give("a", None, b"w")
    receipts.stands(second, 3, 7)
    assert [("b", None, None, Fed("b", None, None, b"k", b"v").digest)] == list(receipts)[first:second]
    assert [("a", 3, 7, Fed("a", 3, 7, None, b"w").digest)] == list(receipts)[second:]


def test_an_unsettled_input_is_unknown() -> None:
    """Its outcome cannot be told, and its lane is behind."""
    waiting = story(1, events=20)
    waiting.feed("crm.contact", 0, b"late", b"late")
    verdict = judge(waiting.witness(), STAGES)
    assert ("unknown", ["behind"]) == (verdict.inputs["crm.contact", 0, last_offset(waiting)].word, words(verdict))
    assert not verdict.ok


def last_offset(waiting: World) -> int:
    """The offset of the last record of the CRM's first partition."""
    return waiting.ends["crm.contact", 0] - 1


def words(verdict: Verdict) -> list[str]:
    """Of the findings that are about no input."""
    return sorted({finding.word for finding in verdict.findings})


def test_what_was_never_acknowledged_may_stand_or_not() -> None:
    """Unknown where it does not; decided once where it does; neither is anybody's fault."""
    first = right().inputs[0]
    gone = Fed("crm.contact", None, None, b"k", b"v")
    fed = [one._replace(partition=None, offset=None) if one[:3] == place(first) else one for one in right().fed or ()]
    verdict = judge(replace(right(), fed=[*fed, gone]), STAGES)
    assert ({("crm.contact", -1, 0): "unknown"}, True) == (faults(verdict), verdict.ok)
    assert "decided once" == verdict.inputs[place(first)].word


def test_nobody_says_what_was_fed() -> None:
    """Then what stands on the source topics is what there is to judge; a change fed beside them is a surplus."""
    verdict = judge(replace(right(), fed=None), STAGES)
    assert ({}, ["surplus"]) == (faults(verdict), words(verdict))


# ---------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("topic", OUTPUTS)
def test_an_output_that_is_missing_is_lost(topic: str) -> None:
    """Named on the input that it came from, and nothing else is."""
    victim = an_output(topic)
    verdict = judge(without(right(), victim), STAGES)
    assert origin(victim) in faults(verdict)
    assert "lost" == faults(verdict)[origin(victim) or ("", 0, 0)]


@pytest.mark.parametrize("topic", OUTPUTS)
def test_an_output_twice_is_duplicated(topic: str) -> None:
    """So is one of the matches, though its lane takes the second for something waiting."""
    victim = an_output(topic)
    verdict = judge(beside(right(), victim), STAGES)
    assert {origin(victim): "duplicated"} == faults(verdict)
    assert (["behind"] if topic == SETTINGS.topic_matches else []) == words(verdict)


@pytest.mark.parametrize("topic", OUTPUTS[:2])
def test_two_outputs_of_a_record_swapped_are_out_of_order(topic: str) -> None:
    """Named on one of the two."""
    first, second = neighbours(topic)
    verdict = judge(swapped(right(), first, second), STAGES)
    assert {"out of order"} == set(faults(verdict).values())
    assert faults(verdict).keys() <= {origin(first), origin(second)}
    assert not verdict.findings


def neighbours(topic: str) -> tuple[Record, Record]:
    """Two outputs of one record, one after the other, from two inputs."""
    for first, second in zip(right().records[topic], right().records[topic][1:], strict=False):
        about = first.partition == second.partition and first.key == second.key
        if about and None is not origin(first) != origin(second) is not None:
            return first, second
    raise AssertionError("no such outputs")


@pytest.mark.parametrize("topic", OUTPUTS[:3])
def test_an_output_in_another_partition_is_lost_where_it_belongs(topic: str) -> None:
    """The text says where it stands instead."""
    victim = an_output(topic)
    where = (victim.partition + 1) % SETTINGS.partitions
    moved = victim._replace(partition=where, offset=right().ends[topic, where])
    verdict = judge(instead(right(), victim, moved), STAGES)
    assert {origin(victim): "lost"} == faults(verdict)
    assert f"in another partition at {topic}[{where}]" in str(verdict)
    assert not verdict.findings


def test_an_output_with_other_bytes_is_lost_as_it_was() -> None:
    """The text says where it stands in other bytes; headers count as well."""
    victim = an_output(OUTPUTS[1])
    for other in (victim._replace(value=b"{}"), victim._replace(headers=victim.headers[:-1])):
        verdict = judge(instead(right(), victim, other), STAGES)
        assert {origin(victim): "lost"} == faults(verdict)
        assert f"with other bytes at {OUTPUTS[1]}" in str(verdict)


def test_a_record_that_no_input_explains_is_a_surplus() -> None:
    """On any topic of ours."""
    for topic in (*OUTPUTS, CHANGES, LETTERS):
        stranger = Record(topic, 0, 0, 0, b"k", b"v", ())
        verdict = judge(beside(right(), stranger), STAGES)
        assert "surplus" in words(verdict), topic


# ---------------------------------------------------------------------------------------------- changes


def test_a_change_that_is_missing_is_lost() -> None:
    """On the source record that gave it."""
    victim = an_output(CHANGES)
    assert "lost" == judge(without(right(), victim), STAGES).inputs[origin(victim) or ("", 0, 0)].word


def test_a_change_twice_is_duplicated() -> None:
    """On the source record that gave it."""
    victim = an_output(CHANGES)
    verdict = judge(beside(right(), victim), STAGES)
    assert ({origin(victim): "duplicated"}, ["behind"]) == (faults(verdict), words(verdict))


def test_two_changes_of_one_source_record_swapped_are_out_of_order() -> None:
    """Whatever else follows from it."""
    changes = [record for record in right().records[CHANGES] if origin(record) is not None]
    first = next(one for one in changes if len(same_source(one, changes)) > 1)
    pair = same_source(first, changes)[:2]
    verdict = judge(swapped(right(), *pair), STAGES)
    assert any("out of order" == verdict.inputs[origin(one) or ("", 0, 0)].word for one in pair) or "lost" in str(
        verdict
    )
    assert not verdict.ok


def same_source(one: Record, changes: list[Record]) -> list[Record]:
    """Changes of the same record from the same system."""
    about = dict(one.headers)["ce_source"]
    return [other for other in changes if other.key == one.key and dict(other.headers)["ce_source"] == about]


def test_a_source_record_that_vanished_is_lost() -> None:
    """The broker had acknowledged it."""
    victim = next(record for record in right().inputs if place(record) in {p for [p] in singles()})
    verdict = judge(without(right(), victim), STAGES)
    assert "lost" == verdict.inputs[place(victim)].word
    assert "surplus" in words(verdict)


def singles() -> list[list[Place]]:
    """The places of source records whose change no other gives."""
    return [places for places in parents().values() if len(places) == 1]


def test_a_source_record_that_nobody_gave_is_a_surplus() -> None:
    """Somebody else writes to the topic."""
    verdict = judge(replace(right(), fed=(right().fed or [])[1:]), STAGES)
    assert ({}, ["surplus"]) == (faults(verdict), words(verdict))


# ---------------------------------------------------------------------------------------------- dead letters


def letter() -> tuple[Record, Place]:
    """A dead letter of intake, and the source record it is of."""
    found = next(one for one in right().records[LETTERS] if one.value == b"\xff\x00 no JSON")
    return found, next(place(one) for one in right().inputs if one.value == found.value)


def test_a_dead_letter_must_stand_once_with_its_own_bytes() -> None:
    """Missing or altered it is lost, twice it is duplicated."""
    found, source = letter()
    altered = instead(right(), found, found._replace(value=b"\xff\x00 no JSOM"))
    for broken, word in ((without(right(), found), "lost"), (beside(right(), found), "duplicated"), (altered, "lost")):
        verdict = judge(broken, STAGES)
        assert ({source: word}, []) == (faults(verdict), words(verdict))


def test_a_record_that_is_not_too_large_must_not_be_buried_for_its_size() -> None:
    """A lane that says so of a record that could be written has lost it."""
    victim = an_output(CHANGES)
    source = origin(victim) or ("", 0, 0)
    record = next(one for one in right().inputs if place(one) == source)
    dead = STAGES[0].step.dead_letter(record, "size", "a record of 9 bytes is too large for `ownership.changes`")
    stood = Record(dead.topic, dead.partition, 0, 0, dead.key, dead.value, tuple(dead.headers))
    verdict = judge(beside(without(right(), victim), stood), STAGES)
    assert ("lost", True) == (verdict.inputs[source].word, "surplus" in words(verdict))


def test_a_record_that_nothing_can_be_written_for_is_decided_once_as_a_dead_letter() -> None:
    """Too large by the lane's own count, or refused by the broker: in the lane's words, with its own bytes."""
    for stage, limit in (("size", 100), ("produce", 1_000_000)):
        late = World(3)
        late.feed("ehr.public.patient", 1, *ehr_event(9, PATIENT_ROW, "c", 999)[1:])
        [source] = late.witness().inputs
        dead = STAGES[0].step.dead_letter(source, stage, "it is not for the broker")
        late.settle_as(("ehr.public.patient", 1), StepResult([dead]))
        verdict = judge(replace(late.witness(), record_limit=limit), STAGES)
        assert ({"decided once": 1}, []) == (verdict.counts, verdict.findings)
        assert {("dead_letters", "intake", stage): 1} == verdict.counted


# ---------------------------------------------------------------------------------------------- states


def test_a_state_with_another_byte_on_the_changelog_is_wrong() -> None:
    """Named on the input that it is of."""
    found, source = last_state()
    value = bytes([*(found.value or b"")[:-1], (found.value or b"x")[-1] ^ 1])
    verdict = judge(instead(right(), found, found._replace(value=value)), STAGES)
    assert ({source: "wrong state"}, []) == (faults(verdict), words(verdict))


def test_a_state_in_another_partition_is_wrong_in_both() -> None:
    """Missing where it belongs, and nobody's where it stands."""
    found, source = last_state()
    where = (found.partition + 1) % SETTINGS.partitions
    moved = found._replace(partition=where, offset=right().ends[STATES, where])
    verdict = judge(instead(right(), found, moved), STAGES)
    assert ({source: "wrong state"}, ["wrong state"]) == (faults(verdict), words(verdict))


def cached(change: Callable[[Cache], Cache]) -> Witness:
    """The right witness, had Redis held something else."""
    return replace(right(), cache=right().cache | {STATES: change(right().cache[STATES])})


def test_another_state_in_redis_is_wrong() -> None:
    """Altered or missing: named on the input that the state is of."""
    found, source = last_state()
    name = (found.partition, (found.key or b"").decode())
    altered = cached(lambda cache: replace(cache, states=cache.states | {name: b"another"}))
    kept = {key: state for key, state in right().cache[STATES].states.items() if key != name}
    missing = cached(lambda cache: replace(cache, states=kept))
    for broken in (altered, missing):
        verdict = judge(broken, STAGES)
        assert ({source: "wrong state"}, []) == (faults(verdict), words(verdict))


def test_redis_holds_nothing_else() -> None:
    """No state that was never decided, none in a partition or under a name that is no lane's."""
    for broken in (
        cached(lambda cache: replace(cache, states=cache.states | {(0, "nobody"): b"state"})),
        cached(lambda cache: replace(cache, states=cache.states | {(99, "nobody"): b"state"})),
        cached(lambda cache: replace(cache, strange=["app:id:key"])),
        cached(lambda cache: replace(cache, due={**cache.due, 0: {"nobody": 5}})),
        cached(lambda cache: replace(cache, positions={})),
        cached(lambda cache: replace(cache, positions=dict.fromkeys(cache.positions, b"held:99999"))),
        cached(lambda cache: replace(cache, positions=dict.fromkeys(cache.positions, b"held:0"))),
    ):
        verdict = judge(broken, STAGES)
        assert ({}, ["redis"]) == (faults(verdict), words(verdict))


def test_whoever_is_due_is_due_in_redis() -> None:
    """A record that nobody would look at again."""
    due = {(where, name): at for (where, name), state in right().cache[STATES].states.items() if (at := due_of(state))}
    assert due
    verdict = judge(cached(lambda cache: replace(cache, due={})), STAGES)
    assert ({}, len(due)) == (faults(verdict), len(verdict.findings))


# ---------------------------------------------------------------------------------------------- where lanes stand


def test_a_committed_offset_behind_or_beyond_its_control_record_is_found() -> None:
    """Behind: what is between would be decided again. Beyond: it never would."""
    for shift, word in ((-1, "behind"), (1, "beyond"), (1_000, "beyond")):
        where = (CHANGES, 0)
        committed = right().committed | {where: right().committed[where] + shift}
        verdict = judge(replace(right(), committed=committed), STAGES)
        assert word in words(verdict)
        assert {} == faults(verdict)


def test_what_was_committed_without_being_decided_is_lost() -> None:
    """Offsets outside of the transaction: the lane went past a record that left nothing."""
    late = story(2, events=20)
    skipped = next(record for record in late.witness().inputs if record.topic == "crm.contact")
    late.feed("crm.contact", skipped.partition, skipped.key, skipped.value)
    where = ("crm.contact", skipped.partition)
    late.committed[where] = late.ends[where]
    verdict = judge(late.witness(), STAGES)
    assert {(*where, late.ends[where] - 1): "lost"} == faults(verdict)
    assert ["beyond"] == words(verdict)


def controls(topic: str) -> list[Record]:
    """The control records of a topic."""
    return [record for record in right().records[topic] if is_control(record.key)]


@pytest.mark.parametrize("topic", [STATES, SETTINGS.topic_match_state, SETTINGS.topic_lanes])
@pytest.mark.parametrize("said", [{"next": 1}, {"input_id": "another"}, {"partitions": 3}, {"format": 9}, {"more": 1}])
def test_a_control_record_that_lies_is_found(topic: str, said: dict[str, object]) -> None:
    """About where its lane stands, on what input, among how many; or in no lane's words."""
    victim = controls(topic)[-1]
    value = json.dumps(json.loads(victim.value or b"") | said, separators=(",", ":")).encode()
    assert not judge(instead(right(), victim, victim._replace(value=value)), STAGES).ok


@pytest.mark.parametrize("topic", [STATES, SETTINGS.topic_match_state, SETTINGS.topic_lanes])
def test_a_control_record_twice_or_missing_is_found(topic: str) -> None:
    """The last one of its lane."""
    victim = controls(topic)[-1]
    assert ["control"] == [w for w in words(judge(beside(right(), victim), STAGES)) if w == "control"]
    assert not judge(without(right(), victim), STAGES).ok


def test_a_control_record_of_nobody_is_found() -> None:
    """A lane under another name."""
    stranger = controls(SETTINGS.topic_lanes)[-1]._replace(key=b"__lane:decide:ownership.changes:0")
    assert ["control"] == words(judge(beside(right(), stranger), STAGES))


def test_the_output_of_a_transaction_that_was_not_committed_is_a_surplus() -> None:
    """A reader saw half of a transaction: its input is not settled, and an output of it stands."""
    late = story(2, events=20)
    key, value = ehr_event(9, PATIENT_ROW | {"patient_id": 9, "crm_id": None}, "c", 999)[1:]
    late.feed("ehr.public.patient", 1, key, value)
    witness = late.witness()
    waiting = next(one for one in witness.inputs if one.value == value)
    [output] = STAGES[0].step.decode([waiting]).outputs
    stood = Record(output.topic, output.partition, 0, 0, output.key, output.value, tuple(output.headers))
    verdict = judge(beside(witness, stood), STAGES)
    assert {place(waiting): "unknown"} == faults(verdict)
    assert {"behind", "surplus"} <= set(words(verdict))


# ---------------------------------------------------------------------------------------------- metrics


def page(seed: int = 0) -> str:
    """What a worker would show."""
    return world(seed).telemetry.render().decode()


@pytest.mark.parametrize("seed", SEEDS)
def test_right_metrics_are_the_records(seed: int) -> None:
    """Of one worker that nobody killed."""
    counted = judge(right(seed), STAGES).counted
    assert [] == compare_metrics([page(seed)], right(seed), killed=False, counted=counted)
    assert [] == compare_metrics([page(seed)], right(seed), killed=False)


def counting(name: str, by: int) -> str:
    """The page, had some series of a counter another number than it has."""
    lines = page().splitlines()
    index = next(i for i, line in enumerate(lines) if line.startswith(name) and not line.endswith(" 0.0"))
    series, _, number = lines[index].rpartition(" ")
    lines[index] = f"{series} {float(number) + by}"
    return "\n".join(lines) + "\n"


COUNTED = (
    "ownership_outcomes_total", "ownership_changes_total", "ownership_sends_total", "ownership_dead_letters_total",
    "ownership_queue_opened_total", "ownership_records_processed_total", "ownership_batches_committed_total",
)  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_metrics_that_count_too_much_are_found_kill_or_not(name: str) -> None:
    """What did not commit must not count."""
    counted = judge(right(), STAGES).counted
    for killed in (False, True):
        [finding] = compare_metrics([counting(name, 1)], right(), killed=killed, counted=counted)
        assert "metrics" == finding.word


@pytest.mark.parametrize("name", COUNTED[:-1])
def test_metrics_that_count_too_little_are_found_without_a_kill(name: str) -> None:
    """A kill may take with it what no scrape had read."""
    counted = judge(right(), STAGES).counted
    assert 1 == len(compare_metrics([counting(name, -1)], right(), killed=False, counted=counted))
    if name != "ownership_records_processed_total":
        assert [] == compare_metrics([counting(name, -1)], right(), killed=True, counted=counted)


def test_a_count_that_nobody_announced_is_found() -> None:
    """The program counts under labels that it does not know."""
    other = story(0)
    other.telemetry.count({("outcomes", "invented", "", "ehr"): 1})
    [finding] = compare_metrics([other.telemetry.render().decode()], right(), killed=True)
    assert "outcomes" in finding.text


# ---------------------------------------------------------------------------------------------- any fault


def superseded(record: Record, witness: Witness) -> bool:
    """Whether it is a control record, of a lane without states, that a later one replaced: compaction may take it."""
    if record.topic != SETTINGS.topic_lanes:
        return False
    return record != [one for one in witness.records[record.topic] if one.key == record.key][-1]


def mutate(witness: Witness, how: str, record: Record, others: list[Record]) -> Witness | None:
    """The witness with one fault; none where this record cannot have it."""
    if how == "drop":
        return without(witness, record)
    if how == "duplicate":
        return beside(witness, record)
    if how == "swap":
        later = [
            one for one in others
            if one.partition == record.partition and one.key == record.key and one.offset > record.offset
            and dict(one.headers).get("ce_source") == dict(record.headers).get("ce_source")
            and one[4:] != record[4:]
        ]  # fmt: skip
        return swapped(witness, record, later[0]) if later else None
    value = (record.value or b"") + b" "
    altered = {
        "value": record._replace(value=value),
        "key": record._replace(key=(record.key or b"") + b"x"),
        "headers": record._replace(headers=(*record.headers, ("x", b"y"))),
    }[how]
    return instead(witness, record, altered)


@given(data=st.data())
def test_any_single_fault_in_a_right_history_is_found(data: st.DataObject) -> None:
    """Whatever record is dropped, doubled, swapped with a later one of its key, or altered."""
    witness = right(data.draw(st.sampled_from(SEEDS), label="seed"))
    topic = data.draw(st.sampled_from([*witness.records, "ehr.public.patient", "crm.contact"]), label="topic")
    others = [*witness.records.get(topic, [one for one in witness.inputs if one.topic == topic])]
    record = data.draw(st.sampled_from([one for one in others if not superseded(one, witness)]), label="record")
    kinds = ["drop", "duplicate", "swap", "value", "key"]
    how = data.draw(st.sampled_from(kinds if topic in CARRY_NO_HEADERS else [*kinds, "headers"]), label="fault")
    broken = mutate(witness, how, record, others)
    if broken is not None:
        assert not judge(broken, STAGES).ok


# States, control records and what a source's connector says in headers mean nothing to anybody.
CARRY_NO_HEADERS = (
    STATES, SETTINGS.topic_match_state, SETTINGS.topic_lanes, "ehr.public.patient", "crm.contact",
)  # fmt: skip
