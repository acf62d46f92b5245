"""`ownership-stream conflicts`: what people see of open cases, what they ask, and how the command ends."""

import csv
import json
from time import monotonic
from typing import Any

import msgspec
import pytest

from kept_kit import Kept
from ownership_stream.cli import run
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.model import Change
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire import JSON, Resolution
from queue_kit import ANN, BEN, CIM, DOB, at_work, begin_answers, case_of, queue, resolutions_of
from source_kit import MATRIX
from step_kit import DecideLane, row

SECONDS = 60.0


@pytest.fixture
def kept(servers: Embedded, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """An application of its own: no colours, its settings in the environment, and nobody's name."""
    kept = Kept(servers)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("OWNERSHIP_OUTPUT", raising=False)
    kept.settle(monkeypatch)
    monkeypatch.setenv("OWNERSHIP_TOPIC_RESOLUTIONS", resolutions_of(kept))
    monkeypatch.setenv("OWNERSHIP_ACTOR", "Ida")
    begin_answers(kept)
    return kept


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: ExitCode = ExitCode.OK) -> Any:
    """What programs get."""
    found = run(["--output", "json", "conflicts", *arguments])
    out, err = capsys.readouterr()
    assert code == found, err
    return json.loads(out)


def asks(kept: Kept, number: int) -> list[Any]:
    """The last control events on the log, so many."""
    until = monotonic() + SECONDS
    messages = kept.read(kept.settings.topic_changes, 7 + number)
    assert monotonic() < until
    found = [JSON.read_change(message.value() or b"") for message in messages]
    return [change for change in found if change.ask is not None]


# ------------------------------------------------------------------------------------------------ what is seen


