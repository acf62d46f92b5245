"""What programs get: the queue, resolutions, a record, the matrix, and the decision as a question; JSON only.

Bodies are read by the types of ``bodies.py``: what is not in them is refused.
"""

from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.compiled import Field
from ownership_stream.matrix.show import page
from ownership_stream.model import Ask, Value
from ownership_stream.queue import Open
from ownership_stream.trial import Trial
from ownership_stream.web.bodies import (
    AnswerBody,
    AskBody,
    Cases,
    Problem,
    RecordAnswer,
    RecordBody,
    SettledList,
    TrialBody,
)
from ownership_stream.web.filters import acting, number_of, place_of, wanted_of
from ownership_stream.web.forms import LONGEST, value_of
from ownership_stream.web.guard import ACTOR
from ownership_stream.web.openapi import document as described
from ownership_stream.web.site import Site
from ownership_stream.web.work import PAGE, WRITTEN, Answered

B = TypeVar("B")


class Api:
    """The handlers."""

    def __init__(self, site: Site, document: MatrixDocument) -> None:
        self._site, self._work, self._document = site, site.work, document
        self._described = described(site.work.matrix)

    def routes(self) -> list[web.RouteDef]:
        """Where each is; ``openapi.py`` describes these and no others."""
        return [
            web.get("/v1/openapi.json", self.openapi),
            web.get("/v1/conflicts", self.conflicts),
            web.get("/v1/conflicts/{case}", self.conflict),
            web.post("/v1/conflicts/{case}/reveal", self.reveal),
            web.get("/v1/resolutions", self.settled),
            web.post("/v1/resolutions", self.resolve),
            web.post("/v1/record", self.record),
            web.get("/v1/matrix", self.matrix),
            web.post("/v1/decide", self.decide),
        ]

    async def openapi(self, _: web.Request) -> web.Response:
        """This API, described."""
        return _json(self._described)

    async def conflicts(self, request: web.Request) -> web.Response:
        """Open cases, what is due first, first; values masked."""
        actor = request[ACTOR]
        size = number_of(request.query, "limit", PAGE)
        wanted, after = wanted_of(self._work.matrix, request.query, actor), place_of(request.query.get("after", ""))
        found = await self._site.run(self._work.listed, wanted, after, size)
        return _json(Cases(found.views, found.after or None))

    async def conflict(self, request: web.Request) -> web.Response:
        """A case with what can be done about it; values masked."""
        return _json(await self._site.run(self._work.view, await self._find(request.match_info["case"])))

    async def reveal(self, request: web.Request) -> web.Response:
        """The same with its values."""
        actor, one = acting(request), await self._find(request.match_info["case"])
        return _json(await self._site.run(self._work.reveal, one, actor))

    async def resolve(self, request: web.Request) -> web.Response:
        """Ask something of a case, and wait a while for the answer."""
        body, actor = await _body(request, AskBody), acting(request)
        if len(body.reason) > LONGEST:
            raise BadInputError(f"`reason` is longer than {LONGEST} characters")
        if body.action not in ("assign", "comment") and not (body.edition or body.dry_run):
            raise BadInputError("`edition` says what was read: give it as `GET /v1/conflicts/{case}` shows it")
        one = await self._find(body.case)
        ask, reason = self._ask(body, one), body.reason.strip() or None
        if body.dry_run:
            answer, sends = await self._site.run(self._work.planned, one, actor, ask, reason)
            return _json(AnswerBody(one.case.id, answer.outcome, answer.reason, answer.sentence, sends))
        answer = await self._site.run(self._work.ask, one, actor, ask, reason, body.edition)
        said = AnswerBody(one.case.id, answer.outcome, answer.reason, answer.sentence)
        return _json(said, status=_status(answer))

    def _ask(self, body: AskBody, one: Open) -> Ask:
        action = body.action
        field = self._work.matrix.fields.get(one.case.field)
        value = None
        if action == "set" and field is not None and body.value is not None:
            value = value_of(field, body.value)
        return Ask(case="", action=action, system=body.system, value=value, to=body.to[:200])

    async def settled(self, request: web.Request) -> web.Response:
        """How conflicts ended lately, without values."""
        size, people = number_of(request.query, "limit", PAGE), bool(request.query.get("people"))
        return _json(SettledList(await self._site.run(self._work.settled, size, people=people)))

    async def record(self, request: web.Request) -> web.Response:
        """A record, field by field with where each value came from. Its id is in no address: those are logged."""
        body = await _body(request, RecordBody)
        actor = acting(request) if body.reveal else None
        state = await self._site.run(self._work.record, body.record)
        if state is None:
            raise web.HTTPNotFound(reason="no record has that id")
        if actor is None:
            found = await self._site.run(self._work.shown, body.record, state)
        else:
            found = await self._site.run(self._work.reveal_record, body.record, state, actor)
        return _json(RecordAnswer(found.name, found.version, found.stage, found.fields, found.cases))

    async def matrix(self, request: web.Request) -> web.Response:
        """The matrix in people's words; with ``stage`` each row names its owner then."""
        found = page(self._document, request.query.get("stage") or None)
        return _json(found)

    async def decide(self, request: web.Request) -> web.Response:
        """What would come of a write; nothing is written. Of a real record only for those who may see its values."""
        body = await _body(request, TrialBody)
        trial = self._trial(body)
        if not body.record:
            return _json(await self._site.run(self._work.tried, trial))
        acting(request)
        state = await self._site.run(self._work.record, body.record)
        if state is None:
            raise web.HTTPNotFound(reason="no record has that id")
        return _json(await self._site.run(self._work.tried, trial, state))

    def _trial(self, body: TrialBody) -> Trial:
        """With values in the field's own form, and every word one of the matrix."""
        matrix = self._work.matrix
        field = matrix.fields.get(body.field)
        wrong = [
            name
            for name, word, known in (
                ("system", body.system, matrix.systems),
                ("role", body.role or None, {None, *matrix.roles}),
                ("stage", body.stage or None, {None, *matrix.stages.map}),
            )
            if word not in known
        ]
        if field is None or wrong:
            raise BadInputError(f"the matrix has no such {wrong[0] if field is not None else 'field'}")
        return Trial(
            field=field.name, system=body.system, value=_value(field, body.value), role=body.role, origin=body.origin,
            reason=body.reason, attested=body.attested, seen=body.seen, current=_value(field, body.current),
            stage=body.stage,
        )  # fmt: skip

    async def _find(self, case: str) -> Open:
        one = await self._site.run(self._work.find, case)
        if one is None:
            raise web.HTTPNotFound(reason="no open case has that id: it was decided, or closed itself")
        return one


