"""Ids: of a change, of a source row, of a record, and which partition a record lives in.

All pure and frozen: the same coordinates give the same id in every release and on every worker, because ids stand in
topics that outlive both. Knows no connector and no Kafka client. Links between records that become known later, and
merges, are decided on records that already have their ids from here.
"""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID
from zlib import crc32

NAMESPACE: Final = UUID("6f0a3a52-5d0e-5c43-9f0b-6f1a2f0f7a11")
"""Namespace of change ids (RFC 9562, version 5). Never changed: a duplicate must get the id it got before."""

MAX_ID: Final = 256
"""Characters of a record id or row key: they are Kafka keys, Redis keys and header values."""

RESERVED: Final = "__"
"""What our own records on the state topic begin with (``__lane``): no record id does."""

_SALESFORCE_SHORT: Final = 15
_SUFFIX: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_VARIANT: Final = "89ab"
_NAMESPACE: Final = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)


class BadId(ValueError):  # noqa: N818 (it names the state of the id; nothing of ours has failed)
    """A text that cannot serve as an id; the message says why, without the text."""


def change_id(coordinates: str) -> str:
    """UUIDv5 of a change's coordinates in its source: source, table, row key, position, operation.

    Never of a Kafka offset: a connector that restarts writes the same change again at another one.
    """
    digested = _NAMESPACE.copy()
    digested.update(coordinates.encode())
    digest = digested.hexdigest()
    variant = _VARIANT[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def row_key(parts: Sequence[str]) -> str:
    """The key of a row as one text: its columns' values with commas between, ``%`` and ``,`` within them escaped.

    Raises ``BadId``.
    """
    if len(parts) == 1:
        return checked(parts[0])
    return checked(",".join(part.replace("%", "%25").replace(",", "%2C") for part in parts))


def key_parts(key: str, columns: int) -> list[str]:
    """The values that ``row_key`` made into one text; raises ``BadId`` for another number of columns."""
    if columns == 1:
        return [key]
    parts = [part.replace("%2C", ",").replace("%25", "%") for part in key.split(",")]
    if len(parts) != columns:
        raise BadId(f"a key of {len(parts)} columns where {columns} are due")
    return parts


def row_name(source: str, table: str, key: str) -> str:
    """The unit that a connector orders: ``<source>/<table>/<row key>``."""
    return f"{source}/{table}/{key}"


def record_id(shared: str | None, otherwise: str | None) -> str | None:
    """Whose record a row is: the shared id in its link column if it carries one, else its own default id.

    The CRM's native key is the record id; an EHR row names it in a column, and is ``ehr:<key>`` until it does. A blank
    link is none. ``None`` where neither is known. Raises ``BadId``.
    """
    chosen = (shared or "").strip() or otherwise
    return None if chosen is None else checked(chosen)


def partition_of(record: str, partitions: int) -> int:
    """The partition of a record on every topic of ours: CRC-32 of its UTF-8 bytes, modulo the number of partitions.

    Ours, because the default partitioners of Kafka's clients disagree with each other; every writer passes it
    explicitly. CRC-32 as in ISO 3309 and zlib: the same in every language. Frozen by test vectors: growth is a
    migration.
    """
    return crc32(record.encode()) % partitions


def salesforce_id(text: str) -> str:
    """The 18-character form of a Salesforce id: screens and reports show 15, events carry 18, both are one record.

    Each group of five characters gives one of the three last: a bit for each capital, the first character the lowest.
    (Salesforce Help, "Convert 15-character IDs to 18-character IDs".) Any other text is returned as it is.
    """
    text = text.strip()
    if len(text) != _SALESFORCE_SHORT or not (text.isascii() and text.isalnum()):
        return text
    groups = (text[start : start + 5] for start in range(0, _SALESFORCE_SHORT, 5))
    return text + "".join(_SUFFIX[sum(letter.isupper() << bit for bit, letter in enumerate(group))] for group in groups)


def checked(text: str) -> str:
    """The text, if it can serve as an id; raises ``BadId``."""
    if not text:
        raise BadId("an empty id")
    if len(text) > MAX_ID:
        raise BadId(f"an id longer than {MAX_ID} characters")
    if not text.isprintable():
        raise BadId("an id with characters that cannot be printed")
    if text.startswith(RESERVED):
        raise BadId(f"an id that begins with `{RESERVED}`, which is reserved")
    return text
