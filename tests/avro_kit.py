"""A schema registry of the tests, and records in Avro as Debezium's connectors write them through one.

`Shelf` answers what `wire.registry.Registry` asks, in memory; `serving` puts it behind HTTP on this machine. Neither
judges compatibility. The real registry is `integration/registry.py`, and `Converter` writes by any of them.
"""

import json
import threading
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote

import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from ownership_stream import sources
from ownership_stream.matches import Sighting
from ownership_stream.model import Change
from ownership_stream.wire import Conflict, Link, Resolution
from ownership_stream.wire.avro_wire import ApplyTopic, AvroWire
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.framing import prefix
from ownership_stream.wire.registry import Registry, http
from source_kit import EHR, EHR_TOPIC, MATRIX, PATIENT_ROW
from step_kit import TOPICS, WRITERS

NOT_FOUND: Final = (404, {"error_code": 40403, "message": "Schema not found"})


class Shelf:
    """Schemas by number, GUID and subject. `away`: nobody answers; `refuses`: an answer to every registration."""

    def __init__(self) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.away = False
        self.refuses: tuple[int, Any] | None = None

    def put(self, schema: Any, subject: str = "s", **said: Any) -> int:
        """The number of a schema, which is taken in if it is new."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        for number in self.subjects.get(subject, ()):
            if self.schemas[number - 1]["schema"] == text:
                return number
        self.schemas.append({"schema": text, "guid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{subject} {text}")), **said})
        self.subjects.setdefault(subject, []).append(len(self.schemas))
        return len(self.schemas)

    def guid(self, number: int) -> uuid.UUID:
        """Another name of a schema."""
        return uuid.UUID(self.schemas[number - 1]["guid"])

    def ask(self, path: str, body: Any) -> tuple[int, Any]:
        """What a registry answers."""
        self.asked.append(path)
        if self.away:
            raise ConnectionRefusedError(111, "Connection refused")
        match path.split("/"):
            case ["schemas", "ids", number] if 0 < int(number) <= len(self.schemas):
                return 200, self.schemas[int(number) - 1]
            case ["schemas", "guids", guid]:
                found = [one for one in self.schemas if one["guid"] == guid]
                return (200, found[0]) if found else NOT_FOUND
            case ["subjects", subject, "versions"] if body is not None:
                return self.refuses or (200, {"id": self.put(body["schema"], unquote(subject))})
            case ["subjects", subject, "versions", version] if unquote(subject) in self.subjects:
                return 200, self.schemas[self.subjects[unquote(subject)][int(version) - 1] - 1]
        return NOT_FOUND


@contextmanager
def serving(shelf: Shelf, password: str | None = None) -> Iterator[str]:
    """The address of the shelf behind HTTP; with a password, for `user` alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def _answer(self, body: Any) -> None:
            due = f"Basic {b64encode(f'user:{password}'.encode()).decode()}"
            allowed = password is None or self.headers.get("Authorization") == due
            path = self.path.partition("?")[0]
            inside = path.startswith("/apis/ccompat/v7/")
            status, answer = shelf.ask(path.removeprefix("/apis/ccompat/v7/"), body) if inside else (404, "no page")
            status, answer = (status, answer) if allowed else (401, {"error_code": 401, "message": "no"})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def registry(shelf: Shelf) -> Registry:
    """A client of the shelf whose time stands still."""
    return Registry(shelf.ask, clock=lambda: 0.0)


def client(url: str) -> Registry:
    """A client of a real registry that knows nothing yet, and waits for a busy machine."""
    return Registry(http(url, timeout=60.0))


def avro_wire(shelf: Shelf, client: Registry | None = None) -> AvroWire:
    """The wire of the shipped mappings."""
    topics = {
        Change: TOPICS.changes,
        Conflict: TOPICS.conflicts,
        Resolution: TOPICS.resolutions,
        Sighting: TOPICS.matches,
        Link: TOPICS.links,
    }
    apply = {system: ApplyTopic(topic, WRITERS[system]) for system, topic in TOPICS.apply.items()}
    return AvroWire(client or registry(shelf), topics, apply)


def framed(number: int, schema: Any, value: Any) -> bytes:
    """A record as a serializer of Confluent's protocol writes it."""
    return prefix(number) + body(schema, value)


def body(schema: Any, value: Any) -> bytes:
    """A record by its schema, without its number."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema)), {}), value)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------- Debezium

TIMES: Final = {
    "birth_date": ("int", "io.debezium.time.Date"),
    **dict.fromkeys(
        [
            "next_appointment_at",
            "follow_up_completed_at",
            "updated_at",
            "preference_confirmed_at",
            "marketing_confirmed_at",
            "created_at",
        ],
        ("long", "io.debezium.time.MicroTimestamp"),
    ),
}
KINDS: Final = {int: "long", float: "double", str: "string", type(None): "string"}


def connect(type_: str, name: str, version: int = 1) -> dict[str, Any]:
    """A type with a name of Kafka Connect's."""
    return {"type": type_, "connect.version": version, "connect.name": name}


def optional(name: str, type_: Any) -> dict[str, Any]:
    """A field that may be null."""
    return {"name": name, "type": ["null", type_], "default": None}


def row_schema(space: str = "ehr.public.patient", **types: Any) -> dict[str, Any]:
    """The record of the patient row; `types` are columns of another type, or new ones."""
    columns = {name: connect(*TIMES[name]) if name in TIMES else KINDS[type(PATIENT_ROW[name])] for name in PATIENT_ROW}
    fields = [
        {"name": "patient_id", "type": "int"} if name == "patient_id" else optional(name, type_)
        for name, type_ in (columns | types).items()
    ]
    return {"type": "record", "name": "Value", "namespace": space, "fields": fields, "connect.name": f"{space}.Value"}


