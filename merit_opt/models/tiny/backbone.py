"""The backbone from random weights: a small language model that learns to answer about scenes.

Layers on the way are told what they should know by then. Without that the model never learns to
answer by letters: the targets A to D are interchangeable until it tells them apart.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from merit_opt.data.clips.questions import NUMBERS, OPTIONS, Question, draw_questions
from merit_opt.data.clips.scene import Events, clip_events
from merit_opt.data.sample import LETTERS
from merit_opt.data.suite import Role
from merit_opt.models.tiny.lessons import FAMILIES, Lesson, Writer
from merit_opt.models.tiny.packing import Batch, answer_logits, pack_each, states_after
from merit_opt.models.tiny.scenes import Scene, Teller
from merit_opt.models.tiny.training import Kept, Pupil, train

WORD_NORM = 2.5
SPREAD = 0.1
SENTENCES = 0.25
EVERY_KIND: dict[Role, int] = {"TR": 5, "TP": 4}
HINT_WEIGHT, MEANING_WEIGHT = 0.3, 0.5


@dataclass(frozen=True, slots=True)
class BackboneSchedule:
    """How long and on what the backbone trains.

    Attributes:
        steps: How many.
        rate: Learning rate.
        scenes: Scenes a step, each with a question of every kind.
        words: Share of questions answered by words instead of letters.
        captions: Share of scenes that are told again.
        keep_every: Steps after which the training is kept, so that a killed one goes on.
    """

    steps: int
    rate: float
    scenes: int
    words: float
    captions: float
    keep_every: int


def one_of_each(events: Events, rng: random.Random) -> list[Question]:
    """A question of every kind."""
    return [
        question
        for role, count in EVERY_KIND.items()
        for question in draw_questions(events, role=role, count=count, rng=rng)
    ]


@torch.no_grad()
def start_over(model: Any, seed: int) -> None:
    """Draw a language model anew: words at right angles, and layers that pass on what they get."""
    generator = torch.Generator().manual_seed(seed)
    words = model.embed_tokens.weight
    torch.nn.init.orthogonal_(words, generator=generator)
    words.copy_(WORD_NORM * normalize(words))
    for name, parameter in model.layers.named_parameters():
        if parameter.ndim == 2:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            parameter.normal_(std=0.0 if writes else SPREAD, generator=generator)
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    model.norm.weight.fill_(1.0)


@dataclass(frozen=True, eq=False, slots=True)
class School:
    """Draws scenes and what is asked about them.

    Attributes:
        teller: Tells scenes.
        rng: Draws everything.
    """

    teller: Teller
    rng: random.Random

    def scene(self) -> Scene:
        """Four events, as frame bags or as sentences."""
        events = clip_events(seed=self.rng.getrandbits(62), clip=0)
        plain = self.rng.random() < SENTENCES
        return self.teller.sentences(events) if plain else self.teller.bags(events)

    def lessons(self, events: Events, schedule: BackboneSchedule) -> list[Lesson]:
        """One question of every kind, and at times the whole scene."""
        writer, rng = self.teller.writer, self.rng
        lessons = [
            writer.word(q) if rng.random() < schedule.words else writer.letter(q, rng)
            for q in one_of_each(events, rng)
        ]
        told = rng.random() < schedule.captions
        return [*lessons, *([writer.caption(events)] if told else [])]


@dataclass(frozen=True, eq=False, slots=True)
class Readout:
    """Reads words from hidden states with the model's own embeddings.

    Attributes:
        families: int64 ``[vocabulary]``: words of one number are alternatives.
        words: bool ``[vocabulary]``: what an option can be.
        letters: bool ``[vocabulary]``: A to D.
    """

    families: Tensor
    words: Tensor
    letters: Tensor

    @classmethod
    def of(cls, writer: Writer) -> "Readout":
        """For a writer's words."""
        families = torch.arange(len(writer.vocabulary))
        for family in (*FAMILIES, NUMBERS):
            families[list(writer.ids(family))] = writer.vocabulary[family[0]]
        words = torch.zeros_like(families, dtype=torch.bool)
        words[[i for family in FAMILIES for i in writer.ids(family)]] = True
        letters = torch.zeros_like(words)
        letters[list(writer.ids(LETTERS[:OPTIONS]))] = True
        return cls(families, words, letters)

    def loss(self, model: Any, states: Tensor, targets: Tensor, *, turned: bool = False) -> Tensor:
        """Of telling words from their alternatives.

        Args:
            model: Whose final norm and words read.
            states: float ``[b, t, hidden]``.
            targets: int64 ``[n, 3]``: row, place, word.
            turned: Read with every word's dimensions moved along by one, so that a state can say
                two words of a family at once.
        """
        row, place, wanted = targets.T
        words = model.embed_tokens.weight
        logits = model.norm(states[row, place]) @ (words.roll(1, -1) if turned else words).T
        same = self.families[wanted][:, None] == self.families
        told = cross_entropy(logits.masked_fill(~same, -torch.inf), wanted, reduction="sum")
        return told / max(1, len(wanted))


