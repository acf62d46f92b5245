"""The verdict on a run: for each input what became of it, and whatever else is not as it must be.

Pure: from a `Witness` and the pure steps alone. Intake, decide and match are decided again from their committed input,
and everything that stands is compared with that: outputs (`pairing`), states, control records, offsets and Redis
(`standing`). What a change led to is charged to the source record that the change came from.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos import pairing, standing
from chaos.counted import compare_metrics
from chaos.expected import Lane, Place, lanes, split
from chaos.finding import Blame, Finding
from chaos.witness import Fed, Witness
from ownership_stream.app import Stage
from ownership_stream.identity import change_id
from ownership_stream.lane.contract import Record
from ownership_stream.model import Change
from ownership_stream.wire import JSON, WireError, change_message

__all__ = ["Finding", "Verdict", "compare_metrics", "judge"]

WORDS: Final = ("lost", "duplicated", "out of order", "wrong state", "unknown", "decided once")
"""Worst first: where more than one is true of an input, the first one is said."""
SHOWN: Final = 12
COMMANDS: Final = frozenset({"tick", "pause", "resume", "reset_breaker"})
"""Kinds of changes that no lane writes: workers' tickers and people do, and they are inputs of their own."""


@dataclass
class Verdict:
    """`inputs` says one word of each input; `findings` are those that are about no input.

    Inputs are the records of the source topics, and on `ownership.changes` the ticks, people's commands and whatever
    was fed there. `counted` are the steps' counts of everything settled, `sources` the input of each output that
    stands.
    """

    inputs: dict[Place, Finding] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counted: Counter[tuple[str, ...]] = field(default_factory=Counter)
    sources: dict[Place, Place] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many inputs each word was said of."""
        return Counter(finding.word for finding in self.inputs.values())

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing twice, order kept, states right. What was never acknowledged may be unknown."""
        return not self.findings and not set(self.counts) - {"decided once", "unknown"}

    def __str__(self) -> str:
        """A short table, and the first findings with their places."""
        counts = self.counts
        lines = [f"{counts[word]:>9,}  {word}" for word in reversed(WORDS) if counts[word] or word == "decided once"]
        bad = [one for one in self.inputs.values() if one.word not in ("decided once", "unknown")]
        unknown = [one for one in self.inputs.values() if one.word == "unknown"]
        told = [*bad, *self.findings, *unknown]
        lines.append(f"{len(self.findings):>9,}  other findings")
        lines += [f"  {one}" for one in told[:SHOWN]]
        lines += [f"  and {len(told) - SHOWN:,} more"] if len(told) > SHOWN else []
        return "\n".join(lines)


def judge(witness: Witness, stages: Sequence[Stage]) -> Verdict:
    """The verdict. `stages` are those that the workers ran: `assembly.stages`."""
    by_partition = split([*witness.inputs, *(record for some in witness.records.values() for record in some)])
    decided = lanes(witness, stages, by_partition)
    blame = Blame()
    changes = next(topic for stage in stages if stage.step.name == "decide" for topic in stage.topics)
    surplus = pairing.pair(witness, decided, blame)
    own = _unexplained(witness, changes, surplus, blame)
    for lane in decided:
        standing.check(witness, lane, by_partition, blame)
    standing.check_nobodys(witness, decided, by_partition, blame)
    places = [(one.topic, one.partition, one.offset) for one in (*witness.inputs, *own)]
    verdict = Verdict(sources=blame.sources)
    for lane in decided:
        verdict.counted.update(lane.counts)
        _pending(lane, blame)
    _fed(witness, blame, places)
    verdict.inputs, verdict.findings = blame.settle(places, WORDS)
    return verdict


def _unexplained(witness: Witness, changes: str, surplus: Iterable[Record], blame: Blame) -> list[Record]:
    """Of the records that are no lane's output, those that are inputs of their own; the others are findings."""
    given = {(fed.topic, fed.partition, fed.offset): fed for fed in witness.fed or () if fed.topic == changes}
    own = []
    for record in surplus:
        place = (record.topic, record.partition, record.offset)
        fed = given.pop(place, None)
        if record.topic == changes and (
            _is_command(record) or (fed and (fed.key, fed.value) == (record.key, record.value))
        ):
            own.append(record)
        else:
            blame.find("surplus", place, "no input explains this record")
    for fed in given.values():
        blame.find("lost", (fed.topic, fed.partition or 0, fed.offset or 0), "was acknowledged, and does not stand")
    return own


def _is_command(record: Record) -> bool:
    """Whether a change is one that tickers or people write, in the bytes that these write."""
    try:
        change = JSON.read_change(record.value or b"")
    except WireError:
        return False
    written = change_message(change)
    if change.kind not in COMMANDS or (written.key, written.value) != (record.key, record.value):
        return False
    return tuple(written.headers) == tuple(record.headers) and (change.kind != "tick" or _is_tick(change))


def _is_tick(change: Change) -> bool:
    return change.id == change_id(f"tick/{change.record}/{change.at}")


def _pending(lane: Lane, blame: Blame) -> None:
    for place in lane.pending:
        blame.charge(place, "unknown", f"not settled: the lane is committed up to {lane.settled}")
    if lane.pending:
        blame.find("behind", lane.pending[0], f"{len(lane.pending)} records wait before {lane.id}")


def _fed(witness: Witness, blame: Blame, places: list[Place]) -> None:
    """Whether what the load gave is what stands; adds the places of what may or may not stand."""
    if witness.fed is None:
        return
    there = {(one.topic, one.partition, one.offset): (one.key, one.value) for one in witness.inputs}
    unknown: dict[tuple[str, bytes | None, bytes | None], list[Fed]] = defaultdict(list)
    for fed in witness.fed:
        if fed.partition is None or fed.offset is None:
            unknown[fed.topic, fed.key, fed.value].append(fed)
        elif fed.topic not in witness.records:
            place = (fed.topic, fed.partition, fed.offset)
            if there.pop(place, None) != (fed.key, fed.value):
                places.append(place)
                blame.charge(place, "lost", "was acknowledged, and does not stand in its own bytes")
    for (topic, partition, offset), (key, value) in there.items():
        if unknown[topic, key, value]:
            unknown[topic, key, value].pop()
        else:
            blame.find("surplus", (topic, partition, offset), "nobody gave this record to the source topic")
    for number, fed in enumerate(fed for some in unknown.values() for fed in some):
        place = (fed.topic, -1, number)
        places.append(place)
        blame.charge(place, "unknown", "was never acknowledged, and does not stand")
