"""The weekly report: a hand-made fortnight whose figures are known, and a log decided again for it."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrices import patient
from ownership_stream.errors import BadInputError
from ownership_stream.model import Ask, Change
from ownership_stream.regimes import Regime
from ownership_stream.resolve import edition
from ownership_stream.review import Ledger, Report, Week, as_html, as_markdown, charts, report
from ownership_stream.review.logs import Retold
from ownership_stream.review.page import change, shown
from ownership_stream.review.weekly import DOMINATES, DOMINATES_LEAST, FALL, OLDER, RISE, RISE_LEAST, percentile
from ownership_stream.verify.again import UndecidableError
from ownership_stream.wire import JSON, Conflict
from step_kit import DecideLane, decide_step, log_record, row

ROOT = Path(__file__).resolve().parents[2]
MATRIX = patient()
THIS, LAST = Week(2026, 47), Week(2026, 46)
HOUR = 3_600_000
DAY = 24 * HOUR
Counts = Counter[tuple[str, ...]]


def named(known: str) -> str:
    """Stands for the keyed hash."""
    return f"hash{len(known)}"


# ---------------------------------------------------------------------------------------------------- weeks


def test_weeks_are_iso_weeks_in_utc() -> None:
    """Monday to Sunday; the first and the last of a year belong to where most of their days are."""
    assert THIS == Week.parse("2026-W47")
    assert ("2026-11-16", "2026-11-22") == (str(THIS.monday), str(THIS.sunday))
    assert 7 * DAY == THIS.ends - THIS.begins
    assert THIS == Week.of(THIS.begins) == Week.of(THIS.ends - 1)
    assert LAST == THIS.before() == Week.of(THIS.begins - 1)
    assert Week(2026, 53) == Week(2027, 1).before()
    assert "2026-W47" == str(THIS)


@pytest.mark.parametrize("text", ["2026-47", "2026-W54", "2025-W53", "W47", "2026-W00", "last"])
def test_what_is_no_week_is_said(text: str) -> None:
    """In the user's own word."""
    with pytest.raises(BadInputError, match=f"`{text}` is no week: write year and ISO week, as in `2026-W47`"):
        Week.parse(text)


# -------------------------------------------------------------------------------------- a hand-made fortnight


def told(at: int, **said: Any) -> Conflict:
    """A conflict record: a write of a phone number that owner policy rejected, unless more is said."""
    base: dict[str, Any] = {
        "event": "decided", "record": "r", "field": "phone", "label": "Phone", "outcome": "rejected",
        "reason": "owner_policy", "sentence": "the CRM owns Phone", "advice": "ask the CRM", "at": at, "received": at,
        "system": "ehr", "systems": ("ehr", "crm"), "proposed": "+12125550100", "current": "+12125550199",
        "actor": "zebedee", "role": "integration", "change_id": "c", "mode": "enforce", "revision": "x",
    }  # fmt: skip
    return Conflict(**base | said)


def case(at: int, event: str, number: int, owner: str = "clinical_ops", **said: Any) -> Conflict:
    """Something that happened to a case of a date of birth."""
    base = {"event": event, "field": "date_of_birth", "outcome": "queued", "reason": "clear"}
    return told(at, **{**base, "case_id": f"case{number}", "owner": owner, "opened": at, "due": at + 4 * HOUR, **said})


LAST_WEEK: Counts = Counter(
    {
        ("records_created", "crm"): 20,
        ("probable_duplicates", "crm"): 5,
        ("conflicts", "phone", "rejected"): 10,
        ("overrides", "legal_name", "override: provider in ehr"): 8,
        ("write_attempts", "phone", "rejected", "owner_policy", "ehr", "automation"): 10,
        ("write_attempts", "email", "applied", "", "crm", "person"): 90,
        ("queue_closed", "clinical_ops", "resolved"): 1,
        ("queue_closed_seconds", "clinical_ops", "resolved"): 1_800,
    }
)
THIS_WEEK: Counts = Counter(
    {
        ("records_created", "crm"): 30,
        ("records_created", "ehr"): 10,
        ("probable_duplicates", "crm"): 6,
        ("probable_duplicates_dismissed", "crm"): 2,
        ("conflicts", "phone", "rejected"): 60,
        ("conflicts", "email", "queued"): 4,
        ("conflicts", "email", "applied"): 3,
        ("conflict_repeats", "email"): 5,
        ("overrides", "legal_name", "override: provider in ehr"): 12,
        ("overrides", "legal_name", "resolution"): 1,
        ("write_attempts", "phone", "rejected", "owner_policy", "ehr", "automation"): 60,
        ("write_attempts", "phone", "rejected", "stale", "ehr", "automation"): 10,
        ("write_attempts", "email", "applied", "", "crm", "person"): 130,
        ("queue_closed", "clinical_ops", "resolved"): 3,
        ("queue_closed_seconds", "clinical_ops", "resolved"): 10_800,
        ("queue_closed", "support_lead", "resolved"): 1,
        ("queue_closed_seconds", "support_lead", "resolved"): 7_200,
        ("queue_closed", "support_lead", "converged"): 6,
        ("queue_closed_seconds", "support_lead", "converged"): 99,
    }
)


