"""Whoever waits for the outputs: reads topics as committed, and writes down when each record came.

A process of its own, which says `ready` when it reads, and writes what it saw when its standard input ends.
"""

import json
import pickle
import sys
import threading
from pathlib import Path
from time import monotonic

from confluent_kafka import Consumer, TopicPartition

ID_LENGTH = 36
MOST = 10_000


def main() -> None:
    """Reads until told to stop."""
    job = json.loads(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    consumer = Consumer(
        {
            "bootstrap.servers": job["bootstrap"],
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    places = [
        TopicPartition(topic, partition)
        for topic in job["topics"]
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions
    ]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
    consumer.assign(places)
    consumer.poll(1.0)
    print("ready", flush=True)
    length, seen = None if job["whole"] else ID_LENGTH, []
    while not ended.is_set():
        first = consumer.poll(0.2)
        if first is None:
            continue
        messages = [first, *consumer.consume(MOST, 0)]
        now = monotonic()
        for message in messages:
            if message.error() is not None:
                raise SystemExit(message.error().str())
            seen += ((text[:length], now) for name, text in message.headers() or () if name == "ce_id")
    consumer.close()
    Path(job["seen"]).write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main()
