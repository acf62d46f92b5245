"""How far catch-ups are, and how a terminal shows it: one line per lane, rewritten in place, log lines above.

Where stderr is no terminal nothing of this is shown: the log and the metrics say the same.
"""

import io
from dataclasses import dataclass
from typing import Final, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

REFRESHES_A_SECOND: Final = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """A catch-up under way: `records` read in `seconds`, over `offsets` of its changelog, `offsets_left` to its end.

    Offsets are more than records (markers, compaction), so what is left is reckoned by what the ones passed held.
    """

    records: int
    offsets: int
    offsets_left: int
    seconds: float

    @property
    def records_left(self) -> int:
        """About so many records to the end."""
        return round(self.offsets_left * self.records / self.offsets) if self.offsets else self.offsets_left

    @property
    def rate(self) -> float:
        """Records in a second."""
        return self.records / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """About so many seconds to the end; None where nothing was read yet."""
        if not self.offsets_left:
            return 0.0
        return self.offsets_left * self.seconds / self.offsets if self.offsets and self.seconds > 0 else None

    def __str__(self) -> str:
        text = f"{self.records:,} / {self.records + self.records_left:,} records"
        left = self.seconds_left
        return text if left is None else f"{text}  {self.rate:,.0f}/s  {left:,.0f} s left"


class Terminal:
    """The lines of catch-ups at the bottom of a terminal; `stream` is where log lines go, so that they stand above."""

    def __init__(self, console: Console) -> None:
        self.stream: Final = cast("TextIO", _Above(console))
        self._lines: dict[str, Progress] = {}
        self._live = Live(
            console=console,
            get_renderable=self._group,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def show(self, lane: str, progress: Progress | None) -> None:
        """Shows how far a lane is; None takes its line away. Not to be called by two threads at once."""
        if progress is None:
            self._lines.pop(lane, None)
        else:
            self._lines[lane] = progress
        if self._lines and not self._live.is_started:
            self._live.start()
        elif not self._lines:
            self._live.stop()

    def _group(self) -> Group:
        lines = sorted(self._lines.copy().items())
        return Group(*(Text(f"catching up {lane}  {progress}", no_wrap=True) for lane, progress in lines))


class _Above(io.TextIOBase):
    """A stream onto a console, above what is shown live there."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(Text(text), end="", soft_wrap=True)
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self._console.file.flush()
