"""A second opinion on merges: docs/rules.md, *Merge*, written down from its sentences and not from the code.

Restricted to which value stands of two records that both have one, and to which side of a split has which value after
it; what then follows for systems, cases, sends and positions, and the way of words and rows between records, is checked
by properties of its own (``tests/property/test_links.py``). Works on plain dictionaries.
"""

from typing import NamedTuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import RecordState, Value


class Plain(NamedTuple):
    """A current value in plain words."""

    value: Value
    at: int
    proven: int | None
    """When what it is backed by happened, where somebody vouches for it."""
    override: bool


def plain(state: RecordState) -> dict[str, Plain]:
    """Every field that has a current value."""
    found = {}
    for name, one in state.fields.items():
        if one.version > 0:
            vouched = one.evidence is not None and one.evidence.by is not None
            proven = one.evidence.at if vouched and one.evidence is not None else None
            found[name] = Plain(one.value, one.at, proven, one.grant.split(":")[0] == "override")
    return found


def merged(matrix: Matrix, mine: dict[str, Plain], theirs: dict[str, Plain]) -> dict[str, str]:
    """How each value of theirs ends: ``noop``, ``applied``, ``rejected`` or ``queued``."""
    ends = {name: end(matrix, name, mine.get(name), one) for name, one in theirs.items()}
    for names in matrix.groups.values():
        # “Fields of a group are of one side, or all of them that differ are queued.”
        involved = [name for name in names if name in mine or name in theirs]
        said = {ends.get(name, "rejected") for name in involved}
        said.discard("noop")
        if len(said) >= 2:
            for name in involved:
                if name in ends and ends[name] != "noop":
                    ends[name] = "queued"
    return ends


def end(matrix: Matrix, name: str, mine: Plain | None, theirs: Plain) -> str:
    """“One-sided values are taken; of two that differ …”."""
    if mine is None or mine.value == theirs.value:
        return "applied" if mine is None else "noop"
    spec = matrix.fields[name]
    if spec.critical or name == matrix.stages.field or mine.override or theirs.override:
        return "queued"
    return by_evidence_or_time(matrix, name, mine, theirs)


class Side(NamedTuple):
    """One side of a split: its rows, where one of them speaks, what its systems show, and whether care has started."""

    rows: set[str]
    speaks: set[str]
    shown: dict[str, dict[str, Value]]
    started: bool


def parted(matrix: Matrix, state: RecordState, stays: Side, leaves: Side) -> tuple[dict[str, Value], dict[str, Value]]:
    """The current values of who stays and of who leaves.

    “The current values … that these rows set go back, with their provenance; the rest stays”; “a field whose current
    value went to the other side is: critical, and still shown here → no current value …; otherwise what the owner
    shows, or none”.
    """
    here: dict[str, Value] = {}
    there: dict[str, Value] = {}
    for name, one in state.fields.items():
        if one.version == 0:
            continue
        goes = one.row in leaves.rows if one.row else one.system in leaves.speaks
        own, other, side = (there, here, stays) if goes else (here, there, leaves)
        own[name] = one.value
        spec = matrix.fields[name]
        owner = spec.owner["after" if side.started else "before"]
        shows = side.shown.get(owner, {}).get(name)
        if shows is not None and not spec.critical and name != matrix.stages.field:
            other[name] = shows
    return here, there


def by_evidence_or_time(matrix: Matrix, name: str, mine: Plain, theirs: Plain) -> str:
    """“Where the rule goes by evidence the later evidence stands, evidence before none; otherwise the later time”."""
    spec = matrix.fields[name]
    if spec.rule.startswith("latest") and (mine.proven is not None or theirs.proven is not None):
        if mine.proven == theirs.proven:
            return "queued"
        if mine.proven is None:
            return "applied"
        return "rejected" if theirs.proven is None or theirs.proven < mine.proven else "applied"
    apart = theirs.at - mine.at
    if -matrix.skew <= apart <= matrix.skew:
        return "queued"
    return "applied" if apart > 0 else "rejected"
