"""Recipes as mergekit YAML, and back.

Semantics are those of mergekit 0.1.5: a filter is a substring of a tensor's name and the first
that matches counts; a setting of one model in a slice goes before the slice's, the module's and
the file's; a list of numbers is a gradient over a slice's layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from merit_opt.errors import UserError
from merit_opt.recipe.mergekit_document import FLOATS, Document, parse
from merit_opt.recipe.mergekit_weights import Spot, anywhere, coefficient, decoder_spots, ends
from merit_opt.recipe.recipe import PARTS, LayerMerge, Part, Recipe
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


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One mergeable tensor of the VLM.

    Attributes:
        name: Its name on disk, such as `model.layers.3.self_attn.q_proj.weight`.
        layer: Decoder layer, 0 nearest the embeddings.
        part: The part it belongs to.
    """

    name: str
    layer: int
    part: Part


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


def from_mergekit(
    text: str, tensors: Sequence[NamedTensor], others: Sequence[str], n_layers: int
) -> Recipe:
    """The recipe that a mergekit file describes.

    Reads `linear` of two models, `task_arithmetic` of a base and one model, and `slerp`, written
    with `models:`, `slices:` or `modules:`. The VLM is `base_model`, else the first model named.
    Ignored, since no tensor's value depends on it: the model names themselves, a float `dtype` or
    `out_dtype` (a merge has the pair's), a tokenizer that is the VLM's, the parameters that these
    methods do not use (`int8_mask`, `rescale`, `density`, `embed_slerp`) and the weight of
    `task_arithmetic`'s base. `slices:` describe the decoder alone; a module that the file leaves
    out keeps the VLM's weights.

    Args:
        text: The YAML.
        tensors: Every mergeable tensor of the VLM.
        others: The names of all its other tensors: vision tower, embeddings, head, final norm.
        n_layers: Its decoder layers.

    Raises:
        UserError: The file is malformed, or describes what no recipe says; the message names the
            place or the tensor.
    """
    document = parse(text, n_layers)
    if len(document.models) != 2:
        raise UserError(
            f"a recipe merges two models, the VLM and its backbone; the file names "
            f"{len(document.models)}: {', '.join(document.models)[:200]}"
        )
    if document.method != "linear" and not document.has_base:
        raise UserError(f"base_model is missing; {document.method} starts from it")
    spots = decoder_spots(document, n_layers)
    prefix = _prefix(tensors)
    for name in others:
        for spot in _spots_of(name, prefix, document, spots):
            _check_kept(name, coefficient(spot, name))
    return _recipe(document, spots, tensors)


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
    prefix = _prefix(tensors)
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


def _prefix(tensors: Sequence[NamedTensor]) -> str:
    """What stands before the layer number in every name, such as `model.layers.`."""
    common: set[str] | None = None
    for tensor in tensors:
        words = tensor.name.split(".")
        places = (i for i, word in enumerate(words) if word == str(tensor.layer))
        found = {"".join(f"{word}." for word in words[:i]) for i in places}
        common = found if common is None else common & found
    if not common:
        raise UserError("the VLM's mergeable tensors do not lie in one stack of numbered layers")
    return min(common, key=len)


def _spots_of(name: str, prefix: str, document: Document, spots: Sequence[Spot]) -> Iterator[Spot]:
    """Where mergekit takes the parameters of a tensor that no recipe merges from."""
    layer = name[len(prefix) :].partition(".")[0] if name.startswith(prefix) else ""
    if layer in map(str, range(len(spots))):
        yield spots[int(layer)]
    elif _is_decoder_end(name, prefix):
        first, last = ends(document)
        yield first if "embed" in name else last
    else:
        yield from anywhere(document)


def _is_decoder_end(name: str, prefix: str) -> bool:
    """Whether `name` is the embedding, the final norm or the head of the language model."""
    stem = prefix.removesuffix("layers.")
    is_beside_layers = name.startswith(stem) and name[len(stem) :].count(".") == 1
    return is_beside_layers or "lm_head" in name.split(".")


def _check_kept(name: str, share: float) -> None:
    if share != 0.0:
        raise UserError(
            f"the file gives {name} {share:g} of the second model, but a recipe merges decoder "
            "layers only; give the weights filters that only those match, and 0 elsewhere"
        )


def _recipe(document: Document, spots: Sequence[Spot], tensors: Sequence[NamedTensor]) -> Recipe:
    rules: list[dict[Part, tuple[float, str]]] = [{} for _ in spots]
    for tensor in tensors:
        share = coefficient(spots[tensor.layer], tensor.name)
        first, name = rules[tensor.layer].setdefault(tensor.part, (share, tensor.name))
        if share != first:
            raise UserError(
                f"layer {tensor.layer} {tensor.part}: a recipe has one coefficient for all its "
                f"tensors, but {name} gets {first:g} and {tensor.name} {share:g}"
            )
    kind = Slerp if document.method == "slerp" else Lerp
    return Recipe(
        tuple(
            LayerMerge(**{part: kind(share) for part, (share, _) in layer.items() if share})
            for layer in rules
        )
    )
