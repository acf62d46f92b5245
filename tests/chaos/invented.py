"""An invented history: lanes at work in memory, and the witness they leave. What the judge's own tests break.

The lanes here take their records in batches of any size and in any order among each other, and leave markers, control
records and positions as real ones do. Nothing of the judge is used to make it.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from pydantic import SecretStr

from chaos.clinic import clinic
from chaos.witness import Cache, Fed, Partition, Witness
from matrices import PATIENT
from ownership_stream import assembly
from ownership_stream.app import Stage
from ownership_stream.identity import change_id, partition_of
from ownership_stream.lane.contract import Control, LaneId, Output, Record, Step, StepResult, control_key
from ownership_stream.model import Change
from ownership_stream.settings import Settings
from ownership_stream.store import due_of
from ownership_stream.topics import owned_topics, record_limit
from ownership_stream.wire import JSON, Wire, change_message

PARTITIONS: Final = 4
SOURCE_PARTITIONS: Final = 2
START: Final = 1_772_452_800_000
SETTINGS: Final = Settings(
    partitions=PARTITIONS,
    hash_key=SecretStr("a key of the tests"),
    matrix_path=PATIENT,
    sources_path=PATIENT.parent / "sources",
)
DOCUMENTS: Final = assembly.documents(SETTINGS)
STAGES: Final = assembly.stages(SETTINGS, *DOCUMENTS)
SOURCES: Final = {"ehr": "ehr.public.patient", "crm": "crm.contact"}
CHANGES: Final = SETTINGS.topic_changes
STATES: Final = SETTINGS.topic_state


class World:
    """Topics, lanes and Redis in memory. `wire` is what tickers write by, as the stages do."""

    def __init__(self, seed: int, stages: Sequence[Stage] = STAGES, wire: Wire = JSON) -> None:
        self.wire = wire
        self.dice = random.Random(seed)  # noqa: S311  # the dice of a test
        self.logs: dict[Partition, list[Record]] = defaultdict(list)
        self.ends: dict[Partition, int] = {}
        for topic in SOURCES.values():
            self.ends.update({(topic, partition): 0 for partition in range(SOURCE_PARTITIONS)})
        for owned in owned_topics(SETTINGS):
            self.ends.update({(owned.name, partition): 0 for partition in range(owned.partitions)})
        self.committed: dict[Partition, int] = {}
        self.fed: list[Fed] = []
        self.cache = {stage.step.state_topic: Cache() for stage in STAGES if stage.step.state_topic is not None}
        self.telemetry = assembly._telemetry(SETTINGS, DOCUMENTS[0])
        self._steps = {
            where: stage.step for stage in stages for where in self.ends if where[0] in stage.topics
        }  # fmt: skip

    def feed(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        """A record of a load: acknowledged, and known to be given."""
        offset = self._append(Output(topic, key, value, [], partition))
        self.fed.append(Fed(topic, partition, offset, key, value))

    def tick(self, record: str, *, partition: int | None = None) -> None:
        """What a ticker writes for a record."""
        change = Change(id=change_id(f"tick/{record}/{START}"), record=record, kind="tick", at=START)
        where = partition_of(record, PARTITIONS) if partition is None else partition
        self._append(Output(CHANGES, *change_message(change, self.wire), where))

    def work(self, batches: int = 1_000_000) -> None:
        """So many batches of any lanes, or until nothing is left to do."""
        for _ in range(batches):
            waiting = [where for where in self._steps if self._waiting(where)]
            if not waiting:
                return
            self._settle(self.dice.choice(waiting))

    def witness(self) -> Witness:
        """What an outsider would see."""
        owned = [topic.name for topic in owned_topics(SETTINGS)]
        return Witness(
            inputs=self._records(SOURCES.values()),
            fed=list(self.fed),
            records={topic: self._records([topic]) for topic in owned},
            cache=self.cache,
            committed=dict(self.committed),
            starts=dict.fromkeys(self.ends, 0),
            ends=dict(self.ends),
            topic_ids={topic: f"id-of-{topic}" for topic, _ in self.ends},
            control_topic=SETTINGS.topic_lanes,
            state_topics={CHANGES: STATES, SETTINGS.topic_matches: SETTINGS.topic_match_state},
            record_limit=record_limit(SETTINGS),
        )

    def _records(self, topics: Iterable[str]) -> list[Record]:
        return [
            record
            for topic in topics
            for where in sorted(self.ends)
            if where[0] == topic
            for record in self.logs[where]
        ]

    def _waiting(self, where: Partition) -> list[Record]:
        begin = self.committed.get(where, 0)
        return [record for record in self.logs[where] if record.offset >= begin]

    def _settle(self, where: Partition) -> None:
        """One batch of one lane, in one transaction."""
        step, waiting = self._steps[where], self._waiting(where)
        batch = waiting[: self.dice.randint(1, 7)]
        # A fetch ends behind its last record, or behind the markers that follow it.
        end = batch[-1].offset + 1 if batch != waiting or self.dice.random() < 0.5 else self.ends[where]
        decoded = step.decode(batch)
        known = self.cache[step.state_topic].states if step.state_topic is not None else {}
        result = step.run(decoded, {name: known.get((where[1], name)) for name in decoded.record_ids})
        self._commit(step, where, result, end)
        self._count(step, where, result, len(batch))
        self.committed[where] = end

    def _count(self, step: Step, where: Partition, result: StepResult, records: int) -> None:
        lane = (step.name, where[0], str(where[1]))
        self.telemetry.count(result.counts)
        self.telemetry.count({("records_processed", *lane): records, ("batches_committed", *lane): 1})

    def settle_as(self, where: Partition, result: StepResult) -> None:
        """All that waits in one partition, settled as if its step had answered so."""
        self._commit(self._steps[where], where, result, self.ends[where])
        self.committed[where] = self.ends[where]

    def _commit(self, step: Step, where: Partition, result: StepResult, end: int) -> None:
        topic, partition = where
        touched = set()
        for output in result.outputs:
            self._append(Output(*output))
            touched.add((output[0], output[4]))
        control_topic = step.state_topic or SETTINGS.topic_lanes
        at = partition if step.state_topic is not None else 0
        for name, state in result.states.items():
            self._append(Output(control_topic, name.encode(), state, [], at))
        control = Control(f"id-of-{topic}", end, sum(one == topic for one, _ in self.ends)).pack()
        offset = self._append(
            Output(control_topic, control_key(LaneId(step.name, *where), step.state_topic), control, [], at)
        )
        for marked in {*touched, (control_topic, at)}:
            self.ends[marked] += 1
        if step.state_topic is not None:
            self._save(self.cache[step.state_topic], partition, result, offset + 1)

    def _save(self, cache: Cache, partition: int, result: StepResult, position: int) -> None:
        cache.positions[partition] = f"an incarnation:{position}".encode()
        for name, state in result.states.items():
            cache.states[partition, name] = state
            waiting = cache.due.setdefault(partition, {})
            waiting.pop(name, None)
            if due_of(state):
                waiting[name] = due_of(state)

    def _append(self, output: Output) -> int:
        where = (output.topic, output.partition)
        offset = self.ends[where]
        moment = START + sum(self.ends.values()) * 1_000
        self.logs[where].append(Record(*where, offset, moment, output.key, output.value, tuple(output.headers)))
        self.ends[where] = offset + 1
        return offset


def story(seed: int, events: int = 60, stages: Sequence[Stage] = STAGES, wire: Wire = JSON) -> World:
    """A clinic's events, settled while they come: some twice, some garbage, a tick, a command, a change gone astray."""
    world = World(seed, stages, wire)
    for number, (source, key, value) in enumerate(islice(clinic(seed, patients=5), events)):
        world.feed(SOURCES[source], partition_of(str(key), SOURCE_PARTITIONS), key, value)
        world.work(batches=world.dice.randrange(3))
        if number == events // 2:
            world.feed(SOURCES["ehr"], 0, b"garbage", b"\xff\x00 no JSON")
            world.feed(SOURCES["crm"], 1, b"key", None)
    records = [
        record.key.decode() for where in world.logs if where[0] == CHANGES for record in world.logs[where] if record.key
    ]
    world.tick(records[0])
    world.work(batches=3)
    astray = records[-1]
    world.tick(astray, partition=(partition_of(astray, PARTITIONS) + 1) % PARTITIONS)
    world.feed(CHANGES, 2, b"somebody", b"no change")
    world.work()
    return world


