"""What a model family says about itself: only what differs from one family to the next."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from merit_opt.data.video import Video


@dataclass(frozen=True, eq=False, slots=True)
class VideoFeatures:
    """What the vision side makes of one video; no recipe changes it.

    Attributes:
        tokens: The VLM's compute dtype, [tokens, hidden]; they take the place of the embeddings
            of the video's placeholder tokens.
        placeholder: What stands for the video in a prompt, as the processor writes it.
        grid: Patches over time, height and width; None where positions do not depend on them.
        seconds_per_grid: Seconds between two steps of the grid, where positions depend on them.
        deepstack: Added to the visual rows after layer 0, 1, ..., each [tokens, hidden].
    """

    tokens: Tensor
    placeholder: str
    grid: tuple[int, int, int] | None = None
    seconds_per_grid: float | None = None
    deepstack: tuple[Tensor, ...] = ()


class Family(Protocol):
    """How media become the inputs of one model type's language model."""

    model_type: str
    backbone_types: tuple[str, ...]

    def encode_video(self, model: Any, processor: Any, video: Video) -> VideoFeatures:
        """What the vision tower and the projector make of one video.

        Raises:
            VideoRefused: The processor cannot take it.
        """
        ...

    def position_ids(self, model: Any, token_ids: Tensor, features: VideoFeatures) -> Tensor:
        """Positions of one prompt's tokens, as the stock forward computes them.

        Args:
            model: The VLM.
            token_ids: int64 [length], placeholders expanded.
            features: Of the video in the prompt.

        Returns:
            int64 [axes, length]; axes is 3 for M-RoPE, else 1.
        """
        ...
