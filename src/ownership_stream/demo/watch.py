"""Watches the demo from outside: the topics the stream writes, its metrics, the states in Redis.

Nothing of the core is hooked: whoever points a consumer, Prometheus and Redis at a real worker sees the same. One
thread reads the topics from their beginning; metrics and states are read when a picture is taken.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from time import monotonic
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from ownership_stream.demo.sentences import Told, sentence
from ownership_stream.disagreements import disagreements
from ownership_stream.errors import UnavailableError
from ownership_stream.looking import Looker
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Case, Change
from ownership_stream.sources import Mapping as SourceMapping
from ownership_stream.steps import Topics
from ownership_stream.telemetry import Telemetry
from ownership_stream.wire import JSON, Conflict

KEPT_CHANGES: Final = 5_000
KEPT_DECISIONS: Final = 24
KEPT_DELAYS: Final = 200
WAIT_SECONDS: Final = 0.1
PREFIX: Final = "ownership_"
WATCHED: Final = ("outcomes_total", "records_processed_total", "lag_records", "sends_total")
COUNTED: Final = (*WATCHED, "write_attempts_total", "changes_total", "records_ignored_total", "dead_letters_total")
"""What is looked at for the summary too: the attempts have thousands of series."""

Samples = dict[str, dict[tuple[str, ...], float]]
"""Metric, without prefix and suffix -> label values in the catalogue's order (less ``mode``) -> value."""


class Waiting(NamedTuple):
    """An open case."""

    record: str
    case: Case


class Picture(NamedTuple):
    """Everything there is to see at one moment."""

    samples: Samples
    cases: tuple[Waiting, ...]
    """Soonest due first."""
    disagreeing: Counter[tuple[str, str, str]]
    """(system, field, why) -> records."""
    delay: float
    """Median milliseconds from an edit to what is approved of it, over the latest; 0: nothing yet."""

    @classmethod
    def blank(cls) -> Self:
        """What there is to see before anything has happened."""
        return cls({}, (), Counter(), 0.0)

    def total(self, metric: str, *labels: str) -> int:
        """The sum of a metric's series whose first labels are these."""
        found = self.samples.get(metric, {})
        return int(sum(value for key, value in found.items() if key[: len(labels)] == labels))


