"""What a model family says about itself: only what differs from one family to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from merit_opt.data.media.status import OK, MediaStatus
from merit_opt.recipe.recipe import PARTS, Part

Kind = Literal["video", "image"]


@dataclass(frozen=True, slots=True)
class InPrompt:
    """How a medium stands in a prompt.

    Attributes:
        kind: Of the chat's entries that stand for it.
        entries: How many: one, or one a frame.
        texts: What the processor writes for each entry; None where it does so by itself.
        token_id: Of the rows whose embeddings the visual tokens replace.
    """

    kind: Kind
    entries: int
    texts: tuple[str, ...] | None
    token_id: int


@dataclass(frozen=True, eq=False, slots=True)
class VisualInputs:
    """What a processor makes of one medium, before any model sees it.

    Attributes:
        values: By the processor's own names, pixels among them.
        prompt: How the medium stands in a prompt.
        length: Visual tokens.
    """

    values: Mapping[str, Any]
    prompt: InPrompt
    length: int


@dataclass(frozen=True, eq=False, slots=True)
class VisualFeatures:
    """What the vision side makes of one medium; no recipe changes it.

    Attributes:
        tokens: The VLM's compute dtype, [tokens, hidden]; they take the place of the embeddings
            of the medium's placeholder tokens.
        prompt: How the medium stands in a prompt.
        grid: Patches over time, height and width; None where positions do not depend on them.
        seconds_per_grid: Seconds between two steps of the grid, where positions depend on them.
        deepstack: Added to the visual rows after layer 0, 1, ..., each [tokens, hidden].
        times: Seconds from the video's first frame at which each frame shown stands; none of an
            image.
        status: How reading the medium went.
    """

    tokens: Tensor
    prompt: InPrompt
    grid: tuple[int, int, int] | None = None
    seconds_per_grid: float | None = None
    deepstack: tuple[Tensor, ...] = ()
    times: tuple[float, ...] = ()
    status: MediaStatus = OK


def plain_positions(model: Any, token_ids: Tensor, features: VisualFeatures) -> Tensor:
    """int64 [1, length]: each token's place in the prompt."""
    return torch.arange(len(token_ids))[None]


@dataclass(frozen=True, slots=True)
class Family:
    """How media become the inputs of one model type's language model.

    Attributes:
        model_type: Of the VLM's configuration.
        backbones: Model type of the VLM's text configuration -> that of the text model it pairs
            with.
        encode: (the VLM, a medium's inputs) -> its features.
        position_ids: (the VLM, int64 [length] token ids, their medium's features) -> int64 [axes,
            length], as the stock forward computes them; axes is 3 for M-RoPE, else 1.
        parts: What a merge may touch.
        video_entry: What stands for a video in a chat: a video, or each of its frames as an image.
        video_token: Whose placeholder token the processor writes for a video's frames.
        trailing: Tokens behind a video's frames that are of none of them; None where frames have
            unequal numbers of tokens, so that nobody knows which token is of which.
    """

    model_type: str
    backbones: Mapping[str, str]
    encode: Callable[[Any, VisualInputs], VisualFeatures]
    position_ids: Callable[[Any, Tensor, VisualFeatures], Tensor] = plain_positions
    parts: tuple[Part, ...] = PARTS
    video_entry: Kind = "video"
    video_token: Kind = "video"
    trailing: int | None = 0
