"""Salesforce Change Data Capture in the shape of a Kafka Connect source (JSON), as changes.

An event says in ``changedFields`` and ``nulledFields`` which columns it is about; on an update every other null in it
only means "not changed". Where it does not say what changed (gaps, differences), the change is that somebody reads the
record again. Position: (source epoch, commit number, sequence number). The writer is the header's
``commitUser``, so it came with the event itself. Format: Salesforce, "Change Data Capture Developer Guide";
docs/sources/salesforce.md.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ownership_stream.identity import BadId, checked, salesforce_id
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Op, Origin
from ownership_stream.sources.compound import Compounds
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

OPS: Final[dict[str, Op]] = {
    "CREATE": "c",
    "UPDATE": "u",
    "DELETE": "d",
    "UNDELETE": "c",
    "SNAPSHOT": "r",
    # A record that is deleted has no values to be read.
    "GAP_DELETE": "d",
}
HEADER: Final = "ChangeEventHeader"
ABOUT: Final = frozenset({HEADER, "Id", "ReplayId", "_ObjectType", "_EventType"})
"""Keys of an event that are no columns."""

MAX_RECORDS: Final = 1000
MAX_NUMBER: Final = 2**63 - 1
MAX_TIME: Final = 4_133_980_800_000
GAPS: Final = frozenset({"GAP_CREATE", "GAP_UPDATE", "GAP_UNDELETE", "GAP_OVERFLOW"})
"""Events that say that something changed, and not what."""
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
        self._compounds = {name: Compounds(table.known()) for name, table in mapping.tables.items()}
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
        header, trace = self._header(event[HEADER]), traced(headers)
        try:
            return self._event(event, header, trace)
        except NeedsReread as error:
            plan = self._plans[error.table]
            if not error.keys or not plan.table.primary:
                raise
            envelope = self._envelope(header, trace)
            return Decoded(tuple([plan.reread(envelope, key) for key in error.keys]))

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
        row = {} if OPS[header.change_type] == "d" else self._row(event, header, plan, keys)
        values = plan.values(row)
        envelope = self._envelope(header, trace)
        return Decoded(tuple([plan.change(values, envelope, key) for key in keys]))

    def _envelope(self, header: _Header, trace: dict[str, str]) -> Envelope:
        """What an event says beside its rows; of a gap, that its rows changed somehow."""
        version = f"{self._epoch}:{header.commit_number}:{header.sequence_number}"
        position = (self._epoch, header.commit_number, header.sequence_number)
        client = _client(header)
        ours = client is not None and client == self._mapping.own_client
        # Whatever account our own writer uses: what it writes is no person's word.
        origin: Origin | None = "automation" if ours else None
        actor = f"client:{client}" if ours else header.commit_user
        op = OPS.get(header.change_type, "u")
        return Envelope(op, position, header.commit_timestamp, version, actor=actor, origin=origin, trace=trace)

    def _keys(self, header: _Header, plan: RowPlan) -> tuple[str, ...]:
        """The ids of the rows that the event is about, each once."""
        ids = dict.fromkeys([salesforce_id(found) for found in header.record_ids])
        if header.change_type in GAPS:
            message = f"{plan.what}: `{header.change_type}` says that something changed, not what: read it again"
            whole = header.change_type == "GAP_OVERFLOW" or any(_WILDCARD in found for found in ids)
            raise NeedsReread(message, plan.table.name, () if whole else self._checked(ids, plan))
        if not ids:
            raise Undecodable("missing_key", f"{plan.what}: `recordIds` is empty")
        if len(ids) > MAX_RECORDS:
            raise Undecodable("bad_key", f"{plan.what}: more than {MAX_RECORDS} `recordIds`")
        if _WILDCARD in "".join(ids):
            raise NeedsReread(f"{plan.what}: `recordIds` holds a wildcard: read the records again", plan.table.name)
        return self._checked(ids, plan)

    def _checked(self, ids: Iterable[str], plan: RowPlan) -> tuple[str, ...]:
        try:
            return tuple([checked(found) for found in ids])
        except BadId as error:
            raise Undecodable("bad_key", f"{plan.what}: `recordIds` holds {error}") from None

    def _row(self, event: dict[str, Any], header: _Header, plan: RowPlan, keys: tuple[str, ...]) -> dict[str, Any]:
        """Column -> raw value of what the event is about, each column mapped."""
        body = {name: value for name, value in event.items() if name not in ABOUT}
        if header.change_type != "UPDATE":
            return self._whole(body, plan)
        changed, nulled, diffs = header.changed_fields or [], header.nulled_fields or [], header.diff_fields or []
        compounds = self._compounds[plan.table.name]
        for name in (*changed, *nulled, *diffs):
            if name not in plan.index and _BITMAP.fullmatch(name):
                advice = "use a connector that writes names, or let it expand them"
                raise Undecodable(
                    "unsupported", f"{plan.what}: the changed fields are bitmaps of the Pub/Sub API: {advice}"
                )
        for name in diffs:
            if _is_mapped(compounds.column(name), plan):
                message = f"{plan.what}, column `{name}`: the event carries a difference, not the value: read it again"
                raise NeedsReread(message, plan.table.name, keys)
        named = _Named(body, plan, compounds, keys)
        row: dict[str, Any] = {}
        for name in nulled:
            row |= dict.fromkeys(compounds.parts(name)) or named.column(name, nulled=True)
        for name in changed:
            row |= named.compound(name, row) if compounds.parts(name) else named.column(name)
        return row

    def _whole(self, body: dict[str, Any], plan: RowPlan) -> dict[str, Any]:
        """All that an event carries which is no update."""
        compounds = self._compounds[plan.table.name]
        flat = compounds.flat(body)
        # A compound field that is null holds nothing.
        for name in [name for name, value in body.items() if value is None]:
            flat = dict.fromkeys(compounds.parts(name)) | flat
        # What a connector adds as null for columns that nobody mapped says nothing; a value there does.
        return {
            name: value
            for name, value in flat.items()
            if (name in plan.index or value is not None) and _is_mapped(name, plan)
        }


class _Named:
    """What an update says of the columns that it names."""

    def __init__(self, body: dict[str, Any], plan: RowPlan, compounds: Compounds, keys: tuple[str, ...]) -> None:
        self._body, self._flat = body, compounds.flat(body)
        self._plan, self._compounds, self._keys = plan, compounds, keys

    def column(self, name: str, *, nulled: bool = False) -> dict[str, Any]:
        """One column, if it is mapped: `LastName`, or a part of a compound field, `Name.LastName`."""
        column = self._compounds.column(name)
        if not _is_mapped(column, self._plan):
            return {}
        if nulled:
            return {column: None}
        compound = name.partition(".")[0]
        within = self._compounds.nested(compound, self._body.get(compound)) if compound != name else {}
        found = within if column in within else self._body if column in self._body else self._flat
        if column not in found and (compound == name or self._body.get(compound, self) is not None):
            said = f"`{name}` is said to be changed and is not in the event"
            raise Undecodable("not_an_envelope", f"{self._plan.what}: {said}")
        return {column: found.get(column)}

    def compound(self, name: str, nulled: dict[str, Any]) -> dict[str, Any]:
        """The mapped columns of a compound field that is named as a whole; ``nulled`` are those known to be null.

        A null beside a value would be either cleared or not changed, and is not guessed.
        """
        parts, whole = self._compounds.parts(name), self._body.get(name)
        if not isinstance(whole, dict):
            # Where the connector writes the columns flat, each is named by itself.
            flat = whole is not None or name not in self._body or any(part in self._body for part in parts)
            return self.column(name) if flat else dict.fromkeys(parts)
        nested = self._compounds.nested(name, whole)
        found = {part: nested[part] for part in parts if part in nested and part not in nulled}
        unclear = [part for part, value in found.items() if value is None]
        if unclear:
            message = f"{self._plan.what}: not said which parts of `{name}` changed, and `{unclear[0]}` is null there"
            raise NeedsReread(f"{message}: read it again", self._plan.table.name, self._keys)
        return found


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
