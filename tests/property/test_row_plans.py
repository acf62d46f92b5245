"""Rows are read fast, and yet as if each column had been read by itself: by code written out, and in Avro without JSON.

What a row must mean is said here once more, column by column, from the mapping alone.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avro_kit import TIMES, EhrTopic
from ownership_stream import sources
from ownership_stream.matrix.normalise import NotCanonical
from ownership_stream.model import Change, Evidence
from ownership_stream.sources.encodings import Encoding, canonical, milliseconds, reader
from ownership_stream.sources.mapping import Cell, Mapping, Table
from ownership_stream.wire.framed import FramedDecoder, envelope_types
from source_kit import AT, EHR, EHR_TOPIC, MATRIX, PATIENT_ROW, ehr_event, from_ehr, packed

PLACEHOLDER = EHR.unavailable
TABLE = EHR.tables["public.patient"]
TEXTS = st.sampled_from(["Ann", " Ann  Marie ", "ÅSE", "a@x.org", "", " ", PLACEHOLDER, "2125550100", "yes", "active"])
BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    int: st.sampled_from([4017, -25_567, 0, 1, 1_767_261_600_123_456]) | st.integers(-(2**40), 2**51),
    float: st.sampled_from([81.5, 81.0, -0.0, 1e15]) | st.floats(-1e6, 1e6),
    str: TEXTS | st.text(st.characters(codec="utf-8"), max_size=6),
    type(None): st.none() | TEXTS,
}
KEYED = {"patient_id", "crm_id"}
COLUMNS = st.fixed_dictionaries(
    {}, optional={n: st.none() | BY_TYPE[type(raw)] for n, raw in PATIENT_ROW.items() if n not in KEYED}
)


def naive(row: dict[str, Any], mapping: Mapping, table: Table) -> dict[str, Any]:
    """What a whole row says by its mapping; raises ``NotCanonical``."""
    found: dict[str, Any] = {"fields": {}, "compared": {}, "requests": {}}
    for use, section in (("input", "fields"), ("compared", "compared"), ("request", "requests")):
        parts: dict[str, dict[str, Any]] = {}
        for column in table.columns:
            if column.use != use:
                continue
            field = MATRIX.fields[column.field]
            if use == "compared":
                field = msgspec.structs.replace(field, choices=())
            raw = row[column.name]
            if raw == PLACEHOLDER:
                continue
            value = None if raw is None else canonical(field, column.part, column.encoding, raw)
            if column.part:
                parts.setdefault(column.field, {})[column.part] = value
            else:
                found[section][column.field] = value
        for name, some in parts.items():
            of = [column for column in table.columns if column.field == name and column.use == use]
            cleared = len(some) == len(of) and all(value is None for value in some.values())
            found[section][name] = None if cleared else some
    return found | _about(row, mapping, table)


def _about(row: dict[str, Any], mapping: Mapping, table: Table) -> dict[str, Any]:
    """What it says beside its fields."""
    actor, reason, marker = (_text(row, cell) for cell in (table.actor, table.reason, table.marker))
    role, origin = mapping.actors.of(actor)
    evidence = {}
    for rule in table.evidence:
        at, by = _moment(row, rule.at), _text(row, rule.by)
        if rule.by is None:
            by = None if at is None else rule.word or (actor if role in rule.roles else None)
        if by is not None or at is not None:
            evidence[rule.field] = Evidence(by, at)
    said = {"actor": actor, "role": role, "origin": origin, "reason": reason, "marker": marker, "evidence": evidence}
    return said | {"updated_at": _moment(row, table.updated_at)}


def _text(row: dict[str, Any], cell: Cell | None) -> str | None:
    raw = None if cell is None else row[cell.name]
    if raw is None or raw == PLACEHOLDER:
        return None
    return canonical(MATRIX.fields["allergies"], "", Encoding(), raw)  # type: ignore[return-value]  # a field of text


def _moment(row: dict[str, Any], cell: Cell | None) -> int | None:
    raw = None if cell is None else row[cell.name]
    return None if cell is None or raw is None or raw == PLACEHOLDER else milliseconds(cell.encoding, raw)


def answer(call: Any, *said: Any) -> Any:
    """The change, or the reason and the message of the refusal."""
    try:
        [change] = call(*said).changes
    except sources.Undecodable as error:
        return error.reason, error.message
    return change


@given(COLUMNS)
@example({"birth_date": 47_846})
@example({"birth_date": 47_847})
def test_a_row_means_what_its_columns_mean_one_by_one(columns: dict[str, Any]) -> None:
    """All sections, whoever wrote, and what backs it; a row with a value that means nothing is refused."""
    found = answer(from_ehr, ehr_event(**columns))
    try:
        due = naive(PATIENT_ROW | columns, EHR, TABLE)
    except NotCanonical:
        assert isinstance(found, tuple), "a value without a canonical form was taken"
        return
    if isinstance(found, tuple):
        assert found[0] == "wrong_type"  # a text where the column holds numbers
        return
    assert due == {name: getattr(found, name) for name in due}


@given(st.sampled_from(["c", "u", "d", "r"]), COLUMNS)
def test_an_event_in_avro_is_read_without_json_as_with_it(op: str, columns: dict[str, Any]) -> None:
    """The same change or the same refusal, whichever way it was taken."""
    columns = {name: raw for name, raw in columns.items() if fits(raw, name)}
    topic = EhrTopic()
    event = topic.event(ehr_event(op, **columns))
    by_text = FramedDecoder(_Texts(topic.decoder._inner), EHR, topic.decoder._registry)

    fast, plain = (answer(one.decode, EHR_TOPIC, topic.key, event, 0) for one in (topic.decoder, by_text))
    assert plain == fast
    assert plain == answer(from_ehr, ehr_event(op, **columns))


def fits(raw: Any, column: str) -> bool:
    """Whether a value is of its column's type in the topic's schema."""
    usual = PATIENT_ROW[column]
    if raw is None or column == "birth_date":
        return raw is None or (type(raw) is int and abs(raw) < 2**31)
    return type(raw) is (int if column in TIMES else str if usual is None else type(usual))


class _Texts:
    """A decoder that is asked for nothing but texts."""

    def __init__(self, inner: Any) -> None:
        self.decode = inner.decode


def test_the_shipped_mapping_is_read_without_json() -> None:
    """Else nothing here would have shown it."""
    topic = EhrTopic()
    topic.decode(topic.event(ehr_event()))

    assert [True] == [known.typed is not None for known in topic.decoder._known.values()]
    assert topic.decoder._known[topic.number].typed._tables.keys() == EHR.tables.keys()  # type: ignore[union-attr]  # asserted above


@pytest.mark.parametrize(
    "types",
    [
        {"nickname": "string"},  # an unknown column
        {"weight_kg": {"type": "array", "items": "long"}},  # nested where a number is due
        {"birth_date": "double"},  # a fraction where days are due
    ],
)
def test_what_a_schema_leaves_open_is_left_to_the_text(types: dict[str, Any]) -> None:
    """The plan takes no rows of a schema by which some could be refused."""
    topic = EhrTopic(**types)
    said = envelope_types(topic.schema)
    assert said is not None
    typed = topic.decoder._inner.typed(said)  # type: ignore[attr-defined]  # a Debezium decoder
    assert {} == typed._tables


ORACLE = msgspec.structs.replace(EHR, connector="debezium oracle")
TIED = {"connector": "oracle", "commit_scn": "5", "scn": "5"}


def test_changes_of_one_position_are_told_apart_alike() -> None:
    """By the text of the row, which the fast way has to make for it: a repeat is the same change by either."""
    topic = EhrTopic(mapping=ORACLE)
    for name in ("commit_scn", "scn"):
        topic.schema["fields"][2]["type"]["fields"].append({"name": name, "type": ["null", "string"], "default": None})
    topic.number = topic.shelf.put(topic.schema)
    events = [topic.event(ehr_event(source=TIED, email=email)) for email in ("a@x.org", "b@x.org")]
    by_text = FramedDecoder(_Texts(topic.decoder._inner), ORACLE, topic.decoder._registry)

    fast = [answer(topic.decode, event) for event in events]
    assert [answer(by_text.decode, EHR_TOPIC, topic.key, event, 0) for event in events] == fast
    assert topic.decoder._known[topic.number].typed is not None
    assert 2 == len({change.id for change in fast if isinstance(change, Change)})


RAW = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["1980-12-31", "2026-01-01T10:00:00.5Z", "yes", "+12125550100", 4017, AT, AT * 1000, 0])
)


@given(
    st.sampled_from([(name, part) for name, f in MATRIX.fields.items() for part in (f.parts or [""])]),
    st.sampled_from(["", "iso", "epoch days", "epoch s", "epoch ms", "epoch us", "epoch ns", "decimal", "nested"]),
    st.booleans(),
    RAW,
)
def test_a_column_s_reader_gives_what_reading_it_gives(
    where: tuple[str, str], word: str, zero: bool, raw: object
) -> None:
    """Made once for a column, or asked for each value: the same value, or refused both ways."""
    name, part = where
    encoding = Encoding(word, zero=zero)

    def tried(read: Any, *said: Any) -> Any:
        try:
            return read(*said)
        except NotCanonical as error:
            return error.reason

    assert tried(canonical, MATRIX.fields[name], part, encoding, raw) == tried(
        reader(MATRIX.fields[name], part, encoding), raw
    )


@given(
    st.integers(-(10**10), 10**10) | st.sampled_from([-2_208_988_800, 4_133_980_799, 4_133_980_800, -1, 0]),
    st.integers(0, 10**9 - 1),
    st.sampled_from([("epoch s", 1), ("epoch ms", 10**3), ("epoch us", 10**6), ("epoch ns", 10**9)]),
)
def test_a_counted_instant_is_the_one_that_a_calendar_gives(seconds: int, nanos: int, unit: tuple[str, int]) -> None:
    """Milliseconds are cut off, before 1970 as well; outside the years it is refused."""
    word, per_second = unit
    count = seconds * per_second + nanos * per_second // 10**9
    encoding = Encoding(word)

    def tried() -> object:
        try:
            return canonical(MATRIX.fields["next_appointment"], "", encoding, count)
        except NotCanonical:
            return None

    if not -2_208_988_800 <= seconds < 4_133_980_800:
        assert tried() is None
        return
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    fine = moment if per_second > 1 else moment.replace(microsecond=0)
    assert f"{fine:%Y-%m-%dT%H:%M:%S}.{fine.microsecond // 1000:03}Z" == tried()


def test_a_row_without_json_is_one_with_json_for_every_kind_of_column() -> None:
    """Bytes become the base64 that JSON has; a column that the schema lacks was not carried."""
    decimal = {"type": "bytes", "scale": 1, "precision": 5, "logicalType": "decimal"}
    columns = [
        msgspec.structs.replace(column, encoding=Encoding("decimal", 1)) if column.field == "weight" else column
        for column in TABLE.columns
    ]
    tables = {"public.patient": msgspec.structs.replace(TABLE, columns=tuple(columns))}
    mapping = msgspec.structs.replace(EHR, tables=tables)
    topic = EhrTopic(mapping=mapping, weight_kg=decimal)
    for number, stored in enumerate((b"\x03\x2f", None, PLACEHOLDER.encode())):
        event = topic.event(ehr_event(weight_kg=stored))
        by_text = FramedDecoder(_Texts(topic.decoder._inner), mapping, topic.decoder._registry)
        fast, plain = (answer(one.decode, EHR_TOPIC, topic.key, event, 0) for one in (topic.decoder, by_text))
        assert plain == fast
        assert [81.5, None, "not carried"][number] == fast.fields.get("weight", "not carried")
    assert b'"weight_kg":81.5' in packed(ehr_event())
