"""Who somebody is: a name, and the roles that were vouched for. Knows no HTTP."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.model import Case
from ownership_stream.resolve import chain

READER: Final = "reader"
"""The role of those who may look at what is open and at the matrix, see no values and ask nothing."""
LONGEST_NAME: Final = 200


class Actor(NamedTuple):
    """Somebody who was let in."""

    name: str
    roles: tuple[str, ...]
    """Escalation owners of the matrix, ``READER``, or both; never empty."""
    ambient: bool
    """A browser says it for them with every request, also with one that another site made it send."""

    @property
    def acts(self) -> bool:
        """Whether they may decide, comment and see values; what of it, says the case's chain."""
        return any(role != READER for role in self.roles)

    def role_for(self, matrix: Matrix, case: Case) -> str:
        """As whom they decide a case: the first of its chain that they are; else the first that they are at all."""
        owners = [role for role in self.roles if role != READER]
        return next((role for role in chain(matrix, case) if role in owners), owners[0] if owners else "")

    def decides(self, matrix: Matrix, case: Case) -> bool:
        """Whether the case is theirs to decide."""
        return any(role in self.roles for role in chain(matrix, case))


def known_roles(matrix: Matrix) -> frozenset[str]:
    """Every role that somebody can have here."""
    return frozenset(matrix.escalations) | {READER}


def roles_of(groups: Iterable[str], mapped: Mapping[str, str], known: Collection[str]) -> tuple[str, ...]:
    """The roles that somebody's groups give, each once; a group that means nothing here gives none."""
    named = (mapped.get(group, "") if mapped else group for group in groups)
    return tuple(dict.fromkeys(role for role in named if role in known))
