import json
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation import engine as engine_module
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.engine import Engine, EngineSettings
from merit_opt.evaluation.evaluation import role_means
from merit_opt.models import live
from merit_opt.models.alignment import decoder_layers
from merit_opt.models.forward import letter_log_probabilities
from merit_opt.recipe.constructors import attention, base, uniform

RESTORED = attention(9, {3: 1.0, 5: 1.0})
ROUNDING = 2e-5
SETTINGS = EngineSettings(batch=8, threads=1, max_unscored=0.0)


def furthest(one, other):
    ours, theirs = (e.measured("log_probability") for e in (one, other))
    shared = ours.keys() & theirs.keys()
    assert shared
    return max(abs(ours[i] - theirs[i]) for i in shared)


def timeless(evaluation):
    return replace(evaluation, seconds=0.0)


def test_every_sample_is_scored_in_the_suite_s_order(engine, small_suite):
    found = engine().evaluate(base(9), small_suite)
    assert found.ids == tuple(s.id for s in small_suite.samples)
    assert (found.suite, found.recipe) == (small_suite.digest, base(9).digest)
    assert found.unscored == {}
    for sample, score in zip(small_suite.samples, found.scores, strict=True):
        assert score.value == float(score.answer == sample.letter)


def test_scores_are_those_of_the_questions_asked_one_at_a_time(
    engine, few, small_questions, tiny_pair_live
):
    found = engine(batch=1).evaluate(RESTORED, few).measured("log_probability")
    with tiny_pair_live.merged(RESTORED) as model:
        rows = {
            q.id: letter_log_probabilities(tiny_pair_live, model, [q])[0]
            for q in small_questions[: len(few.samples)]
        }
    assert found == {s.id: rows[s.id][s.answer] for s in few.samples}


def test_the_planted_recipe_restores_reasoning(engine, small_suite):
    asked = engine()
    means = {
        name: role_means(asked.evaluate(recipe, small_suite), small_suite, "accuracy")
        for name, recipe in (("base", base(9)), ("best", RESTORED), ("all", uniform(9, 1.0)))
    }
    assert means["base"]["TR"] <= 0.65
    assert means["best"]["TR"] >= 0.9
    assert means["best"]["TP"] >= 0.85
    assert means["all"]["TP"] <= 0.6


@pytest.mark.parametrize("batch", [1, 8])
def test_a_rerun_has_the_same_bits(engine, few, batch):
    one, other = (engine(batch=batch).evaluate(RESTORED, few) for _ in range(2))
    assert timeless(one) == timeless(other)


def test_visiting_order_changes_no_bit_of_a_question_asked_alone(engine, few):
    backwards = replace(few, samples=few.samples[::-1])
    one, other = (engine(batch=1).evaluate(RESTORED, suite) for suite in (few, backwards))
    assert one.measured("log_probability") == other.measured("log_probability")
    assert one.ids == other.ids[::-1]


def test_visiting_order_and_batch_mates_change_nothing_but_rounding(engine, half):
    backwards = replace(half, samples=half.samples[::-1])
    one = engine(batch=8).evaluate(RESTORED, half)
    for batch, suite in ((8, backwards), (5, half)):
        assert furthest(one, engine(batch=batch).evaluate(RESTORED, suite)) <= ROUNDING


def test_an_earlier_recipe_or_suite_leaves_no_trace(engine, few, half):
    used = engine()
    for recipe in (uniform(9, 1.0), base(9)):
        used.evaluate(recipe, half)
    assert timeless(used.evaluate(RESTORED, few)) == timeless(engine().evaluate(RESTORED, few))


def test_a_second_evaluation_comes_from_the_cache_whole(engine, few, forwards):
    first = engine("cache").evaluate(RESTORED, few)
    asked = len(forwards)
    assert asked > 0
    assert engine("cache").evaluate(RESTORED, few) == first
    assert len(forwards) == asked


def test_another_recipe_suite_pair_or_setting_is_measured_anew(
    engine, few, forwards, tiny_pair_live, tmp_path
):
    engine("cache").evaluate(RESTORED, few)
    fewer = few.only(s.id for s in few.samples[:10])
    other = replace(tiny_pair_live, digest="other")
    runs = (
        partial(engine("cache").evaluate, base(9), few),
        partial(engine("cache").evaluate, RESTORED, fewer),
        partial(engine("cache").evaluate, RESTORED, replace(few, roles={"nth": "TP"})),
        partial(engine("cache", batch=7).evaluate, RESTORED, few),
        partial(engine("cache", pair=other).evaluate, RESTORED, few),
    )
    for run in runs:
        before = len(forwards)
        run()
        assert len(forwards) > before
    assert len(list((tmp_path / "cache").iterdir())) == 1 + len(runs)


@pytest.mark.parametrize("damage", ["torn", "foreign"])
def test_a_damaged_cache_file_is_dropped_and_rebuilt(engine, few, forwards, tmp_path, damage):
    first = engine("cache").evaluate(RESTORED, few)
    (path,) = (tmp_path / "cache").iterdir()
    whole = json.loads(path.read_text())
    torn = path.read_text()[:100]
    foreign = json.dumps(whole | {"key": ["someone", "else"]})
    path.write_text({"torn": torn, "foreign": foreign}[damage])
    before = len(forwards)
    again = engine("cache").evaluate(RESTORED, few)
    assert len(forwards) == 2 * before
    assert timeless(again) == timeless(first)
    rebuilt = json.loads(path.read_text())
    assert rebuilt["evaluation"].pop("seconds") == again.seconds
    assert whole["evaluation"].pop("seconds") == first.seconds
    assert rebuilt == whole


