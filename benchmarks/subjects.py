"""Who is measured beside whom, as a table."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Peer:
    """What is measured. `short`: so slow that it gets the short load; `cdc`: it reads the CDC topics."""

    word: str
    title: str
    script: str
    short: bool = False
    cdc: bool = False
    copies: bool = False
    uses_redis: bool = False


LIMIT: Final = Peer("limit", "plain transaction loop, decides nothing (the limit)", "limit_loop.py", copies=True)
QUIX: Final = Peer("quix", "Quix Streams, exactly-once", "quix_exactly_once.py")
FAUST: Final = Peer("faust", "Faust, one event at a time", "faust_one_by_one.py", short=True)
DECIDE: Final = Peer("decide", "**ours, decide stage alone**", "ours_decide.py", uses_redis=True)
BOTH: Final = Peer("both", "**ours, CDC to apply, both stages**", "ours_both.py", cdc=True, uses_redis=True)
PEERS: Final = (LIMIT, QUIX, FAUST, DECIDE, BOTH)
