"""The review of the matrix: its sheet, its signatures, and the lists of launches."""

import json
import re
from datetime import date
from pathlib import Path

import msgspec
import pytest

from matrices import PATIENT, VALID, compiled, edited
from ownership_stream.cli import run
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import load_document
from ownership_stream.matrix.document import MatrixError
from ownership_stream.matrix.launches import checklist, launch_findings
from ownership_stream.matrix.lint import due, end_of, lint
from ownership_stream.matrix.reviews import Signature, read_reviews, reviews_file, sign
from ownership_stream.matrix.sheet import differences, sheet
from ownership_stream.matrix.show import page
from ownership_stream.review import Ledger, Week, report

DAY = date(2026, 12, 1)
SIGNED = Signature(DAY, "Dana Reyes", "2026-11-23+abcdef01", "phone goes to the EHR")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the valid matrix as `m.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    (tmp_path / "m.yaml").write_text(VALID, encoding="utf-8")
    return tmp_path / "m.yaml"


# ------------------------------------------------------------------------------------------------ signatures


def test_a_signature_stands_beside_the_document_and_puts_the_next_review_off(here: Path) -> None:
    """The document and its revision stay as they are; the interval counts from the later day."""
    before = load_document(here)
    assert date(2026, 12, 23) == due(before.review)

    assert here.with_name("m.reviews.yaml") == sign(here, SIGNED)
    after = load_document(here)
    assert ((SIGNED,), date(2027, 1, 1)) == (after.signatures, due(after.review))
    assert before.matrix.revision == after.matrix.revision
    assert [] == [one for one in lint(after, date(2027, 1, 1)) if "overdue" in one.message]
    assert [True] == ["overdue since 2027-01-01" in one.message for one in lint(after, date(2027, 1, 2))]


def test_signatures_are_kept_in_their_order_and_any_text_is_one(here: Path) -> None:
    """Quotes, colons and line breaks in a name or a note break nothing."""
    later = Signature(date(2027, 1, 4), 'Ann "A" O\'Neil: ops', "r", "one\ntwo # three")
    sign(here, SIGNED)
    reviews_file(here).write_text(reviews_file(here).read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    sign(here, later)

    assert (SIGNED, msgspec.structs.replace(later, note="one two # three")) == read_reviews(here)


def test_a_review_before_the_last_one_and_one_by_nobody_are_refused(here: Path) -> None:
    """Nothing is written then."""
    sign(here, SIGNED)
    text = reviews_file(here).read_text(encoding="utf-8")
    with pytest.raises(BadInputError, match="reviewed on 2026-12-01 already, after 2026-11-30"):
        sign(here, msgspec.structs.replace(SIGNED, on=date(2026, 11, 30)))
    with pytest.raises(BadInputError, match="a review is signed by a person: give `--by` a name"):
        sign(here, msgspec.structs.replace(SIGNED, by=" "))
    assert text == reviews_file(here).read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_said(here: Path) -> None:
    """In one line."""
    with pytest.raises(BadInputError, match=r"no\.reviews\.yaml: cannot be written: no such file or directory"):
        sign(here.parent / "nowhere" / "no.yaml", SIGNED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reviews: []\n", "1:10: `reviews` must be a list of reviews, as `matrix review sign` writes it"),
        ("reviews: none\n", "1:10: `reviews` must be a list of reviews, as `matrix review sign` writes it"),
        ("review: []\n", "1:1: unknown key `review` in the file of reviews: did you mean `reviews`?"),
        (
            "reviews:\n  - {on: 2026-13-01, by: Dana, revision: r}\n",
            "2:10: `on` `2026-13-01` is no date: write it as in `2026-11-23`",
        ),
        (
            "reviews:\n  - {on: 2026-12-02, by: Dana, revision: r}\n  - {on: 2026-12-01, by: Dana, revision: r}\n",
            "3:5: this review, of 2026-12-01, stands after one of 2026-12-02: the newest is last",
        ),
        ("reviews:\n  - {on: 2026-12-02, revision: r}\n", "2:5: a review lacks `by`: the person who signed it"),
    ],
)
def test_every_mistake_in_the_file_of_reviews_is_said_at_its_place(here: Path, text: str, said: str) -> None:
    """And a document beside a broken one is not used."""
    reviews_file(here).write_text(text, encoding="utf-8")
    with pytest.raises(MatrixError) as caught:
        load_document(here)
    assert f"{reviews_file(here)}:{said}" in caught.value.problems


def test_the_day_by_which_a_review_is_due_is_over_at_its_end() -> None:
    """In UTC, as the metric has it."""
    assert 86_400.0 == end_of(date(1970, 1, 1))


# ------------------------------------------------------------------------------------------------ the sheet


def test_the_sheet_says_what_changed_cell_by_cell() -> None:
    """A row's meaning, a stage, a row that is new or gone; comments and order of words are no change."""
    before, after = compiled(), compiled(("label: Care stage", "label: Origin"), ("sla: 4h", "sla: 2h"))
    found = list(differences(page(before), page(after)))

    assert any(one[:2] == ("Fields: Origin", "new") for one in found)
    assert any(one[:2] == ("Fields: Care stage", "removed") for one in found)
    assert [("Has", "4h", "2h")] == [one[1:] for one in found if one[0].startswith("Escalation")]
    assert [] == list(differences(page(before), page(before)))


def test_the_sheet_without_the_document_of_then_says_what_it_can(here: Path) -> None:
    """Nobody signed yet; this revision was signed; another one was."""

    def said() -> tuple[str, ...]:
        return sheet(load_document(here), DAY).sections[0].rows[0]

    assert "nobody has signed yet: give the document of then with --since" == said()[1]
    sign(here, SIGNED)
    assert (SIGNED.revision, load_document(here).matrix.revision) == said()[2:]
    sign(here, msgspec.structs.replace(SIGNED, revision=load_document(here).matrix.revision))
    assert "nothing: this revision is the one that was signed" == said()[1]
    same = sheet(load_document(here), DAY, load_document(here)).sections[0].rows
    assert [f"nothing since revision {load_document(here).matrix.revision}"] == [row[1] for row in same]


def test_the_command_prints_the_sheet_with_the_week(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who, when, what changed, the figures, the questions, a place to sign."""
    former = here.with_name("former.yaml")
    former.write_text(edited(("sla: 4h", "sla: 2h")), encoding="utf-8")
    week = Week(2026, 47)
    ledger = Ledger([week.before(), week], now=week.ends)
    made = report(load_document(here).matrix, ledger, week.ends, named=str)
    here.with_name("week.json").write_bytes(msgspec.json.encode(made))
    sign(here, SIGNED)

    options = ["--matrix", "m.yaml", "--today", "2027-02-01", "--since", "former.yaml", "--report", "week.json"]
    assert 0 == run(["matrix", "review", *options])
    out = capsys.readouterr().out
    assert "Last reviewed on 2026-12-01 by Dana Reyes. Overdue since 2027-01-01." in out
    assert "Noted then: phone goes to the EHR" in out
    headings = re.findall(r"^## (.*)$", out, re.MULTILINE)
    assert ["What changed since", "Week 2026-W47"] == headings[:2]
    assert ["Questions", "Signed"] == headings[-2:]
    assert "Week 2026-W47: The six figures" in headings
    assert "| 2h | 4h |" in out
    assert 0 == run(["--output", "json", "matrix", "review", "--matrix", "m.yaml"])
    assert "Review of the ownership matrix: patient" == json.loads(capsys.readouterr().out)["title"]
    assert 0 == run(["matrix", "review", "--matrix", "m.yaml", "--format", "html"])
    assert capsys.readouterr().out.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.json", "nowhere.json: cannot be read: no such file or directory"),
        ("m.yaml", "m.yaml: is no report: write it with `ownership-stream report`, --output json"),
    ],
)
def test_what_is_no_report_is_said(here: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert 2 == run(["matrix", "review", "--matrix", str(here.name), "--report", name])
    assert f"error: {said}\n" == capsys.readouterr().err


def test_the_command_signs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a day, or of today; for programs too."""
    arguments = ["matrix", "review", "sign", "--matrix", "m.yaml", "--by", "Dana Reyes"]
    assert 0 == run([*arguments, "--on", "2020-01-02", "--note", "seen"])
    revision = load_document(here).matrix.revision
    assert f"m.reviews.yaml: reviewed on 2020-01-02 by Dana Reyes, revision {revision}\n" == capsys.readouterr().out
    assert 0 == run(["--output", "json", *arguments])
    said = json.loads(capsys.readouterr().out)
    assert ("Dana Reyes", revision) == (said["by"], said["revision"])
    assert 2 == len(read_reviews(here))


# ------------------------------------------------------------------------------------------------ launches


def test_a_launch_is_open_until_every_point_is_ticked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list is printed, added to a file, ticked; the check fails at the place of each open point."""
    arguments = ["matrix", "checklist", "new intake form", "--field", "legal_name", "--matrix", str(PATIENT)]
    assert 0 == run([*arguments, "--today", "2026-12-01"])
    launches = here.with_name("launches.md")
    text = "# Launches\n\n" + capsys.readouterr().out
    launches.write_text(text, encoding="utf-8")
    points = text.count("- [ ] ")
    assert 8 == points
    assert "`legal_name` (Patient legal name): anyone in the CRM before care start" in text
    assert "Who decides what stays open knows that it comes: Clinical Ops." in text

    check = ["matrix", "check", str(PATIENT), "--today", "2026-11-24", "--launches", "launches.md"]
    assert 2 == run(check)
    err = capsys.readouterr().err.splitlines()
    assert points + 1 == len(err)
    assert err[0].startswith("launches.md:7:4: launch `new intake form` is open: Every field that it writes")
    assert err[0].endswith("…")
    launches.write_text(text.replace("- [ ] ", "- [x] "), encoding="utf-8")
    assert 0 == run(check)
    launches.write_text(text.replace("- [ ] ", "- [x] ", points - 1), encoding="utf-8")
    assert 2 == run(check)
    assert "Director of Clinical Operations agrees: name and day." in capsys.readouterr().err


def test_a_launch_names_only_fields_that_there_are(here: Path) -> None:
    """When the list is made, and when it is checked."""
    document = load_document(PATIENT)
    with pytest.raises(BadInputError, match=r"no row of the matrix is named `legal_nam`: did you mean `legal_name`\?"):
        checklist(document, "form", ["legal_nam"], DAY)
    with pytest.raises(BadInputError, match="a launch has a name, as in"):
        checklist(document, "  ", [], DAY)
    text = checklist(document, "form", [], DAY)
    assert "none named yet" in text
    path = here.with_name("launches.md")
    path.write_text("## Launch: form\n\nFields: `phone`, `fax`.\n\n- [x] all\n", encoding="utf-8")
    [found] = launch_findings(document.matrix, path)
    assert f"{path}:3:19: launch `form`: no row of the matrix is named `fax`" in str(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## Launch: a\n\n## Launch: b\n- [X] x\n", ["1:1: launch `a` has no points"]),
        ("## Launch: a\n", ["1:1: launch `a` has no points"]),
        ("## Notes\n- [ ] buy milk\n", []),
        ("## Launch: a\n* [ ] one\n## Notes\n- [ ] buy milk\n", ["2:4: launch `a` is open: one"]),
        ("", []),
    ],
)
def test_what_counts_as_a_point_of_a_launch(here: Path, text: str, said: list[str]) -> None:
    """A heading alone settles nothing; boxes under other headings are nobody's launch."""
    path = here.with_name("l.md")
    path.write_text(text, encoding="utf-8")
    found = [str(one).removeprefix(f"{path}:") for one in launch_findings(load_document(PATIENT).matrix, path)]
    assert said == [one[: len(want)] for one, want in zip(found, said, strict=True)]


def test_a_file_of_launches_that_cannot_be_read_is_said(here: Path) -> None:
    """Missing, or not UTF-8."""
    matrix = load_document(PATIENT).matrix
    with pytest.raises(BadInputError, match=r"none\.md: cannot be read: no such file or directory"):
        launch_findings(matrix, here.with_name("none.md"))
    here.with_name("bad.md").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match=r"bad\.md: is not UTF-8: save the file as UTF-8"):
        launch_findings(matrix, here.with_name("bad.md"))
