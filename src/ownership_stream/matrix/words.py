"""The vocabulary of the matrix document: each word with what it means, in one place.

The loader accepts these words, the JSON Schema offers them to editors, and the documentation explains them.
This module knows nothing of YAML.
"""

from typing import Final, NamedTuple

from ownership_stream.matrix.compiled import RuleName

RULES: Final[dict[RuleName, str]] = {
    "owner wins": "the owner's value stands; others may write where granted, after having seen the current value",
    "stage owner wins": "as `owner wins`, by the owner at the record's side of care start",
    "stage map": "only for the stage field: the step from the current stage must be in the stage map",
    "latest validated": "the latest validated completion stands, whatever arrived first",
    "latest patient-confirmed": "the patient's latest word stands; among unconfirmed values the version check decides",
}

EVIDENCE: Final[dict[RuleName, tuple[str, str]]] = {
    "latest validated": ("validated_by", "completed_at"),
    "latest patient-confirmed": ("confirmed_by_patient", "confirmed_at"),
}
"""What backs a value under the rules that go by evidence: who vouches for it, and when the thing itself happened."""

SCALAR_TYPES: Final[dict[str, str]] = {
    "text": "text; equal after Unicode composition, trimming and folding of white space",
    "name": "a person's name; equal as text is",
    "code": "a short code; equal without regard to case",
    "email": "an e-mail address; equal without regard to case",
    "phone": "a phone number; equal in international form (E.164)",
    "date": "a calendar date; equal by value",
    "instant": "a moment; equal by value, to the millisecond",
    "number": "a finite number; equal by value",
    "boolean": "true or false",
}
FIELD_TYPES: Final[dict[str, str]] = SCALAR_TYPES | {"stage": "a stage of the stage map; equal as codes are"}

SUMMARY_SUFFIX: Final = ", summary"
SHARED_DIRECTIONS: Final[dict[str, str]] = {
    "both ways by stage": "care start changes the owner, and with it the direction",
    "both ways with version check": "anyone in another system may write too, after having seen the current value",
    "both ways": "the secondary writers of another system write there, and every system shows the value",
    "none": "no other system shows the value",
}


def directions(systems: tuple[str, ...]) -> dict[str, tuple[str, str] | None]:
    """Every direction word for these systems, with (from, to) for those that go one way."""
    pairs = [(a, b) for a in systems for b in systems if a != b]
    one_way = {f"{a} to {b}{suffix}": (a, b) for a, b in pairs for suffix in ("", SUMMARY_SUFFIX)}
    return {**one_way, **dict.fromkeys(SHARED_DIRECTIONS)}


REASONS: Final = {"every manual edit": "persons of the owner give a reason too, not only those with another grant"}
ON_REJECT: Final = {
    "restore": "what a rejected write left behind in its own system is overwritten with the expected value",
    "leave": "it stays there, and is listed as a disagreement",
}
END: Final = "end"
"""Stands for the next stages of one that leads nowhere."""
ANY: Final = "any"
NONE: Final = "none"
RESERVED: Final = frozenset({ANY, NONE, END, "anyone", "matrix"})
"""Words that mean something already, and so name no role, system or stage."""


class Key(NamedTuple):
    """What a key of the document means, and whether it must be there."""

    meaning: str
    required: bool = True


TOP: Final[dict[str, Key]] = {
    "matrix": Key("the matrix's name: what its records are"),
    "revision": Key("a date or a version; every decision carries it, with a hash of the content"),
    "owner": Key("who answers for this document"),
    "review": Key("how often the document is reviewed, and when it last was"),
    "systems": Key("the systems that share the fields: key and the name people use, and when records are made there"),
    "stages": Key("the stages a record goes through, and where care starts"),
    "roles": Key("who writes: the name people use, and the systems in which the role counts"),
    "escalation": Key("who owns what stays unresolved, how long they have, and who comes next"),
    "defaults": Key("what holds where a row says nothing else"),
    "fields": Key("the rows of the matrix"),
}
OWNER: Final[dict[str, Key]] = {"name": Key("the person or post"), "contact": Key("where to reach them")}
REVIEW: Final[dict[str, Key]] = {
    "every": Key("the interval, as in `1 month`"),
    "last": Key("the date of the last review"),
}
REVIEWS: Final[dict[str, Key]] = {"reviews": Key("every review of the document, the newest last")}
SIGNATURE: Final[dict[str, Key]] = {
    "on": Key("the day of the review"),
    "by": Key("the person who signed it"),
    "revision": Key("the revision that they looked at"),
    "note": Key("what they noted", required=False),
}
SYSTEM: Final[dict[str, Key]] = {
    "name": Key("as people say it"),
    "create": Key(
        "when a record that the system does not have is made there: `never`, or `at` a stage, then or later",
        required=False,
    ),
}
NEVER: Final = "never"
AT: Final = "at "
"""What `create` begins with before a stage."""
STAGES: Final[dict[str, Key]] = {
    "field": Key("the field that holds the stage"),
    "care start": Key("the stage that divides before from after; once reached, after holds for good"),
    "map": Key("from each stage the allowed next ones; a new record begins with the first stage"),
}
ROLE: Final[dict[str, Key]] = {"name": Key("as people say it"), "in": Key("the systems in which the role counts")}
ESCALATION: Final[dict[str, Key]] = {
    "name": Key("as people say it"),
    "sla": Key("how long they have, as in `4h`"),
    "then": Key("who comes next when it is over", required=False),
}
DEFAULTS: Final[dict[str, Key]] = {
    "clock skew": Key("a difference between the systems' clocks that still counts as the same time"),
    "protected": Key("whether nobody may write without a grant"),
    "on reject": Key("what becomes of a rejected value in the system that wrote it"),
    "phone region": Key("the country of phone numbers without one, as two capitals", required=False),
}
FIELD: Final[dict[str, Key]] = {
    "label": Key("as people say it"),
    "type": Key("what the value is: a type, `one of` some codes, or parts with a type each"),
    "owner": Key("the owner system, or one before and one after care start"),
    "only": Key("roles: in the owner system too, nobody else may write", required=False),
    "secondary": Key("other roles that may write wherever they count; `none`; or each with the values it may set"),
    "direction": Key("where the value flows"),
    "summary": Key("what a system that reads only the summary is shown", required=False),
    "rule": Key("who wins when values disagree"),
    "evidence": Key("what backs a value, for the rules that go by it", required=False),
    "overrides": Key("roles whose update overrides the rule, in any stage", required=False),
    "protected": Key("false: a write without grant is accepted and reported", required=False),
    "critical": Key("true: who is not the owner gives a reason, and no automation clears it", required=False),
    "reason": Key("when a reason is needed beyond that", required=False),
    "on reject": Key("what becomes of a rejected value in the system that wrote it", required=False),
    "group": Key("fields of one group that change together win or lose together", required=False),
    "escalation": Key("who owns what stays unresolved"),
}
BY_STAGE: Final[dict[str, Key]] = {
    "before care start": Key("the owner until care has started"),
    "after care start": Key("the owner from then on, also when paused or discharged"),
}
SUMMARY: Final[dict[str, Key]] = {
    "keep": Key("the parts that are shown; the others are not", required=False),
    "map": Key('value: what is shown for it; "*": any other', required=False),
}
