"""The errors that end a command, divided by who is at fault, each with its stable exit code.

A message is one line: what is wrong, where, and what to do; lower case, no final stop, the user's words in
backticks, never the value of a patient field. This module knows nothing of the rest of the program.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, Final


class ExitCode(IntEnum):
    """How a command ended. The numbers never change their meaning: scripts depend on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PROBLEMS = 3
    UNAVAILABLE = 4
    INCOMPLETE = 5
    INTERRUPTED = 130


EXIT_CODES: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done, and nothing to complain about",
    ExitCode.FAILED: "failed at work: an error inside the program or in what it was working on",
    ExitCode.USAGE: "wrong usage or bad input: an unknown option, a setting or a file that cannot be used",
    ExitCode.PROBLEMS: "the command worked, and what it checked has problems; each one is printed",
    ExitCode.UNAVAILABLE: "a system that the command needs (Kafka, Redis) does not answer or refuses",
    ExitCode.INCOMPLETE: "the command found no problem, but could not check everything; what it left out is printed",
    ExitCode.INTERRUPTED: "interrupted from the keyboard before it was done",
}


class OwnershipError(Exception):
    """The base of every error that a person sees: `problems` are its lines, one mistake each."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class BadInputError(OwnershipError):
    """The user's fault: a setting, a file or an argument that cannot be used as it is."""

    exit_code = ExitCode.USAGE


class CheckFailedError(OwnershipError):
    """A check did its work and found problems."""

    exit_code = ExitCode.PROBLEMS


class UnavailableError(OwnershipError):
    """The other side's fault: Kafka or Redis does not answer, or refuses us."""

    exit_code = ExitCode.UNAVAILABLE
