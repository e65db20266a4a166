import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merit_opt.data.sample import Media, Sample
from merit_opt.data.select import compact, dealt, read_margins, selected
from merit_opt.errors import UserError
from tests.suites import made_up

ROLES = {"after": "TR", "before": "TR", "shown": "TP"}
KINDS = ("after", "before", "shown", "counting")


def sample(number, group, kind):
    media = Media(Path(f"{group}.mp4"), group)
    return Sample(f"s{number:04d}", (media,), "?", ("a", "b"), 0, (("kind", kind),), group)


def suite(rows):
    return made_up([sample(i, group, kind) for i, (group, kind) in enumerate(rows)], ROLES)


def ids(whole):
    return {s.id for s in whole.samples}


def kinds(whole):
    return Counter(s.category("kind") for s in whole.samples)


rows = st.tuples(st.sampled_from([f"v{i}" for i in range(8)]), st.sampled_from(KINDS))
suites = st.lists(rows, min_size=1, max_size=60).map(suite)
counts = st.integers(1, 70)
seeds = st.integers(0, 1000)


@st.composite
def with_margins(draw):
    whole = draw(suites)
    values = st.one_of(st.none(), st.floats(-9, 9))
    drawn = {s.id: draw(values) for s in whole.samples}
    return whole, {i: margin for i, margin in drawn.items() if margin is not None}


@given(with_margins(), counts, seeds, st.booleans())
def test_as_many_as_wanted_are_of_the_suite_and_in_its_order(case, n, seed, given_margins):
    whole, margins = case
    chosen = compact(whole, n, seed, margins if given_margins else None)
    assert len(chosen.samples) == min(n, len(whole.samples))
    assert [s for s in whole.samples if s.id in ids(chosen)] == list(chosen.samples)
    assert chosen == replace(whole, samples=chosen.samples)


@given(with_margins(), counts, seeds, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_decide(case, n, seed, rng):
    whole, margins = case
    shuffled = replace(whole, samples=tuple(rng.sample(whole.samples, len(whole.samples))))
    for known in (None, margins):
        assert ids(compact(shuffled, n, seed, known)) == ids(compact(whole, n, seed, known))


@given(suites, counts, seeds)
def test_roles_and_categories_keep_their_shares(whole, n, seed):
    chosen = compact(whole, n, seed, None)
    total, n = len(whole.samples), len(chosen.samples)
    role_of = lambda kind: ROLES.get(kind, "other")  # noqa: E731
    had, kept = Counter(), Counter()
    for kind in KINDS:
        had[role_of(kind)] += kinds(whole)[kind]
        kept[role_of(kind)] += kinds(chosen)[kind]
    there = [role for role in had if had[role]]
    if n >= len(there):
        assert all(kept[role] >= 1 for role in there)
    if all(n * had[role] >= total for role in there):
        assert all(abs(kept[role] - n * had[role] / total) < 1 for role in there)
    for kind in KINDS:
        if had[role_of(kind)]:
            fair = kept[role_of(kind)] * kinds(whole)[kind] / had[role_of(kind)]
            assert abs(kinds(chosen)[kind] - fair) < 1


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 90), min_size=1), counts)
def test_what_is_dealt_adds_up_and_none_gets_more_than_there_is(had, n):
    shares = dealt(had, n)
    assert sum(shares.values()) == min(n, sum(had.values()))
    assert all(0 <= shares[key] <= had[key] for key in had)


@given(st.integers(1, 24), seeds)
def test_no_medium_is_taken_twice_before_every_one_is_taken(n, seed):
    whole = suite([(f"v{i % 12:02d}", "after") for i in range(60)])
    used = Counter(s.group_id for s in compact(whole, n, seed, None).samples)
    assert max(used.values()) == math.ceil(n / 12)
    assert len(used) == min(n, 12)


