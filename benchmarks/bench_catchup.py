"""A lane's rebuild of its states in Redis beside a bare loop that only consumes and MSETs the same bytes, in one run.

Both read the same partition of a state topic: states of seven fields, made by the product's own decisions and packing,
written in transactions as lanes write them, with their control records. The lane's side is the whole of `Lane.start` on
an empty Redis: fencing, taking, checks, catch-up. The bare loop keeps no order, no position and no due times, and
believes whatever it reads. Repeats take turns on an emptied Redis, so that a busy machine slows both alike; each gives
one ratio; what counts is their median.

Needs a redis-server on the PATH, and a Kafka: `--bootstrap`, or what tests/integration/brokers.py finds. Exits with 1
when the median ratio is below the target.
"""

import argparse
import cProfile
import pstats
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any, Final, NamedTuple
from uuid import uuid4

import redis
from bench_decide import KEY, MAPPING, NOW, ROW, TOPIC, event_bytes, landed
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from integration.brokers import chosen_broker
from lane_kit import Notes
from ownership_stream import sources
from ownership_stream.embedded import Embedded
from ownership_stream.lane import Broker, Control, Lane, LaneConfig
from ownership_stream.lane.broker import READ_AT_ONCE
from ownership_stream.lane.contract import CONTROL_KEY
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change
from ownership_stream.steps import packed, unpack
from ownership_stream.store import RedisStore, key_prefix

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = 0.5
"""At least this share of the bare loop's rate."""
RECORDS: Final = 1_000_000
REPEATS: Final = 5
TEMPLATES: Final = 1_000
"""States that differ; each is written under many ids."""
PER_TRANSACTION: Final = 5_000
SEVEN: Final = (
    "legal_name",
    "date_of_birth",
    "lead_source",
    "care_stage",
    "medication_plan",
    "follow_up_completion",
    "contact_preference",
)


class Rebuild(NamedTuple):
    """What one rebuild took: seconds of the clock, and of this process's own processor time."""

    seconds: float
    cpu: float


class Site(NamedTuple):
    """The filled topics and the Redis of one run."""

    bootstrap: str
    name: str
    records: int
    redis_url: str

    @property
    def changes(self) -> str:
        """The lane's input topic; it stays empty."""
        return f"{self.name}.changes"

    @property
    def state(self) -> str:
        """The topic of the states."""
        return f"{self.name}.state"


class OnlyStates:
    """As much of the decide step as a lane's start asks for."""

    name = "decide"

    def __init__(self, state_topic: str) -> None:
        self.state_topic = state_topic


# ------------------------------------------------------------------------------------------------ what is rebuilt


def states() -> list[bytes]:
    """Packed states of patients in care whom both systems know, with seven fields each."""
    matrix = load(ROOT / "matrix" / "patient.yaml")
    decoder = sources.decoder(sources.load(MAPPING, matrix), matrix)
    found = []
    for number in range(TEMPLATES):
        row = {**ROW, "family_name": f"Featherstone-{number}", "patient_id": 48_213 + number}
        seed = decoder.decode(TOPIC, KEY, event_bytes(None, row, number), NOW).changes[0]
        fields = {name: value for name, value in seed.fields.items() if name in SEVEN}
        ehr = replace(seed, fields=fields, op="c", received=NOW)
        crm = Change(
            id=f"crm-{number}",
            record=ehr.record,
            system="crm",
            row=f"crm/Contact/{number}",
            op="c",
            key=f"0035g00000{number:05d}AAB",
            stage_row=True,
            position=(1,),
            at=NOW,
            received=NOW,
            origin="person",
            actor="005GROW1",
            role="growth_ops",
            fields={
                "care_stage": "in_care",
                "lead_source": "google_ads",
                "contact_preference": fields["contact_preference"],
            },
        )
        state = landed(matrix, landed(matrix, None, crm), ehr)
        if set(state.fields) != set(SEVEN):
            raise ValueError(f"a state of the benchmark has the fields {sorted(state.fields)}")
        found.append(packed(state, 0))
    if unpack(found[0]) is None:
        raise ValueError("a state of the benchmark cannot be read")
    return found


def fill(site: Site, found: Sequence[bytes]) -> None:
    """Make both topics, and write the states as a lane's transactions do."""
    admin = AdminClient({"bootstrap.servers": site.bootstrap, "log_level": 0})
    wanted = [NewTopic(site.changes, 1, 1), NewTopic(site.state, 1, 1, config={"cleanup.policy": "compact"})]
    for made in admin.create_topics(wanted).values():
        made.result(30)
    broker = Broker(config_of(site))
    control = Control(broker.topic_id(site.changes), 0, 1).pack()
    broker.close()
    settings: dict[str, Any] = {"compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.messages": 200_000}
    base = {"bootstrap.servers": site.bootstrap, "transactional.id": f"{site.name}-fill", "log_level": 0}
    producer = Producer(base | settings)
    producer.init_transactions(30)
    written = zip(range(site.records), cycle(found), strict=False)
    while some := list(islice(written, PER_TRANSACTION)):
        producer.begin_transaction()
        for number, state in some:
            producer.produce(site.state, state, b"0035g0000%07dAAB" % number, 0)
        producer.produce(site.state, control, CONTROL_KEY.encode(), 0)
        producer.commit_transaction(60)


