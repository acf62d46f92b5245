"""What browsers get: the queue, a case, a record. Everything that changes something is a form with a ticket."""

from collections.abc import Mapping
from time import time
from typing import Any, Final

from aiohttp import web

from ownership_stream.errors import BadInputError
from ownership_stream.model import Ask
from ownership_stream.outcomes import CASE_REASONS
from ownership_stream.queue import Open, View, until
from ownership_stream.web.actors import READER, Actor
from ownership_stream.web.comparing import compare
from ownership_stream.web.filters import FILTERS, acting, place_of, wanted_of
from ownership_stream.web.forms import ask_of, said
from ownership_stream.web.guard import ACTOR, form_of
from ownership_stream.web.rendering import Filled
from ownership_stream.web.site import Site
from ownership_stream.web.timeline import timeline
from ownership_stream.web.words import Due, due_in_words
from ownership_stream.web.work import WRITTEN, Answered, Shown

DECIDED: Final = 100


class Pages:
    """The handlers. ``site`` has what they work with."""

    def __init__(self, site: Site) -> None:
        self._site, self._work, self._matrix = site, site.work, site.work.matrix

    def routes(self) -> list[web.RouteDef]:
        """Where each page is."""
        return [
            web.get("/", self.queue, name="queue"),
            web.get("/cases/{case}", self.case, name="case"),
            web.post("/cases/{case}", self.decide),
            web.post("/cases/{case}/reveal", self.reveal),
            web.post("/cases/{case}/assign", self.assign),
            web.post("/cases/{case}/comment", self.comment),
            web.get("/cases/{case}/record", self.record),
            web.post("/cases/{case}/record", self.reveal_record),
            web.get("/decided", self.decided),
            web.get("/record", self.look_up),
            web.post("/record", self.find_record),
        ]

    # ------------------------------------------------------------------------------------------------ the queue

    async def queue(self, request: web.Request) -> web.Response:
        """The open cases, what is due first, first. Who has one role sees their own unless they ask for others."""
        actor = request[ACTOR]
        query = dict(request.query)
        owners = [role for role in actor.roles if role != READER]
        query.setdefault("owner", owners[0] if len(owners) == 1 and not query else "")
        wanted, after = wanted_of(self._matrix, query, actor), place_of(query.get("after", ""))
        found = await self._site.run(self._work.listed, wanted, after)
        now = int(time() * 1000)
        return self._page(
            request, "queue.html", views=found.views, due=[_due(view, now) for view in found.views],
            query=Filled(query), filters={name: query[name] for name in FILTERS if query.get(name)},
            next=self._next(query, found.after), reasons=sorted(CASE_REASONS),
        )  # fmt: skip

    def _next(self, query: Mapping[str, str], after: str) -> dict[str, str]:
        """What the link to the next page says; empty where there is none."""
        if not after:
            return {}
        # An owner that was not asked for was filled in, so it is said from now on.
        return {name: value for name, value in query.items() if value or name == "owner"} | {"after": after}

    # ------------------------------------------------------------------------------------------------ a case

    async def case(self, request: web.Request) -> web.Response:
        """A case, values masked."""
        one = await self._find(request)
        view = await self._site.run(self._work.view, one)
        return self._case(request, one, view)

    async def reveal(self, request: web.Request) -> web.Response:
        """The same with its values, which is written down first."""
        one = await self._find(request)
        view = await self._site.run(self._work.reveal, one, acting(request))
        return self._case(request, one, view)

    async def decide(self, request: web.Request) -> web.Response:
        """What a person decides of it; a case that changed since it was read is shown again instead."""
        one, form, actor = await self._find(request), await form_of(request), acting(request)
        reason = said(form, "reason", "the reason")
        edition = form.get("edition", "")
        if not edition:
            raise BadInputError("the form does not say what was read: load the page again")
        if edition != self._work.edition(one):
            return await self._again(request, one, form)
        try:
            ask = ask_of(self._matrix, one.case.field, form)
        except BadInputError as error:
            view = await self._site.run(self._work.view, one)
            return self._case(request, one, view, wrong="; ".join(error.problems), form=form, status=422)
        return await self._ask(request, one, ask, reason, edition, actor)

    async def assign(self, request: web.Request) -> web.Response:
        """Somebody is to look after it."""
        one, form, actor = await self._find(request), await form_of(request), acting(request)
        to = said({"to": form.get("to", "")[:200]}, "to", "the name") or ""
        return await self._ask(request, one, Ask(case="", action="assign", to=to), None, "", actor)

    async def comment(self, request: web.Request) -> web.Response:
        """Something is said about it."""
        one, form, actor = await self._find(request), await form_of(request), acting(request)
        text = said(form, "comment", "the comment")
        return await self._ask(request, one, Ask(case="", action="comment"), text, "", actor)

    async def _ask(
        self, request: web.Request, one: Open, ask: Ask, reason: str | None, edition: str, actor: Actor
    ) -> web.Response:
        answer = await self._site.run(self._work.ask, one, actor, ask, reason, edition)
        if answer.changed:
            return await self._again(request, one, await form_of(request))
        view = await self._site.run(self._work.view, one)
        return self._answered(request, view, answer)

    def _answered(self, request: web.Request, view: View, answer: Answered) -> web.Response:
        status = 200 if answer.done else 202 if answer.outcome == WRITTEN else 403 if _not_theirs(answer) else 422
        return self._page(request, "answer.html", view=view, answer=answer, written=WRITTEN, status=status)

    async def _again(self, request: web.Request, one: Open, form: Mapping[str, str]) -> web.Response:
        """The case as it is now, for who decided on what it was; nothing was done."""
        now_open = await self._site.run(self._work.find, one.case.id)
        if now_open is None:
            return self._page(request, "closed.html", case=one.case.id, status=409)
        view = await self._site.run(self._work.view, now_open)
        return self._case(request, now_open, view, changed=True, form={"reason": form.get("reason", "")}, status=409)

    def _case(
        self,
        request: web.Request,
        one: Open,
        view: View,
        *,
        changed: bool = False,
        wrong: str = "",
        form: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> web.Response:
        """The page of a case; ``form`` is what was filled in before."""
        actor = request[ACTOR]
        now, show = int(time() * 1000), not view.masked
        return self._page(
            request,
            "case.html",
            view=view,
            due=_due(view, now),
            comparison=compare(self._matrix, one, show=show),
            timeline=timeline(self._matrix, one, now, show=show),
            field=self._matrix.fields.get(view.field),
            may=actor.decides(self._matrix, one.case),
            stages=list(self._matrix.stages.map) if view.field == self._matrix.stages.field else [],
            changed=changed,
            wrong=wrong,
            form=Filled(form or {}),
            status=status,
        )

    # ------------------------------------------------------------------------------------------------ a record

    async def record(self, request: web.Request) -> web.Response:
        """The record of a case, field by field with where each value came from."""
        one = await self._find(request)
        shown = await self._site.run(self._work.shown, one.record, one.state)
        return self._record(request, shown, case=one.case.id)

    async def reveal_record(self, request: web.Request) -> web.Response:
        """The same with its values, which is written down first."""
        one = await self._find(request)
        shown = await self._site.run(self._work.reveal_record, one.record, one.state, acting(request))
        return self._record(request, shown, case=one.case.id)

    async def look_up(self, request: web.Request) -> web.Response:
        """Where a record is asked for by its id."""
        return self._page(request, "lookup.html", said="", missing=False)

    async def find_record(self, request: web.Request) -> web.Response:
        """A record by its id, which is in no address: those are kept by browsers and proxies."""
        form = await form_of(request)
        said_id = form.get("record", "").strip()
        state = await self._site.run(self._work.record, said_id) if said_id else None
        if state is None:
            return self._page(request, "lookup.html", said=said_id, missing=True, status=404)
        if form.get("reveal"):
            shown = await self._site.run(self._work.reveal_record, said_id, state, acting(request))
        else:
            shown = await self._site.run(self._work.shown, said_id, state)
        return self._record(request, shown, record=said_id)

    def _record(self, request: web.Request, shown: Shown, *, case: str = "", record: str = "") -> web.Response:
        now = int(time() * 1000)
        due = [_due(view, now) for view in shown.cases]
        return self._page(request, "record.html", shown=shown, due=due, case=case, record=record)

    async def decided(self, request: web.Request) -> web.Response:
        """What was decided lately, by whom and why; what the matrix settled by itself where that is asked for."""
        everything = bool(request.query.get("all"))
        found = await self._site.run(self._work.settled, DECIDED, people=not everything)
        return self._page(request, "decided.html", found=found, everything=everything)

    # ------------------------------------------------------------------------------------------------ within

    async def _find(self, request: web.Request) -> Open:
        case = request.match_info["case"]
        one = await self._site.run(self._work.find, case)
        if one is None:
            raise web.HTTPNotFound(reason="no open case has that id: it was decided, or closed itself")
        return one

    def _page(self, request: web.Request, template: str, *, status: int = 200, **more: Any) -> web.Response:
        return self._site.page(request, template, status=status, **more)


def _not_theirs(answer: Answered) -> bool:
    return (answer.outcome, answer.reason) == ("refused", "not_the_owner")


def _due(view: View, now: int) -> Due:
    return due_in_words(view.due, now, until(view.due - now))
