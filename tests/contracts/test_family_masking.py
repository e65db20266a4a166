"""What masks a layer of a family does what it says, over what a recipe made, and leaves nothing behind."""

import random
from dataclasses import replace

import pytest
import torch

from merit_opt.errors import UserError
from merit_opt.models.alignment import decoder_layers
from merit_opt.models.forward import embed, run_layers
from merit_opt.models.levels import HiddenLevels, LevelBudget
from merit_opt.models.masking import head_groups
from merit_opt.models.means import means_of, module_sums
from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.intervention import HOWS, Intervention
from merit_opt.recipe.recipe import LayerMerge, Recipe
from tests.contracts.stock import (
    answers,
    answers_from,
    heard,
    packs_of,
    random_recipe,
    snapshot,
    stock_inputs,
    stock_row,
    tensors_of,
    unlike,
)

GIB = 1024**3
LAYER = 1


@pytest.fixture(scope="module")
def asked(pair, small_suite, clips):
    (one,) = packs_of(pair, small_suite, clips, 1)
    return one


@pytest.fixture(scope="module")
def means(pair, asked):
    return means_of([module_sums(pair, asked, 0)])


def hooks_of(model):
    """Of every module, what hangs on it."""
    kinds = [name for name in vars(torch.nn.Module()) if name.endswith("_hooks")]
    assert "_forward_hooks" in kinds
    assert "_forward_pre_hooks" in kinds
    return {name: [list(getattr(m, k)) for k in kinds] for name, m in model.named_modules()}


def masks(pair, layers=(LAYER,)):
    """Every kind of intervention on attention and MLP, whole and by head group."""
    group = head_groups(decoder_layers(pair.model)[LAYER].self_attn).count - 1
    for how in HOWS:
        yield Intervention(layers, "attention", how)
        yield Intervention(layers, "attention", how, group)
        if how != "revert" or "mlp" in pair.alignment.parts:
            yield Intervention(layers, "mlp", how)


def everywhere(pair, coefficient=0.5):
    parts = pair.alignment.parts
    return Recipe(
        (LayerMerge(**dict.fromkeys(parts, uniform(1, coefficient).layers[0].attention)),)
        * pair.n_layers
    )


def furthest_by(one, other):
    return max(abs(a - b) for i in one for a, b in zip(one[i], other[i], strict=True))


def test_any_sequence_of_masks_and_recipes_leads_back(pair, asked, means):
    rng = random.Random(5)
    before, hanging, unmerged = snapshot(pair.model), hooks_of(pair.model), answers(pair, asked)
    drawn = [None, *masks(pair), *masks(pair, (0, LAYER, pair.n_layers - 1))]
    for _ in range(2):
        with pair.switching() as switch:
            for mask in rng.sample(drawn, len(drawn)):
                recipe = random_recipe(pair.n_layers, rng, pair.alignment.parts)
                if mask is not None and mask.how == "revert":
                    recipe = everywhere(pair)
                switch(recipe, mask, means)
                masked = snapshot(pair.model)
                found = answers(pair, asked)
                switch(base(pair.n_layers))
                assert unlike(tensors_of(pair.model), before) == []
                assert hooks_of(pair.model) == hanging
                switch(recipe, mask, means)
                assert unlike(tensors_of(pair.model), masked) == []
                assert answers(pair, asked) == found
        assert unlike(tensors_of(pair.model), before) == []
        assert hooks_of(pair.model) == hanging
    assert answers(pair, asked) == unmerged


def test_an_exception_in_a_masked_model_leaves_it_as_it_was(pair, means):
    before, hanging = snapshot(pair.model), hooks_of(pair.model)

    def failing(mask):
        with pair.switching() as switch:
            switch(everywhere(pair), mask, means)
            raise ZeroDivisionError

    for mask in masks(pair):
        with pytest.raises(ZeroDivisionError):
            failing(mask)
        assert unlike(tensors_of(pair.model), before) == []
        assert hooks_of(pair.model) == hanging


def test_a_masked_merged_model_is_neither_the_merged_nor_the_masked_vlm(pair, asked, means):
    merged, unmerged = everywhere(pair), base(pair.n_layers)
    with pair.switching() as switch:
        plain = {r.digest: (switch(r), answers(pair, asked))[1] for r in (merged, unmerged)}
        for mask in masks(pair):
            switch(merged, mask, means)
            of_merged = answers(pair, asked)
            assert furthest_by(of_merged, plain[merged.digest]) > 1e-6, mask
            assert furthest_by(of_merged, plain[unmerged.digest]) > 1e-6, mask
            if mask.how != "revert":
                switch(unmerged, mask, means)
                assert furthest_by(of_merged, answers(pair, asked)) > 1e-6, mask


