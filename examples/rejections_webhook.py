"""Tells writers that what they wrote was rejected: posts each rejection on the conflicts topic to a webhook.

It imports nothing of ownership-stream: copy it and change it. What it posts is words, never values: whose field it is,
which rule spoke, what to do instead, and the id of the writer, so that whoever receives it can tell the right person.

    {"id": "…:email", "time": 1772452800000, "system": "ehr", "writer": "user/12", "role": "nurse", "origin": "person",
     "field": "email", "label": "E-mail", "reason": "owner_policy", "rule": "owner wins", "change": "…",
     "sentence": "the CRM owns `E-mail`, …", "advice": "it may be changed by …"}

The record's id is left out: it names a patient. ``--record`` puts it in, for a receiver that may know.

- *At least once.* Kafka's offset is committed after the receiver has said 2xx; after a crash the last may come twice.
  The header ``Idempotency-Key`` is the same then.
- *In order* for each record, and one at a time: a receiver that is slow slows this down and nobody else.
- *It waits* for a receiver that is away (no answer, 408, 429, 5xx), with pauses of up to a minute.
- *It stops* with one line where the receiver refuses (any other answer), or where a record is none of the conflicts
  topic. Nothing is skipped in silence.
- *It says nothing* of what was decided in observe mode, nor of what waits in the queue: somebody has that already
  (``--queued`` tells the writer, too).

For the JSON wire. A token for the receiver is read from the environment: ``WEBHOOK_TOKEN``, sent as a bearer's.

Usage: rejections_webhook.py --brokers kafka:9092 --url https://hooks.example.org/rejections [--topic …] [--group …]
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

AWAY: Final = frozenset({408, 429})
SECONDS: Final = 10.0
"""For one post."""
LONGEST_PAUSE: Final = 60.0
KEPT: Final = {
    "system": "system", "writer": "actor", "role": "role", "origin": "origin", "field": "field", "label": "label",
    "reason": "reason", "rule": "rule", "change": "change_id", "sentence": "sentence", "advice": "advice",
}  # fmt: skip
"""What is posted -> what it is called in a conflict record. Values (``proposed``, ``current``) are not posted."""


class UnusableError(Exception):
    """Somebody has to look; the text says no value."""


class AwayError(Exception):
    """The receiver does not answer now."""


class Message(Protocol):
    """What is used of a Kafka message."""

    def value(self) -> bytes | None:
        """The record."""
        ...

    def error(self) -> Any:
        """What is wrong with it."""
        ...

    def partition(self) -> int | None:
        """Where it stands."""
        ...

    def offset(self) -> int | None:
        """Where it stands."""
        ...


class Consumer(Protocol):
    """What is used of a Kafka consumer."""

    def poll(self, timeout: float) -> Message | None:
        """The next message, or None."""
        ...

    def commit(self, *, message: Any, asynchronous: bool) -> Any:
        """The group has it."""
        ...


def rejection(value: bytes | None, *, queued: bool = False, record: bool = False) -> dict[str, Any] | None:
    """What is posted of a conflict record; None where nobody is told. Raises ``UnusableError``."""
    try:
        said = json.loads(value or b"")
        told = {"rejected", "queued"} if queued else {"rejected"}
        if said["event"] != "decided" or said["outcome"] not in told or said["mode"] != "enforce":
            return None
        column = ":request" if said["request"] else ""
        body = {
            "id": f"{said['change_id']}:{said['field']}{column}",
            "outcome": said["outcome"],
            "time": said["received"],
        }
        body |= {name: said[theirs] for name, theirs in KEPT.items()}
        return body | ({"record": said["record"]} if record else {})
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableError(f"no conflict record: {type(error).__name__}") from None


def post(url: str, body: dict[str, Any], token: str = "") -> None:
    """Post one; raises ``AwayError`` where it is to be tried again, ``UnusableError`` where it is refused."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": body["id"]}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 (checked by `main`)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310 (as above)
            return
    except urllib.error.HTTPError as error:
        if error.code in AWAY or error.code >= 500:  # noqa: PLR2004 (the server's fault)
            raise AwayError(f"the receiver answers {error.code}") from None
        raise UnusableError(f"the receiver refuses with {error.code}") from None
    except (OSError, urllib.error.URLError) as error:
        raise AwayError(f"the receiver does not answer: {type(error).__name__}") from None


def until_taken(
    send: Callable[[], None], pause: Callable[[float], None] = time.sleep, say: Callable[[str], None] = print
) -> None:
    """Send, and again after a while, twice as long each time, for as long as the receiver is away."""
    seconds = 1.0
    while True:
        try:
            return send()
        except AwayError as error:
            say(f"{error}; again in {seconds:.0f} s")
            pause(seconds)
            seconds = min(2 * seconds, LONGEST_PAUSE)


def run(
    consumer: Consumer, tell: Callable[[dict[str, Any]], None], *, idle: float = 0.0, queued: bool = False,
    record: bool = False,
) -> int:  # fmt: skip
    """Post what comes, for ever or until nothing has come for so many seconds; how many were posted."""
    posted, last = 0, time.monotonic()
    while not idle or time.monotonic() - last < idle:
        message = consumer.poll(0.5)
        if message is None:
            continue
        last = time.monotonic()
        if message.error():
            raise UnusableError(f"kafka: {message.error()}")
        try:
            body = rejection(message.value(), queued=queued, record=record)
            if body is not None:
                tell(body)
                posted += 1
        except UnusableError as error:
            raise UnusableError(f"partition {message.partition()} offset {message.offset()}: {error}") from None
        consumer.commit(message=message, asynchronous=False)
    return posted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code is 1 where it had to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--url", required=True, help="https, or http to this machine")
    parser.add_argument("--topic", default="ownership.conflicts")
    parser.add_argument("--group", default="rejections-webhook")
    parser.add_argument("--queued", action="store_true", help="tell of writes that wait in the queue, too")
    parser.add_argument("--record", action="store_true", help="put the record's id in")
    parser.add_argument("--idle", type=float, default=0.0, help="end after so many seconds without a record")
    said = parser.parse_args(arguments)
    if not said.url.startswith(("https://", "http://localhost", "http://127.0.0.1")):
        parser.error("`--url` has to be https: what is posted names writers")

    import confluent_kafka  # noqa: PLC0415 (the functions above are of use without it)

    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": said.brokers, "group.id": said.group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    })  # fmt: skip
    consumer.subscribe([said.topic])
    token = os.environ.get("WEBHOOK_TOKEN", "")

    def tell(body: dict[str, Any]) -> None:
        until_taken(lambda: post(said.url, body, token), say=lambda text: print(text, file=sys.stderr))

    try:
        posted = run(consumer, tell, idle=said.idle, queued=said.queued, record=said.record)
    except UnusableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        consumer.close()
    print(f"{posted} posted", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
