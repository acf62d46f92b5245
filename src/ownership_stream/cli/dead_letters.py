"""`ownership-stream dead-letters`: list what could not be settled, show one, put some back to where they came from."""

import base64
import sys
from collections.abc import Callable, Iterator, Sequence
from getpass import getuser
from heapq import nlargest
from itertools import islice
from time import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.dead_letters import DeadLetters, Done, Letter, Mark, Wanted, place_of
from ownership_stream.errors import BadInputError
from ownership_stream.looking import reach
from ownership_stream.sources import REASONS
from ownership_stream.steps import DEAD_LETTER_REASONS
from ownership_stream.wire import rfc3339

LIMIT = 50
REVEALED = 4096
"""Bytes of a key or value that are shown to a person; programs get all of them."""
SAFE_HEADERS = frozenset(
    {"traceparent", "tracestate", "content-type", "ce_specversion", "ce_type", "ce_source", "ce_time", "ce_id"}
)
"""Headers whose values name nobody; those of the others are shown on request only."""
LANE_REASONS = ("size", "produce")


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    reasons = click.Choice(sorted((*REASONS, *DEAD_LETTER_REASONS, *LANE_REASONS)))
    for option in (
        click.option(
            "--since", default="", metavar="OFFSET", help="From this offset in each partition, or this place."
        ),
        click.option("--topic", default="", help="Only records of this topic."),
        click.option("--stage", default="", help="Only of this stage: `intake`, or closer, as `intake: decode`."),
        click.option("--reason", default=None, type=reasons, metavar="REASON", help="Only of this reason."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def command() -> None:
    """List, show or replay records that could not be settled.

    A PLACE is partition and offset on the dead-letter topic, as `3:1042`.
    """


@command.command("list")
@_filters
@click.option("--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="How many at most.")
@click.option("--by-offset", is_flag=True, help="By partition and offset, instead of the newest first.")
@click.option("--open", "only_open", is_flag=True, help="Only those that were not replayed.")
@setting_flags("brokers", "app_id")
@pass_session
def list_letters(
    session: Session,
    *,
    since: str,
    topic: str,
    stage: str,
    reason: str | None,
    limit: int,
    by_offset: bool,
    only_open: bool,
) -> None:
    """List dead letters: where each stands and came from, and why; never what it holds."""
    with reach(session.settings) as broker:
        letters = DeadLetters(session.settings, broker)
        found = _bare(letters.letters(Wanted(reason or "", stage, topic, since)))
        if only_open:
            kept = list(found)  # a mark comes after its letter, so all must have been read
            found = iter([letter for letter in kept if letter.place not in letters.marks])
        chosen = list(islice(found, limit)) if by_offset else nlargest(limit, found, key=_age)
        if by_offset:
            for _ in found:  # to the end: the marks of those before it
                pass
        rows = [_row(letter, letters.marks.get(letter.place)) for letter in chosen]
    session.emit({"dead_letters": rows}, lambda: _table(rows))


@command.command("show")
@click.argument("place")
@click.option("--reveal", is_flag=True, help="Show key, value and all headers: they may hold a patient's values.")
@setting_flags("brokers", "app_id")
@pass_session
def show(session: Session, *, place: str, reveal: bool) -> None:
    """Show one dead letter: its headers, and on request its own bytes."""
    with reach(session.settings) as broker:
        letters = DeadLetters(session.settings, broker)
        letter = letters.find(place_of(place))
        data = _whole(letter, letters.marks.get(letter.place), reveal=reveal)
    session.emit(data, lambda: "\n".join(_page(letter, data, reveal=reveal)))


@command.command("replay")
@click.argument("places", nargs=-1)
@_filters
@click.option("--dry-run", is_flag=True, help="Say what would be put back where, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before letters chosen by filters are replayed.")
@click.option("--again", is_flag=True, help="Replay also what was replayed before.")
@setting_flags("brokers", "app_id")
@pass_session
def replay(
    session: Session, *, places: Sequence[str], since: str, topic: str, stage: str, reason: str | None, dry_run: bool,
    yes: bool, again: bool,
) -> None:  # fmt: skip
    """Put dead letters back where they came from, at PLACES or chosen by filters; they are settled like any record.

    Each once: a letter that was replayed before stays, unless --again is given. What a source has meanwhile overtaken
    is decided `replay` and changes nothing. Needs the right to write to the topics the letters came from.
    """
    wanted = Wanted(reason or "", stage, topic, since)
    if bool(places) == any(wanted):
        raise BadInputError("give either PLACES or filters: `--reason`, `--stage`, `--topic`, `--since`")
    with reach(session.settings) as broker:
        letters = DeadLetters(session.settings, broker)
        if places:
            chosen = [letters.find(place) for place in dict.fromkeys(map(place_of, places))]
        else:
            found = list(letters.letters(wanted))
            chosen = [letter for letter in found if again or letter.place not in letters.marks]
            if not dry_run:
                _confirm(len(chosen), yes=yes)
        if dry_run:
            plan = [_plan(letter, letters.marks.get(letter.place), again=again) for letter in chosen]
            session.emit({"plan": plan}, lambda: "\n".join(map(_planned, plan)) or "nothing to replay")
            return
        done = list(letters.replay(chosen, by=_user(), now=int(time() * 1000), again=again)) if chosen else []
    said = [_done(one) for one in done]
    session.emit({"replayed": said}, lambda: "\n".join(map(_told, said)) or "nothing to replay")


def _confirm(number: int, *, yes: bool) -> None:
    if yes or not number:
        return
    if not sys.stdin.isatty():
        raise BadInputError(f"{number} dead letters would be replayed: confirm with `--yes`, or look with `--dry-run`")
    click.confirm(f"replay {number} dead letters?", abort=True, err=True)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"


def _bare(letters: Iterator[Letter]) -> Iterator[Letter]:
    """Without their bytes: a list of them may be long."""
    return (letter._replace(key=None, value=None, headers=[]) for letter in letters)


def _age(letter: Letter) -> tuple[int, int, int]:
    return letter.time, letter.place.offset, letter.place.partition


def _row(letter: Letter, mark: Mark | None) -> dict[str, Any]:
    return {
        "place": str(letter.place),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "stage": letter.stage,
        "reason": letter.reason,
        "error": letter.error,
        "time": rfc3339(letter.time),
        "bytes": letter.size,
        "replay_of": letter.of or None,
        "first": letter.first or None,
        "attempt": letter.attempt,
        "replayed": None if mark is None else {**mark._asdict(), "at": rfc3339(mark.at)},
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "no dead letters"
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("place", "from", "stage", "reason", "error", "time", "bytes", "replay"):
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for row in rows:
        replayed = row["replayed"] and f"replayed {row['replayed']['at']}"
        repeated = row["replay_of"] and f"of {row['replay_of']}"
        table.add_row(
            row["place"], f"{row['topic']}[{row['partition']}]@{row['offset']}", row["stage"], row["reason"],
            row["error"], row["time"], str(row["bytes"]), ", ".join(word for word in (repeated, replayed) if word),
        )  # fmt: skip
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _whole(letter: Letter, mark: Mark | None, *, reveal: bool) -> dict[str, Any]:
    """The letter for programs; bytes are base64, and only there on request."""
    headers = [
        {"name": name, "bytes": len(value)}
        | ({"value": value.decode("utf-8", "backslashreplace")} if reveal or name in SAFE_HEADERS else {})
        for name, value in letter.headers
    ]
    whole = _row(letter, mark) | {"message": letter.message, "key_bytes": len(letter.key or b""), "headers": headers}
    if reveal:
        whole |= {"key": _base64(letter.key), "value": _base64(letter.value)}
    return whole


def _base64(found: bytes | None) -> str | None:
    return None if found is None else base64.b64encode(found).decode()


def _page(letter: Letter, data: dict[str, Any], *, reveal: bool) -> Iterator[str]:
    mark = data["replayed"]
    meaning = REASONS.get(letter.reason)
    yield f"dead letter {letter.place}  {data['time']}"
    for name, said in (
        ("from", f"{letter.topic} [{letter.partition}] at offset {letter.offset}"),
        ("stage", letter.stage),
        ("reason", f"{letter.reason}: {meaning}" if meaning else letter.reason),
        ("error", letter.error),
        ("message", letter.message),
        ("repeats", letter.of and f"{letter.of}, replay {letter.attempt} of {letter.first}"),
        ("replayed", mark and f"{mark['at']} by {mark['by']} as {_where(mark)}"),
    ):
        if said:
            yield f"  {name:9} {said}"
    for header in data["headers"]:
        said = _printable(header["value"]) if "value" in header else f"{header['bytes']} bytes, shown by --reveal"
        yield f"  header    {header['name']}: {said}"
    for name, found in (("key", letter.key), ("value", letter.value)):
        yield f"  {name:9} {'null' if found is None else f'{len(found)} bytes'}"
        if reveal and found:
            yield from _revealed(found)


def _where(one: dict[str, Any]) -> str:
    return f"{one['topic']}[{one['partition']}]@{one['offset']}"


def _revealed(found: bytes) -> Iterator[str]:
    """As text where it is text, else as a hexdump."""
    part = found[:REVEALED]
    try:
        yield from (f"    {_printable(line)}" for line in part.decode().splitlines())
    except UnicodeDecodeError:
        for at in range(0, len(part), 16):
            row = part[at : at + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004 (printable ASCII)
            yield f"    {at:08x}  {row.hex(' '):47}  {text}"
    if len(found) > len(part):
        yield f"    … {len(found) - len(part)} bytes more: `--output json` has them all, as base64"


def _printable(text: str) -> str:
    """Text that cannot speak to the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _plan(letter: Letter, mark: Mark | None, *, again: bool) -> dict[str, Any]:
    row = _row(letter, mark)
    return row | {"would_replay": mark is None or again}


def _planned(row: dict[str, Any]) -> str:
    if not row["would_replay"]:
        return f"{row['place']} was replayed at {row['replayed']['at']} as {_where(row['replayed'])}: would stay"
    return f"{row['place']} would go back to {row['topic']} [{row['partition']}]"


def _done(one: Done) -> dict[str, Any]:
    return _row(one.letter, one.mark) | {"before": one.before}


def _told(row: dict[str, Any]) -> str:
    mark = row["replayed"]
    if row["before"]:
        return f"{row['place']} was replayed before, at {mark['at']} by {mark['by']} as {_where(mark)}: nothing done"
    return f"{row['place']} is back as {_where(mark)}"
