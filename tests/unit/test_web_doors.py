"""Who is let in to the pages, and who is not: secrets, tokens, roles, tickets, and how often one may fail."""

import base64
import hashlib
from pathlib import Path

import pytest
from multidict import CIMultiDict

from ownership_stream.errors import BadInputError
from ownership_stream.web.actors import READER, roles_of
from ownership_stream.web.doors import SECRET_HEADER, doors_of
from ownership_stream.web.guard import POLICY
from ownership_stream.web.limits import FAILURES, Failures
from ownership_stream.web.tickets import LIFE_SECONDS, Tickets
from source_kit import MATRIX
from step_kit import DecideLane
from web_kit import IDA, SECRET, URL, Visitors, office_on, proxied, served, settings

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of two tokens: one decides, one reads."""
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in (TOKEN, TOKEN[::-1])]
    file = tmp_path / "tokens.toml"
    file.write_text(
        f'[[token]]\nname = "the intake app"\nroles = ["clinical_ops"]\nsha256 = "{hashes[0]}"\n'
        f'[[token]]\nname = "the wall screen"\nroles = ["reader"]\nsha256 = "{hashes[1]}"\n'
    )
    return file


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            {"pages_proxy_secret": None, "pages_url": None},
            (
                "pages are served to nobody who was not let in: set `pages_proxy_secret` or `pages_tokens_path` "
                "(docs/pages.md)"
            ),
        ),
        ({"hash_key": None}, "pages need the setting `hash_key`: cases have editions and records names by it"),
        (
            {"pages_groups": {"leads": "clinical_op"}},
            (
                "`pages_groups` gives group `leads` the role `clinical_op`: there are `clinical_ops`, `growth_ops`, "
                "`medical_lead`, `reader`, `support_lead`"
            ),
        ),
        (
            {"pages_tokens_path": "/nowhere/tokens"},
            "token file `/nowhere/tokens` cannot be read: No such file or directory",
        ),
    ],
)
def test_the_pages_are_closed_unless_somebody_can_be_let_in(said: dict[str, object], line: str) -> None:
    """Without a door that can be used nothing is served, and one line says what to set."""
    with pytest.raises(BadInputError) as caught:
        doors_of(settings(**said), MATRIX)
    assert [line] == list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x = 1", "holds tables `[[token]]` and nothing else"),
        ("x", "is not TOML"),
        ('[[token]]\nname = "a"\nroles = ["reader"]', "token 1: it has `name`, `roles` and `sha256`, and nothing else"),
        (f'[[token]]\nname = " "\nroles = ["reader"]\nsha256 = "{"0" * 64}"', "token 1: `name` says who holds it"),
        (f'[[token]]\nname = "a"\nroles = ["boss"]\nsha256 = "{"0" * 64}"', "token 1: `roles` is a list: there are"),
        ('[[token]]\nname = "a"\nroles = ["reader"]\nsha256 = "secret"', "64 hex digits, never the token itself"),
        (
            f'[[token]]\nname = "a"\nroles = ["reader"]\nsha256 = "{"0" * 64}"\n' * 2,
            "token 2: its `sha256` was there before",
        ),
    ],
)
def test_a_token_file_that_is_wrong_is_refused_without_what_stands_in_it(tmp_path: Path, text: str, wrong: str) -> None:
    """With the number of the token; a secret that was written there by mistake is not said."""
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    with pytest.raises(BadInputError) as caught:
        doors_of(settings(pages_tokens_path=file), MATRIX)
    assert wrong in "\n".join(caught.value.problems)
    assert "secret" not in "\n".join(caught.value.problems)


def test_groups_give_roles_by_the_setting_or_by_their_own_names() -> None:
    """What means nothing here gives nothing, and a mapped installation knows no other groups."""
    known = {"clinical_ops", READER}
    assert ("clinical_ops",) == roles_of(["staff", "clinical_ops", "clinical_ops"], {}, known)
    assert (READER, "clinical_ops") == roles_of(["audit", "leads"], {"audit": READER, "leads": "clinical_ops"}, known)
    assert () == roles_of(["clinical_ops"], {"leads": "clinical_ops"}, known)


@pytest.fixture
def visit() -> object:
    """The pages over an empty queue."""
    with served(office_on(DecideLane())) as visitors:
        yield visitors


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param(
            {"X-Forwarded-Email": "a@b", "X-Forwarded-Groups": "clinical_ops"}, id="a name without the secret"
        ),
        pytest.param(proxied(*IDA, secret=SECRET[:-1]), id="a secret cut short"),
        pytest.param(proxied(*IDA, secret=""), id="an empty secret"),
        pytest.param(proxied("", "clinical_ops"), id="no name"),
        pytest.param(proxied("a" * 201, "clinical_ops"), id="a name too long"),
        pytest.param({"Authorization": f"Bearer {TOKEN}"}, id="a token where there are none"),
        pytest.param({"Authorization": "Basic !"}, id="no basic credentials"),
        pytest.param({"Cookie": "demo-person=clinical_ops"}, id="the demo's cookie"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/matrix", "/cases/x:email", "/v1/conflicts", "/v1/openapi.json", "/nowhere"])
def test_nobody_sees_anything_who_was_not_let_in(visit: Visitors, headers: dict[str, str], path: str) -> None:
    """Not even which addresses there are."""
    answer = visit(None).ask("GET", path, headers=headers)
    assert 401 == answer.status
    assert not [word for word in ("Patient", "clinical_ops", "Growth Ops", "/matrix") if word in answer.text]


def test_who_is_known_and_has_no_role_is_told_so(visit: Visitors) -> None:
    """403: the proxy may let in people whom we do not."""
    assert 403 == visit(("a@b", "staff,everybody")).get("/").status


def test_the_secret_may_come_as_the_password_of_basic_credentials(visit: Visitors) -> None:
    """As oauth2-proxy's own setting sends it."""
    basic = base64.b64encode(f"whoever:{SECRET}".encode()).decode()
    said = {"Authorization": f"Basic {basic}", "X-Forwarded-Email": "a@b", "X-Forwarded-Groups": "clinical_ops"}
    assert 200 == visit(None).ask("GET", "/", headers=said).status


