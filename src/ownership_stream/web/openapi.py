"""The API described in OpenAPI 3.1, from the types that bodies are read by and from one table of operations."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ownership_stream import __version__
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.outcomes import CASE_REASONS
from ownership_stream.web.bodies import TYPES
from ownership_stream.web.filters import MOST, OF_RECORD
from ownership_stream.web.work import PAGE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
REF: Final = "#/components/schemas/{name}"
PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"


class Query(NamedTuple):
    """A parameter of an address."""

    name: str
    meaning: str
    schema: dict[str, Any]


class Operation(NamedTuple):
    """One operation: what it takes, and what it answers beside the problems that all have."""

    method: str
    path: str
    name: str
    meaning: str
    answers: dict[int, str]
    """Status -> the schema of its body."""
    body: str = ""
    query: tuple[Query, ...] = ()
    missing: bool = False
    """What it is of may not be there."""


TEXT: Final = {"type": "string"}
PLACE: Final = "^([0-9]{1,15}-[0-9]{1,15}-.*)?$"
LIMIT: Final = Query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE})
FILTERS: Final = (
    Query("owner", "only cases of this escalation owner", TEXT),
    Query("field", "only of this field; `record`: of a record as a whole", TEXT),
    Query("system", "only those in which this system has a part", TEXT),
    Query("reason", "only those that wait for this reason", {"type": "string", "enum": ["", *sorted(CASE_REASONS)]}),
    Query("assigned", "only those assigned to this person; `me`, `nobody`", TEXT),
    Query("late", "anything: only those past due, or passed on since nobody decided in time", TEXT),
    LIMIT,
    Query("after", "where the page begins: `next` of the page before", {"type": "string", "pattern": PLACE}),
)
NOT_FOUND: Final = 404
ALL_PROBLEMS: Final = {
    400: "the request is not as it should be; the detail says where",
    401: "nobody vouches for who asks",
    403: "who asks may not ask that",
    NOT_FOUND: "it is not there (any more)",
    413: "the body is too large",
    415: "a body that is no `application/json`",
    429: "too many failures: `Retry-After` says for how long to wait",
    500: "an internal error",
    503: "Kafka or Redis is away",
}
OPERATIONS: Final = (
    Operation("get", "/v1/openapi.json", "openapi", "This description.", {200: ""}),
    Operation(
        "get",
        "/v1/conflicts",
        "conflicts",
        "Open cases, what is due first, first; values masked. A page of a filter may hold fewer than `limit` and still "
        "have a `next`.",
        {200: "Cases"},
        query=FILTERS,
    ),
    Operation(
        "get",
        "/v1/conflicts/{case}",
        "conflict",
        "A case with what each choice would send where; values masked.",
        {200: "View"},
        missing=True,
    ),
    Operation(
        "post",
        "/v1/conflicts/{case}/reveal",
        "reveal",
        "A case with its values. Who saw them is written down first, or nothing is shown.",
        {200: "View"},
        missing=True,
    ),
    Operation(
        "get",
        "/v1/resolutions",
        "settled",
        "How conflicts ended lately, the newest first, without values: what people asked and how it was answered, and "
        "what the matrix settled by itself.",
        {200: "SettledList"},
        query=(LIMIT, Query("people", "anything: only what people asked", TEXT)),
    ),
    Operation(
        "post",
        "/v1/resolutions",
        "resolve",
        "Ask something of a case and wait a while for its answer: 200 done, 202 written and not answered yet, 403 not "
        "theirs, 409 changed meanwhile, 422 refused for another reason.",
        dict.fromkeys((200, 202, 403, 409, 422), "AnswerBody"),
        body="AskBody",
        missing=True,
    ),
    Operation(
        "post",
        "/v1/record",
        "record",
        "A record, field by field with where each value came from. Its id is in the body, since addresses are logged.",
        {200: "RecordAnswer"},
        body="RecordBody",
        missing=True,
    ),
    Operation(
        "get",
        "/v1/matrix",
        "matrix",
        "The matrix in people's words.",
        {200: "Page"},
        query=(Query("stage", "name the owner of each field at this stage", TEXT),),
    ),
    Operation(
        "post",
        "/v1/decide",
        "decide",
        "What would come of a write, without making it: on an invented record, or on a real one (`record`) for those "
        "who may see its values.",
        {200: "Tried"},
        body="TrialBody",
        missing=True,
    ),
)


def document(matrix: Matrix) -> dict[str, Any]:
    """The description, with the words that this matrix has."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REF)
    words = _words(matrix)
    trial, ask = schemas["TrialBody"]["properties"], schemas["AskBody"]["properties"]
    trial["field"] |= {"enum": [*matrix.fields]}
    trial["system"] |= {"enum": [*matrix.systems]}
    trial["role"] |= {"enum": words["role"]}
    trial["stage"] |= {"enum": words["stage"]}
    ask["system"] |= {"enum": words["system"]}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, words)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "ownership-stream",
            "version": __version__,
            "description": "The queue of open cases, decisions on them, records with provenance, the ownership matrix, "
            "and the decision as a question.",
        },
        "security": [{"token": []}, {"proxy": []}],
        "paths": paths,
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "proxy": {"type": "apiKey", "in": "header", "name": "X-Ownership-Proxy-Secret",
                          "description": "set by the authenticating proxy, with the person and their groups"},
            },
        },
    }  # fmt: skip


def _words(matrix: Matrix) -> dict[str, list[str]]:
    """The words that the matrix has for each thing that is asked by its name; blank: for none in particular."""
    return {
        "owner": ["", *matrix.escalations],
        "field": ["", OF_RECORD, *matrix.fields],
        "system": ["", *matrix.systems],
        "role": ["", *sorted(matrix.roles)],
        "stage": ["", *matrix.stages.map],
    }


def _operation(operation: Operation, words: Mapping[str, list[str]]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name,
        "description": operation.meaning,
        "responses": _responses(operation),
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": one.name,
            "in": "query",
            "description": one.meaning,
            "schema": one.schema | ({"enum": words[one.name]} if one.name in words else {}),
        }
        for one in operation.query
    ]
    if "{case}" in operation.path:
        parameters.append({"name": "case", "in": "path", "required": True, "description": "its id", "schema": TEXT})
    if parameters:
        said["parameters"] = parameters
    if operation.body:
        said["requestBody"] = {"required": True, "content": {JSON: {"schema": _schema(operation.body)}}}
    return said


def _responses(operation: Operation) -> dict[str, Any]:
    """What it answers; a status that is a problem as well may have either body."""
    problems = {status: text for status, text in ALL_PROBLEMS.items() if operation.missing or status != NOT_FOUND}
    found: dict[str, Any] = {}
    for status in sorted(problems.keys() | operation.answers.keys()):
        content: dict[str, Any] = {}
        if status in operation.answers:
            content[JSON] = {"schema": _schema(operation.answers[status])}
        if status in problems:
            content[PROBLEM] = {"schema": _schema("Problem")}
        found[str(status)] = {"description": problems.get(status, "answered"), "content": content}
    return found


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=name)} if name else {"type": "object"}
