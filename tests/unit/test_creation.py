"""Records made in systems that do not have them: the matrix's words, the decision, and what a writer is told."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deciding import Record, having
from matrices import PATIENT, compiled, patient
from ownership_stream import sources, wire
from ownership_stream.accounting import Counts, account, is_created
from ownership_stream.matrix.compile import compile_document
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.document import MatrixError, parse
from ownership_stream.matrix.show import page
from ownership_stream.model import Change, Decision, Send
from ownership_stream.scenarios.compare import compare
from ownership_stream.scenarios.parse import load_scenarios
from ownership_stream.scenarios.play import play
from ownership_stream.scenarios.story import Scenario
from ownership_stream.sources import Mapping, Writer
from ownership_stream.sources.mapping import RecordRule
from source_kit import EHR, ehr_event, from_ehr, one

NEVER = "{name: EHR, create: never}"


def making(stage: str = "in_care") -> Matrix:
    """The shipped matrix, in which the EHR's charts are made at a stage."""
    text = PATIENT.read_text(encoding="utf-8")
    assert NEVER in text
    return compile_document(
        parse(text.replace(NEVER, f"{{name: EHR, create: at {stage}}}").encode(), "patient.yaml")
    ).matrix


MATRIX = making()
SCENARIOS = load_scenarios(Path(__file__).parent / "creation.yaml", MATRIX)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_a_record_is_made_as_the_scenarios_say(scenario: Scenario) -> None:
    """The stories of `creation.yaml`."""
    assert [] == [str(one) for one in compare(MATRIX, scenario, play(MATRIX, scenario))]


# ------------------------------------------------------------------------------------------------ the matrix's words


def test_a_stage_means_itself_and_what_no_way_reaches_but_through_it() -> None:
    """A lead who was disqualified and comes back goes through it again."""
    assert {"ehr": {"in_care", "paused", "discharged"}} == MATRIX.creates
    assert {"intake_done", "in_care", "paused", "discharged"} == making("intake_done").creates["ehr"]
    assert set(MATRIX.stages.map) == making("new_lead").creates["ehr"]
    assert {} == patient().creates


WRONG = [
    ("create: at in_cure", 36, "unknown stage `in_cure`: did you mean `in_care`?"),
    ("create: in_care", 36, "`create` is `never`, or `at ` and a stage, not `in_care`"),
    ("made: never", 28, "unknown key `made` in system `ehr`: use `name` or `create`"),
]


@pytest.mark.parametrize(("said", "column", "problem"), WRONG)
def test_what_create_cannot_mean_is_refused_at_its_place(said: str, column: int, problem: str) -> None:
    """With the nearest right word where there is one."""
    with pytest.raises(MatrixError) as caught:
        compiled(("ehr: EHR", f"ehr: {{name: EHR, {said}}}"))
    (found,) = caught.value.problems
    assert (str(column), f" {problem}") == tuple(found.split(":", 3)[2:])


def test_a_system_without_more_words_is_its_name_alone() -> None:
    """The short form stays."""
    matrix = compiled().matrix
    assert ({}, "EHR") == (matrix.creates, matrix.systems["ehr"])


def test_the_page_says_when_a_record_is_made() -> None:
    """For those who open charts by hand today."""
    text = PATIENT.read_text(encoding="utf-8").replace(NEVER, "{name: EHR, create: at in_care}")
    systems = page(compile_document(parse(text.encode(), "m.yaml"))).sections[2]
    assert ("EHR", "by us, at in_care: once the stage is in_care, paused or discharged") == systems.rows[0]


def test_a_mapping_whose_rows_carry_no_link_is_refused() -> None:
    """Nothing could tell that the row which comes back is this record's."""
    text = (PATIENT.parent / "sources" / "ehr.yaml").read_text(encoding="utf-8")
    link = 'record: {column: crm_id as salesforce id, else: "ehr:<key>"}'
    assert link in text
    text = text.replace(link, "record: key").replace("ignored: [created_at]", "ignored: [created_at, crm_id]")
    assert sources.load_document(parse(text.encode(), "ehr.yaml"), patient()).mapping.system == "ehr"
    with pytest.raises(MatrixError) as caught:
        sources.load_document(parse(text.encode(), "ehr.yaml"), MATRIX)
    assert (
        "the matrix has records made here, `create: at in_care`: a row that comes back names its record by a link "
        "`column`, not by its key"
    ) in caught.value.problems[0]


