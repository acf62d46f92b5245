"""Lint: what only shows in the whole document, and beside the source mappings."""

from datetime import date

import msgspec
import pytest

from matrices import PATIENT, compiled
from ownership_stream.matrix.compile import MatrixDocument, Review, load_document
from ownership_stream.matrix.compiled import Escalation, Grant, Matrix
from ownership_stream.matrix.document import Place
from ownership_stream.matrix.lint import Column, How, due, lint

TODAY = date(2026, 11, 30)


def said(document: MatrixDocument, *columns: Column) -> list[str]:
    """What lint says of a document, and of the columns beside it if there are any."""
    return [str(finding) for finding in lint(document, TODAY, {"test": columns} if columns else None)]


def with_matrix(**changes: object) -> MatrixDocument:
    """The valid document with parts of its compiled matrix replaced: states that the loader would not let through."""
    document = compiled()
    return msgspec.structs.replace(document, matrix=msgspec.structs.replace(document.matrix, **changes))


def with_row(name: str, **changes: object) -> MatrixDocument:
    """The valid document with parts of one compiled row replaced."""
    fields = compiled().matrix.fields
    return with_matrix(fields={**fields, name: msgspec.structs.replace(fields[name], **changes)})


def column(system: str, field: str, how: How = "input", line: int = 1) -> Column:
    """A mapped column."""
    return Column(system, field, how, f"{system}.yaml", Place(line, 5))


def mapped(matrix: Matrix) -> list[Column]:
    """A column in each system for each row that the system shows."""
    shown = ((system, row) for row in matrix.fields.values() for system in row.views if row.views[system] != "none")
    return [column(system, row.name) for system, row in shown]


def test_the_shipped_matrix_and_the_tests_own_are_clean() -> None:
    """Not a warning on the day after its review."""
    assert [] == said(load_document(PATIENT))
    assert [] == said(compiled())


def test_a_stage_at_which_nobody_may_write_has_no_effective_owner() -> None:
    """`only` names a provider, who counts in the EHR alone: before care start the owner is the CRM."""
    document = compiled(("    overrides: [provider]\n", "    only: [provider]\n"))

    assert [
        "m.yaml:33:5: at stage `lead` `legal_name` has no effective owner: nobody whom `only` names may write in `crm`"
    ] == said(document)


def test_two_owners_at_one_stage_are_an_error() -> None:
    """No document compiles to that; a matrix made otherwise is caught."""
    plan = compiled().matrix.fields["plan"]
    both = (*plan.grants, Grant("owner: crm", "owner", "crm"))

    assert [
        "m.yaml:43:5: at stage `lead` `plan` has more than one owner: `crm` and `ehr`",
        "m.yaml:43:5: at stage `in_care` and `closed` `plan` has more than one owner: `crm` and `ehr`",
    ] == sorted(said(with_row("plan", grants=both)), reverse=True)


def test_one_side_of_care_start_may_hold_no_stage() -> None:
    """Where a record begins in care, no owner before it is asked for."""
    document = compiled(("    lead: [in_care]\n", ""), ("    overrides: [provider]\n", "    only: [provider]\n"))

    assert [] == [line for line in said(document) if "effective owner" in line]


def test_a_stage_that_no_step_leads_to_is_an_error() -> None:
    """Nobody would ever be in it."""
    document = compiled(("    closed: end\n", "    closed: end\n    waiting: [in_care]\n"))

    assert ["m.yaml:13:5: stage `waiting` is never reached: no step leads to it from `lead`"] == said(document)


def test_stages_that_lead_neither_to_care_nor_to_an_end_are_a_warning() -> None:
    """A circle that nobody leaves is seldom meant; care itself may go on for ever."""
    circle = compiled(("lead: [in_care]", "lead: [in_care, lost]\n    lost: [gone]\n    gone: [lost]"))
    care = compiled(("closed: end", "closed: [in_care]"))

    assert [
        f"m.yaml:{line}:5: warning: from stage `{stage}` neither care start, `in_care`, nor an end can be reached"
        for line, stage in ((11, "lost"), (12, "gone"))
    ] == said(circle)
    assert [] == said(care)