def fortnight() -> Ledger:
    """Two lanes and two weeks: what was counted, and what became of a few cases."""
    ledger = Ledger([LAST, THIS], now=THIS.ends + DAY)
    ledger.begin()
    in_last = THIS.begins - 10 * HOUR
    opened = [(case(in_last, "opened", 1), False), (case(in_last + 8 * HOUR, "opened", 2), False)]
    ledger.settle(in_last, LAST_WEEK, opened, "enforce")
    ledger.settle(in_last, Counter({("conflicts", "email", "queued"): 100}), [], "observe")
    in_this = THIS.begins + DAY
    ledger.settle(
        in_this,
        THIS_WEEK,
        [
            (told(in_this, record="r"), False),
            (told(in_this, record="r"), False),
            (told(in_this, record="s", actor=None, role=None), False),
            (told(in_this, record="t"), True),
            (case(in_this, "resolved", 1, opened=in_last), False),
            (case(in_this, "escalated", 2, owner="medical_lead", opened=in_last + 8 * HOUR), False),
        ],
        "enforce",
    )
    ledger.end()
    ledger.begin()
    late = THIS.ends - 10 * HOUR
    ledger.settle(late, Counter(), [(case(late, "decided", 3, record="u"), False)], "enforce")
    after = THIS.ends + HOUR
    counted = Counter({("conflicts", "phone", "rejected"): 1_000})
    ledger.settle(after, counted, [(case(after, "converged", 3, opened=late), False)], "enforce")
    ledger.end()
    return ledger


@pytest.fixture(scope="module")
def made() -> Report:
    """The report of the hand-made week."""
    return report(MATRIX, fortnight(), THIS.ends + DAY, named=named)


def test_the_six_figures_of_a_known_week_stand_beside_those_of_the_week_before(made: Report) -> None:
    """Each by its definition; observe mode and the week after are in none."""
    ages = (7 * DAY + 2 * HOUR) / 1000
    assert {
        "duplicates": (0.1, 0.25),
        "conflicts": (67, 10),
        "overrides": (13, 8),
        "queue_oldest": (ages, 36_000.0),
        "queue_p50": (36_000.0, 7_200.0),
        "queue_p95": (ages, 36_000.0),
        "queue_beyond": (1.0, 0.5),
        "resolution": (4_500.0, 1_800.0),
        "rejected": (0.3, 0.1),
    } == {one.key: (one.value, one.before) for one in made.figures}
    assert [1, 2, 3, 4, 4, 4, 4, 5, 6] == [one.number for one in made.figures]
    details = {one.key: one.detail for one in made.figures}
    assert "6 of 40 created records, less 2 that a person dismissed" == details["duplicates"]
    assert "60 of 200 write attempts; 2 different ones (record, field, writer)" == details["rejected"]
    assert "4 cases closed by people, 6 settled by themselves" == details["resolution"]


def test_the_queue_is_told_by_owner_as_of_the_end_of_the_week(made: Report) -> None:
    """A case that was passed on is its new owner's, and beyond its SLA whatever its new deadline."""
    assert [
        ("clinical_ops", 1, 36_000.0, 1, 3, 3_600.0, 0),
        ("medical_lead", 1, (7 * DAY + 2 * HOUR) / 1000, 1, 0, None, 0),
        ("growth_ops", 0, None, 0, 0, None, 0),
        ("support_lead", 0, None, 0, 1, 7_200.0, 6),
    ] == [(one.owner, one.open, one.oldest, one.beyond, one.resolved, one.mean, one.settled) for one in made.queues]