def test_a_masked_layer_keeps_what_the_recipe_makes_of_all_others(pair, means):
    recipe = everywhere(pair)
    with pair.switching() as switch:
        switch(recipe)
        merged = snapshot(pair.model)
        for mask in masks(pair):
            switch(recipe, mask, means)
            own = f".layers.{LAYER}.{'self_attn' if mask.part == 'attention' else 'mlp'}."
            changed = unlike(tensors_of(pair.model), merged)
            assert all(own in name and "visual" not in name for name in changed), mask
            assert bool(changed) == (mask.how in ("inverse_width", "revert"))


@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_zero_is_a_stock_model_whose_last_projection_is_zero(
    pair, small_suite, clips, asked, part
):
    """Packed and stock, bit for bit."""
    layer = decoder_layers(pair.model)[LAYER]
    module = layer.self_attn.o_proj if part == "attention" else layer.mlp
    weights = [
        p for name, p in module.named_parameters() if part == "attention" or "down_proj" in name
    ]
    video, samples = next(iter(clips.values()))
    inputs = stock_inputs(pair, small_suite, samples[0], video)
    recipe = everywhere(pair)
    with pair.switching() as switch:
        switch(recipe, Intervention((LAYER,), part, "zero"))
        found = answers(pair, asked), stock_row(pair, inputs, 4)
    with pair.merged(recipe), torch.no_grad():
        own = [w.clone() for w in weights]
        for weight in weights:
            weight.zero_()
        expected = answers(pair, asked), stock_row(pair, inputs, 4)
        for weight, value in zip(weights, own, strict=True):
            weight.copy_(value)
    assert found == expected


@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_inverse_width_is_a_stock_model_with_overwritten_weights_saved_and_loaded(
    source, pair, asked, tmp_path, part
):
    model = pair.model
    layer = decoder_layers(model)[LAYER]
    module = layer.self_attn if part == "attention" else layer.mlp
    matrices = [p for p in module.parameters() if p.ndim > 1]
    with torch.no_grad():
        own = [m.clone() for m in matrices]
        for matrix in matrices:
            matrix.fill_(1.0 / matrix.shape[-2])
        model.save_pretrained(tmp_path)
        for matrix, value in zip(matrices, own, strict=True):
            matrix.copy_(value)
    pair.processor.save_pretrained(tmp_path)
    loaded = replace(source, vlm=str(tmp_path), dtype=None).load("cpu", "device")
    with pair.switching() as switch:
        switch(base(pair.n_layers), Intervention((LAYER,), part, "inverse_width"))
        assert unlike(tensors_of(loaded.model), tensors_of(model)) == []
        assert answers(loaded, asked) == answers(pair, asked)


@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_mean_puts_in_what_the_module_says_on_average(pair, asked, part):
    recipe = attention(pair.n_layers, {0: 0.5})
    layer = decoder_layers(pair.model)[LAYER]
    module = layer.self_attn if part == "attention" else layer.mlp
    seen = []
    with pair.merged(recipe), torch.no_grad():
        found = means_of([module_sums(pair, asked, 0)] * 2)
        hook = module.register_forward_hook(lambda _m, _i, output: seen.append(output))
        hidden = run_layers(pair, asked, embed(pair, asked), 0, LAYER + 1)
        hook.remove()
        before = run_layers(pair, asked, embed(pair, asked), 0, LAYER)
    output = first_of(seen[0])
    mean = output[0].mean(0)
    assert torch.allclose(found[LAYER, part], mean, atol=1e-5)
    with pair.switching() as switch, torch.no_grad():
        switch(recipe, Intervention((LAYER,), part, "mean"), found)
        replaced = run_layers(pair, asked, before, LAYER, LAYER + 1)
        switch(recipe)
        one, other = (
            by_hand(layer, before, part, added) for added in (mean.expand_as(output), output)
        )
    assert not torch.allclose(replaced, hidden, atol=1e-4)
    # What deepstack adds after the layer is the same on both sides.
    assert torch.allclose(replaced - hidden, one - other, atol=1e-4)


def by_hand(layer, hidden, part, added):
    """A decoder layer whose attention or MLP adds what is given."""
    if part == "mlp":
        return added
    hidden = hidden + added
    return hidden + first_of(layer.mlp(layer.post_attention_layernorm(hidden)))


