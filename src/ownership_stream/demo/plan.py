"""What happens in the simulated clinic: a scripted opening, then a mix without end, the same for the same seed.

Only the plan is fixed by the seed: who does what, in which order, to which patient. What becomes of it depends on what
the stream has sent back by then, as it would in a clinic. Pure: no clock, no rows, no wire; values are made up.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Final, Literal, NamedTuple

from ownership_stream.demo.actions import (
    Action,
    Confirmed,
    Create,
    Delete,
    Edit,
    Noise,
    Planned,
    Reread,
    Resend,
)
from ownership_stream.demo.people import Ago, Written, reason, value
from ownership_stream.sources.mapping import Use

EHR: Final = "ehr"
CRM: Final = "crm"
CAST: Final = 10
"""Patients of the opening; the mix leaves them alone, so that what it shows stays on the screen."""
KNOWN: Final = 40
"""Patients whom both systems have from the start."""
LARGEST: Final = 60
"""Patients there will be at most: late ones arrive until then."""
OLD_DIFFERENCE: Final = 9
"""Every such patient has another phone number in the EHR, from long before."""
WALKS_IN: Final = 7
"""Every such late patient comes without having been a lead."""
BY_CLINICAL_OPS: Final = 0.6
"""The share of steps into care and within it that Clinical Ops ask for in the EHR."""


GARBAGE: Final = (
    b"\x00\x01\x02 not even text \xff",
    b'{"op":"u","after":',
    b'{"op":"u"}',
    b"[]",
    b"[" * 400 + b"]" * 400,
)

SEVEN: Final = (
    "legal_name", "date_of_birth", "lead_source", "care_stage", "medication_plan", "follow_up_completion",
    "contact_preference",
)  # fmt: skip
"""The rows that the opening shows, each in its yes and in its no."""

STAGE_OF_CAST: Final = (
    "in_care", "consult_booked", "new_lead", "in_care", "intake_done", "in_care", "in_care", "qualified", "in_care",
    "in_care",
)  # fmt: skip
STAGES: Final = ("new_lead", "qualified", "consult_booked", "intake_done", "in_care", "in_care", "in_care", "paused")
CARE: Final = frozenset({"in_care", "paused", "discharged"})
STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "new_lead": ("qualified",),
    "qualified": ("consult_booked",),
    "consult_booked": ("intake_done", "qualified"),
    "intake_done": ("in_care",),
    "in_care": ("paused", "discharged"),
    "paused": ("in_care",),
    "discharged": ("in_care",),
}
"""Steps that people here take; every one of them is in the stage map."""

When = Literal["any", "before", "after"]


class Habit(NamedTuple):
    """Something a kind of writer does all day. ``how``: ``reason``, ``seen`` (gives a base), ``confirmed``."""

    system: str
    writer: str
    fields: tuple[str, ...]
    when: When = "any"
    how: tuple[str, ...] = ()


ROUTINE: Final = (
    Habit(CRM, "growth", ("lead_source",)),
    Habit(CRM, "growth", ("referral_source_detail",)),
    Habit(CRM, "growth", ("assigned_coach",)),
    Habit(CRM, "growth", ("preferred_name",)),
    Habit(CRM, "growth", ("legal_name",), "before"),
    Habit(CRM, "growth", ("assigned_provider",), "before"),
    Habit(CRM, "support", ("email",)),
    Habit(CRM, "support", ("phone",)),
    Habit(CRM, "support", ("address", "time_zone")),
    Habit(CRM, "portal", ("contact_preference",), "any", ("confirmed",)),
    Habit(CRM, "portal", ("marketing_consent",), "any", ("confirmed",)),
    Habit(CRM, "portal", ("phone",), "any", ("seen",)),
    Habit(CRM, "portal", ("language",), "any", ("seen",)),
    Habit(CRM, "intake", ("insurance_payer", "insurance_member_id"), "any", ("seen",)),
    Habit(CRM, "coordinator", ("weight",), "any", ("seen",)),
    Habit(EHR, "provider", ("medication_plan",)),
    Habit(EHR, "provider", ("conditions",)),
    Habit(EHR, "provider", ("risk_flag",), "any", ("reason",)),
    Habit(EHR, "provider", ("legal_name",), "after"),
    Habit(EHR, "provider", ("assigned_provider",), "after"),
    Habit(EHR, "nurse", ("allergies",)),
    Habit(EHR, "nurse", ("lab_status",)),
    Habit(EHR, "nurse", ("consent_to_treatment",)),
    Habit(EHR, "nurse", ("weight",)),
    Habit(EHR, "coordinator", ("follow_up_completion",), "after", ("confirmed",)),
    Habit(EHR, "coordinator", ("next_appointment",)),
    Habit(EHR, "integration", ("lab_status",)),
    Habit(EHR, "integration", ("eligibility",)),
    Habit(EHR, "someone", ("billing_status",)),
    Habit(EHR, "someone", ("insurance_payer", "insurance_member_id")),
    Habit(EHR, "someone", ("gender_identity",)),
    Habit(EHR, "someone", ("date_of_birth",)),
    Habit(EHR, "someone", ("email",)),
    Habit(EHR, "someone", ("assigned_coach",)),
)

TROUBLE: Final = (
    Habit(CRM, "growth", ("legal_name",), "after"),
    Habit(CRM, "intake", ("legal_name",)),
    Habit(CRM, "integration", ("date_of_birth",)),
    Habit(CRM, "support", ("medication_plan",)),
    Habit(CRM, "growth", ("risk_flag",)),
    Habit(CRM, "growth", ("billing_status",)),
    Habit(EHR, "someone", ("lead_source",)),
    Habit(EHR, "someone", ("phone",), "any", ("stale",)),
    Habit(EHR, "nurse", ("preferred_name",), "any", ("stale",)),
)
"""What the matrix refuses, with nobody having to look at it: the right value goes back."""


class Plan:
    """The clinic's plan for one seed. Patients are numbered from 0."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)  # noqa: S311  # made-up patients, not secrets
        self._truth: dict[int, dict[str, Written]] = {}
        self._apart: set[int] = set()
        """Patients who left, or were never in both systems: the mix leaves them alone."""
        self._mix = [(weight, make) for weight, make in self._weights()]

    # ------------------------------------------------------------------------------------------------ the start

    def start(self) -> list[Planned]:
        """The rows that are there already: a snapshot of the CRM, then of the EHR, with a few old differences."""
        crm: list[Planned] = []
        ehr: list[Planned] = []
        for patient in range(KNOWN):
            truth = self._made(patient)
            old = {"phone": value(self._rng, "phone")} if patient % OLD_DIFFERENCE == 0 else {}
            shown = {**truth, **old}
            crm.append(Planned(0, Create(patient=patient, system=CRM, writer="growth", given=truth, snapshot=True)))
            ehr.append(Planned(0.6, Create(patient=patient, system=EHR, writer="someone", given=shown, snapshot=True)))
        return [*crm, *ehr]

    def _made(self, patient: int) -> dict[str, Written]:
        truth: dict[str, Written] = {name: value(self._rng, name) for name in FIRST}
        truth["care_stage"] = STAGE_OF_CAST[patient] if patient < CAST else self._rng.choice(STAGES)
        self._truth[patient] = dict(truth)
        return truth

    # ------------------------------------------------------------------------------------------------ the opening

    def opening(self) -> list[Planned]:
        """The first ten seconds: each of the seven rows once in its yes and once in its no, then the awkward cases."""
        script: list[tuple[float, Action]] = [
            (1.0, self._habit(1, CRM, "growth", "legal_name")),
            (1.2, self._habit(0, CRM, "growth", "legal_name")),
            (1.6, self._habit(3, EHR, "someone", "date_of_birth")),
            (1.8, self._habit(5, CRM, "integration", "date_of_birth")),
            (2.2, self._habit(2, CRM, "growth", "lead_source")),
            (2.4, self._habit(7, EHR, "someone", "lead_source")),
            (2.8, self._stage(1, CRM, "growth", "intake_done")),
            (3.0, self._stage(7, CRM, "growth", "in_care", keep=True)),
            (3.4, self._habit(6, EHR, "provider", "medication_plan")),
            (3.6, self._habit(5, EHR, "nurse", "medication_plan")),
            (4.0, self._habit(8, EHR, "coordinator", "follow_up_completion", "confirmed")),
            (4.2, self._habit(9, EHR, "someone", "follow_up_completion")),
            (4.6, self._preference(3, CRM, "portal", "sms", 10)),
            (5.2, self._preference(3, EHR, "nurse", "phone", 300)),
            (5.6, replace(self._preference(3, CRM, "support", "email", 0), confirmed={})),
            (6.0, self._stage(4, EHR, "clinical ops", "in_care", use="request")),
            (6.4, self._habit(0, CRM, "intake", "legal_name")),
            (6.8, self._habit(2, EHR, "provider", "legal_name", "reason")),
            (7.4, self._habit(2, CRM, "integration", "legal_name")),
            (7.8, Edit(patient=8, system=EHR, writer="integration", given={"sex": None})),
            (8.2, self._habit(1, EHR, "someone", "phone", "stale")),
            (8.6, replace(self._habit(9, CRM, "integration", "date_of_birth"), answers=True)),
            (9.0, Noise(CRM, GARBAGE[0])),
            (9.2, Resend(CRM, 5)),
        ]
        return [Planned(at, action) for at, action in script]

    def _preference(self, patient: int, system: str, writer: str, what: str, ago: int) -> Edit:
        """What the patient prefers, confirmed so many seconds ago."""
        confirmed = {"contact_preference": Confirmed("patient", ago)}
        given = {"contact_preference": what}
        return Edit(patient=patient, system=system, writer=writer, given=given, confirmed=confirmed)

    # ------------------------------------------------------------------------------------------------ the mix

    def mix(self) -> Iterator[list[Planned]]:
        """What goes on after that, for ever: each item is one thing that happens, with what follows from it."""
        weights = [weight for weight, _ in self._mix]
        makers = [make for _, make in self._mix]
        while True:
            [make] = self._rng.choices(makers, weights)
            planned = make()
            if planned:
                yield planned

    def _weights(self) -> tuple[tuple[float, Callable[[], list[Planned]]], ...]:
        return (
            (66, self._routine),
            (5, self._trouble),
            (4, self._next_stage),
            (6, self._saved_as_it_was),
            (2, self._late),
            (1, self._both_at_once),
            (1, self._unattested),
            (0.6, self._cleared),
            (0.6, self._jumped),
            (0.6, self._unvalidated),
            (0.6, self._unreasoned),
            (0.6, self._edited_summary),
            (0.2, self._duel),
            (1.5, self._resent),
            (1, self._reread),
            (0.4, self._noise),
            (0.8, self._arrives),
            (0.1, self._leaves),
        )

    def _routine(self) -> list[Planned]:
        return self._one_of(ROUTINE)

    def _trouble(self) -> list[Planned]:
        return self._one_of(TROUBLE)

    def _one_of(self, habits: tuple[Habit, ...]) -> list[Planned]:
        habit = self._rng.choice(habits)
        patient = self._patient(habit.when)
        return (
            []
            if patient is None
            else [Planned(0, self._habit(patient, habit.system, habit.writer, *habit.fields, *habit.how))]
        )

    def _next_stage(self) -> list[Planned]:
        """A step of the stage map; into care often by Clinical Ops, in the EHR's own column for it."""
        patient = self._patient()
        if patient is None:
            return []
        to = self._rng.choice(STEPS[str(self._truth[patient]["care_stage"])])
        if to in CARE and self._rng.random() < BY_CLINICAL_OPS:
            asked = self._stage(patient, EHR, "clinical ops", to, use="request")
            emptied = replace(asked, given={"care_stage": None})
            return [Planned(0, asked), Planned(4, emptied)]
        return [Planned(0, self._stage(patient, CRM, "growth", to))]

    def _saved_as_it_was(self) -> list[Planned]:
        patient = self._patient()
        return [] if patient is None else [Planned(0, Edit(patient=patient, system=EHR, writer="nurse"))]

    def _late(self) -> list[Planned]:
        """An event that was long under way: a stale one, where the field was written since."""
        late = self._rng.choice((3, 30, 600))
        edits = [planned.action for planned in self._routine() if isinstance(planned.action, Edit)]
        return [Planned(0, replace(edit, late=late)) for edit in edits]

    def _both_at_once(self) -> list[Planned]:
        """Both systems' people change the same field within a moment."""
        patient = self._patient()
        if patient is None:
            return []
        name = self._rng.choice(("email", "phone", "preferred_name"))
        return [
            Planned(0, self._habit(patient, CRM, "support", name)),
            Planned(0.02, self._habit(patient, EHR, "someone", name)),
        ]

    def _unattested(self) -> list[Planned]:
        """A nurse changes the medication plan; most often a provider confirms it soon, or changes it."""
        patient = self._patient("after")
        if patient is None:
            return []
        edit = self._habit(patient, EHR, "nurse", "medication_plan")
        again = self._rng.choice((edit, self._habit(patient, EHR, "provider", "medication_plan")))
        return [Planned(0, edit), *self._mostly(replace(again, writer="provider"))]

    def _cleared(self) -> list[Planned]:
        """An interface sends an empty critical field; somebody sets it again."""
        patient = self._patient()
        if patient is None:
            return []
        name = self._rng.choice(("sex", "date_of_birth"))
        cleared = Edit(patient=patient, system=EHR, writer="integration", given={name: None})
        mended = Edit(patient=patient, system=EHR, writer="someone", given={name: self._truth[patient][name]})
        return [Planned(0, cleared), *self._mostly(mended)]

    def _jumped(self) -> list[Planned]:
        """A step that the stage map does not have; then back."""
        patient = self._patient("before")
        if patient is None:
            return []
        before = str(self._truth[patient]["care_stage"])
        to = "discharged" if before != "intake_done" else "new_lead"
        jump = self._stage(patient, CRM, "growth", to, keep=True)
        return [Planned(0, jump), *self._mostly(replace(jump, given={"care_stage": before}))]

    def _unvalidated(self) -> list[Planned]:
        """A follow-up without validation; then validated."""
        patient = self._patient("after")
        if patient is None:
            return []
        edit = self._habit(patient, EHR, "someone", "follow_up_completion")
        again = self._habit(patient, EHR, "coordinator", "follow_up_completion", "confirmed")
        return [Planned(0, edit), *self._mostly(again)]

    def _unreasoned(self) -> list[Planned]:
        """A provider changes the risk flag without the reason it asks for; then gives it."""
        patient = self._patient()
        if patient is None:
            return []
        edit = self._habit(patient, EHR, "provider", "risk_flag")
        return [Planned(0, edit), *self._mostly(replace(edit, reason=reason(self._rng)))]

    def _edited_summary(self) -> list[Planned]:
        """Somebody edits the EHR's copy of the care stage, which is never an input: it is put right."""
        patient = self._patient()
        if patient is None:
            return []
        given = {"care_stage": self._rng.choice(("prospect", "active", "closed"))}
        return [Planned(0, Edit(patient=patient, system=EHR, writer="someone", given=given, use="compared"))]

    def _duel(self) -> list[Planned]:
        """An automation in the CRM writes what it may not, and answers each restore."""
        patient = self._patient()
        if patient is None:
            return []
        name = self._rng.choice(("date_of_birth", "lab_status"))
        return [Planned(0, replace(self._habit(patient, CRM, "automation", name), answers=True))]

    def _resent(self) -> list[Planned]:
        return [Planned(0, Resend(self._rng.choice((EHR, CRM)), self._rng.randint(1, 6)))]

    def _reread(self) -> list[Planned]:
        patient = self._patient()
        return [] if patient is None else [Planned(0, Reread(patient, self._rng.choice((EHR, CRM))))]

    def _noise(self) -> list[Planned]:
        return [Planned(0, Noise(self._rng.choice((EHR, CRM)), self._rng.choice((None, *GARBAGE))))]

    def _arrives(self) -> list[Planned]:
        """A lead in the CRM, whom the front desk enters in the EHR a little later; now and then one who walks in."""
        patient = len(self._truth)
        if patient >= LARGEST:
            return []
        truth = self._made(patient)
        if patient % WALKS_IN == 0:
            self._apart.add(patient)
            walk_in = {name: found for name, found in truth.items() if name != "care_stage"}
            return [Planned(0, Create(patient=patient, system=EHR, writer="someone", given=walk_in, linked=False))]
        truth["care_stage"] = self._truth[patient]["care_stage"] = "new_lead"
        lead = {name: truth[name] for name in ("legal_name", "email", "phone", "lead_source", "care_stage")}
        rest = {name: truth[name] for name in ("legal_name", "date_of_birth", "sex", "language", "email")}
        return [
            Planned(0, Create(patient=patient, system=CRM, writer="growth", given=lead)),
            Planned(3, Create(patient=patient, system=EHR, writer="someone", given=rest)),
        ]

    def _leaves(self) -> list[Planned]:
        """Somebody asks to be forgotten: the CRM's row goes, then the EHR's."""
        patient = self._patient("before")
        if patient is None or len(self._apart) > LARGEST // 6:
            return []
        self._apart.add(patient)
        return [Planned(0, Delete(patient, CRM, "growth")), Planned(6, Delete(patient, EHR, "someone"))]

    # ------------------------------------------------------------------------------------------------ one edit

    def _habit(self, patient: int, system: str, writer: str, *what: str) -> Edit:
        """An edit of fields (``what``, less the words of ``Habit.how``) to values that differ from the last known."""
        fields = [word for word in what if word not in HOW]
        given: dict[str, Written] = {}
        for name in fields:
            given[name] = self._other(patient, name)
        edit = Edit(patient=patient, system=system, writer=writer, given=given)
        for word in what:
            if word in HOW:
                edit = HOW[word](edit, self._rng)
        return edit

    def _stage(
        self, patient: int, system: str, writer: str, to: str, *, use: Use = "input", keep: bool = False
    ) -> Edit:
        """A step to another stage; ``keep``: one that will not be taken."""
        if not keep:
            self._truth[patient]["care_stage"] = to
        return Edit(patient=patient, system=system, writer=writer, given={"care_stage": to}, use=use)

    def _other(self, patient: int, name: str) -> Written:
        made = value(self._rng, name)
        while made == self._truth[patient].get(name):
            made = value(self._rng, name)
        if not isinstance(made, Mapping) or not any(isinstance(found, Ago) for found in made.values()):
            self._truth[patient][name] = made
        return made

    def _mostly(self, action: Action) -> list[Planned]:
        """What mends something, some seconds later; one time in eight it is forgotten, and stays in a queue."""
        if self._rng.random() < 1 / 8:
            return []
        return [Planned(self._rng.uniform(2, 12), action)]

    def _patient(self, when: When = "any") -> int | None:
        """Somebody from outside the opening, before or after care start."""
        found = [
            patient
            for patient, truth in self._truth.items()
            if patient >= CAST
            and patient not in self._apart
            and (when == "any" or (truth["care_stage"] in CARE) == (when == "after"))
        ]
        return self._rng.choice(found) if found else None


def _confirmed(edit: Edit, rng: Random) -> Edit:
    confirmed = {name: Confirmed(CONFIRMS.get(name, "coordinator/01"), _ago(edit, rng)) for name in edit.given}
    return replace(edit, confirmed=confirmed)


def _ago(edit: Edit, rng: Random) -> int:
    """The time of evidence is the completion's own; a confirmation's is a moment before."""
    for found in edit.given.values():
        at = found.get("completed_at") if isinstance(found, Mapping) else None
        if isinstance(at, Ago):
            return at.seconds
    return rng.randint(0, 2)


CONFIRMS: Final[Mapping[str, str]] = {"contact_preference": "patient", "marketing_consent": "patient"}
FIRST: Final = sorted(({name for habit in ROUTINE for name in habit.fields} | {"sex"}) - {"follow_up_completion"})
"""The fields that a patient has from the start; follow-ups come later."""
HOW: Final[Mapping[str, Callable[[Edit, Random], Edit]]] = {
    "reason": lambda edit, rng: replace(edit, reason=reason(rng)),
    "seen": lambda edit, _: replace(edit, base="seen"),
    "stale": lambda edit, _: replace(edit, base="old"),
    "confirmed": _confirmed,
}
