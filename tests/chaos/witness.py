"""What outsiders can see of an installation after a run: topics, Redis, offsets. It decides nothing.

`Witness` is plain data, so that the judge's own tests can invent it, and a run that went wrong can be kept as evidence.
What is too much for that is read when it is asked for (`afar`): to the judge both are an `Account`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic, sleep
from typing import Any, Final, NamedTuple, Protocol

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

from chaos.columns import Partition, given_digest
from chaos.installation import Installation
from ownership_stream.lane.contract import Record
from ownership_stream.settings import Settings
from ownership_stream.store import DUE_KEY, POSITION_FIELD, STATES_KEY
from ownership_stream.topics import owned_topics, record_limit

REQUEST_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.25
READ_AT_ONCE: Final = 1_000
# A partition's last records are fewer than that: then so long is waited for nothing.
READ_SECONDS: Final = 0.02
QUEUED_KIB: Final = 32 * 1024
SCAN_AT_ONCE: Final = 2_000
LATEST: Final = OffsetSpec.latest()
EARLIEST: Final = OffsetSpec.earliest()


class Fed(NamedTuple):
    """What the load gave to a topic. Without an offset, the broker never acknowledged it: it may stand there or not."""

    topic: str
    partition: int | None
    offset: int | None
    key: bytes | None
    value: bytes | None

    @property
    def digest(self) -> bytes:
        """Of what was given."""
        return given_digest(self.key, self.value)


class Given(Protocol):
    """`Fed`, or what is left of it when nobody can keep all the bytes."""

    @property
    def topic(self) -> str:
        """Where it was given to."""
        ...

    @property
    def partition(self) -> int | None:
        """Where it stands; None if nobody knows."""
        ...

    @property
    def offset(self) -> int | None:
        """Where it stands; None if nobody knows."""
        ...

    @property
    def digest(self) -> bytes:
        """Of its key and value."""
        ...


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


class Keys(NamedTuple):
    """The keys in Redis under one state topic's id: partitions that have any, and keys that are none of a lane's."""

    partitions: set[int]
    strange: list[str]


class LaneCache(NamedTuple):
    """What Redis holds of one partition of a state topic."""

    states: dict[str, bytes]
    position: bytes | None
    due: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Account:
    """All that the judge is told; records and Redis it asks for, a partition at a time.

    `fed` is what the load says it gave, or None where nobody says. `committed` are the group's offsets (a partition
    without one is not there), `starts` and `ends` the extents of all partitions, markers included. `topic_ids` are
    Kafka's. `control_topic` is where lanes without states keep their control records, `state_topics` where those with
    states keep both, by their input. `record_limit` is the size in bytes from which a record is too large to be
    written.
    """

    fed: Iterable[Given] | None
    committed: dict[Partition, int]
    starts: dict[Partition, int]
    ends: dict[Partition, int]
    topic_ids: dict[str, str]
    control_topic: str
    state_topics: dict[str, str]
    record_limit: int

    @property
    def owned(self) -> AbstractSet[str]:
        """The topics of ours; the others are sources."""
        raise NotImplementedError

    def read(self, where: Partition) -> Iterable[Record]:
        """The committed records of a partition, in the order of their offsets."""
        raise NotImplementedError

    def keys(self) -> Mapping[str, Keys]:
        """The keys in Redis, by state topic."""
        raise NotImplementedError

    def cached(self, where: Partition) -> LaneCache:
        """What Redis holds of one partition of a state topic."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Witness(Account):
    """All of it in memory: plain data.

    `inputs` are the committed records of the source topics, `records` those of every topic of ours, by topic, each in
    the order of (partition, offset). `cache` is by state topic.
    """

    inputs: list[Record]
    records: dict[str, list[Record]]
    cache: dict[str, Cache]

    @property
    def owned(self) -> AbstractSet[str]:
        """The topics of ours; the others are sources."""
        return self.records.keys()

    def read(self, where: Partition) -> Iterable[Record]:
        """The committed records of a partition, in the order of their offsets."""
        return self._split.get(where, [])

    def keys(self) -> Mapping[str, Keys]:
        """The keys in Redis, by state topic."""
        return {
            topic: Keys({where for where, _ in cache.states} | cache.positions.keys() | cache.due.keys(), cache.strange)
            for topic, cache in self.cache.items()
        }

    def cached(self, where: Partition) -> LaneCache:
        """What Redis holds of one partition of a state topic."""
        topic, partition = where
        cache = self.cache[topic]
        states = {name: state for (at, name), state in cache.states.items() if at == partition}
        return LaneCache(states, cache.positions.get(partition), cache.due.get(partition, {}))

    @cached_property
    def _split(self) -> dict[Partition, list[Record]]:
        found: dict[Partition, list[Record]] = defaultdict(list)
        for some in (self.inputs, *self.records.values()):
            for record in some:
                found[record.topic, record.partition].append(record)
        for some in found.values():
            some.sort(key=lambda record: record.offset)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_split"}


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


