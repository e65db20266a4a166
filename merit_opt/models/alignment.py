"""Which tensor of the VLM's language model corresponds to which of the backbone's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from merit_opt.errors import PairMismatch, UserError
from merit_opt.recipe.recipe import PARTS, Part, Recipe

_MODULES: dict[str, Part] = {
    "self_attn": "attention",
    "mlp": "mlp",
    "input_layernorm": "norm",
    "post_attention_layernorm": "norm",
}


@dataclass(frozen=True, slots=True)
class AlignedTensor:
    """One mergeable tensor.

    Attributes:
        layer: Decoder layer, 0 nearest the embeddings.
        part: The part it belongs to.
        name: Its name inside the layer, such as `self_attn.q_proj.weight`.
    """

    layer: int
    part: Part
    name: str

    @property
    def path(self) -> str:
        """Its name inside the decoder."""
        return f"layers.{self.layer}.{self.name}"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Every tensor of the language model: merged by a recipe, or kept with its reason.

    Attributes:
        n_layers: Decoder layers.
        parts: What a merge may touch.
        tensors: Mergeable tensors in layer order.
        kept: Name in the VLM -> why a merge never touches it.
    """

    n_layers: int
    parts: tuple[Part, ...]
    tensors: tuple[AlignedTensor, ...]
    kept: dict[str, str]

    def count(self, part: Part) -> int:
        """How many tensors belong to `part` over all layers."""
        return sum(t.part == part for t in self.tensors)

    def require(self, recipe: Recipe) -> None:
        """The recipe must be for as many layers, and merge no part that is kept.

        Raises:
            UserError: It does not fit.
        """
        if len(recipe.layers) != self.n_layers:
            raise UserError(
                f"the recipe is for {len(recipe.layers)} layers, this pair has {self.n_layers}"
            )
        for index, layer in enumerate(recipe.layers):
            for part in PARTS:
                if layer.rule(part) is not None and part not in self.parts:
                    raise UserError(
                        f"the recipe merges {part} in layer {index}, which this pair keeps: it "
                        f"merges {' and '.join(self.parts)} alone"
                    )


def require_base(recipe: Recipe, *, is_given: bool) -> None:
    """A recipe of task vectors needs the model that VLM and backbone grew from.

    Raises:
        UserError: It is not given.
    """
    if recipe.needs_base and not is_given:
        raise UserError(
            "the recipe subtracts the common ancestor of VLM and backbone: give it, "
            "pair.base=FOLDER_OR_ID"
        )


def decoder_layers(model: Any) -> nn.ModuleList:
    """The decoder layers of a VLM's language model or of a text model, found by module."""
    return model.get_decoder().layers


def layer_tensor(model: Any, tensor: AlignedTensor) -> nn.Parameter:
    """The live parameter of `model` that `tensor` names."""
    return decoder_layers(model)[tensor.layer].get_parameter(tensor.name)


def align(vlm: Any, backbone: Any, parts: tuple[Part, ...] = PARTS) -> Alignment:
    """Match two models layer by layer; works on the meta device.

    Args:
        vlm: The VLM.
        backbone: The text model.
        parts: What a merge may touch; tensors of others are kept, and need not correspond.

    Raises:
        PairMismatch: Layer counts, names or shapes differ; every problem is listed.
    """
    layers, other = decoder_layers(vlm), decoder_layers(backbone)
    if len(layers) != len(other):
        raise PairMismatch(
            f"the VLM has {len(layers)} decoder layers, the backbone has {len(other)}; "
            "give the text model that this VLM was trained from"
        )
    pairs = enumerate(zip(layers, other, strict=True))
    problems = [p for i, (a, b) in pairs for p in _differences(i, a, b, parts)]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise PairMismatch("; ".join(problems[:3]) + more)
    every = [t for i, layer in enumerate(layers) for t in layer_tensors(i, layer)]
    tensors = tuple(t for t in every if t.part in parts)
    alignment = Alignment(len(layers), parts, tensors, _kept(vlm, every, parts))
    _assert_total(vlm, alignment)
    return alignment


def layer_tensors(index: int, layer: nn.Module) -> Iterator[AlignedTensor]:
    """Every tensor of a decoder layer, whether a merge may touch it or not.

    Raises:
        PairMismatch: One belongs to no known part.
    """
    for name, _ in layer.named_parameters():
        module = name.split(".", 1)[0]
        if module not in _MODULES:
            raise PairMismatch(
                f"layer {index} holds {name}, which is none of {', '.join(_MODULES)}; "
                "this architecture needs a family file that says which part it is"
            )
        yield AlignedTensor(index, _MODULES[module], name)


def _differences(
    index: int, vlm: nn.Module, backbone: nn.Module, parts: tuple[Part, ...]
) -> Iterator[str]:
    ours, theirs = _merged(vlm, parts), _merged(backbone, parts)
    for name in sorted(ours.keys() ^ theirs.keys()):
        owner = "VLM" if name in ours else "backbone"
        yield f"layer {index}: only the {owner} has {name}"
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = tuple(ours[name].shape), tuple(theirs[name].shape)
        if a != b:
            yield f"layer {index} {name}: the VLM has {a}, the backbone has {b}"


def _merged(layer: nn.Module, parts: tuple[Part, ...]) -> dict[str, Tensor]:
    """Named parameters, but those of parts that no merge touches."""
    owned = (
        (name, _MODULES.get(name.split(".", 1)[0]), p) for name, p in layer.named_parameters()
    )
    return {name: p for name, part, p in owned if part is None or part in parts}


def _kept(vlm: Any, every: Sequence[AlignedTensor], parts: tuple[Part, ...]) -> dict[str, str]:
    """Name in the VLM -> why a merge never touches it."""
    names = _names(vlm)
    kept = {
        names[id(layer_tensor(vlm, tensor))]: f"{tensor.part} is not merged in this architecture"
        for tensor in every
        if tensor.part not in parts
    }
    outside = {
        names[id(parameter)]: "outside the decoder layers: the VLM's is kept"
        for name, parameter in vlm.get_decoder().named_parameters()
        if not name.startswith("layers.")
    }
    head = {
        names[id(parameter)]: "vocabularies may differ: the VLM's is kept"
        for parameter in vlm.get_output_embeddings().parameters()
    }
    return kept | head | outside


def _assert_total(vlm: Any, alignment: Alignment) -> None:
    """Every parameter of the language model is merged or kept, and none is both."""
    names = _names(vlm)
    modules = (vlm.get_decoder(), vlm.get_output_embeddings())
    language = {names[id(p)] for module in modules for p in module.parameters()}
    merged = [names[id(layer_tensor(vlm, tensor))] for tensor in alignment.tensors]
    if sorted([*merged, *alignment.kept]) != sorted(language):
        raise PairMismatch(
            f"the language model has {len(language)} tensors, but {len(merged)} were aligned and "
            f"{len(alignment.kept)} kept"
        )


def _names(model: Any) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}
