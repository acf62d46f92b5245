"""Grafana's dashboards (deploy/grafana): written by the program, each panel one question, each query a good one."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitoring_kit import labels_of, values_of
from promql import grouping_labels, selectors

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "grafana"
FILES = sorted(FOLDER.glob("*.json"))
DASHBOARDS = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$job": "own", "$instance": ".+", "$mode": "enforce"}
PROMTOOL = shutil.which("promtool")
UNITS = {"short", "percentunit", "s", "cps"}


def source() -> ModuleType:
    """deploy/grafana/dashboards.py, which is no package."""
    spec = importlib.util.spec_from_file_location("dashboards", FOLDER / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that ask something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def asked(dashboard: dict[str, Any]) -> list[str]:
    """Every query, variables filled in."""
    queries = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    for name, value in VARIABLES.items():
        queries = [query.replace(name, value) for query in queries]
    return queries


QUERIES = sorted({query for dashboard in DASHBOARDS.values() for query in asked(dashboard)})


def test_the_files_are_what_the_program_writes() -> None:
    """`make docs` was run after the last change, and no file is left over."""
    made = source()

    assert sorted(made.DASHBOARDS) == [path.name for path in FILES]
    for path in FILES:
        assert made.text(path.name) == path.read_text(encoding="utf-8"), "run `make docs`"


def test_there_are_three_dashboards_each_with_its_question() -> None:
    """Their addresses never change, and nobody edits them by hand."""
    assert {
        "ownership-conflicts": "Ownership: conflicts and rejections",
        "ownership-pipeline": "Ownership: pipeline",
        "ownership-weekly": "Ownership: weekly review",
    } == {dashboard["uid"]: dashboard["title"] for dashboard in DASHBOARDS.values()}
    for dashboard in DASHBOARDS.values():
        assert dashboard["description"].endswith("?")
        assert (None, False) == (dashboard["id"], dashboard["editable"])
        assert ["datasource", "job"] == [variable["name"] for variable in dashboard["templating"]["list"]][:2]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_every_panel_answers_one_question_in_a_unit(name: str) -> None:
    """Title, question, unit, a query for each refId; counters only inside rate or increase."""
    shown = panels(DASHBOARDS[name])

    questions = [panel["description"] for panel in shown]
    assert len(questions) == len(set(questions))
    for panel in shown:
        assert "?" in panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["targets"]
        assert all(target["instant"] != target["range"] for target in panel["targets"])
        for target in panel["targets"]:
            counters = re.findall(r"(?:(\w+)\()?ownership_\w+_total", target["expr"])
            assert {"rate", "increase"} >= set(counters), target["expr"]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_panels_fill_the_page_without_lying_on_each_other(name: str) -> None:
    """Within the 24 columns; and every panel has a number of its own."""
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    numbers = [panel["id"] for panel in DASHBOARDS[name]["panels"]]

    assert len(numbers) == len(set(numbers))
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_only_what_there_is(query: str) -> None:
    """Metrics and labels of the catalogue with values that they can have, and series that rules record."""
    series = list(selectors(query))
    recorded = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "deploy/prometheus").glob("*.rules.yaml"))

    assert series
    assert set() == grouping_labels(query) - set().union(*(labels_of(one.name) for one in series))
    for one in series:
        assert ":" not in one.name or f"record: {one.name}\n" in recorded
        assert [] == [(label, value) for label, value in one.values if value not in values_of(one.name, label)]


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_legend_names_only_labels_that_its_query_leaves(name: str) -> None:
    """A label that was summed away would be shown as nothing."""
    for panel in panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            left = grouping_labels(target["expr"])
            left |= {label for one in selectors(target["expr"]) if ":" in one.name for label in labels_of(one.name)}
            assert used <= left, target["expr"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing (Debian: apt-get install prometheus)")
def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    """Promtool parses them as rules."""
    rules = [{"record": f"query:ownership:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    path = tmp_path / "queries.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(pure=True).dump({"groups": [{"name": "queries", "rules": rules}]}, file)
    done = subprocess.run([str(PROMTOOL), "check", "rules", path], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout
