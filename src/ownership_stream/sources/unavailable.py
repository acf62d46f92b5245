"""The placeholder of a value that the database did not log, in each shape that Debezium gives it.

An unchanged TOAST column (PostgreSQL) or large object (Oracle) arrives as ``unavailable.value.placeholder``, fitted to
the type of its column. It means "not carried", whatever the shape. Shapes: ``UnchangedToastedPlaceholder`` of
Debezium's PostgreSQL connector; the settings ``binary.handling.mode`` and ``hstore.handling.mode``.
"""

import base64
import hashlib
from typing import Any, Final
from uuid import UUID

HEX: Final = "hex:"
"""What a placeholder given as hexadecimal octets begins with."""


class Unavailable:
    """The shapes of one placeholder, which is a text or ``hex:`` and octets."""

    def __init__(self, placeholder: str) -> None:
        """Raises ``ValueError`` where ``hex:`` is followed by something else than octets."""
        octets = _octets(placeholder)
        text = octets.decode("utf-8", "replace")
        self.texts: Final = frozenset(
            {
                text,
                # binary columns, and decimals in their precise mode
                base64.b64encode(octets).decode(),
                base64.urlsafe_b64encode(octets).decode(),
                octets.hex(),
                # `hstore.handling.mode=json`, the default
                f'{{"{text}":"{text}"}}',
            }
        )
        signed = memoryview(octets).cast("b").tolist()  # as Java has them
        # Java's `UUID.nameUUIDFromBytes`
        named = str(UUID(bytes=hashlib.md5(octets, usedforsecurity=False).digest(), version=3))
        self._lists: Final = ([text], signed, [named])
        self._map: Final = {text: text}

    def is_nested(self, raw: Any) -> bool:
        """Whether a value that is no plain text is the placeholder: of an array, a map, or a decimal with its scale."""
        if isinstance(raw, list):
            return raw in self._lists
        if isinstance(raw, dict):
            return raw == self._map
        inner = getattr(raw, "value", None)
        return inner is not None and inner in self.texts


def _octets(placeholder: str) -> bytes:
    return bytes.fromhex(placeholder.removeprefix(HEX)) if placeholder.startswith(HEX) else placeholder.encode()