def observe(site: Installation, fed: Iterable[Given] | None = None) -> Witness:
    """Everything as it stands; to be called when nothing moves any more.

    `fed` is what the load gave, if somebody says.
    """
    told = extents(site)
    read = _read(site.bootstrap, f"{site.name}-witness", told["starts"], told["ends"])
    owned = [topic.name for topic in owned_topics(site.settings)]
    with redis.Redis.from_url(site.settings.redis_url.get_secret_value()) as client:
        cache = {topic: _cache(client, prefix) for topic, prefix in prefixes(site.settings, told["topic_ids"]).items()}
    return Witness(
        **told,
        fed=None if fed is None else list(fed),
        inputs=[record for topic in source_topics(site) for record in read[topic]],
        records={topic: read[topic] for topic in owned},
        cache=cache,
    )


def extents(site: Installation) -> dict[str, Any]:
    """What an `Account` says beside records, Redis and what was fed."""
    settings = site.settings
    names = [*source_topics(site), *(topic.name for topic in owned_topics(settings))]
    there = _partitions(site.admin, names)
    return {
        "committed": _committed(site),
        "starts": _offsets(site.admin, there, EARLIEST),
        "ends": _offsets(site.admin, there, LATEST),
        "topic_ids": _topic_ids(site.admin, names),
        "control_topic": settings.topic_lanes,
        "state_topics": {
            settings.topic_changes: settings.topic_state,
            settings.topic_matches: settings.topic_match_state,
        },
        "record_limit": record_limit(settings),
    }


def source_topics(site: Installation) -> list[str]:
    """The topics of all sources."""
    return [topic for topics in site.settings.source_topics.values() for topic in topics]


def prefixes(settings: Settings, topic_ids: Mapping[str, str]) -> dict[str, str]:
    """What the keys in Redis begin with, by state topic."""
    topics = (settings.topic_state, settings.topic_match_state)
    return {topic: f"{settings.app_id}:{topic_ids[topic]}:" for topic in topics}


def _input_topics(site: Installation) -> list[str]:
    """What lanes read: the source topics, then the two that we own."""
    return [*source_topics(site), site.settings.topic_changes, site.settings.topic_matches]


def _lagging(site: Installation) -> Iterator[str]:
    """The lanes that have something before them.

    The committed offsets are read first: a lane that had then settled all that is there now gave nothing to another
    meanwhile.
    """
    there = _partitions(site.admin, _input_topics(site))
    committed = _committed(site)
    stable = _offsets(site.admin, there, LATEST, IsolationLevel.READ_COMMITTED)
    ends = _offsets(site.admin, there, LATEST)
    open_at = {where: stable[where] for where, end in ends.items() if stable[where] < end}
    behind = {where: committed.get(where, 0) for where in ends.keys() - open_at.keys()}
    for topic, partition in _with_records(site, behind, ends):
        begin, end = behind[topic, partition], ends[topic, partition]
        yield f"{topic}[{partition}] is committed up to {begin} of {end}"
    for (topic, partition), offset in open_at.items():
        yield f"{topic}[{partition}] has a transaction open at {offset}"


