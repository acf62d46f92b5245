"""`examples/rejections_webhook.py`: each rejection reaches its webhook in words, with the writer and without values."""

import asyncio
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Self

import pytest
from aiohttp import web
from confluent_kafka import Consumer, Producer, TopicPartition

from kept_kit import Kept
from matrices import ROOT
from ownership_stream.embedded import Embedded
from ownership_stream.lane.contract import Output
from ownership_stream.outcomes import OUTCOMES
from step_kit import TOPICS, DecideLane, decide_step, row

PATH = ROOT / "examples" / "rejections_webhook.py"
ANN = "0032X0000AQU10JQAT"


def loaded() -> ModuleType:
    """The example, which is no package."""
    spec = importlib.util.spec_from_file_location("rejections_webhook", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rejections_webhook"] = module
    spec.loader.exec_module(module)
    return module


example = loaded()


class Receiver:
    """A web server of its own thread that keeps what is posted, and answers as it is told."""

    def __init__(self) -> None:
        self.posted: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answers: list[int] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._begin())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())

    async def _begin(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def _take(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if self.answers else 204
        self.posted.append((dict(request.headers), await request.json()))
        return web.Response(status=status)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes what it gets."""
    with Receiver() as found:
        yield found


def told(*, observe: bool = False) -> list[Output]:
    """What a decide lane says on the conflicts topic: a rejection, a case and its end, a queued write."""
    lane = DecideLane(decide_step(observe=observe))
    lane.decide(
        row(ANN, 0, "crm", {"email": "zebedee@x.org"}, "growth_ops", op="c"),
        row(ANN, 0, "ehr", {"date_of_birth": "1980-01-02", "email": "zebedee@x.org"}, "nurse", op="c"),
        row(ANN, 1, "crm", {"date_of_birth": "1981-03-04"}, "growth_ops", actor="user/12"),
        row(ANN, 1, "ehr", {"date_of_birth": None}),
    )
    return [output for output in lane.outputs if output.topic == TOPICS.conflicts]


def test_every_rejection_has_words_for_its_writer() -> None:
    """What happened, and what to do instead."""
    assert [] == [
        reason for (outcome, reason), meaning in OUTCOMES.items() if outcome == "rejected" and not all(meaning)
    ]


def test_a_rejection_is_posted_in_words_with_its_writer_and_without_values() -> None:
    """Whose field, which rule, what to do instead; the record only for who may know."""
    bodies = [body for output in told() if (body := example.rejection(output.value)) is not None]
    assert 1 == len(bodies)
    [body] = bodies
    assert ("user/12", "growth_ops", "person", "crm") == (body["writer"], body["role"], body["origin"], body["system"])
    assert ("date_of_birth", "owner_policy", "owner wins") == (body["field"], body["reason"], body["rule"])
    assert "the EHR owns `Date of birth`, and this writer has no grant for it here" == body["sentence"]
    assert "it may be changed by anyone in the EHR" == body["advice"]
    text = json.dumps(bodies)
    assert not [value for value in ("1980-01-02", "1981-03-04", "zebedee") if value in text]
    assert "record" not in body
    [body] = [one for output in told() if (one := example.rejection(output.value, record=True)) is not None]
    assert body["record"] == ANN


def test_nobody_is_told_of_what_was_only_observed() -> None:
    """Nor of what waits, unless it is asked for."""
    assert [None] == list({example.rejection(output.value) for output in told(observe=True)})
    outcomes = [body["outcome"] for one in told() if (body := example.rejection(one.value, queued=True)) is not None]
    assert ["rejected", "queued"] == outcomes


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", b"\xff", b'{"event": "decided"}', b"5"])
def test_what_is_no_conflict_record_stops_it(value: bytes | None) -> None:
    """With an error that holds nothing of it."""
    with pytest.raises(example.UnusableError, match="no conflict record: "):
        example.rejection(value)


def test_a_receiver_that_is_away_is_waited_for(receiver: Receiver) -> None:
    """With longer and longer pauses; each time under the same key."""
    receiver.answers = [503, 429, 408, 200]
    pauses: list[float] = []
    lines: list[str] = []
    body = {"id": "c-1:email", "field": "email"}
    example.until_taken(lambda: example.post(receiver.url, body, "secret"), pauses.append, lines.append)
    assert [1.0, 2.0, 4.0] == pauses
    assert 3 == len(lines)
    assert [body] * 4 == [posted for _, posted in receiver.posted]
    assert {("c-1:email", "Bearer secret")} == {
        (headers["Idempotency-Key"], headers["Authorization"]) for headers, _ in receiver.posted
    }


def test_a_receiver_that_does_not_answer_is_away() -> None:
    """Nobody listens there."""
    with pytest.raises(example.AwayError):
        example.post("http://127.0.0.1:1/hook", {"id": "x"})


def test_a_receiver_that_refuses_stops_it(receiver: Receiver) -> None:
    """Trying again would not help, and to skip it nobody has decided."""
    receiver.answers = [400]
    with pytest.raises(example.UnusableError, match="the receiver refuses with 400"):
        example.post(receiver.url, {"id": "x"})


class Enough(Exception):  # noqa: N818  # no error: the test has seen what it waits for
    """So many were committed."""


class Counted:
    """A real consumer that ends the run after so many commits."""

    def __init__(self, consumer: Consumer, number: int) -> None:
        self.consumer, self.left = consumer, number

    def poll(self, timeout: float) -> Any:
        """See `Consumer`."""
        if not self.left:
            raise Enough
        return self.consumer.poll(timeout)

    def commit(self, **said: Any) -> Any:
        """See `Consumer`."""
        self.left -= 1
        return self.consumer.commit(**said)


def test_from_the_topic_to_the_webhook(servers: Embedded, receiver: Receiver) -> None:
    """Each rejection once, and what is read is committed; what is no conflict record stops it, with its place."""
    kept = Kept(servers)
    topic = f"{kept.name}.conflicts"
    producer = Producer({"bootstrap.servers": kept.settings.brokers, "log_level": 0, "linger.ms": 0})
    outputs = told()
    for output in outputs:
        producer.produce(topic, output.value, output.key, 0)
    producer.produce(topic, b"no conflict record", partition=0)
    assert 0 == producer.flush(30)
    consumer = Consumer({"bootstrap.servers": kept.settings.brokers, "group.id": kept.name, "log_level": 0,
                         "enable.auto.commit": False})  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        with pytest.raises(Enough):
            example.run(Counted(consumer, len(outputs)), lambda body: example.post(receiver.url, body))
        assert ["user/12"] == [body["writer"] for _, body in receiver.posted]
        with pytest.raises(example.UnusableError, match=f"partition 0 offset {len(outputs)}: no conflict record"):
            example.run(Counted(consumer, 1), lambda body: example.post(receiver.url, body))
        [committed] = consumer.committed([TopicPartition(topic, 0)], 30)
        assert len(outputs) == committed.offset
    finally:
        consumer.close()


def test_a_url_that_is_not_safe_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What is posted names writers."""
    with pytest.raises(SystemExit):
        example.main(["--brokers", "b", "--url", "http://example.org/hook"])
    assert "has to be https" in capsys.readouterr().err
