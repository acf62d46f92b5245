"""The shipped worker, as a process, on the real broker and Redis: killed at work, and nothing lost, twice or wrong.

The judge reads only what an outsider can see (committed records, Redis) and the inputs, and decides the log again with
the pure steps: what stands on every topic of ours, and in every state, must be exactly that.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported, not by PEP 484's letter
from pydantic import SecretStr

from integration.brokers import TestBroker
from matrices import PATIENT
from ownership_stream import topics
from ownership_stream.assembly import stages
from ownership_stream.embedded import Embedded
from ownership_stream.lane import Broker, LaneConfig, Record
from ownership_stream.settings import Settings
from ownership_stream.store import RedisStore, key_prefix
from source_kit import CONTACT, CRM, CRM_TOPIC, EHR, EHR_TOPIC, MATRIX, PATIENT_ROW

PATIENTS = 40
EDITS = 1_500
DEADLINE = 90.0
AT = 1_767_261_600_000
SRC = Path(__file__).parents[2] / "src"


@dataclass
class Installation:
    """Topics, settings and processes of one installation under a name nobody else has."""

    broker: TestBroker
    redis_url: str
    name: str = field(default_factory=lambda: f"w{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        words = ("changes", "state", "conflicts", "resolutions", "lanes", "matches", "match_state", "dead_letters")
        topic = {word: f"{self.name}.{word}" for word in words}
        self.sources = {"ehr": f"{self.name}.{EHR_TOPIC}", "crm": f"{self.name}.{CRM_TOPIC}"}
        self.settings = Settings.model_validate(
            {
                "brokers": self.broker.bootstrap,
                "redis_url": SecretStr(self.redis_url),
                "hash_key": SecretStr("a key of the tests"),
                "app_id": self.name,
                "partitions": 4,
                "replication_factor": 1,
                "min_insync_replicas": 1,
                "matrix_path": PATIENT,
                "sources_path": PATIENT.parent / "sources",
                "source_topics": {source: [name] for source, name in self.sources.items()},
                "topic_apply_prefix": f"{self.name}.apply.",
                "tick_interval_seconds": 3600.0,
                "http_port": 0,
                **{f"topic_{word}": name for word, name in topic.items()},
            }
        )
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        made = admin.create_topics([NewTopic(name, 2, 1) for name in self.sources.values()])
        for answer in made.values():
            answer.result(30)
        topics.create(admin, self.settings)

    def worker(self) -> "subprocess.Popen[bytes]":
        """A worker of its own process, by the command that people use."""
        said = self.settings
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SRC),
            "OWNERSHIP_REDIS_URL": self.redis_url,
            "OWNERSHIP_HASH_KEY": "a key of the tests",
            "OWNERSHIP_SOURCE_TOPICS": json.dumps({source: [name] for source, name in self.sources.items()}),
        }
        plain = ("brokers", "app_id", "partitions", "replication_factor", "min_insync_replicas", "matrix_path")
        plain += ("sources_path", "tick_interval_seconds", "http_port", "topic_apply_prefix")
        plain += tuple(name for name in Settings.model_fields if name.startswith("topic_") and name not in plain)
        environment |= {f"OWNERSHIP_{name.upper()}": str(getattr(said, name)) for name in plain}
        return subprocess.Popen(
            [sys.executable, "-m", "ownership_stream", "worker"], env=environment, stderr=subprocess.DEVNULL
        )

    def records(self, topic: str) -> list[Message]:
        """Every committed record of a topic, in the order of its partitions and offsets."""
        reader = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": f"{self.name}-judge",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        partitions = list(reader.list_topics(topic, timeout=30).topics[topic].partitions)
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found, ended, deadline = list[Message](), set[int](), monotonic() + DEADLINE
        while len(ended) < len(partitions):
            assert monotonic() < deadline, f"`{topic}` cannot be read to its end"
            for message in reader.consume(5_000, timeout=0.2):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        reader.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))


def clinic(seed: int) -> Iterator[tuple[str, bytes, bytes]]:
    """(source, key, value) of edits in both systems, in the connectors' own words; some twice, some garbage."""
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    rows = {number: {**PATIENT_ROW, "patient_id": number, "crm_id": contact(number)} for number in range(PATIENTS)}
    for number in range(PATIENTS):
        yield crm_event(number, number, {"LastName": "Doe", "FirstName": "Ann", "Care_Stage__c": "in_care"}, "CREATE")
        yield ehr_event(number, rows[number], "c", number)
    for edit in range(PATIENTS, PATIENTS + EDITS):
        number = dice.randrange(PATIENTS)
        if dice.random() < 0.5:
            column = dice.choice(["LastName", "Email", "LeadSource", "Contact_Preference__c"])
            value = dice.choice({"Email": ["a@x.org", "b@x.org"], "LeadSource": ["referral", "google_ads"]}.get(
                column, ["sms", "phone"] if column.startswith("Contact") else ["Doe", "Roe"]
            ))  # fmt: skip
            event = crm_event(edit, number, {column: value}, "UPDATE")
        else:
            rows[number] = rows[number] | {
                "medication_dose": f"{dice.randrange(9)} mg",
                "updated_by": dice.choice(["provider/1", "nurse/2"]),
                "updated_at": (AT + edit) * 1000,
            }
            event = ehr_event(number, rows[number], "u", edit)
        yield event
        if dice.random() < 0.05:
            yield event
        if dice.random() < 0.01:
            yield ("ehr", b"garbage", b"\xff\x00 no JSON")


