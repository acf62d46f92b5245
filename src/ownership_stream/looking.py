"""What people look at: record states and the changes of a record, read beside the lanes and without disturbing them.

States come from Redis without the proof that lanes ask for: a look may be a moment old. Changes come from the log.
Nothing is written, no offset is committed, no group is joined.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient

from ownership_stream.errors import BadInputError
from ownership_stream.identity import RESERVED, partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.lane.broker import WAIVE_CHECKSUMS, WAIVE_TOPIC_IDS, BrokerAwayError, reason_of
from ownership_stream.model import Change, RecordState
from ownership_stream.settings import Mode, Settings, librdkafka_config
from ownership_stream.steps import BREAKER, unpack, unpack_breaker
from ownership_stream.store import RedisStore, StateStore, key_prefix
from ownership_stream.topics import record_limit
from ownership_stream.wire import Resolution, Wire, WireError
from ownership_stream.wire.avro_wire import wire_of

MOCK_CLUSTER: Final = "mockCluster"
"""What the id of a cluster of librdkafka's mock broker begins with."""
METADATA_SECONDS: Final = 10.0
FIRST: Final = 28
"""States that are read at first of those that wait: a page's worth, and a few that wait for something else."""
AT_ONCE: Final = 400
"""States that are read at once where more are asked for."""


class Record(NamedTuple):
    """A record and its state."""

    record: str
    state: RecordState


class Waiting(NamedTuple):
    """A record that wants to be looked at: when, its lane, its id."""

    at: int
    lane: int
    record: str


class Looker:
    """Looks at the states and changes of one application.

    Raises ``UnavailableError`` when Kafka, Redis or the schema registry is away.
    """

    def __init__(self, settings: Settings, broker: Broker, store: StateStore) -> None:
        self._settings = settings
        self._broker = broker
        self._store = store
        self._wire = wire_of(settings)
        self._topic_id = broker.topic_id(settings.topic_state)

    def state(self, record: str) -> RecordState | None:
        """The record's state, or ``None`` where there is none."""
        if record.startswith(RESERVED):
            return None
        [stored] = self._store.peek(self._prefix(partition_of(record, self._settings.partitions)), [record])
        return unpack(stored)

    def states(self) -> Iterator[Record]:
        """Every record with its state, in no order. Reads all of them: for reports, not for pages."""
        for partition in range(self._settings.partitions):
            for record, stored in self._store.scan(self._prefix(partition)):
                state = None if record.startswith(RESERVED) else unpack(stored)
                if state is not None:
                    yield Record(record, state)

    def waiting(self, since: int = 0) -> Iterator[tuple[int, Record]]:
        """Every record that wants to be looked at from ``since`` on, with when it does (milliseconds), the first first.

        All that have an open case are among them; beside them stand those that wait for a landing. Read as far as
        somebody asks for more. In observe mode nothing is due: then all states are read, in no order.
        """
        if self._settings.mode is Mode.OBSERVE:
            return ((0, record) for record in self.states())
        lanes = range(self._settings.partitions)
        return self._read(merge(*(self._index(lane, since) for lane in lanes), key=itemgetter(0)))

    def _read(self, waiting: Iterator[Waiting]) -> Iterator[tuple[int, Record]]:
        """The states of those that wait, read in pieces that grow: most who look want the first page only."""
        size = FIRST
        while some := list(islice(waiting, size)):
            found = self._stored(some)
            for at, _, record in some:
                state = unpack(found.get(record))
                if state is not None:
                    yield at, Record(record, state)
            size = min(2 * size, AT_ONCE)

    def _stored(self, some: Sequence[Waiting]) -> dict[str, bytes | None]:
        """Their states as they are stored: one question for each lane."""
        by_lane: dict[int, list[str]] = defaultdict(list)
        for _, lane, record in some:
            by_lane[lane].append(record)
        found: dict[str, bytes | None] = {}
        for lane, records in by_lane.items():
            found.update(zip(records, self._store.peek(self._prefix(lane), records), strict=True))
        return found

    def _index(self, lane: int, since: int) -> Iterator[Waiting]:
        """Who waits in a lane, asked for in pieces that grow."""
        prefix, size, told = self._prefix(lane), FIRST, set[tuple[int, str]]()
        while True:
            asked = size + len(told)
            found = self._store.waiting(prefix, since, asked)
            yield from (Waiting(at, lane, record) for at, record in found if (at, record) not in told)
            if len(found) < asked:
                return
            since = found[-1][0]
            told = {one for one in found if one[0] == since}
            size = min(2 * size, AT_ONCE)

    def withheld(self) -> frozenset[str]:
        """Systems that some lane's breaker withholds sends from."""
        partitions = range(self._settings.partitions)
        kept = [self._store.peek(self._prefix(partition), [BREAKER])[0] for partition in partitions]
        return frozenset().union(*(unpack_breaker(stored).withheld for stored in kept))

    def find(self, said: str, hashed: Callable[[str], str]) -> str:
        """The record that a person means: its id, or ``#`` and the beginning of its keyed hash as pages show it.

        Raises ``BadInputError`` where there is none, or more than one.
        """
        if not said.startswith("#"):
            if self.state(said) is None:
                raise BadInputError(f"no record `{said}`: give its record id, or its hash as `#3f2a`")
            return said
        found = [record for record, _ in self.states() if hashed(record).startswith(said[1:].lower())]
        if len(found) != 1:
            many = f"{len(found)} records have" if found else "no record has"
            raise BadInputError(f"{many} a hash that begins with `{said}`: give more of it, or the record id")
        return found[0]

    def changes(self, record: str) -> Iterator[Change]:
        """The record's changes that the log still has, oldest first: reads the whole partition.

        What stands there under its key and is no change became a dead letter, and no part of its story.
        """
        topic = self._settings.topic_changes
        partition = partition_of(record, self._settings.partitions)
        extent = self._broker.extent(topic, partition)
        key = record.encode()
        for messages in self._broker.read(topic, partition, extent.start, extent.end):
            for message in messages:
                change = _change_in(self._wire, message) if message.key() == key else None
                if change is not None:
                    yield change

    def resolutions(self, last: int) -> list[Resolution]:
        """How conflicts ended and asks were answered lately, the newest first: so many of each partition at most.

        What stands there and is none is left out.
        """
        topic, found = self._settings.topic_resolutions, list[Resolution]()
        for partition in range(self._broker.partitions(topic)):
            extent = self._broker.extent(topic, partition)
            begin = max(extent.start, extent.end - last)
            for messages in self._broker.read(topic, partition, begin, extent.end):
                found += [one for message in messages if (one := _resolution_in(self._wire, message)) is not None]
        return sorted(found, key=lambda one: one.at, reverse=True)

    def _prefix(self, partition: int) -> str:
        return key_prefix(self._settings.app_id, self._topic_id, partition)