def _with_records(site: Installation, begins: Mapping[Partition, int], ends: Mapping[Partition, int]) -> set[Partition]:
    """Where a committed record stands: transactions end with a marker, which takes an offset."""
    found, left = set[Partition](), {where for where, begin in begins.items() if begin < ends[where]}
    reader = _reader(site.bootstrap, f"{site.name}-witness")
    try:
        reader.assign([TopicPartition(*where, begins[where]) for where in left])
        deadline = monotonic() + REQUEST_SECONDS
        while left and monotonic() < deadline:
            for message in reader.consume(READ_AT_ONCE, timeout=READ_SECONDS):
                error, where = message.error(), (message.topic() or "", message.partition() or 0)
                if error is None:
                    found.add(where)
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if where in found or (message.offset() or 0) >= ends[where]:
                    left.discard(where)
    finally:
        reader.close()
    return found | left


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


def _reader(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            # Whoever reads much reads a partition at a time; what is fetched ahead is memory.
            "queued.max.messages.kbytes": QUEUED_KIB,
            "log_level": 0,
        }
    )


def _read(
    bootstrap: str, group: str, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> dict[str, list[Record]]:
    """Every committed record up to the ends, by topic, in the order of partitions and offsets."""
    found: dict[Partition, list[Record]] = defaultdict(list)
    for record in read(bootstrap, group, starts, ends):
        found[record.topic, record.partition].append(record)
    return {
        topic: [record for where in sorted(ends) if where[0] == topic for record in found[where]]
        for topic in dict.fromkeys(topic for topic, _ in ends)
    }


def read(
    bootstrap: str, group: str, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
) -> Iterator[Record]:
    """Every committed record of these partitions up to the ends, those of one partition in their order."""
    left, deadline = {where for where in ends if starts[where] < ends[where]}, monotonic() + REQUEST_SECONDS
    reader = _reader(bootstrap, group)
    try:
        reader.assign([TopicPartition(*where, starts[where]) for where in left])
        while left:
            assert monotonic() < deadline, f"cannot be read to the end: {sorted(left)}"
            for message in reader.consume(READ_AT_ONCE, timeout=READ_SECONDS):
                deadline = monotonic() + REQUEST_SECONDS
                error = message.error()
                if error is None:
                    yield _record(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                else:
                    where = message.topic() or "", message.partition() or 0
                    if (message.offset() or 0) >= ends[where]:
                        left.discard(where)
    finally:
        reader.close()


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    where = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    key: Any = message.key()
    value: Any = message.value()
    return Record(*where, message.timestamp()[1], key, value, tuple(headers))


def _cache(client: "redis.Redis", prefix: str) -> Cache:
    """All keys that begin so."""
    keys = take_keys(client, prefix)
    cache = Cache(strange=list(keys.strange))
    for partition in sorted(keys.partitions):
        lane = lane_cache(client, prefix, partition)
        cache.states.update({(partition, record): state for record, state in lane.states.items()})
        if lane.position is not None:
            cache.positions[partition] = lane.position
        cache.due[partition] = dict(lane.due)
    return cache


def take_keys(client: "redis.Redis", prefix: str) -> Keys:
    """All keys that begin so. After the prefix a key goes on `{<partition>}:`: a hash of states, and who is due."""
    keys = Keys(set(), [])
    for key in sorted(set(client.scan_iter(match=f"{prefix}*", count=SCAN_AT_ONCE))):
        lane, _, name = key.decode().removeprefix(prefix).partition(":")
        number = lane.removeprefix("{").removesuffix("}")
        if lane != f"{{{number}}}" or not number.isdecimal() or name not in (STATES_KEY, DUE_KEY):
            keys.strange.append(key.decode())
        else:
            keys.partitions.add(int(number))
    return keys


def lane_cache(client: "redis.Redis", prefix: str, partition: int) -> LaneCache:
    """What Redis holds of one partition, under the prefix of its topic."""
    lane, own = f"{prefix}{{{partition}}}:", POSITION_FIELD.encode()
    fields = dict(client.hscan_iter(f"{lane}{STATES_KEY}", count=SCAN_AT_ONCE))
    position = fields.pop(own, None)
    waiting = client.zrange(f"{lane}{DUE_KEY}", 0, -1, withscores=True)
    due = {record.decode(): int(at) for record, at in waiting if record != own}
    return LaneCache({record.decode(): state for record, state in fields.items()}, position, due)
