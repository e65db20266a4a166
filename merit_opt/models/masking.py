"""What an intervention is to a live model: weights written over, and outputs replaced.

`inverse_width` and `revert` write weights. `zero` and `mean` put a constant in the place of what the
module adds to the residual stream; of a head group, in the place of its share of what `o_proj`
reads, so that a bias of `o_proj`, which is no head's, stays.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from merit_opt.errors import UserError
from merit_opt.models.alignment import AlignedTensor, decoder_layers, layer_tensors
from merit_opt.recipe.intervention import Intervention, Redraw

Site = Literal["attention", "mlp", "heads"]
"""What attention adds, what the MLP adds, and what `o_proj` reads."""

Means = Mapping[tuple[int, Site], Tensor]
"""Layer and site -> [features], the mean over tokens."""


@dataclass(frozen=True, slots=True)
class Edit:
    """How a merged tensor is written over.

    Attributes:
        how: By the constant 1 / (output features), or by the VLM's own values.
        span: (dimension, first, one past the last) of what is written over; None is all of it.
    """

    how: Literal["inverse_width", "revert"]
    span: tuple[int, int, int] | None

    def __call__(self, merged: Tensor, own: Tensor) -> Tensor:
        """The tensor as it becomes, from what a recipe made of it and from the VLM's own."""
        edited = merged.clone()
        region = self._region(edited)
        if self.how == "revert":
            region.copy_(self._region(own))
        else:
            region.fill_(1.0 / edited.shape[-2])
        return edited

    def _region(self, tensor: Tensor) -> Tensor:
        if self.span is None:
            return tensor
        dimension, first, stop = self.span
        return tensor.narrow(dimension, first, stop - first)


@dataclass(frozen=True, slots=True)
class Redrawn:
    """How a matrix is drawn anew; on the host, so that every device has the same draw.

    Attributes:
        seed: Of this tensor's draw.
    """

    seed: int

    def __call__(self, merged: Tensor, own: Tensor) -> Tensor:
        """See `Edit.__call__`."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(merged.shape, generator=generator).to(merged.device)
        spread, mean = torch.std_mean(merged.float())
        return (drawn * spread + mean).to(merged.dtype)


def redrawn(redraw: Redraw, tensors: Iterable[AlignedTensor]) -> dict[AlignedTensor, Redrawn]:
    """Every tensor's own draw."""
    return {tensor: Redrawn(_seed(redraw, tensor)) for tensor in tensors}


def _seed(redraw: Redraw, tensor: AlignedTensor) -> int:
    text = f"{redraw.seed}/{tensor.path}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


@dataclass(frozen=True, slots=True)
class HeadGroups:
    """How the heads of an attention module lie in its projections.

    Attributes:
        count: Key/value heads.
        width: Features of one head.
        queries: Query heads that read one key/value head.
    """

    count: int
    width: int
    queries: int

    def read(self, group: int) -> tuple[int, int]:
        """First and one past the last feature of the group's query heads."""
        size = self.queries * self.width
        return group * size, (group + 1) * size

    def span(self, name: str, group: int) -> tuple[int, int, int] | None:
        """The group's share of the projection of that name; None where it has none of its own."""
        match name.split("."):
            case "q_proj", _:
                return (0, *self.read(group))
            case (("k_proj" | "v_proj"), _):
                return (0, group * self.width, (group + 1) * self.width)
            case "o_proj", "weight":
                return (1, *self.read(group))
            case _:
                return None


