"""The pure parts of `verify`: deciding again, and telling what differs since when, without any value."""

from typing import Any

import msgspec
import pytest

from ownership_stream.identity import partition_of
from ownership_stream.lane import Record
from ownership_stream.lane.contract import Step
from ownership_stream.model import RecordState
from ownership_stream.regimes import Regime, Regimes
from ownership_stream.steps import REGIMES, packed, unpack, unpack_regimes
from ownership_stream.verify.again import Again, Traced, UndecidableError, digests, number_of, output_digest
from ownership_stream.verify.changelog import DIGEST_BYTES, Kept, digest_of
from ownership_stream.verify.compare import (
    Aligned,
    Compacted,
    Finding,
    differing_fields,
    left_behind,
    may_hold,
    precedence,
    since_when,
)
from ownership_stream.wire import JSON
from step_kit import CHANGES, TOPICS, DecideLane, decide_step, log_record, others_of, row

ONE = "r"
TWO = others_of(ONE, same=True)
HOME = partition_of(ONE, TOPICS.partitions)
NAME = {"family": "Zebedee", "given": "Ann"}
NOBODY: frozenset[int] = frozenset()


def log() -> list[Record]:
    """The changes of two records in one partition: a conflict among them."""
    changes = [
        row(ONE, 0, "crm", {"legal_name": NAME, "care_stage": "in_care"}, "growth_ops", op="c"),
        row(ONE, 1, "ehr", {"date_of_birth": "1980-01-02"}, "nurse", op="c"),
        row(TWO, 0, "crm", {"email": "zebedee@x.org"}, "growth_ops", op="c"),
        row(ONE, 2, "crm", {"date_of_birth": "1981-01-02"}, "growth_ops"),
        row(TWO, 1, "crm", {"email": "ann@x.org"}, "growth_ops"),
    ]
    return [log_record(change, offset) for offset, change in enumerate(changes)]


def decided() -> DecideLane:
    """What a lane has made of them."""
    lane = DecideLane()
    lane.batch(log())
    return lane


def under(regimes: Regimes) -> Any:
    """The step of each regime."""
    steps: dict[Regime | None, Step] = {None: decide_step(), **dict.fromkeys(regimes, decide_step())}
    return steps.get


# ------------------------------------------------------------------------------------------------ deciding again


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_log_decided_again_gives_the_same_states_and_outputs(size: int) -> None:
    """However it is cut; what was decided under what is not made again."""
    lane = decided()
    regimes = unpack_regimes(lane.stored[REGIMES])
    again = Again(under(regimes), watched=[TOPICS.conflicts])
    for first in range(0, len(log()), size):
        again.settle(log()[first : first + size], regimes, NOBODY)
    assert {name: state for name, state in lane.stored.items() if name != REGIMES} == again.states
    conflicts = [one for one in lane.outputs if one.topic == TOPICS.conflicts]
    expected = [output_digest(one.key, one.value, one.headers) for one in conflicts]
    found = again.outputs[TOPICS.conflicts]
    assert expected == [digests(found, number) for number in range(len(found) // DIGEST_BYTES)] != []


def test_what_the_lane_itself_buried_was_never_decided() -> None:
    """A record too large for its topics, say: it is skipped, as the lane skipped it."""
    lane = DecideLane()
    lane.batch(log()[:3])
    lane.batch(log()[4:])
    regimes = unpack_regimes(lane.stored[REGIMES])
    again = Again(under(regimes))
    again.settle(log(), regimes, frozenset({3}))
    assert lane.stored[ONE] == again.states[ONE]


def test_what_nobody_can_decide_any_more_is_refused_at_its_offset() -> None:
    """A regime whose matrix is not here; changes from before the first regime. What is no change needs neither."""
    regime = Regime(2, "gone", "enforce", "1")
    again = Again({None: decide_step()}.get)
    with pytest.raises(UndecidableError) as caught:
        again.settle(log(), (regime,), NOBODY)
    assert (0, None) == (caught.value.offset, caught.value.regime)
    again.settle([Record(CHANGES, HOME, 0, 0, b"k", b"no change", ())], (regime,), NOBODY)
    with pytest.raises(UndecidableError) as caught:
        again.settle(log()[2:], (regime,), NOBODY)
    assert (2, regime) == (caught.value.offset, caught.value.regime)


def test_a_trace_tells_what_each_change_left_and_which_made_an_output() -> None:
    """Change by change, for the records and outputs that are asked for."""
    regimes = unpack_regimes(decided().stored[REGIMES])
    traced = Traced(Again(under(regimes)), frozenset({ONE}), {TOPICS.conflicts: 0})
    traced.settle(log(), regimes, NOBODY)
    assert [0, 1, 3] == [offset for offset, _ in traced.states[ONE]]
    assert digest_of(decided().stored[ONE]) == traced.states[ONE][-1][1]
    offset, output = traced.made[TOPICS.conflicts]
    [first, *_] = [one for one in decided().outputs if one.topic == TOPICS.conflicts]
    assert first == output
    assert dict(output.headers)["ce_id"].decode().startswith(JSON.read_change(log()[offset].value or b"").id)


# ------------------------------------------------------------------------------------------------ since when

MADE = [(10, b"a"), (20, b"b"), (30, b"c"), (40, b"d")]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([b"a", b"b", b"c", b"d"], (None, None)),
        ([b"b", b"d"], (None, None)),
        ([b"d"], (None, None)),
        ([b"b"], (30, 40)),
        ([b"c"], (40, 40)),
        ([b"a", b"x"], (20, 40)),
        ([b"c", b"x"], (40, 40)),
        ([b"x"], (10, 40)),
        ([], (10, 40)),
        ([b"d", b"x"], (40, 40)),
    ],
)
def test_since_when_a_record_went_another_way(kept: list[bytes], expected: tuple[int | None, int | None]) -> None:
    """From the first change after the last state that was right, to its last; batches leave states out."""
    assert expected == since_when(MADE, kept)


