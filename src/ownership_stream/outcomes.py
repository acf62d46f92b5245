"""Every outcome a changed field can have and every reason of a case: one closed list with a sentence each.

The CLI, the conflict records and the pages all speak from this table, so that a person reads the same words everywhere:
whose field it is, which rule spoke, and what to do instead. It knows no Kafka and no values of patients: the
placeholders are names out of the matrix. The meaning of each row is ``docs/rules.md``.
"""

from typing import Final, NamedTuple

from ownership_stream.matrix.compiled import Field, Matrix


class Meaning(NamedTuple):
    """What an outcome says. Both texts may name ``{label} {owner} {who} {rule} {escalation} {system}``."""

    sentence: str
    advice: str = ""
    """What the writer, or the person who finds it in a queue, does instead."""


OUTCOMES: Final[dict[tuple[str, str], Meaning]] = {
    ("noop", ""): Meaning("nothing changed in {label}"),
    ("replay", ""): Meaning("an older or repeated event of the same row; {label} was decided before"),
    ("echo", ""): Meaning("our own write of {label} came back from the {system}"),
    ("echo", "coerced"): Meaning(
        "our own write of {label} landed in the {system} in another form",
        "widen the column or align its format; the landed form is accepted until the value changes",
    ),
    ("echo", "late"): Meaning(
        "a write of ours to {label} in the {system} was made once more after later ones: nobody edited it",
        "look why the writer that feeds that system began again, and have it note sooner what it has written",
    ),
    ("baseline", ""): Meaning(
        "a snapshot showed {label}; it is a baseline, not an edit", "see the reconciliation report"
    ),
    ("applied", ""): Meaning("{label} was changed by a rightful writer"),
    ("applied", "evidence"): Meaning("{label} keeps its value and gains newer evidence"),
    ("applied", "unprotected"): Meaning("{label} is not protected, so a writer without a grant could change it"),
    ("rejected", "owner_policy"): Meaning(
        "the {owner} owns {label}, and this writer has no grant for it here",
        "it may be changed by {who}",
    ),
    ("rejected", "reason_required"): Meaning(
        "{label} is critical: a person who does not own it gives a reason",
        "save the change again with an override reason",
    ),
    ("rejected", "override_active"): Meaning(
        "{label} is under an override, which yields only to its own role or to the owner's person who has seen it",
        "ask the role that made the override, or confirm the current value in the {owner} first",
    ),
    ("rejected", "stale"): Meaning(
        "the writer had not seen the current {label}", "look at the current value and make the change again"
    ),
    ("rejected", "transition"): Meaning(
        "the stage map has no such step for {label}", "take an allowed step, or ask the {owner} to change the stage"
    ),
    ("rejected", "not_validated"): Meaning(
        "without a validated completion {label} is not completed", "have it validated; it will then be taken"
    ),
    ("rejected", "not_confirmed"): Meaning(
        "the patient has confirmed {label}, and this write is not confirmed",
        "ask the patient, and save with the confirmation",
    ),
    ("rejected", "group"): Meaning(
        "{label} moves together with a field that was rejected", "mend the other field and save all of them again"
    ),
    ("queued", "stage"): Meaning(
        "the care stage is not known, and {label} would be decided differently before and after care start",
        "set the care stage; the write is then decided again",
    ),
    ("queued", "stage_unknown"): Meaning(
        "the stage is not in the stage map", "add the stage to the matrix, or correct it"
    ),
    ("queued", "clear"): Meaning(
        "an automation tried to clear {label}, which is critical", "decide whether the value is really gone"
    ),
    ("queued", "clock"): Meaning("the evidence for {label} lies in the future", "check the clock of the source"),
    ("queued", "tie"): Meaning(
        "two different values of {label} have the same evidence time", "ask which of the two is right"
    ),
    ("queued", "speaker"): Meaning(
        "several rows of the {system} stand equal, and which of them speaks for {label} cannot be told",
        "correct the rows there, or name in `latest by` a column that tells them apart",
    ),
    ("queued", "transition"): Meaning(
        "the {owner} owns {label} but the stage map has no such step", "correct the stage, or change the stage map"
    ),
    ("queued", "handover"): Meaning(
        "care has started: {label} passes to the {owner}, which shows another value", "decide which value is right"
    ),
    ("queued", "oscillation"): Meaning(
        "automations of both systems keep changing {label} back", "stop one of them, then decide the value"
    ),
    ("queued", "no_rule"): Meaning("no rule of the matrix answers for {label}", "add the case to the matrix"),
    ("queued", "diverged"): Meaning(
        "a value of {label} was sent twice, and the system that should show it shows another",
        "check the writer that feeds that system",
    ),
    ("queued", "group"): Meaning("{label} moves together with a field that waits in the queue"),
    ("queued", "link"): Meaning("it is not certain that both rows are the same person", "confirm or undo the link"),
    ("queued", "paused"): Meaning("writes are paused here", "resume them; the write is then decided again"),
    ("queued", "duplicate"): Meaning("the record probably exists already", "link it, or dismiss the match"),
    ("failed", ""): Meaning(
        "an internal error stopped the decision; the incoming value was not taken", "replay the dead letter"
    ),
}
"""``(outcome, reason)`` -> its meaning; nothing else is ever decided."""

