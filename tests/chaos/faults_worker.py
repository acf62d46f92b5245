"""What happens to workers: killed, stopped and woken, told to end, joined by others, left without an answer.

Where a moment matters it is made certain by a failpoint (`lane/failpoint.py`): the process dies or sleeps at that very
line, as it would by `kill -9` or `kill -STOP` at that moment.
"""

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition

from chaos.fault import fault
from chaos.installation import WorkerProcess
from chaos.run import FAILPOINT, Run, asleep
from ownership_stream.lane.failpoint import POINTS

STAGES: Final = ("intake", "decide", "match")
# Points that a lane passes once, at its start; the others come with each batch.
AT_START: Final = tuple(point for point in POINTS if not point[0].isdigit())
# Beside so many workers one more gets lanes of each stage; beside many it may get none.
ROOM: Final = 2
# A moment made long enough to do something in: for a worker that must outlive it.
LONG: Final = {"session_timeout_seconds": 20.0, "transaction_timeout_seconds": 30.0, "message_timeout_seconds": 30.0}


class Point(NamedTuple):
    """A failpoint and which passing of it."""

    stage: str
    point: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.stage}:{self.point}:{self.times}"


class LaneName(NamedTuple):
    """A lane, as log lines name it."""

    stage: str
    topic: str
    partition: int


def any_point(dice: random.Random) -> Point:
    """A failpoint by chance."""
    point = dice.choice(POINTS)
    return Point(dice.choice(STAGES), point, 1 if point in AT_START else dice.randint(1, 4))


# ---------------------------------------------------------------------------------------------------- kill -9


def kill_at(run: Run, points: Sequence[Point], *, side: int = 2) -> None:
    """Kills a worker at each of the points, `side` of them at work at once beside one that nobody kills.

    Fails if a point is not reached; `Run.killed_at` lists those that were.
    """
    waiting, doomed = list(points), dict[WorkerProcess, Point]()
    run.at_strength(1, ROOM)

    def one_more(before: int) -> bool:
        for worker, point in list(doomed.items()):
            if not worker.running:
                assert FAILPOINT == worker.wait(), f"{point}: not the failpoint's exit code\n{run.tell()}"
                run.killed_at.append(f"{point.stage}:{point.point}")
                del doomed[worker]
        while waiting and len(doomed) < side:
            point = waiting.pop(0)
            doomed[run.start_worker(failpoint=str(point))] = point
        return len(run.killed_at) > before

    while waiting or doomed:
        before = len(run.killed_at)
        run.until(lambda before=before: one_more(before), f"killed at one of {', '.join(map(str, points))}")


@fault("workers", "progress")
def kill_at_a_point(run: Run, dice: random.Random) -> None:
    """A worker is killed with -9 at a numbered point of the commit order, or of a lane's start."""
    kill_at(run, [any_point(dice)])


@fault("workers")
def kill_at_random(run: Run, dice: random.Random) -> None:
    """A worker is killed with -9 at whatever it is doing."""
    run.at_strength()
    run.await_progress(dice.randrange(1, 200))
    run.kill(dice.choice(run.sound))
    run.at_strength()


@fault("workers")
def kill_all(run: Run, dice: random.Random) -> None:
    """All workers are killed with -9 at once, as when a machine goes down, and others start."""
    number = len(run.at_strength())
    run.await_progress(dice.randrange(1, 200))
    for worker in run.sound:
        run.kill(worker)
    run.at_strength(number)
    run.await_progress(50)


# ---------------------------------------------------------------------------------------------------- stopped


def zombie_at(run: Run, point: Point) -> WorkerProcess:
    """A worker stops at a point for longer than its session, and wakes when others have its lanes and are at work."""
    run.at_strength(1, ROOM)
    sleeper = run.start_worker(failpoint=f"{point}:stop")
    run.until(lambda: asleep(sleeper), f"stopped at {point}")
    sleep_over(run, sleeper)
    return sleeper


def sleep_over(run: Run, sleeper: WorkerProcess) -> None:
    """The sleeper wakes when all lanes are others', and these have gone on; in the end it has lanes again."""
    run.at_strength(1)
    run.until(lambda: lanes_of(run) == set().union(*map(held, run.sound)), "all lanes at others")
    run.await_progress(100)
    run.wake(sleeper)
    run.await_ready(sleeper)


@fault("workers", "progress")
def zombie_at_a_point(run: Run, dice: random.Random) -> None:
    """A worker stops at a numbered point longer than its session, and wakes when others have its lanes."""
    zombie_at(run, any_point(dice))


@fault("workers", "progress", uncertain=True)
def zombie_at_random(run: Run, dice: random.Random) -> None:
    """A worker gets SIGSTOP at whatever it is doing, and SIGCONT when others have its lanes."""
    run.at_strength()
    run.await_progress(dice.randrange(1, 200))
    sleeper = dice.choice(run.sound)
    sleeper.signal(signal.SIGSTOP)
    sleep_over(run, sleeper)


# ---------------------------------------------------------------------------------------------------- told to end