# ------------------------------------------------------------------------------------------------ the two ways


def config_of(site: Site) -> LaneConfig:
    """The lane's configuration."""
    return LaneConfig(app=site.name, client={"bootstrap.servers": site.bootstrap, "log_level": 3})


def prefix_of(site: Site) -> str:
    """What the lane's keys begin with."""
    broker = Broker(config_of(site))
    try:
        return key_prefix(site.name, broker.topic_id(site.state), 0)
    finally:
        broker.close()


def by_lane(site: Site) -> None:
    """A lane's start on an empty Redis."""
    config = config_of(site)
    broker, store = Broker(config), RedisStore.from_url(site.redis_url)
    step: Any = OnlyStates(site.state)
    lane = Lane(config, broker, store, step, (site.changes, 0), Notes())
    lane.start()
    lane.close()
    store.close()
    broker.close()


def by_bare_loop(site: Site) -> None:
    """Consume and MSET, with the reader's own settings: one command for whatever one call consumed."""
    head = prefix_of(site).encode()
    client = redis.Redis.from_url(site.redis_url)
    reader = Consumer({
        "bootstrap.servers": site.bootstrap,
        "group.id": site.name,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": 16_384,
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 10,
        "log_level": 3,
    })  # fmt: skip
    reader.assign([TopicPartition(site.state, 0, 0)])
    ended = False
    while not ended:
        pairs: list[bytes] = []
        for message in reader.consume(READ_AT_ONCE, timeout=0.1):
            error = message.error()
            if error is None:
                pairs += (head + message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka names its own errors so
                ended = True
            else:
                raise RuntimeError(error.str())
        if pairs:
            client.execute_command("MSET", *pairs)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation
    reader.close()
    client.close()


WAYS: Final[dict[str, Callable[[Site], None]]] = {"bare loop": by_bare_loop, "lane": by_lane}


# ------------------------------------------------------------------------------------------------ measuring


def measured(site: Site, way: Callable[[Site], None]) -> Rebuild:
    """One rebuild on an emptied Redis; every record must be there at its end."""
    with redis.Redis.from_url(site.redis_url, socket_timeout=None) as client:
        client.flushall()
        began, cpu = monotonic(), process_time()
        way(site)
        took = Rebuild(monotonic() - began, process_time() - cpu)
        there = len(list(islice(client.scan_iter(match="*:0035g*", count=10_000), site.records + 1)))
    if there != site.records:
        raise RuntimeError(f"{there} of {site.records} records are in Redis")
    return took


def compare(console: Console, site: Site, repeats: int) -> float:
    """Measure both ways in turns and print; the median ratio of their rates."""
    found: dict[str, list[Rebuild]] = {name: [] for name in WAYS}
    for number in range(repeats):
        # Each way goes first as often as the other: the broker's page cache is warm for the second.
        for name in list(WAYS) if number % 2 else reversed(WAYS):
            found[name].append(measured(site, WAYS[name]))
    table = Table("", "records/s", "from", "to", "µs a record", "processor here", box=None, pad_edge=False)
    for name, rebuilds in found.items():
        rates = [site.records / one.seconds for one in rebuilds]
        each = median(one.seconds for one in rebuilds) / site.records * 1e6
        cpu = median(one.cpu for one in rebuilds) / site.records * 1e6
        table.add_row(
            name, f"{median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{each:.2f}", f"{cpu:.2f} µs"
        )
    console.print(table)
    ratios = [bare.seconds / lane.seconds for bare, lane in zip(found["bare loop"], found["lane"], strict=True)]
    ratio = median(ratios)
    verdict = "met" if ratio >= TARGET else "missed"
    console.print(
        f"the lane's rate is {ratio:.2f} times the bare loop's ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"at least {TARGET:.2f} asked for: {verdict}"
    )
    return ratio


def profile(site: Site) -> None:
    """Where the lane's rebuild spends its time, by cProfile (which slows it down)."""
    profiler = cProfile.Profile()
    with redis.Redis.from_url(site.redis_url, socket_timeout=None) as client:
        client.flushall()
    profiler.runcall(by_lane, site)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(14)


@contextmanager
def broker_at(bootstrap: str) -> Iterator[str]:
    """The broker that was given, or one that is found."""
    with nullcontext() if bootstrap else chosen_broker() as chosen:
        if chosen is not None and not chosen.real:
            raise SystemExit("needs a real Kafka: --bootstrap, Docker, or Java with Maven")
        yield bootstrap or chosen.bootstrap


def main() -> int:
    """Fill, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--bootstrap", default="", help="a Kafka that is there already")
    parser.add_argument("--profile", action="store_true", help="show a profile of the lane's rebuild at the end")
    said = parser.parse_args()
    console = Console(highlight=False)
    with ExitStack() as exits:
        bootstrap = exits.enter_context(broker_at(said.bootstrap))
        embedded = exits.enter_context(Embedded())
        site = Site(bootstrap, f"catchup-{uuid4().hex[:8]}", said.records, embedded.redis_url)
        found = states()
        size = sum(map(len, found)) / len(found)
        console.print(f"{said.records:,} states of seven fields, {size:.0f} bytes each; {said.repeats} repeats")
        fill(site, found)
        ratio = compare(console, site, said.repeats)
        if said.profile:
            profile(site)
    return int(ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
