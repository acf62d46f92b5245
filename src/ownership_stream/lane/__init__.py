"""The exactly-once unit: one partition of one stage, settled batch by batch.

`contract` holds the words a step needs; `commit` the order of a batch; `standing` the order of a start; `broker` what
is asked of Kafka besides; `runner` the life of a lane in an event loop.
"""

from ownership_stream.lane.broker import Broker, BrokerAwayError
from ownership_stream.lane.commit import Lane
from ownership_stream.lane.contract import (
    Batch,
    BatchRejectedError,
    Control,
    Decoded,
    LaneBrokenError,
    LaneConfig,
    LaneId,
    LaneRefusedError,
    Observer,
    Output,
    Record,
    Step,
    StepResult,
    Timings,
    control_key,
)
from ownership_stream.lane.runner import LaneRunner

__all__ = [
    "Batch",
    "BatchRejectedError",
    "Broker",
    "BrokerAwayError",
    "Control",
    "Decoded",
    "Lane",
    "LaneBrokenError",
    "LaneConfig",
    "LaneId",
    "LaneRefusedError",
    "LaneRunner",
    "Observer",
    "Output",
    "Record",
    "Step",
    "StepResult",
    "Timings",
    "control_key",
]
