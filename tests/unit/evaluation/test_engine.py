import json
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from merit_opt.data import versions
from merit_opt.data.suite import Roles
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation import engine as engine_module
from merit_opt.evaluation import prepare
from merit_opt.evaluation.evaluation import role_means
from merit_opt.models import live
from merit_opt.models.alignment import decoder_layers
from merit_opt.models.forward import embed, finish, read_answers
from merit_opt.recipe.constructors import attention, backbone, base, uniform

RESTORED = attention(9, {3: 1.0, 5: 1.0})
ROUNDING = 2e-5
EVERY_LAYER = dict.fromkeys(range(9), 1 / 9)


def furthest(one, other):
    ours, theirs = (e.measured("log_probability") for e in (one, other))
    shared = ours.keys() & theirs.keys()
    assert shared
    return max(abs(ours[i] - theirs[i]) for i in shared)


def evaluations(folder):
    return list((folder / "evaluations").glob("*"))


def test_every_sample_is_scored_in_the_suite_s_order(engine, small_suite):
    found = engine().evaluate(base(9), small_suite)
    assert found.ids == tuple(s.id for s in small_suite.samples)
    assert (found.suite, found.recipe) == (small_suite.digest, base(9).digest)
    assert found.unscored == {}
    for sample, score in zip(small_suite.samples, found.scores, strict=True):
        assert score.value == float(score.answer == sample.labels[sample.answer])


def test_scores_are_those_of_the_packs_put_through_the_layers(
    engine, few, small_packs, tiny_pair_live
):
    found = engine().evaluate(RESTORED, few)
    engine()
    expected = {}
    with torch.no_grad(), engine_free(tiny_pair_live).merged(RESTORED):
        for pack in small_packs[:3]:
            read = finish(tiny_pair_live, pack, embed(tiny_pair_live, pack), 0)
            rows = read_answers(tiny_pair_live, pack, read)
            expected |= {q.id: row for q, row in zip(pack.questions, rows, strict=True)}
    assert found.measured("log_probability") == {
        s.id: expected[s.id][s.answer] for s in few.samples
    }


def engine_free(pair):
    """The pair with a live merge of its own."""
    own = live.LiveMerge(pair.model, pair.live._backbone, None, pair.alignment)
    return replace(pair, live=own)


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


def test_a_rerun_has_the_same_bits(engine, few):
    assert engine().evaluate(RESTORED, few) == engine().evaluate(RESTORED, few)


def test_the_vlm_is_itself_again_after_the_block_and_the_engine_says_so(
    engine, few, tiny_pair_live
):
    before = {n: p.clone() for n, p in tiny_pair_live.model.named_parameters()}
    asked = engine()
    asked.evaluate(uniform(9, 0.5), few)
    assert any(not torch.equal(p, before[n]) for n, p in tiny_pair_live.model.named_parameters())
    asked.__exit__(None, None, None)
    assert all(torch.equal(p, before[n]) for n, p in tiny_pair_live.model.named_parameters())
    with pytest.raises(RuntimeError, match="inside its with block only"):
        asked.evaluate(RESTORED, few)


def test_visiting_order_changes_no_bit(engine, few):
    backwards = replace(few, samples=few.samples[::-1])
    one, other = (engine().evaluate(RESTORED, suite) for suite in (few, backwards))
    assert one.measured("log_probability") == other.measured("log_probability")
    assert one.ids == other.ids[::-1]


def test_other_videos_change_no_bit_and_fewer_companions_nothing_but_rounding(engine, few, half):
    whole = engine().evaluate(RESTORED, half).measured("log_probability")
    some = engine().evaluate(RESTORED, few).measured("log_probability")
    assert some.items() <= whole.items()
    alone = few.only(s.id for s in few.samples[::5])
    assert furthest(engine().evaluate(RESTORED, alone), engine().evaluate(RESTORED, few)) <= (
        ROUNDING
    )


def test_an_earlier_recipe_or_suite_leaves_no_trace(engine, few, half):
    used = engine()
    for recipe in (uniform(9, 1.0), base(9), backbone(9), attention(9, {3: 0.2})):
        used.evaluate(recipe, half)
    assert used.evaluate(RESTORED, few) == engine().evaluate(RESTORED, few)


@pytest.mark.parametrize("prefixes", [0, 3])
@pytest.mark.parametrize(
    "kept",
    [{"levels_gib": 1.0}, {"levels_gib": 0.001, "host_levels_gib": 1.0}],
    ids=["device", "host"],
)
def test_where_a_forward_begins_changes_no_bit(engine, half, kept, prefixes):
    recipes = [attention(9, {first: 0.7, 8: 0.4}) for first in range(9)]
    recipes += [attention(9, {first: 0.7, 7: 0.9}) for first in (6, 2)]
    plain = engine()
    expected = [plain.evaluate(r, half) for r in recipes]
    quick = engine(starts=EVERY_LAYER, prefixes=prefixes, **kept)
    quick.evaluate(base(9), half)
    found = [quick.evaluate(r, half) for r in recipes]
    assert found == expected
    skipped = [e.cost.layers_skipped for e in found[:9]]
    assert skipped == [pytest.approx(first / 9) for first in range(9)]
    assert {e.cost.layers_skipped for e in expected} == {0.0}
    if prefixes:
        assert found[9].cost.layers_skipped == pytest.approx(7 / 9)


