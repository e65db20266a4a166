"""What a tiny language model can do, and what it could with attention given back."""

import copy
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from merit_opt.data.sample import LETTERS
from merit_opt.data.suite import Role
from merit_opt.models.tiny.classroom import Clips
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.packing import Prefix, pack, target_logits

QUESTIONS: dict[Role, int] = {"TR": 3, "TP": 2}
ROWS_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of letter questions answered rightly, in [0, 1]; chance is .25.

    Attributes:
        TR: Of temporal reasoning, three questions a clip.
        TP: Of temporal perception, two questions a clip.
    """

    TR: float
    TP: float


@torch.no_grad()
def accuracy(model: Any, clips: Clips, *, writer: Writer, prefix: Prefix, seed: int) -> Accuracy:
    """Measure a language model; the same seed asks the same questions."""
    return Accuracy(
        TR=_share_right(model, clips, writer, prefix, "TR", seed),
        TP=_share_right(model, clips, writer, prefix, "TP", seed),
    )


def restored(model: Any, backbone: Any, layers: Iterable[int], *, coefficient: float) -> Any:
    """A copy with the attention of some layers moved towards the backbone's."""
    merged = copy.deepcopy(model)
    for layer in layers:
        theirs = dict(backbone.layers[layer].self_attn.named_parameters())
        for name, parameter in merged.layers[layer].self_attn.named_parameters():
            parameter.data.lerp_(theirs[name].data, coefficient)
    return merged


def _share_right(
    model: Any, clips: Clips, writer: Writer, prefix: Prefix, role: Role, seed: int
) -> float:
    rng = random.Random(f"measure/{seed}/{role}")
    lessons = [
        writer.letters(events, role=role, count=QUESTIONS[role], rng=rng)
        for events in clips.events
    ]
    letters = torch.tensor([writer.vocabulary[letter] for letter in LETTERS[:4]])
    right = 0
    for start in range(0, len(lessons), ROWS_AT_ONCE):
        batch = pack(prefix, lessons[start : start + ROWS_AT_ONCE])
        features = clips.features[start : start + ROWS_AT_ONCE]
        answers = letters[target_logits(model, batch, features)[:, letters].argmax(-1)]
        right += int((answers == batch.targets[:, 2]).sum())
    return right / sum(map(len, lessons))