class Watch:
    """Reads what the stream writes. Thread-safe to ask."""

    def __init__(
        self,
        matrix: Matrix,
        mappings: Iterable[SourceMapping],
        topics: Topics,
        client: Mapping[str, Any],
        *,
        telemetry: Telemetry,
        looker: Looker,
        hashed: Callable[[str], str],
    ) -> None:
        self.records: Counter[str] = Counter()
        """Records read, by topic."""
        self.carried = 0
        """Fields that row events carried on the changes topic; of one that was sent on, once."""
        self.forwarded = 0
        """Row events on the changes topic that one record had sent on to another."""
        self.others = 0
        self.error: Exception | None = None
        self._matrix, self._telemetry, self._looker, self._hashed = matrix, telemetry, looker, hashed
        self._fields = {
            mapping.system: {column.name: column.field for column in mapping.primary.columns} for mapping in mappings
        }
        self._apply = {topic: system for system, topic in topics.apply.items()}
        readers = {topics.changes: self._change, topics.conflicts: self._conflict}
        readers |= dict.fromkeys(self._apply, self._applied)
        self._readers = {
            **dict.fromkeys((topics.resolutions, topics.dead_letters, topics.matches), _counted_only),
            **readers,
        }
        self._changes: OrderedDict[str, Change] = OrderedDict()
        self._sent: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._owners: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._decisions: deque[Told] = deque(maxlen=KEPT_DECISIONS)
        self._shown: dict[tuple[str, str, str], float] = {}
        self._delays: deque[int] = deque(maxlen=KEPT_DELAYS)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._consumer = Consumer({**client, "group.id": "watch", "enable.auto.commit": False})
        partitions = range(topics.partitions)
        self._consumer.assign(
            [TopicPartition(topic, n, OFFSET_BEGINNING) for topic in self._readers for n in partitions]
        )
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    # ------------------------------------------------------------------------------------------------ its life

    def open(self) -> None:
        """Begins to read."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and lets go of Kafka."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                for message in self._consumer.consume(500, WAIT_SECONDS):
                    self._read(message)
        except Exception as error:  # noqa: BLE001 (told to whoever runs the demo, who ends it)
            self.error = error

    def _read(self, message: Message) -> None:
        fault = message.error()
        topic = message.topic() or ""
        if fault is not None:
            raise UnavailableError(f"the view cannot read `{topic}`: {fault.str()}")
        with self._lock:
            self._readers[topic](message)
            self.records[topic] += 1

    # ------------------------------------------------------------------------------------------------ what is read

    def _change(self, message: Message) -> None:
        change = JSON.read_change(message.value() or b"")
        if change.kind != "row":
            self.others += 1
            return
        if change.hops:
            self.forwarded += 1
        else:
            self.carried += len(change.fields) + len(change.compared) + len(change.requests)
        _keep(self._changes, change.id, change, KEPT_CHANGES)

    def _applied(self, message: Message) -> None:
        apply = JSON.read_apply(message.value() or b"")
        system, sync = self._apply[message.topic() or ""], apply.sync
        first = sync.change_id not in self._sent
        _keep(self._sent, sync.change_id, {**self._sent.get(sync.change_id, {}), system: sync.kind}, KEPT_CHANGES)
        change = self._changes.get(sync.change_id)
        if sync.kind != "change" or change is None:
            return
        self._delays.append(message.timestamp()[1] - apply.source.ts_ms)
        if first:
            names = dict.fromkeys(self._fields[system][column] for column in sync.changed_fields)
            self._decisions.extend(self._taken(change, name) for name in names if name in change.fields)
            self._decisions.extend(self._taken(change, name) for name in names if name in change.requests)

    def _taken(self, change: Change, name: str) -> Told:
        request = name in change.requests
        cleared = (change.requests if request else change.fields)[name] is None
        record = self._hashed(change.record)
        return Told(
            change.id, record, change.system, name, "applied", "", change.role, change.origin, None, cleared, request
        )

    def _conflict(self, message: Message) -> None:
        conflict = JSON.read_conflict(message.value() or b"")
        if conflict.owner is not None and conflict.event in ("decided", "opened", "joined"):
            _keep(self._owners, (conflict.change_id, conflict.field), conflict.owner, KEPT_CHANGES)
        if conflict.event == "decided" and conflict.field in self._matrix.fields:
            self._decisions.append(self._refused(conflict))

    def _refused(self, conflict: Conflict) -> Told:
        return Told(
            conflict.change_id, self._hashed(conflict.record), conflict.system, conflict.field, conflict.outcome,
            conflict.reason, conflict.role, conflict.origin, conflict.stage, conflict.proposed is None,
            conflict.request,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ what is seen

    def latest(self) -> str | None:
        """One of the latest decisions, of a kind that was not told for longest: more happen than anyone can read."""
        with self._lock:
            if not self._decisions:
                return None
            found = min(reversed(self._decisions), key=lambda told: self._shown.get(_kind(told), 0.0))
            self._shown[_kind(found)] = monotonic()
            self._decisions.remove(found)
            sent = dict(self._sent.get(found.change_id, {}))
            owner = self._owners.get((found.change_id, found.field))
        return sentence(self._matrix, found, sent, owner)

    def picture(self, metrics: Iterable[str] = WATCHED) -> Picture:
        """What these metrics and the states show now."""
        cases: list[Waiting] = []
        disagreeing: Counter[tuple[str, str, str]] = Counter()
        withheld = self._looker.withheld()
        for record, state in self._looker.states():
            cases += (Waiting(self._hashed(record), case) for case in state.cases.values())
            found = disagreements(self._matrix, state, withheld)
            disagreeing.update((one.system, one.field, one.why) for one in found)
        cases.sort(key=lambda waiting: waiting.case.due)
        with self._lock:
            delay = median(self._delays) if self._delays else 0.0
        return Picture(self.samples(metrics), tuple(cases), disagreeing, delay)

    def samples(self, metrics: Iterable[str] = WATCHED) -> Samples:
        """These metrics, as /metrics shows them."""
        names = [f"{PREFIX}{name}" for name in metrics]
        found: Samples = {name.removesuffix("_total"): {} for name in metrics}
        for family in self._telemetry.registry.restricted_registry(names).collect():
            name = family.name.removeprefix(PREFIX)
            series = found[name]
            for sample in family.samples:
                labels = tuple(value for label, value in sample.labels.items() if label != "mode")
                series[labels] = sample.value
        return found


def _counted_only(_: Message) -> None:
    """Counted, and otherwise not looked at."""


def _kind(told: Told) -> tuple[str, str, str]:
    return told.field, told.outcome, told.reason


def _keep(known: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)
