"""ownership-stream measured beside others, on a real Kafka and a real Redis, in one run.

Every peer gets the same changes and calls the same pure decision; what it sends is compared, record by record, with
what follows from the log by the pure step alone. Peers take turns within each repeat, so that a busy machine slows all
alike; what may be compared between machines are the ratios.

    python benchmarks/bench.py [--quick] [--repeats N] [--peer WORD]… [--profile WORD] [--write]

Exits with 1 when outputs differ. Missed targets are printed, and fail nothing.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import latency
import scale
from figures import between_marks, differences, number, pace
from load import Load, bytes_of, made, of_intake
from peers.job import Job
from profiles import Profile
from report import HALF, TENTH, Results, half_of, tables, targets
from runs import PREPARED, Watch, copied, expected, log_of, prepare, running, samples, source_topics, written
from servers import Site, available, servers, used
from subjects import BOTH, DECIDE, PEERS, Peer

from ownership_stream.errors import OwnershipError

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "performance.md"
PARTITIONS: Final = 4
LAPS: Final = 4
"""How often the loop that decides nothing gets the load: once, it would be through before it can be measured."""


class DiffersError(OwnershipError):
    """A peer's outputs are not what follows from the log."""


@dataclass(frozen=True)
class Sizes:
    """How much is done. Records and changes of the two loads, of the latency phases, and of the comparison of sizes."""

    repeats: int
    records: int
    changes: int
    short_records: int
    short_changes: int
    seconds: float
    scale: tuple[int, ...]
    scale_changes: int


DEFAULT: Final = Sizes(3, 10_000, 120_000, 1_000, 20_000, 8.0, (10_000, 1_000_000), 40_000)
QUICK: Final = Sizes(1, 1_000, 24_000, 200, 8_000, 4.0, (1_000, 20_000), 20_000)


