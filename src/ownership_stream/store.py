"""Record states, packed: in memory and in Redis, one contract (tests/contracts).

A store is a cache that must prove itself: beside a lane's states it keeps the lane's *position*, the incarnation that
holds the lane and the changelog offset up to which the states are complete. Every read brings the position along and
every write is conditional on it, so a flushed, restored or overtaken store is found out before it is believed. In Redis
a lane's states and its position are one hash: they vanish together or not at all, so no single state goes missing
unseen (docs/adr/0007). This module knows no Kafka and no words of the domain: ids and bytes only.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, Protocol, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ownership_stream.errors import OwnershipError, UnavailableError

POSITION_FIELD: Final = "__lane"
STATES_KEY: Final = "states"
DUE_KEY: Final = "due"
DUE_BYTES: Final = 8
"""A packed state begins with the time it wants to be looked at again: big-endian milliseconds, 0 for never."""
# Records in one command. Lua's `unpack` overflows at some 8,000 arguments, and a command blocks all others in Redis.
LOAD_CHUNK: Final = 2_000
SAVE_CHUNK: Final = 1_000
_FIELD: Final = POSITION_FIELD.encode()
EVICTION_POLICY: Final = "noeviction"
# The check that fakeredis cannot answer; embedded mode waives it by this name.
WAIVE_EVICTION: Final = "eviction policy"


class Position(NamedTuple):
    """Who holds a lane, and the changelog offset up to which the store has its states."""

    incarnation: str
    offset: int

    def pack(self) -> bytes:
        """As it stands in the store: `<incarnation>:<state offset>`."""
        return f"{self.incarnation}:{self.offset}".encode()


class DisplacedError(OwnershipError):
    """The store's position is not the one we left: another holder, or a flushed or restored store."""


class StoreAwayError(UnavailableError):
    """The store does not answer, or cannot take a write now."""


class UnsafeStoreError(OwnershipError):
    """The store would forget states by itself."""


def key_prefix(app: str, topic_id: str, partition: int) -> str:
    """What a lane's keys begin with.

    The braces keep a lane on one node of a Redis cluster; the topic's id makes the keys of a re-created changelog
    other keys.
    """
    return f"{app}:{topic_id}:{{{partition}}}:"


class StateStore(Protocol):
    """The contract. `prefix` is the lane's `key_prefix`; all methods may be called from any thread.

    Every method raises `StoreAwayError` when the store does not answer; then nothing is known of what happened.
    """

    def check(self) -> None:
        """Raises `UnsafeStoreError` if the store may evict states by itself."""
        ...

    def ping(self) -> None:
        """Returns if the store answers."""
        ...

    def take(self, prefix: str, incarnation: str) -> int | None:
        """Makes `incarnation` the holder and returns the position's offset, or None if there was none."""
        ...

    def load(self, prefix: str, held: Position, record_ids: Sequence[str]) -> list[bytes | None]:
        """The states in the order of `record_ids`, None for those never saved.

        Raises `DisplacedError` if the position is not `held` at any point of the read.
        """
        ...

    def save(self, prefix: str, held: Position, new: Position, states: Mapping[str, bytes]) -> None:
        """Writes the states, then moves the position from `held` to `new`.

        Raises `DisplacedError`, with nothing written by the failing chunk, if the position is not `held`. A save cut
        short leaves the position behind, so that catching up from it writes everything again.
        """
        ...

    def purge(self, prefix: str) -> None:
        """Forgets the lane: its states and its position."""
        ...

    def peek(self, prefix: str, record_ids: Sequence[str]) -> list[bytes | None]:
        """Like `load`, without proof: for people who look, not for lanes that decide."""
        ...

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """All records of a lane with their states, in no order, without proof."""
        ...

    def due(self, prefix: str, now: int, limit: int) -> list[str]:
        """Records whose states wanted to be looked at by `now` (milliseconds), the longest overdue first."""
        ...

    def waiting(self, prefix: str, since: int, limit: int) -> list[tuple[int, str]]:
        """Records that want to be looked at, with when they do, from `since` on (milliseconds), the earliest first.

        Those of one time in the order of their ids. For people who look, page by page.
        """
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...