def first_of(output):
    return output[0] if isinstance(output, tuple) else output


def test_a_group_s_share_is_replaced_and_no_other(pair, asked, means):
    layer = decoder_layers(pair.model)[LAYER]
    groups = head_groups(layer.self_attn)
    first, stop = groups.read(1)
    for how in ("zero", "mean"):
        with pair.switching() as switch, torch.no_grad():
            switch(base(pair.n_layers))
            with heard(layer.self_attn.o_proj) as seen:
                run_layers(pair, asked, embed(pair, asked), 0, LAYER + 1)
                plain = seen[0].clone()
            switch(base(pair.n_layers), Intervention((LAYER,), "attention", how, 1), means)
            with heard(layer.self_attn.o_proj) as seen:
                run_layers(pair, asked, embed(pair, asked), 0, LAYER + 1)
                masked = seen[0]
        constant = 0.0 if how == "zero" else means[LAYER, "heads"][first:stop]
        assert torch.equal(
            masked[..., first:stop] - constant, torch.zeros_like(masked[..., first:stop])
        )
        plain[..., first:stop] = masked[..., first:stop]
        assert torch.equal(masked, plain)


def test_all_groups_together_are_the_whole_module(pair, asked):
    """Turned off one after the other in the weights, group by group, or as one."""
    attention_module = decoder_layers(pair.model)[LAYER].self_attn
    covered = torch.zeros(attention_module.o_proj.weight.shape[1])
    groups = head_groups(attention_module)
    for group in range(groups.count):
        first, stop = groups.read(group)
        covered[first:stop] += 1
        rows = {n: groups.span(f"{n}.weight", group) for n in ("q_proj", "k_proj", "v_proj")}
        assert rows["k_proj"] == rows["v_proj"]
        assert rows["q_proj"] == (0, first, stop)
    assert torch.equal(covered, torch.ones_like(covered))
    last = groups.span("k_proj.weight", groups.count - 1)
    assert last is not None
    assert last[2] == attention_module.k_proj.weight.shape[0]


def test_reverting_a_module_is_the_recipe_without_it(pair):
    recipe = everywhere(pair)
    for part in set(pair.alignment.parts) & {"attention", "mlp"}:
        layers = list(recipe.layers)
        layers[LAYER] = replace(layers[LAYER], **{part: None})
        with pair.switching() as switch:
            switch(Recipe(tuple(layers)))
            without = snapshot(pair.model)
            switch(recipe, Intervention((LAYER,), part, "revert"))
            assert unlike(tensors_of(pair.model), without) == []


def test_what_is_not_merged_cannot_be_reverted(pair):
    recipe, mask = attention(pair.n_layers, {0: 0.5}), Intervention((0, 1), "attention", "revert")
    message = r"does not merge attention of layers \[1\]"
    with pair.switching() as switch, pytest.raises(UserError, match=message):
        switch(recipe, mask)


def test_layers_and_heads_that_are_not_there_are_refused(pair):
    n = pair.n_layers
    with pair.switching() as switch:
        with pytest.raises(UserError, match=rf"layers run from 0 to {n - 1}; got \[{n}\]"):
            switch(base(n), Intervention((0, n), "mlp", "zero"))
        with pytest.raises(UserError, match=r"head groups of layer 0 run from 0 to \d; got 64"):
            switch(base(n), Intervention((0,), "attention", "zero", 64))


def test_a_kept_beginning_below_the_mask_changes_nothing_and_none_above_is_kept(
    pair, asked, means
):
    n = pair.n_layers
    recipes = (base(n), everywhere(pair), attention(n, {0: 0.5, n - 1: 1.0}))
    levels = HiddenLevels(tuple(range(1, n)), LevelBudget(GIB, 0, 2))
    expected = {}
    with pair.switching() as switch:
        subjects = [
            (r, m) for r in recipes for m in (None, *masks(pair, (LAYER,)), *masks(pair, (2,)))
        ]
        subjects = [
            (r, m) for r, m in subjects if m is None or m.how != "revert" or r is recipes[1]
        ]
        for recipe, mask in subjects:
            switch(recipe, mask, means)
            expected[recipe, mask] = answers(pair, asked)
        random.Random(3).shuffle(subjects)
        for recipe, mask in [*subjects, *subjects]:
            switch(recipe, mask, means)
            until = None if mask is None else mask.layers[0]
            start, found = answers_from(pair, asked, levels, recipe, until)
            assert found == expected[recipe, mask]
            assert until is None or start <= until