def test_all_three_diagnoses_hold_in_this_week(made: Report) -> None:
    """In words, each under the name of the alert that says the same."""
    assert [
        "OwnershipRemediationTooSmall",
        "OwnershipFieldDominatesRejections",
        "OwnershipOverridesRise",
    ] == [one.alert for one in made.diagnoses]
    assert "Phone has 60 of the 60 writes that owner policy rejected: its row is misunderstood or wrong." == (
        made.diagnoses[1].text
    )
    assert "Patient legal name was overridden 13 times, 8 the week before" in made.diagnoses[2].text


def test_the_diagnoses_go_by_the_conditions_of_the_alerts() -> None:
    """The same numbers stand in the rules of Prometheus."""
    rules = (ROOT / "deploy/prometheus/weekly.rules.yaml").read_text(encoding="utf-8")
    small, dominates, rises = (part.split("for: 1h")[0] for part in rules.split("- alert: ")[1:])

    assert f"ratio1w_change1w < -{FALL:g}" in small
    assert f"> {OLDER:g} * job:ownership_queue_open_age_seconds:p50 offset 1w" in small
    assert f"> {DOMINATES:g}" in dominates
    assert f">= {DOMINATES_LEAST}" in dominates
    assert f"> {RISE:g} * " in rises
    assert f">= {RISE_LEAST}" in rises


def test_a_quiet_week_has_no_data_instead_of_zeros_and_nothing_is_diagnosed() -> None:
    """Nothing to divide by; counts are 0."""
    ledger = Ledger([LAST, THIS], now=THIS.ends)
    ledger.begin()
    ledger.settle(LAST.begins, Counter(), [], "enforce")
    ledger.end()
    quiet = report(MATRIX, ledger, THIS.ends, named=named)

    assert [None, 0, 0, None, None, None, None, None, None] == [one.value for one in quiet.figures]
    assert () == quiet.diagnoses
    assert len(MATRIX.fields) == len(quiet.unused)
    assert "no data" in as_markdown(quiet)
    assert "None of the diagnoses holds." in as_html(quiet)


def test_without_the_week_before_nothing_is_compared() -> None:
    """The log begins in this week: no change is told, and no diagnosis made that needs one."""
    ledger = Ledger([LAST, THIS], now=THIS.begins + DAY)
    ledger.begin()
    ledger.settle(THIS.begins + HOUR, THIS_WEEK, [], "enforce")
    ledger.end()
    young = report(MATRIX, ledger, THIS.begins + DAY, named=named, missing=["`changes` [3]: gone"])

    assert (False, False) == (young.compared, young.over)
    assert {None} == {one.before for one in young.figures}
    assert ["OwnershipFieldDominatesRejections"] == [one.alert for one in young.diagnoses]
    page = as_markdown(young)
    assert "The week is not over: as of 2026-11-17 00:00 UTC." in page
    assert "The log does not reach back into the week before." in page
    assert "Not read, and so in no figure: `changes` \\[3\\]: gone." in page


def test_rows_writers_and_unused_rows_are_listed_by_what_they_cost(made: Report) -> None:
    """Conflicts, repeats and cases together; a writer by its hash; the last attempt of a row by its day."""
    assert [("phone", 60, 10), ("email", 7, 0), ("date_of_birth", 0, 0)] == [
        (row.field, row.conflicts, row.before) for row in made.rows
    ]
    [phone, email, birth] = made.rows
    assert (60, 0, 0, 0) == (phone.rejected, phone.queued, phone.unseen, phone.cases)
    assert (4, 3, 5) == (email.queued, email.unseen, email.repeats)
    assert (1, 34.0) == (birth.cases, birth.hours)
    assert phone.example == "record #hash1, by an automation in the EHR: rejected, the CRM owns Phone; ask the CRM"
    assert [("#hash7", "integration", 2, 1), ("", "", 1, 1)] == [
        (one.writer, one.role, one.writes, one.distinct) for one in made.rejected
    ]
    unused = {one.field: one.last for one in made.unused}
    assert {"phone", "email"} == MATRIX.fields.keys() - unused.keys()
    assert {None} == set(unused.values())


def test_no_value_and_no_name_is_on_any_page(made: Report) -> None:
    """Neither what was proposed, nor what stands, nor who wrote, nor which record; in no format."""
    for text in (as_markdown(made), as_html(made), msgspec.json.encode(made).decode()):
        assert not re.search(r"12125550|zebedee|\br\b:", text)


