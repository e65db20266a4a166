"""The frames of a video among its visual tokens: told apart, replaced, and hidden from questions.

A frame here is a temporal patch: one frame that is shown, or those that a vision tower takes
together. Nothing of the live model is touched: what is changed is a value, a pack's features or
the rows that its questions see.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.models.families.family import Family, VisualFeatures
from merit_opt.models.pack import Pack

SECOND = 1.0  # how long a lone frame is said to stand
Levels = tuple[Tensor, ...]
"""Of the tokens, then of each deepstack level."""


@dataclass(frozen=True, eq=False, slots=True)
class FrameTokens:
    """Which visual tokens are of which frame.

    Attributes:
        of: int64 [tokens], the frame of each token; -1 of those that are of none.
        times: Of each frame the seconds at which what it shows stands, ascending.
        ends: Of each frame the second at which the next one begins.
    """

    of: Tensor
    times: tuple[tuple[float, ...], ...]
    ends: tuple[float, ...]

    @property
    def count(self) -> int:
        """Frames."""
        return len(self.times)

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Of each frame when it begins and ends, in seconds."""
        return tuple((own[0], end) for own, end in zip(self.times, self.ends, strict=True))

    def shows(self, spans: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
        """Of each frame whether something of it stands in one of these (start, end) seconds."""
        return tuple(
            any(start <= t < end for t in own for start, end in spans) for own in self.times
        )


def frame_tokens(family: Family, features: VisualFeatures) -> FrameTokens | None:
    """The frames of a medium; None of a still image, which has none.

    Raises:
        UserError: Of this family nobody knows which token is of which frame.
    """
    times = features.times
    if len(times) == 0:
        return None
    tokens = len(features.tokens)
    count = len(times) if features.grid is None else features.grid[0]
    together = -(-len(times) // count)
    if family.trailing is None or (tokens - family.trailing) % count:
        raise UserError(
            f"which of the {tokens} visual tokens is of which of {len(times)} frames is not known "
            f"for {family.model_type}: its frames have unequal numbers of tokens"
        )
    shown = tuple(times[i : i + together] for i in range(0, len(times), together))
    if len(shown) != count:
        raise UserError(
            f"{family.model_type} makes {count} steps of {len(times)} frames, and which frame is in "
            "which is not known"
        )
    own = torch.arange(count).repeat_interleave((tokens - family.trailing) // count)
    none = own.new_full((family.trailing,), -1)
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else SECOND
    last = times[-1] + (step or SECOND)
    ends = (*(following[0] for following in shown[1:]), last)
    return FrameTokens(torch.cat([own, none]), shown, ends)


def levels_of(features: VisualFeatures) -> Levels:
    """All that a question sees of the medium, [tokens, hidden] each."""
    return (features.tokens, *features.deepstack)


def mean_features(features: VisualFeatures, frames: FrameTokens) -> Levels:
    """The video's mean feature, over the tokens of all frames: [hidden] a level."""
    own = frames.of >= 0
    return tuple(level[own].float().mean(0).to(level.dtype) for level in levels_of(features))


def with_features(pack: Pack, levels: Sequence[Tensor]) -> Pack:
    """The same questions about other features, [tokens, hidden] a level."""
    tokens, *deepstack = levels
    return replace(
        pack, features=replace(pack.features, tokens=tokens, deepstack=tuple(deepstack))
    )


def without_frames(
    pack: Pack, frames: FrameTokens, gone: Sequence[int], baseline: Sequence[Tensor]
) -> Pack:
    """The same questions, each token of these frames replaced by `baseline`, [hidden] a level."""
    lost = torch.isin(frames.of, torch.tensor(gone, dtype=torch.int64))[:, None]
    pairs = zip(levels_of(pack.features), baseline, strict=True)
    return with_features(pack, [torch.where(lost, mean, level) for level, mean in pairs])


def between(pack: Pack, frames: FrameTokens, baseline: Sequence[Tensor], share: float) -> Pack:
    """The same questions about frames that lie between the baseline (0) and themselves (1)."""
    own = (frames.of >= 0)[:, None]
    pairs = zip(levels_of(pack.features), baseline, strict=True)
    return with_features(
        pack,
        [torch.where(own, torch.lerp(mean.expand_as(x), x, share), x) for x, mean in pairs],
    )


def hiding_frame(pack: Pack, frames: FrameTokens, frame: int) -> Pack:
    """The same questions, which do not see this frame; later frames do."""
    hidden = pack.is_visual[: pack.prefix].clone()
    hidden[hidden.clone()] = frames.of == frame
    return replace(pack, hidden=hidden)


def frame_sums(values: Tensor, frames: FrameTokens) -> Tensor:
    """float64 [frames]: of each frame the sum of its tokens' values, [tokens]."""
    sums = torch.zeros(frames.count + 1, dtype=torch.float64)
    sums.index_add_(0, frames.of.remainder(frames.count + 1), values.double().cpu())
    return sums[:-1]
