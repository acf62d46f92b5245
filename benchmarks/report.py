"""What a benchmark has found, as tables and verdicts. Pure: no clock, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from figures import Latency, Pace, Target, number, ratio, spread, table
from subjects import BOTH, DECIDE, FAUST, LIMIT, PEERS, QUIX

TENTH: Final = "a tenth"
HALF: Final = "half"
QUICK: Final = (
    "A quick run: it shows that everything works and that the outputs are equal. Its figures hold one or two commits "
    "of a lane and can be off by half, so they are not judged."
)


def half_of(word: str) -> str:
    """The load of a phase at half of another peer's maximum."""
    return f"half of {word}"


@dataclass
class Results:
    """Everything measured, by peer; one figure for each repeat.

    `peaks`: megabytes at most resident, of the peer. `compared`: how many outputs were found equal, all repeats
    together.
    `latencies` by peer and load. `sizes`: the paces of our decide stage by number of records.
    """

    paces: dict[str, list[Pace]] = field(default_factory=dict)
    peaks: dict[str, list[float]] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    latencies: dict[tuple[str, str], list[Latency]] = field(default_factory=dict)
    sizes: dict[int, list[Pace]] = field(default_factory=dict)
    about: list[str] = field(default_factory=list)
    quick: bool = False
    """The loads were so small that a window holds one or two commits of a lane: too few to judge anything by."""

    def rates(self, word: str) -> list[float]:
        """Changes a second of a peer, by repeat."""
        return [one.rate for one in self.paces.get(word, [])]

    def beside(self, word: str, other: str) -> list[float]:
        """A peer's rate beside another's, by repeat."""
        mine, theirs = self.rates(word), self.rates(other)
        return ratio(mine, theirs) if len(mine) == len(theirs) else []


def tables(found: Results) -> str:
    """All tables and verdicts, in Markdown."""
    parts = ["\n".join(f"- {line}" for line in found.about)]
    if found.paces:
        parts.append(_throughput(found))
    if found.latencies:
        parts.append(_latency(found))
    if found.sizes:
        parts.append(_sizes(found.sizes))
    parts.append(QUICK if found.quick else _verdicts(found))
    return "\n\n".join(part for part in parts if part)


def _throughput(found: Results) -> str:
    rows = []
    for peer in PEERS:
        paces = found.paces.get(peer.word)
        if not paces:
            continue
        redis = spread([one.redis for one in paces]) if peer.uses_redis else "–"
        rows.append(
            [
                peer.title,
                spread([one.rate for one in paces]),
                spread(found.beside(peer.word, LIMIT.word)),
                spread(found.beside(peer.word, QUIX.word)),
                spread(found.beside(peer.word, FAUST.word)),
                spread([one.peer for one in paces]),
                redis,
                spread([one.broker for one in paces]),
                spread(found.peaks[peer.word]),
                f"{found.compared.get(peer.word, 0):,}",
            ]
        )
    header = [
        "",
        "changes/s",
        "× limit",
        "× Quix",
        "× Faust",
        "CPU µs a change",
        "of Redis",
        "of the broker",
        "MB",
        "outputs equal",
    ]
    return table(header, rows)


def _latency(found: Results) -> str:
    rows = []
    titles = {peer.word: peer.title for peer in PEERS}
    for (word, load), several in found.latencies.items():
        rows.append(
            [
                titles[word],
                load,
                number(median([one.rate for one in several])),
                spread([one.p50 for one in several]),
                spread([one.p99 for one in several]),
                f"{sum(one.outputs for one in several):,}",
                number(max(one.late for one in several)),
            ]
        )
    header = ["", "at this part of its maximum", "changes/s", "p50 ms", "p99 ms", "outputs seen", "sender late, ms"]
    return table(header, rows)


def _sizes(sizes: Mapping[int, list[Pace]]) -> str:
    least = min(sizes)
    base = [one.rate for one in sizes[least]]
    rows = [
        [
            f"{records:,}",
            spread([one.rate for one in paces]),
            spread(ratio([one.rate for one in paces], base)),
            spread([one.peer for one in paces]),
            spread([one.redis for one in paces]),
        ]
        for records, paces in sorted(sizes.items())
    ]
    return table(["records", "changes/s", f"× {least:,} records", "CPU µs a change", "of Redis"], rows)


def targets(found: Results) -> list[Target]:
    """What is asked for, as far as it was measured; nothing of a quick run."""
    if found.quick:
        return []
    judged = []
    for name, word, other, wanted in (
        ("decide stage beside Quix", DECIDE.word, QUIX.word, 1.5),
        ("decide stage beside the limit", DECIDE.word, LIMIT.word, 0.3),
        ("both stages beside Faust one by one", BOTH.word, FAUST.word, 10.0),
    ):
        beside = found.beside(word, other)
        if beside:
            judged.append(Target(name, median(beside), wanted))
    for peer, name in ((DECIDE, "decide stage"), (BOTH, "both stages")):
        ours = found.latencies.get((peer.word, HALF))
        limit = found.latencies.get((LIMIT.word, half_of(peer.word)))
        if ours and limit:
            times = median(ratio([one.p99 for one in ours], [one.p99 for one in limit]))
            judged.append(
                Target(f"p99 at half load beside the limit's at the same, {name}", times, 3.0, at_least=False)
            )
    if len(found.sizes) > 1:
        few, many = min(found.sizes), max(found.sizes)
        slower = median(ratio([one.rate for one in found.sizes[many]], [one.rate for one in found.sizes[few]]))
        judged.append(Target(f"{many:,} records beside {few:,}", slower, 0.85))
    return judged


def _verdicts(found: Results) -> str:
    rows = [
        [one.name, ("≥ " if one.at_least else "≤ ") + number(one.wanted), number(one.found), one.verdict]
        for one in targets(found)
    ]
    return table(["target", "asked for", "found", ""], rows) if rows else ""
