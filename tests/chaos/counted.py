"""Metrics beside the records: nothing is counted that did not commit, and without a kill nothing is left out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from chaos.expected import is_control
from chaos.finding import Finding
from chaos.witness import Witness
from ownership_stream.lane.contract import LaneId, control_key
from ownership_stream.telemetry.catalogue import CATALOGUE, PREFIX, Kind
from ownership_stream.wire.messages import ERRORS

PER_LANE: Final = frozenset({"records_processed", "batches_committed"})
"""Series that go with their lane: whoever hands a lane over forgets them."""
OF_THE_PROCESS: Final = frozenset({"lanes_recreated", "catch_up_records", "catch_up_seconds"})
"""Counters of what happens to a worker, which no record tells."""
COUNTERS: Final = {metric.name: metric for metric in CATALOGUE if metric.kind is Kind.COUNTER}

Counts = Counter[tuple[str, ...]]


def compare_metrics(
    scrapes: Sequence[str], witness: Witness, killed: bool, counted: Counts | None = None
) -> list[Finding]:
    """Where the workers' counters, summed, are not what the records say.

    `scrapes` is one page per worker, its last one. `killed`: a worker ended before its last scrape, so the counters may
    lack something; they never exceed. `counted` is the verdict's: without it only what is read off the records alone is
    compared (records processed, batches, dead letters). A lane's own series are forgotten when it moves: they are
    compared exactly where its batches are all there.
    """
    found = _summed(scrapes)
    findings = [
        Finding("metrics", None, f"{key[1]} is counted with labels that nobody announced ({number:g} times)")
        for key, number in found.items()
        if key[0] == "unknown_labels" and number
    ]
    for key, here, there in _sides(found, witness, counted):
        if here > there or (here < there and not killed):
            text = f"{PREFIX}{key[0]}{list(key[1:])} is {here:g}, and the records say {there:g}"
            findings.append(Finding("metrics", None, text))
    return findings + list(_lanes(found, witness))


def _sides(found: Counts, witness: Witness, counted: Counts | None) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """Each counter that records tell: what the workers say, and what the records say."""
    wanted = _letters(witness)
    if counted is not None:
        wanted = wanted + Counter({key: number for key, number in counted.items() if key[0] != "dead_letters"})
    names = {"dead_letters"} if counted is None else set(COUNTERS) - PER_LANE - OF_THE_PROCESS - {"unknown_labels"}
    for key in sorted(key for key in found.keys() | wanted.keys() if key[0] in names):
        yield key, found[key], wanted[key]


def _lanes(found: Counts, witness: Witness) -> Iterator[Finding]:
    """The lanes' own series, beside their inputs and control records."""
    records = _records(witness)
    controls = Counter(
        (record.topic, record.partition, record.key)
        for some in witness.records.values()
        for record in some
        if is_control(record.key)
    )
    for key, number in sorted(found.items()):
        if key[0] != "records_processed":
            continue
        lane = LaneId(key[1], key[2], int(key[3]))
        own = sum(
            number
            for (topic, partition, name), number in controls.items()
            if (topic == witness.control_topic and name == control_key(lane, None))
            or (topic == witness.state_topics.get(lane.topic) and partition == lane.partition)
        )
        batches = found["batches_committed", *key[1:]]
        if batches > own:
            yield Finding("metrics", None, f"{lane} counts {batches:g} batches, and {own} are committed")
        there = records[lane.topic, lane.partition]
        if number > there or (batches == own and number != there):
            yield Finding("metrics", None, f"{lane} counts {number:g} records processed, and {there} are")


def _records(witness: Witness) -> Mapping[tuple[str, int], int]:
    """How many records of each partition its lane has settled."""
    return Counter(
        (record.topic, record.partition)
        for some in (witness.inputs, *witness.records.values())
        for record in some
        if record.offset < witness.committed.get((record.topic, record.partition), 0)
    )


def _letters(witness: Witness) -> Counts:
    """Dead letters by stage and reason."""
    letters: Counts = Counter()
    for record in (record for some in witness.records.values() for record in some):
        told = {name: value for name, value in record.headers if name.startswith(ERRORS)}
        if told:
            stage = told.get(f"{ERRORS}stage", b"").decode().partition(":")[0]
            letters["dead_letters", stage, told.get(f"{ERRORS}reason", b"").decode()] += 1
    return letters


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
