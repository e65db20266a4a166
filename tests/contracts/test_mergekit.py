"""What mergekit computes from a file is what the recipe read from that file says."""

import json
import os
import shutil
import subprocess
from dataclasses import astuple, replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from merit_opt.cli.parts import disk_names
from merit_opt.merging.operands import Operands
from merit_opt.merging.task_vectors import largest, merge_task_vectors
from merit_opt.models.mergekit.families import FAILS
from merit_opt.models.mergekit.names import NamedTensor
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.mergekit.write import to_mergekit
from merit_opt.recipe.constructors import base, full, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Lerp, Slerp, TaskArithmetic, Ties
from tests.contracts.checkpoints import qwen
from tests.contracts.stock import SOURCES, exported

COMMAND = shutil.which("mergekit-yaml")
pytestmark = pytest.mark.skipif(COMMAND is None, reason="mergekit-yaml is not on the PATH")
STEP = 2**-7  # relative distance of two neighbours in bfloat16, at most


@pytest.fixture(scope="module")
def folders(written, tmp_path_factory):
    """The live pair, the VLM's checkpoint, and those of the VLM with the backbone's layers and with
    a base's, which is no ancestor of them.
    """
    source = replace(written("qwen2_5_vl"), dtype="bfloat16")
    pair = source.load("cpu", "device")
    folder = tmp_path_factory.mktemp("mergekit")
    exported(source, base(pair.n_layers), folder / "vlm")
    exported(source, full(pair.n_layers, 1.0), folder / "pseudo_vlm")
    pseudo = load_file(folder / "pseudo_vlm" / "model.safetensors")
    shutil.copytree(folder / "pseudo_vlm", folder / "pseudo_base")
    made = torch.Generator().manual_seed(0)
    for tensor in pair.alignment.tensors:
        stored = pseudo[f"model.layers.{tensor.layer}.{tensor.name}"]
        stored += (0.02 * torch.randn(stored.shape, generator=made)).to(stored.dtype)
    save_file(pseudo, folder / "pseudo_base" / "model.safetensors", {"format": "pt"})
    return pair, Roles(*(str(folder / n) for n in ("vlm", "pseudo_vlm", "pseudo_base")))


def names(pair, checkpoint):
    tensors = [
        NamedTensor(f"model.layers.{t.layer}.{t.name}", t.layer, t.part)
        for t in pair.alignment.tensors
    ]
    mergeable = {tensor.name for tensor in tensors}
    assert mergeable < checkpoint.keys()
    return tensors, sorted(checkpoint.keys() - mergeable)


def rules(kind):
    return Recipe(
        (
            LayerMerge(attention=kind(0.2)),
            LayerMerge(),
            LayerMerge(kind(0.65), kind(1.0), kind(0.5)),
            LayerMerge(mlp=kind(0.1 + 0.2)),
        )
    )


def entry(wanted, value):
    return {"value": value} | ({} if wanted is None else {"filter": wanted})


def weighted(model, weight, **more):
    return {"model": str(model), **more, "parameters": {"weight": weight}}


def gradient(vlm, backbone):
    attention, mlp = "self_attn.", "model.layers.1.mlp."
    ours = [entry(attention, [3, 1]), entry(mlp, 1), entry(None, 2)]
    theirs = [entry(attention, [1, 3]), entry(mlp, 4), entry(None, 0)]
    return {
        "merge_method": "linear",
        "base_model": str(vlm),
        "models": [weighted(vlm, ours), weighted(backbone, theirs)],
    }


def arithmetic(vlm, backbone):
    theirs = [entry("layers.1.self_attn", 0.5), entry("layers.3.", "5e-1"), entry(None, 0)]
    return {
        "merge_method": "task_arithmetic",
        "base_model": str(vlm),
        "parameters": {"lambda": 0.5, "int8_mask": True},
        "models": [weighted(backbone, theirs)],
    }


def modules(vlm, backbone):
    """Places of every width, slices of one layer and of more, gradients within them."""
    theirs = [entry("embed", 0), entry("self_attn.", [3, 1])]

    def source(model, first, last, **parameters):
        found = {"parameters": parameters} if parameters else {}
        return {"model": str(model), "layer_range": [first, last], **found}

    def piece(first, last, *others, **parameters):
        found = {"parameters": parameters} if parameters else {}
        return {"sources": [source(vlm, first, last, weight=1), *others], **found}

    kept = {"models": [weighted(vlm, 1), weighted(backbone, 0)]}
    return {
        "merge_method": "linear",
        "base_model": str(vlm),
        "parameters": {"weight": 1},
        "modules": {
            "multi_modal_projector": kept,
            "vision_tower": kept,
            "text_decoder": {
                "parameters": {"weight": [entry("layernorm", 4)]},
                "slices": [
                    piece(0, 2, source(backbone, 0, 2, weight=theirs), weight=[entry("mlp", 7)]),
                    piece(2, 3, source(backbone, 2, 3), weight=[entry("mlp", [9, 3])]),
                    piece(3, 4),
                ],
            },
        },
    }


def written(kind):
    def text(roles, tensors, others):
        return to_mergekit(rules(kind), tensors, others=others, pair=roles, dtype="bfloat16")

    return text


