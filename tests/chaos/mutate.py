"""`make mutate`: the exactly-once mechanism is broken on purpose, one break after the other; the harness must see each.

Workers run a mutated copy of the source, under the faults that ought to expose it; the judge computes with the code as
it is. Each set of faults is first played unmutated, and must end well: a catch means nothing without that control.
Exit code 1 if a mutation survives or a control is not well, 4 without a real Kafka or a redis-server.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from time import monotonic
from typing import Final

from confluent_kafka import Producer

from chaos.counted import compare_metrics
from chaos.faults_worker import LONG, Point, kill_at, lane_lines, zombie_at
from chaos.installation import SRC, WorkerProcess
from chaos.load import events
from chaos.mutations import MUTATIONS, PACKAGE, Mutation
from chaos.run import Brokers, Run, asleep
from chaos.script import shared_broker
from ownership_stream.errors import ExitCode

SEED: Final = 14
ABORTED_EVENTS: Final = 60
# How many batches another holder is ahead when a late write comes.
AHEAD: Final = 8


@dataclass(frozen=True)
class Outcome:
    """What became of one run: `word` is `well`, or how it was seen.

    `verdict` and `metrics` of the judge, `refused` by a worker that ended itself, `restless` where lanes start anew
    without a fault, and `stalled`.
    """

    word: str
    told: str
    seconds: float


class RestlessError(AssertionError):
    """Lanes start anew though nothing befell them."""


# ---------------------------------------------------------------------------------------------------- the faults


def undisturbed(run: Run) -> None:
    """One worker, and no fault at all: no lane may have to start anew."""
    worker = run.start_worker(**LONG)
    run.await_progress(150)
    recreated = sum(event == "lane_recreated" for event, _ in lane_lines(worker.said()))
    if recreated:
        raise RestlessError(f"undisturbed lanes started anew {recreated} times")


def killed_in_transaction(run: Run) -> None:
    """Two workers are killed with -9 after everything was produced, and before the commit."""
    run.at_strength(1)
    run.await_progress(50)
    kill_at(run, [Point("decide", "6-offsets", 2), Point("decide", "6-offsets", 3)])


def zombie_before_transaction(run: Run) -> None:
    """A worker sleeps between its decisions and their transaction, and wakes when others have its lanes."""
    zombie_at(run, Point("decide", "5-sizes", 2))


def flushed(run: Run) -> None:
    """Somebody says FLUSHALL while a worker is at work."""
    run.at_strength(1)
    run.await_progress(150)
    run.redis.ask("FLUSHALL")
    run.await_progress(100)


def flushed_before_save(run: Run) -> None:
    """Somebody says FLUSHALL between the commit and the write to Redis, so that the batch is run again."""
    worker = run.start_worker(failpoint=str(Point("decide", "6-commit", 3)) + ":stop", **LONG)
    run.until(lambda: asleep(worker), "stopped after its commit")
    run.redis.ask("FLUSHALL")
    run.wake(worker)
    run.await_progress(50)


def source_transaction_aborted(run: Run) -> None:
    """A connector with transactions of its own aborts one, after the broker has its records."""
    run.at_strength(1)
    run.await_progress(50)
    producer = Producer(
        {"bootstrap.servers": run.site.bootstrap, "transactional.id": f"{run.site.name}-connector", "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for source, key, value in islice(events(SEED + 1), ABORTED_EVENTS):
        producer.produce(run.site.sources[source], value, key)
    assert producer.flush(30) == 0, "the broker did not take the connector's records"
    producer.abort_transaction(30)
    run.await_progress(50)


def late_write(run: Run) -> None:
    """A worker sleeps between commit and write, and writes while the next holder is between its read and its write."""
    late = run.start_worker(failpoint=str(Point("decide", "6-commit", 3)) + ":stop")
    run.until(lambda: asleep(late), "stopped after its commit")
    holder = run.start_worker(failpoint=str(Point("decide", "5-sizes", AHEAD)) + ":stop", **LONG)
    run.until(lambda: asleep(holder), "the next holder stopped before its transaction")
    mark = len(late.said())
    run.wake(late)
    run.until(lambda: _gave_up_decide(late, mark), "the late writer gave its lane up")
    run.wake(holder)
    run.await_progress(100)


def _gave_up_decide(worker: WorkerProcess, mark: int) -> bool:
    lines = lane_lines(worker.said()[mark:])
    return any(event != "lane_started" and lane.stage == "decide" for event, lane in lines)


class Scenario:
    """Faults by name, and how many partitions our topics have under them."""

    def __init__(self, play: Callable[[Run], None], partitions: int = 2) -> None:
        self.play: Final = play
        self.partitions: Final = partitions


SCENARIOS: Final = {
    "undisturbed": Scenario(undisturbed),
    "killed-in-transaction": Scenario(killed_in_transaction),
    "zombie-before-transaction": Scenario(zombie_before_transaction),
    "flushed": Scenario(flushed),
    "flushed-before-save": Scenario(flushed_before_save),
    "source-transaction-aborted": Scenario(source_transaction_aborted),
    # One lane, so that both workers meet in it.
    "late-write": Scenario(late_write, partitions=1),
}


# ---------------------------------------------------------------------------------------------------- one run


@contextmanager
def mutated(mutation: Mutation | None) -> Iterator[Path]:
    """A copy of the source, with the mutation in it, that workers are proved to take their code from."""
    folder = Path(tempfile.mkdtemp(prefix="ownership-mutated-"))
    try:
        src = folder / "src"
        shutil.copytree(SRC, src, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            mutation.apply(src)
        ask = [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"]
        found = subprocess.run(ask, env={"PYTHONPATH": str(src)}, capture_output=True, text=True, check=True).stdout
        assert Path(found.strip()).is_relative_to(src), f"workers would run {found.strip()}, not the mutated copy"
        yield src
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def played(kafka: Brokers, name: str, mutation: Mutation | None) -> Outcome:
    """One run under a scenario's faults, up to what became of it."""
    scenario, began = SCENARIOS[name], monotonic()
    with mutated(mutation) as src, Run(kafka, SEED, first=0, partitions=scenario.partitions, people=False) as run:
        run.site.src = src
        try:
            scenario.play(run)
            verdict = run.finish()
        except AssertionError as error:
            word, told = _unfinished(run, error)
        else:
            assert run.witness is not None
            findings = compare_metrics(list(run.scrapes.values()), run.witness, run.killed, verdict.counted)
            if not verdict.ok:
                word, told = "verdict", _brief(str(verdict))
            elif findings:
                word, told = "metrics", f"{len(findings)} findings, first: {findings[0]}"
            else:
                word, told = "well", f"{verdict.counts['decided once']:,} inputs decided once"
    return Outcome(word, told, monotonic() - began)


