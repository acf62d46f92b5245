"""Where lanes stand: states on the changelog and in Redis, control records, committed offsets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chaos.columns import Partition, Place, state_digest
from chaos.counted import Tally, is_control
from chaos.expected import Changed, Lane, Stood, controls_of
from chaos.finding import Blame, named, place_text
from chaos.witness import Account, Keys, LaneCache
from ownership_stream.lane.contract import CONTROL_KEY
from ownership_stream.store import due_of


class Logged(NamedTuple):
    """A record of a changelog: a control record, or a state by its digest (None: a tombstone)."""

    offset: int
    key: bytes | None
    state: bytes | None
    stood: Stood | None


class Changelog(NamedTuple):
    """One partition of a state topic, and what of it is counted."""

    where: Partition
    records: list[Logged]
    tally: Tally

    @property
    def controls(self) -> list[Stood]:
        """Its control records."""
        return [one.stood for one in self.records if one.stood is not None]


def changelog(account: Account, where: Partition) -> Changelog:
    """Reads one: the states are let go once their digests are known."""
    found = Changelog(where, [], Tally())
    keys: dict[bytes, bytes] = {}
    for record in account.read(where):
        found.tally.note(record)
        key, state, stood = record.key, None, None
        if key == CONTROL_KEY.encode():
            [stood] = controls_of([(record.offset, record.value)])
        elif record.value is not None:
            state = state_digest(record.value)
        found.records.append(Logged(record.offset, None if key is None else keys.setdefault(key, key), state, stood))
    return found


def check(account: Account, lane: Lane, log: Changelog | None, blame: Blame) -> None:
    """Everything that one lane left beside its outputs; `log` is its changelog, if it has one."""
    _check_offsets(account, lane, blame)
    _check_controls(account, lane, (account.control_topic, 0) if log is None else log.where, blame)
    if log is not None:
        _check_changelog(lane, log, blame)
        cache = account.cached(log.where)
        _check_cache(lane, cache, blame)
        _check_position(account, lane, log.where, cache.position, blame)


def check_nobodys(
    keys: Mapping[str, Keys], lanes: Iterable[Partition], strangers: Iterable[Place], blame: Blame
) -> None:
    """Keys and control records that are no lane's; `lanes` are the partitions of state topics that have one."""
    for place in strangers:
        blame.find("control", place, "is no lane's control record")
    known = set(lanes)
    for topic, found in keys.items():
        for key in found.strange:
            blame.find("redis", None, f"a key under the prefix of `{topic}` is none of ours: {len(key)} characters")
        for partition in sorted(where for where in found.partitions if (topic, where) not in known):
            blame.find("redis", None, f"keys of `{topic}`[{partition}], which no lane has")


def _check_offsets(account: Account, lane: Lane, blame: Blame) -> None:
    """The committed offset is that of the control record, and within the log."""
    start, end = account.starts[lane.where], account.ends[lane.where]
    if start > 0:
        blame.find("unjudged", lane.place(start), f"`{lane.id}` begins there: what was before cannot be judged")
    if lane.committed is not None and lane.committed > end:
        blame.find("beyond", lane.place(lane.committed), f"is committed for {lane.id}, whose log ends at {end}")
    if lane.committed != lane.next:
        text = f"{lane.id} is committed up to {lane.committed}, and its control record says {lane.next}"
        blame.find("behind" if (lane.committed or 0) < (lane.next or 0) else "beyond", None, text)


def _check_controls(account: Account, lane: Lane, where: Partition, blame: Blame) -> None:
    """Each says what its lane's input is, in ascending order."""
    partitions = sum(one[0] == lane.id.topic for one in account.ends)
    reached = 0
    for stood in lane.controls:
        place, control = (*where, stood.offset), stood.control
        if control is None:
            blame.find("control", place, f"is in no lane's bytes, though its key is that of {lane.id}")
            continue
        if (control.input_id, control.partitions) != (account.topic_ids[lane.id.topic], partitions):
            blame.find("control", place, f"names another input than that of {lane.id}")
        if control.next <= reached:
            blame.find("control", place, f"says that {lane.id} stands at {control.next}, after {reached}")
        reached = max(reached, control.next)


def _check_changelog(lane: Lane, log: Changelog, blame: Blame) -> None:
    """Between one control record and the next stand the states that the inputs between them leave, each once.

    A transaction ends with a marker, which takes an offset: where one is, a control record must stand before it.
    """
    begin, held = 0, list[Logged]()
    before: Logged | None = None
    for record in log.records:
        if before is not None and record.offset > before.offset + 1 and not is_control(before.key):
            blame.find("control", (*log.where, before.offset), "a transaction ends without a control record")
        before = record
        if not is_control(record.key):
            held.append(record)
        elif record.stood is None:
            blame.find("control", (*log.where, record.offset), "is no lane's control record")
        elif record.stood.control is not None:
            end = record.stood.control.next
            _compare(lane, log.where, held, lane.left(begin, end), record, blame)
            begin, held = max(begin, end), []
    for record in held:
        blame.find("wrong state", (*log.where, record.offset), "stands after the last control record")


def _compare(
    lane: Lane, where: Partition, held: Sequence[Logged], changed: Changed, control: Logged, blame: Blame
) -> None:
    """The states of one transaction."""
    for record in held:
        place = (*where, record.offset)
        name = None if record.key is None else record.key.decode("utf-8", "replace")
        state, at = changed.pop(name, (None, -1)) if name is not None else (None, -1)
        if name is None or state is None:
            blame.find("wrong state", place, f"no input of its transaction changes {named(name or '')}")
        elif state != record.state:
            text = f"the state of {named(name)} at {place_text(place)} is not the one that it leaves"
            blame.charge(lane.place(at), "wrong state", text)
    for name, (_, at) in changed.items():
        text = f"the state of {named(name)} is missing before {place_text((*where, control.offset))}"
        blame.charge(lane.place(at), "wrong state", text)


def _check_cache(lane: Lane, cache: LaneCache, blame: Blame) -> None:
    """Redis holds the last states, and no others."""
    there = dict(cache.states)
    for name, state in lane.final.items():
        found = there.pop(name, None)
        if found != state:
            how = "is not in redis" if found is None else "is another one in redis"
            blame.charge(lane.place(lane.writer[name]), "wrong state", f"the state of {named(name)} {how}")
    for name in there:
        blame.find("redis", None, f"a state of {named(name)} in the lane of {lane.id}, which never had one")
    waiting = {name: due for name, state in lane.final.items() if (due := due_of(state))}
    for name in waiting.keys() | cache.due.keys():
        if waiting.get(name) != cache.due.get(name):
            text = f"{named(name)} is due at {cache.due.get(name)} in redis, and at {waiting.get(name)} by its state"
            blame.find("redis", None, text)


def _check_position(account: Account, lane: Lane, where: Partition, position: bytes | None, blame: Blame) -> None:
    """After the last transaction the position is behind its control record; a lane that caught up, at the end."""
    if position is None:
        if lane.controls:
            blame.find("redis", None, f"no position of {lane.id}")
        return
    holder, _, offset = position.decode("ascii", "replace").rpartition(":")
    first, end = lane.controls[-1].offset + 1 if lane.controls else 0, account.ends[where]
    if not holder or not offset.isdecimal() or not first <= int(offset) <= end:
        blame.find("redis", None, f"the position of {lane.id} is not between {first} and {end}")