def test_a_record_without_changes_went_nowhere() -> None:
    """Its state follows from none of them, so no offset is told."""
    assert (None, None) == since_when([], [b"x"])


@pytest.mark.parametrize(
    ("digest", "expected"), [(b"b", (30, 40)), (b"c", (40, 40)), (b"d", (None, None)), (b"x", (None, None))]
)
def test_since_when_the_store_stopped_following(digest: bytes, expected: tuple[int | None, int | None]) -> None:
    """Only a former state tells."""
    assert expected == left_behind(MADE, digest)


STATES = [Kept(5, b"a"), Kept(10, b"b"), Kept(15, b"c")]


@pytest.mark.parametrize(
    ("states", "position", "expected"),
    [
        (STATES, 16, {b"c"}),
        (STATES, 11, {b"b", b"c"}),
        (STATES, 6, {b"a", b"b", b"c"}),
        (STATES, 5, None),
        ([], 5, {b""}),
    ],
)
def test_what_the_store_may_hold_at_a_position(states: list[Kept], position: int, expected: set[bytes] | None) -> None:
    """The newest before it; or what was committed since, which a save brings in before it moves the position."""
    assert expected == may_hold(states, position)


# ------------------------------------------------------------------------------------------------ which fields


def test_differences_are_named_and_no_value_is() -> None:
    """Down to the fields of each part of a state; a row's key and a value's parts are not looked into."""
    lane = decided()
    other = DecideLane()
    other.batch(log()[:3])
    names = differing_fields(lane.stored[ONE], other.stored[ONE])
    assert (
        "fields.date_of_birth.told",
        "systems.crm.refused.date_of_birth",
        "systems.crm.rows",
        "systems.crm.shown.date_of_birth",
    ) == names
    said = " ".join(names)
    assert not [word for word in ("Zebedee", "1980", ONE + "/", "nurse") if word in said]
    assert () == differing_fields(lane.stored[ONE], None)


def test_a_damaged_name_is_not_told() -> None:
    """Damage can put any text where a field's name was."""
    state = unpack(decided().stored[TWO])
    assert state is not None
    fields = {("zebedee@x.org" if name == "email" else name): field for name, field in state.fields.items()}
    damaged = packed(msgspec.structs.replace(state, fields=fields), 0)
    names = differing_fields(decided().stored[TWO], damaged)
    assert {"fields.*", "fields.email"} <= set(names)
    assert "zebedee" not in " ".join(names)


