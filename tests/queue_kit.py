"""Three open cases, and a lane that goes on deciding: for those who look at the queue and decide."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition

from kept_kit import Kept
from ownership_stream.embedded import PARTITIONS
from ownership_stream.lane.contract import Record
from ownership_stream.model import Change
from step_kit import DecideLane, row

ANN, BEN, CIM = (f"0032X0000{letter}QU10JQAT" for letter in "ABC")
DOB = "1980-01-02"
PLAN = {"drug": "metformin", "dose": "500 mg", "schedule": None, "status": "active"}


def three() -> list[Change]:
    """A stage that nobody knows (a day), a cleared birth date (four hours), a nurse's dose (an hour)."""
    return [
        row(ANN, 0, "crm", {"care_stage": "nurture"}, "growth_ops", op="c", id="c-1"),
        row(BEN, 0, "crm", {}, "growth_ops", op="c"),
        row(BEN, 0, "ehr", {"date_of_birth": DOB}, "nurse", op="c"),
        row(BEN, 1, "crm", {"date_of_birth": DOB}),
        row(BEN, 2, "ehr", {"date_of_birth": None}, id="c-2"),
        row(CIM, 0, "ehr", {"medication_plan": PLAN}, "provider", op="c"),
        row(CIM, 1, "ehr", {"medication_plan": {**PLAN, "dose": "850 mg"}}, "nurse", id="c-3"),
    ]


def queue(kept: Kept) -> DecideLane:
    """The three cases, kept."""
    return kept.decided(*three())


def resolutions_of(kept: Kept) -> str:
    """Where answers stand."""
    return f"{kept.name}.resolutions"


def begin_answers(kept: Kept) -> None:
    """Makes the topic of answers, with nobody's answer on it."""
    producer = Producer({"bootstrap.servers": kept.settings.brokers, "log_level": 0, "linger.ms": 0})
    for where in range(PARTITIONS):
        producer.produce(resolutions_of(kept), b"no answer of anybody's", partition=where)
    assert 0 == producer.flush(30)


@contextmanager
def at_work(kept: Kept, lane: DecideLane) -> Iterator[DecideLane]:
    """The lane goes on: it decides what comes, keeps the states, and puts its answers out."""
    reader = Consumer({"bootstrap.servers": kept.settings.brokers, "group.id": f"{kept.name}-lane", "log_level": 0,
                       "enable.auto.commit": False})  # fmt: skip
    topic = kept.settings.topic_changes
    ends = [reader.get_watermark_offsets(TopicPartition(topic, where), 30)[1] for where in range(PARTITIONS)]
    reader.assign([TopicPartition(topic, where, end) for where, end in enumerate(ends)])
    producer = Producer({"bootstrap.servers": kept.settings.brokers, "log_level": 0, "linger.ms": 0})
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for message in reader.consume(100, 0.05):
                assert message.error() is None
                record = Record(topic, message.partition() or 0, message.offset() or 0, message.timestamp()[1],
                                message.key(), message.value(), [])  # fmt: skip
                result = lane.batch([record])
                kept.keep(lane.stored)
                for output in result.outputs:
                    if output.topic == "ownership.resolutions":
                        producer.produce(resolutions_of(kept), output.value, output.key, output.partition)
                producer.flush(30)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lane
    finally:
        stop.set()
        thread.join()
        reader.close()


def case_of(lane: DecideLane, record: str) -> str:
    """The id of a record's one open case."""
    [case] = lane.state(record).cases.values()
    return case.id
