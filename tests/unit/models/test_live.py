import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from merit_opt.errors import UserError
from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models import live
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.live import LiveMerge
from merit_opt.recipe.constructors import attention, backbone, base, full, uniform
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe
from merit_opt.recipe.rules import DareTies, Lerp, Ties, lerp
from tests.unit.models.small import text_folder

RECIPE = full(9, 0.5)


def bits(model):
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors}


@pytest.fixture(scope="module")
def pair(foreign_pair_live):
    return foreign_pair_live


@pytest.fixture(scope="module")
def own_bits(pair):
    return bits(pair.model)


@pytest.fixture(autouse=True)
def the_model_is_itself_again(pair, own_bits):
    yield
    assert bits(pair.model) == own_bits


@pytest.fixture(scope="module")
def stored(foreign_source):
    """Both models' tensors, from their files."""
    folders = (foreign_source.vlm, foreign_source.backbone)
    files = [load_file(f"{folder}/model.safetensors") for folder in folders]
    return [{name: tensor.float() for name, tensor in file.items()} for file in files]


@pytest.fixture(scope="module")
def fresh(pair, own_bits, stored):
    """What the model's bits are when a recipe meets the stored tensors for the first time."""
    vlm, text = stored

    def merge(recipe):
        merged = dict(own_bits)
        for tensor in pair.alignment.tensors:
            rule = recipe.layers[tensor.layer].rule(tensor.part)
            if rule is not None:
                name = f"layers.{tensor.layer}.{tensor.name}"
                key = f"model.{name}"
                value = merge_tensor(rule, Operands(name, vlm[key], text[key], None))
                merged[f"model.language_model.{name}"] = value.numpy().tobytes()
        return merged

    return merge


def random_recipe(rng):
    def rule():
        return lerp(rng.choice([0.0, 0.0, 1.0, rng.random()]))

    return Recipe(tuple(LayerMerge(rule(), rule(), rule()) for _ in range(9)))


def test_any_sequence_of_recipes_equals_fresh_merges_and_leads_back(pair, own_bits, fresh):
    rng = random.Random(0)
    for _ in range(60):
        recipe = random_recipe(rng)
        with pair.merged(recipe) as model:
            assert model is pair.model
            assert bits(model) == fresh(recipe)
        assert bits(pair.model) == own_bits


@pytest.mark.parametrize("part", PARTS)
def test_a_part_changes_its_own_tensors_alone(pair, own_bits, part):
    layers = [LayerMerge()] * 9
    layers[4] = LayerMerge(**{part: lerp(0.5)})
    with pair.merged(Recipe(tuple(layers))) as model:
        changed = {name for name, value in bits(model).items() if value != own_bits[name]}
    assert changed == {
        f"model.language_model.layers.4.{t.name}" for t in pair.alignment.tensors if t.part == part
    }


def test_base_changes_nothing(pair, own_bits):
    with pair.merged(base(9)) as model:
        assert bits(model) == own_bits


def test_the_backbone_recipe_is_the_backbone_bit_for_bit(pair, stored):
    with pair.merged(backbone(9)) as model:
        for tensor in pair.alignment.tensors:
            theirs = stored[1][f"model.layers.{tensor.layer}.{tensor.name}"]
            ours = layer_tensor(model, tensor)
            assert ours.detach().numpy().tobytes() == theirs.numpy().tobytes()


def test_merging_keeps_the_parameters_where_they_are(pair):
    before = {name: (id(p), p.data_ptr()) for name, p in pair.model.named_parameters()}
    with pair.merged(RECIPE) as model:
        assert {n: (id(p), p.data_ptr()) for n, p in model.named_parameters()} == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_the_block_passes_and_the_weights_come_back(pair, own_bits, error):
    with pytest.raises(error, match="mine"), pair.merged(RECIPE):
        raise error("mine")
    assert bits(pair.model) == own_bits
    with pair.merged(RECIPE) as model:
        assert bits(model) != own_bits


