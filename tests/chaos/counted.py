"""Metrics beside the records: nothing is counted that did not commit, and without a kill nothing is left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from chaos.columns import Partition
from chaos.finding import Finding
from chaos.witness import Account
from ownership_stream.lane.contract import LaneId, Record, control_key
from ownership_stream.telemetry.catalogue import CATALOGUE, PREFIX, Kind
from ownership_stream.wire.messages import ERRORS

PER_LANE: Final = frozenset({"records_processed", "batches_committed"})
"""Series that go with their lane: whoever hands a lane over forgets them."""
OF_THE_PROCESS: Final = frozenset({"lanes_recreated", "catch_up_records", "catch_up_seconds"})
"""Counters of what happens to a worker, which no record tells."""
COUNTERS: Final = {metric.name: metric for metric in CATALOGUE if metric.kind is Kind.COUNTER}

Counts = Counter[tuple[str, ...]]


@dataclass
class Tally:
    """What counters are compared with, read off the records alone.

    `settled` records of each partition, `controls` by topic, partition and key, `letters` by stage and reason as steps
    count them.
    """

    settled: Counter[Partition] = field(default_factory=Counter)
    controls: Counter[tuple[str, int, bytes]] = field(default_factory=Counter)
    letters: Counts = field(default_factory=Counter)

    def note(self, record: Record) -> bool:
        """One record of a topic of ours; whether it is a dead letter."""
        if record.key is not None and is_control(record.key):
            self.controls[record.topic, record.partition, record.key] += 1
        buried = any(name.startswith(ERRORS) for name, _ in record.headers)
        if buried:
            told = dict(record.headers)
            stage = told.get(f"{ERRORS}stage", b"").decode().partition(":")[0]
            self.letters["dead_letters", stage, told.get(f"{ERRORS}reason", b"").decode()] += 1
        return buried

    def add(self, other: "Tally") -> None:
        """All that another one counted."""
        self.settled.update(other.settled)
        self.controls.update(other.controls)
        self.letters.update(other.letters)


def is_control(key: bytes | None) -> bool:
    """Whether a record of a state topic or of the lanes' topic is a control record."""
    return key is not None and (key == b"__lane" or key.startswith(b"__lane:"))


def tally(account: Account) -> Tally:
    """Of all records, each read for it."""
    found = Tally()
    for where in sorted(account.ends):
        committed = account.committed.get(where, 0)
        for record in account.read(where):
            found.settled[where] += record.offset < committed
            if record.topic in account.owned:
                found.note(record)
    return found


def compare_metrics(
    scrapes: Sequence[str],
    account: Account,
    killed: bool,
    counted: Counts | None = None,
    told: Tally | None = None,
) -> list[Finding]:
    """Where the workers' counters, summed, are not what the records say.

    `scrapes` is one page per worker, its last one. `killed`: a worker ended before its last scrape, so the counters may
    lack something; they never exceed. `counted` is the verdict's: without it only what is read off the records alone is
    compared (records processed, batches, dead letters). `told` is the verdict's too: without it all records are read
    again. A lane's own series are forgotten when it moves: they are compared exactly where its batches are all there.
    """
    found, told = _summed(scrapes), told or tally(account)
    findings = [
        Finding("metrics", None, f"{key[1]} is counted with labels that nobody announced ({number:g} times)")
        for key, number in found.items()
        if key[0] == "unknown_labels" and number
    ]
    for key, here, there in _sides(found, told, counted):
        if here > there or (here < there and not killed):
            text = f"{PREFIX}{key[0]}{list(key[1:])} is {here:g}, and the records say {there:g}"
            findings.append(Finding("metrics", None, text))
    return findings + list(_lanes(found, account, told))


def _sides(found: Counts, told: Tally, counted: Counts | None) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """Each counter that records tell: what the workers say, and what the records say."""
    wanted = +told.letters
    if counted is not None:
        wanted = wanted + Counter({key: number for key, number in counted.items() if key[0] != "dead_letters"})
    names = {"dead_letters"} if counted is None else set(COUNTERS) - PER_LANE - OF_THE_PROCESS - {"unknown_labels"}
    for key in sorted(key for key in found.keys() | wanted.keys() if key[0] in names):
        yield key, found[key], wanted[key]


def _lanes(found: Counts, account: Account, told: Tally) -> Iterator[Finding]:
    """The lanes' own series, beside their inputs and control records."""
    for key, number in sorted(found.items()):
        if key[0] != "records_processed":
            continue
        lane = LaneId(key[1], key[2], int(key[3]))
        own = sum(
            number
            for (topic, partition, name), number in told.controls.items()
            if (topic == account.control_topic and name == control_key(lane, None))
            or (topic == account.state_topics.get(lane.topic) and partition == lane.partition)
        )
        batches = found["batches_committed", *key[1:]]
        if batches > own:
            yield Finding("metrics", None, f"{lane} counts {batches:g} batches, and {own} are committed")
        there = told.settled[lane.topic, lane.partition]
        if number > there or (batches == own and number != there):
            yield Finding("metrics", None, f"{lane} counts {number:g} records processed, and {there} are")


def _summed(scrapes: Sequence[str]) -> Counts:
    """Our counters over all workers, keyed as steps count them: name, then label values in order."""
    found: Counts = Counter()
    for text in scrapes:
        for family in text_string_to_metric_families(text):
            metric = COUNTERS.get(family.name.removeprefix(PREFIX))
            if metric is not None:
                for sample in family.samples:
                    found[metric.name, *(sample.labels[label] for label in metric.labels)] += int(sample.value)
    return found
