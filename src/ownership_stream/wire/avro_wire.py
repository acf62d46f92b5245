"""The wire in Avro: records of topics of ours by schemas that a registry numbers.

Schemas are registered when a record of theirs is first written, under ``<topic>-value`` and for keys of apply records
``<topic>-key`` (TopicNameStrategy); other keys are the record's id as text, as with JSON. A record is read by the
schema that it was written with, so releases may differ; JSON from before the setting ``wire`` was changed is read too.
What this release does not know and is not null makes a change unreadable: an unknown thing is never guessed.

Whoever encodes or reads may get ``UnavailableError`` from here: the registry is away, and the lane waits.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from ownership_stream.errors import BadInputError
from ownership_stream.matches import Sighting
from ownership_stream.model import Change
from ownership_stream.settings import Settings, WireFormat
from ownership_stream.sources.encodings import DECIMAL
from ownership_stream.sources.mapping import SPARSE_AVRO, Writer
from ownership_stream.wire.avro import BadSchemaError, NotAvroError, WriterSchema, parsed, rendered, written
from ownership_stream.wire.codec import JSON, Wire, WireError
from ownership_stream.wire.framing import FramingError, framed, prefix
from ownership_stream.wire.records import Apply, Conflict, Link, Resolution
from ownership_stream.wire.registry import Registry, UnknownSchemaError, registry_of
from ownership_stream.wire.schemas import apply_schema, key_schema, record_schema

T = TypeVar("T", bound=msgspec.Struct)

CONTENT_TYPE: Final = "application/avro"
MAX_SETS: Final = 4096
"""Sets of columns whose schemas are kept for a system; then they are made anew."""


class ApplyTopic(NamedTuple):
    """Where a system's apply records go, and what they may hold."""

    topic: str
    writer: Writer


class UnknownWriterSchemaError(WireError):
    """Bytes by a schema that the registry does not have."""

    reason = "unknown_schema"


class AvroWire:
    """Avro by a registry; may be shared by threads. ``topics``: kind of record -> its topic; ``apply`` by system.

    Raises ``BadInputError`` for a column whose name Avro does not allow.
    """

    content_type = CONTENT_TYPE

    def __init__(
        self, registry: Registry, topics: Mapping[type[msgspec.Struct], str], apply: Mapping[str, ApplyTopic]
    ) -> None:
        self._registry = registry
        self._kinds = {kind: _Subject(f"{topic}-value", record_schema(kind)) for kind, topic in topics.items()}
        self._keys = {system: _Subject(f"{to.topic}-key", key_schema(to.writer)) for system, to in apply.items()}
        self._apply = {system: _Applied(to) for system, to in apply.items()}
        self._decimals = {system: _decimals(to.writer) for system, to in apply.items()}

    def whole_rows(self, system: str) -> bool:
        """Unless the system's mapping asks for a schema for each set of changed columns."""
        return not self._apply[system].sparse

    def encode(self, record: Any) -> bytes:
        """The bytes of a record. Raises ``UnavailableError``; ``ValueError`` for one that its schema does not fit."""
        if isinstance(record, Apply):
            return self._encode_apply(record)
        said = msgspec.to_builtins(record, order="deterministic")
        if isinstance(record, Change) and record.evidence:
            said["evidence"] = {name: {"by": by, "at": at} for name, (by, at) in said["evidence"].items()}
        return self._kinds[type(record)].encode(self._registry, said)

    def encode_key(self, key: Mapping[str, Any], system: str) -> bytes:
        """The bytes of an apply record's key. Raises ``UnavailableError``."""
        return self._keys[system].encode(self._registry, dict(key), strict=True)

    def read_change(self, value: bytes) -> Change:
        """A change back from its bytes; raises ``WireError``."""
        return self._read(Change, value, JSON.read_change, "a change")

    def read_sighting(self, value: bytes) -> Sighting:
        """A sighting back from its bytes; raises ``WireError``."""
        return self._read(Sighting, value, JSON.read_sighting, "a sighting")

    def read_conflict(self, value: bytes) -> Conflict:
        """A conflict record back from its bytes; raises ``WireError``."""
        return self._read(Conflict, value, JSON.read_conflict, "a conflict record")

    def read_resolution(self, value: bytes) -> Resolution:
        """A resolution record back from its bytes; raises ``WireError``."""
        return self._read(Resolution, value, JSON.read_resolution, "a resolution record")

    def read_apply(self, value: bytes) -> Apply:
        """An apply record back from its bytes, its columns as JSON would have them; raises ``WireError``."""
        found = self._schema_of(value, "an apply record")
        if found is None:
            return JSON.read_apply(value)
        schema, begin = found
        try:
            return JSON.read_apply(schema.text(value, begin))
        except NotAvroError as error:
            raise WireError(f"these bytes are not an apply record of this release: {error}") from None

    def _encode_apply(self, record: Apply) -> bytes:
        system = record.source.db
        said = msgspec.to_builtins(record)
        for column in self._decimals[system] & said["after"].keys():
            said["after"][column] = _stored(said["after"][column])
        # Strict: a column that was left out would be written as null, and a sink would clear it.
        return self._apply[system].subject(said["after"].keys()).encode(self._registry, said, strict=True)

    def _read(self, kind: type[T], value: bytes, as_json: Callable[[bytes], T], what: str) -> T:
        found = self._schema_of(value, what)
        if found is None:
            return as_json(value)
        schema, begin = found
        try:
            said = schema.read(value, begin)
            if not isinstance(said, dict):
                raise WireError(f"these bytes are not {what} of this release")
            known = kind.__struct_fields__
            kept = {name: one for name, one in said.items() if one is not None or name in known}
            if kind is Change:
                kept["evidence"] = {name: [one["by"], one["at"]] for name, one in said["evidence"].items()}
            return msgspec.convert(kept, kind)
        except NotAvroError as error:
            raise WireError(f"these bytes are not {what} of this release: {error}") from None
        except (msgspec.MsgspecError, RecursionError, LookupError, TypeError, AttributeError):
            # Avro of another shape than any release writes: a map that is none, a field that is not there.
            raise WireError(f"these bytes are not {what} of this release") from None

    def _schema_of(self, value: bytes, what: str) -> tuple[WriterSchema, int] | None:
        """The schema that the bytes were written with, and where the body begins; ``None``: they are not framed."""
        try:
            found = framed(value, ())
            return None if found is None else (self._registry.schema(found.schema), found.begin)
        except UnknownSchemaError as error:
            raise UnknownWriterSchemaError(f"these bytes are not {what} that can be read: {error}") from None
        except (FramingError, BadSchemaError) as error:
            raise WireError(f"these bytes are not {what} of this release: {error}") from None


