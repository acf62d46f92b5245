"""`ownership-stream sources check`: a sample from a file or a topic, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from avro_kit import EhrTopic, Shelf, serving
from matrices import PATIENT, ROOT
from ownership_stream.cli import run
from ownership_stream.embedded import PARTITIONS, Embedded
from ownership_stream.errors import BadInputError, ExitCode
from ownership_stream.looking import reach
from ownership_stream.sampling import from_file, from_topic
from ownership_stream.settings import Settings
from ownership_stream.sources.opened import SampleRecord
from sample_kit import record, rows, whole
from source_kit import PATIENT_ROW, ehr_event

GOOD = rows()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped matrix and mappings, and a terminal without colours."""
    for name, value in {
        "OWNERSHIP_MATRIX_PATH": str(PATIENT), "OWNERSHIP_SOURCES_PATH": str(PATIENT.parent / "sources"),
        "COLUMNS": "160", "NO_COLOR": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)


def text(found: bytes | None) -> str | None:
    """Bytes as kcat prints them."""
    return None if found is None else found.decode()


def kept(folder: Path, records: list[SampleRecord], how: str = "ours") -> Path:
    """A file of records: as objects of ours, as `kcat -J` writes them, or as values alone."""
    lines = []
    for number, one in enumerate(records):
        key, value = text(one.key), text(one.value)
        place = {"topic": one.topic, "partition": 0, "offset": number, "tstype": "create", "ts": 5, "broker": 1}
        lines += [
            {
                "ours": json.dumps({"key": key and json.loads(key), "value": value and json.loads(value)}),
                "kcat -J": json.dumps(place | {"headers": ["a", "b"], "key": key, "payload": value}),
                "kcat": f"{key}\t{value}",
                "values": value or "null",
            }[how]
        ]
    path = folder / "sample.jsonl"
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and what is printed."""
    code = run(["sources", "check", *arguments])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("how", ["ours", "kcat -J", "kcat", "values"])
def test_a_file_is_read_as_it_is_at_hand(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Our own lines, those of kcat, or the values alone."""
    path = kept(tmp_path, GOOD, how)
    code, out = checked(capsys, "--source", "ehr", "--file", str(path))

    assert ExitCode.OK == code, out
    assert "source ehr (debezium postgresql): 30 records" in out
    assert "30 changes, 0 records would be dead letters" in out
    assert "nothing to complain about" in out
    assert any(line.split()[:5] == ["birth_date", "date_of_birth", "as", "epoch", "days"] for line in out.splitlines())


