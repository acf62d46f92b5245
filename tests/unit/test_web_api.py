"""The API as it is described: each address, each body, each answer; and the decision as a question."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ownership_stream.web.api import Api
from ownership_stream.web.openapi import OPERATIONS, document
from queue_kit import CIM, PLAN, three
from step_kit import DecideLane
from web_kit import DOCUMENT, GRACE, IDA, OMAR, RITA, Answer, Visitors, office_on, served

CASE = "c-3:medication_plan"


@pytest.fixture(scope="module")
def visit() -> Iterator[Visitors]:
    """Three cases."""
    lane = DecideLane()
    lane.decide(*three())
    with served(office_on(lane)) as visitors:
        yield visitors


def checked(answer: Answer, path: str, method: str) -> Any:
    """The body, which is as the description says of this status."""
    whole = document(DOCUMENT.matrix)
    said = whole["paths"][path][method]["responses"][str(answer.status)]["content"]
    content_type = answer.headers["Content-Type"].split(";")[0]
    schema = {**said[content_type]["schema"], "components": whole["components"]}
    Draft202012Validator(schema).validate(answer.json())
    return answer.json()


def test_every_address_is_described_and_every_description_has_an_address(visit: Visitors) -> None:
    """By method."""
    routes = {(route.method.lower(), route.path) for route in Api(visit.server.site, DOCUMENT).routes()}
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}


def test_the_description_is_one(visit: Visitors) -> None:
    """OpenAPI 3.1, its schemas sound, every reference leading somewhere; served to whoever has a role."""
    found = visit(RITA).get("/v1/openapi.json").json()
    assert "3.1.0" == found["openapi"]
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert {f"#/components/schemas/{name}" for name in schemas} >= set(_references(found))


def _references(said: object) -> Iterator[str]:
    if isinstance(said, dict):
        yield from (value for name, value in said.items() if name == "$ref")
        for value in said.values():
            yield from _references(value)
    elif isinstance(said, list):
        for value in said:
            yield from _references(value)


def test_the_queue_is_listed_page_by_page(visit: Visitors) -> None:
    """As many as asked for, and where the next begins."""
    first = checked(visit(RITA).get("/v1/conflicts?limit=2"), "/v1/conflicts", "get")
    rest = checked(visit(RITA).get(f"/v1/conflicts?limit=2&after={first['next']}"), "/v1/conflicts", "get")
    assert ["medical_lead", "clinical_ops", "growth_ops"] == [one["owner"] for one in first["cases"] + rest["cases"]]
    assert rest["next"] is None
    assert [CASE] == [one["case"] for one in visit(GRACE).get("/v1/conflicts?owner=medical_lead").json()["cases"]]
    assert {"•••", None} >= {one for case in first["cases"] for one in _values(case)}


def _values(case: dict[str, Any]) -> Iterator[str | None]:
    current = case["current"]
    yield from current.values() if isinstance(current, dict) else [current]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=١", "owner=boss", "after=1"])
def test_a_question_that_means_nothing_is_a_problem(visit: Visitors, query: str) -> None:
    """400 as a problem in the one form."""
    found = checked(visit().get(f"/v1/conflicts?{query}"), "/v1/conflicts", "get")
    assert (400, "Bad Request", "about:blank") == (found["status"], found["title"], found["type"])


def test_a_case_and_the_matrix_are_as_described(visit: Visitors) -> None:
    """With choices; the matrix at a stage."""
    found = checked(visit().get(f"/v1/conflicts/{CASE}"), "/v1/conflicts/{case}", "get")
    assert ["accept", "keep"] == [one["action"] for one in found["choices"]]
    assert 404 == checked(visit().get("/v1/conflicts/x"), "/v1/conflicts/{case}", "get")["status"]
    assert checked(visit().get("/v1/matrix?stage=in_care"), "/v1/matrix", "get")["sections"]
    assert 400 == checked(visit().get("/v1/matrix?stage=x"), "/v1/matrix", "get")["status"]


def test_a_record_is_as_described(visit: Visitors) -> None:
    """Masked; what is none is not there."""
    found = checked(visit(RITA).send("/v1/record", {"record": CIM}), "/v1/record", "post")
    assert ["medication_plan"] == [one["field"] for one in found["fields"]]
    assert 404 == checked(visit().send("/v1/record", {"record": "nobody"}), "/v1/record", "post")["status"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/resolutions", {"case": CASE, "action": "bury"}),
        ("/v1/resolutions", {"case": CASE, "action": "keep", "edition": "x", "sudo": True}),
        ("/v1/resolutions", {"case": CASE, "action": "keep", "edition": "x", "reason": "x" * 2001}),
        ("/v1/resolutions", {"case": CASE, "action": "set", "dry_run": True, "value": [1]}),
        ("/v1/resolutions", [1]),
        ("/v1/record", {}),
        ("/v1/record", {"record": 7}),
        ("/v1/decide", {"field": "shoe_size", "system": "ehr"}),
        ("/v1/decide", {"field": "email", "system": "lab"}),
        ("/v1/decide", {"field": "email", "system": "crm", "role": "boss"}),
        ("/v1/decide", {"field": "email", "system": "crm", "stage": "x"}),
        ("/v1/decide", {"field": "date_of_birth", "system": "ehr", "value": "soon"}),
        ("/v1/decide", {"field": "medication_plan", "system": "ehr", "value": {"shoe": "x"}}),
    ],
)
def test_a_body_that_is_not_as_described_is_a_problem(visit: Visitors, path: str, body: object) -> None:
    """400 that says where, and not what stood there."""
    found = checked(visit(OMAR).send(path, body), path, "post")
    assert 400 == found["status"]
    assert "soon" not in found["detail"]


def test_a_body_that_is_no_json_is_a_problem(visit: Visitors) -> None:
    """And none of ours."""
    said = {"Content-Type": "application/json"}
    assert 400 == visit().ask("POST", "/v1/decide", headers=said, data=b"{").status
    assert 405 == visit().ask("PUT", "/v1/decide", headers=said, data=b"{}").status


def test_an_app_asks_before_it_writes(visit: Visitors) -> None:
    """On an invented record: who may is told by the matrix alone, so anybody with a role may ask."""
    ask = {"field": "medication_plan", "system": "ehr", "role": "nurse", "stage": "in_care",
           "current": PLAN, "value": {**PLAN, "dose": "850 mg"}}  # fmt: skip
    found = checked(visit(RITA).send("/v1/decide", ask), "/v1/decide", "post")
    assert ("rejected", "owner_policy", {}) == (found["outcome"], found["reason"], found["sends"])
    assert "provider in the EHR" in found["advice"]
    allowed = visit(RITA).send("/v1/decide", {**ask, "role": "provider", "value": {**PLAN, "status": "on hold"}}).json()
    assert ("applied", {"crm": {"drug": "metformin", "status": "on hold"}}) == (allowed["outcome"], allowed["sends"])


def test_of_a_real_record_only_those_may_ask_who_may_see_its_values(visit: Visitors) -> None:
    """What would change nothing shows what is there."""
    ask = {
        "field": "medication_plan",
        "system": "ehr",
        "role": "provider",
        "record": CIM,
        "value": {**PLAN, "dose": "1 g"},
    }
    assert 403 == visit(RITA).send("/v1/decide", ask).status
    assert "applied" == checked(visit(IDA).send("/v1/decide", ask), "/v1/decide", "post")["outcome"]
    assert 404 == visit(IDA).send("/v1/decide", {**ask, "record": "nobody"}).status
