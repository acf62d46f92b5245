"""The closed loop on paper: its scenes and storms end as they must, and its judge sees each thing that goes wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from closed_loop.forms import documented_converter
from closed_loop.judge import Judge
from closed_loop.paper import PaperLoop
from closed_loop.people import (
    MISLINKED,
    NEWCOMER,
    STRANGER,
    Scene,
    contact,
    in_crm,
    in_ehr,
    newcomer,
    scenes,
    storm,
)
from closed_loop.seen import Seen
from closed_loop.site import SIDES, SINK_USER, mapping_of
from matrices import patient
from ownership_stream import sources
from ownership_stream.sources import Mapping as SourceMapping
from ownership_stream.sources.mapping import UNAVAILABLE

PATIENT = contact(25)


@pytest.fixture(scope="module")
def mappings(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, SourceMapping]:
    """Both systems' mappings as the loop uses them."""
    found, folder = {}, tmp_path_factory.mktemp("sources")
    for side in SIDES.values():
        path: Path = folder / f"{side.name}.yaml"
        path.write_text(mapping_of(side, "json with schema", marker=True), encoding="utf-8")
        found[side.name] = sources.load(path, patient())
    return found


@pytest.fixture
def loop(mappings: Mapping[str, SourceMapping]) -> PaperLoop:
    """A loop at its beginning."""
    return PaperLoop(patient(), mappings)


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: str(scene.number))
def test_a_scene_ends_as_it_says(scene: Scene, loop: PaperLoop) -> None:
    """In both tables; nothing else differs and nothing else waits."""
    for edit in scene.edits:
        loop.edit(edit)
    for system, key, expected in (("ehr", scene.number, scene.ehr), ("crm", contact(scene.number), scene.crm)):
        assert expected == {column: loop.rows[system][key][column] for column in expected}
    judge = Judge(loop.seen())
    assert [] == judge.findings()
    about = {field: why for (record, _, field), why in judge.listed.items() if record == contact(scene.number)}
    assert set(scene.cases) == judge.replay.states[contact(scene.number)].cases.keys()
    assert set(scene.left) == {field for field, why in about.items() if why != "case"}


def test_a_newcomer_is_given_what_its_system_may_know(loop: PaperLoop) -> None:
    """A row that appears in the EHR: the name comes, the lead's source only as its group."""
    loop.insert("ehr", newcomer())
    row = loop.rows["ehr"][NEWCOMER]
    assert (f"Doe {NEWCOMER}", "paid", "prospect") == (row["family_name"], row["lead_source_group"], row["care_status"])
    assert "google_ads" not in row.values()
    assert [] == Judge(loop.seen()).findings()


def test_a_chart_that_is_linked_to_somebody_else_stops_them_too_until_it_is_linked_back(loop: PaperLoop) -> None:
    """Nothing of it reaches the stranger's contact, whose own edits wait; what the chart says goes on being known."""
    loop.edit(in_ehr(MISLINKED, "clerk/1", crm_id=contact(STRANGER)))
    loop.edit(in_ehr(MISLINKED, "clerk/1", weight_kg=70.5))
    loop.edit(in_crm(STRANGER, "support/eve", email="late@example.org"))
    seen = loop.seen()
    assert [] == Judge(seen).findings()
    chart, stranger = (seen.states[contact(number)] for number in (MISLINKED, STRANGER))
    assert {":link": "link", "weight": "link"} == {name: case.reason for name, case in chart.cases.items()}
    assert {":link": "link", "email": "link"} == {name: case.reason for name, case in stranger.cases.items()}
    assert (70.5, str(MISLINKED)) == (chart.systems["ehr"].shown["weight"], chart.systems["ehr"].key)
    assert str(STRANGER) == stranger.systems["ehr"].key
    assert f"p{STRANGER}@example.org" == loop.rows["ehr"][STRANGER]["email"]


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_storm_ends_in_agreement(loop: PaperLoop, seed: int) -> None:
    """Whatever people of both systems do: every difference is explained, and each thing that is to be shown happens."""
    for edit in chain.from_iterable(zip(storm(seed, "ehr", 120), storm(seed, "crm", 120), strict=True)):
        loop.edit(edit)
    judge = Judge(loop.seen())
    assert [] == judge.findings()
    for what in ("placeholders read", "nulls sent", "sinks: echo", "restored", "refused: rejected", "refused: queued"):
        assert judge.counts[what] > 0, what


# ---------------------------------------------------------------------------------------------------- the judge


def _row(seen: Seen, system: str, **columns: Any) -> Seen:
    key = 25 if system == "ehr" else PATIENT
    return replace(seen, rows={**seen.rows, system: {**seen.rows[system], key: {**seen.rows[system][key], **columns}}})