def test_what_stands_in_a_table_that_is_only_read_is_not_sent_to_be_made() -> None:
    """A person sets it by hand, once the record is there: *close* says so."""
    record, decision = made(having(MATRIX, "email", read_only=frozenset({"ehr"})))
    assert {"care_stage": "active"} == decision.sends[0].values
    record.row("ehr", compared={"care_stage": "active"}, op="c")
    assert {"email": "unwritable"} == record.cases()


# ------------------------------------------------------------------------------------------------ what is counted


def made(matrix: Matrix = MATRIX) -> tuple[Record, Decision]:
    """A record that is being made in the EHR, and the decision that had it made."""
    record = Record(matrix)
    record.row("crm", {"care_stage": "intake_done", "email": "a@x.org"}, op="c", by="growth_ops")
    return record, record.row("crm", {"care_stage": "in_care"}, by="growth_ops", reason="signed")


def test_a_send_that_makes_a_record_names_no_key_and_no_reason() -> None:
    """The reason came with one field, and the send is of all."""
    _, decision = made()
    (send,) = decision.sends
    assert ("create", "", None) == (send.kind, send.key, send.reason)


def test_a_row_that_we_made_is_no_native_create_but_is_sighted() -> None:
    """Section 5, figure 1; and yet a person who is registered there once more must be found beside it."""
    record, decision = made()
    before, counts = record.state, Counts()
    landed = Change(
        id="c9",
        record="r1",
        system="ehr",
        row="ehr/patient/1",
        op="c",
        key="ehr-1",
        fields={"email": "a@x.org"},
        compared={"care_stage": "active"},
        marker=decision.state.systems["ehr"].outstanding["email"][-1].change_id,
        received=record.now,
    )
    decision = record.decide(landed)
    account(counts, MATRIX, before, landed, decision)
    assert {"echo"} == {one.outcome for one in decision.outcomes}
    assert 0 == counts["records_created", "ehr"]
    assert is_created(before, landed, decision)


# ------------------------------------------------------------------------------------------------ what a writer is told

CHANGE = one(from_ehr(ehr_event()))


def record_to_make(mapping: Mapping) -> wire.Message:
    """The apply record of a row that is to be made."""
    values: dict[str, Any] = {"legal_name": {"family": "Doe", "given": "Ann"}, "email": "a@x.org"}
    send = Send("ehr", "", values, "create", 3, 2)
    change = msgspec.structs.replace(CHANGE, record="0032X00002QU10JQAT")
    return wire.apply_record(Writer(mapping, MATRIX), send, change, rules=[], revision="r", at=7)


def test_a_row_to_make_is_addressed_by_its_link() -> None:
    """It has no key of its own system yet; the system gives it one."""
    message = record_to_make(EHR)
    assert {"crm_id": "0032X00002QU10JQAT"} == json.loads(message.key or b"")
    said = json.loads(message.value or b"")
    assert ("c", "create", None) == (said["op"], said["sync"]["kind"], said["before"])
    assert {
        "crm_id": "0032X00002QU10JQAT",
        "family_name": "Doe",
        "given_name": "Ann",
        "email": "a@x.org",
        "sync_change_id": CHANGE.id,
    } == said["after"]
    assert ["email", "family_name", "given_name"] == sorted(said["sync"]["changed_fields"])


def test_a_sink_finds_the_link_as_the_key_of_a_row_to_make() -> None:
    """`primary.key.mode=record_key` takes the columns of the key's schema."""
    message = record_to_make(replace(EHR, apply_form="json with schema"))
    key = json.loads(message.key or b"")
    assert [("crm_id", "string", False)] == [
        (one["field"], one["type"], one["optional"]) for one in key["schema"]["fields"]
    ]
    value = json.loads(message.value or b"")
    after = next(one for one in value["schema"]["fields"] if one["field"] == "after")
    assert set(value["payload"]["after"]) == {one["field"] for one in after["fields"]}


def test_where_rows_carry_no_link_none_can_be_made() -> None:
    """The mapping is refused before; this is the last line."""
    table = replace(EHR.primary, record=RecordRule())
    mapping = replace(EHR, tables={EHR.primary.name: table})
    with pytest.raises(KeyError, match="no row of `ehr` carries a link"):
        record_to_make(mapping)
