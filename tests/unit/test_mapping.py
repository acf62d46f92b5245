"""Source mappings as documents: the shipped ones are right, and every mistake is said with its place."""

import json
from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from mapping_kit import TEXTS, edited, mapped, mistakes, places
from matrices import PATIENT, ROOT
from ownership_stream import sources
from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import load_document as load_matrix
from ownership_stream.matrix.document import parse
from ownership_stream.matrix.lint import lint
from ownership_stream.sources.schema import render, schema
from source_kit import CRM, EHR, MATRIX

# ---------------------------------------------------------------------------------------------------- the shipped ones


def test_every_mapped_column_has_a_row_and_every_row_its_columns() -> None:
    """The matrix's lint finds nothing to say of the shipped mappings."""
    documents = sources.load_all(ROOT / "matrix" / "sources", MATRIX)
    columns = {document.mapping.source: document.columns() for document in documents}
    found = lint(load_matrix(PATIENT), date(2026, 11, 23), columns)

    assert [] == [str(finding) for finding in found]
    assert {"crm", "ehr"} == columns.keys()


def test_all_thirty_fields_are_mapped_where_the_matrix_shows_them() -> None:
    """The CRM holds all of them; the EHR all but the detail it is never told."""
    assert CRM.fields() == MATRIX.fields.keys()
    assert EHR.fields() == MATRIX.fields.keys() - {"referral_source_detail"}
    assert sources.Writer(EHR, MATRIX).fields == EHR.fields()
    assert sources.Writer(CRM, MATRIX).fields == CRM.fields()


def test_the_crm_has_no_column_for_what_it_is_never_shown() -> None:
    """Of medication drug and status, of conditions the program."""
    held = {column.target for _, column in CRM.columns() if column.part}

    assert {"medication_plan.drug", "medication_plan.status", "conditions.program"} == {
        target for target in held if target.startswith(("medication_plan", "conditions"))
    }


def test_lint_knows_where_a_column_is_written() -> None:
    """Each column's place in its file."""
    document = sources.load_document(parse(TEXTS["ehr"].encode(), "m.yaml"), MATRIX)
    requested = next(column for column in document.columns() if column.how == "request")

    assert [f"{requested.place.line}:{requested.place.column}"] == places(TEXTS["ehr"], "care_stage_request:")


def test_the_shipped_mappings_satisfy_the_shipped_schema() -> None:
    """What an editor says of them: nothing."""
    checker = Draft202012Validator(schema())
    for text in TEXTS.values():
        assert [] == list(checker.iter_errors(json.loads(json.dumps(YAML(typ="safe", pure=True).load(text)))))


def test_the_shipped_schema_is_what_the_vocabulary_says() -> None:
    """It is generated, and kept for editors."""
    Draft202012Validator.check_schema(schema())
    assert render() == (ROOT / "matrix" / "schema" / "source.json").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------- mistakes


CASES: list[dict[str, str]] = YAML(typ="safe", pure=True).load(Path(__file__).parent / "invalid_mappings.yaml")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_mistake_is_said_with_its_place_and_the_nearest_right_word(case: dict[str, str]) -> None:
    """Each wrong word in a shipped mapping, once."""
    text = edited(case["mapping"], (case["old"], case["new"]))
    found = [problem for problem in mistakes(text) if case["says"] in problem]

    assert 1 == len(found), mistakes(text)
    if "word" in case:
        assert any(found[0].startswith(f"{at}: ") for at in places(text, case["word"])), places(text, case["word"])


@pytest.mark.parametrize("form", ["json with schema", "avro", "avro with changed columns"])
def test_a_nested_column_cannot_be_written_with_a_schema(form: str) -> None:
    """What is within an array is not known, so its schema cannot be said; in plain JSON its text is enough."""
    nested = ("allergies:               allergies", "allergies: allergies as nested")
    text = edited("ehr", nested, ("system: ehr", f"system: ehr\napply as: {form}"))
    [found] = mistakes(text)

    assert "column `allergies` is nested, and its schema cannot be known: take `apply as: json`" in found
    assert any(found.startswith(f"{at}: ") for at in places(text, "allergies: allergies as nested"))
    assert "" == mapped(edited("ehr", nested)).apply_form


def test_all_mistakes_are_said_at_once() -> None:
    """In the order of the document."""
    found = mistakes(
        edited("ehr", ("system: ehr", "system: her"), ("legal_name.given", "x"), ("[created_at]", "[email]"))
    )

    assert len(found) >= 3
    assert found == sorted(found, key=lambda problem: [int(part) for part in problem.split(":")[:2]])


def test_a_folder_of_mappings_says_all_mistakes_of_all_files(tmp_path: Path) -> None:
    """Also two that claim the same source or topic, and a folder without any."""
    with pytest.raises(BadInputError, match="no source mapping"):
        sources.load_all(tmp_path, MATRIX)
    (tmp_path / "a.yaml").write_text(TEXTS["ehr"])
    (tmp_path / "b.yaml").write_text(TEXTS["ehr"])
    (tmp_path / "c.yaml").write_text("source: [")
    with pytest.raises(BadInputError) as caught:
        sources.load_all(tmp_path, MATRIX)

    assert 3 == len(caught.value.problems)
    assert any("c.yaml:1:" in problem for problem in caught.value.problems)
    assert any("b.yaml:" in problem and "is `" in problem for problem in caught.value.problems)


def test_a_document_of_another_shape_is_refused_and_not_a_crash() -> None:
    """Every section as a list, a word, nothing."""
    for section in ("topics", "tables", "actors"):
        for wrong in ("[]", "word", "", "{a: }", "[[]]"):
            text = "\n".join(line for line in TEXTS["ehr"].split("\n") if not line.startswith(section))
            head = text[: text.index("\n  public")] if section == "tables" else text
            assert mistakes(f"{head}\n{section}: {wrong}\n") or wrong == "word"


# ---------------------------------------------------------------------------------------------------- the page


def test_the_page_lists_every_reason_of_a_dead_letter() -> None:
    """With the same meaning as the code."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")

    for reason, meaning in sources.REASONS.items():
        assert f"| `{reason}` | {meaning} |" in page


def test_the_page_s_example_is_a_mapping() -> None:
    """As far as it goes: the rest of the patient's parts would be missing."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]

    assert ["no column holds `legal_name.given`"] == [problem.split(": ", 1)[1] for problem in mistakes(example)]
