"""The whole stream within one process, on the embedded stack: intake and decide, HTTP, faults, and a clean end."""

import asyncio
import dataclasses
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from counting import Counted, CountingStep
from integration.brokers import TestBroker
from integration.kafka_process import kept_port
from integration.streams import Stream, exactly_once
from lane_kit import Notes
from ownership_stream.app import Worker, _consumer_of, build_app, serve
from ownership_stream.embedded import Embedded
from ownership_stream.errors import OwnershipError, UnavailableError
from ownership_stream.lane import LaneRefusedError, Output, StepResult
from ownership_stream.lane import runner as runner_module
from ownership_stream.settings import Settings
from ownership_stream.store import RedisStore
from ownership_stream.transport import BatchConsumer
from ownership_stream.worker_config import Stage, WorkerConfig, redis_store, worker_config

VALUES = [b"%d" % number for number in range(500)]


class PassingStep(CountingStep):
    """Intake in miniature: no states, each record goes to its key's partition of the changes topic."""

    def run(self, decoded: Counted, states: Mapping[str, bytes | None]) -> StepResult:
        """One change per record."""
        assert {} == states
        outputs = [
            Output(self.output_topic, key.encode(), value, [("by", b"intake")], int(key[1:]) % 4)
            for key, value in decoded.good
        ]
        return StepResult(outputs, counts=Counter({("passed",): len(outputs)}))


class Rendered:
    """Metrics of one line: the gauges that were set."""

    def __init__(self) -> None:
        self._lines: dict[str, float] = {}

    def set(self, name: str, *labels: str, value: float) -> None:
        """Written down."""
        assert () == labels
        self._lines[name] = value

    def render(self) -> bytes:
        """Prometheus' text."""
        return "".join(f"ownership_{name} {value:g}\n" for name, value in self._lines.items()).encode()


@pytest.fixture
def mock_stream(embedded: Embedded) -> Stream:
    """A stream on the mock broker, whatever broker the other tests use."""
    broker = TestBroker(embedded.bootstrap, "embedded", real=False, waived=frozenset(embedded.waived))
    return Stream(broker, embedded.redis_url)


def config_of(stream: Stream, **changes: Any) -> WorkerConfig:
    """A worker's configuration on the stream."""
    base: dict[str, Any] = {"lane": stream.config(), "brokers": [stream.broker.bootstrap], "http_port": 0}
    return WorkerConfig(**base | changes)


def stages_of(stream: Stream, sources: Sequence[str]) -> list[Stage]:
    """Intake from the sources, and decide."""
    intake = PassingStep("intake", None, output_topic=stream.changes, dead_topic=stream.dead)
    return [Stage(intake, sources), Stage(stream.step(), [stream.changes])]


def run(story: Any, stream: Stream, stages: Sequence[Stage], notes: Notes, **changes: Any) -> None:
    """Starts a worker, tells the story to it, ends it; the story must not take longer than a minute."""

    async def main() -> None:
        stop = asyncio.Event()
        told: list[asyncio.Task[None]] = []

        def started(worker: Worker) -> None:
            told.append(asyncio.create_task(story(worker)))
            told[0].add_done_callback(lambda _: stop.set())

        async with asyncio.timeout(60):
            await serve(
                config_of(stream, **changes),
                stages,
                store=stream.store(),
                observer=notes,
                metrics=Rendered(),
                stop=stop,
                started=started,
            )
            await told[0]

    asyncio.run(main())


async def until(true: Any) -> None:
    """Returns when it holds."""
    while not true():  # noqa: ASYNC110  # what is awaited happens in threads, which know no asyncio events
        await asyncio.sleep(0.01)


async def for_ever(_: Worker) -> None:
    """A story that only the worker's own end ends."""
    await asyncio.Event().wait()


def test_a_change_goes_through_intake_and_decide(mock_stream: Stream) -> None:
    """Both stages are the same lane with another step; each record is passed once and counted once."""
    source = f"{mock_stream.name}.source"
    notes = Notes()
    for number, value in enumerate(VALUES):
        mock_stream.producer.produce(source, value, b"r%d" % (number % 5), 0)
    mock_stream.producer.flush(10)

    async def story(worker: Worker) -> None:
        await until(lambda: notes.counts["changes",] == len(VALUES))
        await until(lambda: not worker.lanes.readiness())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{worker.http_port}") as http:
            for path, expected in {
                "/healthz": "alive\n",
                "/readyz": "ready\n",
                "/metrics": "ownership_ready 1\n",
            }.items():
                async with http.get(path) as answer:
                    assert (200, expected) == (answer.status, await answer.text())
        await until(lambda: notes.named("lagging"))

    run(story, mock_stream, stages_of(mock_stream, [source]), notes)
    assert exactly_once(VALUES) == mock_stream.outputs()
    assert len(VALUES) == notes.counts["passed",]
    assert 8 == len(notes.named("stopped"))