def test_without_memory_for_levels_every_forward_begins_at_the_bottom(engine, few):
    asked = engine(starts=EVERY_LAYER)
    asked.evaluate(base(9), few)
    assert asked.evaluate(attention(9, {8: 0.5}), few).cost.layers_skipped == 0.0


def test_a_second_evaluation_comes_from_the_cache_whole(engine, few, forwards):
    first = engine("cache").evaluate(RESTORED, few)
    asked = len(forwards)
    assert asked == 3
    again = engine("cache").evaluate(RESTORED, few)
    assert again == first
    assert (first.cost is None, again.cost) == (False, None)
    assert len(forwards) == asked


def test_another_recipe_suite_pair_or_setting_is_measured_anew(
    engine, few, forwards, tiny_pair_live, tmp_path
):
    engine("cache").evaluate(RESTORED, few)
    fewer = few.only(s.id for s in few.samples[:10])
    other = replace(tiny_pair_live, digest="other")
    runs = (
        partial(engine, "cache"),
        partial(engine, "cache"),
        partial(engine, "cache"),
        partial(engine, "cache", threads=2),
        partial(engine, "cache", pair=other),
    )
    questions = (
        (base(9), few),
        (RESTORED, fewer),
        (RESTORED, replace(few, roles=Roles("kind", {"nth": "TP"}))),
        (RESTORED, few),
        (RESTORED, few),
    )
    try:
        for make, asked in zip(runs, questions, strict=True):
            before = len(forwards)
            make().evaluate(*asked)
            assert len(forwards) > before
    finally:
        torch.set_num_threads(1)
    assert len(evaluations(tmp_path / "cache")) == 1 + len(runs)


def test_settings_that_move_no_number_share_the_cache(engine, few, forwards):
    first = engine("cache").evaluate(RESTORED, few)
    same = {"backbone": "host", "features_gib": 2.0, "levels_gib": 1.0, "prefixes": 2}
    assert engine("cache", starts=EVERY_LAYER, **same).evaluate(RESTORED, few) == first
    assert len(forwards) == 3


@pytest.mark.parametrize("damage", ["torn", "foreign"])
def test_a_damaged_cache_file_is_dropped_and_rebuilt(engine, few, forwards, tmp_path, damage):
    first = engine("cache").evaluate(RESTORED, few)
    (path,) = evaluations(tmp_path / "cache")
    whole = json.loads(path.read_text())
    torn = path.read_text()[:100]
    foreign = json.dumps(whole | {"key": ["someone", "else"]})
    path.write_text({"torn": torn, "foreign": foreign}[damage])
    assert engine("cache").evaluate(RESTORED, few) == first
    assert len(forwards) == 6
    assert json.loads(path.read_text()) == whole


@pytest.mark.parametrize("layer", [0, 4, 8])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_fail_the_trial_with_sample_and_layer(
    engine, few, tiny_pair_live, tmp_path, layer, poison
):
    parameter = decoder_layers(tiny_pair_live.model)[layer].mlp.down_proj.weight
    healthy = parameter.clone()
    asked = engine("cache", starts=EVERY_LAYER)
    try:
        parameter[3] = poison
        with pytest.raises(TrialFailed, match=rf"logits are not finite, from layer {layer} on"):
            asked.evaluate(base(9), few)
        with pytest.raises(TrialFailed, match=rf"^sample {few.samples[4].id}: "):
            asked.evaluate(base(9), few.only([few.samples[4].id]))
    finally:
        parameter.copy_(healthy)
    assert evaluations(tmp_path / "cache") == []
    assert engine("cache").evaluate(base(9), few).unscored == {}


@pytest.fixture
def memory_for(monkeypatch):
    """Let at most so many questions fit into memory at once."""

    def limit(most):
        sizes = []

        def scarce(pair, pack, hidden):
            sizes.append(len(pack.questions))
            if len(pack.questions) > most:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return read_answers(pair, pack, hidden)

        monkeypatch.setattr(engine_module, "read_answers", scarce)
        return sizes

    return limit


def test_out_of_memory_halves_a_pack_once_for_good_and_says_so(engine, few, memory_for, told):
    whole = engine().evaluate(RESTORED, few)
    sizes = memory_for(3)
    asked = engine()
    found = asked.evaluate(RESTORED, few)
    assert sizes == [5, 2, 3] * 3
    assert found.cost.halved == 3
    assert furthest(found, whole) <= ROUNDING
    assert len(told.warnings) == 3
    assert "asking half of them at a time" in told.warnings[0]
    sizes.clear()
    asked.evaluate(base(9), few)
    assert sizes == [2, 3] * 3
    assert len(told.warnings) == 3


