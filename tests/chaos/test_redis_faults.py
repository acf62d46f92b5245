"""Redis dies, forgets, lies, halts and refuses under load: every input is decided once, by a state that is proven.

No worker dies in these runs, so what they counted must be exactly what the records say.
"""

import random
from pathlib import Path

import pytest

from chaos.fault import REGISTRY
from chaos.faults_redis import waiting_for_redis
from chaos.marks import FAULTS
from chaos.run import Run
from integration.brokers import TestBroker

pytestmark = FAULTS


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["restarted-empty", "set-back", "flushed", "keys-vanish"], id="forgets"),
        pytest.param(["away", "stopped", "slow"], id="halts"),
        pytest.param(["full", "locked", "failed-over"], id="refuses"),
    ],
)
def test_nothing_is_decided_without_its_state_and_nothing_is_counted_that_did_not_commit(
    kafka: TestBroker, tmp_path: Path, names: list[str]
) -> None:
    """Fault after fault in one run; the metrics of all workers together are exactly what the records say."""
    dice = random.Random(7)  # noqa: S311  # the dice of a test
    with Run(kafka, seed=7) as run:
        run.await_progress(100)
        for name in names:
            run.inject(REGISTRY[f"redis-{name}"], dice)
        run.prove(tmp_path)
        assert not run.killed


def test_a_worker_that_redis_does_not_let_in_says_so_and_waits(kafka: TestBroker, tmp_path: Path) -> None:
    """A wrong password at start: alive, not ready, the reason in words, and at work as soon as it is let in."""
    with Run(kafka, seed=8, first=0) as run:
        run.redis.lock()
        worker = run.start_worker()
        waiting_for_redis(run)
        assert "Authentication" in worker.get("/readyz")[1]
        assert 0 == run.decided()
        run.redis.unlock()
        run.await_ready(worker)
        run.await_progress(100)
        run.prove(tmp_path)
