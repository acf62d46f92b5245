"""The vocabulary of a scenario file: each word with what it means, in one place.

The parser accepts these words and the JSON Schema offers them to editors. Beside them stand the matrix's own: fields,
systems, roles, the names of evidence. This module knows nothing of YAML.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from ownership_stream.matrix.words import Key
from ownership_stream.model import Op
from ownership_stream.outcomes import OWN_REASONS
from ownership_stream.scenarios.story import Position
from ownership_stream.slots import slot

Words = dict[str, Key]


def _may(meaning: str) -> Key:
    return Key(meaning, required=False)


def own_cases(systems: Iterable[str]) -> dict[str, str]:
    """How a case of the record itself is named -> its slot, or how that begins: any, that of a cause, of a system."""
    found = {RECORD: ""} | {f"{RECORD} {reason}": slot(reason) for reason in sorted(OWN_REASONS)}
    of_systems = ((reason, system) for reason in ("absent", "uncreated") for system in systems)
    return found | {f"{RECORD} {reason} {system}": slot(reason, system) for reason, system in of_systems}


def named(names: Iterable[str], meaning: str) -> dict[str, Key]:
    """The matrix's names as keys of a mapping."""
    return dict.fromkeys(names, _may(meaning))


EXPECTED: Final[Words] = {
    "then": _may("the outcomes, in order: `field: outcome reason`"),
    "merged": _may("what becomes of a linked record's current values, by field: `taken`, `own`, `same` or `queued`"),
    "decided_again": _may("the outcomes of writes that had waited in the queue"),
    "sends": _may("everything that is sent, by system; `nothing`"),
    "queue": _may("every case that is open then, by field (`record`, `record absent` for the record's own); `none`"),
    "current": _may("current values, by field"),
    "shown": _may("what the systems show, by system and field"),
}
SCENARIO: Final[Words] = {
    "name": Key("a sentence that says what should happen"),
    "when": Key("the acts of the story, in order"),
    "about": _may("why the case matters, for the reader"),
    "at": _may("when the story begins, as in `2026-03-02T09:00Z`"),
    "present": _may("the systems that have the record when the story begins; `none`; default: all"),
    "given": _may("the fields as they stand when the story begins"),
} | EXPECTED
WRITER: Final[Words] = {
    "by": _may("the writer: a role of the matrix, `person` or `automation`"),
    "actor": _may("the writer's name or id"),
    "origin": _may("`person` or `automation`, where the role does not say"),
}
TIMES: Final[Words] = {
    "at": _may("the source's time: `+5m` from the beginning of the story, or `2026-03-02T09:00Z`"),
    "arrives": _may("the broker's time, where it is not the source's"),
}
STEP: Final[Words] = {
    "lands": _may("the system in which the oldest value that is under way lands and comes back"),
    "after": _may("time passes, as in `15m`, and the record's tick comes"),
    "pause": _may("the system whose writes a person pauses, or `record`"),
    "resume": _may("the system whose writes a person resumes, or `record`"),
    "resolve": _may("a person decides the case of a field"),
    "link": _may("another record: a person says that it is the same person, and its history comes here"),
    "confirm": _may("true: a person confirms that the linked record is the same person, whatever speaks against it"),
    "unlink": _may("true: a person says that the linked record is somebody else's, and what came from it leaves"),
    "answer": _may("how that is answered: `kept`, `accepted`, `set`, `dismissed`, `refused not_the_owner`, …"),
    "repeat": _may("how often the acts of `of` happen"),
    "of": _may("the acts to repeat"),
} | EXPECTED
RESOLVE: Final[Words] = {
    "case": Key("the field whose case it is, or `record`"),
    "by": _may("the escalation owner as whom the person decides"),
    "reason": _may("why"),
    "accept": _may("the system whose value is taken"),
    "keep": _may("true: the current value stays, and is sent where another is shown"),
    "set": _may("another value"),
    "dismiss": _may("true: the record's own case is none"),
    "seen": _may("false: the case has changed since the person read it"),
}
LINK: Final[Words] = {
    "present": _may("the systems that have the other record; `none`; default: all"),
    "given": _may("the other record's fields as they stand"),
}
LANDING: Final[Words] = (
    {
        "as": _may("the fields that land differently from what was sent"),
        "marked": _may("false: the system has no marker column"),
        "row": _may("the table the values land in, where it is not the patient's own row"),
    }
    | WRITER
    | TIMES
)
EVENT: Final[Words] = (
    {
        "reason": _may("the override reason"),
        "base_version": _may("the version that the writer had seen"),
        "op": _may("`create`, `update` (the default), `delete` or `snapshot`"),
        "position": _may("`late`: before the row's last event; `duplicate`: the same event again; `none`: no position"),
        "row": _may("the table of the row, where it is not the patient's own row"),
        "key": _may("the system's own key of the patient, where it is not the one that it always had"),
        "sticky": _may("what is a column of the row, and so counts only where it moved: `by`, `reason`, …"),
        "unavailable": _may("fields whose column came without its value"),
        "fields": _may("the fields, where one is named like a word of the format"),
        "compared": _may("fields whose column is only compared with what is expected, never an input"),
        "requests": _may("fields whose column only asks, and shows nothing"),
    }
    | WRITER
    | TIMES
)
GIVEN: Final[Words] = {
    "value": _may("the current value"),
    "version": _may("the version that set it, as `base_version` counts"),
    "from": _may("the system it came from; default: the owner"),
    "at": _may("when it was written"),
    "shown": _may("what a system shows instead, by system, as a snapshot found it"),
} | WRITER
OUTCOME: Final[Words] = {
    "rule": _may("the conflict rule that spoke"),
    "grant": _may("the grant it was written under: its name, `owner`, `secondary`, `override` or `none`"),
    "stage": _may("the stage it was decided under"),
    "unseen": _may("true: it replaced a value its writer had not seen"),
    "joined": _may("true: it joined an open case"),
    "request": _may("true: it came in a request column"),
    "ends_override": _may("true: it ended an override"),
}
SEND: Final[Words] = {
    "kind": _may("`change`, `restore`, or `create` where the system has no row yet"),
    "key": _may("the system's own key of the row that is to be written"),
}
CASE: Final[Words] = {
    "owner": _may("whose it is: an escalation owner of the matrix"),
    "reason": _may("why it waits"),
    "joined": _may("how many writes joined it"),
    "escalated": _may("how often it was escalated"),
}
CURRENT: Final[Words] = {
    "value": _may("the current value"),
    "version": _may("the version that set it, as `base_version` counts"),
    "from": _may("the system it came from"),
    "by": _may("the role of its writer"),
    "grant": _may("the grant it was written under: its name, `owner`, `secondary` or `override`"),
}

MERGED: Final[Mapping[str, str]] = {"taken": "applied", "own": "rejected", "same": "noop", "queued": "queued"}
"""What becomes of a linked record's value -> the outcome that says so."""
OPS: Final[dict[str, Op]] = {"create": "c", "update": "u", "delete": "d", "snapshot": "r"}
POSITIONS: Final[tuple[Position, ...]] = ("late", "duplicate", "none")
STICKY: Final[Mapping[str, str]] = {"by": "actor", "reason": "reason", "base_version": "base", "evidence": "evidence"}
"""What may be sticky -> its name in ``Change.event``."""
PERSON: Final = "person"
AUTOMATION: Final = "automation"
AUTOMATED_ROLES: Final = frozenset({"integration"})
"""Roles that are automations unless `origin` says otherwise."""
RECORD: Final = "record"
NOTHING: Final = "nothing"
NONE: Final = "none"
PATIENT_SAYS: Final = "patient"
"""Who confirmed a value whose confirmation names only its time."""