def test_a_worker_is_not_ready_before_its_lanes_are(mock_stream: Stream) -> None:
    """HTTP answers first; each reason is in words: no partitions yet, then the lanes' own."""

    async def main() -> list[str]:
        stages = stages_of(mock_stream, [f"{mock_stream.name}.source"])
        worker = Worker(config_of(mock_stream), stages, store=mock_stream.store(), observer=Notes())
        assert "no partitions assigned yet" == worker.lanes.readiness()
        starting = asyncio.create_task(worker.start())
        await until(lambda: worker.http_port)
        seen = []
        async with aiohttp.ClientSession(f"http://127.0.0.1:{worker.http_port}") as http:
            while True:
                async with http.get("/readyz") as answer:
                    seen.append(f"{answer.status} {await answer.text()}")
                if answer.status == 200:
                    break
        await starting
        await worker.stop()
        return seen

    seen = asyncio.run(main())
    *before, last = seen
    assert "200 ready\n" == last
    assert before
    assert all(answer.startswith("503 ") for answer in before)


def test_an_offset_out_of_range_makes_the_lane_look_again(mock_stream: Stream) -> None:
    """The fetch's fault reaches the lane, its checks find nothing lost, and it goes on where it stands."""
    mock_stream.feed(VALUES[:50], partition=0, keys=1)
    notes = Notes()

    async def story(worker: Worker) -> None:
        await until(lambda: notes.counts["changes",] == 50)
        consumer = _consumer_of(worker.app)
        [lane] = [lane for tp, lane in worker.lanes._runners.items() if tp.partition == 0]
        lane._flow = await consumer.begin(mock_stream.changes, 0, 10_000)
        await until(lambda: notes.named("waiting"))
        mock_stream.feed(VALUES[50:100], partition=0, keys=1)
        await until(lambda: notes.counts["changes",] == 100)

    run(story, mock_stream, [Stage(mock_stream.step(), [mock_stream.changes])], notes)
    assert "OffsetOutOfRange" in notes.named("waiting")[0][0]
    assert exactly_once(VALUES[:100], keys=1) == mock_stream.outputs()


def test_fetching_that_ended_within_the_client_begins_anew(mock_stream: Stream) -> None:
    """A routine of aiokafka can end with an error that nobody asks for; the worker would be ready for ever."""
    mock_stream.feed(VALUES[:50], partition=0, keys=1)
    notes = Notes()

    async def story(worker: Worker) -> None:
        await until(lambda: notes.counts["changes",] == 50)
        thread = _consumer_of(worker.app)._thread
        fetching = thread._ensure_consumer()._fetcher._fetch_task
        thread.thread_loop.call_soon_threadsafe(fetching.cancel)
        await until(fetching.done)
        mock_stream.feed(VALUES[50:100], partition=0, keys=1)
        await until(lambda: notes.counts["changes",] == 100)

    run(story, mock_stream, [Stage(mock_stream.step(), [mock_stream.changes])], notes)
    assert exactly_once(VALUES[:100], keys=1) == mock_stream.outputs()


def test_a_partition_that_is_not_ours_cannot_be_begun(mock_stream: Stream) -> None:
    """A lane that starts while its partition is taken away finds out, instead of reading another's."""

    async def story(worker: Worker) -> None:
        await until(lambda: not worker.lanes.readiness())
        consumer: BatchConsumer = _consumer_of(worker.app)
        with pytest.raises(KeyError):
            await consumer.begin("another.topic", 0, 0)
        assert consumer.remaining("another.topic", 0) is None

    run(story, mock_stream, [Stage(mock_stream.step(), [mock_stream.changes])], Notes())


