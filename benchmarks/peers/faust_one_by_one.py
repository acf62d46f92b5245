"""Faust as its documentation shows it: an agent that takes one event at a time, a table for state, exactly once.

The table holds the packed state of each record in memory, with Faust's changelog topic behind it. It commits by
Faust's defaults, and ten times a second where latency is looked at.
"""

import faust
from job import Job, OneByOne

from ownership_stream.lane.contract import Record

JOB = Job.given()
STEP = OneByOne(JOB)

# Bytes as they are: the decision reads and writes them itself.
RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}

app = faust.App(
    JOB.name,
    broker=f"kafka://{JOB.bootstrap}",
    store="memory://",
    processing_guarantee="exactly_once",
    topic_partitions=JOB.partitions,
    topic_replication_factor=1,
    datadir=JOB.folder,
    web_enabled=False,
    **({"broker_commit_interval": 0.1} if JOB.swift else {}),
)
changes = app.topic(JOB.changes, **RAW)
outputs = {name: app.topic(name, **RAW) for name in JOB.outputs}
states = app.Table("states", key_type=bytes, value_type=bytes, partitions=JOB.partitions)


@app.agent(changes)
async def decide(stream: faust.Stream) -> None:
    """One change at a time."""
    async for event in stream.events():
        message = event.message
        received = round(message.timestamp * 1000)
        record = Record(message.topic, message.partition, message.offset, received, event.key, event.value, ())
        states[event.key], sent = STEP.decide(record, states.get(event.key))
        for output in sent:
            await outputs[output.topic].send(
                key=output.key, value=output.value, headers=output.headers, partition=output.partition
            )


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
