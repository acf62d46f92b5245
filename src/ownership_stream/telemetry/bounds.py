"""The closed sets of label values, taken from the matrix and from the tables of outcomes and reasons."""

from collections.abc import Iterable

from ownership_stream.accounting import RESOLUTION
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.outcomes import ANSWERS, CASE_REASONS, OUTCOMES
from ownership_stream.telemetry.catalogue import BURIALS, Bounds


def bounds_of(matrix: Matrix, *, dead_letter_reasons: Iterable[str], ignored_reasons: Iterable[str]) -> Bounds:
    """What the labels of a worker with this matrix can be.

    `dead_letter_reasons` are those that decoding gives (a lane's own are added), `ignored_reasons` those for which a
    source's record rightly leads to no change.
    """
    return Bounds(
        fields=tuple(matrix.fields),
        systems=tuple(matrix.systems),
        outcomes=tuple(OUTCOMES),
        grants=tuple(
            (field.name, grant.id)
            for field in matrix.fields.values()
            for grant in field.grants
            if grant.kind != "owner"
        )
        + tuple((field.name, RESOLUTION) for field in matrix.fields.values() if field.protected),
        answers=tuple(ANSWERS),
        owners=tuple(matrix.escalations),
        case_reasons=tuple(CASE_REASONS),
        dead_letter_reasons=tuple(dict.fromkeys((*dead_letter_reasons, *BURIALS.values()))),
        ignored_reasons=tuple(ignored_reasons),
    )
