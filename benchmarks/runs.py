"""One run of one peer, watched from outside: started on topics of its own, measured by what it commits, and compared.

All peers are measured the same way: by the offsets that their group has committed, and by what the system says of their
process. Nothing is asked of the peer itself.
"""

import os
import shutil
import signal
import subprocess
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from figures import Outputs, Sample
from load import ROOT, SOURCES
from peers.job import Job
from servers import Site, Use, used
from subjects import Peer

from ownership_stream import topics
from ownership_stream.assembly import documents, stages
from ownership_stream.errors import OwnershipError
from ownership_stream.lane.contract import Record
from ownership_stream.steps import DecideStep

PEERS_FOLDER: Final = Path(__file__).parent / "peers"
LOOK_SECONDS: Final = 0.02
STALL_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
# Markers may follow the last record of a partition that lanes write to; nobody commits behind those.
MARKERS: Final = 16
STILL_SECONDS: Final = 0.5
COMING: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
STEP_BATCH: Final = 1_000
PREPARED: Final = {"message.timestamp.type": "LogAppendTime"}

Place = tuple[str, int]


class Look(NamedTuple):
    """One look at a run: when, what is committed by partition, and what the three processes have used."""

    at: float
    committed: dict[Place, int]
    peer: Use
    redis: Use
    broker: Use


@dataclass
class Running:
    """A peer's process. What it says goes to a file, since a full pipe would stop it."""

    peer: Peer
    job: Job
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raises if it ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            raise OwnershipError(f"peer `{self.peer.word}` ended with {self.process.returncode}:\n{said}")


