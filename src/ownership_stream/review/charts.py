"""Small charts as inline SVG: they need no script, scale with the text, and read as well in black on paper.

Pure. Every chart has its words in a `title` for those who do not see it.
"""

import html
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 180
HEIGHT: Final = 36
EDGE: Final = 4
BAR: Final = 220
"""Width of the longest bar."""


def line(values: Sequence[float | None], said: str) -> str:
    """A course over weeks, the last marked; where a week has no value there is a gap. Empty without any value."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    top = max(known) or 1.0
    step = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    places = [
        None if value is None else (EDGE + number * step, HEIGHT - EDGE - value / top * (HEIGHT - 2 * EDGE))
        for number, value in enumerate(values)
    ]
    drawn = [f'<polyline points="{" ".join(_point(*one) for one in run)}"/>' for run in _runs(places) if len(run) > 1]
    last = places[-1]
    drawn += [f'<circle cx="{one[0]:.1f}" cy="{one[1]:.1f}" r="{3 if one is last else 1.5}"/>' for one in places if one]
    return _svg("line", WIDTH, HEIGHT, said, "".join(drawn))


def bars(pairs: Sequence[tuple[str, float, float]], said: str) -> str:
    """Bars side by side: (name, this week, the week before); last week's is the outline. Empty without any."""
    top = max((max(this, before) for _, this, before in pairs), default=0.0)
    if not top:
        return ""
    drawn = []
    for number, (name, this, before) in enumerate(pairs):
        y = number * 24
        drawn.append(f'<text x="0" y="{y + 15}">{html.escape(name)}</text>')
        drawn.append(f'<rect class="now" x="230" y="{y + 4}" width="{this / top * BAR:.1f}" height="14"/>')
        if before:
            drawn.append(f'<rect class="before" x="230" y="{y + 4}" width="{before / top * BAR:.1f}" height="14"/>')
        x = 236 + max(this, before) / top * BAR
        drawn.append(f'<text x="{x:.1f}" y="{y + 15}">{this:g} ({before:g})</text>')
    return _svg("bars", 230 + BAR + 90, 24 * len(pairs), said, "".join(drawn))


def _runs(places: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """What hangs together, cut at the gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


def _point(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _svg(kind: str, width: int, height: int, said: str, drawn: str) -> str:
    return (
        f'<svg class="{kind}" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{html.escape(said)}</title>{drawn}</svg>"
    )
