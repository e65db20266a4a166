"""Rendered clips as the language model meets them: what happens, and the video's tokens."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merit_opt.data.clips.library import Clip, clip_library
from merit_opt.data.clips.scene import Events
from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.media.video import read_video
from merit_opt.data.progress import Progress

CLIPS_AT_ONCE = 40


@dataclass(frozen=True, eq=False, slots=True)
class Clips:
    """Clips of one purpose.

    Attributes:
        events: What each shows.
        features: Their tokens after the projector, float ``[clips, video tokens, hidden]``.
        grid: Shape of a clip in patches, int64 ``[3]``: time, height, width.
    """

    events: tuple[Events, ...]
    features: Tensor
    grid: Tensor

    def part(self, start: int, stop: int) -> "Clips":
        """Clips `start` to `stop` - 1."""
        return replace(self, events=self.events[start:stop], features=self.features[start:stop])

    def turned(self, rotation: Tensor) -> "Clips":
        """The same clips with every token multiplied by `rotation`, ``[hidden, hidden]``."""
        return replace(self, features=self.features @ rotation)


def see_clips(
    model: Any, processor: Any, *, clips: int, seed: int, progress: Progress | None
) -> Clips:
    """Render clips, and let the vision tower see what a decoder reads of them."""
    with tempfile.TemporaryDirectory() as folder:
        library = clip_library(cache=Path(folder), clips=clips, seed=seed, progress=progress)
        parts = [library[s : s + CLIPS_AT_ONCE] for s in range(0, clips, CLIPS_AT_ONCE)]
        return watched(model, processor, events_of(library), map(clip_frames, parts))


def events_of(clips: Sequence[Clip]) -> tuple[Events, ...]:
    """What each shows."""
    return tuple(clip.events for clip in clips)


@torch.no_grad()
def watched(
    model: Any, processor: Any, events: tuple[Events, ...], parts: Iterable[Tensor]
) -> Clips:
    """Clips as the language model meets them, from their frames, some clips at a time."""
    tokens, grids = zip(*(look(model, processor, frames) for frames in parts), strict=True)
    return Clips(events, torch.cat(tokens), grids[0])


def clip_frames(clips: tuple[Clip, ...]) -> Tensor:
    """What a decoder reads of clips, uint8 ``[clips, frames, 3, height, width]``."""
    return torch.stack(
        [
            torch.from_numpy(read_video(c.media.path, ALL_FRAMES).frames).movedim(-1, 1)
            for c in clips
        ]
    )


def look(model: Any, processor: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
    """What the vision tower makes of frames: tokens ``[clips, video tokens, hidden]``, one grid."""
    inputs = processor.video_processor(videos=list(frames), return_tensors="pt")
    grids = inputs["video_grid_thw"]
    tokens = model.model.get_video_features(inputs["pixel_values_videos"], grids).pooler_output
    return torch.stack(tuple(tokens)), grids[0]
