import numpy as np
import pytest
from scipy import stats

from bench.tables.statistics import intraclass, kruskal, letters, welch

SHROUT = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Shrout and Fleiss 1979 (Psychol Bull 86:420), table 2: six targets, four judges."""


def test_intraclass_correlation_of_the_published_example():
    """Their ICC(2,1) is 0.29, its interval (McGraw and Wong 1996) 0.02 to 0.76."""
    found = intraclass(SHROUT)
    assert found.icc == pytest.approx(0.29, abs=0.005)
    assert (found.low, found.high) == pytest.approx((0.02, 0.76), abs=0.01)
    assert found.targets == 6


def test_targets_without_a_rating_and_too_few_are_left_out():
    with_hole = np.vstack([SHROUT, [np.nan, 1, 2, 3]])
    assert intraclass(with_hole) == intraclass(SHROUT)
    assert intraclass(SHROUT[:4]) is None
    assert intraclass(SHROUT[:, :1]) is None


def test_letters_of_a_hand_made_example():
    """a differs from c and d, b from d: ab share one letter, bc another, cd a third."""
    pairs = {("a", "b"): 0.4, ("a", "c"): 0.01, ("a", "d"): 0.001, ("b", "c"): 0.2, ("b", "d"): 0.03}
    pairs["c", "d"] = 0.6
    found = letters(pairs, ["a", "b", "c", "d"])
    for (one, other), p in pairs.items():
        assert bool(set(found[one]) & set(found[other])) == (p >= 0.05)
    assert found["a"] == "a"


def test_dscf_of_two_groups_is_the_rank_sum_test():
    """With two groups, the studentised range of two makes it Wilcoxon's rank-sum test without continuity."""
    random = np.random.default_rng(1)
    groups = {"a": random.normal(size=25), "b": random.normal(0.6, size=31)}
    expected = stats.mannwhitneyu(*groups.values(), use_continuity=False, method="asymptotic").pvalue
    assert kruskal(groups).pairs["a", "b"] == pytest.approx(expected, rel=1e-4)


def test_welch_and_games_howell_of_two_groups_are_welchs_t_test():
    random = np.random.default_rng(2)
    groups = {"a": random.normal(0, 1, 20), "b": random.normal(1, 3, 35)}
    expected = stats.ttest_ind(*groups.values(), equal_var=False).pvalue
    found = welch(groups)
    assert found.p == pytest.approx(expected, rel=1e-6)
    assert found.pairs["a", "b"] == pytest.approx(expected, rel=1e-3)


def test_far_groups_get_letters_of_their_own_and_the_largest_the_first():
    random = np.random.default_rng(3)
    groups = {
        "low": random.normal(0, 1, 20),
        "high": random.normal(9, 1, 20),
        "too": random.normal(9.1, 1, 20),
    }
    for test in (welch, kruskal):
        found = test(groups)
        assert found.p < 1e-6
        assert (found.letters["high"], found.letters["too"], found.letters["low"]) == ("a", "a", "b")


@pytest.mark.parametrize(
    "groups", [{"a": [1.0, 2.0]}, {"a": [1.0, 2.0], "b": [3.0]}, {"a": [1.0] * 3, "b": [1.0] * 3}]
)
def test_what_cannot_be_tested_has_no_p_and_no_letters(groups):
    for test in (welch, kruskal):
        found = test(groups)
        assert np.isnan(found.p)
        assert found.letters == {}
