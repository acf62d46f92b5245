"""A schema registry that speaks Confluent's protocol: schemas by number or GUID, each fetched and parsed once.

A schema never changes under its number, so what is known stays known, and steps that ask stay pure in effect: bytes
that were read once are always read alike. What can fail is only the first question. A registry that does not answer, or
refuses us, is ``UnavailableError``: the lane waits, and nothing is lost. Only its own word that it has no such schema
is ``UnknownSchemaError``, a dead letter; a 404 of something else that answers at the address must never be.

The client is the standard library's: three requests are all there is to it, and that of confluent-kafka brings twelve
packages, 22 MB in each worker, and retries of its own within a lane's thread (docs/adr/0008).
"""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPException
from threading import Lock
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPSHandler, OpenerDirector, Request, build_opener
from uuid import UUID

from ownership_stream.errors import BadInputError, UnavailableError
from ownership_stream.settings import Settings
from ownership_stream.wire.avro import BadSchemaError, WriterSchema

SchemaName = int | UUID

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
# Confluent's own words for "there is no such thing", beside the status 404: subject, version, schema.
NOT_FOUND: Final = frozenset({40401, 40402, 40403})
GUIDS: Final = "schemas/guids/"
REFERENCES: Final = 64
MAX_ANSWER: Final = 16 * 1024 * 1024
# For so long a schema that is not there is not asked for again, and a registry that is away is not asked anything.
UNKNOWN_SECONDS: Final = 10.0
MOST_UNKNOWN: Final = 1_000
AWAY_SECONDS: Final = 1.0

Fetch = Callable[[str, Any], tuple[int, Any]]
"""(path, body or None) -> (HTTP status, decoded answer); raises ``OSError`` where nobody answers."""


class UnknownSchemaError(Exception):
    """The registry has no such schema; the text is one line."""


class _Failed(NamedTuple):
    """What was answered last, and until when it counts."""

    error: Exception
    until: float


