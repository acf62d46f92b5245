"""The verdict on a run: for each input what became of it, and whatever else is not as it must be.

From an `Account` and the pure steps alone. Intake, decide and match are decided again from their committed input,
and everything that stands is compared with that: outputs (`pairing`), states, control records, offsets and Redis
(`standing`). What a change led to is charged to the source record that the change came from.

Each partition is read by itself, twice at most, and of its records only digests are kept: some 70 bytes for each. Who
reads and decides is left to `hands`: this process, or several side by side (`apart`).
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from chaos import standing
from chaos.columns import DIGEST, Column, Partition, Place, Standing, Wanted, given_digest, integers
from chaos.counted import Tally, compare_metrics
from chaos.expected import BURIED_BY_LANES, Grave, Lane, Scanned, controls_of, decide_again, scan
from chaos.finding import Blame, Finding, Inputs, Sources
from chaos.pairing import Left, Missing, Written, explain, pair
from chaos.witness import Account, Given
from ownership_stream.identity import change_id
from ownership_stream.lane.contract import LaneId, Record, control_key
from ownership_stream.model import Change
from ownership_stream.wire import JSON, Wire, WireError, change_message
from ownership_stream.worker_config import Stage

__all__ = ["Finding", "Verdict", "compare_metrics", "judge"]

WORDS: Final = ("lost", "duplicated", "out of order", "wrong state", "unknown", "decided once")
"""Worst first: where more than one is true of an input, the first one is said."""
SHOWN: Final = 12
COMMANDS: Final = frozenset(
    {"tick", "pause", "resume", "reset_breaker", "link", "confirm", "unlink", "resolve", "assign", "comment"}
)
"""Kinds of changes that no lane writes: workers' tickers and people do, and they are inputs of their own."""


@dataclass
class Verdict:
    """`inputs` says one word of each input; `findings` are those that are about no input.

    Inputs are the records of the source topics, and on `ownership.changes` the ticks, people's commands and whatever
    was fed there. `counted` are the steps' counts of everything settled, `tally` what else counters are compared with.
    `sources` knows the input of each output that stands, `created` when each source record was, in milliseconds.
    """

    inputs: Inputs
    findings: list[Finding] = field(default_factory=list)
    counted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    sources: Sources = field(default_factory=Sources)
    created: Mapping[Partition, Standing] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many inputs each word was said of."""
        found = Counter(finding.word for finding in self.inputs.found.values())
        found["decided once"] += len(self.inputs) - len(self.inputs.found)
        return +found

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing twice, order kept, states right. What was never acknowledged may be unknown."""
        return not self.findings and not set(self.counts) - {"decided once", "unknown"}

    def __str__(self) -> str:
        """A short table, and the first findings with their places."""
        counts = self.counts
        lines = [f"{counts[word]:>9,}  {word}" for word in reversed(WORDS) if counts[word] or word == "decided once"]
        bad = [one for one in self.inputs.found.values() if one.word not in ("decided once", "unknown")]
        unknown = [one for one in self.inputs.found.values() if one.word == "unknown"]
        told = [*bad, *self.findings, *unknown]
        lines.append(f"{len(self.findings):>9,}  other findings")
        lines += [f"  {one}" for one in told[:SHOWN]]
        lines += [f"  and {len(told) - SHOWN:,} more"] if len(told) > SHOWN else []
        return "\n".join(lines)


class Hands(Protocol):
    """Who does the work of a judge: a task for each of some arguments, answered in their order."""

    def __call__(
        self, account: Account, stages: Sequence[Stage], task: Callable[..., Any], some: Sequence[tuple[Any, ...]], /
    ) -> Iterator[Any]:
        """`task(account, stages, *arguments)` for each of them."""
        ...


