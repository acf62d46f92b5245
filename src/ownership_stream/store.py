"""Record states, packed: in memory and in Redis, one contract (tests/contracts).

A store is a cache that must prove itself: beside a lane's states it keeps the lane's *position*, the incarnation that
holds the lane and the changelog offset up to which the states are complete. Every read brings the position along and
every write is conditional on it, so a flushed, restored or overtaken store is found out before it is believed. This
module knows no Kafka and no words of the domain: ids and bytes only.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, Protocol, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ownership_stream.errors import OwnershipError, UnavailableError

POSITION_KEY: Final = "__lane"
DUE_KEY: Final = "__due"
DUE_BYTES: Final = 8
"""A packed state begins with the time it wants to be looked at again: big-endian milliseconds, 0 for never."""
# Keys in one command. Lua's `unpack` overflows at some 8,000 arguments, and a command blocks all others in Redis.
LOAD_CHUNK: Final = 2_000
SAVE_CHUNK: Final = 1_000
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
        """Forgets the lane: its states and its position. Slow: looks at every key of the store."""
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

    def close(self) -> None:
        """Nothing to let go of."""

    def _prove(self, prefix: str, held: Position) -> None:
        if self._positions.get(prefix) != held:
            raise _displaced(prefix)


# KEYS[1] the position; ARGV[1] the new incarnation. Answers the offset, or nil.
_TAKE: Final = """
local held = redis.call('GET', KEYS[1])
local offset = held and string.match(held, ':(%d+)$')
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. (offset or '0'))
return offset or false
"""

# KEYS[1] the position, KEYS[2] the records by when they are due, then records; ARGV[1] the position held, ARGV[2] the
# new one or nothing, ARGV[3] how many arguments of ZADD come after the states; what follows them is due no more.
_SAVE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local states = #KEYS - 2
if states > 0 then
  local pairs = {}
  for i = 1, states do
    pairs[2 * i - 1] = KEYS[i + 2]
    pairs[2 * i] = ARGV[i + 3]
  end
  redis.call('MSET', unpack(pairs))
end
local due = 3 + states
local gone = due + tonumber(ARGV[3])
if gone > due then
  redis.call('ZADD', KEYS[2], unpack(ARGV, due + 1, gone))
end
if #ARGV > gone then
  redis.call('ZREM', KEYS[2], unpack(ARGV, gone + 1, #ARGV))
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
"""


class RedisStore:
    """The contract on Redis 7 or Valkey: packed MGETs, one Lua compare-and-MSET, in chunks, position last."""

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
            offset = self._run(_TAKE, [(prefix + POSITION_KEY).encode()], [incarnation.encode()])
        return None if offset is None else int(offset)

    def load(self, prefix: str, held: Position, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`. The position is read by the same MGET as each chunk, so a flush in between shows."""
        head = prefix.encode()
        position = head + POSITION_KEY.encode()
        packed = held.pack()
        states: list[bytes | None] = []
        for first in range(0, len(record_ids), LOAD_CHUNK) or (0,):
            keys = [head + record_id.encode() for record_id in record_ids[first : first + LOAD_CHUNK]]
            with _answers():
                found = self._mget([position, *keys])
            if found[0] != packed:
                raise _displaced(prefix)
            states += found[1:]
        return states

    def save(self, prefix: str, held: Position, new: Position, states: Mapping[str, bytes]) -> None:
        """See `StateStore`."""
        head = prefix.encode()
        position = head + POSITION_KEY.encode()
        packed = held.pack()
        pairs = list(states.items())
        size = self._save_chunk
        last = max(len(pairs) - 1, 0) // size * size
        for first in range(0, last + 1, size):
            chunk = pairs[first : first + size]
            moved = new.pack() if first == last else b""
            with _answers():
                done = self._run(
                    _SAVE,
                    [position, head + DUE_KEY.encode(), *(head + record_id.encode() for record_id, _ in chunk)],
                    [packed, moved, *_by_due(chunk)],
                )
            if not done:
                raise _displaced(prefix)

    def purge(self, prefix: str) -> None:
        """See `StateStore`."""
        with _answers():
            for key in self._client.scan_iter(match=f"{_escaped(prefix)}*", count=LOAD_CHUNK):
                self._client.unlink(key)

    def peek(self, prefix: str, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`."""
        if not record_ids:
            return []
        with _answers():
            return self._mget([(prefix + record_id).encode() for record_id in record_ids])

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See `StateStore`."""
        head = prefix.encode()
        with _answers():
            for key in self._client.scan_iter(match=f"{_escaped(prefix)}*", count=LOAD_CHUNK):
                record_id = key.removeprefix(head).decode()
                [state] = self._mget([key])
                if record_id != POSITION_KEY and state is not None:
                    yield record_id, state

    def due(self, prefix: str, now: int, limit: int) -> list[str]:
        """See `StateStore`."""
        with _answers():
            found: list[bytes] = self._client.execute_command(  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation
                "ZRANGEBYSCORE", prefix + DUE_KEY, 1, now, "LIMIT", 0, limit
            )
        return [record.decode() for record in found]

    def close(self) -> None:
        """See `StateStore`."""
        self._client.close()

    def _run(self, script: str, keys: list[bytes], arguments: list[bytes]) -> Any:
        """Sends the script whole each time: it is small, and a server that restarted needs no second call."""
        return self._client.execute_command("EVAL", script, len(keys), *keys, *arguments)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation

    def _mget(self, keys: list[bytes]) -> list[bytes | None]:
        """One command, past redis-py's `mget`, which looks at each key again."""
        answer: list[bytes | None] = self._client.execute_command("MGET", *keys)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation
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


def _by_due(chunk: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    """The arguments of a save after the positions: how many are for ZADD, the states, those, and who is due no more."""
    due: list[bytes] = []
    gone: list[bytes] = []
    for record, state in chunk:
        at = due_of(state)
        if at:
            due += (b"%d" % at, record.encode())
        else:
            gone.append(record.encode())
    yield b"%d" % len(due)
    yield from (state for _, state in chunk)
    yield from due
    yield from gone


def _displaced(prefix: str) -> DisplacedError:
    return DisplacedError(f"the position of `{prefix}` in the store is not the one this lane left")


def _escaped(prefix: str) -> str:
    """The prefix as a pattern that matches only itself in Redis' glob."""
    return re.sub(r"([?*\[\]\\^])", r"\\\1", prefix)