def test_what_differs_without_a_name_is_told_in_words() -> None:
    """The next tick; bytes that are no state; the same state in other bytes."""
    state = RecordState()
    assert ("due",) == differing_fields(packed(state, 0), packed(state, 9))
    assert ("bytes that are no state",) == differing_fields(packed(state, 0), b"12345678\xff\xff")
    longer = packed(state, 0)[:8] + msgspec.msgpack.encode([*msgspec.to_builtins(state), "new"])
    assert ("encoding",) == differing_fields(packed(state, 0), longer)


# ------------------------------------------------------------------------------------------------ outputs


def aligned(expected: str, found: str, *, whole: bool = True) -> Aligned:
    """A letter stands for an output."""
    one = Aligned(bytearray(b"".join(digest_of(letter.encode()) for letter in expected)), whole=whole)
    for letter in found:
        if not one.next(digest_of(letter.encode()), b"key"):
            return one
    one.end()
    return one


@pytest.mark.parametrize(
    ("found", "wrong", "compared"),
    [
        ("a1 b1 a2 c1 b2", None, 5),
        ("a1 a2 c1 b2", None, 4),
        ("a2 c1 b2", None, 3),
        ("a2 c1 b2 a3 d1", None, 3),
        ("c1 b2 a3", None, 2),
        ("a3", "missing", 0),
        ("a1 b1 a2 c1", "missing", 4),
        ("a1 c1 b2", "missing", 3),
        ("", "missing", 0),
        ("a2 c1 c1 b2", "twice", 2),
        ("a2 x1 c1 b2", "unexpected", 1),
        ("a2 a1 c1 b2", "twice", 1),
    ],
)
def test_outputs_on_a_compacted_topic_are_compared_key_by_key(found: str, wrong: str | None, compared: int) -> None:
    """The last of each key must stand, unless a newer one has come since; what stands is in its order, and once."""
    expected = ["a1", "b1", "a2", "c1", "b2"]
    last = {name[:1].encode(): number for number, name in enumerate(expected)}
    one = Compacted(bytearray(b"".join(digest_of(name.encode()) for name in expected)), last)
    if all(one.next(digest_of(name.encode()), name[:1].encode()) for name in found.split()):
        one.end()
    assert (wrong, compared) == (one.wrong, one.compared)


@pytest.mark.parametrize(
    ("expected", "found", "whole", "wrong", "compared"),
    [
        ("abc", "abc", True, None, 3),
        ("abc", "abcde", True, None, 3),
        ("abc", "ac", True, "missing", 1),
        ("abc", "ab", True, "missing", 2),
        ("abc", "abxc", True, "unexpected", 2),
        ("abc", "abbc", True, "twice", 2),
        ("abc", "acb", True, "missing", 1),
        ("abc", "bc", True, "missing", 0),
        ("abc", "bc", False, None, 2),
        ("abc", "c", False, None, 1),
        ("abcd", "bd", False, "missing", 1),
        ("abc", "", False, None, 0),
        ("", "x", True, None, 0),
    ],
)
def test_outputs_are_compared_in_their_order(
    expected: str, found: str, whole: bool, wrong: str | None, compared: int
) -> None:
    """Lost, strange, twice; what comes after what must be there by now is later's; retention takes from the front."""
    one = aligned(expected, found, whole=whole)
    assert (wrong, compared) == (one.wrong, one.compared)


def test_a_record_is_told_before_the_breaker_that_followed_from_it() -> None:
    """The lane's own state stands for the whole batch, and so seems to differ since an older change."""

    def finding(record: str, since: int | None) -> Finding:
        place = {"stage": "decide", "topic": "state", "partition": 0, "changes": "changes"}
        return Finding(what="state", how="differs", record=record, since=since, **place)

    found = [finding("__breaker", 3), finding("c", None), finding("b", 9), finding("a", 5)]
    assert ["a", "b", "c", "__breaker"] == [one.record for one in sorted(found, key=precedence)]


def test_an_output_is_found_only_where_one_begins() -> None:
    """Digests stand without gaps, so a match across two of them is none."""
    first, second = b"a" * DIGEST_BYTES, b"a" * (DIGEST_BYTES - 1) + b"b"
    assert 1 == number_of(bytearray(first + second), second)
    assert -1 == number_of(bytearray(b"x" * 8 + second + b"x" * 8), second)
