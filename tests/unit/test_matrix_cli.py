"""`ownership-stream matrix`: what it prints, and how it ends."""

import json
import re
import shutil
from pathlib import Path

import pytest

from matrices import PATIENT, VALID, compiled, edited
from ownership_stream.cli import matrix_file as command
from ownership_stream.cli import run
from ownership_stream.matrix.show import as_csv, as_html, as_markdown, page

CASES = Path(__file__).parent / "invalid_matrices"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    return tmp_path


def test_a_clean_check_says_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 0."""
    assert run(["matrix", "check", str(PATIENT), "--today", "2026-11-24"]) == 0

    out, err = capsys.readouterr()
    assert re.fullmatch(
        r"30 fields, 8 stages, 86 grants, 9 roles, 4 escalation owners, 2 sources, \d+ mapped columns, "
        r"revision 2026-11-23\+[0-9a-f]{8}: clean\n",
        out.removeprefix(f"{PATIENT}: "),
    )
    assert "" == err


def test_a_warning_is_said_and_leaves_the_exit_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The review is overdue on the day that is given."""
    (here / "m.yaml").write_text(VALID, encoding="utf-8")

    assert run(["matrix", "check", "m.yaml", "--today", "2027-01-01"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(": no mistakes, 1 warning\n")
    assert "m.yaml:4:26: warning: the review is overdue since 2026-12-23: ask Operations, ops@example.org\n" == err


def test_without_a_day_the_review_is_judged_today(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document last reviewed a century ago is overdue on any day that this runs."""
    (here / "m.yaml").write_text(edited(("last: 2026-11-23", "last: 1926-11-23")), encoding="utf-8")

    assert run(["matrix", "check", "m.yaml"]) == 0
    assert "overdue since 1926-12-23" in capsys.readouterr().err


def test_all_mistakes_are_said_each_on_a_line_that_begins_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """As editors and CI read them; exit code 2."""
    file = CASES / "ten_mistakes.yaml"
    expected = (CASES / "ten_mistakes.expected").read_text(encoding="utf-8").splitlines()

    assert run(["matrix", "check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert "" == out
    assert [*(f"{file}:{line}" for line in expected), f"error: `{file}` cannot be used: 10 problems as above"] == (
        err.splitlines()
    )


def test_what_lint_refuses_ends_like_a_mistake(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the warnings beside it."""
    text = edited(("    closed: end\n", "    closed: end\n    waiting: [in_care]\n"))
    (here / "m.yaml").write_text(text, encoding="utf-8")

    assert run(["matrix", "check", "m.yaml", "--today", "2026-11-24"]) == 2
    assert [
        "m.yaml:13:5: stage `waiting` is never reached: no step leads to it from `lead`",
        "error: `m.yaml` cannot be used: 1 problem as above",
    ] == capsys.readouterr().err.splitlines()


def test_source_mappings_beside_the_document_are_checked_with_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that no column feeds, and a mapping that is wrong itself, are mistakes of the whole."""
    shutil.copytree(PATIENT.parent, here / "matrix")
    text = PATIENT.read_text(encoding="utf-8").replace("  weight:\n", "  mass:\n")
    (here / "matrix" / "patient.yaml").write_text(text, encoding="utf-8")

    assert run(["matrix", "check", "--today", "2026-11-24"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [] == [line for line in lines[:-1] if not re.match(r"matrix/sources/\w+\.yaml:\d+:\d+: .*`weight", line)]
    assert len(lines) == 3

    (here / "matrix" / "sources" / "crm.yaml").unlink()
    shutil.copy(PATIENT, here / "matrix" / "patient.yaml")
    assert run(["matrix", "check", "--today", "2026-11-24"]) == 2
    assert "no source maps a column of system `crm`\n" in capsys.readouterr().err


def test_a_source_ordered_by_time_is_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its place and the setting of the connector that would give a position."""
    shutil.copytree(PATIENT.parent, here / "matrix")
    ehr = here / "matrix" / "sources" / "ehr.yaml"
    text = ehr.read_text(encoding="utf-8")
    ehr.write_text(text.replace("\ntables:", "form: flattened\nwithout position: record timestamp\ntables:", 1))

    assert run(["matrix", "check", "--today", "2026-11-24"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(": no mistakes, 1 warning\n")
    assert re.match(
        r"matrix/sources/ehr\.yaml:\d+:\d+: warning: source `ehr`: rows are ordered by .*`add\.fields`", err
    )


def test_a_folder_of_sources_that_is_named_must_hold_some(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--sources` a matrix may be checked alone."""
    (here / "m.yaml").write_text(VALID, encoding="utf-8")

    assert run(["matrix", "check", "m.yaml", "--sources", "empty"]) == 2
    assert "empty: no source mapping (`*.yaml`) is there\n" in capsys.readouterr().err


def test_a_check_speaks_json_to_programs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts as numbers, warnings as a list."""
    (here / "m.yaml").write_text(VALID, encoding="utf-8")

    assert run(["--output", "json", "matrix", "check", "m.yaml", "--today", "2026-11-24"]) == 0
    assert {
        "file": "m.yaml",
        "revision": compiled().matrix.revision,
        "fields": 4,
        "stages": 3,
        "grants": 11,
        "roles": 3,
        "escalation owners": 2,
        "sources": 0,
        "mapped columns": 0,
        "warnings": [],
    } == json.loads(capsys.readouterr().out)


def test_the_matrix_of_the_working_directory_is_the_default(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`matrix/patient.yaml`, as in the project's own tree."""
    (here / "matrix").mkdir()
    (here / "matrix" / "patient.yaml").write_text(VALID, encoding="utf-8")

    assert run(["matrix", "check", "--today", "2026-11-24"]) == 0
    assert capsys.readouterr().out.startswith("matrix/patient.yaml: 4 fields, 3 stages")


def test_elsewhere_the_packages_own_copy_is_used(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed program carries the default document."""
    (here / "installed").mkdir()
    (here / "installed" / "patient.yaml").write_text(VALID, encoding="utf-8")
    monkeypatch.setattr(command, "PACKAGED", here / "installed" / "patient.yaml")

    assert run(["matrix", "check", "--today", "2026-11-24"]) == 0
    assert "installed/patient.yaml: 4 fields" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["check", "show"])
def test_without_any_document_the_command_says_what_to_do(
    verb: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a document that is named but not there is named."""
    monkeypatch.setattr(command, "PACKAGED", here / "nowhere.yaml")

    assert run(["matrix", verb]) == 2
    assert "error: no `matrix/patient.yaml` here: name the matrix document\n" == capsys.readouterr().err
    assert run(["matrix", verb, "other.yaml"]) == 2
    assert "error: other.yaml: cannot be read: no such file or directory\n" == capsys.readouterr().err


def test_the_text_formats_are_printed_byte_for_byte(here: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """No line end is changed on the way."""
    (here / "m.yaml").write_text(VALID, encoding="utf-8")
    content = page(compiled())

    for format_, text in (("markdown", as_markdown(content)), ("html", as_html(content)), ("csv", as_csv(content))):
        assert run(["matrix", "show", "m.yaml", "--format", format_]) == 0
        assert text.encode() == capsysbinary.readouterr().out


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminals_table_breaks_no_word(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From eighty columns on every word of every cell stands whole, and no line is longer than the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))

    assert run(["matrix", "show", str(PATIENT)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert {"bidirectional", "patient-confirmed", "Coordinator", "authoritative", "Escalation"} <= set(out.split())


def test_a_narrow_terminal_still_gets_every_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words are folded there, and nothing is cut off."""
    monkeypatch.setenv("COLUMNS", "40")

    assert run(["matrix", "show", str(PATIENT)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 40


def test_brackets_in_a_label_are_no_colours(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The user's words reach the terminal as they are."""
    (here / "m.yaml").write_text(edited(("label: Plan", 'label: "[red]Plan[/red]"')), encoding="utf-8")

    assert run(["matrix", "show", "m.yaml"]) == 0
    assert "[red]Plan[/red]" in capsys.readouterr().out


def test_show_names_the_owner_at_a_stage(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And refuses a stage that is none."""
    (here / "m.yaml").write_text(VALID, encoding="utf-8")

    assert run(["--output", "json", "matrix", "show", "m.yaml", "--stage", "closed"]) == 0
    rows = {row["Field"]: row["Owner system"] for row in json.loads(capsys.readouterr().out)}
    assert {"Care stage": "CRM", "Legal name": "EHR", "Plan": "EHR", "Follow-up": "EHR"} == rows
    assert run(["matrix", "show", "m.yaml", "--stage", "close"]) == 2
    assert "error: unknown stage `close`: did you mean `closed`?\n" == capsys.readouterr().err


def test_the_schema_is_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    """For a matrix document that is kept elsewhere."""
    assert run(["matrix", "schema"]) == 0
    assert "Ownership matrix" == json.loads(capsys.readouterr().out)["title"]
