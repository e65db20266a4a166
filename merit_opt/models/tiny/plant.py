"""Plants a known answer: a tiny VLM whose chosen layers lost temporal reasoning, on purpose.

The damage is engineered. It shows that a search finds what is there; it is not evidence that any
training forgets.

The projector's output is rotated, and the first layers learn to undo it: now they carry
perception, so that restoring the backbone everywhere destroys it. All attention then drifts a
little on right answers, and the chosen layers' attention learns temporal questions about a
shuffled order of events until temporal reasoning has fallen. Decoys, if there are any, have their
attention moved far on right answers, and the signs of value dimensions turned.
"""

import copy
import json
import random
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from merit_opt.data.progress import Progress
from merit_opt.errors import UserError
from merit_opt.models.distance import distances
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.classroom import Clips, see_clips
from merit_opt.models.tiny.decoys import require_decoys, turn_signs
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.measure import QUESTIONS, Accuracy, accuracy, restored
from merit_opt.models.tiny.packing import video_prefix
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.stages import (
    PERCEPTION_LAYERS,
    Desk,
    Schedule,
    damage_layers,
    distil_perception,
    let_layers_drift,
    move_decoys,
)

SOURCE = "vlm_aligned"
RESULT = "planting.json"
STILL_REASONS = 0.85
FULL = Schedule(
    training_clips=1000,
    measuring_clips=240,
    batch=16,
    distil_steps=180,
    distil_rate=5e-3,
    drift_steps=40,
    drift_rate=4e-3,
    decoy_steps=60,
    decoy_rate=1e-2,
    damage_steps=300,
    damage_rate=1e-2,
    check_every=10,
    stop_below=0.62,
)


