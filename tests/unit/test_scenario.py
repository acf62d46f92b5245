"""Scenario files: what is read, what is refused and where, what is told, and what is shown of a difference."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # the package brings no types
from ruamel.yaml import YAML

from matrices import ROOT, patient
from ownership_stream.cli import run
from ownership_stream.errors import BadInputError, ExitCode
from ownership_stream.matrix.document import MatrixError, parse
from ownership_stream.model import Change, Evidence
from ownership_stream.scenarios.compare import compare
from ownership_stream.scenarios.corpus import files_of, load_corpus, run_corpus
from ownership_stream.scenarios.parse import MAX_STEPS, parse_scenarios
from ownership_stream.scenarios.play import Labels, play, tell
from ownership_stream.scenarios.schema import render, schema
from ownership_stream.scenarios.story import Event, Scenario

MATRIX = patient()
MATRIX_FILE = ROOT / "matrix" / "patient.yaml"
CORPUS = sorted((ROOT / "matrix" / "scenarios").glob("*.yaml"))
PREFERENCE = "contact_preference"
STORY = """\
- name: a story
  given: {email: a@x.org}
  when:
    - crm: {email: b@x.org, by: growth_ops}
"""


def read(text: str) -> tuple[Scenario, ...]:
    """The scenarios of a text."""
    return parse_scenarios(parse(text.encode(), "s.yaml"), MATRIX)


def one(text: str) -> Scenario:
    """The only scenario of a text."""
    (scenario,) = read(text)
    return scenario


def event(text: str) -> Event:
    """The first act of a story whose first act is written so."""
    act = one(f"- {{name: n, when: [{text}]}}").steps[0].act
    assert isinstance(act, Event)
    return act


def differences(text: str) -> list[tuple[int, str, str, str]]:
    """What is otherwise: (line, what, expected, actual)."""
    scenario = one(text)
    return [(d.place.line, d.what, d.expected, d.actual) for d in compare(MATRIX, scenario, play(MATRIX, scenario))]


def changes(scenario: Scenario) -> list[Change]:
    """The acts of a story as changes, without what is given."""
    return [moment.change for moment in play(MATRIX, scenario).moments]


# ------------------------------------------------------------------------------------------------ mistakes

VERBS = "`lands`, `after`, `pause`, `resume`, `resolve`, `link`, `confirm`, `unlink`"
MISTAKES = [
    ("- {nam: x, when: [{crm: {}}]}", "1:4: unknown key `nam` in a scenario: did you mean `name`?"),
    ("- {name: x}", "1:3: a scenario lacks `when`: the acts of the story, in order"),
    ("- {name: x, when: {crm: {}}}", "1:19: `when` is a list of acts, as in `- crm: {lead_source: referral}`"),
    ("- {name: x, when: [{crn: {}}]}", "1:21: unknown key `crn` in an act: did you mean `crm`?"),
    (
        "- {name: x, when: [{crm: {}, after: 1m}]}",
        f"1:20: an act is one event or one of {VERBS}, not two things at once",
    ),
    (
        "- {name: x, when: [{then: nothing}]}",
        f"1:20: an act is one event or one of {VERBS}, not nothing that happens",
    ),
    ("- {name: x, when: [{confirm: false}]}", "1:30: `confirm` is true, or is not said"),
    ("- {name: x, when: [{link: {givn: {}}}]}", "1:28: unknown key `givn` in a linked record: did you mean `given`?"),
    ("- {name: x, when: [{link: {present: [lab]}}]}", "1:38: unknown system `lab`: use `ehr` or `crm`"),
    (
        "- {name: x, when: [{link: {}, merged: {email: took}}]}",
        "1:47: unknown end of a value `took`: use `taken`, `own`, `same` or `queued`",
    ),
    ("- {name: x, when: [{crm: {emial: x}}]}", "1:27: unknown key `emial` in an event of `crm`: did you mean `email`?"),
    ("- {name: x, when: [{crm: {email: [x]}}]}", "1:34: `email` has one value, not a list"),
    ("- {name: x, when: [{crm: {email: {a: b}}}]}", "1:35: unknown key `a` in `email`"),
    ("- {name: x, when: [{crm: {email: {confirmed_at: +1m}}}]}", "1:34: `email` is written without a `value`"),
    (
        "- {name: x, when: [{crm: {legal_name: {famly: x}}}]}",
        "1:40: `legal_name` has no part `famly`: did you mean `family`?",
    ),
    ("- {name: x, when: [{crm: {legal_name: {family: [x]}}}]}", "1:48: one value is due here"),
    ("- {name: x, when: [{crm: {legal_name: Doe}}]}", "1:39: `legal_name` cannot be this: a text where parts are due"),
    (
        "- {name: x, when: [{crm: {contact_preference: emial}}]}",
        "1:47: `contact_preference` cannot be this: a value that is not one of the field's choices: did you mean",
    ),
    ("- {name: x, when: [{ehr: {weight: heavy}}]}", "1:35: `weight` cannot be this: a text where a number is due"),
    ("- {name: x, when: [{crm: {by: provder}}]}", "1:31: unknown by `provder`: did you mean `provider`?"),
    ("- {name: x, when: [{crm: {origin: robot}}]}", "1:35: unknown origin `robot`: use `person` or `automation`"),
    (
        "- {name: x, when: [{crm: {at: noon}}]}",
        "1:31: `at` `noon` is no time: write `+5m`, `-2h` or `2026-03-02T09:00Z`",
    ),
    ("- {name: x, when: [{crm: {base_version: new}}]}", "1:41: `base_version` `new` is no whole number"),
    (
        "- {name: x, when: [{crm: {op: remove}}]}",
        "1:31: unknown op `remove`: use `create`, `update`, `delete` or `snapshot`",
    ),
    (
        "- {name: x, when: [{crm: {position: early}}]}",
        "1:37: unknown position `early`: use `late`, `duplicate` or `none`",
    ),
    ("- {name: x, when: [{crm: {sticky: [resaon]}}]}", "1:36: unknown attribute `resaon`: did you mean `reason`?"),
    (
        "- {name: x, when: [{crm: {row: My Row}}]}",
        "1:32: row `My Row` must be lower-case letters, digits and `_`, as in",
    ),
    (
        "- {name: x, when: [{crm: {email: a, unavailable: [email]}}]}",
        "1:50: `email` is written by this event: it cannot be unavailable too",
    ),
    ("- {name: x, when: [{lands: erh}]}", "1:28: unknown system `erh`: did you mean `ehr`?"),
    ("- {name: x, when: [{after: soon}]}", "1:28: `after` `soon` is no duration: write a number and a unit"),
    ("- {name: x, when: [{pause: all}]}", "1:28: unknown system `all`: use `ehr`, `crm` or `record`"),
    ("- {name: x, when: [{repeat: 2}]}", "1:20: `repeat` needs `of`, a list of acts"),
    ("- {name: x, when: [{repeat: 2, of: {}}]}", "1:36: `of` is a list of acts"),
    (
        "- {name: x, when: [{repeat: 2, of: [{crm: {}}], then: nothing}]}",
        "1:55: `then` belongs to one of the repeated acts, or to the scenario",
    ),
    (
        f"- {{name: x, when: [{{repeat: {MAX_STEPS + 1}, of: [{{crm: {{}}}}]}}]}}",
        f"1:29: more than {MAX_STEPS} acts in one story",
    ),
    ("- {name: x, when: [{crm: {}}], present: [erp]}", "1:42: unknown system `erp`: did you mean `ehr`?"),
    (
        "- {name: x, when: [{crm: {}}], given: {emial: x}}",
        "1:40: unknown key `emial` in `given`: did you mean `email`?",
    ),
    ("- {name: x, when: [{crm: {}}], given: {email: {version: 3}}}", "1:40: `email` is given without a `value`"),
    (
        "- {name: x, when: [{crm: {}}], given: {email: {valu: x}}}",
        "1:48: unknown key `valu` in `email`: did you mean `value`?",
    ),
    (
        "- {name: x, when: [{crm: {}}], then: {email: aplied}}",
        "1:46: unknown outcome `aplied`: did you mean `applied`?",
    ),
    ("- {name: x, when: [{crm: {}}], then: {email: rejected}}", "1:46: `rejected` needs a reason: use `owner_policy`"),
    (
        "- {name: x, when: [{crm: {}}], then: {email: rejected tie}}",
        "1:46: `rejected` has no reason `tie`",
    ),
    ("- {name: x, when: [{crm: {}}], then: {rule: owner wins}}", "1:38: `then` names a field and its outcome"),
    ("- {name: x, when: [{crm: {}}], then: {email: }}", "1:39: an outcome must be a text, not nothing"),
    (
        "- {name: x, when: [{crm: {}}], then: [{email: applied, grant: own}]}",
        "1:63: unknown grant `own`: did you mean `owner`?",
    ),
    (
        "- {name: x, when: [{crm: {}}], sends: {crn: nothing}}",
        "1:40: unknown key `crn` in `sends`: did you mean `crm`?",
    ),
    (
        "- {name: x, when: [{crm: {}}], sends: {crm: {kind: change}}}",
        "1:45: what `crm` is sent names a field with its value",
    ),
    (
        "- {name: x, when: [{crm: {}}], sends: {crm: {email: x, kind: again}}}",
        "1:62: unknown kind `again`: use `change`, `restore` or `create`",
    ),
    (
        "- {name: x, when: [{crm: {}}], queue: {email: support_leed tie}}",
        "1:47: `support_leed` is no escalation owner and no reason: did you mean `support_lead`?",
    ),
    (
        "- {name: x, when: [{crm: {}}], queue: {email: {reason: tye}}}",
        "1:56: unknown reason `tye`: did you mean `tie`?",
    ),
    ("- {name: x, when: [{crm: {}}], current: {email: {version: a}}}", "1:59: `version` `a` is no whole number"),
    ("- {name: x, when: [{crm: {}}], shown: {crm: {emial: a}}}", "1:46: unknown key `emial` in what `crm` shows"),
    (
        "- {name: x, when: [{crm: {}}]}\n- {name: x, when: [{crm: {}}]}",
        "2:3: this scenario has the name of the one in line 1: one name, one story",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[expected[:60] for _, expected in MISTAKES])
def test_a_mistake_is_named_with_its_place_and_the_nearest_right_word(text: str, expected: str) -> None:
    """`file:line:col: message`, where the wrong word stands."""
    with pytest.raises(MatrixError) as error:
        read(text)
    assert any(problem.startswith(f"s.yaml:{expected}") for problem in error.value.problems), error.value.problems


def test_all_mistakes_of_all_files_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run says everything that is to be mended, and exits with 2."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("- {nam: x, when: [{crm: {emial: x}}]}\n", encoding="utf-8")

    code = run(["simulate", str(tmp_path), "--matrix", str(MATRIX_FILE)])

    lines = capsys.readouterr().err.splitlines()
    assert ExitCode.USAGE == code
    assert ["a.yaml"] * 3 + ["b.yaml"] * 3 == [
        line.partition("error: ")[2].split(":")[0].rpartition("/")[2] for line in lines
    ]


POSSIBLE = [
    "{care_stage: discharged, legal_name: {value: {family: Doe}, from: crm, by: growth_ops}}",
    "{care_stage: {value: in_care, version: 1}, weight: {value: 80, version: 2}, email: {value: x, version: 1}}",
    "{legal_name: {value: {family: D}, version: 7, from: crm}, care_stage: in_care, email: {value: a, version: 9}}",
    "{care_stage: in_care, legal_name: {value: {family: Doe}, from: crm, by: intake_ops}}",
]


@pytest.mark.parametrize("given", POSSIBLE)
def test_a_given_state_comes_about_in_an_order_in_which_it_can(given: str) -> None:
    """What the owner of before care start wrote was written before it, whatever stages that takes."""
    text = f"- {{name: x, given: {given}, when: [{{after: 1m}}], current: {given}}}"
    assert [] == [found for found in differences(text) if not found[1].endswith("version")]


IMPOSSIBLE = [
    ("{sex: {value: female, from: crm}}", "written in `crm` it would be `rejected owner_policy`"),
    ("{follow_up_completion: {completed_at: 2026-03-01T10:00Z, outcome: done}}", "would be `rejected not_validated`"),
    (
        "{care_stage: {value: paused, version: 1}, legal_name: {value: {family: D}, by: nurse, from: crm, version: 2}}",
        "`rejected owner_policy`",
    ),
    (
        "{weight: {value: 80, version: 2}, care_stage: {value: in_care, version: 0}}",
        "its version 0 would come after version 1, given before it",
    ),
    ("{email: {value: a@x.org, shown: {crm: b@x.org}}}", "what a snapshot of `crm` shows becomes current"),
]


@pytest.mark.parametrize(("given", "expected"), IMPOSSIBLE, ids=[expected for _, expected in IMPOSSIBLE])
def test_a_given_state_that_cannot_be_is_refused(given: str, expected: str) -> None:
    """What is given comes about by honest changes, or not at all."""
    scenario = one(f"- {{name: x, given: {given}, when: [{{after: 1m}}]}}")
    with pytest.raises(MatrixError, match="cannot be given like this") as error:
        play(MATRIX, scenario)
    assert expected in str(error.value)
    assert str(error.value).startswith("s.yaml:1:")


def test_given_states_that_cannot_be_are_named_at_once() -> None:
    """Of all scenarios of all files."""
    text = "\n".join(
        f"- {{name: {n}, given: {{sex: {{value: female, from: crm}}}}, when: [{{after: 1m}}]}}" for n in "ab"
    )
    with pytest.raises(BadInputError) as error:
        run_corpus(read(text), MATRIX)
    assert ["s.yaml:1:21", "s.yaml:2:21"] == [problem.split(": ")[0] for problem in error.value.problems]


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crm: {}", (None, None, "automation")),
        ("crm: {by: nurse}", ("nurse", "nurse", "person")),
        ("crm: {by: integration}", ("integration", "integration", "automation")),
        ("crm: {by: integration, origin: person}", ("integration", "integration", "person")),
        ("crm: {by: person}", (None, "person", "person")),
        ("crm: {by: automation, actor: bot}", (None, "bot", "automation")),
        ("crm: {actor: jane}", (None, "jane", "automation")),
        ("crm: {by: provider, origin: automation}", ("provider", "provider", "automation")),
    ],
)
def test_a_writer_is_a_role_a_person_or_nobody(text: str, said: tuple[str | None, str | None, str]) -> None:
    """Role, name, and whether it is a person."""
    who = event(f"{{{text}}}").who
    assert said == (who.role, who.actor, who.origin)


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("{contact_preference: sms, confirmed_at: 1970-01-01}", PREFERENCE, Evidence("patient", 0)),
        ("{contact_preference: sms, confirmed_by_patient: true}", PREFERENCE, Evidence("patient", None)),
        (
            "{contact_preference: sms, confirmed_at: 1970-01-01, confirmed_by_patient: false}",
            PREFERENCE,
            Evidence(None, 0),
        ),
        (
            "{follow_up_completion: {completed_at: 1970-01-01T00:00Z, outcome: done}}",
            "follow_up_completion",
            Evidence(None, 0),
        ),
        (
            "{follow_up_completion: null, validated_by: dr, completed_at: 1970-01-01T00:00Z}",
            "follow_up_completion",
            Evidence("dr", 0),
        ),
        ("{contact_preference: {value: sms, confirmed_at: 1970-01-01}}", PREFERENCE, Evidence("patient", 0)),
        ("{requests: {contact_preference: sms}, confirmed_at: 1970-01-01}", PREFERENCE, Evidence("patient", 0)),
        ("{email: a@x.org, confirmed_at: 1970-01-01}", "email", None),
        ("{contact_preference: sms}", "contact_preference", None),
    ],
)  # fmt: skip
def test_evidence_is_said_in_the_words_of_the_matrix(text: str, field: str, expected: Evidence | None) -> None:
    """A confirmation's time alone is the patient's; a completion's time is a part of it."""
    assert expected == event(f"{{crm: {text}}}").evidence.get(field)


