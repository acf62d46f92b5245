"""Which schema a record was written with: the framing of the Confluent protocol, read and written.

Read: a header names the schema (``__key_schema_id``, ``__value_schema_id``), and then all of the bytes are the body;
else the bytes begin with it. Either is ``0x00`` and a number of four bytes, big-endian, or ``0x01`` and a GUID of
sixteen. Written: always the number before the body. Format: Confluent, "Schema Registry serializers: wire format";
docs/avro.md.

Pure: what the schema says is ``registry.py``'s, what the body says is ``avro.py``'s.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple
from uuid import UUID

Part = Literal["key", "value"]

BY_NUMBER: Final = 0
BY_GUID: Final = 1
HEADERS: Final[dict[Part, str]] = {"key": "__key_schema_id", "value": "__value_schema_id"}
APICURIO: Final[dict[Part, tuple[str, ...]]] = {
    part: tuple(f"apicurio.{part}.{name}" for name in ("globalId", "contentId", "contentHash", "artifactId"))
    for part in ("key", "value")
}
"""Headers in which Apicurio's own serializers name the schema; the bytes are then the body alone."""

_BY_NUMBER: Final = bytes([BY_NUMBER])
_LENGTH: Final = {BY_NUMBER: 5, BY_GUID: 17}


class FramingError(Exception):
    """The framing says that this record cannot be read; ``reason`` is a reason of dead letters, the text one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Framed(NamedTuple):
    """The schema that a record was written with, by its number or GUID, and where its body begins."""

    schema: int | UUID
    begin: int


def framed(data: bytes, headers: Iterable[tuple[str, bytes | None]], part: Part = "value") -> Framed | None:
    """How these bytes are framed, ``None`` if they are not; raises ``FramingError``.

    Text never begins with the bytes 0 or 1, so JSON is never taken for framed.
    """
    named = None
    for name, found in headers:
        if name == HEADERS[part]:
            named = found
        elif name in APICURIO[part]:
            raise FramingError(
                "unsupported",
                f"Apicurio names the schema of the {part} in the header `{name}` alone: "
                "set `apicurio.registry.headers.enabled=false` and `apicurio.registry.as-confluent=true` "
                "on the connector's converter",
            )
    if named is not None:
        return Framed(_schema(named, f"the header `{HEADERS[part]}`", whole=True), 0)
    if data[:1] == _BY_NUMBER and (number := int.from_bytes(data[1:5], "big")) and len(data) >= _LENGTH[BY_NUMBER]:
        return Framed(number, _LENGTH[BY_NUMBER])
    if not data or data[0] not in _LENGTH:
        return None
    return Framed(_schema(data, f"the {part}", whole=False), _LENGTH[data[0]])


def prefix(schema: int) -> bytes:
    """What is written before a body."""
    return bytes([BY_NUMBER]) + schema.to_bytes(4, "big")


def _schema(said: bytes, where: str, *, whole: bool) -> int | UUID:
    """The schema that these bytes begin with, or in a header are."""
    length = _LENGTH.get(said[0]) if said else None
    if length is None or len(said) < length or (whole and len(said) != length):
        raise FramingError("not_avro", f"{where} names no schema: neither a number of 4 bytes nor a GUID of 16")
    if said[0] == BY_GUID:
        return UUID(bytes=bytes(said[1:17]))
    number = int.from_bytes(said[1:5], "big")
    if number == 0:
        raise FramingError(
            "unsupported",
            f"{where} names the schema 0, as Apicurio's numbers of 8 bytes begin: set "
            "`apicurio.registry.as-confluent=true` on the connector's converter",
        )
    return number
