"""The limit: a plain confluent-kafka consume-produce transaction loop that decides nothing.

What it reads it writes unchanged to one topic, batch by batch, with its offsets in the transaction. Nothing that runs
on this client and keeps exactly-once can be faster.
"""

from confluent_kafka import Consumer, Producer
from job import Job

BATCH = 10_000
WAIT_SECONDS = 0.02


def main() -> None:
    """Copies until it is ended."""
    job = Job.given()
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.name,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "queued.max.messages.kbytes": 262_144,
            "queued.min.messages": 100_000,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "transactional.id": job.name,
            "compression.type": "lz4",
            "batch.size": 1_000_000,
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(30)
    consumer.subscribe([job.changes])
    while True:
        messages = consumer.consume(BATCH, WAIT_SECONDS)
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            if message.error() is not None:
                raise SystemExit(message.error().str())
            producer.produce(
                job.loop_output, message.value(), message.key(), message.partition(), headers=message.headers()
            )
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction(30)


if __name__ == "__main__":
    main()
