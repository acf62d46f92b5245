"""A sealed state is the state: the same to whoever looks, the same bytes to whoever packs it, whatever was opened."""

import base64
import copy
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ownership_stream.lane.contract import LaneRefusedError
from ownership_stream.model import FieldState, RecordState, SystemState
from ownership_stream.steps import packed, unpack
from ownership_stream.wire import open_state, pack_state, unpack_state
from step_kit import decide_step, log_record, row

RECORDED = json.loads(gzip.decompress((Path(__file__).parent / "golden_stages.json.gz").read_bytes()))["states"]
STATES = [base64.b64decode(text)[8:] for name, text in sorted(RECORDED.items()) if not name.startswith("__")]
STATE = RecordState(
    version=3,
    systems={"ehr": SystemState(key="1", present=True, shown={"email": "a@x.org", "payer": None})},
    fields={"email": FieldState("a@x.org", 3), "payer": FieldState(None, 2)},
)


def opened() -> RecordState:
    """The small state, sealed anew."""
    return open_state(pack_state(STATE))


@pytest.mark.parametrize("packed_state", STATES)
def test_every_value_of_a_sealed_state_is_what_unpacking_all_of_it_gives(packed_state: bytes) -> None:
    """Field by field and value by value, by each of a dictionary's ways."""
    whole, sealed = unpack_state(packed_state), open_state(packed_state)
    assert list(whole.fields) == list(sealed.fields)
    assert {name: whole.fields[name] for name in whole.fields} == {name: sealed.fields[name] for name in sealed.fields}
    assert whole.fields == open_state(packed_state).fields
    for key, system in whole.systems.items():
        shown: Any = sealed.systems[key].shown
        assert {name: system.shown.get(name) for name in system.shown} == {
            name: shown.get(name) for name in system.shown
        }
        assert (system.shown, list(system.shown.items())) == (shown, list(shown.items()))


@pytest.mark.parametrize("packed_state", STATES)
def test_whatever_was_opened_is_packed_to_the_same_bytes(packed_state: bytes) -> None:
    """Nothing, one value of each kind, and everything."""
    sealed = open_state(packed_state)
    assert packed_state == pack_state(sealed)
    for system in sealed.systems.values():
        system.shown.get(next(iter(unpack_state(packed_state).fields)))
    sealed.fields.get(next(iter(sealed.fields)))
    assert packed_state == pack_state(sealed)
    assert [*sealed.fields.values(), *(system.shown.values() for system in sealed.systems.values())]
    assert packed_state == pack_state(sealed)


def test_one_shown_value_is_found_without_the_others_and_a_missing_one_is_the_default() -> None:
    """Null is a value; what is not shown is none."""
    shown = opened().systems["ehr"].shown
    assert ("a@x.org", None, "none") == (shown.get("email"), shown.get("payer", "none"), shown.get("phone", "none"))
    assert ("email" in shown, "phone" in shown, len(shown)) == (True, False, 2)
    assert ("a@x.org", "none") == (shown.get("email"), shown.get("phone", "none"))


def test_a_copy_is_changed_without_the_state_it_was_made_of() -> None:
    """A draft copies before it writes: fields as sealed ones, what is shown as a dictionary of its own."""
    state = opened()
    fields, shown = state.fields.copy(), state.systems["ehr"].shown.copy()
    fields["email"] = FieldState("b@x.org", 4)
    shown["email"] = "b@x.org"
    assert pack_state(STATE) == pack_state(state)
    assert FieldState("b@x.org", 4) == fields["email"]
    changed = copy.copy(state)
    changed.fields = fields
    assert {**STATE.fields, "email": FieldState("b@x.org", 4)} == unpack_state(pack_state(changed)).fields
    with pytest.raises(KeyError):
        fields["phone"]


def test_a_state_damaged_where_a_decision_looks_stops_the_lane() -> None:
    """It is no internal error of the decision, after which the lane would go on from a state that is none."""
    system = msgspec.msgpack.decode(pack_state(STATE))[2]["ehr"]
    damaged = msgspec.msgpack.encode([1, 3, {"ehr": [*system[:2], "no dictionary", *system[3:]]}, {}])
    step, change = decide_step(), row("r1", 1, "ehr", {"email": "b@x.org"})
    stored = bytes(8) + damaged
    assert unpack(stored, open_state) is not None
    with pytest.raises(LaneRefusedError, match="damaged"):
        step.run(step.decode([log_record(change, 1)]), {"r1": stored})


def test_a_state_is_stored_with_the_time_of_its_next_tick_before_it() -> None:
    """Sealed or not."""
    assert (7).to_bytes(8, "big") + pack_state(STATE) == packed(opened(), 7)
