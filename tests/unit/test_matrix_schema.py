"""The JSON Schema for editors: of one piece with the loader's vocabulary, and with the file that is shipped."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # the package brings no types
from ruamel.yaml import YAML

from matrices import PATIENT, ROOT, VALID, edited
from ownership_stream.matrix.schema import render, schema

FILE = ROOT / "matrix" / "schema" / "matrix.json"
CASES = Path(__file__).parent / "invalid_matrices"
CHECKER = Draft202012Validator(schema())
SEEN_BY_EDITORS = [
    "direction_both_ways_summary",
    "evidence_incomplete",
    "evidence_unknown",
    "field_name_with_capitals",
    "flag_is_yes",
    "key_missing",
    "key_missing_at_top",
    "key_unknown",
    "key_unknown_at_top",
    "list_is_a_word",
    "list_is_empty",
    "list_names_a_word_twice",
    "owner_before_only",
    "phone_region_unknown",
    "reaction_unknown",
    "reason_unknown",
    "review_is_no_interval",
    "rule_unknown",
    "secondary_is_a_word",
    "sla_is_no_duration",
    "stage_without_end",
    "system_alone",
    "text_is_a_mapping",
    "top_is_a_list",
    "type_of_part_unknown",
    "type_one_of_and_parts",
    "type_parts_empty",
    "type_unknown",
]


def loaded(text: str) -> Any:
    """A document as an editor's language server sees it: dates are texts."""
    reader = YAML(typ="safe", pure=True)
    return json.loads(json.dumps(reader.load(text), default=str))


def test_the_schema_is_itself_one() -> None:
    """By the meta-schema of 2020-12."""
    Draft202012Validator.check_schema(schema())


def test_the_shipped_schema_is_what_the_vocabulary_says() -> None:
    """`ownership-stream matrix schema` wrote it after the last change of a word."""
    assert render() == FILE.read_text(encoding="utf-8"), (
        "run `ownership-stream matrix schema > matrix/schema/matrix.json`"
    )


def test_the_shipped_matrix_names_its_schema_and_keeps_it() -> None:
    """The first line is what editors read."""
    first, _ = PATIENT.read_text(encoding="utf-8").split("\n", 1)

    assert f"# yaml-language-server: $schema={FILE.relative_to(PATIENT.parent)}" == first
    CHECKER.validate(loaded(PATIENT.read_text(encoding="utf-8")))
    CHECKER.validate(loaded(VALID))


@pytest.mark.parametrize("name", SEEN_BY_EDITORS)
def test_an_editor_marks_what_the_loader_refuses(name: str) -> None:
    """Wrong words, wrong types and missing keys show while they are typed."""
    assert not CHECKER.is_valid(loaded((CASES / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "change",
    [
        ("closed: end", "closed: [lead]"),
        ("{intake_ops: [in_care]}", "{intake_ops: any}"),
        ("critical: true", "critical: true\n    reason: every manual edit\n    group: identity"),
        ("sla: 4h", "sla: 30 m"),
        ("every: 1 month", "every: 2 weeks"),
        ("on reject: restore", "on reject: leave, phone region: GB"),
        ("label: Plan", "label: 7"),
    ],
)
def test_an_editor_marks_nothing_that_the_loader_takes(change: tuple[str, str]) -> None:
    """A schema that cries wolf is switched off."""
    CHECKER.validate(loaded(edited(change)))


def test_every_word_is_explained_where_it_is_offered() -> None:
    """Hover texts are the vocabulary's own sentences."""
    field = schema()["properties"]["fields"]["additionalProperties"]["properties"]

    assert all(word["description"] for word in field.values())
    assert all(choice["description"] for choice in field["rule"]["oneOf"])
