from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from merit_opt.evaluation import stats
from merit_opt.evaluation.stats import WIDEST, Difference, holm, paired_difference, verdict


@st.composite
def samples(draw, *, least_groups=2, most_groups=6):
    """Two scores a sample, in groups of one to three samples."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=least_groups, max_size=most_groups))
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    scores = draw(
        st.lists(
            st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])),
            min_size=len(groups),
            max_size=len(groups),
        )
    )
    ids = [f"s{i}" for i in range(len(groups))]
    first, second = (dict(zip(ids, side, strict=True)) for side in zip(*scores, strict=True))
    return first, second, dict(zip(ids, groups, strict=True))


def by_group(first, second, groups):
    found = {}
    for sample, group in groups.items():
        found.setdefault(group, []).append(second[sample] - first[sample])
    return list(found.values())


def exact_p(differences):
    """Over every assignment of signs to groups."""
    sums = [sum(group) for group in differences]
    observed = abs(sum(sums))
    signs = list(product((-1, 1), repeat=len(sums)))
    as_far = sum(
        abs(sum(s * total for s, total in zip(row, sums, strict=True))) >= observed - 1e-9
        for row in signs
    )
    return as_far / len(signs)


def bootstrap(differences, resamples, rng):
    """Percentiles of means of groups drawn whole, one resample after another."""
    means = []
    for _ in range(resamples):
        drawn = [differences[i] for i in rng.integers(0, len(differences), len(differences))]
        flat = [value for group in drawn for value in group]
        means.append(sum(flat) / len(flat))
    return np.percentile(means, [2.5, 97.5])


def simulated(rng, *, groups, size, effect=0.0):
    """Scores with a shift of their own in each group, and `effect` on average."""
    shift = np.repeat(rng.normal(effect, 0.3, groups), size) + rng.normal(0, 0.2, groups * size)
    ids = [f"s{i}" for i in range(groups * size)]
    return (
        dict.fromkeys(ids, 0.0),
        dict(zip(ids, shift.tolist(), strict=True)),
        {s: f"g{i // size}" for i, s in enumerate(ids)},
    )


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 499)


@given(samples())
@settings(max_examples=20)
def test_estimate_and_p_are_the_brute_force_ones(scores):
    found = paired_difference(*scores, seed=0)
    differences = by_group(*scores)
    flat = [value for group in differences for value in group]
    assert found.n == len(flat)
    assert found.estimate == pytest.approx(sum(flat) / len(flat))
    assert found.p == pytest.approx(exact_p(differences))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_the_brute_force_one_with_groups_of_any_size(seed):
    rng = np.random.default_rng(seed)
    first, second, groups = simulated(rng, groups=25, size=8, effect=0.5)
    sizes = dict(zip(dict.fromkeys(groups.values()), rng.integers(1, 9, 25), strict=True))
    kept = [s for s, group in groups.items() if int(s[1:]) % 8 < sizes[group]]
    scores = [{s: side[s] for s in kept} for side in (first, second, groups)]
    found = paired_difference(*scores, seed=seed)
    low, high = bootstrap(by_group(*scores), 4000, rng)
    assert found.low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.high == pytest.approx(high, abs=0.06 * (high - low))


@pytest.mark.parametrize("resamples", [None, 99])
def test_a_p_is_never_below_what_so_many_resamples_can_show(monkeypatch, resamples):
    if resamples:
        monkeypatch.setattr(stats, "RESAMPLES", resamples)
    ids = [f"s{i}" for i in range(40)]
    found = paired_difference(
        dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 1.0), {i: i for i in ids}, seed=0
    )
    # No flip drawn is as far as all 40 of one sign, and each side of none counts as one.
    assert found.p == pytest.approx(2 / ((resamples or 9999) + 1))


TWO_GROUPS = {"a": 0.0, "b": 0.0}, {"a": 0.5, "b": 1.0}, {"a": "g", "b": "h"}


def test_two_groups_are_enough_for_an_interval_and_a_p():
    found = paired_difference(*TWO_GROUPS, seed=0)
    assert (found.low, found.high, found.p) == (0.5, 1.0, 0.5)


def test_an_interval_is_of_so_many_resamples(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 2)
    found = paired_difference(*TWO_GROUPS, seed=0)
    # Two means are at most a half apart, and a twentieth of the way between them is outside.
    assert found.high - found.low <= 0.95 * 0.5


def test_many_groups_have_the_p_of_a_normal_test():
    scores = simulated(np.random.default_rng(3), groups=200, size=2, effect=0.045)
    sums = np.array([sum(group) for group in by_group(*scores)])
    z = sums.sum() / np.sqrt((sums**2).sum())
    found = paired_difference(*scores, seed=0)
    assert found.p == pytest.approx(2 * norm.sf(abs(z)), abs=0.01)


@given(samples())
@settings(max_examples=10)
def test_no_difference_is_a_point_at_zero(scores):
    first, _, groups = scores
    assert paired_difference(first, first, groups, seed=0) == Difference(
        0.0, 0.0, 0.0, 1.0, len(first)
    )


@given(samples())
@settings(max_examples=10)
def test_swapping_sides_swaps_signs(scores):
    first, second, groups = scores
    one = paired_difference(first, second, groups, seed=4)
    other = paired_difference(second, first, groups, seed=4)
    assert other.estimate == -one.estimate
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
    assert other.p == pytest.approx(one.p)
    assert other.is_significant == one.is_significant


@given(samples())
@settings(max_examples=10)
def test_identical_copies_within_a_group_say_nothing_new(scores):
    tripled = tuple(
        {f"{sample}/{i}": value for sample, value in side.items() for i in range(3)}
        for side in scores
    )
    once, thrice = (paired_difference(*each, seed=1) for each in (scores, tripled))
    assert thrice.n == 3 * once.n
    for field in ("estimate", "low", "high", "p"):
        assert getattr(thrice, field) == pytest.approx(getattr(once, field), abs=1e-12)


def test_identical_copies_taken_as_groups_of_their_own_would_narrow_the_interval():
    first, second, groups = simulated(np.random.default_rng(0), groups=20, size=1)
    sides = [
        {f"{s}/{i}": v for s, v in side.items() for i in range(4)} for side in (first, second)
    ]
    clustered = {f"{s}/{i}": group for s, group in groups.items() for i in range(4)}
    together = paired_difference(*sides, clustered, seed=0)
    apart = paired_difference(*sides, {s: s for s in clustered}, seed=0)
    assert together.estimate == pytest.approx(apart.estimate)
    assert together.high - together.low == pytest.approx(2 * (apart.high - apart.low), rel=0.15)


@given(samples())
@settings(max_examples=10)
def test_only_samples_scored_on_both_sides_count(scores):
    first, second, groups = scores
    groups = groups | {"lone": "g0", "other": "new"}
    found = paired_difference(first | {"lone": 1.0}, second | {"other": 0.0}, groups, seed=0)
    assert found == paired_difference(first, second, groups, seed=0)


def test_nothing_in_common_is_an_error():
    with pytest.raises(ValueError, match=r"^no sample was scored on both sides$"):
        paired_difference({"a": 1.0}, {"b": 1.0}, {"a": "g", "b": "g"}, seed=0)


@pytest.mark.parametrize("n", [1, 5])
def test_a_single_group_says_nothing_about_spread(n):
    ids = [f"s{i}" for i in range(n)]
    found = paired_difference(
        dict.fromkeys(ids, 0.0), dict.fromkeys(ids, 1.0), dict.fromkeys(ids, "g"), seed=0
    )
    assert (found.low, found.high) == WIDEST == (-1.0, 1.0)
    assert (found.estimate, found.p, found.n) == (1.0, 1.0, n)
    assert not found.is_significant


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(quick):
    scores = simulated(np.random.default_rng(0), groups=20, size=2)
    found = [paired_difference(*scores, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert (found[0].low, found[0].high, found[0].p) != (found[2].low, found[2].high, found[2].p)


def test_the_order_of_samples_does_not_matter(quick):
    scores = simulated(np.random.default_rng(0), groups=20, size=2)
    backwards = [dict(reversed(side.items())) for side in scores]
    assert paired_difference(*backwards, seed=0) == paired_difference(*scores, seed=0)


@pytest.mark.parametrize(
    ("low", "high", "significant"),
    [
        (0.01, 0.2, True),
        (-0.2, -0.01, True),
        (0.0, 0.2, False),
        (-0.2, 0.0, False),
        (-1, 1, False),
    ],
)
def test_significant_is_an_interval_that_leaves_out_zero_and_a_p_below_a_twentieth(
    low, high, significant
):
    assert Difference(0.1, low, high, 0.049, 10).is_significant == significant
    assert not Difference(0.1, low, high, 0.05, 10).is_significant
    assert verdict(low, high) == verdict(low, high, 0.0)
    assert verdict(low, high) == ("significant" if significant else "not significant")


def test_holm_s_correction_of_known_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.2, 0.7]) == pytest.approx([1.0, 0.6, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), max_size=6), st.randoms())
def test_a_corrected_p_is_no_smaller_and_keeps_order_whatever_the_order(p, rng):
    found = holm(p)
    assert all(one <= other <= min(1.0, len(p) * one) for one, other in zip(p, found, strict=True))
    assert [found[i] for i in sorted(range(len(p)), key=lambda i: p[i])] == sorted(found)
    shuffled = rng.sample(range(len(p)), len(p))
    assert holm([p[i] for i in shuffled]) == [found[i] for i in shuffled]


def test_intervals_cover_the_truth_and_p_is_uniform_about_as_often_as_they_say(quick):
    rng = np.random.default_rng(5)
    covered, null = [], []
    for seed in range(120):
        found = paired_difference(*simulated(rng, groups=40, size=3, effect=0.1), seed=seed)
        covered.append(found.low <= 0.1 <= found.high)
        null.append(paired_difference(*simulated(rng, groups=40, size=3), seed=seed).p)
    assert 0.88 <= np.mean(covered) <= 0.99
    assert 0.04 <= np.mean(np.array(null) <= 0.1) <= 0.16
    assert 0.4 <= np.mean(np.array(null) <= 0.5) <= 0.6
