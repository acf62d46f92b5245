"""`ownership-stream worker`: one worker at work until it is told to stop."""

import click

from ownership_stream import __version__
from ownership_stream.cli import Session, pass_session, setting_flags


@click.command("worker")
@setting_flags("mode", "brokers", "app_id", "matrix_path", "sources_path", "http_host", "http_port", "log_level")
@pass_session
def command(session: Session) -> None:
    """Work on the lanes that Kafka gives this worker, until SIGTERM or SIGINT.

    A stopping worker settles what it has begun first. /metrics, /healthz and /readyz are served on --http-host and
    --http-port.
    """
    from ownership_stream.app import run_worker
    from ownership_stream.assembly import assemble
    from ownership_stream.telemetry import configure_logging, get_logger

    settings = session.settings
    configure_logging(settings.log_level.value)
    worker = assemble(settings)
    revision = worker.matrix.revision
    worker.telemetry.describe(version=__version__, revision=revision)
    log = get_logger("worker")
    log.info("worker_started", version=__version__, revision=revision, mode=settings.mode.value, group=settings.app_id)
    run_worker(worker.config, worker.stages, store=worker.store, observer=worker.observer, metrics=worker.telemetry)
    log.info("worker_stopped", version=__version__, revision=revision, mode=settings.mode.value, group=settings.app_id)
