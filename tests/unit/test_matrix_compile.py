"""A document compiled: the seven rows as docs/rules.md grants them, what each system is shown, and the revision."""

import re
from pathlib import Path
from typing import get_args

from matrices import PATIENT, VALID, compiled, edited, field, patient
from ownership_stream.matrix.compile import compile_document, load, stage_map
from ownership_stream.matrix.compiled import Grant, GrantKind, Phase, RuleName, Summary
from ownership_stream.matrix.document import parse
from ownership_stream.matrix.words import RULES


def granted(name: str) -> list[tuple[GrantKind, str, str | None, Phase, bool]]:
    """A shipped row's grants in their order: kind, system, role, phase, persons only."""
    return [(g.kind, g.system, g.role, g.phase, g.persons) for g in field(name).grants]


def test_the_legal_name_is_the_crms_before_care_start_and_the_ehrs_after() -> None:
    """Intake Ops as persons in either system, a provider's override in the EHR, both at any stage."""
    assert [
        ("owner", "crm", None, "before", False),
        ("owner", "ehr", None, "after", False),
        ("secondary", "ehr", "intake_ops", "any", True),
        ("secondary", "crm", "intake_ops", "any", True),
        ("override", "ehr", "provider", "any", True),
    ] == granted("legal_name")
    assert field("legal_name").critical
    assert ("stage owner wins", {"ehr": "full", "crm": "full"}) == (field("legal_name").rule, field("legal_name").views)


def test_the_date_of_birth_is_written_in_the_ehr_by_anyone_and_nowhere_else() -> None:
    """The CRM reads it, whole."""
    assert [("owner", "ehr", None, "any", False)] == granted("date_of_birth")
    assert field("date_of_birth").critical
    assert {"ehr": "full", "crm": "full"} == field("date_of_birth").views


def test_the_lead_source_is_the_crms_and_the_ehr_is_shown_a_summary() -> None:
    """A campaign's name never reaches a clinician: paid, referral or other does."""
    row = field("lead_source")
    summary = row.views["ehr"]

    assert [("owner", "crm", None, "any", False)] == granted("lead_source")
    assert not row.critical
    assert isinstance(summary, Summary)
    assert ["paid", "referral", "other", None] == [
        summary.of(value) for value in ("google_ads", "referral", "billboard", None)
    ]


def test_clinical_ops_may_move_the_care_stage_only_into_the_states_of_care() -> None:
    """In either system; everyone in the CRM by the stage map alone."""
    row = field("care_stage")
    into = {grant.id: grant.targets for grant in row.grants}

    assert [
        ("owner", "crm", None, "any", False),
        ("secondary", "ehr", "clinical_ops", "any", False),
        ("secondary", "crm", "clinical_ops", "any", False),
    ] == granted("care_stage")
    assert into["owner: crm"] is None
    assert frozenset({"in_care", "paused", "discharged"}) == into["secondary: clinical_ops in ehr"]
    assert ("stage map", "stage") == (row.rule, row.type)


def test_nobody_but_a_provider_writes_the_medication_plan_in_the_ehr_either() -> None:
    """The CRM is shown drug and status, never the dose."""
    row = field("medication_plan")
    summary = row.views["crm"]

    assert [("owner", "ehr", "provider", "any", False)] == granted("medication_plan")
    assert row.critical
    assert isinstance(summary, Summary)
    assert {"drug": "metformin", "status": "active"} == summary.of(
        {"drug": "metformin", "dose": "500 mg", "schedule": "daily", "status": "active"}
    )


def test_a_care_coordinator_may_complete_a_follow_up_in_either_system() -> None:
    """The latest validated completion stands."""
    assert [
        ("owner", "ehr", None, "any", False),
        ("secondary", "ehr", "care_coordinator", "any", False),
        ("secondary", "crm", "care_coordinator", "any", False),
    ] == granted("follow_up_completion")
    assert ("latest validated", ("validated_by", "completed_at")) == (
        field("follow_up_completion").rule,
        field("follow_up_completion").evidence,
    )


def test_the_version_check_lets_anyone_in_the_ehr_write_the_contact_preference() -> None:
    """The direction's own words grant it; the portal writes from either system."""
    assert [
        ("owner", "crm", None, "any", False),
        ("secondary", "ehr", "patient_portal", "any", False),
        ("secondary", "crm", "patient_portal", "any", False),
        ("secondary", "ehr", None, "any", False),
    ] == granted("contact_preference")
    assert ("email", "sms", "phone", "portal", "none") == field("contact_preference").choices


def test_the_shipped_matrix_has_thirty_fields_and_uses_every_rule() -> None:
    """Each with an escalation owner, each rule in at least one row."""
    matrix = patient()

    assert 30 == len(matrix.fields)
    assert set(RULES) == {row.rule for row in matrix.fields.values()}
    assert {row.escalation for row in matrix.fields.values()} == set(matrix.escalations)


def test_care_starts_where_no_way_back_leads_out() -> None:
    """Paused and discharged cannot be reached without passing care start, and set the latch; disqualified can."""
    assert frozenset({"in_care", "paused", "discharged"}) == patient().stages.after
    assert "new_lead" == next(iter(patient().stages.map))


def test_fields_of_a_group_are_known_by_the_group() -> None:
    """An address moves with its time zone, a payer with its member id."""
    assert {
        "address": ("address", "time_zone"),
        "insurance": ("insurance_payer", "insurance_member_id"),
    } == patient().groups
    assert ("legal_name", "assigned_provider") == patient().by_stage


