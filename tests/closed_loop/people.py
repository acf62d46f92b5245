"""Who works in the two systems, what they find there, and what they do: scenes with a known end, and a storm by seed.

Pure: everything here is data. A patient's number is the EHR's key; the CRM's contact is `C-0001` for the first.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from closed_loop.site import EPOCH, Edit

DIFFERING, MISLINKED = 19, 41
SCENES: Final = (*range(1, DIFFERING + 1), MISLINKED)
STORM: Final = range(20, 41)
NEWCOMER: Final = 42
"""A lead whom the EHR has not heard of yet."""
STRANGER: Final = 43
"""Somebody whose contact another one's chart is linked to by mistake."""
BORN: Final = date(1980, 12, 31)
LONG: Final = 3_000
"""More bytes than a row keeps beside its other columns: PostgreSQL stores such a text elsewhere, and does not log it
with changes of other columns."""


def contact(number: int) -> str:
    """The key of a patient's contact in the CRM."""
    return f"C-{number:04d}"


def long(word: str) -> str:
    """A long text that begins so."""
    return f"{word} " + "x" * (LONG - len(word) - 1)


def cared_for(number: int) -> bool:
    """Whether the care of a patient had started at the beginning: every second one's."""
    return number % 2 == 1


def begin() -> dict[str, list[dict[str, Any]]]:
    """What stands in both systems at the beginning: they agree, but for one phone number."""
    numbers = [*SCENES, *STORM, STRANGER]
    ehr, crm = [_patient(number) for number in numbers], [_contact(number) for number in [*numbers, NEWCOMER]]
    crm[numbers.index(DIFFERING)]["phone"] = "+12125550999"
    return {"ehr": ehr, "crm": crm}


def _shared(number: int) -> dict[str, Any]:
    """The columns that have one name and one value in both systems."""
    return {
        "preferred_name": f"Pat {number}", "birth_date": BORN, "sex": "female", "gender_identity": None,
        "email": f"p{number}@example.org", "phone": f"+1212555{number:04d}", "street": long(f"{number} Main St"),
        "city": "Springfield", "region": "IL", "postal_code": "62701", "country": "us",
        "time_zone": "America/Chicago", "language": "en", "contact_preference": "email", "marketing_consent": None,
        "assigned_coach": "coach 1", "assigned_provider": "provider 7", "treatment_consent": "given",
        "payer": "Acme", "member_id": f"M{number}", "eligibility": "eligible", "billing_status": "current",
        "care_program": "metabolic", "medication_status": "active", "weight_kg": 81.5, "lab_status": "none",
        "risk_flag": "low", "next_appointment_at": None, "follow_up_completed_at": None, "follow_up_outcome": None,
        "updated_by": "interface/import", "updated_at": EPOCH, "created_at": EPOCH, "override_reason": None,
        "base_version": None, "follow_up_validated_by": None, "preference_confirmed_by": None,
        "preference_confirmed_at": None, "marketing_confirmed_by": None, "marketing_confirmed_at": None,
    }  # fmt: skip


def _patient(number: int) -> dict[str, Any]:
    return {
        "patient_id": number, "crm_id": contact(number), "family_name": f"Doe {number}", "given_name": "Ann",
        "lead_source_group": "paid", "allergies": long("penicillin"), "diagnoses": long("E66.9"),
        "medication_drug": "metformin", "medication_dose": "500 mg", "medication_schedule": "daily",
        "care_status": "active" if cared_for(number) else "prospect", "care_stage_request": None, **_shared(number),
    }  # fmt: skip


def _contact(number: int) -> dict[str, Any]:
    return {
        "contact_id": contact(number), "last_name": f"Doe {number}", "first_name": "Ann", "lead_source": "google_ads",
        "referral_detail": long("a friend"), "care_stage": "in_care" if cared_for(number) else "intake_done",
        "allergies_on_file": "on file", "medication": "metformin", **_shared(number),
    }  # fmt: skip


def newcomer() -> dict[str, Any]:
    """The row that the EHR's interface makes of a lead: it knows little more than the link."""
    unknown = dict.fromkeys(_patient(NEWCOMER))
    must = {"sex": "unknown", "language": "de", "lead_source_group": "other", "payer": "Beta", "member_id": "B1"}
    known = {"updated_by": "interface/import", "updated_at": EPOCH, "created_at": EPOCH}
    return {**unknown, **must, **known, "patient_id": NEWCOMER, "crm_id": contact(NEWCOMER)}


# ---------------------------------------------------------------------------------------------------- scenes


@dataclass(frozen=True)
class Scene:
    """What somebody does, and what both systems must show of it when everything is at rest.

    ``cases`` are what must wait for a person, by field or as a case of the record itself, ``left`` the fields where the
    systems are left to differ.
    """

    number: int
    title: str
    edits: Sequence[Edit]
    ehr: Mapping[str, Any]
    crm: Mapping[str, Any]
    cases: Sequence[str] = ()
    left: Sequence[str] = ()


