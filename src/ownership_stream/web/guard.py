"""What every request goes through: headers against what browsers could be made to do, the door, and errors told alike.

Outermost first: ``headers``, ``errors``, ``admit``. A request that gets through has its actor in ``request[ACTOR]``.
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from math import ceil
from time import monotonic, time
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from ownership_stream.errors import BadInputError, OwnershipError
from ownership_stream.web.actors import Actor
from ownership_stream.web.doors import Door, NoRoleError, RefusedError, first
from ownership_stream.web.limits import Failures
from ownership_stream.web.tickets import Tickets

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ErrorPage = Callable[[web.Request, int, str], web.StreamResponse]

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers then say `Origin: null` of our own forms too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
YEAR_SECONDS: Final = 31_536_000
SAFE: Final = frozenset({"GET", "HEAD"})
OPEN: Final = ("/healthz", "/static/")
"""What is there for everybody: it tells nothing of anybody."""
API: Final = "/v1/"
TICKET: Final = "ticket"
SITES: Final = frozenset({"same-origin", "none"})


ACTOR: Final = web.RequestKey("actor", Actor)
"""Who asks; of every request but those that are open."""


class ForgedError(Exception):
    """A request that our own pages did not make."""


MEANT: Final[tuple[tuple[type[Exception], HTTPStatus], ...]] = (
    (RefusedError, HTTPStatus.UNAUTHORIZED),
    (NoRoleError, HTTPStatus.FORBIDDEN),
    (ForgedError, HTTPStatus.FORBIDDEN),
    (BadInputError, HTTPStatus.BAD_REQUEST),
    (OwnershipError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""Errors whose messages are ours and hold no values, and what they are in HTTP; the first that fits."""
KEPT: Final = (hdrs.RETRY_AFTER, hdrs.ALLOW)


class Guard:
    """The middlewares. ``url``: where people reach us; ``told``: our log (event, allowed words)."""

    def __init__(
        self,
        doors: Sequence[Door],
        tickets: Tickets,
        error_page: ErrorPage,
        told: Callable[[str, dict[str, Any]], None],
        url: str = "",
    ) -> None:
        self._doors, self._tickets, self._error_page, self._told = doors, tickets, error_page, told
        self._failures = Failures()
        self.url = url

    def middlewares(self) -> list[Any]:
        """All of them, outermost first."""
        return [self.headers, self.errors, self.admit]

    def ticket(self, request: web.Request) -> str:
        """What a form of this page carries."""
        actor = request[ACTOR]
        return self._tickets.make(actor.name, time())

    @web.middleware
    async def headers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every answer says what browsers may do with it; what is not for everybody is kept nowhere."""
        response = await handler(request)
        response.headers.update(HEADERS)
        if self.url.startswith("https://"):
            response.headers["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}"
        if not request.path.startswith(OPEN):
            response.headers["Cache-Control"] = "no-store"
        return response

    @web.middleware
    async def errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every error is a page, or a problem for programs; what is ours is told by its class and place only."""
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            response = self._error_page(request, error.status, error.reason)
            response.headers.update({name: error.headers[name] for name in KEPT if name in error.headers})
        except Exception as error:  # noqa: BLE001  # a message that is not ours could carry a value: only its class
            status = next((status for kind, status in MEANT if isinstance(error, kind)), None)
            if status is None:
                self._told("request_failed", {"exc_info": error})
                return self._error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "an internal error stopped it")
            response = self._error_page(request, status, str(error).replace("\n", "; "))
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return response

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who asks is known and may ask so, or nothing is answered."""
        if request.path.startswith(OPEN):
            return await handler(request)
        peer = request.remote or "unknown"
        # What fails at one door does not shut another: all who come by a proxy come from one address.
        tried = "token" if request.headers.get(hdrs.AUTHORIZATION, "").lower().startswith("bearer ") else "proxy"
        wait = self._failures.wait(f"{tried} {peer}", monotonic())
        if wait:
            raise web.HTTPTooManyRequests(headers={hdrs.RETRY_AFTER: str(ceil(wait))}, reason="too many failures: wait")
        try:
            actor = first(self._doors, request)
        except RefusedError as error:
            if error.door:
                self._failures.add(f"{tried} {peer}", monotonic())
                self._told("request_refused", {"reason": error.door, "host": peer})
            raise
        request[ACTOR] = actor
        if request.method not in SAFE:
            await self._not_forged(request, actor)
        return await handler(request)

    async def _not_forged(self, request: web.Request, actor: Actor) -> None:
        """What changes something comes from our own pages, or from a program that shows a token by itself."""
        if request.path.startswith(API):
            # No body needs no type, unless a browser would send it for anybody.
            if (actor.ambient or request.can_read_body) and request.content_type != "application/json":
                raise web.HTTPUnsupportedMediaType(reason="send `Content-Type: application/json`")
            good = not actor.ambient or self._from_us(request, "")
        else:
            ticket = (await form_of(request)).get(TICKET, "")
            held = self._tickets.holds(ticket, actor.name, time())
            good = held and self._from_us(request, None)
        if not good:
            self._told("request_refused", {"reason": "forged", "actor": actor.name})
            raise ForgedError("this was not sent by one of our pages, or its page is too old: load it again")

    def _from_us(self, request: web.Request, unsaid: str | None) -> bool:
        """Whether the browser says that our own page sent it. ``unsaid``: what counts where it says nothing."""
        if request.headers.get("Sec-Fetch-Site", "none") not in SITES:
            return False
        origin = request.headers.get(hdrs.ORIGIN, unsaid)
        return origin == "" or (origin is not None and origin == _origin(self.url))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def form_of(request: web.Request) -> dict[str, str]:
    """The texts that a form sent, the first of each name; raises ``BadInputError``."""
    try:
        sent = await request.post()
    except (ValueError, LookupError):  # no UTF-8, or a word for an encoding that there is not
        raise BadInputError("the form cannot be read") from None
    return {name: value for name, value in reversed(list(sent.items())) if isinstance(value, str)}
