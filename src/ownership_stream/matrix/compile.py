"""A matrix document compiled to a ``Matrix``, or every mistake in it at once.

``load`` is what a worker calls; ``load_document`` keeps the places and what only people need, for lint and show. The
revision carries a hash of the content, so that two documents that decide differently never share a name,
and a comment or a blank line changes nothing.
"""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from ownership_stream.matrix import words
from ownership_stream.matrix.compiled import Escalation, Field, Matrix, StageMap
from ownership_stream.matrix.document import Document, Entry, Items, Leaf, Node, Table, read
from ownership_stream.matrix.grants import grants_of, views_of
from ownership_stream.matrix.normalise import PHONE_REGIONS
from ownership_stream.matrix.reading import Reader, brief, nearest
from ownership_stream.matrix.reviews import Signature, read_reviews
from ownership_stream.matrix.rows import Head, Role, Row, check_row, read_row

HASH_DIGITS: Final = 8


class Review(msgspec.Struct, frozen=True):
    """How often the document is reviewed, and when it last was."""

    count: int
    unit: str
    """``day``, ``week``, ``month`` or ``year``."""
    last: date


class MatrixDocument(msgspec.Struct, frozen=True):
    """A compiled matrix together with the document it comes from."""

    document: Document
    matrix: Matrix
    contact: str
    review: Review
    """As of the latest review: the document's own `last`, or a later signature beside it."""
    signatures: tuple[Signature, ...] = ()


def load(path: Path) -> Matrix:
    """The matrix in a file; raises ``MatrixError`` with all its mistakes."""
    return load_document(path).matrix


def load_document(path: Path) -> MatrixDocument:
    """The matrix in a file with its document and the reviews beside it; raises ``MatrixError`` with all mistakes."""
    compiled = compile_document(read(path))
    signatures = read_reviews(path)
    last = max([compiled.review.last, *(signature.on for signature in signatures)])
    reviewed = msgspec.structs.replace(compiled.review, last=last)
    return msgspec.structs.replace(compiled, review=reviewed, signatures=signatures)


def compile_document(document: Document) -> MatrixDocument:
    """Compile a parsed document; raises ``MatrixError`` with all its mistakes."""
    reader = Reader(document)
    top = reader.table(document.root, "the matrix", words.TOP)
    node: dict[str, Node] = {key: entry.node for key, entry in top.items()}
    name = reader.text(node.get("matrix"), "`matrix`")
    revision = reader.text(node.get("revision"), "`revision`")
    owner = reader.table(node.get("owner"), "`owner`", words.OWNER)
    owner_name, contact = (reader.text(_of(owner, key), f"`{key}`") for key in ("name", "contact"))
    review = _review(reader, node.get("review"))
    head = _head(reader, node)
    rows = _rows(reader, node.get("fields"), head)
    reader.finish()
    matrix = Matrix(
        name=name,
        revision=f"{revision}+{content_hash(document.root)}",
        owner=owner_name,
        systems=head.systems,
        roles=tuple(head.roles),
        role_names={key: role.name for key, role in head.roles.items()},
        stages=head.stages,
        escalations=head.escalations,
        fields={row.name: _field(row, head) for row in rows},
        skew=head.skew,
        groups=_groups(rows),
        by_stage=tuple(row.name for row in rows if row.by_stage),
        creates={key: stage_map("", stage, head.stages.map).after for key, stage in head.creates.items()},
        create_words={key: f"{words.AT}{stage}" for key, stage in head.creates.items()},
    )
    return MatrixDocument(document, matrix, contact, review)


def content_hash(node: Node) -> str:
    """The first digits of a SHA-256 over the content: keys, values and their order, without places and comments."""
    return hashlib.sha256(msgspec.json.encode(_content(node))).hexdigest()[:HASH_DIGITS]


def _content(node: Node) -> Any:
    if isinstance(node, Leaf):
        return node.text
    if isinstance(node, Items):
        return [_content(item) for item in node.items]
    return [[entry.key, _content(entry.node)] for entry in node.entries.values()]


def _of(entries: dict[str, Entry], key: str) -> Node | None:
    return entries[key].node if key in entries else None


# ------------------------------------------------------------------------------------------------ the head


def _head(reader: Reader, node: dict[str, Node]) -> Head:
    stages = _stages(reader, node.get("stages"), node.get("fields"))
    systems, creates = _systems(reader, node.get("systems"), stages)
    defaults = reader.table(node.get("defaults"), "`defaults`", words.DEFAULTS)
    return Head(
        systems=systems,
        roles=_roles(reader, node.get("roles"), systems),
        stages=stages,
        creates=creates,
        escalations=_escalations(reader, node.get("escalation")),
        skew=reader.duration(_of(defaults, "clock skew"), "`clock skew`", zero=True),
        protected=reader.flag(_of(defaults, "protected"), "`protected`", default=True),
        restore=reader.word(_of(defaults, "on reject"), "reaction", words.ON_REJECT) != "leave",
        phone_region=_phone_region(reader, _of(defaults, "phone region")),
    )


def _systems(reader: Reader, node: Node | None, stages: StageMap) -> tuple[dict[str, str], dict[str, str]]:
    """System -> its name, and system -> the stage at which records are made there."""
    entries = reader.named(node, "`systems`", "system")
    names, creates = dict[str, str](), dict[str, str]()
    for key, entry in entries.items():
        if isinstance(entry.node, Table):
            system = reader.table(entry.node, f"system `{key}`", words.SYSTEM)
            names[key] = reader.text(_of(system, "name"), "`name`")
            creates[key] = _create(reader, _of(system, "create"), stages)
        else:
            names[key] = reader.text(entry.node, f"the name of `{key}`")
    if len(names) == 1 and node is not None:
        reader.wrong(node.place, "one system shares nothing: a matrix needs at least two")
        names = {}
    return names, {key: stage for key, stage in creates.items() if stage}


