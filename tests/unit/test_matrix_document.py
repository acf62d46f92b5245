"""YAML with places: where every word stands, what aliases become, and what is no YAML at all."""

from pathlib import Path

import pytest

from ownership_stream.errors import BadInputError
from ownership_stream.matrix import document
from ownership_stream.matrix.document import Items, Leaf, MatrixError, Place, Table, locate, parse, read


def test_every_key_and_value_has_its_line_and_column() -> None:
    """Both count from 1, in characters and not in bytes."""
    root = parse("a:\n  é: {b: [c, d]}\n".encode(), "x").root

    assert isinstance(root, Table)
    inner = root.entries["a"].node
    assert isinstance(inner, Table)
    assert Place(2, 3) == inner.entries["é"].place
    assert Place(2, 6) == inner.entries["é"].node.place
    assert Place(2, 14) == locate(root, "d")
    assert Place(2, 7) == locate(root, "b")
    assert locate(root, "nowhere") is None


def test_a_place_is_found_by_its_path_and_falls_back_to_the_deepest_key_there_is() -> None:
    """Whoever asks for a key that is missing is shown where it would stand."""
    parsed = parse(b"a:\n  b: 1\n", "x")

    assert Place(2, 3) == parsed.place("a", "b")
    assert Place(1, 1) == parsed.place("a", "c", "d")
    assert Place(2, 3) == parsed.place("a", "b", "c")
    assert Place(1, 1) == parsed.place()


def test_nothing_is_nothing_only_without_quotes() -> None:
    """A quoted word is text, whatever it looks like."""
    root = parse(b"""[~, null, '', "null", none]""", "x").root

    assert isinstance(root, Items)
    assert [None, None, "", "null", "none"] == [item.text for item in root.items if isinstance(item, Leaf)]
    assert [True, True, False, False, True] == [item.plain for item in root.items if isinstance(item, Leaf)]


def test_words_that_other_yaml_readers_change_stay_as_they_are_written() -> None:
    """Dates, versions and `no` are what the author wrote: who reads them says what they are."""
    root = parse(b"[2026-11-23, 1.10, no, 0x10]", "x").root

    assert isinstance(root, Items)
    assert ["2026-11-23", "1.10", "no", "0x10"] == [item.text for item in root.items if isinstance(item, Leaf)]


def test_an_alias_is_its_anchor_and_a_merge_adds_what_is_not_there() -> None:
    """The mapping's own keys win, then the first of several merged ones."""
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {a: 0, <<: [*x, *y]}\nw: {<<: *y, <<: *x}\nv: *x\n"
    root = parse(text.encode(), "x").root

    assert isinstance(root, Table)
    merged, twice, alias = (root.entries[key].node for key in "zwv")
    assert isinstance(merged, Table)
    assert isinstance(twice, Table)
    assert {"a": "0", "b": "2", "c": "4"} == {key: entry.node.text for key, entry in merged.entries.items()}  # type: ignore[union-attr]  # all are leaves
    assert {"a", "b", "c"} == set(twice.entries)
    assert alias is root.entries["x"].node


def test_aliases_of_aliases_do_not_make_a_small_file_large() -> None:
    """Nine lines that stand for a billion words are built nine times."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    root = parse("\n".join(lines).encode(), "x").root

    assert isinstance(root, Table)
    last = root.entries["a9"].node
    assert isinstance(last, Items)
    assert all(item is last.items[0] for item in last.items)


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Editors on Windows write one."""
    assert Place(1, 1) == parse(b"\xef\xbb\xbfa: 1\n", "x").place("a")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a" * (document.MAX_BYTES + 1), "x:1:1: longer than 1,000,000 bytes"),
        (b"[" * 5000, "x:1:1: nested too deeply"),
        ("a: Ü\nb: ".encode() + b"\xff", "x:2:4: byte 0xFF is not UTF-8: save the file as UTF-8"),
        (b"%YAML 3.0\n---\na: 1", "x:1:1: not YAML: found incompatible YAML document (version 1.* is required)"),
        (b"a: !!int x y\nb: !!python/object:os.system {}\n", None),
    ],
)
def test_what_is_no_document_is_said_in_one_line_with_its_place(data: bytes, said: str | None) -> None:
    """Nothing that a file holds ends in a trace, and nothing in it is ever constructed."""
    if said is None:
        assert isinstance(parse(data, "x").root, Table)
        return
    with pytest.raises(MatrixError) as caught:
        parse(data, "x")

    assert (said,) == tuple(caught.value.problems)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder, or nothing at all: one line with the system's reason."""
    with pytest.raises(BadInputError, match=r"nothing\.yaml: cannot be read: no such file or directory"):
        read(tmp_path / "nothing.yaml")
    with pytest.raises(BadInputError, match="cannot be read"):
        read(tmp_path)


def test_mistakes_stand_in_the_order_of_the_file() -> None:
    """A person mends a file from top to bottom."""
    parsed = parse(b"b: 1\nb: 2\n? [x]\n: 3\n", "x")

    assert [(2, 1), (3, 3)] == [(mistake.place.line, mistake.place.column) for mistake in parsed.mistakes]
    assert ["x:2:1: duplicate key `b`: first in line 1", "x:3:3: a key must be a word"] == list(
        MatrixError("x", parsed.mistakes[::-1]).problems
    )