def in_ehr(number: int, actor: str, reason: str | None = None, **columns: Any) -> Edit:
    """An edit in the EHR."""
    return Edit("ehr", number, actor, columns, reason)


def in_crm(number: int, actor: str, reason: str | None = None, **columns: Any) -> Edit:
    """An edit in the CRM."""
    return Edit("crm", contact(number), actor, columns, reason)


def scenes() -> list[Scene]:
    """A scene for each of the ways that a change can go, each about a patient of its own."""
    street = long("7 Elm St")
    done, visit = (datetime(year, 1, 5, 9, 30, 0, 250_000) for year in (2026, 2090))  # noqa: DTZ001  # TIMESTAMPs
    return [
        Scene(
            1, "the CRM changes a birthday, with a reason: it is the EHR's, and stands there again",
            [in_crm(1, "growth/ann", "she told me", birth_date=date(1999, 9, 9))],
            {"birth_date": BORN}, {"birth_date": BORN},
        ),
        Scene(
            2, "a nurse corrects a birthday: the CRM follows",
            [in_ehr(2, "nurse/bo", birth_date=date(1980, 2, 29))],
            {"birth_date": date(1980, 2, 29)}, {"birth_date": date(1980, 2, 29)},
        ),
        Scene(
            3, "after care start the CRM changes a name: it is the EHR's by now",
            [in_crm(3, "user/9", last_name="Smith")],
            {"family_name": "Doe 3", "given_name": "Ann"}, {"last_name": "Doe 3", "first_name": "Ann"},
        ),
        Scene(
            4, "before care start the CRM changes a name: the EHR follows",
            [in_crm(4, "growth/ann", last_name="Roe")],
            {"family_name": "Roe", "given_name": "Ann"}, {"last_name": "Roe"},
        ),
        Scene(
            5, "the EHR's clerk, who has seen it, changes how she wants to be reached",
            [in_ehr(5, "clerk/1", contact_preference="sms")],
            {"contact_preference": "sms"}, {"contact_preference": "sms"},
        ),
        Scene(
            6, "before care start a provider overrides a name, with a reason",
            [in_ehr(6, "provider/7", "saw her passport", family_name="Poe")],
            {"family_name": "Poe"}, {"last_name": "Poe"},
        ),
        Scene(
            7, "the CRM corrects a lead source: the EHR gets its group, not the source",
            [in_crm(7, "growth/ann", lead_source="referral")],
            {"lead_source_group": "referral"}, {"lead_source": "referral"},
        ),
        Scene(
            8, "the EHR's clerk changes the group of a lead source: it is the CRM's",
            [in_ehr(8, "clerk/1", lead_source_group="organic")],
            {"lead_source_group": "paid"}, {"lead_source": "google_ads"},
        ),
        Scene(
            9, "somebody in the EHR writes over the care status, which only shows the CRM's stage",
            [in_ehr(9, "clerk/1", care_status="closed")],
            {"care_status": "active"}, {"care_stage": "in_care"},
        ),
        Scene(
            10, "care starts in the CRM: the EHR shows it, and the name is the EHR's from then on",
            [in_crm(10, "growth/ann", care_stage="in_care")],
            {"care_status": "active"}, {"care_stage": "in_care"},
        ),
        Scene(
            11, "a provider changes a drug and its dose: the CRM is told the drug",
            [in_ehr(11, "provider/7", medication_drug="semaglutide", medication_dose="0.25 mg")],
            {"medication_drug": "semaglutide", "medication_dose": "0.25 mg"}, {"medication": "semaglutide"},
        ),
        Scene(
            12, "a nurse changes a drug, which is the provider's: a person must decide, and the CRM is told nothing",
            [in_ehr(12, "nurse/bo", medication_drug="insulin")],
            {"medication_drug": "insulin"}, {"medication": "metformin"}, cases=["medication_plan"],
        ),
        Scene(
            13, "the CRM clears a preferred name: null is a value, and no default comes in its place",
            [in_crm(13, "support/eve", preferred_name=None)],
            {"preferred_name": None}, {"preferred_name": None},
        ),
        Scene(
            14, "the CRM changes a phone number beside a long street that the database does not log again",
            [in_crm(14, "support/eve", phone="+12125557777")],
            {"phone": "+12125557777", "street": long("14 Main St")}, {"street": long("14 Main St")},
        ),
        Scene(
            15, "the CRM changes that long street itself, and then the city beside it",
            [in_crm(15, "support/eve", street=street), in_crm(15, "support/eve", city="Shelbyville")],
            {"street": street, "city": "Shelbyville", "region": "IL"}, {"street": street, "city": "Shelbyville"},
        ),
        Scene(
            16, "the CRM says its own word on billing: it is not taken, and it is left there",
            [in_crm(16, "user/9", billing_status="past_due")],
            {"billing_status": "current"}, {"billing_status": "past_due"}, left=["billing_status"],
        ),
        Scene(
            17, "both systems change an e-mail address in the same moment: the CRM owns it, whatever is heard of first",
            [in_ehr(17, "clerk/1", email="ehr@example.org"), in_crm(17, "support/eve", email="crm@example.org")],
            {"email": "crm@example.org"}, {"email": "crm@example.org"},
        ),
        Scene(
            18, "a coordinator completes a follow-up and books a visit, to the millisecond",
            [in_ehr(18, "coordinator/2", follow_up_completed_at=done, follow_up_outcome="done",
                    follow_up_validated_by="coordinator/2", next_appointment_at=visit)],
            {"follow_up_outcome": "done"},
            {"follow_up_completed_at": done, "follow_up_outcome": "done", "next_appointment_at": visit},
        ),
        Scene(
            DIFFERING, "a value that differed before anybody looked: it is listed, and nothing is overwritten",
            [], {"phone": "+12125550019"}, {"phone": "+12125550999"}, left=["phone"],
        ),
        Scene(
            MISLINKED, "a clerk links a chart to somebody else's contact: both stand still until a person has looked",
            [in_ehr(MISLINKED, "clerk/1", crm_id=contact(STRANGER))],
            {"crm_id": contact(STRANGER), "family_name": f"Doe {MISLINKED}"}, {"last_name": f"Doe {MISLINKED}"},
            cases=[":link"],
        ),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the storm


class Habit(NamedTuple):
    """What people of some kinds do again and again; a set of columns is drawn for each edit."""

    system: str
    actors: Sequence[str]
    columns: Sequence[Mapping[str, Any]]
    reasons: Sequence[str | None] = (None,)


_NAMES: Final = ["Aster", "Birch", "Cedar", "Dahlia", "Elder"]
_STREETS: Final = [long(f"{number} Storm St") for number in (1, 2, 3)]
_DAYS: Final = [date(1980, 12, 31), date(1981, 1, 1), date(1981, 2, 2)]

HABITS: Final = (
    Habit("ehr", ["provider/7", "nurse/bo", "clerk/1"], [{"birth_date": day} for day in _DAYS]),
    Habit("ehr", ["provider/7", "clerk/1", "intake/3"], [{"family_name": name} for name in _NAMES], ["passport", None]),
    Habit("ehr", ["provider/7", "nurse/bo"], [{"medication_drug": drug} for drug in ("metformin", "semaglutide")]),
    Habit("ehr", ["clerk/1", "portal/p", "interface/x"], [{"email": f"e{n}@example.org"} for n in (1, 2)]),
    Habit("ehr", ["clerk/1", "portal/p"], [{"street": street} for street in _STREETS] + [{"city": None}]),
    Habit("ehr", ["nurse/bo"], [{"allergies": long(word)} for word in ("latex", "nuts")] + [{"allergies": None}]),
    Habit("ehr", ["clerk/1", "intake/3"], [{"payer": payer, "member_id": f"{payer} 1"} for payer in ("Acme", "Beta")]),
    Habit("ehr", ["clerk/1"], [{"care_status": "closed"}, {"lead_source_group": "other"}, {"weight_kg": 80.25}]),
    Habit("ehr", ["clinical-ops/1"], [{"care_stage_request": stage} for stage in ("paused", "in_care", None)]),
    Habit("crm", ["growth/ann", "user/9"], [{"birth_date": day} for day in _DAYS] + [{"birth_date": None}], ["typo"]),
    Habit("crm", ["growth/ann", "user/9", "intake/4"], [{"last_name": name} for name in _NAMES], ["called", None]),
    Habit("crm", ["support/eve", "portal/p"], [{"email": f"c{n}@example.org"} for n in (1, 2)] + [{"email": None}]),
    Habit("crm", ["support/eve", "portal/p"], [{"street": street} for street in _STREETS] + [{"time_zone": None}]),
    Habit("crm", ["growth/ann"], [{"care_stage": stage} for stage in ("in_care", "paused", "discharged")]),
    Habit("crm", ["growth/ann"], [{"lead_source": lead} for lead in ("google_ads", "meta_ads", "referral")]),
    Habit("crm", ["growth/ann", "interface/x"], [{"referral_detail": long(word)} for word in ("a doctor", "a poster")]),
    Habit("crm", ["support/eve"], [{"phone": f"+1212555{n:04d}"} for n in (9001, 9002)] + [{"preferred_name": None}]),
    Habit("crm", ["coordinator/2", "user/9"], [{"weight_kg": 79.5}, {"payer": "Gamma", "member_id": "G 1"}]),
)


def storm(seed: int, system: str, edits: int) -> Iterator[Edit]:
    """What the people of a system do while both systems are at work: the same for the same seed."""
    dice = random.Random(f"{seed} {system}")  # noqa: S311  # a repeatable story, nothing secret
    habits = [habit for habit in HABITS if habit.system == system]
    for number in range(edits):
        habit, patient = dice.choice(habits), dice.choice(STORM)
        reason = dice.choice(habit.reasons)
        told = None if reason is None else f"{reason} {number}"
        key = patient if system == "ehr" else contact(patient)
        yield Edit(system, key, dice.choice(habit.actors), dice.choice(habit.columns), told)
