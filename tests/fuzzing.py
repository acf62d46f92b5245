"""Input to fuzz decoders with: JSON of any shape, and real records damaged in one place, which get deepest."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from source_kit import CONTACT

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))
    | st.sampled_from(["__debezium_unavailable_value", "9999-12-31", "0000-01-01", "1e999", "x" * 5000, CONTACT, ""])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a decoded JSON text."""
    found = [above]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found += paths(child, (*above, name))
    return found


def put(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of a decoded JSON text with one place changed."""
    if not path:
        return change(value)
    if isinstance(value, dict):
        return {name: put(child, path[1:], change) if name == path[0] else child for name, child in value.items()}
    return [put(child, path[1:], change) if index == path[0] else child for index, child in enumerate(value)]


@st.composite
def damaged(draw: st.DrawFn, records: Sequence[Any]) -> bytes:
    """One of the records, in which one value is another, or one key is gone, new or twice."""
    record = draw(st.sampled_from(records))
    path = draw(st.sampled_from(paths(record)[1:]))
    kind = draw(st.sampled_from(["replace", "remove", "add"]))
    if kind == "replace":
        other = draw(JSON)
        record = put(record, path, lambda _: other)
    elif kind == "remove":
        gone = path[-1]
        record = put(
            record,
            path[:-1],
            lambda node: {k: v for k, v in node.items() if k != gone} if isinstance(node, dict) else [],
        )
    else:
        name, new = draw(st.text(max_size=8)), draw(JSON)
        record = put(record, path[:-1], lambda node: node | {name: new} if isinstance(node, dict) else [*node, new])
    return json.dumps(record, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
