"""The topics we own, as a table: created from it and checked against it.

Nothing here is decided for the source topics, which belong to their connectors. The mock broker of the embedded stack
knows no topic settings and makes topics by itself, so neither `create` nor `check` is for it.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not by the letter of PEP 484
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from ownership_stream.errors import UnavailableError
from ownership_stream.settings import Settings

# What a dead letter needs beside its source record, whole: headers, and the wire's own.
DEAD_LETTER_MARGIN: Final = 64 * 1024
SYSTEMS: Final = ("ehr", "crm")
# Control records are small and many; a small segment lets compaction reach them soon (docs/adr/0002).
CONTROL_SEGMENT_BYTES: Final = 8 * 1024 * 1024
DAY_MILLISECONDS: Final = 24 * 60 * 60 * 1000
REQUEST_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1
"""Between two looks whether the brokers know a topic by now."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as we want it. `config` is Kafka's, as text."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


class Problem(NamedTuple):
    """What is wrong with one topic, in one line."""

    topic: str
    text: str

    def __str__(self) -> str:
        return f"topic `{self.topic}`: {self.text}"


def record_limit(settings: Settings) -> int:
    """The largest record that the topics we own and our clients accept, in bytes."""
    return settings.record_max_bytes + DEAD_LETTER_MARGIN


def owned_topics(settings: Settings, systems: Sequence[str] = SYSTEMS) -> list[Topic]:
    """Every topic we own, for these settings."""
    common = {
        "min.insync.replicas": str(settings.min_insync_replicas),
        "unclean.leader.election.enable": "false",
        "max.message.bytes": str(record_limit(settings)),
    }
    kept = common | {
        "cleanup.policy": "delete",
        "retention.ms": str(settings.changes_retention_days * DAY_MILLISECONDS),
        "retention.bytes": "-1",
    }
    # The broker's time is what decisions go by, so the log must carry it and not the writer's.
    changes = kept | {"message.timestamp.type": "LogAppendTime"}
    state = common | {"cleanup.policy": "compact"}
    control = state | {
        "segment.bytes": str(CONTROL_SEGMENT_BYTES),
        "min.cleanable.dirty.ratio": "0.1",
    }
    table: list[tuple[str, int, Mapping[str, str]]] = [
        (settings.topic_changes, settings.partitions, changes),
        (settings.topic_state, settings.partitions, state),
        (settings.topic_matches, settings.partitions, kept),
        (settings.topic_match_state, settings.partitions, state),
        (settings.topic_links, settings.partitions, state),
        *((settings.topic_apply(system), settings.partitions, kept) for system in systems),
        (settings.topic_conflicts, settings.partitions, kept),
        (settings.topic_resolutions, settings.partitions, kept),
        (settings.topic_dead_letters, settings.partitions, kept),
        (settings.topic_lanes, 1, control),
    ]
    return [Topic(name, partitions, settings.replication_factor, config) for name, partitions, config in table]


def create(admin: AdminClient, settings: Settings, systems: Sequence[str] = SYSTEMS) -> list[str]:
    """Makes the topics that are missing, and returns their names once they can be seen; the others are left alone.

    Raises `UnavailableError` with one line per topic that Kafka refused, or that nobody has seen in time.
    """
    wanted = {topic.name: topic for topic in owned_topics(settings, systems)}
    missing = [topic for name, topic in wanted.items() if name not in _existing(admin)]
    if not missing:
        return []
    answers = admin.create_topics(
        [NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config)) for topic in missing],
        operation_timeout=REQUEST_SECONDS,
    )
    refused, created = [], []
    for name, answer in answers.items():
        try:
            _result(answer)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                refused.append(f"topic `{name}` cannot be created: {exception.args[0].str()}")
        else:
            created.append(name)
    if refused:
        raise UnavailableError(*refused)
    _await(admin, answers)
    return created


