"""Makes a Grafana dashboard of rows of panels: the queries, the kinds of panel, and the JSON that Grafana reads.

What the dashboards show is said in `dashboards.py`. A metric is named as in the catalogue, so one that is not there
cannot be asked for. `$job` is one installation, `$instance` its workers;
`$mode` is `enforce` unless somebody wants to see what `observe` would do.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ownership_stream.telemetry.catalogue import CATALOGUE

COLUMNS: Final = 24
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
METRICS: Final = {metric.name: metric for metric in CATALOGUE}
JOB: Final = 'job="$job"'
WORKERS: Final = 'job="$job",instance=~"$instance"'
INSTANT: Final = frozenset({"stat", "bargauge", "table"})
"""Kinds of panel that show one moment: the end of the time range."""
LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "stat": {"reduceOptions": LAST, "textMode": "value_and_name", "graphMode": "none", "colorMode": "value"},
    "timeseries": {"legend": {"showLegend": True, "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
    "bargauge": {"reduceOptions": LAST, "orientation": "horizontal", "displayMode": "basic"},
    "table": {"showHeader": True, "sortBy": [{"displayName": "Value", "desc": True}]},
}
"""What each kind of panel is set to."""
_MODE: Final = {
    "name": "mode",
    "label": "Mode",
    "type": "custom",
    "query": "enforce,observe",
    "current": {"text": "enforce", "value": "enforce"},
}


class Query(NamedTuple):
    """PromQL, and what its series are called."""

    expr: str
    legend: str = "__auto"


class Panel(NamedTuple):
    """One question and the figure that answers it."""

    kind: str
    title: str
    question: str
    unit: str
    queries: tuple[Query, ...]
    width: int
    height: int
    alarm: float | None = None
    """From here on the figure is shown in red."""


class Row(NamedTuple):
    """Panels under a heading."""

    heading: str
    panels: tuple[Panel, ...]


class Dashboard(NamedTuple):
    """A page of rows. ``since``: where its time range begins."""

    uid: str
    title: str
    question: str
    since: str
    rows: tuple[Row, ...]


# ------------------------------------------------------------------------------------------------- queries


def selected(name: str, where: str = "", *, of: str = JOB, part: str = "") -> str:
    """The series of a metric of the catalogue, those of the mode that is looked at; ``part``: of a histogram."""
    metric = METRICS[name]
    matchers = [of, *(['mode="$mode"'] if metric.by_mode else []), *([where] if where else [])]
    return f"{metric.full_name}{part}{{{','.join(matchers)}}}"


def over(series: str, labels: tuple[str, ...]) -> str:
    """Summed up by these labels."""
    return f"sum by ({', '.join(labels)}) ({series})" if labels else f"sum({series})"


def _legend(labels: tuple[str, ...]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels) or "all"


def counted(name: str, *by: str, where: str = "", of: str = JOB, legend: str = "") -> Query:
    """How often it happened in the time that is shown."""
    series = f"increase({selected(name, where, of=of)}[$__range])"
    return Query(f"round({over(series, by)})", legend or _legend(by))


def rated(name: str, *by: str, where: str = "", of: str = JOB) -> Query:
    """How often it happens in a second, over time."""
    series = f"rate({selected(name, where, of=of)}[$__rate_interval])"
    return Query(over(series, by), _legend(by))


def top(query: Query, most: int = 20) -> Query:
    """The largest of them, without zeros."""
    return Query(f"topk({most}, {query.expr} > 0)", query.legend)


def share(part: Query, whole: Query) -> Query:
    """A ratio; where there is nothing to divide by there are no data."""
    return Query(f"{part.expr} / ({whole.expr} > 0)", part.legend)


def recorded(name: str, labels: tuple[str, ...] = (), *, ago: str = "", whole: bool = False, legend: str = "") -> Query:
    """A series of `deploy/prometheus`; ``whole``: it counts something, so it is rounded."""
    series = f"{name}{{{JOB}}}" + (f" offset {ago}" if ago else "")
    return Query(f"round({series})" if whole else series, legend or _legend(labels))


def this_week_and_last(name: str, *, whole: bool = False) -> tuple[Query, Query]:
    """A weekly figure beside the one of a week before."""
    return (
        recorded(name, whole=whole, legend="this week"),
        recorded(name, whole=whole, ago="1w", legend="the week before"),
    )


def quantiles(name: str, by: str = "stage") -> tuple[Query, ...]:
    """Median and 99th percentile of a histogram, by a label."""
    rates = f"sum by (le, {by}) (rate({selected(name, of=WORKERS, part='_bucket')}[$__rate_interval]))"
    return tuple(
        Query(f"histogram_quantile({q}, {rates})", f"{{{{{by}}}}} {called}")
        for q, called in ((0.5, "p50"), (0.99, "p99"))
    )


# -------------------------------------------------------------------------------------------------- panels


def stat(
    title: str, question: str, *queries: Query, unit: str = "short", width: int = 8, alarm: float | None = None
) -> Panel:
    """One or a few figures in large type."""
    return Panel("stat", title, question, unit, queries, width, 5, alarm)


def lines(title: str, question: str, *queries: Query, unit: str = "cps", alarm: float | None = None) -> Panel:
    """A course over time."""
    return Panel("timeseries", title, question, unit, queries, 8, 8, alarm)


def bars(title: str, question: str, query: Query) -> Panel:
    """Counts side by side, one for each value of a label."""
    return Panel("bargauge", title, question, "short", (query,), 8, 8)


def table(title: str, question: str, query: Query, *, unit: str = "short") -> Panel:
    """Counts by several labels."""
    return Panel("table", title, question, unit, (query,), 8, 8)


# ---------------------------------------------------------------------------------------------------- JSON


def rendered(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it from a file."""
    panels = list(_panels(dashboard))
    variables = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        _variable("job", "Installation", "label_values(ownership_ready, job)"),
    ]
    asked = " ".join(target["expr"] for panel in panels for target in panel.get("targets", ()))
    if "$mode" in asked:
        variables.append(_MODE)
    if "$instance" in asked:
        found = f"label_values(ownership_ready{{{JOB}}}, instance)"
        variables.append(_variable("instance", "Worker", found) | {"multi": True, "includeAll": True, "allValue": ".+"})
    return {
        "id": None,
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.question,
        "tags": ["ownership-stream"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": dashboard.since, "to": "now"},
        "refresh": "1m",
        "links": [{"title": "Ownership", "type": "dashboards", "tags": ["ownership-stream"], "asDropdown": True}],
        "templating": {"list": variables},
        "annotations": {"list": [_deployments()]},
        "panels": panels,
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _deployments() -> dict[str, Any]:
    """A mark where another version, matrix or mode begins to run."""
    now, before = (f"count by (version, revision, mode) ({selected('build_info')}{ago})" for ago in ("", " offset 5m"))
    return {
        "name": "Deployments",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": f"{now} unless {before}",
        "step": "60s",
        "titleFormat": "{{version}} {{mode}}",
        "textFormat": "matrix {{revision}}",
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Row by row, each filled from the left."""
    number, y = 0, 0
    for row in dashboard.rows:
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": row.heading, "collapsed": False, "gridPos": place, "panels": []}
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(panel, number, {"h": panel.height, "w": panel.width, "x": x, "y": y})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "blue" if panel.alarm is None else "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.question,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "noValue": "no data", "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": OPTIONS[panel.kind],
        "targets": [_target(panel.kind, number, query) for number, query in enumerate(panel.queries)],
    }
    if panel.kind == "table":
        hidden = {"Time": True, "__name__": True, "job": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def _target(kind: str, number: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": kind in INSTANT,
        "range": kind not in INSTANT,
        "format": "table" if kind == "table" else "time_series",
    }
