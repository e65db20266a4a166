"""`merit-opt check`: every problem at once, before any weights load."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.check_pair import WARNING, distance_lines, finite_lines, pair_lines
from merit_opt.cli.check_suite import media_lines, suite_lines
from merit_opt.cli.given import given
from merit_opt.cli.parts import (
    MERGEKIT,
    SPLIT_KEYS,
    SUITE_INJECTED,
    Outputs,
    built_suite,
    find_recipe,
    require_roles,
)
from merit_opt.cli.progress import display
from merit_opt.cli.tables import size_text
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError, without_credentials
from merit_opt.evaluation.settings import GIB, EngineSettings
from merit_opt.models.device import resolve_device
from merit_opt.models.features import FeatureStore
from merit_opt.models.footprint import (
    MediumShape,
    footprint,
)
from merit_opt.models.source import PairSource
from merit_opt.search.references import PREFIX

SPACE_WANTED_GIB = 1.0
SUBJECTS = ("output_dir", "device", "pair", "recipe", "suite", "storage", "engine")


@dataclass(frozen=True)
class _Findings:
    """What has been looked at.

    Attributes:
        console: Where each line is told.
        only: Subjects to look at; none = all.
        problems: What does not fit.
        warnings: What fits, and will hardly be meant.
    """

    console: Console
    only: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def look(self, what: str, inspect: Callable[[], Iterator[str]]) -> bool:
        """Whether it was looked at, and there is no problem."""
        if self.only and what not in self.only:
            return False
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
    found, shapes = _Findings(console, _only(cfg.only)), list[MediumShape]()
    look = found.look
    with display(console) as shown:
        pair, engine = cache(built["pair"].build), cache(built["engine"].build)
        look("output_dir", lambda: _output_lines(outputs))
        look("device", lambda: iter([resolve_device(cfg.device)]))
        if is_pair := look("pair", lambda: pair_lines(pair())):
            look("pair", lambda: distance_lines(pair(), shown))
            look("pair", lambda: finite_lines(pair(), shown))
            look("recipe", lambda: _recipe_lines(cfg.recipe, pair(), built["storage"]))
        suite = cache(lambda: built_suite(built["suite"], outputs, shown.stage))
        is_suite = look("suite", lambda: suite_lines(suite()))
        if is_suite and cfg.recipe is None:
            look("suite", lambda: _role_lines(suite()))
        look("storage", lambda: _storage_lines(built["storage"].build()))
        is_engine = look("engine", lambda: iter([repr(engine())]))
        if is_engine and is_suite:
            quarantine = Quarantine(outputs.quarantine)
            look("suite", lambda: media_lines(suite(), engine().media, quarantine, shapes, shown))
        if is_engine and is_pair:
            look("engine", lambda: _room_lines(engine(), pair(), shapes, outputs))
    verb = "search" if cfg.recipe is None else "evaluate"
    following = "" if found.only else f"; next: merit-opt {verb}{given()}"
    line = without_credentials(found.verdict() + following)
    console.print(line, highlight=False, soft_wrap=True)


def _only(subjects: Sequence[str]) -> tuple[str, ...]:
    if unknown := [one for one in subjects if one not in SUBJECTS]:
        raise UserError(f"only takes some of {', '.join(SUBJECTS)}; got {', '.join(unknown)}")
    return tuple(subjects)


def _output_lines(outputs: Outputs) -> Iterator[str]:
    outputs.require_writable()
    free = shutil.disk_usage(outputs.root).free / GIB
    if free < SPACE_WANTED_GIB:
        raise UserError(f"{outputs.root} has {free:.1f} GiB free, {SPACE_WANTED_GIB} wanted")
    yield f"{outputs.root}, {free:.0f} GiB free"


def _role_lines(suite: Suite) -> Iterator[str]:
    """Nothing, where both roles are there.

    Raises:
        UserError: A search compares both.
    """
    require_roles(suite, f"suite {suite.name}")
    yield from ()


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