class Registry:
    """A client that remembers; may be shared by threads. ``ask`` is how it speaks, see ``http``."""

    def __init__(self, ask: Fetch, clock: Callable[[], float] = monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._schemas: dict[SchemaName, WriterSchema] = {}
        self._unknown: dict[SchemaName, _Failed] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._away: _Failed | None = None
        self._lock = Lock()

    def schema(self, name: SchemaName) -> WriterSchema:
        """The schema of that number or GUID.

        Raises ``UnknownSchemaError``, ``BadSchemaError`` (it is none that can be read by) or ``UnavailableError``.
        """
        found = self._schemas.get(name)
        if found is not None:
            return found
        with self._lock:  # one of all lanes asks, and the others wait for its answer
            found = self._schemas.get(name)
            if found is None:
                found = self._schemas[name] = self._fetched(name)
            return found

    def register(self, subject: str, schema: str) -> int:
        """The number of a schema of ours under a subject, where the registry may first have to take it in.

        Raises ``UnavailableError``, also where the registry refuses the schema: a person has to mend that.
        """
        known = self._numbers.get((subject, schema))
        if known is not None:
            return known
        with self._lock:
            known = self._numbers.get((subject, schema))
            if known is not None:
                return known
            path = f"subjects/{quote(subject, safe='')}/versions"
            status, answer = self._asked(path, {"schema": schema})
            if status == HTTPStatus.CONFLICT:
                # Two workers make a subject at the same time, and one is told that it is there already.
                status, answer = self._asked(path, {"schema": schema})
            number = answer.get("id") if isinstance(answer, dict) else None
            if status != HTTPStatus.OK or type(number) is not int:
                raise UnavailableError(f"schema registry: refuses our schema for `{subject}` ({_said(status, answer)})")
            self._numbers[subject, schema] = number
            return number

    def _fetched(self, name: SchemaName) -> WriterSchema:
        failed = self._unknown.get(name)
        if failed is not None and self._clock() < failed.until:
            raise failed.error
        try:
            return self._read(self._found(f"schemas/ids/{name}" if isinstance(name, int) else f"{GUIDS}{name}"))
        except (UnknownSchemaError, BadSchemaError) as error:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[name] = _Failed(error, self._clock() + UNKNOWN_SECONDS)
            raise

    def _read(self, answer: dict[str, Any]) -> WriterSchema:
        if answer.get("schemaType", "AVRO") != "AVRO":
            raise BadSchemaError("the schema that the record names is none of Avro")
        try:
            references = dict(self._references(answer, REFERENCES))
        except (AttributeError, TypeError) as error:
            raise BadSchemaError("the schema names others, and not in the words of the protocol") from error
        return WriterSchema(str(answer.get("schema")), references)

    def _references(self, answer: dict[str, Any], most: int) -> Iterator[tuple[str, str]]:
        """The schemas that this one names, each after those that it names itself."""
        for reference in answer.get("references") or ():
            if most == 0:
                raise BadSchemaError(f"the schema names others more than {REFERENCES} deep")
            subject, version = quote(str(reference.get("subject")), safe=""), reference.get("version")
            inner = self._found(f"subjects/{subject}/versions/{version}")
            yield from self._references(inner, most - 1)
            yield str(reference.get("name")), str(inner.get("schema"))

    def _found(self, path: str) -> dict[str, Any]:
        """What stands there; raises ``UnknownSchemaError`` where the registry itself says that nothing does."""
        status, answer = self._asked(path, None)
        if status == HTTPStatus.NOT_FOUND and isinstance(answer, dict) and answer.get("error_code") in NOT_FOUND:
            raise UnknownSchemaError(f"the schema registry has no `{path}`")
        if status == HTTPStatus.NOT_FOUND and path.startswith(GUIDS) and self._is_there():
            raise BadSchemaError(
                "the schema registry knows no schemas by GUID: let the connector's converter write the schema's number "
                "before the body (`PrefixSchemaIdSerializer`)"
            )
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            raise UnavailableError(f"schema registry: no schema at `{path}` ({_said(status, answer)})")
        return answer

    def _is_there(self) -> bool:
        """Whether a registry answers at the address: who says 404 without its words may be something else."""
        status, answer = self._asked("schemas/types", None)
        return status == HTTPStatus.OK and isinstance(answer, list) and "AVRO" in answer

    def _asked(self, path: str, body: Any) -> tuple[int, Any]:
        if self._away is not None and self._clock() < self._away.until:
            raise self._away.error
        try:
            status, answer = self._ask(path, body)
        except (OSError, HTTPException) as error:
            away = UnavailableError(f"schema registry: does not answer: {_reason(error)}")
            self._away = _Failed(away, self._clock() + AWAY_SECONDS)
            raise away from error
        self._away = None
        return status, answer


def http(
    url: str, *, user: str | None = None, password: str | None = None, timeout: float = 5.0, ca: str | None = None
) -> Fetch:
    """How a registry at an `http` or `https` address is asked; ``ca`` is a PEM file of trusted authorities."""
    headers = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
    if user is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password or str()}'.encode()).decode()}"
    base = url.rstrip("/")
    opener = build_opener(HTTPSHandler(context=ssl.create_default_context(cafile=ca)))

    def ask(path: str, body: Any) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        return _answer(opener, Request(f"{base}/{path}", data, headers), timeout)  # noqa: S310  # checked by the settings

    return ask


def _answer(opener: OpenerDirector, request: Request, timeout: float) -> tuple[int, Any]:
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, _decoded(response.read(MAX_ANSWER))
    except HTTPError as error:
        with error:
            return error.code, _decoded(error.read(MAX_ANSWER))


def _decoded(answer: bytes) -> Any:
    """The answer, or ``None`` for one that is no JSON: whoever gave it is no registry."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _said(status: int, answer: Any) -> str:
    """Why, in words: the registry's own text is about schemas, never about records."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"status {status}: look at `registry_user` and `registry_password`"
    code = answer.get("error_code") if isinstance(answer, dict) else None
    if code is None:
        return f"status {status}, and not a registry's answer: look at `registry_url`"
    return f"status {status}, error {code}: {str(answer.get('message'))[:200]}"


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)[:200]


def registry_of(settings: Settings) -> Registry | None:
    """The registry that the settings name, not spoken to yet; raises ``BadInputError`` for a file of no authorities."""
    if settings.registry_url is None:
        return None
    secret = settings.registry_password
    try:
        ask = http(
            settings.registry_url,
            user=settings.registry_user,
            password=None if secret is None else secret.get_secret_value(),
            timeout=settings.registry_timeout_seconds,
            ca=None if settings.registry_ca_path is None else str(settings.registry_ca_path),
        )
    except (OSError, ssl.SSLError) as error:
        what = error.strerror or type(error).__name__
        raise BadInputError(f"`registry_ca_path` `{settings.registry_ca_path}` cannot be used: {what}") from None
    return Registry(ask)