def in_turn(
    account: Account, stages: Sequence[Stage], task: Callable[..., Any], some: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    """In this process, one after the other."""
    return (task(account, stages, *arguments) for arguments in some)


class Judged(NamedTuple):
    """One lane judged by itself: what it wanted to write, and what is wrong with what it left beside that."""

    id: LaneId
    wanted: Mapping[Partition, Wanted]
    counts: Counter[tuple[str, ...]]
    scanned: Scanned
    tally: Tally
    blame: Blame


def judge(account: Account, stages: Sequence[Stage], hands: Hands = in_turn, wire: Wire = JSON) -> Verdict:
    """The verdict. `stages` are those that the workers ran: `assembly.stages`, and `wire` is what tickers wrote by."""
    ids = [
        LaneId(stage.step.name, *where)
        for stage in stages
        for where in sorted(where for where in account.ends if where[0] in stage.topics)
    ]
    states = {stage.step.state_topic for stage in stages} - {None}
    read = {(one.topic, one.partition) for one in ids}
    apart = states | {account.control_topic}
    rest = [(where,) for where in sorted(account.ends) if where[0] not in apart and where not in read]
    scanned = list(hands(account, stages, scan_outputs, rest))
    blame, tally = Blame(), Tally()
    controls, strangers = _controls(account, ids, tally)
    graves = _graves(scanned, {stage.step.name for stage in stages})
    tasks = [(one, controls[one], graves[one.topic, one.partition]) for one in ids]
    lanes: list[Judged] = list(hands(account, stages, judge_lane, tasks))
    for lane in lanes:
        blame.add(lane.blame)
    of_states = {stage.step.name: stage.step.state_topic for stage in stages}
    known = ((topic, one.partition) for one in ids if (topic := of_states[one.stage]) is not None)
    standing.check_nobodys(account.keys(), known, strangers, blame)
    scanned += [lane.scanned for lane in lanes]
    for one in (*(some.tally for some in scanned), *(lane.tally for lane in lanes)):
        tally.add(one)
    sources = Sources()
    ours = {one.where: one.standing for one in scanned if one.where[0] in account.owned}
    surplus = _pair(ours, lanes, sources, blame)
    changes = next(topic for stage in stages if stage.step.name == "decide" for topic in stage.topics)
    places = _unexplained(account, changes, surplus, wire, blame)
    given = {one.where: one.standing for one in scanned if one.where[0] not in account.owned}
    places += _fed(account, given, blame)
    stood = {where: one.offsets for where, one in given.items()}
    inputs, findings = blame.settle(stood, places, sources, WORDS)
    counted: Counter[tuple[str, ...]] = Counter()
    for lane in lanes:
        counted.update(lane.counts)
    return Verdict(inputs, findings, counted, tally, sources, given)


def scan_outputs(account: Account, _: Sequence[Stage], where: Partition) -> Scanned:
    """A task: the records of a partition that no lane reads."""
    return scan(account, where)


def judge_lane(
    account: Account,
    stages: Sequence[Stage],
    lane_id: LaneId,
    controls: Sequence[tuple[int, bytes | None]],
    graves: Mapping[int, Grave],
) -> Judged:
    """A task: one lane decided again, and what it left. `controls` are those of a lane without states."""
    step = next(stage.step for stage in stages if stage.step.name == lane_id.stage)
    log, stood = None, controls_of(controls)
    if step.state_topic is not None:
        log = standing.changelog(account, (step.state_topic, lane_id.partition))
        stood = log.controls
    where = lane_id.topic, lane_id.partition
    lane = Lane(lane_id, step, stood, account.committed.get(where), Scanned(where))
    decide_again(account, lane, graves)
    blame = Blame()
    standing.check(account, lane, log, blame)
    for place in lane.pending:
        blame.charge(place, "unknown", f"not settled: the lane is committed up to {lane.settled}")
    if lane.pending:
        blame.find("behind", lane.pending[0], f"{len(lane.pending)} records wait before {lane.id}")
    return Judged(lane_id, dict(lane.wanted), lane.counts, lane.scanned, Tally() if log is None else log.tally, blame)


def _controls(
    account: Account, ids: Iterable[LaneId], tally: Tally
) -> tuple[dict[LaneId, list[tuple[int, bytes | None]]], list[Place]]:
    """The control records of lanes without states, and the places of what else stands there."""
    found: dict[LaneId, list[tuple[int, bytes | None]]] = {one: [] for one in ids}
    owner = {control_key(one, None): one for one in ids}
    strangers = []
    for where in sorted(where for where in account.ends if where[0] == account.control_topic):
        for record in account.read(where):
            tally.note(record)
            lane = owner.get(record.key or b"") if where[1] == 0 else None
            if lane is None or lane.topic in account.state_topics:
                strangers.append((*where, record.offset))
            else:
                found[lane].append((record.offset, record.value))
    return found, strangers


def _graves(scanned: Iterable[Scanned], stage_names: set[str]) -> dict[Partition, dict[int, Grave]]:
    """The records that lanes say they could not write anything for, by where they stand."""
    found: dict[Partition, dict[int, Grave]] = defaultdict(dict)
    for one in scanned:
        for (topic, partition, offset), (said, error) in one.graves.items():
            stage, _, where = said.partition(": ")
            if stage in stage_names and where in BURIED_BY_LANES:
                found[topic, partition][offset] = where, error
    return found


def _pair(there: Mapping[Partition, Standing], lanes: Sequence[Judged], sources: Sources, blame: Blame) -> list[Place]:
    """Pairs what lanes were to write with what stands; returns the places of what no lane was to write."""
    inputs = [(lane.id.topic, lane.id.partition) for lane in lanes]
    missing: list[Missing] = []
    left: list[Left] = []
    for where in sorted(there.keys() | {where for lane in lanes for where in lane.wanted}):
        written = Written([lane.wanted.get(where) for lane in lanes], inputs)
        some, others = pair(where, written, there.get(where, Standing()), sources, blame)
        missing += some
        left += others
    return explain(missing, left, sources, blame)


def _unexplained(account: Account, changes: str, surplus: Iterable[Place], wire: Wire, blame: Blame) -> list[Place]:
    """Of the records that are no lane's output, those that are inputs of their own; the others are findings."""
    given = {(fed.topic, fed.partition, fed.offset): fed for fed in account.fed or () if fed.topic == changes}
    own = []
    wanted: dict[int, set[int]] = defaultdict(set)
    for topic, partition, offset in surplus:
        if topic == changes:
            wanted[partition].add(offset)
        else:
            blame.find("surplus", (topic, partition, offset), "no input explains this record")
    for partition, some in wanted.items():
        for record in account.read((changes, partition)):
            if record.offset not in some:
                continue
            place = changes, partition, record.offset
            fed = given.pop(place, None)
            if _is_command(record, wire) or (fed and fed.digest == given_digest(record.key, record.value)):
                own.append(place)
            else:
                blame.find("surplus", place, "no input explains this record")
    for fed in given.values():
        blame.find("lost", (fed.topic, fed.partition or 0, fed.offset or 0), "was acknowledged, and does not stand")
    return own


def _is_command(record: Record, wire: Wire) -> bool:
    """Whether a change is one that tickers or people write, in the bytes that these write."""
    try:
        change = wire.read_change(record.value or b"")
    except WireError:
        return False
    written = change_message(change, wire)
    if change.kind not in COMMANDS or (written.key, written.value) != (record.key, record.value):
        return False
    return tuple(written.headers) == tuple(record.headers) and (change.kind != "tick" or _is_tick(change))


def _is_tick(change: Change) -> bool:
    return change.id == change_id(f"tick/{change.record}/{change.at}")


class _Given(NamedTuple):
    """What the load gave to one partition."""

    offsets: "array[int]"
    digests: Column


def _fed(account: Account, there: Mapping[Partition, Standing], blame: Blame) -> list[Place]:
    """Whether what the load gave is what stands; returns the places of what may or may not stand."""
    if account.fed is None:
        return []
    given, unknown = _given(account, account.fed)
    places = []
    for where in sorted(there.keys() | given.keys()):
        standing = there.get(where, Standing())
        left = dict(zip(standing.offsets, standing.digests, strict=True))
        for offset, digest in zip(*given[where], strict=True):
            if left.pop(offset, None) != digest:
                places.append((*where, offset))
                blame.charge(places[-1], "lost", "was acknowledged, and does not stand in its own bytes")
        for offset, digest in left.items():
            if unknown[where[0], digest]:
                unknown[where[0], digest] -= 1
            else:
                blame.find("surplus", (*where, offset), "nobody gave this record to the source topic")
    for number, (topic, _) in enumerate(unknown.elements()):
        places.append((topic, -1, number))
        blame.charge(places[-1], "unknown", "was never acknowledged, and does not stand")
    return places


def _given(account: Account, fed: Iterable[Given]) -> tuple[Mapping[Partition, _Given], Counter[tuple[str, bytes]]]:
    """What was given to source topics, by where it stands; and what of all topics stands nobody knows where."""
    given: dict[Partition, _Given] = defaultdict(lambda: _Given(integers(), Column(DIGEST)))
    unknown: Counter[tuple[str, bytes]] = Counter()
    owned = account.owned
    for one in fed:
        if one.partition is None or one.offset is None:
            unknown[one.topic, one.digest] += 1
        elif one.topic not in owned:
            to = given[one.topic, one.partition]
            to.offsets.append(one.offset)
            to.digests.append(one.digest)
    return given, unknown
