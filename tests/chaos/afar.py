"""What outsiders can see of an installation, read when it is asked for: for runs whose log fits no memory.

It is an `Account` like the `Witness` in memory, and it is plain data as well: another process can ask for itself.
"""

import pickle
import zlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import redis

from chaos.columns import Partition
from chaos.installation import Installation
from chaos.witness import Account, Given, Keys, LaneCache, extents, lane_cache, prefixes, read, take_keys
from ownership_stream.lane.contract import Record
from ownership_stream.settings import Settings
from ownership_stream.topics import owned_topics

KEPT_AT_ONCE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Afar(Account):
    """Kafka and Redis as they stand, for as long as they do; nothing may move meanwhile."""

    settings: Settings

    @property
    def owned(self) -> AbstractSet[str]:
        """The topics of ours; the others are sources."""
        return {topic.name for topic in owned_topics(self.settings)}

    def read(self, where: Partition) -> Iterable[Record]:
        """The committed records of a partition, in the order of their offsets."""
        group = f"{self.settings.app_id}-judge"
        return read(self.settings.brokers, group, {where: self.starts[where]}, {where: self.ends[where]})

    def keys(self) -> Mapping[str, Keys]:
        """The keys in Redis, by state topic."""
        with self._redis() as client:
            return {
                topic: take_keys(client, prefix) for topic, prefix in prefixes(self.settings, self.topic_ids).items()
            }

    def cached(self, where: Partition) -> LaneCache:
        """What Redis holds of one partition of a state topic."""
        topic, partition = where
        with self._redis() as client:
            return lane_cache(client, prefixes(self.settings, self.topic_ids)[topic], partition)

    def keep(self, folder: Path) -> None:
        """Writes what is told, and each partition's records: blocks of pickled lists, compressed, each after its size.

        Redis is not kept.
        """
        told = {name: value for name, value in vars(self).items() if name not in ("settings", "fed")}
        (folder / "account.pickle").write_bytes(pickle.dumps(told))
        for where in sorted(self.ends):
            with (folder / f"{where[0]}-{where[1]}.records").open("wb") as file:
                for block in _blocks(self.read(where)):
                    file.write(len(block).to_bytes(8, "big") + block)

    def _redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.settings.redis_url.get_secret_value())


def from_afar(site: Installation, fed: Iterable[Given] | None) -> Afar:
    """What can be asked for from now on; to be called when nothing moves any more."""
    return Afar(**extents(site), fed=fed, settings=site.settings)


def _blocks(records: Iterable[Record]) -> Iterator[bytes]:
    rest = iter(records)
    while some := [tuple(record) for record in islice(rest, KEPT_AT_ONCE)]:
        yield zlib.compress(pickle.dumps(some), level=1)
