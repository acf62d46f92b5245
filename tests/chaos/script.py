"""What the scripts of the harness share: real servers or exit code 4, and lines on the terminal."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.run import Brokers
from integration.brokers import chosen_broker
from ownership_stream.errors import ExitCode


@contextmanager
def shared_broker() -> Iterator[Brokers]:
    """A real broker for all runs of a script; ends the script where there is none, or no redis-server."""
    with ExitStack() as exits:
        broker = exits.enter_context(chosen_broker())
        if not broker.real or shutil.which("redis-server") is None:
            say("a real Kafka (Docker, or Java and Maven) and a redis-server are needed")
            sys.exit(ExitCode.UNAVAILABLE)
        yield broker


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)  # noqa: T201  # a script, and this is what it is for
