"""The tiny pair's checkpoints written in other ways, and what a test expects of their merge."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from merit_opt.models.export import export_checkpoint
from merit_opt.models.merge import merge_of_recipe
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import tiny_folder
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import Lerp, Slerp, TaskArithmetic, Ties
from tests.unit.models.papers import merge_by_formula

VLM, TEXT = tiny_folder("vlm_planted_3_5"), tiny_folder("text")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
PARTS = {
    "self_attn": "attention",
    "mlp": "mlp",
    "input_layernorm": "norm",
    "post_attention_layernorm": "norm",
}
RECIPE = Recipe(
    (
        *(LayerMerge(),) * 3,
        LayerMerge(attention=Lerp(1.0)),
        LayerMerge(mlp=Lerp(0.3), norm=Lerp(0.7)),
        LayerMerge(attention=Slerp(0.9)),
        *(LayerMerge(),) * 3,
    )
)
TASK_VECTORS = Recipe(
    (
        *(LayerMerge(),) * 6,
        LayerMerge(attention=Ties(0.4, 1.0, 0.5), norm=Lerp(0.5)),
        LayerMerge(mlp=TaskArithmetic(0.3, 1.2)),
        LayerMerge(),
    )
)


def nothing(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def noisy(folder: Path, target: Path, seed: int) -> Path:
    """A copy whose every tensor differs a little."""
    shutil.copytree(folder, target)
    generator = torch.Generator().manual_seed(seed)
    change_weights(
        target,
        lambda weights: weights.update(
            {
                name: t + 0.1 * torch.randn(t.shape, generator=generator).to(t.dtype)
                for name, t in sorted(weights.items())
            }
        ),
    )
    return target


def change_weights(folder: Path, change) -> None:
    """Rewrite the single weights file after `change` has had its tensors."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def change_json(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def vlm_folder(target: Path, *, dtype="bfloat16", shard="1GB", tied=True) -> Path:
    """The tiny VLM, saved by transformers."""
    model = AutoModelForImageTextToText.from_pretrained(VLM, dtype=DTYPES[dtype])
    if not tied:
        untie(model)
    for path in VLM.iterdir():
        if path.suffix in (".json", ".jinja"):
            target.mkdir(exist_ok=True)
            shutil.copyfile(path, target / path.name)
    model.save_pretrained(target, max_shard_size=shard)
    return target


def untie(model) -> None:
    model.config.tie_word_embeddings = False
    model.config.get_text_config().tie_word_embeddings = False
    head = model.get_input_embeddings().weight.detach().flip(0)
    model.lm_head.weight = torch.nn.Parameter(head.clone())


def text_folder(target: Path, *, dtype="bfloat16", shard="1GB", seed=0) -> Path:
    """A text model unlike the tiny one in every tensor."""
    model = AutoModelForCausalLM.from_pretrained(TEXT, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):
            p += 0.1 * torch.randn(p.shape, generator=generator)
    model.to(DTYPES[dtype]).save_pretrained(target, max_shard_size=shard)
    return target


def small_pair(root: Path, **options):
    """A pair of small shards whose models differ everywhere, with a base."""
    return replace(
        folder_pair(
            vlm_folder(root / "vlm", shard="400KB", **options), text_folder(root / "text"), None
        ),
        base=str(text_folder(root / "base", seed=1)),
    )


def exported(source, recipe, out: Path) -> Path:
    export_checkpoint(source, merge_of_recipe(source, recipe), out, (), nothing)
    return out


def part_of(name: str) -> str:
    """Of a name inside a layer."""
    return PARTS[name.partition(".")[0]]


def expected_merge(source, recipe, dtype) -> dict[str, torch.Tensor]:
    """Name in memory -> values, computed from models that transformers loads."""
    vlm = AutoModelForImageTextToText.from_pretrained(source.vlm, dtype=dtype)
    texts = [
        dict(
            AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
            .get_decoder()
            .named_parameters()
        )
        for folder in (source.backbone, source.base)
        if folder is not None
    ]
    weights = {name: p.detach().clone() for name, p in vlm.named_parameters()}
    names = {id(p): name for name, p in vlm.named_parameters()}
    for inner, p in vlm.get_decoder().named_parameters():
        pieces = inner.split(".", 2)
        if pieces[0] != "layers":
            continue
        rule = recipe.layers[int(pieces[1])].rule(part_of(pieces[2]))
        if rule is not None:
            backbone, base = texts[0][inner].detach(), texts[-1][inner].detach()
            ours = weights[names[id(p)]]
            weights[names[id(p)]] = merge_by_formula(rule, inner, ours, backbone, base)
    return weights


def loaded(folder: Path):
    """The model, which must need nothing made up and nothing dropped."""
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model


def bits(tensors) -> dict[str, bytes]:
    return {
        name: tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in dict(tensors).items()
    }


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
