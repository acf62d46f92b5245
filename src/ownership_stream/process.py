"""What a worker's process is set to as a whole: its memory, and when garbage is looked for. Knows none of its work."""

import ctypes
import gc
from typing import Final

# glibc's own number for it (malloc.h), and how many arenas: each is left in holes by the large records of its threads.
_M_ARENA_MAX: Final = -8
ARENAS: Final = 2
# By default Python looks for cycles after every 700 new objects, and a batch makes hundreds of thousands, none in one.
COLLECT_AFTER: Final = 100_000
GENERATIONS: Final = (20, 100)


def tune() -> None:
    """Few arenas and rare collections from here on. To be called once, after imports and before there are threads."""
    few_arenas()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *GENERATIONS)


def few_arenas() -> None:
    """Threads share glibc's arenas; with another C library nothing happens."""
    limit = getattr(ctypes.CDLL(None), "mallopt", None)
    if limit is not None:
        limit(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """What came to an end leaves the memory it took: its cycles are collected, glibc's free pages returned.

    Lanes end by the dozen when the group rebalances, and by `tune` nobody looks for their cycles for a long time.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
