"""Workers are killed, stopped, woken and told to end under load: every input is decided once, and counted at most once.

Each test is one run with one verdict. What cannot be certain by a signal's moment is made certain by a failpoint.
"""

import random
import signal
from pathlib import Path

from chaos.fault import REGISTRY
from chaos.faults_worker import Point, held, kill_at, lanes_of, stopped_in_transaction, stops, zombie_at
from chaos.marks import FAULTS
from chaos.run import Run
from integration.brokers import TestBroker
from ownership_stream.lane.failpoint import POINTS

pytestmark = FAULTS

# Every point in a decide lane, which does the most; for the others those that a stage can differ in.
KILLS = [
    *(Point("decide", point) for point in POINTS),
    *(Point("intake", point) for point in ("before-init", "6-produce", "6-offsets", "6-commit")),
    *(Point("match", point) for point in ("6-offsets", "6-commit", "7-save")),
]
# The late start of a former holder, its open transaction, its late write to Redis.
SLEEPS = [Point("decide", point) for point in ("before-init", "6-offsets", "6-commit")]


def test_a_worker_killed_at_any_point_leaves_nothing_lost_twice_or_wrong(kafka: TestBroker, tmp_path: Path) -> None:
    """One worker after the other dies by `kill -9` at each numbered point, while another goes on."""
    with Run(kafka, seed=1, first=1) as run:
        run.await_progress(100)
        kill_at(run, KILLS, side=3)
        run.prove(tmp_path)
    assert sorted(f"{one.stage}:{one.point}" for one in KILLS) == sorted(run.killed_at)


def test_a_zombie_that_wakes_is_fenced_wherever_it_slept(kafka: TestBroker, tmp_path: Path) -> None:
    """A worker stops in the middle of a lane's start or of a batch; others take over; it wakes and commits nothing."""
    with Run(kafka, seed=2) as run:
        run.await_progress(100)
        for point in SLEEPS:
            sleeper = zombie_at(run, point)
            assert "lane_stopped" in sleeper.said() or "lane_recreated" in sleeper.said()
            run.end(sleeper)
        run.prove(tmp_path)


def test_workers_may_come_and_go_as_they_like(kafka: TestBroker, tmp_path: Path) -> None:
    """Killed one by one and all at once, joining, leaving, and stopped at any moment."""
    dice = random.Random(3)  # noqa: S311  # the dice of a test
    with Run(kafka, seed=3, first=3) as run:
        for name in ("kill-at-random", "come-and-go", "zombie-at-random", "connector-restarted", "kill-all"):
            run.inject(REGISTRY[name], dice)
        run.prove(tmp_path)


def test_a_worker_told_to_end_settles_its_batch_and_costs_the_others_one_rebalance(
    kafka: TestBroker, tmp_path: Path
) -> None:
    """SIGTERM in the middle of a transaction: exit code 0, and once it is gone no lane is given away more than once."""
    # A session so long that a busy machine is no reason for a rebalance.
    with Run(kafka, seed=4, session_timeout_seconds=15.0) as run:
        run.await_progress(100)
        with stopped_in_transaction(run, random.Random(4)) as leaver:  # noqa: S311  # the dice of a test
            leaver.signal(signal.SIGTERM)
        assert 0 == run.await_end(leaver)
        others = {worker: len(worker.said()) for worker in run.sound}
        run.until(lambda: lanes_of(run) == set().union(*map(held, others)), "all lanes at the others")
        run.await_progress(200)
        assert 1 >= max(
            (number for worker, mark in others.items() for number in stops(worker, mark).values()), default=0
        )
        run.prove(tmp_path)


def test_a_partition_may_move_while_its_transaction_is_open(kafka: TestBroker, tmp_path: Path) -> None:
    """A rebalance begins while a worker stands still between `produce` and commit."""
    with Run(kafka, seed=5, first=1) as run:
        run.await_progress(100)
        run.inject(REGISTRY["reassignment-in-a-transaction"], random.Random(5))  # noqa: S311  # the dice of a test
        run.prove(tmp_path)


def test_a_batch_whose_transaction_timed_out_without_a_rival_is_run_again(kafka: TestBroker, tmp_path: Path) -> None:
    """The broker ends the transaction of the only worker, whose next batch is fetched already: nothing is skipped."""
    with Run(kafka, seed=6, first=1) as run:
        run.await_progress(100)
        run.inject(REGISTRY["transaction-times-out"], random.Random(6))  # noqa: S311  # the dice of a test
        run.prove(tmp_path)
