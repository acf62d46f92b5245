"""The schema registry dies and falls silent under a load in Avro: every input is decided once, in Avro too."""

import random
from pathlib import Path

from chaos.fault import REGISTRY
from chaos.faults_registry import waiting_for_the_registry
from chaos.marks import FAULTS
from chaos.run import Run
from integration.brokers import TestBroker
from integration.registry import ApicurioNode

pytestmark = FAULTS


def test_workers_go_on_by_the_schemas_they_know_and_one_that_comes_waits(
    kafka: TestBroker, registry: ApicurioNode, tmp_path: Path
) -> None:
    """Nothing is lost or twice, on topics that are all in Avro; nor is anything counted that did not commit."""
    dice = random.Random(9)  # noqa: S311  # the dice of a test
    with Run(kafka, seed=9, registry=registry) as run:
        run.await_progress(100)
        for name in ("registry-killed", "registry-silent"):
            run.inject(REGISTRY[name], dice)
        run.prove(tmp_path)
        assert not run.killed


def test_workers_that_find_no_registry_say_so_and_wait(
    kafka: TestBroker, registry: ApicurioNode, tmp_path: Path
) -> None:
    """At start: alive, not ready, the reason in words, nothing decided; at work as soon as it answers."""
    with Run(kafka, seed=10, first=0, rate=60.0, registry=registry) as run:
        registry.kill()
        run.on_lift(registry.start)
        for worker in run.at_strength():
            waiting_for_the_registry(run, worker)
        assert 0 == run.decided()
        registry.start()
        run.await_progress(100)
        run.prove(tmp_path)
        assert not run.killed