def _create(reader: Reader, node: Node | None, stages: StageMap) -> str:
    """The stage at which a record is made in a system; ``""``: never."""
    said = reader.text(node, "`create`")
    if not said or said == words.NEVER or node is None:
        return ""
    stage = said.removeprefix(words.AT)
    if stage == said:
        reader.wrong(node.place, f"`create` is `{words.NEVER}`, or `{words.AT}` and a stage, not {brief(said)}")
        return ""
    if stages.map and stage not in stages.map:
        reader.wrong(node.place, f"unknown stage {brief(stage)}{nearest(stage, stages.map)}")
        return ""
    return stage


def _phone_region(reader: Reader, node: Node | None) -> str:
    region = reader.text(node, "`phone region`")
    if node is not None and region and region not in PHONE_REGIONS:
        hint = nearest(region.upper(), (r for r in PHONE_REGIONS if r == region.upper()))
        reader.wrong(node.place, f"unknown phone region {brief(region)}{hint or ': write two capitals, as in `US`'}")
    return region


def _roles(reader: Reader, node: Node | None, systems: dict[str, str]) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for key, entry in reader.named(node, "`roles`", "role").items():
        role = reader.table(entry.node, f"role `{key}`", words.ROLE)
        name = reader.text(_of(role, "name"), "`name`")
        roles[key] = Role(name, reader.words(_of(role, "in"), "`in`", "system", systems))
    return roles


def _escalations(reader: Reader, node: Node | None) -> dict[str, Escalation]:
    entries = reader.named(node, "`escalation`", "escalation owner")
    owners: dict[str, Escalation] = {}
    for key, entry in entries.items():
        owner = reader.table(entry.node, f"escalation owner `{key}`", words.ESCALATION)
        owners[key] = Escalation(
            key=key,
            name=reader.text(_of(owner, "name"), "`name`"),
            sla=reader.duration(_of(owner, "sla"), "`sla`"),
            then=reader.word(_of(owner, "then"), "escalation owner", entries) or None,
        )
    return owners


def _stages(reader: Reader, node: Node | None, fields: Node | None) -> StageMap:
    entries = reader.table(node, "`stages`", words.STAGES)
    steps = reader.named(_of(entries, "map"), "`map`", "stage")
    known = fields.entries if isinstance(fields, Table) else {}
    return stage_map(
        field=reader.word(_of(entries, "field"), "field", known),
        care_start=reader.word(_of(entries, "care start"), "stage", steps),
        steps={stage: _steps(reader, stage, entry.node, steps) for stage, entry in steps.items()},
    )


def _steps(reader: Reader, stage: str, node: Node, known: dict[str, Entry]) -> tuple[str, ...]:
    if isinstance(node, Leaf) and node.text == words.END:
        return ()
    if isinstance(node, Items) and not node.items:
        reader.wrong(node.place, f"`{stage}` leads nowhere: write `{words.END}` if it is meant to")
        return ()
    steps = reader.words(node, f"what may follow `{stage}`", "stage", known)
    if stage in steps:
        reader.wrong(node.place, f"`{stage}` may not follow itself: to stay is no step")
    return steps


def stage_map(field: str, care_start: str, steps: dict[str, tuple[str, ...]]) -> StageMap:
    """A stage map with its latch set: the stages that no way reaches but through care start, and care start itself."""
    before, ahead = set[str](), [stage for stage in list(steps)[:1] if stage != care_start]
    while ahead:
        stage = ahead.pop()
        if stage not in before:
            before.add(stage)
            ahead += [following for following in steps.get(stage, ()) if following != care_start]
    return StageMap(field=field, care_start=care_start, map=steps, after=frozenset(steps) - before)


def _review(reader: Reader, node: Node | None) -> Review:
    entries = reader.table(node, "`review`", words.REVIEW)
    count, unit = reader.interval(_of(entries, "every"), "`every`")
    return Review(count, unit, reader.date(_of(entries, "last"), "`last`"))


# ------------------------------------------------------------------------------------------------ the rows


def _rows(reader: Reader, node: Node | None, head: Head) -> list[Row]:
    rows = []
    for entry in reader.named(node, "`fields`", "field").values():
        row = read_row(reader, entry, head)
        check_row(reader, row, head)
        rows.append(row)
    return rows


def _field(row: Row, head: Head) -> Field:
    if not row.rule:
        raise ValueError(f"row `{row.name}` has no rule: a mistake in it was not noted")
    return Field(
        name=row.name,
        label=row.label,
        type=row.type,
        parts=row.parts,
        choices=row.choices,
        owner=row.owner,
        grants=grants_of(row, head),
        views=views_of(row, head),
        rule=row.rule,
        protected=row.protected,
        critical=row.critical,
        reason_always=row.reason_always,
        direction=row.direction,
        phone_region=head.phone_region,
        evidence=words.EVIDENCE.get(row.rule, ()),
        group=row.group,
        escalation=row.escalation,
        restore=row.restore,
    )


def _groups(rows: list[Row]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.group:
            groups.setdefault(row.group, []).append(row.name)
    return {group: tuple(names) for group, names in groups.items()}
