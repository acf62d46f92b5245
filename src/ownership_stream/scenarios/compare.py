"""What a scenario expects beside what came out.

Expectations with a step are about that step. Those at the end are about all steps that say nothing of the kind
themselves, and, for the queue, current and shown values, about the state in which the story ends. What is named is
complete: ``then`` names every write attempt and ``sends`` everything that is sent. Quiet outcomes (``noop``,
``replay``, ``echo``, ``baseline``) count only for a field of which one is named.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

import msgspec

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.document import Place
from ownership_stream.model import Answer, Case, Evidence, FieldState, Outcome, RecordState, Send, Value
from ownership_stream.outcomes import ATTEMPTS
from ownership_stream.scenarios.play import Labels, Moment, Told
from ownership_stream.scenarios.story import (
    Expected,
    ExpectedCase,
    ExpectedCurrent,
    ExpectedOutcome,
    ExpectedSend,
    Scenario,
)
from ownership_stream.scenarios.words import MERGED
from ownership_stream.slots import is_own, meant

_MERGED: Final = {outcome: word for word, outcome in MERGED.items()}
ABSENT: Final = "-"
"""Stands for what is not there, on either side."""


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as expected."""

    place: Place
    what: str
    expected: str
    actual: str


class Happened(msgspec.Struct, frozen=True):
    """An outcome with what the decision says of it elsewhere."""

    outcome: Outcome
    ends_override: bool


def compare(matrix: Matrix, scenario: Scenario, told: Told) -> tuple[Difference, ...]:
    """Every difference between a scenario's expectations and what came out, in the order of the story."""
    comparison = _Comparison(matrix, told.labels)
    for number, moment in enumerate(told.moments, 1):
        if moment.step is not None:
            comparison.expect(f"act {number}: ", moment.step.expected, [moment], moment.decision.state)
    for step in told.stranded:
        comparison.differ(step.place, "what lands here", "something under way", ABSENT)
    rest = scenario.expected
    comparison.outcomes("", rest.outcomes, _outcomes(_silent(told.moments, "outcomes")), scenario.place)
    comparison.again("", rest.again, _redecided(_silent(told.moments, "again")), scenario.place)
    comparison.merged("", rest.merged, _merged(_silent(told.moments, "merged")), scenario.place)
    comparison.sends("", rest.sends, _sends(_silent(told.moments, "sends")), rest.sends_at)
    if told.moments:
        comparison.state("", rest, told.moments[-1].decision.state)
    return tuple(comparison.differences)


def _silent(moments: Iterable[Moment], attribute: str) -> list[Moment]:
    """The moments whose own step says nothing of the kind."""
    return [moment for moment in moments if moment.step and getattr(moment.step.expected, attribute) is None]


def _outcomes(moments: Iterable[Moment]) -> list[Happened]:
    """Every carried field's outcome; a field that was carried and decided no further is a ``noop``."""
    happened = []
    for moment in moments:
        ended = set(moment.decision.ended_overrides)
        happened += [Happened(outcome, outcome.field in ended) for outcome in moment.decision.outcomes]
        for carried, request in (
            ({**moment.change.fields, **moment.change.compared}, False),
            (moment.change.requests, True),
        ):
            said = {outcome.field for outcome in moment.decision.outcomes if outcome.request == request}
            happened += [
                Happened(Outcome(name, "noop", request=request), ends_override=False)
                for name in carried
                if name not in said
            ]
    return happened


def _redecided(moments: Iterable[Moment]) -> list[Happened]:
    return [
        Happened(outcome, outcome.field in moment.decision.ended_overrides)
        for moment in moments
        for outcome in moment.decision.redecided
    ]


def _merged(moments: Iterable[Moment]) -> list[Outcome]:
    return [outcome for moment in moments for outcome in moment.decision.merged]


def _sends(moments: Iterable[Moment]) -> list[Send]:
    return [send for moment in moments for send in moment.decision.sends]


