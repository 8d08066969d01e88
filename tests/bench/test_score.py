"""The arithmetic of ratios, limits and means."""

import pytest
from bench.fakes import row

from upconv.bench import score

ALL = {"upconv_nchw": 2.0, "upconv_nhwc": 1.0, "torch_nchw": 6.0, "torch_nhwc": 4.0, "ncnn": 3.0}


def test_a_ratio_above_one_means_upconv_is_faster():
    assert score.ratio(row(**ALL), "upconv-nchw", "torch-nchw") == 3.0


def test_the_best_of_all_is_the_fastest_rival_against_the_better_layout():
    r = row(**ALL)
    assert (score.our_best(r), score.best_rival(r)) == ("upconv-nhwc", "ncnn")
    assert score.against_best(r) == 3.0


def test_a_ratio_is_taken_within_rounds_so_a_wandering_clock_does_not_decide():
    r = row(upconv_nchw=[1.0, 10.0, 2.0], torch_nchw=[2.0, 20.0, 4.0])
    assert score.ratio(r, "upconv-nchw", "torch-nchw") == 2.0


def test_a_duel_decides_between_its_two_and_nobody_else():
    r = row(**ALL)
    r["again"] = [{"pair": ["upconv-nchw", "torch-nchw"], "ours": [2.0], "rival": [5.0]}]
    assert score.ratio(r, "upconv-nchw", "torch-nchw") == 2.5
    assert score.ratio(r, "upconv-nchw", "ncnn") == 1.5


def test_missing_engines_have_no_ratio():
    r = row(upconv_nchw=1.0)
    r["engines"]["torch-nchw"] = {"reason": "gone"}
    assert score.ratio(r, "upconv-nchw", "torch-nchw") is None
    assert score.gflops(r, "torch-nchw") is None
    assert score.against_best(r) is None


def test_rates_are_on_useful_flops():
    assert score.gflops(row(macs=500_000_000, upconv_nchw=0.5), "upconv-nchw") == 2.0


@pytest.mark.parametrize(
    ("copy", "bound", "least"), [(1e-5, "F", 1e-3), (1e-3, "F+B", 2e-3), (3e-3, "F+B", 4e-3), (8e-3, "B", 8e-3)]
)
def test_yardsticks(copy, bound, least):
    r = row(machine=[{"peak": 1e9, "clock": 1e8, "copy": copy}], upconv_nchw=1e-2)
    assert score.bound(r) == bound
    assert score.yardstick(r) == pytest.approx(least)
    assert score.efficiency(r, "upconv-nchw", score.yardstick) == pytest.approx(least / 1e-2)
    assert score.efficiency(r, "upconv-nchw") == pytest.approx(max(1e-3, copy) / 1e-2)


def test_the_peak_counts_executed_flops():
    r = row(upconv_nchw=2e-3)
    assert score.executed_rate(r, "upconv-nchw") == pytest.approx(0.5)
    r["engines"]["upconv-nchw"]["executed_macs"] = 600_000
    assert score.executed_rate(r, "upconv-nchw") == pytest.approx(0.6)


def test_no_limits_where_the_probe_could_not_run():
    r = row(upconv_nchw=1.0)
    r["probe"] = {"reason": "no compiler"}
    assert score.limits(r) == (None, None)
    assert score.efficiency(r, "upconv-nchw") is score.yardstick(r) is score.bound(r) is None


def test_the_geometric_mean_leaves_gaps_out():
    assert score.geometric_mean([2.0, 8.0, None]) == pytest.approx(4.0)
    assert score.geometric_mean([None]) is None


def test_duels_are_the_pairs_within_five_per_cent():
    near = row(upconv_nchw=1.0, torch_nchw=1.04, upconv_nhwc=2.0, torch_nhwc=3.0, ncnn=0.96)
    assert score.duels(near) == [("upconv-nchw", "torch-nchw"), ("upconv-nchw", "ncnn")]
    assert score.duels(row(upconv_nchw=1.0, torch_nchw=1.06)) == []


def test_a_stated_limit_is_a_duel_with_the_machine():
    r = row(upconv_nchw=1.24e-3, torch_nchw=1.0)
    assert score.duels(r, limit=1.2) == [("upconv-nchw", "probe")]
    assert score.duels(r, limit=1.5) == []


def test_comparisons_name_only_who_took_part():
    labels = [label for label, _ in score.comparisons([row(upconv_nchw=1.0, ncnn=2.0)])]
    assert labels == ["upconv's better layout over ncnn", "upconv's better layout over the best of all"]


def test_given_and_prepared_weights_are_held_against_the_best_apart():
    r = row(**ALL, prepared_nchw=0.5, prepared_nhwc=0.75)
    assert [score.against_best(r, ours) for ours in score.FORMS.values()] == [3.0, 6.0]
    assert score.against_best(r) == 6.0
    means = {label: value(r) for label, value in score.comparisons([r])}
    assert means["upconv's better layout over the best of all"] == 3.0
    assert means["prepared's better layout over the best of all"] == 6.0
    assert means["prepared-nhwc over torch-nhwc"] == pytest.approx(4 / 0.75)


def test_the_cost_of_a_new_size_is_that_of_the_weight_as_given():
    r = row(**ALL)
    assert score.new_size(r) is None
    r["engines"]["prepared-nchw"] = {"new_size": 3e-3}
    assert score.new_size(r) == 3.0
    r["engines"]["upconv-nhwc"]["new_size"] = 2e-3
    assert score.new_size(r) == 2.0
    r["engines"]["upconv-nchw"]["new_size"] = 1e-3
    assert score.new_size(r) == 1.0
