"""What outsiders can see of an installation after a run: topics, Redis, offsets. It decides nothing.

`Witness` is plain data, so that the judge's own tests can invent it, and a run that went wrong can be kept as evidence.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

import redis
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from chaos.installation import Installation
from ownership_stream.lane.contract import Record
from ownership_stream.store import DUE_KEY, POSITION_FIELD, STATES_KEY
from ownership_stream.topics import owned_topics, record_limit

REQUEST_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.25
READ_AT_ONCE: Final = 10_000
SCAN_AT_ONCE: Final = 2_000
LATEST: Final = OffsetSpec.latest()
EARLIEST: Final = OffsetSpec.earliest()

Partition = tuple[str, int]


class Fed(NamedTuple):
    """What the load gave to a topic. Without an offset, the broker never acknowledged it: it may stand there or not."""

    topic: str
    partition: int | None
    offset: int | None
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Cache:
    """What Redis holds under one state topic's id, all lanes together.

    `states` by (partition, record id). `positions` as they stand (`<incarnation>:<offset>`), and `due` (record id ->
    when), by partition. `strange` are keys under the prefix that are none of a lane's.
    """

    states: dict[tuple[int, str], bytes] = field(default_factory=dict)
    positions: dict[int, bytes] = field(default_factory=dict)
    due: dict[int, dict[str, int]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Witness:
    """All that the judge is told.

    `inputs` are the committed records of the source topics, `records` those of every topic of ours, by topic, each in
    the order of (partition, offset). `fed` is what the load says it gave, or None where nobody says. `cache` is by
    state topic, `committed` the group's offsets (a partition without one is not there), `starts` and `ends` the extents
    of all partitions, markers included. `topic_ids` are Kafka's. `control_topic` is where lanes without states keep
    their control records, `state_topics` where those with states keep both, by their input. `record_limit` is the size
    in bytes from which a record is too large to be written.
    """

    inputs: list[Record]
    fed: list[Fed] | None
    records: dict[str, list[Record]]
    cache: dict[str, Cache]
    committed: dict[Partition, int]
    starts: dict[Partition, int]
    ends: dict[Partition, int]
    topic_ids: dict[str, str]
    control_topic: str
    state_topics: dict[str, str]
    record_limit: int


def await_settled(site: Installation, *, seconds: float = 120) -> None:
    """Until every lane has committed the end of its input, and no transaction is open there.

    An outage meanwhile is waited for. Raises `AssertionError` with what lags after `seconds`.
    """
    deadline = monotonic() + seconds
    lagging: list[str] = ["nothing could be read"]
    while True:
        try:
            lagging = list(_lagging(site))
        except KafkaException as error:
            lagging = [f"kafka: {error}"]
        if not lagging:
            return
        assert monotonic() < deadline, f"not settled within {seconds:.0f} s: {', '.join(lagging)}"
        sleep(POLL_SECONDS)


def observe(site: Installation, fed: Iterable[Any] | None = None) -> Witness:
    """Everything as it stands; to be called when nothing moves any more.

    `fed` are `Fed`, or the load's own with a source's name instead of its topic.
    """
    settings = site.settings
    sources = _input_topics(site)[:-2]
    owned = [topic.name for topic in owned_topics(settings)]
    there = _partitions(site.admin, [*sources, *owned])
    ends = _offsets(site.admin, there, LATEST)
    read = _read(site, ends)
    ids = _topic_ids(site.admin, [*sources, *owned])
    states = {settings.topic_changes: settings.topic_state, settings.topic_matches: settings.topic_match_state}
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        cache = {topic: _cache(client, f"{settings.app_id}:{ids[topic]}:") for topic in states.values()}
    return Witness(
        inputs=[record for topic in sources for record in read[topic]],
        fed=None if fed is None else [_fed(site, one) for one in fed],
        records={topic: read[topic] for topic in owned},
        cache=cache,
        committed=_committed(site),
        starts=_offsets(site.admin, there, EARLIEST),
        ends=ends,
        topic_ids=ids,
        control_topic=settings.topic_lanes,
        state_topics=states,
        record_limit=record_limit(settings),
    )


def _input_topics(site: Installation) -> list[str]:
    """What lanes read: the source topics, then the two that we own."""
    settings = site.settings
    named = [topic for topics in settings.source_topics.values() for topic in topics]
    return [*named, settings.topic_changes, settings.topic_matches]


def _lagging(site: Installation) -> Iterator[str]:
    """The lanes that have something before them.

    The committed offsets are read first: a lane that had then settled all that is there now gave nothing to another
    meanwhile.
    """
    there = _partitions(site.admin, _input_topics(site))
    committed = _committed(site)
    stable = _offsets(site.admin, there, LATEST, IsolationLevel.READ_COMMITTED)
    for where, end in _offsets(site.admin, there, LATEST).items():
        begin = committed.get(where, 0)
        topic, partition = where
        if stable[where] < end:
            yield f"{topic}[{partition}] has a transaction open at {stable[where]}"
        elif begin < end and not _only_markers(site, where, begin, end):
            yield f"{topic}[{partition}] is committed up to {begin} of {end}"


def _only_markers(site: Installation, where: Partition, begin: int, end: int) -> bool:
    """Whether no record stands there: transactions end with a marker, which takes an offset."""
    reader = _reader(site)
    try:
        reader.assign([TopicPartition(*where, begin)])
        deadline = monotonic() + REQUEST_SECONDS
        while monotonic() < deadline:
            for message in reader.consume(1, timeout=0.5):
                error = message.error()
                if error is None:
                    return False
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if (message.offset() or 0) >= end:
                    return True
    finally:
        reader.close()
    return False


def _fed(site: Installation, one: Any) -> Fed:
    topic = site.sources[one.source] if hasattr(one, "source") else one.topic
    return Fed(topic, one.partition, one.offset, one.key, one.value)


def _partitions(admin: AdminClient, topics: Sequence[str]) -> list[TopicPartition]:
    known = admin.list_topics(timeout=REQUEST_SECONDS).topics
    return [TopicPartition(topic, partition) for topic in topics for partition in known[topic].partitions]


def _offsets(
    admin: AdminClient,
    there: Sequence[TopicPartition],
    spec: Any,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[Partition, int]:
    asked = dict.fromkeys(there, spec)
    answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_SECONDS)
    return {(where.topic, where.partition): int(_result(answer).offset) for where, answer in answers.items()}


def _committed(site: Installation) -> dict[Partition, int]:
    # Not by the admin client: its `list_consumer_group_offsets` can end the process with a segmentation fault.
    reader = Consumer(
        {
            "bootstrap.servers": site.bootstrap,
            "group.id": site.settings.app_id,
            "enable.auto.commit": False,
            # It waits for offsets that are in an open transaction.
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        found = reader.committed(_partitions(site.admin, _input_topics(site)), timeout=REQUEST_SECONDS)
    finally:
        reader.close()
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def _topic_ids(admin: AdminClient, topics: list[str]) -> dict[str, str]:
    answers = admin.describe_topics(TopicCollection(topics), request_timeout=REQUEST_SECONDS)
    return {topic: str(_result(answer).topic_id) for topic, answer in answers.items()}


def _result(future: Any) -> Any:
    """A client's answer; that there was none in time is a failure like others."""
    try:
        return future.result(timeout=REQUEST_SECONDS + 1)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error