@pytest.mark.parametrize("most", [0, 2])
def test_out_of_memory_with_half_a_pack_fails_the_trial(
    engine, few, memory_for, tiny_pair_live, tmp_path, most
):
    before = {n: p.clone() for n, p in tiny_pair_live.model.named_parameters()}
    asked = engine("cache")
    memory_for(most)
    message = "out of memory, with half the questions of a medium too: tried to allocate 2 GiB"
    with pytest.raises(TrialFailed, match=message):
        asked.evaluate(RESTORED, few)
    assert evaluations(tmp_path / "cache") == []
    memory_for(8)
    assert asked.evaluate(RESTORED, few).unscored == {}
    asked.__exit__(None, None, None)
    assert all(torch.equal(p, before[n]) for n, p in tiny_pair_live.model.named_parameters())


def test_out_of_memory_while_merging_fails_the_trial_and_no_other(engine, few, monkeypatch):
    calls = Counter()

    def merge(rule, operands):
        calls["all"] += 1
        if calls["all"] == 9:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return original(rule, operands)

    original = live.merge_tensor
    expected = engine().evaluate(RESTORED, few)
    asked = engine()
    with monkeypatch.context() as patched:
        patched.setattr(live, "merge_tensor", merge)
        with pytest.raises(TrialFailed, match=r"^out of memory: tried to allocate 2 GiB"):
            asked.evaluate(RESTORED, few)
    assert asked.evaluate(RESTORED, few) == expected


def counted_reads(monkeypatch):
    read = []

    def counted(pool, media):
        read.append(media[0].path.name)
        return original(pool, media)

    original = prepare.DecodePool.take
    monkeypatch.setattr(prepare.DecodePool, "take", counted)
    return read


def test_each_video_is_read_once_for_the_life_of_the_cache(engine, few, monkeypatch):
    read = counted_reads(monkeypatch)
    for _ in range(2):
        asked = engine("cache")
        for recipe in (base(9), RESTORED):
            for suite in (few, few.only(s.id for s in few.samples[3:])):
                asked.evaluate(recipe, suite)
    assert Counter(read) == {"00000.mp4": 1, "00001.mp4": 1, "00002.mp4": 1}


def test_features_from_the_cache_give_the_bits_of_fresh_ones(engine, few, tmp_path):
    first = engine("cache").evaluate(RESTORED, few)
    for path in evaluations(tmp_path / "cache"):
        path.unlink()
    assert engine("cache").evaluate(RESTORED, few) == first


def test_other_vision_weights_or_libraries_share_no_features(
    engine, few, monkeypatch, tiny_pair_live
):
    read = counted_reads(monkeypatch)
    engine("cache").evaluate(RESTORED, few)
    weight = next(tiny_pair_live.model.model.visual.parameters())
    healthy = weight.clone()
    try:
        weight.add_(1e-3)
        engine("cache", pair=replace(tiny_pair_live, digest="other")).evaluate(RESTORED, few)
    finally:
        weight.copy_(healthy)
    assert len(read) == 6
    monkeypatch.setattr(versions, "version", lambda _library: "0.0")
    engine("cache").evaluate(base(9), few)
    assert len(read) == 9


def test_a_prompt_longer_than_the_context_window_is_unscored_for_every_recipe(
    engine, few, tiny_pair_live, monkeypatch
):
    lengths = Counter()
    config = tiny_pair_live.model.get_decoder().config
    for pack in engine()._preparer.prepare(few).packs:
        for question, rows in zip(pack.questions, pack.suffixes, strict=True):
            lengths[question.id] = pack.prefix + rows
    longest = max(lengths.values())
    monkeypatch.setattr(config, "max_position_embeddings", longest - 1)
    expected = {i for i, length in lengths.items() if length == longest}
    found = engine().evaluate(base(9), replace(few, max_unusable=0.9))
    assert found.unscored.keys() == expected
    (why,) = set(found.unscored.values())
    assert why.startswith(f"its prompt has {longest} tokens and this model reads {longest - 1};")
    with pytest.raises(UserError, match=r"cannot be asked, more than suite\.max_unusable=0\.0"):
        engine().evaluate(base(9), few)


def test_progress_runs_through_the_media(engine, few, told):
    engine().evaluate(base(9), few)
    assert told.stages == [("reading clips media", i, 3) for i in range(3)]


def test_an_evaluation_says_what_it_cost(engine, half):
    asked = engine(starts=EVERY_LAYER, levels_gib=1.0)
    full = asked.evaluate(base(9), half).cost
    late = asked.evaluate(attention(9, {6: 0.5}), half).cost
    for cost in (full, late):
        assert (cost.questions, cost.questions_saved, cost.halved) == (30, 0, 0)
        assert min(cost.switch, cost.load, cost.forward, cost.score) > 0
        assert 0 < cost.utilisation < 1.5
        assert cost.peak_bytes > 10e6
        assert cost.tokens == full.tokens
    assert 0.2 * full.flops < late.flops < 0.33 * full.flops
    assert (
        late.numbers.keys() == full.numbers.keys() >= {"questions_saved", "flops", "utilisation"}
    )
