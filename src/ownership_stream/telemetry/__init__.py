"""What the program says about itself: metrics and log lines, neither of which can carry a patient's values.

`catalogue` lists every metric, `bounds` the values of its labels, `registry` counts, `log` writes lines of allowed
fields only and `repeats` sums up what is said again, `lanes` turns what happens to lanes into both, `progress` shows
catch-ups on a terminal. Nothing here knows Kafka or Redis.
"""

from ownership_stream.telemetry.bounds import bounds_of
from ownership_stream.telemetry.catalogue import BURIALS, CATALOGUE, Bounds, Metric
from ownership_stream.telemetry.lanes import LaneTelemetry
from ownership_stream.telemetry.log import HashedId, configure_logging, get_logger, hash_id, hash_key, only_log_lines
from ownership_stream.telemetry.progress import Terminal
from ownership_stream.telemetry.registry import Telemetry

__all__ = [
    "BURIALS",
    "CATALOGUE",
    "Bounds",
    "HashedId",
    "LaneTelemetry",
    "Metric",
    "Telemetry",
    "Terminal",
    "bounds_of",
    "configure_logging",
    "get_logger",
    "hash_id",
    "hash_key",
    "only_log_lines",
]
