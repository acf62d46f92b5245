"""The pages in the demo: made-up people to switch between, on this machine only.

The door of here believes a cookie, so it stands in the demo's own package: no setting opens it. It lets in only who
asks this machine by the address that the demo prints, so that no site can reach it under a name of its own.
"""

import asyncio
from itertools import cycle
from typing import Final, NamedTuple

from aiohttp import web

from ownership_stream.demo.threads import LoopThread
from ownership_stream.desk import Office
from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.web.actors import READER, Actor
from ownership_stream.web.doors import RefusedError
from ownership_stream.web.guard import form_of
from ownership_stream.web.server import Server, serve

HOST: Final = "127.0.0.1"
COOKIE: Final = "demo-person"
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 20.0
NAMES: Final = ("Ida Lindgren", "Omar Haddad", "Grace Okafor", "Sami Petrov", "Elif Castillo", "Hugo Moreau")


class DemoPerson(NamedTuple):
    """Somebody one can be."""

    key: str
    name: str
    words: str
    roles: tuple[str, ...]


def people_of(matrix: Matrix) -> list[DemoPerson]:
    """One for each escalation owner of the matrix, and one who may only read."""
    owners = zip(matrix.escalations.values(), cycle(NAMES), strict=False)
    found = [DemoPerson(one.key, name, f"decides what waits for {one.name}", (one.key,)) for one, name in owners]
    return [*found, DemoPerson(READER, "Rita Vega", "may read: sees no values and decides nothing", (READER,))]


class DemoDoor:
    """Lets everybody in as whom they chose to be, and who chose nobody as the one who may only read."""

    def __init__(self, people: list[DemoPerson]) -> None:
        self._people = {person.key: person for person in people}
        self.address = ""

    def let_in(self, request: web.BaseRequest) -> Actor | None:
        """See ``Door``."""
        if request.host != self.address:
            raise RefusedError("the demo is asked by another name than its own")
        person = self._people.get(request.cookies.get(COOKIE, ""), self._people[READER])
        return Actor(person.name, person.roles, ambient=True)

    def knows(self, key: str) -> bool:
        """Whether there is such a person."""
        return key in self._people


class PagesThread(LoopThread):
    """The pages on an event loop of their own."""

    def __init__(self, office: Office, document: MatrixDocument) -> None:
        super().__init__("pages", start_seconds=START_SECONDS, stop_seconds=STOP_SECONDS)
        self._people = people_of(office.matrix)
        self._door = DemoDoor(self._people)
        more = [web.get("/people", self._choose), web.post("/people", self._become)]
        self._server = Server(office, document, [self._door], demo=True, more=more)
        self.url = ""

    async def _serve(self, stop: asyncio.Event) -> None:
        await serve(self._server, HOST, 0, self._tell, stop)

    def _tell(self, port: int) -> None:
        self._door.address = f"{HOST}:{port}"
        self.url = self._server.guard.url = f"http://{HOST}:{port}"
        self._started.set()

    async def _choose(self, request: web.Request) -> web.Response:
        """Whom one can be."""
        return self._server.site.page(request, "people.html", people=self._people)

    async def _become(self, request: web.Request) -> web.Response:
        """From now on this browser is somebody else."""
        person = (await form_of(request)).get("person", "")
        if not self._door.knows(person):
            raise web.HTTPNotFound(reason="nobody of the demo has that name")
        response = web.Response(status=303, headers={"Location": "/"})
        # No `secure`: the demo is on this machine and has no certificate.
        response.set_cookie(COOKIE, person, httponly=True, samesite="Strict", path="/")
        return response
