"""How a suite is asked, from the plain values of its option file."""

from collections.abc import Mapping
from typing import Literal

from merit_opt.data.media.frames import FramePlan, Mode
from merit_opt.data.prompts import Prompt, find_prompt
from merit_opt.data.suite import Asking, Decoding, ScorerName


def asking(
    prompts: Mapping[str, Prompt],
    *,
    prompt: str,
    scorer: ScorerName,
    permutations: int,
    decoding: Literal["greedy", "own"],
    max_new_tokens: int,
    sampling: Mode,
    frames: int,
    fps: float,
) -> Asking:
    """What the values say together.

    Args:
        prompts: Those that there are, by name.
        prompt: The name of one.
        scorer: How answers are read.
        permutations: See `Asking`.
        decoding: See `Decoding`; of answers that are generated.
        max_new_tokens: See `Decoding`.
        sampling: See `FramePlan`.
        frames: See `FramePlan`.
        fps: See `FramePlan`.

    Raises:
        UserError: A name or a value does not fit.
    """
    return Asking(
        prompt=find_prompt(prompt, prompts),
        frames=FramePlan(sampling, frames, fps),
        scorer=scorer,
        permutations=permutations,
        decoding=Decoding(decoding, max_new_tokens) if scorer == "generate" else None,
    )
