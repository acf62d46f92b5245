"""Our own JSON for row events: for a source that has no connector, and for tests of a mapping.

One object for each row event::

    {"table": "contact", "op": "u", "at": 1767261600123, "version": [12, 3],
     "row": {"contact_id": "7", "email": "a@b.example"},
     "actor": "user/7", "role": "support", "origin": "person", "reason": null, "base_version": 41, "marker": null,
     "evidence": {"contact_preference": {"by": "patient", "at": 1767261600000}}}

``row`` carries the key and the columns that changed; a column that is not in it was not carried. ``version`` is a whole
number or a list of them, growing with each change of a row; without one the event needs an ``id`` of its own, by which
repeats are known. Everything from ``actor`` on may be left out.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ownership_stream.identity import BadId, checked
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Evidence, Op, Origin
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
from ownership_stream.sources.result import IGNORE, Decoded, Undecodable
from ownership_stream.sources.rows import Envelope, RowPlan, plan_of

MAX_NUMBER: Final = 2**63 - 1
MAX_PARTS: Final = 8
MAX_TIME: Final = 4_133_980_800_000
MAX_TEXT: Final = 4096


class EventEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who vouches for a value, and the thing's own time in milliseconds."""

    by: str | None = None
    at: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row event."""

    table: Annotated[str, Meta(description="a table of the source mapping")]
    row: Annotated[
        dict[str, str | int | float | bool | None],
        Meta(description="the key's columns and those that changed; one that is not here was not carried"),
    ]
    at: Annotated[int, Meta(description="when it happened, milliseconds since 1970, UTC")]
    op: Annotated[Op, Meta(description="created, updated, deleted, or read without a change")] = "u"
    id: Annotated[str | None, Meta(description="the event's own id, needed where there is no version")] = None
    version: Annotated[
        int | list[int] | None, Meta(description="grows with each change of a row: a number, or up to eight")
    ] = None
    actor: Annotated[str | None, Meta(description="who wrote, as the mapping's actors know them")] = None
    role: Annotated[str | None, Meta(description="a role of the matrix, where the event itself knows it")] = None
    origin: Annotated[Origin | None, Meta(description="whether a person wrote; without one the mapping knows")] = None
    reason: Annotated[str | None, Meta(description="the override reason that came with the write")] = None
    base_version: Annotated[int | None, Meta(description="the record version that the writer had seen")] = None
    marker: Annotated[str | None, Meta(description="our change id, where the source gives it back")] = None
    evidence: Annotated[dict[str, EventEvidence], Meta(description="field: who vouches for its value, and when")] = {}


def event_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a row event, for whoever writes them; a mapping says more of tables and columns."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Row event",
        **msgspec.json.schema(Event),
    }


class CanonicalDecoder:
    """Decodes the topics of one source that writes this form; may be shared by threads."""

    def __init__(self, mapping: Mapping, matrix: Matrix, epoch: int) -> None:
        self._mapping, self._matrix, self._epoch = mapping, matrix, epoch
        self._plans = {name: RowPlan(table, mapping, matrix) for name, table in mapping.tables.items()}
        self._json = msgspec.json.Decoder().decode
        self._what = f"source `{mapping.source}`"

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """One record of a source topic; raises ``Undecodable``."""
        del topic, key, timestamp_ms  # the event says whose row it is, and when
        if value is None or is_tombstone(value):
            return IGNORE["tombstone"]
        raw = decoded(self._json, value, self._what)
        refuse_duplicates(value, keys_in(raw), self._what)
        event = self._event(raw)
        plan = plan_of(self._plans, event.table, self._mapping, self._what)
        if plan is None:
            return IGNORE["table"]
        row = {name: value for name, value in event.row.items() if not plan.table.ignores(name)}
        values = plan.values(row)
        return Decoded((plan.change(values, self._envelope(event, plan, traced(headers))),))

    def _event(self, raw: object) -> Event:
        try:
            event = msgspec.convert(raw, Event)
        except msgspec.ValidationError as error:
            found = mistyped(error, self._what)
            message = found.message.replace("unknown column", "unknown key").replace(", column", ", key")
            raise Undecodable("not_an_envelope", message) from None
        texts = (
            event.actor,
            event.role,
            event.reason,
            event.marker,
            *(found.by for found in event.evidence.values()),
        )
        if any(len(text or "") > MAX_TEXT for text in texts):
            raise Undecodable("not_canonical", f"{self._what}: a text longer than {MAX_TEXT} characters beside the row")
        times = (event.at, *(found.at or 0 for found in event.evidence.values()))
        if not all(0 <= at < MAX_TIME for at in times) or not 0 <= (event.base_version or 0) <= MAX_NUMBER:
            raise Undecodable("wrong_type", f"{self._what}: a time or a base version that cannot be one")
        return event

    def _envelope(self, event: Event, plan: RowPlan, trace: dict[str, str]) -> Envelope:
        version = [event.version] if isinstance(event.version, int) else event.version or []
        if len(version) > MAX_PARTS or not all(0 <= part <= MAX_NUMBER for part in version):
            raise Undecodable(
                "no_position",
                f"{plan.what}: `version` is no list of at most {MAX_PARTS} whole numbers from 0 on",
            )
        if not version and event.id is None:
            raise Undecodable("no_position", f"{plan.what}: neither `version` nor `id` is given")
        unknown = [name for name in event.evidence if name not in self._matrix.fields]
        if unknown:
            raise Undecodable("unknown_column", f"{plan.what}: evidence for an unknown field {named(unknown[0])}")
        if event.role is not None and event.role not in self._matrix.roles:
            raise Undecodable("not_an_envelope", f"{plan.what}: unknown role {named(event.role)}")
        return Envelope(
            op=event.op,
            position=(self._epoch, *version) if version else None,
            at=event.at,
            version=":".join(map(str, (self._epoch, *version))) if version else "",
            occurrence=self._id(event, plan),
            actor=event.actor,
            role=event.role,
            origin="automation" if event.origin is None and event.role is not None else event.origin,
            reason=(event.reason or "").strip() or None,
            base=event.base_version,
            marker=event.marker,
            evidence={name: Evidence(found.by, found.at) for name, found in event.evidence.items()},
            trace=trace,
        )

    def _id(self, event: Event, plan: RowPlan) -> str:
        """The event's own id: part of the change's id, which other sources must not be able to choose."""
        try:
            return "" if event.id is None else f"#{checked(event.id)}"
        except BadId as error:
            raise Undecodable("bad_key", f"{plan.what}: `id` is {error}") from None
