"""What is shown of times, values and other people's texts. Escaping is the templates' matter."""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ownership_stream.model import Value

HOUR: Final = 3_600_000
SOON: Final = HOUR
"""What is due within so many milliseconds is shown as urgent."""
NOTHING_THERE: Final = "nothing"
BACKTICKS: Final = re.compile("`([^`]*)`")
TIMES: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[.\d]*Z")
SECONDS_END: Final = len("2026-03-02T12:00:00")


class Due(NamedTuple):
    """A deadline as people read it."""

    words: str
    """``"in 3 h"``, ``"12 min late"``."""
    urgency: str
    """``late``, ``soon`` or ``calm``."""
    moment: str
    """As ISO 8601, UTC, to the second."""


def due_in_words(due: int, now: int, said: str) -> Due:
    """``said``: how long it is until then, in words."""
    left = due - now
    return Due(said, "late" if left <= 0 else "soon" if left <= SOON else "calm", moment(due))


def moment(at: int) -> str:
    """A time in milliseconds as people read it: ISO 8601 to the second, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def for_people(at: str) -> str:
    """A time of ``moment``, or of ``explain``, as it is read in a sentence: to the second, without its marks."""
    return at[:SECONDS_END].replace("T", " ")


def quoted(sentence: str) -> str:
    """A sentence of ours as pages have it: names of things in quotation marks, times without their marks."""
    return TIMES.sub(r"\1 \2", BACKTICKS.sub(r"“\1”", sentence))


def plain(text: str) -> str:
    """A text with what cannot be seen made visible: controls and marks that turn writing round, as ``⟨U+202E⟩``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else f"⟨U+{ord(one):04X}⟩" for one in text)


def text_of(value: Value) -> str:
    """A value, or a part of one, as text."""
    if isinstance(value, dict):
        parts = [f"{part} {text_of(piece)}" for part, piece in value.items() if piece is not None]
        return ", ".join(parts) or NOTHING_THERE
    if value is None:
        return NOTHING_THERE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(str(value))
