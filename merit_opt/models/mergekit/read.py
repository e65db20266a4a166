"""Recipes out of mergekit YAML.

Semantics are those of mergekit 0.1.5: a filter is a substring of a tensor's name and the first
that matches counts; a setting of one model in a slice goes before the slice's, the module's and
the file's; a list of numbers is a gradient over a slice's layers.
"""

from collections.abc import Iterator, Sequence

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import Document, parse
from merit_opt.models.mergekit.names import NamedTensor, prefix_of
from merit_opt.models.mergekit.weights import Spot, anywhere, coefficient, decoder_spots, ends
from merit_opt.recipe.recipe import LayerMerge, Part, Recipe
from merit_opt.recipe.rules import Lerp, Slerp


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
    prefix = prefix_of(tensors)
    for name in others:
        for spot in _spots_of(name, prefix, document, spots):
            _check_kept(name, coefficient(spot, name))
    return _recipe(document, spots, tensors)


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
