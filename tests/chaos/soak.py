"""`make soak`: minutes of load at a share of the maximum, once in peace and once with a worker killed every 20 seconds.

First the maximum is found, by as many workers and with the same looking on: a load that keeps so much before them and
no more (a closed loop), once their states have grown. Then two runs at 70% of it, each on topics and a Redis of its
own, each judged. All figures are taken from outside: resident memory from /proc each second, committed offsets from
the group, and end to end from the source record's CreateTime to the moment at which a reader of committed records
gets an apply, conflict or resolution record that follows from it. Which record follows from which is the judge's
pairing. Exit code 1 where a figure is missed or was not measured, or a run is not well; 4 without real servers.
"""

import argparse
import random
import sys
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not by the letter of PEP 484
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from chaos import reliability
from chaos.apart import Cost
from chaos.faults_worker import LaneName, held
from chaos.installation import WorkerProcess
from chaos.judge import Verdict, compare_metrics
from chaos.run import Brokers, Run
from chaos.script import say, shared_broker
from chaos.soaking import (
    Figure,
    Journey,
    Memory,
    Offsets,
    Window,
    between,
    figures,
    growth,
    percentile,
    table,
    takeover,
)
from chaos.witness import LATEST, await_settled
from ownership_stream.errors import ExitCode
from ownership_stream.settings import Settings

WORKERS: Final = 3
SHARE: Final = 0.7
# Of the soak a worker's settings are the shipped ones: what is measured is what people run.
SHIPPED: Final = {
    name: Settings.model_fields[name].default
    for name in (
        "session_timeout_seconds",
        "transaction_timeout_seconds",
        "message_timeout_seconds",
        "redis_timeout_seconds",
        "shutdown_grace_seconds",
    )
}
# The closed loop keeps so much before the workers, at both stages together.
BEFORE_WORKERS: Final = 4_000
FASTEST: Final = 20_000.0
LOOP_SECONDS: Final = 0.05
# Of the load.
BURST_SECONDS: Final = 0.25
WARM_SECONDS: Final = 60.0
MOST_LOOP_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.5
MEMORY_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 5.0
READ_AT_ONCE: Final = 500
READ_SECONDS: Final = 0.01
KIB: Final = 1024
MEGABYTE: Final = 1_000_000
FINDINGS_SHOWN: Final = 20
# Processes that judge a run once it is over.
JUDGES: Final = 2
# Compaction would take from the judge what a transaction wrote and a later one replaced.
KEPT: Final = {"min.compaction.lag.ms": str(24 * 60 * 60 * 1_000)}


class Kill(NamedTuple):
    """Who was killed when, and which partitions it had."""

    at: float
    places: frozenset[tuple[str, int]]


class Judged(NamedTuple):
    """A run's verdict in few words: of how many `inputs`, how much of what is `said` is `bad`, what it took."""

    inputs: int
    said: str
    bad: int
    cost: Cost

    def __str__(self) -> str:
        return f"{self.said}\n{self.cost}"


class Soaked(NamedTuple):
    """What one run came to, without its records, of which there are gigabytes; `number` events were fed."""

    began: float
    ended: float
    journeys: list[Journey]
    kills: list[Kill]
    looks: list[Offsets]
    memory: dict[WorkerProcess, list[Memory]]
    oldest: WorkerProcess
    judged: Judged
    number: int


# ---------------------------------------------------------------------------------------------------- looking


