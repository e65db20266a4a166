"""What every stage of making a pair must reach, measured on scenes and clips never seen before."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from merit_opt.data.clips.scene import Events, clip_events
from merit_opt.errors import UserError
from merit_opt.models.tiny.backbone import one_of_each
from merit_opt.models.tiny.lessons import Lesson
from merit_opt.models.tiny.packing import Prefix, answer_logits, pack_each, states_after
from merit_opt.models.tiny.scenes import Scene, Teller

ROWS_AT_ONCE = 20
FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class Mark:
    """One share that was measured, and between what it must lie.

    Attributes:
        what: What was asked of what, as in "`after` of frame bags".
        share: In [0, 1].
        least: The least that will do.
        most: The most that will do.
    """

    what: str
    share: float
    least: float
    most: float = 1.0

    @property
    def reached(self) -> bool:
        """Whether it lies there."""
        return self.least <= self.share <= self.most


def require(stage: str, marks: Iterable[Mark], advice: str) -> None:
    """All marks must be reached.

    Raises:
        UserError: Some are not; the message names each, its share and its bounds.
    """
    missed = [
        f"{mark.what} {mark.share:.3f}, expected {mark.least:.3g} to {mark.most:.3g}"
        for mark in marks
        if not mark.reached
    ]
    if missed:
        raise UserError(
            f"{stage} missed its mark: {'; '.join(missed)}; "
            f"what was trained so far is kept: {advice}"
        )


@torch.no_grad()
def kind_marks(
    model: Any, teller: Teller, *, scenes: int, seed: int, least: float
) -> tuple[Mark, ...]:
    """Share of letters right by kind of question, of frame bags and of sentences."""
    return tuple(
        Mark(f"`{kind}` of {layout}", share, least)
        for layout, tell in (("frame bags", teller.bags), ("sentences", teller.sentences))
        for kind, share in _by_kind(model, teller, tell, scenes, seed).items()
    )


def _by_kind(
    model: Any, teller: Teller, tell: Callable[[Events], Scene], scenes: int, seed: int
) -> dict[str, float]:
    rng = random.Random(f"{FRESH}/{seed}")
    told = [tell(clip_events(seed=rng.getrandbits(62), clip=0)) for _ in range(scenes)]
    asked = [one_of_each(scene.events, rng) for scene in told]
    lessons = [[teller.writer.letter(q, rng) for q in questions] for questions in asked]
    right = _right(model, [s.prefix for s in told], lessons)
    kinds = [question.kind for questions in asked for question in questions]
    total, hit = Counter(kinds), Counter(k for k, ok in zip(kinds, right, strict=True) if ok)
    return {kind: hit[kind] / total[kind] for kind in total}


def _right(
    model: Any, prefixes: Sequence[Prefix], lessons: Sequence[Sequence[Lesson]]
) -> list[bool]:
    """Whether the right token is the likeliest, answer by answer."""
    found: list[bool] = []
    for start in range(0, len(lessons), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        batch = pack_each(prefixes[part], lessons[part])
        embedded = model.embed_tokens(batch.ids)
        (states,) = states_after(model, batch, embedded, (len(model.layers),))
        answers = answer_logits(model, batch, states).argmax(-1)
        found += (answers == batch.targets[:, 2]).tolist()
    return found
