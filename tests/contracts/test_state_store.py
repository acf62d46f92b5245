"""The contract of a state store, inherited by each kind: memory, fakeredis, and a real Redis."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from time import monotonic, sleep

import fakeredis
import pytest
import redis

from ownership_stream.embedded import free_port
from ownership_stream.store import (
    LOAD_CHUNK,
    SAVE_CHUNK,
    DisplacedError,
    MemoryStore,
    Position,
    RedisStore,
    StateStore,
    StoreAwayError,
    UnsafeStoreError,
    key_prefix,
)

PREFIX = key_prefix("app", "topic*id", 3)
OTHER = key_prefix("app", "topicXid", 3)


def due_at(milliseconds: int) -> bytes:
    """A state that wants to be looked at again then."""
    return milliseconds.to_bytes(8, "big") + b"state"


class StoreContract:
    """What every store does. Subclasses give a fixture `store`, empty for each test."""

    def test_the_first_taker_finds_no_position(self, store: StateStore) -> None:
        """None means: read the changelog from its start. The second taker finds what the first left."""
        assert store.take(PREFIX, "a") is None
        assert 0 == store.take(PREFIX, "b")

    def test_what_was_saved_is_loaded_in_the_order_asked_for(self, store: StateStore) -> None:
        """Records never saved are None."""
        held = self.taken(store)
        new = Position("a", 7)
        store.save(PREFIX, held, new, {"x": b"1", "y": b"\x00\xff"})
        assert [b"\x00\xff", None, b"1"] == store.load(PREFIX, new, ["y", "z", "x"])

    def test_a_taker_finds_the_offset_of_the_last_save(self, store: StateStore) -> None:
        """The position outlives its holder."""
        store.save(PREFIX, self.taken(store), Position("a", 41), {})
        assert 41 == store.take(PREFIX, "b")

    def test_only_the_holder_loads(self, store: StateStore) -> None:
        """A newer incarnation displaces the older, even at the same offset and for no records at all."""
        held = self.taken(store)
        assert [] == store.load(PREFIX, held, [])
        store.take(PREFIX, "b")
        for ids in ([], ["x"]):
            with pytest.raises(DisplacedError):
                store.load(PREFIX, held, ids)

    def test_only_the_holder_saves(self, store: StateStore) -> None:
        """A displaced holder's save writes nothing."""
        held = self.taken(store)
        store.take(PREFIX, "b")
        with pytest.raises(DisplacedError):
            store.save(PREFIX, held, Position("a", 9), {"x": b"1"})
        assert [None] == store.peek(PREFIX, ["x"])

    def test_a_save_on_another_offset_writes_nothing(self, store: StateStore) -> None:
        """A restored store is not taken for the one that was left."""
        held = self.taken(store)
        with pytest.raises(DisplacedError):
            store.save(PREFIX, held._replace(offset=5), Position("a", 9), {"x": b"1"})
        assert [None] == store.peek(PREFIX, ["x"])

    def test_an_emptied_store_displaces_its_holder(self, store: StateStore) -> None:
        """A flush during tenure must show before anything is decided on its absence."""
        held = self.taken(store)
        store.purge(PREFIX)
        with pytest.raises(DisplacedError):
            store.load(PREFIX, held, ["x"])
        with pytest.raises(DisplacedError):
            store.save(PREFIX, held, Position("a", 1), {"x": b"1"})

    def test_more_records_than_one_command_takes(self, store: StateStore) -> None:
        """Thousands of arguments overflow Lua's stack, so they go in chunks."""
        held, new = self.taken(store), Position("a", 1)
        states = {f"r{number}": b"%d" % number for number in range(max(LOAD_CHUNK, 4 * SAVE_CHUNK) + 1)}
        store.save(PREFIX, held, new, states)
        assert list(states.values()) == store.load(PREFIX, new, list(states))

    def test_a_purge_leaves_other_lanes_alone(self, store: StateStore) -> None:
        """A topic's id with a character of Redis' patterns matches only itself."""
        store.save(PREFIX, self.taken(store), Position("a", 1), {"x": b"1"})
        store.take(OTHER, "a")
        store.save(OTHER, Position("a", 0), Position("a", 2), {"x": b"2"})
        store.purge(PREFIX)
        assert [None] == store.peek(PREFIX, ["x"])
        assert [b"2"] == store.load(OTHER, Position("a", 2), ["x"])

    def test_a_scan_shows_records_and_not_the_position(self, store: StateStore) -> None:
        """For people who look at what disagrees."""
        store.save(PREFIX, self.taken(store), Position("a", 1), {"x": b"1", "y": b"2"})
        assert {"x": b"1", "y": b"2"} == dict(store.scan(PREFIX))

    def test_due_records_come_the_longest_overdue_first(self, store: StateStore) -> None:
        """A state begins with the time it wants to be looked at again; 0, or none at all, wants nothing."""
        held = self.taken(store)
        states = {"late": due_at(20), "later": due_at(30), "first": due_at(10), "never": due_at(0), "short": b"1"}
        store.save(PREFIX, held, Position("a", 1), states)
        assert ["first", "late"] == store.due(PREFIX, 20, 9)
        assert ["first"] == store.due(PREFIX, 99, 1)
        assert [] == store.due(OTHER, 99, 9)

    def test_waiting_records_are_read_in_pieces_in_their_order(self, store: StateStore) -> None:
        """From a time on, with their times, those of one time by their ids; who waits for nothing is not among them."""
        held = self.taken(store)
        states = {"d": due_at(30), "b": due_at(20), "c": due_at(20), "a": due_at(10), "never": due_at(0)}
        store.save(PREFIX, held, Position("a", 1), states)
        assert [(10, "a"), (20, "b"), (20, "c"), (30, "d")] == store.waiting(PREFIX, 0, 9)
        assert [(20, "b"), (20, "c")] == store.waiting(PREFIX, 20, 2)
        assert [(30, "d")] == store.waiting(PREFIX, 21, 9)
        assert [] == store.waiting(OTHER, 0, 9)

    def test_a_newer_state_says_when_it_is_due(self, store: StateStore) -> None:
        """Moved, or not at all."""
        held = self.taken(store)
        store.save(PREFIX, held, Position("a", 1), {"moved": due_at(10), "done": due_at(10)})
        store.save(PREFIX, Position("a", 1), Position("a", 2), {"moved": due_at(50), "done": due_at(0)})
        assert [] == store.due(PREFIX, 49, 9)
        assert ["moved"] == store.due(PREFIX, 50, 9)

    def test_a_peek_needs_no_holder(self, store: StateStore) -> None:
        """For people who look at one record."""
        store.save(PREFIX, self.taken(store), Position("a", 1), {"x": b"1"})
        store.take(PREFIX, "b")
        assert [b"1", None] == store.peek(PREFIX, ["x", "y"])
        assert [] == store.peek(PREFIX, [])

    def test_a_store_that_keeps_everything_is_safe(self, store: StateStore) -> None:
        """It answers, and evicts nothing by itself."""
        store.ping()
        store.check()
        store.close()

    @staticmethod
    def taken(store: StateStore) -> Position:
        """The position of a lane just taken by `a`."""
        store.take(PREFIX, "a")
        return Position("a", 0)