def _reader(site: Installation) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": site.bootstrap,
            "group.id": f"{site.name}-witness",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )


def _read(site: Installation, ends: dict[Partition, int]) -> dict[str, list[Record]]:
    """Every committed record up to the ends, by topic, in the order of partitions and offsets."""
    reader = _reader(site)
    starts = _offsets(site.admin, [TopicPartition(*where) for where in ends], EARLIEST)
    reader.assign([TopicPartition(topic, partition, begin) for (topic, partition), begin in starts.items()])
    found: dict[Partition, list[Record]] = defaultdict(list)
    left, deadline = set(ends), monotonic() + REQUEST_SECONDS
    try:
        while left:
            assert monotonic() < deadline, f"cannot be read to the end: {sorted(left)}"
            for message in reader.consume(READ_AT_ONCE, timeout=0.2):
                where, error = (message.topic() or "", message.partition() or 0), message.error()
                if error is None:
                    found[where].append(_record(message))
                    deadline = monotonic() + REQUEST_SECONDS
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                elif (message.offset() or 0) >= ends[where]:
                    left.discard(where)
    finally:
        reader.close()
    return {
        topic: [record for where in sorted(ends) if where[0] == topic for record in found[where]]
        for topic in dict.fromkeys(topic for topic, _ in ends)
    }


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    where = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    key: Any = message.key()
    value: Any = message.value()
    return Record(*where, message.timestamp()[1], key, value, tuple(headers))


def _cache(client: "redis.Redis", prefix: str) -> Cache:
    """All keys that begin so. After the prefix a key goes on `{<partition>}:`: a hash of states, and who is due."""
    cache = Cache()
    own = POSITION_FIELD.encode()
    for key in sorted(set(client.scan_iter(match=f"{prefix}*", count=SCAN_AT_ONCE))):
        lane, _, name = key.decode().removeprefix(prefix).partition(":")
        number = lane.removeprefix("{").removesuffix("}")
        if lane != f"{{{number}}}" or not number.isdecimal() or name not in (STATES_KEY, DUE_KEY):
            cache.strange.append(key.decode())
        elif name == STATES_KEY:
            fields = dict(client.hscan_iter(key, count=SCAN_AT_ONCE))
            if own in fields:
                cache.positions[int(number)] = fields.pop(own)
            cache.states.update({(int(number), record.decode()): state for record, state in fields.items()})
        else:
            waiting = client.zrange(key, 0, -1, withscores=True)
            cache.due[int(number)] = {record.decode(): int(at) for record, at in waiting if record != own}
    return cache
