"""The matrix for browsers: its table with every cell explained, a field, and what would happen if."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import web

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compile import MatrixDocument
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.show import COLUMNS, Page, duration, page
from ownership_stream.model import Value
from ownership_stream.outcomes import owner_name, who_may
from ownership_stream.trial import Trial, Tried
from ownership_stream.web.forms import LONGEST, said, value_of
from ownership_stream.web.guard import form_of
from ownership_stream.web.rendering import Filled
from ownership_stream.web.site import Site

MEANINGS: Final = dict(
    zip(
        COLUMNS,
        (
            "What both systems hold of a patient.",
            "The system whose word counts; where care start changes it, before and after.",
            "Who else may write it, after having seen the current value.",
            "Which way it flows; a summary shows a part or a class of it only.",
            "What happens when values disagree.",
            "Who owns what stays open, with a deadline.",
        ),
        strict=True,
    )
)
RULES: Final = {
    "owner wins": "The owner's value counts. Others may change it where they are named, and only what they have seen.",
    "stage owner wins": "As the owner's value, and care start hands the field from one system to the other.",
    "stage map": "As the owner's value, and the step from the current stage must be one that the stage map has.",
    "latest validated": "The latest completion that somebody has validated counts, whichever arrived first.",
    "latest patient-confirmed": "The latest value that the patient has confirmed counts; what is not confirmed never "
    "replaces what is.",
}


CRITICAL: Final = "It is critical: who does not own it gives a reason, and an automation never clears it."
SHOWN: Final = {"full": "all of it", "none": "nothing of it"}


class Line(NamedTuple):
    """A row of the table, with the field it is of."""

    field: Field
    cells: tuple[str, ...]


class MatrixPages:
    """The handlers."""

    def __init__(self, site: Site, document: MatrixDocument) -> None:
        self._site, self._work, self._document = site, site.work, document
        self._matrix = document.matrix

    def routes(self) -> list[web.RouteDef]:
        """Where each page is."""
        return [
            web.get("/matrix", self.table),
            web.get("/matrix/{field}", self.field),
            web.get("/try", self.trial),
            web.post("/try", self.try_it),
        ]

    async def table(self, request: web.Request) -> web.Response:
        """The six columns; searched by words, and with the owners at one stage."""
        stage, sought = request.query.get("stage", ""), request.query.get("q", "").strip()
        found: Page = page(self._document, stage or None)
        lines = [
            Line(field, row)
            for field, row in zip(self._matrix.fields.values(), found.sections[0].rows, strict=True)
            if holds(sought, field.name, *row)
        ]
        return self._site.page(
            request, "matrix.html", found=found, lines=lines, columns=list(MEANINGS.items()), stage=stage,
            sought=sought,
            stages=list(self._matrix.stages.map),
        )  # fmt: skip

    async def field(self, request: web.Request) -> web.Response:
        """A field: each cell of its row, and what it means for whoever writes."""
        field = self._matrix.fields.get(request.match_info["field"])
        if field is None:
            raise web.HTTPNotFound(reason="the matrix has no field of that name")
        found: Page = page(self._document, None)
        index = list(self._matrix.fields).index(field.name)
        row, grants = found.sections[0].rows[index], found.sections[1].rows[index]
        return self._site.page(
            request, "field.html", field=field,
            cells=list(zip(COLUMNS, row, explained(self._matrix, field), strict=True)),
            grants=grants, revision=self._matrix.revision,
        )  # fmt: skip

    async def trial(self, request: web.Request) -> web.Response:
        """The form of what would happen if; ``field`` may be chosen by the address, values never are."""
        return self._trial(request, {"field": request.query.get("field", ""), "seen": "yes"}, None)

    async def try_it(self, request: web.Request) -> web.Response:
        """The same with its answer."""
        form = await form_of(request)
        try:
            trial = trial_of(self._matrix, form)
        except BadInputError as error:
            return self._trial(request, form, None, wrong="; ".join(error.problems), status=422)
        return self._trial(request, form, await self._site.run(self._work.tried, trial))

    def _trial(
        self, request: web.Request, form: Mapping[str, str], tried: Tried | None, *, wrong: str = "", status: int = 200
    ) -> web.Response:
        told: dict[str, Any] = {"form": Filled(form), "tried": tried, "wrong": wrong}
        chosen = self._matrix.fields.get(form.get("field", ""))
        waits = duration(tried.due_in) if tried is not None and tried.due_in else ""
        return self._site.page(request, "try.html", status=status, chosen=chosen, waits=waits, **told)


def holds(sought: str, *texts: str) -> bool:
    """Whether every word that is sought stands in some of the texts."""
    whole = " ".join(texts).casefold()
    return all(word in whole for word in sought.casefold().split())


def explained(matrix: Matrix, field: Field) -> tuple[str, ...]:
    """A sentence for each of the six columns, as far as the cell does not say it itself."""
    before, after = owner_name(matrix, field, care_started=False), owner_name(matrix, field, care_started=True)
    owner = f"The {before} before care start, the {after} from then on." if field.by_stage else f"The {before}."
    who = who_may(matrix, field, care_started=False), who_may(matrix, field, care_started=True)
    may = f"It may be written by {who[0]}." if who[0] == who[1] else (
        f"Before care start it may be written by {who[0]}; afterwards by {who[1]}."
    )  # fmt: skip
    views = "; ".join(
        f"the {matrix.systems[system]} shows {SHOWN.get(view, 'a summary') if isinstance(view, str) else 'a summary'}"
        for system, view in field.views.items()
    )
    escalation = matrix.escalations[field.escalation]
    then = f", then {matrix.escalations[escalation.then].name}" if escalation.then else ""

    return (
        CRITICAL if field.critical else "It is not critical.",
        owner,
        may,
        f"{views[:1].upper()}{views[1:]}.",
        RULES[field.rule],
        f"{escalation.name}, within {duration(escalation.sla)}{then}.",
    )


def trial_of(matrix: Matrix, form: Mapping[str, str]) -> Trial:
    """What was filled in, in the words of the matrix; raises ``BadInputError``."""
    field = matrix.fields.get(form.get("field", ""))
    if field is None or form.get("system") not in matrix.systems:
        raise BadInputError("choose a field and a system")
    role, stage = form.get("role", ""), form.get("stage", "")
    if role not in ("", *matrix.roles) or stage not in ("", *matrix.stages.map):
        raise BadInputError("choose a role and a stage that the matrix has")
    return Trial(
        field=field.name,
        system=form["system"],
        value=_typed(field, form, "value"),
        role=role,
        origin="automation" if form.get("origin") == "automation" else "person",
        reason=said(form, "reason", "the reason"),
        attested=bool(form.get("attested")),
        seen=bool(form.get("seen")),
        current=_typed(field, form, "current"),
        stage=stage,
    )


def _typed(field: Field, form: Mapping[str, str], name: str) -> Value:
    """What was typed in; of parts, as ``part: text`` a line. Blank is no value."""
    text = form.get(name, "").strip()
    if len(text) > LONGEST:
        raise BadInputError(f"the value is longer than {LONGEST} characters")
    if not text:
        return None
    if not field.parts:
        return value_of(field, text)
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    if any(not colon or part.strip() not in field.parts for part, colon, _ in lines):
        one = next(iter(field.parts))
        raise BadInputError(f"`{field.label}` has parts: write each on a line of its own, as `{one}: …`")
    given = {part.strip(): piece.strip() for part, _, piece in lines}
    return value_of(field, dict.fromkeys(field.parts) | given)
