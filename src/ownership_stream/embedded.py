"""A broker and a Redis without installing either: librdkafka's mock broker, and redis-server or fakeredis.

For the demo, the tests and a first look; never for real data. The mock broker lives in this process and forgets
everything with it. What the pair cannot do is not hidden: `waived` names each check that a worker leaves out on it.
"""

import ctypes
import ctypes.util
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

import confluent_kafka
import redis

from ownership_stream.errors import UnavailableError
from ownership_stream.lane.broker import WAIVE_CHECKSUMS, WAIVE_STATE_START, WAIVE_TOPIC_IDS, WAIVE_TOPICS
from ownership_stream.store import WAIVE_EVICTION

# What librdkafka gives a topic of its mock broker that a client mentions before it was made.
PARTITIONS: Final = 4
RD_KAFKA_PRODUCER: Final = 0
START_SECONDS: Final = 10.0

# What is waived on the mock broker, and why: the words of the start messages.
MOCK_WAIVED: Final = {
    WAIVE_TOPIC_IDS: "the mock broker gives topics no ids, so one made again is not noticed",
    WAIVE_STATE_START: "the mock broker keeps about 5 MB a partition, so early states may be gone",
    WAIVE_CHECKSUMS: "the mock broker writes transaction markers without a checksum",
    WAIVE_TOPICS: "the mock broker knows no topic settings, creates topics by itself and stamps CreateTime",
    "transaction isolation": "the mock broker shows records of open and aborted transactions",
    "committed offsets": "the mock broker forgets offsets committed in transactions; control records stand in",
}
FAKE_REDIS_WAIVED: Final = {
    WAIVE_EVICTION: "fakeredis knows neither CONFIG nor INFO, and evicts nothing",
}


class MockBroker:
    """librdkafka's mock broker, through the library's public C functions.

    The Python client can start one too, but neither give a topic its partitions nor shorten the three seconds that a
    group waits for its first members. Functions and defaults: librdkafka's `rdkafka_mock.h`.
    """

    def __init__(self) -> None:
        self._library = _librdkafka()
        config = self._library.rd_kafka_conf_new()
        message = ctypes.create_string_buffer(512)
        for name, value in (("test.mock.num.brokers", "1"), ("log_level", "3")):
            self._library.rd_kafka_conf_set(config, name.encode(), value.encode(), message, len(message))
        self._client = self._library.rd_kafka_new(RD_KAFKA_PRODUCER, config, message, len(message))
        if not self._client:
            raise UnavailableError(f"the mock broker did not start: {message.value.decode()}")
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._client)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: Final = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes a topic. One that is first mentioned by a client has `PARTITIONS`."""
        failed = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if failed:
            raise UnavailableError(f"topic `{name}` cannot be created: it is there already")

    def close(self) -> None:
        """Ends the broker, and everything it held."""
        self._library.rd_kafka_destroy(self._client)


def _librdkafka() -> ctypes.CDLL:
    """The library that the Python client has loaded, with the types of what is called here."""
    package = Path(confluent_kafka.__file__).parent
    bundled = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    found = str(bundled[0]) if bundled else ctypes.util.find_library("rdkafka")
    if found is None:
        raise UnavailableError("librdkafka is not found: install `confluent-kafka` from its wheel")
    library = ctypes.CDLL(found)
    handle, text, size, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
    for name, answer, arguments in (
        ("conf_new", handle, []),
        ("conf_set", number, [handle, text, text, text, size]),
        ("new", handle, [number, handle, text, size]),
        ("handle_mock_cluster", handle, [handle]),
        ("mock_group_initial_rebalance_delay_ms", None, [handle, ctypes.c_int32]),
        ("mock_cluster_bootstraps", text, [handle]),
        ("mock_topic_create", number, [handle, text, number, number]),
        ("destroy", None, [handle]),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = answer, arguments
    return library


class Embedded:
    """Both servers, for the length of a `with`.

    `topics` are made with that many partitions each. `bootstrap` and `redis_url` say where the servers are, `waived`
    names the checks left out, each with its reason.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, fake_redis: bool = False) -> None:
        self.bootstrap = ""
        self.redis_url = ""
        self.waived: dict[str, str] = dict(MOCK_WAIVED)
        self._topics = dict(topics or {})
        self._fake_redis = fake_redis
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            broker = MockBroker()
            exits.callback(broker.close)
            self.bootstrap = broker.bootstrap
            for name, partitions in self._topics.items():
                broker.create_topic(name, partitions)
            if self._fake_redis or shutil.which("redis-server") is None:
                self._start_fake_redis(exits)
            else:
                self._start_redis(exits)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def _start_redis(self, exits: ExitStack) -> None:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="ownership-redis-"))
        port = free_port()
        # Where the system can tell it to, it ends with this process even if that is killed.
        ward = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        command = [*ward, "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        server = subprocess.Popen(  # noqa: S603  # our own command, from the PATH
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        exits.callback(_end, server)
        self._await_redis(f"redis://127.0.0.1:{port}/0")

    def _start_fake_redis(self, exits: ExitStack) -> None:
        try:
            from fakeredis import TcpFakeServer  # noqa: PLC0415  # the demo's dependency, not a worker's
        except ImportError as error:
            raise UnavailableError(
                "no `redis-server` on the PATH and no fakeredis: install either (`pip install ownership-stream[demo]`)"
            ) from error
        self.waived |= FAKE_REDIS_WAIVED
        port = free_port()
        server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="fakeredis", daemon=True).start()
        exits.callback(server.server_close)
        exits.callback(server.shutdown)
        self._await_redis(f"redis://127.0.0.1:{port}/0")

    def _await_redis(self, url: str) -> None:
        deadline = monotonic() + START_SECONDS
        with redis.Redis.from_url(url) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if monotonic() > deadline:
                        raise UnavailableError(f"the embedded redis did not start: {error}") from error
                    sleep(0.02)
                else:
                    self.redis_url = url
                    return


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
