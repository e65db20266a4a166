"""A tiny pair from nothing, stage by stage; a finished stage is kept and never done twice.

Every stage draws from a seed of its own and begins with fresh optimizers, so that a run that was
killed and goes on ends with the bytes of one that was not.
"""

import json
import random
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save
from transformers import AutoProcessor
from transformers.utils.logging import disable_progress_bar

from merit_opt.data.progress import Progress
from merit_opt.errors import UserError
from merit_opt.files import write_bytes, write_text
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.backbone import BackboneSchedule, School, teach
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.lineage import Lineage
from merit_opt.models.tiny.marks import Mark, kind_marks, require
from merit_opt.models.tiny.measure import Accuracy
from merit_opt.models.tiny.packing import video_prefix
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.plant import SOURCE, Plan, beside, load_vlm, plant
from merit_opt.models.tiny.scenes import Teller
from merit_opt.models.tiny.stages import Schedule
from merit_opt.models.tiny.table import BASE, RESTORED, Examiner, all_but, decoy, everywhere
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
ON_THE_WAY = ".pt"
LOCK = ".lock"
GRID = (8, 4, 4)
"""Patches of a rendered clip: time, height, width."""
TOWER_SEED, MARKING_SEED, TABLE_SEED = -1_000_001, -2_000_001, -3_000_001
"""Less the lineage's own seed; suites have seeds of 0 and more, planting small negative ones."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a pair is made, and what has to come of it.

    Attributes:
        backbone: How the backbone is taught.
        tower: How the vision tower is taught.
        planting: How damage is planted.
        marking_scenes: Fresh scenes of each layout that the backbone is marked on.
        table_clips: Fresh clips behind the table.
        letters: Least share of letters right, of the backbone by kind, of the aligned VLM by role,
            and of both roles once the planted layers are given back.
        tokens: Least share of video tokens right.
        damaged: Least and most temporal reasoning of a planted VLM.
        perceives: Its least temporal perception; damage that is enough by itself costs more.
        lost: Most temporal perception once all attention is given back.
        needed: Least temporal reasoning that every damaged layer adds to the others.
        apart: Most that all layers but one may bring back, of those that help only together.
        harmless: Most that giving back a natural decoy may change.
    """

    backbone: BackboneSchedule
    tower: TowerSchedule
    planting: Schedule
    marking_scenes: int
    table_clips: int
    letters: float
    tokens: float
    damaged: tuple[float, float]
    perceives: float
    lost: float
    needed: float
    apart: float
    harmless: float

    @property
    def schedules(self) -> dict[str, dict[str, Any]]:
        """All that shapes weights, by stage."""
        stages = {"backbone": self.backbone, "tower": self.tower, "planting": self.planting}
        return {name: asdict(schedule) for name, schedule in stages.items()}


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a making.

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
        disable_progress_bar()
        lineage.check()
        lineage.claim(out, course.schedules)
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
            UserError: A stage missed its mark; what it trained is kept. Or another run works in the
                folder, or it cannot be written.
        """
        with self._alone():
            self._make_backbone()
            self._make_tower()
            self._lineage.save(self._model, self._out)
            table, planted = self._measure_pair()
            made = Made((*self._marks, *planted), table)
            text = json.dumps({"schema": 1, **asdict(made)}, indent=1) + "\n"
            write_text(self._out / RESULT, text)
        require("planting", planted, "choose other layers with --plant in the same folder")
        return made

    @contextmanager
    def _alone(self) -> Generator[None]:
        """No other run in the folder, and nothing left there by one that was killed."""
        lock = FileLock(self._out / STAGES / LOCK, timeout=0)
        try:
            (self._out / STAGES).mkdir(exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another run works in {self._out}; wait, or name a new folder"
            ) from error
        except OSError as error:
            raise UserError(f"cannot write {self._out}: {error.strerror}") from error
        try:
            for name in (SOURCE, BACKBONE, "vlm_planted_*"):
                for left in self._out.glob(beside(name)):
                    shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()

    def _make_backbone(self) -> None:
        language, teller = self._model.model.language_model, Teller(self._writer, self._prefix)
        schedule = self._course.backbone
        school = School(teller, self._rng("backbone"))
        self._once(
            "backbone",
            language,
            lambda: teach(
                language,
                school,
                schedule,
                path=(self._out / STAGES / "backbone").with_suffix(ON_THE_WAY),
                tell=self._tell("backbone"),
            ),
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

    def _measure_pair(self) -> tuple[dict[str, dict[str, Accuracy]], tuple[Mark, ...]]:
        """The table, and the marks of all planted VLMs."""
        aligned = load_vlm(self._out / SOURCE)
        backbone = aligned.model.language_model
        examiner = Examiner(
            self._writer, self._prefix, backbone, self._lineage.seed, self._progress
        )
        reel = self._film(self._course.table_clips, TABLE_SEED)
        seen = seen_clips(aligned, self._processor, reel)
        found = examiner.measure(backbone, seen)
        self._require("the aligned VLM", self._aligned_marks(found))
        table, marks = {SOURCE: {BASE: found}}, list[Mark]()
        for damage in self._lineage.planted:
            planted = self._planted(damage)
            clips = seen_clips(planted, self._processor, reel)
            row = examiner.row(planted.model.language_model, clips, damage)
            marks += planted_marks(self._course, damage, row)
            table[damage.name] = row
        return table, tuple(marks)

    def _planted(self, damage: Damage) -> Any:
        folder = self._out / damage.name
        if not folder.exists():
            plan = Plan(damage, seed=self._lineage.seed, pair=self._out)
            plant(plan, out=folder, progress=self._progress, schedule=self._course.planting)
        return load_vlm(folder)

    def _aligned_marks(self, found: Accuracy) -> tuple[Mark, ...]:
        least = self._course.letters
        return Mark("TR", found.TR, least), Mark("TP", found.TP, least)

    def _once(self, name: str, module: torch.nn.Module, train: Callable[[], None]) -> None:
        """Train a part of the model, or take it as it was left by an earlier run."""
        path = self._out / STAGES / f"{name}.safetensors"
        if path.exists():
            module.load_state_dict(load_file(path))
        else:
            train()
            write_bytes(path, save(module.state_dict()))
        path.with_suffix(ON_THE_WAY).unlink(missing_ok=True)

    def _require(self, stage: str, marks: tuple[Mark, ...]) -> None:
        self._marks += marks
        require(stage, marks, "try another --seed in another folder")

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


def planted_marks(course: Course, damage: Damage, row: dict[str, Accuracy]) -> tuple[Mark, ...]:
    """What a planted VLM must show: that it lost reasoning alone, and by which layers."""
    base, restored, uniform = row[BASE], row[RESTORED], row[everywhere(1.0)]
    apart = len(damage.groups) > 1
    most = base.TR + course.apart if apart else restored.TR - course.needed
    of_decoys = base.TR - course.harmless, base.TR + course.harmless
    marks = (
        Mark("TR", base.TR, 0.0 if apart else course.damaged[0], course.damaged[1]),
        Mark("TP", base.TP, 0.0 if apart else course.perceives),
        Mark("TR with its layers given back", restored.TR, course.letters),
        Mark("TP with its layers given back", restored.TP, course.letters),
        Mark("TP with all attention given back", uniform.TP, 0.0, course.lost),
        *(
            Mark(f"TR with {m} given back", row[m].TR, 0.0, most)
            for m in map(all_but, damage.layers)
        ),
        *(
            Mark(f"TR with {m} given back", row[m].TR, *of_decoys)
            for m in map(decoy, damage.natural_decoys)
        ),
    )
    return tuple(replace(mark, what=f"{damage.name}: {mark.what}") for mark in marks)
