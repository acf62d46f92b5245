"""Where a person sits who decides: the open cases as they stand, and the way to the lanes.

What the commands and the pages share. It believes who somebody says they are: whoever lets them sit down vouches.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from time import time
from typing import NamedTuple

from ownership_stream.commands import Answers, ChangeWriter, new_id
from ownership_stream.errors import BadInputError
from ownership_stream.identity import partition_of
from ownership_stream.lane import Broker, LaneConfig
from ownership_stream.looking import Looker
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Ask, Change, Decision
from ownership_stream.queue import InOrder, Open, View, Wanted, ask_for, in_order, preview, view, wants
from ownership_stream.settings import Mode, Settings, librdkafka_config
from ownership_stream.telemetry import HashedId, hash_id, hash_key
from ownership_stream.wire import Resolution
from ownership_stream.wire.avro_wire import wire_of


class Person(NamedTuple):
    """Who asks, as who."""

    actor: str
    role: str


class Office:
    """What all desks share, for as long as it is needed and from any thread."""

    def __init__(self, settings: Settings, matrix: Matrix, looker: Looker, broker: Broker) -> None:
        """Raises ``BadInputError`` where the wire of the settings cannot be used."""
        self.settings, self.matrix, self.looker, self.broker = settings, matrix, looker, broker
        self.key = None if settings.hash_key is None else hash_key(settings.hash_key)
        self.config = LaneConfig(app=settings.app_id, client=librdkafka_config(settings))
        self.wire = wire_of(settings)
        self.writer = ChangeWriter(self.config, settings.topic_changes, self.wire)

    def withheld(self) -> frozenset[str]:
        """Systems that are sent nothing now."""
        observes = self.settings.mode is Mode.OBSERVE
        return frozenset(self.matrix.systems) if observes else self.looker.withheld()

    def in_order(self, since: int = 0) -> InOrder:
        """The open cases of the records that want to be looked at from then on, what is due first, first."""
        return in_order((due, one.state, one.record) for due, one in self.looker.waiting(since))

    def hashed(self, record: str) -> HashedId:
        """A record's id as it may be told."""
        return hash_id(hash_key(self.settings.hash_key), record)


class Desk:
    """One person's place in an office. Records have names there: their hashes, or their ids where that is asked for."""

    def __init__(self, office: Office, person: Person, *, ids: bool = False) -> None:
        self.office, self.person, self.matrix, self.key = office, person, office.matrix, office.key
        self._ids = ids

    @cached_property
    def withheld(self) -> frozenset[str]:
        """Systems that are sent nothing now; asked for once."""
        return self.office.withheld()

    def name(self, record: str) -> str:
        """A record as it is shown."""
        return record if self._ids else f"#{self.office.hashed(record)[:8]}"

    def cases(self, wanted: Wanted) -> Iterator[Open]:
        """The open cases that are wanted, what is due first, first."""
        return (one for one in self.office.in_order() if wants(self.matrix, wanted, one))

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
            withheld=self.withheld if choices else frozenset(), choices=choices,
        )  # fmt: skip

    def preview(self, one: Open, ask: Ask, reason: str | None) -> Decision:
        """What an ask would come to now."""
        return preview(self.matrix, one, self._change(one, ask, reason), self.withheld)

    def tell(self, asks: Sequence[tuple[Open, Ask]], reason: str | None) -> list[Change]:
        """Write an event for each; their changes. Raises ``UnavailableError``."""
        changes = [self._change(one, ask, reason) for one, ask in asks]
        partitions = self.office.settings.partitions
        self.office.writer.put((change, partition_of(change.record, partitions)) for change in changes)
        return changes

    def ask(self, asks: Sequence[tuple[Open, Ask]], reason: str | None, seconds: float) -> list[Resolution | None]:
        """Write an event for each and wait so long for the answers; ``None`` where none came."""
        office, records = self.office, [one.record for one, _ in asks]
        topic, partitions = office.settings.topic_resolutions, office.settings.partitions
        with Answers(office.config, office.broker, topic, records, partitions, office.wire) as answers:
            ids = [change.id for change in self.tell(asks, reason)]
            found = answers.wait(ids, seconds)
        return [found.get(one) for one in ids]

    def _change(self, one: Open, ask: Ask, reason: str | None) -> Change:
        return ask_for(
            one, ask, change_id=new_id(), actor=self.person.actor, role=self.person.role, reason=reason,
            at=int(time() * 1000),
        )  # fmt: skip
