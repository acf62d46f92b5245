"""Prometheus' rules (deploy/prometheus) and their runbooks: tested by promtool, and true to the catalogue."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from monitoring_kit import bounds, labels_of, values_of
from ownership_stream.cli import cli
from ownership_stream.telemetry import Telemetry
from ownership_stream.wire import JSON
from promql import Selector, grouping_labels, selectors

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = sorted(FOLDER.glob("*.rules.yaml"))
TESTS = sorted((FOLDER / "tests").glob("*.test.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
HEADINGS = ["What it means", "Look here", "Do this", "It is over when"]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing (Debian: apt-get install prometheus)")


def promtool(*words: str | Path, given: bytes = b"") -> None:
    """Runs it and fails with what it says."""
    done = subprocess.run([str(PROMTOOL), *map(str, words)], input=given, capture_output=True, check=False)
    assert (0, b"") == (done.returncode, done.stderr), (done.stdout + done.stderr).decode()


@cache
def document(path: Path) -> Any:
    """A YAML file."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def rules() -> Iterator[dict[str, Any]]:
    """Every rule of every file."""
    for path in RULES:
        for group in document(path)["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}


def shown_labels(alert: dict[str, Any]) -> set[str]:
    """The labels that an alert can have: what its expression leaves, and its own."""
    summed = re.search(r"\bby \(([^)]*)\)", alert["expr"])
    first = next(selectors(alert["expr"])).name
    left = set(summed[1].split(", ")) if summed is not None and ":" not in first else set(labels_of(first))
    return left | set(alert["labels"])


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """All its lints, and each one counts."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


@needs_promtool
def test_every_promtool_test_holds() -> None:
    """Each alert fires where it should and not where it should not, and the weekly figures are the known ones."""
    promtool("test", "rules", *TESTS)


@needs_promtool
def test_promtool_finds_nothing_wrong_with_what_a_worker_serves() -> None:
    """Names, units and help texts of every metric are as Prometheus asks for them."""
    telemetry = Telemetry(bounds())
    telemetry.describe(version="1", revision="r")

    promtool("check", "metrics", given=telemetry.render())


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_every_alert_is_tested_firing_and_not_firing(name: str) -> None:
    """And where it fires, with the words that a person gets."""
    checks = [
        check
        for path in TESTS
        for test in document(path)["tests"]
        for check in test.get("alert_rule_test", ())
        if check["alertname"] == name
    ]

    assert [check for check in checks if not check["exp_alerts"]]
    fired = [alert for check in checks for alert in check["exp_alerts"]]
    assert fired
    assert all({"summary", "description", "runbook_url"} == set(alert["exp_annotations"]) for alert in fired)


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDED.values()], ids=[*ALERTS, *RECORDED])
def test_a_rule_names_only_what_there_is(rule: dict[str, Any]) -> None:
    """Metrics and labels of the catalogue with values that they can have, and series that are recorded."""
    asked = list(selectors(rule["expr"]))
    known = set().union(*(labels_of(selector.name) for selector in asked))
    known |= set(re.findall(r'label_replace\(.*?, "(\w+)",', rule["expr"]))

    assert [] == [s.name for s in asked if ":" in s.name and s.name not in RECORDED]
    assert set() == grouping_labels(rule["expr"]) - known
    for selector in asked:
        assert [] == [(k, v) for k, v in selector.values if v not in values_of(selector.name, k)]


def test_what_does_not_exist_is_seen() -> None:
    """The reader of expressions reads: a wrong metric, label or value is found."""
    expr = (
        'sum by (job, fild) (rate(ownership_conflicts_total{mode="enforced",field=~"a|b"}[5m] offset 1w)) > 2e3 and up'
    )

    assert {"job", "fild"} == grouping_labels(expr)
    assert [
        Selector("ownership_conflicts_total", (("mode", "enforced"), ("field", "a"), ("field", "b"))),
        Selector("up", ()),
    ] == list(selectors(expr))
    assert {"job", "instance", "field", "outcome", "mode"} == labels_of("ownership_conflicts_total")
    assert {"enforce", "observe"} == values_of("ownership_conflicts_total", "mode")
    with pytest.raises(LookupError):
        labels_of("ownership_conflict_total")


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_series_is_named_by_its_labels_and_used(name: str) -> None:
    """`level:metric:operations`, where the level is the list of its labels; and somebody asks for it."""
    level, metric, operations = name.split(":")

    assert level.split("_") == [label for label in level.split("_") if label in labels_of(name)]
    assert re.fullmatch(r"ownership_[a-z_]+", metric)
    assert re.fullmatch(r"[a-z0-9_]+", operations)
    texts = [rule["expr"] for rule in rules()] + [p.read_text() for p in (ROOT / "deploy" / "grafana").glob("*.json")]
    texts += [p.read_text() for p in TESTS]
    assert [text for text in texts if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", text)]


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_what_it_is_whose_and_what_to_do(name: str) -> None:
    """Summary, description and runbook for a person, severity and owner for whoever routes it."""
    alert = ALERTS[name]

    assert re.fullmatch(r"Ownership([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["labels"].get("owner") in {"platform", "sources", "document_owner"} or "owner" in grouping_labels(
        alert["expr"]
    )
    assert {"summary", "description", "runbook_url"} == set(alert["annotations"])
    assert f"docs/runbooks/{name}.md" == alert["annotations"]["runbook_url"]
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
    assert set() == used - shown_labels(alert)


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    """And the index names them all."""
    assert sorted(ALERTS) == sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    assert sorted(ALERTS) == sorted(re.findall(r"\]\((Ownership\w+)\.md\)", index))
    for name, severity in re.findall(r"\]\((Ownership\w+)\.md\) \| (\w+) \|", index):
        assert ALERTS[name]["labels"]["severity"] == severity


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_a_runbook_has_its_four_parts(name: str) -> None:
    """What it means for a patient, where to look, what to do, how one knows that it is over."""
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")

    assert text.startswith(f"# {name}\n")
    assert HEADINGS == re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert "patient" in text.split("## Look here")[0]


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_the_commands_of_a_runbook_can_be_typed(path: Path) -> None:
    """Every command and option is one that the program has."""
    for line in re.findall(
        r"^\$ (?:[A-Z_]+=\S+ )*ownership-stream (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        words = shlex.split(line, comments=True)
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words.pop(0))
            assert found is not None, line
            command = found
        options = {name for parameter in command.params for name in parameter.opts}
        assert set() == {word.split("=")[0] for word in words if word.startswith("--")} - options, line


def test_the_record_that_resets_a_breaker_is_one_that_lanes_understand() -> None:
    """There is no command for it yet, so the runbook gives the record itself."""
    text = (RUNBOOKS / "OwnershipBreakerTripped.md").read_text(encoding="utf-8")
    found = re.search(r"'(\{.*\})'", text)
    assert found is not None
    change = JSON.read_change(found[1].encode())

    assert ("reset_breaker", "crm") == (change.kind, change.system)
    assert {"id", "record", "kind", "system"} == set(json.loads(found[1]))
