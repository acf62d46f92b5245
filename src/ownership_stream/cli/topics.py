"""`ownership-stream topics`: make the topics that are ours, and check that they are as they should be."""

import click
from confluent_kafka.admin import AdminClient

from ownership_stream import topics
from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import ExitCode
from ownership_stream.settings import Settings, librdkafka_config


@click.group("topics")
def command() -> None:
    """Make or check the topics that are ours.

    Source topics belong to their connectors and are left alone.
    """


@command.command("create")
@setting_flags("brokers", "partitions", "replication_factor", "min_insync_replicas")
@pass_session
def create(session: Session) -> None:
    """Make the topics that are missing; those that exist stay as they are."""
    created = topics.create(_admin(session.settings), session.settings)
    session.emit(
        {"created": created},
        lambda: "\n".join(f"created `{name}`" for name in created) or "nothing to do: every topic exists",
    )


@command.command("check")
@setting_flags("brokers", "partitions", "replication_factor", "min_insync_replicas")
@pass_session
def check(session: Session) -> int:
    """Say what could lose records, order or time: partitions, replicas, compaction, retention.

    Exit code 3 if there is anything to say.
    """
    problems = topics.check(_admin(session.settings), session.settings)
    session.emit(
        {"problems": [problem._asdict() for problem in problems]},
        lambda: "\n".join(map(str, problems)) or "every topic is as it should be",
    )
    return ExitCode.PROBLEMS if problems else ExitCode.OK


def _admin(settings: Settings) -> AdminClient:
    # librdkafka would write its own lines to stderr while it looks for the brokers; the error says it once.
    return AdminClient({**librdkafka_config(settings), "log_level": 0})
