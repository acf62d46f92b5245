"""What happens to Kafka: nodes killed, stopped, unreachable, out of disk; coordinators moved; transactions timed out.

Each needs a run on a `Cluster`. On three nodes work goes on beside the fault; on one node all of Kafka is away, and the
workers wait for it. Whatever a fault did to a node is undone when it returns, or when the run lifts it.
"""

import random
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec  # type: ignore[attr-defined]  # exported, not by PEP 484's letter

from chaos.clinic import ehr_event
from chaos.cluster import GROUPS, TRANSACTIONS, Cluster
from chaos.fault import fault
from chaos.faults_worker import Point
from chaos.run import Run, asleep
from integration import topic_kit
from integration.kafka_process import KafkaNode
from ownership_stream.topics import record_limit
from source_kit import PATIENT_ROW

UNREACHABLE_SECONDS: Final = 60.0
DEADLINE: Final = 120.0
# The filler grows so far above every other file of a node that only its own disk comes to be full.
ROOM_BYTES: Final = 4 * 1024 * 1024
FILLER_RECORD: Final = 512 * 1024
# Room for any single change that the load makes us write, and for few of them together.
CHANGE_BYTES: Final = 3_000
# Of the burst not even two fit together.
ROW_TEXT: Final = 1_200
BURST: Final = 200
WIDE: Final = ("street", "city", "region", "payer", "member_id", "allergies", "diagnoses")
TEXT_BYTES: Final = 4_096
# A worker that stops within a transaction, for longer than the transaction may last and not for longer than its
# session: the broker ends the transaction, and no rival comes.
NO_RIVAL: Final = {
    "session_timeout_seconds": 60.0,
    "transaction_timeout_seconds": 4.0,
    "message_timeout_seconds": 4.0,
    "batch_max_records": 5,
}
Place = tuple[str, int]


def cluster_of(run: Run) -> Cluster:
    """The cluster that the run is on."""
    assert isinstance(run.cluster, Cluster), "the run has no cluster of its own"
    return run.cluster


def progress(run: Run, number: int = 100) -> None:
    """Until so many offsets more are decided than were when Kafka could say."""
    run.until(lambda: run.decided() > 0, "Kafka says what is decided")
    began = run.decided()
    run.until(lambda: run.decided() >= began + number, f"{number} changes more decided than {began}")


def waiting_for_kafka(run: Run) -> None:
    """Until every worker is alive, not ready, and says that it waits for Kafka."""
    run.until(
        lambda: run.sound and all(worker.waits_for("kafka") for worker in run.sound), "/readyz says that Kafka is away"
    )
    assert [(200, "alive\n")] * len(run.sound) == [worker.get("/healthz") for worker in run.sound]


def goes_on(run: Run, number: int = 100) -> None:
    """While a node is away: on one node the workers wait and say so, on more they go on."""
    if len(cluster_of(run).nodes) == 1:
        waiting_for_kafka(run)
    else:
        progress(run, number)


def all_back(run: Run) -> None:
    """Every node runs again, all replicas are in sync, and the workers are ready and at work by themselves."""
    cluster = cluster_of(run)
    for node in cluster.nodes:
        if not node.running:
            node.start()
        node.resume()
    cluster.await_ready()
    for worker in run.sound:
        run.await_ready(worker)
    progress(run)


@contextmanager
def undone(run: Run) -> Iterator[Cluster]:
    """What is done to nodes within is undone at its end."""
    run.on_lift(lambda: _restore(cluster_of(run)))
    progress(run, 20)  # there is work under way
    yield cluster_of(run)
    all_back(run)


