"""`ownership-stream disagreements`: what it prints for people and for programs, and how it ends."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from kept_kit import Kept
from ownership_stream.cli import run
from ownership_stream.disagreements import WHYS
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.model import Change
from ownership_stream.steps import packed
from ownership_stream.telemetry import hash_id, hash_key
from step_kit import row

IDS = [f"0032X0000{letter}QU10JQAT" for letter in "ABC"]


def agreeing(record: str) -> list[Change]:
    """A record that both systems show alike."""
    return [
        row(record, 0, "crm", {"email": "zebedee@x.org"}, "growth_ops", op="c"),
        row(record, 0, "ehr", {"email": "zebedee@x.org", "date_of_birth": "1980-01-02"}, "nurse", op="c"),
        row(record, 1, "crm", {"date_of_birth": "1980-01-02"}),
    ]


def billed(record: str) -> Change:
    """A word of the billing that stays as it is."""
    return row(record, 5, "crm", {"billing_status": "on_hold"}, "growth_ops")


def owed(record: str) -> Change:
    """The owner's word for it."""
    return row(record, 4, "ehr", {"billing_status": "current"}, "nurse")


def written(record: str) -> Change:
    """An e-mail address on its way."""
    return row(record, 6, "crm", {"email": "zebedee2@x.org"}, "growth_ops")


@pytest.fixture
def kept(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An application of its own: eighty columns without colours, its settings in the environment."""
    kept = Kept(servers)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    kept.settle(monkeypatch)
    return kept


@pytest.fixture
def quarrel(kept: Kept) -> Kept:
    """Two records with a word that is left, one of them with a value under way, and one that agrees."""
    one, two, three = IDS
    kept.decided(
        *(change for record in IDS for change in agreeing(record)),
        *(change(record) for record in (one, two) for change in (owed, landed, billed)),
        written(two),
    )
    assert three
    return kept


def landed(record: str) -> Change:
    """The owner's word of the billing, seen in the CRM."""
    return row(record, 4, "crm", {"billing_status": "current"})


def listed(capsys: pytest.CaptureFixture[str], *arguments: str, code: ExitCode = ExitCode.OK) -> list[dict[str, Any]]:
    """What programs get."""
    assert code == run(["--output", "json", "disagreements", *arguments])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["disagreements"]
    return found


def test_systems_that_agree_are_said_to(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, and as an empty list."""
    kept.decided(*agreeing(IDS[0]))
    assert ExitCode.OK == run(["disagreements"])
    assert ("every system shows what it should\n", "") == capsys.readouterr()
    assert [] == listed(capsys)


def test_disagreements_are_counted_by_system_field_and_reason(
    quarrel: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each reason in words; nobody's value."""
    assert ExitCode.OK == run(["disagreements"])
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert ["system", "field", "why", "records"] == lines[0]
    assert [["crm", "billing_status", "2"], ["ehr", "email", "1"]] == [
        [*line[:2], line[-1]] for line in lines[1:] if line[0] in ("crm", "ehr")
    ]
    assert {*WHYS["left"].split(), *WHYS["under way"].split()} <= {word for line in lines for word in line}
    assert "" == err
    assert max(map(len, out.splitlines())) <= 80
    assert "zebedee" not in out
    assert [
        {"system": "crm", "field": "billing_status", "why": "left", "records": 2},
        {"system": "ehr", "field": "email", "why": "under way", "records": 1},
    ] == listed(capsys)


def test_records_are_listed_by_their_hashes(quarrel: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """As `explain` takes them; ids only on request."""
    key = hash_key(quarrel.settings.hash_key)
    found = listed(capsys, "--records")
    assert sorted(f"#{hash_id(key, record)[:8]}" for record in (IDS[0], IDS[1], IDS[1])) == [
        one["record"] for one in found
    ]
    assert ExitCode.OK == run(["disagreements", "--records"])
    out = capsys.readouterr().out
    assert not [record for record in IDS if record in out]
    assert max(map(len, out.splitlines())) <= 80
    assert {IDS[0], IDS[1]} == {one["record"] for one in listed(capsys, "--ids")}


def test_what_nothing_explains_is_a_problem(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3: a state that no decision leaves behind, made by hand."""
    lane = kept.decided(*agreeing(IDS[0]))
    state = lane.state(IDS[0])
    shown = replace(state.systems["ehr"], shown={"email": "zebedee3@x.org", "date_of_birth": "1980-01-02"})
    kept.keep({IDS[0]: packed(replace(state, systems={**state.systems, "ehr": shown}), 0)})
    assert [{"system": "ehr", "field": "email", "why": "unsettled", "records": 1}] == listed(
        capsys, code=ExitCode.PROBLEMS
    )
    assert ExitCode.PROBLEMS == run(["disagreements"])
    assert WHYS["unsettled"] in " ".join(capsys.readouterr().out.split())


def test_in_observe_mode_what_is_held_is_no_problem(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent there, which explains it."""
    monkeypatch.setenv("OWNERSHIP_MODE", "observe")
    lane = kept.decided(*agreeing(IDS[0]))
    state = lane.state(IDS[0])
    shown = replace(state.systems["ehr"], shown={"email": "zebedee3@x.org", "date_of_birth": "1980-01-02"})
    kept.keep({IDS[0]: packed(replace(state, systems={**state.systems, "ehr": shown}), 0)})
    assert ["held"] == [one["why"] for one in listed(capsys)]


def test_a_bad_matrix_is_the_first_thing_said(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anybody is asked."""
    assert ExitCode.USAGE == run(["disagreements", "--matrix-path", "nowhere.yaml"])
    assert "error: nowhere.yaml: cannot be read: no such file or directory\n" == capsys.readouterr().err
