"""Whatever happens to a record, the implementation ends every field as the oracle reads it from docs/rules.md."""

from hypothesis import event, given

from histories import histories
from pair import play
from small_matrix import MAKING, MATRIX
from source_rows import Step


@given(history=histories())
def test_the_decision_is_what_the_rules_say(history: tuple[Step, ...]) -> None:
    """After every change of any history, code and oracle agree on every outcome, send, case and value."""
    pair = play(MATRIX, history)
    for outcome, reason in sorted(pair.ends):
        event(f"{outcome}: {reason}")


@given(history=histories(making=True))
def test_records_are_made_as_the_rules_say(history: tuple[Step, ...]) -> None:
    """The same where the matrix has records made in systems that do not have them."""
    pair = play(MAKING, history)
    for send in sorted(pair.made):
        event(f"made: {send}")
