"""The one mutation in the project: recipes applied to the live VLM, and taken back."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import AlignedTensor, Alignment, layer_tensor, require_base
from merit_opt.models.waiting import WaitingWeights
from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.recipe.rules import Rule, needs_base

Switch = Callable[[Recipe], Any]


class LiveMerge:
    """The VLM's language model with the text models' tensors at hand.

    The VLM's own attention is kept beside the live one once a recipe has touched it; the rest,
    four fifths of a layer, on the host, and only while a recipe changes it.
    """

    def __init__(
        self,
        model: nn.Module,
        backbone: WaitingWeights,
        base: Callable[[], WaitingWeights] | None,
        alignment: Alignment,
    ) -> None:
        self._model = model
        self._backbone = backbone
        self._find_base = base
        self._alignment = alignment
        self._originals: dict[AlignedTensor, Tensor] = {}
        self._applied: dict[AlignedTensor, Rule | None] = {}
        self._is_open = False

    @contextmanager
    def switching(self) -> Generator[Switch]:
        """A function that makes the model what a recipe says, for as often as it is called.

        It writes only tensors whose rule has changed since its last call, each merged anew from
        the originals. On exit, after an exception too, every parameter has its own bits again.

        Raises:
            UserError: (the function) The recipe is for another number of layers, merges a part
                that this pair keeps, or needs a base that it does not have.
            RuntimeError: Another such block is open.
        """
        if self._is_open:
            raise RuntimeError("a recipe is already applied to this model")
        self._is_open = True
        try:
            yield self._switch
        finally:
            self._revert(list(self._applied))
            self._is_open = False

    @contextmanager
    def merged(self, recipe: Recipe) -> Generator[Any]:
        """The model as `recipe` says, inside the block only; see `switching`."""
        with self.switching() as switch:
            yield switch(recipe)

    def ends(self, tensor: AlignedTensor) -> tuple[Tensor, Tensor]:
        """The VLM's own values of a tensor and its backbone's, each wherever it lies.

        Whatever recipe is applied. They are not copies: nobody may change them.
        """
        live = layer_tensor(self._model, tensor).detach()
        own = self._originals[tensor] if tensor in self._applied else live
        return own, self._backbone[tensor]

    @torch.no_grad()
    def _switch(self, recipe: Recipe) -> Any:
        rules = self._rules(recipe)
        self._revert([t for t in self._applied if t not in rules])
        for tensor, rule in rules.items():
            if self._applied.get(tensor) != rule:
                self._write(tensor, rule)
        return self._model

    def _rules(self, recipe: Recipe) -> dict[AlignedTensor, Rule]:
        """The rule of every tensor that the recipe changes."""
        self._alignment.require(recipe)
        require_base(recipe, is_given=self._find_base is not None)
        n_layers = self._alignment.n_layers
        rules = {
            tensor: rule
            for tensor in self._alignment.tensors
            if (rule := recipe.layers[tensor.layer].rule(tensor.part)) is not None
        }
        expected = sum(
            self._alignment.count(part) // n_layers
            for layer in recipe.layers
            for part in PARTS
            if layer.rule(part) is not None
        )
        if len(rules) != expected:
            raise RuntimeError(f"the recipe touches {len(rules)} tensors, expected {expected}")
        return rules

    @cached_property
    def _base(self) -> WaitingWeights:
        if self._find_base is None:
            raise RuntimeError("the pair has no base")
        return self._find_base()

    def _write(self, tensor: AlignedTensor, rule: Rule) -> None:
        live = layer_tensor(self._model, tensor)
        if tensor not in self._originals:
            place = live.device if tensor.part == "attention" else "cpu"
            self._originals[tensor] = live.detach().to(place, copy=True)
        original = self._originals[tensor].to(live.device)
        self._applied[tensor] = None  # neither the original nor yet the rule's
        operands = Operands(
            name=tensor.path,
            vlm=original,
            backbone=self._backbone[tensor].to(live.device, non_blocking=True),
            base=self._base[tensor].to(live.device) if needs_base(rule) else None,
        )
        live.copy_(merge_tensor(rule, operands))
        self._applied[tensor] = rule

    @torch.no_grad()
    def _revert(self, tensors: list[AlignedTensor]) -> None:
        for tensor in tensors:
            layer_tensor(self._model, tensor).copy_(self._originals[tensor])
            del self._applied[tensor]
            if tensor.part != "attention":
                del self._originals[tensor]
