"""Many lessons about one video in one row: each sees the video and itself, none its neighbours.

Positions restart after the video for every lesson, so that a packed lesson is trained exactly as
it is later asked alone. Shapes: b rows, t tokens a row, v video tokens, h hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from merit_opt.models.tiny.lessons import Lesson, Writer


@dataclass(frozen=True, eq=False, slots=True)
class Prefix:
    """The chat up to the end of the video, the same for every clip.

    Attributes:
        ids: int64 ``[p]``.
        positions: int64 ``[3, p]``: time, height, width.
        video: The video's tokens within it.
        resume: Position of the first token after it.
    """

    ids: Tensor
    positions: Tensor
    video: slice
    resume: int


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Rows of packed lessons.

    Attributes:
        ids: int64 ``[b, t]``; 0 beyond a row's end.
        positions: int64 ``[3, b, t]``.
        mask: bool ``[b, 1, t, t]``; true where a token may look.
        targets: int64 ``[n, 3]``: row, place, and the token that has to follow there.
        video: The video's tokens within each row.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    video: slice


def video_prefix(model: Any, writer: Writer, grid: Tensor) -> Prefix:
    """The prefix of a video whose patches have the shape `grid`: int64 ``[3]``."""
    merge = model.config.vision_config.spatial_merge_size
    pad = model.config.video_token_id
    tokens = int(grid.prod()) // merge**2
    start = writer.opening.index(pad)
    ids = torch.tensor([*writer.opening[:start], *[pad] * tokens, *writer.opening[start + 1 :]])
    positions, _ = model.model.get_rope_index(
        ids[None], mm_token_type_ids=2 * (ids == pad)[None].int(), video_grid_thw=grid[None]
    )
    video = slice(start, start + tokens)
    return Prefix(ids, positions[:, 0], video, int(positions[0, 0, -1]) + 1)


def pack(prefix: Prefix, rows: Sequence[Sequence[Lesson]]) -> Batch:
    """One row for each video's lessons."""
    packed = [_row(prefix, lessons) for lessons in rows]
    length = max(len(ids) for ids, _, _ in packed)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    owners = torch.full((len(rows), length), -1)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    for r, (row_ids, row_positions, row_owners) in enumerate(packed):
        ids[r, : len(row_ids)] = row_ids
        positions[:, r, : len(row_ids)] = row_positions
        owners[r, : len(row_ids)] = row_owners
    shared = (owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None])
    mask = (shared & torch.ones(length, length, dtype=torch.bool).tril())[:, None]
    targets = [(r, *t) for r, lessons in enumerate(rows) for t in _targets(prefix, lessons)]
    return Batch(ids, positions, mask, torch.tensor(targets), prefix.video)


def hidden_states(model: Any, batch: Batch, features: Tensor, *, layers: int | None) -> Tensor:
    """Hidden states of the language model, float ``[b, t, h]``.

    Args:
        model: A Qwen2-VL language model.
        batch: What it reads.
        features: The videos' tokens, float ``[b, v, h]``.
        layers: After so many layers, without the final norm; None = after all, normed.
    """
    states = model.embed_tokens(batch.ids)
    before, after = states[:, : batch.video.start], states[:, batch.video.stop :]
    states = torch.cat([before, features, after], 1)
    rotary = model.rotary_emb(states, batch.positions)
    for layer in model.layers[:layers]:
        states = layer(states, attention_mask=batch.mask, position_embeddings=rotary)
    return states if layers is not None else model.norm(states)


def target_logits(model: Any, batch: Batch, features: Tensor) -> Tensor:
    """Logits where an answer's token has to follow, float ``[n, vocabulary]``."""
    states = hidden_states(model, batch, features, layers=None)
    return states[batch.targets[:, 0], batch.targets[:, 1]] @ model.embed_tokens.weight.T


def _row(prefix: Prefix, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor, Tensor]:
    ids, positions = [prefix.ids], [prefix.positions]
    owners = [torch.zeros(len(prefix.ids), dtype=torch.long)]
    for number, lesson in enumerate(lessons, start=1):
        tokens = torch.tensor([*lesson.prompt, *lesson.answer[:-1]])
        ids.append(tokens)
        positions.append((prefix.resume + torch.arange(len(tokens))).expand(3, -1))
        owners.append(torch.full((len(tokens),), number))
    return torch.cat(ids), torch.cat(positions, 1), torch.cat(owners)


def _targets(prefix: Prefix, lessons: Sequence[Lesson]) -> list[tuple[int, int]]:
    targets: list[tuple[int, int]] = []
    place = len(prefix.ids) - 1
    for lesson in lessons:
        place += len(lesson.prompt)
        targets += [(place + i, token) for i, token in enumerate(lesson.answer)]
        place += len(lesson.answer) - 1
    return targets
