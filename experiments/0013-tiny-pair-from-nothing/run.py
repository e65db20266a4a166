"""Which parts of the recipe does the backbone of a tiny pair need?

python experiments/0013-tiny-pair-from-nothing/run.py --variant full [--seed 0] [--layers 9]

Every variant is taught the chapters of the course, with one part of the recipe left out, and
looked at every so many steps. Rows are added to runs.csv; a variant and seed that is there is not
run again.
"""

import argparse
import csv
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import normalize
from transformers import AutoProcessor

from merit_opt.data.clips.questions import OPTIONS
from merit_opt.data.sample import LETTERS
from merit_opt.models.tiny import WEIGHTS, backbone
from merit_opt.models.tiny.backbone import WORD_NORM, Chapter, School, learning, start_over
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


def all_learn(model: Any) -> tuple[Any, ...]:
    """What the backbone learns with when its words are trained too."""
    return tuple(model.parameters())


def letters_learn(model: Any) -> tuple[Any, ...]:
    """The letters are trained beside the layers; every other word stays as it was drawn."""
    words = model.embed_tokens.weight
    letters = torch.zeros(len(words), 1)
    letters[list(WRITER.ids(LETTERS[:OPTIONS]))] = 1.0
    words.requires_grad_(True).register_hook(lambda slope: letters * slope)
    return (*learning(model), words)


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
            parameter.normal_(std=USUAL_SPREAD, generator=generator)


PARTS: dict[str, dict[str, Any]] = {
    "full": {"learning": learning},
    "all words trained": {"learning": all_learn},
    "letters trained": {"learning": letters_learn},
    "words not at right angles": {"start_over": leaning_words},
    "layers that write from the start": {"start_over": layers_that_write},
    "no hints": {"HINT_WEIGHT": 0.0, "MEANING_WEIGHT": 0.0},
    "no hints on scenes and questions": {"HINT_WEIGHT": 0.0},
    "no hints on answers": {"MEANING_WEIGHT": 0.0},
}
CHAPTERS: dict[str, Callable[[Chapter], Chapter]] = {
    "no short scenes": lambda chapter: replace(chapter, short=0.0),
    "always four options": lambda chapter: replace(chapter, easier=0.0),
    "no bindings": lambda chapter: replace(chapter, bindings=0),
    "no words": lambda chapter: replace(chapter, words=0.0),
    "the second chapter alone": lambda chapter: replace(
        FULL.chapters[1], scenes=chapter.scenes, steps=chapter.steps
    ),
}


def main() -> None:
    """Run one variant, or every one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=(*PARTS, *CHAPTERS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--share", type=float, default=1.0, help="of the course's steps")
    parser.add_argument("--rows", type=Path, default=RUNS, help="where rows are added")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for variant in given.variant or (*PARTS, *CHAPTERS):
        course = [_shortened(CHAPTERS.get(variant, _same)(c), given.share) for c in FULL.chapters]
        run = Run(variant, given.seed, given.layers, course, given.rows)
        if not run.done():
            with patch.multiple(backbone, **PARTS.get(variant, PARTS["full"])):
                run.teach()


def _same(chapter: Chapter) -> Chapter:
    return chapter


def _shortened(chapter: Chapter, share: float) -> Chapter:
    return replace(chapter, steps=round(share * chapter.steps))


@dataclass
class Run:
    """A variant that is taught."""

    variant: str
    seed: int
    layers: int
    chapters: list[Chapter]
    rows: Path
    step: int = 0
    spent: float = 0.0

    def done(self) -> bool:
        """Whether its last rows are there."""
        if not self.rows.exists():
            return False
        last = (self.variant, str(self.seed), str(self.layers), str(self._steps()))
        with self.rows.open(encoding="utf-8", newline="") as file:
            return last in {tuple(row)[:4] for row in csv.reader(file)}

    def teach(self) -> None:
        """Through all chapters, looked at on the way."""
        vlm = Lineage(self.layers, 96, self.seed, ()).vlm()
        teller = Teller(WRITER, video_prefix(vlm, WRITER, torch.tensor(GRID)))
        model, started = vlm.model.language_model, time.process_time()
        backbone.start_over(model, self.seed)

        def look(done: int, total: int) -> None:
            nonlocal started
            self.step += 1
            if self.step % EVERY == 0 or self.step == self._steps():
                self.spent += time.process_time() - started
                self._look(model, teller)
                started = time.process_time()

        for number, chapter in enumerate(self.chapters, start=1):
            school = School(teller, random.Random(f"backbone-{number}/{self.seed}"))
            backbone.teach(model, school, chapter, look)

    def _steps(self) -> int:
        return sum(chapter.steps for chapter in self.chapters)

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