class MemoryStore:
    """The contract within one process: what tests compare the other with."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[str, bytes]] = {}
        self._positions: dict[str, Position] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Memory evicts nothing."""

    def ping(self) -> None:
        """Memory is always there."""

    def take(self, prefix: str, incarnation: str) -> int | None:
        """See `StateStore`."""
        with self._lock:
            held = self._positions.get(prefix)
            self._positions[prefix] = Position(incarnation, held.offset if held else 0)
            return held.offset if held else None

    def load(self, prefix: str, held: Position, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`."""
        with self._lock:
            self._prove(prefix, held)
            states = self._lanes.get(prefix, {})
            return [states.get(record_id) for record_id in record_ids]

    def save(self, prefix: str, held: Position, new: Position, states: Mapping[str, bytes]) -> None:
        """See `StateStore`."""
        with self._lock:
            self._prove(prefix, held)
            self._lanes.setdefault(prefix, {}).update(states)
            self._positions[prefix] = new

    def purge(self, prefix: str) -> None:
        """See `StateStore`."""
        with self._lock:
            self._lanes.pop(prefix, None)
            self._positions.pop(prefix, None)

    def peek(self, prefix: str, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`."""
        with self._lock:
            states = self._lanes.get(prefix, {})
            return [states.get(record_id) for record_id in record_ids]

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See `StateStore`."""
        with self._lock:
            return iter(list(self._lanes.get(prefix, {}).items()))

    def due(self, prefix: str, now: int, limit: int) -> list[str]:
        """See `StateStore`."""
        with self._lock:
            waiting = [(due_of(state), record) for record, state in self._lanes.get(prefix, {}).items()]
        return [record for at, record in sorted(waiting) if 0 < at <= now][:limit]

    def waiting(self, prefix: str, since: int, limit: int) -> list[tuple[int, str]]:
        """See `StateStore`."""
        with self._lock:
            waiting = [(due_of(state), record) for record, state in self._lanes.get(prefix, {}).items()]
        return [one for one in sorted(waiting) if one[0] >= max(since, 1)][:limit]

    def close(self) -> None:
        """Nothing to let go of."""

    def _prove(self, prefix: str, held: Position) -> None:
        if self._positions.get(prefix) != held:
            raise _displaced(prefix)


# KEYS[1] the states, KEYS[2] the records by when they are due; ARGV[1] the position's field, ARGV[2] the new
# incarnation. Answers the offset, or nil. The index has a member of its own that is never due: an index that vanished
# lacks it, and the states must be written again to have it back.
_TAKE: Final = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
local offset = held and string.match(held, ':(%d+)$')
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  offset = false
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. (offset or '0'))
return offset
"""

# KEYS as above; ARGV[1] the position's field, ARGV[2] the position held, ARGV[3] the new one or nothing, ARGV[4] and
# ARGV[5] how many arguments of HSET and of ZADD follow; what follows those is due no more.
_SAVE: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
local due = 5 + tonumber(ARGV[4])
local gone = due + tonumber(ARGV[5])
if due > 5 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 6, due))
end
if gone > due then
  redis.call('ZADD', KEYS[2], unpack(ARGV, due + 1, gone))
end
if #ARGV > gone then
  redis.call('ZREM', KEYS[2], unpack(ARGV, gone + 1, #ARGV))
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
"""


