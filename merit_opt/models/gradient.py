"""How answers change when layers move from the VLM's weights towards the backbone's.

The derivative with respect to a merge coefficient is the inner product of the weight's gradient
with (backbone - VLM). Layers are differentiated one by one, the last first, each computed anew
from its kept input: so memory is one layer's, and a gradient is dropped once its product is known.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from merit_opt.errors import TrialFailed
from merit_opt.models.alignment import AlignedTensor, layer_tensor
from merit_opt.models.forward import answer_rows, embed, finish, run_layers
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import Part

Answer = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""From log-probabilities, a row each question of a pack, to numbers: 0-d tensors."""

Backbone = Mapping[AlignedTensor, Tensor]
Slopes = Mapping[AlignedTensor, float]


@dataclass(frozen=True, eq=False, slots=True)
class Passed:
    """A pack's way through the model, without gradients.

    Attributes:
        pack: What went through.
        inputs: Of every layer, [1, rows, hidden].
        answers: Natural-log probabilities, a row each question.
    """

    pack: Pack
    inputs: tuple[Tensor, ...]
    answers: tuple[Tensor, ...]


def backbone_of(pair: ModelPair, parts: Sequence[Part]) -> Backbone:
    """The backbone's tensors of these parts, in memory: those that wait on disk are read once."""
    chosen = (tensor for tensor in pair.alignment.tensors if tensor.part in parts)
    return {tensor: pair.live.ends(tensor)[1] for tensor in chosen}


@torch.no_grad()
def passed(pair: ModelPair, pack: Pack) -> Passed:
    """Put a pack through the live model and keep what goes into each layer.

    Raises:
        TrialFailed: A logit is not finite; the message names the sample.
    """
    inputs = [embed(pair, pack)]
    for layer in range(pair.n_layers - 1):
        inputs.append(run_layers(pair, pack, inputs[-1], layer, layer + 1))
    read = finish(pair, pack, inputs[-1], pair.n_layers - 1)
    return Passed(pack, tuple(inputs), tuple(answer_rows(pair, pack, read)))


def slopes(pair: ModelPair, way: Passed, backbone: Backbone, answer: Answer) -> list[Slopes]:
    """Of each of the answer's numbers, its derivative with respect to each tensor's coefficient.

    The live model's weights, gradients and what of it wants gradients are left as they are.

    Args:
        pair: With the live model, merged or not.
        way: A pack that has just been through it.
        backbone: The tensors asked about, in layer order, with the backbone's values.
        answer: What is differentiated.

    Returns:
        A mapping each number: tensor -> derivative. Its sum over several tensors is the derivative
        of moving them together.

    Raises:
        TrialFailed: A derivative is not finite; the message names its layer.
    """
    by_layer = {i: list(own) for i, own in groupby(backbone, lambda tensor: tensor.layer)}
    found: list[dict[AlignedTensor, float]] = []
    upstream: list[Tensor] = []
    for layer in range(pair.n_layers - 1, min(by_layer) - 1, -1):
        tensors = by_layer.get(layer, [])
        weights = [layer_tensor(pair.model, tensor) for tensor in tensors]
        hidden = way.inputs[layer].detach().requires_grad_()
        with torch.enable_grad(), _wanting_gradients(weights):
            outputs = _outputs(pair, way.pack, layer, hidden, answer)
            found = found or [{} for _ in outputs]
            gradients = _gradients(outputs, upstream, [hidden, *weights])
            upstream = []
            for own, (of_hidden, *of_weights) in zip(found, gradients, strict=True):
                own |= _products(pair, backbone, tensors, of_weights)
                upstream.append(of_hidden)
    return list(found)


def feature_gradients(pair: ModelPair, way: Passed, answer: Answer) -> list[tuple[Tensor, ...]]:
    """Of each of the answer's numbers, its gradient with respect to the visual features.

    Layer by layer, as `slopes`; nothing of the live model wants gradients.

    Args:
        pair: With the live model, merged or not.
        way: A pack that has just been through it.
        answer: What is differentiated.

    Returns:
        A tuple each number, of [tokens, hidden] each: of the tokens, then of each deepstack level.
    """
    visual = way.pack.is_visual
    levels = len(way.pack.features.deepstack)
    upstream: list[Tensor] = []
    found: list[list[Tensor]] = []
    for layer in range(pair.n_layers - 1, -1, -1):
        if layer < levels:  # which is added to what the layer puts out
            found.insert(0, [_visual(one, visual) for one in upstream])
        hidden = way.inputs[layer].detach().requires_grad_()
        with torch.enable_grad():
            outputs = _outputs(pair, way.pack, layer, hidden, answer)
            upstream = [one for (one,) in _gradients(outputs, upstream, [hidden])]
    found.insert(0, [_visual(one, visual) for one in upstream])
    return list(zip(*found, strict=True))


def _visual(rows: Tensor, visual: Tensor) -> Tensor:
    return rows[0, visual.to(rows.device)]


def _outputs(
    pair: ModelPair, pack: Pack, layer: int, hidden: Tensor, answer: Answer
) -> Sequence[Tensor]:
    """The answer's numbers if the layer is the last; else its output, once."""
    if layer == pair.n_layers - 1:
        return answer(answer_rows(pair, pack, finish(pair, pack, hidden, layer)))
    return [run_layers(pair, pack, hidden, layer, layer + 1)]


def _gradients(
    outputs: Sequence[Tensor], upstream: Sequence[Tensor], inputs: Sequence[Tensor]
) -> Iterator[tuple[Tensor, ...]]:
    """Number by number, so that one set of gradients is there at a time."""
    pairs = (
        [(outputs[0], one) for one in upstream] if upstream else [(one, None) for one in outputs]
    )
    for left, (output, given) in enumerate(pairs, start=1 - len(pairs)):
        yield torch.autograd.grad(
            output, inputs, given, retain_graph=left < 0, materialize_grads=True
        )


def _products(
    pair: ModelPair,
    backbone: Backbone,
    tensors: Sequence[AlignedTensor],
    gradients: Sequence[Tensor],
) -> Slopes:
    """Inner products with (backbone - VLM), in float32."""
    if not tensors:
        return {}
    products: list[Tensor] = []
    for tensor, gradient in zip(tensors, gradients, strict=True):
        own = pair.live.ends(tensor)[0].to(gradient.device).float()
        way = backbone[tensor].to(gradient.device, non_blocking=True).float() - own
        products.append(torch.dot(gradient.float().flatten(), way.flatten()))
    numbers: list[float] = torch.stack(products).tolist()
    if not torch.isfinite(torch.tensor(numbers)).all():
        raise TrialFailed(
            f"the derivative of the answers is not finite in layer {tensors[0].layer}"
        )
    return dict(zip(tensors, numbers, strict=True))


@contextmanager
def _wanting_gradients(weights: Sequence[nn.Parameter]) -> Generator[None]:
    """Inside the block these weights take part in differentiation, and no others more than before."""
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_()
        yield
    finally:
        for weight, wanted in zip(weights, before, strict=True):
            weight.requires_grad_(wanted)
