"""What happens to lanes, as metrics and log lines: the `Observer` that lanes are given (lane/contract.py).

Called from lane threads. It knows lanes only by their shape, and sees neither keys nor values of records.
"""

from collections import Counter
from threading import Lock
from typing import Protocol

from ownership_stream.telemetry.catalogue import BURIALS
from ownership_stream.telemetry.log import get_logger
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


PER_LANE = ("records_processed", "batches_committed", "lag_records")


class LaneTelemetry:
    """Counts and tells what lanes do; the state of each lane is kept for the gauge `lanes`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._log = get_logger("lane")
        self._states: dict[tuple[str, str, int], str] = {}
        self._lock = Lock()

    def started(self, lane: Lane, position: int) -> None:
        """The lane is caught up and works from this input offset."""
        for name in PER_LANE:
            self._telemetry.open_series(name, *_labels(lane))
        self._enter(lane, "working")
        self._log.info("lane_started", **_place(lane), offset=position)

    def caught_up(self, lane: Lane, records: int, seconds: float) -> None:
        """The states of Redis were brought up to the changelog."""
        self._telemetry.count({("catch_up_records", lane.stage): records, ("catch_up_seconds", lane.stage): seconds})
        self._log.info("lane_caught_up", **_place(lane), records=records, seconds=round(seconds, 3))

    def committed(
        self, lane: Lane, *, records: int, outputs: int, counts: Counter[tuple[str, ...]], timings: Timings
    ) -> None:
        """A batch is committed: only now its happenings count."""
        place = _labels(lane)
        self._telemetry.count(counts)
        self._telemetry.count({("records_processed", *place): records, ("batches_committed", *place): 1})
        observe = self._telemetry.observe
        observe("batch_seconds", lane.stage, seconds=timings.total)
        observe("transaction_seconds", lane.stage, seconds=timings.commit)
        observe("state_load_seconds", lane.stage, seconds=timings.load)
        observe("state_save_seconds", lane.stage, seconds=timings.save)
        observe("step_seconds", lane.stage, seconds=timings.decode + timings.step)
        self._enter(lane, "working")
        self._log.debug(
            "batch_committed",
            **_place(lane),
            records=records,
            outputs=outputs,
            seconds=round(timings.total, 6),
        )

    def lagging(self, lane: Lane, records: int) -> None:
        """So many input records wait before the lane."""
        self._telemetry.set("lag_records", *_labels(lane), value=records)

    def waiting(self, lane: Lane, reason: str) -> None:
        """Something the lane needs is away; it waits and tries again. Told once, not at each attempt."""
        if self._enter(lane, "waiting"):
            self._log.warning("lane_waiting", **_place(lane), detail=reason)

    def recreated(self, lane: Lane, reason: str) -> None:
        """The lane lost its standing and starts again with the same batch."""
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
        for name in PER_LANE:
            self._telemetry.close_series(name, *_labels(lane))
        self._enter(lane, None)
        self._log.info("lane_stopped", **_place(lane))

    def _enter(self, lane: Lane, state: str | None) -> bool:
        """Note what the lane is doing; whether that is news."""
        key = (lane.stage, lane.topic, lane.partition)
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


def _labels(lane: Lane) -> tuple[str, str, str]:
    return lane.stage, lane.topic, str(lane.partition)


def _place(lane: Lane) -> dict[str, str | int]:
    return {"stage": lane.stage, "topic": lane.topic, "partition": lane.partition}
