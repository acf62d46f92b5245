"""The Faust app: which lanes run where, whether the worker is ready, and how it ends.

Faust brings membership, assignment, agents and the worker's life; lanes bring everything else. Beside `transport`
this is the only module that imports Faust.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import _exit
from signal import SIGINT, SIGTERM
from time import time
from typing import Any, Final, Protocol, cast

import faust
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.types import TP

from ownership_stream.errors import ExitCode, OwnershipError
from ownership_stream.health import Metrics, Pages
from ownership_stream.lane import (
    Batch,
    Broker,
    Lane,
    LaneRunner,
    Observer,
)
from ownership_stream.lane.broker import WAIVE_CHECKSUMS
from ownership_stream.lane.inbox import Inbox
from ownership_stream.lane.room import Room
from ownership_stream.lane.runner import blame
from ownership_stream.process import give_back, tune
from ownership_stream.store import StateStore
from ownership_stream.transport import BatchConsumer, BatchSchema, BatchTransport
from ownership_stream.worker_config import Stage, WorkerConfig

# Threads for lanes at work; those that wait hold none.
LANE_THREADS: Final = 64
# How long the worker may take to end after an error that ends it.
LAST_SECONDS: Final = 30.0
LAG_SECONDS: Final = 2.0
# How soon a topic that was created again or has grown is noticed by workers at work. By default they would leave it
# unread for five minutes.
METADATA_MILLISECONDS: Final = 10_000
# The part of the session time-out that lanes whose partition is revoked may use to settle what is at work.
REVOKE_SHARE: Final = 0.8
_log = logging.getLogger("ownership_stream.app")


class Rounds(Protocol):
    """Who does something now and then for the lanes at work: see `ticker` and `census`."""

    @property
    def topic(self) -> str:
        """The input topic of the lanes it is done for."""
        ...

    @property
    def seconds(self) -> float:
        """How long to wait for the next round; asked before each."""
        ...

    def tick(self, partitions: Iterable[int], now: int) -> int:
        """One round for these partitions at this time (milliseconds); how much there was to do."""
        ...


def _credentials(client: Mapping[str, Any]) -> Any:
    """Faust's words for how aiokafka is to reach the brokers."""
    context = client.get("ssl_context")
    if "sasl_mechanism" in client:
        return faust.SASLCredentials(
            mechanism=client["sasl_mechanism"],
            username=client["sasl_plain_username"],
            password=client["sasl_plain_password"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


class _Boot(BootStrategy):
    """No producer and no web server of Faust's own: lanes produce, and /tables is not for the world."""

    enable_kafka_producer = False
    enable_web = False


class _NoTables(TableManager):
    """Faust waits a second for tables that may still be declared, before it joins the group; there are none here."""

    async def on_start(self) -> None:
        """What Faust does after that second."""
        await self._update_channels()
        await self.recovery.start()


class OwnershipApp(faust.App):
    """A Faust app that reads whole batches through `BatchTransport`."""

    BootStrategy = _Boot

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)


class Lanes:
    """The lanes of the partitions that are ours at this moment, and what can be said of them together."""

    def __init__(
        self,
        config: WorkerConfig,
        stages: Sequence[Stage],
        store: StateStore,
        observer: Observer,
        fail: Callable[[OwnershipError], None],
    ) -> None:
        self._config = config
        self._steps = {topic: stage.step for stage in stages for topic in stage.topics}
        self._store = store
        self._observer = observer
        self._fail = fail
        self._broker = Broker(config.lane)
        self._room = Room(config.work_bytes)
        self._runners: dict[TP, LaneRunner] = {}
        self._joined = False
        self._stopping = False
        self._away = ""

    def readiness(self) -> str:
        """Why the worker is not ready, in words; empty if it is."""
        if self._stopping:
            return "stopping"
        if not self._joined:
            return "no partitions assigned yet"
        if self._away:
            return self._away
        return "; ".join(f"{runner.id}: {runner.reason}" for runner in self._runners.values() if runner.reason)

    def at_work(self, topic: str) -> list[int]:
        """The partitions of a topic whose lanes are caught up and lack nothing."""
        return [tp.partition for tp, runner in self._runners.items() if tp.topic == topic and runner.ready]

    def deliver(self, batch: Batch) -> None:
        """Hands a batch to its lane; what came for a lane that is gone is its next holder's."""
        runner = self._runners.get(TP(batch.topic, batch.partition))
        if runner is not None:
            runner.deliver(batch)

    async def assign(self, consumer: BatchConsumer, assigned: Iterable[TP]) -> None:
        """Starts the lanes of newly assigned partitions."""
        for tp in assigned:
            await self._stop([tp], 0.0)
            step = self._steps.get(tp.topic)
            if step is None:
                continue
            lane = Lane(self._config.lane, self._broker, self._store, step, tp, self._observer)
            inbox = Inbox(self._config.batch_rows, self._config.batch_bytes)
            runner = self._runners[tp] = LaneRunner(lane, consumer, self._observer, room=self._room, inbox=inbox)
            runner.start().add_done_callback(self._ended)
        self._joined = True

    async def revoke(self, revoked: Iterable[TP]) -> None:
        """Stops the lanes of partitions that are ours no longer, each with its batch settled if there is time."""
        self._joined = False
        # The next holder fences us; until it may come the session's time is ours.
        await self._stop(revoked, REVOKE_SHARE * self._config.session_seconds)
        give_back()

    async def watch(self) -> None:
        """Looks now and then whether Redis and Kafka answer."""
        while True:
            try:
                await asyncio.to_thread(self._broker.serve)
                await asyncio.to_thread(self._broker.ping)
                await asyncio.to_thread(self._store.ping)
            except OwnershipError as error:
                self._now_away(str(error))
            else:
                self._now_away("")
            await asyncio.sleep(LAG_SECONDS)

    async def measure(self, consumer: BatchConsumer) -> None:
        """Tells now and then how far behind lanes are: also while nobody answers, for then it matters."""
        while True:
            for tp, runner in list(self._runners.items()):
                remaining = consumer.remaining(*tp)
                if remaining is not None:
                    self._observer.lagging(runner.id, remaining + runner.queued)
            await asyncio.sleep(LAG_SECONDS)

    def _now_away(self, reason: str) -> None:
        """Says once what is away, and once that it is there again."""
        if reason and not self._away:
            _log.warning("not ready: %s", reason)
        elif self._away and not reason:
            _log.warning("kafka and redis answer again")
        self._away = reason

    async def close(self) -> None:
        """Stops all lanes and lets go of Kafka."""
        self._stopping = True
        await self._stop(list(self._runners), self._config.grace_seconds)
        await asyncio.to_thread(self._broker.close)

    async def _stop(self, tps: Iterable[TP], grace: float) -> None:
        stopping = [runner for tp in tps if (runner := self._runners.pop(tp, None)) is not None]
        await asyncio.gather(*(runner.stop(grace) for runner in stopping))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A lane ends by itself only with an error that must end the process."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("lane %s ended: %s", task.get_name(), blame(error), exc_info=error)
            self._fail(error if isinstance(error, OwnershipError) else OwnershipError(blame(error)))


class Worker:
    """A worker at work: the Faust app, its lanes, and the answers for those who watch it."""

    def __init__(
        self,
        config: WorkerConfig,
        stages: Sequence[Stage],
        *,
        store: StateStore,
        observer: Observer,
        metrics: Metrics | None = None,
        rounds: Sequence[Rounds] = (),
    ) -> None:
        self._config = config
        self._rounds = rounds
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lanes = Lanes(config, stages, store, observer, self._fail)
        self._pages = Pages(self.lanes.readiness, metrics)
        self.app = build_app(config, stages, self.lanes)
        self.http_port: int | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._deadline: threading.Timer | None = None

    async def start(self) -> None:
        """Answers HTTP first, then joins the group."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LANE_THREADS, thread_name_prefix="lane"))
        if self._config.http_port is not None:
            self.http_port = await self._pages.serve(self._config.http_host, self._config.http_port)
        await self.app.start()
        self._take_on(self.lanes.watch())
        self._take_on(self.lanes.measure(_consumer_of(self.app)))
        for one in self._rounds:
            self._take_on(self._go_round(one))

    async def wait(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set; raises the error that ends the worker."""
        stopped = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(self.app.wait_until_stopped())
        try:
            ends: set[asyncio.Future[Any]] = {stopped, crashed, self._failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            crashed.cancel()
        if self._failed.done():
            self._failed.result()
        if not stop.is_set():
            raise OwnershipError(f"the worker ended by itself: {self.app.crash_reason or 'no reason given'}")

    async def stop(self) -> None:
        """Settles what is at work, leaves the group, answers no more."""
        self._end_within(self._config.grace_seconds + LAST_SECONDS)
        for chore in self._chores:
            chore.cancel()
        await self.lanes.close()
        await self.app.stop()
        await self._pages.close()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._failed.done():
            self._failed.exception()

    def _take_on(self, chore: Coroutine[Any, Any, None]) -> None:
        """A chore goes on for as long as the worker does; one that breaks ends the worker."""
        task = asyncio.create_task(chore)
        task.add_done_callback(self._ended)
        self._chores.append(task)

    def _ended(self, chore: "asyncio.Task[None]") -> None:
        if not chore.cancelled() and (error := chore.exception()) is not None:
            self._fail(OwnershipError(blame(error)))

    async def _go_round(self, rounds: Rounds) -> None:
        """Round by round, for as long as the worker does; what could not be done is the next round's."""
        while True:
            await asyncio.sleep(rounds.seconds)
            try:
                await asyncio.to_thread(rounds.tick, self.lanes.at_work(rounds.topic), int(time() * 1000))
            except OwnershipError as error:
                _log.warning("nothing was done in this round: %s", error)

    def _fail(self, error: OwnershipError) -> None:
        """Ends the worker with this error; if it does not end in time, it is ended."""
        if not self._failed.done():
            self._failed.set_exception(error)
            self._end_within(LAST_SECONDS)

    def _end_within(self, seconds: float) -> None:
        """Ends the process if the worker has not stopped by then: Faust is known to hang now and then."""
        if self._deadline is None:
            self._deadline = threading.Timer(seconds, _give_up)
            self._deadline.daemon = True
            self._deadline.start()


def _give_up() -> None:
    """Ends the process: a worker that must end and does not would hold its lanes from those who could work."""
    _log.critical("the worker did not stop in time, and is ended")
    _exit(ExitCode.FAILED)


def build_app(config: WorkerConfig, stages: Sequence[Stage], lanes: Lanes) -> OwnershipApp:
    """The Faust app: one agent per stage hands whole batches to the lanes; assignment starts and stops them.

    Every setting is given here: `env={}` keeps Faust from reading bare names of the environment.
    """
    app = OwnershipApp(
        config.lane.consumer_group,
        env={},
        TableManager=_NoTables,
        broker=[f"kafka://{broker}" for broker in config.brokers],
        broker_credentials=_credentials(config.client),
        autodiscover=False,
        datadir=str(config.data_dir),
        web_enabled=False,
        web_tables_enabled=False,
        web_router_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="none",
        consumer_max_fetch_size=config.batch_bytes,
        consumer_metadata_max_age_ms=METADATA_MILLISECONDS,
        broker_check_crcs=WAIVE_CHECKSUMS not in config.lane.waived,
        broker_max_poll_records=config.batch_rows,
        broker_session_timeout=config.session_seconds,
        broker_heartbeat_interval=config.session_seconds / 5,
        broker_request_timeout=max(90.0, config.session_seconds * 2),
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
    )
    for stage in stages:
        _add_agent(app, stage, lanes)

    async def on_assigned(_: Any, assigned: Iterable[TP], **__: Any) -> None:
        await lanes.assign(_consumer_of(app), assigned)

    async def on_revoked(_: Any, revoked: Iterable[TP], **__: Any) -> None:
        await lanes.revoke(revoked)

    app.on_partitions_assigned.connect(cast("Any", on_assigned), weak=False)
    app.on_partitions_revoked.connect(cast("Any", on_revoked), weak=False)
    return app


def _consumer_of(app: OwnershipApp) -> BatchConsumer:
    return cast("BatchConsumer", app.consumer)


def _add_agent(app: OwnershipApp, stage: Stage, lanes: Lanes) -> None:
    async def hand_over(batches: Any) -> None:
        async for batch in batches:
            lanes.deliver(batch)

    channel = app.topic(*stage.topics, schema=BatchSchema(), allow_empty=True)
    app.agent(channel, name=stage.step.name)(hand_over)


async def serve(
    config: WorkerConfig,
    stages: Sequence[Stage],
    *,
    store: StateStore,
    observer: Observer,
    stop: asyncio.Event,
    metrics: Metrics | None = None,
    rounds: Sequence[Rounds] = (),
    started: Callable[[Worker], None] | None = None,
) -> None:
    """Works until `stop` is set; raises the error that must end the process. `started` is told the worker."""
    worker = Worker(config, stages, store=store, observer=observer, metrics=metrics, rounds=rounds)
    try:
        await worker.start()
        if started is not None:
            started(worker)
        await worker.wait(stop)
    finally:
        await worker.stop()


def _told_to_stop(stop: asyncio.Event) -> None:
    """The first signal asks, the second means it; what was at work is then run again by the next holder."""
    if stop.is_set():
        _log.warning("a second signal: the worker ends at once, with what was at work uncommitted")
        _exit(ExitCode.INTERRUPTED)
    stop.set()


def run_worker(
    config: WorkerConfig,
    stages: Sequence[Stage],
    *,
    store: StateStore,
    observer: Observer,
    metrics: Metrics | None = None,
    rounds: Sequence[Rounds] = (),
) -> None:
    """Works until SIGTERM or SIGINT, then settles what is at work and returns; a second signal ends it at once.

    Raises the `OwnershipError` that must end the process: the caller prints its line and exits with its code.
    """
    tune()
    # A thread that hangs in a client would hold up the end of the event loop for ever.
    last = threading.Timer(LAST_SECONDS, _give_up)
    last.daemon = True

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal in (SIGTERM, SIGINT):
            loop.add_signal_handler(signal, _told_to_stop, stop)
        try:
            await serve(config, stages, store=store, observer=observer, metrics=metrics, rounds=rounds, stop=stop)
        finally:
            last.start()

    try:
        asyncio.run(main())
    finally:
        last.cancel()
