"""`merit-opt check`: every problem at once, before any weights load."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.check_pair import WARNING, distance_lines, finite_lines, pair_lines
from merit_opt.cli.given import given
from merit_opt.cli.parts import (
    MERGEKIT,
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    find_recipe,
)
from merit_opt.cli.progress import Display, display
from merit_opt.cli.tables import size_text
from merit_opt.data.frames import FramePlan
from merit_opt.data.image import Image
from merit_opt.data.medium import read_medium
from merit_opt.data.sample import Media
from merit_opt.data.suite import Suite
from merit_opt.data.video import MediaError
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import GIB, EngineSettings
from merit_opt.models.device import resolve_device
from merit_opt.models.features import FeatureStore
from merit_opt.models.footprint import (
    ImageShape,
    MediumShape,
    VideoShape,
    footprint,
)
from merit_opt.models.source import PairSource
from merit_opt.search.references import PREFIX

SPACE_WANTED_GIB = 1.0


@dataclass(frozen=True)
class _Findings:
    """What has been looked at.

    Attributes:
        console: Where each line is told.
        problems: What does not fit.
        warnings: What fits, and will hardly be meant.
    """

    console: Console
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def look(self, what: str, inspect: Callable[[], Iterator[str]]) -> bool:
        """Whether there is no problem."""
        try:
            for line in inspect():
                self.console.print(f"{what}: {line}", highlight=False, soft_wrap=True)
                if line.startswith(WARNING):
                    self.warnings.append(line.removeprefix(WARNING))
        except UserError as error:
            self.problems.append(f"{what}: {error}")
            return False
        return True

    def verdict(self) -> str:
        """How many warnings, or that there are none.

        Raises:
            UserError: There are problems; all are in the message.
        """
        if self.problems:
            raise UserError("\n  ".join([f"{len(self.problems)} problem(s):", *self.problems]))
        if not self.warnings:
            return "all is well"
        plural = "s" if len(self.warnings) > 1 else ""
        return f"{len(self.warnings)} warning{plural}: {'; '.join(self.warnings)}"


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Say what is fine and what is not.

    Raises:
        UserError: Something is not; every problem is in the message.
    """
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    found, shapes = _Findings(console), list[MediumShape]()
    look = found.look
    with display(console) as shown:
        pair, engine = cache(built["pair"].build), cache(built["engine"].build)
        look("output_dir", lambda: _output_lines(outputs))
        look("device", lambda: iter([resolve_device(cfg.device)]))
        if is_pair := look("pair", lambda: pair_lines(pair())):
            look("pair", lambda: distance_lines(pair(), shown))
            look("pair", lambda: finite_lines(pair(), shown))
            look("recipe", lambda: _recipe_lines(cfg.recipe, pair(), built["storage"]))
        look(
            "suite",
            lambda: _suite_lines(built_suite(built["suite"], outputs, shown.stage), shapes, shown),
        )
        look("storage", lambda: _storage_lines(built["storage"].build()))
        if look("engine", lambda: iter([repr(engine())])) and is_pair:
            look("engine", lambda: _room_lines(engine(), pair(), shapes, outputs))
    verb = "search" if cfg.recipe is None else "evaluate"
    console.print(
        f"{found.verdict()}; next: merit-opt {verb}{given()}", highlight=False, soft_wrap=True
    )


def _output_lines(outputs: Outputs) -> Iterator[str]:
    outputs.require_writable()
    free = shutil.disk_usage(outputs.root).free / GIB
    if free < SPACE_WANTED_GIB:
        raise UserError(f"{outputs.root} has {free:.1f} GiB free, {SPACE_WANTED_GIB} wanted")
    yield f"{outputs.root}, {free:.0f} GiB free"


def _suite_lines(suite: Suite, shapes: list[MediumShape], shown: Display) -> Iterator[str]:
    """What the suite holds; the shapes of its media are added to `shapes`."""
    roles = Counter(suite.role(s) for s in suite.samples)
    letters = Counter(s.labels[s.answer] for s in suite.samples if isinstance(s.answer, int))
    media = dict.fromkeys(s.media for s in suite.samples)
    yield f"{suite.name}, {len(suite.samples)} samples on {len(media)} media"
    yield "roles: " + ", ".join(f"{role} {n}" for role, n in sorted(roles.items()))
    yield "right letters: " + ", ".join(f"{x} {n}" for x, n in sorted(letters.items()))
    broken: list[str] = []
    for done, shown_media in enumerate(media):
        shown.stage(f"looking at {suite.name} media", done, len(media))
        try:
            shapes.append(_shape(shown_media, suite.asking.frames))
        except MediaError as error:
            broken.append(str(error))
    if broken:
        raise UserError(f"{len(broken)} of {len(media)} media: " + "; ".join(broken))


def _shape(media: tuple[Media, ...], plan: FramePlan) -> MediumShape:
    medium = read_medium(media, replace(plan, mode="uniform", count=1))
    if isinstance(medium, Image):
        return ImageShape(*medium.pixels.shape[:2])
    height, width = medium.frames.shape[1:3]
    sampling = medium.sampling
    count = sampling.total if plan.mode == "all" else plan.count
    return VideoShape(count, height, width, sampling.fps)


def _recipe_lines(name: str | None, source: PairSource, storage: Factory) -> Iterator[str]:
    if name is None:
        return
    if name.startswith((PREFIX, MERGEKIT)) and not all(c.has_weights for c in source.checkpoints):
        yield f"{name} is compared with the pair once a run fetched the weights"
        return
    recipe = find_recipe(name, source, storage)
    yield f"{name} merges {len(recipe.merged_layers)} of {len(recipe.layers)} layers"


def _room_lines(
    settings: EngineSettings,
    source: PairSource,
    shapes: Sequence[MediumShape],
    outputs: Outputs,
) -> Iterator[str]:
    """What the suite's features and hidden states will take."""
    found = footprint(source, shapes)
    levels = settings.levels
    useful = source.alignment.n_layers - 1
    fitting = min(useful, (levels.device + levels.host) // max(1, found.level))
    yield (
        f"{found.visual_tokens:,} visual tokens; their features take {size_text(found.features)} in "
        f"{outputs.cache} (engine.features_gib={settings.features_gib:g})"
    )
    yield (
        f"hidden states take {size_text(found.level)} a level, questions not counted; "
        f"{fitting} of {useful} levels fit (engine.levels_gib={settings.levels_gib:g}, "
        f"engine.host_levels_gib={settings.host_levels_gib:g})"
    )
    yield f"self-attention takes {size_text(found.attention)}, kept of the VLM and of the backbone"
    if found.features > settings.feature_bytes:
        raise UserError(
            f"the visual features of the suite take {size_text(found.features)}, more than "
            f"engine.features_gib={settings.features_gib:g}; raise it, or they are computed again "
            "in every process"
        )
    store = FeatureStore(outputs.features, settings.feature_bytes)
    if found.features - store.size > (free := shutil.disk_usage(outputs.root).free):
        raise UserError(
            f"the visual features of the suite take {size_text(found.features)}, and {outputs.root} "
            f"has {size_text(free)} free; choose another output_dir="
        )


def _storage_lines(storage: Any) -> Iterator[str]:
    studies = storage.get_all_studies()
    yield f"{len(studies)} studies" + "".join(f"; {s.study_name}" for s in studies)
