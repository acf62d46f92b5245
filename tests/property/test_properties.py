"""What must hold of every history and in any weather: accounting, determinism, termination and convergence."""

from typing import Literal

import hypothesis.strategies as st
import msgspec
from hypothesis import event, given

from histories import histories
from ownership_stream.decide import decide
from ownership_stream.wire import pack_state, unpack_state
from pair import Pair, play
from simulation import Life, World, crashed_lives, lives
from small_matrix import MATRIX
from source_rows import Step

GUARD = 3 + 10
"""Restores and applied answers that the loop guard allows between two writes by persons."""
FEW = 6
"""What else one field may be sent for: a hand-over, a sweep, answers to orders that were under way."""
MOST = 2 * (GUARD + FEW)
"""Sends of one field to one system: each may be sent once more when nothing lands."""

sorted_by_key = msgspec.msgpack.Encoder(order="deterministic").encode


def lived(life: Life) -> World:
    """A world after its last edit and its last tick."""
    world = World(life.weather, life.habits, life.seed)
    world.live(life.edits)
    world.wait()
    return world


@given(history=histories())
def test_the_same_log_gives_the_same_bytes(history: tuple[Step, ...]) -> None:
    """Two runs over the same changes pack to identical decisions and states, and no state that went in is touched."""
    first, second = play(MATRIX, history), Pair(MATRIX)
    for change, withheld in first.changes:
        second.feed(change, withheld)
    assert first.packed == second.packed


@given(history=histories())
def test_where_a_batch_ends_changes_nothing(history: tuple[Step, ...]) -> None:
    """A state that was stored and read again decides as the one it was, in the same order of everything."""
    kept = stored = None
    for change, withheld in play(MATRIX, history).changes:
        mine = decide(MATRIX, kept, change, withheld)
        theirs = decide(MATRIX, None if stored is None else unpack_state(stored), change, withheld)
        assert sorted_by_key(mine) == sorted_by_key(theirs)
        kept, stored = mine.state, pack_state(theirs.state)


@given(life=lives())
def test_writes_stop(life: Life) -> None:
    """After the last event of a person a field is sent to a system a bounded number of times, and all comes to rest."""
    world = lived(life)
    assert max(world.sent.values(), default=0) <= MOST, world.told_so_far()
    assert world.events <= MOST * len(MATRIX.fields) * len(MATRIX.systems), world.told_so_far()


@given(life=lives())
def test_no_disagreement_is_silent(life: Life) -> None:
    """After the last tick both systems show what is expected, or a case or a listed exception says why not."""
    world = lived(life)
    assert not world.outstanding(), f"something is still outstanding{world.told_so_far()}"
    assert [] == list(world.silent_disagreements()), world.told_so_far()
    assert [] == list(world.misremembered()), world.told_so_far()


@given(life=lives(), actions=st.lists(st.sampled_from(["accept", "keep", "set"]), min_size=1, max_size=4))
def test_systems_end_at_what_people_resolve_or_a_case_is_open(
    life: Life, actions: list[Literal["accept", "keep", "set"]]
) -> None:
    """In any weather and any order: versions grow, nothing under way is sent again, no disagreement is silent."""
    world = lived(life)
    for action in actions:
        for name in sorted(world.state.cases if world.state else {}):
            before = world.state
            decision = world.resolve(name, action) if name in MATRIX.fields and before is not None else None
            if decision is None or before is None or decision.answer is None:
                continue
            event(f"{decision.answer.outcome}: {decision.answer.reason}")
            after = decision.state
            assert decision.answer.outcome in ("accepted", "kept", "set", "refused"), world.told_so_far()
            raised = decision.answer.outcome in ("accepted", "set")
            assert before.version + raised == after.version
            for send in decision.sends:
                for field, value in send.values.items():
                    waiting = before.systems[send.system].outstanding.get(field, ())
                    assert not waiting or waiting[-1].value != value, world.told_so_far()
        world.settle()
        world.wait()
        assert [] == list(world.silent_disagreements()), world.told_so_far()
    assert not world.outstanding(), f"something is still outstanding{world.told_so_far()}"
    assert max(world.sent.values(), default=0) <= MOST, world.told_so_far()


@given(life=crashed_lives())
def test_what_a_crashed_sink_writes_again_is_nobody_s_attempt(life: Life) -> None:
    """Where people's saves take our mark away: it changes nothing that is current, and is put right or is a case."""
    world = lived(life)
    assert [] == world.taken, world.told_so_far()
    assert [] == list(world.silent_disagreements()), world.told_so_far()
    assert [] == list(world.misremembered()), world.told_so_far()
