"""What commands share by which a person decides: who they are, the cases they see, what they ask, the answers."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from getpass import getuser
from time import time
from typing import Any, NamedTuple

import click

from ownership_stream.cli import Session
from ownership_stream.commands import Answers, ChangeWriter, new_id
from ownership_stream.errors import BadInputError
from ownership_stream.identity import partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.looking import Looker, look_by
from ownership_stream.matrix.compile import load
from ownership_stream.matrix.reading import nearest
from ownership_stream.model import Ask, Change, Decision
from ownership_stream.queue import Open, View, Wanted, ask_for, in_order, preview, view, wants
from ownership_stream.settings import Mode, librdkafka_config
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import Resolution
from ownership_stream.wire.avro_wire import wire_of


class Person(NamedTuple):
    """Who asks, as who."""

    actor: str
    role: str


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


class Desk:
    """Where a person sits: the cases as they stand, and the way to the lanes."""

    def __init__(self, session: Session, person: Person, looker: Looker, broker: Broker, *, ids: bool) -> None:
        self.settings, self.person = session.settings, person
        self.matrix = load(self.settings.matrix_path)
        reads(person.role, self.matrix.escalations, "escalation owner")
        secret = self.settings.hash_key
        self.key = None if secret is None else hash_key(secret)
        self.withheld = frozenset(self.matrix.systems) if self.settings.mode is Mode.OBSERVE else looker.withheld()
        self._ids, self._hash = ids, hash_key(secret)
        self._looker, self._broker = looker, broker
        self._config = LaneConfig(app=self.settings.app_id, client=librdkafka_config(self.settings))
        self._wire = wire_of(self.settings)

    def name(self, record: str) -> str:
        """A record as it is shown."""
        return record if self._ids else f"#{hash_id(self._hash, record)[:8]}"

    def cases(self, wanted: Wanted) -> Iterator[Open]:
        """The open cases that are wanted, what is due first, first."""
        found = in_order((due, one.state, one.record) for due, one in self._looker.waiting())
        return (one for one in found if wants(self.matrix, wanted, one))

    def find(self, cases: Sequence[str]) -> list[Open]:
        """The cases of these ids, in their order; raises ``BadInputError`` for one that is not open."""
        missing, found = set(cases), {}
        for one in self.cases(Wanted()):
            if one.case.id in missing:
                found[one.case.id] = one
                missing.remove(one.case.id)
            if not missing:
                break
        if missing:
            raise BadInputError(*(f"no open case `{case}`: see `conflicts list`" for case in sorted(missing)))
        return [found[case] for case in dict.fromkeys(cases)]

    def view(self, one: Open, *, show_values: bool, choices: bool) -> View:
        """A case as it is shown."""
        return view(
            self.matrix, one, record=self.name(one.record), key=self.key, show_values=show_values,
            withheld=self.withheld, choices=choices,
        )  # fmt: skip

    def preview(self, one: Open, ask: Ask, reason: str | None) -> Decision:
        """What an ask would come to now."""
        return preview(self.matrix, one, self._change(one, ask, reason), self.withheld)

    def tell(self, asks: Sequence[tuple[Open, Ask]], reason: str | None) -> list[Change]:
        """Write an event for each; their changes. Raises ``UnavailableError``."""
        changes = [self._change(one, ask, reason) for one, ask in asks]
        writer = ChangeWriter(self._config, self.settings.topic_changes, self._wire)
        writer.put((change, partition_of(change.record, self.settings.partitions)) for change in changes)
        return changes

    def ask(self, asks: Sequence[tuple[Open, Ask]], reason: str | None, seconds: float) -> list[Resolution | None]:
        """Write an event for each and wait so long for the answers; ``None`` where none came."""
        records = [one.record for one, _ in asks]
        topic, partitions = self.settings.topic_resolutions, self.settings.partitions
        with Answers(self._config, self._broker, topic, records, partitions, self._wire) as answers:
            ids = [change.id for change in self.tell(asks, reason)]
            found = answers.wait(ids, seconds)
        return [found.get(one) for one in ids]

    def _change(self, one: Open, ask: Ask, reason: str | None) -> Change:
        return ask_for(
            one, ask, change_id=new_id(), actor=self.person.actor, role=self.person.role, reason=reason,
            at=int(time() * 1000),
        )  # fmt: skip


@contextmanager
def at_desk(session: Session, person: Person, *, ids: bool = False) -> Iterator[Desk]:
    """A desk for as long as it is needed."""
    with look_by(session.settings) as (looker, broker):
        yield Desk(session, person, looker, broker, ids=ids)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
