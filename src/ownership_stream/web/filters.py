"""What a request asks for, out of its address: which cases, from where on; and whether who asks may act at all."""

from collections.abc import Mapping
from time import time
from typing import Final

from aiohttp import web

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.outcomes import CASE_REASONS
from ownership_stream.queue import Place, Wanted
from ownership_stream.web.actors import Actor
from ownership_stream.web.guard import ACTOR

NOBODY: Final = "nobody"
"""In the filter by person: cases that nobody looks after."""
ME: Final = "me"
MOST: Final = 100
"""Entries of one page."""
FILTERS: Final = ("owner", "field", "system", "reason", "assigned", "late")
"""What a query may say of the cases that are wanted."""
OF_RECORD: Final = "record"
"""In the filter by field: cases of a record as a whole."""


def wanted_of(matrix: Matrix, query: Mapping[str, str], actor: Actor) -> Wanted:
    """The filters of a query; raises ``BadInputError`` for a word that the matrix does not have."""
    for name, known in (
        ("owner", matrix.escalations.keys()),
        ("field", matrix.fields.keys() | {OF_RECORD}),
        ("system", matrix.systems.keys()),
        ("reason", CASE_REASONS.keys()),
    ):
        if query.get(name) and query[name] not in known:
            raise BadInputError(f"there is no {name} of that name: choose one that the matrix has")
    field, assigned = query.get("field") or None, query.get("assigned", "")
    return Wanted(
        owner=query.get("owner", ""),
        field="" if field == OF_RECORD else field,
        system=query.get("system", ""),
        reason=query.get("reason", ""),
        assigned={"": None, NOBODY: "", ME: actor.name}.get(assigned, assigned),
        late=int(time() * 1000) if query.get("late") else 0,
    )


def place_of(said: str) -> Place | None:
    """Where a page of the queue begins; raises ``BadInputError``."""
    if not said:
        return None
    try:
        return Place.read(said)
    except ValueError:
        raise BadInputError("that page of the queue is not there: begin with the first") from None


def acting(request: web.Request) -> Actor:
    """Who asks, where they may ask anything at all; raises ``HTTPForbidden``."""
    actor = request[ACTOR]
    if not actor.acts:
        raise web.HTTPForbidden(reason="your role may read, and neither see values nor decide")
    return actor


def number_of(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of the query, from 1 to ``MOST``; raises ``BadInputError``."""
    said = query.get(name, str(default))
    if not (said.isascii() and said.isdecimal()) or not 0 < int(said) <= MOST:
        raise BadInputError(f"`{name}` is a number from 1 to {MOST}")
    return int(said)