class RedisStore:
    """The contract on Redis 7 or Valkey: packed HMGETs, one Lua compare-and-HSET, in chunks, position last."""

    def __init__(
        self, client: "redis.Redis", *, save_chunk: int = SAVE_CHUNK, waive_eviction_check: bool = False
    ) -> None:
        self._client = client
        self._save_chunk = min(save_chunk, SAVE_CHUNK)
        self._waive_eviction_check = waive_eviction_check

    @classmethod
    def from_url(
        cls, url: str, *, timeout: float = 5.0, save_chunk: int = SAVE_CHUNK, waive_eviction_check: bool = False
    ) -> Self:
        """A store at `redis://` or `rediss://`; `timeout` in seconds, for connecting and for each answer.

        The client tries nothing twice: the lane knows what may be repeated.
        """
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        return cls(client, save_chunk=save_chunk, waive_eviction_check=waive_eviction_check)

    def check(self) -> None:
        """See `StateStore`. Asks INFO first: managed services forbid CONFIG."""
        self.ping()
        if self._waive_eviction_check:
            return
        policy = self._eviction_policy()
        if policy is None:
            raise UnsafeStoreError("redis does not say its `maxmemory-policy`: allow the user `INFO` or `CONFIG GET`")
        if policy != EVICTION_POLICY:
            raise UnsafeStoreError(f"redis evicts states by `maxmemory-policy {policy}`: set it to `{EVICTION_POLICY}`")

    def ping(self) -> None:
        """See `StateStore`."""
        with _answers():
            self._client.ping()

    def take(self, prefix: str, incarnation: str) -> int | None:
        """See `StateStore`."""
        with _answers():
            offset = self._run(_TAKE, prefix, [_FIELD, incarnation.encode()])
        return None if offset is None else int(offset)

    def load(self, prefix: str, held: Position, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`. The position is read by the same HMGET as each chunk, so a flush in between shows."""
        packed = held.pack()
        states: list[bytes | None] = []
        for first in range(0, len(record_ids), LOAD_CHUNK) or (0,):
            with _answers():
                found = self._fields(prefix, [_FIELD, *record_ids[first : first + LOAD_CHUNK]])
            if found[0] != packed:
                raise _displaced(prefix)
            states += found[1:]
        return states

    def save(self, prefix: str, held: Position, new: Position, states: Mapping[str, bytes]) -> None:
        """See `StateStore`."""
        packed = held.pack()
        pairs = list(states.items())
        size = self._save_chunk
        last = max(len(pairs) - 1, 0) // size * size
        for first in range(0, last + 1, size):
            moved = new.pack() if first == last else b""
            with _answers():
                done = self._run(_SAVE, prefix, [_FIELD, packed, moved, *_by_due(pairs[first : first + size])])
            if not done:
                raise _displaced(prefix)

    def purge(self, prefix: str) -> None:
        """See `StateStore`."""
        with _answers():
            self._client.unlink(prefix + STATES_KEY, prefix + DUE_KEY)

    def peek(self, prefix: str, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`."""
        if not record_ids:
            return []
        with _answers():
            return self._fields(prefix, record_ids)

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See `StateStore`."""
        with _answers():
            for field, state in self._client.hscan_iter(prefix + STATES_KEY, count=LOAD_CHUNK):
                record_id = field.decode()
                if record_id != POSITION_FIELD:
                    yield record_id, state

    def due(self, prefix: str, now: int, limit: int) -> list[str]:
        """See `StateStore`."""
        with _answers():
            found: list[bytes] = self._client.execute_command(  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation
                "ZRANGEBYSCORE", prefix + DUE_KEY, 1, now, "LIMIT", 0, limit
            )
        return [record.decode() for record in found]

    def waiting(self, prefix: str, since: int, limit: int) -> list[tuple[int, str]]:
        """See `StateStore`."""
        with _answers():
            found: list[tuple[bytes, float]] = self._client.zrangebyscore(  # type: ignore[assignment]  # as asked for: with scores
                prefix + DUE_KEY, max(since, 1), "+inf", start=0, num=limit, withscores=True
            )
        return [(int(at), record.decode()) for record, at in found]

    def close(self) -> None:
        """See `StateStore`."""
        self._client.close()

    def _run(self, script: str, prefix: str, arguments: Sequence[bytes | str]) -> Any:
        """Sends the script whole each time: it is small, and a server that restarted needs no second call."""
        return self._client.execute_command("EVAL", script, 2, prefix + STATES_KEY, prefix + DUE_KEY, *arguments)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation

    def _fields(self, prefix: str, record_ids: Sequence[bytes | str]) -> list[bytes | None]:
        """One command, past redis-py's `hmget`, which looks at each field again."""
        answer: list[bytes | None] = self._client.execute_command("HMGET", prefix + STATES_KEY, *record_ids)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation
        return answer

    def _eviction_policy(self) -> str | None:
        questions: tuple[Callable[[], Mapping[Any, Any]], ...] = (
            lambda: self._client.info("memory"),
            lambda: self._client.config_get("maxmemory-policy"),
        )
        with _answers():
            for ask in questions:
                # A forbidden or unknown command is an answer too: the next one may be allowed.
                with suppress(redis.ResponseError):
                    answer = ask()
                    policy = answer.get("maxmemory_policy") or answer.get("maxmemory-policy")
                    if policy:
                        return str(policy)
        return None


@contextmanager
def _answers() -> Iterator[None]:
    """Every refusal of Redis means the same to a lane: wait and try again. Texts of Redis hold no values."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreAwayError(f"redis: {type(error).__name__}: {error}") from error


def due_of(state: bytes) -> int:
    """When a packed state wants to be looked at again, milliseconds; 0: never, and so for one too short to say."""
    return int.from_bytes(state[:DUE_BYTES], "big") if len(state) >= DUE_BYTES else 0


def _by_due(chunk: Sequence[tuple[str, bytes]]) -> Iterator[bytes | str]:
    """The arguments of a save after the positions: how many are for HSET and ZADD, those, and who is due no more."""
    due: list[bytes | str] = []
    gone: list[str] = []
    for record, state in chunk:
        at = due_of(state)
        if at:
            due += (b"%d" % at, record)
        else:
            gone.append(record)
    yield b"%d" % (2 * len(chunk))
    yield b"%d" % len(due)
    for pair in chunk:
        yield from pair
    yield from due
    yield from gone


def _displaced(prefix: str) -> DisplacedError:
    return DisplacedError(f"the position of `{prefix}` in the store is not the one this lane left")
