"""Pages and API as one server: which handlers, behind which guard, with which files beside them."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from ownership_stream.desk import Office
from ownership_stream.errors import BadInputError
from ownership_stream.looking import look_by
from ownership_stream.matrix.compile import MatrixDocument, load_document
from ownership_stream.settings import Settings
from ownership_stream.sources import bound, load_all
from ownership_stream.telemetry import HashedId, get_logger
from ownership_stream.web.api import Api, problem
from ownership_stream.web.bulk import BulkPages
from ownership_stream.web.doors import Door, doors_of
from ownership_stream.web.guard import API, Guard
from ownership_stream.web.matrix_pages import MatrixPages
from ownership_stream.web.pages import Pages
from ownership_stream.web.rendering import Renderer
from ownership_stream.web.site import Site
from ownership_stream.web.tickets import Tickets
from ownership_stream.web.work import Work

STATIC: Final = Path(__file__).parent / "static"
LARGEST: Final = 64 * 1024
"""Bytes of a request: forms are small."""
STOP_SECONDS: Final = 15.0


class Server:
    """One server over an office. ``more``: routes of somebody else's, behind the same guard."""

    def __init__(
        self,
        office: Office,
        document: MatrixDocument,
        doors: Sequence[Door],
        *,
        url: str = "",
        demo: bool = False,
        more: Sequence[web.RouteDef] = (),
        wait_seconds: float = 10.0,
    ) -> None:
        log = get_logger("pages")
        self.site = Site(Work(office, _tells(log.info), wait_seconds=wait_seconds), Renderer(office.matrix, demo=demo))
        if office.key is None:
            raise ValueError("tickets and editions are made with a key")
        self.guard = Guard(doors, Tickets(office.key), self._error_page, _warns(log), url)
        self.site.guard = self.guard
        self.application = web.Application(middlewares=self.guard.middlewares(), client_max_size=LARGEST)
        self.application.add_routes([
            *Pages(self.site).routes(),
            *BulkPages(self.site).routes(),
            *MatrixPages(self.site, document).routes(),
            *Api(self.site, document).routes(),
            *more,
            web.get("/healthz", _healthz),
            web.static("/static", STATIC),
        ])  # fmt: skip
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Serves from now on; returns the port, which a ``port`` of 0 leaves to the system."""
        self._runner = web.AppRunner(self.application, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise BadInputError(f"pages cannot be served on `{host}:{port}`: {error.strerror}") from None
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Ends what is under way and serves no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        self.site.close()

    def _error_page(self, request: web.Request, status: int, text: str) -> web.Response:
        if request.path.startswith(API):
            return problem(status, text)
        return self.site.page(request, "error.html", status=status, code=status, text=text)


async def _healthz(_: web.Request) -> web.Response:
    """The process answers; of anything else it says nothing."""
    return web.Response(text="alive\n")


def _tells(info: Callable[..., None]) -> Callable[[str, HashedId, dict[str, Any]], None]:
    return lambda event, record, words: info(event, record=record, **words)


def _warns(log: Any) -> Callable[[str, dict[str, Any]], None]:
    return lambda event, words: (log.error if "exc_info" in words else log.warning)(event, **words)


def run(settings: Settings, started: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT. ``started`` is told the address.

    Raises ``BadInputError`` where nobody could be let in, ``UnavailableError`` where Kafka does not answer at first.
    """
    document = _document(settings)
    doors = doors_of(settings, document.matrix)
    with look_by(settings) as (looker, broker):
        office = Office(settings, document.matrix, looker, broker)
        server = Server(office, document, doors, url=settings.pages_url or "")
        asyncio.run(_until_told(server, settings.pages_host, settings.pages_port, started))


def _document(settings: Settings) -> MatrixDocument:
    """The matrix as workers decide by it: it knows where nothing can write, as the source mappings say."""
    document = load_document(settings.matrix_path)
    mappings = [one.mapping for one in load_all(settings.sources_path, document.matrix)]
    return msgspec.structs.replace(document, matrix=bound(document.matrix, mappings))


async def _until_told(server: Server, host: str, port: int, started: Callable[[str], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(server, host, port, lambda at: started(f"http://{host}:{at}"), stop)


async def serve(server: Server, host: str, port: int, started: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serves until ``stop`` is set; raises ``BadInputError`` where the address is not to be had."""
    try:
        started(await server.start(host, port))
        await stop.wait()
    finally:
        await server.close()
