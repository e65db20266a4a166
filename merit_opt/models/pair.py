"""A VLM and its backbone, loaded: the model that every recipe is tried on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from merit_opt.models.alignment import Alignment, decoder_layers
from merit_opt.models.families.family import Family
from merit_opt.models.live import LiveMerge, Switch
from merit_opt.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ModelPair:
    """The live VLM with its backbone's tensors.

    Attributes:
        model: The VLM, in evaluation mode, without gradients.
        processor: Its processor.
        family: What differs for its model type.
        alignment: Which tensors correspond.
        live: The one way to change the weights.
        digest: Identity of both checkpoints and the compute dtype.
        base_digest: Finds that of the base, where the pair has one.
    """

    model: Any
    processor: Any
    family: Family
    alignment: Alignment
    live: LiveMerge
    digest: str
    base_digest: Callable[[], str]

    def identity(self, recipe: Recipe) -> str:
        """What decides, beside the recipe, which model it makes: 12 hex digits of each part."""
        return f"{self.digest}-{self.base_digest()}" if recipe.needs_base else self.digest

    @property
    def n_layers(self) -> int:
        """Decoder layers of the language model."""
        return self.alignment.n_layers

    @cached_property
    def matrix_weights(self) -> tuple[tuple[int, int], ...]:
        """Weights that a token meets in each decoder layer: in its attention, in its MLP."""
        layers = decoder_layers(self.model)
        return tuple((_matrices(layer.self_attn), _matrices(layer.mlp)) for layer in layers)

    @property
    def device(self) -> torch.device:
        """Where the model's inputs go."""
        return self.model.get_input_embeddings().weight.device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All that hold some of the model."""
        return tuple(dict.fromkeys(p.device for p in self.model.parameters()))

    def layer_device(self, layer: int) -> torch.device:
        """Where a decoder layer's inputs go."""
        norm: Any = decoder_layers(self.model)[layer].input_layernorm
        return norm.weight.device

    def merged(self, recipe: Recipe) -> AbstractContextManager[Any]:
        """The VLM under `recipe` inside the block, its own weights bit for bit after it."""
        return self.live.merged(recipe)

    def switching(self) -> AbstractContextManager[Switch]:
        """Recipe after recipe inside the block; see `LiveMerge.switching`."""
        return self.live.switching()


def _matrices(module: Any) -> int:
    """Of matrices all weights, of stacked experts those of the few that a token is sent to."""
    plain = sum(p.numel() for p in module.parameters() if p.ndim == 2)
    stacked = sum(p.numel() for p in module.parameters() if p.ndim == 3)
    return plain + (stacked * module.gate.top_k // module.gate.num_experts if stacked else 0)
