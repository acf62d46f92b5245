"""Salesforce Change Data Capture in the shape of a Kafka Connect source (JSON), as changes.

An event says in ``changedFields`` and ``nulledFields`` which columns it is about; on an update every other null in it
only means "not changed". Position: (source epoch, commit number, sequence number). The writer is the header's
``commitUser``, so it came with the event itself. Format: Salesforce, "Change Data Capture Developer Guide";
docs/sources.md.
"""

import re
from typing import Any, Final

import msgspec

from ownership_stream.identity import BadId, checked, salesforce_id
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Op, Origin
from ownership_stream.sources.guard import (
    Headers,
    decoded,
    is_tombstone,
    keys_in,
    mistyped,
    named,
    refuse_duplicates,
    traced,
)
from ownership_stream.sources.mapping import Mapping
from ownership_stream.sources.result import IGNORE, Decoded, NeedsReread, Undecodable
from ownership_stream.sources.rows import Envelope, RowPlan, plan_of

OPS: Final[dict[str, Op]] = {"CREATE": "c", "UPDATE": "u", "DELETE": "d", "UNDELETE": "c", "SNAPSHOT": "r"}
HEADER: Final = "ChangeEventHeader"
ABOUT: Final = frozenset({HEADER, "Id", "ReplayId", "_ObjectType", "_EventType"})
"""Keys of an event that are no columns."""

MAX_RECORDS: Final = 1000
MAX_NUMBER: Final = 2**63 - 1
MAX_TIME: Final = 4_133_980_800_000
GAPS: Final = frozenset({"GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW"})
_WILDCARD: Final = "*"
_CLIENT: Final = re.compile(r"(?:^|;)client=(?P<client>[^;]{1,100})")
_BITMAP: Final = re.compile(r"(?:\d+-)?0x[0-9A-Fa-f]*")


class _Header(msgspec.Struct, frozen=True, rename="camel"):
    """``ChangeEventHeader``."""

    entity_name: str
    change_type: str
    commit_number: int
    sequence_number: int
    commit_timestamp: int
    record_ids: list[str] = []
    commit_user: str | None = None
    change_origin: str | None = None
    changed_fields: list[str] | None = None
    nulled_fields: list[str] | None = None
    diff_fields: list[str] | None = None