@pytest.mark.parametrize("failing", [1, 2, 50, 108])
def test_an_exception_while_writing_passes_and_the_weights_come_back(
    pair, own_bits, fresh, monkeypatch, failing
):
    calls = Counter()

    def merge(rule, operands):
        calls["all"] += 1
        if calls["all"] == failing:
            raise torch.OutOfMemoryError("no memory")
        return merge_tensor(rule, operands)

    with monkeypatch.context() as patched:
        patched.setattr(live, "merge_tensor", merge)
        with pytest.raises(torch.OutOfMemoryError), pair.merged(RECIPE):
            pytest.fail("the block was entered")
    assert calls["all"] == failing
    assert bits(pair.model) == own_bits
    with pair.merged(RECIPE) as model:
        assert bits(model) == fresh(RECIPE)


@pytest.mark.parametrize(
    "inner", [base(9), RECIPE, uniform(9, 1.0)], ids=["base", "same", "other"]
)
def test_a_recipe_inside_a_recipe_raises_and_leaves_the_outer_one(pair, fresh, inner):
    with pair.merged(RECIPE) as model:
        with pytest.raises(RuntimeError, match="a recipe is already applied"), pair.merged(inner):
            pytest.fail("the block was entered")
        assert bits(model) == fresh(RECIPE)


@pytest.mark.parametrize("n_layers", [1, 8, 10])
def test_a_recipe_for_another_number_of_layers_is_refused(pair, own_bits, n_layers):
    message = f"the recipe is for {n_layers} layers, this pair has 9"
    with pytest.raises(UserError, match=message), pair.merged(full(n_layers, 0.5)):
        pytest.fail("the block was entered")
    assert bits(pair.model) == own_bits


def test_a_merge_that_touches_an_unexpected_number_of_tensors_raises(pair, own_bits):
    gap = [t for t in pair.alignment.tensors if t.part == "attention" and t.layer == 3]
    tensors = tuple(t for t in pair.alignment.tensors if t not in gap)
    broken = LiveMerge(pair.model, {}, None, replace(pair.alignment, tensors=tensors))
    message = r"the recipe touches 0 tensors, expected 6"
    with pytest.raises(RuntimeError, match=message), broken.merged(attention(9, {3: 0.5})):
        pytest.fail("the block was entered")
    assert bits(pair.model) == own_bits


def test_task_vectors_without_a_base_are_refused_before_anything_is_written(pair, own_bits):
    layers = [LayerMerge(attention=lerp(0.5)), *[LayerMerge()] * 7]
    recipe = Recipe((*layers, LayerMerge(attention=Ties(0.5, 1.0, 0.5))))
    with pytest.raises(UserError, match=r"give it, pair\.base="), pair.merged(recipe):
        pytest.fail("the block was entered")
    assert bits(pair.model) == own_bits


def test_any_sequence_of_task_vector_recipes_equals_fresh_merges_and_leads_back(
    pair, own_bits, stored, foreign_source, tmp_path_factory
):
    base = text_folder(tmp_path_factory.mktemp("base") / "base", dtype="float32", seed=4)
    theirs = load_file(base / "model.safetensors")
    based = replace(foreign_source, base=str(base)).load("cpu", "host")
    vlm, text = stored
    rng = random.Random(3)
    names = {t: f"layers.{t.layer}.{t.name}" for t in pair.alignment.tensors}
    for _ in range(8):
        kinds = [None, Lerp(1.0), Ties(rng.random(), 1.2, 0.4), DareTies(0.5, 1.0, 0.6, 7)]
        recipe = Recipe(tuple(LayerMerge(*(rng.choice(kinds) for _ in PARTS)) for _ in range(9)))
        expected = dict(own_bits)
        for tensor, name in names.items():
            if rule := recipe.layers[tensor.layer].rule(tensor.part):
                key = f"model.{name}"
                operands = Operands(name, vlm[key], text[key], theirs[key])
                value = merge_tensor(rule, operands).numpy().tobytes()
                expected[f"model.language_model.{name}"] = value
        with based.merged(recipe) as model:
            assert bits(model) == expected
        assert bits(based.model) == own_bits