class _Subject:
    """One schema of ours, under its name in the registry."""

    def __init__(self, name: str, schema: dict[str, Any]) -> None:
        self.name, self._text, self._schema = name, rendered(schema), parsed(schema)

    def encode(self, registry: Registry, said: dict[str, Any], *, strict: bool = False) -> bytes:
        return prefix(registry.register(self.name, self._text)) + written(self._schema, said, strict=strict)


class _Applied:
    """The schemas of one system's apply records: one of all columns, or one for each set of them."""

    def __init__(self, to: ApplyTopic) -> None:
        self.sparse = to.writer.form == SPARSE_AVRO
        self._to, self._name = to, f"{to.topic}-value"
        self._whole = _Subject(self._name, apply_schema(to.writer))
        self._sets: dict[frozenset[str], _Subject] = {}

    def subject(self, columns: Iterable[str]) -> _Subject:
        """The schema of a record that holds these columns."""
        if not self.sparse:
            return self._whole
        of = frozenset(columns)
        found = self._sets.get(of)
        if found is None:
            if len(self._sets) >= MAX_SETS:
                self._sets.clear()
            found = self._sets[of] = _Subject(self._name, apply_schema(self._to.writer, of))
        return found


def _decimals(writer: Writer) -> frozenset[str]:
    return frozenset(shape.name for shape in writer.shapes() if shape.encoding.word == DECIMAL)


def _stored(value: Any) -> Any:
    """A decimal's bytes, which JSON writes in base64."""
    if isinstance(value, dict):
        return value | {"value": base64.b64decode(value["value"])}
    return base64.b64decode(value) if isinstance(value, str) else value


def wire_of(settings: Settings, writers: Mapping[str, Writer] | None = None, registry: Registry | None = None) -> Wire:
    """The wire that the settings name; ``writers`` by system for who writes apply records.

    Raises ``BadInputError``. ``registry`` is used where there is one already.
    """
    registry = registry or registry_of(settings)
    if settings.wire is not WireFormat.AVRO or registry is None:
        return JSON
    return _avro(settings, writers or {}, registry)


def apply_wires(
    settings: Settings, writers: Mapping[str, Writer], wire: Wire, registry: Registry | None
) -> dict[str, Wire]:
    """System -> the wire of its apply records: what its mapping says (``apply as``), else the settings' own.

    Raises ``BadInputError`` where Avro is asked for and there is no registry.
    """
    avro = [system for system, writer in writers.items() if writer.form.startswith("avro")]
    if avro and registry is None:
        raise BadInputError(f"`apply as: {writers[avro[0]].form}` of system `{avro[0]}` needs `registry_url`")
    found: dict[str, Wire] = {}
    for system, writer in writers.items():
        if system in avro and registry is not None:
            own = {system: writer}
            found[system] = wire if isinstance(wire, AvroWire) else _avro(settings, own, registry)
        else:
            found[system] = JSON if writer.form else wire
    return found


def _avro(settings: Settings, writers: Mapping[str, Writer], registry: Registry) -> AvroWire:
    topics: dict[type[msgspec.Struct], str] = {
        Change: settings.topic_changes,
        Conflict: settings.topic_conflicts,
        Resolution: settings.topic_resolutions,
        Sighting: settings.topic_matches,
        Link: settings.topic_links,
    }
    apply = {
        system: ApplyTopic(settings.topic_apply(system), writer)
        for system, writer in writers.items()
        if not writer.form.startswith("json")
    }
    return AvroWire(registry, topics, apply)
