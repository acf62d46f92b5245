"""What commands share by which a person decides: who they are, and their desk."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from getpass import getuser
from typing import Any

import click

from ownership_stream.assembly import documents
from ownership_stream.cli import Session
from ownership_stream.desk import Desk, Office, Person
from ownership_stream.errors import BadInputError
from ownership_stream.looking import look_by
from ownership_stream.matrix.reading import nearest


def as_person(*, role: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that say who somebody is: `--actor` and, where the matrix asks for it, `--role`.

    The command gets `person`. Nobody checks them here: who may write to the log of changes may say what they like.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def filled(*said: Any, actor: str, as_role: str = "", **more: Any) -> Any:
            return command(*said, person=Person(actor.strip() or _user(), as_role), **more)

        given: Callable[..., Any] = filled
        if role:
            given = click.option(
                "--role", "as_role", default="", envvar="OWNERSHIP_ROLE", metavar="OWNER",
                help="The escalation owner of the matrix as whom you decide.",
            )(given)  # fmt: skip
        return click.option(
            "--actor", default="", envvar="OWNERSHIP_ACTOR", help="Who you are; default: the user of this machine."
        )(given)

    return decorate


def ids_of(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option to name records by their ids."""
    return click.option("--ids", is_flag=True, help="Show record ids instead of hashes.")(command)


def reads(word: str, known: Collection[str], what: str) -> None:
    """Raises ``BadInputError`` where a word is said that the matrix does not have."""
    if word and word not in known:
        raise BadInputError(f"the matrix has no {what} `{word}`{nearest(word, known)}")


@contextmanager
def at_desk(session: Session, person: Person, *, ids: bool = False) -> Iterator[Desk]:
    """A desk for as long as it is needed."""
    matrix, _ = documents(session.settings)
    reads(person.role, matrix.escalations, "escalation owner")
    with look_by(session.settings) as (looker, broker):
        yield Desk(Office(session.settings, matrix, looker, broker), person, ids=ids)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
