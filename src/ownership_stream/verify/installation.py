"""The whole installation verified: which lanes there are, by which matrices they decided, what went wrong in each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ownership_stream.assembly import topics_of
from ownership_stream.errors import BadInputError
from ownership_stream.lane import Broker
from ownership_stream.settings import Settings
from ownership_stream.store import StateStore, key_prefix
from ownership_stream.verify.deciders import Burials, Deciders
from ownership_stream.verify.lane import LaneReport, LaneVerifier, Place

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
        self._deciders = Deciders(settings, former)
        self._buried = Burials(broker, settings)

    def places(self, partitions: Sequence[int] = ()) -> Iterator[Place]:
        """The lanes with states, those of these partitions or all; raises ``BadInputError``."""
        for stage in self._deciders.steps():
            for topic in self._deciders.topics_of(stage):
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
        topics = topics_of(self._settings, self._deciders.matrix)
        watched = [*topics.apply.values(), topics.conflicts, topics.resolutions]
        compared = self._outputs and place.stage == "decide"
        return LaneVerifier(
            self._broker,
            self._store,
            place,
            lambda regime: self._deciders.step_for(place.stage, regime),
            self._buried.of,
            watched=watched if compared else (),
            compacted=[topics.links] if compared else (),
            why=self._deciders.why,
            watch=lambda what, done, end: self._watch(place, what, done, end),
        ).verify()
