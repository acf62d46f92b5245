"""Latency of a peer at given rates: from when a change was meant to be sent until its outputs can be read as committed.

Sender and reader are processes of their own. The rate does not wait for the peer, so one that cannot keep up shows it.
"""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from figures import Latency, percentile
from load import Row
from runs import Running, Watch
from servers import Site

from ownership_stream.errors import OwnershipError

HERE: Final = Path(__file__).parent


class Phase(NamedTuple):
    """One rate: which rows go out at it, how many (with `laps` they begin anew), and what is left out at its start."""

    rate: float
    rows: Sequence[Row]
    count: int
    skipped: int


def phases(rates: Sequence[float], rows: Sequence[Row], seconds: float, *, laps: bool) -> list[Phase]:
    """What goes out at each rate, for so many seconds: a share of the rows each, unless they may begin anew.

    The first quarter of each phase is left out of the figures.
    """
    wanted = [int(rate * seconds) for rate in rates]
    if not laps:
        scale = min(1.0, len(rows) / max(1, sum(wanted)))
        wanted = [max(1, int(count * scale)) for count in wanted]
    found, first = [], 0
    for rate, count in zip(rates, wanted, strict=True):
        share = rows if laps else rows[first : first + count]
        found.append(Phase(rate, share, count, count // 4))
        first += count
    return found


def measure(site: Site, run: Running, phase: Phase, topics: Mapping[str, str], follow: str, folder: Path) -> Latency:
    """One phase, from the first record sent to the last committed."""
    outputs = [run.job.loop_output] if run.peer.copies else run.job.outputs
    seen = folder / "seen"
    with _reader(site, outputs, seen, whole=run.peer.copies):
        sent = _send(site, phase, topics, folder / "rows")
        Watch(site, run, site.ends(set(topics.values())), follow).until_done()
    start, due = sent["start"], {}
    for number in range(phase.skipped, phase.count):
        lap, place = divmod(number, len(phase.rows))
        due[phase.rows[place].change + (f":{lap}" if lap else "")] = start + number / phase.rate
    tags = pickle.loads(seen.read_bytes())  # noqa: S301  # written by our own reader
    found = [(at - due[name]) * 1000 for tag, at in tags if (name := tag.decode()) in due]
    if not found:
        raise OwnershipError(
            f"peer `{run.peer.word}`: no output of what was sent at {phase.rate:.0f} a second was seen"
        )
    return Latency(phase.rate, percentile(found, 0.5), percentile(found, 0.99), len(found), sent["late"] * 1000)


@contextmanager
def _reader(site: Site, outputs: Sequence[str], seen: Path, *, whole: bool) -> Iterator[None]:
    job = {"bootstrap": site.bootstrap, "topics": outputs, "whole": whole, "seen": str(seen)}
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, str(HERE / "reader.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise OwnershipError("the reader has no pipes")
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "ready":
            raise OwnershipError("the reader did not start")
        yield
        process.stdin.close()
        if process.wait(30):
            raise OwnershipError("the reader failed")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _send(site: Site, phase: Phase, topics: Mapping[str, str], rows: Path) -> dict[str, Any]:
    rows.write_bytes(pickle.dumps([(topics[row.topic], *row[1:5]) for row in phase.rows]))
    job = {"bootstrap": site.bootstrap, "rows": str(rows), "count": phase.count, "rate": phase.rate}
    answer = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, str(HERE / "sender.py")], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise OwnershipError(f"the sender failed: {answer.stderr[-1_000:]}")
    sent: dict[str, Any] = json.loads(answer.stdout)
    if sent["left"]:
        raise OwnershipError("the sender could not send everything")
    return sent
