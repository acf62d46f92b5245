"""Who reviewed the matrix and when: a file beside the document, to which each review adds a line.

Not in the document itself: there each signature would make another revision, though nothing is decided otherwise
(docs/adr/0011).
"""

import json
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from ownership_stream.errors import BadInputError
from ownership_stream.matrix import words
from ownership_stream.matrix.document import Items, Node, read
from ownership_stream.matrix.reading import Reader

SUFFIX: Final = ".reviews.yaml"
HEAD: Final = "# Reviews of {name}, the newest last: written by `ownership-stream matrix review sign`.\nreviews:\n"


class Signature(msgspec.Struct, frozen=True):
    """One review: the day, the person, the revision that they looked at, and what they noted."""

    on: date
    by: str
    revision: str
    note: str = ""


def reviews_file(matrix: Path) -> Path:
    """Where the reviews of a matrix document are: `patient.reviews.yaml` beside `patient.yaml`."""
    return matrix.with_name(matrix.stem + SUFFIX)


def read_reviews(matrix: Path) -> tuple[Signature, ...]:
    """The reviews of a document, oldest first; none where nobody has signed. Raises ``MatrixError``."""
    path = reviews_file(matrix)
    if not path.exists():
        return ()
    document = read(path)
    reader = Reader(document)
    top = reader.table(document.root, "the file of reviews", words.REVIEWS)
    found = tuple(_signatures(reader, top["reviews"].node)) if "reviews" in top else ()
    reader.finish()
    return found


def _signatures(reader: Reader, node: Node) -> list[Signature]:
    if not isinstance(node, Items) or not node.items:
        reader.wrong(node.place, "`reviews` must be a list of reviews, as `matrix review sign` writes it")
        return []
    found: list[Signature] = []
    for item in node.items:
        said = {key: entry.node for key, entry in reader.table(item, "a review", words.SIGNATURE).items()}
        day = reader.date(said.get("on"), "`on`")
        if found and day < found[-1].on:
            reader.wrong(item.place, f"this review, of {day}, stands after one of {found[-1].on}: the newest is last")
        by, revision, note = (reader.text(said.get(key), f"`{key}`") for key in ("by", "revision", "note"))
        found.append(Signature(day, by, revision, note))
    return found


def sign(matrix: Path, signature: Signature) -> Path:
    """Add a review to the file beside the document; where that is. Raises ``BadInputError``."""
    if not signature.by.strip():
        raise BadInputError("a review is signed by a person: give `--by` a name")
    before = read_reviews(matrix)
    if before and signature.on < before[-1].on:
        raise BadInputError(f"{reviews_file(matrix)}: reviewed on {before[-1].on} already, after {signature.on}")
    note = f", note: {_quoted(signature.note)}" if signature.note.strip() else ""
    line = f"  - {{on: {signature.on}, by: {_quoted(signature.by)}, revision: {_quoted(signature.revision)}{note}}}\n"
    path = reviews_file(matrix)
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else HEAD.format(name=matrix.name)
        path.write_text(text + "\n" * (not text.endswith("\n")) + line, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BadInputError(f"{path}: cannot be written: {reason}") from error
    return path


def _quoted(text: str) -> str:
    """On one line, as YAML and JSON both read it."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
