"""A compact compiled matrix: the seven rows of docs/rules.md, section 4, and the awkward options beside them.

Built in Python, so that the properties of the decision do not depend on how documents are read. Beside the seven rows:
``street`` and ``city`` move in lock step, ``nickname`` is unprotected, ``risk_note`` asks every manual edit for a
reason and is nothing to the CRM, ``weight`` is left alone when a write to it is rejected, and a provider in the CRM may
override it.
"""

from typing import Literal

from msgspec.structs import replace

from ownership_stream.matrix.compiled import Escalation, Field, Grant, GrantKind, Matrix, Phase, StageMap, Summary, View

EHR, CRM = "ehr", "crm"
CARE_STAGES = frozenset({"in_care", "paused", "discharged"})
FULL: dict[str, View] = {EHR: "full", CRM: "full"}
HOUR = 3_600_000


def grant(
    kind: GrantKind,
    system: str,
    role: str | None = None,
    *,
    phase: Phase = "any",
    targets: frozenset[str] | None = None,
    persons: bool = False,
) -> Grant:
    """A grant with the readable id that a compiled document gives it."""
    words = [f"{kind}:", role or "anyone", "in", system]
    words += [] if phase == "any" else [phase, "care", "start"]
    return Grant(" ".join(words), kind, system, role, phase, targets, persons)


def owned_by(before: str, after: str | None = None) -> dict[Literal["before", "after"], str]:
    """The owner on both sides of care start."""
    return {"before": before, "after": after or before}


LEGAL_NAME = Field(
    name="legal_name",
    label="Patient legal name",
    type="parts",
    parts={"family": "name", "given": "name"},
    owner=owned_by(CRM, EHR),
    grants=(
        grant("owner", CRM, phase="before"),
        grant("owner", EHR, phase="after"),
        grant("secondary", CRM, "intake_ops", persons=True),
        grant("secondary", EHR, "intake_ops", persons=True),
        grant("override", EHR, "provider", persons=True),
    ),
    views=FULL,
    rule="stage owner wins",
    critical=True,
    escalation="clinical_ops",
)

DATE_OF_BIRTH = Field(
    name="date_of_birth",
    label="Date of birth",
    type="date",
    owner=owned_by(EHR),
    grants=(grant("owner", EHR),),
    views=FULL,
    rule="owner wins",
    critical=True,
    escalation="clinical_ops",
)

LEAD_SOURCE = Field(
    name="lead_source",
    label="Lead source",
    type="code",
    owner=owned_by(CRM),
    grants=(grant("owner", CRM),),
    views={CRM: "full", EHR: Summary(map={"google_ads": "paid", "meta_ads": "paid", "*": "other"})},
    rule="owner wins",
    escalation="growth_ops",
)

CARE_STAGE = Field(
    name="care_stage",
    label="Care stage/status",
    type="stage",
    owner=owned_by(CRM),
    grants=(
        grant("owner", CRM),
        grant("secondary", CRM, "clinical_ops", targets=CARE_STAGES),
        grant("secondary", EHR, "clinical_ops", targets=CARE_STAGES),
    ),
    views={
        CRM: "full",
        EHR: Summary(map={"in_care": "active", "paused": "active", "discharged": "closed", "*": "prospect"}),
    },
    rule="stage map",
    escalation="growth_ops",
)

MEDICATION_PLAN = Field(
    name="medication_plan",
    label="Medication plan",
    type="parts",
    parts={"drug": "text", "dose": "text", "status": "code"},
    owner=owned_by(EHR),
    grants=(grant("owner", EHR, "provider"),),
    views={EHR: "full", CRM: Summary(keep=("drug", "status"))},
    rule="owner wins",
    critical=True,
    escalation="medical_lead",
)

FOLLOW_UP = Field(
    name="follow_up",
    label="Follow-up completion",
    type="code",
    owner=owned_by(EHR),
    grants=(
        grant("owner", EHR),
        grant("secondary", EHR, "care_coordinator"),
        grant("secondary", CRM, "care_coordinator"),
    ),
    views=FULL,
    rule="latest validated",
    evidence=("validated_by", "completed_at"),
    escalation="clinical_ops",
)