def test_a_role_that_no_row_names_is_a_warning() -> None:
    """Every word has an effect."""
    document = compiled(("  rep: {", "  nurse: {name: nurse, in: [ehr]}\n  rep: {"))

    assert ["m.yaml:16:3: warning: role `nurse` has no effect: no row names it"] == said(document)


def test_an_escalation_that_never_ends_is_an_error() -> None:
    """Each owner of the circle is told the way; one that only leads into it is not."""
    document = compiled(
        ("sla: 1h}", "sla: 1h, then: chief}\n  chief: {name: Chief, sla: 1d, then: medical_lead}"),
    )

    assert [
        "m.yaml:19:47: the escalation never ends: `medical_lead` → `chief` → `medical_lead`",
        "m.yaml:20:33: the escalation never ends: `chief` → `medical_lead` → `chief`",
    ] == said(document)


def test_an_escalation_owner_whom_nothing_leads_to_is_a_warning() -> None:
    """Every word has an effect."""
    document = compiled(("defaults:", "  chief: {name: Chief, sla: 1d}\ndefaults:"))

    assert ["m.yaml:20:3: warning: escalation owner `chief` has no effect: no row and no chain leads to it"] == said(
        document
    )


@pytest.mark.parametrize("owners", [{}, {"medical_lead": Escalation("medical_lead", "Medical Lead", 0)}])
def test_a_row_without_an_escalation_owner_with_an_sla_is_an_error(owners: dict[str, Escalation]) -> None:
    """No document compiles to that; a matrix made otherwise is caught."""
    clinical_ops = Escalation("clinical_ops", "Clinical Ops", 1)

    assert ["m.yaml:49:5: `plan` has no escalation owner with an SLA"] == said(
        with_matrix(escalations={"clinical_ops": clinical_ops, **owners})
    )


def test_a_group_of_one_is_an_error() -> None:
    """Alone, nothing wins or loses together."""
    document = compiled(("    critical: true\n", "    critical: true\n    group: identity\n"))

    assert ["m.yaml:39:5: group `identity` has one field: a group needs at least two"] == said(document)


def test_fields_of_a_group_have_one_owner_and_one_direction() -> None:
    """What is decided together is owned together."""
    document = compiled(
        ("    critical: true\n", "    critical: true\n    group: identity\n"),
        ("    only: [provider]\n", "    only: [provider]\n    group: identity\n"),
    )

    assert [
        "m.yaml:44:5: `plan` and `legal_name` are one group, `identity`, with different `owner`",
        "m.yaml:48:5: `plan` and `legal_name` are one group, `identity`, with different `direction`",
    ] == said(document)


@pytest.mark.parametrize(
    ("today", "warning"),
    [
        (date(2026, 12, 23), []),
        (
            date(2026, 12, 24),
            ["m.yaml:4:26: warning: the review is overdue since 2026-12-23: ask Operations, ops@example.org"],
        ),
        (date(2026, 11, 22), ["m.yaml:4:26: warning: the last review, 2026-11-23, lies in the future"]),
    ],
)
def test_an_overdue_review_is_a_warning(today: date, warning: list[str]) -> None:
    """On the day it is due it is not overdue yet."""
    assert warning == [str(finding) for finding in lint(compiled(), today)]


