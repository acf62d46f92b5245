"""The pages as browsers and programs meet them, on states in memory or on an embedded broker: for unit tests."""

import asyncio
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from queue import Queue
from typing import Any, NamedTuple, cast

import msgspec
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict
from pydantic import SecretStr

from kept_kit import Kept
from matrices import PATIENT
from ownership_stream.desk import Office
from ownership_stream.embedded import Embedded
from ownership_stream.identity import partition_of
from ownership_stream.lane import Broker
from ownership_stream.looking import Looker, look_by
from ownership_stream.matrix.compile import load_document
from ownership_stream.settings import Settings
from ownership_stream.store import MemoryStore, Position, key_prefix
from ownership_stream.web.actors import READER, Actor
from ownership_stream.web.doors import SECRET_HEADER, doors_of
from ownership_stream.web.limits import Failures
from ownership_stream.web.server import Server, serve
from queue_kit import begin_answers, resolutions_of
from step_kit import DecideLane

SECRET = "the proxy's secret, long enough to be one"
URL = "https://ownership.example.org"
DOCUMENT = load_document(PATIENT)
PARTITIONS = 4
IDA = ("ida@clinic.example", "clinical_ops")
OMAR = ("omar@clinic.example", "medical_lead")
GRACE = ("grace@clinic.example", "growth_ops")
RITA = ("rita@clinic.example", READER)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.text)

    @property
    def words(self) -> str:
        """The page as it is read: without marks, white space folded."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    def hidden(self, name: str) -> str:
        """A hidden field of the page's first form that has it."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found is not None, f"no field {name}"
        return unescape(found[1])


class Browser:
    """Somebody at the pages, by way of the proxy. ``who``: their name and groups."""

    def __init__(self, runner: asyncio.Runner, client: TestClient[Any, Any], who: tuple[str, str] | None) -> None:
        self._runner, self._client = runner, client
        self.headers: dict[str, str] = {} if who is None else proxied(*who)

    def get(self, path: str, **headers: str) -> Answer:
        """Look."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, *, on: str = "/record", **headers: str) -> Answer:
        """Send a form, with the ticket of the page that it is on, as a browser does."""
        page = self.get(on)
        given = {"ticket": page.hidden("ticket"), **(form or {})}
        return self.ask("POST", path, data=given, headers={"Origin": URL, **headers})

    def send(self, path: str, body: object, **headers: str) -> Answer:
        """Ask as a program does."""
        said = {"Content-Type": "application/json", **headers}
        return self.ask("POST", path, data=msgspec.json.encode(body), headers=said)

    def ask(self, method: str, path: str, *, headers: Mapping[str, str], data: Any = None) -> Answer:
        """Any request, as it is."""

        async def asked() -> Answer:
            said = CIMultiDict(self.headers)
            for name, value in headers.items():
                said.add(name, value)
            async with self._client.request(method, path, data=data, headers=said, allow_redirects=False) as response:
                return Answer(response.status, dict(response.headers), await response.text())

        return self._runner.run(asked())


def proxied(name: str, groups: str, secret: str = SECRET) -> dict[str, str]:
    """What the proxy says of somebody."""
    return {SECRET_HEADER: secret, "X-Forwarded-Email": name, "X-Forwarded-Groups": groups}


def settings(**said: Any) -> Settings:
    """The settings of these tests."""
    plain = {
        "partitions": PARTITIONS, "matrix_path": PATIENT, "sources_path": PATIENT.parent / "sources",
        "hash_key": SecretStr("a key of the tests"), "pages_proxy_secret": SecretStr(SECRET), "pages_url": URL,
    }  # fmt: skip
    return Settings(**(plain | said))


class NoBroker:
    """Kafka where nothing is asked of it but the name of a topic."""

    def topic_id(self, topic: str) -> str:
        """A name for it."""
        return f"id-of-{topic}"


def office_on(lane: DecideLane, store: MemoryStore | None = None, **said: Any) -> Office:
    """An office that sees the states of a lane, and that nobody answers."""
    given = settings(**said)
    store, broker = store or MemoryStore(), cast("Broker", NoBroker())
    by_lane: dict[int, dict[str, bytes]] = {}
    for record, state in lane.stored.items():
        by_lane.setdefault(partition_of(record, PARTITIONS), {})[record] = state
    for where, states in by_lane.items():
        prefix = key_prefix(given.app_id, broker.topic_id(given.topic_state), where)
        store.take(prefix, "lane")
        store.save(prefix, Position("lane", 0), Position("lane", 1), states)
    return Office(given, DOCUMENT.matrix, Looker(given, broker, store), broker)


@contextmanager
def served(office: Office, *, wait_seconds: float = 30.0) -> Iterator["Visitors"]:
    """The pages of an office, for as long as somebody visits them."""
    server = Server(
        office, DOCUMENT, doors_of(office.settings, DOCUMENT.matrix), url=office.settings.pages_url or "",
        wait_seconds=wait_seconds,
    )  # fmt: skip
    with asyncio.Runner() as runner:

        async def opened() -> TestClient[Any, Any]:
            client = TestClient(TestServer(server.application), cookie_jar=CookieJar(unsafe=True))
            await client.start_server()
            return client

        client = runner.run(opened())
        try:
            yield Visitors(runner, client, server)
        finally:
            runner.run(client.close())
            server.site.close()


def with_pages(servers: Embedded, **said: Any) -> Kept:
    """An application of its own on these servers, with pages and a topic of answers."""
    kept = Kept(servers)
    more = {"topic_resolutions": resolutions_of(kept), "pages_url": URL, "pages_proxy_secret": SECRET, **said}
    kept.settings = type(kept.settings).model_validate({**kept.settings.model_dump(), **more})
    begin_answers(kept)
    return kept


@contextmanager
def visited(kept: Kept, *, wait_seconds: float = 30.0) -> Iterator["Visitors"]:
    """The pages of a kept application."""
    with (
        look_by(kept.settings) as (looker, broker),
        served(Office(kept.settings, DOCUMENT.matrix, looker, broker), wait_seconds=wait_seconds) as visitors,
    ):
        yield visitors


@contextmanager
def listening(kept: Kept) -> Iterator[str]:
    """The pages of a kept application on a port of this machine, for clients of others; nobody fails too often."""
    with look_by(kept.settings) as (looker, broker):
        office = Office(kept.settings, DOCUMENT.matrix, looker, broker)
        server = Server(office, DOCUMENT, doors_of(office.settings, DOCUMENT.matrix), url=URL, wait_seconds=30.0)
        server.guard._failures = Failures(most=sys.maxsize)
        loop, stop, ports = asyncio.new_event_loop(), asyncio.Event(), Queue[int]()

        def work() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve(server, "127.0.0.1", 0, ports.put, stop))

        thread = threading.Thread(target=work, name="pages of a test")
        thread.start()
        try:
            yield f"http://127.0.0.1:{ports.get(timeout=30)}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


class Visitors:
    """Who visits."""

    def __init__(self, runner: asyncio.Runner, client: TestClient[Any, Any], server: Server) -> None:
        self._runner, self._client, self.server = runner, client, server

    def __call__(self, who: tuple[str, str] | None = IDA) -> Browser:
        """Somebody, or nobody whom the proxy knows."""
        return Browser(self._runner, self._client, who)


def actor(*roles: str) -> Actor:
    """Somebody of these roles."""
    return Actor("somebody", roles, ambient=True)
