"""Bytes that stand on topics and in Redis outlive a release: those of a recorded clinic are still made, and still read.

`golden_stages.json.gz` holds source records and control events of two patients, a hash of all that the first release's
stages wrote for each of them (outputs and packed states, in order), and the last packed states whole. A hash that
differs is a change of what stands on a topic: it needs a format version and a reader of the former one, or is a
mistake. Where a decision was changed on purpose the recording is to be made anew from its own events.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ownership_stream import sources
from ownership_stream.lane.contract import Output, Record
from ownership_stream.sources import Writer
from ownership_stream.steps import REGIMES, DecideStep, IntakeStep, packed, unpack
from ownership_stream.store import DUE_BYTES, due_of
from ownership_stream.wire import pack_state, unpack_state
from source_kit import CRM, CRM_TOPIC, EHR, EHR_TOPIC, MATRIX
from step_kit import TOPICS

RECORDING = Path(__file__).parent / "golden_stages.json.gz"
TRACED = [("traceparent", b"00-1-2-01")]

Event = tuple[str, int, bytes, bytes]
"""(source topic, or `log` for what stands on the changes topic by itself; time; key; value)."""
States = dict[str, bytes]


@cache
def recording() -> dict[str, Any]:
    """What was recorded: `events`, `digests` of what followed from each, and the `states` at the end."""
    found: dict[str, Any] = json.loads(gzip.decompress(RECORDING.read_bytes()))
    return found


def events() -> list[Event]:
    """The recorded events."""
    return [(t, at, key.encode("latin-1"), value.encode("latin-1")) for t, at, key, value in recording()["events"]]


def play() -> Iterator[tuple[list[Output], list[tuple[list[Output], States]]]]:
    """What follows from each event: the outputs of intake, and for each change what decide puts out and stores."""
    matrix = replace(MATRIX, revision="golden")
    topics = TOPICS._replace(partitions=1)
    decoders = {EHR_TOPIC: sources.decoder(EHR, matrix), CRM_TOPIC: sources.decoder(CRM, matrix)}
    intake = IntakeStep(decoders, topics)
    writers = {"ehr": Writer(EHR, matrix), "crm": Writer(CRM, matrix)}
    step = DecideStep(matrix, writers, topics, state_topic="ownership.state", secret=b"golden")
    stored: States = {}
    for number, (topic, at, key, value) in enumerate(events()):
        taken: list[Output] = []
        if topic != "log":
            headers = TRACED if number % 3 == 0 else []
            taken = intake.run(intake.decode([Record(topic, 0, number, at, key, value, headers)]), {}).outputs
            changes = [Record(*one[:1], 0, number, at, *one[1:4]) for one in taken if one.topic == topics.changes]
        else:
            changes = [Record(topics.changes, 0, number, at, key, value, [])]
        decided = []
        for change in changes:
            batch = step.decode([change])
            result = step.run(batch, {name: stored.get(name) for name in batch.record_ids})
            stored |= result.states
            # The lane's regimes name the release, and so are other bytes in each.
            states = {name: state for name, state in result.states.items() if name != REGIMES}
            decided.append((list(result.outputs), states))
        yield taken, decided


def digest(taken: list[Output], decided: list[tuple[list[Output], States]]) -> str:
    """One hash of all that followed from an event, in its order."""
    found = hashlib.sha256()
    for output in taken:
        found.update(repr(tuple(output)).encode())
    for outputs, states in decided:
        for output in outputs:
            found.update(repr(tuple(_as_first(output))).encode())
        for state in states.items():
            found.update(repr(state).encode())
    return found.hexdigest()[:16]


def _as_first(output: Output) -> Output:
    """A record as the first release wrote it: sightings had no headers but their type, and nobody reads the others."""
    if output.topic != TOPICS.matches:
        return output
    return output._replace(headers=[header for header in output.headers if header[0] == "content-type"])


def test_the_stages_write_the_bytes_that_the_first_release_wrote() -> None:
    """For each recorded event: every key, value, header and packed state, and their order."""
    expected = recording()["digests"]
    actual = [digest(taken, decided) for taken, decided in play()]
    different = [number for number, pair in enumerate(zip(expected, actual, strict=True)) if pair[0] != pair[1]]
    assert [] == different


def test_a_state_that_the_first_release_packed_is_read_and_packed_to_the_same_bytes() -> None:
    """By whoever reads all of it, and by the decide step, which opens only what it needs."""
    for name, text in recording()["states"].items():
        stored = base64.b64decode(text)
        if not name.startswith("__"):
            assert stored[DUE_BYTES:] == pack_state(unpack_state(stored[DUE_BYTES:]))
            state = unpack(stored)
            assert state is not None
            assert stored == packed(state, due_of(stored))
