"""Records to produce: key, value and headers, from the words of a decision.

Headers are UTF-8 text: the CloudEvents binding for Kafka in binary mode (``ce_*``, ``content-type``) and W3C trace
context, passed through. Nothing here decides or routes: topics and partitions are the caller's.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from ownership_stream.matches import Sighting
from ownership_stream.model import Case, CaseEvent, Change, Outcome, RecordState, Send, Value
from ownership_stream.sources.mapping import Writer
from ownership_stream.wire.codec import JSON, Wire
from ownership_stream.wire.connect import with_schema
from ownership_stream.wire.records import CONNECTOR, Apply, Conflict, Link, Resolution, Source, Sync

SPEC_VERSION: Final = "1.0"
TYPES: Final = {
    "change": "ownership.change.v1",
    "apply": "ownership.apply.v1",
    "conflict": "ownership.conflict.v1",
    "resolution": "ownership.resolution.v1",
    "sighting": "ownership.sighting.v1",
    "link": "ownership.link.v1",
}
"""CloudEvents type of what stands on a topic."""

ERRORS: Final = "__ownership.errors."
"""What the headers begin with that a dead letter adds, in the style of Kafka Connect's ``__connect.errors.``."""
MAX_ERROR: Final = 500

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (UTC, written as `Z` and not as an offset)

_SPEC_HEADER: Final = ("ce_specversion", SPEC_VERSION.encode())
_TYPE_HEADERS: Final = {kind: ("ce_type", type_.encode()) for kind, type_ in TYPES.items()}

Headers = list[tuple[str, bytes]]


class Message(NamedTuple):
    """A record to produce, without its topic and partition."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Context(NamedTuple):
    """What every record about a decision says beside the decision: where it was made, and by which matrix."""

    change: Change
    mode: str
    revision: str
    systems: tuple[str, ...]


def change_message(change: Change, wire: Wire = JSON) -> Message:
    """A change for ``ownership.changes``, keyed by its record."""
    identity = f"{change.id}:{change.hops}" if change.hops else change.id
    return _message("change", identity, change.record, change, change, wire, at=change.at)


def sighting_message(sighting: Sighting, change: Change, wire: Wire = JSON) -> Message:
    """A sighting for ``ownership.matches``, keyed by its match key; ``change`` is the create that it is of."""
    identity = f"{change.id}:{sighting.key}"
    return _message("sighting", identity, sighting.key, sighting, change, wire, at=change.at)


def link_message(link: Link, change: Change, wire: Wire = JSON) -> Message:
    """A link for ``ownership.links``, keyed by the record that is another's; ``change`` is what it follows from."""
    return _message("link", f"{change.id}:{link.key}:linked", link.key, link, change, wire, at=link.at)


def held_by(state: RecordState, system: str) -> dict[str, Value]:
    """Field -> what a system holds as far as is known: what was sent last and is outstanding, else what it shows."""
    known = state.systems.get(system)
    if known is None:
        return {}
    outstanding = {field: sent[-1].value for field, sent in known.outstanding.items() if sent}
    return known.shown.copy() | outstanding


def apply_record(
    writer: Writer,
    send: Send,
    change: Change,
    *,
    rules: Iterable[str],
    revision: str,
    at: int,
    wire: Wire = JSON,
    held: Mapping[str, Value] | None = None,
) -> Message:
    """What a system is to write, for its apply topic, keyed by the system's own key, or by the link of a row to make.

    ``writer`` is the reverse of the system's mapping, ``change`` what the send follows from, ``rules`` those of the
    sent fields, ``at`` the broker's time of the change. ``wire`` is the system's own, as its mapping says (``apply
    as``). ``held`` is field -> what the system holds already, for a wire of whole rows. Raises ``KeyError`` for a field
    without column in that system.
    """
    created = send.kind == "create"
    key = writer.link_to(change.record) if created else writer.key(send.key)
    others: dict[str, Any] = {}
    if wire.whole_rows(send.system):
        for field in sorted(writer.shared - send.values.keys()):
            others |= writer.columns(field, (held or {}).get(field))
    columns: dict[str, Any] = {}
    for field, value in sorted(send.values.items()):
        columns |= writer.columns(field, value)
    marker = {writer.marker: change.id} if writer.marker else {}
    record = Apply(
        after=others | key | columns | marker,
        source=Source(
            name="ownership", ts_ms=change.at, db=send.system, schema=writer.schema or send.system, table=writer.table
        ),
        op="c" if created else "u",
        ts_ms=at,
        sync=Sync(
            change_id=change.id,
            record_id=change.record,
            version=send.version,
            expected_version=send.expected_version,
            source_system=change.system,
            source_version=change.source_version,
            changed_fields=tuple(columns),
            actor=send.actor,
            role=send.role,
            reason=send.reason,
            rule=", ".join(dict.fromkeys(rules)),
            matrix_revision=revision,
            kind=send.kind,
        ),
    )
    encoded = wire.encode_key(key, send.system)
    message = _message("apply", f"{change.id}:{send.system}", encoded, record, change, wire, at=at)
    if writer.form != "json with schema":
        return message
    key_with, value_with = with_schema(
        writer, message.key or b"", message.value or b"", tuple(record.after), keys=tuple(key)
    )
    return message._replace(key=key_with, value=value_with)


