"""Dead letters: what stands on their topic, and how one goes back to where it came from.

A replay writes the letter's own bytes, key and headers to the partition they came from, and a *mark* to the letter's
own partition, in one transaction: either both are there or neither. The record is then settled like any other. Marks
are read only after ``init_transactions`` has fenced whoever replayed before, so a letter is replayed once however
often, and by however many at once, it is asked for. A record that fails again is a new letter that says which one it
was.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby, islice
from time import monotonic
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ownership_stream.errors import BadInputError, OwnershipError, UnavailableError
from ownership_stream.lane import Broker, BrokerAwayError, LaneBrokenError
from ownership_stream.lane.broker import error_of, offset_of
from ownership_stream.settings import Settings
from ownership_stream.wire import ERRORS

REPLAY: Final = "__ownership.replay."
"""What the headers begin with that a replayed record has more than its original, and that a mark has."""
AT_ONCE: Final = 100
"""Letters in one transaction."""
SECONDS: Final = 10.0
_REFUSED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
_FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}  # noqa: SLF001  # librdkafka names its own errors so
)

Headers = list[tuple[str, bytes]]


class Place(NamedTuple):
    """Where a letter stands on the dead-letter topic; written ``3:1042``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class Mark(NamedTuple):
    """That a letter was replayed: when (milliseconds), by whom, and where the record stands since."""

    at: int
    by: str
    topic: str
    partition: int
    offset: int


class Letter(NamedTuple):
    """A dead letter. ``of`` is the letter that it repeats, if it failed after a replay; ``first`` the first of all."""

    place: Place
    time: int
    topic: str
    partition: int
    offset: int
    stage: str
    reason: str
    error: str
    message: str
    of: str
    first: str
    attempt: int
    size: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    """Those that the record had itself."""


class Wanted(NamedTuple):
    """Which letters are meant; what is empty means any. ``since`` is a place, or an offset in every partition."""

    reason: str = ""
    stage: str = ""
    topic: str = ""
    since: str = ""

    def has(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            self.reason in ("", letter.reason)
            and self.topic in ("", letter.topic)
            and (not self.stage or letter.stage == self.stage or letter.stage.startswith(f"{self.stage}:"))
        )


class Done(NamedTuple):
    """What became of a letter: replayed now (``before`` is false) or before."""

    letter: Letter
    mark: Mark
    before: bool


class ReplayError(OwnershipError):
    """A replay came to nothing, and nothing of it was written."""


def place_of(text: str) -> Place:
    """A place from its text; raises ``BadInputError``."""
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal()):
        raise BadInputError(f"`{text}` is no place of a dead letter: give partition and offset, as `3:1042`")
    return Place(int(partition), int(offset))


