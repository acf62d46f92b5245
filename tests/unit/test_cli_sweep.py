"""`ownership-stream sweep`: a tick for every record, due or not."""

import json

import pytest

from kept_kit import Kept
from ownership_stream.cli import run
from ownership_stream.embedded import PARTITIONS, Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.identity import partition_of
from ownership_stream.wire import JSON
from step_kit import row

IDS = [f"0032X0000{letter}QU10JQAT" for letter in "ABC"]


@pytest.fixture
def kept(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An application of its own, its settings in the environment."""
    kept = Kept(servers)
    kept.settle(monkeypatch)
    return kept


def test_every_record_gets_a_tick_in_its_own_partition(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that wait for nothing; the state that is no record's gets none."""
    kept.decided(*(row(record, 0, "crm", {"lead_source": "referral"}, "growth_ops", op="c") for record in IDS))
    assert ExitCode.OK == run(["--output", "json", "sweep"])
    assert {"ticks": len(IDS)} == json.loads(capsys.readouterr().out)
    messages = kept.read(kept.settings.topic_changes, 2 * len(IDS))
    ticks = {message.key(): message.partition() for message in messages if _kind(message.value()) == "tick"}
    assert {record.encode(): partition_of(record, PARTITIONS) for record in IDS} == ticks


def test_without_records_there_is_nothing_to_sweep(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """And that is no error."""
    assert ExitCode.OK == run(["sweep"])
    assert "0 records will be looked at\n" == capsys.readouterr().out


def _kind(value: bytes | None) -> str:
    return JSON.read_change(value or b"").kind