def test_the_pages_hold_the_same_figures(made: Report) -> None:
    """Markdown and HTML are made of one content; JSON comes back as it was."""
    markdown, page = as_markdown(made), as_html(made)
    for one in made.figures:
        assert shown(one.value, one.unit) in markdown
        assert shown(one.value, one.unit) in page
    assert page.count("<svg") == 7
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert made == msgspec.json.decode(msgspec.json.encode(made), type=Report)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "share", "no data"), (0.1234, "share", "12.3 %"), (67.0, "count", "67"), (30.0, "seconds", "30 s"),
        (90.0, "seconds", "1.5 min"), (36_000.0, "seconds", "10 h"), (172_800.0, "seconds", "2.0 d"),
    ],
)  # fmt: skip
def test_a_figure_is_said_as_people_say_it(value: float | None, unit: Any, said: str) -> None:
    """In the unit that fits its size."""
    assert said == shown(value, unit)


def test_a_change_is_told_only_against_something(made: Report) -> None:
    """From nothing to something is no per cent."""
    by_key = {one.key: one for one in made.figures}
    assert "-60 %" == change(by_key["duplicates"])
    assert "" == change(msgspec.structs.replace(by_key["duplicates"], before=0.0))
    assert "" == change(msgspec.structs.replace(by_key["duplicates"], value=None))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.95, 7), ([1, 2], 0.5, 1), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.95, 95)],
)
def test_a_percentile_is_the_smallest_age_that_so_many_do_not_exceed(values: Any, share: float, expected: Any) -> None:
    """One of the ages themselves, never one in between."""
    assert expected == percentile(values, share)


def test_a_chart_has_gaps_where_weeks_have_no_value_and_says_what_it_shows() -> None:
    """And there is none of nothing."""
    drawn = charts.line([1.0, None, 2.0, 3.0], "a < b")
    assert "<title>a &lt; b</title>" in drawn
    assert (1, 3) == (drawn.count("<polyline"), drawn.count("<circle"))
    assert "" == charts.line([None, None], "x") == charts.bars([], "x") == charts.bars([("a", 0, 0)], "x")
    assert 'height="24"' in charts.bars([("a", 2, 1)], "x")


# ------------------------------------------------------------------------------------- a log decided again


class Log(DecideLane):
    """A lane's log as it grows, with the broker's times."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def at(self, moment: int, change: Change) -> None:
        """One change, at a time of the broker's."""
        record = log_record(change, len(self.records), timestamp=moment)
        self.records.append(record)
        self.batch([record])


NINE, TEN, ELEVEN = Week(2026, 9), Week(2026, 10), Week(2026, 11)
REGIME = Regime(0, "r", "enforce", "1")


def grown() -> Log:
    """A fortnight of two records: three rejected writes, one case resolved against the owner's value, one left open."""
    log = Log()
    monday, tuesday = TEN.begins, ELEVEN.begins + DAY
    log.at(monday, row("r", 0, "crm", {"email": "a@x.org"}, "growth_ops", op="c"))
    log.at(monday + HOUR, row("r", 0, "ehr", {"date_of_birth": "1980-01-02"}, "nurse", op="c"))
    log.at(monday + 2 * HOUR, row("r", 1, "crm", {"date_of_birth": "1981-01-02"}, "integration"))
    log.at(tuesday, row("r", 1, "ehr", {"date_of_birth": None}, "integration"))
    log.at(tuesday + 5 * HOUR, row("r", 0, "", {}, kind="tick"))
    case = log.state("r").cases["date_of_birth"]
    ask = Ask(case=case.id, action="keep", edition=edition(log.state("r"), case))
    person = {"actor": "lead", "role": "medical_lead", "origin": "person", "reason": "looked at it"}
    log.at(tuesday + DAY, row("r", 9, "", {}, kind="resolve", ask=ask, **person))
    log.at(tuesday + DAY + HOUR, row("r", 2, "crm", {"date_of_birth": "1982-01-02"}, "integration"))
    log.at(tuesday + DAY + 2 * HOUR, row("r", 3, "crm", {"date_of_birth": "1983-01-02"}, "integration"))
    log.at(tuesday + 2 * DAY, row("s", 0, "ehr", {"date_of_birth": "1990-01-02"}, "nurse", op="c"))
    log.at(ELEVEN.ends - 12 * HOUR, row("s", 1, "ehr", {"date_of_birth": None}, "integration"))
    log.at(ELEVEN.ends + DAY, row("s", 2, "ehr", {"email": "z@x.org"}, "nurse"))
    return log


