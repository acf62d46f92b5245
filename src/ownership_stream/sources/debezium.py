"""Debezium's PostgreSQL connector: the JSON envelope of a row, with or without its schema, as changes.

Position: ``source.sequence``, a JSON text ``["<last commit LSN>", "<LSN>"]``, since the LSN alone is not ordered across
transactions; where it holds no commit LSN, or there is none, the LSN stands for both. An operator's source epoch comes
first. Formats: Debezium's documentation of the connector, "Data change events"; docs/sources.md.
"""

import re
from typing import Any, Final, TypeGuard

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import astuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Change, Op
from ownership_stream.sources.guard import Headers, decoded, is_tombstone, named, refuse_duplicates, traced
from ownership_stream.sources.mapping import Mapping
from ownership_stream.sources.result import IGNORE, Decoded, Undecodable
from ownership_stream.sources.rows import Envelope, RowPlan

OPS: Final[dict[str, Op]] = {"c": "c", "u": "u", "d": "d", "r": "r"}
NO_ROW: Final = {"t": IGNORE["truncate"], "m": IGNORE["message"]}
SNAPSHOT: Final = frozenset(
    {True, "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"}
)
LIVE: Final = frozenset({False, "false", None})
_FLAGS: Final = SNAPSHOT | LIVE
_FLAG_TYPES: Final = frozenset({str, bool, type(None)})

HEARTBEAT: Final = "__debezium-heartbeat."
TRANSACTION: Final = ".transaction"
MAX_POSITION: Final = 2**63 - 1
MAX_TIME: Final = 4_133_980_800_000
_SEQUENCE: Final = re.compile(r'\[\s*(?:null|"(\d{1,19})")\s*,\s*(?:null|"(\d{1,19})")\s*\]', re.ASCII)
_WRAPPED: Final = re.compile(rb'\s*\{\s*"(?:schema|payload)"')
_NULL: Final = b"null"
_ENVELOPE_KEYS: Final = 8