def test_a_story_begins_when_it_says_or_after_the_latest_time_it_names() -> None:
    """So that no confirmation lies in the future by accident."""
    early, late = "2026-03-02T12:00Z", "2027-01-01T00:00Z"
    starts = [
        one("- {name: x, when: [{crm: {}}]}").starts,
        one(f"- {{name: x, when: [{{crm: {{contact_preference: sms, confirmed_at: {late}}}}}]}}").starts,
        one(f"- {{name: x, at: {early}, given: {{next_appointment: {late}}}, when: [{{crm: {{}}}}]}}").starts,
    ]
    assert [0, 305 * 24 - 12 + 1, 0] == [(start - starts[0]) // 3_600_000 for start in starts]


def test_a_relative_time_counts_from_the_beginning() -> None:
    """Also within a value that is an instant."""
    scenario = one("- {name: x, at: 2026-03-02T12:00Z, when: [{ehr: {next_appointment: +2h, by: nurse, at: -1d}}]}")
    act = scenario.steps[0].act
    assert isinstance(act, Event)
    assert ("2026-03-02T14:00:00.000Z", scenario.starts - 86_400_000) == (act.fields["next_appointment"], act.at)


def test_a_field_that_is_named_like_a_word_is_written_under_fields() -> None:
    """`fields` holds what the words of the format would hide."""
    matrix = {**MATRIX.fields, "reason": MATRIX.fields["email"]}
    document = parse(b"- {name: x, when: [{crm: {reason: because, fields: {reason: a@x.org}}}]}", "s.yaml")
    (scenario,) = parse_scenarios(document, _with_fields(matrix))
    act = scenario.steps[0].act
    assert isinstance(act, Event)
    assert ("because", {"reason": "a@x.org"}) == (act.reason, act.fields)


def _with_fields(fields: dict[str, Any]) -> Any:
    from msgspec.structs import replace  # noqa: PLC0415 (only here)

    return replace(MATRIX, fields=fields)


def test_the_stage_is_only_compared_where_its_summary_is_shown() -> None:
    """Nobody writes the stage in the EHR; whoever wants another one requests it."""
    act = event("{ehr: {care_stage: active, requests: {care_stage: paused}, compared: {lead_source: paid}}}")
    assert ({}, {"care_stage": "active", "lead_source": "paid"}, {"care_stage": "paused"}) == (
        act.fields,
        act.compared,
        act.requests,
    )


# ------------------------------------------------------------------------------------------------ telling


def test_versions_are_labels_that_keep_their_order() -> None:
    """What the author calls version 7 is the last one of what is given as 7."""
    labels = Labels(((3, 2), (7, 5)))
    assert [0, 0, 2, 2, 5, 6, 8] == [labels.version(label) for label in (0, 2, 3, 6, 7, 8, 10)]
    assert [0, 3, 3, 7, 7, 8] == [labels.label(version) for version in (0, 1, 2, 3, 5, 6)]
    assert (4, 4) == (Labels().version(4), Labels().label(4))


def test_a_base_version_is_as_old_as_the_author_says() -> None:
    """Whatever versions the given state took to come about."""
    text = "- {name: x, given: {care_stage: qualified, email: {value: a@x.org, version: 7}, sex: female}, when: [%s]}"
    found = []
    for base in (6, 7, 8):
        scenario = one(text % f"{{crm: {{email: b@x.org, base_version: {base}}}}}")
        told = play(MATRIX, scenario)
        current = told.given[-1].decision.state.fields["email"].version
        base_version = told.moments[0].change.base
        assert base_version is not None
        found.append(base_version - current)
    assert [-1, 0, 1] == [max(-1, min(1, distance)) for distance in found]


def test_positions_of_a_row_rise_and_a_late_one_stands_before_the_last() -> None:
    """`late`, `duplicate` and `none` say otherwise."""
    scenario = one(
        "- {name: x, present: none, when: [{crm: {}}, {crm: {}}, {crm: {position: late}}, {crm: {position: duplicate}},"
        " {crm: {position: none}}, {crm: {row: form}}]}"
    )
    told = changes(scenario)
    assert [(10,), (20,), (15,), (15,), None, (10,)] == [change.position for change in told]
    assert told[3].id == told[2].id
    assert 5 == len({change.id for change in told})
    assert [True] * 5 + [False] == [change.primary for change in told]


def test_the_brokers_clock_never_goes_back() -> None:
    """Acts are a minute apart; a source time may be anywhere."""
    scenario = one(
        "- {name: x, when: [{crm: {}}, {crm: {}}, {ehr: {at: -1h}}, {ehr: {at: +1h, arrives: +5m}},"
        " {after: 1m}, {pause: crm}]}"
    )
    told = changes(scenario)
    minutes = [(change.received - scenario.starts) / 60_000 for change in told]
    assert [0, 1, 1, 5, 6, 7] == minutes
    assert [0, 1, -60, 60, 6, 7] == [(change.at - scenario.starts) / 60_000 for change in told]


def test_the_same_story_makes_the_same_changes() -> None:
    """Ids too: a story may be run by many."""
    assert changes(one(STORY)) == changes(one(STORY))


def test_whoever_answers_drives_the_story() -> None:
    """`tell` yields changes and takes decisions, so that a stack can answer instead of `decide`."""
    scenario = one(STORY)
    decisions = [moment.decision for moment in (*play(MATRIX, scenario).given, *play(MATRIX, scenario).moments)]
    story = tell(MATRIX, scenario)
    asked = [next(story), *(story.send(decision) for decision in decisions[:-1])]
    with pytest.raises(StopIteration) as end:
        story.send(decisions[-1])
    assert end.value.value == play(MATRIX, scenario)
    assert [change.record for change in asked] == [asked[0].record] * len(decisions)


# ------------------------------------------------------------------------------------------------ comparing

DIFFERENCES = [
    ("then: {email: rejected stale}", ("email", "rejected stale", "applied")),
    ("then: nothing", ("email", "-", "applied")),
    ("then: [{email: applied}, {email: applied}]", ("email", "applied", "-")),
    ("then: {email: applied, weight: noop}", ("weight", "noop", "-")),
    ("then: {email: applied, rule: stage map}", ("email", "applied, rule stage map", "applied, rule owner wins")),
    ("then: {email: applied, grant: secondary}", ("email", "applied, grant secondary", "applied, grant owner: crm")),
    ("then: {email: applied, grant: none}", ("email", "applied, grant none", "applied, grant owner: crm")),
    ("then: {email: applied, stage: qualified}", ("email", "applied, stage qualified", "applied, stage none")),
    ("then: {email: applied, unseen: true}", ("email", "applied, unseen true", "applied, unseen false")),
    ("then: {email: applied, joined: true}", ("email", "applied, joined true", "applied, joined false")),
    ("then: {email: applied, request: true}", ("email", "applied, request true", "applied, request false")),
    (
        "then: {email: applied, ends_override: true}",
        ("email", "applied, ends_override true", "applied, ends_override false"),
    ),
    ("decided_again: {email: applied}", ("email again", "applied", "-")),
    ("sends: nothing", ("sent to ehr", "-", "change: email: b@x.org")),
    ("sends: {ehr: {email: a@x.org}}", ("sent to ehr", "email: a@x.org", "email: b@x.org")),
    (
        "sends: {ehr: {email: b@x.org, kind: restore}}",
        ("sent to ehr", "restore: email: b@x.org", "change: email: b@x.org"),
    ),
    ("sends: {ehr: {email: b@x.org, weight: 8}}", ("sent to ehr", "email: b@x.org, weight: 8", "email: b@x.org")),
    ("sends: {ehr: {email: b@x.org}, crm: {email: b@x.org}}", ("sent to crm", "email: b@x.org", "-")),
    ("sends: {ehr: [{email: b@x.org}, {email: b@x.org}]}", ("sent to ehr", "email: b@x.org", "-")),
    ("queue: {email: support_lead tie}", ("case of email", "support_lead tie", "-")),
    ("queue: {record: {}}", ("case of the record", "a case", "-")),
    ("current: {email: a@x.org}", ("email", "a@x.org", "b@x.org")),
    ("current: {weight: 80}", ("weight", "80", "null")),
    ("current: {email: null}", ("email", "null", "b@x.org")),
    ("current: {email: {version: 9}}", ("email, version", "9", "2")),
    ("current: {email: {from: ehr}}", ("email, from", "ehr", "crm")),
    ("current: {email: {by: support}}", ("email, by", "support", "growth_ops")),
    ("current: {email: {grant: override}}", ("email, grant", "override", "owner: crm")),
    ("shown: {ehr: {email: b@x.org}}", ("email shown in ehr", "b@x.org", "a@x.org")),
]


@pytest.mark.parametrize(("expectation", "expected"), DIFFERENCES, ids=[expectation for expectation, _ in DIFFERENCES])
@pytest.mark.parametrize("with_step", [True, False], ids=["with the act", "at the end"])
def test_what_is_otherwise_stands_beside_what_was_expected(
    expectation: str, expected: tuple[str, str, str], with_step: bool
) -> None:
    """With its line, whether it is expected of an act or of the whole story."""
    text = f"{STORY}      {expectation}\n" if with_step else f"{STORY}  {expectation}\n"
    what, wanted, found = expected
    line = 4 if expectation == "then: nothing" and with_step else 5
    line = 1 if expectation == "then: nothing" and not with_step else line
    assert [(line, f"act 1: {what}" if with_step else what, wanted, found)] == differences(text)


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("none", ("-", "clinical_ops clear")),
        ("{date_of_birth: medical_lead}", ("medical_lead", "clinical_ops")),
        ("{date_of_birth: [clinical_ops, tie]}", ("clinical_ops tie", "clinical_ops clear")),
        ("{date_of_birth: {joined: 2, escalated: 0}}", ("joined 2 escalated 0", "joined 0 escalated 0")),
        ("{date_of_birth: {owner: clinical_ops, reason: clear}}", None),
        ("{date_of_birth: {}}", None),
    ],
)
def test_a_case_is_compared_in_what_is_said_of_it(queue: str, expected: tuple[str, str] | None) -> None:
    """Its owner, its reason and its counts."""
    text = (
        f"- {{name: x, given: {{date_of_birth: 1980-01-02}}, when: [{{ehr: {{date_of_birth: null}}}}], queue: {queue}}}"
    )
    assert ([] if expected is None else [(1, "case of date_of_birth", *expected)]) == differences(text)


