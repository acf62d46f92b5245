"""What a worker answers over HTTP to those who watch it: /healthz, /readyz and /metrics.

It knows nothing of lanes: why the worker is not ready is asked of a function.
"""

from collections.abc import Callable
from typing import Protocol

from aiohttp import web


class Metrics(Protocol):
    """What /metrics shows."""

    def render(self) -> bytes:
        """The metrics in the Prometheus text format."""
        ...

    def set(self, name: str, *labels: str, value: float) -> None:
        """Sets a gauge."""
        ...


class Pages:
    """The three pages. `readiness` says in words why the worker is not ready, and nothing where it is."""

    def __init__(self, readiness: Callable[[], str], metrics: Metrics | None) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def serve(self, host: str, port: int) -> int:
        """Answers from now on; returns the port, which a `port` of 0 leaves to the system."""
        served = web.Application()
        served.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
            ]
        )
        self._runner = web.AppRunner(served, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Answers no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        """Alive: the event loop answers."""
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._readiness()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason else 200)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        body = b""
        if self._metrics is not None:
            self._metrics.set("ready", value=not self._readiness())
            body = self._metrics.render()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