class Watch:
    """Looks at a run from outside in threads of its own, for a `with`; at its end raises what went wrong."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.looks: list[Offsets] = []
        self.memory: dict[WorkerProcess, list[Memory]] = {}
        self._seen: dict[tuple[str, int], tuple[array[int], array[float]]] = {}
        self._ending = threading.Event()
        self._errors: list[Exception] = []
        jobs = (self._look, self._weigh, self._read)
        self._threads = [threading.Thread(target=self._safe, args=(job,), daemon=True) for job in jobs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def seen(self) -> Iterator[tuple[tuple[str, int, int], float]]:
        """Each output's place, and when it could be read."""
        for where, (offsets, times) in self._seen.items():
            yield from (((*where, offset), at) for offset, at in zip(offsets, times, strict=True))

    def _safe(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001  # raised again by `__exit__`, in the run's own thread
            self._errors.append(error)

    def _look(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            # A look that Kafka did not answer is none; the next one tells.
            with suppress(KafkaException):
                self.looks.append(look(self.run))

    def _weigh(self) -> None:
        while not self._ending.wait(MEMORY_SECONDS):
            for worker in self.run.alive:
                megabytes = resident(worker.process.pid)
                if megabytes is not None:
                    self.memory.setdefault(worker, []).append(Memory(time(), megabytes))

    def _read(self) -> None:
        site = self.run.site
        reader = Consumer(
            {
                "bootstrap.servers": site.bootstrap,
                "group.id": f"{site.name}-soak",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        topics = [site.settings.topic_apply(system) for system in site.sources]
        topics += [site.settings.topic_conflicts, site.settings.topic_resolutions]
        reader.assign([TopicPartition(topic, one, 0) for topic in topics for one in range(site.partitions)])
        try:
            while not self._ending.is_set():
                messages, now = reader.consume(READ_AT_ONCE, timeout=READ_SECONDS), time()
                for message in messages:
                    error = message.error()
                    if error is None:
                        self._note(message, now)
                    elif error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
        finally:
            reader.close()

    def _note(self, message: Any, now: float) -> None:
        where = (message.topic(), message.partition())
        offsets, times = self._seen.setdefault(where, (array("q"), array("d")))
        offsets.append(message.offset())
        times.append(now)


def resident(pid: int) -> float | None:
    """VmRSS of a process in MB; None if it is not there any more."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(found[0]) * KIB / MEGABYTE if found else None


def look(run: Run) -> Offsets:
    """Committed offsets and ends of what intake and decide lanes read."""
    site = run.site
    places = [(topic, one) for topic in site.sources.values() for one in range(site.source_partitions)]
    places += [(site.settings.topic_changes, one) for one in range(site.partitions)]
    asked = [TopicPartition(*place) for place in places]
    found = run._offsets.committed(asked, timeout=REQUEST_SECONDS)
    at = time()
    committed = {(one.topic, one.partition): max(one.offset, 0) for one in found if one.error is None}
    ends = site.admin.list_offsets(
        dict.fromkeys(asked, LATEST),
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=REQUEST_SECONDS,
    )
    return Offsets(at, committed, {(one.topic, one.partition): end.result().offset for one, end in ends.items()})


# ---------------------------------------------------------------------------------------------------- the maximum


def maximum(broker: Brokers, seed: int, seconds: float) -> float:
    """Source events a second that the workers take in and decide, with so much always before them."""
    with Run(broker, seed, first=WORKERS, rate=0.0, people=False, burst=BURST_SECONDS, **SHIPPED) as run:
        keep_all(run)
        for worker in run.alive:
            run.await_ready(worker)
        with Watch(run):
            _loop(run, WARM_SECONDS)
            before, began = run.load.number - behind(look(run)), monotonic()
            _loop(run, seconds)
            done, took = run.load.number - behind(look(run)) - before, monotonic() - began
            run.load.rate = 0.0
        _, judged = judged_run(run)
    say(f"the run that finds the maximum:\n{judged}")
    if judged.bad:
        sys.exit(ExitCode.FAILED)
    return done / took


def _loop(run: Run, seconds: float) -> None:
    ends = monotonic() + seconds
    while monotonic() < ends:
        run.load.rate = FASTEST if behind(look(run)) < BEFORE_WORKERS else 0.0
        run.prove_alive()
        sleep(LOOP_SECONDS)


def behind(found: Offsets) -> int:
    """How much waits before the lanes, markers of transactions included."""
    return sum(max(end - found.committed.get(place, 0), 0) for place, end in found.ends.items())


# ---------------------------------------------------------------------------------------------------- the soak


def soak(broker: Brokers, seed: int, rate: float, seconds: float, every: float | None) -> Soaked:
    """One run of so many seconds; every so many of them a worker is killed and replaced. None: nobody is."""
    with Run(broker, seed, first=WORKERS, rate=0.0, people=False, burst=BURST_SECONDS, **SHIPPED) as run:
        oldest = run.workers[0]
        keep_all(run)
        for worker in run.alive:
            run.await_ready(worker)
        with Watch(run) as watch:
            run.load.rate = rate
            began, fed = time(), run.load.number
            kills = _kill_now_and_then(run, oldest, seed, seconds, every)
            ended, fed = time(), run.load.number - fed
            run.load.rate = 0.0
            # What was created in the last moments is seen too, and the last takeover.
            await_settled(run.site)
            sleep(2 * LOOK_SECONDS)
        verdict, judged = judged_run(run)
        found = list(between(journeys(watch, verdict), began, ended))
        return Soaked(began, ended, found, kills, watch.looks, watch.memory, oldest, judged, fed)


def keep_all(run: Run) -> None:
    """Keeps compaction from the topics that the judge reads from their beginning."""
    settings = run.site.settings
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in KEPT.items()]
    asked = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for topic in (settings.topic_state, settings.topic_match_state, settings.topic_lanes)
    ]
    for answer in run.site.admin.incremental_alter_configs(asked, request_timeout=REQUEST_SECONDS).values():
        answer.result()


def judged_run(run: Run) -> tuple[Verdict, Judged]:
    """Lets a run come to rest and judges it; keeps the evidence where it is not well, and says so."""
    verdict, cost = run.finish_apart(JUDGES)
    assert run.witness is not None
    pages = list(run.scrapes.values())
    findings = compare_metrics(pages, run.witness, run.killed, verdict.counted, verdict.tally)
    bad = sum(number for word, number in verdict.counts.items() if word not in ("decided once", "unknown"))
    bad += len(verdict.findings) + len(findings)
    if bad:
        folder = Path(tempfile.mkdtemp(prefix="ownership-soak-"))
        run.keep_evidence(folder, verdict, *findings)
        say("\n".join([f"NOT WELL: the evidence is in {folder}", *map(str, findings[:FINDINGS_SHOWN])]))
    return verdict, Judged(len(verdict.inputs), str(verdict), bad, cost)


def _kill_now_and_then(run: Run, oldest: WorkerProcess, seed: int, seconds: float, every: float | None) -> list[Kill]:
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    kills: list[Kill] = []
    began = monotonic()
    due = began + (every or 2 * seconds)
    while monotonic() < began + seconds:
        if every is not None and monotonic() >= due:
            victim = dice.choice([worker for worker in run.sound if worker is not oldest])
            places = frozenset((lane.topic, lane.partition) for lane in filter(_has_load, held(victim)))
            kills.append(Kill(time(), places))
            run.kill(victim)
            run.start_worker()
            due += every
        run.prove_alive()
        sleep(LOOP_SECONDS)
    return kills


def _has_load(lane: LaneName) -> bool:
    """Match lanes may have nothing to do for as long as they like."""
    return lane.stage in ("intake", "decide")


def journeys(watch: Watch, verdict: Verdict) -> Iterator[Journey]:
    """Of each output that was read, its source record's CreateTime and when it could be read."""
    sources, created = verdict.sources, verdict.created
    for place, at in watch.seen():
        change = sources.get(place)
        source = None if change is None else sources.get(change)
        # What a match lane found comes from no one source record.
        standing = None if source is None else created.get(source[:2])
        index = None if standing is None or source is None else standing.index(source[2])
        if standing is not None and index is not None:
            yield Journey(standing.times[index] / 1_000, at)


# ---------------------------------------------------------------------------------------------------- what is said


def report(rate: float, calm: Soaked, rough: Soaked) -> tuple[list[Figure], str]:
    """The figures, and the page's text."""
    session = float(SHIPPED["session_timeout_seconds"])
    takeovers = [takeover(rough.looks, kill.at, kill.places) for kill in rough.kills]
    windows = [
        Window(kill.at, rough.ended if took is None else kill.at + took)
        for kill, took in zip(rough.kills, takeovers, strict=True)
    ]
    baseline = [one.seconds for one in calm.journeys]
    rows = figures(
        baseline_p99=percentile(baseline, 0.99),
        journeys=rough.journeys,
        windows=windows,
        takeovers=takeovers,
        session=session,
        grown=growth(rough.memory.get(rough.oldest, []), rough.began, rough.ended),
        peak=max(one.megabytes for soaked in (calm, rough) for some in soaked.memory.values() for one in some),
        bad=calm.judged.bad + rough.judged.bad,
    )
    seen = [took for took in takeovers if took is not None]
    overall = [one.seconds for one in rough.journeys]
    covered = _covered(windows, rough.began, rough.ended)
    text = f"""\
{datetime.now(UTC):%Y-%m-%d}: two runs of {rough.ended - rough.began:.0f} s, {WORKERS} workers, {SHARE:.0%} of {rate:,.0f} source events a second.

- without kills: {_run(calm)}; end to end {_spread(baseline)}
- with kills: {_run(rough)}, {len(rough.kills)} workers killed; end to end over all {_spread(overall)}
- takeovers: {len(seen)} of {len(takeovers)} seen; {_spread(seen)}
- fault windows: {covered:.0%} of the time

{table(rows)}
"""  # noqa: E501  # lines of a page
    return rows, text


def _run(soaked: Soaked) -> str:
    return f"{soaked.number:,} events, {soaked.judged.inputs:,} inputs judged"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "not measured"
    return f"p50 {percentile(seconds, 0.5):.3f} s, p99 {percentile(seconds, 0.99):.3f} s ({len(seconds):,} times)"


def _covered(windows: Sequence[Window], begin: float, end: float) -> float:
    covered, reached = 0.0, begin
    for window in sorted(windows):
        covered += max(min(window.end, end) - max(window.begin, reached), 0)
        reached = max(reached, min(window.end, end))
    return covered / (end - begin)


def main() -> int:
    """Finds the maximum, soaks twice, says what was found; returns the exit code."""
    wanted = _arguments()
    seconds = 60 * wanted.minutes
    with shared_broker() as broker:
        most = wanted.maximum or maximum(broker, wanted.seed, min(seconds, MOST_LOOP_SECONDS))
        say(f"seed {wanted.seed}; maximum: {most:,.0f} source events a second")
        calm = soak(broker, wanted.seed + 1, SHARE * most, seconds, None)
        say(f"without kills: {calm.number:,} events\n{calm.judged}")
        rough = soak(broker, wanted.seed + 2, SHARE * most, seconds, wanted.every)
        say(f"with {len(rough.kills)} kills: {rough.number:,} events\n{rough.judged}")
    rows, text = report(most, calm, rough)
    missed = [row.name for row in rows if not row.met]
    say(f"\n{text}")
    if wanted.write:
        reliability.write(soak=text, faults=reliability.faults(), mutations=reliability.mutations())
        say(f"written: docs/{reliability.PAGE.name}")
    say(f"missed: {'; '.join(missed)}" if missed else "every figure is met")
    return ExitCode.FAILED if missed else ExitCode.OK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description="a soak at 70% of the maximum, with workers killed")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of each of the two runs")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills")
    parser.add_argument("--maximum", type=float, default=0.0, help="events a second; default: found first")
    parser.add_argument("--seed", type=int, default=int(time()), help="of the load; default: by chance")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
