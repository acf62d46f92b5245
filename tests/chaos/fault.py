"""What may be done to a running installation: each fault by its name, in one sentence, with what it is done to.

The modules `faults_*` fill the registry; `inject` returns once the fault has happened and, where it passes by itself,
has passed. What it leaves behind for the end of the run it gives to `Run.on_lift`. Nothing here judges.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.run import Run

Inject = Callable[["Run", random.Random], None]


@dataclass(frozen=True)
class Fault:
    """One fault.

    `needs` names what it is done to: `workers`, `redis`, `cluster`, `load`, `registry`; and `progress` where it waits
    for a worker to pass a certain line, or lets nobody get on. Two faults that need the same are never injected at the
    same time; one that needs `cluster` needs a run on a `Cluster`, one that needs `registry` a run in Avro.
    `uncertain`: a worker may never learn that a transaction of its own was committed, if another holder follows at
    once; then nobody counts it.
    """

    name: str
    what: str
    inject: Inject
    needs: frozenset[str] = frozenset()
    uncertain: bool = False


REGISTRY: Final[dict[str, Fault]] = {}


def fault(*needs: str, uncertain: bool = False) -> Callable[[Inject], Inject]:
    """Registers a function under its own name, its docstring's first line being what it does."""

    def register(inject: Inject) -> Inject:
        name = inject.__name__.replace("_", "-")
        what = (inject.__doc__ or "").strip().splitlines()[0]
        assert name not in REGISTRY, name
        REGISTRY[name] = Fault(name, what, inject, frozenset(needs), uncertain or "cluster" in needs)
        return inject

    return register