def by_hand(make):
    def text(roles, _tensors, _others):
        return json.dumps(
            make(roles.vlm, roles.backbone) | {"dtype": "bfloat16"}
        )  # YAML without aliases

    return text


FILES = {
    "written linear": (written(Lerp), 0.0),
    "written slerp": (written(Slerp), 0.0),
    "written task arithmetic": (written(partial(TaskArithmetic, scale=1.5)), 0.0),
    "written ties": (written(partial(Ties, scale=0.5, density=0.3)), 0.0),
    "gradient": (by_hand(gradient), 0.0),
    "modules": (by_hand(modules), 0.0),
    # It rounds the task vector to bfloat16 before it adds it.
    "task arithmetic": (by_hand(arithmetic), 2 * STEP),
}


def expected_merge(rule, vlm, backbone, base):
    if isinstance(rule, TaskArithmetic | Ties):
        return merge_task_vectors(rule, Operands("", vlm, backbone, base), base)
    one, other = vlm.double(), backbone.double()
    if isinstance(rule, Lerp):
        return (1 - rule.coefficient) * one + rule.coefficient * other
    angle = torch.acos((one * other).sum() / (one.norm() * other.norm()))
    parts = [(1 - rule.coefficient) * angle, rule.coefficient * angle, angle]
    ours, theirs, whole = (torch.sin(part) for part in parts)
    return (ours * one + theirs * other) / whole


def either_way(rule, vlm, backbone, base):
    """Entries that trimming may keep or drop, since they are as large as its smallest."""
    found = torch.zeros_like(vlm, dtype=torch.bool)
    if isinstance(rule, Ties):
        for vector in (vlm.float() - base.float(), backbone.float() - base.float()):
            sizes = vector.abs()
            found |= sizes == sizes[largest(vector, rule.density)].min()
        assert vlm.ndim < 2 or found.float().mean() < 0.1  # bfloat16 norms differ by few values
    return found


def run(folder):
    return subprocess.run(
        [COMMAND, "recipe.yml", "merged", "--copy-tokenizer"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        check=False,
    ).returncode


@pytest.mark.parametrize("name", SOURCES)
def test_mergekit_merges_every_family_but_those_that_it_is_said_to_fail(
    written, tmp_path, monkeypatch, name
):
    if name == "qwen3_vl_moe":
        pytest.skip("mergekit takes every layer to have experts; those of the small one do not")
    if name == "qwen3_vl":  # mergekit takes all to have as many levels as the published ones
        levels = {"depth": 4, "deepstack_visual_indexes": [0, 1, 2]}
        monkeypatch.setattr(qwen, "QWEN3_VISION", qwen.QWEN3_VISION | levels)
        (tmp_path / "written").mkdir()
        source = SOURCES[name](tmp_path / "written")
    else:
        source = written(name)
    source = replace(source, dtype="bfloat16")
    n_layers = source.alignment.n_layers
    vlm, pseudo = (
        exported(source, recipe, tmp_path / folder)
        for folder, recipe in (("vlm", base(n_layers)), ("pseudo_vlm", uniform(n_layers, 1.0)))
    )
    tensors, others = disk_names(source)
    roles = Roles(str(vlm), str(pseudo), None)
    recipe = uniform(n_layers, 0.5)
    text = to_mergekit(recipe, tensors, others=others, pair=roles, dtype="bfloat16")
    (tmp_path / "recipe.yml").write_text(text)
    code = run(tmp_path)
    merged = tmp_path / "merged" / "model.safetensors"
    found = load_file(merged) if merged.exists() else {}
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (vlm, pseudo))
    halfway = {t.name for t in tensors if t.part == "attention"}
    is_merged = code == 0 and found.keys() == ours.keys()
    is_merged = is_merged and all(
        torch.equal(found[n], ours[n])
        if n not in halfway
        else torch.allclose(found[n].float(), (ours[n].float() + theirs[n].float()) / 2, STEP)
        for n in ours
    )
    assert is_merged == (name not in FAILS)


@pytest.mark.parametrize(("make", "slack"), FILES.values(), ids=FILES)
def test_mergekit_merges_what_the_recipe_says(folders, tmp_path, make, slack):
    pair, roles = folders
    ours, theirs, base = (load_file(f"{folder}/model.safetensors") for folder in astuple(roles))
    tensors, others = names(pair, ours)
    text = make(roles, tensors, others)
    (tmp_path / "recipe.yml").write_text(text)
    assert run(tmp_path) == 0
    found = load_file(tmp_path / "merged" / "model.safetensors")
    recipe = from_mergekit(text, tensors, others, pair.n_layers, roles).recipe
    assert recipe.merged_layers
    assert found.keys() == ours.keys()
    merged = {t.name: rule for t in tensors if (rule := recipe.layers[t.layer].rule(t.part))}
    for name, tensor in found.items():
        if name not in merged:
            assert torch.equal(tensor, ours[name]), name
            continue
        expected = expected_merge(merged[name], ours[name], theirs[name], base[name])
        allowed = STEP * expected.abs() + slack * (ours[name].abs() + theirs[name].abs())
        is_close = (tensor.double() - expected).abs() <= allowed + 1e-7
        assert (is_close | either_way(merged[name], ours[name], theirs[name], base[name])).all(), (
            name
        )
        assert not torch.equal(tensor, ours[name]), name
