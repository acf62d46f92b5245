"""Small matrices for tests: the valid one of `unit/valid_matrix.yaml`, and what a change of its text makes of it."""

from functools import cache
from pathlib import Path

from ownership_stream.matrix.compile import MatrixDocument, compile_document, load_document
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.document import parse

ROOT = Path(__file__).resolve().parents[1]
PATIENT = ROOT / "matrix" / "patient.yaml"
VALID = (Path(__file__).parent / "unit" / "valid_matrix.yaml").read_text(encoding="utf-8")


def edited(*changes: tuple[str, str]) -> str:
    """The valid matrix's text with each first occurrence replaced; what does not occur is a mistake of the test."""
    text = VALID
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def compiled(*changes: tuple[str, str]) -> MatrixDocument:
    """The valid matrix, changed and compiled."""
    return compile_document(parse(edited(*changes).encode(), "m.yaml"))


@cache
def patient() -> Matrix:
    """The matrix that the project ships."""
    return load_document(PATIENT).matrix


def field(name: str) -> Field:
    """A row of the shipped matrix."""
    return patient().fields[name]
