"""The matrix as the decision reads it: every part of a document row compiled to grants, views and one rule.

Shapes only: how a document becomes this is ``document.py``; what is decided with it is ``decide.py``. Everything
here is immutable, so that one matrix serves all lanes and threads.
"""

from typing import Literal

import msgspec

from ownership_stream.model import Scalar, Value

Phase = Literal["any", "before", "after"]
"""Relative to care start, which is a latch."""

GrantKind = Literal["owner", "secondary", "override"]

RuleName = Literal["owner wins", "stage owner wins", "stage map", "latest validated", "latest patient-confirmed"]


class Grant(msgspec.Struct, frozen=True):
    """A right to write a field (section 1). Nothing else gives authority."""

    id: str
    """Readable and stable: ``"owner: crm before care start"``, ``"secondary: intake_ops in ehr"``."""
    kind: GrantKind
    system: str
    role: str | None = None
    """``None``: anyone in that system."""
    phase: Phase = "any"
    targets: frozenset[str] | None = None
    """Values it may set; ``None``: any."""
    persons: bool = False
    """Only persons hold it: secondary and override grants on critical fields, because an automation can give no
    reason.
    """


class Summary(msgspec.Struct, frozen=True):
    """What a system that reads only the summary is shown: some ``keep`` parts, or a ``map`` of codes.

    ``"*"`` in the map stands for any other code.
    """

    keep: tuple[str, ...] = ()
    map: dict[str, Scalar] = {}

    def of(self, value: Value) -> Value:
        """The summary of a full value; ``None`` stays ``None``."""
        if value is None:
            return None
        if isinstance(value, dict):
            kept = {part: value.get(part) for part in self.keep}
            return kept if any(part is not None for part in kept.values()) else None
        return self.map.get(str(value), self.map.get("*"))


View = Literal["full", "none"] | Summary
"""What a system shows of a field: all of it, nothing, or its summary."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the matrix."""

    name: str
    label: str
    type: str
    """``text | name | code | email | phone | date | instant | number | boolean | stage | parts``: how values are
    normalised.
    """
    parts: dict[str, str] = {}
    """Part -> its type, for ``type == "parts"``."""
    choices: tuple[str, ...] = ()
    """The values of ``one of``; empty: free."""
    owner: dict[Literal["before", "after"], str]
    """The owning system before and after care start; the same twice where the stage does not matter."""
    grants: tuple[Grant, ...]
    """In order of precedence: owner, secondary, override."""
    views: dict[str, View]
    """By system, for every system of the matrix. The owner's view is always full."""
    rule: RuleName
    protected: bool = True
    critical: bool = False
    reason_always: bool = False
    """``reason: every manual edit``: the owner's persons give a reason too."""
    direction: str = ""
    """The document's own words (``"ehr to crm, summary"``), for people; their effect is in ``grants`` and ``views``."""
    phone_region: str = ""
    """Country of phone numbers without one, for normalisation."""
    evidence: tuple[str, ...] = ()
    """Names of the evidence, as the document gives them; empty: the row's rule needs none."""
    group: str | None = None
    escalation: str
    """Key of ``Matrix.escalations``."""
    restore: bool = True
    """``on reject: restore``; otherwise ``on reject: leave``: a disagreement is listed, not restored."""
    read_only: frozenset[str] = frozenset()
    """Systems where no apply record can write it, as the source mappings say (``sources.bound``), not the document."""

    @property
    def by_stage(self) -> bool:
        """Whether care start changes who owns it."""
        return self.owner["before"] != self.owner["after"]


class StageMap(msgspec.Struct, frozen=True):
    """The stages and the allowed steps between them."""

    field: str
    care_start: str
    map: dict[str, tuple[str, ...]]
    """From -> allowed next; the first key is where a new record begins."""
    after: frozenset[str]
    """Stages that cannot be reached without passing care start (care start included): they set the latch."""


class Escalation(msgspec.Struct, frozen=True):
    """Who owns what stays unresolved, how long they have, and who comes next."""

    key: str
    name: str
    sla: int
    """Milliseconds."""
    then: str | None = None


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled ownership matrix."""

    name: str
    revision: str
    """``"2026-11-23+1f0c9a2b"``: the document's revision and the first 8 hex digits of its content hash."""
    owner: str
    """The document owner."""
    systems: dict[str, str]
    """Key -> the name people use."""
    roles: tuple[str, ...]
    role_names: dict[str, str] = {}
    """Role -> as people say it."""
    stages: StageMap
    escalations: dict[str, Escalation]
    fields: dict[str, Field]
    skew: int
    """Clock skew across sources that is still a tie, milliseconds."""
    groups: dict[str, tuple[str, ...]] = {}
    """Lock-step group -> its fields."""
    by_stage: tuple[str, ...] = ()
    """Fields whose owner care start changes."""
    creates: dict[str, frozenset[str]] = {}
    """System -> the stages in which a record is made there that it does not have; a system without: never."""
    create_words: dict[str, str] = {}
    """System -> the document's own words (``"at in_care"``), for people."""
