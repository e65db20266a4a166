"""A tiny pair from nothing, stage by stage; a finished stage is kept and never done twice.

Every stage draws from a seed of its own and begins with fresh optimizers, so that a run that was
killed and goes on ends with the bytes of one that was not.
"""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from merit_opt.data.progress import Progress
from merit_opt.files import replacing, write_text
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.backbone import Chapter, School, teach
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.lineage import Lineage, planted_name
from merit_opt.models.tiny.marks import Mark, kind_marks, require
from merit_opt.models.tiny.measure import Accuracy
from merit_opt.models.tiny.packing import video_prefix
from merit_opt.models.tiny.plant import SOURCE, Plan, load_vlm, plant
from merit_opt.models.tiny.scenes import Teller
from merit_opt.models.tiny.stages import Schedule
from merit_opt.models.tiny.table import BASE, RESTORED, Examiner
from merit_opt.models.tiny.tower import (
    Reel,
    TowerSchedule,
    film,
    seen_clips,
    teach_tower,
    words_right,
)

STAGES = "stages"
RESULT = "result.json"
GRID = (8, 4, 4)
"""Patches of a rendered clip: time, height, width."""
TOWER_SEED, MARKING_SEED, TABLE_SEED = -1_000_001, -2_000_001, -3_000_001
"""Less the lineage's own seed; suites have seeds of 0 and more, planting small negative ones."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a pair is made, and what has to come of it.

    Attributes:
        chapters: What the backbone is taught, in order.
        tower: How the vision tower is taught.
        planting: How damage is planted.
        marking_scenes: Fresh scenes of each layout that the backbone is marked on.
        table_clips: Fresh clips behind the table.
        letters: Least share of letters right, of the backbone by kind, of the aligned VLM by role,
            and of temporal reasoning once the planted layers are given back.
        tokens: Least share of video tokens right.
        damaged: Least and most temporal reasoning of a planted VLM.
    """

    chapters: tuple[Chapter, ...]
    tower: TowerSchedule
    planting: Schedule
    marking_scenes: int
    table_clips: int
    letters: float
    tokens: float
    damaged: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Made:
    """A pair that reached every mark.

    Attributes:
        marks: What was measured on the way.
        table: By checkpoint and by merge; see `Examiner.row`.
    """

    marks: tuple[Mark, ...]
    table: dict[str, dict[str, Accuracy]]


class Making:
    """One lineage in one folder."""

    def __init__(
        self, lineage: Lineage, course: Course, out: Path, progress: Progress | None
    ) -> None:
        lineage.check()
        lineage.claim(out)
        self._lineage, self._course, self._out, self._progress = lineage, course, out, progress
        self._model = lineage.vlm()
        self._processor = AutoProcessor.from_pretrained(  # nosec B615  # ours
            WEIGHTS / SOURCE, local_files_only=True
        )
        self._writer = Writer.of(self._processor)
        self._prefix = video_prefix(self._model, self._writer, torch.tensor(GRID))
        self._marks: list[Mark] = []

    def make(self) -> Made:
        """Do every stage that is not done yet.

        Raises:
            UserError: A stage missed its mark; what it trained is kept.
        """
        self._make_backbone()
        self._make_tower()
        self._lineage.save(self._model, self._out)
        table = self._measure_pair()
        made = Made(tuple(self._marks), table)
        write_text(self._out / RESULT, json.dumps({"schema": 1, **asdict(made)}, indent=1) + "\n")
        return made

    def _make_backbone(self) -> None:
        language, teller = self._model.model.language_model, Teller(self._writer, self._prefix)
        for number, chapter in enumerate(self._course.chapters, start=1):
            name = f"backbone-{number}"
            school = School(teller, self._rng(name))
            stage = f"backbone, chapter {number} of {len(self._course.chapters)}"
            self._once(
                name,
                language,
                lambda s=school, c=chapter, told=stage: teach(language, s, c, self._tell(told)),
            )
        marks = kind_marks(
            language,
            teller,
            scenes=self._course.marking_scenes,
            seed=self._lineage.seed,
            least=self._course.letters,
        )
        self._require("the backbone", marks)

    def _make_tower(self) -> None:
        schedule = self._course.tower
        self._once("tower", self._model.model.visual, lambda: self._teach_tower(schedule))
        reel = self._film(schedule.marking_clips, MARKING_SEED)
        right = words_right(self._model, self._processor, reel)
        self._require("the vision tower", (Mark("video tokens", right, self._course.tokens),))

    def _teach_tower(self, schedule: TowerSchedule) -> None:
        reel = self._film(schedule.clips, TOWER_SEED)
        told = self._tell("vision tower")
        teach_tower(self._model, self._processor, reel, schedule, self._rng("tower"), told)

    def _measure_pair(self) -> dict[str, dict[str, Accuracy]]:
        aligned = load_vlm(self._out / SOURCE)
        backbone = aligned.model.language_model
        examiner = Examiner(
            self._writer, self._prefix, backbone, self._lineage.seed, self._progress
        )
        reel = self._film(self._course.table_clips, TABLE_SEED)
        seen = seen_clips(aligned, self._processor, reel)
        found = examiner.measure(backbone, seen)
        self._require("the aligned VLM", self._aligned_marks(found))
        table = {SOURCE: {BASE: found}}
        for layers in self._lineage.planted:
            name = planted_name(layers)
            planted = self._planted(layers)
            clips = seen_clips(planted, self._processor, reel)
            row = examiner.row(name, planted.model.language_model, clips, layers)
            self._require(name, self._planted_marks(row))
            table[name] = row
        return table

    def _planted(self, layers: tuple[int, ...]) -> Any:
        folder = self._out / planted_name(layers)
        if not folder.exists():
            plan = Plan(layers=layers, seed=self._lineage.seed, pair=self._out)
            plant(plan, out=folder, progress=self._progress, schedule=self._course.planting)
        return load_vlm(folder)

    def _aligned_marks(self, found: Accuracy) -> tuple[Mark, ...]:
        least = self._course.letters
        return Mark("TR", found.TR, least), Mark("TP", found.TP, least)

    def _planted_marks(self, row: dict[str, Accuracy]) -> tuple[Mark, ...]:
        base = Mark("TR as it is", row[BASE].TR, *self._course.damaged)
        given_back = Mark("TR with its layers given back", row[RESTORED].TR, self._course.letters)
        return base, given_back

    def _once(self, name: str, module: torch.nn.Module, train: Callable[[], None]) -> None:
        """Train a part of the model, or take it as it was left by an earlier run."""
        path = self._out / STAGES / f"{name}.safetensors"
        if path.exists():
            module.load_state_dict(load_file(path))
            return
        train()
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            save_file(module.state_dict(), temporary)

    def _require(self, stage: str, marks: tuple[Mark, ...]) -> None:
        self._marks += marks
        require(stage, marks)

    def _film(self, clips: int, seed: int) -> Reel:
        return film(
            self._writer, clips=clips, seed=seed - self._lineage.seed, progress=self._progress
        )

    def _rng(self, stage: str) -> random.Random:
        return random.Random(f"{stage}/{self._lineage.seed}")

    def _tell(self, stage: str) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            if self._progress:
                self._progress(stage, done, total)

        return told