@dataclass(frozen=True, slots=True)
class Planting:
    """A planted VLM and what is known about it.

    Attributes:
        folder: The checkpoint.
        layers: The damaged layers, ascending.
        decoys: The decoys, ascending.
        seed: What it was planted with.
        damage_steps: Steps until temporal reasoning had fallen.
        questions: How many questions are behind each TR and each TP.
        base: The planted VLM as it is.
        restored: With the backbone's attention in the damaged layers.
        uniform_half: With half of the backbone's attention in every layer.
        distance: Of each layer's attention to the backbone's; see `Distance`.
        seconds: How long it took.
    """

    folder: Path
    layers: tuple[int, ...]
    decoys: tuple[int, ...]
    seed: int
    damage_steps: int
    questions: dict[str, int]
    base: Accuracy
    restored: Accuracy
    uniform_half: Accuracy
    distance: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to plant, and in what.

    Attributes:
        layers: Which layers to damage; not 0 to 2, which come to carry perception.
        decoys: Which others to change much without harm; none asked for, none made.
        seed: Chooses rotation, clips and questions; 0 or more.
        pair: Folder with `vlm_aligned`, the VLM to begin with, and `text`, its backbone.
    """

    layers: tuple[int, ...]
    decoys: tuple[int, ...] = ()
    seed: int = 0
    pair: Path = WEIGHTS

    @property
    def source(self) -> Path:
        """The VLM to begin with."""
        return self.pair / SOURCE


def plant(
    plan: Plan, *, out: Path, progress: Progress | None, schedule: Schedule = FULL
) -> Planting:
    """Make a VLM from an aligned one by damaging the attention of some layers.

    The same plan gives the same weights with the same software and number of threads.

    Args:
        plan: What to plant, and in what.
        out: Folder to make; it gets the checkpoint and `planting.json`.
        progress: Called with (stage, done, total).
        schedule: How long and how hard to train.

    Raises:
        UserError: Layers, decoys or the seed do not fit, `out` is taken, or temporal reasoning did
            not fall.
    """
    started = time.perf_counter()
    model, seed = load_vlm(plan.source), plan.seed
    chosen = _checked(plan, len(model.model.language_model.layers), out)
    changed = tuple(sorted(plan.decoys))
    desk, measuring = _set_up(model, plan, schedule, progress)
    half = schedule.measuring_clips // 2
    steps = _train(desk, chosen, changed, measuring.part(0, half), seed)
    turn_signs(desk.student, changed, seed)
    folder = _beside(out)
    try:
        save_vlm(model, folder, like=plan.source)
        measured = _measure(load_vlm(folder), desk, chosen, measuring.part(half, 2 * half), seed)
        planting = Planting(
            folder=out,
            layers=chosen,
            decoys=changed,
            seed=seed,
            damage_steps=steps,
            questions={role: half * count for role, count in QUESTIONS.items()},
            **measured,
            distance=_distance(folder, plan.pair),
            seconds=time.perf_counter() - started,
        )
        _write_result(folder / RESULT, planting)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return planting


def _checked(plan: Plan, n_layers: int, out: Path) -> tuple[int, ...]:
    layers, seed = plan.layers, plan.seed
    allowed = range(len(PERCEPTION_LAYERS), n_layers)
    chosen = tuple(sorted(set(layers)))
    if not chosen or len(chosen) != len(layers) or not set(chosen) <= set(allowed):
        raise UserError(
            f"layers must be one or more different ones of {allowed[0]} to {allowed[-1]}, got "
            f"{list(layers)}; layers 0 to {allowed[0] - 1} come to carry perception"
        )
    require_decoys(plan.decoys, chosen, allowed)
    if seed < 0:
        raise UserError(f"seed must be 0 or more, got {seed}")
    if out.exists():
        raise UserError(f"{out} exists already; name a folder that does not, or remove it")
    try:
        probe = _beside(out)
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise UserError(f"cannot write beside {out}: {error.strerror}; choose another") from error
    return chosen


def load_vlm(folder: Path) -> Any:
    """A VLM in float32 from a local folder, to measure with."""
    model = AutoModelForImageTextToText.from_pretrained(  # nosec B615  # local files alone
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    return model.eval().requires_grad_(False)


def _set_up(
    model: Any, plan: Plan, schedule: Schedule, progress: Progress | None
) -> tuple[Desk, Clips]:
    """The desk, and the clips to measure on as the student sees them; turns the projector."""
    seed = plan.seed
    processor = AutoProcessor.from_pretrained(  # nosec B615  # local files alone
        plan.source, local_files_only=True
    )
    total = schedule.training_clips + schedule.measuring_clips
    clear = see_clips(model, processor, clips=total, seed=-1 - seed, progress=progress)
    student = model.model.language_model
    teacher = copy.deepcopy(student)
    turned = clear.turned(_turn_projector(model, seed))
    writer = Writer.of(processor)
    desk = Desk(
        student=student,
        teacher=teacher,
        writer=writer,
        prefix=video_prefix(model, writer, clear.grid),
        clear=clear.part(0, schedule.training_clips),
        turned=turned.part(0, schedule.training_clips),
        schedule=schedule,
        rng=random.Random(f"plant/{seed}"),
        progress=progress,
    )
    return desk, turned.part(schedule.training_clips, total)


def _turn_projector(model: Any, seed: int) -> Tensor:
    """Rotate what the projector puts out; returns the rotation, ``[hidden, hidden]``."""
    projector = model.model.visual.merger.mlp[-1]
    hidden = projector.out_features
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(hidden, hidden, generator=generator)).Q
    projector.weight.data = rotation.T @ projector.weight.data
    projector.bias.data = projector.bias.data @ rotation
    return rotation


def _train(
    desk: Desk, layers: tuple[int, ...], decoys: tuple[int, ...], stop_clips: Clips, seed: int
) -> int:
    def reasoning() -> float:
        seen = accuracy(
            desk.student, stop_clips, writer=desk.writer, prefix=desk.prefix, seed=seed
        )
        return seen.TR

    distil_perception(desk)
    let_layers_drift(desk)
    move_decoys(desk, decoys)
    steps = damage_layers(desk, layers, reasoning)
    if (left := reasoning()) > STILL_REASONS:
        raise UserError(
            f"layers {list(layers)} could not be damaged: after {steps} steps temporal reasoning "
            f"is still {left:.2f}, and below {STILL_REASONS} was expected; choose other layers"
        )
    return steps


def _measure(
    model: Any, desk: Desk, layers: tuple[int, ...], clips: Clips, seed: int
) -> dict[str, Accuracy]:
    planted, everywhere = model.model.language_model, range(len(desk.teacher.layers))
    variants = {
        "base": planted,
        "restored": restored(planted, desk.teacher, layers, coefficient=1.0),
        "uniform_half": restored(planted, desk.teacher, everywhere, coefficient=0.5),
    }
    measured: dict[str, Accuracy] = {}
    for done, (name, variant) in enumerate(variants.items(), start=1):
        measured[name] = accuracy(
            variant, clips, writer=desk.writer, prefix=desk.prefix, seed=seed
        )
        if desk.progress:
            desk.progress("measuring", done, len(variants))
    return measured


def _distance(folder: Path, pair: Path) -> tuple[float, ...]:
    stored = folder_pair(folder, pair / BACKBONE, None).stored
    found = distances(stored.vlm, stored.backbone, lambda done, total: None)
    return tuple(d.relative for d in found if d.part == "attention")


def save_vlm(model: Any, folder: Path, *, like: Path) -> None:
    """Write a checkpoint in bfloat16, with the processor's files of another one."""
    exact = folder / "float32"
    model.save_pretrained(exact)
    rounded = AutoModelForImageTextToText.from_pretrained(  # nosec B615  # just written
        exact, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
    )
    rounded.save_pretrained(folder)
    shutil.rmtree(exact)
    for file in sorted(like.iterdir()):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def _write_result(path: Path, planting: Planting) -> None:
    row = {"schema": 1, "engineered": True, "source": SOURCE, **asdict(planting)}
    del row["folder"]
    path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def _beside(folder: Path) -> Path:
    absolute = folder.absolute()
    absolute.parent.mkdir(parents=True, exist_ok=True)
    return absolute.with_name(f".{absolute.name}.{secrets.token_hex(4)}")
