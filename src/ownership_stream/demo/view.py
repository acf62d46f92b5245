"""The live view: a picture of the stream on a terminal, or plain lines where there is none.

It draws what it is given and asks nobody. At 80 columns and 24 lines everything is there in brief; a larger terminal
shows more of the same. No values of patients, no record ids: hashes.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ownership_stream.demo.watch import Picture
from ownership_stream.disagreements import Why
from ownership_stream.matrix.compiled import Matrix

COLOURS: Final = {"applied": "green", "rejected": "red", "queued": "yellow", "failed": "bold red"}
UNDER_WAY: Final[Why] = "under way"
QUIET: Final = ("echo", "baseline", "replay", "noop")
SENTENCES: Final = 40
NARROW: Final = 100
"""Columns below which a sentence needs two lines, and the side column less room."""
NAMED: Final = re.compile(r"#[0-9a-f]+")
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Frame(NamedTuple):
    """What is drawn."""

    picture: Picture
    elapsed: float
    """Seconds."""
    rate: float
    """Changes a second, of late."""
    patients: int
    state: str
    """What the demo is doing, in a word or two."""
    hints: tuple[str, ...]
    now: int
    """Milliseconds, by the clock that due times are told by."""


class View:
    """Draws frames; keeps the sentences that were told last."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._told: deque[str] = deque(maxlen=SENTENCES)
        self._frame: Frame | None = None

    def tell(self, sentence: str) -> None:
        """Adds a decision to the latest ones."""
        self._told.appendleft(sentence)

    @property
    def last_named(self) -> str:
        """The record that the newest sentence is about, as `#` and the beginning of its hash; empty before any."""
        found = NAMED.search(self._told[0]) if self._told else None
        return found[0] if found else ""

    def show(self, frame: Frame) -> None:
        """Makes this the frame to draw."""
        self._frame = frame

    # ------------------------------------------------------------------------------------------------ on a terminal

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        frame = self._frame
        if frame is None:
            return
        height = (options.height or console.height) - 1
        head = self._head(frame)
        foot = [Text(hint, "dim", no_wrap=True, overflow="ellipsis") for hint in frame.hints]
        room = height - len(head) - len(foot)
        owners = 1 + len(self._matrix.escalations)
        upper = max(6, min(room // 3, 12))
        decisions = self._decisions(max(3, room - upper - owners), options.max_width)
        yield Group(*head, self._pair(frame, upper), *decisions, *self._waiting(frame, owners), *foot)

    def _head(self, frame: Frame) -> list[Text]:
        picture = frame.picture
        seconds = int(frame.elapsed)
        title = Text.assemble(("ownership-stream", "bold"), f"  {frame.state}", no_wrap=True, overflow="ellipsis")
        title.append(f"  {seconds // 60}:{seconds % 60:02d}   {frame.patients} patients   ", "dim")
        title.append(f"matrix {self._matrix.revision}", "dim")
        counts = Text.assemble(
            (f"{frame.rate:,.0f}", "bold"), " changes/s   ",
            (f"{picture.total('records_processed', 'decide'):,}", "bold"), " decided   ",
            (f"{picture.total('lag_records'):,}", "bold"), " waiting   ",
            (f"{picture.delay:,.0f} ms", "bold"), " from edit to approval", no_wrap=True, overflow="ellipsis",
        )  # fmt: skip
        return [title, counts]

    def _pair(self, frame: Frame, height: int) -> RenderableType:
        grid = Table.grid(padding=(0, 3, 0, 0), expand=True)
        grid.add_column(ratio=5)
        grid.add_column(ratio=6)
        grid.add_row(self._outcomes(frame.picture, height), self._disagreements(frame.picture, height))
        return grid

    def _outcomes(self, picture: Picture, height: int) -> RenderableType:
        """Attempts by outcome and reason, the commonest first; what is no attempt in one line."""
        counts: Counter[tuple[str, str]] = Counter()
        for labels, number in picture.samples.get("outcomes", {}).items():
            counts[labels[0], labels[1]] += int(number)
        rows = [(pair, number) for pair, number in counts.most_common() if number and pair[0] not in QUIET]
        table = _table("outcomes of changed fields")
        for (outcome, reason), number in rows[: height - 2]:
            table.add_row(Text(f"{outcome}: {reason}" if reason else outcome, COLOURS.get(outcome, "")), f"{number:,}")
        hidden = sum(number for _, number in rows[height - 2 :])
        quiet = {name: sum(number for pair, number in counts.items() if pair[0] == name) for name in ("echo", "replay")}
        more = f"{hidden:,} other, " if hidden else ""
        table.add_row(Text(f"{more}{quiet['echo']:,} echo, {quiet['replay']:,} replay", "dim"), "")
        return table

    def _disagreements(self, picture: Picture, height: int) -> RenderableType:
        """Where and why, the commonest first; what is only on its way in one line."""
        found = picture.disagreeing.most_common()
        rows = [(what, number) for what, number in found if what[2] != UNDER_WAY]
        moving = sum(number for what, number in found if what[2] == UNDER_WAY)
        table = _table(f"the systems disagree in {sum(picture.disagreeing.values()):,} fields")
        for (system, field, why), number in rows[: height - 2]:
            where = f"{self._matrix.fields[field].label}, {self._matrix.systems[system]}: "
            style = {"case": "yellow", "unsettled": "bold red"}.get(why, "dim")
            table.add_row(Text.assemble(where, (why, style)), f"{number:,}")
        hidden = sum(number for _, number in rows[height - 2 :])
        more = f"{hidden:,} other, " if hidden else ""
        table.add_row(Text(f"{more}{moving:,} {UNDER_WAY}", "dim"), "")
        return table

    def _decisions(self, room: int, width: int) -> list[RenderableType]:
        """As many of the latest decisions as fit, the newest on top."""
        drawn: list[RenderableType] = [_title("latest decisions")]
        left = room - 1
        for told in self._told:
            text = _coloured(told)
            text = Text.assemble("· ", text)
            wanted = -(-len(text) // max(20, width - 2)) if width < NARROW or len(text) > width else 1
            if wanted > left:
                break
            left -= wanted
            drawn.append(text)
        return [*drawn, *(Text() for _ in range(left))]

    def _waiting(self, frame: Frame, height: int) -> list[RenderableType]:
        """Open cases by owner: how many, why, and when the next one is due."""
        cases = frame.picture.cases
        drawn: list[RenderableType] = [_title(f"{len(cases)} cases wait for a person")]
        grid = Table.grid(padding=(0, 2, 0, 0))
        for owner, escalation in self._matrix.escalations.items():
            mine = [waiting.case for waiting in cases if waiting.case.owner == owner]
            if mine:
                reasons = Counter(case.reason for case in mine).most_common()
                why = ", ".join(f"{number} {reason}" for reason, number in reasons)
                due = f"next due {in_words(mine[0].due - frame.now)}"
                grid.add_row(
                    Text(escalation.name, "bold"),
                    str(len(mine)),
                    due,
                    Text(why, "dim", no_wrap=True, overflow="ellipsis"),
                )
        rows = grid.row_count
        if rows:
            drawn.append(grid)
        return [*drawn, *(Text() for _ in range(height - 1 - rows))]

    # ------------------------------------------------------------------------------------------------ without one

    def plain(self, frame: Frame) -> Iterable[str]:
        """The frame as plain lines: one of counts, and the decisions told since the last."""
        picture = frame.picture
        by = {outcome: picture.total("outcomes", outcome) for outcome in ("applied", "rejected", "queued")}
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in by.items())
        decided, waiting = picture.total("records_processed", "decide"), picture.total("lag_records")
        yield (
            f"{frame.elapsed:5.1f} s  {frame.rate:,.0f} changes/s, {decided:,} decided, {waiting:,} waiting; {told}; "
            f"{len(picture.cases):,} cases, {sum(picture.disagreeing.values()):,} disagreements"
        )
        while self._told:
            yield f"         {self._told.pop()}"


def in_words(left: int) -> str:
    """So many milliseconds from now, in words: ``in 3 h 58 min``, ``4 min ago``."""
    size = abs(left)
    if size < MINUTE:
        return "now"
    if size < HOUR:
        words = f"{size // MINUTE} min"
    elif size < DAY:
        words = f"{size // HOUR} h {size % HOUR // MINUTE} min"
    else:
        words = f"{size // DAY} d {size % DAY // HOUR} h"
    return f"in {words}" if left > 0 else f"{words} ago"


def _title(words: str) -> Text:
    return Text(words, "bold cyan", no_wrap=True, overflow="ellipsis")


def _table(title: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, show_edge=False, pad_edge=False)
    table.add_column(_title(title), ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    return table


def _coloured(sentence: str) -> Text:
    """The sentence with its outcome in colour."""
    text = Text(sentence)
    for outcome, colour in COLOURS.items():
        text.highlight_regex(rf"(?<=: ){outcome}\b", colour)
    text.highlight_regex(NAMED, "cyan")
    return text
