"""The settings of the loop's connectors; those of the sinks are the ones that docs/sinks.md gives to users."""

import json
import re
from typing import Any, Final

from matrices import ROOT

SIGNALS: Final = "public.debezium_signal"

SOURCE: Final = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "database.hostname": "127.0.0.1",
    "database.user": "postgres",
    "database.password": "none is asked for",
    "plugin.name": "pgoutput",
    "publication.autocreate.mode": "filtered",
    # The slot of a Connect that was killed is free as soon as PostgreSQL has seen its connection end.
    "slot.max.retries": "100",
    "slot.retry.delay.ms": "200",
    "incremental.snapshot.chunk.size": "8",
    "poll.interval.ms": "20",
    "topic.creation.default.partitions": "1",
    "topic.creation.default.replication.factor": "1",
}
"""What both sources have in common, beside their form."""

SINK: Final = {
    "connection.password": "none is asked for",
    "consumer.override.auto.offset.reset": "earliest",
    # A sink that was killed holds its partitions until the group has missed it for so long.
    "consumer.override.session.timeout.ms": "2000",
    "consumer.override.heartbeat.interval.ms": "500",
    "consumer.override.fetch.max.wait.ms": "20",
}
"""What the sinks of a test have beside what is documented: everything comes sooner."""


def documented_sink() -> dict[str, str]:
    """The configuration of the Debezium JDBC sink in docs/sinks.md."""
    page = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    texts = re.findall(r"```json\n(\{.*?\n\})\n```", page, re.DOTALL)
    blocks: list[dict[str, Any]] = [json.loads(text) for text in texts]
    [found] = [block["config"] for block in blocks if "debezium.connector.jdbc" in block["config"]["connector.class"]]
    return {name: str(value) for name, value in found.items()}
