"""The matrix in people's words: the seven rows as operations wrote them, in every format."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from matrices import PATIENT, ROOT, compiled
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument, load_document
from ownership_stream.matrix.show import COLUMNS, as_csv, as_html, as_markdown, duration, page, six_columns

SEVEN = [
    (
        "Patient legal name",
        "CRM before care start, EHR after",
        "Intake Ops",
        "bidirectional by stage",
        "stage owner wins; provider update overrides",
        "Clinical Ops",
    ),
    ("Date of birth", "EHR", "none", "CRM reads from EHR", "EHR value is authoritative", "Clinical Ops"),
    ("Lead source", "CRM", "none", "CRM to EHR, summary only", "CRM value is authoritative", "Growth Ops"),
    (
        "Care stage/status",
        "CRM",
        "Clinical Ops, for specific states",
        "CRM to EHR, summary only",
        "CRM stage map controls pipeline",
        "Growth Ops",
    ),
    (
        "Medication plan",
        "EHR",
        "provider only",
        "EHR to CRM, summary only",
        "provider value is authoritative",
        "Medical Lead",
    ),
    (
        "Follow-up completion",
        "EHR",
        "Care Coordinator",
        "EHR to CRM",
        "most recent validated completion event",
        "Clinical Ops",
    ),
    (
        "Contact preference",
        "CRM",
        "patient portal update",
        "bidirectional with version check",
        "most recent patient-confirmed value",
        "Support Lead",
    ),
]


@pytest.fixture(scope="module")
def patient() -> MatrixDocument:
    """The shipped matrix."""
    return load_document(PATIENT)


@pytest.mark.parametrize("row", SEVEN, ids=lambda row: row[0])
def test_a_row_reads_as_operations_wrote_it(patient: MatrixDocument, row: tuple[str, ...]) -> None:
    """Word for word, though every word is made from what will be done."""
    assert row in six_columns(patient.matrix)


def cells(document: MatrixDocument, label: str, stage: str | None = None) -> tuple[str, ...]:
    """The row of a field."""
    return next(row for row in six_columns(document.matrix, stage) if row[0] == label)


def test_a_row_says_who_else_may_write_and_what() -> None:
    """Several roles, roles for specific values, and roles beside `only`."""
    document = compiled(
        ("only: [provider]\n    secondary: none", "only: [provider, intake_ops]\n    secondary: [rep]"),
        ("secondary: [rep]\n    direction: both", "secondary: {rep: [done], intake_ops: any}\n    direction: both"),
    )

    assert "provider or Intake Ops only; rep" == cells(document, "Plan")[2]
    assert "provider or Intake Ops value is authoritative" == cells(document, "Plan")[4]
    assert "Intake Ops; rep, for specific values" == cells(document, "Follow-up")[2]


@pytest.mark.parametrize(
    ("direction", "said"),
    [
        ("both ways", "bidirectional"),
        ("both ways with version check", "bidirectional with version check"),
        ("none", "none"),
        ("ehr to crm", "EHR to CRM"),
    ],
)
def test_a_direction_says_where_the_value_flows(direction: str, said: str) -> None:
    """A system where somebody may write is sent the value; one where nobody may only reads it."""
    document = compiled(
        ("secondary: [rep]", "secondary: [intake_ops]"),
        ("direction: both ways\n", f"direction: {direction}\n"),
        ("overrides: [provider]", "overrides: [rep]"),
    )

    assert said == cells(document, "Follow-up")[3]


@pytest.mark.parametrize(("stage", "owner"), [("lead", "CRM"), ("in_care", "EHR"), ("closed", "EHR")])
def test_at_a_stage_each_row_names_the_owner_then(stage: str, owner: str) -> None:
    """Care start is a latch: what lies behind it is after."""
    assert owner == cells(compiled(), "Legal name", stage)[1]
    assert f"At stage {stage}." in page(compiled(), stage).lines


def test_an_unknown_stage_is_said_with_the_nearest() -> None:
    """A wrong word is an error with the right one."""
    with pytest.raises(BadInputError, match=r"unknown stage `in_car`: did you mean `in_care`\?"):
        page(compiled(), "in_car")


def test_csv_is_read_back_as_it_was(patient: MatrixDocument) -> None:
    """RFC 4180: CRLF, a header, commas and quotes within quotes."""
    text = as_csv(page(patient))
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))

    assert [list(COLUMNS), *map(list, six_columns(patient.matrix))] == rows
    assert 31 == text.count("\r\n") == text.count("\n")
    assert '"CRM before care start, EHR after"' in text


class Reader(HTMLParser):
    """Tables of a page as lists of rows, and whether every tag is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.addresses: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a row or a cell."""
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Text of a cell."""
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def test_html_is_whole_by_itself_and_says_the_same(patient: MatrixDocument) -> None:
    """No address in it, no script, every tag closed, every cell there."""
    text = as_html(page(patient))
    reader = Reader()
    reader.feed(text)

    assert [] == reader.open
    assert [] == reader.addresses
    assert "<script" not in text
    assert [list(row) for section in page(patient).sections for row in (section.columns, *section.rows)] == reader.rows


