"""Many cases decided alike on the pages: chosen by filters, previewed, decided as the preview showed them."""

from html import unescape
from typing import Final

import pytest

from kept_kit import Kept
from ownership_stream.embedded import Embedded
from queue_kit import ANN, BEN, CIM, PLAN, at_work, case_of, queue
from step_kit import applies_in, row
from web_kit import GRACE, OMAR, RITA, Answer, Browser, visited, with_pages

ALL: Final = "/bulk"


@pytest.fixture
def kept(servers: Embedded) -> Kept:
    """An application of its own, with pages."""
    return with_pages(servers)


def confirmed(browser: Browser, preview: Answer, form: dict[str, str]) -> Answer:
    """The form of a preview, sent as it stands."""
    [cases] = [part.split("</textarea>")[0] for part in preview.text.split('<textarea name="cases" hidden>')[1:]]
    return browser.post("/bulk/decide", {**form, "cases": unescape(cases)})


def test_the_preview_says_what_each_will_send_where_and_does_nothing(kept: Kept) -> None:
    """One that cannot be done so is named with its reason, and is not among those that are decided."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        page = visit(OMAR).get(ALL)
        assert "3 cases that you decide: all that there are." in page.words
        preview = visit(OMAR).post(ALL, {"action": "keep", "reason": "mistyped"})
        assert "2 of 3 would be done as asked" in preview.words
        assert "kept EHR" in preview.words
        assert "refused" in preview.words
        assert lane.state(CIM).cases
        assert lane.state(BEN).cases


def test_what_the_preview_showed_is_decided_by_events_of_its_own_each(kept: Kept) -> None:
    """Both systems follow, and what was refused in the preview stays open."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        form, before = {"action": "keep", "reason": "mistyped"}, len(lane.outputs)
        page = confirmed(visit(OMAR), visit(OMAR).post(ALL, form), form)
        assert "2 of 2 done" in page.words
        assert ({}, {}) == (lane.state(CIM).cases, lane.state(BEN).cases)
        assert case_of(lane, ANN)
        assert {BEN, CIM} == {one.sync.record_id for one in applies_in(lane.outputs[before:], "ehr")}


def test_a_case_that_changed_since_the_preview_is_left_alone(kept: Kept) -> None:
    """And the others are decided; one that closed meanwhile is said so."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        form = {"action": "keep", "reason": "mistyped"}
        preview = visit(OMAR).post(ALL, form)
        lane.decide(row(CIM, 2, "ehr", {"medication_plan": {**PLAN, "dose": "900 mg"}}, "nurse"))
        page = confirmed(visit(OMAR), preview, form)
        assert "1 of 2 done" in page.words
        assert "changed meanwhile" in page.words
        assert case_of(lane, CIM)
        again = confirmed(visit(OMAR), preview, form)
        assert "0 of 2 done" in again.words
        assert "closed meanwhile" in again.words


def test_filters_choose_and_a_value_is_set_in_all_of_them(kept: Kept) -> None:
    """Only where one field is chosen is there a value to set; nothing else is touched."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        assert 'value="set"' not in visit(OMAR).get(ALL).text
        chosen = visit(OMAR).get(f"{ALL}?field=date_of_birth")
        assert "1 case that you decide: of “Date of birth”." in chosen.words
        form = {"of.field": "date_of_birth", "action": "set", "value": "1980-02-01", "reason": "birth certificate"}
        preview = visit(OMAR).post(ALL, form)
        assert "1 of 1 would be done" in preview.words
        assert "1 of 1 done" in confirmed(visit(OMAR), preview, form).words
        assert "1980-02-01" == lane.state(BEN).fields["date_of_birth"].value
        assert case_of(lane, CIM)


def test_many_are_given_to_somebody(kept: Kept) -> None:
    """Each keeps its owner."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        form = {"action": "assign", "to": "omar"}
        assert "3 of 3 done" in confirmed(visit(OMAR), visit(OMAR).post(ALL, form), form).words
        assert ["omar"] * 3 == [who for record in (ANN, BEN, CIM) for who in lane.state(record).assigned.values()]


def test_only_cases_of_one_s_own_are_chosen(kept: Kept) -> None:
    """Who may only read chooses none at all."""
    queue(kept)
    with visited(kept) as visit:
        assert "1 case that you decide" in visit(GRACE).get(ALL).words
        assert "No case that you decide" in visit(GRACE).get(f"{ALL}?owner=medical_lead").words
        assert 403 == visit(RITA).get(ALL).status
        assert 403 == visit(RITA).post(ALL, {"action": "keep"}).status


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "Choose one of the answers"),
        ({"action": "keep", "reason": "x" * 2001}, "is longer than 2000 characters"),
        ({"action": "set", "of.field": "date_of_birth", "value": "soon"}, "That is no value of “Date of birth”"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_form(kept: Kept, form: dict[str, str], words: str) -> None:
    """422, and nothing was asked."""
    queue(kept)
    with visited(kept) as visit:
        page = visit(OMAR).post(ALL, form)
        assert 422 == page.status
        assert words in page.words


@pytest.mark.parametrize("cases", ["", "x", "\n".join(["e c"] * 101)])
def test_a_form_that_names_no_cases_is_none_of_ours(kept: Kept, cases: str) -> None:
    """400."""
    queue(kept)
    with visited(kept) as visit:
        assert 400 == visit(OMAR).post("/bulk/decide", {"action": "keep", "cases": cases}).status