def test_a_busy_partition_is_held_while_others_go_on(mock_stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that waits for Redis takes no more than its queue; another's records flow."""
    step, slow = mock_stream.step(), threading.Event()
    run_step = step.run

    def wait_for_the_slow(decoded: Counted, states: Mapping[str, bytes | None]) -> StepResult:
        if any(key == "r0" for key, _ in decoded.good):
            assert slow.wait(30)
        return run_step(decoded, states)

    monkeypatch.setattr(step, "run", wait_for_the_slow)
    notes = Notes()

    async def story(worker: Worker) -> None:
        await until(lambda: not worker.lanes.readiness())
        for begin in range(0, 100, 10):
            mock_stream.feed(VALUES[begin : begin + 10], partition=0, keys=1)
        for number in range(100):
            mock_stream.producer.produce(mock_stream.changes, b"%d" % number, b"r1", 1)
        mock_stream.producer.flush(10)
        await until(lambda: notes.counts["changes",] >= 100)
        assert not slow.is_set()
        slow.set()
        await until(lambda: notes.counts["changes",] == 200)

    run(story, mock_stream, [Stage(step, [mock_stream.changes])], notes, batch_rows=5)
    assert 100 == len(mock_stream.outputs()[b"r0"])


@pytest.mark.real_redis
def test_redis_away_holds_what_needs_it_and_nothing_else(mock_stream: Stream) -> None:
    """Decide waits and says why, intake goes on; when Redis is back, empty, the lanes catch up and go on."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs a redis-server on the PATH")
    source, notes, redis = f"{mock_stream.name}.source", Notes(), OwnRedis()
    stream = dataclasses.replace(mock_stream, redis_url=redis.url)

    def feed(values: Sequence[bytes]) -> None:
        for number, value in enumerate(values):
            stream.producer.produce(source, value, b"r%d" % (number % 5), 0)
        stream.producer.flush(10)

    async def story(worker: Worker) -> None:
        feed(VALUES[:100])
        await until(lambda: notes.counts["changes",] == 100)
        redis.kill()
        feed(VALUES[100:200])
        await until(lambda: notes.counts["passed",] == 200)
        await until(lambda: "redis: " in worker.lanes.readiness())
        assert 100 == notes.counts["changes",]
        redis.start()
        await until(lambda: notes.counts["changes",] == 200)
        await until(lambda: not worker.lanes.readiness())

    try:
        run(story, stream, stages_of(stream, [source]), notes)
    finally:
        redis.kill()
    assert exactly_once(VALUES[:200]) == stream.outputs()


class OwnRedis:
    """A redis-server of the test's own, that may go away and come back empty."""

    def __init__(self) -> None:
        self.port = kept_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Comes (back)."""
        command = ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """Goes away."""
        self.process.kill()
        self.process.wait()


def test_a_refused_lane_ends_the_worker(mock_stream: Stream) -> None:
    """The error reaches whoever called `serve`, with its line."""

    class Hopeless(CountingStep):
        """Its records break, and their dead letters are too large."""

        def dead_letter(self, *_: Any) -> Output:
            """Too large for any topic."""
            return Output(self.dead_topic, b"k", b"x" * 3_000_000, [], 0)

        def run(self, *_: Any) -> StepResult:
            """Breaks."""
            raise ValueError

    mock_stream.feed(VALUES[:1], partition=0)
    step = Hopeless("decide", mock_stream.state, mock_stream.out, mock_stream.dead)
    with pytest.raises(LaneRefusedError, match="make the limit of the dead-letter topic"):
        run(for_ever, mock_stream, [Stage(step, [mock_stream.changes])], Notes())


def test_an_internal_error_ends_the_worker_too(mock_stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is skipped because of a mistake of ours."""

    def mistake(*_: Any) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("ownership_stream.lane.standing.Entrance._facts", mistake)

    with pytest.raises(OwnershipError, match="internal error: TypeError: ours"):
        run(for_ever, mock_stream, [Stage(mock_stream.step(), [mock_stream.changes])], Notes())


def test_the_settings_make_the_configuration() -> None:
    """Each setting that a worker needs reaches the place where it works."""
    settings = Settings(
        brokers="a:1,b:2",
        app_id="own",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="u",
        sasl_password="p",
        record_max_bytes=1_000,
        work_max_bytes=3,
    )
    config = worker_config(settings, waived=["topic ids"])
    assert ["a:1", "b:2"] == config.brokers
    assert 1_000 + 64 * 1024 == config.lane.largest_record
    assert 3 == config.work_bytes
    assert frozenset({"topic ids"}) == config.lane.waived
    assert ("u", "p") == (credentials_of(config).username, credentials_of(config).password)
    assert credentials_of(worker_config(Settings())) is None
    assert isinstance(redis_store(settings), RedisStore)


def credentials_of(config: WorkerConfig) -> Any:
    """What Faust shows the brokers."""
    return build_app(config, [], cast("Any", None)).conf.broker_credentials


def test_an_embedded_stack_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its Redis ends with it, and each check it waives has a reason."""
    with Embedded() as stack:
        assert all(len(reason.split()) > 3 for reason in stack.waived.values())
        port = stack.redis_url.rsplit(":", 1)[1].split("/")[0]
        assert redis_processes(port)
    assert not redis_processes(port)


def test_an_embedded_stack_without_redis_server_uses_fakeredis(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fakeredis cannot answer is waived by name, and lanes work on it."""
    monkeypatch.setenv("PATH", "")
    with Embedded() as stack:
        assert "eviction policy" in stack.waived
        store = RedisStore.from_url(stack.redis_url, waive_eviction_check=True)
        store.check()
        assert store.take("p:", "a") is None
        store.close()


def test_an_embedded_stack_with_neither_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and nothing started stays."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(cast("dict[str, Any]", __import__("sys").modules), "fakeredis", None)
    with pytest.raises(UnavailableError, match="install either"), Embedded():
        pass


def redis_processes(port: str) -> bool:
    """Whether a redis-server listens on the port."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any("redis-server" in line and port in line for line in listed.splitlines())


def test_idle_seconds_are_short_enough_for_logs() -> None:
    """The client's log lines reach ours within seconds."""
    assert runner_module.IDLE_SECONDS <= 10