def _unfinished(run: Run, error: AssertionError) -> tuple[str, str]:
    """A worker's own refusal or crash tells something; that time ran out tells only where that may be expected."""
    for worker in run.workers:
        if worker.process.poll() == ExitCode.FAILED:
            return "refused", (worker.said().strip().splitlines() or ["no word"])[-1]
    return "restless" if isinstance(error, RestlessError) else "stalled", str(error).partition("\n")[0]


def _brief(text: str) -> str:
    """The counts and the first finding of a verdict, on one line."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    head = [line for line in lines if line[:1].isdigit()]
    return ", ".join(head) + ("; " + lines[len(head)] if len(lines) > len(head) else "")


# ---------------------------------------------------------------------------------------------------- all runs


def main() -> int:
    """Plays all, or those asked for; returns the exit code."""
    chosen = _arguments()
    bad = list[str]()
    with shared_broker() as kafka:
        for scenario, some in groupby(sorted(chosen, key=lambda one: one.scenario), key=lambda one: one.scenario):
            control = played(kafka, scenario, None)
            _say(f"{'(control)':<25} {scenario:<27} {control.seconds:>4.0f} s  {control.word}: {control.told}")
            if control.word != "well":
                bad.append(f"the control of {scenario}")
                continue
            for mutation in some:
                outcome = played(kafka, scenario, mutation)
                caught = outcome.word not in ("well", "stalled") or (outcome.word == "stalled" and mutation.may_stall)
                how = f"caught ({outcome.word})" if caught else f"NOT CAUGHT ({outcome.word})"
                _say(f"{mutation.name:<25} {scenario:<27} {outcome.seconds:>4.0f} s  {how}: {outcome.told}")
                bad += [] if caught else [mutation.name]
    _say(f"\n{len(chosen)} mutations; not as it must be: {', '.join(bad) or 'none'}")
    return ExitCode.FAILED if bad else ExitCode.OK


def _arguments() -> list[Mutation]:
    known = {mutation.name: mutation for mutation in MUTATIONS}
    parser = argparse.ArgumentParser(prog="make mutate", description="breaks exactly-once, and sees that it is caught")
    parser.add_argument("--only", nargs="*", choices=sorted(known), default=sorted(known), help="these mutations alone")
    return [known[name] for name in parser.parse_args().only]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a script, and this is what it is for


if __name__ == "__main__":
    sys.exit(main())
