"""The oracle's steps 10 to 14 and the conflict rules of docs/rules.md, section 3: pure, one function for each sentence.

Every function takes ``(matrix, spec, write, grant, now)`` and gives a ``Verdict``, or ``None`` where it has no say.
``now`` is the current value or ``None``. Part of the oracle: written from the rules and not from the code.
"""

from dataclasses import dataclass
from typing import Protocol

from ownership_stream.matrix.compiled import Field, Grant, Matrix
from ownership_stream.model import Evidence, Value


@dataclass(frozen=True)
class Verdict:
    """How a write ends, as far as the steps have come."""

    outcome: str
    reason: str = ""
    grant: Grant | None = None


class Written(Protocol):
    """What the rules ask of a write; read-only, since writes are frozen."""

    @property
    def system(self) -> str:
        """Where it was written."""

    @property
    def role(self) -> str | None:
        """As what."""

    @property
    def phase(self) -> str:
        """Before or after care start."""

    @property
    def value(self) -> Value:
        """The value."""

    @property
    def at(self) -> int:
        """Source time, not after the broker's."""

    @property
    def now(self) -> int:
        """The broker's time."""

    @property
    def person(self) -> bool:
        """By a person."""

    @property
    def reason(self) -> str | None:
        """A fresh reason."""

    @property
    def base(self) -> int | None:
        """A fresh base version."""

    @property
    def evidence(self) -> Evidence | None:
        """Fresh evidence."""

    @property
    def seen(self) -> bool:
        """Whether the writer had seen the current value."""


class Standing(Protocol):
    """What the rules ask of the current value."""

    value: Value
    version: int
    at: int
    grant: Grant | None
    evidence: Evidence | None


APPLIED = Verdict("applied")
STALE = Verdict("rejected", "stale")


def is_owner(grant: Grant | None) -> bool:
    """Under an owner grant."""
    return grant is not None and grant.kind == "owner"


def fits(grant: Grant, write: Written) -> bool:
    """“A right to write: (system, role or anyone, before or after care start or any, target values)”."""
    return (
        grant.system == write.system
        and grant.phase in {"any", write.phase}
        and grant.role in {None, write.role}
        and (write.person or not grant.persons)
        and (grant.targets is None or write.value in grant.targets)
    )


def step_9_grant(spec: Field, write: Written) -> Grant | None:
    """“Where several grants fit, the first of owner, secondary, override counts”."""
    for kind in ("owner", "secondary", "override"):
        for one in spec.grants:
            if one.kind == kind and fits(one, write):
                return one
    return None


def step_10_reason(
    _matrix: Matrix, spec: Field, write: Written, grant: Grant | None, _now: Standing | None
) -> Verdict | None:
    """“A person writing a critical field under a secondary or override grant without one → ``reason_required``”."""
    asked = spec.reason_always or (spec.critical and grant is not None and grant.kind != "owner")
    return Verdict("rejected", "reason_required") if write.person and asked and write.reason is None else None


def step_11_clear(
    _matrix: Matrix, spec: Field, write: Written, _grant: Grant | None, _now: Standing | None
) -> Verdict | None:
    """“An automation clearing a critical field → ``queued: clear``”."""
    return Verdict("queued", "clear") if write.value is None and spec.critical and not write.person else None


def step_12_override(
    _matrix: Matrix, _spec: Field, write: Written, grant: Grant | None, now: Standing | None
) -> Verdict | None:
    """“Yields to a writer who holds the same grant, or to the owner's person who has seen it; everyone else →…”."""
    if now is None or now.grant is None or now.grant.kind != "override":
        return None
    if fits(now.grant, write) or (is_owner(grant) and write.person and write.seen):
        return None
    return Verdict("rejected", "override_active")


def step_13_staleness(
    matrix: Matrix, spec: Field, write: Written, _grant: Grant | None, now: Standing | None
) -> Verdict | None:
    """“A seen write is fresh. Unseen: base version given → stale; older… beyond the matrix's skew → stale”."""
    if spec.rule.startswith("latest") or write.seen or now is None:
        return None
    return STALE if write.base is not None or now.at - write.at > matrix.skew else None


