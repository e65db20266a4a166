"""No switch, cache or start changes a bit of what a family computes."""

import random
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.media.image import Image
from merit_opt.data.sample import Media
from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.models.forward import embed
from merit_opt.models.levels import HiddenLevels, LevelBudget
from merit_opt.models.pack import pack
from merit_opt.models.rope import require_float32_rope
from merit_opt.recipe.constructors import attention, base, uniform
from tests.contracts.stock import (
    answers,
    answers_from,
    ask,
    encode,
    exported,
    feature_tensors,
    noise,
    pack_of,
    packs_of,
    random_recipe,
    snapshot,
    stock_inputs,
    stock_row,
    tensors_of,
    unlike,
)

GIB = 1024**3


def test_cached_features_are_the_recomputed_ones_bit_for_bit(either, small_suite, clips, tmp_path):
    store = FeatureStore(tmp_path, GIB)
    identity = feature_identity(either, threads=1)
    video, samples = next(iter(clips.values()))
    for name, medium in {"video": video, "image": Image(noise((60, 200)))}.items():
        key = feature_key(identity, (Media(Path(name), name),), ALL_FRAMES, "auto")
        fresh = encode(either, medium)
        store.get(key, lambda medium=medium: encode(either, medium))
        kept = FeatureStore(tmp_path, GIB).get(key, pytest.fail)
        assert unlike(feature_tensors(kept), feature_tensors(fresh)) == []
        for field in ("prompt", "grid", "seconds_per_grid", "times", "status"):
            assert getattr(kept, field) == getattr(fresh, field)
        one, other = (
            pack([ask(either, small_suite, s, f) for s in samples], f) for f in (kept, fresh)
        )
        assert torch.equal(one.position_ids, other.position_ids)
        assert answers(either, one) == answers(either, other)


def test_sixty_switches_equal_fresh_merges_and_lead_back(source, either):
    rng = random.Random(60)
    before = snapshot(either.model)
    names = {id(parameter): name for name, parameter in either.model.named_parameters()}
    aligned = {t: names[id(layer_tensor(either.model, t))] for t in either.alignment.tensors}
    donor = AutoModelForCausalLM.from_pretrained(source.backbone, dtype=either.model.dtype)
    touched = set()
    with either.switching() as switch:
        for _ in range(60):
            recipe = random_recipe(either.n_layers, rng, either.alignment.parts)
            model = switch(recipe)
            expected = dict(before)
            for tensor, name in aligned.items():
                if rule := recipe.layers[tensor.layer].rule(tensor.part):
                    expected[name] = merge_tensor(
                        rule,
                        Operands(tensor.path, before[name], layer_tensor(donor, tensor), None),
                    )
            assert unlike(tensors_of(model), expected) == []
            touched |= {name for name in aligned.values() if expected[name] is not before[name]}
    assert touched == set(aligned.values())
    assert unlike(tensors_of(either.model), before) == []


def test_an_exception_inside_a_merge_leaves_the_vlm_as_it_was(either, small_suite, clips):
    asked = pack_of(either, small_suite, *next(iter(clips.values())))
    before, unmerged = snapshot(either.model), answers(either, asked)
    recipe = random_recipe(either.n_layers, random.Random(1), either.alignment.parts)

    def failing_trial():
        with either.switching() as switch:
            switch(uniform(either.n_layers, 0.5))
            switch(recipe)
            assert unlike(tensors_of(either.model), before) != []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_trial()
    assert unlike(tensors_of(either.model), before) == []
    assert answers(either, asked) == unmerged


def test_the_live_merge_equals_its_export_loaded_again(
    source, either, small_suite, clips, tmp_path
):
    recipe = random_recipe(either.n_layers, random.Random(2), either.alignment.parts)
    asked = replace(source, dtype=str(either.model.dtype).removeprefix("torch."))
    exported(asked, recipe, tmp_path / "out")
    loaded = replace(source, vlm=str(tmp_path / "out"), dtype=None).load("cpu", "device")
    video, samples = next(iter(clips.values()))
    with either.merged(recipe) as model:
        assert unlike(tensors_of(loaded.model), tensors_of(model)) == []
        one, other = (pack_of(p, small_suite, video, samples) for p in (either, loaded))
        assert answers(either, one) == answers(loaded, other)
        for sample in samples:
            ours, theirs = (
                stock_row(p, stock_inputs(p, small_suite, sample, video), 4)
                for p in (either, loaded)
            )
            assert ours == theirs


def test_rotary_frequencies_are_float32(either):
    found = [b for name, b in either.model.named_buffers() if name.endswith("inv_freq")]
    assert found
    assert {b.dtype for b in found} == {torch.float32}
    require_float32_rope(either.model)


def test_a_model_cast_as_a_whole_is_refused(pair, small_suite, clips):
    asked = pack_of(pair, small_suite, *next(iter(clips.values())))
    cast = replace(pair, model=deepcopy(pair.model).to(torch.bfloat16))
    with pytest.raises(RuntimeError, match=r"inv_freq is torch\.bfloat16, expected float32"):
        require_float32_rope(cast.model)
    with pytest.raises(RuntimeError, match=r"inv_freq is torch\.bfloat16, expected float32"):
        answers(cast, asked)


def test_every_single_cast_of_rotary_frequencies_is_refused(pair):
    for name, _ in pair.model.named_buffers():
        if name.endswith("inv_freq"):
            model = deepcopy(pair.model)
            owner, _, buffer = name.rpartition(".")
            setattr(model.get_submodule(owner), buffer, model.get_buffer(name).bfloat16())
            with pytest.raises(RuntimeError, match=f"{name} is torch.bfloat16"):
                require_float32_rope(model)


def test_starting_at_any_layer_equals_starting_at_the_first(either, small_suite, clips):
    n_layers = either.n_layers
    on_device, on_host = asked = packs_of(either, small_suite, clips, 2)
    budget = LevelBudget(embed(either, on_device).nbytes, embed(either, on_host).nbytes, 0)
    unmerged = [answers(either, one) for one in asked]
    for first in range(1, n_layers):
        levels = HiddenLevels((first,), budget)
        recipe = attention(n_layers, dict.fromkeys(range(first, n_layers), 0.5))
        for one, expected in zip(asked, unmerged, strict=True):
            assert answers_from(either, one, levels, base(n_layers)) == (0, expected)
        with either.merged(recipe):
            for one in asked:
                full = answers(either, one)
                for _ in range(2):
                    assert answers_from(either, one, levels, recipe) == (first, full)
        for one, expected in zip(asked, unmerged, strict=True):
            assert answers_from(either, one, levels, base(n_layers)) == (first, expected)


def test_a_kept_merged_beginning_changes_nothing(either, small_suite, clips):
    n_layers = either.n_layers
    (asked,) = packs_of(either, small_suite, clips, 1)
    for level in range(1, n_layers):
        levels = HiddenLevels((level,), LevelBudget(GIB, 0, 1))
        below = dict.fromkeys(range(level), 0.5)
        one, other = (attention(n_layers, below | {n_layers - 1: c}) for c in (0.25, 1.0))
        for recipe, start in ((one, 0), (other, level), (one, level)):
            with either.merged(recipe):
                full = answers(either, asked)
                assert answers_from(either, asked, levels, recipe) == (start, full)