def _by_sinks(seen: Seen) -> Seen:
    """All writes are the sinks'."""
    return replace(seen, accounts={name: dict.fromkeys(found, SINK_USER) for name, found in seen.accounts.items()})


def _state_lost(seen: Seen) -> Seen:
    return replace(seen, states={record: state for record, state in seen.states.items() if record != PATIENT})


def _unseen_send(seen: Seen) -> Seen:
    return replace(seen, applies={**seen.applies, "crm": seen.applies["crm"][1:]})


def _unheard(seen: Seen) -> Seen:
    """Of a row that came back from its key's home."""
    return replace(seen, changes=[one for one in seen.changes if one.record != PATIENT or not one.hops])


def _uncalled(seen: Seen) -> Seen:
    """As if the home had never been asked."""
    return replace(seen, changes=[one for one in seen.changes if one.record != "ehr:25"])


def _sent(seen: Seen, **after: Any) -> Seen:
    [first, *others] = seen.applies["crm"]
    wrong = msgspec.structs.replace(first, after={**first.after, **after})
    return replace(seen, applies={**seen.applies, "crm": [wrong, *others]})


def _untold(seen: Seen) -> Seen:
    return replace(seen, accounts={**seen.accounts, "ehr": {**seen.accounts["ehr"], 9_999: "postgres"}})


BREAKS: dict[str, tuple[Callable[[Seen], Seen], str]] = {
    "a record that could not be read": (lambda seen: replace(seen, letters=1), "could not be read"),
    "a transaction that no connector told": (_untold, "were never told"),
    "a state that a lane lost": (_state_lost, "the lane's state is another"),
    "a write that never reached its topic": (_unseen_send, "stand on the apply topics"),
    "a change that never reached another record": (_unheard, "a `row` that another record sent there was lost"),
    "a change that no record sent": (_uncalled, "a `row` that no record sent there is on the log"),
    "a table that shows something else": (
        lambda seen: _row(seen, "crm", last_name="Moe"),
        "is not what the stream believes",
    ),
    "a placeholder in a table": (lambda seen: _row(seen, "crm", street=UNAVAILABLE), "holds '__debezium"),
    "a column's default in a table": (lambda seen: _row(seen, "ehr", member_id="by-default"), "holds 'by-default'"),
    "a default on its way": (lambda seen: _sent(seen, email="by@default.invalid"), "was sent 'by@default.invalid'"),
    "a default date on its way": (lambda seen: _sent(seen, birth_date=-25_202), "was sent -25202"),
    "an own write that was taken for somebody's": (_by_sinks, "our own write of"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_judge_sees(what: str, loop: PaperLoop) -> None:
    """Broken on purpose, after edits that were applied, rejected and restored."""
    for edit in storm(1, "crm", 40):
        loop.edit(edit)
    sound = loop.seen()
    assert [] == Judge(sound).findings()
    break_, finding = BREAKS[what]
    assert any(finding in line for line in Judge(break_(sound)).findings()), Judge(break_(sound)).findings()


def test_the_judge_sees_a_difference_that_nothing_explains(loop: PaperLoop) -> None:
    """A write that was sent and never landed."""
    for edit in storm(1, "crm", 10):
        loop.edit(edit)
    loop._land = lambda *_: []  # type: ignore[method-assign]  # the sink has gone
    loop.edit(scenes()[1].edits[0])
    [_, finding] = Judge(loop.seen()).findings()
    assert "C-0002: the crm shows another `date_of_birth` than it should: under way" == finding


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_crashed_sink_writes_again_is_nobody_s_edit(loop: PaperLoop, number: int) -> None:
    """What somebody typed since stands in both systems, whether the sink writes its last order again or several."""
    first, second = (in_ehr(25, "clerk/1", email=f"{word}@example.org") for word in ("one", "two"))
    for edit in (first, second, in_crm(25, "support/eve", email="three@example.org")):
        loop.edit(edit)
    for order in loop.written["crm"][-number:]:
        loop.write_again(order)
    assert ["three@example.org"] * 2 == [loop.rows["ehr"][25]["email"], loop.rows["crm"][PATIENT]["email"]]
    judge = Judge(loop.seen())
    assert [] == judge.findings()
    assert number == judge.counts["sinks, written again: echo late"]


def test_the_loop_in_avro_runs_by_the_settings_that_the_page_gives() -> None:
    """Each by its own name, however they share rows of the table."""
    every = dict.fromkeys(["as-confluent", "auto-register", "find-latest"], "true")
    assert {"headers.enabled": "false", "use-id": "contentId", **every} == documented_converter()