class TestMemoryStore(StoreContract):
    """Within one process."""

    @pytest.fixture
    def store(self) -> StateStore:
        """An empty one."""
        return MemoryStore()


class RedisContract(StoreContract):
    """What is asked of Redis beside."""

    def test_a_save_cut_short_leaves_the_position_behind(self, store: StateStore) -> None:
        """Chunks come before the position, so that catching up writes them again."""
        held = self.taken(store)
        states = {f"r{number}": b"1" for number in range(SAVE_CHUNK + 1)}
        states[f"r{SAVE_CHUNK}"] = []  # type: ignore[assignment]  # the client refuses it, after the first chunk
        with pytest.raises(StoreAwayError):
            store.save(PREFIX, held, Position("a", 9), states)
        assert [b"1"] == store.peek(PREFIX, ["r0"])
        assert 0 == store.take(PREFIX, "b")

    def test_keys_are_named_as_documented(self, client: "redis.Redis", store: StateStore) -> None:
        """`<app>:<state topic id>:{<partition>}:states` holds the position too; `:due` is the index of ticks."""
        store.save(PREFIX, self.taken(store), Position("a", 1), {"x": b"1"})
        assert {b"app:topic*id:{3}:states", b"app:topic*id:{3}:due"} == set(client.keys())
        assert {b"x": b"1", b"__lane": b"a:1"} == client.hgetall("app:topic*id:{3}:states")

    @pytest.mark.parametrize("vanished", ["states", "due"])
    def test_no_key_of_a_lane_vanishes_unseen(self, client: "redis.Redis", store: StateStore, vanished: str) -> None:
        """Whichever key is evicted or deleted: the holder is displaced, and who takes the lane begins anew.

        An idle holder finds out by saving nothing (`Lane.serve`).
        """
        held = Position("a", 1)
        store.save(PREFIX, self.taken(store), held, {"x": due_at(5)})
        client.delete(PREFIX + vanished)
        for new, states in ((held, {}), (Position("a", 2), {"y": b"1"})):
            with pytest.raises(DisplacedError):
                store.save(PREFIX, held, new, states)
        assert store.take(PREFIX, "b") is None


