"""An open loop: sends a load at a constant rate, whether or not anybody keeps up.

Each record has the time at which it was *meant* to go, so that a sender that falls behind hides nothing (coordinated
omission). A process of its own; says when the first was meant to go, and by how much it was late at most.
"""

import json
import pickle
import sys
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep

from confluent_kafka import Producer

AHEAD_SECONDS = 0.5
LOOK_EVERY = 20


def main() -> None:
    """Sends what standard input asks for."""
    job = json.load(sys.stdin)
    rows, count, rate = pickle.loads(Path(job["rows"]).read_bytes()), job["count"], job["rate"]  # noqa: S301  # written by the benchmark itself
    producer = Producer(
        {
            "bootstrap.servers": job["bootstrap"],
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.list_topics(timeout=30)
    messages = [
        (topic, value, key, partition, headers if n < len(rows) else tagged(headers, n // len(rows)))
        for n, (topic, partition, key, value, headers) in enumerate(islice(cycle(rows), count))
    ]
    produce, late = producer.produce, 0.0
    start = monotonic() + AHEAD_SECONDS
    for number, (topic, value, key, partition, headers) in enumerate(messages):
        if number % LOOK_EVERY == 0 or rate < 1_000:  # noqa: PLR2004 (as many as a look each is borne)
            ahead = start + number / rate - monotonic()
            if ahead > 0:
                producer.poll(0)
                sleep(ahead)
            late = max(late, -ahead)
        produce(topic, value, key, partition, headers=headers)
    left = producer.flush(60)
    print(json.dumps({"start": start, "late": late, "left": left}))


def tagged(headers: list[tuple[str, bytes]], lap: int) -> list[tuple[str, bytes]]:
    """The headers with another id, for a record that is sent once more."""
    return [(name, text + b":%d" % lap if name == "ce_id" else text) for name, text in headers]


if __name__ == "__main__":
    main()
