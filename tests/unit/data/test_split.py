import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merit_opt.data.dataset_copy import ABSENT
from merit_opt.data.sample import Media, Sample
from merit_opt.data.split import split_by_group
from merit_opt.errors import UserError
from tests.suites import made_up

CATEGORIES = ("after", "shown", "counting")
ROLES = {"after": "TR", "shown": "TP"}


def sample(number, group, category):
    media = Media(Path(f"{group}.mp4"), group)
    return Sample(f"s{number:04d}", (media,), "?", ("a", "b"), 0, (("kind", category),), group)


def shared(rows):
    """Samples of (group, digests of its media)."""
    samples = [
        replace(sample(i, group, "after"), media=tuple(Media(Path(d), d) for d in digests))
        for i, (group, digests) in enumerate(rows)
    ]
    return made_up(samples, ROLES)


def suite(rows):
    samples = tuple(sample(i, group, category) for i, (group, category) in enumerate(rows))
    return made_up(samples, ROLES)


def clips(count, tr=3, tp=2):
    """As the rendered suite: the same questions about every video."""
    return suite([(f"v{i:03d}", c) for i in range(count) for c in ["after"] * tr + ["shown"] * tp])


def is_divisible(rows):
    return len({group for group, _ in rows}) > 1 and max(Counter(c for _, c in rows).values()) > 1


rows = st.tuples(st.sampled_from([f"v{i}" for i in range(12)]), st.sampled_from(CATEGORIES))
suites = st.lists(rows, min_size=2, max_size=40).filter(is_divisible).map(suite)
seeds = st.integers(0, 2**31)
inner = st.floats(0.01, 0.99)


def ids(part):
    return {s.id for s in part.samples}


def groups(part):
    return {s.group_id for s in part.samples}


def role_shares(part):
    roles = [part.role(s) for s in part.samples]
    return {role: roles.count(role) / len(roles) for role in ("TR", "TP")}


@given(suites, inner, seeds)
@settings(max_examples=50)
def test_every_sample_is_on_one_side_and_no_group_on_both(whole, share, seed):
    split = split_by_group(whole, search_share=share, seed=seed)
    assert ids(split.search) | ids(split.confirm) == ids(whole)
    assert ids(split.search).isdisjoint(ids(split.confirm))
    assert groups(split.search).isdisjoint(groups(split.confirm))
    assert ids(split.search)
    assert ids(split.confirm)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sets(st.sampled_from("uvwxyz"), min_size=1)),
        max_size=8,
    ),
    seeds,
)
@settings(max_examples=50)
def test_no_content_is_on_both_sides_under_whatever_groups(rows, seed):
    """Two groups that share nothing are there to be divided."""
    whole = shared([*rows, *[("g", {"1"}), ("h", {"2"})]])
    split = split_by_group(whole, search_share=0.5, seed=seed)
    search, confirm = (
        {m.digest for s in part.samples for m in s.media} for part in (split.search, split.confirm)
    )
    assert search.isdisjoint(confirm)
    assert groups(split.search).isdisjoint(groups(split.confirm))


def test_groups_tied_through_a_third_are_one_and_too_few_to_divide():
    whole = shared([("a", "u"), ("b", "uv"), ("c", "v")])
    with pytest.raises(UserError, match="has 1 videos"):
        split_by_group(whole, search_share=0.5, seed=0)


def test_media_that_are_not_there_tie_no_groups():
    whole = shared([("a", [f"{ABSENT}clip.mp4"]), ("b", [f"{ABSENT}clip.mp4"])])
    split = split_by_group(whole, search_share=0.5, seed=0)
    assert groups(split.search) != groups(split.confirm)


@given(inner, seeds)
@settings(max_examples=20)
def test_sides_keep_everything_else_of_the_suite_and_its_order(share, seed):
    whole = clips(12)
    split = split_by_group(whole, search_share=share, seed=seed)
    for part in (split.search, split.confirm):
        assert part == replace(whole, samples=part.samples)
        assert [s for s in whole.samples if s.id in ids(part)] == list(part.samples)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.62, 0.9])
def test_the_share_is_met_to_the_nearest_fold(share):
    split = split_by_group(clips(40), search_share=share, seed=0)
    assert len(split.search.samples) == round(10 * share) * 20


@pytest.mark.parametrize("share", [1e-9, 0.04, 0.97, 1 - 1e-9])
def test_both_sides_have_samples_at_any_share(share):
    split = split_by_group(clips(20), search_share=share, seed=0)
    assert len(split.search.samples) == (10 if share < 0.5 else 90)


@given(seeds)
@settings(max_examples=20, derandomize=True)  # 2 seeds of 500 miss the bound
def test_both_sides_have_nearly_the_same_mix_of_roles(seed):
    rng = random.Random(0)
    rows = [
        (f"v{i:03d}", "after" if rng.random() < 0.5 + 0.4 * (i % 2) else "shown")
        for i in range(60)
        for _ in range(rng.randint(1, 6))
    ]
    split = split_by_group(suite(rows), search_share=0.5, seed=seed)
    search, confirm = role_shares(split.search), role_shares(split.confirm)
    assert abs(search["TR"] - confirm["TR"]) <= 0.06
    assert 0.42 <= len(split.search.samples) / len(rows) <= 0.58


def test_the_seed_decides():
    whole = clips(40)
    splits = [split_by_group(whole, search_share=0.5, seed=seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1]
    assert groups(splits[0].search) != groups(splits[2].search)


def test_nothing_global_decides():
    random.seed(1)
    one = split_by_group(clips(40), search_share=0.5, seed=3)
    random.seed(2)
    assert split_by_group(clips(40), search_share=0.5, seed=3) == one


@given(suites, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_samples_does_not_decide(whole, rng):
    shuffled = replace(whole, samples=tuple(rng.sample(whole.samples, len(whole.samples))))
    one, other = (split_by_group(s, search_share=0.5, seed=0) for s in (whole, shuffled))
    assert groups(one.search) == groups(other.search)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(
        UserError, match=rf"suite\.search_share must lie between 0 and 1, got {share}"
    ):
        split_by_group(clips(4), search_share=share, seed=0)


@pytest.mark.parametrize(
    ("whole", "videos", "questions"),
    [
        (suite([]), 0, 0),
        (clips(1), 1, 3),
        (suite([("v0", "after"), ("v1", "shown"), ("v2", "counting")]), 3, 1),
    ],
    ids=["empty", "one video", "one question a role"],
)
def test_a_suite_too_small_to_divide_is_refused(whole, videos, questions):
    message = (
        f"suite toy has {videos} videos and at most {questions} questions of one role; "
        "a split needs at least two of each"
    )
    with pytest.raises(UserError, match=message):
        split_by_group(whole, search_share=0.5, seed=0)
