"""Many lessons about one scene in one row: each sees the scene and itself, none its neighbours.

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
    """The chat up to the end of the video; for clips it is the same for every one.

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
        targets: int64 ``[n, 4]``: row, place, the token that has to follow there, and the word
            that it stands for.
        named: int64 ``[m, 3]``: row, place of the first answer, and what its question names.
        video: The video's tokens within each row.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    named: Tensor
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
    return pack_each([prefix] * len(rows), rows)


def pack_each(prefixes: Sequence[Prefix], rows: Sequence[Sequence[Lesson]]) -> Batch:
    """As `pack`, where every row has a prefix of its own; `video` is the first one's."""
    packed = [_row(*row) for row in zip(prefixes, rows, strict=True)]
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
    found = list(map(_targets, prefixes, rows))
    targets = [(r, *target) for r, (said, _) in enumerate(found) for target in said]
    named = [(r, *name) for r, (_, names) in enumerate(found) for name in names]
    return Batch(
        ids,
        positions,
        mask,
        torch.tensor(targets),
        torch.tensor(named).view(-1, 3),
        prefixes[0].video,
    )


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
    depth = len(model.layers) if layers is None else layers
    (states,) = states_after(model, batch, torch.cat([before, features, after], 1), (depth,))
    return states if layers is not None else model.norm(states)


def states_after(
    model: Any, batch: Batch, states: Tensor, depths: Sequence[int]
) -> tuple[Tensor, ...]:
    """Hidden states after so many layers each, ascending, without the final norm.

    Args:
        model: A Qwen2-VL language model.
        batch: Says where tokens stand and where they may look.
        states: What goes into the first layer, float ``[b, t, h]``.
        depths: Numbers of layers, ascending, the last at most all.
    """
    rotary = model.rotary_emb(states, batch.positions)
    found: list[Tensor] = []
    for depth, layer in enumerate(model.layers[: depths[-1]]):
        if depth in depths:
            found.append(states)
        states = layer(states, attention_mask=batch.mask, position_embeddings=rotary)
    return (*found, states)


def answer_logits(model: Any, batch: Batch, states: Tensor) -> Tensor:
    """Logits where an answer's token has to follow, float ``[n, vocabulary]``.

    Args:
        model: A Qwen2-VL language model.
        batch: Whose targets.
        states: After its layers, without the final norm, float ``[b, t, h]``.
    """
    row, place = batch.targets[:, 0], batch.targets[:, 1]
    return model.norm(states[row, place]) @ model.embed_tokens.weight.T


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


def _targets(
    prefix: Prefix, lessons: Sequence[Lesson]
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """See `Batch.targets` and `Batch.named`, without the row."""
    targets: list[tuple[int, int, int]] = []
    named: list[tuple[int, int]] = []
    place = len(prefix.ids) - 1
    for lesson in lessons:
        place += len(lesson.prompt)
        said = zip(lesson.answer, lesson.meant, strict=True)
        targets += [(place + i, token, word) for i, (token, word) in enumerate(said)]
        if lesson.named is not None:
            named.append((place, lesson.named))
        place += len(lesson.answer) - 1
    return targets, named