def test_every_answer_says_what_browsers_may_do_with_it(visit: Visitors) -> None:
    """No script or style but our files, no frame, nothing kept; also of an error."""
    for answer in (visit().get("/"), visit().get("/nowhere"), visit(None).get("/"), visit().get("/v1/matrix")):
        assert POLICY == answer.headers["Content-Security-Policy"]
        assert "unsafe" not in POLICY
        assert "no-store" == answer.headers["Cache-Control"]
        assert ("nosniff", "DENY") == (answer.headers["X-Content-Type-Options"], answer.headers["X-Frame-Options"])
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_the_files_and_the_health_page_are_there_for_everybody(visit: Visitors) -> None:
    """And tell nothing of anybody."""
    assert "alive\n" == visit(None).get("/healthz").text
    assert [200, 200, 200] == [
        visit(None).get(f"/static/{name}").status for name in ("pages.css", "pages.js", "icon.svg")
    ]
    assert not [name for name in ("nothing.css", "") if visit(None).get(f"/static/{name}").status not in (403, 404)]


def test_who_fails_too_often_waits(visit: Visitors) -> None:
    """429 with how long; at the one door only, since others may come from the same address."""
    bad = visit(None)
    found = [bad.get("/", Authorization=f"Bearer {number}").status for number in range(FAILURES + 1)]
    assert [401] * (FAILURES + 1) == found, "no token was tried: there is no door for them"
    bad.headers = proxied(*IDA, secret="wrong")
    found = [bad.get("/").status for _ in range(FAILURES + 1)]
    assert [401] * FAILURES + [429] == found
    assert 0 < int(bad.get("/").headers["Retry-After"]) <= 60


