"""Recipes out of mergekit YAML.

Semantics are those of mergekit 0.1.5: a filter is a substring of a tensor's name and the first
that matches counts; a setting of one model in a slice goes before the slice's, the module's and
the file's; a list of numbers is a gradient over a slice's layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import Document, parse
from merit_opt.models.mergekit.names import NamedTensor, prefix_of
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.mergekit.weights import Spot, anywhere, decoder_spots, ends, rule_for
from merit_opt.recipe.recipe import LayerMerge, Part, Recipe
from merit_opt.recipe.rules import Rule, spelled


@dataclass(frozen=True, slots=True)
class Imported:
    """What a mergekit file says.

    Attributes:
        recipe: The recipe.
        roles: Which of the file's models was taken for which.
    """

    recipe: Recipe
    roles: Roles


def from_mergekit(
    text: str,
    tensors: Sequence[NamedTensor],
    others: Sequence[str],
    n_layers: int,
    pair: Roles,
) -> Imported:
    """The recipe that a mergekit file describes.

    Reads `linear` and `slerp` of two models, `task_arithmetic` of a base and one or two models,
    and `ties` of a base and two, written with `models:`, `slices:` or `modules:`. Which model is
    the VLM, the pair's names say; a file that knows neither names it as `base_model` if the base
    is one of two models, else first. Ignored, since no tensor's value depends on it: a float `dtype` or
    `out_dtype` (a merge has the pair's), a tokenizer that is the VLM's, the parameters that the
    method does not use (`int8_mask`, `rescale`, `density`, `embed_slerp`) and the weight of a
    base. `slices:` describe the decoder alone; a module that the file leaves
    out keeps the VLM's weights.

    Args:
        text: The YAML.
        tensors: Every mergeable tensor of the VLM.
        others: The names of all its other tensors: vision tower, embeddings, head, final norm.
        n_layers: Its decoder layers.
        pair: The models that the recipe is for.

    Raises:
        UserError: The file is malformed, or describes what no recipe says; the message names the
            place or the tensor.
    """
    document = parse(text, n_layers, pair)
    if document.method != "linear" and document.base is None:
        raise UserError(f"base_model is missing; {document.method} starts from it")
    spots = decoder_spots(document, n_layers)
    prefix = prefix_of(tensors)
    for name in others:
        for spot in _spots_of(name, prefix, document, spots):
            _check_kept(name, rule_for(spot, name))
    return Imported(_recipe(spots, tensors), document.roles)


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


def _check_kept(name: str, rule: Rule | None) -> None:
    if rule is not None:
        raise UserError(
            f"the file gives {name} {rule.coefficient:g} of the second model, but a recipe merges decoder "
            "layers only; give the weights filters that only those match, and 0 elsewhere"
        )


def _recipe(spots: Sequence[Spot], tensors: Sequence[NamedTensor]) -> Recipe:
    rules: list[dict[Part, tuple[Rule | None, str]]] = [{} for _ in spots]
    for tensor in tensors:
        rule = rule_for(spots[tensor.layer], tensor.name)
        first, name = rules[tensor.layer].setdefault(tensor.part, (rule, tensor.name))
        if rule != first:
            raise UserError(
                f"layer {tensor.layer} {tensor.part}: a recipe has one rule for all its tensors, "
                f"but {name} gets {_told(first)} and {tensor.name} {_told(rule)}"
            )
    return Recipe(
        tuple(LayerMerge(**{part: rule for part, (rule, _) in layer.items()}) for layer in rules)
    )


def _told(rule: Rule | None) -> str:
    return "none" if rule is None else spelled(rule)
