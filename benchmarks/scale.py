"""Our decide stage with few and with many records: the same work, other states.

The states are put into Redis by the store's own means, as they stand after both systems have told of a patient and
everything sent has landed. The changelog behind them is left empty: it is written in steady state, and read only when a
lane starts. The group works off one share of the load after another, so that repeats can take turns.
"""

from dataclasses import dataclass, field
from typing import Final

from figures import Pace, pace
from load import FIRST, Load, Row, Settled, contact, made_settled
from peers.job import Job
from runs import PREPARED, Watch, prepare, running, samples
from servers import Site
from subjects import DECIDE

from ownership_stream.identity import partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.store import Position, key_prefix
from ownership_stream.worker_config import redis_store

BATCH: Final = 2_000
"""The most records in a batch: with the default a repeat would be over after two."""
WARM_SHARE: Final = 0.25
FILL_AT_ONCE: Final = 20_000
STATE_BYTES: Final = 7_500
"""What a record costs in Redis, about."""


@dataclass
class Size:
    """An installation with so many records, and the load that waits for it."""

    records: int
    job: Job
    load: Load
    repeats: int
    paces: list[Pace] = field(default_factory=list)

    def share(self, repeat: int) -> list[Row]:
        """The part of the load that is this repeat's."""
        each = len(self.load.changes) // self.repeats
        return self.load.changes[repeat * each : (repeat + 1) * each]


def opened(site: Site, job: Job, records: int, changes: int, repeats: int) -> Size:
    """Topics, states and load of one size."""
    site.create([job.changes], job.partitions, PREPARED)
    prepare(site, DECIDE, job)
    fill(site, job, records)
    return Size(records, job, made_settled(records, changes * repeats, job.partitions), repeats)


def fill(site: Site, job: Job, records: int) -> None:
    """Puts the states of so many patients into Redis."""
    settings, settled = job.settings, Settled(job.partitions)
    broker = Broker(LaneConfig(app=job.name, client={"bootstrap.servers": site.bootstrap, "log_level": 0}))
    topic_id = broker.topic_id(settings.topic_state)
    broker.close()
    store = redis_store(settings)
    heads = [key_prefix(job.name, topic_id, partition) for partition in range(job.partitions)]
    held = Position("bench", 0)
    for head in heads:
        store.take(head, held.incarnation)
    for first in range(FIRST, FIRST + records, FILL_AT_ONCE):
        lanes: list[dict[str, bytes]] = [{} for _ in heads]
        for number in range(first, min(first + FILL_AT_ONCE, FIRST + records)):
            name = contact(number)
            lanes[partition_of(name, job.partitions)][name] = settled.state(number)
        for head, states in zip(heads, lanes, strict=True):
            store.save(head, held, held, states)
    store.close()


def work(site: Site, size: Size, repeat: int) -> Pace:
    """One repeat: the share is written, then worked off."""
    job = size.job
    before = sum(site.ends([job.changes]).values())
    share = size.share(repeat)
    site.write(share, {share[0].topic: job.changes})
    ends = site.ends([job.changes])
    with running(DECIDE, job) as run:
        looks = Watch(site, run, ends).until_done()
    found = pace(samples(looks, None, ends), before + int(WARM_SHARE * len(share)))
    size.paces.append(found)
    return found
