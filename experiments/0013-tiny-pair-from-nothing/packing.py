"""What does packing save? The same lessons, all of a scene in one row or each in its own.

python experiments/0013-tiny-pair-from-nothing/packing.py
"""

import random
import statistics
import time

import torch
from run import WRITER
from torch import Tensor
from torch.nn.functional import cross_entropy

from merit_opt.models.tiny.backbone import School
from merit_opt.models.tiny.course import FULL
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import GRID
from merit_opt.models.tiny.packing import (
    Batch,
    answer_logits,
    pack_each,
    states_after,
    video_prefix,
)
from merit_opt.models.tiny.scenes import Teller

ROUNDS = 5


def main() -> None:
    """Seconds of CPU time, forwards and backwards, in turns."""
    torch.set_num_threads(1)
    vlm = Lineage(9, 96, 0, ()).vlm()
    model, schedule = vlm.model.language_model, FULL.backbone
    teller = Teller(WRITER, video_prefix(vlm, WRITER, torch.tensor(GRID)))
    school = School(teller, random.Random(0))
    for parameter in model.layers.parameters():
        parameter.requires_grad_(True)
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    ratios, apart = list[float](), 0.0
    for _ in range(ROUNDS):
        scenes = [school.scene() for _ in range(schedule.scenes)]
        rows = [school.lessons(scene.events, schedule) for scene in scenes]
        packed = pack_each([s.prefix for s in scenes], rows)
        alone = pack_each(
            [s.prefix for s, row in zip(scenes, rows, strict=True) for _ in row],
            [[lesson] for row in rows for lesson in row],
        )
        (ours, fast), (theirs, slow) = _step(model, packed), _step(model, alone)
        apart = max(apart, float((ours - theirs).abs().max()))
        ratios.append(slow / fast)
        print(f"{len(alone.ids)} lessons: packed {fast:.2f} s, alone {slow:.2f} s", flush=True)
    print(f"ratio, median of {ROUNDS}: {statistics.median(ratios):.1f}, least {min(ratios):.1f}")
    print(f"largest difference of a log-probability: {apart:.1e}")


def _step(model: torch.nn.Module, batch: Batch) -> tuple[Tensor, float]:
    """Log-probabilities of every answer, and CPU seconds."""
    started = time.process_time()
    depth = len(model.layers)
    (states,) = states_after(model, batch, model.embed_tokens(batch.ids), (depth,))
    logits = answer_logits(model, batch, states)
    losses = cross_entropy(logits, batch.targets[:, 2], reduction="none")
    losses.mean().backward()
    return losses.detach(), time.process_time() - started


if __name__ == "__main__":
    main()