def _restore(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.resume()
        if node.running:
            node.limit_files(None)
        else:
            node.start()
    cluster.await_ready()


# ---------------------------------------------------------------------------------------------------- away


@fault("cluster")
def broker_killed(run: Run, dice: random.Random) -> None:
    """A broker is killed with -9 and comes back."""
    with undone(run) as cluster:
        dice.choice(cluster.nodes).kill()
        goes_on(run)


@fault("cluster")
def all_brokers_killed(run: Run, dice: random.Random) -> None:
    """All of Kafka is killed with -9 at once, and comes back."""
    with undone(run) as cluster:
        for node in dice.sample(cluster.nodes, len(cluster.nodes)):
            node.kill()
        waiting_for_kafka(run)


def unreachable(run: Run, node: KafkaNode, seconds: float) -> None:
    """A node answers nobody for so long, with all its connections open; then it goes on."""
    node.pause()
    until = monotonic() + seconds
    goes_on(run)
    # The fault is its length: nothing is waited for.
    sleep(max(0.0, until - monotonic()))
    node.resume()


@fault("cluster")
def broker_unreachable(run: Run, dice: random.Random) -> None:
    """A broker is unreachable for a minute."""
    with undone(run) as cluster:
        unreachable(run, dice.choice(cluster.nodes), UNREACHABLE_SECONDS)


@fault("cluster")
def broker_stalls(run: Run, dice: random.Random) -> None:
    """A broker answers nobody for some seconds, which the others may or may not take for its death."""
    with undone(run) as cluster:
        node = dice.choice(cluster.nodes)
        node.pause()
        sleep(dice.uniform(0.5, 8.0))  # as above
        node.resume()


# ---------------------------------------------------------------------------------------------------- coordinators


@fault("cluster")
def transaction_coordinator_moved(run: Run, dice: random.Random) -> None:
    """The broker that coordinates a lane's transactions is killed or stopped: another one coordinates them."""
    site = run.site
    name = f"{site.name}-decide-{site.settings.topic_changes}-{dice.randrange(site.partitions)}"
    with undone(run) as cluster:
        _move(run, cluster.coordinator_of(name, TRANSACTIONS), dice)


@fault("cluster")
def group_coordinator_moved(run: Run, dice: random.Random) -> None:
    """The broker that coordinates the workers' group is killed or stopped: another one coordinates it."""
    with undone(run) as cluster:
        _move(run, cluster.coordinator_of(run.site.name), dice)


def _move(run: Run, node: KafkaNode, dice: random.Random) -> None:
    if dice.random() < 0.5:
        node.kill()
    else:
        node.stop()
    goes_on(run)


# ---------------------------------------------------------------------------------------------------- transactions


@fault("workers")
def transaction_timed_out(run: Run, dice: random.Random) -> None:
    """The broker ends the transaction of a lane that has no rival and holds its next batches already."""
    # One that joins others gets decide lanes, and intake lanes not always.
    point = Point("decide", "6-offsets", dice.randint(2, 6))
    worker = run.start_worker(failpoint=f"{point}:stop", **NO_RIVAL)
    run.until(lambda: asleep(worker), f"stopped at {point}")
    held = open_transactions(run)
    assert held, "a worker that stopped within a transaction has none open"
    run.until(lambda: ended(run, held), "the broker has ended the transaction")
    run.wake(worker)
    run.until(lambda: "lane_recreated" in worker.said(), "its lane is started anew")
    progress(run)
    run.end(worker)


def open_transactions(run: Run) -> dict[Place, int]:
    """The last stable offset of every partition, Kafka's own of offsets too, that nobody can read to its end now."""
    topics = run.site.admin.list_topics(timeout=10).topics
    names = [name for name in topics if name == GROUPS or name.startswith(run.site.name)]
    places = [(name, number) for name in names for number in topics[name].partitions]
    stable = _ends(run, places, IsolationLevel.READ_COMMITTED)
    ends = _ends(run, places, IsolationLevel.READ_UNCOMMITTED)
    return {place: stable[place] for place in places if stable[place] < ends[place]}


def ended(run: Run, held: Mapping[Place, int]) -> bool:
    """Whether all these open transactions have come to an end since."""
    stable = _ends(run, held, IsolationLevel.READ_COMMITTED)
    return all(stable[place] > offset for place, offset in held.items())


def _ends(run: Run, places: Iterable[Place], level: IsolationLevel) -> dict[Place, int]:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client leaves it without annotation
    asked = {TopicPartition(*place): latest for place in places}
    answers = run.site.admin.list_offsets(asked, isolation_level=level, request_timeout=10) if asked else {}
    return {(tp.topic, tp.partition): int(answer.result().offset) for tp, answer in answers.items()}


# ---------------------------------------------------------------------------------------------------- the disk


@fault("cluster")
def disk_full(run: Run, dice: random.Random) -> None:
    """One of a broker's two disks is full: what it holds there is offline, the broker itself goes on."""
    with undone(run) as cluster:
        node = dice.choice(cluster.nodes)
        _fill(run, node)
        if len(cluster.nodes) > 1:
            progress(run)
        else:
            run.until(lambda: any(worker.get("/readyz")[0] == 503 for worker in run.sound), "lanes wait")
        assert node.running, node.log()[-2_000:]
        node.limit_files(None)
        node.stop()  # Kafka takes a failed directory back only when it starts


@fault("cluster")
def disks_full(run: Run, dice: random.Random) -> None:
    """All disks of a broker are full: it can write nothing more, and ends by itself."""
    with undone(run) as cluster:
        node = dice.choice(cluster.nodes)
        node.limit_files(1)
        run.until(lambda: not node.running, f"node {node.number} ended")
        goes_on(run)


def _fill(run: Run, node: KafkaNode) -> None:
    """A topic nobody reads grows on the node's second disk until not a byte more goes there."""
    cluster = cluster_of(run)
    topic = f"filler-{random.randbytes(4).hex()}"  # noqa: S311  # only a name
    topic_kit.make(cluster.admin, NewTopic(topic, 8, cluster.replication))
    run.until(lambda: _folders(node, topic), f"`{topic}` has a partition on the second disk of node {node.number}")
    folder = _folders(node, topic)[0]
    partition = int(folder.name.rpartition("-")[2])
    largest = max(_size(each) for disk in node.data for each in disk.iterdir() if each.is_dir())
    filler = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0, "message.max.bytes": 2_000_000})
    for _ in range((largest + ROOM_BYTES) // FILLER_RECORD):
        filler.produce(topic, random.randbytes(FILLER_RECORD), partition=partition)  # noqa: S311  # only bytes
    assert 0 == filler.flush(DEADLINE)
    run.until(lambda: _size(folder) >= largest + ROOM_BYTES - FILLER_RECORD, "the filler is replicated")
    node.limit_files(_size(folder))
    filler.produce(topic, b"one too many", partition=partition)
    run.until(lambda: f"Error while appending records to {topic}" in node.log(), "the disk is full")
    filler.purge()
    filler.flush(DEADLINE)
    run.on_lift(lambda: cluster.admin.delete_topics([topic])[topic].exception(DEADLINE))


def _folders(node: KafkaNode, topic: str) -> list[Path]:
    return sorted(node.data[1].glob(f"{topic}-[0-9]"))


def _size(folder: Path) -> int:
    return sum(segment.stat().st_size for segment in folder.glob("*.log"))


# ---------------------------------------------------------------------------------------------------- sizes


@fault("topics")
def batches_too_large(run: Run, dice: random.Random) -> None:
    """The broker takes every change by itself, but no batch of them: they are written in smaller transactions."""
    settings = run.site.settings
    run.on_lift(lambda: takes_at_most(run, settings.topic_changes, record_limit(settings)))
    takes_at_most(run, settings.topic_changes, CHANGE_BYTES)
    before = run.decided()
    starts = lane_starts(run)
    for _ in range(BURST):
        run.load.send(*next(new_rows(dice, 1, street=text(dice)[:ROW_TEXT])))
    # After each refusal the lane starts anew, in order to go on with half of the batch.
    run.until(lambda: lane_starts(run) > starts, "a batch is refused")
    run.until(lambda: run.decided() >= before + BURST, "the burst is decided")
    takes_at_most(run, settings.topic_changes, record_limit(settings))
    progress(run)


def lane_starts(run: Run) -> int:
    """How often a lane of a worker at work has started."""
    return sum(worker.said().count('"lane_started"') for worker in run.sound)


def new_rows(dice: random.Random, number: int, **columns: str) -> Iterator[tuple[str, bytes, bytes]]:
    """(source, key, value) of patients that nobody has seen before."""
    first = dice.randrange(1_000_000, 900_000_000)
    for patient in range(first, first + number):
        row = {**PATIENT_ROW, "patient_id": patient, "crm_id": None, "family_name": f"Burst{patient}", **columns}
        yield ehr_event(patient, row, "c", patient)


def wide_rows(dice: random.Random, number: int) -> Iterator[tuple[str, bytes, bytes]]:
    """The same, of 30 KB each: seven columns hold as much text as a field may, which does not compress."""
    for _ in range(number):
        yield from new_rows(dice, 1, **{column: text(dice) for column in WIDE})


def text(dice: random.Random) -> str:
    """As much as a field may hold, of letters and digits by chance."""
    return b64encode(dice.randbytes(TEXT_BYTES * 3 // 4)).decode()


def takes_at_most(run: Run, topic: str, size: int) -> None:
    """Sets a topic's `max.message.bytes`: what a batch of records may weigh as it is written."""
    topic_kit.configure(run.site.admin, topic, "max.message.bytes", str(size))
