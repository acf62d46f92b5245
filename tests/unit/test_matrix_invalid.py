"""Every kind of mistake in a matrix document: one file each in `invalid_matrices/`, beside what is said about it."""

from pathlib import Path

import pytest

from ownership_stream.matrix.compile import load
from ownership_stream.matrix.document import MatrixError

CASES = Path(__file__).parent / "invalid_matrices"
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
