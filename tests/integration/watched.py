"""A worker as those see it who watch it from outside: its three pages over HTTP, and what it logged."""

import urllib.error
import urllib.request
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

DEADLINE: Final = 120.0
POLL_SECONDS: Final = 0.05
READ_SECONDS: Final = 5.0
LAST_CHARACTERS: Final = 3_000


class Watched:
    """A worker in a process of its own, whose pages are on `port` of this machine.

    Each wait fails with the last answer of /readyz and the end of the log, and at once if the worker is gone.
    """

    port: int

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        raise NotImplementedError

    def said(self) -> str:
        """All that it logged so far."""
        raise NotImplementedError

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer over HTTP; status 0 if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=READ_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @property
    def ready(self) -> bool:
        """Whether it has partitions, and all its lanes are at work."""
        return self.get("/readyz")[0] == 200

    def waits_for(self, service: str) -> bool:
        """Whether it is not ready, and `kafka` or `redis` is named as the reason."""
        status, reason = self.get("/readyz")
        return status == 503 and f"{service}: " in reason

    def until(self, true: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
        """Returns when it holds."""
        deadline = monotonic() + seconds
        while not true():
            assert self.running, f"the worker ended before this came: {what}\n{self._last()}"
            assert monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.get('/readyz')}\n{self._last()}"
            sleep(POLL_SECONDS)

    def await_ready(self) -> None:
        """Returns when all its lanes are at work."""
        self.until(lambda: self.ready, "ready")

    def _last(self) -> str:
        return self.said()[-LAST_CHARACTERS:]
