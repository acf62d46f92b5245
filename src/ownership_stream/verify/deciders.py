"""Who decided a log: the steps under each matrix revision and mode that is here; and what lanes buried themselves."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ownership_stream.assembly import documents, stages
from ownership_stream.lane import Broker, Step
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.regimes import Regime
from ownership_stream.settings import Mode, Settings
from ownership_stream.sources import Mapping
from ownership_stream.wire import ERRORS

Documents = tuple[Matrix, tuple[Mapping, ...]]


class Deciders:
    """The steps with states of every document that is given."""

    def __init__(self, settings: Settings, former: Sequence[Path] = ()) -> None:
        """``former`` are matrix documents that were in force before; each is read with the `sources` beside it.

        Raises ``BadInputError`` for a document that no worker works by.
        """
        self._settings = settings
        self._known = {found[0].revision: found for found in self._documents(former)}
        self._steps: dict[tuple[str, str], tuple[Step, ...]] = {}
        self.matrix: Final = next(iter(self._known.values()))[0]

    def steps(self) -> tuple[Step, ...]:
        """Those of now."""
        return self._stages(self.matrix.revision, self._settings.mode.value)

    def topics_of(self, step: Step) -> Sequence[str]:
        """What a step reads."""
        found = stages(self._settings, *self._known[self.matrix.revision])
        return next(stage.topics for stage in found if stage.step.name == step.name)

    def step_for(self, name: str, regime: Regime | None) -> Step | None:
        """The step of this name under a regime (``None``: that of now); ``None`` where its matrix is not here."""
        revision = regime.revision if regime is not None else self.matrix.revision
        if revision not in self._known:
            return None
        mode = regime.mode if regime is not None else self._settings.mode.value
        return next(step for step in self._stages(revision, mode) if step.name == name)

    def why(self, regime: Regime | None) -> str:
        """Why nobody can decide under a regime, in words."""
        if regime is None:
            return "nobody wrote down by which matrix it was decided: the lane's regimes do not reach back so far"
        return (
            f"it was decided by matrix revision `{regime.revision}` (release {regime.release}), "
            "which is not here: give that document with `--former-matrix`"
        )

    def _documents(self, former: Iterable[Path]) -> Iterator[Documents]:
        yield documents(self._settings)
        for path in former:
            beside = path.parent / "sources"
            sources = beside if beside.is_dir() else self._settings.sources_path
            yield documents(self._settings.model_copy(update={"matrix_path": path, "sources_path": sources}))

    def _stages(self, revision: str, mode: str) -> tuple[Step, ...]:
        """The steps with states, as they are under a matrix revision and a mode."""
        if (revision, mode) not in self._steps:
            settings = self._settings.model_copy(update={"mode": Mode(mode)})
            found = stages(settings, *self._known[revision])
            self._steps[revision, mode] = tuple(stage.step for stage in found if stage.step.state_topic is not None)
        return self._steps[revision, mode]


class Burials:
    """What lanes themselves put into the dead letters: no step has settled it, and none must."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._topic: Final = settings.topic_dead_letters
        self._read: dict[int, int] = {}
        self._found: dict[tuple[str, int], set[int]] = {}

    def of(self, topic: str, partition: int) -> frozenset[int]:
        """The offsets of a partition that its lane has buried by now."""
        for number in range(self._broker.partitions(self._topic)):
            extent = self._broker.extent(self._topic, number)
            begin = max(self._read.get(number, 0), extent.start)
            for messages in self._broker.read(self._topic, number, begin, extent.end):
                for message in messages:
                    self._note(message.headers() or [])
            self._read[number] = extent.end
        return frozenset(self._found.get((topic, partition), ()))

    def _note(self, headers: Any) -> None:
        told = {name.removeprefix(ERRORS): value for name, value in headers if name.startswith(ERRORS)}
        # A lane knows nothing of an error but its text, a step names its class: see `_Bury` in steps.py.
        if told and told.get("exception.class.name") == told.get("exception.message"):
            where = told["topic"].decode(), int(told["partition"])
            self._found.setdefault(where, set()).add(int(told["offset"]))