def conflict_record(
    context: Context,
    outcome: Outcome,
    *,
    label: str,
    sentence: str,
    advice: str = "",
    proposed: Value = None,
    current: Value = None,
    current_version: int = 0,
    case: Case | None = None,
    again: bool = False,
    wire: Wire = JSON,
) -> Message:
    """A write that was rejected or queued, for ``ownership.conflicts``; ``case`` is the one it opened or joined.

    ``again``: it had waited in a case, and was decided once more.
    """
    change = context.change
    record = Conflict(
        event="decided",
        field=outcome.field,
        label=label,
        outcome=outcome.outcome,
        reason=outcome.reason,
        sentence=sentence,
        advice=advice,
        rule=outcome.rule,
        grant=outcome.grant,
        stage=outcome.stage,
        unseen=outcome.unseen,
        request=outcome.request,
        proposed=proposed,
        current=current,
        current_version=current_version,
        **_about(context, case),
    )
    identity = f"{change.id}:{outcome.field}{':request' if outcome.request else ''}{':again' if again else ''}"
    return _message("conflict", identity, change.record, record, change, wire, at=change.received)


def case_record(
    context: Context,
    event: CaseEvent,
    *,
    label: str,
    sentence: str,
    advice: str = "",
    current: Value = None,
    current_version: int = 0,
    assigned: str | None = None,
    number: int = 0,
    wire: Wire = JSON,
) -> Message:
    """What happened to a case, for ``ownership.conflicts``; proposed is what waits in it last.

    ``assigned``: who was asked to look after it. ``number``: how many events of the same word and field the change
    has had before: the record itself can have several cases.
    """
    case, change = event.case, context.change
    waiting = case.proposals[-1] if case.proposals else None
    record = Conflict(
        event=event.event,
        field=case.field,
        label=label,
        outcome="queued",
        reason=case.reason,
        sentence=sentence,
        advice=advice,
        request=waiting.request if waiting else False,
        proposed=waiting.value if waiting else None,
        current=current,
        current_version=current_version,
        assigned=assigned,
        **_about(context, case),
    )
    identity = _numbered(f"{change.id}:{case.field}:{event.event}", number)
    return _message("conflict", identity, change.record, record, change, wire, at=change.received)


def resolution_record(context: Context, record: Resolution, wire: Wire = JSON, *, number: int = 0) -> Message:
    """How a conflict ended, for ``ownership.resolutions``, keyed by the record; ``number`` as of a case."""
    identity = _numbered(f"{record.change_id}:{record.field}:resolved:{record.outcome}", number)
    return _message("resolution", identity, record.record, record, context.change, wire, at=record.at)


def _numbered(identity: str, number: int) -> str:
    """The first of its kind is named without a number."""
    return f"{identity}:{number}" if number else identity


def dead_letter(
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    topic: str,
    partition: int,
    offset: int,
    stage: str,
    reason: str,
    error: str,
    message: str,
) -> Message:
    """A record that could not be used: its own bytes, key and headers, and headers that say where and why.

    ``reason`` is from a closed list, ``error`` the class of the exception; ``message`` must hold no value of a patient.
    Error headers of an earlier burial are replaced.
    """
    kept = [(name, found) for name, found in headers if not name.startswith(ERRORS)]
    told = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "stage": stage,
        "reason": reason,
        "exception.class.name": error,
        "exception.message": message[:MAX_ERROR],
    }
    return Message(key, value, kept + [(ERRORS + name, text.encode("utf-8", "replace")) for name, text in told.items()])


def _about(context: Context, case: Case | None) -> dict[str, Any]:
    """What every conflict record says of its change and its case."""
    change = context.change
    return {
        "record": change.record,
        "at": change.at,
        "received": change.received,
        "system": change.system,
        "systems": context.systems,
        "actor": change.actor,
        "role": change.role,
        "origin": change.origin,
        "change_id": change.id,
        "case_id": case.id if case else None,
        "owner": case.owner if case else None,
        "opened": case.opened if case else None,
        "due": case.due if case else None,
        "mode": context.mode,
        "revision": context.revision,
    }


def _message(
    kind: str,
    identity: str,
    key: str | bytes,
    record: msgspec.Struct,
    change: Change,
    wire: Wire,
    *,
    at: int,
) -> Message:
    text = key.encode() if isinstance(key, str) else key
    headers = [
        _SPEC_HEADER,
        ("ce_id", identity.encode()),
        _TYPE_HEADERS[kind],
        _source_header(change.row.partition("/")[0] or change.kind),
        ("ce_subject", change.record.encode()),
        ("ce_time", rfc3339(at).encode()),
        ("content-type", wire.content_type.encode()),
    ]
    if change.trace:
        headers += [(name, found.encode()) for name, found in sorted(change.trace.items())]
    return Message(text, wire.encode(record), headers)


@lru_cache(maxsize=64)
def _source_header(word: str) -> tuple[str, bytes]:
    """Kept, since there are few sources."""
    return "ce_source", f"/{CONNECTOR}/{word}".encode()


def rfc3339(at: int) -> str:
    """Milliseconds since 1970 as RFC 3339 writes them: ``2026-01-01T10:00:00.123Z``."""
    return f"{_to_the_second(at // 1000)}.{at % 1000:03}Z"


@lru_cache(maxsize=256)
def _to_the_second(seconds: int) -> str:
    """Kept, since the records of a batch are of few seconds."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()
