"""Recipes as mergekit YAML."""

from collections.abc import Sequence

import yaml

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import FLOATS
from merit_opt.models.mergekit.names import NamedTensor, prefix_of
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.recipe.recipe import PARTS, Part, Recipe
from merit_opt.recipe.rules import (
    DareLinear,
    DareTies,
    Lerp,
    Rule,
    Slerp,
    TaskArithmetic,
    Ties,
    TiesByCount,
    rule_name,
)

_METHODS: dict[type[Rule], str] = {
    Lerp: "linear",
    Slerp: "slerp",
    TaskArithmetic: "task_arithmetic",
    Ties: "ties",
}
_INSTEAD = "format=hf writes the checkpoint itself"
_UNLIKE: dict[type[Rule], str] = {
    TiesByCount: "mergekit's ties divides by weights, not by how many agree",
    DareLinear: "mergekit draws other entries and rescales them by the norm",
    DareTies: "mergekit draws other entries and rescales them by the norm",
}

_Filters = Sequence[tuple[str, Rule]]


def to_mergekit(
    recipe: Recipe,
    tensors: Sequence[NamedTensor],
    *,
    pair: Roles,
    dtype: str,
    others: Sequence[str] = (),
) -> str:
    """A mergekit file that merges what `recipe` says.

    Args:
        recipe: All its rules `Lerp`, written as `linear`, or all of one other kind that mergekit
            has: `Slerp`, `TaskArithmetic`, `Ties`. The last two add to the base in float32, so
            that what the recipe keeps comes back within that rounding; of entries as large as
            the smallest that `Ties` keeps, mergekit may keep others.
        tensors: Every mergeable tensor of the VLM.
        pair: Folders or names of the models; the file's `base_model` is the VLM, and for task
            vectors the base.
        dtype: The dtype to write, such as `bfloat16`.
        others: The names of the VLM's other tensors; no filter may reach one.

    Raises:
        UserError: mergekit cannot express the recipe, or reads these arguments otherwise.
    """
    if dtype not in FLOATS:
        raise UserError(f"mergekit merges in one of {', '.join(FLOATS)}; got dtype {dtype!r}")
    kind = _kind(recipe)
    filters = _filters(recipe, tensors)
    if recipe.needs_base:
        document = _of_task_vectors(filters, pair, dtype)
    else:
        document = _of_two(filters, pair, dtype)
    text = yaml.safe_dump(
        {"merge_method": _METHODS[kind], **document},
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=10_000,
    )
    if from_mergekit(text, tensors, others, len(recipe.layers), pair).recipe != recipe:
        raise UserError(
            "mergekit's filters are substrings, and with this VLM's tensor names one would reach "
            f"tensors of another layer; {_INSTEAD}"
        )
    return text


def _kind(recipe: Recipe) -> type[Rule]:
    """The one kind of rule of a recipe; a recipe without rules merges nothing, linearly."""
    rules = (layer.rule(part) for layer in recipe.layers for part in PARTS)
    kinds = {type(rule) for rule in rules if rule is not None}
    if unlike := sorted(f"{rule_name(k)}, for {_UNLIKE[k]}" for k in kinds - _METHODS.keys()):
        raise UserError(f"no mergekit file does {'; '.join(unlike)}. {_INSTEAD}")
    if len(kinds) > 1:
        raise UserError(
            f"a mergekit file has one method for all tensors, and the recipe has "
            f"{', '.join(sorted(map(rule_name, kinds)))}. {_INSTEAD}"
        )
    return kinds.pop() if kinds else Lerp


def _filters(recipe: Recipe, tensors: Sequence[NamedTensor]) -> list[tuple[str, Rule]]:
    """Filter -> rule, in layer order."""
    n_layers = len(recipe.layers)
    outside = [t.name for t in tensors if not 0 <= t.layer < n_layers]
    if outside:
        raise UserError(f"the recipe has {n_layers} layers, but the VLM has {outside[0]}")
    prefix = prefix_of(tensors)
    filters: list[tuple[str, Rule]] = []
    for i, layer in enumerate(recipe.layers):
        own = [t for t in tensors if t.layer == i]
        for part in PARTS:
            rule = layer.rule(part)
            if rule is None:
                continue
            names = _part_filters(own, part, f"{prefix}{i}.")
            if not names:
                raise UserError(f"the recipe merges {part} of layer {i}, but the VLM has none")
            filters += [(name, rule) for name in names]
    return filters


def _part_filters(own: Sequence[NamedTensor], part: Part, stem: str) -> list[str]:
    """The modules of one part of a layer; single tensors of a module that parts share."""
    module_of = {t.name: t.name[len(stem) :].partition(".")[0] + "." for t in own}
    shared = {module_of[t.name] for t in own if t.part != part}
    wanted = [t.name for t in own if t.part == part]
    whole = (name if module_of[name] in shared else stem + module_of[name] for name in wanted)
    return list(dict.fromkeys(whole))


def _of_two(filters: _Filters, pair: Roles, dtype: str) -> dict[str, object]:
    """`linear` or `slerp`."""
    _require_different(pair.vlm, pair.backbone)
    top: dict[str, object] = {"dtype": dtype, "base_model": pair.vlm}
    if any(isinstance(rule, Slerp) for _, rule in filters):
        models = [{"model": pair.vlm}, {"model": pair.backbone}]
        return {**top, "parameters": {"t": _shares(filters)}, "models": models}
    return {**top, "parameters": {"normalize": False}, "models": _weighted(filters, pair)}


def _of_task_vectors(filters: _Filters, pair: Roles, dtype: str) -> dict[str, object]:
    """`task_arithmetic` or `ties`."""
    if pair.base is None:
        raise UserError("the recipe's task vectors start from a base; give pair.base=")
    _require_different(pair.vlm, pair.backbone, pair.base)
    scales = [
        (name, rule.scale) for name, rule in filters if isinstance(rule, TaskArithmetic | Ties)
    ]
    densities = [(name, rule.density) for name, rule in filters if isinstance(rule, Ties)]
    parameters: dict[str, object] = {"normalize": bool(densities), "lambda": _entries(scales, 1.0)}
    if densities:
        parameters["density"] = _entries(densities, 1.0)
    return {
        "dtype": "float32",
        "out_dtype": dtype,
        "base_model": pair.base,
        "parameters": parameters,
        "models": _weighted(filters, pair),
    }


def _require_different(*models: str) -> None:
    if len(set(models)) < len(models):
        raise UserError(
            f"mergekit wants each model of a merge once, but the pair is {', '.join(models)}; "
            f"{_INSTEAD}"
        )


def _weighted(filters: _Filters, pair: Roles) -> list[dict[str, object]]:
    kept = _entries([(name, 1.0 - rule.coefficient) for name, rule in filters], 1.0)
    return [
        {"model": pair.vlm, "parameters": {"weight": kept}},
        {"model": pair.backbone, "parameters": {"weight": _shares(filters)}},
    ]


def _shares(filters: _Filters) -> list[dict[str, object]]:
    return _entries([(name, rule.coefficient) for name, rule in filters], 0.0)


def _entries(filters: Sequence[tuple[str, float]], default: float) -> list[dict[str, object]]:
    return [*({"filter": name, "value": value} for name, value in filters), {"value": default}]
