"""`make chaos`: rounds of faults for as long as wanted, each judged, up to the first that is not as it must be.

`MINUTES=30` plays random combinations: each round has a seed, and `SEED=<that> MINUTES=0` plays it again. `ROUNDS=200`
kills that many workers with -9 instead, spread over all fail points of all stages, many of them within one judged run.
Exit code 1 with the evidence left in a folder, 4 without a real Kafka or a redis-server.
"""

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, time
from typing import Final

from chaos.cluster import Cluster
from chaos.combined import Round, play, round_of, seeds
from chaos.faults_worker import AT_START, STAGES, Point, kill_at
from chaos.judge import Verdict
from chaos.run import Brokers, Run
from chaos.script import say, shared_broker
from integration.registry import ApicurioNode
from ownership_stream.errors import ExitCode
from ownership_stream.lane.failpoint import POINTS

KILLS_IN_A_RUN: Final = 30
SIDE: Final = 3
# Of so many rounds one is on a cluster of its own, whose nodes are hit as well.
CLUSTER_EVERY: Final = 3
# Of so many one is in Avro, by a schema registry that is hit as well.
AVRO_EVERY: Final = 4


class Totals:
    """What all rounds came to."""

    def __init__(self) -> None:
        self.rounds = 0
        self.words: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.began = monotonic()

    def add(self, run: Run, verdict: Verdict) -> None:
        """One round that was as it must be."""
        self.rounds += 1
        self.words += verdict.counts
        self.faults += Counter(run.injected)
        self.kills += Counter(run.killed_at)

    def __str__(self) -> str:
        """The table at the end."""
        lines = [f"{self.rounds:,} judged runs in {(monotonic() - self.began) / 60:.1f} minutes"]
        lines += [f"{number:>9,}  inputs {word}" for word, number in sorted(self.words.items())]
        lines += [f"{self.words[word]:>9,}  inputs {word}" for word in ("lost", "duplicated") if not self.words[word]]
        lines += [f"{number:>9,}  {name}" for name, number in sorted(self.faults.items())]
        if self.kills:
            lines.append(f"{sum(self.kills.values()):>9,}  kill -9 rounds at {len(self.kills)} fail points:")
            lines += [f"{'':11}{point:<16}{'   '.join(self._kills(point))}" for point in POINTS]
        return "\n".join(lines)

    def _kills(self, point: str) -> list[str]:
        return [f"{stage} {self.kills[f'{stage}:{point}']:>3}" for stage in STAGES]


def main() -> int:
    """Plays; returns the exit code."""
    wanted = _arguments()
    totals = Totals()
    try:
        if wanted.rounds:
            well = _kill(wanted.rounds, wanted.seed, totals)
        else:
            well = _combine(wanted.minutes, wanted.seed, totals)
    except KeyboardInterrupt:
        well = True
    say(f"\n{totals}")
    return ExitCode.OK if well else ExitCode.FAILED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description="rounds of faults, each judged")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long random combinations are played")
    parser.add_argument("--rounds", type=int, default=0, help="kill so many workers at fail points instead")
    parser.add_argument("--seed", type=int, default=int(time()), help="of the first round; default: by chance")
    return parser.parse_args()


# ---------------------------------------------------------------------------------------------------- what is played


def _combine(minutes: float, first: int, totals: Totals) -> bool:
    """Random combinations until the time is over; False at the first that is not well."""
    ends = monotonic() + 60 * minutes
    with shared_broker() as broker, _registry() as registry:
        for seed in seeds(first):
            nodes, avro = _nodes(seed), registry if seed % AVRO_EVERY == 1 else None
            chosen = round_of(seed, cluster=bool(nodes), avro=avro is not None)
            wire = "JSON" if avro is None else "Avro"
            say(f"\nseed {seed}, {nodes or 'shared'} broker(s), {wire}, {chosen.workers} workers: {chosen}")
            if avro is not None:
                avro.start()
            with Cluster(nodes) if nodes else _as_it_is(broker) as kafka:
                if not _judged(kafka, avro, chosen, max(nodes, 1), totals):
                    return False
            if monotonic() > ends:
                return True
    return True


def _judged(kafka: Brokers, registry: ApicurioNode | None, chosen: Round, replication: int, totals: Totals) -> bool:
    replay = f"make chaos MINUTES=0 SEED={chosen.seed}"
    return _played(
        lambda: Run(kafka, chosen.seed, first=chosen.workers, replication=replication, registry=registry),
        lambda run: play(run, chosen),
        replay,
        totals,
    )


def _kill(number: int, seed: int, totals: Totals) -> bool:
    """That many kills, the fail points of all stages in turn, each run in an order of its own."""
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    points = [(stage, point) for point in POINTS for stage in STAGES]
    dice.shuffle(points)
    turns = cycle(points)
    left = number
    with shared_broker() as broker:
        while left > 0:
            some = [_passing(*one, dice) for one in islice(turns, min(KILLS_IN_A_RUN, left))]
            left -= len(some)
            say(f"\nseed {seed}, {len(some)} kills of {number}, {left} left: {', '.join(map(str, some))}")
            replay = f"make chaos ROUNDS={number} SEED={seed}"
            if not _played(lambda: Run(broker, seed, first=1), partial(_kills, points=some), replay, totals):
                return False
    return True


def _passing(stage: str, point: str, dice: random.Random) -> Point:
    return Point(stage, point, 1 if point in AT_START else dice.randint(1, 3))


def _kills(run: Run, points: list[Point]) -> None:
    run.await_progress(50)
    kill_at(run, points, side=SIDE)


def _played(start: Callable[[], Run], inject: Callable[[Run], None], replay: str, totals: Totals) -> bool:
    """One run up to its verdict; False, with the evidence kept, if it is not well."""
    folder = Path(tempfile.mkdtemp(prefix="ownership-chaos-"))
    began = monotonic()
    with start() as run:
        try:
            inject(run)
            verdict = run.prove(folder)
        except Exception:  # noqa: BLE001  # whatever went wrong, a run without a verdict is not well
            told = traceback.format_exc()
            run.keep_evidence(folder, told)
            say(f"{told}\nNOT WELL: the evidence is in {folder}, the run again: {replay}")
            return False
        counts = ", ".join(f"{number:,} {word}" for word, number in verdict.counts.items())
        say(f"  {counts}; {len(run.workers)} workers, {len(run.killed_at)} killed at fail points, "
             f"{monotonic() - began:.0f} s")  # fmt: skip
        totals.add(run, verdict)
    shutil.rmtree(folder, ignore_errors=True)
    return True


# ---------------------------------------------------------------------------------------------------- on what


def _nodes(seed: int) -> int:
    """How many nodes the round's own cluster has; 0: it is on the shared broker."""
    return random.Random(f"{seed}/nodes").choice((1, 3)) if seed % CLUSTER_EVERY == 0 else 0  # noqa: S311  # as above


@contextmanager
def _registry() -> Iterator[ApicurioNode]:
    """The registry of the rounds in Avro, which the first of them starts."""
    with tempfile.TemporaryDirectory(prefix="chaos-registry-") as folder:
        node = ApicurioNode(Path(folder))
        try:
            yield node
        finally:
            node.kill()


@contextmanager
def _as_it_is(broker: Brokers) -> Iterator[Brokers]:
    yield broker


if __name__ == "__main__":
    sys.exit(main())
