"""`ownership-stream worker`: one worker at work until it is told to stop."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from ownership_stream import __version__
from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import ExitCode

if TYPE_CHECKING:
    from ownership_stream.settings import Settings


@click.command("worker")
@setting_flags("mode", "brokers", "app_id", "matrix_path", "sources_path", "http_host", "http_port", "log_level")
@pass_session
def command(session: Session) -> None:
    """Work on the lanes that Kafka gives this worker, until SIGTERM or SIGINT.

    A stopping worker settles what it has begun first; a second signal ends it at once (exit code 130). It waits for
    Kafka and Redis when they are away, and ends with exit code 1 where only a person can help: records lost, or a
    lane that failed five times in a row. Told to stop by SIGTERM before it began, it ends at once. /metrics, /healthz
    and /readyz are served on --http-host and --http-port.
    """
    from ownership_stream.telemetry import configure_logging, get_logger

    configure_logging(session.settings.log_level.value)
    with _ends_if_told_to(get_logger("worker")):
        _work(session.settings)


def _work(settings: "Settings") -> None:
    from confluent_kafka.admin import AdminClient
    from rich.console import Console

    from ownership_stream import sources, topics
    from ownership_stream.app import run_worker
    from ownership_stream.assembly import assemble
    from ownership_stream.settings import librdkafka_config
    from ownership_stream.telemetry import Terminal, configure_logging, get_logger, only_log_lines

    worker = assemble(settings)
    if sys.stderr.isatty():
        terminal = Terminal(Console(file=sys.stderr))
        worker.observer.show_on(terminal)
        configure_logging(settings.log_level.value, stream=terminal.stream)
    log = get_logger("worker").bind(version=__version__, revision=worker.matrix.revision, mode=settings.mode.value)
    for problem in topics.check(AdminClient({**librdkafka_config(settings), "log_level": 0}), settings):
        log.warning("topic_differs", topic=problem.topic, detail=problem.text)
    for line in (line for mapping in worker.mappings for line in sources.cautions(mapping)):
        log.warning("source_gives_less", detail=line)
    log.info("worker_started", group=settings.app_id)
    with only_log_lines():
        run_worker(
            worker.config,
            worker.stages,
            store=worker.store,
            observer=worker.observer,
            metrics=worker.telemetry,
            rounds=(worker.ticks, worker.census),
        )
    log.info("worker_stopped", group=settings.app_id)


@contextmanager
def _ends_if_told_to(log: Any) -> Iterator[None]:
    """SIGTERM ends the process at once, until the worker's event loop takes signals over.

    A handler in Python alone would wait for a call of the Kafka client to come back, and the first process of a
    container would never end: for it the system has no default.
    """
    told, woken = socket.socketpair()
    woken.setblocking(False)

    def end() -> None:
        with told:
            if told.recv(1) == bytes([signal.SIGTERM]):
                log.info("worker_stopped", detail="told to stop before it began")
                os._exit(ExitCode.OK)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    waker = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    Thread(target=end, name="stop before the start", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGTERM, before)
        woken.close()
