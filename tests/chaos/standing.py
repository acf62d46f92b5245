"""Where lanes stand: states on the changelog and in Redis, control records, committed offsets."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from chaos.expected import Lane, Place, Stood, is_control
from chaos.finding import Blame, named, place_text
from chaos.witness import Cache, Partition, Witness
from ownership_stream.lane.contract import Record
from ownership_stream.store import due_of

Changed = dict[str, tuple[bytes, int]]
"""Record id -> its state after a transaction, and the input offset that made it."""


def check(witness: Witness, lane: Lane, by_partition: Mapping[Partition, Sequence[Record]], blame: Blame) -> None:
    """Everything that one lane left beside its outputs."""
    _check_offsets(witness, lane, blame)
    _check_controls(witness, lane, blame)
    topic = lane.step.state_topic
    if topic is not None:
        _check_changelog(lane, by_partition.get((topic, lane.id.partition), ()), blame)
        _check_cache(witness, lane, witness.cache[topic], blame)


def check_nobodys(
    witness: Witness, lanes: Sequence[Lane], by_partition: Mapping[Partition, Sequence[Record]], blame: Blame
) -> None:
    """Control records, keys and partitions that are no lane's."""
    lanes_of = {(lane.step.state_topic, lane.id.partition) for lane in lanes if lane.step.state_topic is not None}
    controls = {
        (witness.control_topic, 0, stood.offset)
        for lane in lanes
        if not lane.step.state_topic
        for stood in lane.controls
    }
    for (topic, partition), records in by_partition.items():
        for record in records if topic == witness.control_topic else ():
            place = (topic, partition, record.offset)
            if place not in controls:
                blame.find("control", place, "is no lane's control record")
    for topic, cache in witness.cache.items():
        for key in cache.strange:
            blame.find("redis", None, f"a key under the prefix of `{topic}` is none of ours: {len(key)} characters")
        strays = {partition for partition, _ in cache.states} | set(cache.positions) | set(cache.due)
        for partition in sorted(where for where in strays if (topic, where) not in lanes_of):
            blame.find("redis", None, f"keys of `{topic}`[{partition}], which no lane has")


def _check_offsets(witness: Witness, lane: Lane, blame: Blame) -> None:
    """The committed offset is that of the control record, and within the log."""
    start, end = witness.starts[lane.where], witness.ends[lane.where]
    if start > 0:
        blame.find("unjudged", lane.place(start), f"`{lane.id}` begins there: what was before cannot be judged")
    if lane.committed is not None and lane.committed > end:
        blame.find("beyond", lane.place(lane.committed), f"is committed for {lane.id}, whose log ends at {end}")
    if lane.committed != lane.next:
        text = f"{lane.id} is committed up to {lane.committed}, and its control record says {lane.next}"
        blame.find("behind" if (lane.committed or 0) < (lane.next or 0) else "beyond", None, text)


def _check_controls(witness: Witness, lane: Lane, blame: Blame) -> None:
    """Each says what its lane's input is, in ascending order."""
    topic, partition = _control_partition(witness, lane)
    partitions = sum(where[0] == lane.id.topic for where in witness.ends)
    reached = 0
    for stood in lane.controls:
        place, control = (topic, partition, stood.offset), stood.control
        if control is None:
            blame.find("control", place, f"is in no lane's bytes, though its key is that of {lane.id}")
            continue
        if (control.input_id, control.partitions) != (witness.topic_ids[lane.id.topic], partitions):
            blame.find("control", place, f"names another input than that of {lane.id}")
        if control.next <= reached:
            blame.find("control", place, f"says that {lane.id} stands at {control.next}, after {reached}")
        reached = max(reached, control.next)


def _control_partition(witness: Witness, lane: Lane) -> Partition:
    if lane.step.state_topic is None:
        return witness.control_topic, 0
    return lane.step.state_topic, lane.id.partition


def _check_changelog(lane: Lane, records: Sequence[Record], blame: Blame) -> None:
    """Between one control record and the next stand the states that the inputs between them leave, each once.

    A transaction ends with a marker, which takes an offset: where one is, a control record must stand before it.
    """
    offsets = [offset for offset, _ in lane.changed]
    controls = iter(lane.controls)
    begin, held = 0, list[Record]()
    before: Record | None = None
    for record in records:
        if before is not None and record.offset > before.offset + 1 and not is_control(before.key):
            blame.find("control", _place(before), "a transaction ends without a control record")
        before = record
        if not is_control(record.key):
            held.append(record)
            continue
        stood = next(controls, Stood(record.offset, None))
        if stood.control is not None:
            end = stood.control.next
            some = lane.changed[bisect_left(offsets, begin) : bisect_left(offsets, end)]
            changed: Changed = {name: (state, at) for at, states in some for name, state in states.items()}
            _compare(lane, held, changed, record, blame)
            begin, held = max(begin, end), []
    for record in held:
        blame.find("wrong state", _place(record), "stands after the last control record")


def _compare(lane: Lane, held: Sequence[Record], changed: Changed, control: Record, blame: Blame) -> None:
    """The states of one transaction."""
    for record in held:
        name = None if record.key is None else record.key.decode("utf-8", "replace")
        state, at = changed.pop(name, (None, -1)) if name is not None else (None, -1)
        if name is None or state is None:
            blame.find("wrong state", _place(record), f"no input of its transaction changes {named(name or '')}")
        elif state != record.value:
            text = f"the state of {named(name)} at {place_text(_place(record))} is not the one that it leaves"
            blame.charge(lane.place(at), "wrong state", text)
    for name, (_, at) in changed.items():
        text = f"the state of {named(name)} is missing before {place_text(_place(control))}"
        blame.charge(lane.place(at), "wrong state", text)


def _check_cache(witness: Witness, lane: Lane, cache: Cache, blame: Blame) -> None:
    """Redis holds the last states, no others, and says how far they go."""
    partition = lane.id.partition
    there = {name: state for (where, name), state in cache.states.items() if where == partition}
    for name, state in lane.final.items():
        found = there.pop(name, None)
        if found != state:
            how = "is not in redis" if found is None else "is another one in redis"
            blame.charge(lane.place(lane.writer[name]), "wrong state", f"the state of {named(name)} {how}")
    for name in there:
        blame.find("redis", None, f"a state of {named(name)} in the lane of {lane.id}, which never had one")
    waiting = {name: due for name, state in lane.final.items() if (due := due_of(state))}
    found_due = cache.due.get(partition, {})
    for name in waiting.keys() | found_due.keys():
        if waiting.get(name) != found_due.get(name):
            text = f"{named(name)} is due at {found_due.get(name)} in redis, and at {waiting.get(name)} by its state"
            blame.find("redis", None, text)
    _check_position(witness, lane, cache.positions.get(partition), blame)


def _check_position(witness: Witness, lane: Lane, position: bytes | None, blame: Blame) -> None:
    """After the last transaction the position is behind its control record; a lane that caught up, at the end."""
    topic = lane.step.state_topic
    if position is None or topic is None:
        if lane.controls:
            blame.find("redis", None, f"no position of {lane.id}")
        return
    holder, _, offset = position.decode("ascii", "replace").rpartition(":")
    first = lane.controls[-1].offset + 1 if lane.controls else 0
    end = witness.ends[topic, lane.id.partition]
    if not holder or not offset.isdecimal() or not first <= int(offset) <= end:
        blame.find("redis", None, f"the position of {lane.id} is not between {first} and {end}")


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
