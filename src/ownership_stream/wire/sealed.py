"""A packed state opened only where a decision looks: most of a state is untouched by most changes.

A change of one field reads that field, what its own system shows, and little else. So the states of fields stay packed
each by itself until they are asked for (`Fields`), and what a system shows stays packed as a whole (`Shown`). What
nobody opened is written back as the bytes it was read from: opening a state and packing it again gives the same
bytes, and costs what the change touched instead of what the record holds.

To whoever reads a `RecordState` both stand for the dictionaries they are typed as. They are none, so that nothing can
take what is stored for what it means. Only for states packed by `pack_state`, whose keys are sorted.
"""

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ownership_stream.model import FieldState, LinkedState, RecordState, SystemState, Value


class Fields:
    """Field -> its state, opened when it is first asked for."""

    __slots__ = ("stored",)

    def __init__(self, stored: dict[str, Any]) -> None:
        self.stored = stored
        """The states as they are written: packed, or opened."""

    def get(self, key: str, default: Any = None) -> Any:
        """The field's state; ``default`` where there is none."""
        found = self.stored.get(key, default)
        if type(found) is Raw:
            found = self.stored[key] = _FIELD(found)
        return found

    def __getitem__(self, key: str) -> Any:
        return self.get(key) if key in self.stored else self.stored[key]

    def __setitem__(self, key: str, value: FieldState) -> None:
        self.stored[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self.stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def copy(self) -> "Fields":
        """Another one with the same states, packed where they are packed here."""
        return Fields(self.stored.copy())

    def keys(self) -> KeysView[str]:
        """The fields; nothing is opened for them."""
        return self.stored.keys()

    def values(self) -> ValuesView[FieldState]:
        """All states, opened."""
        return self.whole().values()

    def items(self) -> ItemsView[str, FieldState]:
        """All fields and states, opened."""
        return self.whole().items()

    def whole(self) -> dict[str, FieldState]:
        """The dictionary that it stands for."""
        for key in self.stored:
            self.get(key)
        return self.stored

    def __eq__(self, other: object) -> bool:
        return self.whole() == (other.whole() if isinstance(other, Fields) else other)

    __hash__ = None  # type: ignore[assignment]  # as of any dictionary


class Shown:
    """Field -> the value a system shows. Nobody writes to it: who changes what is shown copies it first."""

    __slots__ = ("_whole", "stored")

    def __init__(self, stored: Raw) -> None:
        self.stored = stored
        """All of it as it is written."""
        self._whole: dict[str, Value] | None = None

    def get(self, key: str, default: Any = None) -> Any:
        """One value: where nothing else was asked for, nothing else is unpacked."""
        if self._whole is not None:
            return self._whole.get(key, default)
        found = _ONE[key](self.stored).value
        return default if found is UNSET else found

    def whole(self) -> dict[str, Value]:
        """The dictionary that it stands for."""
        if self._whole is None:
            self._whole = _SHOWN(self.stored)
        return self._whole

    def __getitem__(self, key: str) -> Value:
        return self.whole()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.whole()

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole())

    def __len__(self) -> int:
        return len(self.whole())

    def copy(self) -> dict[str, Value]:
        """A dictionary of its own."""
        return self.whole().copy()

    def keys(self) -> KeysView[str]:
        """The fields."""
        return self.whole().keys()

    def values(self) -> ValuesView[Value]:
        """The values."""
        return self.whole().values()

    def items(self) -> ItemsView[str, Value]:
        """Fields and values."""
        return self.whole().items()

    def __eq__(self, other: object) -> bool:
        return self.whole() == (other.whole() if isinstance(other, Shown) else other)

    __hash__ = None  # type: ignore[assignment]  # as of any dictionary


class _System(SystemState, array_like=True, gc=False):
    """`SystemState` as it is unpacked: what it shows stays packed."""

    shown: Raw = Raw(b"\x80")  # type: ignore[assignment]  # until it is put into a `Shown`


class _State(RecordState, array_like=True, gc=False):
    """`RecordState` as it is unpacked: each field's state stays packed."""

    # msgspec gives each state an empty dictionary of its own.
    systems: dict[str, _System] = {}  # type: ignore[assignment]  # noqa: RUF012  # as above
    fields: dict[str, Raw] = {}  # type: ignore[assignment]  # noqa: RUF012  # until it is put into a `Fields`


class _Linked(LinkedState, array_like=True, gc=False):
    """`LinkedState` likewise."""

    systems: dict[str, _System] = {}  # type: ignore[assignment]  # noqa: RUF012  # as above
    fields: dict[str, Raw] = {}  # type: ignore[assignment]  # noqa: RUF012  # as above


class _One(dict[str, Callable[[Raw], Any]]):
    """Field -> how to unpack its value alone; there are as many as the matrix has fields."""

    def __missing__(self, key: str) -> Callable[[Raw], Any]:
        one = msgspec.defstruct("One", [("value", Value | UnsetType, UNSET)], rename={"value": key}, gc=False)
        self[key] = found = msgspec.msgpack.Decoder(one).decode
        return found


_ONE: Final = _One()
_SHOWN: Final = msgspec.msgpack.Decoder(dict[str, Value]).decode
_FIELD: Final = msgspec.msgpack.Decoder(FieldState).decode
_STATE: Final = msgspec.msgpack.Decoder(_State).decode
_LINKED_STATE: Final = msgspec.msgpack.Decoder(_Linked).decode

LINKED: Final = b"\x9b\x02"
"""What a packed `LinkedState` begins with: a list of eleven, the format first."""


def open_sealed(packed: bytes) -> RecordState:
    """A record's state, sealed. Raises `msgspec.DecodeError` for other bytes: now, or where they are opened."""
    state: Any = _LINKED_STATE(packed) if packed.startswith(LINKED) else _STATE(packed)
    state.fields = Fields(state.fields)
    for system in state.systems.values():
        system.shown = Shown(system.shown)
    return state  # type: ignore[no-any-return]  # its dictionaries are none, and stand for those they are typed as


def as_stored(sealed: object) -> object:
    """What the encoder writes for a sealed dictionary: a hook of msgspec's."""
    if isinstance(sealed, Fields | Shown):
        return sealed.stored
    raise NotImplementedError(f"a state holds a {type(sealed).__name__}")
