"""Plants a known answer: a tiny VLM whose chosen layers lost temporal reasoning, on purpose.

The damage is engineered. It shows that a search finds what is there; it is not evidence that any
training forgets.

The projector's output is rotated, and the attention of the first layers learns to undo it: now it
carries perception, so that restoring the backbone everywhere destroys it. All attention then drifts a
little on right answers, and the chosen layers' attention, each by itself, learns temporal
questions about a shuffled order of events: until temporal reasoning has fallen by its share, or, of
layers that are to help only together, until it is nearly lost. Put together their damage is
weakened, all layers alike, until enough is left. Decoys, if there are any, have their attention
moved far on right answers, and the signs of value dimensions turned; natural decoys keep them.
"""

import copy
import json
import random
import secrets
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils.logging import disable_progress_bar

from merit_opt.data.progress import Progress
from merit_opt.errors import UserError
from merit_opt.files import UMASK
from merit_opt.models.distance import distances
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.classroom import Clips, see_clips
from merit_opt.models.tiny.damage import Damage, listed
from merit_opt.models.tiny.decoys import turn_signs
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.measure import QUESTIONS, Accuracy, accuracy, restored
from merit_opt.models.tiny.packing import video_prefix
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.stages import (
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
HEX = 8
FULL = Schedule(
    training_clips=1000,
    measuring_clips=240,
    batch=16,
    distil_steps=300,
    distil_rate=5e-3,
    drift_steps=40,
    drift_rate=4e-3,
    decoy_steps=60,
    decoy_rate=1e-2,
    damage_steps=300,
    damage_rate=1e-2,
    check_every=4,
    stop_below=0.6,
    stop_apart=0.4,
)


@dataclass(frozen=True, slots=True)
class Planting:
    """A planted VLM and what is known about it.

    Attributes:
        folder: The checkpoint.
        damage: What was planted.
        seed: What it was planted with.
        damage_steps: Steps until temporal reasoning had fallen, of each group.
        questions: How many questions are behind each TR and each TP.
        base: The planted VLM as it is.
        restored: With the backbone's attention in the damaged layers.
        uniform_half: With half of the backbone's attention in every layer.
        distance: Of each layer's attention to the backbone's; see `Distance`.
        seconds: How long it took.
    """

    folder: Path
    damage: Damage
    seed: int
    damage_steps: tuple[int, ...]
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
        damage: Which layers.
        seed: Chooses rotation, clips and questions; 0 or more.
        pair: Folder with `vlm_aligned`, the VLM to begin with, and `text`, its backbone.
    """

    damage: Damage
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
    _check(plan, len(model.model.language_model.layers), out)
    desk, measuring = _set_up(model, plan, schedule, progress)
    half = schedule.measuring_clips // 2
    steps = _train(desk, plan, measuring.part(0, half))
    turn_signs(desk.student, sorted(plan.damage.decoys), seed)
    with whole(out) as folder:
        save_vlm(model, folder, like=plan.source)
        measured = _measure(load_vlm(folder), desk, measuring.part(half, 2 * half), plan)
        planting = Planting(
            folder=out,
            damage=plan.damage,
            seed=seed,
            damage_steps=steps,
            questions={role: half * count for role, count in QUESTIONS.items()},
            **measured,
            distance=_distance(folder, plan.pair),
            seconds=time.perf_counter() - started,
        )
        _write_result(folder / RESULT, planting)
    return planting


def _check(plan: Plan, n_layers: int, out: Path) -> None:
    plan.damage.require(n_layers)
    if plan.seed < 0:
        raise UserError(f"seed must be 0 or more, got {plan.seed}")
    if out.exists():
        raise UserError(f"{out} exists already; name a folder that does not, or remove it")
    try:
        probe = _beside(out)
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise UserError(f"cannot write beside {out}: {error.strerror}; choose another") from error


def load_vlm(folder: Path) -> Any:
    """A VLM in float32 from a local folder, to measure with."""
    disable_progress_bar()
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


def _train(desk: Desk, plan: Plan, stop_clips: Clips) -> tuple[int, ...]:
    def reasoning() -> float:
        seen = accuracy(
            desk.student, stop_clips, writer=desk.writer, prefix=desk.prefix, seed=plan.seed
        )
        return seen.TR

    distil_perception(desk)
    let_layers_drift(desk)
    move_decoys(desk, plan.damage.moved)
    steps = damage_layers(desk, plan.damage.groups, reasoning)
    if (left := reasoning()) > STILL_REASONS:
        raise UserError(
            f"layers {listed(plan.damage.groups)} could not be damaged: after {sum(steps)} steps temporal "
            f"reasoning is still {left:.2f}, and below {STILL_REASONS} was expected; choose other "
            "layers"
        )
    return steps


def _measure(model: Any, desk: Desk, clips: Clips, plan: Plan) -> dict[str, Accuracy]:
    planted, everywhere = model.model.language_model, range(len(desk.teacher.layers))
    variants = {
        "base": planted,
        "restored": restored(planted, desk.teacher, plan.damage.layers, coefficient=1.0),
        "uniform_half": restored(planted, desk.teacher, everywhere, coefficient=0.5),
    }
    measured: dict[str, Accuracy] = {}
    for done, (name, variant) in enumerate(variants.items(), start=1):
        measured[name] = accuracy(
            variant, clips, writer=desk.writer, prefix=desk.prefix, seed=plan.seed
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
    let_others_read(folder)
    shutil.rmtree(exact)
    for file in sorted(like.iterdir()):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def let_others_read(folder: Path) -> None:
    """Give weights the rights of any other file: they are written as their owner's alone."""
    for path in folder.glob("*.safetensors"):
        path.chmod(0o666 & ~UMASK)


def _write_result(path: Path, planting: Planting) -> None:
    facts = asdict(planting)
    del facts["folder"]
    damage = facts.pop("damage")
    decoys = {kind: sorted(damage[kind]) for kind in ("decoys", "natural_decoys")}
    row = {"schema": 1, "engineered": True, "source": SOURCE, **damage, **decoys, **facts}
    path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


@contextmanager
def whole(folder: Path) -> Generator[Path]:
    """A folder beside `folder` to write to; becomes it unless the block raises.

    Raises:
        UserError: It cannot be written.
    """
    fresh = _beside(folder)
    try:
        yield fresh
        fresh.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write {folder}: {error}; free some space, or choose another folder"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def beside(name: str) -> str:
    """A pattern of the names under which a folder is written before it is whole."""
    return f".{name}.{'[0-9a-f]' * HEX}"


def _beside(folder: Path) -> Path:
    absolute = folder.absolute()
    absolute.parent.mkdir(parents=True, exist_ok=True)
    return absolute.with_name(f".{absolute.name}.{secrets.token_hex(HEX // 2)}")