class _Event(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The envelope; rows stay raw until the table is known. All eight keys, so that the keys can be counted."""

    op: str
    source: dict[str, Any] | UnsetType | None = UNSET
    before: Raw | UnsetType = UNSET
    after: Raw | UnsetType = UNSET
    transaction: Raw | UnsetType = UNSET
    ts_ms: int | UnsetType | None = UNSET
    ts_us: int | UnsetType | None = UNSET
    ts_ns: int | UnsetType | None = UNSET


class _Wrapped(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The envelope beside its schema, as JsonConverter writes it with ``schemas.enable=true``."""

    payload: Raw
    schema: Raw


class DebeziumDecoder:
    """Decodes the topics of one PostgreSQL source; may be shared by threads."""

    def __init__(self, mapping: Mapping, matrix: Matrix, epoch: int) -> None:
        self._mapping, self._epoch = mapping, epoch
        self._plans = {name: RowPlan(table, mapping, matrix) for name, table in mapping.tables.items()}
        self._event = msgspec.json.Decoder(_Event).decode
        self._wrapped = msgspec.json.Decoder(_Wrapped).decode
        self._what = f"source `{mapping.source}`"

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``."""
        if value is None or is_tombstone(value):
            return IGNORE["tombstone"]
        if topic.startswith(HEARTBEAT):
            return IGNORE["heartbeat"]
        if topic.endswith(TRANSACTION) and topic not in self._mapping.topics:
            return IGNORE["transaction"]
        text = self._unwrapped(value)
        if text is None:
            return IGNORE["tombstone"]
        event = self._read(text)
        if event.op in NO_ROW:
            return NO_ROW[event.op]
        return self._row(event, text, key, timestamp_ms, traced(headers))

    def _unwrapped(self, value: bytes) -> bytes | None:
        """The envelope's own text; ``None`` for a wrapped null, which is a tombstone too."""
        if not _WRAPPED.match(value):
            return value
        wrapped = decoded(self._wrapped, value, self._what)
        if value.count(b'"payload"') != 1:
            refuse_duplicates(value, -1, self._what)
        payload = bytes(wrapped.payload)
        return None if payload == _NULL else payload

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
            advice = "the row is flattened: take the transform `ExtractNewRecordState` out of the connector"
            return Undecodable("unsupported", f"{self._what}: {advice}")
        return Undecodable(
            "not_an_envelope",
            f"{self._what}: not the envelope of Debezium (`op`, `source`, `before`, `after`)",
        )

    def _row(self, event: _Event, text: bytes, key: bytes | None, timestamp_ms: int, trace: dict[str, str]) -> Decoded:
        source = event.source
        if not isinstance(source, dict) or event.op not in OPS:
            raise self._no_envelope(text)
        if source.get("connector") != "postgresql":
            raise Undecodable("unsupported", f"{self._what}: an event that is not of Debezium's `postgresql` connector")
        name = f"{source.get('schema')}.{source.get('table')}"
        plan = self._plans.get(name)
        if plan is None:
            if name in self._mapping.ignored_tables:
                return IGNORE["table"]
            raise Undecodable("unknown_table", f"{self._what}: unknown table {named(name)}")
        if key is None:
            advice = "give the table a primary key, or set `message.key.columns`"
            raise Undecodable("missing_key", f"{plan.what}: the record has no key: {advice}")
        row = event.before if event.op == "d" else event.after
        if row is UNSET or bytes(row) == _NULL:
            raise Undecodable("not_an_envelope", f"{plan.what}: an event of kind `{event.op}` without its row")
        values = astuple(decoded(plan.decode, row, plan.what))
        refuse_duplicates(text, _keys(event, source, values), plan.what, _unread(event, row, values, plan))
        return Decoded((self._change(event, source, values, plan, timestamp_ms, trace),))

    def _change(
        self,
        event: _Event,
        source: dict[str, Any],
        values: tuple[Any, ...],
        plan: RowPlan,
        timestamp_ms: int,
        trace: dict[str, str],
    ) -> Change:
        op, at = OPS[event.op], source.get("ts_ms") or timestamp_ms
        if type(at) is not int or not 0 <= at < MAX_TIME:
            raise Undecodable("wrong_type", f"{plan.what}: `source.ts_ms` is no time in milliseconds")
        if self._is_snapshot(source.get("snapshot"), plan) and op == "c":
            op = "r"
        commit, lsn = self._position(source, plan)
        # Two reads of a snapshot can share a position and yet differ: their time tells them apart.
        occurrence = str(at) if op == "r" else ""
        version = f"{self._epoch}:{commit}:{lsn}"
        return plan.change(values, Envelope(op, (self._epoch, commit, lsn), at, version, occurrence, trace=trace))

    def _is_snapshot(self, flag: object, plan: RowPlan) -> bool:
        if type(flag) not in _FLAG_TYPES or flag not in _FLAGS:
            raise Undecodable("not_an_envelope", f"{plan.what}: `source.snapshot` is none of Debezium's words")
        return flag in SNAPSHOT

    def _position(self, source: dict[str, Any], plan: RowPlan) -> tuple[int, int]:
        sequence, lsn = source.get("sequence"), source.get("lsn")
        found = _SEQUENCE.fullmatch(sequence) if isinstance(sequence, str) else None
        first, second = found.groups() if found else (None, None)
        own = int(second) if second else lsn
        commit = int(first) if first else own
        own = commit if own is None else own
        if not _is_position(commit) or not _is_position(own):
            message = f"{plan.what}: neither `source.sequence` nor `source.lsn` gives a position"
            raise Undecodable("no_position", message)
        return commit, own


def _keys(event: _Event, source: dict[str, Any], values: tuple[Any, ...]) -> int:
    """How many keys were decoded of the envelope, its source block and the row."""
    return _ENVELOPE_KEYS - astuple(event).count(UNSET) + len(source) + len(values) - values.count(UNSET)


def _unread(event: _Event, row: Raw, values: tuple[Any, ...], plan: RowPlan) -> bytes:
    """The texts of what is never looked at: the other row, the transaction, and the columns that mean nothing."""
    other = event.after if row is event.before else event.before
    return b"".join([raw for raw in (other, event.transaction, *values[plan.first_ignored :]) if raw is not UNSET])


def _is_position(found: object) -> TypeGuard[int]:
    return type(found) is int and 0 <= found <= MAX_POSITION
