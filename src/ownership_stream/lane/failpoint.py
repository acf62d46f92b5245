"""Where tests kill the process.

`OWNERSHIP_TEST_FAILPOINT=decide:6-commit:3` ends it, as `kill -9` would, the third time that a decide lane comes by.
Costs one comparison where it is not set.
"""

import os
from itertools import count
from typing import Final

EXIT_CODE: Final = 137
# In the order a lane passes them: at its start, then with each batch (the numbers of the commit order).
POINTS: Final = (
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


def parse(text: str) -> tuple[str, int]:
    """`stage:point` and which time, from `stage:point:times`; raises `ValueError` for an unknown point."""
    stage, point, times = text.split(":")
    if point not in POINTS:
        raise ValueError(f"`{point}` is no failpoint: one of {', '.join(POINTS)}")
    return f"{stage}:{point}", int(times)


_WHERE, _TIMES = parse(os.environ["OWNERSHIP_TEST_FAILPOINT"]) if "OWNERSHIP_TEST_FAILPOINT" in os.environ else ("", 0)
_passed = count(1)


def failpoint(stage: str, point: str) -> None:
    """Ends the process here if the environment says so: nothing is flushed, closed or said."""
    if _WHERE and f"{stage}:{point}" == _WHERE and next(_passed) == _TIMES:
        os._exit(EXIT_CODE)