CASE_REASONS: Final[dict[str, Meaning]] = {
    **{reason: meaning for (outcome, reason), meaning in OUTCOMES.items() if outcome == "queued"},
    "unattested": Meaning(
        "the {owner} owns {label} and shows a value that no rightful writer has attested",
        "have it confirmed by {who}, or set the current value again in the {owner}",
    ),
    "unwritable": Meaning(
        "a system shows another {label} than it should, in a table that nothing writes to",
        "set {label} there by hand, as it is in the {owner}",
    ),
    "reread": Meaning(
        "the record changed, and the event does not say what: what the system shows of it is not known",
        "have the source send the whole record again: a snapshot of it, or a row event with all that it holds",
    ),
    "absent": Meaning(
        "the record was deleted in a system that owns fields of it", "check whether the deletion was meant"
    ),
    "link_candidate": Meaning(
        "a record of another system is probably the same person", "link the two, or dismiss the match"
    ),
    "uncreated": Meaning(
        "the record was sent twice to be made in a system, and has not appeared there",
        "check the writer that feeds that system, or make the record there with its link",
    ),
    "merged": Meaning(
        "two histories of one person were merged, and differ in {label}",
        "decide which value is right, and set it in the {owner}",
    ),
    "split": Meaning(
        "two records were split, and the {label} shown here came from the other one",
        "check it with the patient, and save it again in the {owner}",
    ),
    "failed": OUTCOMES["failed", ""],
}
"""Reason -> meaning, for everything that waits in a queue."""

OWN_REASONS: Final = frozenset({"duplicate", "link_candidate", "link", "reread", "absent", "uncreated", "failed"})
"""Reasons of cases of a record itself."""

ANSWERS: Final[dict[tuple[str, str], Meaning]] = {
    ("accepted", ""): Meaning("the value of a system was accepted: it is the current {label}"),
    ("kept", ""): Meaning("the current {label} was kept, and every system that shows another is sent it"),
    ("set", ""): Meaning("another value was set: it is the current {label}"),
    ("dismissed", "duplicate"): Meaning("the record is no duplicate"),
    ("dismissed", "link_candidate"): Meaning("the records of both systems are not the same person"),
    ("linked", "duplicate"): Meaning(
        "the two records are linked: they become one, unless their birth dates differ", "see `records show`"
    ),
    ("linked", "link_candidate"): Meaning(
        "the records of both systems are linked: they become one, unless their birth dates differ", "see `records show`"
    ),
    ("dismissed", "absent"): Meaning("the record's deletion was meant"),
    ("dismissed", "failed"): Meaning("the failed decision was looked at"),
    ("assigned", ""): Meaning("the case was assigned"),
    ("commented", ""): Meaning("the comment was written down"),
    ("revealed", ""): Meaning("the values of the case were shown"),
    ("changed meanwhile", ""): Meaning("the case is not as it was read any more", "look at it again, then decide"),
    ("changed meanwhile", "closed"): Meaning("the case is not open any more", "nothing is left to decide"),
    ("refused", "not_a_person"): Meaning("only a person with a name decides a case", "say who decides"),
    ("refused", "not_the_owner"): Meaning(
        "only the case's escalation owner decides it, or one above in the chain", "ask {escalation}, or assign it"
    ),
    ("refused", "reason_required"): Meaning("a reason is asked for here", "say why"),
    ("refused", "no_current_value"): Meaning(
        "there is no current {label} that could be kept", "accept a value, or set one"
    ),
    ("refused", "not_offered"): Meaning(
        "the system offers no {label} that could be accepted", "look at what the case offers, or set a value"
    ),
    ("refused", "not_named"): Meaning(
        "several records wait in the case, or none of that id", "say which of them is the same person"
    ),
    ("refused", "value"): Meaning("{label} cannot have that value", "set one that the matrix knows"),
    ("refused", "not_possible"): Meaning("that cannot be done with this case", "look at what the case offers"),
    ("failed", ""): Meaning("an internal error stopped it; nothing was changed", "replay the dead letter"),
}
"""``(outcome, reason)`` of what a person asked of a case -> its meaning; nothing else is ever answered."""

ATTEMPTS: Final = frozenset({"applied", "rejected", "queued"})
"""Outcomes that count as write attempts (section 5)."""


def owner_name(matrix: Matrix, field: Field, *, care_started: bool) -> str:
    """The name of the system that owns the field before or after care start."""
    return matrix.systems[field.owner["after" if care_started else "before"]]


def who_may(matrix: Matrix, field: Field, *, care_started: bool) -> str:
    """Who may write the field now, by the matrix: ``"anyone in the CRM, or Clinical Ops in the EHR or the CRM"``."""
    now = [grant for grant in field.grants if grant.phase in ("any", "after" if care_started else "before")]
    open_to_all = {grant.system for grant in now if grant.role is None}
    where: dict[str, dict[str, None]] = {}
    for grant in now:
        if grant.role is None or grant.system not in open_to_all:
            name = "anyone" if grant.role is None else matrix.role_names.get(grant.role, grant.role)
            where.setdefault(name, {})[f"the {matrix.systems[grant.system]}"] = None
    return ", or ".join(f"{name} in {' or '.join(systems)}" for name, systems in where.items()) or "nobody"


def in_words(matrix: Matrix, field: Field, meaning: Meaning, system: str, *, care_started: bool) -> tuple[str, str]:
    """The sentence and the advice of a meaning for one field, without patient values."""
    names = {
        "label": f"`{field.label}`",
        "owner": owner_name(matrix, field, care_started=care_started),
        "who": who_may(matrix, field, care_started=care_started),
        "rule": field.rule,
        "escalation": matrix.escalations[field.escalation].name,
        "system": matrix.systems.get(system, system),
    }
    return meaning.sentence.format(**names), meaning.advice.format(**names)


def explain(matrix: Matrix, field: Field, meaning: Meaning, system: str, *, care_started: bool) -> str:
    """One line in words: what happened and, after a semicolon, what to do instead."""
    sentence, advice = in_words(matrix, field, meaning, system, care_started=care_started)
    return f"{sentence}; {advice}" if advice else sentence
