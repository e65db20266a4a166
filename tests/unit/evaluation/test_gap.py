from pathlib import Path

import numpy as np
import pytest

from merit_opt.data.sample import Media, Sample
from merit_opt.evaluation.evaluation import Evaluation, Score, role_means
from merit_opt.evaluation.gap import objective_gap
from merit_opt.evaluation.objective import PenalisedGain
from tests.suites import made_up

OBJECTIVE = PenalisedGain("accuracy", 2.0)
VIDEOS = 20


def sample(video, category):
    media = Media(Path(f"{video}.mp4"), f"{video}")
    return Sample(
        f"{video}-{category}", (media,), "?", ("a", "b"), 0, (("kind", category),), f"v{video}"
    )


KINDS = ("after", "before", "order", "shown", "shape")
SUITE = made_up(
    tuple(sample(video, kind) for video in range(VIDEOS) for kind in KINDS),
    dict.fromkeys(KINDS[:3], "TR") | dict.fromkeys(KINDS[3:], "TP"),
)


def evaluation(seed, tr=0.5, tp=0.8, suite=SUITE):
    rng = np.random.default_rng(seed)
    share = {"TR": tr, "TP": tp}
    scores = tuple(Score(float(rng.random() < share[suite.role(s)])) for s in suite.samples)
    return Evaluation(suite.digest, str(seed), tuple(s.id for s in suite.samples), scores)


BASE, FIRST = evaluation(0), evaluation(1, tr=0.9)
OTHERS = [evaluation(2, tp=0.6), evaluation(3, tr=0.7)]


def gap(first, others, **changes):
    options = {"suite": SUITE, "base": BASE, "seed": 0} | changes
    return objective_gap(OBJECTIVE, first=first, others=others, **options)


def value(found, base=BASE, suite=SUITE):
    return OBJECTIVE(role_means(found, suite, "accuracy"), role_means(base, suite, "accuracy"))


@pytest.mark.parametrize("others", [OTHERS, OTHERS[:1], [BASE]], ids=["two", "one", "base"])
def test_the_estimate_is_the_difference_of_objectives(others):
    expected = value(FIRST) - sum(map(value, others)) / len(others)
    assert gap(FIRST, others).estimate == pytest.approx(expected)


def test_the_interval_is_the_brute_force_one():
    rng = np.random.default_rng(5)
    gaps = []
    for _ in range(2000):
        samples = [
            (video * len(KINDS) + kind, f"{draw}")
            for draw, video in enumerate(rng.integers(0, VIDEOS, VIDEOS))
            for kind in range(len(KINDS))
        ]

        def mean(found, role, drawn=samples):
            chosen = [i for i, _ in drawn if SUITE.role(SUITE.samples[i]) == role]
            return sum(found.scores[i].value for i in chosen) / len(chosen)

        base, *objectives = (
            {role: mean(found, role) for role in ("TR", "TP")} for found in (BASE, FIRST, *OTHERS)
        )
        first, *others = (OBJECTIVE(means, base) for means in objectives)
        gaps.append(first - sum(others) / len(others))
    low, high = np.percentile(gaps, [2.5, 97.5])
    found = gap(FIRST, OTHERS)
    assert found.low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.high == pytest.approx(high, abs=0.06 * (high - low))


def test_a_recipe_has_no_gap_to_itself():
    found = gap(FIRST, [FIRST])
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


def test_swapping_the_two_swaps_signs():
    one, other = gap(FIRST, OTHERS[:1]), gap(OTHERS[0], [FIRST])
    assert other.estimate == pytest.approx(-one.estimate)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_only_samples_that_all_of_them_scored_count():
    def without(found, lost):
        pairs = zip(found.ids, found.scores, strict=True)
        scores = tuple(Score(None, why="gone") if i in lost else s for i, s in pairs)
        return Evaluation(found.suite, found.recipe, found.ids, scores)

    lost = [{"3-after"}, {"4-shown", "4-shape"}, {"5-order"}, {"6-shown"}]
    everyone = [BASE, FIRST, *OTHERS]
    base, first, *others = (without(e, gone) for e, gone in zip(everyone, lost, strict=True))
    together = set.union(*lost)
    same_base, same_first, *same_others = (without(e, together) for e in everyone)
    assert gap(first, others, base=base) == gap(same_first, same_others, base=same_base)


def test_the_seed_decides():
    assert gap(FIRST, OTHERS) == gap(FIRST, OTHERS)
    assert gap(FIRST, OTHERS) != gap(FIRST, OTHERS, seed=1)


def test_resamples_that_lack_a_role_are_left_out():
    kinds = {0: "shown", 1: "after", 2: "after"}
    samples = tuple(sample(video, kind) for video, kind in kinds.items())
    suite = made_up(samples, SUITE.roles.of)
    ids = tuple(s.id for s in samples)
    base = Evaluation("toy", "base", ids, (Score(1.0), Score(0.0), Score(1.0)))
    first = Evaluation("toy", "first", ids, (Score(0.0), Score(1.0), Score(1.0)))
    found = gap(first, [base], base=base, suite=suite)
    assert (found.estimate, found.low, found.high) == (0.5 - 2.0, 0.0 - 2.0, 1.0 - 2.0)
