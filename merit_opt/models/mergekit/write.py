"""Recipes as mergekit YAML."""

from collections.abc import Sequence

import yaml

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import FLOATS
from merit_opt.models.mergekit.names import NamedTensor, prefix_of
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.recipe.rules import Lerp, Rule, Slerp, rule_name

_HEADER = """\
# Recipe {digest} as a mergekit file (mergekit 0.1.5): how much of the backbone the VLM takes.
# To run it:
#   merit-opt export recipe=full:1.0 pair=PAIR out=pseudo_vlm
#   (point the second model below, the backbone, at pseudo_vlm)
#   mergekit-yaml recipe.yml merged --copy-tokenizer
# Why the first step: given a VLM and a text model, mergekit-yaml refuses them or silently drops
# tensors. pseudo_vlm is the VLM with the backbone's decoder layers.
# Families whose architecture mergekit does not know it cannot merge at all: for LLaVA-OneVision
# it exits 0 and drops most tensors. Check that merged holds as many tensors as the VLM.
"""


def to_mergekit(
    recipe: Recipe,
    tensors: Sequence[NamedTensor],
    *,
    vlm: str,
    backbone: str,
    dtype: str,
    others: Sequence[str] = (),
) -> str:
    """A mergekit file that merges what `recipe` says, with a header on how to run it.

    Args:
        recipe: All its rules `Lerp`, written as `linear`, or all `Slerp`, written as `slerp`.
        tensors: Every mergeable tensor of the VLM.
        vlm: Folder or name of the VLM, the file's `base_model`.
        backbone: Folder or name of the second model.
        dtype: The dtype to merge in and to write, such as `bfloat16`.
        others: The names of the VLM's other tensors; no filter may reach one.

    Raises:
        UserError: mergekit cannot express the recipe, or reads these arguments otherwise.
    """
    if dtype not in FLOATS:
        raise UserError(f"mergekit merges in one of {', '.join(FLOATS)}; got dtype {dtype!r}")
    if vlm == backbone:
        raise UserError(f"mergekit wants two models, but VLM and backbone are both {vlm!r}")
    filters = _filters(recipe, tensors)
    if _kind(recipe) is Slerp:
        method, body = "slerp", _slerp_body(filters, vlm, backbone)
    else:
        method, body = "linear", _linear_body(filters, vlm, backbone)
    document = {"merge_method": method, "dtype": dtype, "base_model": vlm, **body}
    text = _HEADER.format(digest=recipe.digest) + yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, allow_unicode=True, width=10_000
    )
    if from_mergekit(text, tensors, others, len(recipe.layers)) != recipe:
        raise UserError(
            "mergekit's filters are substrings, and with this VLM's tensor names one would reach "
            "tensors of another layer; format=hf writes the checkpoint itself"
        )
    return text


def _kind(recipe: Recipe) -> type[Rule]:
    """The one kind of rule of a recipe; a recipe without rules merges nothing, linearly."""
    rules = (layer.rule(part) for layer in recipe.layers for part in PARTS)
    kinds = {type(rule) for rule in rules if rule is not None}
    unknown = sorted(rule_name(kind) for kind in kinds - {Lerp, Slerp})
    if unknown or len(kinds) > 1:
        names = ", ".join(unknown or sorted(rule_name(kind) for kind in kinds))
        reason = "these rules" if unknown else "different rules for different tensors"
        raise UserError(
            f"mergekit cannot express {reason} of the recipe: {names}; a file has one method, "
            "linear for lerp or slerp for slerp. format=hf writes the checkpoint itself"
        )
    return kinds.pop() if kinds else Lerp


def _filters(recipe: Recipe, tensors: Sequence[NamedTensor]) -> list[tuple[str, float]]:
    """Filter -> coefficient, in layer order."""
    n_layers = len(recipe.layers)
    outside = [t.name for t in tensors if not 0 <= t.layer < n_layers]
    if outside:
        raise UserError(f"the recipe has {n_layers} layers, but the VLM has {outside[0]}")
    prefix = prefix_of(tensors)
    filters: list[tuple[str, float]] = []
    for i, layer in enumerate(recipe.layers):
        own = [t for t in tensors if t.layer == i]
        for part in PARTS:
            rule = layer.rule(part)
            if rule is None:
                continue
            names = _part_filters(own, part, f"{prefix}{i}.")
            if not names:
                raise UserError(f"the recipe merges {part} of layer {i}, but the VLM has none")
            filters += [(name, rule.coefficient) for name in names]
    return filters


def _part_filters(own: Sequence[NamedTensor], part: Part, stem: str) -> list[str]:
    """The modules of one part of a layer; single tensors of a module that parts share."""
    module_of = {t.name: t.name[len(stem) :].partition(".")[0] + "." for t in own}
    shared = {module_of[t.name] for t in own if t.part != part}
    wanted = [t.name for t in own if t.part == part]
    whole = (name if module_of[name] in shared else stem + module_of[name] for name in wanted)
    return list(dict.fromkeys(whole))


def _linear_body(filters: list[tuple[str, float]], vlm: str, backbone: str) -> dict[str, object]:
    kept = [(name, 1.0 - coefficient) for name, coefficient in filters]
    return {
        "parameters": {"normalize": False},
        "models": [
            {"model": vlm, "parameters": {"weight": _entries(kept, 1.0)}},
            {"model": backbone, "parameters": {"weight": _entries(filters, 0.0)}},
        ],
    }


def _slerp_body(filters: list[tuple[str, float]], vlm: str, backbone: str) -> dict[str, object]:
    return {
        "parameters": {"t": _entries(filters, 0.0)},
        "models": [{"model": vlm}, {"model": backbone}],
    }


def _entries(filters: list[tuple[str, float]], default: float) -> list[dict[str, object]]:
    return [*({"filter": name, "value": value} for name, value in filters), {"value": default}]
