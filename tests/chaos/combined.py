"""Faults in random combination: one seed gives one round, the same faults in the same order every time.

The moments are the machine's, not the seed's: a replayed round meets the same faults under the same load, and what
was found in it is found again only if it does not hang on a moment.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chaos import faults_broker, faults_redis, faults_registry, faults_worker  # noqa: F401  # each fills the registry
from chaos.fault import REGISTRY, Fault
from chaos.run import Run

# These ask for nothing but that time passes, so they may happen in the midst of another.
BESIDE: Final = ("connector-restarted", "kill-at-random", "kill-all", "come-and-go")
MOST: Final = 4
BESIDE_SHARE: Final = 0.4


class Round(NamedTuple):
    """What one seed gives: how many workers, and the faults one after the other, some of them two at a time."""

    seed: int
    workers: int
    faults: tuple[tuple[Fault, ...], ...]

    def __str__(self) -> str:
        return ", ".join(" beside ".join(fault.name for fault in some) for some in self.faults)


def round_of(seed: int, *, cluster: bool, avro: bool = False, most: int = MOST) -> Round:
    """The round of a seed; faults that need a cluster only with one, and then at least one of them.

    Those of a schema registry only in a run that is in Avro.
    """
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    lacking = ({"cluster"} if not cluster else set()) | ({"registry"} if not avro else set())
    may = [one for _, one in sorted(REGISTRY.items()) if not lacking & one.needs]
    must = [one for one in may if "cluster" in one.needs]
    workers = dice.choice((2, 3))
    chosen = dice.sample(may, dice.randint(2, most))
    if cluster and not set(chosen) & set(must):
        chosen[0] = dice.choice(must)
    return Round(seed, workers, tuple(_with_another(one, dice) for one in chosen))


def _with_another(first: Fault, dice: random.Random) -> tuple[Fault, ...]:
    others = [REGISTRY[name] for name in BESIDE if not REGISTRY[name].needs & first.needs]
    return (first, dice.choice(others)) if others and dice.random() < BESIDE_SHARE else (first,)


def play(run: Run, chosen: Round) -> None:
    """Injects a round's faults; two of one place at the same time."""
    run.await_progress(50)
    for place, some in enumerate(chosen.faults):
        together(run, some, [random.Random(f"{chosen.seed}/{place}/{one.name}") for one in some])  # noqa: S311  # as above


def together(run: Run, faults: Sequence[Fault], dice: Sequence[random.Random]) -> None:
    """Faults at the same time; raises what the first of them raised.

    The first stays in this thread: a server that it starts ends with the thread that started it.
    """
    errors: list[BaseException] = []

    def inject(fault: Fault, own: random.Random) -> None:
        try:
            run.inject(fault, own)
        except BaseException as error:  # noqa: BLE001  # raised again below, in the run's own thread
            errors.append(error)

    first, *others = zip(faults, dice, strict=True)
    threads = [threading.Thread(target=inject, args=pair, name=pair[0].name) for pair in others]
    for thread in threads:
        thread.start()
    inject(*first)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def seeds(first: int) -> Iterator[int]:
    """The seed itself, and others that follow from it, without end."""
    dice = random.Random(first)  # noqa: S311  # as above
    yield first
    while True:
        yield dice.getrandbits(32)