def test_findings_end_in_exit_code_3_and_name_their_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people as lines, for programs as data; no value in either."""
    bare = ehr_event("d")
    bare["before"] = dict.fromkeys(PATIENT_ROW) | {"patient_id": 1}
    records = [*rows(given_name="Zebedee", notes="[bold]Zebedee"), record(bare, 1)]
    path = kept(tmp_path, records)
    code, out = checked(capsys, "--source", "ehr", "--file", str(path))

    assert ExitCode.PROBLEMS == code
    assert "Zebedee" not in out
    for line in (
        "error: public.patient: 1 of 1 deletes show the key only, not whose record it was; set ALTER TABLE",
        "error: public.patient.notes: neither read nor ignored: every row with it is a dead letter; set `columns` or",
        "30 × unknown_column: table `public.patient`: unknown column `notes`",
    ):
        assert line in " ".join(out.split())
    assert ExitCode.PROBLEMS == run(["-o", "json", "sources", "check", "--source", "ehr", "--file", str(path)])
    data: Any = json.loads(capsys.readouterr().out)
    assert [("error", ""), ("error", "notes")] == [(one["severity"], one["column"]) for one in data["findings"]]
    assert {"mapped", "compared", "requested", "about", "ignored", "unknown"} == {
        column["use"] for column in data["tables"][0]["columns"]
    }


def test_a_sample_without_rows_is_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong, and nothing was seen."""
    path = kept(tmp_path, [record(None)])

    assert ExitCode.INCOMPLETE == checked(capsys, "--source", "ehr", "--file", str(path))[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say which source is meant: `--source` `crm` or `ehr`, or one of their topics as `--topic`"),
        (["--topic", "nowhere"], "say which source is meant"),
        (["--source", "eh"], "is of source `eh`: did you mean `ehr`?"),
        (["--source", "ehr", "--file", "nowhere.jsonl"], "`nowhere.jsonl` cannot be read: no such file or directory"),
    ],
)
def test_what_is_meant_must_be_said(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, with what can be said."""
    assert ExitCode.USAGE == run(["sources", "check", *arguments])
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "sample.jsonl:1: no JSON: write one record in each line"),
        ('{"key":1,"value":2,"headers":7}', "sample.jsonl:1: `headers` must be an object, or a list"),
    ],
)
def test_a_line_that_is_no_record_is_said_by_its_number(
    tmp_path: Path, line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not what it held."""
    path = tmp_path / "sample.jsonl"
    path.write_text(line, encoding="utf-8")

    assert ExitCode.USAGE == run(["sources", "check", "--source", "ehr", "--file", str(path)])
    assert says in capsys.readouterr().err


def test_keys_values_and_headers_are_kept_as_they_stood(tmp_path: Path) -> None:
    """A text is its bytes, an object is written as a connector writes it; so many records and no more."""
    path = tmp_path / "sample.jsonl"
    lines = [
        {"key": "k", "value": {"a": 1}, "headers": {"h": "x", "n": None}, "topic": "t", "timestamp": 7},
        {"value": "text", "headers": [["h", "x"]]},
        {"key": None, "value": None},
        {"schema": {}, "payload": {"op": "u"}},
        {"never": "read"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    assert [
        SampleRecord("t", b"k", b'{"a":1}', (("h", b"x"), ("n", None)), 7),
        SampleRecord("own", None, b"text", (("h", b"x"),), keyed=False),
        SampleRecord("own", None, None),
        SampleRecord("own", None, b'{"schema": {}, "payload": {"op": "u"}}', keyed=False),
    ] == list(from_file(path, 4, "own"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Avro in a file is no lines."""
    path = tmp_path / "sample.jsonl"
    path.write_bytes(b"\x00\x00\x00\x00\x07\xff\xfe")

    with pytest.raises(BadInputError, match="it is no UTF-8"):
        list(from_file(path, 1, "t"))


# ---------------------------------------------------------------------------------------------------- a topic


def test_a_topic_is_read_to_its_newest_records_and_left_as_it_is(
    servers: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest of each partition, or the oldest; in order; by its name the source is known."""
    topic = "sample.public.patient"
    AdminClient({"bootstrap.servers": servers.bootstrap, "log_level": 0}).list_topics(topic, timeout=10)
    producer = Producer({"bootstrap.servers": servers.bootstrap, "log_level": 0})
    for i in range(40):
        one = record(whole("u", i, {"email": f"{i}@x.org"}), i)
        producer.produce(topic, one.value, one.key, 1, headers=[("a", b"b")], timestamp=1_767_261_600_000 + i)
    assert 0 == producer.flush(30)

    def numbers(number: int, *, oldest: bool) -> list[int]:
        with reach(Settings(brokers=servers.bootstrap)) as broker:
            found = list(from_topic(broker, topic, number, oldest=oldest))
        assert {(("a", b"b"),)} == {one.headers for one in found}
        return [one.timestamp - 1_767_261_600_000 for one in found]

    assert [37, 38, 39] == numbers(3 * PARTITIONS, oldest=False)
    assert [0, 1, 2] == numbers(3 * PARTITIONS, oldest=True)
    monkeypatch.setenv("OWNERSHIP_BROKERS", servers.bootstrap)
    monkeypatch.setenv("OWNERSHIP_SOURCE_TOPICS", msgspec.json.encode({"ehr": [topic]}).decode())
    code, out = checked(capsys, "--topic", topic, "--records", str(30 * PARTITIONS))
    assert ExitCode.OK == code, out
    assert "source ehr (debezium postgresql): 30 records" in out


def test_a_topic_in_avro_is_read_through_the_registry(
    servers: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the setting `registry_url`; without one the records are no JSON, and the finding says what to set."""
    topic, shelf = "sample.avro.patient", Shelf()
    ehr = EhrTopic(shelf)
    AdminClient({"bootstrap.servers": servers.bootstrap, "log_level": 0}).list_topics(topic, timeout=10)
    producer = Producer({"bootstrap.servers": servers.bootstrap, "log_level": 0})
    for i in range(30):
        producer.produce(topic, ehr.event(whole("u", i, {})), ehr.key, 1)
    assert 0 == producer.flush(30)
    monkeypatch.setenv("OWNERSHIP_BROKERS", servers.bootstrap)
    code, out = checked(capsys, "--source", "ehr", "--topic", topic)
    assert ExitCode.PROBLEMS == code
    assert "set `registry_url`" in " ".join(out.split())
    with serving(shelf) as url:
        monkeypatch.setenv("OWNERSHIP_REGISTRY_URL", url)
        code, out = checked(capsys, "--source", "ehr", "--topic", topic)
    assert ExitCode.OK == code, out
    assert "30 Debezium envelopes; 30 with a schema" in out


def test_the_page_shows_the_command_and_its_findings() -> None:
    """Every setting that a finding names is in the guide to sources."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")

    assert "ownership-stream sources check" in page
    for setting in ("replace.null.with.default", "unavailable.value.placeholder", "REPLICA IDENTITY FULL",
                    "message.key.columns", "time.precision.mode", "decimal.handling.mode", "add.fields",
                    "delete.tombstone.handling.mode"):  # fmt: skip
        assert setting in page
