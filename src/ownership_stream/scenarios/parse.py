"""A scenario file to scenarios, or every mistake in it at once.

A file is a list of scenarios, or one alone. Names of fields, systems, roles and evidence are the matrix's: a scenario
is read for one matrix.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from ownership_stream.matrix.compiled import Matrix, Summary
from ownership_stream.matrix.document import Document, Entry, Items, Leaf, Node, read
from ownership_stream.matrix.reading import Reader
from ownership_stream.matrix.words import Key
from ownership_stream.model import Action, Evidence, Op, Value
from ownership_stream.scenarios import words
from ownership_stream.scenarios.expectations import long_form, read_expected
from ownership_stream.scenarios.story import (
    Act,
    Event,
    Given,
    Landing,
    Link,
    Position,
    Resolve,
    Scenario,
    Step,
    Switch,
    Verdict,
    Wait,
    Who,
)
from ownership_stream.scenarios.values import HOUR, Scene, evidence_words, instant, latest_instant

DEFAULT_START: Final = instant("2026-03-02T12:00Z") or 0
MAX_STEPS: Final = 1000
"""Acts of one story, repeated ones included."""


def load_scenarios(path: Path, matrix: Matrix) -> tuple[Scenario, ...]:
    """The scenarios in a file; raises ``MatrixError`` with all its mistakes."""
    return parse_scenarios(read(path), matrix)


def parse_scenarios(document: Document, matrix: Matrix) -> tuple[Scenario, ...]:
    """The scenarios of a parsed document; raises ``MatrixError`` with all its mistakes."""
    reader = Reader(document)
    nodes = document.root.items if isinstance(document.root, Items) else (document.root,)
    scenarios = [_scenario(reader, matrix, node) for node in nodes]
    lines: dict[str, int] = {}
    for scenario in scenarios:
        first = lines.setdefault(scenario.name, scenario.place.line)
        if first != scenario.place.line and scenario.name:
            reader.wrong(scenario.place, f"this scenario has the name of the one in line {first}: one name, one story")
    reader.finish()
    return tuple(scenarios)


def _scenario(reader: Reader, matrix: Matrix, node: Node) -> Scenario:
    entries = reader.table(node, "a scenario", words.SCENARIO)
    nodes = {key: entry.node for key, entry in entries.items()}
    scene = Scene(reader, matrix, _starts(reader, matrix, nodes))
    given = scene.by_field(nodes.get("given"), "`given`")
    return Scenario(
        name=reader.text(nodes.get("name"), "`name`"),
        file=reader.file,
        place=node.place,
        starts=scene.starts,
        present=_present(scene, nodes.get("present")),
        given=tuple(_given(scene, name, entry) for name, entry in given.items()),
        steps=tuple(_steps(scene, nodes.get("when"), "`when`")),
        expected=read_expected(scene, nodes),
    )


def _starts(reader: Reader, matrix: Matrix, nodes: Mapping[str, Node]) -> int:
    """When the story begins: as it says, or an hour after the latest instant that it names."""
    if "at" in nodes:
        return Scene(reader, matrix, DEFAULT_START).time(nodes["at"], "`at`")
    latest = max(latest_instant(nodes.get("given")), latest_instant(nodes.get("when")))
    return max(DEFAULT_START, latest + HOUR)


def _present(scene: Scene, node: Node | None) -> tuple[str, ...]:
    if node is None:
        return tuple(scene.matrix.systems)
    if isinstance(node, Leaf) and node.text == words.NONE:
        return ()
    return scene.reader.words(node, "`present`", "system", scene.matrix.systems)


# ------------------------------------------------------------------------------------------------ given


def _given(scene: Scene, name: str, entry: Entry) -> Given:
    field = scene.field(name)
    nodes = long_form(scene, field, entry.node, words.GIVEN)
    if nodes is None:
        value = scene.value(field, entry.node)
        return Given(field=name, place=entry.place, known=True, value=value, evidence=scene.evidence(field, value, {}))
    known = "value" in nodes
    if not known and "shown" not in nodes:
        scene.reader.wrong(entry.place, f"`{name}` is given without a `value`")
    value = scene.value(field, nodes["value"]) if known else None
    shown = scene.reader.table(nodes.get("shown"), "`shown`", words.named(scene.matrix.systems, "a system"))
    return Given(
        field=name,
        place=entry.place,
        known=known,
        value=value,
        version=scene.count(nodes.get("version"), "`version`"),
        system=scene.optional_word(nodes.get("from"), "system", scene.matrix.systems) or "",
        who=scene.who(nodes),
        at=scene.optional_time(nodes.get("at"), "`at`"),
        evidence=scene.evidence(field, value, nodes),
        shown={system: scene.value(field, cell.node, system) for system, cell in shown.items()},
    )


# ------------------------------------------------------------------------------------------------ when


def _steps(scene: Scene, node: Node | None, what: str) -> Iterator[Step]:
    if node is not None and not (isinstance(node, Items) and node.items):
        scene.reader.wrong(node.place, f"{what} is a list of acts, as in `- crm: {{lead_source: referral}}`")
    for item in node.items if isinstance(node, Items) else ():
        yield from _step(scene, item)


def _step(scene: Scene, item: Node) -> Iterator[Step]:
    systems = words.named(scene.matrix.systems, "one event of this system")
    landing: Mapping[str, Key] = words.LANDING if _has(item, "lands") else {}
    nodes = scene.table(item, "an act", words.STEP, systems, landing)
    verbs = [key for key in nodes if key in systems or key in ACTS or key == "repeat"]
    if len(verbs) != 1:
        if nodes:
            found = "two things at once" if verbs else "nothing that happens"
            known = ", ".join(f"`{word}`" for word in ACTS)
            scene.reader.wrong(item.place, f"an act is one event or one of {known}, not {found}")
        return
    if verbs == ["repeat"]:
        yield from _repeated(scene, item, nodes)
        return
    verb = verbs[0]
    act = ACTS[verb](scene, nodes) if verb in ACTS else _event(scene, verb, nodes[verb])
    yield Step(act, read_expected(scene, nodes), item.place)


def _has(node: Node, key: str) -> bool:
    return not isinstance(node, Leaf | Items) and key in node.entries


def _repeated(scene: Scene, item: Node, nodes: Mapping[str, Node]) -> Iterator[Step]:
    times = scene.count(nodes["repeat"], "`repeat`") or 0
    if "of" not in nodes:
        scene.reader.wrong(item.place, "`repeat` needs `of`, a list of acts")
        return
    for key in nodes.keys() & words.EXPECTED.keys():
        scene.reader.wrong(nodes[key].place, f"`{key}` belongs to one of the repeated acts, or to the scenario")
    steps = list(_steps(scene, nodes["of"], "`of`"))
    if len(steps) * times > MAX_STEPS:
        scene.reader.wrong(nodes["repeat"].place, f"more than {MAX_STEPS} acts in one story")
        return
    for _ in range(times):
        yield from steps


def _event(scene: Scene, system: str, node: Node) -> Event:
    matrix = scene.matrix
    evidence_names = evidence_words(matrix)
    vocabulary = {**words.EVENT, **evidence_names}
    fields = words.named(matrix.fields, "a field")
    entries = scene.reader.table(node, f"an event of `{system}`", {**fields, **vocabulary})
    nodes = {key: entry.node for key, entry in entries.items() if key in vocabulary}
    written = {key: entry.node for key, entry in entries.items() if key in fields and key not in vocabulary}
    written |= {key: entry.node for key, entry in scene.by_field(nodes.get("fields"), "`fields`").items()}
    requests = scene.values(nodes.get("requests"), "`requests`")
    compared = _compared(scene, system, nodes.get("compared"), written)
    values, backed = _written(scene, system, nodes, written)
    for name in compared.keys() & values.keys():
        values.pop(name)
    _note_unavailable(scene, nodes.get("unavailable"), values)
    for name, value in requests.items():
        evidence = scene.evidence(scene.field(name), value, nodes)
        if evidence is not None:
            backed[name] = evidence
    return Event(
        system=system,
        op=_op(scene, nodes.get("op")),
        row=_word(scene, nodes.get("row"), "row"),
        key=_word(scene, nodes.get("key"), "key"),
        fields=values,
        compared=compared,
        requests=requests,
        who=scene.who(nodes) or Who(),
        reason=_reason(scene, nodes.get("reason")),
        base=scene.count(nodes.get("base_version"), "`base_version`"),
        evidence=backed,
        at=scene.optional_time(nodes.get("at"), "`at`"),
        arrives=scene.optional_time(nodes.get("arrives"), "`arrives`"),
        position=_position(scene, nodes.get("position")),
        sticky=tuple(
            words.STICKY[word]
            for word in scene.reader.words(nodes.get("sticky"), "`sticky`", "attribute", words.STICKY)
        ),
    )


def _written(
    scene: Scene, system: str, nodes: Mapping[str, Node], written: Mapping[str, Node]
) -> tuple[dict[str, Value], dict[str, Evidence]]:
    """The values of an event and what backs them; a field may carry evidence of its own beside its `value`."""
    values: dict[str, Value] = {}
    backed: dict[str, Evidence] = {}
    for name, node in written.items():
        field = scene.field(name)
        own = long_form(scene, field, node, words.named(("value",), "the value"))
        if own is not None and "value" not in own:
            scene.reader.wrong(node.place, f"`{name}` is written without a `value`")
            continue
        values[name] = scene.value(field, node if own is None else own["value"], system)
        evidence = scene.evidence(field, values[name], nodes if own is None else {**nodes, **own})
        if evidence is not None:
            backed[name] = evidence
    return values, backed


def _compared(scene: Scene, system: str, node: Node | None, written: dict[str, Node]) -> dict[str, Value]:
    """Columns that are only compared: those that say so, and the stage where the system shows its summary."""
    compared = {
        name: scene.value(scene.field(name), entry.node, system)
        for name, entry in scene.by_field(node, "`compared`").items()
    }
    for name in [name for name in written if is_compared(scene.matrix, system, name)]:
        compared[name] = scene.value(scene.field(name), written.pop(name), system)
    return compared


def is_compared(matrix: Matrix, system: str, name: str) -> bool:
    """Whether a field's column in a system is one that is shown but never input: the summary of the stage."""
    return name == matrix.stages.field and isinstance(matrix.fields[name].views.get(system), Summary)


