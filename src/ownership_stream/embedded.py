"""A broker and a Redis without installing either: librdkafka's mock broker, and redis-server or fakeredis.

For the demo, the tests and a first look; never for real data. The mock broker lives in this process and forgets
everything with it. What the pair cannot do is not hidden: `waived` names each check that a worker leaves out on it.
"""

import logging
import shutil
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

import redis
from confluent_kafka import Producer

from ownership_stream.errors import UnavailableError
from ownership_stream.lane.broker import WAIVE_STATE_START, WAIVE_TOPIC_IDS
from ownership_stream.store import WAIVE_EVICTION

# librdkafka makes every topic of its mock broker with this many partitions, at its first mention.
PARTITIONS: Final = 4
WAIVE_TOPICS: Final = "topic settings"
START_SECONDS: Final = 10.0

# What is waived on the mock broker, and why: the words of the start messages.
MOCK_WAIVED: Final = {
    WAIVE_TOPIC_IDS: "the mock broker gives topics no ids, so one made again is not noticed",
    WAIVE_STATE_START: "the mock broker keeps about 5 MB a partition, so early states may be gone",
    WAIVE_TOPICS: "the mock broker knows no topic settings, creates topics by itself and stamps CreateTime",
    "transaction isolation": "the mock broker shows records of open and aborted transactions",
    "committed offsets": "the mock broker forgets offsets committed in transactions; control records stand in",
}
FAKE_REDIS_WAIVED: Final = {
    WAIVE_EVICTION: "fakeredis knows neither CONFIG nor INFO, and evicts nothing",
}
_log = logging.getLogger("ownership_stream.embedded")


class Embedded:
    """Both servers, for the length of a `with`.

    `bootstrap` and `redis_url` say where they are, `waived` names the checks left out, each with its reason.
    """

    def __init__(self, *, fake_redis: bool = False) -> None:
        self.bootstrap = ""
        self.redis_url = ""
        self.partitions: Final = PARTITIONS
        self.waived: dict[str, str] = dict(MOCK_WAIVED)
        self._fake_redis = fake_redis
        self._exits = ExitStack()
        self._mock: Producer | None = None

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._start_broker()
            exits.callback(self._drop_broker)
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

    def _start_broker(self) -> None:
        self._mock = Producer(
            {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "logger": _log, "log_level": 3}
        )
        brokers = self._mock.list_topics(timeout=START_SECONDS).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def _drop_broker(self) -> None:
        self._mock = None

    def _start_redis(self, exits: ExitStack) -> None:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="ownership-redis-"))
        port = free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
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
