"""The demo's pages: people to switch between, and nobody from elsewhere."""

import asyncio
import http.client
import re
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from ownership_stream.demo.pages import COOKIE, PagesThread, people_of
from ownership_stream.web.actors import READER
from queue_kit import three
from source_kit import MATRIX
from step_kit import DecideLane
from web_kit import DOCUMENT, office_on


@pytest.fixture(scope="module")
def pages() -> Iterator[PagesThread]:
    """The demo's pages over three cases."""
    lane = DecideLane()
    lane.decide(*three())
    pages = PagesThread(office_on(lane, pages_proxy_secret=None, pages_url=None), DOCUMENT)
    pages.start()
    yield pages
    pages.stop()


def asked(
    pages: PagesThread, method: str, path: str, body: dict[str, str] | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body."""
    connection = http.client.HTTPConnection(urlsplit(pages.url).netloc, timeout=30)
    said = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    try:
        connection.request(method, path, urlencode(body) if body is not None else None, said | headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def test_there_is_somebody_for_each_escalation_owner_and_one_who_reads() -> None:
    """Of whatever matrix the demo runs."""
    assert [*MATRIX.escalations, READER] == [person.key for person in people_of(MATRIX)]


def test_one_becomes_somebody_by_a_form_with_a_ticket(pages: PagesThread) -> None:
    """From then on the cookie says who, and no script can read it."""
    status, _, page = asked(pages, "GET", "/people")
    assert 200 == status
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found is not None
    form = {"person": "medical_lead", "ticket": found[1]}
    assert 403 == asked(pages, "POST", "/people", form, Origin="https://evil.example")[0]
    status, headers, _ = asked(pages, "POST", "/people", form, Origin=pages.url)
    assert (303, "/") == (status, headers["Location"])
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["Set-Cookie"].split("; "))
    _, _, queue = asked(pages, "GET", "/", Cookie=f"{COOKIE}=medical_lead")
    assert "What waits for Medical Lead" in " ".join(queue.split())
    assert "may read" in asked(pages, "GET", "/", Cookie=f"{COOKIE}=boss")[2]


def test_the_demo_answers_by_its_own_address_only(pages: PagesThread) -> None:
    """A site that has its name lead to this machine gets nothing."""
    assert 401 == asked(pages, "GET", "/", Host="evil.example")[0]
    assert 200 == asked(pages, "GET", "/")[0]


def test_pages_that_cannot_start_say_so() -> None:
    """And not by a demo that hangs."""
    pages = PagesThread(office_on(DecideLane()), DOCUMENT)

    async def broken(_started: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError

    pages._serve = broken  # type: ignore[method-assign]  # what breaks
    with pytest.raises(Exception, match="the pages ended: RuntimeError"):
        pages.start()
