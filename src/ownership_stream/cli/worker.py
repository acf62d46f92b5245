"""`ownership-stream worker`: one worker at work until it is told to stop."""

import sys

import click

from ownership_stream import __version__
from ownership_stream.cli import Session, pass_session, setting_flags


@click.command("worker")
@setting_flags("mode", "brokers", "app_id", "matrix_path", "sources_path", "http_host", "http_port", "log_level")
@pass_session
def command(session: Session) -> None:
    """Work on the lanes that Kafka gives this worker, until SIGTERM or SIGINT.

    A stopping worker settles what it has begun first; a second signal ends it at once (exit code 130). It waits for
    Kafka and Redis when they are away, and ends with exit code 1 where only a person can help: records lost, or a
    lane that failed five times in a row. /metrics, /healthz and /readyz are served on --http-host and --http-port.
    """
    from confluent_kafka.admin import AdminClient
    from rich.console import Console

    from ownership_stream import topics
    from ownership_stream.app import run_worker
    from ownership_stream.assembly import assemble
    from ownership_stream.settings import librdkafka_config
    from ownership_stream.telemetry import Terminal, configure_logging, get_logger, only_log_lines

    settings = session.settings
    worker = assemble(settings)
    if sys.stderr.isatty():
        terminal = Terminal(Console(file=sys.stderr))
        worker.observer.show_on(terminal)
        configure_logging(settings.log_level.value, stream=terminal.stream)
    else:
        configure_logging(settings.log_level.value)
    log = get_logger("worker").bind(version=__version__, revision=worker.matrix.revision, mode=settings.mode.value)
    worker.telemetry.describe(version=__version__, revision=worker.matrix.revision)
    for problem in topics.check(AdminClient({**librdkafka_config(settings), "log_level": 0}), settings):
        log.warning("topic_differs", topic=problem.topic, detail=problem.text)
    log.info("worker_started", group=settings.app_id)
    with only_log_lines():
        run_worker(
            worker.config,
            worker.stages,
            store=worker.store,
            observer=worker.observer,
            metrics=worker.telemetry,
            ticks=worker.ticks,
        )
    log.info("worker_stopped", group=settings.app_id)
