"""Who works in the simulated clinic, and what they write: made-up people and made-up values, from a seed.

Nothing here is a real person: names are put together from two short lists, numbers are of the ranges kept for fiction,
mail addresses are under example domains. Knows the matrix's field names and no wire.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

from ownership_stream.model import Origin, Scalar


class Ago(NamedTuple):
    """A moment so many seconds before the edit is made (negative: after it)."""

    seconds: int


Written = Scalar | Ago | Mapping[str, Scalar | Ago]
"""A field's value as an edit gives it, canonical but for moments, which are relative until it is made."""

Given = Mapping[str, Written]
"""Field -> what is written there."""


class Role(NamedTuple):
    """A kind of writer: the matrix's role (``None``: nobody in particular), and what the view calls one of them."""

    role: str | None
    origin: Origin
    words: str


STAFF: Final[Mapping[str, Role]] = {
    "provider": Role("provider", "person", "a provider"),
    "nurse": Role("nurse", "person", "a nurse"),
    "coordinator": Role("care_coordinator", "person", "a care coordinator"),
    "clinical ops": Role("clinical_ops", "person", "Clinical Ops"),
    "intake": Role("intake_ops", "person", "Intake Ops"),
    "growth": Role("growth_ops", "person", "a growth rep"),
    "support": Role("support", "person", "a support agent"),
    "portal": Role("patient_portal", "person", "the patient, in the portal,"),
    "someone": Role(None, "person", "someone without a role"),
    "integration": Role("integration", "automation", "an integration"),
    "automation": Role(None, "automation", "an unknown automation"),
}

_FAMILY: Final = (
    "Abara", "Becker", "Castillo", "Dubois", "Eriksen", "Fontaine", "Grant", "Haddad", "Ivanov", "Jensen", "Kowalski",
    "Lindgren", "Moreau", "Nakamura", "Okafor", "Petrov", "Quispe", "Rossi", "Sandoval", "Tanaka", "Umarov", "Vega",
)  # fmt: skip
_GIVEN: Final = (
    "Ada", "Ben", "Chiara", "Dario", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Leo", "Mira", "Nils",
    "Olga", "Pablo", "Rosa", "Sami", "Tess", "Umut", "Vera", "Yuki",
)  # fmt: skip
_PLACES: Final = (
    ("Boston", "MA", "America/New_York"),
    ("Austin", "TX", "America/Chicago"),
    ("Denver", "CO", "America/Denver"),
    ("Portland", "OR", "America/Los_Angeles"),
)
_PLANS: Final = (("sertraline", "50 mg"), ("metformin", "500 mg"), ("lisinopril", "10 mg"), ("semaglutide", "0.5 mg"))
_PROGRAMS: Final = (("sleep", "insomnia"), ("weight", "obesity"), ("mood", "depression"), ("heart", "hypertension"))
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sex": ("female", "male", "intersex"),
    "gender_identity": ("woman", "man", "non_binary", "another"),
    "language": ("en", "es", "fr", "pl"),
    "contact_preference": ("email", "sms", "phone", "portal"),
    "marketing_consent": ("opted_in", "opted_out"),
    "lead_source": ("google_ads", "meta_ads", "referral", "podcast"),
    "referral_source_detail": ("a friend", "Dr Moreau", "a leaflet", "the spring campaign"),
    "assigned_coach": ("Coach Ito", "Coach Silva", "Coach Brandt"),
    "assigned_provider": ("Dr Moreau", "Dr Haddad", "Dr Vega"),
    "consent_to_treatment": ("given", "declined", "withdrawn"),
    "insurance_payer": ("Aster Health", "Beacon Mutual", "Cedar Plan"),
    "eligibility": ("eligible", "not_eligible", "pending"),
    "billing_status": ("current", "past_due", "on_hold", "self_pay"),
    "allergies": ("none known", "penicillin", "peanuts", "latex"),
    "lab_status": ("ordered", "collected", "resulted", "reviewed"),
    "risk_flag": ("low", "moderate", "high"),
}


def value(rng: Random, field: str) -> Written:
    """A value for a field, in its canonical form; raises ``KeyError`` for a field that no one here writes."""
    if field in _CHOICES:
        return rng.choice(_CHOICES[field])
    return _MADE[field](rng)


def _address(rng: Random) -> Written:
    city, region, _ = rng.choice(_PLACES)
    street = f"{rng.randint(1, 900)} {rng.choice(_FAMILY)} Street"
    return {
        "street": street,
        "city": city,
        "region": region,
        "postal_code": f"{rng.randint(10_000, 99_999)}",
        "country": "us",
    }


def _medication(rng: Random) -> Written:
    drug, dose = rng.choice(_PLANS)
    schedule = rng.choice(("every morning", "twice a day", "at bedtime"))
    return {"drug": drug, "dose": dose, "schedule": schedule, "status": rng.choice(("active", "tapering", "on hold"))}


def _conditions(rng: Random) -> Written:
    program, diagnosis = rng.choice(_PROGRAMS)
    return {"program": program, "diagnoses": f"{diagnosis}, {rng.choice(('mild', 'moderate'))}"}


_MADE: Final[Mapping[str, Callable[[Random], Written]]] = {
    "legal_name": lambda rng: {"family": rng.choice(_FAMILY), "given": rng.choice(_GIVEN)},
    "preferred_name": lambda rng: rng.choice(_GIVEN),
    "date_of_birth": lambda rng: f"{rng.randint(1940, 2004)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    "email": lambda rng: f"{rng.choice(_GIVEN).lower()}.{rng.randint(1, 99_999)}@example.org",
    "phone": lambda rng: f"+1{rng.choice(('617', '512', '303', '503'))}55501{rng.randint(0, 99):02d}",
    "address": _address,
    "time_zone": lambda rng: rng.choice(_PLACES)[2],
    "insurance_member_id": lambda rng: f"M{rng.randint(100_000, 999_999)}",
    "conditions": _conditions,
    "medication_plan": _medication,
    "weight": lambda rng: rng.randint(450, 1_200) / 10,
    "next_appointment": lambda rng: Ago(-3_600 * rng.randint(4, 900)),
    "follow_up_completion": lambda rng: {
        "completed_at": Ago(rng.randint(1, 30)),
        "outcome": rng.choice(("reached", "left a message", "no answer")),
    },
}

REASONS: Final = (
    "passport seen at intake", "called back by the patient", "corrected after chart review", "court order on file",
    "marriage certificate on file", "spelling checked with the patient",
)  # fmt: skip


def reason(rng: Random) -> str:
    """A reason that differs from the last one of the row: a sticky reason legitimises nothing later."""
    return f"{rng.choice(REASONS)}, note {rng.randint(1_000, 9_999)}"