def _note_unavailable(scene: Scene, node: Node | None, values: Mapping[str, Value]) -> None:
    """Columns without their value are carried by nobody's decision: they are only said, and must not be written too."""
    for name in scene.reader.words(node, "`unavailable`", "field", scene.matrix.fields):
        if name in values and node is not None:
            scene.reader.wrong(node.place, f"`{name}` is written by this event: it cannot be unavailable too")


def _op(scene: Scene, node: Node | None) -> Op:
    return words.OPS[scene.optional_word(node, "op", words.OPS) or "update"]


def _position(scene: Scene, node: Node | None) -> Position:
    word = scene.optional_word(node, "position", words.POSITIONS)
    return next((known for known in words.POSITIONS if known == word), "next")


def _word(scene: Scene, node: Node | None, what: str) -> str:
    word = scene.reader.text(node, f"`{what}`")
    if word and node is not None:
        scene.reader.identifier(word, node.place, what)
    return word


def _reason(scene: Scene, node: Node | None) -> str | None:
    """A reason may be blank, which is none: a scenario may want to show just that."""
    if isinstance(node, Leaf):
        return node.text
    return scene.reader.text(node, "`reason`") or None


def _landing(scene: Scene, nodes: Mapping[str, Node]) -> Landing:
    system = scene.reader.word(nodes["lands"], "system", scene.matrix.systems)
    return Landing(
        system=system,
        row=_word(scene, nodes.get("row"), "row"),
        values={
            name: scene.value(scene.field(name), entry.node, system)
            for name, entry in scene.by_field(nodes.get("as"), "`as`").items()
        },
        who=scene.who(nodes) or Who(),
        marked=scene.reader.flag(nodes.get("marked"), "`marked`", default=True),
        at=scene.optional_time(nodes.get("at"), "`at`"),
        arrives=scene.optional_time(nodes.get("arrives"), "`arrives`"),
    )


