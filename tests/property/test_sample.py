"""Whatever stands on a topic, the check of a sample answers: it never fails, and it shows nothing of the bytes."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ownership_stream.sources.advice import findings
from sample_kit import CRM, EHR, examined, record
from source_kit import changed, ehr_event, packed

MARK = "Zebedee"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.just(MARK) | st.just(f"{MARK}@x.org")
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
)
WHOLE: list[dict[str, Any]] = [
    ehr_event(),
    ehr_event("d"),
    {
        "schema": {"fields": [{"field": "after", "fields": [{"field": "email", "default": "x"}]}]},
        "payload": ehr_event(),
    },
    changed(LastName="Doe"),
    {"table": "Contact", "row": {"Id": "1"}, "at": 1, "version": 1},
    ehr_event()["after"] | {"__op": "u", "__table": "patient", "__deleted": "false"},
]


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before, *(path for key, child in children for path in paths(child, (*before, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real event in which one place holds anything."""
    event = msgspec.json.decode(packed(draw(st.sampled_from(WHOLE))))
    path = draw(st.sampled_from(paths(event)))
    value = draw(JSON)
    if not path:
        return packed(value)
    node = event
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return packed(event)


@given(st.lists(damaged() | st.binary(max_size=20) | st.none(), max_size=5), st.sampled_from([EHR, CRM]))
def test_any_sample_is_examined_and_none_of_its_values_shown(values: list[bytes | None], mapping: Any) -> None:
    """Every record ends in one form; changes, ignored and refused records are all that there are."""
    sample = examined([record(value, key=None if value is None else b"") for value in values], mapping)
    report = sample.report()

    assert len(values) == report.records == sum(report.forms.values())
    assert MARK.encode() not in msgspec.json.encode((report, findings(sample)))