def teach(
    model: Any,
    school: School,
    schedule: BackboneSchedule,
    *,
    path: Path,
    tell: Callable[[int, int], None],
) -> None:
    """Train a language model in place.

    Args:
        model: All of it learns.
        school: What it is taught.
        schedule: How long.
        path: Where the training is kept on the way, and goes on from.
        tell: Called with (done, total).
    """
    readout = Readout.of(school.teller.writer)

    def loss() -> Tensor:
        scenes = [school.scene() for _ in range(schedule.scenes)]
        rows = [school.lessons(scene.events, schedule) for scene in scenes]
        return scene_loss(model, readout, scenes, rows)

    def after(done: int) -> bool:
        tell(done, schedule.steps)
        return False

    pupils = [Pupil(tuple(model.parameters()), schedule.rate)]
    kept = Kept(path, schedule.keep_every, school.rng)
    train(pupils, steps=schedule.steps, loss=loss, after=after, kept=kept)


def in_rows(found: Sequence[Tensor]) -> Tensor:
    """Pairs ``[f, 2]`` of each row as one int64 ``[f, 3]`` with the row before them."""
    rows = [torch.full((len(pairs), 1), row) for row, pairs in enumerate(found)]
    return torch.cat([torch.cat(rows), torch.cat(list(found))], 1)


def scene_loss(
    model: Any, readout: Readout, scenes: Sequence[Scene], rows: Sequence[Sequence[Lesson]]
) -> Tensor:
    """The loss of answering, and of what the layers on the way should know by then."""
    batch = pack_each([scene.prefix for scene in scenes], rows)
    depth = len(model.layers)
    embedded = model.embed_tokens(batch.ids)
    early, late, last = states_after(model, batch, embedded, (depth // 3, depth - 3, depth))
    logits = answer_logits(model, batch, last)
    hints = (
        MEANING_WEIGHT * readout.loss(model, late, batch.targets[:, [0, 1, 3]]),
        HINT_WEIGHT * readout.loss(model, late, choices(batch, readout)),
        HINT_WEIGHT * readout.loss(model, early, batch.named),
        HINT_WEIGHT * readout.loss(model, early, in_rows([s.facts for s in scenes])),
        HINT_WEIGHT * readout.loss(model, early, in_rows([s.before for s in scenes]), turned=True),
    )
    return cross_entropy(logits, batch.targets[:, 2]) + torch.stack(hints).sum()


def choices(batch: Batch, readout: Readout) -> Tensor:
    """Every letter and the option before it, int64 ``[o, 3]``: row, place, word."""
    before, here = batch.ids[:, :-1], batch.ids[:, 1:]
    row, place = torch.nonzero(readout.words[before] & readout.letters[here], as_tuple=True)
    return torch.stack([row, place + 1, before[row, place]], 1)
