"""Log lines: JSON on stderr, made of allowed fields only, so that no patient value can get into one.

Three gates. A field that is not in `FIELDS` is left out and named in `left_out`. A record is named by a keyed
hash (`HashedId`), never by its id. An exception is told by its class and place, never by its message; and
what a library logs keeps its wording and its numbers, while every text put into it is replaced. What repeats
itself is summed up (`repeats`).
"""

import hashlib
import hmac
import io
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final, TextIO

import structlog
from pydantic import SecretStr

from ownership_stream.telemetry.repeats import Repeats

FIELDS: Final = frozenset({
    # where
    "stage", "lane", "topic", "partition", "offset", "begin", "end", "position", "topic_id", "group", "table",
    # which (a keyed hash), and who of the staff did it
    "record", "actor",
    # what was decided, in words of the closed tables
    "field", "system", "source", "outcome", "reason", "rule", "grant", "owner", "revision", "mode", "origin",
    # how much
    "records", "left", "outputs", "states", "bytes", "partitions", "lag", "rate", "attempt", "limit", "counts",
    # how long
    "seconds", "milliseconds", "seconds_left",
    # the process
    "version", "worker", "host", "port", "broker", "setting", "check", "signal", "exit_code",
    # what went wrong
    "error", "error_code", "where", "detail",
})  # fmt: skip
"""Every field that a log line may have. `detail` is a sentence of ours about topics, offsets and settings."""

REPEATING: Final = frozenset({"lane_waiting", "lane_recreated", "record_buried"})
"""Events of ours that come once for each lane or record while something is wrong: repeats are summed up."""
STANDARD: Final = frozenset({"event", "level", "timestamp", "component", "left_out"})
EVENT: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST: Final = 300
OURS: Final = "ownership_stream"
LIBRDKAFKA: Final = "ownership_stream.kafka"
"""The logger that confluent-kafka's clients are given: a library's lines, which name brokers and topics only."""
SAFE: Final = (bool, int, float, type(None))


class HashedId(str):
    """A record's id as it may be shown: made by `hash_id` only."""

    __slots__ = ()


class UnsafeLogError(Exception):
    """A log line had something that no line may have; raised only in strict mode, that is in tests."""


@cache
def hash_key(secret: SecretStr | None) -> bytes:
    """The key for `hash_id`: from the setting `hash_key`, or random for this process where unset."""
    return token_bytes(32) if secret is None else hashlib.sha256(secret.get_secret_value().encode()).digest()


def hash_id(key: bytes, record_id: str) -> HashedId:
    """A record's id as 16 hex digits that only the holder of the key can make: HMAC-SHA-256, shortened."""
    digest = hmac.digest(key, record_id.encode("utf-8", "surrogatepass"), "sha256")
    return HashedId(digest[:8].hex())


def get_logger(name: str) -> Any:
    """A logger whose lines are `noun_verb` events with allowed fields: `log.info("lane_started", lane=…)`."""
    return structlog.get_logger(component=name)


def configure_logging(level: str = "info", *, stream: TextIO | None = None, strict: bool = False) -> None:
    """Send all log lines, ours and the libraries', to `stream` (stderr) as JSON.

    Libraries are heard from `warning` up, or from `level` if that is higher. `strict` raises UnsafeLogError
    where a line would otherwise lose a part.
    """
    target = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]

    def write(line: Mapping[str, Any]) -> None:
        target.write(json.dumps({**line, "timestamp": _now()}, ensure_ascii=False) + "\n")
        target.flush()

    repeats = Repeats(write)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            AllowedFields(strict=strict),
            partial(_once, repeats),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = LibraryHandler(target, repeats)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger(OURS).setLevel(number)
    logging.getLogger(LIBRDKAFKA).setLevel(max(number, logging.WARNING))