class _Comparison:
    """The differences found so far."""

    def __init__(self, matrix: Matrix, labels: Labels) -> None:
        self.matrix = matrix
        self.labels = labels
        self.differences: list[Difference] = []

    def differ(self, place: Place, what: str, expected: str, actual: str) -> None:
        if expected != actual:
            self.differences.append(Difference(place, what, expected, actual))

    def expect(self, where: str, expected: Expected, moments: list[Moment], state: RecordState) -> None:
        """All that one step expects."""
        place = moments[0].step.place if moments[0].step is not None else Place(1, 1)
        self.outcomes(where, expected.outcomes, _outcomes(moments), place)
        self.again(where, expected.again, _redecided(moments), place)
        self.merged(where, expected.merged, _merged(moments), place)
        self.sends(where, expected.sends, _sends(moments), expected.sends_at)
        self.answer(where, expected.answer, moments[0].decision.answer, place)
        self.state(where, expected, state)

    def answer(self, where: str, expected: tuple[str, str] | None, actual: Answer | None, place: Place) -> None:
        """How what a person asked was answered."""
        if expected is not None:
            have = ABSENT if actual is None else _end(actual.outcome, actual.reason)
            self.differ(place, f"{where}answer", _end(*expected), have)

    def state(self, where: str, expected: Expected, state: RecordState) -> None:
        """What the record's state should be then."""
        if expected.queue is not None:
            self.queue(where, expected.queue, state.cases, expected.queue_at)
        for current in expected.current:
            self.current(where, current, state.fields.get(current.field, FieldState()))
        for system, name, value, place in expected.shown:
            shows = state.systems[system].shown.get(name) if system in state.systems else None
            if not same(value, shows):
                self.differ(place, f"{where}{name} shown in {system}", words_of(value), words_of(shows))

    # -------------------------------------------------------------------------------------------- outcomes

    def outcomes(
        self, where: str, expected: tuple[ExpectedOutcome, ...] | None, actual: list[Happened], place: Place
    ) -> None:
        """Field by field, in order: every attempt, and quiet outcomes of a field of which one is expected."""
        if expected is None:
            return
        quiet = {one.field for one in expected if one.outcome not in ATTEMPTS}
        kept = [one for one in actual if one.outcome.outcome in ATTEMPTS or one.outcome.field in quiet]
        self._in_order(where, "", expected, kept, place)

    def again(
        self, where: str, expected: tuple[ExpectedOutcome, ...] | None, actual: list[Happened], place: Place
    ) -> None:
        """Decisions of what had waited: all of them."""
        if expected is not None:
            self._in_order(where, " again", expected, actual, place)

    def merged(
        self, where: str, expected: tuple[ExpectedOutcome, ...] | None, actual: list[Outcome], place: Place
    ) -> None:
        """What a linked record's values came to: all of them, but for those that were the same."""
        if expected is None:
            return
        wanted = {one.field: one for one in expected}
        found = {one.field: one.outcome for one in actual}
        for name in (*wanted, *(name for name in found if name not in wanted and found[name] != "noop")):
            at = wanted[name].place if name in wanted else place
            end = wanted[name].outcome if name in wanted else ""
            self.differ(at, f"{where}{name} merged", _MERGED.get(end, ABSENT), _MERGED.get(found.get(name, ""), ABSENT))

    def _in_order(
        self, where: str, suffix: str, expected: tuple[ExpectedOutcome, ...], actual: list[Happened], place: Place
    ) -> None:
        for name in dict.fromkeys((*(one.field for one in expected), *(one.outcome.field for one in actual))):
            wanted = [one for one in expected if one.field == name]
            got = [one for one in actual if one.outcome.field == name]
            for want, have in zip_longest(wanted, got):
                at = place if want is None else want.place
                self.differ(at, f"{where}{name}{suffix}", *self._outcome_words(want, have))

    def _outcome_words(self, want: ExpectedOutcome | None, have: Happened | None) -> tuple[str, str]:
        """Both sides in words; qualifiers only where they are expected to be otherwise."""
        expected = [] if want is None else [_end(want.outcome, want.reason)]
        actual = [] if have is None else [_end(have.outcome.outcome, have.outcome.reason)]
        for name, wanted, found in _qualifiers(want, have):
            expected.append(f"{name} {wanted}")
            actual.append(f"{name} {found}")
        return ", ".join(expected) or ABSENT, ", ".join(actual) or ABSENT

    # -------------------------------------------------------------------------------------------- sends

    def sends(self, where: str, expected: tuple[ExpectedSend, ...] | None, actual: list[Send], place: Place) -> None:
        """System by system, in order: everything that is sent."""
        if expected is None:
            return
        for system in self.matrix.systems:
            wanted = [one for one in expected if one.system == system]
            got = [one for one in actual if one.system == system]
            for want, have in zip_longest(wanted, got):
                if want is None or have is None or not _same_send(want, have):
                    at = place if want is None else want.place
                    self.differ(at, f"{where}sent to {system}", _wanted_send(want), _actual_send(have, want))

    # -------------------------------------------------------------------------------------------- the state

    def queue(self, where: str, expected: tuple[ExpectedCase, ...], cases: dict[str, Case], place: Place) -> None:
        """Every open case."""
        left = dict(cases)
        for want in sorted(expected, key=lambda one: not one.field):  # any of the record comes last
            name = meant(left, want.field)
            case = None if name is None else left.pop(name)
            self.differ(want.place, f"{where}case of {_case_name(want.field)}", *_case_words(want, case))
        for name, case in left.items():
            self.differ(place, f"{where}case of {_case_name(name)}", *_case_words(None, case))

    def current(self, where: str, want: ExpectedCurrent, current: FieldState) -> None:
        """The current value, and of its provenance what is expected."""
        value = None if not current.version else current.value
        if want.known and not same(want.value, value):
            self.differ(want.place, f"{where}{want.field}", words_of(want.value), words_of(value))
        grant = want.grant if _is_grant(want.grant, current.grant) else current.grant
        pairs: tuple[tuple[str, object, object], ...] = (
            ("version", want.version, self.labels.label(current.version)),
            ("from", want.system, current.system),
            ("by", want.role, current.role),
            ("grant", want.grant, grant),
            *_evidence_pairs(want.evidence, current.evidence),
        )
        for what, wanted, found in pairs:
            if wanted is not None:
                self.differ(
                    want.place, f"{where}{want.field}, {what}", str(wanted), ABSENT if found is None else str(found)
                )


