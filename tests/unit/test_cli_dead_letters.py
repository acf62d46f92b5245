"""`ownership-stream dead-letters`: what it prints for people and for programs, and what it keeps to itself."""

import base64
import json
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from kept_kit import Kept
from ownership_stream.cli import run
from ownership_stream.dead_letters import Place, place_of
from ownership_stream.embedded import Embedded
from ownership_stream.errors import BadInputError, ExitCode
from ownership_stream.wire import dead_letter

SECRET = b"\xff Zebedee\x1b[2J of Main St"
TEXT = b'{"family": "Zebedee"}\n\x1b[31m'
HEADERS = [("traceparent", b"00-1-2-01"), ("who", b"Zebedee")]


@pytest.fixture(autouse=True)
def source(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three letters of an installation of its own: two of the source, one of the log."""
    kept = Kept(servers)
    topic, letters = f"{kept.name}.ehr", f"{kept.name}.letters"
    settings = kept.environment() | {"OWNERSHIP_TOPIC_DEAD_LETTERS": letters, "COLUMNS": "160", "NO_COLOR": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    AdminClient({"bootstrap.servers": servers.bootstrap, "log_level": 0}).list_topics(topic, timeout=10)
    producer = Producer({"bootstrap.servers": servers.bootstrap, "log_level": 0})
    for number, (value, stage, reason, where) in enumerate(
        [
            (SECRET, "intake: decode", "not_json", topic),
            (TEXT, "intake: decode", "wrong_type", topic),
            (b"", "decide: size", "size", kept.settings.topic_changes),
        ]
    ):
        letter = dead_letter(
            key=b"Zebedee", value=value, headers=HEADERS, topic=where, partition=1, offset=7 + number, stage=stage,
            reason=reason, error="Undecodable", message="no JSON",
        )  # fmt: skip
        key, value_of, headers = letter
        producer.produce(letters, value_of, key, 2, headers=list(headers), timestamp=1_767_261_600_000 + number)
    assert 0 == producer.flush(30)
    return topic


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints; it must end well."""
    assert ExitCode.OK == run(["dead-letters", *arguments]), capsys.readouterr().err
    return capsys.readouterr().out


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The same for programs."""
    assert ExitCode.OK == run(["--output", "json", "dead-letters", *arguments])
    return json.loads(capsys.readouterr().out)


def test_a_list_tells_where_and_why_and_nothing_of_what(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first; as data too."""
    out = printed(capsys, "list")
    assert "Zebedee" not in out
    assert ["2:2", "2:1", "2:0"] == [line.split()[0] for line in out.splitlines()[1:]]
    assert f"{source}[1]@7" in out
    rows = shown(capsys, "list", "--by-offset")["dead_letters"]
    assert [("2:0", source, 7, len(SECRET)), ("2:1", source, 8, len(TEXT))] == [
        (row["place"], row["topic"], row["offset"], row["bytes"]) for row in rows[:2]
    ]
    assert "2026-01-01T10:00:00.000Z" == rows[0]["time"]


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (["--reason", "size"], ["2:2"]),
        (["--stage", "intake"], ["2:0", "2:1"]),
        (["--stage", "intake: decode", "--limit", "1"], ["2:0"]),
        (["--since", "2:1"], ["2:1", "2:2"]),
        (["--since", "2"], ["2:2"]),
        (["--since", "1:5"], ["2:0", "2:1", "2:2"]),
        (["--topic", "nowhere"], []),
    ],
)
def test_filters_narrow_the_list(arguments: list[str], places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A place narrows its own partition, an offset all."""
    assert places == [row["place"] for row in shown(capsys, "list", "--by-offset", *arguments)["dead_letters"]]


def test_an_empty_list_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And is no error."""
    assert "no dead letters\n" == printed(capsys, "list", "--reason", "bad_key")


def test_a_letter_is_shown_without_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """Headers that can name somebody are told by their size."""
    out = printed(capsys, "show", "2:0")
    assert "Zebedee" not in out
    for line in (
        "  reason    not_json: the bytes are no UTF-8, or no JSON",
        "  header    traceparent: 00-1-2-01",
        "  header    who: 7 bytes, shown by --reveal",
        "  key       7 bytes",
        f"  value     {len(SECRET)} bytes",
    ):
        assert line in out.splitlines()
    assert not {"key", "value"} & shown(capsys, "show", "2:0").keys()


def test_on_request_bytes_are_shown_and_cannot_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Text as text, what is none as a hexdump; programs get base64."""
    out = printed(capsys, "show", "2:0", "--reveal")
    assert "    00000000  ff 20 5a 65 62 65 64 65 65 1b 5b 32 4a 20 6f 66  . Zebedee.[2J of" in out.splitlines()
    assert "  header    who: Zebedee" in out.splitlines()
    out = printed(capsys, "show", "2:1", "--reveal")
    assert '    {"family": "Zebedee"}' in out.splitlines()
    assert "\x1b" not in out
    assert SECRET == base64.b64decode(shown(capsys, "show", "2:0", "--reveal")["value"])


def test_a_replay_is_done_once(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mark says so from then on; the list tells it, and what is open no longer holds it."""
    assert f"2:0 would go back to {source} [1]\n" == printed(capsys, "replay", "2:0", "--dry-run")
    assert printed(capsys, "replay", "2:0").startswith(f"2:0 is back as {source}[1]@")
    assert "nothing done" in printed(capsys, "replay", "2:0")
    assert "would stay" in printed(capsys, "replay", "2:0", "--dry-run")
    [row] = [row for row in shown(capsys, "list")["dead_letters"] if row["replayed"]]
    assert ("2:0", source, 1) == (row["place"], row["replayed"]["topic"], row["replayed"]["partition"])
    assert ["2:1", "2:2"] == [row["place"] for row in shown(capsys, "list", "--by-offset", "--open")["dead_letters"]]
    [done] = shown(capsys, "replay", "2:0", "--again")["replayed"]
    assert not done["before"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["show", "12"], "`12` is no place of a dead letter: give partition and offset, as `3:1042`"),
        (["replay"], "give either PLACES or filters: `--reason`, `--stage`, `--topic`, `--since`"),
        (["replay", "2:0", "--reason", "size"], "give either PLACES or filters: `--reason`, `--stage`, `--topic`, "),
        (["replay", "--stage", "intake"], "2 dead letters would be replayed: confirm with `--yes`, or look with "),
        (["list", "--reason", "nope"], "`nope` is not one of"),
        (["list", "--since", "x"], "`x` is no place of a dead letter"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, nothing on stdout."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert ExitCode.USAGE == run(["dead-letters", *arguments])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, len(err.splitlines()))
    assert line in err


def test_a_place_is_partition_and_offset() -> None:
    """And is written as it is read."""
    assert Place(3, 1042) == place_of("3:1042")
    assert "3:1042" == str(Place(3, 1042))
    for text in ("3", "3:", ":4", "-1:4", "3:4:5", "a:b"):
        with pytest.raises(BadInputError):
            place_of(text)