def without(witness: Witness, record: Record) -> Witness:
    """The witness, had this record never stood."""
    return _with_topic(witness, record.topic, [one for one in _topic(witness, record.topic) if one != record])


def instead(witness: Witness, record: Record, other: Record) -> Witness:
    """The witness, had another record stood in this one's place (or in its own: another topic is not meant)."""
    records = [other if one == record else one for one in _topic(witness, record.topic)]
    return _with_topic(witness, record.topic, sorted(records, key=lambda one: (one.partition, one.offset)))


def beside(witness: Witness, record: Record) -> Witness:
    """The witness, had this record stood as well; its offset is the partition's next."""
    where = (record.topic, record.partition)
    added = record._replace(offset=witness.ends[where])
    more = replace(witness, ends=witness.ends | {where: added.offset + 1})
    records = sorted([*_topic(witness, record.topic), added], key=lambda one: (one.partition, one.offset))
    return _with_topic(more, record.topic, records)


def swapped(witness: Witness, first: Record, second: Record) -> Witness:
    """The witness, had these two of one partition stood in each other's place."""
    turned = {
        first.offset: second._replace(offset=first.offset, timestamp=first.timestamp),
        second.offset: first._replace(offset=second.offset, timestamp=second.timestamp),
    }
    records = [
        turned[one.offset] if one.partition == first.partition and one.offset in turned else one
        for one in _topic(witness, first.topic)
    ]
    return _with_topic(witness, first.topic, records)


def _topic(witness: Witness, topic: str) -> list[Record]:
    return witness.records[topic] if topic in witness.records else list(witness.inputs)


def _with_topic(witness: Witness, topic: str, records: list[Record]) -> Witness:
    if topic in witness.records:
        return replace(witness, records=witness.records | {topic: records})
    return replace(witness, inputs=records)