def test_evidence_of_the_current_value_is_compared() -> None:
    """Who vouched for it, and when."""
    text = (
        "- {name: x, given: {contact_preference: {value: sms, confirmed_at: 2026-03-01T09:00Z}}, when: [{after: 1m}],"
        " current: {contact_preference: {confirmed_at: 2026-03-01T09:00Z}, follow_up_completion: {validated_by: dr}}}"
    )
    assert [(1, "follow_up_completion, vouched for by", "dr", "-")] == differences(text)
    other = text.replace(
        "current: {contact_preference: {confirmed_at: 2026-03-01T09",
        "current: {contact_preference: {confirmed_at: 2026-03-01T08",
    )
    assert (1, "contact_preference, evidence of", "2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z") in differences(other)


def test_quiet_outcomes_count_only_where_one_is_named() -> None:
    """A story need not name every echo; if it names one, it names all of that field."""
    text = STORY + "    - lands: ehr\n    - ehr: {email: b@x.org}\n"
    assert [] == differences(text + "  then: {email: applied}\n")
    assert [] == differences(text + "  then: [{email: applied}, {email: echo}, {email: noop}]\n")
    assert [(1, "email", "-", "noop")] == differences(text + "  then: [{email: applied}, {email: echo}]\n")


def test_what_an_act_says_the_end_does_not_say_again() -> None:
    """The end is about the acts that say nothing of the kind themselves."""
    text = STORY + "      then: {email: applied}\n    - crm: {email: c@x.org}\n  then: {email: applied}\n"
    assert [] == differences(text)


