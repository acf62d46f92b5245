"""One table's rows as changes, by a plan that is compiled once: no look at the mapping while rows are read.

A row arrives as a msgspec struct of the table's columns, so that types and unknown columns are checked while it is
decoded. What a row's columns mean as values is ``columns.py``'s; here is whose row it is, who wrote it, and what backs
it.
"""

from base64 import b64encode
from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Mapping as TypesOf
from collections.abc import Set as AbstractSet
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from ownership_stream.identity import BadId, change_id, record_id, row_key, row_name, salesforce_id
from ownership_stream.matrix.compiled import Field, Matrix, Summary
from ownership_stream.matrix.normalise import NotCanonical, scalar_of
from ownership_stream.model import Change, Evidence, Op, Origin
from ownership_stream.sources.columns import Attribute, Group, Memo, Section, Unkept, reader
from ownership_stream.sources.encodings import (
    DECIMAL,
    NESTED,
    PLAIN,
    SALESFORCE_ID,
    Encoding,
    canonical,
    decimal_id,
    json_type,
    milliseconds,
    whole_number,
)
from ownership_stream.sources.encodings import reader as canonical_of
from ownership_stream.sources.guard import mistyped, named
from ownership_stream.sources.mapping import Cell, Column, Mapping, Table, Use
from ownership_stream.sources.result import Undecodable
from ownership_stream.sources.standing import Standing
from ownership_stream.sources.unavailable import Unavailable

_ADDED: Final = str | int | bool | msgspec.UnsetType | None
"""What may stand beside the columns of a flattened row."""

Values = tuple[Any, ...]
"""A row: the raw values of its columns in the plan's order, ``UNSET`` where one was not carried."""


_NULL: Final = type(None)
_SCALARS: Final = frozenset({str, int, float, bool})

_Plan = TypeVar("_Plan")


def plan_of(plans: dict[str, _Plan], name: str, mapping: Mapping, what: str) -> _Plan | None:
    """How a table's rows are read; ``None`` for one that means nothing. Raises ``Undecodable`` for an unknown one."""
    plan = plans.get(name)
    if plan is None and name not in mapping.ignored_tables:
        raise Undecodable("unknown_table", f"{what}: unknown table {named(name)}")
    return plan


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What an event says about a row beside its columns. ``None``: the event itself says nothing of it."""

    op: Op
    position: tuple[int, ...] | None
    at: int
    version: str
    """The source's version in its own words; together with the row and the operation it names the change."""
    occurrence: str = ""
    """What tells two events of one version apart, where a source has such."""
    actor: str | None = None
    role: str | None = None
    origin: Origin | None = None
    reason: str | None = None
    base: int | None = None
    marker: str | None = None
    evidence: dict[str, Evidence] | None = None
    trace: dict[str, str] = {}