@given(st.integers(1, 60), seeds, st.floats(0.1, 10))
def test_half_of_the_chosen_are_of_the_quarter_nearest_to_a_flip(n, seed, scale):
    whole = suite([(f"v{i}", "after") for i in range(60)])
    margins = {s.id: scale * (i + 1) * (-1) ** i for i, s in enumerate(whole.samples)}
    near = {s.id for s in whole.samples[: max(15, n // 2)]}
    chosen = ids(compact(whole, n, seed, margins))
    assert len(chosen & near) >= n // 2
    surest = max(chosen, key=lambda i: abs(margins[i]))
    last_bin = 60 - max(1, 60 - 60 * (n - 1) ** 2 // n**2)
    assert abs(margins[surest]) >= scale * last_bin


def test_a_question_without_a_margin_comes_after_those_with_one():
    whole = suite([(f"v{i}", "after") for i in range(8)])
    known = {"s0000": 5.0, "s0001": -7.0}
    for seed in range(20):
        assert ids(compact(whole, 2, seed, known)) & set(known)


def test_the_seed_decides_among_equals_and_nothing_else_does():
    whole = suite([(f"v{i}", KINDS[i % 4]) for i in range(200)])
    first, again, other = (ids(compact(whole, 40, seed, None)) for seed in (0, 0, 1))
    assert first == again != other


def test_none_and_fewer_than_one_are_refused():
    with pytest.raises(UserError, match=r"at least one sample; got suite\.n=0"):
        compact(suite([("v0", "after")]), 0, 0, None)


def chosen(whole, margins=None, select="compact", n=2):
    return selected(whole, select=select, n=n, seed=0, margins=margins)


def test_all_is_the_suite_itself():
    whole = suite([("v0", "after")] * 5)
    assert chosen(whole, select="all") is whole


def test_only_questions_with_a_role_are_candidates():
    whole = suite([(f"v{i}", KINDS[i % 4]) for i in range(40)])
    assert kinds(chosen(whole, n=30)) == {"after": 10, "before": 10, "shown": 10}
    assert len(chosen(whole, n=31).samples) == 30


def test_margins_are_read_from_an_evaluations_table(tmp_path):
    whole = suite([(f"v{i}", "after") for i in range(8)])
    margins = {s.id: i - 4.5 for i, s in enumerate(whole.samples)}
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(json.dumps({"sample": i, "margin": m}) for i, m in margins.items()))
    assert read_margins(path) == margins
    assert chosen(whole, path) == compact(whole, 2, 0, margins)


@pytest.mark.parametrize(
    "row",
    [{"sample": "a"}, {"margin": 1.0}, {"sample": "a", "margin": "wide"}],
)
def test_a_row_that_is_no_margin_is_told_with_its_number(tmp_path, row):
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"sample": "s0000", "margin": 1.0}) + "\n" + json.dumps(row))
    with pytest.raises(UserError, match="row 2 needs a `sample` and a `margin`, a number"):
        read_margins(path)


def test_a_sample_that_was_not_scored_has_no_margin(tmp_path):
    path = tmp_path / "samples.jsonl"
    rows = [{"sample": "s0000", "margin": None}, {"sample": "s0001", "margin": 1.0}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_margins(path) == {"s0001": 1.0}


def test_margins_of_another_suite_are_refused(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"sample": "other", "margin": 1.0}))
    with pytest.raises(UserError, match="the margin of no sample of suite toy"):
        chosen(suite([("v0", "after")]), path)


@settings(deadline=None)
@given(st.integers(1, 500))
def test_a_large_suite_is_cut_to_size(n):
    whole = suite([(f"v{i % 120}", KINDS[i % 3]) for i in range(500)])
    assert len(compact(whole, n, 0, None).samples) == n


def test_a_selection_is_not_held_against_the_published_count():
    whole = replace(suite([(f"v{i}", "after") for i in range(8)]), published=8)
    assert chosen(whole, n=3).published is None
    assert chosen(whole, select="all").published == 8