@dataclass
class Bench:
    """One run of the benchmark: what is there, and what was found so far."""

    site: Site
    folder: Path
    sizes: Sizes
    profile: str = ""
    results: Results = field(default_factory=Results)
    loads: dict[bool, Load] = field(default_factory=dict)
    inputs: dict[bool, str] = field(default_factory=dict)
    wanted: dict[str, Any] = field(default_factory=dict)
    repeated: str = ""
    runs: int = 0
    name: str = field(default_factory=lambda: f"bench{uuid4().hex[:6]}")
    """What all our topics begin with: the broker may be one that others use."""

    def make(self) -> None:
        """The loads, and the changes on topics of their own; all peers read the same."""
        sizes = self.sizes
        for short, records, changes in (
            (False, sizes.records, sizes.changes),
            (True, sizes.short_records, sizes.short_changes),
        ):
            say(f"making the {'short' if short else 'long'} load: {records:,} records, {changes:,} changes of theirs")
            found = self.loads[short] = made(records, changes, PARTITIONS)
            topic = self.inputs[short] = f"{self.name}.{'short' if short else 'long'}.changes"
            self.site.create([topic], PARTITIONS, PREPARED)
            self.site.write(found.changes, {found.changes[0].topic: topic})
        topic = self.repeated = f"{self.name}.repeated.changes"
        self.site.create([topic], PARTITIONS, PREPARED)
        self.site.write(self.loads[False].changes * LAPS, {self.loads[False].changes[0].topic: topic})
        self.results.about = about(self.loads[False], sizes)

    def job(self, peer: Peer, changes: str = "", **said: Any) -> Job:
        """A run of a peer, under a name that no run had before; `said` as `Job` has it."""
        self.runs += 1
        name = f"{self.name}-{peer.word}-{self.runs:03d}"
        folder = self.folder / name
        folder.mkdir()
        return Job(
            name=name,
            bootstrap=self.site.bootstrap,
            redis_url=self.site.redis_url,
            partitions=PARTITIONS,
            changes=f"{name}.changes" if peer.cdc else changes or f"{name}.given",
            sources=source_topics(name),
            folder=str(folder),
            **said,
        )

    # ---------------------------------------------------------------------------------------------- throughput

    def throughput(self, peer: Peer, *, first: bool) -> None:
        """One run of a peer over a load that lies there; `first`: in the first repeat everything is compared."""
        load = self.loads[peer.short]
        job = self.job(peer, self.repeated if peer.copies else self.inputs[peer.short])
        prepare(self.site, peer, job)
        inputs, follow = [job.changes], ""
        if peer.cdc:
            inputs, follow = list(job.sources.values()), job.changes
            self.site.create(inputs, PARTITIONS)
            self.settle(peer, job, load)
        with running(peer, job) as run:
            looking = Watch(self.site, run, self.site.ends(inputs), follow)
            with Profile(run, wanted=self.profile == peer.word) as profile:
                looks = looking.until_done(profile.start, load.warm)
            peak = used(run.process.pid).peak
        log = log_of(self.site, job.changes) if peer.cdc else None
        counted = [place for place in looks[-1].committed if place[0] == job.changes]
        seen = samples(looks, log.offsets if log else None, counted)
        try:
            found = pace(seen, load.warm)
        except ValueError as error:
            raise OwnershipError(f"peer `{peer.word}`: {error}") from error
        self.results.paces.setdefault(peer.word, []).append(found)
        self.results.peaks.setdefault(peer.word, []).append(peak)
        equal = self.compare(peer, job, log, load) if first or not peer.cdc else 0
        self.results.compared[peer.word] = self.results.compared.get(peer.word, 0) + equal
        say(
            f"  {peer.word:7} {number(found.rate):>8} changes/s, {number(found.peer)} µs CPU a change, "
            f"{number(peak)} MB" + (f"; {equal:,} outputs compared, all equal" if equal else "")
        )
        self.site.delete(job.name)

    def settle(self, peer: Peer, job: Job, load: Load) -> None:
        """Lets a reader of CDC records bring all records into being, and gives it the rest of the load.

        All at once, every row of the EHR would ask whose it is behind the whole load, and the asking be measured.
        """
        self.site.write(load.cdc[: load.warm_cdc], self.topics(job, load))
        with running(peer, job) as run:
            Watch(self.site, run, self.site.ends(job.sources.values()), job.changes).until_done()
        self.site.write(load.cdc[load.warm_cdc :], self.topics(job, load))

    def topics(self, job: Job, load: Load) -> dict[str, str]:
        """The topics of a run under the names that the load's rows have for them."""
        names = {load.changes[0].topic: job.changes}
        return names | {topic.removeprefix(f"{job.name}."): topic for topic in job.sources.values()}

    def compare(self, peer: Peer, job: Job, log: Any, load: Load) -> int:
        """How many outputs were found equal to those wanted; raises `DiffersError`."""
        if log is not None:
            lost = of_intake(row.change for row in load.changes)
            lost.subtract(of_intake(log.changes))
            if any(lost.values()):
                raise DiffersError(f"peer `{peer.word}`: intake wrote other changes than the load's")
            found, wanted = written(self.site, job), expected(log, job)
        elif peer.copies:
            found, wanted = copied(self.site, job.loop_output), self.cached("copy", job)
        else:
            found, wanted = written(self.site, job), self.cached("decided", job)
        different = differences(wanted, found)
        if different:
            raise DiffersError(f"peer `{peer.word}`: {len(different)} keys differ", *different[:5])
        return sum(map(len, found.values()))

    def cached(self, what: str, job: Job) -> Any:
        """What is wanted of everybody who reads this input."""
        key = f"{what} {job.changes}"
        if key not in self.wanted:
            copy = what == "copy"
            self.wanted[key] = copied(self.site, job.changes) if copy else expected(log_of(self.site, job.changes), job)
        return self.wanted[key]

    # ---------------------------------------------------------------------------------------------- latency

    def latency(self, peer: Peer) -> None:
        """A peer at a tenth and at half of its own maximum; the limit at half of ours too."""
        loads = {TENTH: self.maximum(peer) / 10, HALF: self.maximum(peer) / 2}
        if peer.copies:
            ours = [other for other in (DECIDE, BOTH) if other.word in self.results.paces]
            loads |= {half_of(other.word): self.maximum(other) / 2 for other in ours}
        load = self.loads[peer.short]
        job = self.job(peer, swift=True)
        self.site.create([*(job.sources.values() if peer.cdc else [job.changes])], PARTITIONS, PREPARED)
        prepare(self.site, peer, job)
        names, rows = self.topics(job, load), load.cdc if peer.cdc else load.changes
        warm = load.warm_cdc if peer.cdc else load.warm
        names = {word: topic for word, topic in names.items() if peer.cdc == (topic in job.sources.values())}
        self.site.write(rows[:warm], names)
        follow = job.changes if peer.cdc else ""
        todo = latency.phases(list(loads.values()), rows[warm:], self.sizes.seconds, laps=peer.copies)
        with running(peer, job) as run:
            Watch(self.site, run, self.site.ends(names.values()), follow).until_done()
            for word, phase in zip(loads, todo, strict=True):
                found = latency.measure(self.site, run, phase, names, follow, Path(job.folder))
                self.results.latencies.setdefault((peer.word, word), []).append(found)
                say(
                    f"  {peer.word:7} at {number(phase.rate):>7} changes/s: p50 {number(found.p50)} ms, "
                    f"p99 {number(found.p99)} ms of {found.outputs:,} outputs"
                )
        self.site.delete(job.name)

    def maximum(self, peer: Peer) -> float:
        """The most changes a second that the peer was found to do."""
        return median(self.results.rates(peer.word))

    # ---------------------------------------------------------------------------------------------- sizes

    def scale(self) -> None:
        """Our decide stage with few and with many records."""
        sizes = self.sizes
        needed = sum(sizes.scale) * scale.STATE_BYTES / 1e6 * 1.3
        if available() < needed:
            say(f"sizes: left out, {number(available())} MB of memory are free and {number(needed)} are needed")
            return
        several = []
        for records in sizes.scale:
            say(f"sizes: putting the states of {records:,} records into Redis")
            several.append(
                scale.opened(
                    self.site, self.job(DECIDE, batch=scale.BATCH), records, sizes.scale_changes, sizes.repeats
                )
            )
        for repeat in range(sizes.repeats):
            for size in several:
                found = scale.work(self.site, size, repeat)
                each = number(found.peer)
                say(f"  {size.records:>9,} records: {number(found.rate)} changes/s, {each} µs CPU a change")
        self.results.sizes = {size.records: size.paces for size in several}