def key_schema(space: str = "ehr.public.patient") -> dict[str, Any]:
    """The record's key."""
    fields = [{"name": "patient_id", "type": "int"}]
    return {"type": "record", "name": "Key", "namespace": space, "fields": fields, "connect.name": f"{space}.Key"}


def envelope_schema(**types: Any) -> dict[str, Any]:
    """The envelope as Debezium's PostgreSQL connector registers it, by the documentation of its change events."""
    space = "ehr.public.patient"
    snapshot = {
        "type": "string",
        "connect.version": 1,
        "connect.parameters": {"allowed": "true,first,last,false,incremental"},
        "connect.default": "false",
        "connect.name": "io.debezium.data.Enum",
    }
    source = {
        "type": "record",
        "name": "Source",
        "namespace": "io.debezium.connector.postgresql",
        "fields": [
            *({"name": name, "type": "string"} for name in ("version", "connector", "name")),
            {"name": "ts_ms", "type": "long"},
            {"name": "snapshot", "type": [snapshot, "null"], "default": "false"},
            {"name": "db", "type": "string"},
            optional("sequence", "string"),
            optional("ts_us", "long"),
            optional("ts_ns", "long"),
            *({"name": name, "type": "string"} for name in ("schema", "table")),
            *(optional(name, "long") for name in ("txId", "lsn", "xmin")),
            optional("origin", "string"),
            optional("origin_lsn", "long"),
        ],
        "connect.name": "io.debezium.connector.postgresql.Source",
    }
    block = {
        "type": "record",
        "name": "block",
        "namespace": "event",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total_order", "type": "long"},
            {"name": "data_collection_order", "type": "long"},
        ],
        "connect.version": 1,
        "connect.name": "event.block",
    }
    fields = [
        optional("before", row_schema(space, **types)),
        optional("after", "Value"),
        {"name": "source", "type": source},
        optional("transaction", block),
        {"name": "op", "type": "string"},
        *(optional(name, "long") for name in ("ts_ms", "ts_us", "ts_ns")),
    ]
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": space,
        "fields": fields,
        "connect.version": 1,
        "connect.name": f"{space}.Envelope",
    }


NAMED: Final = ("connect.name", "connect.parameters", "logicalType", "scale")


def incompatible(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Why neither can read all of what the other wrote; nothing if each can (FULL)."""
    first, second = (avro.schema.parse(json.dumps(schema)) for schema in (new, old))
    found = []
    for reader, writer in ((first, second), (second, first)):
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += sorted(result.messages)
    # The library compares what Avro does: what a sink makes of a column is in names of Kafka Connect's.
    said, were = (dict(columns(schema)) for schema in (new, old))
    return found + [
        f"{path}: {were[path]} became {said[path]}" for path in were.keys() & said if were[path] != said[path]
    ]


def columns(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """What each field of a schema is in names of Kafka Connect's, by its path."""
    if isinstance(schema, list):
        for branch in schema:
            yield from columns(branch, path)
    elif isinstance(schema, dict):
        yield path, {name: schema[name] for name in NAMED if name in schema}
        yield from columns(schema.get("type") if isinstance(schema.get("type"), dict | list) else None, path)
        for inner in ("items", "values"):
            yield from columns(schema.get(inner), f"{path}[]")
        for field in schema.get("fields", ()):
            yield from columns(field["type"], f"{path}.{field['name']}")


class Converter:
    """The Avro converter of the EHR's connector: what it would have written in JSON, by schemas of a registry."""

    def __init__(self, client: Registry, topic: str, **types: Any) -> None:
        """Registers the schemas of the topic's key and value; `types` are columns of another type, or new ones."""
        self.schemas = {"key": key_schema(), "value": envelope_schema(**types)}
        self.numbers = {part: client.register(f"{topic}-{part}", json.dumps(one)) for part, one in self.schemas.items()}
        self._parsed = {part: fastavro.parse_schema(one, {}) for part, one in self.schemas.items()}

    def written(self, part: str, text: bytes) -> bytes:
        """A key or a value in Avro; what is no JSON stays as it is."""
        try:
            said = json.loads(text)
        except ValueError:
            return text
        out = BytesIO()
        fastavro.schemaless_writer(out, self._parsed[part], said)
        return prefix(self.numbers[part]) + out.getvalue()

    def event(self, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        """A record's key and value."""
        return self.written("key", key), self.written("value", value)


class EhrTopic:
    """The EHR's topic in Avro: `event` as the connector writes it, `decode` as intake reads it."""

    def __init__(self, shelf: Shelf | None = None, mapping: sources.Mapping | None = None, **types: Any) -> None:
        self.shelf = shelf or Shelf()
        self.schema = envelope_schema(**types)
        self.number = self.shelf.put(self.schema, f"{EHR_TOPIC}-value")
        self.key_number = self.shelf.put(key_schema(), f"{EHR_TOPIC}-key")
        self.key = framed(self.key_number, key_schema(), {"patient_id": 123})
        read = mapping or EHR
        self.decoder = FramedDecoder(sources.decoder(read, MATRIX), read, registry(self.shelf))

    def event(self, event: dict[str, Any]) -> bytes:
        """A change event with its prefix."""
        return framed(self.number, self.schema, event)

    def decode(self, value: bytes | None, *, key: bytes | None = None, **said: Any) -> sources.Decoded:
        """What becomes of a record."""
        return self.decoder.decode(EHR_TOPIC, self.key if key is None else key, value, 0, **said)
