"""What all handlers work with: the work in threads, the templates, the tickets of forms."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from aiohttp import web

from ownership_stream.web.guard import ACTOR, Guard
from ownership_stream.web.rendering import Renderer
from ownership_stream.web.work import Work

THREADS: Final = 16
"""Requests that read or wait for an answer at once; others wait for a thread."""

P = ParamSpec("P")
T = TypeVar("T")


class Site:
    """Parts that live as long as the server."""

    def __init__(self, work: Work, renderer: Renderer) -> None:
        self.work = work
        self.guard: Guard  # made with this site, whose error page it shows
        self._renderer = renderer
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")

    async def run(self, call: Callable[P, T], *said: P.args, **more: P.kwargs) -> T:
        """Something that blocks, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*said, **more))

    def page(self, request: web.Request, template: str, *, status: int = 200, **said: Any) -> web.Response:
        """A page; where somebody was let in, its forms carry a ticket."""
        ticket = self.guard.ticket(request) if ACTOR in request else ""
        return self._renderer.page(request, template, {"ticket": ticket, **said}, status=status)

    def close(self) -> None:
        """Waits for what is under way."""
        self._pool.shutdown()