def test_a_landing_of_nothing_is_a_difference_and_the_story_goes_on() -> None:
    """Another matrix may send nothing: that is what the author wants to see."""
    text = STORY + "    - lands: ehr\n    - lands: ehr\n    - crm: {email: c@x.org}\n      then: {email: applied}\n"
    assert [(6, "what lands here", "something under way", "-")] == differences(text)


def test_parts_that_are_not_named_are_null() -> None:
    """A dose that should not be sent would be a difference."""
    text = (
        "- name: x\n  given: {medication_plan: {drug: a, dose: b, status: c}}\n  when: [{after: 1m}]\n"
        "  current: {medication_plan: {drug: a, status: c}}\n"
    )
    assert [(4, "medication_plan", "{drug: a, status: c}", "{drug: a, dose: b, status: c}")] == differences(text)


# ------------------------------------------------------------------------------------------------ the command


def simulate(tmp_path: Path, text: str, *arguments: str) -> int:
    """Run the command on one file."""
    path = tmp_path / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return run([*arguments, "simulate", str(path), "--matrix", str(MATRIX_FILE)])


def test_a_run_as_expected_exits_with_0_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each scenario, and the sum last; the first line names the file, however long its path."""
    monkeypatch.setenv("COLUMNS", "500")
    assert ExitCode.OK == simulate(tmp_path, STORY + "  then: {email: applied}\n")
    lines = capsys.readouterr().out.splitlines()
    assert ["  ✓ a story", "1 scenario, 1 as expected"] == lines[1:]


def test_a_difference_exits_with_1_within_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected beside actual, however long."""
    monkeypatch.setenv("COLUMNS", "80")
    long = ", ".join(f"{name}: {'x' * 70}" for name in ("assigned_coach", "assigned_provider"))
    assert ExitCode.FAILED == simulate(tmp_path, STORY + f"  current: {{{long}}}\n")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "1 scenario, 0 as expected" == lines[-1]


