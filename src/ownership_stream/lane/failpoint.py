"""Where tests kill the process, or stop it until they let it go on.

`OWNERSHIP_TEST_FAILPOINT=decide:6-commit:3` ends it, as `kill -9` would, the third time that a decide lane comes by;
`decide:6-commit:3:stop` stops it there, as `kill -STOP` would, until it gets a SIGCONT: a holder that sleeps while
another takes its lane. Costs one comparison where it is not set.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

EXIT_CODE: Final = 137
# In the order a lane passes them: at its start, then with each batch (the numbers of the commit order).
POINTS: Final = (
    "before-init",
    "after-init",
    "after-take",
    "after-checks",
    "after-catch-up",
    "1-join",
    "2-decode",
    "3-load",
    "4-step",
    "5-sizes",
    "6-produce",
    "6-offsets",
    "6-commit",
    "7-save",
    "8-count",
)


def _kill() -> None:
    """Nothing is flushed, closed or said."""
    os._exit(EXIT_CODE)


def _stop() -> None:
    """Told to the thread and not to the process, so that it is this thread that gets no further."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


ACTIONS: Final[Mapping[str, Callable[[], None]]] = {"kill": _kill, "stop": _stop}


def parse(text: str) -> tuple[str, int, str]:
    """`stage:point`, which time, and the action, from `stage:point:times` or `stage:point:times:action`.

    Raises `ValueError` for an unknown point or action.
    """
    stage, point, times, *rest = text.split(":")
    action = ":".join(rest) or "kill"
    if point not in POINTS:
        raise ValueError(f"`{point}` is no failpoint: one of {', '.join(POINTS)}")
    if action not in ACTIONS:
        raise ValueError(f"`{action}` is no action of a failpoint: one of {', '.join(ACTIONS)}")
    return f"{stage}:{point}", int(times), action


_TOLD: Final = os.environ.get("OWNERSHIP_TEST_FAILPOINT")
_WHERE, _TIMES, _ACTION = parse(_TOLD) if _TOLD is not None else ("", 0, "kill")
_passed = count(1)


def failpoint(stage: str, point: str) -> None:
    """Ends or stops the process here if the environment says so."""
    if _WHERE and f"{stage}:{point}" == _WHERE and next(_passed) == _TIMES:
        ACTIONS[_ACTION]()
