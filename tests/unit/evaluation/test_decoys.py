"""Layers changed much without harm fool a distance, and not a slope."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from merit_opt.models.distance import distances
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe.constructors import base
from merit_opt.recipe.recipe import PARTS

PLANTED = (3, 5)
DECOYS = (4, 8)


def turned(weights, layer, signs):
    """The same function: value dimensions change their sign, and so does what reads them."""
    (prefix,) = {
        name.partition("v_proj")[0] for name in weights if f".{layer}.self_attn.v_proj" in name
    }
    by = {"v_proj.weight": signs[:, None], "v_proj.bias": signs, "o_proj.weight": signs}
    return {prefix + name: weights[prefix + name] * own for name, own in by.items()}


@pytest.fixture(scope="module")
def plain():
    return tiny_pair(vlm="vlm_planted_3_5", dtype="float32")


@pytest.fixture(scope="module")
def decoyed(plain, tmp_path_factory):
    """The planted pair with every other value dimension of two neutral layers turned."""
    folder = shutil.copytree(plain.vlm, tmp_path_factory.mktemp("decoys") / "vlm")
    weights = load_file(folder / "model.safetensors")
    signs = torch.tensor([1.0, -1.0], dtype=torch.bfloat16).repeat(48)
    for layer in DECOYS:
        weights |= turned(weights, layer, signs)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(plain, vlm=str(folder))


def first(numbers):
    """The two layers with the greatest numbers."""
    return tuple(sorted(sorted(range(9), key=numbers.__getitem__)[-2:]))


def relative(source):
    found = distances(source.stored.vlm, source.stored.backbone, lambda _done, _total: None)
    return {d.layer: d.relative for d in found if d.part == "attention"}


@pytest.mark.parametrize("name", ["plain", "decoyed"])
def test_slopes_rank_the_planted_layers_first(engine, few, request, name):
    pair = request.getfixturevalue(name).load("cpu", "device")
    found = engine(pair=pair).screen(base(9), few, ["attention"])
    assert first([found.of("TR", layer, PARTS) for layer in range(9)]) == PLANTED


def test_the_decoys_answer_as_the_planted_model_does(engine, few, plain, decoyed):
    one, other = (
        engine(pair=source.load("cpu", "device")).evaluate(base(9), few).measured("margin")
        for source in (plain, decoyed)
    )
    assert one == pytest.approx(other, abs=1e-4)


def test_distances_rank_the_decoys_first(plain, decoyed):
    assert first(relative(decoyed)) == DECOYS
    assert first(relative(plain)) != DECOYS