def problem(status: int, detail: str) -> web.Response:
    """An error as programs read it."""
    said = Problem("about:blank", HTTPStatus(status).phrase, status, detail)
    return web.Response(body=msgspec.json.encode(said), status=status, content_type="application/problem+json")


def _json(said: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(said), status=status, content_type="application/json")


async def _body(request: web.Request, of: type[B]) -> B:
    """The body as one of those; raises ``BadInputError`` that says where it is wrong, and never what stands there."""
    try:
        return msgspec.json.decode(await request.read(), type=of)
    except msgspec.ValidationError as error:
        raise BadInputError(f"the body is not as `/v1/openapi.json` says: {str(error).lower()}") from None
    except msgspec.DecodeError:
        raise BadInputError("the body is no JSON") from None


def _value(field: Field, raw: object) -> Value:
    return None if raw is None else value_of(field, raw)


def _status(answer: Answered) -> int:
    """200 done, 202 not answered yet, 409 changed meanwhile, 403 not theirs, 422 refused for another reason."""
    if answer.done:
        return HTTPStatus.OK
    if answer.outcome == WRITTEN:
        return HTTPStatus.ACCEPTED
    if answer.changed:
        return HTTPStatus.CONFLICT
    theirs = (answer.outcome, answer.reason) != ("refused", "not_the_owner")
    return HTTPStatus.UNPROCESSABLE_ENTITY if theirs else HTTPStatus.FORBIDDEN