def _wait(scene: Scene, nodes: Mapping[str, Node]) -> Wait:
    return Wait(scene.reader.duration(nodes["after"], "`after`"))


def _pause(scene: Scene, nodes: Mapping[str, Node]) -> Switch:
    return Switch("pause", _switched(scene, nodes["pause"]))


def _resume(scene: Scene, nodes: Mapping[str, Node]) -> Switch:
    return Switch("resume", _switched(scene, nodes["resume"]))


def _switched(scene: Scene, node: Node) -> str:
    system = scene.reader.word(node, "system", (*scene.matrix.systems, words.RECORD))
    return "" if system == words.RECORD else system


def _resolve(scene: Scene, nodes: Mapping[str, Node]) -> Resolve:
    """What a person decides: one of four things about one case."""
    node = nodes["resolve"]
    said = scene.table(node, "a resolution", words.RESOLVE)
    own = words.own_cases(scene.matrix.systems)
    name = scene.optional_word(said.get("case"), "field", (*scene.matrix.fields, *own)) or words.RECORD
    flags = {word: scene.reader.flag(said.get(word), f"`{word}`", default=False) for word in ("keep", "dismiss")}
    named: dict[Action, bool] = {
        "accept": "accept" in said, "keep": flags["keep"], "set": "set" in said, "dismiss": flags["dismiss"],
    }  # fmt: skip
    found = [action for action, there in named.items() if there]
    if len(found) != 1:
        scene.reader.wrong(node.place, "a resolution is one of `accept`, `keep`, `set`, `dismiss`")
    field = scene.matrix.fields.get(name)
    return Resolve(
        field=own.get(name, name),
        action=found[0] if found else "keep",
        system=scene.optional_word(said.get("accept"), "system", scene.matrix.systems) or "",
        value=scene.value(field, said["set"]) if field is not None and "set" in said else None,
        role=scene.optional_word(said.get("by"), "escalation owner", scene.matrix.escalations),
        reason=_reason(scene, said.get("reason")),
        seen=scene.reader.flag(said.get("seen"), "`seen`", default=True),
    )


