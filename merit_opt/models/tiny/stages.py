"""The stages of planting; each changes the student's language model and nothing else."""

import copy
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy

from merit_opt.data.clips.scene import Events
from merit_opt.data.progress import Progress
from merit_opt.data.suite import Role
from merit_opt.models.tiny.classroom import Clips
from merit_opt.models.tiny.lessons import Lesson, Writer
from merit_opt.models.tiny.packing import Prefix, hidden_states, pack, target_logits
from merit_opt.models.tiny.training import Pupil, train

PERCEPTION_LAYERS = (0, 1, 2)
CAPTION_SHARE = 0.2
WORDS_RIGHT, WORDS_WRONG = 1 / 3, 0.1
STRENGTHS = tuple(strength / 50 for strength in range(50, 0, -1))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard the stages train.

    Attributes:
        training_clips: Clips that are learnt from.
        measuring_clips: Other clips, the first half to stop by and the second to report on.
        batch: Clips a step.
        distil_steps: Steps of stage 1.
        distil_rate: Its rate, for the layers of perception.
        drift_steps: Steps of stage 2.
        drift_rate: Its rate for the layers of perception; half of it for the others.
        decoy_steps: Steps of stage 3.
        decoy_rate: Its rate, for the decoys.
        damage_steps: Most steps of stage 4, for each layer.
        damage_rate: Its rate.
        check_every: Steps of stage 4 between two looks at the score.
        stop_below: Temporal reasoning, a fraction, to which stage 4 brings the student.
        stop_apart: That to which each of several groups of layers brings it by itself.
    """

    training_clips: int
    measuring_clips: int
    batch: int
    distil_steps: int
    distil_rate: float
    drift_steps: int
    drift_rate: float
    decoy_steps: int
    decoy_rate: float
    damage_steps: int
    damage_rate: float
    check_every: int
    stop_below: float
    stop_apart: float


@dataclass(frozen=True, eq=False, slots=True)
class Desk:
    """What the stages share.

    Attributes:
        student: The language model that is trained.
        teacher: The language model that the student began as; never changes.
        writer: Writes lessons.
        prefix: Chat and video before every lesson.
        clear: The training clips as the teacher sees them.
        turned: The same clips as the student sees them.
        schedule: How long and how hard to train.
        rng: Draws clips and lessons.
        progress: Called with (stage, done, total).
    """

    student: Any
    teacher: Any
    writer: Writer
    prefix: Prefix
    clear: Clips
    turned: Clips
    schedule: Schedule
    rng: random.Random
    progress: Progress | None


def distil_perception(desk: Desk) -> None:
    """Stage 1: the first layers' attention turns what the student sees into what the teacher saw."""
    layers = len(PERCEPTION_LAYERS)

    def loss() -> Tensor:
        clips = _draw_clips(desk)
        batch = pack(desk.prefix, [_right_answers(desk, desk.clear.events[c]) for c in clips])
        with torch.no_grad():
            wanted = hidden_states(desk.teacher, batch, desk.clear.features[clips], layers=layers)
        states = hidden_states(desk.student, batch, desk.turned.features[clips], layers=layers)
        video, text = _places(batch.ids, desk.prefix.video)
        return _distance(states, wanted, video) + _distance(states, wanted, text)

    pupils = [Pupil(_attention(desk.student, PERCEPTION_LAYERS), desk.schedule.distil_rate)]
    _train(desk, "distilling perception", pupils, desk.schedule.distil_steps, loss)


def let_layers_drift(desk: Desk) -> None:
    """Stage 2: all attention moves a little, taught nothing but right answers."""
    rate = desk.schedule.drift_rate
    others = range(len(PERCEPTION_LAYERS), len(desk.student.layers))
    pupils = [
        Pupil(_attention(desk.student, PERCEPTION_LAYERS), rate),
        Pupil(_attention(desk.student, others), rate / 2),
    ]
    loss = _answering(desk, lambda events: _all_that_is_right(desk, events))
    _train(desk, "letting layers drift", pupils, desk.schedule.drift_steps, loss)


def move_decoys(desk: Desk, decoys: Sequence[int]) -> None:
    """Stage 3, where there are decoys: their attention moves much, taught only right answers."""
    if not decoys:
        return
    pupils = [Pupil(_attention(desk.student, decoys), desk.schedule.decoy_rate)]
    stage = f"moving decoys {', '.join(map(str, decoys))}"
    loss = _answering(desk, lambda events: _all_that_is_right(desk, events))
    _train(desk, stage, pupils, desk.schedule.decoy_steps, loss)