class DeadLetters:
    """The dead letters of one application. Raises ``UnavailableError`` when Kafka is away or refuses."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.topic: Final = settings.topic_dead_letters
        self._transactional_id: Final = f"{settings.app_id}-dead-letters"
        self._broker = broker
        self.marks: dict[Place, Mark] = {}
        """Who was replayed, as far as it was read by now."""

    def letters(self, wanted: Wanted) -> Iterator[Letter]:
        """The letters that are meant, partition by partition; all marks have been read when it ends."""
        for partition in range(self._broker.partitions(self.topic)):
            for message in self._messages(partition, _since(wanted.since, partition)):
                letter = self._read(message)
                if letter is not None and wanted.has(letter):
                    yield letter

    def find(self, place: Place) -> Letter:
        """The letter at a place; raises ``BadInputError`` where none is."""
        cut = self._broker.partitions(self.topic)
        if place.partition >= cut:
            raise BadInputError(f"`{self.topic}` has no partition {place.partition}: it has {cut}, from 0 on")
        found: Letter | None = None
        for message in self._messages(place.partition, place.offset):
            letter = self._read(message)
            if letter is not None and letter.place == place:
                found = letter
        if found is None:
            raise BadInputError(
                f"no dead letter at `{place}`: `ownership-stream dead-letters list` shows what is there (after "
                "retention a letter is gone)"
            )
        return found

    def replay(self, letters: Sequence[Letter], *, by: str, now: int, again: bool = False) -> Iterator[Done]:
        """Puts letters back where they came from, in the order in which they stood there; those replayed before stay.

        ``now`` in milliseconds. ``again`` replays them all the same. Raises ``BadInputError`` where a record cannot go
        back, before anything is written, and ``ReplayError`` where another replay took over.
        """
        for letter in letters:
            self._check(letter)
        producer = self._broker.producer(self._transactional_id)
        self._enter(producer)
        for place in {letter.place.partition: letter.place for letter in sorted(letters, reverse=True)}.values():
            for message in self._messages(place.partition, place.offset):
                self._read(message)
        ordered = sorted(letters, key=lambda one: (one.topic, one.partition, one.offset, one.place))
        before = [letter for letter in ordered if letter.place in self.marks and not again]
        yield from (Done(letter, self.marks[letter.place], before=True) for letter in before)
        to_do = [letter for letter in ordered if again or letter.place not in self.marks]
        for topic, some in groupby(to_do, key=lambda one: one.topic):
            while batch := list(islice(some, AT_ONCE)):
                yield from self._transact(producer, topic, batch, by, now)

    # -------------------------------------------------------------------------------------------------------- reading

    def _messages(self, partition: int, begin: int) -> Iterator[Message]:
        extent = self._broker.extent(self.topic, partition)
        for messages in self._broker.read(self.topic, partition, max(begin, extent.start), extent.end):
            yield from messages

    def _read(self, message: Message) -> Letter | None:
        """The letter that a record is; a mark is kept as one."""
        given: Any = message.headers()
        headers: Headers = [(name, value or b"") for name, value in given or []]
        place = Place(message.partition() or 0, offset_of(message))
        replays = _told(headers, REPLAY)
        if "mark" in replays:
            self.marks[place_of(replays["mark"])] = Mark(**json.loads(message.value() or b"{}"))
            return None
        told = _told(headers, ERRORS)
        value = message.value()
        return Letter(
            place=place,
            time=message.timestamp()[1],
            topic=told.get("topic", ""),
            partition=int(told.get("partition", -1)),
            offset=int(told.get("offset", -1)),
            stage=told.get("stage", ""),
            reason=told.get("reason", ""),
            error=told.get("exception.class.name", ""),
            message=told.get("exception.message", ""),
            of=replays.get("of", ""),
            first=replays.get("first", ""),
            attempt=int(replays.get("attempt", 0)),
            size=len(value or b""),
            key=message.key(),
            value=value,
            headers=[(name, value) for name, value in headers if not name.startswith((ERRORS, REPLAY))],
        )

    # ------------------------------------------------------------------------------------------------------ replaying

    def _check(self, letter: Letter) -> None:
        """That the place where the record came from is there still."""
        if not letter.topic or letter.partition < 0:
            raise BadInputError(f"dead letter `{letter.place}` does not say where it came from: we did not write it")
        try:
            cut = self._broker.partitions(letter.topic)
        except LaneBrokenError:
            raise BadInputError(
                f"dead letter `{letter.place}` came from `{letter.topic}`, which does not exist any more"
            ) from None
        except BrokerAwayError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and error_of(cause).code() in _REFUSED:
                raise self._meaning(error_of(cause), letter.topic) from error
            raise
        if letter.partition >= cut:
            raise BadInputError(
                f"dead letter `{letter.place}` came from `{letter.topic}` [{letter.partition}], and that topic has "
                f"only {cut} partitions now"
            )

    def _enter(self, producer: Producer) -> None:
        try:
            producer.init_transactions(SECONDS)
        except KafkaException as exception:
            raise self._meaning(error_of(exception), self.topic) from exception

    def _transact(self, producer: Producer, topic: str, letters: Sequence[Letter], by: str, now: int) -> list[Done]:
        """The records and their marks, in one transaction."""
        told: dict[Place, int | KafkaError] = {}
        refused: KafkaError | None = None
        try:
            producer.begin_transaction()
            for letter in letters:
                _produce(producer, letter, told)
            if producer.flush(SECONDS):
                producer.abort_transaction(SECONDS)
                raise BrokerAwayError("kafka: the records were not taken in time: nothing was written; run it again")
            refused = next((one for one in told.values() if isinstance(one, KafkaError)), None)
            done = [_done(letter, told[letter.place], by, now) for letter in letters]
            if refused is None:
                topic = self.topic
                for letter, mark, _ in done:
                    value, headers = json.dumps(mark._asdict()).encode(), _mark_headers(letter.place)
                    producer.produce(topic, value, None, letter.place.partition, headers=list(headers))
            _commit(producer)
        except KafkaException as exception:
            error = error_of(exception)
            # A record is purged for whatever ends the transaction; its own error counts only where it is the reason.
            if refused is not None and refused.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                error = refused
            raise self._meaning(error, topic) from exception
        self.marks |= {letter.place: mark for letter, mark, _ in done}
        return done

    def _meaning(self, error: KafkaError, topic: str) -> OwnershipError:
        """What went wrong, and what to do; of an open transaction nothing is left."""
        code = error.code()
        if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return UnavailableError(
                f"kafka refuses the transactional id `{self._transactional_id}`: allow this user `Write` on it"
            )
        if code in _REFUSED:
            return UnavailableError(
                f"kafka refuses to let this user write to `{topic}`: allow it `Describe` and `Write` there"
            )
        if code in _FENCED:
            return ReplayError("another replay took over: nothing more was written by this one; run it again")
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            return ReplayError(
                f"`{topic}` takes no record so large: nothing was written; raise its `max.message.bytes`"
            )
        return BrokerAwayError(f"kafka: cannot replay: {error.str()}; run it again, what is done is known")


def _produce(producer: Producer, letter: Letter, told: dict[Place, int | KafkaError]) -> None:
    """The letter's record, back where it came from; ``told`` gets its new offset, or why there is none."""

    def tell(error: KafkaError | None, message: Message) -> None:
        told[letter.place] = error if error is not None else offset_of(message)

    chain = {"of": str(letter.place), "first": letter.first or str(letter.place), "attempt": str(letter.attempt + 1)}
    headers = [*letter.headers, *((f"{REPLAY}{name}", text.encode()) for name, text in chain.items())]
    producer.produce(letter.topic, letter.value, letter.key, letter.partition, tell, headers=list(headers))


