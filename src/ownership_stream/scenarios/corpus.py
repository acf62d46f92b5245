"""Many scenario files at once: which there are, and how each of their stories ended."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.scenarios.compare import Difference, compare
from ownership_stream.scenarios.parse import load_scenarios
from ownership_stream.scenarios.play import play
from ownership_stream.scenarios.story import Scenario

A = TypeVar("A")
B = TypeVar("B")

SUFFIXES: Final = (".yaml", ".yml")


class Result(msgspec.Struct, frozen=True):
    """How one scenario ended; no differences: as expected."""

    scenario: Scenario
    differences: tuple[Difference, ...]


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The scenario files among these files and folders, in order; raises ``BadInputError`` where there are none."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not found:
            raise BadInputError(f"`{path}` holds no scenario files: they end in `.yaml`")
        files += found
    return files


def load_corpus(files: Sequence[Path], matrix: Matrix) -> list[Scenario]:
    """All scenarios of all files; raises ``BadInputError`` with every mistake of every file."""
    return _each(files, lambda file: load_scenarios(file, matrix))


def run_corpus(scenarios: Sequence[Scenario], matrix: Matrix) -> list[Result]:
    """Run every scenario through ``decide``; raises ``BadInputError`` for given states that cannot be."""
    return _each(scenarios, lambda scenario: (Result(scenario, compare(matrix, scenario, play(matrix, scenario))),))


def _each(things: Iterable[A], work: Callable[[A], Iterable[B]]) -> list[B]:
    """What becomes of each; what is wrong with any of them is raised together."""
    done: list[B] = []
    problems: list[str] = []
    for thing in things:
        try:
            done += work(thing)
        except BadInputError as error:
            problems += error.problems
    if problems:
        raise BadInputError(*problems)
    return done
