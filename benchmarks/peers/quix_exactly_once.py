"""Quix Streams with its exactly-once guarantee, calling our decide step for each change.

The packed state of a record stands under its key in Quix's own store (RocksDB with a changelog topic). It commits as
often as ours for throughput, and ten times a second where latency is looked at; its default, five seconds, would make
five seconds the latency.
"""

from typing import Any

from job import Job, OneByOne
from quixstreams import Application, State, message_context
from quixstreams.models import SerializationContext, Serializer

from ownership_stream.lane.contract import Output, Record

STATE = "state"
COMMIT_EVERY = 10_000


class OutputValue(Serializer):
    """An output's bytes, as the step made them."""

    def __call__(self, value: Output, ctx: SerializationContext) -> bytes | None:  # noqa: ARG002  # Quix names it
        """What is to be written."""
        return value.value


def main() -> None:
    """Decides until it is ended."""
    job = Job.given()
    step = OneByOne(job)
    app = Application(
        job.bootstrap,
        consumer_group=job.name,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_every=COMMIT_EVERY,
        commit_interval=0.1 if job.swift else 5.0,
        state_dir=job.folder,
        loglevel="WARNING",
        producer_extra_config={"compression.type": "lz4"},
    )
    changes = app.topic(job.changes, key_deserializer="bytes", value_deserializer="bytes")
    topics = {name: app.topic(name, key_serializer="bytes", value_serializer=OutputValue()) for name in job.outputs}

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any, state: State) -> list[Output]:
        where = message_context()
        record = Record(where.topic, where.partition, where.offset, timestamp, key, value, headers or ())
        after, outputs = step.decide(record, state.get_bytes(STATE))
        state.set_bytes(STATE, after)
        return outputs

    stream = app.dataframe(changes).apply(decide, stateful=True, expand=True, metadata=True)
    stream = stream.set_headers(lambda output, *_: output.headers)
    stream.to_topic(lambda output, *_: topics[output.topic], key=lambda output: output.key)
    app.run()


if __name__ == "__main__":
    main()
