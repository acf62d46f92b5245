"""The summary: counts that add up say so, and each count that does not is named."""

import pytest

from ownership_stream.demo.summary import Tally, checks, data, lines

GOOD = Tally(
    seconds=20.0,
    sent=100,
    read=100,
    changes=95,
    ignored=3,
    unreadable=2,
    on_changes=103,
    forwarded=6,
    others=2,
    decided=103,
    undecidable=0,
    carried=500,
    outcomes={"applied": 40, "rejected": 8, "queued": 2, "noop": 430, "echo": 20},
    attempts={"legal_name": {"applied": 40, "rejected": 8}, "email": {"queued": 2}},
    sends=30,
    approved=30,
    taken=30,
    cases=2,
    disagreeing={"case": 3, "left": 1},
    astray=0,
)


def broken(tally: Tally) -> list[str]:
    """What does not add up, by what the check says."""
    return [check.said for check in checks(tally) if not check.holds]


def test_counts_of_a_stream_that_lost_nothing_add_up() -> None:
    """Every check holds, and there are as many as the ways in which a stream can go wrong."""
    assert [] == broken(GOOD)
    assert [] == data(GOOD)["mismatches"]


@pytest.mark.parametrize(
    ("doctored", "said"),
    [
        ({"sent": 101}, "records sent by the clinic = read by intake"),
        ({"ignored": 4}, "records read = changes + ignored by design + dead letters"),
        ({"unreadable": 1}, "records read = changes + ignored by design + dead letters"),
        ({"others": 3}, "changes + those sent on + ticks, matches and links = on the changes topic"),
        ({"forwarded": 5}, "changes + those sent on + ticks, matches and links = on the changes topic"),
        ({"decided": 102}, "records on the changes topic = decided"),
        ({"undecidable": 1}, "changes that could not be decided"),
        ({"carried": 499}, "fields carried = outcomes"),
        ({"outcomes": {**GOOD.outcomes, "noop": 429}}, "fields carried = outcomes"),
        ({"attempts": {"email": {"applied": 49}}}, "write attempts = applied + rejected + queued"),
        ({"outcomes": {**GOOD.outcomes, "rejected": 9, "noop": 429}}, "write attempts = applied + rejected + queued"),
        ({"sends": 31}, "sends = apply records"),
        ({"taken": 29}, "apply records = taken by the writers"),
        ({"astray": 1}, "rows that show something else than the stream believes"),
        ({"disagreeing": {"unsettled": 1}}, "disagreements that nothing explains"),
    ],
)
def test_each_doctored_count_is_found_and_named(doctored: dict[str, object], said: str) -> None:
    """One count off by one is one mismatch, and the line says which two numbers differ."""
    tally = GOOD._replace(**doctored)
    assert [said] == broken(tally)
    [told] = [str(check) for check in checks(tally) if not check.holds]
    assert "≠" in told


def test_the_summary_tells_rows_and_reasons_in_words() -> None:
    """What was decided for a row, and why systems differ, without a look at the code."""
    told = list(lines(GOOD, {"legal_name": "Patient legal name"}))
    assert "50 write attempts: 40 applied, 8 rejected, 2 queued" in told
    assert "  Patient legal name:     40 applied, 8 rejected, 0 queued" in told
    assert "  3 case: a case is open: a person decides it" in told
    assert "no attempts: 20 echo, 430 noop" in told
    assert "6 of them asked first whose row it is, or went on to the record that it belongs to" in told