def test_the_users_words_are_never_markup() -> None:
    """A label may hold what means something to HTML or to Markdown."""
    document = compiled(("label: Plan", 'label: "<b>Plan</b> | *x*"'))

    assert "&lt;b&gt;Plan&lt;/b&gt; | *x*" in as_html(page(document))
    assert r"| \<b\>Plan\</b\> \| \*x\* |" in as_markdown(page(document))


def test_the_page_says_who_may_write_and_under_what_conditions(patient: MatrixDocument) -> None:
    """What six columns cannot hold."""
    writers = {row[0]: row[1:] for row in page(patient).sections[1].rows}

    assert [
        "anyone in the CRM before care start",
        "anyone in the EHR after care start",
        "Intake Ops in the EHR or CRM, persons only, with a reason",
        "provider in the EHR, overriding, persons only, with a reason",
    ] == writers["Patient legal name"][0].split("; ")
    assert "critical" == writers["Patient legal name"][1]
    assert (
        "anyone in the CRM; Clinical Ops in the EHR or CRM, into in_care, paused or discharged",
        "",
    ) == writers["Care stage/status"]
    assert "critical; a reason for every manual edit" == writers["Risk flag"][1]
    assert "others are accepted and reported" == writers["Assigned coach"][1]
    assert "a rejected value is left where it is" == writers["Billing status"][1]
    assert "one with its group, address" == writers["Address"][1]
    assert "evidence: validated_by, completed_at" == writers["Follow-up completion"][1]


def test_the_page_says_how_stages_follow_and_who_escalates(patient: MatrixDocument) -> None:
    """The other tables of the document."""
    systems, stages, escalation = page(patient).sections[2:]

    assert ("in_care", "paused, discharged", "care start") in stages.rows
    assert ("disqualified", "new_lead", "before") in stages.rows
    assert ("closed", "nothing: an end", "after") in page(compiled()).sections[3].rows
    assert (("Clinical Ops", "4h", "Medical Lead"), ("Medical Lead", "1h", "nobody")) == escalation.rows[:2]
    assert (("EHR", "by its own people, never by us"), ("CRM", "by its own people, never by us")) == systems.rows


@pytest.mark.parametrize(
    ("milliseconds", "said"), [(86_400_000, "1d"), (5_400_000, "90min"), (5_000, "5s"), (1, "1ms"), (14_400_000, "4h")]
)
def test_a_duration_is_said_in_its_largest_whole_unit(milliseconds: int, said: str) -> None:
    """No fraction, nothing lost."""
    assert said == duration(milliseconds)


def test_a_review_of_several_months_is_said_so() -> None:
    """Grammar counts."""
    assert "Reviewed every 3 months, last on 2026-11-23." in page(compiled(("1 month", "3 months"))).lines
    assert "Reviewed every month, last on 2026-11-23." in page(compiled()).lines


def test_the_documentations_page_is_the_matrix_of_today(patient: MatrixDocument) -> None:
    """`ownership-stream matrix show --format markdown` wrote it after the last change of the matrix."""
    written = (ROOT / "docs" / "matrix.md").read_text(encoding="utf-8")

    assert as_markdown(page(patient)) == written, (
        "run `ownership-stream matrix show --format markdown > docs/matrix.md`"
    )
    assert re.search(r"^# The ownership matrix: patient$", written, re.MULTILINE)
