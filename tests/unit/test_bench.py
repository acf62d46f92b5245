"""The pure parts of `make bench`: arithmetic, comparison of outputs, tables. The measuring itself needs a broker."""

import sys

import pytest

from matrices import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import figures
    import report
    import subjects
finally:
    sys.path.remove(str(ROOT / "benchmarks"))

Sample, Pace, Latency = figures.Sample, figures.Pace, figures.Latency


def test_a_percentile_is_one_of_the_values_and_the_least_that_enough_do_not_exceed() -> None:
    """Nearest rank: no value is invented between two that were measured."""
    values = [float(n) for n in range(100, 0, -1)]
    assert [1.0, 50.0, 99.0, 100.0] == [figures.percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)]
    assert 7.0 == figures.percentile([7.0], 0.99)


def test_a_percentile_of_nothing_is_refused() -> None:
    """No outputs seen is no latency of zero."""
    with pytest.raises(ValueError, match="percentile of nothing"):
        figures.percentile([], 0.5)


def test_a_pace_counts_from_the_first_commit_after_the_warm_up_to_the_last_before_the_end() -> None:
    """Start-up, warm-up and the end, where some lanes idle, are not in it; nor is what a coarse commit overshot."""
    samples = [
        Sample(0.0, 0, 5.0, 1.0, 1.0),
        Sample(10.0, 90, 6.0, 1.0, 1.0),
        Sample(11.0, 130, 6.5, 1.1, 1.2),
        Sample(12.0, 230, 6.6, 1.2, 1.2),
        Sample(13.0, 330, 7.5, 1.3, 1.6),
        Sample(20.0, 340, 8.5, 1.3, 1.6),
        Sample(99.0, 340, 9.0, 2.0, 9.0),
    ]
    found = figures.pace(samples, warm=100)
    assert (100.0, 1_000.0, 1_000.0, 0.0) == pytest.approx(tuple(found))


def test_a_run_that_commits_everything_at_once_has_no_pace() -> None:
    """Better no figure than one made of start-up."""
    samples = [Sample(0.0, 0, 0.0, 0.0, 0.0), Sample(1.0, 50, 1.0, 0.0, 0.0)]
    with pytest.raises(ValueError, match="steadily after the first 20 changes"):
        figures.pace(samples, warm=20)


def test_equal_outputs_have_no_differences_whatever_the_order_of_their_keys() -> None:
    """Order counts under a key, not between keys: they lie in several partitions."""
    wanted = {("apply.crm", b"1"): [b"a", b"b"], ("conflicts", b"2"): [b"c"]}
    assert [] == figures.differences(wanted, dict(reversed(wanted.items())))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "0 records instead of 2, the first other is 0"),
        ({("apply.crm", b"1"): [b"a"]}, "1 records instead of 2, the first other is 1"),
        ({("apply.crm", b"1"): [b"a", b"b", b"b"]}, "3 records instead of 2, the first other is 2"),
        ({("apply.crm", b"1"): [b"b", b"a"]}, "2 records instead of 2, the first other is 0"),
    ],
    ids=["lost", "cut short", "twice", "out of order"],
)
def test_a_lost_doubled_or_reordered_output_is_a_difference(
    found: dict[tuple[str, bytes], list[bytes]], said: str
) -> None:
    """What a peer does wrong shows, with the place of the first."""
    [line] = figures.differences({("apply.crm", b"1"): [b"a", b"b"]}, found)
    assert "`apply.crm` b'1'" in line
    assert said in line


def test_an_output_that_nobody_asked_for_is_a_difference() -> None:
    """Under a key of its own, too."""
    assert ["`conflicts` b'9': 1 records instead of 0, the first other is 0"] == figures.differences(
        {}, {("conflicts", b"9"): [b"x"]}
    )


def test_figures_show_three_digits_and_spreads_their_ends() -> None:
    """More digits would claim what no repeat confirms."""
    assert ["1.23", "12.3", "123", "12,346"] == [figures.number(one) for one in (1.234, 12.34, 123.4, 12_345.6)]
    assert "2.00 (1.00–3.00)" == figures.spread([3.0, 1.0, 2.0])
    assert ["2.00", "–"] == [figures.spread(values) for values in ([2.0], [])]


def test_a_target_is_met_on_its_own_side() -> None:
    """Some are lower bounds, some upper ones."""
    assert ["met", "missed"] == [figures.Target("t", found, 1.5).verdict for found in (1.5, 1.4)]
    assert ["met", "missed"] == [figures.Target("t", found, 3.0, at_least=False).verdict for found in (3.0, 3.1)]


def test_only_what_stands_between_the_marks_of_the_page_is_replaced() -> None:
    """The frame of the page is written by hand."""
    page = f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n"
    assert f"before\n{figures.BEGIN}\nnew\n{figures.END}\nafter\n" == figures.between_marks(page, "new\n")
    with pytest.raises(ValueError, match="each once"):
        figures.between_marks("no marks", "new")


def test_the_shipped_page_has_its_marks() -> None:
    """So `--write` cannot fail at the end of a long run."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "new" in figures.between_marks(page, "new")


def test_a_profile_counts_a_function_once_for_a_sample_however_deep_it_recurs() -> None:
    """Else shares would exceed the whole."""
    own, below = figures.self_and_below(["main;walk;walk 3", "main;read 2", "no count"])
    assert ({"walk": 3, "read": 2}, {"main": 5, "walk": 3, "read": 2}) == (own, below)


def test_the_tables_hold_the_measured_peers_and_the_targets_that_can_be_judged() -> None:
    """The five targets, with what was found in each repeat compared within it."""
    found = report.Results(about=["a machine"])
    for word, rate in (("limit", 100.0), ("quix", 20.0), ("faust", 2.0), ("decide", 40.0), ("both", 10.0)):
        found.paces[word] = [Pace(rate, 5.0, 1.0, 1.0), Pace(rate * 2, 5.0, 1.0, 1.0)]
        found.peaks[word], found.compared[word] = [100.0, 100.0], 1_000
    found.latencies["decide", report.HALF] = [Latency(20.0, 2.0, 12.0, 50, 0.0)]
    found.latencies["limit", report.half_of("decide")] = [Latency(20.0, 1.0, 3.0, 50, 0.0)]
    found.sizes = {10: [Pace(40.0, 5.0, 1.0, 1.0)], 1_000: [Pace(36.0, 5.0, 1.0, 1.0)]}
    assert ["met", "met", "missed", "missed", "met"] == [one.verdict for one in report.targets(found)]
    text = report.tables(found)
    assert all(peer.title in text for peer in subjects.PEERS)
    assert "| 40.0 (36.0–40.0)" not in text
    assert 5 == text.count("| met") + text.count("| missed")


def test_what_was_not_measured_is_neither_shown_nor_judged() -> None:
    """A run of some peers only says nothing of the others."""
    found = report.Results(about=["a machine"])
    found.paces["decide"], found.peaks["decide"] = [Pace(40.0, 5.0, 1.0, 1.0)], [100.0]
    assert [] == report.targets(found)
    assert "Quix Streams" not in report.tables(found)


def test_a_quick_run_is_shown_and_not_judged() -> None:
    """Its windows hold one or two commits of a lane: a target met or missed by them would say nothing."""
    found = report.Results(about=["a machine"], quick=True)
    for word in ("limit", "decide"):
        found.paces[word], found.peaks[word] = [Pace(40.0, 5.0, 1.0, 1.0)], [100.0]
    assert [] == report.targets(found)
    assert "not judged" in report.tables(found)