def retold(log: Log, size: int = 100, mode: str = "enforce") -> Ledger:
    """The log decided again, so many records at a time."""
    ledger = Ledger([TEN, ELEVEN], now=ELEVEN.ends + 2 * DAY)
    ledger.begin()
    again = Retold(lambda _: decide_step(), JSON, ledger)
    regime = msgspec.structs.replace(REGIME, mode=mode)
    for first in range(0, len(log.records), size):
        again.settle(log.records[first : first + size], (regime,), frozenset())
    ledger.end()
    return ledger


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_log_decided_again_gives_the_figures_that_were_lived(size: int) -> None:
    """However it is read; the weeks add up to what the lane counted, but for the week after."""
    log = grown()
    ledger = retold(log, size)
    made = report(MATRIX, ledger, ELEVEN.ends + DAY, named=named)

    assert {
        "duplicates": (0.0, 0.0),
        "conflicts": (4, 1),
        "overrides": (1, 0),
        "queue_oldest": (43_200.0, None),
        "queue_p50": (43_200.0, None),
        "queue_p95": (43_200.0, None),
        "queue_beyond": (1.0, None),
        "resolution": (86_400.0, None),
        "rejected": (2 / 5, 1 / 3),
    } == {one.key: (one.value, one.before) for one in made.figures}
    [cost] = made.rows
    assert ("date_of_birth", 2, 2, 2, 24.0) == (cost.field, cost.rejected, cost.queued, cost.cases, cost.hours)
    assert [("integration", 2, 1)] == [(one.role, one.writes, one.distinct) for one in made.rejected]
    unused = {one.field: one.last for one in made.unused}
    assert ELEVEN.ends + DAY == unused["email"]
    assert None is unused["phone"]
    in_weeks = sum((tally.counts for tally in ledger.tallies.values()), Counter[tuple[str, ...]]())
    before_the_end = Log()
    for record in log.records[:-1]:
        before_the_end.batch([record])
    assert before_the_end.counts == in_weeks


def test_the_open_cases_of_a_week_are_those_of_the_states() -> None:
    """What the conflict records tell of cases is what the states hold."""
    log = grown()
    ledger = retold(log)
    [standing] = ledger.tallies[ELEVEN].open
    [case] = [case for name in ("r", "s") for case in log.state(name).cases.values() if case.opened < ELEVEN.ends]

    assert (case.owner, case.field, case.opened, case.due) == standing[:4]
    assert [] == ledger.tallies[TEN].open


def test_what_was_only_observed_is_in_no_figure() -> None:
    """Though its rows were written."""
    ledger = retold(grown(), mode="observe")

    assert [Counter(), Counter()] == [tally.counts for tally in ledger.tallies.values()]
    assert {"email", "date_of_birth"} == ledger.used.keys()


def test_what_the_lane_buried_was_not_decided_and_an_unknown_regime_ends_the_telling() -> None:
    """As `verify` has it: nothing is guessed."""
    log = grown()
    ledger = Ledger([TEN, ELEVEN], now=ELEVEN.ends)
    ledger.begin()
    again = Retold(lambda _: decide_step(), JSON, ledger)
    again.settle(log.records[:3], (REGIME,), frozenset({2}))
    assert 2 == sum(number for key, number in ledger.tallies[TEN].counts.items() if key[0] == "write_attempts")

    with pytest.raises(UndecidableError):
        Retold(lambda _: None, JSON, ledger).settle(log.records, (REGIME,), frozenset())
    with pytest.raises(UndecidableError):
        Retold(lambda _: decide_step(), JSON, ledger).settle(log.records, (), frozenset())


def test_the_brokers_clock_may_go_back() -> None:
    """A change belongs to the week of its own time, even after one of the week after."""
    log = Log()
    late, early = ELEVEN.begins + HOUR, TEN.ends - HOUR
    log.at(late, row("r", 0, "crm", {"email": "a@x.org"}, "growth_ops", op="c"))
    log.at(early, row("s", 0, "crm", {"email": "b@x.org"}, "growth_ops", op="c"))
    ledger = retold(log)

    assert [1, 1] == [tally.counts["records_created", "crm"] for tally in ledger.tallies.values()]
    assert all(one.ends == two.begins for one, two in pairwise(ledger.weeks))
    assert NINE == TEN.before()