@contextmanager
def running(peer: Peer, job: Job) -> Iterator[Running]:
    """The peer at work; told to stop in the end, and killed if it does not."""
    log = Path(job.folder) / "log"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), **job.environment()}
    # Where the system can tell it to, it ends with this process even if that is killed.
    ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*ward, sys.executable, str(PEERS_FOLDER / peer.script)]
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, env=environment, stdout=said, stderr=said, cwd=job.folder
        )
        try:
            yield Running(peer, job, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def prepare(site: Site, peer: Peer, job: Job) -> None:
    """Makes the topics that the peer writes to, and the input topics that are not there yet."""
    if peer.uses_redis:
        site.await_topics(topics.create(site.admin, job.settings))
    else:
        site.create([job.loop_output] if peer.copies else job.outputs, job.partitions)


class Watch:
    """Looks at a run again and again, until everything that it reads is committed."""

    def __init__(self, site: Site, run: Running, ends: Mapping[Place, int], follow: str = "") -> None:
        """`ends`: the offsets to be committed; `follow`: a topic that the peer itself fills and works off as well."""
        self._site, self._run, self._ends, self._follow = site, run, dict(ends), follow
        self._followed: dict[Place, int] = {}
        if follow:
            self._followed = dict.fromkeys(((follow, n) for n in range(run.job.partitions)), -1)
        self.looks: list[Look] = []

    def until_done(self, then: Callable[[], object] | None = None, warm: int = 0) -> list[Look]:
        """Every look; raises `OwnershipError` where the peer ends or stands still.

        `then` is called once, when `warm` records of the input are committed.
        """
        # A reader of committed records is kept waiting for as long as any lane has a transaction open, which is always.
        said = {"group.id": self._run.job.name, "isolation.level": "read_uncommitted", "log_level": 0}
        reader = Consumer({"bootstrap.servers": self._site.bootstrap, **said})
        moved = monotonic()
        try:
            while True:
                self._run.check()
                self.looks.append(self._look(reader))
                if len(self.looks) < 2 or self.looks[-1].committed != self.looks[-2].committed:  # noqa: PLR2004 (a pair)
                    moved = self.looks[-1].at
                if then is not None and sum(self.looks[-1].committed[place] for place in self._ends) >= warm:
                    then()
                    then = None
                if self._done(self.looks[-1], moved):
                    return self.looks
                if self.looks[-1].at - moved > STALL_SECONDS:
                    raise OwnershipError(f"peer `{self._run.peer.word}` commits nothing for {STALL_SECONDS:.0f} s")
                sleep(LOOK_SECONDS)
        finally:
            reader.close()

    def _look(self, reader: Consumer) -> Look:
        places = [TopicPartition(*place) for place in (*self._ends, *self._followed)]
        found = {(one.topic, one.partition): max(0, one.offset) for one in _committed(reader, places)}
        pids = (self._run.process.pid, self._site.redis, self._site.broker)
        return Look(monotonic(), found, *map(used, pids))

    def _done(self, look: Look, moved: float) -> bool:
        if any(look.committed[place] < end for place, end in self._ends.items()):
            return False
        if not self._follow:
            return True
        if look.at - moved < STILL_SECONDS:
            return False
        ends = self._site.ends([self._follow])
        return all(end - look.committed[place] <= MARKERS for place, end in ends.items())


def _committed(reader: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
    """What the group has committed; a coordinator that is only just taking up its work is asked again."""
    deadline = monotonic() + STALL_SECONDS
    while True:
        try:
            return reader.committed(places, timeout=30)
        except KafkaException as error:
            if error.args[0].code() not in COMING or monotonic() > deadline:
                raise
        sleep(LOOK_SECONDS)


def samples(
    looks: Sequence[Look], places: Mapping[Place, Sequence[int]] | None, counted: Iterable[Place]
) -> list[Sample]:
    """What was committed at each look, in changes; `places`: the offsets of the records where markers lie between."""
    chosen = list(counted)

    def count(look: Look) -> int:
        if places is None:
            return sum(look.committed[place] for place in chosen)
        return sum(bisect_left(places[place], look.committed[place]) for place in chosen)

    return [Sample(look.at, count(look), look.peer.seconds, look.redis.seconds, look.broker.seconds) for look in looks]


def copied(site: Site, topic: str) -> Outputs:
    """A topic's records by key, as the loop that decides nothing has to copy them."""
    return gathered(("copy", message) for message in site.records(topic))


def written(site: Site, job: Job) -> Outputs:
    """What a peer has sent, by topic and key."""
    return gathered(
        (topic.removeprefix(f"{job.name}."), message) for topic in job.outputs for message in site.records(topic)
    )


def gathered(records: Iterable[tuple[str, Message]]) -> Outputs:
    """Records by their topic's word and their key, each its value and headers as a digest."""
    found: dict[tuple[str, bytes], list[bytes]] = defaultdict(list)
    for word, message in records:
        found[word, message.key() or b""].append(digest(message.value(), message.headers() or ()))
    return found


def digest(value: Any, headers: Any) -> bytes:
    """A record's value and headers in one, by their digest: a load has hundreds of thousands."""
    parts = [value or b"", *(name.encode() + b"=" + (text or b"") for name, text in headers)]
    return blake2b(b"\n".join(parts), digest_size=16).digest()


class Log(NamedTuple):
    """An input topic as it stands: its records, partition by partition, with the broker's times."""

    records: list[Record]

    @property
    def offsets(self) -> dict[Place, list[int]]:
        """Where records stand."""
        found: dict[Place, list[int]] = defaultdict(list)
        for record in self.records:
            found[record.topic, record.partition].append(record.offset)
        return found

    @property
    def changes(self) -> list[str]:
        """The ids of the changes."""
        return [dict(record.headers)["ce_id"].decode() for record in self.records]


def log_of(site: Site, topic: str) -> Log:
    """The topic, read to its end."""
    found = [
        Record(
            topic, m.partition() or 0, m.offset() or 0, m.timestamp()[1], m.key(), m.value(), tuple(m.headers() or ())
        )
        for m in site.records(topic)
    ]
    return Log(sorted(found, key=lambda record: (record.partition, record.offset)))


def expected(log: Log, job: Job) -> Outputs:
    """What follows from a log by the pure step, called here without any stream at all."""
    settings, outputs = job.settings, set(job.outputs)
    matrix, mappings = documents(settings)
    [step] = [stage.step for stage in stages(settings, matrix, mappings) if isinstance(stage.step, DecideStep)]
    found: dict[tuple[str, bytes], list[bytes]] = defaultdict(list)
    for _, records in groupby(log.records, lambda record: record.partition):
        states: dict[str, bytes] = {}
        lane = list(records)
        for first in range(0, len(lane), STEP_BATCH):
            decoded = step.decode(lane[first : first + STEP_BATCH])
            result = step.run(decoded, {name: states.get(name) for name in decoded.record_ids})
            states |= result.states
            for output in result.outputs:
                if output.topic in outputs:
                    word = output.topic.removeprefix(f"{job.name}.")
                    found[word, output.key or b""].append(digest(output.value, output.headers))
    return found


def source_topics(prefix: str) -> dict[str, str]:
    """The CDC topics of a run, by source."""
    return {source: f"{prefix}.{topic}" for source, topic in SOURCES.items()}
