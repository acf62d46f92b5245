"""Bytes <-> words: what stands on each topic of ours, with its key and headers.

- ``records.py`` the shapes of apply, conflict and resolution records;
- ``connect.py`` apply records with Kafka Connect's schema in them;
- ``codec.py`` words to bytes and back (``Wire``, JSON), and packed states; ``sealed.py`` states opened where needed;
- ``framing.py`` which schema a record was written with, ``avro.py`` bodies, ``registry.py`` where schemas come from,
  ``schemas.py`` those of our own, ``avro_wire.py`` words in Avro, ``framed.py`` source records in Avro;
- ``messages.py`` records to produce: ``change_message``, ``apply_record``, ``conflict_record``, ``case_record``,
  ``resolution_record``, ``dead_letter``.
"""

from ownership_stream.wire.codec import JSON, JsonWire, Wire, WireError, open_state, pack_state, unpack_state
from ownership_stream.wire.messages import (
    ERRORS,
    Context,
    Message,
    apply_record,
    case_record,
    change_message,
    conflict_record,
    dead_letter,
    held_by,
    link_message,
    resolution_record,
    rfc3339,
    sighting_message,
)
from ownership_stream.wire.records import Apply, Conflict, Link, Resolution, Source, Sync

__all__ = [
    "ERRORS",
    "JSON",
    "Apply",
    "Conflict",
    "Context",
    "JsonWire",
    "Link",
    "Message",
    "Resolution",
    "Source",
    "Sync",
    "Wire",
    "WireError",
    "apply_record",
    "case_record",
    "change_message",
    "conflict_record",
    "dead_letter",
    "held_by",
    "link_message",
    "open_state",
    "pack_state",
    "resolution_record",
    "rfc3339",
    "sighting_message",
    "unpack_state",
]
