"""The whole way of a source record, without lanes: decoded and mapped by intake, written, read again and decided."""

from collections import Counter
from typing import Any, Final

from ownership_stream import sources
from ownership_stream.lane.contract import Record, StepResult
from ownership_stream.model import RecordState, Value
from ownership_stream.steps import DecideStep, IntakeStep
from ownership_stream.wire.records import Apply, Conflict
from source_kit import CONTACT, CRM, CRM_TOPIC, EHR, EHR_TOPIC, MATRIX, packed
from step_kit import START, TOPICS, DecideLane, applies_in, changes_in, conflicts_in, error_headers, on

KEY: Final = b'{"patient_id":123}'


class Way:
    """Both sources' records, through both stages; what came of all of them is kept."""

    def __init__(self, ehr: sources.Mapping = EHR, crm: sources.Mapping = CRM) -> None:
        decoders = {EHR_TOPIC: sources.decoder(ehr, MATRIX), CRM_TOPIC: sources.decoder(crm, MATRIX)}
        matrix = sources.bound(MATRIX, (ehr, crm))
        writers = {"ehr": sources.Writer(ehr, matrix), "crm": sources.Writer(crm, matrix)}
        decide = DecideStep(matrix, writers, TOPICS, state_topic="ownership.state")
        self._intake, self._lane = IntakeStep(decoders, TOPICS), DecideLane(decide)
        self.letters: list[str] = []
        """Reasons of the dead letters."""
        self.ignored: Counter[str] = Counter()
        self._offset = 0

    def ehr(self, event: Any, *, key: bytes = KEY, headers: Any = ()) -> Counter[str]:
        """A record of the EHR; how its fields ended, but for those that did not change."""
        return self._take(EHR_TOPIC, key, event, headers)

    def crm(self, event: Any) -> Counter[str]:
        """A record of the CRM; likewise."""
        return self._take(CRM_TOPIC, None, event, ())

    def _take(self, topic: str, key: bytes | None, event: Any, headers: Any) -> Counter[str]:
        value = event if isinstance(event, bytes | None) else packed(event)
        record = Record(topic, 0, self._offset, START, key, value, headers)
        self._offset += 1  # a connector's repeat has another offset too
        taken = self._intake.run(self._intake.decode([record]), {})
        letters = on(taken.outputs, TOPICS.dead_letters)
        self.letters += [error_headers(letter.headers)["reason"] for letter in letters]
        self.ignored += Counter({name[1]: number for name, number in taken.counts.items() if "ignored" in name[0]})
        changes = changes_in(taken.outputs)
        return ends(self._lane.decide(*changes)) if changes else Counter()

    @property
    def state(self) -> RecordState:
        """The record's."""
        return self._lane.state(CONTACT)

    def current(self, field: str) -> Value:
        """A field's current value."""
        return self.state.fields[field].value

    def sent(self, system: str) -> list[Apply]:
        """All that the system was sent."""
        return applies_in(self._lane.outputs, system)

    def conflicts(self) -> list[Conflict]:
        """All that people were told."""
        return conflicts_in(self._lane.outputs)

    def written(self, system: str) -> str:
        """The same as text, to look for what must not be there."""
        return "".join((out.value or b"").decode() for out in on(self._lane.outputs, TOPICS.apply[system]))


def ends(result: StepResult) -> Counter[str]:
    """How many changed fields ended in each outcome; what did not change is left out."""
    names = {key: key[1:3] for key in result.counts if key[0] == "outcomes" and key[1] != "noop"}
    return Counter({": ".join(filter(None, names[key])): result.counts[key] for key in names})
