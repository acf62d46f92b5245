"""Many cases decided alike: chosen by filters, with a preview of what each will send where, then all at once.

What is decided is what the preview showed: the form that confirms it names each case with the edition it had.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import web

from ownership_stream.errors import BadInputError
from ownership_stream.model import Ask
from ownership_stream.outcomes import CASE_REASONS
from ownership_stream.queue import Open
from ownership_stream.web.filters import FILTERS, MOST, OF_RECORD, acting, wanted_of
from ownership_stream.web.forms import ask_of, said
from ownership_stream.web.guard import form_of
from ownership_stream.web.rendering import Filled
from ownership_stream.web.site import Site
from ownership_stream.web.work import Answered

ASSIGN: Final = "assign"
OF: Final = "of."
"""What the names of filters begin with in a form: the reason why a case waits is not why it is decided so."""


class Planned(NamedTuple):
    """A case of the preview, or of what came of it."""

    case: str
    record: str
    label: str
    answer: Answered
    sends: Mapping[str, str]


class BulkPages:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self._site, self._work, self._matrix = site, site.work, site.work.matrix

    def routes(self) -> list[web.RouteDef]:
        """Where each page is."""
        return [
            web.get("/bulk", self.choose),
            web.post("/bulk", self.preview),
            web.post("/bulk/decide", self.decide),
        ]

    async def choose(self, request: web.Request) -> web.Response:
        """Which cases a filter chooses, and what is to be done with them."""
        acting(request)
        return await self._chosen(request, dict(request.query), {})

    async def preview(self, request: web.Request) -> web.Response:
        """What would come of it, case by case; nothing is done."""
        actor, form = acting(request), await form_of(request)
        filters = {name: form[OF + name] for name in FILTERS if form.get(OF + name)}
        try:
            cases, more = await self._site.run(self._work.chosen, wanted_of(self._matrix, filters, actor), actor, MOST)
            asks = [(one, self._ask(one, form)) for one in cases]
            reason = said(form, "reason", "the reason")
        except BadInputError as error:
            return await self._chosen(request, filters, form, wrong="; ".join(error.problems), status=422)
        planned = await self._site.run(self._work.planned_all, asks, actor, reason)
        rows = [self._row(one, answer, sends) for (one, _), (answer, sends) in zip(asks, planned, strict=True)]
        good = [one for (one, _), row in zip(asks, rows, strict=True) if row.answer.done]
        return self._site.page(
            request, "bulk_preview.html", rows=rows, more=more, number=len(good), form=Filled(form),
            back=_back(filters), cases="\n".join(f"{self._work.edition(one)} {one.case.id}" for one in good),
            kept={name: text for name, text in form.items() if name.startswith("value")}, filters=filters,
        )  # fmt: skip

    async def decide(self, request: web.Request) -> web.Response:
        """All that the preview showed, each as it was shown or not at all."""
        actor, form = acting(request), await form_of(request)
        named = [line.partition(" ")[::2] for line in form.get("cases", "").splitlines()]
        if not 0 < len(named) <= MOST or not all(edition and case for edition, case in named):
            raise BadInputError("the form does not say which cases: load the page again")
        found = await self._site.run(self._work.find_all, [case for _, case in named])
        reason = said(form, "reason", "the reason")
        asks = [(one, self._ask(one, form), edition) for (edition, _), one in zip(named, found, strict=True) if one]
        answers = await self._site.run(self._work.ask_all, asks, actor, reason)
        rows = [self._row(one, answer, {}) for (one, _, _), answer in zip(asks, answers, strict=True)]
        gone = [case for (_, case), one in zip(named, found, strict=True) if one is None]
        done = sum(row.answer.done for row in rows)
        return self._site.page(request, "bulk_answer.html", rows=rows, gone=gone, done=done, total=len(named))

    async def _chosen(
        self,
        request: web.Request,
        filters: Mapping[str, str],
        form: Mapping[str, str],
        *,
        wrong: str = "",
        status: int = 200,
    ) -> web.Response:
        actor = acting(request)
        wanted = wanted_of(self._matrix, filters, actor)
        cases, more = await self._site.run(self._work.chosen, wanted, actor, MOST)
        told: dict[str, Any] = {"filters": Filled(filters), "form": Filled(form), "wrong": wrong, "more": more}
        return self._site.page(
            request, "bulk.html", status=status, number=len(cases), reasons=sorted(CASE_REASONS),
            records=sum(not one.case.field for one in cases), most=MOST,
            field=self._matrix.fields.get(filters.get("field", "")), of_record=filters.get("field") == OF_RECORD,
            back=_back(filters), **told,
        )  # fmt: skip

    def _ask(self, one: Open, form: Mapping[str, str]) -> Ask:
        """The same of each case; who it is given to is no decision of it."""
        if form.get("action") == ASSIGN:
            return Ask(case="", action=ASSIGN, to=form.get("to", "").strip()[:200])
        return ask_of(self._matrix, one.case.field, form)

    def _row(self, one: Open, answer: Answered, sends: Mapping[str, str]) -> Planned:
        field = self._matrix.fields.get(one.case.field)
        label = "" if field is None else field.label
        return Planned(one.case.id, self._work.name(one.record), label, answer, sends)


def _back(filters: Mapping[str, str]) -> dict[str, str]:
    """The queue by the same filters."""
    return {"owner": "", **filters}