def step_14_rule(
    matrix: Matrix, spec: Field, write: Written, grant: Grant | None, now: Standing | None
) -> Verdict | None:
    """“The row's rule”."""
    rules = {
        "owner wins": owner_wins,
        "stage owner wins": owner_wins,
        "stage map": stage_map,
        "latest validated": latest_validated,
        "latest patient-confirmed": latest_confirmed,
    }
    return rules[spec.rule](matrix, spec, write, grant, now)


def owner_wins(_matrix: Matrix, _spec: Field, write: Written, grant: Grant | None, _now: Standing | None) -> Verdict:
    """“A seen write → applied. Unseen: under an owner grant → applied; anyone else's → ``rejected: stale``”."""
    return APPLIED if write.seen or is_owner(grant) else STALE


def stage_map(matrix: Matrix, spec: Field, write: Written, grant: Grant | None, now: Standing | None) -> Verdict:
    """“As *owner wins*, and the step current → new must be in the map”."""
    verdict = owner_wins(matrix, spec, write, grant, now)
    if verdict is STALE or now is None or write.value in matrix.stages.map[str(now.value)]:
        return verdict
    return Verdict("queued" if is_owner(grant) else "rejected", "transition")


def complete(evidence: Evidence | None) -> bool:
    """Evidence with ``by`` and a time."""
    return evidence is not None and evidence.by is not None and evidence.at is not None


def at(evidence: Evidence | None) -> int:
    """The time of complete evidence."""
    assert evidence is not None
    assert evidence.at is not None
    return evidence.at


def ahead(matrix: Matrix, write: Written) -> bool:
    """“An evidence time in the future beyond the skew (against the broker's time)”."""
    return write.evidence is not None and write.evidence.at is not None and write.evidence.at - write.now > matrix.skew


def later(write: Written, now: Standing) -> Verdict:
    """“The later wins, the older → ``stale``, equal and different → ``queued: tie``”."""
    if at(write.evidence) != at(now.evidence):
        return APPLIED if at(write.evidence) > at(now.evidence) else STALE
    return APPLIED if write.value == now.value else Verdict("queued", "tie")


def latest_validated(
    matrix: Matrix, _spec: Field, write: Written, _grant: Grant | None, now: Standing | None
) -> Verdict:
    """“Without ``by``, or without a time → ``not_validated``; a later completion wins whatever arrived first…”."""
    if write.value is None:
        return taking_back(write, now)
    if not complete(write.evidence):
        return Verdict("rejected", "not_validated")
    if ahead(matrix, write):
        return Verdict("queued", "clock")
    if now is None or not complete(now.evidence):
        return APPLIED
    return later(write, now)


def taking_back(write: Written, now: Standing | None) -> Verdict:
    """“Gives a reason, else ``reason_required``, and names the completion…, else ``stale``; then it is applied”."""
    if write.reason is None:
        return Verdict("rejected", "reason_required")
    if now is None:
        return STALE
    by_time = (
        write.evidence is not None
        and write.evidence.at is not None
        and now.evidence is not None
        and write.evidence.at == now.evidence.at
    )
    return APPLIED if by_time or write.base == now.version else STALE


def latest_confirmed(
    matrix: Matrix, _spec: Field, write: Written, _grant: Grant | None, now: Standing | None
) -> Verdict:
    """“Unconfirmed over confirmed → ``not_confirmed``; both confirmed: the later; both unconfirmed: seen → applied”."""
    if ahead(matrix, write):
        return Verdict("queued", "clock")
    confirmed = complete(write.evidence)
    if now is None:
        return APPLIED
    if not complete(now.evidence):
        return APPLIED if confirmed or write.seen else STALE
    return later(write, now) if confirmed else Verdict("rejected", "not_confirmed")
