"""What led to a case and what has come of it so far, as its record's state knows it, oldest first.

The state remembers what still counts; the whole story of a record is in the log (``ownership-stream explain``).
"""

from collections.abc import Iterator
from typing import NamedTuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import FieldState, Proposal
from ownership_stream.queue import Open
from ownership_stream.reports import masked
from ownership_stream.web.words import moment, text_of


class Moment(NamedTuple):
    """One thing that happened."""

    at: int
    time: str
    text: str
    who: str = ""
    value: str = ""


def timeline(matrix: Matrix, one: Open, now: int, *, show: bool) -> list[Moment]:
    """Everything that the state knows about the case, values masked unless ``show``; what is still to come last."""
    found = [*_history(matrix, one, show=show), *_sent(matrix, one, show=show), _opened(one)]
    escalation = matrix.escalations.get(one.case.owner)
    whose = escalation.name if escalation else one.case.owner
    times = {1: "once", 2: "twice"}.get(one.case.escalated, f"{one.case.escalated} times")
    passed = f", passed on {times} since nobody decided" if one.case.escalated else ""
    verb = "Was" if one.case.due <= now else "Is"
    last = Moment(one.case.due, moment(one.case.due), f"{verb} due at {whose}{passed}")
    return [*sorted(found, key=lambda entry: entry.at), last]


def _history(matrix: Matrix, one: Open, *, show: bool) -> Iterator[Moment]:
    """The stages, the current value, and the writes that wait."""
    for at, stage in one.state.stages:
        if at:
            yield Moment(at, moment(at), "The care stage changed", value=text_of(stage if show else masked(stage)))
    current = one.state.fields.get(one.case.field, FieldState())
    if current.version:
        where = matrix.systems.get(current.system, "")
        text = f"The current value was set{f' in the {where}' if where else ''} ({current.grant or 'no grant'})"
        value = current.value if show else masked(current.value)
        yield Moment(current.at, moment(current.at), text, _who(current), text_of(value))
    for proposal in one.case.proposals:
        where = matrix.systems.get(proposal.system, proposal.system)
        verb = "asked for" if proposal.request else "written"
        value = proposal.value if show else masked(proposal.value)
        why = f", reason: {proposal.reason}" if proposal.reason and show else ""
        text = f"A value was {verb} in the {where}, and waits here{why}"
        yield Moment(proposal.at, moment(proposal.at), text, _who(proposal), text_of(value))


def _sent(matrix: Matrix, one: Open, *, show: bool) -> Iterator[Moment]:
    """What is under way to each system."""
    for key, seat in one.state.systems.items():
        for sent in seat.outstanding.get(one.case.field, ()):
            again = " once more" if sent.again else ""
            value = sent.value if show else masked(sent.value)
            text = f"Sent{again} to the {matrix.systems.get(key, key)}, and not seen there yet"
            yield Moment(sent.at, moment(sent.at), text, value=text_of(value))


def _opened(one: Open) -> Moment:
    joined = f"; {one.case.joined} repeats joined it" if one.case.joined else ""
    return Moment(one.case.opened, moment(one.case.opened), f"The case was opened{joined}")


def _who(writer: FieldState | Proposal) -> str:
    """Who wrote, as far as the event said; a person's own name only where there is one."""
    role = writer.role or ("a person" if writer.origin == "person" else "an automation")
    return f"{role} ({writer.actor})" if writer.actor and writer.actor != writer.role else role
