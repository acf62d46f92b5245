"""`ownership-stream explain`: what it prints for people and for programs, and how it ends."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from kept_kit import Kept
from matrices import PATIENT
from ownership_stream.cli import run
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.model import Change, Value
from ownership_stream.telemetry import hash_id, hash_key
from step_kit import MINUTE, START, others_of, row

NAME: Value = {"family": "Zebedee", "given": "Ann"}
SECRETS = ("Zebedee", "zebedee", "1980-01-02", "1981-01-02")
RECORD = "0032X00002QU10JQAT"
OTHER = others_of(RECORD, same=True)
EMAIL = "      email:                   email\n"
READ_ONLY = """
  public.contact:
    primary: false
    key: contact_id as integer
    of: patient_id as integer
    record: {column: crm_id as salesforce id, else: "ehr:<key>"}
    columns: {email: email}
    actor: updated_by
"""


def story() -> list[Change]:
    """A lead with a name; an unrightful birthday in the CRM, an automation that clears it in the EHR, a delete."""
    stage = {"care_stage": "new_lead", "legal_name": NAME, "email": "zebedee@x.org"}
    return [
        row(RECORD, 0, "crm", dict(stage), "growth_ops", op="c"),
        row(RECORD, 0, "ehr", {}, op="c", home="ehr:123", hops=2),
        row(RECORD, 1, "ehr", {"date_of_birth": "1980-01-02"}, "nurse"),
        row(RECORD, 2, "crm", {"date_of_birth": "1980-01-02", "email": "zebedee@x.org"}),
        row(RECORD, 3, "crm", {"date_of_birth": "1981-01-02"}, "growth_ops"),
        row(RECORD, 4, "ehr", {"date_of_birth": None}, "integration"),
        row(OTHER, 0, "crm", {"email": "other@x.org"}, "growth_ops", op="c"),
    ]


@pytest.fixture(scope="module")
def kept(servers: Embedded) -> Kept:
    """The story, decided."""
    kept = Kept(servers)
    kept.decided(*story())
    return kept


@pytest.fixture(autouse=True)
def terminal(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns without colours, and the settings of the story in the environment."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    kept.settle(monkeypatch)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command line prints that ends well."""
    assert ExitCode.OK == run(list(arguments))
    out, err = capsys.readouterr()
    assert "" == err
    return out


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The same for programs."""
    return json.loads(printed(capsys, "--output", "json", "explain", *arguments))


def flat(text: str) -> str:
    """A page without its line breaks."""
    return " ".join(text.split())


def test_the_page_says_what_stands_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The record, its fields, what disagrees, what waits for whom, the last decisions."""
    out = printed(capsys, "explain", RECORD)
    assert f"record {RECORD} version 2, care stage new_lead" == flat(out.splitlines()[0])
    for words in (
        "date_of_birth ••• owner EHR, rule owner wins",
        "version 2, 2026-03-02T12:01:00.000Z, nurse (nurse, person), owner: ehr",
        "EHR: a case is open: a person decides it",
        "an automation tried to clear `Date of birth`",
        "(waits for Clinical Ops until 2026-03-02T16:05:00.000Z)",
        "last decisions, oldest first",
        "CRM, growth_ops (growth_ops, person), date_of_birth: rejected: owner_policy:",
        "it may be changed by anyone in the EHR",
        "(stage new_lead, rule owner wins, sent to CRM)",
    ):
        assert flat(words).replace(" ", "") in flat(out).replace(" ", ""), words


def test_the_page_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut off: the words of every cell are there, folded if need be."""
    out = printed(capsys, "explain", RECORD, "--all")
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


def test_values_are_masked_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs; also in decisions, which never hold any."""
    for arguments in (["explain", RECORD, "--all"], ["--output", "json", "explain", RECORD, "--all"]):
        out = printed(capsys, *arguments)
        assert not [word for word in SECRETS if word in out]
        out = printed(capsys, *arguments, "--values")
        assert all(word in out for word in ("Zebedee", "1980-01-02"))


def test_programs_get_the_same_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    """One object: fields with their provenance, decisions with their reasons."""
    page = shown(capsys, RECORD)
    assert {"record", "version", "stage", "cases", "fields", "decisions"} == page.keys()
    assert (RECORD, 2, "new_lead", []) == (page["record"], page["version"], page["stage"], page["cases"])
    fields = {one["field"]: one for one in page["fields"]}
    assert ["legal_name", "date_of_birth", "email", "care_stage"] == list(fields)
    assert ("EHR", "•••", 2, "nurse (nurse, person)") == tuple(
        fields["date_of_birth"][name] for name in ("owner", "value", "version", "writer")
    )
    assert [
        ("crm", "care_stage", "applied", "", []),
        ("crm", "email", "applied", "", []),
        ("crm", "legal_name", "applied", "", []),
        ("ehr", "date_of_birth", "applied", "", ["crm"]),
        ("crm", "date_of_birth", "rejected", "owner_policy", ["crm"]),
        ("ehr", "date_of_birth", "queued", "clear", []),
    ] == [tuple(one[name] for name in ("system", "field", "outcome", "reason", "sent_to")) for one in page["decisions"]]


