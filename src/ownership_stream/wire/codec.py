"""Words to bytes and back: one encoding for all topics of ours, and the packed states.

``Wire`` is the seam: JSON is here, Avro in ``avro_wire.py``. Encoding is deterministic: the same words give the same
bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol, TypeVar

import msgspec

from ownership_stream.errors import OwnershipError
from ownership_stream.matches import Sighting
from ownership_stream.model import LINKED_FORMAT, STATE_FORMAT, Change, LinkedState, RecordState
from ownership_stream.slots import as_read, as_written
from ownership_stream.wire.records import Apply, Conflict, Resolution
from ownership_stream.wire.sealed import LINKED, as_stored, open_sealed

CONTENT_TYPE: Final = "application/json"

T = TypeVar("T")


class WireError(OwnershipError):
    """Bytes on a topic of ours that this release cannot read; ``reason`` is that of the dead letter."""

    reason: ClassVar[str] = "foreign"


class Wire(Protocol):
    """Encodes and decodes what stands on topics of ours, one kind of record each."""

    content_type: str

    def whole_rows(self, system: str) -> bool:
        """Whether that system's apply records hold every column that may be written, not only those that changed."""
        ...

    def encode(self, record: Any) -> bytes:
        """The bytes of a change, a sighting, a link, an apply, conflict or resolution record."""
        ...

    def encode_key(self, key: Mapping[str, Any], system: str) -> bytes:
        """The bytes of the key of an apply record for that system."""
        ...

    def read_change(self, value: bytes) -> Change:
        """A change back from its bytes; raises ``WireError``."""
        ...

    def read_sighting(self, value: bytes) -> Sighting:
        """A sighting back from its bytes; raises ``WireError``."""
        ...

    def read_conflict(self, value: bytes) -> Conflict:
        """A conflict record back from its bytes; raises ``WireError``."""
        ...

    def read_apply(self, value: bytes) -> Apply:
        """An apply record back from its bytes; raises ``WireError``."""
        ...

    def read_resolution(self, value: bytes) -> Resolution:
        """A resolution record back from its bytes; raises ``WireError``."""
        ...


class JsonWire:
    """Plain JSON, keys of structs in their order and keys of dictionaries sorted."""

    content_type = CONTENT_TYPE

    def __init__(self) -> None:
        self.encode = msgspec.json.Encoder(order="deterministic").encode
        self._change = msgspec.json.Decoder(Change)
        self._sighting = msgspec.json.Decoder(Sighting)
        self._conflict = msgspec.json.Decoder(Conflict)
        self._apply = msgspec.json.Decoder(Apply)
        self._resolution = msgspec.json.Decoder(Resolution)

    def whole_rows(self, system: str) -> bool:  # noqa: ARG002  # JSON is the same for all
        """Never: what a record does not hold, it says nothing of."""
        return False

    def encode_key(self, key: Mapping[str, Any], system: str) -> bytes:  # noqa: ARG002  # as above
        """The bytes of the key of an apply record for that system."""
        return self.encode(key)

    def read_change(self, value: bytes) -> Change:
        """A change back from its bytes; raises ``WireError``."""
        return _read(self._change, value, "a change")

    def read_sighting(self, value: bytes) -> Sighting:
        """A sighting back from its bytes; raises ``WireError``."""
        return _read(self._sighting, value, "a sighting")

    def read_conflict(self, value: bytes) -> Conflict:
        """A conflict record back from its bytes; raises ``WireError``."""
        return _read(self._conflict, value, "a conflict record")

    def read_apply(self, value: bytes) -> Apply:
        """An apply record back from its bytes; raises ``WireError``."""
        return _read(self._apply, value, "an apply record")

    def read_resolution(self, value: bytes) -> Resolution:
        """A resolution record back from its bytes; raises ``WireError``."""
        return _read(self._resolution, value, "a resolution record")


JSON: Final = JsonWire()
"""The default wire; it may be shared by threads."""


def _read(decoder: msgspec.json.Decoder[T], value: bytes, what: str) -> T:
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise WireError(f"these bytes are not {what} of this release") from None


_STATE: Final = msgspec.msgpack.Encoder(order="deterministic", enc_hook=as_stored)
_UNPACK_PLAIN: Final = msgspec.msgpack.Decoder(RecordState)
_UNPACK_LINKED: Final = msgspec.msgpack.Decoder(LinkedState)
FORMATS: Final = (STATE_FORMAT, LINKED_FORMAT)


def pack_state(state: RecordState) -> bytes:
    """A record's state as MessagePack, its format version first: the same bytes in Redis and on the changelog.

    What few records have stands last in a plain state, and is left out where it is empty: who is assigned, and before
    that who speaks.
    """
    if isinstance(state, LinkedState):
        return _STATE.encode(state)
    packed = _STATE.encode(as_written(state) if state.cases else state)
    if state.assigned:
        return packed
    left_out = 1 if state.speaking else 2
    return bytes([packed[0] - left_out]) + packed[1:-left_out]


def unpack_state(packed: bytes | None) -> RecordState:
    """A record's state back; a new one for ``None``. Raises ``WireError`` for bytes of another format or none."""
    return RecordState() if packed is None else _unpack(_open, packed)


def _open(packed: bytes) -> RecordState:
    return (_UNPACK_LINKED if packed.startswith(LINKED) else _UNPACK_PLAIN).decode(packed)


def open_state(packed: bytes) -> RecordState:
    """A record's state back, sealed: what nobody looks at is never unpacked, and packed again as it was.

    Raises ``WireError`` for bytes of another format or none; where they turn out to be of another shape only when they
    are opened, msgspec's own ``DecodeError`` comes from there.
    """
    return _unpack(open_sealed, packed)


def _unpack(decode: Callable[[bytes], RecordState], packed: bytes) -> RecordState:
    try:
        state = decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise WireError(_unreadable(packed)) from None
    if state.format != (LINKED_FORMAT if isinstance(state, LinkedState) else STATE_FORMAT):
        raise WireError(_unreadable(packed))
    return as_read(state)


def _unreadable(packed: bytes) -> str:
    """Whether the bytes are of another format, as far as can be told: a state is a list that begins with its format."""
    try:
        found = msgspec.msgpack.decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "a record's state is no MessagePack: these bytes are not of our store or changelog"
    if isinstance(found, list) and found and type(found[0]) is int and found[0] not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        return f"a record's state has format {found[0]}, and this release reads {known}: run the one that wrote it"
    return f"a record's state of format {STATE_FORMAT} has another shape: these bytes are not of our store or changelog"