@pytest.mark.parametrize("layer", [0, 4, 8])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_fail_the_trial_with_sample_and_layer(
    engine, few, tiny_pair_live, tmp_path, layer, poison
):
    parameter = decoder_layers(tiny_pair_live.model)[layer].mlp.down_proj.weight
    healthy = parameter.clone()
    asked = engine("cache")
    try:
        parameter[3] = poison
        with pytest.raises(TrialFailed, match=rf"logits are not finite, from layer {layer} on"):
            asked.evaluate(base(9), few)
        with pytest.raises(TrialFailed, match=rf"^sample {few.samples[4].id}: "):
            asked.evaluate(base(9), few.only([few.samples[4].id]))
    finally:
        parameter.copy_(healthy)
    assert list((tmp_path / "cache").iterdir()) == []
    assert asked.evaluate(base(9), few).unscored == {}


@pytest.fixture
def memory_for(monkeypatch):
    """Let at most so many questions fit into memory at once."""

    def limit(most):
        sizes = []

        def scarce(pair, model, questions):
            sizes.append(len(questions))
            if len(questions) > most:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return letter_log_probabilities(pair, model, questions)

        monkeypatch.setattr(engine_module, "letter_log_probabilities", scarce)
        return sizes

    return limit


def test_out_of_memory_asks_one_question_at_a_time(engine, few, memory_for):
    alone = engine(batch=1).evaluate(RESTORED, few)
    sizes = memory_for(1)
    found = engine(batch=8).evaluate(RESTORED, few)
    assert replace(timeless(found), scores=alone.scores) == timeless(found)
    assert max(sizes) > 1
    assert sum(size for size in sizes if size == 1) == len(few.samples)


def test_out_of_memory_with_one_question_fails_the_trial(
    engine, few, memory_for, tiny_pair_live, tmp_path
):
    memory_for(0)
    asked = engine("cache")
    before = {n: p.clone() for n, p in tiny_pair_live.model.named_parameters()}
    message = "out of memory, one question at a time too: tried to allocate 2 GiB"
    with pytest.raises(TrialFailed, match=message):
        asked.evaluate(RESTORED, few)
    assert all(torch.equal(p, before[n]) for n, p in tiny_pair_live.model.named_parameters())
    assert list((tmp_path / "cache").iterdir()) == []
    memory_for(8)
    assert asked.evaluate(RESTORED, few).unscored == {}


def test_out_of_memory_while_merging_fails_the_trial(engine, few, monkeypatch):
    def merge(_rule, _vlm, _backbone):
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    asked = engine()
    with monkeypatch.context() as patched:
        patched.setattr(live, "merge_tensor", merge)
        with pytest.raises(TrialFailed, match=r"out of memory.*: tried to allocate 2 GiB"):
            asked.evaluate(RESTORED, few)
    assert asked.evaluate(RESTORED, few).unscored == {}


def test_each_video_is_read_once_a_process(engine, few, monkeypatch):
    read = []

    def counted(path, count):
        read.append(path.name)
        return original(path, count)

    original = engine_module.read_frames
    monkeypatch.setattr(engine_module, "read_frames", counted)
    asked = engine()
    for recipe in (base(9), RESTORED):
        for suite in (few, few.only(s.id for s in few.samples[3:])):
            asked.evaluate(recipe, suite)
    assert Counter(read) == {"00000.mp4": 1, "00001.mp4": 1, "00002.mp4": 1}


def test_progress_runs_through_the_suite(tiny_pair_live, few, tmp_path):
    told = []
    asked = Engine(
        tiny_pair_live, SETTINGS, EvaluationCache(tmp_path), lambda *step: told.append(step)
    )
    asked.evaluate(base(9), few)
    assert told[: len(few.samples)] == [("reading clips videos", i, 15) for i in range(15)]


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 0},
        {"batch": -1},
        {"threads": 0},
        {"max_unscored": -0.01},
        {"max_unscored": 1.0},
        {"max_unscored": float("nan")},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes):
    values = {"batch": 8, "threads": 1, "max_unscored": 0.0} | changes
    told = f"got {values['batch']}, {values['threads']}, {values['max_unscored']}"
    message = (
        r"engine\.batch and engine\.threads are 1 or more and engine\.max_unscored lies in \["
    )
    with pytest.raises(UserError, match=f"{message}.*{told}$"):
        EngineSettings(**values)


def test_the_settings_digest_tells_numbers_apart(monkeypatch):
    digests = [
        SETTINGS.digest("cpu"),
        SETTINGS.digest("cuda"),
        replace(SETTINGS, batch=9).digest("cpu"),
        replace(SETTINGS, threads=2).digest("cpu"),
    ]
    monkeypatch.setattr(engine_module, "version", lambda _library: "0.0")
    digests.append(SETTINGS.digest("cpu"))
    assert len(set(digests)) == len(digests)
    assert replace(SETTINGS, max_unscored=0.5).digest("cpu") == digests[-1]
