"""A closed loop lived through: scenes, then a storm with restarts and snapshots in the middle, then rest.

Says what it does while it does it, to whoever listens. Used by `make loop-demo` and by the integration test.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from time import sleep
from typing import Any, Final

from closed_loop.people import NEWCOMER, Scene, contact, newcomer, scenes, storm
from closed_loop.site import SIDES, ClosedLoop, Edit

EDITS: Final = 30
"""Of each system's people between two things that happen to the connectors."""
PACE_SECONDS: Final = 0.02
"""Between two edits of a system: so that the connectors are at work meanwhile."""

GATE_SECONDS: Final = 400.0

Tell = Callable[[str], None]


@dataclass
class Story:
    """One seed is one story. ``crash``: Connect is killed with -9 in the storm; careful writers are in any case."""

    loop: ClosedLoop
    seed: int
    crash: bool
    tell: Tell = lambda _: None

    def live(self) -> None:
        """All of it, each part behind the one before."""
        self.loop.rest()
        self.first = self.loop.sent()
        self.tell("the connectors have read both tables, and nothing was sent: the two systems agree, or it is listed")
        self.scenes = scenes()
        self.tell(f"\n{len(self.scenes)} scenes, the people of both systems at the same time")
        for scene in self.scenes:
            self.tell(f"  {scene.number:2}. {scene.title}")
        self._scenes()
        self.tell("  20. the EHR's interface makes a row for a lead whom only the CRM knew: what it may know follows")
        self.loop.insert("ehr", newcomer())
        self.loop.rest()
        self.after_scenes = self.loop.sent()
        self.tell(f"at rest: {self.after_scenes - self.first} writes were sent")
        self._storm()
        self.loop.rest()
        self.after_storm = self.loop.sent()
        self.tell(f"at rest: {self.after_storm - self.after_scenes} more writes were sent")

    def _storm(self) -> None:
        """Both systems' people edit all the while; between their hands, in turn, something befalls the connectors."""
        self.tell(f"\na storm: {5 * EDITS} edits in each system, by seed {self.seed}")
        plans = {system: list(storm(self.seed, system, 5 * EDITS)) for system in SIDES}
        gate = Barrier(len(SIDES) + 1)
        with ThreadPoolExecutor(len(SIDES)) as people:
            working = [people.submit(self._people, system, plans[system], gate) for system in SIDES]
            try:
                for befalls in (self._nothing, self._both_read_again, self._gone, self._back, self._one_restarts):
                    gate.wait(GATE_SECONDS)
                    befalls()
                    gate.wait(GATE_SECONDS)
            except BaseException:
                gate.abort()
                raise
            for one in working:
                one.result()

    def _people(self, system: str, plan: list[Edit], gate: Barrier) -> None:
        """Edits in a session of their own; what befalls the connectors does so while they go on."""
        try:
            with self.loop.server.connect(self.loop.databases[system]) as session:
                for number, edit in enumerate(plan):
                    if number % EDITS == 0:
                        gate.wait(GATE_SECONDS)
                    self.loop.edit(edit, session)
                    sleep(PACE_SECONDS)
                    if number % EDITS == EDITS - 1:
                        gate.wait(GATE_SECONDS)
        except BaseException:
            gate.abort()
            raise

    def _nothing(self) -> None:
        self.tell("  nothing befalls the connectors")

    def _both_read_again(self) -> None:
        self.tell("  both connectors are told to read their whole table again")
        for system in SIDES:
            self.loop.snapshot(system)

    def _gone(self) -> None:
        for system, writer in self.loop.writers.items():
            self.tell(f"  the {system}'s writer is killed with -9")
            writer.kill()
        if self.crash:
            self.tell("  Kafka Connect is killed with -9: the connectors of both systems, and the sinks")
            self.loop.connect.kill_when_noted()

    def _back(self) -> None:
        self.tell("  what was killed is started, and goes on where it had noted that it was")
        for writer in self.loop.writers.values():
            writer.start()
        if self.crash:
            self.loop.connect.start()
            self.loop.connect.await_running()

    def _one_restarts(self) -> None:
        self.tell("  each connector is restarted by itself")
        for name in self.loop.connect.connectors:
            self.loop.connect.restart(name)
        self.loop.connect.await_running()

    def _scenes(self) -> None:
        """Both systems' people at the same time; where both edit one patient, in the scene's order, unseen."""
        both = [scene for scene in self.scenes if len({edit.system for edit in scene.edits}) > 1]
        for edit in (edit for scene in both for edit in scene.edits):
            self.loop.edit(edit)

        def work(system: str) -> None:
            for edit in (edit for scene in self.scenes if scene not in both for edit in scene.edits):
                if edit.system == system:
                    self.loop.edit(edit)

        with ThreadPoolExecutor(len(SIDES)) as people:
            list(people.map(work, SIDES))

    # ------------------------------------------------------------------------------------------------ its ends

    def ends(self, scene: Scene) -> list[str]:
        """Where a scene ended otherwise than it must."""
        wrong = []
        for system, key, expected in (("ehr", scene.number, scene.ehr), ("crm", contact(scene.number), scene.crm)):
            row = self.loop.row(system, key)
            wrong += [
                f"scene {scene.number}: the {system} shows {row[column]!r} for `{column}`, not {value!r}"
                for column, value in expected.items()
                if row[column] != value
            ]
        return wrong

    def newcomer(self) -> dict[str, Any]:
        """What the EHR shows of the lead that it had not heard of."""
        return self.loop.row("ehr", NEWCOMER)