def test_a_field_narrows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields and decisions."""
    page = shown(capsys, RECORD, "date_of_birth")
    assert {"date_of_birth"} == {one["field"] for one in (*page["fields"], *page["decisions"])}
    assert 3 == len(page["decisions"])


def test_the_last_decisions_are_told_and_on_request_the_quiet_ones_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Echoes, replays, baselines and unchanged values are left out unless asked for."""
    assert ["queued"] == [one["outcome"] for one in shown(capsys, RECORD, "--last", "1")["decisions"]]
    quiet = {one["outcome"] for one in shown(capsys, RECORD)["decisions"]}
    everything = {one["outcome"] for one in shown(capsys, RECORD, "--all")["decisions"]}
    assert {"echo"} == everything - quiet


def test_a_record_is_found_by_the_beginning_of_its_hash(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """As the logs name it, by the key of the settings."""
    begin = hash_id(hash_key(kept.settings.hash_key), RECORD)[:6]
    assert RECORD == shown(capsys, f"#{begin}")["record"]


def test_nothing_decided_is_said(
    servers: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that is there, with no decision that anybody would ask about; its stage is not known."""
    quiet = Kept(servers)
    quiet.decided(row("quiet", 0, "crm", {}, op="c"))
    for name, value in quiet.environment().items():
        monkeypatch.setenv(name, value)
    out = printed(capsys, "explain", "quiet")
    assert "care stage not known" in out
    assert "no decision in the log that changed or refused anything" in out


def test_a_case_of_the_record_itself_stands_at_the_top(
    servers: Embedded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deleted in the EHR, which owned its date of birth."""
    deleted = Kept(servers)
    deleted.decided(*story()[:4], row(RECORD, 9, "ehr", {}, op="d"))
    for name, value in deleted.environment().items():
        monkeypatch.setenv(name, value)
    out = printed(capsys, "explain", RECORD)
    assert re.search("→ EHR: the record was deleted in a system that owns fields of it", flat(out))
    [case] = shown(capsys, RECORD)["cases"]
    assert "waits for Clinical Ops" in case


def test_in_observe_mode_nobody_was_sent_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the page says follows the mode of the worker."""
    monkeypatch.setenv("OWNERSHIP_MODE", "observe")
    page = shown(capsys, RECORD, "--all")
    assert [] == [one for one in page["decisions"] if one["sent_to"]]


def test_decisions_are_told_by_the_mappings_of_the_worker(
    servers: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands in a table that is only read was sent nowhere, which the matrix alone does not say."""
    sent = Kept(servers)
    sent.decided(
        row(RECORD, 0, "crm", {"email": "zebedee@x.org"}, "growth_ops", op="c"),
        row(RECORD, 0, "ehr", {}, op="c", home="ehr:123", hops=2),
        row(RECORD, 1, "crm", {"email": "b@x.org"}, "growth_ops"),
    )
    sent.settle(monkeypatch)
    assert [[], ["ehr"]] == [one["sent_to"] for one in shown(capsys, RECORD, "email")["decisions"]]

    mapping = tmp_path / "ehr.yaml"
    shutil.copy(PATIENT.parent / "sources" / "crm.yaml", tmp_path)
    text = (PATIENT.parent / "sources" / "ehr.yaml").read_text(encoding="utf-8")
    assert EMAIL in text
    mapping.write_text(text.replace(EMAIL, "").replace("\nactors:", READ_ONLY + "\nactors:"), encoding="utf-8")
    monkeypatch.setenv("OWNERSHIP_SOURCES_PATH", str(tmp_path))
    assert [[], []] == [one["sent_to"] for one in shown(capsys, RECORD, "email")["decisions"]]
    assert ExitCode.OK == run(["disagreements"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nobody"], "no record `nobody`: give its record id, or its hash as `#3f2a`"),
        (["__breaker"], "no record `__breaker`: give its record id, or its hash as `#3f2a`"),
        (["#zz"], "no record has a hash that begins with `#zz`: give more of it, or the record id"),
        ([RECORD, "date_of_brith"], "the matrix has no field `date_of_brith`: did you mean `date_of_birth`?"),
    ],
)
def test_what_is_not_there_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest right word; exit code 2."""
    assert ExitCode.USAGE == run(["explain", *arguments])
    assert ("", f"error: {line}\n") == capsys.readouterr()


def test_times_are_the_source_s(capsys: pytest.CaptureFixture[str]) -> None:
    """ISO 8601, UTC."""
    [one] = [one for one in shown(capsys, RECORD)["decisions"] if one["reason"] == "clear"]
    assert START + 4 * MINUTE == 1_772_453_040_000
    assert "2026-03-02T12:04:00.000Z" == one["time"]
