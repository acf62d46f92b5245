"""The load of a run: people in both systems save without a pause, and two connectors send it on.

A thread of its own sends the clinic's events at a steady rate, goes on through outages, and keeps what became of each:
acknowledged with its place, or unknown. The same seed gives the same events, though not at the same moments.
"""

import random
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from time import monotonic
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from avro_kit import Converter
from chaos.clinic import PATIENTS, clinic, crm_event, ehr_event
from chaos.columns import Receipts
from chaos.installation import Installation
from source_kit import PATIENT_ROW

# Every so many events somebody new comes to the clinic, so that match lanes have work as well.
NEW_EVERY: Final = 12
FLUSH_SECONDS: Final = 180.0
_Event = tuple[str, bytes, bytes]


class Load:
    """Events at about `rate` a second, from `start` to `stop`, those of each `burst` seconds together.

    `given` says what was given to the client, and where it stands if the broker acknowledged it. With a `converter`
    the EHR's connector writes Avro.
    """

    def __init__(
        self, site: Installation, seed: int, *, rate: float, burst: float, converter: Converter | None = None
    ) -> None:
        self._site = site
        self._events = events(seed) if converter is None else converted(events(seed), converter)
        self.rate = rate
        self._burst = burst
        self._producer = Producer(
            {
                "bootstrap.servers": site.bootstrap,
                "enable.idempotence": True,
                # An outage must not turn into unknown fates: librdkafka repeats until it is over.
                "message.timeout.ms": 0,
                "log_level": 0,
                "linger.ms": 5,
            }
        )
        self.given = Receipts(list(site.sources.values()))
        self._last: dict[str, deque[_Event]] = {source: deque(maxlen=500) for source in site.sources}
        self._again: deque[_Event] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it, and waits until the fate of everything is known; what is not known by then is unknown."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._producer.flush(FLUSH_SECONDS)
        if self.error is not None:
            raise self.error

    def abandon(self) -> None:
        """Ends it without waiting for anybody: the run is over."""
        self._abandoned = True
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._producer.purge()

    @property
    def number(self) -> int:
        """How many events were given to the client."""
        return len(self.given)

    def restart_connector(self, source: str, number: int) -> int:
        """Sends the last `number` events of a source again, in their order, as a connector does that lost its place."""
        with self._lock:
            again = list(self._last[source])[-number:]
            self._again.extend(again)
        return len(again)

    def send(self, source: str, key: bytes, value: bytes) -> None:
        """One event beside the steady ones."""
        with self._lock:
            self._again.append((source, key, value))

    def _run(self) -> None:
        try:
            owed, before = 0.0, monotonic()
            while not self._stopping.is_set():
                now = monotonic()
                # After an outage of the client's queue there is no arrears to make up for: the rate stays the rate.
                owed = min(owed + (now - before) * self.rate, 4 * self.rate * self._burst)
                before = now
                while owed >= 1:
                    self._produce(*self._next())
                    owed -= 1
                self._producer.poll(0)
                self._stopping.wait(self._burst)
            while self._again:
                self._produce(*self._next())
        except BaseException as error:  # noqa: BLE001  # raised again by `stop`, in the run's own thread
            self.error = error

    def _next(self) -> _Event:
        with self._lock:
            if self._again:
                return self._again.popleft()
            event = next(self._events)
            self._last[event[0]].append(event)
            return event

    def _produce(self, source: str, key: bytes, value: bytes) -> None:
        topic = self._site.sources[source]
        number = self.given.give(topic, key, value)
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=partial(self._told, number))
            except BufferError:
                if self._abandoned:
                    return
                self._producer.poll(0.1)
            else:
                return

    def _told(self, number: int, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            self.given.stands(number, partition, offset)


def events(seed: int) -> Iterator[_Event]:
    """The clinic's edits without end, and every now and then somebody new, known to both systems or to one."""
    dice = random.Random(seed)  # noqa: S311  # the dice of a test
    number = PATIENTS
    for place, event in enumerate(clinic(seed)):
        yield event
        if place % NEW_EVERY == 0:
            number += 1
            # Some share their name and birth date with the one before, so that duplicates are found.
            name = f"Doe{number - dice.randrange(2)}"
            yield crm_event(number, number, {"LastName": name, "FirstName": "Ann", "Care_Stage__c": "lead"}, "CREATE")
            if dice.random() < 0.5:
                row = {**PATIENT_ROW, "patient_id": number, "crm_id": None}
                yield ehr_event(number, row, "c", number)


def converted(some: Iterator[_Event], converter: Converter) -> Iterator[_Event]:
    """The same events, those of the EHR in Avro."""
    for source, key, value in some:
        yield (source, *(converter.event(key, value) if source == "ehr" else (key, value)))
