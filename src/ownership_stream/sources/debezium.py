"""Debezium's relational connectors: the JSON envelope of a row, with or without its schema, as changes.

What the source block says, and so the position, is ``databases.py``'s, a reader for each connector; what an event says
beside its row is ``events.py``'s; rows that a transform has flattened are ``flattened.py``'s. Formats: Debezium's
documentation of each connector, "Data change events"; docs/sources/debezium.md.
"""

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import astuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change
from ownership_stream.sources.events import NO_ROW, OPS, Events, aside, kind_of, row_topics
from ownership_stream.sources.guard import Headers, decoded, is_tombstone, refuse_duplicates, traced
from ownership_stream.sources.mapping import Mapping
from ownership_stream.sources.result import IGNORE, Decoded, Undecodable
from ownership_stream.sources.rows import Envelope, RowPlan, plan_of
from ownership_stream.sources.typed import EnvelopeTypes, TypedEvents, are_plain

_WRAPPED: Final = re.compile(rb'\s*\{\s*"(?:schema|payload)"')
_NULL: Final = b"null"
_ENVELOPE_KEYS: Final = 9


class _Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The envelope; rows stay raw until the table is known. All its keys, so that the keys can be counted."""

    op: str
    source: dict[str, Any] | UnsetType | None = UNSET
    before: Raw | UnsetType = UNSET
    after: Raw | UnsetType = UNSET
    transaction: Raw | UnsetType = UNSET
    ts_ms: int | UnsetType | None = UNSET
    ts_us: int | UnsetType | None = UNSET
    ts_ns: int | UnsetType | None = UNSET
    message: Raw | UnsetType = UNSET


class _Wrapped(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The envelope beside its schema, as JsonConverter writes it with ``schemas.enable=true``."""

    payload: Raw
    schema: Raw


_wrapped: Final = msgspec.json.Decoder(_Wrapped).decode


def row_text(topic: str, value: bytes | None, mapping: Mapping, known: frozenset[str], what: str) -> bytes | Decoded:
    """The text of a record that should be a row's; else why it is none. ``known`` are the mapping's ``row_topics``.

    Raises ``Undecodable``.
    """
    if value is None or is_tombstone(value):
        return IGNORE["tombstone"]
    if topic not in known and (ignored := aside(topic, mapping)):
        return ignored
    text = unwrapped(value, what)
    return IGNORE["tombstone"] if text is None else text


def unwrapped(value: bytes, what: str) -> bytes | None:
    """A value's own text, out of the wrapper of its schema; ``None`` for a wrapped null, which is a tombstone too.

    Raises ``Undecodable``.
    """
    if not _WRAPPED.match(value):
        return value
    wrapped = decoded(_wrapped, value, what)
    if value.count(b'"payload"') != 1:
        refuse_duplicates(value, -1, what)
    payload = bytes(wrapped.payload)
    return None if payload == _NULL else payload


class DebeziumDecoder:
    """Decodes the topics of one source; may be shared by threads."""

    def __init__(self, mapping: Mapping, matrix: Matrix, epoch: int) -> None:
        self._mapping, self._row_topics = mapping, row_topics(mapping)
        self._plans = {name: RowPlan(table, mapping, matrix) for name, table in mapping.tables.items()}
        self._event = msgspec.json.Decoder(_Event).decode
        self._events = events = Events(mapping, epoch)
        self._envelope, self._word, self._outer = events.envelope, events.database.word, events.database.outer
        self._what = f"source `{mapping.source}`"

    def typed(self, types: EnvelopeTypes) -> TypedEvents | None:
        """How events that come decoded, with these types, are read; ``None``: by their text only."""
        return TypedEvents(self._plans, self._events, self._row_topics, types.row) if are_plain(types) else None

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``."""
        text = row_text(topic, value, self._mapping, self._row_topics, self._what)
        if isinstance(text, Decoded):
            return text
        event = self._read(text)
        if event.op in NO_ROW:
            return NO_ROW[event.op]
        return self._row(event, text, key, timestamp_ms, headers)

    def _read(self, text: bytes) -> _Event:
        try:
            return decoded(self._event, text, self._what)
        except Undecodable as error:
            if error.reason in {"unknown_column", "wrong_type"}:
                raise self._no_envelope(text) from None
            raise

    def _no_envelope(self, text: bytes) -> Undecodable:
        """Which of the known other shapes this is, so that the message can name the setting to change."""
        anything = decoded(msgspec.json.decode, text, self._what)
        flat = isinstance(anything, dict) and ("__op" in anything or "__deleted" in anything)
        if flat:
            advice = "say `form: flattened` in the mapping, or take `ExtractNewRecordState` out of the connector"
            return Undecodable("unsupported", f"{self._what}: the row is flattened: {advice}")
        return Undecodable(
            "not_an_envelope",
            f"{self._what}: not the envelope of Debezium (`op`, `source`, `before`, `after`)",
        )

    def _row(self, event: _Event, text: bytes, key: bytes | None, timestamp_ms: int, headers: Headers) -> Decoded:
        source = event.source
        if not isinstance(source, dict) or event.op not in OPS:
            raise self._no_envelope(text)
        if source.get("connector") != self._word:
            said = f"an event that is not of Debezium's `{self._word}` connector"
            raise Undecodable("unsupported", f"{self._what}: {said}")
        name = f"{source.get(self._outer)}.{source.get('table')}"
        plan = plan_of(self._plans, name, self._mapping, self._what)
        if plan is None:
            return IGNORE["table"]
        if key is None:
            advice = "give the table a primary key, or set `message.key.columns`"
            raise Undecodable("missing_key", f"{plan.what}: the record has no key: {advice}")
        row = event.before if event.op == "d" else event.after
        if row is UNSET or bytes(row) == _NULL:
            raise Undecodable("not_an_envelope", f"{plan.what}: an event of kind `{event.op}` without its row")
        values = astuple(decoded(plan.decode, row, plan.what))
        refuse_duplicates(text, _keys(event, source, values), plan.what, _unread(event, row, values, plan))
        op = kind_of(OPS[event.op], headers, plan, values)
        if op is None:
            return IGNORE["moved"]
        envelope = self._envelope(op, source, plan, timestamp_ms, traced(headers), row)
        change = plan.change(values, envelope, moved=op != OPS[event.op])
        left = self._left(change, event, plan, envelope) if plan.several else None
        return Decoded((change,) if left is None else (left, change))

    def _left(self, change: Change, event: _Event, plan: RowPlan, envelope: Envelope) -> Change | None:
        """That a row of several is another record's from now on, for the one that it was: there it is deleted."""
        if event.op != "u" or event.before is UNSET or bytes(event.before) == _NULL:
            return None
        values = astuple(decoded(plan.decode, event.before, plan.what))
        if not plan.is_whole(values):
            return None
        left = plan.change(values, msgspec.structs.replace(envelope, op="d"))
        return None if (left.record, left.row) == (change.record, change.row) else left


def _keys(event: _Event, source: dict[str, Any], values: tuple[Any, ...]) -> int:
    """How many keys were decoded of the envelope, its source block and the row."""
    return _ENVELOPE_KEYS - astuple(event).count(UNSET) + len(source) + len(values) - values.count(UNSET)


def _unread(event: _Event, row: Raw, values: tuple[Any, ...], plan: RowPlan) -> bytes:
    """The texts of what is never looked at: the other row, the transaction, and the columns that mean nothing."""
    other = event.after if row is event.before else event.before
    unread = (other, event.transaction, event.message, *values[plan.first_ignored :])
    return b"".join([raw for raw in unread if raw is not UNSET])
