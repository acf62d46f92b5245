"""Logging for the length of a test: whoever configures it leaves it as it was."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import structlog

from ownership_stream.telemetry import configure_logging


@contextmanager
def logging_kept() -> Iterator[None]:
    """Puts logging back."""
    root, ours = logging.getLogger(), logging.getLogger("ownership_stream")
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        ours.setLevel(logging.NOTSET)
        root.handlers[:], root.level = handlers, level


@contextmanager
def logged(level: str = "info", *, strict: bool = True) -> Iterator[StringIO]:
    """What is logged meanwhile; where it is ``strict``, a line that would lose a part raises."""
    with logging_kept():
        stream = StringIO()
        configure_logging(level, stream=stream, strict=strict)
        yield stream