def about(load: Load, sizes: Sizes) -> list[str]:
    """What was measured: without it the figures say nothing."""
    mix = ", ".join(f"{share:.0f} % {kind}" for kind, share in load.mix.items())
    total = sum(load.outcomes.values())
    moved = {kind: count for kind, count in load.outcomes.items() if kind != "noop"}
    outcomes = ", ".join(f"{count:,} {kind}" for kind, count in moved.items())
    machine = f"{platform.machine()}, Python {platform.python_version()}, {processors()} processors"
    return [
        f"{machine} for peer, broker, Redis and the measuring; one broker, {PARTITIONS} partitions",
        f"{sizes.repeats} repeats, in which the peers take turns: the median, and the least and the greatest",
        f"{sizes.records:,} records in both systems come into being first (not measured)",
        f"then {load.measured:,} changes: {mix}",
        f"of their {total:,} carried fields {outcomes}; the others were unchanged",
        f"a change has {bytes_of(load.changes):,.0f} bytes, a CDC record {bytes_of(load.cdc):,.0f}",
        f"Faust gets less of the same making: {sizes.short_records:,} records, {sizes.short_changes:,} changes",
    ]


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def say(text: str) -> None:
    """A line, at once."""
    print(f"[{monotonic() - BEGAN:5.0f} s] {text}", flush=True)


BEGAN: Final = monotonic()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    words = [peer.word for peer in PEERS]
    parser = argparse.ArgumentParser(description="ownership-stream measured beside others")
    parser.add_argument("--quick", action="store_true", help="small loads, one repeat: whether everything works")
    parser.add_argument("--repeats", type=int, help="how often each peer is run; they take turns")
    parser.add_argument("--records", type=int, help="the greater number of records of the comparison of sizes")
    parser.add_argument("--changes", type=int, help="how many changes are measured")
    parser.add_argument("--peer", action="append", choices=words, help="only this peer; may be given again")
    parser.add_argument(
        "--only", choices=["throughput", "latency", "sizes"], help="only this part (latency needs throughput)"
    )
    parser.add_argument("--profile", choices=words, default="", help="print where this peer's time goes (py-spy)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    found = parser.parse_args(given)
    if found.write and (found.quick or found.peer or found.only):
        parser.error("--write is for a whole run: without --quick, --peer and --only")
    return found


def sizes_of(given: argparse.Namespace) -> Sizes:
    """How much is to be done."""
    base = QUICK if given.quick else DEFAULT
    words = dict(vars(base))
    words |= {name: value for name in ("repeats", "changes") if (value := getattr(given, name)) is not None}
    if given.records is not None:
        words["scale"] = (base.scale[0], given.records)
    return Sizes(**words)


def work(bench: Bench, given: argparse.Namespace) -> None:
    """Everything that was asked for, part by part."""
    peers = [peer for peer in PEERS if given.peer is None or peer.word in given.peer]
    if given.only != "sizes":
        bench.make()
        for repeat in range(bench.sizes.repeats):
            say(f"throughput, repeat {repeat + 1} of {bench.sizes.repeats}")
            for peer in peers:
                bench.throughput(peer, first=repeat == 0)
        for repeat in range(bench.sizes.repeats if given.only != "throughput" else 0):
            say(f"latency, repeat {repeat + 1} of {bench.sizes.repeats}")
            for peer in peers:
                bench.latency(peer)
    if given.only in (None, "sizes"):
        bench.scale()


def main() -> int:
    """Measure, print, and write the page if asked to."""
    given = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="ownership-bench-"))
    try:
        with servers() as site:
            bench = Bench(site, folder, sizes_of(given), given.profile)
            bench.results.quick = given.quick
            try:
                work(bench, given)
            finally:
                site.delete(bench.name)
    except (OwnershipError, ValueError) as error:
        problems = getattr(error, "problems", [str(error)])
        print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = tables(bench.results)
    print(f"\n{text}\n", *targets(bench.results), sep="\n")
    if given.write:
        PAGE.write_text(between_marks(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
