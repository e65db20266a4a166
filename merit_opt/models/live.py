"""The one mutation in the project: a recipe applied to the live VLM, and taken back."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from merit_opt.errors import UserError
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import AlignedTensor, Alignment, layer_tensor
from merit_opt.recipe.recipe import PARTS, Recipe

Weights = Mapping[AlignedTensor, Tensor]


class LiveMerge:
    """The VLM's language model with the backbone's tensors at hand.

    A context at a time: entering while a recipe is applied is a bug and raises.
    """

    def __init__(self, model: nn.Module, backbone: Weights, alignment: Alignment) -> None:
        self._model = model
        self._backbone = backbone
        self._alignment = alignment
        self._applied = False

    @contextmanager
    def merged(self, recipe: Recipe) -> Generator[Any]:
        """The model as `recipe` says, inside the block only.

        On exit, after an exception too, every parameter has its former bits again.

        Raises:
            UserError: The recipe is for another number of layers.
            RuntimeError: Another recipe is applied.
        """
        if self._applied:
            raise RuntimeError("a recipe is already applied to this model")
        touched = self._touched(recipe)
        originals = {t: layer_tensor(self._model, t).detach().clone() for t in touched}
        self._applied = True
        try:
            self._write(merged_tensors(recipe, originals, self._backbone))
            yield self._model
        finally:
            self._write(originals.items())
            self._applied = False

    def _touched(self, recipe: Recipe) -> list[AlignedTensor]:
        if len(recipe.layers) != self._alignment.n_layers:
            raise UserError(
                f"the recipe is for {len(recipe.layers)} layers, "
                f"this pair has {self._alignment.n_layers}"
            )
        touched = [t for t in self._alignment.tensors if _is_touched(recipe, t)]
        expected = sum(
            self._alignment.count(part) // self._alignment.n_layers
            for layer in recipe.layers
            for part in PARTS
            if layer.rule(part) is not None
        )
        if len(touched) != expected:
            raise RuntimeError(f"the recipe touches {len(touched)} tensors, expected {expected}")
        return touched

    @torch.no_grad()
    def _write(self, values: Any) -> None:
        for tensor, value in values:
            layer_tensor(self._model, tensor).copy_(value)


def _is_touched(recipe: Recipe, tensor: AlignedTensor) -> bool:
    return recipe.layers[tensor.layer].rule(tensor.part) is not None


@torch.no_grad()
def merged_tensors(
    recipe: Recipe, vlm: Weights, backbone: Weights
) -> Iterator[tuple[AlignedTensor, Tensor]]:
    """Each tensor of `vlm` that the recipe changes, with its merged value."""
    for tensor, original in vlm.items():
        rule = recipe.layers[tensor.layer].rule(tensor.part)
        if rule is not None:
            yield tensor, merge_tensor(rule, original, backbone[tensor])
