"""One run: an installation under continuous load, with workers that come and go, up to its verdict.

A run injects nothing and judges nothing. Faults are done to it (`fault`), its witness is what an outsider sees
(`witness`), and the judge decides (`judge`). Here is only what all of them need: workers, load, waiting, and an orderly
end.
"""

import os
import pickle
import random
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Protocol, Self

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # exported, not by the letter of PEP 484

from avro_kit import Converter, client
from chaos.afar import Afar, from_afar
from chaos.apart import Cost, SideBySide
from chaos.fault import Fault
from chaos.installation import Installation, WorkerProcess
from chaos.judge import Verdict, compare_metrics, judge
from chaos.load import Load
from chaos.people import People
from chaos.redis_server import RedisServer
from chaos.witness import Account, await_settled, observe
from integration.registry import ApicurioNode
from ownership_stream.lane.failpoint import EXIT_CODE as FAILPOINT
from ownership_stream.store import POSITION_FIELD, STATES_KEY, key_prefix
from ownership_stream.wire.avro_wire import wire_of

DEADLINE: Final = 120.0
POLL_SECONDS: Final = 0.1
# What a transaction costs hardly depends on how much is in it: fewer of them leave the machine to the faults.
BURST_SECONDS: Final = 1.0
LOG_LINES: Final = 12
KILLED: Final = (FAILPOINT, -signal.SIGKILL, -signal.SIGTERM)
# Short, so that a run is: a test's broker allows a session of one second. Not so short that a busy machine is taken
# for a dead worker.
SETTINGS: Final[Mapping[str, Any]] = {
    "session_timeout_seconds": 3.0,
    "transaction_timeout_seconds": 4.0,
    "message_timeout_seconds": 4.0,
    "redis_timeout_seconds": 1.5,
    "shutdown_grace_seconds": 20.0,
}


class Brokers(Protocol):
    """Whatever Kafka the run is on: a cluster of its own, or one that it shares."""

    @property
    def bootstrap(self) -> str:
        """`host:port` of its brokers, with commas between."""