def head_groups(attention: Any) -> HeadGroups:
    """Of an attention module, on the meta device too."""
    width = int(attention.head_dim)
    keys, queries = (p.weight.shape[0] // width for p in (attention.k_proj, attention.q_proj))
    return HeadGroups(keys, width, queries // keys)


def require_maskable(model: Any, intervention: Intervention) -> None:
    """The model must have such layers and such heads.

    Raises:
        UserError: It has not.
    """
    layers = decoder_layers(model)
    if outside := [i for i in intervention.layers if not 0 <= i < len(layers)]:
        raise UserError(f"layers run from 0 to {len(layers) - 1}; got {outside}")
    group = intervention.head_group
    for layer in intervention.layers if group is not None else ():
        count = head_groups(layers[layer].self_attn).count
        if group is not None and not 0 <= group < count:
            raise UserError(f"head groups of layer {layer} run from 0 to {count - 1}; got {group}")


def edits(
    model: Any, intervention: Intervention, merged: Collection[AlignedTensor]
) -> dict[AlignedTensor, Edit]:
    """Which tensors are written over, and how; none where outputs are replaced.

    Args:
        model: The live model.
        intervention: What is done.
        merged: The tensors that the recipe changes.

    Raises:
        UserError: Something is to be reverted that the recipe does not merge.
    """
    match intervention.how:
        case "revert":
            return _reverts(model, intervention, merged)
        case "inverse_width":
            found = _spans(model, intervention)
            return {t: Edit("inverse_width", s) for t, s, weight in found if weight.ndim > 1}
        case _:
            return {}


def _reverts(
    model: Any, intervention: Intervention, merged: Collection[AlignedTensor]
) -> dict[AlignedTensor, Edit]:
    found = {t: s for t, s, _ in _spans(model, intervention) if t in merged}
    if missing := set(intervention.layers) - {t.layer for t in found}:
        raise UserError(
            f"the recipe does not merge {intervention.part} of layers {sorted(missing)}, so it "
            "cannot be reverted there"
        )
    return {tensor: Edit("revert", span) for tensor, span in found.items()}


def _spans(
    model: Any, intervention: Intervention
) -> Iterator[tuple[AlignedTensor, tuple[int, int, int] | None, Tensor]]:
    """Tensors of the modules, the share of each that is meant, and the tensor itself."""
    for index in intervention.layers:
        layer: Any = decoder_layers(model)[index]
        own = (t for t in layer_tensors(index, layer) if t.part == intervention.part)
        for tensor in own:
            span = None
            if intervention.head_group is not None:
                name = tensor.name.partition(".")[2]
                span = head_groups(layer.self_attn).span(name, intervention.head_group)
                if span is None:
                    continue
            yield tensor, span, layer.get_parameter(tensor.name)


def replace_outputs(
    model: Any, intervention: Intervention, means: Means
) -> Iterator[RemovableHandle]:
    """Put constants in the place of outputs, until the handles are removed."""
    if intervention.how not in ("zero", "mean"):
        return
    site: Site = "heads" if intervention.head_group is not None else intervention.part
    for index in intervention.layers:
        layer = decoder_layers(model)[index]
        constant = means[index, site] if intervention.how == "mean" else None
        if intervention.head_group is None:
            module = module_of(layer, intervention)
            yield module.register_forward_hook(_output_replacer(constant))
        else:
            attention: Any = layer.self_attn
            span = head_groups(attention).read(intervention.head_group)
            yield attention.o_proj.register_forward_pre_hook(_share_replacer(constant, span))


def module_of(layer: Any, intervention: Intervention) -> nn.Module:
    """The module of a decoder layer that is masked."""
    return layer.self_attn if intervention.part == "attention" else layer.mlp


def _output_replacer(constant: Tensor | None) -> Callable[[Any, Any, Any], Any]:
    def replaced(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_filled(output[0], constant), *output[1:])
        return _filled(output, constant)

    return replaced


def _share_replacer(
    constant: Tensor | None, span: tuple[int, int]
) -> Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    first, stop = span
    own = None if constant is None else constant[first:stop]

    def replaced(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = inputs[0].clone()
        values[..., first:stop] = _filled(values[..., first:stop], own)
        return (values, *inputs[1:])

    return replaced


def _filled(like: Tensor, constant: Tensor | None) -> Tensor:
    if constant is None:
        return torch.zeros_like(like)
    return constant.to(like).expand_as(like).clone()