@contextmanager
def look(settings: Settings) -> Iterator[Looker]:
    """A looker for as long as it is needed."""
    with look_by(settings) as (looker, _):
        yield looker


@contextmanager
def look_by(settings: Settings) -> Iterator[tuple[Looker, Broker]]:
    """A looker with the broker it looks by, for as long as they are needed."""
    store = RedisStore.from_url(settings.redis_url.get_secret_value(), timeout=settings.redis_timeout_seconds)
    try:
        with reach(settings) as broker:
            yield Looker(settings, broker, store), broker
    finally:
        store.close()


@contextmanager
def reach(settings: Settings) -> Iterator[Broker]:
    """Kafka as somebody sees it who holds no lane, for as long as it is needed.

    Its client says nothing by itself: what goes wrong is raised, once.
    """
    client = librdkafka_config(settings) | {"log_level": "0"}
    limit = record_limit(settings)
    broker = Broker(LaneConfig(app=settings.app_id, client=client, record_limit=limit, waived=_waived(client)))
    try:
        yield broker
    finally:
        broker.close()


def _waived(client: Mapping[str, str]) -> frozenset[str]:
    """What cannot be asked of these brokers: the embedded stack's mock broker knows no topic ids and no checksums."""
    try:
        cluster = AdminClient({**client, "log_level": 0}).list_topics(timeout=METADATA_SECONDS)
    except KafkaException as error:
        raise BrokerAwayError(f"kafka: does not answer: {reason_of(error)}") from error
    mock = str(cluster.cluster_id).startswith(MOCK_CLUSTER)
    return frozenset({WAIVE_TOPIC_IDS, WAIVE_CHECKSUMS}) if mock else frozenset()


def _change_in(wire: Wire, message: Message) -> Change | None:
    try:
        change = wire.read_change(message.value() or b"")
    except WireError:
        return None
    # Freshly decoded and nobody else's yet, as in the decide step.
    msgspec.structs.force_setattr(change, "received", message.timestamp()[1])
    return change


def _resolution_in(wire: Wire, message: Message) -> Resolution | None:
    try:
        return wire.read_resolution(message.value() or b"")
    except WireError:
        return None
