"""What a worker is to do and with what: its stages, its configuration, its store. Knows neither Faust nor asyncio.

So the commands that only look at what workers decided need nothing of what workers run on.
"""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownership_stream.lane import LaneConfig, Step
from ownership_stream.settings import Settings
from ownership_stream.settings.clients import aiokafka_config, librdkafka_config
from ownership_stream.store import WAIVE_EVICTION, RedisStore
from ownership_stream.topics import record_limit


@dataclass(frozen=True, slots=True)
class Stage:
    """A pure step and the topics it reads."""

    step: Step
    topics: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker needs beside its lanes' configuration; times in seconds, sizes in bytes.

    `brokers` are `host:port`. `client` is how aiokafka is to reach them, in its own words (`settings.aiokafka_config`);
    of these Faust takes the TLS context and the SASL user. `grace_seconds` is what a stopping worker gives its lanes to
    settle what is at work, `work_bytes` what all lanes together may have at work. `http_port` 0 takes a free port, None
    serves nothing.
    """

    lane: LaneConfig
    brokers: Sequence[str]
    client: Mapping[str, Any] = field(default_factory=dict)
    session_seconds: float = 10.0
    grace_seconds: float = 60.0
    batch_rows: int = 10_000
    batch_bytes: int = 1024 * 1024
    work_bytes: int = 4 * 1024 * 1024
    http_host: str = "127.0.0.1"
    http_port: int | None = 6066
    data_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "ownership-stream")


def worker_config(settings: Settings, *, waived: Collection[str] = ()) -> WorkerConfig:
    """The worker's configuration from the settings; `waived` are the checks that the embedded stack cannot answer."""
    lane = LaneConfig(
        app=settings.app_id,
        client=librdkafka_config(settings),
        control_topic=settings.topic_lanes,
        record_limit=record_limit(settings),
        transaction_seconds=settings.transaction_timeout_seconds,
        message_seconds=settings.message_timeout_seconds,
        waived=frozenset(waived),
    )
    return WorkerConfig(
        lane=lane,
        brokers=settings.brokers.split(","),
        client=aiokafka_config(settings),
        session_seconds=settings.session_timeout_seconds,
        grace_seconds=settings.shutdown_grace_seconds,
        batch_rows=settings.batch_max_records,
        batch_bytes=settings.batch_max_bytes,
        work_bytes=settings.work_max_bytes,
        http_host=settings.http_host,
        http_port=settings.http_port,
    )


def redis_store(settings: Settings, *, waived: Collection[str] = ()) -> RedisStore:
    """The store of record states from the settings."""
    return RedisStore.from_url(
        settings.redis_url.get_secret_value(),
        timeout=settings.redis_timeout_seconds,
        save_chunk=settings.redis_chunk_keys,
        waive_eviction_check=WAIVE_EVICTION in waived,
    )
