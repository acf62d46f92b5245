"""What happens to lanes, as metrics and log lines: the `Observer` that lanes are given (lane/contract.py).

Called from lane threads. It knows lanes only by their shape, and sees neither keys nor values of records.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from time import monotonic
from typing import Final, Protocol

from ownership_stream.telemetry.catalogue import BURIALS
from ownership_stream.telemetry.log import get_logger
from ownership_stream.telemetry.progress import Progress, Terminal
from ownership_stream.telemetry.registry import Telemetry


class Lane(Protocol):
    """One partition of one stage."""

    @property
    def stage(self) -> str:
        """`intake` or `decide`."""

    @property
    def topic(self) -> str:
        """The input topic."""

    @property
    def partition(self) -> int:
        """The input partition."""


class Timings(Protocol):
    """Seconds that the parts of one batch took."""

    @property
    def decode(self) -> float:
        """Bytes to words."""

    @property
    def load(self) -> float:
        """States from Redis."""

    @property
    def step(self) -> float:
        """The pure step."""

    @property
    def commit(self) -> float:
        """The Kafka transaction."""

    @property
    def save(self) -> float:
        """States to Redis."""

    @property
    def total(self) -> float:
        """All of it."""


PER_LANE: Final = ("records_processed", "batches_committed", "lag_records", "lane_seconds_since_commit")
PROGRESS_SECONDS: Final = 5.0
"""A catch-up that takes longer says how far it is, so often."""
SHORT: Final = 1_000
"""A catch-up with no more offsets before it is told at its end only: most are of a marker or two."""
NEEDS: Final[Mapping[str, str]] = {"kafka": "kafka", "redis": "redis", "schema registry": "registry"}
"""What the reason of a wait begins with -> what is away; anything else is `other`."""

_Key = tuple[str, str, int]


class LaneTelemetry:
    """Counts and tells what lanes do; the state of each lane is kept for the gauge `lanes`.

    `clock` gives seconds that only ever grow.
    """

    def __init__(self, telemetry: Telemetry, *, clock: Callable[[], float] = monotonic) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._log = get_logger("lane")
        self._states: dict[_Key, str] = {}
        self._needs: dict[_Key, str] = {}
        self._behind: dict[_Key, float] = {}  # since when a lane has lag and did not commit
        self._catching_up: dict[_Key, Progress] = {}
        self._said: dict[_Key, float] = {}
        self._terminal: Terminal | None = None
        self._lock = Lock()

    def show_on(self, terminal: Terminal) -> None:
        """Shows catch-ups on a terminal too."""
        self._terminal = terminal

    def started(self, lane: Lane, position: int) -> None:
        """The lane is caught up and works from this input offset."""
        for name in PER_LANE:
            self._telemetry.open_series(name, *_labels(lane))
        self._enter(lane, "working")
        self._log.info("lane_started", **_place(lane), offset=position)

    def catching_up(self, lane: Lane, done: int, left: int, seconds: float) -> None:
        """The states of Redis are being brought up; told in the log at the beginning and every few seconds."""
        key, now = _key(lane), self._clock()
        with self._lock:
            before = self._catching_up.get(key)
            if done == 0 or before is None:
                before = Progress(0, 0, left, 0.0)
                self._said[key] = now
            passed = before.offsets + before.offsets_left - left
            progress = Progress(done, passed, left, seconds)
            self._advance(lane, progress)
            say = left > SHORT if done == 0 else now - self._said[key] >= PROGRESS_SECONDS
            if say:
                self._said[key] = now
        self._telemetry.count({("catch_up_records", lane.stage): done - before.records})
        if done == 0:
            self._enter(lane, "starting")
        if say:
            self._log.info("lane_catching_up", **_place(lane), **_told(progress))

    def caught_up(self, lane: Lane, records: int, seconds: float) -> None:
        """The states of Redis were brought up to the changelog."""
        with self._lock:
            before = self._catching_up.get(_key(lane))
            self._advance(lane, None)
        rest = records - before.records if before else records
        self._telemetry.count({("catch_up_records", lane.stage): rest, ("catch_up_seconds", lane.stage): seconds})
        self._log.info("lane_caught_up", **_place(lane), records=records, seconds=round(seconds, 3))

    def committed(
        self, lane: Lane, *, records: int, outputs: int, counts: Counter[tuple[str, ...]], timings: Timings
    ) -> None:
        """A batch is committed: only now its happenings count."""
        place = _labels(lane)
        self._telemetry.count(counts)
        self._telemetry.count({("records_processed", *place): records, ("batches_committed", *place): 1})
        self._has_committed(lane)
        observe = self._telemetry.observe
        observe("batch_seconds", lane.stage, seconds=timings.total)
        observe("transaction_seconds", lane.stage, seconds=timings.commit)
        observe("state_load_seconds", lane.stage, seconds=timings.load)
        observe("state_save_seconds", lane.stage, seconds=timings.save)
        observe("step_seconds", lane.stage, seconds=timings.decode + timings.step)
        self._enter(lane, "working")
        self._tell_refusals(lane, counts)
        self._log.debug(
            "batch_committed",
            **_place(lane),
            records=records,
            outputs=outputs,
            seconds=round(timings.total, 6),
        )

    def lagging(self, lane: Lane, records: int) -> None:
        """So many input records wait before the lane; how long none of them was committed is measured from here."""
        key, now = _key(lane), self._clock()
        with self._lock:
            if records:
                since = self._behind.setdefault(key, now)
            else:
                since = now
                self._behind.pop(key, None)
        self._telemetry.set("lag_records", *_labels(lane), value=records)
        self._telemetry.set("lane_seconds_since_commit", *_labels(lane), value=now - since)

    def waiting(self, lane: Lane, reason: str) -> None:
        """Something the lane needs is away; it waits and tries again. Told once, not at each attempt."""
        with self._lock:
            self._advance(lane, None)
        news = self._enter(lane, "waiting")
        self._lack(lane, NEEDS.get(reason.partition(":")[0], "other"))
        if news:
            self._log.warning("lane_waiting", **_place(lane), detail=reason)

    def recovered(self, lane: Lane) -> None:
        """What the lane waited for answers again: an idle one has no batch to show it by."""
        self._enter(lane, "working")

    def recreated(self, lane: Lane, reason: str) -> None:
        """The lane lost its standing and starts again with the same batch."""
        with self._lock:
            self._advance(lane, None)
        self._telemetry.count({("lanes_recreated", lane.stage): 1})
        self._enter(lane, "starting")
        self._log.warning("lane_recreated", **_place(lane), detail=reason)

    def buried(self, lane: Lane, offset: int, stage: str, error: str) -> None:
        """One record broke its batch by itself and went to the dead letters; its error may carry a value."""
        del error
        self._telemetry.count({("dead_letters", lane.stage, BURIALS.get(stage, stage)): 1})
        self._log.warning("record_buried", **_place(lane), offset=offset, reason=stage)

    def noticed(self, lane: Lane, text: str) -> None:
        """Something worth a log line that stops nothing."""
        self._log.warning("lane_noticed", **_place(lane), detail=text)

    def stopped(self, lane: Lane) -> None:
        """The lane is no longer ours: its series go with it."""
        with self._lock:
            self._behind.pop(_key(lane), None)
            self._advance(lane, None)
        for name in PER_LANE:
            self._telemetry.close_series(name, *_labels(lane))
        self._enter(lane, None)
        self._log.info("lane_stopped", **_place(lane))

    def _tell_refusals(self, lane: Lane, counts: Counter[tuple[str, ...]]) -> None:
        """What people asked of cases and were refused; who and why in full stands on ``ownership.resolutions``."""
        for name, *labels in sorted(counts):
            if name == "resolutions" and labels[0] == "refused":
                number = counts[name, *labels]
                self._log.warning("resolution_refused", **_place(lane), reason=labels[1], records=number)

    def _has_committed(self, lane: Lane) -> None:
        with self._lock:
            if _key(lane) in self._behind:
                self._behind[_key(lane)] = self._clock()
                self._telemetry.set("lane_seconds_since_commit", *_labels(lane), value=0.0)

    def _advance(self, lane: Lane, progress: Progress | None) -> None:
        """Note how far the lane's catch-up is, None at its end; with the lock held."""
        key = _key(lane)
        if progress is None:
            self._said.pop(key, None)
            if self._catching_up.pop(key, None) is None:
                return
        else:
            self._catching_up[key] = progress
        others = [one for (stage, _, _), one in self._catching_up.items() if stage == lane.stage]
        left = max((one.seconds_left or 0.0 for one in others), default=0.0)
        self._telemetry.set("catch_up_left_records", lane.stage, value=sum(one.records_left for one in others))
        self._telemetry.set("catch_up_left_seconds", lane.stage, value=left)
        if self._terminal is not None:
            self._terminal.show(f"{lane.stage} {lane.topic}[{lane.partition}]", progress)

    def _enter(self, lane: Lane, state: str | None) -> bool:
        """Note what the lane is doing; whether that is news."""
        key = _key(lane)
        if state != "waiting":
            self._lack(lane, None)
        with self._lock:
            before = self._states.pop(key, None)
            if state is not None:
                self._states[key] = state
            if state == before:
                return False
            for changed in {before, state} - {None}:
                number = sum(k[0] == lane.stage and s == changed for k, s in self._states.items())
                self._telemetry.set("lanes", lane.stage, str(changed), value=number)
            return True

    def _lack(self, lane: Lane, need: str | None) -> None:
        """Note what the lane waits for; None: for nothing."""
        key = _key(lane)
        with self._lock:
            before = self._needs.pop(key, None)
            if need is not None:
                self._needs[key] = need
            for changed in {before, need} - {None}:
                number = sum(k[0] == lane.stage and n == changed for k, n in self._needs.items())
                self._telemetry.set("lanes_waiting", lane.stage, str(changed), value=number)


def _key(lane: Lane) -> _Key:
    return lane.stage, lane.topic, lane.partition


def _told(progress: Progress) -> dict[str, float]:
    told: dict[str, float] = {"records": progress.records, "left": progress.records_left}
    if progress.seconds_left is not None:
        told |= {"rate": round(progress.rate), "seconds_left": round(progress.seconds_left, 1)}
    return told


def _labels(lane: Lane) -> tuple[str, str, str]:
    return lane.stage, lane.topic, str(lane.partition)


def _place(lane: Lane) -> dict[str, str | int]:
    return {"stage": lane.stage, "topic": lane.topic, "partition": lane.partition}