def _done(letter: Letter, offset: int | KafkaError, by: str, now: int) -> Done:
    at = offset if isinstance(offset, int) else -1
    return Done(letter, Mark(now, by, letter.topic, letter.partition, at), before=False)


def _mark_headers(place: Place) -> Headers:
    return [(f"{REPLAY}mark", str(place).encode()), ("content-type", b"application/json")]


def _commit(producer: Producer) -> None:
    """Commits; a time-out leaves the outcome open, and asking again settles it."""
    deadline = monotonic() + SECONDS
    while True:
        try:
            producer.commit_transaction(SECONDS)
        except KafkaException as exception:
            if error_of(exception).retriable() and monotonic() < deadline:
                continue
            if error_of(exception).txn_requires_abort():
                # Whether or not there is anything to abort yet: what is told is why it could not be committed.
                with suppress(KafkaException):
                    producer.abort_transaction(SECONDS)
            raise
        else:
            return


def _since(text: str, partition: int) -> int:
    """The first offset of a partition that is meant; raises ``BadInputError``."""
    if not text or text.isdecimal():
        return int(text or 0)
    place = place_of(text)
    return place.offset if place.partition == partition else 0


def _told(headers: Iterable[tuple[str, bytes]], beginning: str) -> dict[str, str]:
    return {
        name.removeprefix(beginning): value.decode("utf-8", "replace")
        for name, value in headers
        if name.startswith(beginning)
    }