class Run:
    """One run. `workers` are those started, dead ones included; `scrapes` what each showed last on /metrics.

    `seed` makes the load, `rate` its events a second, those of each `burst` seconds given together. `said` overrides
    settings of the installation. `first` workers are there from the start. With a `registry` all is in
    Avro: our topics, and what the EHR's connector writes.
    """

    def __init__(
        self,
        cluster: Brokers,
        seed: int,
        *,
        first: int = 2,
        partitions: int = 8,
        source_partitions: int | None = None,
        replication: int = 1,
        rate: float = 120.0,
        burst: float = BURST_SECONDS,
        registry: ApicurioNode | None = None,
        people: bool = True,
        **said: Any,
    ) -> None:
        self.cluster = cluster
        self.registry = registry
        self.seed = seed
        self.redis = RedisServer()
        self.workers: list[WorkerProcess] = []
        self.scrapes: dict[WorkerProcess, str] = {}
        self.witness: Account | None = None
        self.injected: list[str] = []
        self.killed_at: list[str] = []
        self.site: Installation
        self.load: Load
        self.people: People | None = None
        self._with_people = people
        self._first = first
        self._rate = rate
        self._burst = burst
        # As many of each source unless told: a topic with few partitions is shared out among few workers only.
        sources = source_partitions or partitions
        self._shape = {"partitions": partitions, "source_partitions": sources, "replication": replication}
        self._said = {**SETTINGS, **({} if registry is None else avro(registry)), **said}
        self._decided = 0
        self._uncertain = False
        self._lifts: list[Callable[[], None]] = []
        self._excused: set[WorkerProcess] = set()
        self._armed: set[WorkerProcess] = set()
        self._last: list[WorkerProcess] = []
        self._exits = ExitStack()

    # ------------------------------------------------------------------------------------------------ its life

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.enter_context(self.redis)
            self.site = Installation(self.cluster.bootstrap, self.redis.url, said=self._said, **self._shape)
            self._offsets = Consumer(
                {
                    "bootstrap.servers": self.site.bootstrap,
                    "group.id": self.site.settings.app_id,
                    # With read_committed it waits for a moment in which no lane has a transaction open.
                    "isolation.level": "read_uncommitted",
                    "log_level": 0,
                }
            )
            exits.callback(self._offsets.close)
            self.load = Load(self.site, self.seed, rate=self._rate, burst=self._burst, converter=self._converter())
            exits.callback(self._end)
            for _ in range(self._first):
                self.start_worker()
            self.load.start()
            if self._with_people:
                self.people = People(self.site, self.seed)
                self.people.start()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def _converter(self) -> Converter | None:
        if self.registry is None:
            return None
        return Converter(client(self.registry.url), self.site.sources["ehr"])

    def _end(self) -> None:
        for worker in self.workers:
            worker.close()
        self.load.abandon()
        if self.people is not None:
            self.people.stop()
        self.lift()

    # ------------------------------------------------------------------------------------------------ workers

    def start_worker(self, **kw: Any) -> WorkerProcess:
        """One worker more; `kw` as `Installation.worker` takes it. Returns at once."""
        worker = self.site.worker(**kw)
        self.workers.append(worker)
        if kw.get("failpoint"):
            self._armed.add(worker)
        return worker

    @property
    def alive(self) -> list[WorkerProcess]:
        """The workers whose processes are there."""
        return [worker for worker in self.workers if worker.running]

    @property
    def sound(self) -> list[WorkerProcess]:
        """The workers that are there, awake, and have no failpoint before them."""
        return [worker for worker in self.alive if worker not in self._armed and not asleep(worker)]

    def at_strength(self, number: int = 2, most: int | None = None) -> list[WorkerProcess]:
        """At least so many sound workers are there, new ones if need be, and at most so many: the last ones end."""
        while len(self.sound) < number:
            self.start_worker()
        while most is not None and len(self.sound) > most:
            self.end(self.sound[-1])
        return self.sound

    def kill(self, worker: WorkerProcess) -> None:
        """`kill -9`."""
        worker.signal(signal.SIGKILL)
        worker.wait()

    def wake(self, worker: WorkerProcess) -> None:
        """Lets a stopped worker go on; its failpoint, if it had one, is behind it."""
        worker.signal(signal.SIGCONT)
        self._armed.discard(worker)

    def end(self, worker: WorkerProcess) -> None:
        """SIGTERM; fails if it does not end well. A process that has not come to its first line may just die of it."""
        began = bool(worker.said())
        worker.signal(signal.SIGTERM)
        code = self.await_end(worker)
        assert code == 0 or (code == -signal.SIGTERM and not began), f"{code} at SIGTERM\n{self.tell()}"

    def excuse(self, worker: WorkerProcess) -> None:
        """This worker may end by itself with an error: the fault is one that must end it."""
        self._excused.add(worker)

    # ------------------------------------------------------------------------------------------------ waiting

    def until(self, true: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
        """Returns when it holds; fails with what the workers say if it does not come to hold."""
        deadline = monotonic() + seconds
        while not true():
            assert monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.tell()}"
            self.prove_alive()
            sleep(POLL_SECONDS)

    def decided(self) -> int:
        """How far the decide lanes have committed, offsets of all partitions together, as far as Kafka can be asked."""
        topic = self.site.settings.topic_changes
        asked = [TopicPartition(topic, partition) for partition in range(self.site.partitions)]
        with suppress(KafkaException):
            self._decided = sum(max(one.offset, 0) for one in self._offsets.committed(asked, timeout=5))
        return self._decided

    def await_progress(self, n: int = 200) -> None:
        """Until the decide lanes have committed `n` offsets more."""
        began = self.decided()
        self.until(lambda: self.decided() >= began + n, f"{n} changes more decided than {began}")
        self.scrape()

    def await_ready(self, worker: WorkerProcess) -> None:
        """Until the worker has lanes, and all of them are at work."""
        self.until(lambda: worker.ready, "ready")

    def await_end(self, worker: WorkerProcess, seconds: float = DEADLINE) -> int:
        """The worker's exit code, once it has ended."""
        self.until(lambda: not worker.running, "ended", seconds)
        return worker.wait()

    def prove_alive(self) -> None:
        """Fails if a worker ended that nobody killed, told to end or excused."""
        for worker in self.workers:
            code = worker.process.poll()
            if code not in (None, 0, *KILLED) and worker not in self._excused:
                raise AssertionError(f"a worker ended by itself with {code}\n{self.tell()}")

    def tell(self) -> str:
        """What the workers say of themselves: /readyz and the last lines of their logs."""
        told = [f"injected: {', '.join(self.injected) or 'nothing'}; fed {self.load.number}, decided {self.decided()}"]
        told += [f"people asked {self.people.asked} times"] if self.people is not None else []
        for number, worker in enumerate(self.workers):
            code = worker.process.poll()
            if code in (0, *KILLED):
                continue
            state = f"{worker.get('/readyz')}" if code is None else f"ended with {code}"
            told += [f"worker {number}: {state}", *worker.said().splitlines()[-LOG_LINES:]]
        return "\n".join(told)

    # ------------------------------------------------------------------------------------------------ faults

    def inject(self, fault: Fault, dice: random.Random) -> None:
        """Lets a fault happen, and notes it."""
        self.injected.append(fault.name)
        self._uncertain |= fault.uncertain
        fault.inject(self, dice)

    def on_lift(self, lift: Callable[[], None]) -> None:
        """To be called when the faults end: what a fault leaves behind is undone there. Must do no harm twice."""
        self._lifts.append(lift)

    def lift(self) -> None:
        """Ends all faults, the last one first."""
        while self._lifts:
            self._lifts.pop()()

    # ------------------------------------------------------------------------------------------------ the end

    def scrape(self) -> None:
        """Reads /metrics of every worker that answers."""
        for worker in self.alive:
            status, text = worker.get("/metrics")
            if status == 200:
                self.scrapes[worker] = text

    def finish(self) -> Verdict:
        """Lifts all faults, lets everything settle, stops all workers and judges; once per run."""
        self._come_to_rest()
        self.witness = observe(self.site, self.load.given)
        return judge(self.witness, self.site.stages, wire=wire_of(self.site.settings))

    def finish_apart(self, processes: int) -> tuple[Verdict, Cost]:
        """The same of a run whose log fits no memory: so many processes read and judge it, partition by partition."""
        self._come_to_rest()
        self.witness = from_afar(self.site, self.load.given)
        with SideBySide(processes, self.witness, self.site.settings) as hands:
            verdict = judge(self.witness, self.site.stages, hands, wire_of(self.site.settings))
        return verdict, hands.cost

    def _come_to_rest(self) -> None:
        self.lift()
        self.load.stop()
        if self.people is not None:
            self.people.stop()
        self.at_strength()
        await_settled(self.site)
        # What is committed need not be in Redis yet: a lane that could not write there waits before it starts anew, and
        # an idle one finds out only after a while that what it wrote is gone.
        self.until(self._cached, "redis has what is committed")
        for worker in self.alive:
            self.await_ready(worker)
        self.until(self._counted, "what is counted stands still")
        last = self._last = self.alive
        for worker in last:
            worker.signal(signal.SIGTERM)
        codes = [self.await_end(worker) for worker in last]
        assert [0] * len(last) == codes, f"{codes} at SIGTERM\n{self.tell()}"

    def _cached(self) -> bool:
        """Whether the position of every lane with states is the end of its changelog, but for a last marker."""
        settings, admin = self.site.settings, self.site.admin
        topics = (settings.topic_state, settings.topic_match_state)
        described = admin.describe_topics(TopicCollection(list(topics)))
        ids = {topic: str(described[topic].result(30).topic_id) for topic in topics}
        places = [TopicPartition(topic, partition) for topic in topics for partition in range(self.site.partitions)]
        ends = admin.list_offsets({place: OffsetSpec.latest() for place in places})
        for place in places:
            key = key_prefix(settings.app_id, ids[place.topic], place.partition) + STATES_KEY
            position = self.redis.ask("HGET", key, POSITION_FIELD)
            if position is None or int(position.rpartition(b":")[2]) < ends[place].result(30).offset - 1:
                return False
        return True

    def _counted(self) -> bool:
        """Whether the workers count as they did a moment ago: a count comes after its commit and its save."""
        before = {worker: counts(text) for worker, text in self.scrapes.items()}
        self.scrape()
        return all(before.get(worker) == counts(self.scrapes.get(worker, "")) for worker in self.alive)

    def prove(self, folder: Path) -> Verdict:
        """`finish`; fails, with the evidence in `folder`, if the verdict or the metrics are not as they must be."""
        verdict = self.finish()
        assert self.witness is not None
        findings = compare_metrics(list(self.scrapes.values()), self.witness, self.killed, verdict.counted)
        if findings or not verdict.ok:
            self.keep_evidence(folder, verdict, *findings)
        assert verdict.ok, f"{verdict}\ninjected: {', '.join(self.injected)}; evidence: {folder}"
        assert [] == findings, f"{findings[:20]}\ninjected: {', '.join(self.injected)}; evidence: {folder}"
        return verdict

    @property
    def killed(self) -> bool:
        """Whether the counts may lack something: a worker ended before the last scrape, or lost an outcome."""
        return self._uncertain or any(worker not in self._last for worker in self.workers)

    def keep_evidence(self, folder: Path, *more: object) -> None:
        """Writes the witness, the logs and the metrics to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.witness, Afar):
            self.witness.keep(folder)
        else:
            (folder / "witness.pickle").write_bytes(pickle.dumps(self.witness))
        (folder / "told.txt").write_text("\n".join([self.tell(), *map(str, more)]))
        for number, worker in enumerate(self.workers):
            (folder / f"worker-{number}.log").write_text(worker.said())
            (folder / f"worker-{number}.metrics").write_text(self.scrapes.get(worker, ""))


def counts(page: str) -> list[str]:
    """The lines of /metrics that say how often something happened."""
    return [line for line in page.splitlines() if line.startswith("ownership_") and "_total" in line]


def avro(registry: ApicurioNode) -> dict[str, Any]:
    """The settings by which all is written in Avro; short like `SETTINGS`."""
    return {"wire": "avro", "registry_url": registry.url, "registry_timeout_seconds": 1.0}


def asleep(worker: WorkerProcess) -> bool:
    """Whether the process is stopped, as by SIGSTOP."""
    if not worker.running:
        return False
    return os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
