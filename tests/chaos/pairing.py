"""Outputs that must stand, paired with those that do: each once, in its partition, in its lane's order.

Several lanes write to one partition; the order that is promised is that of each lane, and so of each record. Control
records and states are not paired here (`standing`).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from chaos.expected import Body, Lane, Place, Wanted, body_of, buried_at
from chaos.finding import Blame, place_text
from chaos.witness import Witness
from ownership_stream.lane.contract import LaneId, Record


def pair(witness: Witness, lanes: Sequence[Lane], blame: Blame) -> list[Record]:
    """Charges what is lost, duplicated or out of order; returns what no lane was to write.

    Tells `blame` from which input each record came.
    """
    state_topics = {lane.step.state_topic for lane in lanes} | {witness.control_topic}
    there: dict[Body, list[Record]] = defaultdict(list)
    for topic, records in witness.records.items():
        if topic not in state_topics:
            for record in records:
                there[body_of(record)].append(record)
    wanted: dict[Body, list[Wanted]] = defaultdict(list)
    for lane in lanes:
        for one in lane.wanted:
            wanted[one.body].append(one)
    pairs, missing = _match(wanted, there, blame)
    left = [record for body, records in there.items() if body not in wanted for record in records]
    for one, record in pairs:
        blame.sources[_place(record)] = one.source
    surplus = _explain(missing, left, blame)
    _check_order(pairs, wanted, blame)
    return surplus


def _match(
    wanted: Mapping[Body, list[Wanted]], there: Mapping[Body, list[Record]], blame: Blame
) -> tuple[list[tuple[Wanted, Record]], list[Wanted]]:
    """The pairs, and what is missing. Of the same body, the first wanted is the first that stands."""
    pairs: list[tuple[Wanted, Record]] = []
    missing: list[Wanted] = []
    for body, ones in wanted.items():
        records = there.get(body, [])
        pairs += zip(ones, records, strict=False)
        missing += ones[len(records) :]
        for record in records[len(ones) :]:
            text = (
                f"`{body.topic}` has its output twice: {place_text(_place(records[0]))}, {place_text(_place(record))}"
            )
            blame.charge(ones[-1].source, "duplicated", text)
            blame.sources[_place(record)] = ones[-1].source
    return pairs, missing


def _explain(missing: Sequence[Wanted], left: Sequence[Record], blame: Blame) -> list[Record]:
    """Charges what is missing, saying where it stands in another shape; what is left then."""
    alike: dict[tuple[str, object], list[Record]] = defaultdict(list)
    for record in left if missing else ():
        alike[record.topic, _name(record)].append(record)
    taken = set()
    for one in missing:
        body = one.body
        name = _name(Record(body.topic, body.partition, -1, 0, body.key, body.value, body.headers))
        others = alike[body.topic, name]
        text = f"its output in `{body.topic}`[{body.partition}] does not stand"
        if others:
            other = others.pop()
            taken.add(_place(other))
            how = "in another partition" if other.partition != body.partition else "with other bytes"
            text = f"{text}: {how} at {place_text(_place(other))}"
            blame.sources[_place(other)] = one.source
        blame.charge(one.source, "lost", text)
    return [record for record in left if _place(record) not in taken]


def _name(record: Record) -> object:
    """What a record can be known by though its bytes or its partition are not the right ones."""
    told = dict(record.headers)
    buried, _ = buried_at(record)
    return buried or told.get("ce_id") or (record.key, record.value)


def _check_order(pairs: Iterable[tuple[Wanted, Record]], wanted: Mapping[Body, list[Wanted]], blame: Blame) -> None:
    """Charges outputs that stand before one that their lane wrote earlier.

    The same bytes from several lanes say nothing: nobody knows whose are whose.
    """
    written: dict[tuple[LaneId, str, int], list[tuple[Wanted, Record]]] = defaultdict(list)
    for one, record in pairs:
        twins = wanted[one.body]
        if len(twins) == 1 or len({twin.lane for twin in twins}) == 1:
            written[one.lane, record.topic, record.partition].append((one, record))
    for some in written.values():
        some.sort(key=lambda pair: pair[0].order)
        for one, record in _strays(some):
            blame.charge(one.source, "out of order", f"its output stands at {place_text(_place(record))}")


def _strays(some: Sequence[tuple[Wanted, Record]]) -> list[tuple[Wanted, Record]]:
    """The fewest whose removal leaves ascending offsets: all but a longest ascending run."""
    offsets = [record.offset for _, record in some]
    if all(before < after for before, after in pairwise(offsets)):
        return []
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, offset in enumerate(offsets):
        length = bisect_left(tails, offset)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [offset]
        ends[length : length + 1] = [index]
    kept, index = set(), ends[-1]
    while index >= 0:
        kept.add(index)
        index = before[index]
    return [pair for index, pair in enumerate(some) if index not in kept]


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
