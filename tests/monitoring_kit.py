"""What may be asked of Prometheus: the labels of each series that we expose or record, and the values they can have."""

from functools import cache
from pathlib import Path

from ownership_stream.matrix.compile import load
from ownership_stream.sources import IGNORED, REASONS
from ownership_stream.steps import DEAD_LETTER_REASONS
from ownership_stream.telemetry import bounds_of
from ownership_stream.telemetry.catalogue import CATALOGUE, OPEN, Bounds, Kind, Metric

ROOT = Path(__file__).resolve().parents[1]
SCRAPED = frozenset({"job", "instance"})
"""What Prometheus itself puts on every series."""
MODES = frozenset({"enforce", "observe"})
METRICS = {metric.full_name: metric for metric in CATALOGUE}
ALERT_LABELS = SCRAPED | {"alertname", "alertstate", "severity", "owner", "field", "system", "stage", "reason"}


class Anything(frozenset[str]):
    """A set that has every value: for labels that are not bounded by the matrix."""

    def __contains__(self, _: object) -> bool:
        return True


def labels_of(series: str) -> frozenset[str]:
    """The labels of a series; raises LookupError for one that nobody makes."""
    if series == "ALERTS":
        return ALERT_LABELS
    if ":" in series:
        return frozenset(series.split(":", maxsplit=1)[0].split("_"))
    metric, part = _metric(series)
    mode = {"mode"} if metric.by_mode else set()
    return SCRAPED | set(metric.labels) | mode | ({"le"} if part == "_bucket" else set())


def values_of(series: str, label: str) -> frozenset[str]:
    """The values that a label of a series can have with the shipped matrix; raises LookupError for a wrong label."""
    if label not in labels_of(series):
        raise LookupError(f"`{series}` has no label `{label}`")
    if series == "ALERTS" or ":" in series or label in SCRAPED or label == "le":
        return Anything()
    metric, _ = _metric(series)
    if label == "mode":
        return MODES
    if not OPEN.isdisjoint(metric.domains):
        return frozenset(bounds().stages) if label == "stage" else Anything()
    place = metric.labels.index(label)
    return frozenset(values[place] for values in bounds().combinations(metric))


def _metric(series: str) -> tuple[Metric, str]:
    for part in ("_bucket", "_sum", "_count"):
        metric = METRICS.get(series.removesuffix(part))
        if series.endswith(part) and metric is not None and metric.kind is Kind.HISTOGRAM:
            return metric, part
    found = METRICS.get(series)
    if found is None or found.kind is Kind.HISTOGRAM:
        raise LookupError(f"no metric `{series}` in the catalogue")
    return found, ""


@cache
def bounds() -> Bounds:
    """What the labels of a worker with the shipped matrix can be."""
    matrix = load(ROOT / "matrix" / "patient.yaml")
    return bounds_of(matrix, dead_letter_reasons=(*REASONS, *DEAD_LETTER_REASONS), ignored_reasons=tuple(IGNORED))