def _await(admin: AdminClient, names: Collection[str]) -> None:
    """Until the topics can be seen: the controller says that it made them before its brokers have heard of it."""
    deadline = time.monotonic() + REQUEST_SECONDS
    while unseen := [name for name in names if name not in _existing(admin)]:
        if time.monotonic() > deadline:
            raise UnavailableError(*(f"topic `{name}` is made, but cannot be seen yet: check again" for name in unseen))
        time.sleep(LOOK_SECONDS)


def check(admin: AdminClient, settings: Settings, systems: Sequence[str] = SYSTEMS) -> list[Problem]:
    """What differs from the table in a way that costs records, order or time; empty if nothing does.

    Raises `UnavailableError` if Kafka does not answer.
    """
    existing = _existing(admin)
    wanted = owned_topics(settings, systems)
    problems = [
        Problem(topic.name, "does not exist: run `ownership-stream topics create`")
        for topic in wanted
        if topic.name not in existing
    ]
    there = [topic for topic in wanted if topic.name in existing]
    configs = _configs(admin, [topic.name for topic in there])
    for topic in there:
        problems += (Problem(topic.name, text) for text in _shape(topic, existing[topic.name]))
        problems += (Problem(topic.name, text) for text in _differences(topic.config, configs[topic.name]))
    return problems


def _shape(topic: Topic, found: TopicMetadata) -> list[str]:
    texts = []
    partitions = len(found.partitions)
    if partitions != topic.partitions:
        texts.append(
            f"has {partitions} partitions instead of {topic.partitions}: growth is a migration by replay, "
            "do not add partitions in place"
        )
    replicas = min((len(partition.replicas) for partition in found.partitions.values()), default=0)
    if replicas < topic.replication:
        texts.append(f"has {replicas} replicas instead of {topic.replication}: reassign its partitions")
    return texts


def _same(wanted: str, found: str) -> bool:
    return wanted == found


def _at_least(wanted: str, found: str) -> bool:
    """For numbers of which more is as good; -1 is without limit."""
    return int(found) == -1 or (wanted != "-1" and int(found) >= int(wanted))


# What a setting of another value costs. Settings that are not here only cost time, and may be tuned.
_CHECKS: Final[Mapping[str, tuple[Callable[[str, str], bool], str]]] = {
    "cleanup.policy": (_same, "records would be deleted that are still needed, or kept for ever"),
    "message.timestamp.type": (_same, "decisions would go by the writer's clock"),
    "min.insync.replicas": (_at_least, "one broker's loss could lose acknowledged records"),
    "unclean.leader.election.enable": (_same, "a broker that lags could become leader and lose records"),
    "max.message.bytes": (_at_least, "large records could not be written, nor become dead letters"),
    "retention.ms": (_at_least, "records could be deleted before they are read"),
    "retention.bytes": (_at_least, "records could be deleted before they are read"),
}


def _differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [
        f"has `{name}={found.get(name)}` instead of `{wanted[name]}`: {cost}"
        for name, (good, cost) in _CHECKS.items()
        if name in wanted and not good(wanted[name], found.get(name) or "0")
    ]


def _existing(admin: AdminClient) -> Mapping[str, TopicMetadata]:
    try:
        return dict(admin.list_topics(timeout=REQUEST_SECONDS).topics)
    except KafkaException as exception:
        raise UnavailableError(f"kafka: cannot list topics: {exception.args[0].str()}") from exception


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    answers = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    try:
        found = {resource.name: _result(answer) for resource, answer in answers.items()}
    except KafkaException as exception:
        raise UnavailableError(f"kafka: cannot read topic settings: {exception.args[0].str()}") from exception
    return {name: {key: entry.value for key, entry in config.items()} for name, config in found.items()}


def _result(answer: "Future[_T]") -> Any:
    try:
        return answer.result(timeout=REQUEST_SECONDS + 1)
    except TimeoutError as error:
        raise UnavailableError("kafka: no answer in time") from error
