"""Source mappings as texts, for tests: a shipped one with something changed, compiled or refused."""

import pytest

from ownership_stream import sources
from ownership_stream.matrix.document import MatrixError, parse
from source_kit import CRM_FILE, EHR_FILE, MATRIX

TEXTS = {"ehr": EHR_FILE.read_text(encoding="utf-8"), "crm": CRM_FILE.read_text(encoding="utf-8")}


def edited(name: str, *changes: tuple[str, str]) -> str:
    """A shipped mapping with each first occurrence replaced; what does not occur is a mistake of the test."""
    text = TEXTS[name]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def mapped(text: str) -> sources.Mapping:
    """A mapping's text, compiled beside the shipped matrix."""
    return sources.load_document(parse(text.encode(), "m.yaml"), MATRIX).mapping


def mistakes(text: str) -> list[str]:
    """Every mistake of a mapping, without the file's name."""
    with pytest.raises(MatrixError) as caught:
        mapped(text)
    return [problem.removeprefix("m.yaml:") for problem in caught.value.problems]


def places(text: str, word: str) -> list[str]:
    """`line:col` wherever a word stands; a word with a line's end after it, only where it ends one."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split(" #")[0].rstrip() + "\n"
        if word in code:
            found.append(f"{number}:{code.index(word) + 1}")
    return found