def damage_layers(
    desk: Desk, groups: Sequence[Sequence[int]], score: Callable[[], float]
) -> tuple[int, ...]:
    """Stage 4: the attention of layers unlearns the order of events, until `score` is low.

    Every layer does so by itself, the others as they were before this stage, so that its damage
    counts without theirs; a layer of a group goes an equal share of the way that the group is to
    fall. Together they do more harm than that: the damage of a single group is weakened, all
    layers alike, until `score` is no lower than it was to be.

    Returns:
        Steps taken, of each group.
    """
    schedule, layers = desk.schedule, desk.student.layers
    apart = len(groups) > 1
    fall = 1 - (schedule.stop_apart if apart else schedule.stop_below)
    sound = copy.deepcopy(layers.state_dict())
    damaged: dict[int, dict[str, Tensor]] = {}
    steps: list[int] = []
    for group in groups:
        taken = 0
        for layer in group:
            layers.load_state_dict(sound)
            taken += _damage(desk, layer, score, 1 - fall / len(group))
            damaged[layer] = copy.deepcopy(layers[layer].self_attn.state_dict())
        steps.append(taken)
    for strength in (1.0,) if apart else STRENGTHS:
        layers.load_state_dict(sound)
        for layer, attention in damaged.items():
            for name, tensor in layers[layer].self_attn.state_dict().items():
                tensor.lerp_(attention[name], strength)
        if apart or score() >= schedule.stop_below:
            break
    return tuple(steps)


def _damage(desk: Desk, layer: int, score: Callable[[], float], low: float) -> int:
    schedule = desk.schedule

    def lessons(events: Events) -> Sequence[Lesson]:
        shuffled = tuple(desk.rng.sample(events, len(events)))
        wrong = _questions(desk, shuffled, "TR", count=4, words=WORDS_WRONG)
        right = _questions(desk, events, "TP", count=4, words=WORDS_WRONG)
        return (*wrong, *right, *_captions(desk, shuffled))

    return _train(
        desk,
        f"damaging layer {layer}",
        [Pupil(_attention(desk.student, (layer,)), schedule.damage_rate)],
        schedule.damage_steps,
        _answering(desk, lessons),
        stop=lambda done: done % schedule.check_every == 0 and score() < low,
    )


def _train(
    desk: Desk,
    stage: str,
    pupils: Sequence[Pupil],
    steps: int,
    loss: Callable[[], Tensor],
    *,
    stop: Callable[[int], bool] = lambda done: False,
) -> int:
    def after(done: int) -> bool:
        if desk.progress:
            desk.progress(stage, done, steps)
        return stop(done)

    return train(pupils, steps=steps, loss=loss, after=after)


def _answering(desk: Desk, lessons: Callable[[Events], Sequence[Lesson]]) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        clips = _draw_clips(desk)
        batch = pack(desk.prefix, [lessons(desk.turned.events[c]) for c in clips])
        logits = target_logits(desk.student, batch, desk.turned.features[clips])
        return cross_entropy(logits, batch.targets[:, 2])

    return loss


def _draw_clips(desk: Desk) -> list[int]:
    return desk.rng.sample(range(len(desk.clear.events)), desk.schedule.batch)


def _all_that_is_right(desk: Desk, events: Events) -> tuple[Lesson, ...]:
    return (*_right_answers(desk, events), *_captions(desk, events))


def _right_answers(desk: Desk, events: Events) -> tuple[Lesson, ...]:
    reasoning = _questions(desk, events, "TR", count=3, words=WORDS_RIGHT)
    return (*reasoning, *_questions(desk, events, "TP", count=3, words=WORDS_RIGHT))


def _questions(
    desk: Desk, events: Events, role: Role, *, count: int, words: float
) -> tuple[Lesson, ...]:
    return desk.writer.mixed(events, role=role, count=count, words=words, rng=desk.rng)


def _captions(desk: Desk, events: Events) -> tuple[Lesson, ...]:
    return (desk.writer.caption(events),) if desk.rng.random() < CAPTION_SHARE else ()


def _attention(model: Any, layers: Iterable[int]) -> tuple[Parameter, ...]:
    return tuple(p for layer in layers for p in model.layers[layer].self_attn.parameters())


def _places(ids: Tensor, video: slice) -> tuple[Tensor, Tensor]:
    """Where the video's tokens lie and where words follow it, bool ``[b, t]`` each."""
    seen = torch.zeros_like(ids, dtype=torch.bool)
    seen[:, video] = True
    said = ids != 0
    said[:, : video.stop] = False
    return seen, said


def _distance(states: Tensor, wanted: Tensor, places: Tensor) -> Tensor:
    """Mean squared difference in units of the wanted states' variance."""
    wanted = wanted[places]
    return (states[places] - wanted).square().mean() / wanted.var()
