"""What a person asks of an open case, as docs/rules.md, *Resolution*, says it; part of the oracle (``oracle.py``).

A reading is what somebody saw of a case. The oracle keeps its own copy of it, and knows the edition that the
implementation gave it only as the name of that copy.
"""

from typing import Any

from oracle_follow import Consequences
from oracle_record import Case, Guard, Write, canonical, field_of
from ownership_stream.matrix.compiled import Summary
from ownership_stream.model import Ask, Evidence, Value

DOES: dict[str, set[str]] = {
    "resolve": {"accept", "keep", "set", "dismiss", "link"},
    "assign": {"assign"},
    "comment": {"comment", "reveal"},
}


class Asks(Consequences):
    """The record, and what was read of its cases."""

    def __init__(self, *said: Any) -> None:
        super().__init__(*said)
        self.ids: dict[str, tuple[str, Case]] = {}
        """A case's id, which is the implementation's own business -> its field, and the case itself."""
        self.readings: dict[tuple[str, str], object] = {}
        self.assigned: dict[str, str] = {}

    def reading(self, name: str) -> object:
        """“The case, its reason, the version of the current value, what each system shows and requests…”."""
        now = self.current.get(name)
        seats = {
            system: (seat.present, canonical(seat.shown.get(name)), canonical(seat.requested.get(name)))
            for system, seat in self.seats.items()
        }
        version = now.version if now is not None else 0
        case = self.cases[name]
        latest = [(one.system, canonical(one.value), one.request) for one in case.writes[-1:]] or case.others[-1:]
        return id(case), case.reason, latest, version, seats, self.care_started is not None

    def read(self, name: str, case_id: str, edition: str) -> None:
        """Somebody reads a case; two readings of one edition must have seen the same, and of two must not."""
        self.ids.setdefault(case_id, (name, self.cases[name]))
        found = self.reading(name)
        assert found == self.readings.setdefault((case_id, edition), found)
        others = [one for (case, other), one in self.readings.items() if case == case_id and other != edition]
        assert found not in others

    def answer_ask(self) -> tuple[str, str]:
        """“The first of these answers it”."""
        change, ask = self.change, self.change.ask
        if ask is None or ask.action not in DOES[change.kind]:
            return ("refused", "not_possible")
        name, case = self.ids.get(ask.case, ("", None))
        if case is not None and self.cases.get(name) is not case:
            case = None
        spec = self.matrix.fields.get(name)
        resolves, comments = change.kind == "resolve", change.kind == "comment"
        weighty = (resolves and (spec is None or spec.critical)) or ask.action == "comment"
        seen = self.readings.get((ask.case, ask.edition))
        answers = [
            (change.origin != "person" or not (change.actor or "").strip(), ("refused", "not_a_person")),
            (case is None, ("changed meanwhile", "closed")),
            (not comments and change.role not in self.chain(case and case.owner), ("refused", "not_the_owner")),
            (resolves and case is not None and seen != self.reading(name), ("changed meanwhile", "")),
            (weighty and not (change.reason or "").strip(), ("refused", "reason_required")),
        ]
        first = next((answer for holds, answer in answers if holds), None)
        return first or self.do(ask, name, case or self.cases[name])

    def chain(self, owner: str | None) -> list[str]:
        """“The case's escalation owner” and those “above it in the chain”."""
        found: list[str] = []
        while owner and owner not in found:
            found.append(owner)
            owner = self.matrix.escalations[owner].then
        return found

    def do(self, ask: Ask, name: str, case: Case) -> tuple[str, str]:
        """“What the action itself cannot do…; else it is done”."""
        does = {
            "accept": lambda: self.accept(ask.system, name, case),
            "keep": lambda: self.keep(name),
            "set": lambda: self.set_value(ask.value, name),
            "dismiss": lambda: self.dismiss(name, case),
            "link": lambda: self.link(ask.to, name, case),
            "assign": lambda: self.assign(ask.to, name, case),
            "comment": lambda: ("commented", ""),
            "reveal": lambda: ("revealed", ""),
        }
        return does[ask.action]()

    def assign(self, to: str, name: str, case: Case) -> tuple[str, str]:
        """“*Assign*”: it changes nothing but who looks after it."""
        self.assigned.pop(name, None)
        self.assigned |= {name: to} if to else {}
        self.events.append(("assigned", field_of(name), case.reason))
        return ("assigned", "")

    def dismiss(self, name: str, case: Case) -> tuple[str, str]:
        """“*Dismiss* a case of the record itself (no duplicate; a deletion that was meant; a failed decision)”."""
        if field_of(name) or case.reason not in {"duplicate", "link_candidate", "absent", "failed"}:
            return ("refused", "not_possible")
        self.apart |= set(case.others)
        self.end_case(name, "resolved")
        return ("dismissed", case.reason)

    def link(self, to: str, name: str, case: Case) -> tuple[str, str]:
        """“*Link* says which of the records that wait in a case of a probable match is the same person”."""
        if field_of(name) or case.reason not in {"duplicate", "link_candidate"}:
            return ("refused", "not_possible")
        chosen = to or (case.others[0] if len(case.others) == 1 else None)
        return ("linked", case.reason) if chosen in case.others else ("refused", "not_named")

    def keep(self, name: str) -> tuple[str, str]:
        """“*Keep* needs a current value, whose version stays”."""
        if not field_of(name):
            return ("refused", "not_possible")
        if name not in self.current:
            return ("refused", "no_current_value")
        self.resolve(name)
        return ("kept", "")

    def set_value(self, value: Value, name: str) -> tuple[str, str]:
        """“*Set* takes parts that are not named from current”."""
        if not field_of(name):
            return ("refused", "not_possible")
        if not self.allowed(name, value):
            return ("refused", "value")
        now = self.current.get(name)
        if isinstance(value, dict) and now is not None and isinstance(now.value, dict):
            value = {**now.value, **value}
        self.stand(name, canonical(value), None)
        return ("set", "")

    def accept(self, system: str, name: str, case: Case) -> tuple[str, str]:
        """“The latest of the case's proposals that still stands there…; else what the system shows, if…”."""
        seat = self.seats.get(system)
        if not field_of(name) or seat is None or not seat.present:
            return ("refused", "not_offered")
        summary = isinstance(self.matrix.fields[name].views[system], Summary)
        waiting = [
            one
            for one in case.writes[-8:]
            if one.system == system and self.stands(one) and (one.request or not summary)
        ]
        now = self.current.get(name)
        shown = seat.shown.get(name)
        value = waiting[-1].value if waiting else shown
        if not waiting and (summary or shown is None or shown == (None if now is None else now.value)):
            return ("refused", "not_offered")
        if not self.allowed(name, value):
            return ("refused", "not_offered")
        self.stand(name, value, waiting[-1] if waiting else None, system)
        return ("accepted", "")

    def allowed(self, name: str, value: Value) -> bool:
        """“Neither takes a stage outside the map or a value outside the choices”."""
        spec = self.matrix.fields[name]
        if name == self.matrix.stages.field:
            return value in self.matrix.stages.map
        if value is None:
            return True
        if spec.parts:
            return isinstance(value, dict) and set(value) <= set(spec.parts)
        return not isinstance(value, dict) and (not spec.choices or value in spec.choices)

    def stand(self, name: str, value: Value, write: Write | None, system: str = "") -> None:
        """“The value is then current, in the next version, at the broker's time, under the grant ``resolution``…”."""
        evidence = write.evidence if write is not None else None
        if not self.matrix.fields[name].rule.startswith("latest"):
            evidence = None
        elif evidence is None or evidence.by is None or evidence.at is None or evidence.at > self.now:
            evidence = Evidence(self.change.actor, self.now)
        self.resolve(name)
        started = self.care_started is not None
        resolved = Write(
            field=name,
            request=False,
            system=system,
            row=write.row if write is not None else "",
            value=value,
            at=self.now,
            now=self.now,
            position=write.position if write is not None else None,
            role=self.change.role,
            person=True,
            reason=self.change.reason,
            base=None,
            evidence=evidence,
            seen=True,
            stage_row=False,
        )
        self.set_current(resolved, None)
        self.care_start_applied |= not started and self.care_started is not None

    def resolve(self, name: str) -> None:
        """“The case closes ``resolved``, the loop guard is set to nought, the field's baseline differences end…”."""
        self.end_case(name, "resolved")
        self.guards[name] = Guard()
        self.insisted.add(name)
        for seat in self.seats.values():
            seat.baseline.discard(name)
            if name in seat.refused:
                seat.refused[name] = ("resolved", seat.refused[name][1])