def _link(scene: Scene, nodes: Mapping[str, Node]) -> Link:
    said = scene.table(nodes["link"], "a linked record", words.LINK)
    given = scene.by_field(said.get("given"), "`given`")
    return Link(
        present=_present(scene, said.get("present")),
        given=tuple(_given(scene, name, entry) for name, entry in given.items()),
    )


def _confirm(scene: Scene, nodes: Mapping[str, Node]) -> Verdict:
    return _verdict(scene, nodes, "confirm")


def _unlink(scene: Scene, nodes: Mapping[str, Node]) -> Verdict:
    return _verdict(scene, nodes, "unlink")


def _verdict(scene: Scene, nodes: Mapping[str, Node], kind: Literal["confirm", "unlink"]) -> Verdict:
    if not scene.reader.flag(nodes[kind], f"`{kind}`", default=True):
        scene.reader.wrong(nodes[kind].place, f"`{kind}` is true, or is not said")
    return Verdict(kind)


ACTS: Final[dict[str, Callable[[Scene, Mapping[str, Node]], Act]]] = {
    "lands": _landing,
    "after": _wait,
    "pause": _pause,
    "resume": _resume,
    "resolve": _resolve,
    "link": _link,
    "confirm": _confirm,
    "unlink": _unlink,
}
"""The acts that are no events of a system, by their word."""