class SalesforceDecoder:
    """Decodes the change event topics of one Salesforce organisation; may be shared by threads."""

    def __init__(self, mapping: Mapping, matrix: Matrix, epoch: int) -> None:
        self._mapping, self._epoch = mapping, epoch
        self._plans = {name: RowPlan(table, mapping, matrix) for name, table in mapping.tables.items()}
        self._json = msgspec.json.Decoder().decode
        self._what = f"source `{mapping.source}`"

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a change event topic; raises ``Undecodable``."""
        del topic, key, timestamp_ms  # the header says whose row it is, and when
        if value is None or is_tombstone(value):
            return IGNORE["tombstone"]
        event = decoded(self._json, value, self._what)
        refuse_duplicates(value, keys_in(event), self._what)
        if isinstance(event, dict) and event.keys() <= {"schema", "payload"}:
            event = event.get("payload")
            if event is None:
                return IGNORE["tombstone"]
        if not isinstance(event, dict) or not isinstance(event.get(HEADER), dict):
            raise Undecodable("not_an_envelope", f"{self._what}: not a change event of Salesforce (`{HEADER}`)")
        return self._event(event, self._header(event[HEADER]), traced(headers))

    def _header(self, raw: dict[str, Any]) -> _Header:
        try:
            header = msgspec.convert(raw, _Header)
        except msgspec.ValidationError as error:
            found = mistyped(error, f"{self._what}: `{HEADER}`")
            raise Undecodable("not_an_envelope", found.message) from None
        numbers = (header.commit_number, header.sequence_number)
        if not all(0 <= number <= MAX_NUMBER for number in numbers):
            raise Undecodable("no_position", f"{self._what}: `commitNumber` and `sequenceNumber` give no position")
        if not 0 < header.commit_timestamp < MAX_TIME:
            raise Undecodable("wrong_type", f"{self._what}: `commitTimestamp` is no time in milliseconds")
        return header

    def _event(self, event: dict[str, Any], header: _Header, trace: dict[str, str]) -> Decoded:
        entity = header.entity_name
        plan = plan_of(self._plans, entity, self._mapping, self._what)
        if plan is None:
            return IGNORE["table"]
        keys = self._keys(header, plan)
        if header.change_type not in OPS:
            raise Undecodable("not_an_envelope", f"{plan.what}: `changeType` is none of Salesforce's words")
        op = OPS[header.change_type]
        row = {} if op == "d" else self._row(event, header, plan, keys)
        values = plan.values(row)
        version = f"{self._epoch}:{header.commit_number}:{header.sequence_number}"
        position = (self._epoch, header.commit_number, header.sequence_number)
        client = _client(header)
        ours = client is not None and client == self._mapping.own_client
        # Whatever account our own writer uses: what it writes is no person's word.
        origin: Origin | None = "automation" if ours else None
        actor = f"client:{client}" if ours else header.commit_user
        envelope = Envelope(op, position, header.commit_timestamp, version, actor=actor, origin=origin, trace=trace)
        return Decoded(tuple(plan.change(values, envelope, key) for key in keys))

    def _keys(self, header: _Header, plan: RowPlan) -> tuple[str, ...]:
        """The ids of the rows that the event is about, each once."""
        ids = dict.fromkeys([salesforce_id(found) for found in header.record_ids])
        if header.change_type in GAPS:
            message = f"{plan.what}: `{header.change_type}` says that something changed, not what: read it again"
            raise NeedsReread(message, plan.table.name, tuple([found for found in ids if _WILDCARD not in found]))
        if not ids:
            raise Undecodable("missing_key", f"{plan.what}: `recordIds` is empty")
        if len(ids) > MAX_RECORDS:
            raise Undecodable("bad_key", f"{plan.what}: more than {MAX_RECORDS} `recordIds`")
        if _WILDCARD in "".join(ids):
            raise NeedsReread(f"{plan.what}: `recordIds` holds a wildcard: read the records again", plan.table.name)
        try:
            return tuple([checked(found) for found in ids])
        except BadId as error:
            raise Undecodable("bad_key", f"{plan.what}: `recordIds` holds {error}") from None

    def _row(self, event: dict[str, Any], header: _Header, plan: RowPlan, keys: tuple[str, ...]) -> dict[str, Any]:
        """Column -> raw value of what the event is about, each column mapped."""
        body = _flat(event)
        if header.change_type != "UPDATE":
            # What a connector adds as null for columns that nobody mapped says nothing; a value there does.
            return {
                name: value
                for name, value in body.items()
                if (name in plan.index or value is not None) and _is_mapped(name, plan)
            }
        changed, nulled = header.changed_fields or [], header.nulled_fields or []
        for name in (*changed, *nulled, *(header.diff_fields or ())):
            if name not in plan.index and _BITMAP.fullmatch(name):
                advice = "use a connector that writes names, or let it expand them"
                raise Undecodable(
                    "unsupported", f"{plan.what}: the changed fields are bitmaps of the Pub/Sub API: {advice}"
                )
        for name in header.diff_fields or ():
            if _is_mapped(name, plan):
                message = f"{plan.what}, column `{name}`: the event carries a difference, not the value: read it again"
                raise NeedsReread(message, plan.table.name, keys)
        row: dict[str, Any] = {}
        inner = [column for column in body if "." in column]
        for name in changed:
            row |= _named_columns(name, body, inner, plan)
        for name in nulled:
            row |= _named_columns(name, {name: None}, [], plan)
        return row


def _flat(event: dict[str, Any]) -> dict[str, Any]:
    """The columns of an event; those of a compound one (a name, an address) as ``MailingAddress.City``."""
    found: dict[str, Any] = {}
    for name, value in event.items():
        if name in ABOUT:
            continue
        if isinstance(value, dict):
            found |= {f"{name}.{part}": inner for part, inner in value.items()}
        else:
            found[name] = value
    return found


def _named_columns(name: str, body: dict[str, Any], inner: list[str], plan: RowPlan) -> dict[str, Any]:
    """The mapped columns that a changed name stands for; a compound one stands for all of its own that are carried.

    ``inner`` are the columns of compound ones in ``body``.
    """
    beginning = f"{name}."
    own = [column for column in inner if column.startswith(beginning)]
    if own:
        return {column: body[column] for column in own if _is_mapped(column, plan)}
    if body.get(name) is None:
        cleared = [column for column in plan.index if column.startswith(beginning)]
        if cleared:
            return dict.fromkeys(cleared)
    if not _is_mapped(name, plan):
        return {}
    if name not in body:
        raise Undecodable("not_an_envelope", f"{plan.what}: `{name}` is said to be changed and is not in the event")
    return {name: body[name]}


def _is_mapped(name: str, plan: RowPlan) -> bool:
    """Whether a column is mapped; raises ``Undecodable`` if it is not ignored either."""
    if plan.index.get(name, plan.first_ignored) < plan.first_ignored:
        return True
    if not plan.table.ignores(name):
        raise Undecodable("unknown_column", f"{plan.what}: unknown column {named(name)}")
    return False


def _client(header: _Header) -> str | None:
    found = _CLIENT.search(header.change_origin or "")
    return found["client"] if found else None