def _evidence_pairs(wanted: Evidence | None, found: Evidence | None) -> Iterator[tuple[str, object, object]]:
    """What is expected of the evidence, beside what it is."""
    if wanted is not None:
        actual = found or Evidence()
        yield "vouched for by", wanted.by, actual.by
        yield (
            "evidence of",
            None if wanted.at is None else when(wanted.at),
            None if actual.at is None else when(actual.at),
        )


def when(at: int) -> str:
    """A time as the author would write it."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def same(expected: Value, actual: Value) -> bool:
    """Equal, where a part that is not named is null."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(expected.get(part) == actual.get(part) for part in expected.keys() | actual.keys())
    return expected == actual


def words_of(value: Value) -> str:
    """A value as the author would write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{part}: {value[part]}" for part in value if value[part] is not None) + "}"
    return "null" if value is None else str(value)


def _end(outcome: str, reason: str) -> str:
    return f"{outcome} {reason}" if reason else outcome


def _is_grant(wanted: str | None, grant: str) -> bool:
    """Whether a grant is the expected one: by its name, its kind, or none."""
    if wanted is None:
        return True
    return grant in ("", wanted) if wanted == "none" else grant == wanted or grant.partition(":")[0] == wanted


def _qualifiers(want: ExpectedOutcome | None, have: Happened | None) -> Iterator[tuple[str, object, object]]:
    """What is expected of an outcome beyond its words, and is otherwise."""
    if want is None or have is None:
        return
    outcome = have.outcome
    if not _is_grant(want.grant, outcome.grant):
        yield "grant", want.grant, outcome.grant or "none"
    pairs = (
        ("rule", want.rule, outcome.rule),
        ("stage", want.stage, outcome.stage or "none"),
        ("unseen", want.unseen, outcome.unseen),
        ("joined", want.joined, outcome.joined),
        ("request", want.request, outcome.request),
        ("ends_override", want.ends_override, have.ends_override),
    )
    for name, wanted, found in pairs:
        if wanted is not None and wanted != found:
            yield name, str(wanted).lower(), str(found).lower()


def _same_send(want: ExpectedSend, have: Send) -> bool:
    fields = want.values.keys() == have.values.keys()
    return (
        fields
        and want.kind in (None, have.kind)
        and want.key in (None, have.key)
        and all(same(want.values[name], have.values[name]) for name in want.values)
    )


def _wanted_send(want: ExpectedSend | None) -> str:
    return ABSENT if want is None else _send_words(want.values, want.kind, want.key)


def _actual_send(have: Send | None, want: ExpectedSend | None) -> str:
    """What was sent, with its kind and key where the author said something of them, or expected nothing at all."""
    if have is None:
        return ABSENT
    kind = have.kind if want is None or want.kind is not None else None
    return _send_words(have.values, kind, have.key if want is not None and want.key is not None else None)


def _send_words(values: dict[str, Value], kind: str | None, key: str | None) -> str:
    said = ", ".join(f"{name}: {words_of(value)}" for name, value in values.items())
    said = f"{said}, key {key}" if key is not None else said
    return f"{kind}: {said}" if kind else said


def _case_name(name: str) -> str:
    """What a case is of, in words."""
    return "the record" if is_own(name) or not name else name


def _case_words(want: ExpectedCase | None, case: Case | None) -> tuple[str, str]:
    """Both sides of a case, the actual one with what is expected of it; all of it where none is expected."""
    if want is None and case is not None:
        return ABSENT, f"{case.owner} {case.reason}"
    if want is None:
        return ABSENT, ABSENT
    expected = [want.owner, want.reason, _counted("joined", want.joined), _counted("escalated", want.escalated)]
    if case is None:
        return " ".join(word for word in expected if word) or "a case", ABSENT
    actual = [case.owner, case.reason, _counted("joined", case.joined), _counted("escalated", case.escalated)]
    pairs = [(wanted, found) for wanted, found in zip(expected, actual, strict=True) if wanted is not None]
    return " ".join(str(wanted) for wanted, _ in pairs), " ".join(str(found) for _, found in pairs)


def _counted(word: str, count: int | None) -> str | None:
    return None if count is None else f"{word} {count}"
