"""A real Prometheus with our rules scrapes a worker through a scripted run: every panel answers, and rightly.

The rules are evaluated every second instead of every few minutes; nothing else is changed.
"""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from integration.running import Running, running
from integration.whole_story import tell
from ownership_stream.embedded import Embedded, free_port
from ownership_stream.review import Week
from ownership_stream.settings import LogLevel
from promql import selectors

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
VARIABLES: Final = {"$__rate_interval": "10s", "$__range": "1h", "$job": "own", "$instance": ".+", "$mode": "enforce"}
COUNTED: Final = re.compile(
    r"(?:topk\(\d+, )?round\(sum(?: by \(([^)]*)\))? ?\(increase\((\w+)\{[^}]*\}\[1h\]\)\)\)(?: > 0\))?"
)
"""A count over the time that is shown."""
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is missing (Debian: apt-get install prometheus)"
)


class Prometheus:
    """A server of our own, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> bytes:
        """A page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:  # ours
            return bytes(answer.read())

    def ask(self, query: str) -> dict[tuple[str, ...], float]:
        """The series of an instant query as of now: label values, in the order of their names, without the job's."""
        found = json.loads(self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
        return {
            tuple(value for name, value in sorted(one["metric"].items()) if name not in ("__name__", "job")): float(
                one["value"][1]
            )
            for one in found["data"]["result"]
        }

    def until(self, true: Callable[[], bool], what: object) -> None:
        """Returns when it holds."""
        deadline = monotonic() + DEADLINE
        while not _holds(true):
            assert monotonic() < deadline, what
            sleep(0.2)


def _holds(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except OSError:
        return False


@pytest.fixture(scope="module")
def worker(embedded: Embedded) -> Iterator[Running]:
    """A worker that counts what stands every second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ownership_stream.census.FIRST", 0.5)
        patch.setattr("ownership_stream.census.EVERY", 0.5)
        with running(embedded, hash_key=SecretStr("a key of the tests"), log_level=LogLevel.WARNING) as worker:
            yield worker


@pytest.fixture(scope="module")
def prometheus(worker: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has scraped the worker before the story, and through all of it."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    for path in (ROOT / "deploy" / "prometheus").glob("*.rules.yaml"):
        text = re.sub(r"^    interval: \w+$", "    interval: 1s", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}\n"
        "rule_files: ['*.rules.yaml']\n"
        "scrape_configs:\n"
        f"  - {{job_name: own, static_configs: [{{targets: ['127.0.0.1:{worker.port}']}}]}}\n",
        encoding="utf-8",
    )
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Prometheus(port)
        found.until(lambda: {1.0} == set(found.ask("ownership_ready").values()), "never scraped")
        tell(worker)
        yield found
    finally:
        server.terminate()
        server.wait(10)


def asked(name: str) -> list[tuple[str, str]]:
    """Every panel's query of a dashboard, variables filled in, with the panel's title."""
    [path] = [path for path in DASHBOARDS if path.name == name]
    found = []
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            found.append((panel["title"], query))
    return found


def counted(worker: Running, query: str) -> dict[tuple[str, ...], float]:
    """What /metrics says to a query of a count, without zeros."""
    match = COUNTED.fullmatch(query)
    assert match is not None
    by = sorted(match[1].split(", ")) if match[1] else []
    [selector] = selectors(query)
    wanted: dict[str, set[str]] = {}
    for label, value in selector.values:
        wanted.setdefault(label, set()).add(value)
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(worker.get("/metrics")[1]):
        for sample in family.samples:
            labels = {"job": "own", "instance": ".+", **sample.labels}
            if sample.name == selector.name and all(labels.get(label) in said for label, said in wanted.items()):
                found[tuple(labels[label] for label in by)] += int(sample.value)
    return {key: float(number) for key, number in found.items() if number}


COUNTS: Final = [
    (path.name, title, query) for path in DASHBOARDS for title, query in asked(path.name) if COUNTED.fullmatch(query)
]


@pytest.mark.parametrize(("name", "title", "query"), COUNTS, ids=[f"{name}: {title}" for name, title, _ in COUNTS])
def test_a_panel_that_counts_shows_what_was_counted(
    worker: Running, prometheus: Prometheus, name: str, title: str, query: str
) -> None:
    """By each of its labels, what /metrics has, which is what the topics hold (see test_whole_way)."""
    expected = counted(worker, query)

    def shown() -> dict[tuple[str, ...], float]:
        return {key: value for key, value in prometheus.ask(query).items() if value}

    prometheus.until(lambda: expected == shown(), (name, title, query, expected, shown()))


NOTHING_TO_SHOW: Final = {
    "Catch-up", "Dead letters", "Diagnoses", "Lanes", "Longest without a commit", "Time without a commit",
}  # fmt: skip
"""Panels of which a query may be empty in a run in which nothing went wrong."""


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_has_something_to_show(prometheus: Prometheus, path: Path) -> None:
    """But for what there was not in this run: a week before, an outage, an override."""
    silent = [
        (title, query)
        for title, query in asked(path.name)
        if "offset 1w" not in query and "change1w" not in query and title not in NOTHING_TO_SHOW
    ]
    empty: list[tuple[str, str]] = []

    def all_answer() -> bool:
        empty[:] = [(title, query) for title, query in silent if not prometheus.ask(query) and not _filtered(query)]
        return not empty

    prometheus.until(all_answer, empty)


def _filtered(query: str) -> bool:
    """Whether it shows only what is above zero, or divides by it: what such a query counts is tested above."""
    return "> 0" in query or "per_" in query


def test_prometheus_and_the_report_tell_the_same_week(worker: Running, prometheus: Prometheus) -> None:
    """Counts within rounding, shares to the thousandth; the queue's length is the same."""
    [first, *_] = worker.records(worker.settings.topic_changes)
    page = worker.shown("report", "--week", str(Week.of(first.timestamp()[1])))
    figures: dict[str, Any] = {one["key"]: one["value"] for one in page["figures"]}
    queries = {
        "conflicts": "round(job:ownership_conflicts:increase1w)",
        "overrides": "round(job:ownership_overrides:increase1w)",
        "duplicates": "round(job:ownership_probable_duplicates_per_records_created:ratio1w, 0.001)",
        "rejected": "round(job:ownership_write_attempts_rejected_by_owner_per_attempt:ratio1w, 0.001)",
        "queue_beyond": "job:ownership_queue_open_beyond_sla_per_open:ratio",
    }
    expected = {key: round(figures[key], 3) for key in queries}

    def told() -> dict[str, float | None]:
        return {key: next(iter(prometheus.ask(query).values()), None) for key, query in queries.items()}

    prometheus.until(lambda: expected == told(), (expected, told()))
    open_cases = {(one["owner"],): float(one["open"]) for one in page["queues"]}
    assert open_cases == prometheus.ask("job_owner:ownership_queue_open:sum")
