"""Templates filled in: every text is escaped, whatever it is of."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.web.guard import ACTOR
from ownership_stream.web.words import for_people, moment, plain, quoted, text_of

LONG: Final = 300
"""Characters of a text from which on only its beginning is shown at first."""


class Renderer:
    """The templates, with what each of them may ask for."""

    def __init__(self, matrix: Matrix, *, demo: bool = False) -> None:
        self._environment = Environment(
            loader=PackageLoader("ownership_stream.web"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._environment.filters.update(plain=plain, moment=moment, text=text_of, quoted=quoted, time=for_people)
        self._environment.globals.update(matrix=matrix, LONG=LONG, demo=demo)

    def page(self, request: web.Request, template: str, said: Mapping[str, Any], *, status: int = 200) -> web.Response:
        """A page for whoever asks; where nobody was let in, one without a way anywhere."""
        found = self._environment.get_template(template)
        text = found.render(actor=request.get(ACTOR), path=request.path, **said)
        return web.Response(text=text, content_type="text/html", status=status)


class Filled(dict[str, str]):
    """What was filled into a form; what was not is blank."""

    def __missing__(self, _name: str) -> str:
        return ""