class TestFakeRedisStore(RedisContract):
    """fakeredis with Lua: what the embedded stack uses where there is no redis-server."""

    @pytest.fixture
    def client(self) -> "redis.Redis":
        """An empty one."""
        return fakeredis.FakeRedis()

    @pytest.fixture
    def store(self, client: "redis.Redis") -> StateStore:
        """On the client."""
        return RedisStore(client, waive_eviction_check=True)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A redis-server of our own on a free port."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on the PATH: the contract is not proven on a real Redis")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            url = f"redis://127.0.0.1:{port}/0"
            await_redis(url)
            yield url
        finally:
            server.kill()
            server.wait()


def await_redis(url: str) -> None:
    """Returns when the server answers."""
    deadline = monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if monotonic() > deadline:
                    raise
                sleep(0.01)
            else:
                return


@pytest.mark.real_redis
class TestRedisStore(RedisContract):
    """A real Redis."""

    @pytest.fixture
    def client(self, redis_url: str) -> Iterator["redis.Redis"]:
        """An empty one, with the settings it should have."""
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
            client.config_set("maxmemory-policy", "noeviction")
            yield client

    @pytest.fixture
    def store(self, client: "redis.Redis", redis_url: str) -> Iterator[StateStore]:  # noqa: ARG002  # emptied by it
        """On a client of its own."""
        store = RedisStore.from_url(redis_url)
        yield store
        store.close()

    def test_a_store_that_evicts_is_refused(self, client: "redis.Redis", store: StateStore) -> None:
        """The line says which setting, and to what."""
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsafeStoreError, match=r"maxmemory-policy allkeys-lru`: set it to `noeviction`"):
            store.check()

    def test_a_store_that_hides_its_policy_is_refused(self, client: "redis.Redis", redis_url: str) -> None:
        """A user without INFO and CONFIG cannot show that nothing is evicted."""
        client.acl_setuser(
            "shy",
            enabled=True,
            passwords=["+word"],
            keys=["*"],
            commands=["+@all", "-info", "-config"],
            reset=True,
        )
        store = RedisStore.from_url(redis_url.replace("redis://", "redis://shy:word@"))
        with pytest.raises(UnsafeStoreError, match=r"does not say its `maxmemory-policy`"):
            store.check()
        store.close()

    def test_a_full_store_is_away(self, client: "redis.Redis", store: StateStore) -> None:
        """Under noeviction a full Redis refuses writes: the lane waits for room, and says so."""
        held = self.taken(store)
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreAwayError, match="OutOfMemory"):
                store.save(PREFIX, held, Position("a", 1), {"x": b"1"})
        finally:
            client.config_set("maxmemory", 0)


def test_a_store_that_does_not_answer_is_away() -> None:
    """The reason names Redis, so that a person knows where to look."""
    store = RedisStore.from_url(f"redis://127.0.0.1:{free_port()}/0", timeout=0.5)
    for call in (
        store.ping,
        store.check,
        lambda: store.take(PREFIX, "a"),
        lambda: store.load(PREFIX, Position("a", 0), []),
        lambda: store.save(PREFIX, Position("a", 0), Position("a", 1), {}),
        lambda: store.purge(PREFIX),
        lambda: store.peek(PREFIX, ["x"]),
        lambda: list(store.scan(PREFIX)),
    ):
        with pytest.raises(StoreAwayError, match=r"^redis: "):
            call()