@contextmanager
def only_log_lines() -> Iterator[None]:
    """Nothing but log lines on stderr: what else is printed there, tracebacks with messages above all, is refused.

    Call after `configure_logging`, whose stream is not touched. Uncaught exceptions of threads become log lines, and
    what was repeated is summed up at the end, so that what the program says last stands last.
    """
    log = get_logger("stderr")

    def thread_failed(failure: threading.ExceptHookArgs) -> None:
        log.error("thread_failed", exc_info=failure.exc_value)

    before = threading.excepthook
    threading.excepthook = thread_failed
    try:
        with redirect_stderr(_Refused()):
            yield
    finally:
        threading.excepthook = before
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LibraryHandler):
                handler.sum_up()


class _Refused(io.TextIOBase):
    """A stream that takes everything and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


class AllowedFields:
    """The processor that lets through only what a line may have; `strict` raises instead of leaving out."""

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """The line with its allowed fields, an exception told by class and place, and what was left out."""
        event.update(_told(event.pop("exc_info", None)))
        refused = sorted(name for name, value in event.items() if not _allowed(name, value))
        if refused and self._strict:
            raise UnsafeLogError(f"a log line may not have {', '.join(f'`{name}`' for name in refused)}")
        for name in refused:
            event.pop(name)
        if refused:
            event.setdefault("event", "line_refused")
            event["left_out"] = refused
        return event


def _once(repeats: Repeats, _logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The processor that drops what was said a moment ago."""
    if event.get("event") in REPEATING and not repeats.admit(event):
        raise structlog.DropEvent
    return event


class LibraryHandler(logging.StreamHandler[TextIO]):
    """Writes lines by way of `logging`, and sums up the warnings and errors among them that are repeated."""

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self._repeats = repeats

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        return bool(super().filter(record)) and (record.levelno < logging.WARNING or self._repeats.admit(_line(record)))

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        return json.dumps(_line(record), ensure_ascii=False)

    def sum_up(self) -> None:
        """Says what was repeated so far."""
        self._repeats.sweep(all_windows=True)

    def close(self) -> None:
        """Sums up what is left, at the end of the program."""
        self.sum_up()
        super().close()


def _line(record: logging.LogRecord) -> dict[str, str]:
    """A line by way of `logging`: wording and numbers.

    Texts and objects that a library puts in are replaced. Our own modules' texts stay: they name topics, offsets and
    settings only.
    """
    line = {
        "event": "note" if _is_ours(record) else "library_line",
        "level": record.levelname.lower(),
        "timestamp": _iso(datetime.fromtimestamp(record.created, UTC)),
        "component": record.name,
        "detail": _library_text(record)[:LONGEST],
    }
    return line | _told(record.exc_info)


def _now() -> str:
    return _iso(datetime.now(UTC))


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _allowed(name: str, value: object) -> bool:
    if name in STANDARD:
        return name != "event" or (isinstance(value, str) and EVENT.fullmatch(value) is not None)
    if name not in FIELDS:
        return False
    if name == "record":
        return isinstance(value, HashedId)
    if name == "counts":
        return isinstance(value, dict) and all(isinstance(number, int) for number in value.values())
    return isinstance(value, SAFE) or (isinstance(value, str) and len(value) <= LONGEST)


def _told(exception: object) -> dict[str, str]:
    """An exception as `error` (its class) and `where` (file and line): its message may carry a value."""
    if exception is True:
        exception = sys.exc_info()
    if isinstance(exception, tuple):
        exception = exception[1]
    if not isinstance(exception, BaseException):
        return {}
    frames = traceback.extract_tb(exception.__traceback__)
    where = {"where": f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"} if frames else {}
    return {"error": type(exception).__name__, **where}


def _library_text(record: logging.LogRecord) -> str:
    template = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
    if not record.args:
        return template
    safe = (*SAFE, str) if _is_ours(record) else SAFE
    try:
        if isinstance(record.args, Mapping):
            return template % {name: _masked(value, safe) for name, value in record.args.items()}
        return template % tuple(_masked(value, safe) for value in record.args)
    except (TypeError, ValueError, KeyError):
        return template


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == OURS or record.name.startswith(f"{OURS}.")


def _masked(value: object, safe: tuple[type, ...]) -> object:
    return value if isinstance(value, safe) else f"<{type(value).__name__}>"