def contact(number: int) -> str:
    """A Salesforce id of 18 characters."""
    return f"{CONTACT[:12]}{number:03d}{CONTACT[15:]}"


def crm_event(edit: int, number: int, fields: dict[str, Any], kind: str) -> tuple[str, bytes, bytes]:
    """A Salesforce change event."""
    header = {
        "entityName": "Contact",
        "recordIds": [contact(number)],
        "changeType": kind,
        "changedFields": list(fields),
        "changeOrigin": "com/salesforce/api/rest/60.0",
        "transactionKey": f"t{edit}",
        "sequenceNumber": 1,
        "commitTimestamp": AT + edit,
        "commitUser": "005GROW1",
        "commitNumber": 1_000 + edit,
    }
    value = {"Id": contact(number), "ReplayId": str(edit), "ChangeEventHeader": header, **fields}
    return "crm", contact(number).encode(), json.dumps(value).encode()


def ehr_event(number: int, after: dict[str, Any], op: str, edit: int) -> tuple[str, bytes, bytes]:
    """A Debezium envelope."""
    source = {
        "version": "3.3.1.Final", "connector": "postgresql", "name": "ehr", "ts_ms": AT + edit, "db": "ehr",
        "snapshot": "false", "sequence": json.dumps([str(edit), str(edit)]), "schema": "public", "table": "patient",
        "lsn": edit,
    }  # fmt: skip
    value = {"before": None, "after": after, "source": source, "transaction": None, "op": op, "ts_ms": AT + edit}
    return "ehr", json.dumps({"patient_id": number}).encode(), json.dumps(value).encode()


@pytest.mark.real_broker
def test_killed_workers_leave_nothing_lost_twice_or_wrong(broker: TestBroker, embedded: Embedded) -> None:
    """Two workers under load, one killed with -9 and replaced: the log decided again gives what stands."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server: the mock broker isolates no transactions")
    site = Installation(broker, embedded.redis_url)
    fed = feed(site, seed=7, until=0.4)
    with ExitStack() as exits:
        first, second = site.worker(), site.worker()
        for process in (first, second):
            exits.callback(process.kill)
        await_changes(site, 200)
        first.send_signal(signal.SIGKILL)
        fed += feed(site, seed=7, since=0.4)
        third = site.worker()
        exits.callback(third.kill)
        expected = Counter(source for source, _, value in fed if not value.startswith(b"\xff"))
        await_changes(site, sum(expected.values()))
        await_settled(site)
        for process in (second, third):
            process.send_signal(signal.SIGTERM)
        assert [0, 0] == [process.wait(60) for process in (second, third)]
    judge(site, fed)


def feed(site: Installation, seed: int, since: float = 0.0, until: float = 1.0) -> list[tuple[str, bytes, bytes]]:
    """Put a share of the clinic's events on the source topics; what was put there."""
    events = list(clinic(seed))
    chosen = events[int(len(events) * since) : int(len(events) * until)]
    producer = Producer({"bootstrap.servers": site.broker.bootstrap, "enable.idempotence": True, "log_level": 0})
    for source, key, value in chosen:
        producer.produce(site.sources[source], value, key)
    assert 0 == producer.flush(30)
    return chosen


