"""The vision tower: learns to say, in the backbone's own words, what a clip shows.

For every two frames it is to emit four tokens: the embeddings of a colour, a shape, an action and
a full stop. The language model takes no part, and then reads clips as it reads frame bags.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from merit_opt.data.clips.library import clip_library
from merit_opt.data.clips.scene import Events
from merit_opt.data.progress import Progress
from merit_opt.models.tiny.classroom import (
    CLIPS_AT_ONCE,
    Clips,
    clip_frames,
    events_of,
    look,
    watched,
)
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.scenes import BAGS_PER_EVENT, said
from merit_opt.models.tiny.training import Pupil, train


@dataclass(frozen=True, slots=True)
class TowerSchedule:
    """How long and how hard the tower trains.

    Attributes:
        clips: That are learnt from.
        marking_clips: Others, to check it on.
        batch: Clips a step.
        steps: How many.
        rate: Learning rate.
    """

    clips: int
    marking_clips: int
    batch: int
    steps: int
    rate: float


@dataclass(frozen=True, eq=False, slots=True)
class Reel:
    """Clips as a decoder reads them.

    Attributes:
        events: What each shows.
        frames: uint8 ``[clips, frames, 3, height, width]``.
        words: What the tower should emit, int64 ``[clips, video tokens]``.
    """

    events: tuple[Events, ...]
    frames: Tensor
    words: Tensor


def film(writer: Writer, *, clips: int, seed: int, progress: Progress | None) -> Reel:
    """Render clips and read them back."""
    with tempfile.TemporaryDirectory() as folder:
        library = clip_library(cache=Path(folder), clips=clips, seed=seed, progress=progress)
        frames = clip_frames(library)
    events = events_of(library)
    words = [
        writer.ids(word for event in each for word in BAGS_PER_EVENT * said(event))
        for each in events
    ]
    return Reel(events, frames, torch.tensor(words))


def teach_tower(
    model: Any, processor: Any, reel: Reel, schedule: TowerSchedule, rng: random.Random,
    tell: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Train the tower of a VLM in place on a reel; `tell` is called with (done, total)."""
    words = model.model.language_model.embed_tokens.weight.detach()

    def loss() -> Tensor:
        chosen = rng.sample(range(len(reel.events)), schedule.batch)
        wanted = reel.words[chosen]
        seen, _ = look(model, processor, reel.frames[chosen])
        apart = (seen - words[wanted]).square().mean() / words.var()
        return cross_entropy((seen @ words.T).flatten(0, 1), wanted.flatten()) + apart

    def after(done: int) -> bool:
        tell(done, schedule.steps)
        return False

    pupils = [Pupil(tuple(model.model.visual.parameters()), schedule.rate)]
    train(pupils, steps=schedule.steps, loss=loss, after=after)


@torch.no_grad()
def words_right(model: Any, processor: Any, reel: Reel) -> float:
    """Share of video tokens that are nearest to the right word, in [0, 1]."""
    words = model.model.language_model.embed_tokens.weight
    right = 0
    for start in range(0, len(reel.events), CLIPS_AT_ONCE):
        part = slice(start, start + CLIPS_AT_ONCE)
        seen, _ = look(model, processor, reel.frames[part])
        right += int(((seen @ words.T).argmax(-1) == reel.words[part]).sum())
    return right / reel.words.numel()


def seen_clips(model: Any, processor: Any, reel: Reel) -> Clips:
    """A reel as the language model meets it."""
    return watched(model, processor, reel.events, reel.frames.split(CLIPS_AT_ONCE))
