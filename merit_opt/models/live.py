"""The one mutation in the project: recipes applied to the live VLM, and taken back.

What masks a layer is a last step of the same mutation, over what the recipe has made of it.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import AlignedTensor, Alignment, layer_tensor, require_base
from merit_opt.models.masking import (
    Edit,
    Means,
    Redrawn,
    edits,
    redrawn,
    replace_outputs,
    require_maskable,
)
from merit_opt.models.waiting import WaitingWeights
from merit_opt.recipe.intervention import Intervention, Redraw
from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.recipe.rules import Rule, needs_base

NO_MEANS: Means = MappingProxyType({})


class Switch(Protocol):
    """Makes the model what a recipe says, and masks what an intervention says."""

    def __call__(
        self,
        recipe: Recipe,
        /,
        intervention: Intervention | Redraw | None = None,
        means: Means = NO_MEANS,
    ) -> Any:
        """The model, as it then is.

        Args:
            recipe: What is merged.
            intervention: What is masked or drawn anew in the merged model; None is nothing.
            means: Of the layers that are replaced by their mean.
        """
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """What a live tensor holds: the VLM's values merged by a rule, if any, then written over."""

    rule: Rule | None
    edit: Edit | Redrawn | None


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
        self._applied: dict[AlignedTensor, _State | None] = {}
        self._hooks: list[RemovableHandle] = []
        self._is_open = False

    @contextmanager
    def switching(self) -> Generator[Switch]:
        """A function that makes the model what a recipe says, for as often as it is called.

        It writes only tensors of which something has changed since its last call, each made anew
        from the originals. On exit, after an exception too, every parameter has its own bits
        again, and nothing hangs on any module.

        Raises:
            UserError: (the function) The recipe is for another number of layers, merges a part
                that this pair keeps, or needs a base that it does not have; or a layer or head
                is masked that is not there, or reverted that is not merged.
            RuntimeError: Another such block is open.
        """
        if self._is_open:
            raise RuntimeError("a recipe is already applied to this model")
        self._is_open = True
        try:
            yield self._switch
        finally:
            self._unhook()
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
    def _switch(
        self,
        recipe: Recipe,
        /,
        intervention: Intervention | Redraw | None = None,
        means: Means = NO_MEANS,
    ) -> Any:
        states = self._states(recipe, intervention)
        self._unhook()
        self._revert([t for t in self._applied if t not in states])
        for tensor, state in states.items():
            if self._applied.get(tensor) != state:
                self._write(tensor, state)
        if isinstance(intervention, Intervention):
            for hook in replace_outputs(self._model, intervention, means):
                self._hooks.append(hook)
        return self._model

    def _states(
        self, recipe: Recipe, intervention: Intervention | Redraw | None
    ) -> Mapping[AlignedTensor, _State]:
        """Of every tensor that does not keep the VLM's own values."""
        rules = self._rules(recipe)
        if intervention is None:
            return {tensor: _State(rule, None) for tensor, rule in rules.items()}
        written: Mapping[AlignedTensor, Edit | Redrawn]
        if isinstance(intervention, Redraw):
            written = redrawn(intervention, self._matrices)
        else:
            require_maskable(self._model, intervention)
            written = edits(self._model, intervention, rules)
        return {t: _State(rules.get(t), written.get(t)) for t in (*rules, *written)}

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
    def _matrices(self) -> tuple[AlignedTensor, ...]:
        tensors = self._alignment.tensors
        return tuple(t for t in tensors if layer_tensor(self._model, t).ndim > 1)

    @cached_property
    def _base(self) -> WaitingWeights:
        if self._find_base is None:
            raise RuntimeError("the pair has no base")
        return self._find_base()

    def _write(self, tensor: AlignedTensor, state: _State) -> None:
        live = layer_tensor(self._model, tensor)
        if tensor not in self._originals:
            place = live.device if tensor.part == "attention" else "cpu"
            self._originals[tensor] = live.detach().to(place, copy=True)
        original = self._originals[tensor].to(live.device)
        self._applied[tensor] = None  # neither the original nor yet the wanted one
        values = original
        if state.rule is not None:
            values = merge_tensor(state.rule, self._operands(tensor, state.rule, original))
        live.copy_(values if state.edit is None else state.edit(values, original))
        self._applied[tensor] = state

    def _operands(self, tensor: AlignedTensor, rule: Rule, original: Tensor) -> Operands:
        device = original.device
        return Operands(
            name=tensor.path,
            vlm=original,
            backbone=self._backbone[tensor].to(device, non_blocking=True),
            base=self._base[tensor].to(device) if needs_base(rule) else None,
        )

    def _unhook(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    @torch.no_grad()
    def _revert(self, tensors: list[AlignedTensor]) -> None:
        for tensor in tensors:
            layer_tensor(self._model, tensor).copy_(self._originals[tensor])
            del self._applied[tensor]
            if tensor.part != "attention":
                del self._originals[tensor]
