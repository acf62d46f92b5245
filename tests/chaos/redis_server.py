"""A redis-server of a run's own, on one port for all its life, that can be killed, starved, slowed and set back."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, Self

import redis

from integration.kafka_process import kept_port

DUMP: Final = "dump.rdb"
PASSWORD: Final = "a password of the tests"
START_SECONDS: Final = 30.0


class RedisServer:
    """The server for the length of a `with`. It writes nothing to disk but what `snapshot` asks for."""

    def __init__(self) -> None:
        self.port = kept_port()
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Starts it with what its dump holds, if there is one; returns when it answers."""
        # Where the system can tell it to, it ends with this process even if that is killed.
        ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*ward, "redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        command += ["--dbfilename", DUMP, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        command += ["--enable-debug-command", "yes", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = monotonic() + START_SECONDS
        while True:
            try:
                self.ask("PING")
            except redis.AuthenticationError:
                return
            except redis.RedisError:
                assert monotonic() < deadline, "the redis-server of the run does not answer"
                sleep(0.02)
            else:
                return

    def start_if_gone(self) -> None:
        """Starts it if it is not there."""
        if self._process is None:
            self.start()

    def unlock(self) -> None:
        """Asks for no password any more."""
        with suppress(redis.AuthenticationError), redis.Redis(port=self.port, password=PASSWORD) as client:
            client.config_set("requirepass", "")

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Lets it answer nobody, with all connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it answer again."""
        self._signal(signal.SIGCONT)

    def restart_empty(self) -> None:
        """Kills it, and starts one that knows nothing."""
        self.kill()
        (self.folder / DUMP).unlink(missing_ok=True)
        self.start()

    def lock(self) -> None:
        """Asks everybody for a password, those too who are connected already."""
        self.ask("CONFIG", "SET", "requirepass", PASSWORD)
        with redis.Redis(port=self.port, password=PASSWORD, socket_timeout=30) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def snapshot(self) -> Path:
        """What it holds at this moment, as a file."""
        self.ask("SAVE")
        kept = self.folder / f"kept-{os.urandom(4).hex()}.rdb"
        shutil.move(self.folder / DUMP, kept)
        return kept

    def restart_with(self, snapshot: Path) -> None:
        """Kills it, and starts one that holds what was kept."""
        self.kill()
        shutil.copy(snapshot, self.folder / DUMP)
        self.start()
        (self.folder / DUMP).unlink()

    def ask(self, *command: Any) -> Any:
        """One command on a connection of its own; raises what redis-py raises."""
        with redis.Redis(port=self.port, socket_timeout=30) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it without annotation

    def replicated(self) -> bool:
        """Whether it is a replica and holds what its primary holds."""
        with redis.Redis(port=self.port, socket_timeout=30) as client:
            return "up" == client.info("replication").get("master_link_status")

    def keys(self, pattern: str = "*") -> list[bytes]:
        """Its keys, in no order."""
        with redis.Redis(port=self.port, socket_timeout=30) as client:
            return list(client.scan_iter(match=pattern, count=1_000))

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the redis-server of the run is not there"
        self._process.send_signal(number)
