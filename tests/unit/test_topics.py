"""The table of the topics we own, and what a check says of topics that differ from it."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from ownership_stream import topics
from ownership_stream.errors import UnavailableError
from ownership_stream.settings import Settings
from ownership_stream.topics import Topic, check, create, owned_topics, record_limit

SETTINGS = Settings()


class FakeAdmin:
    """An admin client on topics kept in a dictionary."""

    def __init__(self, topics: list[Topic]) -> None:
        self.topics = {topic.name: topic for topic in topics}
        self.refused: dict[str, int] = {}
        self.away = False

    def list_topics(self, timeout: float) -> Any:
        """Names, partitions, replicas."""
        assert timeout > 0
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(
            topics={
                name: SimpleNamespace(
                    partitions={
                        number: SimpleNamespace(replicas=list(range(topic.replication)))
                        for number in range(topic.partitions)
                    }
                )
                for name, topic in self.topics.items()
            }
        )

    def create_topics(self, wanted: list[Any], **_: Any) -> "dict[str, Future[None]]":
        """Makes them, but for those refused."""
        answers: dict[str, Future[None]] = {}
        for one in wanted:
            answers[one.topic] = Future()
            if one.topic in self.refused:
                answers[one.topic].set_exception(KafkaException(KafkaError(self.refused[one.topic])))
            else:
                self.topics[one.topic] = Topic(one.topic, one.num_partitions, one.replication_factor, one.config)
                answers[one.topic].set_result(None)
        return answers

    def describe_configs(self, resources: list[Any]) -> "dict[Any, Future[Any]]":
        """Settings of each."""
        answers = {}
        for resource in resources:
            answers[resource] = Future[Any]()
            config = self.topics[resource.name].config
            answers[resource].set_result({name: SimpleNamespace(value=value) for name, value in config.items()})
        return answers


def changed(name: str, **changes: Any) -> FakeAdmin:
    """Topics as they should be, but for one."""
    config = changes.pop("config", {})
    return FakeAdmin(
        [
            topic
            if topic.name != name
            else Topic(
                **{
                    "name": name,
                    "partitions": topic.partitions,
                    "replication": topic.replication,
                    "config": {**topic.config, **config},
                    **changes,
                }
            )
            for topic in owned_topics(SETTINGS)
        ]
    )


def problems(admin: Any) -> list[str]:
    """The lines of a check."""
    return [str(problem) for problem in check(admin, SETTINGS)]


def test_what_was_created_passes_the_check() -> None:
    """Both stand on the same table; creating again creates nothing."""
    admin: Any = FakeAdmin([])
    assert {topic.name for topic in owned_topics(SETTINGS)} == set(create(admin, SETTINGS))
    assert [] == check(admin, SETTINGS)
    assert [] == create(admin, SETTINGS)


class SlowAdmin(FakeAdmin):
    """A broker that hears of new topics from the controller only after a few looks."""

    looks = 0

    def list_topics(self, timeout: float) -> Any:
        """Nothing at first."""
        self.looks += 1
        return SimpleNamespace(topics={}) if self.looks < 4 else super().list_topics(timeout)


def test_topics_are_created_once_they_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check right after it finds them; topics that stay unseen are named, and what to do."""
    monkeypatch.setattr(topics, "LOOK_SECONDS", 0.0)
    admin: Any = SlowAdmin([])
    create(admin, SETTINGS)
    assert [] == check(admin, SETTINGS)

    monkeypatch.setattr(topics, "REQUEST_SECONDS", 0.0)
    admin = SlowAdmin([])
    admin.looks = -1000
    with pytest.raises(UnavailableError, match=r"topic `apply\.crm` is made, but cannot be seen yet: check again"):
        create(admin, SETTINGS)


def test_the_table_holds_what_the_design_asks_for() -> None:
    """The broker's time on changes, compaction of states, room for dead letters, no unclean election."""
    table = {topic.name: topic for topic in owned_topics(SETTINGS)}
    assert "LogAppendTime" == table["ownership.changes"].config["message.timestamp.type"]
    assert "compact" == table["ownership.state"].config["cleanup.policy"]
    assert table["ownership.changes"].partitions == table["ownership.state"].partitions
    assert 1 == table["ownership.lanes"].partitions
    assert {"apply.ehr", "apply.crm", "ownership.conflicts", "ownership.resolutions"} <= set(table)
    assert 1024 * 1024 + 64 * 1024 == record_limit(SETTINGS)
    for topic in table.values():
        assert str(record_limit(SETTINGS)) == topic.config["max.message.bytes"]
        assert ("2", "false") == (
            topic.config["min.insync.replicas"],
            topic.config["unclean.leader.election.enable"],
        )


@pytest.mark.parametrize(
    ("name", "config", "line"),
    [
        ("ownership.state", {"cleanup.policy": "delete"}, "has `cleanup.policy=delete` instead of `compact`"),
        ("ownership.changes", {"message.timestamp.type": "CreateTime"}, "by the writer's clock"),
        ("apply.crm", {"min.insync.replicas": "1"}, "one broker's loss"),
        ("apply.ehr", {"unclean.leader.election.enable": "true"}, "could become leader"),
        ("ownership.dead-letters", {"max.message.bytes": "1000"}, "nor become dead letters"),
        ("ownership.changes", {"retention.ms": "1000"}, "before they are read"),
        ("ownership.changes", {"retention.bytes": "1000"}, "before they are read"),
    ],
)
def test_a_setting_that_costs_something_is_one_line(name: str, config: dict[str, str], line: str) -> None:
    """It names the topic, what it has, what it should have, and what it costs."""
    [problem] = problems(changed(name, config=config))
    assert problem.startswith(f"topic `{name}`: has `")
    assert line in problem


@pytest.mark.parametrize("more", [{"retention.ms": "-1"}, {"max.message.bytes": "9999999"}])
def test_more_than_asked_for_is_as_good(more: dict[str, str]) -> None:
    """Only less costs something."""
    assert [] == problems(changed("ownership.changes", config=more))


def test_partitions_and_replicas_are_checked() -> None:
    """Growing in place is no cure, and the line says so."""
    assert (
        "has 9 partitions instead of 8: growth is a migration" in problems(changed("ownership.state", partitions=9))[0]
    )
    assert "has 1 replicas instead of 3" in problems(changed("ownership.state", replication=1))[0]


def test_a_missing_topic_says_how_to_make_it() -> None:
    """All problems at once, the missing first."""
    admin = changed("ownership.state", partitions=9)
    del admin.topics["apply.crm"]
    first, second = problems(admin)
    assert "topic `apply.crm`: does not exist: run `ownership-stream topics create`" == first
    assert "ownership.state" in second
    assert len(owned_topics(SETTINGS)) == len(problems(FakeAdmin([])))


def test_what_kafka_refuses_to_create_is_said_per_topic() -> None:
    """One made by another at the same moment is no error."""
    admin: Any = FakeAdmin([])
    admin.refused = {
        "apply.ehr": KafkaError.TOPIC_ALREADY_EXISTS,
        "apply.crm": KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
    with pytest.raises(UnavailableError, match=r"topic `apply\.crm` cannot be created: Broker: Topic auth"):
        create(admin, SETTINGS)
    assert "ownership.state" in admin.topics


def test_kafka_away_is_said() -> None:
    """Neither created nor checked: the command needs Kafka."""
    admin: Any = FakeAdmin([])
    admin.away = True
    with pytest.raises(UnavailableError, match="kafka: cannot list topics"):
        check(admin, SETTINGS)
