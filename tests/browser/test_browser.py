"""The pages in a real Chromium: sign in, find, decide; a case that changes meanwhile; a refusal; what is shown to whom.

The lane that answers is the real decide step over an embedded broker; `test_at_work.py` has the shipped processes.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kept_kit import Kept, kept_servers
from ownership_stream.demo.pages import PagesThread
from ownership_stream.desk import Office
from ownership_stream.embedded import Embedded
from ownership_stream.looking import look_by
from queue_kit import ANN, CIM, PLAN, at_work, begin_answers, case_of, queue, resolutions_of
from step_kit import DecideLane, applies_in, row
from web_kit import DOCUMENT

SHOTS = os.environ.get("OWNERSHIP_TEST_SHOTS", "")
"""Folder for pictures of the pages, where somebody wants to look at them."""
WIDTHS = {"wide": 1280, "phone": 390}
EVIL = "<script>document.title='caught'</script>"


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """One broker and one Redis for all."""
    with kept_servers() as embedded:
        yield embedded


@pytest.fixture
def lane(servers: Embedded) -> Iterator[tuple[DecideLane, str]]:
    """A lane at work with three cases, and the address of its pages."""
    kept = Kept(servers)
    kept.settings = kept.settings.model_copy(update={"topic_resolutions": resolutions_of(kept)})
    begin_answers(kept)
    with look_by(kept.settings) as (looker, broker), at_work(kept, queue(kept)) as lane:
        pages = PagesThread(Office(kept.settings, DOCUMENT.matrix, looker, broker), DOCUMENT)
        pages.start()
        yield lane, pages.url
        pages.stop()


@pytest.fixture
def page(chromium: Any, lane: tuple[DecideLane, str]) -> Iterator[Any]:
    """A page of a browser that nobody used before; whatever its console complains of fails the test."""
    context = chromium.new_context(base_url=lane[1])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [] == [line for line in complaints if "status of 4" not in line], "a page of ours breaks its own policy"


def become(page: Any, who: str) -> None:
    """Sign in."""
    page.goto("/people")
    page.locator(f'button[value="{who}"]').click()
    page.wait_for_url("**/")


def test_a_lead_signs_in_finds_decides_and_the_system_is_told(page: Any, lane: tuple[DecideLane, str]) -> None:
    """By keys alone from the queue on; the apply record is what the lane puts out."""
    decided, _ = lane
    become(page, "medical_lead")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/**")
    assert "•••" in page.locator(".compare").inner_text()
    page.get_by_role("button", name="Show the values").click()
    page.get_by_text("850 mg").first.wait_for()
    page.locator('input[value="keep"]').check()
    page.get_by_label("Why").fill("mistyped")
    page.get_by_role("button", name="Decide").click()
    page.get_by_role("heading", name="Done: kept").wait_for()
    [apply] = [one for one in applies_in(decided.outputs, "ehr") if "dose" in str(one.after)]
    assert "500 mg" in str(apply.after)
    page.goto("/")
    page.get_by_text("Nothing waits here.").wait_for()


def test_a_case_that_changes_while_it_is_read_is_shown_again(page: Any, lane: tuple[DecideLane, str]) -> None:
    """With the reason that was written already."""
    decided, _ = lane
    become(page, "medical_lead")
    page.locator("a.open").first.click()
    decided.decide(row(CIM, 2, "ehr", {"medication_plan": {**PLAN, "dose": "900 mg"}}, "nurse"))
    page.locator('input[value="keep"]').check()
    page.get_by_label("Why").fill("mistyped")
    page.get_by_role("button", name="Decide").click()
    page.get_by_role("heading", name="The case changed while you read it").wait_for()
    assert "mistyped" == page.get_by_label("Why").input_value()
    assert case_of(decided, CIM)


def test_who_is_not_the_owner_has_nothing_to_decide_by(page: Any) -> None:
    """And who may only read, nothing to see values by."""
    become(page, "growth_ops")
    page.goto("/?owner=medical_lead")
    page.locator("a.open").first.click()
    page.get_by_text("Only Medical Lead, or who is above in the chain, decides this case.").wait_for()
    assert 0 == page.locator('input[name="action"]').count()
    become(page, "reader")
    page.goto("/?owner=medical_lead")
    page.locator("a.open").first.click()
    assert 0 == page.get_by_role("button", name="Show the values").count()


def test_another_site_cannot_make_a_browser_decide(page: Any, chromium: Any, lane: tuple[DecideLane, str]) -> None:
    """A form of theirs that the browser sends with the person's cookie: the cookie does not go, and were it so, 403."""
    decided, url = lane
    become(page, "medical_lead")
    case = case_of(decided, CIM)
    hostile = page.context.new_page()
    hostile.route("https://evil.example/", lambda route: route.fulfill(content_type="text/html", body=(
        f'<form method="post" action="{url}/cases/{case}"><input name="action" value="keep"><button>win</button></form>'
    )))  # fmt: skip
    hostile.goto("https://evil.example/")
    with hostile.expect_navigation():
        hostile.locator("button").click()
    assert "Not allowed" in hostile.content()
    assert case == case_of(decided, CIM)
    assert chromium.is_connected()