def await_changes(site: Installation, number: int) -> None:
    """Until so many changes are committed."""
    deadline = monotonic() + DEADLINE
    while len(site.records(site.settings.topic_changes)) < number:
        assert monotonic() < deadline, f"{len(site.records(site.settings.topic_changes))} of {number} changes"
        sleep(0.5)


def await_settled(site: Installation) -> None:
    """Until the decide and match lanes have committed the end of their input."""
    client = {"bootstrap.servers": site.broker.bootstrap, "log_level": 0}
    broker = Broker(LaneConfig(app=site.name, client=client))
    deadline = monotonic() + DEADLINE
    for topic in (site.settings.topic_changes, site.settings.topic_matches):
        for partition in range(site.settings.partitions):
            ends = [message.offset() or 0 for message in site.records(topic) if message.partition() == partition]
            while ends and (broker.committed(topic, partition) or 0) <= max(ends):
                assert monotonic() < deadline, f"`{topic}` {partition} is not settled"
                sleep(0.2)
    broker.close()


def judge(site: Installation, fed: list[tuple[str, bytes, bytes]]) -> None:
    """Decide the log again with the pure steps, and compare with everything that stands."""
    settings = site.settings
    intake, decide, match = (stage.step for stage in stages(settings, MATRIX, (EHR, CRM)))
    changes = [_record(message) for message in site.records(settings.topic_changes)]
    rows = [record for record in changes if json.loads(record.value or b"{}").get("kind", "row") == "row"]
    sent = [Record(site.sources[source], 0, n, AT, key, value, ()) for n, (source, key, value) in enumerate(fed)]
    wanted = Counter(out.value for out in intake.decode(sent).outputs if out.topic == settings.topic_changes)
    assert wanted == Counter(record.value for record in rows)
    dead = [message.value() for message in site.records(settings.topic_dead_letters)]
    assert Counter(value for _, _, value in fed if value.startswith(b"\xff")) == Counter(dead)

    outputs: dict[str, Counter[tuple[int, bytes | None]]] = defaultdict(Counter)
    for step, topic in ((decide, settings.topic_changes), (match, settings.topic_matches)):
        states = _decided_again(step, [_record(message) for message in site.records(topic)], outputs)
        assert states == _changelog(site, step.state_topic)
        assert states == _in_redis(site, step.state_topic, states)
    for topic in (*map(settings.topic_apply, MATRIX.systems), settings.topic_conflicts, settings.topic_resolutions):
        assert outputs[topic] == Counter((m.partition() or 0, m.value()) for m in site.records(topic)), topic
    assert 100 < sum(outputs[settings.topic_conflicts].values())


def _decided_again(step: Any, records: list[Record], outputs: Any) -> dict[tuple[int, str], bytes]:
    """The states after a topic's records, one at a time, partition by partition; what the step wrote is counted."""
    states: dict[tuple[int, str], bytes] = {}
    for record in records:
        decoded = step.decode([record])
        known = {name: states.get((record.partition, name)) for name in decoded.record_ids}
        result = step.run(decoded, known)
        states |= {(record.partition, name): state for name, state in result.states.items()}
        for out in result.outputs:
            outputs[out.topic][out.partition, out.value] += 1
    return states


def _changelog(site: Installation, topic: str) -> dict[tuple[int, str], bytes]:
    found = {}
    for message in site.records(topic):
        name = (message.key() or b"").decode()
        if name != "__lane":
            found[message.partition() or 0, name] = message.value() or b""
    return found


def _in_redis(site: Installation, topic: str, states: dict[tuple[int, str], bytes]) -> dict[tuple[int, str], bytes]:
    broker = Broker(LaneConfig(app=site.name, client={"bootstrap.servers": site.broker.bootstrap, "log_level": 0}))
    topic_id = broker.topic_id(topic)
    broker.close()
    store = RedisStore.from_url(site.redis_url)
    found = {}
    for partition, name in states:
        [state] = store.peek(key_prefix(site.name, topic_id, partition), [name])
        found[partition, name] = state or b""
    store.close()
    return found


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    where = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    return Record(*where, message.timestamp()[1], message.key(), message.value(), headers)
