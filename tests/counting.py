"""A tiny honest step for tests of the mechanism: it counts the changes of each record and passes each one on.

The state of a record is its count, and each output carries the count it was given, so that a change lost, settled
twice, or settled on a lost state shows in the outputs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ownership_stream.lane import Output, Record, StepResult

POISON_DECODE = b"cannot be decoded"
POISON_STEP = b"breaks the step"
POISON_SIZE = b"grows too large"
GROWN = 5_000_000


@dataclass
class Counted:
    """Good records, and the dead letters that bad ones have become."""

    good: list[tuple[str, bytes]] = field(default_factory=list)
    dead: list[Output] = field(default_factory=list)

    @property
    def record_ids(self) -> Sequence[str]:
        """The keys of the good records, each once."""
        return list(dict.fromkeys(record_id for record_id, _ in self.good))


class CountingStep:
    """Counts by key; without a state topic it only passes on."""

    def __init__(
        self,
        name: str = "decide",
        state_topic: str | None = "ownership.state",
        output_topic: str = "apply.crm",
        dead_topic: str = "ownership.dead-letters",
    ) -> None:
        self.name = name
        self.state_topic = state_topic
        self.output_topic = output_topic
        self.dead_topic = dead_topic
        self.partition: int | None = None

    def decode(self, records: Sequence[Record]) -> Counted:
        """Keys and values; a record without key, or marked as undecodable, is a dead letter."""
        counted = Counted()
        for record in records:
            if record.key is None or record.value == POISON_DECODE:
                counted.dead.append(self.dead_letter(record, "decode", "undecodable"))
            else:
                counted.good.append((record.key.decode(), record.value or b""))
        return counted

    def run(self, decoded: Counted, states: Mapping[str, bytes | None]) -> StepResult:
        """One output per good record: its count so far, and its value."""
        result = StepResult(list(decoded.dead))
        for record_id, value in decoded.good:
            if value == POISON_STEP:
                raise ValueError("a patient's value stands in this text")
            count = int(result.states.get(record_id) or states.get(record_id) or b"0") + 1
            if self.state_topic is not None:
                result.states[record_id] = b"%d" % count
            body = b"x" * GROWN if value == POISON_SIZE else b"%d %b" % (count, value)
            result.outputs.append(Output(self.output_topic, record_id.encode(), body, [], 0))
        result.counts = Counter({("changes",): len(decoded.good), ("dead",): len(decoded.dead)})
        return result

    def dead_letter(self, record: Record, stage: str, error: str) -> Output:
        """The original bytes, and where and why."""
        headers = [("stage", stage.encode()), ("error", error.encode())]
        headers.append(("source-offset", str(record.offset).encode()))
        return Output(self.dead_topic, record.key, record.value, headers, 0)