def test_every_optional_word_has_an_effect() -> None:
    """Defaults hold where a row is silent, and a row's own word stands before them."""
    assert [True, False] == [field("email").protected, field("assigned_coach").protected]
    assert [True, False] == [field("email").restore, field("billing_status").restore]
    assert [False, True] == [field("sex").reason_always, field("risk_flag").reason_always]
    assert ("none", "full") == (
        field("referral_source_detail").views["ehr"],
        field("referral_source_detail").views["crm"],
    )
    assert ("US", 5_000) == (field("phone").phone_region, patient().skew)
    clinical_ops = patient().escalations["clinical_ops"]
    assert (14_400_000, "medical_lead") == (clinical_ops.sla, clinical_ops.then)
    changed = compiled(("on reject: restore", "on reject: leave"), ("protected: true", "protected: false")).matrix
    assert [(False, False)] * 4 == [(row.restore, row.protected) for row in changed.fields.values()]


def test_a_third_system_is_shown_nothing_unless_the_direction_reaches_it() -> None:
    """One way reaches one system; both ways reaches all."""
    matrix = compiled(("{ehr: EHR, crm: CRM}", "{ehr: EHR, crm: CRM, lab: Laboratory}")).matrix

    assert {"ehr": "full", "crm": Summary(keep=("drug",)), "lab": "none"} == matrix.fields["plan"].views
    assert {"ehr": "full", "crm": "full", "lab": "full"} == matrix.fields["follow_up"].views


def test_a_role_that_sees_nothing_elsewhere_is_granted_nothing_elsewhere() -> None:
    """With direction `none` a secondary writer counts in the owner system only."""
    matrix = compiled(("secondary: [rep]", "secondary: [intake_ops]"), ("direction: both ways\n", "direction: none\n"))

    assert ["owner: ehr", "secondary: intake_ops in ehr"] == [g.id for g in matrix.matrix.fields["follow_up"].grants]


def test_anyone_elsewhere_must_be_a_person_where_the_field_is_critical() -> None:
    """An automation can give no reason."""
    matrix = compiled(
        ("direction: both ways\n", "direction: both ways with version check\n    critical: true\n")
    ).matrix
    anyone = matrix.fields["follow_up"].grants[-1]

    assert Grant("secondary: anyone in crm", "secondary", "crm", None, "any", None, persons=True) == anyone


def test_a_secondary_role_may_be_free_beside_one_that_is_not() -> None:
    """`any` stands where a list of values would."""
    matrix = compiled(("{intake_ops: [in_care]}", "{intake_ops: [In_Care], rep: any}")).matrix

    assert [None, frozenset({"in_care"}), frozenset({"in_care"}), None] == [
        grant.targets for grant in matrix.fields["care_stage"].grants
    ]


def test_an_override_is_last_in_precedence_and_readable_by_its_id() -> None:
    """Who may write as owner or secondary writer does not override."""
    ids = [grant.id for grant in patient().fields["legal_name"].grants]

    assert ["owner: crm before care start", "owner: ehr after care start"] == ids[:2]
    assert "override: provider in ehr" == ids[-1]
    for row in patient().fields.values():
        assert len({grant.id for grant in row.grants}) == len(row.grants)


def test_the_revision_is_the_documents_word_and_a_hash_of_its_content() -> None:
    """Comments, blank lines, quotes and the flow of a list change nothing; any word does."""
    plain = compiled().matrix.revision
    same = edited(
        ("matrix: patient", "# a comment\n\nmatrix: 'patient'  # another"),
        ("overrides: [provider]", "overrides:\n      - provider"),
    )

    assert re.fullmatch(r"2026-11-23\+[0-9a-f]{8}", plain)
    assert plain == compile_document(parse(same.encode(), "other.yaml")).matrix.revision
    assert plain != compiled(("sla: 4h", "sla: 5h")).matrix.revision
    assert plain != compiled(("only: [provider]", "only: [intake_ops]")).matrix.revision


def test_a_document_may_use_anchors_and_merges() -> None:
    """What rows share can be written once."""
    text = edited(
        ("defaults: {", "defaults: &defaults {"),
        (
            "    rule: owner wins\n    escalation: medical_lead\n",
            "    <<: &end {rule: owner wins, escalation: medical_lead}\n",
        ),
    )

    assert compiled().matrix.fields == compile_document(parse(text.encode(), "m.yaml")).matrix.fields


def test_stages_that_begin_with_care_are_all_after_it() -> None:
    """Where a record begins in care, nothing lies before."""
    steps: dict[str, tuple[str, ...]] = {"in_care": ("paused",), "paused": ("in_care",)}

    assert frozenset(steps) == stage_map("stage", "in_care", steps).after


def test_load_reads_a_file(tmp_path: Path) -> None:
    """What a worker calls."""
    path = tmp_path / "m.yaml"
    path.write_text(VALID, encoding="utf-8")

    assert ["care_stage", "legal_name", "plan", "follow_up"] == list(load(path).fields)
    assert patient() == load(PATIENT)


def test_the_vocabulary_has_the_decisions_rules_and_no_other() -> None:
    """A rule without a meaning would be a word without effect."""
    assert get_args(RuleName) == tuple(RULES)
