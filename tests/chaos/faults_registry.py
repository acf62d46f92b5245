"""What happens to the schema registry: gone, or silent, while workers work and while one comes.

Only for runs in Avro. A registry is asked once for each schema, so those that are at work go on by what they know; one
that comes knows nothing.
"""

import random
from collections.abc import Callable

from chaos.fault import fault
from chaos.installation import WorkerProcess
from chaos.run import Run
from integration.registry import ApicurioNode


def waiting_for_the_registry(run: Run, worker: WorkerProcess) -> None:
    """Until this worker says that it waits for the registry; it must be alive all the while."""

    def waits() -> bool:
        status, reason = worker.get("/readyz")
        return status == 503 and "schema registry: does not answer" in reason

    run.until(waits, "/readyz says that the schema registry is away")
    assert (200, "alive\n") == worker.get("/healthz")


@fault("registry", "workers", "progress")
def registry_killed(run: Run, dice: random.Random) -> None:
    """The schema registry is killed: workers go on by the schemas they know, one that comes waits until it is back."""
    _away(run, dice, lambda registry: registry.kill(), lambda registry: registry.start())


@fault("registry", "workers", "progress")
def registry_silent(run: Run, dice: random.Random) -> None:
    """The schema registry takes connections and answers nobody; likewise."""
    _away(run, dice, lambda registry: registry.pause(), lambda registry: registry.resume())


def _away(
    run: Run,
    dice: random.Random,
    go: Callable[[ApicurioNode], None],
    come: Callable[[ApicurioNode], None],
) -> None:
    registry = run.registry
    assert registry is not None, "a run in Avro has a registry"
    run.await_progress(dice.randrange(1, 200))
    run.on_lift(lambda: come(registry))
    go(registry)
    run.await_progress(50)
    newcomer = run.start_worker()
    waiting_for_the_registry(run, newcomer)
    come(registry)
    run.await_ready(newcomer)
    run.await_progress(50)
