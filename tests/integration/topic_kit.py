"""Topics made, grown, limited and removed, each change returned from only once every client can see it.

A broker answers such a request when its controller has written it down, and acts on it when it has heard of it, a
moment later: on a quiet machine at once.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

DEADLINE: Final = 60.0
ANSWER_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.02


def make(admin: AdminClient, *wanted: NewTopic) -> None:
    """Creates topics."""
    for created in admin.create_topics(list(wanted)).values():
        created.result(ANSWER_SECONDS)
    for topic in wanted:
        _await(lambda topic=topic: partitions(admin, topic.topic) == topic.num_partitions, f"topic `{topic.topic}`")


def remove(admin: AdminClient, topic: str) -> None:
    """Deletes a topic."""
    admin.delete_topics([topic])[topic].result(ANSWER_SECONDS)
    _await(lambda: partitions(admin, topic) == 0, f"`{topic}` gone")


def make_again(admin: AdminClient, topic: NewTopic) -> None:
    """Deletes a topic, and makes another one of the same name as soon as the old one is out of the way."""
    before, name = _id(admin, topic.topic), topic.topic
    admin.delete_topics([name])[name].result(ANSWER_SECONDS)
    _await(lambda: admin.create_topics([topic])[name].exception(ANSWER_SECONDS) is None, f"another `{name}`")
    _await(lambda: _id(admin, name) not in (None, before), f"the other `{name}` where the first was")


def grow(admin: AdminClient, topic: str, number: int) -> None:
    """Adds partitions to a topic, up to that number."""
    admin.create_partitions([NewPartitions(topic, number)])[topic].result(ANSWER_SECONDS)
    _await(lambda: partitions(admin, topic) == number, f"{number} partitions of `{topic}`")


def configure(admin: AdminClient, topic: str, name: str, value: str) -> None:
    """Gives a setting of a topic another value."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    asked = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([asked])[asked].result(ANSWER_SECONDS)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    _await(
        lambda: admin.describe_configs([resource])[resource].result(ANSWER_SECONDS)[name].value == value,
        f"`{name}={value}` of `{topic}`",
    )


def partitions(admin: AdminClient, topic: str) -> int:
    """How many partitions a topic has; none if it does not exist."""
    found = admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    return 0 if found.error is not None else len(found.partitions)


def _id(admin: AdminClient, topic: str) -> str | None:
    try:
        described: Any = admin.describe_topics(TopicCollection([topic]))[topic].result(ANSWER_SECONDS)
    except KafkaException:
        return None
    return str(described.topic_id)


def _await(true: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + DEADLINE
    while not true():
        assert monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        sleep(POLL_SECONDS)
