"""What people ask on the pages and by the API, answered by a lane on an embedded broker."""

import json

import pytest

from kept_kit import Kept
from logging_kit import logged
from ownership_stream.embedded import Embedded
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import JSON
from queue_kit import BEN, CIM, DOB, PLAN, at_work, case_of, queue
from step_kit import DecideLane, row
from web_kit import IDA, OMAR, RITA, visited, with_pages


@pytest.fixture
def kept(servers: Embedded) -> Kept:
    """An application of its own, with pages."""
    return with_pages(servers)


def path_of(lane: DecideLane, record: str) -> str:
    """Where a record's one case is."""
    return f"/cases/{case_of(lane, record)}"


def changes(kept: Kept, number: int) -> list[dict[str, object]]:
    """The asks on the log after the seven changes that opened the cases, as JSON."""
    found = [JSON.read_change(message.value() or b"") for message in kept.read(kept.settings.topic_changes, 7 + number)]
    return [{"actor": one.actor, "role": one.role, "reason": one.reason, "action": one.ask.action, "record": one.record}
            for one in found if one.ask is not None]  # fmt: skip


# ------------------------------------------------------------------------------------------------ on the pages


def test_a_case_is_decided_on_its_page(kept: Kept) -> None:
    """In the decider's name and role, answered by the lane; the queue is one shorter then."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, CIM)
        edition = visit(OMAR).get(path).hidden("edition")
        page = visit(OMAR).post(path, {"action": "keep", "reason": "mistyped", "edition": edition})
        assert 200 == page.status
        assert "Done: kept" in page.words
        assert {} == lane.state(CIM).cases
        assert [
            {"actor": OMAR[0], "role": "medical_lead", "reason": "mistyped", "action": "keep", "record": CIM}
        ] == changes(kept, 1)
        assert 404 == visit(OMAR).get(path).status
        assert "Nothing waits here." in visit(OMAR).get("/").words


def test_a_value_that_is_set_is_the_current_one(kept: Kept) -> None:
    """Parts that were left blank stay; white space is the field's own matter."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, CIM)
        form = {"action": "set", "value.dose": " 750  mg ", "value.drug": "", "reason": "Dr. Roe"}
        page = visit(OMAR).post(path, {**form, "edition": visit(OMAR).get(path).hidden("edition")})
        assert "Done: set" in page.words
        assert {**PLAN, "dose": "750 mg"} == lane.state(CIM).fields["medication_plan"].value
        ben = path_of(lane, BEN)
        form = {"action": "accept:crm", "reason": "asked", "edition": visit(IDA).get(ben).hidden("edition")}
        assert "Not done: refused (not offered)" in visit(IDA).post(ben, form).words, "the CRM shows what is current"


def test_a_case_that_changes_between_reading_and_deciding_is_shown_again(kept: Kept) -> None:
    """First as the lane finds it, which alone is certain, then as our own look does; nothing is decided by either."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, CIM)
        edition = visit(OMAR).get(path).hidden("edition")
        # The store is not told yet: only the lane knows.
        lane.decide(row(CIM, 2, "ehr", {"medication_plan": {**PLAN, "dose": "900 mg"}}, "nurse"))
        page = visit(OMAR).post(path, {"action": "keep", "reason": "first", "edition": edition})
        assert 409 == page.status
        assert "The case changed while you read it" in page.words
        again = visit(OMAR).post(path, {"action": "keep", "reason": "second", "edition": edition})
        assert 409 == again.status
        assert path == path_of(lane, CIM)
        done = visit(OMAR).post(path, {"action": "keep", "reason": "third", "edition": again.hidden("edition")})
        assert "Done: kept" in done.words
        assert ["first", "third"] == [one["reason"] for one in changes(kept, 2)], (
            "the second was old before it was asked"
        )


def test_a_decision_by_role_is_refused_with_its_words(kept: Kept) -> None:
    """By the lane, which writes it down; the page offers no form."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, CIM)
        edition = visit(OMAR).get(path).hidden("edition")
        page = visit(IDA).post(path, {"action": "keep", "reason": "r", "edition": edition})
        assert 403 == page.status
        assert "Not done: refused (not the owner)" in page.words
        assert path == path_of(lane, CIM)


def test_values_are_shown_on_request_and_that_is_written_down(kept: Kept) -> None:
    """With the actor, the record's hash and the field: in the log of changes and in ours, and never the values."""
    lane = queue(kept)
    with logged() as lines, visited(kept) as visit:
        page = visit(OMAR).post(f"{path_of(lane, CIM)}/reveal")
        assert "850 mg" in page.words
        assert [(OMAR[0], "reveal", CIM)] == [(one["actor"], one["action"], one["record"]) for one in changes(kept, 1)]
        record = visit(OMAR).post(f"{path_of(lane, CIM)}/record")
        assert "metformin" in record.words
        by_id = visit(IDA).post("/record", {"record": BEN, "reveal": "yes"})
        assert DOB in by_id.words
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    key = hash_key(kept.settings.hash_key)
    shown = [(one["actor"], one["record"], one["field"]) for one in told if one["event"] == "values_revealed"]
    assert (OMAR[0], hash_id(key, CIM), "medication_plan") == shown[0]
    assert (IDA[0], hash_id(key, BEN), "date_of_birth") in shown
    assert not [word for word in ("850 mg", "500 mg", "metformin", DOB, BEN, CIM) if word in lines.getvalue()]