def test_json_says_the_same_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on stdout; the exit code is the same."""
    assert ExitCode.FAILED == simulate(tmp_path, STORY + "  then: {email: rejected stale}\n", "--output", "json")
    data = json.loads(capsys.readouterr().out)
    assert (1, 0, "a story", 1, False) == (
        data["count"],
        data["as_expected"],
        data["scenarios"][0]["name"],
        data["scenarios"][0]["line"],
        data["scenarios"][0]["as_expected"],
    )
    assert [{"line": 5, "column": 10, "what": "email", "expected": "rejected stale", "actual": "applied"}] == (
        data["scenarios"][0]["differences"]
    )


def test_without_a_file_the_projects_own_scenarios_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without `--matrix` the matrix of the settings decides."""
    monkeypatch.chdir(ROOT)
    assert ExitCode.OK == run(["simulate"])
    last = capsys.readouterr().out.splitlines()[-1]
    count = len(load_corpus(CORPUS, MATRIX))
    assert f"{count} scenarios, {count} as expected" == last


def test_a_folder_without_scenarios_and_a_missing_file_are_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to run is no success."""
    assert ExitCode.USAGE == run(["simulate", str(tmp_path), "--matrix", str(MATRIX_FILE)])
    assert f"error: `{tmp_path}` holds no scenario files: they end in `.yaml`\n" == capsys.readouterr().err
    assert ExitCode.USAGE == run(["simulate", str(tmp_path / "none.yaml"), "--matrix", str(MATRIX_FILE)])


def test_files_of_a_folder_come_in_order(tmp_path: Path) -> None:
    """Whatever else lies there is none."""
    for name in ("b.yaml", "a.yml", "c.txt"):
        (tmp_path / name).touch()
    assert ["a.yml", "b.yaml"] == [path.name for path in files_of([tmp_path])]


# ------------------------------------------------------------------------------------------------ the schema


def test_the_schema_in_the_tree_is_what_the_words_say() -> None:
    """`matrix/schema/scenario.json` was written anew after the last change of the vocabulary."""
    path = ROOT / "matrix" / "schema" / "scenario.json"
    assert render() == path.read_text(encoding="utf-8"), "write `ownership_stream.scenarios.schema.render()` to it"


def test_the_schema_is_itself_one() -> None:
    """By the meta-schema of 2020-12."""
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_schema_accepts_the_corpus(path: Path) -> None:
    """An editor finds no fault with what runs."""
    plain = json.loads(json.dumps(YAML(typ="safe").load(path), default=str))
    assert [] == list(Draft202012Validator(schema()).iter_errors(plain))


@pytest.mark.parametrize(
    "text",
    [
        "- {nam: x, when: [{crm: {}}]}",
        "- {name: x}",
        "- {name: x, when: []}",
        "- {name: x, when: [{after: soon}]}",
        "- {name: x, when: [{crm: {op: remove}}]}",
        "- {name: x, when: [{crm: {position: early}}]}",
        "- {name: x, when: [{crm: {at: noon}}]}",
        "- {name: x, when: [{crm: {}}], sends: {crm: {email: a, kind: again}}}",
        "- {name: x, when: [{crm: {}}], queue: {email: {joined: many}}}",
    ],
)
def test_the_schema_finds_wrong_words(text: str) -> None:
    """What an editor can know is wrong, it says."""
    plain = json.loads(json.dumps(YAML(typ="safe").load(text), default=str))
    assert list(Draft202012Validator(schema()).iter_errors(plain))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("{case: email, by: support_lead}", "a resolution is one of `accept`, `keep`, `set`, `dismiss`"),
        ("{case: email, keep: true, dismiss: true}", "a resolution is one of `accept`, `keep`, `set`, `dismiss`"),
        ("{case: emial, keep: true}", "unknown field `emial`"),
        ("{case: email, keep: true, by: support}", "unknown escalation owner `support`"),
        ("{case: email, accept: lab}", "unknown system `lab`"),
        ("{keep: true}", "`case`"),
    ],
)
def test_a_resolution_that_is_none_is_named(said: str, error: str) -> None:
    """With its place, like every other mistake."""
    with pytest.raises(BadInputError) as raised:
        read(f"- {{name: x, when: [{{resolve: {said}}}]}}")
    assert any(error in problem for problem in raised.value.problems), raised.value.problems


def test_an_answer_that_there_is_not_is_named() -> None:
    """The nearest word is said."""
    with pytest.raises(BadInputError, match="`keptt`"):
        read("- {name: x, when: [{resolve: {case: email, keep: true}, answer: keptt}]}")


def test_another_answer_than_the_expected_one_is_a_difference() -> None:
    """Where no case is open there is none to decide."""
    said = "- {name: x, when: [{resolve: {case: email, keep: true, by: support_lead}, answer: kept}]}"
    assert [(1, "act 1: answer", "kept", "changed meanwhile closed")] == differences(said)