class RowPlan:
    """How the rows of one table are read; made once for each table of a mapping, shared by threads."""

    def __init__(self, table: Table, mapping: Mapping, matrix: Matrix, added: tuple[str, ...] = ()) -> None:
        """``added`` are names that stand beside the columns of a flattened row and hold no column."""
        self.table, self.mapping = table, mapping
        self.what = f"table `{table.name}`"
        self._matrix = matrix
        self._unavailable = Unavailable(mapping.unavailable)
        self._seed: dict[Hashable, Any] = {None: None, UNSET: UNSET, **dict.fromkeys(self._unavailable.texts, UNSET)}
        laid = [self._laid(use) for use in ("input", "compared", "request")]
        self._lay_out([column for columns in laid for column in columns], added)
        self.stage_row = matrix.stages.field in {column.field for column in laid[0]}
        self._keys = tuple((cell, self.index[cell.name]) for cell in table.key)
        self._of = tuple((cell, self.index[cell.name]) for cell in table.of)
        self._evidence = table.evidence
        actors = mapping.actors
        self._known = Memo(lambda who: actors.of(*who), {})
        self._read = reader([self._section(columns) for columns in laid], self._attributes(table))
        self._among = "" if table.speaks is None else f"{mapping.source}/{table.name}"
        self._standing = None if table.speaks is None else Standing(table.speaks, self.index, self.what, self._seed)

    # ------------------------------------------------------------------------------------------------ the plan

    def _laid(self, use: Use) -> list[Column]:
        """The columns of one use, single ones first, then those of each field of parts side by side."""
        columns = [column for column in self.table.columns if column.use == use]
        fields = list(dict.fromkeys(column.field for column in columns))
        return sorted(columns, key=lambda column: fields.index(column.field) if column.part else -1)

    def _lay_out(self, columns: list[Column], added: tuple[str, ...]) -> None:
        """The struct of a row: the columns that hold fields, those read for something else, then those ignored.

        Last what was added beside the row.
        """
        table = self.table
        types = {column.name: json_type(column.encoding, self._type(column)) for column in columns}
        if table.base is not None:
            types.setdefault(table.base.name, int | float | str)
        for condition in table.speaks.where if table.speaks else ():
            types.setdefault(condition.name, str | int | bool)
        for cell in table.cells():
            types.setdefault(cell.name, json_type(cell.encoding, "text"))
        self._types = types
        self.index = {name: index for index, name in enumerate(types)}
        self.first_ignored = len(types)
        fields: list[tuple[str, Any, Any]] = [
            (f"c{index}", type_ | msgspec.UnsetType | None, UNSET) for index, type_ in enumerate(types.values())
        ]
        ignored = sorted(table.ignored - types.keys())
        fields += [(f"c{len(types) + i}", msgspec.Raw | msgspec.UnsetType, UNSET) for i in range(len(ignored))]
        self.first_added = len(fields)
        beside = [name for name in added if name not in types and name not in table.ignored]
        fields += [(f"c{len(fields) + i}", _ADDED, UNSET) for i in range(len(beside))]
        self.added = {name: self.first_added + i for i, name in enumerate(beside)}
        names = dict(zip((field[0] for field in fields), (*types, *ignored, *beside), strict=True))
        self.struct = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, frozen=True, gc=False)
        self.decode = msgspec.json.Decoder(self.struct).decode

    def _section(self, columns: list[Column]) -> Section:
        single = [(column.field, self._memo(column)) for column in columns if not column.part]
        groups = []
        for field in dict.fromkeys(column.field for column in columns if column.part):
            of = [column for column in columns if column.field == field]
            parts, memos = [column.part for column in of], [self._memo(column) for column in of]
            groups.append(Group(field, parts, memos, self.index[of[0].name]))
        return Section(self.index[columns[0].name] if columns else 0, single, groups)

    def _attributes(self, table: Table) -> list[Attribute | None]:
        """What a row says beside its fields, in the order in which ``change`` takes it."""
        found = [
            *(self._text(table.actor), self._text(table.role), self._moment(table.updated_at)),
            *(self._text(table.reason), self._attribute(table.base, whole_number), self._text(table.marker)),
        ]
        for rule in table.evidence:
            found += [self._moment(rule.at), self._text(rule.by)]
        return found

    def _type(self, column: Column) -> str:
        field = self._matrix.fields[column.field]
        return field.parts[column.part] if column.part else field.type

    def _memo(self, column: Column) -> Memo | Unkept:
        """The memo of a column that holds a field."""
        field, encoding, part = self._as_shown(column), column.encoding, column.part
        if encoding.word == NESTED or encoding == Encoding(DECIMAL):
            return self._nested(column, field)
        return Memo(self._named(column.name, canonical_of(field, part, encoding)), self._seed)

    def _nested(self, column: Column, field: Field) -> Memo | Unkept:
        """The memo of a column whose values are no plain texts or numbers, and its placeholder neither."""
        encoding, unavailable = column.encoding, self._unavailable

        def value(raw: Any) -> Any:
            return UNSET if unavailable.is_nested(raw) else canonical(field, column.part, encoding, raw)

        compute = self._named(column.name, value)
        return Unkept(compute) if encoding.word == NESTED else Memo(compute, self._seed)

    def _as_shown(self, column: Column) -> Field:
        """The field, without its choices where the system shows a summary: those are the full value's."""
        field = self._matrix.fields[column.field]
        if isinstance(field.views.get(self.mapping.system), Summary):
            return msgspec.structs.replace(field, choices=())
        return field

    def _text(self, cell: Cell | None) -> Attribute | None:
        return self._attribute(cell, scalar_of("text"))

    def _moment(self, cell: Cell | None) -> Attribute | None:
        return self._attribute(cell, partial(milliseconds, cell.encoding if cell else PLAIN))

    def _attribute(self, cell: Cell | None, compute: Callable[[Any], Any]) -> Attribute | None:
        if cell is None:
            return None
        seed = dict.fromkeys(self._seed)  # not carried, unavailable and null say the same: nothing
        return Attribute(self.index[cell.name], Memo(self._named(cell.name, compute), seed))

    def _named(self, column: str, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """``compute``, whose failure names the column."""

        def computed(raw: Any) -> Any:
            try:
                return compute(raw)
            except NotCanonical as error:
                raise Undecodable("not_canonical", f"{self.what}, column `{column}`: {error.reason}") from None

        return computed

    # ------------------------------------------------------------------------------------------------ rows

    @property
    def several(self) -> bool:
        """Whether a record has several rows here, of which one speaks."""
        return self._standing is not None

    def values(self, row: dict[str, Any]) -> Values:
        """A row from a dictionary of its columns, types and names checked; raises ``Undecodable``."""
        try:
            return astuple(msgspec.convert(row, self.struct))
        except msgspec.ValidationError as error:
            raise mistyped(error, self.what) from None

    def taker(self, columns: TypesOf[str, AbstractSet[type]]) -> Callable[[dict[str, Any]], Values] | None:
        """How rows of these columns, name -> what its values are in Python, become values without a look at each.

        ``None`` where a row of them could be refused for what stands in it, or holds what has to be made of JSON.
        """
        if not columns.keys() <= self.index.keys() | self.table.ignored:
            return None
        read = {name: columns[name] for name in self.index if name in columns}
        if any(not types or not _as_json(types) <= _plain(self._types[name]) for name, types in read.items()):
            return None
        absent = dict.fromkeys([name for name in self.index if name not in columns], UNSET)
        binary = [self.index[name] for name, types in read.items() if bytes in types]
        pick = itemgetter(*self.index)
        if not absent and not binary and len(self.index) > 1:
            return pick

        def take(row: dict[str, Any]) -> Values:
            whole = row | absent
            values = [whole[name] for name in self.index]
            for place in binary:
                if isinstance(values[place], bytes):
                    values[place] = b64encode(values[place]).decode()
            return tuple(values)

        return take

    def change(self, values: Values, envelope: Envelope, key: str | None = None, *, moved: bool = False) -> Change:
        """The row event as a change; raises ``Undecodable``.

        ``key`` is the row's where the event itself names it; ``moved``: the row goes on under a changed key.
        """
        op, table, mapping = envelope.op, self.table, self.mapping
        if key is None:
            key = self._key(values, self._keys)
        own = key if table.primary else self._key(values, self._of)
        record = self._record(values, own, op)
        row = row_name(mapping.source, table.name, key)
        identity = change_id(f"{row}/{envelope.version}/{op}{envelope.occurrence}")
        if op == "d":
            return self._gone(identity, record, row, own, envelope)
        inputs, compared, requests, actor, role, updated_at, reason, base, marker, *backing = self._read(values)
        actor = envelope.actor or actor
        origin = envelope.origin
        role, origin = self._known[actor, role] if origin is None else (envelope.role, origin)
        reason = envelope.reason or reason
        base = base if envelope.base is None else envelope.base
        evidence = self._backed(backing, actor, role) if backing else {}
        if envelope.evidence:
            evidence |= envelope.evidence
        return Change(
            id=identity,
            record=record,
            system=mapping.system,
            row=row,
            op=op,
            key=own,
            primary=table.primary,
            stage_row=self.stage_row,
            position=envelope.position,
            among=self._among,
            rank=None if self._standing is None else self._standing.rank(values),
            at=envelope.at,
            fields=inputs,
            compared=compared,
            requests=requests,
            actor=actor,
            role=role,
            origin=origin,
            updated_at=updated_at,
            reason=reason,
            base=base,
            evidence=evidence,
            marker=envelope.marker or marker,
            event=(*self._fresh(envelope, reason, base, evidence), "key")
            if moved
            else self._fresh(envelope, reason, base, evidence),
            source_version=envelope.version,
            trace=envelope.trace,
        )

    def reread(self, envelope: Envelope, key: str) -> Change:
        """That the row changed, and what it shows now is not known; raises ``Undecodable``. For a primary table."""
        rule, row = self.table.record, row_name(self.mapping.source, self.table.name, key)
        try:
            record = record_id(None, f"{rule.before}{key}{rule.after}")
        except BadId as error:
            raise Undecodable("bad_key", f"{self.what}: the record id is {error}") from None
        return Change(
            id=change_id(f"{row}/{envelope.version}/reread"),
            record=record or key,
            kind="reread",
            system=self.mapping.system,
            row=row,
            key=key,
            position=envelope.position,
            at=envelope.at,
            actor=envelope.actor,
            source_version=envelope.version,
            trace=envelope.trace,
        )

    def _gone(self, identity: str, record: str, row: str, own: str, envelope: Envelope) -> Change:
        """A deleted row's last values and last writer are no news: who deleted it is not said."""
        return Change(
            id=identity,
            record=record,
            system=self.mapping.system,
            row=row,
            op="d",
            key=own,
            primary=self.table.primary,
            stage_row=self.stage_row,
            position=envelope.position,
            among=self._among,
            at=envelope.at,
            source_version=envelope.version,
            trace=envelope.trace,
        )

    def _fresh(
        self, envelope: Envelope, reason: str | None, base: int | None, evidence: dict[str, Evidence]
    ) -> tuple[str, ...]:
        """What came with the event itself, and not as a column of the row."""
        if self.mapping.sparse:
            # Such an event carries only what changed: whatever it carries is fresh.
            carried = (("actor", envelope.actor), ("reason", reason), ("base", base), ("evidence", evidence or None))
            return tuple(name for name, value in carried if value is not None)
        return () if envelope.actor is None else ("actor",)

    def _backed(self, backing: Sequence[Any], actor: str | None, role: str | None) -> dict[str, Evidence]:
        """``backing``: for each rule the thing's own time, and who vouches by a column."""
        found = {}
        for rule, at, said in zip(self._evidence, backing[::2], backing[1::2], strict=True):
            by = said
            if rule.by is None:
                by = None if at is None else rule.word or (actor if role in rule.roles else None)
            if by is not None or at is not None:
                found[rule.field] = Evidence(by, at)
        return found

    # ------------------------------------------------------------------------------------------------ ids

    def _key(self, values: Values, cells: Iterable[tuple[Cell, int]]) -> str:
        parts = []
        for cell, index in cells:
            raw = values[index]
            if raw is None or raw is UNSET:
                raise Undecodable("missing_key", f"{self.what}: the key column `{cell.name}` is not there, or null")
            parts.append(self._id_text(cell, raw))
        try:
            return row_key(parts)
        except BadId as error:
            raise Undecodable("bad_key", f"{self.what}: the key is {error}") from None

    def _id_text(self, cell: Cell, raw: Any) -> str:
        word = cell.encoding.word
        if word != DECIMAL:
            return salesforce_id(raw) if word == SALESFORCE_ID else str(raw)
        try:
            return decimal_id(cell.encoding, raw)
        except NotCanonical as error:
            raise Undecodable("bad_key", f"{self.what}, column `{cell.name}`: {error.reason}") from None

    def is_linked(self, values: Values) -> bool:
        """Whether the row names its record by a shared id, and so is the same record's under another key too."""
        link = self.table.record.link
        if link is None:
            return False
        raw = values[self.index[link.name]]
        return self._seed.get(raw, raw) not in {None, UNSET} and bool(str(raw).strip())

    def _record(self, values: Values, key: str, op: Op) -> str:
        """Whose record the row is; raises ``Undecodable``."""
        rule = self.table.record
        shared = None
        if rule.link is not None:
            raw = values[self.index[rule.link.name]]
            unknown = raw is UNSET or self._seed.get(raw) is UNSET
            if unknown or (raw is None and op == "d" and not self.is_whole(values)):
                raise Undecodable("no_record", f"{self.what}: {self._unlinked(rule.link.name)}")
            shared = None if raw is None else self._id_text(rule.link, raw)
        try:
            record = record_id(shared, f"{rule.before}{key}{rule.after}" if rule.has_default else None)
        except BadId as error:
            raise Undecodable("bad_key", f"{self.what}: the record id is {error}") from None
        if record is None:
            raise Undecodable("no_record", f"{self.what}: the link column is null, and the mapping has no `else`")
        return record

    def is_whole(self, values: Values) -> bool:
        """Whether a deleted row shows more than its key.

        PostgreSQL's default replica identity logs only the key, and the connector fills the rest with nulls, or with
        empty defaults where a column takes no null.
        """
        keys = {index for _, index in (*self._keys, *self._of)}
        shown = enumerate(values[: self.first_ignored])
        return any(value and value is not UNSET for index, value in shown if index not in keys)

    def _unlinked(self, column: str) -> str:
        advice = "send it in every event" if self.mapping.sparse else "set `replica identity full` on the table"
        return f"the event does not carry `{column}`, which says whose record it is: {advice}"


def _plain(type_: Any) -> AbstractSet[type]:
    """The plain types of a type for msgspec: what of JSON's scalars may stand there, and null."""
    return (_SCALARS & set(get_args(type_) or (type_,))) | {_NULL}


def _as_json(types: AbstractSet[type]) -> AbstractSet[type]:
    """The types that JSON has for these: bytes are texts, in base64."""
    return {str if one is bytes else one for one in types}
