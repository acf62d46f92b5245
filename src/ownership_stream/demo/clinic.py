"""The clinic at work: carries out the plan, writes back what the stream approves, and is both systems' connector.

One thread does all of it, so that rows need no locks: actions when they are due, apply records as they come, and the
echo of each a moment later, as a connector would see it. What it did is counted here and nowhere else, so that the
summary compares two books kept apart.
"""

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from time import monotonic, time
from typing import Any, Final
from zlib import crc32

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

from ownership_stream.demo.actions import Action, Edit, Planned
from ownership_stream.demo.desk import Desk, key_of
from ownership_stream.demo.plan import Plan
from ownership_stream.demo.systems import Event, System
from ownership_stream.errors import UnavailableError
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.wire import JSON, Apply

LANDING_SECONDS: Final = 0.12
"""What a writer takes from reading an approved change to writing it; its echo is on the source topic at once."""
ANSWER_SECONDS: Final = 0.4
"""What an automation takes to write again what was put right."""
ANSWERS: Final = 12
"""How often it does at most; the loop guard ends it sooner."""
WAIT_SECONDS: Final = 0.01
QUIET_SECONDS: Final = 1.5
"""From the start until the mix begins."""
OPENING_SECONDS: Final = 10.0
CALM: Final = 12
"""How much slower the mix is during the opening."""
LATE_SECONDS: Final = 0.5
"""A clinic that was held up does not make up for more than this."""


class Books:
    """What the clinic counted. Read by other threads; only grows."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        """Records per source topic that the broker has taken."""
        self.landed: Counter[str] = Counter()
        """Apply records per system that were read, landed or not."""
        self.kinds: Counter[str] = Counter()
        """What was done, by kind of action, and what became of apply records."""


class Clinic:
    """The two systems and everyone who writes in them. ``rate``: actions a second, after the opening."""

    def __init__(
        self,
        matrix: Matrix,
        systems: Mapping[str, System],
        plan: Plan,
        client: Mapping[str, Any],
        *,
        apply_topics: Mapping[str, str],
        partitions: int,
        rate: float,
    ) -> None:
        self.books = Books()
        self.held = False
        """Whether the mix waits for the stream: the embedded broker keeps little, and nothing may be overtaken."""
        self._systems, self._plan = systems, plan
        self._desk = Desk(matrix, systems, _now())
        self._partitions, self._rate = partitions, rate
        self._producer = Producer({**client, "linger.ms": 2, "enable.idempotence": True})
        self._consumer = Consumer(
            {**client, "group.id": "clinic", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
        )
        topics = {topic: system for system, topic in apply_topics.items()}
        self._system_of = topics
        self._consumer.assign(
            [TopicPartition(topic, n, OFFSET_BEGINNING) for topic in topics for n in range(partitions)]
        )
        self._due: list[tuple[float, int, Action | Callable[[], None]]] = []
        self._order = count()
        self._answers: dict[tuple[str, str], tuple[Edit, int]] = {}
        self._editing = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clinic", daemon=True)
        self.error: Exception | None = None

    # ------------------------------------------------------------------------------------------------ its life

    def open(self) -> None:
        """Begins: the rows that are there, the opening, the mix."""
        self._editing.set()
        self._thread.start()

    def stop_editing(self) -> None:
        """Nobody edits any more; what the stream approves still lands and comes back."""
        self._editing.clear()

    def close(self) -> None:
        """Ends the thread and lets go of Kafka."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._producer.flush(5)
        self._consumer.close()

    @property
    def patients(self) -> int:
        """How many have been seen."""
        return self._desk.patients

    @property
    def is_open(self) -> bool:
        """Whether it ever opened."""
        return self._thread.ident is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is due and everything sent was taken by the broker."""
        return not self._due and not len(self._producer)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (told to whoever runs the demo, who ends it)
            self.error = error

    def _work(self) -> None:
        began = monotonic()
        for planned in (*self._plan.start(), *self._plan.opening()):
            self._at(began + planned.after, planned.action)
        mix, turn = self._plan.mix(), began + QUIET_SECONDS
        while not self._ending.is_set():
            now = monotonic()
            if self._editing.is_set() and not self.held:
                turn = self._mix(mix, turn, now, self._rate if now - began > OPENING_SECONDS else self._rate / CALM)
            elif not self._editing.is_set() and any(not callable(do) for _, _, do in self._due):
                self._due = [due for due in self._due if callable(due[2])]
                heapq.heapify(self._due)
            while self._due and self._due[0][0] <= now:
                self._take_turn(heapq.heappop(self._due)[2])
            self._producer.poll(0)
            for message in self._consumer.consume(200, WAIT_SECONDS):
                self._take(message)

    def _mix(self, mix: Iterator[list[Planned]], turn: float, now: float, rate: float) -> float:
        """Lets happen what the rate allows by now; returns when the next thing is to happen."""
        turn = max(turn, now - LATE_SECONDS) if turn < now else turn
        while turn <= now:
            for planned in next(mix):
                self._at(turn + planned.after, planned.action)
            turn += 1 / rate
        return turn

    def _at(self, at: float, do: Action | Callable[[], None]) -> None:
        """Plans an action, which is not done once the editing has ended, or something that is done all the same."""
        heapq.heappush(self._due, (at, next(self._order), do))

    def _take_turn(self, do: Action | Callable[[], None]) -> None:
        if callable(do):
            do()
        else:
            self._do(do)

    # ------------------------------------------------------------------------------------------------ what is done

    def _do(self, action: Action) -> None:
        events = self._desk.carry_out(action, _now())
        if events:
            self.books.kinds[type(action).__name__.lower()] += 1
        if isinstance(action, Edit) and action.answers:
            self._answers.setdefault((action.system, key_of(action.system, action.patient)), (action, ANSWERS))
        for event in events:
            self._send(event)

    # ------------------------------------------------------------------------------------------------ what lands

    def _take(self, message: Message) -> None:
        """An approved change reaches its system's writer, who needs a moment."""
        fault = message.error()
        if fault is not None:
            raise UnavailableError(f"the clinic cannot read `{message.topic()}`: {fault.str()}")
        name = self._system_of[message.topic() or ""]
        apply = JSON.read_apply(message.value() or b"")
        self._at(monotonic() + LANDING_SECONDS, lambda: self._land(name, apply))

    def _land(self, name: str, apply: Apply) -> None:
        system, sync = self._systems[name], apply.sync
        key = system.key_of(apply.after)
        echo = system.apply(key, apply.after, sync.change_id, sync.version, _now())
        self.books.kinds["landed" if echo else "not landed"] += 1
        if echo is not None:
            self._send(echo)
            self._answer(name, key, apply)
        self.books.landed[name] += 1

    def _answer(self, system: str, key: str, apply: Apply) -> None:
        """An automation that is put right writes the same again, for a while."""
        known = self._answers.get((system, key))
        if known is None or apply.sync.kind != "restore":
            return
        edit, left = known
        if left > 0:
            self._answers[system, key] = (edit, left - 1)
            self._at(monotonic() + ANSWER_SECONDS, edit)

    def _send(self, event: Event) -> None:
        partition = crc32(event.key or b"") % self._partitions
        topic = event.topic

        def told(error: Any, _: Message) -> None:
            if error is None:
                self.books.sent[topic] += 1
            elif self.error is None:
                self.error = KafkaException(error)

        self._producer.produce(topic, event.value, event.key, partition, on_delivery=told)


def _now() -> int:
    return int(time() * 1000)
