"""People who decide open cases while everything around them fails: control events among the load, judged like the rest.

They see the queue as the command does, by Redis and as far as it answers, and write what they decide to the log of
changes, in any role: what is refused or has changed meanwhile is an answer too. What an outage keeps from them they do
not do, since nobody waits for it.
"""

import random
import threading
from itertools import islice
from time import time
from typing import Final, Literal

from chaos.installation import Installation
from ownership_stream.commands import ChangeWriter, new_id
from ownership_stream.errors import OwnershipError
from ownership_stream.identity import partition_of
from ownership_stream.lane import LaneConfig
from ownership_stream.looking import Looker, look
from ownership_stream.matrix.compile import load
from ownership_stream.model import Action, Ask, Change, identity_of
from ownership_stream.queue import Open, ask_for, in_order
from ownership_stream.resolve import offers
from ownership_stream.settings import librdkafka_config
from ownership_stream.wire.avro_wire import wire_of

ROUND_SECONDS: Final = 1.0
AT_ONCE: Final = 4
"""Cases that are decided in a round."""
DOES: Final[tuple[Action, ...]] = ("keep", "keep", "accept", "accept", "dismiss", "link", "assign", "comment")

WORDS: Final[tuple[Literal["confirm", "unlink"], ...]] = ("confirm", "confirm", "unlink")
"""What is said where it is in doubt whose a record is."""


class People:
    """Decides some of what is due first, round by round, from `start` to `stop`; `asked` says how often."""

    def __init__(self, site: Installation, seed: int) -> None:
        self.asked = 0
        self._site, self._dice = site, random.Random(seed)  # noqa: S311  # the dice of a test
        self._matrix = load(site.settings.matrix_path)
        config = LaneConfig(app=site.settings.app_id, client=librdkafka_config(site.settings), message_seconds=30.0)
        self._writer = ChangeWriter(config, site.settings.topic_changes, wire_of(site.settings))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="people", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; raises what went wrong with them, and not around them."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping.wait(ROUND_SECONDS):
                self._round()
        except BaseException as error:  # noqa: BLE001  # raised again by `stop`, in the run's own thread
            self.error = error

    def _round(self) -> None:
        try:
            with look(self._site.settings) as looker:
                chosen = self._choose(looker)
            changes = [self._ask(one) for one in chosen]
            partitions = self._site.settings.partitions
            self.asked += self._writer.put((change, partition_of(change.record, partitions)) for change in changes)
        except OwnershipError:
            return  # Kafka or Redis is away: that is what the run is about, and the next round comes

    def _choose(self, looker: Looker) -> list[Open]:
        """Some of the cases that are due first, so that two rounds seldom meet the same."""
        found = list(islice(in_order((due, one.state, one.record) for due, one in looker.waiting()), 10 * AT_ONCE))
        return self._dice.sample(found, min(AT_ONCE, len(found)))

    def _ask(self, one: Open) -> Change:
        doubts = sorted(identity_of(one.state).doubts)
        if doubts and one.case.reason == "link" and not one.case.field:
            return Change(
                id=new_id(), record=one.record, kind=self._dice.choice(WORDS), other=doubts[0], at=int(time() * 1000),
                actor="Ola", origin="person", reason="asked",
            )  # fmt: skip
        offered = offers(self._matrix, one.state, one.case)
        system = self._dice.choice(offered).system if offered else "ehr"
        ask = Ask(case="", action=self._dice.choice(DOES), system=system, to="Ida")
        role = self._dice.choice(["medical_lead", "medical_lead", one.case.owner, "growth_ops"])
        return ask_for(
            one, ask, change_id=new_id(), actor="Ola", role=role, reason="asked", at=int(time() * 1000)
        )  # fmt: skip
