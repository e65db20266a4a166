"""A VLM and its backbone, loaded: the model that every recipe is tried on."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from merit_opt.models.alignment import Alignment
from merit_opt.models.families.family import Family, VideoFeatures
from merit_opt.models.live import LiveMerge
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
        videos: Features of the videos seen so far, by content digest and frame count: no recipe
            changes them, so every study on this pair shares them.
    """

    model: Any
    processor: Any
    family: Family
    alignment: Alignment
    live: LiveMerge
    digest: str
    videos: dict[tuple[str, int | None], VideoFeatures] = field(default_factory=dict)

    @property
    def n_layers(self) -> int:
        """Decoder layers of the language model."""
        return self.alignment.n_layers

    @property
    def device(self) -> torch.device:
        """Where the model's inputs go."""
        return self.model.device

    def merged(self, recipe: Recipe) -> AbstractContextManager[Any]:
        """The VLM under `recipe` inside the block, its own weights bit for bit after it."""
        return self.live.merged(recipe)