def test_cases_are_listed_by_what_is_due_first_without_values(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with whose it is and why, its record by its hash."""
    queue(kept)
    found = told(capsys, "list")["cases"]
    assert [("medical_lead", "unattested"), ("clinical_ops", "clear"), ("growth_ops", "stage_unknown")] == [
        (one["owner"], one["reason"]) for one in found
    ]
    key = hash_key(kept.settings.hash_key)
    assert [f"#{hash_id(key, record)[:8]}" for record in (CIM, BEN, ANN)] == [one["record"] for one in found]
    assert all(one["sentence"] and one["advice"] and one["edition"] and one["masked"] for one in found)
    assert ExitCode.OK == run(["conflicts", "list"])
    out, err = capsys.readouterr()
    assert ["medication_plan", "date_of_birth", "care_stage"] == [
        word for line in out.splitlines()[1:] for word in line.split() if "_" in word and word in MATRIX.fields
    ]
    assert "" == err
    assert not [word for word in ("850", "500", DOB, "nurture", ANN) if word in out + json.dumps(found)]


@pytest.mark.parametrize(
    ("filters", "fields"),
    [
        (("--owner", "clinical_ops"), ["date_of_birth"]),
        (("--field", "care_stage"), ["care_stage"]),
        (("--field", "record"), []),
        (("--reason-of-case", "unattested"), ["medication_plan"]),
        (("--system", "crm"), ["care_stage"]),
        (("--assigned", ""), ["medication_plan", "date_of_birth", "care_stage"]),
        (("--assigned", "Ida"), []),
        (("--due", "0"), ["medication_plan", "date_of_birth", "care_stage"]),
        (("--limit", "1"), ["medication_plan"]),
    ],
)
def test_cases_are_chosen_by_filters(
    kept: Kept, capsys: pytest.CaptureFixture[str], filters: tuple[str, ...], fields: list[str]
) -> None:
    """By owner, field, reason, system, person and deadline; the clock of the tests is long past all of them."""
    queue(kept)
    assert fields == [one["field"] for one in told(capsys, "list", *filters)["cases"]]


def test_in_observe_mode_cases_are_listed_too(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is due there, so all states are read."""
    queue(kept)
    monkeypatch.setenv("OWNERSHIP_MODE", "observe")
    assert 3 == len(told(capsys, "list")["cases"])


@pytest.mark.parametrize("filters", [("--owner", "clinical_op"), ("--field", "date_of_brith"), ("--system", "lab")])
def test_a_word_that_the_matrix_does_not_have_is_refused(
    kept: Kept, capsys: pytest.CaptureFixture[str], filters: tuple[str, str]
) -> None:
    """With the nearest one that it has, and not by an empty list."""
    assert kept
    assert ExitCode.USAGE == run(["conflicts", "list", *filters])
    assert f"`{filters[1]}`" in capsys.readouterr().err


def test_a_case_is_shown_with_what_each_choice_sends_where(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Masked part by part: that there is a dose, not which."""
    lane = queue(kept)
    page = told(capsys, "show", case_of(lane, CIM))
    assert {"drug": "•••", "dose": "•••", "schedule": None, "status": "•••"} == page["current"]
    assert [("ehr", True, False), ("crm", False, True)] == [
        (side["system"], side["present"], side["agrees"]) for side in page["systems"]
    ]
    assert [("accept", "ehr", []), ("keep", "", ["ehr"])] == [
        (one["action"], one["system"], one["sends"]) for one in page["choices"]
    ]
    assert ExitCode.OK == run(["conflicts", "show", case_of(lane, CIM)])
    out = capsys.readouterr().out
    assert "--keep, sent to EHR" in out
    assert "waits for Medical Lead" in out
    assert "850" not in out


def test_values_are_shown_on_request_and_that_is_written_down(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """In the log of changes, with the name of who saw them."""
    lane = queue(kept)
    case = case_of(lane, CIM)
    page = told(capsys, "show", case, "--reveal")
    assert "500 mg" == page["current"]["dose"]
    [change] = asks(kept, 1)
    assert ("comment", "reveal", case, "Ida", "person") == (
        change.kind, change.ask.action, change.ask.case, change.actor, change.origin,
    )  # fmt: skip


def test_a_case_that_is_not_open_is_said_to_be_none(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """With where to look."""
    queue(kept)
    assert ExitCode.USAGE == run(["conflicts", "show", "x:email"])
    assert "error: no open case `x:email`: see `conflicts list`\n" == capsys.readouterr().err


def test_all_cases_are_exported(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON lines, or for a spreadsheet."""
    queue(kept)
    assert ExitCode.OK == run(["conflicts", "export"])
    assert 3 == len([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert ExitCode.OK == run(["conflicts", "export", "--csv", "--owner", "growth_ops"])
    [line] = csv.DictReader(capsys.readouterr().out.splitlines())
    assert ("care_stage", "growth_ops", "2026") == (line["field"], line["owner"], line["due"][:4])


# ------------------------------------------------------------------------------------------------ what is decided


def test_a_case_is_decided_and_the_answer_is_waited_for(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """By the lane, from its log; the queue is one shorter then."""
    with at_work(kept, queue(kept)) as lane:
        case = case_of(lane, CIM)
        edition = told(capsys, "show", case)["edition"]
        said = ("--keep", "--reason", "mistyped", "--role", "medical_lead", "--edition", edition)
        [answer] = told(capsys, "resolve", case, *said)["answers"]
        assert (case, "kept", "") == (answer["case"], answer["answer"], answer["reason"])
        assert {} == lane.state(CIM).cases
    assert 2 == len(told(capsys, "list")["cases"])


def test_a_value_is_read_as_its_field_is_written(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """A date as a date, parts as JSON; what is none is refused before anything is written."""
    with at_work(kept, queue(kept)) as lane:
        ben, cim = case_of(lane, BEN), case_of(lane, CIM)
        assert ExitCode.USAGE == run(["conflicts", "resolve", ben, "--set", "1981/01/02"])
        assert "error: `--set` has no value of `date_of_birth`" in capsys.readouterr().err
        assert ExitCode.USAGE == run(["conflicts", "resolve", cim, "--set", "750 mg"])
        assert 'give `{"part": …}`' in capsys.readouterr().err
        told(capsys, "resolve", ben, "--set", " 1981-01-02", "--reason", "passport", "--role", "clinical_ops")
        assert "1981-01-02" == lane.state(BEN).fields["date_of_birth"].value
        dose = ("--set", '{"dose": "750  mg"}', "--reason", "Dr. Roe", "--role", "medical_lead")
        told(capsys, "resolve", cim, *dose)
        value = lane.state(CIM).fields["medication_plan"].value
        assert ("metformin", "750 mg") == (value["drug"], value["dose"]) if isinstance(value, dict) else None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(("--reason", "r", "--role", "growth_ops"), "not_the_owner", id="by role"),
        pytest.param(("--role", "medical_lead"), "reason_required", id="without a reason"),
        pytest.param(("--reason", "r"), "not_the_owner", id="as nobody"),
    ],
)
def test_a_refused_resolution_is_said_with_its_words(
    kept: Kept, capsys: pytest.CaptureFixture[str], said: tuple[str, ...], reason: str
) -> None:
    """Exit code 3: nothing was done."""
    with at_work(kept, queue(kept)) as lane:
        case = case_of(lane, CIM)
        [answer] = told(capsys, "resolve", case, "--keep", *said, code=ExitCode.PROBLEMS)["answers"]
        assert ("refused", reason) == (answer["answer"], answer["reason"])
        assert answer["sentence"]
        assert case == case_of(lane, CIM)


def test_a_case_that_changed_since_it_was_read_is_not_decided(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Here seen before anything is written; what changes later the lane sees."""
    lane = queue(kept)
    case = case_of(lane, CIM)
    edition = told(capsys, "show", case)["edition"]
    plan = {"drug": "metformin", "dose": "900 mg", "schedule": None, "status": "active"}
    lane.decide(row(CIM, 2, "ehr", {"medication_plan": plan}, "nurse"))
    kept.keep(lane.stored)
    assert ExitCode.PROBLEMS == run(["conflicts", "resolve", case, "--keep", "--edition", edition])
    assert "error: the case was changed since it was read" in capsys.readouterr().err


def test_where_nobody_answers_the_command_says_so(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5: it is in the log, and is decided when a worker runs."""
    lane = queue(kept)
    said = ("--keep", "--reason", "r", "--role", "medical_lead", "--wait", "0.3")
    [answer] = told(capsys, "resolve", case_of(lane, CIM), *said, code=ExitCode.INCOMPLETE)["answers"]
    assert answer["answer"] is None
    [change] = asks(kept, 1)
    assert ("resolve", "keep", "medical_lead") == (change.kind, change.ask.action, change.role)


def test_many_cases_are_decided_by_filters_after_a_look(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """What each would send where; then one event for each, asked for by `--yes`."""
    with at_work(kept, queue(kept)) as lane:
        said = ("--keep", "--reason", "r", "--role", "medical_lead")
        plan = told(capsys, "resolve", "--due", "0", *said, "--dry-run")["plan"]
        assert [("kept", ["ehr"]), ("kept", ["ehr"]), ("refused", [])] == [
            (one["answer"], list(one["sends"])) for one in plan
        ]
        assert ExitCode.USAGE == run(["conflicts", "resolve", "--due", "0", *said])
        assert "3 cases would be decided: confirm with `--yes`, or look with `--dry-run`" in capsys.readouterr().err
        answers = told(capsys, "resolve", "--due", "0", *said, "--yes", code=ExitCode.PROBLEMS)["answers"]
        assert ["kept", "kept", "refused"] == [one["answer"] for one in answers]
        assert ({}, {}) == (lane.state(BEN).cases, lane.state(CIM).cases)


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("--keep",),
        ("x", "--owner", "growth_ops", "--keep"),
        ("x", "--keep", "--dismiss"),
        ("x", "--link", "--dismiss"),
        ("x", "--keep", "--other", "y"),
        ("x",),
        ("x", "--set", "a", "--clear"),
        ("x", "--keep", "--role", "nobody"),
    ],
)
def test_what_is_not_said_clearly_is_not_done(
    kept: Kept, capsys: pytest.CaptureFixture[str], said: tuple[str, ...]
) -> None:
    """Cases or filters, one action, a role of the matrix."""
    assert kept
    assert ExitCode.USAGE == run(["conflicts", "resolve", *said])
    assert capsys.readouterr().err.startswith("error: ")


def probably(kept: Kept) -> DecideLane:
    """Ann's contact, made after Ben's, is probably the same person's."""
    said = {"id": "m-1", "record": ANN, "kind": "match", "system": "crm", "about": "email", "other": BEN}
    return kept.decided(
        row(BEN, 0, "crm", {}, "growth_ops", op="c"),
        row(ANN, 0, "crm", {}, "growth_ops", op="c"),
        msgspec.convert(said, Change),
    )


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(("--link",), ("linked", "duplicate"), id="link"),
        pytest.param(("--link", "--other", BEN), ("linked", "duplicate"), id="link to it by its id"),
        pytest.param(("--dismiss",), ("dismissed", "duplicate"), id="dismiss"),
    ],
)
def test_a_probable_duplicate_is_linked_or_dismissed(
    kept: Kept, capsys: pytest.CaptureFixture[str], said: tuple[str, ...], answer: tuple[str, str]
) -> None:
    """By the owner of the case, with a reason; `show` says that both can be done."""
    with at_work(kept, probably(kept)) as lane:
        case = case_of(lane, ANN)
        assert {"link", "dismiss"} == {choice["action"] for choice in told(capsys, "show", case)["choices"]}
        owner = ("--reason", "called both", "--role", lane.state(ANN).cases[":duplicate"].owner)
        [found] = told(capsys, "resolve", case, *said, *owner)["answers"]
        assert answer == (found["answer"], found["reason"])
        assert found["sentence"]


def test_a_record_that_does_not_wait_in_the_case_is_not_linked(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and the case stays as it is."""
    with at_work(kept, probably(kept)) as lane:
        case, owner = case_of(lane, ANN), lane.state(ANN).cases[":duplicate"].owner
        said = ("--link", "--other", CIM, "--reason", "r", "--role", owner)
        [found] = told(capsys, "resolve", case, *said, code=ExitCode.PROBLEMS)["answers"]
        assert ("refused", "not_named") == (found["answer"], found["reason"])
        assert case == case_of(lane, ANN)


def test_a_case_is_assigned_and_commented(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """The list shows who has it; a comment stands with the resolutions."""
    with at_work(kept, queue(kept)) as lane:
        case = case_of(lane, CIM)
        [answer] = told(capsys, "assign", case, "Dr. Roe", "--role", "medical_lead")["answers"]
        assert "assigned" == answer["answer"]
        assert [case] == [one["case"] for one in told(capsys, "list", "--assigned", "Dr. Roe")["cases"]]
        assert ExitCode.OK == run(["conflicts", "show", case])
        assert "assigned to Dr. Roe" in capsys.readouterr().out
        assert ExitCode.OK == run(["conflicts", "comment", case, "called the ward"])
        assert "commented" in capsys.readouterr().out
        answers = [answer for answer in resolutions(lane) if answer.action == "comment"]
        assert [("Ida", "called the ward", case)] == [(one.actor, one.why, one.case_id) for one in answers]


def resolutions(lane: DecideLane) -> list[Resolution]:
    """What a lane put out on the topic of resolutions."""
    return [
        JSON.read_resolution(output.value or b"") for output in lane.outputs if output.topic == "ownership.resolutions"
    ]
