"""Which parts of the recipe does the backbone of a tiny pair need?

python experiments/0013-tiny-pair-from-nothing/run.py --variant full [--seed 0] [--layers 9]

Every variant is taught as the course says, with one part of the recipe left out or another put in,
and looked at every so many steps. Rows are added to runs.csv; a run that is there is not repeated.
"""

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import normalize
from transformers import AutoProcessor

from merit_opt.data.sample import LETTERS
from merit_opt.models.tiny import WEIGHTS, backbone
from merit_opt.models.tiny.backbone import (
    WORD_NORM,
    BackboneSchedule,
    School,
    start_over,
    teach,
)
from merit_opt.models.tiny.course import FULL
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.making import GRID
from merit_opt.models.tiny.marks import kind_marks
from merit_opt.models.tiny.packing import video_prefix
from merit_opt.models.tiny.plant import SOURCE
from merit_opt.models.tiny.scenes import Teller

RUNS = Path(__file__).parent / "runs.csv"
COLUMNS = ("variant", "seed", "layers", "step", "cpu_seconds", "asked", "share")
EVERY = 200
SCENES = 60
USUAL_SPREAD = 0.02
WRITER = Writer.of(AutoProcessor.from_pretrained(WEIGHTS / SOURCE, local_files_only=True))


def frozen(*parts: str) -> Callable[..., None]:
    """Stands for `teach`: the words of these kinds stay as they were drawn."""

    def taught(model: Any, school: School, schedule: BackboneSchedule, **told: Any) -> None:
        words = model.embed_tokens.weight.requires_grad_(True)
        kept = [n for w, n in WRITER.vocabulary.items() if parts == ("all",) or w in LETTERS[:4]]
        trained = torch.ones(len(words), 1)
        trained[kept] = 0.0
        hook = words.register_hook(lambda slope: trained * slope)
        teach(model, school, schedule, **told)
        hook.remove()

    return taught


def leaning_words(model: Any, seed: int) -> None:
    """Words of the same length as the recipe's, their directions drawn at random."""
    start_over(model, seed)
    words = model.embed_tokens.weight
    with torch.no_grad():
        drawn = torch.randn(words.shape, generator=torch.Generator().manual_seed(seed))
        words.copy_(WORD_NORM * normalize(drawn))


def layers_that_write(model: Any, seed: int) -> None:
    """Layers that add something from the first step on, as most language models begin."""
    start_over(model, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.layers.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            with torch.no_grad():
                parameter.normal_(std=USUAL_SPREAD, generator=generator)


def small_at_first(model: Any, seed: int) -> None:
    """Every matrix drawn alike and small, as the library itself would."""
    start_over(model, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            with torch.no_grad():
                parameter.normal_(std=USUAL_SPREAD, generator=generator)


VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "letters frozen": {"teach": frozen("letters")},
    "all words frozen": {"teach": frozen("all")},
    "words not at right angles": {"start_over": leaning_words},
    "layers that write from the start": {"start_over": layers_that_write},
    "all small at first": {"start_over": small_at_first},
    "no hints": {"HINT_WEIGHT": 0.0, "MEANING_WEIGHT": 0.0},
    "no hints on scenes and questions": {"HINT_WEIGHT": 0.0},
    "no hints on answers": {"MEANING_WEIGHT": 0.0},
    "no words": {"words": 0.0},
}


def main() -> None:
    """Run one variant, or every one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--share", type=float, default=1.0, help="of the course's steps")
    parser.add_argument("--rows", type=Path, default=RUNS, help="where rows are added")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for variant in given.variant or VARIANTS:
        Run(variant, given.seed, given.layers, given.share, given.rows).make()


@dataclass
class Run:
    """A variant that is taught."""

    variant: str
    seed: int
    layers: int
    share: float
    rows: Path
    step: int = 0
    spent: float = 0.0

    def make(self) -> None:
        """Through all steps, looked at on the way; nothing where the last rows are there."""
        changed = VARIANTS[self.variant]
        schedule = replace(
            FULL.backbone,
            steps=round(self.share * FULL.backbone.steps),
            words=changed.get("words", FULL.backbone.words),
        )
        if self._done(schedule.steps):
            return
        patched = {name: value for name, value in changed.items() if hasattr(backbone, name)}
        vlm = Lineage(self.layers, 96, self.seed, ()).vlm()
        teller = Teller(WRITER, video_prefix(vlm, WRITER, torch.tensor(GRID)))
        model, started = vlm.model.language_model, time.process_time()

        def look(done: int, total: int) -> None:
            nonlocal started
            if done % EVERY == 0 or done == total:
                self.spent += time.process_time() - started
                self.step = done
                self._look(model, teller)
                started = time.process_time()

        changes = patch.multiple(backbone, **({"SPREAD": backbone.SPREAD} | patched))
        with tempfile.TemporaryDirectory() as folder, changes:
            backbone.start_over(model, self.seed)
            school = School(teller, random.Random(f"backbone/{self.seed}"))
            backbone.teach(model, school, schedule, path=Path(folder) / "kept", tell=look)

    def _done(self, steps: int) -> bool:
        if not self.rows.exists():
            return False
        last = (self.variant, str(self.seed), str(self.layers), str(steps))
        with self.rows.open(encoding="utf-8", newline="") as file:
            return last in {tuple(row)[:4] for row in csv.reader(file)}

    def _look(self, model: Any, teller: Teller) -> None:
        found = kind_marks(model, teller, scenes=SCENES, seed=self.seed, least=0.0)
        told = (self.variant, self.seed, self.layers, self.step, f"{self.spent:.0f}")
        fresh = not self.rows.exists()
        with self.rows.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS] if fresh else [])
            writer.writerows((*told, mark.what, f"{mark.share:.3f}") for mark in found)
        shares = [mark.share for mark in found]
        print(*told, f"mean {sum(shares) / len(shares):.3f}, least {min(shares):.3f}", flush=True)


if __name__ == "__main__":
    main()
