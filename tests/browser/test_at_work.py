"""The product as people have it, in a real Chromium: the shipped worker and pages on a real Kafka and a real Redis.

The authenticating proxy is the browser's own context, which says with each request who sits before it.
"""

import shutil
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic import SecretStr

from chaos.clinic import CREATED, contact, crm_event, ehr_event
from chaos.installation import Installation, WorkerProcess
from integration.brokers import TestBroker
from integration.commands import feed, settled, working
from ownership_stream.embedded import Embedded
from ownership_stream.wire import JSON, Apply, Resolution
from source_kit import PATIENT_ROW
from web_kit import GRACE, IDA, SECRET, proxied

pytestmark = [pytest.mark.real_broker, pytest.mark.real_redis, pytest.mark.slow]
PATIENT: Final = 7
BORN: Final = 4017
"""1980-12-31 in days since 1970, as Debezium writes a date."""
CASE: Final = "a.open"


@pytest.fixture(scope="module")
def site(broker: TestBroker, embedded: Embedded) -> Iterator[Installation]:
    """An installation of its own with a worker at work, and one open case: an interface cleared a birth date."""
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server")
    said = {"pages_proxy_secret": SecretStr(SECRET), "pages_url": "http://127.0.0.1"}
    site = Installation(broker.bootstrap, embedded.redis_url, partitions=2, source_partitions=1, said=said)
    row = {**PATIENT_ROW, "patient_id": PATIENT, "crm_id": contact(PATIENT), "birth_date": BORN}
    with working(site):
        for event in (
            crm_event(0, PATIENT, CREATED, "CREATE"),
            ehr_event(PATIENT, {**row, "updated_by": "nurse/2"}, "c", 1),
            ehr_event(PATIENT, {**row, "birth_date": None, "updated_by": "interface/1"}, "u", 2),
        ):
            # The two topics are in no order between them.
            feed(site, [event])
            settled(site)
        yield site


@pytest.fixture(scope="module")
def pages(site: Installation) -> Iterator[WorkerProcess]:
    """Its pages, as the command serves them."""
    one = site.pages()
    try:
        one.until(lambda: one.get("/healthz")[0] == 200, "pages")
        yield one
    finally:
        one.close()


def visitor(chromium: Any, pages: WorkerProcess, who: tuple[str, str] | None) -> Any:
    """A page of somebody's browser; whom the proxy knows, it vouches for."""
    said = {} if who is None else proxied(*who)
    return chromium.new_context(base_url=f"http://127.0.0.1:{pages.port}", extra_http_headers=said).new_page()


def applied(site: Installation) -> list[Apply]:
    """What the EHR was sent."""
    return [JSON.read_apply(one.value() or b"") for one in site.records(site.settings.topic_apply("ehr"))]


def answers(site: Installation) -> list[Resolution]:
    """What people asked, and how it was answered."""
    found = site.records(site.settings.topic_resolutions)
    return [one for one in (JSON.read_resolution(message.value() or b"") for message in found) if one.action]


def test_a_case_is_found_read_and_decided_and_kafka_has_what_follows(
    chromium: Any, site: Installation, pages: WorkerProcess
) -> None:
    """Nobody gets in unknown; who is not the owner is refused; the owner decides, and the EHR is sent the value."""
    stranger = visitor(chromium, pages, None)
    assert 401 == stranger.goto("/").status
    stranger.get_by_role("heading", name="Nobody vouches for you").wait_for()

    ida = visitor(chromium, pages, IDA)
    ida.goto("/")
    ida.get_by_role("heading", name="What waits for Clinical Ops").wait_for()
    ida.get_by_label("Field").select_option("date_of_birth")
    ida.get_by_role("button", name="Show").click()
    ida.locator(CASE).click()
    ida.get_by_role("heading", name="Date of birth").wait_for()
    assert "1980-12-31" not in ida.content()
    ida.get_by_role("button", name="Show the values").click()
    ida.get_by_text("1980-12-31").first.wait_for()

    # Somebody whom the page offers no form sends the owner's, with a ticket of their own.
    grace = visitor(chromium, pages, GRACE)
    grace.goto(ida.locator(".path a.hash").get_attribute("href").removesuffix("/record"))
    grace.get_by_text("Only Clinical Ops, or who is above in the chain, decides this case.").wait_for()
    edition = ida.locator('form.decide input[name="edition"]').input_value()
    with grace.expect_navigation():
        grace.locator("form[action$='/comment']").evaluate(FORGE, edition)
    grace.get_by_role("heading", name="Not done: refused (not the owner)").wait_for()

    before = len(applied(site))
    ida.locator('input[value="keep"]').check()
    ida.get_by_label("Why").fill("the interface lost it")
    ida.get_by_role("button", name="Decide").click()
    ida.get_by_role("heading", name="Done: kept").wait_for()
    settled(site)
    [sent] = applied(site)[before:]
    assert ("change", contact(PATIENT)) == (sent.sync.kind, sent.sync.record_id)
    assert BORN == sent.after["birth_date"]
    assert [
        ("reveal", IDA[0], "revealed", ""),
        ("keep", GRACE[0], "refused", "not_the_owner"),
        ("keep", IDA[0], "kept", ""),
    ] == [(one.action, one.actor, one.outcome, one.answer) for one in answers(site)]


FORGE: Final = """(form, edition) => {
  form.action = form.action.replace(/[/]comment$/, "");
  form.querySelector("[name=comment]").remove();
  for (const [name, value] of [["action", "keep"], ["reason", "mine"], ["edition", edition]]) {
    const input = document.createElement("input");
    input.name = name;
    input.value = value;
    form.append(input);
  }
  form.submit();
}"""
