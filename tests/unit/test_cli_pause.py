"""`ownership-stream pause`, `resume` and `breaker`: control events that hold back what is sent, or let it go."""

import json

import msgspec
import pytest

from kept_kit import Kept
from ownership_stream.breaker import Breaker
from ownership_stream.cli import run
from ownership_stream.embedded import PARTITIONS, Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.identity import partition_of
from ownership_stream.steps import BREAKER
from ownership_stream.store import DUE_BYTES
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import JSON
from step_kit import row

IDS = [f"0032X0000{letter}QU10JQAT" for letter in "ABC"]


@pytest.fixture
def kept(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An application of its own with three records, its settings in the environment."""
    kept = Kept(servers)
    kept.settle(monkeypatch)
    monkeypatch.setenv("OWNERSHIP_ACTOR", "Ida")
    kept.decided(*(row(record, 0, "crm", {"lead_source": "referral"}, "growth_ops", op="c") for record in IDS))
    return kept


def told(kept: Kept, number: int) -> list[tuple[str, str, str, int | None, str | None]]:
    """The control events on the log: kind, system, record, partition, who."""
    messages = kept.read(kept.settings.topic_changes, len(IDS) + number)
    found = [(JSON.read_change(message.value() or b""), message.partition()) for message in messages]
    return sorted(
        (change.kind, change.system, change.record, partition, change.actor)
        for change, partition in found
        if change.kind != "row"
    )


@pytest.mark.parametrize("kind", ["pause", "resume"])
def test_records_are_named_by_id_or_hash(kept: Kept, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """Each gets its event in its own partition, with who said so."""
    hashed = hash_id(hash_key(kept.settings.hash_key), IDS[1])
    assert ExitCode.OK == run(["--output", "json", kind, IDS[0], f"#{hashed}", IDS[0], "--system", "ehr"])
    assert {kind: 2} == json.loads(capsys.readouterr().out)
    expected = [(kind, "ehr", record, partition_of(record, PARTITIONS), "Ida") for record in IDS[:2]]
    assert sorted(expected) == told(kept, 2)


def test_every_record_is_paused_on_request(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """As a whole, where no system is named."""
    assert ExitCode.OK == run(["pause", "--every-record"])
    assert "3 records will pause\n" == capsys.readouterr().out
    assert sorted(IDS) == sorted(record for _, _, record, _, _ in told(kept, 3))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ((), "give either RECORDS or `--every-record`"),
        (("x", "--every-record"), "give either RECORDS or `--every-record`"),
        (("x",), "no record `x`"),
        (("--every-record", "--system", "lab"), "the matrix has no system `lab`"),
    ],
)
def test_what_is_not_said_clearly_is_not_done(
    kept: Kept, capsys: pytest.CaptureFixture[str], said: tuple[str, ...], error: str
) -> None:
    """One line that says what is missing."""
    assert kept
    assert ExitCode.USAGE == run(["pause", *said])
    assert error in capsys.readouterr().err


def test_every_lane_s_breaker_is_reset(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """A lane knows its own only, so each is told."""
    assert ExitCode.OK == run(["breaker", "reset", "--system", "crm"])
    assert "run `ownership-stream sweep`" in capsys.readouterr().out
    expected = [("reset_breaker", "crm", "", partition, "Ida") for partition in range(PARTITIONS)]
    assert expected == told(kept, PARTITIONS)


def test_a_breaker_that_tripped_is_shown(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """As a problem, by its exit code."""
    assert ExitCode.OK == run(["breaker", "show"])
    assert "no breaker has tripped\n" == capsys.readouterr().out
    kept.keep({BREAKER: bytes(DUE_BYTES) + msgspec.msgpack.encode(Breaker(1, {}, {"ehr": 5}))})
    assert ExitCode.PROBLEMS == run(["--output", "json", "breaker", "show"])
    assert {"withheld": ["ehr"]} == json.loads(capsys.readouterr().out)
