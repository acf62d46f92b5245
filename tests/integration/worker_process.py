"""A whole worker in a process of its own: Faust, lanes, HTTP. Says its HTTP port, then works until it is ended."""

import asyncio
import logging
import sys
from signal import SIGTERM

from integration.streams import Stream, stream_of_environment
from lane_kit import Notes
from ownership_stream.app import Worker, serve
from ownership_stream.errors import OwnershipError
from ownership_stream.worker_config import Stage, WorkerConfig


async def work(stream: Stream) -> None:
    """Works until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(SIGTERM, stop.set)
    config = WorkerConfig(
        lane=stream.config(),
        brokers=stream.broker.bootstrap.split(","),
        session_seconds=2.0,
        http_port=0,
        batch_rows=50,
    )

    def started(worker: Worker) -> None:
        print(worker.http_port, flush=True)  # noqa: T201  # the test listens

    stages = [Stage(stream.step(), [stream.changes])]
    await serve(config, stages, store=stream.store(), observer=Notes(), stop=stop, started=started)


def main() -> None:
    """Exits with the code of the error that ended the worker, its line on stderr."""
    logging.basicConfig(level=logging.WARNING)
    stream, _ = stream_of_environment()
    try:
        asyncio.run(work(stream))
    except OwnershipError as error:
        print(f"ended: {error}", file=sys.stderr)  # noqa: T201  # the test listens
        sys.exit(error.exit_code)


main()
