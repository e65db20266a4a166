"""What a model family says about itself: only what differs from one family to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class VideoFeatures:
    """What the vision side makes of one video; no recipe changes it.

    Attributes:
        tokens: The VLM's compute dtype, [tokens, hidden].
        grid: Patches over time, height and width.
    """

    tokens: Tensor
    grid: tuple[int, int, int]


@dataclass(frozen=True, eq=False, slots=True)
class EncodedPrompt:
    """One question as the language model reads it.

    Attributes:
        input_ids: int64 [length], the video's placeholders expanded.
        position_ids: int64 [axes, length]; axes is 3 for M-RoPE.
    """

    input_ids: Tensor
    position_ids: Tensor


class Family(Protocol):
    """How prompt and media become the inputs of one model type's stock forward."""

    model_type: str
    backbone_types: tuple[str, ...]

    def encode_video(self, model: Any, processor: Any, frames: NDArray[np.uint8]) -> VideoFeatures:
        """Features of uint8 frames [frames, height, width, 3], one video a call."""
        ...

    def encode_prompt(
        self, model: Any, processor: Any, text: str, features: VideoFeatures
    ) -> EncodedPrompt:
        """The chat-templated question about one video, ready for generation."""
        ...

    def forward_inputs(
        self, model: Any, prompts: Sequence[EncodedPrompt], features: Sequence[VideoFeatures]
    ) -> dict[str, Tensor]:
        """Keyword arguments of the stock forward for a batch of prompts of one length."""
        ...