def test_a_case_is_assigned_and_commented(kept: Kept) -> None:
    """Both answered by the lane; anybody who decides something may say something."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, CIM)
        assert "Done: assigned" in visit(OMAR).post(f"{path}/assign", {"to": "Dr. Roe"}).words
        assert {"medication_plan": "Dr. Roe"} == lane.state(CIM).assigned
        assert "Dr. Roe" in visit(OMAR).get("/").words
        assert "Done: commented" in visit(IDA).post(f"{path}/comment", {"comment": "called the ward"}).words
        assert "Not done: refused (reason required)" in visit(IDA).post(f"{path}/comment", {"comment": " "}).words


def test_what_was_decided_is_told_without_values(kept: Kept) -> None:
    """Who, what, when and why, by people or by the matrix too: on a page, and for programs."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        path = path_of(lane, BEN)
        form = {"action": "set", "value": "1981-02-03", "reason": "passport seen"}
        visit(IDA).post(path, {**form, "edition": visit(IDA).get(path).hidden("edition")})
        visit(OMAR).post(f"{path_of(lane, CIM)}/comment", {"comment": "called the ward"})
        page = visit(RITA).get("/decided")
        assert "passport seen" in page.words
        assert "called the ward" in page.words
        assert f"{IDA[0]} Clinical Ops" in page.words
        assert not [word for word in ("1981", DOB, BEN, CIM) if word in page.text]
        found = visit(RITA).get("/v1/resolutions?people=yes&limit=1").json()["resolutions"]
        assert [(OMAR[0], "commented", "called the ward")] == [
            (one["actor"], one["outcome"], one["why"]) for one in found
        ]


def test_where_nobody_answers_it_is_said_that_it_is_written(kept: Kept) -> None:
    """202: a worker that comes back decides it."""
    lane = queue(kept)
    with visited(kept, wait_seconds=0.2) as visit:
        path = path_of(lane, CIM)
        edition = visit(OMAR).get(path).hidden("edition")
        page = visit(OMAR).post(path, {"action": "keep", "reason": "r", "edition": edition})
    assert 202 == page.status
    assert "decided as soon as a worker gets there" in page.words


# ------------------------------------------------------------------------------------------------ by the API


def test_programs_decide_as_people_do(kept: Kept) -> None:
    """A dry run first; then the answer, and its status."""
    with at_work(kept, queue(kept)) as lane, visited(kept) as visit:
        omar, case = visit(OMAR), case_of(lane, CIM)
        edition = omar.get(f"/v1/conflicts/{case}").json()["edition"]
        ask = {"case": case, "action": "keep", "reason": "mistyped", "edition": edition}
        plan = omar.send("/v1/resolutions", {**ask, "dry_run": True})
        assert (200, "kept", {"ehr": "change"}) == (plan.status, plan.json()["outcome"], plan.json()["sends"])
        assert case == case_of(lane, CIM), "nothing was asked"
        assert (409, "changed meanwhile") == _ended(omar.send("/v1/resolutions", {**ask, "edition": "0" * 16}))
        assert (403, "refused") == _ended(visit(IDA).send("/v1/resolutions", ask))
        assert (422, "refused") == _ended(omar.send("/v1/resolutions", {**ask, "reason": ""}))
        assert 403 == visit(RITA).send("/v1/resolutions", ask).status
        assert 400 == omar.send("/v1/resolutions", {**ask, "edition": ""}).status
        assert (200, "kept") == _ended(omar.send("/v1/resolutions", ask))
        assert 404 == omar.send("/v1/resolutions", ask).status


def test_programs_see_values_only_where_that_is_written_down(kept: Kept) -> None:
    """Of a case and of a record."""
    lane = queue(kept)
    with visited(kept) as visit:
        omar, case = visit(OMAR), case_of(lane, CIM)
        assert "•••" == omar.get(f"/v1/conflicts/{case}").json()["current"]["dose"]
        assert "500 mg" == omar.send(f"/v1/conflicts/{case}/reveal", {}).json()["current"]["dose"]
        masked = omar.send("/v1/record", {"record": CIM}).json()
        assert {"•••"} == {one["value"] for one in masked["fields"]}
        whole = omar.send("/v1/record", {"record": CIM, "reveal": True}).json()
        assert "500 mg" in json.dumps(whole)
        assert ["reveal", "reveal"] == [one["action"] for one in changes(kept, 2)]
        assert 403 == visit(RITA).send(f"/v1/conflicts/{case}/reveal", {}).status
        assert 403 == visit(RITA).send("/v1/record", {"record": CIM, "reveal": True}).status


def _ended(answer: object) -> tuple[int, str]:
    assert hasattr(answer, "status")
    assert hasattr(answer, "json")
    return answer.status, answer.json()["outcome"]
