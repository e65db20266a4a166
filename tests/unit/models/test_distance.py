import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from merit_opt.errors import UserError
from merit_opt.models.distance import Distance, distances, looks_unrelated
from merit_opt.models.source import folder_pair
from merit_opt.recipe.recipe import PARTS
from tests.unit.models.small import TEXT, VLM, change_weights, noisy, nothing, part_of

PREFIX = "model.layers."


def found(pair):
    return distances(pair.stored.vlm, pair.stored.backbone, nothing)


@pytest.fixture
def text(tmp_path):
    return noisy(TEXT, tmp_path / "text", 0)


def test_it_is_the_relative_norm_of_the_difference_as_one_vector(text):
    ours, theirs = (load_file(f / "model.safetensors") for f in (VLM, text))
    sums = {}
    for name in theirs:
        if name.startswith(PREFIX):
            layer, _, inner = name.removeprefix(PREFIX).partition(".")
            key = (int(layer), part_of(inner))
            vlm, other = ours[name].double(), theirs[name].double()
            apart, own = sums.get(key, (0.0, 0.0))
            sums[key] = (apart + float((other - vlm).pow(2).sum()), own + float(vlm.pow(2).sum()))
    told = found(folder_pair(VLM, text, None))
    assert [(d.layer, d.part) for d in told] == sorted(sums, key=lambda k: (k[0], order(k[1])))
    for d in told:
        apart, own = sums[d.layer, d.part]
        assert d.relative == pytest.approx(math.sqrt(apart / own), rel=1e-5)


def order(part):
    return PARTS.index(part)


def test_a_model_is_at_no_distance_from_itself():
    pair = folder_pair(VLM, TEXT, None)
    assert {d.relative for d in distances(pair.stored.vlm, pair.stored.vlm, nothing)} == {0.0}


@pytest.mark.parametrize(("value", "relative"), [(0.0, 0.0), (1.0, math.inf)])
def test_from_a_part_of_zeros_only_zeros_are_near(tmp_path, text, value, relative):
    vlm = noisy(VLM, tmp_path / "vlm", 1)

    def fill(number):
        return lambda w: [t.fill_(number) for n, t in w.items() if f"{PREFIX}4.mlp" in n]

    change_weights(vlm, fill(0.0))
    change_weights(text, fill(value))
    told = {(d.layer, d.part): d.relative for d in found(folder_pair(vlm, text, None))}
    assert told[4, "mlp"] == relative


def test_dtypes_on_disk_do_not_matter(text):
    pair = folder_pair(VLM, text, None)
    before = found(pair)
    change_weights(text, lambda w: w.update({n: t.double() for n, t in w.items()}))
    assert found(replace(pair)) == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_named(text, value):
    name = f"{PREFIX}7.input_layernorm.weight"
    change_weights(text, lambda w: w[name][3:4].fill_(value))
    with pytest.raises(UserError, match=rf"{name} in {text}/model\.safetensors holds NaN or inf"):
        found(folder_pair(VLM, text, None))


def test_progress_counts_tensors(text):
    seen = []
    pair = folder_pair(VLM, text, None)
    distances(pair.stored.vlm, pair.stored.backbone, lambda *row: seen.append(row))
    assert seen == [(n, 108) for n in range(1, 109)]


@given(st.integers(0, 2**31))
def test_random_models_look_unrelated_and_tuned_ones_do_not(seed):
    generator = torch.Generator().manual_seed(seed)
    vlm, other = torch.randn(2, 4, 400, generator=generator)
    for step, expected in ((other, True), (vlm + 0.1 * other, False)):
        rows = [
            Distance(i, "attention", float((b - a).norm() / a.norm()))
            for i, (a, b) in enumerate(zip(vlm, step, strict=True))
        ]
        assert looks_unrelated([*rows, Distance(0, "mlp", 0.5)]) == expected
