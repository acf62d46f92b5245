"""One row of the document: read word by word, then checked against itself and the head of the document.

``read_row`` takes what stands there; ``check_row`` walks ``CHECKS``, each of which finds one kind of contradiction
between words that are right by themselves. A word that was wrong is empty by then, and no check complains of it twice.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from ownership_stream.matrix import words
from ownership_stream.matrix.compiled import Escalation, RuleName, StageMap, Summary
from ownership_stream.matrix.document import Entry, Leaf, Node, Place, Table, locate
from ownership_stream.matrix.normalise import NotCanonical, scalar
from ownership_stream.matrix.reading import Reader, brief, listed, nearest
from ownership_stream.model import Scalar

Targets = frozenset[str] | None
"""Values a grant may set; ``None``: any."""
MAPPED_TYPES: Final = frozenset({"text", "name", "code", "stage"})


class Role(msgspec.Struct, frozen=True):
    """A role and the systems in which it counts."""

    name: str
    systems: tuple[str, ...]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows refer to. Empty where the head itself has mistakes."""

    systems: dict[str, str]
    roles: dict[str, Role]
    stages: StageMap
    creates: dict[str, str]
    """System -> the stage at which records are made there."""
    escalations: dict[str, Escalation]
    skew: int
    protected: bool
    restore: bool
    phone_region: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row as the document has it, its words known to be words."""

    name: str
    place: Place
    nodes: dict[str, Node]
    """The value of each key as it stands there, for the places of mistakes."""
    label: str
    type: str
    parts: dict[str, str]
    choices: tuple[str, ...]
    owner: dict[Literal["before", "after"], str]
    by_stage: bool
    only: tuple[str, ...]
    secondary: dict[str, Targets]
    secondary_known: bool
    """No mistake was found in ``secondary``: it is all that the author meant."""
    direction: str
    route: tuple[str, str] | None
    """From and to, for a direction that goes one way."""
    summary: Summary | None
    rule: RuleName | Literal[""]
    evidence: tuple[str, ...]
    overrides: tuple[str, ...]
    protected: bool
    critical: bool
    reason_always: bool
    restore: bool
    group: str | None
    escalation: str

    @property
    def owners(self) -> tuple[str, ...]:
        """The systems that own the field at some stage."""
        return tuple(dict.fromkeys(system for system in self.owner.values() if system))

    @property
    def one_way_summary(self) -> bool:
        """Whether the direction carries the summary only."""
        return self.direction.endswith(words.SUMMARY_SUFFIX)


def read_row(reader: Reader, entry: Entry, head: Head) -> Row:
    """Read one row; every wrong word is noted, and empty in the result."""
    entries = reader.table(entry.node, f"field `{entry.key}`", words.FIELD, entry.place)
    node: dict[str, Node] = {key: cell.node for key, cell in entries.items()}
    kind, parts, choices = _type(reader, node.get("type"))
    known = words.directions(tuple(head.systems))
    direction = reader.word(node.get("direction"), "direction", known if head.systems else ())
    group = reader.text(node.get("group"), "`group`")
    if group:
        reader.identifier(group, node["group"].place, "group")
    before = len(reader.mistakes)
    secondary = _secondary(reader, node.get("secondary"), head)
    secondary_known = "secondary" in node and len(reader.mistakes) == before
    row = Row(
        name=entry.key,
        place=entry.place,
        nodes=node,
        label=reader.text(node.get("label"), "`label`"),
        type=kind,
        parts=parts,
        choices=choices,
        owner=_owner(reader, node.get("owner"), head),
        by_stage=isinstance(node.get("owner"), Table),
        only=reader.words(node.get("only"), "`only`", "role", head.roles),
        secondary=secondary,
        secondary_known=secondary_known,
        direction=direction,
        route=known.get(direction),
        summary=None,
        rule=_rule(reader, node.get("rule")),
        evidence=reader.words(node.get("evidence"), "`evidence`", "evidence name", None),
        overrides=reader.words(node.get("overrides"), "`overrides`", "role", head.roles),
        protected=reader.flag(node.get("protected"), "`protected`", default=head.protected),
        critical=reader.flag(node.get("critical"), "`critical`", default=False),
        reason_always=bool(reader.word(node.get("reason"), "reason", words.REASONS)),
        restore=(reader.word(node.get("on reject"), "reaction", words.ON_REJECT) or _default(head)) == "restore",
        group=group or None,
        escalation=reader.word(node.get("escalation"), "escalation owner", head.escalations),
    )
    return msgspec.structs.replace(row, summary=_summary(reader, node.get("summary"), row))


def _default(head: Head) -> str:
    return "restore" if head.restore else "leave"


def _rule(reader: Reader, node: Node | None) -> RuleName | Literal[""]:
    word = reader.word(node, "rule", words.RULES)
    return next((rule for rule in words.RULES if rule == word), "")


def _type(reader: Reader, node: Node | None) -> tuple[str, dict[str, str], tuple[str, ...]]:
    if not isinstance(node, Table):
        return reader.word(node, "type", words.FIELD_TYPES), {}, ()
    if "one of" in node.entries:
        for key in node.entries.keys() - {"one of"}:
            reader.wrong(node.entries[key].place, f"unknown key {brief(key)} beside `one of`")
        return "code", {}, _choices(reader, node.entries["one of"].node)
    parts = {
        name: reader.word(entry.node, "type", words.SCALAR_TYPES)
        for name, entry in reader.named(node, "`type`", "part").items()
    }
    return ("parts" if parts else ""), parts, ()


def _choices(reader: Reader, node: Node) -> tuple[str, ...]:
    choices: list[str] = []
    for word in reader.words(node, "`one of`", "value", None):
        place = locate(node, word) or node.place
        choice = _canonical(reader, "code", word, place)
        if choice in choices:
            reader.wrong(place, f"{brief(word)} is in the list already: values are equal without regard to case")
        choices.append(choice)
    return tuple(choices)


def _owner(reader: Reader, node: Node | None, head: Head) -> dict[Literal["before", "after"], str]:
    if not isinstance(node, Table):
        system = reader.word(node, "system", head.systems)
        return {"before": system, "after": system}
    entries = reader.table(node, "`owner`", words.BY_STAGE)
    owner = {key: reader.word(entry.node, "system", head.systems) for key, entry in entries.items()}
    before, after = (owner.get(key, "") for key in words.BY_STAGE)
    if before and before == after:
        reader.wrong(node.place, f"`{before}` owns it on both sides of care start: write `owner: {before}`")
    return {"before": before, "after": after}


def _secondary(reader: Reader, node: Node | None, head: Head) -> dict[str, Targets]:
    if isinstance(node, Leaf) and node.text == words.NONE:
        return {}
    if isinstance(node, Leaf):
        role = node.text or ""
        hint = f": write `[{role}]`" if role in head.roles else nearest(role, (words.NONE, *head.roles))
        reader.wrong(node.place, f"`secondary` is `none` or a list of roles, not {brief(role)}{hint}")
        return {}
    if not isinstance(node, Table):
        return dict.fromkeys(reader.words(node, "`secondary`", "role", head.roles))
    targets: dict[str, Targets] = {}
    for role, entry in reader.table(node, "`secondary`").items():
        if role not in head.roles:
            if head.roles:
                reader.wrong(entry.place, f"unknown role {brief(role)}{nearest(role, head.roles)}")
            continue
        is_any = isinstance(entry.node, Leaf) and entry.node.text == words.ANY
        values = () if is_any else reader.words(entry.node, f"the values of `{role}`", "value", None)
        targets[role] = frozenset(_canonical(reader, "code", value, entry.place) for value in values) or None
    return targets


def _summary(reader: Reader, node: Node | None, row: Row) -> Summary | None:
    entries = reader.table(node, "`summary`", words.SUMMARY)
    if node is None:
        return None
    keep = entries["keep"].node if "keep" in entries else None
    if isinstance(node, Table) and len(entries) != 1:
        reader.wrong(node.place, "`summary` is either the parts to `keep` or a `map` of values")
    known = row.parts if row.type == "parts" else None
    shown = reader.table(entries["map"].node, "`map`") if "map" in entries else {}
    return Summary(keep=reader.words(keep, "`keep`", "part", known), map=_map(reader, shown, row.type))


def _map(reader: Reader, shown: dict[str, Entry], type_: str) -> dict[str, Scalar]:
    summaries: dict[str, Scalar] = {}
    for word, entry in shown.items():
        value = word if word == "*" else _canonical(reader, type_, word, entry.place)
        text = reader.text(entry.node, f"what is shown for {brief(word)}")
        if value and value in summaries:
            reader.wrong(entry.place, f"{brief(word)} is in the map already: values are compared in their normal form")
        elif value:
            summaries[value] = _canonical(reader, "text", text, entry.node.place)
    return summaries


def _canonical(reader: Reader, type_: str, word: str, place: Place) -> str:
    try:
        return str(scalar(type_ if type_ in MAPPED_TYPES else "text", word) or "")
    except NotCanonical as error:
        reader.wrong(place, f"{brief(word)} cannot be a value: {error.reason}")
        return ""


# ------------------------------------------------------------------------------------------------ checks

Finding = tuple[str, str, str]
"""The key whose value is wrong; the word within it, or ``""`` for all of it; and why."""
Check = Callable[[Row, Head], Iterator[Finding]]


def check_row(reader: Reader, row: Row, head: Head) -> None:
    """Note every contradiction within a row."""
    for check in CHECKS:
        for key, word, message in check(row, head):
            node = row.nodes.get(key)
            place = row.place if node is None else (locate(node, word) if word else None) or node.place
            reader.wrong(place, message)


def _owner_and_rule(row: Row, _: Head) -> Iterator[Finding]:
    if row.by_stage and row.rule in {"owner wins", "stage map"}:
        yield (
            "rule",
            "",
            f"care start changes the owner of `{row.name}`: its rule is `stage owner wins`, not `{row.rule}`",
        )
    if not row.by_stage and row.owners and row.rule == "stage owner wins":
        yield "rule", "", f"`{row.name}` has one owner at every stage: its rule is `owner wins`"


def _owner_and_direction(row: Row, _: Head) -> Iterator[Finding]:
    if not row.direction or not all(row.owner.values()):
        return
    if row.by_stage != (row.direction == "both ways by stage"):
        what = "care start changes its owner" if row.by_stage else "it has one owner at every stage"
        yield "direction", "", f"direction `{row.direction}` does not fit `{row.name}`: {what}"
    elif row.route and row.route[0] not in row.owners:
        yield "direction", "", f"direction `{row.direction}` does not begin at the owner, `{row.owners[0]}`"


def _summary_and_direction(row: Row, _: Head) -> Iterator[Finding]:
    if row.one_way_summary and row.summary is None:
        yield "direction", "", f"direction `{row.direction}` needs a `summary`: say what is shown"
    if row.direction and not row.one_way_summary and row.summary is not None:
        hint = f": write `{row.direction}{words.SUMMARY_SUFFIX}`" if row.route else ""
        yield "summary", "", f"a `summary` has no effect with direction `{row.direction}`{hint}"


def _summary_and_type(row: Row, head: Head) -> Iterator[Finding]:
    if row.summary is None or not row.type:
        return
    if row.summary.keep and row.type != "parts":
        yield "summary", "", f"`keep` needs a field of parts: `{row.name}` is one value, use `map`"
    if not row.summary.map or row.summary.keep:
        return
    if row.type not in MAPPED_TYPES:
        yield (
            "summary",
            "",
            f"`map` cannot summarise type `{row.type}`" + (": use `keep`" if row.type == "parts" else ""),
        )
        return
    known = row.choices or (tuple(head.stages.map) if row.type == "stage" else ())
    for value in row.summary.map if known else ():
        if value not in {*known, "*"}:
            yield "summary", value, f"`map` names {brief(value)}, which `{row.name}` cannot be{nearest(value, known)}"
    missing = [value for value in known if value not in row.summary.map]
    if "*" not in row.summary.map and (missing or not known):
        rest = listed(missing, "and") if missing else "any other value"
        yield "summary", "", f'`map` does not say what is shown for {rest}: add it, or `"*"` for any other'


def _evidence_and_rule(row: Row, _: Head) -> Iterator[Finding]:
    wanted = words.EVIDENCE.get(row.rule) if row.rule else None
    if wanted is None:
        if row.rule and "evidence" in row.nodes:
            yield "evidence", "", f"`evidence` has no effect with rule `{row.rule}`"
        return
    if "evidence" not in row.nodes:
        yield "rule", "", f"rule `{row.rule}` needs `evidence: [{', '.join(wanted)}]`"
        return
    for name in row.evidence:
        if name not in wanted:
            yield "evidence", name, f"unknown evidence {brief(name)} with rule `{row.rule}`{nearest(name, wanted)}"
    missing = [name for name in wanted if name not in row.evidence]
    if missing and row.evidence and set(row.evidence) <= set(wanted):
        yield "evidence", "", f"rule `{row.rule}` needs evidence {listed(missing, 'and')} too"


def _stage_field(row: Row, head: Head) -> Iterator[Finding]:
    is_stage = row.name == head.stages.field
    if not head.stages.field:
        return
    if is_stage and row.type and row.type != "stage":
        yield "type", "", f"`{row.name}` is the stage field: its type is `stage`"
    if is_stage and row.rule and row.rule != "stage map":
        yield "rule", "", f"`{row.name}` is the stage field: its rule is `stage map`"
    if not is_stage and row.type == "stage":
        yield "type", "", f"only the stage field, `{head.stages.field}`, has type `stage`"
    if not is_stage and row.rule == "stage map":
        yield "rule", "", f"rule `stage map` is for the stage field, `{head.stages.field}`"


def _only(row: Row, head: Head) -> Iterator[Finding]:
    for role in row.only:
        systems = head.roles[role].systems
        if systems and row.owners and not set(systems) & set(row.owners):
            owner, where = listed(row.owners, "or"), listed(systems, "and")
            yield "only", role, f"nobody has role `{role}` in {owner}, the owner system: it counts in {where}"


def _secondary_and_direction(row: Row, head: Head) -> Iterator[Finding]:
    roles = {role: set(head.roles[role].systems) for role in row.secondary}
    elsewhere = [role for role, systems in roles.items() if systems - set(row.owners)]
    certain = row.secondary_known and all(roles.values()) and not row.by_stage
    if row.direction == "both ways" and row.owners and certain and not elsewhere:
        one_way = next((f"{row.owners[0]} to {system}" for system in head.systems if system not in row.owners), "none")
        yield "direction", "", f"nobody may write `{row.name}` outside its owner: write `{one_way}`"
    if row.direction == words.NONE:
        for role, systems in roles.items():
            if systems and row.owners and not systems & set(row.owners):
                yield "secondary", role, f"role `{role}` never sees `{row.name}`: direction is `none`"


def _targets(row: Row, head: Head) -> Iterator[Finding]:
    known = row.choices or (tuple(head.stages.map) if row.type == "stage" else ())
    for role, targets in row.secondary.items():
        if targets and row.type and row.type != "stage" and not row.choices and row.name != head.stages.field:
            yield "secondary", role, f"values for `{role}` need type `stage` or `one of`: `{row.name}` has neither"
        elif targets and known:
            for value in sorted(targets - set(known)):
                what = "stage" if row.type == "stage" else "value"
                yield "secondary", value, f"unknown {what} {brief(value)} for `{role}`{nearest(value, known)}"


def _redundant_roles(row: Row, _: Head) -> Iterator[Finding]:
    for role in row.overrides:
        if role in row.secondary:
            yield "overrides", role, f"role `{role}` is a secondary writer already: name it in one place"


def _phones(row: Row, head: Head) -> Iterator[Finding]:
    if "phone" in {row.type, *row.parts.values()} and not head.phone_region:
        yield "type", "", "type `phone` needs `phone region` in `defaults`, for numbers without a country"


def _reason(row: Row, _: Head) -> Iterator[Finding]:
    if row.reason_always and not row.critical:
        yield "reason", "", "`reason` has no effect unless the field is `critical: true`"


CHECKS: Final[tuple[Check, ...]] = (
    _owner_and_rule,
    _owner_and_direction,
    _summary_and_direction,
    _summary_and_type,
    _evidence_and_rule,
    _stage_field,
    _only,
    _secondary_and_direction,
    _targets,
    _redundant_roles,
    _phones,
    _reason,
)