@pytest.mark.parametrize(
    ("count", "unit", "last", "expected"),
    [
        (10, "day", date(2026, 1, 25), date(2026, 2, 4)),
        (2, "week", date(2026, 12, 25), date(2027, 1, 8)),
        (1, "month", date(2027, 1, 31), date(2027, 2, 28)),
        (1, "month", date(2026, 12, 31), date(2027, 1, 31)),
        (11, "month", date(2026, 1, 15), date(2026, 12, 15)),
        (1, "year", date(2024, 2, 29), date(2025, 2, 28)),
    ],
)
def test_a_month_ends_where_the_calendars_does(count: int, unit: str, last: date, expected: date) -> None:
    """A review on the 31st is due on the last day of a shorter month."""
    assert expected == due(Review(count, unit, last))


# ------------------------------------------------------------------------------------------------ the sources


def test_a_mapping_of_every_row_in_every_system_that_shows_it_is_clean() -> None:
    """The summary of the plan is read in the CRM, where nobody may write it."""
    document = compiled()

    assert [] == said(document, *mapped(document.matrix))


def test_a_mapped_column_without_a_row_is_an_error_at_the_columns_place() -> None:
    """With the nearest row's name."""
    document = compiled()

    assert ["crm.yaml:7:5: no row of the matrix is named `legal_nam`: did you mean `legal_name`?"] == said(
        document, *mapped(document.matrix), column("crm", "legal_nam", line=7)
    )


def test_a_row_without_a_column_is_an_error_at_the_rows_place() -> None:
    """The stream could neither read it nor send it."""
    document = compiled()
    columns = [c for c in mapped(document.matrix) if (c.system, c.field) != ("crm", "plan")]

    assert ["m.yaml:40:3: no column of `crm` is mapped to `plan`: it can be neither read nor sent there"] == said(
        document, *columns
    )


def test_a_system_without_any_column_is_named_once() -> None:
    """And not once for each of its rows."""
    document = compiled()
    columns = [c for c in mapped(document.matrix) if c.system == "ehr"]

    assert ["m.yaml:5:21: no source maps a column of system `crm`"] == said(document, *columns)


def test_a_column_where_nothing_is_shown_is_an_error() -> None:
    """Direction `none` means that no column there carries the value."""
    document = compiled(
        ("secondary: [rep]", "secondary: [intake_ops]"),
        ("direction: both ways\n", "direction: none\n"),
        ("overrides: [provider]", "overrides: [rep]"),
    )
    columns = [*mapped(document.matrix), column("crm", "follow_up", line=9)]

    assert ["crm.yaml:9:5: direction `none` keeps `follow_up` from `crm`: no column there may carry it"] == said(
        document, *columns
    )


def summarised() -> MatrixDocument:
    """A stage whose summary the EHR shows, and which Intake Ops may set from there."""
    return compiled(
        ("    direction: crm to ehr\n", '    direction: crm to ehr, summary\n    summary: {map: {"*": known}}\n'),
    )


def test_who_may_write_where_only_a_summary_shows_asks_through_a_request_column() -> None:
    """A summary column is compared and never an input; without a request column the grant could not be used."""
    document = summarised()
    others = [c for c in mapped(document.matrix) if (c.system, c.field) != ("ehr", "care_stage")]

    shows = "`care_stage` shows its summary in `ehr`"

    assert [
        f"ehr.yaml:1:5: {shows}, so this column is only compared: who may write there asks through a request column",
        f"m.yaml:22:3: {shows}, where `intake_ops` may write: map a request column for it",
    ] == said(document, *others, column("ehr", "care_stage", "input"))
    assert [] == said(
        document, *others, column("ehr", "care_stage", "compared"), column("ehr", "care_stage", "request")
    )


def test_an_error_sorts_with_the_warnings_by_its_place() -> None:
    """One list, from the top of the file to its end."""
    document = compiled(
        ("    closed: end\n", "    closed: end\n    waiting: [in_care]\n"),
        ("  rep: {", "  nurse: {name: nurse, in: [ehr]}\n  rep: {"),
    )
    findings = lint(document, date(2030, 1, 1))

    assert ["warning", "error", "warning"] == [finding.severity for finding in findings]
    assert sorted(findings) == list(findings)
