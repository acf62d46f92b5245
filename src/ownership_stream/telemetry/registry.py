"""Counts: the metrics of the catalogue on a Prometheus registry of our own, every closed series made at zero.

Counts come as `Counter[tuple[str, ...]]`: the first word names the metric, the others are its label values in
order, and of a histogram the observed value after them. They are plain in-memory counters, added only after their batch
is committed, and never restored.
"""

from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

from ownership_stream.telemetry.catalogue import CATALOGUE, OPEN, PREFIX, Bounds, Kind, Metric

# `_created` series double the size of a scrape, and nobody asks when a counter began.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """The counts of one process. Thread-safe: lanes count from their own threads.

    `clock` gives the seconds since 1970.
    """

    def __init__(self, bounds: Bounds, *, mode: str = "enforce", clock: Callable[[], float] = time) -> None:
        self.registry = CollectorRegistry()
        self._mode = mode
        self._clock = clock
        self._metrics = {metric.name: metric for metric in CATALOGUE}
        self._families = {metric.name: self._family(metric) for metric in CATALOGUE}
        self._children: dict[tuple[str, ...], Any] = {}
        for metric in CATALOGUE:
            for values in bounds.combinations(metric):
                self._children[(metric.name, *values)] = self._child(metric, values)

    def count(self, counts: Mapping[tuple[str, ...], float]) -> None:
        """Add counts; one with labels outside the closed sets counts as `unknown_labels` instead.

        Raises KeyError for a metric that is not in the catalogue and ValueError for a wrong number of labels:
        both are mistakes of the program, not of its input.
        """
        for key, amount in counts.items():
            child = self._children.get(key)
            if child is not None:
                child.inc(amount)
            else:
                self._count_unusual(key, amount)

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        """Add one measured time to a histogram."""
        self._children[(name, *labels)].observe(seconds)

    def set(self, name: str, *labels: str, value: float) -> None:
        """Set a gauge; a series of a lane appears with its first value."""
        self._open_child((name, *labels)).set(value)

    def open_series(self, name: str, *labels: str) -> None:
        """Make the series of a lane at zero, so that its first count is seen as an increase."""
        self._open_child((name, *labels))

    def close_series(self, name: str, *labels: str) -> None:
        """Forget the series of a lane that is no longer ours."""
        if self._children.pop((name, *labels), None) is not None:
            self._families[name].remove(*labels)

    def describe(self, *, version: str, revision: str) -> None:
        """Say which version and which matrix revision run."""
        self._families["build_info"].clear()
        self._families["build_info"].labels(version, revision, self._mode).set(1)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format; `CONTENT_TYPE` names it."""
        return generate_latest(self.registry)

    def _count_unusual(self, key: tuple[str, ...], amount: float) -> None:
        """Counts what has no series under this key: an observed value, a lane, or what nobody announced."""
        metric = self._metrics[key[0]]
        *labels, value = key[1:] if metric.kind is Kind.HISTOGRAM else (*key[1:], "")
        if len(labels) != len(metric.labels):
            raise ValueError(f"`{metric.name}` has the labels {metric.labels}, {len(labels)} values were given")
        child = self._children.get((metric.name, *labels))
        if child is None and OPEN.isdisjoint(metric.domains):
            self._children["unknown_labels", metric.name].inc(amount)
        elif child is not None and metric.kind is Kind.HISTOGRAM:
            seconds = max(0.0, self._clock() - int(value) / 1000) if metric.since else float(value)
            for _ in range(int(amount)):
                child.observe(seconds)
        else:
            self._open_child(key).inc(amount)

    def _open_child(self, key: tuple[str, ...]) -> Any:
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._child(self._metrics[key[0]], key[1:])
        return child

    def _child(self, metric: Metric, values: tuple[str, ...]) -> Any:
        family = self._families[metric.name]
        labels = (*values, self._mode) if metric.by_mode else values
        return family.labels(*labels) if labels else family

    def _family(self, metric: Metric) -> Any:
        labels = (*metric.labels, "mode") if metric.by_mode else metric.labels
        name = PREFIX + metric.name
        match metric.kind:
            case Kind.COUNTER:
                return Counter(name, metric.meaning, labels, registry=self.registry)
            case Kind.GAUGE:
                return Gauge(name, metric.meaning, labels, registry=self.registry)
            case Kind.HISTOGRAM:
                return Histogram(name, metric.meaning, labels, registry=self.registry, buckets=metric.buckets)