def test_failures_are_forgotten_after_a_while() -> None:
    """And one peer's are none of another's."""
    failures = Failures(most=2, seconds=10)
    failures.add("a", 1.0)
    assert 0 == failures.wait("a", 1.0)
    failures.add("a", 3.0)
    assert [8.0, 0.0] == [failures.wait("a", 3.0), failures.wait("b", 3.0)]
    assert 0 == failures.wait("a", 11.0)


def test_tokens_let_programs_in_by_their_hash(tokens: Path) -> None:
    """The file has no token; a token that is in no file is nobody's."""
    assert TOKEN not in tokens.read_text()
    with served(office_on(DecideLane(), pages_tokens_path=tokens)) as visit:
        nobody = visit(None)
        assert 200 == nobody.get("/v1/conflicts", Authorization=f"Bearer {TOKEN}").status
        assert 401 == nobody.get("/v1/conflicts", Authorization=f"Bearer {TOKEN}0").status
        assert 200 == nobody.get("/", Authorization=f"bearer {TOKEN[::-1]}").status


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"Origin": "https://evil.example"}, id="from another site"),
        pytest.param({"Origin": "null"}, id="from a sandbox"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="from another site, says the browser"),
        pytest.param({"ticket": ""}, id="without a ticket"),
        pytest.param({"ticket": "ffffffff.00"}, id="with a ticket of one's own making"),
        pytest.param({"ticket": "of another"}, id="with somebody else's ticket"),
    ],
)
def test_what_another_site_makes_a_browser_send_is_refused(visit: Visitors, change: dict[str, str]) -> None:
    """The browser vouches for the person all the same: ticket and origin do not."""
    other = visit(("omar@clinic.example", "medical_lead")).get("/record").hidden("ticket")
    ticket = {"of another": other}.get(change.get("ticket", ""), change.get("ticket"))
    form = {"record": "nobody"} | ({} if ticket is None else {"ticket": ticket})
    headers = {name: value for name, value in change.items() if name != "ticket"}
    assert 403 == visit().post("/record", form, **headers).status
    assert 404 == visit().post("/record", {"record": "nobody"}).status


def test_a_form_from_nowhere_is_refused(visit: Visitors) -> None:
    """Browsers say where a form comes from."""
    ida = visit()
    form = {"record": "nobody", "ticket": ida.get("/record").hidden("ticket")}
    assert 403 == ida.ask("POST", "/record", data=form, headers={}).status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": URL}, 404),
        ({}, 404),
    ],
)
def test_the_api_takes_only_what_no_foreign_form_can_send(
    visit: Visitors, headers: dict[str, str], status: int
) -> None:
    """JSON, and from nowhere else where the browser says from where."""
    assert status == visit().send("/v1/record", {"record": "nobody"}, **headers).status


def test_a_ticket_is_one_actors_and_ends() -> None:
    """And another key makes others."""
    tickets = Tickets(b"key")
    ticket = tickets.make("Ida", 1000.0)
    assert tickets.holds(ticket, "Ida", 1000.0 + LIFE_SECONDS - 1)
    assert not tickets.holds(ticket, "Ida", 1000.0 + LIFE_SECONDS + 1)
    assert not tickets.holds(ticket, "Omar", 1000.0)
    assert not Tickets(b"other").holds(ticket, "Ida", 1000.0)
    assert not [bad for bad in ("", ".", "zz.00", f"f{ticket}", ticket.upper()) if tickets.holds(bad, "Ida", 1000.0)]


def test_headers_that_come_twice_are_refused(visit: Visitors) -> None:
    """The second may be somebody else's, put in before the proxy."""
    twice = CIMultiDict(proxied(*IDA))
    twice.add(SECRET_HEADER, "another")
    names = CIMultiDict(proxied(*IDA))
    names.add("X-Forwarded-Email", "boss@clinic.example")
    assert [401, 401] == [visit(None).ask("GET", "/", headers=said).status for said in (twice, names)]
