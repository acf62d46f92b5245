"""What decoding a source's record can end in: changes, nothing by design, or one declared error.

The reason codes are closed, because they become metric labels and headers. Knows no connector.
"""

from typing import Final

import msgspec

from ownership_stream.model import Change

REASONS: Final[dict[str, str]] = {
    "not_json": "the bytes are no UTF-8, or no JSON",
    "not_an_envelope": "JSON, but not the shape that the connector writes",
    "unsupported": "a form of the connector that is not read: the message names the setting to change",
    "not_avro": "the bytes are no Avro of the schema that they name",
    "unknown_schema": "the schema registry does not have the schema that the record names",
    "duplicate_key": "an object holds the same key twice, so that which value is meant cannot be known",
    "too_deep": "nested more deeply than any row is",
    "unknown_table": "a table that the source mapping does not have",
    "unknown_column": "a column that the source mapping neither maps nor ignores: renamed or new",
    "wrong_type": "a value of another type than the source mapping declares for its column",
    "not_canonical": "a value that has no canonical form for its field: outside its years, too long, no choice of it",
    "missing_key": "the row's key is not there, or is null",
    "bad_key": "the row's key, or the record id in it, cannot serve as one",
    "no_record": "the event does not say whose record it is",
    "no_position": "the event does not say where it stands in the source's order",
    "needs_reread": "the event says that something changed, but not what: the record must be read again",
}
"""Every reason of a dead letter that decoding gives, with its meaning."""

IGNORED: Final[dict[str, str]] = {
    "tombstone": "a null value: a marker for compaction, not an edit",
    "heartbeat": "a heartbeat of the connector",
    "transaction": "the beginning or end of a source transaction",
    "truncate": "a table was emptied: it names no rows",
    "moved": "the delete of a row that goes on under another key: its record is known by a link, and stays",
    "message": "a logical decoding message, which is no row",
    "table": "a table that the source mapping ignores",
}
"""Why a record can rightly lead to no change; each is counted."""


class Undecodable(Exception):  # noqa: N818 (it names the state of the record; nothing of ours has failed)
    """A source record that cannot become a change; it goes to the dead letters with its original bytes.

    ``reason`` is a key of ``REASONS``. ``message`` names table, column and kind of mistake, never a value of the row.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NeedsReread(Undecodable):
    """The event names records (``keys``; none: all of ``table``) whose new values it does not carry."""

    def __init__(self, message: str, table: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__("needs_reread", message)
        self.table = table
        self.keys = keys


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """What a record became: ``changes``, or none and in ``ignored`` the reason, a key of ``IGNORED``."""

    changes: tuple[Change, ...] = ()
    ignored: str = ""


IGNORE: Final = {reason: Decoded(ignored=reason) for reason in IGNORED}
"""The answers that carry no change, made once."""
