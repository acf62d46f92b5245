"""The whole installation verified: which lanes there are, by which matrices they decided, what went wrong in each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ownership_stream.assembly import documents, stages, topics_of
from ownership_stream.errors import BadInputError
from ownership_stream.lane import Broker, Step
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.regimes import Regime
from ownership_stream.settings import Mode, Settings
from ownership_stream.sources import Mapping
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.verify.lane import LaneReport, LaneVerifier, Place
from ownership_stream.wire import ERRORS

Documents = tuple[Matrix, tuple[Mapping, ...]]
Watch = Callable[[Place, str, int, int], None]
"""Told which lane is verified, what is being done with it, how far, and of how much."""


class Verifier:
    """Verifies the lanes of one application, one after the other."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        store: StateStore,
        *,
        former: Sequence[Path] = (),
        outputs: bool = False,
        watch: Watch = lambda _place, _what, _done, _all: None,
    ) -> None:
        """``former`` are matrix documents that were in force before; each is read with the `sources` beside it.

        Raises ``BadInputError`` for a document that no worker works by, and where topics are cut otherwise than the
        settings say.
        """
        self._settings = settings
        self._broker = broker
        self._store = store
        self._outputs = outputs
        self._watch = watch
        self._known = {found[0].revision: found for found in self._documents(former)}
        self._matrix = next(iter(self._known.values()))[0]
        self._steps: dict[tuple[str, str], tuple[Step, ...]] = {}
        self._buried = _Burials(broker, settings)

    def places(self, partitions: Sequence[int] = ()) -> Iterator[Place]:
        """The lanes with states, those of these partitions or all; raises ``BadInputError``."""
        for stage in self._stages(self._matrix.revision, self._settings.mode.value):
            for topic in self._topics_of(stage):
                cut = self._broker.partitions(topic)
                if cut != self._settings.partitions:
                    raise BadInputError(
                        f"`{topic}` has {cut} partitions and the setting `partitions` says {self._settings.partitions}"
                    )
                states = stage.state_topic or ""
                topic_id = self._broker.topic_id(states)
                for partition in sorted(set(partitions)) or range(cut):
                    if partition >= cut:
                        raise BadInputError(f"`{topic}` has no partition {partition}: it has {cut}, from 0 on")
                    prefix = key_prefix(self._settings.app_id, topic_id, partition)
                    yield Place(stage.name, topic, states, partition, prefix)

    def verify(self, place: Place) -> LaneReport:
        """One lane; raises ``UnavailableError`` when Kafka or the store is away."""
        topics = topics_of(self._settings, self._matrix)
        watched = [*topics.apply.values(), topics.conflicts, topics.resolutions]
        return LaneVerifier(
            self._broker,
            self._store,
            place,
            lambda regime: self._step_for(place.stage, regime),
            self._buried.of,
            watched=watched if self._outputs and place.stage == "decide" else (),
            why=self._why,
            watch=lambda what, done, end: self._watch(place, what, done, end),
        ).verify()

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

    def _topics_of(self, step: Step) -> Sequence[str]:
        found = stages(self._settings, *self._known[self._matrix.revision])
        return next(stage.topics for stage in found if stage.step.name == step.name)

    def _step_for(self, name: str, regime: Regime | None) -> Step | None:
        revision = regime.revision if regime is not None else self._matrix.revision
        if revision not in self._known:
            return None
        mode = regime.mode if regime is not None else self._settings.mode.value
        return next(step for step in self._stages(revision, mode) if step.name == name)

    def _why(self, regime: Regime | None) -> str:
        if regime is None:
            return "nobody wrote down by which matrix it was decided: the lane's regimes do not reach back so far"
        return (
            f"it was decided by matrix revision `{regime.revision}` (release {regime.release}), "
            "which is not here: give that document with `--former-matrix`"
        )


class _Burials:
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