def test_what_somebody_writes_is_never_run(page: Any, lane: tuple[DecideLane, str]) -> None:
    """A script as a comment, a name and a reason of ten thousand characters: text, or refused in words."""
    decided, _ = lane
    become(page, "growth_ops")
    page.locator("a.open").first.click()
    page.locator('input[name="to"]').fill(EVIL)
    page.get_by_role("button", name="Assign").click()
    page.get_by_role("heading", name="Done: assigned").wait_for()
    page.get_by_role("link", name="Back to the case").click()
    page.get_by_text(EVIL).first.wait_for()
    assert "caught" != page.title()
    assert {"care_stage": EVIL} == decided.state(ANN).assigned
    page.locator("textarea[name=reason]").evaluate(
        "box => { box.removeAttribute('maxlength'); box.value = 'x'.repeat(10000); }"
    )
    page.locator('input[name="action"]').first.check()
    page.get_by_role("button", name="Decide").click()
    page.get_by_text("is longer than 2000 characters").wait_for()


PATHS = {
    "queue": "/?owner=", "case": "/cases/c-3:medication_plan", "record": "/cases/c-3:medication_plan/record",
    "bulk": "/bulk?field=medication_plan", "matrix": "/matrix", "field": "/matrix/legal_name",
    "try": "/try?field=legal_name", "people": "/people", "lookup": "/record", "missing": "/cases/none",
}  # fmt: skip
LOOKS = [("light", "wide"), ("dark", "wide"), ("light", "phone")]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, which finds what is against WCAG. The browser's debugger runs it, which no policy of ours binds."""
    found = pytest.importorskip("axe_playwright_python", reason="the package `axe-playwright-python` is not installed")
    return (Path(found.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def judged(page: Any, axe: str, name: str, look: str) -> None:
    """Nothing sticks out at the side, and axe-core finds nothing against WCAG 2.2 AA."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}-{look}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window"
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    assert len(found["passes"]) > 5, "axe-core looked at nothing"
    assert [] == [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]], name


@pytest.mark.parametrize(("colours", "width"), LOOKS)
def test_every_page_fits_and_can_be_used_by_all(
    chromium: Any, lane: tuple[DecideLane, str], axe: str, colours: str, width: str
) -> None:
    """Each page, and what the forms of each answer: light and dark, wide and as wide as a phone."""
    context = chromium.new_context(
        base_url=lane[1], color_scheme=colours, viewport={"width": WIDTHS[width], "height": 800}
    )
    page, look = context.new_page(), f"{colours}-{width}"
    become(page, "medical_lead")
    for name, path in PATHS.items():
        page.goto(path)
        judged(page, axe, name, look)
    for name in answers_of(page):
        judged(page, axe, name, look)
    context.close()


def answers_of(page: Any) -> Iterator[str]:
    """The pages that only forms lead to, each as it is reached."""
    page.goto("/record")
    page.get_by_label("Record id").fill("nobody")
    with page.expect_navigation():
        page.get_by_role("button", name="Show").click()
    yield "lookup-missing"
    page.goto("/try?field=legal_name")
    page.get_by_label("New value").fill("family: Doe")
    with page.expect_navigation():
        page.get_by_role("button", name="Try").click()
    yield "tried"
    page.goto(PATHS["case"])
    page.get_by_role("button", name="Show the values").click()
    page.get_by_text("850 mg").first.wait_for()
    yield "case-revealed"
    page.get_by_role("button", name="Assign").click()
    page.get_by_role("heading", name="Done: assigned").wait_for()
    yield "answer"
    page.goto("/bulk")
    page.locator('input[value="keep"]').check()
    page.get_by_label("Why").fill("mistyped")
    page.get_by_role("button", name="Show what would happen").click()
    page.get_by_role("heading", name="What would happen").wait_for()
    yield "bulk-preview"
    page.get_by_role("button", name="Decide these 2").click()
    page.get_by_role("heading", name="2 of 2 done").wait_for()
    yield "bulk-answer"
    page.goto("/decided")
    yield "decided"