@fault("workers", "progress")
def end_with_a_batch_in_flight(run: Run, dice: random.Random) -> None:
    """A worker gets SIGTERM in the middle of a transaction: it ends well, and the others share its lanes."""
    with stopped_in_transaction(run, dice) as leaver:
        leaver.signal(signal.SIGTERM)
    assert 0 == run.await_end(leaver), f"not 0 at SIGTERM\n{run.tell()}"
    run.until(lambda: lanes_of(run) == set().union(*map(held, run.sound)), "all lanes at the others")


@fault("workers")
def come_and_go(run: Run, dice: random.Random) -> None:
    """Workers join and leave, some before they have settled down."""
    for _ in range(dice.randint(2, 4)):
        if dice.random() < 0.5 or len(run.sound) < 2:
            run.start_worker()
        else:
            run.end(dice.choice(run.sound))
        if dice.random() < 0.7:
            run.await_progress(dice.randrange(1, 100))
    run.at_strength()


@fault("workers", "progress")
def reassignment_in_a_transaction(run: Run, dice: random.Random) -> None:
    """A worker comes while another has a transaction open, so that its partition is taken from it in the middle."""
    with stopped_in_transaction(run, dice) as holder:
        newcomer = run.start_worker()
        run.until(lambda: group_state(run) is ConsumerGroupState.PREPARING_REBALANCING, "the group rebalances")
    run.await_ready(newcomer)
    run.await_ready(holder)


@contextmanager
def stopped_in_transaction(run: Run, dice: random.Random) -> Iterator[WorkerProcess]:
    """A worker with lanes that stands still in a transaction and is missed by nobody, for the length of a `with`."""
    point = Point("decide", dice.choice(("6-produce", "6-offsets")), dice.randint(1, 3))
    run.at_strength(1, ROOM)
    holder = run.start_worker(failpoint=f"{point}:stop", **LONG)
    run.until(lambda: asleep(holder), f"stopped at {point}")
    run.until(lambda: lanes_of(run) == set().union(*map(held, run.alive)), "nothing but that moves")
    yield holder
    run.wake(holder)


# ---------------------------------------------------------------------------------------------------- no rival


@fault("workers", "progress")
def transaction_times_out(run: Run, dice: random.Random) -> None:
    """The only worker stops in a transaction until the broker ends it, with the next batch already fetched."""
    for worker in run.sound:
        run.end(worker)
    short = {"transaction_timeout_seconds": 5.0, "message_timeout_seconds": 5.0, "batch_max_records": 10}
    point = Point("decide", "6-offsets", dice.randint(2, 5))
    alone = run.start_worker(failpoint=f"{point}:stop", **LONG | short)
    run.until(lambda: asleep(alone), f"stopped at {point}")
    assert transaction_open(run), "no transaction is open: this proves nothing"
    run.until(lambda: not transaction_open(run), "the broker ended the transaction")
    mark = len(alone.said())
    run.wake(alone)
    run.until(lambda: "lane_recreated" in alone.said()[mark:], "the lane lost its standing")
    run.await_progress(100)
    run.at_strength()


def transaction_open(run: Run) -> bool:
    """Whether an offset of a decide lane is committed in a transaction that has not ended."""
    settings = run.site.settings
    asker = Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": settings.app_id,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        # An offset that is neither committed nor aborted yet is not told until it is.
        asker.committed([TopicPartition(settings.topic_changes, one) for one in range(settings.partitions)], timeout=1)
    except KafkaException:
        return True
    finally:
        asker.close()
    return False


# ---------------------------------------------------------------------------------------------------- the sources


@fault("load")
def connector_restarted(run: Run, dice: random.Random) -> None:
    """A connector lost its place, and sends its last events again in their order, beside the new ones."""
    run.await_progress(dice.randrange(1, 100))
    run.load.restart_connector(dice.choice(sorted(run.site.sources)), dice.randint(50, 400))
    run.await_progress(50)


# ---------------------------------------------------------------------------------------------------- what is seen


def group_state(run: Run) -> Any:
    """What the workers' group is doing, in Kafka's words."""
    group = run.site.settings.app_id
    return run.site.admin.describe_consumer_groups([group])[group].result(10).state


def lanes_of(run: Run) -> set[LaneName]:
    """All lanes that there are."""
    site = run.site
    lanes = {LaneName("intake", name, one) for name in site.sources.values() for one in range(site.source_partitions)}
    for stage, name in (("decide", site.settings.topic_changes), ("match", site.settings.topic_matches)):
        lanes |= {LaneName(stage, name, one) for one in range(site.partitions)}
    return lanes


def held(worker: WorkerProcess) -> set[LaneName]:
    """The lanes that a worker has at work, by its own log."""
    lanes = set[LaneName]()
    for event, lane in lane_lines(worker.said()):
        if event == "lane_started":
            lanes.add(lane)
        elif event in {"lane_stopped", "lane_recreated"}:
            lanes.discard(lane)
    return lanes


def stops(worker: WorkerProcess, since: int = 0) -> Counter[LaneName]:
    """How often a worker gave each lane away, by its own log from that place on: once in each rebalance."""
    return Counter(lane for event, lane in lane_lines(worker.said()[since:]) if event == "lane_stopped")


def lane_lines(log: str) -> Iterator[tuple[str, LaneName]]:
    """The event and the lane of each log line that is about one."""
    for text in log.splitlines():
        if '"event": "lane_' in text:
            line = json.loads(text)
            yield line["event"], LaneName(line["stage"], line["topic"], line["partition"])
