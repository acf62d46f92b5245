"""What a scenario expects: outcomes, sends, cases, current values and what systems show.

The same six words may stand with one step and at the end of the story; ``compare.py`` says how the two share.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ownership_stream.matrix import words as matrix_words
from ownership_stream.matrix.compiled import Field
from ownership_stream.matrix.document import Entry, Items, Leaf, Node, Place, Table
from ownership_stream.matrix.reading import brief, nearest
from ownership_stream.model import Evidence
from ownership_stream.outcomes import ANSWERS, CASE_REASONS, OUTCOMES
from ownership_stream.scenarios import words
from ownership_stream.scenarios.story import (
    Expected,
    ExpectedCase,
    ExpectedCurrent,
    ExpectedOutcome,
    ExpectedSend,
)
from ownership_stream.scenarios.values import Scene, evidence_words

_SPLIT: Final = re.compile(r"[\s,:]+")
GRANT_KINDS: Final = ("owner", "secondary", "override", "none")
KINDS: Final = ("change", "restore", "create")
_START: Final = Place(1, 1)


def read_expected(scene: Scene, nodes: Mapping[str, Node]) -> Expected:
    """The expectations among the entries of a step or of a scenario."""
    sends, queue = nodes.get("sends"), nodes.get("queue")
    return Expected(
        outcomes=_outcomes(scene, nodes.get("then"), "`then`"),
        again=_outcomes(scene, nodes.get("decided_again"), "`decided_again`"),
        merged=_merged(scene, nodes.get("merged")),
        sends=_sends(scene, sends),
        sends_at=sends.place if sends is not None else _START,
        queue=_queue(scene, queue),
        queue_at=queue.place if queue is not None else _START,
        answer=_answer(scene, nodes.get("answer")),
        current=tuple(_current(scene, nodes.get("current"))),
        shown=tuple(
            (system, name, scene.value(scene.field(name), entry.node, system), entry.place)
            for system, shown in _by_system(scene, nodes.get("shown"), "`shown`")
            for name, entry in scene.by_field(shown.node, f"what `{system}` shows").items()
        ),
    )


def _is(node: Node, word: str) -> bool:
    return isinstance(node, Leaf) and node.text == word


def _by_system(scene: Scene, node: Node | None, what: str) -> Iterator[tuple[str, Entry]]:
    table = scene.reader.table(node, what, words.named(scene.matrix.systems, "a system"))
    yield from table.items()


def _each(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Items) else (node,)


# ------------------------------------------------------------------------------------------------ outcomes


def _outcomes(scene: Scene, node: Node | None, what: str) -> tuple[ExpectedOutcome, ...] | None:
    if node is None:
        return None
    if _is(node, words.NOTHING) or _is(node, words.NONE):
        return ()
    return tuple(outcome for item in _each(node) for outcome in _outcome(scene, item, what))


def _outcome(scene: Scene, item: Node, what: str) -> Iterator[ExpectedOutcome]:
    fields = words.named(scene.matrix.fields, "a field")
    entries = scene.reader.table(item, what, {**words.OUTCOME, **fields})
    nodes = {key: entry.node for key, entry in entries.items()}
    named = [(key, entry) for key, entry in entries.items() if key in fields]
    if entries and not named:
        scene.reader.wrong(item.place, f"{what} names a field and its outcome, as in `lead_source: applied`")
    for name, entry in named:
        end = _end(scene, entry.node)
        if end is not None:
            yield ExpectedOutcome(
                field=name,
                place=entry.place,
                outcome=end[0],
                reason=end[1],
                rule=scene.optional_word(nodes.get("rule"), "rule", matrix_words.RULES),
                grant=_grant(scene, scene.field(name), nodes.get("grant")),
                stage=scene.optional_word(nodes.get("stage"), "stage", (*scene.matrix.stages.map, words.NONE)),
                **{
                    key: scene.optional_flag(nodes.get(key), f"`{key}`")
                    for key in ("unseen", "joined", "request", "ends_override")
                },
            )


def _end(scene: Scene, node: Node) -> tuple[str, str] | None:
    """An outcome and its reason, as `rejected, stale`, `rejected: stale`, `rejected stale` or `[rejected, stale]`."""
    said = [part for leaf in _each(node) for part in _SPLIT.split(scene.reader.text(leaf, "an outcome")) if part]
    if not said:
        return None
    outcome, reason = said[0], " ".join(said[1:])
    outcomes = dict.fromkeys(outcome for outcome, _ in OUTCOMES)
    if outcome not in outcomes:
        scene.reader.wrong(node.place, f"unknown outcome {brief(outcome)}{nearest(outcome, outcomes)}")
        return None
    reasons = [known for end, known in OUTCOMES if end == outcome]
    if reason not in reasons:
        problem = f"has no reason {brief(reason)}" if reason else "needs a reason"
        known = [known for known in reasons if known]
        scene.reader.wrong(node.place, f"`{outcome}` {problem}{nearest(reason, known)}")
        return None
    return outcome, reason


def _merged(scene: Scene, node: Node | None) -> tuple[ExpectedOutcome, ...] | None:
    """Values of a linked record, each with the word for what becomes of it."""
    if node is None:
        return None
    if _is(node, words.NOTHING) or _is(node, words.NONE):
        return ()
    ends = (
        (name, entry.place, scene.reader.word(entry.node, "end of a value", words.MERGED))
        for name, entry in scene.by_field(node, "`merged`").items()
    )
    return tuple(
        ExpectedOutcome(field=name, place=place, outcome=words.MERGED[word], reason="")
        for name, place, word in ends
        if word
    )


def _grant(scene: Scene, field: Field, node: Node | None) -> str | None:
    known = (*GRANT_KINDS, *(grant.id for grant in field.grants))
    return scene.optional_word(node, "grant", known)


# ------------------------------------------------------------------------------------------------ sends


def _sends(scene: Scene, node: Node | None) -> tuple[ExpectedSend, ...] | None:
    if node is None:
        return None
    if _is(node, words.NOTHING) or _is(node, words.NONE):
        return ()
    return tuple(
        send
        for system, entry in _by_system(scene, node, "`sends`")
        if not _is(entry.node, words.NOTHING)
        for send in (_send(scene, system, item) for item in _each(entry.node))
    )


def _send(scene: Scene, system: str, item: Node) -> ExpectedSend:
    fields = words.named(scene.matrix.fields, "a field")
    what = f"what `{system}` is sent"
    entries = scene.reader.table(item, what, {**words.SEND, **fields})
    if entries and not entries.keys() & fields.keys():
        scene.reader.wrong(item.place, f"{what} names a field with its value")
    about = {name: entry.node for name, entry in entries.items() if name in words.SEND}
    return ExpectedSend(
        system=system,
        place=item.place,
        values={
            name: scene.value(scene.field(name), entry.node, system)
            for name, entry in entries.items()
            if name in fields and name not in words.SEND
        },
        kind=scene.optional_word(about.get("kind"), "kind", KINDS),
        key=scene.reader.text(about["key"], "`key`") if "key" in about else None,
    )


# ------------------------------------------------------------------------------------------------ cases


def _answer(scene: Scene, node: Node | None) -> tuple[str, str] | None:
    """An answer in a word or two: ``kept``, ``refused not_the_owner``, ``changed meanwhile``."""
    if node is None:
        return None
    text = scene.reader.text(node, "`answer`")
    known = {f"{outcome} {reason}".strip(): (outcome, reason) for outcome, reason in ANSWERS}
    word = scene.reader.word(node, "answer", known)
    return known.get(word or text)


def _queue(scene: Scene, node: Node | None) -> tuple[ExpectedCase, ...] | None:
    if node is None:
        return None
    if _is(node, words.NOTHING) or _is(node, words.NONE):
        return ()
    own = words.own_cases(scene.matrix.systems)
    known = words.named((*scene.matrix.fields, *own), "a field, or the record's own case")
    return tuple(
        _case(scene, own.get(name, name), entry) for name, entry in scene.reader.table(node, "`queue`", known).items()
    )


def _case(scene: Scene, field: str, entry: Entry) -> ExpectedCase:
    if isinstance(entry.node, Table):
        nodes = scene.table(entry.node, f"the case of `{entry.key}`", words.CASE)
        return ExpectedCase(
            field=field,
            place=entry.place,
            owner=scene.optional_word(nodes.get("owner"), "owner", scene.matrix.escalations),
            reason=scene.optional_word(nodes.get("reason"), "reason", CASE_REASONS),
            joined=scene.count(nodes.get("joined"), "`joined`"),
            escalated=scene.count(nodes.get("escalated"), "`escalated`"),
        )
    owner = reason = None
    for leaf in _each(entry.node):
        for word in _SPLIT.split(scene.reader.text(leaf, "a case")):
            if word in scene.matrix.escalations:
                owner = word
            elif word in CASE_REASONS:
                reason = word
            elif word:
                known = (*scene.matrix.escalations, *CASE_REASONS)
                scene.reader.wrong(
                    leaf.place, f"{brief(word)} is no escalation owner and no reason{nearest(word, known)}"
                )
    return ExpectedCase(field=field, place=entry.place, owner=owner, reason=reason)


# ------------------------------------------------------------------------------------------------ current values


def _current(scene: Scene, node: Node | None) -> Iterator[ExpectedCurrent]:
    for name, entry in scene.by_field(node, "`current`").items():
        field = scene.field(name)
        nodes = long_form(scene, field, entry.node, words.CURRENT)
        if nodes is None:
            yield ExpectedCurrent(field=name, place=entry.place, known=True, value=scene.value(field, entry.node))
            continue
        known = "value" in nodes
        value = scene.value(field, nodes["value"]) if known else None
        yield ExpectedCurrent(
            field=name,
            place=entry.place,
            known=known,
            value=value,
            version=scene.count(nodes.get("version"), "`version`"),
            system=scene.optional_word(nodes.get("from"), "system", scene.matrix.systems),
            role=scene.optional_word(nodes.get("by"), "role", scene.matrix.roles),
            grant=_grant(scene, field, nodes.get("grant")),
            evidence=_evidence(scene, field, nodes),
        )


def _evidence(scene: Scene, field: Field, nodes: Mapping[str, Node]) -> Evidence | None:
    named = nodes.keys() & evidence_words(scene.matrix).keys()
    return scene.evidence(field, None, nodes) if named else None


def long_form(
    scene: Scene, field: Field, node: Node, *vocabularies: Mapping[str, matrix_words.Key]
) -> dict[str, Node] | None:
    """A field's value with words beside it; ``None`` for a bare value (a mapping of the field's parts)."""
    if not isinstance(node, Table) or "value" in field.parts:
        return None
    known = {**evidence_words(scene.matrix)}
    for vocabulary in vocabularies:
        known.update(vocabulary)
    if field.parts and not node.entries.keys() & (known.keys() - field.parts.keys()):
        return None
    return scene.table(node, f"`{field.name}`", known)
