"""Which matrix document a command of `ownership-stream matrix` is about."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from ownership_stream.errors import BadInputError

DEFAULT: Final = Path("matrix/patient.yaml")
PACKAGED: Final = "documents/patient.yaml"
"""Where an installed package keeps its copy of the default document, inside `ownership_stream`."""


def matrix_file(given: Path | None) -> Path:
    """The document to use: the given one, else the working directory's, else the package's own copy.

    Raises BadInputError where there is none.
    """
    packaged = Path(str(files("ownership_stream").joinpath(PACKAGED)))
    for path in (given, DEFAULT, packaged):
        if path is not None and (path == given or path.exists()):
            return path
    raise BadInputError(f"no `{DEFAULT}` here: name the matrix document")
