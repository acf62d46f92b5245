"""Every kind of mistake in a matrix document: one file each in `invalid_matrices/`, beside what is said about it."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrices import VALID
from ownership_stream.matrix.compile import compile_document, load
from ownership_stream.matrix.document import MatrixError, parse
from ownership_stream.matrix.lint import lint
from ownership_stream.matrix.show import as_markdown, page

CASES = Path(__file__).parent / "invalid_matrices"
WORDS = list(re.finditer(r"\[[^\]\n]*\]|\{[^}\n]*\}|[a-z_]+(?: [a-z]+)*", VALID))
ODD = ["", "null", "end", "any", "phone", "[]", "{}", "[x]", "{a: b}", "1"]
REPLACEMENTS = [*sorted({word[0] for word in WORDS}), *ODD]
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_said_with_its_place(name: str) -> None:
    """All of a file's mistakes, nothing else, each as `file:line:col: message`."""
    file = CASES / f"{name}.yaml"
    expected = (CASES / f"{name}.expected").read_text(encoding="utf-8").splitlines()

    with pytest.raises(MatrixError) as caught:
        load(file)

    assert [f"{file}:{line}" for line in expected] == list(caught.value.problems)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_one_plain_line(name: str) -> None:
    """Lower case, no final stop, nothing that a terminal would act on."""
    for line in (CASES / f"{name}.expected").read_text(encoding="utf-8").splitlines():
        message = line.split(": ", 1)[1]
        assert message.isprintable()
        assert not message.endswith(".")
        assert message[0].islower() or message.startswith(("`", "U+", "YAML", "not YAML"))


def test_ten_mistakes_are_said_at_once() -> None:
    """Nobody mends a document one run at a time."""
    with pytest.raises(MatrixError) as caught:
        load(CASES / "ten_mistakes.yaml")

    assert 10 == len(caught.value.mistakes)
    assert sorted(caught.value.mistakes) == list(caught.value.mistakes)


def test_every_case_has_its_expected_message_and_every_message_its_case() -> None:
    """No file of the folder is left over."""
    assert NAMES == sorted(path.stem for path in CASES.glob("*.expected"))


@given(st.sampled_from(WORDS), st.sampled_from(REPLACEMENTS))
def test_any_word_in_any_place_is_understood_or_refused(word: re.Match[str], replacement: str) -> None:
    """Whatever stands there: a matrix that can be linted and shown, or mistakes with their places."""
    text = VALID[: word.start()] + replacement + VALID[word.end() :]
    problems: Sequence[str] = ()
    try:
        document = compile_document(parse(text.encode(), "m.yaml"))
        lint(document, date(2026, 11, 24), {})
        as_markdown(page(document))
    except MatrixError as error:
        problems = error.problems

    assert [] == [problem for problem in problems if not re.match(r"m\.yaml:\d+:\d+: \S", problem)]
