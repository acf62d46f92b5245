"""`ownership-stream pages`: the queue as web pages, and an API, until it is told to stop."""

import click

from ownership_stream.cli import Session, pass_session, setting_flags


@click.command("pages")
@setting_flags(
    "brokers", "app_id", "partitions", "matrix_path", "sources_path",
    "pages_host", "pages_port", "pages_url", "log_level",
)  # fmt: skip
@pass_session
def command(session: Session) -> None:
    """Serve the pages and the API by which people see and decide open cases, until SIGTERM or SIGINT.

    Closed by default: without `pages_proxy_secret` or `pages_tokens_path` nothing is served (exit code 2), and so
    without `hash_key`. Exit code 4 if Kafka does not answer at the start. docs/pages.md says how people are let in.
    """
    from ownership_stream.telemetry import configure_logging, get_logger, only_log_lines
    from ownership_stream.web.server import run

    configure_logging(session.settings.log_level.value)
    log = get_logger("pages")
    with only_log_lines():
        run(session.settings, lambda address: log.info("pages_started", detail=f"served on {address}"))
    log.info("pages_stopped")