CONTACT_PREFERENCE = Field(
    name="contact_preference",
    label="Contact preference",
    type="one of",
    choices=("email", "sms", "phone"),
    owner=owned_by(CRM),
    grants=(
        grant("owner", CRM),
        grant("secondary", CRM, "patient_portal"),
        grant("secondary", EHR, "patient_portal"),
        grant("secondary", EHR),
    ),
    views=FULL,
    rule="latest patient-confirmed",
    evidence=("confirmed_by_patient", "confirmed_at"),
    escalation="support_lead",
)

STREET = Field(
    name="street",
    label="Street",
    type="text",
    owner=owned_by(CRM),
    grants=(grant("owner", CRM), grant("secondary", EHR, "nurse")),
    views=FULL,
    rule="owner wins",
    group="address",
    escalation="support_lead",
)

CITY = Field(
    name="city",
    label="City",
    type="text",
    owner=owned_by(CRM),
    grants=(grant("owner", CRM), grant("secondary", EHR, "care_coordinator", persons=True)),
    views=FULL,
    rule="owner wins",
    critical=True,
    group="address",
    escalation="support_lead",
)

NICKNAME = Field(
    name="nickname",
    label="Preferred name",
    type="name",
    owner=owned_by(CRM),
    grants=(grant("owner", CRM),),
    views=FULL,
    rule="owner wins",
    protected=False,
    escalation="support_lead",
)

RISK_NOTE = Field(
    name="risk_note",
    label="Risk note",
    type="text",
    owner=owned_by(EHR),
    grants=(grant("owner", EHR), grant("secondary", CRM, "care_coordinator")),
    views={EHR: "full", CRM: "none"},
    rule="owner wins",
    reason_always=True,
    escalation="medical_lead",
)

WEIGHT = Field(
    name="weight",
    label="Weight",
    type="number",
    owner=owned_by(EHR),
    grants=(grant("owner", EHR), grant("override", CRM, "provider")),
    views=FULL,
    rule="owner wins",
    restore=False,
    escalation="clinical_ops",
)

FIELDS = (
    LEGAL_NAME,
    DATE_OF_BIRTH,
    LEAD_SOURCE,
    CARE_STAGE,
    MEDICATION_PLAN,
    FOLLOW_UP,
    CONTACT_PREFERENCE,
    STREET,
    CITY,
    NICKNAME,
    RISK_NOTE,
    WEIGHT,
)

MATRIX = Matrix(
    name="small",
    revision="2026-11-23+00000000",
    owner="Director of Clinical Operations",
    systems={EHR: "EHR", CRM: "CRM"},
    roles=("provider", "nurse", "care_coordinator", "clinical_ops", "intake_ops", "patient_portal"),
    stages=StageMap(
        field="care_stage",
        care_start="in_care",
        map={
            "new_lead": ("intake_done",),
            "intake_done": ("in_care", "new_lead"),
            "in_care": ("paused", "discharged"),
            "paused": ("in_care", "discharged"),
            "discharged": ("in_care",),
        },
        after=CARE_STAGES,
    ),
    escalations={
        "clinical_ops": Escalation("clinical_ops", "Clinical Ops", 4 * HOUR, "medical_lead"),
        "medical_lead": Escalation("medical_lead", "Medical Lead", HOUR),
        "growth_ops": Escalation("growth_ops", "Growth Ops", 24 * HOUR, "clinical_ops"),
        "support_lead": Escalation("support_lead", "Support Lead", 8 * HOUR, "clinical_ops"),
    },
    fields={field.name: field for field in FIELDS},
    skew=5_000,
    groups={"address": ("street", "city")},
    by_stage=("legal_name",),
)

MAKING = replace(
    MATRIX,
    creates={EHR: CARE_STAGES | {"intake_done"}, CRM: frozenset(MATRIX.stages.map)},
    create_words={EHR: "at intake_done", CRM: "at new_lead"},
)
"""The same, in which records are made: in the EHR after intake, in the CRM as soon as there is a stage."""
